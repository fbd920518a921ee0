//! [`LocalStore`]: the contract of a store over a directory.

use crate::durable::Durable;
use crate::errno::{Fault, Outcome};
use crate::list::{Foreign, Found, Walk, gone};
use crate::path::{self, STAGING};
use crate::pool::{Pool, lock};
use crate::probe::{self, PublishBy};
use crate::read::{Opened, Readers, etag};
use crate::root::{Root, identity};
use crate::staging::{self, Estate, Node, is_folder};
use crate::write::{self, Temporary, Times};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, future, stream, stream::BoxStream};
use larder_storage_core::{
    Body, Durable as When, ErrorKind, GetOptions, Key, Leftover, Limits, ListOptions, Listed, NodeId, Object,
    ObjectMeta, Op, OpId, Pair, Part, PutMode, PutOptions, Result, Space, Staged, Staging, Store, Written,
};
use rustix::fs::{AtFlags, FlockOperation};
use rustix::io::Errno;
use std::collections::{HashMap, VecDeque};
use std::fmt::{self, Display};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Semaphore, watch};

/// Files that a `Durable::Later` write may leave to the next sync; with more, the write syncs at once.
const LATER_MAX: usize = 1 << 16;
/// How often a race with a neighbour is run again.
const RACES_MAX: usize = 64;
/// Taken by whoever replaces: shared, or alone where the replaced object is looked at first.
const REPLACE_LOCK: &str = ".replace";
const STORE_LOCK: &str = ".lock";

/// Where a [`LocalStore`] is and what it may use.
#[derive(Clone, Debug)]
pub struct LocalOptions {
    /// The directory. Made (for its owner alone) where its parent exists.
    pub root: PathBuf,
    /// Threads that read, started when needed.
    pub readers: usize,
    /// Bytes that all downloads together may hold, read but not taken yet.
    pub read_ahead_bytes: usize,
    /// Bytes that all uploads together may gather to write them in larger pieces.
    pub write_ahead_bytes: usize,
    /// Small files synced at once; more are slower.
    pub small_syncs: usize,
    /// Threads that write and sync large files, and as many that publish, delete and list.
    pub writers: usize,
    /// Resolves paths one component at a time even where the kernel has openat2. For tests.
    #[doc(hidden)]
    pub without_openat2: bool,
    /// Publishes by rename even where the file system has links. For tests.
    #[doc(hidden)]
    pub without_links: bool,
    /// On a network file system: how long a node of another boot must have been silent to be called dead.
    pub orphan_after: Duration,
    /// This process's name there, which no other process may bear; without it, a random one.
    pub node: Option<NodeId>,
}

impl LocalOptions {
    /// The directory `root`, with 64 readers, 64 MiB of read-ahead, 20 MiB of write-ahead, 16 small syncs at once, 32 writers, and
    /// 24 hours of silence.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            readers: 64,
            read_ahead_bytes: 64 << 20,
            write_ahead_bytes: 20 << 20,
            small_syncs: 16,
            writers: 32,
            without_openat2: false,
            without_links: false,
            orphan_after: Duration::from_secs(24 * 60 * 60),
            node: None,
        }
    }
}

/// A directory as a store. Cloning is cheap; the store ends with its last clone.
#[derive(Clone)]
pub struct LocalStore {
    inner: Arc<Inner>,
}

/// What all parts of the store share.
pub(crate) struct Inner {
    pub(crate) root: Root,
    /// Whether it was this store that made Larder's own folder there.
    is_new: bool,
    display: String,
    /// `None` on a file system that is read only.
    pub(crate) node: Option<Node>,
    pub(crate) publish_by: PublishBy,
    pub(crate) is_network: bool,
    pub(crate) orphan_after: Duration,
    pub(crate) durable: Durable,
    pub(crate) estate: Mutex<Estate>,
    pub(crate) times: Times,
    pub(crate) write_budget: Arc<Semaphore>,
    readers: Arc<Readers>,
    /// Small files: created, written, hashed and synced in one job.
    pub(crate) small: Pool,
    pub(crate) writers: Pool,
    pub(crate) hashers: Pool,
    /// Names: publishing, deleting, listing.
    pub(crate) files: Pool,
    later: Mutex<Later>,
    syncing: tokio::sync::Mutex<()>,
    warned: AtomicBool,
    /// Goes last of all, for who waits until the store has ended.
    alive: watch::Sender<()>,
}

/// What the next sync owes.
#[derive(Default)]
struct Later {
    paths: Vec<String>,
    /// How many syncs have failed: one that waited for another fails with it.
    failures: u64,
}

/// A lock on the whole store, held until it is dropped.
#[derive(Debug)]
pub struct StoreLock {
    held: OwnedFd,
    root: Root,
}

impl StoreLock {
    /// Takes the store's own folders away again, for who began a store in vain. They stay where anybody else holds the lock or has a
    /// node here, and where anything lies in them. Works in the directory that was opened, whatever lies at its path by now. Blocks
    /// briefly.
    pub fn unmake(&self) {
        if let Err(fault) = self.try_unmake() {
            tracing::debug!(?fault, "the store's own folders stay");
        }
    }

    fn try_unmake(&self) -> Outcome<()> {
        // Who opened the lock's file before it goes finds, when they hold it, that its name is gone.
        rustix::fs::flock(&self.held, FlockOperation::NonBlockingLockExclusive)?;
        let (folder, name) = path::split(STAGING);
        let (own, staging) = (self.root.dir(folder)?, self.root.dir(STAGING)?);
        if staging::names(&staging)? == [STORE_LOCK] && staging::names(&own)? == [name] {
            rustix::fs::unlinkat(&staging, STORE_LOCK, AtFlags::empty())?;
            remove_own(&self.root)?;
        }
        Ok(())
    }
}

/// Removes the store's own folders, if they are empty. Whoever is about to make something in them makes them again.
fn remove_own(root: &Root) -> Outcome<()> {
    let (folder, name) = path::split(STAGING);
    rustix::fs::unlinkat(root.dir(folder)?, name, AtFlags::REMOVEDIR)?;
    Ok(rustix::fs::unlinkat(root.dir("")?, folder, AtFlags::REMOVEDIR)?)
}

impl LocalStore {
    /// What every directory can hold.
    pub const LIMITS: Limits =
        Limits { key_bytes_max: Key::BYTES_MAX, object_bytes_max: i64::MAX as u64, nested_keys: 0 };

    /// What the store over a directory calls itself.
    #[must_use]
    pub fn display_of(root: &Path) -> String {
        format!("local:{}", root.display())
    }

    /// Opens the directory, finds out what its file system can do, and begins a new node. On a read-only file system the store
    /// opens for reading alone. Blocks for some milliseconds.
    ///
    /// # Errors
    /// `NotFound` where the parent of the directory is missing; `Unsupported` where the file system changes names or can't publish
    /// without replacing; `PermissionDenied`, `Full`, `Unavailable`.
    pub fn open(options: LocalOptions) -> Result<Self> {
        let display = Self::display_of(&options.root);
        let opened = Inner::open(&options, display.clone());
        let inner = opened.map_err(|fault| fault.at(Op::Open, options.root.display(), display))?;
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        self.inner.root.place()
    }

    /// Whether nothing of Larder's own was in the directory until this store was opened.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.inner.is_new
    }

    /// Waits until the store has ended: its last clone is gone, whatever was under way is over, and with it this process's own folder,
    /// if nothing is staged there.
    pub fn ended(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut alive = self.inner.alive.subscribe();
        async move { while alive.changed().await.is_ok() {} }
    }

    /// Locks the whole store for as long as the answer lives: exclusively, or along with all who share. `None` where another holds
    /// it. The lock is advice to those who ask for it; the store itself never does. Blocks briefly.
    ///
    /// # Errors
    /// `ReadOnly`, `PermissionDenied`, `Unavailable`.
    pub fn lock(&self, exclusive: bool) -> Result<Option<StoreLock>> {
        let how =
            if exclusive { FlockOperation::NonBlockingLockExclusive } else { FlockOperation::NonBlockingLockShared };
        let lock = || -> Outcome<Option<StoreLock>> {
            for _ in 0..RACES_MAX {
                match self.inner.flock(STORE_LOCK, how) {
                    // Somebody who began the store in vain may have taken the name away before it was locked, or made.
                    Ok(held) if !self.inner.is_named(&held, STORE_LOCK) => {}
                    Err(fault) if fault.is_absent() && self.inner.root.is_there() => {}
                    Ok(held) => return Ok(Some(StoreLock { held, root: self.inner.root.another()? })),
                    Err(Fault { kind: ErrorKind::Unavailable, .. }) if self.inner.root.is_there() => return Ok(None),
                    Err(fault) => return Err(fault),
                }
            }
            Err(gone())
        };
        lock().map_err(|fault| fault.at(Op::Open, STORE_LOCK, self))
    }

    /// What lies below the root and is no object: symbolic links, sockets, names that no key becomes. For `fsck`.
    pub fn foreign(&self) -> BoxStream<'_, Result<Foreign>> {
        let foreign = self.walk(ListOptions::default()).try_filter_map(|found| {
            future::ok(match found {
                Found::Foreign(foreign) => Some(foreign),
                Found::Object(_) => None,
            })
        });
        foreign.boxed()
    }

    fn walk(&self, options: ListOptions) -> impl futures_util::Stream<Item = Result<Found>> + Send + '_ {
        enum At {
            Start(ListOptions),
            On(Walk, VecDeque<Found>),
        }
        let subject = options.prefix.clone();
        stream::try_unfold(At::Start(options), move |at| async move {
            let step = match at {
                At::On(walk, mut found) if !found.is_empty() => {
                    return Ok(found.pop_front().map(|first| (first, At::On(walk, found))));
                }
                At::On(walk, _) => self.inner.files.run(move || step(walk)).await,
                At::Start(options) => {
                    let inner = self.inner.clone();
                    self.inner.files.run(move || Walk::begin(inner, &options).and_then(step)).await
                }
            };
            let (walk, mut found) = step.and_then(|step| step)?;
            Ok(found.pop_front().map(|first| (first, At::On(walk, found))))
        })
        // A folder that goes while it is read is empty; only the root's own end is told, as the outage that it is.
        .map_err(move |fault: Fault| if fault.is_absent() { gone() } else { fault }.at(Op::List, &subject, self))
    }

    /// Runs a call about one object on the pool of names.
    async fn act<T: Send + 'static>(
        &self,
        op: Op,
        subject: impl Display,
        act: impl FnOnce(&Arc<Inner>) -> Outcome<T> + Send + 'static,
    ) -> Result<T> {
        let inner = self.inner.clone();
        let acted = self.inner.files.run(move || act(&inner).map_err(|fault| inner.absent(fault))).await;
        acted.and_then(|acted| acted).map_err(|fault| fault.at(op, subject, self))
    }
}

/// Whether an object is the installation's own: by such ones it finds out whose store it is, and whether it is there. What users keep is
/// read for as long as it can be.
fn tells_of_the_store(key: &Key) -> bool {
    key.as_str().starts_with(".larder/")
}

fn step(mut walk: Walk) -> Outcome<(Walk, VecDeque<Found>)> {
    let found = walk.step()?;
    Ok((walk, found))
}

impl Inner {
    fn open(options: &LocalOptions, display: String) -> Outcome<Self> {
        let mut root = Root::open(&options.root, !options.without_openat2)?;
        let is_network = probe::is_network(&root)?;
        let is_new = matches!(root.dir(path::parent(STAGING)), Err(Errno::NOENT));
        let (node, publish_by) = match begin(&mut root, options.node.as_ref()) {
            Ok((node, _)) if options.without_links => (Some(node), PublishBy::Rename),
            Ok((node, publish_by)) => (Some(node), publish_by),
            Err(fault) if fault.kind == ErrorKind::ReadOnly => (None, PublishBy::Link),
            Err(fault) => {
                if is_new {
                    let _ = remove_own(&root);
                }
                return Err(fault);
            }
        };
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        let units = (options.write_ahead_bytes / write::UNIT).clamp(1, Semaphore::MAX_PERMITS);
        Ok(Self {
            root,
            is_new: is_new && node.is_some(),
            display,
            node,
            publish_by,
            is_network,
            orphan_after: options.orphan_after,
            durable: Durable::default(),
            estate: Mutex::default(),
            times: Times::default(),
            write_budget: Arc::new(Semaphore::new(units)),
            readers: Arc::new(Readers::new(options.readers, options.read_ahead_bytes)),
            small: Pool::new("larder-small", options.small_syncs),
            writers: Pool::new("larder-write", options.writers),
            hashers: Pool::new("larder-hash", cores.max(2)),
            files: Pool::new("larder-files", options.writers),
            later: Mutex::default(),
            syncing: tokio::sync::Mutex::default(),
            warned: AtomicBool::new(false),
            alive: watch::Sender::new(()),
        })
    }

    /// This process's own folder; none on a read-only file system.
    pub(crate) fn node(&self) -> Outcome<&Node> {
        self.node.as_ref().ok_or_else(|| ErrorKind::ReadOnly.into())
    }

    /// That nothing lies there: but only if the store itself is there.
    fn absent(&self, fault: Fault) -> Fault {
        if fault.is_absent() && !self.root.is_there() { gone() } else { fault }
    }

    /// The same options, but durable at once where too much is left for later already.
    fn bounded(&self, options: PutOptions) -> PutOptions {
        let full = lock(&self.later).paths.len() >= LATER_MAX;
        PutOptions { durable: if full { When::Now } else { options.durable }, ..options }
    }

    /// Says once that there is something a listing leaves out.
    fn warn_of(&self, foreign: &Foreign) {
        if !self.warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(store = %self, path = %foreign.path, why = ?foreign.why, "not an object, left out of listings, like all such");
        }
    }

    fn flock(&self, name: &str, how: FlockOperation) -> Outcome<OwnedFd> {
        self.node()?;
        let staging = self.root.dir_or_make(STAGING)?;
        let file = match self.root.lock_file_in(&staging, name) {
            Err(Errno::NOENT) => match self.root.create(&staging, name) {
                Err(Errno::EXIST) => self.root.lock_file_in(&staging, name)?,
                made => made?,
            },
            file => file?,
        };
        rustix::fs::flock(&file, how)?;
        Ok(file)
    }

    /// Whether it is still the file of that name in the store's own folder.
    fn is_named(&self, file: &OwnedFd, name: &str) -> bool {
        let there =
            self.root.dir(STAGING).and_then(|staging| rustix::fs::statat(&staging, name, AtFlags::SYMLINK_NOFOLLOW));
        matches!((there, rustix::fs::fstat(file)), (Ok(there), Ok(ours)) if identity(&there) == identity(&ours))
    }

    /// Opens an object without a hop, if nothing has to be waited for: not a disk, and not another machine.
    fn cached(&self, key: &Key) -> Option<OwnedFd> {
        if self.is_network || tells_of_the_store(key) { None } else { self.root.file_cached(&path::of_key(key)) }
    }

    /// Opens an object.
    fn open_object(&self, key: &Key) -> Outcome<Opened> {
        if tells_of_the_store(key) && !self.root.is_there() {
            return Err(gone());
        }
        let file = self.root.file(&path::of_key(key)).map_err(Fault::read);
        file.and_then(|file| Opened::new(file, key)).map_err(|fault| self.absent(fault))
    }

    /// Gives a temporary file its name by the mode, and makes it durable or leaves that to the next sync.
    fn put(&self, temporary: Temporary, path: &str, options: &PutOptions) -> Outcome<Written> {
        crate::reach("local.put.written");
        let (folder, _) = path::split(path);
        let (dir, kept) = self.place(&temporary, path, &options.mode)?;
        let stat = rustix::fs::fstat(&*temporary.file)?;
        crate::reach("local.put.named");
        if kept {
            temporary.keep();
        } else {
            temporary.remove();
        }
        match options.durable {
            When::Later => lock(&self.later).paths.push(path.to_owned()),
            When::Now => self.durable.sync_one(&self.root, folder, Some(dir))?,
        }
        crate::reach("local.put.synced");
        Ok(Written { size: stat.st_size.unsigned_abs(), etag: etag(&stat) })
    }

    /// Answers the folder, and whether the temporary name itself has become the object.
    fn place(&self, temporary: &Temporary, path: &str, mode: &PutMode) -> Outcome<(OwnedFd, bool)> {
        let (folder, name) = path::split(path);
        for _ in 0..RACES_MAX {
            let dir = self.root.dir_or_make(folder)?;
            let placed = match mode {
                PutMode::Create => self.publish_by.name(&self.node()?.dir, &temporary.name, &dir, name),
                _ => self.replace(temporary, &dir, name, mode)?,
            };
            match placed {
                Ok(()) => return Ok((dir, *mode != PutMode::Create || self.publish_by == PublishBy::Rename)),
                Err(Errno::EXIST | Errno::ISDIR) if is_folder(&dir, name) => clear_empty(self, path)?,
                // A neighbour removed the empty folder that we had opened.
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Err(gone())
    }

    fn replace(
        &self,
        temporary: &Temporary,
        dir: &OwnedFd,
        name: &str,
        mode: &PutMode,
    ) -> Outcome<rustix::io::Result<()>> {
        let _held = match mode {
            PutMode::ReplaceIf(expected) => {
                let held = self.flock(REPLACE_LOCK, FlockOperation::LockExclusive)?;
                match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(stat) if etag(&stat) == *expected => held,
                    Ok(_) | Err(Errno::NOENT) => return Err(ErrorKind::PreconditionFailed.into()),
                    Err(errno) => return Err(errno.into()),
                }
            }
            _ => self.flock(REPLACE_LOCK, FlockOperation::LockShared)?,
        };
        Ok(rustix::fs::renameat(&self.node()?.dir, &temporary.name, dir, name))
    }

    fn delete(&self, key: &Key) -> Outcome<()> {
        self.node()?;
        let path = path::of_key(key);
        let (folder, name) = path::split(&path);
        let (dir, at) = self.nearest(folder)?;
        if at == folder {
            let _held = self.flock(REPLACE_LOCK, FlockOperation::LockShared)?;
            match rustix::fs::unlinkat(&dir, name, AtFlags::empty()) {
                Ok(()) => crate::reach("local.delete.unlinked"),
                Err(Errno::NOENT | Errno::ISDIR) if self.root.is_there() => {}
                Err(Errno::PERM) if is_folder(&dir, name) => {}
                Err(Errno::NOENT) => return Err(gone()),
                Err(errno) => return Err(errno.into()),
            }
        } else if !self.root.is_there() {
            return Err(gone());
        }
        // Synced even where nothing was there: an earlier delete may have died before its sync.
        rustix::fs::fsync(&dir).map_err(|errno| Fault::from(errno).unsettled())?;
        crate::reach("local.delete.synced");
        Ok(())
    }

    /// A folder, or the nearest one above it that is there. Its end must be as durable as that of what lay in it.
    pub(crate) fn nearest<'a>(&self, folder: &'a str) -> Outcome<(OwnedFd, &'a str)> {
        let mut at = folder;
        loop {
            match self.root.dir(at) {
                Err(Errno::NOENT | Errno::NOTDIR) if !at.is_empty() => at = path::parent(at),
                dir => return Ok((dir?, at)),
            }
        }
    }

    fn copy(self: &Arc<Self>, from: &Key, to: &Key, options: &PutOptions) -> Outcome<Written> {
        let source = self.open_object(from)?;
        let temporary = Temporary::create(self, self.node()?.temporary_name())?;
        let copied = copy_bytes(&source, &temporary.file)
            .and_then(|()| write::finish(self, &temporary.file, options.durable == When::Now));
        if let Err(fault) = copied {
            temporary.remove();
            return Err(fault);
        }
        self.put(temporary, &path::of_key(to), options)
    }

    /// What is left on the file system, for this user.
    fn space(&self) -> Outcome<Space> {
        let about = rustix::fs::statvfs(self.root.place())?;
        let bytes = |blocks: u64| blocks.saturating_mul(about.f_frsize);
        Ok(Space { free: bytes(about.f_bavail), total: bytes(about.f_blocks) })
    }

    /// Makes what was left for later durable.
    fn sync_paths(&self, paths: Vec<String>) -> Outcome<()> {
        let folders: std::collections::BTreeSet<String> =
            paths.iter().map(|path| path::parent(path).to_owned()).collect();
        for path in paths {
            match self.root.file(&path) {
                // It was deleted, replaced or moved meanwhile; its folder is synced below all the same.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::ISDIR) => {}
                file => rustix::fs::fsync(file?)?,
            }
        }
        self.durable.sync(&self.root, folders, &HashMap::new()).into_values().collect()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.end_node();
        if self.is_new {
            let _ = remove_own(&self.root);
        }
    }
}

/// Begins this process's node and tries the file system in its folder.
fn begin(root: &mut Root, name: Option<&NodeId>) -> Outcome<(Node, PublishBy)> {
    let mut races = 0;
    let node = loop {
        match Node::begin(root, name.cloned().map_or_else(staging::random_id, Ok)?) {
            // Somebody who was clearing up took the folder for a dead one's before it was locked.
            Err(fault) if (fault.is_absent() || fault.kind == ErrorKind::Unavailable) && races < 3 => races += 1,
            node => break node?,
        }
    };
    let publish_by = probe::probe(root, &node.dir);
    match publish_by {
        Ok(publish_by) => Ok((node, publish_by)),
        Err(fault) => {
            staging::abandon(root, &node);
            Err(fault)
        }
    }
}

/// Removes the folder at `path` and those in it, if no file lies below: an empty folder is nothing to a store, but it would stand
/// in the way of an object of its name.
pub(crate) fn clear_empty(inner: &Inner, path: &str) -> Outcome<()> {
    let (folder, name) = path::split(path);
    let dir = match inner.root.dir(path) {
        Err(Errno::NOENT) => return Ok(()),
        dir => dir?,
    };
    for child in staging::names(&dir)? {
        if !is_folder(&dir, &child) {
            return Err(ErrorKind::KeyConflict.into());
        }
        clear_empty(inner, &path::join(path, &child))?;
    }
    let _removal = inner.durable.removing(path);
    match rustix::fs::unlinkat(inner.root.dir(folder)?, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(Errno::EXIST) => Err(ErrorKind::KeyConflict.into()),
        Err(errno) => Err(errno.into()),
    }
}

/// Copies by reference where the file system can, else within the kernel, else by hand.
fn copy_bytes(source: &Opened, target: &OwnedFd) -> Outcome<()> {
    if rustix::fs::ioctl_ficlone(target, &source.file).is_ok() {
        return Ok(());
    }
    let mut offset = 0;
    while offset < source.meta.size {
        let want = usize::try_from(source.meta.size - offset).unwrap_or(usize::MAX).min(1 << 30);
        let (mut from, mut to) = (offset, offset);
        match rustix::fs::copy_file_range(&source.file, Some(&mut from), target, Some(&mut to), want) {
            Ok(0) => return copy_by_hand(source, target, offset),
            Ok(count) => offset += count as u64,
            Err(Errno::INTR) => {}
            Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM) => {
                return copy_by_hand(source, target, offset);
            }
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

fn copy_by_hand(source: &Opened, target: &OwnedFd, mut offset: u64) -> Outcome<()> {
    while offset < source.meta.size {
        let block = offset..source.meta.size.min(offset + (1 << 20));
        let Some(bytes) = Readers::read_small(&source.file, &block) else { return Err(ErrorKind::Unsupported.into()) };
        write::write_all(target, &[bytes?], offset)?;
        offset = block.end;
    }
    Ok(())
}

#[async_trait]
impl Store for LocalStore {
    async fn put(&self, key: &Key, body: Body, options: PutOptions) -> Result<Written> {
        let put = async {
            let name = self.inner.node()?.temporary_name();
            let options = self.inner.bounded(options);
            let now = options.durable == When::Now;
            let (temporary, _) = write::write(&self.inner, name, body, self.limits().object_bytes_max, now).await?;
            let (inner, path) = (self.inner.clone(), path::of_key(key));
            self.inner.files.run(move || inner.put(temporary, &path, &options)).await?
        };
        put.await.map_err(|fault: Fault| fault.at(Op::Put, key, self))
    }

    async fn get(&self, key: &Key, options: GetOptions) -> Result<Object> {
        let get = async {
            // What the kernel has at hand costs less here than a hop to another thread.
            let (opened, range, bytes) = match self.inner.cached(key) {
                Some(file) => {
                    let opened = Opened::new(file, key)?;
                    let range = opened.select(&options)?;
                    let bytes = Readers::read_cached(&opened.file, &range);
                    (opened, range, bytes)
                }
                None => {
                    let (inner, key) = (self.inner.clone(), key.clone());
                    self.inner.readers.run(move || open_and_read(&inner, &key, &options)).await?
                }
            };
            let Opened { file, meta } = opened;
            let body = match bytes {
                Some(bytes) if bytes.is_empty() => stream::empty().boxed(),
                Some(bytes) => stream::once(future::ok(bytes)).boxed(),
                None => self.inner.readers.stream(file, range.clone()),
            };
            Ok(Object { meta, range, body })
        };
        get.await.map_err(|fault: Fault| fault.at(Op::Get, key, self))
    }

    async fn head(&self, key: &Key) -> Result<ObjectMeta> {
        let head = async {
            if let Some(file) = self.inner.cached(key) {
                return Ok(Opened::new(file, key)?.meta);
            }
            let (inner, key) = (self.inner.clone(), key.clone());
            self.inner.readers.run(move || Ok(inner.open_object(&key)?.meta)).await
        };
        head.await.map_err(|fault: Fault| fault.at(Op::Head, key, self))
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        let owned = key.clone();
        self.act(Op::Delete, key, move |inner| inner.delete(&owned)).await
    }

    fn list(&self, options: ListOptions) -> BoxStream<'_, Result<Listed>> {
        let listed = self.walk(options).try_filter_map(move |found| {
            future::ok(match found {
                Found::Object(listed) => Some(listed),
                Found::Foreign(foreign) => {
                    self.inner.warn_of(&foreign);
                    None
                }
            })
        });
        listed.boxed()
    }

    async fn copy(&self, from: &Key, to: &Key, options: PutOptions) -> Result<Written> {
        let (source, target) = (from.clone(), to.clone());
        let (inner, options) = (self.inner.clone(), self.inner.bounded(options));
        let copied = self.inner.writers.run(move || inner.copy(&source, &target, &options)).await;
        copied.and_then(|copied| copied).map_err(|fault| fault.at(Op::Copy, format!("{from}` to `{to}"), self))
    }

    async fn sync(&self) -> Result<()> {
        let failures = lock(&self.inner.later).failures;
        let _one = self.inner.syncing.lock().await;
        let paths = {
            let mut later = lock(&self.inner.later);
            if later.failures != failures {
                let fault = Fault::says(ErrorKind::Indeterminate, "a sync that took these writes along has failed");
                return Err(fault.at(Op::Sync, "", self));
            }
            std::mem::take(&mut later.paths)
        };
        let synced = self.act(Op::Sync, "", move |inner| inner.sync_paths(paths)).await;
        if synced.is_err() {
            lock(&self.inner.later).failures += 1;
        }
        synced
    }

    async fn space(&self) -> Result<Option<Space>> {
        self.act(Op::Head, "", |inner| inner.space()).await.map(Some)
    }

    fn limits(&self) -> Limits {
        Self::LIMITS
    }

    fn staging(&self) -> Option<&dyn Staging> {
        Some(self)
    }
}

fn open_and_read(
    inner: &Inner,
    key: &Key,
    options: &GetOptions,
) -> Outcome<(Opened, std::ops::Range<u64>, Option<Bytes>)> {
    let opened = inner.open_object(key)?;
    let range = opened.select(options)?;
    let bytes = Readers::read_small(&opened.file, &range).transpose()?;
    Ok((opened, range, bytes))
}

#[async_trait]
impl Staging for LocalStore {
    fn node(&self) -> NodeId {
        // A read-only store stages nothing, and no process ever bears this name.
        self.inner.node.as_ref().map_or_else(|| NodeId::from_random([0; 16]), |node| node.id.clone())
    }

    async fn is_alive(&self, node: &NodeId) -> Result<bool> {
        let owned = node.clone();
        self.act(Op::Recover, node, move |inner| inner.is_alive(&owned)).await
    }

    async fn stage(&self, op: &OpId, part: Part, body: Body) -> Result<Staged> {
        let max = match part {
            Part::Bytes => self.limits().object_bytes_max,
            Part::Attributes => staging::ATTRIBUTES_MAX,
        };
        let stage = async {
            let (temporary, staged) = write::write(&self.inner, staging::part_name(op, part), body, max, true).await?;
            self.inner.staged(op, part, temporary)?;
            crate::reach(match part {
                Part::Bytes => "local.stage.bytes_durable",
                Part::Attributes => "local.stage.attributes_durable",
            });
            Ok(staged)
        };
        stage.await.map_err(|fault: Fault| fault.at(Op::Stage, op, self))
    }

    async fn stage_pair(&self, op: &OpId, bytes: Bytes, attributes: Bytes) -> Result<()> {
        let (inner, owned) = (self.inner.clone(), op.clone());
        let stage = move || {
            let names = [Part::Bytes, Part::Attributes].map(|part| staging::part_name(&owned, part));
            let [bytes, attributes] = write::write_pair(&inner, names, [bytes, attributes])?;
            inner.staged(&owned, Part::Bytes, bytes)?;
            crate::reach("local.stage.bytes_durable");
            inner.staged(&owned, Part::Attributes, attributes)?;
            crate::reach("local.stage.attributes_durable");
            Ok(())
        };
        let staged = self.inner.small.run(stage).await.and_then(|staged| staged);
        staged.map_err(|fault: Fault| fault.at(Op::Stage, op, self))
    }

    async fn publish(&self, pairs: &[Pair]) -> Vec<Result<()>> {
        let (inner, owned) = (self.inner.clone(), pairs.to_vec());
        let results = match self.inner.files.run(move || staging::publish(&inner, &owned)).await {
            Ok(results) => results,
            Err(fault) => pairs.iter().map(|_| Err(fault.again().unsettled())).collect(),
        };
        let name =
            |(result, pair): (Outcome<()>, &Pair)| result.map_err(|fault| fault.at(Op::Publish, &pair.bytes, self));
        results.into_iter().zip(pairs).map(name).collect()
    }

    async fn leftovers(&self) -> Result<Vec<Leftover>> {
        Ok(self.act(Op::Recover, STAGING, Inner::leftovers).await?.hand_over())
    }

    async fn finish(&self, pair: &Pair) -> Result<()> {
        let owned = pair.clone();
        self.act(Op::Recover, &pair.bytes, move |inner| inner.finish(&owned)).await
    }

    async fn withdraw(&self, op: &OpId, bytes: &Key) -> Result<bool> {
        let (op, key) = (op.clone(), bytes.clone());
        self.act(Op::Recover, bytes, move |inner| inner.withdraw(&op, &key)).await
    }

    async fn holds(&self, bytes: &Key) -> Result<bool> {
        let key = bytes.clone();
        self.act(Op::Recover, bytes, move |inner| inner.holds(&key)).await
    }

    async fn discard(&self, op: &OpId) -> Result<()> {
        if self.inner.is_linked(op) {
            // Two names go and no bytes: cheaper than a hop to another thread.
            return self.inner.discard(op).map_err(|fault| fault.at(Op::Discard, op, self));
        }
        let owned = op.clone();
        self.act(Op::Discard, op, move |inner| inner.discard(&owned)).await
    }
}

impl Display for LocalStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl Display for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.display)
    }
}

impl fmt::Debug for LocalStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalStore")
            .field("root", &self.inner.root)
            .field("node", &self.inner.node)
            .finish_non_exhaustive()
    }
}
