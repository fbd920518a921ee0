//! A copy that no placement wants any more is dropped, once every store of the placement has a verified one:
//!
//! 1. Take the file's claim: nobody changes or purges it until 5.
//! 2. Look once more at the rows, and at one store that keeps its copy: the bytes lie there, and beside them attributes as high as the
//!    file's own.
//! 3. Record that the copy is being dropped: from then on it counts nowhere.
//! 4. Delete its bytes, then its attributes.
//! 5. Record that it is gone, which ends the claim.
//!
//! A crash before 3 leaves all as it was. One behind it leaves a copy that counts nowhere, which the next walk goes on with: a start's,
//! or the hourly one. Where the store takes no deletions the copy stays, and is read where nothing else can be.

use crate::{
    Attributes, Error, Result,
    files::Node,
    ledger::{Claim, CopyRow, CopyState, Entry, Purpose, RevisionRow},
    truth::Reading,
};
use std::sync::Arc;

impl Node {
    /// Steps 1 to 5. Does nothing where something else is known of the copies by now.
    ///
    /// # Errors
    /// Of this store, or where no other is sure to keep the file.
    pub(super) async fn drop_copy(self: &Arc<Self>, place: usize, revision: &RevisionRow) -> Result<()> {
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

    /// Steps 2 to 5. Says whether the copy was dropped, and the claim ended with that.
    async fn drop_claimed(self: &Arc<Self>, place: usize, revision: &RevisionRow, claim: &Claim) -> Result<bool> {
        let (file, number, at) = (revision.file, revision.revision, &self.places[place]);
        let Some(now) = self.ledger.revision(file, number).await? else { return Ok(false) };
        let Some(row) = self.ledger.file(file).await? else { return Ok(false) };
        let wanted = self.placement_of(|bucket| bucket.name == row.attributes.bucket);
        let on = |row: &RevisionRow| row.copies.iter().find(|copy| copy.store == at.id).cloned();
        if now.key != revision.key || on(&now) != on(revision) || !self.is_unwanted(&now.copies, &wanted, place) {
            return Ok(false);
        }
        let own = (row.attributes.revision == number).then_some(&row.attributes);
        self.check_kept(&wanted, &now, own).await?;
        at.confirm().await?;
        let dropping = CopyRow { store: at.id, state: CopyState::Dropping, verified_at: None };
        self.record(Some(Entry::Copies { file, revision: number, copies: vec![dropping] }), None).await?;
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
            }
        }
        Err(Error::Conflict("no store of the placement has both the bytes and the newest attributes".into()))
    }
}
