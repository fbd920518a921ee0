//! Nodes beside each other: a copy of the database is found out, what is under way is nothing wrong, what the dead left is settled by
//! the living.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test has a runtime of its own, and may unwrap")]

mod support;

use larder_files::{
    Attributes, Error, Files, FsckOptions, Health, Ledger, Patch, Settings, Sha256, StoreMode, Timestamp,
    ledger::{MemoryLedger, Purpose, Record},
};
use larder_storage_core::{ErrorKind, MemoryOptions, PutOptions, Staging, Store};
use std::{sync::Arc, time::Duration};
use support::*;

const LOOK: FsckOptions = FsckOptions { verify: false, repair: false };
const EVERY: Duration = Duration::from_secs(30);

async fn rename(files: &Files, id: larder_files::FileId) -> Result<(), Error> {
    files.update(&local(), id, Patch { name: Some("new".into()), ..Patch::default() }, None).await.map(drop)
}

fn is_fenced(answer: &Result<(), Error>) -> bool {
    matches!(answer, Err(Error::Fenced(_)))
}

/// The database of a data directory that was copied.
fn copied(larder: &Larder) -> MemoryLedger {
    let copy = MemoryLedger::new();
    copy.restore(&larder.ledger.snapshot());
    copy
}

fn mark_on_disk(larder: &Larder) -> u64 {
    let text = larder.bytes_at(&key(".larder/mark")).unwrap();
    std::str::from_utf8(&text).unwrap().trim().parse().unwrap()
}

async fn mark_of(ledger: &dyn Ledger) -> u64 {
    ledger.identity().await.unwrap().unwrap().mark
}

#[tokio::test]
async fn a_copy_of_the_database_is_found_out_at_its_first_change() {
    for starts in [1, 2] {
        let larder = Larder::new();
        let first = larder.start().await.0;
        let id = put(&first, "file").await.attributes.id;
        first.stop().await;
        let copy = copied(&larder);
        let served = larder.start_over(copy.another()).await.unwrap().0;
        for n in 0..starts {
            put(&larder.start().await.0, &format!("since {n}")).await;
        }
        assert!(mark_on_disk(&larder) >= mark_of(&copy).await + starts, "the original has gone on");
        let answer = rename(&served, id).await;
        assert!(is_fenced(&answer), "{starts} starts: {answer:?}");
        assert!(matches!(served.health(), Health::Fenced(_)));
        assert!(rename(&larder.start().await.0, id).await.is_ok(), "the original is not kept from anything");
    }
}

/// A node over the database and one over a copy of it, both of which have made changes; and a file.
async fn both_serving(larder: &Larder) -> (Files, Files, Attributes) {
    let files = larder.start().await.0;
    let file = put(&files, "file").await.attributes;
    let other = put(&files, "other").await.attributes.id;
    // Its mark is written for now.
    until("the mark was written", async || mark_on_disk(larder) >= 2).await;
    let copy = larder.start_over(copied(larder)).await.unwrap().0;
    rename(&copy, other).await.unwrap();
    (files, copy, file)
}

#[tokio::test]
async fn a_copy_of_the_database_never_writes_again_what_was_purged() {
    let larder = Larder::new();
    let (files, copy, file) = both_serving(&larder).await;
    files.purge(&local(), file.id, None).await.unwrap();
    let answer = rename(&copy, file.id).await;
    assert!(matches!(&answer, Err(Error::Fenced(why)) if why.contains("purged")), "{answer:?}");
    assert!(larder.bytes_at(&file.sidecar()).is_none());
    assert!(is_fenced(&rename(&copy, file.id).await), "it takes no more changes");
}

#[tokio::test]
async fn a_copy_of_the_database_never_writes_again_a_revision_that_was_purged() {
    let larder = Larder::new();
    let (files, copy, first) = both_serving(&larder).await;
    replace(&files, first.id, "second").await;
    files.purge_revision(&local(), first.id, first.revision, None).await.unwrap();
    let answer = rename(&copy, first.id).await;
    assert!(matches!(&answer, Err(Error::Fenced(why)) if why.contains("purged")), "{answer:?}");
    assert!(larder.bytes_at(&first.sidecar()).is_none());
}

#[tokio::test]
async fn a_sidecar_that_is_only_missing_is_written_again_by_a_change() {
    let larder = Larder::new();
    let files = larder.start().await.0;
    let file = put(&files, "file").await.attributes;
    let purged = put(&files, "purged").await.attributes.id;
    files.purge(&local(), purged, None).await.unwrap();
    larder.store().delete(&file.sidecar()).await.unwrap();
    rename(&files, file.id).await.unwrap();
    assert!(larder.bytes_at(&file.sidecar()).is_some());
}

/// Runs `fsck` on another node while the ledger has yet to be told of what `change` has written.
async fn findings_amid(larder: &Larder, change: impl AsyncFnOnce(Files)) -> Vec<larder_files::Finding> {
    let gate = Gate::at("record");
    let busy = larder.start_with(gate.clone()).await;
    let other = larder.start().await.0;
    gate.close();
    let ((), findings) = tokio::join!(change(busy), async {
        gate.reached().await;
        let findings = fsck(&other, LOOK).await.1;
        gate.open();
        findings
    });
    findings
}

#[tokio::test]
async fn a_purge_under_way_is_nothing_wrong() {
    let larder = Larder::new();
    let file = put(&larder.start().await.0, "file").await.attributes;
    let purge = async |files: Files| files.purge(&local(), file.id, None).await.unwrap();
    assert_eq!(findings_amid(&larder, purge).await, []);
    assert_eq!(larder.count_below(".larder/tombstones/"), 1);
}

#[tokio::test]
async fn a_user_who_is_being_added_is_nothing_wrong() {
    let (larder, gate) = (Larder::new(), Gate::at("record"));
    let busy = larder.start_with(gate.clone()).await;
    // The first pause before what looks wrong is looked at again.
    let alarm = Alarm::of(&larder, Duration::from_millis(50));
    let mut parts = larder.parts(larder.ledger.another());
    parts.environment.clock = alarm.clone();
    let other = Files::start(parts, Settings::default()).await.unwrap().0;
    gate.close();
    let (_, findings) = tokio::join!(user(&busy, "ivanov"), async {
        gate.reached().await;
        let check = tokio::spawn(async move { fsck(&other, LOOK).await.1 });
        until("it looks again, or is through", async || alarm.bell.asleep() > 0 || check.is_finished()).await;
        gate.open();
        until("she is added", async || !larder.ledger.users().await.unwrap().is_empty()).await;
        alarm.bell.ring();
        check.await.unwrap()
    });
    assert_eq!(findings, []);
}

#[tokio::test]
async fn a_node_that_ends_in_good_order_meanwhile_is_nothing_wrong() {
    for step in ["claims.done", "nodes.done"] {
        let larder = Larder::new();
        let file = put(&larder.start().await.0, "file").await.attributes;
        let (ending, ledger) = (larder.store(), larder.ledger.another());
        let claim = match step {
            "claims.done" => {
                Some(ledger.claim(file.id, Purpose::Change, &ending.node(), file.created_at).await.unwrap())
            }
            _ => {
                ledger.reserve(Sha256([1; 32]), &ending.node(), Timestamp::from_millis(0)).await.unwrap();
                None
            }
        };
        let gate = Gate::at(step);
        let files = larder.start_with(gate.clone()).await;
        gate.close();
        let ((_, findings), ()) = tokio::join!(fsck(&files, LOOK), async {
            gate.reached().await;
            match claim {
                Some(claim) => {
                    let closes = Record { closes: Some(claim.id), ..Record::default() };
                    ledger.record(vec![closes]).await.remove(0).map(drop).unwrap();
                }
                None => ledger.unreserve_all(&ending.node()).await.unwrap(),
            }
            larder.disk.kill(&ending.node());
            gate.open();
        });
        assert_eq!(findings, [], "{step}");
    }
}

/// A node that looks around each time the bell rings.
async fn looking_around(larder: &Larder) -> (Files, Arc<Alarm>) {
    looking_around_over(larder, larder.ledger.another()).await
}

async fn looking_around_over(larder: &Larder, ledger: MemoryLedger) -> (Files, Arc<Alarm>) {
    let alarm = Alarm::of(larder, EVERY);
    let mut parts = larder.parts(ledger);
    parts.environment.clock = alarm.clone();
    let settings = Settings { look_every: Some(EVERY), copies_at_once: 0, ..Settings::default() };
    let files = Files::start(parts, settings).await.unwrap().0;
    until("it waits for its next look", async || alarm.bell.asleep() == 1).await;
    (files, alarm)
}

/// What a process leaves that is killed amid a change, with an idempotency key.
async fn die_amid_a_change(larder: &Larder, file: &Attributes) -> Attributes {
    let dying = larder.store();
    let claim = larder.ledger.claim(file.id, Purpose::Change, &dying.node(), file.created_at).await.unwrap();
    larder.ledger.reserve(Sha256([1; 32]), &dying.node(), Timestamp::from_millis(0)).await.unwrap();
    let updated = Attributes { version: claim.version, name: "updated".into(), ..file.clone() };
    dying.put(&file.sidecar(), updated.to_bytes().into(), PutOptions::replace()).await.unwrap();
    larder.disk.kill(&dying.node());
    updated
}

#[tokio::test]
async fn what_a_killed_process_left_is_settled_by_a_node_that_lives() {
    let larder = Larder::new();
    let (files, alarm) = looking_around(&larder).await;
    let mut file = put(&files, "file").await.attributes;
    for look in 1..=3 {
        file = die_amid_a_change(&larder, &file).await;
        assert_ne!(files.describe(&local(), file.id).await.unwrap().attributes, file);
        alarm.bell.ring();
        until("it looked", async || alarm.bell.asleep() == look + 1).await;
        assert_eq!(files.describe(&local(), file.id).await.unwrap().attributes, file);
        assert!(larder.ledger.claims().await.unwrap().is_empty() && larder.ledger.nodes().await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_look_settles_what_the_dead_left_while_this_node_has_something_of_its_own_to_settle() {
    let faults = Arc::<Faults>::default();
    let larder = Larder::over(staging_with(faults.clone()));
    let (files, alarm) = looking_around(&larder).await;
    let [own, anothers] = [put(&files, "own").await.attributes, put(&files, "another's").await.attributes];
    faults.plan("put.written", ".larder/tombstones/", ErrorKind::Unavailable);
    assert!(files.purge(&local(), own.id, None).await.is_err());
    let changed = die_amid_a_change(&larder, &anothers).await;
    alarm.bell.ring();
    until("it looked", async || alarm.bell.asleep() == 2).await;
    assert_eq!(files.describe(&local(), anothers.id).await.unwrap().attributes, changed);
    assert!(matches!(files.health(), Health::Degraded(_)));
    faults.heal();
    until("its own is settled", async || files.health() == Health::Ready).await;
}

/// What a store that can't be reached does not do.
const AWAY: [&str; 6] = ["get", "head", "list.item", "put.written", "stage.begun", "leftovers.taken"];

#[tokio::test]
async fn while_a_store_is_away_what_the_dead_left_on_another_is_finished_and_that_one_is_watched() {
    let [away, there] = [Arc::<Faults>::default(), Arc::<Faults>::default()];
    let larder = Larder::over_all([("a", staging_with(away.clone())), ("b", staging_with(there.clone()))]);
    let (files, alarm) = looking_around(&larder).await;
    let (gate, ledger) = (Gate::at("record"), larder.ledger.another());
    let mut settings = Settings { placement: vec![larder.stores[1].0.clone()], ..Settings::default() };
    settings.look_every = None;
    let twin = Files::start(larder.parts(ledger.with_steps(gate.clone())), settings).await.unwrap().0;
    let node = larder.last_node();
    put(&twin, "marks").await;
    AWAY.into_iter().for_each(|step| away.plan(step, "", ErrorKind::Unavailable));
    for look in 2..=3 {
        alarm.bell.ring();
        until("it looked", async || alarm.bell.asleep() == look).await;
    }
    gate.close();
    tokio::spawn(async move { put(&twin, "left").await });
    gate.reached().await;
    larder.stores.iter().for_each(|(_, disk, _)| disk.kill(&node));
    until("it is finished", async || files.named(&local(), "documents", None, "left").await.is_ok()).await;
    AWAY.into_iter().for_each(|step| there.plan(step, "", ErrorKind::Unavailable));
    alarm.bell.ring();
    until("it looked", async || alarm.bell.asleep() == 4).await;
    there.heal();
    away.heal();
    alarm.bell.ring();
    until("all is well again", async || files.health() == Health::Ready).await;
}

#[tokio::test]
async fn a_store_that_takes_no_changes_is_seen_to_go_away_and_to_come_back() {
    for mode in [StoreMode::Rw, StoreMode::Ro] {
        let faults = Arc::<Faults>::default();
        let mut larder = Larder::over_all([("a", MemoryOptions::with_staging()), ("b", staging_with(faults.clone()))]);
        larder.start().await;
        larder.stores[1].2 = mode;
        let (files, alarm) = looking_around(&larder).await;
        faults.plan("get", "", ErrorKind::Unavailable);
        alarm.bell.ring();
        until("it looked", async || alarm.bell.asleep() == 2).await;
        assert_eq!(files.health(), Health::Degraded("away: the store `b`".into()));
        faults.heal();
        alarm.bell.ring();
        until("it looked", async || alarm.bell.asleep() == 3).await;
        assert_eq!(files.health(), Health::Ready);
    }
}

#[tokio::test]
async fn a_mark_that_could_not_be_written_is_tried_again() {
    let faults = Arc::<Faults>::default();
    let larder = Larder::over(staging_with(faults.clone()));
    let files = larder.start().await.0;
    put(&files, "first").await;
    faults.plan("put.written", ".larder/mark", ErrorKind::Unavailable);
    let before = mark_of(&larder.ledger).await;
    put(&files, "second").await;
    until("it was tried", async || mark_of(&larder.ledger).await > before).await;
    faults.heal();
    until("it is written", async || mark_on_disk(&larder) == mark_of(&larder.ledger).await).await;
}

#[tokio::test]
async fn a_node_that_has_ended_looks_for_nothing_more() {
    for stopped in [false, true] {
        let larder = Larder::new();
        let file = put(&larder.start().await.0, "file").await.attributes;
        let (files, alarm) = looking_around(&larder).await;
        die_amid_a_change(&larder, &file).await;
        if stopped {
            files.stop().await;
        } else {
            drop(files);
        }
        let bell = Arc::downgrade(&alarm.bell);
        alarm.bell.ring();
        drop(alarm);
        if !stopped {
            until("nothing of the node is left", async || bell.upgrade().is_none()).await;
        }
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
        assert_eq!(larder.ledger.claims().await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn a_copy_of_the_database_that_only_reads_is_found_out_too_and_settles_nothing() {
    let larder = Larder::new();
    let file = put(&larder.start().await.0, "file").await.attributes;
    let copy = copied(&larder);
    let (served, alarm) = looking_around_over(&larder, copy.another()).await;
    put(&larder.start().await.0, "since").await;
    copy.claim(file.id, Purpose::Change, &larder_storage_core::NodeId::new("dead").unwrap(), file.created_at)
        .await
        .unwrap();
    assert_eq!(served.health(), Health::Ready);
    alarm.bell.ring();
    until("it is fenced", async || matches!(served.health(), Health::Fenced(_))).await;
    assert_eq!(copy.claims().await.unwrap().len(), 1);
}
