//! `larder rebuild`: the database anew from what lies on the stores, written beside the old one and then put in its place.

mod losses;

use crate::{
    Context,
    data_dir::{Hold, Made},
    database::{self, Database},
    environment,
    fsck::Report,
    open::{self, Mounted},
    output::{Exit, counted, refuse},
    secrets,
};
use anyhow::Result;
use clap::Args;
use larder_files::{Ledger, RebuildOptions, Rebuilt, StoreName};
use larder_ledger::SqlLedger;
use larder_storage_core::crash_point;
use std::{fmt, sync::Arc};

/// Make the database anew from what lies on the stores.
#[derive(Args, Default)]
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
    /// Give up this store, which will not come back. Refused where files have their only copies there, or nothing tells whether any have;
    /// with --dry-run, or --json, all of them are printed
    #[arg(long, value_name = "NAME", conflicts_with = "without_secrets")]
    forget: Vec<StoreName>,
    /// Give up the files, too, whose only copies are on stores that are forgotten
    #[arg(long, requires = "forget")]
    lose_files: bool,
}

impl Rebuild {
    pub(crate) async fn run(self, context: Context) -> Result<Exit> {
        rebuild(&context, &self).await
    }

    fn options(&self) -> RebuildOptions {
        let Self { without_secrets, without, forget, .. } = self;
        RebuildOptions { without_secrets: *without_secrets, without: without.clone(), forget: forget.clone() }
    }
}

/// Rebuilds; prints what was found wrong, and what was brought back.
///
/// # Errors
/// Another node at work; missing secrets; a store that is away; files that would be lost and may not. The old database is then still there.
pub(crate) async fn rebuild(context: &Context, wanted: &Rebuild) -> Result<Exit> {
    let (dry_run, options) = (wanted.dry_run, wanted.options());
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
    let waits = !dry_run && stores.iter().any(|mount| mount.store.staging().is_none());
    let older = older(context, &database, wanted).await?;
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
    let rebuilt = async {
        let told = wanted.check_losses(&parts, replaced.as_deref(), context).await?;
        if waits {
            let wait = indicatif::HumanDuration(config.settings().deadlines.late());
            output.message(format_args!("waits {wait}: nothing that was sent to a bucket before may arrive later"));
        }
        let rebuilt = match dry_run {
            true => larder_files::rehearse_rebuild(parts, options.clone(), &mut take).await,
            false => larder_files::rebuild(parts, config.settings(), replaced, options.clone(), &mut take).await,
        };
        anyhow::Ok((rebuilt.map_err(|error| open::explain(error, dir, config))?, told))
    };
    let rebuilt = rebuilt.await;
    open::close(ledger).await;
    if let Some(older) = older {
        open::close(older).await;
    }
    if dry_run || rebuilt.is_err() {
        new.discard().await;
    }
    let (rebuilt, told) = rebuilt?;
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
    let refused = told.filter(|_| dry_run).is_some_and(|told| told.rehearsed(wanted, output));
    Ok(Exit::failed_if(rebuilt.findings > 0 || refused))
}

/// The database that is to be replaced, if it can be opened at all: that it can't may be why it is. A rehearsal asks it only what would be
/// lost, and does not bring it up to this version for that.
async fn older(context: &Context, database: &Database, wanted: &Rebuild) -> Result<Option<SqlLedger>> {
    if wanted.dry_run && wanted.forget.is_empty() || !database.is_there().await? {
        return Ok(None);
    }
    let opened = if wanted.dry_run { database.open_unchanged().await } else { database.open(false).await.map(Some) };
    match opened {
        Ok(Some(ledger)) => Ok(Some(ledger)),
        Ok(None) => {
            context
                .output
                .message("the old database is an earlier version's: a rehearsal leaves it as it is, and out of it");
            Ok(None)
        }
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
    let counts = [
        counted(*files, "file", "files"),
        counted(*revisions, "revision", "revisions"),
        counted(*users, "user", "users"),
        counted(*buckets, "bucket", "buckets"),
        counted(*tombstones, "tombstone", "tombstones"),
    ];
    let mut words = format!("{done} {}", counts.join(", "));
    if !dry_run {
        words += &format!("; epoch {epoch}");
    }
    if *findings > 0 {
        words += &format!("; {}", counted(*findings, "finding", "findings"));
    }
    words
}
