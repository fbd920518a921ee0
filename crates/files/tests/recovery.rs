//! What a dead process left is settled by the next start, whatever step it died at, and twice over without harm.
#![allow(clippy::unwrap_used)]

mod support;

use larder_files::{
    Attributes, Error, FileId, Files, Health, Ledger, Patch, Recovered,
    ledger::{Entry, Purpose, Record},
};
use larder_storage_core::{Digests, ErrorKind, MemoryStore, NodeId, OpId, Pair, Part, PutOptions, Staging, Store};
use std::sync::Arc;
use support::*;

/// An installation with one file, and a process that is about to die.
async fn furnished() -> (Larder, Files, Attributes, MemoryStore) {
    let larder = Larder::new();
    let (files, _) = larder.start().await;
    let file = put(&files, "file").await.attributes;
    let dying = larder.store();
    (larder, files, file, dying)
}

/// Attributes of another file, or of another revision of this one.
fn attributes_of(like: &Attributes, id: FileId, revision: u64, content: &str) -> Attributes {
    let digests = Digests::of(content.as_bytes());
    let key = key(&like.key.as_str().replace("file_", &format!("r{revision}_")));
    let (size, sha256) = (content.len() as u64, larder_files::Sha256(digests.sha256));
    let version = like.version + revision;
    Attributes { id, revision, version, key, size, sha256, crc64nvme: digests.crc64nvme, ..like.clone() }
}

fn another(like: &Attributes) -> Attributes {
    let id = FileId(uuid::Uuid::from_u128(like.id.0.as_u128() + 1));
    attributes_of(like, id, 1, "content")
}

async fn stage(store: &MemoryStore, attributes: &Attributes, content: &str) -> Pair {
    let op = OpId::new("op").unwrap();
    store.stage(&op, Part::Bytes, content.to_owned().into()).await.unwrap();
    store.stage(&op, Part::Attributes, attributes.to_bytes().into()).await.unwrap();
    Pair { op, bytes: attributes.key.clone(), attributes: attributes.sidecar() }
}

#[tokio::test]
async fn an_upload_that_reached_its_commit_point_is_finished_and_indexed() {
    let (larder, _, file, dying) = furnished().await;
    let new = another(&file);
    let pair = stage(&dying, &new, "content").await;
    dying.publish(&[pair]).await.remove(0).unwrap();
    larder.disk.kill(&dying.node());
    let (files, recovered) = larder.start().await;
    assert_eq!((recovered.finished, recovered.undone, recovered.waiting), (1, 0, 0));
    assert_eq!(content(&files, new.id).await.unwrap(), b"content");
    assert_eq!(larder.disk.staged(), 0);
    assert_eq!(larder.start().await.1, larder_files::Recovered::default());
}

#[tokio::test]
async fn an_upload_that_died_before_its_attributes_were_published_leaves_nothing() {
    for bytes_published in [false, true] {
        let (larder, files, file, dying) = furnished().await;
        let before = larder.keys();
        let new = another(&file);
        let pair = stage(&dying, &new, "content").await;
        if bytes_published {
            // As a power cut between the two leaves it.
            dying.publish(std::slice::from_ref(&pair)).await.remove(0).unwrap();
            dying.delete(&pair.attributes).await.unwrap();
        }
        larder.disk.kill(&dying.node());
        drop(files);
        let (files, recovered) = larder.start().await;
        assert_eq!((recovered.finished, recovered.undone), (0, 1));
        assert!(matches!(files.describe(&local(), new.id).await, Err(Error::NotFound(_))));
        assert_eq!((larder.keys(), larder.disk.staged()), (before, 0));
    }
}

#[tokio::test]
async fn a_broken_leftover_never_stops_a_start() {
    for attributes in ["", "{", "rot", "{\"larder\":1}"] {
        let (larder, _, _, dying) = furnished().await;
        let op = OpId::new("op").unwrap();
        dying.stage(&op, Part::Bytes, "content".into()).await.unwrap();
        dying.stage(&op, Part::Attributes, attributes.into()).await.unwrap();
        dying.stage(&OpId::new("half").unwrap(), Part::Bytes, "content".into()).await.unwrap();
        larder.disk.kill(&dying.node());
        let (_, recovered) = larder.start().await;
        assert_eq!((recovered.finished, recovered.undone, larder.disk.staged()), (0, 2, 0));
    }
}

#[tokio::test]
async fn a_leftover_never_goes_over_newer_attributes_at_its_key() {
    let (larder, files, file, dying) = furnished().await;
    let new = another(&file);
    let pair = stage(&dying, &new, "content").await;
    dying.publish(&[pair]).await.remove(0).unwrap();
    let newer = Attributes { version: new.version + 5, name: "newer".into(), ..new.clone() };
    dying.put(&new.sidecar(), newer.to_bytes().into(), PutOptions::replace()).await.unwrap();
    larder.disk.kill(&dying.node());
    drop(files);
    let (files, _) = larder.start().await;
    assert_eq!(files.describe(&local(), new.id).await.unwrap().attributes, newer);
}

#[tokio::test]
async fn a_tombstone_beats_a_leftover_that_came_back() {
    let (larder, files, file, dying) = furnished().await;
    let pair = stage(&dying, &file, "file").await;
    let kept = [file.key.clone(), file.sidecar()].map(|key| (larder.bytes_at(&key).unwrap(), key));
    files.purge(&local(), file.id, None).await.unwrap();
    for (bytes, key) in kept {
        dying.put(&key, bytes.into(), PutOptions::create()).await.unwrap();
    }
    larder.disk.kill(&dying.node());
    let (files, recovered) = larder.start().await;
    assert_eq!((recovered.finished, recovered.undone), (0, 1));
    assert!(files.describe(&local(), file.id).await.is_err());
    assert!(larder.bytes_at(&pair.bytes).is_none() && larder.bytes_at(&pair.attributes).is_none());
}

#[tokio::test]
async fn a_damaged_sidecar_never_makes_recovery_take_back_what_was_answered() {
    let (larder, _, file, dying) = furnished().await;
    let new = another(&file);
    let pair = stage(&dying, &new, "content").await;
    dying.publish(&[pair]).await.remove(0).unwrap();
    larder.disk.damage(&new.sidecar(), "rot");
    larder.disk.kill(&dying.node());
    let (_, recovered) = larder.start().await;
    assert_eq!((recovered.finished, recovered.undone, recovered.waiting), (0, 0, 1));
    assert_eq!(larder.bytes_at(&new.key).unwrap(), "content");
}

#[tokio::test]
async fn a_dead_nodes_update_is_indexed_and_its_version_never_given_again() {
    let (larder, files, file, dying) = furnished().await;
    let ledger = larder.ledger.another();
    let claim = ledger.claim(file.id, Purpose::Change, &dying.node(), file.created_at).await.unwrap();
    let updated = Attributes { version: claim.version, name: "updated".into(), ..file.clone() };
    dying.put(&file.sidecar(), updated.to_bytes().into(), PutOptions::replace()).await.unwrap();
    larder.disk.kill(&dying.node());
    drop(files);
    let (files, recovered) = larder.start().await;
    assert_eq!((recovered.settled, larder.ledger.claims().await.unwrap().len()), (1, 0));
    assert_eq!(files.describe(&local(), file.id).await.unwrap().attributes, updated);
    assert!(files.remove(&local(), file.id, None).await.unwrap().attributes.version > updated.version);
}

#[tokio::test]
async fn a_dead_nodes_claim_without_a_trace_is_released() {
    let (larder, files, file, dying) = furnished().await;
    let ledger = larder.ledger.another();
    ledger.claim(file.id, Purpose::Change, &dying.node(), file.created_at).await.unwrap();
    larder.disk.kill(&dying.node());
    let patch = Patch { name: Some("live".into()), ..Patch::default() };
    let updated = files.update(&local(), file.id, patch, None).await.unwrap();
    assert_eq!(updated.attributes.name, "live", "a live node settles the dead one's claim by itself");
}

#[tokio::test]
async fn recorded_bytes_that_lost_their_attributes_get_them_back() {
    for version in [1, 5] {
        let (larder, files, file, dying) = furnished().await;
        let new = another(&file);
        let pair = stage(&dying, &new, "content").await;
        dying.publish(std::slice::from_ref(&pair)).await.remove(0).unwrap();
        let known = Attributes { version, ..new.clone() };
        let entry = Some(Entry::Attributes { attributes: Box::new(known.clone()), copies: vec![] });
        larder.ledger.another().record(vec![Record { entry, closes: None, settles: None }]).await.remove(0).unwrap();
        dying.delete(&pair.attributes).await.unwrap();
        larder.disk.kill(&dying.node());
        drop(files);
        let (files, recovered) = larder.start().await;
        assert_eq!((recovered.finished, recovered.undone, recovered.waiting), (1, 0, 0));
        assert_eq!(larder.bytes_at(&pair.attributes).unwrap(), known.to_bytes(), "as they were known last");
        assert_eq!(content(&files, new.id).await.unwrap(), b"content");
    }
}

/// What a node left that died behind the commit point of a new revision: its claim, and the pair.
async fn left_a_revision() -> (Larder, Attributes, Arc<Faults>) {
    let disk = Arc::<Faults>::default();
    let larder = Larder::over(staging_with(disk.clone()));
    let (files, _) = larder.start().await;
    let (file, dying) = (put(&files, "file").await.attributes, larder.store());
    let claim = larder.ledger.another().claim(file.id, Purpose::Change, &dying.node(), file.created_at).await.unwrap();
    let second = Attributes { version: claim.version, ..attributes_of(&file, file.id, claim.revision, "second") };
    let pair = stage(&dying, &second, "second").await;
    dying.publish(&[pair]).await.remove(0).unwrap();
    larder.disk.kill(&dying.node());
    (larder, second, disk)
}

/// The start goes on, though it could settle nothing; nobody is told of the file's next revision before it is.
async fn assert_waits(larder: &Larder, files: &Files, recovered: Recovered, second: &Attributes) {
    assert_eq!((recovered.finished, recovered.undone, recovered.settled, recovered.waiting), (0, 0, 0, 2));
    assert_eq!(larder.ledger.claims().await.unwrap().len(), 1, "a claim is not settled without its leftover");
    assert_eq!(files.describe(&local(), second.id).await.unwrap().attributes.revision, 1);
    assert!(matches!(files.health(), Health::Degraded(_)));
}

async fn assert_settled(larder: &Larder, files: &Files, second: &Attributes) {
    until("the node is ready", async || files.health() == Health::Ready).await;
    assert_eq!(files.describe(&local(), second.id).await.unwrap().attributes, *second);
    assert_eq!((larder.disk.staged(), larder.ledger.claims().await.unwrap().len()), (0, 0));
    assert_eq!(content(files, second.id).await.unwrap(), b"second");
}

#[tokio::test]
async fn a_leftover_that_the_ledger_refused_is_tried_until_it_is_settled_and_its_claim_waits_for_it() {
    for step in ["tombstone", "record"] {
        let ((larder, second, _), ledger) = (left_a_revision().await, Arc::<Faults>::default());
        ledger.plan(step, "", ErrorKind::Unavailable);
        let handle = larder.ledger.another().with_steps(ledger.clone());
        let (files, recovered) = larder.start_over(handle).await.unwrap();
        assert_waits(&larder, &files, recovered, &second).await;
        ledger.heal();
        assert_settled(&larder, &files, &second).await;
    }
}

#[tokio::test]
async fn a_leftover_that_finds_no_room_or_cannot_be_looked_for_stops_no_start() {
    for (step, kind) in [("finish.durable", ErrorKind::Full), ("leftovers.taken", ErrorKind::Unavailable)] {
        let (larder, second, disk) = left_a_revision().await;
        disk.plan(step, "", kind);
        let (files, recovered) = larder.start().await;
        assert_waits(&larder, &files, recovered, &second).await;
        disk.heal();
        assert_settled(&larder, &files, &second).await;
    }
}

#[tokio::test]
async fn an_upload_that_could_not_be_looked_for_at_the_start_is_finished_once_it_can_be() {
    let disk = Arc::<Faults>::default();
    let larder = Larder::over(staging_with(disk.clone()));
    let (files, _) = larder.start().await;
    let (new, dying) = (another(&put(&files, "file").await.attributes), larder.store());
    let pair = stage(&dying, &new, "content").await;
    dying.publish(&[pair]).await.remove(0).unwrap();
    larder.disk.kill(&dying.node());
    disk.plan("leftovers.taken", "", ErrorKind::Unavailable);
    let (files, recovered) = larder.start().await;
    assert_eq!((recovered.finished, recovered.waiting), (0, 1));
    disk.heal();
    until("the node is ready", async || files.health() == Health::Ready).await;
    assert_eq!(content(&files, new.id).await.unwrap(), b"content");
}

#[tokio::test]
async fn a_dead_nodes_update_is_settled_on_a_disk_without_room() {
    let disk = Arc::<Faults>::default();
    let larder = Larder::over(staging_with(disk.clone()));
    let (files, _) = larder.start().await;
    let (file, dying) = (put(&files, "file").await.attributes, larder.store());
    let claim = larder.ledger.another().claim(file.id, Purpose::Change, &dying.node(), file.created_at).await.unwrap();
    let updated = Attributes { version: claim.version, name: "updated".into(), ..file.clone() };
    dying.put(&file.sidecar(), updated.to_bytes().into(), PutOptions::replace()).await.unwrap();
    larder.disk.kill(&dying.node());
    disk.plan("put.written", "", ErrorKind::Full);
    let (files, recovered) = larder.start().await;
    assert_eq!((recovered.settled, recovered.waiting), (1, 0));
    assert_eq!(files.describe(&local(), file.id).await.unwrap().attributes, updated);
}

#[tokio::test]
async fn a_ledger_without_room_makes_claims_and_keys_of_the_dead_wait_and_stops_no_start() {
    let (larder, _, file, _) = furnished().await;
    let (ledger, faults, dead) = (larder.ledger.another(), Arc::<Faults>::default(), NodeId::new("dead").unwrap());
    ledger.claim(file.id, Purpose::Change, &dead, file.created_at).await.unwrap();
    ledger.reserve(larder_files::Sha256([1; 32]), &dead, file.created_at).await.unwrap();
    for step in ["take_over", "record", "unreserve_all"] {
        faults.plan(step, "", ErrorKind::Full);
    }
    let (files, recovered) = larder.start_over(ledger.another().with_steps(faults.clone())).await.unwrap();
    assert_eq!((recovered.settled, recovered.waiting), (0, 2));
    faults.heal();
    until("the node is ready", async || files.health() == Health::Ready).await;
    assert_eq!((ledger.claims().await.unwrap(), ledger.nodes().await.unwrap()), (vec![], vec![]));
}

#[tokio::test]
async fn a_dead_nodes_new_revision_is_found_by_a_live_node_that_needs_the_file() {
    let (larder, files, file, dying) = furnished().await;
    let ledger = larder.ledger.another();
    let claim = ledger.claim(file.id, Purpose::Change, &dying.node(), file.created_at).await.unwrap();
    let second = Attributes { version: claim.version, ..attributes_of(&file, file.id, claim.revision, "second") };
    let pair = stage(&dying, &second, "second").await;
    dying.publish(&[pair]).await.remove(0).unwrap();
    larder.disk.kill(&dying.node());
    let patch = Patch { name: Some("live".into()), ..Patch::default() };
    let updated = files.update(&local(), file.id, patch, None).await.unwrap().attributes;
    assert_eq!((updated.revision, updated.name.as_str()), (2, "live"));
    assert_eq!(content(&files, file.id).await.unwrap(), b"second");
}

#[tokio::test]
async fn a_purge_that_was_begun_is_only_ever_finished() {
    let (larder, files, file, dying) = furnished().await;
    let ledger = larder.ledger.another();
    ledger.claim(file.id, Purpose::Purge, &dying.node(), file.created_at).await.unwrap();
    larder.disk.kill(&dying.node());
    drop(files);
    let (files, recovered) = larder.start().await;
    assert_eq!(recovered.settled, 1);
    assert!(files.describe(&local(), file.id).await.is_err());
    assert!(larder.ledger.tombstone(file.id, None).await.unwrap().is_some());
    assert_eq!(larder.keys(), Vec::<String>::new());
}

#[tokio::test]
async fn a_live_nodes_claims_and_uploads_are_left_alone() {
    let (larder, _, file, living) = furnished().await;
    let ledger = larder.ledger.another();
    ledger.claim(file.id, Purpose::Change, &living.node(), file.created_at).await.unwrap();
    stage(&living, &another(&file), "content").await;
    let (_, recovered) = larder.start().await;
    assert_eq!(recovered, larder_files::Recovered::default());
    assert_eq!((larder.ledger.claims().await.unwrap().len(), larder.disk.staged()), (1, 1));
}

#[tokio::test]
async fn a_claim_waits_while_the_store_does_not_show_itself() {
    let (larder, files, file, _) = furnished().await;
    let dead = NodeId::new("dead").unwrap();
    larder.ledger.another().claim(file.id, Purpose::Change, &dead, file.created_at).await.unwrap();
    let marker = key(".larder/instance.json");
    let shown = larder.bytes_at(&marker).unwrap();
    larder.store().delete(&marker).await.unwrap();
    larder.store().delete(&file.sidecar()).await.unwrap();
    let error = files.remove(&local(), file.id, None).await.unwrap_err();
    assert!(matches!(error, Error::StoreUnavailable(_)), "an unmounted disk is no absence: {error}");
    assert_eq!(larder.ledger.claims().await.unwrap().len(), 1);
    larder.store().put(&marker, shown.into(), PutOptions::create()).await.unwrap();
    // The node that found it has taken it over, and settles it by itself once the store is back.
    #[expect(clippy::disallowed_methods, reason = "the test is no part of a simulation")]
    while !larder.ledger.claims().await.unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_dead_nodes_reservations_are_given_up() {
    let (larder, _, _, _) = furnished().await;
    let (ledger, dead) = (larder.ledger.another(), NodeId::new("dead").unwrap());
    let at = larder_files::Timestamp::from_millis(0);
    ledger.reserve(larder_files::Sha256([1; 32]), &dead, at).await.unwrap();
    assert!(ledger.nodes().await.unwrap().contains(&dead));
    larder.start().await;
    assert!(!ledger.nodes().await.unwrap().contains(&dead));
}

#[tokio::test]
async fn a_claim_whose_take_over_lost_its_answer_is_settled_while_the_node_lives() {
    let (larder, files, file, _) = furnished().await;
    drop(files);
    let dead = NodeId::new("dead").unwrap();
    let now = larder.environment().clock.now();
    larder.ledger.claim(file.id, Purpose::Change, &dead, now).await.unwrap();
    let faults = Arc::new(Faults::default());
    faults.plan("take_over.done", "", ErrorKind::Indeterminate);
    let files = larder.start_with(faults.clone()).await;
    assert_ne!(larder.ledger.claim_of(file.id).await.unwrap().unwrap().node, dead, "it was taken over");
    faults.heal();
    until("it is closed", async || larder.ledger.claims().await.unwrap().is_empty()).await;
    assert!(
        files.update(&local(), file.id, Patch { name: Some("new".into()), ..Patch::default() }, None).await.is_ok()
    );
}

#[tokio::test]
async fn what_an_upload_left_on_two_stores_is_settled_on_each() {
    let (on_a, on_b) = (Arc::<Faults>::default(), Arc::<Faults>::default());
    let larder = Larder::over_all([("a", staging_with(on_a.clone())), ("b", staging_with(on_b.clone()))]);
    let (files, _) = larder.start().await;
    let new = another(&put(&files, "file").await.attributes);
    let node = NodeId::new("dying").unwrap();
    // The first had no room for it; the second has published it, and not recorded it.
    let [on_first, on_second] =
        [0, 1].map(|at| MemoryStore::open(&larder.stores[at].1, larder.stores[at].0.as_str(), node.clone()));
    stage(&on_first, &new, "content").await;
    let pair = stage(&on_second, &new, "content").await;
    on_second.publish(&[pair]).await.remove(0).unwrap();
    larder.stores.iter().for_each(|(_, disk, _)| disk.kill(&node));
    on_a.plan("leftovers.taken", "", ErrorKind::Unavailable);
    on_b.plan("finish.durable", "", ErrorKind::Unavailable);
    let (files, recovered) = larder.start().await;
    assert_eq!((recovered.finished, recovered.undone), (0, 0));
    on_a.heal();
    until("it is settled on the first", async || larder.stores[0].1.staged() == 0).await;
    on_b.heal();
    until("the node is ready", async || files.health() == Health::Ready).await;
    assert_eq!(content(&files, new.id).await.unwrap(), b"content");
}
