//! What neither the log nor a report may hold: the master secret, the keys that are made of it, tokens, and hashes of passwords.
#![allow(dead_code, reason = "each test uses its part")]

#[path = "listener.rs"]
mod listener;

use std::{
    collections::BTreeSet,
    sync::{LazyLock, Mutex, MutexGuard, PoisonError},
};

/// How each hash of a password begins.
const HASH: &str = "$argon2";

static KEPT: LazyLock<Mutex<BTreeSet<String>>> = LazyLock::new(|| Mutex::new([HASH.to_owned()].into()));
/// What was said and held a secret.
static TOLD: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Nothing that is said from now on may hold this.
pub(crate) fn keep(secret: &str) {
    lock(&KEPT).insert(secret.to_owned());
}

/// Nor this, in hexadecimal digits or as a list of numbers.
pub(crate) fn keep_bytes(secret: &[u8]) {
    keep(&secret.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    keep(format!("{secret:?}").trim_matches(['[', ']']));
}

/// Remembers what holds a secret: to panic here could end a task that nobody waits for.
pub(crate) fn look_at(said: &str) {
    if lock(&KEPT).iter().any(|secret| said.contains(secret)) {
        lock(&TOLD).push(said.to_owned());
    }
}

/// What was told so far, forgotten here.
pub(crate) fn told() -> Vec<String> {
    std::mem::take(&mut lock(&TOLD))
}

/// Has everything that is logged in this process looked through; its end asserts that no secret was told.
#[derive(Debug)]
pub(crate) struct Watch(());

impl Watch {
    pub(crate) fn begin() -> Self {
        listener::listen(|line| look_at(&line));
        Self(())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let told = told();
            assert!(told.is_empty(), "secrets were told: {told:#?}");
        }
    }
}
