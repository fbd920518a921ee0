//! [`Late`]: a store that is opened once it is there.

use crate::{
    Body, Error, ErrorKind, GetOptions, Key, Leftover, Limits, ListOptions, Listed, Multipart, NodeId, Object,
    ObjectMeta, Op, OpId, Pair, Part, Presign, PutOptions, Result, Space, Staged, Staging, Store, Written,
};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{
    FutureExt, StreamExt,
    stream::{self, BoxStream},
};
use std::{
    fmt::{self, Debug, Display},
    sync::{Arc, OnceLock},
    time::Duration,
};
use tokio::{sync::Mutex, time::Instant};

/// Opens a store.
#[async_trait]
pub trait Opener: Debug + Send + Sync + 'static {
    /// Opens it, if it is there and the right one. What it answers stays; after an error it is asked again, one call at a time, and not
    /// before [`Expected::pause`] is over.
    ///
    /// # Errors
    /// Why it can't be used now.
    async fn open(&self) -> Result<Arc<dyn Store>>;
}

/// What must be known of a store before it is there.
#[derive(Clone, Debug)]
pub struct Expected {
    /// What it calls itself.
    pub display: String,
    /// What it can hold.
    pub limits: Limits,
    /// This process, as it is to be called there: the [`Staging::node`] of the store that is opened. `None` of one that does not
    /// stage.
    pub node: Option<NodeId>,
    /// For how long every call is answered that it could not be opened, before that is tried again: the store may be there and still
    /// not be fit for use, and then each try costs writes.
    pub pause: Duration,
}

/// A store that may be away when it is wanted first: every call tries to open it, until it is open. Until then each fails as
/// [`ErrorKind::Unavailable`], and says why; nothing is done on a store that was not opened. Uploads in parts and signed requests
/// are there once it is open, where the store inside has them. Where that one turns out to stage nothing, nobody lives there and nothing is left.
#[derive(Debug)]
pub struct Late {
    expected: Expected,
    opener: Arc<dyn Opener>,
    /// Why it could not be opened when that was last tried, and when.
    refused: Mutex<Option<(Arc<Error>, Instant)>>,
    inner: OnceLock<Arc<dyn Store>>,
}

impl Late {
    /// The store that `opener` opens.
    #[must_use]
    pub fn new(expected: Expected, opener: Arc<dyn Opener>) -> Self {
        Self { expected, opener, refused: Mutex::default(), inner: OnceLock::new() }
    }

    async fn opened(&self, op: Op, subject: impl Display) -> Result<&dyn Store> {
        self.open().await.map_err(|why| self.refusal(op, subject, why))
    }

    async fn open(&self) -> Result<&dyn Store, Arc<Error>> {
        if let Some(inner) = self.inner.get() {
            return Ok(&**inner);
        }
        let mut refused = self.refused.lock().await;
        if let Some(inner) = self.inner.get() {
            return Ok(&**inner);
        }
        if let Some((why, at)) = &*refused
            && at.elapsed() < self.expected.pause
        {
            return Err(why.clone());
        }
        match self.opener.open().await {
            Ok(inner) => Ok(&**self.inner.get_or_init(|| inner)),
            Err(error) => {
                let why = Arc::new(error);
                *refused = Some((why.clone(), Instant::now()));
                Err(why)
            }
        }
    }

    fn refusal(&self, op: Op, subject: impl Display, why: Arc<Error>) -> Error {
        Error::new(op, subject, self, ErrorKind::Unavailable).because(Refused(why))
    }

    async fn staging_opened(&self, op: Op, subject: impl Display) -> Result<&dyn Staging> {
        let unstaged = Error::new(op, &subject, self, ErrorKind::Unsupported);
        self.opened(op, subject).await?.staging().ok_or(unstaged)
    }
}

/// One error as the cause of several.
#[derive(Debug)]
struct Refused(Arc<Error>);

impl Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Display::fmt(&self.0, f)
    }
}

impl std::error::Error for Refused {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

impl Display for Late {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.inner.get() {
            Some(inner) => Display::fmt(inner, f),
            None => f.write_str(&self.expected.display),
        }
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl Store for Late {
    async fn put(&self, key: &Key, body: Body, options: PutOptions) -> Result<Written> {
        self.opened(Op::Put, key).await?.put(key, body, options).await
    }

    async fn get(&self, key: &Key, options: GetOptions) -> Result<Object> {
        self.opened(Op::Get, key).await?.get(key, options).await
    }

    async fn head(&self, key: &Key) -> Result<ObjectMeta> {
        self.opened(Op::Head, key).await?.head(key).await
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        self.opened(Op::Delete, key).await?.delete(key).await
    }

    fn list(&self, options: ListOptions) -> BoxStream<'_, Result<Listed>> {
        let begin = async move {
            match self.opened(Op::List, &options.prefix).await {
                Ok(inner) => inner.list(options),
                Err(error) => stream::once(async { Err(error) }).boxed(),
            }
        };
        begin.flatten_stream().boxed()
    }

    async fn copy(&self, from: &Key, to: &Key, options: PutOptions) -> Result<Written> {
        self.opened(Op::Copy, to).await?.copy(from, to, options).await
    }

    async fn sync(&self) -> Result<()> {
        // Of one that was never opened nothing is left for later.
        match self.inner.get() {
            Some(inner) => inner.sync().await,
            None => Ok(()),
        }
    }

    async fn space(&self) -> Result<Option<Space>> {
        match self.inner.get() {
            Some(inner) => inner.space().await,
            None => Ok(None),
        }
    }

    fn limits(&self) -> Limits {
        self.inner.get().map_or(self.expected.limits, |inner| inner.limits())
    }

    fn multipart(&self) -> Option<&dyn Multipart> {
        self.inner.get().and_then(|inner| inner.multipart())
    }

    fn presign(&self) -> Option<&dyn Presign> {
        self.inner.get().and_then(|inner| inner.presign())
    }

    fn staging(&self) -> Option<&dyn Staging> {
        self.expected.node.as_ref().map(|_| self as &dyn Staging)
    }

    fn decorated(&self) -> Option<&dyn Store> {
        self.inner.get().map(|inner| &**inner)
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl Staging for Late {
    fn node(&self) -> NodeId {
        self.expected.node.clone().expect("asked through the accessor, which looked first")
    }

    async fn is_alive(&self, node: &NodeId) -> Result<bool> {
        match self.opened(Op::Recover, node).await?.staging() {
            Some(staging) => staging.is_alive(node).await,
            None => Ok(false),
        }
    }

    async fn stage(&self, op: &OpId, part: Part, body: Body) -> Result<Staged> {
        self.staging_opened(Op::Stage, op).await?.stage(op, part, body).await
    }

    async fn stage_pair(&self, op: &OpId, bytes: Bytes, attributes: Bytes) -> Result<()> {
        self.staging_opened(Op::Stage, op).await?.stage_pair(op, bytes, attributes).await
    }

    async fn publish(&self, pairs: &[Pair]) -> Vec<Result<()>> {
        let all = |refusal: &dyn Fn(&Key) -> Error| pairs.iter().map(|pair| Err(refusal(&pair.bytes))).collect();
        match self.open().await.map(|inner| inner.staging()) {
            Ok(Some(staging)) => staging.publish(pairs).await,
            Ok(None) => all(&|key| Error::new(Op::Publish, key, self, ErrorKind::Unsupported)),
            Err(why) => all(&|key| self.refusal(Op::Publish, key, why.clone())),
        }
    }

    async fn leftovers(&self) -> Result<Vec<Leftover>> {
        match self.opened(Op::Recover, "").await?.staging() {
            Some(staging) => staging.leftovers().await,
            None => Ok(vec![]),
        }
    }

    async fn finish(&self, pair: &Pair) -> Result<()> {
        self.staging_opened(Op::Publish, &pair.bytes).await?.finish(pair).await
    }

    async fn withdraw(&self, op: &OpId, bytes: &Key) -> Result<bool> {
        self.staging_opened(Op::Recover, bytes).await?.withdraw(op, bytes).await
    }

    async fn holds(&self, bytes: &Key) -> Result<bool> {
        self.staging_opened(Op::Recover, bytes).await?.holds(bytes).await
    }

    async fn discard(&self, op: &OpId) -> Result<()> {
        self.staging_opened(Op::Discard, op).await?.discard(op).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MemoryDisk, MemoryOptions, MemoryStore, StoreExt};
    use futures_util::TryStreamExt;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    /// Opens a disk once it is there, and counts how often it was asked.
    #[derive(Debug)]
    struct Disk {
        disk: MemoryDisk,
        there: AtomicBool,
        asked: AtomicU64,
    }

    #[async_trait]
    impl Opener for Disk {
        async fn open(&self) -> Result<Arc<dyn Store>> {
            self.asked.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            match self.there.load(Ordering::SeqCst) {
                true => Ok(Arc::new(MemoryStore::open(&self.disk, "disk", node()))),
                false => Err(Error::new(Op::Open, "disk", "disk", ErrorKind::Unavailable).because("it is not mounted")),
            }
        }
    }

    fn node() -> NodeId {
        NodeId::from_random([1; 16])
    }

    fn away() -> (Arc<Disk>, Late) {
        away_with(MemoryOptions::with_staging(), Duration::ZERO)
    }

    fn away_with(options: MemoryOptions, pause: Duration) -> (Arc<Disk>, Late) {
        let disk = MemoryDisk::new(options);
        let opener = Arc::new(Disk { disk, there: AtomicBool::new(false), asked: AtomicU64::new(0) });
        let limits = MemoryStore::with_staging("disk").limits();
        let expected = Expected { display: "late".into(), limits, node: Some(node()), pause };
        (opener.clone(), Late::new(expected, opener))
    }

    fn key() -> Key {
        Key::new("a/b").unwrap()
    }

    fn op() -> OpId {
        OpId::new("op").unwrap()
    }

    async fn refusals(late: &Late) -> Vec<Error> {
        let pair = || Pair { op: op(), bytes: key(), attributes: Key::new("a/c").unwrap() };
        let staging = late.staging().unwrap();
        let mut published = staging.publish(&[pair(), pair()]).await.into_iter();
        vec![
            late.put(&key(), "x".into(), PutOptions::create()).await.unwrap_err(),
            late.get(&key(), GetOptions::default()).await.map(drop).unwrap_err(),
            late.head(&key()).await.unwrap_err(),
            late.delete(&key()).await.unwrap_err(),
            late.list(ListOptions::default()).try_collect::<Vec<_>>().await.unwrap_err(),
            late.copy(&key(), &key(), PutOptions::create()).await.unwrap_err(),
            staging.is_alive(&node()).await.unwrap_err(),
            staging.stage(&op(), Part::Bytes, "x".into()).await.unwrap_err(),
            staging.stage_pair(&op(), "x".into(), "y".into()).await.unwrap_err(),
            published.next().unwrap().unwrap_err(),
            published.next().unwrap().unwrap_err(),
            staging.leftovers().await.unwrap_err(),
            staging.finish(&pair()).await.unwrap_err(),
            staging.withdraw(&op(), &key()).await.unwrap_err(),
            staging.holds(&key()).await.unwrap_err(),
            staging.discard(&op()).await.unwrap_err(),
        ]
    }

    #[tokio::test]
    async fn until_it_is_there_every_call_is_an_outage_that_says_why() {
        let (_, late) = away();
        for error in refusals(&late).await {
            assert_eq!((error.kind(), error.is_temporary(), error.store()), (&ErrorKind::Unavailable, true, "late"));
            let cause = std::error::Error::source(&error).and_then(std::error::Error::source).unwrap();
            assert_eq!(cause.to_string(), "it is not mounted", "{error}");
        }
        late.sync().await.unwrap();
        assert_eq!(late.staging().unwrap().node(), node());
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_could_not_be_opened_is_not_tried_again_at_once() {
        let (opener, late) = away_with(MemoryOptions::with_staging(), Duration::from_secs(1));
        refusals(&late).await;
        assert_eq!(opener.asked.load(Ordering::SeqCst), 1);
        opener.there.store(true, Ordering::SeqCst);
        tokio::time::advance(Duration::from_millis(999)).await;
        assert_eq!(refusals(&late).await.len(), 16);
        tokio::time::advance(Duration::from_millis(1)).await;
        late.put(&key(), "x".into(), PutOptions::replace()).await.unwrap();
        assert_eq!(opener.asked.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn a_batch_asks_once() {
        let (opener, late) = away();
        let pair = || Pair { op: op(), bytes: key(), attributes: Key::new("a/c").unwrap() };
        assert_eq!(late.staging().unwrap().publish(&[pair(), pair(), pair()]).await.len(), 3);
        assert_eq!(opener.asked.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn on_a_store_that_turns_out_to_stage_nothing_nobody_lives_and_nothing_is_left() {
        let (opener, late) = away_with(MemoryOptions::without_staging(), Duration::ZERO);
        opener.there.store(true, Ordering::SeqCst);
        let staging = late.staging().unwrap();
        assert!(!staging.is_alive(&node()).await.unwrap());
        assert_eq!(staging.leftovers().await.unwrap(), []);
        let refused = staging.stage(&op(), Part::Bytes, "x".into()).await.unwrap_err();
        assert_eq!(refused.kind(), &ErrorKind::Unsupported);
    }

    #[tokio::test]
    async fn once_it_is_there_the_next_call_opens_it_and_no_other_does() {
        let (opener, late) = away();
        late.head(&key()).await.unwrap_err();
        opener.there.store(true, Ordering::SeqCst);
        let at = key();
        let calls = (0..8).map(|_| late.put(&at, "x".into(), PutOptions::replace()));
        futures_util::future::try_join_all(calls).await.unwrap();
        assert_eq!(opener.asked.load(Ordering::SeqCst), 2);
        assert_eq!(late.get_bytes(&key(), 9).await.unwrap(), "x");
        assert_eq!(late.to_string(), crate::undecorated(&late).to_string());
        // What is open stays so: its own errors tell of outages.
        opener.there.store(false, Ordering::SeqCst);
        late.head(&key()).await.unwrap();
    }
}
