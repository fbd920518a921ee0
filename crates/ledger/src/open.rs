//! Opening: what is refused, and the settings without which SQLite is not durable.

use crate::{
    convert,
    entity::meta,
    fault::{BUSY, CANNOT_OPEN, FULL, IO, LOCKED, PERMISSION, READ_ONLY, sqlite_code, sqlx_error},
    schema::Migrator,
};
use sea_orm::{
    ConnectionTrait, DbBackend, DbErr, EntityTrait, SqliteTransactionMode, SqlxSqliteConnector, Statement,
    TransactionOptions, TransactionTrait,
};
use sea_orm_migration::MigratorTrait;
use sqlx::{
    Row, SqliteConnection, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read},
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

/// How long a transaction waits for another process's.
pub(crate) const BUSY_DEADLINE: Duration = Duration::from_secs(10);

/// How to open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Open {
    /// Makes the database where there is none.
    pub create: bool,
}

/// Why a ledger can't be opened. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// There is no database.
    #[error("there is no database `{}`: make it again from the stores with `larder rebuild`", .0.display())]
    Missing(PathBuf),
    /// A newer version of Larder wrote it.
    #[error(
        "the database's schema is `{found}`, this version of Larder knows up to `{known}`: run the newer version, or make \
         the database again with this one's `larder rebuild`"
    )]
    Newer {
        /// The newest migration that the database has seen.
        found: String,
        /// The newest that this version knows.
        known: String,
    },
    /// SQLite did not take the settings that make a commit durable.
    #[error("the database would not be durable: {0}; put it on a local file system that is not full or read-only")]
    NotDurable(String),
    /// The file system's locks and syncs can't be trusted with a database.
    #[error("the database lies on {0}, where SQLite is not safe: put the data directory's `db` on a local disk")]
    NetworkFileSystem(&'static str),
    /// What is said of a server of PostgreSQL is wrong, or it is none that rows may be trusted to.
    #[error("PostgreSQL: {0}")]
    BadServer(String),
    /// The server can't be reached, or refused.
    #[error("cannot use PostgreSQL at {server}: is it running, and are user, password and rights as they should be?")]
    NoServer {
        /// Where.
        server: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// There is no such schema.
    #[error("there is no schema `{schema}` at {server}: make it again from the stores with `larder rebuild`")]
    MissingSchema {
        /// Its name.
        schema: String,
        /// Where.
        server: String,
    },
    /// What the schema holds is none of Larder's.
    #[error(
        "the schema `{schema}` is damaged or none of Larder's: name another; or drop it, if nothing in it is needed, and \
         make it again with `larder rebuild`"
    )]
    ForeignSchema {
        /// Its name.
        schema: String,
        /// What was found.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It is no database of Larder, or a damaged one.
    #[error("the database `{}` is damaged or none of Larder's: make it again from the stores with `larder rebuild`", path.display())]
    Damaged {
        /// Where it lies.
        path: PathBuf,
        /// What was found.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Another process holds it.
    #[error("another process has held the database for {} s: end what runs on it, then try again", BUSY_DEADLINE.as_secs())]
    Locked,
    /// The operating system refused.
    #[error("cannot open the database `{}`: look at its permissions and its disk", path.display())]
    Io {
        /// Where it lies.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// The settings that decide whether a commit is durable, as SQLite says them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Durability {
    /// `wal`.
    pub journal_mode: String,
    /// 2 is FULL: each commit is synced before it is answered.
    pub synchronous: i64,
    /// Pages after which the log is written back.
    pub wal_autocheckpoint: i64,
    /// How long SQLite itself waits for another's lock, in milliseconds.
    pub busy_timeout_ms: i64,
}

impl Durability {
    /// Reads it back from a connection.
    pub(crate) async fn of(connection: &mut SqliteConnection) -> Result<Self, sqlx::Error> {
        let journal_mode = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut *connection).await?;
        let mut numbers = [0; 3];
        for (number, pragma) in numbers.iter_mut().zip(["synchronous", "wal_autocheckpoint", "busy_timeout"]) {
            let asked = sqlx::AssertSqlSafe(format!("PRAGMA {pragma}"));
            *number = sqlx::query(asked).fetch_one(&mut *connection).await?.try_get(0)?;
        }
        let [synchronous, wal_autocheckpoint, busy_timeout_ms] = numbers;
        Ok(Self { journal_mode, synchronous, wal_autocheckpoint, busy_timeout_ms })
    }

    fn check(&self) -> Result<(), String> {
        if self.journal_mode == "wal" && self.synchronous == 2 {
            return Ok(());
        }
        Err(format!("journal_mode is `{}`, synchronous is {}", self.journal_mode, self.synchronous))
    }
}

/// The words by which a refusal of [`Durability::check`] is known again among sqlx's errors.
const NOT_DURABLE: &str = "not durable: ";

/// A file on disk and which one it is.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) path: PathBuf,
    inode: (u64, u64),
}

impl Place {
    /// Whether another file lies there now, or none.
    pub(crate) fn replaced(&self) -> bool {
        !fs::metadata(&self.path).is_ok_and(|now| (now.dev(), now.ino()) == self.inode)
    }
}

/// Checks what can be seen without SQLite, and makes an empty file where that is wanted. What others could read is closed to them.
pub(crate) fn prepare(path: &Path, open: Open) -> Result<Place, OpenError> {
    let place = look(path, open)?;
    let close = || -> io::Result<()> {
        if fs::metadata(path)?.permissions().mode() & 0o077 != 0 {
            fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        }
        Ok(())
    };
    close().map_err(|source| OpenError::Io { path: path.into(), source: source.into() })?;
    Ok(place)
}

/// The same, and permissions stay as they are.
pub(crate) fn look(path: &Path, open: Open) -> Result<Place, OpenError> {
    let failed = |source: io::Error| OpenError::Io { path: path.into(), source: source.into() };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if let Some(name) = network_file_system(folder).map_err(failed)? {
        return Err(OpenError::NetworkFileSystem(name));
    }
    let file = match OpenOptions::new().read(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound && open.create => create(path, folder).map_err(failed)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(OpenError::Missing(path.into())),
        Err(error) => return Err(failed(error)),
    };
    check_header(&file, path)?;
    let metadata = file.metadata().map_err(failed)?;
    Ok(Place { path: path.into(), inode: (metadata.dev(), metadata.ino()) })
}

/// The folder is synced too: SQLite does so for its journals only, and a database without a name is none.
fn create(path: &Path, folder: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
    file.sync_all()?;
    File::open(folder)?.sync_all()?;
    Ok(file)
}

fn check_header(mut file: &File, path: &Path) -> Result<(), OpenError> {
    let mut header = Vec::new();
    let read = file.by_ref().take(16).read_to_end(&mut header);
    let why = match read {
        Ok(0) => return Ok(()),
        Ok(_) if header == *b"SQLite format 3\0" => return Ok(()),
        Ok(_) => "it does not begin as a SQLite database does".into(),
        Err(error) => error.into(),
    };
    Err(OpenError::Damaged { path: path.into(), source: why })
}

#[cfg(target_os = "linux")]
fn network_file_system(folder: &Path) -> io::Result<Option<&'static str>> {
    const MAGIC: &[(u32, &str)] = &[
        (0x6969, "NFS"),
        (0x517b, "SMB"),
        (0xfe53_4d42, "SMB"),
        (0xff53_4d42, "CIFS"),
        (0x6573_5546, "FUSE"),
        (0x0102_1997, "9P"),
        (0x00c3_6400, "Ceph"),
        (0x5346_414f, "AFS"),
        (0x7461_636f, "OCFS2"),
        (0x0bd0_0bd0, "Lustre"),
    ];
    // The kernel's magic numbers have 32 bits; `f_type` is wider or signed on some machines.
    let kind = rustix::fs::statfs(folder)?.f_type as u32;
    Ok(MAGIC.iter().find(|(magic, _)| *magic == kind).map(|(_, name)| *name))
}

#[cfg(not(target_os = "linux"))]
fn network_file_system(_: &Path) -> io::Result<Option<&'static str>> {
    Ok(None)
}

fn options(place: &Place) -> SqliteConnectOptions {
    as_it_is(place).journal_mode(SqliteJournalMode::Wal)
}

/// Without a say on the one setting that is written into the file.
fn as_it_is(place: &Place) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(&place.path)
        .create_if_missing(false)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY_DEADLINE)
        .foreign_keys(false)
        .statement_cache_capacity(256)
        // 4 MiB of log before it is written back; after that the file is cut to 16 MiB, so that one large group does not stay.
        .pragma("wal_autocheckpoint", "1000")
        .pragma("journal_size_limit", "16777216")
        .pragma("cache_size", "-16384")
        .pragma("temp_store", "memory")
        .pragma("trusted_schema", "off")
}

fn pool() -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .acquire_timeout(2 * BUSY_DEADLINE)
        .after_connect(|connection, _| {
            Box::pin(async move {
                let durable = Durability::of(connection).await?.check();
                durable.map_err(|why| sqlx::Error::Configuration(format!("{NOT_DURABLE}{why}").into()))
            })
        })
}

/// The one connection that writes. Discard it after a failed commit.
pub(crate) async fn writer(place: &Place) -> Result<SqlitePool, sqlx::Error> {
    pool().max_connections(1).connect_with(options(place)).await
}

/// The connections that read; opened when first needed.
pub(crate) fn readers(place: &Place, connections: u32) -> SqlitePool {
    let options = options(place).pragma("query_only", "on");
    pool().max_connections(connections).connect_lazy_with(options)
}

/// A connection that reads, and is stopped in the midst of it where `goes_on` says so: SQLite asks every few microseconds.
pub(crate) fn scanner(place: &Place, goes_on: impl Fn() -> bool + Clone + Send + Sync + 'static) -> SqlitePool {
    const STEPS: i32 = 1000;
    let options = options(place).pragma("query_only", "on");
    let pool = pool().max_connections(1).after_connect(move |connection, _| {
        let goes_on = goes_on.clone();
        Box::pin(async move {
            connection.lock_handle().await?.set_progress_handler(STEPS, goes_on);
            Ok(())
        })
    });
    pool.connect_lazy_with(options)
}

/// One connection that reads, whatever the file's settings are.
pub(crate) fn examiner(place: &Place) -> SqlitePool {
    let options = as_it_is(place).pragma("query_only", "on");
    SqlitePoolOptions::new().max_connections(1).acquire_timeout(2 * BUSY_DEADLINE).connect_lazy_with(options)
}

/// As a transaction of its own: another process either sees all of it or nothing.
pub(crate) const IMMEDIATE: TransactionOptions = TransactionOptions {
    isolation_level: None,
    access_mode: None,
    sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
};

/// Brings the schema up to this version's, and answers the epoch. A newer schema is refused before anything is written.
pub(crate) async fn migrate(place: &Place, writer: &SqlitePool) -> Result<Option<u64>, OpenError> {
    let db = SqlxSqliteConnector::from_sqlx_sqlite_pool(writer.clone());
    let failed = |error| refused(place, error);
    let known = Migrator::known();
    let found = applied(&db).await.map_err(failed)?;
    check_known(&found, &known)?;
    if found.len() < known.len() {
        let transaction = db.begin_with_options(IMMEDIATE).await.map_err(failed)?;
        Migrator::up(&transaction, None).await.map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
    }
    let row = meta::Entity::find().one(&db).await.map_err(failed)?;
    let identity = row.as_ref().map(convert::identity).transpose().map_err(failed)?;
    Ok(identity.map(|identity| identity.epoch))
}

/// Refuses a schema of a newer version.
pub(crate) fn check_known(found: &[String], known: &[String]) -> Result<(), OpenError> {
    match found.iter().rfind(|name| !known.contains(name)) {
        Some(unknown) => {
            Err(OpenError::Newer { found: unknown.clone(), known: known.last().cloned().unwrap_or_default() })
        }
        None => Ok(()),
    }
}

/// Names of the migrations that a database has seen, oldest first. A database with tables, but without these, is not ours.
pub(crate) async fn applied(db: &impl ConnectionTrait) -> Result<Vec<String>, DbErr> {
    let ask = |sql: &str| db.query_all_raw(Statement::from_string(db.get_database_backend(), sql));
    let tables = match db.get_database_backend() {
        DbBackend::Postgres => "SELECT tablename::text FROM pg_tables WHERE schemaname = current_schema()",
        _ => "SELECT name FROM sqlite_master WHERE type = 'table'",
    };
    let tables = ask(tables).await?;
    let tables = tables.iter().map(|row| row.try_get_by_index(0)).collect::<Result<Vec<String>, _>>()?;
    if tables.is_empty() {
        return Ok(vec![]);
    }
    if !tables.iter().any(|table| table == "seaql_migrations") {
        return Err(convert::wrong("tables"));
    }
    let rows = ask("SELECT version FROM seaql_migrations ORDER BY version").await?;
    rows.iter().map(|row| row.try_get_by_index(0)).collect()
}

pub(crate) fn refused(place: &Place, error: DbErr) -> OpenError {
    let path = place.path.clone();
    match sqlx_error(&error) {
        Some(cause) => refused_by(place, cause, error.to_string().into()),
        None => OpenError::Damaged { path, source: error.into() },
    }
}

pub(crate) fn refused_by(
    place: &Place,
    cause: &sqlx::Error,
    source: Box<dyn std::error::Error + Send + Sync>,
) -> OpenError {
    let path = place.path.clone();
    if let sqlx::Error::Configuration(why) = cause
        && let Some(why) = why.to_string().strip_prefix(NOT_DURABLE)
    {
        return OpenError::NotDurable(why.to_owned());
    }
    match sqlite_code(cause) {
        Some(BUSY | LOCKED) => OpenError::Locked,
        Some(READ_ONLY) => OpenError::NotDurable("it can't be written".into()),
        Some(PERMISSION | IO | CANNOT_OPEN | FULL) => OpenError::Io { path, source },
        Some(_) => OpenError::Damaged { path, source },
        None => OpenError::Io { path, source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sqlx::Connection;

    #[tokio::test]
    async fn the_defaults_of_sqlite_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let options = SqliteConnectOptions::new().filename(folder.path().join("db")).create_if_missing(true);
        let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
        let refused = Durability::of(&mut connection).await.unwrap().check();
        assert_eq!(refused, Err("journal_mode is `delete`, synchronous is 2".into()));
        let weaker = options.journal_mode(SqliteJournalMode::Wal).synchronous(SqliteSynchronous::Normal);
        let mut connection = SqliteConnection::connect_with(&weaker).await.unwrap();
        assert!(Durability::of(&mut connection).await.unwrap().check().is_err());
    }
}
