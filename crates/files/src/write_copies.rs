//! On how many stores lies what is answered: a bucket's `write_copies`.
//!
//! Whatever is asked for has happened once one store holds it, durably: nothing undoes it from then on. The answer waits until as many
//! stores as the bucket asks for hold the content, verified, and the newest attributes beside it; so losing all but one of them loses
//! nothing that was answered. Only stores of the mode `edit` count, for only there newer attributes come to lie beside the bytes.
//!
//! 1. Before anything happens it is refused, if fewer stores than that are there.
//! 2. Behind the operation's own steps, which make the first copy, those that are missing are made at once, ahead of the reconciler and
//!    by its steps, in the order of the placement.
//! 3. Where a store fails only then, the answer is `Indeterminate`: what was asked for has happened, the reconciler brings it where it
//!    belongs as soon as it can, and a repeat of the same upload or change waits for that again.
//!
//! A crash after the first copy leaves what one leaves that waits for no others: the ledger says which copies are due.

use crate::{
    Attributes, Bucket, BucketName, BucketPolicy, Error, FileId, Result, StoreId,
    files::{File, Node, Place},
    ledger::{CopyRow, CopyState, RevisionRow},
    node::{CLAIM_POLL_MAX, CLAIM_POLL_MIN},
    truth::chain,
};
use std::{collections::BTreeSet, sync::Arc};

/// What came of an attempt to make the copies that are missing.
#[derive(Default)]
struct Attempt {
    failed: Option<Error>,
    /// Whether another answer's task makes one of them.
    is_anothers: bool,
}

impl BucketPolicy {
    /// How many stores must hold what is answered; 0 means 1.
    pub(crate) fn copies_answered(&self) -> usize {
        usize::try_from(self.write_copies).unwrap_or(usize::MAX).max(1)
    }
}

impl Node {
    /// How many stores must hold what is answered of a bucket's files.
    pub(crate) fn copies_answered(&self, bucket: &BucketName) -> usize {
        let buckets = self.buckets.lock().expect("nothing panics while it holds this lock");
        buckets.get(bucket).map_or(1, |bucket| self.copies_answered_in(bucket))
    }

    /// A bucket that is no longer configured may ask for more than there is by now.
    fn copies_answered_in(&self, bucket: &Bucket) -> usize {
        let wanted = bucket.policy.copies_answered();
        if wanted == 1 || self.settings.buckets.iter().any(|(name, _)| *name == bucket.name) {
            return wanted;
        }
        let placement = self.placement(&bucket.policy).into_iter();
        wanted.min(placement.filter(|place| self.places[*place].mode.changes()).count()).max(1)
    }

    /// What is no bucket's is as safe as the safest file.
    pub(crate) fn copies_answered_of_users(&self) -> usize {
        let buckets = self.buckets.lock().expect("nothing panics while it holds this lock");
        buckets.values().map(|bucket| self.copies_answered_in(bucket)).max().unwrap_or(1)
    }

    /// Step 1.
    ///
    /// # Errors
    /// `StoreUnavailable`, where fewer stores than the bucket asks for are known to be there.
    pub(crate) fn check_enough(&self, bucket: &BucketName) -> Result<()> {
        match self.copies_answered(bucket) {
            1 => Ok(()),
            wanted => self.check_there(wanted, &self.placement_of(|known| known.name == *bucket)),
        }
    }

    /// The same of what goes to every store.
    ///
    /// # Errors
    /// As [`Node::check_enough`].
    pub(crate) fn check_enough_of_all(&self, wanted: usize) -> Result<()> {
        if wanted == 1 {
            return Ok(());
        }
        let all: Vec<_> = (0..self.places.len()).collect();
        self.check_there(wanted, &all)
    }

    fn check_there(&self, wanted: usize, places: &[usize]) -> Result<()> {
        let away = self.state().away.clone();
        let there = places.iter().filter(|place| self.places[**place].mode.changes() && !away.contains(place)).count();
        if there >= wanted {
            return Ok(());
        }
        Err(Error::StoreUnavailable(Some(
            format!("{wanted} stores must take it, {there} {} there", if there == 1 { "is" } else { "are" }).into(),
        )))
    }

    /// Step 2 for a file that was made or changed: answers it with the copies that it has by then.
    ///
    /// # Errors
    /// `Indeterminate`, by step 3.
    pub(crate) async fn make_safe(self: &Arc<Self>, mut file: File) -> Result<File> {
        let wanted = self.copies_answered(&file.attributes.bucket);
        if wanted == 1 {
            return Ok(file);
        }
        let id = file.attributes.id;
        let made = self.make_copies(&file, wanted).await;
        if let Ok(Some(row)) = self.ledger.revision(id, file.attributes.revision).await {
            self.reconcile_soon(id, &row.copies);
            file.copies = row.copies;
        }
        match made {
            Ok(()) => Ok(file),
            Err(error) => {
                let text = format!("it has happened, but does not lie on {wanted} stores yet: {}", chain(&error));
                Err(Error::Indeterminate(text.into()))
            }
        }
    }

    async fn make_copies(self: &Arc<Self>, file: &File, wanted: usize) -> Result<()> {
        let clock = &self.environment.clock;
        let (deadline, mut pause) = (clock.elapsed() + self.settings.claim_wait, CLAIM_POLL_MIN);
        loop {
            let mut attempt = Attempt::default();
            let is_safe = self.make_copies_once(file, wanted, &mut attempt).await?;
            match attempt.failed {
                _ if is_safe => return Ok(()),
                Some(error) => return Err(error),
                // Another answer's copy is waited for to its end.
                None if clock.elapsed() >= deadline && !attempt.is_anothers => return Err(Error::Busy),
                None => clock.sleep(pause).await,
            }
            pause = (pause * 2).min(CLAIM_POLL_MAX);
        }
    }

    /// One attempt on each store; says whether there are enough then. What was changed again meanwhile must lie there as it is now.
    async fn make_copies_once(self: &Arc<Self>, file: &File, wanted: usize, attempt: &mut Attempt) -> Result<bool> {
        let id = file.attributes.id;
        // Who was purged meanwhile needs no copies.
        let Some(now) = self.ledger.file(id).await? else { return Ok(true) };
        let (bucket, mut wanted) = (&now.attributes.bucket, wanted);
        if *bucket != file.attributes.bucket {
            // Moved meanwhile: it is to be as safe as where it is now.
            wanted = self.copies_answered(bucket);
        }
        let mut places = self.placement_of(|known| known.name == *bucket);
        places.retain(|place| self.places[*place].mode.changes());
        for number in BTreeSet::from([file.attributes.revision, now.attributes.revision]) {
            if !self.make_copies_of(id, number, (&places, wanted), attempt).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The same of one revision.
    async fn make_copies_of(
        self: &Arc<Self>,
        id: FileId,
        revision: u64,
        (places, wanted): (&[usize], usize),
        attempt: &mut Attempt,
    ) -> Result<bool> {
        let mut untried = places.iter();
        loop {
            let Some(row) = self.ledger.revision(id, revision).await? else { return Ok(true) };
            let is_on = |place: &&usize| is_verified_on(&row, self.places[**place].id);
            if places.iter().filter(is_on).count() >= wanted {
                return Ok(true);
            }
            let Some(place) = untried.find(|place| !is_on(place)) else { return Ok(false) };
            let store = self.places[*place].id;
            let is_sent = |copy: &CopyRow| copy.store == store && copy.state == CopyState::Dropping;
            if self.places[*place].store.staging().is_none() && row.copies.iter().any(is_sent) {
                let words = format!(
                    "a copy on `{}` is being dropped: it is made anew in some minutes",
                    self.places[*place].name
                );
                attempt.failed = Some(Error::StoreUnavailable(Some(words.into())));
                continue;
            }
            match self.put_right_for_answer(id, revision, *place).await {
                Ok(None) => attempt.is_anothers = true,
                Ok(Some(outcome)) => attempt.failed = outcome.failed.into_values().next().or(attempt.failed.take()),
                Err(error @ Error::Fenced(_)) => return Err(error),
                Err(error) => attempt.failed = Some(error),
            }
        }
    }

    /// Has the reconciler look at what was noted of a file, unless its answer waits for that.
    pub(crate) fn reconcile_unless_awaited(&self, attributes: &Attributes, copies: &[CopyRow]) {
        if self.copies_answered(&attributes.bucket) == 1 {
            self.reconcile_soon(attributes.id, copies);
        }
    }

    /// Step 3 of what goes to every store, and which some have `missed`.
    ///
    /// # Errors
    /// `Indeterminate`, where fewer stores hold it than must.
    pub(crate) fn check_held(&self, wanted: usize, missed: &[StoreId]) -> Result<()> {
        let holds = |place: &&Place| place.mode.changes() && !missed.contains(&place.id);
        let held = self.places.iter().filter(holds).count();
        if wanted == 1 || held >= wanted {
            return Ok(());
        }
        Err(Error::Indeterminate(format!("it has happened, but lies on {held} of {wanted} stores yet").into()))
    }
}

fn is_verified_on(row: &RevisionRow, store: StoreId) -> bool {
    row.copies.iter().any(|copy| copy.store == store && copy.state == CopyState::Verified)
}
