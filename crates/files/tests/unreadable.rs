//! One object of Larder's own that can't be read stops nothing but itself: no start, no purge, no check.
#![allow(clippy::unwrap_used)]

mod support;

use futures_util::{FutureExt, future::BoxFuture};
use larder_files::{Files, FindingKind as Kind, FsckOptions, Ledger, Tombstone, ledger::Purpose};
use larder_storage_core::{ErrorKind, NodeId, PutOptions, Staging, Steps, Store};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};
use support::*;

const LOOK: FsckOptions = FsckOptions { verify: false, repair: false };

/// An installation with a user who has had several passwords.
async fn furnished(steps: Arc<dyn Steps>) -> (Larder, Files, larder_files::User) {
    let larder = Larder::over(staging_with(steps));
    let files = larder.start().await.0;
    let id = user(&files, "ivanov").await.id;
    for password in ["first", "second"] {
        files.set_password(id, password.into()).await.unwrap();
    }
    let user = files.user(id).await.unwrap().unwrap();
    (larder, files, user)
}

/// Counts the sealed records that are read.
#[derive(Debug, Default)]
struct SealedReads(AtomicU64);

impl Steps for SealedReads {
    fn step<'a>(&'a self, _: &'a NodeId, name: &'static str, key: &'a str) -> BoxFuture<'a, Result<(), ErrorKind>> {
        let sealed = name == "get" && (key.starts_with(".larder/accounts/") || key.starts_with(".larder/buckets/"));
        self.0.fetch_add(u64::from(sealed), Ordering::SeqCst);
        std::future::ready(Ok(())).boxed()
    }
}

#[tokio::test]
async fn a_start_reads_no_sealed_record_that_the_database_knows_or_outranks() {
    let reads = Arc::<SealedReads>::default();
    let (larder, _, user) = furnished(reads.clone()).await;
    assert_eq!(larder.count_below(".larder/accounts/"), 3);
    let before = reads.0.load(Ordering::SeqCst);
    let files = larder.start().await.0;
    assert_eq!(reads.0.load(Ordering::SeqCst), before);
    assert_eq!(files.user(user.id).await.unwrap().unwrap(), user);
}

#[tokio::test]
async fn a_sealed_record_that_cannot_be_read_stops_no_start() {
    let faults = Arc::new(Faults::default());
    let (larder, _, user) = furnished(faults.clone()).await;
    let next = format!(".larder/accounts/{}.{}.{}", user.id, user.epoch, user.version + 1);
    larder.store().put(&key(&next), "sealed".into(), PutOptions::create()).await.unwrap();
    for kind in [ErrorKind::Unavailable, ErrorKind::Corrupt, ErrorKind::PermissionDenied] {
        faults.plan("get", ".larder/accounts/", kind);
        let files = larder.start().await.0;
        assert_eq!(files.user(user.id).await.unwrap().unwrap(), user);
        faults.heal();
    }
    larder.disk.damage(&key(&next), vec![0; 2 << 20]);
    larder.start().await;
}

#[tokio::test]
async fn a_check_reports_what_cannot_be_read_and_goes_on() {
    let faults = Arc::new(Faults::default());
    let (larder, files, _) = furnished(faults.clone()).await;
    let file = put(&files, "file").await.attributes;
    let purged = put(&files, "purged").await.attributes.id;
    files.purge(&local(), purged, None).await.unwrap();
    let orphan = key(&file.key.as_str().replace("file", "orphan"));
    larder.store().put(&orphan, "orphan".into(), PutOptions::create()).await.unwrap();
    for folder in [".larder/tombstones/", ".larder/accounts/"] {
        faults.plan("get", folder, ErrorKind::Unavailable);
    }
    let (_, findings) = fsck(&files, LOOK).await;
    let broken = Kind::AttributesBroken;
    assert_eq!(kinds(&findings), [broken, broken, broken, broken, Kind::OrphanBytes], "{findings:#?}");
    faults.heal();
    assert_eq!(kinds(&fsck(&files, LOOK).await.1), [Kind::OrphanBytes]);
}

#[tokio::test]
async fn a_purge_that_is_tried_again_reads_its_tombstone_however_large_it_is() {
    let larder = Larder::new();
    let files = larder.start().await.0;
    let file = put(&files, "file").await.attributes;
    let dying = larder.store();
    let claim = larder.ledger.claim(file.id, Purpose::Purge, &dying.node(), file.created_at).await.unwrap();
    // As of a file of many revisions.
    let name = "n".repeat(200);
    let many = (0..6000).map(|n| format!("documents/local/{n}_{name}"));
    let tombstone = Tombstone {
        larder: 1,
        id: file.id,
        revision: None,
        bucket_id: file.bucket_id,
        owner_id: file.owner_id,
        epoch: file.epoch,
        version: claim.version,
        purged_at: file.created_at,
        keys: many.chain([file.key.to_string()]).collect(),
        stores: vec![],
        created_by_key: vec![],
    };
    assert!(tombstone.to_bytes().len() > 1 << 20);
    dying.put(&tombstone.key(), tombstone.to_bytes().into(), PutOptions::create()).await.unwrap();
    larder.disk.kill(&dying.node());
    let (_, recovered) = larder.start().await;
    assert_eq!((recovered.settled, recovered.waiting), (1, 0));
    assert_eq!(larder.ledger.tombstone(file.id, None).await.unwrap(), Some(tombstone));
    assert_eq!(larder.keys(), Vec::<String>::new());
}
