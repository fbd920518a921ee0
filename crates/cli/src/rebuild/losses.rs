//! What is lost with stores that a rebuild is to forget: told before anything is changed, and nothing goes on unless it was asked for.

use super::Rebuild;
use crate::{
    Context, open,
    output::{Output, counted, refuse, shown, size},
};
use anyhow::Result;
use larder_files::{Ledger, Loss, Losses, Parts};
use serde_json::json;
use std::{io, path::Path};

/// So many files are named where not all are asked for.
const FIRST: usize = 5;

/// What there is to be told.
pub(super) struct Told {
    losses: Losses,
    /// The first of the files, in words.
    first: Vec<String>,
    /// ``the stores `a`, `b` ``
    stores: String,
}

impl Rebuild {
    /// Tells what would be lost; `None` where nothing is, for certain. All of it is printed by a rehearsal, and as JSON by any.
    ///
    /// # Errors
    /// Something would be, in earnest, and was not given up.
    pub(super) async fn check_losses(
        &self,
        parts: &Parts,
        older: Option<&dyn Ledger>,
        context: &Context,
    ) -> Result<Option<Told>> {
        if self.forget.is_empty() {
            return Ok(None);
        }
        let told = self.look_for_losses(parts, older, context).await?;
        match (told.losses.is_none(), self.dry_run, self.lose_files) {
            (true, ..) => return Ok(None),
            (false, false, false) => return Err(told.refusal(self)),
            (false, false, true) => context.output.message(format_args!("gives up {}{}", told.words(), told.rows())),
            (false, true, _) => {}
        }
        Ok(Some(told))
    }

    async fn look_for_losses(&self, parts: &Parts, older: Option<&dyn Ledger>, context: &Context) -> Result<Told> {
        let Context { dir, config, output, .. } = context;
        let (mut first, mut printed) = (vec![], Ok(()));
        let mut take = |loss: Loss| {
            let line = row(&loss);
            if printed.is_ok() && (output.json || self.dry_run) {
                printed = print(output, &loss, &line);
            }
            if first.len() < FIRST {
                first.push(line);
            }
        };
        let losses = larder_files::losses(parts, older, &self.options(), &mut take).await;
        printed?;
        output.flush()?;
        let names: Vec<_> = self.forget.iter().map(|name| format!("`{name}`")).collect();
        let stores = format!("{} {}", if names.len() == 1 { "the store" } else { "the stores" }, names.join(", "));
        let losses = losses.map_err(|error| open::explain(error, dir, config))?;
        Ok(Told { losses, first, stores })
    }

    /// This rebuild again, as a command.
    fn again(&self, flag: &str) -> String {
        let names = |flag: &str, names: &[_]| names.iter().map(|name| format!(" {flag} {name}")).collect::<String>();
        format!("`larder rebuild{}{} {flag}`", names("--without", &self.without), names("--forget", &self.forget))
    }
}

impl Told {
    /// Says at the end of a rehearsal what would be lost; answers whether the rebuild would be refused for it.
    pub(super) fn rehearsed(&self, rebuild: &Rebuild, output: &Output) -> bool {
        let words = self.words();
        match rebuild.lose_files {
            true => output.message(format_args!("would give up {words}")),
            false => output.message(format_args!("would be refused without --lose-files: gives up {words}")),
        }
        !rebuild.lose_files
    }

    /// The refusal of a rebuild that was not asked to lose anything.
    fn refusal(&self, rebuild: &Rebuild) -> anyhow::Error {
        let goes_on = format!("{} goes on and gives that up", rebuild.again("--lose-files"));
        let mend = match self.first.is_empty() {
            true => format!("is it gone for good? {goes_on}"),
            false => format!("{} lists all; is it gone for good? {goes_on}", rebuild.again("--dry-run")),
        };
        refuse(format_args!("{} would be lost{}", self.words(), self.rows()), mend)
    }

    fn words(&self) -> String {
        let Losses { files, revised, bytes, untold } = &self.losses;
        let (stores, size) = (&self.stores, size(*bytes));
        let (all, more) = (counted(*files, "file", "files"), counted(*revised, "more", "more"));
        let known = match (files, revised) {
            (0, 0) => None,
            (_, 0) => Some(format!("the only copies of {all} on {stores} ({size})")),
            (0, _) => Some(format!(
                "the only copies of old revisions of {} on {stores} ({size})",
                counted(*revised, "file", "files")
            )),
            _ => Some(format!("the only copies of {all}, and of old revisions of {more}, on {stores} ({size})")),
        };
        match (known, untold) {
            (Some(known), None) => known,
            (Some(known), Some(why)) => format!("{known}, and what else lies there alone ({why})"),
            (None, Some(why)) => format!("what lies only on {stores}, and can't be told ({why})"),
            (None, None) => "nothing".into(),
        }
    }

    fn rows(&self) -> String {
        let rows: String = self.first.iter().map(|row| format!("\n    {row}")).collect();
        let more = (self.losses.files + self.losses.revised).saturating_sub(self.first.len() as u64);
        if more > 0 { format!("{rows}\n    … and {more} more") } else { rows }
    }
}

fn print(output: &Output, loss: &Loss, line: &str) -> io::Result<()> {
    if !output.json {
        return output.line(format_args!("only_copy {line}"));
    }
    let Loss { file, revisions, bytes } = loss;
    output.record(&json!({
        "kind": "only_copy", "id": file.id, "bucket": file.bucket, "owner": file.owner, "name": file.name,
        "revisions": revisions, "newest": loss.is_newest(), "size": bytes,
    }))
}

/// The name last, as it may hold anything.
fn row(loss: &Loss) -> String {
    let Loss { file, revisions, bytes } = loss;
    let revisions = match (loss.is_newest(), revisions.as_slice()) {
        (true, [_]) => String::new(),
        (_, [one]) => format!("revision {one}  "),
        (_, several) => {
            let numbers: Vec<_> = several.iter().map(ToString::to_string).collect();
            format!("revisions {}  ", numbers.join(", "))
        }
    };
    let name = shown(Path::new(&file.name));
    format!("{}  {}  {}/{}  {revisions}{name}", file.id, size(*bytes), file.bucket, file.owner)
}
