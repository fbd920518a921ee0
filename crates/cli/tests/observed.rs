//! What a running server tells of itself: metrics and log.
#![allow(clippy::unwrap_used, reason = "a test fails loudly")]
#![allow(dead_code, reason = "shared with other tests")]

mod common;

use common::{Client, Larder, PASSWORD, Server};
use serde_json::{Value, json};
use std::{fs, panic, path::PathBuf};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

fn serve(larder: &Larder) -> Server {
    let mut command = larder.command(&["serve", "--listen", "127.0.0.1:0", "--log", "json"]);
    command.env("LARDER_METRICS_LISTEN", "127.0.0.1:0").env("LARDER_METRICS_TOKEN", TOKEN);
    Server::start(command).unwrap()
}

/// The lines of the log, which is not all that a server says.
fn log(server: &Server) -> Vec<Value> {
    server.said().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

#[test]
fn stores_and_the_process_are_metered_beside_http() {
    let larder = Larder::new();
    larder.user("root", true);
    let server = serve(&larder);
    let client = server.client("root");
    client.send("POST", "/api/v1/buckets/documents/files?name=a", &[], Some(&[7; 3_000_000])).unwrap();
    let said = server.said();
    let place = said.split("metrics at http://").nth(1).unwrap().split(',').next().unwrap();
    let open = ureq::get(format!("http://{place}")).call().unwrap().body_mut().read_to_string().unwrap();
    let own = client.get("/metrics");
    assert_eq!(own.status, 200);
    for text in [open, own.text()] {
        for line in [
            "larder_store_calls_total{store=\"local\",op=\"publish\",outcome=\"done\"} ",
            "larder_store_call_duration_seconds_count{store=\"local\",op=\"stage\"} ",
            "larder_http_requests_total{method=\"POST\",route=\"/api/v1/buckets/{bucket}/files\",status=\"201\"} 1",
            "larder_build_info{version=\"0.1.0\"} 1",
            "process_cpu_seconds_total 0.",
            "process_resident_memory_bytes ",
            "process_open_fds ",
        ] {
            assert!(text.lines().any(|one| one.starts_with(line)), "no {line} in {text}");
        }
        let passed = "larder_store_passed_bytes_total{store=\"local\",direction=\"in\"} ";
        let bytes: u64 = text.lines().find_map(|one| one.strip_prefix(passed)).unwrap().parse().unwrap();
        assert!((3_000_000..3_100_000).contains(&bytes), "{bytes}");
    }
}

#[test]
fn the_log_tells_who_changed_what_and_no_secret() {
    let larder = Larder::new();
    larder.user("root", true);
    let mut server = serve(&larder);
    let client = server.client("root");
    let me = client.get("/api/v1/auth/me").json();
    let headers = [("X-Request-Id", "of-the-client.1")];
    client.send("POST", "/api/v1/buckets/documents/files?name=a", &headers, Some(b"the content")).unwrap();
    client.get("/api/v1/files");
    server.send_kill();
    server.ended();
    let log = log(&server);
    let told: Vec<_> = log.iter().filter(|line| line["target"] == "larder_api::audit").collect();
    assert_eq!(told.len(), 2, "the log-in and the upload: {told:?}");
    let upload = told[1];
    for (field, value) in [
        ("method", "POST"),
        ("path", "/api/v1/buckets/documents/files"),
        ("from", "127.0.0.1"),
        ("request_id", "of-the-client.1"),
        ("user", me["id"].as_str().unwrap()),
    ] {
        assert_eq!(upload[field], value, "{upload}");
    }
    assert_eq!(upload["status"], 201);
    let said = server.said();
    for secret in [PASSWORD, TOKEN, &client.token, "the content"] {
        assert!(!said.contains(secret), "{said}");
    }
}

#[test]
fn no_line_of_the_log_is_broken_endless_or_believes_what_a_client_says_of_itself() {
    let larder = Larder::new();
    larder.user("root", true);
    let mut server = serve(&larder);
    let client = server.client("root");
    let (long, token) = ("x".repeat(2000), &client.token);
    let forwarded = [("X-Forwarded-For", "192.0.2.7"), ("Forwarded", "for=192.0.2.7"), ("X-Real-IP", "192.0.2.7")];
    for path in [format!("/nowhere/{long}"), "/%0A%22%7B%0D".into(), format!("/setup?token={token}")] {
        assert!(client.send("POST", &path, &forwarded, Some(b"{}")).unwrap().status >= 400, "{path}");
    }
    server.send_kill();
    server.ended();
    let said = server.said();
    let log: Vec<_> = said.lines().filter(|line| line.starts_with('{')).collect();
    let told: Vec<Value> = log.iter().map(|line| serde_json::from_str(line).expect(line)).collect();
    let paths: Vec<_> = told.iter().filter_map(|line| line["path"].as_str()).collect();
    assert_eq!(paths, ["/api/v1/auth/login", &format!("/nowhere/{}", &long[..247]), "/%0A%22%7B%0D", "/setup"]);
    assert!(told.iter().filter(|line| line["path"].is_string()).all(|line| line["from"] == "127.0.0.1"), "{said}");
    assert!(!said.contains("192.0.2.7"), "{said}");
}

#[test]
fn a_proxy_that_is_trusted_is_believed_on_whom_it_speaks_for() {
    let larder = Larder::new();
    larder.user("root", true);
    fs::write(larder.data().join("larder.toml"), "trusted_proxies = \"127.0.0.0/8\"").unwrap();
    let shown = larder.ok(&["config", "show"]);
    assert!(shown.contains("trusted_proxies = [\"127.0.0.0/8\"]"), "{shown}");
    let mut server = serve(&larder);
    let client = server.client("root");
    let forwarded = [("X-Forwarded-For", "198.51.100.1, 192.0.2.7"), ("Forwarded", "for=198.51.100.2")];
    client.send("POST", "/nowhere", &forwarded, Some(b"{}")).unwrap();
    server.send_kill();
    server.ended();
    let told = log(&server).into_iter().find(|line| line["path"] == "/nowhere").unwrap();
    assert_eq!(told["from"], "192.0.2.7", "{told}");
}

/// All that any test here runs is looked through for what it must not tell: each kind of secret is found where it is told.
#[test]
fn each_kind_of_secret_is_found_in_whatever_is_said() {
    let larder = Larder::new();
    larder.user("anna", false);
    let server = serve(&larder);
    let link = fs::read_to_string(larder.data().join("setup-link")).unwrap();
    let nobody = Client::nobody(&server.address);
    let body = format!(r#"{{"username":"anna","password":"{PASSWORD}"}}"#);
    let headers = [("Content-Type", "application/json")];
    let tokens = nobody.send("POST", "/api/v1/auth/login", &headers, Some(body.as_bytes())).unwrap().json();
    let secrets = fs::read_to_string(larder.data().join("secrets.toml")).unwrap();
    let printed = larder.ok(&["setup-link"]);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    for (what, secret) in [
        ("a password", PASSWORD.to_owned()),
        ("an access token", text(&tokens["access_token"])),
        ("a refresh token", text(&tokens["refresh_token"])),
        ("the link of the start", link.trim().split_once('#').unwrap().1.to_owned()),
        ("the link that was printed", printed.trim().split_once('#').unwrap().1.to_owned()),
        ("the master", secrets.split('"').nth(1).unwrap().to_owned()),
        ("the token for metrics", TOKEN.to_owned()),
    ] {
        // What is not there is named.
        let told = panic::catch_unwind(|| larder.run(&["stat", "--", &secret]));
        assert!(told.is_err(), "{what} went by unseen");
    }
    let mut elsewhere = larder.command(&["config", "check"]);
    elsewhere.env("LARDER_DATABASE__URL", "postgres://larder:pw@127.0.0.1/larder");
    common::secrets::keep_of(&elsewhere);
    let told = panic::catch_unwind(|| common::secrets::assert_kept("at postgres://larder:pw@127.0.0.1", "a line"));
    assert!(told.is_err(), "the password of a database went by unseen");
}

#[test]
fn an_address_that_others_can_reach_is_warned_of_and_this_machines_is_not() {
    let warning = "can be reached from other machines and speaks plain HTTP";
    for (address, warns) in [("127.0.0.1:0", false), ("0.0.0.0:0", true)] {
        let larder = Larder::new();
        let server = Server::start(larder.command(&["serve", "--listen", address])).unwrap();
        assert_eq!(server.said().contains(warning), warns, "{}", server.said());
    }
}

fn pause() {
    let (_never, nothing) = std::sync::mpsc::channel::<()>();
    let _ = nothing.recv_timeout(std::time::Duration::from_millis(100));
}

#[test]
fn a_store_that_is_away_at_a_start_is_taken_in_when_it_is_back() {
    let larder = Larder::mirrored();
    larder.user("root", true);
    let server = larder.serve();
    let root = server.client("root");
    let both = root.upload("both", b"both")["id"].as_str().unwrap().to_owned();
    larder.until_copied(&root);
    assert!(server.stop().success());
    let (second, elsewhere) = (larder.second(), larder.place().join("elsewhere"));
    fs::rename(&second, &elsewhere).unwrap();

    // Commands beside no server.
    let said = larder.run(&["get", &both, "-o", "-"]);
    assert!(said.stdout == "both" && said.stderr.contains("away: the store `second`"), "{said:?}");
    larder.put("put", "put");
    let server = larder.serve();
    let root = server.client("root");
    assert!(server.said().contains("away: the store `second`"), "{}", server.said());
    let ready = root.get("/health/ready").json();
    assert!(ready["status"] == "degraded" && ready["detail"].as_str().unwrap().contains("`second`"), "{ready}");
    assert!(root.get("/metrics").text().contains("larder_node_state{state=\"degraded\"} 1"));
    assert_eq!(root.get(&format!("/api/v1/files/{both}/content")).text(), "both");
    root.upload("new", b"new");
    let state = |root: &Client| root.get("/api/v1/stores").json()["items"][1].clone();
    let says = |words: &str| {
        let until = std::time::Instant::now() + common::DEADLINE;
        // It is tried again a second after it was tried last.
        while !state(&root)["detail"].as_str().is_some_and(|detail| detail.contains(words)) {
            assert!(std::time::Instant::now() < until, "{words}: {}", state(&root));
            pause();
        }
        assert_eq!(state(&root)["state"], "away");
    };
    assert_eq!(state(&root)["state"], "away");
    assert!(!second.exists(), "nothing is made where it was");

    // An empty place is not the store, nor is another's.
    fs::create_dir(&second).unwrap();
    says("instance.json");
    assert_eq!(fs::read_dir(&second).unwrap().count(), 0, "nothing is made in it");
    fs::remove_dir(&second).unwrap();
    let other = Larder::new();
    other.put("other", "other");
    fs::rename(other.data().join("objects"), &second).unwrap();
    says("another installation");
    let staging = fs::read_dir(second.join(".larder/staging")).unwrap();
    assert!(staging.flatten().all(|at| at.path().is_file()), "nothing is made there either");
    fs::rename(&second, other.data().join("objects")).unwrap();

    fs::rename(&elsewhere, &second).unwrap();
    larder.until_copied(&root);
    let until = std::time::Instant::now() + common::DEADLINE;
    while root.get("/health/ready").json()["status"] != "ready" {
        assert!(std::time::Instant::now() < until, "it does not heal: {}", root.get("/health/ready").text());
        pause();
    }
    assert_eq!(state(&root)["state"], "ready");
    let nodes = |store: PathBuf| -> Vec<_> {
        let entries = fs::read_dir(store.join(".larder/staging")).unwrap().flatten();
        entries.filter(|entry| entry.path().is_dir()).map(|entry| entry.file_name()).collect()
    };
    let here = nodes(larder.data().join("objects"));
    assert!(here.len() == 1 && here == nodes(larder.second()), "each store tells that the one server lives: {here:?}");
    assert!(server.stop().success());
    larder.assert_mirrored();
    larder.assert_clean();
    larder.assert_rebuilds_equal();
}

#[test]
fn a_path_that_is_wrong_is_no_store_that_is_away() {
    let larder = Larder::mirrored();
    larder.put("put", "put");
    fs::rename(larder.second(), larder.place().join("elsewhere")).unwrap();
    std::os::unix::fs::symlink(larder.second(), larder.second()).unwrap();
    let said = larder.run(&["ls"]);
    assert!(!said.status.success() && said.stderr.contains(larder.second().to_str().unwrap()), "{said:?}");
}

#[test]
fn why_a_server_is_not_well_is_told_to_admins_alone() {
    let larder = Larder::mirrored();
    larder.user("root", true);
    larder.user("ada", false);
    assert!(larder.serve().stop().success());
    fs::rename(larder.second(), larder.place().join("away")).unwrap();
    larder.ok(&["rebuild", "--without", "second"]);
    let server = larder.serve();
    let (root, ada, nobody) = (server.client("root"), server.client("ada"), Client::nobody(&server.address));
    let told = root.get("/health/ready").json();
    assert_eq!(told["status"], "degraded");
    assert!(told["detail"].as_str().unwrap().contains("second"), "{told}");
    for other in [ada, nobody] {
        assert_eq!(other.get("/health/ready").json(), json!({"status": "degraded"}));
    }
}
