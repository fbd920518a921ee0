//! Measures pages of lists on this machine: `cargo run --release -p larder-ledger --example lists [FOLDER [FILES [ROUNDS]]]`, over PostgreSQL with
//! the URL of a database in place of the folder (`cargo xtask postgres` has one in `LARDER_TEST_POSTGRES`).
//!
//! A million files (or so many): nine in ten are one owner's, one in ten another's, eleven a third's. Each filter is asked in each order,
//! both ways, for its first page and for one from its middle, and prints median, 99th percentile and maximum of a page of 100 in
//! milliseconds.

use larder_files::{
    Attributes, BucketId, FileId, Ledger, StoreId, UserId,
    ledger::{CopyRow, CopyState, Entry, FileQuery, Identity, Position, Record, Sort},
};
use larder_ledger::{Open, Server, SqlLedger};
use sqlx::{Connection, PgConnection};
use std::time::Instant;
use uuid::Uuid;

const LARGE: u128 = 10;
const SMALL: u128 = 11;
const TINY: u128 = 12;

/// Spreads numbers as if they were random, and the same each time (the finaliser of SplitMix64).
fn spread(number: u128) -> u64 {
    let mixed = (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed ^ (mixed >> 27)
}

fn owner(number: u128, files: u128) -> u128 {
    match number {
        number if number % (files / 11) == 7 => TINY,
        number if number % 10 == 0 => SMALL,
        _ => LARGE,
    }
}

fn record(number: u128, files: u128) -> Record {
    let (random, owner) = (spread(number), owner(number, files));
    let kind = if number % 50_000 == 3 { "zip" } else { "pdf" };
    let name = format!("2026/{:03}/report {random:016x}.{kind}", random % 1000);
    let tag = if random % 1000 == 0 { "rare" } else { "common" };
    let attributes: Attributes = serde_json::from_value(serde_json::json!({
        "larder": 1, "id": Uuid::from_u128(number), "bucket": "documents", "bucket_id": Uuid::from_u128(100 + u128::from(random % 3)),
        "owner": "ivanov", "owner_id": Uuid::from_u128(owner), "op": "k3v9q2m7xw4t8bzd", "name": name,
        "key": format!("documents/ivanov/2026/11/21/15/report_ivanov_20261121T153045_{number:016}.pdf"),
        "revision": 1, "epoch": 1, "version": 1, "size": random % 10_000_000, "sha256": "0".repeat(64),
        "crc64nvme": "0123456789abcdef", "content_type": if random % 7 == 0 { "text/plain" } else { "application/pdf" },
        "created_at": "2026-11-21T15:30:45.000Z", "revised_at": "2026-11-21T15:30:45.000Z",
        "updated_at": "2026-11-21T15:30:45.000Z", "deleted_at": null, "tags": [tag], "metadata": {}, "media": null,
    }))
    .expect("attributes");
    let copy = CopyRow { store: StoreId(Uuid::from_u128(3)), state: CopyState::Present, verified_at: None };
    let entry = Entry::Attributes { attributes: Box::new(attributes), copies: vec![copy] };
    Record { entry: Some(entry), ..Record::default() }
}

/// Each filter with its name.
fn filters(files: u128) -> Vec<(&'static str, FileQuery)> {
    let live = FileQuery { deleted: Some(false), limit: 100, ..FileQuery::default() };
    let of = |owner: u128| FileQuery { owner: Some(UserId(Uuid::from_u128(owner))), ..live.clone() };
    let bucket = Some(BucketId(Uuid::from_u128(101)));
    let prefix = Some("2026/500/".to_owned());
    let from = Some(FileId(Uuid::from_u128(files / 3)));
    let until = Some(FileId(Uuid::from_u128(files / 2)));
    let soon = Some(FileId(Uuid::from_u128(files / 3 + 2_000)));
    vec![
        ("all", live.clone()),
        ("large owner", of(LARGE)),
        ("small owner", of(SMALL)),
        ("tiny owner", of(TINY)),
        ("bucket", FileQuery { bucket, ..live.clone() }),
        ("large owner, bucket", FileQuery { bucket, ..of(LARGE) }),
        ("prefix", FileQuery { prefix: prefix.clone(), ..live.clone() }),
        ("large owner, prefix", FileQuery { prefix: prefix.clone(), ..of(LARGE) }),
        ("tiny owner, prefix", FileQuery { prefix, ..of(TINY) }),
        ("large owner, type", FileQuery { content_type: Some("text/plain".into()), ..of(LARGE) }),
        ("large owner, made between", FileQuery { from, until, ..of(LARGE) }),
        ("small owner, tag of all", FileQuery { tag: Some("common".into()), ..of(SMALL) }),
        ("small owner, rare tag", FileQuery { tag: Some("rare".into()), ..of(SMALL) }),
        ("large owner, tag of all", FileQuery { tag: Some("common".into()), ..of(LARGE) }),
        ("large owner, made in a short time", FileQuery { from, until: soon, ..of(LARGE) }),
        ("q of a few", FileQuery { q: Some("report 5ab1".into()), ..live.clone() }),
        ("q of a thousand", FileQuery { q: Some("/500/".into()), ..live.clone() }),
        ("q not found, of letters that are", FileQuery { q: Some("report 2026".into()), ..live.clone() }),
        ("large owner, q of a few", FileQuery { q: Some("report 5ab1".into()), ..of(LARGE) }),
        ("large owner, q of two letters, not found", FileQuery { q: Some("zz".into()), ..of(LARGE) }),
        ("large owner, q of two letters of a few", FileQuery { q: Some("zi".into()), ..of(LARGE) }),
        ("large owner, q of two letters of many", FileQuery { q: Some("5a".into()), ..of(LARGE) }),
        ("large owner, q of one letter of many", FileQuery { q: Some("e".into()), ..of(LARGE) }),
        (
            "q of one letter of many, rare tag",
            FileQuery { q: Some("5".into()), tag: Some("rare".into()), ..live.clone() },
        ),
        ("q of two letters of many, pages of 1,000", FileQuery { q: Some("5a".into()), limit: 1_000, ..live.clone() }),
        ("large owner, q of one letter, of a few", FileQuery { q: Some("z".into()), ..of(LARGE) }),
        ("large owner, q of one letter, not found", FileQuery { q: Some("w".into()), ..of(LARGE) }),
        ("q of two letters, not found", FileQuery { q: Some("zz".into()), ..live.clone() }),
        ("rare tag", FileQuery { tag: Some("rare".into()), ..live.clone() }),
        ("large owner, q found", FileQuery { q: Some("report".into()), ..of(LARGE) }),
        ("large owner, q not found", FileQuery { q: Some("nowhere".into()), ..of(LARGE) }),
        ("small owner, q not found", FileQuery { q: Some("nowhere".into()), ..of(SMALL) }),
    ]
}

/// Where the middle is in each order.
fn middle(sort: Sort, files: u128) -> Position {
    let nil = FileId(Uuid::nil());
    match sort {
        Sort::Created => Position::Created(FileId(Uuid::from_u128(files / 2))),
        Sort::Name => Position::Name("2026/500/report 8".into(), nil),
        Sort::Size => Position::Size(5_000_000, nil),
    }
}

async fn record_all(ledger: &SqlLedger, first: u128, files: u128) {
    let identity = Identity { instance: Uuid::from_u128(1), epoch: 1, mark: 0, stores: vec![], marks: [].into() };
    ledger.initialise(&identity).await.expect("an identity");
    for first in (first..=files).step_by(500) {
        let group = (first..first + 500).map(|number| record(number, files)).collect();
        assert!(ledger.record(group).await.iter().all(Result::is_ok));
    }
}

/// A new schema: its first thousand files are recorded, the others made of them by the server, with names, owners and tags of their own.
async fn on_server(url: &str, files: u128) -> SqlLedger {
    let schema = format!("lists_{}", std::process::id());
    let server = Server::new(url, &schema).expect("a URL");
    let ledger = SqlLedger::connect(&server, Open { create: true }).await.expect("a ledger");
    record_all(&ledger, 1, 1_000).await;
    let copied = COPY.replace("FILES", &files.to_string()).replace("SCHEMA", &schema);
    let mut connection = PgConnection::connect(url).await.expect("the server");
    sqlx::raw_sql(sqlx::AssertSqlSafe(copied)).execute(&mut connection).await.expect("copies");
    // As the server does by itself some time after so many rows.
    sqlx::raw_sql("VACUUM ANALYZE").execute(&mut connection).await.expect("a tidy server");
    ledger
}

/// As [`record`] has them, but for what is random.
const COPY: &str = r#"
SET search_path = SCHEMA;
CREATE TEMPORARY TABLE made AS SELECT i, abs(hashint8(i)::bigint) AS h, lpad(to_hex(i), 32, '0')::uuid AS id,
  lpad(to_hex(CASE WHEN i % (FILES / 11) = 7 THEN 12 WHEN i % 10 = 0 THEN 11 ELSE 10 END), 32, '0')::uuid AS owner,
  '2026/' || lpad((abs(hashint8(i)::bigint) % 1000)::text, 3, '0') || '/report ' || substr(md5(i::text), 1, 16)
    || CASE WHEN i % 50000 = 3 THEN '.zip' ELSE '.pdf' END AS name
FROM generate_series(1001, FILES) i;
INSERT INTO files (id, epoch, version, digest, revision, bucket_id, owner_id, name, name_folded, deleted, attributes, size, content_type)
SELECT made.id, 1, 1, digest, 1, lpad(to_hex(100 + h % 3), 32, '0')::uuid, owner, made.name, made.name, false,
  replace(attributes, files.id::text, made.id::text), h % 10000000, CASE WHEN h % 7 = 0 THEN 'text/plain' ELSE 'application/pdf' END
FROM made JOIN files ON files.id = lpad(to_hex(1 + i % 1000), 32, '0')::uuid;
INSERT INTO tags (tag, file_id, owner_id) SELECT CASE WHEN h % 1000 = 0 THEN 'rare' ELSE 'common' END, id, owner FROM made;
INSERT INTO copies SELECT made.id, 1, store_id, state, NULL
FROM made JOIN copies ON copies.file_id = lpad(to_hex(1 + i % 1000), 32, '0')::uuid;
"#;

#[tokio::main]
#[allow(clippy::print_stdout, reason = "it is what this program is for")]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let place = arguments.next().unwrap_or_else(|| std::env::temp_dir().display().to_string());
    let files: u128 = arguments.next().map_or(1_000_000, |files| files.parse().expect("a number of files"));
    let rounds: usize = arguments.next().map_or(60, |rounds| rounds.parse().expect("a number of rounds"));
    let begun = Instant::now();
    let (_folder, ledger) = if place.starts_with("postgres") {
        (None, on_server(&place, files).await)
    } else {
        let folder = tempfile::tempdir_in(place).expect("a folder");
        let ledger = SqlLedger::open(&folder.path().join("larder.db"), Open { create: true }).await.expect("a ledger");
        record_all(&ledger, 1, files).await;
        (Some(folder), ledger)
    };
    println!("{files} files recorded in {:.0?}\n", begun.elapsed());
    println!("| filter | order | p50 | p99 | max |\n|---|---|---|---|---|");
    for (name, filter) in filters(files) {
        for (sort, order) in [(Sort::Created, "created_at"), (Sort::Name, "name"), (Sort::Size, "size")] {
            let mut spent = vec![];
            let places = [None, Some(middle(sort, files))];
            for (descending, after) in
                [false, true].into_iter().flat_map(|way| places.clone().map(|after| (way, after)))
            {
                let query = FileQuery { sort, descending, after, ..filter.clone() };
                for _ in 0..rounds.div_ceil(4) {
                    let begun = Instant::now();
                    ledger.files(&query).await.expect("a page");
                    spent.push(begun.elapsed().as_secs_f64() * 1000.0);
                }
            }
            spent.sort_by(f64::total_cmp);
            let at = |share: f64| spent[((spent.len() - 1) as f64 * share).round() as usize];
            println!("| {name} | {order} | {:.1} | {:.1} | {:.1} |", at(0.5), at(0.99), at(1.0));
        }
    }
}
