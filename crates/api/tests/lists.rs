//! What lists may cost: memory, turns, and who is told of what.

#![allow(clippy::unwrap_used)]

mod common;

use common::Larder;
use larder_api::Limits;
use rustix::net::{AddressFamily, SocketType, connect, socket, sockopt};
use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

/// Takes as little at a time as the kernel lets it.
fn slow_reader(larder: &Larder) -> TcpStream {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    sockopt::set_socket_recv_buffer_size(&socket, 1024).unwrap();
    connect(&socket, &larder.addr).unwrap();
    TcpStream::from(socket)
}

/// As many files as make a page of 3 MB, which is more than the buffers of a connection whose reader takes little.
fn with_large_records(larder: &Larder) {
    let metadata = format!(r#"{{"metadata": {{"x": "{}"}}}}"#, "y".repeat(2400));
    for number in 0..1000 {
        let id = larder.put(&format!("{number}"), b"")["id"].as_str().unwrap().to_owned();
        let patch = larder.ada(&format!("PATCH /api/v1/files/{id}")).header("Content-Type", "application/json");
        assert_eq!(patch.body(metadata.as_bytes()).send().status, 200);
    }
}

#[test]
fn pages_that_nobody_reads_do_not_fill_the_memory() {
    let limits = Limits { held_bytes_max: 1 << 20, held_wait: Duration::ZERO, ..Limits::default() };
    let larder = Larder::with(limits);
    with_large_records(&larder);
    let list = larder.ada("GET /api/v1/files?limit=1000");
    assert_eq!(list.send().json()["items"].as_array().unwrap().len(), 1000);
    let mut slow = slow_reader(&larder);
    slow.write_all(&list.bytes()).unwrap();
    let mut status = [0; 12];
    slow.read_exact(&mut status).unwrap();
    assert_eq!(&status, b"HTTP/1.1 200");
    let refused = list.send();
    assert_eq!((refused.status, refused.json()["code"].as_str()), (503, Some("busy")), "{}", refused.text());
    assert_eq!(refused.header("retry-after"), Some("1"));
    // What needs no room goes on.
    assert_eq!(larder.ada("GET /api/v1/auth/me").send().status, 200);
    drop(slow);
    while list.send().status != 200 {
        std::thread::yield_now();
    }
}

#[test]
fn a_user_has_so_many_lists_under_way_and_no_more() {
    let larder = Larder::with(Limits { lists_per_user: 0, ..Limits::default() });
    let refused = larder.ada("GET /api/v1/files").send();
    assert_eq!((refused.status, refused.json()["code"].as_str()), (429, Some("too_many_requests")));
    let larder = Larder::with(Limits { lists_per_user: 1, ..Limits::default() });
    for _ in 0..3 {
        assert_eq!(larder.ada("GET /api/v1/files").send().status, 200, "the turn was given back");
    }
}

#[test]
fn the_built_in_account_owns_files_like_a_user_and_is_none() {
    let larder = Larder::start();
    let put = larder.root("POST /api/v1/buckets/documents/files?name=a.txt&owner=local").body(b"hello").send();
    assert_eq!((put.status, put.json()["owner"].as_str()), (201, Some("local")), "{}", put.text());
    let listed = larder.root("GET /api/v1/files?owner=local").send().json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
    let named = larder.root("GET /api/v1/buckets/documents/names/a.txt?owner=local").send();
    assert_eq!((named.status, named.text().as_str()), (200, "hello"));
    for line in ["GET /api/v1/files?owner=local", "GET /api/v1/buckets/documents/names/a.txt?owner=local"] {
        assert!(!larder.ada(line).send().text().contains("hello"), "{line}");
    }
    let id = put.json()["owner_id"].as_str().unwrap().to_owned();
    for query in ["", "?files=purge", "?files_to=ada"] {
        assert_eq!(larder.root(&format!("DELETE /api/v1/users/{id}{query}")).send().status, 404, "{query}");
    }
}

/// A deletion that was answered is the end of it: an upload that was under way is no file afterwards.
#[test]
fn an_upload_that_outlives_its_owner_is_refused_at_its_end() {
    for query in ["", "?files=purge", "?files_to=bob"] {
        let larder = Larder::start();
        let content = vec![7; 2 << 20];
        let upload = larder.ada("POST /api/v1/buckets/documents/files?name=late").body(&content).bytes();
        let mut connection = larder.connect();
        let (first, last) = upload.split_at(upload.len() - 10);
        connection.write_all(first).unwrap();
        while !larder.root("GET /metrics").send().text().contains("larder_http_uploads_under_way 1") {
            std::thread::yield_now();
        }
        assert_eq!(
            larder.root(&format!("DELETE /api/v1/users/{}{query}", larder.ada.id)).send().status,
            204,
            "{query}"
        );
        connection.write_all(last).unwrap();
        let answer = common::read_answer(connection);
        assert_eq!(answer.status, 403, "{query}: {}", answer.text());
        let listed = larder.root("GET /api/v1/files").send().json();
        assert_eq!(listed["items"].as_array().unwrap().len(), 0, "{query}: {listed}");
    }
}
