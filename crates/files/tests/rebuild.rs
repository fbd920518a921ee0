//! The ledger is a cache: lost, it comes back from the stores, whatever single object is damaged.
#![allow(clippy::unwrap_used)]

mod support;

use larder_files::{
    Attributes, FindingKind, Ledger, Parts, Patch, RebuildOptions, Role, Secrets, Settings, StartError, UserName,
    canonical,
    ledger::{FileQuery, MemoryLedger},
};
use larder_storage_core::{Key, MemoryOptions, PutOptions, Store};
use serde_json::{Value, json};
use std::sync::Arc;
use support::*;

/// An installation with a little of everything.
async fn furnished() -> (Larder, larder_files::Files) {
    furnish(Larder::new()).await
}

async fn furnish(larder: Larder) -> (Larder, larder_files::Files) {
    let (files, _) = larder.start().await;
    files.add_user(UserName::new("ivanov").unwrap(), Role::User, Some("$argon2id$hash".into())).await.unwrap();
    for name in ["one", "two", "three", "four"] {
        put(&files, name).await;
    }
    let changed = put(&files, "changed").await.attributes.id;
    let patch = Patch { tags: Some(vec!["new".into()]), ..Patch::default() };
    files.update(&local(), changed, patch, None).await.unwrap();
    let replaced = put(&files, "replaced").await.attributes.id;
    replace(&files, replaced, "second content").await;
    let trashed = put(&files, "trashed").await.attributes.id;
    files.remove(&local(), trashed, None).await.unwrap();
    let purged = put(&files, "purged").await.attributes.id;
    files.purge(&local(), purged, None).await.unwrap();
    (larder, files)
}

#[tokio::test]
async fn a_dump_is_the_same_before_and_after_a_rebuild() {
    let (mut larder, files) = furnished().await;
    let before = dump(&files).await;
    let (rebuilt, findings) = larder.rebuild().await;
    assert_eq!(findings, []);
    let (files, _) = larder.start().await;
    assert_eq!(dump(&files).await, before);
    let counts = (rebuilt.files, rebuilt.revisions, rebuilt.users, rebuilt.buckets, rebuilt.tombstones);
    assert_eq!(counts, (7, 8, 1, 3, 1));
    assert!(!before.concat().contains("argon2id"), "a dump shows no password's hash");
    assert!(before.is_sorted_by_key(|line| serde_json::from_str::<Value>(line).unwrap()["kind"].to_string()));
}

#[tokio::test]
async fn a_rebuild_raises_the_epoch_and_fences_who_writes_by_the_older_one() {
    let (mut larder, files) = furnished().await;
    let (rebuilt, _) = larder.rebuild().await;
    assert!(rebuilt.epoch > 1);
    let id = larder.ledger.files(&FileQuery { limit: 1, ..FileQuery::default() }).await.unwrap()[0].attributes.id;
    let error = files.remove(&local(), id, None).await.unwrap_err();
    assert!(matches!(error, larder_files::Error::Fenced(_)), "{error}");
    let (files, _) = larder.start().await;
    assert_eq!(files.remove(&local(), id, None).await.unwrap().attributes.epoch, rebuilt.epoch);
}

#[tokio::test]
async fn a_rebuild_by_an_older_marker_goes_above_the_epoch_of_every_sealed_record() {
    let (mut larder, files) = furnished().await;
    let marker = key(".larder/instance.json");
    let old = larder.bytes_at(&marker).unwrap();
    drop(files);
    // Each goes to the next 256 by chance: twice is higher than once.
    larder.rebuild().await;
    larder.rebuild().await;
    let files = larder.start().await.0;
    let added = user(&files, "added").await;
    let sealed = larder.ledger.user(added.id).await.unwrap().unwrap().epoch;
    files.stop().await;
    larder.store().put(&marker, old.into(), PutOptions::replace()).await.unwrap();
    larder.ledger = MemoryLedger::new();
    let (rebuilt, findings) = larder.rebuild().await;
    assert_eq!(findings, []);
    assert!(rebuilt.epoch > sealed, "{} of {sealed}", rebuilt.epoch);
    let files = larder.start().await.0;
    files.update_user(added.id, Some(Role::Admin), None).await.unwrap();
}

/// A file that was purged, and whose bytes and attributes came back.
async fn undead() -> (Larder, larder_files::Files, larder_files::File) {
    let (larder, files) = furnished().await;
    let file = put(&files, "undead").await;
    let pair = [file.attributes.key.clone(), file.attributes.sidecar()];
    let kept = pair.clone().map(|key| larder.bytes_at(&key).unwrap());
    files.purge(&local(), file.attributes.id, None).await.unwrap();
    for (key, bytes) in pair.iter().zip(kept) {
        larder.store().put(key, bytes.into(), PutOptions::create()).await.unwrap();
    }
    (larder, files, file)
}

#[tokio::test]
async fn a_purged_file_stays_dead_though_its_bytes_come_back() {
    let (mut larder, _files, file) = undead().await;
    larder.rebuild().await;
    assert_eq!(larder.ledger.file(file.attributes.id).await.unwrap(), None);
}

#[tokio::test]
async fn a_tombstone_that_cannot_be_read_still_counts_by_its_name() {
    let (mut larder, _files, file) = undead().await;
    let is_tombstone = |key: &Key| key.as_str().ends_with(&file.attributes.id.to_string());
    let tombstone = larder.objects().into_iter().find(|(key, _)| is_tombstone(key)).unwrap().0;
    assert!(larder.disk.damage(&tombstone, "rot"));
    let (_, findings) = larder.rebuild().await;
    assert_eq!(larder.ledger.file(file.attributes.id).await.unwrap(), None);
    assert!(findings.iter().any(|finding| finding.key.as_deref() == Some(tombstone.as_str())));
}

/// Attributes with one field another.
fn with(attributes: &Attributes, field: &str, value: Value) -> Vec<u8> {
    let mut all: Value = serde_json::from_slice(&attributes.to_bytes()).unwrap();
    all[field] = value;
    canonical(&all)
}

/// 24 kinds of damage, by name.
fn damages(whole: &Attributes, other: &Attributes) -> Vec<(&'static str, Vec<u8>)> {
    let bytes = whole.to_bytes();
    let without = |field: &str| {
        let mut all: Value = serde_json::from_slice(&bytes).unwrap();
        all.as_object_mut().unwrap().remove(field);
        canonical(&all)
    };
    let text = String::from_utf8(bytes.clone()).unwrap();
    vec![
        ("truncated", bytes[..bytes.len() / 2].to_vec()),
        ("one byte short", bytes[..bytes.len() - 1].to_vec()),
        ("empty", vec![]),
        ("not JSON", b"hello".to_vec()),
        ("binary", vec![0; 512]),
        ("not UTF-8", [b"{\"larder\":1,\"name\":\"\xff\"}".to_vec()].concat()),
        ("an array", b"[]".to_vec()),
        ("not canonical", text.replacen(',', ", ", 1).into_bytes()),
        ("duplicate keys", text.replacen('{', "{\"bucket\":\"documents\",", 1).into_bytes()),
        ("unknown form", with(whole, "larder", json!(2))),
        ("another's id", with(whole, "id", json!("no id"))),
        ("another's key", other.to_bytes()),
        ("size of another type", with(whole, "size", json!("5"))),
        ("negative size", with(whole, "size", json!(-5))),
        ("missing field", without("sha256")),
        ("bad time", with(whole, "created_at", json!("yesterday"))),
        ("revision 0", with(whole, "revision", json!(0))),
        ("version 0", with(whole, "version", json!(0))),
        ("key below .larder", with(whole, "key", json!(".larder/instance"))),
        ("key of attributes", with(whole, "key", json!(format!("{}.attr.json", whole.key)))),
        ("key too long", with(whole, "key", json!("k".repeat(1020)))),
        ("name with a control character", with(whole, "name", json!("a\u{0}b"))),
        ("short hash", with(whole, "sha256", json!("9f86"))),
        ("over 4,096 bytes", with(whole, "metadata", json!({"big": "x".repeat(4096)}))),
    ]
}

#[tokio::test]
async fn each_kind_of_damaged_attributes_is_reported_by_name_and_all_the_rest_comes_back() {
    let larder = Larder::new();
    let (files, _) = larder.start().await;
    let (victim, other) = (put(&files, "victim").await, put(&files, "other").await);
    for (what, damaged) in damages(&victim.attributes, &other.attributes) {
        let sidecar = victim.attributes.sidecar();
        assert!(larder.disk.damage(&sidecar, damaged));
        let mut findings = vec![];
        let fresh = MemoryLedger::new();
        let parts = larder.parts(fresh.clone());
        let report = &mut |finding| findings.push(finding);
        let rebuilt = larder_files::rehearse_rebuild(parts, RebuildOptions::default(), report).await.unwrap();
        assert_eq!(kinds(&findings), [FindingKind::AttributesBroken], "{what}");
        assert_eq!(findings[0].key.as_deref(), Some(sidecar.as_str()), "{what}");
        assert_eq!((rebuilt.files, rebuilt.findings), (1, 1), "{what}");
        assert!(fresh.file(other.attributes.id).await.unwrap().is_some(), "{what}");
    }
}

#[tokio::test]
async fn all_damages_at_once_cost_only_the_damaged() {
    let mut larder = Larder::new();
    let (files, _) = larder.start().await;
    let other = put(&files, "other").await.attributes;
    let count = damages(&other, &other).len();
    let mut expected = vec![];
    for index in 0..count {
        let victim = put(&files, &format!("victim {index}")).await.attributes;
        larder.disk.damage(&victim.sidecar(), damages(&victim, &other)[index].1.clone());
        expected.push(victim.sidecar().to_string());
    }
    let (rebuilt, findings) = larder.rebuild().await;
    let mut named: Vec<String> = findings.into_iter().filter_map(|finding| finding.key).collect();
    named.sort();
    expected.sort();
    assert_eq!((named, rebuilt.files), (expected, 1));
}

#[tokio::test]
async fn a_rehearsal_changes_nothing_on_the_stores() {
    let (larder, _files) = furnished().await;
    let before = larder.objects();
    let parts = larder.parts(MemoryLedger::new());
    let rebuilt = larder_files::rehearse_rebuild(parts, RebuildOptions::default(), &mut |_| {}).await.unwrap();
    assert_eq!(rebuilt.files, 7);
    assert_eq!(larder.objects(), before);
}

#[tokio::test]
async fn other_secrets_and_a_missing_store_refuse_a_rebuild_and_change_nothing() {
    let (larder, _files) = furnished().await;
    let before = larder.objects();
    let fresh = MemoryLedger::new;
    let mut parts = larder.parts(fresh());
    parts.secrets = Secrets::new([8; 32]);
    let error = larder_files::rebuild(parts, Settings::default(), None, RebuildOptions::default(), &mut |_| {})
        .await
        .unwrap_err();
    assert!(matches!(error, StartError::WrongSecrets), "{error}");
    let empty = Larder::new();
    let parts = Parts { stores: empty.parts(fresh()).stores, ..larder.parts(fresh()) };
    let error = larder_files::rebuild(parts, Settings::default(), None, RebuildOptions::default(), &mut |_| {})
        .await
        .unwrap_err();
    assert!(matches!(error, StartError::Configuration(_)), "{error}");
    assert_eq!(larder.objects(), before);
}

#[tokio::test]
async fn a_file_whose_bytes_are_gone_comes_back_without_a_copy_and_is_reported() {
    let mut larder = Larder::new();
    let (files, _) = larder.start().await;
    let file = put(&files, "lost").await.attributes;
    larder.store().delete(&file.key).await.unwrap();
    let (_, findings) = larder.rebuild().await;
    assert_eq!(kinds(&findings), [FindingKind::BytesMissing]);
    assert_eq!(larder.ledger.file(file.id).await.unwrap().unwrap().copies, []);
}

#[tokio::test]
async fn an_outage_at_any_read_never_makes_a_rebuild_that_lacks_something() {
    for count in [1, 2, 3, 1_000_000] {
        let outage = Arc::new(Outage::default());
        let options = MemoryOptions { steps: Some(outage.clone()), ..MemoryOptions::with_staging() };
        let (larder, _files) = furnish(Larder::over(options)).await;
        for after in 0.. {
            outage.plan(after, count);
            let mut findings = vec![];
            let parts = larder.parts(MemoryLedger::new());
            let result =
                larder_files::rehearse_rebuild(parts, RebuildOptions::default(), &mut |finding| findings.push(finding))
                    .await;
            let begun = outage.end();
            match result {
                Ok(rebuilt) => assert_eq!((rebuilt.files, rebuilt.revisions, findings), (7, 8, vec![]), "read {after}"),
                Err(error) => assert!(begun && matches!(error, StartError::Failed(_)), "read {after}: {error}"),
            }
            if !begun {
                break;
            }
        }
    }
}
