//! Sessions: refreshed by one of many at once, ended by whatever changes their user, and never more than was allowed.

use super::harness::{EPOCH, Harness, Verdict, at, identity, user};
use crate::{
    Role, SessionId, User, UserId,
    ledger::{Entry, LedgerError, Refreshed, Result, Session},
};
use futures_util::future::join_all;
use uuid::Uuid;

/// Far more than any law but the one about it opens.
const MOST: usize = 100;

fn id(number: u128) -> SessionId {
    SessionId(Uuid::from_u128(number))
}

/// One of user `of`, that ends after `until` seconds, and a hundred seconds later for good.
fn session(number: u128, of: u128, until: i64) -> Session {
    let user = UserId(Uuid::from_u128(of));
    Session { id: id(number), user, serial: 1, opened_at: at(0), until: at(until), ends_at: at(until + 100) }
}

impl Harness {
    /// With anna, who is user 1, and boris, who is user 2.
    async fn peopled(self) -> Result<Self> {
        let harness = self.started().await?;
        harness.known(&user(1, "anna", 1)).await?;
        harness.known(&user(2, "boris", 1)).await?;
        Ok(harness)
    }

    async fn known(&self, user: &User) -> Result<()> {
        self.take(Entry::User(Box::new(user.clone()))).await.map(drop)
    }

    /// Opens a session of anna or boris at `now` seconds.
    async fn log_in(&self, session: &Session, most: usize, now: i64) -> Result<()> {
        let name = if session.user == user(1, "anna", 1).id { "anna" } else { "boris" };
        let of = user(session.user.0.as_u128(), name, 1).rank();
        self.ledger.open_session(session, Some(of), most, at(now)).await
    }

    /// The numbers of those among the first nine that are there.
    async fn open_ones(&self) -> Result<Vec<u128>> {
        let mut open = vec![];
        for number in 1..10 {
            if self.ledger.session(id(number)).await?.is_some() {
                open.push(number);
            }
        }
        Ok(open)
    }
}

pub(super) async fn a_session_is_found_until_it_is_ended(harness: Harness) -> Verdict {
    let harness = harness.peopled().await?;
    harness.log_in(&session(1, 1, 50), MOST, 0).await?;
    harness.log_in(&session(2, 1, 50), MOST, 0).await?;
    ensure_eq!(harness.ledger.session(id(1)).await?, Some(session(1, 1, 50)), "a session");
    harness.ledger.end_session(id(1)).await?;
    harness.ledger.end_session(id(9)).await?;
    ensure_eq!(harness.open_ones().await?, [2], "those that were not ended");
    let harness = harness.reopened().await;
    ensure_eq!(harness.ledger.session(id(2)).await?, Some(session(2, 1, 50)), "a session after a reopening");
    Ok(())
}

pub(super) async fn a_refresh_spends_its_number(harness: Harness) -> Verdict {
    let harness = harness.peopled().await?;
    harness.log_in(&session(1, 1, 50), MOST, 0).await?;
    for serial in 1..4 {
        let until = at(60 + i64::try_from(serial).unwrap_or(0));
        let next = Session { serial: serial + 1, until, ..session(1, 1, 50) };
        let refreshed = harness.ledger.refresh_session(id(1), serial, until, at(10)).await?;
        ensure_eq!(refreshed, Refreshed::Next(next.clone()), "refreshed by {serial}");
        ensure_eq!(harness.ledger.session(id(1)).await?, Some(next), "as it is kept");
    }
    Ok(())
}

pub(super) async fn a_spent_number_ends_the_session(harness: Harness) -> Verdict {
    let harness = harness.peopled().await?;
    for (number, sent) in [(1, 1), (2, 3), (3, 0)] {
        harness.log_in(&session(number, 1, 50), MOST, 0).await?;
        harness.ledger.refresh_session(id(number), 1, at(60), at(10)).await?;
        let now = Session { serial: 2, until: at(60), ..session(number, 1, 50) };
        let refreshed = harness.ledger.refresh_session(id(number), sent, at(70), at(20)).await?;
        ensure_eq!(refreshed, Refreshed::Spent(now), "a wrong number");
        let after = harness.ledger.refresh_session(id(number), 2, at(70), at(20)).await?;
        ensure_eq!(after, Refreshed::Absent, "the right number after a wrong one");
    }
    ensure_eq!(harness.open_ones().await?, [0; 0], "sessions");
    Ok(())
}

pub(super) async fn a_session_ends_by_its_time(harness: Harness) -> Verdict {
    let harness = harness.peopled().await?;
    for number in [1, 2] {
        harness.log_in(&session(number, 1, 50), MOST, 0).await?;
    }
    ensure!(
        matches!(harness.ledger.refresh_session(id(1), 1, at(90), at(49)).await?, Refreshed::Next(_)),
        "it did not go on just before its end"
    );
    ensure_eq!(harness.ledger.refresh_session(id(2), 1, at(90), at(50)).await?, Refreshed::Absent, "at its end");
    let last = harness.ledger.refresh_session(id(1), 2, at(1_000), at(89)).await?;
    let expected = Session { serial: 3, until: at(150), ..session(1, 1, 50) };
    ensure_eq!(last, Refreshed::Next(expected), "a session that is refreshed for ever");
    Ok(())
}

pub(super) async fn what_has_ended_goes_when_another_is_opened(harness: Harness) -> Verdict {
    let harness = harness.peopled().await?;
    for (number, until) in [(1, 50), (2, 51), (3, 90)] {
        harness.log_in(&session(number, number % 2 + 1, until), MOST, 0).await?;
    }
    harness.log_in(&session(4, 1, 99), MOST, 51).await?;
    ensure_eq!(harness.open_ones().await?, [3, 4], "whoever's they are");
    Ok(())
}

pub(super) async fn a_user_has_no_more_sessions_than_are_allowed(harness: Harness) -> Verdict {
    let harness = harness.peopled().await?;
    harness.log_in(&session(9, 2, 10), 1, 0).await?;
    for (number, until) in [(1, 70), (2, 60), (3, 80)] {
        harness.log_in(&session(number, 1, until), 3, 0).await?;
    }
    ensure_eq!(harness.open_ones().await?, [1, 2, 3, 9], "as many as are allowed");
    harness.log_in(&session(4, 1, 50), 3, 0).await?;
    ensure_eq!(harness.open_ones().await?, [1, 3, 4, 9], "the one that would end first has gone, another's has not");
    harness.log_in(&session(5, 1, 90), 1, 0).await?;
    ensure_eq!(harness.open_ones().await?, [5, 9], "one is allowed");
    Ok(())
}

pub(super) async fn a_session_is_opened_of_a_user_as_they_are(harness: Harness) -> Verdict {
    let harness = harness.peopled().await?;
    let (before, now) = (user(1, "anna", 1), User { password_hash: Some("new".into()), ..user(1, "anna", 2) });
    harness.known(&now).await?;
    let ledger = &harness.ledger;
    for (what, of) in [("an older record", Some(before.rank())), ("no record", None)] {
        let opened = ledger.open_session(&session(1, 1, 50), of, MOST, at(0)).await;
        ensure_refused!(opened, LedgerError::NotFound, "{what}");
    }
    ledger.open_session(&session(1, 1, 50), Some(now.rank()), MOST, at(0)).await?;
    let gone = User { gone_at: Some(at(1)), ..user(1, "anna", 3) };
    harness.known(&gone).await?;
    let opened = ledger.open_session(&session(2, 1, 50), Some(gone.rank()), MOST, at(0)).await;
    ensure_refused!(opened, LedgerError::NotFound, "of one who is gone");
    let opened = ledger.open_session(&session(2, 7, 50), Some(now.rank()), MOST, at(0)).await;
    ensure_refused!(opened, LedgerError::NotFound, "of nobody, by another's record");
    ledger.open_session(&session(3, 7, 50), None, MOST, at(0)).await?;
    ensure_eq!(harness.open_ones().await?, [3], "of an account without a record");
    Ok(())
}

pub(super) async fn a_change_of_a_user_ends_their_sessions(harness: Harness) -> Verdict {
    let changes = [
        User { password_hash: Some("new".into()), ..user(1, "anna", 2) },
        User { role: Role::Admin, ..user(1, "anna", 2) },
        User { gone_at: Some(at(1)), ..user(1, "anna", 2) },
    ];
    let harness = harness.peopled().await?;
    harness.log_in(&session(8, 1, 50), MOST, 0).await?;
    harness.log_in(&session(9, 2, 50), MOST, 0).await?;
    harness.known(&user(1, "anna", 1)).await?;
    ensure_eq!(harness.open_ones().await?, [8, 9], "after the same record again");
    for (version, change) in (2..).zip(changes) {
        let change = User { version, ..change };
        harness.known(&change).await?;
        ensure_eq!(harness.open_ones().await?, [9], "after {change:?}");
        if change.gone_at.is_none() {
            harness.ledger.open_session(&session(8, 1, 50), Some(change.rank()), MOST, at(0)).await?;
        }
        harness.known(&user(1, "anna", 1)).await?;
        ensure_eq!(
            harness.open_ones().await?.len(),
            1 + usize::from(change.gone_at.is_none()),
            "after an older record"
        );
    }
    Ok(())
}

pub(super) async fn a_fenced_handle_opens_and_refreshes_nothing(harness: Harness) -> Verdict {
    let harness = harness.peopled().await?;
    harness.log_in(&session(1, 1, 50), MOST, 0).await?;
    let other = harness.another().await;
    other.identity().await?;
    other.initialise(&identity(EPOCH + 1, 0)).await?;
    ensure_refused!(harness.log_in(&session(2, 1, 50), MOST, 0).await, LedgerError::Fenced(_), "opened");
    let refreshed = harness.ledger.refresh_session(id(1), 1, at(60), at(0)).await;
    ensure_refused!(refreshed, LedgerError::Fenced(_), "refreshed");
    ensure_refused!(harness.ledger.end_session(id(1)).await, LedgerError::Fenced(_), "ended");
    ensure_eq!(other.session(id(1)).await?, Some(session(1, 1, 50)), "the session");
    Ok(())
}

pub(super) async fn of_16_who_refresh_at_once_exactly_one_goes_on(harness: Harness) -> Verdict {
    let harness = harness.peopled().await?;
    harness.log_in(&session(1, 1, 50), MOST, 0).await?;
    let other = harness.another().await;
    other.identity().await?;
    let racers = (0..16).map(|number| {
        let ledger = if number % 2 == 0 { &harness.ledger } else { &other };
        ledger.refresh_session(id(1), 1, at(60), at(10))
    });
    let answers: Vec<_> = join_all(racers).await.into_iter().collect::<Result<_>>()?;
    let next = answers.iter().filter(|answer| matches!(answer, Refreshed::Next(_))).count();
    let spent = answers.iter().filter(|answer| matches!(answer, Refreshed::Spent(_))).count();
    ensure_eq!((next, spent), (1, 1), "those that went on, and those that ended it");
    ensure_eq!(harness.open_ones().await?, [0; 0], "sessions");
    Ok(())
}
