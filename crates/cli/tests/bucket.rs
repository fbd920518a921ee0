//! A bucket as a store, over a server of this process: from the configuration to the answer, and while the server is away.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test fails loudly, and has a runtime of its own")]

#[path = "common/bucket.rs"]
mod bucket;
mod common;

use bucket::{Bucket, KEY, SECRET};
use common::{Larder, Server, secrets::Told as _};
use serde_json::json;
use std::{
    fs,
    io::{Read as _, Write as _},
    sync::atomic::Ordering,
};

#[test]
fn files_are_kept_in_a_bucket() {
    let bucket = Bucket::new();
    let larder = bucket.larder("create_bucket = true\n");
    let said = larder.run(&["doctor"]);
    assert!(said.stdout.contains("s3://acme/files is not there yet; the first start makes it"), "{said:?}");
    larder.user("ada", true);
    let large: Vec<u8> = (0..12_000_000_u32).map(|at| (at / 7) as u8).collect();
    let file = larder.file("large", &large);
    let id = larder.ok(&["put", &file]).trim().to_owned();
    assert!(!larder.data().join("objects/documents").exists(), "the directory beside the bucket has no content");
    let server = larder.serve();
    let ada = server.client("ada");
    let content = format!("/api/v1/files/{id}/content");
    assert!(ada.get(&content).body == large);
    let part = ada.send("GET", &content, &[("Range", "bytes=8000000-8000009")], None).unwrap();
    assert_eq!((part.status, &*part.body), (206, &large[8_000_000..8_000_010]));
    let small = ada.upload("small", b"small")["id"].as_str().unwrap().to_owned();
    assert_eq!(ada.send("DELETE", &format!("/api/v1/files/{small}?purge=true"), &[], None).unwrap().status, 204);
    let far = &ada.get("/api/v1/stores").json()["items"][0];
    assert_eq!((&far["kind"], &far["place"]), (&json!("s3"), &json!("acme/files")), "{far}");
    assert!(server.stop().success());
    larder.ok(&["rm", &id]);
    larder.ok(&["restore", &id]);
    larder.assert_clean();
    let doctor = larder.ok(&["doctor"]);
    assert!(doctor.contains("conditional create: yes"), "{doctor}");
}

#[test]
fn a_bucket_alone_keeps_files_and_who_lives_is_told_without_a_directory() {
    let bucket = Bucket::new();
    let larder = bucket.larder_with("", "create_bucket = true\n");
    larder.user("ada", true);
    assert!(!larder.data().join("objects").exists(), "nothing but the bucket has files");
    let server = larder.serve();
    let ada = server.client("ada");
    // An upload that has begun, and stands still while others come and go.
    let (head, rest) = (vec![b'a'; 9_000_000], vec![b'b'; 100_000]);
    let mut slow = std::net::TcpStream::connect(&server.address).unwrap();
    let request = format!(
        "POST /api/v1/buckets/documents/files?name=slow HTTP/1.1\r\nHost: larder\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/octet-stream\r\nContent-Length: {}\r\n\r\n",
        ada.token,
        head.len() + rest.len(),
    );
    slow.write_all(request.as_bytes()).unwrap();
    slow.write_all(&head).unwrap();
    let until = std::time::Instant::now() + common::DEADLINE;
    while !bucket.names().iter().any(|name| name.contains("upload")) {
        assert!(std::time::Instant::now() < until, "the upload never begins");
    }
    // Each of them looks for what the dead have left.
    let id = larder.put("file", "content");
    larder.ok(&["rm", &id]);
    larder.ok(&["restore", &id]);
    slow.write_all(&rest).unwrap();
    let mut answer = [0; 12];
    slow.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 201", "it was nobody's to undo");
    assert_eq!(ada.get(&format!("/api/v1/files/{id}/content")).body, b"content");
    server.kill();
    let server = larder.serve();
    let ada = server.client("ada");
    assert_eq!(ada.get("/api/v1/files").json()["items"].as_array().unwrap().len(), 2);
    let staging = fs::read_dir(larder.data().join("nodes/.larder/staging")).unwrap();
    let on_roll: Vec<_> = staging.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect();
    assert_eq!(on_roll.len(), 1, "the dead are off the roll: {on_roll:?}");
    assert!(server.stop().success());
    larder.assert_clean();
}

#[test]
fn a_lost_database_is_brought_back_from_a_bucket_alone() {
    let bucket = Bucket::new();
    let larder =
        bucket.larder_with("", "create_bucket = true\nrequest_seconds = 1\npart_seconds = 1\ncomplete_seconds = 1\n");
    larder.user("ada", true);
    let id = larder.put("file", "content");
    let before = larder.ok(&["dump"]);
    larder.lose_database();
    for command in [&["ls"][..], &["put", "file"], &["serve", "--listen", "127.0.0.1:0"]] {
        let said = larder.run(command);
        assert!(said.status.code() == Some(1) && said.stderr.contains("larder rebuild"), "{said:?}");
        assert!(!larder.data().join("db").exists(), "no empty database hides it: {said:?}");
    }
    let server = Server::start(larder.command(&["serve", "--listen", "127.0.0.1:0", "--rebuild"])).unwrap();
    let content = server.client("ada").get(&format!("/api/v1/files/{id}/content"));
    assert_eq!(content.body, b"content");
    assert!(server.stop().success());
    assert_eq!(before, larder.ok(&["dump"]));
}

#[test]
fn a_bucket_that_is_away_is_an_outage_and_heals() {
    let bucket = Bucket::new();
    let larder = bucket.larder("create_bucket = true\n");
    larder.user("ada", true);
    let id = larder.put("file", "content");
    bucket.is_away.store(true, Ordering::SeqCst);
    let server = larder.serve();
    assert!(server.said().contains("away: the store `far`"), "{}", server.said());
    let ada = server.client("ada");
    assert_eq!(ada.get(&format!("/api/v1/files/{id}")).status, 200, "what is known of it");
    let read = ada.get(&format!("/api/v1/files/{id}/content"));
    assert_eq!((read.status, &read.json()["code"]), (503, &json!("store_unavailable")));
    let put = ada.send("POST", "/api/v1/buckets/documents/files?name=new", &[], Some(b"new")).unwrap();
    assert_eq!(put.status, 503);
    bucket.is_away.store(false, Ordering::SeqCst);
    let until = std::time::Instant::now() + common::DEADLINE;
    while ada.get(&format!("/api/v1/files/{id}/content")).status != 200 {
        assert!(std::time::Instant::now() < until, "it does not heal");
    }
    assert!(server.stop().success());
    let said = larder.run(&["fsck", "--json"]);
    let is_only_open = said.stdout.lines().all(|line| line.contains("intent_open"));
    assert!(is_only_open, "what was refused may yet arrive, until its lease ends: {said:?}");
}

#[test]
fn a_bucket_that_is_configured_wrongly_is_refused_before_anything_is_made() {
    let bucket = Bucket::new();
    let place = bucket.endpoint.clone();
    for (from, to, words) in [
        (SECRET, "wrong", "check `secret_access_key`"),
        (KEY, "wrong", "permission denied"),
        (&*place, "http://127.0.0.1:9", "nothing answers at http://127.0.0.1:9"),
        ("", "", "check `bucket`"),
        ("kind = \"s3\"", "kind = \"local\"\npath = \"x\"", "`bucket` in [stores.far] is a bucket's"),
        ("access_key_id", "profile", "`secret_access_key`, and one is missing"),
        (
            "[stores.local]\n",
            "[stores.local]\n[stores.again]\nkind = \"s3\"\nbucket = \"acme\"\nendpoint = \"HERE\"\n",
            "lie in each other",
        ),
    ] {
        let larder = bucket.larder("");
        let toml = fs::read_to_string(larder.data().join("larder.toml")).unwrap();
        let toml = toml.replace(from, &to.replace("HERE", &place));
        larder.file("data/larder.toml", toml);
        let said = larder.run(&["put", "Cargo.toml"]);
        assert!(said.status.code() == Some(1) && said.stderr.contains(words), "{words}: {said:?}");
        assert!(!said.stderr.contains(SECRET), "{said:?}");
        assert_eq!(fs::read_dir(larder.data()).unwrap().count(), 1, "nothing was made: {said:?}");
    }
}

#[test]
fn a_server_that_does_not_answer_is_waited_for_as_long_as_is_configured() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let larder = Larder::new();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    let toml = format!(
        "[stores.far]\nkind = \"s3\"\nbucket = \"acme\"\nendpoint = \"{endpoint}\"\naccess_key_id = \"{KEY}\"\n\
         secret_access_key = \"{SECRET}\"\nrequest_seconds = 1\n"
    );
    larder.file("data/larder.toml", toml);
    let began = std::time::Instant::now();
    let said = larder.run(&["doctor", "--store", "far"]);
    assert_eq!(said.status.code(), Some(1), "{said:?}");
    assert!(began.elapsed() < std::time::Duration::from_secs(15), "half of what it is without: {said:?}");
}

/// What an earlier system was told of this server.
fn of_an_earlier_system(larder: &Larder, bucket: &Bucket, arguments: &[&str]) -> std::process::Command {
    let mut command = larder.command(arguments);
    let place = bucket.endpoint.strip_prefix("http://").unwrap();
    for (name, value) in [
        ("STORAGE_PROVIDER", "minio"),
        ("MINIO_ENDPOINT", place),
        ("MINIO_ACCESS_KEY", KEY),
        ("MINIO_SECRET_KEY", SECRET),
        ("MINIO_BUCKET_DOCUMENTS", "acme-documents"),
        ("MINIO_BUCKET_AUDIO", "acme-audio"),
        ("MINIO_BUCKET_IMAGES", "acme-images"),
    ] {
        command.env(name, value);
    }
    command
}

#[test]
fn the_three_buckets_of_an_earlier_system_are_served_by_its_variables_alone() {
    let (bucket, larder) = (Bucket::new(), Larder::new());
    common::secrets::keep(SECRET);
    let said = of_an_earlier_system(&larder, &bucket, &["doctor", "--store", "minio_audio"]).told();
    let text = String::from_utf8(said.stdout).unwrap();
    assert!(
        said.status.success() && text.contains("s3://acme-audio is not there yet; the first start makes it"),
        "{text}"
    );
    let song = larder.file("song.mp3", b"ID3\x03\x00\x00\x00\x00\x00\x00");
    for (file, into) in [(&*larder.file("note.txt", "hello"), "documents"), (&*song, "audio")] {
        let said = of_an_earlier_system(&larder, &bucket, &["put", file, "--bucket", into]).told();
        assert!(said.status.success(), "{said:?}");
        assert!(bucket.folder().join(format!("acme-{into}/{into}/local")).is_dir(), "it lies in its own bucket");
    }
    assert!(bucket.folder().join("acme-images/.larder").is_dir(), "a bucket that was missing is made");
    let server = Server::start(of_an_earlier_system(&larder, &bucket, &["serve", "--listen", "127.0.0.1:0"]));
    assert!(server.unwrap().stop().success());
    let said = of_an_earlier_system(&larder, &bucket, &["fsck", "--verify", "--json"]).told();
    assert!(said.status.success() && said.stdout.is_empty(), "{said:?}");
}

/// The checks of a bucket: name, result, what was measured and what mends it.
fn checks(larder: &Larder, code: i32) -> Vec<serde_json::Value> {
    let said = larder.run(&["doctor", "--store", "far", "--json"]);
    assert_eq!(said.status.code(), Some(code), "{said:?}");
    said.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Checks and their results, those that are well by their names alone.
fn results(checks: &[serde_json::Value]) -> String {
    let result = |line: &serde_json::Value| match (line["check"].as_str().unwrap(), line["result"].as_str().unwrap()) {
        (check, "ok") => check.to_owned(),
        (check, result) => format!("{check}: {result}"),
    };
    checks.iter().map(result).collect::<Vec<_>>().join(", ")
}

/// What lies in the bucket; the server keeps notes of its own beside it.
fn files(bucket: &Bucket) -> Vec<std::path::PathBuf> {
    let mut found = vec![];
    let mut folders = vec![bucket.folder().join("acme")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}

#[test]
fn each_thing_that_a_bucket_needs_has_a_line_of_its_own() {
    let bucket = Bucket::new();
    let larder = bucket.larder("create_bucket = true\n");
    let id = larder.put("file", "content");
    let before = files(&bucket);
    let well = checks(&larder, 0);
    assert_eq!(
        results(&well),
        "name, server, TLS, clock, credentials, region, bucket, list, put, get, multipart, abort, conditions, checksums, encryption, \
         versions, signed URLs, CORS: warning, public access, delete, abilities"
    );
    assert!(well.iter().all(|line| line["result"] == "ok" || line["advice"].is_string()), "{well:?}");
    let is_kept = |path: &&std::path::PathBuf| !path.to_string_lossy().contains("profile.json");
    let after = files(&bucket);
    assert!(before.iter().filter(is_kept).eq(after.iter().filter(is_kept)), "what was tried is gone: {after:?}");
    assert!(larder.ok(&["get", &id, "-o", "-"]) == "content");
}

#[test]
fn each_permission_that_lacks_has_a_line_that_names_it() {
    let bucket = Bucket::new();
    let larder = bucket.larder("create_bucket = true\n");
    larder.put("file", "content");
    for (operation, check, action) in [
        ("ListObjectsV2", "list", "s3:ListBucket"),
        ("PutObject", "put", "s3:PutObject"),
        ("GetObject", "get", "s3:GetObject"),
        ("CreateMultipartUpload", "multipart", "s3:PutObject"),
        ("AbortMultipartUpload", "abort", "s3:AbortMultipartUpload"),
        ("DeleteObject", "delete", "s3:DeleteObject"),
    ] {
        *bucket.rules.denied.lock().unwrap() = operation.to_owned();
        let lines = checks(&larder, 1);
        let line = lines.iter().find(|line| line["check"] == check).unwrap_or_else(|| panic!("{check}: {lines:?}"));
        let advice = line["advice"].as_str().unwrap_or_default();
        assert!(line["result"] == "problem" && advice.contains(&format!("`{action}`")), "{operation}: {line}");
        let before = ["list", "put", "get", "multipart", "abort"].into_iter().take_while(|name| *name != check);
        for name in before {
            assert!(lines.iter().any(|line| line["check"] == name && line["result"] == "ok"), "{operation}: {lines:?}");
        }
    }
}

#[test]
fn a_bucket_that_anybody_can_read_is_a_problem() {
    let bucket = Bucket::new();
    let larder = bucket.larder("create_bucket = true\n");
    larder.put("file", "content");
    bucket.rules.is_public.store(true, Ordering::SeqCst);
    let lines = checks(&larder, 1);
    let line = lines.iter().find(|line| line["check"] == "public access").unwrap();
    assert_eq!(line["measured"], "anybody can list and read what lies there", "{line}");
    assert!(line["advice"].as_str().unwrap().starts_with("block public access"), "{line}");
    let wrong = lines.iter().filter(|line| line["result"] == "problem").count();
    assert_eq!(wrong, 1, "{lines:?}");
}

#[test]
fn a_bucket_that_is_only_added_to_is_not_asked_for_more() {
    let bucket = Bucket::new();
    let larder = bucket.larder("create_bucket = true\n");
    larder.put("file", "content");
    let toml = fs::read_to_string(larder.data().join("larder.toml")).unwrap();
    larder.file("data/larder.toml", format!("{toml}mode = \"rw\"\n"));
    *bucket.rules.denied.lock().unwrap() = "DeleteObject".into();
    let lines = checks(&larder, 0);
    let line = lines.iter().find(|line| line["check"] == "delete").unwrap();
    assert!(line["measured"].as_str().unwrap().contains("stays"), "{line}");
    // What the server can do is found out by keys that delete nothing, too.
    fs::remove_file(bucket.folder().join("acme/files/.larder/profile.json")).unwrap();
    larder.put("another", "content");
}

#[test]
fn a_bucket_that_held_files_and_is_gone_is_not_about_to_be_made() {
    let bucket = Bucket::new();
    let larder = bucket.larder("create_bucket = true\n");
    larder.put("file", "content");
    fs::remove_dir_all(bucket.folder().join("acme")).unwrap();
    let lines = checks(&larder, 1);
    assert!(lines.iter().any(|line| line["check"] == "bucket" && line["result"] == "problem"), "{lines:?}");
    assert_eq!(larder.run(&["put", &larder.file("more", "x")]).status.code(), Some(1));
    assert!(!bucket.folder().join("acme").exists(), "nor is an empty one put in its place");
}

#[test]
fn a_bucket_that_takes_nothing_new_is_looked_at_and_not_written_to() {
    let bucket = Bucket::new();
    let larder = bucket.larder("create_bucket = true\n");
    larder.put("file", "content");
    for mode in ["ro", "ar"] {
        let toml = fs::read_to_string(larder.data().join("larder.toml")).unwrap();
        larder.file(
            "data/larder.toml",
            format!("{}mode = \"{mode}\"\n", toml.replace(&format!("mode = \"{mode}\"\n"), "")),
        );
        let before: Vec<_> =
            files(&bucket).into_iter().map(|path| (fs::metadata(&path).unwrap().modified().unwrap(), path)).collect();
        let well = results(&checks(&larder, 0));
        assert!(well.contains("list, get, conditions") && !well.contains("put"), "{well}");
        let after: Vec<_> =
            files(&bucket).into_iter().map(|path| (fs::metadata(&path).unwrap().modified().unwrap(), path)).collect();
        assert_eq!(before, after);
        larder.file("data/larder.toml", toml);
    }
}

#[test]
fn what_is_wrong_with_a_bucket_is_the_last_line_and_says_what_mends_it() {
    let bucket = Bucket::new();
    let place = bucket.endpoint.clone();
    let in_tls = place.replace("http:", "https:");
    for (from, to, last, advice) in [
        (SECRET, "wrong-wrong", "credentials: problem", "check `secret_access_key`"),
        (&*place, "http://127.0.0.1:9", "server: problem", "check `endpoint`"),
        (&*place, "http://no-such-host.invalid", "server: problem", "check `endpoint`"),
        (&*place, &*in_tls, "server: problem", "write `http://` in `endpoint`"),
        ("", "", "bucket: problem", "create_bucket = true"),
    ] {
        let larder = bucket.larder("connect_seconds = 2\nrequest_seconds = 3\n");
        let toml = fs::read_to_string(larder.data().join("larder.toml")).unwrap();
        larder.file("data/larder.toml", toml.replace(from, to));
        let lines = checks(&larder, 1);
        assert!(results(&lines).ends_with(last), "{last}: {lines:?}");
        assert!(lines.last().unwrap()["advice"].as_str().unwrap().contains(advice), "{lines:?}");
        assert!(!format!("{lines:?}").contains(SECRET));
    }
}

#[test]
fn the_policy_of_a_bucket_is_printed_without_asking_anybody() {
    let bucket = Bucket::new();
    let larder = bucket.larder("");
    bucket.is_away.store(true, Ordering::SeqCst);
    let policy: serde_json::Value = serde_json::from_str(&larder.ok(&["doctor", "--policy"])).unwrap();
    assert_eq!(policy["Statement"][2]["Resource"], "arn:aws:s3:::acme/files/*");
    assert_eq!(larder.ok(&["doctor", "--policy", "--store", "far", "--json"]).lines().count(), 1);
    let said = larder.run(&["doctor", "--policy", "--store", "local"]);
    assert!(said.status.code() == Some(1) && said.stderr.contains("`local` is a directory"), "{said:?}");
    assert!(!larder.data().join("db").exists(), "it makes nothing");
}

#[test]
fn an_admin_is_told_what_the_server_of_a_bucket_can_do_and_what_a_store_needs_of_it() {
    let bucket = Bucket::new();
    let larder = bucket.larder("create_bucket = true\n");
    larder.user("ada", true);
    larder.put("file", "content");
    let server = larder.serve();
    let ada = server.client("ada");
    let stores = || ada.get("/api/v1/stores").json()["items"].clone();
    let (far, local) = (&stores()[0], &stores()[1]);
    assert_eq!((&far["profile"]["conditional_create"], &local["profile"]), (&json!(true), &json!(null)), "{far}");
    let probed_at = far["profile"]["probed_at"].as_str().unwrap();
    assert!(probed_at.starts_with("20") && probed_at.ends_with('Z'), "{far}");
    let check = || {
        let reply = ada.send("POST", "/api/v1/stores/far/check", &[], Some(b"")).unwrap();
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply.json()["checks"].as_array().unwrap().clone()
    };
    let result = |checks: &[serde_json::Value], name: &str| {
        let found = checks.iter().find(|one| one["check"] == name).map(|one| one["result"].clone());
        found.unwrap_or_else(|| panic!("{name}: {checks:?}"))
    };
    let checks = check();
    for name in
        ["marker", "write", "server", "credentials", "put", "abort", "conditions", "signed URLs", "public access"]
    {
        assert_eq!(result(&checks, name), "passed");
    }
    assert_eq!(result(&checks, "CORS"), "warning");
    assert!(checks.iter().all(|one| one["result"] == "passed" || one["advice"].is_string()), "{checks:?}");
    assert!(server.stop().success());
    bucket.is_away.store(true, Ordering::SeqCst);
    let server = larder.serve();
    let ada = server.client("ada");
    let began = std::time::Instant::now();
    let far = ada.get("/api/v1/stores").json()["items"][0].clone();
    assert_eq!((&far["state"], &far["profile"]), (&json!("away"), &json!(null)), "{far}");
    assert!(began.elapsed() < std::time::Duration::from_secs(10), "one that is away holds no list up");
    assert!(server.stop().success());
}

#[test]
fn a_look_finds_out_anew_what_the_server_can_do() {
    let bucket = Bucket::new();
    let larder = bucket.larder("create_bucket = true\n");
    larder.put("file", "content");
    let kept = bucket.folder().join("acme/files/.larder/profile.json");
    let able = fs::read_to_string(&kept).unwrap();
    let unable = able.replace("\"checks_payload\": true", "\"checks_payload\": false");
    assert_ne!(able, unable);
    fs::write(&kept, unable).unwrap();
    let line = |lines: Vec<serde_json::Value>| lines.into_iter().find(|line| line["check"] == "checksums").unwrap();
    let told = line(checks(&larder, 0));
    assert!(told["measured"].as_str().unwrap().contains("refuses what arrives damaged"), "{told}");
    assert!(fs::read_to_string(&kept).unwrap().contains("\"checks_payload\": true"), "and it is kept");
}

/// Sends a request as it was signed, with `content` as its body: its status.
fn send(method: &str, url: &str, headers: &serde_json::Value, content: &[u8]) -> (u16, Vec<u8>) {
    let rest = url.strip_prefix("http://").unwrap();
    let (host, target) = rest.split_at(rest.find('/').unwrap());
    let mut connection = std::net::TcpStream::connect(host).unwrap();
    let mut head = format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n").into_bytes();
    for (name, value) in headers.as_object().unwrap() {
        write!(head, "{name}: {}\r\n", value.as_str().unwrap()).unwrap();
    }
    write!(head, "Content-Length: {}\r\n\r\n", content.len()).unwrap();
    connection.write_all(&head).unwrap();
    connection.write_all(content).unwrap();
    let mut answer = vec![];
    connection.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap();
    let status = std::str::from_utf8(&answer[9..12]).unwrap().parse().unwrap();
    (status, answer[end + 4..].to_vec())
}

#[test]
fn content_goes_straight_to_the_bucket_and_back_and_is_a_file_only_when_it_was_looked_at() {
    let bucket = Bucket::new();
    let larder = bucket.larder_with("", "create_bucket = true\n");
    larder.user("ada", true);
    let server = larder.serve();
    let ada = server.client("ada");
    let post = |path: &str, body: serde_json::Value| {
        let json = [("Content-Type", "application/json")];
        ada.send("POST", &format!("/api/v1{path}"), &json, Some(body.to_string().as_bytes())).unwrap()
    };
    let complete = |upload: &serde_json::Value| post(&format!("/uploads/{}/complete", text(&upload["id"])), json!({}));

    let upload = post("/buckets/documents/uploads", json!({"name": "a.png", "size": 5, "content_type": "image/png"}));
    let upload = upload.json();
    let url = text(&upload["url"]);
    assert!(url.starts_with(&bucket.endpoint) && url.contains("X-Amz-Signature"), "past the server: {upload}");
    assert_eq!(upload["headers"], json!({"content-type": "image/png"}));
    assert_eq!(send("PUT", url, &json!({"content-type": "text/html"}), b"hello").0, 403, "another type");
    assert_eq!(send("PUT", url, &upload["headers"], b"longer").0, 403, "another size");
    assert_eq!(send("PUT", url, &upload["headers"], b"hello").0, 200);
    let answer = complete(&upload);
    assert_eq!(answer.status, 201, "{}", answer.text());
    let file = answer.json();
    let content = format!("/api/v1/files/{}/content", text(&file["id"]));
    assert_eq!(ada.get(&content).body, b"hello");
    assert_eq!(send("PUT", url, &upload["headers"], b"other").0, 200, "the store knows nothing of uploads");
    assert_eq!(
        (complete(&upload).json()["id"].clone(), ada.get(&content).body),
        (file["id"].clone(), b"hello".to_vec())
    );

    let signed = post(&format!("/files/{}/direct", text(&file["id"])), json!({})).json();
    assert!(text(&signed["url"]).starts_with(&bucket.endpoint), "{signed}");
    assert_eq!(send("GET", text(&signed["url"]), &signed["headers"], b""), (200, b"hello".to_vec()));

    let large: Vec<u8> = (0..12_000_000_u32).map(|at| (at / 7) as u8).collect();
    let wanted = json!({"name": "large", "size": large.len(), "part_bytes": 5 << 20});
    let upload = post("/buckets/documents/uploads", wanted).json();
    let parts = upload["parts"].as_array().unwrap();
    assert_eq!(parts.len(), 3);
    for part in parts.iter().rev() {
        let number = |name: &str| usize::try_from(part[name].as_u64().unwrap()).unwrap();
        let (from, size) = (number("offset"), number("size"));
        assert_eq!(send("PUT", text(&part["url"]), &part["headers"], &large[from..from + size]).0, 200);
    }
    let file = complete(&upload).json();
    assert!(ada.get(&format!("/api/v1/files/{}/content", text(&file["id"]))).body == large);

    let lie = json!({"name": "lie", "size": 5, "sha256": "0".repeat(64)});
    let lie = post("/buckets/documents/uploads", lie).json();
    // The server of this bucket checks hashes itself where it is asked to.
    assert_eq!(send("PUT", text(&lie["url"]), &lie["headers"], b"hello").0, 400);
    assert_eq!(complete(&lie).status, 422);
    let here = post("/buckets/documents/uploads", json!({"name": "here", "size": 5, "direct": false})).json();
    assert!(text(&here["url"]).contains(&format!("//{}/direct/", server.address)), "{here}");
    assert_eq!(send("PUT", text(&here["url"]), &here["headers"], b"hello").0, 200);
    assert_eq!(complete(&here).status, 201);
    assert!(server.stop().success());
    larder.assert_clean();
}

fn text(value: &serde_json::Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}
