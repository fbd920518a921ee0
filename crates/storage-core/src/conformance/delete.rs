//! Deleting: gone is gone, and absent is deleted already.

use super::harness::{Harness, Verdict, ensure_absent, fill, key, names, read};
use crate::PutOptions;
use futures_util::future;

pub(super) async fn a_deleted_object_is_gone(harness: Harness) -> Verdict {
    fill(&*harness.store, &["a/b"]).await?;
    harness.store.delete(&key("a/b")).await?;
    ensure_absent(&*harness.store, &key("a/b")).await
}

pub(super) async fn an_absent_object_is_deleted_already(harness: Harness) -> Verdict {
    fill(&*harness.store, &["a/b"]).await?;
    for absent in ["nothing", "no/such/folder", "a/c", "a/b/c"] {
        harness.store.delete(&key(absent)).await?;
    }
    harness.store.delete(&key("a/b")).await?;
    harness.store.delete(&key("a/b")).await?;
    Ok(())
}

pub(super) async fn a_deleted_key_can_be_created_again(harness: Harness) -> Verdict {
    for bytes in ["first", "second", "third"] {
        harness.store.put(&key("a/b"), bytes.into(), PutOptions::create()).await?;
        ensure_eq!(read(&*harness.store, &key("a/b")).await?, bytes, "the object");
        harness.store.delete(&key("a/b")).await?;
    }
    Ok(())
}

pub(super) async fn a_delete_leaves_the_neighbours(harness: Harness) -> Verdict {
    fill(&*harness.store, &["a/b", "a/bb", "a/c/d", "ab"]).await?;
    harness.store.delete(&key("a/b")).await?;
    ensure_eq!(names(&*harness.store, "").await?, ["a/bb", "a/c/d", "ab"], "what is left");
    Ok(())
}

pub(super) async fn a_delete_of_a_folder_leaves_what_is_below(harness: Harness) -> Verdict {
    fill(&*harness.store, &["a/b/c"]).await?;
    harness.store.delete(&key("a")).await?;
    harness.store.delete(&key("a/b")).await?;
    ensure_eq!(read(&*harness.store, &key("a/b/c")).await?, "a/b/c", "the object");
    Ok(())
}

pub(super) async fn racing_deletes_all_succeed(harness: Harness) -> Verdict {
    fill(&*harness.store, &["a/b"]).await?;
    let key = key("a/b");
    future::try_join_all((0..16).map(|_| harness.store.delete(&key))).await?;
    ensure_absent(&*harness.store, &key).await
}
