//! [`DataDir`]: `db/larder.db`, `secrets.toml`, `lock`, `serve.lock`, `setup-link`, `nodes/` and `objects/` in one directory, private to its user.
//!
//! Who works in it holds a shared `flock` on `lock`; who makes or replaces the database holds it exclusively. What a first start
//! makes, it takes away again when it fails, under the locks that it was made under: a refusal leaves everything as it was. Nothing
//! that may be another's is ever removed: no folder that holds anything, and no file but those that this process made.

use crate::output::refuse;
use anyhow::{Context as _, Result};
use larder_storage_core::crash_point;
use larder_storage_local::StoreLock;
use rustix::{
    fs::{FlockOperation, Mode, flock},
    io::Errno,
};
use std::{
    fs::{self, DirBuilder, File, Metadata, OpenOptions},
    io::{self, ErrorKind, Write},
    net::SocketAddr,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
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

/// A lock on a data directory, held until its last clone is dropped.
#[derive(Clone, Debug)]
pub(crate) struct Lock(Arc<File>);

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

    /// Where each process holds a lock, if there are buckets.
    pub(crate) fn nodes(&self) -> PathBuf {
        self.path.join("nodes")
    }

    /// Where a server that has no terminal writes its set-up link.
    pub(crate) fn setup_link(&self) -> PathBuf {
        self.path.join("setup-link")
    }

    /// Takes `lock`; `None` where somebody holds it in a way that forbids it.
    pub(crate) fn lock(&self, hold: Hold, made: &mut Made) -> Result<Option<Lock>> {
        self.take("lock", hold, made)
    }

    /// Takes `serve.lock`; `None` where another server holds it.
    pub(crate) fn serve_lock(&self, made: &mut Made) -> Result<Option<Lock>> {
        self.take("serve.lock", Hold::Alone, made)
    }

    /// Whether a server holds `serve.lock`. Makes nothing; who begins to serve in this very moment may be refused.
    pub(crate) fn is_served(&self) -> bool {
        let Ok(file) = File::open(self.path.join("serve.lock")) else { return false };
        matches!(flock(&file, FlockOperation::NonBlockingLockShared), Err(Errno::WOULDBLOCK))
    }

    /// Says in `serve.lock`, which is held, where this server listens.
    pub(crate) fn say_where(&self, address: SocketAddr) -> io::Result<()> {
        fs::write(self.path.join("serve.lock"), format!("{address}\n"))
    }

    /// Where the server that runs here listens.
    pub(crate) fn served_at(&self) -> Option<SocketAddr> {
        if !self.is_served() {
            return None;
        }
        fs::read_to_string(self.path.join("serve.lock")).ok()?.trim().parse().ok()
    }

    fn take(&self, name: &str, hold: Hold, made: &mut Made) -> Result<Option<Lock>> {
        let path = self.path.join(name);
        loop {
            let (file, is_new) = open_or_make(&path).map_err(|error| self.not_writable(&path, &error))?;
            let lock = Lock(Arc::new(file));
            match flock(&*lock.0, hold.operation()) {
                Err(Errno::WOULDBLOCK) => return Ok(None),
                other => other.with_context(|| format!("cannot lock {}", path.display()))?,
            }
            // A first start that failed may have taken the file away since it was opened.
            if lock.is_named(&path) {
                if is_new {
                    made.0.push(Step::Lock(lock.clone(), path));
                }
                return Ok(Some(lock));
            }
        }
    }

    /// Makes the directory where it is missing.
    pub(crate) fn make(&self, made: &mut Made) -> Result<()> {
        made.dir(&self.path).map_err(|error| self.not_writable(&self.path, &error))
    }

    /// Refuses a directory that this user may not look into: what is in it would be taken for absent.
    ///
    /// # Errors
    /// It is another user's, or no directory.
    pub(crate) fn check_readable(&self) -> Result<()> {
        match fs::read_dir(&self.path) {
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                let what = format!("cannot look into {}: {error}", self.path.display());
                Err(refuse(what, theirs(&self.path)))
            }
            Err(error) if error.kind() == ErrorKind::NotADirectory => {
                let what = format!("{} is no directory", self.path.display());
                Err(refuse(what, "give one: `--data DIR` (or LARDER_DATA)"))
            }
            _ => Ok(()),
        }
    }

    /// The refusal of a directory in which nothing can be made.
    pub(crate) fn not_writable(&self, path: &Path, error: &io::Error) -> anyhow::Error {
        let what = format!("cannot write {}: {error}", path.display());
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
                refuse(what, "make room on that disk, or take another: `--data DIR` (or LARDER_DATA)")
            }
            ErrorKind::PermissionDenied => refuse(what, theirs(path)),
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
        Ok(flock(&*self.0, FlockOperation::LockShared)?)
    }

    fn is_named(&self, path: &Path) -> bool {
        is_same(path, self.0.metadata().ok().as_ref().map(place))
    }

    /// Takes its file away, unless somebody else holds it too.
    fn unmake(&self, path: &Path) -> io::Result<()> {
        flock(&*self.0, FlockOperation::NonBlockingLockExclusive)?;
        if self.is_named(path) { fs::remove_file(path) } else { Ok(()) }
    }
}

/// What this process has made, the first first. Unless it is kept, each goes again, the last first; a lock is held until what was made
/// after it is gone.
#[derive(Debug, Default)]
pub(crate) struct Made(Vec<Step>);

#[derive(Debug)]
enum Step {
    /// Goes where it is empty by then.
    Dir(PathBuf),
    /// Goes where it is still the one that was made.
    File(PathBuf, (u64, u64)),
    /// Files of a database, which nobody else makes or opens as long as its lock is held alone.
    Database(Vec<PathBuf>),
    Lock(Lock, PathBuf),
    /// A store that nobody had used.
    Store(Arc<StoreLock>),
}

impl Made {
    /// Everything stays.
    pub(crate) fn keep(&mut self) {
        self.0.clear();
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
        self.0.push(Step::Dir(path.to_owned()));
        sync_dir(above)
    }

    /// A file that this process has just made.
    pub(crate) fn file(&mut self, path: PathBuf) -> io::Result<()> {
        let made = place(&fs::symlink_metadata(&path)?);
        self.0.push(Step::File(path, made));
        Ok(())
    }

    /// Makes the folder of a database, which is about to be made in it, too, with the data directory's lock held alone.
    pub(crate) fn database(&mut self, folder: &Path) -> io::Result<()> {
        self.dir(folder)?;
        let files = ["", "-wal", "-shm", "-journal"].map(|suffix| folder.join(format!("larder.db{suffix}")));
        self.0.push(Step::Database(files.into_iter().filter(|file| !file.exists()).collect()));
        Ok(())
    }

    /// A store in which Larder's own folder was missing.
    pub(crate) fn store(&mut self, lock: Arc<StoreLock>) {
        self.0.push(Step::Store(lock));
    }
}

impl Step {
    fn undo(&self) -> io::Result<()> {
        match self {
            Self::Dir(path) => fs::remove_dir(path),
            Self::File(path, made) if is_same(path, Some(*made)) => fs::remove_file(path),
            Self::File(..) => Ok(()),
            Self::Database(files) => files.iter().try_for_each(|file| not_found_is_done(fs::remove_file(file))),
            Self::Lock(lock, path) => lock.unmake(path),
            Self::Store(lock) => {
                lock.unmake();
                Ok(())
            }
        }
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        while let Some(step) = self.0.pop() {
            if let Err(error) = step.undo() {
                tracing::debug!(?step, %error, "it stays");
            }
        }
    }
}

/// Says too whether it was made.
fn open_or_make(path: &Path) -> io::Result<(File, bool)> {
    let mut options = OpenOptions::new();
    options.read(true).mode(0o600);
    match options.open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        other => return Ok((other?, false)),
    }
    match options.write(true).create_new(true).open(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok((File::open(path)?, false)),
        other => Ok((other?, true)),
    }
}

fn place(about: &Metadata) -> (u64, u64) {
    (about.dev(), about.ino())
}

fn is_same(path: &Path, made: Option<(u64, u64)>) -> bool {
    made.is_some() && fs::symlink_metadata(path).ok().as_ref().map(place) == made
}

/// Puts a file that only this user reads in the place of one that may be there. It need not outlive a power cut.
pub(crate) fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let half = path.with_extension("new");
    not_found_is_done(fs::remove_file(&half))?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&half)?;
    file.write_all(text.as_bytes())?;
    fs::rename(&half, path)
}

/// Whose a path is, and what to do for it to be this user's: of one that is not there, the nearest above.
fn theirs(path: &Path) -> String {
    let (user, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let there = path.ancestors().find_map(|path| fs::metadata(path).ok().map(|about| (path, about)));
    let Some((there, about)) = there else { return "give a directory of this user's: `--data DIR`".into() };
    let (owner, there) = (about.uid(), there.display());
    if owner == user {
        return format!("{there} is this user's, and read-only: `chmod u+rwx {there}`");
    }
    format!(
        "{there} is user {owner}'s, and this is user {user}: `chown -R {user}:{group} {there}`, or run as user {owner} \
         (in a container: `--user {owner}:{}`), or give another directory: `--data DIR` (or LARDER_DATA)",
        about.gid()
    )
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
    fn a_refusal_tells_whose_a_directory_is() {
        let temporary = tempfile::tempdir().unwrap();
        let deep = temporary.path().join("not/there");
        assert!(theirs(&deep).contains("chmod u+rwx"), "{}", theirs(&deep));
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(temporary.path(), Some(12_345), Some(54_321)).unwrap();
            let told = theirs(&deep);
            assert!(told.contains("chown -R 0:0") && told.contains("--user 12345:54321"), "{told}");
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
    fn only_what_was_made_goes_again() {
        let temporary = tempfile::tempdir().unwrap();
        let (dir, mut made) = (DataDir::new(temporary.path()), Made::default());
        fs::create_dir(dir.db()).unwrap();
        fs::write(dir.db().join("notes"), "mine").unwrap();
        fs::write(dir.db().join("larder.db-wal"), "mine").unwrap();
        let lock = dir.lock(Hold::Alone, &mut made).unwrap().unwrap();
        made.database(&dir.db()).unwrap();
        fs::write(dir.database(), "made").unwrap();
        fs::write(dir.secrets(), "made").unwrap();
        made.file(dir.secrets()).unwrap();
        // Somebody put theirs in its place.
        fs::rename(dir.secrets(), temporary.path().join("older")).unwrap();
        fs::write(dir.secrets(), "theirs").unwrap();
        lock.share().unwrap();
        let another = dir.lock(Hold::Shared, &mut Made::default()).unwrap().unwrap();
        drop(made);
        assert!(!dir.database().exists());
        for left in ["db/notes", "db/larder.db-wal", "secrets.toml", "lock"] {
            assert!(temporary.path().join(left).exists(), "{left}");
        }
        drop(another);
    }

    #[test]
    fn what_was_made_goes_again_under_its_lock() {
        let temporary = tempfile::tempdir().unwrap();
        let (dir, mut made) = (DataDir::new(temporary.path()), Made::default());
        drop(dir.lock(Hold::Alone, &mut made).unwrap().unwrap());
        assert!(dir.lock(Hold::Shared, &mut Made::default()).unwrap().is_none(), "it holds until all is gone");
        drop(made);
        assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_lock_held_alone_keeps_others_out_and_a_shared_one_does_not() {
        let temporary = tempfile::tempdir().unwrap();
        let (dir, mut made) = (DataDir::new(temporary.path()), Made::default());
        let first = dir.lock(Hold::Shared, &mut made).unwrap().unwrap();
        made.keep();
        assert!(dir.lock(Hold::Shared, &mut made).unwrap().is_some());
        assert!(dir.lock(Hold::Alone, &mut made).unwrap().is_none());
        drop(first);
        let alone = dir.lock(Hold::Alone, &mut made).unwrap().unwrap();
        assert!(dir.lock(Hold::Shared, &mut made).unwrap().is_none());
        alone.share().unwrap();
        assert!(dir.lock(Hold::Shared, &mut made).unwrap().is_some());
    }
}
