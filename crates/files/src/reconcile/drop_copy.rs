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
    create::nothing_happened,
    files::{Node, Place},
    ledger::{Claim, CopyRow, CopyState, Entry, Purpose, RevisionRow},
    reconcile::copy::{Brought, Seen},
    truth::Reading,
};
use std::{sync::Arc, time::Duration};

/// A store that refuses to delete is not asked again for so long.
const KEPT_FOR: Duration = Duration::from_secs(60 * 60);

impl Node {
    /// Steps 1 to 6. Does nothing where something else is known of the copies by now, or its store has refused to delete lately.
    ///
    /// # Errors
    /// Of this store, or where no other is sure to keep the file.
    pub(super) async fn drop_copy(self: &Arc<Self>, place: usize, revision: &RevisionRow) -> Result<()> {
        let now = self.environment.clock.elapsed();
        if self.state().keeps.get(&place).is_some_and(|until| *until > now) {
            return Ok(());
        }
        let Some(kept) = self.kept_copies(place, revision).await? else { return Ok(()) };
        let claim = match self.claim(revision.file, Purpose::Change).await {
            Err(Error::Gone | Error::NotFound(_)) => return Ok(()),
            claim => claim?,
        };
        let dropped = self.drop_claimed(place, revision, &kept, &claim).await;
        if !matches!(dropped, Ok(true)) {
            self.end_claim(claim, dropped.as_ref().err()).await;
        }
        if let Err(Error::ReadOnly(why)) = &dropped {
            let store = &self.places[place].name;
            tracing::warn!(%store, why, "copies that no placement wants stay there for now: it refuses to delete them");
            self.state().keeps.insert(place, now + KEPT_FOR);
        }
        dropped.map(drop)
    }

    /// Step 1: the places that keep a copy. One that is not right is marked lost. What costs little comes first.
    async fn kept_copies(self: &Arc<Self>, place: usize, revision: &RevisionRow) -> Result<Option<Vec<usize>>> {
        let Some(row) = self.ledger.file(revision.file).await? else { return Ok(None) };
        let serve = |kept: &Vec<usize>| kept.iter().all(|kept| self.places[*kept].mode.serves_content());
        let Some(kept) = self.whole_placement(&row.attributes.bucket).filter(serve) else { return Ok(None) };
        self.places[place].confirm().await?;
        let own = (row.attributes.revision == revision.revision).then_some(&row.attributes);
        self.check_kept(&kept, revision, own).await?;
        for at in &kept {
            if self.look_at_copy(*at, revision).await? != Seen::Right {
                self.doubt(*at, revision).await;
                return Ok(None);
            }
        }
        Ok(Some(kept))
    }

    /// Steps 3 to 6. Says whether the copy was dropped, and the claim ended with that.
    async fn drop_claimed(
        self: &Arc<Self>,
        place: usize,
        revision: &RevisionRow,
        kept: &[usize],
        claim: &Claim,
    ) -> Result<bool> {
        let (file, number, at) = (revision.file, revision.revision, &self.places[place]);
        let Some(now) = self.ledger.revision(file, number).await? else { return Ok(false) };
        let Some(row) = self.ledger.file(file).await? else { return Ok(false) };
        // Those that were read, and no others.
        let wanted = self.whole_placement(&row.attributes.bucket).filter(|wanted| wanted == kept);
        let Some(wanted) = wanted else { return Ok(false) };
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
        if let Err(refused) = at.store.delete(&now.key).await {
            let before =
                on(revision).filter(|copy| copy.state == CopyState::Verified && nothing_happened(refused.kind()));
            if let Some(before) = before {
                // It counts as it did.
                self.record(Some(Entry::Copies { file, revision: number, copies: vec![before] }), None).await?;
            }
            return Err(refused.into());
        }
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
            Seen::Wrong | Seen::Unreadable => {
                Err(Error::Conflict("a copy that was being dropped is damaged, and can't take another's place".into()))
            }
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
