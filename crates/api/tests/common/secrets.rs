//! What neither the log nor a problem may hold: each password and token that a test sends or is given.

#[path = "../../../files/tests/support/listener.rs"]
mod listener;

use super::Answer;
use serde_json::Value;
use std::{
    collections::{BTreeSet, VecDeque},
    sync::{Mutex, MutexGuard, Once, PoisonError},
};

static KEPT: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
/// What was logged and may still turn out to hold a secret.
static LOGGED: Mutex<VecDeque<String>> = Mutex::new(VecDeque::new());
/// So many lines are looked at again: a token is known a moment after its log-in is logged.
const AGAIN: usize = 64;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Nothing that is looked at from now on may hold this.
pub fn keep(secret: &str) {
    // What is so short may stand in any word.
    if secret.len() >= 8 {
        lock(&KEPT).insert(secret.to_owned());
    }
}

/// The secrets in a request.
pub fn keep_of_request(headers: &[(String, String)], body: &[u8]) {
    for (name, value) in headers {
        if name.eq_ignore_ascii_case("authorization") {
            keep(value.strip_prefix("Bearer ").unwrap_or_default());
        }
    }
    keep_members(body, &["password", "current_password", "refresh_token", "token"]);
}

/// The tokens in an answer; and a problem must hold no secret at all.
pub fn look_at(answer: &Answer) {
    match answer.header("content-type") {
        Some("application/problem+json") => assert_kept(&answer.text(), "a problem"),
        _ => keep_members(&answer.body, &["access_token", "refresh_token"]),
    }
}

fn keep_members(json: &[u8], names: &[&str]) {
    let Ok(Value::Object(members)) = serde_json::from_slice(json) else { return };
    for secret in names.iter().filter_map(|name| members.get(*name)?.as_str()) {
        keep(secret);
    }
}

/// Fails where something holds what nobody may be told.
#[track_caller]
pub fn assert_kept(said: &str, who: &str) {
    let told = lock(&KEPT).iter().find(|secret| said.contains(secret.as_str())).cloned();
    assert!(told.is_none(), "{who} tells the secret {told:?}: {said}");
}

/// Fails where the log, up to here, holds what nobody may be told.
#[track_caller]
pub fn assert_log_kept() {
    let lines: Vec<String> = {
        let mut logged = lock(&LOGGED);
        let again: VecDeque<_> = logged.iter().rev().take(AGAIN).rev().cloned().collect();
        std::mem::replace(&mut *logged, again).into()
    };
    for line in lines {
        assert_kept(&line, "the log");
    }
}

/// For who has told a secret on purpose.
pub fn forget_log() {
    lock(&LOGGED).clear();
}

/// Has everything that is logged in this process looked through.
pub fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        keep(&data_encoding::HEXLOWER.encode(&super::MASTER));
        listener::listen(|line| lock(&LOGGED).push_back(line));
    });
}
