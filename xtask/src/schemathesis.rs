//! Schemathesis (PyPI): requests made from the OpenAPI document, good ones and bad ones, against a server that runs here. Whatever is
//! answered must be what the document says, and never a 5xx.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use anyhow::{Context, Result, ensure};
use cargo_metadata::MetadataCommand;
use xshell::{Shell, cmd};

use crate::bench::Larder;

/// What is installed: another version makes other requests.
const VERSION: &str = "4.32.5";

/// What every run is told: the same requests each time, none kept for the next, in less time than a token lasts.
const OPTIONS: &[&str] = &[
    "--checks=all",
    "--seed=1",
    "--max-examples=30",
    "--generation-database=none",
    "--request-timeout=20",
    // A cursor, a digest or a password that is of the right form may still be none.
    "--exclude-checks=positive_data_acceptance",
    // By the first the session that asks would end; the second is over once there is an admin.
    "--exclude-operation-id=log_out",
    "--exclude-operation-id=set_up",
];

/// What is there to be asked for; the rest it makes by itself.
const THERE: &str = "[parameters]\n\"path.bucket\" = \"documents\"\n\"path.store\" = \"local\"\n";

/// Runs it; answers why it was not, where it can't be had.
///
/// # Errors
/// Where it finds something, or the server can't be built or started.
pub(crate) fn run(shell: &Shell) -> Result<Option<String>> {
    let target = PathBuf::from(MetadataCommand::new().no_deps().exec()?.target_directory);
    let program = match installed(&target.join("schemathesis")) {
        Ok(program) => program,
        Err(why) => return Ok(Some(why)),
    };
    cmd!(shell, "cargo build --package larder-cli").run()?;
    let folder = env::temp_dir().join(format!("larder-schemathesis-{}", std::process::id()));
    fs::create_dir(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let found = ask(&program, &target.join("debug/larder"), &folder);
    drop(fs::remove_dir_all(&folder));
    found.map(|()| None)
}

fn ask(program: &Path, binary: &Path, folder: &Path) -> Result<()> {
    let larder = Larder::start(binary, &folder.join("data"))?;
    fs::write(folder.join("schemathesis.toml"), THERE)?;
    let document = format!("http://{}/api/v1/openapi.json", larder.address());
    let status = Command::new(program)
        .args(["run", &document])
        .args(OPTIONS)
        .arg(format!("--header=Authorization: Bearer {}", larder.token()))
        .current_dir(folder)
        .status()?;
    drop(larder);
    let log = fs::read_to_string(folder.join("data.log"))?;
    ensure!(!log.contains("panicked"), "the server panicked: {log}");
    ensure!(status.success(), "schemathesis has found something: it is told above, with a line of curl");
    Ok(())
}

/// The program in an environment of its own, made where it is not there yet; or why it can't be had.
fn installed(folder: &Path) -> Result<PathBuf, String> {
    let program = folder.join("bin/schemathesis");
    let has = |wanted: &str| tried(Command::new(&program).arg("--version")).is_ok_and(|told| told.contains(wanted));
    if has(VERSION) {
        return Ok(program);
    }
    tried(Command::new("python3").args(["-m", "venv", "--clear"]).arg(folder))
        .map_err(|why| format!("no environment of Python can be made: {why}"))?;
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
    tried(Command::new(folder.join("bin/python")).args(pip).arg(format!("schemathesis=={VERSION}")))
        .map_err(|why| format!("pip can't install it: {why}"))?;
    Ok(program)
}

/// What a program says, or in a line why it failed.
fn tried(command: &mut Command) -> Result<String, String> {
    let last = |text: &[u8]| String::from_utf8_lossy(text).lines().last().unwrap_or_default().to_owned();
    match command.output() {
        Ok(Output { status, stdout, .. }) if status.success() => Ok(String::from_utf8_lossy(&stdout).into_owned()),
        Ok(Output { stderr, .. }) => Err(last(&stderr)),
        Err(error) => Err(error.to_string()),
    }
}
