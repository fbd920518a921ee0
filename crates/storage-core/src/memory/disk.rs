//! [`MemoryDisk`]: names, what they hold, and which of it a power cut takes away.

use crate::{Digests, ETag, ErrorKind, Key, NodeId, ObjectMeta, OpId, Part, PartNumber, PutMode};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt,
    ops::Bound,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

/// So many discards can come back after a power cut; older ones were written back.
const DISCARDS_UNSYNCED_MAX: usize = 64;

/// Is told of every step inside a call before it is taken.
///
/// The names are those of the calls and what becomes of the change: `put.written`, `put.visible`, `put.durable`, `put.answered`;
/// the same of `copy` and `complete`; `delete.sent`, `delete.gone`, `delete.durable`, `delete.answered`; `stage.begun`, `stage.written`,
/// `stage.durable`, `stage.answered`; `publish.bytes`, `publish.attributes`, `publish.undo`, `publish.sync` (of a folder),
/// `publish.answered`; `finish.bytes`, `finish.durable`, `withdraw.gone`, `withdraw.durable`, `discard.gone`, `leftovers.taken`;
/// `get`, `head`, `list.item`, `sync`; `begin.visible`, `part.visible`, `parts`, `abort.gone`. A disk without staging is durable
/// where it is visible, and skips the steps that end in `durable`.
pub trait Steps: Send + Sync {
    /// Answers when `node` may take the step `name` on `key` (or the operation or folder). An error ends the call with this kind,
    /// the steps before it done; a future that never resolves is a call that never answers.
    fn step<'a>(&'a self, node: &'a NodeId, name: &'static str, key: &'a str) -> BoxFuture<'a, Result<(), ErrorKind>>;
}

/// Says what time an object was written at.
pub type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// What a [`MemoryDisk`] is able to do.
#[derive(Clone)]
pub struct MemoryOptions {
    /// Whether it has [`crate::Staging`], as a disk; without it each change is durable at once, as in a bucket of S3.
    pub staging: bool,
    /// Whether it has [`crate::Multipart`].
    pub multipart: bool,
    /// Whether it keeps the conditions of a change. Where it does not, as some servers don't, it looks for what is to be created before
    /// it writes, and refuses to compare as [`ErrorKind::Unsupported`].
    pub conditions: bool,
    /// As [`crate::Limits::nested_keys`]; either 0 or `usize::MAX`.
    pub nested_keys: usize,
    /// As [`crate::Limits::object_bytes_max`].
    pub object_bytes_max: u64,
    /// Is told of each step.
    pub steps: Option<Arc<dyn Steps>>,
    /// The clock; without one, each object is written a second after the one before.
    pub clock: Option<Clock>,
}

impl MemoryOptions {
    /// Like a local disk: staging, no parts, a key is an object or a folder.
    #[must_use]
    pub fn with_staging() -> Self {
        Self {
            staging: true,
            multipart: false,
            conditions: true,
            nested_keys: 0,
            object_bytes_max: 1 << 30,
            steps: None,
            clock: None,
        }
    }

    /// Like a bucket of S3: parts, no staging, keys are only texts.
    #[must_use]
    pub fn without_staging() -> Self {
        Self { staging: false, multipart: true, nested_keys: usize::MAX, ..Self::with_staging() }
    }
}

impl fmt::Debug for MemoryOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryOptions")
            .field("staging", &self.staging)
            .field("multipart", &self.multipart)
            .field("conditions", &self.conditions)
            .field("nested_keys", &self.nested_keys)
            .field("object_bytes_max", &self.object_bytes_max)
            .finish_non_exhaustive()
    }
}

/// The backing of [`crate::MemoryStore`]s, one for each process that has it open. Cloning shares it.
#[derive(Clone, Debug)]
pub struct MemoryDisk(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    options: MemoryOptions,
    state: Mutex<State>,
    late: AtomicBool,
    repeats: AtomicBool,
}

impl MemoryDisk {
    /// An empty disk.
    #[must_use]
    pub fn new(options: MemoryOptions) -> Self {
        let state = State {
            volatile: options.staging,
            nested_keys: options.nested_keys,
            clock: options.clock.clone(),
            ..State::default()
        };
        let no = || AtomicBool::new(false);
        Self(Arc::new(Inner { options, state: Mutex::new(state), late: no(), repeats: no() }))
    }

    /// Ends a process: its lock is free, what it changed stays visible, and its calls in flight change nothing more.
    pub fn kill(&self, node: &NodeId) {
        self.lock().alive.remove(node);
    }

    /// Cuts the power. Every process ends; of each name's unsynced changes, newest first, `keep` says whether it survived
    /// (and with it all before it). Requests on their way are lost.
    pub fn power_cut(&self, keep: &mut dyn FnMut() -> bool) {
        let mut state = self.lock();
        state.alive.clear();
        state.late.clear();
        state.discards.clear();
        let State { names, staged, .. } = &mut *state;
        let parts = staged.values_mut().flat_map(|op| [&mut op.bytes, &mut op.attributes]);
        names.values_mut().chain(parts).for_each(|name| name.cut(keep));
        names.retain(|_, name| !name.is_gone());
        staged.retain(|_, op| !op.is_gone());
    }

    /// Makes every change durable, as a disk does by itself when it is left alone.
    pub fn settle(&self) {
        let mut state = self.lock();
        let State { names, staged, .. } = &mut *state;
        let parts = staged.values_mut().flat_map(|op| [&mut op.bytes, &mut op.attributes]);
        names.values_mut().chain(parts).for_each(Name::sync);
        names.retain(|_, name| !name.is_gone());
        staged.retain(|_, op| !op.is_gone());
    }

    /// From now on syncs answer success and do nothing, until told otherwise: a disk with a bug for a checker to find.
    pub fn lie_about_sync(&self, lying: bool) {
        self.lock().lying = lying;
    }

    /// From now on, on a disk without staging, a request whose caller is gone (its call dropped, failed by a step, or its node
    /// killed) after it was sent waits for [`MemoryDisk::deliver_late`]; before, and by default, it is lost.
    pub fn requests_may_be_late(&self, late: bool) {
        self.0.late.store(late, Ordering::SeqCst);
    }

    /// From now on, on a disk without staging, each deletion was sent twice, as by a client that had no answer in time: the other waits for
    /// [`MemoryDisk::deliver_late`].
    pub fn deletions_are_repeated(&self, repeated: bool) {
        self.0.repeats.store(repeated, Ordering::SeqCst);
    }

    /// Has a deletion that was carried out come once more.
    pub(super) fn repeat_deletion(&self, key: &Key) {
        if !self.options().staging && self.0.repeats.load(Ordering::SeqCst) {
            let target = key.clone();
            let effect = Box::new(move |state: &mut State| {
                state.remove(&target);
                Ok(None)
            });
            self.lock().late.push(Effect { key: key.clone(), effect });
        }
    }

    /// How many requests wait to be delivered late.
    #[must_use]
    pub fn late_requests(&self) -> usize {
        self.lock().late.len()
    }

    /// Lets each waiting request that `pick` says yes to, by its key, take effect now, conditions and all, in the order they were sent. The
    /// others wait on. Answers how many were delivered.
    pub fn deliver_late(&self, pick: &mut dyn FnMut(&Key) -> bool) -> usize {
        let mut state = self.lock();
        let (now, later): (Vec<_>, Vec<_>) =
            std::mem::take(&mut state.late).into_iter().partition(|late| pick(&late.key));
        state.late = later;
        let count = now.len();
        for late in now {
            // Nobody is left to hear the answer.
            let _ = (late.effect)(&mut state);
        }
        count
    }

    /// Everything visible, the hidden too, by key.
    #[must_use]
    pub fn objects(&self) -> Vec<(Key, Bytes)> {
        let state = self.lock();
        state.names.iter().filter_map(|(key, name)| Some((key.clone(), name.visible()?.bytes.clone()))).collect()
    }

    /// How many operations have something staged.
    #[must_use]
    pub fn staged(&self) -> usize {
        self.lock().staged.values().filter(|op| op.is_visible()).count()
    }

    /// How many uploads in parts are open.
    #[must_use]
    pub fn open_uploads(&self) -> usize {
        self.lock().uploads.len()
    }

    /// Puts other bytes into an object, durably and without a new validator, as a failing disk does. Says whether there is one.
    pub fn damage(&self, key: &Key, bytes: impl Into<Bytes>) -> bool {
        let mut state = self.lock();
        let Some(blob) = state.find(key) else { return false };
        let damaged = Blob { bytes: bytes.into(), etag: blob.etag.clone(), modified: blob.modified };
        state.names.insert(key.clone(), Name(vec![Some(Arc::new(damaged))]));
        true
    }

    pub(super) fn options(&self) -> &MemoryOptions {
        &self.0.options
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes as they were written once: what an inode is to a disk.
#[derive(Debug)]
pub(super) struct Blob {
    pub(super) bytes: Bytes,
    pub(super) etag: ETag,
    pub(super) modified: SystemTime,
}

impl Blob {
    pub(super) fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    pub(super) fn digests(&self) -> Digests {
        Digests::of(&self.bytes)
    }

    pub(super) fn meta(&self, key: &Key) -> ObjectMeta {
        ObjectMeta { key: key.clone(), size: self.size(), etag: self.etag.clone(), modified: self.modified }
    }
}

/// What a name has held since it was last synced: the first is durable, the last is visible. Never empty.
#[derive(Debug)]
pub(super) struct Name(Vec<Option<Arc<Blob>>>);

impl Name {
    pub(super) fn absent() -> Self {
        Self(vec![None])
    }

    pub(super) fn visible(&self) -> Option<&Arc<Blob>> {
        self.0.last().and_then(Option::as_ref)
    }

    pub(super) fn change(&mut self, to: Option<Arc<Blob>>) {
        self.0.push(to);
    }

    fn sync(&mut self) {
        self.0.drain(..self.0.len() - 1);
    }

    fn cut(&mut self, keep: &mut dyn FnMut() -> bool) {
        while self.0.len() > 1 && !keep() {
            self.0.pop();
        }
        self.sync();
    }

    fn is_gone(&self) -> bool {
        self.0.len() == 1 && self.0[0].is_none()
    }
}

/// What one operation has staged, and whose it is.
#[derive(Debug)]
pub(super) struct StagedOp {
    pub(super) node: NodeId,
    /// The dead node that it was taken over from.
    pub(super) left_by: Option<NodeId>,
    pub(super) bytes: Name,
    pub(super) attributes: Name,
}

impl StagedOp {
    fn of(node: &NodeId) -> Self {
        Self { node: node.clone(), left_by: None, bytes: Name::absent(), attributes: Name::absent() }
    }

    pub(super) fn part(&self, part: Part) -> &Name {
        match part {
            Part::Bytes => &self.bytes,
            Part::Attributes => &self.attributes,
        }
    }

    fn part_mut(&mut self, part: Part) -> &mut Name {
        match part {
            Part::Bytes => &mut self.bytes,
            Part::Attributes => &mut self.attributes,
        }
    }

    pub(super) fn is_visible(&self) -> bool {
        self.bytes.visible().is_some() || self.attributes.visible().is_some()
    }

    fn is_gone(&self) -> bool {
        self.bytes.is_gone() && self.attributes.is_gone()
    }
}

/// An upload in parts that is open.
#[derive(Debug)]
pub(super) struct Upload {
    pub(super) key: Key,
    pub(super) begun: SystemTime,
    pub(super) parts: BTreeMap<PartNumber, Arc<Blob>>,
}

/// A change as it is when nothing can stop it any more; answers what it has written, if it writes.
pub(super) struct Effect {
    key: Key,
    effect: Box<dyn FnOnce(&mut State) -> Answer + Send>,
}
pub(super) type Answer = Result<Option<Arc<Blob>>, ErrorKind>;

impl fmt::Debug for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Effect").field("key", &self.key).finish_non_exhaustive()
    }
}

/// A change that was sent. Dropped before it was performed, it is lost or late.
pub(super) struct Request<'a> {
    disk: &'a MemoryDisk,
    effect: Option<Effect>,
}

impl<'a> Request<'a> {
    pub(super) fn send(
        disk: &'a MemoryDisk,
        key: &Key,
        effect: impl FnOnce(&mut State) -> Answer + Send + 'static,
    ) -> Self {
        Self { disk, effect: Some(Effect { key: key.clone(), effect: Box::new(effect) }) }
    }

    pub(super) fn perform(mut self, node: &NodeId) -> Answer {
        let mut state = self.disk.lock();
        state.living(node)?;
        match self.effect.take() {
            Some(request) => (request.effect)(&mut state),
            None => Ok(None),
        }
    }
}

impl Drop for Request<'_> {
    fn drop(&mut self) {
        let may_be_late = !self.disk.options().staging && self.disk.0.late.load(Ordering::SeqCst);
        if let Some(effect) = self.effect.take().filter(|_| may_be_late) {
            self.disk.lock().late.push(effect);
        }
    }
}

#[derive(Default)]
pub(super) struct State {
    /// Whether a change waits to be synced; else it is durable at once.
    volatile: bool,
    nested_keys: usize,
    clock: Option<Clock>,
    lying: bool,
    ticks: u64,
    names: BTreeMap<Key, Name>,
    pub(super) staged: BTreeMap<OpId, StagedOp>,
    discards: VecDeque<OpId>,
    pub(super) uploads: BTreeMap<String, Upload>,
    late: Vec<Effect>,
    alive: BTreeSet<NodeId>,
    known: BTreeSet<NodeId>,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").field("names", &self.names).field("staged", &self.staged).finish_non_exhaustive()
    }
}

impl State {
    /// Lets a process begin; `false` where its name was used before.
    pub(super) fn begin(&mut self, node: &NodeId) -> bool {
        self.alive.insert(node.clone());
        self.known.insert(node.clone())
    }

    pub(super) fn is_alive(&self, node: &NodeId) -> bool {
        self.alive.contains(node)
    }

    /// Whether what `node` left is in the hands of a living node other than `asker`.
    pub(super) fn is_taken_over(&self, node: &NodeId, asker: &NodeId) -> bool {
        self.staged.values().any(|staged| {
            let theirs = staged.left_by.as_ref() == Some(node) && staged.node != *asker;
            theirs && staged.is_visible() && self.is_alive(&staged.node)
        })
    }

    /// A dead process does nothing more. Whether its call took effect is for others to find out.
    pub(super) fn living(&self, node: &NodeId) -> Result<(), ErrorKind> {
        if self.is_alive(node) { Ok(()) } else { Err(ErrorKind::Indeterminate) }
    }

    pub(super) fn tick(&mut self) -> u64 {
        self.ticks += 1;
        self.ticks
    }

    pub(super) fn blob(&mut self, bytes: Bytes) -> Arc<Blob> {
        let tick = self.tick();
        Arc::new(Blob { bytes, etag: ETag::new(format!("{tick:016x}")), modified: self.now() })
    }

    /// The store's own time; a tick is a second where it was given no clock.
    pub(super) fn now(&self) -> SystemTime {
        match &self.clock {
            Some(clock) => clock(),
            None => SystemTime::UNIX_EPOCH + Duration::from_secs(self.ticks),
        }
    }

    pub(super) fn find(&self, key: &Key) -> Option<&Arc<Blob>> {
        self.names.get(key).and_then(Name::visible)
    }

    /// The first object whose key is greater than `after` and begins with `prefix`; the hidden ones only where it asks for them.
    pub(super) fn next(&self, prefix: &str, after: &str) -> Option<(Key, Arc<Blob>)> {
        let hidden = !prefix.starts_with(".larder/");
        let from = if after < prefix { Bound::Included(prefix) } else { Bound::Excluded(after) };
        self.names
            .range::<str, _>((from, Bound::Unbounded))
            .take_while(|(key, _)| key.as_str().starts_with(prefix))
            .filter(|(key, _)| !(hidden && key.as_str().starts_with(".larder/")))
            .find_map(|(key, name)| Some((key.clone(), name.visible()?.clone())))
    }

    /// Whether `key` can be an object beside those that are there.
    fn fits(&self, key: &Key) -> Result<(), ErrorKind> {
        if self.nested_keys > 0 {
            return Ok(());
        }
        let text = key.as_str();
        let seen = |name: &Name| name.visible().is_some();
        let above = text.match_indices('/').any(|(at, _)| self.names.get(&text[..at]).is_some_and(seen));
        let folder = format!("{text}/");
        let below = self.names.range::<str, _>((Bound::Included(folder.as_str()), Bound::Unbounded));
        let mut below = below.take_while(|(key, _)| key.as_str().starts_with(&folder));
        if above || below.any(|(_, name)| seen(name)) { Err(ErrorKind::KeyConflict) } else { Ok(()) }
    }

    /// Makes `blob` visible at `key`, by the mode.
    pub(super) fn write(&mut self, key: &Key, blob: Arc<Blob>, mode: &PutMode) -> Answer {
        match (mode, self.find(key)) {
            (PutMode::Create, Some(_)) => return Err(ErrorKind::AlreadyExists),
            (PutMode::ReplaceIf(etag), there) if there.is_none_or(|blob| blob.etag != *etag) => {
                return Err(ErrorKind::PreconditionFailed);
            }
            _ => self.fits(key)?,
        }
        self.set(key, Some(blob.clone()));
        Ok(Some(blob))
    }

    pub(super) fn remove(&mut self, key: &Key) {
        if self.find(key).is_some() {
            self.set(key, None);
        }
    }

    fn set(&mut self, key: &Key, to: Option<Arc<Blob>>) {
        let volatile = self.volatile;
        let name = self.names.entry(key.clone()).or_insert_with(Name::absent);
        name.change(to);
        if !volatile {
            name.sync();
        }
        if name.is_gone() {
            self.names.remove(key);
        }
    }

    /// Makes what is visible at `key` durable, an absence too.
    pub(super) fn sync(&mut self, key: &Key) {
        if self.lying {
            return;
        }
        if let Some(name) = self.names.get_mut(key) {
            name.sync();
            if name.is_gone() {
                self.names.remove(key);
            }
        }
    }

    pub(super) fn sync_all(&mut self) {
        if !self.lying {
            self.names.values_mut().for_each(Name::sync);
            self.names.retain(|_, name| !name.is_gone());
        }
    }

    /// Changes what `op` has staged as `part`; `None` forgets it.
    pub(super) fn stage(&mut self, node: &NodeId, op: &OpId, part: Part, to: Option<Arc<Blob>>) {
        self.staged.entry(op.clone()).or_insert_with(|| StagedOp::of(node)).part_mut(part).change(to);
    }

    pub(super) fn sync_staged(&mut self, op: &OpId, part: Part) {
        if let Some(staged) = self.staged.get_mut(op).filter(|_| !self.lying) {
            staged.part_mut(part).sync();
        }
    }

    /// What this node has staged as `part` of `op`.
    pub(super) fn staged(&self, node: &NodeId, op: &OpId, part: Part) -> Option<&Arc<Blob>> {
        self.staged.get(op).filter(|staged| staged.node == *node)?.part(part).visible()
    }

    /// Forgets what `op` has staged. Like all that is not synced, it is written back by and by.
    pub(super) fn discard(&mut self, op: &OpId) {
        let Some(staged) = self.staged.get_mut(op).filter(|staged| staged.is_visible()) else { return };
        staged.bytes.change(None);
        staged.attributes.change(None);
        self.discards.push_back(op.clone());
        if self.discards.len() <= DISCARDS_UNSYNCED_MAX {
            return;
        }
        let Some(oldest) = self.discards.pop_front() else { return };
        if self.staged.get(&oldest).is_some_and(|staged| !staged.is_visible()) {
            self.staged.remove(&oldest);
        }
    }
}
