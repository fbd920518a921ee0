//! What a directory promises beyond the laws of every store.

#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use larder_storage_core::{
    Body, ByteRange, Digests, Durable, ErrorKind, GetOptions, Key, ListOptions, NodeId, OpId, Pair, Part, Prefix,
    PutMode, PutOptions, Staging, Store, StoreExt,
};
use larder_storage_local::{ForeignKind, LocalOptions, LocalStore};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::task::Poll;

fn open() -> (tempfile::TempDir, LocalStore) {
    let place = tempfile::tempdir().unwrap();
    let store = LocalStore::open(LocalOptions::new(place.path().join("objects"))).unwrap();
    (place, store)
}

fn key(text: impl AsRef<str>) -> Key {
    Key::new(text).unwrap()
}

fn op(number: u8) -> OpId {
    OpId::from_random([number; 16])
}

fn pair(number: u8, folder: &str) -> Pair {
    Pair {
        op: op(number),
        bytes: key(format!("{folder}/{number}.bin")),
        attributes: key(format!("{folder}/{number}.bin.attr.json")),
    }
}

async fn stage(store: &LocalStore, number: u8) {
    store.stage(&op(number), Part::Bytes, Body::from(vec![number; 1000])).await.unwrap();
    store.stage(&op(number), Part::Attributes, Body::from("{}")).await.unwrap();
}

/// Blocks of `size` bytes, `count` of them, each different.
fn blocks(size: usize, count: usize) -> (Body, Digests) {
    let blocks: Vec<Bytes> = (0..count).map(|index| Bytes::from(vec![index as u8; size])).collect();
    let digests = Digests::of(&blocks.concat());
    let size = (size * count) as u64;
    (Body::once(stream::iter(blocks.into_iter().map(Ok)).boxed(), Some(size)), digests)
}

async fn keys(store: &LocalStore, prefix: &str) -> Vec<String> {
    let listed = store.list(ListOptions::below(Prefix::new(prefix).unwrap()));
    let mut keys: Vec<String> =
        listed.map_ok(|listed| listed.object.key.as_str().to_owned()).try_collect().await.unwrap();
    keys.sort();
    keys
}

/// How many files lie in staging, but for the nodes' own.
fn staged_files(store: &LocalStore) -> usize {
    let nodes = fs::read_dir(store.root().join(".larder/staging")).unwrap().map(Result::unwrap);
    let files =
        nodes.filter(|node| node.file_type().unwrap().is_dir()).flat_map(|node| fs::read_dir(node.path()).unwrap());
    files.filter(|file| !matches!(file.as_ref().unwrap().file_name().to_str(), Some("lock" | "node.json"))).count()
}

#[tokio::test]
async fn what_is_put_is_a_plain_file_for_its_owner_alone() {
    let (_place, store) = open();
    let name = "documents/ivanov/2026/отчёт.pdf";
    store.put(&key(name), Body::from("hello"), PutOptions::create()).await.unwrap();
    let path = store.root().join(name);
    assert_eq!(fs::read(&path).unwrap(), b"hello");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(store.to_string(), format!("local:{}", store.root().display()));
    assert_eq!(staged_files(&store), 0);
}

#[tokio::test]
async fn any_key_of_1024_bytes_can_be_kept() {
    let (_place, store) = open();
    let texts = ["y".repeat(1024), vec!["x"; 512].join("/"), "%".repeat(1024), "я".repeat(512), ".".repeat(1024)];
    for text in &texts {
        store.put(&key(text), Body::from(text.clone()), PutOptions::create()).await.unwrap();
    }
    for text in &texts {
        assert_eq!(store.get_bytes(&key(text), 2000).await.unwrap(), text.as_bytes());
    }
    let mut expected = texts.to_vec();
    expected.sort();
    assert_eq!(keys(&store, "").await, expected);
    for text in &texts {
        store.delete(&key(text)).await.unwrap();
    }
    assert_eq!(keys(&store, "").await, [""; 0]);
}

#[tokio::test]
async fn a_large_body_is_written_in_chunks_and_read_in_blocks() {
    let (_place, store) = open();
    let (body, digests) = blocks(100_000, 73);
    let staged = store.stage(&op(1), Part::Bytes, body).await.unwrap();
    assert_eq!((staged.size, &staged.digests), (7_300_000, &digests));
    store.stage(&op(1), Part::Attributes, Body::from("{}")).await.unwrap();
    store.publish(&[pair(1, "a")]).await.pop().unwrap().unwrap();
    let whole = store.get_bytes(&pair(1, "a").bytes, 10_000_000).await.unwrap();
    assert_eq!(Digests::of(&whole), digests);
    let options = GetOptions { range: Some(ByteRange::Between { first: 99_999, last: 4_000_000 }), if_match: None };
    let object = store.get(&pair(1, "a").bytes, options).await.unwrap();
    assert_eq!(object.range, 99_999..4_000_001);
    let part: Vec<Bytes> = object.body.try_collect().await.unwrap();
    assert_eq!(part.concat(), whole[99_999..4_000_001]);
}

#[tokio::test]
async fn a_body_that_breaks_off_leaves_nothing() {
    let (_place, store) = open();
    for blocks in [1, 40] {
        let broken = stream::iter((0..blocks).map(|_| Ok(Bytes::from(vec![7; 100_000]))).chain([Err("cut".into())]));
        let error = store.stage(&op(1), Part::Bytes, Body::once(broken.boxed(), None)).await.unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::Body);
        let short = stream::iter((0..blocks).map(|_| Ok(Bytes::from(vec![7; 100_000]))));
        let body = Body::once(short.boxed(), Some(100_000_000));
        let error = store.put(&key("a"), body, PutOptions::create()).await.unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::Body);
    }
    assert_eq!(staged_files(&store), 0);
    assert!(!store.exists(&key("a")).await.unwrap());
}

#[tokio::test]
async fn an_upload_that_is_dropped_leaves_nothing() {
    let (_place, store) = open();
    let endless = stream::iter((0..30).map(|_| Ok(Bytes::from(vec![7; 100_000])))).chain(stream::pending());
    let first = op(1);
    let mut staging = Box::pin(store.stage(&first, Part::Bytes, Body::once(endless.boxed(), None)));
    while staged_files(&store) == 0 {
        assert!(futures_util::poll!(&mut staging).is_pending());
        tokio::task::yield_now().await;
    }
    drop(staging);
    while staged_files(&store) > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_part_is_staged_once() {
    let (_place, store) = open();
    stage(&store, 1).await;
    let error = store.stage(&op(1), Part::Bytes, Body::from("other")).await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::AlreadyExists);
    assert_eq!(staged_files(&store), 2);
    store.discard(&op(1)).await.unwrap();
    store.discard(&op(1)).await.unwrap();
    assert_eq!(staged_files(&store), 0);
}

#[tokio::test]
async fn one_pair_that_fails_spares_the_others_and_leaves_nothing_of_itself() {
    let (_place, store) = open();
    for number in 1..=4 {
        stage(&store, number).await;
    }
    store.put(&pair(2, "a").attributes, Body::from("there"), PutOptions::create()).await.unwrap();
    store.put(&pair(3, "b").bytes, Body::from("there"), PutOptions::create()).await.unwrap();
    let pairs = [pair(1, "a"), pair(2, "a"), pair(3, "b"), pair(4, "a/deep/er")];
    let results = store.publish(&pairs).await;
    let kinds: Vec<_> = results.iter().map(|result| result.as_ref().err().map(|error| error.kind().clone())).collect();
    assert_eq!(kinds, [None, Some(ErrorKind::AlreadyExists), Some(ErrorKind::AlreadyExists), None]);
    assert!(!store.exists(&pair(2, "a").bytes).await.unwrap());
    assert!(!store.exists(&pair(3, "b").attributes).await.unwrap());
    assert!(store.exists(&pair(4, "a/deep/er").attributes).await.unwrap());
}

#[tokio::test]
async fn an_empty_folder_is_in_nobodys_way_and_a_full_one_is() {
    let (_place, store) = open();
    store.put(&key("a/b/c"), Body::from("1"), PutOptions::create()).await.unwrap();
    let error = store.put(&key("a/b"), Body::from("2"), PutOptions::create()).await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::KeyConflict);
    let error = store.put(&key("a/b/c/d"), Body::from("2"), PutOptions::replace()).await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::KeyConflict);
    store.delete(&key("a/b")).await.unwrap();
    store.delete(&key("a/b/c/d")).await.unwrap();
    store.delete(&key("a/b/c")).await.unwrap();
    store.put(&key("a"), Body::from("3"), PutOptions::replace()).await.unwrap();
    assert_eq!(keys(&store, "").await, ["a"]);
}

#[tokio::test]
async fn two_files_written_one_after_the_other_never_share_a_validator() {
    let (_place, store) = open();
    let mut seen = std::collections::HashSet::new();
    for _ in 0..50 {
        let written = store.put(&key("a"), Body::from("same"), PutOptions::create()).await.unwrap();
        assert!(seen.insert(written.etag.clone()));
        assert_eq!(store.head(&key("a")).await.unwrap().etag, written.etag);
        store.delete(&key("a")).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_that_replace_one_version_exactly_one_succeeds() {
    let (_place, store) = open();
    let mut etag = store.put(&key("a"), Body::from("0"), PutOptions::create()).await.unwrap().etag;
    for _ in 0..20 {
        let options = PutOptions { mode: PutMode::ReplaceIf(etag.clone()), durable: Durable::Later };
        let puts = (0..8).map(|n| {
            let (store, options) = (store.clone(), options.clone());
            tokio::spawn(async move { store.put(&key("a"), Body::from(n.to_string()), options).await })
        });
        let mut won = Vec::new();
        for put in puts.collect::<Vec<_>>() {
            won.extend(put.await.unwrap().ok());
        }
        assert_eq!(won.len(), 1);
        etag = won.pop().unwrap().etag;
    }
    store.sync().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn folders_that_come_and_go_under_writers_lose_nothing() {
    let (_place, store) = open();
    let later = |mode| PutOptions { mode, durable: Durable::Later };
    let deep = (0..4).map(|number| {
        let store = store.clone();
        tokio::spawn(async move {
            let key = key(format!("f/o/l/d/{number}"));
            for _ in 0..50 {
                match store.put(&key, Body::from("deep"), later(PutMode::Create)).await {
                    Ok(_) => assert_eq!(store.get_bytes(&key, 4).await.unwrap(), "deep"),
                    Err(error) => assert_eq!(error.kind(), &ErrorKind::KeyConflict, "{error}"),
                }
                store.delete(&key).await.unwrap();
            }
        })
    });
    let deep: Vec<_> = deep.collect();
    for _ in 0..50 {
        if let Err(error) = store.put(&key("f"), Body::from("flat"), later(PutMode::Replace)).await {
            assert_eq!(error.kind(), &ErrorKind::KeyConflict, "{error}");
        }
        store.delete(&key("f")).await.unwrap();
    }
    for task in deep {
        task.await.unwrap();
    }
    store.sync().await.unwrap();
    assert_eq!(keys(&store, "").await, [""; 0]);
}

#[tokio::test]
async fn slow_readers_share_one_budget_and_none_waits_for_another() {
    let place = tempfile::tempdir().unwrap();
    let options = LocalOptions { readers: 2, read_ahead_bytes: 4 << 20, ..LocalOptions::new(place.path()) };
    let store = LocalStore::open(options).unwrap();
    let (body, digests) = blocks(1 << 20, 8);
    store.put(&key("a"), body, PutOptions::create()).await.unwrap();
    let mut slow = Vec::new();
    for _ in 0..20 {
        let mut object = store.get(&key("a"), GetOptions::default()).await.unwrap();
        let first = object.body.try_next().await.unwrap().unwrap();
        slow.push((object.body, vec![first]));
    }
    // The first took what there was; whoever came later is served in the smallest blocks.
    assert_eq!(slow.first().map(|(_, read)| read[0].len()), Some(1 << 20));
    assert_eq!(slow.last().map(|(_, read)| read[0].len()), Some(64 << 10));
    for (mut body, mut read) in slow.into_iter().rev() {
        while let Some(block) = body.try_next().await.unwrap() {
            read.push(block);
        }
        assert_eq!(Digests::of(&read.concat()), digests);
    }
}

#[tokio::test]
async fn a_copy_has_its_own_bytes() {
    let (_place, store) = open();
    let (body, digests) = blocks(100_000, 30);
    store.put(&key("a"), body, PutOptions::create()).await.unwrap();
    store.copy(&key("a"), &key("b/c"), PutOptions::create()).await.unwrap();
    store.delete(&key("a")).await.unwrap();
    assert_eq!(Digests::of(&store.get_bytes(&key("b/c"), 1 << 30).await.unwrap()), digests);
    let error = store.copy(&key("a"), &key("d"), PutOptions::create()).await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::NotFound);
    assert_eq!(staged_files(&store), 0);
}

#[tokio::test]
async fn what_is_no_object_is_not_listed_but_found() {
    let (_place, store) = open();
    store.put(&key("good"), Body::from("1"), PutOptions::create()).await.unwrap();
    store.put(&key(".larder/mark"), Body::from("1"), PutOptions::create()).await.unwrap();
    let root = store.root();
    symlink("/etc/passwd", root.join("link")).unwrap();
    fs::write(root.join("100%"), "").unwrap();
    fs::write(root.join(std::ffi::OsString::from_vec(b"\xff".to_vec())), "").unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
    assert_eq!(keys(&store, "").await, ["good"]);
    assert_eq!(keys(&store, ".larder").await, [".larder/mark"]);
    let mut foreign: Vec<_> = store.foreign().map_ok(|foreign| foreign.why).try_collect().await.unwrap();
    foreign.sort_by_key(|why| *why as u8);
    assert_eq!(foreign, [ForeignKind::Symlink, ForeignKind::Special, ForeignKind::NotUtf8, ForeignKind::Name]);
    let error = store.get(&key("link"), GetOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::PermissionDenied);
    for name in ["socket", ".larder"] {
        assert!(!store.exists(&key(name)).await.unwrap(), "{name}");
    }
}

#[tokio::test]
async fn a_listing_goes_on_exactly_where_it_stopped() {
    let (_place, store) = open();
    let mut expected = Vec::new();
    for name in ["a", "a.b/c", "a-b", "b/c/d", "b/c.d", "b/e", "b.c", "c/x/y/z", "d"] {
        store
            .put(&key(name), Body::from("1"), PutOptions { durable: Durable::Later, ..PutOptions::create() })
            .await
            .unwrap();
        expected.push(name.to_owned());
    }
    expected.sort();
    for prefix in ["", "b", "c/x"] {
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let mut options = ListOptions::below(Prefix::new(prefix).unwrap());
            options.after = after;
            let Some(listed) = store.list(options).try_next().await.unwrap() else { break };
            seen.push(listed.object.key.as_str().to_owned());
            after = Some(listed.resume);
        }
        seen.sort();
        let expected: Vec<_> =
            expected.iter().filter(|name| prefix.is_empty() || name.starts_with(&format!("{prefix}/"))).collect();
        assert_eq!(seen.iter().collect::<Vec<_>>(), expected);
    }
}

#[tokio::test]
async fn a_root_that_is_not_at_its_place_is_an_outage_and_not_an_absence() {
    let (place, store) = open();
    let mark = key(".larder/mark");
    for key in [&key("a"), &mark] {
        store.put(key, Body::from("1"), PutOptions::create()).await.unwrap();
        store.get_bytes(key, 1).await.unwrap();
    }
    fs::rename(store.root(), place.path().join("elsewhere")).unwrap();
    fs::create_dir(store.root()).unwrap();
    assert_eq!(store.head(&key("b")).await.unwrap_err().kind(), &ErrorKind::Unavailable);
    assert_eq!(store.get(&key("b"), GetOptions::default()).await.unwrap_err().kind(), &ErrorKind::Unavailable);
    assert_eq!(store.delete(&key("b")).await.unwrap_err().kind(), &ErrorKind::Unavailable);
    assert_eq!(store.get_bytes(&mark, 1).await.unwrap_err().kind(), &ErrorKind::Unavailable);
    let put = store.put(&key("b"), Body::from("2"), PutOptions::create()).await;
    assert_eq!(put.unwrap_err().kind(), &ErrorKind::Unavailable);
    assert_eq!(store.stage(&op(1), Part::Bytes, Body::from("2")).await.unwrap_err().kind(), &ErrorKind::Unavailable);
    assert_eq!(store.get_bytes(&key("a"), 1).await.unwrap(), "1", "what is kept is read for as long as it can be");

    fs::remove_dir(store.root()).unwrap();
    fs::rename(place.path().join("elsewhere"), store.root()).unwrap();
    assert_eq!(store.get_bytes(&mark, 1).await.unwrap(), "1");
    store.put(&key("b"), Body::from("2"), PutOptions::create()).await.unwrap();
}

#[tokio::test]
async fn leftovers_are_given_once_and_settled() {
    let (_place, dead) = open();
    let root = dead.root().to_owned();
    for number in 1..=3 {
        stage(&dead, number).await;
    }
    dead.publish(&[pair(1, "a"), pair(2, "a")]).await.into_iter().for_each(|result| result.unwrap());
    // As a power cut may leave it: the attributes without the bytes, and the bytes without the attributes.
    fs::remove_file(root.join("a/1.bin")).unwrap();
    fs::remove_file(root.join("a/2.bin.attr.json")).unwrap();
    let node = dead.node();
    let next = LocalStore::open(LocalOptions::new(&root)).unwrap();
    assert!(next.is_alive(&node).await.unwrap());
    assert_eq!(next.leftovers().await.unwrap(), []);
    drop(dead);
    assert!(!next.is_alive(&node).await.unwrap());
    let third = LocalStore::open(LocalOptions::new(&root)).unwrap();
    let (a, b) = tokio::join!(next.leftovers(), third.leftovers());
    let (a, b) = (a.unwrap(), b.unwrap());
    assert_eq!((a.len() + b.len(), a.len() * b.len()), (3, 0));
    let (keeper, found, other) = if a.is_empty() { (&third, b, &next) } else { (&next, a, &third) };
    assert!(other.is_alive(&node).await.unwrap(), "to others, as long as what it left is in hand");
    assert!(
        found.iter().all(|one| one.bytes == Some(1000) && one.attributes.as_deref() == Some(b"{}") && one.node == node)
    );
    keeper.finish(&pair(1, "a")).await.unwrap();
    keeper.finish(&pair(1, "a")).await.unwrap();
    assert_eq!(keeper.get_bytes(&pair(1, "a").bytes, 1000).await.unwrap(), vec![1; 1000]);
    assert!(keeper.withdraw(&op(2), &pair(2, "a").bytes).await.unwrap());
    assert!(!keeper.withdraw(&op(2), &pair(2, "a").bytes).await.unwrap());
    assert!(!keeper.withdraw(&op(3), &pair(1, "a").bytes).await.unwrap());
    assert_eq!(keys(keeper, "").await, ["a/1.bin", "a/1.bin.attr.json"]);
    for number in 1..=3 {
        keeper.discard(&op(number)).await.unwrap();
    }
    assert!(!root.join(".larder/staging").join(node.as_str()).exists());
    assert!(!keeper.is_alive(&node).await.unwrap() && !other.is_alive(&node).await.unwrap());
}

#[tokio::test]
async fn the_dead_whose_folder_could_not_be_taken_over_are_not_told_to_have_left_nothing() {
    let (_place, dead) = open();
    stage(&dead, 1).await;
    let (node, root) = (dead.node(), dead.root().to_owned());
    let folder = root.join(".larder/staging").join(node.as_str());
    drop(dead);
    let store = LocalStore::open(LocalOptions::new(&root)).unwrap();
    assert!(!store.is_alive(&node).await.unwrap());
    // Another that asks whether it lives, for longer than it should.
    let asking = fs::File::open(folder.join("lock")).unwrap();
    rustix::fs::flock(&asking, rustix::fs::FlockOperation::LockShared).unwrap();
    assert_eq!(store.leftovers().await.unwrap(), []);
    assert_eq!(store.is_alive(&node).await.unwrap_err().kind(), &ErrorKind::Unavailable);
    drop(asking);
    assert_eq!(store.is_alive(&node).await.unwrap_err().kind(), &ErrorKind::Unavailable, "it was not looked for since");
    assert_eq!(store.leftovers().await.unwrap().len(), 1);
    assert!(!store.is_alive(&node).await.unwrap());
    // A folder in which something can't be read: attributes that are a folder themselves.
    let (_place, dead) = open();
    stage(&dead, 1).await;
    let (node, root) = (dead.node(), dead.root().to_owned());
    let attributes = root.join(".larder/staging").join(node.as_str()).join(format!("{}.attr", op(1)));
    drop(dead);
    fs::remove_file(&attributes).unwrap();
    fs::create_dir(&attributes).unwrap();
    let store = LocalStore::open(LocalOptions::new(&root)).unwrap();
    assert_eq!(store.leftovers().await.unwrap(), []);
    assert_eq!(store.is_alive(&node).await.unwrap_err().kind(), &ErrorKind::Unavailable);
    fs::remove_dir(&attributes).unwrap();
    assert_eq!(store.leftovers().await.unwrap().len(), 1);
    assert!(!store.is_alive(&node).await.unwrap());
}

#[tokio::test]
async fn what_was_taken_over_before_the_store_went_away_is_given_when_it_is_back() {
    let place = tempfile::tempdir().unwrap();
    let (root, away) = (place.path().join("objects"), place.path().join("away"));
    let dead: Vec<_> = (0..8).map(|_| LocalStore::open(LocalOptions::new(&root)).unwrap()).collect();
    for (store, number) in dead.iter().zip(0..) {
        stage(store, number).await;
    }
    drop(dead);
    let store = LocalStore::open(LocalOptions::new(&root)).unwrap();
    // The disk goes as the last of them is looked at: it can't be read, and the store is not at its place.
    let names: Vec<_> =
        fs::read_dir(root.join(".larder/staging")).unwrap().map(|entry| entry.unwrap().path()).collect();
    let last = names.iter().rfind(|path| path.file_name().unwrap().to_str() != Some(store.node().as_str())).unwrap();
    let (lock, aside) = (last.join("lock"), place.path().join("lock"));
    fs::rename(&lock, &aside).unwrap();
    symlink("nowhere", &lock).unwrap();
    fs::rename(&root, &away).unwrap();
    let found = store.leftovers().await;
    assert!(found.is_err(), "{found:?}");
    fs::rename(&away, &root).unwrap();
    for name in names.iter().map(|path| NodeId::new(path.file_name().unwrap().to_str().unwrap()).unwrap()) {
        let told = store.is_alive(&name).await;
        assert!(name == store.node() || told.is_err(), "what it left is not known yet: {told:?}");
    }
    fs::remove_file(&lock).unwrap();
    fs::rename(&aside, &lock).unwrap();
    assert_eq!(store.leftovers().await.unwrap().len(), 8);
}

#[tokio::test]
async fn what_is_taken_over_for_who_has_gone_away_is_given_to_the_next() {
    for _ in 0..8 {
        let (_place, dead) = open();
        let root = dead.root().to_owned();
        stage(&dead, 1).await;
        drop(dead);
        let store = LocalStore::open(LocalOptions::new(root)).unwrap();
        let mut is_given = false;
        for _ in 0..50 {
            // Where a thread is quick enough, it is given to this one before it goes away.
            let asked = futures_util::poll!(Box::pin(store.leftovers()));
            is_given |= matches!(&asked, Poll::Ready(Ok(found)) if !found.is_empty());
        }
        // One of those that went away may still be at it.
        for _ in 0..10_000 {
            is_given = is_given || !store.leftovers().await.unwrap().is_empty();
        }
        assert!(is_given, "nobody was given what the dead node left");
    }
}

#[tokio::test]
async fn nothing_is_taken_out_of_a_folder_that_is_just_being_made() {
    let (_place, store) = open();
    let staging = store.root().join(".larder/staging");
    let folder = |name: &str| {
        fs::create_dir(staging.join(name)).unwrap();
        staging.join(name)
    };
    let (empty, dead, broken) = (folder(".new-1"), folder(".new-2"), folder(".new-3"));
    let (begun, locked) = (folder(".new-4"), folder(".new-5"));
    fs::write(dead.join("lock"), "").unwrap();
    fs::write(dead.join("node.json"), "").unwrap();
    fs::write(broken.join("node.json"), "").unwrap();
    fs::write(begun.join("other"), "").unwrap();
    let held = fs::File::create(locked.join("lock")).unwrap();
    held.lock().unwrap();
    assert_eq!(store.leftovers().await.unwrap(), []);
    assert_eq!([&empty, &dead, &broken].map(|path| path.exists()), [false; 3]);
    assert!(begun.join("other").exists(), "whose lock is yet to be made");
    assert!(locked.join("lock").exists());
}

#[tokio::test]
async fn a_name_that_an_earlier_try_left_behind_is_taken_again() {
    let place = tempfile::tempdir().unwrap();
    let root = place.path().join("objects");
    let (mine, staging) = (NodeId::new("mine").unwrap(), root.join(".larder/staging"));
    let open = || LocalStore::open(LocalOptions { node: Some(mine.clone()), ..LocalOptions::new(&root) });
    for left in ["mine", ".new-mine"] {
        fs::create_dir_all(staging.join(left)).unwrap();
        for name in ["lock", "node.json", "tmp-0"] {
            fs::write(staging.join(left).join(name), "").unwrap();
        }
    }
    let store = open().unwrap();
    assert_eq!(store.node(), mine);
    assert_eq!(open().err().unwrap().kind(), &ErrorKind::Unavailable, "it lives");
    stage(&store, 1).await;
    drop(store);
    // What is staged is for whoever takes it over.
    assert_eq!(open().err().unwrap().kind(), &ErrorKind::AlreadyExists);
    let next = LocalStore::open(LocalOptions::new(&root)).unwrap();
    assert_eq!(next.leftovers().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_node_of_another_boot_is_dead() {
    let (_place, dead) = open();
    stage(&dead, 1).await;
    let root = dead.root().to_owned();
    let json = root.join(".larder/staging").join(dead.node().as_str()).join("node.json");
    drop(dead);
    fs::write(json, r#"{"boot":"another"}"#).unwrap();
    let next = LocalStore::open(LocalOptions::new(&root)).unwrap();
    assert_eq!(next.leftovers().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_clean_end_leaves_no_node() {
    let (_place, store) = open();
    let staging = store.root().join(".larder/staging");
    assert_eq!(fs::read_dir(&staging).unwrap().count(), 1);
    drop(store);
    assert!(!staging.exists(), "nor the folders, if nothing was kept");
}

#[tokio::test]
async fn a_store_has_ended_once_nothing_is_under_way_and_its_node_is_gone() {
    let (_place, store) = open();
    let staging = store.root().join(".larder/staging");
    let nodes = || fs::read_dir(&staging).unwrap().flatten().filter(|entry| entry.path().is_dir()).count();
    assert_eq!(nodes(), 1);
    let (mut ended, another) = (std::pin::pin!(store.ended()), store.clone());
    // Its job is begun, and nobody waits for it any more.
    assert!(futures_util::poll!(another.delete(&key("a"))).is_pending());
    drop(store);
    assert!(futures_util::poll!(&mut ended).is_pending(), "somebody holds it");
    drop(another);
    ended.await;
    assert_eq!(nodes(), 0);
}

#[tokio::test]
async fn the_stores_lock_is_held_by_one() {
    let (_place, store) = open();
    let held = store.lock(true).unwrap().unwrap();
    assert!(store.lock(true).unwrap().is_none());
    assert!(store.lock(false).unwrap().is_none());
    drop(held);
    let _shared = store.lock(false).unwrap().unwrap();
    assert!(store.lock(false).unwrap().is_some());
    assert!(store.lock(true).unwrap().is_none());
}

#[tokio::test]
async fn a_store_begun_in_vain_is_taken_away_but_nothing_of_anybody_else() {
    let place = tempfile::tempdir().unwrap();
    let root = place.path().join("root");
    let begin = || {
        let store = LocalStore::open(LocalOptions::new(&root)).unwrap();
        let lock = store.lock(false).unwrap().unwrap();
        (store, lock)
    };
    let left = |root: &std::path::Path| fs::read_dir(root).unwrap().count();

    let (store, lock) = begin();
    assert!(store.is_new());
    lock.unmake();
    assert!(root.join(".larder/staging/.lock").exists(), "a node is here");
    drop(store);
    lock.unmake();
    assert_eq!(left(&root), 0);

    drop(lock);
    let (store, lock) = begin();
    drop(store);
    let (other, others) = begin();
    assert!(!other.is_new());
    drop(other);
    lock.unmake();
    assert!(root.join(".larder/staging/.lock").exists(), "another holds it");

    drop(lock);
    fs::write(root.join(".larder/instance.json"), "").unwrap();
    others.unmake();
    assert!(root.join(".larder/staging/.lock").exists(), "something lies in it");
    fs::remove_file(root.join(".larder/instance.json")).unwrap();

    let away = place.path().join("away");
    fs::rename(&root, &away).unwrap();
    let (store, _lock) = begin();
    drop(store);
    others.unmake();
    assert_eq!((left(&root), left(&away)), (1, 0), "what lies at its path by now is another");
}

use std::os::unix::ffi::OsStringExt;
