//! The protocol that keeps rows and bytes in step: files over any number of stores and one ledger.
//!
//! What lies on the stores is the truth, the ledger is a cache of it. This crate writes both in the one order that survives a
//! crash after any step, settles what a dead process left, and rebuilds the ledger from nothing. It knows no SQL, no HTTP, no
//! concrete store, no clock and no randomness of its own: those come through [`Ledger`], [`larder_storage_core::Store`] and
//! [`Environment`].

mod attributes;
mod buckets;
mod cache;
mod caller;
mod canonical;
mod change;
mod committer;
mod content_type;
mod create;
mod direct;
mod dump;
mod environment;
mod error;
mod examine;
mod files;
mod fsck;
mod ids;
mod intents;
mod layout;
pub mod ledger;
mod list;
mod marker;
mod name_claim;
mod names;
mod node;
mod on_conflict;
mod people;
mod purge;
mod read;
mod rebuild;
mod reconcile;
mod records;
mod recovery;
mod report;
mod reseal;
mod roll;
mod sealed;
mod secrets;
#[cfg(feature = "simulation")]
pub mod simulation;
mod start;
mod stores;
mod timestamp;
mod tombstone;
mod truth;
mod write_copies;

pub use attributes::{Attributes, CreatedByKey, InvalidAttributes, Rank, Sha256};
pub use cache::{Cache, Cached};
pub use caller::{Caller, Role};
pub use canonical::canonical;
pub use direct::{Direct, NewDirect};
pub use environment::{Clock, Entropy, Environment, Spawn};
pub use error::{Error, Result};
pub use examine::{Examination, Examine, Unfit};
pub use files::{
    Content, CopyTo, Created, File, Files, Health, IdempotencyKey, ListFiles, Mount, NewFile, OnConflict, Page, Parts,
    Patch, Receive, Received, Settings, StoreMode,
};
pub use ids::{BucketId, DirectId, FileId, SessionId, StoreId, UserId};
pub use intents::Deadlines;
pub use larder_storage_core::{Body, BodyError, BoxError, ByteRange, ByteStream, Key, NodeId};
pub use ledger::{Ledger, Position, Sort};
pub use names::{BucketName, InvalidName, StoreName, UserName};
pub use people::{FilesOf, SETUP_LINK_LASTS, SessionTerms};
pub use rebuild::{Loss, Losses, RebuildOptions, losses, rebuild, rehearse_rebuild};
pub use records::{Bucket, BucketPolicy, Names, User};
pub use report::{Finding, FindingKind, FsckOptions, FsckSummary, Rebuilt, Recovered, StartError};
pub use roll::{Presence, Roll, Standing};
pub use secrets::Secrets;
pub use start::{check_possible, is_marked, prove, rehearse_start};
pub use stores::{StoreCheck, StoreReport};
pub use timestamp::Timestamp;
pub use tombstone::Tombstone;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
