//! What no output may hold: each password, token, master and link that a test gives or is given. Whatever a command or a server says
//! passes through here.

use serde_json::Value;
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::{Mutex, PoisonError},
};

static KEPT: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Nothing that is looked at from now on may hold this.
pub(crate) fn keep(secret: &str) {
    // What is so short may stand in any word.
    if secret.len() >= 8 {
        KEPT.lock().unwrap_or_else(PoisonError::into_inner).insert(secret.to_owned());
    }
}

/// The tokens of an answer, which are given to its client and to nobody else.
pub(crate) fn keep_tokens(answer: &[u8]) {
    let Ok(answer) = serde_json::from_slice::<Value>(answer) else { return };
    for token in ["access_token", "refresh_token"] {
        keep(answer[token].as_str().unwrap_or_default());
    }
}

/// What stands in the URL of an answer, where that leads to the server.
pub(crate) fn keep_signed(answer: &[u8]) {
    let Ok(answer) = serde_json::from_slice::<Value>(answer) else { return };
    keep(answer["url"].as_str().and_then(|url| url.split_once("/direct/")).unwrap_or_default().1);
}

/// What a command is configured with, and what lies in its data directory.
pub(crate) fn keep_of(command: &Command) {
    for (name, value) in command.get_envs() {
        let value = value.unwrap_or_default().to_str().unwrap_or_default();
        match name.to_str() {
            Some("LARDER_METRICS_TOKEN") => keep(value),
            Some("LARDER_DATABASE__URL") => keep_password(value),
            Some("LARDER_DATA") => keep_in(Path::new(value)),
            _ => {}
        }
    }
}

fn keep_in(data: &Path) {
    let texts = ["secrets.toml", "larder.toml"].map(|name| fs::read_to_string(data.join(name)).unwrap_or_default());
    for line in texts.iter().flat_map(|text| text.lines()) {
        match line.split_once('=').map(|(key, value)| (key.trim(), value.trim().trim_matches('"'))) {
            Some(("master" | "metrics_token", secret)) => keep(secret),
            Some(("url", url)) => keep_password(url),
            _ => {}
        }
    }
    keep_link(&fs::read_to_string(data.join("setup-link")).unwrap_or_default());
}

/// The token of a set-up link.
fn keep_link(text: &str) {
    for (_, token) in text.lines().filter_map(|line| line.split_once("/setup#")) {
        keep(token.split(|c: char| !c.is_ascii_alphanumeric() && !"-_".contains(c)).next().unwrap_or_default());
    }
}

/// With the signs around it, as it may be a short one.
fn keep_password(url: &str) {
    let password = url.split_once("://").and_then(|(_, rest)| rest.split_once('@')?.0.split_once(':'));
    if let Some((user, password)) = password {
        keep(&format!("{user}:{password}@"));
    }
}

/// Fails where `said` holds what nobody may be told.
#[track_caller]
pub(crate) fn assert_kept(said: &str, who: &str) {
    let kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner).clone();
    if let Some(told) = kept.iter().find(|secret| said.contains(*secret)) {
        panic!("{who} tells the secret `{told}`: {said}");
    }
}

/// A command whose output is looked through.
pub(crate) trait Told {
    /// Runs it to its end.
    fn told(&mut self) -> Output;
}

impl Told for Command {
    #[track_caller]
    fn told(&mut self) -> Output {
        let output = self.output().unwrap();
        look_through(self, &output);
        output
    }
}

#[track_caller]
pub(crate) fn look_through(command: &Command, output: &Output) {
    let arguments: Vec<PathBuf> = command.get_args().map(PathBuf::from).collect();
    let stdout = String::from_utf8_lossy(&output.stdout);
    keep(super::PASSWORD);
    keep_of(command);
    // A link is what this one is asked for.
    if arguments.iter().any(|argument| argument == Path::new("setup-link")) {
        keep_link(&stdout);
    } else {
        assert_kept(&stdout, &format!("standard output of {arguments:?}"));
    }
    assert_kept(&String::from_utf8_lossy(&output.stderr), &format!("standard error of {arguments:?}"));
}
