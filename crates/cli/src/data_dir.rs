//! [`DataDir`]: `db/larder.db`, `secrets.toml`, `lock`, `serve.lock` and `objects/` in one directory, private to its user.
//!
//! Who works in it holds a shared `flock` on `lock`; who makes or replaces the database holds it exclusively. What a first start
//! makes, it takes away again when it fails: a refusal leaves everything as it was.

use crate::output::refuse;
use anyhow::{Context as _, Result};
use larder_storage_core::crash_point;
use rustix::{
    fs::{FlockOperation, Mode, flock},
    io::Errno,
};
use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, ErrorKind},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// Files and directories that this process makes are its user's own; answers the umask that it had.
pub(crate) fn make_private() -> u32 {
    rustix::process::umask(Mode::from_raw_mode(0o077)).as_raw_mode()
}

/// Where everything lies. Making one touches nothing.
#[derive(Clone, Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
}

/// A lock on a data directory, held until it is dropped.
#[derive(Debug)]
pub(crate) struct Lock(File);

/// How a lock is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    /// Beside others that do so too.
    Shared,
    /// Alone.
    Alone,
}

impl DataDir {
    pub(crate) fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The folder of the database: what a rebuild swaps.
    pub(crate) fn db(&self) -> PathBuf {
        self.path.join("db")
    }

    /// Where a rebuild writes.
    pub(crate) fn db_new(&self) -> PathBuf {
        self.path.join("db.new")
    }

    fn db_old(&self) -> PathBuf {
        self.path.join("db.old")
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.db().join("larder.db")
    }

    pub(crate) fn secrets(&self) -> PathBuf {
        self.path.join("secrets.toml")
    }

    /// Takes `lock`; `None` where somebody holds it in a way that forbids it.
    pub(crate) fn lock(&self, hold: Hold, made: &mut Made) -> Result<Option<Lock>> {
        self.take("lock", hold, made)
    }

    /// Takes `serve.lock`; `None` where another server holds it.
    pub(crate) fn serve_lock(&self, made: &mut Made) -> Result<Option<Lock>> {
        self.take("serve.lock", Hold::Alone, made)
    }

    fn take(&self, name: &str, hold: Hold, made: &mut Made) -> Result<Option<Lock>> {
        let path = self.path.join(name);
        loop {
            let file = open_or_make(&path, made).map_err(|error| self.not_writable(&path, &error))?;
            match flock(&file, hold.operation()) {
                Err(Errno::WOULDBLOCK) => return Ok(None),
                other => other.with_context(|| format!("cannot lock {}", path.display()))?,
            }
            // A first start that failed may have taken the file away since it was opened.
            if fs::metadata(&path).is_ok_and(|there| file.metadata().is_ok_and(|ours| ours.ino() == there.ino())) {
                return Ok(Some(Lock(file)));
            }
        }
    }

    /// Makes the directory where it is missing.
    pub(crate) fn make(&self, made: &mut Made) -> Result<()> {
        made.dir(&self.path).map_err(|error| self.not_writable(&self.path, &error))
    }

    /// The refusal of a directory in which nothing can be made.
    pub(crate) fn not_writable(&self, path: &Path, error: &io::Error) -> anyhow::Error {
        let what = format!("cannot write {}: {error}", path.display());
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
                refuse(what, "make room on that disk, or take another: `--data DIR` (or LARDER_DATA)")
            }
            _ => refuse(what, "give a directory of this user's: `--data DIR` (or LARDER_DATA)"),
        }
    }

    /// Whether a rebuild was killed between its two renames: a whole database stands ready.
    pub(crate) fn is_swapping(&self) -> bool {
        self.db_old().exists() && self.db_new().exists()
    }

    /// Puts a rebuilt database in the place of the old one. A kill between any two steps is mended by [`DataDir::settle`].
    pub(crate) fn swap(&self) -> io::Result<()> {
        let (db, new, old) = (self.db(), self.db_new(), self.db_old());
        sync_folder(&new)?;
        if db.exists() {
            fs::rename(&db, &old)?;
            sync_dir(&self.path)?;
        }
        crash_point!("rebuild.old_aside");
        fs::rename(&new, &db)?;
        crash_point!("rebuild.in_place");
        sync_dir(&self.path)?;
        remove_tree(&old)?;
        sync_dir(&self.path)
    }

    /// Settles what a killed rebuild left: only a whole new database lets the old one go, so where the old one stands aside and
    /// none is in place, the new one takes it; anything else that is left is garbage.
    ///
    /// To be called with `lock` held: then no rebuild runs.
    pub(crate) fn settle(&self) -> io::Result<()> {
        let (db, new, old) = (self.db(), self.db_new(), self.db_old());
        if !new.exists() && !old.exists() {
            return Ok(());
        }
        if old.exists() && !db.exists() && new.exists() {
            not_found_is_done(fs::rename(&new, &db))?;
            sync_dir(&self.path)?;
        }
        remove_tree(&new)?;
        remove_tree(&old)?;
        sync_dir(&self.path)
    }
}

impl Hold {
    fn operation(self) -> FlockOperation {
        match self {
            Self::Shared => FlockOperation::NonBlockingLockShared,
            Self::Alone => FlockOperation::NonBlockingLockExclusive,
        }
    }
}

impl Lock {
    /// Lets others in beside this process.
    pub(crate) fn share(&self) -> io::Result<()> {
        Ok(flock(&self.0, FlockOperation::LockShared)?)
    }
}

/// What this process has made and takes away again unless it is kept: files and, where they are empty by then, directories.
#[derive(Debug, Default)]
pub(crate) struct Made {
    files: Vec<PathBuf>,
    dirs: Vec<PathBuf>,
    trees: Vec<PathBuf>,
}

impl Made {
    /// Everything stays.
    pub(crate) fn keep(&mut self) {
        self.files.clear();
        self.dirs.clear();
        self.trees.clear();
    }

    /// Makes a directory and what is missing above it, durably.
    pub(crate) fn dir(&mut self, path: &Path) -> io::Result<()> {
        if path.is_dir() {
            return Ok(());
        }
        let above = parent(path);
        self.dir(above)?;
        match DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => return Ok(()),
            other => other?,
        }
        self.dirs.push(path.to_owned());
        sync_dir(above)
    }

    /// A file that this process is about to make.
    pub(crate) fn file(&mut self, path: PathBuf) {
        self.files.push(path);
    }

    /// A directory of this process's own, with all that will be in it.
    pub(crate) fn tree(&mut self, path: PathBuf) {
        self.trees.push(path);
    }

    /// Makes a store's root. What Larder is about to make for itself in one that it never used goes with the rest; bytes stay,
    /// whoever may have put them there meanwhile.
    pub(crate) fn store(&mut self, root: &Path) -> io::Result<()> {
        self.dir(root)?;
        let own = root.join(".larder");
        if !own.exists() {
            self.trees.push(own);
        }
        Ok(())
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        self.files.drain(..).for_each(|file| drop(fs::remove_file(file)));
        self.trees.drain(..).for_each(|tree| drop(fs::remove_dir_all(tree)));
        self.dirs.drain(..).rev().for_each(|dir| drop(fs::remove_dir(dir)));
    }
}

fn open_or_make(path: &Path, made: &mut Made) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).mode(0o600);
    match options.open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        other => return other,
    }
    match options.write(true).create_new(true).open(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => File::open(path),
        other => {
            let file = other?;
            made.file(path.to_owned());
            Ok(file)
        }
    }
}

/// The directory above; `.` for a name alone.
pub(crate) fn parent(path: &Path) -> &Path {
    path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes what happened in a directory survive a power cut.
pub(crate) fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn sync_folder(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        File::open(entry?.path())?.sync_all()?;
    }
    sync_dir(path)
}

fn remove_tree(path: &Path) -> io::Result<()> {
    not_found_is_done(fs::remove_dir_all(path))
}

fn not_found_is_done(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(folders: &[(&str, &str)]) -> (tempfile::TempDir, DataDir) {
        let temporary = tempfile::tempdir().unwrap();
        for (folder, database) in folders {
            fs::create_dir(temporary.path().join(folder)).unwrap();
            fs::write(temporary.path().join(folder).join("larder.db"), database).unwrap();
        }
        let dir = DataDir::new(temporary.path());
        (temporary, dir)
    }

    fn found(dir: &DataDir) -> (Option<String>, bool, bool) {
        (fs::read_to_string(dir.database()).ok(), dir.db_new().exists(), dir.db_old().exists())
    }

    #[test]
    fn a_swap_that_was_killed_anywhere_is_settled() {
        let (old, new) = (("db", "old"), ("db.new", "new"));
        for (folders, database) in [
            (vec![old], Some("old")),
            (vec![old, ("db.new", "half")], Some("old")),
            (vec![("db.old", "old"), new], Some("new")),
            (vec![("db", "new"), ("db.old", "old")], Some("new")),
            (vec![("db.new", "half")], None),
            (vec![], None),
        ] {
            let (_temporary, dir) = with(&folders);
            dir.settle().unwrap();
            assert_eq!(found(&dir), (database.map(str::to_owned), false, false), "{folders:?}");
        }
    }

    #[test]
    fn a_swap_leaves_the_new_database_alone() {
        for folders in [vec![("db", "old"), ("db.new", "new")], vec![("db.new", "new")]] {
            let (_temporary, dir) = with(&folders);
            dir.swap().unwrap();
            assert_eq!(found(&dir), (Some("new".into()), false, false));
        }
    }

    #[test]
    fn what_was_made_and_not_kept_goes_again_but_no_file_of_anybody_else() {
        let temporary = tempfile::tempdir().unwrap();
        let (deep, mut made) = (temporary.path().join("a/b/c"), Made::default());
        made.dir(&deep).unwrap();
        drop(made);
        assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 0);

        let mut made = Made::default();
        made.dir(&deep).unwrap();
        fs::write(temporary.path().join("a/b/mine"), "").unwrap();
        drop(made);
        assert!(temporary.path().join("a/b/mine").exists() && !deep.exists());
    }

    #[test]
    fn a_lock_held_alone_keeps_others_out_and_a_shared_one_does_not() {
        let temporary = tempfile::tempdir().unwrap();
        let (dir, mut made) = (DataDir::new(temporary.path()), Made::default());
        let first = dir.lock(Hold::Shared, &mut made).unwrap().unwrap();
        assert!(dir.lock(Hold::Shared, &mut made).unwrap().is_some());
        assert!(dir.lock(Hold::Alone, &mut made).unwrap().is_none());
        drop(first);
        let alone = dir.lock(Hold::Alone, &mut made).unwrap().unwrap();
        assert!(dir.lock(Hold::Shared, &mut made).unwrap().is_none());
        alone.share().unwrap();
        assert!(dir.lock(Hold::Shared, &mut made).unwrap().is_some());
    }
}
