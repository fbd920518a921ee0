//! The simulator's histories over SQLite: what holds over the ledger in memory holds over the one that ships.
#![allow(clippy::unwrap_used, reason = "a test may unwrap, in its helpers too")]

#[path = "../../files/tests/support/secrets.rs"]
mod secrets;

use larder_files::{
    Ledger,
    simulation::{Database, Fault, Profile, simulate_on},
};
use larder_ledger::{Open, SqlLedger};
use std::{
    future::Future,
    path::PathBuf,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// A database in a file of its own; its calls run on a runtime of real time, one at a time.
struct Sqlite {
    runtime: Arc<Runtime>,
    path: PathBuf,
}

impl Database for Sqlite {
    fn open(&self) -> Arc<dyn Ledger> {
        let opened = self.runtime.block_on(SqlLedger::open(&self.path, Open { create: true }));
        Arc::new(opened.unwrap())
    }

    fn back_up(&self) -> Option<Arc<dyn Database>> {
        None
    }

    fn complete(&self, call: Pin<Box<dyn Future<Output = ()> + Send + '_>>) {
        self.runtime.block_on(call);
    }
}

const HISTORIES: u64 = 25;
/// Everything but an older database, which takes a backup.
const FAULTS: &[Fault] = &[
    Fault::Crash,
    Fault::PowerCut,
    Fault::Outage,
    Fault::Partition,
    Fault::Error,
    Fault::Stall,
    Fault::Jump,
    Fault::HangUp,
    Fault::DatabaseLost,
    Fault::Late,
];

fn histories(profile: Profile) {
    // The simulator's.
    secrets::keep_bytes(&[7; 32]);
    let _watch = secrets::Watch::begin();
    let folder = TempDir::new().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let runtime = Arc::new(runtime);
    let made = Arc::new(AtomicU64::new(0));
    for seed in 0..HISTORIES {
        let (of, made, root) = (runtime.clone(), made.clone(), folder.path().to_owned());
        let fresh = move || -> Arc<dyn Database> {
            let path = root.join(format!("{}.db", made.fetch_add(1, Ordering::Relaxed)));
            Arc::new(Sqlite { runtime: of.clone(), path })
        };
        // A handle that is dropped ends its writer: on the runtime, as it was begun.
        let _entered = runtime.handle().enter();
        simulate_on(Arc::new(fresh), seed, Profile { faults: FAULTS, wishes: 5, ..profile }).unwrap();
    }
}

#[test]
fn one_node_keeps_its_promises_over_sqlite() {
    histories(Profile::DISK);
}

#[test]
fn two_nodes_keep_their_promises_over_sqlite() {
    histories(Profile::PAIR);
}

#[test]
fn a_store_that_does_not_stage_keeps_its_promises_over_sqlite() {
    histories(Profile::CLOUD);
}
