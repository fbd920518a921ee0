//! What was purged is deleted on every store: also on one that permitted no deletion then, once it does.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a test has a runtime of its own, and may unwrap")]

mod support;

use larder_files::{
    Attributes, Clock, Error, FileId, Files, FsckOptions, Patch, RebuildOptions, Settings, StartError, StoreMode,
    StoreName,
    ledger::{Entry, Ledger, Missed, Record, RecordId},
};
use larder_storage_core::{ErrorKind, Key, MemoryOptions, PutOptions, Store, StoreExt};
use std::{sync::Arc, time::Duration};
use support::{Faults, Gate, Larder, fsck, local, put, replace, staging_with, until};

/// Processes that copy to all of these stores, and look again for what waits.
async fn start(larder: &Larder) -> Files {
    let placement: Vec<StoreName> = larder.stores.iter().map(|(name, ..)| name.clone()).collect();
    let settings = Settings { placement, look_every: Some(Duration::from_secs(30)), ..Settings::default() };
    Files::start(larder.parts(larder.ledger.another()), settings).await.unwrap().0
}

/// What users may see on a store.
fn keys_on(larder: &Larder, store: usize) -> Vec<Key> {
    let keys = larder.stores[store].1.objects().into_iter().map(|(key, _)| key);
    keys.filter(|key| !key.as_str().starts_with(".larder/")).collect()
}

fn has_tombstone(larder: &Larder, store: usize, of: FileId) -> bool {
    let keys = larder.stores[store].1.objects().into_iter().map(|(key, _)| key.to_string());
    let tombstones: Vec<_> = keys.filter(|key| key.starts_with(".larder/tombstones/")).collect();
    tombstones.iter().any(|key| key.ends_with(&of.to_string()))
}

async fn missed(larder: &Larder) -> Vec<RecordId> {
    let mut records = vec![];
    for store in larder.ledger.identity().await.unwrap().unwrap().stores {
        let missed = larder.ledger.missed(store.id, None, 9).await.unwrap();
        records.extend(missed.into_iter().map(|missed| missed.record));
    }
    records
}

#[tokio::test]
async fn a_store_that_permits_no_deletion_is_cleared_once_it_does() {
    for mode in [StoreMode::Rw, StoreMode::Ro, StoreMode::Ar] {
        for rebuilds in [false, true] {
            let stages = MemoryOptions::with_staging;
            let mut larder = Larder::over_all([("a", stages()), ("b", stages())]);
            let files = start(&larder).await;
            let file = put(&files, "first").await.attributes;
            replace(&files, file.id, "second").await;
            until("both stores have both", async || keys_on(&larder, 1).len() == 4).await;
            until("nothing is under way", async || larder.ledger.nodes().await.unwrap().is_empty()).await;
            drop(files);

            larder.stores[1].2 = mode;
            let files = start(&larder).await;
            files.purge(&local(), file.id, None).await.unwrap();
            assert_eq!((keys_on(&larder, 0), keys_on(&larder, 1).len()), (vec![], 4), "{mode:?}");
            assert_eq!(has_tombstone(&larder, 1, file.id), mode == StoreMode::Rw);
            drop(files);
            if rebuilds {
                larder.rebuild().await;
            }

            larder.stores[1].2 = StoreMode::Edit;
            let files = start(&larder).await;
            until("all is deleted", async || keys_on(&larder, 1).is_empty()).await;
            until("nothing is missed", async || missed(&larder).await.is_empty()).await;
            assert!(has_tombstone(&larder, 1, file.id));
            assert!(matches!(files.describe(&local(), file.id).await, Err(Error::NotFound(_))));
            assert_eq!(fsck(&files, FsckOptions::default()).await.1, []);
        }
    }
}

#[tokio::test]
async fn the_only_store_is_cleared_once_it_permits_deletions() {
    let mut larder = Larder::new();
    let (files, _) = larder.start().await;
    let (file, stays) = (put(&files, "file").await.attributes, put(&files, "stays").await.attributes);
    replace(&files, stays.id, "newer").await;
    drop(files);
    larder.stores[0].2 = StoreMode::Rw;
    let (files, _) = larder.start().await;
    let renamed = Patch { name: Some("renamed".into()), ..Patch::default() };
    let renamed = files.update(&local(), stays.id, renamed, None).await;
    assert!(renamed.is_ok() || matches!(renamed, Err(Error::ReadOnly(_))), "{renamed:?}");
    files.purge(&local(), file.id, None).await.unwrap();
    files.purge_revision(&local(), stays.id, 1, None).await.unwrap();
    let before = keys_on(&larder, 0).len();
    drop(files);
    drop(larder.start().await);
    assert_eq!(missed(&larder).await.len(), 2, "it waits, however often the store is opened without");

    larder.stores[0].2 = StoreMode::Edit;
    let (files, _) = larder.start().await;
    assert_eq!(keys_on(&larder, 0).len(), before - 4);
    assert_eq!(missed(&larder).await, []);
    assert_eq!(files.revisions(&local(), stays.id).await.unwrap().len(), 1);
    assert_eq!(fsck(&files, FsckOptions::default()).await.1, []);
}

#[tokio::test]
async fn what_was_not_deleted_when_the_database_was_lost_is_deleted_after_the_rebuild() {
    let faults = Arc::<Faults>::default();
    let mut larder = Larder::over(staging_with(faults.clone()));
    let (files, _) = larder.start().await;
    let file = put(&files, "file").await.attributes;
    faults.plan("delete.sent", ".json", ErrorKind::Unavailable);
    files.purge(&local(), file.id, None).await.unwrap();
    assert_eq!(keys_on(&larder, 0), [file.sidecar()], "its attributes can't be deleted");
    drop(files);
    faults.heal();
    larder.rebuild().await;
    assert_eq!(keys_on(&larder, 0), [file.sidecar()]);
    drop(larder.start().await);
    assert_eq!(keys_on(&larder, 0), []);
    assert_eq!(missed(&larder).await, []);
}

#[tokio::test]
async fn a_purge_that_died_before_it_deleted_is_gone_on_with_under_whatever_modes() {
    let gate = Gate::at("delete.sent");
    let mut larder = Larder::over(staging_with(gate.clone()));
    let (files, _) = larder.start().await;
    let file = put(&files, "file").await.attributes;
    gate.close();
    let dying = tokio::spawn(async move { files.purge(&local(), file.id, None).await });
    gate.reached().await;
    dying.abort();
    larder.stores[0].1.kill(&larder.last_node());
    gate.open();
    larder.stores[0].2 = StoreMode::Rw;
    drop(larder.start().await);
    assert_eq!(larder.ledger.claims().await.unwrap(), []);
    assert_eq!(keys_on(&larder, 0).len(), 2);

    larder.stores[0].2 = StoreMode::Edit;
    drop(larder.start().await);
    assert_eq!((keys_on(&larder, 0), missed(&larder).await), (vec![], vec![]));
}

#[tokio::test]
async fn what_only_the_older_database_knows_as_purged_is_gone_from_the_stores_that_are_left() {
    for mode in [StoreMode::Edit, StoreMode::Ro] {
        let mut larder = Larder::over_all(["a", "b"].map(|name| (name, MemoryOptions::with_staging())));
        let files = start(&larder).await;
        let file = put(&files, "file").await.attributes;
        until("both stores have it", async || keys_on(&larder, 0).len() == 2 && keys_on(&larder, 1).len() == 2).await;
        until("nothing is under way", async || larder.ledger.nodes().await.unwrap().is_empty()).await;
        drop(files);
        // The tombstone comes to lie on `b` alone.
        larder.stores[0].2 = StoreMode::Ro;
        start(&larder).await.purge(&local(), file.id, None).await.unwrap();
        larder.stores.truncate(1);
        larder.stores[0].2 = mode;
        let options = || RebuildOptions { forget: vec![StoreName::new("b").unwrap()], ..RebuildOptions::default() };
        if mode == StoreMode::Ro {
            let refused = larder.rebuild_with(options()).await;
            assert!(
                matches!(&refused, Err(StartError::Configuration(why)) if why.contains("some purges")),
                "{refused:?}"
            );
            larder.stores[0].2 = StoreMode::Edit;
        }
        larder.rebuild_with(options()).await.unwrap();
        assert!(has_tombstone(&larder, 0, file.id));
        drop(larder.start().await);
        assert_eq!((keys_on(&larder, 0), missed(&larder).await), (vec![], vec![]));
    }
}

#[tokio::test]
async fn a_store_has_the_tombstone_before_anything_is_deleted_there() {
    let gate = Gate::at("delete.sent");
    let mut larder = Larder::over_all([("a", MemoryOptions::with_staging()), ("b", staging_with(gate.clone()))]);
    let files = start(&larder).await;
    let file = put(&files, "file").await.attributes;
    until("both stores have it", async || keys_on(&larder, 1).len() == 2).await;
    until("nothing is under way", async || larder.ledger.nodes().await.unwrap().is_empty()).await;
    drop(files);
    larder.stores[1].2 = StoreMode::Ro;
    start(&larder).await.purge(&local(), file.id, None).await.unwrap();
    assert!(!has_tombstone(&larder, 1, file.id));
    larder.stores[1].2 = StoreMode::Edit;
    gate.close();
    let parts = larder.parts(larder.ledger.another());
    let starting = tokio::spawn(async move { Files::start(parts, Settings::default()).await });
    gate.reached().await;
    assert!(has_tombstone(&larder, 1, file.id), "the deletion is under way");
    gate.open();
    drop(starting.await.unwrap().unwrap());
    assert_eq!(keys_on(&larder, 1), []);
}

#[tokio::test]
async fn a_store_that_joined_while_this_node_ran_is_cleared_by_who_has_it() {
    let mut larder = Larder::over_all([("a", MemoryOptions::with_staging())]);
    let running = start(&larder).await;
    larder.add_disk("b", MemoryOptions::with_staging());
    let joined = start(&larder).await;
    let file = put(&joined, "file").await.attributes;
    until("both stores have it", async || keys_on(&larder, 1).len() == 2).await;
    until("nothing is under way", async || larder.ledger.nodes().await.unwrap().is_empty()).await;
    drop(joined);
    running.purge(&local(), file.id, None).await.unwrap();
    drop(running);
    assert_eq!((keys_on(&larder, 0), keys_on(&larder, 1).len()), (vec![], 2));
    let files = start(&larder).await;
    until("all is deleted", async || keys_on(&larder, 1).is_empty()).await;
    assert!(has_tombstone(&larder, 1, file.id));
    assert_eq!(fsck(&files, FsckOptions::default()).await.1, []);
}

#[tokio::test]
async fn what_lies_in_the_place_of_a_store_is_not_answered_for_it() {
    for options in [MemoryOptions::with_staging, MemoryOptions::without_staging] {
        let larder = Larder::over_all([("a", options())]);
        let files = start(&larder).await;
        let file = put(&files, "file").await.attributes;
        let marker = Key::new(".larder/instance.json").unwrap();
        let beside = larder.store();
        let kept = beside.get_bytes(&marker, 1 << 20).await.unwrap();
        // Whatever is in its place takes everything and has no marker of ours.
        beside.delete(&marker).await.unwrap();
        let purged = files.purge(&local(), file.id, None).await;
        assert!(matches!(purged, Err(Error::StoreUnavailable(_))), "{purged:?}");
        assert_eq!(keys_on(&larder, 0).len(), 2, "nothing was deleted there");
        let user = larder_files::UserName::new("ada").unwrap();
        let added = files.add_user(user, larder_files::Role::User, None).await;
        assert!(added.is_err(), "{added:?}");
        beside.put(&marker, kept.into(), PutOptions::create()).await.unwrap();
        until("the purge is carried out", async || keys_on(&larder, 0).is_empty()).await;
        assert!(has_tombstone(&larder, 0, file.id));
    }
}

#[tokio::test]
async fn a_store_that_joins_is_given_what_was_purged_before() {
    let stages = MemoryOptions::with_staging;
    let mut larder = Larder::over_all([("a", stages()), ("b", stages())]);
    let files = start(&larder).await;
    let (gone, of_revision) = (put(&files, "gone").await.attributes, put(&files, "kept").await.attributes);
    replace(&files, of_revision.id, "newer").await;
    until("all is copied", async || keys_on(&larder, 1).len() == 6).await;
    until("nothing is under way", async || larder.ledger.nodes().await.unwrap().is_empty()).await;
    drop(files);
    larder.stores[0].2 = StoreMode::Ro;
    let files = start(&larder).await;
    files.purge(&local(), gone.id, None).await.unwrap();
    files.purge_revision(&local(), of_revision.id, 1, None).await.unwrap();
    assert!(has_tombstone(&larder, 1, gone.id) && !has_tombstone(&larder, 0, gone.id));
    drop(files);

    larder.add_disk("c", stages());
    // A command starts and copies nothing: then `fsck` tells.
    let placement = vec![StoreName::new("b").unwrap(), StoreName::new("c").unwrap()];
    let settings = Settings { placement, ..Settings::default() };
    let command = Files::start(larder.parts(larder.ledger.another()), settings.clone()).await.unwrap().0;
    let told = |findings: &[larder_files::Finding]| {
        findings.iter().filter(|finding| finding.detail == "the tombstone of a purge is yet to come to `c`").count()
    };
    assert_eq!(told(&fsck(&command, FsckOptions::default()).await.1), 2);
    drop(command);
    let settings = Settings { look_every: Some(Duration::from_secs(60 * 60)), ..settings };
    let begun = larder.world.elapsed();
    let files = Files::start(larder.parts(larder.ledger.another()), settings).await.unwrap().0;
    until("it was given them", async || {
        let keys = larder.stores[2].1.objects().into_iter().map(|(key, _)| key.to_string());
        keys.filter(|key| key.starts_with(".larder/tombstones/")).count() == 2
    })
    .await;
    assert!(larder.world.elapsed() - begun < Duration::from_secs(60), "it did not wait for the next look");
    until("all is copied", async || keys_on(&larder, 2).len() == 2).await;
    assert_eq!(told(&fsck(&files, FsckOptions::default()).await.1), 0);
    drop(files);

    // The older store that knew of it is lost, with the database: the one that may delete nothing still has the bytes.
    larder.stores.remove(1);
    larder.ledger = larder_files::ledger::MemoryLedger::new();
    let forget = RebuildOptions { forget: vec![StoreName::new("b").unwrap()], ..RebuildOptions::default() };
    larder.rebuild_with(forget).await.unwrap();
    let files = start(&larder).await;
    let answer = files.describe(&local(), gone.id).await;
    assert!(matches!(answer, Err(Error::NotFound(_) | Error::Gone)), "what was purged came back: {answer:?}");
}

/// A store `b` that joins a store `a` behind a purge: of this file.
async fn joined_after_a_purge() -> (Larder, Attributes) {
    let stages = MemoryOptions::with_staging;
    let mut larder = Larder::over_all([("a", stages())]);
    let files = start(&larder).await;
    let gone = put(&files, "gone").await.attributes;
    files.purge(&local(), gone.id, None).await.unwrap();
    drop(files);
    larder.add_disk("b", stages());
    (larder, gone)
}

#[tokio::test]
async fn a_tombstone_that_a_store_lacks_is_put_there_by_a_repair() {
    let (larder, gone) = joined_after_a_purge().await;
    let files = larder.start().await.0;
    assert!(!has_tombstone(&larder, 1, gone.id));
    fsck(&files, FsckOptions { repair: true, ..FsckOptions::default() }).await;
    assert!(has_tombstone(&larder, 1, gone.id));
    assert_eq!(fsck(&files, FsckOptions::default()).await.0.findings, 0);
}

#[tokio::test]
async fn what_is_noted_and_yet_to_come_to_a_store_counts_as_pending_until_it_is_there() {
    let (larder, gone) = joined_after_a_purge().await;
    let pending = async |files: &Files| files.stores().await.unwrap()[1].copies_due;
    let files = start(&larder).await;
    until("it is there, and nothing is pending", async || {
        has_tombstone(&larder, 1, gone.id) && pending(&files).await == Some(0)
    })
    .await;
    let store = files.stores().await.unwrap()[1].id;
    let tombstone = larder.ledger.tombstone(gone.id, None).await.unwrap().unwrap();
    let record = RecordId::Tombstone(gone.id, None);
    let missed = Missed { store, record, epoch: tombstone.epoch, version: tombstone.version + 1 };
    let noted = larder.ledger.another();
    noted.identity().await.unwrap();
    noted.record(vec![Record { entry: Some(Entry::Missed(missed)), ..Record::default() }]).await[0].as_ref().unwrap();
    assert_eq!(pending(&files).await, Some(1));
}
