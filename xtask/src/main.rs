//! Larder's own chores: `cargo xtask ci` decides whether a change may land, `cargo xtask bench` measures.
//!
//! Knows no crate of ours, so that it never breaks because the product does.

mod bench;
mod ci;
mod codegen;
mod imports;
mod postgres;
mod release;
mod s3;
mod schemathesis;
mod shipped;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;

/// Takes the arguments after its own name.
type Run = fn(&[String]) -> Result<()>;

/// What can be asked for: a name, what it does, and the function that does it.
const COMMANDS: &[(&str, &str, Run)] = &[
    (
        "ci",
        "[--full] [STEP…]  everything a change must pass, in order, and with --full what takes longer; or only the named steps",
        ci::run,
    ),
    ("codegen", "         writes what is made from the code: docs/openapi.json", codegen::run),
    ("imports", "         the table of who may import whom, against `cargo metadata`", imports::run),
    ("postgres", "COMMAND…  runs a command while tests have a PostgreSQL server", postgres::run),
    ("release", "[--rehearse]  the archive that is shipped, with its checksum and bill of materials", release::run),
    (
        "s3",
        "up|down NAME, list, run NAME COMMAND…  S3 servers for tests: MinIO, versitygw, Garage, moto, Ceph, installed where they are missing",
        s3::run,
    ),
    ("tidy", "         the rules about text that no compiler holds", tidy::run),
    ("bench", "[--quick] [--only NAME]… [--markdown]  Larder beside its peers; `bench --help` says more", bench::run),
];

/// What `bench` starts as processes of their own; left out of the help because nobody types them.
const INNER: &[(&str, Run)] =
    &[("bench-inner", bench::inner), ("bench-peer", bench::peer), ("bench-responder", bench::responder)];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((name, rest)) = arguments.split_first() else {
        eprint!("{}", help());
        return ExitCode::FAILURE;
    };
    if matches!(name.as_str(), "help" | "-h" | "--help") {
        eprint!("{}", help());
        return ExitCode::SUCCESS;
    }
    let listed = COMMANDS.iter().map(|(name, _, run)| (*name, *run)).chain(INNER.iter().copied());
    match listed.into_iter().find(|(known, _)| known == name) {
        Some((_, run)) => report(run(rest)),
        None => report(Err(anyhow::anyhow!("unknown command `{name}`\n\n{}", help()))),
    }
}

fn report(outcome: Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn help() -> String {
    let mut text = String::from("cargo xtask COMMAND\n\n");
    for (name, about, _) in COMMANDS {
        text.push_str(&format!("  {name:<8} {about}\n"));
    }
    text
}

/// Returns the folder that holds the workspace's `Cargo.toml`.
fn root() -> PathBuf {
    // Cargo sets the variable at run time too; the compiled-in value serves a binary that is started by hand.
    let own = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&own).parent().expect("xtask lies in a folder of the workspace").to_path_buf()
}
