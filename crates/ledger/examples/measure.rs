//! Measures what the ledger costs on this machine: `cargo run --release -p larder-ledger --example measure [FOLDER]`.
//!
//! Prints files recorded a second in groups of 500 (a rebuild), lookups of one file a second from 1 and 64 callers, and
//! durable changes a second from 1 and 64 callers.

use larder_files::{
    Attributes, FileId, Ledger, NodeId, StoreId, Timestamp,
    ledger::{CopyRow, CopyState, Entry, Identity, Purpose, Record},
};
use larder_ledger::{Open, SqlLedger};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use uuid::Uuid;

const FILES: u128 = 100_000;

fn record(number: u128, version: u64) -> Record {
    let attributes: Attributes = serde_json::from_value(serde_json::json!({
        "larder": 1, "id": Uuid::from_u128(number), "bucket": "documents", "bucket_id": Uuid::from_u128(1),
        "owner": "ivanov", "owner_id": Uuid::from_u128(2), "op": "k3v9q2m7xw4t8bzd", "name": format!("report {number}.pdf"),
        "key": format!("documents/ivanov/2026/11/21/15/report_ivanov_20261121T153045_{number:016}.pdf"),
        "revision": 1, "epoch": 1, "version": version, "size": 4096, "sha256": "0".repeat(64),
        "crc64nvme": "0123456789abcdef", "content_type": "application/pdf", "created_at": "2026-11-21T15:30:45.000Z",
        "revised_at": "2026-11-21T15:30:45.000Z", "updated_at": "2026-11-21T15:30:45.000Z", "deleted_at": null,
        "tags": ["tax", "2026"], "metadata": {"project": "larder"}, "media": null,
    }))
    .expect("attributes");
    let copy = CopyRow { store: StoreId(Uuid::from_u128(3)), state: CopyState::Present, verified_at: None };
    Record {
        entry: Some(Entry::Attributes { attributes: Box::new(attributes), copies: vec![copy] }),
        ..Record::default()
    }
}

#[allow(clippy::print_stdout, reason = "it is what this program is for")]
fn report(what: &str, count: u128, spent: Duration) {
    println!("{what}: {count} in {spent:.2?}, {:.0} a second", count as f64 / spent.as_secs_f64());
}

/// Runs `work` for each number below `count`, from so many callers at once.
async fn from_callers<F: Future<Output = ()> + Send + 'static>(
    what: &str,
    callers: u128,
    count: u128,
    work: impl Fn(u128) -> F + Clone + Send + 'static,
) {
    let begun = Instant::now();
    let tasks: Vec<_> = (0..callers)
        .map(|caller| {
            let work = work.clone();
            tokio::spawn(async move {
                for number in (caller..count).step_by(callers as usize) {
                    work(number).await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("no caller panics");
    }
    report(&format!("{what}, {callers} callers"), count, begun.elapsed());
}

#[tokio::main]
async fn main() {
    let folder = std::env::args().nth(1).map_or_else(std::env::temp_dir, Into::into);
    let folder = tempfile::tempdir_in(folder).expect("a folder");
    let ledger = SqlLedger::open(&folder.path().join("larder.db"), Open { create: true }).await.expect("a ledger");
    let ledger = Arc::new(ledger);
    let identity = Identity { instance: Uuid::from_u128(1), epoch: 1, mark: 0, stores: vec![], marks: [].into() };
    ledger.initialise(&identity).await.expect("an identity");

    let begun = Instant::now();
    for first in (1..=FILES).step_by(500) {
        let group = (first..first + 500).map(|number| record(number, 1)).collect();
        assert!(ledger.record(group).await.iter().all(Result::is_ok));
    }
    report("recorded in groups of 500", FILES, begun.elapsed());

    for callers in [1, 64] {
        let (one, node) = (ledger.clone(), NodeId::new("n").expect("a node"));
        from_callers("looked up", callers, FILES, move |number| {
            let ledger = one.clone();
            let id = FileId(Uuid::from_u128(number * 7_919 % FILES + 1));
            async move { assert!(ledger.file(id).await.expect("an answer").is_some()) }
        })
        .await;
        let one = ledger.clone();
        from_callers("created, durably", callers, 200 * callers, move |number| {
            let (ledger, number) = (one.clone(), number + callers * 1_000_000);
            async move { assert!(ledger.record(vec![record(number, 1)]).await[0].is_ok()) }
        })
        .await;
        let one = ledger.clone();
        from_callers("claimed and changed, durably", callers, 100 * callers, move |number| {
            let (ledger, node, number) = (one.clone(), node.clone(), number + callers * 1_000_000);
            async move {
                let (file, now) = (FileId(Uuid::from_u128(number)), Timestamp::from_millis(0));
                let claim = ledger.claim(file, Purpose::Change, &node, now).await.expect("a claim");
                let change = Record { closes: Some(claim.id), ..record(number, claim.version) };
                assert!(ledger.record(vec![change]).await[0].is_ok());
            }
        })
        .await;
    }
}
