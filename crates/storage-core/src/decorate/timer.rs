//! [`Timer`]: time that passes, from outside, so that tests can make it pass at once.

use futures_util::future::BoxFuture;
use std::{fmt, time::Duration};

/// Waits.
pub trait Timer: fmt::Debug + Send + Sync + 'static {
    /// A future that is ready after `duration`.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;
}

/// The timer of the tokio runtime that the call runs on; it obeys tokio's paused clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct TokioTimer;

impl Timer for TokioTimer {
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}
