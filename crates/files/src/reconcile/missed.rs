//! Tombstones and sealed records are wanted on every store, so that a rebuild from any of them knows what was purged, and who may log
//! in. Who makes one durable notes in the transaction that records it which stores it did not reach; this carries it there.
//!
//! 1. Read what a store has missed, page by page, from the ledger: which records, and of what rank.
//! 2. Put each there as the ledger has it now, create-only: what lies there already is made durable.
//! 3. Record that it was carried, up to the rank of 1: what the store has missed since stays noted.
//!
//! A crash between 2 and 3 has it carried again, which changes nothing. That two nodes carry one at once changes nothing either.

use crate::{
    Error, FileId, Result, StoreId,
    files::{Node, Place},
    layout,
    ledger::{Entry, Missed, Record, RecordId, Recorded},
    rebuild::buried,
    sealed::{Sealed, seal},
};
use futures_util::TryStreamExt;
use larder_storage_core::{self as core, ErrorKind, Key, PutOptions};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

/// When it is looked again for what could not be found out.
const TRIED_AGAIN: Duration = Duration::from_secs(60);

impl Node {
    /// Records a tombstone, a user or a bucket that is durable on a store, and in the same transaction the stores that have missed it.
    pub(crate) async fn record_with(self: &Arc<Self>, entry: Entry, missed: &[StoreId]) -> Result<Recorded> {
        let (record, epoch, version) = match &entry {
            Entry::Tombstone(tombstone) => {
                (RecordId::Tombstone(tombstone.id, tombstone.revision), tombstone.epoch, tombstone.version)
            }
            Entry::User(user) => (RecordId::User(user.id), user.epoch, user.version),
            Entry::Bucket(bucket) => (RecordId::Bucket(bucket.id), bucket.epoch, bucket.version),
            other => return Err(Error::internal(format!("{other:?} is not wanted on every store"))),
        };
        let missed = missed.iter().map(|store| Entry::Missed(Missed { store: *store, record, epoch, version }));
        let group = std::iter::once(entry).chain(missed).map(Record::from);
        let recorded = self.record_all(group.collect()).await?;
        Ok(recorded[0])
    }

    /// Notes which tombstones a place does not hold that takes them: a store that joined has none of those from before. Costs a listing
    /// of its tombstones, some 64 bytes of memory for each, and a walk over the ledger's.
    pub(crate) async fn note_tombstones_lacking(self: &Arc<Self>, at: &Place) -> Result<()> {
        // Listed first: one that is made meanwhile is carried once more, which changes nothing.
        let keys = at.keys_below(layout::tombstones()).map_ok(|key| buried(&key));
        let held: BTreeSet<_> = keys.try_filter_map(|of| std::future::ready(Ok(of))).try_collect().await?;
        let (mut after, mut lacking) = (None, 0);
        while let Some(page) = self.page_of_tombstones(&mut after).await? {
            let missed = page.iter().filter(|one| !held.contains(&(one.id, one.revision))).map(|one| {
                let record = RecordId::Tombstone(one.id, one.revision);
                Entry::Missed(Missed { store: at.id, record, epoch: one.epoch, version: one.version }).into()
            });
            let missed: Vec<Record> = missed.collect();
            lacking += missed.len();
            if !missed.is_empty() {
                self.record_all(missed).await?;
            }
        }
        if lacking > 0 {
            tracing::info!(store = %at.name, tombstones = lacking, "a store is to be given the tombstones that it lacks");
            self.noted.add_records();
        }
        Ok(())
    }

    /// The same of some places that take them, one after the other, beside everything else, until it is done.
    pub(crate) fn note_tombstones_soon(self: &Arc<Self>, mut places: Vec<usize>) {
        places.retain(|place| self.places[*place].mode.creates());
        let (weak, clock) = (Arc::downgrade(self), self.environment.clock.clone());
        self.environment.spawn.spawn(Box::pin(async move {
            while !places.is_empty() {
                let Some(node) = weak.upgrade().filter(|node| !node.is_ending()) else { return };
                for place in std::mem::take(&mut places) {
                    let at = &node.places[place];
                    match node.note_tombstones_lacking(at).await {
                        Ok(()) => {}
                        Err(Error::Fenced(_)) => return,
                        Err(error) => {
                            tracing::warn!(store = %at.name, %error, "which tombstones a store lacks is found out later");
                            places.push(place);
                        }
                    }
                }
                drop(node);
                if !places.is_empty() {
                    clock.sleep(TRIED_AGAIN).await;
                }
            }
        }));
    }

    /// Steps 2 and 3 of a page. Those that fail stay noted; the first failure is answered, which is the last if the store is away.
    pub(crate) async fn carry_all(self: &Arc<Self>, place: usize, page: &[Missed]) -> Result<()> {
        self.begin_change().await?;
        let (at, mut carried, mut failed) = (&self.places[place], vec![], None);
        let clearing = |missed: &Missed| match missed.record {
            RecordId::Clearing(file, _) => Some(file),
            _ => None,
        };
        let overlays = at.overlays_of_all(&page.iter().filter_map(clearing).collect()).await?;
        for missed in page {
            match self.carry_record(at, missed.record, &overlays).await {
                Ok(()) => carried.push(Entry::Carried(*missed).into()),
                Err(error) => {
                    tracing::warn!(store = %at.name, record = ?missed.record, %error, "a store can't be given what it has missed");
                    failed.get_or_insert(error);
                    if at.confirm().await.is_err() {
                        break;
                    }
                }
            }
        }
        if !carried.is_empty() {
            tracing::info!(store = %at.name, records = carried.len(), "what a store had missed was carried there");
            self.record_all(carried).await?;
        }
        failed.map_or(Ok(()), Err)
    }

    /// What the ledger does not have any more is not missed.
    async fn carry_record(&self, at: &Place, record: RecordId, overlays: &BTreeMap<FileId, Vec<Key>>) -> Result<()> {
        match record {
            RecordId::Tombstone(id, revision) => match self.ledger.tombstone(id, revision).await? {
                Some(tombstone) => Ok(at.put_tombstone(&tombstone).await?),
                None => Ok(()),
            },
            RecordId::Clearing(id, revision) => match self.ledger.tombstone(id, revision).await? {
                Some(tombstone) => {
                    at.put_tombstone(&tombstone).await?;
                    at.clear(&tombstone, Some(overlays.get(&id).map_or(&[], Vec::as_slice))).await
                }
                None => Ok(()),
            },
            RecordId::User(id) => match self.ledger.user(id).await? {
                Some(user) => Ok(self.put_sealed_on(at, &user).await?),
                None => Ok(()),
            },
            RecordId::Bucket(id) => match self.ledger.buckets().await?.into_iter().find(|bucket| bucket.id == id) {
                Some(bucket) => Ok(self.put_sealed_on(at, &bucket).await?),
                None => Ok(()),
            },
        }
    }

    /// No two records of one rank differ: what lies there is this one.
    async fn put_sealed_on(&self, at: &Place, record: &impl Sealed) -> core::Result<()> {
        let key = record.key();
        let bytes = seal(&self.secrets, &self.environment, &key, record);
        at.confirm().await?;
        match at.store.put(&key, bytes.into(), PutOptions::create()).await {
            Err(error) if *error.kind() == ErrorKind::AlreadyExists => at.make_durable(&key).await,
            put => put.map(drop),
        }
    }
}
