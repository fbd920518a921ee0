//! A bucket as a Larder store, at any vendor's: what a server can do is found out, and not believed.
//!
//! [`S3Store`] keeps each object under its key, below a folder of the bucket. It streams, in memory that is bounded by its options,
//! and answers nothing that it did not see to be so. Which operation of a file's life needs which object is `larder-files`' business.
//!
//! What is absent: nothing is staged (`Store::staging` is `None`); no condition is relied on that the server was not seen to keep
//! ([`Profile`]); no `NotFound` is made of a refusal or an outage; no secret is in an error or in `Debug`.

mod again;
mod client;
mod copy;
mod delete;
mod examine;
mod fault;
mod gather;
mod get;
mod list;
mod look;
mod misconfigured;
mod options;
mod policy;
mod presign;
mod probe;
mod profile;
mod put;
mod store;
mod terms;
mod turns;
mod upload;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub use examine::{Examined, Extent, Finding, Health};
pub use misconfigured::Misconfigured;
pub use options::{Checksums, Credentials, Deadlines, Encryption, S3Options};
pub use profile::{Conditions, Profile};
pub use store::S3Store;
