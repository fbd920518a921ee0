//! What the shipped binary must not hold: the features that exist for tests only.

use anyhow::{Context, Result, bail};
use xshell::{Shell, cmd};

/// Features that kill, fake or mock; none may be on in a plain build.
const FOR_TESTS: &[&str] = &["conformance", "crash-points", "fuzzing", "mock", "simulation", "testing"];

/// Asks cargo which features a plain build of the binary turns on.
pub(crate) fn check(shell: &Shell) -> Result<()> {
    let format = "{p}|{f}";
    let tree = cmd!(shell, "cargo tree --package larder-cli --edges normal,build --prefix none --format {format}")
        .quiet()
        .read()
        .context("cannot read `cargo tree`")?;
    let wrong = violations(&tree);
    if wrong.is_empty() {
        eprintln!("the binary is built without {}", FOR_TESTS.join(", "));
        return Ok(());
    }
    bail!("a plain build of the binary turns on features for tests: {}", wrong.join(", "))
}

/// Reads lines of `name version …|feature,feature` and returns `name/feature` for each feature of ours for tests.
fn violations(tree: &str) -> Vec<String> {
    let ours = tree.lines().filter(|line| line.starts_with("larder-"));
    let mut wrong: Vec<String> = ours
        .filter_map(|line| line.rsplit_once('|'))
        .flat_map(|(package, features)| {
            let name = package.split(' ').next().unwrap_or(package);
            // A repeated line ends in ` (*)`.
            let features = features.trim_end_matches(" (*)").split(',');
            features.filter(|feature| FOR_TESTS.contains(feature)).map(move |feature| format!("{name}/{feature}"))
        })
        .collect();
    wrong.sort();
    wrong.dedup();
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_feature_for_tests_is_caught() {
        let tree = "larder-cli v0.1.0 (/x)|crash-points,default\nlarder-files v0.1.0 (/x)|crash-points (*)\n";
        assert_eq!(violations(tree), ["larder-cli/crash-points", "larder-files/crash-points"]);
    }

    #[test]
    fn other_features_and_the_features_of_others_pass() {
        let tree = "larder-cli v0.1.0 (/x)|default\nsomething v1.0.0|mock\nlarder-files v0.1.0 (/x)|\n";
        assert_eq!(violations(tree), [""; 0]);
    }
}
