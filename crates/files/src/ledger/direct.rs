//! Direct uploads: content that comes in parts, each under a URL of its own, before it is a file's. They are no cache and lie on no
//! store: a rebuild ends them all, and what was sent for them goes.

use crate::{DirectId, OnConflict, Sha256, StoreId, Timestamp, UserId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A direct upload that was begun.
#[derive(Clone, Debug, PartialEq)]
pub struct DirectUpload {
    /// Its id. Who knows it has no right by it.
    pub id: DirectId,
    /// Who began it, and alone may complete it.
    pub user: UserId,
    /// Where its parts are put.
    pub store: StoreId,
    /// Bytes of its content.
    pub size: u64,
    /// Bytes of each part but the last, which has what is left: at least 1.
    pub part_bytes: u64,
    /// When its URLs end.
    pub expires_at: Timestamp,
    /// When it ends: what was sent by then may yet have been completed.
    pub ends_at: Timestamp,
    /// What it is to be.
    pub file: Announced,
}

/// A file as it is announced before its content comes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Announced {
    /// The bucket's name.
    pub bucket: String,
    /// The user's name for it.
    pub name: String,
    /// Tags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Metadata.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub metadata: Map<String, Value>,
    /// SHA-256 of the content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Sha256>,
    /// The declared type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// What becomes of it where its name is taken.
    #[serde(default)]
    pub on_conflict: OnConflict,
}

impl DirectUpload {
    /// How many parts it has; content without a byte has one.
    #[must_use]
    pub fn parts(&self) -> u64 {
        self.size.div_ceil(self.part_bytes.max(1)).max(1)
    }

    /// Bytes of the part of this number, from 1; `None` where it has none.
    #[must_use]
    pub fn part_size(&self, number: u64) -> Option<u64> {
        let before = self.part_bytes.max(1).checked_mul(number.checked_sub(1)?)?;
        (number <= self.parts()).then(|| self.part_bytes.min(self.size - before))
    }

    /// Whether it goes on at `now`.
    #[must_use]
    pub fn is_open(&self, now: Timestamp) -> bool {
        now < self.ends_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn upload(size: u64, part_bytes: u64) -> DirectUpload {
        let (at, file) = (Timestamp::from_millis(0), Announced::default());
        let (id, user, store) = (DirectId(Uuid::nil()), UserId(Uuid::nil()), StoreId(Uuid::nil()));
        DirectUpload { id, user, store, size, part_bytes, expires_at: at, ends_at: at, file }
    }

    #[test]
    fn the_last_part_has_what_is_left() {
        for (size, part_bytes, sizes) in
            [(0, 5, vec![0]), (4, 5, vec![4]), (5, 5, vec![5]), (6, 5, vec![5, 1]), (15, 5, vec![5, 5, 5])]
        {
            let upload = upload(size, part_bytes);
            let found: Vec<_> = (1..=upload.parts()).map(|number| upload.part_size(number).unwrap()).collect();
            assert_eq!(found, sizes, "{size} by {part_bytes}");
            assert_eq!([upload.part_size(0), upload.part_size(upload.parts() + 1)], [None, None]);
            assert_eq!(upload.part_size(u64::MAX), None);
        }
    }
}
