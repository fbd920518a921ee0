//! Purge: a file, or one old revision of it, is gone for ever.
//!
//! 0. A claim of this purge, durable: from here on it is only ever finished forward.
//! 1. A tombstone on every store that takes it, at least one (**the commit point**): whatever still lies there is garbage.
//! 2. The rows go; which stores have missed the tombstone is noted with that, and it is carried there later.
//! 3. Overlays, then attributes and bytes of every revision that it covers, the newest last; then the claim closes. With that it is noted
//!    which stores have missed this, for it failed there, or their mode permits no deletion. Whoever asked is answered, for nobody can
//!    read the file any more; there it follows by a recovery, when the store is back or permits it, behind its tombstone.

use crate::{
    Attributes, Caller, CreatedByKey, Error, FileId, Files, Result, StoreId, Timestamp, Tombstone,
    create::{carried, nothing_happened, the_less_certain},
    files::{File, Node, Place},
    layout,
    ledger::{Claim, Entry, Missed, Purpose, Record, RecordId},
    on_conflict::REPLACED,
    rebuild::buried,
    truth::Reading,
};
use futures_util::{TryFutureExt, TryStreamExt, future::select};
use larder_storage_core::{ErrorKind, Key, ListOptions, PutOptions};
use std::{collections::BTreeSet, sync::Arc};

impl Files {
    /// Purges a file, from the trash or not. When this returns it is never readable again: not after a crash, not after a rebuild.
    ///
    /// # Errors
    /// `NotFound`, `PreconditionFailed`, `Busy`; `StoreUnavailable` where no store takes the tombstone now: it is purged as soon
    /// as one does.
    pub async fn purge(&self, caller: &Caller, id: FileId, if_version: Option<u64>) -> Result<()> {
        let file = self.check_version(caller, id, if_version).await?;
        let wanted = self.begin_purge(&file).await?;
        let (files, caller) = (self.clone(), caller.clone());
        self.complete(async move {
            // Judged again while nobody else changes it: it may be another's by now.
            let holds = files.check_version(&caller, id, if_version).map_ok(drop);
            let claim = files.claim_if(id, Purpose::Purge, holds).await?;
            files.0.purge_first(claim, wanted).await
        })
        .await
    }

    /// Purges one old revision of a file, in the trash or not. When this returns it is never readable again; the file, its version
    /// and its other revisions stay as they are.
    ///
    /// # Errors
    /// `Conflict` of the newest revision, `NotFound` of the file or of the revision; else as [`Files::purge`].
    pub async fn purge_revision(
        &self,
        caller: &Caller,
        id: FileId,
        revision: u64,
        if_version: Option<u64>,
    ) -> Result<()> {
        let file = self.check_is_old(caller, id, revision, if_version).await?;
        let wanted = self.begin_purge(&file).await?;
        let (files, caller) = (self.clone(), caller.clone());
        self.complete(async move {
            let is_old = files.check_is_old(&caller, id, revision, if_version).map_ok(drop);
            let claim = files.claim_if(id, Purpose::PurgeRevision(revision), is_old).await?;
            files.0.purge_first(claim, wanted).await
        })
        .await
    }

    /// Refuses a purge that can't be carried out now. Answers how many stores must hold its tombstone.
    async fn begin_purge(&self, file: &File) -> Result<usize> {
        self.0.begin_change().await?;
        if !self.0.places.iter().any(|place| place.mode.creates()) {
            return Err(Error::ReadOnly("no store takes a tombstone".into()));
        }
        let wanted = self.0.copies_answered(&file.attributes.bucket);
        self.0.check_enough_of_all(wanted)?;
        Ok(wanted)
    }

    /// Step 0. A condition is checked under a claim that can still be dropped; only then it is made one that can't.
    async fn claim_if(&self, id: FileId, purge: Purpose, holds: impl Future<Output = Result<()>>) -> Result<Claim> {
        let claim = self.0.claim(id, Purpose::Change).await?;
        if let Err(error) = holds.await {
            self.0.release(&claim).await;
            return Err(error);
        }
        match self.0.ledger.harden(claim.id, purge).await {
            Ok(()) => Ok(Claim { purpose: purge, ..claim }),
            Err(error) => {
                self.settle_hardened_later(claim);
                Err(error.into())
            }
        }
    }

    /// Settles a claim of which it is not known whether it was made a purge's: the ledger says so when it answers again.
    fn settle_hardened_later(&self, claim: Claim) {
        let node = self.0.clone();
        self.0.settle_until_done(move || {
            let (node, claim) = (node.clone(), claim.clone());
            async move {
                match node.ledger.claim_of(claim.file).await?.filter(|open| open.id == claim.id) {
                    Some(open) => node.settle_claim(&open).await,
                    None => Ok(()),
                }
            }
        });
    }

    async fn check_version(&self, caller: &Caller, id: FileId, if_version: Option<u64>) -> Result<File> {
        let file = self.describe(caller, id).await?;
        let version = file.attributes.version;
        match if_version {
            Some(wanted) if wanted != version => Err(Error::PreconditionFailed { version }),
            _ => Ok(file),
        }
    }

    /// Whether the file has this revision and a newer one.
    async fn check_is_old(&self, caller: &Caller, id: FileId, revision: u64, if_version: Option<u64>) -> Result<File> {
        let file = self.check_version(caller, id, if_version).await?;
        if file.attributes.revision == revision {
            let why = "the newest revision can't be removed: replace the content first, or purge the whole file";
            return Err(Error::Conflict(why.into()));
        }
        let known = self.0.ledger.revision(id, revision).await?;
        known.map(|_| file).ok_or_else(|| self.0.absent("revision"))
    }
}

/// Whether a purge was tried before, so that its tombstone may lie on a store already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attempt {
    First,
    Again,
}

/// So long a purge waits for the cache.
const CACHE_PATIENCE: std::time::Duration = std::time::Duration::from_secs(2);

/// How many purges are gone on with on a place in one recovery.
const CLEARED_AT_ONCE: usize = 256;

impl Node {
    /// Carries a claimed purge out from wherever it stopped.
    pub(crate) async fn carry_out_purge(self: &Arc<Self>, claim: &Claim) -> Result<()> {
        self.purge_claimed(claim, Attempt::Again, &mut vec![]).await
    }

    /// Carries out a purge claimed just now, whose tombstone so many stores must hold; one that fails is finished later.
    async fn purge_first(self: &Arc<Self>, claim: Claim, wanted: usize) -> Result<()> {
        let mut missed = vec![];
        let Err(error) = self.purge_claimed(&claim, Attempt::First, &mut missed).await else {
            return self.check_held(wanted, &missed);
        };
        let buried = self.ledger.tombstone(claim.file, claim.purpose.revision()).await;
        self.settle_claim_later(claim, std::time::Duration::ZERO, None);
        if !matches!(error, Error::Fenced(_)) && matches!(buried, Ok(Some(_))) {
            self.check_held(wanted, &missed)
        } else {
            Err(error)
        }
    }

    /// Steps 1 to 3. The stores that the tombstone has `missed` are told, if it was made now.
    async fn purge_claimed(self: &Arc<Self>, claim: &Claim, attempt: Attempt, missed: &mut Vec<StoreId>) -> Result<()> {
        let tombstone = match self.ledger.tombstone(claim.file, claim.purpose.revision()).await? {
            Some(tombstone) => tombstone,
            None => self.bury(claim, attempt, missed).await?,
        };
        // It is purged: what a store that is away still holds keeps nobody from changing the file's other revisions.
        let mut records = self.clear(&tombstone).await;
        records.push(Record { closes: Some(claim.id), ..Record::default() });
        self.record_all(records).await?;
        // Nobody waits for long for what can be made again: what stays is found by the next server that starts.
        if self.settings.cache.is_some() {
            let patience = self.environment.clock.sleep(CACHE_PATIENCE);
            select(std::pin::pin!(self.clear_cache(claim.file)), patience).await;
        }
        Ok(())
    }

    /// Removes what was made from a file's content. What stays because its store is away belongs to no file, and is found by who lists it.
    async fn clear_cache(self: &Arc<Self>, file: FileId) {
        let Some(cache) = Files(self.clone()).cache() else { return };
        if let Err(error) = cache.remove_all(file).await {
            tracing::warn!(%file, %error, "renditions of a purged file stay for now");
        }
    }

    /// Step 3 of purges on the stores that have missed it, where they permit it now; on each so many, behind those that were tried last,
    /// for some may fail for ever. Says whether that was all.
    ///
    /// # Errors
    /// `Fenced`; else the first store's that is away or does not delete, whatever becomes of the others.
    pub(crate) async fn clear_missed(self: &Arc<Self>) -> Result<bool> {
        let (mut all, mut failed) = (true, None);
        for place in (0..self.places.len()).filter(|place| self.places[*place].mode.changes()) {
            match self.clear_missed_on(place).await {
                Ok(all_here) => all &= all_here,
                Err(fenced @ Error::Fenced(_)) => return Err(fenced),
                Err(error) => drop(failed.get_or_insert(error)),
            }
        }
        failed.map_or(Ok(all), Err)
    }

    async fn clear_missed_on(self: &Arc<Self>, place: usize) -> Result<bool> {
        let behind = self.state().cleared_last.remove(&place);
        let after = behind.unwrap_or(RecordId::BEFORE_CLEARINGS);
        let page = self.ledger.missed(self.places[place].id, Some(after), CLEARED_AT_ONCE).await?;
        let Some(last) = page.last() else { return Ok(behind.is_none()) };
        let is_last = page.len() < CLEARED_AT_ONCE;
        if !is_last {
            self.state().cleared_last.insert(place, last.record);
        }
        self.places[place].confirm().await?;
        self.carry_all(place, &page).await?;
        Ok(behind.is_none() && is_last)
    }

    /// Steps 1 and 2: the tombstone durable, the rows gone.
    async fn bury(self: &Arc<Self>, claim: &Claim, attempt: Attempt, missed: &mut Vec<StoreId>) -> Result<Tombstone> {
        let earlier = match attempt {
            Attempt::First => None,
            Attempt::Again => self.tombstone_on_stores(claim).await?,
        };
        let tombstone = match earlier {
            Some(tombstone) => tombstone,
            None => self.new_tombstone(claim).await?,
        };
        *missed = self.put_tombstone(&tombstone).await?;
        let all = [&**missed, &self.not_here(&tombstone.stores)].concat();
        self.record_with(Entry::Tombstone(Box::new(tombstone.clone())), &all).await?;
        Ok(tombstone)
    }

    async fn new_tombstone(&self, claim: &Claim) -> Result<Tombstone> {
        let Some(file) = self.ledger.file(claim.file).await? else {
            return Err(Error::internal("a purge was claimed of a file without a row"));
        };
        let (revision, mut covered) = (claim.purpose.revision(), self.ledger.revisions(claim.file).await?);
        covered.retain(|row| revision.is_none_or(|number| row.revision == number));
        if revision.is_some() && covered.is_empty() {
            return Err(Error::internal("a purge was claimed of a revision without a row"));
        }
        let mut keys = self.overlays_covered(claim.file, revision).await;
        keys.extend(covered.into_iter().map(|row| row.key));
        // Of another attempt the same: one that arrives late, where nothing keeps it from replacing this one, tells nothing else.
        let purged_at = claim.opened_at;
        // The requests that made it are told by what stays of it.
        let made_by = self.made_by(&file.attributes, revision, &keys, purged_at).await;
        Ok(Tombstone {
            larder: 1,
            id: claim.file,
            revision,
            bucket_id: file.attributes.bucket_id,
            owner_id: file.attributes.owner_id,
            epoch: self.epoch,
            version: claim.version,
            purged_at,
            keys: keys.iter().map(ToString::to_string).collect(),
            stores: self.known_stores().await?,
            created_by_key: made_by,
        })
    }

    /// The idempotent requests that made what is purged, as far as a repeat of them may come. Where one has given the file a new
    /// revision, the attributes of the older ones tell of those before it; on a store that is away they are forgotten by a rebuild.
    async fn made_by(
        &self,
        head: &Attributes,
        revision: Option<u64>,
        keys: &[Key],
        now: Timestamp,
    ) -> Vec<CreatedByKey> {
        let newest = carried(head.created_by_key.as_ref(), now);
        let has_others = newest.as_ref().is_some_and(|made| made.status == REPLACED);
        let mut made_by: Vec<_> = newest.filter(|_| revision.is_none()).into_iter().collect();
        let older = keys.iter().filter(|key| has_others && **key != head.key && !layout::overlays().contains(key));
        for sidecar in older.filter_map(|key| key.with_suffix(Attributes::SUFFIX).ok()) {
            for place in &self.places {
                let Ok(Reading::Valid(found)) = place.attributes_at(&sidecar).await else { continue };
                let made = carried(found.created_by_key.as_ref(), now);
                made_by.extend(made.filter(|made| !made_by.contains(made)));
            }
        }
        made_by
    }

    /// The overlays that a purge covers, each once, on the stores that answer. Its tombstone names them: an attempt to delete one
    /// may die when it is gone for every listing, but not durably.
    async fn overlays_covered(&self, id: FileId, revision: Option<u64>) -> Vec<Key> {
        let mut keys = BTreeSet::new();
        for place in &self.places {
            match place.overlays_covered(id, revision).await {
                Ok(overlays) => keys.extend(overlays),
                Err(error) => tracing::warn!(store = %place.name, %error, "overlays can't be listed now"),
            }
        }
        keys.into_iter().collect()
    }

    /// Every store that this installation knows, attached or not.
    async fn known_stores(&self) -> Result<Vec<StoreId>> {
        let identity = self.ledger.identity().await?;
        Ok(identity.map(|identity| identity.stores.iter().map(|store| store.id).collect()).unwrap_or_default())
    }

    /// This purge's tombstone, where an earlier attempt made it durable.
    async fn tombstone_on_stores(&self, claim: &Claim) -> Result<Option<Tombstone>> {
        for place in &self.places {
            for key in place.tombstones_of(claim.file, claim.purpose.revision()).await? {
                let read = place.insist(|| place.read(&key, Tombstone::BYTES_MAX)).await?;
                let read = read.unwrap_or_else(|error| {
                    tracing::warn!(%key, store = %place.name, %error, "a tombstone can't be read, and is written anew");
                    None
                });
                if let Some(tombstone) = read.and_then(|bytes| Tombstone::from_bytes(&bytes)) {
                    return Ok(Some(tombstone));
                }
            }
        }
        Ok(None)
    }

    /// Step 1 on every store that takes it. Answers those that have missed it.
    pub(crate) async fn put_tombstone(&self, tombstone: &Tombstone) -> Result<Vec<StoreId>> {
        let (mut missed, mut refused) = (vec![], None);
        for place in &self.places {
            if !place.mode.creates() {
                missed.push(place.id);
            } else if let Err(error) = place.put_tombstone(tombstone).await {
                missed.push(place.id);
                refused = Some(the_less_certain(refused, error));
            }
        }
        match refused {
            _ if missed.len() < self.places.len() => Ok(missed),
            Some(error) if nothing_happened(error.kind()) => Err(error.into()),
            Some(error) => Err(Error::StoreUnavailable(Some(error.into()))),
            None => Err(Error::ReadOnly("no store takes a tombstone".into())),
        }
    }

    /// Step 3 on every store that permits it, whatever becomes of the others; where one fails it is tried again. Answers what notes
    /// those that have missed it.
    pub(crate) async fn clear(self: &Arc<Self>, tombstone: &Tombstone) -> Vec<Record> {
        let mut missed = vec![];
        for place in &self.places {
            if place.mode.changes() {
                let Err(error) = place.clear(tombstone, None).await else { continue };
                tracing::warn!(file = %tombstone.id, store = %place.name, %error, "what was purged is deleted later");
                self.recover_later();
            }
            missed.push(tombstone.not_cleared_on(place.id).into());
        }
        // As they are known by now: one that joined since is in no list from before, and has looked for tombstones before this was recorded.
        let known = self.known_stores().await.unwrap_or_else(|_| tombstone.stores.clone());
        let others = self.not_here(&known).into_iter();
        missed.extend(others.map(|store| tombstone.not_cleared_on(store).into()));
        missed
    }

    /// Those of known stores that this node does not have: one that joined after it had started may hold what it does not see.
    fn not_here(&self, stores: &[StoreId]) -> Vec<StoreId> {
        stores.iter().copied().filter(|store| self.place(*store).is_none()).collect()
    }
}

impl Tombstone {
    /// That a store has missed step 3.
    pub(crate) fn not_cleared_on(&self, store: StoreId) -> Entry {
        let record = RecordId::Clearing(self.id, self.revision);
        Entry::Missed(Missed { store, record, epoch: self.epoch, version: self.version })
    }
}

impl Place {
    /// Puts a tombstone here, durably, where it does not lie yet.
    pub(crate) async fn put_tombstone(&self, tombstone: &Tombstone) -> larder_storage_core::Result<()> {
        // What takes another's place takes everything, and keeps nothing from coming back.
        self.confirm().await?;
        let (key, bytes) = (tombstone.key(), tombstone.to_bytes());
        let overwrites = self.store.staging().is_none() && self.mode.changes();
        match self.store.put(&key, bytes.clone().into(), PutOptions::create()).await {
            // One that arrived late, where the store does not stage, says another time: the ledger's is written over it.
            Err(error) if *error.kind() == ErrorKind::AlreadyExists && overwrites => {
                self.store.put(&key, bytes.into(), PutOptions::replace()).await.map(drop)
            }
            // A tombstone's key and bytes are one: an earlier attempt's is this one's, once it is durable.
            Err(error) if *error.kind() == ErrorKind::AlreadyExists => self.make_durable(&key).await,
            put => put.map(drop),
        }
    }

    /// The keys of a file's tombstones, or of those of one revision of it. Costs a listing of all.
    pub(crate) async fn tombstones_of(
        &self,
        id: FileId,
        revision: Option<u64>,
    ) -> larder_storage_core::Result<Vec<Key>> {
        let listed = self.store.list(ListOptions::below(layout::tombstones())).map_ok(|listed| listed.object.key);
        listed.try_filter(|key| std::future::ready(buried(key) == Some((id, revision)))).try_collect().await
    }

    /// Deletes what a tombstone covers; the file's overlays are looked for where they are not given.
    pub(crate) async fn clear(&self, tombstone: &Tombstone, overlays: Option<&[Key]>) -> Result<()> {
        self.confirm().await?;
        let overlays = match overlays {
            Some(overlays) => self.covered(overlays.to_vec(), tombstone.revision).await?,
            None => self.overlays_covered(tombstone.id, tombstone.revision).await?,
        };
        for key in overlays {
            self.store.delete(&key).await?;
        }
        for key in &tombstone.keys {
            let key = Key::new(key).map_err(Error::internal)?;
            // The bytes first: attributes that are left alone say whose they are, and so that they were purged.
            self.store.delete(&key).await?;
            if !layout::overlays().contains(&key) {
                let sidecar = key.with_suffix(Attributes::SUFFIX).map_err(Error::internal)?;
                self.store.delete(&sidecar).await?;
            }
        }
        Ok(())
    }

    /// The overlays of a file that a purge covers: of one revision only those that describe it.
    async fn overlays_covered(&self, id: FileId, revision: Option<u64>) -> Result<Vec<Key>> {
        let overlays = self.overlays_of(id).await?;
        self.covered(overlays, revision).await
    }

    async fn covered(&self, mut covered: Vec<Key>, revision: Option<u64>) -> Result<Vec<Key>> {
        if let Some(revision) = revision {
            for key in std::mem::take(&mut covered) {
                if matches!(self.attributes_at(&key).await?, Reading::Valid(found) if found.revision == revision) {
                    covered.push(key);
                }
            }
        }
        Ok(covered)
    }
}
