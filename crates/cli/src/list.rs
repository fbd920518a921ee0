//! `larder ls` and `larder stat`, and how a command finds the file that an argument means.

use crate::{
    Context,
    open::{self, Access},
    output::{Exit, Output, size},
};
use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};
use larder_files::{Caller, Error, File, FileId, Files, ListFiles, Sort};

/// Files per request.
const PAGE: usize = 1000;

/// List files.
///
/// On a terminal with the names of the columns above them; scripts get the lines alone.
#[derive(Args)]
pub(crate) struct Ls {
    /// Only of this bucket
    #[arg(long)]
    bucket: Option<String>,
    /// Only of this owner
    #[arg(long)]
    owner: Option<String>,
    /// Only names that begin so
    #[arg(long)]
    prefix: Option<String>,
    /// Only names that hold this, without regard to case
    #[arg(long, value_name = "TEXT")]
    q: Option<String>,
    /// Only with this tag
    #[arg(long)]
    tag: Option<String>,
    /// Only of this content type
    #[arg(long, value_name = "TYPE")]
    r#type: Option<String>,
    /// The trash instead
    #[arg(long)]
    deleted: bool,
    /// What they are sorted by
    #[arg(long, value_enum, default_value_t = By::Created)]
    sort: By,
    /// The other way round
    #[arg(long)]
    reverse: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum By {
    Created,
    Name,
    Size,
}

/// Show everything that is known of a file.
#[derive(Args)]
pub(crate) struct Stat {
    /// Its id or name
    #[arg(value_name = "ID|NAME")]
    file: String,
}

impl Ls {
    pub(crate) async fn run(self, context: Context) -> Result<Exit> {
        open::with(&context, Access::Read, async |files| self.list(files, &context).await).await
    }

    async fn list(self, files: &Files, context: &Context) -> Result<Exit> {
        let (output, presets) = (&context.output, context.config.presets());
        let Self { bucket, owner, prefix, q, tag, r#type: content_type, deleted, sort, reverse: descending } = self;
        let sort = match sort {
            By::Created => Sort::Created,
            By::Name => Sort::Name,
            By::Size => Sort::Size,
        };
        let filters = ListFiles { bucket, owner, prefix, q, tag, content_type, deleted, ..ListFiles::default() };
        let mut query = ListFiles { sort, descending, limit: PAGE, ..filters };
        let mut wants_header = output.is_shown();
        loop {
            let page = files.list(&Caller::local(), query.clone()).await?;
            if wants_header && !page.items.is_empty() {
                output.line(columns("ID", "SIZE", "CREATED", "BUCKET/OWNER", "NAME"))?;
                wants_header = false;
            }
            for file in &page.items {
                if output.json {
                    output.record(&open::record(files, file, &presets))?;
                } else {
                    output.line(row(file))?;
                }
            }
            output.flush()?;
            query.after = page.next;
            if query.after.is_none() {
                return Ok(Exit::Done);
            }
        }
    }
}

fn row(file: &File) -> String {
    let attributes = &file.attributes;
    let whose = format!("{}/{}", attributes.bucket, attributes.owner);
    let time = format!("{}Z", &attributes.created_at.to_string()[..19]);
    columns(&attributes.id.to_string(), &size(attributes.size), &time, &whose, &attributes.name)
}

/// The name last, as it may hold anything.
fn columns(id: &str, size: &str, created: &str, whose: &str, name: &str) -> String {
    format!("{id:<36}  {size:>10}  {created:<20}  {whose}  {name}")
}

impl Stat {
    pub(crate) async fn run(self, context: Context) -> Result<Exit> {
        open::with(&context, Access::Read, async |files| self.stat(files, &context).await).await
    }

    async fn stat(&self, files: &Files, context: &Context) -> Result<Exit> {
        let output = &context.output;
        let Some(file) = find(files, output, &self.file).await? else { return Ok(Exit::Failed) };
        let record = open::record(files, &file, &context.config.presets());
        if output.json {
            output.record(&record)?;
        } else {
            for (field, value) in serde_json::to_value(&record)?.as_object().into_iter().flatten() {
                match value.as_str() {
                    Some(text) => output.line(format_args!("{field:>14}  {text}"))?,
                    None => output.line(format_args!("{field:>14}  {value}"))?,
                }
            }
            for revision in files.revisions(&Caller::local(), file.attributes.id).await? {
                let (number, bytes, sha256) = (revision.revision, size(revision.size), revision.sha256);
                output.line(format_args!(
                    "{:>14}  {number}: {bytes}, {sha256}, {}",
                    "revision",
                    revision.key.as_str()
                ))?;
            }
        }
        output.flush()?;
        Ok(Exit::Done)
    }
}

/// The file of this id, in the trash too, or the one live file of this name; `None` where several bear the name: their ids are
/// printed.
///
/// # Errors
/// There is none.
pub(crate) async fn find(files: &Files, output: &Output, argument: &str) -> Result<Option<File>> {
    let caller = Caller::local();
    if let Some(id) = FileId::parse(argument) {
        match files.describe(&caller, id).await {
            Err(Error::NotFound(_)) => {}
            other => return other.map(Some).with_context(|| format!("`{argument}`")),
        }
    }
    let named = ListFiles { name: Some(argument.to_owned()), limit: PAGE, ..ListFiles::default() };
    let mut found = files.list(&caller, named).await?.items;
    if found.len() > 1 {
        output.error(format_args!("{} files are called `{argument}`: take one by its id", found.len()));
        // Not among the results: those may be a file's bytes.
        found.iter().for_each(|file| output.always(row(file)));
        return Ok(None);
    }
    found.pop().map(Some).with_context(|| {
        format!("no such file: `{argument}`; one in the trash is named by its id, see `larder ls --deleted`")
    })
}
