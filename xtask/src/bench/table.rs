//! The result, as a person reads it in BENCHMARKS.md.

use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::limits::Limit;
use super::measures::Measure;
use super::rounds::Compared;
use super::stats::Sample;

const BEGIN: &str = "<!-- bench: begin -->";
const END: &str = "<!-- bench: end -->";

/// Collects rows as they come.
pub(crate) struct Report {
    machine: String,
    quick: bool,
    compared: Vec<String>,
    limited: Vec<String>,
    failed: Vec<&'static str>,
}

impl Report {
    pub(crate) fn new(machine: String, quick: bool) -> Self {
        Self { machine, quick, compared: Vec::new(), limited: Vec::new(), failed: Vec::new() }
    }

    pub(crate) fn compared(&mut self, measure: &Measure, outcome: Result<Compared>) {
        let title = format!("{}, {}", measure.title, measure.unit);
        let row = match outcome {
            Ok(figures) => format!("| {title} | {} |", compared_cells(measure, &figures).join(" | ")),
            Err(error) => {
                self.failed.push(measure.name);
                eprintln!("not measured: {error:#}");
                format!("| {title} | not measured: {} | | | | | | |", one_line(&error))
            }
        };
        self.compared.push(row);
    }

    pub(crate) fn limited(&mut self, limit: &Limit, outcome: Result<Sample>) {
        let title = format!("{}, {}", limit.title, limit.unit);
        let row = match outcome {
            Ok(sample) => {
                let verdict = if sample.median <= limit.most { "held" } else { "**broken**" };
                format!("| {title} | {sample} | {}: {verdict} |", limit.most)
            }
            Err(error) => {
                self.failed.push(limit.name);
                eprintln!("not measured: {error:#}");
                format!("| {title} | not measured: {} | {} |", one_line(&error), limit.most)
            }
        };
        self.limited.push(row);
    }

    /// Returns both tables and the machine.
    pub(crate) fn markdown(&self) -> String {
        let mut text = format!("On {}.", self.machine);
        if self.quick {
            text.push_str(" A quick run: short rounds, big files of 256 MiB, uploads of 32 MiB at once.");
        }
        text.push('\n');
        if !self.compared.is_empty() {
            text.push_str(
                "\n| | Larder | peer | ratio | aim | cores of the server | load generator | peak memory |\n\
                 |---|---|---|---|---|---|---|---|\n",
            );
            text.push_str(&(self.compared.join("\n") + "\n"));
        }
        if !self.limited.is_empty() {
            text.push_str("\n| | Larder | at most |\n|---|---|---|\n");
            text.push_str(&(self.limited.join("\n") + "\n"));
        }
        text
    }

    pub(crate) fn print(&self) -> Result<()> {
        Ok(writeln!(std::io::stdout(), "\n{}", self.markdown())?)
    }

    /// Fails if something could not be measured; a ratio that is missed is a result, not a failure.
    pub(crate) fn verdict(&self) -> Result<()> {
        match self.failed.is_empty() {
            true => Ok(()),
            false => bail!("not measured: {}", self.failed.join(", ")),
        }
    }
}

fn compared_cells(measure: &Measure, figures: &Compared) -> [String; 7] {
    let aim = measure.aim.map_or("–".to_owned(), |aim| {
        let verdict = if figures.ratio.median >= aim { "reached" } else { "missed" };
        format!("{aim}: {verdict}")
    });
    let peer = figures.their_cores.map_or(String::new(), |cores| format!(", peer {:.2}", cores.median));
    let headroom = figures.headroom.map_or(String::new(), |headroom| format!(", alone {headroom:.1} ×"));
    [
        figures.ours.to_string(),
        format!("{}: {}", measure.peer, figures.theirs),
        format!("**{}**", figures.ratio),
        aim,
        format!("{:.2}{peer}", figures.our_cores.median),
        format!("{:.2} cores{headroom}", figures.generator_cores.median),
        format!("{:.0} MiB", figures.peak_mib),
    ]
}

fn one_line(error: &anyhow::Error) -> String {
    format!("{error:#}").replace(['\n', '|'], " ").chars().take(200).collect()
}

/// Replaces what stands between the two marks of a page.
pub(crate) fn insert(page: &Path, tables: &str) -> Result<()> {
    insert_between(page, (BEGIN, END), tables)
}

/// The same of other marks.
pub(crate) fn insert_between(page: &Path, marks: (&str, &str), tables: &str) -> Result<()> {
    let text = fs::read_to_string(page).with_context(|| format!("cannot read `{}`", page.display()))?;
    let replaced =
        between_marks(&text, marks, tables).with_context(|| format!("no `{}` in `{}`", marks.0, page.display()))?;
    fs::write(page, replaced).with_context(|| format!("cannot write `{}`", page.display()))
}

fn between_marks(text: &str, (begin, end): (&str, &str), tables: &str) -> Option<String> {
    let (before, rest) = text.split_once(begin)?;
    let (_, after) = rest.split_once(end)?;
    Some(format!("{before}{begin}\n{tables}{end}{after}"))
}

#[cfg(test)]
mod tests {
    use super::super::{limits, measures};
    use super::*;

    fn same(value: f64) -> Sample {
        Sample { median: value, min: value, max: value }
    }

    #[test]
    fn a_row_says_ratio_aim_and_what_the_generator_could() {
        let figures = Compared {
            ours: same(1200.0),
            theirs: same(1000.0),
            ratio: same(1.2),
            our_cores: same(1.5),
            their_cores: Some(same(0.5)),
            generator_cores: same(0.4),
            headroom: Some(3.0),
            peak_mib: 80.0,
        };
        let mut report = Report::new("two cores".to_owned(), false);
        let download = measures::ALL.iter().find(|measure| measure.name == "download").unwrap();
        report.compared(download, Ok(figures));
        let text = report.markdown();
        let row = "| download of 1 GiB, MiB/s | 1,200 (1,200–1,200) | nginx: 1,000 (1,000–1,000) | **1.20 (1.20–1.20)** \
                   | 1.2: reached | 1.50, peer 0.50 | 0.40 cores, alone 3.0 × | 80 MiB |";
        assert!(text.contains(row), "{text}");
        assert!(report.verdict().is_ok());
    }

    #[test]
    fn what_could_not_be_measured_is_said_and_fails() {
        let mut report = Report::new("two cores".to_owned(), true);
        report.limited(&limits::ALL[0], Err(anyhow::anyhow!("no\nserver")));
        assert!(report.markdown().contains("not measured: no server | 128 |"));
        assert_eq!(report.verdict().unwrap_err().to_string(), "not measured: memory-uploads");
    }

    #[test]
    fn a_broken_bound_is_said() {
        let mut report = Report::new("two cores".to_owned(), false);
        report.limited(&limits::ALL[0], Ok(same(200.0)));
        assert!(report.markdown().contains("| 128: **broken** |"));
    }

    #[test]
    fn tables_replace_what_stands_between_the_marks() {
        let page = format!("a\n{BEGIN}\nold\n{END}\nb\n");
        assert_eq!(between_marks(&page, (BEGIN, END), "new\n").unwrap(), format!("a\n{BEGIN}\nnew\n{END}\nb\n"));
        assert_eq!(between_marks("no marks", (BEGIN, END), "new"), None);
    }
}
