//! The contract of a ledger, held against SQLite.

#[path = "../../files/tests/support/secrets.rs"]
mod secrets;

use larder_files::ledger::{Ledger, conformance::Harness};
use larder_ledger::{Open, SqlLedger};
use std::sync::Arc;

larder_files::ledger_conformance!(sqlite, || async {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("larder.db");
    let open = move || {
        let path = path.clone();
        async move { Arc::new(SqlLedger::open(&path, Open { create: true }).await.unwrap()) as Arc<dyn Ledger> }
    };
    Harness::new(open).await.guard((folder, secrets::Watch::begin()))
});
