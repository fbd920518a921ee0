//! [`Refused`]: what could not be made a moment ago, and why.

use crate::wanted::Key;
use larder_files::Error as FilesError;
use larder_media::Error as MediaError;
use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};
use tokio::time::Instant;

/// Why one could not be made.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Why {
    /// The picture can't be made into it.
    Picture(MediaError),
    /// A turn was held up by a store that then failed. Of the picture nothing is known.
    SlowStore,
}

/// What can't be made, so that it is not tried again at every request; what only took too long is tried again after a while.
#[derive(Default)]
pub(crate) struct Refused {
    why: HashMap<Key, (Why, Instant)>,
    order: VecDeque<Key>,
}

/// What took too long is tried again after so long.
const LATE_FOR: Duration = Duration::from_secs(60);
/// A slow store is asked again after so long: an outage may end at any moment, but clients that repeat what it fails at must not hold
/// all turns meanwhile.
const SLOW_FOR: Duration = Duration::from_secs(5);

const REMEMBERED_MAX: usize = 1024;

impl Why {
    /// How long it counts; `None`: as long as it is remembered.
    fn counts_for(&self) -> Option<Duration> {
        match self {
            Self::Picture(MediaError::Deadline) => Some(LATE_FOR),
            Self::Picture(_) => None,
            Self::SlowStore => Some(SLOW_FOR),
        }
    }
}

impl From<Why> for crate::Error {
    fn from(why: Why) -> Self {
        match why {
            Why::Picture(why) => why.into(),
            Why::SlowStore => FilesError::StoreUnavailable(None).into(),
        }
    }
}

impl Refused {
    pub(crate) fn get(&self, key: &Key) -> Option<&Why> {
        let (why, at) = self.why.get(key)?;
        why.counts_for().is_none_or(|span| at.elapsed() < span).then_some(why)
    }

    /// Whether it is the picture that can't be made into this.
    pub(crate) fn is_of_picture(&self, key: &Key) -> bool {
        matches!(self.get(key), Some(Why::Picture(_)))
    }

    /// Notes why, and lets go the oldest of too many.
    pub(crate) fn add(&mut self, key: Key, why: Why) {
        if self.why.insert(key, (why, Instant::now())).is_none() {
            self.order.push_back(key);
        }
        if self.order.len() > REMEMBERED_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.why.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use larder_files::FileId;

    fn key(number: usize) -> Key {
        let file = FileId::parse("0193a2b4-0000-7000-8000-000000000001").expect("an id");
        Key { file, hash: (number as u128).to_be_bytes() }
    }

    #[test]
    fn the_oldest_of_too_many_are_forgotten() {
        let mut refused = Refused::default();
        let why = Why::Picture(MediaError::NotAnImage);
        for number in 0..=REMEMBERED_MAX {
            refused.add(key(number), why.clone());
            refused.add(key(number), why.clone());
        }
        assert_eq!((refused.get(&key(0)), refused.get(&key(1))), (None, Some(&why)));
        assert_eq!((refused.why.len(), refused.order.len()), (REMEMBERED_MAX, REMEMBERED_MAX));
    }

    #[tokio::test(start_paused = true)]
    async fn each_reason_counts_for_its_own_time() {
        let mut refused = Refused::default();
        let reasons = [Why::SlowStore, Why::Picture(MediaError::Deadline), Why::Picture(MediaError::NotAnImage)];
        reasons.iter().enumerate().for_each(|(number, why)| refused.add(key(number), why.clone()));
        let counts = async |after| {
            tokio::time::advance(Duration::from_secs(after)).await;
            [0, 1, 2].map(|number| refused.get(&key(number)).is_some())
        };
        assert_eq!(counts(4).await, [true, true, true]);
        assert_eq!(counts(1).await, [false, true, true]);
        assert_eq!(counts(55).await, [false, false, true]);
    }
}
