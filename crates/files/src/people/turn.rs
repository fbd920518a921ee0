//! [`Turn`]: what may take an admin away happens one at a time, over all nodes of a ledger; and so do changes of one user.
//!
//! Two admins who delete each other at once must not both succeed, and no single record tells how many there are. So whoever changes
//! a role or deletes a user first takes the one turn there is: a reservation in the ledger, under a key of its own. It is given back
//! once the outcome is certain, and passes to others when its node is dead. What that node had made durable by then, its ledger
//! knowing nothing of it, is taken in before anybody counts.
//!
//! A record of a user is made of the one before. So that none is made of one which another is about to outrank, whoever writes it has
//! the turn of that user, after the other where both are needed. It ends with the attempt: one that is not certain has a version of its
//! own, which the next one outranks.

use crate::{
    Error, Result, Sha256, Timestamp, UserId,
    files::Node,
    ledger::Reservation,
    node::{CLAIM_POLL_MAX, CLAIM_POLL_MIN},
};
use std::sync::Arc;

/// The right to take admins away, or to change one user. The last one who holds it gives it back.
pub(crate) struct Turn {
    node: Arc<Node>,
    key: Sha256,
    /// Whether it may be in the ledger.
    reserved: bool,
}

impl Node {
    /// Waits for the turn, and takes in what the one before may have left. Costs a listing of the sealed records on each store.
    ///
    /// # Errors
    /// `Busy` where another has it for too long.
    pub(crate) async fn take_turn(self: &Arc<Self>) -> Result<Arc<Turn>> {
        let turn = self.wait_for_turn(Sha256::of(b"larder: the turn to take an admin away")).await?;
        self.index_sealed().await?;
        Ok(Arc::new(turn))
    }

    /// Waits for the turn to change this user.
    ///
    /// # Errors
    /// `Busy` where another has it for too long.
    pub(crate) async fn take_turn_of(self: &Arc<Self>, user: UserId) -> Result<Arc<Turn>> {
        let key = Sha256::of(&[b"larder: the turn to change a user", &user.0.into_bytes()[..]].concat());
        self.wait_for_turn(key).await.map(Arc::new)
    }

    async fn wait_for_turn(self: &Arc<Self>, key: Sha256) -> Result<Turn> {
        let clock = &self.environment.clock;
        let deadline = clock.elapsed() + self.settings.claim_wait;
        let mut pause = CLAIM_POLL_MIN;
        loop {
            match self.try_turn(key).await? {
                Some(turn) => return Ok(turn),
                None if clock.elapsed() >= deadline => return Err(Error::Busy),
                None => clock.sleep(pause).await,
            }
            pause = (pause * 2).min(CLAIM_POLL_MAX);
        }
    }

    async fn try_turn(self: &Arc<Self>, key: Sha256) -> Result<Option<Turn>> {
        // Keeps the other tasks of this node from taking a reservation of this node for a forgotten one of theirs.
        if !self.names().insert(key) {
            return Ok(None);
        }
        let mut turn = Turn { node: self.clone(), key, reserved: true };
        match self.ledger.reserve(key, &self.node, Timestamp::from_millis(0)).await? {
            Reservation::Made => Ok(Some(turn)),
            // No other task of ours has it: giving it back did not come through.
            Reservation::Running { node } if node == self.node => Ok(Some(turn)),
            Reservation::Running { node } => {
                turn.reserved = false;
                if !self.is_alive(&node).await? {
                    self.ledger.unreserve(key, &node).await?;
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
        if turn.node.ledger.unreserve(turn.key, &turn.node.node).await.is_ok() {
            turn.reserved = false;
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let (node, key) = (self.node.clone(), self.key);
        if !self.reserved {
            node.names().remove(&key);
            return;
        }
        self.node.environment.spawn.spawn(Box::pin(async move {
            node.until_done(|| async { Ok(node.ledger.unreserve(key, &node.node).await?) }).await;
            node.names().remove(&key);
        }));
    }
}
