//! [`Harness`]: what a ledger gives the suite; and the files, users and buckets that the laws speak of.

use crate::{
    Attributes, Bucket, BucketId, BucketName, BucketPolicy, CreatedByKey, FileId, Role, Sha256, StoreId, Timestamp,
    Tombstone, User, UserId, UserName,
    ledger::{
        Claim, CopyRow, CopyState, Entry, FileQuery, Identity, KnownStore, Ledger, LedgerError, Purpose, Record,
        Recorded, Result,
    },
};
use futures_util::future::LocalBoxFuture;
use larder_storage_core::{Key, NodeId};
use std::{any::Any, fmt, future::Future, sync::Arc};
use uuid::Uuid;

/// What became of a law.
pub type Verdict = Result<(), Broken>;

/// A law that was broken, and how.
#[derive(Debug)]
pub struct Broken(String);

impl Broken {
    pub(super) fn new(what: String) -> Self {
        Self(what)
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<LedgerError> for Broken {
    fn from(error: LedgerError) -> Self {
        Self(format!("an unexpected error: {error:?}"))
    }
}

type Opened = LocalBoxFuture<'static, Arc<dyn Ledger>>;

/// An empty ledger for one law, and the way to further handles of it.
pub struct Harness {
    /// The first handle.
    pub ledger: Arc<dyn Ledger>,
    open: Box<dyn Fn() -> Opened>,
    guard: Box<dyn Any>,
}

impl Harness {
    /// Takes the way to open one ledger, empty at first, as one process after the other or beside it would.
    pub async fn new<F: Future<Output = Arc<dyn Ledger>> + 'static>(open: impl Fn() -> F + 'static) -> Self {
        let open = Box::new(move || -> Opened { Box::pin(open()) });
        Self { ledger: open().await, open, guard: Box::new(()) }
    }

    /// Keeps something until the law has ended, such as a temporary directory.
    #[must_use]
    pub fn guard(self, guard: impl Any) -> Self {
        Self { guard: Box::new(guard), ..self }
    }

    /// Another handle, as another process has.
    pub(super) async fn another(&self) -> Arc<dyn Ledger> {
        (self.open)().await
    }

    /// Lets the first handle go and opens the ledger again.
    pub(super) async fn reopened(self) -> Self {
        let Self { ledger, open, guard } = self;
        drop(ledger);
        Self { ledger: open().await, open, guard }
    }

    /// With an identity, of epoch [`EPOCH`].
    pub(super) async fn started(self) -> Result<Self> {
        self.ledger.initialise(&identity(EPOCH, 0)).await?;
        Ok(self)
    }

    pub(super) async fn take(&self, entry: Entry) -> Result<Recorded> {
        one(&self.ledger, entry, None).await
    }

    /// Records attributes without copies.
    pub(super) async fn put(&self, attributes: &Attributes) -> Result<Recorded> {
        self.take(entry(attributes, &[])).await
    }

    pub(super) async fn claim(&self, file: FileId) -> Result<Claim> {
        self.ledger.claim(file, Purpose::Change, &node("n1"), at(1)).await
    }

    pub(super) async fn release(&self, claim: u64) -> Result<()> {
        let records = vec![Record { closes: Some(claim), ..Record::default() }];
        self.ledger.record(records).await.pop().expect("one member, one result").map(|_| ())
    }

    /// Ids of the files that a query lists, as small numbers.
    pub(super) async fn listed(&self, query: FileQuery) -> Result<Vec<u128>> {
        let rows = self.ledger.files(&FileQuery { limit: 100, ..query }).await?;
        Ok(rows.into_iter().map(|row| row.attributes.id.0.as_u128()).collect())
    }
}

/// Records one entry.
pub(super) async fn one(ledger: &Arc<dyn Ledger>, entry: Entry, closes: Option<u64>) -> Result<Recorded> {
    one_of(ledger, Record { entry: Some(entry), closes, settles: None }).await
}

/// Records one member.
pub(super) async fn one_of(ledger: &Arc<dyn Ledger>, record: Record) -> Result<Recorded> {
    ledger.record(vec![record]).await.pop().expect("one member, one result")
}

pub(super) const EPOCH: u64 = 7;

pub(super) fn identity(epoch: u64, mark: u64) -> Identity {
    let stores = vec![KnownStore { name: "main".into(), id: store(1), adopted: true, unread_since: None }];
    Identity { instance: Uuid::from_u128(42), epoch, mark, stores, marks: [].into() }
}

pub(super) fn file(number: u128) -> FileId {
    FileId(Uuid::from_u128(number))
}

pub(super) fn store(number: u128) -> StoreId {
    StoreId(Uuid::from_u128(number))
}

pub(super) fn node(name: &str) -> NodeId {
    NodeId::new(name).expect("the laws name nodes rightly")
}

pub(super) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(1_760_000_000_000 + seconds * 1_000)
}

pub(super) fn copy(number: u128, state: CopyState) -> CopyRow {
    let verified_at = (state == CopyState::Verified).then(|| at(5));
    CopyRow { store: store(number), state, verified_at }
}

/// Attributes of revision 1, without tags, in bucket 1 and of owner 1.
pub(super) fn attributes(number: u128, version: u64) -> Attributes {
    Attributes {
        larder: 1,
        id: file(number),
        bucket: BucketName::new("documents").expect("a name"),
        bucket_id: BucketId(Uuid::from_u128(1)),
        owner: "ivanov".into(),
        owner_id: UserId(Uuid::from_u128(1)),
        key: key(number, 1),
        op: format!("op{version}"),
        name: format!("file {number}.txt"),
        revision: 1,
        epoch: EPOCH,
        version,
        size: 5,
        sha256: Sha256::of(b"bytes"),
        crc64nvme: 17,
        content_type: "text/plain".into(),
        created_at: at(0),
        revised_at: at(0),
        updated_at: at(0),
        deleted_at: None,
        tags: vec![],
        metadata: serde_json::Map::new(),
        media: None,
        created_by_key: None,
        unknown: serde_json::Map::new(),
    }
}

pub(super) fn key(number: u128, revision: u64) -> Key {
    Key::new(format!("documents/ivanov/{number}_{revision}.txt")).expect("a key")
}

/// The same attributes with another revision, under a key of its own.
pub(super) fn revised(attributes: &Attributes, revision: u64) -> Attributes {
    Attributes { revision, key: key(attributes.id.0.as_u128(), revision), ..attributes.clone() }
}

pub(super) fn entry(attributes: &Attributes, copies: &[CopyRow]) -> Entry {
    Entry::Attributes { attributes: Box::new(attributes.clone()), copies: copies.to_vec() }
}

pub(super) fn made_by(key: &str, seconds: i64) -> CreatedByKey {
    CreatedByKey { key: Sha256::of(key.as_bytes()), request: Sha256::of(b"request"), status: 201, at: at(seconds) }
}

pub(super) fn tombstone(number: u128, revision: Option<u64>, version: u64) -> Tombstone {
    Tombstone {
        larder: 1,
        id: file(number),
        revision,
        bucket_id: BucketId(Uuid::from_u128(1)),
        owner_id: UserId(Uuid::from_u128(1)),
        epoch: EPOCH,
        version,
        purged_at: at(9),
        keys: vec![key(number, 1).to_string()],
        stores: vec![store(1), store(2)],
        created_by_key: vec![],
    }
}

pub(super) fn dead(tombstone: &Tombstone) -> Entry {
    Entry::Tombstone(Box::new(tombstone.clone()))
}

pub(super) fn user(number: u128, name: &str, version: u64) -> User {
    User {
        id: UserId(Uuid::from_u128(number)),
        name: UserName::new(name).expect("the laws name users rightly"),
        role: Role::User,
        password_hash: Some("$argon2id$…".into()),
        created_at: at(0),
        epoch: EPOCH,
        version,
        gone_at: None,
        created_by_key: None,
    }
}

pub(super) fn bucket(number: u128, name: &str, version: u64) -> Bucket {
    Bucket {
        id: BucketId(Uuid::from_u128(number)),
        name: BucketName::new(name).expect("the laws name buckets rightly"),
        policy: BucketPolicy::default(),
        created_at: at(0),
        epoch: EPOCH,
        version,
    }
}
