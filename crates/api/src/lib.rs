//! HTTP over files.
