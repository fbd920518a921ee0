//! The real [`Environment`]: the system's clock, its randomness, and the runtime's tasks. Nothing else names them.

use futures_util::future::BoxFuture;
use larder_files::{Clock, Entropy, Environment, Spawn, Timestamp};
use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::runtime::Handle;

/// The environment of a real node: its tasks run on the runtime that this is called in.
pub(crate) fn real() -> Environment {
    Environment { clock: Arc::new(System), entropy: Arc::new(Kernel), spawn: Arc::new(Tasks(Handle::current())) }
}

struct System;

impl Clock for System {
    fn now(&self) -> Timestamp {
        let millis = match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
            Err(before) => -i64::try_from(before.duration().as_millis()).unwrap_or(i64::MAX),
        };
        Timestamp::from_millis(millis)
    }

    /// Also while the machine sleeps: others go on meanwhile, and what was theirs to wait for is over.
    fn elapsed(&self) -> Duration {
        #[cfg(target_os = "linux")]
        let clock = rustix::time::ClockId::Boottime;
        #[cfg(not(target_os = "linux"))]
        let clock = rustix::time::ClockId::Monotonic;
        let now = rustix::time::clock_gettime(clock);
        Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or_default())
    }

    fn sleep(&self, span: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(span))
    }
}

struct Kernel;

impl Entropy for Kernel {
    fn fill(&self, bytes: &mut [u8]) {
        getrandom::fill(bytes).expect("the kernel gives random bytes, or nothing secret can be made");
    }
}

struct Tasks(Handle);

impl Spawn for Tasks {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        drop(self.0.spawn(task));
    }
}
