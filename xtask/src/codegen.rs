//! `cargo xtask codegen`: files that are made from the code and kept beside it, so that a change of them is seen in review. That they
//! are the present ones is checked by tests of the crates that they are made from.

use std::fs;

use anyhow::{Context, Result};
use xshell::{Shell, cmd};

use crate::root;

/// Each file, and the example that prints it.
const MADE: &[(&str, &str, &str)] = &[("docs/openapi.json", "larder-api", "openapi")];

/// Writes them all.
pub(crate) fn run(_: &[String]) -> Result<()> {
    let shell = Shell::new()?;
    shell.change_dir(root());
    for (file, package, example) in MADE {
        let text = cmd!(shell, "cargo run --quiet --package {package} --example {example}").read()?;
        fs::write(root().join(file), text + "\n").with_context(|| format!("cannot write {file}"))?;
        eprintln!("{file}");
    }
    Ok(())
}
