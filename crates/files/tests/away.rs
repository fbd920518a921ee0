//! A node starts while a store is away: it does what it can prove, and what the store was to be asked is asked when it is back.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a test has a runtime of its own, and may unwrap")]

mod support;

use async_trait::async_trait;
use larder_files::{
    Error, FileId, Files, Health, Ledger, Mount, Parts, Role, Secrets, Settings, StartError, StoreMode, StoreName,
    UserName,
    ledger::{CopyState, MemoryLedger, Snapshot},
};
use larder_storage_core::{
    Error as StoreError, ErrorKind, Expected, Late, MemoryDisk, MemoryOptions, MemoryStore, NodeId, Op, Opener,
    PutOptions, Result, Staging, Store,
};
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use support::*;

fn on(stores: &[&str]) -> Settings {
    let placement = stores.iter().map(|name| StoreName::new(*name).unwrap()).collect();
    Settings { placement, look_every: Some(Duration::from_secs(30)), ..Settings::default() }
}

async fn try_start(larder: &Larder, stores: &[&str]) -> Result<Files, StartError> {
    Ok(Files::start(larder.parts(larder.ledger.another()), on(stores)).await?.0)
}

async fn start(larder: &Larder, stores: &[&str]) -> Files {
    try_start(larder, stores).await.unwrap()
}

/// Two stores, and what fails on the second.
fn pair() -> (Arc<Faults>, Larder) {
    let faults = Arc::new(Faults::default());
    let larder = Larder::over_all([("a", MemoryOptions::with_staging()), ("b", staging_with(faults.clone()))]);
    (faults, larder)
}

fn take_away(faults: &Faults) {
    for step in [
        "get",
        "head",
        "list.item",
        "put.written",
        "stage.begun",
        "finish.bytes",
        "delete.sent",
        "leftovers.taken",
        "alive",
    ] {
        faults.plan(step, "", ErrorKind::Unavailable);
    }
}

async fn states(larder: &Larder, id: FileId) -> Vec<CopyState> {
    let copies = larder.ledger.file(id).await.unwrap().unwrap().copies;
    let mut states: Vec<_> = copies.iter().map(|copy| copy.state).collect();
    states.sort_by_key(|state| *state as u8);
    states
}

async fn is_on_both(larder: &Larder, id: FileId) {
    until("a verified copy on both", async || states(larder, id).await == [CopyState::Verified; 2]).await;
}

async fn nothing_is_missed(larder: &Larder) -> bool {
    let mut missed = vec![];
    for store in larder.ledger.identity().await.unwrap().unwrap().stores {
        missed.extend(larder.ledger.missed(store.id, None, 9).await.unwrap());
    }
    missed.is_empty()
}

async fn is_ready(files: &Files) {
    until("it is ready", async || files.health() == Health::Ready).await;
}

#[tokio::test]
async fn a_node_starts_without_a_store_and_heals_when_it_is_back() {
    let (faults, larder) = pair();
    let files = start(&larder, &["a", "b"]).await;
    let both = put(&files, "both").await.attributes.id;
    let purged = put(&files, "purged").await.attributes.id;
    for id in [both, purged] {
        is_on_both(&larder, id).await;
    }
    drop(files);
    // What no placement wants any more would go.
    let settings = Settings { copies_at_once: 0, ..on(&["b"]) };
    let files = Files::start(larder.parts(larder.ledger.another()), settings).await.unwrap().0;
    let only = put(&files, "only").await.attributes.id;
    files.add_user(user("anna"), Role::User, Some("first".into())).await.unwrap();
    drop(files);

    take_away(&faults);
    let files = start(&larder, &["a", "b"]).await;
    assert_eq!(files.stores_away(), [StoreName::new("b").unwrap()]);
    assert!(matches!(files.health(), Health::Degraded(why) if why.contains("away: the store `b`")));
    let reports = files.stores().await.unwrap();
    assert_eq!(reports.iter().map(|store| store.away.is_some()).collect::<Vec<_>>(), [false, true]);
    // What another store has is read, and what only this one has is not called absent.
    assert_eq!(content(&files, both).await.unwrap(), b"both");
    assert!(matches!(content(&files, only).await, Err(Error::StoreUnavailable(_))));
    assert_eq!(files.describe(&local(), only).await.unwrap().attributes.name, "only");
    let new = put(&files, "new").await.attributes.id;
    assert_eq!(states(&larder, new).await, [CopyState::Pending, CopyState::Verified]);
    files.purge(&local(), purged, None).await.unwrap();
    let anna = files.user_named("anna").await.unwrap().unwrap();
    files.set_password(anna.id, "second".into()).await.unwrap();
    assert!(!nothing_is_missed(&larder).await);

    faults.heal();
    is_ready(&files).await;
    for id in [both, only, new] {
        is_on_both(&larder, id).await;
    }
    until("all was carried", async || nothing_is_missed(&larder).await).await;
    until("what was purged is gone", async || larder.keys().len() == 12).await;
    assert_eq!(content(&files, only).await.unwrap(), b"only");
    let verify = larder_files::FsckOptions { verify: true, repair: false };
    assert_eq!(fsck(&files, verify).await.1, []);
}

#[tokio::test]
async fn the_order_of_the_stores_is_the_configurations_whichever_is_away() {
    let faults = Arc::new(Faults::default());
    let larder = Larder::over_all([("a", staging_with(faults.clone())), ("b", MemoryOptions::with_staging())]);
    drop(start(&larder, &[]).await);
    take_away(&faults);
    let files = start(&larder, &[]).await;
    let names: Vec<_> = files.stores().await.unwrap().into_iter().map(|store| store.name.to_string()).collect();
    assert_eq!(names, ["a", "b"]);
    // The placement is the first store alone.
    let refused = files.receive(&local(), into_documents(), "x".into()).await.err();
    assert!(matches!(refused, Some(Error::StoreUnavailable(_))), "{refused:?}");
    faults.heal();
    is_ready(&files).await;
    put(&files, "x").await;
}

#[tokio::test]
async fn where_no_store_answers_or_none_that_is_known_the_start_is_refused() {
    let (faults, on_a) = (Arc::new(Faults::default()), Arc::new(Faults::default()));
    let options = [&on_a, &faults].map(|faults| staging_with(faults.clone()));
    let [a, b] = options;
    let mut larder = Larder::over_all([("a", a), ("b", b)]);
    drop(start(&larder, &["a", "b"]).await);
    [&faults, &on_a].iter().for_each(|faults| take_away(faults));
    let refused = try_start(&larder, &["a", "b"]).await.err();
    assert!(matches!(refused, Some(StartError::NoStore { .. })), "{refused:?}");
    larder.add_disk("c", MemoryOptions::with_staging());
    let refused = try_start(&larder, &["a", "b"]).await.err();
    assert!(matches!(refused, Some(StartError::NoStore { .. })), "{refused:?}");
    assert_eq!(larder.stores[2].1.objects(), [], "a new store proves nothing, and is not marked");
    on_a.heal();
    start(&larder, &["a", "b"]).await;
}

#[tokio::test]
async fn what_a_dead_node_left_on_a_store_that_is_away_is_settled_when_it_is_back() {
    let (faults, larder) = pair();
    let files = start(&larder, &["b"]).await;
    let file = put(&files, "file").await.attributes;
    drop(files);
    let id = FileId(uuid::Uuid::from_u128(file.id.0.as_u128() + 1));
    let new = larder_files::Attributes { id, key: key(&file.key.as_str().replace("file_", "left_")), ..file };
    let dying = MemoryStore::open(&larder.stores[1].1, "b", NodeId::new("dying").unwrap());
    let op = larder_storage_core::OpId::new("op").unwrap();
    dying.stage_pair(&op, "file".into(), new.to_bytes().into()).await.unwrap();
    let pair = larder_storage_core::Pair { op, bytes: new.key.clone(), attributes: new.sidecar() };
    dying.publish(&[pair]).await.remove(0).unwrap();
    larder.stores[1].1.kill(&dying.node());
    take_away(&faults);
    let files = start(&larder, &["a", "b"]).await;
    put(&files, "meanwhile").await;
    faults.heal();
    is_ready(&files).await;
    assert_eq!(content(&files, id).await.unwrap(), b"file");
    is_on_both(&larder, id).await;
}

/// Forgets what was done since, but not that it was: as if a crash had kept it from the ledger.
async fn go_back_to(larder: &Larder, before: &Snapshot) {
    let now = larder.ledger.identity().await.unwrap().unwrap();
    larder.ledger.restore(before);
    let stores: Vec<_> = now.stores.iter().map(|store| store.id).collect();
    while larder.ledger.raise_mark(&stores).await.unwrap() < now.mark {}
}

#[tokio::test]
async fn a_user_who_only_the_store_that_was_away_knows_is_taken_in() {
    let (faults, larder) = pair();
    let files = start(&larder, &["a", "b"]).await;
    files.add_user(user("anna"), Role::User, Some("first".into())).await.unwrap();
    let before = larder.ledger.snapshot();
    let anna = files.user_named("anna").await.unwrap().unwrap();
    files.set_password(anna.id, "second".into()).await.unwrap();
    drop(files);
    // As a crash between the store and the ledger leaves it, where the first store could not be reached.
    let second = larder.ledger.user_named("anna").await.unwrap().unwrap();
    let suffix = format!("{}.{}.{}", second.id, second.epoch, second.version);
    for (record, _) in larder.stores[0].1.objects() {
        if record.as_str().ends_with(&suffix) {
            larder.store().delete(&record).await.unwrap();
        }
    }
    go_back_to(&larder, &before).await;
    take_away(&faults);
    let files = start(&larder, &["a", "b"]).await;
    assert_eq!(files.user_named("anna").await.unwrap().unwrap().password_hash.as_deref(), Some("first"));
    faults.heal();
    is_ready(&files).await;
    assert_eq!(files.user_named("anna").await.unwrap().unwrap().password_hash.as_deref(), Some("second"));
    until("and carried to the other", async || {
        larder.stores[0].1.objects().iter().any(|(record, _)| record.as_str().ends_with(&suffix))
    })
    .await;
}

fn user(name: &str) -> UserName {
    UserName::new(name).unwrap()
}

/// The keys of records of users on a disk.
fn accounts(disk: &MemoryDisk) -> Vec<String> {
    let keys = disk.objects().into_iter().map(|(key, _)| key.to_string());
    keys.filter(|key| key.starts_with(".larder/accounts/")).collect()
}

#[tokio::test]
async fn a_record_that_lost_its_name_stays_on_a_store_that_is_being_taken_in() {
    let (faults, larder) = pair();
    let files = start(&larder, &["a", "b"]).await;
    let before = larder.ledger.snapshot();
    files.add_user(user("anna"), Role::User, None).await.unwrap();
    drop(files);
    go_back_to(&larder, &before).await;
    for account in accounts(&larder.disk) {
        larder.store().delete(&key(&account)).await.unwrap();
    }
    let first = accounts(&larder.stores[1].1);
    assert_eq!(first.len(), 1);
    take_away(&faults);
    let files = start(&larder, &["a", "b"]).await;
    files.add_user(user("anna"), Role::User, None).await.unwrap();
    faults.heal();
    is_ready(&files).await;
    assert!(accounts(&larder.stores[1].1).contains(&first[0]), "nobody knows yet whether it was ever answered");
    // A start that finds the store there is sure of it.
    drop(files);
    drop(start(&larder, &["a", "b"]).await);
    assert!(!accounts(&larder.stores[1].1).contains(&first[0]));
}

/// Two stores of which only the second knows of the newest database, and the first has an older one beside it.
async fn with_an_older_database() -> (Arc<Faults>, Larder) {
    let (faults, on_a) = (Arc::new(Faults::default()), Arc::new(Faults::default()));
    let larder = Larder::over_all([("a", staging_with(on_a.clone())), ("b", staging_with(faults.clone()))]);
    drop(start(&larder, &["a", "b"]).await);
    let older = larder.ledger.snapshot();
    take_away(&on_a);
    let files = start(&larder, &["b"]).await;
    put(&files, "file").await;
    files.add_user(user("boris"), Role::User, None).await.unwrap();
    files.stop().await;
    drop(files);
    larder.ledger.restore(&older);
    on_a.heal();
    (faults, larder)
}

async fn is_fenced(files: &Files) {
    until("it is fenced", async || matches!(files.health(), Health::Fenced(_))).await;
    let refused = files.receive(&local(), into_documents(), "x".into()).await;
    assert!(matches!(refused, Err(Error::Fenced(_))), "{refused:?}");
}

#[tokio::test]
async fn an_older_database_that_only_the_store_that_was_away_can_tell_of_fences_the_node() {
    let (faults, larder) = with_an_older_database().await;
    take_away(&faults);
    let files = start(&larder, &["a", "b"]).await;
    faults.heal();
    is_fenced(&files).await;
}

#[tokio::test]
async fn an_older_database_that_went_on_without_the_store_is_found_out_all_the_same_and_takes_nothing_from_it() {
    for is_drive in [false, true] {
        let (faults, larder) = with_an_older_database().await;
        let (first, (drive, parts)) = (accounts(&larder.stores[1].1), with_drive(&larder, 1));
        assert_eq!(first.len(), 1);
        take_away(&faults);
        let parts = if is_drive { parts } else { larder.parts(larder.ledger.another()) };
        let files = Files::start(parts, on(&["a", "b"])).await.unwrap().0;
        let boris = files.add_user(user("boris"), Role::User, None).await.unwrap();
        // Each makes a new mark, and so does each look at what was written.
        for number in 0..50 {
            files.set_password(boris.id, number.to_string()).await.unwrap();
            others_go_on().await;
        }
        faults.heal();
        *drive.lock().unwrap() = Some(larder.stores[1].1.clone());
        is_fenced(&files).await;
        assert!(accounts(&larder.stores[1].1).contains(&first[0]));
        drop(files);
        let refused = try_start(&larder, &["a", "b"]).await.err();
        assert!(matches!(refused, Some(StartError::OlderDatabase { .. })), "{refused:?}");
    }
}

#[tokio::test]
async fn a_database_that_is_put_back_under_a_node_is_found_out_by_a_store_that_answers_late() {
    let (faults, on_a) = (Arc::new(Faults::default()), Arc::new(Faults::default()));
    let larder = Larder::over_all([("a", staging_with(on_a.clone())), ("b", staging_with(faults.clone()))]);
    let files = start(&larder, &["b", "a"]).await;
    let older = larder.ledger.snapshot();
    take_away(&on_a);
    let mark_on_b = || larder.stores[1].1.objects().into_iter().find(|(at, _)| at.as_str() == ".larder/mark");
    let before = mark_on_b();
    put(&files, "file").await;
    until("the mark was written", async || mark_on_b() != before).await;
    take_away(&faults);
    larder.ledger.restore(&older);
    on_a.heal();
    let anna = files.add_user(user("anna"), Role::User, None).await.unwrap();
    for number in 0..50 {
        files.set_password(anna.id, number.to_string()).await.unwrap();
        others_go_on().await;
    }
    faults.heal();
    is_fenced(&files).await;
}

#[tokio::test]
async fn a_store_that_tells_of_an_older_database_is_not_even_opened() {
    let (_, larder) = with_an_older_database().await;
    let (drive, parts) = with_drive(&larder, 1);
    let files = Files::start(parts, on(&["a", "b"])).await.unwrap().0;
    *drive.lock().unwrap() = Some(larder.stores[1].1.clone());
    is_fenced(&files).await;
    let report = files.stores().await.unwrap().remove(1);
    assert!(report.away.is_some_and(|why| why.contains("larder rebuild")));
}

#[tokio::test]
async fn a_node_is_called_by_a_store_that_is_there() {
    let (_, larder) = pair();
    drop(start(&larder, &["a", "b"]).await);
    let (_, parts) = with_drive(&larder, 0);
    let node = parts.stores[1].store.staging().unwrap().node();
    let files = Files::start(parts, on(&["a", "b"])).await.unwrap().0;
    let key = larder_files::IdempotencyKey { key: "key".into(), request: larder_files::Sha256([1; 32]) };
    let receive = larder_files::Receive { idempotency: Some(key), ..into_documents() };
    let received = files.receive(&local(), receive, "x".into()).await.unwrap();
    assert!(larder.ledger.nodes().await.unwrap().contains(&node), "nobody could tell that it lives");
    files.create(&local(), received, named("x")).await.unwrap();
}

#[tokio::test]
async fn a_node_is_called_by_a_store_that_others_know_rather_than_by_a_new_one() {
    let (_, larder) = pair();
    drop(start(&larder, &["a", "b"]).await);
    let mut parts = larder.parts(larder.ledger.another());
    let (disk, name) = (MemoryDisk::new(MemoryOptions::with_staging()), StoreName::new("new").unwrap());
    let store = Arc::new(MemoryStore::open(&disk, "new", NodeId::new("new").unwrap()));
    parts.stores.insert(0, Mount { name, store, mode: StoreMode::Edit });
    let node = parts.stores[1].store.staging().unwrap().node();
    let files = Files::start(parts, on(&["a", "b"])).await.unwrap().0;
    let key = larder_files::IdempotencyKey { key: "key".into(), request: larder_files::Sha256([1; 32]) };
    let receive = larder_files::Receive { idempotency: Some(key), ..into_documents() };
    let _received = files.receive(&local(), receive, "x".into()).await.unwrap();
    assert_eq!(larder.ledger.nodes().await.unwrap(), [node]);
}

async fn is_refused_for_lack_of(larder: &Larder, what: &str) {
    match try_start(larder, &["a", "b"]).await.err() {
        Some(StartError::NoStore { store, lacks, .. }) => assert!(store == "b" && lacks.contains(what), "{lacks}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn without_another_store_that_lends_a_name_no_node_starts() {
    let faults = Arc::new(Faults::default());
    let options = [MemoryOptions::without_staging(), staging_with(faults.clone())];
    let [a, b] = options;
    let larder = Larder::over_all([("a", a), ("b", b)]);
    drop(start(&larder, &["a", "b"]).await);
    take_away(&faults);
    is_refused_for_lack_of(&larder, "staged").await;
    faults.heal();
    start(&larder, &["a", "b"]).await;
}

#[tokio::test]
async fn without_another_store_that_bears_marks_no_node_starts() {
    let (faults, mut larder) = pair();
    drop(start(&larder, &["a", "b"]).await);
    take_away(&faults);
    larder.stores[0].2 = StoreMode::Rw;
    is_refused_for_lack_of(&larder, "`edit`").await;
    larder.stores[0].2 = StoreMode::Edit;
    let mark = key(".larder/mark");
    let bytes = larder.bytes_at(&mark).unwrap();
    larder.store().delete(&mark).await.unwrap();
    is_refused_for_lack_of(&larder, "in use before").await;
    larder.store().put(&mark, bytes.into(), PutOptions::create()).await.unwrap();
    // A store that bears no marks itself can be done without.
    start(&larder, &["a", "b"]).await;
    faults.heal();
    larder.stores[0].2 = StoreMode::Rw;
    start(&larder, &["a", "b"]).await;
}

#[tokio::test]
async fn a_store_that_is_away_and_one_that_is_there_are_not_taken_for_two_where_they_are_one() {
    let (_, larder) = pair();
    drop(start(&larder, &["a", "b"]).await);
    let (_, mut parts) = with_drive(&larder, 1);
    let store = Arc::new(MemoryStore::open(&larder.stores[1].1, "c", NodeId::new("c").unwrap()));
    parts.stores.push(Mount { name: StoreName::new("c").unwrap(), store, mode: StoreMode::Edit });
    match Files::start(parts, on(&["a"])).await.err() {
        Some(StartError::SameStore { first, second }) => assert_eq!((&*first, &*second), ("b", "c")),
        other => panic!("{other:?}"),
    }
    let known = larder.ledger.identity().await.unwrap().unwrap().stores;
    assert!(known.iter().all(|store| store.name != "c"), "{known:?}");
}

#[tokio::test]
async fn a_store_is_not_taken_in_by_a_process_of_an_epoch_that_is_over() {
    let (_, larder) = pair();
    drop(start(&larder, &["a", "b"]).await);
    let (parts, secrets) = (larder.parts(larder.ledger.another()), Secrets::new(MASTER));
    let identity = larder.ledger.identity().await.unwrap().unwrap();
    let ledger = larder.ledger.another();
    larder_files::prove(&parts.stores[1], &ledger, &secrets, identity.epoch).await.unwrap();
    let next = identity.epoch + 1;
    ledger.initialise(&larder_files::ledger::Identity { epoch: next, ..identity.clone() }).await.unwrap();
    let refused = larder_files::prove(&parts.stores[1], &ledger, &secrets, identity.epoch).await;
    assert!(matches!(refused, Err(StartError::OlderDatabase { .. })), "{refused:?}");
}

#[tokio::test]
async fn what_is_wrong_for_good_is_refused_and_so_is_a_new_store_that_does_not_answer() {
    let (faults, mut larder) = pair();
    drop(start(&larder, &["a", "b"]).await);
    let marker = key(".larder/instance.json");
    let bytes = larder.stores[1].1.objects().into_iter().find(|(at, _)| *at == marker).unwrap().1;
    larder.stores[1].1.damage(&marker, "rot");
    let refused = try_start(&larder, &["a", "b"]).await.err();
    assert!(matches!(refused, Some(StartError::Failed(_))), "{refused:?}");
    larder.stores[1].1.damage(&marker, bytes);
    faults.heal();
    let on_c = Arc::new(Faults::default());
    larder.add_disk("c", staging_with(on_c.clone()));
    take_away(&on_c);
    let refused = try_start(&larder, &["a", "b"]).await.err();
    assert!(matches!(refused, Some(StartError::Failed(_))), "{refused:?}");
    on_c.heal();
    start(&larder, &["a", "b"]).await;
}

/// What is mounted at a place, if anything is: opened once it has proven itself.
#[derive(Debug)]
struct Drive {
    disk: Arc<Mutex<Option<MemoryDisk>>>,
    name: StoreName,
    node: NodeId,
    ledger: MemoryLedger,
    epoch: u64,
    tried: AtomicU64,
}

#[async_trait]
impl Opener for Drive {
    async fn open(&self) -> Result<Arc<dyn Store>> {
        let away = || StoreError::new(Op::Open, "drive", "drive", ErrorKind::Unavailable);
        let disk = self.disk.lock().unwrap().clone().ok_or_else(away)?;
        let looks = NodeId::new(&format!("looks{}", self.tried.fetch_add(1, Ordering::SeqCst))).unwrap();
        let store: Arc<dyn Store> = Arc::new(MemoryStore::open(&disk, "drive", looks));
        let mount = Mount { name: self.name.clone(), store, mode: StoreMode::Edit };
        larder_files::prove(&mount, &self.ledger, &Secrets::new(MASTER), self.epoch)
            .await
            .map_err(|why| away().because(why))?;
        Ok(Arc::new(MemoryStore::open(&disk, "drive", self.node.clone())))
    }
}

/// A larder one of whose stores is a drive, with what is in it.
fn with_drive(larder: &Larder, at: usize) -> (Arc<Mutex<Option<MemoryDisk>>>, Parts) {
    let mut parts = larder.parts(larder.ledger.another());
    let (disk, node) = (Arc::new(Mutex::new(None)), NodeId::new("drive").unwrap());
    let limits = parts.stores[at].store.limits();
    let expected = Expected { display: "drive".into(), limits, node: Some(node.clone()), pause: Duration::ZERO };
    let (name, ledger) = (parts.stores[at].name.clone(), larder.ledger.another());
    let drive = Drive { disk: disk.clone(), name, node, ledger, epoch: 1, tried: AtomicU64::new(0) };
    parts.stores[at].store = Arc::new(Late::new(expected, Arc::new(drive)));
    (disk, parts)
}

#[tokio::test]
async fn only_the_store_that_it_was_is_opened_where_it_was_away() {
    let (_, larder) = pair();
    drop(start(&larder, &["a", "b"]).await);
    let foreign = Larder::new();
    // Its randomness counts as ours does, and its installation is another.
    let _: [u8; 64] = foreign.environment().random();
    drop(foreign.start().await);
    let (drive, parts) = with_drive(&larder, 1);
    let files = Files::start(parts, on(&["a", "b"])).await.unwrap().0;
    let id = put(&files, "file").await.attributes.id;
    let empty = MemoryDisk::new(MemoryOptions::with_staging());
    let others = [(&empty, "missing"), (&foreign.disk, "another installation"), (&larder.stores[0].1, "that of store")];
    for (disk, words) in others {
        let before = disk.objects();
        *drive.lock().unwrap() = Some(disk.clone());
        others_go_on().await;
        let report = files.stores().await.unwrap().remove(1);
        assert!(report.away.as_ref().is_some_and(|why| why.contains(words)), "{words}: {report:?}");
        assert_eq!(files.stores_away(), [StoreName::new("b").unwrap()]);
        assert_eq!((disk.objects().len(), disk.staged()), (before.len(), 0), "nothing is written there: {words}");
    }
    *drive.lock().unwrap() = Some(larder.stores[1].1.clone());
    is_ready(&files).await;
    is_on_both(&larder, id).await;
}

#[tokio::test]
async fn a_store_that_is_new_to_the_others_is_told_of_to_the_one_that_was_away() {
    let (faults, mut larder) = pair();
    drop(start(&larder, &["a", "b"]).await);
    larder.add_disk("c", MemoryOptions::with_staging());
    take_away(&faults);
    let files = start(&larder, &["a", "b"]).await;
    faults.heal();
    is_ready(&files).await;
    let c = larder.ledger.identity().await.unwrap().unwrap().stores;
    let c = c.iter().find(|known| known.name == "c").unwrap().id.to_string();
    let told = |(key, bytes): &(larder_files::Key, bytes::Bytes)| {
        key.as_str() == ".larder/instance.json" && String::from_utf8_lossy(bytes).contains(&c)
    };
    until("its marker tells of it", async || larder.stores[1].1.objects().iter().any(told)).await;
}

#[tokio::test]
async fn a_node_that_stops_does_not_wait_for_a_store_that_is_away() {
    let (faults, larder) = pair();
    drop(start(&larder, &["a", "b"]).await);
    take_away(&faults);
    let parts = larder.parts(larder.ledger.another());
    let store = Arc::downgrade(&parts.stores[0].store);
    let files = Files::start(parts, Settings { look_every: None, ..on(&["a", "b"]) }).await.unwrap().0;
    files.stop().await;
    drop(files);
    until("nobody holds the node", async || store.upgrade().is_none()).await;
}
