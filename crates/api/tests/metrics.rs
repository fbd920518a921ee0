//! What is counted, and who may read it.

#![allow(clippy::unwrap_used)]

mod common;

use common::Larder;
use larder_api::{MetricsToken, ServerConfig};
use std::net::TcpListener;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

fn with_token() -> Larder {
    let metrics_token = MetricsToken::new(TOKEN);
    Larder::configured(ServerConfig { metrics_token, ..ServerConfig::default() }, None)
}

/// The value of the one line that begins so.
fn value(text: &str, line: &str) -> f64 {
    let mut lines = text.lines().filter_map(|one| one.strip_prefix(line)?.strip_prefix(' '));
    let value = lines.next().unwrap_or_else(|| panic!("no {line} in {text}"));
    assert_eq!(lines.next(), None, "{line}");
    value.parse().unwrap()
}

#[test]
fn requests_are_counted_by_route_and_status_whatever_clients_ask_for() {
    let larder = Larder::start();
    let id = larder.put("a.txt", b"hello")["id"].as_str().unwrap().to_owned();
    for _ in 0..3 {
        assert_eq!(larder.ada(&format!("GET /api/v1/files/{id}")).send().status, 200);
    }
    assert_eq!(larder.bob(&format!("GET /api/v1/files/{id}")).send().status, 404);
    assert_eq!(larder.anybody("BREW /api/v1/coffee").send().status, 404);
    let answer = larder.root("GET /metrics").send();
    assert_eq!(answer.header("content-type"), Some("application/openmetrics-text; version=1.0.0; charset=utf-8"));
    let text = answer.text();
    for (line, count) in [
        (r#"larder_http_requests_total{method="GET",route="/api/v1/files/{id}",status="200"}"#, 3.0),
        (r#"larder_http_requests_total{method="GET",route="/api/v1/files/{id}",status="404"}"#, 1.0),
        (r#"larder_http_requests_total{method="other",route="none",status="404"}"#, 1.0),
        (r#"larder_http_request_duration_seconds_count{method="GET",route="/api/v1/files/{id}"}"#, 4.0),
        ("larder_http_received_bytes_total", 5.0),
        ("larder_http_uploads_under_way", 0.0),
        ("larder_http_downloads_under_way", 0.0),
        (r#"larder_node_state{state="ready"}"#, 1.0),
        (r#"larder_node_state{state="degraded"}"#, 0.0),
    ] {
        assert_eq!(value(&text, line), count, "{line}");
    }
    assert!(text.ends_with("# EOF\n"), "{text}");
}

#[test]
fn metrics_are_for_admins_and_for_who_has_the_token() {
    let larder = with_token();
    let by = |token: &str| larder.anybody("GET /metrics").header("Authorization", &format!("Bearer {token}")).send();
    assert_eq!(by(TOKEN).status, 200);
    assert_eq!(by(&TOKEN[1..]).status, 401);
    assert_eq!(by("").status, 401);
    assert_eq!(larder.root("GET /metrics").send().status, 200);
    assert_eq!(larder.ada("GET /metrics").send().status, 403);
    assert_eq!(larder.anybody("GET /metrics").send().status, 401);
    assert!(!by(TOKEN).text().contains(TOKEN));
    // It opens nothing else.
    let files = larder.anybody("GET /api/v1/files").header("Authorization", &format!("Bearer {TOKEN}")).send();
    assert_eq!(files.status, 401);
}

#[test]
fn a_token_that_is_no_secret_is_none() {
    assert!(MetricsToken::new(&TOKEN[1..]).is_none());
    assert!(MetricsToken::new(&format!("{TOKEN} ")).is_none());
    assert!(MetricsToken::new(&"x".repeat(64)).is_none(), "a placeholder is no secret");
    assert!(!format!("{:?}", MetricsToken::new(TOKEN).unwrap()).contains(TOKEN));
}

#[test]
fn a_socket_of_their_own_tells_metrics_and_nothing_else() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut larder = Larder::configured(ServerConfig::default(), Some(listener));
    larder.addr = address;
    let metrics = larder.anybody("GET /metrics").send();
    assert!(metrics.status == 200 && metrics.text().contains("larder_node_state"), "{}", metrics.text());
    for elsewhere in ["/api/v1/files", "/health/live", "/"] {
        assert_eq!(larder.anybody(&format!("GET {elsewhere}")).send().status, 404, "{elsewhere}");
    }
}
