//! What every ledger must decide alike: who outranks whom, what a revision's row says, which files a query wants.

use super::{FileQuery, Position, RevisionRow, Sort, folded};
use crate::{Attributes, Bucket, Rank, Sha256, Tombstone, User, canonical};
use serde::Serialize;

fn digest(record: &impl Serialize) -> Sha256 {
    Sha256::of(&canonical(&serde_json::to_value(record).expect("a record holds only what JSON has")))
}

impl Tombstone {
    /// Which of two tombstones of one file (or revision) stays, whatever the order in which they are found.
    #[must_use]
    pub fn rank(&self) -> Rank {
        Rank { epoch: self.epoch, version: self.version, digest: digest(self) }
    }
}

impl User {
    /// Which of two records of one user stays, whatever the order in which they are found.
    #[must_use]
    pub fn rank(&self) -> Rank {
        Rank { epoch: self.epoch, version: self.version, digest: digest(self) }
    }
}

impl Bucket {
    /// Which of two records of one bucket stays, whatever the order in which they are found.
    #[must_use]
    pub fn rank(&self) -> Rank {
        Rank { epoch: self.epoch, version: self.version, digest: digest(self) }
    }
}

impl RevisionRow {
    /// What attributes say of their revision, without copies.
    #[must_use]
    pub fn of(attributes: &Attributes) -> Self {
        Self {
            file: attributes.id,
            revision: attributes.revision,
            key: attributes.key.clone(),
            size: attributes.size,
            sha256: attributes.sha256,
            crc64nvme: attributes.crc64nvme,
            content_type: attributes.content_type.clone(),
            revised_at: attributes.revised_at,
            copies: vec![],
        }
    }
}

impl FileQuery {
    /// Whether a file is one of those asked for, `after` and `limit` apart.
    #[must_use]
    pub fn wants(&self, file: &Attributes) -> bool {
        self.bucket.is_none_or(|bucket| file.bucket_id == bucket)
            && self.owner.is_none_or(|owner| file.owner_id == owner)
            && self.name.as_ref().is_none_or(|name| file.name == *name)
            && self.prefix.as_ref().is_none_or(|prefix| file.name.starts_with(prefix))
            && self.q.as_ref().is_none_or(|q| folded(&file.name).contains(&folded(q)))
            && self.tag.as_ref().is_none_or(|tag| file.tags.contains(tag))
            && self.content_type.as_ref().is_none_or(|of| file.content_type == *of)
            && self.deleted.is_none_or(|deleted| file.deleted_at.is_some() == deleted)
            && self.from.is_none_or(|from| file.id >= from)
            && self.until.is_none_or(|until| file.id < until)
    }

    /// Whether it asks for what no file can be: one with a NUL in a text of it, or one behind a place of another order.
    #[must_use]
    pub fn finds_nothing(&self) -> bool {
        let texts = [&self.name, &self.prefix, &self.q, &self.tag, &self.content_type];
        let is_elsewhere = |after: &Position| after.sort() != self.sort;
        texts.into_iter().flatten().any(|text| text.contains('\0')) || self.after.as_ref().is_some_and(is_elsewhere)
    }

    /// Whether a place comes behind [`FileQuery::after`].
    #[must_use]
    pub fn is_behind(&self, place: &Position) -> bool {
        match &self.after {
            None => true,
            Some(after) if after.sort() != self.sort => false,
            Some(after) if self.descending => place < after,
            Some(after) => place > after,
        }
    }
}

impl Position {
    /// The place of a file.
    #[must_use]
    pub fn of(file: &Attributes, sort: Sort) -> Self {
        match sort {
            Sort::Created => Self::Created(file.id),
            Sort::Name => Self::Name(file.name.clone(), file.id),
            Sort::Size => Self::Size(file.size, file.id),
        }
    }

    /// What it is a place in.
    #[must_use]
    pub fn sort(&self) -> Sort {
        match self {
            Self::Created(_) => Sort::Created,
            Self::Name(..) => Sort::Name,
            Self::Size(..) => Sort::Size,
        }
    }
}
