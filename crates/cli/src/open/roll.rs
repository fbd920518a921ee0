//! The rolls by which processes know which of them live where a store can't tell, as a bucket can't. Those that share a data directory
//! have `nodes/` in it, where each holds a lock as it would on a store; those that share a database of a server have a table there.

use super::Mounted;
use crate::{
    data_dir::{DataDir, Made},
    output::{chain, refuse},
};
use anyhow::Result;
use async_trait::async_trait;
use futures_util::FutureExt;
use larder_files::{BoxError, NodeId, Presence, Roll};
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

    async fn presence(&self, node: &NodeId) -> Result<Presence, BoxError> {
        Ok(if self.staging().is_alive(node).await? { Presence::Present } else { Presence::Absent })
    }
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
