//! What a running server tells of itself: metrics and log.
#![allow(clippy::unwrap_used, reason = "a test fails loudly")]
#![allow(dead_code, reason = "shared with other tests")]

mod common;

use common::{Larder, PASSWORD, Server};
use serde_json::Value;

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
