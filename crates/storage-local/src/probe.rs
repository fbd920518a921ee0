//! What the file system below the root can do, found out by trying: names that stay as they are, and a way to publish that never
//! replaces.

use crate::errno::{Fault, Outcome};
use crate::root::Root;
use larder_storage_core::ErrorKind;
use rustix::fs::{AtFlags, RenameFlags};
use rustix::io::Errno;
use std::os::fd::OwnedFd;

/// How a name appears without ever replacing another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PublishBy {
    /// link(2): the staged name stays until it is discarded.
    Link,
    /// renameat2 with RENAME_NOREPLACE: the staged name is gone.
    Rename,
}

impl PublishBy {
    /// Gives the file at `from` the name `to`, or `EXIST` where there is something.
    pub(crate) fn name(self, from_dir: &OwnedFd, from: &str, to_dir: &OwnedFd, to: &str) -> rustix::io::Result<()> {
        match self {
            Self::Link => rustix::fs::linkat(from_dir, from, to_dir, to, AtFlags::empty()),
            Self::Rename => rustix::fs::renameat_with(from_dir, from, to_dir, to, RenameFlags::NOREPLACE),
        }
    }
}

/// Whether clocks and locks of other machines may be behind this file system: so it is taken of each that is not known to be of one
/// machine alone.
pub(crate) fn is_network(root: &Root) -> Outcome<bool> {
    // ext2 to ext4, XFS, Btrfs, F2FS, ZFS, bcachefs, tmpfs, ramfs, overlayfs, JFS, NTFS (statfs(2), linux/magic.h).
    const OF_ONE_MACHINE: [u32; 11] = [
        0xef53,
        0x5846_5342,
        0x9123_683e,
        0xf2f5_2010,
        0x2fc1_2fc1,
        0xca45_1a4e,
        0x0102_1994,
        0x8584_58f6,
        0x794c_7630,
        0x3153_464a,
        0x7366_746e,
    ];
    let kind = rustix::fs::fstatfs(root.dir("")?)?.f_type;
    // The magic numbers are 32 bits wide, the field is not everywhere.
    Ok(!OF_ONE_MACHINE.contains(&((kind as u64 & 0xffff_ffff) as u32)))
}

/// Tries it in the empty folder `dir`, which is left empty.
pub(crate) fn probe(root: &Root, dir: &OwnedFd) -> Outcome<PublishBy> {
    let names = names_stay(root, dir);
    let by = names.and_then(|()| publish_by(root, dir));
    for name in ["probe-a", "probe-b", "probe-é"] {
        let _ = rustix::fs::unlinkat(dir, name, AtFlags::empty());
    }
    by
}

fn names_stay(root: &Root, dir: &OwnedFd) -> Outcome<()> {
    root.create(dir, "probe-a")?;
    root.create(dir, "probe-\u{e9}")?;
    let there = |name: &str| rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).is_ok();
    if there("PROBE-A") {
        return Err(refused(
            "the file system takes upper and lower case for the same; choose one that is case-sensitive",
        ));
    }
    if there("probe-e\u{301}") || !there("probe-\u{e9}") {
        return Err(refused(
            "the file system changes Unicode names (normalisation); choose one that keeps them as they are",
        ));
    }
    Ok(())
}

fn publish_by(root: &Root, dir: &OwnedFd) -> Outcome<PublishBy> {
    match rustix::fs::linkat(dir, "probe-a", dir, "probe-b", AtFlags::empty()) {
        Ok(()) => return Ok(PublishBy::Link),
        Err(errno @ (Errno::NOSPC | Errno::DQUOT | Errno::ROFS | Errno::IO)) => return Err(errno.into()),
        Err(_) => {}
    }
    root.create(dir, "probe-b")?;
    match rustix::fs::renameat_with(dir, "probe-a", dir, "probe-b", RenameFlags::NOREPLACE) {
        Err(Errno::EXIST) => Ok(PublishBy::Rename),
        _ => Err(refused(
            "the file system has neither link(2) nor renameat2(RENAME_NOREPLACE), so two writers could overwrite each other",
        )),
    }
}

fn refused(why: &'static str) -> Fault {
    Fault::says(ErrorKind::Unsupported, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_leaves_nothing() {
        let place = tempfile::tempdir().unwrap();
        let root = Root::open(place.path(), true).unwrap();
        assert_eq!(probe(&root, &root.dir("").unwrap()).unwrap(), PublishBy::Link);
        assert!(!is_network(&root).unwrap());
        assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0);
    }
}
