//! [`Harness`]: what a backend gives the suite; and what the laws are written with.

use crate::{
    Body, BodyError, ByteRange, ByteStream, Error, ErrorKind, GetOptions, Key, ListOptions, Listed, ObjectMeta, OpId,
    Pair, Part, Prefix, PutOptions, Result, Staging, Store, StoreExt,
};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, future::LocalBoxFuture, stream};
use std::{any::Any, collections::BTreeMap, fmt, future::Future, sync::Arc};

/// The most that a law reads back at once, in bytes.
const READ_BYTES_MAX: u64 = 64 << 20;

/// An empty store for one law, and what it is declared to be able to do: nothing beyond the required methods, until told.
pub struct Harness {
    /// The store.
    pub store: Arc<dyn Store>,
    pub(super) staging: bool,
    pub(super) multipart: bool,
    pub(super) presign: bool,
    pub(super) nested_keys: usize,
    guard: Box<dyn Any>,
    successor: Option<Successor>,
}

type Successor = Box<dyn Fn(Arc<dyn Store>) -> LocalBoxFuture<'static, Arc<dyn Store>>>;

impl Harness {
    /// Takes a store that is empty, and nobody else's.
    pub fn new(store: impl Store) -> Self {
        Self::of(Arc::new(store))
    }

    /// As [`Harness::new`], of a store that is shared already.
    #[must_use]
    pub fn of(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            staging: false,
            multipart: false,
            presign: false,
            nested_keys: usize::MAX,
            guard: Box::new(()),
            successor: None,
        }
    }

    /// Declares [`Staging`].
    #[must_use]
    pub fn staging(self) -> Self {
        Self { staging: true, ..self }
    }

    /// Declares [`crate::Multipart`].
    #[must_use]
    pub fn multipart(self) -> Self {
        Self { multipart: true, ..self }
    }

    /// Declares [`crate::Presign`].
    #[must_use]
    pub fn presign(self) -> Self {
        Self { presign: true, ..self }
    }

    /// Declares [`crate::Limits::nested_keys`]; without it, any number.
    #[must_use]
    pub fn nested_keys(self, levels: usize) -> Self {
        Self { nested_keys: levels, ..self }
    }

    /// Keeps something until the law has ended, such as a temporary directory.
    #[must_use]
    pub fn guard(self, guard: impl Any) -> Self {
        Self { guard: Box::new(guard), ..self }
    }

    /// Gives the way a process ends and another opens the same place: `successor` is given the only handle of the store, lets
    /// its process die, and answers the next one's. It is awaited at most once.
    #[must_use]
    pub fn successor<F: Future<Output = Arc<dyn Store>> + 'static>(
        self,
        successor: impl Fn(Arc<dyn Store>) -> F + 'static,
    ) -> Self {
        Self { successor: Some(Box::new(move |store| Box::pin(successor(store)))), ..self }
    }

    /// Lets the process die and another open the place; `None` where the backend gave no way to.
    pub(super) async fn die(self) -> Option<(Arc<dyn Store>, Box<dyn Any>)> {
        let next = self.successor?(self.store).await;
        Some((next, self.guard))
    }
}

impl fmt::Debug for Harness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Harness({})", self.store)
    }
}

/// One law.
#[derive(Clone, Copy, Debug)]
pub struct Law {
    /// The sentence that it proves.
    pub name: &'static str,
    pub(super) run: fn(Harness) -> LocalBoxFuture<'static, Verdict>,
}

impl Law {
    /// Holds the store to it.
    ///
    /// # Errors
    /// [`Broken`] says what was seen instead.
    pub async fn hold(&self, harness: Harness) -> Verdict {
        (self.run)(harness).await
    }
}

/// What a law says of a store.
pub type Verdict<T = ()> = Result<T, Broken>;

/// A law that was broken, and how.
#[derive(Clone, Default)]
pub struct Broken(String);

impl Broken {
    pub(super) fn new(how: impl Into<String>) -> Self {
        Self(how.into())
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A call that a law relies on has failed.
impl<E: std::error::Error> From<E> for Broken {
    #[track_caller]
    fn from(error: E) -> Self {
        let place = std::panic::Location::caller();
        let causes = std::iter::successors(error.source(), |cause| cause.source());
        let told = causes.fold(error.to_string(), |told, cause| format!("{told}: {cause}"));
        Self(format!("{}:{}: {told}", place.file(), place.line()))
    }
}

/// Holds one store to the law of this name, on a runtime of its own.
///
/// # Errors
/// [`Broken`] says what was seen instead, or that there is no such law.
pub fn prove<F: Future<Output = Harness>>(name: &str, harness: impl FnOnce() -> F) -> Verdict {
    let law = super::laws().iter().find(|law| law.name == name);
    let law = law.ok_or_else(|| Broken::new(format!("there is no law `{name}`")))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async { law.hold(harness().await).await })
}

/// A key that a law uses.
pub(super) fn key(text: &str) -> Key {
    Key::new(text).expect("the suite's keys are keys")
}

/// An operation that a law stages under: `number` tells a law's operations apart.
pub(super) fn op(number: u8) -> OpId {
    OpId::from_random([number; 16])
}

/// Where operation `number` publishes, in one folder.
pub(super) fn pair(number: u8) -> Pair {
    let bytes = format!("pairs/{number}.bin");
    Pair { op: op(number), attributes: key(&format!("{bytes}.attr.json")), bytes: key(&bytes) }
}

/// Stages both parts of operation `number`, each of which says whose it is.
pub(super) async fn stage(staging: &dyn Staging, number: u8) -> Result<()> {
    staging.stage(&op(number), Part::Bytes, content(number).into()).await?;
    staging.stage(&op(number), Part::Attributes, attributes(number).into()).await.map(|_| ())
}

/// What [`stage`] stages as bytes.
pub(super) fn content(number: u8) -> Bytes {
    pattern(10_000 + usize::from(number), number)
}

/// What [`stage`] stages as attributes.
pub(super) fn attributes(number: u8) -> Bytes {
    format!("{{\"larder\":1,\"id\":\"{number}\"}}").into()
}

/// `len` bytes that look random, the same ones for the same `seed`.
pub(super) fn pattern(len: usize, seed: u8) -> Bytes {
    let mut word = u64::from(seed) | 0x9e37_79b9_7f4a_7c00;
    let next = || {
        word ^= word << 13;
        word ^= word >> 7;
        word ^= word << 17;
        word.to_le_bytes()[3]
    };
    std::iter::repeat_with(next).take(len).collect::<Vec<_>>().into()
}

/// `blocks` one by one, each after others had a chance to run.
pub(super) fn slowly(blocks: Vec<Result<Bytes, BodyError>>) -> ByteStream {
    stream::iter(blocks)
        .then(|block| async {
            tokio::task::yield_now().await;
            block
        })
        .boxed()
}

/// `bytes` as a stream in blocks of `block` bytes.
pub(super) fn in_blocks(bytes: &Bytes, block: usize) -> ByteStream {
    slowly(bytes.chunks(block).map(|chunk| Ok(bytes.slice_ref(chunk))).collect())
}

/// A body that announces `size` and breaks off behind `bytes`.
pub(super) fn breaking(bytes: &Bytes, size: Option<u64>) -> Body {
    Body::once(slowly(vec![Ok(bytes.clone()), Err("the client left".into())]), size)
}

/// Creates objects, each holding its own key.
pub(super) async fn fill(store: &dyn Store, keys: &[&str]) -> Verdict {
    for text in keys {
        store.put(&key(text), Bytes::from(text.to_string()).into(), PutOptions::create()).await?;
    }
    Ok(())
}

/// The object's bytes.
pub(super) async fn read(store: &dyn Store, key: &Key) -> Verdict<Bytes> {
    Ok(store.get_bytes(key, READ_BYTES_MAX).await?)
}

/// The bytes of a part of an object, which must be as many as were announced.
pub(super) async fn read_range(
    store: &dyn Store,
    key: &Key,
    range: ByteRange,
) -> Verdict<(std::ops::Range<u64>, Bytes)> {
    let object = store.get(key, GetOptions { range: Some(range), if_match: None }).await?;
    let bytes = drain(object.body).await?;
    ensure_eq!(bytes.len() as u64, object.range.end - object.range.start, "bytes of the announced range");
    Ok((object.range, bytes))
}

/// All that a stream gives.
pub(super) async fn drain(mut stream: ByteStream) -> Verdict<Bytes> {
    let mut whole = Vec::new();
    while let Some(block) = stream.try_next().await.map_err(|error| Broken::new(format!("a stream broke: {error}")))? {
        whole.extend_from_slice(&block);
    }
    Ok(whole.into())
}

/// The listing below `prefix`, in which nothing may come twice.
pub(super) async fn listing(store: &dyn Store, prefix: &str) -> Verdict<BTreeMap<Key, ObjectMeta>> {
    let items: Vec<Listed> = store.list(ListOptions::below(Prefix::new(prefix)?)).try_collect().await?;
    let mut listed = BTreeMap::new();
    for Listed { object, .. } in items {
        let twice = listed.insert(object.key.clone(), object);
        ensure!(twice.is_none(), "listed twice: {twice:?}");
    }
    Ok(listed)
}

/// The keys of a listing as texts, in order.
pub(super) async fn names(store: &dyn Store, prefix: &str) -> Verdict<Vec<String>> {
    Ok(listing(store, prefix).await?.into_keys().map(|key| key.to_string()).collect())
}

/// Breaks the law unless nothing can be seen at `key`, in any way.
pub(super) async fn ensure_absent(store: &dyn Store, key: &Key) -> Verdict {
    ensure_refused!(store.head(key).await, ErrorKind::NotFound, format!("head of `{key}`"));
    ensure_refused!(store.get(key, GetOptions::default()).await, ErrorKind::NotFound, format!("get of `{key}`"));
    let folder = key.as_str().rsplit_once('/').map_or("", |(folder, _)| folder);
    ensure!(!listing(store, folder).await?.contains_key(key), "`{key}` is listed");
    Ok(())
}

/// How many of several attempts succeeded; the others must have been refused with a kind that `expected` takes.
pub(super) fn winners<T>(attempts: &[Result<T, Error>], expected: fn(&ErrorKind) -> bool) -> Verdict<Vec<usize>> {
    let mut won = Vec::new();
    for (index, attempt) in attempts.iter().enumerate() {
        match attempt {
            Ok(_) => won.push(index),
            Err(error) => ensure!(expected(error.kind()), "a loser was refused with another kind: {error}"),
        }
    }
    Ok(won)
}
