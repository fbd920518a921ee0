//! docs/tour.md as it stands, run by a shell: what a reader types is what is tested, with a smaller file.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails loudly and tells what it skips")]

mod common;

use common::Larder;
use std::{env, path::Path, process::Command};

const TOUR: &str = include_str!("../../../docs/tour.md");

/// The blocks marked `tour`, in order.
fn script() -> String {
    let mut inside = false;
    let mut script = String::new();
    for line in TOUR.lines() {
        match line {
            "```sh tour" => inside = true,
            "```" => inside = false,
            _ if inside => script = format!("{script}{line}\n"),
            _ => {}
        }
    }
    assert!(script.contains("larder rebuild"));
    script.replace("127.0.0.1:8080", "127.0.0.1:0").replace("300000000", "60000000")
}

#[test]
fn the_tour_can_be_taken() {
    if !Command::new("curl").arg("--version").output().is_ok_and(|output| output.status.success()) {
        println!("skipped: there is no curl");
        return;
    }
    let larder = Larder::new();
    let binaries = Path::new(env!("CARGO_BIN_EXE_larder")).parent().unwrap();
    let path = format!("{}:{}", binaries.display(), env::var("PATH").unwrap());
    let script = format!("trap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n{}", script());
    let mut command = Command::new("timeout");
    command.args(["180", "bash", "-euxo", "pipefail", "-c", &script]).current_dir(larder.place()).env("PATH", path);
    for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("LARDER_")) {
        command.env_remove(name);
    }
    let output = command.output().unwrap();
    let said = format!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
    for words in ["recovered: 1 upload undone", "the database is missing", "brought back"] {
        assert!(said.contains(words), "the tour lacks `{words}`: {said}");
    }
}
