//! [`Turns`]: how many are made at once, and who waits for that.

use crate::{Error, Result};
use larder_files::UserId;
use std::{
    collections::HashMap,
    num::NonZeroUsize,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

/// So many are made at once; of those who wait, bounded in number, the files of one owner have half at most.
pub(crate) struct Turns {
    permits: Arc<Semaphore>,
    /// How many wait, by the owner of the file.
    waiting: Mutex<HashMap<UserId, usize>>,
    waiting_max: usize,
}

/// When who was turned away may come again.
pub(crate) const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// As many as there are processors.
#[must_use]
pub fn processors() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

impl Turns {
    pub(crate) fn new(at_once: usize, waiting_max: usize) -> Self {
        Self { permits: Arc::new(Semaphore::new(at_once)), waiting: Mutex::default(), waiting_max }
    }

    /// Waits for the right to make one, for a file of this owner.
    ///
    /// # Errors
    /// `Busy`, where too many wait, or it took until then.
    pub(crate) async fn take(&self, owner: UserId, until: Instant) -> Result<OwnedSemaphorePermit> {
        let busy = || Error::Busy { after: AGAIN_AFTER };
        if let Ok(permit) = self.permits.clone().try_acquire_owned() {
            return Ok(permit);
        }
        let _place = self.place(owner).ok_or_else(busy)?;
        let permit = tokio::time::timeout_at(until, self.permits.clone().acquire_owned()).await;
        permit.map_err(|_| busy())?.map_err(|error| Error::Internal(error.to_string()))
    }

    /// A place among those who wait: nobody's pictures keep all others' away.
    fn place(&self, owner: UserId) -> Option<Place<'_>> {
        let mut places = self.waiting();
        let (all, of_owner) = (places.values().sum::<usize>(), places.get(&owner).copied().unwrap_or(0));
        if all >= self.waiting_max || of_owner >= self.waiting_max.div_ceil(2) {
            return None;
        }
        places.insert(owner, of_owner + 1);
        Some(Place { turns: self, owner })
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<UserId, usize>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place, until it is dropped.
struct Place<'a> {
    turns: &'a Turns,
    owner: UserId,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut places = self.turns.waiting();
        if let Some(count) = places.get_mut(&self.owner) {
            *count -= 1;
            if *count == 0 {
                places.remove(&self.owner);
            }
        }
    }
}
