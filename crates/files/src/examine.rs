//! [`Examine`]: what is found out about new content while it arrives, such as the dimensions of a picture, and whether its bucket takes
//! it. `Files` knows of no formats: whoever does hands this in.

use crate::BucketPolicy;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde_json::Value;
use std::fmt;

/// Tells what new content is.
pub trait Examine: fmt::Debug + Send + Sync + 'static {
    /// Begins to look at content of this type for a bucket of this policy, of this many bytes where that is known. `None` where there is
    /// nothing to find out.
    fn begin(&self, policy: &BucketPolicy, content_type: &str, size: Option<u64>) -> Option<Box<dyn Examination>>;
}

/// A look at one file's content.
pub trait Examination: Send {
    /// Takes the next block; each is shown once, in order.
    fn look_at(&mut self, block: &Bytes);

    /// Says what the content is, once all of it was looked at: what its attributes bear as `media`, a JSON object of at most 160 bytes
    /// (a longer one is left out), or nothing.
    ///
    /// # Errors
    /// [`Unfit`] where the bucket must not take it.
    fn finish(self: Box<Self>) -> BoxFuture<'static, Result<Option<Value>, Unfit>>;
}

/// Why a bucket does not take content whose type it does take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// It is not what its first bytes say; tells what is wrong, and what to do.
    NotAsItSays(String),
    /// There is no room to look at it now.
    Later,
}
