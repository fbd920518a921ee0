//! What files needs to remember, in SQLite: rows, claims, reservations, and one writer per process.
//!
//! [`SqliteLedger`] is durable where SQLite's defaults are not: every connection has a write-ahead log and a full sync at each
//! commit, reads that back, and is refused otherwise. It knows no store and no HTTP; what its rows mean is [`larder_files`]'s.

mod cache;
mod convert;
mod entity;
mod examine;
mod open;
mod scans;
mod schema;
mod sqlite;
mod work;
mod writer;

pub use examine::Examined;
pub use open::{Durability, Open, OpenError};
pub use sqlite::SqliteLedger;
