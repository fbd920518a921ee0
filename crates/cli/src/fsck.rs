//! `larder fsck`: compares bytes, attributes and rows, beside a running server; reads all bytes or mends, when asked to.

use crate::{
    Context,
    open::{self, Access},
    output::{Exit, Output, counted, size},
};
use anyhow::Result;
use clap::Args;
use larder_files::{Finding, FsckOptions, FsckSummary};

/// Compare bytes, attributes and rows.
#[derive(Args)]
pub(crate) struct Fsck {
    /// Read all bytes and compare their hashes
    #[arg(long)]
    verify: bool,
    /// Mend what can be mended; what is garbage goes to quarantine
    #[arg(long)]
    repair: bool,
}

impl Fsck {
    pub(crate) async fn run(self, context: Context) -> Result<Exit> {
        let options = FsckOptions { verify: self.verify, repair: self.repair };
        let output = &context.output;
        open::with(&context, Access::Change, async |files| {
            let mut report = Report::new(output);
            let summary = files.fsck(options, &mut |finding| report.take(&finding)).await?;
            report.end()?;
            output.message(words(&summary));
            Ok(Exit::failed_if(if options.repair { bad_after_repair(&summary) } else { summary.findings > 0 }))
        })
        .await
    }
}

fn bad_after_repair(summary: &FsckSummary) -> bool {
    summary.lost > 0 || summary.findings > summary.repaired
}

fn words(summary: &FsckSummary) -> String {
    let FsckSummary { files, bytes_verified, findings, foreign, repaired, lost } = summary;
    let mut words =
        format!("{} checked, {}", counted(*files, "file", "files"), counted(*findings, "finding", "findings"));
    for (count, one, several) in [
        (*repaired, "mended", "mended"),
        (*lost, "lost on every store", "lost on every store"),
        (*foreign, "foreign object left alone", "foreign objects left alone"),
    ] {
        if count > 0 {
            words += &format!(", {}", counted(count, one, several));
        }
    }
    if *bytes_verified > 0 {
        words += &format!(", {} read", size(*bytes_verified));
    }
    words
}

/// Prints findings as they come; a failure to print ends the command when its work is done.
pub(crate) struct Report<'a> {
    output: &'a Output,
    broken: std::io::Result<()>,
}

impl<'a> Report<'a> {
    pub(crate) fn new(output: &'a Output) -> Self {
        Self { output, broken: Ok(()) }
    }

    pub(crate) fn take(&mut self, finding: &Finding) {
        if self.broken.is_ok() {
            self.broken = self.print(finding);
        }
    }

    fn print(&self, finding: &Finding) -> std::io::Result<()> {
        if self.output.json {
            return self.output.record(finding);
        }
        let kind = serde_json::to_value(finding.kind).map_err(std::io::Error::other)?;
        let id = finding.id.map(|id| format!(" {id}")).unwrap_or_default();
        let key = finding.key.as_deref().map(|key| format!(" {key}")).unwrap_or_default();
        let detail = self.output.hinted(&finding.detail);
        self.output.line(format_args!("{}{id}{key}: {detail}", kind.as_str().unwrap_or_default()))
    }

    pub(crate) fn end(self) -> std::io::Result<()> {
        self.broken?;
        self.output.flush()
    }
}
