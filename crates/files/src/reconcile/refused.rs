//! [`Refused`]: stores that refuse to delete, and rest from being asked. One copy in an hour asks there for all that are to go, whether no
//! placement wants them or they are damaged; and each time another one, for a store may refuse one object and let others go.

use crate::FileId;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// A store that refuses to delete is not asked again for so long.
const RESTS_FOR: Duration = Duration::from_secs(60 * 60);
/// The copies that have asked leave the others so much time to come first.
const LATER_BY: Duration = Duration::from_secs(5 * 60);

/// A revision of a file, on a place.
type Which = (FileId, u64, usize);

#[derive(Debug)]
struct Rest {
    until: Duration,
    /// Those that were refused: the others come first.
    asked: BTreeSet<(FileId, u64)>,
}

/// The places that have refused to delete. It does not outlive the process: the next one asks.
#[derive(Debug, Default)]
pub(crate) struct Refused(BTreeMap<usize, Rest>);

impl Refused {
    /// Whether no deletion of this copy is to be asked for now.
    pub(super) fn rests(&self, (file, revision, place): Which, now: Duration) -> bool {
        let Some(rest) = self.0.get(&place) else { return false };
        let longer = if rest.asked.contains(&(file, revision)) { LATER_BY } else { Duration::ZERO };
        now < rest.until + longer
    }

    /// The place has refused to delete this copy.
    pub(super) fn refused(&mut self, (file, revision, place): Which, now: Duration) {
        let rest = self.0.entry(place).or_insert_with(|| Rest { until: now, asked: BTreeSet::new() });
        rest.until = now + RESTS_FOR;
        if !rest.asked.insert((file, revision)) {
            // Its turn has come again: so has that of all before it.
            rest.asked = [(file, revision)].into();
        }
    }

    /// The place has deleted a copy: those that it has not refused need rest no longer.
    pub(super) fn deleted(&mut self, place: usize, now: Duration) {
        if let Some(rest) = self.0.get_mut(&place) {
            rest.until = rest.until.min(now);
        }
    }

    /// Somebody wants the place asked.
    pub(crate) fn forget(&mut self, place: usize) {
        self.0.remove(&place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copy(number: u128, place: usize) -> Which {
        (FileId(uuid::Uuid::from_u128(number)), 1, place)
    }

    fn hours(hours: u64) -> Duration {
        RESTS_FOR * u32::try_from(hours).unwrap()
    }

    #[test]
    fn one_asks_for_all_of_its_store_and_the_next_time_another_one() {
        let mut refused = Refused::default();
        refused.refused(copy(1, 0), hours(0));
        assert!(refused.rests(copy(1, 0), hours(0)) && refused.rests(copy(2, 0), hours(1) - Duration::from_secs(1)));
        assert!(!refused.rests(copy(1, 1), hours(0)), "another store");
        assert!(refused.rests(copy(1, 0), hours(1)) && !refused.rests(copy(2, 0), hours(1)));
        refused.refused(copy(2, 0), hours(1));
        // Nobody else came first: those that had asked begin again.
        assert!(refused.rests(copy(1, 0), hours(2)) && !refused.rests(copy(1, 0), hours(2) + LATER_BY));
        refused.refused(copy(1, 0), hours(3));
        assert!(refused.rests(copy(1, 0), hours(4)) && !refused.rests(copy(2, 0), hours(4)));
    }

    #[test]
    fn where_another_one_went_the_others_rest_no_longer() {
        let mut refused = Refused::default();
        refused.refused(copy(1, 0), hours(0));
        refused.deleted(0, hours(1));
        refused.deleted(1, hours(1));
        assert!(!refused.rests(copy(2, 0), hours(1)) && refused.rests(copy(1, 0), hours(1)));
        refused.forget(0);
        assert!(!refused.rests(copy(1, 0), hours(1)));
    }
}
