//! [`NameClaim`]: who is about to give a file a name that no other live file may have.
//!
//! Two requests for one name must not both find it free. So each first claims it: a reservation in the ledger, under a hash of the
//! bucket, the owner (of a bucket of unique names: none) and the name. What holds it is told by whom and for which operation, so that
//! anybody can see when it is over without asking whom it was given to:
//!
//! | held for | is over |
//! |---|---|
//! | the change of a file that is there | when its claim is closed, in whoever's hands that is by then |
//! | an upload to a store that does not stage | when its intent is closed, or has failed |
//! | an upload to a store that stages | when its node gives it back; of a dead node, when nothing that it staged is left to settle |
//!
//! Claim and intent end in the transaction that records the file, so whoever finds the name over finds the file too. An operation
//! whose outcome is not known keeps its name until that is settled; one whose node died keeps it until somebody has settled it. A node
//! counts as living to others while what it left is in somebody's hands ([`larder_storage_core::Staging::is_alive`]).

use crate::{
    BucketId, Error, File, FileId, Names, Result, Sha256, Timestamp, UserId,
    files::Node,
    ledger::{FileQuery, IntentState, Reservation},
    node::{CLAIM_POLL_MAX, CLAIM_POLL_MIN},
};
use larder_storage_core::{NodeId, OpId};
use std::{sync::Arc, time::Duration};

/// Between a node's name and what it has the name of a file for.
const NAMES: &str = "-names-";

/// A name as it is claimed: in a bucket, among one owner's files or everybody's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Claimed {
    pub(crate) bucket: BucketId,
    /// `None` where names are unique.
    pub(crate) owner: Option<UserId>,
    pub(crate) name: String,
}

/// What a name is claimed for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ClaimedFor {
    /// A change of a file, by its claim.
    Change(u64),
    /// An upload to a store that does not stage, by its intent.
    Intent(u64),
    /// An upload to a store that stages, by its operation and the node that this store knows its process as.
    Staged(OpId, NodeId),
}

/// A name that is one operation's; given back when it is dropped.
pub(crate) struct NameClaim {
    node: Arc<Node>,
    key: Sha256,
    holder: NodeId,
    /// Whether it may be in the ledger.
    reserved: bool,
}

/// What came of asking for a name.
pub(crate) enum Asked {
    Given(NameClaim),
    /// Another operation of this node has it, or asks for it.
    Ours,
    /// The ledger says whose it is.
    Theirs(NodeId),
}

/// A wait for a name, until the deadline of its request.
pub(crate) struct Wait {
    until: Duration,
    pause: Duration,
    has_looked: bool,
}

impl Claimed {
    pub(crate) fn new(bucket: BucketId, names: Names, owner: UserId, name: &str) -> Self {
        let owner = (names == Names::Free).then_some(owner);
        Self { bucket, owner, name: name.to_owned() }
    }

    /// Ids have one length, so no two names have one text.
    fn key(&self) -> Sha256 {
        let owner = self.owner.map(|owner| owner.0.into_bytes()).unwrap_or_default();
        Sha256::of(
            &[b"larder: the name of a file", &self.bucket.0.into_bytes()[..], &owner, self.name.as_bytes()].concat(),
        )
    }
}

impl ClaimedFor {
    /// What the ledger is told; `node` holds claims and intents.
    fn held_by(&self, node: &NodeId) -> NodeId {
        let (node, what) = match self {
            Self::Change(claim) => (node, format!("claim-{claim}")),
            Self::Intent(intent) => (node, format!("intent-{intent}")),
            Self::Staged(op, node) => (node, op.to_string()),
        };
        NodeId::new(&format!("{node}{NAMES}{what}"))
            .expect("a node's name is short and plain, and so are ops and numbers")
    }

    /// Whose it is and what for; `None` of what is no claim on a name.
    pub(crate) fn parse(holder: &NodeId) -> Option<(NodeId, Self)> {
        let (node, what) = holder.as_str().rsplit_once(NAMES)?;
        let node = NodeId::new(node)?;
        let number = |kind| what.strip_prefix(kind).and_then(|number: &str| number.parse().ok());
        let of = match (number("claim-"), number("intent-")) {
            (Some(claim), _) => Self::Change(claim),
            (_, Some(intent)) => Self::Intent(intent),
            _ => Self::Staged(OpId::new(what)?, node.clone()),
        };
        Some((node, of))
    }
}

/// The node that holds a name under `holder`; `None` where it is not a name's.
pub(crate) fn node_of(holder: &NodeId) -> Option<NodeId> {
    ClaimedFor::parse(holder).map(|(node, _)| node)
}

impl Wait {
    pub(crate) fn new(node: &Node) -> Self {
        let until = node.environment.clock.elapsed() + node.settings.claim_wait;
        Self { until, pause: CLAIM_POLL_MIN, has_looked: false }
    }

    /// Waits a little; where a dead node is in the way, looks first for what it left, once.
    ///
    /// # Errors
    /// `Busy` when the time is over.
    pub(crate) async fn on(&mut self, node: &Arc<Node>, in_the_way: Option<&NodeId>) -> Result<()> {
        let clock = &node.environment.clock;
        if clock.elapsed() >= self.until {
            return Err(Error::Busy);
        }
        if !self.has_looked
            && let Some(holder) = in_the_way
            && !node.is_alive(holder).await?
        {
            self.has_looked = true;
            return node.recover().await.map(drop);
        }
        clock.sleep(self.pause).await;
        self.pause = (self.pause * 2).min(CLAIM_POLL_MAX);
        Ok(())
    }
}

impl Node {
    /// Claims a name, waiting for who has it.
    ///
    /// # Errors
    /// `Busy` where that takes too long; `Provisional` where a store that was not read may know of a file that has it.
    pub(crate) async fn claim_name(self: &Arc<Self>, name: &Claimed, of: &ClaimedFor) -> Result<NameClaim> {
        let mut wait = Wait::new(self);
        loop {
            match self.ask_for_name(name, of).await? {
                Asked::Given(claim) => return Ok(claim),
                Asked::Ours => wait.on(self, None).await?,
                Asked::Theirs(holder) => wait.on(self, Some(&holder)).await?,
            }
        }
    }

    /// Claims a name if nobody has it.
    ///
    /// # Errors
    /// As [`Node::claim_name`], but `Busy`.
    pub(crate) async fn ask_for_name(self: &Arc<Self>, name: &Claimed, of: &ClaimedFor) -> Result<Asked> {
        self.check_whole()?;
        let (key, holder) = (name.key(), of.held_by(&self.node));
        if !self.names().insert(key) {
            return Ok(Asked::Ours);
        }
        let mut claim = NameClaim { node: self.clone(), key, holder, reserved: true };
        loop {
            match self.ledger.reserve(key, &claim.holder, Timestamp::from_millis(0)).await? {
                Reservation::Made => return Ok(Asked::Given(claim)),
                Reservation::Running { node } if self.is_over(&node).await? => {
                    self.ledger.unreserve(key, &node).await?
                }
                Reservation::Running { node } => {
                    claim.reserved = false;
                    return Ok(Asked::Theirs(node));
                }
                Reservation::Done { .. } => return Err(Error::internal("a name was taken for a request")),
            }
        }
    }

    /// The newest live file that has a name.
    pub(crate) async fn bearer(&self, name: &Claimed, but: Option<FileId>) -> Result<Option<File>> {
        let query = FileQuery {
            bucket: Some(name.bucket),
            owner: name.owner,
            name: Some(name.name.clone()),
            deleted: Some(false),
            descending: true,
            limit: 2,
            ..FileQuery::default()
        };
        let found = self.ledger.files(&query).await?;
        Ok(found.into_iter().find(|file| Some(file.attributes.id) != but))
    }

    /// Whether what a name was claimed for has come to its end, so that its claim only waits to be given back. Of a dead node's upload
    /// to a store that stages only [`Node::give_up_reservations`] can tell.
    pub(crate) async fn is_over(&self, holder: &NodeId) -> Result<bool> {
        Ok(match ClaimedFor::parse(holder) {
            Some((_, ClaimedFor::Change(claim))) => !self.ledger.claims().await?.iter().any(|open| open.id == claim),
            Some((_, ClaimedFor::Intent(id))) => {
                let is_open = |state: IntentState| state != IntentState::Failed;
                !self.ledger.intents().await?.iter().any(|intent| intent.id == id && is_open(intent.state))
            }
            // Another task of ours would be known to have it: giving it back did not come through.
            Some((_, ClaimedFor::Staged(_, node))) => self.is_here(&node),
            None => false,
        })
    }

    /// Whether this process is the one that a store of ours knows as `node`.
    fn is_here(&self, node: &NodeId) -> bool {
        self.places.iter().filter_map(|place| place.store.staging()).any(|staging| staging.node() == *node)
    }

    pub(crate) fn names(&self) -> std::sync::MutexGuard<'_, std::collections::BTreeSet<Sha256>> {
        self.names.lock().expect("nothing panics while it holds this lock")
    }
}

impl Drop for NameClaim {
    fn drop(&mut self) {
        let (node, key, holder) = (self.node.clone(), self.key, self.holder.clone());
        if !self.reserved {
            node.names().remove(&key);
            return;
        }
        self.node.environment.spawn.spawn(Box::pin(async move {
            node.until_done(|| async { Ok(node.ledger.unreserve(key, &holder).await?) }).await;
            node.names().remove(&key);
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_is_read_as_it_was_written() {
        let node = NodeId::from_random([7; 16]);
        let staged = ClaimedFor::Staged(OpId::from_random([9; 16]), node.clone());
        for of in [ClaimedFor::Change(42), ClaimedFor::Intent(u64::MAX), staged] {
            let holder = of.held_by(&node);
            assert_eq!(ClaimedFor::parse(&holder), Some((node.clone(), of)));
        }
        assert_eq!(ClaimedFor::parse(&node), None);
    }

    #[test]
    fn a_name_is_claimed_by_bucket_owner_and_text() {
        let (a, b) = (BucketId(uuid::Uuid::from_u128(1)), BucketId(uuid::Uuid::from_u128(2)));
        let (me, you) = (UserId(uuid::Uuid::from_u128(1)), UserId(uuid::Uuid::from_u128(2)));
        let of = |bucket, names, owner, name| Claimed::new(bucket, names, owner, name).key();
        let keys = [
            of(a, Names::Free, me, "n"),
            of(a, Names::Free, you, "n"),
            of(a, Names::Unique, me, "n"),
            of(b, Names::Free, me, "n"),
            of(a, Names::Free, me, "m"),
        ];
        assert_eq!(keys.iter().collect::<std::collections::BTreeSet<_>>().len(), keys.len());
        assert_eq!(of(a, Names::Unique, me, "n"), of(a, Names::Unique, you, "n"));
    }
}
