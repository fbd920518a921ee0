//! What each operation on files promises, on a larder in memory.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test has a runtime of its own, and may unwrap")]

mod support;

use larder_files::{
    Caller, CopyTo, Error, Files, FsckOptions, IdempotencyKey, ListFiles, NewFile, Patch, Receive, Settings, Sha256,
    StartError, StoreMode,
};
use larder_storage_core::{Body, ByteRange, MemoryOptions};
use std::time::Duration;
use support::{
    Gate, Larder, content, content_as, fsck, into_documents, key, local, named, others_go_on, put, put_as, put_content,
    staging_with, user,
};

#[tokio::test]
async fn what_was_uploaded_is_read_back_byte_by_byte() {
    let larder = Larder::new();
    let files = larder.start().await.0;
    let ivanov = user(&files, "ivanov").await;
    for size in [0_usize, 1, 4096, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 3 << 20] {
        let bytes: Vec<u8> = (0..size).map(|i| (i % 251) as u8).collect();
        let file = put_as(&files, &ivanov, "2026/report.bin", bytes.clone()).await;
        assert_eq!(file.attributes.size, size as u64);
        assert_eq!(file.attributes.sha256, Sha256::of(&bytes));
        assert_eq!(content_as(&files, &ivanov, file.attributes.id).await.unwrap(), bytes);
    }
}

#[tokio::test]
async fn who_waits_to_purge_what_becomes_anothers_purges_nothing() {
    let (larder, gate) = (Larder::new(), Gate::at("claim"));
    let files = larder.start().await.0;
    let (ivanov, petrov) = (user(&files, "ivanov").await, user(&files, "petrov").await);
    let id = put_as(&files, &ivanov, "a", "x").await.attributes.id;
    let purging = larder.start_with(gate.clone()).await;
    gate.close();
    let purge = tokio::spawn(async move { purging.purge(&ivanov, id, None).await });
    gate.reached().await;
    let given = Patch { owner: Some(petrov.name.clone()), ..Patch::default() };
    files.update(&local(), id, given, None).await.unwrap();
    gate.open();
    let purged = purge.await.unwrap();
    assert!(matches!(purged, Err(Error::NotFound(_))), "{purged:?}");
    assert_eq!(content_as(&files, &petrov, id).await.unwrap(), b"x");
}

#[tokio::test]
async fn bytes_lie_under_a_key_that_people_can_read_with_their_attributes_beside_them() {
    let larder = Larder::new();
    let files = larder.start().await.0;
    let ivanov = user(&files, "ivanov").await;
    let receive = Receive { name_hint: "2026/Отчёт за год.PDF".into(), ..into_documents() };
    let received = files.receive(&ivanov, receive, "%PDF-1.4".into()).await.unwrap();
    let file = files.create(&ivanov, received, named("2026/Отчёт за год.PDF")).await.unwrap().file;
    let key = file.attributes.key.to_string();
    assert!(key.starts_with("documents/ivanov/2026/11/21/15/Отчёт-за-год_ivanov_20261121T153"), "{key}");
    assert!(key.ends_with(".pdf"), "{key}");
    assert_eq!(file.attributes.content_type, "application/pdf");
    assert_eq!(larder.bytes_at(&file.attributes.key).unwrap(), "%PDF-1.4");
    assert_eq!(larder.bytes_at(&file.attributes.sidecar()).unwrap(), file.attributes.to_bytes());
}

#[tokio::test]
async fn anothers_file_is_as_absent() {
    let larder = Larder::new();
    let files = larder.start().await.0;
    let (ivanov, petrov) = (user(&files, "ivanov").await, user(&files, "petrov").await);
    let file = put_as(&files, &ivanov, "a", "x").await;
    let id = file.attributes.id;
    let absent = |result: Result<(), Error>| assert!(matches!(result, Err(Error::NotFound(_))), "{result:?}");
    absent(files.describe(&petrov, id).await.map(drop));
    absent(files.open(&petrov, &file, None, None).await.map(drop));
    absent(files.revisions(&petrov, id).await.map(drop));
    absent(files.update(&petrov, id, Patch::default(), None).await.map(drop));
    absent(files.remove(&petrov, id, None).await.map(drop));
    absent(files.restore(&petrov, id, None).await.map(drop));
    absent(files.purge(&petrov, id, None).await);
    absent(files.receive_revision(&petrov, id, "y".into()).await.map(drop));
    assert_eq!(content_as(&files, &Caller::local(), id).await.unwrap(), b"x");
}

#[tokio::test]
async fn replacing_makes_a_revision_and_keeps_the_old_one() {
    let larder = Larder::new();
    let files = larder.start().await.0;
    let ivanov = user(&files, "ivanov").await;
    let id = put_as(&files, &ivanov, "a.txt", "one").await.attributes.id;
    let received = files.receive_revision(&ivanov, id, "two".into()).await.unwrap();
    let file = files.replace(&ivanov, id, received, None, None).await.unwrap();
    assert_eq!((file.attributes.revision, file.attributes.version), (2, 2));
    assert_eq!(content_as(&files, &ivanov, id).await.unwrap(), b"two");
    let old = files.open(&ivanov, &file, Some(1), None).await.unwrap();
    assert_eq!(old.revision.sha256, Sha256::of(b"one"));
    assert_eq!(files.revisions(&ivanov, id).await.unwrap().len(), 2);

    let received = files.receive_revision(&ivanov, id, "three".into()).await.unwrap();
    let refused = files.replace(&ivanov, id, received, None, Some(vec![Sha256::of(b"one")])).await;
    assert!(matches!(refused, Err(Error::PreconditionFailed { .. })), "{refused:?}");
    assert_eq!(content_as(&files, &ivanov, id).await.unwrap(), b"two");
}

#[tokio::test]
async fn trash_hides_content_and_restore_brings_it_back() {
    let larder = Larder::new();
    let files = larder.start().await.0;
    let ivanov = user(&files, "ivanov").await;
    let id = put_as(&files, &ivanov, "a.txt", "one").await.attributes.id;
    let trashed = files.remove(&ivanov, id, Some(1)).await.unwrap();
    assert!(trashed.attributes.deleted_at.is_some());
    assert!(matches!(content_as(&files, &ivanov, id).await, Err(Error::NotFound(_))));
    assert_eq!(files.remove(&ivanov, id, None).await.unwrap(), trashed, "a second time changes nothing");
    let stale = files.restore(&ivanov, id, Some(1)).await;
    assert!(matches!(stale, Err(Error::PreconditionFailed { .. })), "{stale:?}");
    files.restore(&ivanov, id, None).await.unwrap();
    assert_eq!(content_as(&files, &ivanov, id).await.unwrap(), b"one");
}

#[tokio::test]
async fn a_purge_leaves_nothing_but_its_tombstone() {
    let larder = Larder::new();
    let files = larder.start().await.0;
    let ivanov = user(&files, "ivanov").await;
    let before = larder.objects().len();
    let id = put_as(&files, &ivanov, "a.txt", "one").await.attributes.id;
    let received = files.receive_revision(&ivanov, id, "two".into()).await.unwrap();
    files.replace(&ivanov, id, received, None, None).await.unwrap();
    files.purge(&ivanov, id, None).await.unwrap();
    assert!(matches!(files.describe(&ivanov, id).await, Err(Error::NotFound(_))));
    let left: Vec<String> = larder.objects().into_iter().map(|(key, _)| key.to_string()).collect();
    let fresh: Vec<_> = left.iter().filter(|key| !key.starts_with(".larder/mark")).collect();
    assert_eq!(fresh.len(), before + 1 - left.iter().filter(|key| *key == ".larder/mark").count(), "{left:#?}");
    assert!(left.iter().any(|key| key == &format!(".larder/tombstones/2026-11/{id}")), "{left:#?}");
}

#[tokio::test]
async fn an_update_is_a_merge_patch_of_what_the_user_may_say() {
    let larder = Larder::new();
    let files = larder.start().await.0;
    let ivanov = user(&files, "ivanov").await;
    let id = put_as(&files, &ivanov, "a.txt", "one").await.attributes.id;
    let patch = Patch {
        name: Some("b.txt".into()),
        tags: Some(vec!["q3".into()]),
        metadata: Some(serde_json::json!({"year": 2026, "gone": null})),
        ..Patch::default()
    };
    let file = files.update(&ivanov, id, patch.clone(), None).await.unwrap();
    assert_eq!(file.attributes.name, "b.txt");
    assert_eq!(serde_json::Value::Object(file.attributes.metadata.clone()), serde_json::json!({"year": 2026}));
    assert_eq!(files.update(&ivanov, id, patch, None).await.unwrap().attributes.version, file.attributes.version);
    let long = Patch { metadata: Some(serde_json::json!({"x": "y".repeat(2600)})), ..Patch::default() };
    assert!(matches!(files.update(&ivanov, id, long, None).await, Err(Error::Invalid { .. })));
    assert_eq!(larder.bytes_at(&file.attributes.sidecar()).unwrap(), file.attributes.to_bytes());
}

#[tokio::test]
async fn a_range_is_a_range_and_one_past_the_end_is_refused() {
    use futures_util::TryStreamExt;
    let larder = Larder::new();
    let files = larder.start().await.0;
    let ivanov = user(&files, "ivanov").await;
    let file = put_as(&files, &ivanov, "a.txt", "0123456789").await;
    for (range, wanted) in [
        (ByteRange::From(7), "789"),
        (ByteRange::Last(2), "89"),
        (ByteRange::Between { first: 2, last: 4 }, "234"),
        (ByteRange::Between { first: 8, last: 99 }, "89"),
    ] {
        let content = files.open(&ivanov, &file, None, Some(range)).await.unwrap();
        let bytes: Vec<bytes::Bytes> = content.body.try_collect().await.unwrap();
        assert_eq!(bytes.concat(), wanted.as_bytes());
    }
    let past = files.open(&ivanov, &file, None, Some(ByteRange::From(10))).await;
    assert!(matches!(past, Err(Error::RangeNotSatisfiable { size: 10 })));
}

#[tokio::test]
async fn a_flipped_byte_is_never_served_as_good_content() {
    use futures_util::TryStreamExt;
    let larder = Larder::new();
    let files = larder.start().await.0;
    let ivanov = user(&files, "ivanov").await;
    let small = put_as(&files, &ivanov, "small", "0123456789").await;
    let big = put_as(&files, &ivanov, "big", vec![7_u8; 3 << 20]).await;
    assert!(larder.disk.damage(&small.attributes.key, "0123456788"));
    let mut bytes = vec![7_u8; 3 << 20];
    bytes[5] = 8;
    assert!(larder.disk.damage(&big.attributes.key, bytes));
    let lost = content_as(&files, &ivanov, small.attributes.id).await;
    assert!(matches!(lost, Err(Error::ContentLost(_))), "{lost:?}");
    let body = files.open(&ivanov, &big, None, None).await.unwrap().body;
    let read: Result<Vec<bytes::Bytes>, _> = body.try_collect().await;
    assert!(read.is_err(), "the last bytes are held back until the check is right");
    let lost = content_as(&files, &ivanov, big.attributes.id).await;
    assert!(matches!(lost, Err(Error::ContentLost(_))), "the copy is marked lost: {lost:?}");
}

#[tokio::test]
async fn a_repeat_of_an_idempotent_request_is_answered_with_the_file_it_made() {
    let larder = Larder::new();
    let files = larder.start().await.0;
    let ivanov = user(&files, "ivanov").await;
    let request = || Receive {
        idempotency: Some(IdempotencyKey { key: "k1".into(), request: Sha256::of(b"POST /") }),
        ..into_documents()
    };
    let create = async |content: &'static str, name: &str| {
        let received = files.receive(&ivanov, request(), Body::from(content)).await?;
        files.create(&ivanov, received, named(name)).await
    };
    let first = create("one", "a").await.unwrap();
    assert_eq!(first.repeated, None);
    let again = create("one", "a").await.unwrap();
    assert_eq!((again.repeated, again.file.attributes.id), (Some(201), first.file.attributes.id));
    assert!(matches!(create("two", "a").await, Err(Error::KeyReused)));
    assert!(matches!(create("one", "b").await, Err(Error::KeyReused)));
    let running = files
        .receive(
            &ivanov,
            Receive {
                idempotency: Some(IdempotencyKey { key: "k2".into(), request: Sha256::of(b"") }),
                ..into_documents()
            },
            "x".into(),
        )
        .await
        .unwrap();
    let second = files
        .receive(
            &ivanov,
            Receive {
                idempotency: Some(IdempotencyKey { key: "k2".into(), request: Sha256::of(b"") }),
                ..into_documents()
            },
            "x".into(),
        )
        .await;
    assert!(matches!(second, Err(Error::Running)));
    drop(running);
    files.purge(&ivanov, first.file.attributes.id, None).await.unwrap();
    assert!(matches!(create("one", "a").await, Err(Error::Gone)));
}

#[tokio::test]
async fn what_is_refused_leaves_nothing_behind() {
    let larder = Larder::new();
    let files = larder.start().await.0;
    let ivanov = user(&files, "ivanov").await;
    put_as(&files, &ivanov, "first", "raises the mark").await;
    let before = larder.objects();
    let refused = async |new: NewFile| {
        let received = files.receive(&ivanov, into_documents(), "abc".into()).await.unwrap();
        let error = files.create(&ivanov, received, new).await.unwrap_err();
        while larder.disk.staged() > 0 {
            tokio::task::consume_budget().await;
        }
        error
    };
    let long = "x".repeat(1025);
    for name in ["", "a\nb", "a\0", long.as_str()] {
        assert!(matches!(refused(named(name)).await, Error::Invalid { field: "name", .. }), "{name:?}");
    }
    for tags in [vec![String::new()], vec!["a".into(), "a".into()], vec!["x".repeat(129)], vec!["\u{7}".into()]] {
        assert!(matches!(refused(NewFile { tags, ..named("a") }).await, Error::Invalid { field: "tags", .. }));
    }
    let wrong = NewFile { sha256: Some(Sha256::of(b"abd")), ..named("a") };
    assert!(matches!(refused(wrong).await, Error::DigestMismatch { .. }));
    let images = Receive { bucket: "images".into(), ..into_documents() };
    let received = files.receive(&ivanov, images, "abc".into()).await.unwrap();
    let refused = files.create(&ivanov, received, named("a.png")).await;
    assert!(matches!(refused, Err(Error::UnsupportedType { .. })));
    let nowhere = Receive { bucket: "nowhere".into(), ..into_documents() };
    assert!(matches!(files.receive(&ivanov, nowhere, "abc".into()).await, Err(Error::NotFound("bucket"))));
    let short = Body::once(Box::pin(futures_util::stream::iter([Ok("abc".into())])), Some(4));
    assert!(matches!(files.receive(&ivanov, into_documents(), short).await, Err(Error::Body(_))));
    assert_eq!(larder.objects(), before);
}

#[tokio::test]
async fn a_list_is_the_callers_own_in_the_order_of_creation() {
    let larder = Larder::new();
    let files = larder.start().await.0;
    let (ivanov, petrov) = (user(&files, "ivanov").await, user(&files, "petrov").await);
    let mut ids = vec![];
    for n in 0..5 {
        ids.push(put_as(&files, &ivanov, &format!("n{n}"), "x").await.attributes.id);
        put_as(&files, &petrov, "other", "x").await;
        larder.world.pass(Duration::from_millis(1));
    }
    let mut seen = vec![];
    let mut query = ListFiles { limit: 2, ..ListFiles::default() };
    loop {
        let page = files.list(&ivanov, query.clone()).await.unwrap();
        seen.extend(page.items.iter().map(|file| file.attributes.id));
        query.after = page.next;
        if query.after.is_none() {
            break;
        }
    }
    assert_eq!(seen, ids);
    let all = files.list(&Caller::local(), ListFiles { limit: 100, ..ListFiles::default() }).await.unwrap();
    assert_eq!(all.items.len(), 10);
    let others = ListFiles { limit: 100, owner: Some("petrov".into()), ..ListFiles::default() };
    assert!(files.list(&ivanov, others).await.unwrap().items.is_empty());
}

#[tokio::test]
async fn files_are_listed_in_the_order_of_their_creation_however_long_their_uploads_take() {
    let larder = Larder::new();
    let files = larder.start().await.0;
    let receive = async || {
        larder.world.pass(Duration::from_secs(1));
        files.receive(&Caller::local(), into_documents(), "x".into()).await.unwrap()
    };
    let create = async |received, name| {
        larder.world.pass(Duration::from_secs(1));
        files.create(&Caller::local(), received, named(name)).await.unwrap();
    };
    let (long, short) = (receive().await, receive().await);
    create(short, "short").await;
    create(long, "long").await;
    let listed = files.list(&Caller::local(), ListFiles { limit: 10, ..ListFiles::default() }).await.unwrap().items;
    assert_eq!(listed.iter().map(|file| file.attributes.name.as_str()).collect::<Vec<_>>(), ["short", "long"]);
    assert!(listed.is_sorted_by_key(|file| file.attributes.created_at));
    for attributes in listed.iter().map(|file| &file.attributes) {
        assert_eq!((attributes.revised_at, attributes.updated_at), (attributes.created_at, attributes.created_at));
        let at = attributes.id.0.get_timestamp().unwrap().to_unix();
        assert_eq!(attributes.created_at.as_millis(), at.0 as i64 * 1000 + i64::from(at.1 / 1_000_000));
    }
}

#[tokio::test]
async fn a_store_that_became_read_only_gets_its_changes_as_overlays_elsewhere() {
    let mut larder = Larder::over_all(["old", "new"].map(|name| (name, MemoryOptions::with_staging())));
    let files = larder.start().await.0;
    let ivanov = user(&files, "ivanov").await;
    let id = put_as(&files, &ivanov, "a", "x").await.attributes.id;
    let on_old = larder.disk.objects();
    drop(files);
    larder.stores[0].2 = StoreMode::Ro;
    let files = larder.start().await.0;
    let renamed = Patch { name: Some("b".into()), ..Patch::default() };
    let file = files.update(&ivanov, id, renamed, None).await.unwrap();
    assert_eq!(larder.disk.objects(), on_old, "nothing changes on a read-only store");
    let overlay = format!(".larder/attributes/{id}.{}.{}.json", file.attributes.epoch, file.attributes.version);
    assert_eq!(larder.bytes_at(&key(&overlay)).unwrap(), file.attributes.to_bytes());
    assert_eq!(content_as(&files, &ivanov, id).await.unwrap(), b"x");
}

#[tokio::test]
async fn a_policy_that_cannot_be_carried_out_is_refused_at_start_and_changes_nothing() {
    let two = Larder::over_all(["a", "b"].map(|name| (name, MemoryOptions::with_staging())));
    let twice = vec![two.stores[0].0.clone(); 2];
    let mut copies = Settings::default();
    copies.buckets[0].1.write_copies = 2;
    for (larder, settings, words) in [
        (&two, Settings { placement: twice, ..Settings::default() }, "names the store `a` twice"),
        (&two, copies, "write_copies is 2, but must be at least 1"),
    ] {
        let error = Files::start(larder.parts(larder.ledger.another()), settings).await.err().unwrap();
        assert!(matches!(&error, StartError::Configuration(why) if why.contains(words)), "{error}");
        assert!(larder.objects().is_empty());
    }
}

#[tokio::test]
async fn a_copy_of_what_is_purged_meanwhile_is_none() {
    let gate = Gate::at("stage.written");
    let larder = Larder::over(staging_with(gate.clone()));
    let (files, _) = larder.start().await;
    let source = put_content(&files, "source", vec![7; 200_000]).await.attributes.id;
    gate.close();
    let (caller, purge) = (local(), async {
        gate.reached().await;
        files.purge(&local(), source, None).await.unwrap();
        gate.open();
    });
    let (copied, ()) = futures_util::join!(files.copy(&caller, source, CopyTo::default()), purge);
    assert!(matches!(copied, Err(Error::NotFound(_))), "{copied:?}");
    drop(copied);
    others_go_on().await;
    assert!(larder.objects().iter().all(|(key, _)| key.as_str().starts_with(".larder/")), "{:?}", larder.keys());
}

#[tokio::test]
async fn an_archive_serves_attributes_and_no_content() {
    let mut larder = Larder::over_all(["cold", "warm"].map(|name| (name, MemoryOptions::with_staging())));
    let files = larder.start().await.0;
    let id = put(&files, "file").await.attributes.id;
    drop(files);
    larder.stores[0].2 = StoreMode::Ar;
    let files = larder.start_on("warm").await;
    assert_eq!(files.describe(&local(), id).await.unwrap().attributes.name, "file");
    let renamed = Patch { name: Some("renamed".into()), ..Patch::default() };
    assert_eq!(files.update(&local(), id, renamed, None).await.unwrap().attributes.name, "renamed");
    let read = content(&files, id).await;
    assert!(matches!(&read, Err(Error::Archived(store)) if store.as_str() == "cold"), "{read:?}");
    assert_eq!(fsck(&files, FsckOptions { verify: true, repair: false }).await.0.bytes_verified, 0);
    drop(files);
    larder.stores[0].2 = StoreMode::Ro;
    assert_eq!(content(&larder.start().await.0, id).await.unwrap(), b"file");
}
