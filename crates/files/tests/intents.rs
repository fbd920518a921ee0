//! Uploads to a store that does not stage: what breaks off leaves nothing, and who was taken for dead changes nothing any more.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test has a runtime of its own, and may unwrap")]

mod support;

use futures_util::{StreamExt, stream};
use larder_files::{
    Body, Error, Files, FindingKind as Kind, FsckOptions, Health, Ledger, Received, Settings, ledger::Purpose,
};
use larder_storage_core::{ErrorKind, MemoryOptions, MemoryStore, NodeId, Store};
use std::{sync::Arc, time::Duration};
use support::*;

const LOOK: FsckOptions = FsckOptions { verify: false, repair: false };

fn cloud() -> Larder {
    Larder::over(MemoryOptions::without_staging())
}

/// Content that streams, so that its bytes lie on the store before there are attributes.
async fn received(files: &Files) -> Received {
    let blocks: Vec<_> = (0..3).map(|_| Ok("content".into())).collect();
    files.receive(&local(), into_documents(), Body::once(stream::iter(blocks).boxed(), None)).await.unwrap()
}

/// Lets everything come to its end: no intent is left.
async fn settled(larder: &Larder) {
    let ledger = larder.ledger.another();
    until("no intent is left", async || ledger.intents().await.unwrap().is_empty()).await;
}

#[tokio::test]
async fn an_upload_leaves_no_intent() {
    let larder = cloud();
    let (files, _) = larder.start().await;
    put(&files, "small").await;
    let large = files.create(&local(), received(&files).await, named("large")).await.unwrap().file;
    let second = replace(&files, large.attributes.id, "second").await;
    assert_eq!(larder.ledger.intents().await.unwrap(), []);
    assert_eq!((content(&files, second.attributes.id).await.unwrap(), larder.keys().len()), (b"second".to_vec(), 6));
    assert_eq!(fsck(&files, LOOK).await.1, []);
}

#[tokio::test]
async fn content_that_no_file_wants_goes() {
    let larder = cloud();
    let (files, _) = larder.start().await;
    drop(received(&files).await);
    settled(&larder).await;
    assert_eq!(larder.keys(), Vec::<String>::new());
}

#[tokio::test]
async fn a_broken_off_upload_is_undone_by_the_next_start() {
    let larder = cloud();
    let (files, _) = larder.start().await;
    let broken_off = received(&files).await;
    assert_eq!(larder.keys().len(), 1);
    let gate = Gate::at("fail_intent");
    gate.close();
    let (next, recovered) = larder.start_over(larder.ledger.another().with_steps(gate.clone())).await.unwrap();
    assert_eq!((recovered.finished, recovered.undone, recovered.waiting), (0, 0, 1));
    // As long as it is not undone, `fsck` tells of it.
    assert!(kinds(&fsck(&next, LOOK).await.1).contains(&Kind::IntentOpen));
    gate.open();
    settled(&larder).await;
    assert_eq!((larder.keys(), fsck(&next, LOOK).await.1), (vec![], vec![]));
    // Who was taken for dead lives on, and is too late.
    let late = files.create(&local(), broken_off, named("late")).await;
    assert!(matches!(late, Err(Error::Indeterminate(_))), "{late:?}");
    settled(&larder).await;
    assert_eq!((larder.keys(), fsck(&next, LOOK).await.1), (vec![], vec![]));
}

#[tokio::test]
async fn a_node_that_ends_soon_leaves_to_others_what_must_be_waited_for() {
    let larder = cloud();
    let (files, _) = larder.start().await;
    let id = put(&files, "file").await.attributes.id;
    let _broken_off = received(&files).await;
    let ledger = larder.ledger.another();
    let now = larder.environment().clock.now();
    let claim = ledger.claim(id, Purpose::Change, &larder.last_node(), now).await.unwrap();
    let before = (ledger.intents().await.unwrap(), ledger.claims().await.unwrap());
    let brief = Settings { is_brief: true, ..Settings::default() };
    let (brief, recovered) = Files::start(larder.parts(larder.ledger.another()), brief).await.unwrap();
    assert_eq!(recovered.waiting, 2);
    assert_eq!((ledger.intents().await.unwrap(), ledger.claims().await.unwrap()), before, "they are whose they were");
    drop(brief);
    let _next = larder.start().await;
    settled(&larder).await;
    until("the claim is settled", async || ledger.claims().await.unwrap().is_empty()).await;
    assert!(before.1.contains(&claim));
}

#[tokio::test]
async fn an_upload_whose_take_over_lost_its_answer_is_undone_while_the_node_lives() {
    let larder = cloud();
    let (files, _) = larder.start().await;
    let _broken_off = received(&files).await;
    let faults = Arc::new(Faults::default());
    faults.plan("fence_intent.done", "", ErrorKind::Indeterminate);
    let _next = larder.start_over(larder.ledger.another().with_steps(faults.clone())).await.unwrap();
    faults.heal();
    settled(&larder).await;
    assert_eq!(larder.keys(), Vec::<String>::new());
}

#[tokio::test]
async fn parts_of_an_upload_that_broke_off_go_with_it() {
    let larder = cloud();
    let (files, _) = larder.start().await;
    let _broken_off = received(&files).await;
    let ours = key(&larder.keys()[0]);
    let (disk, other) = (larder.stores[0].1.clone(), key("documents/theirs"));
    let beside = MemoryStore::open(&disk, "beside", NodeId::from_random([9; 16]));
    for key in [&ours, &ours, &other] {
        beside.multipart().unwrap().begin(key).await.unwrap();
    }
    let _next = larder.start().await;
    settled(&larder).await;
    let left = beside.multipart().unwrap().open_uploads(None).await.unwrap();
    assert_eq!(left.into_iter().map(|upload| upload.key).collect::<Vec<_>>(), [other]);
}

#[tokio::test]
async fn a_copy_of_the_database_clears_up_nothing_once_the_other_has_gone_on() {
    let larder = cloud();
    let (files, _) = larder.start().await;
    let slow = received(&files).await;
    let copy = Larder::over_disk(&larder);
    copy.ledger.restore(&larder.ledger.snapshot());
    // To it the upload is a dead node's.
    let (beside, recovered) = copy.start().await;
    assert_eq!(recovered.waiting, 1);
    put(&files, "meanwhile").await;
    larder.world.pass(Duration::from_secs(10));
    others_go_on().await;
    until("the copy finds out", async || matches!(beside.health(), Health::Fenced(_))).await;
    let file = files.create(&local(), slow, named("slow")).await.unwrap().file;
    // The lease, and the last look.
    for _ in 0..120 {
        larder.world.pass(Duration::from_secs(30));
        others_go_on().await;
    }
    assert_eq!(content(&files, file.attributes.id).await.unwrap(), b"contentcontentcontent");
}

#[tokio::test]
async fn a_long_upload_is_not_taken_for_an_abandoned_one() {
    let larder = cloud();
    let settings = Settings { look_every: Some(Duration::from_secs(30)), ..Settings::default() };
    let files = Files::start(larder.parts(larder.ledger.another()), settings).await.unwrap().0;
    let _slow = received(&files).await;
    let disk = larder.stores[0].1.clone();
    let beside = MemoryStore::open(&disk, "beside", NodeId::from_random([9; 16]));
    beside.multipart().unwrap().begin(&key(&larder.keys()[0])).await.unwrap();
    let clock = || larder_files::Clock::elapsed(&*larder.world);
    let days = clock() + Duration::from_secs(50 * 60 * 60);
    until("two days pass", async || clock() > days).await;
    assert_eq!(disk.open_uploads(), 1);
}

#[tokio::test]
async fn uploads_in_parts_that_no_intent_tells_of_end_a_day_later_if_they_are_ours() {
    let larder = cloud();
    let disk = larder.stores[0].1.clone();
    let beside = MemoryStore::open(&disk, "beside", NodeId::from_random([9; 16]));
    let ours = "documents/local/2026/11/21/15/file_local_20261121T153045_aaaaaaaaaaaaaaaa.txt";
    for name in [ours, "photos/theirs.jpg", ".larder/quarantine/file"] {
        beside.multipart().unwrap().begin(&key(name)).await.unwrap();
    }
    let settings = Settings { look_every: Some(Duration::from_secs(30)), ..Settings::default() };
    let _files = Files::start(larder.parts(larder.ledger.another()), settings).await.unwrap();
    let clock = || larder_files::Clock::elapsed(&*larder.world);
    let day = clock() + Duration::from_secs(23 * 60 * 60);
    until("most of a day passes", async || clock() > day).await;
    assert_eq!(disk.open_uploads(), 3, "they may be under way");
    until("what is Larder's ends", async || disk.open_uploads() == 1).await;
    let left = beside.multipart().unwrap().open_uploads(None).await.unwrap();
    assert_eq!(left[0].key, key("photos/theirs.jpg"));
}

#[tokio::test]
async fn who_was_fenced_before_its_record_is_refused_and_its_upload_finished_by_the_other() {
    let (larder, gate) = (cloud(), Gate::at("record"));
    let files = larder.start_with(gate.clone()).await;
    gate.close();
    let slow = files.clone();
    let slow = tokio::spawn(async move {
        let received = slow.receive(&local(), into_documents(), "slow".into()).await?;
        slow.create(&local(), received, named("slow")).await
    });
    gate.reached().await;
    let (next, recovered) = larder.start().await;
    assert_eq!(recovered.waiting, 1);
    settled(&larder).await;
    gate.open();
    let refused = slow.await.unwrap();
    assert!(matches!(refused, Err(Error::Indeterminate(_))), "{refused:?}");
    let listed = next.list(&local(), larder_files::ListFiles { limit: 10, ..Default::default() }).await.unwrap().items;
    assert_eq!(listed.len(), 1);
    assert_eq!(content(&next, listed[0].attributes.id).await.unwrap(), b"slow");
    assert_eq!(fsck(&next, LOOK).await.1, []);
}

#[tokio::test]
async fn fsck_takes_no_upload_under_way_for_an_orphan_however_long_it_takes() {
    let larder = cloud();
    let (files, _) = larder.start().await;
    let slow = received(&files).await;
    larder.world.pass(Duration::from_secs(25 * 60 * 60));
    let repair = FsckOptions { verify: true, repair: true };
    assert_eq!(fsck(&files, repair).await.1, []);
    let file = files.create(&local(), slow, named("slow")).await.unwrap().file;
    assert_eq!(content(&files, file.attributes.id).await.unwrap(), b"contentcontentcontent");
}
