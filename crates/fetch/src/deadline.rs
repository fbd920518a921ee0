//! Steps that end in time.

use crate::{Cause, Step};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// `limit` from now. One beyond what a clock can say is a very long one.
pub(crate) fn after(limit: Duration) -> Instant {
    const FOR_EVER: Duration = Duration::from_secs(30 * 365 * 86_400);
    Instant::now() + limit.min(FOR_EVER)
}

/// What `future` results in before `deadline`, which `limit` has led to. Where it has passed already, nothing is tried: `timeout_at`
/// would take what is ready, and a server that is always ahead of its reader would have no deadline.
pub(crate) async fn in_time<T>(
    step: Step,
    limit: Duration,
    deadline: Instant,
    future: impl Future<Output = Result<T, Cause>>,
) -> Result<T, Cause> {
    if deadline <= Instant::now() {
        return Err(Cause::Late { step, limit });
    }
    timeout_at(deadline, future).await.unwrap_or(Err(Cause::Late { step, limit }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_step_ends_at_its_deadline_and_not_before() {
        let begun = Instant::now();
        let limit = Duration::from_secs(5);
        let never = std::future::pending::<Result<(), Cause>>();
        let late = in_time(Step::Head, limit, after(limit), never).await;
        assert!(matches!(late, Err(Cause::Late { step: Step::Head, .. })));
        assert_eq!(begun.elapsed(), limit);
    }

    #[tokio::test]
    async fn a_limit_without_an_end_is_no_panic() {
        assert!(after(Duration::MAX) > Instant::now());
    }
}
