//! Imports over HTTP: what a server of our own hands out becomes a file, and whatever else it does is one refusal that keeps nothing.

#![allow(clippy::unwrap_used)]

mod common;

use common::{Answer, Larder};
use larder_api::ServerConfig;
use larder_fetch::{Fetcher, Policy, SystemResolver};
use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener},
    sync::Arc,
    thread,
};

/// A server that answers by path, each connection once.
fn hostile() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            let mut lines = BufReader::new(connection.try_clone().unwrap()).lines();
            let first = lines.next().and_then(Result::ok).unwrap_or_default();
            lines.map_while(Result::ok).take_while(|line| !line.is_empty()).for_each(drop);
            let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
            let ok = |head: &str, body: &str| format!("HTTP/1.1 200 OK\r\n{head}\r\n{body}");
            let answer = match &*path {
                "/report.csv" => ok("Content-Type: text/html\r\nContent-Length: 8\r\n", "a,b\n1,2\n"),
                "/lies" => ok("Content-Length: 80\r\n", "short"),
                "/huge" => ok("Content-Length: 99999999\r\n", "x"),
                "/endless" => ok("", &"x".repeat(70 << 10)),
                "/packed" => ok("Content-Encoding: gzip\r\nContent-Length: 1\r\n", "x"),
                "/inside" => {
                    "HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n".into()
                }
                "/gone" => "HTTP/1.1 404 Not Found\r\nContent-Length: 6\r\n\r\nsecret".into(),
                "/fake.jpg" => ok("Content-Length: 11\r\n", "not a photo"),
                _ => "nonsense\r\n\r\n".into(),
            };
            // Who has heard enough goes away.
            let _ = connection.write_all(answer.as_bytes());
        }
    });
    addr
}

fn larder(server: SocketAddr) -> Larder {
    let mut policy = Policy::default().permitting(server);
    policy.http = true;
    policy.bytes_max = 64 << 10;
    let imports = Some(Fetcher::new(policy, Arc::new(SystemResolver)).unwrap());
    Larder::configured(ServerConfig { imports, ..ServerConfig::default() }, None)
}

fn import(larder: &Larder, bucket: &str, body: &Value) -> Answer {
    larder.ada(&format!("POST /api/v1/buckets/{bucket}/imports")).json(body).send()
}

#[test]
fn what_a_server_hands_out_becomes_a_file_of_who_asked() {
    let server = hostile();
    let larder = larder(server);
    let url = format!("http://{server}/report.csv");
    let body = json!({ "url": url, "tags": ["q3"], "metadata": { "from": "there" } });
    let answer = import(&larder, "documents", &body);
    assert_eq!(answer.status, 201, "{}", answer.text());
    let record = answer.json();
    assert_eq!((&record["name"], &record["owner"], &record["size"]), (&json!("report.csv"), &json!("ada"), &json!(8)));
    assert_eq!(record["content_type"], "text/csv", "by content and name, not as that server says");
    assert_eq!((&record["tags"], &record["metadata"]), (&json!(["q3"]), &json!({ "from": "there" })));
    assert_eq!(answer.header("location").unwrap(), format!("/api/v1/files/{}", record["id"].as_str().unwrap()));
    let content = larder.ada(&format!("GET {}", record["url"].as_str().unwrap())).send();
    assert_eq!(content.text(), "a,b\n1,2\n");
    let named = import(&larder, "documents", &json!({ "url": url, "name": "other.txt", "on_conflict": "fail" })).json();
    assert_eq!((&named["name"], &named["content_type"]), (&json!("other.txt"), &json!("text/plain")));
    let again = import(&larder, "documents", &json!({ "url": url, "name": "other.txt", "on_conflict": "fail" }));
    assert_eq!(again.status, 409);
    let keyed = || {
        let request = larder.ada("POST /api/v1/buckets/documents/imports").header("Idempotency-Key", "once");
        request.json(&json!({ "url": url })).send()
    };
    let (first, repeat) = (keyed(), keyed());
    assert_eq!((first.status, repeat.status), (201, 201));
    assert_eq!(first.json()["id"], repeat.json()["id"], "a repeat makes nothing");
    // Refused before anything is fetched: nobody listens there.
    let unheard = json!({ "url": "http://127.0.0.1:1/", "tags": [""] });
    assert!(import(&larder, "documents", &unheard).text().contains("tags"));
    assert_eq!(import(&larder, "images", &json!({ "url": format!("http://{server}/fake.jpg") })).status, 415);
    assert_eq!(import(&larder, "none", &json!({ "url": url })).status, 404);
    for body in [json!({}), json!({ "url": 3 }), json!({ "url": url, "size": 1 }), json!({ "url": url, "tags": "x" })] {
        assert_eq!(import(&larder, "documents", &body).status, 422, "{body}");
    }
}

#[test]
fn an_import_that_is_refused_says_one_thing_and_keeps_nothing() {
    let server = hostile();
    let larder = larder(server);
    let mut said = vec![];
    for target in ["/lies", "/huge", "/endless", "/packed", "/inside", "/gone", "/nonsense"] {
        said.push((target.to_owned(), format!("http://{server}{target}")));
    }
    for url in
        ["http://127.0.0.1:1/", "http://169.254.169.254/latest", "http://[::1]/", "file:///etc/passwd", "no url", ""]
    {
        said.push((url.to_owned(), url.to_owned()));
    }
    let mut first = None;
    for (what, url) in said {
        let before = larder.state();
        let answer = import(&larder, "documents", &json!({ "url": url }));
        larder.state().same_as(&before, &what);
        let mut problem = answer.json();
        problem["request_id"] = Value::Null;
        let first = first.get_or_insert(problem.clone());
        assert_eq!((answer.status, &problem), (422, &*first), "{what}");
        assert!(!answer.text().contains("secret") && !answer.text().contains("169.254"), "{what}: {}", answer.text());
    }
}
