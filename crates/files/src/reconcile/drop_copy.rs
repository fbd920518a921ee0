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
//! next walk goes on with: a start's, or the hourly one; or counts again ([`Node::keep_copy`]), as soon as one of those that stay is lost. Such
//! a store rests from being asked ([`Refused`](super::Refused)), by damaged copies too.
//! Where the store takes no deletions the copy stays, and is read where nothing else can be.
//!
//! On a store that does not stage a deletion may take effect late, and would meet a copy that was made anew under the same key. So there the
//! row says in 4 when the deletion is sent, and behind 5, where it says so anew, the claim ends and the row stays. Thirteen deadlines of a small request later
//! nothing of it is on its way any more ([`Dropped`](super::Dropped)): then, under a claim, it is looked whether all is gone, and 6 follows; or 3, where
//! something still lies there. As long it is waited for before such a copy counts again, or another is made there. Damaged bytes go from
//! there the same way ([`Node::drop_damaged`]), also where a copy is wanted, which is made anew behind that.

use crate::{
    Attributes, Error, Result, Timestamp,
    files::{Node, Place},
    ledger::{Claim, CopyRow, CopyState, Entry, Purpose, RevisionRow},
    reconcile::{
        copy::{Brought, Seen, copy_on},
        dropped::sent_at,
    },
    truth::Reading,
};
use larder_storage_core::ErrorKind;
use std::{sync::Arc, time::Duration};

/// The first time that is not this one, nor before it.
fn after(last: Option<Timestamp>) -> Timestamp {
    last.map_or(Timestamp::from_millis(0), |last| last.plus(Duration::from_millis(1)))
}

/// Whether a store has refused to delete for certain.
fn is_refusal(kind: &ErrorKind) -> bool {
    matches!(kind, ErrorKind::ReadOnly | ErrorKind::PermissionDenied | ErrorKind::Unsupported)
}

impl Node {
    /// Steps 1 to 6. Does nothing where something else is known of the copies by now, or its store has refused to delete lately.
    ///
    /// # Errors
    /// Of this store, or where no other is sure to keep the file.
    pub(super) async fn drop_copy(self: &Arc<Self>, place: usize, revision: &RevisionRow) -> Result<()> {
        let stages = self.places[place].store.staging().is_some();
        let is_sent =
            !stages && copy_on(revision, self.places[place].id).is_some_and(|copy| copy.state == CopyState::Dropping);
        if is_sent && (!self.is_drop_over(place, revision) || self.end_drop(place, revision).await?) {
            return Ok(());
        }
        if self.rests(place, revision) || self.has_too_many_to_drop(place) {
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
        dropped.map(drop)
    }

    /// Whether so many deletions are waited for that none is sent to a place now.
    pub(super) fn has_too_many_to_drop(&self, place: usize) -> bool {
        self.places[place].store.staging().is_none() && self.state().dropped.is_full()
    }

    /// Whether nothing that was sent to drop a copy takes effect any more.
    fn is_drop_over(&self, place: usize, revision: &RevisionRow) -> bool {
        let (at, now) = (sent_at(revision, self.places[place].id), self.environment.clock.elapsed());
        let long = self.settings.deadlines.deleted_for();
        self.state().dropped.is_over((revision.file, revision.revision, place), at, now, long)
    }

    /// Step 6 on a store that does not stage. Says whether the row is gone, or something else is known of the copy by now.
    async fn end_drop(self: &Arc<Self>, place: usize, revision: &RevisionRow) -> Result<bool> {
        let claim = match self.claim(revision.file, Purpose::Change).await {
            Err(Error::Gone | Error::NotFound(_)) => return Ok(true),
            claim => claim?,
        };
        let ended = self.end_drop_claimed(place, revision, &claim).await;
        if !matches!(ended, Ok(Some(true))) {
            self.end_claim(claim, ended.as_ref().err()).await;
        }
        let ended = ended?;
        if ended != Some(false) {
            self.state().dropped.forget(&(revision.file, revision.revision, place));
        }
        Ok(ended != Some(false))
    }

    /// Whether the row is gone, and the claim ended with that; `None` where something else is known of the copy by now.
    async fn end_drop_claimed(
        self: &Arc<Self>,
        place: usize,
        revision: &RevisionRow,
        claim: &Claim,
    ) -> Result<Option<bool>> {
        let (file, number, at) = (revision.file, revision.revision, &self.places[place]);
        let on = |row: &RevisionRow| copy_on(row, at.id).cloned();
        let now = self.ledger.revision(file, number).await?;
        if now.is_none_or(|now| now.key != revision.key || on(&now) != on(revision)) {
            return Ok(None);
        }
        at.confirm().await?;
        let sidecar = revision.key.with_suffix(Attributes::SUFFIX).map_err(Error::internal)?;
        if at.size_of(&revision.key).await?.is_some() || at.size_of(&sidecar).await?.is_some() {
            return Ok(Some(false));
        }
        self.record_gone(place, revision, claim).await.map(Some)
    }

    async fn record_gone(self: &Arc<Self>, place: usize, revision: &RevisionRow, claim: &Claim) -> Result<bool> {
        let (file, number, at) = (revision.file, revision.revision, &self.places[place]);
        let gone = Entry::Unwanted { file, revision: number, store: at.id, state: CopyState::Dropping };
        self.record(Some(gone), Some(claim.id)).await?;
        tracing::info!(%file, revision = number, store = %at.name, "a copy was dropped");
        Ok(true)
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
        let on = |row: &RevisionRow| copy_on(row, at.id).cloned();
        if now.key != revision.key || on(&now) != on(revision) || !self.is_unwanted(&now.copies, &wanted, place) {
            return Ok(false);
        }
        let own = (row.attributes.revision == number).then_some(&row.attributes);
        self.check_kept(&wanted, &now, own).await?;
        at.confirm().await?;
        let (stages, begun) = (at.store.staging().is_some(), self.environment.clock.elapsed());
        let sent = self.record_dropping(place, revision, sent_at(&now, at.id)).await?;
        let now = self.ledger.revision(file, number).await?;
        let Some(now) = now.filter(|now| self.is_unwanted(&now.copies, &wanted, place)) else { return Ok(false) };
        // Others count from when they see the row: what is sent must be sent soon.
        if !stages && self.environment.clock.elapsed() - begun > self.settings.deadlines.small {
            return Ok(false);
        }
        let sidecar = now.key.with_suffix(Attributes::SUFFIX).map_err(Error::internal)?;
        let deleted = match self.soon(at, &now.key, at.store.delete(&now.key)).await {
            Ok(()) => self.soon(at, &sidecar, at.store.delete(&sidecar)).await.map_err(|refused| (refused, false)),
            Err(refused) => Err((refused, true)),
        };
        if let Err((refused, is_first)) = &deleted
            && self.is_refused(place, revision, refused)
        {
            let before = on(revision).filter(|copy| copy.state == CopyState::Verified && *is_first);
            if let Some(before) = before {
                // It counts as it did.
                self.record(Some(Entry::Copies { file, revision: number, copies: vec![before] }), None).await?;
                return deleted.map(|()| false).map_err(|(refused, _)| refused.into());
            }
        }
        self.saw_deleted(place, deleted.is_ok());
        if stages {
            deleted.map_err(|(refused, _)| refused)?;
            return self.record_gone(place, &now, claim).await;
        }
        // Whatever became of it: from here on nothing more of it is sent.
        self.record_sent(place, revision, sent).await?;
        deleted.map(|()| false).map_err(|(refused, _)| refused.into())
    }

    /// Records that a copy is being dropped, and where its deletion may take effect late, when it is sent: later than `last`.
    async fn record_dropping(
        self: &Arc<Self>,
        place: usize,
        revision: &RevisionRow,
        last: Option<Timestamp>,
    ) -> Result<Option<Timestamp>> {
        let at = &self.places[place];
        let stages = at.store.staging().is_some();
        let sent = if stages { None } else { Some(self.environment.clock.now().max(after(last))) };
        let copies = vec![CopyRow { store: at.id, state: CopyState::Dropping, verified_at: sent }];
        let entry = Entry::Copies { file: revision.file, revision: revision.revision, copies };
        self.record(Some(entry), None).await?;
        Ok(sent)
    }

    /// Records that nothing more of a deletion is sent, and has it waited for from now on.
    async fn record_sent(
        self: &Arc<Self>,
        place: usize,
        revision: &RevisionRow,
        last: Option<Timestamp>,
    ) -> Result<()> {
        let sent = self.record_dropping(place, revision, last).await?;
        let over = self.environment.clock.elapsed() + self.settings.deadlines.deleted_for();
        self.state().dropped.sent((revision.file, revision.revision, place), sent, over);
        Ok(())
    }

    /// Moves the damaged bytes of a copy to quarantine, on a store that does not stage: a deletion, so they are dropped, and made anew once
    /// nothing of it is on its way any more. Under the file's claim, of a copy that counts nowhere, while that on `kept` is right.
    ///
    /// # Errors
    /// Of the store. Where it refuses to delete, the copy is lost as before.
    pub(super) async fn drop_damaged(
        self: &Arc<Self>,
        place: usize,
        kept: usize,
        revision: &RevisionRow,
        claim: &Claim,
    ) -> Result<()> {
        let at = &self.places[place];
        if self.has_too_many_to_drop(place) {
            return Err(Error::Conflict("a damaged copy can't be moved away for now".into()));
        }
        if self.rests(place, revision) {
            return Err(self.rest(place));
        }
        at.keep_aside(&revision.key).await?;
        // That may have taken long, and this node have been taken for dead meanwhile.
        let now = self.ledger.revision(revision.file, revision.revision).await?;
        let counts =
            now.is_none_or(|now| now.key != revision.key || copy_on(&now, at.id).is_some_and(CopyRow::is_readable));
        let is_ours = |open: &Claim| open.id == claim.id && open.node == claim.node;
        let is_held = self.ledger.claim_of(revision.file).await?.as_ref().is_some_and(is_ours);
        if counts || !is_held || !self.still_counts(Some(kept), revision).await? {
            return Err(Error::Busy);
        }
        let begun = self.environment.clock.elapsed();
        let sent = self.record_dropping(place, revision, None).await?;
        // Others count from when they see the row: what is sent must be sent soon.
        if self.environment.clock.elapsed() - begun > self.settings.deadlines.small {
            return Err(Error::Busy);
        }
        let deleted = self.soon(at, &revision.key, at.store.delete(&revision.key)).await;
        self.saw_deleted(place, deleted.is_ok());
        if deleted.as_ref().is_err_and(|refused| self.is_refused(place, revision, refused)) {
            self.record_lost_of_dropping(place, revision).await?;
        } else {
            self.record_sent(place, revision, sent).await?;
        }
        Ok(deleted?)
    }

    /// Of a copy that is being dropped, and of which nothing more is sent: a loss that others find takes no such row's place.
    async fn record_lost_of_dropping(self: &Arc<Self>, place: usize, revision: &RevisionRow) -> Result<()> {
        let (file, number, store) = (revision.file, revision.revision, self.places[place].id);
        let gone = Entry::Unwanted { file, revision: number, store, state: CopyState::Dropping };
        self.record(Some(gone), None).await?;
        self.record_lost(place, revision).await
    }

    pub(super) async fn record_lost(self: &Arc<Self>, place: usize, revision: &RevisionRow) -> Result<()> {
        let copies = vec![CopyRow { store: self.places[place].id, state: CopyState::Lost, verified_at: None }];
        let entry = Entry::Copies { file: revision.file, revision: revision.revision, copies };
        self.record(Some(entry), None).await.map(drop)
    }

    /// Whether a place is not to be asked to delete a copy now, since it refused to lately.
    pub(super) fn rests(&self, place: usize, revision: &RevisionRow) -> bool {
        self.state().refused.rests((revision.file, revision.revision, place), self.environment.clock.elapsed())
    }

    /// Why a damaged copy stays where it is.
    pub(super) fn rest(&self, place: usize) -> Error {
        let store = &self.places[place].name;
        Error::Conflict(format!("a damaged copy stays on `{store}` for now: it refuses to delete"))
    }

    /// Whether a place has refused to delete a copy for certain, which is remembered.
    fn is_refused(&self, place: usize, revision: &RevisionRow, error: &larder_storage_core::Error) -> bool {
        let is_refused = is_refusal(error.kind());
        if is_refused {
            let store = &self.places[place].name;
            tracing::warn!(%store, %error, "copies that are to go stay there for now: it refuses to delete them");
            let now = self.environment.clock.elapsed();
            self.state().refused.refused((revision.file, revision.revision, place), now);
        }
        is_refused
    }

    fn saw_deleted(&self, place: usize, is_deleted: bool) {
        if is_deleted {
            self.state().refused.deleted(place, self.environment.clock.elapsed());
        }
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
        at.mode.changes()
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
        if self.places[place].store.staging().is_none() && !self.is_drop_over(place, revision) {
            return Ok(());
        }
        match self.look_at_copy(place, revision).await? {
            Seen::Right => {
                self.lay_down(place, revision, Brought::Nothing, self.copy_verified(place)).await?;
                self.state().dropped.forget(&(revision.file, revision.revision, place));
                Ok(())
            }
            seen @ (Seen::Absent | Seen::Wrong | Seen::Unreadable) => self.keep_none(place, revision, seen).await,
        }
    }

    /// The row of a copy that can't count again, unless something else is known of it by now: it goes where there are no bytes. Where a copy is
    /// wanted, it is made anew.
    async fn keep_none(self: &Arc<Self>, place: usize, revision: &RevisionRow, seen: Seen) -> Result<()> {
        let Some(row) = self.ledger.file(revision.file).await? else { return Ok(()) };
        let at = &self.places[place];
        let state = if seen == Seen::Absent { CopyState::Pending } else { CopyState::Lost };
        let is_wanted = at.mode.creates() && self.wants_copy(&row.attributes.bucket, place);
        if state == CopyState::Lost && !is_wanted {
            return Err(Error::Conflict(
                "a copy that was being dropped is damaged, and can't take another's place".into(),
            ));
        }
        let sidecar = revision.key.with_suffix(Attributes::SUFFIX).map_err(Error::internal)?;
        if !is_wanted && at.size_of(&sidecar).await?.is_some() {
            // The row leads to what is left, until it is dropped too.
            return Ok(());
        }
        let claim = match self.claim(revision.file, Purpose::Change).await {
            Err(Error::Gone | Error::NotFound(_)) => return Ok(()),
            claim => claim?,
        };
        let on = |row: &RevisionRow| copy_on(row, at.id).cloned();
        let wanted = Entry::Copies {
            file: revision.file,
            revision: revision.revision,
            copies: vec![CopyRow { store: at.id, state, verified_at: None }],
        };
        let ended = match self.ledger.revision(revision.file, revision.revision).await {
            Ok(Some(now)) if on(&now) == on(revision) => self.record_gone(place, revision, &claim).await,
            now => now.map(|_| false).map_err(Error::from),
        };
        if !matches!(ended, Ok(true)) {
            self.end_claim(claim, ended.as_ref().err()).await;
        }
        self.state().dropped.forget(&(revision.file, revision.revision, place));
        if ended? && is_wanted {
            self.record(Some(wanted), None).await?;
            self.reconcile_soon(revision.file, &[CopyRow { store: at.id, state, verified_at: None }]);
        }
        Ok(())
    }

    /// Looks whether one store of the placement has the bytes, and beside them, or over them where it can't compare, `own`, the file's newest attributes; or, of an old
    /// revision, some that describe it.
    async fn check_kept(
        self: &Arc<Self>,
        wanted: &[usize],
        revision: &RevisionRow,
        own: Option<&Attributes>,
    ) -> Result<()> {
        let sidecar = revision.key.with_suffix(Attributes::SUFFIX).map_err(Error::internal)?;
        for (place, at) in wanted.iter().map(|place| (*place, &self.places[*place])) {
            let is_of_this = |found: &Attributes| {
                (found.id, found.revision, &found.key) == (revision.file, revision.revision, &revision.key)
            };
            let beside = match at.attributes_at(&sidecar).await? {
                Reading::Valid(found) if is_of_this(&found) => Some(found.rank()),
                _ => None,
            };
            let is_current = match (beside, own) {
                (Some(rank), Some(own)) => rank >= own.rank() || at.has_over(own).await?,
                (beside, _) => beside.is_some(),
            };
            if at.size_of(&revision.key).await? != Some(revision.size) {
                self.doubt(place, revision).await;
            } else if is_current {
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
