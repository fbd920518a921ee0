//! What went wrong: one error for whoever asked, whatever it was, and its cause for the log.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

/// Any cause, kept in the chain.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The result of a fetch.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The URL can't be imported. It says no more, by intent: whoever asks could otherwise learn from the difference between "refused",
/// "no answer" and "not found" what lives on the network around the server. [`Error::cause`] is for the log, and for nobody else.
#[derive(Debug, thiserror::Error)]
#[error("the URL can't be imported")]
pub struct Error(#[from] Cause);

impl Error {
    /// Why, for the log. It holds no part of the URL that can be secret (credentials, path, query); the host's name can be in it, and
    /// the names that a certificate is for.
    #[must_use]
    pub fn cause(&self) -> &Cause {
        &self.0
    }
}

/// Why a URL was not fetched to its end. It is also the [source](std::error::Error::source) of [`Error`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Cause {
    /// It is no URL, or one that is too long.
    #[error("this is no URL that can be asked for")]
    Url,
    /// Another scheme than `https`, and than `http` where the policy allows it.
    #[error("the scheme is not allowed")]
    Scheme,
    /// There is a user name or a password in the URL.
    #[error("the URL holds credentials")]
    Credentials,
    /// Another port than 80 and 443.
    #[error("port {0} is not allowed")]
    Port(u16),
    /// The name has no addresses, or nobody could tell.
    #[error("the name was not found")]
    LookUp(#[source] io::Error),
    /// An address that is not global, or one of several of a name.
    #[error("{0} is not a public address")]
    Address(IpAddr),
    /// No connection to the last address that was tried.
    #[error("cannot connect to {address}")]
    Connect {
        /// The address that was vetted.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The server could not prove that it has this name, or spoke no TLS.
    #[error("no TLS with {address}")]
    Tls {
        /// The address that was vetted.
        address: SocketAddr,
        /// What the handshake said.
        source: io::Error,
    },
    /// The answer was no HTTP, its head was too large, or it never came.
    #[error("the answer is broken")]
    Answer(#[source] BoxError),
    /// Another status than 200, and no redirect.
    #[error("the answer has status {0}")]
    Status(u16),
    /// A redirect without a place to go to, or with two.
    #[error("the redirect says no place")]
    Location,
    /// A redirect from `https` to `http`.
    #[error("the redirect leads from https to http")]
    Downgrade,
    /// One redirect too many.
    #[error("there are more than {0} redirects")]
    Redirects(usize),
    /// The content is compressed, or framed in a way that was not asked for.
    #[error("the content is encoded")]
    Encoded,
    /// The content is announced to be, or turned out to be, larger than [`Policy::bytes_max`](crate::Policy::bytes_max). Not told
    /// apart for whoever asked either: the size of what only this server can reach is no business of theirs.
    #[error("the content is over {max} bytes")]
    TooLarge {
        /// The limit in bytes.
        max: u64,
    },
    /// The content ended before its end.
    #[error("the content broke off")]
    BrokeOff(#[source] BoxError),
    /// A step took longer than the policy allows.
    #[error("{step} took longer than {limit:?}")]
    Late {
        /// The step.
        step: Step,
        /// The time that the policy gives it.
        limit: Duration,
    },
}

/// A step that has a deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// Looking up the name, connecting, and TLS, of one request.
    Connect,
    /// The head of one answer.
    Head,
    /// The wait for the next block of the content.
    Block,
    /// All of it.
    Whole,
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Connect => "connecting",
            Self::Head => "the head of the answer",
            Self::Block => "a block of the content",
            Self::Whole => "the whole",
        })
    }
}

/// This machine has no root certificates, so no server could prove who it is. For the operator, not for whoever asks for a URL.
#[derive(Debug, thiserror::Error)]
#[error("no root certificates were found; install the package `ca-certificates`, or name a file in `SSL_CERT_FILE`")]
pub struct NoRoots(#[source] pub(crate) Option<BoxError>);
