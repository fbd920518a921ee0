//! [`Flights`]: what is under way, each once: who asks for the same waits for the one that is.

use crate::wanted::Key;
use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::{
    runtime::Handle,
    sync::{Notify, oneshot},
};

/// What is told of one; `None` where its task ended without telling anything.
pub(crate) type Flight<T> = Shared<BoxFuture<'static, Option<T>>>;

/// What is under way, by what it is known by.
pub(crate) struct Flights<T>(Arc<UnderWay<T>>);

struct UnderWay<T> {
    flights: Mutex<HashMap<Key, Flight<T>>>,
    /// Told whenever one of them has ended.
    landed: Notify,
}

impl<T> Default for Flights<T> {
    fn default() -> Self {
        Self(Arc::new(UnderWay { flights: Mutex::default(), landed: Notify::new() }))
    }
}

impl<T: Clone + Send + Sync + 'static> Flights<T> {
    /// The one of this key, and whether it was under way before. Else it begins, in a task of its own that goes on when nobody waits any
    /// more: `work` is given whom to tell, and it is under way until `work` ends.
    pub(crate) fn join<W>(
        &self,
        runtime: &Handle,
        key: Key,
        work: impl FnOnce(oneshot::Sender<T>) -> W,
    ) -> (Flight<T>, bool)
    where
        W: Future<Output = ()> + Send + 'static,
    {
        let mut flights = self.0.flights();
        if let Some(flight) = flights.get(&key) {
            return (flight.clone(), true);
        }
        let (tell, told) = oneshot::channel();
        let (work, under_way) = (work(tell), self.0.clone());
        runtime.spawn(async move {
            // However this ends, it is under way no more.
            let _landing = Landing { under_way, key };
            work.await;
        });
        let flight = told.map(Result::ok).boxed().shared();
        flights.insert(key, flight.clone());
        (flight, false)
    }

    /// Ends when there is none of this key.
    pub(crate) async fn landed(&self, key: &Key) {
        self.until(|flights| !flights.contains_key(key)).await;
    }

    /// Ends when there is none.
    pub(crate) async fn all_landed(&self) {
        self.until(HashMap::is_empty).await;
    }

    async fn until(&self, is_so: impl Fn(&HashMap<Key, Flight<T>>) -> bool) {
        loop {
            let landed = self.0.landed.notified();
            if is_so(&self.0.flights()) {
                return;
            }
            landed.await;
        }
    }
}

impl<T> UnderWay<T> {
    fn flights(&self) -> MutexGuard<'_, HashMap<Key, Flight<T>>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One that is under way, until this is dropped.
struct Landing<T> {
    under_way: Arc<UnderWay<T>>,
    key: Key,
}

impl<T> Drop for Landing<T> {
    fn drop(&mut self) {
        self.under_way.flights().remove(&self.key);
        self.under_way.landed.notify_waiters();
    }
}
