//! Which files the reconciler works on next, and when it tries again what failed.
//!
//! A copy that fails is tried again after a pause, twice as long each time: only that copy waits, not the others of its file. Where it
//! turns out that its store is away, the store waits instead, with all that is due there; as soon as it is seen to be back, all goes on,
//! and what had failed elsewhere too, for it may have wanted bytes from that store. None of this outlives the process, nor has to: what
//! is due stands in the ledger, and what a walk comes upon is noted there first.

use super::{NOTED_MAX, Need};
use crate::{
    Error, FileId, Result,
    files::Node,
    ledger::{CopyRow, CopyState, Entry, LedgerError, Placed, PlacedQuery, Record, RecordId},
};
use futures_util::{
    FutureExt, StreamExt,
    future::{self, BoxFuture},
    stream::FuturesUnordered,
};
use larder_storage_core::ListToken;
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

/// Revisions that a turn takes from the index, and from the walk.
const PAGE: usize = 256;
/// How long a turn waits for the next, where more is to be done: others come between.
const BETWEEN: Duration = Duration::from_millis(10);
/// How often all revisions are walked over.
const WALK_EVERY: Duration = Duration::from_secs(60 * 60);
/// How often overlays are looked at.
const SWEEP_EVERY: Duration = Duration::from_secs(10 * 60);
/// What failed waits so long before it is tried again, twice as long each time.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX_OF_STORE: Duration = Duration::from_secs(5 * 60);
const PAUSE_MAX_OF_COPY: Duration = Duration::from_secs(60 * 60);
/// Copies that failed and are remembered. While there are more, the index is gone through less often.
const FAILED_MAX: usize = 8192;

/// What the reconciler remembers from turn to turn.
#[derive(Debug)]
pub(super) struct Rounds {
    /// How often the index is gone through: other nodes note things too.
    every: Duration,
    queue: Queue,
    working: Working,
    due: Pages,
    walk: Pages,
    /// Copies on stores that show themselves, to be tried again.
    failed: BTreeMap<(FileId, usize), Pause>,
    /// Whether more failed since the index was last begun.
    more_failed: bool,
    away: BTreeMap<usize, Pause>,
    /// Behind which record the next page begins of what a place has missed, where there is one to go; and when all begin again.
    missed: BTreeMap<usize, Option<RecordId>>,
    missed_again: Duration,
    /// Behind which overlay the next page of a place begins, where there is one to go; and when all begin again.
    overlays: BTreeMap<usize, Option<ListToken>>,
    overlays_again: Duration,
    /// The places that the node knew to be away at the last turn.
    seen_away: BTreeSet<usize>,
    /// Whether something that the ledger does not say is due was not tried, or failed: the next walk comes sooner.
    passed_over: bool,
}

/// Rows that are gone through page by page.
#[derive(Debug)]
enum Pages {
    /// The next page begins behind this one.
    Behind(Option<(FileId, u64)>),
    /// That is over, and begins again at this time.
    Over(Duration),
}

impl Pages {
    /// Where the next page begins, if one is to be taken now.
    fn next(&self, now: Duration) -> Option<Option<(FileId, u64)>> {
        match self {
            Self::Behind(after) => Some(*after),
            Self::Over(until) => (*until <= now).then_some(None),
        }
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

/// What came of a file.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// The places whose copies could not be put right.
    pub(super) failed: BTreeMap<usize, Error>,
    /// Whether a copy was not looked at, or not to the end, that nothing in the ledger says is due.
    pub(super) passed_over: bool,
}

/// A file whose copies were put right, but for those on the places that were waited for.
pub(super) type Done = (FileId, BTreeSet<usize>, Result<Outcome>);

type Working = FuturesUnordered<BoxFuture<'static, Done>>;

/// The files to work on: those that were noted just now take turns with the others.
#[derive(Debug, Default)]
struct Queue {
    noted: VecDeque<FileId>,
    rest: VecDeque<FileId>,
    noted_last: bool,
    /// Being worked on, with whether something was noted since.
    working: BTreeMap<FileId, bool>,
}

impl Queue {
    fn next(&mut self) -> Option<FileId> {
        self.noted_last = !self.noted_last && !self.noted.is_empty() || self.rest.is_empty();
        let id = if self.noted_last { self.noted.pop_front() } else { self.rest.pop_front() }?;
        self.working.insert(id, false);
        Some(id)
    }

    /// What is waiting already is not put there twice; no file is worked on twice at once.
    fn note(&mut self, files: BTreeSet<FileId>) {
        for id in files {
            match self.working.get_mut(&id) {
                Some(again) => *again = true,
                None if self.noted.contains(&id) => {}
                None => {
                    self.rest.retain(|other| *other != id);
                    self.noted.push_back(id);
                }
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.noted.is_empty() && self.rest.is_empty()
    }

    /// Puts others behind those that are waiting.
    fn add(&mut self, files: BTreeSet<FileId>) {
        let is_known = |id: &FileId| self.working.contains_key(id) || self.noted.contains(id);
        self.rest.extend(files.into_iter().filter(|id| !is_known(id)));
    }

    fn done(&mut self, id: FileId) {
        if self.working.remove(&id) == Some(true) {
            self.noted.push_back(id);
        }
    }
}

impl Rounds {
    pub(super) fn new(every: Duration) -> Self {
        Self {
            every,
            queue: Queue::default(),
            working: Working::new(),
            due: Pages::Behind(None),
            walk: Pages::Behind(None),
            failed: BTreeMap::new(),
            more_failed: false,
            away: BTreeMap::new(),
            missed: BTreeMap::new(),
            missed_again: Duration::ZERO,
            overlays: BTreeMap::new(),
            overlays_again: Duration::ZERO,
            seen_away: BTreeSet::new(),
            passed_over: false,
        }
    }

    /// One turn: takes in what is to be done next, where there is little left, and begins with as much as may be under way at once.
    /// Answers how long to wait for the next, unless something is noted or [done](Self::done) before.
    pub(super) async fn turn(&mut self, node: &Arc<Node>) -> Result<Duration> {
        let now = node.environment.clock.elapsed();
        self.see_who_is_back(node, now);
        self.carry(node, now).await?;
        self.sweep(node, now).await;
        if self.queue.noted.len() < NOTED_MAX {
            let noted = self.noted(node).await?;
            self.queue.note(noted);
        }
        if self.queue.rest.is_empty() {
            let mut files = self.due(node, now).await?;
            files.extend(self.walk(node, now).await?);
            let failed = self.failed.keys().filter(|(id, place)| !self.waits(*id, *place, now)).map(|(id, _)| *id);
            files.extend(failed.take(PAGE));
            self.queue.add(files);
        }
        if !self.queue.is_empty() {
            // Each of them does, and one that is under way gets no further while a turn waits for the same.
            node.begin_change().await?;
        }
        self.begin(node);
        if let Pages::Over(until) = &mut self.walk {
            node.walked.store(true, Relaxed);
            if self.passed_over {
                *until = (*until).min(node.environment.clock.elapsed() + PAUSE_MAX_OF_STORE);
            }
        }
        Ok(self.pause(node))
    }

    /// The next file that is done with; never, where none is being worked on.
    pub(super) async fn done(&mut self) -> Done {
        match self.working.next().await {
            Some(done) => done,
            None => future::pending().await,
        }
    }

    /// Begins with as many files as may be worked on at once; a node that may make no copies leaves them to others.
    fn begin(&mut self, node: &Arc<Node>) {
        if node.settings.copies_at_once == 0 {
            self.queue = Queue::default();
        }
        while self.working.len() < node.settings.copies_at_once
            && let Some(id) = self.queue.next()
        {
            // Asked only now: a store may have turned out to be away since.
            let now = node.environment.clock.elapsed();
            let wait: BTreeSet<_> = (0..node.places.len()).filter(|place| self.waits(id, *place, now)).collect();
            let node = node.clone();
            self.working.push(async move { (id, wait.clone(), node.put_right(id, &wait).await) }.boxed());
        }
    }

    /// A store that is back is waited for no longer, and what failed may have failed for want of it.
    fn see_who_is_back(&mut self, node: &Node, now: Duration) {
        let away = node.state().away.clone();
        if self.seen_away.iter().any(|place| !away.contains(place)) {
            self.away.retain(|place, _| away.contains(place));
            self.failed.values_mut().for_each(|pause| pause.until = pause.until.min(now));
            self.missed_again = now;
            // One that is under way goes on: a store that comes and goes would keep it from its end.
            if let Pages::Over(until) = &mut self.walk
                && self.passed_over
            {
                *until = now;
            }
        }
        self.seen_away = away;
    }

    /// A page of what each place has missed, where it takes that now.
    async fn carry(&mut self, node: &Arc<Node>, now: Duration) -> Result<()> {
        if self.missed_again <= now {
            self.missed_again = now + self.every;
            self.missed = (0..node.places.len()).map(|place| (place, None)).collect();
        }
        for (place, after) in std::mem::take(&mut self.missed) {
            let at = &node.places[place];
            if !at.mode.creates() || self.away.get(&place).is_some_and(|pause| pause.until > now) {
                continue;
            }
            let page = node.ledger.missed(at.id, after, PAGE).await?;
            if page.is_empty() {
                continue;
            }
            if let Err(error) = node.carry_all(place, &page).await {
                tracing::warn!(store = %at.name, %error, "what a store has missed can't be carried there now");
                if !self.shows_itself(node, place).await {
                    continue;
                }
            }
            self.missed.extend(page.last().filter(|_| page.len() == PAGE).map(|last| (place, Some(last.record))));
        }
        Ok(())
    }

    /// A page of the overlays on each place: those that nothing needs any more are removed.
    async fn sweep(&mut self, node: &Arc<Node>, now: Duration) {
        if self.overlays_again <= now {
            self.overlays_again = now + SWEEP_EVERY;
            self.overlays = (0..node.places.len()).map(|place| (place, None)).collect();
        }
        for (place, after) in std::mem::take(&mut self.overlays) {
            let at = &node.places[place];
            if !at.mode.changes() || self.away.get(&place).is_some_and(|pause| pause.until > now) {
                continue;
            }
            match node.sweep_overlays(place, after).await {
                Ok(next) => self.overlays.extend(next.map(|next| (place, Some(next)))),
                Err(error) => tracing::warn!(store = %at.name, %error, "overlays can't be looked at now"),
            }
        }
    }

    /// The files that were noted on this node, as far as their rows say that something is due. Those behind them come along.
    async fn noted(&mut self, node: &Arc<Node>) -> Result<BTreeSet<FileId>> {
        let mut files = BTreeSet::new();
        let mut noted = std::mem::take(&mut *node.noted.files());
        while let Some(first) = noted.pop_first() {
            let page = PlacedQuery { due: true, after: Some((first, 0)), limit: PAGE };
            let rows = node.ledger.placed(&page).await?;
            self.choose(node, &rows, &mut files);
            match rows.last().filter(|_| rows.len() == page.limit) {
                Some(last) => noted.retain(|id| *id > last.file),
                None => noted.clear(),
            }
        }
        Ok(files)
    }

    /// A page of what the ledger says is due, if there is one to go.
    async fn due(&mut self, node: &Arc<Node>, now: Duration) -> Result<BTreeSet<FileId>> {
        let mut files = BTreeSet::new();
        let Some(after) = self.due.next(now) else { return Ok(files) };
        let rows = node.ledger.placed(&PlacedQuery { due: true, after, limit: PAGE }).await?;
        self.choose(node, &rows, &mut files);
        self.due = match rows.last().filter(|_| rows.len() == PAGE) {
            Some(last) => Pages::Behind(Some((last.file, last.revision))),
            None if std::mem::take(&mut self.more_failed) => Pages::Over(now + PAUSE_MAX_OF_STORE.max(self.every)),
            None => Pages::Over(now + self.every),
        };
        Ok(files)
    }

    /// A page of the walk, if there is one to go. What is missing and stands nowhere is noted before anything is done about it.
    async fn walk(&mut self, node: &Arc<Node>, now: Duration) -> Result<BTreeSet<FileId>> {
        let mut files = BTreeSet::new();
        let Some(after) = self.walk.next(now) else { return Ok(files) };
        if after.is_none() {
            self.passed_over = false;
        }
        let rows = node.ledger.placed(&PlacedQuery { due: false, after, limit: PAGE }).await?;
        node.note_missing(&rows).await?;
        self.choose(node, &rows, &mut files);
        self.walk = match rows.last().filter(|_| rows.len() == PAGE) {
            Some(last) => Pages::Behind(Some((last.file, last.revision))),
            None => Pages::Over(now + WALK_EVERY),
        };
        Ok(files)
    }

    /// Adds the files of a page on which something can be done now.
    fn choose(&mut self, node: &Arc<Node>, rows: &[Placed], files: &mut BTreeSet<FileId>) {
        let now = node.environment.clock.elapsed();
        for placed in rows {
            let (waiting, open): (Vec<_>, Vec<_>) =
                node.lacking(placed).into_iter().partition(|(_, place)| self.waits(placed.file, *place, now));
            self.passed_over |= waiting.iter().any(|(need, _)| *need == Need::Check);
            if !open.is_empty() {
                files.insert(placed.file);
            }
        }
    }

    /// Whether a copy is not to be tried yet.
    fn waits(&self, id: FileId, place: usize, now: Duration) -> bool {
        let waits = |pause: Option<&Pause>| pause.is_some_and(|pause| pause.until > now);
        waits(self.away.get(&place)) || waits(self.failed.get(&(id, place)))
    }

    /// What came of a file, for the turns after this one.
    pub(super) async fn learn(&mut self, node: &Arc<Node>, (id, waited, result): Done) {
        self.queue.done(id);
        let outcome = match result {
            Ok(outcome) => outcome,
            Err(error) => {
                tracing::warn!(file = %id, %error, "the copies of a file can't be looked at now");
                self.passed_over = true;
                return;
            }
        };
        self.passed_over |= outcome.passed_over;
        let right = |place: &usize| !waited.contains(place) && !outcome.failed.contains_key(place);
        for place in (0..node.places.len()).filter(right) {
            self.failed.remove(&(id, place));
        }
        for (place, error) in outcome.failed {
            let store = &node.places[place].name;
            tracing::warn!(file = %id, %store, %error, "a copy could not be put right, it is tried again");
            self.learn_of_place(node, id, place).await;
        }
    }

    /// Whether it was the copy that failed, or its store that is away.
    async fn learn_of_place(&mut self, node: &Arc<Node>, id: FileId, place: usize) {
        if !self.shows_itself(node, place).await {
            return;
        }
        let last = self.failed.get(&(id, place));
        if last.is_some() || self.failed.len() < FAILED_MAX {
            let pause = Pause::after(last, node.environment.clock.elapsed(), PAUSE_MAX_OF_COPY);
            self.failed.insert((id, place), pause);
        } else {
            self.more_failed = true;
            self.passed_over = true;
        }
    }

    /// Asks a store whether it is there; where it is not, it is waited for.
    async fn shows_itself(&mut self, node: &Arc<Node>, place: usize) -> bool {
        let shown = node.places[place].confirm().await;
        node.saw(place, shown.is_ok());
        let now = node.environment.clock.elapsed();
        let Err(error) = shown else {
            self.away.remove(&place);
            return true;
        };
        // What else was under way there at that time says nothing new.
        if self.away.get(&place).is_none_or(|pause| pause.until <= now) {
            let pause = Pause::after(self.away.get(&place), now, PAUSE_MAX_OF_STORE);
            tracing::warn!(store = %node.places[place].name, %error, wait = ?pause.span, "a store is away, its copies wait");
            self.away.insert(place, pause);
        }
        self.seen_away.insert(place);
        false
    }

    fn pause(&mut self, node: &Arc<Node>) -> Duration {
        let now = node.environment.clock.elapsed();
        if !self.missed.is_empty() || !self.overlays.is_empty() {
            return BETWEEN;
        }
        let mut next = now + self.every;
        for pages in [&self.due, &self.walk] {
            match pages {
                // What waits already comes first, as something is done.
                _ if !self.queue.rest.is_empty() => {}
                Pages::Behind(_) => return BETWEEN,
                Pages::Over(until) => next = next.min(*until),
            }
        }
        let waiting = self.failed.values().chain(self.away.values()).map(|pause| pause.until);
        next = waiting.filter(|until| *until > now).fold(next, Duration::min);
        (next - now.min(next)).clamp(BETWEEN, self.every.max(BETWEEN))
    }
}

impl Node {
    /// Notes the copies that a page of revisions lacks and no row tells of: what is to be done then stands in the ledger.
    async fn note_missing(self: &Arc<Self>, rows: &[Placed]) -> Result<()> {
        let missing = rows.iter().filter_map(|placed| {
            let needs = self.lacking(placed).into_iter().map(|(_, place)| self.places[place].id);
            let untold = needs.filter(|store| placed.copies.iter().all(|copy| copy.store != *store));
            let pending = |store| CopyRow { store, state: CopyState::Pending, verified_at: None };
            let copies: Vec<_> = untold.map(pending).collect();
            let entry = Entry::Copies { file: placed.file, revision: placed.revision, copies };
            matches!(&entry, Entry::Copies { copies, .. } if !copies.is_empty())
                .then(|| Record { entry: Some(entry), ..Record::default() })
        });
        let missing: Vec<_> = missing.collect();
        if missing.is_empty() {
            return Ok(());
        }
        self.begin_change().await?;
        self.ledger.record(missing).await.into_iter().collect::<Result<Vec<_>, LedgerError>>()?;
        self.mark_soon();
        Ok(())
    }
}
