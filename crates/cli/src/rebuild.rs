//! `larder rebuild`: the database anew from what lies on the stores, written beside the old one and then put in its place.

use crate::{
    Context,
    data_dir::{DataDir, Hold, Made},
    fsck::Report,
    open,
    output::{Exit, refuse},
    secrets,
};
use anyhow::{Context as _, Result};
use clap::Args;
use larder_files::{Ledger, Rebuilt};
use larder_ledger::{OpenError, SqliteLedger};
use larder_storage_core::crash_point;
use std::sync::Arc;

/// Make the database anew from what lies on the stores.
#[derive(Args)]
pub(crate) struct Rebuild {
    /// Say what would be brought back; change nothing
    #[arg(long)]
    dry_run: bool,
}

impl Rebuild {
    pub(crate) async fn run(self, context: Context) -> Result<Exit> {
        let rebuilt = rebuild(&context, self.dry_run).await?;
        Ok(Exit::failed_if(rebuilt.findings > 0))
    }
}

/// Rebuilds; prints what was found wrong, and what was brought back.
///
/// # Errors
/// Another node at work; missing secrets; a store that is away. The old database is then still there.
pub(crate) async fn rebuild(context: &Context, dry_run: bool) -> Result<Rebuilt> {
    let Context { dir, config, output, .. } = context;
    if !dir.path().is_dir() {
        let mend = "name another with --data (or LARDER_DATA)";
        return Err(refuse(format_args!("there is no larder in {}", dir.path().display()), mend));
    }
    let mut made = Made::default();
    let _alone = dir.lock(Hold::Alone, &mut made)?.ok_or_else(|| busy(dir))?;
    dir.settle()?;
    let secrets = secrets::load(dir)?.ok_or_else(|| open::no_secrets(dir))?;
    let (stores, _stores_alone) = open::mount(dir, config, Hold::Alone, &mut made)?;
    let older = if dir.database().exists() && !dry_run { older(context).await? } else { None };
    made.dir(&dir.db_new()).map_err(|error| dir.not_writable(&dir.db_new(), &error))?;
    made.tree(dir.db_new());
    let ledger = open::open_ledger(&dir.db_new().join("larder.db"), true).await?;
    let mut report = Report::new(output);
    let mut take = |finding| report.take(&finding);
    let parts = open::parts(stores, &ledger, secrets);
    let rebuilt = if dry_run {
        larder_files::rehearse_rebuild(parts, &mut take).await
    } else {
        let older = older.clone().map(|older| Arc::new(older) as Arc<dyn Ledger>);
        larder_files::rebuild(parts, config.settings(), older, &mut take).await
    };
    open::close(ledger).await;
    if let Some(older) = older {
        open::close(older).await;
    }
    let rebuilt = rebuilt.map_err(|error| open::explain(error, dir, config))?;
    if !dry_run {
        crash_point!("rebuild.written");
        dir.swap().with_context(|| format!("cannot put the new database into {}", dir.db().display()))?;
        made.keep();
    }
    report.end()?;
    output.message(words(&rebuilt, dry_run));
    Ok(rebuilt)
}

/// The database that is to be replaced, if it can be opened at all: that it can't may be why it is.
async fn older(context: &Context) -> Result<Option<SqliteLedger>> {
    match open::open_ledger(&context.dir.database(), false).await {
        Ok(ledger) => Ok(Some(ledger)),
        Err(error) if matches!(error.downcast_ref(), Some(OpenError::Locked)) => Err(error),
        Err(error) => {
            let why = crate::output::chain(error.as_ref());
            context.output.message(format_args!("the old database is left out of it: {why}"));
            Ok(None)
        }
    }
}

fn busy(dir: &DataDir) -> anyhow::Error {
    let what = format!("another larder works in {}; a rebuild wants to be alone", dir.path().display());
    refuse(what, "end it (is a server running?), then try again")
}

fn words(rebuilt: &Rebuilt, dry_run: bool) -> String {
    let Rebuilt { epoch, files, revisions, users, buckets, tombstones, findings } = rebuilt;
    let done = if dry_run { "would bring back" } else { "brought back" };
    let mut words = format!(
        "{done} {files} files, {revisions} revisions, {users} users, {buckets} buckets, {tombstones} tombstones"
    );
    if !dry_run {
        words += &format!("; epoch {epoch}");
    }
    if *findings > 0 {
        words += &format!("; {findings} findings");
    }
    words
}
