//! Sessions of users. One is opened of a user as their password was found right; refreshing it spends the token that was sent, so that
//! of two who have it one is found out; whatever changes the user ends it, in the same transaction ([`Entry::User`]).
//!
//! Nothing of them lies on a store. A database from before a log-out must be known to be an older copy, so each change of a session is
//! one that the mark tells of.
//!
//! [`Entry::User`]: crate::ledger::Entry::User

use crate::{
    Error, Files, Result, SessionId, User,
    ledger::{LedgerError, Refreshed, Session},
};
use std::time::Duration;

/// For how long sessions go on, and how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionTerms {
    /// For how long without being refreshed.
    pub idle: Duration,
    /// For how long at all.
    pub whole: Duration,
    /// How many of one user: one more ends the one that would end first.
    pub most: usize,
}

impl Files {
    /// Opens a session of a user.
    ///
    /// # Errors
    /// `NotFound` where the user is gone or has changed since: the password that was right may not be theirs any more.
    pub async fn open_session(&self, user: &User, terms: &SessionTerms) -> Result<Session> {
        self.begin_session_change().await?;
        let environment = &self.0.environment;
        let (id, now) = (SessionId::new(environment), environment.clock.now());
        let ends_at = now.plus(terms.whole);
        let until = now.plus(terms.idle).min(ends_at);
        let session = Session { id, user: user.id, serial: 1, opened_at: now, until, ends_at };
        match self.0.ledger.open_session(&session, Some(user.rank()), terms.most, now).await {
            Err(LedgerError::NotFound) => Err(Error::NotFound("user")),
            opened => {
                self.0.mark_soon();
                opened.map(|()| session).map_err(Error::from)
            }
        }
    }

    /// Refreshes a session whose number `serial` was sent: of several at once exactly one succeeds, and the others end it.
    ///
    /// # Errors
    /// Only the ledger's own.
    pub async fn refresh_session(&self, id: SessionId, serial: u64, terms: &SessionTerms) -> Result<Refreshed> {
        self.begin_session_change().await?;
        let now = self.0.environment.clock.now();
        let refreshed = self.0.ledger.refresh_session(id, serial, now.plus(terms.idle), now).await?;
        self.0.mark_soon();
        Ok(refreshed)
    }

    /// Ends a session, if there is one.
    ///
    /// # Errors
    /// Only the ledger's own.
    pub async fn end_session(&self, id: SessionId) -> Result<()> {
        self.begin_session_change().await?;
        self.0.ledger.end_session(id).await?;
        self.0.mark_soon();
        Ok(())
    }

    /// The user of a session, as they are now; `None` where it has ended. Costs two look-ups in the ledger.
    ///
    /// # Errors
    /// Only the ledger's own.
    pub async fn user_of_session(&self, id: SessionId) -> Result<Option<User>> {
        let session = self.0.ledger.session(id).await?;
        match session.filter(|session| session.is_open(self.0.environment.clock.now())) {
            Some(session) => Ok(self.user(session.user).await?.filter(|user| user.gone_at.is_none())),
            None => Ok(None),
        }
    }

    /// As before any change; but whoever logs in to read must not wait for a store.
    pub(crate) async fn begin_session_change(&self) -> Result<()> {
        match self.0.begin_change().await {
            Err(fenced @ Error::Fenced(_)) => Err(fenced),
            _ => Ok(()),
        }
    }
}
