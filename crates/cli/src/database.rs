//! [`Database`]: where the rows lie, and what of that depends on whether it is a file in the data directory or a schema of PostgreSQL:
//! whether it is there, how it is opened, and how a rebuild puts a new one in its place.

use crate::{
    config::Config,
    data_dir::{DataDir, Made},
    output::{chain, refuse},
};
use anyhow::{Context as _, Result};
use larder_ledger::{Examined, Open, OpenError, Rebuilding, Server, SqlLedger};
use std::{fmt, fs, os::unix::fs::PermissionsExt, path::PathBuf, time::Duration};

/// Where the rows lie.
#[derive(Clone, Debug)]
pub(crate) enum Database {
    /// SQLite, in a folder of the data directory.
    File(DataDir, PathBuf),
    /// PostgreSQL.
    Server(Box<Server>),
}

impl Database {
    /// The one that is configured.
    ///
    /// # Errors
    /// A URL or a schema's name that is none.
    pub(crate) fn configured(dir: &DataDir, config: &Config) -> Result<Self> {
        match config.server() {
            None => Ok(Self::File(dir.clone(), dir.db())),
            Some((url, schema)) => Server::new(url, schema)
                .map(|server| Self::Server(Box::new(server)))
                .map_err(|error| refuse(error, "mend `url` or `schema` under [database]")),
        }
    }

    /// Whether an installation's rows are there, or about to be.
    ///
    /// # Errors
    /// A server that can't be asked.
    pub(crate) async fn is_there(&self) -> Result<bool> {
        match self {
            Self::File(dir, _) => Ok(dir.database().exists() || dir.is_swapping()),
            Self::Server(server) => Ok(server.examine().await?.is_initialised),
        }
    }

    /// Whether servers share it, beyond one at a time.
    pub(crate) fn is_shared(&self) -> bool {
        matches!(self, Self::Server(_))
    }

    /// Opens it; with `create` an empty one where there is none.
    ///
    /// # Errors
    /// One of a newer Larder, a damaged one, a file system or a server that can't be trusted.
    pub(crate) async fn open(&self, create: bool) -> Result<SqlLedger> {
        let opened = match self {
            Self::File(_, folder) => SqlLedger::open(&folder.join("larder.db"), Open { create }).await,
            Self::Server(server) => SqlLedger::connect(server, Open { create }).await,
        };
        opened.with_context(|| format!("cannot open the database {self}"))
    }

    /// Opens it where that changes nothing; `None` where it would be brought up to this version, or its settings put right.
    ///
    /// # Errors
    /// As [`Database::open`].
    pub(crate) async fn open_unchanged(&self) -> Result<Option<SqlLedger>> {
        let is_current = match self {
            Self::File(_, folder) => {
                let path = folder.join("larder.db");
                let examined = Examined::of(&path, Duration::ZERO).await?;
                let is_private = fs::metadata(&path)?.permissions().mode() & 0o077 == 0;
                examined.is_current && examined.durability.journal_mode == "wal" && is_private
            }
            Self::Server(server) => server.examine().await?.is_current,
        };
        if is_current { self.open(false).await.map(Some) } else { Ok(None) }
    }

    /// Makes what an empty one is made in.
    ///
    /// # Errors
    /// A data directory in which nothing can be made.
    pub(crate) fn prepare(&self, made: &mut Made) -> Result<()> {
        match self {
            Self::File(dir, folder) => made.database(folder).map_err(|error| dir.not_writable(folder, &error)),
            Self::Server(_) => Ok(()),
        }
    }

    /// Where a rebuild writes the one that is to take this one's place.
    ///
    /// # Errors
    /// A data directory in which nothing can be made.
    pub(crate) fn new_one(&self, made: &mut Made) -> Result<Self> {
        let new = match self {
            Self::File(dir, _) => Self::File(dir.clone(), dir.db_new()),
            Self::Server(server) => Self::Server(Box::new(server.to_be())),
        };
        new.prepare(made)?;
        Ok(new)
    }

    /// Keeps others away while a new one is made to take this one's place, where no lock of a directory does.
    ///
    /// # Errors
    /// Another rebuild at work; a server that can't be reached.
    pub(crate) async fn rebuild_alone(&self) -> Result<Option<Rebuilding>> {
        let Self::Server(server) = self else { return Ok(None) };
        match server.rebuild_alone().await? {
            Some(alone) => {
                // What a rebuild has left that was killed.
                server.drop_unfinished().await?;
                Ok(Some(alone))
            }
            None => Err(refuse(format_args!("another rebuild works on {self}"), "try again when it is done")),
        }
    }

    /// Takes away a new one that will not be used. (A file goes by [`Made`].)
    pub(crate) async fn discard(&self) {
        if let Self::Server(server) = self
            && let Err(error) = server.drop_schema().await
        {
            tracing::warn!(error = chain(&error), schema = server.schema(), "it stays, until the next rebuild");
        }
    }

    /// Puts a new one, which is closed, in this one's place: a kill at any moment leaves one of the two there, whole.
    ///
    /// # Errors
    /// What a disk or a server says.
    pub(crate) async fn replace_by(&self, new: &Self, alone: Option<Rebuilding>) -> Result<()> {
        let replaced = match (self, new, alone) {
            (Self::File(dir, _), ..) => dir.swap().map_err(anyhow::Error::from),
            (Self::Server(_), Self::Server(new), Some(mut alone)) => {
                alone.replace_by(new).await.map_err(anyhow::Error::from)
            }
            (Self::Server(_), ..) => {
                unreachable!("who rebuilds over a server is alone, and the new one is of the same kind")
            }
        };
        replaced.with_context(|| format!("cannot put the new database into {self}"))
    }
}

impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(_, folder) => write!(f, "{}", folder.join("larder.db").display()),
            Self::Server(server) => write!(f, "{server}, schema `{}`", server.schema()),
        }
    }
}

/// Whether an error says that others hold the database: it must not be passed over.
pub(crate) fn is_held(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(OpenError::Locked))
}
