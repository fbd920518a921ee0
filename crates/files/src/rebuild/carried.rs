//! What only the older ledger tells of, where the store that it was written to is left out: purges, and where that store is forgotten
//! also users, buckets, and newer attributes of files whose bytes lie elsewhere. All of it was acknowledged, so it is written again, by the
//! rank that it has: what a store that stays knows better wins, and so does a purge.
//!
//! A file whose bytes nobody else has is not among it: that is a loss ([`losses`](super::losses())).

use super::{Result, Scan, copies_of, failed, older_identity};
use crate::{
    Attributes, Ledger, StartError, Tombstone,
    files::Place,
    layout,
    ledger::{Entry, FileQuery, LedgerError, Position},
    truth::chain,
};
use larder_storage_core::{self as core, ErrorKind, PutOptions};
use tracing::warn;

/// Rows per request.
const PAGE: usize = 1000;

impl Scan<'_> {
    /// Tombstones of the older ledger, if it is this installation's, that lie on no store which is here: they are written again. One
    /// that can't be read is as none.
    pub(super) async fn purged_before(&mut self, older: &dyn Ledger) -> Result<()> {
        if !is_ours(&*self.parts.ledger, older).await? {
            return Ok(());
        }
        let mut after = None;
        while let Some(page) = read(older.tombstones(after, PAGE).await, "purges") {
            let Some(last) = page.last() else { break };
            after = Some((last.id, last.revision));
            for tombstone in page {
                let known = self.parts.ledger.tombstone(tombstone.id, tombstone.revision).await.map_err(failed)?;
                if known.is_none() {
                    self.bury(tombstone).await?;
                }
            }
        }
        Ok(())
    }

    /// Users, buckets and attributes of the older ledger that rank above what the stores have which are here: they are written again. One
    /// that can't be read is as none.
    pub(super) async fn changed_before(&mut self, older: &dyn Ledger) -> Result<()> {
        if !is_ours(&*self.parts.ledger, older).await? {
            return Ok(());
        }
        let ledger = self.parts.ledger.clone();
        // Epoch 0 has what was never sealed: attributes alone told of it.
        for user in read(older.users().await, "users").into_iter().flatten().filter(|user| user.epoch > 0) {
            let known = ledger.user(user.id).await.map_err(failed)?;
            if known.is_none_or(|known| (known.epoch, known.version) < (user.epoch, user.version)) {
                self.takes("users")?;
                self.seal(user, |user| Entry::User(Box::new(user))).await?;
            }
        }
        let buckets = ledger.buckets().await.map_err(failed)?;
        for bucket in read(older.buckets().await, "buckets").into_iter().flatten().filter(|bucket| bucket.epoch > 0) {
            let known = buckets.iter().find(|known| known.id == bucket.id);
            if known.is_none_or(|known| (known.epoch, known.version) < (bucket.epoch, bucket.version)) {
                self.takes("buckets")?;
                self.seal(bucket, |bucket| Entry::Bucket(Box::new(bucket))).await?;
            }
        }
        let mut query = FileQuery { limit: PAGE, ..FileQuery::default() };
        while let Some(page) = read(older.files(&query).await, "changes") {
            let Some(last) = page.last() else { break };
            query.after = Some(Position::Created(last.attributes.id));
            for row in page {
                self.bring_up_to(row.attributes).await?;
            }
        }
        Ok(())
    }

    /// Writes attributes again, as an overlay, where they rank above what is known here of a file whose bytes are here.
    async fn bring_up_to(&mut self, attributes: Attributes) -> Result<()> {
        let (ledger, id) = (self.parts.ledger.clone(), attributes.id);
        let known = ledger.file(id).await.map_err(failed)?.map(|known| known.attributes);
        if known.is_some_and(|known| (known.epoch, known.version) >= (attributes.epoch, attributes.version)) {
            return Ok(());
        }
        for covered in [None, Some(attributes.revision)] {
            if ledger.tombstone(id, covered).await.map_err(failed)?.is_some() {
                return Ok(());
            }
        }
        let copies = copies_of(self.places, &attributes).await.map_err(failed)?;
        if copies.is_empty() {
            return Ok(());
        }
        self.takes("changes")?;
        let key = layout::overlay(id, attributes.epoch, attributes.version);
        for place in self.places.iter().filter(|place| place.mode.creates()) {
            if create(place, &key, attributes.to_bytes().into()).await.map_err(failed)? {
                break;
            }
        }
        self.record(vec![(key, Entry::Attributes { attributes: Box::new(attributes), copies })]).await.map(drop)
    }

    /// What such a purge had deleted, and where, nobody knows: each store clears up.
    async fn bury(&mut self, tombstone: Tombstone) -> Result<()> {
        self.takes("purges")?;
        let key = tombstone.key();
        let mut group = vec![];
        for place in self.places {
            group.push((key.clone(), tombstone.not_cleared_on(place.id)));
            if place.mode.creates() {
                create(place, &key, tombstone.to_bytes().into()).await.map_err(failed)?;
            }
        }
        group.insert(0, (key, Entry::Tombstone(Box::new(tombstone))));
        self.record(group).await.map(drop)
    }

    /// Fails where no store takes what only the older ledger tells of.
    fn takes(&self, what: &str) -> Result<()> {
        if self.places.iter().any(|place| place.mode.creates()) {
            return Ok(());
        }
        Err(StartError::Configuration(format!(
            "only the older database knows of some {what}, and no store takes them: give one the mode `edit` or `rw` for this rebuild"
        )))
    }
}

/// Whether both are of one installation.
async fn is_ours(ledger: &dyn Ledger, older: &dyn Ledger) -> Result<bool> {
    let ours = ledger.identity().await.map_err(failed)?.map(|identity| identity.instance);
    Ok(older_identity(Some(older)).await.map(|identity| identity.instance) == ours)
}

/// What the older ledger answered.
fn read<T>(answer: Result<T, LedgerError>, what: &str) -> Option<T> {
    let warned = |error: LedgerError| {
        warn!(error = %chain(&error), "the older database can't be read; {what} that it alone knows are forgotten");
    };
    answer.map_err(warned).ok()
}

/// Whether it did not lie there yet.
async fn create(place: &Place, key: &core::Key, bytes: bytes::Bytes) -> core::Result<bool> {
    match place.store.put(key, bytes.into(), PutOptions::create()).await {
        Err(error) if *error.kind() != ErrorKind::AlreadyExists => Err(error),
        put => Ok(put.is_ok()),
    }
}

/// Whether an older ledger can be read, as far as a rebuild takes something from it. Costs a walk over all that it knows.
pub(super) async fn can_be_read(older: &dyn Ledger) -> Result<(), LedgerError> {
    older.users().await?;
    older.buckets().await?;
    let (mut after, mut query) = (None, FileQuery { limit: PAGE, ..FileQuery::default() });
    while let Some(last) = older.tombstones(after, PAGE).await?.pop() {
        after = Some((last.id, last.revision));
    }
    while let Some(last) = older.files(&query).await?.pop() {
        query.after = Some(Position::Created(last.attributes.id));
    }
    Ok(())
}
