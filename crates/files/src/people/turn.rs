//! [`Turn`]: what may take an admin away happens one at a time, over all nodes of a ledger.
//!
//! Two admins who delete each other at once must not both succeed, and no single record tells how many there are. So whoever changes
//! a role or deletes a user first takes the one turn there is: a reservation in the ledger, under a key of its own. It is given back
//! once the outcome is certain, and passes to others when its node is dead. What that node had made durable by then, its ledger
//! knowing nothing of it, is taken in before anybody counts.

use crate::{
    Error, Result, Sha256, Timestamp,
    files::Node,
    ledger::Reservation,
    node::{CLAIM_POLL_MAX, CLAIM_POLL_MIN},
};
use std::sync::Arc;
use tokio::sync::OwnedMutexGuard;

/// The right to take admins away. The last one who holds it gives it back.
pub(crate) struct Turn {
    node: Arc<Node>,
    /// Keeps the other tasks of this node from taking a reservation of this node for a forgotten one of theirs.
    alone: Option<OwnedMutexGuard<()>>,
}

fn key() -> Sha256 {
    Sha256::of(b"larder: the turn to take an admin away")
}

impl Node {
    /// Waits for the turn, and takes in what the one before may have left. Costs a listing of the sealed records on each store.
    ///
    /// # Errors
    /// `Busy` where another has it for too long.
    pub(crate) async fn take_turn(self: &Arc<Self>) -> Result<Arc<Turn>> {
        let clock = &self.environment.clock;
        let deadline = clock.elapsed() + self.settings.claim_wait;
        let mut pause = CLAIM_POLL_MIN;
        let turn = loop {
            match self.try_turn().await? {
                Some(turn) => break turn,
                None if clock.elapsed() >= deadline => return Err(Error::Busy),
                None => clock.sleep(pause).await,
            }
            pause = (pause * 2).min(CLAIM_POLL_MAX);
        };
        self.index_sealed().await?;
        Ok(Arc::new(turn))
    }

    async fn try_turn(self: &Arc<Self>) -> Result<Option<Turn>> {
        let Ok(alone) = self.people.clone().try_lock_owned() else { return Ok(None) };
        let mut turn = Turn { node: self.clone(), alone: Some(alone) };
        match self.ledger.reserve(key(), &self.node, Timestamp::from_millis(0)).await? {
            Reservation::Made => Ok(Some(turn)),
            // No other task of ours has it: giving it back did not come through.
            Reservation::Running { node } if node == self.node => Ok(Some(turn)),
            Reservation::Running { node } => {
                turn.alone = None;
                if !self.is_alive(&node).await? {
                    self.ledger.unreserve(key(), &node).await?;
                }
                Ok(None)
            }
            Reservation::Done { .. } => Err(Error::internal("the turn to change users was taken for a request")),
        }
    }
}

impl Turn {
    /// Gives the turn back, unless something done in it must be settled first.
    pub(crate) async fn end(self: Arc<Self>) {
        let Some(mut turn) = Arc::into_inner(self) else { return };
        if turn.node.ledger.unreserve(key(), &turn.node.node).await.is_ok() {
            turn.alone = None;
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Some(alone) = self.alone.take() else { return };
        let node = self.node.clone();
        self.node.environment.spawn.spawn(Box::pin(async move {
            node.until_done(|| async { Ok(node.ledger.unreserve(key(), &node.node).await?) }).await;
            drop(alone);
        }));
    }
}
