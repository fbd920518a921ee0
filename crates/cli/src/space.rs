//! [`Space`]: what is left on the file system that a directory is on.

use rustix::fs::statvfs;
use std::{io, path::Path};

/// What is left on a file system.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Space {
    /// Bytes that this user may still write.
    pub(crate) free: u64,
}

impl Space {
    /// Asks the file system.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        let about = statvfs(path)?;
        Ok(Self { free: about.f_bavail.saturating_mul(about.f_frsize) })
    }
}
