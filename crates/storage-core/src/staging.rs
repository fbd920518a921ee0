//! [`Staging`]: write privately first, publish pairs of bytes and attributes atomically and durably, and find what dead processes
//! left. A store with staging needs no write-ahead note: the staged files are the note.

use crate::{Body, Digests, Key, Result};
use async_trait::async_trait;
use bytes::Bytes;
use std::{fmt, sync::Arc};

/// A process that stages: a new one each time a store is opened, never used again.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(Arc<str>);

/// One operation's staged parts. Unique over all nodes and times: 128 random bits in 26 characters of lower-case base32.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OpId(Arc<str>);

macro_rules! token {
    ($name:ident) => {
        impl $name {
            /// Takes 1 to 64 characters of `[a-z0-9-]`; anything else is `None`.
            #[must_use]
            pub fn new(text: &str) -> Option<Self> {
                let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
                (matches!(text.len(), 1..=64) && text.bytes().all(good)).then(|| Self(text.into()))
            }

            /// As text: safe as a file name.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// Made of 128 random bits.
            #[must_use]
            pub fn from_random(bits: [u8; 16]) -> Self {
                Self(data_encoding::BASE32_NOPAD.encode(&bits).to_ascii_lowercase().into())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}
token!(NodeId);
token!(OpId);

/// Which half of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// The content.
    Bytes,
    /// What says what the content is: at most 64 KiB here.
    Attributes,
}

/// What was staged, durable in itself but not published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Staged {
    /// Size in bytes.
    pub size: u64,
    /// Digests, computed as the bytes passed.
    pub digests: Digests,
}

/// Where the two staged parts of `op` are to appear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The operation whose parts are published.
    pub op: OpId,
    /// The key of its bytes.
    pub bytes: Key,
    /// The key of its attributes.
    pub attributes: Key,
}

/// What a dead node left under one operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leftover {
    /// The dead node.
    pub node: NodeId,
    /// The operation.
    pub op: OpId,
    /// Size of the staged bytes; `None` where there are none.
    pub bytes: Option<u64>,
    /// The staged attributes, perhaps cut short; `None` where there are none.
    pub attributes: Option<Bytes>,
}

/// Staging and publishing. `local` has it, S3 does not.
#[async_trait]
pub trait Staging: Send + Sync {
    /// This process.
    fn node(&self) -> NodeId;

    /// Whether `node` still lives: its lock is held. One that was never known, or was cleaned up, does not. A dead one whose space
    /// another has taken over counts as living to all but that one, until what it left is discarded or that one is dead too: who is
    /// told that a node is dead, looks for leftovers, and is told so again, knows that nothing of it is in anybody's hands.
    ///
    /// # Errors
    /// `Unavailable` where it can't be told; never guessed.
    async fn is_alive(&self, node: &NodeId) -> Result<bool>;

    /// Streams a body into private space and makes it durable. A failed one leaves nothing.
    ///
    /// # Errors
    /// `Body`, `TooLarge`, `Full`, `ReadOnly`; `AlreadyExists` where this part of `op` is staged already.
    async fn stage(&self, op: &OpId, part: Part, body: Body) -> Result<Staged>;

    /// Stages both parts of a small upload, each durable in itself: as two calls of [`Staging::stage`] would, which is what this
    /// does where a store has no shorter way. A failed one leaves nothing, or the bytes alone.
    ///
    /// # Errors
    /// As [`Staging::stage`].
    async fn stage_pair(&self, op: &OpId, bytes: Bytes, attributes: Bytes) -> Result<()> {
        self.stage(op, Part::Bytes, bytes.into()).await?;
        self.stage(op, Part::Attributes, attributes.into()).await.map(drop)
    }

    /// Publishes pairs as one batch, create-only: for each its bytes, then its attributes; then each directory made durable once.
    /// Answers one result for each pair, in order. The staged parts stay until they are discarded.
    ///
    /// A pair's errors: `AlreadyExists` (then nothing of it is published), `KeyConflict`, `Full`, `ReadOnly`;
    /// `Indeterminate` where a directory could not be made durable: it may be there after a power cut, or not.
    async fn publish(&self, pairs: &[Pair]) -> Vec<Result<()>>;

    /// What nodes that no longer live have left, in this store. Takes over the dead nodes' space, so that of several callers at
    /// once each leftover is given to one.
    ///
    /// # Errors
    /// `Unavailable`, `PermissionDenied`.
    async fn leftovers(&self) -> Result<Vec<Leftover>>;

    /// Completes a leftover whose attributes are published: links the bytes again if a power cut lost them, and makes both
    /// durable. Safe to repeat. Where something else lies at the bytes' key it stays. What lies there is made durable though nothing
    /// is staged for it; both keys may be one.
    ///
    /// # Errors
    /// As [`Staging::publish`]; `NotFound` where the leftover's bytes are gone and none lie at the key.
    async fn finish(&self, pair: &Pair) -> Result<()>;

    /// Removes the object at `bytes` if it is the very one that `op` published, durably; says whether it did. Where nothing lies
    /// there, that is made durable: an earlier one may have died in between.
    ///
    /// # Errors
    /// `Unavailable`, `ReadOnly`.
    async fn withdraw(&self, op: &OpId, bytes: &Key) -> Result<bool>;

    /// Whether the object at `bytes` is what some operation has staged, of whichever node, and not discarded: then it is on its
    /// way, and may get its attributes at any time. Equal bytes are not enough. `false` where nothing lies there. Costs at most
    /// a look at all that is staged.
    ///
    /// # Errors
    /// `Unavailable` where it can't be told; never guessed.
    async fn holds(&self, bytes: &Key) -> Result<bool>;

    /// Forgets what is staged under `op`, this node's or a leftover's. Not synced: it may come back after a power cut.
    ///
    /// # Errors
    /// `Unavailable`; never `NotFound`.
    async fn discard(&self, op: &OpId) -> Result<()>;
}
