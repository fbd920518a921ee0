//! Reading: one request, which goes on at its offset where the stream breaks, and of the same object.

use crate::{
    fault::{Fault, Outcome},
    look::{meta, quoted, validator},
    store::Inner,
};
use aws_sdk_s3::{operation::get_object::GetObjectOutput, primitives};
use bytes::Bytes;
use futures_util::{
    StreamExt,
    future::{self, Either},
    stream,
};
use larder_storage_core::{BodyError, ByteRange, ByteStream, ETag, ErrorKind, GetOptions, InvalidRange, Key, Object};
use std::{ops::Range, sync::Arc};

/// No object is longer: offsets are cut to it, for some servers count in signed numbers.
const OFFSET_MAX: u64 = crate::S3Options::OBJECT_BYTES_MAX;

impl Inner {
    /// Opens an object. One request; a second where the range selects nothing, for the size.
    pub(crate) async fn get(self: &Arc<Self>, key: &Key, options: GetOptions) -> Outcome<Object> {
        if let Some(range) = options.range.filter(|range| is_nothing(*range)) {
            return Err(self.unsatisfiable(key, range, options.if_match.as_ref()).await);
        }
        let answer = match self.ask(key, &options).await {
            Err(fault) if matches!(fault.kind, ErrorKind::InvalidRange(_)) => {
                let range = options.range.unwrap_or(ByteRange::From(0));
                return Err(self.unsatisfiable(key, range, options.if_match.as_ref()).await);
            }
            answer => answer?,
        };
        let opened = Opened::of(key, &answer, options.range)?;
        // A server may heed the range and not the condition, as if there were none.
        if options.if_match.is_some_and(|etag| etag != opened.meta.etag) {
            return Err(ErrorKind::PreconditionFailed.into());
        }
        let reading = Reading {
            inner: self.clone(),
            key: key.clone(),
            etag: opened.meta.etag.clone(),
            left: opened.range.clone(),
            skip: opened.skip,
            body: answer.body,
            failed: 0,
        };
        Ok(Object { meta: opened.meta, range: opened.range, body: reading.into_stream() })
    }

    /// The whole of an object, without the means to go on where it breaks, or stalls.
    pub(crate) async fn fetch(&self, key: &Key, options: GetOptions) -> Outcome<ByteStream> {
        let answer = self.ask(key, &options).await?;
        let (timer, stalled) = (self.options.timer.clone(), self.options.deadlines.stalled);
        Ok(stream::unfold(Some(answer.body), move |body| {
            let end = timer.sleep(stalled);
            async move {
                let mut body = body?;
                let block = match future::select(Box::pin(body.next()), end).await {
                    Either::Left((block, _)) => block,
                    Either::Right(_) => return Some((Err("nothing came for too long".into()), None)),
                };
                Some((block?.map_err(BodyError::from), Some(body)))
            }
        })
        .boxed())
    }

    async fn ask(&self, key: &Key, options: &GetOptions) -> Outcome<GetObjectOutput> {
        let name = self.name(key)?;
        let range = options.range.map(header);
        let if_match = options.if_match.as_ref().map(quoted);
        let ask = || async {
            let request = self.client().get_object().bucket(self.bucket()).key(&name);
            let answer = request.set_range(range.clone()).set_if_match(if_match.clone()).send().await;
            answer.map_err(|error| self.fault(error))
        };
        self.read(ask).await
    }

    /// Why a range selects nothing: the object is another, absent, or too short.
    async fn unsatisfiable(&self, key: &Key, range: ByteRange, if_match: Option<&ETag>) -> Fault {
        match self.look(key).await {
            Ok(seen) if if_match.is_some_and(|etag| *etag != seen.meta.etag) => ErrorKind::PreconditionFailed.into(),
            Ok(seen) => InvalidRange { range, size: seen.meta.size }.into(),
            Err(fault) => fault,
        }
    }
}

/// Whether no object has a byte of this range, however long it is.
fn is_nothing(range: ByteRange) -> bool {
    range.resolve(OFFSET_MAX).is_err()
}

/// The range as HTTP has it.
fn header(range: ByteRange) -> String {
    match range {
        ByteRange::From(first) => format!("bytes={first}-"),
        ByteRange::Between { first, last } => format!("bytes={first}-{}", last.min(OFFSET_MAX)),
        ByteRange::Last(count) => format!("bytes=-{}", count.min(OFFSET_MAX)),
    }
}

/// What an answer opens: of how large an object, and from where.
struct Opened {
    meta: larder_storage_core::ObjectMeta,
    range: Range<u64>,
    /// Bytes of the answer's body before the range: of a server that knows no ranges.
    skip: u64,
}

impl Opened {
    fn of(key: &Key, answer: &GetObjectOutput, asked: Option<ByteRange>) -> Outcome<Self> {
        let told = answer.content_range().and_then(told);
        let size = told.as_ref().map(|(_, size)| *size).map(|size| i64::try_from(size).unwrap_or(i64::MAX));
        let meta = meta(key, size.or(answer.content_length()), answer.e_tag(), answer.last_modified())?;
        let expected = asked.map_or(Ok(0..meta.size), |range| range.resolve(meta.size))?;
        match told {
            Some((range, _)) if range != expected => {
                let words = format!("bytes {expected:?} were asked for, {range:?} came");
                Err(Fault { temporary: true, ..Fault::says(ErrorKind::Unavailable, words) })
            }
            Some((range, _)) => Ok(Self { meta, range, skip: 0 }),
            None => Ok(Self { skip: expected.start, range: expected, meta }),
        }
    }
}

/// Offsets and size of `bytes FIRST-LAST/SIZE`.
fn told(content_range: &str) -> Option<(Range<u64>, u64)> {
    let (offsets, size) = content_range.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = offsets.split_once('-')?;
    Some((first.parse().ok()?..last.parse::<u64>().ok()?.checked_add(1)?, size.parse().ok()?))
}

/// A read that goes on where it broke off.
struct Reading {
    inner: Arc<Inner>,
    key: Key,
    etag: ETag,
    left: Range<u64>,
    skip: u64,
    body: primitives::ByteStream,
    /// Attempts that failed since the last block.
    failed: u32,
}

impl Reading {
    fn into_stream(self) -> ByteStream {
        let next = |mut reading: Self| async { Ok(reading.next().await?.map(|block| (block, reading))) };
        stream::try_unfold(self, next).boxed()
    }

    async fn next(&mut self) -> Result<Option<Bytes>, BodyError> {
        while self.left.start < self.left.end {
            let broken = match self.block().await {
                Ok(block) if block.is_empty() => continue,
                Ok(block) => {
                    self.failed = 0;
                    self.left.start += block.len() as u64;
                    return Ok(Some(block));
                }
                Err(broken) => broken,
            };
            self.failed += 1;
            if self.failed >= self.inner.options.backoff.attempts_max {
                return Err(broken);
            }
            tracing::debug!(error = %broken, key = %self.key, offset = self.left.start, "reading on");
            self.inner.pause(self.failed).await;
            self.reopen().await?;
        }
        Ok(None)
    }

    /// The next block of the range, without what stands before it or behind.
    async fn block(&mut self) -> Result<Bytes, BodyError> {
        let end = self.inner.options.timer.sleep(self.inner.options.deadlines.stalled);
        let mut block = match future::select(Box::pin(self.body.next()), end).await {
            Either::Left((Some(block), _)) => block.map_err(BodyError::from)?,
            Either::Left((None, _)) => return Err("the object ended early".into()),
            Either::Right(_) => return Err("nothing came for too long".into()),
        };
        let before = self.skip.min(block.len() as u64);
        self.skip -= before;
        drop(block.split_to(usize::try_from(before).unwrap_or(usize::MAX)));
        block.truncate(usize::try_from(self.left.end - self.left.start).unwrap_or(usize::MAX));
        Ok(block)
    }

    /// Opens the rest of the same object.
    async fn reopen(&mut self) -> Result<(), BodyError> {
        let range = ByteRange::Between { first: self.left.start, last: self.left.end - 1 };
        let options = GetOptions { range: Some(range), if_match: Some(self.etag.clone()) };
        let failed = |fault: Fault| fault.at(larder_storage_core::Op::Get, &self.key, &self.inner.display);
        let answer = self.inner.ask(&self.key, &options).await.map_err(failed)?;
        if validator(answer.e_tag()).is_some_and(|etag| etag != self.etag) {
            return Err(failed(ErrorKind::PreconditionFailed.into()).into());
        }
        let opened = Opened::of(&self.key, &answer, Some(range)).map_err(failed)?;
        (self.skip, self.body) = (opened.skip, answer.body);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_written_as_http_has_it_and_within_what_servers_count() {
        for (range, expected) in [
            (ByteRange::From(5), "bytes=5-"),
            (ByteRange::Between { first: 1, last: 2 }, "bytes=1-2"),
            (ByteRange::Between { first: 1, last: u64::MAX }, "bytes=1-5497558138880"),
            (ByteRange::Last(9), "bytes=-9"),
            (ByteRange::Last(u64::MAX), "bytes=-5497558138880"),
        ] {
            assert_eq!(header(range), expected);
        }
    }

    #[test]
    fn an_answer_s_range_is_read() {
        assert_eq!(told("bytes 5-9/10"), Some((5..10, 10)));
        for wrong in ["bytes */10", "5-9/10", "bytes 5-9/*", "bytes a-9/10"] {
            assert_eq!(told(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn ranges_of_nothing_are_known_without_asking() {
        for range in [ByteRange::Last(0), ByteRange::Between { first: 2, last: 1 }, ByteRange::From(u64::MAX)] {
            assert!(is_nothing(range), "{range:?}");
        }
        assert!(!is_nothing(ByteRange::Last(u64::MAX)) && !is_nothing(ByteRange::From(0)));
    }
}
