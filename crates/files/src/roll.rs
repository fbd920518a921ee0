//! [`Roll`]: which processes of an installation live, where its stores may not tell.

use async_trait::async_trait;
use larder_storage_core::{NodeId, Result};
use std::fmt;

/// The processes of an installation that live. A store that stages tells by itself who holds a lock there; a bucket can't, and where
/// there are only buckets something else that all processes share must: a directory of locks, say.
#[async_trait]
pub trait Roll: fmt::Debug + Send + Sync + 'static {
    /// This process, which is on the roll for as long as it lives.
    fn node(&self) -> NodeId;

    /// Whether `node` lives. One that was never on the roll does not.
    ///
    /// # Errors
    /// `Unavailable` where it can't be told; never guessed.
    async fn is_alive(&self, node: &NodeId) -> Result<bool>;
}
