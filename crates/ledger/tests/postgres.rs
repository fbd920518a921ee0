//! The contract of a ledger, held against PostgreSQL, and what a server adds to it. `LARDER_TEST_POSTGRES` is the URL of a database in
//! which schemas may be made; `cargo xtask postgres COMMAND` runs a command beside one.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may unwrap, and says what it skips")]

use futures_util::future::BoxFuture;
use larder_files::{
    Attributes, Clock, FileId, Ledger, NodeId, Presence, Roll, Standing, StoreId, Timestamp, UserId,
    ledger::{
        Entry, FileQuery, Identity, LedgerError, Record,
        conformance::{Harness, LAWS, prove},
    },
    simulation::{Database, Fault, Profile, simulate_on},
};
use larder_ledger::{LedgerRoll, Open, OpenError, Server, SqlLedger};
use sqlx::{Connection, PgConnection};
use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::runtime::Runtime;
use uuid::Uuid;

const CREATE: Open = Open { create: true };

fn url() -> Option<String> {
    let url = std::env::var("LARDER_TEST_POSTGRES").ok();
    if url.is_none() {
        println!("skipped: LARDER_TEST_POSTGRES is not set");
    }
    url
}

/// A schema that no other test has; `None`, and a word, where there is no server.
fn schema() -> Option<Server> {
    Some(Server::new(&url()?, &format!("t{}", Uuid::now_v7().simple())).unwrap())
}

fn identity() -> Identity {
    Identity { instance: Uuid::from_u128(1), epoch: 1, mark: 0, stores: vec![], marks: [].into() }
}

/// Another client's connection to the same database.
async fn raw(sql: String) {
    let mut connection = PgConnection::connect(&url().unwrap()).await.unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
}

#[test]
fn a_ledger_over_postgresql_keeps_every_law() {
    for law in LAWS {
        let Some(server) = schema() else { return };
        println!("{}", law.name);
        prove(law.name, || async move {
            let open = move || {
                let server = server.clone();
                async move { Arc::new(SqlLedger::connect(&server, CREATE).await.unwrap()) as Arc<dyn Ledger> }
            };
            Harness::new(open).await
        });
    }
}

#[tokio::test]
async fn a_schema_is_made_only_where_that_is_wanted_and_by_one_of_many_at_once() {
    let Some(server) = schema() else { return };
    let missing = SqlLedger::connect(&server, Open::default()).await.unwrap_err();
    assert!(matches!(&missing, OpenError::MissingSchema { schema, .. } if schema == server.schema()), "{missing}");
    assert!(missing.to_string().contains("larder rebuild"), "{missing}");
    let opened = futures_util::future::join_all((0..8).map(|_| SqlLedger::connect(&server, CREATE))).await;
    for ledger in &opened {
        assert_eq!(ledger.as_ref().unwrap().identity().await.unwrap(), None);
    }
}

#[tokio::test]
async fn a_newer_schema_and_one_of_somebody_else_are_refused_and_left_alone() {
    let (Some(newer), Some(foreign)) = (schema(), schema()) else { return };
    SqlLedger::connect(&newer, CREATE).await.unwrap().close().await;
    raw(format!("INSERT INTO {}.seaql_migrations VALUES ('m9999_later', 0)", newer.schema())).await;
    let refused = SqlLedger::connect(&newer, CREATE).await.unwrap_err();
    assert!(matches!(&refused, OpenError::Newer { found, .. } if found == "m9999_later"), "{refused}");
    raw(format!("CREATE SCHEMA {0}; CREATE TABLE {0}.orders (id int)", foreign.schema())).await;
    let refused = SqlLedger::connect(&foreign, CREATE).await.unwrap_err();
    assert!(matches!(refused, OpenError::ForeignSchema { .. }), "{refused}");
    raw(format!("SELECT id FROM {}.orders", foreign.schema())).await;
}

#[tokio::test]
async fn a_database_whose_texts_are_bytes_and_a_server_that_is_not_there_are_refused() {
    let Some(url) = url() else { return };
    let name = format!("ascii{}", Uuid::now_v7().simple());
    raw(format!("CREATE DATABASE {name} ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0")).await;
    let server = Server::new(&url.replace("/postgres?", &format!("/{name}?")), "larder").unwrap();
    let refused = SqlLedger::connect(&server, CREATE).await.unwrap_err();
    assert!(matches!(&refused, OpenError::BadServer(why) if why.contains("SQL_ASCII")), "{refused:?}");
    let nowhere = Server::new("postgres://larder@localhost/postgres?host=/nowhere", "larder").unwrap();
    let refused = SqlLedger::connect(&nowhere, CREATE).await.unwrap_err();
    assert!(matches!(refused, OpenError::NoServer { .. }), "{refused:?}");
}

#[tokio::test]
async fn a_connection_that_the_server_ended_is_made_anew() {
    let Some(server) = schema() else { return };
    let ledger = SqlLedger::connect(&server, CREATE).await.unwrap();
    ledger.initialise(&identity()).await.unwrap();
    let name = format!("larder {}", server.schema());
    let ended = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '{name}'");
    let mut marks = vec![ledger.raise_mark(&[]).await.unwrap()];
    raw(ended).await;
    while marks.len() < 3 {
        match ledger.raise_mark(&[]).await {
            Ok(mark) => marks.push(mark),
            Err(LedgerError::Unavailable(_)) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
    assert_eq!(marks, [1, 2, 3]);
    assert_eq!(ledger.identity().await.unwrap().unwrap().mark, 3);
}

#[tokio::test]
async fn a_schema_that_is_put_in_anothers_place_fences_who_works_on_that() {
    let Some(server) = schema() else { return };
    let older = SqlLedger::connect(&server, CREATE).await.unwrap();
    older.initialise(&identity()).await.unwrap();
    let new = server.to_be();
    let newer = SqlLedger::connect(&new, CREATE).await.unwrap();
    newer.initialise(&Identity { epoch: 2, ..identity() }).await.unwrap();
    newer.close().await;
    server.rebuild_alone().await.unwrap().unwrap().replace_by(&new).await.unwrap();
    assert!(matches!(older.raise_mark(&[]).await, Err(LedgerError::Fenced(_))));
    assert_eq!(older.identity().await.unwrap().unwrap().epoch, 2);
    assert!(!new.is_there().await.unwrap());
    let examined = server.examine().await.unwrap();
    assert!(examined.is_there && examined.is_current, "{examined:?}");
}

fn attributes(number: u128, version: u64) -> Attributes {
    serde_json::from_value(serde_json::json!({
        "larder": 1, "id": Uuid::from_u128(number), "bucket": "documents", "bucket_id": Uuid::from_u128(1),
        "owner": "ivanov", "owner_id": Uuid::from_u128(2 + number % 2), "op": "op", "name": format!("Отчёт {number}"),
        "key": format!("documents/{number}"), "revision": 1, "epoch": 1, "version": version, "size": 1,
        "sha256": "0".repeat(64), "crc64nvme": "0123456789abcdef", "content_type": "text/plain",
        "created_at": "2026-11-21T15:30:45.000Z", "revised_at": "2026-11-21T15:30:45.000Z",
        "updated_at": "2026-11-21T15:30:45.000Z", "deleted_at": null, "tags": ["old"], "metadata": {}, "media": null,
    }))
    .unwrap()
}

async fn put(ledger: &SqlLedger, number: u128, version: u64) {
    let entry = Some(Entry::Attributes { attributes: Box::new(attributes(number, version)), copies: vec![] });
    let recorded = ledger.record(vec![Record { entry, ..Record::default() }]).await;
    assert!(recorded.iter().all(Result::is_ok), "{recorded:?}");
}

#[tokio::test]
async fn a_schema_of_an_older_version_is_brought_up_with_all_that_it_holds() {
    let Some(server) = schema() else { return };
    let ledger = SqlLedger::connect(&server, CREATE).await.unwrap();
    ledger.initialise(&identity()).await.unwrap();
    for number in 1..=5 {
        put(&ledger, number, 1).await;
    }
    ledger.close().await;
    // As the eighth migration left it.
    let schema = server.schema();
    raw(format!(
        "SET search_path = {schema}; ALTER TABLE tags DROP COLUMN owner_id; DROP TABLE missed, direct_uploads, roll; DROP INDEX reservations_at; \
         DROP INDEX files_letters; DROP FUNCTION letters_in; \
         ALTER TABLE meta DROP COLUMN marks; \
         DELETE FROM seaql_migrations WHERE version > 'm0008_due_copies'"
    ))
    .await;
    assert!(!server.examine().await.unwrap().is_current);
    let ledger = SqlLedger::connect(&server, Open::default()).await.unwrap();
    assert!(server.examine().await.unwrap().is_current);
    let listed = async |owner: Option<u128>| {
        let owner = owner.map(|owner| UserId(Uuid::from_u128(owner)));
        let (tag, q) = (Some("old".into()), Some("ОТЧ".into()));
        let query = FileQuery { owner, tag, q, deleted: Some(false), limit: 9, ..FileQuery::default() };
        let rows = ledger.files(&query).await.unwrap();
        rows.iter().map(|row| row.attributes.id.0.as_u128()).collect::<Vec<_>>()
    };
    assert_eq!((listed(None).await, listed(Some(2)).await), (vec![1, 2, 3, 4, 5], vec![2, 4]));
    put(&ledger, 4, 2).await;
    put(&ledger, 6, 1).await;
    assert_eq!(listed(Some(2)).await, vec![2, 4, 6]);
    assert_eq!(ledger.file(FileId(Uuid::from_u128(3))).await.unwrap().unwrap().attributes, attributes(3, 1));
    assert_eq!(ledger.missed(StoreId(Uuid::nil()), None, 9).await.unwrap(), vec![]);
    assert_eq!(ledger.identity().await.unwrap(), Some(identity()));
}

/// Whether there is such a schema, initialised or not.
async fn is_there(server: &Server) -> bool {
    server.examine().await.unwrap().is_there
}

/// Time that passes when a test says so.
#[derive(Default)]
struct Manual(Mutex<Duration>);

impl Manual {
    fn pass(&self, seconds: u64) {
        *self.0.lock().unwrap() += Duration::from_secs(seconds);
    }
}

impl Clock for Manual {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(0)
    }

    fn elapsed(&self) -> Duration {
        *self.0.lock().unwrap()
    }

    fn sleep(&self, _: Duration) -> BoxFuture<'static, ()> {
        Box::pin(std::future::pending())
    }
}

/// A node with a handle of its own on a schema, a place on its roll, and a clock of its own.
struct Node {
    ledger: SqlLedger,
    roll: Arc<LedgerRoll>,
    clock: Arc<Manual>,
}

async fn sign(server: &Server, number: u8) -> Node {
    sign_with(server, number, &[]).await
}

/// One that holds locks on these stores.
async fn sign_with(server: &Server, number: u8, locked: &[StoreId]) -> Node {
    let (ledger, clock) = (SqlLedger::connect(server, CREATE).await.unwrap(), Arc::new(Manual::default()));
    let roll = LedgerRoll::sign(&ledger, NodeId::from_random([number; 16]), locked, clock.clone()).await.unwrap();
    Node { ledger, roll, clock }
}

impl Node {
    /// Lives for so many seconds, and tells of it every five.
    async fn live(&self, seconds: u64) {
        for _ in 0..seconds / 5 {
            self.clock.pass(5);
            self.roll.raise().await.unwrap();
        }
    }

    async fn sees(&self, other: &Self) -> bool {
        self.roll.presence(&other.roll.node()).await.unwrap() != Presence::Absent
    }
}

#[tokio::test]
async fn a_node_that_falls_silent_is_buried_and_nothing_that_it_records_counts() {
    let Some(server) = schema() else { return };
    let (here, silent) = (sign(&server, 1).await, sign(&server, 2).await);
    here.ledger.initialise(&identity()).await.unwrap();
    assert!(here.sees(&silent).await && silent.sees(&here).await);
    let stranger = here.roll.presence(&NodeId::from_random([3; 16])).await.unwrap();
    assert_eq!(stranger, Presence::Absent, "it was never on the roll");
    assert_eq!(silent.ledger.raise_mark(&[]).await.unwrap(), 1);
    // Seen for the first time 5 s from now: then 60 s must pass.
    here.live(60).await;
    assert!(here.sees(&silent).await);
    assert_eq!(silent.ledger.raise_mark(&[]).await.unwrap(), 2);
    // By its own clock it knows before the others do.
    silent.clock.pass(19);
    assert_eq!(silent.roll.standing(), Standing::Alive);
    silent.clock.pass(1);
    assert!(matches!(silent.roll.standing(), Standing::Unheard(_)));
    here.live(5).await;
    assert!(!here.sees(&silent).await && silent.sees(&here).await);
    assert!(matches!(silent.ledger.raise_mark(&[]).await, Err(LedgerError::Fenced(_))));
    let entry = Some(Entry::Attributes { attributes: Box::new(attributes(1, 1)), copies: vec![] });
    let recorded = silent.ledger.record(vec![Record { entry, ..Record::default() }]).await;
    assert!(matches!(recorded[..], [Err(LedgerError::Fenced(_))]), "{recorded:?}");
    assert!(matches!(silent.roll.raise().await, Err(LedgerError::Fenced(_))));
    assert!(matches!(silent.roll.standing(), Standing::Buried(_)));
    assert_eq!(here.ledger.raise_mark(&[]).await.unwrap(), 3, "nothing of the silent one came to be");
    assert_eq!(here.ledger.file(FileId(Uuid::from_u128(1))).await.unwrap(), None);
    assert_eq!(here.roll.standing(), Standing::Alive);
}

#[tokio::test]
async fn one_who_is_late_but_raises_its_number_lives_on() {
    let Some(server) = schema() else { return };
    let (here, late) = (sign(&server, 1).await, sign(&server, 2).await);
    here.live(60).await;
    late.clock.pass(59);
    assert!(matches!(late.roll.standing(), Standing::Unheard(_)));
    late.roll.raise().await.unwrap();
    assert_eq!(late.roll.standing(), Standing::Alive);
    here.live(60).await;
    assert!(here.sees(&late).await, "it was raised once more, and is watched anew from there");
    here.live(5).await;
    assert!(!here.sees(&late).await);
}

#[tokio::test]
async fn who_could_not_look_buries_nobody_for_what_it_did_not_see() {
    let Some(server) = schema() else { return };
    let (here, other) = (sign(&server, 1).await, sign(&server, 2).await);
    here.live(10).await;
    // Its machine slept, or the database was away: for all it knows the other one had no way to tell either.
    here.clock.pass(600);
    assert!(matches!(here.roll.standing(), Standing::Unheard(_)));
    here.roll.raise().await.unwrap();
    assert_eq!(here.roll.standing(), Standing::Alive);
    here.live(55).await;
    assert!(here.sees(&other).await);
    here.live(5).await;
    assert!(!here.sees(&other).await);
    assert!(matches!(other.roll.raise().await, Err(LedgerError::Fenced(_))));
}

#[tokio::test]
async fn while_others_may_not_write_nobody_is_buried_and_all_go_on_telling_that_they_live() {
    let Some(server) = schema() else { return };
    let (here, silent) = (sign(&server, 1).await, sign(&server, 2).await);
    here.live(60).await;
    // Somebody keeps the lock of the writers for long, as a change of the schema does.
    let mut busy = PgConnection::connect(&url().unwrap()).await.unwrap();
    let lock = format!("SELECT pg_advisory_lock(hashtextextended('larder: {}', 0))", server.schema());
    sqlx::raw_sql(sqlx::AssertSqlSafe(lock)).execute(&mut busy).await.unwrap();
    here.live(5).await;
    assert!(here.sees(&silent).await, "not now");
    assert_eq!(here.roll.standing(), Standing::Alive);
    busy.close().await.unwrap();
    here.live(5).await;
    assert!(!here.sees(&silent).await);
}

#[tokio::test]
async fn who_is_cut_off_from_the_database_tells_by_a_new_connection_that_it_lives() {
    let Some(server) = schema() else { return };
    let (here, other) = (sign(&server, 1).await, sign(&server, 2).await);
    here.live(5).await;
    let name = format!("larder {}", server.schema());
    raw(format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '{name}'")).await;
    here.clock.pass(5);
    here.roll.raise().await.unwrap_err();
    here.clock.pass(5);
    here.roll.raise().await.unwrap();
    assert!(here.roll.standing() == Standing::Alive && here.sees(&other).await);
}

#[tokio::test]
async fn one_who_holds_locks_is_left_to_those_who_have_the_stores() {
    let Some(server) = schema() else { return };
    let disks = [8, 9].map(|id| StoreId(Uuid::from_u128(id)));
    let (here, locked) = (sign(&server, 1).await, sign_with(&server, 2, &disks).await);
    let told = here.roll.presence(&locked.roll.node()).await.unwrap();
    assert_eq!(told, Presence::Holding(disks.to_vec()));
    assert_eq!(locked.roll.presence(&here.roll.node()).await.unwrap(), Presence::Present);
    here.live(300).await;
    assert!(here.sees(&locked).await);
    // Nor does it keep itself from anything, for the stores tell that it lives.
    locked.clock.pass(300);
    assert_eq!(locked.roll.standing(), Standing::Alive);
}

#[tokio::test]
async fn one_who_leaves_is_dead_at_once_and_so_is_everybody_after_a_rebuild() {
    let Some(server) = schema() else { return };
    let (here, gone) = (sign(&server, 1).await, sign(&server, 2).await);
    here.ledger.initialise(&identity()).await.unwrap();
    gone.roll.leave().await.unwrap();
    assert!(!here.sees(&gone).await);
    assert!(matches!(gone.ledger.raise_mark(&[]).await, Err(LedgerError::Fenced(_))));
    let new = server.to_be();
    let newer = SqlLedger::connect(&new, CREATE).await.unwrap();
    newer.initialise(&identity()).await.unwrap();
    newer.close().await;
    server.rebuild_alone().await.unwrap().unwrap().replace_by(&new).await.unwrap();
    assert!(matches!(here.ledger.raise_mark(&[]).await, Err(LedgerError::Fenced(_))));
    assert!(matches!(here.roll.raise().await, Err(LedgerError::Fenced(_))));
}

#[tokio::test]
async fn a_rebuild_keeps_others_away_and_nobody_signs_meanwhile() {
    let Some(server) = schema() else { return };
    let here = sign(&server, 1).await;
    let mut alone = server.rebuild_alone().await.unwrap().unwrap();
    assert!(server.rebuild_alone().await.unwrap().is_none(), "there is one");
    let clock: Arc<Manual> = Arc::default();
    let refused = LedgerRoll::sign(&here.ledger, NodeId::from_random([2; 16]), &[], clock).await;
    assert!(matches!(refused, Err(LedgerError::Busy)), "{refused:?}");
    alone.check().await.unwrap();
    let name = format!("larder {}", server.schema());
    let locked = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND pid IN \
                  (SELECT pid FROM pg_stat_activity WHERE application_name = ";
    raw(format!("{locked}'{name}')")).await;
    let new = server.to_be();
    SqlLedger::connect(&new, CREATE).await.unwrap().close().await;
    alone.replace_by(&new).await.unwrap_err();
    assert!(is_there(&new).await && here.sees(&here).await, "its session has ended, and with it the lock");
    // The next one clears up, and leaves alone what only has such a name.
    let other = Server::new(&url().unwrap(), &format!("{}_new_york", server.schema())).unwrap();
    SqlLedger::connect(&other, CREATE).await.unwrap().close().await;
    server.drop_unfinished().await.unwrap();
    assert!(!is_there(&new).await && is_there(&other).await);
    drop(server.rebuild_alone().await.unwrap().unwrap());
}

/// Time that passes by itself for who waits, while a node tells that it lives, if there is one.
struct Passing(Manual, Option<Arc<LedgerRoll>>);

impl Clock for Passing {
    fn now(&self) -> Timestamp {
        self.0.now()
    }

    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    fn sleep(&self, span: Duration) -> BoxFuture<'static, ()> {
        self.0.pass(span.as_secs());
        let lives = self.1.clone();
        Box::pin(async move {
            if let Some(roll) = lives {
                roll.raise().await.unwrap();
            }
        })
    }
}

#[tokio::test]
async fn a_schema_is_deserted_where_nobody_raises_a_number() {
    let Some(server) = schema() else { return };
    let disk = [StoreId(Uuid::from_u128(8))];
    let (node, locked) = (sign(&server, 1).await, sign_with(&server, 2, &disk).await);
    let mut alone = server.rebuild_alone().await.unwrap().unwrap();
    let lives = Passing(Manual::default(), Some(node.roll.clone()));
    assert!(!alone.is_deserted(&disk, &lives).await.unwrap());
    let silent = Passing(Manual::default(), None);
    assert!(alone.is_deserted(&disk, &silent).await.unwrap());
    assert_eq!(silent.elapsed(), Duration::from_secs(60));
    // Who was silent is off the roll; who holds a lock that the caller would not have otherwise is not waited for.
    assert!(!locked.sees(&node).await && node.sees(&locked).await);
    assert!(alone.is_deserted(&disk, &Manual::default()).await.unwrap(), "without waiting for anything");
    let silent = Passing(Manual::default(), None);
    assert!(alone.is_deserted(&[], &silent).await.unwrap() && silent.elapsed() == Duration::from_secs(60));
    assert!(!node.sees(&locked).await);
}

/// A schema of its own; its calls run on a runtime of real time, one at a time.
struct Postgres {
    runtime: Arc<Runtime>,
    server: Server,
}

impl Database for Postgres {
    fn open(&self) -> Arc<dyn Ledger> {
        Arc::new(self.runtime.block_on(SqlLedger::connect(&self.server, CREATE)).unwrap())
    }

    fn back_up(&self) -> Option<Arc<dyn Database>> {
        None
    }

    fn complete(&self, call: Pin<Box<dyn Future<Output = ()> + Send + '_>>) {
        self.runtime.block_on(call);
    }
}

const HISTORIES: u64 = 8;

fn histories(profile: Profile) {
    if url().is_none() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let runtime = Arc::new(runtime);
    // Everything but an older database, which takes a backup.
    let faults: Vec<Fault> = profile.faults.iter().copied().filter(|fault| *fault != Fault::DatabaseOlder).collect();
    let faults: &'static [Fault] = faults.leak();
    for seed in 0..HISTORIES {
        println!("seed {seed}");
        let of = runtime.clone();
        let fresh = move || -> Arc<dyn Database> {
            Arc::new(Postgres { runtime: of.clone(), server: schema().expect("there is a server") })
        };
        let _entered = runtime.handle().enter();
        simulate_on(Arc::new(fresh), seed, Profile { faults, wishes: 5, ..profile }).unwrap();
    }
}

#[test]
fn two_nodes_keep_their_promises_over_postgresql() {
    histories(Profile::PAIR);
}

#[test]
fn names_that_are_unique_stay_so_over_postgresql() {
    histories(Profile::NAMES);
}

#[test]
fn several_stores_keep_their_promises_over_postgresql() {
    histories(Profile::REPLICAS);
}
