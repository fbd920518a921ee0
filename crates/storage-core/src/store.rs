//! [`Store`]: the whole contract of a backend. Every method is required and promised by every backend; what a backend may lack
//! (parts, signed URLs, staging) is reached by an accessor that answers `None`, so it survives `dyn`.

use crate::{Body, ByteRange, ByteStream, Error, Key, Multipart, Prefix, Presign, Result, Staging};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use std::{fmt, ops::Range, sync::Arc, time::SystemTime};

/// A strong validator of an object's bytes: it changes whenever they may have. Opaque, without quotes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ETag(Arc<str>);

impl ETag {
    /// The validator as the store gives it.
    #[must_use]
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// The validator as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is known of an object without its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectMeta {
    /// Its key.
    pub key: Key,
    /// Its size in bytes.
    pub size: u64,
    /// Its validator; `head`, `get` and `list` agree on it.
    pub etag: ETag,
    /// When it was written, by the store's own clock.
    pub modified: SystemTime,
}

/// An object opened for reading.
pub struct Object {
    /// What is known of it.
    pub meta: ObjectMeta,
    /// The half-open range of offsets that `body` holds; the whole object where none was asked for.
    pub range: Range<u64>,
    /// The bytes of `range`. It ends in an error where the store ends early: never short without one.
    pub body: ByteStream,
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Object").field("meta", &self.meta).field("range", &self.range).finish_non_exhaustive()
    }
}

/// How a get is narrowed.
#[derive(Clone, Debug, Default)]
pub struct GetOptions {
    /// Only this part.
    pub range: Option<ByteRange>,
    /// Only if the object still is this one, else [`crate::ErrorKind::PreconditionFailed`].
    pub if_match: Option<ETag>,
}

/// What a put does about an object that is there already.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PutMode {
    /// Refuse: [`crate::ErrorKind::AlreadyExists`]. Of several at once, exactly one succeeds.
    #[default]
    Create,
    /// Replace it, atomically: a reader sees the old whole or the new whole.
    Replace,
    /// Replace exactly this one, else [`crate::ErrorKind::PreconditionFailed`].
    ReplaceIf(ETag),
}

/// When a write survives a power cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durable {
    /// Before the call returns.
    #[default]
    Now,
    /// After the next [`Store::sync`] that begins after the call returned.
    Later,
}

/// How a put or copy is done.
#[derive(Clone, Debug, Default)]
pub struct PutOptions {
    /// What about an object that is there already.
    pub mode: PutMode,
    /// When it survives a power cut.
    pub durable: Durable,
}

impl PutOptions {
    /// Create-only and durable: the default.
    #[must_use]
    pub fn create() -> Self {
        Self::default()
    }

    /// Replacing and durable.
    #[must_use]
    pub fn replace() -> Self {
        Self { mode: PutMode::Replace, durable: Durable::Now }
    }
}

/// What a put or copy has written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Size in bytes.
    pub size: u64,
    /// The new object's validator.
    pub etag: ETag,
}

/// A place in a listing, given by the store that made it and meaningless to any other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListToken(String);

impl ListToken {
    /// A token of the backend's own making.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The token as text, to be kept anywhere.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What to list.
#[derive(Clone, Debug, Default)]
pub struct ListOptions {
    /// Only keys below this folder. What lies below `.larder/` is listed only when the prefix begins with it.
    pub prefix: Prefix,
    /// Go on behind this place.
    pub after: Option<ListToken>,
}

impl ListOptions {
    /// Everything below `prefix`, from the start.
    #[must_use]
    pub fn below(prefix: Prefix) -> Self {
        Self { prefix, after: None }
    }
}

/// One object of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The object.
    pub object: ObjectMeta,
    /// The place behind it: a listing begun there gives every object that this one would still have given.
    pub resume: ListToken,
}

/// What a store can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest key, in bytes; at most [`Key::BYTES_MAX`].
    pub key_bytes_max: usize,
    /// The largest object, in bytes.
    pub object_bytes_max: u64,
    /// How many levels of keys may lie below a key that is an object itself: 0 on a file system, where `a` and `a/b` can't
    /// both be objects ([`crate::ErrorKind::KeyConflict`]); `usize::MAX` where keys are only texts.
    pub nested_keys: usize,
}

/// What is left where a store keeps its objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Bytes that may still be written.
    pub free: u64,
    /// Bytes in all.
    pub total: u64,
}

/// A backend: keeps objects under keys. Its laws are the conformance suite (feature `conformance`).
///
/// `Display` prints the whole tree of a decorated store on one line, such as `retry(local:/srv/objects)`; it is used in errors.
///
/// Dropping the future of a call leaves the outcome unknown for a change, never half an object; a stream that is dropped ends.
#[async_trait]
pub trait Store: fmt::Debug + fmt::Display + Send + Sync + 'static {
    /// Writes an object, streaming. An error or an end of the body that was not announced publishes nothing.
    ///
    /// # Errors
    /// `AlreadyExists`, `PreconditionFailed` by the mode; `Body`, `TooLarge`, `Full`, `ReadOnly`, `KeyConflict`, `InvalidKey`;
    /// `Indeterminate` where it may have happened.
    async fn put(&self, key: &Key, body: Body, options: PutOptions) -> Result<Written>;

    /// Opens an object for reading.
    ///
    /// # Errors
    /// `NotFound`, `PreconditionFailed`, `InvalidRange` (of an empty object every range is invalid).
    async fn get(&self, key: &Key, options: GetOptions) -> Result<Object>;

    /// Describes an object.
    ///
    /// # Errors
    /// `NotFound`.
    async fn head(&self, key: &Key) -> Result<ObjectMeta>;

    /// Deletes an object, durably; one that is absent is deleted already.
    ///
    /// # Errors
    /// `ReadOnly`, `PermissionDenied`, `Unavailable`; never `NotFound`.
    async fn delete(&self, key: &Key) -> Result<()>;

    /// Lists objects, each with its meta, in no promised order. An object that exists during the whole listing is given exactly
    /// once. An error is the last item; the listing can be begun again behind the last token.
    fn list(&self, options: ListOptions) -> BoxStream<'_, Result<Listed>>;

    /// Copies an object within the store, without its bytes passing the caller.
    ///
    /// # Errors
    /// `NotFound` of the source, and as [`Store::put`].
    async fn copy(&self, from: &Key, to: &Key, options: PutOptions) -> Result<Written>;

    /// Makes every `Durable::Later` write that returned before this call survive a power cut.
    ///
    /// # Errors
    /// After one, none of those writes may be relied on.
    async fn sync(&self) -> Result<()>;

    /// What the store can hold.
    fn limits(&self) -> Limits;

    /// What is left there; `None` of a store that has no end, or does not tell.
    ///
    /// # Errors
    /// `Unavailable`.
    async fn space(&self) -> Result<Option<Space>> {
        Ok(None)
    }

    /// Uploads in parts, where the store has them.
    fn multipart(&self) -> Option<&dyn Multipart> {
        None
    }

    /// Signed URLs, where the store has them.
    fn presign(&self) -> Option<&dyn Presign> {
        None
    }

    /// Staging and publishing, where the store has it.
    fn staging(&self) -> Option<&dyn Staging> {
        None
    }

    /// The store that this one decorates, if it is a decorator.
    fn decorated(&self) -> Option<&dyn Store> {
        None
    }
}

/// The store below all decorators.
pub fn undecorated(store: &dyn Store) -> &dyn Store {
    store.decorated().map_or(store, undecorated)
}

/// Conveniences over any [`Store`].
#[async_trait]
pub trait StoreExt: Store {
    /// The whole of a small object: at most `max` bytes, else `TooLarge`.
    ///
    /// # Errors
    /// As [`Store::get`]; `TooLarge`; `Unavailable` (temporary) where the stream breaks off.
    async fn get_bytes(&self, key: &Key, max: u64) -> Result<Bytes>;

    /// Whether the object exists. An outage is an error, never `false`.
    ///
    /// # Errors
    /// As [`Store::head`], but for `NotFound`.
    async fn exists(&self, key: &Key) -> Result<bool>;
}

#[async_trait]
impl<S: Store + ?Sized> StoreExt for S {
    async fn get_bytes(&self, key: &Key, max: u64) -> Result<Bytes> {
        use crate::{ErrorKind, Op};
        use futures_util::TryStreamExt;
        let mut object = self.get(key, GetOptions::default()).await?;
        if object.meta.size > max {
            return Err(Error::new(Op::Get, key, self, ErrorKind::TooLarge { max }));
        }
        let mut whole = Vec::with_capacity(usize::try_from(object.meta.size).unwrap_or(0));
        loop {
            match object.body.try_next().await {
                Ok(Some(block)) => whole.extend_from_slice(&block),
                Ok(None) => break,
                Err(cause) => return Err(Error::new(Op::Get, key, self, ErrorKind::Unavailable).because(cause)),
            }
        }
        if whole.len() as u64 == object.meta.size {
            Ok(whole.into())
        } else {
            Err(Error::new(Op::Get, key, self, ErrorKind::Unavailable).because("the object ended early"))
        }
    }

    async fn exists(&self, key: &Key) -> Result<bool> {
        match self.head(key).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }
}
