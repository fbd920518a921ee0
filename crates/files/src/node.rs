//! What all operations share: tasks that outlive their caller, claims with a wait, the mark, and how the node is.

use crate::{
    Error, File, FileId, Files, Health, Recovered, Result, StartError, StoreId, StoreName, Timestamp,
    committer::{Commit, CommitError, unrecorded},
    files::{Node, Place},
    ledger::{Claim, Entry, LedgerError, Purpose, Record, RecordId, Recorded},
    marker::{self, Mark, Marker},
    name_claim,
    reconcile::{Dropped, Refused},
    recovery::InHand,
    report::counted,
    roll::{Presence, Standing},
    start::{prove_one, tell_of_all},
    truth::chain,
};
use larder_storage_core::{Key, NodeId};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tokio::sync::oneshot;

/// How long after a commit the mark is written at the latest.
const MARK_WITHIN: Duration = Duration::from_secs(5);
pub(crate) const CLAIM_POLL_MIN: Duration = Duration::from_millis(2);
pub(crate) const CLAIM_POLL_MAX: Duration = Duration::from_millis(100);
/// Behind a node's name where it settles what another has left.
const SETTLES: &str = "-settles";
const SETTLE_PAUSE_MIN: Duration = Duration::from_millis(100);
const SETTLE_PAUSE_MAX: Duration = Duration::from_secs(30);

/// What a node knows of its own state.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// Operations whose outcome is not yet known.
    pub(crate) unsettled: usize,
    /// What dead nodes left that this one has taken over and could not settle yet.
    pub(crate) leftovers: Vec<InHand>,
    /// Places on which it could not be looked for when that was last tried.
    pub(crate) unlooked: BTreeSet<usize>,
    /// Whether a recovery could not do all since the task that repeats it has begun its last attempt.
    pub(crate) waits: bool,
    /// Whether there is such a task.
    pub(crate) is_recovering: bool,
    /// The purge that was last gone on with on a place, where there are more.
    pub(crate) cleared_last: BTreeMap<usize, RecordId>,
    /// Intents of the dead that a task of this node brings to their end.
    pub(crate) taken_up: BTreeSet<u64>,
    /// Places that did not answer when they were last asked.
    pub(crate) away: BTreeSet<usize>,
    /// Places that were away when the node started, and have not gone through the rest of the start since.
    pub(crate) unproven: BTreeSet<usize>,
    /// Places that had no room, or took nothing although their mode says so, until when new content goes elsewhere first.
    pub(crate) refusing: BTreeMap<usize, Duration>,
    /// Files on whose copies the reconciler of this node is at work; with a place, those of which an answer waits for the copy there.
    pub(crate) copying: BTreeSet<(FileId, Option<usize>)>,
    /// Places that refused to delete copies.
    pub(crate) refused: Refused,
    /// Copies on stores that don't stage whose deletion may be on its way.
    pub(crate) dropped: Dropped,
    /// Copies that are read again in the background, by place and key.
    pub(crate) doubted: BTreeSet<(usize, Key)>,
    /// When the last claim was asked for: no two are at one time.
    claimed_at: Option<Timestamp>,
    fenced: Option<String>,
    stopping: bool,
    mark_due: bool,
}

impl State {
    /// That of a node which starts while these places are away.
    pub(crate) fn without(away: &BTreeSet<usize>) -> Self {
        Self { away: away.clone(), unproven: away.clone(), ..Self::default() }
    }

    /// The node must stop.
    pub(crate) fn fence(&mut self, why: String) {
        tracing::error!(%why, "this node takes no more changes: its database is no longer the current one, or others took it for dead");
        self.fenced = Some(why);
    }
}

impl Files {
    /// How the node is.
    #[must_use]
    pub fn health(&self) -> Health {
        let state = self.0.state();
        if let Some(why) = &state.fenced {
            return Health::Fenced(why.clone());
        }
        let standing = self.0.roll.as_ref().map(|roll| roll.standing());
        let unheard = match standing {
            Some(Standing::Buried(why)) => return Health::Fenced(why),
            Some(Standing::Unheard(why)) => Some(why),
            Some(Standing::Alive) | None => None,
        };
        let names: Vec<_> = state.away.iter().map(|place| format!("`{}`", self.0.places[*place].name)).collect();
        let broken = state.leftovers.iter().filter(|leftover| leftover.is_broken).count();
        let why = [
            unheard,
            (!names.is_empty()).then(|| format!("away: the store {}", names.join(", "))),
            (state.unsettled > 0).then(|| {
                let operations = counted(state.unsettled as u64, "operation", "operations");
                format!("{operations} must be settled first")
            }),
            (!self.0.unread.is_empty()).then(|| self.0.provisional().to_string()),
            (broken > 0).then(|| {
                let uploads = counted(broken as u64, "upload that broke off waits", "uploads that broke off wait");
                format!("{uploads} for `larder fsck --repair`")
            }),
        ];
        match why.into_iter().flatten().collect::<Vec<_>>() {
            why if why.is_empty() => Health::Ready,
            why => Health::Degraded(why.join("; ")),
        }
    }

    /// Takes no more changes; those that are under way end.
    pub async fn stop(&self) {
        self.0.state().stopping = true;
        if std::mem::take(&mut self.0.state().mark_due) {
            let _ = self.0.write_mark().await;
        }
    }

    /// A key for tokens of one purpose. A rebuild changes it, so that no token from before it comes back from the dead.
    #[must_use]
    pub fn signing_key(&self, purpose: &str) -> [u8; 32] {
        self.0.secrets.signing(purpose, self.0.epoch)
    }

    /// A key for what lasts as long as the installation: it is the same after a rebuild, and on every node.
    #[must_use]
    pub fn lasting_key(&self, purpose: &str) -> [u8; 32] {
        self.0.secrets.lasting(purpose)
    }

    /// The node's time, randomness and tasks.
    #[must_use]
    pub fn environment(&self) -> &crate::Environment {
        &self.0.environment
    }

    /// The name of a store of this node.
    #[must_use]
    pub fn store_name(&self, id: StoreId) -> Option<&StoreName> {
        self.0.place(id).map(|(_, place)| &place.name)
    }

    /// The names of stores that did not answer when they were last asked: files are read from other copies until they do.
    #[must_use]
    pub fn stores_away(&self) -> Vec<StoreName> {
        self.0.state().away.iter().map(|place| self.0.places[*place].name.clone()).collect()
    }

    /// The names of stores that the index was rebuilt without: a provisional one, which takes no changes of what is from before.
    #[must_use]
    pub fn unread_stores(&self) -> &[String] {
        &self.0.unread
    }

    /// Runs `task` to its end whatever becomes of the caller, and waits for it.
    pub(crate) async fn complete<T: Send + 'static>(
        &self,
        task: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        self.0.run(task).await
    }
}

/// Why the database is an older copy, where a store has refused to be opened for that.
fn told_of_age(error: &Error) -> Option<String> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(StartError::OlderDatabase { why }) = error.downcast_ref() {
            return Some(why.clone());
        }
        cause = error.source();
    }
    None
}

impl Node {
    /// Begins with `task`, which runs to its end whatever becomes of the caller, or of what is returned: its answer.
    pub(crate) fn run<T: Send + 'static, F: Future<Output = Result<T>> + Send + 'static>(
        &self,
        task: F,
    ) -> impl Future<Output = Result<T>> + Send + use<T, F> {
        let (answer, answered) = oneshot::channel();
        self.environment.spawn.spawn(Box::pin(async move {
            let _ = answer.send(task.await);
        }));
        async move { answered.await.map_err(|_| Error::Indeterminate("the node is stopping".into()))? }
    }

    pub(crate) fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds this lock")
    }

    /// The place of a store, with its index.
    pub(crate) fn place(&self, id: StoreId) -> Option<(usize, &Place)> {
        self.places.iter().enumerate().find(|(_, place)| place.id == id)
    }

    /// Why a provisional index can't tell.
    pub(crate) fn provisional(&self) -> Error {
        let names: Vec<_> = self.unread.iter().map(|name| format!("`{name}`")).collect();
        Error::Provisional(names.join(", "))
    }

    /// Refuses what needs an index of all stores.
    pub(crate) fn check_whole(&self) -> Result<()> {
        if self.unread.is_empty() { Ok(()) } else { Err(self.provisional()) }
    }

    /// The answer where there is none: a store that was not read may know of one.
    pub(crate) fn absent(&self, what: &'static str) -> Error {
        self.check_whole().err().unwrap_or(Error::NotFound(what))
    }

    /// The answer of a file in the trash: a store that was not read may know that it was taken out again.
    pub(crate) fn in_trash(&self, file: &File) -> Error {
        if file.attributes.epoch == self.epoch { Error::NotFound("file") } else { self.absent("file") }
    }

    /// Refuses a change of what a store that was not read may know better. What was made since is nowhere else.
    async fn check_known_best(&self, file: FileId) -> Result<()> {
        if self.unread.is_empty() {
            return Ok(());
        }
        match self.ledger.file(file).await? {
            Some(row) if row.attributes.epoch == self.epoch => Ok(()),
            _ => Err(self.provisional()),
        }
    }

    /// Refuses changes of a node that must stop, and sees to it that the mark was raised before the first one.
    pub(crate) async fn begin_change(&self) -> Result<()> {
        {
            let state = self.state();
            if let Some(why) = &state.fenced {
                return Err(Error::Fenced(why.clone()));
            }
            if state.stopping {
                return Err(Error::ReadOnly("the server is stopping".into()));
            }
        }
        self.check_standing()?;
        self.marked.get_or_try_init(|| self.write_mark()).await.map(drop)
    }

    /// Refuses what a process must not do that others take for dead, or may come to.
    fn check_standing(&self) -> Result<()> {
        match self.roll.as_ref().map(|roll| roll.standing()) {
            Some(Standing::Buried(why)) => Err(Error::Fenced(why)),
            Some(Standing::Unheard(why)) => Err(Error::StoreUnavailable(Some(why.into()))),
            Some(Standing::Alive) | None => Ok(()),
        }
    }

    /// Raises the mark in the ledger, then on each store that takes it and is there. The ledger notes which ones those are: what a store
    /// that was away turns out to bear is held against the last mark that was meant for it, however often this node has raised it since.
    ///
    /// # Errors
    /// The ledger's; and a store's where none could be told: then an older copy of the ledger would go unseen.
    pub(crate) async fn write_mark(&self) -> Result<()> {
        let takes = |(at, place): &(usize, &Place)| place.mode.changes() && self.is_proven(*at);
        let (mut there, mut told, mut refused) = (vec![], false, None);
        for (_, place) in self.places.iter().enumerate().filter(takes) {
            match self.check_mark_on(place, 0).await {
                Ok(_) => there.push(place),
                Err(error) => refused = Some(self.untold(place, error)?),
            }
        }
        if let Some(error) = refused.take_if(|_| there.is_empty()) {
            return Err(error);
        }
        let ids: Vec<_> = there.iter().map(|place| place.id).collect();
        let mark = self.ledger.raise_mark(&ids).await?;
        for place in there {
            match self.write_mark_on(place, mark).await {
                Ok(()) => told = true,
                Err(error) => refused = Some(self.untold(place, error)?),
            }
        }
        match refused {
            Some(error) if !told => Err(error),
            _ => Ok(()),
        }
    }

    /// A store that is away is told the next time; an older database then only goes unseen on that store. A fence ends the round.
    fn untold(&self, place: &Place, error: Error) -> Result<Error> {
        if matches!(error, Error::Fenced(_)) {
            self.heed(&error);
            return Err(error);
        }
        tracing::warn!(store = %place.name, error = %chain(&error), "the mark could not be written");
        Ok(error)
    }

    /// Writes the mark, having seen that this database is the current one.
    async fn write_mark_on(&self, place: &Place, mark: u64) -> Result<()> {
        loop {
            let found = self.check_mark_on(place, mark).await?;
            if found.number == mark {
                // A ledger gives each mark once, and this one was given to us.
                return Err(Error::Fenced(format!(
                    "a copy of the database has written the mark {mark} on `{}`",
                    place.name
                )));
            }
            // Another one may have come meanwhile.
            if found.number > mark || marker::write_mark(&*place.store, mark, &found).await? {
                return Ok(());
            }
        }
    }

    /// The mark on a store, which the ledger is known to have meant for it if it is at most `known`. The ledger notes it first: where it
    /// has not, this one is an older copy, or a copy that is served beside it has gone on. Nor has a rebuild raised the epoch there.
    pub(crate) async fn check_mark_on(&self, place: &Place, known: u64) -> Result<Mark> {
        let Some(marker) = Marker::read(&*place.store).await?.filter(|found| found.itself == place.id) else {
            let why = format!("what lies there is not the store `{}`: its marker is gone, or is another's", place.name);
            return Err(Error::StoreUnavailable(Some(why.into())));
        };
        if marker.epoch > self.epoch {
            return Err(Error::Fenced(format!(
                "a rebuild has raised the epoch of `{}` to {}",
                place.name, marker.epoch
            )));
        }
        let found = marker::read_mark(&*place.store).await?;
        if found.number > known {
            // Read after the store's: another node of this ledger may have raised both since.
            let own = self.ledger.identity().await?.map_or(0, |identity| identity.mark_on(place.id));
            if found.number > own {
                let (store, found) = (&place.name, found.number);
                return Err(Error::Fenced(format!(
                    "the mark on `{store}` is {found}, the database has written {own} there"
                )));
            }
        }
        Ok(found)
    }

    /// Looks from time to time for what dead nodes left, as long as the node lives. One that has found out that its database is not
    /// the current one settles nothing by it.
    pub(crate) fn look_around(self: &Arc<Self>, every: Duration) {
        let (node, clock) = (Arc::downgrade(self), self.environment.clock.clone());
        self.environment.spawn.spawn(Box::pin(async move {
            loop {
                clock.sleep(every).await;
                let Some(node) = node.upgrade().filter(|node| !node.is_ending()) else { return };
                match node.look_once().await {
                    Ok(recovered) if recovered.finished + recovered.undone + recovered.settled > 0 => {
                        tracing::info!(?recovered, "settled what dead nodes had left");
                    }
                    Ok(_) => {}
                    Err(error) => {
                        node.heed(&error);
                        tracing::warn!(%error, "whether dead nodes left something can't be told now");
                    }
                }
            }
        }));
    }

    async fn look_once(self: &Arc<Self>) -> Result<Recovered> {
        self.check_standing()?;
        for (index, place) in self.places.iter().enumerate() {
            let checked = match self.check_mark_on(place, 0).await {
                Ok(_) => self.take_in(index).await,
                Err(error) => Err(error),
            };
            match checked {
                Err(fenced @ Error::Fenced(_)) => return Err(fenced),
                // A store that is away tells the next time.
                Err(error) => match told_of_age(&error) {
                    Some(why) => return Err(Error::Fenced(why)),
                    None => self.saw(index, false),
                },
                Ok(()) => self.saw(index, true),
            }
        }
        // What waits is tried again until it is settled, by a task that looks for everything.
        if self.state().is_recovering {
            return Ok(Recovered::default());
        }
        self.recover().await
    }

    /// What a start does about a store, of one that was away then: it must be the one that it was, comes to tell of all stores again,
    /// and what it knows of users and buckets is taken in. What dead nodes left there waits for no more than its answer.
    async fn take_in(self: &Arc<Self>, index: usize) -> Result<()> {
        if self.is_proven(index) {
            return Ok(());
        }
        let place = &self.places[index];
        let away = |error: StartError| match error {
            StartError::OlderDatabase { why } => Error::Fenced(why),
            other => Error::StoreUnavailable(Some(other.into())),
        };
        let proven = prove_one(&place.mount(), &*self.ledger, &self.secrets, self.epoch).await;
        let (marker, identity) = proven.map_err(away).inspect_err(|error| {
            tracing::warn!(store = %place.name, error = %chain(error), "a store that was away is not taken in");
        })?;
        tell_of_all(place, marker, &identity, &self.secrets).await.map_err(away)?;
        self.index_sealed_on(&[index]).await?;
        self.state().unproven.remove(&index);
        self.note_tombstones_soon(vec![index]);
        tracing::info!(store = %place.name, "a store that was away at the start is taken in");
        Ok(())
    }

    /// Notes whether a place answers.
    pub(crate) fn saw(&self, place: usize, answers: bool) {
        let mut state = self.state();
        let (changed, name) = (state.away.contains(&place) == answers, &self.places[place].name);
        match answers {
            true => drop(state.away.remove(&place)),
            false => drop(state.away.insert(place)),
        }
        match (changed, answers) {
            (true, true) => tracing::info!(store = %name, "a store is back"),
            (true, false) => tracing::warn!(store = %name, "a store is away"),
            (false, _) => {}
        }
    }

    /// Whether a place was there when the node started, or has gone through the rest of the start since.
    pub(crate) fn is_proven(&self, place: usize) -> bool {
        !self.state().unproven.contains(&place)
    }

    pub(crate) fn is_ending(&self) -> bool {
        let state = self.state();
        state.stopping || state.fenced.is_some()
    }

    /// Writes the mark soon: once for all commits that come meanwhile.
    pub(crate) fn mark_soon(self: &Arc<Self>) {
        if std::mem::replace(&mut self.state().mark_due, true) {
            return;
        }
        let node = Arc::downgrade(self);
        let wait = self.environment.clock.sleep(MARK_WITHIN);
        self.environment.spawn.spawn(Box::pin(async move {
            wait.await;
            let Some(node) = node.upgrade() else { return };
            let is_due = std::mem::take(&mut node.state().mark_due);
            if is_due && node.write_mark().await.is_err() && !node.is_ending() {
                node.mark_soon();
            }
        }));
    }

    /// Opens a claim, waiting for another one of the same file to close, and settling it where its node is dead.
    pub(crate) async fn claim(self: &Arc<Self>, file: FileId, purpose: Purpose) -> Result<Claim> {
        self.check_known_best(file).await?;
        let clock = &self.environment.clock;
        let deadline = clock.elapsed() + self.settings.claim_wait;
        let mut pause = CLAIM_POLL_MIN;
        loop {
            let at = self.time_of_claim();
            match self.ledger.claim(file, purpose, &self.node, at).await {
                Err(LedgerError::Busy) => {}
                Err(unsure @ LedgerError::Indeterminate(_)) => {
                    self.close_unanswered(file, at);
                    return Err(unsure.into());
                }
                answer => return answer.map_err(Error::from),
            }
            if let Some(held) = self.ledger.claim_of(file).await?
                && held.node != self.node
                && !self.is_alive(&held.node).await?
            {
                match self.settle_claim(&held).await {
                    // Another is at it.
                    Err(Error::Busy) => {}
                    settled => {
                        settled?;
                        continue;
                    }
                }
            }
            if clock.elapsed() >= deadline {
                return Err(Error::Busy);
            }
            clock.sleep(pause).await;
            pause = (pause * 2).min(CLAIM_POLL_MAX);
        }
    }

    /// The time, or a little later: it tells this node's claims apart.
    fn time_of_claim(&self) -> Timestamp {
        let now = self.environment.clock.now();
        let mut state = self.state();
        let next = state.claimed_at.map_or(now, |last| now.max(last.plus(Duration::from_millis(1))));
        *state.claimed_at.insert(next)
    }

    /// Settles a claim that may have been opened although its answer never came: nobody else would, as long as this node lives.
    fn close_unanswered(self: &Arc<Self>, file: FileId, at: Timestamp) {
        let node = self.clone();
        self.settle_until_done(move || {
            let node = node.clone();
            async move {
                match node.ledger.claim_of(file).await? {
                    Some(open) if open.node == node.node && open.opened_at == at => node.settle_claim(&open).await,
                    _ => Ok(()),
                }
            }
        });
    }

    /// This node's name where it settles what another has left: a key that it holds so is told from one that it holds for a request.
    pub(crate) fn settler(&self) -> NodeId {
        NodeId::new(&format!("{}{SETTLES}", self.node)).expect("a node's name is short and plain")
    }

    /// Whether a node lives: it is on the roll, or some store where nodes stage holds its lock. One that is not known to live is dead only
    /// where the roll and every store say so; of one that holds locks by what the roll says, a store of these tells that it is gone.
    pub(crate) async fn is_alive(&self, node: &NodeId) -> Result<bool> {
        let bare = node.as_str().strip_suffix(SETTLES).and_then(NodeId::new).or_else(|| name_claim::node_of(node));
        let node = bare.as_ref().unwrap_or(node);
        if *node == self.node {
            return Ok(true);
        }
        let (mut unknown, mut held) = (None, None);
        if let Some(roll) = &self.roll {
            match roll.presence(node).await {
                Ok(Presence::Present) => return Ok(true),
                Ok(Presence::Holding(stores)) => held = Some(stores),
                Ok(Presence::Absent) => {}
                Err(error) => unknown = Some(Error::StoreUnavailable(Some(error))),
            }
        }
        let mut is_gone = false;
        for (place, staging) in self.places.iter().filter_map(|place| Some((place, place.store.staging()?))) {
            match staging.is_alive(node).await {
                Ok(true) => return Ok(true),
                Ok(false) => is_gone |= held.as_ref().is_some_and(|held| held.contains(&place.id)),
                Err(error) => unknown = Some(error.into()),
            }
        }
        unknown.map_or(Ok(held.is_some() && !is_gone), Err)
    }

    /// Publishes and records, and remembers that the mark must follow.
    pub(crate) async fn commit(self: &Arc<Self>, commit: Commit) -> Result<Recorded, CommitError> {
        let result = self.committer.commit(commit).await;
        if let Err(CommitError::Unsettled(error)) = &result {
            self.heed(error);
        }
        self.mark_soon();
        result
    }

    /// Records an entry and closes a claim, with nothing to publish.
    pub(crate) async fn record(self: &Arc<Self>, entry: Option<Entry>, closes: Option<u64>) -> Result<Recorded> {
        self.record_one(Record { entry, closes, settles: None }).await
    }

    /// Records one member, with nothing to publish.
    pub(crate) async fn record_one(self: &Arc<Self>, record: Record) -> Result<Recorded> {
        let mut recorded = self.record_all(vec![record]).await?;
        Ok(recorded.pop().expect("one result for each record"))
    }

    /// Records a group with nothing to publish; answers the first failure.
    pub(crate) async fn record_all(self: &Arc<Self>, group: Vec<Record>) -> Result<Vec<Recorded>> {
        let results = self.ledger.record(group).await.into_iter();
        let result = results.map(|result| result.map_err(unrecorded)).collect();
        if let Err(error) = &result {
            self.heed(error);
        }
        self.mark_soon();
        result
    }

    /// Stops taking changes where the ledger says that it is no longer the current one.
    fn heed(&self, error: &Error) {
        if let Error::Fenced(why) = error {
            self.state().fence(why.clone());
        }
    }

    /// Closes a claim under which nothing has happened.
    pub(crate) async fn release(self: &Arc<Self>, claim: &Claim) {
        if let Err(error) = self.record(None, Some(claim.id)).await {
            tracing::warn!(file = %claim.file, %error, "a claim could not be closed, it is settled later");
            let (node, claim) = (self.clone(), claim.clone());
            self.settle_until_done(move || {
                let (node, claim) = (node.clone(), claim.clone());
                async move { node.settle_claim(&claim).await }
            });
        }
    }

    /// Repeats `attempt` until it succeeds or the node must stop. Until then the node is degraded.
    pub(crate) fn settle_until_done<F>(self: &Arc<Self>, attempt: impl Fn() -> F + Send + 'static)
    where
        F: Future<Output = Result<()>> + Send,
    {
        self.state().unsettled += 1;
        let node = self.clone();
        self.environment.spawn.spawn(Box::pin(async move {
            node.until_done(attempt).await;
            node.state().unsettled -= 1;
        }));
    }

    /// Repeats `attempt` until it succeeds; `None` where the node is fenced or stopped first.
    pub(crate) async fn until_done<T, F>(&self, attempt: impl Fn() -> F + Send) -> Option<T>
    where
        F: Future<Output = Result<T>> + Send,
    {
        let mut pause = SETTLE_PAUSE_MIN;
        loop {
            if self.state().fenced.is_some() {
                return None;
            }
            match attempt().await {
                Ok(done) => return Some(done),
                Err(Error::Fenced(why)) => {
                    self.state().fence(why);
                    return None;
                }
                Err(error) => tracing::warn!(%error, "an operation is not settled yet"),
            }
            // The next start goes on with it; one whose database is not the current one settles nothing by it.
            if self.is_ending() {
                return None;
            }
            self.environment.clock.sleep(pause).await;
            pause = (pause * 2).min(SETTLE_PAUSE_MAX);
        }
    }
}
