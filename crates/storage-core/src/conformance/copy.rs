//! Copying within the store: a put whose bytes are there already.

use super::harness::{Harness, Verdict, ensure_absent, fill, key, pattern, read};
use crate::{Durable, ErrorKind, PutMode, PutOptions};
use bytes::Bytes;

pub(super) async fn a_copy_has_the_same_bytes(harness: Harness) -> Verdict {
    let store = &harness.store;
    for (name, bytes) in [("large", pattern(1_200_000, 1)), ("small", pattern(10, 2)), ("empty", Bytes::new())] {
        let (from, to) = (key(&format!("from/{name}")), key(&format!("to/deep/{name}")));
        store.put(&from, bytes.clone().into(), PutOptions::create()).await?;
        let written = store.copy(&from, &to, PutOptions::create()).await?;
        ensure!(read(&**store, &to).await? == bytes, "other bytes lie at the copy");
        ensure!(read(&**store, &from).await? == bytes, "other bytes lie at the source");
        let head = store.head(&to).await?;
        ensure_eq!((written.size, written.etag), (head.size, head.etag), "size and validator");
    }
    Ok(())
}

pub(super) async fn a_copy_refuses_an_object_that_is_there(harness: Harness) -> Verdict {
    let store = &harness.store;
    fill(&**store, &["a/1", "a/2"]).await?;
    let refused = store.copy(&key("a/1"), &key("a/2"), PutOptions::create()).await;
    ensure_refused!(refused, ErrorKind::AlreadyExists, "a create-only copy");
    ensure_eq!(read(&**store, &key("a/2")).await?, "a/2", "the object that was there");
    let refused = store.copy(&key("a/1"), &key("a/1"), PutOptions::create()).await;
    ensure_refused!(refused, ErrorKind::AlreadyExists, "a create-only copy onto itself");
    Ok(())
}

pub(super) async fn a_copy_replaces_when_told_to(harness: Harness) -> Verdict {
    let store = &harness.store;
    fill(&**store, &["a/1", "a/2"]).await?;
    let old = store.head(&key("a/2")).await?.etag;
    let written = store.copy(&key("a/1"), &key("a/2"), PutOptions::replace()).await?;
    ensure_eq!(read(&**store, &key("a/2")).await?, "a/1", "the copy");
    ensure!(written.etag != old, "the validator of other bytes is still `{old}`");
    Ok(())
}

pub(super) async fn a_copy_replaces_only_the_expected_object(harness: Harness) -> Verdict {
    let store = &harness.store;
    fill(&**store, &["a/1", "a/2"]).await?;
    let etag = store.head(&key("a/2")).await?.etag;
    let only = || PutOptions { mode: PutMode::ReplaceIf(etag.clone()), durable: Durable::Now };
    store.copy(&key("a/1"), &key("a/2"), only()).await?;
    let refused = store.copy(&key("a/1"), &key("a/2"), only()).await;
    ensure_refused!(refused, ErrorKind::PreconditionFailed, "a copy over what is no more");
    Ok(())
}

pub(super) async fn a_copy_of_nothing_is_not_found(harness: Harness) -> Verdict {
    let store = &harness.store;
    fill(&**store, &["a/2"]).await?;
    for mode in [PutOptions::create(), PutOptions::replace()] {
        let refused = store.copy(&key("a/1"), &key("a/3"), mode).await;
        ensure_refused!(refused, ErrorKind::NotFound, "a copy of nothing");
        ensure_absent(&**store, &key("a/3")).await?;
    }
    let refused = store.copy(&key("a/1"), &key("a/2"), PutOptions::replace()).await;
    ensure_refused!(refused, ErrorKind::NotFound, "a copy of nothing");
    ensure_eq!(read(&**store, &key("a/2")).await?, "a/2", "the object that was there");
    Ok(())
}

pub(super) async fn a_copy_onto_itself_keeps_the_bytes(harness: Harness) -> Verdict {
    let (store, key, bytes) = (&harness.store, key("a/b"), pattern(200_000, 1));
    store.put(&key, bytes.clone().into(), PutOptions::create()).await?;
    store.copy(&key, &key, PutOptions::replace()).await?;
    ensure!(read(&**store, &key).await? == bytes, "other bytes came back");
    Ok(())
}

pub(super) async fn a_copy_lives_without_its_source(harness: Harness) -> Verdict {
    let store = &harness.store;
    fill(&**store, &["a/1", "a/2"]).await?;
    store.copy(&key("a/1"), &key("b/1"), PutOptions::create()).await?;
    store.copy(&key("a/2"), &key("b/2"), PutOptions::create()).await?;
    store.delete(&key("a/1")).await?;
    store.put(&key("a/2"), "other".into(), PutOptions::replace()).await?;
    ensure_eq!(read(&**store, &key("b/1")).await?, "a/1", "the copy of what was deleted");
    ensure_eq!(read(&**store, &key("b/2")).await?, "a/2", "the copy of what was replaced");
    Ok(())
}
