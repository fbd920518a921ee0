//! A larder whose rows lie in PostgreSQL, by the real binary: alone, and as two nodes with data directories of their own over one store.
//! Where `LARDER_TEST_POSTGRES` names no server (`cargo xtask postgres` starts one), the tests say that they are skipped.
#![allow(clippy::unwrap_used, reason = "a test fails loudly")]

#[path = "common/bucket.rs"]
mod bucket;
mod common;

use bucket::{Bucket, KEY, SECRET};
use common::{Larder, Server, sha256};
use futures_util::future::BoxFuture;
use larder_files::{Clock, NodeId, Timestamp};
use larder_ledger::{LedgerRoll, Open, SqlLedger};
use serde_json::Value;
use std::{
    fs,
    sync::{Arc, Mutex},
    time::Duration,
};

const JSON: (&str, &str) = ("Content-Type", "application/merge-patch+json");

#[test]
fn what_is_put_is_got_and_a_lost_schema_is_made_again_from_the_store() {
    let Some(larder) = Larder::over_postgresql() else { return };
    larder.user("root", true);
    let id = larder.put("a.txt", "content");
    assert_eq!(larder.ok(&["get", &id, "--output", "-"]), "content");
    assert!(!larder.data().join("db").exists(), "no SQLite beside it");
    assert!(larder.run(&["doctor"]).status.success(), "{:?}", larder.run(&["doctor"]));
    larder.assert_clean();
    let before = larder.ok(&["dump"]);
    assert!(before.contains("a.txt"));
    larder.lose_database();
    let refused = larder.run(&["ls"]);
    assert!(!refused.status.success() && refused.stderr.contains("larder rebuild"), "{refused:?}");
    larder.ok(&["rebuild"]);
    assert_eq!(larder.ok(&["dump"]), before);
    // Once more, over rows that are there.
    larder.ok(&["rebuild"]);
    assert_eq!(larder.ok(&["dump"]), before);
}

#[test]
fn the_url_of_a_database_is_shown_to_nobody_and_one_that_leads_nowhere_is_told_of() {
    let larder = Larder::new();
    let url = "postgres://larder:hunter2hunter2@localhost/files?host=/nowhere";
    larder.file("data/larder.toml", format!("[database]\nurl = \"{url}\"\n"));
    for arguments in [&["config", "show"][..], &["config", "show", "--json"], &["serve"], &["doctor"]] {
        let said = larder.run(arguments);
        assert!(!said.stdout.contains("hunter2") && !said.stderr.contains("hunter2"), "{said:?}");
        if arguments[0] != "config" {
            assert!(!said.status.success(), "{said:?}");
            let told = format!("{}{}", said.stdout, said.stderr);
            assert!(told.contains("PostgreSQL at /nowhere"), "{said:?}");
        }
    }
    assert!(!larder.data().join("secrets.toml").exists(), "a refused start leaves nothing");
}

#[test]
fn two_nodes_share_rows_and_a_store_and_meet_over_a_file() {
    let Some(first) = Larder::over_postgresql() else { return };
    first.user("root", true);
    let second = first.twin();
    let servers = [first.serve(), second.serve()];
    let clients = servers.each_ref().map(|server| server.client("root"));
    let file = clients[0].upload("a.txt", b"shared");
    let (path, id) = (format!("/api/v1/files/{}", file["id"].as_str().unwrap()), file["id"].clone());
    assert_eq!(clients[1].get(&format!("{path}/content")).body, b"shared");
    // Both change the same version at the same time: one of them is told that it is another by now.
    let etag = file["etag"].as_str().unwrap().to_owned();
    let threads = clients.clone().map(|client| {
        let (path, etag) = (path.clone(), etag.clone());
        std::thread::spawn(move || {
            let body = format!(r#"{{"tags": ["{:p}"]}}"#, &client);
            let headers = [JSON, ("If-Match", &*etag)];
            client.send("PATCH", &path, &headers, Some(body.as_bytes())).unwrap().status
        })
    });
    let mut statuses = threads.map(|thread| thread.join().unwrap());
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 412]);
    let [told, told_too] = clients.each_ref().map(|client| client.get(&path).json());
    assert_eq!((&told, told["version"].as_u64()), (&told_too, Some(2)), "{id}");
    for server in servers {
        assert!(server.stop().success());
    }
    first.assert_clean();
}

/// A larder whose rows lie in PostgreSQL and whose files lie in a bucket alone, and another server of it on a machine of its own: they share
/// no directory.
fn over_a_bucket(bucket: &Bucket) -> Option<[Larder; 2]> {
    let (first, second) = (Larder::over_postgresql()?, Larder::new());
    let toml = fs::read_to_string(first.data().join("larder.toml")).unwrap();
    let endpoint = &bucket.endpoint;
    let toml = format!(
        "{toml}[stores.far]\nkind = \"s3\"\nbucket = \"acme\"\nendpoint = \"{endpoint}\"\naccess_key_id = \"{KEY}\"\n\
         secret_access_key = \"{SECRET}\"\ncreate_bucket = true\nrequest_seconds = 2\npart_seconds = 2\ncomplete_seconds = 2\n"
    );
    first.file("data/larder.toml", &toml);
    first.user("root", true);
    second.file("data/larder.toml", &toml);
    fs::copy(first.data().join("secrets.toml"), second.data().join("secrets.toml")).unwrap();
    Some([first, second])
}

/// Minutes that pass at once.
#[derive(Default)]
struct Fast(Mutex<Duration>);

impl Clock for Fast {
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

#[test]
fn two_servers_share_a_bucket_and_a_database_and_no_directory() {
    let bucket = Bucket::new();
    let Some([first, second]) = over_a_bucket(&bucket) else { return };
    let servers = [first.serve(), second.serve()];
    let clients = servers.each_ref().map(|server| server.client("root"));
    let file = clients[0].upload("a.txt", b"shared");
    let content = format!("/api/v1/files/{}/content", file["id"].as_str().unwrap());
    assert_eq!(clients[1].get(&content).body, b"shared");
    // A command is one more node.
    let id = second.put("b.txt", "by a command");
    assert_eq!(clients[0].get(&format!("/api/v1/files/{id}/content")).body, b"by a command");
    for larder in [&first, &second] {
        assert!(!larder.data().join("objects").exists() && !larder.data().join("nodes").exists());
    }
    let [one, other] = servers;
    assert!(other.stop().success());
    // The one that is left lives, so that the database is not to be replaced; and it goes on.
    let refused = second.run(&["rebuild"]);
    assert!(!refused.status.success() && refused.stderr.contains("another larder works over"), "{refused:?}");
    assert_eq!(clients[0].upload("c.txt", b"alone")["size"], 5);
    assert!(one.stop().success());
    first.assert_clean();
    let before = first.ok(&["dump"]);
    second.ok(&["rebuild"]);
    assert_eq!(first.ok(&["dump"]), before);
    first.lose_database();
    let refused = second.run(&["ls"]);
    assert!(!refused.status.success() && refused.stderr.contains("larder rebuild"), "{refused:?}");
    second.ok(&["rebuild"]);
    assert_eq!(first.ok(&["dump"]), before);
}

#[test]
fn a_server_that_others_took_for_dead_ends_and_takes_part_again_once_it_is_started() {
    let bucket = Bucket::new();
    let Some([larder, _]) = over_a_bucket(&bucket) else { return };
    let mut server = larder.serve();
    let root = server.client("root");
    let id = root.upload("a.txt", b"before")["id"].as_str().unwrap().to_owned();
    // Another node, for which minutes pass between two words of the server.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let ledger = SqlLedger::connect(larder.schema.as_ref().unwrap(), Open::default()).await.unwrap();
        let clock = Arc::<Fast>::default();
        let roll = LedgerRoll::sign(&ledger, NodeId::from_random([7; 16]), &[], clock.clone()).await.unwrap();
        assert_eq!(larder_ledger::nodes_on_roll(&ledger).await.unwrap(), 2);
        for _ in 0..1_000 {
            *clock.0.lock().unwrap() += Duration::from_secs(5);
            roll.raise().await.unwrap();
            if larder_ledger::nodes_on_roll(&ledger).await.unwrap() == 1 {
                break;
            }
        }
        roll.leave().await.unwrap();
        ledger.close().await;
    });
    // Whether it has noticed yet or not: nothing more comes of it.
    if let Ok(refused) = root.send("POST", "/api/v1/buckets/documents/files?name=b.txt", &[], Some(b"after")) {
        assert_eq!(refused.status, 503, "{}", refused.text());
    }
    assert_eq!(server.ended().code(), Some(1));
    assert!(
        server.said().contains("took it for dead") && server.said().contains("start it again"),
        "{}",
        server.said()
    );
    let server = larder.serve();
    let root = server.client("root");
    assert_eq!(root.get(&format!("/api/v1/files/{id}/content")).body, b"before");
    assert_eq!(root.get("/api/v1/files").json()["items"].as_array().unwrap().len(), 1);
    root.upload("b.txt", b"after");
    assert!(server.stop().success());
}

#[cfg(feature = "crash-points")]
#[test]
fn what_a_killed_node_left_is_settled_by_the_other() {
    // Before anything is to be seen, in the middle, and after the commit point.
    for point in [
        "local.stage.attributes_durable",
        "local.publish.bytes_linked",
        "local.publish.attributes_linked",
        "local.publish.synced",
    ] {
        let Some(first) = Larder::over_postgresql() else { return };
        first.user("root", true);
        let second = first.twin();
        let living = second.serve();
        let mut command = first.command(&["serve", "--listen", "127.0.0.1:0"]);
        command.env("LARDER_CRASH_POINT", point);
        let mut dying = Server::start(command).unwrap();
        let other = living.client("root");
        let mut client = other.clone();
        client.move_to(&dying);
        let put = |client: &common::Client| {
            let headers = [("Content-Type", "text/plain"), ("Idempotency-Key", "the-same")];
            client.send("POST", "/api/v1/buckets/documents/files?name=a.txt", &headers, Some(b"once"))
        };
        put(&client).expect_err("it is killed");
        assert!(common::was_killed(dying.ended()), "{point}");
        // The same request to the other node: it settles what was left, and there is one file in the end.
        let until = std::time::Instant::now() + common::DEADLINE;
        let made: Value = loop {
            let reply = put(&other).unwrap();
            match reply.status {
                201 => break reply.json(),
                409 | 503 => assert!(std::time::Instant::now() < until, "{point}: {}", reply.text()),
                _ => panic!("{point}: {} {}", reply.status, reply.text()),
            }
        };
        assert_eq!(made["sha256"].as_str().unwrap(), sha256(b"once"), "{point}");
        assert_eq!(other.get("/api/v1/files").json()["items"].as_array().unwrap().len(), 1, "{point}");
        assert!(living.stop().success());
        second.assert_clean();
    }
}
