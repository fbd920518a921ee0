//! `larder doctor`: what is well, what is not and what mends it; nothing that it makes stays.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails loudly and tells what it skips")]

mod common;

use common::{Larder, Mounted, Said, secrets::Told as _};
use rustix::fs::{FlockOperation, flock};
use serde_json::Value;
use std::{
    fs::{self, File},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::Command,
    time::{Duration, SystemTime},
};

/// A larder with a file, which nothing runs on.
fn kept() -> Larder {
    let larder = Larder::new();
    larder.put("file", "content");
    larder
}

/// What the doctor says, by its own `--json`.
fn examine(larder: &Larder) -> (Option<i32>, Vec<Value>) {
    let said = larder.run(&["doctor", "--json"]);
    let lines: Vec<Value> = said.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(!lines.is_empty(), "{said:?}");
    for line in &lines {
        let is_well = line["result"] == "ok";
        assert_eq!(is_well, line["advice"].is_null(), "what is not well has advice, and nothing else has: {line}");
    }
    (said.status.code(), lines)
}

/// That one check says so, and that everything is as it was.
#[track_caller]
fn finds(larder: &Larder, (about, check): (&str, &str), result: &str, words: &[&str]) {
    let before = larder.tree();
    let (code, lines) = examine(larder);
    assert_eq!(before, larder.tree(), "it changes nothing");
    let line = lines.iter().find(|line| line["about"] == about && line["check"] == check);
    let line = line.unwrap_or_else(|| panic!("no check `{check}` about {about}: {lines:#?}"));
    assert_eq!(line["result"], result, "{line}");
    for word in words {
        let told = format!("{} {}", line["measured"].as_str().unwrap(), line["advice"].as_str().unwrap_or_default());
        assert!(told.contains(word), "`{word}`: {line}");
    }
    let is_bad = lines.iter().any(|line| line["result"] == "problem");
    assert_eq!(code, Some(i32::from(is_bad)), "{lines:#?}");
}

fn mode(path: PathBuf, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_larder_that_is_well_has_no_problem_and_stays_as_it_was() {
    let larder = kept();
    let before = larder.tree();
    let (code, lines) = examine(&larder);
    let problems: Vec<_> = lines.iter().filter(|line| line["result"] == "problem").collect();
    assert!(code == Some(0) && problems.is_empty(), "{problems:#?}");
    assert_eq!(before, larder.tree());
    for check in [
        "open files",
        "clock",
        "server",
        "there",
        "permissions",
        "space",
        "inodes",
        "file system",
        "secrets",
        "durability",
        "schema",
        "integrity",
        "search",
        "start",
        "unread stores",
        "newest file",
        "publishing",
        "O_TMPFILE",
        "fsync",
        "reflink",
        "case",
        "long names",
        "Unicode names",
    ] {
        assert!(lines.iter().any(|line| line["check"] == check), "{check}");
    }
    let said = larder.run(&["doctor"]);
    assert!(said.stdout.contains("quick_check finds nothing") && said.stderr.contains(" 0 problems"), "{said:?}");
}

#[test]
fn where_there_is_no_larder_yet_nothing_is_wrong_and_none_is_made() {
    let larder = Larder::new();
    let (code, lines) = examine(&larder);
    assert_eq!(code, Some(0), "{lines:#?}");
    assert!(!larder.data().exists());
}

#[test]
fn where_there_is_no_larder_yet_the_disk_that_it_will_be_made_on_is_looked_at() {
    let larder = Larder::new();
    let Some(_small) = Mounted::new(larder.place(), "size=8m,mode=700") else { return };
    finds(&larder, ("data directory", "there"), "ok", &["the first start makes it in"]);
    finds(&larder, ("data directory", "space"), "problem", &["make room"]);
    finds(&larder, ("store local", "file system"), "warning", &["tmpfs", "reboot"]);
    finds(&larder, ("data directory", "permissions"), "ok", &["may write"]);
}

#[test]
fn it_works_beside_a_running_server_and_leaves_no_node_there() {
    let larder = Larder::new();
    larder.user("root", true);
    let server = larder.serve();
    let client = server.client("root");
    client.upload("before", b"content");
    finds_beside(&larder);
    client.upload("after", b"content");
    let staging = larder.data().join("objects/.larder/staging");
    let nodes = fs::read_dir(staging).unwrap().flatten().filter(|entry| entry.path().is_dir()).count();
    assert_eq!(nodes, 1);
    assert!(server.stop().success());
    larder.assert_clean();
}

fn finds_beside(larder: &Larder) {
    let (code, lines) = examine(larder);
    assert_eq!(code, Some(0), "{lines:#?}");
    let server = lines.iter().find(|line| line["check"] == "server").unwrap();
    assert_eq!(server["measured"], "one runs here");
}

#[test]
fn what_a_killed_server_left_is_no_problem_and_is_left_to_the_next_start() {
    let larder = Larder::new();
    larder.user("root", true);
    let server = larder.serve();
    server.client("root").upload("file", b"content");
    server.kill();
    assert_eq!(examine(&larder).0, Some(0));
    assert_eq!(larder.ok(&["get", "file", "-o", "-"]), "content");
    larder.assert_clean();
}

#[test]
fn what_a_killed_doctor_left_goes_and_what_another_is_at_stays() {
    let larder = kept();
    let own = larder.data().join("objects/.larder");
    let (left, fresh) = (own.join("doctor-left"), own.join("doctor-fresh"));
    for dir in [&left, &fresh] {
        fs::create_dir(dir).unwrap();
        fs::write(dir.join("case-a"), "").unwrap();
    }
    let two_hours_ago = SystemTime::now() - Duration::from_secs(2 * 60 * 60);
    File::open(&left).unwrap().set_modified(two_hours_ago).unwrap();
    assert_eq!(examine(&larder).0, Some(0));
    assert!(!left.exists() && fresh.exists());
    larder.assert_clean();
}

#[test]
fn permissions() {
    let larder = kept();
    let data = larder.data();
    mode(data.clone(), 0o755);
    finds(&larder, ("data directory", "permissions"), "warning", &["0755", "chmod 700"]);
    mode(data.clone(), 0o777);
    finds(&larder, ("data directory", "permissions"), "problem", &["0777", "chmod 700"]);
    mode(data.clone(), 0o700);
    mode(data.join("db/larder.db"), 0o644);
    finds(&larder, ("database", "permissions"), "warning", &["0644", "chmod 600"]);
    mode(data.join("db/larder.db"), 0o600);
    mode(data.join("objects"), 0o733);
    finds(&larder, ("store local", "permissions"), "problem", &["chmod 700"]);
}

#[test]
fn secrets() {
    let larder = kept();
    let secrets = larder.data().join("secrets.toml");
    mode(secrets.clone(), 0o640);
    finds(&larder, ("data directory", "secrets"), "problem", &["can be read by others", "chmod 600"]);
    mode(secrets.clone(), 0o600);
    fs::write(&secrets, format!("master = \"{}\"", "4f".repeat(31) + "50")).unwrap();
    finds(&larder, ("database", "start"), "problem", &["another installation's", "--without-secrets"]);
    fs::remove_file(&secrets).unwrap();
    finds(&larder, ("data directory", "secrets"), "problem", &["is missing", "backup"]);
}

#[test]
fn an_older_database_a_missing_one_and_a_damaged_one() {
    let larder = kept();
    let database = larder.data().join("db/larder.db");
    let older = fs::read(&database).unwrap();
    larder.put("newer", "newer content");
    let newer = fs::read(&database).unwrap();
    fs::write(&database, &older).unwrap();
    finds(&larder, ("database", "start"), "problem", &["older copy", "larder rebuild"]);
    fs::write(&database, b"no database at all, but long enough to look like one").unwrap();
    finds(&larder, ("database", "opens"), "problem", &["damaged", "larder rebuild"]);
    fs::remove_file(&database).unwrap();
    finds(&larder, ("database", "there"), "problem", &["database is missing", "larder rebuild"]);
    fs::write(&database, newer).unwrap();
    mode(database, 0o600);
    assert_eq!(examine(&larder).0, Some(0));
}

#[test]
fn a_store_that_is_away() {
    let larder = kept();
    fs::rename(larder.data().join("objects"), larder.place().join("away")).unwrap();
    finds(&larder, ("store local", "there"), "problem", &["mount its disk at", "backup"]);
    finds(&larder, ("database", "start"), "problem", &["`local`"]);
    let said = larder.run(&["doctor"]).stdout;
    assert!(!said.contains("rebuild --without"), "there is nothing to rebuild from: {said}");
    // An empty place where a disk is not mounted.
    fs::create_dir(larder.data().join("objects")).unwrap();
    finds(&larder, ("database", "start"), "problem", &["`local`"]);
}

#[test]
fn what_a_start_would_refuse_in_the_configuration() {
    let larder = kept();
    fs::write(larder.data().join("larder.toml"), "[stores.local]\n[buckets.documents]\nwrite_copies = 2\n").unwrap();
    finds(&larder, ("database", "start"), "problem", &["`documents`", "write_copies"]);
}

#[test]
fn a_store_that_the_database_was_made_without() {
    let larder = Larder::new();
    let far = larder.place().join("far");
    fs::create_dir_all(larder.data()).unwrap();
    let toml =
        format!("[stores.local]\n[stores.far]\npath = \"{}\"\n[buckets.images]\nplacement = \"far\"\n", far.display());
    fs::write(larder.data().join("larder.toml"), toml).unwrap();
    larder.put("file", "content");
    fs::rename(&far, larder.place().join("away")).unwrap();
    larder.ok(&["rebuild", "--without", "far"]);
    finds(&larder, ("database", "unread stores"), "warning", &["made without the store `far`", "larder rebuild"]);
    finds(&larder, ("store far", "there"), "problem", &["mount its disk at", "larder rebuild --without far"]);
}

#[test]
fn a_rebuild_that_is_at_work_is_left_alone() {
    let larder = kept();
    let lock = File::open(larder.data().join("lock")).unwrap();
    flock(&lock, FlockOperation::NonBlockingLockExclusive).unwrap();
    finds(&larder, ("database", "there"), "warning", &["a rebuild is at work"]);
}

#[test]
fn few_open_files_are_a_warning() {
    let larder = kept();
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -n 500 && exec \"$0\" doctor --json"]).arg(env!("CARGO_BIN_EXE_larder"));
    let output = limited.env("LARDER_DATA", larder.data()).current_dir(larder.place()).told();
    let said = String::from_utf8(output.stdout).unwrap();
    let line = said.lines().find(|line| line.contains("open files")).unwrap();
    assert!(output.status.success() && line.contains("warning") && line.contains("LimitNOFILE"), "{said}");
}

#[test]
fn one_store_alone() {
    let larder = kept();
    let stdout = larder.ok(&["doctor", "--json", "--store", "local"]);
    assert!(stdout.lines().all(|line| line.contains("\"store local\"")), "{stdout}");
    let Said { status, stderr, .. } = larder.run(&["doctor", "--store", "away"]);
    assert!(status.code() == Some(1) && stderr.contains("`away`") && stderr.contains("`local`"), "{stderr}");
}

#[test]
fn a_disk_that_is_full_or_read_only() {
    let larder = kept();
    let store = larder.data().join("objects");
    let Some(small) = Mounted::new(&store, "size=8m,mode=700") else { return };
    finds(&larder, ("store local", "space"), "problem", &["make room"]);
    finds(&larder, ("store local", "file system"), "warning", &["tmpfs", "reboot"]);
    drop(small);
    let Some(_read_only) = Mounted::new(&store, "ro,size=8m,mode=700") else { return };
    finds(&larder, ("store local", "file system"), "problem", &["read-only"]);
    finds(&larder, ("store local", "writable"), "problem", &["nothing can be made"]);
}
