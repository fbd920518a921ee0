//! A start takes in what it finds, refuses what contradicts itself, and agrees with one that runs at the same time.
#![allow(clippy::unwrap_used)]

mod support;

use larder_files::{
    Error, Files, Ledger, Role, Settings, StartError, StoreMode, StoreName, User, UserName, rehearse_start,
};
use larder_storage_core::{ErrorKind, MemoryOptions, MemoryStore, NodeId};
use std::sync::Arc;
use support::*;

async fn add_ivanov(files: &Files) -> Result<User, Error> {
    files.add_user(UserName::new("ivanov").unwrap(), Role::User, None).await
}

#[tokio::test]
async fn who_lost_the_race_for_a_name_is_refused_and_its_record_stops_no_later_start() {
    let (faults, gate) = (Arc::new(Faults::default()), Gate::at("record"));
    let larder = Larder::over(staging_with(faults.clone()));
    let first = larder.start().await.0;
    let second = larder.start_with(gate.clone()).await;
    gate.close();
    // The record of the one that is refused stays, as if its process had died before it was deleted.
    faults.plan("delete.sent", ".larder/accounts/", ErrorKind::Unavailable);
    let (refused, added) = tokio::join!(add_ivanov(&second), async {
        gate.reached().await;
        let added = add_ivanov(&first).await.unwrap();
        gate.open();
        added
    });
    assert!(matches!(refused, Err(Error::Conflict(_))), "{refused:?}");
    larder.disk.kill(&larder.last_node());
    faults.heal();
    assert_eq!(larder.count_below(".larder/accounts/"), 2);
    for _ in 0..2 {
        assert_eq!(larder.start().await.0.users().await.unwrap(), std::slice::from_ref(&added));
    }
}

#[tokio::test]
async fn two_nodes_that_make_the_same_buckets_at_once_agree_on_them() {
    let (larder, gate) = (Larder::new(), Gate::at("record"));
    let none = Settings { buckets: vec![], ..Settings::default() };
    Files::start(larder.parts(larder.ledger.another()), none).await.unwrap();
    gate.close();
    let (late, early) = tokio::join!(larder.start_with(gate.clone()), async {
        gate.reached().await;
        let early = larder.start().await.0;
        gate.open();
        early
    });
    assert_eq!(late.buckets(), early.buckets());
    assert_eq!((late.buckets().len(), larder.count_below(".larder/buckets/")), (3, 3));
    put(&late, "of one").await;
    assert_eq!(larder.start().await.0.buckets(), early.buckets());
}

#[tokio::test]
async fn a_rehearsed_start_is_refused_as_a_start_is_and_writes_nothing() {
    let larder = Larder::new();
    let rehearse =
        async |larder: &Larder| rehearse_start(&larder.parts(larder.ledger.another()), &Settings::default()).await;
    rehearse(&larder).await.unwrap();
    assert_eq!(larder.count_below(".larder/"), 0);
    put(&larder.start().await.0, "file").await;
    let before = larder.objects();
    rehearse(&larder).await.unwrap();
    assert_eq!(larder.objects(), before);
    let mut amnesiac = larder;
    amnesiac.ledger = Larder::new().ledger;
    assert!(matches!(rehearse(&amnesiac).await, Err(StartError::DatabaseMissing { .. })));
    assert_eq!(amnesiac.objects(), before);
}

fn two_disks() -> Larder {
    Larder::over_all(["first", "second"].map(|name| (name, MemoryOptions::with_staging())))
}

#[tokio::test]
async fn a_node_is_named_by_a_store_that_takes_uploads() {
    let mut larder = two_disks();
    let id = put(&larder.start().await.0, "file").await.attributes.id;
    larder.stores[0].2 = StoreMode::Ro;
    let gate = Gate::at("claim.done");
    let mut parts = larder.parts(larder.ledger.another().with_steps(gate.clone()));
    // On a store that takes nothing all processes may have one name.
    let reader = NodeId::new("reader").unwrap();
    parts.stores[0].store = Arc::new(MemoryStore::open(&larder.stores[0].1, "first", reader));
    let files = Files::start(parts, Settings::default()).await.unwrap().0;
    gate.close();
    let caller = local();
    let (removed, claimed_by) = tokio::join!(files.remove(&caller, id, None), async {
        gate.reached().await;
        let claimed_by = larder.ledger.claims().await.unwrap()[0].node.clone();
        gate.open();
        claimed_by
    });
    removed.unwrap();
    assert_eq!(claimed_by, larder.last_node());
}

/// The ids by which the installation knows its stores.
async fn known(larder: &Larder) -> Vec<(String, larder_files::StoreId)> {
    let identity = larder.ledger.identity().await.unwrap().unwrap();
    identity.stores.into_iter().map(|store| (store.name, store.id)).collect()
}

#[tokio::test]
async fn two_nodes_that_introduce_a_store_at_once_agree_on_its_id() {
    let gate = Gate::at("put.visible");
    let larder = Larder::over(staging_with(gate.clone()));
    gate.close();
    let (late, early) = tokio::join!(larder.start(), async {
        gate.reached().await;
        let early = larder.start().await;
        gate.open();
        early
    });
    let (one, other) = (put(&late.0, "one").await, put(&early.0, "other").await);
    let of = |file: &larder_files::File| file.copies.iter().map(|copy| copy.store).collect::<Vec<_>>();
    assert_eq!(of(&one), of(&other));
    assert_eq!(known(&larder).await, [("disk".to_owned(), of(&one)[0])]);
    larder.start().await;
}

/// A larder of one disk, to which `gate` lets somebody add another.
async fn growing(gate: &Arc<Gate>) -> Larder {
    let mut larder = Larder::over_all([("old", MemoryOptions::with_staging())]);
    larder.start().await;
    larder.add_disk("new", staging_with(gate.clone()));
    larder
}

#[tokio::test]
async fn who_introduces_a_store_keeps_what_another_node_has_noted_since() {
    let at_the_marker = Gate::at("put.visible");
    let mut larder = growing(&at_the_marker).await;
    at_the_marker.close();
    let late = larder.parts(larder.ledger.another());
    larder.stores.pop();
    larder.add_disk("other", MemoryOptions::with_staging());
    let (late, early) = tokio::join!(Files::start(late, Settings::default()), async {
        at_the_marker.reached().await;
        let early = larder.start().await.0;
        put(&early, "raises the mark").await;
        at_the_marker.open();
        early
    });
    drop((late.unwrap(), early));
    assert_eq!(known(&larder).await.len(), 3);
}

#[tokio::test]
async fn two_first_starts_in_one_ledger_make_one_installation() {
    let (larder, gate) = (two_disks(), Gate::at("initialise"));
    gate.close();
    let (late, early) = tokio::join!(larder.start_with(gate.clone()), async {
        gate.reached().await;
        let early = larder.start_over(larder.ledger.another()).await.unwrap().0;
        gate.open();
        early
    });
    put(&late, "late").await;
    put(&early, "early").await;
    assert_eq!(known(&larder).await.len(), 2);
    larder.start().await;
}

#[tokio::test]
async fn a_mark_that_rises_while_a_store_is_introduced_refuses_nobody() {
    let (nowhere, gate) = (Gate::at("nowhere"), Gate::at("initialise"));
    let larder = growing(&nowhere).await;
    gate.close();
    let (late, early) = tokio::join!(larder.start_with(gate.clone()), async {
        gate.reached().await;
        let early = larder.start().await.0;
        put(&early, "raises the mark").await;
        gate.open();
        early
    });
    put(&late, "late").await;
    put(&early, "early").await;
    assert_eq!(known(&larder).await.len(), 2);
}

#[tokio::test]
async fn a_known_store_that_is_not_configured_is_named_and_nothing_is_changed() {
    let mut larder = two_disks();
    put(&larder.start().await.0, "file").await;
    let before = larder.objects();
    let without = larder.stores.remove(1);
    let error = larder.start_over(larder.ledger.another()).await.err().unwrap();
    assert!(matches!(&error, StartError::StoreNotConfigured(name) if name == "second"), "{error}");
    larder.stores.push(without);
    assert_eq!(larder.objects(), before);
    larder.stores[1].0 = StoreName::new("renamed").unwrap();
    larder.start().await;
    let mut names: Vec<String> = known(&larder).await.into_iter().map(|(name, _)| name).collect();
    names.sort();
    assert_eq!(names, ["first", "renamed"], "a store is known by its own id, whatever it is called");
}

#[tokio::test]
async fn a_tombstone_names_every_store_that_is_known_attached_or_not() {
    let mut larder = Larder::over_all([("old", MemoryOptions::with_staging())]);
    let files = larder.start().await.0;
    let id = put(&files, "file").await.attributes.id;
    larder.add_disk("new", MemoryOptions::with_staging());
    larder.start().await;
    files.purge(&local(), id, None).await.unwrap();
    let tombstone = larder.ledger.tombstone(id, None).await.unwrap().unwrap();
    let stores: Vec<_> = known(&larder).await.into_iter().map(|(_, id)| id).collect();
    assert_eq!((tombstone.stores, stores.len()), (stores, 2));
}
