//! What a file on a disk adds to the contract: opening, refusing, other processes, and sudden ends.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use futures_util::future::join_all;
use larder_files::{
    Attributes, CreatedByKey, FileId, Ledger, NodeId, Position, Sha256, Sort, Timestamp,
    ledger::{Entry, FileQuery, Identity, LedgerError, Purpose, Record, Reservation},
};
use larder_ledger::{Open, OpenError, SqlLedger};
use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};
use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Stdio},
};
use uuid::Uuid;

const CREATE: Open = Open { create: true };
/// Where a child works, and from which file number on.
const CHILD: &str = "LARDER_LEDGER_TEST_CHILD";

fn identity() -> Identity {
    Identity { instance: Uuid::from_u128(1), epoch: 1, mark: 0, stores: vec![], marks: [].into() }
}

fn attributes(number: u128, version: u64) -> Attributes {
    serde_json::from_value(serde_json::json!({
        "larder": 1, "id": Uuid::from_u128(number), "bucket": "documents", "bucket_id": Uuid::from_u128(1),
        "owner": "ivanov", "owner_id": Uuid::from_u128(2), "op": "op", "name": format!("{number}"),
        "key": format!("documents/{number}"), "revision": 1, "epoch": 1, "version": version, "size": 1,
        "sha256": "0".repeat(64), "crc64nvme": "0123456789abcdef", "content_type": "text/plain",
        "created_at": "2026-11-21T15:30:45.000Z", "revised_at": "2026-11-21T15:30:45.000Z",
        "updated_at": "2026-11-21T15:30:45.000Z", "deleted_at": null, "tags": [], "metadata": {}, "media": null,
    }))
    .unwrap()
}

async fn put(ledger: &SqlLedger, number: u128, version: u64) -> Result<(), LedgerError> {
    let entry = Some(Entry::Attributes { attributes: Box::new(attributes(number, version)), copies: vec![] });
    ledger.record(vec![Record { entry, ..Record::default() }]).await.pop().unwrap().map(|_| ())
}

async fn claim(ledger: &SqlLedger, number: u128) -> Result<u64, LedgerError> {
    let (file, node) = (FileId(Uuid::from_u128(number)), NodeId::new("n").unwrap());
    ledger.claim(file, Purpose::Change, &node, Timestamp::from_millis(0)).await.map(|claim| claim.version)
}

/// A ledger with one file, closed again.
async fn made(path: &Path) {
    let ledger = SqlLedger::open(path, CREATE).await.unwrap();
    ledger.initialise(&identity()).await.unwrap();
    put(&ledger, 1, 1).await.unwrap();
    ledger.close().await;
}

async fn count(path: &Path, sql: &'static str) -> i64 {
    let options = SqliteConnectOptions::new().filename(path);
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    let count = sqlx::query_scalar(sql).fetch_one(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    count
}

async fn raw(path: &Path, sql: &'static str) {
    let options = SqliteConnectOptions::new().filename(path);
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::query(sql).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

#[tokio::test]
async fn a_missing_database_is_not_made_unasked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("larder.db");
    let refused = SqlLedger::open(&path, Open::default()).await.unwrap_err();
    assert!(matches!(refused, OpenError::Missing(_)) && refused.to_string().contains("larder rebuild"), "{refused}");
    assert!(!path.exists());
}

#[tokio::test]
async fn a_database_is_durable_and_its_owners_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("larder.db");
    let ledger = SqlLedger::open(&path, CREATE).await.unwrap();
    let durability = ledger.durability().await.unwrap().unwrap();
    assert_eq!((durability.journal_mode.as_str(), durability.synchronous), ("wal", 2));
    ledger.initialise(&identity()).await.unwrap();
    for name in ["larder.db", "larder.db-wal"] {
        assert_eq!(fs::metadata(folder.path().join(name)).unwrap().permissions().mode() & 0o777, 0o600, "{name}");
    }
}

#[tokio::test]
async fn a_closed_ledger_leaves_one_file_and_takes_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("larder.db");
    let ledger = SqlLedger::open(&path, CREATE).await.unwrap();
    ledger.initialise(&identity()).await.unwrap();
    let clone = ledger.clone();
    ledger.close().await;
    let names: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["larder.db"]);
    assert!(matches!(put(&clone, 1, 1).await, Err(LedgerError::Unavailable(_))));
}

#[tokio::test]
async fn a_newer_schema_is_refused_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("larder.db");
    made(&path).await;
    raw(&path, "INSERT INTO seaql_migrations VALUES ('m9999_later', 0)").await;
    let before = fs::read(&path).unwrap();
    let refused = SqlLedger::open(&path, CREATE).await.unwrap_err();
    assert!(matches!(&refused, OpenError::Newer { found, .. } if found == "m9999_later"), "{refused}");
    assert_eq!(fs::read(&path).unwrap(), before);
}

/// As the first version left it: what later migrations made is taken away again.
async fn made_by_the_first_version(path: &Path) {
    made(path).await;
    raw(path, "DROP TABLE letters_terms; DROP TRIGGER letters_come; DROP TRIGGER letters_go").await;
    raw(
        path,
        "DROP TRIGGER letters_change; DROP TABLE letters; DROP TABLE lettered; DROP INDEX tags_owner_id_tag_file_id",
    )
    .await;
    raw(path, "ALTER TABLE tags DROP COLUMN owner_id; INSERT INTO tags VALUES ('old', (SELECT id FROM files))").await;
    raw(path, "ALTER TABLE reservations DROP COLUMN user_id").await;
    raw(path, "DROP INDEX copies_due; DROP INDEX reservations_at").await;
    raw(path, "DROP TABLE missed").await;
    raw(path, "DROP TABLE sessions; DROP TABLE direct_uploads").await;
    raw(path, "DROP TABLE intents").await;
    raw(path, "ALTER TABLE meta DROP COLUMN intents; ALTER TABLE meta DROP COLUMN marks").await;
    raw(path, "ALTER TABLE claims DROP COLUMN purge_revision").await;
    raw(path, "DROP INDEX files_deleted_name_id; DROP INDEX files_deleted_size_id").await;
    raw(path, "DROP INDEX files_owner_id_deleted_name_id; DROP INDEX files_owner_id_deleted_size_id").await;
    raw(path, "DROP INDEX files_bucket_id_deleted_name_id; DROP INDEX files_bucket_id_deleted_size_id").await;
    raw(path, "DROP TABLE sqlite_stat1; UPDATE files SET name_folded = 'οδος'").await;
    raw(path, "ALTER TABLE files DROP COLUMN size").await;
    raw(path, "ALTER TABLE files DROP COLUMN content_type").await;
    raw(path, "CREATE INDEX files_name ON files (name)").await;
    raw(path, "DELETE FROM seaql_migrations WHERE version > 'm0001_first'").await;
}

#[tokio::test]
async fn a_database_of_the_first_version_is_brought_up_with_all_that_it_holds() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("larder.db");
    made_by_the_first_version(&path).await;
    let ledger = SqlLedger::open(&path, Open::default()).await.unwrap();
    assert_eq!(ledger.identity().await.unwrap(), Some(identity()));
    assert_eq!(ledger.file(FileId(Uuid::from_u128(1))).await.unwrap().unwrap().attributes, attributes(1, 1));
    let (size, content_type) = (attributes(1, 1).size, Some(attributes(1, 1).content_type));
    let after = Some(Position::Size(size - 1, FileId(Uuid::nil())));
    let by_size = FileQuery { content_type, sort: Sort::Size, after, limit: 9, ..FileQuery::default() };
    assert_eq!(ledger.files(&by_size).await.unwrap().len(), 1, "what lists go by is filled in");
    let folded = FileQuery { q: Some("ΔΟΣ".into()), limit: 9, ..FileQuery::default() };
    assert_eq!(ledger.files(&folded).await.unwrap().len(), 1, "folded names are as they are folded now");
    let (tag, owner) = (Some("old".into()), Some(attributes(1, 1).owner_id));
    let tagged = FileQuery { tag, owner, deleted: Some(false), limit: 9, ..FileQuery::default() };
    assert_eq!(ledger.files(&tagged).await.unwrap().len(), 1, "a tag knows whose it is");
    let intents = ledger.intents().await.unwrap();
    assert!(intents.is_empty(), "{intents:?}");
    put(&ledger, 1, 2).await.unwrap();
    assert_eq!(claim(&ledger, 1).await.unwrap(), 3);
}

/// However much of an older index of names is there.
#[tokio::test]
async fn an_index_of_names_without_their_ends_is_made_anew() {
    for upto in [0, 2, 3] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("larder.db");
        let ledger = SqlLedger::open(&path, CREATE).await.unwrap();
        ledger.initialise(&identity()).await.unwrap();
        for number in 1..=3 {
            put(&ledger, number, 1).await.unwrap();
        }
        ledger.close().await;
        raw(&path, "DELETE FROM seaql_migrations WHERE version > 'm0017_roll_of_nodes'; DROP TRIGGER letters_go").await;
        let older = format!(
            "INSERT INTO letters (letters) VALUES ('delete-all'); UPDATE lettered SET upto = {upto}; \
             INSERT INTO letters (rowid, name, owner) \
             SELECT rowid, name_folded, 'X' || substr(hex(owner_id), -2) FROM files WHERE rowid <= {upto}"
        );
        raw(&path, Box::leak(older.into_boxed_str())).await;
        let ledger = SqlLedger::open(&path, Open::default()).await.unwrap();
        assert_eq!(ledger.check_index().await.unwrap(), None, "{upto}");
        put(&ledger, 4, 1).await.unwrap();
        assert_eq!(ledger.check_index().await.unwrap(), None, "{upto}");
    }
}

#[tokio::test]
async fn what_is_no_ledger_is_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("larder.db");
    let text = b"some other file, and not a short one at that".to_vec();
    fs::write(&path, &text).unwrap();
    let refused = SqlLedger::open(&path, CREATE).await.unwrap_err();
    assert!(matches!(refused, OpenError::Damaged { .. }), "{refused}");
    assert_eq!(fs::read(&path).unwrap(), text);
    fs::remove_file(&path).unwrap();
    fs::write(&path, b"").unwrap();
    raw(&path, "CREATE TABLE other (id)").await;
    let refused = SqlLedger::open(&path, CREATE).await.unwrap_err();
    assert!(matches!(refused, OpenError::Damaged { .. }), "{refused}");
}

#[tokio::test]
async fn a_damaged_database_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("larder.db");
    made(&path).await;
    let whole = fs::read(&path).unwrap();
    let overwritten = [&whole[..100], &vec![0xff; whole.len() - 100]].concat();
    for damaged in [overwritten, whole[..50].to_vec(), whole[..4096].to_vec()] {
        fs::write(&path, damaged).unwrap();
        let refused = SqlLedger::open(&path, CREATE).await.unwrap_err();
        assert!(matches!(refused, OpenError::Damaged { .. }), "{refused:?}");
        assert!(refused.to_string().contains("larder rebuild"));
    }
}

#[tokio::test]
async fn a_ledger_whose_file_was_replaced_is_fenced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("larder.db");
    made(&path).await;
    let ledger = SqlLedger::open(&path, Open::default()).await.unwrap();
    let other = folder.path().join("new.db");
    made(&other).await;
    fs::rename(&other, &path).unwrap();
    assert!(matches!(put(&ledger, 2, 1).await, Err(LedgerError::Fenced(_))));
}

#[tokio::test]
async fn calls_that_wait_together_share_a_transaction() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("larder.db");
    made(&path).await;
    let ledger = SqlLedger::open(&path, Open::default()).await.unwrap();
    let all = (2..130).map(|number| put(&ledger, number, 1));
    let results = join_all(all).await;
    assert!(results.iter().all(Result::is_ok));
    assert_eq!(
        ledger.files(&larder_files::ledger::FileQuery { limit: 999, ..Default::default() }).await.unwrap().len(),
        129
    );
}

/// Not a test of its own: what the children of the tests below run. It prints what was acknowledged.
#[tokio::test]
async fn child() {
    let Ok(told) = std::env::var(CHILD) else { return };
    let (path, first) = told.split_once('|').unwrap();
    let first: u128 = first.parse().unwrap();
    let ledger = SqlLedger::open(Path::new(path), Open::default()).await.unwrap();
    for number in first..first + 2_000 {
        put(&ledger, number, 1).await.unwrap();
        acknowledge(number, 1);
        let version = claim(&ledger, number).await.unwrap();
        acknowledge(number, version);
    }
}

fn acknowledge(number: u128, version: u64) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "\nacknowledged {number} {version}").unwrap();
    out.flush().unwrap();
}

fn spawn_child(path: &Path, first: u128) -> std::process::Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture"])
        .env(CHILD, format!("{}|{first}", path.display()))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

fn acknowledged(line: &str) -> Option<(u128, u64)> {
    let (number, version) = line.strip_prefix("acknowledged ")?.split_once(' ')?;
    Some((number.parse().ok()?, version.parse().ok()?))
}

#[tokio::test]
async fn what_was_acknowledged_outlives_a_killed_process() {
    let seed = u64::from(std::process::id());
    eprintln!("seed {seed}");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("larder.db");
    made(&path).await;
    let mut random = seed;
    for round in 1..=4_u128 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let after = usize::try_from(random >> 33).unwrap() % 60 + 1;
        let mut child = spawn_child(&path, round * 10_000);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut seen: Vec<_> = lines.by_ref().filter_map(|line| acknowledged(&line)).take(after).collect();
        child.kill().unwrap();
        seen.extend(lines.filter_map(|line| acknowledged(&line)));
        child.wait().unwrap();
        let ledger = SqlLedger::open(&path, Open::default()).await.unwrap();
        for (number, version) in seen {
            let id = FileId(Uuid::from_u128(number));
            assert!(ledger.file(id).await.unwrap().is_some(), "seed {seed}: file {number} is lost");
            if version > 1 {
                let open = ledger.claim_of(id).await.unwrap();
                assert_eq!(
                    open.map(|claim| claim.version),
                    Some(version),
                    "seed {seed}: the claim on {number} is lost"
                );
            }
        }
        ledger.close().await;
    }
}

#[tokio::test]
async fn two_processes_write_beside_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("larder.db");
    made(&path).await;
    let ledger = SqlLedger::open(&path, Open::default()).await.unwrap();
    let mut child = spawn_child(&path, 10_000);
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut theirs = 0;
    for (mine, (number, _)) in (2..42).zip(lines.filter_map(|line| acknowledged(&line))) {
        put(&ledger, mine, 1).await.unwrap();
        assert!(
            ledger.file(FileId(Uuid::from_u128(number))).await.unwrap().is_some(),
            "file {number} of the other process"
        );
        theirs += 1;
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(theirs, 40);
}

#[tokio::test]
async fn what_was_absent_is_found_once_another_handle_has_put_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("larder.db");
    made(&path).await;
    let (here, there) = (SqlLedger::open(&path, CREATE).await.unwrap(), SqlLedger::open(&path, CREATE).await.unwrap());
    let file = FileId(Uuid::from_u128(7));
    // Asked twice: the second time the absence is remembered.
    assert!(here.file(file).await.unwrap().is_none());
    assert!(here.file(file).await.unwrap().is_none());
    put(&there, 7, 1).await.unwrap();
    assert!(here.file(file).await.unwrap().is_some());
}

#[tokio::test]
async fn idempotent_requests_that_are_long_forgotten_take_no_room() {
    const HOUR: i64 = 60 * 60 * 1000;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("larder.db");
    let ledger = SqlLedger::open(&path, CREATE).await.unwrap();
    ledger.initialise(&identity()).await.unwrap();
    let (node, key) = (NodeId::new("n").unwrap(), |number: u128| Sha256::of(&number.to_be_bytes()));
    for number in 1..=1500 {
        let at = Timestamp::from_millis(if number == 1 { 10 * HOUR } else { 0 });
        let made = CreatedByKey { key: key(number), request: key(number), status: 201, at };
        let attributes = Attributes { created_by_key: Some(made), ..attributes(number, 1) };
        let entry = Some(Entry::Attributes { attributes: Box::new(attributes), copies: vec![] });
        ledger.record(vec![Record { entry, ..Record::default() }]).await.pop().unwrap().unwrap();
    }
    let reserve = async |number, hours: i64| {
        ledger.reserve(key(number), &node, Timestamp::from_millis(hours * HOUR)).await.unwrap()
    };
    let kept = async || count(&path, "SELECT count(*) FROM reservations WHERE at IS NOT NULL").await;
    assert_eq!(reserve(5000, 24).await, Reservation::Made);
    assert_eq!(kept().await, 1500, "another clock may be right");
    assert_eq!(reserve(5001, 25).await, Reservation::Made);
    assert_eq!(kept().await, 500, "so many at a time");
    assert_eq!(reserve(5002, 25).await, Reservation::Made);
    assert_eq!(kept().await, 1, "the latest stays");
    assert!(matches!(reserve(1, 9).await, Reservation::Done { .. }));
    assert_eq!(reserve(2, 25).await, Reservation::Made);
}
