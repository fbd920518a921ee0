//! [`Retry`]: a store whose passing failures are tried again, where a second attempt can do no harm.
//!
//! | call | tried again |
//! |---|---|
//! | head, parts, delete, abort | always: a second time changes nothing more |
//! | get | always; a stream that breaks off goes on at its offset, of the same object |
//! | list | always, behind the last item |
//! | put, a part | if the body can be replayed |
//! | copy, complete | always |
//! | sync | never: after a failed sync a later one proves nothing about the writes before |
//! | begin | never: a lost answer leaves an upload that nobody knows |
//! | presign | never: it makes no request |

use super::{Timer, multipart_of, presign_of};
use crate::{
    Body, BodyError, ByteRange, ByteStream, ETag, Error, ErrorKind, GetOptions, Key, Limits, ListOptions, Listed,
    Multipart, Object, ObjectMeta, Op, OpenUpload, PartNumber, Presign, PresignMethod, PutMode, PutOptions, Result,
    SignedRequest, Space, Staging, Store, UploadId, UploadedPart, Written,
};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};
use std::{fmt, future::Future, ops::Range, sync::Arc, time::Duration};

/// A source of random numbers, evenly spread over all of `u64`.
pub type Random = Arc<dyn Fn() -> u64 + Send + Sync>;

/// How often and how soon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// Attempts in all, the first included.
    pub attempts_max: u32,
    /// The longest wait before the second attempt; it doubles with each one after.
    pub delay: Duration,
    /// The longest wait of all.
    pub delay_max: Duration,
}

impl Default for Backoff {
    /// 4 attempts, at most 100 ms, 200 ms and 400 ms apart.
    fn default() -> Self {
        Self { attempts_max: 4, delay: Duration::from_millis(100), delay_max: Duration::from_secs(10) }
    }
}

impl Backoff {
    /// The wait behind the `failed`-th attempt: anything from nothing to all of it, so that many callers spread.
    fn wait(&self, failed: u32, random: u64) -> Duration {
        let longest = self.delay.saturating_mul(2_u32.saturating_pow(failed.saturating_sub(1))).min(self.delay_max);
        longest.mul_f64(random as f64 / u64::MAX as f64)
    }
}

/// A store that tries again what failed [for now](Error::is_temporary), by the table of its module. It has no staging.
///
/// Where an attempt may have been carried out though its answer was lost, a later `AlreadyExists`, `PreconditionFailed` or
/// `NotFound` may be of its own making: that is answered as `Indeterminate`.
#[derive(Clone)]
pub struct Retry(Arc<Trying>);

struct Trying {
    inner: Arc<dyn Store>,
    backoff: Backoff,
    timer: Arc<dyn Timer>,
    random: Random,
}

impl Retry {
    /// Tries the calls of `inner` again.
    #[must_use]
    pub fn new(inner: Arc<dyn Store>, backoff: Backoff, timer: Arc<dyn Timer>, random: Random) -> Self {
        Self(Arc::new(Trying { inner, backoff, timer, random }))
    }

    fn inner(&self) -> &dyn Store {
        &*self.0.inner
    }

    /// A change whose refusal may be the work of an earlier attempt of its own.
    async fn change<T, F>(&self, op: Op, key: &Key, call: impl FnMut() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let (result, failed) = self.0.again(call).await;
        result.map_err(|error| {
            let refusals = [ErrorKind::AlreadyExists, ErrorKind::PreconditionFailed, ErrorKind::NotFound];
            if failed == 0 || !refusals.contains(error.kind()) {
                return error;
            }
            Error::new(op, key, self, ErrorKind::Indeterminate).because(error)
        })
    }
}

impl Trying {
    /// The last answer of `call`, and how many attempts had failed before it.
    async fn again<T, F: Future<Output = Result<T>>>(&self, mut call: impl FnMut() -> F) -> (Result<T>, u32) {
        let mut failed = 0;
        loop {
            match call().await {
                Err(error) if error.is_temporary() && self.may_go_on(failed + 1) => {
                    failed += 1;
                    tracing::debug!(%error, failed, "trying again");
                    self.pause(failed).await;
                }
                answer => return (answer, failed),
            }
        }
    }

    fn may_go_on(&self, failed: u32) -> bool {
        failed < self.backoff.attempts_max
    }

    async fn pause(&self, failed: u32) {
        self.timer.sleep(self.backoff.wait(failed, (self.random)())).await;
    }
}

impl fmt::Debug for Retry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retry").field("inner", &self.0.inner).field("backoff", &self.0.backoff).finish_non_exhaustive()
    }
}

impl fmt::Display for Retry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "retry({})", self.0.inner)
    }
}

fn replayed(body: &Body) -> Body {
    body.replay().expect("it was asked whether it can be replayed")
}

/// A read that goes on where it broke off.
struct Reading {
    trying: Arc<Trying>,
    key: Key,
    etag: ETag,
    left: Range<u64>,
    body: ByteStream,
    failed: u32,
}

impl Reading {
    fn into_stream(self) -> ByteStream {
        let next = |mut reading: Self| async { Ok(reading.next().await?.map(|block| (block, reading))) };
        stream::try_unfold(self, next).boxed()
    }

    async fn next(&mut self) -> Result<Option<Bytes>, BodyError> {
        loop {
            let broken: BodyError = match self.body.next().await {
                Some(Ok(block)) => {
                    self.left.start += block.len() as u64;
                    return Ok(Some(block));
                }
                None if self.left.start >= self.left.end => return Ok(None),
                None => "the object ended early".into(),
                Some(Err(error)) => error,
            };
            self.failed += 1;
            if !self.trying.may_go_on(self.failed) || self.left.start >= self.left.end {
                return Err(broken);
            }
            tracing::debug!(error = %broken, key = %self.key, offset = self.left.start, "reading on");
            self.trying.pause(self.failed).await;
            self.reopen().await?;
        }
    }

    /// Opens the rest; of a failure for now only the next read tells.
    async fn reopen(&mut self) -> Result<(), BodyError> {
        let range = ByteRange::Between { first: self.left.start, last: self.left.end - 1 };
        let options = GetOptions { range: Some(range), if_match: Some(self.etag.clone()) };
        self.body = match self.trying.inner.get(&self.key, options).await {
            Ok(object) => object.body,
            Err(error) if error.is_temporary() => stream::iter([Err(error.into())]).boxed(),
            Err(error) => return Err(error.into()),
        };
        Ok(())
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl Store for Retry {
    async fn put(&self, key: &Key, body: Body, options: PutOptions) -> Result<Written> {
        if !body.is_replayable() {
            return self.inner().put(key, body, options).await;
        }
        self.change(Op::Put, key, move || self.inner().put(key, replayed(&body), options.clone())).await
    }

    async fn get(&self, key: &Key, options: GetOptions) -> Result<Object> {
        let (object, failed) = self.0.again(|| self.inner().get(key, options.clone())).await;
        let Object { meta, range, body } = object?;
        let (trying, etag, left) = (self.0.clone(), meta.etag.clone(), range.clone());
        let body = Reading { trying, key: key.clone(), etag, left, body, failed }.into_stream();
        Ok(Object { meta, range, body })
    }

    async fn head(&self, key: &Key) -> Result<ObjectMeta> {
        self.0.again(|| self.inner().head(key)).await.0
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        self.0.again(|| self.inner().delete(key)).await.0
    }

    fn list(&self, options: ListOptions) -> BoxStream<'_, Result<Listed>> {
        let items = self.inner().list(options.clone());
        stream::unfold((Some(items), options, 0), move |(items, mut options, mut failed)| async move {
            let mut items = items?;
            loop {
                match items.next().await? {
                    Ok(item) => {
                        options.after = Some(item.resume.clone());
                        // What counts is a row of failures: a long listing may meet many single ones.
                        return Some((Ok(item), (Some(items), options, 0)));
                    }
                    Err(error) if error.is_temporary() && self.0.may_go_on(failed + 1) => {
                        failed += 1;
                        self.0.pause(failed).await;
                        items = self.inner().list(options.clone());
                    }
                    Err(error) => return Some((Err(error), (None, options, failed))),
                }
            }
        })
        .boxed()
    }

    async fn copy(&self, from: &Key, to: &Key, options: PutOptions) -> Result<Written> {
        self.change(Op::Copy, to, || self.inner().copy(from, to, options.clone())).await
    }

    async fn sync(&self) -> Result<()> {
        self.inner().sync().await
    }

    async fn space(&self) -> Result<Option<Space>> {
        self.inner().space().await
    }

    fn limits(&self) -> Limits {
        self.inner().limits()
    }

    fn multipart(&self) -> Option<&dyn Multipart> {
        self.inner().multipart().map(|_| self as &dyn Multipart)
    }

    fn presign(&self) -> Option<&dyn Presign> {
        self.inner().presign().map(|_| self as &dyn Presign)
    }

    fn staging(&self) -> Option<&dyn Staging> {
        None
    }

    fn decorated(&self) -> Option<&dyn Store> {
        Some(self.inner())
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl Multipart for Retry {
    async fn begin(&self, key: &Key) -> Result<UploadId> {
        multipart_of(self.inner()).begin(key).await
    }

    async fn put_part(&self, key: &Key, upload: &UploadId, number: PartNumber, body: Body) -> Result<UploadedPart> {
        let parts = multipart_of(self.inner());
        if !body.is_replayable() {
            return parts.put_part(key, upload, number, body).await;
        }
        self.0.again(move || parts.put_part(key, upload, number, replayed(&body))).await.0
    }

    async fn parts(&self, key: &Key, upload: &UploadId) -> Result<Vec<UploadedPart>> {
        self.0.again(|| multipart_of(self.inner()).parts(key, upload)).await.0
    }

    async fn complete(&self, key: &Key, upload: &UploadId, parts: &[UploadedPart], mode: PutMode) -> Result<Written> {
        let complete = || multipart_of(self.inner()).complete(key, upload, parts, mode.clone());
        self.change(Op::Multipart, key, complete).await
    }

    async fn abort(&self, key: &Key, upload: &UploadId) -> Result<()> {
        self.0.again(|| multipart_of(self.inner()).abort(key, upload)).await.0
    }

    async fn open_uploads(&self, of: Option<Key>) -> Result<Vec<OpenUpload>> {
        self.0.again(|| multipart_of(self.inner()).open_uploads(of.clone())).await.0
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl Presign for Retry {
    async fn presign(&self, key: &Key, method: PresignMethod, lifetime: Duration) -> Result<SignedRequest> {
        presign_of(self.inner()).presign(key, method, lifetime).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MemoryDisk, MemoryOptions, MemoryStore, NodeId, Steps, StoreExt, TokioTimer};
    use futures_util::{FutureExt, TryStreamExt, future, future::BoxFuture};
    use std::sync::Mutex;

    /// Fails a step so many times.
    struct Failing(&'static str, Mutex<u32>, ErrorKind);

    impl Steps for Failing {
        fn step<'a>(&'a self, _: &'a NodeId, name: &'static str, _: &'a str) -> BoxFuture<'a, Result<(), ErrorKind>> {
            let mut left = self.1.lock().unwrap();
            let fails = name == self.0 && *left > 0;
            *left -= u32::from(fails);
            future::ready(if fails { Err(self.2.clone()) } else { Ok(()) }).boxed()
        }
    }

    fn retrying(inner: Arc<dyn Store>) -> Retry {
        Retry::new(inner, Backoff::default(), Arc::new(TokioTimer), Arc::new(|| u64::MAX))
    }

    /// A store whose `step` fails `times`, and its disk.
    fn failing(step: &'static str, times: u32, kind: ErrorKind) -> (Retry, MemoryDisk) {
        let steps: Arc<dyn Steps> = Arc::new(Failing(step, Mutex::new(times), kind));
        let disk = MemoryDisk::new(MemoryOptions { steps: Some(steps), ..MemoryOptions::without_staging() });
        (retrying(Arc::new(MemoryStore::open(&disk, "m", NodeId::from_random([1; 16])))), disk)
    }

    fn key() -> Key {
        Key::new("a/b").unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_passing_failure_is_not_seen_and_waits_double() {
        let (store, _) = failing("put.written", 3, ErrorKind::Unavailable);
        let began = tokio::time::Instant::now();
        store.put(&key(), "x".into(), PutOptions::create()).await.unwrap();
        assert_eq!(began.elapsed(), Duration::from_millis(100 + 200 + 400));
    }

    #[tokio::test(start_paused = true)]
    async fn attempts_are_bounded_and_the_last_error_is_told() {
        let (store, _) = failing("head", 4, ErrorKind::Timeout);
        let error = store.head(&key()).await.unwrap_err();
        assert_eq!((error.kind(), error.store()), (&ErrorKind::Timeout, "memory:m"));
        assert_eq!(store.head(&key()).await.unwrap_err().kind(), &ErrorKind::NotFound);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lasting_failure_is_told_at_once() {
        let (store, disk) = failing("put.written", 1, ErrorKind::Full);
        let error = store.put(&key(), "x".into(), PutOptions::create()).await.unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::Full);
        assert!(disk.objects().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_create_that_meets_its_own_object_is_indeterminate() {
        let (store, disk) = failing("put.answered", 1, ErrorKind::Timeout);
        let error = store.put(&key(), "x".into(), PutOptions::create()).await.unwrap_err();
        assert_eq!((error.kind(), error.store()), (&ErrorKind::Indeterminate, "retry(memory:m)"));
        assert_eq!(disk.objects().len(), 1);
        let error = store.put(&key(), "y".into(), PutOptions::create()).await.unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::AlreadyExists);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_can_be_read_once_is_tried_once() {
        let (store, _) = failing("put.written", 1, ErrorKind::Unavailable);
        let body = Body::once(stream::iter([Ok("x".into())]).boxed(), None);
        let error = store.put(&key(), body, PutOptions::create()).await.unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::Unavailable);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_sync_is_never_tried_again() {
        let (store, _) = failing("sync", 1, ErrorKind::Unavailable);
        assert!(store.sync().await.is_err());
        assert!(store.sync().await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_listing_goes_on_behind_its_last_item() {
        let (store, _) = failing("list.item", 3, ErrorKind::Unavailable);
        for name in ["a", "b", "c"] {
            store.put(&Key::new(name).unwrap(), "x".into(), PutOptions::create()).await.unwrap();
        }
        let names: Vec<_> =
            store.list(ListOptions::default()).map_ok(|item| item.object.key).try_collect().await.unwrap();
        assert_eq!(names.len(), 3);
    }

    /// A store whose reads break off behind one block, so many times.
    #[derive(Debug)]
    struct Breaking(MemoryStore, Mutex<u32>);

    impl fmt::Display for Breaking {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("breaking")
        }
    }

    #[async_trait]
    impl Store for Breaking {
        async fn put(&self, key: &Key, body: Body, options: PutOptions) -> Result<Written> {
            self.0.put(key, body, options).await
        }
        async fn get(&self, key: &Key, options: GetOptions) -> Result<Object> {
            let object = self.0.get(key, options).await?;
            let mut left = self.1.lock().unwrap();
            if *left == 0 {
                return Ok(object);
            }
            *left -= 1;
            let body = object.body.take(1).chain(stream::iter([Err("reset".into())])).boxed();
            Ok(Object { body, ..object })
        }
        async fn head(&self, key: &Key) -> Result<ObjectMeta> {
            self.0.head(key).await
        }
        async fn delete(&self, key: &Key) -> Result<()> {
            self.0.delete(key).await
        }
        fn list(&self, options: ListOptions) -> BoxStream<'_, Result<Listed>> {
            self.0.list(options)
        }
        async fn copy(&self, from: &Key, to: &Key, options: PutOptions) -> Result<Written> {
            self.0.copy(from, to, options).await
        }
        async fn sync(&self) -> Result<()> {
            self.0.sync().await
        }
        fn limits(&self) -> Limits {
            self.0.limits()
        }
    }

    async fn breaking(times: u32) -> (Retry, Vec<u8>) {
        let bytes: Vec<u8> = (0..1_000_000_u32).map(|at| (at % 251) as u8).collect();
        let store = Breaking(MemoryStore::with_staging("m"), Mutex::new(times));
        store.put(&key(), bytes.clone().into(), PutOptions::create()).await.unwrap();
        (retrying(Arc::new(store)), bytes)
    }

    #[tokio::test(start_paused = true)]
    async fn a_broken_read_goes_on_at_its_offset() {
        let (store, bytes) = breaking(3).await;
        assert_eq!(store.get_bytes(&key(), 1 << 20).await.unwrap(), bytes);
        let (store, bytes) = breaking(2).await;
        let range = Some(ByteRange::Between { first: 70_000, last: 300_000 });
        let object = store.get(&key(), GetOptions { range, if_match: None }).await.unwrap();
        let blocks: Vec<Bytes> = object.body.try_collect().await.unwrap();
        assert_eq!(blocks.concat(), bytes[70_000..=300_000]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_read_that_keeps_breaking_ends_in_an_error() {
        let (store, _) = breaking(4).await;
        assert!(store.get_bytes(&key(), 1 << 20).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_broken_read_never_goes_on_in_another_object() {
        let (store, _) = breaking(1).await;
        let mut object = store.get(&key(), GetOptions::default()).await.unwrap();
        object.body.next().await.unwrap().unwrap();
        store.put(&key(), vec![0; 1_000_000].into(), PutOptions::replace()).await.unwrap();
        assert!(object.body.try_collect::<Vec<_>>().await.is_err());
    }

    #[test]
    fn waits_are_spread_and_bounded() {
        let backoff = Backoff::default();
        assert_eq!(backoff.wait(1, 0), Duration::ZERO);
        assert_eq!(backoff.wait(2, u64::MAX), Duration::from_millis(200));
        assert_eq!(backoff.wait(60, u64::MAX), backoff.delay_max);
    }
}
