//! A copy that no placement wants any more is dropped, once every store of the placement has a verified one:
//!
//! 1. Read each copy that stays: what was verified once may have rotted since.
//! 2. Take the file's claim: nobody changes or purges it until 6.
//! 3. Look once more at the rows, and at one store that keeps its copy: the bytes lie there, and beside them attributes as high as the
//!    file's own.
//! 4. Record that the copy is being dropped: from then on it counts nowhere. Look at the rows again: a read may have found another lost.
//! 5. Delete its bytes, then its attributes.
//! 6. Record that it is gone, which ends the claim.
//!
//! A crash before 4 leaves all as it was. One behind it, or a store that refuses to delete, leaves a copy that counts nowhere, which the
//! next walk goes on with: a start's, or the hourly one; or counts again ([`Node::keep_copy`]), as soon as one of those that stay is lost.
//! Where the store takes no deletions the copy stays, and is read where nothing else can be. So it does on a store that does not stage: a
//! deletion that takes effect late would meet a copy that was made anew under the same key.

use crate::{
    Attributes, Error, Result,
    files::{Node, Place},
    ledger::{Claim, CopyRow, CopyState, Entry, Purpose, RevisionRow},
    reconcile::copy::{Brought, Seen},
    truth::Reading,
};
use std::sync::Arc;

impl Node {
    /// Steps 1 to 6. Does nothing where something else is known of the copies by now.
    ///
    /// # Errors
    /// Of this store, or where no other is sure to keep the file.
    pub(super) async fn drop_copy(self: &Arc<Self>, place: usize, revision: &RevisionRow) -> Result<()> {
        if !self.are_kept_copies_right(revision).await? {
            return Ok(());
        }
        let claim = match self.claim(revision.file, Purpose::Change).await {
            Err(Error::Gone | Error::NotFound(_)) => return Ok(()),
            claim => claim?,
        };
        let dropped = self.drop_claimed(place, revision, &claim).await;
        if !matches!(dropped, Ok(true)) {
            self.end_claim(claim, dropped.as_ref().err()).await;
        }
        dropped.map(drop)
    }

    /// Step 1. Those that are not right are marked lost.
    async fn are_kept_copies_right(self: &Arc<Self>, revision: &RevisionRow) -> Result<bool> {
        let Some(row) = self.ledger.file(revision.file).await? else { return Ok(false) };
        for place in self.placement_of(|bucket| bucket.name == row.attributes.bucket) {
            if !self.places[place].mode.serves_content() {
                return Ok(false);
            }
            if self.look_at_copy(place, revision).await? != Seen::Right {
                self.doubt(place, revision).await;
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Steps 3 to 6. Says whether the copy was dropped, and the claim ended with that.
    async fn drop_claimed(self: &Arc<Self>, place: usize, revision: &RevisionRow, claim: &Claim) -> Result<bool> {
        let (file, number, at) = (revision.file, revision.revision, &self.places[place]);
        let Some(now) = self.ledger.revision(file, number).await? else { return Ok(false) };
        let Some(row) = self.ledger.file(file).await? else { return Ok(false) };
        let Some(wanted) = self.whole_placement(&row.attributes.bucket) else { return Ok(false) };
        let on = |row: &RevisionRow| row.copies.iter().find(|copy| copy.store == at.id).cloned();
        if now.key != revision.key || on(&now) != on(revision) || !self.is_unwanted(&now.copies, &wanted, place) {
            return Ok(false);
        }
        let own = (row.attributes.revision == number).then_some(&row.attributes);
        self.check_kept(&wanted, &now, own).await?;
        at.confirm().await?;
        let dropping = CopyRow { store: at.id, state: CopyState::Dropping, verified_at: None };
        self.record(Some(Entry::Copies { file, revision: number, copies: vec![dropping] }), None).await?;
        let now = self.ledger.revision(file, number).await?;
        let Some(now) = now.filter(|now| self.is_unwanted(&now.copies, &wanted, place)) else { return Ok(false) };
        at.store.delete(&now.key).await?;
        at.store.delete(&now.key.with_suffix(Attributes::SUFFIX).map_err(Error::internal)?).await?;
        let gone = Entry::Unwanted { file, revision: number, store: at.id, state: CopyState::Dropping };
        self.record(Some(gone), Some(claim.id)).await?;
        tracing::info!(%file, revision = number, store = %at.name, "a copy that no placement wants was dropped");
        Ok(true)
    }

    /// Whether a copy on a place may go by what the rows say: every store of the placement has a verified one.
    pub(super) fn is_unwanted(&self, copies: &[CopyRow], wanted: &[usize], place: usize) -> bool {
        let is_verified = |wanted: &usize| {
            let store = self.places[*wanted].id;
            copies.iter().any(|copy| copy.store == store && copy.state == CopyState::Verified)
        };
        !wanted.is_empty() && !wanted.contains(&place) && wanted.iter().all(is_verified)
    }

    /// Whether a copy that is not wanted may be deleted from a place at all.
    pub(super) fn is_dropped_from(at: &Place) -> bool {
        at.mode.changes() && at.store.staging().is_some()
    }

    /// The places of a bucket's placement; `None` where it names a store that is not configured.
    fn whole_placement(&self, bucket: &crate::BucketName) -> Option<Vec<usize>> {
        let wanted = self.placement_of(|known| known.name == *bucket);
        let buckets = self.buckets.lock().expect("nothing panics while it holds this lock");
        let named = buckets.get(bucket).map(|bucket| bucket.policy.placement.len())?;
        let named = if named == 0 { self.settings.placement.len() } else { named };
        (wanted.len() == named.max(1)).then_some(wanted)
    }

    /// A copy that was being dropped counts again where its bytes are right, since others do not any more; where it is gone, so is its
    /// row.
    pub(super) async fn keep_copy(self: &Arc<Self>, place: usize, revision: &RevisionRow) -> Result<()> {
        match self.look_at_copy(place, revision).await? {
            Seen::Right => self.lay_down(place, revision, Brought::Nothing, self.copy_verified(place)).await,
            Seen::Absent => {
                let (store, state) = (self.places[place].id, CopyState::Dropping);
                let gone = Entry::Unwanted { file: revision.file, revision: revision.revision, store, state };
                self.record(Some(gone), None).await.map(drop)
            }
            Seen::Wrong | Seen::Unreadable => Ok(()),
        }
    }

    /// Looks whether one store of the placement has the bytes, and beside them `own`, the file's newest attributes; or, of an old
    /// revision, some that describe it.
    async fn check_kept(
        self: &Arc<Self>,
        wanted: &[usize],
        revision: &RevisionRow,
        own: Option<&Attributes>,
    ) -> Result<()> {
        let sidecar = revision.key.with_suffix(Attributes::SUFFIX).map_err(Error::internal)?;
        for (place, at) in wanted.iter().map(|place| (*place, &self.places[*place])) {
            let is_right = |found: &Attributes| {
                (found.id, found.revision, &found.key) == (revision.file, revision.revision, &revision.key)
                    && own.is_none_or(|own| found.rank() >= own.rank())
            };
            if at.size_of(&revision.key).await? != Some(revision.size) {
                self.doubt(place, revision).await;
            } else if matches!(at.attributes_at(&sidecar).await?, Reading::Valid(found) if is_right(&found)) {
                return Ok(());
            } else if at.mode.changes() {
                // They are to be carried there first.
                let behind = revision.copies.iter().filter(|copy| copy.store == at.id);
                let behind = behind.map(|copy| CopyRow { state: CopyState::Present, ..copy.clone() }).collect();
                let entry = Entry::Copies { file: revision.file, revision: revision.revision, copies: behind };
                self.record(Some(entry), None).await?;
            }
        }
        Err(Error::Conflict("no store of the placement has both the bytes and the newest attributes".into()))
    }
}
