//! Every refusal at a start: it says what, where and what mends it, exits with 1, and has changed nothing.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails loudly and tells what it skips")]

mod common;

use common::{Larder, Mounted, secrets::Told as _};
use std::{
    fs::{self, Permissions},
    net::TcpListener,
    os::unix::{
        fs::{PermissionsExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::Command,
};

const SERVE: [&str; 3] = ["serve", "--listen", "127.0.0.1:0"];

/// Runs what must be refused: with these words, and with everything as it was.
#[track_caller]
fn refused(larder: &Larder, arguments: &[&str], words: &[&str]) {
    let before = larder.tree();
    let said = larder.run(arguments);
    assert_eq!(said.status.code(), Some(1), "{arguments:?}: {said:?}");
    assert!(said.stdout.is_empty(), "{said:?}");
    for word in words {
        assert!(said.stderr.contains(word), "{arguments:?} lacks `{word}`: {}", said.stderr);
    }
    let after = larder.tree();
    let paths = |tree: &std::collections::BTreeMap<PathBuf, String>| tree.keys().cloned().collect::<Vec<_>>();
    assert_eq!(paths(&before), paths(&after), "{arguments:?}");
    assert_eq!(before, after, "{arguments:?}");
}

/// A larder with a file, which nothing runs on.
fn kept() -> Larder {
    let larder = Larder::new();
    larder.put("file", "content");
    larder
}

fn configure(larder: &Larder, toml: &str) {
    fs::create_dir_all(larder.data()).unwrap();
    fs::write(larder.data().join("larder.toml"), toml).unwrap();
}

#[test]
fn a_port_that_is_taken() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for larder in [Larder::new(), kept()] {
        refused(&larder, &["serve", "--listen", &address], &[&address, "larder serve --listen"]);
    }
}

#[test]
fn an_address_that_is_none() {
    refused(&Larder::new(), &["serve", "--listen", "nowhere"], &["`nowhere`", "--listen 127.0.0.1:8080"]);
}

#[test]
fn a_configuration_key_that_nobody_knows() {
    let larder = Larder::new();
    configure(&larder, "[stores.local]\npth = \"objects\"\n");
    for arguments in [&SERVE[..], &["ls"], &["put", "larder.toml"], &["rebuild"]] {
        refused(&larder, arguments, &["`stores.local.pth`", "`stores.local.path`", "larder.toml"]);
    }
}

#[test]
fn a_variable_that_nobody_knows_or_that_has_a_wrong_value() {
    let larder = Larder::new();
    for (variable, value, words) in [
        ("LARDER_LISTN", "x", &["LARDER_LISTN", "did you mean `listen`"][..]),
        ("LARDER_BUCKETS__DOCUMENTS__MAX_BYTES", "much", &["buckets.documents.max_bytes", "LARDER_BUCKETS__", "16GiB"]),
        ("LARDER_PLACEMENT", "[away]", &["unknown store `away`", "`local`"]),
    ] {
        let output = larder.command(&SERVE).env(variable, value).told();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{variable}");
        assert!(words.iter().all(|word| stderr.contains(word)), "{stderr}");
        assert!(!larder.data().exists());
    }
}

#[test]
fn variables_that_an_orchestrator_sets_beside_a_service_of_this_name_refuse_nobody() {
    let larder = kept();
    let mut command = larder.command(&["get", "file", "-o", "-"]);
    for (variable, value) in [
        ("LARDER_SERVICE_HOST", "10.0.0.7"),
        ("LARDER_SERVICE_PORT", "8080"),
        ("LARDER_SERVICE_PORT_HTTP", "8080"),
        ("LARDER_PORT", "tcp://10.0.0.7:8080"),
        ("LARDER_PORT_8080_TCP", "tcp://10.0.0.7:8080"),
        ("LARDER_PORT_8080_TCP_ADDR", "10.0.0.7"),
        ("LARDER_NAME", "/web/larder"),
        ("LARDER_ENV_LANG", "C"),
    ] {
        command.env(variable, value);
    }
    let output = command.told();
    assert!(output.status.success() && output.stdout == b"content", "{output:?}");
}

#[test]
fn a_configuration_file_that_is_not_there() {
    refused(&Larder::new(), &["ls", "--config", "other.toml"], &["other.toml", "--config"]);
}

#[test]
fn a_directory_without_a_larder_is_not_made_into_one_by_looking_at_it() {
    let larder = Larder::new();
    for arguments in [&["ls"][..], &["dump"], &["fsck"], &["stat", "x"], &["rm", "x"], &["rebuild"], &["user", "list"]]
    {
        refused(&larder, arguments, &["there is no larder in", "--data"]);
    }
    fs::create_dir(larder.data()).unwrap();
    refused(&larder, &["ls"], &["there is no larder in", "larder serve"]);
}

#[test]
fn a_data_directory_that_is_a_file() {
    let larder = Larder::new();
    larder.file("data", "");
    refused(&larder, &SERVE, &["data", "--data DIR"]);
}

#[test]
fn a_directory_that_is_not_writable() {
    let larder = Larder::new();
    fs::create_dir(larder.data()).unwrap();
    let Some(_read_only) = Mounted::new(&larder.data(), "ro,size=64k,mode=700") else { return };
    refused(&larder, &SERVE, &["data", "--data DIR"]);
}

#[test]
fn a_store_in_which_only_larders_own_folder_is_writable() {
    let larder = kept();
    let objects = larder.data().join("objects");
    let mut command = larder.command(&SERVE);
    // Who may do everything is refused nothing: it is somebody else's process then.
    if rustix::process::geteuid().is_root() {
        const NOBODY: u32 = 65_534;
        let own = |path: &Path| chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
        let mut paths = vec![larder.place().to_path_buf()];
        while let Some(path) = paths.pop() {
            own(&path);
            if path.is_dir() {
                paths.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            }
        }
        chown(&objects, Some(0), Some(0)).unwrap();
        fs::set_permissions(&objects, Permissions::from_mode(0o755)).unwrap();
        // Where the binary lies only its own user may look.
        let (program, link) = (env!("CARGO_BIN_EXE_larder"), larder.place().join("larder"));
        fs::hard_link(program, &link).or_else(|_| fs::copy(program, &link).map(drop)).unwrap();
        command = Command::new(link);
        command.args(SERVE).env("LARDER_DATA", larder.data()).uid(NOBODY).gid(NOBODY);
    } else {
        fs::set_permissions(&objects, Permissions::from_mode(0o555)).unwrap();
    }
    let told = command.told();
    let said = String::from_utf8_lossy(&told.stderr);
    assert_eq!(told.status.code(), Some(1), "{said}");
    assert!(said.contains("cannot write") && said.contains("objects") && said.contains("run as user"), "{said}");
    fs::set_permissions(&objects, Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_full_disk() {
    let larder = Larder::new();
    fs::create_dir(larder.data()).unwrap();
    let Some(_small) = Mounted::new(&larder.data(), "size=64k,mode=700") else { return };
    refused(&larder, &SERVE, &["data"]);
    assert_eq!(fs::read_dir(larder.data()).unwrap().count(), 0);
}

#[test]
fn a_missing_database_over_files() {
    let larder = kept();
    fs::remove_dir_all(larder.data().join("db")).unwrap();
    let file = larder.file("another", "");
    for arguments in [&SERVE[..], &["ls"], &["put", &file], &["fsck"], &["dump"], &["rm", "file"], &["user", "list"]] {
        refused(&larder, arguments, &["the database is missing", "objects", "larder rebuild"]);
    }
    let mut command = larder.command(&SERVE);
    command.arg("--rebuild");
    let server = common::Server::start(command).expect("it rebuilds and serves");
    assert!(server.said().contains("1 file,"), "{}", server.said());
    assert!(server.stop().success());
    assert_eq!(larder.ok(&["get", "file", "-o", "-"]), "content");
}

#[test]
fn a_second_server() {
    let larder = kept();
    let server = larder.serve();
    let said = larder.run(&SERVE);
    assert_eq!(said.status.code(), Some(1));
    assert!(said.stderr.contains("another server runs in") && said.stderr.contains("--data DIR"), "{said:?}");
    let said = larder.run(&["rebuild"]);
    assert_eq!(said.status.code(), Some(1));
    assert!(said.stderr.contains("wants to be alone"), "{said:?}");
    assert!(server.stop().success());
}

#[test]
fn a_rebuild_from_a_copy_of_the_data_directory_while_a_server_works_on_the_store() {
    let (first, copy) = (kept(), Larder::new());
    let server = first.serve();
    let store = first.data().join("objects");
    configure(&copy, &format!("[stores.local]\npath = \"{}\"\n", store.display()));
    fs::copy(first.data().join("secrets.toml"), copy.data().join("secrets.toml")).unwrap();
    refused(&copy, &["rebuild"], &["another larder works on the store", store.to_str().unwrap()]);
    assert!(server.stop().success());
    copy.ok(&["rebuild"]);
}

#[test]
fn a_database_that_vanished_under_a_server() {
    let larder = kept();
    let server = larder.serve();
    fs::remove_dir_all(larder.data().join("db")).unwrap();
    let said = larder.run(&["ls"]);
    assert!(said.status.code() == Some(1) && said.stderr.contains("larder rebuild"), "{said:?}");
    drop(server);
}

#[test]
fn another_installation_on_the_store() {
    let (first, second) = (kept(), Larder::new());
    let store = first.data().join("objects");
    configure(&second, &format!("[stores.local]\npath = \"{}\"\n", store.display()));
    let before = first.tree();
    refused(&second, &SERVE, &[store.to_str().unwrap(), "installation", "[stores.local]"]);

    let third = kept();
    configure(&third, &format!("[stores.local]\npath = \"{}\"\n", store.display()));
    refused(&third, &SERVE, &["installation", store.to_str().unwrap()]);
    assert_eq!(first.tree(), before);
}

#[test]
fn a_start_that_fails_once_a_store_was_marked_can_be_tried_again() {
    for larder in [Larder::new(), kept()] {
        let stores = "[stores.local]\n[stores.more]\npath = \"more\"\n[stores.old]\npath = \"old\"\n";
        // A new store that takes nothing is refused after those before it were introduced.
        configure(&larder, &format!("{stores}mode = \"ro\"\n"));
        for _ in 0..2 {
            let said = larder.run(&SERVE);
            assert!(said.status.code() == Some(1) && said.stderr.contains("give it the mode `edit` once"), "{said:?}");
        }
        assert!(larder.data().join("more/.larder/instance.json").exists());
        configure(&larder, stores);
        larder.put("more", "more content");
        assert_eq!(larder.ok(&["get", "more", "-o", "-"]), "more content");
        larder.assert_clean();
        larder.assert_rebuilds_equal();
    }
}

#[test]
fn two_stores_in_one_place() {
    for larder in [Larder::new(), kept()] {
        configure(&larder, "[stores.local]\npath = \"objects\"\n[stores.twin]\npath = \"./objects\"\n");
        refused(&larder, &SERVE, &["`local`", "`twin`", "same place"]);
    }
}

#[test]
fn a_store_in_another_or_around_the_data_directory() {
    for (path, twin, words) in [
        ("objects", "objects/twin", ["`twin`", "lies inside the store `local`"]),
        ("objects/own", "objects", ["`local`", "lies inside the store `twin`"]),
        ("..", "twin", ["`local`", "holds the data directory"]),
        (".", "twin", ["`local`", "holds the data directory"]),
    ] {
        let larder = Larder::new();
        configure(&larder, &format!("[stores.local]\npath = \"{path}\"\n[stores.twin]\npath = \"{twin}\"\n"));
        refused(&larder, &SERVE, &words);
        refused(&larder, &["config", "check"], &words);
    }
}

#[test]
fn a_store_that_is_not_mounted() {
    let larder = kept();
    let objects = larder.data().join("objects");
    fs::rename(&objects, larder.place().join("unmounted")).unwrap();
    refused(&larder, &SERVE, &["`local`", "mount its disk at", "objects", "backup", "\"A store that is away\""]);
    fs::create_dir(&objects).unwrap();
    fs::set_permissions(&objects, fs::Permissions::from_mode(0o700)).unwrap();
    refused(&larder, &["ls"], &["`local`", "mount its disk at", "objects"]);
    let said = larder.run(&["ls"]).stderr;
    assert!(!said.contains("rebuild"), "there is nothing to rebuild from: {said}");
    assert!(said.lines().count() == 2 && said.lines().all(|line| line.len() < 480), "what, and what to do: {said}");
}

#[test]
fn a_store_that_is_not_configured_any_more() {
    let larder = Larder::new();
    configure(&larder, "[stores.local]\n[stores.second]\npath = \"second\"\n");
    larder.put("file", "content");
    configure(&larder, "[stores.local]\n");
    let back =
        "put `[stores.second]` back into the configuration, with what it had: a `path`, or a `kind` and a `bucket`";
    refused(&larder, &SERVE, &["`second`", "is not configured", back, "larder rebuild --forget second"]);
}

#[test]
fn missing_foreign_open_and_broken_secrets() {
    let (larder, other) = (kept(), kept());
    let secrets = larder.data().join("secrets.toml");
    let right = fs::read(&secrets).unwrap();
    fs::remove_file(&secrets).unwrap();
    for arguments in [&SERVE[..], &["ls"], &["rebuild"]] {
        refused(&larder, arguments, &["secrets.toml is missing", "backup", "larder rebuild --without-secrets"]);
    }
    fs::copy(other.data().join("secrets.toml"), &secrets).unwrap();
    for arguments in [&SERVE[..], &["ls"], &["rebuild"]] {
        refused(
            &larder,
            arguments,
            &["secrets.toml", "another installation's", "backup", "larder rebuild --without-secrets"],
        );
    }
    fs::write(&secrets, "master = \"changeme\"\n").unwrap();
    refused(&larder, &SERVE, &["secrets.toml", "64 hexadecimal digits"]);
    fs::write(&secrets, &right).unwrap();
    fs::set_permissions(&secrets, fs::Permissions::from_mode(0o644)).unwrap();
    refused(&larder, &SERVE, &["secrets.toml", "chmod 600"]);
    fs::set_permissions(&secrets, fs::Permissions::from_mode(0o600)).unwrap();
    larder.assert_clean();
}

#[test]
fn a_damaged_database() {
    let larder = kept();
    fs::write(larder.data().join("db/larder.db"), "this is no database at all").unwrap();
    for arguments in [&SERVE[..], &["ls"]] {
        refused(&larder, arguments, &["larder.db", "damaged", "larder rebuild"]);
    }
    larder.ok(&["rebuild"]);
    assert_eq!(larder.ok(&["get", "file", "-o", "-"]), "content");
}

#[test]
fn an_older_database() {
    let larder = kept();
    let older = larder.place().join("older");
    fs::create_dir(&older).unwrap();
    fs::copy(larder.data().join("db/larder.db"), older.join("larder.db")).unwrap();
    larder.put("newer", "newer content");
    fs::copy(older.join("larder.db"), larder.data().join("db/larder.db")).unwrap();
    for arguments in [&SERVE[..], &["ls"]] {
        refused(&larder, arguments, &["older copy", "larder rebuild", "db"]);
    }
    larder.ok(&["rebuild"]);
    assert_eq!(larder.ok(&["get", "newer", "-o", "-"]), "newer content");
}

#[test]
fn a_database_of_a_newer_version() {
    let larder = kept();
    let database = larder.data().join("db/larder.db");
    let made = Command::new("python3")
        .args([
            "-c",
            "import sqlite3,sys; c=sqlite3.connect(sys.argv[1]); \
            c.execute(\"insert into seaql_migrations values ('m99990101_000001_future', 0)\"); c.commit(); \
            c.execute('pragma wal_checkpoint(truncate)'); c.close()",
        ])
        .arg(&database)
        .status();
    if !made.is_ok_and(|status| status.success()) {
        println!("skipped: no python3 to change the database with");
        return;
    }
    refused(&larder, &SERVE, &["newer version", "m99990101_000001_future", "larder.db"]);
}

#[test]
fn a_directory_of_another_user() {
    if rustix::process::geteuid().is_root() {
        println!("skipped: root writes everywhere");
        return;
    }
    let larder = Larder::new();
    fs::create_dir(larder.data()).unwrap();
    fs::set_permissions(larder.data(), fs::Permissions::from_mode(0o500)).unwrap();
    refused(&larder, &SERVE, &["--data DIR"]);
}
