//! Direct transfers over HTTP where the store signs nothing: the URLs lead to this server, and to nothing but what they were made for.

#![allow(clippy::unwrap_used)]

mod common;

use common::{Answer, Larder, Request};
use larder_api::ServerConfig;
use larder_files::FilesOf;
use serde_json::{Value, json};
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);

fn post<'a>(larder: &'a Larder, path: &str, body: &Value) -> Request<'a> {
    let request = larder.ada(&format!("POST /api/v1{path}")).header("Content-Type", "application/json");
    request.body(body.to_string().as_bytes())
}

fn open(larder: &Larder, body: &Value) -> Value {
    let answer = post(larder, "/buckets/documents/uploads", body).send();
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json()
}

/// The path of a URL that leads to this server.
fn path(url: &Value) -> String {
    let url = url.as_str().unwrap();
    common::secrets::keep(url.rsplit('/').next().unwrap());
    url.strip_prefix("http://larder").unwrap_or_else(|| panic!("{url}")).to_owned()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn put(larder: &Larder, path: &str, content: &[u8]) -> Answer {
    larder.anybody(&format!("PUT {path}")).body(content).send()
}

fn complete(larder: &Larder, upload: &Value) -> Answer {
    larder.ada(&format!("POST /api/v1/uploads/{}/complete", upload["id"].as_str().unwrap())).send()
}

#[test]
fn content_sent_to_a_url_becomes_a_file_when_it_is_completed() {
    let larder = Larder::start();
    let wanted = json!({
        "name": "a/report.txt", "size": 5, "tags": ["q3"], "metadata": {"year": 2026}, "content_type": "text/plain",
        "sha256": "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
    });
    let upload = open(&larder, &wanted);
    assert_eq!(upload["method"], "PUT");
    // The clock of these tests goes on where somebody waits.
    assert!(text(&upload["expires_at"]).starts_with("2026-11-21T16:1"), "in an hour: {upload}");
    assert_eq!(upload["headers"], json!({}));
    let link = path(&upload["url"]);
    assert_eq!(complete(&larder, &upload).status, 409, "nothing has arrived");
    assert_eq!(put(&larder, &link, b"four").status, 422, "a part that is too short");
    assert_eq!(put(&larder, &link, b"longer").status, 413, "a part that is too long");
    assert_eq!(put(&larder, &link, b"hello").status, 200);

    let answer = complete(&larder, &upload);
    assert_eq!(answer.status, 201, "{}", answer.text());
    let file = answer.json();
    let named = (&file["name"], &file["tags"], &file["metadata"], &file["size"]);
    assert_eq!(named, (&json!("a/report.txt"), &json!(["q3"]), &json!({"year": 2026}), &json!(5)));
    assert_eq!(answer.header("location").unwrap(), format!("/api/v1/files/{}", file["id"].as_str().unwrap()));
    let again = complete(&larder, &upload);
    assert_eq!((again.status, &again.json()["id"]), (201, &file["id"]));
    assert_eq!(put(&larder, &link, b"other").status, 404, "the upload has ended");
    let content = larder.ada(&format!("GET {}", file["url"].as_str().unwrap())).send();
    assert_eq!(content.text(), "hello");
}

#[test]
fn large_content_has_parts_that_come_in_any_order() {
    let larder = Larder::start();
    let content: Vec<u8> = (0..5 << 19).map(|at: u32| (at % 251) as u8).collect();
    let upload = open(&larder, &json!({"name": "a", "size": content.len(), "part_bytes": 1 << 20}));
    assert_eq!(upload.get("url"), None);
    let parts = upload["parts"].as_array().unwrap();
    assert_eq!(parts.len(), 3);
    for part in parts.iter().rev() {
        let number = |name: &str| usize::try_from(part[name].as_u64().unwrap()).unwrap();
        let (offset, size) = (number("offset"), number("size"));
        assert_eq!(put(&larder, &path(&part["url"]), &content[offset..offset + size]).status, 200);
    }
    let file = complete(&larder, &upload).json();
    let got = larder.ada(&format!("GET {}", file["url"].as_str().unwrap())).send();
    assert!(got.body == content, "other content came back");
}

#[test]
fn a_lie_is_refused_and_forgotten() {
    let larder = Larder::start();
    let upload = open(&larder, &json!({"name": "a", "size": 5, "sha256": "0".repeat(64)}));
    assert_eq!(put(&larder, &path(&upload["url"]), b"hello").status, 200);
    let answer = complete(&larder, &upload);
    assert_eq!((answer.status, &answer.json()["code"]), (422, &json!("digest_mismatch")));
    assert_eq!(complete(&larder, &upload).status, 404);
    let list = larder.ada("GET /api/v1/files").send().json();
    assert_eq!(list["items"], json!([]));
}

#[test]
fn content_is_read_by_a_url_until_it_ends_or_its_file_or_its_maker_is_gone() {
    let larder = Larder::start();
    let file = larder.put_by(&larder.ada, "ab.txt", b"content");
    let (id, other) = (file["id"].as_str().unwrap(), larder.put_by(&larder.ada, "other", b"other"));
    let sign = |body: Value| {
        let answer = post(&larder, &format!("/files/{id}/direct"), &body).send();
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    };
    let signed = sign(json!({"expires_in": 600}));
    assert_eq!((&signed["method"], &signed["headers"]), (&json!("GET"), &json!({})));
    let link = path(&signed["url"]);
    let get = |link: &str| larder.anybody(&format!("GET {link}")).send();
    let answer = get(&link);
    assert_eq!((answer.status, &*answer.text()), (200, "content"));
    assert_eq!(answer.header("content-disposition"), Some("attachment; filename=\"ab.txt\""));
    let part = larder.anybody(&format!("GET {link}")).header("Range", "bytes=1-3").send();
    assert_eq!((part.status, &*part.text()), (206, "ont"));
    assert_eq!(larder.anybody(&format!("HEAD {link}")).send().header("content-length"), Some("7"));
    assert_eq!(put(&larder, &link, b"content").status, 404, "it was made for reading");
    assert_eq!(get(&format!("{link}x")).status, 404);
    let upload = open(&larder, &json!({"name": "a", "size": 5}));
    assert_eq!(get(&path(&upload["url"])).status, 404, "that was made for sending");

    larder.clock.advance(Duration::from_secs(600));
    let ended = get(&link);
    assert_eq!((ended.status, &ended.json()["code"]), (410, &json!("gone")));
    let link = path(&sign(json!({}))["url"]);
    assert_eq!(get(&link).status, 200);
    assert_eq!(larder.ada(&format!("PUT /api/v1/files/{id}/content")).body("newer").send().status, 200);
    assert_eq!(get(&link).text(), "content", "it is the one that was signed");
    assert_eq!(larder.ada(&format!("DELETE /api/v1/files/{id}")).send().status, 204);
    assert_eq!(get(&link).status, 404, "it lies in the trash");
    let of_other = post(&larder, &format!("/files/{}/direct", other["id"].as_str().unwrap()), &json!({})).send();
    let link = path(&of_other.json()["url"]);
    assert_eq!(get(&link).status, 200);
    let to_root = FilesOf::GiveTo(larder.root.name.clone());
    larder.block_on(larder.files.delete_user(larder.ada.id, to_root)).unwrap();
    assert_eq!(get(&link).status, 404, "who made it is gone");
}

#[test]
fn what_is_asked_wrongly_is_refused_by_its_name() {
    let larder = Larder::start();
    let file = larder.put_by(&larder.ada, "a", b"x");
    let sign = format!("/files/{}/direct", file["id"].as_str().unwrap());
    let uploads = "/buckets/documents/uploads";
    for (path, body, field) in [
        (uploads, json!({"size": 5}), "name"),
        (uploads, json!({"name": "a"}), "size"),
        (uploads, json!({"name": "a", "size": -1}), "size"),
        (uploads, json!({"name": "a", "size": "5"}), "size"),
        (uploads, json!({"name": "a", "size": 5, "expires_in": 59}), "expires_in"),
        (uploads, json!({"name": "a", "size": 5, "part_bytes": 5}), "part_bytes"),
        (uploads, json!({"name": "a", "size": 5, "content_type": "png"}), "content_type"),
        (uploads, json!({"name": "a", "size": 5, "on_conflict": "maybe"}), "on_conflict"),
        (uploads, json!({"name": "a", "size": 5, "direct": "yes"}), "direct"),
        (uploads, json!({"name": "a", "size": 5, "other": 1}), "other"),
        (&sign, json!({"expires_in": 604_801}), "expires_in"),
        (&sign, json!({"expires_in": 0}), "expires_in"),
        (&sign, json!({"disposition": "none"}), "disposition"),
        (&sign, json!({"revision": "1"}), "revision"),
    ] {
        let answer = post(&larder, path, &body).send();
        assert_eq!((answer.status, &answer.json()["errors"][0]["field"]), (422, &json!(field)), "{body}");
    }
    assert_eq!(post(&larder, uploads, &json!({"name": "a", "size": 5, "sha256": "0"})).send().status, 400);
    assert_eq!(post(&larder, uploads, &json!({"name": "a", "size": 1_u64 << 60})).send().status, 413);
    assert_eq!(post(&larder, &sign, &json!({"revision": 2})).send().status, 404);
    assert_eq!(complete(&larder, &json!({"id": "no-id"})).status, 404);
    let untold = larder.ada(&format!("POST /api/v1{sign}")).body("{\"expires_in\": 60}").send();
    assert_eq!(untold.status, 415, "what does not say that it is JSON is not left aside");
}

#[test]
fn links_begin_as_clients_reach_the_server() {
    let public_url = Some("https://files.example.com/larder/".into());
    let larder = Larder::configured(ServerConfig { public_url, ..ServerConfig::default() }, None);
    let upload = open(&larder, &json!({"name": "a", "size": 5}));
    let url = upload["url"].as_str().unwrap();
    let link = url.strip_prefix("https://files.example.com/larder/direct/").unwrap_or_else(|| panic!("{url}"));
    assert_eq!(put(&larder, &format!("/direct/{link}"), b"hello").status, 200, "a proxy has taken its prefix off");
}

#[test]
fn an_upload_outlives_its_urls_for_a_while() {
    let larder = Larder::start();
    let upload = open(&larder, &json!({"name": "a", "size": 5, "expires_in": 60}));
    let link = path(&upload["url"]);
    assert_eq!(put(&larder, &link, b"hello").status, 200);
    larder.clock.advance(Duration::from_secs(60));
    assert_eq!(put(&larder, &link, b"hello").status, 410);
    larder.clock.advance(10 * HOUR);
    assert_eq!(complete(&larder, &upload).status, 201);
}
