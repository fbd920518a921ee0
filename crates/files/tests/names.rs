//! Names that only one live file may have: who asks first gets it, whatever fails, and nobody else learns whose it is.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test has a runtime of its own, and may unwrap")]

mod support;

use futures_util::{FutureExt, future::join_all};
use larder_files::{
    BucketName, BucketPolicy, Caller, CopyTo, Created, Error, FileId, Files, Health, IdempotencyKey, Names, NewFile,
    OnConflict, Parts, Patch, Receive, Settings, Sha256, StartError, UserName, ledger::MemoryLedger,
};
use larder_storage_core::{ErrorKind, MemoryOptions, MemoryStore, NodeId, PutOptions, Store};
use std::sync::Arc;
use support::*;

/// The ready-made buckets, `wiki` of unique names, and `small` of text up to 9 bytes.
fn settings() -> Settings {
    let mut settings = Settings::default();
    let small = BucketPolicy { max_bytes: 9, types: vec!["text/plain".into()], ..BucketPolicy::default() };
    for (name, policy) in [("wiki", BucketPolicy { names: Names::Unique, ..BucketPolicy::default() }), ("small", small)]
    {
        settings.buckets.push((BucketName::new(name).unwrap(), policy));
    }
    settings
}

async fn start_over(larder: &Larder, ledger: MemoryLedger) -> Files {
    Files::start(larder.parts(ledger), settings()).await.unwrap().0
}

async fn start(larder: &Larder) -> Files {
    start_over(larder, larder.ledger.another()).await
}

async fn put_by(
    files: &Files,
    caller: &Caller,
    (bucket, name): (&str, &str),
    on_conflict: OnConflict,
    content: &str,
) -> Result<Created, Error> {
    let receive = Receive { bucket: bucket.into(), ..Receive::default() };
    let received = files.receive(caller, receive, content.to_owned().into()).await?;
    files.create(caller, received, NewFile { on_conflict, ..named(name) }).await
}

async fn put(files: &Files, place: (&str, &str), on_conflict: OnConflict) -> Result<Created, Error> {
    put_by(files, &local(), place, on_conflict, "content").await
}

async fn kept(files: &Files, place: (&str, &str)) -> FileId {
    put(files, place, OnConflict::KeepBoth).await.unwrap().file.attributes.id
}

async fn rename(files: &Files, id: FileId, name: &str) -> Result<larder_files::File, Error> {
    files.update(&local(), id, Patch { name: Some(name.into()), ..Patch::default() }, None).await
}

async fn move_to(files: &Files, id: FileId, bucket: &str) -> Result<larder_files::File, Error> {
    files.update(&local(), id, Patch { bucket: Some(bucket.into()), ..Patch::default() }, None).await
}

#[track_caller]
fn is_taken<T: std::fmt::Debug>(result: Result<T, Error>, by: Option<FileId>) {
    match result {
        Err(Error::NameTaken { by: found, .. }) => assert_eq!(found, by),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn among_free_names_only_who_asks_heeds_a_file_of_the_owner_that_lives() {
    use OnConflict::{Fail, KeepBoth, Replace};
    let larder = Larder::new();
    let files = start(&larder).await;
    let (place, ada) = (("documents", "a.txt"), user(&files, "ada").await);
    put_by(&files, &ada, place, KeepBoth, "ada's").await.unwrap();
    let first = put(&files, place, Fail).await.unwrap().file.attributes.id;
    is_taken(put(&files, place, Fail).await, Some(first));
    let second = kept(&files, place).await;
    let replaced = put_by(&files, &local(), place, Replace, "newer").await.unwrap();
    let attributes = &replaced.file.attributes;
    assert_eq!((attributes.id, attributes.revision, replaced.replaced), (second, 2, true), "the newest");
    assert_eq!(content(&files, second).await.unwrap(), b"newer");
    for id in [first, second] {
        files.remove(&local(), id, None).await.unwrap();
    }
    let third = put(&files, place, Replace).await.unwrap();
    assert!(!third.replaced && third.file.attributes.revision == 1, "what lies in the trash has no name");
    files.restore(&local(), first, None).await.unwrap();
}

#[tokio::test]
async fn a_replace_by_name_keeps_tags_and_metadata_unless_it_brings_its_own() {
    let larder = Larder::new();
    let files = start(&larder).await;
    let put = async |tags: Vec<String>, sha256| {
        let received = files.receive(&local(), into_documents(), "x".into()).await?;
        let new = NewFile { tags, on_conflict: OnConflict::Replace, if_match: sha256, ..named("a") };
        files.create(&local(), received, new).await
    };
    let none = put(vec![], Some(vec![])).await;
    assert!(matches!(none, Err(Error::PreconditionFailed { version: 0 })), "{none:?}");
    put(vec!["old".into()], None).await.unwrap();
    assert_eq!(put(vec![], Some(vec![Sha256::of(b"x")])).await.unwrap().file.attributes.tags, ["old"]);
    assert_eq!(put(vec!["new".into()], Some(vec![])).await.unwrap().file.attributes.tags, ["new"]);
    let other = put(vec![], Some(vec![Sha256::of(b"y")])).await;
    assert!(matches!(other, Err(Error::PreconditionFailed { version: 3.. })), "{other:?}");
    assert!(larder.ledger.another().claims_and_nodes().await.is_empty());
}

#[tokio::test]
async fn whatever_gives_a_file_a_name_of_a_unique_bucket_is_refused_where_another_has_it() {
    let larder = Larder::new();
    let files = start(&larder).await;
    let (ada, bob) = (user(&files, "ada").await, user(&files, "bob").await);
    let keep = OnConflict::KeepBoth;
    let id = put_by(&files, &ada, ("wiki", "a"), keep, "x").await.unwrap().file.attributes.id;

    is_taken(put_by(&files, &ada, ("wiki", "a"), keep, "x").await, Some(id));
    is_taken(put(&files, ("wiki", "a"), OnConflict::Replace).await, Some(id));
    is_taken(put_by(&files, &bob, ("wiki", "a"), OnConflict::Replace, "x").await, None);
    let bobs = put_by(&files, &bob, ("wiki", "b"), keep, "x").await.unwrap().file.attributes.id;
    let to_a = Patch { name: Some("a".into()), ..Patch::default() };
    is_taken(files.update(&bob, bobs, to_a, None).await, None);
    is_taken(files.copy(&bob, bobs, CopyTo { name: Some("a".into()), ..CopyTo::default() }).await, None);
    let elsewhere = kept(&files, ("documents", "a")).await;
    is_taken(move_to(&files, elsewhere, "wiki").await, Some(id));

    files.remove(&ada, id, None).await.unwrap();
    let next = move_to(&files, elsewhere, "wiki").await.unwrap().attributes;
    assert_eq!((next.bucket.as_str(), next.id), ("wiki", elsewhere));
    is_taken(files.restore(&ada, id, None).await, None);
    rename(&files, elsewhere, "c").await.unwrap();
    files.restore(&ada, id, None).await.unwrap();
    let retag = Patch { tags: Some(vec!["t".into()]), name: Some("a".into()), ..Patch::default() };
    files.update(&ada, id, retag, None).await.unwrap();
    assert!(larder.ledger.another().claims_and_nodes().await.is_empty(), "names are given back");
}

#[tokio::test]
async fn an_admin_moves_a_file_to_what_takes_it_and_its_bytes_stay() {
    let mut larder = Larder::new();
    let files = start(&larder).await;
    let (ada, id) = (user(&files, "ada").await, kept(&files, ("documents", "a.txt")).await);
    let long = put_by(&files, &local(), ("documents", "long"), OnConflict::KeepBoth, "0123456789").await.unwrap();
    let key = files.describe(&local(), id).await.unwrap().attributes.key;
    let patch =
        || Patch { owner: Some(UserName::new("ada").unwrap()), bucket: Some("small".into()), ..Patch::default() };
    let to = |owner: &str| Patch { owner: Some(UserName::new(owner).unwrap()), ..Patch::default() };
    let refused = files.update(&local(), long.file.attributes.id, patch(), None).await;
    assert!(matches!(refused, Err(Error::TooLarge { max: 9 })), "{refused:?}");
    let refused = move_to(&files, id, "images").await;
    assert!(matches!(refused, Err(Error::UnsupportedType { .. })), "{refused:?}");
    for patch in [to("nobody"), Patch { bucket: Some("nowhere".into()), ..Patch::default() }] {
        let refused = files.update(&local(), id, patch, None).await;
        assert!(matches!(refused, Err(Error::Invalid { .. })), "{refused:?}");
    }
    let moved = files.update(&local(), id, patch(), None).await.unwrap().attributes;
    assert_eq!((moved.owner_id, moved.owner.as_str(), moved.bucket.as_str()), (ada.id, "ada", "small"));
    assert_eq!(moved.key, key);
    let refused = files.update(&ada, id, to("bob"), None).await;
    assert!(matches!(refused, Err(Error::Forbidden(_))), "{refused:?}");
    assert_eq!(content_as(&files, &ada, id).await.unwrap(), b"content");
    let before = dump(&files).await;
    drop(files);
    larder.rebuild().await;
    let files = start(&larder).await;
    assert_eq!(dump(&files).await, before);
    files.update(&local(), id, to("local"), None).await.unwrap();
    files.remove(&local(), id, None).await.unwrap();
    let trashed = files.update(&local(), id, patch(), None).await;
    assert!(matches!(trashed, Err(Error::NotFound("file"))), "{trashed:?}");
}

#[tokio::test]
async fn content_that_arrives_while_its_file_is_moved_must_be_what_the_new_bucket_takes() {
    let larder = Larder::new();
    let files = start(&larder).await;
    for (content, says) in [("0123456789", "too large"), ("GIF89a", "type")] {
        let id = kept(&files, ("documents", "a.txt")).await;
        let received = files.receive_revision(&local(), id, content.to_owned().into()).await.unwrap();
        move_to(&files, id, "small").await.unwrap();
        let refused = files.replace(&local(), id, received, None, None).await;
        match says {
            "too large" => assert!(matches!(refused, Err(Error::TooLarge { max: 9 })), "{refused:?}"),
            _ => assert!(matches!(refused, Err(Error::UnsupportedType { .. })), "{content}: {refused:?}"),
        }
        assert_eq!(content_as(&files, &local(), id).await.unwrap(), b"content");
    }
    assert!(larder.ledger.another().claims_and_nodes().await.is_empty());
}

#[tokio::test]
async fn of_many_who_want_a_name_at_once_on_two_nodes_one_gets_it() {
    for options in [staging_with(Arc::new(Slow::default())), MemoryOptions::without_staging()] {
        let staging = options.staging;
        let larder = Larder::over(options);
        // Where nothing stages, no node is seen to live: one there.
        let first = start(&larder).await;
        let nodes = if staging { [first, start(&larder).await] } else { [first.clone(), first] };
        for (place, choice) in [(("documents", "a"), OnConflict::Fail), (("wiki", "a"), OnConflict::KeepBoth)] {
            let results = join_all((0..12).map(|number| put(&nodes[number % 2], place, choice))).await;
            let made: Vec<_> = results.iter().filter(|result| result.is_ok()).collect();
            assert_eq!(made.len(), 1, "{results:?}");
            assert!(results.iter().all(|result| matches!(result, Ok(_) | Err(Error::NameTaken { .. }))), "{results:?}");
        }
        let place = ("documents", "b");
        let results = join_all((0..12).map(|number| put(&nodes[number % 2], place, OnConflict::Replace))).await;
        // Whoever waits lets time pass for all, so some may have waited for too long.
        let done = results.into_iter().filter(|result| !matches!(result, Err(Error::Busy)));
        let ids: Vec<_> = done.map(|result| result.unwrap().file.attributes.id).collect();
        assert!(ids.iter().all(|id| *id == ids[0]), "several files: {ids:?}");
        assert_eq!(nodes[0].revisions(&local(), ids[0]).await.unwrap().len(), ids.len());
    }
}

#[tokio::test]
async fn a_create_whose_outcome_is_not_known_keeps_its_name_until_it_is() {
    let (staged, put_at_once) = (MemoryOptions::with_staging(), MemoryOptions::without_staging());
    for (step, on, base) in [("publish.answered", "documents/", staged), ("put.answered", ".attr.json", put_at_once)] {
        let faults = Arc::new(Faults::default());
        let larder = Larder::over(MemoryOptions { steps: Some(faults.clone()), ..base });
        let files = start(&larder).await;
        // Whether it settles at once or later: who asks meanwhile is told to wait, never that the name is free.
        faults.plan(step, on, ErrorKind::Indeterminate);
        let unknown = put(&files, ("documents", "a"), OnConflict::Fail).await;
        assert!(matches!(unknown, Err(Error::Indeterminate(_))), "{unknown:?}");
        faults.heal();
        let mut again = Err(Error::Busy);
        until("the first is settled", async || {
            again = put(&files, ("documents", "a"), OnConflict::Fail).await;
            !matches!(again, Err(Error::Busy))
        })
        .await;
        assert!(matches!(again, Err(Error::NameTaken { by: Some(_), .. })), "{again:?}");
    }
}

#[tokio::test]
async fn the_name_of_a_dead_node_s_create_is_free_only_once_what_it_left_is_settled() {
    for (held_at, survives) in [("record", true), ("reserve.done", false)] {
        let (larder, gate) = (Larder::new(), Gate::at(held_at));
        let dead = start_over(&larder, larder.ledger.another().with_steps(gate.clone())).await;
        let node = larder.last_node();
        let living = start(&larder).await;
        kept(&dead, ("documents", "marks")).await;
        gate.close();
        let dying = tokio::spawn(async move { put(&dead, ("wiki", "a"), OnConflict::Fail).await });
        gate.reached().await;
        larder.disk.kill(&node);
        let next = put(&living, ("wiki", "a"), OnConflict::Fail).await;
        match survives {
            true => assert!(matches!(next, Err(Error::NameTaken { by: Some(_), .. })), "{next:?}"),
            false => drop(next.unwrap()),
        }
        dying.abort();
    }
}

#[tokio::test]
async fn two_who_look_at_once_for_what_a_dead_node_left_give_its_name_to_neither() {
    let (larder, gate, held) = (Larder::new(), Gate::at("record"), Gate::at("record"));
    let dead = start_over(&larder, larder.ledger.another().with_steps(gate.clone())).await;
    let node = larder.last_node();
    let living = start_over(&larder, larder.ledger.another().with_steps(held.clone())).await;
    kept(&dead, ("documents", "marks")).await;
    gate.close();
    let dying = tokio::spawn(async move { put(&dead, ("wiki", "a"), OnConflict::Fail).await });
    gate.reached().await;
    larder.disk.kill(&node);
    held.close();
    let at_once = [(); 2].map(|()| {
        let living = living.clone();
        tokio::spawn(async move { put(&living, ("wiki", "a"), OnConflict::Fail).await })
    });
    held.reached().await;
    others_go_on().await;
    held.open();
    for put in join_all(at_once).await {
        let put = put.unwrap();
        assert!(matches!(put, Err(Error::NameTaken { by: Some(_), .. } | Error::Busy)), "{put:?}");
    }
    dying.abort();
}

#[tokio::test]
async fn a_damaged_leftover_keeps_its_own_name_alone_and_is_settled_once_it_is_mended() {
    let larder = Larder::new();
    let dies = async |name: &'static str, at| {
        let gate = Gate::at(at);
        let dead = start_over(&larder, larder.ledger.another().with_steps(gate.clone())).await;
        let node = larder.last_node();
        kept(&dead, ("documents", "marks")).await;
        gate.close();
        tokio::spawn(async move { put(&dead, ("wiki", name), OnConflict::Fail).await });
        gate.reached().await;
        larder.disk.kill(&node);
    };
    let (living, before) = (start(&larder).await, larder.keys());
    dies("a", "record").await;
    let is_new = |key: &String| key.starts_with("wiki/") && key.ends_with(".attr.json") && !before.contains(key);
    let sidecar = key(&larder.keys().into_iter().find(is_new).unwrap());
    larder.store().put(&sidecar, "{".into(), PutOptions::replace()).await.unwrap();
    let kept_back = put(&living, ("wiki", "a"), OnConflict::Fail).await;
    assert!(matches!(kept_back, Err(Error::Busy)), "{kept_back:?}");
    dies("b", "reserve.done").await;
    put(&living, ("wiki", "b"), OnConflict::Fail).await.unwrap();
    let why = living.health();
    assert!(matches!(&why, Health::Degraded(why) if why.contains("1 upload that") && why.contains("fsck")), "{why:?}");
    larder.store().delete(&sidecar).await.unwrap();
    put(&living, ("wiki", "a"), OnConflict::Fail).await.unwrap();
    assert_eq!(living.health(), Health::Ready);
}

/// A process that two disks know by different names, and that puts new files on the second.
fn two_named(larder: &Larder, ledger: MemoryLedger, second: &NodeId) -> (Parts, Settings) {
    let (mut parts, name) = (larder.parts(ledger), larder.stores[1].0.clone());
    parts.stores[1].store = Arc::new(MemoryStore::open(&larder.stores[1].1, name.as_str(), second.clone()));
    (parts, Settings { placement: vec![name], ..settings() })
}

#[tokio::test]
async fn the_name_of_a_dead_node_s_create_is_kept_while_another_node_has_that_in_hand() {
    let larder = Larder::over_all(["first", "second"].map(|name| (name, MemoryOptions::with_staging())));
    let [dead, heir, third] = ["dead", "heir", "third"].map(|name| NodeId::new(name).unwrap());
    let (gate, held) = (Gate::at("record"), Gate::at("record"));
    let start = |ledger, node: &NodeId| {
        let (parts, settings) = two_named(&larder, ledger, node);
        Files::start(parts, settings)
    };
    let dying = start(larder.ledger.another().with_steps(gate.clone()), &dead).await.unwrap().0;
    let first = larder.last_node();
    let other = start(larder.ledger.another(), &third).await.unwrap().0;
    kept(&dying, ("documents", "marks")).await;
    gate.close();
    let dying = tokio::spawn(async move { put(&dying, ("wiki", "a"), OnConflict::Fail).await });
    gate.reached().await;
    larder.stores[0].1.kill(&first);
    larder.stores[1].1.kill(&dead);
    held.close();
    let starting = tokio::spawn(start(larder.ledger.another().with_steps(held.clone()), &heir));
    held.reached().await;
    let meanwhile = put(&other, ("wiki", "a"), OnConflict::Fail).await;
    assert!(matches!(meanwhile, Err(Error::Busy)), "{meanwhile:?}");
    held.open();
    starting.await.unwrap().unwrap();
    let settled = put(&other, ("wiki", "a"), OnConflict::Fail).await;
    assert!(matches!(settled, Err(Error::NameTaken { by: Some(_), .. })), "{settled:?}");
    dying.abort();
}

#[tokio::test]
async fn the_name_of_a_dead_node_s_rename_is_free_only_once_its_claim_is_settled() {
    let (larder, gate) = (Larder::new(), Gate::at("record"));
    let dead = start_over(&larder, larder.ledger.another().with_steps(gate.clone())).await;
    let node = larder.last_node();
    let living = start(&larder).await;
    let id = kept(&dead, ("wiki", "a")).await;
    gate.close();
    let dying = tokio::spawn(async move { rename(&dead, id, "b").await });
    gate.reached().await;
    larder.disk.kill(&node);
    is_taken(put(&living, ("wiki", "b"), OnConflict::KeepBoth).await, Some(id));
    put(&living, ("wiki", "a"), OnConflict::KeepBoth).await.unwrap();
    dying.abort();
}

#[tokio::test]
async fn a_repeat_of_a_replace_is_known_after_a_rebuild_and_after_a_purge() {
    let mut larder = Larder::new();
    let files = start(&larder).await;
    let put = async |files: &Files, key: &str| {
        let idempotency = Some(IdempotencyKey { key: key.into(), request: Sha256::of(b"POST") });
        let received =
            files.receive(&local(), Receive { idempotency, ..into_documents() }, key.to_owned().into()).await?;
        files.create(&local(), received, NewFile { on_conflict: OnConflict::Replace, ..named("a") }).await
    };
    let made = put(&files, "first").await.unwrap();
    let id = made.file.attributes.id;
    assert!(put(&files, "second").await.unwrap().replaced);
    for key in ["third", "first", "second", "third"] {
        let done = put(&files, key).await.unwrap();
        assert_eq!(done.file.attributes.id, id);
        assert_eq!(done.file.attributes.revision, 3, "nothing is done twice");
    }
    drop(files);
    larder.rebuild().await;
    let files = start(&larder).await;
    let status = async |files: &Files, key: &str| put(files, key).await.map(|done| done.repeated);
    assert_eq!(status(&files, "first").await.unwrap(), Some(201));
    assert_eq!(status(&files, "second").await.unwrap(), Some(200));
    assert_eq!(status(&files, "third").await.unwrap(), Some(200));
    files.purge_revision(&local(), id, 2, None).await.unwrap();
    drop(files);
    larder.rebuild().await;
    let files = start(&larder).await;
    assert_eq!(status(&files, "second").await.unwrap(), Some(200), "its revision was purged");
    files.purge(&local(), id, None).await.unwrap();
    drop(files);
    larder.rebuild().await;
    let files = start(&larder).await;
    for key in ["first", "third"] {
        assert!(matches!(status(&files, key).await, Err(Error::Gone)), "{key}");
    }
}

#[tokio::test]
async fn names_become_unique_only_where_none_is_shared() {
    let larder = Larder::new();
    let files = start(&larder).await;
    let unique = || {
        let mut settings = settings();
        settings.buckets.retain(|(name, _)| name.as_str() != "documents");
        let policy = BucketPolicy { names: Names::Unique, ..BucketPolicy::default() };
        settings.buckets.push((BucketName::new("documents").unwrap(), policy));
        settings
    };
    for name in ["a", "b", "b", "c", "b"] {
        kept(&files, ("documents", name)).await;
    }
    drop(files);
    let refused = Files::start(larder.parts(larder.ledger.another()), unique()).await.map(drop);
    match refused {
        Err(StartError::Configuration(why)) => assert!(why.contains("2 live files") && why.contains("`b`"), "{why}"),
        other => panic!("{other:?}"),
    }
    let files = start(&larder).await;
    for _ in 0..2 {
        let twin = files.named(&local(), "documents", None, "b").await.unwrap().attributes.id;
        files.remove(&local(), twin, None).await.unwrap();
    }
    drop(files);
    let (files, _) = Files::start(larder.parts(larder.ledger.another()), unique()).await.unwrap();
    assert!(matches!(put(&files, ("documents", "b"), OnConflict::KeepBoth).await, Err(Error::NameTaken { .. })));
}

#[tokio::test]
async fn a_name_is_told_to_be_taken_before_its_content_is_sent() {
    let larder = Larder::new();
    let files = start(&larder).await;
    let check = async |bucket: &str, choice| {
        let receive = Receive { bucket: bucket.into(), name_hint: "a".into(), ..Receive::default() };
        files.check_name_free(&local(), &receive, choice).await
    };
    for bucket in ["documents", "wiki"] {
        check(bucket, OnConflict::Fail).await.unwrap();
        kept(&files, (bucket, "a")).await;
        assert!(check(bucket, OnConflict::Fail).await.is_err());
        check(bucket, OnConflict::Replace).await.unwrap();
        assert_eq!(check(bucket, OnConflict::KeepBoth).await.is_err(), bucket == "wiki");
    }
}

/// What is still held, once what is given back in the background is back.
trait Held {
    async fn claims_and_nodes(&self) -> Vec<String>;
}

impl Held for MemoryLedger {
    async fn claims_and_nodes(&self) -> Vec<String> {
        use larder_files::Ledger;
        let mut held = vec![];
        let look = async || {
            held = self.nodes().await.unwrap().iter().map(ToString::to_string).collect();
            held.is_empty()
        };
        until("everything is given back", look).boxed_local().await;
        held
    }
}
