//! [`Fault`]: what an error of SQLite or PostgreSQL means, by SQLite's primary result codes (<https://sqlite.org/rescode.html>) and
//! PostgreSQL's SQLSTATE (its manual, appendix A).

use larder_files::ledger::LedgerError;
use sea_orm::{DbErr, RuntimeErr};
use sqlx::{error::DatabaseError, postgres::PgDatabaseError, sqlite::SqliteError};

/// Why a statement failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Another's transaction was waited for too long.
    Busy,
    /// No space is left.
    Full,
    /// It was stopped, because nobody waits for it or it took too long.
    Interrupted,
    /// The database can't be reached, read or written.
    Away,
    /// A constraint, or what a row holds: it may be one call's alone.
    Row,
    /// What should not happen: damage, or a mistake of ours.
    Broken,
}

impl Fault {
    pub(crate) fn of(error: &DbErr) -> Self {
        match sqlx_error(error) {
            Some(error) => Self::of_sqlx(error),
            None if matches!(error, DbErr::ConnectionAcquire(_) | DbErr::Conn(_)) => Self::Away,
            None => Self::Row,
        }
    }

    pub(crate) fn of_sqlx(error: &sqlx::Error) -> Self {
        match error {
            sqlx::Error::Database(error) => Self::of_database(&**error),
            sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) => Self::Away,
            sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => Self::Away,
            _ => Self::Broken,
        }
    }

    fn of_database(error: &(dyn DatabaseError + 'static)) -> Self {
        if let Some(error) = error.try_downcast_ref::<PgDatabaseError>() {
            return Self::of_state(error.code());
        }
        match error.try_downcast_ref::<SqliteError>().and_then(primary) {
            Some(BUSY | LOCKED) => Self::Busy,
            Some(FULL) => Self::Full,
            Some(INTERRUPTED) => Self::Interrupted,
            Some(CANNOT_OPEN | IO | READ_ONLY | PERMISSION) => Self::Away,
            Some(TOO_BIG | CONSTRAINT | MISMATCH) => Self::Row,
            _ => Self::Broken,
        }
    }

    fn of_state(state: &str) -> Self {
        match (state, state.get(..2)) {
            // lock_not_available, serialization_failure, deadlock_detected.
            ("55P03" | "40001" | "40P01", _) => Self::Busy,
            // disk_full.
            ("53100", _) => Self::Full,
            // query_canceled.
            ("57014", _) => Self::Interrupted,
            // A connection, authorization, resources, an operator's intervention, the system; read_only_sql_transaction,
            // idle_in_transaction_session_timeout.
            (_, Some("08" | "28" | "53" | "57" | "58")) | ("25006" | "25P03", _) => Self::Away,
            // The data of a statement, or a constraint.
            (_, Some("22" | "23")) => Self::Row,
            _ => Self::Broken,
        }
    }

    /// What it means to a caller whose transaction was rolled back.
    pub(crate) fn told(self, error: DbErr) -> LedgerError {
        match self {
            Self::Full => LedgerError::Full(error.into()),
            Self::Busy | Self::Away | Self::Interrupted => LedgerError::Unavailable(error.into()),
            Self::Row | Self::Broken => LedgerError::Internal(error.into()),
        }
    }
}

/// What an error means whose transaction was rolled back.
pub(crate) fn ledger_error(error: DbErr) -> LedgerError {
    Fault::of(&error).told(error)
}

pub(crate) fn sqlx_error(error: &DbErr) -> Option<&sqlx::Error> {
    match error {
        DbErr::Conn(RuntimeErr::SqlxError(error))
        | DbErr::Exec(RuntimeErr::SqlxError(error))
        | DbErr::Query(RuntimeErr::SqlxError(error)) => Some(error),
        _ => None,
    }
}

/// SQLite's primary result code of an error, where it is one of SQLite's.
pub(crate) fn sqlite_code(error: &sqlx::Error) -> Option<i32> {
    primary(error.as_database_error()?.try_downcast_ref::<SqliteError>()?)
}

fn primary(error: &SqliteError) -> Option<i32> {
    let code: i32 = error.code()?.parse().ok()?;
    Some(code & 0xff)
}

pub(crate) const PERMISSION: i32 = 3;
pub(crate) const BUSY: i32 = 5;
pub(crate) const LOCKED: i32 = 6;
pub(crate) const READ_ONLY: i32 = 8;
pub(crate) const INTERRUPTED: i32 = 9;
pub(crate) const IO: i32 = 10;
pub(crate) const CORRUPT: i32 = 11;
pub(crate) const FULL: i32 = 13;
pub(crate) const CANNOT_OPEN: i32 = 14;
const TOO_BIG: i32 = 18;
const CONSTRAINT: i32 = 19;
const MISMATCH: i32 = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_state_of_postgresql_means_what_a_caller_can_do() {
        for (state, fault) in [
            ("55P03", Fault::Busy),
            ("40001", Fault::Busy),
            ("53100", Fault::Full),
            ("53300", Fault::Away),
            ("57014", Fault::Interrupted),
            ("57P01", Fault::Away),
            ("08006", Fault::Away),
            ("25006", Fault::Away),
            ("25P03", Fault::Away),
            ("23505", Fault::Row),
            ("22P02", Fault::Row),
            ("42P01", Fault::Broken),
            ("XX001", Fault::Broken),
            ("", Fault::Broken),
        ] {
            assert_eq!(Fault::of_state(state), fault, "{state}");
        }
    }
}
