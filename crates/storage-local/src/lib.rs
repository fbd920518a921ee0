//! A directory as a Larder store.
//!
//! [`LocalStore`] keeps each object as a file that plain tools can read: the key `a/b.pdf` is the file `a/b.pdf` below the root.
//! What it answers is durable, what it writes appears whole or not at all, and no key and no symbolic link leads out of the root.
//! Which operation of a file's life needs which object is `larder-files`' business.

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
