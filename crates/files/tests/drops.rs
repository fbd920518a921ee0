//! Copies that no placement wants any more: they go once every store of the placement has a verified one, and never before.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a test has a runtime of its own, and may unwrap")]

mod support;

use larder_files::{
    Attributes, Clock, Error, FileId, Files, FindingKind, FsckOptions, Patch, Settings, StoreMode, StoreName,
    ledger::{CopyRow, CopyState, Entry, Ledger, Record},
};
use larder_storage_core::{ErrorKind, Key, MemoryOptions, MemoryStore, NodeId, Store};
use std::{sync::Arc, time::Duration};
use support::{
    Faults, Gate, Larder, content, dump, fsck, kinds, local, others_go_on, put, put_content, replace, staging_with,
    until,
};

const EVERY: Duration = Duration::from_secs(30);

fn stores() -> Larder {
    Larder::over_all(["a", "b", "c"].map(|name| (name, MemoryOptions::with_staging())))
}

async fn start(larder: &Larder, placement: &[&str]) -> Files {
    let placement = placement.iter().map(|name| StoreName::new(*name).unwrap()).collect();
    let settings = Settings { placement, look_every: Some(EVERY), ..Settings::default() };
    Files::start(larder.parts(larder.ledger.another()), settings).await.unwrap().0
}

/// The stores on which a revision has a copy by the rows, with its state.
async fn copies(larder: &Larder, id: FileId, revision: u64) -> Vec<(String, CopyState)> {
    let stores = larder.ledger.identity().await.unwrap().unwrap().stores;
    let name = |copy: &CopyRow| stores.iter().find(|known| known.id == copy.store).unwrap().name.clone();
    let row = larder.ledger.revision(id, revision).await.unwrap().unwrap();
    let mut copies: Vec<_> = row.copies.iter().map(|copy| (name(copy), copy.state)).collect();
    copies.sort_by(|one, other| one.0.cmp(&other.0));
    copies
}

async fn comes_to(larder: &Larder, id: FileId, revision: u64, stores: &[&str]) {
    let wanted: Vec<_> = stores.iter().map(|store| ((*store).to_owned(), CopyState::Verified)).collect();
    until(&format!("revision {revision} lies on {stores:?}"), async || copies(larder, id, revision).await == wanted)
        .await;
    until("nothing is held", async || larder.ledger.claims().await.unwrap().is_empty()).await;
}

/// What users may see on a store.
fn keys_on(larder: &Larder, store: usize) -> Vec<Key> {
    let keys = larder.stores[store].1.objects().into_iter().map(|(key, _)| key);
    keys.filter(|key| !key.as_str().starts_with(".larder/")).collect()
}

#[tokio::test]
async fn a_placement_that_is_changed_moves_every_revision_and_leaves_nothing_behind() {
    let mut larder = stores();
    let files = start(&larder, &["a"]).await;
    let (id, large) = (put(&files, "old").await.attributes.id, vec![7; 200_000]);
    replace(&files, id, "newer").await;
    let other = put_content(&files, "large", large.clone()).await.attributes.id;
    files.remove(&local(), other, None).await.unwrap();
    drop(files);
    let files = start(&larder, &["b", "c"]).await;
    for (id, revision) in [(id, 1), (id, 2), (other, 1)] {
        comes_to(&larder, id, revision, &["b", "c"]).await;
    }
    assert_eq!(keys_on(&larder, 0), []);
    assert_eq!(content(&files, id).await.unwrap(), b"newer");
    files.restore(&local(), other, None).await.unwrap();
    assert_eq!(content(&files, other).await.unwrap(), large);
    until("its attributes are carried", async || {
        fsck(&files, FsckOptions { verify: true, repair: false }).await.1.is_empty()
    })
    .await;
    let before = dump(&files).await;
    drop(files);
    larder.rebuild().await;
    assert_eq!(dump(&larder.start().await.0).await, before);
}

#[tokio::test]
async fn nothing_is_dropped_before_every_store_of_the_placement_has_it() {
    let away = Arc::<Faults>::default();
    let mut larder = stores();
    larder.add_disk("d", staging_with(away.clone()));
    let files = start(&larder, &["a"]).await;
    let id = put(&files, "file").await.attributes.id;
    drop(files);
    away.plan("stage.durable", "", ErrorKind::Full);
    let files = start(&larder, &["b", "d"]).await;
    until("one copy is made", async || {
        copies(&larder, id, 1).await.iter().any(|copy| *copy == ("b".into(), CopyState::Verified))
    })
    .await;
    others_go_on().await;
    assert!(copies(&larder, id, 1).await.contains(&("a".into(), CopyState::Verified)));
    away.heal();
    comes_to(&larder, id, 1, &["b", "d"]).await;
    assert_eq!(content(&files, id).await.unwrap(), b"file");
}

#[tokio::test]
async fn a_row_is_not_believed_where_the_store_does_not_bear_it_out() {
    let larder = stores();
    let files = start(&larder, &["a"]).await;
    let file = put(&files, "file").await.attributes;
    drop(files);
    // The row says that a copy lies on `b`, where there is none.
    let store = larder.ledger.identity().await.unwrap().unwrap().stores.into_iter().find(|known| known.name == "b");
    let verified_at = Some(file.created_at);
    let copies_there = vec![CopyRow { store: store.unwrap().id, state: CopyState::Verified, verified_at }];
    let entry = Some(Entry::Copies { file: file.id, revision: 1, copies: copies_there });
    larder.ledger.record(vec![Record { entry, ..Record::default() }]).await;
    let files = start(&larder, &["b"]).await;
    until("the row is mended", async || keys_on(&larder, 1).len() == 2).await;
    assert_eq!(content(&files, file.id).await.unwrap(), b"file");
    comes_to(&larder, file.id, 1, &["b"]).await;
}

#[tokio::test]
async fn the_newest_attributes_are_not_dropped_with_the_only_store_that_has_them() {
    let mut larder = stores();
    let files = start(&larder, &["a", "b"]).await;
    let file = put(&files, "file").await.attributes;
    comes_to(&larder, file.id, 1, &["a", "b"]).await;
    drop(files);
    // What was changed since lies on `a` alone, for `b` takes no changes.
    larder.stores[1].2 = StoreMode::Rw;
    let files = start(&larder, &["a", "b"]).await;
    let renamed = Patch { name: Some("renamed".into()), ..Patch::default() };
    files.update(&local(), file.id, renamed, None).await.unwrap();
    drop(files);
    drop(start(&larder, &["b"]).await);
    let files = start(&larder, &["b"]).await;
    others_go_on().await;
    let beside = |store: usize| {
        let found = larder.stores[store].1.objects().into_iter().find(|(key, _)| *key == file.sidecar()).unwrap().1;
        Attributes::from_bytes(&found).unwrap().name
    };
    assert_eq!((beside(0).as_str(), beside(1).as_str()), ("renamed", "file"));
    assert_eq!(files.describe(&local(), file.id).await.unwrap().attributes.name, "renamed");
}

#[tokio::test]
async fn a_store_that_takes_no_deletions_keeps_what_it_has() {
    let mut larder = stores();
    let files = start(&larder, &["a"]).await;
    let id = put(&files, "file").await.attributes.id;
    drop(files);
    larder.stores[0].2 = StoreMode::Rw;
    let _files = start(&larder, &["b"]).await;
    comes_to(&larder, id, 1, &["a", "b"]).await;
    others_go_on().await;
    assert_eq!(keys_on(&larder, 0).len(), 2);
}

#[tokio::test]
async fn what_a_node_was_dropping_when_it_died_is_gone_on_with_or_made_again() {
    for (placement, left) in [(["b"].as_slice(), ["b"].as_slice()), (&["a", "b"], &["a", "b"])] {
        let gate = Gate::at("delete.sent");
        let mut larder = Larder::over_all([("a", staging_with(gate.clone()))]);
        larder.add_disk("b", MemoryOptions::with_staging());
        let files = start(&larder, &["a"]).await;
        let id = put(&files, "file").await.attributes.id;
        drop(files);
        gate.close();
        let dying = start(&larder, &["b"]).await;
        gate.reached().await;
        assert!(copies(&larder, id, 1).await.contains(&("a".into(), CopyState::Dropping)));
        let node = larder.last_node();
        drop(dying);
        larder.stores[0].1.kill(&node);
        larder.stores[1].1.kill(&node);
        let files = start(&larder, placement).await;
        comes_to(&larder, id, 1, left).await;
        assert_eq!(content(&files, id).await.unwrap(), b"file");
        assert_eq!(keys_on(&larder, 0).len(), if left.len() == 2 { 2 } else { 0 });
    }
}

/// A bucket, and a disk.
fn bucket_and_disk(bucket: MemoryOptions) -> Larder {
    Larder::over_all([("a", bucket), ("b", MemoryOptions::with_staging())])
}

/// When a deletion that was sent to a bucket is over.
const OVER: Duration = Duration::from_secs(13 * 30);

#[tokio::test]
async fn what_is_dropped_from_a_bucket_is_remembered_until_no_deletion_is_on_its_way() {
    let mut larder = bucket_and_disk(MemoryOptions::without_staging());
    let files = start(&larder, &["a"]).await;
    let id = put(&files, "old").await.attributes.id;
    replace(&files, id, "newer").await;
    drop(files);
    let files = start(&larder, &["b"]).await;
    let is_dropping = async |revision| copies(&larder, id, revision).await.contains(&("a".into(), CopyState::Dropping));
    until("both are deleted", async || keys_on(&larder, 0).is_empty()).await;
    let deleted = larder.world.elapsed();
    assert!(is_dropping(1).await && is_dropping(2).await);
    assert_eq!(fsck(&files, FsckOptions { verify: true, repair: false }).await.1, []);
    for revision in [1, 2] {
        comes_to(&larder, id, revision, &["b"]).await;
    }
    let passed = larder.world.elapsed() - deleted;
    assert!(passed >= OVER && passed < OVER + 3 * EVERY, "{passed:?}");
    assert_eq!(content(&files, id).await.unwrap(), b"newer");
    let before = dump(&files).await;
    drop(files);
    larder.rebuild().await;
    assert_eq!(dump(&larder.start().await.0).await, before);
}

#[tokio::test]
async fn no_copy_is_made_in_a_bucket_while_a_deletion_of_it_may_be_on_its_way() {
    let gate = Gate::at("delete.gone");
    let larder = bucket_and_disk(MemoryOptions { steps: Some(gate.clone()), ..MemoryOptions::without_staging() });
    larder.stores[0].1.requests_may_be_late(true);
    let files = start(&larder, &["a"]).await;
    let id = put(&files, "file").await.attributes.id;
    drop(files);
    gate.close();
    let files = start(&larder, &["b"]).await;
    gate.reached().await;
    // The deletion is given up, and arrives when the placement is the old one again.
    until("nothing is held", async || larder.ledger.claims().await.unwrap().is_empty()).await;
    drop(files);
    assert_eq!((keys_on(&larder, 0).len(), larder.stores[0].1.late_requests()), (2, 1));
    let begun = larder.world.elapsed();
    let files = start(&larder, &["a", "b"]).await;
    until("a turn or two are over", async || larder.world.elapsed() - begun > 3 * EVERY).await;
    assert!(copies(&larder, id, 1).await.contains(&("a".into(), CopyState::Dropping)));
    larder.stores[0].1.deliver_late(&mut |_| true);
    comes_to(&larder, id, 1, &["a", "b"]).await;
    let passed = larder.world.elapsed() - begun;
    assert!(passed >= OVER && passed < OVER + 6 * EVERY, "{passed:?}");
    assert_eq!(keys_on(&larder, 0).len(), 2);
    assert_eq!(fsck(&files, FsckOptions { verify: true, repair: false }).await.1, []);
}

/// A file on the disk, and a node that is about to put a copy of it into the bucket.
async fn a_copy_on_its_way(gate: &Arc<Gate>) -> (Larder, Files, FileId) {
    let larder = bucket_and_disk(MemoryOptions { steps: Some(gate.clone()), ..MemoryOptions::without_staging() });
    let files = start(&larder, &["b"]).await;
    let id = put(&files, "file").await.attributes.id;
    drop(files);
    gate.close();
    let files = start(&larder, &["a", "b"]).await;
    gate.reached().await;
    (larder, files, id)
}

#[tokio::test]
async fn a_copy_that_comes_to_a_bucket_while_it_is_being_dropped_there_does_not_count() {
    let gate = Gate::at("put.visible");
    let (larder, files, id) = a_copy_on_its_way(&gate).await;
    let row = larder.ledger.revision(id, 1).await.unwrap().unwrap();
    let other = start(&larder, &["b"]).await;
    // As one that another node's placement does not want, before its bytes were there.
    let store = larder.ledger.identity().await.unwrap().unwrap().stores.into_iter().find(|known| known.name == "a");
    let copies_there = vec![CopyRow { store: store.unwrap().id, state: CopyState::Present, verified_at: None }];
    let entry = Some(Entry::Copies { file: id, revision: 1, copies: copies_there });
    larder.ledger.record(vec![Record { entry, ..Record::default() }]).await;
    let is_dropping = async || copies(&larder, id, 1).await.contains(&("a".into(), CopyState::Dropping));
    drop(other);
    let other = start(&larder, &["b"]).await;
    until("it is being dropped", is_dropping).await;
    let begun = larder.world.elapsed();
    gate.open();
    until("its bytes are there", async || keys_on(&larder, 0).contains(&row.key)).await;
    while larder.world.elapsed() - begun < OVER {
        let now = copies(&larder, id, 1).await;
        assert!(now.contains(&("a".into(), CopyState::Dropping)), "{now:?} after {:?}", larder.world.elapsed() - begun);
        tokio::task::yield_now().await;
    }
    drop(files);
    comes_to(&larder, id, 1, &["b"]).await;
    assert_eq!(keys_on(&larder, 0), []);
    assert_eq!(content(&other, id).await.unwrap(), b"file");
}

#[tokio::test]
async fn a_deletion_that_never_came_to_a_bucket_is_sent_again_or_its_copy_counts_again() {
    for (placement, left) in [(["b"].as_slice(), ["b"].as_slice()), (&["a", "b"], &["a", "b"])] {
        let stuck = Arc::<Faults>::default();
        let larder = bucket_and_disk(MemoryOptions { steps: Some(stuck.clone()), ..MemoryOptions::without_staging() });
        let files = start(&larder, &["a"]).await;
        let id = put(&files, "file").await.attributes.id;
        drop(files);
        stuck.plan("delete.sent", "documents", ErrorKind::Timeout);
        let files = start(&larder, &["b"]).await;
        until("it is being dropped", async || {
            copies(&larder, id, 1).await.contains(&("a".into(), CopyState::Dropping))
        })
        .await;
        others_go_on().await;
        assert_eq!(keys_on(&larder, 0).len(), 2);
        stuck.heal();
        drop(files);
        let files = start(&larder, placement).await;
        comes_to(&larder, id, 1, left).await;
        assert_eq!(content(&files, id).await.unwrap(), b"file");
        assert_eq!(keys_on(&larder, 0).len(), if left.len() == 2 { 2 } else { 0 });
    }
}

#[tokio::test]
async fn a_bucket_that_lets_nothing_be_deleted_is_asked_once_an_hour() {
    let stuck = Arc::<Faults>::default();
    let larder = bucket_and_disk(MemoryOptions { steps: Some(stuck.clone()), ..MemoryOptions::without_staging() });
    let files = start(&larder, &["a"]).await;
    let id = put(&files, "file").await.attributes.id;
    drop(files);
    stuck.plan("delete.sent", "documents", ErrorKind::PermissionDenied);
    let files = start(&larder, &["b"]).await;
    let begun = larder.world.elapsed();
    let passed = async |minutes: u64| {
        let over = begun + Duration::from_secs(60 * minutes);
        until("time passes", async || larder.world.elapsed() > over).await;
    };
    passed(5).await;
    let is = |copies: Vec<_>| copies == ["a", "b"].map(|store| (store.to_owned(), CopyState::Verified));
    assert!(is(copies(&larder, id, 1).await), "it counts as it did");
    let struck = stuck.struck();
    passed(50).await;
    assert!(struck > 0 && stuck.struck() == struck, "{struck}, then {}", stuck.struck());
    stuck.heal();
    comes_to(&larder, id, 1, &["b"]).await;
    assert_eq!(content(&files, id).await.unwrap(), b"file");
}

#[tokio::test]
async fn a_damaged_copy_whose_deletion_never_came_is_made_anew_where_it_is_wanted_again() {
    let stuck = Arc::<Faults>::default();
    let larder = bucket_and_disk(MemoryOptions { steps: Some(stuck.clone()), ..MemoryOptions::without_staging() });
    let files = start(&larder, &["a"]).await;
    let file = put(&files, "file").await.attributes;
    drop(files);
    stuck.plan("delete.sent", "documents", ErrorKind::Timeout);
    let files = start(&larder, &["b"]).await;
    let is_dropping = async || copies(&larder, file.id, 1).await.contains(&("a".into(), CopyState::Dropping));
    until("it is being dropped", is_dropping).await;
    drop(files);
    stuck.heal();
    rots(&larder, 0, &file.key);
    let files = start(&larder, &["a", "b"]).await;
    // Nobody makes one before the deletion can't come any more.
    let found = fsck(&files, FsckOptions { verify: true, repair: true }).await.1;
    assert!(found.is_empty() && is_dropping().await, "{found:?}");
    comes_to(&larder, file.id, 1, &["a", "b"]).await;
    assert_eq!(fsck(&files, FsckOptions { verify: true, repair: false }).await.1, []);
}

#[tokio::test]
async fn a_file_that_is_moved_to_a_bucket_of_another_placement_moves() {
    let larder = stores();
    let placement = vec![StoreName::new("a").unwrap()];
    let mut settings = Settings { placement, look_every: Some(EVERY), ..Settings::default() };
    let images = settings.buckets.iter_mut().find(|(name, _)| name.as_str() == "images").unwrap();
    images.1.placement = vec![StoreName::new("c").unwrap()];
    images.1.types = vec!["*".into()];
    images.1.pictures_only = false;
    let files = Files::start(larder.parts(larder.ledger.another()), settings).await.unwrap().0;
    let id = put(&files, "file").await.attributes.id;
    let moved = Patch { bucket: Some("images".into()), ..Patch::default() };
    let admin = larder_files::Caller { role: larder_files::Role::Admin, ..local() };
    files.update(&admin, id, moved, None).await.unwrap();
    comes_to(&larder, id, 1, &["c"]).await;
    assert_eq!(keys_on(&larder, 0), []);
    assert_eq!(keys_on(&larder, 2).len(), 2);
}

/// What was moved out of the way on a store.
fn in_quarantine(larder: &Larder, store: usize) -> usize {
    let keys = larder.stores[store].1.objects().into_iter().map(|(key, _)| key);
    keys.filter(|key| key.as_str().starts_with(".larder/quarantine/")).count()
}

#[tokio::test]
async fn a_damaged_copy_in_a_bucket_is_made_anew_once_its_deletion_can_come_no_second_time() {
    let larder = bucket_and_disk(MemoryOptions::without_staging());
    larder.stores[0].1.deletions_are_repeated(true);
    let files = start(&larder, &["a", "b"]).await;
    let file = put(&files, "file").await.attributes;
    comes_to(&larder, file.id, 1, &["a", "b"]).await;
    rots(&larder, 0, &file.key);
    let found = fsck(&files, FsckOptions { verify: true, repair: true }).await.1;
    assert!(found.len() == 1 && found[0].detail.contains("moved to quarantine"), "{found:?}");
    let begun = larder.world.elapsed();
    until("a turn or two are over", async || larder.world.elapsed() - begun > 3 * EVERY).await;
    assert!(copies(&larder, file.id, 1).await.contains(&("a".into(), CopyState::Dropping)));
    assert_eq!((content(&files, file.id).await.unwrap(), larder.stores[0].1.late_requests()), (b"file".to_vec(), 1));
    let found = fsck(&files, FsckOptions { verify: false, repair: true }).await.1;
    assert_eq!(kinds(&found), [FindingKind::CopyWanted], "it is told that one is missing");
    larder.stores[0].1.deliver_late(&mut |_| true);
    comes_to(&larder, file.id, 1, &["a", "b"]).await;
    let passed = larder.world.elapsed() - begun;
    assert!(passed >= OVER - EVERY && passed < OVER + 6 * EVERY, "{passed:?}");
    assert_eq!((keys_on(&larder, 0).len(), in_quarantine(&larder, 0)), (2, 1));
    assert_eq!(fsck(&files, FsckOptions { verify: true, repair: false }).await.1, []);
}

#[tokio::test]
async fn a_damaged_copy_in_a_bucket_counts_no_more_though_it_cannot_be_moved_away() {
    let stuck = Arc::<Faults>::default();
    let larder = bucket_and_disk(MemoryOptions { steps: Some(stuck.clone()), ..MemoryOptions::without_staging() });
    let files = start(&larder, &["a", "b"]).await;
    let file = put(&files, "file").await.attributes;
    comes_to(&larder, file.id, 1, &["a", "b"]).await;
    for (step, key) in [("copy.written", ""), ("delete.sent", "documents")] {
        rots(&larder, 0, &file.key);
        stuck.plan(step, key, ErrorKind::PermissionDenied);
        fsck(&files, FsckOptions { verify: true, repair: true }).await;
        assert!(copies(&larder, file.id, 1).await.contains(&("a".into(), CopyState::Lost)), "{step}");
        assert!(stuck.struck() > 0, "{step}");
        stuck.heal();
    }
    comes_to(&larder, file.id, 1, &["a", "b"]).await;
    assert_eq!(content(&files, file.id).await.unwrap(), b"file");
}

fn is_readable(state: CopyState) -> bool {
    matches!(state, CopyState::Present | CopyState::Verified)
}

#[tokio::test]
async fn what_may_be_the_last_copy_stays_in_its_bucket_and_counts_again_once_it_is_right() {
    let (clouds, disk) = (MemoryOptions::without_staging, MemoryOptions::with_staging);
    for others in [vec![], vec![("b", clouds())], vec![("b", disk())]] {
        let stuck = Arc::<Faults>::default();
        let steps = MemoryOptions { steps: Some(stuck.clone()), ..clouds() };
        let mut larder = Larder::over_all([("a", steps)]);
        let names = [vec!["a"], others.iter().map(|(name, _)| *name).collect()].concat();
        others.into_iter().for_each(|(name, options)| larder.add_disk(name, options));
        let files = start(&larder, &names).await;
        let file = put(&files, "file").await.attributes;
        comes_to(&larder, file.id, 1, &names).await;
        // Others have rotted already, or there are none; and this one is misread for a while.
        (0..names.len()).for_each(|store| rots(&larder, store, &file.key));
        fsck(&files, FsckOptions { verify: true, repair: true }).await;
        others_go_on().await;
        assert_eq!(copies(&larder, file.id, 1).await[0], ("a".into(), CopyState::Lost), "{names:?}");
        assert_eq!(larder.stores[0].1.objects().iter().filter(|(key, _)| *key == file.key).count(), 1, "{names:?}");
        assert!(larder.stores[0].1.damage(&file.key, "file"));
        fsck(&files, FsckOptions { verify: true, repair: true }).await;
        let counts = async || copies(&larder, file.id, 1).await.iter().all(|(_, state)| is_readable(*state));
        until("all count again", counts).await;
        assert_eq!(content(&files, file.id).await.unwrap(), b"file", "{names:?}");
        // Nor is it given up where it can't be read at all for a while.
        stuck.plan("get", "documents", ErrorKind::Unavailable);
        (1..names.len()).for_each(|store| rots(&larder, store, &file.key));
        fsck(&files, FsckOptions { verify: true, repair: true }).await;
        assert!(stuck.struck() > 0);
        assert!(is_readable(copies(&larder, file.id, 1).await[0].1), "{names:?}");
        stuck.heal();
        until("all count again", counts).await;
    }
}

#[tokio::test]
async fn a_damaged_copy_stays_where_the_right_one_went_meanwhile() {
    let larder = bucket_and_disk(MemoryOptions::without_staging());
    let file = {
        let files = start(&larder, &["a", "b"]).await;
        let file = put(&files, "file").await.attributes;
        comes_to(&larder, file.id, 1, &["a", "b"]).await;
        file
    };
    let gate = Gate::at("claim");
    let parts = larder.parts(larder.ledger.another().with_steps(gate.clone()));
    let placement = ["a", "b"].map(|name| StoreName::new(name).unwrap()).to_vec();
    let files = Files::start(parts, Settings { placement, ..Settings::default() }).await.unwrap().0;
    rots(&larder, 0, &file.key);
    gate.close();
    let repair = fsck(&files, FsckOptions { verify: true, repair: true });
    let ((_, found), ()) = futures_util::join!(repair, async {
        gate.reached().await;
        let stores = larder.ledger.identity().await.unwrap().unwrap().stores;
        let store = stores.iter().find(|store| store.name == "b").unwrap().id;
        let copies = vec![CopyRow { store, state: CopyState::Dropping, verified_at: None }];
        let entry = Some(Entry::Copies { file: file.id, revision: 1, copies });
        larder.ledger.record(vec![Record { entry, ..Record::default() }]).await.remove(0).unwrap();
        gate.open();
    });
    assert!(found.iter().all(|found| !found.detail.contains("moved to quarantine")), "{found:?}");
    assert_eq!((keys_on(&larder, 0).len(), in_quarantine(&larder, 0)), (2, 0));
}

#[tokio::test]
async fn what_a_bucket_refuses_to_delete_is_kept_aside_once_and_keeps_no_other_from_being_mended() {
    let stuck = Arc::<Faults>::default();
    let larder = bucket_and_disk(MemoryOptions { steps: Some(stuck.clone()), ..MemoryOptions::without_staging() });
    let files = start(&larder, &["a", "b"]).await;
    let (held, other) = (put(&files, "file").await.attributes, put(&files, "file").await.attributes);
    for file in [&held, &other] {
        comes_to(&larder, file.id, 1, &["a", "b"]).await;
        rots(&larder, 0, &file.key);
    }
    stuck.plan("delete.sent", held.key.as_str().to_owned().leak(), ErrorKind::PermissionDenied);
    for _ in 0..3 {
        fsck(&files, FsckOptions { verify: true, repair: true }).await;
        assert_eq!(in_quarantine(&larder, 0), 2);
    }
    comes_to(&larder, other.id, 1, &["a", "b"]).await;
    assert!(copies(&larder, held.id, 1).await.contains(&("a".into(), CopyState::Lost)));
    stuck.heal();
    comes_to(&larder, held.id, 1, &["a", "b"]).await;
    assert_eq!(in_quarantine(&larder, 0), 2);
}

/// A bucket of whose copies these are damaged and lost, as a reader found them; in it nothing may be deleted below `held`.
async fn damaged_and_held(stuck: &Arc<Faults>, held: impl Fn(&Attributes) -> bool) -> (Larder, Files, Vec<Attributes>) {
    let larder = bucket_and_disk(MemoryOptions { steps: Some(stuck.clone()), ..MemoryOptions::without_staging() });
    let files = start(&larder, &["a", "b"]).await;
    let mut all = vec![];
    for _ in 0..6 {
        let file = put(&files, "file").await.attributes;
        comes_to(&larder, file.id, 1, &["a", "b"]).await;
        all.push(file);
    }
    all.sort_by_key(|file| file.id);
    for file in &all {
        rots(&larder, 0, &file.key);
        if held(file) {
            stuck.plan("delete.sent", file.key.as_str().to_owned().leak(), ErrorKind::PermissionDenied);
        }
    }
    let store = larder.ledger.identity().await.unwrap().unwrap().stores.iter().find(|of| of.name == "a").unwrap().id;
    let lost = |file: &Attributes| {
        let copies = vec![CopyRow { store, state: CopyState::Lost, verified_at: None }];
        Record::from(Entry::Copies { file: file.id, revision: 1, copies })
    };
    for result in larder.ledger.record(all.iter().map(lost).collect()).await {
        result.unwrap();
    }
    (larder, files, all)
}

async fn hours_pass(larder: &Larder, hours: u64) {
    let over = larder.world.elapsed() + Duration::from_secs(60 * 60 * hours);
    until("hours pass", async || larder.world.elapsed() > over).await;
}

#[tokio::test]
async fn a_bucket_that_lets_no_damaged_copy_be_deleted_is_asked_by_one_of_them_an_hour() {
    let stuck = Arc::<Faults>::default();
    let (larder, files, all) = damaged_and_held(&stuck, |_| true).await;
    until("it was asked", async || stuck.struck() > 0).await;
    hours_pass(&larder, 5).await;
    // Two are worked on at once.
    assert!((3..=14).contains(&stuck.struck()), "{}", stuck.struck());
    for file in &all {
        assert!(copies(&larder, file.id, 1).await.contains(&("a".into(), CopyState::Lost)), "it stays as it was");
    }
    assert_eq!(files.stores().await.unwrap()[0].copies_due, Some(6), "it is told");
    // Bytes that are right need no deletion.
    assert!(larder.stores[0].1.damage(&all[3].key, "file"));
    comes_to(&larder, all[3].id, 1, &["a", "b"]).await;
    assert!(stuck.struck() <= 18, "{}", stuck.struck());
    stuck.heal();
    for file in &all {
        comes_to(&larder, file.id, 1, &["a", "b"]).await;
    }
}

#[tokio::test]
async fn a_store_that_is_checked_and_deletes_again_is_asked_at_once() {
    for heals in [false, true] {
        let stuck = Arc::<Faults>::default();
        let (larder, files, all) = damaged_and_held(&stuck, |_| true).await;
        until("it was asked", async || stuck.struck() > 0).await;
        let (begun, struck) = (larder.world.elapsed(), stuck.struck());
        if heals {
            stuck.heal();
        } else {
            // What it refuses is not a probe alone.
            stuck.plan("delete.sent", ".larder/probes", ErrorKind::PermissionDenied);
        }
        let deletes = files.check_store("a").await.unwrap().pop().unwrap();
        assert_eq!((deletes.check, deletes.problem.is_none()), ("delete", heals));
        if !heals {
            let over = begun + Duration::from_secs(50 * 60);
            until("time passes", async || larder.world.elapsed() > over).await;
            assert_eq!(stuck.struck(), struck + 1, "by the check alone");
            continue;
        }
        for file in &all {
            comes_to(&larder, file.id, 1, &["a", "b"]).await;
        }
        assert!(larder.world.elapsed() < begun + Duration::from_secs(50 * 60));
    }
}

#[tokio::test]
async fn a_damaged_copy_that_may_not_be_deleted_keeps_no_other_from_going() {
    let stuck = Arc::<Faults>::default();
    let held = std::sync::Mutex::new(0);
    let first_two = |_: &Attributes| {
        *held.lock().unwrap() += 1;
        *held.lock().unwrap() <= 2
    };
    let (larder, _files, all) = damaged_and_held(&stuck, first_two).await;
    for file in &all[2..] {
        comes_to(&larder, file.id, 1, &["a", "b"]).await;
    }
    for file in &all[..2] {
        assert!(copies(&larder, file.id, 1).await.contains(&("a".into(), CopyState::Lost)));
    }
}

#[tokio::test]
async fn a_change_that_must_lie_on_two_stores_says_that_one_is_being_dropped() {
    let larder = bucket_and_disk(MemoryOptions::without_staging());
    let placement = ["a", "b"].map(|name| StoreName::new(name).unwrap()).to_vec();
    let mut settings = Settings { placement, look_every: Some(EVERY), ..Settings::default() };
    settings.buckets.iter_mut().for_each(|(_, policy)| policy.write_copies = 2);
    let files = Files::start(larder.parts(larder.ledger.another()), settings).await.unwrap().0;
    let file = put(&files, "file").await.attributes;
    rots(&larder, 0, &file.key);
    fsck(&files, FsckOptions { verify: true, repair: true }).await;
    let report = files.stores().await.unwrap();
    assert_eq!(report[0].copies_due, Some(1), "it is told that one is missing");
    let tagged = Patch { tags: Some(vec!["new".into()]), ..Patch::default() };
    let unsure = files.update(&local(), file.id, tagged, None).await;
    let words = format!("{:?}", unsure.as_ref().unwrap_err());
    assert!(matches!(unsure, Err(Error::Indeterminate(_))) && words.contains("is being dropped"), "{words}");
    comes_to(&larder, file.id, 1, &["a", "b"]).await;
}

#[tokio::test]
async fn a_copy_that_is_being_dropped_stays_so_where_no_other_is_found() {
    let larder = bucket_and_disk(MemoryOptions::without_staging());
    let files = start(&larder, &["a", "b"]).await;
    let file = put(&files, "file").await.attributes;
    comes_to(&larder, file.id, 1, &["a", "b"]).await;
    rots(&larder, 0, &file.key);
    fsck(&files, FsckOptions { verify: true, repair: true }).await;
    let thief = MemoryStore::open(&larder.stores[1].1, "b", NodeId::new("thief").unwrap());
    thief.delete(&file.key).await.unwrap();
    fsck(&files, FsckOptions { verify: true, repair: true }).await;
    let now = copies(&larder, file.id, 1).await;
    assert_eq!(now, [("a".into(), CopyState::Dropping), ("b".into(), CopyState::Lost)]);
}

#[tokio::test]
async fn broken_attributes_in_a_bucket_are_replaced_and_not_deleted_first() {
    for conditions in [true, false] {
        let larder = bucket_and_disk(MemoryOptions { conditions, ..MemoryOptions::without_staging() });
        larder.stores[0].1.deletions_are_repeated(true);
        let files = start(&larder, &["a"]).await;
        let file = put(&files, "file").await.attributes;
        assert!(larder.stores[0].1.damage(&file.sidecar(), "{}"), "there are some");
        let found = fsck(&files, FsckOptions { verify: true, repair: true }).await.1;
        assert!(found.iter().any(|found| found.detail.contains("written again")), "{found:?}");
        // What can't be compared can't be replaced.
        assert_eq!(larder.stores[0].1.late_requests(), usize::from(!conditions));
        assert_eq!(in_quarantine(&larder, 0), 1);
        assert_eq!(fsck(&files, FsckOptions { verify: true, repair: false }).await.1, []);
    }
}

/// Other bytes of the same length under a key.
fn rots(larder: &Larder, store: usize, key: &Key) {
    assert!(larder.stores[store].1.damage(key, "fole"), "there are bytes");
}

#[tokio::test]
async fn a_copy_that_has_rotted_since_it_was_verified_is_mended_before_another_goes() {
    let larder = stores();
    let files = start(&larder, &["a", "b"]).await;
    let file = put(&files, "file").await.attributes;
    comes_to(&larder, file.id, 1, &["a", "b"]).await;
    drop(files);
    rots(&larder, 1, &file.key);
    let files = start(&larder, &["b"]).await;
    comes_to(&larder, file.id, 1, &["b"]).await;
    assert_eq!(content(&files, file.id).await.unwrap(), b"file");
    assert_eq!(keys_on(&larder, 0), []);
}

#[tokio::test]
async fn what_could_not_be_deleted_counts_again_once_it_is_the_last_that_is_right() {
    let stuck = Arc::<Faults>::default();
    let mut larder = Larder::over_all([("a", staging_with(stuck.clone()))]);
    larder.add_disk("b", MemoryOptions::with_staging());
    let files = start(&larder, &["a"]).await;
    let file = put(&files, "file").await.attributes;
    drop(files);
    stuck.plan("delete.sent", "documents", ErrorKind::ReadOnly);
    let files = start(&larder, &["b"]).await;
    let is = async |store: &str, state| copies(&larder, file.id, 1).await.contains(&(store.into(), state));
    until("the other is made", async || is("b", CopyState::Verified).await).await;
    others_go_on().await;
    assert!(is("a", CopyState::Verified).await, "it counts as it did");
    rots(&larder, 1, &file.key);
    // The first read finds the copy lost; the other counts again, and what is lost is made anew from it.
    let _ = content(&files, file.id).await;
    until("it is mended", async || is("b", CopyState::Verified).await && keys_on(&larder, 1).len() >= 2).await;
    assert_eq!(content(&files, file.id).await.unwrap(), b"file");
}

#[tokio::test]
async fn a_reader_who_knows_of_the_old_copy_alone_is_given_the_new_one() {
    let larder = stores();
    let files = start(&larder, &["a"]).await;
    let file = put(&files, "file").await;
    drop(files);
    let files = start(&larder, &["b"]).await;
    comes_to(&larder, file.attributes.id, 1, &["b"]).await;
    let read = files.open(&local(), &file, None, None).await.unwrap();
    let blocks: Vec<_> = futures_util::TryStreamExt::try_collect(read.body).await.unwrap();
    assert_eq!(blocks.concat(), b"file");
}
