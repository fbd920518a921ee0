//! Uploads: raw and as a form, small and streamed, with digests, names, owners and idempotency keys.

#![allow(clippy::unwrap_used)]

mod common;

use common::{Larder, form, noise, sha256};
use larder_api::Limits;
use std::io::{Read, Write};

const FILE: &str = "Content-Disposition: form-data; name=\"file\"; filename=\"a b.txt\"\r\nContent-Type: text/plain";
const NAME: &str = "Content-Disposition: form-data; name=\"name\"";
const TAGS: &str = "Content-Disposition: form-data; name=\"tags\"";
const METADATA: &str = "Content-Disposition: form-data; name=\"metadata\"";
const OTHER: &str = "Content-Disposition: form-data; name=\"other\"";
const FORM: &str = "multipart/form-data; boundary=XX";
const UPLOAD: &str = "POST /api/v1/buckets/documents/files";

/// Blocks and small bodies so small that a few kilobytes are streamed.
fn streaming() -> Limits {
    Limits { small_body_bytes: 0, block_bytes: 1000, ..Limits::default() }
}

#[test]
fn a_raw_body_becomes_a_file_with_its_record_and_place() {
    for limits in [Limits::default(), streaming()] {
        let larder = Larder::with(limits);
        let content = noise(10_000);
        let answer = larder.ada(&format!("{UPLOAD}?name=2026/noise.bin")).body(&content).send();
        assert_eq!(answer.status, 201, "{}", answer.text());
        let record = answer.json();
        assert_eq!(answer.header("location").unwrap(), format!("/api/v1/files/{}", record["id"].as_str().unwrap()));
        assert_eq!(answer.header("etag"), Some("\"v1\""));
        assert_eq!(record["name"], "2026/noise.bin");
        assert_eq!(record["bucket"], "documents");
        assert_eq!(record["owner"], "ada");
        assert_eq!(record["size"], 10_000);
        assert_eq!(record["sha256"], sha256(&content));
        assert_eq!(record["content_etag"], format!("\"{}\"", sha256(&content)));
        assert_eq!(
            (&record["revision"], &record["version"], &record["etag"]),
            (&1.into(), &1.into(), &"\"v1\"".into())
        );
        assert!(record["deleted_at"].is_null() && record["media"].is_null() && record.get("copies").is_none());
        let got = larder.ada(&format!("GET {}", record["url"].as_str().unwrap())).send();
        assert_eq!((got.status, &got.body), (200, &content));
    }
}

#[test]
fn a_form_may_have_its_fields_before_and_behind_the_file() {
    for limits in [Limits::default(), streaming()] {
        let larder = Larder::with(limits);
        let content = noise(5000);
        let (tags, metadata) = (br#"["q3"]"#, br#"{"year":2026}"#);
        let orders: [&[(&str, &[u8])]; 3] = [
            &[(NAME, b"n.bin"), (TAGS, tags), (METADATA, metadata), (FILE, &content)],
            &[(FILE, &content), (NAME, b"n.bin"), (TAGS, tags), (METADATA, metadata)],
            &[
                (TAGS, tags),
                (OTHER, b"ignored"),
                (FILE, &content),
                (METADATA, metadata),
                (NAME, b"n.bin"),
                (OTHER, b""),
            ],
        ];
        for parts in orders {
            let answer = larder.ada(UPLOAD).header("Content-Type", FORM).body(form("XX", parts)).send();
            let record = answer.json();
            assert_eq!(answer.status, 201, "{record}");
            assert_eq!(record["name"], "n.bin");
            assert_eq!(record["tags"][0], "q3");
            assert_eq!(record["metadata"]["year"], 2026);
            assert_eq!(record["sha256"], sha256(&content));
        }
    }
}

#[test]
fn content_may_hold_anything_but_its_own_boundary() {
    let contents: [&[u8]; 9] = [
        b"",
        b"\r\n",
        b"\r\n\r\n--",
        b"--XX",
        b"\r\n--X",
        b"\n--XX\r\n",
        b"\r\r\n--X\r\n--Y",
        b"--XX--\r\n",
        b"\r\n--\r\n-XX\r",
    ];
    for limits in [Limits::default(), streaming(), Limits { block_bytes: 1, ..streaming() }] {
        let larder = Larder::with(limits);
        for content in contents {
            let answer = larder.ada(UPLOAD).header("Content-Type", FORM).body(form("XX", &[(FILE, content)])).send();
            assert_eq!(answer.json()["sha256"], sha256(content), "{content:?}: {}", answer.text());
        }
    }
}

#[test]
fn a_form_that_arrives_byte_by_byte_is_the_same_form() {
    let larder = Larder::with(streaming());
    let content = b"one\r\n--XY\r\ntwo\r\n";
    let request = larder.ada(UPLOAD).header("Content-Type", FORM).body(form("XX", &[(FILE, content), (NAME, b"n")]));
    let mut connection = larder.connect();
    connection.set_nodelay(true).unwrap();
    for byte in request.bytes() {
        connection.write_all(&[byte]).unwrap();
    }
    let record = common::read_answer(connection).json();
    assert_eq!((&record["name"], &record["sha256"]), (&"n".into(), &sha256(content).into()));
}

#[test]
fn a_preamble_an_epilogue_and_padding_behind_a_boundary_are_passed_over() {
    let larder = Larder::start();
    let body =
        format!("preamble\r\n--XX \t\r\n{FILE}\r\n\r\nabc\r\n--XX--\r\nepilogue\r\n--XX\r\n{FILE}\r\n\r\nno\r\n");
    let answer = larder.ada(UPLOAD).header("Content-Type", "multipart/form-data; boundary=\"XX\"").body(body).send();
    assert_eq!((answer.status, &answer.json()["sha256"]), (201, &sha256(b"abc").into()));
}

#[test]
fn a_file_without_a_name_field_is_called_as_its_file_name_says() {
    let larder = Larder::start();
    let cases = [
        ("filename=\"a b.txt\"", "a b.txt"),
        ("filename=\"x\"; filename*=UTF-8''%C3%BC.txt", "ü.txt"),
        ("filename=\"C:\\new.txt\"", "C:\\new.txt"),
        ("filename=\"2026/in a folder.txt\"", "2026/in a folder.txt"),
    ];
    for (filename, name) in cases {
        let head = format!("content-disposition: form-data; name=\"file\"; {filename}");
        let answer = larder.ada(UPLOAD).header("Content-Type", FORM).body(form("XX", &[(&head, b"x")])).send();
        assert_eq!(answer.json()["name"], name, "{}", answer.text());
    }
}

#[test]
fn each_way_to_announce_a_digest_is_verified() {
    let larder = Larder::start();
    let (content, hex) = (b"announced", sha256(b"announced"));
    let dictionary = |bytes: &[u8]| {
        use sha2::Digest;
        format!("sha-256=:{}:", data_encoding::BASE64.encode(&sha2::Sha256::digest(bytes)))
    };
    let (right, wrong) = (dictionary(content), dictionary(b"another"));
    let raw = || larder.ada(&format!("{UPLOAD}?name=a")).body(content);
    let good = [
        larder.ada(&format!("{UPLOAD}?name=a&sha256={hex}")).body(content),
        larder.ada(&format!("{UPLOAD}?name=a&sha256={}", hex.to_uppercase())).body(content),
        raw().header("Content-Digest", &right),
        raw().header("Repr-Digest", &right).header("Content-Digest", &format!("sha-512=:AAAA:,{right}")),
        raw().header("Content-Digest", "unixsum=:AAAA:"),
    ];
    for request in good {
        let answer = request.send();
        assert_eq!(answer.status, 201, "{}", answer.text());
    }
    let before = larder.state();
    for header in ["Content-Digest", "Repr-Digest"] {
        let answer = raw().header(header, &wrong).send();
        assert_eq!((answer.status, answer.code().as_str()), (422, "digest_mismatch"));
        let head = format!("{FILE}\r\n{header}: {wrong}");
        let answer = larder.ada(UPLOAD).header("Content-Type", FORM).body(form("XX", &[(&head, content)])).send();
        assert_eq!((answer.status, answer.code().as_str()), (422, "digest_mismatch"));
    }
    larder.state().same_as(&before, "the refused request");
    let head = format!("{FILE}\r\nRepr-Digest: {right}");
    let answer = larder.ada(UPLOAD).header("Content-Type", FORM).body(form("XX", &[(&head, content)])).send();
    assert_eq!(answer.status, 201);
}

#[test]
fn a_repeat_under_the_same_key_answers_the_same_file_and_another_request_is_refused() {
    let larder = Larder::start();
    let send = |name: &str, body: &str| {
        larder.ada(&format!("{UPLOAD}?name={name}")).header("Idempotency-Key", "k1").body(body).send()
    };
    let (first, again) = (send("a", "x"), send("a", "x"));
    assert_eq!((first.status, again.status), (201, 201), "{}", again.text());
    assert_eq!(first.json()["id"], again.json()["id"]);
    for (name, body) in [("a", "y"), ("b", "x")] {
        let other = send(name, body);
        assert_eq!((other.status, other.code().as_str()), (422, "invalid"));
    }
    let of_bob = larder.bob(&format!("{UPLOAD}?name=a")).header("Idempotency-Key", "k1").body("x").send();
    assert_ne!(of_bob.json()["id"], first.json()["id"], "a key is one user's own");
    larder.ada(&format!("DELETE /api/v1/files/{}?purge=true", first.json()["id"].as_str().unwrap())).send();
    assert_eq!(send("a", "x").status, 410);
}

#[test]
fn an_admin_uploads_for_another_and_nobody_else_does() {
    let larder = Larder::start();
    let line = format!("{UPLOAD}?name=a&owner=ada");
    let record = larder.root(&line).body("x").send().json();
    assert_eq!((&record["owner"], &record["owner_id"]), (&"ada".into(), &larder.ada.id.to_string().into()));
    assert_eq!(record["copies"][0]["store"], "local");
    assert_eq!(larder.ada(&line).body("x").send().status, 201, "for oneself it is no privilege");
    let refused = larder.bob(&line).body("x").send();
    assert_eq!((refused.status, refused.code().as_str()), (403, "forbidden"));
}

#[test]
fn chunked_bodies_are_taken_and_empty_ones_too() {
    let larder = Larder::start();
    let chunked = larder.ada(&format!("{UPLOAD}?name=a")).header("Transfer-Encoding", "chunked");
    let record = chunked.body("3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n").send().json();
    assert_eq!((&record["size"], &record["sha256"]), (&5.into(), &sha256(b"abcde").into()));
    let record = larder.ada(&format!("{UPLOAD}?name=a")).body("").send().json();
    assert_eq!((&record["size"], &record["sha256"]), (&0.into(), &sha256(b"").into()));
}

#[test]
fn a_client_that_expects_a_continue_gets_it_first() {
    let larder = Larder::start();
    let request = larder.ada(&format!("{UPLOAD}?name=a")).header("Expect", "100-continue").body("abc");
    let bytes = request.bytes();
    let (head, body) = bytes.split_at(bytes.len() - 3);
    let mut connection = larder.connect();
    connection.write_all(head).unwrap();
    let mut line = [0; 25];
    connection.read_exact(&mut line).unwrap();
    assert_eq!(&line, b"HTTP/1.1 100 Continue\r\n\r\n");
    connection.write_all(body).unwrap();
    assert_eq!(common::read_answer(connection).status, 201);
}

#[test]
fn new_content_is_a_new_revision_and_the_old_one_stays() {
    let larder = Larder::start();
    let record = larder.put("a.txt", b"first");
    let url = record["url"].as_str().unwrap();
    let put = |tag: &str, body: &str| larder.ada(&format!("PUT {url}")).header("If-Match", tag).body(body).send();
    let first_etag = record["content_etag"].as_str().unwrap();
    let answer = put(first_etag, "second");
    assert_eq!((answer.status, &answer.json()["revision"]), (200, &2.into()), "{}", answer.text());
    let (stale, before) = (put(first_etag, "third"), larder.state());
    assert_eq!((stale.status, stale.code().as_str()), (412, "precondition_failed"));
    larder.state().same_as(&before, "the refused request");
    assert_eq!(put("*", "third").json()["revision"], 3);
    assert_eq!(larder.ada(&format!("PUT {url}")).body("fourth").send().json()["revision"], 4);
    assert_eq!(larder.ada(&format!("GET {url}")).send().text(), "fourth");
    for (revision, text) in [(1, "first"), (2, "second"), (3, "third"), (4, "fourth")] {
        assert_eq!(larder.ada(&format!("GET {url}?revision={revision}")).send().text(), text);
    }
    let list = larder.ada(&format!("GET /api/v1/files/{}/revisions", record["id"].as_str().unwrap())).send().json();
    let numbers: Vec<_> = list["items"].as_array().unwrap().iter().map(|item| item["revision"].as_u64()).collect();
    assert_eq!(numbers, [Some(1), Some(2), Some(3), Some(4)]);
}

#[test]
fn revisions_come_in_pages() {
    let larder = Larder::start();
    let record = larder.put("a.txt", b"1");
    let url = record["url"].as_str().unwrap();
    for content in ["2", "3"] {
        assert_eq!(larder.ada(&format!("PUT {url}")).body(content).send().status, 200);
    }
    let list = format!("GET /api/v1/files/{}/revisions", record["id"].as_str().unwrap());
    let page = |query: &str| larder.ada(&format!("{list}?{query}")).send().json();
    let numbers = |page: &serde_json::Value| -> Vec<u64> {
        page["items"].as_array().unwrap().iter().map(|item| item["revision"].as_u64().unwrap()).collect()
    };
    let first = page("limit=2");
    assert_eq!(numbers(&first), [1, 2]);
    let rest = page(&format!("limit=2&cursor={}", first["next_cursor"].as_str().unwrap()));
    assert_eq!((numbers(&rest), rest["next_cursor"].is_null()), (vec![3], true));
    assert!(page("limit=3")["next_cursor"].is_null(), "nothing is behind the last");
    for wrong in ["limit=0", "limit=1001", "cursor=x"] {
        assert_eq!(larder.ada(&format!("{list}?{wrong}")).send().status, 422, "{wrong}");
    }
}

#[test]
fn a_date_that_held_when_new_content_began_to_come_must_hold_when_it_has_come() {
    let larder = Larder::start();
    let record = larder.put("a.txt", b"first");
    let url = record["url"].as_str().unwrap();
    let modified = larder.ada(&format!("HEAD {url}")).send().header("last-modified").unwrap().to_owned();
    let slow = larder.ada(&format!("PUT {url}")).header("If-Unmodified-Since", &modified).body("slow").bytes();
    let (begun, rest) = slow.split_at(slow.len() - 2);
    let mut connection = larder.connect();
    connection.write_all(begun).unwrap();
    assert_eq!(larder.ada(&format!("PUT {url}")).body("quick").send().status, 200);
    connection.write_all(rest).unwrap();
    assert_eq!(common::read_answer(connection).status, 412);
    assert_eq!(larder.ada(&format!("GET {url}")).send().text(), "quick");
}

#[test]
fn a_name_that_must_be_there_must_still_be_when_new_content_has_come() {
    let larder = Larder::start();
    let url = "/api/v1/buckets/documents/names/a.txt";
    larder.put("a.txt", b"first");
    assert_eq!(larder.ada(&format!("PUT {url}")).header("If-Match", "*").body("second").send().status, 200);
    let slow = larder.ada(&format!("PUT {url}")).header("If-Match", "*").header("Expect", "100-continue").body("slow");
    let slow = slow.bytes();
    let (begun, rest) = slow.split_at(slow.len() - 4);
    let mut connection = larder.connect();
    connection.write_all(begun).unwrap();
    // It is judged by the time that it asks for the body.
    let mut asked = [0; 25];
    connection.read_exact(&mut asked).unwrap();
    assert_eq!(&asked, b"HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(larder.ada(&format!("DELETE {url}")).send().status, 204);
    connection.write_all(rest).unwrap();
    assert_eq!(common::read_answer(connection).status, 412);
    assert_eq!(larder.ada(&format!("GET {url}")).send().status, 404);
}
