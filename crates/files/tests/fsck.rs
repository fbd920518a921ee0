//! Each thing that can be wrong is called by its name, and mended; what only looks wrong is not reported.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test has a runtime of its own, and may unwrap")]

mod support;

use futures_util::future::join_all;
use larder_files::{
    Attributes, Files, FindingKind as Kind, FsckOptions, Ledger, Patch, Settings,
    ledger::{CopyState, Entry, Purpose, Record},
};
use larder_storage_core::{Key, MemoryOptions, NodeId, OpId, Part, PutOptions, Staging, Store};
use std::{sync::Arc, time::Duration};
use support::*;

const LOOK: FsckOptions = FsckOptions { verify: false, repair: false };
const VERIFY: FsckOptions = FsckOptions { verify: true, repair: false };
const REPAIR: FsckOptions = FsckOptions { verify: true, repair: true };

async fn furnished() -> (Larder, Files, Attributes) {
    let larder = Larder::new();
    let (files, _) = larder.start().await;
    put(&files, "bystander").await;
    let victim = put(&files, "victim").await.attributes;
    (larder, files, victim)
}

/// What was planted is found as `kinds`, mended by one repair, and gone after it; nobody else's content suffers.
async fn found_and_mended(larder: &Larder, files: &Files, expected: &[Kind]) {
    let (summary, findings) = fsck(files, VERIFY).await;
    assert_eq!(kinds(&findings), expected, "{findings:#?}");
    assert_eq!((summary.findings, summary.repaired), (expected.len() as u64, 0));
    let (summary, findings) = fsck(files, REPAIR).await;
    assert_eq!(kinds(&findings), expected, "{findings:#?}");
    assert_eq!((summary.repaired, summary.lost), (expected.len() as u64, 0), "{findings:#?}");
    let (summary, findings) = fsck(files, VERIFY).await;
    assert_eq!(findings, []);
    assert_eq!(summary.findings, 0);
    let mut again = Larder::over_disk(larder);
    let before = dump(files).await;
    again.rebuild().await;
    assert_eq!(dump(&again.start().await.0).await, before, "what was mended is what a rebuild brings back");
}

async fn write(larder: &Larder, key: &Key, bytes: impl Into<bytes::Bytes>) {
    larder.store().put(key, bytes.into().into(), PutOptions::replace()).await.unwrap();
}

fn raised(attributes: &Attributes, name: &str) -> Attributes {
    Attributes { version: attributes.version + 1, name: name.into(), ..attributes.clone() }
}

#[tokio::test]
async fn a_sound_installation_has_no_findings() {
    let (_larder, files, victim) = furnished().await;
    replace(&files, victim.id, "second").await;
    files.update(&local(), victim.id, Patch { name: Some("new".into()), ..Patch::default() }, None).await.unwrap();
    let purged = put(&files, "purged").await.attributes.id;
    files.purge(&local(), purged, None).await.unwrap();
    let (summary, findings) = fsck(&files, VERIFY).await;
    assert_eq!(findings, []);
    assert_eq!((summary.files, summary.bytes_verified), (2, 9 + 6 + 6));
}

#[tokio::test]
async fn bytes_without_attributes_that_nobody_has_staged_are_orphan_bytes_and_moved_at_once() {
    let (larder, files, victim) = furnished().await;
    let orphan = key(&victim.key.as_str().replace("victim", "orphan"));
    write(&larder, &orphan, "orphan").await;
    found_and_mended(&larder, &files, &[Kind::OrphanBytes]).await;
    assert_eq!(larder.bytes_at(&key(&format!(".larder/quarantine/{orphan}"))).unwrap(), "orphan");
}

#[tokio::test]
async fn where_nothing_is_staged_bytes_without_attributes_are_an_orphans_after_a_day() {
    let larder = Larder::over(MemoryOptions::without_staging());
    let (files, _) = larder.start().await;
    let orphan = key(&put(&files, "file").await.attributes.key.as_str().replace("file", "orphan"));
    write(&larder, &orphan, "orphan").await;
    larder.world.pass(Duration::from_secs(23 * 60 * 60));
    assert_eq!(fsck(&files, REPAIR).await.1, [], "an upload may still give them attributes");
    larder.world.pass(Duration::from_secs(2 * 60 * 60));
    found_and_mended(&larder, &files, &[Kind::OrphanBytes]).await;
}

#[tokio::test]
async fn what_comes_back_of_a_purged_file_is_orphan_attributes() {
    let (larder, files, victim) = furnished().await;
    let kept = [victim.key.clone(), victim.sidecar()].map(|key| (larder.bytes_at(&key).unwrap(), key));
    files.purge(&local(), victim.id, None).await.unwrap();
    for (bytes, key) in kept {
        write(&larder, &key, bytes).await;
    }
    found_and_mended(&larder, &files, &[Kind::OrphanAttributes]).await;
    assert!(!larder.keys().iter().any(|key| key.contains("victim")));
}

#[tokio::test]
async fn a_sidecar_that_is_gone_is_written_again_from_the_row() {
    let (larder, files, victim) = furnished().await;
    larder.store().delete(&victim.sidecar()).await.unwrap();
    found_and_mended(&larder, &files, &[Kind::AttributesMissing]).await;
    assert_eq!(larder.bytes_at(&victim.sidecar()).unwrap(), victim.to_bytes());
}

#[tokio::test]
async fn a_sidecar_of_an_old_revision_is_written_again_and_never_wins() {
    let (larder, files, victim) = furnished().await;
    let new = replace(&files, victim.id, "second").await.attributes;
    larder.store().delete(&victim.sidecar()).await.unwrap();
    found_and_mended(&larder, &files, &[Kind::AttributesMissing]).await;
    assert_eq!(files.describe(&local(), victim.id).await.unwrap().attributes, new);
}

#[tokio::test]
async fn a_damaged_sidecar_of_a_known_file_is_written_again() {
    let (larder, files, victim) = furnished().await;
    larder.disk.damage(&victim.sidecar(), "rot");
    found_and_mended(&larder, &files, &[Kind::AttributesBroken]).await;
    assert_eq!(larder.bytes_at(&victim.sidecar()).unwrap(), victim.to_bytes());
}

#[tokio::test]
async fn a_damaged_sidecar_of_an_unknown_file_goes_to_quarantine_with_its_bytes() {
    let (larder, files, victim) = furnished().await;
    let orphan = key(&victim.key.as_str().replace("victim", "orphan"));
    write(&larder, &orphan, "orphan").await;
    write(&larder, &orphan.with_suffix(Attributes::SUFFIX).unwrap(), "rot").await;
    found_and_mended(&larder, &files, &[Kind::AttributesBroken]).await;
}

#[tokio::test]
async fn two_different_attributes_of_one_version_are_a_conflict_whichever_wins() {
    for name in ["a", "b", "c", "d", "e", "f"] {
        let (larder, files, victim) = furnished().await;
        let twin = Attributes { name: name.into(), ..victim.clone() };
        let overlay = format!(".larder/attributes/{}.{}.{}.json", victim.id, victim.epoch, victim.version);
        write(&larder, &key(&overlay), twin.to_bytes()).await;
        found_and_mended(&larder, &files, &[Kind::AttributesConflict]).await;
        let winner = if twin.rank() > victim.rank() { twin } else { victim };
        assert_eq!(files.describe(&local(), winner.id).await.unwrap().attributes, winner);
    }
}

/// A bucket whose server heeds no conditions: what lies there can't be replaced.
fn careless() -> MemoryOptions {
    MemoryOptions { conditions: false, ..MemoryOptions::without_staging() }
}

fn overlay(attributes: &Attributes) -> Key {
    let Attributes { id, epoch, version, .. } = attributes;
    key(&format!(".larder/attributes/{id}.{epoch}.{version}.json"))
}

#[tokio::test]
async fn where_attributes_cant_be_replaced_an_overlay_that_wins_ends_their_conflict() {
    for name in ["a", "b", "c", "d", "e", "f"] {
        let larder = Larder::over(careless());
        let (files, _) = larder.start().await;
        let victim = put(&files, "victim").await.attributes;
        let twin = Attributes { name: name.into(), ..victim.clone() };
        write(&larder, &overlay(&twin), twin.to_bytes()).await;
        found_and_mended(&larder, &files, &[Kind::AttributesConflict]).await;
        let winner = if twin.rank() > victim.rank() { twin } else { victim };
        assert_eq!(files.describe(&local(), winner.id).await.unwrap().attributes, winner);
    }
}

#[tokio::test]
async fn where_attributes_cant_be_replaced_they_conflict_until_an_overlay_that_wins_lies_there() {
    let larder = Larder::over_all([("a", MemoryOptions::with_staging()), ("b", careless())]);
    let names = larder.stores.iter().map(|(name, ..)| name.clone()).collect();
    let settings = Settings { placement: names, look_every: Some(Duration::from_secs(30)), ..Settings::default() };
    let files = Files::start(larder.parts(larder.ledger.another()), settings).await.unwrap().0;
    let file = put(&files, "file").await.attributes;
    let row = async || larder.ledger.file(file.id).await.unwrap().unwrap();
    until("it lies on both", async || row().await.copies.iter().filter(|copy| copy.is_readable()).count() == 2).await;
    let twins = ["a", "b", "c", "d", "e", "f", "g", "h"].map(|name| Attributes { name: name.into(), ..file.clone() });
    let mut losers = twins.iter().filter(|twin| twin.rank() < file.rank());
    let (first, second) = (losers.next().unwrap(), losers.next().unwrap());
    let bucket = &larder.stores[1].1;
    assert!(bucket.damage(&file.sidecar(), first.to_bytes()));
    for over in ["nothing lies over them", "what lies over them loses", "what lies over them can't be read"] {
        let (summary, findings) = fsck(&files, REPAIR).await;
        assert!(kinds(&findings).contains(&Kind::AttributesConflict), "{over}: {findings:?}");
        assert_eq!(summary.lost, 0, "{over}");
        // A loser that lies over them goes first.
        fsck(&files, REPAIR).await;
        assert_eq!(fsck(&files, VERIFY).await.1, [], "{over}");
        let bytes = if over.starts_with("nothing") { second.to_bytes() } else { b"rot".to_vec() };
        assert!(bucket.damage(&overlay(&file), bytes), "it was mended");
    }
}

#[tokio::test]
async fn bytes_that_are_nowhere_are_missing_and_stay_lost() {
    let (larder, files, victim) = furnished().await;
    larder.store().delete(&victim.key).await.unwrap();
    for options in [LOOK, REPAIR, REPAIR] {
        let (summary, findings) = fsck(&files, options).await;
        assert_eq!(kinds(&findings), [Kind::BytesMissing]);
        assert_eq!((summary.lost, summary.repaired, summary.findings), (1, 0, 1));
    }
    assert_eq!(larder.ledger.file(victim.id).await.unwrap().unwrap().attributes, victim);
}

#[tokio::test]
async fn bytes_of_another_size_or_hash_are_told_apart_and_moved_out_of_the_way() {
    for (damage, kind) in [("vic", Kind::SizeMismatch), ("VICTIM", Kind::HashMismatch)] {
        let (larder, files, victim) = furnished().await;
        larder.disk.damage(&victim.key, damage);
        let (summary, findings) = fsck(&files, REPAIR).await;
        assert_eq!(kinds(&findings), [kind]);
        assert_eq!((summary.lost, summary.findings), (1, 1));
        assert_eq!(larder.bytes_at(&key(&format!(".larder/quarantine/{}", victim.key))).unwrap(), damage);
        assert!(content(&files, victim.id).await.is_err());
        let (_, findings) = fsck(&files, VERIFY).await;
        assert_eq!(kinds(&findings), [Kind::BytesMissing]);
    }
}

#[tokio::test]
async fn a_flipped_byte_is_not_seen_without_verify() {
    let (larder, files, victim) = furnished().await;
    larder.disk.damage(&victim.key, "VICTIM");
    assert_eq!(fsck(&files, LOOK).await.1, []);
    let (summary, findings) = fsck(&files, VERIFY).await;
    assert_eq!(kinds(&findings), [Kind::HashMismatch]);
    assert_eq!(summary.lost, 1);
}

#[tokio::test]
async fn bytes_that_came_back_are_counted_again() {
    let (larder, files, victim) = furnished().await;
    larder.store().delete(&victim.key).await.unwrap();
    fsck(&files, REPAIR).await;
    write(&larder, &victim.key, "victim").await;
    found_and_mended(&larder, &files, &[Kind::RowDiffers]).await;
    assert_eq!(content(&files, victim.id).await.unwrap(), b"victim");
}

#[tokio::test]
async fn a_row_below_the_attributes_is_raised() {
    let (larder, files, victim) = furnished().await;
    let newer = raised(&victim, "newer");
    write(&larder, &victim.sidecar(), newer.to_bytes()).await;
    found_and_mended(&larder, &files, &[Kind::RowDiffers]).await;
    assert_eq!(files.describe(&local(), victim.id).await.unwrap().attributes, newer);
}

#[tokio::test]
async fn an_update_that_a_store_has_lost_is_written_to_it_again() {
    let (larder, files, victim) = furnished().await;
    let patch = Patch { name: Some("answered".into()), ..Patch::default() };
    let updated = files.update(&local(), victim.id, patch, None).await.unwrap().attributes;
    write(&larder, &victim.sidecar(), victim.to_bytes()).await;
    found_and_mended(&larder, &files, &[Kind::AttributesMissing]).await;
    assert_eq!(larder.bytes_at(&victim.sidecar()).unwrap(), updated.to_bytes());
}

#[tokio::test]
async fn a_row_that_contradicts_attributes_of_its_own_version_is_made_anew_from_them() {
    for name in ["a", "b", "c", "d", "e", "f"] {
        let (larder, files, victim) = furnished().await;
        let other = Attributes { name: name.into(), ..victim.clone() };
        write(&larder, &victim.sidecar(), other.to_bytes()).await;
        found_and_mended(&larder, &files, &[Kind::RowDiffers]).await;
        assert_eq!(files.describe(&local(), victim.id).await.unwrap().attributes, other);
        assert_eq!(content(&files, victim.id).await.unwrap(), b"victim");
    }
}

#[tokio::test]
async fn a_file_without_a_row_is_taken_in() {
    let (larder, files, victim) = furnished().await;
    let forget = Record { entry: Some(Entry::Forget(victim.id)), ..Record::default() };
    larder.ledger.another().record(vec![forget]).await.remove(0).unwrap();
    found_and_mended(&larder, &files, &[Kind::RowDiffers]).await;
    assert_eq!(content(&files, victim.id).await.unwrap(), b"victim");
}

#[tokio::test]
async fn a_purge_that_the_database_forgot_or_the_store_lost_is_told() {
    let (larder, files, victim) = furnished().await;
    files.purge(&local(), victim.id, None).await.unwrap();
    let tombstone = larder.ledger.tombstone(victim.id, None).await.unwrap().unwrap();
    larder.store().delete(&tombstone.key()).await.unwrap();
    found_and_mended(&larder, &files, &[Kind::AttributesMissing]).await;
    assert_eq!(larder.bytes_at(&tombstone.key()).unwrap(), tombstone.to_bytes());
}

#[tokio::test]
async fn a_damaged_tombstone_is_written_again() {
    let (larder, files, victim) = furnished().await;
    files.purge(&local(), victim.id, None).await.unwrap();
    let tombstone = larder.ledger.tombstone(victim.id, None).await.unwrap().unwrap();
    larder.disk.damage(&tombstone.key(), "rot");
    found_and_mended(&larder, &files, &[Kind::AttributesBroken]).await;
    assert_eq!(larder.bytes_at(&tombstone.key()).unwrap(), tombstone.to_bytes());
}

#[tokio::test]
async fn a_claim_of_a_dead_node_is_an_open_intent() {
    let (larder, files, victim) = furnished().await;
    let dead = NodeId::new("dead").unwrap();
    let now = files.environment().clock.now();
    larder.ledger.another().claim(victim.id, Purpose::Change, &dead, now).await.unwrap();
    found_and_mended(&larder, &files, &[Kind::IntentOpen]).await;
    assert_eq!(larder.ledger.claims().await.unwrap(), []);
}

#[tokio::test]
async fn a_claim_of_a_live_node_explains_what_differs() {
    let (larder, files, victim) = furnished().await;
    let live = larder.store();
    let now = files.environment().clock.now();
    larder.ledger.another().claim(victim.id, Purpose::Change, &live.node(), now).await.unwrap();
    write(&larder, &victim.sidecar(), raised(&victim, "under way").to_bytes()).await;
    let (_, findings) = fsck(&files, LOOK).await;
    assert!(!kinds(&findings).contains(&Kind::IntentOpen));
    assert!(!findings.iter().any(|finding| finding.id == Some(victim.id)), "{findings:#?}");
}

#[tokio::test]
async fn what_a_dead_node_staged_is_temporary_and_settled() {
    let (larder, files, _) = furnished().await;
    let dying = larder.store();
    dying.stage(&OpId::new("op").unwrap(), Part::Bytes, "half".into()).await.unwrap();
    larder.disk.kill(&dying.node());
    let (summary, findings) = fsck(&files, LOOK).await;
    assert_eq!(kinds(&findings), [Kind::Temporary]);
    assert_eq!((summary.repaired, larder.disk.staged()), (1, 0));
    assert_eq!(fsck(&files, LOOK).await.1, []);
}

#[tokio::test]
async fn what_is_not_ours_is_reported_and_left_and_does_not_count() {
    let (larder, files, _) = furnished().await;
    write(&larder, &key("holiday/beach.jpg"), "jpg").await;
    for options in [LOOK, REPAIR] {
        let (summary, findings) = fsck(&files, options).await;
        assert_eq!(kinds(&findings), [Kind::Foreign]);
        assert_eq!((summary.foreign, summary.findings), (1, 0));
    }
    assert!(larder.bytes_at(&key("holiday/beach.jpg")).is_some());
}

#[tokio::test]
async fn an_outage_at_any_read_is_never_taken_for_an_absence() {
    for count in [1, 2, 3, 1_000_000] {
        let outage = Arc::new(Outage::default());
        let larder = Larder::over(MemoryOptions { steps: Some(outage.clone()), ..MemoryOptions::with_staging() });
        let (files, _) = larder.start().await;
        let first = put(&files, "first").await.attributes;
        replace(&files, first.id, "second").await;
        let purged = put(&files, "purged").await.attributes.id;
        files.purge(&local(), purged, None).await.unwrap();
        let before = (dump(&files).await, larder.objects());
        for after in 0.. {
            outage.plan(after, count);
            let mut findings = vec![];
            let result = files.fsck(REPAIR, &mut |finding| findings.push(finding)).await;
            let begun = outage.end();
            assert_eq!(findings, [], "read {after} of {count}");
            assert!(begun || result.is_ok());
            if !begun {
                break;
            }
        }
        assert_eq!((dump(&files).await, larder.objects()), before);
    }
}

#[tokio::test]
async fn an_upload_that_stands_still_between_bytes_and_attributes_keeps_its_bytes() {
    let gate = Gate::at("publish.attributes");
    let larder = Larder::over(MemoryOptions { steps: Some(gate.clone()), ..MemoryOptions::with_staging() });
    let (files, _) = larder.start().await;
    put(&files, "bystander").await;
    gate.close();
    let upload = async {
        let file = put(&files, "slow").await.attributes;
        assert_eq!(content(&files, file.id).await.unwrap(), b"slow");
    };
    let repair = async {
        gate.reached().await;
        larder.world.pass(Duration::from_secs(100 * 60 * 60));
        // Another process sees as much as its own.
        let (other, _) = larder.start().await;
        for files in [&files, &other] {
            assert_eq!(fsck(files, REPAIR).await.1, []);
        }
        gate.open();
    };
    futures_util::join!(upload, repair);
    assert_eq!(fsck(&files, VERIFY).await.1, []);
}

#[tokio::test]
async fn a_change_recorded_while_rows_are_made_anew_keeps_its_row() {
    for name in ["a", "b", "c", "d", "e", "f"] {
        let gate = Gate::at("record");
        let mut larder = Larder::new();
        larder.ledger = larder.ledger.with_steps(gate.clone());
        let (files, _) = larder.start().await;
        let victim = put(&files, "victim").await.attributes;
        write(&larder, &victim.sidecar(), Attributes { name: name.into(), ..victim.clone() }.to_bytes()).await;
        gate.close();
        let change = async {
            gate.reached().await;
            let (patch, others) = (Patch { name: Some("answered".into()), ..Patch::default() }, files.clone());
            let change = tokio::spawn(async move { others.update(&local(), victim.id, patch, None).await.unwrap() });
            // Enough for a change that nobody holds up.
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            gate.open();
            change.await.unwrap()
        };
        let ((_, findings), changed) = futures_util::join!(fsck(&files, REPAIR), change);
        assert_eq!(kinds(&findings), [Kind::RowDiffers]);
        assert_eq!(files.describe(&local(), victim.id).await.unwrap(), changed, "{name}");
        assert_eq!(fsck(&files, VERIFY).await.1, []);
    }
}

#[tokio::test]
async fn a_revision_whose_attributes_are_gone_outlives_rows_that_are_made_anew() {
    for name in ["a", "b", "c", "d"] {
        let (larder, files, victim) = furnished().await;
        let new = replace(&files, victim.id, "second").await.attributes;
        larder.store().delete(&victim.sidecar()).await.unwrap();
        write(&larder, &new.sidecar(), Attributes { name: name.into(), ..new.clone() }.to_bytes()).await;
        found_and_mended(&larder, &files, &[Kind::RowDiffers, Kind::AttributesMissing]).await;
        assert_eq!(files.revisions(&local(), victim.id).await.unwrap().len(), 2);
    }
}

#[tokio::test]
async fn uploads_and_changes_in_flight_are_no_findings() {
    let larder =
        Larder::over(MemoryOptions { steps: Some(Arc::new(Slow::default())), ..MemoryOptions::with_staging() });
    let (files, _) = larder.start().await;
    let victims = join_all((0..4).map(|n| put_owned(&files, format!("victim {n}")))).await;
    let busy = join_all((0..12).map(|worker| {
        let (files, victim) = (files.clone(), victims[worker % 4].attributes.id);
        async move {
            for round in 0..6 {
                put_owned(&files, format!("kept {worker} {round}")).await;
                let patch = Patch { name: Some(format!("v {worker} {round}")), ..Patch::default() };
                // Others may hold the claim for longer than virtual time lets anybody wait.
                drop(files.update(&local(), victim, patch, None).await);
                let purged = put_owned(&files, format!("purged {worker} {round}")).await.attributes.id;
                replace(&files, purged, "second").await;
                files.purge(&local(), purged, None).await.unwrap();
            }
        }
    }));
    let checks = async {
        for round in 0..6 {
            let (_, findings) = fsck(&files, VERIFY).await;
            assert_eq!(findings, [], "round {round}");
        }
    };
    futures_util::join!(busy, checks);
    let (summary, findings) = fsck(&files, VERIFY).await;
    assert_eq!((summary.files, findings), (4 + 12 * 6, vec![]));
}

async fn put_owned(files: &Files, name: String) -> larder_files::File {
    put(files, &name).await
}

#[tokio::test]
async fn a_check_can_run_as_a_task() {
    fn runs_anywhere<T: Send>(_: &T) {}
    let (_larder, files, _) = furnished().await;
    let mut report = |_| {};
    let check = files.fsck(LOOK, &mut report);
    runs_anywhere(&check);
    assert_eq!(check.await.unwrap().files, 2);
}

#[tokio::test]
async fn attributes_of_a_store_that_was_brought_back_from_an_older_copy_are_found_and_written_again() {
    let stages = MemoryOptions::with_staging;
    let larder = Larder::over_all([("a", stages()), ("b", stages())]);
    let names = larder.stores.iter().map(|(name, ..)| name.clone()).collect();
    let settings = Settings { placement: names, look_every: Some(Duration::from_secs(30)), ..Settings::default() };
    let files = Files::start(larder.parts(larder.ledger.another()), settings).await.unwrap().0;
    let file = put(&files, "file").await.attributes;
    let (sidecar, second) = (file.sidecar(), larder.stores[1].1.clone());
    let on_second = async || second.objects().into_iter().find(|(key, _)| *key == sidecar).map(|(_, bytes)| bytes);
    let is_settled = async || {
        let row = larder.ledger.file(file.id).await.unwrap().unwrap();
        row.copies.len() == 2 && row.copies.iter().all(|copy| copy.state == CopyState::Verified)
    };
    until("it lies on both", is_settled).await;
    let older = on_second().await.unwrap();
    files.remove(&local(), file.id, None).await.unwrap();
    until("the change came to both", is_settled).await;
    let newest = on_second().await.unwrap();
    assert_ne!(older, newest);
    assert_eq!(fsck(&files, LOOK).await.1, []);
    assert!(second.damage(&sidecar, older));
    let (_, findings) = fsck(&files, LOOK).await;
    assert_eq!(kinds(&findings), [Kind::RowDiffers], "{findings:?}");
    assert!(findings[0].detail.contains("version 1 on `b`"), "{findings:?}");
    let (summary, _) = fsck(&files, REPAIR).await;
    assert_eq!((summary.findings, summary.repaired), (1, 1));
    until("they are written there", async || on_second().await.unwrap() == newest).await;
    until("it is settled", is_settled).await;
    assert_eq!(fsck(&files, VERIFY).await.1, []);
}
