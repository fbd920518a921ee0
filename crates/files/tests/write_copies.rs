//! Buckets whose answers wait for several copies: what is answered lies on as many stores, whichever of them is lost.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a test has a runtime of its own, and may unwrap")]

mod support;

use futures_util::{
    FutureExt,
    future::{BoxFuture, pending, ready},
};
use larder_files::{
    Body, CopyTo, Error, File, Files, Health, IdempotencyKey, Patch, RebuildOptions, Receive, Role, Settings, Sha256,
    StartError, StoreMode, StoreName, UserName, ledger::Ledger,
};
use larder_storage_core::{ErrorKind, Key, MemoryOptions, NodeId, Steps};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use support::{Faults, Larder, content, into_documents, local, named, put, put_content, replace, staging_with, until};

/// Two stores, on both of which must lie what is answered; no reconciler makes copies.
fn settings() -> Settings {
    let placement = ["a", "b"].map(|name| StoreName::new(name).unwrap()).to_vec();
    let mut settings = Settings { placement, copies_at_once: 0, ..Settings::default() };
    settings.buckets.iter_mut().for_each(|(_, policy)| policy.write_copies = 2);
    settings
}

async fn start(larder: &Larder) -> Files {
    Files::start(larder.parts(larder.ledger.another()), settings()).await.unwrap().0
}

fn pair() -> Larder {
    Larder::over_all(["a", "b"].map(|name| (name, MemoryOptions::with_staging())))
}

/// The second store fails as it is told to.
fn faulty_pair() -> (Arc<Faults>, Larder) {
    let faults = Arc::<Faults>::default();
    let larder = Larder::over_all([("a", MemoryOptions::with_staging()), ("b", staging_with(faults.clone()))]);
    (faults, larder)
}

fn lies_on(larder: &Larder, store: usize, at: &Key) -> Option<bytes::Bytes> {
    larder.stores[store].1.objects().into_iter().find(|(found, _)| found == at).map(|(_, bytes)| bytes)
}

/// A file lies on both stores as it was answered.
fn is_on_both(larder: &Larder, file: &File, bytes: &[u8]) {
    for store in 0..2 {
        assert_eq!(lies_on(larder, store, &file.attributes.key).unwrap(), bytes, "on store {store}");
        let beside = lies_on(larder, store, &file.attributes.sidecar()).unwrap();
        assert_eq!(beside, file.attributes.to_bytes(), "on store {store}");
    }
    assert!(file.copies.iter().all(|copy| !copy.is_due()), "{:?}", file.copies);
}

/// What is found where only one of the stores is left.
async fn only(larder: &Larder, store: usize) -> (Larder, Files) {
    let mut left = Larder::over_disk(larder);
    left.stores = vec![larder.stores[store].clone()];
    let forget = vec![larder.stores[1 - store].0.clone()];
    left.rebuild_with(RebuildOptions { forget, ..RebuildOptions::default() }).await.unwrap();
    let files = left.start().await.0;
    (left, files)
}

#[tokio::test]
async fn whatever_is_answered_lies_on_as_many_stores() {
    let larder = pair();
    let files = start(&larder).await;
    let small = put(&files, "small").await;
    is_on_both(&larder, &small, b"small");
    let large = put_content(&files, "large", vec![7; 200_000]).await;
    is_on_both(&larder, &large, &[7; 200_000]);
    let id = small.attributes.id;
    let renamed = Patch { name: Some("renamed".into()), ..Patch::default() };
    is_on_both(&larder, &files.update(&local(), id, renamed, None).await.unwrap(), b"small");
    is_on_both(&larder, &replace(&files, id, "newer").await, b"newer");
    is_on_both(&larder, &files.remove(&local(), id, None).await.unwrap(), b"newer");
    is_on_both(&larder, &files.restore(&local(), id, None).await.unwrap(), b"newer");
    is_on_both(&larder, &files.copy(&local(), id, CopyTo::default()).await.unwrap().file, b"newer");
    assert!(larder.ledger.nodes().await.unwrap().is_empty(), "nothing stays reserved");
}

#[tokio::test]
async fn the_loss_of_either_store_loses_nothing_that_was_answered() {
    for left in 0..2 {
        let larder = pair();
        let files = start(&larder).await;
        let (kept, purged) = (put(&files, "kept").await, put(&files, "purged").await.attributes.id);
        let kept = replace(&files, kept.attributes.id, "newer").await.attributes;
        files.purge(&local(), purged, None).await.unwrap();
        files.add_user(UserName::new("anna").unwrap(), Role::User, None).await.unwrap();
        drop(files);
        let (_left, files) = only(&larder, left).await;
        assert_eq!(content(&files, kept.id).await.unwrap(), b"newer", "on store {left}");
        assert_eq!(files.describe(&local(), kept.id).await.unwrap().attributes, kept, "on store {left}");
        assert!(files.describe(&local(), purged).await.is_err(), "on store {left}");
        assert!(files.user_named("anna").await.unwrap().is_some(), "on store {left}");
    }
}

/// Uploads under an idempotency key.
async fn put_once(files: &Files) -> Result<larder_files::Created, Error> {
    let idempotency = Some(IdempotencyKey { key: "once".into(), request: Sha256::of(b"request") });
    let receive = Receive { idempotency, ..into_documents() };
    let received = files.receive(&local(), receive, Body::from("once")).await?;
    files.create(&local(), received, named("once")).await
}

#[tokio::test]
async fn where_a_store_fails_in_the_middle_a_repeat_finds_what_has_happened_and_waits_again() {
    let (faults, larder) = faulty_pair();
    let files = start(&larder).await;
    faults.plan("stage.durable", "", ErrorKind::Unavailable);
    for _ in 0..2 {
        match put_once(&files).await {
            Err(Error::Indeterminate(why)) => assert!(why.to_string().contains("on 2 stores"), "{why}"),
            other => panic!("{other:?}"),
        }
    }
    faults.heal();
    let made = put_once(&files).await.unwrap();
    assert_eq!(made.repeated, Some(201));
    is_on_both(&larder, &made.file, b"once");
    assert_eq!(larder.keys().len(), 4, "one file on two stores");
}

#[tokio::test]
async fn a_change_that_came_to_too_few_stores_is_not_answered_by_its_repeat_either() {
    let (faults, larder) = faulty_pair();
    let files = start(&larder).await;
    let id = put(&files, "file").await.attributes.id;
    faults.plan("put.written", "documents", ErrorKind::Full);
    for _ in 0..2 {
        let removed = files.remove(&local(), id, None).await;
        assert!(matches!(&removed, Err(Error::Indeterminate(_))), "{removed:?}");
    }
    faults.heal();
    is_on_both(&larder, &files.remove(&local(), id, None).await.unwrap(), b"file");
}

#[tokio::test]
async fn a_purge_whose_tombstone_missed_a_store_has_happened_and_says_so() {
    let (faults, larder) = faulty_pair();
    let files = start(&larder).await;
    let id = put(&files, "file").await.attributes.id;
    faults.plan("put.written", "tombstones", ErrorKind::Unavailable);
    let purged = files.purge(&local(), id, None).await;
    assert!(matches!(&purged, Err(Error::Indeterminate(why)) if why.to_string().contains("1 of 2")), "{purged:?}");
    assert!(matches!(files.describe(&local(), id).await, Err(Error::Gone | Error::NotFound(_))));
    faults.plan("put.written", "accounts", ErrorKind::Unavailable);
    let user = files.add_user(UserName::new("anna").unwrap(), Role::User, None).await;
    assert!(matches!(&user, Err(Error::Indeterminate(_))), "{user:?}");
}

#[tokio::test]
async fn nothing_happens_while_too_few_stores_are_there() {
    let (faults, larder) = faulty_pair();
    let settings = Settings { look_every: Some(Duration::from_secs(30)), ..settings() };
    let files = Files::start(larder.parts(larder.ledger.another()), settings).await.unwrap().0;
    let id = put(&files, "file").await.attributes.id;
    for step in ["get", "head"] {
        faults.plan(step, "", ErrorKind::Unavailable);
    }
    until("it is seen to be away", async || files.health() != Health::Ready).await;
    let (before, claims) = (larder.objects().len(), larder.ledger.claims().await.unwrap());
    let refused = [
        files.receive(&local(), into_documents(), Body::from("new")).await.map(drop),
        files.receive_revision(&local(), id, Body::from("newer")).await.map(drop),
        files.copy(&local(), id, CopyTo::default()).await.map(drop),
        files.remove(&local(), id, None).await.map(drop),
        files.purge(&local(), id, None).await,
        files.add_user(UserName::new("anna").unwrap(), Role::User, None).await.map(drop),
    ];
    for (number, refused) in refused.into_iter().enumerate() {
        assert!(matches!(&refused, Err(Error::StoreUnavailable(_))), "{number}: {refused:?}");
    }
    assert_eq!((larder.objects().len(), larder.ledger.claims().await.unwrap()), (before, claims));
    assert_eq!(content(&files, id).await.unwrap(), b"file", "it is read all the same");
}

/// A disk that takes nothing and does not say so.
#[derive(Debug, Default)]
struct Hangs(AtomicU64);

impl Steps for Hangs {
    fn step<'a>(&'a self, _: &'a NodeId, name: &'static str, _: &'a str) -> BoxFuture<'a, Result<(), ErrorKind>> {
        if name == "stage.begun" {
            self.0.fetch_add(1, Ordering::SeqCst);
            return pending().boxed();
        }
        ready(Ok(())).boxed()
    }
}

#[tokio::test]
async fn an_answer_waits_for_no_other_copy_than_it_needs() {
    let hangs = Arc::<Hangs>::default();
    let mut larder = pair();
    larder.add_disk("c", staging_with(hangs.clone()));
    let mut settings = Settings { copies_at_once: 2, look_every: Some(Duration::from_secs(30)), ..settings() };
    settings.placement.push(StoreName::new("c").unwrap());
    let files = Files::start(larder.parts(larder.ledger.another()), settings).await.unwrap().0;
    let id = put(&files, "file").await.attributes.id;
    until("its third copy hangs", async || hangs.0.load(Ordering::SeqCst) > 0).await;
    assert!(files.remove(&local(), id, None).await.unwrap().attributes.deleted_at.is_some());
}

#[tokio::test]
async fn more_copies_than_the_placement_has_stores_that_take_changes_are_refused() {
    for (mode, wanted, works) in [
        (StoreMode::Edit, 2, true),
        (StoreMode::Edit, 3, false),
        (StoreMode::Edit, 0, false),
        (StoreMode::Rw, 2, false),
    ] {
        let mut larder = pair();
        larder.stores[1].2 = mode;
        let mut settings = settings();
        settings.buckets[0].1.write_copies = wanted;
        settings.buckets.truncate(1);
        match Files::start(larder.parts(larder.ledger.another()), settings).await {
            Ok(_) => assert!(works, "{mode:?} {wanted}"),
            Err(StartError::Configuration(why)) => assert!(!works && why.contains("write_copies"), "{why}"),
            Err(error) => panic!("{error}"),
        }
    }
}
