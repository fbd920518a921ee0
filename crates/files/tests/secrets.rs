//! That whatever these suites log or report is looked through: each kind of secret is found where it is told.
#![allow(clippy::unwrap_used, reason = "a test may unwrap")]

mod support;

use larder_files::{Finding, FindingKind, Secrets};
use std::panic::{AssertUnwindSafe, catch_unwind};
use support::{Larder, MASTER, secrets};

#[tokio::test]
async fn each_kind_of_secret_is_found_in_the_log_and_in_reports() {
    let larder = Larder::new();
    let (files, _) = larder.start().await;
    let link = support::setup_token(&files).await;
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    for (what, secret) in [
        ("the master", hex(&MASTER)),
        ("the master, printed by accident", format!("{MASTER:?}")),
        ("a key of access tokens", hex(&files.signing_key("access"))),
        ("a key of refresh tokens", format!("{:?}", files.signing_key("refresh"))),
        ("a set-up token", link),
        ("a hash", "$argon2id$v=19$m=65536,t=3,p=1$c2FsdA$aGFzaA".to_owned()),
    ] {
        tracing::info!(target: "larder_files", "so {secret} was told");
        assert_eq!(secrets::told().len(), 1, "{what} in the log");
        let finding =
            Finding { kind: FindingKind::Foreign, key: Some(secret.clone()), id: None, detail: String::new() };
        support::look_at(&[finding]);
        assert_eq!(secrets::told().len(), 1, "{what} in a report");
    }
    tracing::warn!("{:?}", Secrets::new(MASTER));
    assert!(secrets::told().is_empty(), "what hides itself is not told");
    secrets::look_at(&hex(&MASTER));
    let watch = secrets::Watch::begin();
    assert!(catch_unwind(AssertUnwindSafe(|| drop(watch))).is_err(), "the end of a test tells");
}
