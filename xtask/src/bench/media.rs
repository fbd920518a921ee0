//! `cargo xtask bench media`: renditions beside those of sharp, which is libvips for Node, from bytes to bytes.
//!
//! Both are one process each that reads what to do, so that neither's start is counted; rounds are interleaved, and each answers the
//! processor time that it had, all threads together. How alike a rendition is to one that was resized without any loss is told by
//! SSIMULACRA2.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use cargo_metadata::MetadataCommand;
use xshell::{Shell, cmd};

use super::stats::Sample;
use super::{machine, table};
use crate::root;

/// The version of sharp that is installed, which brings its own libvips.
const SHARP: &str = "sharp@0.34.5";
const BEGIN: &str = "<!-- bench media: begin -->";
const END: &str = "<!-- bench media: end -->";

/// One kind of rendition.
struct Work {
    name: &'static str,
    title: &'static str,
    source: &'static str,
    recipe: &'static str,
    /// The part of sharp's processor time that is the aim.
    aim: f64,
    /// How often in a row, so that a clock's grain does not count.
    times: u32,
}

const WORKS: &[Work] = &[
    work("jpeg", "12 MP JPEG → 300 px JPEG", "photo-12.jpg", "w_300,q_80,f_jpeg", 0.45, 8),
    work("jpeg-webp", "12 MP JPEG → 300 px WebP", "photo-12.jpg", "w_300,q_80,f_webp", 0.50, 8),
    work(
        "progressive",
        "12 MP progressive JPEG → 300 px JPEG",
        "photo-12-progressive.jpg",
        "w_300,q_80,f_jpeg",
        0.08,
        4,
    ),
    work(
        "progressive-24",
        "24 MP progressive JPEG → 300 px JPEG",
        "photo-24-progressive.jpg",
        "w_300,q_80,f_jpeg",
        0.08,
        3,
    ),
    work("large", "12 MP JPEG → 1600 px JPEG", "photo-12.jpg", "w_1600,q_80,f_jpeg", 0.80, 3),
    work("large-webp", "12 MP JPEG → 1600 px WebP", "photo-12.jpg", "w_1600,q_80,f_webp", 0.75, 2),
    work("png-photo", "PNG, a photograph → 300 px PNG", "photo.png", "w_300,f_png", 0.70, 4),
    work("png-screenshot", "PNG, a screenshot → 300 px PNG", "screenshot.png", "w_300,f_png", 0.70, 4),
    work("png-art", "PNG, art with alpha → 300 px PNG", "art.png", "w_300,f_png", 0.70, 4),
    work("webp", "12 MP WebP → 300 px WebP", "photo-12.webp", "w_300,q_80,f_webp", 0.70, 2),
    work("animation", "animated GIF, 40 frames → 300 px WebP", "animation.gif", "w_300,q_80,f_webp", 0.75, 1),
    work("avif", "12 MP JPEG → 800 px AVIF", "photo-12.jpg", "w_800,q_50,f_avif", 1.0, 1),
];

const fn work(
    name: &'static str,
    title: &'static str,
    source: &'static str,
    recipe: &'static str,
    aim: f64,
    times: u32,
) -> Work {
    Work { name, title, source, recipe, aim, times }
}

/// What was asked for.
#[derive(Debug, Default)]
struct Options {
    quick: bool,
    markdown: bool,
    only: Vec<String>,
}

impl Options {
    fn parse(arguments: &[String]) -> Result<Self> {
        let (mut options, mut rest) = (Self::default(), arguments.iter());
        while let Some(argument) = rest.next() {
            match argument.as_str() {
                "--quick" => options.quick = true,
                "--markdown" => options.markdown = true,
                "--only" => options.only.push(rest.next().context("`--only` needs a name")?.clone()),
                other => bail!("unknown option `{other}`\n\n{}", help()),
            }
        }
        for name in &options.only {
            ensure!(WORKS.iter().any(|work| work.name == name), "unknown work `{name}`\n\n{}", help());
        }
        Ok(options)
    }
}

fn help() -> String {
    let mut text =
        String::from("cargo xtask bench media [--quick] [--only NAME]… [--markdown]\n\nsharp is installed by npm.\n\n");
    for work in WORKS {
        text.push_str(&format!("  {:<16} {}\n", work.name, work.title));
    }
    text
}

/// A process that renders what it is told.
struct Worker {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Worker {
    fn start(command: &mut Command) -> Result<Self> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (input, output) = (child.stdin.take().context("no input")?, child.stdout.take().context("no output")?);
        Ok(Self { child, input, output: BufReader::new(output) })
    }

    fn ask(&mut self, line: &str) -> Result<String> {
        writeln!(self.input, "{line}")?;
        let mut answer = String::new();
        self.output.read_line(&mut answer)?;
        ensure!(answer.ends_with('\n'), "it ended at `{line}`");
        Ok(answer.trim_end().to_owned())
    }

    /// Milliseconds of processor time of one rendition, and its bytes.
    fn render(&mut self, work: &Work, corpus: &Path, out: &Path) -> Result<(f64, u64)> {
        let file = corpus.join(work.source);
        let answer = self.ask(&format!("{} {} {} {}", work.times, file.display(), work.recipe, out.display()))?;
        let (took, bytes) = answer.split_once(' ').with_context(|| format!("not an answer: {answer}"))?;
        Ok((took.parse::<f64>()? / 1e6, bytes.parse()?))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The figures of one kind.
struct Row {
    ours: Sample,
    theirs: Sample,
    ratio: Sample,
    bytes: (u64, u64),
    score: Option<(f64, f64)>,
}

pub(super) fn run(arguments: &[String]) -> Result<()> {
    if arguments.iter().any(|argument| matches!(argument.as_str(), "--help" | "-h")) {
        eprint!("{}", help());
        return Ok(());
    }
    let options = Options::parse(arguments)?;
    let shell = Shell::new()?;
    shell.change_dir(root());
    cmd!(shell, "cargo build --release --package larder-media --example bench").run()?;
    let target = MetadataCommand::new().manifest_path(root().join("Cargo.toml")).no_deps().exec()?.target_directory;
    let ours = target.join("release/examples/bench").into_std_path_buf();
    let place = target.join("bench-media").into_std_path_buf();
    let (corpus, out) = (place.join("corpus"), place.join("out"));
    fs::create_dir_all(&out)?;
    ensure!(Command::new(&ours).arg("corpus").arg(&corpus).status()?.success(), "the pictures could not be made");
    let mut bench = Bench {
        ours: Worker::start(Command::new(&ours).arg("work"))?,
        theirs: Worker::start(Command::new("node").arg(install(&shell, &place)?))?,
        program: ours,
        corpus,
        out,
        rounds: if options.quick { 3 } else { 9 },
    };
    let mut text = format!(
        "On {}; {SHARP}, one thread each; milliseconds of processor time.\n\n\
         | | Larder | sharp | ratio | aim | bytes | SSIMULACRA2 |\n|---|---|---|---|---|---|---|\n",
        machine::line(&place)
    );
    for work in WORKS.iter().filter(|work| options.only.is_empty() || options.only.iter().any(|only| only == work.name))
    {
        let row = bench.measure(work).with_context(|| work.name)?;
        let line = cells(work, &row);
        eprintln!("{line}");
        text.push_str(&(line + "\n"));
    }
    writeln!(std::io::stdout(), "\n{text}")?;
    if options.markdown {
        table::insert_between(&root().join("BENCHMARKS.md"), (BEGIN, END), &text)?;
    }
    Ok(())
}

/// Installs sharp beside the worker that asks it; returns the worker's path.
fn install(shell: &Shell, place: &Path) -> Result<PathBuf> {
    let folder = place.join("sharp");
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("worker.mjs"), include_str!("sharp.mjs"))?;
    if !folder.join("node_modules/sharp").is_dir() {
        fs::write(folder.join("package.json"), "{\"private\": true}")?;
        cmd!(shell, "npm install --prefix {folder} --no-audit --no-fund {SHARP}")
            .run()
            .context("sharp could not be installed: Node and npm are needed")?;
    }
    Ok(folder.join("worker.mjs"))
}

struct Bench {
    ours: Worker,
    theirs: Worker,
    program: PathBuf,
    corpus: PathBuf,
    out: PathBuf,
    rounds: usize,
}

impl Bench {
    fn measure(&mut self, work: &Work) -> Result<Row> {
        let outs = ["ours", "theirs"].map(|side| self.out.join(format!("{}-{side}", work.name)));
        let (mut ours, mut theirs, mut bytes) = (vec![], vec![], (0, 0));
        for round in 0..=self.rounds {
            let our = self.ours.render(work, &self.corpus, &outs[0]).context("Larder")?;
            let their = self.theirs.render(work, &self.corpus, &outs[1]).context("sharp")?;
            bytes = (our.1, their.1);
            // The first warms up.
            if round > 0 {
                ours.push(our.0);
                theirs.push(their.0);
            }
        }
        let ratios: Vec<_> = ours.iter().zip(&theirs).map(|(ours, theirs)| ours / theirs).collect();
        let sample = |values: &[f64]| Sample::of(values).context("no rounds");
        let (ours, theirs, ratio) = (sample(&ours)?, sample(&theirs)?, sample(&ratios)?);
        let score = match work.name {
            "animation" => None,
            _ => Some(self.scores(work, &outs)?),
        };
        Ok(Row { ours, theirs, ratio, bytes, score })
    }

    /// How alike each is to the source, resized from its full size without loss. All are decoded by the peer.
    fn scores(&mut self, work: &Work, outs: &[PathBuf; 2]) -> Result<(f64, f64)> {
        let plain = |file: &Path| file.with_extension("png");
        for file in outs {
            self.theirs.ask(&format!("decode {} {}", file.display(), plain(file).display()))?;
        }
        let (full, reference) = (self.out.join("full.png"), self.out.join("reference.png"));
        self.theirs.ask(&format!("decode {} {}", self.corpus.join(work.source).display(), full.display()))?;
        let (width, height) = png_size(&plain(&outs[0]))?;
        let sizes = [width.to_string(), height.to_string()];
        let made = Command::new(&self.program).arg("reference").arg(&full).args(sizes).arg(&reference).status()?;
        ensure!(made.success(), "no reference could be made");
        let score = |file: &Path| -> Result<f64> {
            let output = Command::new(&self.program).arg("score").arg(&reference).arg(plain(file)).output()?;
            ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            Ok(String::from_utf8(output.stdout)?.trim().parse()?)
        };
        Ok((score(&outs[0])?, score(&outs[1])?))
    }
}

/// Width and height of a PNG, by its first chunk (PNG, 11.2.1).
fn png_size(file: &Path) -> Result<(u32, u32)> {
    let bytes = fs::read(file)?;
    let number =
        |at: usize| -> Result<u32> { Ok(u32::from_be_bytes(bytes.get(at..at + 4).context("not a PNG")?.try_into()?)) };
    Ok((number(16)?, number(20)?))
}

fn cells(work: &Work, row: &Row) -> String {
    let verdict = if row.ratio.median <= work.aim { "reached" } else { "missed" };
    let score = row.score.map_or("–".to_owned(), |(ours, theirs)| format!("{ours:.2}, sharp {theirs:.2}"));
    format!(
        "| {} | {} | {} | **{}** | {}: {verdict} | {}, sharp {} | {score} |",
        work.title, row.ours, row.theirs, row.ratio, work.aim, row.bytes.0, row.bytes.1
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(value: f64) -> Sample {
        Sample { median: value, min: value, max: value }
    }

    #[test]
    fn a_row_says_what_was_reached() {
        let row =
            Row { ours: same(4.0), theirs: same(8.0), ratio: same(0.5), bytes: (10, 11), score: Some((79.0, 78.5)) };
        let line = cells(&work("a", "A → B", "a", "w_1", 0.45, 1), &row);
        assert_eq!(
            line,
            "| A → B | 4.00 (4.00–4.00) | 8.00 (8.00–8.00) | **0.50 (0.50–0.50)** | 0.45: missed | 10, sharp 11 | 79.00, sharp 78.50 |"
        );
    }

    #[test]
    fn what_is_not_known_is_refused() {
        let parse = |line: &str| Options::parse(&line.split(' ').map(str::to_owned).collect::<Vec<_>>());
        assert!(parse("--quick --only jpeg").unwrap().quick);
        assert!(parse("--fast").unwrap_err().to_string().contains("`--fast`"));
        assert!(parse("--only bmp").unwrap_err().to_string().contains("`bmp`"));
        assert!(parse("--only").unwrap_err().to_string().contains("needs a name"));
    }

    #[test]
    fn every_work_has_a_name_of_its_own() {
        let names: std::collections::BTreeSet<_> = WORKS.iter().map(|work| work.name).collect();
        assert_eq!(names.len(), WORKS.len());
    }
}
