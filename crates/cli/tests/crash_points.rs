//! Each operation killed at each named point that it passes, at the first pass, the second, and so on until it is not killed any
//! more. The next start settles each: the file is as it was or as it was to be, nothing is left over, and a rebuild agrees.
#![cfg(feature = "crash-points")]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails loudly and tells what it skips")]

mod common;

use common::{Client, Larder, Server, secrets::Told as _, sha256, was_killed};
use larder_storage_local::CRASH_POINTS;
use serde_json::Value;
use std::collections::BTreeSet;

/// What a rebuild passes beside what the store does.
const OF_A_REBUILD: [&str; 3] = ["rebuild.written", "rebuild.old_aside", "rebuild.in_place"];

/// How an operation is begun: it may end in a kill.
enum Begin {
    Command(fn(&str) -> Vec<String>),
    Request(fn(&Client, &str) -> Result<common::Reply, ureq::Error>),
}

/// An operation on the file `file`, of content `before`.
struct Operation {
    name: &'static str,
    begin: Begin,
    /// Whether it has an old revision, of the same content.
    replaced: bool,
    /// What `stat` may say of the file after a kill: by its words.
    outcomes: &'static [Outcome],
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Outcome {
    Before,
    InTrash,
    Gone,
    NewContent,
    NewName,
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

const JSON: (&str, &str) = ("Content-Type", "application/merge-patch+json");
const BYTES: (&str, &str) = ("Content-Type", "application/octet-stream");

/// Runs `operation` on copies of one larder, killed at every pass of every point; answers the points that killed.
fn kill_everywhere(operation: &Operation) -> BTreeSet<&'static str> {
    let original = Larder::new();
    original.user("root", true);
    let id = original.put("file", "before");
    original.file("new", "new content");
    // A token outlives a process, so one is enough for all copies.
    let server = original.serve();
    let mut client = server.client("root");
    if operation.replaced {
        let put = client.send("PUT", &format!("/api/v1/files/{id}/content"), &[BYTES], Some(b"before"));
        assert_eq!(put.unwrap().status, 200);
    }
    assert!(server.stop().success());
    let mut killed_at = BTreeSet::new();
    let mut kills = 0;
    for point in CRASH_POINTS.into_iter().chain(OF_A_REBUILD) {
        for pass in 1.. {
            assert!(pass < 100, "{}: {point} never ends", operation.name);
            let larder = original.copy();
            let aim = format!("{point}:{pass}");
            if !begin(&larder, operation, &id, &mut client, &aim) {
                break;
            }
            killed_at.insert(point);
            kills += 1;
            check(&larder, operation, &id, &aim);
        }
    }
    println!("{}: {kills} kills at {killed_at:?}", operation.name);
    killed_at
}

/// Says whether it was killed.
fn begin(larder: &Larder, operation: &Operation, id: &str, client: &mut Client, aim: &str) -> bool {
    let request = match operation.begin {
        Begin::Request(request) => request,
        Begin::Command(arguments) => {
            let arguments = arguments(id);
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            let output = larder.command(&arguments).env("LARDER_CRASH_POINT", aim).told();
            assert!(output.status.success() || was_killed(output.status), "{aim}: {output:?}");
            return was_killed(output.status);
        }
    };
    let mut command = larder.command(&["serve", "--listen", "127.0.0.1:0"]);
    command.env("LARDER_CRASH_POINT", aim);
    let mut server = match Server::start(command) {
        Ok(server) => server,
        Err(said) => {
            assert!(was_killed(said.status), "{said:?}");
            return true;
        }
    };
    client.move_to(&server);
    match request(client, id) {
        Ok(reply) => {
            assert!(reply.status < 300, "{aim}: {}", reply.text());
            // What follows an answer may still die: a discard, the mark.
            was_killed(server.stop())
        }
        Err(_) => {
            assert!(was_killed(server.ended()));
            true
        }
    }
}

/// The next start settles it.
fn check(larder: &Larder, operation: &Operation, id: &str, aim: &str) {
    let context = format!("{} killed at {aim}", operation.name);
    // A rebuild that was killed before it was done is asked for again.
    let said = larder.run(&["dump"]);
    if !said.status.success() {
        assert!(said.stderr.contains("larder rebuild"), "{context}: {said:?}");
        larder.ok(&["rebuild"]);
    }
    let dumped = larder.ok(&["dump"]);
    let rows = dumped.lines().map(|line| serde_json::from_str(line).unwrap());
    let files: Vec<Value> = rows.filter(|row: &Value| row["kind"] == "file").collect();
    let outcome = files.iter().find(|file| file["id"] == id).map_or(Outcome::Gone, outcome);
    assert!(operation.outcomes.contains(&outcome), "{context}: {outcome:?}");
    for file in files.iter().filter(|file| file["id"] != id) {
        assert_eq!((&file["name"], &file["sha256"]), (&"new".into(), &sha256(b"new content").into()), "{context}");
    }
    println!("{context}: {outcome:?}");
    larder.assert_clean();
    larder.ok(&["rebuild"]);
    assert_eq!(larder.ok(&["dump"]), dumped, "{context}");
}

fn outcome(file: &Value) -> Outcome {
    if !file["deleted_at"].is_null() {
        return Outcome::InTrash;
    }
    let (before, new) = (sha256(b"before"), sha256(b"new content"));
    match (file["name"].as_str().unwrap(), file["sha256"].as_str().unwrap()) {
        ("file", hash) if hash == before => Outcome::Before,
        ("file", hash) if hash == new => Outcome::NewContent,
        ("renamed", hash) if hash == before => Outcome::NewName,
        other => panic!("neither old nor new: {other:?}"),
    }
}

/// That the operation was killed at all of these points, at least.
#[track_caller]
fn assert_kills(operation: &Operation, points: &[&str]) {
    let killed_at = kill_everywhere(operation);
    let missed: Vec<_> = points.iter().filter(|point| !killed_at.contains(**point)).collect();
    assert!(missed.is_empty(), "{} never passed {missed:?}", operation.name);
}

const STAGED: [&str; 7] = [
    "local.stage.bytes_durable",
    "local.stage.attributes_durable",
    "local.publish.bytes_linked",
    "local.publish.attributes_linked",
    "local.publish.before_sync",
    "local.publish.synced",
    "local.discarded",
];
const PUT: [&str; 3] = ["local.put.written", "local.put.named", "local.put.synced"];

#[test]
fn a_create_that_is_killed_is_absent_or_whole() {
    // Another's first file is in folders that must be made.
    let begin = Begin::Command(|_| words(&["put", "new", "--owner", "root"]));
    let points = [&STAGED[..], &["local.mkdir"]].concat();
    assert_kills(&Operation { name: "create", begin, replaced: false, outcomes: &[Outcome::Before] }, &points);
}

#[test]
fn a_replace_that_is_killed_leaves_the_old_or_the_new_content() {
    let begin = Begin::Request(|client, id| {
        client.send("PUT", &format!("/api/v1/files/{id}/content"), &[BYTES], Some(b"new content"))
    });
    let outcomes = &[Outcome::Before, Outcome::NewContent];
    assert_kills(&Operation { name: "replace", begin, replaced: false, outcomes }, &STAGED);
}

#[test]
fn an_update_that_is_killed_has_happened_or_not() {
    let begin = Begin::Request(|client, id| {
        client.send("PATCH", &format!("/api/v1/files/{id}"), &[JSON], Some(br#"{"name": "renamed"}"#))
    });
    assert_kills(
        &Operation { name: "update", begin, replaced: false, outcomes: &[Outcome::Before, Outcome::NewName] },
        &PUT,
    );
}

#[test]
fn a_remove_that_is_killed_has_happened_or_not() {
    let begin = Begin::Command(|id| words(&["rm", id]));
    assert_kills(
        &Operation { name: "remove", begin, replaced: false, outcomes: &[Outcome::Before, Outcome::InTrash] },
        &PUT,
    );
}

#[test]
fn a_purge_that_is_killed_has_happened_or_not() {
    let begin = Begin::Command(|id| words(&["rm", "--purge", id]));
    let points = [&PUT[..], &["local.delete.unlinked", "local.delete.synced"]].concat();
    assert_kills(
        &Operation { name: "purge", begin, replaced: false, outcomes: &[Outcome::Before, Outcome::Gone] },
        &points,
    );
}

#[test]
fn a_purge_of_a_revision_that_is_killed_has_happened_or_not() {
    let begin = Begin::Command(|id| words(&["rm", "--purge", "--revision", "1", id]));
    let points = [&PUT[..], &["local.delete.unlinked", "local.delete.synced"]].concat();
    let name = "purge of a revision";
    assert_kills(&Operation { name, begin, replaced: true, outcomes: &[Outcome::Before] }, &points);
}

#[test]
fn a_rebuild_that_is_killed_is_finished_or_asked_for_again() {
    let begin = Begin::Command(|_| words(&["rebuild"]));
    let points = [&PUT[..], &OF_A_REBUILD].concat();
    assert_kills(&Operation { name: "rebuild", begin, replaced: false, outcomes: &[Outcome::Before] }, &points);
}
