//! [`Scans`]: the connections for lists, which may have to look at many rows, apart from those for single rows: however many lists
//! there are, a download finds its row at once. A list that takes too long is stopped; over SQLite, which has no process of its own, one
//! that nobody waits for any more is stopped at once.

use crate::{
    fault::Fault,
    home::Home,
    open::{self, Place},
};
use larder_files::ledger::{LedgerError, Result};
use sea_orm::{DatabaseConnection, DbErr, SqlxPostgresConnector, SqlxSqliteConnector};
use sqlx::SqlitePool;
use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::Semaphore;

/// Lists that run at a time; more wait. They are bound by the processor: more of them than cores only take memory.
const SCANS: usize = 3;

/// For how long a list waits for its turn.
const TURN_MAX: Duration = Duration::from_secs(10);

/// For how long a list may run.
const SCAN_MAX: Duration = Duration::from_secs(20);

/// Connections for lists.
#[derive(Clone, Debug)]
pub(crate) struct Scans {
    /// The next one to be asked is the last.
    idle: Arc<Mutex<VecDeque<Scanner>>>,
    turns: Arc<Semaphore>,
    all: Arc<[DatabaseConnection]>,
    most: Duration,
}

/// One connection.
#[derive(Debug)]
struct Scanner {
    orm: DatabaseConnection,
    /// What stops it, where nobody else does.
    brake: Option<Brake>,
}

/// Stops what a connection to SQLite does.
#[derive(Debug)]
struct Brake {
    pool: SqlitePool,
    allowed: Arc<Allowed>,
}

/// Whether what a connection does may go on: SQLite asks this as it works.
#[derive(Debug, Default)]
struct Allowed {
    going: AtomicBool,
    until: Mutex<Option<Instant>>,
}

impl Allowed {
    fn goes_on(&self) -> bool {
        let until = *self.until.lock().unwrap_or_else(PoisonError::into_inner);
        self.going.load(Ordering::Relaxed) && until.is_none_or(|until| Instant::now() < until)
    }

    fn begin(&self, until: Instant) {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner) = Some(until);
        self.going.store(true, Ordering::Relaxed);
    }
}

impl Scans {
    /// Connections to where the rows lie; opened when first needed.
    pub(crate) fn new(home: &Home) -> Self {
        let scanners: Vec<Scanner> = (0..SCANS).map(|_| Scanner::new(home)).collect();
        let all = scanners.iter().map(|scanner| scanner.orm.clone()).collect();
        Self {
            idle: Arc::new(Mutex::new(scanners.into())),
            turns: Arc::new(Semaphore::new(SCANS)),
            all,
            most: SCAN_MAX,
        }
    }

    /// Has `work` done by the next connection that is free. Where the caller goes away meanwhile, SQLite is told to stop.
    ///
    /// # Errors
    /// `Busy` where no turn came, or the list took too long.
    pub(crate) async fn run<T>(&self, work: impl AsyncFnOnce(&DatabaseConnection) -> Result<T, DbErr>) -> Result<T> {
        let turn = tokio::time::timeout(TURN_MAX, self.turns.acquire()).await.map_err(|_| LedgerError::Busy)?;
        let _turn = turn.map_err(|closed| LedgerError::Unavailable(closed.into()))?;
        let scanner = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop_back().expect("one for each turn");
        let running = Running { scanner: Some(scanner), scans: self };
        let Scanner { orm, brake } = running.scanner.as_ref().expect("it is given back when this is dropped");
        if let Some(brake) = brake {
            brake.release().await?;
        }
        // A list may be many statements, and a server bounds each by itself.
        let done = tokio::time::timeout(self.most, work(orm)).await.map_err(|_| LedgerError::Busy)?;
        done.map_err(|error| match Fault::of(&error) {
            Fault::Interrupted => LedgerError::Busy,
            fault => fault.told(error),
        })
    }

    /// Closes all connections.
    pub(crate) async fn close(&self) {
        self.turns.close();
        for db in self.all.iter() {
            if let Err(error) = db.close_by_ref().await {
                tracing::debug!(%error, "a connection for lists was not closed");
            }
        }
    }
}

impl Scanner {
    fn new(home: &Home) -> Self {
        match home {
            Home::File(place) => {
                let brake = Brake::new(place);
                Self { orm: SqlxSqliteConnector::from_sqlx_sqlite_pool(brake.pool.clone()), brake: Some(brake) }
            }
            Home::Server(server) => {
                let orm = SqlxPostgresConnector::from_sqlx_postgres_pool(server.scanner(SCAN_MAX));
                Self { orm, brake: None }
            }
        }
    }
}

impl Brake {
    fn new(place: &Place) -> Self {
        let allowed = Arc::new(Allowed::default());
        let asked = allowed.clone();
        Self { pool: open::scanner(place, move || asked.goes_on()), allowed }
    }

    /// Lets the next statement run, for as long as a list may.
    async fn release(&self) -> Result<()> {
        // A statement of a caller who went away may still be ending on it; it must not be allowed to go on.
        drop(self.pool.acquire().await.map_err(|error| LedgerError::Unavailable(error.into()))?);
        self.allowed.begin(Instant::now() + SCAN_MAX);
        Ok(())
    }
}

/// A list under way: whatever becomes of it, its connection is given back, and stops.
struct Running<'a> {
    scanner: Option<Scanner>,
    scans: &'a Scans,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let Some(scanner) = self.scanner.take() else { return };
        let mut idle = self.scans.idle.lock().unwrap_or_else(PoisonError::into_inner);
        match &scanner.brake {
            Some(brake) => {
                brake.allowed.going.store(false, Ordering::Relaxed);
                idle.push_back(scanner);
            }
            // A server may still be at a list that was given up: others are asked first.
            None => idle.push_front(scanner),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Open, SqlLedger};
    use larder_files::{
        FileId, Ledger,
        ledger::{FileQuery, Sort},
    };
    use sea_orm::{ConnectionTrait, Statement};
    use std::future::poll_fn;
    use std::task::Poll;

    /// It counts for years.
    const ENDLESS: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";
    const SHORT: &str = "SELECT 1";

    async fn scans() -> (tempfile::TempDir, Scans, SqlLedger) {
        let folder = tempfile::tempdir().unwrap();
        let ledger = SqlLedger::open(&folder.path().join("larder.db"), Open { create: true }).await.unwrap();
        (folder, ledger.scans().clone(), ledger)
    }

    async fn ask(scans: &Scans, sql: &str) -> Result<()> {
        let statement = Statement::from_string(sea_orm::DbBackend::Sqlite, sql);
        scans.run(async |db| db.query_one_raw(statement).await.map(drop)).await
    }

    #[tokio::test]
    async fn a_list_that_nobody_waits_for_any_more_is_stopped_and_its_connection_serves_the_next() {
        let (_folder, scans, _ledger) = scans().await;
        for _ in 0..2 * SCANS {
            let mut asked = Box::pin(ask(&scans, ENDLESS));
            // So far that SQLite works on it.
            let pool = scans.all.last().unwrap().get_sqlite_connection_pool().clone();
            while pool.num_idle() > 0 || pool.size() == 0 {
                poll_fn(|cx| Poll::Ready(asked.as_mut().poll(cx).is_pending())).await;
                tokio::task::yield_now().await;
            }
            drop(asked);
            ask(&scans, SHORT).await.unwrap();
        }
        assert_eq!(scans.turns.available_permits(), SCANS);
    }

    #[tokio::test]
    async fn a_list_of_many_statements_has_one_time_over_a_server_too() {
        let server = crate::Server::new("postgres://nobody@localhost/nothing", "larder").unwrap();
        let scans = Scans { most: Duration::from_millis(5), ..Scans::new(&Home::Server(Box::new(server))) };
        let endless = scans.run(async |_| {
            loop {
                tokio::task::yield_now().await;
            }
        });
        assert!(matches!(endless.await, Err::<(), _>(LedgerError::Busy)));
        assert_eq!(scans.turns.available_permits(), SCANS);
    }

    #[tokio::test]
    async fn a_list_that_takes_too_long_is_stopped() {
        let (_folder, scans, _ledger) = scans().await;
        for scanner in scans.idle.lock().unwrap().iter() {
            scanner.brake.as_ref().unwrap().allowed.going.store(true, Ordering::Relaxed);
        }
        let statement = Statement::from_string(sea_orm::DbBackend::Sqlite, ENDLESS);
        let idle = scans.idle.clone();
        let allowed = |scanner: &Scanner| scanner.brake.as_ref().unwrap().allowed.clone();
        let allowed: Vec<_> = idle.lock().unwrap().iter().map(allowed).collect();
        let answer = scans
            .run(async |db| {
                // As if its time had passed.
                allowed.iter().for_each(|allowed| allowed.begin(Instant::now()));
                db.query_one_raw(statement).await.map(drop)
            })
            .await;
        assert!(matches!(answer, Err(LedgerError::Busy)), "{answer:?}");
        ask(&scans, SHORT).await.unwrap();
    }

    #[tokio::test]
    async fn a_server_that_may_still_be_at_a_list_is_asked_last() {
        let server = crate::Server::new("postgres://nobody@localhost/nothing", "larder").unwrap();
        let scans = Scans::new(&Home::Server(Box::new(server)));
        for _ in 0..SCANS {
            let given_up = scans.run(async |db| {
                // The connection is known again by being closed.
                let pool = db.get_postgres_connection_pool();
                assert!(!pool.is_closed(), "the connection of the list before");
                pool.close().await;
                Ok(())
            });
            given_up.await.unwrap();
        }
    }

    #[tokio::test]
    async fn what_an_index_of_names_leads_to_waits_for_no_list_and_all_else_does() {
        let (_folder, scans, ledger) = scans().await;
        scans.turns.close();
        let named = FileQuery { name: Some("a".into()), limit: 2, ..FileQuery::default() };
        assert_eq!(ledger.files(&named).await.unwrap(), vec![]);
        let text = || Some("text".to_owned());
        let (from, until) = (Some(FileId(uuid::Uuid::nil())), Some(FileId(uuid::Uuid::max())));
        for query in [
            FileQuery { name: None, ..named.clone() },
            FileQuery { limit: 3, ..named.clone() },
            FileQuery { sort: Sort::Size, ..named.clone() },
            FileQuery { q: text(), ..named.clone() },
            FileQuery { prefix: text(), ..named.clone() },
            FileQuery { tag: text(), ..named.clone() },
            FileQuery { content_type: text(), ..named.clone() },
            FileQuery { from, ..named.clone() },
            FileQuery { until, ..named.clone() },
        ] {
            assert!(matches!(ledger.files(&query).await, Err(LedgerError::Unavailable(_))), "{query:?}");
        }
    }
}
