//! Purge: a file is gone for ever.
//!
//! 0. A `Purge` claim, durable: from here on it is only ever finished forward.
//! 1. A tombstone on every store that takes it, at least one (**the commit point**): whatever still lies there is garbage.
//! 2. The rows go.
//! 3. Overlays, then attributes and bytes of every revision, the newest last; then the claim closes.

use crate::{
    Attributes, Caller, Error, FileId, Files, Result, StoreId, Tombstone,
    create::{carried, nothing_happened},
    files::Node,
    layout,
    ledger::{Claim, Entry, Purpose},
};
use futures_util::TryStreamExt;
use larder_storage_core::{ErrorKind, Key, ListOptions, PutOptions};
use std::sync::Arc;

impl Files {
    /// Purges a file, from the trash or not. When this returns it is never readable again: not after a crash, not after a rebuild.
    ///
    /// # Errors
    /// `NotFound`, `PreconditionFailed`, `Busy`; `StoreUnavailable` where no store takes the tombstone now: it is purged as soon
    /// as one does.
    pub async fn purge(&self, caller: &Caller, id: FileId, if_version: Option<u64>) -> Result<()> {
        self.0.begin_change().await?;
        if !self.0.places.iter().any(|place| place.mode.creates()) {
            return Err(Error::ReadOnly("no store takes a tombstone".into()));
        }
        self.check_version(caller, id, if_version).await?;
        let (files, caller) = (self.clone(), caller.clone());
        self.complete(async move {
            let claim = files.claim_purge(&caller, id, if_version).await?;
            let result = files.0.purge_claimed(&claim, Attempt::First).await;
            if result.is_err() {
                files.0.settle_claim_later(claim);
            }
            result
        })
        .await
    }

    /// Step 0. A condition is checked under a claim that can still be dropped; only then it is made one that can't.
    async fn claim_purge(&self, caller: &Caller, id: FileId, if_version: Option<u64>) -> Result<Claim> {
        if if_version.is_none() {
            return self.0.claim(id, Purpose::Purge).await;
        }
        let claim = self.0.claim(id, Purpose::Change).await?;
        if let Err(error) = self.check_version(caller, id, if_version).await {
            self.0.release(&claim).await;
            return Err(error);
        }
        match self.0.ledger.harden(claim.id).await {
            Ok(()) => Ok(Claim { purpose: Purpose::Purge, ..claim }),
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

    async fn check_version(&self, caller: &Caller, id: FileId, if_version: Option<u64>) -> Result<()> {
        let version = self.describe(caller, id).await?.attributes.version;
        match if_version {
            Some(wanted) if wanted != version => Err(Error::PreconditionFailed { version }),
            _ => Ok(()),
        }
    }
}

/// Whether a purge was tried before, so that its tombstone may lie on a store already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attempt {
    First,
    Again,
}

impl Node {
    /// Carries a claimed purge out from wherever it stopped.
    pub(crate) async fn carry_out_purge(self: &Arc<Self>, claim: &Claim) -> Result<()> {
        self.purge_claimed(claim, Attempt::Again).await
    }

    /// Steps 1 to 3.
    async fn purge_claimed(self: &Arc<Self>, claim: &Claim, attempt: Attempt) -> Result<()> {
        let tombstone = match self.ledger.tombstone(claim.file, None).await? {
            Some(tombstone) => tombstone,
            None => self.bury(claim, attempt).await?,
        };
        self.clear(&tombstone).await?;
        self.record(None, Some(claim.id)).await?;
        Ok(())
    }

    /// Steps 1 and 2: the tombstone durable, the rows gone.
    async fn bury(self: &Arc<Self>, claim: &Claim, attempt: Attempt) -> Result<Tombstone> {
        let earlier = match attempt {
            Attempt::First => None,
            Attempt::Again => self.tombstone_on_stores(claim.file).await?,
        };
        let tombstone = match earlier {
            Some(tombstone) => tombstone,
            None => self.new_tombstone(claim).await?,
        };
        self.put_tombstone(&tombstone).await?;
        self.record(Some(Entry::Tombstone(Box::new(tombstone.clone()))), None).await?;
        Ok(tombstone)
    }

    async fn new_tombstone(&self, claim: &Claim) -> Result<Tombstone> {
        let Some(file) = self.ledger.file(claim.file).await? else {
            return Err(Error::internal("a purge was claimed of a file without a row"));
        };
        let revisions = self.ledger.revisions(claim.file).await?;
        let purged_at = self.environment.clock.now();
        Ok(Tombstone {
            larder: 1,
            id: claim.file,
            revision: None,
            bucket_id: file.attributes.bucket_id,
            owner_id: file.attributes.owner_id,
            epoch: self.epoch,
            version: claim.version,
            purged_at,
            keys: revisions.iter().map(|revision| revision.key.to_string()).collect(),
            stores: self.known_stores().await?,
            created_by_key: carried(file.attributes.created_by_key.as_ref(), purged_at).into_iter().collect(),
        })
    }

    /// Every store that this installation knows, attached or not.
    async fn known_stores(&self) -> Result<Vec<StoreId>> {
        let identity = self.ledger.identity().await?;
        Ok(identity.map(|identity| identity.stores.iter().map(|store| store.id).collect()).unwrap_or_default())
    }

    /// A tombstone of this file that an earlier attempt made durable.
    async fn tombstone_on_stores(&self, id: FileId) -> Result<Option<Tombstone>> {
        for place in &self.places {
            let mut objects = place.store.list(ListOptions::below(layout::tombstones()));
            while let Some(listed) = objects.try_next().await? {
                if !listed.object.key.as_str().ends_with(&format!("/{id}")) {
                    continue;
                }
                let bytes =
                    larder_storage_core::StoreExt::get_bytes(&*place.store, &listed.object.key, 1 << 20).await?;
                if let Some(tombstone) = Tombstone::from_bytes(&bytes) {
                    return Ok(Some(tombstone));
                }
            }
        }
        Ok(None)
    }

    /// Step 1 on every store that takes it.
    pub(crate) async fn put_tombstone(&self, tombstone: &Tombstone) -> Result<()> {
        let (key, bytes) = (tombstone.key(), tombstone.to_bytes());
        let (mut durable, mut refused) = (0, None);
        for place in self.places.iter().filter(|place| place.mode.creates()) {
            let put = match place.store.put(&key, bytes.clone().into(), PutOptions::create()).await {
                // A tombstone's key and bytes are one: an earlier attempt's is this one's, once it is durable.
                Err(error) if *error.kind() == ErrorKind::AlreadyExists => place.make_durable(&key, &bytes).await,
                put => put.map(drop),
            };
            match put {
                Ok(()) => durable += 1,
                Err(error) => refused = Some(error),
            }
        }
        match (durable, refused) {
            (0, Some(error)) if nothing_happened(error.kind()) => Err(error.into()),
            (0, Some(error)) => Err(Error::StoreUnavailable(Some(error.into()))),
            (0, None) => Err(Error::ReadOnly("no store takes a tombstone".into())),
            _ => Ok(()),
        }
    }

    /// Step 3 on every store that permits it.
    pub(crate) async fn clear(&self, tombstone: &Tombstone) -> Result<()> {
        for place in self.places.iter().filter(|place| place.mode.changes()) {
            if tombstone.revision.is_none() {
                self.clear_overlays(place, tombstone.id).await?;
            }
            for key in &tombstone.keys {
                let key = Key::new(key).map_err(Error::internal)?;
                let sidecar = key.with_suffix(Attributes::SUFFIX).map_err(Error::internal)?;
                place.store.delete(&sidecar).await?;
                place.store.delete(&key).await?;
            }
        }
        Ok(())
    }

    async fn clear_overlays(&self, place: &crate::files::Place, id: FileId) -> Result<()> {
        let mut objects = place.store.list(ListOptions::below(layout::overlays()));
        let mut found = Vec::new();
        while let Some(listed) = objects.try_next().await? {
            if layout::parse_overlay(&listed.object.key).is_some_and(|(of, ..)| of == id) {
                found.push(listed.object.key);
            }
        }
        drop(objects);
        for key in found {
            place.store.delete(&key).await?;
        }
        Ok(())
    }
}
