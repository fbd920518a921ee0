use crate::{Row, Scene};

const UPLOAD: &str = "POST /api/v1/buckets/documents/files?name=a";

#[test]
pub(crate) fn heads_that_are_too_large() {
    let target = format!("GET /api/v1/files?q={}", "x".repeat(9000));
    let path = format!("GET /{}", "x".repeat(9000));
    let value = "x".repeat(33_000);
    let rows: &[Row<'_>] = &[
        (&target, &[], "", 414, "too_large"),
        (&path, &[], "", 414, "too_large"),
        ("GET /api/v1/files", &[("X-Long", &value)], "", 431, "too_large"),
        ("GET /health/live", &[("X-Long", &value)], "", 431, "too_large"),
        (UPLOAD, &[("X-Long", &value)], "x", 431, "too_large"),
    ];
    Scene::new().refuses(rows);
}

#[test]
pub(crate) fn headers_with_values_that_are_none() {
    let long = "k".repeat(129);
    let rows: &[Row<'_>] = &[
        (UPLOAD, &[("Idempotency-Key", "")], "x", 422, "invalid"),
        (UPLOAD, &[("Idempotency-Key", &long)], "x", 422, "invalid"),
        (UPLOAD, &[("Idempotency-Key", "a"), ("Idempotency-Key", "b")], "x", 400, "malformed"),
        (UPLOAD, &[("Idempotency-Key", "ü")], "x", 400, "malformed"),
        (UPLOAD, &[("Content-Type", "a/b"), ("Content-Type", "c/d")], "x", 400, "malformed"),
        (UPLOAD, &[("Content-Encoding", "gzip")], "x", 415, "unsupported_type"),
        (UPLOAD, &[("Content-Encoding", "br, gzip")], "x", 415, "unsupported_type"),
        ("PUT /api/v1/files/{file}/content", &[("Content-Encoding", "gzip")], "x", 415, "unsupported_type"),
    ];
    Scene::new().refuses(rows);
}

/// What the parser refuses never becomes a request, so it is answered without a problem, and the connection ends.
#[test]
pub(crate) fn heads_that_are_none() {
    let scene = Scene::new();
    let before = scene.larder.state();
    for head in [
        "GARBAGE\r\n\r\n",
        "GET /api/v1/files HTTP/1.1\r\n\r\n",
        "GET /api/v1/files HTTP/3.0\r\nHost: a\r\n\r\n",
        "GET /api/v1/files\r\n\r\n",
        "GET /api/v1/files HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET /api/v1/files HTTP/1.1\r\nHost: a\r\nBad Header: x\r\n\r\n",
        "GET /api/v1/files HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
        "POST /api/v1/files HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
        "POST /api/v1/files HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        "POST /api/v1/files HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\nx",
        "POST /api/v1/files HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        "POST /api/v1/files HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\nx",
        "POST /api/v1/files HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\nx",
        "POST /api/v1/files HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        "GET http://[::1/ HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        let answer = scene.larder.raw(head.as_bytes());
        assert!(matches!(answer.status, 400 | 0), "{head:?}: {}", answer.status);
        scene.larder.state().same_as(&before, "{head:?}");
    }
    let endless = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}", "x".repeat(200_000));
    assert!(matches!(scene.larder.raw(endless.as_bytes()).status, 431 | 0));
}
