//! [`Callers`]: whose a session is now, remembered for a moment; [`InFlight`]: how many uploads each of them has under way.

use larder_files::{Files, SessionId, User, UserId};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;

/// Users of sessions as they were at most [`Callers::FRESH`] ago: whatever ends a session takes effect within that time.
#[derive(Default)]
pub(crate) struct Callers(Mutex<HashMap<SessionId, (Duration, Option<User>)>>);

impl Callers {
    const FRESH: Duration = Duration::from_millis(900);
    /// Beyond this the memory is emptied: it is refilled in no time, and never grows with the number of users.
    const REMEMBERED_MAX: usize = 4096;

    /// The user of a session, as it is or was a moment ago.
    pub(crate) fn fresh(&self, files: &Files, id: SessionId) -> Option<Option<User>> {
        let now = files.environment().clock.elapsed();
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, user) = known.get(&id)?;
        (now.saturating_sub(*since) < Self::FRESH).then(|| user.clone())
    }

    /// Forgets a user who was changed here: that takes effect at once.
    pub(crate) fn forget(&self, id: UserId) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, (_, user)| user.as_ref().is_some_and(|user| user.id != id));
    }

    /// Forgets a session that was ended here.
    pub(crate) fn forget_session(&self, id: SessionId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }

    /// Remembers what was looked up at `since`.
    pub(crate) fn remember(&self, since: Duration, id: SessionId, user: Option<User>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= Self::REMEMBERED_MAX {
            known.clear();
        }
        known.insert(id, (since, user));
    }
}

/// Uploads under way, by the id of a user, or of whatever else they are counted by.
#[derive(Clone, Default)]
pub(crate) struct InFlight(Arc<Mutex<HashMap<Uuid, usize>>>);

impl InFlight {
    /// One more `of` these, unless `max` are under way already.
    pub(crate) fn begin(&self, of: Uuid, max: usize) -> Option<Upload> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(of).or_default();
        if *count >= max {
            return None;
        }
        *count += 1;
        Some(Upload { counts: self.clone(), of })
    }
}

/// How many bodies are under way in one direction.
#[derive(Clone, Default)]
pub(crate) struct Bodies(Arc<()>);

impl Bodies {
    /// One more, until what this answers is dropped.
    pub(crate) fn begin(&self) -> Self {
        self.clone()
    }

    /// So many now.
    pub(crate) fn under_way(&self) -> usize {
        // The first is nobody's.
        Arc::strong_count(&self.0) - 1
    }
}

/// Room for what is held whole while its answer is sent: small content, and pages of lists.
pub(crate) struct Room {
    free: Arc<Semaphore>,
    units: usize,
}

impl Room {
    /// Room is given out in units of so many bytes.
    const UNIT: usize = 1 << 10;
    /// The largest small content always finds room when nothing else is held.
    const BYTES_MIN: usize = crate::content::SMALL_BYTES as usize;

    pub(crate) fn new(bytes: usize) -> Self {
        let units = bytes.max(Self::BYTES_MIN) / Self::UNIT;
        Self { free: Arc::new(Semaphore::new(units)), units }
    }

    /// Takes room for `bytes`, or all there is, until what this answers is dropped; `None` where there was none within `wait`.
    pub(crate) async fn take(&self, bytes: usize, wait: Duration) -> Option<OwnedSemaphorePermit> {
        let units = u32::try_from(bytes.div_ceil(Self::UNIT).min(self.units)).unwrap_or(u32::MAX);
        tokio::time::timeout(wait, self.free.clone().acquire_many_owned(units)).await.ok()?.ok()
    }
}

/// An upload under way; it ends when this is dropped.
pub(crate) struct Upload {
    counts: InFlight,
    of: Uuid,
}

impl Drop for Upload {
    fn drop(&mut self) {
        let mut counts = self.counts.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.of) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.of);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upload_that_ends_makes_room_for_the_next() {
        let (in_flight, user) = (InFlight::default(), Uuid::from_u128(7));
        let first = in_flight.begin(user, 2);
        let second = in_flight.begin(user, 2);
        assert!(first.is_some() && second.is_some() && in_flight.begin(user, 2).is_none());
        assert!(in_flight.begin(Uuid::from_u128(8), 2).is_some(), "another's are counted apart");
        drop(first);
        assert!(in_flight.begin(user, 2).is_some());
        drop(second);
        assert!(in_flight.0.lock().unwrap().is_empty(), "who has none under way is forgotten");
    }

    #[tokio::test]
    async fn there_is_no_more_room_than_was_given() {
        let (room, wait) = (Room::new(2 << 20), Duration::ZERO);
        let first = room.take(1 << 20, wait).await.unwrap();
        let second = room.take((1 << 20) - 100, wait).await.unwrap();
        assert!(room.take(2000, wait).await.is_none(), "all of it is held");
        drop(first);
        assert!(room.take(1 << 20, wait).await.is_some());
        drop(second);
        let least = Room::new(0);
        assert!(least.take(1 << 20, wait).await.is_some(), "a megabyte always has room");
        let all = least.take(5 << 20, wait).await;
        assert!(all.is_some() && least.take(1, wait).await.is_none(), "what is larger than the room has it alone");
    }
}
