//! A rebuild that forgets a store keeps what was changed there alone, as far as the older database knows it.
#![allow(clippy::unwrap_used)]

mod support;

use larder_files::{
    BucketName, BucketPolicy, Entropy as _, Error, FileId, Files, FilesOf, Ledger as _, Patch, RebuildOptions, Role,
    Settings, StartError, StoreMode, StoreName, User, ledger::MemoryLedger,
};
use larder_storage_core::MemoryOptions;
use support::*;

/// `old`, which is to be forgotten and is the first to be written to, and two that stay.
fn stores() -> Larder {
    Larder::over_all(["old", "new", "archive"].map(|name| (name, MemoryOptions::with_staging())))
}

/// Files on `archive`, which takes no changes any more: what is changed lies on `old` alone.
async fn archived<const N: usize>(larder: &mut Larder, names: [&str; N]) -> [FileId; N] {
    let files = larder.start_on("archive").await;
    let mut ids = vec![];
    for name in names {
        ids.push(put(&files, name).await.attributes.id);
    }
    larder.stores[2].2 = StoreMode::Ro;
    ids.try_into().unwrap()
}

fn without_old() -> RebuildOptions {
    RebuildOptions { forget: vec![StoreName::new("old").unwrap()], ..RebuildOptions::default() }
}

/// The disk of `old` is gone.
fn lose_old(larder: &mut Larder) {
    larder.stores.remove(0);
}

fn renamed(name: &str) -> Patch {
    Patch { name: Some(name.into()), ..Patch::default() }
}

async fn name_of(files: &Files, id: FileId) -> String {
    files.describe(&local(), id).await.unwrap().attributes.name
}

#[tokio::test]
async fn names_and_the_trash_of_files_that_lie_elsewhere_are_kept() {
    let mut larder = stores();
    let [changed, removed, left] = archived(&mut larder, ["changed", "removed", "left"]).await;
    let files = larder.start_on("new").await;
    files.update(&local(), changed, renamed("since"), None).await.unwrap();
    files.remove(&local(), removed, None).await.unwrap();
    let before = dump(&files).await;
    drop(files);
    lose_old(&mut larder);
    let (rebuilt, findings) = larder.rebuild_with(without_old()).await.unwrap();
    assert_eq!((rebuilt.files, rebuilt.revisions, &findings[..]), (3, 3, &[][..]));
    // They lie on a store now: the next rebuild knows them without any database.
    larder.ledger = MemoryLedger::new();
    larder.rebuild().await;
    let files = larder.start_on("new").await;
    assert_eq!((name_of(&files, changed).await, name_of(&files, left).await), ("since".into(), "left".into()));
    assert_eq!(content(&files, changed).await.unwrap(), b"changed");
    assert!(files.describe(&local(), removed).await.unwrap().attributes.deleted_at.is_some());
    files.restore(&local(), removed, None).await.unwrap();
    assert_eq!(content(&files, removed).await.unwrap(), b"removed");
    assert_eq!(before.len(), dump(&files).await.len());
    // They can be changed again, and purged.
    files.update(&local(), changed, renamed("later"), None).await.unwrap();
    assert_eq!(name_of(&files, changed).await, "later");
}

async fn user_of(larder: &Larder, name: &str) -> Option<User> {
    let files = larder.start_on("new").await;
    files.users().await.unwrap().into_iter().find(|user| user.name.as_str() == name)
}

#[tokio::test]
async fn accounts_and_policies_that_no_other_store_was_given_are_kept() {
    let mut larder = stores();
    let files = larder.start_on("new").await;
    let petrov = user(&files, "petrov").await;
    files.set_password(petrov.id, "$argon2id$before".into()).await.unwrap();
    drop(files);
    // Nothing but `old` takes anything for a while.
    for store in [1, 2] {
        larder.stores[store].2 = StoreMode::Ro;
    }
    let files = larder.start_on("old").await;
    files.set_password(petrov.id, "$argon2id$since".into()).await.unwrap();
    files.set_role(petrov.id, Role::Admin).await.unwrap();
    let ivanov = user(&files, "ivanov").await;
    files.delete_user(ivanov.id, FilesOf::Refuse).await.unwrap();
    drop(files);
    larder.stores[1].2 = StoreMode::Edit;
    lose_old(&mut larder);
    larder.rebuild_with(without_old()).await.unwrap();
    larder.ledger = MemoryLedger::new();
    larder.rebuild().await;
    let petrov = user_of(&larder, "petrov").await.unwrap();
    assert_eq!((petrov.password_hash.as_deref(), petrov.role), (Some("$argon2id$since"), Role::Admin));
    assert!(user_of(&larder, "ivanov").await.unwrap().gone_at.is_some(), "who was deleted stays so");
}

#[tokio::test]
async fn a_purge_and_what_a_store_knows_better_win() {
    let mut larder = stores();
    let [purged, changed] = archived(&mut larder, ["purged", "changed"]).await;
    let files = larder.start_on("new").await;
    files.update(&local(), changed, renamed("first"), None).await.unwrap();
    files.update(&local(), purged, renamed("first"), None).await.unwrap();
    let older = larder.ledger.snapshot();
    larder.stores[2].2 = StoreMode::Edit;
    drop(files);
    let files = larder.start_on("new").await;
    files.update(&local(), changed, renamed("second"), None).await.unwrap();
    files.purge(&local(), purged, None).await.unwrap();
    drop(files);
    larder.ledger.restore(&older);
    lose_old(&mut larder);
    larder.rebuild_with(without_old()).await.unwrap();
    let files = larder.start_on("new").await;
    assert_eq!(name_of(&files, changed).await, "second");
    assert!(files.describe(&local(), purged).await.is_err());
    assert_eq!(larder.count_below(".larder/overlays/"), 0, "nothing was to be written");
}

#[tokio::test]
async fn content_that_nobody_else_has_stays_lost() {
    let mut larder = stores();
    let files = larder.start_on("new").await;
    let revised = put(&files, "revised").await.attributes.id;
    drop(files);
    let files = larder.start_on("old").await;
    let (whole, _) = (put(&files, "whole").await.attributes.id, replace(&files, revised, "the newest").await);
    drop(files);
    lose_old(&mut larder);
    let (rebuilt, findings) = larder.rebuild_with(without_old()).await.unwrap();
    assert_eq!((rebuilt.files, &findings[..]), (1, &[][..]));
    let files = larder.start_on("new").await;
    assert!(matches!(files.describe(&local(), whole).await, Err(Error::NotFound(_))));
    assert_eq!(content(&files, revised).await.unwrap(), b"revised", "an older revision is there");
}

#[tokio::test]
async fn what_no_store_takes_stops_the_rebuild_before_anything_is_lost() {
    let mut larder = stores();
    let [changed] = archived(&mut larder, ["changed"]).await;
    larder.start_on("new").await.update(&local(), changed, renamed("since"), None).await.unwrap();
    lose_old(&mut larder);
    larder.stores[0].2 = StoreMode::Ro;
    let refused = larder.rebuild_with(without_old()).await.unwrap_err();
    let StartError::Configuration(words) = refused else { panic!("{refused}") };
    assert!(words.contains("some changes") && words.contains("`edit` or `rw`"), "{words}");
    larder.stores[0].2 = StoreMode::Rw;
    larder.rebuild_with(without_old()).await.unwrap();
    assert_eq!(name_of(&larder.start_on("new").await, changed).await, "since");
}

#[tokio::test]
async fn another_installations_database_tells_nothing() {
    let mut larder = stores();
    let [changed] = archived(&mut larder, ["changed"]).await;
    larder.start_on("new").await.update(&local(), changed, renamed("since"), None).await.unwrap();
    let another = Larder::new();
    another.world.fill(&mut [0; 64]);
    user(&another.start().await.0, "stranger").await;
    larder.ledger = another.ledger.another();
    lose_old(&mut larder);
    larder.rebuild_with(without_old()).await.unwrap();
    assert_eq!(name_of(&larder.start_on("new").await, changed).await, "changed");
    assert!(user_of(&larder, "stranger").await.is_none());
}

#[tokio::test]
async fn a_policy_that_only_the_forgotten_store_has_is_kept() {
    let mut larder = stores();
    let files = larder.start_on("new").await;
    drop(files);
    for store in [1, 2] {
        larder.stores[store].2 = StoreMode::Ro;
    }
    let name = BucketName::new("documents").unwrap();
    let policy = BucketPolicy { max_bytes: 7, ..BucketPolicy::default() };
    let settings = Settings { buckets: vec![(name.clone(), policy)], ..Settings::default() };
    drop(Files::start(larder.parts(larder.ledger.another()), settings).await.unwrap());
    larder.stores[1].2 = StoreMode::Edit;
    lose_old(&mut larder);
    larder.rebuild_with(without_old()).await.unwrap();
    let kept = larder.ledger.buckets().await.unwrap().into_iter().find(|bucket| bucket.name == name).unwrap();
    assert_eq!(kept.policy.max_bytes, 7);
}
