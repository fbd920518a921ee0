//! What an errno means to a caller: [`Fault`] is an error that does not know its operation and key yet.

use larder_storage_core::{BoxError, Error, ErrorKind, InvalidKey, InvalidRange, Key, Op};
use rustix::io::Errno;
use std::fmt::Display;

pub(crate) type Outcome<T> = Result<T, Fault>;

/// An error below the store; [`Fault::at`] makes the store's own of it.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) kind: ErrorKind,
    temporary: Option<bool>,
    cause: Option<BoxError>,
}

impl Fault {
    /// A fault whose cause is a sentence.
    pub(crate) fn says(kind: ErrorKind, cause: impl Into<BoxError>) -> Self {
        Self { kind, temporary: None, cause: Some(cause.into()) }
    }

    /// The body's own error.
    pub(crate) fn body(cause: BoxError) -> Self {
        Self::says(ErrorKind::Body, cause)
    }

    /// The change was made, but could not be made durable: whoever looks will see it, a power cut may undo it.
    pub(crate) fn unsettled(self) -> Self {
        Self { kind: ErrorKind::Indeterminate, temporary: Some(false), ..self }
    }

    /// As met by a reader, to whom a file where a folder should be is just as absent as nothing at all.
    pub(crate) fn read(errno: Errno) -> Self {
        match errno {
            Errno::NOTDIR | Errno::ISDIR | Errno::NXIO => ErrorKind::NotFound.into(),
            errno => errno.into(),
        }
    }

    /// Whether nothing lies there.
    pub(crate) fn is_absent(&self) -> bool {
        self.kind == ErrorKind::NotFound
    }

    /// A copy of it, with the cause as text: one failed directory fails several pairs.
    pub(crate) fn again(&self) -> Self {
        let cause = self.cause.as_ref().map(|cause| cause.to_string().into());
        Self { kind: self.kind.clone(), temporary: self.temporary, cause }
    }

    /// What caused it, or its kind where nothing else is known.
    pub(crate) fn into_cause(self) -> BoxError {
        self.cause.unwrap_or_else(|| self.kind.into())
    }

    /// The store's own error: what was tried, on what.
    pub(crate) fn at(self, op: Op, subject: impl Display, store: impl Display) -> Error {
        let error = Error::new(op, subject, store, self.kind);
        let error = match self.temporary {
            Some(temporary) => error.temporary(temporary),
            None => error,
        };
        match self.cause {
            Some(cause) => error.because(cause),
            None => error,
        }
    }
}

impl From<ErrorKind> for Fault {
    fn from(kind: ErrorKind) -> Self {
        Self { kind, temporary: None, cause: None }
    }
}

impl From<InvalidRange> for Fault {
    fn from(range: InvalidRange) -> Self {
        ErrorKind::from(range).into()
    }
}

impl From<Errno> for Fault {
    fn from(errno: Errno) -> Self {
        let kind = match errno {
            Errno::NOENT => ErrorKind::NotFound,
            Errno::EXIST => ErrorKind::AlreadyExists,
            Errno::NOTDIR | Errno::ISDIR | Errno::NOTEMPTY => ErrorKind::KeyConflict,
            Errno::NOSPC | Errno::DQUOT => ErrorKind::Full,
            Errno::FBIG => ErrorKind::TooLarge { max: i64::MAX as u64 },
            Errno::ROFS => ErrorKind::ReadOnly,
            // LOOP is a symbolic link on the way; XDEV a way out of the root, or another file system mounted below it.
            Errno::ACCESS | Errno::PERM | Errno::LOOP | Errno::XDEV => ErrorKind::PermissionDenied,
            // Components are cut to 255 bytes, so this is a file system with shorter names still.
            Errno::NAMETOOLONG => InvalidKey::TooLong { len: Key::BYTES_MAX }.into(),
            _ => ErrorKind::Unavailable,
        };
        // A device that fails to read or write does not get better by being asked again.
        let temporary = (errno == Errno::IO).then_some(false);
        Self { kind, temporary, cause: Some(std::io::Error::from(errno).into()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_errno_says_what_the_caller_can_do() {
        let table = [
            (Errno::NOENT, ErrorKind::NotFound, false),
            (Errno::EXIST, ErrorKind::AlreadyExists, false),
            (Errno::NOSPC, ErrorKind::Full, false),
            (Errno::DQUOT, ErrorKind::Full, false),
            (Errno::ROFS, ErrorKind::ReadOnly, false),
            (Errno::ACCESS, ErrorKind::PermissionDenied, false),
            (Errno::PERM, ErrorKind::PermissionDenied, false),
            (Errno::LOOP, ErrorKind::PermissionDenied, false),
            (Errno::MFILE, ErrorKind::Unavailable, true),
            (Errno::NFILE, ErrorKind::Unavailable, true),
            (Errno::STALE, ErrorKind::Unavailable, true),
            (Errno::IO, ErrorKind::Unavailable, false),
        ];
        for (errno, kind, temporary) in table {
            let error = Fault::from(errno).at(Op::Put, "a", "local:/srv");
            assert_eq!((error.kind(), error.is_temporary()), (&kind, temporary), "{errno:?}");
        }
    }
}
