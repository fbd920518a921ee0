//! [`Dropped`]: copies whose deletion was sent to a store that does not stage, where it may take effect long after it was answered, or
//! though it never was. Until that is over no copy may come to lie there again.

use crate::{
    FileId, Timestamp,
    ledger::{CopyState, RevisionRow},
    reconcile::copy::copy_on,
};
use std::{collections::BTreeMap, time::Duration};

/// So many are waited for at once: some megabytes. Of others a walk finds the rows.
const DROPPED_MAX: usize = 32_768;

/// A revision of a file, on a place.
type Which = (FileId, u64, usize);

#[derive(Debug)]
struct Sent {
    /// By which the row tells one deletion from the next.
    at: Option<Timestamp>,
    /// By the clock that never jumps.
    over: Duration,
    /// When it is told the next time.
    told: Duration,
}

/// What was told and is still there is told again after so long.
const TOLD_AGAIN: Duration = Duration::from_secs(60);

/// What this node waits for. None of it outlives the process: one that finds such a row waits from then on.
#[derive(Debug, Default)]
pub(crate) struct Dropped {
    sent: BTreeMap<Which, Sent>,
    /// Nothing is to be told before.
    next: Duration,
}

impl Dropped {
    /// Whether no more can be waited for now.
    pub(super) fn is_full(&self) -> bool {
        self.sent.len() >= DROPPED_MAX
    }

    /// A deletion that the row of a copy tells of was sent: it takes effect before `over`, or never.
    pub(super) fn sent(&mut self, which: Which, at: Option<Timestamp>, over: Duration) {
        if !self.is_full() || self.sent.contains_key(&which) {
            self.next = self.next.min(over);
            self.sent.insert(which, Sent { at, over, told: over });
        }
    }

    /// Whether the deletion that a row tells of takes effect no more. One that was not known is waited for, for so `long`.
    pub(super) fn is_over(&mut self, which: Which, at: Option<Timestamp>, now: Duration, long: Duration) -> bool {
        match self.sent.get(&which).filter(|sent| sent.at == at) {
            Some(sent) => sent.over <= now,
            None => {
                self.sent(which, at, now + long);
                false
            }
        }
    }

    /// The row is gone, or counts again.
    pub(super) fn forget(&mut self, which: &Which) {
        self.sent.remove(which);
    }

    /// Some copies that need be waited for no longer. Those of which nothing came for so `long` are left to a walk.
    pub(super) fn due(&mut self, now: Duration, long: Duration, most: usize) -> Vec<(FileId, usize)> {
        if now < self.next {
            return vec![];
        }
        self.sent.retain(|_, sent| now < sent.over + long);
        let mut due = vec![];
        for ((file, _, place), sent) in self.sent.iter_mut().filter(|(_, sent)| sent.told <= now).take(most) {
            sent.told = now + TOLD_AGAIN;
            due.push((*file, *place));
        }
        self.next = self.sent.values().map(|sent| sent.told).min().unwrap_or(Duration::ZERO);
        due
    }
}

/// When the deletion of a copy was sent that a row says is being dropped.
pub(super) fn sent_at(revision: &RevisionRow, store: crate::StoreId) -> Option<Timestamp> {
    copy_on(revision, store).filter(|copy| copy.state == CopyState::Dropping)?.verified_at
}
