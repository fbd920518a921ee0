//! Threads for calls that block: a fixed number, started when first needed, each by its name in `top`. No runtime is needed, so
//! the store works under any; a job is one closure, its answer a future.

use crate::errno::{Fault, Outcome};
use larder_storage_core::ErrorKind;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

type Job = Box<dyn FnOnce() + Send>;

/// Locks what no panic can leave half-done: every section under these locks is a few moves.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A pool of at most `max` threads.
pub(crate) struct Pool {
    name: &'static str,
    max: usize,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    threads: usize,
    idle: usize,
    closed: bool,
}

impl Pool {
    pub(crate) fn new(name: &'static str, max: usize) -> Self {
        Self { name, max: max.max(1), shared: Arc::default() }
    }

    /// Runs `job` and answers what it returns. The job runs to its end even where nobody waits any longer; what it returns is
    /// then dropped.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> impl Future<Output = Outcome<T>> + Send + 'static {
        let (answer, answered) = oneshot::channel();
        self.spawn(move || drop(answer.send(job())));
        async { answered.await.map_err(|_| Fault::says(ErrorKind::Unavailable, "a thread of the store failed")) }
    }

    /// Runs `job` with nobody waiting for it.
    pub(crate) fn spawn(&self, job: impl FnOnce() + Send + 'static) {
        let mut queue = lock(&self.shared.queue);
        queue.jobs.push_back(Box::new(job));
        if queue.idle >= queue.jobs.len() || queue.threads == self.max {
            self.shared.wake.notify_one();
            return;
        }
        let shared = self.shared.clone();
        match std::thread::Builder::new().name(self.name.to_owned()).spawn(move || shared.work()) {
            Ok(_) => queue.threads += 1,
            // With no thread at all the job is dropped, and whoever waits for it is told so. What it owns may come here again.
            Err(_) if queue.threads == 0 => {
                let refused = queue.jobs.pop_back();
                drop(queue);
                drop(refused);
            }
            Err(_) => self.shared.wake.notify_one(),
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        lock(&self.shared.queue).closed = true;
        self.shared.wake.notify_all();
    }
}

impl Shared {
    fn work(&self) {
        let mut queue = lock(&self.queue);
        loop {
            if let Some(job) = queue.jobs.pop_front() {
                drop(queue);
                // A job that panics has dropped its answer; the thread goes on.
                let _ = catch_unwind(AssertUnwindSafe(job));
                queue = lock(&self.queue);
            } else if queue.closed {
                return;
            } else {
                queue.idle += 1;
                queue = self.wake.wait(queue).unwrap_or_else(PoisonError::into_inner);
                queue.idle -= 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test]
    async fn no_more_jobs_run_at_once_than_the_pool_has_threads() {
        let pool = Pool::new("larder-test", 3);
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let jobs = (0..100).map(|_| {
            let (now, most) = (now.clone(), most.clone());
            pool.run(move || {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                std::thread::yield_now();
                now.fetch_sub(1, Ordering::SeqCst);
            })
        });
        for job in jobs.collect::<Vec<_>>() {
            job.await.unwrap();
        }
        assert!((1..=3).contains(&most.load(Ordering::SeqCst)));
    }

    #[tokio::test]
    async fn a_job_that_panics_is_told_of_and_the_pool_goes_on() {
        let pool = Pool::new("larder-test", 1);
        let failed = pool.run(|| std::panic::resume_unwind(Box::new("on purpose"))).await;
        assert_eq!(failed.map(|()| 0).unwrap_err().kind, ErrorKind::Unavailable);
        assert_eq!(pool.run(|| 7).await.unwrap(), 7);
    }
}
