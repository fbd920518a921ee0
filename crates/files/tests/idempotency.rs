//! An idempotency key is taken by the request that made a file, and by no other.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test has a runtime of its own, and may unwrap")]

mod support;

use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream};
use larder_files::{
    Created, Error, Files, IdempotencyKey, ListFiles, NewFile, Receive, Received, Settings, Sha256, StoreMode,
    StoreName, UserName, ledger::LedgerError,
};
use larder_storage_core::{Body, ErrorKind, MemoryOptions, Store};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use support::*;

fn request() -> Receive {
    Receive {
        idempotency: Some(IdempotencyKey { key: "key".into(), request: Sha256::of(b"POST /") }),
        ..into_documents()
    }
}

async fn receive(files: &Files, receive: Receive, body: Body) -> Result<Received, Error> {
    files.receive(&local(), receive, body).await
}

async fn create(files: &Files, new: NewFile) -> Result<Created, Error> {
    let received = receive(files, request(), "content".into()).await?;
    files.create(&local(), received, new).await
}

/// The key is free: who was refused may ask again at once.
async fn assert_free_at_once(files: &Files, what: &str) {
    assert_eq!(create(files, named("file")).await.expect(what).repeated, None, "{what}");
}

/// The key is, or soon will be, free: the same one makes a file.
async fn assert_free(files: &Files, what: &str) {
    let mut made = Err(Error::Running);
    until(what, async || {
        made = create(files, named("file")).await;
        !matches!(made, Err(Error::Running))
    })
    .await;
    assert_eq!(made.expect(what).repeated, None, "{what}");
}

#[tokio::test]
async fn a_key_is_free_again_after_a_request_that_was_refused_for_its_place() {
    let mut larder = Larder::over_all(["first", "second"].map(|name| (name, MemoryOptions::with_staging())));
    drop(larder.start().await);
    larder.stores[0].2 = StoreMode::Ro;
    let living = larder.start().await.0;
    let refused = create(&living, named("file")).await;
    assert!(matches!(refused, Err(Error::ReadOnly(_))), "{refused:?}");
    larder.stores[0].2 = StoreMode::Edit;
    assert_free(&larder.start().await.0, "a read-only store").await;
}

#[tokio::test]
async fn a_key_is_free_again_after_a_request_that_failed_before_it_made_a_file() {
    let early: [(&str, Receive, Body); 4] = [
        ("no bucket", Receive { bucket: "nowhere".into(), ..request() }, "x".into()),
        ("no owner", Receive { owner: Some(UserName::new("nobody").unwrap()), ..request() }, "x".into()),
        ("a short body", request(), Body::once(Box::pin(futures_util::stream::iter([Ok("abc".into())])), Some(4))),
        ("a body too long", request(), Body::once(Box::pin(futures_util::stream::empty()), Some(1 << 40))),
    ];
    for (what, receive_, body) in early {
        let larder = Larder::new();
        let files = larder.start().await.0;
        assert!(receive(&files, receive_, body).await.is_err(), "{what}");
        assert_free_at_once(&files, what).await;
    }
    let late = [
        ("a bad name", named("")),
        ("a bad tag", NewFile { tags: vec![String::new()], ..named("file") }),
        ("another hash", NewFile { sha256: Some(Sha256::of(b"other")), ..named("file") }),
    ];
    for (what, new) in late {
        let larder = Larder::new();
        let files = larder.start().await.0;
        assert!(create(&files, new).await.is_err(), "{what}");
        assert_free_at_once(&files, what).await;
    }
}

#[tokio::test]
async fn a_key_is_free_again_after_its_content_found_no_room() {
    for step in ["stage.written", "publish.bytes"] {
        let faults = Arc::new(Faults::default());
        let larder = Larder::over(staging_with(faults.clone()));
        let files = larder.start().await.0;
        faults.plan(step, "", ErrorKind::Full);
        let full = create(&files, named("file")).await;
        assert!(matches!(full, Err(Error::Full(_))), "{full:?}");
        faults.heal();
        assert_free_at_once(&files, step).await;
    }
}

#[tokio::test]
async fn a_key_is_free_again_wherever_its_client_went_away() {
    for step in ["reserve", "reserve.done"] {
        let (larder, gate) = (Larder::new(), Gate::at(step));
        let files = larder.start_with(gate.clone()).await;
        gate.close();
        {
            let going = receive(&files, request(), "x".into());
            futures_util::pin_mut!(going);
            futures_util::select_biased! {
                _ = going.fuse() => panic!("it is held up"),
                () = gate.reached().fuse() => {}
            }
        }
        gate.open();
        assert_free(&files, step).await;
    }
    let larder = Larder::new();
    let files = larder.start().await.0;
    drop(receive(&files, request(), "x".into()).await.unwrap());
    assert_free(&files, "content that nobody made a file of").await;
}

#[tokio::test]
async fn a_key_is_free_again_after_a_ledger_that_failed_to_take_it_or_to_give_it_up() {
    for options in [MemoryOptions::with_staging(), MemoryOptions::without_staging()] {
        for (step, kind) in [
            ("reserve.done", ErrorKind::Indeterminate),
            ("unreserve", ErrorKind::Unavailable),
            ("unreserve.done", ErrorKind::Indeterminate),
        ] {
            let (larder, faults) = (Larder::over(options.clone()), Arc::<Faults>::default());
            let files = larder.start_with(faults.clone()).await;
            put(&files, "marks").await;
            faults.plan(step, "", kind);
            let refused = create(&files, named("")).await;
            assert!(refused.is_err());
            others_go_on().await;
            faults.heal();
            assert_free(&files, step).await;
        }
    }
}

#[tokio::test]
async fn a_key_is_free_again_after_a_leftover_whose_settler_failed_to_give_it_up() {
    let (larder, gate) = (Larder::new(), Gate::at("record"));
    let dying = larder.start_with(gate.clone()).await;
    let node = larder.last_node();
    gate.close();
    let upload = tokio::spawn(async move { create(&dying, named("file")).await });
    gate.reached().await;
    // As where its attributes were never published.
    let sidecar = larder.keys().into_iter().find(|key| key.ends_with(".attr.json")).unwrap();
    larder.store().delete(&key(&sidecar)).await.unwrap();
    larder.disk.kill(&node);
    upload.abort();
    // Of the dead node it is taken; then the ledger fails.
    let files = larder.start_with(Arc::new(FailsAfterOne("unreserve", AtomicU64::new(0)))).await;
    assert_free(&files, "the leftover's key").await;
}

/// A ledger whose second and third step of this name fail.
#[derive(Debug)]
struct FailsAfterOne(&'static str, AtomicU64);

impl larder_files::ledger::Steps for FailsAfterOne {
    fn step(&self, name: &'static str) -> BoxFuture<'_, Result<(), LedgerError>> {
        let fails = name == self.0 && (1..=2).contains(&self.1.fetch_add(1, Ordering::SeqCst));
        std::future::ready(if fails { Err(LedgerError::Full("full".into())) } else { Ok(()) }).boxed()
    }
}

#[tokio::test]
async fn a_repeat_that_came_while_a_leftover_waited_keeps_its_key() {
    let (larder, gate) = (Larder::new(), Gate::at("record"));
    let dying = larder.start_with(gate.clone()).await;
    let node = larder.last_node();
    gate.close();
    {
        let going = create(&dying, named("file"));
        futures_util::pin_mut!(going);
        futures_util::select_biased! {
            _ = going.fuse() => panic!("it is held up"),
            () = gate.reached().fuse() => {}
        }
    }
    larder.disk.kill(&node);

    // The dead node's key is given up, and then the ledger fails: the leftover, published though it is, must wait.
    let alarm = Alarm::of(&larder, Duration::from_millis(100));
    let ledger = larder.ledger.another().with_steps(Arc::new(FailsAfterOne("reserve", AtomicU64::new(0))));
    let mut parts = larder.parts(ledger);
    parts.environment.clock = alarm.clone();
    let (files, recovered) = Files::start(parts, Settings::default()).await.unwrap();
    assert_eq!(recovered.waiting, 1, "{recovered:?}");
    until("the leftover waits", async || alarm.bell.asleep() == 1).await;
    let repeat = create(&files, named("file")).await.unwrap();
    alarm.bell.ring();
    until("the leftover is settled", async || files.health() == larder_files::Health::Ready).await;

    let listed = files.list(&local(), ListFiles { limit: 10, ..ListFiles::default() }).await.unwrap().items;
    assert_eq!(listed.iter().map(|file| file.attributes.id).collect::<Vec<_>>(), [repeat.file.attributes.id]);
    assert_eq!(larder.keys().len(), 2, "one key, one file");
}

/// Starts a process over the first disk and `on`, where it puts new content, with `steps` around its calls to the ledger.
async fn start_on_with(larder: &Larder, on: &str, steps: Arc<Gate>) -> Files {
    let settings = Settings { placement: vec![StoreName::new(on).unwrap()], ..Settings::default() };
    Files::start(larder.parts(larder.ledger.another().with_steps(steps)), settings).await.unwrap().0
}

#[tokio::test]
async fn the_key_of_a_node_that_dies_while_another_starts_makes_no_second_file() {
    // The step at which that one is held up meanwhile: before it asks who is dead, and once it has asked.
    let steps = ["nodes", "nodes.done", "intents", "intents.done", "claims", "claims.done"];
    for (on, step) in steps.iter().flat_map(|step| [("disk", *step), ("cloud", *step)]) {
        let stores = [("disk", MemoryOptions::with_staging()), ("cloud", MemoryOptions::without_staging())];
        let (larder, recording, starting) = (Larder::over_all(stores), Gate::at("record"), Gate::at(step));
        let dying = start_on_with(&larder, on, recording.clone()).await;
        let dies = larder.last_node();
        recording.close();
        let upload = tokio::spawn(async move { create(&dying, named("file")).await });
        recording.reached().await;
        starting.close();
        let (living, ()) = tokio::join!(start_on_with(&larder, on, starting.clone()), async {
            starting.reached().await;
            larder.disk.kill(&dies);
            upload.abort();
            starting.open();
        });
        let repeated = create(&living, named("file")).await.map(|created| created.repeated);
        assert!(matches!(repeated, Err(Error::Running) | Ok(Some(201))), "on {on}, {step}: {repeated:?}");
        let (next, mut made) = (larder.start_on(on).await, Err(Error::Running));
        until("what the dead one left is settled", async || {
            made = create(&next, named("file")).await;
            !matches!(made, Err(Error::Running))
        })
        .await;
        assert_eq!((made.unwrap().repeated, larder.keys().len()), (Some(201), 2), "on {on}, {step}");
    }
}

/// A ledger that leaves what was taken over in hand, and now and then reserves nothing.
#[derive(Debug, Default)]
struct InHand(AtomicBool);

impl larder_files::ledger::Steps for InHand {
    fn step(&self, name: &'static str) -> BoxFuture<'_, Result<(), LedgerError>> {
        match name {
            "fail_intent" => std::future::pending().boxed(),
            "reserve" if self.0.load(Ordering::SeqCst) => {
                std::future::ready(Err(LedgerError::Unavailable("away".into()))).boxed()
            }
            _ => std::future::ready(Ok(())).boxed(),
        }
    }
}

#[tokio::test]
async fn a_repeat_whose_reservation_fails_gives_up_no_key_of_an_upload_that_its_node_has_taken_over() {
    let larder = Larder::over(MemoryOptions::without_staging());
    let (dying, _) = larder.start().await;
    let blocks = stream::iter((0..3).map(|_| Ok("content".into()))).boxed();
    let _broken_off = receive(&dying, request(), Body::once(blocks, None)).await.unwrap();
    let steps = Arc::<InHand>::default();
    let next = larder.start_over(larder.ledger.another().with_steps(steps.clone())).await.unwrap().0;
    steps.0.store(true, Ordering::SeqCst);
    assert!(matches!(create(&next, named("file")).await, Err(Error::LedgerUnavailable(_))));
    steps.0.store(false, Ordering::SeqCst);
    others_go_on().await;
    let again = create(&next, named("file")).await;
    assert!(matches!(&again, Err(Error::Running)), "its outcome is not known yet: {again:?}");
}

#[tokio::test]
async fn a_repeat_on_a_node_that_lives_finds_out_at_once_what_came_of_the_dead_ones() {
    for (step, left, repeats) in [("record", 2, Some(201)), ("reserve.done", 0, None)] {
        let (larder, gate) = (Larder::new(), Gate::at(step));
        let living = larder.start().await.0;
        let dying = larder.start_with(gate.clone()).await;
        let dies = larder.last_node();
        gate.close();
        let upload = tokio::spawn(async move { create(&dying, named("file")).await });
        gate.reached().await;
        let running = create(&living, named("file")).await;
        assert!(matches!(running, Err(Error::Running)), "{step}: who is asked first lives: {running:?}");
        larder.disk.kill(&dies);
        upload.abort();
        assert_eq!(larder.keys().len(), left, "{step}");
        let repeated = create(&living, named("file")).await.unwrap().repeated;
        assert_eq!((repeated, larder.keys().len()), (repeats, 2), "{step}");
    }
}
