//! Everything that is not decided by the protocol: time, randomness and where tasks run. Real in a server, seeded in a simulation.

use crate::Timestamp;
use futures_util::future::BoxFuture;
use std::{fmt, sync::Arc, time::Duration};

/// The time, and waiting for it.
pub trait Clock: Send + Sync + 'static {
    /// The wall clock. It may jump, backwards too.
    fn now(&self) -> Timestamp;

    /// Time since some fixed instant of this process; it never goes back.
    fn elapsed(&self) -> Duration;

    /// Waits.
    fn sleep(&self, span: Duration) -> BoxFuture<'static, ()>;
}

/// Randomness fit for secrets.
pub trait Entropy: Send + Sync + 'static {
    /// Fills `bytes`.
    fn fill(&self, bytes: &mut [u8]);
}

/// Where a task runs that must outlive its caller.
pub trait Spawn: Send + Sync + 'static {
    /// Runs `task` to its end, whatever becomes of the caller.
    fn spawn(&self, task: BoxFuture<'static, ()>);
}

/// A clock, a source of randomness and a place for tasks.
#[derive(Clone)]
pub struct Environment {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Tasks.
    pub spawn: Arc<dyn Spawn>,
}

impl Environment {
    /// So many random bytes.
    #[must_use]
    pub fn random<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.entropy.fill(&mut bytes);
        bytes
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Environment")
    }
}
