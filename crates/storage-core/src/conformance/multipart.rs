//! Uploads in parts, where they are declared. Every part but the last has 5 MiB, as S3 demands.

use super::harness::{Harness, Verdict, breaking, ensure_absent, fill, key, pattern, read};
use crate::{ErrorKind, Key, Multipart, PartNumber, PutMode, UploadId, UploadedPart};

const PART_BYTES: usize = 5 << 20;

fn number(number: u16) -> PartNumber {
    PartNumber::new(number).expect("the suite's part numbers are part numbers")
}

/// Uploads one small part, the only one.
async fn one_part(multipart: &dyn Multipart, key: &Key, bytes: &'static str) -> Verdict<(UploadId, UploadedPart)> {
    let upload = multipart.begin(key).await?;
    let part = multipart.put_part(key, &upload, number(1), bytes.into()).await?;
    ensure_eq!((part.number, part.size), (number(1), bytes.len() as u64), "number and size of a part");
    Ok((upload, part))
}

pub(super) async fn parts_are_joined_by_their_numbers(harness: Harness) -> Verdict {
    let Some(multipart) = harness.store.multipart() else { return Ok(()) };
    let (key, head, tail) = (key("a/b"), pattern(PART_BYTES, 1), pattern(1_000, 2));
    let upload = multipart.begin(&key).await?;
    let last = multipart.put_part(&key, &upload, number(9), tail.clone().into()).await?;
    let first = multipart.put_part(&key, &upload, number(2), head.clone().into()).await?;
    let written = multipart.complete(&key, &upload, &[first, last], PutMode::Create).await?;
    ensure!(read(&*harness.store, &key).await? == [head, tail].concat(), "the parts are joined wrongly");
    let head = harness.store.head(&key).await?;
    ensure_eq!((written.size, written.etag), (head.size, head.etag), "size and validator");
    Ok(())
}

pub(super) async fn an_open_upload_is_not_seen(harness: Harness) -> Verdict {
    let Some(multipart) = harness.store.multipart() else { return Ok(()) };
    let (upload, part) = one_part(multipart, &key("a/b"), "content").await?;
    ensure_absent(&*harness.store, &key("a/b")).await?;
    multipart.complete(&key("a/b"), &upload, &[part], PutMode::Create).await?;
    ensure_eq!(read(&*harness.store, &key("a/b")).await?, "content", "the object");
    Ok(())
}

pub(super) async fn a_later_part_takes_the_place_of_an_earlier(harness: Harness) -> Verdict {
    let Some(multipart) = harness.store.multipart() else { return Ok(()) };
    let (upload, old) = one_part(multipart, &key("a/b"), "old").await?;
    let new = multipart.put_part(&key("a/b"), &upload, number(1), "newer".into()).await?;
    ensure!(new.etag != old.etag, "two parts have one validator");
    ensure_eq!(multipart.parts(&key("a/b"), &upload).await?, vec![new.clone()], "the parts");
    multipart.complete(&key("a/b"), &upload, &[new], PutMode::Create).await?;
    ensure_eq!(read(&*harness.store, &key("a/b")).await?, "newer", "the object");
    Ok(())
}

pub(super) async fn the_parts_of_an_upload_are_told(harness: Harness) -> Verdict {
    let Some(multipart) = harness.store.multipart() else { return Ok(()) };
    let (key, upload) = (key("a/b"), multipart.begin(&key("a/b")).await?);
    ensure!(multipart.parts(&key, &upload).await?.is_empty(), "an upload begins with parts");
    let mut parts = Vec::new();
    for at in [5, 1, 10_000, 3] {
        parts.push(multipart.put_part(&key, &upload, number(at), pattern(usize::from(at), 1).into()).await?);
    }
    parts.sort_by_key(|part| part.number);
    ensure_eq!(multipart.parts(&key, &upload).await?, parts, "the parts");
    Ok(multipart.abort(&key, &upload).await?)
}

pub(super) async fn a_part_that_breaks_off_is_no_part(harness: Harness) -> Verdict {
    let Some(multipart) = harness.store.multipart() else { return Ok(()) };
    let (key, upload) = (key("a/b"), multipart.begin(&key("a/b")).await?);
    let broken = multipart.put_part(&key, &upload, number(1), breaking(&pattern(9_000, 1), Some(10_000))).await;
    ensure_refused!(broken, ErrorKind::Body, "a broken part");
    ensure!(multipart.parts(&key, &upload).await?.is_empty(), "a broken part was kept");
    Ok(multipart.abort(&key, &upload).await?)
}

pub(super) async fn an_unknown_upload_is_not_found(harness: Harness) -> Verdict {
    let Some(multipart) = harness.store.multipart() else { return Ok(()) };
    let (upload, part) = one_part(multipart, &key("a/b"), "content").await?;
    let (key, parts) = (key("a/b"), [part]);
    multipart.complete(&key, &upload, &parts, PutMode::Create).await?;
    ensure_refused!(multipart.parts(&key, &upload).await, ErrorKind::NotFound, "the parts of an upload that ended");
    let late = multipart.put_part(&key, &upload, number(2), "late".into()).await;
    ensure_refused!(late, ErrorKind::NotFound, "a part of an upload that ended");
    Ok(())
}

pub(super) async fn an_upload_of_another_part_is_refused(harness: Harness) -> Verdict {
    let Some(multipart) = harness.store.multipart() else { return Ok(()) };
    let (upload, old) = one_part(multipart, &key("a/b"), "old").await?;
    multipart.put_part(&key("a/b"), &upload, number(1), "newer".into()).await?;
    let refused = multipart.complete(&key("a/b"), &upload, &[old], PutMode::Create).await;
    ensure_refused!(refused, ErrorKind::PreconditionFailed, "an upload of a part that is no more");
    ensure_absent(&*harness.store, &key("a/b")).await?;
    Ok(multipart.abort(&key("a/b"), &upload).await?)
}

pub(super) async fn an_upload_completes_only_where_nothing_is(harness: Harness) -> Verdict {
    let Some(multipart) = harness.store.multipart() else { return Ok(()) };
    fill(&*harness.store, &["a/b"]).await?;
    let (upload, part) = one_part(multipart, &key("a/b"), "new").await?;
    let refused = multipart.complete(&key("a/b"), &upload, &[part], PutMode::Create).await;
    ensure_refused!(refused, ErrorKind::AlreadyExists, "a create over an object");
    ensure_eq!(read(&*harness.store, &key("a/b")).await?, "a/b", "the object");
    Ok(multipart.abort(&key("a/b"), &upload).await?)
}

pub(super) async fn an_upload_replaces_when_told_to(harness: Harness) -> Verdict {
    let Some(multipart) = harness.store.multipart() else { return Ok(()) };
    fill(&*harness.store, &["a/b"]).await?;
    let (upload, part) = one_part(multipart, &key("a/b"), "new").await?;
    multipart.complete(&key("a/b"), &upload, &[part], PutMode::Replace).await?;
    ensure_eq!(read(&*harness.store, &key("a/b")).await?, "new", "the object");
    Ok(())
}

pub(super) async fn the_open_uploads_of_a_key_are_told(harness: Harness) -> Verdict {
    let Some(multipart) = harness.store.multipart() else { return Ok(()) };
    let (upload, part) = one_part(multipart, &key("a/b"), "content").await?;
    let (twin, other) = (multipart.begin(&key("a/b")).await?, multipart.begin(&key("a/b2")).await?);
    let told = multipart.open_uploads(Some(key("a/b"))).await?;
    ensure_eq!(told.len(), 2, "the open uploads of a key");
    ensure!(told.iter().all(|open| open.key == key("a/b")), "an upload of another key was told");
    multipart.complete(&key("a/b"), &upload, &[part], PutMode::Create).await?;
    let left = multipart.open_uploads(Some(key("a/b"))).await?;
    ensure_eq!(left.len(), 1, "the open uploads of a key once one was completed");
    for open in left {
        multipart.abort(&open.key, &open.upload).await?;
    }
    ensure!(multipart.open_uploads(Some(key("a/b"))).await?.is_empty(), "what was told could not be aborted");
    ensure_refused!(multipart.parts(&key("a/b"), &twin).await, ErrorKind::NotFound, "the parts of what was aborted");
    Ok(multipart.abort(&key("a/b2"), &other).await?)
}

pub(super) async fn all_open_uploads_are_told(harness: Harness) -> Verdict {
    let Some(multipart) = harness.store.multipart() else { return Ok(()) };
    let keys = [key("a/b"), key("c")];
    for key in &keys {
        multipart.begin(key).await?;
    }
    let mut told = multipart.open_uploads(None).await?;
    told.sort_by(|a, b| a.key.cmp(&b.key));
    ensure_eq!(told.iter().map(|open| open.key.clone()).collect::<Vec<_>>(), keys, "the open uploads");
    for open in told {
        multipart.abort(&open.key, &open.upload).await?;
    }
    ensure!(multipart.open_uploads(None).await?.is_empty(), "what was told could not be aborted");
    Ok(())
}

pub(super) async fn an_aborted_upload_is_gone(harness: Harness) -> Verdict {
    let Some(multipart) = harness.store.multipart() else { return Ok(()) };
    let (upload, part) = one_part(multipart, &key("a/b"), "content").await?;
    multipart.abort(&key("a/b"), &upload).await?;
    multipart.abort(&key("a/b"), &upload).await?;
    let late = multipart.complete(&key("a/b"), &upload, &[part], PutMode::Create).await;
    ensure_refused!(late, ErrorKind::NotFound, "the completion of an aborted upload");
    ensure_absent(&*harness.store, &key("a/b")).await
}
