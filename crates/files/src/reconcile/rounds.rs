//! Which files the reconciler works on next, and when it tries again what failed.
//!
//! A copy that fails is tried again after a pause, twice as long each time: only that copy waits, not the others of its file. Where it
//! turns out that its store is away, the store waits instead, with all that is due there; as soon as it is seen to be back, all goes on,
//! and what had failed elsewhere too, for it may have wanted bytes from that store. None of this outlives the process, nor has to: what
//! is due stands in the ledger, and what a walk comes upon is noted there first.
//!
//! Whatever waits for a store is a task of its own, which no turn waits for: one that hangs keeps its place among those that are worked on
//! at once, and no more; and what such a task holds (a claim, a turn at what the dead have left) is given back though others wait for it.

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
    working: FuturesUnordered<BoxFuture<'static, Done>>,
    due: Pages,
    walk: Pages,
    /// Copies on stores that show themselves, to be tried again.
    failed: BTreeMap<(FileId, usize), Pause>,
    /// Whether more failed since the index was last begun.
    more_failed: bool,
    away: BTreeMap<usize, Pause>,
    /// Behind which record the next page begins of what a place has missed, where there is one to go; and when all begin again.
    missed: Sweep<RecordId>,
    /// Behind which overlay the next page of a place begins, where there is one to go; and when all begin again.
    overlays: Sweep<ListToken>,
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

/// A page of each place is gone on with at a time.
#[derive(Debug)]
struct Sweep<T> {
    next: BTreeMap<usize, Option<T>>,
    under_way: BTreeSet<usize>,
    again: Duration,
}

impl<T> Sweep<T> {
    fn new() -> Self {
        Self { next: BTreeMap::new(), under_way: BTreeSet::new(), again: Duration::ZERO }
    }

    /// The pages to begin with now, of `places` places; all begin again `every` so often.
    fn begin(&mut self, places: usize, now: Duration, every: Duration) -> Vec<(usize, Option<T>)> {
        if self.again <= now {
            self.again = now + every;
            self.next = (0..places).map(|place| (place, None)).collect();
        }
        let free: Vec<_> = self.next.keys().copied().filter(|place| !self.under_way.contains(place)).collect();
        free.into_iter().filter_map(|place| self.next.remove_entry(&place)).collect()
    }

    /// A page is over; behind `next` there may be more, unless its place begins again.
    fn over(&mut self, place: usize, next: Option<T>) {
        self.under_way.remove(&place);
        if let Some(next) = next {
            self.next.entry(place).or_insert(Some(next));
        }
    }

    fn has_more(&self) -> bool {
        self.next.keys().any(|place| !self.under_way.contains(place))
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
pub(crate) struct Outcome {
    /// The places whose copies could not be put right.
    pub(crate) failed: BTreeMap<usize, Error>,
    /// Whether a copy was not looked at, or not to the end, that nothing in the ledger says is due.
    pub(super) passed_over: bool,
}

/// Whether places where something failed show themselves, or why not.
type Shown = BTreeMap<usize, Result<()>>;

/// Work that is over.
#[derive(Debug)]
pub(super) enum Done {
    /// A file's copies were put right, but for those on the places that were waited for.
    File { id: FileId, waited: BTreeSet<usize>, result: Result<(Outcome, Shown)> },
    /// A page of what a place has missed was carried there; behind this record there is more.
    Missed { place: usize, result: Result<(Option<RecordId>, Shown)> },
    /// A page of a place's overlays was looked at; behind this one there is more.
    Overlays { place: usize, result: Result<Option<ListToken>> },
}

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
            working: FuturesUnordered::new(),
            due: Pages::Behind(None),
            walk: Pages::Behind(None),
            failed: BTreeMap::new(),
            more_failed: false,
            away: BTreeMap::new(),
            missed: Sweep::new(),
            overlays: Sweep::new(),
            seen_away: BTreeSet::new(),
            passed_over: false,
        }
    }

    /// One turn: takes in what is to be done next, where there is little left, and begins with as much as may be under way at once.
    /// Answers how long to wait for the next, unless something is noted or [done](Self::done) before.
    pub(super) async fn turn(&mut self, node: &Arc<Node>) -> Result<Duration> {
        let now = node.environment.clock.elapsed();
        self.see_who_is_back(node, now);
        self.carry(node, now);
        self.sweep(node, now);
        if self.queue.noted.len() < NOTED_MAX {
            let noted = self.noted(node).await?;
            self.queue.note(noted);
        }
        if self.queue.rest.is_empty() {
            let mut files = self.due(node, now).await?;
            files.extend(self.walk(node, now).await?);
            let failed = self.failed.keys().filter(|(id, place)| !self.waits(*id, *place, now)).map(|(id, _)| *id);
            files.extend(failed.take(PAGE));
            let dropped = node.state().dropped.due(now, WALK_EVERY, PAGE);
            files.extend(dropped.into_iter().map(|(id, _)| id));
            self.queue.add(files);
        }
        if !self.queue.is_empty() {
            // Each of them does: where it can't be done, none is begun.
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

    /// The next work that is over; never, where none is under way.
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
        while self.queue.working.len() < node.settings.copies_at_once
            && let Some(id) = self.queue.next()
        {
            // Asked only now: a store may have turned out to be away since.
            let now = node.environment.clock.elapsed();
            let wait: BTreeSet<_> = (0..node.places.len()).filter(|place| self.waits(id, *place, now)).collect();
            let waited = wait.clone();
            self.work(
                node,
                move |node| async move { node.put_right_or_see(id, &wait).await },
                move |result| Done::File { id, waited, result },
            );
        }
    }

    /// Begins with some work, as a task of its own.
    fn work<T: Send + 'static, F: Future<Output = Result<T>> + Send + 'static>(
        &mut self,
        node: &Arc<Node>,
        work: impl FnOnce(Arc<Node>) -> F,
        done: impl FnOnce(Result<T>) -> Done + Send + 'static,
    ) {
        let over = node.run(work(node.clone()));
        self.working.push(over.map(done).boxed());
    }

    /// A store that is back is waited for no longer, and what failed may have failed for want of it.
    fn see_who_is_back(&mut self, node: &Node, now: Duration) {
        let away = node.state().away.clone();
        if self.seen_away.iter().any(|place| !away.contains(place)) {
            self.away.retain(|place, _| away.contains(place));
            self.failed.values_mut().for_each(|pause| pause.until = pause.until.min(now));
            self.missed.again = now;
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
    fn carry(&mut self, node: &Arc<Node>, now: Duration) {
        if node.noted.records.swap(false, Relaxed) {
            self.missed.again = now;
        }
        for (place, after) in self.missed.begin(node.places.len(), now, self.every) {
            if node.places[place].mode.creates() && !self.is_away(place, now) {
                self.missed.under_way.insert(place);
                self.work(
                    node,
                    move |node| async move { node.carry_page(place, after).await },
                    move |result| Done::Missed { place, result },
                );
            }
        }
    }

    /// A page of the overlays on each place: those that nothing needs any more are removed.
    fn sweep(&mut self, node: &Arc<Node>, now: Duration) {
        for (place, after) in self.overlays.begin(node.places.len(), now, SWEEP_EVERY) {
            if node.places[place].mode.changes() && !self.is_away(place, now) {
                self.overlays.under_way.insert(place);
                self.work(
                    node,
                    move |node| async move { node.sweep_overlays(place, after).await },
                    move |result| Done::Overlays { place, result },
                );
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
            let is_held = |need: &Need, place: usize| *need == Need::Drop && node.has_too_many_to_drop(place);
            let (waiting, open): (Vec<_>, Vec<_>) = node
                .lacking(placed)
                .into_iter()
                .partition(|(need, place)| self.waits(placed.file, *place, now) || is_held(need, *place));
            self.passed_over |= waiting.iter().any(|(need, place)| is_held(need, *place));
            self.passed_over |= waiting.iter().any(|(need, _)| *need == Need::Check);
            if !open.is_empty() {
                files.insert(placed.file);
            }
        }
    }

    /// Whether a copy is not to be tried yet.
    fn waits(&self, id: FileId, place: usize, now: Duration) -> bool {
        self.is_away(place, now) || self.failed.get(&(id, place)).is_some_and(|pause| pause.until > now)
    }

    fn is_away(&self, place: usize, now: Duration) -> bool {
        self.away.get(&place).is_some_and(|pause| pause.until > now)
    }

    /// What came of some work, for the turns after this one.
    pub(super) fn learn(&mut self, node: &Node, done: Done) {
        match done {
            Done::File { id, waited, result } => {
                self.queue.done(id);
                match result {
                    Ok((outcome, shown)) => self.learn_of_file(node, id, &waited, outcome, shown),
                    Err(error) => {
                        tracing::warn!(file = %id, %error, "the copies of a file can't be looked at now");
                        self.passed_over = true;
                    }
                }
            }
            Done::Missed { place, result } => {
                let (next, shown) = result.unwrap_or_else(|error| {
                    tracing::warn!(store = %node.places[place].name, %error, "what a store has missed can't be told now");
                    (None, Shown::new())
                });
                self.missed.over(place, next);
                for (place, shown) in shown {
                    self.learn_of_place(node, place, shown);
                }
            }
            Done::Overlays { place, result } => {
                let next = result.unwrap_or_else(|error| {
                    tracing::warn!(store = %node.places[place].name, %error, "overlays can't be looked at now");
                    None
                });
                self.overlays.over(place, next);
            }
        }
    }

    /// Where a copy could not be put right, it was the copy that failed, or its store is away.
    fn learn_of_file(&mut self, node: &Node, id: FileId, waited: &BTreeSet<usize>, outcome: Outcome, mut shown: Shown) {
        self.passed_over |= outcome.passed_over;
        let right = |place: &usize| !waited.contains(place) && !outcome.failed.contains_key(place);
        for place in (0..node.places.len()).filter(right) {
            self.failed.remove(&(id, place));
        }
        for (place, error) in outcome.failed {
            let store = &node.places[place].name;
            tracing::warn!(file = %id, %store, %error, "a copy could not be put right, it is tried again");
            if self.learn_of_place(node, place, shown.remove(&place).unwrap_or(Ok(()))) {
                self.wait_for_copy(id, place, node.environment.clock.elapsed());
            }
        }
    }

    fn wait_for_copy(&mut self, id: FileId, place: usize, now: Duration) {
        let last = self.failed.get(&(id, place));
        if last.is_some() || self.failed.len() < FAILED_MAX {
            let pause = Pause::after(last, now, PAUSE_MAX_OF_COPY);
            self.failed.insert((id, place), pause);
        } else {
            self.more_failed = true;
            self.passed_over = true;
        }
    }

    /// A store that does not show itself is waited for. Says whether it does.
    fn learn_of_place(&mut self, node: &Node, place: usize, shown: Result<()>) -> bool {
        let now = node.environment.clock.elapsed();
        let Err(error) = shown else {
            self.away.remove(&place);
            return true;
        };
        // What else was under way there at that time says nothing new.
        if !self.is_away(place, now) {
            let pause = Pause::after(self.away.get(&place), now, PAUSE_MAX_OF_STORE);
            tracing::warn!(store = %node.places[place].name, %error, wait = ?pause.span, "a store is away, its copies wait");
            self.away.insert(place, pause);
        }
        self.seen_away.insert(place);
        false
    }

    fn pause(&mut self, node: &Arc<Node>) -> Duration {
        let now = node.environment.clock.elapsed();
        if self.missed.has_more() || self.overlays.has_more() {
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
    /// Puts a file's copies right; where that fails, asks the store whether it is there.
    async fn put_right_or_see(self: &Arc<Self>, id: FileId, wait: &BTreeSet<usize>) -> Result<(Outcome, Shown)> {
        let outcome = self.put_right(id, wait).await?;
        let shown = self.shown(outcome.failed.keys().copied()).await;
        Ok((outcome, shown))
    }

    /// Carries a page of the records that a place has missed; answers behind which one there is more. Its clearings, which come behind
    /// them all, are a recovery's.
    async fn carry_page(self: &Arc<Self>, place: usize, after: Option<RecordId>) -> Result<(Option<RecordId>, Shown)> {
        let at = &self.places[place];
        let mut page = self.ledger.missed(at.id, after, PAGE).await?;
        page.retain(|missed| missed.record < RecordId::BEFORE_CLEARINGS);
        if page.is_empty() {
            return Ok((None, Shown::new()));
        }
        let mut shown = Shown::new();
        if let Err(error) = self.carry_all(place, &page).await {
            tracing::warn!(store = %at.name, %error, "what a store has missed can't be carried there now");
            shown = self.shown([place]).await;
        }
        let is_away = shown.values().any(Result::is_err);
        Ok((page.last().filter(|_| page.len() == PAGE && !is_away).map(|last| last.record), shown))
    }

    /// Asks the stores of places whether they are there.
    async fn shown(&self, places: impl IntoIterator<Item = usize>) -> Shown {
        let mut shown = Shown::new();
        for place in places {
            let confirmed = self.places[place].confirm().await;
            self.saw(place, confirmed.is_ok());
            shown.insert(place, confirmed.map_err(Error::from));
        }
        shown
    }

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
