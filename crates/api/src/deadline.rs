//! Deadlines against slow clients. [`Incoming`] is a request's body: one that stands still, or is slower than the minimum rate
//! once the grace has passed, ends its request with 408 and its connection. [`Reader`] watches who takes an answer, by the same
//! rule. Only time spent waiting for the client counts.

use crate::{
    Limits,
    metrics::Counted,
    problem::{Code, Problem},
};
use actix_web::{
    body::{BodySize, BoxBody, MessageBody},
    dev::Payload,
    error::PayloadError,
};
use bytes::{Bytes, BytesMut};
use futures_util::{FutureExt, StreamExt, future::poll_fn};
use std::{
    cell::{Cell, RefCell},
    os::fd::OwnedFd,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{task::JoinHandle, time::Instant};

/// A request's body. The clones are one; it is held until the answer is out, because the server drains a body that was dropped
/// unread, however long it is, and closes the connection of one that is held.
#[derive(Clone)]
pub(crate) struct Incoming(Rc<RefCell<State>>);

struct State {
    payload: Payload,
    limits: Limits,
    counter: Counted,
    received: u64,
    waited: Duration,
    ended: bool,
}

impl Incoming {
    /// `counter` is told of each byte.
    pub(crate) fn new(payload: Payload, limits: Limits, counter: Counted) -> Self {
        let ended = matches!(payload, Payload::None);
        Self(Rc::new(RefCell::new(State { payload, limits, counter, received: 0, waited: Duration::ZERO, ended })))
    }

    /// The next bytes, or `None` at the end.
    pub(crate) async fn next(&self) -> Result<Option<Bytes>, Problem> {
        if let Some(ready) = poll_fn(|cx| Poll::Ready(self.poll(cx))).await {
            return ready;
        }
        let (patience, begun) = (self.0.borrow().patience(), Instant::now());
        let next = tokio::time::timeout(patience, poll_fn(|cx| self.poll(cx).map_or(Poll::Pending, Poll::Ready))).await;
        self.0.borrow_mut().waited += begun.elapsed();
        next.unwrap_or_else(|_| {
            Err(Problem::new(Code::Timeout, "the body arrives too slowly; nothing was stored").closing())
        })
    }

    /// The whole body, of at most `max` bytes.
    pub(crate) async fn collect(&self, max: usize) -> Result<Bytes, Problem> {
        let Some(first) = self.next().await? else { return Ok(Bytes::new()) };
        let mut whole = BytesMut::from(first);
        loop {
            if whole.len() > max {
                return Err(Problem::too_large(max as u64));
            }
            match self.next().await? {
                Some(more) => whole.extend_from_slice(&more),
                None => return Ok(whole.freeze()),
            }
        }
    }

    /// Takes what has arrived already, a little at most, and says whether the body has ended.
    pub(crate) fn drain(&self) -> bool {
        const DRAINED_MAX: usize = 64 << 10;
        let mut drained = 0;
        while drained <= DRAINED_MAX && !self.0.borrow().ended {
            match self.next().now_or_never() {
                Some(Ok(Some(bytes))) => drained += bytes.len(),
                _ => break,
            }
        }
        self.0.borrow().ended
    }

    /// `body`, holding this until it is sent.
    pub(crate) fn held_by(self, body: BoxBody) -> BoxBody {
        BoxBody::new(Held { body, _incoming: self })
    }

    fn poll(&self, cx: &mut Context<'_>) -> Option<Result<Option<Bytes>, Problem>> {
        let state = &mut *self.0.borrow_mut();
        if state.ended {
            return Some(Ok(None));
        }
        match state.payload.poll_next_unpin(cx) {
            Poll::Pending => None,
            Poll::Ready(Some(Ok(bytes))) => {
                state.received += bytes.len() as u64;
                state.counter.inc_by(bytes.len() as u64);
                Some(Ok(Some(bytes)))
            }
            Poll::Ready(Some(Err(error))) => {
                state.ended = true;
                Some(Err(broken(&error)))
            }
            Poll::Ready(None) => {
                state.ended = true;
                Some(Ok(None))
            }
        }
    }
}

impl State {
    /// For how long the next bytes may be waited for: what the idle limit and the minimum rate leave.
    fn patience(&self) -> Duration {
        let earned = Duration::from_secs_f64(self.received as f64 / self.limits.body_rate_min.max(1) as f64);
        let left = earned.max(self.limits.body_grace).saturating_sub(self.waited);
        left.min(self.limits.body_idle)
    }
}

fn broken(error: &PayloadError) -> Problem {
    let detail = match error {
        PayloadError::Incomplete(_) => "the body broke off",
        _ => "the body's framing is broken",
    };
    Problem::malformed(detail).closing()
}

/// An answer's body that keeps the request's open.
struct Held {
    body: BoxBody,
    _incoming: Incoming,
}

impl MessageBody for Held {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.body).poll_next(cx)
    }
}

/// A second handle on a connection's socket: while an answer waits for its reader nothing of ours is polled, so the connection
/// can only be ended from beside it.
#[derive(Clone)]
pub(crate) struct Connection(pub(crate) Arc<OwnedFd>);

/// Ends the connection of a reader who does not take what was given within the time that its size allows.
pub(crate) struct Reader {
    connection: Option<Connection>,
    grace: Duration,
    rate_min: u64,
    /// Until when the last block must be taken; `None` while the reader waits for us.
    deadline: Rc<Cell<Option<Instant>>>,
    watch: Option<JoinHandle<()>>,
}

impl Reader {
    pub(crate) fn new(connection: Option<Connection>, limits: &Limits) -> Self {
        let (grace, rate_min) = (limits.body_grace, limits.body_rate_min.max(1));
        Self { connection, grace, rate_min, deadline: Rc::default(), watch: None }
    }

    /// The reader has taken everything.
    pub(crate) fn asks(&self) {
        self.deadline.set(None);
    }

    /// The reader is given `bytes` more.
    pub(crate) fn is_given(&mut self, bytes: usize) {
        let allowed = Duration::from_secs_f64(bytes as f64 / self.rate_min as f64).max(self.grace);
        self.deadline.set(Some(Instant::now() + allowed));
        if let (None, Some(connection)) = (&self.watch, &self.connection) {
            let watch = watch(connection.clone(), self.deadline.clone(), self.grace);
            self.watch = Some(actix_web::rt::spawn(watch));
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if let Some(watch) = &self.watch {
            watch.abort();
        }
    }
}

async fn watch(connection: Connection, deadline: Rc<Cell<Option<Instant>>>, grace: Duration) {
    loop {
        let now = Instant::now();
        match deadline.get() {
            Some(until) if until <= now => break,
            Some(until) => tokio::time::sleep_until(until).await,
            None => tokio::time::sleep_until(now + grace).await,
        }
    }
    tracing::info!("a reader was too slow: its connection is cut");
    let _ = rustix::net::shutdown(&*connection.0, rustix::net::Shutdown::Both);
}
