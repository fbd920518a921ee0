//! [`Database`]: what a simulated installation keeps its ledger in, and [`Watched`], the ledger as one simulated node sees it.

use super::{bugs::Bug, executor::Process, world::World};
use crate::{
    Bucket, DirectId, FileId, Ledger, Page, Rank, SessionId, Sha256, StoreId, Timestamp, Tombstone, User, UserId,
    ledger::{
        Claim, CopyCount, CopyRow, CopyState, DirectUpload, Entry, FileQuery, FileRow, Hold, Identity, Intent,
        LedgerError, MemoryLedger, Missed, Placed, PlacedQuery, Purpose, Record, RecordId, Recorded, Refreshed,
        Reservation, Result, RevisionRow, Session, Upload,
    },
    name_claim,
    sealed::Sealed,
};
use async_trait::async_trait;
use futures_util::{FutureExt, future::BoxFuture};
use larder_storage_core::{Key, NodeId};
use std::{fmt, sync::Arc, time::Duration};

/// A database that any number of nodes can open.
pub trait Database: Send + Sync {
    /// Opens it as one more process does.
    fn open(&self) -> Arc<dyn Ledger>;

    /// Another database with the content that this one has now; `None` where that can't be had.
    fn back_up(&self) -> Option<Arc<dyn Database>>;

    /// Runs one call of a ledger to its end, as one atomic step of the history.
    fn complete(&self, call: BoxFuture<'_, ()>);
}

/// [`MemoryLedger`] as a database.
#[derive(Debug, Default)]
pub struct MemoryDatabase(MemoryLedger);

impl Database for MemoryDatabase {
    fn open(&self) -> Arc<dyn Ledger> {
        Arc::new(self.0.another())
    }

    fn back_up(&self) -> Option<Arc<dyn Database>> {
        let copy = MemoryLedger::new();
        copy.restore(&self.0.snapshot());
        Some(Arc::new(Self(copy)))
    }

    fn complete(&self, call: BoxFuture<'_, ()>) {
        call.now_or_never().expect("a ledger in memory waits for nothing");
    }
}

/// A ledger as one node sees it: the world may delay each call, fail it before its effect or lose its answer, or kill the node.
pub(super) struct Watched {
    inner: Arc<dyn Ledger>,
    database: Arc<dyn Database>,
    world: Arc<World>,
    process: Process,
}

impl Watched {
    pub(super) fn open(database: Arc<dyn Database>, world: Arc<World>, process: Process) -> Self {
        Self { inner: database.open(), database, world, process }
    }

    /// One call, as one atomic step with a fault before it or after it.
    async fn call<T: Send>(&self, name: &'static str, call: BoxFuture<'_, Result<T>>) -> Result<T> {
        let mut group = self.group(name, async { vec![call.await] }.boxed(), 1).await;
        group.pop().expect("one was asked for")
    }

    async fn group<T: Send>(
        &self,
        name: &'static str,
        call: BoxFuture<'_, Vec<Result<T>>>,
        members: usize,
    ) -> Vec<Result<T>> {
        let all = |error: LedgerError| (0..members).map(|_| Err(error.echo())).collect();
        if let Err(error) = self.world.ledger_step(self.process, name, false).await {
            return all(error);
        }
        let mut answer = None;
        self.database.complete(async { answer = Some(call.await) }.boxed());
        match self.world.ledger_step(self.process, name, true).await {
            Ok(()) => answer.expect("it was run to its end"),
            Err(error) => all(error),
        }
    }

    fn bug(&self, bug: Bug) -> bool {
        self.world.bites(bug)
    }

    /// The intent as it is opened, or one that is held back.
    async fn open_wrongly(&self, node: &NodeId, upload: &Upload) -> Result<Intent> {
        let intent = self.inner.open_intent(node, upload).await?;
        if self.bug(Bug::IntentForgotten) || self.bug(Bug::IntentTooLate) {
            self.inner.close_intent(intent.hold()).await?;
            self.world.state().withheld.insert(intent.id, (node.clone(), upload.clone()));
        }
        Ok(intent)
    }

    /// The reservation as it is, or what a ledger says that gives away the names of the dead.
    async fn reserve_wrongly(&self, key: Sha256, node: &NodeId, since: Timestamp) -> Result<Reservation> {
        let reservation = self.inner.reserve(key, node, since).await?;
        match &reservation {
            Reservation::Running { node: holder }
                if let Some(of) = name_claim::node_of(holder)
                    && !self.world.is_up(&of)
                    && self.bug(Bug::NameGivenAway) =>
            {
                self.inner.unreserve(key, holder).await?;
                self.inner.reserve(key, node, since).await
            }
            _ => Ok(reservation),
        }
    }

    /// What a hold means to the right ledger; `None` of an intent that is held back.
    fn real(&self, hold: Hold) -> Option<Hold> {
        let state = self.world.state();
        let withheld = state.withheld.contains_key(&hold.intent);
        state.opened_late.get(&hold.intent).copied().or_else(|| (!withheld).then_some(hold))
    }

    /// The claim as it is given, or as a wrong ledger gives it.
    async fn claim_wrongly(&self, file: FileId, purpose: Purpose, node: &NodeId, now: Timestamp) -> Result<Claim> {
        let mut claim = self.inner.claim(file, purpose, node, now).await;
        if matches!(claim, Err(LedgerError::Busy))
            && self.bug(Bug::ClaimShared)
            && let Some(other) = self.inner.claim_of(file).await?
        {
            let _ = self.inner.record(vec![Record { closes: Some(other.id), ..Record::default() }]).await;
            claim = self.inner.claim(file, purpose, node, now).await;
        }
        let mut claim = claim?;
        if self.bug(Bug::VersionReused)
            && let Some(row) = self.inner.file(file).await?
        {
            claim.version = row.attributes.version;
        }
        Ok(claim)
    }
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched").field("inner", &self.inner).field("process", &self.process).finish_non_exhaustive()
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl Ledger for Watched {
    async fn identity(&self) -> Result<Option<Identity>> {
        self.call("identity", self.inner.identity()).await
    }

    async fn initialise(&self, identity: &Identity) -> Result<()> {
        self.call("initialise", self.inner.initialise(identity)).await
    }

    async fn raise_mark(&self, told: &[StoreId]) -> Result<u64> {
        self.call("raise_mark", self.inner.raise_mark(told)).await
    }

    async fn claim(&self, file: FileId, purpose: Purpose, node: &NodeId, now: Timestamp) -> Result<Claim> {
        self.call("claim", self.claim_wrongly(file, purpose, node, now).boxed()).await
    }

    async fn harden(&self, claim: u64, purge: Purpose) -> Result<()> {
        self.call("harden", self.inner.harden(claim, purge)).await
    }

    async fn take_over(&self, claim: u64, from: &NodeId, to: &NodeId) -> Result<Claim> {
        self.call("take_over", self.inner.take_over(claim, from, to)).await
    }

    async fn claim_of(&self, file: FileId) -> Result<Option<Claim>> {
        self.call("claim_of", self.inner.claim_of(file)).await
    }

    async fn claims(&self) -> Result<Vec<Claim>> {
        self.call("claims", self.inner.claims()).await
    }

    async fn open_intent(&self, node: &NodeId, upload: &Upload) -> Result<Intent> {
        self.call("open_intent", self.open_wrongly(node, upload).boxed()).await
    }

    async fn renew_intent(&self, hold: Hold, upload: &Upload) -> Result<()> {
        let Some(hold) = self.real(hold) else { return Ok(()) };
        self.call("renew_intent", self.inner.renew_intent(hold, upload)).await
    }

    async fn fence_intent(&self, seen: Hold, node: &NodeId) -> Result<Intent> {
        self.call("fence_intent", self.inner.fence_intent(seen, node)).await
    }

    async fn fail_intent(&self, hold: Hold) -> Result<()> {
        let Some(hold) = self.real(hold) else { return Ok(()) };
        let fail = async {
            self.inner.fail_intent(hold).await?;
            if self.bug(Bug::SecondLookSkipped) { self.inner.close_intent(hold).await } else { Ok(()) }
        };
        self.call("fail_intent", fail.boxed()).await
    }

    async fn close_intent(&self, hold: Hold) -> Result<()> {
        self.call("close_intent", self.inner.close_intent(hold)).await
    }

    async fn intents(&self) -> Result<Vec<Intent>> {
        let mut intents = self.call("intents", self.inner.intents()).await?;
        if self.bug(Bug::LeaseIgnored) {
            intents.iter_mut().for_each(|intent| intent.upload.lease = Duration::ZERO);
        }
        Ok(intents)
    }

    async fn record(&self, records: Vec<Record>) -> Vec<Result<Recorded>> {
        let members = records.len();
        if self.bug(Bug::AnswersBeforeCommit) {
            return (0..members).map(|_| Ok(Recorded::Taken)).collect();
        }
        let real = |record: Record| Record { settles: record.settles.and_then(|hold| self.real(hold)), ..record };
        let mut records: Vec<Record> = records.into_iter().map(real).collect();
        if self.bug(Bug::DropForgotten) {
            forget_drops(&mut records);
        }
        if self.bug(Bug::NoteForgotten) {
            records.iter_mut().for_each(forget_notes);
        }
        if self.bug(Bug::MissedForgotten) {
            let is_note = |record: &Record| matches!(record.entry, Some(Entry::Missed(_)));
            records.iter_mut().filter(|record| is_note(record)).for_each(|record| record.entry = None);
        }
        self.group("record", self.inner.record(records), members).await
    }

    async fn reserve(&self, key: Sha256, node: &NodeId, since: Timestamp) -> Result<Reservation> {
        let is_name = name_claim::node_of(node).is_some();
        if self.bug(Bug::KeyForgotten) && !is_name || self.bug(Bug::NameForgotten) && is_name {
            return Ok(Reservation::Made);
        }
        self.call("reserve", self.reserve_wrongly(key, node, since).boxed()).await
    }

    async fn unreserve(&self, key: Sha256, node: &NodeId) -> Result<()> {
        self.call("unreserve", self.inner.unreserve(key, node)).await
    }

    async fn unreserve_all(&self, node: &NodeId) -> Result<()> {
        self.call("unreserve_all", self.inner.unreserve_all(node)).await
    }

    async fn nodes(&self) -> Result<Vec<NodeId>> {
        self.call("nodes", self.inner.nodes()).await
    }

    async fn open_session(&self, session: &Session, of: Option<Rank>, most: usize, now: Timestamp) -> Result<()> {
        self.call("open_session", self.inner.open_session(session, of, most, now)).await
    }

    async fn refresh_session(&self, id: SessionId, serial: u64, until: Timestamp, now: Timestamp) -> Result<Refreshed> {
        self.call("refresh_session", self.inner.refresh_session(id, serial, until, now)).await
    }

    async fn end_session(&self, id: SessionId) -> Result<()> {
        self.call("end_session", self.inner.end_session(id)).await
    }

    async fn session(&self, id: SessionId) -> Result<Option<Session>> {
        self.call("session", self.inner.session(id)).await
    }

    async fn open_direct(&self, upload: &DirectUpload, most: usize, now: Timestamp) -> Result<()> {
        self.call("open_direct", self.inner.open_direct(upload, most, now)).await
    }

    async fn direct(&self, id: DirectId) -> Result<Option<DirectUpload>> {
        self.call("direct", self.inner.direct(id)).await
    }

    async fn end_direct(&self, id: DirectId) -> Result<()> {
        self.call("end_direct", self.inner.end_direct(id)).await
    }

    async fn file(&self, id: FileId) -> Result<Option<FileRow>> {
        self.call("file", self.inner.file(id)).await
    }

    async fn files(&self, query: &FileQuery) -> Result<Vec<FileRow>> {
        self.call("files", self.inner.files(query)).await
    }

    async fn folders(&self, query: &FileQuery) -> Result<Page> {
        self.call("folders", self.inner.folders(query)).await
    }

    async fn check_index(&self) -> Result<Option<String>> {
        self.call("check_index", self.inner.check_index()).await
    }

    async fn remake_index(&self) -> Result<()> {
        self.call("remake_index", self.inner.remake_index()).await
    }

    async fn revisions(&self, id: FileId) -> Result<Vec<RevisionRow>> {
        self.call("revisions", self.inner.revisions(id)).await
    }

    async fn revisions_behind(&self, id: FileId, after: u64, limit: usize) -> Result<Vec<RevisionRow>> {
        self.call("revisions", self.inner.revisions_behind(id, after, limit)).await
    }

    async fn revision(&self, id: FileId, revision: u64) -> Result<Option<RevisionRow>> {
        self.call("revision", self.inner.revision(id, revision)).await
    }

    async fn placed(&self, query: &PlacedQuery) -> Result<Vec<Placed>> {
        self.call("placed", self.inner.placed(query)).await
    }

    async fn copy_counts(&self) -> Result<Vec<CopyCount>> {
        self.call("copy_counts", self.inner.copy_counts()).await
    }

    async fn tombstone(&self, id: FileId, revision: Option<u64>) -> Result<Option<Tombstone>> {
        self.call("tombstone", self.inner.tombstone(id, revision)).await
    }

    async fn tombstones(&self, after: Option<(FileId, Option<u64>)>, limit: usize) -> Result<Vec<Tombstone>> {
        self.call("tombstones", self.inner.tombstones(after, limit)).await
    }

    async fn missed(&self, store: StoreId, after: Option<RecordId>, limit: usize) -> Result<Vec<Missed>> {
        self.call("missed", self.inner.missed(store, after, limit)).await
    }

    async fn users(&self) -> Result<Vec<User>> {
        self.call("users", self.inner.users()).await
    }

    async fn users_behind(&self, after: Option<UserId>, limit: usize) -> Result<Vec<User>> {
        self.call("users_behind", self.inner.users_behind(after, limit)).await
    }

    async fn user_named(&self, name: &str) -> Result<Option<User>> {
        self.call("user_named", self.inner.user_named(name)).await
    }

    async fn user(&self, id: UserId) -> Result<Option<User>> {
        self.call("user", self.inner.user(id)).await
    }

    async fn buckets(&self) -> Result<Vec<Bucket>> {
        self.call("buckets", self.inner.buckets()).await
    }
}

/// Takes copies that are being dropped for gone, where the row is to tell when their deletion was sent.
fn forget_drops(records: &mut [Record]) {
    for record in records {
        if let Some(Entry::Copies { file, revision, copies }) = &record.entry
            && let [CopyRow { store, state: CopyState::Dropping, verified_at: Some(_) }] = copies[..]
        {
            record.entry =
                Some(Entry::Unwanted { file: *file, revision: *revision, store, state: CopyState::Verified });
        }
    }
}

/// Drops what a change or an upload notes of copies that it did not reach.
fn forget_notes(record: &mut Record) {
    if let Some(Entry::Attributes { copies, .. }) = &mut record.entry {
        copies.retain(|copy| !copy.is_due());
    }
}

/// Opens an intent that was held back, now that a request of its upload has its answer.
pub(super) fn open_withheld(world: &World, key: &Key) {
    let of_this = |(_, (_, upload)): &(&u64, &(NodeId, Upload))| upload.key == *key;
    let found = world.state().withheld.iter().find(of_this).map(|(id, held)| (*id, held.clone()));
    let Some((id, (node, upload))) = found.filter(|(id, _)| !world.state().opened_late.contains_key(id)) else {
        return;
    };
    let database = world.state().database.clone();
    let (ledger, mut opened) = (database.open(), None);
    database.complete(
        async {
            opened = Some(
                async {
                    ledger.identity().await?;
                    ledger.open_intent(&node, &upload).await
                }
                .await,
            )
        }
        .boxed(),
    );
    if let Some(Ok(intent)) = opened {
        world.state().opened_late.insert(id, intent.hold());
    }
}

/// Every revision with what its file's newest attributes are, past every fault.
pub(super) fn revisions(database: &Arc<dyn Database>) -> Result<Vec<(FileRow, RevisionRow)>> {
    let ledger = database.open();
    let mut found = None;
    let all = async {
        let mut all = vec![];
        for row in ledger.files(&FileQuery { limit: usize::MAX >> 1, ..FileQuery::default() }).await? {
            let revisions = ledger.revisions(row.attributes.id).await?;
            all.extend(revisions.into_iter().map(|revision| (row.clone(), revision)));
        }
        Ok(all)
    };
    database.complete(async { found = Some(all.await) }.boxed());
    found.expect("it was run to its end")
}

/// Where every store has the tombstones, and the newest record of each user and bucket, past every fault.
pub(super) fn records(database: &Arc<dyn Database>) -> Result<Vec<Key>> {
    let (ledger, mut found) = (database.open(), None);
    let all = async {
        let mut keys: Vec<_> = ledger.tombstones(None, usize::MAX >> 1).await?.iter().map(Tombstone::key).collect();
        keys.extend(ledger.users().await?.iter().map(Sealed::key));
        keys.extend(ledger.buckets().await?.iter().map(Sealed::key));
        Ok(keys)
    };
    database.complete(async { found = Some(all.await) }.boxed());
    found.expect("it was run to its end")
}

/// What is under way, as the ledger has it.
#[derive(Debug)]
pub(super) struct Left {
    pub(super) claims: Vec<Claim>,
    pub(super) intents: Vec<Intent>,
    pub(super) nodes: Vec<NodeId>,
}

/// The open claims and intents, and the nodes that hold anything, past every fault.
pub(super) fn held(database: &Arc<dyn Database>) -> Result<Left> {
    let ledger = database.open();
    let mut found = None;
    let left = async {
        let (claims, intents) = (ledger.claims().await?, ledger.intents().await?);
        Ok(Left { claims, intents, nodes: ledger.nodes().await? })
    };
    let ask = async { found = Some(left.await) };
    database.complete(ask.boxed());
    found.expect("it was run to its end")
}

/// All live files, past every fault.
pub(super) fn live_rows(database: &Arc<dyn Database>) -> Result<Vec<FileRow>> {
    let (ledger, mut found) = (database.open(), None);
    let query = FileQuery { deleted: Some(false), limit: 10_000, ..FileQuery::default() };
    database.complete(async { found = Some(ledger.files(&query).await) }.boxed());
    found.expect("it was run to its end")
}
