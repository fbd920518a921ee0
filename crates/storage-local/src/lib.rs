//! A directory as a Larder store.
