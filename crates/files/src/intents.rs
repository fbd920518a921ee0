//! Uploads to stores that do not stage, and what becomes of those that break off. There nothing tells whose an object is, and a
//! request may take effect after its sender has died. So each upload has an intent in the ledger, from before its first request
//! until nothing of it can turn up any more:
//!
//! | step | a crash, or an answer that never came, leaves | and whoever finds the intent |
//! |---|---|---|
//! | 1 the intent is durable | an intent | undoes |
//! | 2 PUT of the bytes, create-only | the same, perhaps bytes, perhaps later | undoes |
//! | 3 the intent learns its revision and claim (with 1, where the content is small and at hand) | the same | undoes |
//! | 4 PUT of the attributes, create-only: **the commit point** | the same, perhaps attributes, perhaps later | looks which |
//! | 5 record, which ends intent and claim in its transaction | all of it, or a file | finishes, or has nothing to do |
//!
//! **The lease.** Each request has a deadline, and is sent only if it will be over before the lease is: the intent is renewed
//! otherwise. A streamed body renews it as it passes. So whoever takes an intent over and then waits for one lease, by its own clock
//! that never jumps, knows that nothing its creator has sent is still on its way.
//!
//! **The end of a broken-off upload**, by who holds its intent:
//!
//! 1. Fence: what the creator records from here on is refused.
//! 2. Wait for the lease, where a request may still be on its way.
//! 3. Attributes at the key, and no tombstone: finished, recorded, the intent ends. Else it has failed, which frees its claim and
//!    its idempotency key in the same transaction, and is final: a repeat may run from here on.
//! 4. Delete attributes and bytes.
//! 5. Later once more, after ten deadlines of a small request: a request may have been slower than any deadline. Only then the intent closes.
//!
//! A crash between any two leaves the intent, and the next node begins again with the state that it is in.

use crate::{
    Error, Result, Sha256,
    create::{HeldKey, nothing_happened},
    files::{Node, Place},
    fsck::UPLOADED_WITHIN,
    layout,
    ledger::{Claim, CopyRow, CopyState, Entry, Hold, Intent, IntentState, LedgerError, Record, Recorded, Upload},
    name_claim::NameClaim,
    truth::Reading,
};
use futures_util::{
    StreamExt,
    future::{self, Either},
};
use larder_storage_core::{self as core, Body, BodyError, ErrorKind, Key, Op};
use std::{
    collections::BTreeSet,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};
use tokio::sync::oneshot;
use tracing::{info, warn};

/// For how long requests are waited for of stores that do not stage. What a dead process has sent counts as on its way for three times as
/// long, by its own deadlines: all processes of an installation are to have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// That of a request which moves little: 30 s.
    pub small: Duration,
    /// That of a request which streams, from each block to the next, and from the last one to the answer: 10 min. So long a rebuild
    /// waits: nothing that was sent before may arrive later.
    pub whole: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self { small: Duration::from_secs(30), whole: Duration::from_secs(10 * 60) }
    }
}

impl Deadlines {
    /// When an upload that was undone is looked at for the last time.
    fn look_again(self) -> Duration {
        self.small * 10
    }

    /// How long a rebuild waits: nothing that was sent before takes effect later.
    #[must_use]
    pub fn late(self) -> Duration {
        self.whole.max(self.deleted_for())
    }

    /// How long after a deletion could be sent nothing of it takes effect any more.
    pub(crate) fn deleted_for(self) -> Duration {
        self.small * LEASE + self.look_again()
    }
}

/// A lease is so many deadlines.
const LEASE: u32 = 3;

/// How often it is looked for uploads in parts that nobody will complete.
const LOOK_FOR_ABANDONED: Duration = Duration::from_secs(60 * 60);

/// An intent in the hands of who opened it.
#[derive(Debug)]
pub(crate) struct Lease(Mutex<Held>);

#[derive(Debug)]
struct Held {
    intent: Intent,
    /// When the ledger was last asked to renew it, by the clock that never jumps.
    renewed: Duration,
    /// When its request under way last moved on.
    moved: Duration,
    /// Whether a request was sent that has no certain answer.
    unsure: bool,
}

impl Lease {
    /// Whether a request was sent that has no certain answer.
    pub(crate) fn is_unsure(&self) -> bool {
        self.held().unsure
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().expect("nothing panics while it holds this lock")
    }

    /// What a record settles it by.
    pub(crate) fn hold(&self) -> Hold {
        self.held().intent.hold()
    }
}

/// How an upload that broke off is brought to its end.
#[derive(Clone, Copy, Debug)]
struct Course {
    /// Whether it is undone, whatever lies on the store: its attributes were never sent, or refused for certain.
    undo: bool,
    /// How long a request of it may still take effect; `None` where each has its answer.
    open: Option<Duration>,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Decided {
    /// It is recorded, or another has it: there is nothing more to do.
    Over,
    /// It counts no more: what lies of it on the store must go.
    Undone,
}

/// The creator's side.
impl Node {
    /// What an intent says of an upload before its attributes are known.
    pub(crate) fn upload(&self, place: usize, key: &Key, deadline: Duration, idempotency: Option<Sha256>) -> Upload {
        let (store, key, lease) = (self.places[place].id, key.clone(), deadline * LEASE);
        let until = self.environment.clock.now().plus(lease);
        Upload { store, key, idempotency, revision: None, claim: None, lease, until }
    }

    /// Step 1. Whatever becomes of the caller, no intent stays that nobody holds.
    pub(crate) async fn lease(self: &Arc<Self>, upload: Upload) -> Result<Lease> {
        let (answer, answered) = oneshot::channel();
        let node = self.clone();
        self.environment.spawn.spawn(Box::pin(async move {
            let renewed = node.environment.clock.elapsed();
            match node.ledger.open_intent(&node.node, &upload).await {
                Ok(intent) => {
                    let held = Held { intent, renewed, moved: renewed, unsure: false };
                    if let Err(Ok(lease)) = answer.send(Ok(Lease(Mutex::new(held)))) {
                        node.give_up(&lease, None).await;
                    }
                }
                Err(error) => {
                    if matches!(error, LedgerError::Indeterminate(_)) {
                        node.forget_later(upload);
                    }
                    let _ = answer.send(Err(error.into()));
                }
            }
        }));
        answered.await.map_err(|_| Error::Indeterminate("the node is stopping".into()))?
    }

    /// Closes an intent that may have been opened, and that nobody acts on.
    fn forget_later(self: &Arc<Self>, upload: Upload) {
        let (node, upload) = (self.clone(), Arc::new(upload));
        self.settle_until_done(move || {
            let (node, upload) = (node.clone(), upload.clone());
            async move {
                let mut intents = node.ledger.intents().await?.into_iter();
                match intents.find(|intent| intent.node == node.node && intent.upload.key == upload.key) {
                    Some(intent) => {
                        node.ledger.fail_intent(intent.hold()).await?;
                        Ok(node.ledger.close_intent(intent.hold()).await?)
                    }
                    None => Ok(()),
                }
            }
        });
    }

    /// Step 3, and whenever a request would outlast the lease: tells what is known of the upload by now.
    pub(crate) async fn renew(&self, lease: &Lease, mut upload: Upload) -> Result<()> {
        let (hold, renewed) = (lease.hold(), self.environment.clock.elapsed());
        upload.until = self.environment.clock.now().plus(upload.lease);
        self.ledger.renew_intent(hold, &upload).await?;
        let mut held = lease.held();
        (held.intent.upload, held.renewed) = (upload, renewed);
        Ok(())
    }

    /// Sees to it that a request which is sent now, and takes its deadline, is over before the lease.
    async fn keep(&self, lease: &Lease, deadline: Duration) -> Result<()> {
        loop {
            let upload = {
                let held = lease.held();
                if self.environment.clock.elapsed() + deadline <= held.renewed + held.intent.upload.lease {
                    return Ok(());
                }
                held.intent.upload.clone()
            };
            self.renew(lease, upload).await?;
        }
    }

    /// Steps 2 and 4: sends a request within the lease, and waits no longer for it than its deadline from when it last moved on.
    pub(crate) async fn send<T>(
        &self,
        lease: &Lease,
        deadline: Duration,
        request: impl Future<Output = core::Result<T>> + Send,
    ) -> Result<T> {
        self.keep(lease, deadline).await?;
        let clock = &self.environment.clock;
        let key = {
            let mut held = lease.held();
            (held.moved, held.unsure) = (clock.elapsed(), true);
            held.intent.upload.key.clone()
        };
        let mut request = pin!(request);
        loop {
            let left = (lease.held().moved + deadline).saturating_sub(clock.elapsed());
            if left.is_zero() {
                return Err(core::Error::new(Op::Put, key, "the upload", ErrorKind::Timeout).into());
            }
            if let Either::Left((answer, _)) = future::select(request.as_mut(), clock.sleep(left)).await {
                lease.held().unsure = answer.as_ref().is_err_and(|error| !is_certain(error.kind()));
                return Ok(answer?);
            }
        }
    }

    /// Waits for a small change without an intent, where the store does not stage no longer than its deadline: after a lease nobody
    /// waits for its claim any more.
    pub(crate) async fn soon<T>(
        &self,
        place: &Place,
        key: &Key,
        request: impl Future<Output = core::Result<T>> + Send,
    ) -> core::Result<T> {
        if place.store.staging().is_some() {
            return request.await;
        }
        match future::select(pin!(request), self.environment.clock.sleep(self.settings.deadlines.small)).await {
            Either::Left((answer, _)) => answer,
            Either::Right(_) => Err(core::Error::new(Op::Put, key, &place.store, ErrorKind::Timeout)),
        }
    }

    /// `body`, which keeps its upload's lease as it passes.
    pub(crate) async fn keeping(self: &Arc<Self>, lease: &Arc<Lease>, body: Body) -> Result<Body> {
        let (size, node, lease) = (body.size(), self.clone(), lease.clone());
        let stream = body.into_stream().await.map_err(Error::Body)?.then(move |block| {
            let (node, lease) = (node.clone(), lease.clone());
            async move {
                lease.held().moved = node.environment.clock.elapsed();
                node.keep(&lease, node.settings.deadlines.whole).await.map_err(BodyError::from)?;
                block
            }
        });
        Ok(Body::once(stream.boxed(), size))
    }

    /// Undoes an upload of this node whose attributes were never sent, or refused for certain.
    pub(crate) async fn give_up(self: &Arc<Self>, lease: &Lease, mut key: Option<HeldKey>) {
        // At once where that can be, so that its idempotency key is free when the caller is answered.
        if self.ledger.fail_intent(lease.hold()).await.is_ok() {
            key.take().into_iter().for_each(HeldKey::pass_on);
        }
        let open = Self::may_still_happen(lease);
        self.end_later(lease.hold().intent, Course { undo: true, open }, Counted::No, (None, key));
    }

    /// Finds out what became of an upload of this node that has no certain answer, and keeps its name and its idempotency key until
    /// then.
    pub(crate) fn find_out_later(self: &Arc<Self>, lease: &Lease, name: Option<NameClaim>, key: Option<HeldKey>) {
        let open = Self::may_still_happen(lease);
        self.end_later(lease.hold().intent, Course { undo: false, open }, Counted::Yes, (name, key));
    }

    fn may_still_happen(lease: &Lease) -> Option<Duration> {
        let held = lease.held();
        held.unsure.then_some(held.intent.upload.lease)
    }
}

/// Whether a node is degraded until the upload is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Counted {
    Yes,
    No,
}

/// The side of who finds an intent.
impl Node {
    /// Takes up what dead nodes have left, unless this one is brief; each is brought to its end in the background. Answers how many there
    /// are, and whether all of them are in living hands.
    ///
    /// # Errors
    /// The ledger's, where it can't tell of any.
    pub(crate) async fn take_up_intents(self: &Arc<Self>) -> Result<(u64, bool)> {
        let (mut found, mut all) = (0, true);
        for intent in self.ledger.intents().await? {
            // Of a store that joined after this node had started: its to settle who has it.
            if self.place(intent.upload.store).is_none() {
                continue;
            }
            match self.is_alive(&intent.node).await {
                Ok(true) => continue,
                Ok(false) => {}
                Err(error) => {
                    warn!(key = %intent.upload.key, %error, "whether an upload broke off can't be told now");
                    (found, all) = (found + 1, false);
                    continue;
                }
            }
            found += 1;
            all &= !self.settings.is_brief && self.take_up(&intent).await;
        }
        Ok((found, all))
    }

    /// Takes up one; whether it is in living hands now.
    pub(crate) async fn take_up(self: &Arc<Self>, intent: &Intent) -> bool {
        let taken = self.in_hand(intent.id).await;
        // One task for each, however many looks come upon it: it may be this node's by now, though the answer was lost.
        if self.state().taken_up.insert(intent.id) {
            let course = Course { undo: false, open: Some(intent.upload.lease) };
            self.end_later(intent.id, course, Counted::No, (None, None));
        }
        match taken {
            Ok(_) => true,
            Err(error) => {
                warn!(key = %intent.upload.key, %error, "an upload that broke off can't be taken up now");
                false
            }
        }
    }

    /// Whether it is not yet decided what became of the upload that a claim was opened for.
    pub(crate) async fn awaits_upload(&self, claim: &Claim) -> Result<bool> {
        let of_this = |intent: &Intent| intent.upload.claim == Some(claim.id) && intent.state != IntentState::Failed;
        Ok(self.ledger.intents().await?.iter().any(of_this))
    }

    /// How long a change whose request has no answer may still take effect: it has no intent, its claim waits instead.
    pub(crate) fn late_for(&self) -> Duration {
        match self.places.iter().all(|place| place.store.staging().is_some()) {
            true => Duration::ZERO,
            false => self.settings.deadlines.small * LEASE,
        }
    }

    fn end_later(
        self: &Arc<Self>,
        id: u64,
        course: Course,
        counted: Counted,
        (name, key): (Option<NameClaim>, Option<HeldKey>),
    ) {
        let node = self.clone();
        let count = usize::from(counted == Counted::Yes);
        self.state().unsettled += count;
        self.environment.spawn.spawn(Box::pin(async move {
            let decided = node.decide(id, course).await;
            drop(name);
            key.into_iter().for_each(HeldKey::pass_on);
            node.state().unsettled -= count;
            if let Some((upload, again)) = decided {
                node.clean_up(id, &upload, again).await;
            }
            node.state().taken_up.remove(&id);
        }));
    }

    /// Steps 1 to 3. Answers an undone upload, and how long something of it may still turn up; `None` where nothing is to be done.
    async fn decide(self: &Arc<Self>, id: u64, course: Course) -> Option<(Upload, Option<Duration>)> {
        let intent = self.until_done(|| self.in_hand(id)).await??;
        let slow = course.open.map(|_| self.settings.deadlines.look_again());
        if intent.state == IntentState::Failed || course.undo {
            // Another that has it by now decides by what lies there.
            self.until_done(|| self.fail(id)).await??;
            return Some((intent.upload, slow.zip(course.open).map(|(slow, open)| slow + open)));
        }
        if let Some(lease) = course.open {
            self.environment.clock.sleep(lease).await;
        }
        let decided = self.until_done(|| self.finish_upload(id)).await?;
        (decided == Decided::Undone).then_some((intent.upload, slow))
    }

    /// Steps 4 and 5.
    async fn clean_up(self: &Arc<Self>, id: u64, upload: &Upload, again: Option<Duration>) -> Option<()> {
        self.until_done(|| self.clear_upload(upload)).await?;
        if let Some(slow) = again {
            self.environment.clock.sleep(slow).await;
            self.until_done(|| self.in_hand(id)).await??;
            self.until_done(|| self.clear_upload(upload)).await?;
        }
        self.until_done(|| self.close(id)).await?;
        info!(key = %upload.key, "an upload that broke off is undone");
        Some(())
    }

    /// The intent, in this node's hands; `None` where it is closed or another living node's. An answer may be lost after its effect,
    /// so each attempt looks first how things are.
    async fn in_hand(&self, id: u64) -> Result<Option<Intent>> {
        let Some(found) = self.ledger.intents().await?.into_iter().find(|intent| intent.id == id) else {
            return Ok(None);
        };
        // What another has left is held under a name of its own: its idempotency key is told from one that a request here holds, which
        // may be given up.
        let settler = self.settler();
        let (is_own, is_taken) = (found.node == self.node, found.node == settler);
        if (is_own || is_taken) && found.state != IntentState::Pending {
            return Ok(Some(found));
        }
        if !is_own && !is_taken && self.is_alive(&found.node).await? {
            return Ok(None);
        }
        match self.ledger.fence_intent(found.hold(), if is_own { &self.node } else { &settler }).await {
            Ok(taken) => Ok(Some(taken)),
            Err(LedgerError::Superseded) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// `None` where it is closed or another living node's.
    async fn fail(&self, id: u64) -> Result<Option<()>> {
        let Some(intent) = self.in_hand(id).await? else { return Ok(None) };
        if intent.state != IntentState::Failed {
            self.ledger.fail_intent(intent.hold()).await?;
        }
        Ok(Some(()))
    }

    async fn close(&self, id: u64) -> Result<()> {
        match self.in_hand(id).await? {
            Some(intent) => Ok(self.ledger.close_intent(intent.hold()).await?),
            None => Ok(()),
        }
    }

    /// Step 3.
    async fn finish_upload(&self, id: u64) -> Result<Decided> {
        let Some(intent) = self.in_hand(id).await? else { return Ok(Decided::Over) };
        if intent.state == IntentState::Failed {
            return Ok(Decided::Undone);
        }
        let place = self.place_of(&intent.upload)?;
        let sidecar = sidecar(&intent.upload)?;
        match self.places[place].attributes_at(&sidecar).await? {
            Reading::Valid(found) if !self.is_purged(&found).await? => {
                let copies = self.with_wanted(&found.bucket, self.copy_not_known(place, &found).await?);
                let entry = Some(Entry::Attributes { attributes: found, copies });
                let record = Record { entry, closes: intent.upload.claim, settles: Some(intent.hold()) };
                if self.record_group(record).await? != Recorded::Tombstoned {
                    info!(key = %intent.upload.key, "finished an upload that had reached its commit point");
                    return Ok(Decided::Over);
                }
            }
            Reading::Valid(_) | Reading::Absent => {}
            Reading::Broken(why) => {
                return Err(Error::Conflict(format!(
                    "attributes at `{sidecar}` are broken: {why}; `larder fsck --repair` moves them aside"
                )));
            }
        }
        self.ledger.fail_intent(intent.hold()).await?;
        Ok(Decided::Undone)
    }

    /// Step 4. What a row counts on is not garbage, whoever made the row.
    async fn clear_upload(&self, upload: &Upload) -> Result<()> {
        let place = &self.places[self.place_of(upload)?];
        // An older copy of the database, and one that is served beside this, knows nothing of what may have come of it.
        self.check_mark_on(place, 0).await?;
        let row = match upload.revision {
            Some((file, number)) => self.ledger.revision(file, number).await?.filter(|row| row.key == upload.key),
            None => None,
        };
        let is_a_files = row.is_some();
        // Of a copy, which is made under its file's key, another may be on its way by now: a younger one.
        let older = if is_a_files { upload.lease } else { Duration::ZERO };
        let ended = self.abort_uploads(place, Some(&upload.key), older, |_| true).await;
        if !place.mode.changes() {
            warn!(key = %upload.key, store = %place.name, "what an upload left stays where nothing may be deleted");
        } else if is_a_files {
            warn!(key = %upload.key, "an upload that was undone is a file's after all, and stays");
            let untold = row.filter(|row| row.copies.iter().all(|copy| copy.store != place.id));
            if let Some(row) = untold
                && place.size_of(&upload.key).await? == Some(row.size)
            {
                // The reconciler says whether it is wanted.
                let seen = vec![CopyRow { store: place.id, state: CopyState::Present, verified_at: None }];
                let entry = Entry::Copies { file: row.file, revision: row.revision, copies: seen };
                self.record_group(Record { entry: Some(entry), ..Record::default() }).await?;
            }
        } else {
            place.store.delete(&sidecar(upload)?).await?;
            place.store.delete(&upload.key).await?;
        }
        ended
    }

    /// Ends uploads in parts that nobody will complete: of one key, or of all, those that were begun so long ago under keys that are
    /// `wanted`. A store that does not tell of them is left to end them by its own rules. The first failure is answered, whatever
    /// becomes of the others.
    async fn abort_uploads(
        &self,
        place: &Place,
        of: Option<&Key>,
        older: Duration,
        wanted: impl Fn(&Key) -> bool + Send,
    ) -> Result<()> {
        let Some(multipart) = place.store.multipart().filter(|_| place.mode.creates()) else { return Ok(()) };
        let open = match multipart.open_uploads(of.cloned()).await {
            Ok(open) => open,
            Err(error) if matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::PermissionDenied) => {
                tracing::debug!(store = %place.name, %error, "which uploads are open is not told");
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        let mut failed = None;
        for upload in open.into_iter().filter(|upload| upload.age >= older && wanted(&upload.key)) {
            match multipart.abort(&upload.key, &upload.upload).await {
                Ok(()) => info!(key = %upload.key, store = %place.name, "ended an upload that nobody would complete"),
                Err(error) => drop(failed.get_or_insert(error)),
            }
        }
        failed.map_or(Ok(()), |error| Err(error.into()))
    }

    /// Those of Larder's own that no intent tells of, on a store that is the one it was.
    async fn abort_abandoned_on(&self, place: &Place) -> Result<()> {
        self.check_mark_on(place, 0).await?;
        let known: BTreeSet<Key> = self.ledger.intents().await?.into_iter().map(|intent| intent.upload.key).collect();
        let is_ours = |key: &Key| layout::parse(key).is_some() || key.as_str().starts_with(".larder/");
        self.abort_uploads(place, None, UPLOADED_WITHIN, |key| is_ours(key) && !known.contains(key)).await
    }

    /// Every hour ends the uploads in parts that no intent tells of: those of a database that was lost, and those whose end failed. A
    /// store that stages has none.
    pub(crate) fn end_abandoned_uploads(self: &Arc<Self>) {
        let has_none = |at: &Place| at.store.staging().is_some() || !at.mode.creates();
        if self.places.iter().all(has_none) {
            return;
        }
        let (node, clock) = (Arc::downgrade(self), self.environment.clock.clone());
        self.environment.spawn.spawn(Box::pin(async move {
            while let Some(node) = node.upgrade().filter(|node| !node.is_ending()) {
                for place in node.places.iter().filter(|at| !has_none(at)) {
                    if let Err(error) = node.abort_abandoned_on(place).await {
                        warn!(store = %place.name, %error, "uploads that nobody completes could not be ended");
                    }
                }
                drop(node);
                clock.sleep(LOOK_FOR_ABANDONED).await;
            }
        }));
    }

    fn place_of(&self, upload: &Upload) -> Result<usize> {
        self.place(upload.store).map(|(place, _)| place).ok_or(Error::StoreUnavailable(None))
    }
}

fn sidecar(upload: &Upload) -> Result<Key> {
    upload.key.with_suffix(crate::Attributes::SUFFIX).map_err(Error::internal)
}

/// Whether nothing of a request that failed so can still take effect.
fn is_certain(kind: &ErrorKind) -> bool {
    nothing_happened(kind) || matches!(kind, ErrorKind::Body | ErrorKind::TooLarge { .. })
}
