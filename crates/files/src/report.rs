//! What recovery, rebuild and `fsck` have to say.

use crate::FileId;
use larder_storage_core::BoxError;
use serde::Serialize;

/// How many there are: `1 upload`, `2 uploads`.
pub(crate) fn counted(count: u64, one: &str, several: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { several })
}

/// What a start settled of what dead nodes had left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Recovered {
    /// Uploads whose commit point was reached: finished and indexed.
    pub finished: u64,
    /// Uploads that were broken off: undone.
    pub undone: u64,
    /// Changes and purges that were settled from what the stores say.
    pub settled: u64,
    /// What could not be settled, because a store is away: it is tried again later.
    pub waiting: u64,
}

/// What is wrong with a file, an object or a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// Bytes without attributes.
    OrphanBytes,
    /// Attributes of a purged file, or of no file.
    OrphanAttributes,
    /// A row whose attributes are nowhere.
    AttributesMissing,
    /// Attributes that can't be read.
    AttributesBroken,
    /// Two different attributes of one rank.
    AttributesConflict,
    /// A revision whose bytes are nowhere.
    BytesMissing,
    /// Bytes of another size than their attributes say.
    SizeMismatch,
    /// Bytes of another hash than their attributes say, or that can't be read.
    HashMismatch,
    /// A copy that the bucket's placement wants, and that is not made yet.
    CopyWanted,
    /// A row that says something else than the highest attributes.
    RowDiffers,
    /// A claim or a reserved idempotency key of a dead node, or an upload that broke off and is not at its end.
    IntentOpen,
    /// A temporary file of a dead node.
    Temporary,
    /// The database finds files by what differs from its rows.
    IndexDiffers,
    /// Something that is not ours.
    Foreign,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What.
    pub kind: FindingKind,
    /// The key, where there is one.
    pub key: Option<String>,
    /// The file, where it is known.
    pub id: Option<FileId>,
    /// In words: what was found, and what was done about it.
    pub detail: String,
}

/// What `fsck` is to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FsckOptions {
    /// Read all bytes and compare their hashes.
    pub verify: bool,
    /// Mend what can be mended; what is garbage goes to quarantine.
    pub repair: bool,
}

/// What `fsck` saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FsckSummary {
    /// Files that were checked.
    pub files: u64,
    /// Bytes that were read and hashed.
    pub bytes_verified: u64,
    /// Findings, `foreign` ones apart.
    pub findings: u64,
    /// Foreign objects.
    pub foreign: u64,
    /// Findings that were mended.
    pub repaired: u64,
    /// Revisions whose bytes are lost for good.
    pub lost: u64,
}

/// What a rebuild brought back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Rebuilt {
    /// The new epoch.
    pub epoch: u64,
    /// Files.
    pub files: u64,
    /// Revisions.
    pub revisions: u64,
    /// Users.
    pub users: u64,
    /// Buckets.
    pub buckets: u64,
    /// Users who can't log in until they are given a password; told only where users were sealed anew.
    pub locked: u64,
    /// Tombstones.
    pub tombstones: u64,
    /// Findings that were reported.
    pub findings: u64,
}

/// Why a node refuses to start. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The stores hold files, the database is missing or new.
    #[error("the store `{store}` holds files but the database is missing; bring it back with `larder rebuild`")]
    DatabaseMissing {
        /// The store.
        store: String,
    },
    /// The database is older than the stores.
    #[error("the database is an older copy ({why}); bring it up to date with `larder rebuild`")]
    OlderDatabase {
        /// How it shows.
        why: String,
    },
    /// Others have taken this process for dead while it started.
    #[error("others took this process for dead while it started: start it again")]
    Buried,
    /// The store belongs to another installation.
    #[error("the store `{store}` belongs to another installation ({found}); give it another directory or bucket")]
    ForeignStore {
        /// The store.
        store: String,
        /// That installation.
        found: String,
    },
    /// Two configured stores are one place.
    #[error("the stores `{first}` and `{second}` are one and the same place; remove one of them")]
    SameStore {
        /// One name.
        first: String,
        /// The other.
        second: String,
    },
    /// A known store does not show itself: it is not mounted, or it is another directory or bucket. A rebuild can go on without it
    /// ([`crate::RebuildOptions::without`]) where another store holds files.
    #[error("the store `{store}` is not the one it was: its marker is {found}")]
    StoreAway {
        /// The store.
        store: String,
        /// What was found.
        found: String,
    },
    /// A store is away, and no other can tell what it could. A rebuild can go on without it ([`crate::RebuildOptions::without`]), as far
    /// as the others know, where one of them holds files.
    #[error("the store `{store}` is away, and {lacks} ({why})")]
    NoStore {
        /// The store.
        store: String,
        /// Why it can't be reached.
        why: String,
        /// What the others can't tell.
        lacks: &'static str,
    },
    /// The secrets are not those that the stores were sealed with.
    #[error(
        "secrets.toml is not the one that the stores were sealed with; put that one back from its backup, \
         or seal all users and buckets anew with `larder rebuild --without-secrets`"
    )]
    WrongSecrets,
    /// A marker of a form that this Larder does not know.
    #[error("the store `{store}` was written by a newer Larder (form {form}); use that version")]
    NewerForm {
        /// The store.
        store: String,
        /// The form.
        form: u64,
    },
    /// The configuration contradicts itself.
    #[error("{0}")]
    Configuration(String),
    /// A store that this installation keeps files on is not configured. Where it is gone, a rebuild can go on without it, as above, or
    /// forget it ([`crate::RebuildOptions::forget`]).
    #[error("the store `{0}` belongs to this installation and is not configured")]
    StoreNotConfigured(String),
    /// A store was forgotten, and is here again.
    #[error("the store `{0}` was forgotten and is back; `larder rebuild` takes in what it holds")]
    StoreForgotten(String),
    /// A rebuild needs a store that is not configured.
    #[error(
        "the store `{0}` is needed for a rebuild and is not configured; put it back into the configuration, \
         or leave it out for now: `larder rebuild --without {0}`"
    )]
    StoreMissing(String),
    /// A store or the ledger failed.
    #[error("cannot start")]
    Failed(#[source] BoxError),
}
