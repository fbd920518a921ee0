//! Why there is no rendition.

use std::{sync::Arc, time::Duration};

/// The result of work on renditions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why there is no rendition. It can be cloned, since all who wait for one rendition are told the same.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file can't be read, or must not be.
    #[error(transparent)]
    Files(Arc<larder_files::Error>),
    /// The picture can't be made into what is asked for.
    #[error(transparent)]
    Media(#[from] larder_media::Error),
    /// So many renditions wait to be made that this one would wait too long. Ask again.
    #[error("too many renditions are being made: ask again in {} s", after.as_secs())]
    Busy {
        /// When to ask again.
        after: Duration,
    },
    /// A fault of ours.
    #[error("a rendition could not be made: {0}")]
    Internal(String),
}

impl From<larder_files::Error> for Error {
    fn from(error: larder_files::Error) -> Self {
        Self::Files(Arc::new(error))
    }
}
