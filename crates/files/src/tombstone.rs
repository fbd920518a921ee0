//! [`Tombstone`]: the record that a file, or one revision of it, was purged for ever.

use crate::{BucketId, CreatedByKey, FileId, StoreId, Timestamp, UserId, canonical};
use larder_storage_core::Key;
use serde::{Deserialize, Serialize};

/// A purge. Absolute: whatever carries its id is garbage, whatever its version; of a revision's, whatever lies under `keys`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tombstone {
    /// The form's version: 1.
    pub larder: u32,
    /// The file.
    pub id: FileId,
    /// The revision, where only that was purged.
    pub revision: Option<u64>,
    /// Its bucket.
    pub bucket_id: BucketId,
    /// Its owner.
    pub owner_id: UserId,
    /// The epoch of the purge.
    pub epoch: u64,
    /// The version claimed for it.
    pub version: u64,
    /// When.
    pub purged_at: Timestamp,
    /// Keys of all bytes that it covers, whose attributes lie beside them, and of overlays.
    pub keys: Vec<String>,
    /// Every store known then, with or without a copy.
    pub stores: Vec<StoreId>,
    /// The requests that made its revisions, while a repeat may come.
    pub created_by_key: Vec<CreatedByKey>,
}

impl Tombstone {
    /// The most bytes of one that is read: hundreds of thousands of revisions.
    pub const BYTES_MAX: u64 = 64 << 20;

    /// The canonical bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        canonical(&serde_json::to_value(self).expect("a tombstone holds only what JSON has"))
    }

    /// Reads a tombstone; `None` where these bytes are none.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok().filter(|tombstone: &Self| tombstone.larder == 1)
    }

    /// Where it lies: `.larder/tombstones/<yyyy-mm>/<id>[.<revision>]`.
    #[must_use]
    pub fn key(&self) -> Key {
        let month = &self.purged_at.to_string()[..7];
        let revision = self.revision.map(|n| format!(".{n}")).unwrap_or_default();
        Key::new(format!(".larder/tombstones/{month}/{}{revision}", self.id)).expect("made of an id and a number")
    }
}
