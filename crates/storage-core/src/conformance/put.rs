//! Writing: whole or not at all, and by the mode.

use super::harness::{Harness, Verdict, breaking, ensure_absent, in_blocks, key, listing, pattern, read, winners};
use crate::{Body, BodyError, ByteStream, Durable, ErrorKind, PutMode, PutOptions, Reopen};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{FutureExt, future};
use std::sync::Arc;

fn replace_if(etag: &crate::ETag) -> PutOptions {
    PutOptions { mode: PutMode::ReplaceIf(etag.clone()), durable: Durable::Now }
}

pub(super) async fn create_refuses_an_object_that_is_there(harness: Harness) -> Verdict {
    let (store, key) = (&harness.store, key("a/b"));
    let first = store.put(&key, "first".into(), PutOptions::create()).await?;
    let second = store.put(&key, "second".into(), PutOptions::create()).await;
    ensure_refused!(second, ErrorKind::AlreadyExists, "a second create");
    ensure_eq!(read(&**store, &key).await?, "first", "the object after a refused create");
    ensure_eq!(store.head(&key).await?.etag, first.etag, "its validator");
    Ok(())
}

pub(super) async fn of_16_racing_creates_exactly_one_wins(harness: Harness) -> Verdict {
    let (store, key) = (&harness.store, key("race/a"));
    let bodies: Vec<Bytes> = (0..16).map(|seed| pattern(3_000, seed)).collect();
    let create = |bytes| store.put(&key, Body::once(in_blocks(bytes, 1_000), None), PutOptions::create());
    let attempts = future::join_all(bodies.iter().map(create)).await;
    let won = winners(&attempts, |kind| *kind == ErrorKind::AlreadyExists)?;
    ensure_eq!(won.len(), 1, "the number of winners");
    ensure!(read(&**store, &key).await? == bodies[won[0]], "the object is not the winner's");
    Ok(())
}

pub(super) async fn replace_writes_where_nothing_is(harness: Harness) -> Verdict {
    let (store, key) = (&harness.store, key("a/b"));
    store.put(&key, "new".into(), PutOptions::replace()).await?;
    ensure_eq!(read(&**store, &key).await?, "new", "the object");
    Ok(())
}

pub(super) async fn replace_takes_the_place_of_an_object(harness: Harness) -> Verdict {
    let (store, key) = (&harness.store, key("a/b"));
    for bytes in ["a longer one", "short", ""] {
        store.put(&key, bytes.into(), PutOptions::replace()).await?;
        ensure_eq!(read(&**store, &key).await?, bytes, "the object");
    }
    ensure_eq!(listing(&**store, "").await?.len(), 1, "the number of objects");
    Ok(())
}

pub(super) async fn readers_of_a_replaced_object_see_one_whole(harness: Harness) -> Verdict {
    let (store, key) = (&harness.store, key("a/b"));
    let versions: Vec<Bytes> = (1..=8).map(|seed| pattern(100_000 * usize::from(seed), seed)).collect();
    store.put(&key, versions[0].clone().into(), PutOptions::create()).await?;
    let write = async {
        for bytes in &versions[1..] {
            let body = Body::once(in_blocks(bytes, 40_000), Some(bytes.len() as u64));
            store.put(&key, body, PutOptions::replace()).await?;
        }
        Ok(())
    };
    let read_often = async {
        for _ in 0..24 {
            let seen = read(&**store, &key).await?;
            ensure!(versions.contains(&seen), "a reader saw {} bytes of no version", seen.len());
            tokio::task::yield_now().await;
        }
        Ok(())
    };
    future::try_join(write, read_often).await.map(|_| ())
}

pub(super) async fn replace_if_takes_only_the_expected_object(harness: Harness) -> Verdict {
    let (store, key) = (&harness.store, key("a/b"));
    let first = store.put(&key, "first".into(), PutOptions::create()).await?;
    let second = store.put(&key, "second".into(), replace_if(&first.etag)).await?;
    let stale = store.put(&key, "third".into(), replace_if(&first.etag)).await;
    ensure_refused!(stale, ErrorKind::PreconditionFailed, "a replace of what is no more");
    ensure_eq!(read(&**store, &key).await?, "second", "the object");
    ensure_eq!(store.head(&key).await?.etag, second.etag, "its validator");
    Ok(())
}

pub(super) async fn replace_if_refuses_where_nothing_is(harness: Harness) -> Verdict {
    let (store, key) = (&harness.store, key("a/b"));
    let gone = store.put(&key, "gone".into(), PutOptions::create()).await?.etag;
    store.delete(&key).await?;
    let refused = store.put(&key, "again".into(), replace_if(&gone)).await;
    ensure_refused!(refused, ErrorKind::PreconditionFailed, "a conditional replace of nothing");
    ensure_absent(&**store, &key).await
}

pub(super) async fn of_16_racing_conditional_replaces_exactly_one_wins(harness: Harness) -> Verdict {
    let (store, key) = (&harness.store, key("race/a"));
    let first = store.put(&key, "first".into(), PutOptions::create()).await?;
    let bodies: Vec<Bytes> = (0..16).map(|seed| pattern(500, seed)).collect();
    let replace = |bytes| store.put(&key, Body::once(in_blocks(bytes, 200), None), replace_if(&first.etag));
    let attempts = future::join_all(bodies.iter().map(replace)).await;
    let won = winners(&attempts, |kind| *kind == ErrorKind::PreconditionFailed)?;
    ensure_eq!(won.len(), 1, "the number of winners");
    ensure!(read(&**store, &key).await? == bodies[won[0]], "the object is not the winner's");
    Ok(())
}

pub(super) async fn an_empty_object_is_an_object(harness: Harness) -> Verdict {
    let (store, key) = (&harness.store, key("a/empty"));
    let written = store.put(&key, Bytes::new().into(), PutOptions::create()).await?;
    ensure_eq!(written.size, 0, "the size that was answered");
    ensure_eq!(store.head(&key).await?.size, 0, "the size");
    ensure_eq!(read(&**store, &key).await?, "", "the bytes");
    ensure!(listing(&**store, "a").await?.contains_key(&key), "it is not listed");
    let second = store.put(&key, "x".into(), PutOptions::create()).await;
    ensure_refused!(second, ErrorKind::AlreadyExists, "a create over an empty object");
    Ok(())
}

/// Puts a body that can't be written and looks that nothing came of it.
async fn publishes_nothing(harness: &Harness, body: Body) -> Verdict {
    let (store, key) = (&harness.store, key("a/b"));
    let refused = store.put(&key, body, PutOptions::create()).await;
    ensure_refused!(refused, ErrorKind::Body, "a broken body");
    ensure_absent(&**store, &key).await?;
    ensure_eq!(listing(&**store, "").await?.len(), 0, "the number of objects");
    Ok(())
}

pub(super) async fn a_body_that_breaks_off_publishes_nothing(harness: Harness) -> Verdict {
    publishes_nothing(&harness, breaking(&pattern(9_000, 1), None)).await?;
    publishes_nothing(&harness, breaking(&Bytes::new(), None)).await?;
    publishes_nothing(&harness, breaking(&pattern(9_000, 1), Some(9_000))).await
}

pub(super) async fn a_body_shorter_than_announced_publishes_nothing(harness: Harness) -> Verdict {
    let bytes = pattern(9_000, 1);
    publishes_nothing(&harness, Body::once(in_blocks(&bytes, 4_000), Some(9_001))).await?;
    publishes_nothing(&harness, Body::once(in_blocks(&Bytes::new(), 1), Some(1))).await
}

pub(super) async fn a_body_longer_than_announced_publishes_nothing(harness: Harness) -> Verdict {
    let bytes = pattern(9_000, 1);
    publishes_nothing(&harness, Body::once(in_blocks(&bytes, 4_000), Some(8_999))).await?;
    publishes_nothing(&harness, Body::once(in_blocks(&bytes, 9_000), Some(0))).await
}

pub(super) async fn a_broken_replace_leaves_the_old_object(harness: Harness) -> Verdict {
    let (store, key) = (&harness.store, key("a/b"));
    let old = store.put(&key, "old".into(), PutOptions::create()).await?;
    for mode in [PutOptions::replace(), replace_if(&old.etag)] {
        let refused = store.put(&key, breaking(&pattern(9_000, 1), None), mode).await;
        ensure_refused!(refused, ErrorKind::Body, "a broken body");
        ensure_eq!(read(&**store, &key).await?, "old", "the object");
        ensure_eq!(store.head(&key).await?.etag, old.etag, "its validator");
    }
    Ok(())
}

pub(super) async fn a_dropped_put_leaves_all_or_nothing(harness: Harness) -> Verdict {
    let bytes = pattern(50_000, 7);
    for polls in 0..20 {
        let (store, key) = (&harness.store, key(&format!("dropped/{polls}")));
        let mut put = store.put(&key, Body::once(in_blocks(&bytes, 5_000), None), PutOptions::create());
        for _ in 0..polls {
            if (&mut put).now_or_never().is_some() {
                put = future::pending().boxed();
            }
            tokio::task::yield_now().await;
        }
        drop(put);
        let seen = match store.head(&key).await {
            Err(error) if error.is_not_found() => None,
            head => Some((head?, read(&**store, &key).await?)),
        };
        // Where it is a request that was dropped, it may be carried out yet: the outcome is unknown, never half of it.
        if let Some((head, seen)) = seen {
            ensure!(head.size == bytes.len() as u64 && seen == bytes, "{} bytes were published", seen.len());
        }
        store.put(&key, "again".into(), PutOptions::replace()).await?;
    }
    Ok(())
}

pub(super) async fn a_body_of_unknown_length_is_taken_whole(harness: Harness) -> Verdict {
    let (store, key, bytes) = (&harness.store, key("a/b"), pattern(100_001, 3));
    let written = store.put(&key, Body::once(in_blocks(&bytes, 777), None), PutOptions::create()).await?;
    ensure_eq!(written.size, bytes.len() as u64, "the size that was answered");
    ensure!(read(&**store, &key).await? == bytes, "other bytes came back");
    Ok(())
}

pub(super) async fn a_body_that_can_be_reopened_is_taken_whole(harness: Harness) -> Verdict {
    struct Source(Bytes);
    #[async_trait]
    impl Reopen for Source {
        async fn open(&self) -> Result<ByteStream, BodyError> {
            Ok(in_blocks(&self.0, 1_234))
        }
    }
    let (store, key, bytes) = (&harness.store, key("a/b"), pattern(20_000, 4));
    let body = Body::reopen(Arc::new(Source(bytes.clone())), Some(20_000));
    store.put(&key, body, PutOptions::create()).await?;
    ensure!(read(&**store, &key).await? == bytes, "other bytes came back");
    Ok(())
}

pub(super) async fn an_object_of_several_mebibytes_streams_through(harness: Harness) -> Verdict {
    let size = harness.store.limits().object_bytes_max.min((5 << 20) + 17);
    let bytes = pattern(usize::try_from(size)?, 5);
    let (store, key) = (&harness.store, key("a/large"));
    let written = store.put(&key, Body::once(in_blocks(&bytes, 300_007), Some(size)), PutOptions::create()).await?;
    ensure_eq!(written.size, size, "the size that was answered");
    ensure!(read(&**store, &key).await? == bytes, "other bytes came back");
    Ok(())
}

pub(super) async fn objects_written_at_once_do_not_mix(harness: Harness) -> Verdict {
    let store = &harness.store;
    let objects: Vec<_> = (0..24).map(|seed| (key(&format!("many/{seed}")), pattern(20_000, seed))).collect();
    let put = |(key, bytes)| store.put(key, Body::once(in_blocks(bytes, 3_000), None), PutOptions::create());
    future::try_join_all(objects.iter().map(|(key, bytes)| put((key, bytes)))).await?;
    for (key, bytes) in &objects {
        ensure!(read(&**store, key).await? == *bytes, "`{key}` holds other bytes");
    }
    Ok(())
}

pub(super) async fn a_put_answers_what_head_then_says(harness: Harness) -> Verdict {
    let (store, key) = (&harness.store, key("a/b"));
    for bytes in ["one", "another"] {
        let written = store.put(&key, bytes.into(), PutOptions::replace()).await?;
        let head = store.head(&key).await?;
        ensure_eq!((written.size, written.etag), (head.size, head.etag), "size and validator");
        ensure_eq!(head.size, bytes.len() as u64, "size");
    }
    Ok(())
}
