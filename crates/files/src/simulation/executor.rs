//! [`Executor`]: one thread, a vector of boxed futures, a seeded pick of a ready one, and a time that passes only when none is.

use super::random::Random;
use futures_util::future::BoxFuture;
use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

/// A process: what dies together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Process(pub(super) u64);

impl Process {
    /// The world itself: clients and the operator, who outlive every node.
    pub(super) const WORLD: Self = Self(0);
}

/// Why a run ended before what it waited for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stuck {
    /// Nothing is ready and no timer is set.
    Still,
    /// It took more turns than any history should.
    Endless,
}

#[derive(Clone)]
pub(super) struct Executor(Arc<Shared>);

struct Shared {
    tasks: Mutex<Tasks>,
    ready: Arc<Mutex<BTreeSet<u64>>>,
    timers: Mutex<Timers>,
}

struct Tasks {
    random: Random,
    given: u64,
    live: BTreeMap<u64, Task>,
    dead: BTreeSet<Process>,
    cancelled: BTreeSet<u64>,
    running: Option<u64>,
}

struct Task {
    process: Process,
    /// `None` while it is polled.
    future: Option<BoxFuture<'static, ()>>,
    waker: Waker,
}

#[derive(Default)]
struct Timers {
    now: Duration,
    given: u64,
    set: BTreeMap<(Duration, u64), Waker>,
}

struct Alarm {
    task: u64,
    ready: Arc<Mutex<BTreeSet<u64>>>,
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        lock(&self.ready).insert(self.task);
    }
}

impl Executor {
    pub(super) fn new(random: Random) -> Self {
        let tasks = Tasks {
            random,
            given: 0,
            live: BTreeMap::new(),
            dead: BTreeSet::new(),
            cancelled: BTreeSet::new(),
            running: None,
        };
        Self(Arc::new(Shared { tasks: Mutex::new(tasks), ready: Arc::default(), timers: Mutex::default() }))
    }

    /// Adds a task of `process`; one of a dead process is dropped at once.
    pub(super) fn spawn(&self, process: Process, future: BoxFuture<'static, ()>) -> u64 {
        let mut tasks = lock(&self.0.tasks);
        tasks.given += 1;
        let id = tasks.given;
        if tasks.dead.contains(&process) {
            drop(tasks);
            drop(future);
            return id;
        }
        let waker = Waker::from(Arc::new(Alarm { task: id, ready: self.0.ready.clone() }));
        tasks.live.insert(id, Task { process, future: Some(future), waker });
        lock(&self.0.ready).insert(id);
        id
    }

    /// Ends every task of `process`, the running one when its poll returns.
    pub(super) fn kill(&self, process: Process) {
        let dropped: Vec<Task> = {
            let mut tasks = lock(&self.0.tasks);
            tasks.dead.insert(process);
            let running = tasks.running;
            let of = |id: &u64, task: &mut Task| task.process == process && running != Some(*id);
            tasks.live.extract_if(.., of).map(|(_, task)| task).collect()
        };
        drop(dropped);
    }

    /// Ends one task, as its caller does who hangs up.
    pub(super) fn cancel(&self, id: u64) {
        let dropped = {
            let mut tasks = lock(&self.0.tasks);
            if tasks.running == Some(id) {
                tasks.cancelled.insert(id);
                None
            } else {
                tasks.live.remove(&id)
            }
        };
        drop(dropped);
    }

    pub(super) fn now(&self) -> Duration {
        lock(&self.0.timers).now
    }

    pub(super) fn sleep(&self, span: Duration) -> Sleep {
        Sleep { executor: self.clone(), at: self.now().saturating_add(span), timer: None }
    }

    /// Runs tasks until `done`, at most `turns` polls.
    pub(super) fn run(&self, turns: u64, done: &dyn Fn() -> bool) -> Result<(), Stuck> {
        for _ in 0..turns {
            if done() {
                return Ok(());
            }
            match self.pick() {
                Some((id, future, waker)) => self.poll(id, future, &waker),
                None if self.pass_time() => {}
                None => return Err(Stuck::Still),
            }
        }
        Err(Stuck::Endless)
    }

    /// Takes out one ready task.
    fn pick(&self) -> Option<(u64, BoxFuture<'static, ()>, Waker)> {
        let mut tasks = lock(&self.0.tasks);
        let mut ready = lock(&self.0.ready);
        loop {
            let at = tasks.random.index(ready.len().max(1));
            let id = *ready.iter().nth(at)?;
            ready.remove(&id);
            let Some(task) = tasks.live.get_mut(&id) else { continue };
            let Some(future) = task.future.take() else { continue };
            let waker = task.waker.clone();
            tasks.running = Some(id);
            return Some((id, future, waker));
        }
    }

    fn poll(&self, id: u64, mut future: BoxFuture<'static, ()>, waker: &Waker) {
        let pending = future.as_mut().poll(&mut Context::from_waker(waker)).is_pending();
        let mut tasks = lock(&self.0.tasks);
        tasks.running = None;
        let cancelled = tasks.cancelled.remove(&id);
        let dead = tasks.live.get(&id).is_none_or(|task| tasks.dead.contains(&task.process));
        if pending && !cancelled && !dead {
            tasks.live.get_mut(&id).expect("looked up just now").future = Some(future);
        } else {
            let task = tasks.live.remove(&id);
            // What a future does when it is dropped may spawn or wake.
            drop(tasks);
            drop((task, future));
        }
    }

    /// Goes to the next timer; `false` where none is set.
    fn pass_time(&self) -> bool {
        let mut timers = lock(&self.0.timers);
        let Some(((at, _), waker)) = timers.set.pop_first() else { return false };
        timers.now = timers.now.max(at);
        drop(timers);
        waker.wake();
        true
    }

    /// Drops every task: they hold the world, which holds the executor.
    pub(super) fn clear(&self) {
        loop {
            let live = std::mem::take(&mut lock(&self.0.tasks).live);
            if live.is_empty() {
                return;
            }
            drop(live);
        }
    }
}

/// Waits until a virtual instant.
pub(super) struct Sleep {
    executor: Executor,
    at: Duration,
    timer: Option<(Duration, u64)>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let shared = self.executor.0.clone();
        let mut timers = lock(&shared.timers);
        if let Some(old) = self.timer.take() {
            timers.set.remove(&old);
        }
        if timers.now >= self.at {
            return Poll::Ready(());
        }
        timers.given += 1;
        let timer = (self.at, timers.given);
        timers.set.insert(timer, context.waker().clone());
        self.timer = Some(timer);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(timer) = self.timer.take() {
            lock(&self.executor.0.timers).set.remove(&timer);
        }
    }
}

/// Lets others go first, once.
#[derive(Default)]
pub(super) struct Yield(bool);

impl Future for Yield {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.0, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
