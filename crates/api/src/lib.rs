//! HTTP over [`larder_files::Files`]: log-in, upload, record, content with conditions and ranges, list, health.
//!
//! A worker speaks HTTP and nothing else: it reads heads and bodies under deadlines, checks what a request says, and has `Files`
//! do the rest on the runtime of `Files`. This crate knows no store, no SQL and no file system, and holds no body in memory or in
//! a file of its own: bytes pass through a channel of one block, so a slow side slows the other one down.

mod auth;
mod buckets;
mod callers;
mod conditions;
mod content;
mod cursor;
mod deadline;
mod digest;
mod direct;
mod disposition;
mod docs;
mod envelope;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod health;
mod import;
mod inspect;
mod limits;
mod list;
mod metrics;
mod multipart;
mod names;
mod openapi;
pub mod password;
mod problem;
mod proxy;
mod range;
pub mod record;
mod renditions;
mod request;
mod routes;
mod server;
mod setup;
mod signature;
mod stores;
mod throttle;
mod token;
mod upload;
mod users;

pub use inspect::{Inspect, Inspected, Inspectors, Profile};
pub use limits::Limits;
pub use metrics::MetricsToken;
pub use openapi::openapi;
pub use proxy::{ForwardedBy, Network, NoNetwork, Proxies};
pub use routes::listed as routes;
pub use server::{Server, ServerConfig, ServerHandle};
pub use signature::RecipeKeys;
