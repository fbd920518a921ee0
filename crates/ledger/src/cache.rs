//! Rows that were read lately, and ids that had none, valid as long as nobody commits. A commit of any process changes the header of SQLite's wal-index,
//! which is how SQLite itself tells whether its page cache still holds (file format of the WAL, section 2.3.1). One `pread` of that
//! header instead of a query makes small downloads several times faster; the first commit afterwards forgets all rows.

use larder_files::{FileId, ledger::FileRow};
use std::{
    collections::HashMap,
    fs::File,
    mem::ManuallyDrop,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Rows kept: at most about 8 MiB of them.
const ROWS_MAX: usize = 1024;
/// The wal-index begins with two copies of a header of so many bytes; they differ while it is being written.
const HEADER: usize = 48;
/// Where the header says that it is in use.
const IS_INIT: usize = 12;

/// The state of the database that a row was read in.
type Generation = [u8; HEADER];

/// A cache of file rows and of their absence. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct RowCache(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Never closed: closing any descriptor of this file would drop the locks that SQLite holds on it in this process
    /// (POSIX, `fcntl`).
    index: Option<ManuallyDrop<File>>,
    rows: Mutex<Rows>,
}

#[derive(Debug, Default)]
struct Rows {
    generation: Option<Generation>,
    by_id: HashMap<FileId, Option<FileRow>>,
}

impl RowCache {
    /// A cache for the database at `path`, which is open already. Where its wal-index can't be read nothing is ever cached.
    pub(crate) fn open(path: &Path) -> Self {
        let mut index = path.as_os_str().to_owned();
        index.push("-shm");
        let index = File::open(PathBuf::from(index)).ok().map(ManuallyDrop::new);
        Self(Arc::new(Inner { index, rows: Mutex::default() }))
    }

    /// The database's state now; `None` where it can't be told.
    pub(crate) fn generation(&self) -> Option<Generation> {
        let mut copies = [0; 2 * HEADER];
        self.0.index.as_ref()?.read_exact_at(&mut copies, 0).ok()?;
        let (first, second) = copies.split_at(HEADER);
        (first == second && first[IS_INIT] != 0).then(|| first.try_into().expect("half of two headers"))
    }

    /// What was read in the present state: a row, or that there is none. (Were only rows kept, the time of an answer would tell
    /// whether another's file is there.)
    pub(crate) fn get(&self, id: FileId) -> Option<Option<FileRow>> {
        let now = self.generation()?;
        let rows = self.rows();
        if rows.generation == Some(now) { rows.by_id.get(&id).cloned() } else { None }
    }

    /// Keeps what was read after the state was `before`, if it is still that.
    pub(crate) fn put(&self, before: Option<Generation>, id: FileId, row: Option<FileRow>) {
        let Some(now) = self.generation().filter(|now| Some(*now) == before) else { return };
        let mut rows = self.rows();
        if rows.generation != Some(now) || rows.by_id.len() >= ROWS_MAX {
            rows.by_id.clear();
            rows.generation = Some(now);
        }
        rows.by_id.insert(id, row);
    }

    fn rows(&self) -> MutexGuard<'_, Rows> {
        self.0.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
