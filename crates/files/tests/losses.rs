//! What a rebuild that forgets a store would lose is told before it, or that nothing can tell.
#![allow(clippy::unwrap_used)]

mod support;

use futures_util::{
    FutureExt,
    future::{BoxFuture, ready},
};
use larder_files::{
    Entropy as _, FileId, Ledger, Loss, Losses, RebuildOptions, StartError, StoreId, StoreName, Timestamp,
    ledger::{CopyRow, CopyState, Entry, LedgerError, MemoryLedger, Record, Steps},
};
use larder_storage_core::MemoryOptions;
use std::sync::Arc;
use support::*;

fn pair() -> Larder {
    Larder::over_all(["a", "b"].map(|name| (name, MemoryOptions::with_staging())))
}

fn named(name: &str) -> Vec<StoreName> {
    vec![StoreName::new(name).unwrap()]
}

fn forget(name: &str) -> RebuildOptions {
    RebuildOptions { forget: named(name), ..RebuildOptions::default() }
}

/// What is told before such a rebuild, by a ledger; nothing may change by that.
async fn told(
    larder: &Larder,
    older: Option<&MemoryLedger>,
    options: &RebuildOptions,
) -> Result<(Losses, Vec<Loss>), StartError> {
    let (parts, before, mut told) = (larder.parts(MemoryLedger::new()), larder.objects(), vec![]);
    let older = older.map(|older| older as &dyn Ledger);
    let losses = larder_files::losses(&parts, older, options, &mut |loss| told.push(loss)).await;
    assert_eq!(larder.objects(), before);
    Ok((losses?, told))
}

async fn by_its_ledger(larder: &Larder, forgotten: &str) -> (Losses, Vec<Loss>) {
    told(larder, Some(&larder.ledger), &forget(forgotten)).await.unwrap()
}

async fn store_named(larder: &Larder, name: &str) -> StoreId {
    let stores = larder.ledger.identity().await.unwrap().unwrap().stores;
    stores.iter().find(|store| store.name == name).unwrap().id
}

#[tokio::test]
async fn files_and_old_revisions_that_lie_on_a_forgotten_store_alone_are_told() {
    let larder = pair();
    let files = larder.start_on("b").await;
    let (whole, revised) = (put(&files, "whole").await.attributes, put(&files, "revised").await.attributes);
    files.remove(&local(), whole.id, None).await.unwrap();
    drop(files);
    let files = larder.start_on("a").await;
    let elsewhere = put(&files, "elsewhere").await.attributes;
    let newest = replace(&files, revised.id, "the newest").await.attributes;
    drop(files);

    let of = |losses: &[Loss]| losses.iter().map(|loss| (loss.file.id, loss.revisions.clone())).collect::<Vec<_>>();
    let (losses, each) = by_its_ledger(&larder, "b").await;
    assert_eq!(of(&each), [(whole.id, vec![1]), (revised.id, vec![1])], "the trash counts too");
    assert_eq!(each.iter().map(Loss::is_newest).collect::<Vec<_>>(), [true, false]);
    assert_eq!(losses, Losses { files: 1, revised: 1, bytes: whole.size + revised.size, untold: None });
    assert_eq!(each[1].file.name, "revised");

    let (losses, each) = by_its_ledger(&larder, "a").await;
    assert_eq!(of(&each), [(revised.id, vec![2]), (elsewhere.id, vec![1])]);
    assert_eq!(losses, Losses { files: 2, revised: 0, bytes: newest.size + elsewhere.size, untold: None });

    let nobody = told(&larder, Some(&larder.ledger), &RebuildOptions::default()).await.unwrap();
    assert!(nobody.0.is_none() && nobody.1.is_empty());
}

#[tokio::test]
async fn only_a_copy_that_can_be_read_elsewhere_keeps_a_file() {
    use CopyState::{Dropping, Lost, Pending, Present, Verified};
    for (state, is_kept) in [(Present, true), (Verified, true), (Pending, false), (Lost, false), (Dropping, false)] {
        let larder = pair();
        let id = put(&larder.start_on("b").await, "file").await.attributes.id;
        let elsewhere = CopyRow { store: store_named(&larder, "a").await, state, verified_at: None };
        record(&larder, id, elsewhere).await;
        let (losses, _) = by_its_ledger(&larder, "b").await;
        assert_eq!((losses.files, losses.is_none()), (u64::from(!is_kept), is_kept), "{state:?}");
    }
}

#[tokio::test]
async fn what_can_be_read_nowhere_is_not_lost_by_forgetting() {
    let larder = pair();
    let id = put(&larder.start_on("b").await, "file").await.attributes.id;
    let lost = CopyRow { store: store_named(&larder, "b").await, state: CopyState::Lost, verified_at: None };
    record(&larder, id, lost).await;
    assert!(by_its_ledger(&larder, "b").await.0.is_none());
}

async fn record(larder: &Larder, file: FileId, copy: CopyRow) {
    let at = Some(Timestamp::from_millis(1)).filter(|_| copy.state == CopyState::Verified);
    let entry = Entry::Copies { file, revision: 1, copies: vec![CopyRow { verified_at: at, ..copy }] };
    larder.ledger.record(vec![Record::from(entry)]).await.remove(0).unwrap();
}

#[tokio::test]
async fn more_files_than_a_page_are_all_told() {
    let larder = pair();
    let files = larder.start_on("b").await;
    let first = put(&files, "first").await.attributes.id;
    for number in 0..1_000 {
        put(&files, &number.to_string()).await;
    }
    // A file whose revisions stand on two pages.
    let last = put(&files, "last").await.attributes.id;
    for number in 0..999 {
        replace(&files, last, &format!("{number:04}")).await;
    }
    drop(files);
    let (losses, each) = by_its_ledger(&larder, "b").await;
    assert_eq!((losses.files, each.len()), (1_002, 1_002));
    assert_eq!((each[0].file.id, each[1_001].file.id), (first, last));
    assert_eq!((each[1_001].revisions.len(), each[1_001].bytes), (1_000, 4 + 999 * 4));
}

#[tokio::test]
async fn a_ledger_that_can_not_tell_says_so() {
    let mut larder = pair();
    put(&larder.start_on("b").await, "on b").await;
    let untold = async |larder: &Larder, older: Option<&MemoryLedger>| {
        let (losses, each) = told(larder, older, &forget("b")).await.unwrap();
        assert!(each.is_empty() && !losses.is_none(), "{losses:?}");
        losses.untold.unwrap()
    };
    assert_eq!(untold(&larder, None).await, "no database tells of it");
    assert_eq!(untold(&larder, Some(&MemoryLedger::new())).await, "no database tells of it");
    let another = Larder::new();
    another.world.fill(&mut [0; 64]);
    another.start().await;
    assert_eq!(untold(&larder, Some(&another.ledger)).await, "no database tells of it");

    let older = larder.ledger.snapshot();
    put(&larder.start_on("b").await, "more").await;
    let newer = larder.ledger.snapshot();
    larder.ledger.restore(&older);
    assert_eq!(untold(&larder, Some(&larder.ledger)).await, "the database is an older copy");
    larder.ledger.restore(&newer);
    assert_eq!(by_its_ledger(&larder, "b").await.0.files, 2);

    larder.rebuild_with(RebuildOptions { without: named("b"), ..RebuildOptions::default() }).await.unwrap();
    assert_eq!(untold(&larder, Some(&larder.ledger)).await, "the database was made without it");
    larder.ledger.restore(&newer);
    assert_eq!(untold(&larder, Some(&larder.ledger)).await, "the database is an older copy", "by its epoch");
}

/// A ledger of which a page can't be read.
#[derive(Debug)]
struct Unreadable;

impl Steps for Unreadable {
    fn step(&self, name: &'static str) -> BoxFuture<'_, Result<(), LedgerError>> {
        let unreadable = || Err(LedgerError::Internal("a page is damaged".into()));
        ready(if name == "placed" { unreadable() } else { Ok(()) }).boxed()
    }
}

#[tokio::test]
async fn a_ledger_that_can_not_be_read_to_its_end_says_so() {
    let larder = pair();
    put(&larder.start_on("b").await, "on b").await;
    let broken = larder.ledger.another().with_steps(Arc::new(Unreadable));
    let (losses, _) = told(&larder, Some(&broken), &forget("b")).await.unwrap();
    assert!(losses.untold.unwrap().starts_with("the database can't be read: "));
}

#[tokio::test]
async fn what_the_rebuild_would_be_refused_with_is_said_first() {
    let mut larder = pair();
    put(&larder.start_on("b").await, "on b").await;
    let refused = told(&larder, Some(&larder.ledger), &forget("c")).await.unwrap_err().to_string();
    assert_eq!(refused, "no store `c` is known here; known are `a`, `b`");
    larder.stores.pop();
    let refused = told(&larder, Some(&larder.ledger), &RebuildOptions::default()).await.unwrap_err();
    assert!(matches!(&refused, StartError::StoreMissing(name) if name == "b"), "{refused}");
    assert_eq!(by_its_ledger(&larder, "b").await.0.files, 1, "a store that is gone is the rule");
}
