//! The rolls by which processes know which of them live where a store can't tell, as a bucket can't. Those that share a data directory
//! have `nodes/` in it, where each holds a lock as it would on a store; those that share a database of a server alone have a table there.

use super::Mounted;
use crate::{
    config::{Config, StoreConfig},
    data_dir::{DataDir, Made},
    output::{chain, refuse},
};
use anyhow::Result;
use async_trait::async_trait;
use futures_util::FutureExt;
use larder_files::{BoxError, NodeId, Roll, StoreMode};
use larder_storage_core::{Staging, Store};
use larder_storage_local::{LocalOptions, LocalStore};
use std::sync::Arc;

/// A directory that holds nothing but locks.
#[derive(Debug)]
struct Locks(LocalStore);

impl Locks {
    fn staging(&self) -> &dyn Staging {
        self.0.staging().expect("a directory stages")
    }
}

#[async_trait]
impl Roll for Locks {
    fn node(&self) -> NodeId {
        self.staging().node()
    }

    async fn is_alive(&self, node: &NodeId) -> Result<bool, BoxError> {
        Ok(self.staging().is_alive(node).await?)
    }
}

/// Whether only the database can tell which of the processes that share it live: it is a server's, and no store is a directory that takes
/// new files, where each holds a lock.
pub(crate) fn is_in_database(config: &Config) -> bool {
    let lends =
        |store: &StoreConfig| store.s3_options().is_none() && matches!(store.mode, StoreMode::Edit | StoreMode::Rw);
    config.server().is_some() && !config.stores.is_empty() && !config.stores.values().any(lends)
}

/// Puts this process on the roll as `node`, and takes off those that have died.
///
/// # Errors
/// A directory that is not writable, or on which no lock can be had.
pub(super) async fn sign(dir: &DataDir, node: &NodeId, made: &mut Made, mounted: &mut Mounted) -> Result<()> {
    let root = dir.nodes();
    let unfit = |error: larder_storage_core::Error| {
        refuse(chain(&error), "this process must be able to hold a lock there; is the data directory on a local disk?")
    };
    made.dir(&root).map_err(|error| dir.not_writable(&root, &error))?;
    let options = LocalOptions { node: Some(node.clone()), ..LocalOptions::new(&root) };
    let local = LocalStore::open(options).map_err(unfit)?;
    if local.is_new()
        && let Some(lock) = local.lock(false).map_err(unfit)?
    {
        made.store(Arc::new(lock));
    }
    mounted.ended.push(local.ended().boxed());
    let locks = Locks(local);
    // Nothing is staged there: the dead leave no more than their folders.
    locks.staging().leftovers().await.map_err(unfit)?;
    mounted.roll = Some(Arc::new(locks));
    Ok(())
}
