//! That whatever is logged or answered as a problem is looked through in these suites: each kind of secret is found where it is told.

#![allow(clippy::unwrap_used)]

mod common;

use common::{Answer, Larder, secrets};
use larder_api::{MetricsToken, ServerConfig, password};
use larder_files::{Role, UserName};
use serde_json::{Value, json};
use std::panic;

const METRICS: &str = "0123456789abcdef0123456789abcdef";
const PASSWORD: &str = "not-to-be-told";

#[test]
fn each_kind_of_secret_is_found_in_the_log_and_in_problems() {
    let larder =
        Larder::configured(ServerConfig { metrics_token: MetricsToken::new(METRICS), ..ServerConfig::default() }, None);
    let hash = password::hash(PASSWORD).unwrap();
    larder.block_on(larder.files.add_user(UserName::new("eve").unwrap(), Role::User, Some(hash))).unwrap();
    let credentials = json!({"username": "eve", "password": PASSWORD});
    let tokens = larder.anybody("POST /api/v1/auth/login").json(&credentials).send().json();
    let link = larder.block_on(larder.files.setup_token()).unwrap();
    let set_up = json!({"token": link, "username": "no name", "password": "long enough"});
    assert_eq!(larder.anybody("POST /setup").json(&set_up).send().status, 422);
    let metrics = larder.anybody("GET /metrics").header("Authorization", &format!("Bearer {METRICS}")).send();
    assert_eq!(metrics.status, 200);
    let sent = larder.token(&larder.ada);
    let listed = larder.anybody("GET /api/v1/files").header("Authorization", &format!("Bearer {sent}")).send();
    assert_eq!(listed.status, 200);
    secrets::assert_log_kept();

    let text = |value: &Value| value.as_str().unwrap().to_owned();
    for (what, secret) in [
        ("a password", PASSWORD.to_owned()),
        ("an access token", text(&tokens["access_token"])),
        ("a refresh token", text(&tokens["refresh_token"])),
        ("a token that was sent", sent),
        ("a set-up token", link.clone()),
        ("the token for metrics", METRICS.to_owned()),
        ("the master", data_encoding::HEXLOWER.encode(&common::MASTER)),
    ] {
        let problem = ("content-type".into(), "application/problem+json".into());
        let answer = Answer { status: 422, headers: vec![problem], body: format!("no {secret}!").into() };
        assert!(panic::catch_unwind(|| secrets::look_at(&answer)).is_err(), "{what} in a problem");
        tracing::info!(target: "larder_api", "so {secret} was told");
        assert!(panic::catch_unwind(secrets::assert_log_kept).is_err(), "{what} in the log");
        secrets::forget_log();
    }
    // By the server itself: it names what it does not know, and logs paths.
    let asked = panic::AssertUnwindSafe(|| larder.anybody(&format!("GET /health/live?{PASSWORD}")).send());
    assert!(panic::catch_unwind(asked).is_err(), "problems are looked at");
    assert_eq!(larder.anybody(&format!("POST /{PASSWORD}")).send().status, 404);
    assert!(panic::catch_unwind(secrets::assert_log_kept).is_err(), "the log is looked at");
    secrets::forget_log();
}
