//! Syncing, and what outlives a process. (What outlives a power cut no suite can see from here.)

use super::harness::{Harness, Verdict, fill, key, names, read};
use crate::{Durable, PutMode, PutOptions};

fn later(mode: PutMode) -> PutOptions {
    PutOptions { mode, durable: Durable::Later }
}

pub(super) async fn a_write_for_later_is_seen_at_once(harness: Harness) -> Verdict {
    let store = &harness.store;
    store.put(&key("a/1"), "one".into(), later(PutMode::Create)).await?;
    ensure_eq!(read(&**store, &key("a/1")).await?, "one", "the object");
    store.put(&key("a/1"), "two".into(), later(PutMode::Replace)).await?;
    store.copy(&key("a/1"), &key("a/2"), later(PutMode::Create)).await?;
    ensure_eq!(read(&**store, &key("a/2")).await?, "two", "the copy");
    ensure_eq!(names(&**store, "").await?, ["a/1", "a/2"], "the listing");
    store.sync().await?;
    ensure_eq!(read(&**store, &key("a/1")).await?, "two", "the object after a sync");
    Ok(())
}

pub(super) async fn a_sync_of_nothing_succeeds(harness: Harness) -> Verdict {
    harness.store.sync().await?;
    fill(&*harness.store, &["a"]).await?;
    harness.store.delete(&key("a")).await?;
    harness.store.sync().await?;
    harness.store.sync().await?;
    Ok(())
}

pub(super) async fn what_was_synced_outlives_the_process(harness: Harness) -> Verdict {
    for name in ["a/1", "a/2", "b/1"] {
        harness.store.put(&key(name), name.into(), later(PutMode::Create)).await?;
    }
    harness.store.sync().await?;
    let Some((store, _guard)) = harness.die().await else { return Ok(()) };
    ensure_eq!(names(&*store, "").await?, ["a/1", "a/2", "b/1"], "the listing");
    Ok(())
}

pub(super) async fn what_was_answered_outlives_the_process(harness: Harness) -> Verdict {
    fill(&*harness.store, &["a/1", "a/2", "a/3"]).await?;
    let etag = harness.store.put(&key("a/2"), "new".into(), PutOptions::replace()).await?.etag;
    harness.store.delete(&key("a/3")).await?;
    let Some((store, _guard)) = harness.die().await else { return Ok(()) };
    ensure_eq!(names(&*store, "").await?, ["a/1", "a/2"], "the listing");
    ensure_eq!(read(&*store, &key("a/2")).await?, "new", "what was replaced");
    ensure!(store.head(&key("a/2")).await?.etag == etag, "a validator changed with the process");
    Ok(())
}
