//! Sessions: log-ins that go on until they end. They are no cache and lie on no store: a rebuild ends them all.

use crate::{SessionId, Timestamp, UserId};

/// A log-in that goes on by being refreshed, until it ends. Of the one refresh token that counts only the number is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Its id. Who knows it has no right by it.
    pub id: SessionId,
    /// Whose it is.
    pub user: UserId,
    /// The number of the refresh token that counts, from 1: every earlier one is spent.
    pub serial: u64,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// When it ends unless it is refreshed before.
    pub until: Timestamp,
    /// When it ends however often it is refreshed.
    pub ends_at: Timestamp,
}

impl Session {
    /// Whether it goes on at `now`.
    #[must_use]
    pub fn is_open(&self, now: Timestamp) -> bool {
        now < self.until
    }

    /// Refreshed: what was sent counts no more, and it goes on to `until`, or to its very end.
    #[must_use]
    pub fn refreshed(&self, until: Timestamp) -> Self {
        Self { serial: self.serial + 1, until: until.min(self.ends_at), ..self.clone() }
    }
}

/// What came of refreshing a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refreshed {
    /// It goes on, under its next number.
    Next(Session),
    /// The number was spent: two have the token, and one of them stole it. The session has ended.
    Spent(Session),
    /// There is no such session, or it has ended.
    Absent,
}
