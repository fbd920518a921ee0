//! docs/tour.md and docs/api.md as they stand, run by a shell: what a reader types is what is tested, with a smaller file.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails loudly and tells what it skips")]

mod common;

use common::{Larder, PASSWORD, secrets};
use std::{env, fs, path::Path, process::Command};

const TOUR: &str = include_str!("../../../docs/tour.md");
const GUIDE: &str = include_str!("../../../docs/api.md");

/// The blocks of a page that are marked so, in order.
fn script(page: &str, mark: &str) -> String {
    let begin = format!("```sh {mark}");
    let mut inside = false;
    let mut script = String::new();
    for line in page.lines() {
        match line {
            line if line == begin => inside = true,
            "```" => inside = false,
            _ if inside => script = format!("{script}{line}\n"),
            _ => {}
        }
    }
    assert!(!script.is_empty());
    script.replace("127.0.0.1:8080", "127.0.0.1:0")
}

/// Runs a script in the place of a larder, which it makes itself; answers what it said. `None`, and a word, where there is no curl.
fn run(larder: &Larder, script: &str) -> Option<String> {
    if !Command::new("curl").arg("--version").output().is_ok_and(|output| output.status.success()) {
        println!("skipped: there is no curl");
        return None;
    }
    let binaries = Path::new(env!("CARGO_BIN_EXE_larder")).parent().unwrap();
    let path = format!("{}:{}", binaries.display(), env::var("PATH").unwrap());
    let script = format!("trap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n{script}");
    let mut command = Command::new("timeout");
    command.args(["180", "bash", "-euxo", "pipefail", "-c", &script]).current_dir(larder.place()).env("PATH", path);
    for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("LARDER_")) {
        command.env_remove(name);
    }
    let output = command.output().unwrap();
    assert_logs_kept(larder);
    let said = format!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
    Some(said)
}

/// The shell traces what is typed, passwords too; the servers' logs must hold none.
fn assert_logs_kept(larder: &Larder) {
    let read = |name: &str| fs::read(larder.place().join(name)).unwrap_or_default();
    secrets::keep(PASSWORD);
    for name in ["session.json", "guide/session.json", "guide/next.json"] {
        secrets::keep_tokens(&read(name));
    }
    for name in ["guide/upload.json", "guide/signed.json"] {
        secrets::keep_signed(&read(name));
    }
    for name in ["server.log", "again.log", "guide/server.log"] {
        secrets::assert_kept(&String::from_utf8_lossy(&read(name)), name);
    }
}

#[test]
fn the_tour_can_be_taken() {
    let script = script(TOUR, "tour").replace("300000000", "60000000");
    assert!(script.contains("larder rebuild"));
    let Some(said) = run(&Larder::new(), &script) else { return };
    for words in ["recovered: 1 upload or copy undone", "the database is missing", "brought back"] {
        assert!(said.contains(words), "the tour lacks `{words}`: {said}");
    }
}

#[test]
fn the_guide_asks_for_every_route_and_is_answered() {
    let larder = Larder::new();
    if run(&larder, &script(GUIDE, "guide")).is_none() {
        return;
    }
    // What the server counted before the last lines: each route answered well at least once. (Each that has a GET answers HEAD too.)
    let counted = std::fs::read_to_string(larder.place().join("guide/metrics.txt")).unwrap();
    let is_answered = |method: &str, route: &str| {
        let labels = format!("larder_http_requests_total{{method=\"{method}\",route=\"{route}\",status=\"");
        let mut statuses = counted.lines().filter_map(|line| line.strip_prefix(&labels));
        // That is off where nothing is configured, and the guide says so.
        let is_off = route.ends_with("/imports");
        statuses.any(|status| status.starts_with(['2', '3']) || is_off && status.starts_with("403"))
    };
    // The first comes behind the metrics in the guide, and the second counts itself only when it was answered.
    let after = [("POST", "/api/v1/auth/logout"), ("GET", "/metrics")];
    let asked = larder_api::routes().into_iter().filter(|route| route.0 != "HEAD" && !after.contains(route));
    for (method, route) in asked {
        assert!(is_answered(method, route), "the guide does not ask for {method} {route}");
    }
}
