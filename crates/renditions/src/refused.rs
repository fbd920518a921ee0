//! [`Refused`]: pictures that can't be made into something.

use crate::wanted::Key;
use larder_media::Error;
use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

/// Pictures that can't be made into something, so that they are not tried again at every request; what only took too long is tried again
/// after a while.
#[derive(Default)]
pub(crate) struct Refused {
    why: HashMap<Key, (Error, Instant)>,
    order: VecDeque<Key>,
}

/// What took too long is tried again after so long.
pub(crate) const LATE_FOR: Duration = Duration::from_secs(60);

const REMEMBERED_MAX: usize = 1024;

impl Refused {
    pub(crate) fn get(&self, key: &Key) -> Option<&Error> {
        let (why, at) = self.why.get(key)?;
        (*why != Error::Deadline || at.elapsed() < LATE_FOR).then_some(why)
    }

    /// Notes why, and lets go the oldest of too many.
    pub(crate) fn add(&mut self, key: Key, why: Error) {
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

    #[test]
    fn the_oldest_of_too_many_are_forgotten() {
        let mut refused = Refused::default();
        let file = FileId::parse("0193a2b4-0000-7000-8000-000000000001").expect("an id");
        let key = |number: usize| Key { file, hash: (number as u128).to_be_bytes() };
        for number in 0..=REMEMBERED_MAX {
            refused.add(key(number), Error::NotAnImage);
            refused.add(key(number), Error::NotAnImage);
        }
        assert_eq!((refused.get(&key(0)), refused.get(&key(1))), (None, Some(&Error::NotAnImage)));
        assert_eq!((refused.why.len(), refused.order.len()), (REMEMBERED_MAX, REMEMBERED_MAX));
    }
}
