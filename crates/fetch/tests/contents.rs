//! Contents as they are meant: blocks, lengths, types, names, redirects.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

mod common;

use common::{Act, Hostile, Names, Paths, content, fetcher, gathered, policy, redirect, say};
use futures_util::StreamExt;
use larder_fetch::Fetcher;
use std::{sync::Arc, time::Duration};

async fn over(server: &Hostile) -> Fetcher {
    fetcher(policy(&[server]), &Arc::new(Names::default()))
}

#[tokio::test]
async fn content_comes_with_its_length_its_type_and_its_name() {
    let server = Hostile::plain(|_| {
        Paths::from([
            (
                "/dir/na%C3%AFve.txt",
                content("Content-Length: 5\r\nContent-Type: text/plain; charset=utf-8\r\n", "hello"),
            ),
            ("/named", content("Content-Disposition: attachment; filename=\"../a.bin\"\r\nContent-Length: 0\r\n", "")),
            (
                "/chunked",
                content("Transfer-Encoding: chunked\r\n", "2;x=y\r\nhe\r\n3\r\nllo\r\n0\r\nTrailer: no\r\n\r\n"),
            ),
            ("/closed/", content("Content-Encoding: Identity\r\nContent-Type: \r\n", "hello")),
            ("/old", say("HTTP/1.0 200 OK\r\n\r\nhello")),
            (
                "/hint",
                say("HTTP/1.1 103 Early Hints\r\nLink: </>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"),
            ),
            ("/full", content("Content-Length: 65536\r\n", &"x".repeat(65536))),
            ("/full-closed", content("", &"x".repeat(65536))),
        ])
    })
    .await;
    let full = "x".repeat(65536);
    let full = full.as_str();
    let plain = Some("text/plain; charset=utf-8");
    let rows = [
        ("/dir/naïve.txt?x#y", "hello", Some(5), plain, Some("naïve.txt")),
        ("/named", "", Some(0), None, Some("a.bin")),
        ("/chunked", "hello", None, None, Some("chunked")),
        ("/closed/", "hello", None, None, None),
        ("/old", "hello", None, None, Some("old")),
        ("/hint", "hello", Some(5), None, Some("hint")),
        ("/full", full, Some(65536), None, Some("full")),
        ("/full-closed", full, None, None, Some("full-closed")),
    ];
    let fetcher = over(&server).await;
    for (path, body, size, content_type, name) in rows {
        let fetched = fetcher.open(&format!("http://{}{path}", server.address)).await.unwrap();
        assert_eq!(fetched.size, size, "{path}");
        assert_eq!((fetched.content_type.as_deref(), fetched.name.as_deref()), (content_type, name), "{path}");
        assert_eq!(gathered(fetched).await.unwrap(), body, "{path}");
    }
}

#[tokio::test]
async fn redirects_are_followed_three_times_and_the_last_place_gives_the_name() {
    let server = Hostile::plain(|own| {
        let rest = "Content-Length: 0\r\n\r\n";
        Paths::from([
            ("/a/start", say(format!("HTTP/1.1 301 Moved\r\nLocation: ../b/one\r\n{rest}"))),
            ("/b/one", say(format!("HTTP/1.1 307 Moved\r\nLocation: //{own}/b/two\r\n{rest}"))),
            ("/b/two", say(format!("HTTP/1.1 308 Moved\r\nLocation: http://{own}/end.txt#part\r\n{rest}"))),
            ("/see", say(format!("HTTP/1.1 303 Look there\r\nLocation: end.txt\r\n{rest}"))),
            // Nobody reads the content of a redirect.
            ("/endless", Act::Flood(b"HTTP/1.1 302 Found\r\nLocation: /end.txt\r\n\r\n".to_vec(), vec![b'x'; 1000])),
            ("/found", redirect("?again")),
            ("/end.txt", content("Content-Length: 5\r\n", "hello")),
        ])
    })
    .await;
    let fetcher = over(&server).await;
    for (path, requests) in [("/a/start", 4), ("/see", 2), ("/endless", 2)] {
        let fetched = fetcher.open(&format!("http://{}{path}", server.address)).await.unwrap();
        assert_eq!(fetched.name.as_deref(), Some("end.txt"), "{path}");
        assert_eq!(gathered(fetched).await.unwrap(), "hello", "{path}");
        assert_eq!(server.heads().len(), requests, "{path}");
    }
}

#[tokio::test]
async fn a_fetch_can_be_a_task_of_its_own() {
    let server = Hostile::plain(|_| Paths::from([("/", content("", "hello"))])).await;
    let (fetcher, url) = (over(&server).await, format!("http://{}/", server.address));
    let task = tokio::spawn(async move { gathered(fetcher.open(&url).await?).await });
    assert_eq!(task.await.unwrap().unwrap(), "hello");
}

/// 60,000 bytes, of which a client that takes one block has not all.
async fn long() -> Hostile {
    let body = "x".repeat(60_000);
    Hostile::plain(|_| Paths::from([("/", content("Content-Length: 60000\r\n", &body))])).await
}

/// Lets the clock of the runtime go forward while nobody reads.
async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

#[tokio::test]
async fn a_reader_has_no_longer_than_the_whole_may_take_even_if_all_is_there() {
    let server = long().await;
    let mut stream = over(&server).await.open(&format!("http://{}/", server.address)).await.unwrap().stream;
    pass(policy(&[]).whole_within).await;
    let error = stream.next().await.unwrap().unwrap_err();
    assert_eq!(error.cause().to_string(), "the whole took longer than 600s");
    assert!(stream.next().await.is_none(), "after an error there is nothing");
}

#[tokio::test]
async fn a_reader_may_take_its_time_between_two_blocks() {
    let server = long().await;
    let mut stream = over(&server).await.open(&format!("http://{}/", server.address)).await.unwrap().stream;
    let (mut length, mut blocks) = (0, 0);
    while let Some(block) = stream.next().await {
        length += block.unwrap().len();
        blocks += 1;
        if blocks == 1 {
            pass(policy(&[]).block_within * 2).await;
        }
    }
    assert_eq!(length, 60_000);
    assert!(blocks > 1, "one block proves nothing");
}
