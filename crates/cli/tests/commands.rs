//! Each command of the real binary on a directory of its own.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails loudly and tells what it skips")]

mod common;

use common::{Client, DEADLINE, Larder, PASSWORD, Server, secrets::Told as _, sha256};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use serde_json::{Value, json};
use std::{
    fs,
    io::Read,
    os::{
        fd::OwnedFd,
        unix::fs::{MetadataExt, PermissionsExt},
    },
    path::PathBuf,
    process::Stdio,
    time::Instant,
};

fn lines(text: &str) -> Vec<&str> {
    text.lines().collect()
}

fn records(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_file_comes_back_as_it_was_put() {
    let larder = Larder::new();
    for (name, content) in [("empty", vec![]), ("small", b"hello".to_vec()), ("large", vec![7; 3 << 20])] {
        let id = larder.put(name, &content);
        let place = larder.place().join("back");
        larder.ok(&["get", &id, "-o", place.to_str().unwrap(), "--force"]);
        assert_eq!(fs::read(&place).unwrap(), content);
    }
    assert_eq!(larder.ok(&["get", "small", "-o", "-"]), "hello");
    larder.assert_clean();
    larder.assert_rebuilds_equal();
}

#[test]
fn standard_input_is_put_under_the_name_that_it_is_given() {
    let larder = Larder::new();
    let said = larder.feed(&["put", "-", "--name", "notes/today.txt", "--tag", "a", "--metadata", "n:=1"], b"words");
    assert!(said.status.success(), "{said:?}");
    let record = &records(&larder.ok(&["stat", "notes/today.txt", "--json"]))[0];
    assert_eq!(record["id"], said.stdout.trim());
    assert_eq!((record["size"].as_u64(), record["tags"][0].as_str()), (Some(5), Some("a")));
    assert_eq!(record["metadata"]["n"], 1);
    assert_eq!(record["sha256"], sha256(b"words"));
}

#[test]
fn a_name_that_is_taken_is_kept_twice_replaced_or_refused() {
    let larder = Larder::new();
    fs::create_dir_all(larder.data()).unwrap();
    fs::write(larder.data().join("larder.toml"), "[buckets.wiki]\nnames = \"unique\"\n").unwrap();
    let put = |bucket: &str, choice: &[&str], content: &str| {
        larder.feed(&[&["put", "-", "--name", "a", "--bucket", bucket], choice].concat(), content.as_bytes())
    };
    let id = put("documents", &["--on-conflict", "fail"], "one").stdout.trim().to_owned();
    let refused = put("documents", &["--on-conflict", "fail"], "two");
    assert_eq!(refused.status.code(), Some(1));
    assert!(refused.stderr.contains("`a` is taken") && refused.stderr.contains(&id), "{}", refused.stderr);
    assert_eq!(put("documents", &["--on-conflict", "replace"], "three").stdout.trim(), id);
    assert_eq!(larder.ok(&["get", &id, "-o", "-"]), "three");
    assert_ne!(put("documents", &["--on-conflict", "keep_both"], "four").stdout.trim(), id);
    assert!(put("wiki", &[], "one").status.success());
    assert_eq!(put("wiki", &[], "two").status.code(), Some(1));
    larder.assert_clean();
    larder.assert_rebuilds_equal();
}

#[test]
fn a_directory_keeps_its_relative_paths_and_a_bad_file_does_not_stop_the_others() {
    let larder = Larder::new();
    for number in 0..40 {
        larder.file(&format!("tree/{}/{number}", number % 3), number.to_string());
    }
    std::os::unix::fs::symlink("nowhere", larder.place().join("tree/dangling")).unwrap();
    let said = larder.run(&["put", "tree"]);
    assert_eq!(said.status.code(), Some(1), "{said:?}");
    assert!(said.stderr.contains("dangling"), "{}", said.stderr);
    assert_eq!(lines(&said.stdout).len(), 40);
    let listed = records(&larder.ok(&["ls", "--json", "--prefix", "2/"]));
    assert_eq!(listed.len(), 13);
    assert_eq!(larder.ok(&["get", "1/4", "-o", "-"]), "4");
    larder.assert_clean();
}

#[test]
fn what_is_larders_own_is_never_put() {
    let larder = Larder::new();
    let store = larder.place().join("elsewhere/store");
    fs::create_dir_all(larder.data()).unwrap();
    fs::create_dir_all(&store).unwrap();
    let toml = format!("[stores.local]\n[stores.far]\npath = \"{}\"\n", store.display());
    fs::write(larder.data().join("larder.toml"), toml).unwrap();
    larder.put("before", "1");
    let server = larder.serve();

    let said = larder.run(&["put", "."]);
    assert!(said.status.success(), "{said:?}");
    for place in ["./data", "./elsewhere/store"] {
        assert!(said.stderr.contains(place), "{said:?}");
    }
    let names = |larder: &Larder| {
        let mut names: Vec<_> =
            records(&larder.ok(&["ls", "--json"])).iter().map(|file| file["name"].to_string()).collect();
        names.sort();
        names
    };
    assert_eq!(names(&larder), ["\"before\"", "\"before\""]);

    fs::hard_link(larder.data().join("db/larder.db"), larder.place().join("another-name")).unwrap();
    std::os::unix::fs::symlink("data/secrets.toml", larder.place().join("link")).unwrap();
    std::os::unix::fs::symlink("data/objects", larder.place().join("linked-store")).unwrap();
    for own in ["data", "data/db", "data/db/larder.db", "data/secrets.toml", "another-name", "link", "linked-store"] {
        let said = larder.run(&["put", own]);
        assert!(said.status.code() == Some(1) && said.stderr.contains("own"), "{own}: {said:?}");
    }
    let database = fs::File::open(larder.data().join("db/larder.db")).unwrap();
    let said = larder.command(&["put", "-", "--name", "x"]).stdin(database).told();
    assert_eq!(said.status.code(), Some(1), "{said:?}");
    assert_eq!(names(&larder).len(), 2);
    assert!(server.stop().success());
    fs::remove_file(larder.place().join("another-name")).unwrap();
    larder.assert_clean();
}

#[test]
fn get_never_writes_over_a_file_unless_it_is_told_to() {
    let larder = Larder::new();
    let id = larder.put("sub/report.txt", "new");
    larder.file("report.txt", "mine");
    let said = larder.run(&["get", &id]);
    assert_eq!(said.status.code(), Some(1));
    assert!(said.stderr.contains("--force"), "{}", said.stderr);
    assert_eq!(fs::read_to_string(larder.place().join("report.txt")).unwrap(), "mine");
    larder.ok(&["get", &id, "--force"]);
    assert_eq!(fs::read_to_string(larder.place().join("report.txt")).unwrap(), "new");
    let left = fs::read_dir(larder.place())
        .unwrap()
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(".larder-"));
    assert_eq!(left.count(), 0);
}

#[test]
fn damaged_content_is_not_written() {
    let larder = Larder::new();
    let id = larder.put("precious", "precious content");
    let key = find(&larder, |path| path.ends_with(".attr.json")).trim_end_matches(".attr.json").to_owned();
    fs::write(&key, "precious kontent").unwrap();
    assert_eq!(larder.run(&["fsck"]).status.code(), Some(0), "sizes are right");
    let said = larder.run(&["fsck", "--verify", "--json"]);
    assert_eq!(said.status.code(), Some(1));
    assert_eq!(records(&said.stdout)[0]["kind"], "hash_mismatch");
    let said = larder.run(&["get", &id, "-o", "back"]);
    assert_eq!(said.status.code(), Some(1), "{said:?}");
    assert!(!larder.place().join("back").exists());
}

#[test]
fn an_index_of_names_that_somebody_spoilt_is_told_and_made_anew() {
    let larder = Larder::new();
    larder.put("report.txt", "found");
    assert_eq!(larder.run(&["fsck"]).status.code(), Some(0));
    let spoilt = std::process::Command::new("python3")
        .args([
            "-c",
            "import sqlite3,sys; c=sqlite3.connect(sys.argv[1]); \
            c.execute(\"insert into letters (rowid, name, owner) values (77, 'nobody', 'X01')\"); c.commit(); c.close()",
        ])
        .arg(larder.data().join("db/larder.db"))
        .status();
    if !spoilt.is_ok_and(|status| status.success()) {
        println!("skipped: no python3 to change the database with");
        return;
    }
    let said = larder.run(&["fsck", "--json"]);
    assert_eq!((said.status.code(), &records(&said.stdout)[0]["kind"]), (Some(1), &"index_differs".into()), "{said:?}");
    larder.run(&["fsck", "--repair"]);
    assert_eq!(larder.run(&["fsck"]).status.code(), Some(0));
}

fn find(larder: &Larder, is: impl Fn(&str) -> bool) -> String {
    let tree = larder.tree();
    let mut paths = tree.keys().map(|path| path.to_str().unwrap());
    paths.find(|path| path.contains("/documents/") && is(path)).unwrap().to_owned()
}

#[test]
fn a_name_that_several_bear_is_answered_with_their_ids() {
    let larder = Larder::new();
    let ids = [larder.put("a/twin", "1"), larder.put("b/twin", "2")];
    let said = larder.run(&["get", "twin"]);
    assert_eq!(said.status.code(), Some(1));
    assert!(said.stdout.is_empty() && ids.iter().all(|id| said.stderr.contains(id)), "{said:?}");
    assert_eq!(larder.ok(&["get", &ids[1], "-o", "-"]), "2");
}

#[test]
fn the_trash_gives_back_and_a_purge_does_not() {
    let larder = Larder::new();
    let (kept, purged) = (larder.put("kept", "1"), larder.put("purged", "2"));
    larder.ok(&["rm", "kept"]);
    assert!(larder.ok(&["ls", "--deleted"]).contains(&kept));
    assert_eq!(larder.run(&["get", &kept, "-o", "-"]).status.code(), Some(1));
    larder.ok(&["restore", &kept]);
    larder.ok(&["rm", "--purge", &purged]);
    assert_eq!(larder.ok(&["get", &kept, "-o", "-"]), "1");
    let listed = larder.ok(&["ls"]);
    assert!(listed.contains(&kept) && !listed.contains(&purged));
    assert_eq!(larder.run(&["restore", &purged]).status.code(), Some(1));
    larder.assert_clean();
    larder.assert_rebuilds_equal();
    assert_eq!(larder.run(&["stat", &purged]).status.code(), Some(1));
}

#[test]
fn an_old_revision_is_purged_by_its_number() {
    let larder = Larder::new();
    let id = larder.put("file", "first");
    larder.user("root", true);
    let server = larder.serve();
    let headers = [("Content-Type", "application/octet-stream")];
    let put = server.client("root").send("PUT", &format!("/api/v1/files/{id}/content"), &headers, Some(b"second"));
    assert_eq!(put.unwrap().status, 200);
    assert!(server.stop().success());
    assert_eq!(larder.run(&["rm", "--revision", "1", &id]).status.code(), Some(2), "it is for ever: say so");
    let newest = larder.run(&["rm", "--purge", "--revision", "2", &id]);
    assert!(newest.status.code() == Some(1) && newest.stderr.contains("newest"), "{newest:?}");
    assert_eq!(larder.ok(&["rm", "--purge", "--revision", "1", &id]).trim(), id);
    assert_eq!(larder.run(&["rm", "--purge", "--revision", "1", &id]).status.code(), Some(1));
    assert_eq!(larder.ok(&["get", &id, "-o", "-"]), "second");
    let kept = larder.tree().keys().filter(|path| path.to_str().unwrap().contains("/file_local_")).count();
    assert_eq!(kept, 2, "bytes and attributes of the newest");
    larder.assert_clean();
    larder.assert_rebuilds_equal();
}

#[test]
fn lost_secrets_are_no_lost_larder() {
    let larder = Larder::new();
    larder.user("anna", true);
    let id = larder.serve().client("anna").upload("file", b"content")["id"].as_str().unwrap().to_owned();
    let secrets = larder.data().join("secrets.toml");
    let rows = |larder: &Larder| {
        let dumped = larder.ok(&["dump"]);
        dumped
            .lines()
            .filter(|line| line.contains("\"id\":\"0") && line.contains("\"file\""))
            .collect::<Vec<_>>()
            .join("\n")
    };
    let before = rows(&larder);
    std::fs::remove_file(&secrets).unwrap();
    assert_eq!(larder.run(&["rebuild"]).status.code(), Some(1));
    larder.ok(&["rebuild", "--without-secrets"]);
    assert_eq!(rows(&larder), before);
    // The database told of everybody: their passwords are as they were.
    let content = larder.serve().client("anna").get(&format!("/api/v1/files/{id}/content"));
    assert_eq!((content.status, &*content.body), (200, &b"content"[..]));
    larder.assert_clean();
    larder.assert_rebuilds_equal();

    std::fs::remove_file(&secrets).unwrap();
    std::fs::remove_dir_all(larder.data().join("db")).unwrap();
    let said = larder.run(&["ls"]);
    assert!(said.stderr.contains("larder rebuild --without-secrets"), "{said:?}");
    let said = larder.run(&["rebuild", "--without-secrets"]);
    assert!(said.status.success() && said.stderr.contains("larder user passwd"), "{said:?}");
    assert!(larder.ok(&["user", "list"]).contains("can't log in"));
    assert!(larder.ok(&["setup-link"]).contains("/setup#"), "nobody who can log in is an admin");
    let said = larder.feed(&["user", "passwd", "anna", "--password-stdin"], b"another password\n");
    assert!(said.status.success() && !larder.ok(&["user", "list"]).contains("can't log in"), "{said:?}");
    assert_eq!(larder.ok(&["get", &id, "-o", "-"]), "content");
    larder.assert_clean();
    larder.assert_rebuilds_equal();
}

#[test]
fn what_json_prints_is_what_the_server_answers() {
    let larder = Larder::new();
    let id = larder.put("one", "1");
    larder.user("anna", true);
    let server = larder.serve();
    let answered = server.client("anna").get(&format!("/api/v1/files/{id}")).json();
    assert_eq!(records(&larder.ok(&["stat", &id, "--json"]))[0], answered);
    assert_eq!(records(&larder.ok(&["ls", "--json"])), [answered]);
}

#[test]
fn commands_work_beside_a_running_server() {
    let larder = Larder::new();
    let server = larder.serve();
    larder.user("anna", false);
    let client = server.client("anna");
    let id = client.upload("hers", b"from http")["id"].as_str().unwrap().to_owned();
    assert_eq!(larder.ok(&["get", &id, "-o", "-"]), "from http");
    let path = larder.file("beside", "from the command line");
    let id = larder.ok(&["put", &path, "--owner", "anna"]).trim().to_owned();
    assert_eq!(client.get(&format!("/api/v1/files/{id}/content")).body, b"from the command line");
    let mine = larder.put("mine", "not hers");
    assert_eq!(client.get(&format!("/api/v1/files/{mine}")).status, 404);
    assert!(server.stop().success());
    larder.assert_clean();
}

#[test]
fn a_wrong_call_exits_with_2_and_makes_nothing() {
    let larder = Larder::new();
    let file = larder.file("file", "");
    let before = larder.tree();
    for arguments in [
        &["put"][..],
        &["frobnicate"],
        &["put", "-"],
        &["put", "-", "-", "--name", "x"],
        &["put", &file, &file, "--name", "x"],
        &["put", &file, "--metadata", "novalue"],
        &["user", "add", "Not A Name", "--password-stdin"],
        &["user", "add", "short", "--password-stdin"],
        &["ls", "--color", "sometimes"],
    ] {
        let said = larder.run(arguments);
        assert_eq!(said.status.code(), Some(2), "{arguments:?}: {said:?}");
        assert!(said.stdout.is_empty() && !said.stderr.is_empty());
    }
    assert_eq!(larder.tree(), before);
}

#[test]
fn what_is_not_there_exits_with_1_and_says_its_name() {
    let larder = Larder::new();
    let file = larder.put("there", "");
    let missing = "0193a0b0-0000-7000-8000-000000000000";
    for arguments in [
        &["get", "nothing"][..],
        &["stat", missing],
        &["rm", "nothing"],
        &["restore", missing],
        &["put", "no-such-file"],
        &["put", &file, "--bucket", "nothing"],
        &["user", "passwd", "nobody", "--password-stdin"],
    ] {
        let said = larder.feed(arguments, b"long enough");
        assert_eq!(said.status.code(), Some(1), "{arguments:?}: {said:?}");
        assert!(arguments.iter().any(|argument| said.stderr.contains(argument)), "{said:?}");
    }
}

#[test]
fn what_is_not_there_is_named_once() {
    let larder = Larder::new();
    larder.put("there", "");
    let missing = "0193a0b0-0000-7000-8000-000000000000";
    for arguments in [["restore", "a name"], ["restore", missing], ["rm", "a name"], ["rm", missing], ["stat", missing]]
    {
        let said = larder.run(&arguments);
        assert_eq!(said.stderr.matches(arguments[1]).count(), 1, "{arguments:?}: {said:?}");
    }
}

#[test]
fn a_name_that_another_file_has_is_told_and_kept_twice() {
    let larder = Larder::new();
    let (a, b) = (larder.file("in/a", "1"), larder.file("in/b", "1"));
    let said = larder.run(&["put", &a, &b]);
    assert!(!said.stderr.contains("named"), "{said:?}");
    let first = said.stdout.lines().next().unwrap().to_owned();
    let said = larder.run(&["put", &a]);
    assert!(said.status.success() && lines(&said.stdout).len() == 1, "what is printed are ids: {said:?}");
    let told = lines(&said.stderr);
    assert!(told.len() == 1 && [&first, "`a`", "--on-conflict replace"].iter().all(|word| told[0].contains(*word)));
    let said = larder.run(&["put", "in"]);
    assert!(said.stderr.contains("2 are named as other files are, such as `a`"), "{said:?}");
    // Neither what was replaced, nor another's, another bucket's, or the trash's, is a namesake.
    for (file, choice) in [(&a, &["--on-conflict", "replace"][..]), (&b, &["--bucket", "audio", "--name", "b"])] {
        let said = larder.run(&[&["put", file][..], choice].concat());
        assert!(!said.stderr.contains("named"), "{said:?}");
    }
    larder.user("anna", false);
    assert!(!larder.run(&["put", &a, "--owner", "anna"]).stderr.contains("named"));
    larder.ok(&["rm", larder.ok(&["put", &a, "--name", "c"]).trim()]);
    assert!(!larder.run(&["put", &a, "--name", "c"]).stderr.contains("named"));
    assert!(larder.run(&["put", &a, "--name", "c", "--quiet"]).stderr.is_empty());
}

/// A pipe that nobody reads.
fn unread() -> std::io::PipeWriter {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer
}

#[test]
fn what_was_found_is_told_by_the_exit_code_though_nobody_reads_it() {
    let larder = Larder::new();
    larder.put("file", "content");
    assert_eq!(larder.command(&["doctor"]).stdout(unread()).status().unwrap().code(), Some(0));
    let bytes = find(&larder, |path| path.ends_with(".attr.json")).trim_end_matches(".attr.json").to_owned();
    fs::write(&bytes, "kontent").unwrap();
    fs::set_permissions(larder.data(), fs::Permissions::from_mode(0o777)).unwrap();
    for arguments in [&["doctor"][..], &["doctor", "--json"], &["fsck", "--verify"], &["rebuild", "--forget", "local"]]
    {
        for stderr in [false, true] {
            let mut command = larder.command(arguments);
            command.stdout(unread()).env("LARDER_LOG", "debug");
            if stderr {
                command.stderr(unread());
            }
            assert_eq!(command.told().status.code(), Some(1), "{arguments:?}, standard error closed: {stderr}");
        }
    }
}

#[test]
fn work_is_done_to_its_end_though_nobody_reads_of_it() {
    let larder = Larder::new();
    for number in 0..40 {
        larder.file(&format!("tree/{number}"), number.to_string());
    }
    let said = larder.command(&["put", "tree", "tree/missing"]).stdout(unread()).told();
    assert_eq!(said.status.code(), Some(1), "one is missing: {said:?}");
    let ids: Vec<_> = records(&larder.ok(&["ls", "--json"])).iter().map(|file| file["id"].to_string()).collect();
    assert_eq!(ids.len(), 40);
    let ids: Vec<_> = ids.iter().map(|id| id.trim_matches('"')).collect();
    assert!(larder.command(&[&["rm"], &ids[..]].concat()).stdout(unread()).status().unwrap().success());
    assert!(larder.ok(&["ls"]).is_empty());
}

#[test]
fn a_list_has_a_header_where_people_look_at_it_and_nowhere_else() {
    let larder = Larder::new();
    let id = larder.put("one", "1");
    larder.put("two", "2");
    assert_eq!(on_a_terminal(larder.command(&["ls", "--bucket", "audio"])), "", "of nothing there is none");
    let shown = on_a_terminal(larder.command(&["ls"]));
    let shown = lines(&shown);
    assert_eq!(shown.len(), 3, "{shown:?}");
    assert!(shown[0].starts_with("ID ") && shown[0].ends_with("  BUCKET/OWNER  NAME"), "{shown:?}");
    assert!(shown[1].starts_with(&id) && shown[1].find("documents/") == shown[0].find("BUCKET/"), "{shown:?}");
    assert_eq!(shown[1..], lines(&larder.ok(&["ls"])), "what a script reads is all but the header");
    let json = on_a_terminal(larder.command(&["ls", "--json"]));
    assert_eq!(records(&json).len(), 2);
}

#[test]
fn what_a_message_says_to_run_works_where_the_command_did() {
    let larder = Larder::new();
    larder.put("file", "1");
    let (place, config) = (larder.place().join("my larder"), larder.file("it's mine.toml", ""));
    fs::rename(larder.data(), &place).unwrap();
    fs::remove_dir_all(place.join("db")).unwrap();
    let run = |arguments: &[&str]| {
        let mut command = larder.command(arguments);
        let output = command.env_remove("LARDER_DATA").told();
        String::from_utf8([output.stderr, output.stdout].concat()).unwrap()
    };
    let hint = |said: &str| {
        let command = said.split('`').find(|words| words.starts_with("larder rebuild")).expect(said).to_owned();
        command.strip_prefix("larder ").unwrap().to_owned()
    };
    let named = ["--data", "my larder", "--config", &config];
    let whole = |name: &str| larder.place().join(name).display().to_string();
    assert_eq!(hint(&run(&["ls", "--data", "./my larder"])), format!("rebuild --data '{}'", whole("my larder")));
    let said = run(&[&["ls"], &named[..]].concat());
    assert!(said.contains("it'\\''s mine.toml'"), "{said}");
    assert_eq!(hint(&run(&[&["doctor"], &named[..]].concat())), hint(&said));
    let script = format!("exec \"$0\" {}", hint(&said));
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", &script]).arg(larder.command(&[]).get_program()).current_dir(larder.place());
    let output = shell.env_remove("LARDER_DATA").told();
    assert!(output.status.success(), "{output:?}");
    assert!(place.join("db/larder.db").exists());
    // Where nothing was named, nothing is said.
    let said = run(&["ls"]);
    assert!(said.contains("`larder serve`") && said.contains("`larder put FILE`"), "{said}");
    let variable = larder.command(&["ls"]).env("LARDER_DATA", "elsewhere").told();
    let elsewhere = format!("`larder serve --data {}`", whole("elsewhere"));
    assert!(String::from_utf8_lossy(&variable.stderr).contains(&elsewhere), "{variable:?}");
}

#[test]
fn a_reader_that_goes_away_ends_a_command_quietly() {
    let larder = Larder::new();
    for number in 0..3 {
        larder.put(&format!("file{number}"), vec![b'x'; 1 << 20]);
    }
    for arguments in [&["get", "file1", "-o", "-"][..], &["ls"], &["dump"]] {
        let mut child = larder.command(arguments).stdout(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let mut stderr = String::new();
        child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        assert_eq!((child.wait().unwrap().code(), stderr.as_str()), (Some(0), ""), "{arguments:?}");
    }
}

#[test]
fn everything_is_private_but_what_get_writes_honours_the_umask_of_its_user() {
    let larder = Larder::new();
    larder.put("dir/file", "x");
    for (path, about) in larder.tree().into_iter().filter(|(path, _)| path.starts_with(larder.data())) {
        let mode = u32::from_str_radix(about.split(' ').next().unwrap(), 8).unwrap();
        assert_eq!(mode & 0o077, 0, "{}: {mode:o}", path.display());
    }
    larder.ok(&["get", "file", "-o", "mine"]);
    let reference = larder.file("reference", "");
    let mode = |path: &str| fs::metadata(larder.place().join(path)).unwrap().mode() & 0o777;
    assert_eq!(mode("mine"), mode(&reference));
}

#[test]
fn users_are_added_once_and_their_passwords_are_changed() {
    let larder = Larder::new();
    larder.user("anna", true);
    assert_eq!(larder.feed(&["user", "add", "anna", "--password-stdin"], b"long enough").status.code(), Some(1));
    assert_eq!(larder.feed(&["user", "add", "local", "--password-stdin"], b"long enough").status.code(), Some(1));
    let listed = records(&larder.ok(&["user", "list", "--json"]));
    assert_eq!((listed.len(), &listed[0]["username"], &listed[0]["role"]), (1, &"anna".into(), &"admin".into()));
    larder.feed(&["user", "passwd", "anna", "--password-stdin"], b"another password");
    let server = larder.serve();
    let body = br#"{"username":"anna","password":"another password"}"#;
    let client = ureq::post(format!("http://{}/api/v1/auth/login", server.address));
    assert_eq!(client.header("Content-Type", "application/json").send(&body[..]).unwrap().status(), 200);
    larder.assert_rebuilds_after(server);
}

#[test]
fn users_change_roles_and_are_deleted_with_a_word_on_their_files() {
    let larder = Larder::new();
    larder.user("anna", true);
    larder.user("boris", false);
    let fails = |args: &[&str], says: &str| {
        let said = larder.run(args);
        assert!(said.status.code() == Some(1) && said.stderr.contains(says), "{args:?}: {said:?}");
    };
    fails(&["user", "role", "anna", "user"], "last admin");
    fails(&["user", "delete", "anna"], "last admin");
    larder.ok(&["user", "role", "boris", "admin"]);
    larder.ok(&["user", "role", "anna", "user"]);
    let roles = |larder: &Larder| {
        let listed = records(&larder.ok(&["user", "list", "--json"]));
        listed.iter().map(|user| format!("{} {}", user["username"], user["role"])).collect::<Vec<_>>()
    };
    assert_eq!(roles(&larder), ["\"anna\" \"user\"", "\"boris\" \"admin\""]);

    let file = larder.file("a.txt", "hers");
    larder.ok(&["put", &file, "--owner", "anna"]);
    let trashed = larder.ok(&["put", &file, "--owner", "anna", "--name", "trashed"]);
    larder.ok(&["rm", trashed.trim()]);
    fails(&["user", "delete", "anna"], "2 files");
    fails(&["user", "delete", "anna"], "--files-to");
    fails(&["user", "delete", "anna", "--files-to", "nobody"], "nobody");
    assert_eq!(larder.run(&["user", "delete", "anna", "--files-to", "boris", "--purge-files"]).status.code(), Some(2));
    larder.ok(&["user", "delete", "anna", "--files-to", "boris"]);
    assert_eq!(roles(&larder), ["\"boris\" \"admin\""]);
    assert_eq!(records(&larder.ok(&["ls", "--owner", "boris", "--json"])).len(), 1);
    assert_eq!(records(&larder.ok(&["ls", "--owner", "boris", "--deleted", "--json"])).len(), 1);
    fails(&["user", "delete", "anna"], "no such user: `anna`");
    fails(&["user", "role", "anna", "admin"], "no such user: `anna`");
    assert_eq!(larder.feed(&["user", "add", "anna", "--password-stdin"], b"long enough").status.code(), Some(1));

    larder.user("clara", true);
    larder.ok(&["user", "delete", "boris", "--purge-files"]);
    assert!(larder.ok(&["ls"]).is_empty() && larder.ok(&["ls", "--deleted"]).is_empty());
    larder.assert_clean();
    larder.assert_rebuilds_equal();
}

#[test]
fn a_password_is_neither_short_nor_endless() {
    let larder = Larder::new();
    for password in [&b"1234567\n"[..], &[b'x'; 1025]] {
        let said = larder.feed(&["user", "add", "anna", "--password-stdin"], password);
        assert_eq!(said.status.code(), Some(2), "{said:?}");
    }
}

impl Larder {
    fn assert_rebuilds_after(&self, server: common::Server) {
        assert_eq!(self.run(&["rebuild"]).status.code(), Some(1), "a rebuild wants to be alone");
        assert!(server.stop().success());
        self.assert_rebuilds_equal();
    }
}

#[test]
fn a_rehearsed_rebuild_tells_what_it_would_do_and_changes_nothing() {
    let larder = Larder::new();
    larder.put("one", "1");
    let before = larder.tree();
    let said = larder.run(&["rebuild", "--dry-run"]);
    assert!(said.status.success() && said.stderr.contains("1 file, 1 revision, "), "{said:?}");
    assert_eq!(larder.tree(), before);
}

#[test]
fn a_file_that_is_not_readable_is_named() {
    if rustix::process::geteuid().is_root() {
        println!("skipped: root reads everything");
        return;
    }
    let larder = Larder::new();
    let secret = larder.file("secret", "");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o000)).unwrap();
    let said = larder.run(&["put", &secret]);
    assert!(said.status.code() == Some(1) && said.stderr.contains("secret"));
}

#[test]
fn a_server_is_ready_at_once_and_says_where_exactly_once() {
    let larder = Larder::new();
    let began = Instant::now();
    let server = larder.serve();
    println!("ready after {:?}", began.elapsed());
    assert!(began.elapsed() < DEADLINE / 10);
    let said = server.said();
    assert_eq!(said.matches("listening on http://").count(), 1);
    assert!(said.contains("larder user add"), "{said}");
    assert!(server.stop().success());
    assert!(!larder.serve().said().contains("larder user add"), "only the first start greets");
}

#[test]
fn a_server_that_was_stopped_leaves_no_node_behind() {
    let larder = Larder::new();
    larder.user("root", true);
    let staging = larder.data().join("objects/.larder/staging");
    let nodes = || fs::read_dir(&staging).unwrap().flatten().filter(|entry| entry.path().is_dir()).count();
    let content = vec![7; 3 << 20];
    for _ in 0..8 {
        let server = larder.serve();
        let client = server.client("root");
        client.upload("file", b"content");
        assert_eq!(nodes(), 1);
        // What is under way when it is told to stop holds the store until it ends.
        std::thread::scope(|uploads| {
            for _ in 0..8 {
                uploads.spawn(|| {
                    let headers = [("Content-Type", "application/octet-stream")];
                    client.send("POST", "/api/v1/buckets/documents/files?name=large", &headers, Some(&content)).is_ok()
                });
            }
            assert!(server.stop().success());
        });
        assert_eq!(nodes(), 0);
    }
}

/// Two directories: documents go to `local`, images to `far`, which can be moved away.
fn with_a_far_store() -> (Larder, PathBuf) {
    let larder = Larder::new();
    let far = larder.place().join("far");
    fs::create_dir_all(larder.data()).unwrap();
    let toml = format!(
        "placement = \"local\"\n[stores.local]\n[stores.far]\npath = \"{}\"\n[buckets.images]\nplacement = \"far\"\n",
        far.display()
    );
    fs::write(larder.data().join("larder.toml"), toml).unwrap();
    (larder, far)
}

/// Puts an image, which so goes to `far`; its id.
fn put_image(larder: &Larder) -> String {
    let image = larder.file("dot.png", common::DOT);
    larder.ok(&["put", &image, "--bucket", "images"]).trim().to_owned()
}

#[test]
fn a_rebuild_goes_without_a_store_that_is_away_and_takes_it_in_when_it_is_back() {
    let (larder, far) = with_a_far_store();
    let near = larder.put("near", "near");
    let image = put_image(&larder);
    let before = larder.ok(&["dump"]);
    fs::rename(&far, larder.place().join("elsewhere")).unwrap();
    fs::remove_dir_all(larder.data().join("db")).unwrap();
    let said = larder.run(&["rebuild"]);
    assert!(said.status.code() == Some(1) && said.stderr.contains("larder rebuild --without far"), "{said:?}");

    let said = larder.run(&["rebuild", "--without", "far"]);
    assert!(said.status.success() && said.stderr.contains("without the store `far`"), "{said:?}");
    let said = larder.run(&["get", &near, "-o", "-"]);
    assert!(said.stdout == "near" && said.stderr.contains("larder rebuild --forget far"), "{said:?}");
    for refused in [
        &["rm", &near][..],
        &["rm", "--purge", &near],
        &["stat", &image],
        &["user", "add", "ivanov", "--password-stdin"],
    ] {
        let said = larder.feed(refused, b"a password\na password\n");
        assert!(said.status.code() == Some(1) && said.stderr.contains("`far`"), "{refused:?}: {said:?}");
    }
    let server = larder.serve();
    assert!(server.said().contains("without the store `far`"), "{}", server.said());
    let meanwhile = larder.put("meanwhile", "meanwhile");
    server.stop();
    larder.ok(&["rm", "--purge", &meanwhile]);
    assert!(!far.exists(), "an empty directory in its place would be taken for a store");

    fs::rename(larder.place().join("elsewhere"), &far).unwrap();
    assert!(larder.run(&["ls"]).stderr.contains("larder rebuild"));
    larder.ok(&["rebuild"]);
    let after = larder.ok(&["dump"]);
    let tombstone = after.lines().find(|line| line.contains("\"tombstone\"")).unwrap();
    assert_eq!(after.replace(&format!("{tombstone}\n"), ""), before);
    larder.ok(&["rm", &near]);
    larder.assert_clean();
}

#[test]
fn a_store_that_is_gone_for_good_is_forgotten() {
    let (larder, far) = with_a_far_store();
    let near = larder.put("near", "near");
    let lost = put_image(&larder);
    fs::remove_dir_all(&far).unwrap();
    larder.ok(&["rebuild", "--forget", "far", "--lose-files"]);
    larder.ok(&["rm", &near]);
    assert!(larder.run(&["stat", &lost]).stderr.contains("no such file"));
    // A new directory takes its place.
    put_image(&larder);
    assert!(far.join("images").exists());
    larder.assert_clean();
    larder.assert_rebuilds_equal();
}

#[test]
fn files_that_lie_only_on_a_store_are_named_and_not_given_up_unless_that_is_asked_for() {
    let (larder, far) = with_a_far_store();
    larder.put("near", "near");
    let ids: Vec<_> = (0..7).map(|_| put_image(&larder)).collect();
    fs::remove_dir_all(&far).unwrap();
    let before = larder.tree();
    let refused = larder.run(&["rebuild", "--forget", "far"]);
    assert!(refused.status.code() == Some(1) && refused.stdout.is_empty(), "{refused:?}");
    for words in [
        "the only copies of 7 files on the store `far`",
        "  images/local  dot.png",
        "and 2 more",
        "`larder rebuild --forget far --dry-run",
        "`larder rebuild --forget far --lose-files",
    ] {
        assert!(refused.stderr.contains(words), "{words}: {}", refused.stderr);
    }
    assert_eq!(ids.iter().filter(|id| refused.stderr.contains(*id)).count(), 5, "the first few");
    let listed = larder.run(&["rebuild", "--forget", "far", "--dry-run"]);
    assert!(listed.status.code() == Some(1) && listed.stderr.contains("refused without --lose-files"), "{listed:?}");
    assert_eq!(lines(&listed.stdout).len(), 7);
    let told = larder.run(&["rebuild", "--forget", "far", "--json"]);
    assert_eq!(told.status.code(), Some(1));
    let each = records(&told.stdout);
    assert_eq!(each.iter().map(|loss| loss["id"].as_str().unwrap()).collect::<Vec<_>>(), ids);
    let expected = json!({
        "kind": "only_copy", "id": ids[0], "bucket": "images", "owner": "local", "name": "dot.png",
        "revisions": [1], "newest": true, "size": common::DOT.len(),
    });
    assert_eq!(each[0], expected);
    assert_eq!(larder.tree(), before, "neither changes anything");
    assert_eq!(larder.run(&["rebuild", "--lose-files"]).status.code(), Some(2), "of what?");

    let said = larder.run(&["rebuild", "--forget", "far", "--lose-files"]);
    assert!(said.status.success() && said.stderr.contains("gives up the only copies of 7 files"), "{said:?}");
    assert!(said.stderr.contains("brought back 1 file,"), "{said:?}");
}

#[test]
fn a_store_of_which_nothing_tells_what_lies_only_there_is_not_forgotten_unasked() {
    let (larder, far) = with_a_far_store();
    larder.put("near", "near");
    put_image(&larder);
    fs::rename(&far, larder.place().join("elsewhere")).unwrap();
    larder.ok(&["rebuild", "--without", "far"]);
    for (is_lost, why) in [(false, "the database was made without it"), (true, "no database tells of it")] {
        if is_lost {
            larder.lose_database();
        }
        for dry_run in [&[][..], &["--dry-run"]] {
            let said = larder.run(&[&["rebuild", "--forget", "far"], dry_run].concat());
            assert_eq!(said.status.code(), Some(1), "{said:?}");
            assert!(said.stderr.contains(why) && said.stderr.contains("--lose-files"), "{said:?}");
        }
    }
    assert_eq!(larder.run(&["rebuild", "--forget", "far", "--lose-files", "--dry-run"]).status.code(), Some(0));
    larder.ok(&["rebuild", "--forget", "far", "--lose-files"]);
    assert!(larder.ok(&["ls"]).contains("near"));
}

#[test]
fn a_store_on_which_nothing_lies_alone_is_forgotten_without_a_word() {
    let (larder, far) = with_a_far_store();
    larder.put("near", "near");
    let image = put_image(&larder);
    larder.ok(&["rm", "--purge", &image]);
    fs::remove_dir_all(&far).unwrap();
    let before = larder.tree();
    let rehearsed = larder.run(&["rebuild", "--forget", "far", "--dry-run"]);
    assert!(rehearsed.status.success() && !rehearsed.stderr.contains("give"), "{rehearsed:?}");
    assert_eq!(larder.tree(), before);
    let said = larder.run(&["rebuild", "--forget", "far"]);
    assert!(said.status.success() && !said.stderr.contains("gives up"), "{said:?}");
}

#[test]
fn what_a_provisional_rebuild_says_is_what_can_be_done_then() {
    let (larder, far) = with_a_far_store();
    let (toml, third) = (larder.data().join("larder.toml"), larder.place().join("third"));
    let more = format!("{}[stores.third]\npath = \"{}\"\n", fs::read_to_string(&toml).unwrap(), third.display());
    fs::write(&toml, more).unwrap();
    larder.put("near", "near");
    let said = larder.feed(&["user", "add", "ivanov", "--password-stdin"], b"a password\na password\n");
    assert!(said.status.success(), "{said:?}");
    larder.ok(&["put", &larder.file("theirs", b"theirs"), "--owner", "ivanov"]);
    for gone in [&far, &third, &larder.data().join("objects/.larder/accounts")] {
        fs::remove_dir_all(gone).unwrap();
    }
    let said = larder.run(&["rebuild", "--without", "far", "--forget", "third"]);
    assert!(said.status.success() && said.stderr.contains("without the store `far`:"), "{said:?}");
    assert!(!said.stderr.contains("third") && !said.stderr.contains("user passwd"), "{said:?}");
    assert!(said.stderr.contains(" 1 user, "), "{said:?}");
}

#[test]
fn the_configuration_is_shown_with_every_origin_and_what_is_shown_is_a_configuration() {
    let larder = Larder::new();
    let file = larder
        .file("my.toml", "[limits]\nuploads_per_user = 9\n[stores.local]\n[buckets.tapes]\ntypes = 'audio/mpeg'\n");
    let mut command = larder.command(&["config", "show", "--json", "--config", &file]);
    let output = command.env("LARDER_LIMITS__DRAIN_SECONDS", "3").told();
    let settings = records(&String::from_utf8(output.stdout).unwrap());
    let setting = |key: &str| settings.iter().find(|setting| setting["key"] == key).expect(key);
    for (key, shown) in [
        ("data", json!({"key": "data", "origin": "variable", "value": larder.data(), "variable": "LARDER_DATA"})),
        ("config", json!({"key": "config", "origin": "flag", "value": file})),
        (
            "limits.uploads_per_user",
            json!({"key": "limits.uploads_per_user", "origin": "file", "value": 9, "file": file, "line": 2}),
        ),
        (
            "limits.drain_seconds",
            json!({"key": "limits.drain_seconds", "origin": "variable", "value": 3, "variable": "LARDER_LIMITS__DRAIN_SECONDS"}),
        ),
        ("stores.local.path", json!({"key": "stores.local.path", "origin": "default", "value": "objects"})),
        ("buckets.tapes.placement", json!({"key": "buckets.tapes.placement", "origin": "default", "value": ["local"]})),
    ] {
        assert_eq!(setting(key), &shown);
    }
    assert_eq!(setting("buckets.tapes.types")["line"], 5);

    let values = |text: &str| -> Vec<String> {
        text.lines()
            .filter(|line| !line.starts_with("# "))
            .map(|line| line.split("  #").next().unwrap().trim().to_owned())
            .collect()
    };
    let of_tapes: Vec<_> =
        settings.iter().map(|setting| setting["key"].as_str().unwrap().starts_with("buckets.tapes.")).collect();
    assert_eq!(
        of_tapes.split(|is| !is).filter(|run| !run.is_empty()).count(),
        1,
        "what is about one bucket stands together"
    );

    let shown = larder.ok(&["config", "show", "--config", &file]);
    let again = larder.file("again.toml", &shown);
    assert_eq!(values(&shown), values(&larder.ok(&["config", "show", "--config", &again])));
    assert!(!larder.data().exists(), "it makes nothing");
}

#[test]
fn where_a_bucket_asks_for_two_copies_a_put_is_done_when_both_stores_hold_it() {
    let larder = Larder::mirrored();
    let toml = fs::read_to_string(larder.data().join("larder.toml")).unwrap();
    larder.file("data/larder.toml", toml + "[buckets.documents]\nwrite_copies = 2\n");
    let id = larder.put("large", vec![7; 3 << 20]);
    larder.assert_mirrored();
    larder.ok(&["rm", &id]);
    larder.assert_mirrored();
    assert_eq!(larder.run(&["fsck", "--verify"]).status.code(), Some(0), "nothing is found");
}

#[test]
fn what_lies_in_an_archive_is_listed_and_not_read() {
    let larder = Larder::mirrored();
    let stores = format!("[stores.second]\npath = \"{}\"\n[stores.local]\n", larder.second().display());
    larder.file("data/larder.toml", format!("placement = \"local\"\n{stores}"));
    larder.user("ada", true);
    let id = larder.put("file", "content");
    larder.file("data/larder.toml", format!("placement = \"second\"\n{stores}mode = \"ar\"\n"));
    assert!(larder.ok(&["ls"]).contains("file"));
    let said = larder.run(&["get", &id, "-o", "-"]);
    assert!(!said.status.success() && said.stderr.contains("archive") && said.stderr.contains("`local`"), "{said:?}");
    let server = larder.serve();
    let ada = server.client("ada");
    let space = &ada.get("/api/v1/stores").json()["items"][0]["space"];
    assert!(space["free_bytes"].as_u64().unwrap() <= space["total_bytes"].as_u64().unwrap(), "{space}");
    let read = ada.get(&format!("/api/v1/files/{id}/content"));
    assert_eq!((read.status, &read.json()["code"]), (409, &json!("archived")));
    let head = ada.send("HEAD", &format!("/api/v1/files/{id}/content"), &[], None).unwrap();
    assert_eq!(head.status, 409);
    let said = larder.run(&["fsck"]);
    assert!(said.status.success(), "what can't be copied from an archive is not told of: {said:?}");
}

#[test]
fn a_configuration_is_checked_without_a_larder() {
    let larder = Larder::new();
    let said = larder.ok(&["config", "check"]);
    assert!(said.contains("the configuration is right") && !said.contains("WARNING"), "{said}");
    let closed = larder.file("closed.toml", "[stores.local]\nmode = 'ro'\n");
    let said = larder.ok(&["config", "check", "--config", &closed]);
    assert!(said.contains("WARNING  bucket `documents` takes no uploads") && said.contains("`local`"), "{said}");
    for (toml, words) in [
        ("lisen = 1", ["`lisen`", "`listen`"]),
        ("listen = 'nowhere'", ["`listen`", "`nowhere`"]),
        ("placement = 'away'", ["`away`", "`local`"]),
        ("[stores.local]\nmode = 'write'", ["stores.local.mode", "bad.toml"]),
        ("[buckets.tapes]\nwrite_copies = 2", ["`tapes`", "write_copies"]),
        ("[limits]\ndrain_seconds = 'long'", ["limits.drain_seconds", "bad.toml"]),
    ] {
        let file = larder.file("bad.toml", toml);
        let said = larder.run(&["config", "check", "--config", &file]);
        assert_eq!(said.status.code(), Some(1), "{said:?}");
        assert!(words.iter().all(|word| said.stderr.contains(word)), "{said:?}");
    }
    assert!(!larder.data().exists(), "it makes nothing");
}

#[test]
fn every_shell_has_completions_and_every_command_a_page() {
    let larder = Larder::new();
    // Neither needs a larder, nor a configuration that is right.
    larder.file("data/larder.toml", "nonsense = 1");
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = larder.ok(&["completions", shell]);
        assert!(["rebuild", "without-secrets"].iter().all(|word| script.contains(word)), "{shell}: {script}");
    }
    let said = larder.run(&["man", "pages/man1"]);
    assert!(said.status.success(), "{said:?}");
    let page = |name: &str| fs::read_to_string(larder.place().join(format!("pages/man1/{name}.1"))).unwrap();
    for (name, words) in
        [("larder", "rebuild"), ("larder-serve", "rebuild"), ("larder-user-add", "password"), ("larder-man", "DIR")]
    {
        assert!(page(name).contains(&format!(".TH {name} ")) && page(name).contains(words), "{}", page(name));
    }
    let help = larder.ok(&["--help"]);
    let commands = help.split("Commands:").nth(1).unwrap().split("Options:").next().unwrap();
    for command in commands.lines().filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help") {
        page(&format!("larder-{command}"));
    }
}

#[test]
fn a_set_up_link_makes_the_first_admin_and_then_there_is_none() {
    let larder = Larder::new();
    let none = larder.run(&["setup-link"]);
    assert!(none.status.code() == Some(1) && !larder.data().exists(), "{none:?}");
    let server = larder.serve();
    let kept = larder.data().join("setup-link");
    let offered = fs::read_to_string(&kept).unwrap();
    assert_eq!(fs::metadata(&kept).unwrap().mode() & 0o777, 0o600);
    let token_of = |link: &str| {
        let token = link.strip_prefix(&format!("http://{}/setup#", server.address)).expect("the real port");
        token.trim_end().to_owned()
    };
    let said = server.said();
    assert!(said.contains(kept.to_str().unwrap()) && said.contains("larder setup-link"), "{said}");
    assert!(!said.contains(&token_of(&offered)), "what is no terminal is a log: {said}");

    let link = larder.ok(&["setup-link"]);
    assert!(!kept.exists(), "the link in it counts no more");
    let nobody = Client::nobody(&server.address);
    let post = |link: &str| {
        let body = format!(r#"{{"token":"{}","username":"anna","password":"{PASSWORD}"}}"#, token_of(link));
        nobody.send("POST", "/setup", &[("Content-Type", "application/json")], Some(body.as_bytes())).unwrap()
    };
    assert_eq!([&offered, &link, &link].map(|link| post(link).status), [401, 201, 410]);
    assert!(server.client("anna").get("/api/v1/users").text().contains("anna"), "who set it up logs in, as an admin");
    let refused = larder.run(&["setup-link"]);
    assert!(refused.status.code() == Some(1) && refused.stderr.contains("is set up"), "{refused:?}");
    assert!(server.stop().success());

    let again = larder.serve();
    assert!(!again.said().contains("setup-link") && !kept.exists(), "{}", again.said());
    assert_eq!(Client::nobody(&again.address).get("/setup").status, 200);
}

/// A terminal, and the end of it that a command writes to.
fn terminal() -> (OwnedFd, OwnedFd) {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let terminal = openpt(flags).unwrap();
    unlockpt(&terminal).unwrap();
    let end = ioctl_tiocgptpeer(&terminal, flags).unwrap();
    (terminal, end)
}

/// What was written to a terminal by now.
fn read_terminal(terminal: &OwnedFd) -> String {
    rustix::io::ioctl_fionbio(terminal, true).unwrap();
    let (mut shown, mut block) = (Vec::new(), [0; 4096]);
    while let Ok(read @ 1..) = rustix::io::read(terminal, &mut block) {
        shown.extend_from_slice(&block[..read]);
    }
    String::from_utf8(shown).unwrap().replace("\r\n", "\n")
}

/// What a command that succeeds shows there.
fn on_a_terminal(mut command: std::process::Command) -> String {
    let (terminal, end) = terminal();
    assert!(command.stdout(end).status().unwrap().success());
    drop(command);
    read_terminal(&terminal)
}

#[test]
fn on_a_terminal_the_set_up_link_is_shown_and_lies_nowhere() {
    let larder = Larder::new();
    let (terminal, end) = terminal();
    let mut command = larder.command(&["serve", "--port", "0"]);
    command.stdout(end);
    let server = Server::start(command).unwrap();
    // It was written before the server said that it listens.
    let shown = read_terminal(&terminal);
    let link = shown.lines().map(str::trim).find(|line| line.contains("/setup#")).expect("a link");
    assert!(link.starts_with(&format!("http://{}/setup#", server.address)), "{shown}");
    assert!(!larder.data().join("setup-link").exists() && !server.said().contains("/setup#"), "{}", server.said());
}

#[test]
fn a_set_up_link_without_a_server_leads_to_where_one_would_listen() {
    let larder = Larder::new();
    larder.put("one", "1");
    let said = larder.run(&["setup-link", "--json"]);
    let link: Value = serde_json::from_str(&said.stdout).unwrap();
    assert!(link["url"].as_str().unwrap().starts_with("http://127.0.0.1:8080/setup#"), "{link}");
    assert!(link["expires_in"] == 1800 && said.stderr.contains("larder serve"), "{said:?}");
    let free = larder.command(&["setup-link"]).env("LARDER_LISTEN", "127.0.0.1:0").told();
    assert_eq!(free.status.code(), Some(1));
}

#[test]
fn the_first_start_tells_where_everything_is() {
    let larder = Larder::new();
    let server = Server::start(larder.command(&["serve", "--port", "0"])).unwrap();
    let (said, data) = (server.said(), larder.data());
    let api = format!("http://{}/api/v1", server.address);
    for words in [data.to_str().unwrap(), "secrets.toml", " free)", &api, "/health/ready", "larder user add", "curl"] {
        assert!(said.contains(words), "`{words}`: {said}");
    }
    assert!(server.address.starts_with("127.0.0.1:"));
    let both = larder.run(&["serve", "--port", "0", "--listen", "127.0.0.1:0"]);
    assert_eq!(both.status.code(), Some(2));
}
