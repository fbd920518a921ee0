//! Reading: the whole, any part, one revision.

use super::harness::{Harness, Verdict, drain, ensure_absent, key, pattern, read, read_range};
use crate::{ByteRange, ETag, ErrorKind, GetOptions, PutOptions};
use bytes::Bytes;
use futures_util::{StreamExt, future};

/// A store with one object of 300,000 bytes at `a/b`.
async fn one_object(harness: &Harness) -> Verdict<Bytes> {
    let bytes = pattern(300_000, 1);
    harness.store.put(&key("a/b"), bytes.clone().into(), PutOptions::create()).await?;
    Ok(bytes)
}

/// Breaks the law unless `range` of the object is what `expected` selects.
async fn ensure_range(harness: &Harness, range: ByteRange, expected: std::ops::Range<u64>) -> Verdict {
    let (seen, bytes) = read_range(&*harness.store, &key("a/b"), range).await?;
    ensure_eq!(seen, expected, format!("the offsets of {range:?}"));
    let whole = pattern(300_000, 1);
    ensure!(bytes == whole[expected.start as usize..expected.end as usize], "{range:?} holds other bytes");
    Ok(())
}

async fn ensure_invalid(harness: &Harness, range: ByteRange) -> Verdict {
    let refused = harness.store.get(&key("a/b"), GetOptions { range: Some(range), if_match: None }).await;
    ensure_refused!(refused, ErrorKind::InvalidRange(_), format!("{range:?}"));
    Ok(())
}

pub(super) async fn an_absent_object_is_not_found(harness: Harness) -> Verdict {
    ensure_absent(&*harness.store, &key("a/b")).await?;
    let options = GetOptions { range: Some(ByteRange::From(0)), if_match: Some(ETag::new("x")) };
    let refused = harness.store.get(&key("a/b"), options).await;
    ensure_refused!(refused, ErrorKind::NotFound | ErrorKind::PreconditionFailed, "a conditional get of nothing");
    Ok(())
}

pub(super) async fn a_whole_object_comes_back(harness: Harness) -> Verdict {
    let bytes = one_object(&harness).await?;
    let object = harness.store.get(&key("a/b"), GetOptions::default()).await?;
    ensure_eq!(object.range, 0..300_000, "its offsets");
    ensure_eq!((object.meta.key, object.meta.size), (key("a/b"), 300_000), "its key and size");
    ensure!(drain(object.body).await? == bytes, "other bytes came back");
    Ok(())
}

pub(super) async fn a_range_from_an_offset_goes_to_the_end(harness: Harness) -> Verdict {
    one_object(&harness).await?;
    for first in [0, 1, 65_535, 65_536, 299_999] {
        ensure_range(&harness, ByteRange::From(first), first..300_000).await?;
    }
    Ok(())
}

pub(super) async fn a_range_between_holds_both_ends(harness: Harness) -> Verdict {
    one_object(&harness).await?;
    for (first, last) in [(0, 0), (0, 299_999), (1, 2), (65_535, 65_536), (100_000, 200_000), (299_999, 299_999)] {
        ensure_range(&harness, ByteRange::Between { first, last }, first..last + 1).await?;
    }
    Ok(())
}

pub(super) async fn a_range_is_cut_to_the_end_of_the_object(harness: Harness) -> Verdict {
    one_object(&harness).await?;
    for last in [300_000, 1 << 40, u64::MAX] {
        ensure_range(&harness, ByteRange::Between { first: 299_000, last }, 299_000..300_000).await?;
    }
    Ok(())
}

pub(super) async fn a_last_range_counts_from_the_end(harness: Harness) -> Verdict {
    one_object(&harness).await?;
    for (count, first) in [(1, 299_999), (1_000, 299_000), (300_000, 0), (300_001, 0), (u64::MAX, 0)] {
        ensure_range(&harness, ByteRange::Last(count), first..300_000).await?;
    }
    Ok(())
}

pub(super) async fn a_range_past_the_end_is_invalid(harness: Harness) -> Verdict {
    one_object(&harness).await?;
    for first in [300_000, 300_001, u64::MAX] {
        ensure_invalid(&harness, ByteRange::From(first)).await?;
        ensure_invalid(&harness, ByteRange::Between { first, last: u64::MAX }).await?;
    }
    ensure_invalid(&harness, ByteRange::Last(0)).await?;
    ensure_invalid(&harness, ByteRange::Between { first: 2, last: 1 }).await
}

pub(super) async fn every_range_of_an_empty_object_is_invalid(harness: Harness) -> Verdict {
    harness.store.put(&key("a/b"), Bytes::new().into(), PutOptions::create()).await?;
    for range in [ByteRange::From(0), ByteRange::Between { first: 0, last: 0 }, ByteRange::Last(1)] {
        ensure_invalid(&harness, range).await?;
    }
    Ok(())
}

pub(super) async fn a_get_under_its_validator_is_answered(harness: Harness) -> Verdict {
    let bytes = one_object(&harness).await?;
    let etag = harness.store.head(&key("a/b")).await?.etag;
    for range in [None, Some(ByteRange::From(0)), Some(ByteRange::Last(300_000))] {
        let object = harness.store.get(&key("a/b"), GetOptions { range, if_match: Some(etag.clone()) }).await?;
        ensure_eq!(object.meta.etag, etag, "the validator");
        ensure!(drain(object.body).await? == bytes, "other bytes came back");
    }
    Ok(())
}

pub(super) async fn a_get_under_another_validator_is_refused(harness: Harness) -> Verdict {
    one_object(&harness).await?;
    let old = harness.store.head(&key("a/b")).await?.etag;
    harness.store.put(&key("a/b"), pattern(300_000, 2).into(), PutOptions::replace()).await?;
    for range in [None, Some(ByteRange::From(5)), Some(ByteRange::From(400_000))] {
        let refused = harness.store.get(&key("a/b"), GetOptions { range, if_match: Some(old.clone()) }).await;
        ensure_refused!(refused, ErrorKind::PreconditionFailed, format!("{range:?} of another object"));
    }
    Ok(())
}

pub(super) async fn a_reader_keeps_its_revision_through_a_replace(harness: Harness) -> Verdict {
    let (store, key, old) = (&harness.store, key("a/b"), pattern(1_500_000, 1));
    store.put(&key, old.clone().into(), PutOptions::create()).await?;
    let mut object = store.get(&key, GetOptions::default()).await?;
    let first = object.body.next().await.and_then(Result::ok).unwrap_or_default();
    store.put(&key, pattern(1_500_000, 2).into(), PutOptions::replace()).await?;
    let rest = drain(object.body).await?;
    ensure!([first, rest].concat() == old, "a reader saw two revisions");
    Ok(())
}

pub(super) async fn a_reader_keeps_its_revision_through_a_delete(harness: Harness) -> Verdict {
    let (store, key, old) = (&harness.store, key("a/b"), pattern(1_500_000, 1));
    store.put(&key, old.clone().into(), PutOptions::create()).await?;
    let mut object = store.get(&key, GetOptions::default()).await?;
    let first = object.body.next().await.and_then(Result::ok).unwrap_or_default();
    store.delete(&key).await?;
    let rest = drain(object.body).await?;
    ensure!([first, rest].concat() == old, "a reader lost what it had opened");
    Ok(())
}

pub(super) async fn a_reader_may_leave_early(harness: Harness) -> Verdict {
    let bytes = one_object(&harness).await?;
    for blocks in 0..3 {
        let object = harness.store.get(&key("a/b"), GetOptions::default()).await?;
        drop(object.body.take(blocks).collect::<Vec<_>>().await);
    }
    ensure!(read(&*harness.store, &key("a/b")).await? == bytes, "other bytes came back");
    Ok(())
}

pub(super) async fn ranges_read_at_once_make_up_the_whole(harness: Harness) -> Verdict {
    let (bytes, key) = (one_object(&harness).await?, key("a/b"));
    let range = |first| ByteRange::Between { first, last: first + 9_999 };
    let parts = (0..300_000).step_by(10_000).map(|first| read_range(&*harness.store, &key, range(first)));
    let parts = future::try_join_all(parts).await?;
    let whole: Vec<Bytes> = parts.into_iter().map(|(_, bytes)| bytes).collect();
    ensure!(whole.concat() == bytes, "the parts are not the whole");
    Ok(())
}
