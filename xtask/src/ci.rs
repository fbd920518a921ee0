//! `cargo xtask ci`: the list of what a change must pass.
//!
//! Stops at the first failure and says what to run. Reads no standard input, and needs nothing but a fresh clone
//! and a Rust toolchain: tools that are not installed are left out, by name, in the summary.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};
use xshell::{Shell, cmd};

use crate::{imports, postgres, root, s3, schemathesis, shipped, tidy};

/// One thing that must hold.
struct Step {
    name: &'static str,
    run: fn(&Shell) -> Result<Outcome>,
    /// What to type after a failure.
    again: &'static str,
}

/// How a step that did not fail ended.
enum Outcome {
    Passed,
    Skipped(String),
}

/// Cheap and telling first. Clippy, documentation and tests share one set of features, so that nothing is built twice.
const STEPS: &[Step] = &[
    Step { name: "format", run: format, again: "cargo fmt --all" },
    Step { name: "tidy", run: check_text, again: "cargo xtask tidy" },
    Step { name: "imports", run: check_imports, again: "cargo xtask imports" },
    Step { name: "shipped", run: check_shipped, again: "cargo xtask ci shipped" },
    Step { name: "deny", run: deny, again: "cargo deny check" },
    Step { name: "clippy", run: clippy, again: "cargo clippy --workspace --all-targets --all-features -- -D warnings" },
    Step {
        name: "docs",
        run: docs,
        again: "RUSTDOCFLAGS='-D warnings' cargo doc --no-deps --workspace --all-features",
    },
    Step { name: "fuzz", run: fuzz, again: "cargo check --locked --manifest-path fuzz/Cargo.toml" },
    Step { name: "tests", run: tests, again: "cargo test --workspace --all-features" },
    Step { name: "s3", run: minio, again: "cargo xtask ci s3" },
];

/// What takes longer, or more than a toolchain: with `--full`, or by name.
const LONGER: &[Step] = &[
    Step { name: "schemathesis", run: schemathesis, again: "cargo xtask ci schemathesis" },
    Step { name: "versitygw", run: versitygw, again: "cargo xtask ci versitygw" },
    Step { name: "garage", run: garage, again: "cargo xtask ci garage" },
    Step { name: "moto", run: moto, again: "cargo xtask ci moto" },
    Step { name: "ceph", run: ceph, again: "cargo xtask ci ceph" },
];

/// Runs all steps, or those that are named.
pub(crate) fn run(names: &[String]) -> Result<()> {
    let chosen = choose(names)?;
    let shell = Shell::new()?;
    shell.change_dir(root());
    let mut summary = Vec::new();
    for step in chosen {
        eprintln!("\n── {}", step.name);
        let started = Instant::now();
        let outcome = (step.run)(&shell);
        summary.push(line(step.name, started.elapsed(), &outcome));
        if let Err(error) = outcome {
            print(&summary);
            bail!("step `{}` failed: {error:#}\n       run: {}", step.name, step.again);
        }
    }
    print(&summary);
    eprintln!("all passed");
    Ok(())
}

fn choose(names: &[String]) -> Result<Vec<&'static Step>> {
    let all = || STEPS.iter().chain(LONGER);
    match names {
        [] => return Ok(STEPS.iter().collect()),
        [full] if full == "--full" => return Ok(all().collect()),
        _ => {}
    }
    let find = |name: &String| match all().find(|step| step.name == name) {
        Some(step) => Ok(step),
        None => bail!("unknown step `{name}`; steps are {}", all().map(|s| s.name).collect::<Vec<_>>().join(", ")),
    };
    names.iter().map(find).collect()
}

fn line(name: &str, took: Duration, outcome: &Result<Outcome>) -> String {
    let verdict = match outcome {
        Ok(Outcome::Passed) => "ok".to_owned(),
        Ok(Outcome::Skipped(why)) => format!("skipped: {why}"),
        Err(_) => "FAILED".to_owned(),
    };
    format!("{name:<12} {:>7.1} s  {verdict}", took.as_secs_f64())
}

fn print(summary: &[String]) {
    eprintln!("\n── summary\n{}", summary.join("\n"));
}

fn format(shell: &Shell) -> Result<Outcome> {
    passed(cmd!(shell, "cargo fmt --all --check").run())
}

fn check_text(_: &Shell) -> Result<Outcome> {
    tidy::run(&[])?;
    Ok(Outcome::Passed)
}

fn check_imports(_: &Shell) -> Result<Outcome> {
    imports::run(&[])?;
    Ok(Outcome::Passed)
}

fn check_shipped(shell: &Shell) -> Result<Outcome> {
    shipped::check(shell)?;
    Ok(Outcome::Passed)
}

fn deny(shell: &Shell) -> Result<Outcome> {
    if cmd!(shell, "cargo deny --version").quiet().ignore_stderr().read().is_err() {
        return Ok(Outcome::Skipped("cargo-deny is not installed".into()));
    }
    // Not `advisories`: they change with the world, and a change must not fail for what it did not do.
    passed(cmd!(shell, "cargo deny --all-features check bans licenses sources").run())
}

fn clippy(shell: &Shell) -> Result<Outcome> {
    passed(cmd!(shell, "cargo clippy --workspace --all-targets --all-features -- -D warnings").run())
}

fn docs(shell: &Shell) -> Result<Outcome> {
    let _warnings = shell.push_env("RUSTDOCFLAGS", "-D warnings");
    passed(cmd!(shell, "cargo doc --no-deps --workspace --all-features").run())
}

/// That the targets of `fuzz/` still build; to run one is somebody's decision.
fn fuzz(shell: &Shell) -> Result<Outcome> {
    if cmd!(shell, "c++ --version").quiet().ignore_stdout().ignore_stderr().run().is_err() {
        return Ok(Outcome::Skipped("there is no C++ compiler, which libFuzzer needs".into()));
    }
    passed(cmd!(shell, "cargo check --locked --manifest-path fuzz/Cargo.toml").run())
}

fn tests(shell: &Shell) -> Result<Outcome> {
    let server = postgres::Server::start()?;
    let _told = server.as_ref().map(|server| shell.push_env(postgres::VARIABLE, server.url()));
    if server.is_none() {
        eprintln!("PostgreSQL is not installed: tests that need it are skipped");
    }
    if cmd!(shell, "cargo nextest --version").quiet().ignore_stderr().read().is_err() {
        tests_and_kills(shell)?;
        return Ok(Outcome::Passed);
    }
    cmd!(shell, "cargo nextest run --workspace --all-features").run()?;
    passed(cmd!(shell, "cargo test --workspace --all-features --doc").run())
}

/// The tests, and beside them those that kill servers: most of their time these wait for what may still be on its way to a bucket.
fn tests_and_kills(shell: &Shell) -> Result<()> {
    let kills = "whatever_was_acknowledged_survives_every_kill";
    cmd!(shell, "cargo test --workspace --all-features --no-run").run()?;
    let beside = shell.clone();
    thread::scope(|scope| {
        let killing = scope.spawn(move || {
            let arguments = ["--test", "crash_loop", kills, "--", "--test-threads=6"];
            cmd!(beside, "cargo test --workspace --all-features {arguments...}").ignore_status().output()
        });
        let others = cmd!(shell, "cargo test --workspace --all-features -- --skip {kills}").run();
        let killed = killing.join().expect("it runs a command and no more")?;
        eprintln!("\n{}{}", String::from_utf8_lossy(&killed.stderr), String::from_utf8_lossy(&killed.stdout));
        others?;
        ensure!(killed.status.success(), "what was acknowledged did not survive a kill: the seed stands above");
        let passed = String::from_utf8_lossy(&killed.stdout).lines().filter(|line| is_passed(line, kills)).count();
        ensure!(passed > 0, "no test is called {kills}");
        Ok(())
    })
}

fn is_passed(line: &str, name: &str) -> bool {
    line.starts_with(&format!("test {name}")) && line.ends_with("... ok")
}

fn minio(shell: &Shell) -> Result<Outcome> {
    suite(shell, "minio")
}

fn versitygw(shell: &Shell) -> Result<Outcome> {
    suite(shell, "versitygw")
}

fn garage(shell: &Shell) -> Result<Outcome> {
    suite(shell, "garage")
}

fn moto(shell: &Shell) -> Result<Outcome> {
    suite(shell, "moto")
}

fn ceph(shell: &Shell) -> Result<Outcome> {
    suite(shell, "ceph")
}

/// The laws of every store, over a real server. What it was seen to do is told, and which laws it can't keep.
fn suite(shell: &Shell, name: &str) -> Result<Outcome> {
    let server = match s3::Server::start_if_can_be(name)? {
        Ok(server) => server,
        Err(why) => return Ok(Outcome::Skipped(why)),
    };
    let test = "the_server_of_the_environment_keeps_the_laws";
    // The whole workspace with all features, as in every other step: nothing is built for this one alone.
    let suite = cmd!(shell, "cargo test --workspace --all-features --test conformance {test} -- --nocapture");
    passed(suite.envs(server.environment()).run())
}

fn schemathesis(shell: &Shell) -> Result<Outcome> {
    Ok(schemathesis::run(shell)?.map_or(Outcome::Passed, Outcome::Skipped))
}

fn passed(outcome: xshell::Result<()>) -> Result<Outcome> {
    outcome?;
    Ok(Outcome::Passed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_step_is_refused_by_name() {
        let error = choose(&["clipy".to_owned()]).err().unwrap().to_string();
        assert!(error.contains("`clipy`") && error.contains("clippy"), "{error}");
    }

    #[test]
    fn named_steps_run_in_the_order_asked_for() {
        let names = ["tests".to_owned(), "format".to_owned()];
        let chosen: Vec<_> = choose(&names).unwrap().iter().map(|step| step.name).collect();
        assert_eq!(chosen, ["tests", "format"]);
        let all = |names: &[String]| choose(names).unwrap().len();
        assert_eq!((all(&[]), all(&["--full".to_owned()])), (STEPS.len(), STEPS.len() + LONGER.len()));
    }
}
