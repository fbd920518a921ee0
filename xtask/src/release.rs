//! `cargo xtask release`: what is shipped, as one archive with its checksum: the binary of the profile `dist`, documents, manual pages,
//! completions, a unit for systemd, and a bill of materials. The same commit makes the same archive around the binary.
//!
//! 1. The version stands in CHANGELOG.md, and nothing is uncommitted (`--rehearse` passes over both).
//! 2. Build, and ask the binary for its version; it must not be larger than [`BINARY_MAX`].
//! 3. Lay everything into one folder and pack it, with the time of the commit on every file.
//! 4. Unpack it elsewhere, check the checksum, and run what came out.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};
use serde_json::json;
use xshell::{Shell, cmd};

use crate::root;

/// The largest binary that is shipped, in bytes.
const BINARY_MAX: u64 = 40_000_000;

const DOCUMENTS: &[&str] = &["README.md", "CHANGELOG.md", "LICENSE-APACHE", "LICENSE-MIT"];

const SHELLS: &[(&str, &str)] = &[("bash", "larder.bash"), ("zsh", "_larder"), ("fish", "larder.fish")];

/// Makes the archive.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let rehearses = match arguments {
        [] => false,
        [flag] if flag == "--rehearse" => true,
        _ => bail!("usage: cargo xtask release [--rehearse]"),
    };
    let shell = Shell::new()?;
    shell.change_dir(root());
    let metadata = MetadataCommand::new().current_dir(root()).exec()?;
    let version = version(&metadata)?;
    if !rehearses {
        check_log(&fs::read_to_string(root().join("CHANGELOG.md"))?, &version)?;
        let changed = cmd!(shell, "git status --porcelain").read()?;
        ensure!(changed.is_empty(), "what is released is committed; these are not:\n{changed}");
    }
    let binary = build(&shell, &metadata, &version)?;
    let name = format!("larder-{version}-{}", target(&shell)?);
    let out = metadata.target_directory.as_std_path().join("release-archives");
    let folder = out.join(&name);
    shell.remove_path(&folder)?;
    lay_out(&shell, &metadata, &binary, &folder)?;
    let archive = pack(&shell, &out, &name)?;
    try_out(&shell, &archive, &name, &version)?;
    eprintln!("{}", archive.display());
    Ok(())
}

fn version(metadata: &Metadata) -> Result<String> {
    let cli = metadata.packages.iter().find(|package| package.name.as_str() == "larder-cli");
    Ok(cli.context("there is no package larder-cli")?.version.to_string())
}

/// The version has its own heading, with something under it.
fn check_log(log: &str, version: &str) -> Result<()> {
    let heading = format!("## {version}");
    let mut lines = log.lines().skip_while(|line| *line != heading && !line.starts_with(&format!("{heading} ")));
    ensure!(
        lines.next().is_some(),
        "CHANGELOG.md has no heading `{heading}`: what is under `## Unreleased` belongs there"
    );
    let told = lines.take_while(|line| !line.starts_with("## ")).any(|line| line.starts_with("- "));
    ensure!(told, "CHANGELOG.md says nothing under `{heading}`");
    Ok(())
}

fn build(shell: &Shell, metadata: &Metadata, version: &str) -> Result<PathBuf> {
    cmd!(shell, "cargo build --locked --profile dist --package larder-cli").run()?;
    let binary = metadata.target_directory.as_std_path().join("dist/larder");
    let size = fs::metadata(&binary)?.len();
    ensure!(size <= BINARY_MAX, "the binary has {size} bytes, of {BINARY_MAX} that it may have");
    let said = cmd!(shell, "{binary} --version").read()?;
    ensure!(said == format!("larder {version}"), "the binary says `{said}`");
    eprintln!("the binary has {size} bytes");
    Ok(binary)
}

/// What the compiler builds for, such as `x86_64-unknown-linux-gnu`.
fn target(shell: &Shell) -> Result<String> {
    let told = cmd!(shell, "rustc -vV").quiet().read()?;
    let host = told.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc does not say its host")?.to_owned())
}

fn lay_out(shell: &Shell, metadata: &Metadata, binary: &Path, folder: &Path) -> Result<()> {
    shell.copy_file(binary, folder)?;
    for document in DOCUMENTS {
        shell.copy_file(root().join(document), folder)?;
    }
    for place in ["docs", "docs/samples"] {
        shell.create_dir(folder.join(place))?;
        for document in shell.read_dir(root().join(place))? {
            if document.is_file() {
                shell.copy_file(document, folder.join(place))?;
            }
        }
    }
    shell.copy_file(root().join("packaging/larder.service"), folder)?;
    let man = folder.join("man/man1");
    cmd!(shell, "{binary} --quiet man {man}").run()?;
    shell.create_dir(folder.join("completions"))?;
    for (name, file) in SHELLS {
        let script = cmd!(shell, "{binary} completions {name}").quiet().read()?;
        shell.write_file(folder.join("completions").join(file), script)?;
    }
    let bill = serde_json::to_string_pretty(&bill_of_materials(metadata)?)?;
    shell.write_file(folder.join("larder.cdx.json"), bill + "\n")?;
    Ok(())
}

/// What the binary is made of, as CycloneDX 1.5 (<https://cyclonedx.org/docs/1.5/json/>): every package that a build of it links.
fn bill_of_materials(metadata: &Metadata) -> Result<serde_json::Value> {
    let linked = linked(metadata)?;
    let component = |package: &&Package| {
        let purl = format!("pkg:cargo/{}@{}", package.name, package.version);
        json!({
            "type": "library", "bom-ref": purl, "purl": purl,
            "name": package.name.as_str(), "version": package.version.to_string(),
            "licenses": package.license.iter().map(|license| json!({"expression": license})).collect::<Vec<_>>(),
        })
    };
    let components: Vec<_> = linked.iter().filter(|package| package.source.is_some()).map(component).collect();
    Ok(json!({
        "bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1,
        "metadata": {"component": {"type": "application", "name": "larder", "version": version(metadata)?}},
        "components": components,
    }))
}

/// The packages that the binary's package needs, by name and version; what only tests or build scripts of others need is not among them.
fn linked(metadata: &Metadata) -> Result<Vec<&Package>> {
    let resolve = metadata.resolve.as_ref().context("cargo metadata resolved nothing")?;
    let cli = metadata.packages.iter().find(|package| package.name.as_str() == "larder-cli");
    let mut waiting = vec![&cli.context("there is no package larder-cli")?.id];
    let mut seen = BTreeSet::new();
    while let Some(id) = waiting.pop() {
        if !seen.insert(id) {
            continue;
        }
        let node = resolve.nodes.iter().find(|node| node.id == *id).context("a package that is not resolved")?;
        let is_linked = |kinds: &[cargo_metadata::DepKindInfo]| {
            kinds.iter().any(|kind| matches!(kind.kind, DependencyKind::Normal | DependencyKind::Build))
        };
        waiting.extend(node.deps.iter().filter(|dep| is_linked(&dep.dep_kinds)).map(|dep| &dep.pkg));
    }
    let mut packages: Vec<_> = metadata.packages.iter().filter(|package| seen.contains(&package.id)).collect();
    packages.sort_by(|a, b| (a.name.as_str(), &a.version).cmp(&(b.name.as_str(), &b.version)));
    Ok(packages)
}

/// Packs a folder so that the same content is the same archive; answers where it is.
fn pack(shell: &Shell, out: &Path, name: &str) -> Result<PathBuf> {
    let committed = cmd!(shell, "git log -1 --format=%ct").read()?;
    let archive = out.join(format!("{name}.tar.gz"));
    let options = ["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--mode=u=rwX,go=rX"];
    let (mtime, compress) = (format!("--mtime=@{committed}"), "--use-compress-program=gzip -9n");
    cmd!(shell, "tar {options...} {mtime} {compress} -C {out} -cf {archive} {name}").run()?;
    let _inside = shell.push_dir(out);
    let sum = cmd!(shell, "sha256sum {name}.tar.gz").read()?;
    shell.write_file(out.join(format!("{name}.tar.gz.sha256")), sum + "\n")?;
    Ok(archive)
}

/// Does what somebody does who has got the archive.
fn try_out(shell: &Shell, archive: &Path, name: &str, version: &str) -> Result<()> {
    let out = archive.parent().context("an archive lies in a folder")?;
    let elsewhere = shell.create_temp_dir()?;
    let _inside = shell.push_dir(out);
    cmd!(shell, "sha256sum --check --quiet {name}.tar.gz.sha256").run()?;
    let folder = elsewhere.path();
    cmd!(shell, "tar -xzf {archive} -C {folder}").run()?;
    let binary = folder.join(name).join("larder");
    let said = cmd!(shell, "{binary} --version").quiet().read()?;
    ensure!(said == format!("larder {version}"), "the binary out of the archive says `{said}`");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_that_the_changelog_does_not_tell_of_is_not_released() {
        let log = "# Changelog\n\n## Unreleased\n\n- more\n\n## 0.2.0 (2026-12-01)\n\n- this\n\n## 0.1.0\n\n## 0.0.9\n\n- that\n";
        check_log(log, "0.2.0").unwrap();
        check_log(log, "0.0.9").unwrap();
        for (version, why) in [("0.3.0", "no heading"), ("0.1.0", "says nothing"), ("0.2", "no heading")] {
            let refused = check_log(log, version).unwrap_err().to_string();
            assert!(refused.contains(why), "{version}: {refused}");
        }
    }

    #[test]
    fn the_bill_names_what_is_linked_and_nothing_that_only_tests_need() {
        let metadata = MetadataCommand::new().current_dir(root()).exec().unwrap();
        let bill = bill_of_materials(&metadata).unwrap();
        let names: Vec<_> =
            bill["components"].as_array().unwrap().iter().map(|part| part["name"].as_str().unwrap()).collect();
        for linked in ["actix-web", "sqlx", "rustix"] {
            assert!(names.contains(&linked), "{linked}");
        }
        for absent in ["mockall", "larder-api", "xshell"] {
            assert!(!names.contains(&absent), "{absent}");
        }
    }
}
