//! [`Space`]: what is left on the file system that a directory is on.

use rustix::fs::statvfs;
use std::{io, path::Path};

/// What is left on a file system, and what there is in all.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Space {
    /// Bytes that this user may still write.
    pub(crate) free: u64,
    /// Bytes in all.
    pub(crate) total: u64,
    /// Inodes that are left.
    pub(crate) inodes_free: u64,
    /// Inodes in all; 0 where the file system makes them as they are needed.
    pub(crate) inodes_total: u64,
}

impl Space {
    /// Asks the file system.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        let about = statvfs(path)?;
        let bytes = |blocks: u64| blocks.saturating_mul(about.f_frsize);
        Ok(Self {
            free: bytes(about.f_bavail),
            total: bytes(about.f_blocks),
            inodes_free: about.f_favail,
            inodes_total: about.f_files,
        })
    }
}
