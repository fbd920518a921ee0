//! Requests that are made again: what passed may not fail the next time, and what may have been done must be looked for.

use crate::{
    fault::{Fault, Outcome},
    store::Inner,
};
use futures_util::future::{self, Either};
use std::{future::Future, time::Duration};

/// What had gone wrong before the last attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Before {
    /// Attempts that failed.
    pub(crate) failed: u32,
    /// Whether one of all, the last included, may have been carried out though it was answered by an error or not at all.
    pub(crate) maybe: bool,
}

impl Inner {
    /// The last answer of `call`, made again while it fails for now, all of it within `deadline`.
    pub(crate) async fn again<T, F>(&self, deadline: Duration, mut call: impl FnMut() -> F) -> (Outcome<T>, Before)
    where
        F: Future<Output = Outcome<T>>,
    {
        let mut before = Before::default();
        let mut end = self.options.timer.sleep(deadline);
        loop {
            let answer = match future::select(Box::pin(call()), &mut end).await {
                Either::Left((answer, _)) => answer,
                Either::Right(_) => {
                    before.maybe = true;
                    return (Err(Fault::late()), before);
                }
            };
            let Err(fault) = &answer else { return (answer, before) };
            before.maybe |= fault.maybe;
            // The SDK takes the time from a refusal because of the time, and signs by it from then on.
            if !(fault.temporary || fault.is_about_time()) || before.failed + 1 >= self.options.backoff.attempts_max {
                return (answer, before);
            }
            before.failed += 1;
            tracing::debug!(store = %self.display, ?fault, failed = before.failed, "trying again");
            if let Either::Right(_) = future::select(self.pause(before.failed), &mut end).await {
                return (answer, before);
            }
        }
    }

    /// As [`Inner::again`], of a request that may be made any number of times.
    pub(crate) async fn read<T, F>(&self, call: impl FnMut() -> F) -> Outcome<T>
    where
        F: Future<Output = Outcome<T>>,
    {
        self.again(self.options.deadlines.small, call).await.0
    }

    /// Waits behind the `failed`-th attempt: anything from nothing to all of the backoff, so that many callers spread.
    pub(crate) fn pause(&self, failed: u32) -> future::BoxFuture<'static, ()> {
        let backoff = &self.options.backoff;
        let longest =
            backoff.delay.saturating_mul(2_u32.saturating_pow(failed.saturating_sub(1))).min(backoff.delay_max);
        let share = (self.options.random)() as f64 / u64::MAX as f64;
        self.options.timer.sleep(longest.mul_f64(share))
    }
}
