//! One old revision is purged for ever, and nothing else is touched: whatever dies, is lost or comes back meanwhile.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test has a runtime of its own, and may unwrap")]

mod support;

use futures_util::TryStreamExt;
use larder_files::{
    Attributes, Error, FileId, Files, FindingKind as Kind, FsckOptions, Ledger, Patch, Settings, Tombstone,
    ledger::{LedgerError, Purpose, RevisionRow},
};
use larder_storage_core::{ErrorKind, Key, MemoryOptions, NodeId, PutOptions, Store};
use std::{sync::Arc, time::Duration};
use support::*;

const LOOK: FsckOptions = FsckOptions { verify: true, repair: false };
const REPAIR: FsckOptions = FsckOptions { verify: true, repair: true };

/// An installation with one file of three revisions; the attributes of its first.
async fn furnished() -> (Larder, Files, Attributes) {
    let larder = Larder::new();
    let (files, _) = larder.start().await;
    let first = put(&files, "first").await.attributes;
    replace(&files, first.id, "second").await;
    replace(&files, first.id, "third").await;
    (larder, files, first)
}

async fn revision(files: &Files, id: FileId, number: u64) -> Result<Vec<u8>, Error> {
    let file = files.describe(&local(), id).await?;
    let body = files.open(&local(), &file, Some(number), None).await?.body;
    let blocks: Vec<_> = body.try_collect().await.map_err(Error::internal)?;
    Ok(blocks.concat())
}

async fn numbers(files: &Files, id: FileId) -> Vec<u64> {
    files.revisions(&local(), id).await.unwrap().iter().map(|row| row.revision).collect()
}

/// The first revision is gone from every store, the others are served, `fsck` finds nothing and a rebuild agrees.
async fn only_the_first_is_gone(larder: &mut Larder, files: &Files, first: &Attributes) {
    assert_eq!(numbers(files, first.id).await, [2, 3]);
    assert!(matches!(revision(files, first.id, 1).await, Err(Error::NotFound("revision"))));
    assert_eq!(revision(files, first.id, 2).await.unwrap(), b"second");
    assert_eq!(content(files, first.id).await.unwrap(), b"third");
    assert!(larder.keys().iter().all(|key| !key.starts_with(first.key.as_str())), "{:?}", larder.keys());
    assert_eq!(fsck(files, LOOK).await.1, []);
    assert_eq!(larder.ledger.claims().await.unwrap(), []);
    let before = dump(files).await;
    assert!(before.iter().any(|line| line.contains(r#""kind":"tombstone""#) && line.contains(r#""revision":1"#)));
    let (rebuilt, findings) = larder.rebuild().await;
    assert_eq!((rebuilt.revisions, rebuilt.tombstones, findings), (2, 1, vec![]));
    assert_eq!(dump(&larder.start().await.0).await, before);
}

#[tokio::test]
async fn an_old_revision_is_purged_and_nothing_else() {
    let (mut larder, files, first) = furnished().await;
    let before = files.describe(&local(), first.id).await.unwrap();
    files.purge_revision(&local(), first.id, 1, None).await.unwrap();
    assert_eq!(files.describe(&local(), first.id).await.unwrap(), before);
    let tombstone = larder.ledger.tombstone(first.id, Some(1)).await.unwrap().unwrap();
    assert_eq!(tombstone.key().as_str(), format!(".larder/tombstones/2026-11/{}.1", first.id));
    assert_eq!((&tombstone.keys[..], tombstone.epoch), (&[first.key.to_string()][..], first.epoch));
    assert_eq!(larder.bytes_at(&tombstone.key()).unwrap(), tombstone.to_bytes());
    only_the_first_is_gone(&mut larder, &files, &first).await;
    let (files, _) = larder.start().await;
    let fourth = replace(&files, first.id, "fourth").await.attributes;
    assert!(fourth.revision > 3 && fourth.version > tombstone.version, "{fourth:?}");
}

#[tokio::test]
async fn the_newest_an_unknown_and_anothers_revision_are_refused() {
    let (larder, files, first) = furnished().await;
    let refused = files.purge_revision(&local(), first.id, 3, None).await.unwrap_err();
    assert!(matches!(&refused, Error::Conflict(why) if why.contains("newest")), "{refused}");
    for unknown in [0, 4, u64::MAX] {
        let refused = files.purge_revision(&local(), first.id, unknown, None).await;
        assert!(matches!(refused, Err(Error::NotFound("revision"))), "{refused:?}");
    }
    let elsewhere = files.purge_revision(&local(), first.id, 1, Some(2)).await;
    assert!(matches!(elsewhere, Err(Error::PreconditionFailed { version: 3 })), "{elsewhere:?}");
    let stranger = user(&files, "stranger").await;
    let refused = files.purge_revision(&stranger, first.id, 1, None).await;
    assert!(matches!(refused, Err(Error::NotFound("file"))), "{refused:?}");
    files.purge_revision(&local(), first.id, 1, None).await.unwrap();
    let again = files.purge_revision(&local(), first.id, 1, None).await;
    assert!(matches!(again, Err(Error::NotFound("revision"))), "{again:?}");
    assert_eq!((numbers(&files, first.id).await, larder.ledger.claims().await.unwrap().len()), (vec![2, 3], 0));
}

#[tokio::test]
async fn an_old_revision_of_a_file_in_the_trash_is_purged_too() {
    let (mut larder, files, first) = furnished().await;
    files.remove(&local(), first.id, None).await.unwrap();
    files.purge_revision(&local(), first.id, 1, None).await.unwrap();
    files.restore(&local(), first.id, None).await.unwrap();
    only_the_first_is_gone(&mut larder, &files, &first).await;
}

#[tokio::test]
async fn a_file_without_one_of_its_revisions_is_purged_whole() {
    let (mut larder, files, first) = furnished().await;
    files.purge_revision(&local(), first.id, 2, None).await.unwrap();
    files.purge(&local(), first.id, None).await.unwrap();
    assert_eq!(larder.keys(), Vec::<String>::new());
    let before = dump(&files).await;
    assert_eq!(larder.rebuild().await.0.tombstones, 2);
    assert_eq!(dump(&larder.start().await.0).await, before);
}

/// A dead node's claim, from before anything but the claim was written.
async fn claimed_by_the_dead(larder: &Larder, first: &Attributes) {
    let dead = NodeId::new("dead").unwrap();
    let ledger = larder.ledger.another();
    let claim = ledger.claim(first.id, Purpose::Change, &dead, first.created_at).await.unwrap();
    ledger.harden(claim.id, Purpose::PurgeRevision(1)).await.unwrap();
}

#[tokio::test]
async fn a_dead_nodes_purge_of_a_revision_is_only_ever_finished() {
    let (mut larder, files, first) = furnished().await;
    claimed_by_the_dead(&larder, &first).await;
    drop(files);
    let (files, recovered) = larder.start().await;
    assert_eq!(recovered.settled, 1);
    only_the_first_is_gone(&mut larder, &files, &first).await;
}

#[tokio::test]
async fn a_live_node_that_needs_the_file_finishes_a_dead_ones_purge_of_a_revision() {
    let (mut larder, files, first) = furnished().await;
    claimed_by_the_dead(&larder, &first).await;
    files.update(&local(), first.id, Patch { name: Some("new".into()), ..Patch::default() }, None).await.unwrap();
    only_the_first_is_gone(&mut larder, &files, &first).await;
}

#[tokio::test]
async fn a_tombstone_that_a_dead_node_wrote_is_the_one_that_counts() {
    let (mut larder, files, first) = furnished().await;
    let written = tombstone_of(&larder, &first).await;
    larder.store().put(&written.key(), written.to_bytes().into(), PutOptions::create()).await.unwrap();
    claimed_by_the_dead(&larder, &first).await;
    drop(files);
    let (files, _) = larder.start().await;
    assert_eq!(larder.ledger.tombstone(first.id, Some(1)).await.unwrap(), Some(written));
    only_the_first_is_gone(&mut larder, &files, &first).await;
}

/// A tombstone of the first revision, as a node writes it.
async fn tombstone_of(larder: &Larder, first: &Attributes) -> Tombstone {
    Tombstone {
        larder: 1,
        id: first.id,
        revision: Some(1),
        bucket_id: first.bucket_id,
        owner_id: first.owner_id,
        epoch: first.epoch,
        version: 77,
        purged_at: first.created_at,
        keys: vec![first.key.to_string()],
        stores: larder.ledger.identity().await.unwrap().unwrap().stores.iter().map(|store| store.id).collect(),
        created_by_key: vec![],
    }
}

#[tokio::test]
async fn what_a_lost_database_left_of_a_purge_goes_after_the_rebuild() {
    let (mut larder, files, first) = furnished().await;
    let written = tombstone_of(&larder, &first).await;
    larder.store().put(&written.key(), written.to_bytes().into(), PutOptions::create()).await.unwrap();
    drop(files);
    larder.rebuild().await;
    let (files, _) = larder.start().await;
    assert_eq!(numbers(&files, first.id).await, [2, 3]);
    assert_eq!(fsck(&files, LOOK).await.1, []);
    only_the_first_is_gone(&mut larder, &files, &first).await;
}

#[tokio::test]
async fn a_tombstone_of_a_revision_that_rots_still_covers_it() {
    let (mut larder, files, first) = furnished().await;
    let row = files.revisions(&local(), first.id).await.unwrap().remove(0);
    let (bytes, sidecar) = (larder.bytes_at(&row.key).unwrap(), larder.bytes_at(&first.sidecar()).unwrap());
    files.purge_revision(&local(), first.id, 1, None).await.unwrap();
    let tombstone = larder.ledger.tombstone(first.id, Some(1)).await.unwrap().unwrap();
    larder.disk.damage(&tombstone.key(), "rot");
    // An old backup of the store brings the revision back, and the database is lost.
    larder.store().put(&row.key, bytes.into(), PutOptions::create()).await.unwrap();
    larder.store().put(&first.sidecar(), sidecar.into(), PutOptions::create()).await.unwrap();
    drop(files);
    larder.rebuild().await;
    let (files, _) = larder.start().await;
    assert_eq!(numbers(&files, first.id).await, [2, 3], "a tombstone still tells by its name what it covers");
    fsck(&files, REPAIR).await;
    assert_eq!(fsck(&files, LOOK).await.1, []);
    assert!(larder.bytes_at(&row.key).is_none());
}

#[tokio::test]
async fn another_key_of_a_purged_revision_is_moved_out_of_the_way() {
    let (larder, files, first) = furnished().await;
    files.purge_revision(&local(), first.id, 1, None).await.unwrap();
    let key = key(&first.key.as_str().replace("first", "late"));
    let late = Attributes { key: key.clone(), ..first.clone() };
    larder.store().put(&key, "first".into(), PutOptions::create()).await.unwrap();
    larder.store().put(&late.sidecar(), late.to_bytes().into(), PutOptions::create()).await.unwrap();
    let (summary, findings) = fsck(&files, REPAIR).await;
    assert_eq!((kinds(&findings), summary.repaired), (vec![Kind::OrphanAttributes], 1), "{findings:?}");
    assert_eq!(fsck(&files, LOOK).await.1, []);
    assert!(larder.bytes_at(&Key::new(format!(".larder/quarantine/{key}")).unwrap()).is_some());
}

#[tokio::test]
async fn overlays_of_the_revision_go_with_it_and_the_others_stay() {
    let mut larder = Larder::over_all([("disk", MemoryOptions::with_staging()), ("b", MemoryOptions::with_staging())]);
    let (files, _) = larder.start().await;
    let first = put(&files, "first").await.attributes;
    // Its own store takes no changes for a while, so both go to the other.
    larder.stores[0].2 = larder_files::StoreMode::Rw;
    let (files, _) = larder.start().await;
    let rename = |name: &str| Patch { name: Some(name.into()), ..Patch::default() };
    files.update(&local(), first.id, rename("renamed"), None).await.unwrap();
    let overlays = |larder: &Larder| {
        larder.objects().iter().filter(|(key, _)| key.as_str().starts_with(".larder/attributes/")).count()
    };
    assert_eq!(overlays(&larder), 1);
    replace(&files, first.id, "second").await;
    let renamed = files.update(&local(), first.id, rename("again"), None).await.unwrap();
    assert_eq!(overlays(&larder), 2);
    larder.stores[0].2 = larder_files::StoreMode::Edit;
    let (files, _) = larder.start().await;
    files.purge_revision(&local(), first.id, 1, None).await.unwrap();
    assert_eq!(overlays(&larder), 1);
    assert_eq!(files.describe(&local(), first.id).await.unwrap().attributes, renamed.attributes);
    assert_eq!(fsck(&files, LOOK).await.1, []);
    let before = dump(&files).await;
    larder.rebuild().await;
    assert_eq!(dump(&larder.start().await.0).await, before);
}

#[tokio::test]
async fn a_reader_of_what_is_purged_meanwhile_is_told_the_truth() {
    let (larder, files, first) = furnished().await;
    let old = files.describe(&local(), first.id).await.unwrap();
    replace(&files, first.id, "fourth").await;
    files.purge_revision(&local(), first.id, old.attributes.revision, None).await.unwrap();
    let opened = files.open(&local(), &old, None, None).await.map(drop);
    assert!(matches!(opened, Err(Error::Busy)), "there is a newest content, so ask again: {opened:?}");
    let opened = files.open(&local(), &old, Some(old.attributes.revision), None).await.map(drop);
    assert!(matches!(opened, Err(Error::NotFound("revision"))), "{opened:?}");
    let rows: Vec<RevisionRow> = larder.ledger.revisions(first.id).await.unwrap();
    assert!(
        rows.iter().all(|row| row.copies.iter().all(|copy| copy.state == larder_files::ledger::CopyState::Verified))
    );
}

#[tokio::test]
async fn a_replace_that_comes_between_is_waited_for() {
    let (larder, files, first) = furnished().await;
    let gate = Gate::at("harden");
    let ledger = larder.ledger.another().with_steps(gate.clone());
    let (other, _) = Files::start(larder.parts(ledger), larder_files::Settings::default()).await.unwrap();
    gate.close();
    let id = first.id;
    let purge = tokio::spawn(async move { other.purge_revision(&local(), id, 2, None).await });
    gate.reached().await;
    let busy =
        larder.ledger.another().claim(id, Purpose::Change, &NodeId::new("third").unwrap(), first.created_at).await;
    assert!(matches!(busy, Err(LedgerError::Busy)), "{busy:?}");
    gate.open();
    purge.await.unwrap().unwrap();
    assert_eq!(replace(&files, id, "fourth").await.attributes.sha256, larder_files::Sha256::of(b"fourth"));
    assert_eq!(numbers(&files, id).await.first(), Some(&1));
}

/// What a store that can't be reached does not do.
const AWAY: [&str; 7] = ["get", "head", "list.item", "put.written", "stage.begun", "delete.sent", "leftovers.taken"];

#[tokio::test]
async fn while_a_store_is_away_a_purge_holds_no_change_up_and_it_is_gone_on_with_once_that_is_back() {
    for restarts in [false, true] {
        let faults = Arc::<Faults>::default();
        let larder = Larder::over_all([("a", staging_with(faults.clone())), ("b", MemoryOptions::with_staging())]);
        let placement = larder.stores.iter().map(|(name, ..)| name.clone()).collect();
        let settings = Settings { placement, look_every: Some(Duration::from_secs(30)), ..Settings::default() };
        let (files, _) = Files::start(larder.parts(larder.ledger.another()), settings).await.unwrap();
        let (node, first) = (larder.last_node(), put(&files, "first").await.attributes);
        replace(&files, first.id, "second").await;
        until("both revisions lie on both stores", async || larder.keys().len() == 8).await;
        until("nothing is under way", async || larder.ledger.nodes().await.unwrap().is_empty()).await;

        AWAY.into_iter().for_each(|step| faults.plan(step, "", ErrorKind::Unavailable));
        files.purge_revision(&local(), first.id, 1, None).await.unwrap();
        let patch = Patch { name: Some("renamed".into()), ..Patch::default() };
        files.update(&local(), first.id, patch, None).await.unwrap();
        let is_left = |key: &Key| key.as_str().starts_with(first.key.as_str());
        assert!(!larder.stores[1].1.objects().iter().any(|(key, _)| is_left(key)), "the store that is there is clean");
        assert!(larder.stores[0].1.objects().iter().any(|(key, _)| is_left(key)));

        if restarts {
            larder.stores.iter().for_each(|(_, disk, _)| disk.kill(&node));
            drop(files);
        }
        faults.heal();
        if restarts {
            drop(larder.start().await);
        }
        until("nothing is left", async || !larder.objects().iter().any(|(key, _)| is_left(key))).await;
        until("nothing is owed", async || larder.ledger.nodes().await.unwrap().is_empty()).await;
    }
}

#[tokio::test]
async fn what_cannot_be_deleted_holds_up_no_other_purge() {
    let faults = Arc::<Faults>::default();
    let larder = Larder::over(staging_with(faults.clone()));
    let files = larder.start().await.0;
    let mut keys = vec![];
    for name in ["one", "two"] {
        let first = put(&files, name).await.attributes;
        replace(&files, first.id, "second").await;
        faults.plan("delete.sent", "", ErrorKind::Unavailable);
        files.purge_revision(&local(), first.id, 1, None).await.unwrap();
        faults.heal();
        keys.push(first.key);
    }
    // In whichever order they come, one of them is in the way of the other.
    faults.plan("delete.sent", keys[0].to_string().leak(), ErrorKind::PermissionDenied);
    drop(larder.start().await);
    let is_left = |key: &Key| larder.objects().iter().any(|(found, _)| found == key);
    until("the other is gone", async || !is_left(&keys[1])).await;
    assert!(is_left(&keys[0]));
    faults.heal();
    until("both are gone", async || !is_left(&keys[0])).await;
}

#[tokio::test]
async fn purges_that_can_not_be_cleared_hold_up_no_other() {
    let disk = Arc::<Faults>::default();
    let larder = Larder::over(staging_with(disk.clone()));
    let (files, _) = larder.start().await;
    for name in ["stuck", "fine"] {
        disk.plan("delete.gone", name, ErrorKind::Unavailable);
    }
    for number in 0..16 {
        let stuck = put(&files, &format!("stuck {number}")).await.attributes.id;
        files.purge(&local(), stuck, None).await.unwrap();
        larder.world.pass(Duration::from_secs(30));
    }
    let fine = put(&files, "fine").await.attributes;
    files.purge(&local(), fine.id, None).await.unwrap();
    assert!(larder.bytes_at(&fine.key).is_some(), "its disk does not let it be deleted yet");
    disk.heal();
    disk.plan("delete.gone", "stuck", ErrorKind::Unavailable);
    until("what can be deleted is", async || larder.bytes_at(&fine.key).is_none()).await;
}
