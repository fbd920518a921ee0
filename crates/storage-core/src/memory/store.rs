//! [`MemoryStore`]: one process' view of a [`MemoryDisk`].

use super::disk::{Answer, Blob, MemoryDisk, MemoryOptions, Request, State};
use crate::{
    Body, Durable, Error, ErrorKind, GetOptions, Key, Limits, ListOptions, ListToken, Listed, Multipart, NodeId,
    Object, ObjectMeta, Op, PutMode, PutOptions, Result, Space, Staging, Store, Written,
};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{
    StreamExt, TryStreamExt,
    stream::{self, BoxStream},
};
use std::{fmt, sync::Arc};

/// Blocks of a read, in bytes: small enough that a test's object has several.
const BLOCK_BYTES: usize = 64 * 1024;

/// A [`Store`] in memory: the conformance suite's reference, the simulator's disk, and a better fake than a mock.
///
/// ```
/// # use larder_storage_core::{Key, MemoryStore, PutOptions, Store, StoreExt};
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let store = MemoryStore::with_staging("shelf");
/// let key = Key::new("documents/note.txt")?;
/// store.put(&key, "hello".into(), PutOptions::create()).await?;
/// assert_eq!(store.get_bytes(&key, 100).await?, "hello");
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct MemoryStore {
    pub(super) disk: MemoryDisk,
    pub(super) node: NodeId,
    name: Arc<str>,
}

/// The steps of a write.
pub(super) struct Phases {
    op: Op,
    written: &'static str,
    visible: &'static str,
    durable: &'static str,
    answered: &'static str,
}

const PUT: Phases = Phases {
    op: Op::Put,
    written: "put.written",
    visible: "put.visible",
    durable: "put.durable",
    answered: "put.answered",
};
const COPY: Phases = Phases {
    op: Op::Copy,
    written: "copy.written",
    visible: "copy.visible",
    durable: "copy.durable",
    answered: "copy.answered",
};
const DELETE: Phases = Phases {
    op: Op::Delete,
    written: "delete.sent",
    visible: "delete.gone",
    durable: "delete.durable",
    answered: "delete.answered",
};
pub(super) const COMPLETE: Phases = Phases {
    op: Op::Multipart,
    written: "complete.written",
    visible: "complete.visible",
    durable: "complete.durable",
    answered: "complete.answered",
};

impl MemoryStore {
    /// Opens `disk` as a new process.
    ///
    /// # Panics
    /// Where `node` opened this disk before: a process is never born twice.
    #[must_use]
    pub fn open(disk: &MemoryDisk, name: &str, node: NodeId) -> Self {
        assert!(disk.lock().begin(&node), "node `{node}` was used before");
        Self { disk: disk.clone(), node, name: name.into() }
    }

    /// A store with a disk of its own, as [`MemoryOptions::with_staging`].
    #[must_use]
    pub fn with_staging(name: &str) -> Self {
        Self::alone(name, MemoryOptions::with_staging())
    }

    /// A store with a disk of its own, as [`MemoryOptions::without_staging`].
    #[must_use]
    pub fn without_staging(name: &str) -> Self {
        Self::alone(name, MemoryOptions::without_staging())
    }

    /// The disk behind it.
    #[must_use]
    pub fn disk(&self) -> &MemoryDisk {
        &self.disk
    }

    fn alone(name: &str, options: MemoryOptions) -> Self {
        Self::open(&MemoryDisk::new(options), name, NodeId::from_random([0; 16]))
    }

    pub(super) fn error(&self, op: Op, subject: impl fmt::Display, kind: ErrorKind) -> Error {
        Error::new(op, subject, self, kind)
    }

    /// Waits until the step may be taken.
    pub(super) async fn step(&self, op: Op, name: &'static str, subject: &str) -> Result<()> {
        match &self.disk.options().steps {
            Some(steps) => steps.step(&self.node, name, subject).await.map_err(|kind| self.error(op, subject, kind)),
            None => Ok(()),
        }
    }

    /// Does `act` at one instant, if this process lives.
    pub(super) fn act<T>(&self, op: Op, subject: &str, act: impl FnOnce(&mut State) -> T) -> Result<T> {
        let mut state = self.disk.lock();
        state.living(&self.node).map_err(|kind| self.error(op, subject, kind))?;
        Ok(act(&mut state))
    }

    /// The whole body, refused as soon as it is known to be too large.
    pub(super) async fn read(&self, op: Op, subject: &str, body: Body) -> Result<Bytes> {
        let max = self.disk.options().object_bytes_max;
        let too_large = || self.error(op, subject, ErrorKind::TooLarge { max });
        let broken = |cause| self.error(op, subject, ErrorKind::Body).because(cause);
        if body.size().is_some_and(|size| size > max) {
            return Err(too_large());
        }
        let whole = body.as_bytes().cloned();
        if let Some(bytes) = whole {
            return Ok(bytes);
        }
        let mut stream = body.into_stream().await.map_err(broken)?;
        let mut bytes = Vec::new();
        while let Some(block) = stream.try_next().await.map_err(broken)? {
            if (bytes.len() + block.len()) as u64 > max {
                return Err(too_large());
            }
            bytes.extend_from_slice(&block);
        }
        Ok(bytes.into())
    }

    /// Carries out a change at `key`, step by step.
    pub(super) async fn change(
        &self,
        phases: &Phases,
        key: &Key,
        durable: Durable,
        effect: impl FnOnce(&mut State) -> Answer + Send + 'static,
    ) -> Result<Option<Arc<Blob>>> {
        self.step(phases.op, phases.written, key.as_str()).await?;
        let request = Request::send(&self.disk, key, effect);
        self.step(phases.op, phases.visible, key.as_str()).await?;
        let written = request.perform(&self.node).map_err(|kind| self.error(phases.op, key, kind))?;
        if durable == Durable::Now && self.disk.options().staging {
            self.step(phases.op, phases.durable, key.as_str()).await?;
            self.act(phases.op, key.as_str(), |state| state.sync(key))?;
        }
        self.step(phases.op, phases.answered, key.as_str()).await?;
        Ok(written)
    }

    /// Writes `bytes` at `key`, step by step.
    async fn write(&self, phases: &Phases, key: &Key, bytes: Bytes, options: PutOptions) -> Result<Written> {
        let target = key.clone();
        let size = bytes.len() as u64;
        let mode = self.terms(phases.op, key, options.mode).await?;
        let effect = move |state: &mut State| {
            let blob = state.blob(bytes);
            state.write(&target, blob, &mode)
        };
        let written = self.change(phases, key, options.durable, effect).await?;
        self.written(phases.op, key, size, written)
    }

    /// The mode that the disk is told.
    pub(super) async fn terms(&self, op: Op, key: &Key, mode: PutMode) -> Result<PutMode> {
        match mode {
            mode if self.disk.options().conditions => Ok(mode),
            PutMode::Replace => Ok(PutMode::Replace),
            PutMode::ReplaceIf(_) => Err(self.error(op, key, ErrorKind::Unsupported)),
            PutMode::Create => {
                self.step(op, "head", key.as_str()).await?;
                match self.act(op, key.as_str(), |state| state.find(key).is_some())? {
                    true => Err(self.error(op, key, ErrorKind::AlreadyExists)),
                    false => Ok(PutMode::Replace),
                }
            }
        }
    }

    pub(super) fn written(&self, op: Op, key: &Key, size: u64, blob: Option<Arc<Blob>>) -> Result<Written> {
        match blob {
            Some(blob) => Ok(Written { size, etag: blob.etag.clone() }),
            None => Err(self.error(op, key, ErrorKind::Indeterminate)),
        }
    }

    fn find(&self, op: Op, key: &Key) -> Result<Arc<Blob>> {
        let found = self.act(op, key.as_str(), |state| state.find(key).cloned())?;
        found.ok_or_else(|| self.error(op, key, ErrorKind::NotFound))
    }
}

impl fmt::Display for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "memory:{}", self.name)
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl Store for MemoryStore {
    async fn put(&self, key: &Key, body: Body, options: PutOptions) -> Result<Written> {
        let bytes = self.read(Op::Put, key.as_str(), body).await?;
        self.write(&PUT, key, bytes, options).await
    }

    async fn get(&self, key: &Key, options: GetOptions) -> Result<Object> {
        self.step(Op::Get, "get", key.as_str()).await?;
        let blob = self.find(Op::Get, key)?;
        if options.if_match.is_some_and(|etag| etag != blob.etag) {
            return Err(self.error(Op::Get, key, ErrorKind::PreconditionFailed));
        }
        let range = match options.range.map(|range| range.resolve(blob.size())) {
            None => 0..blob.size(),
            Some(Ok(range)) => range,
            Some(Err(invalid)) => return Err(self.error(Op::Get, key, invalid.into())),
        };
        // Both ends are at most the length of bytes that are in memory.
        let part = blob.bytes.slice(range.start as usize..range.end as usize);
        Ok(Object { meta: blob.meta(key), range, body: blocks(part).boxed() })
    }

    async fn head(&self, key: &Key) -> Result<ObjectMeta> {
        self.step(Op::Head, "head", key.as_str()).await?;
        Ok(self.find(Op::Head, key)?.meta(key))
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        let target = key.clone();
        let effect = move |state: &mut State| {
            state.remove(&target);
            Ok(None)
        };
        self.change(&DELETE, key, Durable::Now, effect).await?;
        self.disk.repeat_deletion(key);
        Ok(())
    }

    fn list(&self, options: ListOptions) -> BoxStream<'_, Result<Listed>> {
        let ListOptions { prefix, after } = options;
        let after = after.map(|token| token.as_str().to_owned()).unwrap_or_default();
        stream::try_unfold((prefix, after), move |(prefix, after)| async move {
            self.step(Op::List, "list.item", prefix.as_str()).await?;
            let next = self.act(Op::List, prefix.as_str(), |state| state.next(prefix.as_str(), &after))?;
            Ok(next.map(|(key, blob)| {
                let after = key.as_str().to_owned();
                (Listed { object: blob.meta(&key), resume: ListToken::new(&after) }, (prefix, after))
            }))
        })
        .boxed()
    }

    async fn copy(&self, from: &Key, to: &Key, options: PutOptions) -> Result<Written> {
        let bytes = self.find(Op::Copy, from)?.bytes.clone();
        self.write(&COPY, to, bytes, options).await
    }

    async fn sync(&self) -> Result<()> {
        self.step(Op::Sync, "sync", "").await?;
        self.act(Op::Sync, "", State::sync_all)
    }

    async fn space(&self) -> Result<Option<Space>> {
        Ok(None)
    }

    fn limits(&self) -> Limits {
        let options = self.disk.options();
        Limits {
            key_bytes_max: Key::BYTES_MAX,
            object_bytes_max: options.object_bytes_max,
            nested_keys: options.nested_keys,
        }
    }

    fn multipart(&self) -> Option<&dyn Multipart> {
        self.disk.options().multipart.then_some(self)
    }

    fn presign(&self) -> Option<&dyn crate::Presign> {
        None
    }

    fn staging(&self) -> Option<&dyn Staging> {
        self.disk.options().staging.then_some(self)
    }

    fn decorated(&self) -> Option<&dyn Store> {
        None
    }
}

/// `bytes`, block by block, without a copy.
fn blocks(bytes: Bytes) -> impl futures_util::Stream<Item = Result<Bytes, crate::BodyError>> {
    stream::iter((0..bytes.len()).step_by(BLOCK_BYTES).map(move |at| {
        let end = bytes.len().min(at + BLOCK_BYTES);
        Ok(bytes.slice(at..end))
    }))
}
