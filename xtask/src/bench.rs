//! `cargo xtask bench`: Larder beside its peers on this machine.
//!
//! Rounds are interleaved (ours, peer, ours, peer, …), and a ratio is taken within one round, because a machine that
//! is slow for a minute is slow for both. Figures are medians with minimum and maximum. The load generator is ours;
//! each row says its share of a core and what it reaches against a server that does nothing.

mod larder;
mod limits;
mod load;
mod machine;
mod measures;
mod media;
mod nginx;
mod peer;
mod process;
mod renditions;
mod responder;
mod rounds;
mod stats;
mod table;
mod wire;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use cargo_metadata::MetadataCommand;
use xshell::{Shell, cmd};

use crate::root;
pub(crate) use larder::Larder;
pub(crate) use peer::serve as peer;
pub(crate) use responder::serve as responder;

/// What was asked for.
#[derive(Debug, Default, PartialEq)]
struct Options {
    quick: bool,
    markdown: bool,
    only: Vec<String>,
    /// A binary to measure instead of the one built here.
    binary: Option<PathBuf>,
    /// Where data is written; the disk is what is measured.
    directory: Option<PathBuf>,
}

impl Options {
    fn parse(arguments: &[String]) -> Result<Self> {
        let mut options = Self::default();
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let mut value = || rest.next().cloned().with_context(|| format!("`{argument}` needs a value"));
            match argument.as_str() {
                "--quick" => options.quick = true,
                "--markdown" => options.markdown = true,
                "--only" => options.only.push(value()?),
                "--binary" => options.binary = Some(value()?.into()),
                "--dir" => options.directory = Some(value()?.into()),
                other => bail!("unknown option `{other}`\n\n{}", help()),
            }
        }
        for name in &options.only {
            ensure!(names().any(|known| known == name), "unknown measurement `{name}`\n\n{}", help());
        }
        Ok(options)
    }

    fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == name)
    }
}

/// How much is measured.
#[derive(Clone, Copy)]
struct Scale {
    rounds: usize,
    /// Length of a round that counts requests.
    round: Duration,
    /// Bytes of a big file.
    big: u64,
    /// Bytes of each of the uploads that run at once while memory is watched.
    at_once: u64,
    /// Bytes of disk that must be free.
    disk: u64,
}

const FULL: Scale =
    Scale { rounds: 5, round: Duration::from_secs(5), big: 1 << 30, at_once: 256 << 20, disk: 24 << 30 };
const QUICK: Scale =
    Scale { rounds: 3, round: Duration::from_secs(1), big: 256 << 20, at_once: 32 << 20, disk: 4 << 30 };

/// Connections of the measurements of many small files, and bytes of such a file.
const CONNECTIONS: usize = 64;
const SMALL: usize = 4096;

fn names() -> impl Iterator<Item = &'static str> {
    measures::ALL.iter().map(|measure| measure.name).chain(limits::ALL.iter().map(|limit| limit.name))
}

fn help() -> String {
    let mut text = String::from(
        "cargo xtask bench [OPTION]…
cargo xtask bench media [OPTION]…   renditions beside sharp; `bench media --help` says more

  --quick         fewer and shorter rounds, smaller files: to see a change, not to publish
  --only NAME     this measurement; may be repeated
  --markdown      put the tables into BENCHMARKS.md
  --binary PATH   measure this binary instead of building one
  --dir PATH      write the data here; else below the target directory

measurements:
",
    );
    for measure in measures::ALL {
        text.push_str(&format!("  {:<22} {} beside {}\n", measure.name, measure.title, measure.peer));
    }
    for limit in limits::ALL {
        text.push_str(&format!("  {:<22} {}\n", limit.name, limit.title));
    }
    text
}

/// Builds what is measured and what measures it, both for release, and starts the latter.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    if let Some(("media", rest)) = arguments.split_first().map(|(first, rest)| (first.as_str(), rest)) {
        return media::run(rest);
    }
    if arguments.iter().any(|argument| matches!(argument.as_str(), "--help" | "-h")) {
        eprint!("{}", help());
        return Ok(());
    }
    let options = Options::parse(arguments)?;
    let shell = Shell::new()?;
    shell.change_dir(root());
    let target = MetadataCommand::new().manifest_path(root().join("Cargo.toml")).no_deps().exec()?.target_directory;
    let mut paths = Vec::new();
    if options.binary.is_none() {
        cmd!(shell, "cargo build --release --package larder-cli").run()?;
        paths.extend(["--binary".into(), target.join("release/larder").into_string()]);
    }
    if options.directory.is_none() {
        paths.extend(["--dir".into(), target.join("bench").into_string()]);
    }
    // The load generator must be optimised, but xtask itself is built for development, because it is built often:
    // so it starts itself once more, built for release.
    cmd!(shell, "cargo run --quiet --release --package xtask -- bench-inner {paths...} {arguments...}").run()?;
    Ok(())
}

/// Measures; the part of [`run`] that is built for release.
pub(crate) fn inner(arguments: &[String]) -> Result<()> {
    let options = Options::parse(arguments)?;
    let scale = if options.quick { QUICK } else { FULL };
    let binary = options.binary.clone().context("bench-inner needs --binary")?;
    let place = Place::new(options.directory.as_deref().context("bench-inner needs --dir")?)?;
    let disk = rustix::fs::statvfs(&place.0)?;
    let free = disk.f_bavail * disk.f_frsize;
    ensure!(free >= scale.disk, "{} GiB of disk are needed, {} are free; see --dir", scale.disk >> 30, free >> 30);
    let bench = Bench { scale, binary: binary.canonicalize().context("no such binary")?, folder: place.0.clone() };

    let mut report = table::Report::new(machine::line(&place.0), options.quick);
    for measure in measures::ALL.iter().filter(|measure| options.wants(measure.name)) {
        report.compared(measure, rounds::run(&bench, measure));
    }
    for limit in limits::ALL.iter().filter(|limit| options.wants(limit.name)) {
        report.limited(limit, (limit.run)(&bench));
    }
    report.print()?;
    if options.markdown {
        table::insert(&root().join("BENCHMARKS.md"), &report.markdown())?;
    }
    report.verdict()
}

/// What every measurement needs.
struct Bench {
    scale: Scale,
    binary: PathBuf,
    folder: PathBuf,
}

impl Bench {
    /// Makes an empty folder for one measurement. Those of earlier ones stay: a file system looks at what was deleted a moment ago
    /// before it gives an inode or a block away again (ext4 without a journal at each inode freed in the last five minutes), and
    /// who creates files pays for it.
    fn fresh(&self, name: &str) -> Result<PathBuf> {
        let folder = self.folder.join(name);
        fs::create_dir_all(&folder)?;
        Ok(folder)
    }

    /// As [`Bench::fresh`], for measurements that make few files while time is taken: removes what earlier ones left, for disks are
    /// small, and syncs.
    fn fresh_alone(&self, name: &str) -> Result<PathBuf> {
        for old in fs::read_dir(&self.folder)? {
            fs::remove_dir_all(old?.path())?;
        }
        rustix::fs::sync();
        self.fresh(name)
    }
}

/// The folder of one run; gone when it ends.
struct Place(PathBuf);

impl Place {
    fn new(below: &Path) -> Result<Self> {
        let folder = below.join(std::process::id().to_string());
        fs::create_dir_all(&folder).with_context(|| format!("cannot create `{}`", folder.display()))?;
        Ok(Self(folder.canonicalize()?))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("cannot remove `{}`: {error}", self.0.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options> {
        Options::parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn options_are_read() {
        let options = parse("--quick --only small-downloads --only memory-uploads --dir /x").unwrap();
        assert!(options.quick && !options.markdown);
        assert!(options.wants("small-downloads") && !options.wants("small-uploads"));
        assert_eq!(options.directory.as_deref(), Some(Path::new("/x")));
    }

    #[test]
    fn what_is_not_known_is_refused() {
        assert!(parse("--fast").unwrap_err().to_string().contains("`--fast`"));
        assert!(parse("--only downloads").unwrap_err().to_string().contains("`downloads`"));
        assert!(parse("--only").unwrap_err().to_string().contains("needs a value"));
    }

    #[test]
    fn every_measurement_has_a_name_of_its_own() {
        let all: Vec<_> = names().collect();
        let unique: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(all.len(), unique.len());
    }
}
