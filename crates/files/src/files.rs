//! [`Files`]: the operations on files, each carried out by the steps of the protocol. This file holds the type and what all
//! operations share; each operation has a file of its own.

use crate::{
    Bucket, BucketName, BucketPolicy, Environment, Examine, Ledger, Sha256, StoreId, StoreName, Timestamp, UserName,
    committer::Committer,
    intents::Deadlines,
    ledger::{FileRow, Position, RevisionRow, Sort},
    node::State,
    reconcile::Noted,
    roll::Roll,
    secrets::Secrets,
};
use larder_storage_core::{ByteStream, Digests, NodeId, OpId, Store};
use serde_json::{Map, Value};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::{Arc, Mutex, atomic::AtomicBool},
    time::Duration,
};

/// What a store may be used for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StoreMode {
    /// Everything.
    #[default]
    Edit,
    /// Create and read, never delete or overwrite.
    Rw,
    /// Read only.
    Ro,
    /// Archive: as read only, and content is not read from there. It is `Archived` until the store has another mode, or another store
    /// a copy.
    Ar,
}

impl Place {
    pub(crate) fn mount(&self) -> Mount {
        Mount { name: self.name.clone(), store: self.store.clone(), mode: self.mode }
    }
}

impl StoreMode {
    /// Whether new objects may be put there.
    #[must_use]
    pub fn creates(self) -> bool {
        matches!(self, Self::Edit | Self::Rw)
    }

    /// Whether content may be read from there.
    #[must_use]
    pub fn serves_content(self) -> bool {
        self != Self::Ar
    }

    /// Whether objects may be overwritten and deleted there.
    #[must_use]
    pub fn changes(self) -> bool {
        self == Self::Edit
    }
}

/// A store under its name in the configuration.
#[derive(Clone, Debug)]
pub struct Mount {
    /// Its name.
    pub name: StoreName,
    /// The store as it is; its mode is kept by [`Files`]. A node starts without one that it knows and that answers with a temporary
    /// error; where another directory could come to be under its name meanwhile, it is given as a [`larder_storage_core::Late`] that asks
    /// [`crate::prove`].
    pub store: Arc<dyn Store>,
    /// What it may be used for.
    pub mode: StoreMode,
}

impl Mount {
    pub(crate) fn place(self, id: StoreId) -> Place {
        Place { id, name: self.name, store: self.store, mode: self.mode }
    }
}

/// What [`Files`] is made of.
#[derive(Clone, Debug)]
pub struct Parts {
    /// The stores, in the order of the configuration; at least one.
    pub stores: Vec<Mount>,
    /// The ledger.
    pub ledger: Arc<dyn Ledger>,
    /// Time, randomness, tasks.
    pub environment: Environment,
    /// The installation's secrets.
    pub secrets: Secrets,
    /// Tells which processes live, beside the stores that stage. `None` where all processes stage on the same stores, of which one is always
    /// there, or this process is the only one; what an earlier one left is that of a dead one then.
    pub roll: Option<Arc<dyn Roll>>,
}

/// What the configuration decides.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The placement of buckets that name none; empty: the first store.
    pub placement: Vec<StoreName>,
    /// Buckets that must exist, with their policies.
    pub buckets: Vec<(BucketName, BucketPolicy)>,
    /// How long a change waits for another one of the same file before it is `Busy`.
    pub claim_wait: Duration,
    /// How many files one commit may publish at once: at least 1, and 0 means 1.
    pub batch_max: usize,
    /// How often a node that changes things looks for what dead nodes left, and whether its database is still the current one;
    /// `None`: only when it starts.
    pub look_every: Option<Duration>,
    /// Whether this node ends soon, as a command does: what dead nodes left and must be waited for is left to others. It would be this one's
    /// meanwhile, and waited for from the beginning by who comes next.
    pub is_brief: bool,
    /// On how many files the reconciler works at once, in a node that looks: it makes the copies that placements want, and mends those
    /// that are lost. 0: that is left to other nodes.
    pub copies_at_once: usize,
    /// For how long requests are waited for of stores that do not stage.
    pub deadlines: Deadlines,
    /// Looks at new content while it arrives.
    pub examine: Option<Arc<dyn Examine>>,
    /// The store on which [`crate::Cache`] keeps what can be made again; of a file that is purged it goes too. `None`: nothing is kept.
    pub cache: Option<StoreName>,
}

impl Default for Settings {
    /// The three ready-made buckets, 10 s, 256 files, a look at the start only, not brief, 2 files, 30 s and 10 min.
    fn default() -> Self {
        Self {
            placement: vec![],
            buckets: crate::buckets::ready_made(),
            claim_wait: Duration::from_secs(10),
            batch_max: 256,
            look_every: None,
            is_brief: false,
            copies_at_once: 2,
            deadlines: Deadlines::default(),
            examine: None,
            cache: None,
        }
    }
}

/// Files over stores and a ledger: one node. Cheap to clone; the clones are one.
#[derive(Clone)]
pub struct Files(pub(crate) Arc<Node>);

/// A store that is in use.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) id: StoreId,
    pub(crate) name: StoreName,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) mode: StoreMode,
}

pub(crate) struct Node {
    /// In the order of the configuration.
    pub(crate) places: Vec<Place>,
    pub(crate) ledger: Arc<dyn Ledger>,
    pub(crate) environment: Environment,
    pub(crate) secrets: Secrets,
    pub(crate) roll: Option<Arc<dyn Roll>>,
    pub(crate) settings: Settings,
    pub(crate) epoch: u64,
    /// The names of stores that the index was rebuilt without.
    pub(crate) unread: Vec<String>,
    /// When it was.
    pub(crate) unread_since: Option<Timestamp>,
    /// This process, as its claims and staged parts name it.
    pub(crate) node: NodeId,
    pub(crate) buckets: Mutex<BTreeMap<BucketName, Bucket>>,
    /// The names, turns and idempotency keys that tasks of this node have, or ask for.
    pub(crate) names: Mutex<BTreeSet<Sha256>>,
    /// Held by the task of this node that settles what dead nodes have staged.
    pub(crate) heir: tokio::sync::Mutex<()>,
    /// Held by the request that looks for what a dead node left under its idempotency key: others find it then.
    pub(crate) repeats: tokio::sync::Mutex<()>,
    pub(crate) committer: Committer,
    pub(crate) state: Mutex<State>,
    /// Tells the reconciler what was noted.
    pub(crate) noted: Arc<Noted>,
    /// Whether the reconciler has looked at every file since this node started.
    pub(crate) walked: AtomicBool,
    /// Whether the mark was raised since this node started.
    pub(crate) marked: tokio::sync::OnceCell<()>,
}

/// How a node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// Everything works.
    Ready,
    /// It reads, but something must heal first; says what.
    Degraded(String),
    /// It must stop: its database is no longer the current one, or others have taken it for dead.
    Fenced(String),
}

/// A file as it is now.
pub type File = FileRow;

/// Content that has arrived, but is no file's yet: durable, or small and at hand. Dropping it discards it.
#[derive(Debug)]
pub struct Received {
    pub(crate) op: OpId,
    pub(crate) size: u64,
    pub(crate) digests: Digests,
    pub(crate) content_type: String,
    pub(crate) bucket: Bucket,
    pub(crate) owner: crate::Caller,
    /// When the owner was there, by the clock that never jumps.
    pub(crate) owner_seen: Duration,
    pub(crate) place: usize,
    pub(crate) key: larder_storage_core::Key,
    pub(crate) head: bytes::Bytes,
    /// Small content at hand, staged only together with its attributes.
    pub(crate) small: Option<bytes::Bytes>,
    /// What was found out about it.
    pub(crate) media: Option<Value>,
    pub(crate) guard: crate::create::Discard,
    pub(crate) idempotency: Option<crate::create::Reserved>,
}

impl Received {
    /// Size in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// SHA-256 of the content.
    #[must_use]
    pub fn sha256(&self) -> Sha256 {
        Sha256(self.digests.sha256)
    }

    /// Whether its idempotency key was one of a request that was answered before.
    #[must_use]
    pub fn is_repeat(&self) -> bool {
        self.idempotency.as_ref().is_some_and(|reserved| reserved.done.is_some())
    }
}

/// What is known of content before it arrives.
#[derive(Clone, Debug, Default)]
pub struct Receive {
    /// The bucket it is for.
    pub bucket: String,
    /// Whose it is to be; the caller's own without it, another's for admins only.
    pub owner: Option<UserName>,
    /// The name as far as it is known: it makes the file on disk recognisable, nothing else.
    pub name_hint: String,
    /// The request's idempotency key.
    pub idempotency: Option<IdempotencyKey>,
}

/// An idempotent request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// The client's key: 1 to 128 characters.
    pub key: String,
    /// Hash of what makes the request this one, but for its fields and content: method, path, query.
    pub request: Sha256,
}

/// What a file is to be.
#[derive(Clone, Debug, Default)]
pub struct NewFile {
    /// The user's name for it: 1 to 1,024 bytes without control characters.
    pub name: String,
    /// Tags.
    pub tags: Vec<String>,
    /// Metadata.
    pub metadata: Map<String, Value>,
    /// The type that the request declared; only ever told back.
    pub declared_type: Option<String>,
    /// The announced SHA-256.
    pub sha256: Option<Sha256>,
    /// What becomes of it where a live file of its owner has its name already.
    pub on_conflict: OnConflict,
    /// With [`OnConflict::Replace`]: the hashes one of which the content that is replaced must have; empty: there must be a file.
    pub if_match: Option<Vec<Sha256>>,
    /// What is known of its content; `None`: what was found out while it arrived.
    pub media: Option<Value>,
}

impl OnConflict {
    /// As requests name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::KeepBoth => "keep_both",
            Self::Replace => "replace",
            Self::Fail => "fail",
        }
    }
}

/// What becomes of a new file whose name a live one of its owner in the bucket has already. In a bucket of unique names one of anybody
/// is in the way, and only its owner's replaces it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnConflict {
    /// Both stay, where the bucket's names are free; else it is refused.
    #[default]
    KeepBoth,
    /// It becomes a new revision of the newest of them. Tags and metadata that it brings take the place of the file's.
    Replace,
    /// It is refused.
    Fail,
}

/// What a copy of a file is to be.
#[derive(Clone, Debug, Default)]
pub struct CopyTo {
    /// The bucket, where it is another one.
    pub bucket: Option<String>,
    /// The name, where it is another one.
    pub name: Option<String>,
    /// The request's idempotency key.
    pub idempotency: Option<IdempotencyKey>,
}

/// What became of a create.
#[derive(Clone, Debug)]
pub struct Created {
    /// The file.
    pub file: File,
    /// The status of the first answer, where this was a repeat of an idempotent request.
    pub repeated: Option<u16>,
    /// Whether it was there before, and has a new revision now.
    pub replaced: bool,
}

/// A change of a file's record; `None` leaves a field as it is.
#[derive(Clone, Debug, Default)]
pub struct Patch {
    /// New name.
    pub name: Option<String>,
    /// New tags.
    pub tags: Option<Vec<String>>,
    /// Merge patch of the metadata (RFC 7396).
    pub metadata: Option<Value>,
    /// New owner, for admins.
    pub owner: Option<UserName>,
    /// New bucket, for admins. The bytes stay where they are.
    pub bucket: Option<String>,
    /// The point of the picture that matters most, in fractions of its width and height as shown, each 0 to 1; `Some(None)` for none.
    pub focal: Option<Option<[f64; 2]>>,
}

/// Content opened for reading.
pub struct Content {
    /// The revision.
    pub revision: RevisionRow,
    /// The half-open range of offsets that `body` holds.
    pub range: Range<u64>,
    /// The bytes. It ends in an error where they can't be had to the end: what was read is then not to be believed.
    pub body: ByteStream,
}

/// Which files to list.
#[derive(Clone, Debug, Default)]
pub struct ListFiles {
    /// Only of this bucket.
    pub bucket: Option<String>,
    /// Only of this owner; admins without it see everybody's.
    pub owner: Option<String>,
    /// Only of exactly this name.
    pub name: Option<String>,
    /// Only names that begin so.
    pub prefix: Option<String>,
    /// Only names that hold this, without regard to case.
    pub q: Option<String>,
    /// Only with this tag.
    pub tag: Option<String>,
    /// Only of exactly this content type.
    pub content_type: Option<String>,
    /// Only those made later than this.
    pub created_after: Option<Timestamp>,
    /// Only those made earlier than this.
    pub created_before: Option<Timestamp>,
    /// The trash only, instead of live files only.
    pub deleted: bool,
    /// What they are listed by.
    pub sort: Sort,
    /// The other way round.
    pub descending: bool,
    /// Names that go on with a `/` behind the prefix are listed as folders, each once; only by [`Sort::Name`].
    pub folders: bool,
    /// Behind this place, as [`Page::next`] told it.
    pub after: Option<Position>,
    /// At most so many files and folders: 1 to 1,000.
    pub limit: usize,
}

/// A page of files.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    /// The files, in the order asked for.
    pub items: Vec<File>,
    /// The folders, in the order asked for: the prefix, and what follows to the next `/`, which is their last character.
    pub folders: Vec<String>,
    /// Where the next page begins, if there may be one.
    pub next: Option<Position>,
}
