//! [`Server`]: a schema of a PostgreSQL database as the place of the rows, and the settings without which its commits are not durable.
//!
//! A transaction that writes holds an advisory lock of its schema, so that there is one at a time over all nodes, as there is over
//! SQLite: what it has read is still so when it commits, whatever the isolation. Each node groups what waits into one transaction, so
//! the lock costs one exchange with the server more, and a node waits for another's commit, not for each of its calls. A node that
//! stops within a transaction (its machine sleeps, its network is cut) loses the lock: the server ends the session.

use crate::{
    convert,
    entity::meta,
    fault::{Fault, sqlx_error},
    open::{BUSY_DEADLINE, Open, OpenError, applied, check_known},
    roll,
    schema::Migrator,
};
use larder_files::{Clock, StoreId};
use sea_orm::{
    AccessMode, ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, EntityTrait,
    IsolationLevel, SqlxPostgresConnector, Statement, TransactionTrait,
};
use sea_orm_migration::MigratorTrait;
use sqlx::{
    Connection, PgConnection, PgPool, Row,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use std::{fmt, str::FromStr, time::Duration};

/// The least version of the server: 13 is the oldest that its makers still mended when this was written.
const VERSION_MIN: i32 = 130_000;

/// For how long a statement for a single row, or of the writer, may run; a list may run as long as over SQLite.
const STATEMENT_MAX: Duration = Duration::from_secs(30);

/// How often a rebuild tries to be alone, and how long it waits in between.
const LOCK_TRIES: u32 = 20;
const LOCK_PAUSE: Duration = Duration::from_millis(100);

/// What stands behind a schema's name in that of one which is to take its place.
const BESIDE: &str = "_new_";
/// So many digits behind that: 63 letters are the most that a name has in PostgreSQL, and 48 the most that ours have.
const DIGITS: usize = 10;

/// For how long a transaction may wait for its client, before the server ends it and others may write.
const IDLE_MAX: Duration = Duration::from_secs(30);

/// What is read comes by an index that has it in order, where there is one, whatever the planner believes of the rows.
const IN_ORDER: [(&str, &str); 2] = [("enable_sort", "off"), ("enable_incremental_sort", "off")];

/// A schema of a PostgreSQL database.
#[derive(Clone)]
pub struct Server {
    options: PgConnectOptions,
    schema: String,
}

impl Server {
    /// Where a URL such as `postgres://larder:password@host:5432/database` leads, and a schema of that database, which is Larder's
    /// alone. What the URL leaves out is taken from libpq's variables (`PGHOST`, `PGPASSWORD`, …).
    ///
    /// # Errors
    /// `BadServer`, which does not repeat the URL: it may hold a password.
    pub fn new(url: &str, schema: &str) -> Result<Self, OpenError> {
        let bad = |why: String| OpenError::BadServer(why);
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err(bad("the URL must begin with `postgres://`".into()));
        }
        let options = PgConnectOptions::from_str(url).map_err(|error| bad(format!("the URL is wrong: {error}")))?;
        let fits = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_';
        let begins = schema.starts_with(|letter: char| letter.is_ascii_lowercase());
        if !begins || !schema.chars().all(fits) || schema.len() > 48 || schema.starts_with("pg_") {
            return Err(bad(format!(
                "the schema `{schema}` must be 1 to 48 of a–z, 0–9 and _, begin with a letter, and not with pg_"
            )));
        }
        Ok(Self { options, schema: schema.into() })
    }

    /// Whether the schema is there.
    ///
    /// # Errors
    /// `BadServer`, `NoServer`.
    pub async fn is_there(&self) -> Result<bool, OpenError> {
        self.examine().await.map(|examined| examined.is_there)
    }

    /// Looks at the schema without changing anything.
    ///
    /// # Errors
    /// As [`crate::SqlLedger::connect`].
    pub async fn examine(&self) -> Result<ExaminedServer, OpenError> {
        self.look().await?.close().await.map_err(|error| self.refused_by(error))?;
        let pool = self.readers(1);
        let db = SqlxPostgresConnector::from_sqlx_postgres_pool(pool.clone());
        let examined = self.examine_by(&db).await;
        pool.close().await;
        examined
    }

    async fn examine_by(&self, db: &DatabaseConnection) -> Result<ExaminedServer, OpenError> {
        let failed = |error| self.refused(error);
        let version = Statement::from_string(DbBackend::Postgres, "SHOW server_version");
        let version = db.query_one_raw(version).await.map_err(failed)?;
        let version = version.and_then(|row| row.try_get_by_index(0).ok()).unwrap_or_default();
        let is_there = self.exists(db).await.map_err(failed)?;
        let (found, known) = (applied(db).await.map_err(failed)?, Migrator::known());
        check_known(&found, &known)?;
        let is_initialised = !found.is_empty() && self.is_initialised(db).await.map_err(failed)?;
        Ok(ExaminedServer { version, is_there, is_current: found.len() == known.len(), is_initialised })
    }

    async fn is_initialised(&self, db: &DatabaseConnection) -> Result<bool, DbErr> {
        // By what every version has: an older schema lacks columns.
        let row = db.query_one_raw(Statement::from_string(DbBackend::Postgres, "SELECT 1 FROM meta")).await?;
        Ok(row.is_some())
    }

    /// Drops the schema and all that is in it, if it is there.
    ///
    /// # Errors
    /// `BadServer`, `NoServer`, `Locked`.
    pub async fn drop_schema(&self) -> Result<(), OpenError> {
        let sql = format!("DROP SCHEMA IF EXISTS \"{}\" CASCADE", self.schema);
        let mut connection = self.look().await?;
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql))
            .execute(&mut connection)
            .await
            .map_err(|error| self.refused_by(error))?;
        connection.close().await.map_err(|error| self.refused_by(error))
    }

    /// Keeps other rebuilds of this schema, and nodes that would sign on its roll, away for as long as what is answered is held. `None`
    /// where another rebuild is at work.
    ///
    /// # Errors
    /// `BadServer`, `NoServer`.
    pub async fn rebuild_alone(&self) -> Result<Option<Rebuilding>, OpenError> {
        let mut connection = self.look().await?;
        let lock = "SELECT pg_try_advisory_lock(hashtextextended($1, 0))";
        // A node that signs holds the lock for a moment.
        for _ in 0..LOCK_TRIES {
            let locked = sqlx::query_scalar(lock).bind(self.rebuild_lock()).fetch_one(&mut connection).await;
            if locked.map_err(|error| self.refused_by(error))? {
                return Ok(Some(Rebuilding { connection, server: self.clone() }));
            }
            tokio::time::sleep(LOCK_PAUSE).await;
        }
        Ok(None)
    }

    /// Whether no rebuild is at work, nor begins before this transaction ends.
    pub(crate) async fn is_left_alone(&self, transaction: &mut PgConnection) -> Result<bool, sqlx::Error> {
        let lock = "SELECT pg_try_advisory_xact_lock_shared(hashtextextended($1, 0))";
        sqlx::query_scalar(lock).bind(self.rebuild_lock()).fetch_one(transaction).await
    }

    /// Keeps every writer out until this transaction ends.
    pub(crate) async fn wait_for_writers(&self, transaction: &mut PgConnection) -> Result<(), sqlx::Error> {
        let lock = "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))";
        sqlx::query(lock).bind(self.writers_lock()).execute(transaction).await.map(drop)
    }

    /// A connection on which no statement, and no wait for a lock, takes longer than `most`.
    pub(crate) async fn line(&self, most: Duration) -> Result<PgConnection, sqlx::Error> {
        let options = self.options(most).options([("lock_timeout", most.as_millis().to_string())]);
        PgConnection::connect_with(&options).await
    }

    /// Drops what rebuilds have left beside this schema that did not come to their end.
    ///
    /// # Errors
    /// `BadServer`, `NoServer`, `Locked`.
    pub async fn drop_unfinished(&self) -> Result<(), OpenError> {
        let mut connection = self.look().await?;
        let sql = "SELECT nspname::text FROM pg_namespace WHERE starts_with(nspname, $1)";
        let begin = format!("{}{BESIDE}", self.schema);
        let left: Result<Vec<String>, _> = sqlx::query_scalar(sql).bind(&begin).fetch_all(&mut connection).await;
        // An installation may have a name that begins like this.
        let is_ours = |schema: &String| {
            let digits = schema.strip_prefix(&*begin).unwrap_or_default();
            digits.len() == DIGITS && digits.chars().all(|digit| digit.is_ascii_digit() || ('a'..='f').contains(&digit))
        };
        for schema in left.map_err(|error| self.refused_by(error))?.into_iter().filter(is_ours) {
            Self { schema, ..self.clone() }.drop_schema().await?;
        }
        connection.close().await.map_err(|error| self.refused_by(error))
    }

    /// A schema of the same database that a rebuild of this one may make: no other has its name.
    #[must_use]
    pub fn to_be(&self) -> Self {
        // The last digits are random; more of them would not fit behind the longest name that a schema may have.
        let digits = uuid::Uuid::now_v7().simple().to_string().split_off(32 - DIGITS);
        Self { schema: format!("{}{BESIDE}{digits}", self.schema), ..self.clone() }
    }

    fn writers_lock(&self) -> String {
        format!("larder: {}", self.schema)
    }

    fn rebuild_lock(&self) -> String {
        format!("larder rebuild: {}", self.schema)
    }

    /// The schema's name.
    #[must_use]
    pub fn schema(&self) -> &str {
        &self.schema
    }

    fn options(&self, statement: Duration) -> PgConnectOptions {
        let milliseconds = |span: Duration| span.as_millis().to_string();
        // An administrator tells by it whose connection it is.
        let name = format!("larder {}", self.schema);
        self.options.clone().application_name(&name).statement_cache_capacity(256).options([
            ("search_path", self.schema.clone()),
            ("synchronous_commit", "on".into()),
            ("statement_timeout", milliseconds(statement)),
            ("lock_timeout", milliseconds(BUSY_DEADLINE)),
            ("idle_in_transaction_session_timeout", milliseconds(IDLE_MAX)),
            ("tcp_keepalives_idle", "30".into()),
            ("tcp_keepalives_interval", "10".into()),
            ("tcp_keepalives_count", "3".into()),
            ("client_min_messages", "warning".into()),
        ])
    }

    /// Whether the server can be reached, and trusted: a pool would try again and again, and tell in the end that it took too long.
    pub(crate) async fn look(&self) -> Result<PgConnection, OpenError> {
        let refused = |error| self.refused_by(error);
        let mut connection = PgConnection::connect_with(&self.options(STATEMENT_MAX)).await.map_err(refused)?;
        check(&mut connection).await.map_err(refused)?;
        Ok(connection)
    }

    /// The one connection that writes. Discard it after a failed commit.
    pub(crate) async fn writer(&self) -> Result<PgPool, sqlx::Error> {
        pool().max_connections(1).connect_with(self.options(STATEMENT_MAX)).await
    }

    /// Connections that read single rows; opened when first needed.
    pub(crate) fn readers(&self, connections: u32) -> PgPool {
        pool().max_connections(connections).connect_lazy_with(self.options(STATEMENT_MAX).options(IN_ORDER))
    }

    /// A connection for lists, each of which may take `most`.
    pub(crate) fn scanner(&self, most: Duration) -> PgPool {
        // A page is found by an index, and what belongs to a row of it by another: whole tables are never brought together.
        // Nothing of it is worth compiling, whatever its planner believes of a range.
        let options = ["enable_seqscan", "enable_hashjoin", "enable_mergejoin", "jit"].map(|way| (way, "off"));
        let options = self.options(most).options(IN_ORDER).options(options);
        pool().max_connections(1).connect_lazy_with(options)
    }

    /// A transaction that writes: the only one of its schema.
    pub(crate) async fn begin(&self, db: &DatabaseConnection) -> Result<DatabaseTransaction, DbErr> {
        // Each statement must see what was committed before the lock was had: a snapshot of the whole transaction would be older.
        let level = Some(IsolationLevel::ReadCommitted);
        let transaction = db.begin_with_config(level, Some(AccessMode::ReadWrite)).await?;
        let lock = "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))";
        let of = [self.writers_lock().into()];
        transaction.execute_raw(Statement::from_sql_and_values(DbBackend::Postgres, lock, of)).await?;
        Ok(transaction)
    }

    /// Makes the schema where that is wanted, brings it up to this version's, and answers the epoch. A newer one is refused before
    /// anything is written.
    pub(crate) async fn migrate(&self, writer: &PgPool, open: Open) -> Result<Option<u64>, OpenError> {
        let db = SqlxPostgresConnector::from_sqlx_postgres_pool(writer.clone());
        let failed = |error| self.refused(error);
        let transaction = self.begin(&db).await.map_err(failed)?;
        if !self.exists(&transaction).await.map_err(failed)? {
            if !open.create {
                return Err(OpenError::MissingSchema { schema: self.schema.clone(), server: self.to_string() });
            }
            let made = format!("CREATE SCHEMA \"{}\"", self.schema);
            transaction.execute_unprepared(&made).await.map_err(failed)?;
        }
        let known = Migrator::known();
        let found = applied(&transaction).await.map_err(failed)?;
        check_known(&found, &known)?;
        if found.len() < known.len() {
            // However many rows there are to be changed.
            transaction.execute_unprepared("SET LOCAL statement_timeout = 0").await.map_err(failed)?;
            Migrator::up(&transaction, None).await.map_err(failed)?;
        }
        let row = meta::Entity::find().one(&transaction).await.map_err(failed)?;
        let identity = row.as_ref().map(convert::identity).transpose().map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        Ok(identity.map(|identity| identity.epoch))
    }

    async fn exists(&self, db: &impl ConnectionTrait) -> Result<bool, DbErr> {
        let sql = "SELECT 1 FROM pg_namespace WHERE nspname = $1";
        let of = [self.schema.clone().into()];
        Ok(db.query_one_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, of)).await?.is_some())
    }

    pub(crate) fn refused(&self, error: DbErr) -> OpenError {
        match sqlx_error(&error) {
            Some(sqlx::Error::Configuration(why)) if why.is::<Unfit>() => OpenError::BadServer(why.to_string()),
            _ if Fault::of(&error) == Fault::Busy => OpenError::Locked,
            None => OpenError::ForeignSchema { schema: self.schema.clone(), source: error.into() },
            Some(_) => OpenError::NoServer { server: self.to_string(), source: error.into() },
        }
    }

    pub(crate) fn refused_by(&self, error: sqlx::Error) -> OpenError {
        self.refused(DbErr::Conn(sea_orm::RuntimeErr::SqlxError(error.into())))
    }
}

/// A rebuild that is alone on its schema: a session of the server holds a lock as long as this is held.
#[derive(Debug)]
pub struct Rebuilding {
    connection: PgConnection,
    server: Server,
}

impl Rebuilding {
    /// Whether it has been alone all the while.
    ///
    /// # Errors
    /// `NoServer` where the session has ended: others may have begun to work since.
    pub async fn check(&mut self) -> Result<(), OpenError> {
        self.connection.ping().await.map_err(|error| self.server.refused_by(error))
    }

    /// Whether no node lives that is on the schema's roll ([`crate::LedgerRoll`]), but those that hold a lock on a store of `held`, which
    /// the caller holds alone. Those that are on it are watched for 60 s at most; who is dead by that is off it.
    ///
    /// # Errors
    /// `NoServer`, `Locked`.
    pub async fn is_deserted(&mut self, held: &[StoreId], clock: &dyn Clock) -> Result<bool, OpenError> {
        let deserted = roll::is_deserted(&self.server, &mut self.connection, held, clock).await;
        deserted.map_err(|error| self.server.refused_by(error))
    }

    /// Puts a schema of the same database in the place of this one, in one transaction that no writer is beside: whoever works on it
    /// sees either the old rows or the new ones. It is done by the session that holds the lock: where that has ended, nothing is done.
    ///
    /// # Errors
    /// `NoServer`, `Locked`: then the old one is still there.
    pub async fn replace_by(&mut self, new: &Server) -> Result<(), OpenError> {
        let server = self.server.clone();
        self.swap(new).await.map_err(|error| server.refused_by(error))
    }

    async fn swap(&mut self, new: &Server) -> Result<(), sqlx::Error> {
        let mut transaction = self.connection.begin().await?;
        self.server.wait_for_writers(&mut transaction).await?;
        let (schema, new) = (&self.server.schema, &new.schema);
        let swap = format!("DROP SCHEMA IF EXISTS \"{schema}\" CASCADE; ALTER SCHEMA \"{new}\" RENAME TO \"{schema}\"");
        sqlx::raw_sql(sqlx::AssertSqlSafe(swap)).execute(&mut *transaction).await?;
        transaction.commit().await
    }
}

/// What a schema of PostgreSQL says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExaminedServer {
    /// The server's version.
    pub version: String,
    /// Whether the schema is there.
    pub is_there: bool,
    /// Whether it is this version's: an older one is brought up by the next [`crate::SqlLedger::connect`].
    pub is_current: bool,
    /// Whether it is an installation's: a start that failed may have left an empty one.
    pub is_initialised: bool,
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let database = self.options.get_database().unwrap_or_else(|| self.options.get_username());
        match self.options.get_socket() {
            Some(socket) => write!(f, "{}, database `{database}`", socket.display()),
            None => write!(f, "{}:{}, database `{database}`", self.options.get_host(), self.options.get_port()),
        }
    }
}

/// Without the password.
impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Server({self}, schema `{}`)", self.schema)
    }
}

fn pool() -> PgPoolOptions {
    PgPoolOptions::new()
        .acquire_timeout(2 * BUSY_DEADLINE)
        .after_connect(|connection, _| Box::pin(async move { check(connection).await }))
}

/// Why a server is none that rows may be trusted to.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Unfit(String);

/// Refuses a server whose commits are not durable, or whose texts are none.
async fn check(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let sql = "SELECT current_setting('server_version_num')::int, current_setting('server_encoding'), current_setting('fsync'), \
               current_setting('synchronous_commit'), pg_is_in_recovery()";
    let row = sqlx::query(sql).fetch_one(&mut *connection).await?;
    let (version, encoding): (i32, String) = (row.try_get(0)?, row.try_get(1)?);
    let (fsync, synchronous): (String, String) = (row.try_get(2)?, row.try_get(3)?);
    let unfit = if version < VERSION_MIN {
        format!("the server is PostgreSQL {}, {} is the oldest that will do", version / 10_000, VERSION_MIN / 10_000)
    } else if encoding != "UTF8" {
        format!(
            "the database's encoding is {encoding}: make one with `CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0`"
        )
    } else if row.try_get(4)? {
        "the server is a standby, which takes no changes: name the primary".into()
    } else if fsync != "on" || synchronous != "on" {
        format!(
            "its commits would not be durable: fsync is {fsync}, synchronous_commit is {synchronous}; set both to on"
        )
    } else {
        return Ok(());
    };
    Err(sqlx::Error::Configuration(Unfit(unfit).into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_told_to_nobody() {
        let server = Server::new("postgres://larder:s3cret@db.internal:5433/files", "larder").unwrap();
        for told in [format!("{server:?}"), server.to_string()] {
            assert!(!told.contains("s3cret") && told.contains("db.internal:5433"), "{told}");
        }
        let refused = Server::new("postgres://larder:s3cret@db.internal:port/files", "larder").unwrap_err();
        assert!(!refused.to_string().contains("s3cret"), "{refused}");
    }

    #[test]
    fn a_schema_is_a_plain_name() {
        for bad in ["", "Larder", "pg_larder", "1st", "a\"b", "a b", &"a".repeat(49)] {
            assert!(matches!(Server::new("postgres://host/db", bad), Err(OpenError::BadServer(_))), "{bad}");
        }
        assert!(matches!(Server::new("mysql://host/db", "larder"), Err(OpenError::BadServer(_))));
    }
}
