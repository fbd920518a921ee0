//! One file is put right: for each revision and each place that lacks something,
//!
//! 1. Look at what lies there. What is right needs no bytes; what is wrong is moved out of the way, under the file's claim.
//! 2. Bring the bytes from another copy, hashed as they pass: staged, where nobody sees them; or put under their key by an intent,
//!    where the store does not stage.
//! 3. Take the file's claim: nobody changes or purges it until 6. Who was purged meanwhile gets nothing.
//! 4. Publish the bytes, durably, create-only.
//! 5. Put the attributes beside them: the file's own beside its newest revision, else the highest that lie beside another copy.
//! 6. Record the copy, which ends claim and intent.
//!
//! A crash before 4 leaves what a start discards; one after 4 a copy that no row counts, which the next turn finds by 1. The claim is
//! held for no longer than steps 4 to 6 take: bringing bytes may take hours, and holds nobody up.

use super::{Need, rounds::Outcome};
use crate::{
    Attributes, Error, FileId, Result, Sha256, StoreId, Timestamp,
    files::Node,
    intents::Lease,
    layout,
    ledger::{Claim, CopyRow, CopyState, Entry, FileRow, Purpose, Record, Recorded, Reservation, RevisionRow, Upload},
    read::digest_of,
    truth::Reading,
};
use futures_util::{StreamExt, TryStreamExt, stream};
use larder_storage_core::{Body, BodyError, ErrorKind, GetOptions, Object, OpId, Pair, Part, PutMode, PutOptions};
use sha2::Digest;
use std::{collections::BTreeSet, sync::Arc, time::Duration};

/// What a look at a copy's bytes tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    Absent,
    Right,
    Wrong,
    /// The store can't give them while it shows itself.
    Unreadable,
}

/// What is in the way of bytes that are brought.
enum Way {
    Clear,
    /// What can't be read may not let itself be moved either.
    Blocked,
    /// Something else is known of the copy by now.
    Moot,
}

/// Bytes on their way to a place.
pub(super) enum Brought {
    /// None were needed.
    Nothing,
    Staged(OpId),
    /// The same; what can't be read and lies where they go is deleted first.
    StagedOver(OpId),
    /// They lie under their key.
    Put(Arc<Lease>),
}

/// What comes of the steps under a claim.
enum Laid {
    /// To be recorded so.
    Down(CopyRow),
    /// The revision is gone, or not as it was.
    Moot,
}

/// What this node is at work on, until this is dropped.
struct Copying {
    node: Arc<Node>,
    what: (FileId, Option<usize>),
}

impl Copying {
    /// `None` where another task is at it.
    fn begin(node: &Arc<Node>, what: (FileId, Option<usize>)) -> Option<Self> {
        node.state().copying.insert(what).then(|| Self { node: node.clone(), what })
    }
}

impl Drop for Copying {
    fn drop(&mut self) {
        self.node.state().copying.remove(&self.what);
    }
}

impl Outcome {
    /// What came of one copy.
    ///
    /// # Errors
    /// `Fenced`, which ends all.
    fn add(&mut self, need: Need, place: usize, result: Result<()>) -> Result<()> {
        match result {
            Err(error @ Error::Fenced(_)) => return Err(error),
            Err(error) => {
                self.passed_over |= need == Need::Check;
                self.failed.entry(place).or_insert(error);
            }
            Ok(()) => {}
        }
        Ok(())
    }
}

impl Node {
    /// Puts the copies of a file right but for those on places that `wait`, unless somebody else is at it.
    pub(super) async fn put_right(self: &Arc<Self>, id: FileId, wait: &BTreeSet<usize>) -> Result<Outcome> {
        self.begin_change().await?;
        let Some(_one) = Copying::begin(self, (id, None)) else {
            return Ok(Outcome { passed_over: true, ..Outcome::default() });
        };
        let key = Sha256::of(&[b"larder: the copies of ".as_slice(), id.0.as_bytes()].concat());
        loop {
            match self.ledger.reserve(key, &self.node, Timestamp::from_millis(0)).await? {
                Reservation::Made => break,
                // Giving it back did not come through.
                Reservation::Running { node } if node == self.node => break,
                // What else it left may have to wait for a store that is away; this has not to.
                Reservation::Running { node } if !self.is_alive(&node).await? => {
                    self.ledger.unreserve(key, &node).await?;
                }
                Reservation::Running { .. } | Reservation::Done { .. } => return Ok(Outcome::default()),
            }
        }
        let result = self.put_right_alone(id, None, wait).await;
        if self.ledger.unreserve(key, &self.node).await.is_err() {
            let node = self.clone();
            self.settle_until_done(move || {
                let node = node.clone();
                async move { Ok(node.ledger.unreserve(key, &node.node).await?) }
            });
        }
        result
    }

    /// Puts the copy of one revision on one place right, for an answer that waits for it: whoever else is at the file's copies, for that
    /// may take long, and two that make one only cost work. `None` where another answer waits for the same.
    pub(crate) async fn put_right_for_answer(
        self: &Arc<Self>,
        id: FileId,
        revision: u64,
        place: usize,
    ) -> Result<Option<Outcome>> {
        self.begin_change().await?;
        let Some(_one) = Copying::begin(self, (id, Some(place))) else { return Ok(None) };
        let others = (0..self.places.len()).filter(|other| *other != place).collect();
        self.put_right_alone(id, Some(revision), &others).await.map(Some)
    }

    /// All that can be put right is, whatever else fails; of each place the first failure is answered.
    async fn put_right_alone(
        self: &Arc<Self>,
        id: FileId,
        only: Option<u64>,
        wait: &BTreeSet<usize>,
    ) -> Result<Outcome> {
        let mut outcome = Outcome::default();
        let Some(row) = self.ledger.file(id).await? else { return Ok(outcome) };
        let wanted = self.placement_of(|bucket| bucket.name == row.attributes.bucket);
        let (mut revisions, mut has_unwanted) = (self.ledger.revisions(id).await?, false);
        revisions.retain(|revision| only.is_none_or(|only| revision.revision == only));
        for revision in &revisions {
            let is_unwanted =
                |copy: &CopyRow| self.place(copy.store).is_some_and(|(place, _)| !wanted.contains(&place));
            has_unwanted |= only.is_none() && revision.copies.iter().any(is_unwanted);
            for (need, place) in self.needs(&revision.copies, &wanted) {
                match need {
                    Need::Drop => {}
                    _ if wait.contains(&place) => outcome.passed_over |= need == Need::Check,
                    Need::Attributes => outcome.add(need, place, self.carry(place, revision).await)?,
                    Need::Keep => outcome.add(need, place, self.keep_copy(place, revision).await)?,
                    Need::Check | Need::Bytes => outcome.add(need, place, self.mend_copy(place, revision).await)?,
                }
            }
        }
        // What is wanted is there by now, if it can be: then the rest goes.
        let revisions = if has_unwanted { self.ledger.revisions(id).await? } else { vec![] };
        for revision in &revisions {
            let needs = self.needs(&revision.copies, &wanted).into_iter();
            for (need, place) in needs.filter(|(need, _)| *need == Need::Drop) {
                // Nor is one dropped while a store is waited for that is to keep the file.
                if !wait.contains(&place) && !wanted.iter().any(|kept| wait.contains(kept)) {
                    outcome.passed_over |= self.has_too_many_to_drop(place);
                    outcome.add(need, place, self.drop_copy(place, revision).await)?;
                }
            }
        }
        Ok(outcome)
    }

    /// Steps 1 to 6 for one copy. Where nothing may be put, what is not right is marked lost.
    pub(crate) async fn mend_copy(self: &Arc<Self>, place: usize, revision: &RevisionRow) -> Result<()> {
        let at = &self.places[place];
        let is_dropping = copy_on(revision, at.id).is_some_and(|copy| copy.state == CopyState::Dropping);
        if is_dropping && at.store.staging().is_none() {
            return Err(Error::Conflict("it is being dropped: its deletion may be on its way for some minutes".into()));
        }
        let brought = match self.look_at_copy(place, revision).await? {
            Seen::Right => Brought::Nothing,
            seen => match self.give_up_copy(place, revision, seen).await? {
                Way::Moot => return Ok(()),
                _ if !self.places[place].mode.creates() => return Ok(()),
                Way::Clear => self.bring(place, revision).await?,
                Way::Blocked => self.bring_over(place, revision).await?,
            },
        };
        let copy = self.copy_verified(place);
        self.lay_down(place, revision, brought, copy).await
    }

    /// Step 1. A bad read is read twice before it counts, and an outage is no loss.
    pub(super) async fn look_at_copy(&self, place: usize, revision: &RevisionRow) -> Result<Seen> {
        let at = &self.places[place];
        let look = || async {
            Ok(match at.size_of(&revision.key).await? {
                None => Seen::Absent,
                Some(size) if size != revision.size => Seen::Wrong,
                Some(_) if digest_of(at, revision).await? == revision.sha256 => Seen::Right,
                Some(_) => Seen::Wrong,
            })
        };
        match at.insist(look).await? {
            Ok(Seen::Wrong) => Ok(at.insist(look).await?.unwrap_or(Seen::Unreadable)),
            seen => Ok(seen.unwrap_or(Seen::Unreadable)),
        }
    }

    /// Nobody reads a copy any more that is not right; wrong bytes go out of the way of those that are brought. Under the file's claim:
    /// another may have looked at the same time, and have made it anew by now.
    async fn give_up_copy(self: &Arc<Self>, place: usize, revision: &RevisionRow, seen: Seen) -> Result<Way> {
        let at = &self.places[place];
        let counts = copy_on(revision, at.id).is_some_and(CopyRow::is_readable);
        if seen == Seen::Absent && !counts {
            return Ok(Way::Clear);
        }
        // Nobody counts on it, and it stays.
        if !counts && at.mode.creates() && at.store.staging().is_none() && self.rests(place, revision) {
            return Err(self.rest(place));
        }
        // Read before the claim is taken, however large it is.
        let survivor = match at.store.staging() {
            None if seen != Seen::Absent => self.survivor(place, revision).await?,
            _ => None,
        };
        let claim = self.claim(revision.file, Purpose::Change).await?;
        let given_up = self.give_up_claimed(place, revision, (seen, counts, survivor), &claim).await;
        self.end_claim(claim, given_up.as_ref().err()).await;
        given_up
    }

    /// Another place that has the right bytes of a revision, as a reading of them just now has shown.
    async fn survivor(self: &Arc<Self>, place: usize, revision: &RevisionRow) -> Result<Option<usize>> {
        let Some(now) = self.ledger.revision(revision.file, revision.revision).await? else { return Ok(None) };
        let others = now.copies.iter().filter(|copy| self.is_served(copy)).filter_map(|copy| self.place(copy.store));
        for (other, _) in others.filter(|(other, _)| *other != place) {
            match self.look_at_copy(other, &now).await {
                Ok(Seen::Right) => return Ok(Some(other)),
                Ok(Seen::Unreadable) => {}
                Ok(Seen::Wrong | Seen::Absent) => self.doubt(other, &now).await,
                // It is away: perhaps another one is not.
                Err(error) => tracing::debug!(%error, "a copy that may be right can't be read now"),
            }
        }
        Ok(None)
    }

    /// Whether a copy that was read and found right counts by now, where there is one: another may have dropped it meanwhile, for the sake of
    /// that which is to go.
    pub(super) async fn still_counts(&self, survivor: Option<usize>, revision: &RevisionRow) -> Result<bool> {
        let Some(survivor) = survivor else { return Ok(true) };
        let now = self.ledger.revision(revision.file, revision.revision).await?;
        let now = now.filter(|now| now.key == revision.key);
        Ok(now.is_some_and(|now| copy_on(&now, self.places[survivor].id).is_some_and(|copy| self.is_served(copy))))
    }

    async fn give_up_claimed(
        self: &Arc<Self>,
        place: usize,
        revision: &RevisionRow,
        (seen, counts, survivor): (Seen, bool, Option<usize>),
        claim: &Claim,
    ) -> Result<Way> {
        let (at, stages) = (&self.places[place], self.places[place].store.staging().is_some());
        if self.is_moot(revision, |now| copy_on(now, at.id) != copy_on(revision, at.id)).await? {
            return Ok(Way::Moot);
        }
        if !self.still_counts(survivor, revision).await? {
            return Err(Error::Busy);
        }
        if seen == Seen::Unreadable && !stages && survivor.is_none() {
            let words = "a copy can't be read, nor can another one: it may be all there is";
            return Err(Error::StoreUnavailable(Some(words.into())));
        }
        if counts {
            tracing::error!(file = %revision.file, revision = revision.revision, store = %at.name, ?seen, "a copy is lost");
            self.record_lost(place, revision).await?;
        }
        if seen == Seen::Absent || !at.mode.creates() {
            return Ok(Way::Clear);
        }
        if !stages {
            // What is deleted there is gone. Where nothing else is right the bytes stay, and count again should they be found to be right.
            return match survivor {
                Some(kept) => self.drop_damaged(place, kept, revision, claim).await.map(|()| Way::Moot),
                None => Err(Error::ContentLost(None)),
            };
        }
        match at.quarantine(&revision.key).await {
            Err(error) if seen == Seen::Unreadable && at.mode.changes() => {
                at.confirm().await?;
                tracing::warn!(file = %revision.file, store = %at.name, %error, "what can't be read can't be moved either");
                Ok(Way::Blocked)
            }
            moved => moved.map(|()| Way::Clear),
        }
    }

    /// Step 2, where bytes that can't be read are in the way: they go once others are there to take their place.
    async fn bring_over(self: &Arc<Self>, place: usize, revision: &RevisionRow) -> Result<Brought> {
        Ok(match self.bring(place, revision).await? {
            Brought::Staged(op) => Brought::StagedOver(op),
            brought => brought,
        })
    }

    /// Step 2, from the first copy that has them.
    async fn bring(self: &Arc<Self>, place: usize, revision: &RevisionRow) -> Result<Brought> {
        let mut failed = Error::ContentLost(None);
        let mut copies: Vec<_> = revision.copies.iter().filter(|copy| copy.is_readable()).collect();
        copies.sort_by_key(|copy| copy.state != CopyState::Verified);
        let sources = copies
            .into_iter()
            .filter_map(|copy| self.place(copy.store))
            .filter(|(source, at)| *source != place && at.mode.serves_content());
        for (source, at) in sources {
            let object = match at.store.get(&revision.key, GetOptions::default()).await {
                Ok(object) => object,
                Err(error) => {
                    self.doubt(source, revision).await;
                    failed = Error::StoreUnavailable(Some(error.into()));
                    continue;
                }
            };
            match self.bring_to(place, revision, self.sure(revision, object)).await {
                Err(Error::Body(cause)) if !self.is_ending() => {
                    self.doubt(source, revision).await;
                    failed = Error::StoreUnavailable(Some(cause));
                }
                brought => return brought,
            }
        }
        Err(failed)
    }

    /// An object's bytes, which end in an error unless they are the revision's, and when this node ends.
    fn sure(self: &Arc<Self>, revision: &RevisionRow, object: Object) -> Body {
        let (node, wanted, size) = (self.clone(), revision.sha256, revision.size);
        let state = (object.body, sha2::Sha256::new(), 0_u64);
        let body = stream::try_unfold(state, move |(mut body, mut hasher, mut passed)| {
            let node = node.clone();
            async move {
                if node.is_ending() {
                    return Err(BodyError::from("the node is stopping"));
                }
                match body.try_next().await? {
                    Some(block) => {
                        hasher.update(&block);
                        passed += block.len() as u64;
                        Ok(Some((block, (body, hasher, passed))))
                    }
                    None if passed == size && Sha256(hasher.finalize().into()) == wanted => Ok(None),
                    None => Err(BodyError::from("the copy is not what its attributes say")),
                }
            }
        });
        Body::once(body.boxed(), None)
    }

    async fn bring_to(self: &Arc<Self>, place: usize, revision: &RevisionRow, body: Body) -> Result<Brought> {
        let store = &self.places[place].store;
        if let Some(staging) = store.staging() {
            let op = OpId::from_random(self.environment.random());
            staging.stage(&op, Part::Bytes, body).await?;
            return Ok(Brought::Staged(op));
        }
        let whole = self.settings.deadlines.whole;
        let upload = self.upload(place, &revision.key, whole, None);
        let upload = Upload { revision: Some((revision.file, revision.revision)), ..upload };
        let lease = Arc::new(self.lease(upload).await?);
        let put = match self.keeping(&lease, body).await {
            Ok(body) => self.send(&lease, whole, store.put(&revision.key, body, PutOptions::create())).await,
            Err(error) => Err(error),
        };
        match put {
            Ok(_) => Ok(Brought::Put(lease)),
            Err(error) => {
                self.give_up(&lease, None).await;
                Err(error)
            }
        }
    }

    /// What was brought is not wanted: whatever of it is a file's stays.
    async fn take_back(self: &Arc<Self>, place: usize, brought: &Brought) {
        match brought {
            Brought::Nothing => {}
            Brought::Staged(op) | Brought::StagedOver(op) => self.discard_staged(place, op).await,
            Brought::Put(lease) => self.give_up(lease, None).await,
        }
    }

    /// Only attributes are to be brought.
    async fn carry(self: &Arc<Self>, place: usize, revision: &RevisionRow) -> Result<()> {
        let at = &self.places[place];
        let known = copy_on(revision, at.id).cloned();
        if at.size_of(&revision.key).await? != Some(revision.size) {
            return self.mend_copy(place, revision).await;
        }
        let Some(known) = known else { return Ok(()) };
        let copy = CopyRow { state: CopyState::Verified, ..known };
        self.lay_down(place, revision, Brought::Nothing, copy).await
    }

    /// Steps 3 to 6.
    pub(super) async fn lay_down(
        self: &Arc<Self>,
        place: usize,
        revision: &RevisionRow,
        brought: Brought,
        copy: CopyRow,
    ) -> Result<()> {
        let claim = match self.claim(revision.file, Purpose::Change).await {
            Ok(claim) => claim,
            Err(error) => {
                self.take_back(place, &brought).await;
                return if matches!(error, Error::Gone | Error::NotFound(_)) { Ok(()) } else { Err(error) };
            }
        };
        match self.lay_down_claimed(place, revision, &brought, copy).await {
            Ok(Laid::Down(copy)) => self.record_copy(place, revision, brought, copy, claim).await,
            Ok(Laid::Moot) => {
                self.release(&claim).await;
                self.take_back(place, &brought).await;
                Ok(())
            }
            Err(error) => {
                self.end_claim(claim, Some(&error)).await;
                self.take_back(place, &brought).await;
                Err(error)
            }
        }
    }

    /// Steps 4 and 5.
    async fn lay_down_claimed(
        &self,
        place: usize,
        revision: &RevisionRow,
        brought: &Brought,
        copy: CopyRow,
    ) -> Result<Laid> {
        let (at, key) = (&self.places[place], &revision.key);
        let is_news = |now: &RevisionRow| match brought {
            // What was looked at before something else was noted counts no more.
            Brought::Nothing => copy_on(now, at.id) != copy_on(revision, at.id),
            // Another node has made it meanwhile.
            Brought::Staged(_) | Brought::StagedOver(_) => copy_on(now, at.id).is_some_and(CopyRow::is_readable),
            // What is being dropped has no copy made.
            Brought::Put(_) => copy_on(now, at.id).is_some_and(|copy| copy.state == CopyState::Dropping),
        };
        if self.is_moot(revision, is_news).await? {
            return Ok(Laid::Moot);
        }
        let Some(row) = self.ledger.file(revision.file).await? else { return Ok(Laid::Moot) };
        let attributes = self.attributes_beside(&row, revision).await?;
        match brought {
            Brought::Staged(op) | Brought::StagedOver(op) => {
                match brought {
                    Brought::StagedOver(_) => at.store.delete(key).await?,
                    _ => self.make_way(place, revision).await?,
                }
                let staging = at.store.staging().expect("what was staged was staged there");
                staging.finish(&Pair { op: op.clone(), bytes: key.clone(), attributes: key.clone() }).await?;
            }
            Brought::Nothing => at.make_durable(key).await?,
            Brought::Put(_) => {}
        }
        self.write_beside(place, &attributes).await?;
        Ok(Laid::Down(copy))
    }

    /// Moves away what came to lie under the key while the bytes were brought, unless it is the same.
    async fn make_way(&self, place: usize, revision: &RevisionRow) -> Result<()> {
        match self.look_at_copy(place, revision).await? {
            Seen::Absent | Seen::Right => Ok(()),
            Seen::Wrong | Seen::Unreadable => self.places[place].quarantine(&revision.key).await,
        }
    }

    /// Whether a revision is gone, or lies under another key by now, or its row is otherwise `news`.
    async fn is_moot(&self, revision: &RevisionRow, news: impl Fn(&RevisionRow) -> bool) -> Result<bool> {
        let now = self.ledger.revision(revision.file, revision.revision).await?;
        Ok(now.is_none_or(|now| now.key != revision.key || news(&now)))
    }

    /// What belongs beside a revision's bytes: of an old one they stay as they were when it was the newest.
    async fn attributes_beside(&self, row: &FileRow, revision: &RevisionRow) -> Result<Attributes> {
        if row.attributes.revision == revision.revision {
            return Ok(row.attributes.clone());
        }
        let sidecar = revision.key.with_suffix(Attributes::SUFFIX).map_err(Error::internal)?;
        let (mut highest, mut failed) = (None::<Attributes>, None);
        for at in &self.places {
            match at.attributes_at(&sidecar).await {
                Ok(Reading::Valid(found)) if found.id == revision.file => {
                    highest = highest.filter(|highest| highest.rank() > found.rank()).or(Some(*found));
                }
                Ok(_) => {}
                Err(error) => failed = Some(error),
            }
        }
        let none = || {
            failed.map_or_else(
                || Error::internal("the attributes of a revision are nowhere; fsck mends them"),
                Error::from,
            )
        };
        highest.ok_or_else(none)
    }

    /// Step 5. What is as high already stays, and is made durable; what can't be replaced stays, and an overlay tells: elsewhere, or
    /// on the same store where that takes changes and can't compare.
    pub(crate) async fn write_beside(&self, place: usize, attributes: &Attributes) -> Result<()> {
        let (at, sidecar) = (&self.places[place], attributes.sidecar());
        let found = at.attributes_at(&sidecar).await?;
        let is_broken = matches!(found, Reading::Broken(_));
        let mode = match found {
            Reading::Valid(found) if found.id == attributes.id && found.rank() >= attributes.rank() => {
                return Ok(at.make_durable(&sidecar).await?);
            }
            Reading::Valid(_) if !at.mode.changes() => return Ok(()),
            Reading::Valid(_) if at.store.staging().is_some() => PutMode::Replace,
            Reading::Valid(found) => {
                let (bytes, etag) = self.sidecar_there(at, &sidecar).await?;
                // What has come to lie there since it was read is read by the next turn.
                if Attributes::from_bytes(&bytes).ok().as_ref() != Some(&*found) {
                    return Err(Error::Busy);
                }
                PutMode::ReplaceIf(etag)
            }
            Reading::Absent if !at.mode.creates() => {
                return Err(Error::ReadOnly(format!("the store `{}` takes no attributes", at.name)));
            }
            Reading::Absent => PutMode::Create,
            Reading::Broken(_) if at.store.staging().is_some() => {
                at.quarantine(&sidecar).await?;
                PutMode::Create
            }
            // A deletion might take effect late, and meet those that are put then: so only where nothing can be replaced by comparison.
            Reading::Broken(_) => {
                at.keep_aside(&sidecar).await?;
                let etag = at.store.head(&sidecar).await?.etag;
                // It is to be put over these, and over none that have come to lie there since.
                if !matches!(at.attributes_at(&sidecar).await?, Reading::Broken(_)) {
                    return Err(Error::Busy);
                }
                PutMode::ReplaceIf(etag)
            }
        };
        let put = |mode| {
            let put = at.store.put(&sidecar, attributes.to_bytes().into(), PutOptions { mode, ..PutOptions::create() });
            self.soon(at, &sidecar, put)
        };
        match put(mode).await {
            Err(error) if *error.kind() != ErrorKind::Unsupported => Err(error.into()),
            Err(_) if is_broken => {
                self.soon(at, &sidecar, at.store.delete(&sidecar)).await?;
                Ok(put(PutMode::Create).await.map(drop)?)
            }
            Err(_) => self.write_over(place, attributes).await,
            Ok(_) => Ok(()),
        }
    }

    /// Puts an overlay on the store whose attributes can't be replaced, unless it has this one.
    async fn write_over(&self, place: usize, attributes: &Attributes) -> Result<()> {
        let at = &self.places[place];
        let key = layout::overlay(attributes.id, attributes.epoch, attributes.version);
        let put = at.store.put(&key, attributes.to_bytes().into(), PutOptions::create());
        match self.soon(at, &key, put).await {
            Err(error) if *error.kind() == ErrorKind::AlreadyExists => match at.attributes_at(&key).await? {
                Reading::Valid(found) if *found == *attributes => Ok(()),
                _ => Err(Error::Conflict(format!(
                    "what lies at `{key}` is not what belongs there; `larder fsck` tells more"
                ))),
            },
            put => Ok(put.map(drop)?),
        }
    }

    /// Step 6.
    async fn record_copy(
        self: &Arc<Self>,
        place: usize,
        revision: &RevisionRow,
        brought: Brought,
        copy: CopyRow,
        claim: Claim,
    ) -> Result<()> {
        let entry = Some(Entry::Copies { file: revision.file, revision: revision.revision, copies: vec![copy] });
        let settles = if let Brought::Put(lease) = &brought { Some(lease.hold()) } else { None };
        let recorded = self.record_one(Record { entry, closes: Some(claim.id), settles }).await;
        match (&brought, &recorded) {
            (Brought::Put(_), Ok(Recorded::Taken | Recorded::Outranked)) | (Brought::Nothing, _) => {}
            (Brought::Put(lease), _) => self.find_out_later(lease, None, None),
            (Brought::Staged(op) | Brought::StagedOver(op), _) => self.discard_staged(place, op).await,
        }
        if matches!(&recorded, Err(error) if !matches!(error, Error::Fenced(_))) {
            self.settle_claim_later(claim, Duration::ZERO, None);
        }
        recorded.map(drop)
    }

    /// Ends a claim under which something failed: what may still take effect is waited for.
    pub(crate) async fn end_claim(self: &Arc<Self>, claim: Claim, failed: Option<&Error>) {
        match failed {
            Some(Error::Indeterminate(_)) => self.settle_claim_later(claim, self.late_for(), None),
            _ => self.release(&claim).await,
        }
    }
}

/// What is known of a revision's copy on a store.
pub(super) fn copy_on(revision: &RevisionRow, store: StoreId) -> Option<&CopyRow> {
    revision.copies.iter().find(|copy| copy.store == store)
}
