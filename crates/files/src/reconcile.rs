//! The reconciler: makes true what the placement of each bucket says, in the background. Every revision has a verified copy, with its
//! attributes beside it, on every store of its bucket's placement that takes one.
//!
//! What is to be done stands in the ledger, so that it outlives every process: a create notes the copies that are wanted, a read a
//! copy that it found damaged, a change the stores that it did not reach ([`CopyRow::is_due`](crate::ledger::CopyRow::is_due)). An
//! index leads to these, and to nothing else. What no row tells of (a placement that was changed, copies that a rebuild has only
//! seen) is found by a walk over all revisions: at the start, and once an hour.
//!
//! A turn takes a page of each, and works on a few files at once. It begins when something was noted on this node, and with every
//! look. One node works on a file at a time, by a reservation in the ledger that goes to others when the node is dead; that two did
//! would cost work and nothing else. What fails is tried again, each time after twice the pause; a store that is away is left alone.
//! How one file is put right: [`copy`].

mod copy;

use crate::{
    BucketName, BucketPolicy, Error, FileId, Result, StoreName,
    files::Node,
    ledger::{CopyRow, CopyState, Placed, PlacedQuery},
};
use futures_util::{StreamExt, future, stream};
use std::{
    collections::{BTreeMap, BTreeSet},
    pin::pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

/// Revisions that a turn takes from the index, and from the walk.
const PAGE: usize = 256;
/// How long a turn waits for the next, where more is to be done: others come between.
const BETWEEN: Duration = Duration::from_millis(10);
/// How often all revisions are walked over.
const WALK_EVERY: Duration = Duration::from_secs(60 * 60);
/// What failed waits so long before it is tried again, twice as long each time.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX_OF_STORE: Duration = Duration::from_secs(5 * 60);
const PAUSE_MAX_OF_FILE: Duration = Duration::from_secs(60 * 60);
/// Files that failed and are remembered; for more the next walk comes sooner.
const FAILED_MAX: usize = 4096;

/// What is to be done about a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Need {
    /// Its bytes were seen and never read here.
    Check,
    /// Its bytes are right, its attributes are older than the file's.
    Attributes,
    /// It is missing or lost.
    Bytes,
}

/// A file that could not be put right.
struct Stuck {
    /// The place that failed, where one did.
    place: Option<usize>,
    error: Error,
}

/// What the reconciler remembers from turn to turn. None of it must outlive the process.
#[derive(Debug, Default)]
struct Rounds {
    /// Where the next page of what is due begins.
    due_after: Option<(FileId, u64)>,
    walk: Walk,
    /// Files to be tried again: what a walk came upon stands nowhere else.
    failed: BTreeMap<FileId, Pause>,
    away: BTreeMap<usize, Pause>,
    /// Whether something was not tried, or failed and is not remembered: the next walk comes sooner.
    passed_over: bool,
}

/// The walk over all revisions.
#[derive(Debug)]
enum Walk {
    /// Its next page begins behind this one.
    Behind(Option<(FileId, u64)>),
    /// It is over, and begins again at this time.
    Over(Duration),
}

impl Default for Walk {
    fn default() -> Self {
        Self::Behind(None)
    }
}

#[derive(Clone, Copy, Debug)]
struct Pause {
    until: Duration,
    span: Duration,
}

impl Pause {
    /// The next pause behind `last`.
    fn after(last: Option<&Self>, now: Duration, max: Duration) -> Self {
        let span = last.map_or(PAUSE_MIN, |last| (last.span * 2).min(max));
        Self { until: now + span, span }
    }
}

impl Node {
    /// Sets the reconciler going, for as long as the node lives.
    pub(crate) fn reconcile(self: &Arc<Self>, every: Duration) {
        let (node, wake, clock) = (Arc::downgrade(self), self.wake.clone(), self.environment.clock.clone());
        self.environment.spawn.spawn(Box::pin(async move {
            let mut rounds = Rounds::default();
            loop {
                let Some(node) = node.upgrade().filter(|node| !node.is_ending()) else { return };
                let pause = match rounds.turn(&node, every).await {
                    Ok(pause) => pause,
                    Err(error) => {
                        tracing::warn!(%error, "what copies are wanted can't be told now");
                        every
                    }
                };
                drop(node);
                future::select(pin!(wake.notified()), clock.sleep(pause)).await;
            }
        }));
    }

    /// Has the reconciler look at what was noted just now, if it is its business.
    pub(crate) fn reconcile_soon(&self, copies: &[CopyRow]) {
        if copies.iter().any(CopyRow::is_due) {
            self.wake.notify_one();
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
                Some((CopyState::Verified | CopyState::Dropping, _)) => None,
                Some((CopyState::Present, Some(_))) => at.mode.changes().then_some(Need::Attributes),
                Some((CopyState::Present, None)) => (is_wanted && wanted.len() > 1).then_some(Need::Check),
                None | Some((CopyState::Pending | CopyState::Lost, _)) => is_wanted.then_some(Need::Bytes),
            };
            need.map(|need| (need, place))
        };
        let mut needs: Vec<_> = self.places.iter().enumerate().filter_map(need).collect();
        needs.sort_unstable();
        needs
    }

    /// The places where something is to be done about a revision.
    fn lacking(&self, placed: &Placed) -> Vec<usize> {
        let wanted = self.placement_of(|bucket| bucket.id == placed.bucket);
        self.needs(&placed.copies, &wanted).into_iter().map(|(_, place)| place).collect()
    }
}

impl Rounds {
    /// One turn; answers how long to wait for the next, unless somebody notes something.
    async fn turn(&mut self, node: &Arc<Node>, every: Duration) -> Result<Duration> {
        let mut files = BTreeSet::new();
        let due = PlacedQuery { due: true, after: self.due_after, limit: PAGE };
        self.due_after = self.take(node, due, &mut files).await?;
        self.walk(node, &mut files).await?;
        let now = node.environment.clock.elapsed();
        files.extend(self.failed.iter().filter(|(_, pause)| pause.until <= now).map(|(id, _)| *id).take(PAGE));
        let at_once = node.settings.copies_at_once;
        let mut work =
            pin!(stream::iter(files).map(|id| async move { (id, node.put_right(id).await) }).buffer_unordered(at_once));
        while let Some((id, result)) = work.next().await {
            self.learn(node, id, result).await;
        }
        if let Walk::Over(_) = self.walk {
            node.walked.store(true, Relaxed);
        }
        Ok(self.pause(node, every))
    }

    /// A page of the walk, if there is one to go.
    async fn walk(&mut self, node: &Arc<Node>, files: &mut BTreeSet<FileId>) -> Result<()> {
        let now = node.environment.clock.elapsed();
        let after = match self.walk {
            Walk::Over(until) if until > now => return Ok(()),
            Walk::Over(_) => None,
            Walk::Behind(after) => after,
        };
        let page = PlacedQuery { due: false, after, limit: PAGE };
        self.walk = match self.take(node, page, files).await? {
            Some(last) => Walk::Behind(Some(last)),
            None if std::mem::take(&mut self.passed_over) => Walk::Over(now + PAUSE_MAX_OF_STORE),
            None => Walk::Over(now + WALK_EVERY),
        };
        Ok(())
    }

    /// Adds the files of a page that can be worked on now; answers where the next page begins, if there is one.
    async fn take(
        &mut self,
        node: &Arc<Node>,
        query: PlacedQuery,
        files: &mut BTreeSet<FileId>,
    ) -> Result<Option<(FileId, u64)>> {
        let page = node.ledger.placed(&query).await?;
        let now = node.environment.clock.elapsed();
        let waits = |pause: Option<&Pause>| pause.is_some_and(|pause| pause.until > now);
        for placed in &page {
            let lacking = node.lacking(placed);
            if lacking.is_empty() || waits(self.failed.get(&placed.file)) {
                continue;
            }
            match lacking.iter().all(|place| waits(self.away.get(place))) {
                true => self.passed_over = true,
                false => drop(files.insert(placed.file)),
            }
        }
        let last = page.last().map(|last| (last.file, last.revision));
        Ok(last.filter(|_| page.len() == query.limit))
    }

    /// What came of a file, for the turns after this one.
    async fn learn(&mut self, node: &Arc<Node>, id: FileId, result: Result<(), Stuck>) {
        let Err(Stuck { place, error }) = result else {
            self.failed.remove(&id);
            return;
        };
        let now = node.environment.clock.elapsed();
        if self.failed.len() < FAILED_MAX || self.failed.contains_key(&id) {
            let pause = Pause::after(self.failed.get(&id), now, PAUSE_MAX_OF_FILE);
            self.failed.insert(id, pause);
        } else {
            self.passed_over = true;
        }
        tracing::warn!(file = %id, %error, "copies of a file could not be put right, they are tried again");
        let Some(place) = place else { return };
        match node.places[place].confirm().await {
            Ok(()) => {
                self.away.remove(&place);
                node.saw(place, true);
            }
            Err(error) => {
                node.saw(place, false);
                let pause = Pause::after(self.away.get(&place), now, PAUSE_MAX_OF_STORE);
                tracing::warn!(store = %node.places[place].name, %error, wait = ?pause.span, "a store is away, its copies wait");
                self.away.insert(place, pause);
            }
        }
    }

    fn pause(&mut self, node: &Arc<Node>, every: Duration) -> Duration {
        if self.due_after.is_some() || matches!(self.walk, Walk::Behind(_)) {
            return BETWEEN;
        }
        let now = node.environment.clock.elapsed();
        let next =
            self.failed.values().chain(self.away.values()).map(|pause| pause.until).filter(|until| *until > now).min();
        next.map_or(every, |until| until - now).clamp(BETWEEN, every)
    }
}
