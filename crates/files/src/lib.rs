//! The protocol that keeps rows and bytes in step: files over any number of stores and one ledger.
//!
//! What lies on the stores is the truth, the ledger is a cache of it. This crate writes both in the one order that survives a
//! crash after any step, settles what a dead process left, and rebuilds the ledger from nothing. It knows no SQL, no HTTP, no
//! concrete store, no clock and no randomness of its own: those come through [`Ledger`], [`larder_storage_core::Store`] and
//! [`Environment`].

mod attributes;
mod caller;
mod canonical;
mod environment;
mod error;
mod ids;
pub mod ledger;
mod names;
mod records;
mod timestamp;
mod tombstone;

pub use attributes::{Attributes, CreatedByKey, Rank, Sha256};
pub use caller::{Caller, Role};
pub use canonical::canonical;
pub use environment::{Clock, Entropy, Environment, Spawn};
pub use error::{Error, Result};
pub use ids::{BucketId, FileId, StoreId, UserId};
pub use ledger::Ledger;
pub use names::{BucketName, InvalidName, StoreName, UserName};
pub use records::{Bucket, BucketPolicy, User};
pub use timestamp::Timestamp;
pub use tombstone::Tombstone;
