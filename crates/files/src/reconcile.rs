//! The reconciler: makes true what the placement of each bucket says, in the background. Every revision has a verified copy, with its
//! attributes beside it, on every store of its bucket's placement that takes one; and then on no other that takes deletions.
//!
//! What is to be done stands in the ledger, so that it outlives every process: a create notes the copies that are wanted, a read a
//! copy that it found damaged, a change the stores that it did not reach ([`CopyRow::is_due`](crate::ledger::CopyRow::is_due)). An
//! index leads to these, and to nothing else. What no row tells of (a placement that was changed, copies that a rebuild has only
//! seen) is found by a walk over all revisions: at the start, and once an hour.
//!
//! A turn takes a page of each; a few files are worked on at once, each by a task of its own. What was noted on this node just now comes
//! in between, so that copies that fail, or take long, hold up no new one while there is a place free beside them. One node works on a
//! file at a time, by a reservation in the ledger that goes to others when the node is dead; that two did would cost work and nothing
//! else. When what failed is tried again: [`rounds`]. How one file is put right: [`copy`]. What becomes of copies that no placement
//! wants any more: [`drop_copy`]. Tombstones and sealed records that a store has missed: [`missed`].

mod copy;
mod drop_copy;
mod dropped;
mod missed;
mod overlays;
mod refused;
mod rounds;

use crate::{
    BucketName, BucketPolicy, FileId, StoreName,
    files::Node,
    ledger::{CopyRow, CopyState, Placed},
};
pub(crate) use dropped::Dropped;
use futures_util::{
    FutureExt,
    future::{self, Either},
};
pub(crate) use refused::Refused;
use rounds::Rounds;
use std::{
    collections::BTreeSet,
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::sync::Notify;

/// Files that were noted and are remembered as such; of more the index tells.
const NOTED_MAX: usize = 1024;

/// What is to be done about a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Need {
    /// Its bytes were seen and never read here.
    Check,
    /// Its bytes are right, its attributes are older than the file's.
    Attributes,
    /// It was being dropped, and others do not count any more.
    Keep,
    /// It is missing or lost.
    Bytes,
    /// No placement wants it any more.
    Drop,
}

/// Files of which something was noted on this node since the reconciler last looked.
#[derive(Debug, Default)]
pub(crate) struct Noted {
    files: Mutex<BTreeSet<FileId>>,
    /// Whether stores have come to miss records.
    records: AtomicBool,
    wake: Notify,
}

impl Noted {
    fn add(&self, file: FileId) {
        let mut files = self.files();
        if files.len() < NOTED_MAX {
            files.insert(file);
        }
        self.wake.notify_one();
    }

    /// Stores miss records that are to be carried there now.
    fn add_records(&self) {
        self.records.store(true, Relaxed);
        self.wake.notify_one();
    }

    fn files(&self) -> MutexGuard<'_, BTreeSet<FileId>> {
        self.files.lock().expect("nothing panics while it holds this lock")
    }
}

impl Node {
    /// Sets the reconciler going, for as long as the node lives.
    pub(crate) fn reconcile(self: &Arc<Self>, every: Duration) {
        let (weak, noted, clock) = (Arc::downgrade(self), self.noted.clone(), self.environment.clock.clone());
        self.environment.spawn.spawn(Box::pin(async move {
            let mut rounds = Rounds::new(every);
            loop {
                let Some(node) = weak.upgrade().filter(|node| !node.is_ending()) else { return };
                let pause = match rounds.turn(&node).await {
                    Ok(pause) => pause,
                    Err(error) => {
                        tracing::warn!(%error, "what copies are wanted can't be told now");
                        every
                    }
                };
                drop(node);
                let next_turn =
                    async { future::select(pin!(noted.wake.notified()), clock.sleep(pause)).map(drop).await };
                let done = match future::select(pin!(rounds.done()), pin!(next_turn)).await {
                    Either::Left((done, _)) => done,
                    Either::Right(_) => continue,
                };
                let Some(node) = weak.upgrade() else { return };
                rounds.learn(&node, done);
            }
        }));
    }

    /// Has the reconciler look at what was noted of a file just now, if it is its business.
    pub(crate) fn reconcile_soon(&self, file: FileId, copies: &[CopyRow]) {
        if copies.iter().any(CopyRow::is_due) {
            self.noted.add(file);
        }
    }

    /// The places of a policy's placement, in its order.
    pub(crate) fn placement(&self, policy: &BucketPolicy) -> Vec<usize> {
        let names = if policy.placement.is_empty() { &self.settings.placement } else { &policy.placement };
        if names.is_empty() {
            return vec![0];
        }
        let place = |name: &StoreName| self.places.iter().position(|place| place.name == *name);
        names.iter().filter_map(place).collect()
    }

    pub(crate) fn placement_of(&self, bucket: impl Fn(&crate::Bucket) -> bool) -> Vec<usize> {
        let buckets = self.buckets.lock().expect("nothing panics while it holds this lock");
        buckets.values().find(|known| bucket(known)).map(|known| self.placement(&known.policy)).unwrap_or_default()
    }

    /// Copies that are known of a revision, and with them those that its bucket's placement wants on other stores.
    pub(crate) fn with_wanted(&self, bucket: &BucketName, mut copies: Vec<CopyRow>) -> Vec<CopyRow> {
        for place in self.placement_of(|known| known.name == *bucket) {
            let at = &self.places[place];
            if at.mode.creates() && !copies.iter().any(|copy| copy.store == at.id) {
                copies.push(CopyRow { store: at.id, state: CopyState::Pending, verified_at: None });
            }
        }
        copies.sort_by_key(|copy| copy.store);
        copies
    }

    /// Whether a placement wants a copy on a place.
    pub(crate) fn wants_copy(&self, bucket: &BucketName, place: usize) -> bool {
        self.placement_of(|known| known.name == *bucket).contains(&place)
    }

    /// The copies that a change of the attributes did not reach, as they are from then on: attributes older than the file's lie beside
    /// them. Those on stores that take no changes stay as they are: an overlay elsewhere tells.
    pub(crate) fn left_behind(&self, copies: &[CopyRow], reached: impl Fn(usize) -> bool) -> Vec<CopyRow> {
        let is_behind = |copy: &&CopyRow| {
            let place = self.place(copy.store).filter(|(_, at)| at.mode.changes());
            copy.is_readable() && copy.verified_at.is_some() && place.is_some_and(|(place, _)| !reached(place))
        };
        let behind = |copy: &CopyRow| CopyRow { state: CopyState::Present, ..copy.clone() };
        copies.iter().filter(is_behind).map(behind).collect()
    }

    /// What is to be done about the copies of a revision, what is only seen first: a copy that is due is told of until all is right.
    fn needs(&self, copies: &[CopyRow], wanted: &[usize]) -> Vec<(Need, usize)> {
        let need = |(place, at): (usize, &crate::files::Place)| {
            let known = copies.iter().find(|copy| copy.store == at.id);
            let is_wanted = wanted.contains(&place) && at.mode.creates();
            let need = match known.map(|copy| (copy.state, copy.verified_at)) {
                Some(_) if Self::is_dropped_from(at) && self.is_unwanted(copies, wanted, place) => Some(Need::Drop),
                Some((CopyState::Dropping, _)) if !is_wanted || at.store.staging().is_none() => {
                    at.mode.serves_content().then_some(Need::Keep)
                }
                Some((CopyState::Dropping, _)) => Some(Need::Bytes),
                Some((CopyState::Verified, _)) => None,
                Some((CopyState::Present, Some(_))) => at.mode.changes().then_some(Need::Attributes),
                Some((CopyState::Present, None)) => {
                    (is_wanted && wanted.len().max(copies.len()) > 1).then_some(Need::Check)
                }
                None | Some((CopyState::Pending | CopyState::Lost, _)) => is_wanted.then_some(Need::Bytes),
            };
            need.map(|need| (need, place))
        };
        let mut needs: Vec<_> = self.places.iter().enumerate().filter_map(need).collect();
        needs.sort_unstable();
        needs
    }

    /// What is to be done about a revision.
    fn lacking(&self, placed: &Placed) -> Vec<(Need, usize)> {
        let wanted = self.placement_of(|bucket| bucket.id == placed.bucket);
        self.needs(&placed.copies, &wanted)
    }
}
