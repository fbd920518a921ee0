//! The server around the files: log-in, request ids, health, drain, limits on users, connections that stay.

#![allow(clippy::unwrap_used)]

mod common;

use common::{Larder, form, read_answer};
use larder_api::{Limits, Proxies, ServerConfig, password};
use larder_files::{Caller, NewFile, Receive, Role, UserName};
use serde_json::{Value, json};
use std::{
    io::{Read, Write},
    time::{Duration, Instant},
};

fn log_in(larder: &Larder, username: &str, password: &str) -> common::Answer {
    larder.anybody("POST /api/v1/auth/login").json(&json!({"username": username, "password": password})).send()
}

fn add(larder: &Larder, name: &str, password: &str) -> larder_files::User {
    let hash = password::hash(password).unwrap();
    larder.block_on(larder.files.add_user(UserName::new(name).unwrap(), Role::User, Some(hash))).unwrap()
}

#[test]
fn a_log_in_gives_a_token_that_works_until_it_expires_or_the_password_changes() {
    let larder = Larder::start();
    let eve = add(&larder, "eve", "a good password");
    let answer = log_in(&larder, "eve", "a good password");
    let tokens = answer.json();
    assert_eq!((answer.status, answer.header("cache-control")), (200, Some("no-store")), "{tokens}");
    assert_eq!((&tokens["token_type"], &tokens["expires_in"]), (&json!("Bearer"), &json!(900)));
    let me = |tokens: &Value| {
        let bearer = format!("Bearer {}", tokens["access_token"].as_str().unwrap());
        larder.anybody("GET /api/v1/auth/me").header("Authorization", &bearer).send()
    };
    assert_eq!(me(&tokens).json(), json!({"id": eve.id, "username": "eve", "role": "user"}));
    larder.clock.advance(Duration::from_secs(901));
    assert_eq!(me(&tokens).status, 401);

    let tokens = log_in(&larder, "eve", "a good password").json();
    assert_eq!(me(&tokens).status, 200);
    let hash = password::hash("another").unwrap();
    larder.block_on(larder.files.set_password(eve.id, hash)).unwrap();
    larder.clock.advance(Duration::from_secs(1));
    assert_eq!(me(&tokens).status, 401, "a new password ends the tokens of the old one within a second");
}

#[test]
fn failed_log_ins_are_limited_and_open_sessions_never_suffer() {
    let limits = Limits { log_ins_per_account: 2, log_ins_per_address: 4, ..Limits::default() };
    let larder = Larder::with(limits);
    add(&larder, "eve", "right");
    for _ in 0..3 {
        assert_eq!(log_in(&larder, "eve", "right").status, 200, "who logs in is not held up");
    }
    let wrong = || log_in(&larder, "eve", "wrong");
    assert_eq!((wrong().status, wrong().status), (401, 401));
    let refused = wrong();
    assert_eq!((refused.status, refused.code().as_str()), (429, "too_many_requests"));
    assert!(refused.header("retry-after").unwrap().parse::<u64>().unwrap() <= 61);
    assert_eq!(log_in(&larder, "eve", "right").status, 429, "not even with the right one");
    assert_eq!(log_in(&larder, "nobody", "x").status, 401);
    assert_eq!(log_in(&larder, "nobody", "x").status, 401);
    assert_eq!(log_in(&larder, "someone", "x").status, 401, "a proxy on this machine is no address of one client");
    assert_eq!(larder.ada("GET /api/v1/files").send().status, 200);
    larder.clock.advance(Duration::from_secs(61));
    assert_eq!(log_in(&larder, "eve", "right").status, 200);
}

#[test]
fn log_ins_behind_a_proxy_are_limited_by_client() {
    let limits = Limits { log_ins_per_address: 2, ..Limits::default() };
    let proxies = Proxies { networks: vec!["127.0.0.1".parse().unwrap()], ..Proxies::default() };
    let larder = Larder::configured(ServerConfig { limits, proxies, ..ServerConfig::default() }, None);
    let guess = |number: usize, of: &str| {
        let body = json!({"username": format!("user{number}"), "password": "guess"});
        larder.anybody("POST /api/v1/auth/login").header("X-Forwarded-For", of).json(&body).send().status
    };
    assert_eq!((guess(1, "192.0.2.1"), guess(2, "198.51.100.1, 192.0.2.1")), (401, 401));
    assert_eq!(guess(3, "198.51.100.2, 192.0.2.1"), 429, "whatever the client says of itself");
    assert_eq!(guess(4, "192.0.2.2"), 401, "another client");
}

#[test]
fn a_good_request_id_comes_back_and_a_bad_one_is_replaced() {
    let larder = Larder::start();
    for (sent, kept) in
        [("a-B_9.z", true), (&"x".repeat(64), true), (&"x".repeat(65), false), ("a b", false), ("é", false)]
    {
        for line in ["GET /health/live", "GET /nowhere", "PUT /health/live", "GET /api/v1/files"] {
            let answer = larder.anybody(line).header("X-Request-Id", sent).send();
            let found = answer.header("x-request-id").unwrap();
            assert_eq!(found == sent, kept, "{sent} on {line}");
            assert!(!found.is_empty() && found.len() <= 64);
        }
    }
}

#[test]
fn a_connection_serves_many_requests_and_survives_refusals() {
    let larder = Larder::start();
    let record = larder.put("a", b"content");
    let mut connection = larder.connect();
    let keep = |line: &str| larder.ada(line).header("Connection", "keep-alive").bytes();
    let url = record["url"].as_str().unwrap();
    let lines = [format!("GET {url}"), "GET /nowhere".into(), format!("HEAD {url}"), "PUT /api/v1/files".into()];
    for _ in 0..5 {
        for line in &lines {
            connection.write_all(&keep(line)).unwrap();
            let head = read_head(&mut connection);
            let length = if line.starts_with("HEAD") { 0 } else { content_length(&head) };
            connection.read_exact(&mut vec![0; length]).unwrap();
        }
    }
    // Pipelined too.
    let two = [keep(&lines[0]), larder.ada(&lines[0]).bytes()].concat();
    connection.write_all(&two).unwrap();
    let first = read_head(&mut connection);
    connection.read_exact(&mut vec![0; content_length(&first)]).unwrap();
    assert_eq!(read_answer(connection).text(), "content");
}

fn read_head(connection: &mut std::net::TcpStream) -> String {
    let (mut head, mut byte) = (vec![], [0]);
    while !head.ends_with(b"\r\n\r\n") {
        connection.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

fn content_length(head: &str) -> usize {
    let line = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ").map(str::to_owned));
    line.unwrap().parse().unwrap()
}

#[test]
fn one_user_has_only_so_many_uploads_under_way() {
    let larder = Larder::with(Limits { uploads_per_user: 2, ..Limits::default() });
    let line = "POST /api/v1/buckets/documents/files?name=a";
    let waiting = || {
        let mut connection = larder.connect();
        let bytes = larder.ada(line).header("Expect", "100-continue").body("abc").bytes();
        connection.write_all(&bytes[..bytes.len() - 3]).unwrap();
        // The continue comes just before the handler begins; its place is taken once the next request was answered.
        connection.read_exact(&mut [0; 25]).unwrap();
        connection
    };
    let mut first = waiting();
    let second = waiting();
    assert_eq!(larder.ada("GET /health/live").send().status, 200);
    let refused = larder.ada(line).body("x").send();
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("1")), "{}", refused.text());
    assert_eq!(larder.bob(line).body("x").send().status, 201, "another user's are counted apart");
    first.write_all(b"abc").unwrap();
    assert_eq!(read_answer(first).status, 201);
    assert_eq!(larder.ada(line).body("x").send().status, 201);
    drop(second);
}

#[test]
fn a_drain_lets_an_upload_end_and_takes_nothing_new() {
    let larder = Larder::start();
    assert_eq!(larder.anybody("GET /health/ready").send().json(), json!({"status": "ready"}));
    let content = b"slowly";
    let head = "Content-Disposition: form-data; name=\"file\"; filename=\"a\"";
    let request = larder
        .ada("POST /api/v1/buckets/documents/files")
        .header("Content-Type", "multipart/form-data; boundary=XX")
        .header("Expect", "100-continue")
        .body(form("XX", &[(head, content)]))
        .bytes();
    let body = request.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    let mut connection = larder.connect();
    connection.write_all(&request[..body]).unwrap();
    connection.read_exact(&mut [0; 25]).unwrap();
    let handle = larder.handle.clone();
    let drain = larder.spawn(async move { handle.drain().await });
    connection.write_all(&request[body..]).unwrap();
    let answer = read_answer(connection);
    assert_eq!((answer.status, &answer.json()["size"]), (201, &json!(6)));
    larder.block_on(drain).unwrap();
    assert!(std::net::TcpStream::connect(larder.addr).is_err(), "nobody listens any more");
}

#[test]
fn a_reader_who_takes_too_little_is_cut_off() {
    let grace = Duration::from_millis(10);
    let larder = Larder::with(Limits { body_grace: grace, body_rate_min: u64::MAX, ..Limits::default() });
    let size = 64 << 20;
    // Not over HTTP, where whoever is slow to send is cut off too.
    let by = Caller { id: larder.ada.id, name: larder.ada.name.clone(), role: larder.ada.role };
    let receive = Receive { bucket: "documents".into(), ..Receive::default() };
    let received = larder.block_on(larder.files.receive(&by, receive, vec![7; size].into())).unwrap();
    let new = NewFile { name: "large".into(), ..NewFile::default() };
    let id = larder.block_on(larder.files.create(&by, received, new)).unwrap().file.attributes.id;
    let mut connection = larder.connect();
    connection.write_all(&larder.ada(&format!("GET /api/v1/files/{id}/content")).bytes()).unwrap();
    read_head(&mut connection);
    // Nothing tells a client that takes nothing of the cut: it stands still until the kernel shows the server's end closed.
    let until = Instant::now() + Duration::from_secs(60);
    while is_established(larder.addr.port(), connection.local_addr().unwrap().port()) {
        assert!(Instant::now() < until, "it was never cut off");
        std::thread::yield_now();
    }
    let (mut taken, mut buffer) = (0, vec![0; 1 << 20]);
    while let Ok(more @ 1..) = connection.read(&mut buffer) {
        taken += more;
    }
    assert!(taken < size, "all of it came");
}

/// Whether the kernel has an open connection of these ports of this machine.
fn is_established(local: u16, remote: u16) -> bool {
    let connections = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
    let (local, remote) = (format!(":{local:04X}"), format!(":{remote:04X}"));
    connections
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .any(|fields| matches!(fields[..], [_, from, to, "01", ..] if from.ends_with(&local) && to.ends_with(&remote)))
}
