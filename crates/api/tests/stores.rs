//! Stores, as admins are told of them.
#![allow(clippy::unwrap_used)]

mod common;

use common::Larder;

#[test]
fn admins_are_told_how_each_store_is_and_what_lies_there() {
    let larder = Larder::start();
    larder.put("a.txt", b"a");
    let listed = larder.root("GET /api/v1/stores").send().json();
    let store = &listed["items"][0];
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
    assert_eq!(listed["next_cursor"], serde_json::Value::Null);
    for (field, value) in [
        ("name", "local".into()),
        ("kind", "memory".into()),
        ("place", "local".into()),
        ("mode", "edit".into()),
        ("state", "ready".into()),
        ("space", serde_json::Value::Null),
        ("objects", 1.into()),
        ("copies_pending", 0.into()),
    ] {
        let value: serde_json::Value = value;
        assert_eq!(store[field], value, "{field}: {store}");
    }
}

#[test]
fn a_store_is_tried_and_nothing_of_it_stays() {
    let larder = Larder::start();
    let before = larder.state();
    let answer = larder.root("POST /api/v1/stores/local/check").send();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let checks = answer.json()["checks"].as_array().unwrap().clone();
    let names: Vec<_> = checks.iter().map(|check| check["check"].as_str().unwrap()).collect();
    assert_eq!(names, ["marker", "mark", "write", "read", "delete"]);
    assert!(checks.iter().all(|check| check["result"] == "passed" && check["advice"].is_null()), "{checks:?}");
    larder.state().same_as(&before, "a check");
    assert_eq!(larder.root("POST /api/v1/stores/other/check").send().status, 404);
}
