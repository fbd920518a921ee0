//! This process's own folder below `.larder/staging/`, the parts staged in it, their publication, and what dead processes left.
//!
//! `<node>/lock` is locked as long as its process lives; `<node>/node.json` says in which boot of the machine. A node is dead when
//! its lock is free and it is of this boot, or of another and the file system is this machine's own. On any other file system a
//! node of another boot counts as dead only when its folder is older than `orphan_after`, by the file system's own clock; a node that
//! lives touches its lock whenever it looks for what the dead have left.
//!
//! A folder is made as `.new-<random>`: its lock first, then the rest, then its name. Whoever clears up takes nothing out of a folder whose
//! lock it does not hold, and its lock last, so a node that has its name has its lock too. A process that tries to open a store again
//! under one name may find what its last try left, where the disk went away under it: that goes, as long as its lock is free.

use crate::durable::Durable;
use crate::errno::{Fault, Outcome};
use crate::path::{self, STAGING};
use crate::pool::lock;
use crate::probe::PublishBy;
use crate::root::{Root, file_type, identity};
use crate::store::{Inner, clear_empty};
use crate::write::Temporary;
use bytes::Bytes;
use larder_storage_core::{ErrorKind, Key, Leftover, NodeId, OpId, Pair, Part};
use rustix::fs::{AtFlags, Dir, FileType, FlockOperation, Timespec, Timestamps, UTIME_NOW};
use rustix::io::Errno;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The largest attributes.
pub(crate) const ATTRIBUTES_MAX: u64 = 64 << 10;
/// Before the name of a folder that is just being made.
const BEGUN: &str = ".new-";
const LOCK: &str = "lock";
const NODE_JSON: &str = "node.json";
const BYTES: &str = ".bytes";
const ATTRIBUTES: &str = ".attr";
/// Where publishing is by rename: which file the staged bytes were.
const INODE: &str = ".inode";
/// How often a race with a neighbour is run again.
const RACES_MAX: usize = 64;

/// A node's folder, held by its lock.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) dir: OwnedFd,
    lock: OwnedFd,
    temporaries: AtomicU64,
}

#[derive(serde::Serialize, serde::Deserialize)]
struct NodeFile {
    boot: String,
}

/// The dead whose folders this process holds, and where each operation of theirs lies.
#[derive(Debug, Default)]
pub(crate) struct Estate {
    nodes: HashMap<NodeId, (OwnedFd, OwnedFd)>,
    operations: HashMap<OpId, NodeId>,
    /// Those that this process has told to be dead.
    dead: HashSet<NodeId>,
    /// Of the dead those whose folders were not taken over whole when they were last looked for: by nobody, or by another.
    missed: HashSet<NodeId>,
}

/// How often a folder is asked for that another only looks at.
const TRIES: usize = 8;

pub(crate) fn part_name(op: &OpId, part: Part) -> String {
    let suffix = match part {
        Part::Bytes => BYTES,
        Part::Attributes => ATTRIBUTES,
    };
    format!("{op}{suffix}")
}

impl Node {
    /// Makes the folder of a new node: under another name first, so that whoever sees it sees it locked.
    pub(crate) fn begin(root: &Root, id: NodeId) -> Outcome<Self> {
        let staging = root.dir_or_make(STAGING)?;
        let begun = format!("{BEGUN}{}", random_id()?);
        root.make_dir(&staging, &begun)?;
        let path = path::join(STAGING, &begun);
        let node = Self::fill(root, &path, id.clone());
        let node = node.and_then(|node| {
            clear_own(root, &staging, id.as_str())?;
            rustix::fs::renameat(&staging, &begun, &staging, id.as_str())?;
            node.check_lock()?;
            Durable::default().sync_one(root, STAGING, Some(staging.try_clone().map_err(from_std)?))?;
            Ok(node)
        });
        match node {
            Err(fault) => {
                // By now its lock is free.
                let _ = remove_node(root, &staging, &begun).or_else(|_| clear_own(root, &staging, id.as_str()));
                Err(fault)
            }
            begun => begun,
        }
    }

    fn fill(root: &Root, path: &str, id: NodeId) -> Outcome<Self> {
        let dir = root.dir(path)?;
        let lock = root.create(&dir, LOCK)?;
        rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        let text = serde_json::to_vec(&NodeFile { boot: boot_id()? })
            .map_err(|error| Fault::says(ErrorKind::Unavailable, error))?;
        root.create_whole(&dir, NODE_JSON, &text)?;
        rustix::fs::fsync(&dir)?;
        Ok(Self { id, dir, lock, temporaries: AtomicU64::new(0) })
    }

    /// That the lock still bears its name: without it the node would be taken for dead while it lives.
    fn check_lock(&self) -> Outcome<()> {
        let (held, named) =
            (rustix::fs::fstat(&self.lock)?, rustix::fs::statat(&self.dir, LOCK, AtFlags::SYMLINK_NOFOLLOW)?);
        if identity(&held) == identity(&named) { Ok(()) } else { Err(Errno::NOENT.into()) }
    }

    /// Shows others, whose file system may not tell them of the lock, that this node lives.
    fn touch(&self) -> Outcome<()> {
        let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
        Ok(rustix::fs::futimens(&self.lock, &Timestamps { last_access: now, last_modification: now })?)
    }

    /// A name for a temporary file of no operation; whoever takes the folder over removes it.
    pub(crate) fn temporary_name(&self) -> String {
        format!("tmp-{}", self.temporaries.fetch_add(1, Ordering::Relaxed))
    }
}

impl Inner {
    /// Removes this node's folder at a clean end. What is staged in it stays, for the next to find.
    pub(crate) fn end_node(&self) {
        if let (Some(node), Ok(staging)) = (&self.node, self.root.dir(STAGING))
            && names(&node.dir).is_ok_and(|names| names.iter().all(|name| matches!(name.as_str(), LOCK | NODE_JSON)))
        {
            let _ = remove_node(&self.root, &staging, node.id.as_str());
        }
    }
}

fn from_std(error: std::io::Error) -> Fault {
    Errno::from_io_error(&error).unwrap_or(Errno::IO).into()
}

/// Which boot of the machine this is.
fn boot_id() -> Outcome<String> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").map_err(from_std)?;
    Ok(text.trim().to_owned())
}

pub(crate) fn names(dir: &OwnedFd) -> Outcome<Vec<String>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(dir)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if !matches!(name.as_str(), "." | "..") {
            names.push(name);
        }
    }
    Ok(names)
}

/// Removes a node's folder and all that is left in it; it holds files only. Its lock goes last, so that it counts up to then.
fn remove_node(root: &Root, staging: &OwnedFd, name: &str) -> Outcome<()> {
    let dir = root.dir(&path::join(STAGING, name))?;
    for name in names(&dir)?.into_iter().filter(|name| name != LOCK) {
        unlink(&dir, &name)?;
    }
    unlink(&dir, LOCK)?;
    Ok(rustix::fs::unlinkat(staging, name, AtFlags::REMOVEDIR)?)
}

/// Removes what an earlier try of this process to begin a node of this name has left: one whose lock is free, with nothing staged in it.
fn clear_own(root: &Root, staging: &OwnedFd, name: &str) -> Outcome<()> {
    let dir = match root.dir(&path::join(STAGING, name)) {
        Err(Errno::NOENT) => return Ok(()),
        dir => dir?,
    };
    if names(&dir)?.iter().any(|name| [BYTES, ATTRIBUTES, INODE].iter().any(|suffix| name.ends_with(suffix))) {
        return Err(Errno::EXIST.into());
    }
    let _held = match root.lock_file_in(&dir, LOCK) {
        Err(Errno::NOENT) => None,
        lock => {
            let lock = lock?;
            rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
            Some(lock)
        }
    };
    match remove_node(root, staging, name) {
        // Another has cleared it up just now.
        Err(fault) if fault.is_absent() => Ok(()),
        removed => removed,
    }
}

/// A name that no other process draws.
pub(crate) fn random_id() -> Outcome<NodeId> {
    let mut bits = [0; 16];
    getrandom::fill(&mut bits).map_err(|error| Fault::says(ErrorKind::Unavailable, error.to_string()))?;
    Ok(NodeId::from_random(bits))
}

/// Gives up a node that has only just begun.
pub(crate) fn abandon(root: &Root, node: &Node) {
    if let Ok(staging) = root.dir(STAGING) {
        let _ = remove_node(root, &staging, node.id.as_str());
    }
}

/// Removes a name; one that is absent is removed already.
fn unlink(dir: &OwnedFd, name: &str) -> Outcome<()> {
    match rustix::fs::unlinkat(dir, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Whether the name is there.
fn is_there(dir: &OwnedFd, name: &str) -> Outcome<bool> {
    match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(_) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

fn same_file(a: &OwnedFd, a_name: &str, b: &OwnedFd, b_name: &str) -> bool {
    let stat = |dir, name| rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW);
    matches!((stat(a, a_name), stat(b, b_name)), (Ok(a), Ok(b)) if identity(&a) == identity(&b))
}

// ---------------------------------------------------------------------------------------------------------------- publishing

/// One batch: the folders it has open, and those that got a name.
struct Batch<'a> {
    inner: &'a Inner,
    open: HashMap<String, OwnedFd>,
    changed: BTreeSet<String>,
}

/// Publishes pairs as one batch; one result for each.
pub(crate) fn publish(inner: &Inner, pairs: &[Pair]) -> Vec<Outcome<()>> {
    let mut batch = Batch { inner, open: HashMap::new(), changed: BTreeSet::new() };
    match inner.publish_by {
        PublishBy::Link => batch.by_link(pairs),
        PublishBy::Rename => batch.by_rename(pairs),
    }
}

impl Batch<'_> {
    fn by_link(&mut self, pairs: &[Pair]) -> Vec<Outcome<()>> {
        let linked: Vec<Outcome<()>> = pairs.iter().map(|pair| self.link_pair(pair)).collect();
        let synced = self.sync();
        pairs.iter().zip(linked).map(|(pair, linked)| linked.and_then(|()| settled(&synced, pair))).collect()
    }

    /// Two rounds: a rename takes the staged bytes away, so they must be durable at their key before the attributes say so.
    fn by_rename(&mut self, pairs: &[Pair]) -> Vec<Outcome<()>> {
        let named: Vec<Outcome<()>> = pairs.iter().map(|pair| self.place(&pair.op, Part::Bytes, &pair.bytes)).collect();
        let synced = self.sync();
        let named = pairs.iter().zip(named).map(|(pair, named)| {
            named.and_then(|()| settled_at(&synced, &pair.bytes))?;
            self.place(&pair.op, Part::Attributes, &pair.attributes).inspect_err(|_| self.undo(pair))
        });
        let named: Vec<Outcome<()>> = named.collect();
        let synced = self.sync();
        pairs.iter().zip(named).map(|(pair, named)| named.and_then(|()| settled(&synced, pair))).collect()
    }

    fn link_pair(&mut self, pair: &Pair) -> Outcome<()> {
        self.place(&pair.op, Part::Bytes, &pair.bytes)?;
        crate::reach("local.publish.bytes_linked");
        self.place(&pair.op, Part::Attributes, &pair.attributes).inspect_err(|_| self.undo(pair))?;
        crate::reach("local.publish.attributes_linked");
        Ok(())
    }

    /// Gives a staged part its name, never another's.
    fn place(&mut self, op: &OpId, part: Part, key: &Key) -> Outcome<()> {
        let node = self.inner.node()?;
        let path = path::of_key(key);
        let (folder, name) = path::split(&path);
        let staged = part_name(op, part);
        for _ in 0..RACES_MAX {
            let inner = self.inner;
            let dir = self.folder(folder)?;
            let named = match (inner.publish_by, part) {
                (PublishBy::Rename, Part::Attributes) => inner.name_copy(&staged, dir, name)?,
                (by, _) => by.name(&node.dir, &staged, dir, name),
            };
            match named {
                Ok(()) => {
                    self.changed.insert(folder.to_owned());
                    return Ok(());
                }
                Err(Errno::EXIST) if is_folder(dir, name) => clear_empty(self.inner, &path)?,
                Err(Errno::NOENT) if self.inner.is_staged(&staged)? => drop(self.open.remove(folder)),
                Err(Errno::NOENT) => {
                    return Err(Fault::says(ErrorKind::NotFound, format!("nothing is staged as `{staged}`")));
                }
                Err(errno) => return Err(errno.into()),
            }
        }
        Err(crate::list::gone())
    }

    fn folder(&mut self, folder: &str) -> Outcome<&OwnedFd> {
        if !self.open.contains_key(folder) {
            let dir = self.inner.root.dir_or_make(folder)?;
            self.open.insert(folder.to_owned(), dir);
        }
        Ok(&self.open[folder])
    }

    /// Takes back the bytes of a pair whose attributes failed. The folder is synced with the others all the same: a neighbour's sync
    /// may have made the name durable already.
    fn undo(&mut self, pair: &Pair) {
        let path = path::of_key(&pair.bytes);
        let (folder, name) = path::split(&path);
        let (Some(dir), Ok(node)) = (self.open.get(folder), self.inner.node()) else { return };
        self.changed.insert(folder.to_owned());
        let staged = part_name(&pair.op, Part::Bytes);
        let undone = match self.inner.publish_by {
            PublishBy::Link => unlink(dir, name),
            PublishBy::Rename => rustix::fs::renameat(dir, name, &node.dir, &staged).map_err(Fault::from),
        };
        if let Err(fault) = undone {
            tracing::warn!(store = %self.inner, key = %pair.bytes, ?fault, "bytes without attributes could not be taken back");
        }
    }

    fn sync(&mut self) -> HashMap<String, Outcome<()>> {
        crate::reach("local.publish.before_sync");
        let synced = self.inner.durable.sync(&self.inner.root, std::mem::take(&mut self.changed), &self.open);
        crate::reach("local.publish.synced");
        synced
    }
}

fn settled(synced: &HashMap<String, Outcome<()>>, pair: &Pair) -> Outcome<()> {
    settled_at(synced, &pair.bytes)?;
    settled_at(synced, &pair.attributes)
}

fn settled_at(synced: &HashMap<String, Outcome<()>>, key: &Key) -> Outcome<()> {
    match synced.get(path::parent(&path::of_key(key))) {
        Some(Err(fault)) => Err(fault.again()),
        _ => Ok(()),
    }
}

pub(crate) fn is_folder(dir: &OwnedFd, name: &str) -> bool {
    rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|stat| file_type(&stat) == FileType::Directory)
}

// ------------------------------------------------------------------------------------------------------------------- staging

impl Inner {
    fn is_staged(&self, name: &str) -> Outcome<bool> {
        match rustix::fs::statat(&self.node()?.dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Keeps a part that was written. Where publishing takes it away by a rename, which file it was is kept beside it.
    pub(crate) fn staged(&self, op: &OpId, part: Part, temporary: Temporary) -> Outcome<()> {
        if self.publish_by == PublishBy::Rename && part == Part::Bytes {
            let stat = rustix::fs::fstat(&*temporary.file)?;
            let note = format!("{} {}", stat.st_ino, stat.st_size);
            self.root.create_whole(&self.node()?.dir, &format!("{op}{INODE}"), note.as_bytes())?;
        }
        temporary.keep();
        Ok(())
    }

    /// Where names are renamed: gives a copy of the staged attributes their name, for the staged ones must tell of the operation
    /// until it is settled.
    fn name_copy(&self, staged: &str, dir: &OwnedFd, name: &str) -> Outcome<rustix::io::Result<()>> {
        let node = self.node()?;
        let text = read_small(&self.root, &node.dir, staged, ATTRIBUTES_MAX as usize)?;
        let temporary = node.temporary_name();
        let copied = self.root.create_whole(&node.dir, &temporary, &text);
        let named = copied.map(|()| PublishBy::Rename.name(&node.dir, &temporary, dir, name));
        if !matches!(named, Ok(Ok(()))) {
            unlink(&node.dir, &temporary)?;
        }
        Ok(named?)
    }

    /// The folder where `op` is staged: this node's, or one that was taken over.
    fn with_folder_of<T>(&self, op: &OpId, act: impl FnOnce(&OwnedFd) -> Outcome<T>) -> Outcome<T> {
        let estate = lock(&self.estate);
        match estate.operations.get(op).and_then(|node| estate.nodes.get(node)) {
            Some((dir, _)) => {
                let dir = dir.try_clone().map_err(from_std)?;
                drop(estate);
                act(&dir)
            }
            None => {
                drop(estate);
                act(&self.node()?.dir)
            }
        }
    }

    /// Whether the staged bytes of this node's `op` bear another name too: they were published.
    pub(crate) fn is_linked(&self, op: &OpId) -> bool {
        let stat =
            |node: &Node| rustix::fs::statat(&node.dir, part_name(op, Part::Bytes), AtFlags::SYMLINK_NOFOLLOW).ok();
        self.node.as_ref().and_then(stat).is_some_and(|stat| stat.st_nlink > 1)
    }

    pub(crate) fn discard(&self, op: &OpId) -> Outcome<()> {
        self.with_folder_of(op, |dir| {
            // The attributes go first: bytes alone are never taken for something published.
            [ATTRIBUTES, BYTES].into_iter().try_for_each(|suffix| unlink(dir, &format!("{op}{suffix}")))?;
            match self.publish_by {
                PublishBy::Link => Ok(()),
                PublishBy::Rename => unlink(dir, &format!("{op}{INODE}")),
            }
        })?;
        crate::reach("local.discarded");
        self.bury(op)
    }

    /// Removes a dead node's folder with its last operation.
    fn bury(&self, op: &OpId) -> Outcome<()> {
        let mut estate = lock(&self.estate);
        let Some(node) = estate.operations.remove(op) else { return Ok(()) };
        if estate.operations.values().any(|other| *other == node) {
            return Ok(());
        }
        remove_node(&self.root, &self.root.dir(STAGING)?, node.as_str())?;
        estate.nodes.remove(&node);
        Ok(())
    }

    pub(crate) fn withdraw(&self, op: &OpId, key: &Key) -> Outcome<bool> {
        let path = path::of_key(key);
        let (folder, name) = path::split(&path);
        let (dir, at) = self.nearest(folder)?;
        if at != folder {
            if !self.root.is_there() {
                return Err(Errno::NOENT.into());
            }
            rustix::fs::fsync(&dir)?;
            return Ok(false);
        }
        let ours = self.with_folder_of(op, |staged| {
            Ok(same_file(staged, &format!("{op}{BYTES}"), &dir, name)
                || was_renamed(&self.root, staged, op, &dir, name))
        })?;
        if ours {
            unlink(&dir, name)?;
            crate::reach("local.withdraw.unlinked");
        }
        if ours || !is_there(&dir, name)? {
            self.durable.sync_one(&self.root, folder, Some(dir))?;
        }
        Ok(ours)
    }

    /// Whether the object at `key` is the very file that some operation has staged: under another name still, or renamed.
    pub(crate) fn holds(&self, key: &Key) -> Outcome<bool> {
        let path = path::of_key(key);
        let (folder, name) = path::split(&path);
        let found = self.root.dir(folder).and_then(|dir| rustix::fs::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW));
        let staging = found.and_then(|stat| Ok((stat, self.root.dir(STAGING)?)));
        let (stat, staging) = match staging {
            Err(Errno::NOENT | Errno::NOTDIR) if self.root.is_there() => return Ok(false),
            found => found?,
        };
        for node in names(&staging)? {
            match self.root.dir(&path::join(STAGING, &node)) {
                // It ended cleanly meanwhile: it had staged nothing.
                Err(Errno::NOENT | Errno::NOTDIR) if self.root.is_there() => {}
                dir => {
                    if self.has_staged(&dir?, &stat)? {
                        return Ok(true);
                    }
                }
            }
        }
        Ok(false)
    }

    /// Whether a node's folder has a file among its staged bytes, or a note of it.
    fn has_staged(&self, dir: &OwnedFd, stat: &rustix::fs::Stat) -> Outcome<bool> {
        for name in names(dir)? {
            let is_it = if name.ends_with(BYTES) {
                rustix::fs::statat(dir, &name, AtFlags::SYMLINK_NOFOLLOW)
                    .is_ok_and(|own| identity(&own) == identity(stat))
            } else {
                let op = name.strip_suffix(INODE).and_then(OpId::new);
                op.is_some_and(|op| noted(&self.root, dir, &op) == Some((stat.st_ino, stat.st_size.unsigned_abs())))
            };
            if is_it {
                return Ok(true);
            }
        }
        Ok(false)
    }

    pub(crate) fn finish(&self, pair: &Pair) -> Outcome<()> {
        let path = path::of_key(&pair.bytes);
        let (folder, name) = path::split(&path);
        for key in [&pair.bytes, &pair.attributes] {
            self.root.dir_or_make(path::parent(&path::of_key(key)))?;
        }
        let dir = self.root.dir_or_make(folder)?;
        let staged = part_name(&pair.op, Part::Bytes);
        let linked = self.with_folder_of(&pair.op, |from| Ok(self.publish_by.name(from, &staged, &dir, name)?));
        match linked {
            Err(fault) if fault.kind == ErrorKind::AlreadyExists => {}
            // Nothing is staged any longer: all is well if the bytes lie at their key.
            Err(fault) if fault.is_absent() => drop(rustix::fs::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW)?),
            linked => linked?,
        }
        crate::reach("local.finish.linked");
        for key in [&pair.bytes, &pair.attributes] {
            match self.root.file(&path::of_key(key)) {
                Err(Errno::NOENT) => {}
                file => rustix::fs::fsync(file?)?,
            }
        }
        let folders = [&pair.bytes, &pair.attributes].map(|key| path::parent(&path::of_key(key)).to_owned());
        let open = HashMap::from([(folder.to_owned(), dir)]);
        self.durable.sync(&self.root, BTreeSet::from(folders), &open).into_values().collect()
    }
}

/// Whether the file at `name` is the one that `op` had staged before it was renamed.
fn was_renamed(root: &Root, staged: &OwnedFd, op: &OpId, dir: &OwnedFd, name: &str) -> bool {
    let Ok(stat) = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) else { return false };
    noted(root, staged, op) == Some((stat.st_ino, stat.st_size.unsigned_abs()))
}

/// Inode and size of the bytes that `op` had staged.
fn noted(root: &Root, dir: &OwnedFd, op: &OpId) -> Option<(u64, u64)> {
    let text = read_small(root, dir, &format!("{op}{INODE}"), 64).ok()?;
    let (inode, size) = std::str::from_utf8(&text).ok()?.split_once(' ')?;
    Some((inode.parse().ok()?, size.parse().ok()?))
}

fn read_small(root: &Root, dir: &OwnedFd, name: &str, max: usize) -> Outcome<Vec<u8>> {
    let file = root.file_in(dir, name)?;
    let mut bytes = vec![0; max];
    let mut filled = 0;
    while filled < max {
        match rustix::io::pread(&file, &mut bytes[filled..], filled as u64)? {
            0 => break,
            count => filled += count,
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

// ---------------------------------------------------------------------------------------------------------- what the dead left

/// What is known of a node by its folder.
enum Life {
    Alive,
    Dead(OwnedFd),
    Gone,
    /// Of another machine, perhaps: too young to be called dead.
    Unknown,
}

impl Inner {
    pub(crate) fn is_alive(&self, node: &NodeId) -> Outcome<bool> {
        if self.node.as_ref().is_some_and(|own| own.id == *node) {
            return Ok(true);
        }
        if lock(&self.estate).nodes.contains_key(node) {
            return Ok(false);
        }
        let is_gone = match self.life(node.as_str(), FlockOperation::NonBlockingLockShared)? {
            Life::Alive => return Ok(true),
            Life::Unknown => {
                return Err(Fault::says(
                    ErrorKind::Unavailable,
                    "the node is of another machine or boot, and on a network file system its lock proves nothing yet",
                ));
            }
            Life::Dead(_) | Life::Gone if !self.root.is_there() => return Err(crate::list::gone()),
            Life::Gone => true,
            // Its lock is let go of here: who takes it over at this moment holds the estate, and wants that.
            Life::Dead(_) => false,
        };
        let mut estate = lock(&self.estate);
        if is_gone {
            estate.dead.remove(node);
            estate.missed.remove(node);
        } else if !estate.nodes.contains_key(node) {
            // Whoever is told twice that it is dead takes it that nothing of it is left.
            if estate.missed.contains(node) {
                return Err(Fault::says(
                    ErrorKind::Unavailable,
                    "the node is dead, and what it left could not be taken over yet",
                ));
            }
            estate.dead.insert(node.clone());
        }
        Ok(false)
    }

    fn life(&self, node: &str, how: FlockOperation) -> Outcome<Life> {
        let dir = match self.root.dir(&path::join(STAGING, node)) {
            Err(Errno::NOENT) => return Ok(Life::Gone),
            dir => dir?,
        };
        let held = match self.root.lock_file_in(&dir, LOCK) {
            Err(Errno::NOENT) => return Ok(Life::Dead(dir)),
            held => held?,
        };
        match rustix::fs::flock(&held, how) {
            Err(Errno::WOULDBLOCK) => return Ok(Life::Alive),
            locked => locked?,
        }
        let of_this_boot = read_small(&self.root, &dir, NODE_JSON, 4096)
            .ok()
            .and_then(|text| serde_json::from_slice::<NodeFile>(&text).ok())
            .is_some_and(|node| Some(node.boot) == boot_id().ok());
        if of_this_boot || !self.is_network || self.is_old(&dir)? { Ok(Life::Dead(held)) } else { Ok(Life::Unknown) }
    }

    /// Whether nothing has happened in `dir` for `orphan_after`, by the file system's own clock.
    fn is_old(&self, dir: &OwnedFd) -> Outcome<bool> {
        let own = self.node()?;
        let name = own.temporary_name();
        let now = rustix::fs::fstat(self.root.create(&own.dir, &name)?)?.st_ctime;
        unlink(&own.dir, &name)?;
        let mut newest = rustix::fs::fstat(dir)?.st_ctime;
        for name in names(dir)? {
            newest = newest.max(rustix::fs::statat(dir, &name, AtFlags::SYMLINK_NOFOLLOW)?.st_ctime);
        }
        Ok(now.saturating_sub(newest) > self.orphan_after.as_secs().cast_signed())
    }

    /// Takes over the folders of the dead, each once, and answers what lies in them.
    pub(crate) fn leftovers(self: &Arc<Self>) -> Outcome<TakenOver> {
        let mut taken = TakenOver { inner: self.clone(), leftovers: Vec::new() };
        if let Some(node) = self.node.as_ref().filter(|_| self.is_network) {
            node.touch()?;
        }
        let staging = match self.root.dir(STAGING) {
            Err(Errno::NOENT) if self.root.is_there() => return Ok(taken),
            dir => dir?,
        };
        for name in names(&staging)? {
            let found = match NodeId::new(&name) {
                Some(node) => self.take_over(&staging, node),
                None => self.clear_begun(&staging, &name).map(|()| Vec::new()),
            };
            match found {
                Ok(found) => taken.leftovers.extend(found),
                // One folder that can't be read must not keep the others from being settled; an outage keeps all.
                Err(fault) if self.root.is_there() => {
                    tracing::warn!(store = %self, node = name, ?fault, "what a dead node left could not be taken over");
                }
                Err(_) => return Err(crate::list::gone()),
            }
        }
        Ok(taken)
    }

    fn take_over(&self, staging: &OwnedFd, node: NodeId) -> Outcome<Vec<Leftover>> {
        let mut estate = lock(&self.estate);
        if estate.nodes.contains_key(&node) || self.node.as_ref().is_some_and(|own| own.id == node) {
            return Ok(Vec::new());
        }
        let held = self.hold(&node);
        // Told to be dead, or just found so, and not in these hands: that stays so until all of it was looked at.
        if estate.dead.contains(&node) || !matches!(held, Ok(None)) {
            estate.missed.insert(node.clone());
        }
        let Some(held) = held? else { return Ok(Vec::new()) };
        let dir = match self.root.dir(&path::join(STAGING, node.as_str())) {
            Err(Errno::NOENT) => return Ok(Vec::new()),
            dir => dir?,
        };
        let leftovers = self.inventory(&node, &dir)?;
        estate.missed.remove(&node);
        estate.dead.remove(&node);
        if leftovers.is_empty() {
            remove_node(&self.root, staging, node.as_str())?;
            return Ok(leftovers);
        }
        estate.operations.extend(leftovers.iter().map(|leftover| (leftover.op.clone(), node.clone())));
        estate.nodes.insert(node, (dir, held));
        Ok(leftovers)
    }

    /// Holds a dead node's folder alone; `None` where that is not to be had: it lives, another has taken it over, it is gone.
    fn hold(&self, node: &NodeId) -> Outcome<Option<OwnedFd>> {
        for _ in 0..TRIES {
            match self.life(node.as_str(), FlockOperation::NonBlockingLockExclusive)? {
                Life::Dead(held) => return Ok(Some(held)),
                Life::Gone | Life::Unknown => return Ok(None),
                Life::Alive => {}
            }
            // Another that asks whether it lives shares its lock for that moment, as this does: whoever lives shares it with nobody.
            if matches!(self.life(node.as_str(), FlockOperation::NonBlockingLockShared)?, Life::Alive | Life::Gone) {
                return Ok(None);
            }
            std::thread::yield_now();
        }
        Err(Fault::says(ErrorKind::Unavailable, "others ask again and again whether the node lives"))
    }

    /// What lies in a dead node's folder by operation; temporary files of no operation are removed.
    fn inventory(&self, node: &NodeId, dir: &OwnedFd) -> Outcome<Vec<Leftover>> {
        let mut operations = BTreeSet::new();
        for name in names(dir)? {
            let suffixes = [BYTES, ATTRIBUTES, INODE];
            match suffixes.iter().find_map(|suffix| OpId::new(name.strip_suffix(suffix)?)) {
                Some(op) => drop(operations.insert(op)),
                None if name.starts_with("tmp-") => unlink(dir, &name)?,
                None => {}
            }
        }
        operations.into_iter().map(|op| self.leftover(node, dir, op)).collect()
    }

    fn leftover(&self, node: &NodeId, dir: &OwnedFd, op: OpId) -> Outcome<Leftover> {
        let bytes = match rustix::fs::statat(dir, part_name(&op, Part::Bytes), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Some(stat.st_size.unsigned_abs()),
            // They lie at their key already, where publishing is by rename.
            Err(Errno::NOENT) => noted(&self.root, dir, &op).map(|(_, size)| size),
            Err(errno) => return Err(errno.into()),
        };
        let attributes = match read_small(&self.root, dir, &part_name(&op, Part::Attributes), ATTRIBUTES_MAX as usize) {
            Ok(text) => Some(Bytes::from(text)),
            Err(fault) if fault.is_absent() => None,
            Err(fault) => return Err(fault),
        };
        Ok(Leftover { node: node.clone(), op, bytes, attributes })
    }

    /// Removes a folder whose process died before it had a name. One that is just being made is seen without its lock, or unlocked, for
    /// a moment: nothing is taken out of the first, and the maker of the other then begins again.
    fn clear_begun(&self, staging: &OwnedFd, name: &str) -> Outcome<()> {
        if !name.starts_with(BEGUN) {
            return Ok(());
        }
        let dir = match self.root.dir(&path::join(STAGING, name)) {
            Err(Errno::NOENT) => return Ok(()),
            dir => dir?,
        };
        // In this order: it was made after the lock, so where it is and the lock is not, that was taken away.
        let was_made = is_there(&dir, NODE_JSON)?;
        let removed = if is_there(&dir, LOCK)? || was_made {
            match self.life(name, FlockOperation::NonBlockingLockExclusive)? {
                Life::Dead(_) => remove_node(&self.root, staging, name),
                _ => Ok(()),
            }
        } else {
            rustix::fs::unlinkat(staging, name, AtFlags::REMOVEDIR).map_err(Fault::from)
        };
        match removed {
            Err(fault) if fault.is_absent() || fault.kind == ErrorKind::KeyConflict => Ok(()),
            removed => removed,
        }
    }
}

/// What was taken over and nobody knows of yet. Where nobody comes to know it, for the store went away or its caller did, the folders are
/// left to whoever looks next.
pub(crate) struct TakenOver {
    inner: Arc<Inner>,
    leftovers: Vec<Leftover>,
}

impl TakenOver {
    /// Hands them to who settles them.
    pub(crate) fn hand_over(mut self) -> Vec<Leftover> {
        std::mem::take(&mut self.leftovers)
    }
}

impl Drop for TakenOver {
    fn drop(&mut self) {
        let mut estate = lock(&self.inner.estate);
        for Leftover { node, op, .. } in &self.leftovers {
            estate.operations.remove(op);
            estate.nodes.remove(node);
            estate.missed.insert(node.clone());
        }
    }
}
