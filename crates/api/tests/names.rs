//! Files by their names, and copies of files.

#![allow(clippy::unwrap_used)]

mod common;

use common::Larder;
use serde_json::json;

const NAMES: &str = "/api/v1/buckets/documents/names";

#[test]
fn a_name_is_the_newest_live_file_of_ones_own_that_bears_it() {
    let larder = Larder::start();
    larder.put("2026/a%20b%2B%C3%BC%25.txt", b"old");
    let newer = larder.put("2026/a%20b%2B%C3%BC%25.txt", b"newer");
    larder.put_by(&larder.bob, "2026/a%20b%2B%C3%BC%25.txt", b"bob's");
    for path in ["2026/a%20b+%C3%BC%25.txt", "2026%2Fa%20b%2B%c3%bc%25.txt"] {
        let found = larder.ada(&format!("GET {NAMES}/{path}")).send();
        assert_eq!((found.status, &found.body[..]), (200, &b"newer"[..]), "{path}");
        assert_eq!(found.header("larder-file"), newer["id"].as_str());
        assert_eq!(found.header("etag"), newer["content_etag"].as_str());
    }
    let head = larder.ada(&format!("HEAD {NAMES}/2026/a%20b+%C3%BC%25.txt")).send();
    assert_eq!((head.status, head.header("content-length")), (200, Some("5")));
    let part = larder.ada(&format!("GET {NAMES}/2026/a%20b+%C3%BC%25.txt")).header("Range", "bytes=0-1").send();
    assert_eq!((part.status, &part.body[..]), (206, &b"ne"[..]));
    let bobs = larder.root(&format!("GET {NAMES}/2026/a%20b+%C3%BC%25.txt?owner=bob")).send();
    assert_eq!((bobs.status, &bobs.body[..]), (200, &b"bob's"[..]));
}

#[test]
fn what_no_file_of_ones_own_bears_is_absent() {
    let larder = Larder::start();
    let kept = larder.put("a.txt", b"x");
    larder.put_by(&larder.bob, "bob.txt", b"x");
    for line in [
        "GET /api/v1/buckets/documents/names/bob.txt",
        "GET /api/v1/buckets/documents/names/bob.txt?owner=bob",
        "GET /api/v1/buckets/documents/names/bob.txt?owner=nobody",
        "GET /api/v1/buckets/images/names/a.txt",
        "GET /api/v1/buckets/nowhere/names/a.txt",
        "GET /api/v1/buckets/documents/names/a",
        "GET /api/v1/buckets/documents/names/A.txt",
        "GET /api/v1/buckets/documents/names/a.txt/",
        "GET /api/v1/buckets/documents/names/",
        "DELETE /api/v1/buckets/documents/names/bob.txt",
        "DELETE /api/v1/buckets/documents/names/bob.txt?owner=bob",
    ] {
        assert_eq!(larder.ada(line).send().status, 404, "{line}");
    }
    assert_eq!(larder.ada("GET /api/v1/buckets/documents/names/%ff").send().status, 400);
    assert_eq!(larder.ada("GET /api/v1/buckets/documents/names/a.txt?x=1").send().status, 422);
    assert_eq!(larder.ada("POST /api/v1/buckets/documents/names/a.txt").send().status, 405);
    assert_eq!(larder.ada(&format!("GET /api/v1/files/{}", kept["id"].as_str().unwrap())).send().status, 200);
}

#[test]
fn a_delete_by_name_puts_the_newest_in_the_trash_and_the_one_before_bears_the_name() {
    let larder = Larder::start();
    let older = larder.put("a.txt", b"older");
    let newer = larder.put("a.txt", b"newer");
    let stale = larder.ada(&format!("DELETE {NAMES}/a.txt")).header("If-Match", "\"v9\"").send();
    assert_eq!((stale.status, stale.header("larder-file")), (412, newer["id"].as_str()));
    let gone = larder.ada(&format!("DELETE {NAMES}/a.txt")).header("If-Match", "\"v1\"").send();
    assert_eq!((gone.status, gone.header("larder-file")), (204, newer["id"].as_str()));
    let left = larder.ada(&format!("GET {NAMES}/a.txt")).send();
    assert_eq!((&left.body[..], left.header("larder-file")), (&b"older"[..], older["id"].as_str()));
    assert_eq!(larder.ada(&format!("DELETE {NAMES}/a.txt")).send().status, 204);
    assert_eq!(larder.ada(&format!("DELETE {NAMES}/a.txt")).send().status, 404);
}

#[test]
fn a_copy_is_a_file_of_its_own_with_the_same_content() {
    let larder = Larder::start();
    let large = vec![b'x'; 3 << 20];
    let source = larder.put("a.txt", &large);
    let id = source["id"].as_str().unwrap();
    let patch = json!({"tags": ["t"], "metadata": {"a": 1}});
    assert_eq!(larder.ada(&format!("PATCH /api/v1/files/{id}")).json(&patch).send().status, 200);
    let copied = larder.ada(&format!("POST /api/v1/files/{id}/copy")).json(&json!({"name": "b.txt"})).send();
    let copy = copied.json();
    assert_eq!((copied.status, copied.header("location").unwrap().rsplit('/').next()), (201, copy["id"].as_str()));
    assert_ne!(copy["id"], source["id"]);
    assert_eq!(
        (&copy["name"], &copy["bucket"], &copy["sha256"]),
        (&json!("b.txt"), &json!("documents"), &source["sha256"])
    );
    assert_eq!((&copy["tags"], &copy["metadata"], &copy["revision"]), (&json!(["t"]), &json!({"a": 1}), &json!(1)));
    assert_eq!(larder.ada(&format!("DELETE /api/v1/files/{id}?purge=true")).send().status, 204);
    let content = larder.ada(&format!("GET /api/v1/files/{}/content", copy["id"].as_str().unwrap())).send();
    assert_eq!((content.status, content.body.len()), (200, large.len()));
}

#[test]
fn a_copy_is_made_once_for_one_idempotency_key() {
    let larder = Larder::start();
    let id = larder.put("a.txt", b"x")["id"].as_str().unwrap().to_owned();
    let copy = |fields: serde_json::Value| {
        larder.ada(&format!("POST /api/v1/files/{id}/copy")).header("Idempotency-Key", "k").json(&fields).send()
    };
    let first = copy(json!({}));
    let again = copy(json!({}));
    assert_eq!((first.status, again.status), (201, 201));
    assert_eq!(first.json()["id"], again.json()["id"]);
    assert_eq!(copy(json!({"name": "other"})).status, 422);
    assert_eq!(copy(json!({"bucket": "documents"})).status, 422, "another request, though it means the same");
    assert_eq!(larder.ada("GET /api/v1/files").send().json()["items"].as_array().unwrap().len(), 2);

    // What has become of its source since makes it no other request.
    let source = format!("/api/v1/files/{id}");
    let changes = [
        larder.ada(&format!("PATCH {source}")).json(&json!({"tags": ["new"]})),
        larder.ada(&format!("PUT {source}/content")).body(b"another content"),
        larder.ada(&format!("DELETE {source}")),
        larder.ada(&format!("DELETE {source}?purge=true")),
    ];
    for change in changes {
        assert!(change.send().status < 300);
        let again = copy(json!({}));
        assert_eq!((again.status, again.json()["id"].as_str()), (201, first.json()["id"].as_str()), "{}", again.text());
    }
}

#[test]
fn a_delete_by_name_takes_the_content_that_a_get_by_name_told_of() {
    let larder = Larder::start();
    larder.put("a.txt", b"one");
    let etag = larder.ada(&format!("GET {NAMES}/a.txt")).send().header("etag").unwrap().to_owned();
    let delete = || larder.ada(&format!("DELETE {NAMES}/a.txt")).header("If-Match", &etag).send().status;
    larder.put("a.txt", b"two");
    assert_eq!(delete(), 412, "it is another's content by now");
    assert_eq!(larder.ada(&format!("DELETE {NAMES}/a.txt")).send().status, 204);
    assert_eq!((delete(), delete()), (204, 404));
}

#[test]
fn a_delete_by_name_never_takes_a_file_that_has_given_the_name_up() {
    let larder = Larder::start();
    for _ in 0..40 {
        let id = larder.put("a.txt", b"x")["id"].as_str().unwrap().to_owned();
        let rename = larder.ada(&format!("PATCH /api/v1/files/{id}")).json(&json!({"name": "kept"}));
        let delete = larder.ada(&format!("DELETE {NAMES}/a.txt"));
        // Where the machine is busy, the clock of tests runs ahead of who has the file: another is told to ask again.
        let send = |request: common::Request<'_>| {
            std::iter::repeat_with(|| request.clone().send().status).find(|status| *status != 503).unwrap()
        };
        let [renamed, deleted] = std::thread::scope(|scope| {
            let both = [rename, delete].map(|request| scope.spawn(move || send(request)));
            both.map(|one| one.join().unwrap())
        });
        assert!(matches!((renamed, deleted), (200, 404) | (404, 204)), "renamed {renamed}, deleted {deleted}");
    }
}

#[test]
fn what_can_not_be_copied_leaves_nothing() {
    let larder = Larder::start();
    let id = larder.put("a.txt", b"text")["id"].as_str().unwrap().to_owned();
    let trashed = larder.put("trashed.txt", b"text")["id"].as_str().unwrap().to_owned();
    assert_eq!(larder.ada(&format!("DELETE /api/v1/files/{trashed}")).send().status, 204);
    for (of, fields, status) in [
        (&id, json!({"bucket": "images"}), 415),
        (&id, json!({"bucket": "nowhere"}), 404),
        (&id, json!({"bucket": 1}), 422),
        (&id, json!({"name": ""}), 422),
        (&id, json!({"owner": "bob"}), 422),
        (&trashed, json!({}), 404),
    ] {
        let refused = larder.ada(&format!("POST /api/v1/files/{of}/copy")).json(&fields).send();
        assert_eq!(refused.status, status, "{fields}");
    }
    assert_eq!(larder.bob(&format!("POST /api/v1/files/{id}/copy")).json(&json!({})).send().status, 404);
    let list = larder.ada("GET /api/v1/files").send().json();
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
}

#[test]
fn a_put_by_name_makes_a_file_and_then_its_revisions() {
    let larder = Larder::start();
    let put = |content: &str| larder.ada(&format!("PUT {NAMES}/2026/a%20b.txt")).body(content);
    let made = put("one").send();
    let id = made.json()["id"].as_str().unwrap().to_owned();
    assert_eq!((made.status, made.header("larder-file")), (201, Some(id.as_str())), "{}", made.text());
    assert_eq!(made.header("location"), Some(format!("/api/v1/files/{id}").as_str()));
    assert_eq!(made.json()["name"], "2026/a b.txt");
    let replaced = put("two").send();
    assert_eq!((replaced.status, replaced.header("larder-file")), (200, Some(id.as_str())));
    assert_eq!((&replaced.json()["revision"], &replaced.json()["id"]), (&json!(2), &json!(id)));
    assert_eq!(larder.ada(&format!("GET {NAMES}/2026/a%20b.txt")).send().body, b"two");

    let etag = replaced.json()["content_etag"].as_str().unwrap().to_owned();
    for (header, value, status) in [
        ("If-None-Match", "*", 412),
        ("If-None-Match", etag.as_str(), 412),
        ("If-Match", "\"other\"", 412),
        ("Content-Type", "multipart/form-data; boundary=x", 415),
        ("If-Match", etag.as_str(), 200),
    ] {
        let answer = put("three").header(header, value).send();
        assert_eq!(answer.status, status, "{header}: {value}: {}", answer.text());
        let told = (status != 415).then_some(id.as_str());
        assert_eq!(answer.header("larder-file"), told, "{header}: {value}");
    }
    let fresh = |header, value| larder.ada(&format!("PUT {NAMES}/new.txt")).header(header, value).body("x").send();
    assert_eq!(fresh("If-Match", "*").status, 412);
    assert_eq!(fresh("If-None-Match", "*").status, 201);
    assert_eq!(fresh("If-None-Match", "*").status, 412);
    assert_eq!(larder.ada("GET /api/v1/files").send().json()["items"].as_array().unwrap().len(), 2);
    assert_eq!(larder.ada("PUT /api/v1/buckets/nowhere/names/a").body("x").send().status, 404);
    assert_eq!(larder.ada("PUT /api/v1/buckets/images/names/a.png").body("x").send().status, 415);
    assert_eq!(larder.ada(&format!("PUT {NAMES}/a?sha256={}", "0".repeat(64))).body("x").send().status, 422);
}

#[test]
fn an_upload_says_what_becomes_of_a_name_that_is_taken() {
    let larder = Larder::start();
    let upload = |choice: &str, content: &str| {
        larder.ada(&format!("POST /api/v1/buckets/documents/files?name=a.txt&on_conflict={choice}")).body(content)
    };
    let first = upload("fail", "one").send();
    let id = first.json()["id"].clone();
    assert_eq!(first.status, 201, "{}", first.text());
    let taken = upload("fail", "two").send();
    assert_eq!((taken.status, &taken.json()["code"]), (409, &json!("conflict")));
    assert!(taken.text().contains(id.as_str().unwrap()), "{}", taken.text());
    let replaced = upload("replace", "three").header("Idempotency-Key", "k").send();
    assert_eq!((replaced.status, &replaced.json()["id"], &replaced.json()["revision"]), (200, &id, &json!(2)));
    let again = upload("replace", "three").header("Idempotency-Key", "k").send();
    assert_eq!((again.status, &again.json()["revision"]), (200, &json!(2)));
    let other = upload("fail", "three").header("Idempotency-Key", "k").send();
    assert_eq!(other.status, 422, "the query is part of the request");
    assert_eq!(upload("keep_both", "four").send().status, 201);
    let form = "--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\n\r\nfive\r\n--x--\r\n";
    let by_form = |choice: &str| {
        larder
            .ada(&format!("POST /api/v1/buckets/documents/files?on_conflict={choice}"))
            .header("Content-Type", "multipart/form-data; boundary=x")
            .body(form)
            .send()
    };
    assert_eq!((by_form("fail").status, by_form("replace").status), (409, 200));
    assert_eq!(larder.bob("POST /api/v1/buckets/documents/files?name=a.txt&on_conflict=fail").send().status, 201);
}

#[test]
fn a_bucket_of_unique_names_tells_only_those_who_may_know_whose_it_is() {
    let larder = Larder::start();
    let wiki = "POST /api/v1/buckets/wiki/files?name=a.txt";
    assert_eq!(larder.ada("GET /api/v1/buckets/wiki").send().json()["names"], "unique");
    let id = larder.ada(wiki).body("x").send().json()["id"].as_str().unwrap().to_owned();
    for (answer, knows) in [(larder.ada(wiki).body("y").send(), true), (larder.bob(wiki).body("y").send(), false)] {
        assert_eq!(answer.status, 409);
        assert_eq!((answer.text().contains(&id), answer.header("larder-file").is_some()), (knows, knows));
    }
    let other = larder.bob("PUT /api/v1/buckets/wiki/names/a.txt").body("y").send();
    assert_eq!((other.status, other.header("larder-file")), (409, None), "{}", other.text());
    let is_new = larder.bob("PUT /api/v1/buckets/wiki/names/a.txt").header("If-None-Match", "*").body("y").send();
    assert_eq!(is_new.status, 409, "to bob there is none, but the name is taken: {}", is_new.text());
    let loose = larder.put_by(&larder.bob, "a.txt", b"z")["id"].as_str().unwrap().to_owned();
    let moved = larder.root(&format!("PATCH /api/v1/files/{loose}")).json(&json!({"bucket": "wiki"})).send();
    assert_eq!(moved.status, 409, "{}", moved.text());
    let both = json!({"bucket": "wiki", "name": "b.txt", "owner": "ada"});
    let moved = larder.root(&format!("PATCH /api/v1/files/{loose}")).json(&both).send().json();
    assert_eq!((&moved["bucket"], &moved["name"], &moved["owner"]), (&json!("wiki"), &json!("b.txt"), &json!("ada")));
    assert_eq!(larder.bob(&format!("GET /api/v1/files/{loose}")).send().status, 404);
}

#[test]
fn a_repeat_of_a_put_by_name_is_known_by_its_key_before_its_condition_is_judged() {
    let larder = Larder::start();
    let etag = larder.put("b.txt", b"old")["content_etag"].as_str().unwrap().to_owned();
    for (name, condition, tag, status) in [("a.txt", "If-None-Match", "*", 201), ("b.txt", "If-Match", &etag, 200)] {
        let put = |key: &str| {
            let line = format!("PUT {NAMES}/{name}");
            larder.ada(&line).header(condition, tag).header("Idempotency-Key", key).body("new").send()
        };
        let (first, again) = (put(name), put(name));
        assert_eq!((first.status, again.status), (status, status), "{name}");
        assert_eq!(first.header("larder-file"), again.header("larder-file"));
        assert_eq!(put("another").status, 412, "{name}");
        assert_eq!(put("another").status, 412, "{name}: nothing was done under it");
    }
}
