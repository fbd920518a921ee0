//! [`MemoryLedger`]: the reference of the contract and the simulation's database. It keeps its promises by doing each call under
//! one lock; it forgets everything when the last handle goes; it leaves delays, failures and crashes to [`Steps`].

use super::*;
use crate::CreatedByKey;
use futures_util::future::BoxFuture;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// What a simulator does around each call: waits, fails it, or never comes back.
pub trait Steps: Debug + Send + Sync + 'static {
    /// Is called with a method's name before its effect, and with the name and `.done` after its effect, before its answer. An
    /// error becomes the answer, of every member of a group.
    fn step(&self, name: &'static str) -> BoxFuture<'_, Result<()>>;
}

/// A ledger in memory. A clone is the same handle; [`MemoryLedger::another`] is one for another node.
///
/// A handle keeps the epoch that it first saw, or that it set by `initialise`; once the ledger's is higher, it is fenced.
#[derive(Clone)]
pub struct MemoryLedger {
    state: Arc<Mutex<State>>,
    epoch: Arc<Mutex<Option<u64>>>,
    steps: Option<Arc<dyn Steps>>,
}

/// All that a [`MemoryLedger`] held at one instant: a backup, to be restored as an older database.
#[derive(Clone, Debug)]
pub struct Snapshot(State);

#[derive(Clone, Debug, Default)]
struct State {
    identity: Option<Identity>,
    heads: BTreeMap<FileId, Head>,
    revisions: BTreeMap<FileId, BTreeMap<u64, Revision>>,
    given: BTreeMap<FileId, Given>,
    claims: BTreeMap<u64, Claim>,
    claims_given: u64,
    intents: BTreeMap<u64, Intent>,
    intents_given: u64,
    tombstones: BTreeMap<(FileId, Option<u64>), Tombstone>,
    reservations: BTreeMap<Sha256, Reservation>,
    users: BTreeMap<UserId, User>,
    buckets: BTreeMap<BucketId, Bucket>,
    sessions: BTreeMap<SessionId, Session>,
    directs: BTreeMap<DirectId, DirectUpload>,
    missed: BTreeMap<(StoreId, RecordId), (u64, u64)>,
}

#[derive(Clone, Debug)]
struct Head {
    attributes: Attributes,
    rank: Rank,
}

#[derive(Clone, Debug)]
struct Revision {
    row: RevisionRow,
    rank: Rank,
    copies: BTreeMap<StoreId, CopyRow>,
}

/// The highest numbers ever given or seen for a file. They outlive its row, so that none is given twice.
#[derive(Clone, Copy, Debug, Default)]
struct Given {
    version: u64,
    revision: u64,
}

impl MemoryLedger {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self { state: Arc::default(), epoch: Arc::default(), steps: None }
    }

    /// Another handle over the same ledger, as another process would open it: it has seen no epoch yet.
    #[must_use]
    pub fn another(&self) -> Self {
        Self { state: self.state.clone(), epoch: Arc::default(), steps: self.steps.clone() }
    }

    /// This handle with `steps` around each call.
    #[must_use]
    pub fn with_steps(self, steps: Arc<dyn Steps>) -> Self {
        Self { steps: Some(steps), ..self }
    }

    /// All that it holds now.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot(self.state().clone())
    }

    /// Puts an older (or another's) content in the place of what it holds, for every handle.
    pub fn restore(&self, snapshot: &Snapshot) {
        *self.state() = snapshot.0.clone();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn own_epoch(&self) -> MutexGuard<'_, Option<u64>> {
        self.epoch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn step(&self, name: &'static str) -> Result<()> {
        match &self.steps {
            Some(steps) => steps.step(name).await,
            None => Ok(()),
        }
    }

    /// The state for a change, where this handle may still make one.
    fn unfenced(&self) -> Result<MutexGuard<'_, State>> {
        let state = self.state();
        let Some(identity) = &state.identity else {
            return Err(LedgerError::Fenced("it belongs to no installation yet".into()));
        };
        let own = *self.own_epoch().get_or_insert(identity.epoch);
        if identity.epoch != own {
            return Err(LedgerError::Fenced(format!("its epoch is {}, this node's is {own}", identity.epoch)));
        }
        Ok(state)
    }

    async fn change<T>(
        &self,
        names: [&'static str; 2],
        effect: impl FnOnce(&mut State) -> Result<T> + Send,
    ) -> Result<T> {
        self.step(names[0]).await?;
        let result = self.unfenced().and_then(|mut state| effect(&mut state));
        self.step(names[1]).await?;
        result
    }

    async fn read<T>(&self, names: [&'static str; 2], answer: impl FnOnce(&State) -> T + Send) -> Result<T> {
        self.step(names[0]).await?;
        let result = answer(&self.state());
        self.step(names[1]).await?;
        Ok(result)
    }
}

impl Default for MemoryLedger {
    fn default() -> Self {
        Self::new()
    }
}

impl Debug for MemoryLedger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryLedger").field("epoch", &*self.own_epoch()).finish_non_exhaustive()
    }
}

/// A method's two steps.
macro_rules! steps {
    ($name:literal) => {
        [$name, concat!($name, ".done")]
    };
}

#[async_trait]
impl Ledger for MemoryLedger {
    async fn identity(&self) -> Result<Option<Identity>> {
        let identity = self.read(steps!("identity"), |state| state.identity.clone()).await?;
        if let Some(identity) = &identity {
            self.own_epoch().get_or_insert(identity.epoch);
        }
        Ok(identity)
    }

    async fn initialise(&self, identity: &Identity) -> Result<()> {
        self.step("initialise").await?;
        self.state().initialise(identity)?;
        *self.own_epoch() = Some(identity.epoch);
        self.step("initialise.done").await
    }

    async fn raise_mark(&self, told: &[StoreId]) -> Result<u64> {
        self.change(steps!("raise_mark"), |state| {
            let identity = state.identity.as_mut().expect("only an initialised ledger takes changes");
            Ok(identity.raise_mark(told))
        })
        .await
    }

    async fn claim(&self, file: FileId, purpose: Purpose, node: &NodeId, now: Timestamp) -> Result<Claim> {
        self.change(steps!("claim"), |state| state.claim(file, purpose, node, now)).await
    }

    async fn harden(&self, claim: u64, purge: Purpose) -> Result<()> {
        self.change(steps!("harden"), |state| {
            let open = state.claims.get_mut(&claim).ok_or(LedgerError::NotFound)?;
            if ![Purpose::Change, purge].contains(&open.purpose) {
                return Err(LedgerError::Busy);
            }
            open.purpose = purge;
            Ok(())
        })
        .await
    }

    async fn take_over(&self, claim: u64, from: &NodeId, to: &NodeId) -> Result<Claim> {
        self.change(steps!("take_over"), |state| {
            let open = state.claims.get_mut(&claim).ok_or(LedgerError::NotFound)?;
            if open.node != *from {
                return Err(LedgerError::Busy);
            }
            open.node = to.clone();
            Ok(open.clone())
        })
        .await
    }

    async fn claim_of(&self, file: FileId) -> Result<Option<Claim>> {
        self.read(steps!("claim_of"), |state| state.claim_of(file).cloned()).await
    }

    async fn claims(&self) -> Result<Vec<Claim>> {
        self.read(steps!("claims"), |state| state.claims.values().cloned().collect()).await
    }

    async fn open_intent(&self, node: &NodeId, upload: &Upload) -> Result<Intent> {
        self.change(steps!("open_intent"), |state| Ok(state.open_intent(node, upload))).await
    }

    async fn renew_intent(&self, hold: Hold, upload: &Upload) -> Result<()> {
        self.change(steps!("renew_intent"), |state| {
            let intent = state.held(hold)?;
            if intent.state != IntentState::Pending {
                return Err(LedgerError::Superseded);
            }
            intent.upload = upload.clone();
            Ok(())
        })
        .await
    }

    async fn fence_intent(&self, seen: Hold, node: &NodeId) -> Result<Intent> {
        self.change(steps!("fence_intent"), |state| state.fence_intent(seen, node)).await
    }

    async fn fail_intent(&self, hold: Hold) -> Result<()> {
        self.change(steps!("fail_intent"), |state| state.fail_intent(hold)).await
    }

    async fn close_intent(&self, hold: Hold) -> Result<()> {
        self.change(steps!("close_intent"), |state| {
            state.held(hold)?;
            state.intents.remove(&hold.intent);
            Ok(())
        })
        .await
    }

    async fn intents(&self) -> Result<Vec<Intent>> {
        self.read(steps!("intents"), |state| state.intents.values().cloned().collect()).await
    }

    async fn record(&self, records: Vec<Record>) -> Vec<Result<Recorded>> {
        let members = records.len();
        let group =
            self.change(steps!("record"), |state| Ok(records.into_iter().map(|record| state.take(record)).collect()));
        group.await.unwrap_or_else(|error| (0..members).map(|_| Err(error.echo())).collect())
    }

    async fn reserve(&self, key: Sha256, node: &NodeId, since: Timestamp) -> Result<Reservation> {
        self.change(steps!("reserve"), |state| Ok(state.reserve(key, node, since))).await
    }

    async fn unreserve(&self, key: Sha256, node: &NodeId) -> Result<()> {
        self.change(steps!("unreserve"), |state| {
            state.unreserve(key, node);
            Ok(())
        })
        .await
    }

    async fn unreserve_all(&self, node: &NodeId) -> Result<()> {
        self.change(steps!("unreserve_all"), |state| {
            state.reservations.retain(|_, reservation| !reservation.runs_on(node));
            Ok(())
        })
        .await
    }

    async fn nodes(&self) -> Result<Vec<NodeId>> {
        self.read(steps!("nodes"), State::nodes).await
    }

    async fn open_session(&self, session: &Session, of: Option<Rank>, most: usize, now: Timestamp) -> Result<()> {
        self.change(steps!("open_session"), |state| state.open_session(session, of, most, now)).await
    }

    async fn refresh_session(&self, id: SessionId, serial: u64, until: Timestamp, now: Timestamp) -> Result<Refreshed> {
        self.change(steps!("refresh_session"), |state| Ok(state.refresh_session(id, serial, until, now))).await
    }

    async fn end_session(&self, id: SessionId) -> Result<()> {
        self.change(steps!("end_session"), |state| {
            state.sessions.remove(&id);
            Ok(())
        })
        .await
    }

    async fn session(&self, id: SessionId) -> Result<Option<Session>> {
        self.read(steps!("session"), |state| state.sessions.get(&id).cloned()).await
    }

    async fn open_direct(&self, upload: &DirectUpload, most: usize, now: Timestamp) -> Result<()> {
        self.change(steps!("open_direct"), |state| state.open_direct(upload, most, now)).await
    }

    async fn direct(&self, id: DirectId) -> Result<Option<DirectUpload>> {
        self.read(steps!("direct"), |state| state.directs.get(&id).cloned()).await
    }

    async fn end_direct(&self, id: DirectId) -> Result<()> {
        self.change(steps!("end_direct"), |state| {
            state.directs.remove(&id);
            Ok(())
        })
        .await
    }

    async fn file(&self, id: FileId) -> Result<Option<FileRow>> {
        self.read(steps!("file"), |state| state.heads.get(&id).map(|head| state.row(head))).await
    }

    async fn files(&self, query: &FileQuery) -> Result<Vec<FileRow>> {
        self.read(steps!("files"), |state| state.files(query)).await
    }

    async fn revisions(&self, id: FileId) -> Result<Vec<RevisionRow>> {
        self.read(steps!("revisions"), |state| {
            state.revisions.get(&id).map(|all| all.values().map(Revision::row).collect()).unwrap_or_default()
        })
        .await
    }

    async fn revisions_behind(&self, id: FileId, after: u64, limit: usize) -> Result<Vec<RevisionRow>> {
        let rows = self.revisions(id).await?;
        Ok(rows.into_iter().filter(|row| row.revision > after).take(limit).collect())
    }

    async fn revision(&self, id: FileId, revision: u64) -> Result<Option<RevisionRow>> {
        self.read(steps!("revision"), |state| state.revisions.get(&id)?.get(&revision).map(Revision::row)).await
    }

    async fn placed(&self, query: &PlacedQuery) -> Result<Vec<Placed>> {
        self.read(steps!("placed"), |state| state.placed(query)).await
    }

    async fn copy_counts(&self) -> Result<Vec<CopyCount>> {
        self.read(steps!("copy_counts"), State::copy_counts).await
    }

    async fn tombstone(&self, id: FileId, revision: Option<u64>) -> Result<Option<Tombstone>> {
        self.read(steps!("tombstone"), |state| state.tombstones.get(&(id, revision)).cloned()).await
    }

    async fn tombstones(&self, after: Option<(FileId, Option<u64>)>, limit: usize) -> Result<Vec<Tombstone>> {
        self.read(steps!("tombstones"), |state| {
            let behind = state.tombstones.iter().filter(|(place, _)| after.is_none_or(|after| **place > after));
            behind.take(limit).map(|(_, tombstone)| tombstone.clone()).collect()
        })
        .await
    }

    async fn missed(&self, store: StoreId, after: Option<RecordId>, limit: usize) -> Result<Vec<Missed>> {
        self.read(steps!("missed"), |state| {
            let of_store = state.missed.iter().filter(|((of, record), _)| *of == store && after < Some(*record));
            let told = |((_, record), rank): (&(StoreId, RecordId), &(u64, u64))| {
                let (record, (epoch, version)) = (*record, *rank);
                Missed { store, record, epoch, version }
            };
            of_store.take(limit).map(told).collect()
        })
        .await
    }

    async fn users(&self) -> Result<Vec<User>> {
        self.read(steps!("users"), |state| state.users.values().cloned().collect()).await
    }

    async fn users_behind(&self, after: Option<UserId>, limit: usize) -> Result<Vec<User>> {
        self.read(steps!("users_behind"), |state| {
            let behind = state.users.iter().filter(|(id, _)| after.is_none_or(|after| **id > after));
            behind.take(limit).map(|(_, user)| user.clone()).collect()
        })
        .await
    }

    async fn user_named(&self, name: &str) -> Result<Option<User>> {
        self.read(steps!("user_named"), |state| state.users.values().find(|user| user.name.as_str() == name).cloned())
            .await
    }

    async fn user(&self, id: UserId) -> Result<Option<User>> {
        self.read(steps!("user"), |state| state.users.get(&id).cloned()).await
    }

    async fn buckets(&self) -> Result<Vec<Bucket>> {
        self.read(steps!("buckets"), |state| state.buckets.values().cloned().collect()).await
    }
}

/// Changes. Each checks everything before it touches anything: one that fails leaves no trace.
impl State {
    fn initialise(&mut self, identity: &Identity) -> Result<()> {
        match &self.identity {
            Some(now) if now.instance != identity.instance => {
                Err(LedgerError::Fenced(format!("it belongs to the installation {}", now.instance)))
            }
            Some(now) if now.epoch > identity.epoch || now.mark > identity.mark => Err(LedgerError::Fenced(format!(
                "its epoch and mark are {} and {}, they can't fall to {} and {}",
                now.epoch, now.mark, identity.epoch, identity.mark
            ))),
            _ => {
                self.identity = Some(identity.clone());
                Ok(())
            }
        }
    }

    fn claim(&mut self, file: FileId, purpose: Purpose, node: &NodeId, now: Timestamp) -> Result<Claim> {
        if self.tombstones.contains_key(&(file, None)) {
            return Err(LedgerError::Tombstoned);
        }
        if !self.heads.contains_key(&file) {
            return Err(LedgerError::NotFound);
        }
        if self.claim_of(file).is_some() {
            return Err(LedgerError::Busy);
        }
        let given = self.given.entry(file).or_default();
        let (Some(version), Some(revision)) = (given.version.checked_add(1), given.revision.checked_add(1)) else {
            return Err(LedgerError::Internal("no number is left above the file's version or revision".into()));
        };
        *given = Given { version, revision };
        self.claims_given += 1;
        let claim = Claim {
            id: self.claims_given,
            file,
            purpose,
            node: node.clone(),
            version: given.version,
            revision: given.revision,
            opened_at: now,
        };
        self.claims.insert(claim.id, claim.clone());
        Ok(claim)
    }

    fn open_intent(&mut self, node: &NodeId, upload: &Upload) -> Intent {
        self.intents_given += 1;
        let (id, state) = (self.intents_given, IntentState::Pending);
        let intent = Intent { id, fence: 1, state, node: node.clone(), upload: upload.clone() };
        self.intents.insert(id, intent.clone());
        intent
    }

    fn held(&mut self, hold: Hold) -> Result<&mut Intent> {
        self.intents.get_mut(&hold.intent).filter(|intent| intent.fence == hold.fence).ok_or(LedgerError::Superseded)
    }

    fn fence_intent(&mut self, seen: Hold, node: &NodeId) -> Result<Intent> {
        let intent = self.held(seen)?;
        let from = std::mem::replace(&mut intent.node, node.clone());
        intent.fence += 1;
        if intent.state == IntentState::Pending {
            intent.state = IntentState::Recovering;
        }
        let taken = intent.clone();
        let reserved = taken.upload.idempotency.and_then(|key| self.reservations.get_mut(&key));
        if let Some(reservation) = reserved.filter(|reservation| reservation.runs_on(&from)) {
            *reservation = Reservation::Running { node: node.clone() };
        }
        Ok(taken)
    }

    fn fail_intent(&mut self, hold: Hold) -> Result<()> {
        let intent = self.held(hold)?;
        intent.state = IntentState::Failed;
        let node = intent.node.clone();
        let (claim, key) = (intent.upload.claim.take(), intent.upload.idempotency.take());
        if let Some(claim) = claim {
            self.claims.remove(&claim);
        }
        if let Some(key) = key {
            self.unreserve(key, &node);
        }
        Ok(())
    }

    fn unreserve(&mut self, key: Sha256, node: &NodeId) {
        self.reservations.retain(|other, reservation| *other != key || !reservation.runs_on(node));
    }

    fn take(&mut self, record: Record) -> Result<Recorded> {
        record.settles.map_or(Ok(()), |hold| self.held(hold).map(drop))?;
        let recorded = match record.entry {
            None => Recorded::Taken,
            Some(Entry::Attributes { attributes, copies }) => self.take_attributes(*attributes, copies),
            Some(Entry::Tombstone(tombstone)) => self.take_tombstone(*tombstone),
            Some(Entry::Copies { file, revision, copies }) => self.take_copies(file, revision, copies),
            Some(Entry::Unwanted { file, revision, store, state }) => {
                if let Some(known) = self.revisions.get_mut(&file).and_then(|revisions| revisions.get_mut(&revision)) {
                    known.copies.retain(|at, copy| (*at, copy.state) != (store, state));
                }
                Recorded::Taken
            }
            Some(Entry::User(user)) => self.take_user(*user)?,
            Some(Entry::Bucket(bucket)) => self.take_bucket(*bucket)?,
            Some(Entry::Missed(missed)) => {
                let known = self.missed.entry((missed.store, missed.record)).or_default();
                *known = missed.rank().max(*known);
                Recorded::Taken
            }
            Some(Entry::Carried(carried)) => {
                let place = (carried.store, carried.record);
                self.missed.retain(|known, rank| *known != place || *rank > carried.rank());
                Recorded::Taken
            }
            Some(Entry::Forget(file)) => {
                self.drop_rows(file);
                Recorded::Taken
            }
        };
        if let Some(claim) = record.closes {
            self.claims.remove(&claim);
        }
        if let Some(hold) = record.settles.filter(|_| recorded != Recorded::Tombstoned) {
            self.intents.remove(&hold.intent);
        }
        Ok(recorded)
    }

    fn take_attributes(&mut self, attributes: Attributes, copies: Vec<CopyRow>) -> Recorded {
        let (file, rank) = (attributes.id, attributes.rank());
        self.seen(file, attributes.version, attributes.revision);
        if self.covered(file, attributes.revision) {
            return Recorded::Tombstoned;
        }
        self.settle(attributes.created_by_key.as_slice(), Made::File(file));
        self.take_revision(&attributes, rank, copies);
        match self.heads.get(&file) {
            Some(head) if head.rank > rank => Recorded::Outranked,
            _ => {
                self.heads.insert(file, Head { attributes, rank });
                Recorded::Taken
            }
        }
    }

    /// Of two keys with one revision number the higher rank is the revision: the other's copies are of other bytes.
    fn take_revision(&mut self, attributes: &Attributes, rank: Rank, copies: Vec<CopyRow>) {
        let revisions = self.revisions.entry(attributes.id).or_default();
        let known = revisions.entry(attributes.revision).or_insert_with(|| Revision::new(attributes, rank));
        let same_bytes = known.row.key == attributes.key;
        if rank > known.rank {
            let kept = if same_bytes { std::mem::take(&mut known.copies) } else { BTreeMap::new() };
            *known = Revision { copies: kept, ..Revision::new(attributes, rank) };
        } else if !same_bytes {
            return;
        }
        known.set(copies);
    }

    fn take_tombstone(&mut self, tombstone: Tombstone) -> Recorded {
        let (file, revision) = (tombstone.id, tombstone.revision);
        self.seen(file, tombstone.version, revision.unwrap_or(0));
        self.settle(&tombstone.created_by_key, Made::File(file));
        match revision {
            None => self.drop_rows(file),
            Some(revision) => {
                self.revisions.get_mut(&file).and_then(|revisions| revisions.remove(&revision));
            }
        }
        match self.tombstones.get(&(file, revision)) {
            Some(known) if known.rank() > tombstone.rank() => Recorded::Outranked,
            _ => {
                self.tombstones.insert((file, revision), tombstone);
                Recorded::Taken
            }
        }
    }

    fn take_copies(&mut self, file: FileId, revision: u64, copies: Vec<CopyRow>) -> Recorded {
        if let Some(known) = self.revisions.get_mut(&file).and_then(|revisions| revisions.get_mut(&revision)) {
            known.set(copies);
        }
        if self.covered(file, revision) { Recorded::Tombstoned } else { Recorded::Taken }
    }

    fn take_user(&mut self, user: User) -> Result<Recorded> {
        if self.users.get(&user.id).is_some_and(|known| known.rank() > user.rank()) {
            return Ok(Recorded::Outranked);
        }
        if self.users.values().any(|other| other.id != user.id && other.name == user.name) {
            return Err(LedgerError::Taken(user.name.into()));
        }
        self.settle(user.created_by_key.as_slice(), Made::User(user.id));
        if self.users.get(&user.id) != Some(&user) {
            self.sessions.retain(|_, session| session.user != user.id);
        }
        self.users.insert(user.id, user);
        Ok(Recorded::Taken)
    }

    fn take_bucket(&mut self, bucket: Bucket) -> Result<Recorded> {
        if self.buckets.get(&bucket.id).is_some_and(|known| known.rank() > bucket.rank()) {
            return Ok(Recorded::Outranked);
        }
        if self.buckets.values().any(|other| other.id != bucket.id && other.name == bucket.name) {
            return Err(LedgerError::Taken(bucket.name.into()));
        }
        self.buckets.insert(bucket.id, bucket);
        Ok(Recorded::Taken)
    }

    fn reserve(&mut self, key: Sha256, node: &NodeId, since: Timestamp) -> Reservation {
        match self.reservations.get(&key) {
            Some(Reservation::Done { at, .. }) if *at < since => {}
            Some(known) => return known.clone(),
            None => {}
        }
        self.reservations.insert(key, Reservation::Running { node: node.clone() });
        Reservation::Made
    }

    /// The latest of two requests with one key stays: the earlier was forgotten when the later was let in.
    fn settle(&mut self, made_by: &[CreatedByKey], made: Made) {
        for CreatedByKey { key, request, status, at } in made_by {
            let known = self.reservations.get(key);
            if !matches!(known, Some(Reservation::Done { at: known, made: other, .. }) if (*known, *other) > (*at, made))
            {
                let done = Reservation::Done { request: *request, status: *status, made, at: *at };
                self.reservations.insert(*key, done);
            }
        }
    }

    fn open_session(&mut self, session: &Session, of: Option<Rank>, most: usize, now: Timestamp) -> Result<()> {
        let user = self.users.get(&session.user);
        if user.map(User::rank) != of || user.is_some_and(|user| user.gone_at.is_some()) {
            return Err(LedgerError::NotFound);
        }
        self.sessions.retain(|_, other| other.is_open(now));
        let mut of_user: Vec<_> = self.sessions.values().filter(|other| other.user == session.user).collect();
        of_user.sort_by_key(|other| (other.until, other.id));
        let over = (of_user.len() + 1).saturating_sub(most);
        for id in of_user.into_iter().take(over).map(|other| other.id).collect::<Vec<_>>() {
            self.sessions.remove(&id);
        }
        self.sessions.insert(session.id, session.clone());
        Ok(())
    }

    fn refresh_session(&mut self, id: SessionId, serial: u64, until: Timestamp, now: Timestamp) -> Refreshed {
        let Some(session) = self.sessions.remove(&id).filter(|session| session.is_open(now)) else {
            return Refreshed::Absent;
        };
        if session.serial != serial {
            return Refreshed::Spent(session);
        }
        let next = session.refreshed(until);
        self.sessions.insert(id, next.clone());
        Refreshed::Next(next)
    }

    fn open_direct(&mut self, upload: &DirectUpload, most: usize, now: Timestamp) -> Result<()> {
        self.directs.retain(|_, other| other.is_open(now));
        if self.directs.values().filter(|other| other.user == upload.user).count() >= most {
            return Err(LedgerError::Busy);
        }
        self.directs.insert(upload.id, upload.clone());
        Ok(())
    }

    fn seen(&mut self, file: FileId, version: u64, revision: u64) {
        let given = self.given.entry(file).or_default();
        *given = Given { version: given.version.max(version), revision: given.revision.max(revision) };
    }

    fn drop_rows(&mut self, file: FileId) {
        self.heads.remove(&file);
        self.revisions.remove(&file);
    }
}

/// Answers.
impl State {
    fn claim_of(&self, file: FileId) -> Option<&Claim> {
        self.claims.values().find(|claim| claim.file == file)
    }

    fn covered(&self, file: FileId, revision: u64) -> bool {
        [None, Some(revision)].iter().any(|of| self.tombstones.contains_key(&(file, *of)))
    }

    fn row(&self, head: &Head) -> FileRow {
        let attributes = head.attributes.clone();
        let newest = self.revisions.get(&attributes.id).and_then(|revisions| revisions.get(&attributes.revision));
        FileRow { copies: newest.map(|newest| newest.row().copies).unwrap_or_default(), attributes }
    }

    fn files(&self, query: &FileQuery) -> Vec<FileRow> {
        let wanted = self.heads.values().filter(|head| query.wants(&head.attributes));
        let placed = wanted.map(|head| (Position::of(&head.attributes, query.sort), head));
        let mut placed: Vec<_> = placed.filter(|(place, _)| query.is_behind(place)).collect();
        placed.sort_by(|(place, _), (other, _)| if query.descending { other.cmp(place) } else { place.cmp(other) });
        placed.into_iter().take(query.limit).map(|(_, head)| self.row(head)).collect()
    }

    fn placed(&self, query: &PlacedQuery) -> Vec<Placed> {
        let wanted = |placed: &Placed| {
            query.after.is_none_or(|after| (placed.file, placed.revision) > after)
                && (!query.due || placed.copies.iter().any(CopyRow::is_due))
        };
        let placed = self.revisions.iter().filter_map(|(file, revisions)| {
            let bucket = self.heads.get(file)?.attributes.bucket_id;
            let copies = |of: &Revision| of.copies.values().cloned().collect();
            Some(revisions.iter().map(move |(number, of)| Placed {
                file: *file,
                revision: *number,
                bucket,
                copies: copies(of),
            }))
        });
        placed.flatten().filter(wanted).take(query.limit).collect()
    }

    fn copy_counts(&self) -> Vec<CopyCount> {
        let mut counts = BTreeMap::new();
        for copy in self.revisions.values().flatten().flat_map(|(_, revision)| revision.copies.values()) {
            let none = CopyCount { store: copy.store, readable: 0, due: 0 };
            let count = counts.entry(copy.store).or_insert(none);
            count.readable += u64::from(copy.is_readable());
            count.due += u64::from(copy.is_due() || copy.state == CopyState::Dropping);
        }
        counts.into_values().collect()
    }

    fn nodes(&self) -> Vec<NodeId> {
        let claiming = self.claims.values().map(|claim| &claim.node);
        let reserving = self.reservations.values().filter_map(|reservation| match reservation {
            Reservation::Running { node } => Some(node),
            _ => None,
        });
        claiming.chain(reserving).cloned().collect::<BTreeSet<_>>().into_iter().collect()
    }
}

impl Revision {
    fn new(attributes: &Attributes, rank: Rank) -> Self {
        Self { row: RevisionRow::of(attributes), rank, copies: BTreeMap::new() }
    }

    fn set(&mut self, copies: Vec<CopyRow>) {
        for copy in copies {
            if self.copies.get(&copy.store).is_none_or(|known| copy.replaces(known)) {
                self.copies.insert(copy.store, copy);
            }
        }
    }

    fn row(&self) -> RevisionRow {
        RevisionRow { copies: self.copies.values().cloned().collect(), ..self.row.clone() }
    }
}

impl Reservation {
    fn runs_on(&self, node: &NodeId) -> bool {
        matches!(self, Self::Running { node: on } if on == node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    /// Fails the calls whose step is named.
    #[derive(Debug)]
    struct Failing(&'static str);

    impl Steps for Failing {
        fn step(&self, name: &'static str) -> BoxFuture<'_, Result<()>> {
            Box::pin(
                async move { if name == self.0 { Err(LedgerError::Unavailable("failed".into())) } else { Ok(()) } },
            )
        }
    }

    fn identity(epoch: u64) -> Identity {
        Identity { instance: Uuid::from_u128(1), epoch, mark: 0, stores: vec![], marks: [].into() }
    }

    #[tokio::test]
    async fn a_step_before_the_effect_prevents_it_and_one_after_it_only_loses_the_answer() {
        let ledger = MemoryLedger::new();
        ledger.initialise(&identity(1)).await.unwrap();
        let before = ledger.clone().with_steps(Arc::new(Failing("raise_mark")));
        assert!(before.raise_mark(&[]).await.is_err());
        assert_eq!(ledger.identity().await.unwrap().unwrap().mark, 0);
        let after = ledger.clone().with_steps(Arc::new(Failing("raise_mark.done")));
        assert!(after.raise_mark(&[]).await.is_err());
        assert_eq!(ledger.identity().await.unwrap().unwrap().mark, 1);
    }

    #[tokio::test]
    async fn a_restored_snapshot_is_an_older_ledger_for_every_handle() {
        let ledger = MemoryLedger::new();
        ledger.initialise(&identity(1)).await.unwrap();
        let other = ledger.another();
        let snapshot = ledger.snapshot();
        assert_eq!(other.raise_mark(&[]).await.unwrap(), 1);
        ledger.restore(&snapshot);
        assert_eq!(other.identity().await.unwrap().unwrap().mark, 0);
    }
}
