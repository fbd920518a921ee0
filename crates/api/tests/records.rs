//! Records: described, changed, thrown away, brought back, purged and listed; by their owner, by another, by an admin.

#![allow(clippy::unwrap_used)]

mod common;

use common::{Larder, Request};
use serde_json::{Value, json};

fn id(record: &Value) -> &str {
    record["id"].as_str().unwrap()
}

#[test]
fn a_patch_changes_what_it_names_and_nothing_else() {
    let larder = Larder::start();
    let record = larder.put("a.txt", b"x");
    let patch = |tag: &str, patch: Value| {
        larder.ada(&format!("PATCH /api/v1/files/{}", id(&record))).header("If-Match", tag).json(&patch).send()
    };
    let first = patch("\"v1\"", json!({"name": "b.txt", "tags": ["t"], "metadata": {"a": 1, "b": {"c": 2, "d": 3}}}));
    let changed = first.json();
    assert_eq!((first.status, first.header("etag")), (200, changed["etag"].as_str()), "{changed}");
    assert_eq!((&changed["name"], &changed["tags"]), (&json!("b.txt"), &json!(["t"])));
    assert_eq!((&changed["content_etag"], &changed["revision"]), (&record["content_etag"], &json!(1)));
    assert!(changed["version"].as_u64() > record["version"].as_u64());
    assert_eq!(patch("\"v1\"", json!({"name": "c"})).status, 412, "the record has moved on");
    let merged = patch(changed["etag"].as_str().unwrap(), json!({"metadata": {"a": null, "b": {"c": 9}}})).json();
    assert_eq!(merged["metadata"], json!({"b": {"c": 9, "d": 3}}));
    assert_eq!((&merged["name"], &merged["tags"]), (&json!("b.txt"), &json!(["t"])));
    let emptied = patch("*", json!({"tags": null, "metadata": null})).json();
    assert_eq!((&emptied["tags"], &emptied["metadata"]), (&json!([]), &json!({})));
}

#[test]
fn what_is_thrown_away_can_be_brought_back_until_it_is_purged() {
    let larder = Larder::start();
    let record = larder.put("a.txt", b"x");
    let (file, content) = (format!("/api/v1/files/{}", id(&record)), record["url"].as_str().unwrap());
    assert_eq!(larder.ada(&format!("DELETE {file}")).header("If-Match", "\"v1\"").send().status, 204);
    let trashed = larder.ada(&format!("GET {file}")).send().json();
    assert!(trashed["deleted_at"].is_string());
    assert_eq!(larder.ada(&format!("GET {content}")).send().status, 404);
    assert_eq!(larder.ada("GET /api/v1/files").send().json()["items"], json!([]));
    let trash = larder.ada("GET /api/v1/files?deleted=true").send().json();
    assert_eq!(trash["items"][0]["id"], record["id"]);

    let restored = larder.ada(&format!("POST {file}/restore")).header("If-Match", trashed["etag"].as_str().unwrap());
    let restored = restored.send();
    assert_eq!((restored.status, &restored.json()["deleted_at"]), (200, &Value::Null));
    assert_eq!(larder.ada(&format!("GET {content}")).send().text(), "x");

    assert_eq!(larder.ada(&format!("DELETE {file}?purge=true")).send().status, 204);
    for line in [format!("GET {file}"), format!("GET {content}"), format!("POST {file}/restore")] {
        let status = larder.ada(&line).send().status;
        assert!(matches!(status, 404 | 410), "{line}: {status}");
    }
    assert_eq!(larder.ada("GET /api/v1/files?deleted=true").send().json()["items"], json!([]));
}

#[test]
fn an_old_revision_is_removed_for_ever_and_the_newest_is_not() {
    let larder = Larder::start();
    let record = larder.put("a.txt", b"first");
    let (file, content) = (format!("/api/v1/files/{}", id(&record)), record["url"].as_str().unwrap());
    let replaced = larder.ada(&format!("PUT {content}")).header("Content-Type", "text/plain").body(b"second").send();
    assert_eq!(replaced.status, 200);
    let remove = |number: &str| larder.ada(&format!("DELETE {file}/revisions/{number}")).send();
    let newest = remove("2");
    assert_eq!((newest.status, newest.json()["code"].as_str()), (409, Some("conflict")));
    for unknown in ["3", "0", "x", "-1", "99999999999999999999"] {
        assert_eq!(remove(unknown).status, 404, "{unknown}");
    }
    let stale = larder.ada(&format!("DELETE {file}/revisions/1")).header("If-Match", "\"v1\"").send();
    assert_eq!(stale.status, 412);
    let removed = remove("1");
    assert_eq!((removed.status, removed.body.len()), (204, 0));
    assert_eq!(remove("1").status, 404);
    assert_eq!(larder.ada(&format!("GET {content}?revision=1")).send().status, 404);
    assert_eq!(larder.ada(&format!("GET {content}")).send().text(), "second");
    let left = larder.ada(&format!("GET {file}/revisions")).send().json();
    assert_eq!((left["items"].as_array().unwrap().len(), &left["items"][0]["revision"]), (1, &json!(2)));
    assert_eq!(larder.ada(&format!("GET {file}")).send().json(), replaced.json(), "the file is as it was");
}

#[test]
fn what_is_anothers_is_as_absent_to_the_byte_and_an_admin_sees_all() {
    let larder = Larder::start();
    let record = larder.put("a.txt", b"x");
    let absent = "01930000-0000-7000-8000-000000000000";
    let lines = [
        "GET /api/v1/files/ID",
        "GET /api/v1/files/ID/content",
        "HEAD /api/v1/files/ID/content",
        "GET /api/v1/files/ID/content?revision=1",
        "GET /api/v1/files/ID/revisions",
        "PUT /api/v1/files/ID/content",
        "PATCH /api/v1/files/ID",
        "DELETE /api/v1/files/ID",
        "DELETE /api/v1/files/ID/revisions/1",
        "DELETE /api/v1/files/ID?purge=true",
        "POST /api/v1/files/ID/restore",
    ];
    let before = larder.state();
    let sent = |line: &str, id: &str| {
        let request: Request<'_> = larder.bob(&line.replace("ID", id)).header("X-Request-Id", "same");
        let answer = if line.starts_with("PATCH") { request.json(&json!({"name": "x"})) } else { request }.send();
        let headers: Vec<_> = answer.headers.iter().filter(|(name, _)| name != "date").cloned().collect();
        let mut headers = headers;
        headers.sort();
        (answer.status, headers, answer.body)
    };
    for line in lines {
        let foreign = sent(line, id(&record));
        assert_eq!(foreign.0, 404, "{line}");
        assert_eq!(foreign, sent(line, absent), "{line}");
    }
    larder.state().same_as(&before, "a stranger");
    for line in &lines[..5] {
        assert_eq!(larder.root(&line.replace("ID", id(&record))).send().status, 200, "{line}");
    }
    let seen = larder.root(&format!("GET /api/v1/files/{}", id(&record))).send().json();
    assert_eq!(
        seen["copies"],
        json!([{"store": "local", "state": "verified", "verified_at": seen["copies"][0]["verified_at"]}])
    );
    assert_eq!(larder.root(&format!("DELETE /api/v1/files/{}", id(&record))).send().status, 204);
}

#[test]
fn a_walk_sees_each_file_once_and_filters_choose() {
    let larder = Larder::start();
    let mut names: Vec<String> = vec![];
    for n in 0..7 {
        names.push(format!("2026/{n}%25.txt"));
        larder.put(&names[n], b"x");
    }
    larder.put_by(&larder.bob, "bob.txt", b"x");
    let walk = |query: &str| {
        let (mut seen, mut cursor) = (vec![], String::new());
        loop {
            let page = larder.ada(&format!("GET /api/v1/files?limit=3{query}{cursor}")).send().json();
            let items = page["items"].as_array().unwrap().clone();
            assert!(items.len() <= 3);
            seen.extend(items.iter().map(|item| item["name"].as_str().unwrap().to_owned()));
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return seen,
            }
        }
    };
    let decoded: Vec<String> = names.iter().map(|name| name.replace("%25", "%")).collect();
    assert_eq!(walk(""), decoded);
    assert_eq!(walk("&bucket=documents&owner=ada&prefix=2026/&q=%25.TXT"), decoded);
    assert_eq!(walk("&name=2026/3%25.txt"), [decoded[3].clone()]);
    assert_eq!(walk("&prefix=%25").len() + walk("&q=_").len() + walk("&tag=t").len(), 0, "filters are literal");
    assert_eq!(walk("&owner=bob").len() + walk("&bucket=images").len(), 0);
    let all = larder.root("GET /api/v1/files?sort=created_at").send().json();
    assert_eq!(all["items"].as_array().unwrap().len(), 8);
    assert_eq!(larder.root("GET /api/v1/files?owner=bob").send().json()["items"][0]["name"], "bob.txt");
}

/// A list without the query, as the names of its files, its prefixes and its cursor.
fn page(larder: &Larder, query: &str) -> (Vec<String>, Vec<String>, Option<String>) {
    let page = larder.ada(&format!("GET /api/v1/files?{query}")).send().json();
    let names = page["items"].as_array().unwrap_or_else(|| panic!("{query}: {page}"));
    let names = names.iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect();
    let prefixes = page["prefixes"].as_array().into_iter().flatten().map(|text| text.as_str().unwrap().to_owned());
    (names, prefixes.collect(), page["next_cursor"].as_str().map(ToOwned::to_owned))
}

#[test]
fn lists_come_in_the_order_that_is_asked_for() {
    let larder = Larder::start();
    for (name, size) in [("b", 3), ("c", 1), ("a", 2), ("B", 2)] {
        larder.put(name, &vec![b'x'; size]);
    }
    let orders = [
        ("created_at", "bcaB"),
        ("-created_at", "Bacb"),
        ("name", "Babc"),
        ("-name", "cbaB"),
        ("size", "caBb"),
        ("-size", "bBac"),
    ];
    for (sort, wanted) in orders {
        assert_eq!(page(&larder, &format!("sort={sort}")).0.concat(), wanted, "{sort}");
        let (mut seen, mut cursor) = (String::new(), String::new());
        loop {
            let (names, _, next) = page(&larder, &format!("sort={sort}&limit=1{cursor}"));
            seen += &names.concat();
            let Some(next) = next else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(seen, wanted, "page by page, {sort}");
    }
}

#[test]
fn lists_choose_by_type_and_by_time_of_making() {
    let larder = Larder::start();
    let first = larder.put("a.txt", b"text");
    larder.put("b.bin", &[0, 159, 146, 150]);
    let created = first["created_at"].as_str().unwrap();
    assert_eq!(page(&larder, "type=text/plain").0, ["a.txt"]);
    assert_eq!(page(&larder, "type=text").0, [""; 0]);
    assert!(!page(&larder, &format!("created_after={created}")).0.contains(&"a.txt".to_owned()), "exclusive");
    assert!(page(&larder, &format!("created_before={created}")).0.is_empty(), "exclusive");
    let later = created.replace('Z', "0001Z");
    assert_eq!(page(&larder, &format!("created_before={later}")).0, ["a.txt"], "made a tenth of a microsecond before");
    assert!(!page(&larder, &format!("created_after={later}")).0.contains(&"a.txt".to_owned()), "made before");
    assert_eq!(
        page(&larder, "created_after=2000-01-01T00:00:00%2B02:00&created_before=9999-01-01T00:00:00Z").0.len(),
        2
    );
}

#[test]
fn names_are_listed_as_folders() {
    let larder = Larder::start();
    for name in ["2026/a", "2026/b", "2026/11/c", "2025/d", "top", "2026", "2026-x", "2026/11/e"] {
        larder.put(name, b"x");
    }
    larder.put_by(&larder.bob, "bobs/secret", b"x");
    let walk = |query: &str| {
        let (mut names, mut prefixes, mut cursor, mut pages) = (vec![], vec![], String::new(), 0);
        loop {
            let (some, folders, next) = page(&larder, &format!("delimiter=/&{query}{cursor}"));
            assert!(some.len() + folders.len() <= 2 || !query.contains("limit"));
            names.extend(some);
            prefixes.extend(folders);
            pages += 1;
            let Some(next) = next else { return (names, prefixes, pages) };
            cursor = format!("&cursor={next}");
        }
    };
    let strings = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
    let (files, folders) = (strings(&["2026", "2026-x", "top"]), strings(&["2025/", "2026/"]));
    assert_eq!(walk(""), (files.clone(), folders.clone(), 1));
    let reversed = |texts: &[String]| texts.iter().rev().cloned().collect::<Vec<_>>();
    assert_eq!(walk("sort=-name"), (reversed(&files), reversed(&folders), 1));
    for limit in ["limit=1", "limit=2"] {
        let (names, prefixes, pages) = walk(limit);
        assert_eq!((names, prefixes), (files.clone(), folders.clone()));
        assert!(pages > 2, "folders count towards the limit");
        let (names, prefixes, _) = walk(&format!("{limit}&sort=-name"));
        assert_eq!((names, prefixes), (reversed(&files), reversed(&folders)));
    }
    assert_eq!(walk("prefix=2026/"), (strings(&["2026/a", "2026/b"]), strings(&["2026/11/"]), 1));
    assert_eq!(walk("prefix=2026/1"), (vec![], strings(&["2026/11/"]), 1));
    assert_eq!(walk("prefix=2026/11/"), (strings(&["2026/11/c", "2026/11/e"]), vec![], 1));
}

#[test]
fn buckets_show_what_they_take_and_admins_where_they_keep_it() {
    let larder = Larder::start();
    let list = larder.ada("GET /api/v1/buckets").send().json();
    let names: Vec<_> =
        list["items"].as_array().unwrap().iter().map(|bucket| bucket["name"].as_str().unwrap()).collect();
    assert_eq!((names.len(), list["next_cursor"].is_null()), (5, true));
    let documents = larder.ada("GET /api/v1/buckets/documents").send().json();
    assert_eq!((&documents["max_bytes"], &documents["types"]), (&json!(16_u64 << 30), &json!(["*"])));
    assert!(documents.get("placement").is_none());
    assert!(larder.root("GET /api/v1/buckets/documents").send().json().get("placement").is_some());
}
