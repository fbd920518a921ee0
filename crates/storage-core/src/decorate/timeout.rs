//! [`Timeout`]: a store whose calls end, one way or another.

use super::{Timer, multipart_of, presign_of, staging_of};
use crate::{
    Body, ByteStream, Error, ErrorKind, GetOptions, Key, Leftover, Limits, ListOptions, Listed, Multipart, NodeId,
    Object, ObjectMeta, Op, OpId, OpenUpload, Pair, Part, PartNumber, Presign, PresignMethod, PutMode, PutOptions,
    Result, SignedRequest, Space, Staged, Staging, Store, UploadId, UploadedPart, Written,
};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{
    StreamExt,
    future::{self, Either},
    stream::{self, BoxStream},
};
use std::{fmt, future::Future, pin::pin, sync::Arc, time::Duration};

/// How long a call may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// A call that carries no bytes: head, delete, the answer to a get, beginning and aborting uploads.
    pub answer: Duration,
    /// A call that carries bytes, all of them included: put, a part, a stage. It bounds the client too.
    pub write: Duration,
    /// A call in which the store itself has long to do: copy, complete, sync, publish, finish, leftovers.
    pub work: Duration,
    /// The next block of a get, or the next item of a listing.
    pub idle: Duration,
}

impl Default for Deadlines {
    /// 30 s for an answer, 120 s for a write, 10 minutes for work, 30 s for the next block.
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { answer: seconds(30), write: seconds(120), work: seconds(600), idle: seconds(30) }
    }
}

/// A store whose calls are ended at a deadline, as [`ErrorKind::Timeout`]. A change that was ended may still happen.
#[derive(Debug)]
pub struct Timeout {
    inner: Arc<dyn Store>,
    deadlines: Deadlines,
    timer: Arc<dyn Timer>,
}

impl Timeout {
    /// Ends the calls of `inner`.
    #[must_use]
    pub fn new(inner: Arc<dyn Store>, deadlines: Deadlines, timer: Arc<dyn Timer>) -> Self {
        Self { inner, deadlines, timer }
    }

    /// The answer of `call`, or nothing when it takes longer than `limit`.
    async fn within<T>(&self, limit: Duration, call: impl Future<Output = T>) -> Option<T> {
        within(&*self.timer, limit, call).await
    }

    async fn call<T>(
        &self,
        op: Op,
        subject: &str,
        limit: Duration,
        call: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        self.within(limit, call).await.unwrap_or_else(|| Err(self.late(op, subject, limit)))
    }

    fn late(&self, op: Op, subject: impl fmt::Display, limit: Duration) -> Error {
        Error::new(op, subject, self, ErrorKind::Timeout).because(format!("it took longer than {limit:?}"))
    }
}

async fn within<T>(timer: &dyn Timer, limit: Duration, call: impl Future<Output = T>) -> Option<T> {
    // The call is asked first: an answer that is there is never too late.
    match future::select(pin!(call), timer.sleep(limit)).await {
        Either::Left((answer, _)) => Some(answer),
        Either::Right(_) => None,
    }
}

impl fmt::Display for Timeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "timeout({})", self.inner)
    }
}

/// `inner`, ending in an error when a block keeps it waiting longer than `idle`.
fn steady(inner: ByteStream, idle: Duration, timer: Arc<dyn Timer>) -> ByteStream {
    stream::unfold(Some(inner), move |blocks| {
        let timer = timer.clone();
        async move {
            let mut blocks = blocks?;
            match within(&*timer, idle, blocks.next()).await {
                Some(block) => block.map(|block| (block, Some(blocks))),
                None => Some((Err(format!("no block within {idle:?}").into()), None)),
            }
        }
    })
    .boxed()
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl Store for Timeout {
    async fn put(&self, key: &Key, body: Body, options: PutOptions) -> Result<Written> {
        self.call(Op::Put, key.as_str(), self.deadlines.write, self.inner.put(key, body, options)).await
    }

    async fn get(&self, key: &Key, options: GetOptions) -> Result<Object> {
        let get = self.inner.get(key, options);
        let Object { meta, range, body } = self.call(Op::Get, key.as_str(), self.deadlines.answer, get).await?;
        Ok(Object { meta, range, body: steady(body, self.deadlines.idle, self.timer.clone()) })
    }

    async fn head(&self, key: &Key) -> Result<ObjectMeta> {
        self.call(Op::Head, key.as_str(), self.deadlines.answer, self.inner.head(key)).await
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        self.call(Op::Delete, key.as_str(), self.deadlines.answer, self.inner.delete(key)).await
    }

    fn list(&self, options: ListOptions) -> BoxStream<'_, Result<Listed>> {
        let (prefix, idle) = (options.prefix.clone(), self.deadlines.idle);
        stream::unfold((Some(self.inner.list(options)), prefix), move |(items, prefix)| async move {
            let mut items = items?;
            match self.within(idle, items.next()).await {
                Some(item) => item.map(|item| (item, (Some(items), prefix))),
                None => Some((Err(self.late(Op::List, &prefix, idle)), (None, prefix))),
            }
        })
        .boxed()
    }

    async fn copy(&self, from: &Key, to: &Key, options: PutOptions) -> Result<Written> {
        self.call(Op::Copy, to.as_str(), self.deadlines.work, self.inner.copy(from, to, options)).await
    }

    async fn sync(&self) -> Result<()> {
        self.call(Op::Sync, "", self.deadlines.work, self.inner.sync()).await
    }

    async fn space(&self) -> Result<Option<Space>> {
        self.call(Op::Head, "", self.deadlines.answer, self.inner.space()).await
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
impl Multipart for Timeout {
    async fn begin(&self, key: &Key) -> Result<UploadId> {
        let begin = multipart_of(&*self.inner).begin(key);
        self.call(Op::Multipart, key.as_str(), self.deadlines.answer, begin).await
    }

    async fn put_part(&self, key: &Key, upload: &UploadId, number: PartNumber, body: Body) -> Result<UploadedPart> {
        let put = multipart_of(&*self.inner).put_part(key, upload, number, body);
        self.call(Op::Multipart, key.as_str(), self.deadlines.write, put).await
    }

    async fn parts(&self, key: &Key, upload: &UploadId) -> Result<Vec<UploadedPart>> {
        let parts = multipart_of(&*self.inner).parts(key, upload);
        self.call(Op::Multipart, key.as_str(), self.deadlines.answer, parts).await
    }

    async fn complete(&self, key: &Key, upload: &UploadId, parts: &[UploadedPart], mode: PutMode) -> Result<Written> {
        let complete = multipart_of(&*self.inner).complete(key, upload, parts, mode);
        self.call(Op::Multipart, key.as_str(), self.deadlines.work, complete).await
    }

    async fn abort(&self, key: &Key, upload: &UploadId) -> Result<()> {
        let abort = multipart_of(&*self.inner).abort(key, upload);
        self.call(Op::Multipart, key.as_str(), self.deadlines.answer, abort).await
    }

    async fn open_uploads(&self, of: Option<Key>) -> Result<Vec<OpenUpload>> {
        let at = of.as_ref().map_or("uploads", Key::as_str).to_owned();
        let open = multipart_of(&*self.inner).open_uploads(of);
        self.call(Op::Multipart, &at, self.deadlines.answer, open).await
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl Presign for Timeout {
    async fn presign(&self, key: &Key, method: PresignMethod, lifetime: Duration) -> Result<SignedRequest> {
        let presign = presign_of(&*self.inner).presign(key, method, lifetime);
        self.call(Op::Presign, key.as_str(), self.deadlines.answer, presign).await
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl Staging for Timeout {
    fn node(&self) -> NodeId {
        staging_of(&*self.inner).node()
    }

    async fn is_alive(&self, node: &NodeId) -> Result<bool> {
        let alive = staging_of(&*self.inner).is_alive(node);
        self.call(Op::Recover, node.as_str(), self.deadlines.answer, alive).await
    }

    async fn stage(&self, op: &OpId, part: Part, body: Body) -> Result<Staged> {
        let stage = staging_of(&*self.inner).stage(op, part, body);
        self.call(Op::Stage, op.as_str(), self.deadlines.write, stage).await
    }

    async fn stage_pair(&self, op: &OpId, bytes: Bytes, attributes: Bytes) -> Result<()> {
        let stage = staging_of(&*self.inner).stage_pair(op, bytes, attributes);
        self.call(Op::Stage, op.as_str(), self.deadlines.write, stage).await
    }

    async fn publish(&self, pairs: &[Pair]) -> Vec<Result<()>> {
        let limit = self.deadlines.work;
        let published = self.within(limit, staging_of(&*self.inner).publish(pairs)).await;
        let late = |pair: &Pair| Err(self.late(Op::Publish, &pair.bytes, limit));
        published.unwrap_or_else(|| pairs.iter().map(late).collect())
    }

    async fn leftovers(&self) -> Result<Vec<Leftover>> {
        self.call(Op::Recover, "", self.deadlines.work, staging_of(&*self.inner).leftovers()).await
    }

    async fn finish(&self, pair: &Pair) -> Result<()> {
        let finish = staging_of(&*self.inner).finish(pair);
        self.call(Op::Publish, pair.bytes.as_str(), self.deadlines.work, finish).await
    }

    async fn withdraw(&self, op: &OpId, bytes: &Key) -> Result<bool> {
        let withdraw = staging_of(&*self.inner).withdraw(op, bytes);
        self.call(Op::Recover, bytes.as_str(), self.deadlines.answer, withdraw).await
    }

    async fn holds(&self, bytes: &Key) -> Result<bool> {
        let holds = staging_of(&*self.inner).holds(bytes);
        self.call(Op::Recover, bytes.as_str(), self.deadlines.answer, holds).await
    }

    async fn discard(&self, op: &OpId) -> Result<()> {
        let discard = staging_of(&*self.inner).discard(op);
        self.call(Op::Discard, op.as_str(), self.deadlines.answer, discard).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MemoryDisk, MemoryOptions, MemoryStore, Steps, StoreExt, TokioTimer};
    use futures_util::future::BoxFuture;

    /// Takes 40 s for every step.
    struct Slow;

    impl Steps for Slow {
        fn step<'a>(&'a self, _: &'a NodeId, _: &'static str, _: &'a str) -> BoxFuture<'a, Result<(), ErrorKind>> {
            Box::pin(async {
                tokio::time::sleep(Duration::from_secs(40)).await;
                Ok(())
            })
        }
    }

    fn key() -> Key {
        Key::new("a/b").unwrap()
    }

    fn timeout(steps: Option<Arc<dyn Steps>>, deadlines: Deadlines) -> (Timeout, MemoryDisk) {
        let disk = MemoryDisk::new(MemoryOptions { steps, ..MemoryOptions::with_staging() });
        let store = MemoryStore::open(&disk, "m", NodeId::from_random([1; 16]));
        (Timeout::new(Arc::new(store), deadlines, Arc::new(TokioTimer)), disk)
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_ends_at_its_own_deadline_and_is_temporary() {
        let (store, _) = timeout(Some(Arc::new(Slow)), Deadlines::default());
        let began = tokio::time::Instant::now();
        let error = store.head(&key()).await.unwrap_err();
        assert_eq!((error.kind(), error.is_temporary()), (&ErrorKind::Timeout, true));
        assert_eq!(error.store(), "timeout(memory:m)");
        assert_eq!(began.elapsed().as_secs(), 30);
        store.sync().await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_that_was_ended_may_have_happened() {
        // Visible after 80 s, answered after 160 s.
        let (store, disk) = timeout(Some(Arc::new(Slow)), Deadlines::default());
        let error = store.put(&key(), "x".into(), PutOptions::create()).await.unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::Timeout);
        assert_eq!(disk.objects().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stalls_publishes_nothing() {
        let (store, disk) = timeout(None, Deadlines::default());
        let stalled = stream::iter([Ok("abc".into())]).chain(stream::pending());
        let error = store.put(&key(), Body::once(stalled.boxed(), None), PutOptions::create()).await.unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::Timeout);
        assert!(disk.objects().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_is_cut_at_a_gap_however_quick_it_was_before() {
        let blocks: ByteStream = stream::iter([Ok("abc".into())]).chain(stream::pending()).boxed();
        let mut blocks = steady(blocks, Duration::from_secs(5), Arc::new(TokioTimer));
        assert_eq!(blocks.next().await.unwrap().unwrap(), "abc");
        assert!(blocks.next().await.unwrap().is_err());
        assert!(blocks.next().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_stream_without_gaps_goes_on() {
        let slow = stream::iter(0..100).then(|_| async {
            tokio::time::sleep(Duration::from_secs(4)).await;
            Ok("x".into())
        });
        let blocks = steady(slow.boxed(), Duration::from_secs(5), Arc::new(TokioTimer));
        assert_eq!(blocks.filter(|block| future::ready(block.is_ok())).count().await, 100);
    }

    #[tokio::test(start_paused = true)]
    async fn a_quick_store_is_not_disturbed() {
        let (store, _) = timeout(None, Deadlines::default());
        store.put(&key(), "x".into(), PutOptions::create()).await.unwrap();
        assert_eq!(store.get_bytes(&key(), 9).await.unwrap(), "x");
    }
}
