//! A directory as a Larder store.
//!
//! [`LocalStore`] keeps each object as a file that plain tools can read: the key `a/b.pdf` is the file `a/b.pdf` below the root.
//! What it answers is durable, what it writes appears whole or not at all, and no key and no symbolic link leads out of the root.
//! Which operation of a file's life needs which object is `larder-files`' business.
//!
//! ```
//! # use larder_storage_core::{Body, Key, PutOptions, Store, StoreExt};
//! # use larder_storage_local::{LocalOptions, LocalStore};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let place = tempfile::tempdir()?;
//! let store = LocalStore::open(LocalOptions::new(place.path().join("objects")))?;
//! let key = Key::new("documents/report.pdf")?;
//! store.put(&key, Body::from("%PDF"), PutOptions::create()).await?;
//! assert_eq!(store.get_bytes(&key, 1024).await?, "%PDF");
//! # Ok(())
//! # }
//! ```
//!
//! One upload, from the body to the answer:
//!
//! 1. `stage` writes the bytes to `.larder/staging/<node>/<op>.bytes`, hashing beside the writing, and syncs the file. The same
//!    for `<op>.attr`. A body that breaks off leaves nothing.
//! 2. `publish` links the bytes, then the attributes, to their keys; a name that is taken fails its pair alone.
//! 3. It syncs each folder that got a name, and each above it that is not known to be durable. A sync that fails makes the pair's
//!    outcome indeterminate; it is never tried again. Then it answers.
//! 4. `discard` removes the staged names, unsynced. Whoever finds them after a crash settles the operation by them.
//!
//! What is absent: no call follows a symbolic link or resolves a text from `/`; no file is ever written in place; no thread is held
//! by a slow client; nothing waits for memory that another client holds; empty folders stay until an object needs their name.

mod durable;
mod errno;
mod list;
mod path;
mod pool;
mod probe;
mod read;
mod root;
mod staging;
mod store;
mod write;

pub use list::{Foreign, ForeignKind};
pub use store::{LocalOptions, LocalStore, StoreLock};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// The steps at which a test may kill the process, in the order in which an upload, a put, a delete and a recovery reach them.
pub const CRASH_POINTS: [&str; 15] = [
    "local.stage.bytes_durable",
    "local.stage.attributes_durable",
    "local.mkdir",
    "local.publish.bytes_linked",
    "local.publish.attributes_linked",
    "local.publish.before_sync",
    "local.publish.synced",
    "local.put.written",
    "local.put.named",
    "local.put.synced",
    "local.delete.unlinked",
    "local.delete.synced",
    "local.withdraw.unlinked",
    "local.finish.linked",
    "local.discarded",
];

/// Dies here if a test asked for it.
fn reach(point: &'static str) {
    debug_assert!(CRASH_POINTS.contains(&point), "{point} is not on the list");
    larder_storage_core::crash_point!(point);
}
