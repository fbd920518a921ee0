//! [`Ledger`]: what files needs to remember between requests, and nothing else. Every method is one transaction: all of it or
//! nothing, durable when it returns `Ok`. Rows are a cache of the stores; claims, reservations, sessions, direct uploads, the epoch and the mark are
//! not, and a ledger that lost them must be rebuilt, never continued.

#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod direct;
mod folders;
mod memory;
mod rows;
mod session;

pub use direct::{Announced, DirectUpload};
pub use folders::FolderPage;
pub use memory::{MemoryLedger, Snapshot, Steps};
pub use session::{Refreshed, Session};

use crate::{
    Attributes, Bucket, BucketId, DirectId, FileId, Page, Rank, SessionId, Sha256, StoreId, Timestamp, Tombstone, User,
    UserId,
};
use async_trait::async_trait;
use larder_storage_core::{BoxError, Key, NodeId};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fmt::{self, Debug, Display},
    time::Duration,
};
use uuid::Uuid;

/// The result of a ledger's operation.
pub type Result<T, E = LedgerError> = std::result::Result<T, E>;

/// Why a ledger refused or failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// The file is claimed by another operation; or too much is asked for at this moment, or at once.
    #[error("the file is claimed")]
    Busy,
    /// The file has a tombstone.
    #[error("the file was purged")]
    Tombstoned,
    /// There is no such row.
    #[error("no such row")]
    NotFound,
    /// Another live user or bucket bears the name, or one that is gone bore it.
    #[error("the name `{0}` is taken")]
    Taken(String),
    /// The intent was taken over, or is closed: what came of its upload is another's to find out. Nothing happened.
    #[error("the upload was taken over")]
    Superseded,
    /// The ledger's epoch is no longer this node's, or its file was replaced.
    #[error("this ledger is no longer the current one: {0}")]
    Fenced(String),
    /// The commit failed: it may have happened. Nothing may be retried and acknowledged.
    #[error("the outcome of the commit is unknown")]
    Indeterminate(#[source] BoxError),
    /// No space is left; nothing happened.
    #[error("no space is left for the ledger")]
    Full(#[source] BoxError),
    /// The database can't be reached; nothing happened.
    #[error("the ledger is unavailable")]
    Unavailable(#[source] BoxError),
    /// A fault of the ledger; nothing happened.
    #[error("the ledger failed")]
    Internal(#[source] BoxError),
}

impl LedgerError {
    /// The same error for another member of a group; of the cause only its text.
    #[must_use]
    pub fn echo(&self) -> Self {
        let text = |cause: &BoxError| BoxError::from(cause.to_string());
        match self {
            Self::Busy => Self::Busy,
            Self::Tombstoned => Self::Tombstoned,
            Self::NotFound => Self::NotFound,
            Self::Taken(name) => Self::Taken(name.clone()),
            Self::Superseded => Self::Superseded,
            Self::Fenced(why) => Self::Fenced(why.clone()),
            Self::Indeterminate(cause) => Self::Indeterminate(text(cause)),
            Self::Full(cause) => Self::Full(text(cause)),
            Self::Unavailable(cause) => Self::Unavailable(text(cause)),
            Self::Internal(cause) => Self::Internal(text(cause)),
        }
    }
}

/// What a ledger is: which installation it belongs to and how new it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The installation.
    pub instance: Uuid,
    /// Counts rebuilds.
    pub epoch: u64,
    /// A rising number, written here first and then to the stores: a lower one than a store's tells an older copy.
    pub mark: u64,
    /// Every store that this installation has ever known.
    pub stores: Vec<KnownStore>,
    /// For each store the highest mark that was to be written there; see [`Identity::mark_on`].
    pub marks: BTreeMap<StoreId, u64>,
}

impl Identity {
    /// The stores that the last rebuild was done without.
    pub fn unread(&self) -> impl Iterator<Item = &KnownStore> {
        self.stores.iter().filter(|store| store.unread_since.is_some())
    }

    /// The highest mark that this ledger has ever set out to write to a store: a higher one there was written by a newer ledger, or by
    /// another copy of this one. An older copy that raises its own mark, unseen by a store that is away, does not raise this.
    #[must_use]
    pub fn mark_on(&self, store: StoreId) -> u64 {
        self.marks.get(&store).copied().unwrap_or(self.mark)
    }

    /// Raises the mark by one, to be written to these stores, and answers it.
    pub fn raise_mark(&mut self, told: &[StoreId]) -> u64 {
        for store in &self.stores {
            self.marks.entry(store.id).or_insert(self.mark);
        }
        self.mark += 1;
        self.marks.extend(told.iter().map(|store| (*store, self.mark)));
        self.mark
    }
}

/// A store that an installation knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownStore {
    /// Its name in the configuration.
    pub name: String,
    /// Its id, as its own marker says.
    pub id: StoreId,
    /// Whether a rebuild takes ids from it.
    pub adopted: bool,
    /// When a rebuild was done without it: what only this store knows is missing until another rebuild has read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unread_since: Option<Timestamp>,
}

/// The state of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CopyState {
    /// Being made.
    Pending,
    /// Listed, size right.
    Present,
    /// The hash is known to match.
    Verified,
    /// Being dropped: it counts nowhere.
    Dropping,
    /// Found missing or damaged.
    Lost,
}

/// A revision on a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyRow {
    /// The store.
    pub store: StoreId,
    /// How sure it is.
    pub state: CopyState,
    /// When its hash was last known to match; of one that is being dropped from a store that does not stage, when its deletion was last sent.
    pub verified_at: Option<Timestamp>,
}

impl CopyRow {
    /// Whether something is to be done about it: it is yet to be made, is lost, or has older attributes beside it than the file has.
    /// That last is a copy which is present, with the time when its bytes were verified.
    #[must_use]
    pub fn is_due(&self) -> bool {
        match self.state {
            CopyState::Pending | CopyState::Lost => true,
            CopyState::Present => self.is_behind(),
            CopyState::Verified | CopyState::Dropping => false,
        }
    }

    /// Whether older attributes lie beside it than the file has.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        self.state == CopyState::Present && self.verified_at.is_some()
    }

    /// Whether it takes the place of another that is known of the same store. One that is pending does nowhere; one that was only seen
    /// does where what is known is a loss: who has only seen it may have looked before another one read it; one that is behind does
    /// where content may be read: it tells of attributes, and may have been looked at before its bytes were found lost. One that is lost
    /// does not where it is being dropped: who found it may have read it before, and its deletion is still to be waited for.
    #[must_use]
    pub fn replaces(&self, known: &Self) -> bool {
        match self.state {
            CopyState::Pending => false,
            CopyState::Present if self.is_behind() => known.is_readable(),
            CopyState::Present => known.state == CopyState::Lost,
            CopyState::Lost => known.state != CopyState::Dropping,
            CopyState::Verified | CopyState::Dropping => true,
        }
    }

    /// Whether content may be read from it.
    #[must_use]
    pub fn is_readable(&self) -> bool {
        matches!(self.state, CopyState::Present | CopyState::Verified)
    }
}

/// Where a revision of a file lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// The file.
    pub file: FileId,
    /// The revision's number.
    pub revision: u64,
    /// The bucket that the file is in now.
    pub bucket: BucketId,
    /// Where its copies are, by store.
    pub copies: Vec<CopyRow>,
}

/// How many copies a store has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyCount {
    /// The store.
    pub store: StoreId,
    /// Those that content may be read from.
    pub readable: u64,
    /// Those about which [something is to be done](CopyRow::is_due), readable or not, and those that are being dropped.
    pub due: u64,
}

/// A record that is wanted on every store, or what is wanted of each by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RecordId {
    /// The tombstone of a file, or of one revision of it.
    Tombstone(FileId, Option<u64>),
    /// A user's sealed record.
    User(UserId),
    /// A bucket's sealed record.
    Bucket(BucketId),
    /// That what a tombstone covers is deleted there.
    Clearing(FileId, Option<u64>),
}

impl RecordId {
    /// Before every [`RecordId::Clearing`], and behind all else.
    pub const BEFORE_CLEARINGS: Self = Self::Clearing(FileId(uuid::Uuid::nil()), None);
}

/// A record that a store is yet to be given, for it could not be reached, or did not permit it, when the record was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missed {
    /// The store.
    pub store: StoreId,
    /// The record.
    pub record: RecordId,
    /// The epoch of the record that was missed.
    pub epoch: u64,
    /// Its version.
    pub version: u64,
}

impl Missed {
    /// How new the record is that was missed.
    #[must_use]
    pub fn rank(&self) -> (u64, u64) {
        (self.epoch, self.version)
    }
}

/// Of which revisions to tell where they lie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlacedQuery {
    /// Only those with a copy that [is due](CopyRow::is_due). Such a page costs no more than it holds.
    pub due: bool,
    /// Behind this revision.
    pub after: Option<(FileId, u64)>,
    /// At most so many.
    pub limit: usize,
}

/// A revision: the content that a file had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevisionRow {
    /// The file.
    pub file: FileId,
    /// Its number, from 1.
    pub revision: u64,
    /// Where its bytes lie.
    pub key: Key,
    /// Size in bytes.
    pub size: u64,
    /// SHA-256 of the bytes.
    pub sha256: Sha256,
    /// CRC-64/NVME of the bytes.
    pub crc64nvme: u64,
    /// Content type.
    pub content_type: String,
    /// When it was made.
    pub revised_at: Timestamp,
    /// Where its copies are, by store.
    pub copies: Vec<CopyRow>,
}

/// A file with its newest revision's copies.
#[derive(Clone, Debug, PartialEq)]
pub struct FileRow {
    /// The highest attributes known.
    pub attributes: Attributes,
    /// Copies of the newest revision, by store.
    pub copies: Vec<CopyRow>,
}

/// An open claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Its number, unique in this ledger.
    pub id: u64,
    /// The file.
    pub file: FileId,
    /// What for.
    pub purpose: Purpose,
    /// The node that holds it.
    pub node: NodeId,
    /// The version given to it: higher than every version ever given for the file, in this epoch.
    pub version: u64,
    /// The revision number given to it: higher than every one ever given for the file.
    pub revision: u64,
    /// When it was opened.
    pub opened_at: Timestamp,
}

/// What a claim is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// New attributes or a new revision: may be finished or dropped.
    Change,
    /// A purge: only ever finished forward.
    Purge,
    /// A purge of one old revision: only ever finished forward.
    PurgeRevision(u64),
}

impl Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Change => f.write_str("change"),
            Self::Purge => f.write_str("purge"),
            Self::PurgeRevision(revision) => write!(f, "purge of revision {revision}"),
        }
    }
}

impl Purpose {
    /// The one revision that is to be purged.
    #[must_use]
    pub fn revision(self) -> Option<u64> {
        if let Self::PurgeRevision(revision) = self { Some(revision) } else { None }
    }
}

/// A write-ahead note of an upload to a store that does not stage: by it whoever comes after a crash finishes the upload or undoes
/// it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// Its number, never given twice in this ledger.
    pub id: u64,
    /// Rises each time that it changes hands: who acts under an older one is refused.
    pub fence: u64,
    /// How far it is.
    pub state: IntentState,
    /// The node in whose hands it is.
    pub node: NodeId,
    /// What is uploaded.
    pub upload: Upload,
}

impl Intent {
    /// What its present holder acts by.
    #[must_use]
    pub fn hold(&self) -> Hold {
        Hold { intent: self.id, fence: self.fence }
    }
}

/// How far an intent is. A finished one is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IntentState {
    /// Who opened it carries the upload out.
    Pending,
    /// It was taken over: whether the upload took effect is being found out.
    Recovering,
    /// The upload is undone: whatever of it still turns up on the store is garbage.
    Failed,
}

/// What an intent says of its upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    /// The store.
    pub store: StoreId,
    /// Where its bytes go; the attributes go beside them.
    pub key: Key,
    /// The idempotency key that is reserved for it.
    pub idempotency: Option<Sha256>,
    /// The file and the revision, once its attributes are known.
    pub revision: Option<(FileId, u64)>,
    /// The claim that it is made under, once its attributes are known.
    pub claim: Option<u64>,
    /// How long after it was opened or renewed a request of it may still take effect. Whole milliseconds.
    pub lease: Duration,
    /// When that is over, by the clock of the node that renewed it.
    pub until: Timestamp,
}

/// The right to act on an intent: given with it, and lost when another takes it over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    /// The intent.
    pub intent: u64,
    /// The fence that it must still have.
    pub fence: u64,
}

/// What the ledger is to take in.
#[derive(Clone, Debug)]
pub enum Entry {
    /// Attributes that are durable on a store. The row is made, or replaced where these outrank it; the revision's row is made
    /// or replaced in the same way; the copies are set, by store; not all of them over what is known ([`CopyRow::replaces`]). A `created_by_key` becomes (or settles) its reservation.
    /// Nothing happens to a file with a tombstone, nor to a revision with one.
    Attributes {
        /// The attributes.
        attributes: Box<Attributes>,
        /// Copies of this revision that are now known; others stay as they are.
        copies: Vec<CopyRow>,
    },
    /// A tombstone that is durable on a store: the file's (or the revision's) rows go, the tombstone stays.
    Tombstone(Box<Tombstone>),
    /// What is newly known of copies of one revision; unknown revisions are left alone.
    Copies {
        /// The file.
        file: FileId,
        /// Its revision.
        revision: u64,
        /// Copies to set, by store; not all of them over what is known ([`CopyRow::replaces`]).
        copies: Vec<CopyRow>,
    },
    /// A user whose sealed record is durable on a store; the highest (epoch, version) stays. Where this is another record than the
    /// one before, the user's sessions end. A `created_by_key` becomes (or settles) its reservation.
    User(Box<User>),
    /// A bucket whose sealed record is durable on a store; the highest (epoch, version) stays.
    Bucket(Box<Bucket>),
    /// A copy that no placement wants any more and that nothing lies of: its row goes, where it is still in this state.
    Unwanted {
        /// The file.
        file: FileId,
        /// Its revision.
        revision: u64,
        /// The store.
        store: StoreId,
        /// What is known of the copy.
        state: CopyState,
    },
    /// A store has missed a record; the highest (epoch, version) of one stays. It belongs into the group of that record.
    Missed(Missed),
    /// A store has been given what it had missed: that goes, unless it has missed something newer of it.
    Carried(Missed),
    /// A row that must go because nothing on any store bears it out (`fsck` and rebuild only).
    Forget(FileId),
}

/// What came of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// It is the truth now.
    Taken,
    /// Something newer is there; for attributes the revision and its copies were still taken in.
    Outranked,
    /// A tombstone covers it: what lies on the store is garbage.
    Tombstoned,
}

/// One member of a grouped transaction: an entry, and the claim and the intent that end with it.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// What to take in; `None` to end a claim only.
    pub entry: Option<Entry>,
    /// The claim that ends in the same transaction.
    pub closes: Option<u64>,
    /// The intent that ends in the same transaction. Where it is no longer held so, the member is `Superseded` and leaves no trace.
    /// Where a tombstone covers the entry, the intent stays: what was put must still go.
    pub settles: Option<Hold>,
}

impl From<Entry> for Record {
    fn from(entry: Entry) -> Self {
        Self { entry: Some(entry), ..Self::default() }
    }
}

/// What is known of an idempotent request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reservation {
    /// It was not known and is now reserved for this node.
    Made,
    /// It runs, on this node or another.
    Running {
        /// Where.
        node: NodeId,
    },
    /// It is done.
    Done {
        /// Fingerprint of the request that was done.
        request: Sha256,
        /// The status that was answered.
        status: u16,
        /// What it made.
        made: Made,
        /// When.
        at: Timestamp,
    },
}

/// What an idempotent request made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Made {
    /// A file.
    File(FileId),
    /// A user.
    User(UserId),
}

/// Which files to list. No text of a file has a NUL, so a filter with one finds nothing ([`FileQuery::finds_nothing`]).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileQuery {
    /// Only of this bucket.
    pub bucket: Option<BucketId>,
    /// Only of this owner.
    pub owner: Option<UserId>,
    /// Only of exactly this name.
    pub name: Option<String>,
    /// Only names that begin so, literally, by bytes.
    pub prefix: Option<String>,
    /// Only names that hold this, without regard to case ([`folded`] of both).
    pub q: Option<String>,
    /// Only with this tag.
    pub tag: Option<String>,
    /// Only of exactly this content type.
    pub content_type: Option<String>,
    /// The trash instead of the live files; `None` lists both.
    pub deleted: Option<bool>,
    /// Not before this file, by id: an id tells when its file was made.
    pub from: Option<FileId>,
    /// Before this file, by id.
    pub until: Option<FileId>,
    /// What they are listed by.
    pub sort: Sort,
    /// The other way round.
    pub descending: bool,
    /// Behind this place. One of another sort is behind everything.
    pub after: Option<Position>,
    /// At most so many.
    pub limit: usize,
}

/// A text as it is compared without regard to case: letter by letter, so that what a text holds, its folded form holds as well
/// ([`str::to_lowercase`] makes another letter of a Σ at the end of a word).
#[must_use]
pub fn folded(text: &str) -> String {
    text.chars().flat_map(char::to_lowercase).map(|letter| if letter == 'ς' { 'σ' } else { letter }).collect()
}

/// What files are listed by; those that are equal in it, by id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Sort {
    /// The id: UUIDv7, so the order in which they were made.
    #[default]
    Created,
    /// The name, by bytes.
    Name,
    /// The size of the newest revision.
    Size,
}

/// A place in a list, named by the file that is there, or that was.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Position {
    /// By [`Sort::Created`].
    Created(FileId),
    /// By [`Sort::Name`].
    Name(String, FileId),
    /// By [`Sort::Size`].
    Size(u64, FileId),
}

/// What files needs to remember. Rows of `User`s and `Bucket`s that are gone stay, so that their names do.
#[async_trait]
pub trait Ledger: Debug + Send + Sync + 'static {
    /// Which installation it belongs to; `None` before [`Ledger::initialise`].
    async fn identity(&self) -> Result<Option<Identity>>;

    /// Makes or replaces the identity. `Fenced` of another installation, or where the epoch or mark would fall.
    async fn initialise(&self, identity: &Identity) -> Result<()>;

    /// Raises the mark by one and answers it. That it is to be written to the stores `told` is noted in the same transaction.
    async fn raise_mark(&self, told: &[StoreId]) -> Result<u64>;

    /// Opens a claim on a file, giving it a version and a revision number never given before (also counting what the file's row
    /// and the entries recorded for it say). The version is durable before it is answered.
    ///
    /// # Errors
    /// `Busy` where one is open; `Tombstoned`; `NotFound` where there is no such row.
    async fn claim(&self, file: FileId, purpose: Purpose, node: &NodeId, now: Timestamp) -> Result<Claim>;

    /// Makes a `Change` claim a purge's, durably. One that is the same purge's already stays as it is.
    ///
    /// # Errors
    /// `NotFound` where it is not open; `Busy` where it is another purge's.
    async fn harden(&self, claim: u64, purge: Purpose) -> Result<()>;

    /// Makes a dead node's claim another node's, so that exactly one settles it. Answers the claim as it is now.
    ///
    /// # Errors
    /// `NotFound` where it is no longer open; `Busy` where it is not `from`'s any more.
    async fn take_over(&self, claim: u64, from: &NodeId, to: &NodeId) -> Result<Claim>;

    /// The open claim on a file.
    async fn claim_of(&self, file: FileId) -> Result<Option<Claim>>;

    /// All open claims.
    async fn claims(&self) -> Result<Vec<Claim>>;

    /// Opens an intent, in the hands of `node`. It is durable before it is answered.
    async fn open_intent(&self, node: &NodeId, upload: &Upload) -> Result<Intent>;

    /// Puts what is known of a pending upload by now in the place of what its intent said.
    ///
    /// # Errors
    /// `Superseded` where it is no longer held so, or no longer pending.
    async fn renew_intent(&self, hold: Hold, upload: &Upload) -> Result<()>;

    /// Takes an intent over from whoever holds it: a new fence, in the hands of `node`, `Recovering` unless it has failed already. Its
    /// idempotency key goes along, where that is reserved on the node that held it. Answers the intent as it is now.
    ///
    /// # Errors
    /// `Superseded` where its fence is no longer the one that was seen, or it is closed.
    async fn fence_intent(&self, seen: Hold, node: &NodeId) -> Result<Intent>;

    /// Decides that an upload is undone. In one transaction its intent has failed and forgets its claim, which closes, and its
    /// idempotency key, which is given up where it is reserved on the node that holds the intent.
    ///
    /// # Errors
    /// `Superseded` where it is no longer held so.
    async fn fail_intent(&self, hold: Hold) -> Result<()>;

    /// Closes an intent of which nothing is left on the store.
    ///
    /// # Errors
    /// `Superseded` where it is no longer held so.
    async fn close_intent(&self, hold: Hold) -> Result<()>;

    /// All intents, by number.
    async fn intents(&self) -> Result<Vec<Intent>>;

    /// Takes in a group in one transaction; answers one result each, in order. A member that fails alone (by a constraint) does
    /// not take the others with it. A failed commit is `Indeterminate` for every member.
    async fn record(&self, records: Vec<Record>) -> Vec<Result<Recorded>>;

    /// Reserves an idempotency key, or says what is known of it. What was done before `since` is forgotten.
    async fn reserve(&self, key: Sha256, node: &NodeId, since: Timestamp) -> Result<Reservation>;

    /// Gives up a reservation that is still running on `node`.
    async fn unreserve(&self, key: Sha256, node: &NodeId) -> Result<()>;

    /// Gives up all running reservations of a dead node.
    async fn unreserve_all(&self, node: &NodeId) -> Result<()>;

    /// The nodes that hold claims or running reservations.
    async fn nodes(&self) -> Result<Vec<NodeId>>;

    /// Opens a session, of a user whose record is still `of`, or who has none, as the built-in account. Sessions that have ended by `now` go,
    /// and so do, where the user has `most` or more, those that would end first.
    ///
    /// # Errors
    /// `NotFound` where the record is another by now, or its user is gone.
    async fn open_session(&self, session: &Session, of: Option<Rank>, most: usize, now: Timestamp) -> Result<()>;

    /// Gives a session its next number and lets it go on to `until`, if `serial` is the one that counts. If it is not, the session ends.
    async fn refresh_session(&self, id: SessionId, serial: u64, until: Timestamp, now: Timestamp) -> Result<Refreshed>;

    /// Ends a session, if there is one.
    async fn end_session(&self, id: SessionId) -> Result<()>;

    /// A session, which may have ended by its time.
    async fn session(&self, id: SessionId) -> Result<Option<Session>>;

    /// Begins a direct upload, or has one of the same id go on as this one. Those that have ended by `now` go.
    ///
    /// # Errors
    /// `Busy` where its user has `most` of them.
    async fn open_direct(&self, upload: &DirectUpload, most: usize, now: Timestamp) -> Result<()>;

    /// A direct upload, which may have ended by its time.
    async fn direct(&self, id: DirectId) -> Result<Option<DirectUpload>>;

    /// Ends a direct upload, if there is one.
    async fn end_direct(&self, id: DirectId) -> Result<()>;

    /// A file.
    async fn file(&self, id: FileId) -> Result<Option<FileRow>>;

    /// A page of files, in the order of the query.
    async fn files(&self, query: &FileQuery) -> Result<Vec<FileRow>>;

    /// A page of a list by [`Sort::Name`] in which the names that go on with a `/` behind the prefix are one folder, however many they
    /// are: files and folders together are at most the limit. Here each folder costs a question of its own.
    async fn folders(&self, query: &FileQuery) -> Result<Page> {
        let mut page = FolderPage::of(query);
        while let Some(wanted) = page.wanted() {
            let found = self.files(wanted).await?;
            page.take(found, |row: &FileRow| (row.attributes.name.clone(), row.attributes.id));
        }
        let (items, folders, next) = page.filled();
        Ok(Page { items, folders, next })
    }

    /// What is wrong with what the ledger keeps to find rows by, in words; `None` where it agrees with them, as they are at one moment.
    /// Costs a walk over all files.
    async fn check_index(&self) -> Result<Option<String>> {
        Ok(None)
    }

    /// Makes that anew, beside whoever works.
    async fn remake_index(&self) -> Result<()> {
        Ok(())
    }

    /// The revisions of a file, by number.
    async fn revisions(&self, id: FileId) -> Result<Vec<RevisionRow>>;

    /// At most `limit` revisions of a file with numbers above `after`, by number.
    async fn revisions_behind(&self, id: FileId, after: u64, limit: usize) -> Result<Vec<RevisionRow>>;

    /// One revision.
    async fn revision(&self, id: FileId, revision: u64) -> Result<Option<RevisionRow>>;

    /// A page of all revisions by (file, number), those of files in the trash too, with where they lie.
    async fn placed(&self, query: &PlacedQuery) -> Result<Vec<Placed>>;

    /// How many copies each store has that has any, by store. Costs a walk over all copies.
    async fn copy_counts(&self) -> Result<Vec<CopyCount>>;

    /// The tombstone of a file (`revision` = `None`) or of one revision.
    async fn tombstone(&self, id: FileId, revision: Option<u64>) -> Result<Option<Tombstone>>;

    /// A page of tombstones by (id, revision), behind `after`.
    async fn tombstones(&self, after: Option<(FileId, Option<u64>)>, limit: usize) -> Result<Vec<Tombstone>>;

    /// A page of what a store has missed, by record, behind `after`.
    async fn missed(&self, store: StoreId, after: Option<RecordId>, limit: usize) -> Result<Vec<Missed>>;

    /// All users, gone ones too, by id.
    async fn users(&self) -> Result<Vec<User>>;

    /// At most `limit` users with ids above `after`, gone ones too, by id.
    async fn users_behind(&self, after: Option<UserId>, limit: usize) -> Result<Vec<User>>;

    /// The user of this name, gone or not; `None` of what can be no name.
    async fn user_named(&self, name: &str) -> Result<Option<User>>;

    /// The user of this id, gone or not.
    async fn user(&self, id: UserId) -> Result<Option<User>>;

    /// All buckets, by id.
    async fn buckets(&self) -> Result<Vec<Bucket>>;
}
