//! A rebuild without a store that is away: what that store may know better is read only, and never called absent, until
//! another rebuild has read it.
#![allow(clippy::unwrap_used)]

mod support;

use larder_files::{
    Body, BucketName, BucketPolicy, Error, File, Files, FsckOptions, Health, IdempotencyKey, Names, NewFile,
    OnConflict, Patch, RebuildOptions, Receive, Role, Settings, Sha256, StartError, StoreName, UserName,
    ledger::MemoryLedger,
};
use larder_storage_core::{ErrorKind, MemoryOptions};
use std::{sync::Arc, time::Duration};
use support::*;

fn named_b() -> Vec<StoreName> {
    vec![StoreName::new("b").unwrap()]
}

fn without_b() -> RebuildOptions {
    RebuildOptions { without: named_b(), ..RebuildOptions::default() }
}

fn forget_b() -> RebuildOptions {
    RebuildOptions { forget: named_b(), ..RebuildOptions::default() }
}

/// Two disks that stage, `a` with faults that can be planned.
fn two_disks() -> (Larder, Arc<Faults>) {
    let faults = Arc::<Faults>::default();
    let larder = Larder::over_all([("a", staging_with(faults.clone())), ("b", staging_with(Arc::<Faults>::default()))]);
    (larder, faults)
}

/// A file on each of two stores, of which the second is then left out.
async fn half() -> (Larder, File, File) {
    let (mut larder, _) = two_disks();
    let on_a = put(&larder.start_on("a").await, "on a").await;
    let on_b = put(&larder.start_on("b").await, "on b").await;
    larder.rebuild_with(without_b()).await.unwrap();
    (larder, on_a, on_b)
}

/// A user whose record lies on `b` alone, of which a file on `a` tells.
async fn account_on_b_alone() -> (Larder, larder_files::Caller, File) {
    let mut larder = Larder::over_all([("b", MemoryOptions::with_staging())]);
    let (files, _) = larder.start().await;
    let ivanov = user(&files, "ivanov").await;
    files.set_password(ivanov.id, "$argon2id$hash".into()).await.unwrap();
    drop(files);
    larder.add_disk("a", MemoryOptions::with_staging());
    let file = put_as(&larder.start_on("a").await, &ivanov, "theirs", "theirs").await;
    (larder, ivanov, file)
}

fn retag() -> Patch {
    Patch { tags: Some(vec!["new".into()]), ..Patch::default() }
}

async fn create_with_key(files: &Files, name: &str) -> Result<File, Error> {
    let idempotency = Some(IdempotencyKey { key: name.into(), request: Sha256::of(b"POST") });
    let received =
        files.receive(&local(), Receive { idempotency, ..into_documents() }, Body::from(name.to_owned())).await?;
    let new = NewFile { name: name.into(), ..NewFile::default() };
    Ok(files.create(&local(), received, new).await?.file)
}

fn is_provisional<T>(result: Result<T, Error>) -> bool {
    matches!(result, Err(Error::Provisional(store)) if store == "`b`")
}

#[tokio::test]
async fn files_from_before_can_be_read_and_not_changed() {
    let (larder, on_a, _) = half().await;
    let files = larder.start_on("a").await;
    let id = on_a.attributes.id;
    assert_eq!(content(&files, id).await.unwrap(), b"on a");
    assert!(is_provisional(files.update(&local(), id, retag(), None).await));
    assert!(is_provisional(files.remove(&local(), id, None).await));
    assert!(is_provisional(files.purge(&local(), id, None).await));
    let received = files.receive_revision(&local(), id, "new".into()).await.unwrap();
    assert!(is_provisional(files.replace(&local(), id, received, None, None).await));
    assert_eq!(files.describe(&local(), id).await.unwrap().attributes, on_a.attributes);
    assert_eq!(larder.keys().len(), 4, "what was refused leaves nothing");
}

#[tokio::test]
async fn a_name_of_which_the_missing_store_may_know_a_file_is_given_to_nobody() {
    let (larder, _, _) = half().await;
    let files = larder.start_on("a").await;
    for on_conflict in [OnConflict::Fail, OnConflict::Replace] {
        let received = files.receive(&local(), into_documents(), "new".into()).await.unwrap();
        let new = NewFile { name: "new".into(), on_conflict, ..NewFile::default() };
        assert!(is_provisional(files.create(&local(), received, new).await), "{on_conflict:?}");
    }
    put(&files, "new").await;
}

#[tokio::test]
async fn what_lies_only_on_the_missing_store_is_not_called_absent() {
    let (larder, on_a, on_b) = half().await;
    let files = larder.start_on("a").await;
    assert!(is_provisional(files.describe(&local(), on_b.attributes.id).await));
    assert!(is_provisional(files.revision(&local(), on_a.attributes.id, 7).await));
    assert!(is_provisional(files.bucket("elsewhere")));
    assert!(is_provisional(files.present_user(larder_files::UserId::new(files.environment())).await));
    let other = larder_files::Caller { role: Role::User, ..larder_files::Caller::local() };
    let other = larder_files::Caller { id: larder_files::UserId::new(files.environment()), ..other };
    assert!(is_provisional(files.describe(&other, on_a.attributes.id).await), "as what another's is");
}

#[tokio::test]
async fn bytes_that_lie_only_on_the_missing_store_are_not_called_lost() {
    let (mut larder, _) = two_disks();
    let file = put(&larder.start_on("b").await, "on b").await;
    // Its attributes are newer as an overlay on the other store.
    larder.stores[1].2 = larder_files::StoreMode::Ro;
    let changed = larder.start_on("a").await.update(&local(), file.attributes.id, retag(), None).await.unwrap();
    let (_, findings) = larder.rebuild_with(without_b()).await.unwrap();
    assert_eq!(findings, [], "they may come back");
    let files = larder.start_on("a").await;
    assert_eq!(files.describe(&local(), file.attributes.id).await.unwrap().attributes, changed.attributes);
    assert!(is_provisional(content(&files, file.attributes.id).await));
    assert_eq!(fsck(&files, FsckOptions::default()).await.1, []);
    drop(files);
    larder.rebuild().await;
    assert_eq!(content(&larder.start_on("a").await, file.attributes.id).await.unwrap(), b"on b");
}

#[tokio::test]
async fn a_name_of_which_the_missing_store_may_have_a_newer_file_is_not_answered() {
    let (larder, on_a, _) = half().await;
    let files = larder.start_on("a").await;
    assert!(is_provisional(files.named(&local(), "documents", None, "on a").await));
    let newer = put(&files, "on a").await.attributes.id;
    assert_eq!(files.named(&local(), "documents", None, "on a").await.unwrap().attributes.id, newer);
    assert_ne!(newer, on_a.attributes.id);
}

#[tokio::test]
async fn new_files_are_whole_files_meanwhile() {
    let (larder, ..) = half().await;
    let files = larder.start_on("a").await;
    let new = put(&files, "new").await.attributes.id;
    files.update(&local(), new, retag(), None).await.unwrap();
    replace(&files, new, "newer").await;
    files.remove(&local(), new, None).await.unwrap();
    files.restore(&local(), new, None).await.unwrap();
    assert_eq!(content(&files, new).await.unwrap(), b"newer");
    files.purge(&local(), new, None).await.unwrap();
}

#[tokio::test]
async fn new_content_that_belongs_on_the_missing_store_is_refused() {
    let (mut larder, ..) = half().await;
    for configured in [true, false] {
        let files = larder.start_on("b").await;
        let refused = files.receive(&local(), into_documents(), "new".into()).await;
        assert!(is_provisional(refused), "configured: {configured}");
        larder.stores.truncate(1);
    }
}

#[tokio::test]
async fn users_and_buckets_do_not_change_meanwhile() {
    let (mut larder, _) = two_disks();
    let known = user(&larder.start_on("a").await, "ivanov").await;
    larder.rebuild_with(without_b()).await.unwrap();
    let files = larder.start_on("a").await;
    assert!(is_provisional(files.set_password(known.id, "$argon2id$x".into()).await));
    assert!(is_provisional(files.set_role(known.id, Role::Admin).await));
    assert!(is_provisional(files.delete_user(known.id, larder_files::FilesOf::Purge).await));
    assert!(is_provisional(files.add_user(UserName::new("petrov").unwrap(), Role::User, None).await));
    let mut settings = Settings::default();
    settings.buckets.push((larder_files::BucketName::new("further").unwrap(), Default::default()));
    let (files, _) = Files::start(larder.parts(larder.ledger.another()), settings).await.unwrap();
    assert!(is_provisional(files.bucket("further")));
}

#[tokio::test]
async fn an_idempotency_key_that_the_missing_store_may_know_makes_no_second_file() {
    let (mut larder, _) = two_disks();
    let first = create_with_key(&larder.start_on("b").await, "once").await.unwrap();
    larder.rebuild_with(without_b()).await.unwrap();
    let files = larder.start_on("a").await;
    assert!(is_provisional(create_with_key(&files, "once").await));
    larder.rebuild().await;
    let again = create_with_key(&larder.start_on("a").await, "once").await.unwrap();
    assert_eq!(again.attributes, first.attributes);
}

#[tokio::test]
async fn a_day_later_no_key_of_the_missing_store_counts_any_more() {
    let (larder, ..) = half().await;
    let files = larder.start_on("a").await;
    assert!(is_provisional(create_with_key(&files, "new").await));
    larder.world.pass(Duration::from_secs(24 * 60 * 60));
    create_with_key(&files, "new").await.unwrap();
}

#[tokio::test]
async fn a_rebuild_that_reads_the_store_makes_everything_whole_again() {
    let (mut larder, faults) = two_disks();
    let on_b = put(&larder.start_on("b").await, "on b").await;
    let files = larder.start_on("a").await;
    let [changed, purged] = [put(&files, "changed").await, put(&files, "purged").await];
    // The first store takes nothing for a while: the other one alone knows of both.
    faults.plan("put.written", "", ErrorKind::Unavailable);
    let newer = files.update(&local(), changed.attributes.id, retag(), None).await.unwrap();
    files.purge(&local(), purged.attributes.id, None).await.unwrap();
    faults.heal();
    files.stop().await;
    drop(files);
    for object in [purged.attributes.key.clone(), purged.attributes.sidecar()] {
        assert!(larder.bytes_at(&object).is_none());
    }

    larder.rebuild_with(without_b()).await.unwrap();
    let files = larder.start_on("a").await;
    assert_eq!(files.describe(&local(), changed.attributes.id).await.unwrap().attributes, changed.attributes);
    let meanwhile = put(&files, "meanwhile").await;
    drop(files);

    let (_, findings) = larder.rebuild().await;
    assert_eq!(findings, []);
    let files = larder.start_on("a").await;
    assert_eq!(files.describe(&local(), changed.attributes.id).await.unwrap().attributes, newer.attributes);
    assert!(matches!(files.describe(&local(), purged.attributes.id).await, Err(Error::NotFound(_))));
    for file in [on_b, meanwhile] {
        assert_eq!(files.describe(&local(), file.attributes.id).await.unwrap().attributes, file.attributes);
    }
    assert_eq!(files.health(), Health::Ready);
    files
        .update(&local(), changed.attributes.id, Patch { tags: Some(vec![]), ..Patch::default() }, None)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_store_that_is_back_stays_out_until_it_is_read() {
    let (larder, _, on_b) = half().await;
    for start in 0..2 {
        let files = larder.start_on("a").await;
        assert_eq!(files.unread_stores(), ["b"], "start {start}");
        assert!(matches!(files.health(), Health::Degraded(why) if why.contains("`b`")));
        assert!(is_provisional(files.describe(&local(), on_b.attributes.id).await));
    }
}

#[tokio::test]
async fn a_node_starts_where_the_missing_store_is_not_configured_or_empty_or_under_another_name() {
    let (mut larder, on_a, _) = half().await;
    let b = larder.stores.pop().unwrap();
    assert_eq!(content(&larder.start_on("a").await, on_a.attributes.id).await.unwrap(), b"on a");
    larder.stores.push((StoreName::new("renamed").unwrap(), b.1, b.2));
    assert_eq!(larder.start_on("a").await.unread_stores(), ["b"]);
    // It is not mounted yet: an empty directory lies in its place, and stays so.
    larder.stores.pop();
    larder.add_disk("b", MemoryOptions::with_staging());
    assert_eq!(larder.start_on("a").await.unread_stores(), ["b"]);
    assert_eq!(larder.stores[1].1.objects(), []);
}

#[tokio::test]
async fn fsck_moves_nothing_of_what_it_can_not_judge() {
    let (larder, ..) = half().await;
    let files = larder.start_on("a").await;
    let repair = FsckOptions { repair: true, ..FsckOptions::default() };
    assert!(is_provisional(files.fsck(repair, &mut |_| {}).await));
    assert_eq!(fsck(&files, FsckOptions::default()).await.1, []);
}

#[tokio::test]
async fn accounts_and_buckets_of_which_only_attributes_tell_are_there_until_their_records_are_back() {
    let (mut larder, ivanov, file) = account_on_b_alone().await;

    larder.rebuild_with(without_b()).await.unwrap();
    let files = larder.start_on("a").await;
    let told = files.user(ivanov.id).await.unwrap().unwrap();
    assert_eq!((told.name.as_str(), told.password_hash.clone()), ("ivanov", None));
    assert_eq!(files.bucket("documents").unwrap().id, file.attributes.bucket_id);
    put_as(&files, &ivanov, "more", "more").await;
    assert_eq!(larder.stores[1].1.objects().iter().filter(|(key, _)| key.as_str().contains("/accounts/")).count(), 0);
    drop(files);

    larder.rebuild().await;
    let back = larder.start_on("a").await.user(ivanov.id).await.unwrap().unwrap();
    assert_eq!(back.password_hash.as_deref(), Some("$argon2id$hash"));
}

#[tokio::test]
async fn a_store_that_is_forgotten_is_missed_no_more() {
    let (mut larder, on_a, on_b) = half().await;
    larder.rebuild_with(forget_b()).await.unwrap();
    let old_b = larder.stores.pop().unwrap();
    // An empty disk has taken its place.
    larder.add_disk("b", MemoryOptions::with_staging());
    let files = larder.start_on("b").await;
    assert_eq!(files.health(), Health::Ready);
    assert!(matches!(files.describe(&local(), on_b.attributes.id).await, Err(Error::NotFound(_))));
    files.update(&local(), on_a.attributes.id, retag(), None).await.unwrap();
    put(&files, "on the new b").await;
    drop(files);

    larder.stores.push((StoreName::new("old_b").unwrap(), old_b.1, old_b.2));
    let refused = larder.start_over(larder.ledger.another()).await.err();
    assert!(matches!(&refused, Some(StartError::StoreForgotten(name)) if name == "old_b"), "{refused:?}");
    larder.rebuild().await;
    assert_eq!(content(&larder.start_on("a").await, on_b.attributes.id).await.unwrap(), b"on b");
}

#[tokio::test]
async fn owners_whose_records_were_on_a_forgotten_store_get_accounts_that_stay() {
    let mut larder = Larder::over_all([("b", MemoryOptions::with_staging())]);
    let ivanov = user(&larder.start().await.0, "ivanov").await;
    larder.add_disk("a", MemoryOptions::with_staging());
    put_as(&larder.start_on("a").await, &ivanov, "theirs", "theirs").await;
    larder.stores.remove(0);
    let (rebuilt, _) = larder.rebuild_with(forget_b()).await.unwrap();
    assert_eq!((rebuilt.users, rebuilt.locked), (1, 1));
    larder.rebuild().await;
    assert!(larder.start_on("a").await.user(ivanov.id).await.unwrap().is_some());
}

#[tokio::test]
async fn only_known_stores_can_be_left_out_and_none_without_the_secrets() {
    let (mut larder, ..) = half().await;
    let unknown = RebuildOptions { forget: vec![StoreName::new("c").unwrap()], ..RebuildOptions::default() };
    let refused = larder.rebuild_with(unknown).await.unwrap_err().to_string();
    assert_eq!(refused, "no store `c` is known here; known are `a`, `b`");
    let resealing = RebuildOptions { without_secrets: true, ..without_b() };
    let refused = larder.rebuild_with(resealing).await.unwrap_err().to_string();
    assert!(refused.contains("`b` can't be left out"), "{refused}");
}

#[tokio::test]
async fn from_the_first_start_on_each_store_tells_of_all() {
    let (mut larder, _) = two_disks();
    larder.start().await;
    larder.stores.pop();
    let refused = larder.rebuild_with(RebuildOptions::default()).await.unwrap_err();
    assert!(matches!(&refused, StartError::StoreMissing(name) if name == "b"), "{refused}");
}

#[tokio::test]
async fn what_a_rehearsal_leaves_out_stays_known() {
    let (larder, _) = two_disks();
    put(&larder.start_on("b").await, "on b").await;
    let (parts, before) = (larder.parts(MemoryLedger::new()), larder.objects());
    let rebuilt = larder_files::rehearse_rebuild(parts, without_b(), &mut |_| {}).await.unwrap();
    assert_eq!(rebuilt.files, 0);
    assert_eq!(larder.objects(), before);
    assert_eq!(larder.start_on("b").await.unread_stores(), [""; 0]);
}

#[tokio::test]
async fn the_policy_of_a_bucket_changes_for_this_node_and_nowhere_else_meanwhile() {
    let (mut larder, ..) = half().await;
    let before = larder.start_on("a").await.bucket("documents").unwrap();
    let records = larder.count_below(".larder/buckets/");
    let mut settings = Settings::default();
    let policy = larder_files::BucketPolicy { max_bytes: 3, ..before.policy.clone() };
    settings.buckets.retain(|(name, _)| name.as_str() != "documents");
    settings.buckets.push((larder_files::BucketName::new("documents").unwrap(), policy));
    let (files, _) = Files::start(larder.parts(larder.ledger.another()), settings).await.unwrap();
    assert!(matches!(files.receive(&local(), into_documents(), "four".into()).await, Err(Error::TooLarge { max: 3 })));
    drop(files);
    assert_eq!(larder.count_below(".larder/buckets/"), records);
    larder.rebuild().await;
    assert_eq!(larder.start_on("a").await.bucket("documents").unwrap(), before);
}

#[tokio::test]
async fn names_that_are_sealed_as_unique_stay_so_meanwhile() {
    let (mut larder, _) = two_disks();
    let with = |names| {
        let mut settings = Settings::default();
        settings.buckets.push((BucketName::new("wiki").unwrap(), BucketPolicy { names, ..BucketPolicy::default() }));
        settings
    };
    drop(Files::start(larder.parts(larder.ledger.another()), with(Names::Unique)).await.unwrap());
    larder.rebuild_with(without_b()).await.unwrap();
    let (files, _) = Files::start(larder.parts(larder.ledger.another()), with(Names::Free)).await.unwrap();
    assert_eq!(files.bucket("wiki").unwrap().policy.names, Names::Unique);
}

#[tokio::test]
async fn a_rebuild_that_fails_leaves_out_and_forgets_nothing() {
    for options in [forget_b(), without_b()] {
        let (mut larder, faults) = two_disks();
        put(&larder.start_on("b").await, "on b").await;
        let b = larder.stores.pop().unwrap();
        faults.plan("list.item", "", ErrorKind::Unavailable);
        larder.rebuild_with(options).await.unwrap_err();
        faults.heal();
        // The database is lost as well.
        larder.ledger = MemoryLedger::new();
        let refused = larder.rebuild_with(RebuildOptions::default()).await.unwrap_err();
        assert!(matches!(&refused, StartError::StoreMissing(name) if name == "b"), "{refused}");
        larder.stores.push(b);
        assert_eq!(larder.rebuild().await.0.files, 1);
    }
}

#[tokio::test]
async fn a_store_can_not_be_left_out_and_forgotten_at_once() {
    let (mut larder, ..) = half().await;
    let both = RebuildOptions { forget: named_b(), ..without_b() };
    let refused = larder.rebuild_with(both).await.unwrap_err().to_string();
    assert_eq!(refused, "the store `b` is either left out or forgotten, not both");
}

#[tokio::test]
async fn a_file_in_the_trash_may_have_been_taken_out_of_it_on_the_missing_store() {
    let (mut larder, faults) = two_disks();
    let files = larder.start_on("a").await;
    let id = put(&files, "kept").await.attributes.id;
    files.remove(&local(), id, None).await.unwrap();
    faults.plan("put.written", "", ErrorKind::Unavailable);
    files.restore(&local(), id, None).await.unwrap();
    faults.heal();
    drop(files);
    larder.rebuild_with(without_b()).await.unwrap();
    let files = larder.start_on("a").await;
    assert!(is_provisional(content(&files, id).await));
    assert!(is_provisional(files.live(&local(), id).await));
    assert!(is_provisional(files.receive_revision(&local(), id, "new".into()).await));
    let new = put(&files, "new").await.attributes.id;
    files.remove(&local(), new, None).await.unwrap();
    assert!(matches!(content(&files, new).await, Err(Error::NotFound(_))));
}

#[tokio::test]
async fn an_account_that_a_forgotten_store_knows_better_is_back_with_it() {
    let (mut larder, ivanov, _) = account_on_b_alone().await;
    let b = larder.stores.remove(0);
    larder.rebuild_with(forget_b()).await.unwrap();
    drop(larder.start_on("a").await);
    larder.stores.push(b);
    larder.rebuild().await;
    let back = larder.start_on("a").await.user(ivanov.id).await.unwrap().unwrap();
    assert_eq!(back.password_hash.as_deref(), Some("$argon2id$hash"));
}

#[tokio::test]
async fn a_rehearsal_counts_the_accounts_that_attributes_tell_of() {
    let mut larder = Larder::over_all([("b", MemoryOptions::with_staging())]);
    let ivanov = user(&larder.start().await.0, "ivanov").await;
    larder.add_disk("a", MemoryOptions::with_staging());
    put_as(&larder.start_on("a").await, &ivanov, "theirs", "theirs").await;
    let before = larder.objects();
    for options in [without_b(), forget_b()] {
        let parts = larder.parts(MemoryLedger::new());
        let would = larder_files::rehearse_rebuild(parts, options, &mut |_| {}).await.unwrap();
        assert_eq!((would.users, would.locked), (1, 1));
    }
    assert_eq!(larder.objects(), before);
}

#[tokio::test]
async fn a_store_whose_marker_does_not_tell_of_it_yet_takes_no_files() {
    let (mut larder, faults) = two_disks();
    let b = larder.stores.pop().unwrap();
    drop(larder.start_on("a").await);
    larder.stores.push(b);
    // The start that adds the store ends between its marker and the last one.
    faults.plan("put.written", "instance.json", ErrorKind::Unavailable);
    assert!(larder.start_over(larder.ledger.another()).await.is_err());
    faults.heal();
    larder.stores[1].2 = larder_files::StoreMode::Rw;
    let refused = larder.start_over(larder.ledger.another()).await.err();
    assert!(matches!(&refused, Some(StartError::Configuration(why)) if why.contains("`edit` once")), "{refused:?}");
    larder.stores[1].2 = larder_files::StoreMode::Edit;
    drop(larder.start_on("b").await);
    larder.stores[1].2 = larder_files::StoreMode::Rw;
    put(&larder.start_on("b").await, "on b").await;
}

#[tokio::test]
async fn what_was_purged_stays_so_where_only_the_missing_store_and_the_older_database_tell_of_it() {
    let (mut larder, _) = two_disks();
    let id = put(&larder.start_on("a").await, "on a").await.attributes.id;
    larder.stores[0].2 = larder_files::StoreMode::Ro;
    larder.start_on("b").await.purge(&local(), id, None).await.unwrap();
    larder.stores[0].2 = larder_files::StoreMode::Edit;
    larder.rebuild_with(without_b()).await.unwrap();
    assert!(is_provisional(content(&larder.start_on("a").await, id).await));
    larder.rebuild_with(forget_b()).await.unwrap();
    larder.stores.pop();
    larder.ledger = MemoryLedger::new();
    let (rebuilt, _) = larder.rebuild().await;
    assert_eq!((rebuilt.files, rebuilt.tombstones), (0, 1));
}

#[tokio::test]
async fn an_empty_place_is_no_new_store_where_it_may_be_the_missing_ones() {
    let (mut larder, ..) = half().await;
    larder.stores.pop();
    larder.add_disk("renamed", MemoryOptions::with_staging());
    let refused = larder.start_over(larder.ledger.another()).await.err();
    assert!(
        matches!(&refused, Some(StartError::Configuration(why)) if why.contains("call it `b` again")),
        "{refused:?}"
    );
    assert_eq!(larder.stores[1].1.objects(), []);
    larder.add_disk("b", MemoryOptions::with_staging());
    put(&larder.start_on("renamed").await, "on a new one").await;
}

#[tokio::test]
async fn a_store_that_only_the_older_database_tells_of_is_missed_too() {
    let mut larder = Larder::over_all([("a", MemoryOptions::with_staging())]);
    larder.start().await;
    larder.stores[0].2 = larder_files::StoreMode::Ro;
    larder.add_disk("b", MemoryOptions::with_staging());
    put(&larder.start_on("b").await, "on b").await;
    larder.stores.pop();
    let refused = larder.rebuild_with(RebuildOptions::default()).await.unwrap_err();
    assert!(matches!(&refused, StartError::StoreMissing(name) if name == "b"), "{refused}");
}

#[tokio::test]
async fn an_account_of_a_forgotten_store_stays_though_another_is_left_out() {
    let mut larder = Larder::over_all([("c", MemoryOptions::with_staging())]);
    let ivanov = user(&larder.start().await.0, "ivanov").await;
    for name in ["a", "b"] {
        larder.add_disk(name, MemoryOptions::with_staging());
    }
    put_as(&larder.start_on("a").await, &ivanov, "theirs", "theirs").await;
    larder.stores.remove(0);
    let forget_c = || RebuildOptions { forget: vec![StoreName::new("c").unwrap()], ..RebuildOptions::default() };
    larder.rebuild_with(RebuildOptions { without: named_b(), ..forget_c() }).await.unwrap();
    // The one that was away still tells of it.
    larder.rebuild_with(forget_c()).await.unwrap();
    assert!(larder.start_on("a").await.user(ivanov.id).await.unwrap().is_some());
}
