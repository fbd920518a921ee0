//! [`Home`]: where the rows lie, and how a transaction that writes begins there.

use crate::{
    open::{self, IMMEDIATE, Place},
    server::Server,
};
use sea_orm::{
    DatabaseConnection, DatabaseTransaction, DbErr, SqlxPostgresConnector, SqlxSqliteConnector, TransactionTrait,
};

/// A file of SQLite or a schema of PostgreSQL.
#[derive(Clone, Debug)]
pub(crate) enum Home {
    File(Place),
    Server(Box<Server>),
}

impl Home {
    /// The one connection that writes. Discard it after a failed commit.
    pub(crate) async fn writer(&self) -> Result<DatabaseConnection, sqlx::Error> {
        Ok(match self {
            Self::File(place) => SqlxSqliteConnector::from_sqlx_sqlite_pool(open::writer(place).await?),
            Self::Server(server) => SqlxPostgresConnector::from_sqlx_postgres_pool(server.writer().await?),
        })
    }

    /// A transaction that writes: while it lasts no other does, of this process or any.
    pub(crate) async fn begin(&self, db: &DatabaseConnection) -> Result<DatabaseTransaction, DbErr> {
        match self {
            Self::File(_) => db.begin_with_options(IMMEDIATE).await,
            Self::Server(server) => server.begin(db).await,
        }
    }

    /// Whether another file lies there now, or none. Of a schema the epoch tells, which every transaction reads.
    pub(crate) fn is_replaced(&self) -> bool {
        match self {
            Self::File(place) => place.replaced(),
            Self::Server(_) => false,
        }
    }
}
