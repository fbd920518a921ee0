//! [`InMode`]: a store that takes only the changes its mode permits, and only while its gate is open.

use super::{multipart_of, presign_of, staging_of};
use crate::{
    Body, BoxError, Error, ErrorKind, GetOptions, Key, Leftover, Limits, ListOptions, Listed, Multipart, NodeId,
    Object, ObjectMeta, Op, OpId, OpenUpload, Pair, Part, PartNumber, Presign, PresignMethod, PutMode, PutOptions,
    Result, SignedRequest, Space, Staged, Staging, Store, UploadId, UploadedPart, Written,
};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use std::{fmt, str::FromStr, sync::Arc, time::Duration};

/// What may be done with a store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Everything.
    #[default]
    Edit,
    /// Create and read; never delete or overwrite.
    Rw,
    /// Read only.
    Ro,
    /// Archive: read only, and only attributes and what lies below `.larder/`; bytes must be moved back first.
    Ar,
}

impl Mode {
    /// The mode as configuration has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Edit => "edit",
            Self::Rw => "rw",
            Self::Ro => "ro",
            Self::Ar => "ar",
        }
    }

    /// Whether new objects may come.
    #[must_use]
    pub fn creates(self) -> bool {
        matches!(self, Self::Edit | Self::Rw)
    }

    /// Whether objects may be replaced or deleted.
    #[must_use]
    pub fn edits(self) -> bool {
        self == Self::Edit
    }

    /// Whether the bytes at `key` can be read; an archive serves no others than attributes and Larder's own.
    #[must_use]
    pub fn serves(self, key: &Key) -> bool {
        self != Self::Ar || key.as_str().ends_with(".attr.json") || key.as_str().starts_with(".larder/")
    }

    fn writes(self, mode: &PutMode) -> bool {
        if *mode == PutMode::Create { self.creates() } else { self.edits() }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that is no [`Mode`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown mode `{0}`; the modes are `edit`, `rw`, `ro` and `ar`")]
pub struct UnknownMode(String);

impl FromStr for Mode {
    type Err = UnknownMode;

    fn from_str(text: &str) -> Result<Self, UnknownMode> {
        let modes = [Self::Edit, Self::Rw, Self::Ro, Self::Ar];
        modes.into_iter().find(|mode| mode.as_str() == text).ok_or_else(|| UnknownMode(text.to_owned()))
    }
}

/// Says from moment to moment whether changes may be sent.
pub trait Gate: fmt::Debug + Send + Sync + 'static {
    /// # Errors
    /// Why no change may be sent now.
    fn check(&self) -> Result<(), BoxError>;
}

/// A store in a [`Mode`]. What it forbids is refused before the inner store hears of it: changes as `ReadOnly`, the bytes of an
/// archive as `Archived`; and while its gate is shut each change that is not staged as `Withheld`.
#[derive(Debug)]
pub struct InMode {
    inner: Arc<dyn Store>,
    mode: Mode,
    gate: Option<Arc<dyn Gate>>,
}

impl InMode {
    /// Puts `inner` into `mode`.
    #[must_use]
    pub fn new(inner: Arc<dyn Store>, mode: Mode) -> Self {
        Self { inner, mode, gate: None }
    }

    /// The same, which sends a change only where `gate` lets it, asked right before.
    #[must_use]
    pub fn gated(self, gate: Arc<dyn Gate>) -> Self {
        Self { gate: Some(gate), ..self }
    }

    /// The mode.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }

    fn allow(&self, allowed: bool, op: Op, subject: impl fmt::Display) -> Result<()> {
        if !allowed {
            return Err(Error::new(op, subject, self, ErrorKind::ReadOnly));
        }
        let shut = self.gate.as_ref().and_then(|gate| gate.check().err());
        shut.map_or(Ok(()), |why| Err(Error::new(op, subject, self, ErrorKind::Withheld).because(why)))
    }

    /// What is staged passes no gate: who stages holds a lock on that very store.
    fn stages(&self, op: Op, subject: impl fmt::Display) -> Result<()> {
        if self.mode.creates() { Ok(()) } else { Err(Error::new(op, subject, self, ErrorKind::ReadOnly)) }
    }

    fn serve(&self, op: Op, key: &Key) -> Result<()> {
        if self.mode.serves(key) { Ok(()) } else { Err(Error::new(op, key, self, ErrorKind::Archived)) }
    }
}

impl fmt::Display for InMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mode {
            // It forbids nothing.
            Mode::Edit => write!(f, "{}", self.inner),
            mode => write!(f, "{mode}({})", self.inner),
        }
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl Store for InMode {
    async fn put(&self, key: &Key, body: Body, options: PutOptions) -> Result<Written> {
        self.allow(self.mode.writes(&options.mode), Op::Put, key)?;
        self.inner.put(key, body, options).await
    }

    async fn get(&self, key: &Key, options: GetOptions) -> Result<Object> {
        self.serve(Op::Get, key)?;
        self.inner.get(key, options).await
    }

    async fn head(&self, key: &Key) -> Result<ObjectMeta> {
        self.inner.head(key).await
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        self.allow(self.mode.edits(), Op::Delete, key)?;
        self.inner.delete(key).await
    }

    fn list(&self, options: ListOptions) -> BoxStream<'_, Result<Listed>> {
        self.inner.list(options)
    }

    async fn copy(&self, from: &Key, to: &Key, options: PutOptions) -> Result<Written> {
        self.allow(self.mode.writes(&options.mode), Op::Copy, to)?;
        self.serve(Op::Copy, from)?;
        self.inner.copy(from, to, options).await
    }

    async fn sync(&self) -> Result<()> {
        self.inner.sync().await
    }

    async fn space(&self) -> Result<Option<Space>> {
        self.inner.space().await
    }

    fn limits(&self) -> Limits {
        self.inner.limits()
    }

    fn multipart(&self) -> Option<&dyn Multipart> {
        self.inner.multipart().map(|_| self as &dyn Multipart)
    }

    fn presign(&self) -> Option<&dyn Presign> {
        self.inner.presign().map(|_| self as &dyn Presign)
    }

    fn staging(&self) -> Option<&dyn Staging> {
        self.inner.staging().map(|_| self as &dyn Staging)
    }

    fn decorated(&self) -> Option<&dyn Store> {
        Some(&*self.inner)
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl Multipart for InMode {
    async fn begin(&self, key: &Key) -> Result<UploadId> {
        self.allow(self.mode.creates(), Op::Multipart, key)?;
        multipart_of(&*self.inner).begin(key).await
    }

    async fn put_part(&self, key: &Key, upload: &UploadId, number: PartNumber, body: Body) -> Result<UploadedPart> {
        self.allow(self.mode.creates(), Op::Multipart, key)?;
        multipart_of(&*self.inner).put_part(key, upload, number, body).await
    }

    async fn parts(&self, key: &Key, upload: &UploadId) -> Result<Vec<UploadedPart>> {
        multipart_of(&*self.inner).parts(key, upload).await
    }

    async fn complete(&self, key: &Key, upload: &UploadId, parts: &[UploadedPart], mode: PutMode) -> Result<Written> {
        self.allow(self.mode.writes(&mode), Op::Multipart, key)?;
        multipart_of(&*self.inner).complete(key, upload, parts, mode).await
    }

    async fn abort(&self, key: &Key, upload: &UploadId) -> Result<()> {
        self.allow(self.mode.creates(), Op::Multipart, key)?;
        multipart_of(&*self.inner).abort(key, upload).await
    }

    async fn open_uploads(&self, of: Option<Key>) -> Result<Vec<OpenUpload>> {
        multipart_of(&*self.inner).open_uploads(of).await
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl Presign for InMode {
    async fn presign(&self, key: &Key, method: PresignMethod, lifetime: Duration) -> Result<SignedRequest> {
        match method {
            PresignMethod::Get(_) => self.serve(Op::Presign, key)?,
            // A signed PUT can't be held to creating, so it counts as an edit.
            PresignMethod::Put(_) => self.allow(self.mode.edits(), Op::Presign, key)?,
        }
        presign_of(&*self.inner).presign(key, method, lifetime).await
    }
}

/// Publishing only ever creates, and withdrawing takes back what was never committed: `rw` permits both.
#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl Staging for InMode {
    fn node(&self) -> NodeId {
        staging_of(&*self.inner).node()
    }

    async fn is_alive(&self, node: &NodeId) -> Result<bool> {
        staging_of(&*self.inner).is_alive(node).await
    }

    async fn stage(&self, op: &OpId, part: Part, body: Body) -> Result<Staged> {
        self.stages(Op::Stage, op)?;
        staging_of(&*self.inner).stage(op, part, body).await
    }

    async fn stage_pair(&self, op: &OpId, bytes: Bytes, attributes: Bytes) -> Result<()> {
        self.stages(Op::Stage, op)?;
        staging_of(&*self.inner).stage_pair(op, bytes, attributes).await
    }

    async fn publish(&self, pairs: &[Pair]) -> Vec<Result<()>> {
        if self.mode.creates() {
            return staging_of(&*self.inner).publish(pairs).await;
        }
        pairs.iter().map(|pair| self.stages(Op::Publish, &pair.bytes)).collect()
    }

    /// What is left over in a store that takes no changes stays there until it does: nobody could settle it.
    async fn leftovers(&self) -> Result<Vec<Leftover>> {
        if self.mode.creates() { staging_of(&*self.inner).leftovers().await } else { Ok(Vec::new()) }
    }

    async fn finish(&self, pair: &Pair) -> Result<()> {
        self.stages(Op::Publish, &pair.bytes)?;
        staging_of(&*self.inner).finish(pair).await
    }

    async fn withdraw(&self, op: &OpId, bytes: &Key) -> Result<bool> {
        self.stages(Op::Recover, bytes)?;
        staging_of(&*self.inner).withdraw(op, bytes).await
    }

    async fn holds(&self, bytes: &Key) -> Result<bool> {
        staging_of(&*self.inner).holds(bytes).await
    }

    async fn discard(&self, op: &OpId) -> Result<()> {
        self.stages(Op::Discard, op)?;
        staging_of(&*self.inner).discard(op).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MemoryStore, StoreExt};
    use std::sync::atomic::{AtomicBool, Ordering};

    const OBJECTS: [&str; 3] = ["a/b.pdf", "a/b.pdf.attr.json", ".larder/mark"];

    fn key(text: &str) -> Key {
        Key::new(text).unwrap()
    }

    async fn store(mode: Mode) -> InMode {
        let inner = MemoryStore::with_staging("m");
        for object in OBJECTS {
            inner.put(&key(object), "old".into(), PutOptions::create()).await.unwrap();
        }
        InMode::new(Arc::new(inner), mode)
    }

    fn refused<T>(result: Result<T>) -> bool {
        result.err().is_some_and(|error| *error.kind() == ErrorKind::ReadOnly)
    }

    #[tokio::test]
    async fn each_mode_permits_what_it_says() {
        for (mode, creates, edits) in
            [(Mode::Edit, true, true), (Mode::Rw, true, false), (Mode::Ro, false, false), (Mode::Ar, false, false)]
        {
            let store = store(mode).await;
            for new in ["a/new", ".larder/new"] {
                assert_eq!(refused(store.put(&key(new), "x".into(), PutOptions::create()).await), !creates, "{mode}");
            }
            for old in OBJECTS {
                assert_eq!(refused(store.put(&key(old), "x".into(), PutOptions::replace()).await), !edits, "{mode}");
                assert_eq!(refused(store.copy(&key(old), &key(old), PutOptions::replace()).await), !edits, "{mode}");
                assert_eq!(refused(store.delete(&key(old)).await), !edits, "{mode}");
            }
            let op = OpId::from_random([1; 16]);
            let staging = store.staging().unwrap();
            assert_eq!(refused(staging.stage(&op, Part::Bytes, "x".into()).await), !creates, "{mode}");
            assert!(staging.leftovers().await.unwrap().is_empty());
        }
    }

    #[tokio::test]
    async fn an_archive_serves_attributes_and_refuses_bytes() {
        let store = store(Mode::Ar).await;
        let error = store.get_bytes(&key(OBJECTS[0]), 9).await.unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::Archived);
        assert_eq!(error.store(), "ar(memory:m)");
        assert_eq!(store.head(&key(OBJECTS[0])).await.unwrap().size, 3);
        for served in &OBJECTS[1..] {
            assert_eq!(store.get_bytes(&key(served), 9).await.unwrap(), "old");
        }
    }

    #[tokio::test]
    async fn a_refused_change_changes_nothing() {
        let store = store(Mode::Rw).await;
        assert!(refused(store.put(&key(OBJECTS[0]), "new".into(), PutOptions::replace()).await));
        assert_eq!(store.get_bytes(&key(OBJECTS[0]), 9).await.unwrap(), "old");
        let there = store.put(&key(OBJECTS[0]), "new".into(), PutOptions::create()).await.unwrap_err();
        assert_eq!(there.kind(), &ErrorKind::AlreadyExists);
    }

    #[tokio::test]
    async fn nothing_is_changed_while_the_gate_is_shut() {
        #[derive(Debug, Default)]
        struct Shut(AtomicBool);
        impl Gate for Shut {
            fn check(&self) -> Result<(), BoxError> {
                if self.0.load(Ordering::Relaxed) { Err("it is shut".into()) } else { Ok(()) }
            }
        }
        let gate = Arc::new(Shut::default());
        let store = InMode::new(Arc::new(MemoryStore::without_staging("m")), Mode::Edit).gated(gate.clone());
        let old = key(OBJECTS[0]);
        store.put(&old, "old".into(), PutOptions::create()).await.unwrap();
        let upload = store.multipart().unwrap().begin(&key("a/open")).await.unwrap();
        store.put(&old, "new".into(), PutOptions::replace()).await.unwrap();
        gate.0.store(true, Ordering::Relaxed);
        let (new, parts, first) = (key("a/new"), store.multipart().unwrap(), PartNumber::new(1).unwrap());
        let refused = [
            store.put(&new, "x".into(), PutOptions::create()).await.map(drop),
            store.copy(&old, &new, PutOptions::create()).await.map(drop),
            store.delete(&old).await,
            parts.begin(&new).await.map(drop),
            parts.put_part(&new, &upload, first, "x".into()).await.map(drop),
            parts.complete(&new, &upload, &[], PutMode::Create).await.map(drop),
            parts.abort(&new, &upload).await,
        ];
        for refused in refused {
            let error = refused.unwrap_err();
            assert_eq!((error.kind(), error.is_temporary()), (&ErrorKind::Withheld, true));
            assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "it is shut");
        }
        assert_eq!(store.get_bytes(&old, 9).await.unwrap(), "new");
        assert!(store.head(&key("a/new")).await.unwrap_err().is_not_found());
        gate.0.store(false, Ordering::Relaxed);
        store.delete(&old).await.unwrap();
    }

    #[test]
    fn a_mode_is_read_as_it_is_shown() {
        for mode in [Mode::Edit, Mode::Rw, Mode::Ro, Mode::Ar] {
            assert_eq!(mode.to_string().parse(), Ok(mode));
        }
        assert!("rx".parse::<Mode>().is_err());
    }
}
