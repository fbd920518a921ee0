//! Content as it is served: headers, conditions, ranges, revisions, names.

#![allow(clippy::unwrap_used)]

mod common;

use common::{Larder, noise, sha256};
use serde_json::Value;

fn url(record: &Value) -> String {
    record["url"].as_str().unwrap().to_owned()
}

#[test]
fn a_whole_download_says_all_about_its_content() {
    let larder = Larder::start();
    let record = larder.put("2026/na%C3%AFve.txt", b"hello");
    let answer = larder.ada(&format!("GET {}", url(&record))).send();
    assert_eq!((answer.status, answer.text().as_str()), (200, "hello"));
    answer.assert_harmless("a download");
    let digest = "sha-256=:LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=:";
    let expected = [
        ("content-type", "text/plain"),
        ("content-length", "5"),
        ("etag", record["content_etag"].as_str().unwrap()),
        ("repr-digest", digest),
        ("accept-ranges", "bytes"),
        ("content-disposition", "attachment; filename=\"na_ve.txt\"; filename*=UTF-8''na%C3%AFve.txt"),
    ];
    for (name, value) in expected {
        assert_eq!(answer.header(name), Some(value), "{name}");
    }
    let modified = httpdate::parse_http_date(answer.header("last-modified").unwrap()).unwrap();
    let seconds = modified.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let created = larder_files::Timestamp::parse(record["created_at"].as_str().unwrap()).unwrap();
    assert_eq!(seconds, created.as_millis() as u64 / 1000);
}

#[test]
fn head_says_the_same_as_get_and_sends_nothing() {
    let larder = Larder::start();
    let record = larder.put("a.bin", &noise(3_000_000));
    let get = larder.ada(&format!("GET {}", url(&record))).send();
    let head = larder.ada(&format!("HEAD {}", url(&record))).header("Range", "bytes=0-1").send();
    assert_eq!((head.status, head.body.len(), get.body.len()), (200, 0, 3_000_000));
    for name in ["content-length", "content-type", "etag", "repr-digest", "last-modified", "content-disposition"] {
        assert_eq!(head.header(name), get.header(name), "{name}");
    }
    for line in ["HEAD /api/v1/files", "HEAD /health/live", "HEAD /api/v1/buckets/documents"] {
        let answer = larder.ada(line).send();
        assert_eq!((answer.status, answer.body.len()), (200, 0), "{line}");
    }
}

#[test]
fn content_of_every_size_comes_back_as_it_was() {
    let larder = Larder::start();
    for size in [0, 1, 4096, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 5_000_000] {
        let content = noise(size);
        let record = larder.put("noise", &content);
        let answer = larder.ada(&format!("GET {}", url(&record))).send();
        assert_eq!((answer.status, sha256(&answer.body)), (200, sha256(&content)), "{size}");
        assert_eq!(answer.header("content-length"), Some(size.to_string().as_str()));
    }
}

#[test]
fn one_range_is_a_part_of_the_whole() {
    let larder = Larder::start();
    let content = noise(3_000_000);
    let record = larder.put("noise", &content);
    let cases = [
        ("bytes=0-0", 0..1),
        ("bytes=100-199", 100..200),
        ("bytes=2999999-", 2_999_999..3_000_000),
        ("bytes=-10", 2_999_990..3_000_000),
        ("bytes=10-9999999999", 10..3_000_000),
        ("bytes=5-6, 3000000-", 5..7),
    ];
    for (range, part) in cases {
        let answer = larder.ada(&format!("GET {}", url(&record))).header("Range", range).send();
        assert_eq!((answer.status, answer.body == content[part.clone()]), (206, true), "{range}");
        let place = format!("bytes {}-{}/3000000", part.start, part.end - 1);
        assert_eq!(answer.header("content-range"), Some(place.as_str()));
        assert_eq!(answer.header("content-length"), Some((part.end - part.start).to_string().as_str()));
        assert!(answer.header("repr-digest").is_some_and(|digest| digest.starts_with("sha-256=:")));
        answer.assert_harmless(range);
    }
}

#[test]
fn several_ranges_come_as_parts_in_the_order_asked_for() {
    let larder = Larder::start();
    let content = noise(3_000_000);
    let record = larder.put("noise", &content);
    let ranges = [10..20, 0..1, 100..2_000_100, 2_999_999..3_000_000];
    let asked: Vec<_> = ranges.iter().map(|range| format!("{}-{}", range.start, range.end - 1)).collect();
    let request = larder.ada(&format!("GET {}", url(&record)));
    let answer = request.header("Range", &format!("bytes={}", asked.join(", "))).send();
    assert_eq!(answer.status, 206);
    let boundary = answer.header("content-type").unwrap().strip_prefix("multipart/byteranges; boundary=").unwrap();
    let mut expected = vec![];
    for range in &ranges {
        let place = format!("Content-Range: bytes {}-{}/3000000", range.start, range.end - 1);
        let head = format!("\r\n--{boundary}\r\nContent-Type: application/octet-stream\r\n{place}\r\n\r\n");
        expected.extend_from_slice(head.as_bytes());
        expected.extend_from_slice(&content[range.start..range.end]);
    }
    expected.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    assert!(answer.body == expected, "{} bytes instead of {}", answer.body.len(), expected.len());
    assert_eq!(answer.header("content-length"), Some(expected.len().to_string().as_str()));
    answer.assert_harmless("parts");
}

#[test]
fn conditions_decide_whether_and_what_is_sent() {
    let larder = Larder::start();
    let record = larder.put("a", b"0123456789");
    let etag = record["content_etag"].as_str().unwrap();
    let weak = format!("W/{etag}");
    let first = larder.ada(&format!("GET {}", url(&record))).send();
    let modified = first.header("last-modified").unwrap();
    larder.clock.advance(std::time::Duration::from_secs(60));
    let before = "Sat, 01 Jan 2000 00:00:00 GMT";
    type Headers<'a> = &'a [(&'a str, &'a str)];
    let cases: &[(Headers<'_>, u16, &str)] = &[
        (&[("If-None-Match", etag)], 304, ""),
        (&[("If-None-Match", &weak)], 304, ""),
        (&[("If-None-Match", "*")], 304, ""),
        (&[("If-None-Match", "\"x\"")], 200, "0123456789"),
        (&[("If-Modified-Since", modified)], 304, ""),
        (&[("If-Modified-Since", before)], 200, "0123456789"),
        (&[("If-None-Match", "\"x\""), ("If-Modified-Since", modified)], 200, "0123456789"),
        (&[("If-Match", etag)], 200, "0123456789"),
        (&[("If-Unmodified-Since", modified)], 200, "0123456789"),
        (&[("If-Match", etag), ("If-None-Match", etag)], 304, ""),
        (&[("If-None-Match", etag), ("Range", "bytes=0-1")], 304, ""),
        (&[("Range", "bytes=2-3"), ("If-Range", etag)], 206, "23"),
        (&[("Range", "bytes=2-3"), ("If-Range", modified)], 206, "23"),
        (&[("Range", "bytes=2-3"), ("If-Range", &weak)], 200, "0123456789"),
        (&[("Range", "bytes=2-3"), ("If-Range", "\"x\"")], 200, "0123456789"),
        (&[("Range", "bytes=2-3"), ("If-Range", before)], 200, "0123456789"),
        (&[("Range", "bytes=99-"), ("If-Range", "\"x\"")], 200, "0123456789"),
        (&[("Range", "bytes=2-3"), ("If-Match", etag)], 206, "23"),
    ];
    for (headers, status, body) in cases {
        for method in ["GET", "HEAD"] {
            let request = larder.ada(&format!("{method} {}", url(&record)));
            let answer = headers.iter().fold(request, |request, (name, value)| request.header(name, value)).send();
            let (status, body) = match (method, status) {
                ("HEAD", 206) => (200, ""),
                ("HEAD", status) => (*status, ""),
                (_, status) => (*status, *body),
            };
            assert_eq!((answer.status, answer.text().as_str()), (status, body), "{method} {headers:?}");
            assert_eq!(answer.header("etag"), Some(etag), "{headers:?}");
            answer.assert_harmless(&format!("{headers:?}"));
        }
    }
}

#[test]
fn only_what_can_run_nothing_is_shown_inline() {
    let larder = Larder::start();
    let png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0\x1f\x15\xc4\x89";
    let cases: [(&str, &[u8], &str, &str); 4] = [
        ("a.png", png, "image/png", "inline"),
        ("a.html", b"<html><script>alert(1)</script>", "text/html", "attachment"),
        ("a.svg", b"<svg xmlns=\"http://www.w3.org/2000/svg\"/>", "", "attachment"),
        ("a.png", b"<html>", "", "attachment"),
    ];
    for (name, content, content_type, disposition) in cases {
        let record = larder.put(name, content);
        for query in ["", "?disposition=inline"] {
            let answer = larder.ada(&format!("GET {}{query}", url(&record))).send();
            let found = answer.header("content-disposition").unwrap();
            assert_eq!(found, format!("{disposition}; filename=\"{name}\""), "{content:?}");
            assert!(content_type.is_empty() || answer.header("content-type") == Some(content_type), "{answer:?}");
            answer.assert_harmless(name);
        }
        let forced = larder.ada(&format!("GET {}?disposition=attachment", url(&record))).send();
        assert!(forced.header("content-disposition").unwrap().starts_with("attachment"));
    }
}

#[test]
fn an_old_revision_has_its_own_validators() {
    let larder = Larder::start();
    let record = larder.put("a", b"first");
    larder.ada(&format!("PUT {}", url(&record))).body("second").send();
    let old = larder.ada(&format!("GET {}?revision=1", url(&record))).header("Range", "bytes=0-1").send();
    assert_eq!((old.status, old.text().as_str(), old.header("etag")), (206, "fi", record["content_etag"].as_str()));
    let same = larder.ada(&format!("GET {}?revision=1", url(&record)));
    assert_eq!(same.header("If-None-Match", record["content_etag"].as_str().unwrap()).send().status, 304);
}

#[test]
fn content_that_is_damaged_everywhere_is_lost_and_no_byte_of_it_goes_out() {
    let larder = Larder::start();
    let record = larder.put("a", b"precious");
    let objects = larder.disk.objects();
    let (key, _) = objects.iter().find(|(_, bytes)| &bytes[..] == b"precious").unwrap();
    assert!(larder.disk.damage(key, &b"PRECIOUS"[..]));
    let answer = larder.ada(&format!("GET {}", url(&record))).send();
    assert_eq!((answer.status, answer.code().as_str()), (500, "content_lost"), "{}", answer.text());
    answer.assert_harmless("lost content");
}
