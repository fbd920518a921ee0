//! Describing: one truth, whoever is asked.

use super::harness::{Harness, Verdict, ensure_absent, fill, key, listing};
use crate::{ErrorKind, GetOptions, PutOptions};

pub(super) async fn an_absent_object_has_no_head(harness: Harness) -> Verdict {
    fill(&*harness.store, &["a/bc", "ab"]).await?;
    ensure_absent(&*harness.store, &key("a/b")).await?;
    ensure_refused!(harness.store.head(&key("a/bc/d")).await, ErrorKind::NotFound, "head below an object");
    Ok(())
}

pub(super) async fn head_get_and_list_agree(harness: Harness) -> Verdict {
    let store = &harness.store;
    fill(&**store, &["a", "b/c", "b/d/e", ".larder/x"]).await?;
    let mut listed = listing(&**store, "").await?;
    listed.extend(listing(&**store, ".larder").await?);
    ensure_eq!(listed.len(), 4, "the number of objects");
    for (key, listed) in listed {
        let head = store.head(&key).await?;
        ensure_eq!(head, listed, "head and list");
        ensure_eq!(store.get(&key, GetOptions::default()).await?.meta, head, "get and head");
    }
    Ok(())
}

pub(super) async fn a_validator_stays_while_nothing_is_written(harness: Harness) -> Verdict {
    let store = &harness.store;
    fill(&**store, &["a", "b"]).await?;
    let before = store.head(&key("a")).await?;
    store.put(&key("b"), "other".into(), PutOptions::replace()).await?;
    store.delete(&key("b")).await?;
    store.sync().await?;
    ensure_eq!(store.head(&key("a")).await?, before, "an object that nobody wrote");
    Ok(())
}

pub(super) async fn a_validator_changes_with_the_bytes(harness: Harness) -> Verdict {
    let store = &harness.store;
    let mut seen = Vec::new();
    // One size and quick succession: neither size nor a coarse clock can tell these apart.
    for round in 0..30 {
        let body = format!("round {round:02}");
        let etag = store.put(&key("a"), body.into(), PutOptions::replace()).await?.etag;
        ensure!(!seen.contains(&etag), "`{etag}` was the validator of other bytes");
        seen.push(etag);
    }
    Ok(())
}

pub(super) async fn a_folder_is_no_object(harness: Harness) -> Verdict {
    fill(&*harness.store, &["a/b/c"]).await?;
    ensure_absent(&*harness.store, &key("a")).await?;
    ensure_absent(&*harness.store, &key("a/b")).await
}
