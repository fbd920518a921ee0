//! What files needs to remember, in SQLite or PostgreSQL: rows, claims, reservations, and one writer per process.
//!
//! [`SqlLedger`] is durable where the databases' settings may not be: over SQLite every connection has a write-ahead log and a full
//! sync at each commit, over PostgreSQL `fsync` and `synchronous_commit` are on; each connection reads that back, and is refused
//! otherwise. It knows no store and no HTTP; what its rows mean is [`larder_files`]'s.

mod cache;
mod convert;
mod entity;
mod examine;
mod fault;
mod home;
mod letters;
mod lists;
mod open;
mod roll;
mod scans;
mod schema;
mod server;
mod sql;
mod work;
mod writer;

pub use examine::Examined;
pub use open::{Durability, Open, OpenError};
pub use roll::{LedgerRoll, nodes_on_roll};
pub use server::{ExaminedServer, Rebuilding, Server};
pub use sql::SqlLedger;
