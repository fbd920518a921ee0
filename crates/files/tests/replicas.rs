//! Placements of several stores: the reconciler makes the copies that they want, mends those that are lost, and leaves nothing.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a test has a runtime of its own, and may unwrap")]

mod support;

use async_trait::async_trait;
use futures_util::{
    FutureExt, StreamExt, TryStreamExt,
    future::{BoxFuture, ready},
    stream,
    stream::BoxStream,
};
use larder_files::{
    Body, BodyError, BucketName, BucketPolicy, ByteRange, Error, FileId, Files, FindingKind as Kind, FsckOptions,
    Health, Patch, RebuildOptions, Settings, StoreId, StoreMode, StoreName,
    ledger::{CopyRow, CopyState, Entry, Ledger, PlacedQuery, Record},
};
use larder_storage_core::{
    ErrorKind, GetOptions, Key, Limits, ListOptions, Listed, MemoryOptions, NodeId, Object, ObjectMeta, PutOptions,
    Staging, Steps, Store, Written,
};
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use support::{
    Faults, Gate, Larder, content, dump, fsck, kinds, local, others_go_on, put, put_content, replace, staging_with,
    until,
};

const VERIFY: FsckOptions = FsckOptions { verify: true, repair: false };
const REPAIR: FsckOptions = FsckOptions { verify: true, repair: true };
const EVERY: Duration = Duration::from_secs(30);

fn pair() -> Larder {
    Larder::over_all(["a", "b"].map(|name| (name, MemoryOptions::with_staging())))
}

fn on(stores: &[&str]) -> Settings {
    let placement = stores.iter().map(|name| StoreName::new(*name).unwrap()).collect();
    Settings { placement, look_every: Some(EVERY), ..Settings::default() }
}

async fn start(larder: &Larder, stores: &[&str]) -> Files {
    Files::start(larder.parts(larder.ledger.another()), on(stores)).await.unwrap().0
}

/// A server that leaves copies to others.
async fn start_idle(larder: &Larder, stores: &[&str]) -> Files {
    let settings = Settings { copies_at_once: 0, ..on(stores) };
    Files::start(larder.parts(larder.ledger.another()), settings).await.unwrap().0
}

async fn states(larder: &Larder, id: FileId) -> Vec<Vec<CopyState>> {
    let revisions = larder.ledger.revisions(id).await.unwrap();
    let sorted = |copies: &[CopyRow]| {
        let mut states: Vec<_> = copies.iter().map(|copy| copy.state).collect();
        states.sort_by_key(|state| *state as u8);
        states
    };
    revisions.iter().map(|revision| sorted(&revision.copies)).collect()
}

async fn id_of(larder: &Larder, store: &str) -> StoreId {
    let stores = larder.ledger.identity().await.unwrap().unwrap().stores;
    stores.into_iter().find(|known| known.name == store).unwrap().id
}

/// Waits until each revision of a file has verified copies on so many stores.
async fn verified(larder: &Larder, id: FileId, stores: usize) {
    until(&format!("each revision has {stores} verified copies"), async || {
        let revisions = states(larder, id).await;
        let right =
            |copies: &Vec<_>| copies.len() == stores && copies.iter().all(|state| *state == CopyState::Verified);
        revisions.iter().all(right) && larder.ledger.nodes().await.unwrap().is_empty()
    })
    .await;
}

fn lies_on(larder: &Larder, store: usize, at: &Key) -> Option<bytes::Bytes> {
    larder.stores[store].1.objects().into_iter().find(|(found, _)| found == at).map(|(_, bytes)| bytes)
}

/// The file's own attributes, and its bytes, lie on every disk.
async fn is_whole_everywhere(larder: &Larder, files: &Files, id: FileId, bytes: &[u8]) {
    let attributes = files.describe(&local(), id).await.unwrap().attributes;
    for store in 0..larder.stores.len() {
        assert_eq!(lies_on(larder, store, &attributes.key).unwrap(), bytes, "on store {store}");
        assert_eq!(lies_on(larder, store, &attributes.sidecar()).unwrap(), attributes.to_bytes(), "on store {store}");
    }
}

#[tokio::test]
async fn a_new_file_comes_to_every_store_of_its_placement() {
    let larder = pair();
    let files = start(&larder, &["b", "a"]).await;
    let file = put(&files, "small").await;
    let told: Vec<_> = file.copies.iter().map(|copy| copy.state).collect();
    assert!(told.contains(&CopyState::Pending) && told.contains(&CopyState::Verified), "{told:?}");
    let large = put_content(&files, "large", vec![7; 200_000]).await.attributes.id;
    for (id, bytes) in [(file.attributes.id, &b"small"[..]), (large, &[7; 200_000])] {
        verified(&larder, id, 2).await;
        is_whole_everywhere(&larder, &files, id, bytes).await;
    }
    others_go_on().await;
    assert!(larder.stores.iter().all(|(_, disk, _)| disk.staged() == 0), "nothing stays staged");
    assert!(larder.ledger.claims().await.unwrap().is_empty());
    assert_eq!(fsck(&files, FsckOptions { verify: true, repair: false }).await.1, []);
}

#[tokio::test]
async fn what_is_wanted_survives_the_node_that_noted_it() {
    let larder = pair();
    let files = start_idle(&larder, &["a", "b"]).await;
    let id = put(&files, "file").await.attributes.id;
    let second = replace(&files, id, "newer").await.attributes.id;
    assert_eq!(states(&larder, second).await, [[CopyState::Pending, CopyState::Verified]; 2]);
    drop(files);
    let files = start(&larder, &["a", "b"]).await;
    verified(&larder, id, 2).await;
    is_whole_everywhere(&larder, &files, id, b"newer").await;
}

#[tokio::test]
async fn a_change_comes_to_every_copy() {
    let larder = pair();
    let files = start(&larder, &["a", "b"]).await;
    let id = put(&files, "file").await.attributes.id;
    verified(&larder, id, 2).await;
    for name in ["first", "second"] {
        let patch = Patch { name: Some(name.into()), ..Patch::default() };
        let changed = files.update(&local(), id, patch, None).await.unwrap();
        let behind: Vec<_> = changed.copies.iter().filter(|copy| copy.is_due()).collect();
        assert!(matches!(behind[..], [CopyRow { state: CopyState::Present, .. }]), "{behind:?}");
        assert!(behind[0].is_readable());
        verified(&larder, id, 2).await;
        is_whole_everywhere(&larder, &files, id, b"file").await;
    }
}

#[tokio::test]
async fn a_copy_that_is_damaged_or_gone_is_made_anew_from_another() {
    let larder = pair();
    let files = start(&larder, &["a", "b"]).await;
    let file = put(&files, "file").await.attributes;
    verified(&larder, file.id, 2).await;
    // What lies on the first store is wrong: a read finds it out, and is served by the other.
    larder.stores[0].1.damage(&file.key, &b"elif"[..]);
    assert_eq!(content(&files, file.id).await.unwrap(), b"file");
    verified(&larder, file.id, 2).await;
    is_whole_everywhere(&larder, &files, file.id, b"file").await;
    // And on the second there is nothing.
    let lost = CopyRow { store: id_of(&larder, "b").await, state: CopyState::Lost, verified_at: None };
    let store = larder.parts(larder.ledger.another()).stores[1].store.clone();
    store.delete(&file.key).await.unwrap();
    store.delete(&file.sidecar()).await.unwrap();
    let entry = Some(Entry::Copies { file: file.id, revision: 1, copies: vec![lost] });
    larder.ledger.record(vec![Record { entry, ..Record::default() }]).await;
    larder.world.pass(EVERY);
    verified(&larder, file.id, 2).await;
    is_whole_everywhere(&larder, &files, file.id, b"file").await;
}

#[tokio::test]
async fn a_purge_leaves_no_copy() {
    let larder = pair();
    let files = start(&larder, &["a", "b"]).await;
    let id = put(&files, "file").await.attributes.id;
    replace(&files, id, "newer").await;
    verified(&larder, id, 2).await;
    files.purge_revision(&local(), id, 1, None).await.unwrap();
    verified(&larder, id, 2).await;
    files.purge(&local(), id, None).await.unwrap();
    others_go_on().await;
    assert_eq!(larder.keys(), Vec::<String>::new());
    assert_eq!(larder.ledger.placed(&PlacedQuery { limit: 10, ..PlacedQuery::default() }).await.unwrap(), []);
}

#[tokio::test]
async fn a_placement_that_grew_is_carried_out_for_files_from_before() {
    let larder = pair();
    let files = start(&larder, &["a"]).await;
    let mut ids = vec![];
    for number in 0..20 {
        ids.push(put(&files, &format!("file {number}")).await.attributes.id);
    }
    replace(&files, ids[3], "newer").await;
    others_go_on().await;
    assert_eq!(states(&larder, ids[0]).await, [[CopyState::Verified]], "one store is enough");
    drop(files);
    let files = start(&larder, &["b", "a"]).await;
    for id in &ids {
        verified(&larder, *id, 2).await;
    }
    is_whole_everywhere(&larder, &files, ids[3], b"newer").await;
    is_whole_everywhere(&larder, &files, ids[7], b"file 7").await;
}

#[tokio::test]
async fn how_many_copies_are_due_is_told_only_after_every_file_was_looked_at() {
    let larder = pair();
    let files = start_idle(&larder, &["a"]).await;
    put(&files, "from before").await;
    drop(files);
    let due = async |files: &Files| -> Vec<Option<u64>> {
        files.stores().await.unwrap().into_iter().map(|store| store.copies_due).collect()
    };
    let files = start_idle(&larder, &["a", "b"]).await;
    assert_eq!(due(&files).await, [None, None], "no row tells of the copy that is wanted");
    drop(files);
    let files = start(&larder, &["a", "b"]).await;
    until("the walk is over", async || due(&files).await == [Some(0), Some(0)]).await;
    assert!(larder.stores.iter().all(|(_, disk, _)| !disk.objects().is_empty()));
}

#[tokio::test]
async fn a_rebuild_has_every_copy_verified_again_and_dumps_the_same() {
    let mut larder = pair();
    let files = start(&larder, &["a", "b"]).await;
    let good = put(&files, "good").await.attributes;
    let bad = put(&files, "bad").await.attributes;
    for id in [good.id, bad.id] {
        verified(&larder, id, 2).await;
    }
    let before = dump(&files).await;
    drop(files);
    larder.stores[1].1.damage(&bad.key, &b"dab"[..]);
    larder.rebuild_with(RebuildOptions::default()).await.unwrap();
    assert_eq!(states(&larder, good.id).await, [[CopyState::Present; 2]]);
    let files = start(&larder, &["a", "b"]).await;
    for (file, bytes) in [(&good, &b"good"[..]), (&bad, b"bad")] {
        verified(&larder, file.id, 2).await;
        is_whole_everywhere(&larder, &files, file.id, bytes).await;
    }
    assert_eq!(dump(&files).await, before);
}

#[tokio::test]
async fn a_store_that_is_away_gets_its_copies_when_it_is_back() {
    let faults = Arc::new(Faults::default());
    let larder = Larder::over_all([("a", MemoryOptions::with_staging()), ("b", staging_with(faults.clone()))]);
    let files = start(&larder, &["a", "b"]).await;
    let early = put(&files, "early").await.attributes.id;
    verified(&larder, early, 2).await;
    for step in ["get", "head", "stage.begun", "put.written", "finish.bytes"] {
        faults.plan(step, "", ErrorKind::Unavailable);
    }
    let late = put(&files, "late").await.attributes.id;
    let patch = Patch { name: Some("renamed".into()), ..Patch::default() };
    files.update(&local(), early, patch, None).await.unwrap();
    for _ in 0..5 {
        others_go_on().await;
    }
    assert_eq!(states(&larder, late).await, [[CopyState::Pending, CopyState::Verified]]);
    faults.heal();
    for (id, bytes) in [(early, &b"early"[..]), (late, b"late")] {
        verified(&larder, id, 2).await;
        is_whole_everywhere(&larder, &files, id, bytes).await;
    }
}

#[tokio::test]
async fn a_store_that_takes_nothing_is_asked_for_no_copy() {
    let mut larder = pair();
    drop(start(&larder, &["a"]).await);
    larder.stores[1].2 = StoreMode::Ro;
    let files = start(&larder, &["b", "a"]).await;
    let file = put(&files, "file").await;
    assert_eq!(file.copies.len(), 1, "{:?}", file.copies);
    others_go_on().await;
    assert_eq!(states(&larder, file.attributes.id).await, [[CopyState::Verified]]);
}

#[tokio::test]
async fn each_bucket_has_its_own_placement() {
    let larder = pair();
    let mut settings = on(&["a"]);
    let both = ["b", "a"].map(|name| StoreName::new(name).unwrap()).to_vec();
    let policy = BucketPolicy { placement: both, ..BucketPolicy::default() };
    settings.buckets.push((BucketName::new("kept").unwrap(), policy));
    let files = Files::start(larder.parts(larder.ledger.another()), settings).await.unwrap().0;
    let once = put(&files, "once").await.attributes.id;
    let receive = larder_files::Receive { bucket: "kept".into(), ..support::into_documents() };
    let received = files.receive(&local(), receive, Body::from("twice".to_owned())).await.unwrap();
    let twice = files.create(&local(), received, support::named("twice")).await.unwrap().file.attributes;
    verified(&larder, twice.id, 2).await;
    assert!(lies_on(&larder, 1, &twice.key).is_some());
    assert_eq!(states(&larder, once).await, [[CopyState::Verified]]);
}

#[tokio::test]
async fn a_copy_whose_maker_died_before_its_row_is_found_and_counted() {
    let larder = pair();
    let files = start_idle(&larder, &["a", "b"]).await;
    let file = put(&files, "file").await.attributes;
    // Bytes, and nothing else, as a kill leaves them.
    let store = larder.parts(larder.ledger.another()).stores[1].store.clone();
    store.put(&file.key, "file".into(), PutOptions::create()).await.unwrap();
    assert_eq!(
        kinds(&fsck(&files, FsckOptions::default()).await.1),
        [Kind::CopyWanted],
        "nor are its attributes missed"
    );
    drop(files);
    let files = start(&larder, &["a", "b"]).await;
    verified(&larder, file.id, 2).await;
    is_whole_everywhere(&larder, &files, file.id, b"file").await;
}

/// A store whose bodies break off half-way, as long as it is told so.
#[derive(Debug)]
struct Breaking(Arc<dyn Store>, Arc<AtomicBool>);

impl std::fmt::Display for Breaking {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "breaking({})", self.0)
    }
}

#[async_trait]
impl Store for Breaking {
    async fn put(&self, key: &Key, body: Body, options: PutOptions) -> larder_storage_core::Result<Written> {
        self.0.put(key, body, options).await
    }

    async fn get(&self, key: &Key, options: GetOptions) -> larder_storage_core::Result<Object> {
        let mut object = self.0.get(key, options).await?;
        if self.1.load(Ordering::SeqCst) && !key.as_str().starts_with(".larder") {
            let half = (object.range.end - object.range.start) / 2;
            let bytes = object.body.try_collect::<Vec<_>>().await.unwrap().concat();
            let first = bytes::Bytes::from(bytes).slice(..half as usize);
            object.body = stream::iter([Ok(first), Err(BodyError::from("the cable is out"))]).boxed();
        }
        Ok(object)
    }

    async fn head(&self, key: &Key) -> larder_storage_core::Result<ObjectMeta> {
        self.0.head(key).await
    }

    async fn delete(&self, key: &Key) -> larder_storage_core::Result<()> {
        self.0.delete(key).await
    }

    fn list(&self, options: ListOptions) -> BoxStream<'_, larder_storage_core::Result<Listed>> {
        self.0.list(options)
    }

    async fn copy(&self, from: &Key, to: &Key, options: PutOptions) -> larder_storage_core::Result<Written> {
        self.0.copy(from, to, options).await
    }

    async fn sync(&self) -> larder_storage_core::Result<()> {
        self.0.sync().await
    }

    fn limits(&self) -> Limits {
        self.0.limits()
    }

    fn staging(&self) -> Option<&dyn Staging> {
        self.0.staging()
    }
}

/// Starts a server over a first store whose bodies break off while the flag is set.
async fn start_breaking(larder: &Larder, breaks: &Arc<AtomicBool>, settings: Settings) -> Files {
    let mut parts = larder.parts(larder.ledger.another());
    parts.stores[0].store = Arc::new(Breaking(parts.stores[0].store.clone(), breaks.clone()));
    Files::start(parts, settings).await.unwrap().0
}

#[tokio::test]
async fn a_read_that_breaks_off_goes_on_from_another_copy_at_the_same_place() {
    let (larder, breaks) = (pair(), Arc::new(AtomicBool::new(false)));
    let files = start(&larder, &["a", "b"]).await;
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|number| (number % 251) as u8).collect();
    let id = put_content(&files, "large", bytes.clone()).await.attributes.id;
    verified(&larder, id, 2).await;
    drop(files);
    let files = start_breaking(&larder, &breaks, Settings { copies_at_once: 0, ..on(&["a", "b"]) }).await;
    breaks.store(true, Ordering::SeqCst);
    let file = files.describe(&local(), id).await.unwrap();
    let range = ByteRange::Between { first: 1_000, last: 2_000_999 };
    let part = files.open(&local(), &file, None, Some(range)).await.unwrap();
    let part = part.body.try_collect::<Vec<_>>().await.unwrap().concat();
    assert!(part == bytes[1_000..2_001_000], "a part");
    assert!(content(&files, id).await.unwrap() == bytes, "the whole");
    // It breaks off each time, on a store that shows itself.
    let lost = [[CopyState::Verified, CopyState::Lost]];
    until("the copy counts as lost", async || states(&larder, id).await == lost).await;
    drop(files);
    breaks.store(false, Ordering::SeqCst);
    let files = start(&larder, &["a", "b"]).await;
    verified(&larder, id, 2).await;
    is_whole_everywhere(&larder, &files, id, &bytes).await;
}

/// A bad sector under one object: its bytes can't be read until it is deleted, while all else on its disk can.
#[derive(Debug, Default)]
struct BadSector(Mutex<Option<Key>>);

impl BadSector {
    fn under(&self, key: Option<&Key>) {
        *self.0.lock().unwrap() = key.cloned();
    }
}

impl Steps for BadSector {
    fn step<'a>(&'a self, _: &'a NodeId, name: &'static str, key: &'a str) -> BoxFuture<'a, Result<(), ErrorKind>> {
        let mut bad = self.0.lock().unwrap();
        let of = bad.as_ref().map(ToString::to_string).unwrap_or_default();
        let fails = match name {
            "get" => key == of,
            "copy.written" => key == format!(".larder/quarantine/{of}"),
            _ => false,
        };
        if name == "delete.gone" && key == of {
            *bad = None;
        }
        ready(if fails { Err(ErrorKind::Unavailable) } else { Ok(()) }).boxed()
    }
}

#[tokio::test]
async fn a_copy_on_a_bad_sector_is_found_lost_by_a_read_and_made_anew_from_another() {
    let sector = Arc::new(BadSector::default());
    let larder = Larder::over_all([("a", staging_with(sector.clone())), ("b", MemoryOptions::with_staging())]);
    let files = start(&larder, &["a", "b"]).await;
    let file = put(&files, "file").await.attributes;
    verified(&larder, file.id, 2).await;
    drop(files);
    let files = start_idle(&larder, &["a", "b"]).await;
    sector.under(Some(&file.key));
    assert_eq!(content(&files, file.id).await.unwrap(), b"file");
    let lost = [[CopyState::Verified, CopyState::Lost]];
    until("the copy counts as lost", async || states(&larder, file.id).await == lost).await;
    assert!(lies_on(&larder, 0, &file.key).is_some(), "what can't be read stays until it can be replaced");
    drop(files);
    let files = start(&larder, &["a", "b"]).await;
    verified(&larder, file.id, 2).await;
    assert!(sector.0.lock().unwrap().is_none(), "it was deleted");
    is_whole_everywhere(&larder, &files, file.id, b"file").await;
}

#[tokio::test]
async fn the_only_copy_that_is_left_is_no_loss_as_long_as_it_is_only_unreadable() {
    let sector = Arc::new(BadSector::default());
    let larder = Larder::over_all([("a", staging_with(sector.clone())), ("b", MemoryOptions::with_staging())]);
    let files = start_idle(&larder, &["a", "b"]).await;
    let file = put(&files, "file").await.attributes;
    sector.under(Some(&file.key));
    assert!(matches!(content(&files, file.id).await, Err(Error::StoreUnavailable(_))));
    others_go_on().await;
    assert_eq!(states(&larder, file.id).await, [[CopyState::Pending, CopyState::Verified]]);
    sector.under(None);
    assert_eq!(content(&files, file.id).await.unwrap(), b"file");
}

#[tokio::test]
async fn fsck_tells_of_copies_that_are_wanted_and_makes_them() {
    let larder = pair();
    let files = start_idle(&larder, &["a"]).await;
    let before = put(&files, "from before").await.attributes.id;
    drop(files);
    let files = start_idle(&larder, &["a", "b"]).await;
    let noted = put(&files, "noted").await.attributes.id;
    for options in [FsckOptions::default(), VERIFY] {
        assert_eq!(kinds(&fsck(&files, options).await.1), [Kind::CopyWanted; 2]);
    }
    let (summary, findings) = fsck(&files, REPAIR).await;
    assert_eq!((summary.repaired, summary.findings), (2, 2), "{findings:#?}");
    for (id, bytes) in [(before, &b"from before"[..]), (noted, b"noted")] {
        verified(&larder, id, 2).await;
        is_whole_everywhere(&larder, &files, id, bytes).await;
    }
    assert_eq!(fsck(&files, VERIFY).await.1, []);
    // Lost, and nothing lies there.
    let store = larder.parts(larder.ledger.another()).stores[1].store.clone();
    let file = files.describe(&local(), noted).await.unwrap().attributes;
    for key in [&file.key, &file.sidecar()] {
        store.delete(key).await.unwrap();
    }
    let lost = CopyRow { store: id_of(&larder, "b").await, state: CopyState::Lost, verified_at: None };
    let entry = Some(Entry::Copies { file: noted, revision: 1, copies: vec![lost] });
    larder.ledger.record(vec![Record { entry, ..Record::default() }]).await;
    assert_eq!(kinds(&fsck(&files, REPAIR).await.1), [Kind::CopyWanted]);
    is_whole_everywhere(&larder, &files, noted, b"noted").await;
    assert_eq!(fsck(&files, VERIFY).await.1, []);
}

#[tokio::test]
async fn fsck_makes_a_copy_on_a_bad_sector_anew() {
    let sector = Arc::new(BadSector::default());
    let larder = Larder::over_all([("a", MemoryOptions::with_staging()), ("b", staging_with(sector.clone()))]);
    let files = start(&larder, &["a", "b"]).await;
    let file = put(&files, "file").await.attributes;
    verified(&larder, file.id, 2).await;
    drop(files);
    let files = start_idle(&larder, &["a", "b"]).await;
    sector.under(Some(&file.key));
    assert_eq!(kinds(&fsck(&files, VERIFY).await.1), [Kind::HashMismatch]);
    let (summary, findings) = fsck(&files, REPAIR).await;
    assert_eq!((summary.repaired, summary.lost), (1, 0), "{findings:#?}");
    assert_eq!(fsck(&files, VERIFY).await.1, []);
    is_whole_everywhere(&larder, &files, file.id, b"file").await;
}

#[tokio::test]
async fn a_store_that_is_away_loses_no_copy() {
    let faults = Arc::new(Faults::default());
    let larder = Larder::over_all([("a", staging_with(faults.clone())), ("b", MemoryOptions::with_staging())]);
    let files = start(&larder, &["a", "b"]).await;
    let small = put(&files, "small").await.attributes.id;
    let large = put_content(&files, "large", vec![7; 2_000_000]).await.attributes.id;
    for id in [small, large] {
        verified(&larder, id, 2).await;
    }
    faults.plan("get", "", ErrorKind::Unavailable);
    for id in [small, large] {
        content(&files, id).await.unwrap();
        others_go_on().await;
        assert_eq!(states(&larder, id).await, [[CopyState::Verified; 2]]);
    }
}

#[tokio::test]
async fn a_loss_that_is_noted_while_attributes_are_carried_is_not_forgotten() {
    // The attributes of a change lie on one store when a read finds the copy on the other one damaged.
    let (larder, gate) = (pair(), Gate::at("record"));
    let files = start(&larder, &["a", "b"]).await;
    let file = put(&files, "file").await.attributes;
    verified(&larder, file.id, 2).await;
    drop(files);
    let parts = larder.parts(larder.ledger.another().with_steps(gate.clone()));
    let files = Files::start(parts, Settings { copies_at_once: 0, ..on(&["a", "b"]) }).await.unwrap().0;
    gate.close();
    let patch = Patch { name: Some("renamed".into()), ..Patch::default() };
    let change = tokio::spawn({
        let files = files.clone();
        async move { files.update(&local(), file.id, patch, None).await.unwrap() }
    });
    gate.reached().await;
    larder.stores[1].1.damage(&file.key, &b"elif"[..]);
    let lost = CopyRow { store: id_of(&larder, "b").await, state: CopyState::Lost, verified_at: None };
    let entry = Some(Entry::Copies { file: file.id, revision: 1, copies: vec![lost] });
    larder.ledger.record(vec![Record { entry, ..Record::default() }]).await;
    gate.open();
    change.await.unwrap();
    assert_eq!(states(&larder, file.id).await, [[CopyState::Verified, CopyState::Lost]]);
    drop(files);
    let files = start(&larder, &["a", "b"]).await;
    verified(&larder, file.id, 2).await;
    is_whole_everywhere(&larder, &files, file.id, b"file").await;
}

#[tokio::test]
async fn a_loss_that_is_noted_while_another_revision_is_brought_is_not_forgotten() {
    let gate = Gate::at("finish.bytes");
    let larder = Larder::over_all([("a", MemoryOptions::with_staging()), ("b", staging_with(gate.clone()))]);
    let files = start_idle(&larder, &["a"]).await;
    let id = put(&files, "old").await.attributes.id;
    let new = replace(&files, id, "newer").await.attributes;
    drop(files);
    // Of the second revision the other store has a copy with older attributes beside it, of the first none.
    let b = id_of(&larder, "b").await;
    let store = larder.parts(larder.ledger.another()).stores[1].store.clone();
    store.put(&new.key, "newer".into(), PutOptions::create()).await.unwrap();
    store.put(&new.sidecar(), new.to_bytes().into(), PutOptions::create()).await.unwrap();
    let row = |state, verified_at| CopyRow { store: b, state, verified_at };
    let note = async |copy| {
        let entry = Some(Entry::Copies { file: id, revision: 2, copies: vec![copy] });
        larder.ledger.record(vec![Record { entry, ..Record::default() }]).await;
    };
    note(row(CopyState::Present, Some(new.revised_at))).await;
    gate.close();
    let files = start(&larder, &["a", "b"]).await;
    gate.reached().await;
    larder.stores[1].1.damage(&new.key, &b"rewen"[..]);
    note(row(CopyState::Lost, None)).await;
    gate.open();
    verified(&larder, id, 2).await;
    is_whole_everywhere(&larder, &files, id, b"newer").await;
}

#[tokio::test]
async fn while_a_store_is_away_files_are_read_made_changed_and_purged_and_the_node_says_so() {
    let faults = Arc::new(Faults::default());
    let larder = Larder::over_all([("a", staging_with(faults.clone())), ("b", MemoryOptions::with_staging())]);
    let files = start(&larder, &["a", "b"]).await;
    let [kept, purged] = [put(&files, "kept").await.attributes.id, put(&files, "purged").await.attributes.id];
    for id in [kept, purged] {
        verified(&larder, id, 2).await;
    }
    assert_eq!(files.health(), Health::Ready);
    for step in ["get", "head", "stage.begun", "put.written", "finish.bytes", "delete.sent", "leftovers.taken"] {
        faults.plan(step, "", ErrorKind::Unavailable);
    }
    let is_away = async || matches!(files.health(), Health::Degraded(why) if why.starts_with("away: the store `a`"));
    until("it is seen to be away", is_away).await;
    let away = files.stores().await.unwrap().into_iter().find(|store| store.name.as_str() == "a").unwrap();
    assert!(away.away.is_some());
    assert_eq!(content(&files, kept).await.unwrap(), b"kept");
    let patch = Patch { name: Some("renamed".into()), ..Patch::default() };
    assert_eq!(files.update(&local(), kept, patch, None).await.unwrap().attributes.name, "renamed");
    files.purge(&local(), purged, None).await.unwrap();
    faults.heal();
    until("all is well again", async || files.health() == Health::Ready).await;
    verified(&larder, kept, 2).await;
    is_whole_everywhere(&larder, &files, kept, b"kept").await;
    until("nothing is left of what was purged", async || larder.keys().len() == 4).await;
}

/// The keys of tombstones and sealed records on a disk.
fn records_on(larder: &Larder, store: usize) -> Vec<String> {
    let folders = [".larder/tombstones/", ".larder/accounts/", ".larder/buckets/"];
    let keys = larder.stores[store].1.objects().into_iter().map(|(key, _)| key.to_string());
    let mut keys: Vec<_> = keys.filter(|key| folders.iter().any(|folder| key.starts_with(folder))).collect();
    keys.sort();
    keys
}

async fn nothing_is_missed(larder: &Larder) -> bool {
    let mut missed = vec![];
    for store in larder.ledger.identity().await.unwrap().unwrap().stores {
        missed.extend(larder.ledger.missed(store.id, None, 9).await.unwrap());
    }
    missed.is_empty()
}

/// A pair of which the second is away: a purged file, a user with a second password, a deleted one.
async fn with_much_missed(faults: &Arc<Faults>, larder: &Larder) -> Files {
    let files = start(larder, &["a", "b"]).await;
    let id = put(&files, "purged").await.attributes.id;
    let old = put(&files, "old").await.attributes.id;
    replace(&files, old, "newer").await;
    for id in [id, old] {
        verified(larder, id, 2).await;
    }
    let name = |name: &str| larder_files::UserName::new(name).unwrap();
    files.add_user(name("anna"), larder_files::Role::User, Some("first".into())).await.unwrap();
    for step in ["get", "head", "put.written", "finish.bytes", "delete.sent", "leftovers.taken"] {
        faults.plan(step, "", ErrorKind::Unavailable);
    }
    files.purge(&local(), id, None).await.unwrap();
    files.purge_revision(&local(), old, 1, None).await.unwrap();
    let anna = files.user_named("anna").await.unwrap().unwrap();
    files.set_password(anna.id, "second".into()).await.unwrap();
    files.add_user(name("boris"), larder_files::Role::User, None).await.unwrap();
    assert!(!nothing_is_missed(larder).await);
    assert_ne!(records_on(larder, 0), records_on(larder, 1));
    files
}

fn faulty_pair() -> (Arc<Faults>, Larder) {
    let faults = Arc::new(Faults::default());
    let larder = Larder::over_all([("a", MemoryOptions::with_staging()), ("b", staging_with(faults.clone()))]);
    (faults, larder)
}

/// What was purged, and who may log in, as the second store alone tells it.
async fn is_known_to_the_second_alone(larder: &mut Larder) {
    let forget = RebuildOptions { forget: vec![StoreName::new("a").unwrap()], ..RebuildOptions::default() };
    larder.stores.remove(0);
    let (rebuilt, _) = larder.rebuild_with(forget).await.unwrap();
    assert_eq!((rebuilt.files, rebuilt.tombstones, rebuilt.users), (1, 2, 2));
    let anna = larder.ledger.user_named("anna").await.unwrap().unwrap();
    assert_eq!(anna.password_hash.as_deref(), Some("second"));
}

/// What was noted is carried by a node that has just begun, and the second store tells all of it.
async fn the_next_node_carries_it(larder: &mut Larder) {
    let files = start(larder, &["a", "b"]).await;
    until("all was carried", async || nothing_is_missed(larder).await).await;
    files.stop().await;
    drop(files);
    is_known_to_the_second_alone(larder).await;
}

#[tokio::test]
async fn a_store_that_was_away_is_given_the_tombstones_and_sealed_records_that_it_missed() {
    let (faults, mut larder) = faulty_pair();
    let files = with_much_missed(&faults, &larder).await;
    faults.heal();
    until("all was carried", async || nothing_is_missed(&larder).await).await;
    let newest = |keys: Vec<String>| keys.into_iter().filter(|key| !key.contains("accounts")).collect::<Vec<_>>();
    assert_eq!(newest(records_on(&larder, 1)), newest(records_on(&larder, 0)));
    until("what was purged is gone", async || larder.keys().len() == 4).await;
    files.stop().await;
    drop(files);
    is_known_to_the_second_alone(&mut larder).await;
}

#[tokio::test]
async fn what_a_store_missed_outlives_the_node_that_noted_it() {
    let (faults, mut larder) = faulty_pair();
    drop(with_much_missed(&faults, &larder).await);
    faults.heal();
    the_next_node_carries_it(&mut larder).await;
}

#[tokio::test]
async fn a_rebuild_finds_what_a_store_has_missed() {
    let (faults, mut larder) = faulty_pair();
    drop(with_much_missed(&faults, &larder).await);
    faults.heal();
    larder.rebuild().await;
    assert!(!nothing_is_missed(&larder).await);
    the_next_node_carries_it(&mut larder).await;
}

#[tokio::test]
async fn what_a_change_of_a_user_missed_is_noted_though_the_ledger_failed_meanwhile() {
    let (faults, larder) = faulty_pair();
    let asked = Arc::new(Faults::default());
    let ledger = larder.ledger.another().with_steps(asked.clone());
    let files = Files::start(larder.parts(ledger), on(&["a", "b"])).await.unwrap().0;
    let name = larder_files::UserName::new("anna").unwrap();
    let anna = files.add_user(name, larder_files::Role::User, Some("first".into())).await.unwrap();
    until("nothing is missed yet", async || nothing_is_missed(&larder).await).await;
    faults.plan("put.written", "", ErrorKind::Unavailable);
    asked.plan("record", "", ErrorKind::Unavailable);
    files.set_password(anna.id, "second".into()).await.unwrap_err();
    asked.heal();
    let second = async || files.user(anna.id).await.unwrap().unwrap().password_hash.as_deref() == Some("second");
    until("it is settled", second).await;
    assert!(!nothing_is_missed(&larder).await, "the second store has not got it");
    faults.heal();
    until("it is carried", async || nothing_is_missed(&larder).await).await;
    let newest = |store: usize| records_on(&larder, store).into_iter().rfind(|key| key.contains("accounts"));
    assert_eq!(newest(1), newest(0));
}

#[tokio::test]
async fn a_tombstone_that_fsck_writes_again_is_carried_to_the_store_that_missed_it() {
    let (faults, larder) = faulty_pair();
    let files = start(&larder, &["a", "b"]).await;
    let id = put(&files, "purged").await.attributes.id;
    verified(&larder, id, 2).await;
    files.purge(&local(), id, None).await.unwrap();
    let tombstones = |larder: &Larder| larder.count_below(".larder/tombstones/");
    assert_eq!(tombstones(&larder), 2);
    for (name, disk, _) in &larder.stores {
        let store = larder_storage_core::MemoryStore::open(disk, name.as_str(), NodeId::new("operator").unwrap());
        let keys = disk.objects().into_iter().map(|(key, _)| key);
        for key in keys.filter(|key| key.as_str().starts_with(".larder/tombstones/")) {
            store.delete(&key).await.unwrap();
        }
    }
    faults.plan("put.written", "tombstones", ErrorKind::Unavailable);
    assert_eq!(kinds(&fsck(&files, REPAIR).await.1).len(), 1);
    assert_eq!(tombstones(&larder), 1);
    faults.heal();
    until("both have it", async || tombstones(&larder) == 2).await;
}

#[tokio::test]
async fn a_record_that_can_not_be_put_keeps_no_other_from_being_carried() {
    let (faults, larder) = faulty_pair();
    let files = with_much_missed(&faults, &larder).await;
    faults.heal();
    let anna = files.user_named("anna").await.unwrap().unwrap().id.to_string();
    faults.plan("put.written", Box::leak(format!("accounts/{anna}").into_boxed_str()), ErrorKind::Unavailable);
    let stores = larder.ledger.identity().await.unwrap().unwrap().stores;
    let b = stores.iter().find(|known| known.name == "b").unwrap().id;
    until("all others were carried", async || larder.ledger.missed(b, None, 9).await.unwrap().len() == 1).await;
    faults.heal();
    until("and this one too", async || nothing_is_missed(&larder).await).await;
}

#[tokio::test]
async fn while_a_store_is_full_small_content_goes_to_the_next_and_large_content_at_the_second_try() {
    let faults = Arc::new(Faults::default());
    let larder = Larder::over_all([("a", staging_with(faults.clone())), ("b", MemoryOptions::with_staging())]);
    let files = start_idle(&larder, &["a", "b"]).await;
    let a = id_of(&larder, "a").await;
    let on_a = async |id| {
        let copies = larder.ledger.file(id).await.unwrap().unwrap().copies;
        copies.into_iter().find(|copy| copy.store == a).unwrap().state
    };
    let large = || vec![7; 200_000];
    for kind in [ErrorKind::Full, ErrorKind::ReadOnly] {
        faults.plan("stage.begun", "", kind);
        let receive = support::into_documents();
        let refused = files.receive(&local(), receive, Body::from(large())).await;
        assert!(matches!(refused, Err(Error::Full(_) | Error::ReadOnly(_))), "{refused:?}");
        let second = put_content(&files, "large", large()).await.attributes.id;
        assert_eq!(on_a(second).await, CopyState::Pending, "nothing is lost by the first try");
        larder.world.pass(Duration::from_secs(61));
        let small = put(&files, "small").await.attributes.id;
        assert_eq!(on_a(small).await, CopyState::Pending);
        assert_eq!(content(&files, small).await.unwrap(), b"small");
        others_go_on().await;
        assert!(larder.stores.iter().all(|(_, disk, _)| disk.staged() == 0), "nothing stays staged");
        faults.heal();
        larder.world.pass(Duration::from_secs(61));
        let after = put_content(&files, "after", large()).await.attributes.id;
        assert_eq!(on_a(after).await, CopyState::Verified, "it is the first again once it has room");
    }
    drop(files);
    let files = start(&larder, &["a", "b"]).await;
    for row in files.list(&local(), larder_files::ListFiles { limit: 100, ..Default::default() }).await.unwrap().items {
        verified(&larder, row.attributes.id, 2).await;
    }
    assert_eq!(fsck(&files, VERIFY).await.1, []);
}

#[tokio::test]
async fn what_was_staged_where_it_could_not_be_published_does_not_stay() {
    let faults = Arc::new(Faults::default());
    let larder = Larder::over_all([("a", staging_with(faults.clone())), ("b", MemoryOptions::with_staging())]);
    let files = start_idle(&larder, &["a", "b"]).await;
    faults.plan("publish.bytes", "", ErrorKind::Full);
    let file = put(&files, "small").await;
    assert!(lies_on(&larder, 1, &file.attributes.key).is_some());
    others_go_on().await;
    assert!(larder.stores.iter().all(|(_, disk, _)| disk.staged() == 0), "nothing stays staged");
}

#[tokio::test]
async fn where_every_store_is_full_nothing_is_made() {
    let faults = Arc::new(Faults::default());
    let larder = Larder::over_all(["a", "b"].map(|name| (name, staging_with(faults.clone()))));
    let files = start_idle(&larder, &["a", "b"]).await;
    faults.plan("stage.begun", "", ErrorKind::Full);
    let received = files.receive(&local(), support::into_documents(), Body::from("x".to_owned())).await.unwrap();
    let refused = files.create(&local(), received, support::named("x")).await;
    assert!(matches!(refused, Err(Error::Full(_))), "{refused:?}");
    assert_eq!(larder.keys(), Vec::<String>::new());
    assert!(larder.stores.iter().all(|(_, disk, _)| disk.staged() == 0), "nothing stays staged");
}

fn overlays(larder: &Larder) -> usize {
    larder.count_below(".larder/attributes/")
}

#[tokio::test]
async fn an_overlay_goes_once_its_attributes_lie_beside_the_bytes() {
    overlay_goes(&["get", "head", "put.written", "finish.bytes"]).await;
    // What lies beside the bytes can be read, and is older.
    overlay_goes(&["put.written", "finish.bytes"]).await;
}

async fn overlay_goes(fails: &[&'static str]) {
    let (faults, larder) = faulty_pair();
    // New content lies on the second store alone.
    let files = start(&larder, &["b"]).await;
    let id = put(&files, "file").await.attributes.id;
    for step in fails {
        faults.plan(step, "", ErrorKind::Unavailable);
    }
    for name in ["first", "second"] {
        let patch = Patch { name: Some(name.into()), ..Patch::default() };
        files.update(&local(), id, patch, None).await.unwrap();
    }
    until("the older one is gone", async || overlays(&larder) == 1).await;
    let hour = larder_files::Clock::elapsed(&*larder.world) + Duration::from_secs(3600);
    until("an hour passes", async || larder_files::Clock::elapsed(&*larder.world) > hour).await;
    assert_eq!(overlays(&larder), 1, "it is all that tells of the change");
    faults.heal();
    until("they are gone", async || overlays(&larder) == 0).await;
    let attributes = files.describe(&local(), id).await.unwrap().attributes;
    assert_eq!(lies_on(&larder, 1, &attributes.sidecar()).unwrap(), attributes.to_bytes());
    assert_eq!(attributes.name, "second");
}

#[tokio::test]
async fn an_overlay_stays_until_every_copy_is_made() {
    let (on_a, on_b) = (Arc::new(Faults::default()), Arc::new(Faults::default()));
    let larder = Larder::over_all([("a", staging_with(on_a.clone())), ("b", staging_with(on_b.clone()))]);
    let files = start_idle(&larder, &["a", "b"]).await;
    let id = put(&files, "first").await.attributes.id;
    drop(files);
    let files = start(&larder, &["a", "b"]).await;
    verified(&larder, id, 2).await;
    // The second store has the first revision alone, and can't be given the next.
    on_b.plan("stage.begun", "", ErrorKind::Unavailable);
    replace(&files, id, "second").await;
    for step in ["put.written", "finish.bytes"] {
        on_a.plan(step, ".attr.json", ErrorKind::Unavailable);
    }
    let patch = Patch { name: Some("renamed".into()), ..Patch::default() };
    let renamed = files.update(&local(), id, patch, None).await.unwrap().attributes;
    assert_eq!(overlays(&larder), 1);
    on_a.heal();
    let hour = larder_files::Clock::elapsed(&*larder.world) + Duration::from_secs(3600);
    until("an hour passes", async || larder_files::Clock::elapsed(&*larder.world) > hour).await;
    assert_eq!(lies_on(&larder, 0, &renamed.sidecar()).unwrap(), renamed.to_bytes(), "carried home");
    assert_eq!(overlays(&larder), 1, "what the second store has tells of the first revision");
    on_b.heal();
    until("it is gone", async || overlays(&larder) == 0).await;
    is_whole_everywhere(&larder, &files, id, b"second").await;
}

#[tokio::test]
async fn overlays_are_gone_through_page_by_page() {
    let (faults, larder) = faulty_pair();
    let files = start(&larder, &["b"]).await;
    let mut ids = vec![];
    for number in 0..150 {
        ids.push(put(&files, &format!("file {number}")).await.attributes.id);
    }
    for step in ["get", "head", "put.written", "finish.bytes"] {
        faults.plan(step, "", ErrorKind::Unavailable);
    }
    for id in ids {
        let patch = Patch { name: Some("renamed".into()), ..Patch::default() };
        files.update(&local(), id, patch, None).await.unwrap();
    }
    assert_eq!(overlays(&larder), 150);
    faults.heal();
    until("the first are gone", async || overlays(&larder) < 150).await;
    let first = larder_files::Clock::elapsed(&*larder.world);
    until("they are gone", async || overlays(&larder) == 0).await;
    let took = larder_files::Clock::elapsed(&*larder.world) - first;
    assert!(took < Duration::from_secs(600), "the pages follow each other: {took:?}");
}

#[tokio::test]
async fn where_attributes_cant_be_replaced_the_newest_overlay_tells_and_older_ones_go() {
    let careless = MemoryOptions { conditions: false, ..MemoryOptions::without_staging() };
    let larder = Larder::over_all([("a", MemoryOptions::with_staging()), ("b", careless)]);
    let files = start(&larder, &["a", "b"]).await;
    let id = put(&files, "file").await.attributes.id;
    verified(&larder, id, 2).await;
    for name in ["first", "second", "third"] {
        let patch = Patch { name: Some(name.into()), ..Patch::default() };
        let renamed = files.update(&local(), id, patch, None).await.unwrap().attributes;
        verified(&larder, id, 2).await;
        let overlay = format!(".larder/attributes/{id}.{}.{}.json", renamed.epoch, renamed.version);
        let there = lies_on(&larder, 1, &Key::new(overlay).unwrap()).unwrap();
        assert_eq!(there, renamed.to_bytes(), "the copy counts as whole, so its store tells of the change");
    }
    until("older ones are gone", async || overlays(&larder) == 1).await;
    let hour = larder_files::Clock::elapsed(&*larder.world) + Duration::from_secs(2 * 3600);
    until("hours pass", async || larder_files::Clock::elapsed(&*larder.world) > hour).await;
    assert_eq!(overlays(&larder), 1, "the newest is what tells of the file there");
    assert_eq!(files.describe(&local(), id).await.unwrap().attributes.name, "third");
}

#[tokio::test]
async fn changes_of_a_file_on_such_a_store_alone_leave_one_overlay() {
    let larder = Larder::over_all([("b", MemoryOptions { conditions: false, ..MemoryOptions::without_staging() })]);
    let files = start_idle(&larder, &["b"]).await;
    let id = put(&files, "file").await.attributes.id;
    for name in ["first", "second", "third"] {
        let patch = Patch { name: Some(name.into()), ..Patch::default() };
        files.update(&local(), id, patch, None).await.unwrap();
    }
    others_go_on().await;
    assert_eq!(overlays(&larder), 1);
    drop(files);
    let files = start_idle(&larder, &["b"]).await;
    assert_eq!(files.describe(&local(), id).await.unwrap().attributes.name, "third");
}

#[tokio::test]
async fn a_bucket_without_conditions_carries_changes_where_the_disk_takes_none() {
    let careless = MemoryOptions { conditions: false, ..MemoryOptions::without_staging() };
    let mut larder = Larder::over_all([("a", MemoryOptions::with_staging()), ("b", careless)]);
    drop(start(&larder, &["a", "b"]).await);
    larder.stores[0].2 = StoreMode::Rw;
    let files = start_idle(&larder, &["b", "a"]).await;
    let id = put(&files, "file").await.attributes.id;
    for name in ["first", "second"] {
        let patch = Patch { name: Some(name.into()), ..Patch::default() };
        files.update(&local(), id, patch, None).await.unwrap();
        larder.world.pass(Duration::from_secs(10));
        others_go_on().await;
    }
    drop(files);
    let files = start_idle(&larder, &["b", "a"]).await;
    assert_eq!(files.describe(&local(), id).await.unwrap().attributes.name, "second");
    assert!(larder.count_below(".larder/marks/") <= 2, "the highest marks outrank the others");
}

#[tokio::test]
async fn an_overlay_stays_where_bytes_lie_on_a_store_that_takes_no_changes() {
    let mut larder = pair();
    let files = start(&larder, &["a"]).await;
    let id = put(&files, "file").await.attributes.id;
    drop(files);
    larder.stores[0].2 = StoreMode::Rw;
    let files = start(&larder, &["a"]).await;
    let patch = Patch { name: Some("renamed".into()), ..Patch::default() };
    files.update(&local(), id, patch, None).await.unwrap();
    let hour = larder_files::Clock::elapsed(&*larder.world) + Duration::from_secs(3600);
    until("an hour passes", async || larder_files::Clock::elapsed(&*larder.world) > hour).await;
    assert_eq!(overlays(&larder), 1);
    drop(files);
}

#[tokio::test]
async fn a_store_that_is_new_is_given_the_users_and_buckets_that_are_there() {
    let mut larder = Larder::over_all([("a", MemoryOptions::with_staging())]);
    let files = start(&larder, &["a"]).await;
    let name = |name: &str| larder_files::UserName::new(name).unwrap();
    let anna = files.add_user(name("anna"), larder_files::Role::User, Some("first".into())).await.unwrap();
    files.set_password(anna.id, "second".into()).await.unwrap();
    drop(files);
    larder.add_disk("b", MemoryOptions::with_staging());
    let files = start(&larder, &["a", "b"]).await;
    until("all was carried", async || nothing_is_missed(&larder).await).await;
    files.stop().await;
    drop(files);
    let forget = RebuildOptions { forget: vec![StoreName::new("a").unwrap()], ..RebuildOptions::default() };
    larder.stores.remove(0);
    let (rebuilt, _) = larder.rebuild_with(forget).await.unwrap();
    assert_eq!((rebuilt.users, larder.ledger.buckets().await.unwrap().len()), (1, 3));
    assert_eq!(
        larder.ledger.user_named("anna").await.unwrap().unwrap().password_hash.as_deref(),
        Some("second"),
        "the newest"
    );
}

#[tokio::test]
async fn content_that_claims_a_name_stays_with_the_store_that_the_claim_tells_of() {
    let faults = Arc::new(Faults::default());
    let larder = Larder::over_all([("a", staging_with(faults.clone())), ("b", MemoryOptions::with_staging())]);
    let files = start_idle(&larder, &["a", "b"]).await;
    faults.plan("stage.begun", "", ErrorKind::Full);
    let named = || larder_files::NewFile { on_conflict: larder_files::OnConflict::Fail, ..support::named("one") };
    let create = async || {
        let received = files.receive(&local(), support::into_documents(), Body::from("one".to_owned())).await.unwrap();
        files.create(&local(), received, named()).await
    };
    assert!(matches!(create().await, Err(Error::Full(_))));
    let second = create().await.unwrap().file;
    assert_eq!(content(&files, second.attributes.id).await.unwrap(), b"one");
    assert!(lies_on(&larder, 1, &second.attributes.key).is_some());
}
