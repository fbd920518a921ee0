//! A node whose database is an older copy, or was replaced by a rebuild, finds out before it acknowledges what others outrank.
#![allow(clippy::unwrap_used)]

mod support;

use larder_files::{Attributes, Error, File, FileId, Files, Health, Ledger, Patch, Settings, StartError, StoreMode};
use larder_storage_core::MemoryOptions;
use std::time::Duration;
use support::*;

async fn rename(files: &Files, id: FileId, name: &str) -> Result<File, Error> {
    files.update(&local(), id, Patch { name: Some(name.into()), ..Patch::default() }, None).await
}

/// What lies on the stores stays as it is, and this node takes nothing more.
async fn assert_fenced(larder: &Larder, files: &Files, refused: Result<File, Error>, truth: &Attributes) {
    assert!(matches!(refused, Err(Error::Fenced(_))), "{refused:?}");
    assert!(matches!(files.health(), Health::Fenced(_)), "{:?}", files.health());
    assert_eq!(larder.bytes_at(&truth.sidecar()).unwrap(), truth.to_bytes());
    let next = files.receive(&local(), into_documents(), "x".into()).await;
    assert!(matches!(next, Err(Error::Fenced(_))), "{next:?}");
}

#[tokio::test]
async fn an_update_over_an_older_database_is_refused_and_so_is_all_that_follows() {
    let larder = Larder::new();
    let files = larder.start().await.0;
    let id = put(&files, "file").await.attributes.id;
    let older = larder.ledger.snapshot();
    let truth = rename(&files, id, "newer").await.unwrap().attributes;
    larder.ledger.restore(&older);
    assert_fenced(&larder, &files, rename(&files, id, "older").await, &truth).await;
}

#[tokio::test]
async fn trash_and_restore_over_an_older_database_are_refused() {
    for trashed in [false, true] {
        let larder = Larder::new();
        let files = larder.start().await.0;
        let id = put(&files, "file").await.attributes.id;
        let change = async |back: bool| match back {
            true => files.restore(&local(), id, None).await,
            false => files.remove(&local(), id, None).await,
        };
        if trashed {
            change(false).await.unwrap();
        }
        let older = larder.ledger.snapshot();
        change(trashed).await.unwrap();
        let truth = change(!trashed).await.unwrap().attributes;
        larder.ledger.restore(&older);
        assert_fenced(&larder, &files, change(trashed).await, &truth).await;
    }
}

#[tokio::test]
async fn an_overlay_of_ones_own_rank_tells_of_an_older_database_too() {
    let mut larder = Larder::over_all(["old", "new"].map(|name| (name, MemoryOptions::with_staging())));
    let first = put(&larder.start().await.0, "file").await.attributes;
    larder.stores[0].2 = StoreMode::Ro;
    let files = larder.start().await.0;
    let older = larder.ledger.snapshot();
    let newer = rename(&files, first.id, "newer").await.unwrap().attributes;
    larder.ledger.restore(&older);
    assert_fenced(&larder, &files, rename(&files, first.id, "older").await, &first).await;
    larder.rebuild().await;
    assert_eq!(larder.ledger.file(first.id).await.unwrap().unwrap().attributes, newer);
}

/// Time in which the mark of the last change is written.
async fn a_while_passes(larder: &Larder) {
    larder.world.pass(Duration::from_secs(10));
    others_go_on().await;
}

#[tokio::test]
async fn an_older_database_put_under_a_running_node_is_noticed_by_the_mark() {
    let larder = Larder::new();
    let files = larder.start().await.0;
    put(&files, "one").await;
    let older = larder.ledger.snapshot();
    for name in ["two", "three"] {
        put(&files, name).await;
        a_while_passes(&larder).await;
    }
    larder.ledger.restore(&older);
    put(&files, "four").await;
    a_while_passes(&larder).await;
    assert!(matches!(files.health(), Health::Fenced(_)), "{:?}", files.health());
}

#[tokio::test]
async fn an_older_database_is_told_by_a_store_that_cant_compare_its_marks() {
    let larder = Larder::over(MemoryOptions { conditions: false, ..MemoryOptions::without_staging() });
    let files = larder.start().await.0;
    put(&files, "one").await;
    a_while_passes(&larder).await;
    let older = larder.ledger.snapshot();
    for name in ["two", "three"] {
        put(&files, name).await;
        a_while_passes(&larder).await;
    }
    assert_eq!(larder.count_below(".larder/marks/"), 2, "the highest marks outrank the others");
    drop(files);
    larder.ledger.restore(&older);
    let refused = Files::start(larder.parts(larder.ledger.another()), Settings::default()).await.err();
    assert!(matches!(refused, Some(StartError::OlderDatabase { .. })), "{refused:?}");
}

#[tokio::test]
async fn a_node_whose_stores_were_rebuilt_elsewhere_makes_no_first_change_and_stops_soon_after_one() {
    for changed_before in [false, true] {
        let larder = Larder::new();
        let file = put(&larder.start().await.0, "file").await.attributes;
        let files = larder.start().await.0;
        if changed_before {
            put(&files, "another").await;
            a_while_passes(&larder).await;
        }
        // From a copy of the data directory: this node's own ledger is not told.
        Larder::over_disk(&larder).rebuild().await;
        if changed_before {
            rename(&files, file.id, "late").await.unwrap();
            a_while_passes(&larder).await;
        }
        let refused = rename(&files, file.id, "later").await;
        assert!(matches!(refused, Err(Error::Fenced(_))), "{refused:?}");
        assert!(matches!(files.health(), Health::Fenced(_)), "{:?}", files.health());
    }
}
