#![doc = include_str!("../README.md")]
mod address;
mod connect;
mod content;
mod deadline;
mod error;
mod fetcher;
mod name;
mod policy;
mod resolve;
mod target;

pub use error::{BoxError, Cause, Error, NoRoots, Result, Step};
pub use fetcher::{Fetched, Fetcher};
pub use policy::Policy;
pub use resolve::{Resolve, SystemResolver};
