//! Stores, as admins are told of them.
#![allow(clippy::unwrap_used)]

mod common;

use common::Larder;
use futures_util::{FutureExt, future, future::BoxFuture};
use larder_api::{Inspect, Inspected, Profile, ServerConfig};
use larder_files::{StoreName, Timestamp};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// A server of a store that answers in this time, or never.
#[derive(Debug)]
struct Told {
    answers: bool,
}

impl Inspect for Told {
    fn profile(&self) -> BoxFuture<'_, Option<Profile>> {
        if !self.answers {
            return future::pending().boxed();
        }
        let profile = Profile {
            probed_at: Timestamp::from_millis(1_763_739_045_000),
            conditional_create: true,
            conditional_replace: false,
            checks_payload: true,
            checks_sha256: false,
            batch_delete: true,
            lists_uploads: true,
            part_bytes_min: 5 << 20,
            presign: true,
            versions: false,
            tags: true,
            encrypts: true,
            clock_skew_seconds: -2,
        };
        future::ready(Some(profile)).boxed()
    }

    fn inspect(&self) -> BoxFuture<'_, Vec<Inspected>> {
        let line = |check, result, advice: &str| Inspected {
            check,
            result,
            detail: "as it was found".into(),
            advice: advice.into(),
            latency: Duration::from_millis(7),
        };
        let lines = vec![line("server", "passed", ""), line("CORS", "warning", "allow it")];
        future::ready(lines).boxed()
    }
}

fn larder(answers: bool) -> Larder {
    let inspector: Arc<dyn Inspect> = Arc::new(Told { answers });
    let inspectors = [(StoreName::new("local").unwrap(), inspector)].into();
    Larder::configured(ServerConfig { inspectors, ..ServerConfig::default() }, None)
}

#[test]
fn what_the_server_of_a_store_can_do_is_told_and_one_that_never_says_so_holds_no_list_up() {
    let profile = |larder: &Larder| larder.root("GET /api/v1/stores").send().json()["items"][0]["profile"].clone();
    let told = profile(&larder(true));
    assert_eq!(
        told,
        serde_json::json!({
            "probed_at": "2025-11-21T15:30:45.000Z", "conditional_create": true, "conditional_replace": false,
            "checks_payload": true, "checks_sha256": false, "batch_delete": true, "lists_uploads": true, "part_bytes_min": 5 << 20, "presign": true,
            "versions": false, "tags": true, "encrypts": true, "clock_skew_seconds": -2
        })
    );
    let silent = larder(false);
    let began = Instant::now();
    assert_eq!(profile(&silent), serde_json::Value::Null);
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}

#[test]
fn what_a_store_needs_of_its_server_is_told_behind_what_was_tried_of_the_store() {
    let checks = larder(true).root("POST /api/v1/stores/local/check").send().json()["checks"].clone();
    let lines = checks.as_array().unwrap();
    assert_eq!((lines.len(), &lines[4]["check"]), (7, &"delete".into()));
    assert_eq!(
        lines[5..],
        [
            serde_json::json!({"check": "server", "result": "passed", "detail": "as it was found", "latency_ms": 7, "advice": null}),
            serde_json::json!({"check": "CORS", "result": "warning", "detail": "as it was found", "latency_ms": 7, "advice": "allow it"}),
        ]
    );
}

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
