//! What went wrong, by what the caller can do about it. Public: no message holds a path, a store's place or SQL.

use crate::ledger::LedgerError;
use larder_storage_core::{self as core, BoxError};

/// The result of an operation on files.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failed operation on files. The message may be shown to whoever asked; causes are for the log.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is none, or it is another's.
    #[error("no such {0}")]
    NotFound(&'static str),
    /// It was purged.
    #[error("the file was purged")]
    Gone,
    /// A field of the request is wrong.
    #[error("{message}")]
    Invalid {
        /// The field.
        field: &'static str,
        /// What is wrong with it and what would be right.
        message: String,
    },
    /// The caller may not do this, and may know it.
    #[error("{0}")]
    Forbidden(&'static str),
    /// It contradicts what is there.
    #[error("{0}")]
    Conflict(String),
    /// Another live file has the name.
    #[error("the name `{name}` is taken{}", by.map(|id| format!(" by {id}")).unwrap_or_default())]
    NameTaken {
        /// The name.
        name: String,
        /// The file that has it, where the caller may know of it.
        by: Option<crate::FileId>,
    },
    /// A condition of the request is false.
    #[error("{}, not as the condition says", if *version > 0 { format!("the file is at version {version}") } else { "there is none".into() })]
    PreconditionFailed {
        /// The version that it is at; 0 where there is no file.
        version: u64,
    },
    /// The content is over the bucket's limit.
    #[error("the content is over the limit of {max} bytes")]
    TooLarge {
        /// The limit in bytes.
        max: u64,
    },
    /// The bucket does not take this type.
    #[error("the bucket `{bucket}` does not take `{found}`{}", declared.as_ref().map(|d| format!(" (declared as `{d}`)")).unwrap_or_default())]
    UnsupportedType {
        /// The bucket.
        bucket: String,
        /// The type by the content.
        found: String,
        /// The type that the request declared.
        declared: Option<String>,
    },
    /// The content is not what its first bytes say, and its bucket takes only what is. Nothing was kept.
    #[error("{0}")]
    Unfit(String),
    /// The content is not the announced one. Nothing was kept.
    #[error("the content has SHA-256 {found}, {expected} was announced")]
    DigestMismatch {
        /// As announced.
        expected: crate::Sha256,
        /// As received.
        found: crate::Sha256,
    },
    /// The range selects nothing.
    #[error("the range selects nothing of {size} bytes")]
    RangeNotSatisfiable {
        /// The content's size in bytes.
        size: u64,
    },
    /// The body broke off, or had another length than announced. Nothing was kept.
    #[error("the content broke off")]
    Body(#[source] BoxError),
    /// The same idempotent request still runs.
    #[error("the same request is still running")]
    Running,
    /// The idempotency key was used for another request.
    #[error("the idempotency key was used for another request")]
    KeyReused,
    /// The newest content is lost on every store.
    #[error(
        "the content is lost on every store: `larder fsck --verify` names its key, at which right bytes can be put back by hand"
    )]
    ContentLost(#[source] Option<BoxError>),
    /// The content lies on stores of the mode `ar` alone.
    #[error("the content lies in an archive, the store `{0}`: its mode must be another one before it can be read")]
    Archived(crate::StoreName),
    /// The caller has so many direct uploads already.
    #[error("this user has {0} direct uploads that were neither completed nor ended")]
    TooMany(usize),
    /// Another change of the file is under way, or must be settled first. Ask again.
    #[error("the file is busy")]
    Busy,
    /// A store that is needed is away. Ask again.
    #[error("a store is unavailable")]
    StoreUnavailable(#[source] Option<BoxError>),
    /// The database can't be reached, or is held by others for too long; nothing happened. Ask again.
    #[error("the database is unavailable")]
    LedgerUnavailable(#[source] BoxError),
    /// No store takes the change: read-only modes, or a node that turned degraded.
    #[error("no store takes changes now: {0}")]
    ReadOnly(String),
    /// The index was rebuilt without a store, which may know better: what it does not tell of can't be called absent, and what was
    /// there before takes no changes.
    #[error(
        "the index was rebuilt without the store {0}: until `larder rebuild` has read that too, what is from before can only be read"
    )]
    Provisional(String),
    /// It may have happened: ask again with the same key.
    #[error("the outcome is not known")]
    Indeterminate(#[source] BoxError),
    /// No space is left.
    #[error("no space is left")]
    Full(#[source] BoxError),
    /// This node's ledger was replaced or outranked: it must stop.
    #[error("this node's database is no longer the current one: {0}")]
    Fenced(String),
    /// A fault of ours.
    #[error("internal error")]
    Internal(#[source] BoxError),
}

impl Error {
    /// An invalid field.
    pub fn invalid(field: &'static str, message: impl Into<String>) -> Self {
        Self::Invalid { field, message: message.into() }
    }

    /// A fault of ours, for what must not happen.
    pub fn internal(cause: impl Into<BoxError>) -> Self {
        Self::Internal(cause.into())
    }

    /// Whether the same call may succeed later without anybody changing anything.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        let away = matches!(self, Self::StoreUnavailable(_) | Self::LedgerUnavailable(_));
        away || matches!(self, Self::Running | Self::Busy | Self::Indeterminate(_))
    }
}

impl From<core::Error> for Error {
    /// A store's error as a file's: an absence is *not* one here, whoever asked decides what it means.
    fn from(error: core::Error) -> Self {
        use core::ErrorKind as Kind;
        match error.kind() {
            Kind::Body => Self::Body(error.into()),
            Kind::TooLarge { max } => Self::TooLarge { max: *max },
            Kind::InvalidRange(range) => Self::RangeNotSatisfiable { size: range.size },
            Kind::Full => Self::Full(error.into()),
            Kind::ReadOnly => Self::ReadOnly(error.kind().to_string()),
            Kind::Indeterminate | Kind::Timeout => Self::Indeterminate(error.into()),
            Kind::Unavailable | Kind::PermissionDenied | Kind::Withheld => Self::StoreUnavailable(Some(error.into())),
            _ => Self::Internal(error.into()),
        }
    }
}

impl From<LedgerError> for Error {
    fn from(error: LedgerError) -> Self {
        match error {
            LedgerError::Busy => Self::Busy,
            LedgerError::Tombstoned => Self::Gone,
            LedgerError::NotFound => Self::NotFound("file"),
            LedgerError::Taken(name) => Self::Conflict(format!("the name `{name}` is taken")),
            LedgerError::Fenced(why) => Self::Fenced(why),
            taken @ LedgerError::Superseded => Self::Indeterminate(taken.into()),
            LedgerError::Indeterminate(cause) => Self::Indeterminate(cause),
            LedgerError::Full(cause) => Self::Full(cause),
            LedgerError::Unavailable(cause) => Self::LedgerUnavailable(cause),
            LedgerError::Internal(cause) => Self::Internal(cause),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_that_is_away_is_to_be_asked_again_and_a_broken_one_is_not() {
        let away = Error::from(LedgerError::Unavailable("away".into()));
        assert!(away.is_temporary() && matches!(away, Error::LedgerUnavailable(_)), "{away:?}");
        let broken = Error::from(LedgerError::Internal("broken".into()));
        assert!(!broken.is_temporary() && matches!(broken, Error::Internal(_)), "{broken:?}");
    }
}
