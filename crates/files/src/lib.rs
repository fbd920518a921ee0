//! The protocol that keeps rows and bytes in step.
