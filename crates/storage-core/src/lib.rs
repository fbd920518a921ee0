//! The contract of a store: what it keeps, which laws it obeys, and how anybody can prove that theirs does.
//!
//! A [`Store`] keeps *objects* (bytes) under [`Key`]s. This crate holds the contract, the words it is written in, decorators that
//! add one behaviour each, an in-memory reference and the conformance suite. It leaves concrete backends, HTTP and SQL to others.

#[cfg(feature = "conformance")]
pub mod conformance;

mod body;
#[cfg(feature = "crash-points")]
#[doc(hidden)]
pub mod crash;
mod decorate;
mod digest;
mod error;
mod key;
mod memory;
#[cfg(feature = "mock")]
pub mod mock;
mod multipart;
mod presign;
mod range;
mod staging;
mod store;

pub use body::{Body, BodyError, ByteStream, Reopen};
pub use decorate::{
    Backoff, Deadlines, Direction, Expected, Gate, InMode, Late, Meter, Metered, Mode, Opener, Outcome, Random, Retry,
    Timeout, Timer, TokioTimer, UnknownMode,
};
pub use digest::{Digests, Hasher};
pub use error::{BoxError, Error, ErrorKind, Op, Result};
pub use key::{InvalidKey, Key, Prefix};
pub use memory::{Clock, MemoryDisk, MemoryOptions, MemoryStore, Steps};
pub use multipart::{Multipart, OpenUpload, PartNumber, UploadId, UploadedPart};
pub use presign::{Bound, Presign, PresignMethod, SentAs, SignedRequest};
pub use range::{ByteRange, InvalidRange};
pub use staging::{Leftover, NodeId, OpId, Pair, Part, Staged, Staging};
pub use store::{
    Durable, ETag, GetOptions, Limits, ListOptions, ListToken, Listed, Object, ObjectMeta, PutMode, PutOptions, Space,
    Store, StoreExt, Written, undecorated,
};

/// Kills the process here where a test asked for it (feature `crash-points`, environment `LARDER_CRASH_POINT=NAME` or `NAME:N` for
/// the N-th pass). Without the feature it is nothing.
#[cfg(feature = "crash-points")]
#[macro_export]
macro_rules! crash_point {
    ($name:expr) => {
        $crate::crash::reach($name)
    };
}

/// Kills the process here where a test asked for it (feature `crash-points`). Without the feature it is nothing.
#[cfg(not(feature = "crash-points"))]
#[macro_export]
macro_rules! crash_point {
    ($name:expr) => {{
        let _ = $name;
    }};
}
