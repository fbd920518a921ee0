//! A URL to its content: ask, follow, check, hand over.

use crate::{
    Cause, NoRoots, Policy, Resolve, Result, Step,
    connect::{self, Connection},
    content,
    deadline::{after, in_time},
    name,
    target::Target,
};
use bytes::Bytes;
use futures_util::stream::BoxStream;
use hyper::{
    Response, StatusCode,
    body::Incoming,
    header::{self, HeaderMap},
};
use std::{fmt, sync::Arc};
use tokio_rustls::TlsConnector;

/// Redirects that are followed.
const REDIRECTS_MAX: usize = 3;

/// Longer content types are as good as none.
const CONTENT_TYPE_BYTES_MAX: usize = 255;

/// Fetches URLs, from public addresses only. It holds no connection between two fetches, and can be shared.
pub struct Fetcher {
    policy: Policy,
    resolve: Arc<dyn Resolve>,
    tls: TlsConnector,
}

/// Content that has begun to arrive.
#[non_exhaustive]
pub struct Fetched {
    /// The content in blocks of at least one byte, read as they are taken. After an error there is nothing more, and what came
    /// before it is not the content. Dropping it ends the connection.
    pub stream: BoxStream<'static, Result<Bytes>>,
    /// Its length in bytes, where the server has announced it. If it is another in the end, the stream ends in an error.
    pub size: Option<u64>,
    /// What the server says it is: a claim, of at most 255 printable ASCII characters.
    pub content_type: Option<String>,
    /// What it may be called: by `Content-Disposition`, else the last segment of the path that was asked for in the end. At most
    /// 255 bytes without slashes and control characters, and neither `.` nor `..`.
    pub name: Option<String>,
}

impl fmt::Debug for Fetched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { stream: _, size, content_type, name } = self;
        let mut shown = f.debug_struct("Fetched");
        shown.field("size", size).field("content_type", content_type).field("name", name).finish_non_exhaustive()
    }
}

impl Fetcher {
    /// A fetcher that trusts the system's root certificates, which are read from files now.
    ///
    /// # Errors
    /// [`NoRoots`], where the system has not one.
    pub fn new(policy: Policy, resolve: Arc<dyn Resolve>) -> Result<Self, NoRoots> {
        let tls = connect::tls(&policy)?;
        Ok(Self { policy, resolve, tls })
    }

    /// Asks for `url`, follows at most three redirects, and returns as soon as content begins.
    ///
    /// One request is sent for the URL and one for each redirect, each over a connection of its own.
    ///
    /// # Errors
    /// One and the same, whatever it was, here and in the stream: [`Error::cause`](crate::Error::cause) tells the log why.
    ///
    /// # Cancel safety
    /// It may be dropped at any time; no connection is left.
    pub async fn open(&self, url: &str) -> Result<Fetched> {
        let limit = self.policy.whole_within;
        let whole = after(limit);
        let (target, connection, answer) = in_time(Step::Whole, limit, whole, self.follow(url)).await?;
        let size = content::check(&answer, &self.policy)?;
        let content_type = content_type(answer.headers());
        let name = name::of(answer.headers().get(header::CONTENT_DISPOSITION), target.last_segment());
        let stream = content::blocks(connection, answer.into_body(), &self.policy, whole);
        Ok(Fetched { stream, size, content_type, name })
    }

    /// The first answer that is no redirect, with where it is from.
    async fn follow(&self, url: &str) -> Result<(Target, Connection, Response<Incoming>), Cause> {
        let mut target = Target::parse(url, &self.policy)?;
        for _ in 0..=REDIRECTS_MAX {
            let (connection, answer) = self.ask(&target).await?;
            if !is_redirect(answer.status()) {
                return Ok((target, connection, answer));
            }
            target = target.redirected(location(answer.headers())?, &self.policy)?;
        }
        Err(Cause::Redirects(REDIRECTS_MAX))
    }

    async fn ask(&self, target: &Target) -> Result<(Connection, Response<Incoming>), Cause> {
        let Policy { connect_within, head_within, .. } = self.policy;
        let deadline = after(connect_within);
        let connection = Connection::open(target, &self.policy, &*self.resolve, &self.tls, deadline);
        let mut connection = in_time(Step::Connect, connect_within, deadline, connection).await?;
        let answer = in_time(Step::Head, head_within, after(head_within), connection.ask(target)).await?;
        Ok((connection, answer))
    }
}

/// Those after which the same may be asked for elsewhere. 300 has no one place; 304 and 305 answer what was not asked.
fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// The one place to which a redirect leads.
fn location(headers: &HeaderMap) -> Result<&str, Cause> {
    let mut all = headers.get_all(header::LOCATION).iter();
    match (all.next(), all.next()) {
        (Some(one), None) => std::str::from_utf8(one.as_bytes()).map_err(|_| Cause::Location),
        _ => Err(Cause::Location),
    }
}

fn content_type(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(header::CONTENT_TYPE)?.to_str().ok()?.trim();
    (!text.is_empty() && text.len() <= CONTENT_TYPE_BYTES_MAX).then(|| text.to_owned())
}

impl std::fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Fetcher")
    }
}
