//! An answer that is content: what its head must say, and its body as blocks under every bound of the policy.

use crate::{
    Cause, Error, Policy, Result, Step,
    connect::Connection,
    deadline::{after, in_time},
};
use bytes::Bytes;
use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};
use http_body_util::BodyExt;
use hyper::{
    HeaderMap, Response, StatusCode,
    body::{Body, Incoming},
    header::{self, HeaderName},
};
use tokio::time::Instant;

/// Refuses every answer that is not plain content within the policy. Returns its length in bytes, where it is announced.
pub(crate) fn check(answer: &Response<Incoming>, policy: &Policy) -> Result<Option<u64>, Cause> {
    if answer.status() != StatusCode::OK {
        return Err(Cause::Status(answer.status().as_u16()));
    }
    let headers = answer.headers();
    let has_length = headers.contains_key(header::CONTENT_LENGTH);
    let is_chunked = headers.contains_key(header::TRANSFER_ENCODING);
    // Two lengths are what requests are smuggled with, and any other coding than these would be a compressed one.
    if !says_only(headers, header::CONTENT_ENCODING, "identity")
        || !says_only(headers, header::TRANSFER_ENCODING, "chunked")
        || (has_length && is_chunked)
    {
        return Err(Cause::Encoded);
    }
    let size = answer.body().size_hint().exact();
    if size.is_some_and(|size| size > policy.bytes_max) {
        return Err(Cause::TooLarge { max: policy.bytes_max });
    }
    Ok(size)
}

fn says_only(headers: &HeaderMap, name: HeaderName, word: &str) -> bool {
    headers.get_all(name).iter().all(|value| value.as_bytes().eq_ignore_ascii_case(word.as_bytes()))
}

/// The content, block by block, until it ends or an error ends it. It may be dropped at any time, and the connection with it.
pub(crate) fn blocks(
    connection: Connection,
    body: Incoming,
    policy: &Policy,
    whole: Instant,
) -> BoxStream<'static, Result<Bytes>> {
    let reading = Reading { connection, body, left: policy.bytes_max, policy: policy.clone(), whole };
    stream::unfold(Some(reading), |reading| async {
        let mut reading = reading?;
        match reading.next().await {
            Ok(Some(block)) => Some((Ok(block), Some(reading))),
            Ok(None) => None,
            Err(cause) => Some((Err(Error::from(cause)), None)),
        }
    })
    .boxed()
}

struct Reading {
    connection: Connection,
    body: Incoming,
    /// Bytes that may still come.
    left: u64,
    policy: Policy,
    /// Until when all must be there.
    whole: Instant,
}

impl Reading {
    async fn next(&mut self) -> Result<Option<Bytes>, Cause> {
        let Policy { block_within, whole_within, .. } = self.policy;
        let late = after(block_within);
        let (step, limit) = if late < self.whole { (Step::Block, block_within) } else { (Step::Whole, whole_within) };
        let block = block(&mut self.connection, &mut self.body);
        let block = in_time(step, limit, late.min(self.whole), block).await?;
        let length = block.as_ref().map_or(0, Bytes::len) as u64;
        self.left = self.left.checked_sub(length).ok_or(Cause::TooLarge { max: self.policy.bytes_max })?;
        Ok(block)
    }
}

/// The next bytes, of which there is at least one, or `None` at the end.
async fn block(connection: &mut Connection, body: &mut Incoming) -> Result<Option<Bytes>, Cause> {
    loop {
        match connection.drive(body.frame()).await {
            None => return Ok(None),
            Some(Err(error)) => return Err(Cause::BrokeOff(error.into())),
            // What is no data is a trailer, which nobody asked for.
            Some(Ok(frame)) => match frame.into_data() {
                Ok(bytes) if !bytes.is_empty() => return Ok(Some(bytes)),
                _ => {}
            },
        }
    }
}
