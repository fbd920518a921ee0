//! The root: an open handle of the directory, below which every path is resolved. Nothing above it, no symbolic link and no
//! other way out is ever followed, by openat2 where the kernel has it, else one component at a time. This is the only file that
//! opens paths.

use crate::path;
use rustix::fs::{AtFlags, Dev, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::{Errno, Result};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Owner only, as for every folder of ours.
pub(crate) const FOLDER: Mode = Mode::RWXU;
/// Owner only, as for every file of ours.
pub(crate) const FILE: Mode = Mode::RUSR.union(Mode::WUSR);
/// How often a race is run again before the file system is called broken.
const RACES_MAX: usize = 64;

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC).union(OFlags::NOFOLLOW);
// NONBLOCK, or a FIFO that somebody put there would hold the thread for ever.
const READ: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::CLOEXEC).union(OFlags::NOFOLLOW);
const LOCK: OFlags = OFlags::RDWR.union(OFlags::NONBLOCK).union(OFlags::CLOEXEC).union(OFlags::NOFOLLOW);

/// Which directory it is, whatever lies at its path by now.
pub(crate) type Identity = (Dev, u64);

pub(crate) fn identity(stat: &Stat) -> Identity {
    (stat.st_dev, stat.st_ino)
}

pub(crate) fn file_type(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// The directory that is the store.
#[derive(Debug)]
pub(crate) struct Root {
    fd: OwnedFd,
    place: PathBuf,
    identity: Identity,
    openat2: bool,
    /// The umask takes bits that the owner needs, so modes are set again.
    pub(crate) chmod: bool,
}

impl Root {
    /// Opens `place`, made first where only its last component is missing. The operator's own path may hold symbolic links.
    pub(crate) fn open(place: &Path, openat2: bool) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let place = std::path::absolute(place).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::INVAL))?;
        let fd = match rustix::fs::open(&place, flags, Mode::empty()) {
            Err(Errno::NOENT) => {
                match rustix::fs::mkdir(&place, FOLDER) {
                    Ok(()) => rustix::fs::chmod(&place, FOLDER)?,
                    Err(Errno::EXIST) => {}
                    Err(errno) => return Err(errno),
                }
                let fd = rustix::fs::open(&place, flags, Mode::empty())?;
                if let Some(parent) = place.parent() {
                    rustix::fs::fsync(rustix::fs::open(parent, flags, Mode::empty())?)?;
                }
                fd
            }
            opened => opened?,
        };
        let identity = identity(&rustix::fs::fstat(&fd)?);
        let mut root = Self { fd, place, identity, openat2, chmod: umask_takes_from_owner() };
        if openat2 && matches!(root.dir(""), Err(Errno::NOSYS | Errno::PERM)) {
            root.openat2 = false;
        }
        Ok(root)
    }

    /// The same directory by a handle of its own.
    pub(crate) fn another(&self) -> Result<Self> {
        let fd = rustix::io::fcntl_dupfd_cloexec(&self.fd, 0)?;
        Ok(Self { fd, place: self.place.clone(), ..*self })
    }

    pub(crate) fn place(&self) -> &Path {
        &self.place
    }

    /// Whether the path that was configured still leads to this directory: not so where its disk was unmounted.
    pub(crate) fn is_there(&self) -> bool {
        rustix::fs::stat(&self.place).is_ok_and(|stat| identity(&stat) == self.identity)
    }

    /// Opens the folder at `path`; the root's own is empty.
    pub(crate) fn dir(&self, path: &str) -> Result<OwnedFd> {
        self.open_at(self.fd.as_fd(), path, DIRECTORY, ResolveFlags::empty())
    }

    /// Opens the file at `path` for reading.
    pub(crate) fn file(&self, path: &str) -> Result<OwnedFd> {
        self.open_at(self.fd.as_fd(), path, READ, ResolveFlags::empty())
    }

    /// Opens the file `name` of a folder that is open.
    pub(crate) fn file_in(&self, dir: &OwnedFd, name: &str) -> Result<OwnedFd> {
        self.open_at(dir.as_fd(), name, READ, ResolveFlags::empty())
    }

    /// Opens the file `name` of a folder that is open, to lock it. NFS locks alone only what was opened for writing (flock(2)).
    pub(crate) fn lock_file_in(&self, dir: &OwnedFd, name: &str) -> Result<OwnedFd> {
        match self.open_at(dir.as_fd(), name, LOCK, ResolveFlags::empty()) {
            Err(Errno::ROFS) => self.file_in(dir, name),
            opened => opened,
        }
    }

    /// Opens the file at `path` if the kernel needs no disk to find it; `None` where it does, or can't say.
    pub(crate) fn file_cached(&self, path: &str) -> Option<OwnedFd> {
        if !self.openat2 {
            return None;
        }
        self.open_at(self.fd.as_fd(), path, READ, ResolveFlags::CACHED).ok()
    }

    /// Opens the folder at `path`, making it and whatever is missing above it. None of it is made durable here.
    pub(crate) fn dir_or_make(&self, path: &str) -> Result<OwnedFd> {
        // A neighbour may remove an empty folder between two steps of ours, or make it before us.
        for _ in 0..RACES_MAX {
            match self.dir(path) {
                Err(Errno::NOENT) if !path.is_empty() => {}
                opened => return opened,
            }
            let (folder, name) = path::split(path);
            let parent = self.dir_or_make(folder)?;
            match self.make_dir(&parent, name) {
                Ok(()) => crate::reach("local.mkdir"),
                Err(Errno::EXIST | Errno::NOENT) => {}
                Err(errno) => return Err(errno),
            }
        }
        // Nothing can be made in a directory that is itself removed.
        Err(if self.is_there() { Errno::AGAIN } else { Errno::STALE })
    }

    /// Makes one folder, for its owner alone.
    pub(crate) fn make_dir(&self, parent: &OwnedFd, name: &str) -> Result<()> {
        rustix::fs::mkdirat(parent, name, FOLDER)?;
        if self.chmod {
            rustix::fs::chmodat(parent, name, FOLDER, AtFlags::empty())?;
        }
        Ok(())
    }

    /// Makes the new file `name`, for its owner alone.
    pub(crate) fn create(&self, parent: &OwnedFd, name: &str) -> Result<OwnedFd> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let fd = rustix::fs::openat(parent, name, flags, FILE)?;
        if self.chmod {
            rustix::fs::fchmod(&fd, FILE)?;
        }
        Ok(fd)
    }

    /// Makes the new small file `name`, durable but for its name.
    pub(crate) fn create_whole(&self, parent: &OwnedFd, name: &str, text: &[u8]) -> Result<()> {
        let file = self.create(parent, name)?;
        let mut rest = text;
        while !rest.is_empty() {
            rest = &rest[rustix::io::write(&file, rest)?..];
        }
        rustix::fs::fsync(&file)
    }

    fn open_at(&self, base: BorrowedFd<'_>, path: &str, flags: OFlags, more: ResolveFlags) -> Result<OwnedFd> {
        let path = if path.is_empty() { "." } else { path };
        if !self.openat2 {
            return step_by_step(base, path, flags);
        }
        // Without NOFOLLOW: the kernel is to refuse a link for what it is, not for being no folder.
        let flags = flags.difference(OFlags::NOFOLLOW);
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS | more;
        for _ in 0..RACES_MAX {
            match rustix::fs::openat2(base, path, flags, Mode::empty(), resolve) {
                // The kernel could not prove the path to lie beneath while somebody was renaming.
                Err(Errno::AGAIN) if more.is_empty() => {}
                opened => return opened,
            }
        }
        Err(Errno::AGAIN)
    }
}

/// Whether the umask would make files and folders that their own owner can't use. To ask the kernel itself would be to set it.
fn umask_takes_from_owner() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let umask = status.lines().find_map(|line| u32::from_str_radix(line.strip_prefix("Umask:")?.trim(), 8).ok());
    // Where it is not said, it is better to set a mode once too often.
    umask.is_none_or(|umask| umask & 0o700 != 0)
}

/// What openat2 does, where there is none: each folder on the way is opened for itself and never through a symbolic link.
fn step_by_step(base: BorrowedFd<'_>, path: &str, flags: OFlags) -> Result<OwnedFd> {
    let (folder, name) = path::split(path);
    let mut at: Option<OwnedFd> = None;
    for step in folder.split('/').filter(|step| !step.is_empty()) {
        let from = at.as_ref().map_or(base, AsFd::as_fd);
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        at = Some(open_one(from, step, flags)?);
    }
    open_one(at.as_ref().map_or(base, AsFd::as_fd), name, flags)
}

/// Opens one name. With DIRECTORY and NOFOLLOW the kernel calls a symbolic link "not a directory"; it is told apart here.
fn open_one(base: BorrowedFd<'_>, name: &str, flags: OFlags) -> Result<OwnedFd> {
    match rustix::fs::openat(base, name, flags, Mode::empty()) {
        Err(Errno::NOTDIR) => {
            let stat = rustix::fs::statat(base, name, AtFlags::SYMLINK_NOFOLLOW)?;
            Err(if file_type(&stat) == FileType::Symlink { Errno::LOOP } else { Errno::NOTDIR })
        }
        opened => opened,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn both(test: impl Fn(&Root, &Path)) {
        for openat2 in [true, false] {
            let place = tempfile::tempdir().unwrap();
            test(&Root::open(&place.path().join("root"), openat2).unwrap(), place.path());
        }
    }

    #[test]
    fn no_symbolic_link_is_followed() {
        both(|root, place| {
            fs::create_dir(place.join("outside")).unwrap();
            fs::write(place.join("outside/secret"), "s").unwrap();
            symlink("../outside", place.join("root/dir")).unwrap();
            symlink("../outside/secret", place.join("root/file")).unwrap();
            symlink("/etc", place.join("root/etc")).unwrap();
            fs::create_dir(place.join("root/in")).unwrap();
            symlink("../in", place.join("root/in/loop")).unwrap();
            for path in ["dir/secret", "file", "etc/passwd", "in/loop/x"] {
                assert_eq!(root.file(path).unwrap_err(), Errno::LOOP, "{path}");
            }
            for path in ["dir", "etc", "in/loop", "in/loop/in"] {
                assert_eq!(root.dir_or_make(path).unwrap_err(), Errno::LOOP, "{path}");
            }
        });
    }

    #[test]
    fn a_folder_swapped_for_a_link_leads_nowhere() {
        both(|root, place| {
            root.dir_or_make("a/b").unwrap();
            fs::create_dir(place.join("evil")).unwrap();
            fs::rename(place.join("root/a"), place.join("moved")).unwrap();
            symlink(place.join("evil"), place.join("root/a")).unwrap();
            assert_eq!(root.dir_or_make("a/b").unwrap_err(), Errno::LOOP);
            assert_eq!(fs::read_dir(place.join("evil")).unwrap().count(), 0);
        });
    }

    #[test]
    fn folders_are_for_their_owner_alone() {
        both(|root, place| {
            root.dir_or_make("a/b").unwrap();
            for path in ["root", "root/a", "root/a/b"] {
                assert_eq!(fs::metadata(place.join(path)).unwrap().permissions().mode() & 0o777, 0o700, "{path}");
            }
        });
    }

    #[test]
    fn a_file_in_the_way_is_told_from_nothing_there() {
        both(|root, place| {
            fs::write(place.join("root/a"), "").unwrap();
            assert_eq!(root.file("a/b").unwrap_err(), Errno::NOTDIR);
            assert_eq!(root.dir_or_make("a/b").unwrap_err(), Errno::NOTDIR);
            assert_eq!(root.file("b/c").unwrap_err(), Errno::NOENT);
        });
    }

    #[test]
    fn a_root_that_was_moved_away_is_not_there() {
        both(|root, place| {
            assert!(root.is_there());
            fs::rename(place.join("root"), place.join("other")).unwrap();
            assert!(!root.is_there());
            fs::create_dir(place.join("root")).unwrap();
            assert!(!root.is_there());
        });
    }

    #[test]
    fn a_removed_root_can_not_be_made_in() {
        both(|root, place| {
            fs::remove_dir(place.join("root")).unwrap();
            assert_eq!(root.dir_or_make("a").unwrap_err(), Errno::STALE);
        });
    }
}
