//! [`Metered`]: a store whose calls and bytes are counted.

use super::{multipart_of, presign_of, staging_of};
use crate::{
    Body, ErrorKind, GetOptions, Key, Leftover, Limits, ListOptions, Listed, Multipart, NodeId, Object, ObjectMeta, Op,
    OpId, OpenUpload, Pair, Part, PartNumber, Presign, PresignMethod, PutMode, PutOptions, Result, SignedRequest,
    Space, Staged, Staging, Store, UploadId, UploadedPart, Written,
};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{
    StreamExt, TryStreamExt,
    stream::{self, BoxStream},
};
use std::{fmt, future::Future, sync::Arc, time::Duration};

/// Which way bytes pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Into the store.
    In,
    /// Out of it.
    Out,
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was answered.
    Done,
    /// It failed.
    Failed(ErrorKind),
    /// Its future was dropped: nobody waited for the answer.
    Dropped,
}

/// Takes the counts of a [`Metered`] store. Called in the midst of calls: it must be quick and must not block.
pub trait Meter: fmt::Debug + Send + Sync + 'static {
    /// The time since any fixed moment; it never goes back.
    fn now(&self) -> Duration;

    /// A call has ended. A get ends when it is answered, a listing with its last item.
    fn call(&self, op: Op, outcome: &Outcome, took: Duration);

    /// Bytes have passed in a call that may still be running.
    fn bytes(&self, direction: Direction, count: u64);
}

/// A store whose calls, errors, durations and bytes go to a [`Meter`].
#[derive(Debug)]
pub struct Metered {
    inner: Arc<dyn Store>,
    meter: Arc<dyn Meter>,
}

impl Metered {
    /// Counts what passes to and from `inner`.
    #[must_use]
    pub fn new(inner: Arc<dyn Store>, meter: Arc<dyn Meter>) -> Self {
        Self { inner, meter }
    }

    async fn call<T>(&self, op: Op, call: impl Future<Output = Result<T>>) -> Result<T> {
        let running = Running::new(&self.meter, op);
        let result = call.await;
        running.end(result.as_ref().err().map(|error| error.kind().clone()));
        result
    }

    fn counted(&self, body: Body) -> Body {
        let meter = self.meter.clone();
        body.inspect(Arc::new(move |bytes| meter.bytes(Direction::In, bytes as u64)))
    }
}

/// A call that is on its way.
struct Running {
    meter: Arc<dyn Meter>,
    op: Op,
    since: Duration,
    outcome: Outcome,
}

impl Running {
    fn new(meter: &Arc<dyn Meter>, op: Op) -> Self {
        Self { meter: meter.clone(), op, since: meter.now(), outcome: Outcome::Dropped }
    }

    fn end(mut self, error: Option<ErrorKind>) {
        self.outcome = error.map_or(Outcome::Done, Outcome::Failed);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.meter.call(self.op, &self.outcome, self.meter.now().saturating_sub(self.since));
    }
}

impl fmt::Display for Metered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "metered({})", self.inner)
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl Store for Metered {
    async fn put(&self, key: &Key, body: Body, options: PutOptions) -> Result<Written> {
        self.call(Op::Put, self.inner.put(key, self.counted(body), options)).await
    }

    async fn get(&self, key: &Key, options: GetOptions) -> Result<Object> {
        let Object { meta, range, body } = self.call(Op::Get, self.inner.get(key, options)).await?;
        let meter = self.meter.clone();
        let body = body.inspect_ok(move |block| meter.bytes(Direction::Out, block.len() as u64)).boxed();
        Ok(Object { meta, range, body })
    }

    async fn head(&self, key: &Key) -> Result<ObjectMeta> {
        self.call(Op::Head, self.inner.head(key)).await
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        self.call(Op::Delete, self.inner.delete(key)).await
    }

    fn list(&self, options: ListOptions) -> BoxStream<'_, Result<Listed>> {
        let first = (self.inner.list(options), Some(Running::new(&self.meter, Op::List)));
        stream::unfold(first, |(mut items, mut running)| async move {
            let item = items.next().await;
            let error = match &item {
                Some(Ok(_)) => return Some((item?, (items, running))),
                Some(Err(error)) => Some(error.kind().clone()),
                None => None,
            };
            if let Some(running) = running.take() {
                running.end(error);
            }
            item.map(|item| (item, (items, running)))
        })
        .boxed()
    }

    async fn copy(&self, from: &Key, to: &Key, options: PutOptions) -> Result<Written> {
        self.call(Op::Copy, self.inner.copy(from, to, options)).await
    }

    async fn sync(&self) -> Result<()> {
        self.call(Op::Sync, self.inner.sync()).await
    }

    async fn space(&self) -> Result<Option<Space>> {
        self.call(Op::Head, self.inner.space()).await
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
impl Multipart for Metered {
    async fn begin(&self, key: &Key) -> Result<UploadId> {
        self.call(Op::Multipart, multipart_of(&*self.inner).begin(key)).await
    }

    async fn put_part(&self, key: &Key, upload: &UploadId, number: PartNumber, body: Body) -> Result<UploadedPart> {
        let body = self.counted(body);
        self.call(Op::Multipart, multipart_of(&*self.inner).put_part(key, upload, number, body)).await
    }

    async fn parts(&self, key: &Key, upload: &UploadId) -> Result<Vec<UploadedPart>> {
        self.call(Op::Multipart, multipart_of(&*self.inner).parts(key, upload)).await
    }

    async fn complete(&self, key: &Key, upload: &UploadId, parts: &[UploadedPart], mode: PutMode) -> Result<Written> {
        self.call(Op::Multipart, multipart_of(&*self.inner).complete(key, upload, parts, mode)).await
    }

    async fn abort(&self, key: &Key, upload: &UploadId) -> Result<()> {
        self.call(Op::Multipart, multipart_of(&*self.inner).abort(key, upload)).await
    }

    async fn open_uploads(&self, of: Option<Key>) -> Result<Vec<OpenUpload>> {
        self.call(Op::Multipart, multipart_of(&*self.inner).open_uploads(of)).await
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl Presign for Metered {
    async fn presign(&self, key: &Key, method: PresignMethod, lifetime: Duration) -> Result<SignedRequest> {
        self.call(Op::Presign, presign_of(&*self.inner).presign(key, method, lifetime)).await
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl Staging for Metered {
    fn node(&self) -> NodeId {
        staging_of(&*self.inner).node()
    }

    async fn is_alive(&self, node: &NodeId) -> Result<bool> {
        self.call(Op::Recover, staging_of(&*self.inner).is_alive(node)).await
    }

    async fn stage(&self, op: &OpId, part: Part, body: Body) -> Result<Staged> {
        self.call(Op::Stage, staging_of(&*self.inner).stage(op, part, self.counted(body))).await
    }

    async fn stage_pair(&self, op: &OpId, bytes: Bytes, attributes: Bytes) -> Result<()> {
        self.meter.bytes(Direction::In, (bytes.len() + attributes.len()) as u64);
        self.call(Op::Stage, staging_of(&*self.inner).stage_pair(op, bytes, attributes)).await
    }

    /// Counts a batch as one call, which failed as its first pair that did.
    async fn publish(&self, pairs: &[Pair]) -> Vec<Result<()>> {
        let running = Running::new(&self.meter, Op::Publish);
        let results = staging_of(&*self.inner).publish(pairs).await;
        running.end(results.iter().find_map(|result| result.as_ref().err()).map(|error| error.kind().clone()));
        results
    }

    async fn leftovers(&self) -> Result<Vec<Leftover>> {
        self.call(Op::Recover, staging_of(&*self.inner).leftovers()).await
    }

    async fn finish(&self, pair: &Pair) -> Result<()> {
        self.call(Op::Publish, staging_of(&*self.inner).finish(pair)).await
    }

    async fn withdraw(&self, op: &OpId, bytes: &Key) -> Result<bool> {
        self.call(Op::Recover, staging_of(&*self.inner).withdraw(op, bytes)).await
    }

    async fn holds(&self, bytes: &Key) -> Result<bool> {
        self.call(Op::Recover, staging_of(&*self.inner).holds(bytes)).await
    }

    async fn discard(&self, op: &OpId) -> Result<()> {
        self.call(Op::Discard, staging_of(&*self.inner).discard(op)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ByteRange, MemoryStore, StoreExt};
    use futures_util::FutureExt;
    use std::sync::Mutex;

    #[derive(Debug, Default)]
    struct Log(Mutex<Vec<String>>);

    impl Meter for Log {
        fn now(&self) -> Duration {
            Duration::from_secs(self.0.lock().unwrap().len() as u64)
        }

        fn call(&self, op: Op, outcome: &Outcome, took: Duration) {
            self.0.lock().unwrap().push(format!("{op} {outcome:?} {}s", took.as_secs()));
        }

        fn bytes(&self, direction: Direction, count: u64) {
            self.0.lock().unwrap().push(format!("{direction:?} {count}"));
        }
    }

    fn metered() -> (Metered, Arc<Log>, Key) {
        let log = Arc::new(Log::default());
        (Metered::new(Arc::new(MemoryStore::with_staging("m")), log.clone()), log, Key::new("a").unwrap())
    }

    #[tokio::test]
    async fn calls_errors_and_bytes_are_counted_as_they_pass() {
        let (store, log, key) = metered();
        let body = Body::once(stream::iter([Ok("ab".into()), Ok("cde".into())]).boxed(), None);
        store.put(&key, body, PutOptions::create()).await.unwrap();
        store.put(&key, "again".into(), PutOptions::create()).await.unwrap_err();
        let range = Some(ByteRange::Last(2));
        let object = store.get(&key, GetOptions { range, if_match: None }).await.unwrap();
        object.body.try_collect::<Vec<_>>().await.unwrap();
        store.get_bytes(&key, 9).await.unwrap();
        let seen = [
            "In 2",
            "In 3",
            "put Done 2s",
            "In 5",
            "put Failed(AlreadyExists) 0s",
            "get Done 0s",
            "Out 2",
            "get Done 0s",
            "Out 5",
        ];
        assert_eq!(*log.0.lock().unwrap(), seen);
    }

    #[tokio::test]
    async fn a_dropped_call_and_a_listing_are_counted_once() {
        let (store, log, key) = metered();
        let endless = Body::once(stream::pending().boxed(), None);
        assert!(store.put(&key, endless, PutOptions::create()).now_or_never().is_none());
        store.put(&key, "x".into(), PutOptions::create()).await.unwrap();
        assert_eq!(store.list(ListOptions::default()).count().await, 1);
        drop(store.list(ListOptions::default()));
        let calls = log.0.lock().unwrap().iter().filter(|line| line.ends_with('s')).cloned().collect::<Vec<_>>();
        assert_eq!(calls, ["put Dropped 0s", "put Done 0s", "list Done 0s", "list Dropped 0s"]);
    }
}
