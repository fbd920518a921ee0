//! What neither the log nor a report may hold: the master secret, the keys that are made of it, tokens, and hashes of passwords.
#![allow(dead_code, reason = "each test uses its part")]

use std::{
    collections::BTreeSet,
    fmt::{Debug, Write as _},
    sync::{LazyLock, Mutex, MutexGuard, Once, PoisonError},
};
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span,
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
        static ONCE: Once = Once::new();
        ONCE.call_once(|| tracing::subscriber::set_global_default(Listener).expect("no other listens"));
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

/// Listens to each line: all of ours, and what matters of others'.
struct Listener;

impl Subscriber for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("larder") || *metadata.level() <= Level::WARN
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        look_at(&line.0);
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let _ = write!(self.0, "{field}={value:?} ");
    }
}
