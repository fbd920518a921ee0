//! Servers, names and URLs that mean harm: all are refused by one error, and each for its own reason.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

mod common;

use common::{Act, Hostile, Names, OTHER_ROOT, Paths, content, fetch, fetcher, policy, redirect, refused, say};
use futures_util::StreamExt;
use larder_fetch::{Fetcher, Policy, SystemResolver};
use std::{net::SocketAddr, net::TcpListener, sync::Arc, time::Duration};

/// Names around loopback, private networks and their mixtures.
fn names() -> Names {
    Names::default()
        .and("files.example", &[&["127.0.0.1"]])
        .and("other.example", &[&["127.0.0.1"]])
        .and("mapped.example", &[&["::ffff:127.0.0.1"]])
        .and("private.example", &[&["10.0.0.1"]])
        .and("metadata.example", &[&["169.254.169.254"]])
        .and("unique-local.example", &[&["fd00::1"]])
        .and("nat64.example", &[&["64:ff9b::7f00:1"]])
        .and("both.example", &[&["127.0.0.1", "10.0.0.1"]])
        .and("both-swapped.example", &[&["10.0.0.1", "127.0.0.1"]])
        .and("nothing.example", &[&[]])
        .and("localhost", &[&["127.0.0.1", "::1"]])
        .and("localhost.", &[&["127.0.0.1"]])
        .and("changing.example", &[&["127.0.0.1"], &["10.0.0.1"]])
}

const OK: &str = "HTTP/1.1 200 OK\r\n";

/// What the plain server does; `other` is a listener that nobody may reach.
fn paths(own: SocketAddr, other: SocketAddr) -> Paths {
    let (own, other) = (own.port(), other.port());
    let bytes = |text: &str| text.as_bytes().to_vec();
    let long = "x".repeat(70_000);
    Paths::from([
        ("/plain", content("Content-Length: 5\r\n", "hello")),
        // Redirects.
        ("/to-loopback", redirect("http://127.0.0.1/")),
        ("/to-own-loopback", redirect(&format!("http://127.0.0.2:{own}/plain"))),
        ("/to-metadata", redirect("http://169.254.169.254/latest/meta-data/")),
        ("/to-number", redirect("http://2852039166/latest/meta-data/")),
        ("/to-mapped", redirect("http://[::ffff:a9fe:a9fe]/")),
        ("/to-private-name", redirect("http://private.example/")),
        ("/to-other-port", redirect(&format!("http://127.0.0.1:{other}/"))),
        ("/to-ssh", redirect("http://files.example:22/")),
        ("/to-credentials", redirect(&format!("http://me:s3cret@files.example:{own}/plain"))),
        ("/to-file", redirect("file:///etc/passwd")),
        ("/to-garbage", redirect("http://[")),
        ("/to-binary", say(b"HTTP/1.1 302 Found\r\nLocation: /\xff\r\nContent-Length: 0\r\n\r\n")),
        ("/to-nowhere", say("HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n")),
        ("/to-two", say("HTTP/1.1 302 Found\r\nLocation: /plain\r\nLocation: /plain\r\nContent-Length: 0\r\n\r\n")),
        ("/to-itself", redirect("/to-itself")),
        ("/4", redirect("/3")),
        ("/3", redirect("/2")),
        ("/2", redirect("/1")),
        ("/1", redirect("plain")),
        // Statuses.
        ("/201", say("HTTP/1.1 201 Created\r\nContent-Length: 1\r\n\r\nx")),
        ("/204", say("HTTP/1.1 204 No Content\r\n\r\n")),
        ("/206", say("HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-0/2\r\nContent-Length: 1\r\n\r\nx")),
        ("/300", say("HTTP/1.1 300 Multiple Choices\r\nLocation: /plain\r\nContent-Length: 0\r\n\r\n")),
        ("/304", say("HTTP/1.1 304 Not Modified\r\n\r\n")),
        ("/500", say("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 1\r\n\r\nx")),
        ("/101", say("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")),
        // Heads.
        ("/huge-head", say(format!("{OK}X: {}\r\nContent-Length: 0\r\n\r\n", "x".repeat(33 << 10)))),
        (
            "/endless-head",
            Act::Flood(bytes(OK), bytes("X: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n")),
        ),
        ("/many-lines", say(format!("{OK}{}Content-Length: 0\r\n\r\n", "x: y\r\n".repeat(100)))),
        ("/no-status", say("HTTP/1.1 abc\r\n\r\n")),
        ("/no-http", say("SSH-2.0-OpenSSH_9.9\r\n")),
        ("/http-0.9", say("hello")),
        ("/closed", say("")),
        ("/half-head", say("HTTP/1.1 200 OK\r\nContent-Le")),
        ("/broken-line", say(format!("{OK}no colon\r\nContent-Length: 0\r\n\r\n"))),
        ("/two-lengths", content("Content-Length: 5\r\nContent-Length: 6\r\n", "hello")),
        ("/no-length", content("Content-Length: -1\r\n", "hello")),
        // Contents.
        ("/gzip", content("Content-Encoding: gzip\r\nContent-Length: 5\r\n", "hello")),
        ("/gzip-too", content("Content-Encoding: identity\r\nContent-Encoding: br\r\nContent-Length: 5\r\n", "hello")),
        ("/gzip-chunked", content("Transfer-Encoding: gzip, chunked\r\n", "5\r\nhello\r\n0\r\n\r\n")),
        (
            "/chunked-with-length",
            content("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "5\r\nhello\r\n0\r\n\r\n"),
        ),
        ("/short", content("Content-Length: 10\r\n", "hello")),
        ("/short-chunked", content("Transfer-Encoding: chunked\r\n", "a\r\nhello")),
        ("/no-last-chunk", content("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n")),
        ("/broken-chunk", content("Transfer-Encoding: chunked\r\n", "zz\r\nhello\r\n")),
        ("/announced-too-large", content("Content-Length: 70000\r\n", "")),
        ("/announced-absurd", content("Content-Length: 18446744073709551615\r\n", "")),
        ("/too-large", content("", &long)),
        ("/too-large-chunked", content("Transfer-Encoding: chunked\r\n", &format!("11170\r\n{long}\r\n0\r\n\r\n"))),
        ("/endless", Act::Flood(bytes(&format!("{OK}\r\n")), vec![b'x'; 1000])),
        ("/endless-chunks", Act::Flood(bytes(&format!("{OK}Transfer-Encoding: chunked\r\n\r\n")), bytes("1\r\nx\r\n"))),
        (
            "/endless-trailer",
            Act::Flood(
                bytes(&format!("{OK}Transfer-Encoding: chunked\r\n\r\n0\r\n")),
                bytes("x: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n"),
            ),
        ),
        (
            "/endless-extension",
            Act::Flood(bytes(&format!("{OK}Transfer-Encoding: chunked\r\n\r\n1;")), vec![b'x'; 1000]),
        ),
    ])
}

/// What is asked for, and how the log begins that says why not. `@` stands for the server by a name that leads to it.
const REFUSED: &[(&str, &str)] = &[
    // Hosts, in every spelling of loopback.
    ("http://127.0.0.1/", "127.0.0.1 is not a public address"),
    ("http://2130706433/", "127.0.0.1 is not a public address"),
    ("http://0x7f.1/", "127.0.0.1 is not a public address"),
    ("http://0177.0.0.1/", "127.0.0.1 is not a public address"),
    ("http://127.1/", "127.0.0.1 is not a public address"),
    ("http://127.0.0.1./", "127.0.0.1 is not a public address"),
    ("http://%31%32%37.1/", "127.0.0.1 is not a public address"),
    ("http://１２７.0.0.1/", "127.0.0.1 is not a public address"),
    ("http:\\\\127.0.0.1\\", "127.0.0.1 is not a public address"),
    ("https://127.0.0.1/", "127.0.0.1 is not a public address"),
    ("https://127.0.0.1:80/", "127.0.0.1 is not a public address"),
    ("http://0/", "0.0.0.0 is not a public address"),
    ("http://[::1]/", "::1 is not a public address"),
    ("http://[::]/", ":: is not a public address"),
    ("http://[::ffff:127.0.0.1]/", "127.0.0.1 is not a public address"),
    ("http://[::ffff:7f00:1]/", "127.0.0.1 is not a public address"),
    ("http://[::127.0.0.1]/", "::7f00:1 is not a public address"),
    ("http://[64:ff9b::7f00:1]/", "64:ff9b::7f00:1 is not a public address"),
    ("http://[64:ff9b:1::7f00:1]/", "64:ff9b:1::7f00:1 is not a public address"),
    ("http://[2002:7f00:1::]/", "2002:7f00:1:: is not a public address"),
    ("http://[2001:0:808:808::80ff:fffe]/", "2001:0:808:808::80ff:fffe is not a public address"),
    ("http://[fe80::1]/", "fe80::1 is not a public address"),
    ("http://169.254.169.254/latest/meta-data/", "169.254.169.254 is not a public address"),
    ("http://10.0.0.1/", "10.0.0.1 is not a public address"),
    ("http://127.0.0.2:@/plain", "127.0.0.2 is not a public address"),
    // Names.
    ("http://localhost/", "127.0.0.1 is not a public address"),
    ("http://LOCALHOST/", "127.0.0.1 is not a public address"),
    ("http://localhost./", "127.0.0.1 is not a public address"),
    ("http://mapped.example/", "127.0.0.1 is not a public address"),
    ("http://private.example/", "10.0.0.1 is not a public address"),
    ("https://private.example/", "10.0.0.1 is not a public address"),
    ("http://private.example:@/", "10.0.0.1 is not a public address"),
    ("http://metadata.example/", "169.254.169.254 is not a public address"),
    ("http://unique-local.example/", "fd00::1 is not a public address"),
    ("http://nat64.example/", "64:ff9b::7f00:1 is not a public address"),
    ("http://both.example:@/plain", "10.0.0.1 is not a public address"),
    ("http://both-swapped.example:@/plain", "10.0.0.1 is not a public address"),
    ("http://nothing.example/", "the name was not found"),
    ("http://unknown.example/", "the name was not found"),
    // URLs.
    ("http://me@files.example:@/plain", "the URL holds credentials"),
    ("http://me:s3cret@files.example:@/plain", "the URL holds credentials"),
    ("http://:s3cret@files.example:@/plain", "the URL holds credentials"),
    ("ftp://files.example/plain", "the scheme is not allowed"),
    ("file:///etc/passwd", "the scheme is not allowed"),
    ("data:text/plain,hello", "the scheme is not allowed"),
    ("gopher://127.0.0.1:6379/_", "the scheme is not allowed"),
    ("http://files.example:22/", "port 22 is not allowed"),
    ("http://files.example:0/", "port 0 is not allowed"),
    ("https://8.8.8.8:22/", "port 22 is not allowed"),
    ("http://8.8.8.8:@/", "port @ is not allowed"),
    ("files.example/plain", "this is no URL"),
    ("", "this is no URL"),
    ("http://", "this is no URL"),
    // Redirects.
    ("@/to-loopback", "127.0.0.1 is not a public address"),
    ("@/to-own-loopback", "127.0.0.2 is not a public address"),
    ("@/to-metadata", "169.254.169.254 is not a public address"),
    ("@/to-number", "169.254.169.254 is not a public address"),
    ("@/to-mapped", "169.254.169.254 is not a public address"),
    ("@/to-private-name", "10.0.0.1 is not a public address"),
    ("@/to-other-port", "port # is not allowed"),
    ("@/to-ssh", "port 22 is not allowed"),
    ("@/to-credentials", "the URL holds credentials"),
    ("@/to-file", "the scheme is not allowed"),
    ("@/to-garbage", "the redirect says no place"),
    ("@/to-binary", "the redirect says no place"),
    ("@/to-nowhere", "the redirect says no place"),
    ("@/to-two", "the redirect says no place"),
    ("@/to-itself", "there are more than 3 redirects"),
    ("@/4", "there are more than 3 redirects"),
    // Statuses.
    ("@/101", "the answer has status 101"),
    ("@/201", "the answer has status 201"),
    ("@/204", "the answer has status 204"),
    ("@/206", "the answer has status 206"),
    ("@/300", "the answer has status 300"),
    ("@/304", "the answer has status 304"),
    ("@/absent", "the answer has status 404"),
    ("@/500", "the answer has status 500"),
    // Heads.
    ("@/huge-head", "the answer is broken: message head is too large"),
    ("@/endless-head", "the answer is broken: message head is too large"),
    ("@/many-lines", "the answer is broken: message head is too large"),
    ("@/no-status", "the answer is broken: invalid HTTP status-code parsed"),
    ("@/no-http", "the answer is broken: invalid HTTP version parsed"),
    ("@/http-0.9", "the answer is broken: invalid HTTP version parsed"),
    ("@/closed", "the answer is broken: connection closed before message completed"),
    ("@/half-head", "the answer is broken: connection closed before message completed"),
    ("@/broken-line", "the answer is broken: invalid HTTP header parsed"),
    ("@/two-lengths", "the answer is broken: invalid content-length parsed"),
    ("@/no-length", "the answer is broken: invalid content-length parsed"),
    // Contents.
    ("@/gzip", "the content is encoded"),
    ("@/gzip-too", "the content is encoded"),
    ("@/gzip-chunked", "the content is encoded"),
    ("@/chunked-with-length", "the content is encoded"),
    ("@/short", "the content broke off"),
    ("@/short-chunked", "the content broke off"),
    ("@/no-last-chunk", "the content broke off"),
    ("@/broken-chunk", "the content broke off"),
    ("@/announced-too-large", "the content is over 65536 bytes"),
    ("@/announced-absurd", "the answer is broken"),
    ("@/too-large", "the content is over 65536 bytes"),
    ("@/too-large-chunked", "the content is over 65536 bytes"),
    ("@/endless", "the content is over 65536 bytes"),
    ("@/endless-chunks", "the content is over 65536 bytes"),
    ("@/endless-trailer", "the content broke off"),
    ("@/endless-extension", "the content broke off"),
];

/// A listener that nobody may reach.
fn untouched() -> TcpListener {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    listener
}

fn nobody_came(listener: &TcpListener) {
    assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock, "somebody came");
}

#[tokio::test]
async fn whatever_is_wrong_is_refused_by_one_error_and_for_its_own_reason() {
    let other = untouched();
    let server = Hostile::plain(|own| paths(own, other.local_addr().unwrap())).await;
    let names = Arc::new(names());
    let fetcher = fetcher(policy(&[&server]), &names);
    let (port, other_port) = (server.address.port(), other.local_addr().unwrap().port());
    for (url, expected) in REFUSED {
        let url = match url.strip_prefix("@/") {
            Some(path) => format!("http://files.example:{port}/{path}?token=s3cret"),
            None => url.replace(":@/", &format!(":{port}/")),
        };
        let expected = expected.replace('@', &port.to_string()).replace('#', &other_port.to_string());
        let log = refused(&fetcher, &url).await;
        assert!(log.starts_with(&expected), "{url}: {log}, and not {expected}");
    }
    nobody_came(&other);
}

#[tokio::test]
async fn what_is_refused_for_its_url_or_its_addresses_is_never_asked() {
    let server = Hostile::plain(|own| paths(own, own)).await;
    let names = Arc::new(names());
    let fetcher = fetcher(policy(&[&server]), &names);
    let port = server.address.port();
    for host in ["both.example", "both-swapped.example", "private.example", "me@files.example", "127.0.0.2"] {
        refused(&fetcher, &format!("http://{host}:{port}/plain")).await;
    }
    assert_eq!(server.heads(), [""; 0]);
    assert_eq!(names.asked(), ["both.example", "both-swapped.example", "private.example"]);
    for url in ["http://files.example:22/", "ftp://files.example/", "http://me@files.example/"] {
        refused(&fetcher, url).await;
    }
    assert_eq!(names.asked(), [""; 0], "a look-up tells somebody, too");
    assert_eq!(
        fetch(&fetcher, &format!("http://files.example:{port}/plain")).await.unwrap(),
        "hello",
        "the server is there"
    );
}

#[tokio::test]
async fn a_name_is_looked_up_once_for_a_request_and_what_it_means_later_is_not_used() {
    let paths = |_| Paths::from([("/a", content("", "hello")), ("/again", redirect("/a"))]);
    let server = Hostile::plain(paths).await;
    let url = |path| format!("http://changing.example:{}{path}", server.address.port());

    let first = Arc::new(names());
    assert_eq!(fetch(&fetcher(policy(&[&server]), &first), &url("/a")).await.unwrap(), "hello");
    assert_eq!(first.asked(), ["changing.example"]);

    let second = Arc::new(names());
    let log = refused(&fetcher(policy(&[&server]), &second), &url("/again")).await;
    assert_eq!(log, "10.0.0.1 is not a public address", "the redirect is a request of its own");
    assert_eq!(second.asked(), ["changing.example"; 2]);
    assert_eq!(server.heads().len(), 2);
}

#[tokio::test]
async fn localhost_of_this_machine_is_refused() {
    let server = Hostile::plain(|own| paths(own, own)).await;
    let fetcher = Fetcher::new(policy(&[&server]), Arc::new(SystemResolver)).unwrap();
    let log = refused(&fetcher, "http://localhost/").await;
    assert!(["127.0.0.1 is not a public address", "::1 is not a public address"].contains(&log.as_str()), "{log}");
}

#[tokio::test]
async fn http_is_refused_by_default_and_so_is_every_server_that_is_not_permitted() {
    let server = Hostile::plain(|own| paths(own, own)).await;
    let names = Arc::new(names());
    let url = format!("http://files.example:{}/plain", server.address.port());
    let permitted = Policy::default().trusting(common::ROOT).permitting(server.address);
    assert_eq!(refused(&fetcher(permitted, &names), &url).await, "the scheme is not allowed");
    let mut closed = Policy::default().trusting(common::ROOT);
    closed.http = true;
    let log = refused(&fetcher(closed, &names), &url).await;
    assert_eq!(log, format!("port {} is not allowed", server.address.port()));
    assert_eq!((names.asked().len(), server.heads().len()), (0, 0));
}

const SHORT: Duration = Duration::from_millis(150);

#[tokio::test]
async fn what_never_comes_is_not_waited_for() {
    let head = format!("{OK}Content-Length: 10\r\n\r\n");
    let server = Hostile::plain(|_| {
        Paths::from([
            ("/silent", Act::Stall(Vec::new())),
            ("/half-head", Act::Stall(b"HTTP/1.1 200 OK\r\nContent-Le".to_vec())),
            ("/continue", Act::Flood(Vec::new(), b"HTTP/1.1 100 Continue\r\n\r\n".to_vec())),
            ("/drip-head", Act::Drip(OK.as_bytes().to_vec(), Duration::from_millis(5))),
            ("/half-body", Act::Stall(format!("{head}hello").into_bytes())),
            ("/no-body", Act::Stall(head.into_bytes())),
            ("/drip-body", Act::Drip(format!("{OK}\r\n").into_bytes(), Duration::from_millis(5))),
        ])
    })
    .await;
    let names = Arc::new(names());
    let long = policy(&[&server]);
    let (mut connect, mut head, mut block, mut whole) = (long.clone(), long.clone(), long.clone(), long);
    (connect.connect_within, head.head_within) = (SHORT, SHORT);
    (block.block_within, whole.whole_within) = (SHORT, SHORT);
    let rows = [
        (&connect, "https", "/", "connecting took longer than 150ms"),
        (&head, "http", "/silent", "the head of the answer took longer than 150ms"),
        (&head, "http", "/half-head", "the head of the answer took longer than 150ms"),
        (&head, "http", "/continue", "the head of the answer took longer than 150ms"),
        (&head, "http", "/drip-head", "the head of the answer took longer than 150ms"),
        (&block, "http", "/half-body", "a block of the content took longer than 150ms"),
        (&block, "http", "/no-body", "a block of the content took longer than 150ms"),
        (&whole, "https", "/", "the whole took longer than 150ms"),
        (&whole, "http", "/silent", "the whole took longer than 150ms"),
        (&whole, "http", "/drip-body", "the whole took longer than 150ms"),
        (&whole, "http", "/half-body", "the whole took longer than 150ms"),
    ];
    for (policy, scheme, path, expected) in rows {
        let url = format!("{scheme}://files.example:{}{path}?token=s3cret", server.address.port());
        assert_eq!(refused(&fetcher(policy.clone(), &names), &url).await, expected, "{scheme} {path}");
    }
}

#[tokio::test]
async fn a_look_up_that_never_ends_is_not_waited_for() {
    struct Silent;
    #[async_trait::async_trait]
    impl larder_fetch::Resolve for Silent {
        async fn resolve(&self, _: &str) -> std::io::Result<Vec<std::net::IpAddr>> {
            std::future::pending().await
        }
    }
    let mut policy = policy(&[]);
    policy.connect_within = SHORT;
    let fetcher = Fetcher::new(policy, Arc::new(Silent)).unwrap();
    assert_eq!(refused(&fetcher, "https://files.example/").await, "connecting took longer than 150ms");
}

#[tokio::test]
async fn over_tls_a_server_proves_its_name_and_a_redirect_does_not_leave_tls() {
    let plain = Hostile::plain(|own| paths(own, own)).await;
    let to_plain = format!("http://files.example:{}/plain", plain.address.port());
    let server = Hostile::tls(|_| {
        Paths::from([
            ("/plain", content("Content-Length: 5\r\n", "hello")),
            ("/closed", content("", "hello")),
            ("/cut", Act::Drop(format!("{OK}\r\nhello").into_bytes())),
            ("/away", redirect(&to_plain)),
            ("/relative", redirect("/plain")),
        ])
    })
    .await;
    let names = Arc::new(names());
    let trusting = fetcher(policy(&[&server, &plain]), &names);
    let port = server.address.port();
    for host in ["files.example", "files.example.", "127.0.0.1"] {
        // A name with a dot at its end is another name to whoever looks it up.
        let names =
            Arc::new(Names::default().and("files.example", &[&["127.0.0.1"]]).and("files.example.", &[&["127.0.0.1"]]));
        let trusting = fetcher(policy(&[&server]), &names);
        assert_eq!(fetch(&trusting, &format!("https://{host}:{port}/plain")).await.unwrap(), "hello", "{host}");
    }
    assert_eq!(fetch(&trusting, &format!("https://files.example:{port}/relative")).await.unwrap(), "hello");
    assert_eq!(fetch(&trusting, &format!("https://files.example:{port}/closed")).await.unwrap(), "hello");

    let refused_at = async |fetcher: &Fetcher, url: String, expected: &str| {
        let log = refused(fetcher, &url).await;
        assert!(log.starts_with(expected), "{url}: {log}");
    };
    let no_tls = format!("no TLS with 127.0.0.1:{port}");
    refused_at(&trusting, format!("https://files.example:{port}/away"), "the redirect leads from https to http").await;
    refused_at(&trusting, format!("https://files.example:{port}/cut"), "the content broke off").await;
    refused_at(&trusting, format!("https://other.example:{port}/plain"), &no_tls).await;
    refused_at(&trusting, format!("http://files.example:{port}/plain"), "the answer is broken").await;
    assert_eq!(plain.heads(), [""; 0]);

    let elsewhere = Policy::default().trusting(OTHER_ROOT).permitting(server.address);
    server.heads();
    refused_at(&fetcher(elsewhere, &names), format!("https://files.example:{port}/plain"), &no_tls).await;
    server.one_ends().await;
    assert!(!server.heads().iter().any(|head| head.starts_with("GET")), "nothing is asked of who proves nothing");
}

#[test]
fn a_root_that_is_no_certificate_is_told_before_anything_is_fetched() {
    let policy = Policy::default().trusting(b"no certificate");
    let error = Fetcher::new(policy, Arc::new(SystemResolver)).err().unwrap();
    assert!(error.to_string().starts_with("no root certificates were found"), "{error}");
}

#[tokio::test]
async fn content_that_is_dropped_ends_its_connection() {
    let server = Hostile::plain(|_| {
        Paths::from([("/", Act::Stall(format!("{OK}Content-Length: 10\r\n\r\nhello").into_bytes()))])
    })
    .await;
    let fetcher = fetcher(policy(&[&server]), &Arc::new(names()));
    let mut fetched = fetcher.open(&format!("http://{}/", server.address)).await.unwrap();
    assert_eq!(fetched.stream.next().await.unwrap().unwrap(), "hello");
    drop(fetched);
    server.one_ends().await;
}

/// Runs the test of what is sent once more, in a process where every variable names a proxy.
#[test]
fn variables_that_name_a_proxy_are_not_read() {
    let proxy = untouched();
    let mut again = std::process::Command::new(std::env::current_exe().unwrap());
    again.args(["--exact", "what_is_sent_is_only_what_is_needed"]);
    for name in ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        again.env(name, format!("http://{}", proxy.local_addr().unwrap()));
    }
    let output = again.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    nobody_came(&proxy);
}

#[tokio::test]
async fn what_is_sent_is_only_what_is_needed() {
    let server = Hostile::plain(|_| Paths::from([("/a", redirect("/b?c=d")), ("/b", content("", "hello"))])).await;
    let fetcher = fetcher(policy(&[&server]), &Arc::new(names()));
    let host = format!("files.example:{}", server.address.port());
    assert_eq!(fetch(&fetcher, &format!("http://{host}/a?s3cret#fragment")).await.unwrap(), "hello");
    let head = |target: &str| {
        format!(
            "GET {target} HTTP/1.1\r\nhost: {host}\r\nuser-agent: larder\r\naccept: */*\r\n\
             accept-encoding: identity\r\nconnection: close\r\n\r\n"
        )
    };
    assert_eq!(server.heads(), [head("/a?s3cret"), head("/b?c=d")]);
}
