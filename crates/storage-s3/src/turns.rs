//! [`Turns`]: one writer of a key at a time, within this process, where a server has no conditions of its own.

use larder_storage_core::Key;
use std::{collections::hash_map::RandomState, hash::BuildHasher, sync::Arc};
use tokio::sync::{Mutex, OwnedMutexGuard};

const TURNS: usize = 64;

/// Locks that keys share by their hash: bounded, and rarely met by two.
pub(crate) struct Turns {
    locks: [Arc<Mutex<()>>; TURNS],
    hashes: RandomState,
}

/// A key's turn, until it is dropped.
pub(crate) type Turn = OwnedMutexGuard<()>;

impl Turns {
    pub(crate) fn new() -> Self {
        Self { locks: std::array::from_fn(|_| Arc::default()), hashes: RandomState::new() }
    }

    pub(crate) async fn of(&self, key: &Key) -> Turn {
        let at = self.hashes.hash_one(key) as usize % TURNS;
        self.locks[at].clone().lock_owned().await
    }
}
