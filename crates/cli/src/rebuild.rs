//! `larder rebuild`: the database anew from what lies on the stores, written beside the old one and then put in its place.

use crate::{
    Context,
    data_dir::{Hold, Made},
    database::{self, Database},
    environment,
    fsck::Report,
    open::{self, Mounted},
    output::{Exit, refuse},
    secrets,
};
use anyhow::Result;
use clap::Args;
use larder_files::{Ledger, RebuildOptions, Rebuilt, StoreName};
use larder_ledger::SqlLedger;
use larder_storage_core::crash_point;
use std::{fmt, sync::Arc};

/// Make the database anew from what lies on the stores.
#[derive(Args)]
pub(crate) struct Rebuild {
    /// Say what would be brought back; change nothing
    #[arg(long)]
    dry_run: bool,
    /// The secrets are lost: seal users and buckets anew, from the old database if there is one; else whoever owns files
    /// gets an account that can't log in
    #[arg(long, conflicts_with = "dry_run")]
    without_secrets: bool,
    /// Leave out this store, which is away for now. What is from before can then only be read, as far as it is known
    /// without it, until it is back and a rebuild has read it
    #[arg(long, value_name = "NAME", conflicts_with = "without_secrets")]
    without: Vec<StoreName>,
    /// Give up this store, which will not come back, and what lies only there
    #[arg(long, value_name = "NAME", conflicts_with = "without_secrets")]
    forget: Vec<StoreName>,
}

impl Rebuild {
    pub(crate) async fn run(self, context: Context) -> Result<Exit> {
        let Self { dry_run, without_secrets, without, forget } = self;
        let options = RebuildOptions { without_secrets, without, forget };
        let rebuilt = rebuild(&context, dry_run, options).await?;
        Ok(Exit::failed_if(rebuilt.findings > 0))
    }
}

/// Rebuilds; prints what was found wrong, and what was brought back.
///
/// # Errors
/// Another node at work; missing secrets; a store that is away. The old database is then still there.
pub(crate) async fn rebuild(context: &Context, dry_run: bool, options: RebuildOptions) -> Result<Rebuilt> {
    let Context { dir, config, output, .. } = context;
    if !dir.path().is_dir() {
        let mend = "name another with --data (or LARDER_DATA)";
        return Err(refuse(format_args!("there is no larder in {}", dir.path().display()), mend));
    }
    dir.check_readable()?;
    let database = Database::configured(dir, config)?;
    let mut made = Made::default();
    let _alone = dir.lock(Hold::Alone, &mut made)?.ok_or_else(|| busy(format_args!("in {}", dir.path().display())))?;
    dir.settle()?;
    let mut made_secrets = Made::default();
    let secrets = match secrets::load(dir)? {
        Some(secrets) => secrets,
        None if options.without_secrets => secrets::make(dir, &mut made_secrets)?,
        None => return Err(open::no_secrets(dir)),
    };
    let left_out: Vec<_> = options.without.iter().chain(&options.forget).map(ToString::to_string).collect();
    let mut alone = if dry_run { None } else { database.rebuild_alone().await? };
    let Mounted { stores, locks: _alone_on_stores, locked, roll, .. } =
        open::mount(dir, config, Hold::Alone, &mut made, &left_out, None).await?;
    if let Some(alone) = &mut alone
        && !alone.is_deserted(&locked, &*environment::real().clock).await?
    {
        return Err(busy(format_args!("over {database}")));
    }
    if !dry_run && stores.iter().any(|mount| mount.store.staging().is_none()) {
        let wait = indicatif::HumanDuration(config.settings().deadlines.late());
        output.message(format_args!("waits {wait}: nothing that was sent to a bucket before may arrive later"));
    }
    let older = if !dry_run && database.is_there().await? { older(context, &database).await? } else { None };
    let new = database.new_one(&mut made)?;
    let ledger = new.open(true).await?;
    let mut report = Report::new(output);
    let mut take = |finding| report.take(&finding);
    let parts = open::parts(stores, &ledger, secrets, roll);
    let replaced = older.clone().map(|older| Arc::new(older) as Arc<dyn Ledger>);
    if options.without_secrets {
        // They stay whatever becomes of it: records may be sealed by them.
        made_secrets.keep();
    }
    let rebuilt = match dry_run {
        true => larder_files::rehearse_rebuild(parts, options.clone(), &mut take).await,
        false => larder_files::rebuild(parts, config.settings(), replaced, options.clone(), &mut take).await,
    };
    open::close(ledger).await;
    if let Some(older) = older {
        open::close(older).await;
    }
    if dry_run || rebuilt.is_err() {
        new.discard().await;
    }
    let rebuilt = rebuilt.map_err(|error| open::explain(error, dir, config))?;
    if !dry_run {
        crash_point!("rebuild.written");
        // It is whole: where a file of it can't be put in place, the next start does that.
        made.keep();
        let replaced = database.replace_by(&new, alone).await;
        if replaced.is_err() {
            new.discard().await;
        }
        replaced?;
    }
    report.end()?;
    output.message(words(&rebuilt, dry_run));
    // While a store is left out, no account changes.
    if rebuilt.locked > 0 && options.without.is_empty() {
        output.message(format_args!(
            "users who can't log in: {}; `larder user list` shows them, `larder user passwd NAME` gives one a password; \
             where no admin is left, `larder setup-link` prints a link to make one with",
            rebuilt.locked
        ));
    }
    if !options.without.is_empty() && !dry_run {
        let without: Vec<_> = options.without.iter().map(ToString::to_string).collect();
        output.message(open::provisional(&without));
    }
    Ok(rebuilt)
}

/// The database that is to be replaced, if it can be opened at all: that it can't may be why it is.
async fn older(context: &Context, database: &Database) -> Result<Option<SqlLedger>> {
    match database.open(false).await {
        Ok(ledger) => Ok(Some(ledger)),
        Err(error) if database::is_held(&error) => Err(error),
        Err(error) => {
            let why = crate::output::chain(error.as_ref());
            context.output.message(format_args!("the old database is left out of it: {why}"));
            Ok(None)
        }
    }
}

fn busy(place: impl fmt::Display) -> anyhow::Error {
    let what = format!("another larder works {place}; a rebuild wants to be alone");
    refuse(what, "end it (is a server running?), then try again")
}

fn words(rebuilt: &Rebuilt, dry_run: bool) -> String {
    let Rebuilt { epoch, files, revisions, users, buckets, tombstones, findings, .. } = rebuilt;
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
