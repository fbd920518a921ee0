//! What went wrong: the operation, the key, the store, and a kind that says what the caller can do about it.

use crate::{InvalidKey, InvalidRange};
use std::{fmt, sync::Arc};

/// Any cause, kept in the chain.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The result of a store's operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
#[non_exhaustive]
pub enum Op {
    Open,
    Put,
    Get,
    Head,
    Delete,
    List,
    Copy,
    Sync,
    Stage,
    Publish,
    Recover,
    Discard,
    Multipart,
    Presign,
}

impl Op {
    /// The call's name in messages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Put => "put",
            Self::Get => "get",
            Self::Head => "head",
            Self::Delete => "delete",
            Self::List => "list",
            Self::Copy => "copy",
            Self::Sync => "sync",
            Self::Stage => "stage",
            Self::Publish => "publish",
            Self::Recover => "recover",
            Self::Discard => "discard",
            Self::Multipart => "upload in parts",
            Self::Presign => "presign",
        }
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why it failed, by what the caller can do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// There is no such object. Never an outage: that is [`ErrorKind::Unavailable`].
    #[error("no such object")]
    NotFound,
    /// A create-only write met an object.
    #[error("the object already exists")]
    AlreadyExists,
    /// An ETag given as a condition is not the object's, or there is no object.
    #[error("the object is not the expected one")]
    PreconditionFailed,
    /// The key can't be kept here.
    #[error("invalid key: {0}")]
    InvalidKey(#[from] InvalidKey),
    /// An object lies where this key needs a folder, or a folder where it needs an object ([`crate::Limits::nested_keys`]).
    #[error("an object and a folder can't have one name here")]
    KeyConflict,
    /// The range selects nothing.
    #[error(transparent)]
    InvalidRange(#[from] InvalidRange),
    /// The body ended in an error, or had another length than it announced. Nothing was published.
    #[error("the body broke off")]
    Body,
    /// The object is over [`crate::Limits::object_bytes_max`].
    #[error("the object is over the store's limit of {max} bytes")]
    TooLarge {
        /// The limit in bytes.
        max: u64,
    },
    /// What is stored is not what was written.
    #[error("the object is damaged")]
    Corrupt,
    /// The store refuses these credentials, or the file system this user.
    #[error("permission denied")]
    PermissionDenied,
    /// The store's mode, or a read-only file system, forbids the change.
    #[error("the store does not take this change")]
    ReadOnly,
    /// The store's mode keeps bytes as an archive: they must be moved back before they can be read.
    #[error("the object is archived and must be moved back first")]
    Archived,
    /// No space or quota is left.
    #[error("no space is left")]
    Full,
    /// The store can't be reached or answers with a fault of its own.
    #[error("the store is unavailable")]
    Unavailable,
    /// It took longer than allowed; it may still happen.
    #[error("the deadline has passed")]
    Timeout,
    /// It may have happened: the caller must look before it says either.
    #[error("the outcome is unknown")]
    Indeterminate,
    /// The store can't do this at all.
    #[error("the store can't do this")]
    Unsupported,
    /// The store was asked nothing: this process may not change anything now. Nothing has happened.
    #[error("the change was not sent")]
    Withheld,
}

/// A failed operation of a store: *cannot get `a/b` in local:/srv: no such object*.
#[derive(Debug, thiserror::Error)]
#[error("cannot {op} {subject} in {store}: {kind}")]
pub struct Error {
    op: Op,
    subject: String,
    store: Arc<str>,
    kind: ErrorKind,
    temporary: bool,
    source: Option<BoxError>,
}

impl Error {
    /// An error of `kind` when `op` was tried on `subject` (a key, a prefix, or whatever it was) in `store` (its `Display`).
    pub fn new(op: Op, subject: impl fmt::Display, store: impl fmt::Display, kind: ErrorKind) -> Self {
        let temporary = matches!(kind, ErrorKind::Unavailable | ErrorKind::Timeout | ErrorKind::Withheld);
        let (subject, store) = (format!("`{subject}`"), store.to_string().into());
        Self { op, subject, store, kind, temporary, source: None }
    }

    /// The same with its cause.
    #[must_use]
    pub fn because(mut self, source: impl Into<BoxError>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The same, with [`Error::is_temporary`] said by whoever knows better than the kind does.
    #[must_use]
    pub fn temporary(mut self, temporary: bool) -> Self {
        self.temporary = temporary;
        self
    }

    /// What was tried.
    #[must_use]
    pub fn op(&self) -> Op {
        self.op
    }

    /// What the caller can do about it.
    #[must_use]
    pub fn kind(&self) -> &ErrorKind {
        &self.kind
    }

    /// The store, as it displays itself.
    #[must_use]
    pub fn store(&self) -> &str {
        &self.store
    }

    /// Whether the same call may succeed later without anybody changing anything.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        self.temporary
    }

    /// Whether there is no such object; never so for an outage.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.kind == ErrorKind::NotFound
    }
}
