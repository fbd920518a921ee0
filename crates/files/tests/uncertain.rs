//! What may have happened is never called a failure: the answer is that nobody knows (of a purge: that it will be done), and the node or the next start finds out.
#![allow(clippy::unwrap_used)]

mod support;

use larder_files::{Error, FileId, Files, Health, Ledger, Patch, Role, User, UserName};
use larder_storage_core::ErrorKind;
use std::sync::Arc;
use support::*;

/// Two disks, each with its faults.
fn two_disks() -> (Larder, [Arc<Faults>; 2]) {
    let faults = [Arc::<Faults>::default(), Arc::default()];
    let disks = ["first", "second"].into_iter().zip(&faults).map(|(name, faults)| (name, staging_with(faults.clone())));
    (Larder::over_all::<2>(disks.collect::<Vec<_>>().try_into().unwrap()), faults)
}

fn is_indeterminate<T: std::fmt::Debug>(result: Result<T, Error>) {
    assert!(matches!(result, Err(Error::Indeterminate(_))), "{result:?}");
}

async fn rename(files: &Files, id: FileId, name: &str) -> Result<larder_files::File, Error> {
    files.update(&local(), id, Patch { name: Some(name.into()), ..Patch::default() }, None).await
}

#[tokio::test]
async fn an_update_whose_answer_was_lost_is_not_known_though_every_other_way_was_refused_and_is_settled() {
    let (larder, [first, second]) = two_disks();
    let files = larder.start().await.0;
    let id = put(&files, "file").await.attributes.id;
    first.plan("put.answered", ".attr.json", ErrorKind::Indeterminate);
    for faults in [&first, &second] {
        faults.plan("put.written", ".larder/attributes/", ErrorKind::Full);
    }
    is_indeterminate(rename(&files, id, "updated").await);
    [first, second].iter().for_each(|faults| faults.heal());
    until("the claim is settled", async || larder.ledger.claims().await.unwrap().is_empty()).await;
    assert_eq!(files.describe(&local(), id).await.unwrap().attributes.name, "updated");
    until("the node is ready", async || files.health() == Health::Ready).await;
}

#[tokio::test]
async fn a_claim_whose_answer_was_lost_keeps_nobody_from_the_file() {
    let (larder, faults) = (Larder::new(), Arc::new(Faults::default()));
    let files = larder.start_with(faults.clone()).await;
    let id = put(&files, "file").await.attributes.id;
    faults.plan("claim.done", "", ErrorKind::Indeterminate);
    is_indeterminate(rename(&files, id, "first").await);
    faults.heal();
    until("the claim is settled", async || larder.ledger.claims().await.unwrap().is_empty()).await;
    assert_eq!(rename(&files, id, "second").await.unwrap().attributes.name, "second");
}

#[tokio::test]
async fn an_update_that_every_store_refused_did_not_happen() {
    let (larder, [first, second]) = two_disks();
    let files = larder.start().await.0;
    let file = put(&files, "file").await.attributes;
    for faults in [&first, &second] {
        faults.plan("put.written", "", ErrorKind::Full);
    }
    let refused = rename(&files, file.id, "updated").await;
    assert!(matches!(refused, Err(Error::Full(_))), "{refused:?}");
    assert_eq!(files.describe(&local(), file.id).await.unwrap().attributes, file);
    assert!(larder.ledger.claims().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_purge_that_may_have_begun_is_no_refusal_and_is_carried_out() {
    let (larder, [first, second]) = two_disks();
    let files = larder.start().await.0;
    let id = put(&files, "file").await.attributes.id;
    first.plan("put.answered", ".larder/tombstones/", ErrorKind::Indeterminate);
    second.plan("put.written", ".larder/tombstones/", ErrorKind::Full);
    let unknown = files.purge(&local(), id, None).await;
    assert!(matches!(unknown, Err(Error::StoreUnavailable(_))), "{unknown:?}");
    [first, second].iter().for_each(|faults| faults.heal());
    until("the purge is carried out", async || larder.ledger.claims().await.unwrap().is_empty()).await;
    assert!(files.describe(&local(), id).await.is_err());
    assert_eq!(larder.keys(), Vec::<String>::new());
}

async fn add(files: &Files, name: &str, hash: &str) -> Result<User, Error> {
    files.add_user(UserName::new(name).unwrap(), Role::User, Some(hash.into())).await
}

async fn password(files: &Files, id: larder_files::UserId) -> String {
    files.user(id).await.unwrap().unwrap().password_hash.unwrap()
}

#[tokio::test]
async fn a_password_whose_answer_was_lost_is_not_known_and_counts_until_the_next_one() {
    let (larder, [first, second]) = two_disks();
    let files = larder.start().await.0;
    let id = add(&files, "ivanov", "one").await.unwrap().id;
    first.plan("put.answered", ".larder/accounts/", ErrorKind::Indeterminate);
    first.plan("list.item", ".larder/accounts/", ErrorKind::Unavailable);
    second.plan("put.written", ".larder/accounts/", ErrorKind::Full);
    is_indeterminate(files.set_password(id, "two".into()).await);
    [first, second].iter().for_each(|faults| faults.heal());
    until("it is settled", async || password(&files, id).await == "two").await;
    files.set_password(id, "three".into()).await.unwrap();
    assert_eq!(password(&files, id).await, "three");
}

#[tokio::test]
async fn a_password_whose_commit_was_lost_is_settled_by_the_next_start() {
    let (larder, faults) = (Larder::new(), Arc::<Faults>::default());
    let files = larder.start_with(faults.clone()).await;
    let id = add(&files, "ivanov", "one").await.unwrap().id;
    faults.plan("record", "", ErrorKind::Indeterminate);
    is_indeterminate(files.set_password(id, "two".into()).await);
    larder.disk.kill(&larder.last_node());
    let files = larder.start().await.0;
    assert_eq!(password(&files, id).await, "two");
    files.set_password(id, "three".into()).await.unwrap();
    assert_eq!(password(&larder.start().await.0, id).await, "three");
}

#[tokio::test]
async fn a_user_that_was_added_again_after_a_lost_commit_is_the_one_that_a_rebuild_brings_back() {
    let (mut larder, faults) = (Larder::new(), Arc::<Faults>::default());
    let files = larder.start_with(faults.clone()).await;
    faults.plan("record", "", ErrorKind::Indeterminate);
    is_indeterminate(add(&files, "ivanov", "one").await);
    faults.heal();
    let added = add(&files, "ivanov", "two").await;
    until("the first attempt is settled", async || files.health() == Health::Ready).await;
    let known = files.users().await.unwrap();
    match added {
        Ok(added) => assert_eq!(known, [added]),
        Err(refused) => assert!(matches!(refused, Error::Conflict(_)), "{refused:?}"),
    }
    assert_eq!((known.len(), larder.count_below(".larder/accounts/")), (1, 1));
    let (_, findings) = larder.rebuild().await;
    assert_eq!((larder.ledger.users().await.unwrap(), findings), (known, vec![]));
}
