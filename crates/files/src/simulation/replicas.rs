//! What must hold of copies: one that is said to be verified is there, byte for byte, whenever anybody looks; and once everything has
//! healed, every revision comes to have one on every store of its placement, with its attributes beside it, and every store to have
//! each tombstone and each sealed record: it alone then tells of the same files as all of them.

use super::{
    Shelf,
    database::{Left, held, records, revisions},
    operator::{Operator, SETTLED_AFTER},
    oracle::Verdict,
    world::World,
};
use crate::{
    Attributes, File, FileId, Sha256, layout,
    ledger::{CopyRow, CopyState, FileRow, RevisionRow},
    rebuild::buried,
};
use larder_storage_core::Key;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// By then every copy is made: far sooner than the next walk over all revisions, which must find nothing.
const MADE_AFTER: Duration = Duration::from_secs(30 * 60);
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Everything on one store.
type Objects = BTreeMap<Key, bytes::Bytes>;

impl Operator {
    /// Waits until the reconciler has nothing more to do, then looks whether all is as it should be.
    pub(super) async fn replicate(&self) -> Verdict {
        self.replicate_as(|left| left.claims.is_empty() && left.nodes.is_empty()).await
    }

    /// The same on nodes that have long looked at every file: what is noted is all that they go by. A key that one reserved without
    /// ever hearing of it stays until it dies.
    pub(super) async fn replicate_by_notes(&self) -> Verdict {
        self.replicate_as(|left| left.claims.is_empty()).await
    }

    async fn replicate_as(&self, is_at_rest: impl Fn(&Left) -> bool) -> Verdict {
        if !self.world.profile.replicas {
            return Ok(());
        }
        // An upload that broke off keeps others from its key until it is settled.
        let all_stage = self.world.profile.stores.iter().all(|shelf| shelf.staging);
        let patience = if all_stage { MADE_AFTER } else { MADE_AFTER + SETTLED_AFTER };
        let until = self.world.executor.now() + patience;
        loop {
            self.check_copies(false)?;
            let lacking = self.check_copies(true).and_then(|()| self.check_records());
            let database = self.world.state().database.clone();
            let idle = held(&database).is_ok_and(|left| is_at_rest(&left));
            match lacking {
                Ok(()) if idle => return Ok(()),
                Err(why) if self.world.executor.now() > until => return Err(format!("{why} after {patience:?}")),
                Ok(()) if self.world.executor.now() > until => {
                    return Err("I4: the reconciler never comes to rest".into());
                }
                _ => self.world.executor.sleep(LOOK_AGAIN).await,
            }
        }
    }

    /// Waits until every revision has one copy, on the only store that placements name, and no other store has bytes or attributes beside them.
    pub(super) async fn left_alone(&self) -> Verdict {
        let until = self.world.executor.now() + MADE_AFTER;
        loop {
            self.check_copies(false)?;
            let left = self.check_alone();
            match left {
                Ok(()) => return Ok(()),
                Err(why) if self.world.executor.now() > until => return Err(format!("{why} after {MADE_AFTER:?}")),
                Err(_) => self.world.executor.sleep(LOOK_AGAIN).await,
            }
        }
    }

    fn check_alone(&self) -> Verdict {
        let only = self.world.state().narrowed;
        let database = self.world.state().database.clone();
        let rows = revisions(&database).map_err(|error| format!("the ledger fails when all has healed: {error:?}"))?;
        let identity = database_stores(&database)?;
        let name = only.map(|only| self.world.profile.stores[only].name);
        let store = identity.iter().find(|known| Some(known.name.as_str()) == name).map(|known| known.id);
        for (_, revision) in &rows {
            // What a rebuild has seen there, and has no other copy of, stays as it was seen.
            let is_this = |copy: &CopyRow| Some(copy.store) == store && copy.is_readable();
            if revision.copies.len() != 1 || !revision.copies.iter().all(is_this) {
                return Err(format!(
                    "I4: revision {} of {} lies elsewhere: {:?}",
                    revision.revision, revision.file, revision.copies
                ));
            }
        }
        for (at, disk) in self.world.disks.iter().enumerate().filter(|(at, _)| Some(*at) != only) {
            let left = disk.objects().into_iter().find(|(key, _)| !key.as_str().starts_with(".larder/"));
            if let Some((key, _)) = left {
                return Err(format!("I4: `{key}` is left in store {at}, which no placement names"));
            }
        }
        Ok(())
    }

    /// Tombstones, and the newest record of each user and bucket, lie on every store that takes them.
    fn check_records(&self) -> Verdict {
        let database = self.world.state().database.clone();
        let records = records(&database).map_err(|error| format!("the ledger fails when all has healed: {error:?}"))?;
        for (shelf, disk) in self.world.profile.stores.iter().zip(&self.world.disks) {
            let objects: BTreeMap<Key, bytes::Bytes> = disk.objects().into_iter().collect();
            let lacking = records.iter().find(|key| !objects.contains_key(*key));
            if let Some(key) = lacking.filter(|_| shelf.mode.creates()) {
                return Err(format!("I2: {} has missed {key}", shelf.name));
            }
        }
        Ok(())
    }

    /// Each store alone knows every file as it is, and no other.
    pub(super) fn check_each_alone(&self) -> Verdict {
        if !self.world.profile.replicas {
            return Ok(());
        }
        let database = self.world.state().database.clone();
        let rows = revisions(&database).map_err(|error| format!("the ledger fails when all has healed: {error:?}"))?;
        let rows: BTreeMap<_, _> = rows.into_iter().map(|(row, _)| (row.attributes.id, row.attributes)).collect();
        for (shelf, disk) in self.world.profile.stores.iter().zip(&self.world.disks) {
            let alone = known_alone(&disk.objects());
            let differs = |id: &&FileId| alone.get(id) != rows.get(id);
            if let Some(id) = rows.keys().chain(alone.keys()).find(differs) {
                let (alone, row) = (alone.get(id), rows.get(id));
                return Err(format!("I6: {} alone tells of {id} {alone:?}, the file is {row:?}", shelf.name));
            }
        }
        Ok(())
    }

    /// What verified copies promise; with `all`, that each revision has one everywhere.
    fn check_copies(&self, all: bool) -> Verdict {
        let database = self.world.state().database.clone();
        let rows = revisions(&database).map_err(|error| format!("the ledger fails when all has healed: {error:?}"))?;
        let identity = database_stores(&database)?;
        let disks: Vec<Objects> = self.world.disks.iter().map(|disk| disk.objects().into_iter().collect()).collect();
        for (row, revision) in &rows {
            for (at, (shelf, objects)) in self.world.profile.stores.iter().zip(&disks).enumerate() {
                // What has rotted is believed until somebody reads it; what was made anew since is as good as any other.
                let is_wrong = objects.get(&revision.key).is_some_and(|bytes| Sha256::of(bytes) != revision.sha256);
                if is_wrong && self.world.state().rotten.contains(&(at, revision.key.clone())) {
                    continue;
                }
                let store = identity.iter().find(|known| known.name == shelf.name);
                let known = revision.copies.iter().find(|copy| store.is_some_and(|store| store.id == copy.store));
                check_copy(shelf, objects, row, revision, known, all)?;
            }
        }
        Ok(())
    }
}

impl World {
    /// What is answered lies on as many stores as it must: its content, and its attributes or higher ones.
    pub(super) fn check_held(&self, file: &File) -> Verdict {
        let of = &file.attributes;
        self.check_on_stores(&format!("version {} of {}", of.version, of.id), |at, objects| {
            let whole = objects.iter().any(|(key, bytes)| *key == of.key && Sha256::of(bytes) == of.sha256);
            let is_rotten = self.state().rotten.contains(&(at, of.key.clone()));
            let is_known = known_alone(objects).get(&of.id).is_some_and(|known| known.rank() >= of.rank());
            (whole || is_rotten) && is_known || is_buried(objects, of.id, of.revision)
        })
    }

    /// The tombstone of what is answered as purged does.
    pub(super) fn check_buried(&self, id: FileId) -> Verdict {
        self.check_on_stores(&format!("the tombstone of {id}"), |_, objects| is_buried(objects, id, 0))
    }

    fn check_on_stores(&self, what: &str, holds: impl Fn(usize, &[(Key, bytes::Bytes)]) -> bool) -> Verdict {
        let wanted = self.profile.write_copies as usize;
        if wanted == 1 {
            return Ok(());
        }
        let held = self.disks.iter().enumerate().filter(|(at, disk)| holds(*at, &disk.objects())).count();
        if held >= wanted { Ok(()) } else { Err(format!("I1: {what} was answered, and lies on {held} stores")) }
    }
}

fn is_buried(objects: &[(Key, bytes::Bytes)], id: FileId, revision: u64) -> bool {
    let covers = |which: Option<u64>| which.is_none_or(|which| which == revision);
    objects.iter().filter_map(|(key, _)| buried(key)).any(|(of, which)| of == id && covers(which))
}

/// The files of which a store tells, as a rebuild of it alone would find them.
fn known_alone(objects: &[(Key, bytes::Bytes)]) -> BTreeMap<FileId, Attributes> {
    let tombstones = objects.iter().filter(|(key, _)| layout::tombstones().contains(key));
    let buried: BTreeSet<_> = tombstones.filter_map(|(key, _)| buried(key)).collect();
    let holds = |key: &Key| key.as_str().ends_with(Attributes::SUFFIX) || layout::overlays().contains(key);
    let mut known = BTreeMap::<FileId, Attributes>::new();
    let read = objects.iter().filter(|(key, _)| holds(key)).filter_map(|(_, bytes)| Attributes::from_bytes(bytes).ok());
    for found in read.filter(|of| [None, Some(of.revision)].iter().all(|which| !buried.contains(&(of.id, *which)))) {
        let known = known.entry(found.id).or_insert_with(|| found.clone());
        if found.rank() > known.rank() {
            *known = found;
        }
    }
    known
}

fn database_stores(database: &std::sync::Arc<dyn super::Database>) -> Result<Vec<crate::ledger::KnownStore>, String> {
    use futures_util::FutureExt;
    let ledger = database.open();
    let mut found = None;
    database.complete(async { found = Some(ledger.identity().await) }.boxed());
    let identity = found.expect("it was run to its end").map_err(|error| format!("{error:?}"))?;
    Ok(identity.map(|identity| identity.stores).unwrap_or_default())
}

fn check_copy(
    shelf: &Shelf,
    objects: &Objects,
    row: &FileRow,
    revision: &RevisionRow,
    known: Option<&CopyRow>,
    all: bool,
) -> Verdict {
    let what = || format!("revision {} of {} on {}, {known:?}", revision.revision, revision.file, shelf.name);
    let is_verified = known.is_some_and(|copy| copy.state == CopyState::Verified);
    if !is_verified {
        return if all { Err(format!("I4: there is no verified copy of {}", what())) } else { Ok(()) };
    }
    if objects.get(&revision.key).is_none_or(|bytes| Sha256::of(bytes) != revision.sha256) {
        return Err(format!("I1: the bytes are not there of {}", what()));
    }
    let sidecar = revision.key.with_suffix(Attributes::SUFFIX).map_err(|error| error.to_string())?;
    let beside = objects.get(&sidecar).and_then(|bytes| Attributes::from_bytes(bytes).ok());
    let is_over = || {
        let overlay = layout::overlay(row.attributes.id, row.attributes.epoch, row.attributes.version);
        let over = objects.get(&overlay).and_then(|bytes| Attributes::from_bytes(bytes).ok());
        !shelf.conditions && over.as_ref() == Some(&row.attributes)
    };
    match beside {
        Some(found) if found.id != revision.file || found.key != revision.key => {
            Err(format!("I3: other attributes lie beside {}", what()))
        }
        // A change in this very moment may have reached one store and not the row.
        Some(found) if all && row.attributes.key == revision.key && found != row.attributes && !is_over() => {
            Err(format!("I3: {found:?} lies beside {}, the file is {:?}", what(), row.attributes))
        }
        Some(_) => Ok(()),
        None => Err(format!("I3: no attributes lie beside {}", what())),
    }
}
