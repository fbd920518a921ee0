//! [`Bug`]: what a wrong store or ledger does, so that the checker can be checked. Nothing of it is in the product: each is a
//! wrapper around a right store or ledger.

use super::{database::open_withheld, executor::lock, world::World};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use larder_storage_core::{
    Body, Durable, ETag, Error, ErrorKind, GetOptions, Key, Leftover, Limits, ListOptions, Listed, MemoryStore,
    Multipart, NodeId, Object, ObjectMeta, Op, OpId, Pair, Part, Presign, PutMode, PutOptions, Result, Space, Staged,
    Staging, Store, Written,
};
use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex},
};

/// One mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// The disk answers every sync and does none.
    LostFsync,
    /// What dead nodes left staged is never found.
    RecoverySkipped,
    /// Attributes are written before the bytes that they describe (on stores without staging).
    AttributesFirst,
    /// Tombstones are never written.
    TombstoneForgotten,
    /// Tombstones are written and not synced.
    TombstoneNotDurable,
    /// Deletes are not synced.
    DeleteNotDurable,
    /// New attributes of a file are written and not synced.
    UpdateNotDurable,
    /// Requests of dead nodes take effect after recovery has looked.
    WrittenLate,
    /// The ledger answers intents and keeps none.
    IntentForgotten,
    /// An intent is opened only once the first request of its upload has its answer.
    IntentTooLate,
    /// Who takes an upload up does not wait until its lease is over.
    LeaseIgnored,
    /// An upload that was undone is not looked at a second time.
    SecondLookSkipped,
    /// A claim is given though another is open.
    ClaimShared,
    /// A claim gives the version that the file has.
    VersionReused,
    /// The ledger answers a group that it then loses.
    AnswersBeforeCommit,
    /// The ledger forgets idempotency keys.
    KeyForgotten,
    /// The ledger forgets who has a name.
    NameForgotten,
    /// The ledger gives a dead node's names away before what it left is settled.
    NameGivenAway,
    /// The mark of the stores stays behind the database's.
    MarkForgotten,
    /// A store that can't be reached answers that there is no such object.
    OutageAsAbsence,
    /// What is brought to another store is answered before it is durable.
    CopyNotDurable,
    /// Attributes are not written beside a copy.
    CopyWithoutAttributes,
    /// A copy's newer attributes are not written.
    CopyLeftBehind,
    /// The ledger forgets what is to be done about copies.
    NoteForgotten,
    /// The ledger forgets at once what is being dropped from a store that doesn't stage.
    DropForgotten,
    /// The ledger forgets what stores have missed.
    MissedForgotten,
    /// A node that others took for dead goes on to change stores and the ledger.
    BuriedGoesOn,
}

impl Bug {
    /// Every bug.
    pub const ALL: [Self; 27] = [
        Self::LostFsync,
        Self::RecoverySkipped,
        Self::AttributesFirst,
        Self::TombstoneForgotten,
        Self::TombstoneNotDurable,
        Self::DeleteNotDurable,
        Self::UpdateNotDurable,
        Self::WrittenLate,
        Self::IntentForgotten,
        Self::IntentTooLate,
        Self::LeaseIgnored,
        Self::SecondLookSkipped,
        Self::ClaimShared,
        Self::VersionReused,
        Self::AnswersBeforeCommit,
        Self::KeyForgotten,
        Self::NameForgotten,
        Self::NameGivenAway,
        Self::MarkForgotten,
        Self::OutageAsAbsence,
        Self::CopyNotDurable,
        Self::CopyWithoutAttributes,
        Self::CopyLeftBehind,
        Self::NoteForgotten,
        Self::DropForgotten,
        Self::MissedForgotten,
        Self::BuriedGoesOn,
    ];

    /// How many times in 1,000 it bites where it can.
    pub(super) fn often(self) -> u64 {
        match self {
            Self::AnswersBeforeCommit => 50,
            Self::VersionReused => 300,
            _ => 1000,
        }
    }
}

/// A store that makes the profile's mistake.
pub(super) struct Wrong {
    inner: MemoryStore,
    world: Arc<World>,
    /// Bytes that were acknowledged and wait for their attributes.
    held: Mutex<BTreeMap<Key, Bytes>>,
}

impl Wrong {
    pub(super) fn new(inner: MemoryStore, world: Arc<World>) -> Self {
        inner.disk().lie_about_sync(world.bites(Bug::LostFsync));
        if world.bites(Bug::WrittenLate) {
            inner.disk().requests_may_be_late(true);
        }
        Self { inner, world, held: Mutex::default() }
    }

    fn absent(&self, error: Error, op: Op, key: &Key) -> Error {
        let outage = *error.kind() == ErrorKind::Unavailable && !key.as_str().starts_with(".larder/");
        if outage && self.world.bites(Bug::OutageAsAbsence) {
            return Error::new(op, key, self, ErrorKind::NotFound);
        }
        error
    }

    /// Whether it is not the store that changes reach first.
    fn is_second(&self) -> bool {
        self.inner.to_string().contains("second")
    }

    fn inner_staging(&self) -> &dyn Staging {
        self.inner.staging().expect("it answers for an inner one only")
    }

    /// Puts attributes, then the bytes that were held back.
    async fn put_swapped(&self, key: &Key, body: Body, options: PutOptions) -> Result<Written> {
        let Some(of) = key.as_str().strip_suffix(".attr.json").and_then(|of| Key::new(of).ok()) else {
            let bytes = body.collect(1 << 24).await;
            let bytes = bytes.map_err(|cause| Error::new(Op::Put, key, self, ErrorKind::Body).because(cause))?;
            let size = bytes.len() as u64;
            lock(&self.held).insert(key.clone(), bytes);
            return Ok(Written { size, etag: ETag::new("held") });
        };
        let written = self.inner.put(key, body, options).await?;
        let held = lock(&self.held).remove(&of);
        if let Some(bytes) = held {
            self.inner.put(&of, bytes.into(), PutOptions::create()).await?;
        }
        Ok(written)
    }
}

impl fmt::Debug for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wrong").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.inner, f)
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl Store for Wrong {
    async fn put(&self, key: &Key, body: Body, mut options: PutOptions) -> Result<Written> {
        let text = key.as_str();
        let bites = |bug| self.world.bites(bug);
        let tombstone = text.starts_with(".larder/tombstones/");
        // Where uploads are staged, only copies and recovery create attributes alone.
        let beside = text.ends_with(".attr.json") && self.inner.staging().is_some();
        let new = options.mode == PutMode::Create;
        let forgotten = tombstone && bites(Bug::TombstoneForgotten)
            || text == ".larder/mark" && bites(Bug::MarkForgotten)
            || beside && new && bites(Bug::CopyWithoutAttributes)
            || beside && !new && bites(Bug::CopyLeftBehind) && self.is_second();
        if forgotten {
            let size = body.size().unwrap_or(0);
            return Ok(Written { size, etag: ETag::new("forgotten") });
        }
        if tombstone && bites(Bug::TombstoneNotDurable) || text.contains(".attr") && bites(Bug::UpdateNotDurable) {
            options.durable = Durable::Later;
        }
        if !text.starts_with(".larder") && bites(Bug::AttributesFirst) {
            return self.put_swapped(key, body, options).await;
        }
        let written = self.inner.put(key, body, options).await;
        if self.world.bites(Bug::IntentTooLate) {
            open_withheld(&self.world, key);
        }
        written
    }

    async fn get(&self, key: &Key, options: GetOptions) -> Result<Object> {
        self.inner.get(key, options).await.map_err(|error| self.absent(error, Op::Get, key))
    }

    async fn head(&self, key: &Key) -> Result<ObjectMeta> {
        self.inner.head(key).await.map_err(|error| self.absent(error, Op::Head, key))
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        let lying = self.world.bites(Bug::DeleteNotDurable);
        if !lying {
            return self.inner.delete(key).await;
        }
        self.inner.disk().lie_about_sync(true);
        let deleted = self.inner.delete(key).await;
        self.inner.disk().lie_about_sync(false);
        deleted
    }

    fn list(&self, options: ListOptions) -> BoxStream<'_, Result<Listed>> {
        self.inner.list(options)
    }

    async fn copy(&self, from: &Key, to: &Key, options: PutOptions) -> Result<Written> {
        self.inner.copy(from, to, options).await
    }

    async fn sync(&self) -> Result<()> {
        self.inner.sync().await
    }

    async fn space(&self) -> Result<Option<Space>> {
        self.inner.space().await
    }

    fn limits(&self) -> Limits {
        self.inner.limits()
    }

    fn multipart(&self) -> Option<&dyn Multipart> {
        self.inner.multipart()
    }

    fn presign(&self) -> Option<&dyn Presign> {
        self.inner.presign()
    }

    fn staging(&self) -> Option<&dyn Staging> {
        self.inner.staging().map(|_| self as &dyn Staging)
    }

    fn decorated(&self) -> Option<&dyn Store> {
        Some(&self.inner)
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl Staging for Wrong {
    fn node(&self) -> NodeId {
        self.inner_staging().node()
    }

    async fn is_alive(&self, node: &NodeId) -> Result<bool> {
        self.inner_staging().is_alive(node).await
    }

    async fn stage(&self, op: &OpId, part: Part, body: Body) -> Result<Staged> {
        self.inner_staging().stage(op, part, body).await
    }

    async fn stage_pair(&self, op: &OpId, bytes: Bytes, attributes: Bytes) -> Result<()> {
        self.stage(op, Part::Bytes, bytes.into()).await?;
        self.stage(op, Part::Attributes, attributes.into()).await.map(drop)
    }

    async fn publish(&self, pairs: &[Pair]) -> Vec<Result<()>> {
        self.inner_staging().publish(pairs).await
    }

    async fn leftovers(&self) -> Result<Vec<Leftover>> {
        if self.world.bites(Bug::RecoverySkipped) {
            return Ok(vec![]);
        }
        self.inner_staging().leftovers().await
    }

    async fn finish(&self, pair: &Pair) -> Result<()> {
        // Both keys are one where bytes are brought; recovery names attributes too.
        let lying = pair.bytes == pair.attributes && self.world.bites(Bug::CopyNotDurable);
        if !lying {
            return self.inner_staging().finish(pair).await;
        }
        self.inner.disk().lie_about_sync(true);
        let finished = self.inner_staging().finish(pair).await;
        self.inner.disk().lie_about_sync(false);
        finished
    }

    async fn withdraw(&self, op: &OpId, bytes: &Key) -> Result<bool> {
        self.inner_staging().withdraw(op, bytes).await
    }

    async fn holds(&self, bytes: &Key) -> Result<bool> {
        self.inner_staging().holds(bytes).await
    }

    async fn discard(&self, op: &OpId) -> Result<()> {
        self.inner_staging().discard(op).await
    }
}
