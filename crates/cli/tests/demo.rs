//! `larder demo`, as a new user runs it: each step is said once it was checked, and nothing is left.
#![allow(clippy::unwrap_used, reason = "a test fails loudly")]

mod common;

use common::{Larder, secrets::Told as _};
use serde_json::Value;
use std::fs;

#[test]
fn the_demo_shows_every_step_and_leaves_nothing() {
    let larder = Larder::new();
    let temporary = larder.place().join("tmp");
    fs::create_dir(&temporary).unwrap();
    // What is said of another larder is not its concern.
    let output = larder
        .command(&["demo", "--json"])
        .env("TMPDIR", &temporary)
        .env("LARDER_LISTEN", "nowhere")
        .env("LARDER_BUCKETS__DOCUMENTS__MAX_BYTES", "1")
        .told();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let steps: Vec<Value> = output
        .stdout
        .split_inclusive(|byte| *byte == b'\n')
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect();
    let told: Vec<_> = steps.iter().map(|step| step["did"].as_str().unwrap()).collect();
    for word in [
        "server",
        "three files",
        "same bytes",
        "part of it",
        "found",
        "WebP of 300",
        "signed URL",
        "trash",
        "kill -9",
        "database deleted",
    ] {
        assert!(told.iter().any(|step| step.contains(word)), "{word}: {told:#?}");
    }
    assert_eq!(fs::read_dir(&temporary).unwrap().count(), 0);
    assert!(!larder.data().exists(), "it has a directory of its own");
}

#[test]
fn the_demo_writes_a_page_of_pictures_where_that_is_asked_for() {
    let larder = Larder::new();
    let page = larder.place().join("sheet.html");
    let output = larder.command(&["demo", "--html", page.to_str().unwrap()]).env("TMPDIR", larder.place()).told();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let page = fs::read_to_string(page).unwrap();
    assert_eq!(page.matches("<img ").count(), 3 * 8);
    for format in ["image/avif", "image/webp", "image/jpeg", "image/png", "image/svg+xml"] {
        assert!(page.contains(&format!("src='data:{format};base64,")), "{format}");
    }
}

#[test]
fn the_demo_keeps_its_directory_where_that_is_asked_for() {
    let larder = Larder::new();
    let output = larder.command(&["demo", "--keep"]).env("TMPDIR", larder.place()).told();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    let kept = said.lines().find_map(|line| line.strip_prefix("everything is in ")).unwrap();
    let listed = larder.ok(&["--data", &format!("{kept}/data"), "ls"]);
    assert!(listed.contains("2026/report.txt"), "{listed}");
}
