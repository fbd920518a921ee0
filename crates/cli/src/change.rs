//! `larder rm` and `larder restore`: into the trash, out of it, or gone for ever.

use crate::{
    Context, list,
    open::{self, Access},
    output::{Exit, chain},
};
use anyhow::{Context as _, Result};
use clap::Args;
use larder_files::{Caller, Error, File, Files};

/// Put files in the trash, or purge them for ever.
#[derive(Args)]
pub(crate) struct Rm {
    /// Their ids or names
    #[arg(required = true, value_name = "ID|NAME")]
    files: Vec<String>,
    /// For ever: not even `restore` brings them back
    #[arg(long)]
    purge: bool,
    /// Only this old revision; `stat` shows their numbers, and the newest can't be removed
    #[arg(long, value_name = "N", requires = "purge")]
    revision: Option<u64>,
}

/// Take files back from the trash.
#[derive(Args)]
pub(crate) struct Restore {
    /// Their ids
    #[arg(required = true, value_name = "ID")]
    files: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    Remove,
    Purge,
    PurgeRevision(u64),
    Restore,
}

impl Change {
    /// Answers the file as it is then, or was before it was purged.
    async fn make(self, files: &Files, file: File) -> Result<File, Error> {
        let (caller, id) = (Caller::local(), file.attributes.id);
        match self {
            Self::Remove => files.remove(&caller, id, None).await,
            Self::Restore => files.restore(&caller, id, None).await,
            Self::Purge => files.purge(&caller, id, None).await.map(|()| file),
            Self::PurgeRevision(revision) => files.purge_revision(&caller, id, revision, None).await.map(|()| file),
        }
    }
}

impl Rm {
    pub(crate) async fn run(self, context: Context) -> Result<Exit> {
        let change = match self.revision {
            Some(revision) => Change::PurgeRevision(revision),
            None if self.purge => Change::Purge,
            None => Change::Remove,
        };
        open::with(&context, Access::Change, async |files| all(files, &context, change, &self.files).await).await
    }
}

impl Restore {
    pub(crate) async fn run(self, context: Context) -> Result<Exit> {
        open::with(&context, Access::Change, async |files| all(files, &context, Change::Restore, &self.files).await)
            .await
    }
}

/// Changes each; one that fails does not stop the others.
async fn all(files: &Files, context: &Context, change: Change, arguments: &[String]) -> Result<Exit> {
    let output = &context.output;
    let mut failed = false;
    for argument in arguments {
        match one(files, context, change, argument).await {
            Ok(true) => {}
            Ok(false) => failed = true,
            Err(error) => {
                failed = true;
                output.error(chain(error.as_ref()));
            }
        }
    }
    output.flush()?;
    Ok(Exit::failed_if(failed))
}

async fn one(files: &Files, context: &Context, change: Change, argument: &str) -> Result<bool> {
    let output = &context.output;
    let Some(file) = list::find(files, output, argument).await? else { return Ok(false) };
    let id = file.attributes.id;
    if change == Change::Restore && file.attributes.deleted_at.is_none() {
        output.message(format_args!("`{argument}` is not in the trash"));
    }
    let changed = change.make(files, file).await.with_context(|| argument.to_owned())?;
    if output.json && change != Change::Purge {
        output.record(&open::record(files, &changed, &context.config.presets()))?;
    } else {
        output.line(id)?;
    }
    Ok(true)
}
