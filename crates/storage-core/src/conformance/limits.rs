//! Limits: the numbers are true.

use super::harness::{Harness, Verdict, ensure_absent, fill, in_blocks, key, names, pattern};
use crate::{Body, ErrorKind, Key, PutOptions};

/// The largest limit that a law goes beyond, in bytes.
const PROBED_BYTES_MAX: u64 = 16 << 20;

pub(super) async fn a_key_over_the_limit_is_refused(harness: Harness) -> Verdict {
    let max = harness.store.limits().key_bytes_max;
    ensure_eq!(max.min(Key::BYTES_MAX), max, "a limit within that of every key");
    fill(&*harness.store, &[&"k".repeat(max)]).await?;
    if max < Key::BYTES_MAX {
        let refused = harness.store.put(&key(&"k".repeat(max + 1)), "x".into(), PutOptions::create()).await;
        ensure_refused!(refused, ErrorKind::InvalidKey(_), "a key over the limit");
    }
    Ok(())
}

pub(super) async fn an_object_over_the_limit_is_refused(harness: Harness) -> Verdict {
    let (store, max) = (&harness.store, harness.store.limits().object_bytes_max);
    if max > PROBED_BYTES_MAX {
        return Ok(());
    }
    let (largest, over) = (pattern(usize::try_from(max)?, 1), pattern(usize::try_from(max + 1)?, 1));
    store.put(&key("largest"), largest.into(), PutOptions::create()).await?;
    let bodies = [
        over.clone().into(),
        Body::once(in_blocks(&over, 50_000), Some(max + 1)),
        Body::once(in_blocks(&over, 50_000), None),
    ];
    for body in bodies {
        let refused = store.put(&key("over"), body, PutOptions::create()).await;
        ensure_refused!(refused, ErrorKind::TooLarge { .. }, "an object over the limit");
        ensure_absent(&**store, &key("over")).await?;
    }
    Ok(())
}

/// `levels` more segments below `a`, in steps of one.
fn below(levels: usize) -> Key {
    key(&format!("a{}", "/b".repeat(levels)))
}

pub(super) async fn objects_lie_below_objects_exactly_as_declared(harness: Harness) -> Verdict {
    let (store, levels) = (&harness.store, harness.store.limits().nested_keys);
    ensure_eq!(levels, harness.nested_keys, "the levels of keys below a key");
    let kept = levels.min(8);
    for level in 0..=kept {
        store.put(&below(level), "x".into(), PutOptions::create()).await?;
    }
    ensure_eq!(names(&**store, "").await?.len(), kept + 1, "the number of objects");
    if levels < 8 {
        for mode in [PutOptions::create(), PutOptions::replace()] {
            let refused = store.put(&below(levels + 1), "x".into(), mode).await;
            ensure_refused!(refused, ErrorKind::KeyConflict, "an object below too many objects");
        }
    }
    if levels == 0 {
        fill(&**store, &["folder/object"]).await?;
        let refused = store.put(&key("folder"), "x".into(), PutOptions::create()).await;
        ensure_refused!(refused, ErrorKind::KeyConflict, "an object where a folder is");
        let refused = store.copy(&key("a"), &key("folder"), PutOptions::replace()).await;
        ensure_refused!(refused, ErrorKind::KeyConflict, "a copy to where a folder is");
    }
    Ok(())
}

pub(super) async fn a_folder_without_objects_is_in_nobodys_way(harness: Harness) -> Verdict {
    let store = &harness.store;
    fill(&**store, &["a/b/c/d"]).await?;
    store.delete(&key("a/b/c/d")).await?;
    fill(&**store, &["a/b"]).await?;
    store.delete(&key("a/b")).await?;
    fill(&**store, &["a"]).await
}
