//! [`MemoryStore`]: the reference of the contract, and a disk that can lose its power.
//!
//! A [`MemoryDisk`] keeps what is *visible* and what is *durable* apart: a change is seen at once and survives
//! [`MemoryDisk::power_cut`] for certain only once it was synced. Each call passes named [steps](Steps) at which a simulator may
//! delay it, fail it, or kill its node. It leaves time and chance to whoever drives it: nothing here reads a clock or a random
//! number, and everything is kept in order.

mod disk;
mod multipart;
mod staging;
mod store;
#[cfg(test)]
mod tests;

pub use disk::{Clock, MemoryDisk, MemoryOptions, Steps};
pub use store::MemoryStore;
