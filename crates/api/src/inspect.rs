//! [`Inspect`]: what only who opened a store can tell of it, such as what the server of a bucket is able to. `Files` sees stores as the
//! contract has them; whoever names the concrete ones hands these in beside it.

use futures_util::future::BoxFuture;
use larder_files::{StoreName, Timestamp};
use serde::Serialize;
use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};
use utoipa::ToSchema;

/// A store that can tell of its server.
pub trait Inspect: fmt::Debug + Send + Sync + 'static {
    /// What the server was seen to do, as far as that is known; finds nothing out, and writes nothing.
    fn profile(&self) -> BoxFuture<'_, Option<Profile>>;

    /// Tries all that the store needs of its server, as far as its mode allows.
    fn inspect(&self) -> BoxFuture<'_, Vec<Inspected>>;
}

/// Those of a node, by the names of their stores.
pub type Inspectors = BTreeMap<StoreName, Arc<dyn Inspect>>;

/// What the server of a store was seen to do. What is `false` was tried, and is not relied on.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = StoreProfile)]
pub struct Profile {
    /// When it was found out.
    #[schema(value_type = String, format = "date-time")]
    pub probed_at: Timestamp,
    /// `If-None-Match: *` is kept: what is there is not overwritten by what is new.
    pub conditional_create: bool,
    /// `If-Match` is kept: only what was seen is replaced.
    pub conditional_replace: bool,
    /// What arrives damaged is refused.
    pub checks_payload: bool,
    /// Content that is sent by a signed URL is refused where it has another SHA-256 than was announced.
    pub checks_sha256: bool,
    /// Many objects are deleted by one request.
    pub batch_delete: bool,
    /// Uploads that were never completed can be found.
    pub lists_uploads: bool,
    /// The smallest part of an upload but the last, in bytes; 0 where any size is taken.
    pub part_bytes_min: u64,
    /// URLs can be signed.
    pub presign: bool,
    /// What is deleted stays as a version, which is deleted as well.
    pub versions: bool,
    /// Objects can bear tags.
    pub tags: bool,
    /// Objects are encrypted as the configuration asks.
    pub encrypts: bool,
    /// The server's clock less this machine's, in seconds.
    pub clock_skew_seconds: i64,
}

/// One thing that was tried.
#[derive(Clone, Debug)]
pub struct Inspected {
    /// What, in a word or two.
    pub check: &'static str,
    /// How well it is: `passed`, `warning` or `failed`.
    pub result: &'static str,
    /// What was found.
    pub detail: String,
    /// What mends it; empty where nothing is to be done.
    pub advice: String,
    /// How long it took.
    pub latency: Duration,
}
