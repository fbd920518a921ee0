//! Looking at a database without changing it: for who wants to know whether a start could trust it.

use crate::{
    fault::{CORRUPT, INTERRUPTED, sqlite_code},
    letters,
    open::{self, Durability, Open, OpenError, Place},
    schema::Migrator,
};
use sea_orm::SqlxSqliteConnector;
use sqlx::{Row, SqlitePool};
use std::{
    path::Path,
    time::{Duration, Instant},
};

/// What a database says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Examined {
    /// The settings that decide whether a commit is durable, as a connection reads them back. `journal_mode` is the file's own.
    pub durability: Durability,
    /// Whether the schema is this version's: an older one is brought up by the next [`crate::SqlLedger::open`].
    pub is_current: bool,
    /// What SQLite's own check has found, at most ten lines; `None` where the time was not enough.
    pub damage: Option<Vec<String>>,
    /// How many files the index of names lacks at most; a few thousand are usual. `None` in an older schema, or a damaged one.
    pub unindexed: Option<u64>,
}

/// How many steps of SQLite's machine pass between two looks at the clock: some milliseconds.
const STEPS: i32 = 100_000;

impl Examined {
    /// Looks at the database at `path`, beside whoever works on it, checking its pages and indexes for at most `within`.
    ///
    /// # Errors
    /// [`OpenError`], as [`crate::SqlLedger::open`] would say it. Nothing is changed, permissions included.
    pub async fn of(path: &Path, within: Duration) -> Result<Self, OpenError> {
        let place = open::look(path, Open::default())?;
        let reader = open::examiner(&place);
        let examined = examine(&place, &reader, within).await;
        reader.close().await;
        examined
    }
}

async fn examine(place: &Place, reader: &SqlitePool, within: Duration) -> Result<Examined, OpenError> {
    let refused = |error: sqlx::Error| open::refused_by(place, &error, error.to_string().into());
    let durability = Durability::of(&mut *reader.acquire().await.map_err(refused)?).await.map_err(refused)?;
    let db = SqlxSqliteConnector::from_sqlx_sqlite_pool(reader.clone());
    let found = open::applied(&db).await.map_err(|error| open::refused(place, error))?;
    let known = Migrator::known();
    open::check_known(&found, &known)?;
    let is_current = found.len() == known.len();
    let unindexed = if is_current { letters::behind(&db).await.ok() } else { None };
    let damage = quick_check(reader, within).await.map_err(refused)?;
    Ok(Examined { durability, is_current, damage, unindexed: unindexed.map(i64::unsigned_abs) })
}

async fn quick_check(reader: &SqlitePool, within: Duration) -> Result<Option<Vec<String>>, sqlx::Error> {
    let mut connection = reader.acquire().await?;
    let began = Instant::now();
    connection.lock_handle().await?.set_progress_handler(STEPS, move || began.elapsed() < within);
    let checked = sqlx::query("PRAGMA quick_check(10)").fetch_all(&mut *connection).await;
    connection.lock_handle().await?.remove_progress_handler();
    match checked {
        Ok(rows) => {
            let lines = rows.iter().map(|row| row.try_get(0)).collect::<Result<Vec<String>, _>>()?;
            Ok(Some(lines.into_iter().filter(|line| line != "ok").collect()))
        }
        Err(error) => match sqlite_code(&error) {
            Some(INTERRUPTED) => Ok(None),
            Some(CORRUPT) => Ok(Some(vec![error.to_string()])),
            _ => Err(error),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SqlLedger;
    use std::{fs, os::unix::fs::PermissionsExt};

    async fn made() -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("larder.db");
        SqlLedger::open(&path, Open { create: true }).await.unwrap().close().await;
        (folder, path)
    }

    #[tokio::test]
    async fn a_good_database_is_durable_current_and_whole_and_stays_as_it_was() {
        let (folder, path) = made().await;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let before = fs::read(&path).unwrap();
        let examined = Examined::of(&path, Duration::from_secs(60)).await.unwrap();
        assert!(examined.is_current && examined.damage == Some(vec![]), "{examined:?}");
        assert_eq!((&*examined.durability.journal_mode, examined.durability.synchronous), ("wal", 2));
        assert_eq!(fs::read(&path).unwrap(), before);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn damage_is_told_and_a_missing_database_is_not_made() {
        let (folder, path) = made().await;
        let mut bytes = fs::read(&path).unwrap();
        // The content of every page but the first.
        bytes[4096..].fill(0xee);
        fs::write(&path, bytes).unwrap();
        let examined = Examined::of(&path, Duration::from_secs(60)).await;
        assert!(!examined.is_ok_and(|examined| examined.damage == Some(vec![])));
        let missing = Examined::of(&folder.path().join("none.db"), Duration::ZERO).await;
        assert!(matches!(missing, Err(OpenError::Missing(_))));
        assert!(!folder.path().join("none.db").exists());
    }
}
