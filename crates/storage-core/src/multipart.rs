//! [`Multipart`]: an object uploaded in parts by an id, from anywhere, in any order.

use crate::{Body, ETag, Key, PutMode, Result, Written};
use async_trait::async_trait;
use std::{sync::Arc, time::Duration};

/// An upload that is open, as the store names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UploadId(Arc<str>);

impl UploadId {
    /// The id as the store gives it.
    #[must_use]
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The number of a part: 1 to 10,000, S3's own bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PartNumber(u16);

impl PartNumber {
    /// The highest number.
    pub const MAX: u16 = 10_000;

    /// Takes 1 to [`PartNumber::MAX`]; anything else is `None`.
    #[must_use]
    pub fn new(number: u16) -> Option<Self> {
        (1..=Self::MAX).contains(&number).then_some(Self(number))
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> u16 {
        self.0
    }
}

/// A part that was uploaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadedPart {
    /// Its number.
    pub number: PartNumber,
    /// Its size in bytes.
    pub size: u64,
    /// Its validator, needed to complete.
    pub etag: ETag,
}

/// An upload that was begun, and neither completed nor aborted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenUpload {
    /// Where its object would be.
    pub key: Key,
    /// What [`Multipart::abort`] takes.
    pub upload: UploadId,
    /// How long ago it was begun, by the store's own clock.
    pub age: Duration,
}

/// Uploads in parts. Stateless: everything is reached by key and id.
#[async_trait]
pub trait Multipart: Send + Sync {
    /// Opens an upload. Nothing can be read at `key` until it is completed.
    ///
    /// # Errors
    /// `ReadOnly`, `PermissionDenied`, `InvalidKey`.
    async fn begin(&self, key: &Key) -> Result<UploadId>;

    /// Uploads a part; a later one of the same number replaces it.
    ///
    /// # Errors
    /// `NotFound` of the upload; `Body`.
    async fn put_part(&self, key: &Key, upload: &UploadId, number: PartNumber, body: Body) -> Result<UploadedPart>;

    /// The parts that are there, by number.
    ///
    /// # Errors
    /// `NotFound` of the upload.
    async fn parts(&self, key: &Key, upload: &UploadId) -> Result<Vec<UploadedPart>>;

    /// Makes the object of these parts, in the order of their numbers, and ends the upload.
    ///
    /// # Errors
    /// `NotFound` of the upload; `PreconditionFailed` where a part is not the one named; by the mode as `put`.
    async fn complete(&self, key: &Key, upload: &UploadId, parts: &[UploadedPart], mode: PutMode) -> Result<Written>;

    /// Ends the upload and frees its parts; one that has ended already is aborted.
    ///
    /// # Errors
    /// `Unavailable`; never `NotFound`.
    async fn abort(&self, key: &Key, upload: &UploadId) -> Result<()>;

    /// The uploads that are open, also those that a `put` of the store's own makes: all of them, or those `of` one key. What is under
    /// way and what was abandoned look alike but for their age. One request for each thousand.
    ///
    /// # Errors
    /// `Unsupported` of a store that does not tell; some tell of one key only. `Unavailable`, `PermissionDenied`.
    async fn open_uploads(&self, of: Option<Key>) -> Result<Vec<OpenUpload>>;
}
