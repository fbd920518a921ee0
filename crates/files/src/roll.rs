//! [`Roll`]: which processes of an installation live, where its stores may not tell.

use crate::StoreId;
use async_trait::async_trait;
use larder_storage_core::{BoxError, Gate, InMode, Mode, NodeId, Store};
use std::{fmt, sync::Arc};

/// The processes of an installation that live. A store that stages tells by itself who holds a lock there; a bucket can't, and where
/// there are only buckets something else that all processes share must: a directory of locks, or the database.
#[async_trait]
pub trait Roll: fmt::Debug + Send + Sync + 'static {
    /// This process, which is on the roll for as long as it lives.
    fn node(&self) -> NodeId;

    /// What the roll says of `node`. Once it says that one is absent, nothing that this one begins from then on takes effect: the roll's
    /// keeper sees to that ([`Roll::standing`], and a ledger that takes nothing of it any more). One that held a lock which is free has ended.
    ///
    /// # Errors
    /// Why it can't be told now; never guessed.
    async fn presence(&self, node: &NodeId) -> Result<Presence, BoxError>;

    /// How this process stands with the others, as far as it knows: told without a look. Nothing is sent to a store that does not stage
    /// unless it is [`Standing::Alive`]. One that is on the roll by a lock always is.
    fn standing(&self) -> Standing {
        Standing::Alive
    }
}

/// What a roll says of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It never was on the roll, or is no longer: it does not live.
    Absent,
    /// It lives, as far as anybody can tell.
    Present,
    /// The same, but it holds a lock on each of these stores, of which there is one at least: a store of them that is at hand knows better.
    Holding(Vec<StoreId>),
}

/// How a process stands with the others of its installation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It counts as living.
    Alive,
    /// Others may come to take it for dead, as it could not tell them for too long that it lives; says why. That may pass.
    Unheard(String),
    /// Others have taken it for dead, and may have settled what it had begun: it must end. Says why.
    Buried(String),
}

/// Shut unless the process counts as living.
#[derive(Debug)]
struct WhileAlive(Arc<dyn Roll>);

impl Gate for WhileAlive {
    fn check(&self) -> Result<(), BoxError> {
        match self.0.standing() {
            Standing::Alive => Ok(()),
            Standing::Unheard(why) | Standing::Buried(why) => Err(why.into()),
        }
    }
}

/// `store`, which takes changes only while this process counts as living. On one that stages, its lock says so.
pub(crate) fn while_alive(store: Arc<dyn Store>, roll: &Arc<dyn Roll>) -> Arc<dyn Store> {
    match store.staging() {
        Some(_) => store,
        None => Arc::new(InMode::new(store, Mode::Edit).gated(Arc::new(WhileAlive(roll.clone())))),
    }
}
