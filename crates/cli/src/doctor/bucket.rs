//! A store that is a bucket: whether its server lets us in, and what it is able to.

use super::Said;
use crate::{
    Context,
    config::{Config, StoreKind},
    database::Database,
    open,
    output::{Exit, Output, refuse},
    secrets,
};
use anyhow::Result;
use larder_files::StoreName;
use larder_storage_s3::{Examined, Finding, Health, Profile, S3Options};

/// What there is to say of a bucket. What the server can do is found out anew where the store is one of the mode `edit`; a store that
/// takes nothing new is not written to.
pub(super) async fn look(context: &Context, name: &StoreName, options: S3Options) -> Vec<(&'static str, Said)> {
    // One that holds files is not made anew.
    let is_made = options.create_bucket && !is_known(context, name).await;
    let store = match open::bucket::connect(name, options).await {
        Ok(store) => store,
        Err(error) => return vec![("bucket", Said::refused(&error))],
    };
    let extent = open::bucket::extent(context.config.stores[name].mode);
    let Examined { findings, profile } = store.examine(extent).await;
    let line = |finding: Finding| match finding.health {
        // A look makes nothing that a start would make.
        Health::Bad if finding.check == "bucket" && is_made => {
            (finding.check, Said::ok(format_args!("{store} is not there yet; the first start makes it")))
        }
        _ => (finding.check, Said::from(finding)),
    };
    let mut said: Vec<_> = findings.into_iter().map(line).collect();
    said.extend(profile.map(|profile| ("abilities", abilities(&profile))));
    said
}

/// Whether the database knows the store; one that can't be asked tells so elsewhere.
async fn is_known(context: &Context, name: &StoreName) -> bool {
    let known = async {
        let database = Database::configured(&context.dir, &context.config)?;
        let Some(secrets) = secrets::load(&context.dir)? else { return anyhow::Ok(false) };
        if !database.is_there().await? {
            return Ok(false);
        }
        let ledger = database.open(false).await?;
        let known = open::Known::by(&ledger, &secrets).await.map(|known| known.knows(name));
        open::close(ledger).await;
        known
    };
    known.await.unwrap_or(false)
}

impl From<Finding> for Said {
    fn from(finding: Finding) -> Self {
        let Finding { health, measured, advice, .. } = finding;
        match health {
            Health::Good => Self::ok(measured),
            Health::Doubtful => Self::warning(measured, advice),
            Health::Bad => Self::problem(measured, advice),
        }
    }
}

/// Prints what the credentials of a bucket must be allowed, and no more; asks nothing of the server.
pub(super) fn policy(config: &Config, named: Option<&StoreName>, output: &Output) -> Result<Exit> {
    let buckets: Vec<&StoreName> = match named {
        Some(name) => vec![name],
        None => config.stores.iter().filter(|(_, store)| store.kind == StoreKind::S3).map(|(name, _)| name).collect(),
    };
    let [name] = buckets[..] else {
        let what = format!("there are {} stores that are buckets, and a policy is of one", buckets.len());
        return Err(refuse(what, "name it: `larder doctor --store NAME --policy`"));
    };
    let store = &config.stores[name];
    let Some(options) = store.s3_options() else {
        return Err(refuse(
            format_args!("the store `{name}` is a directory, and has no policy"),
            "name a store of the kind `s3`",
        ));
    };
    let policy = options.policy(open::bucket::extent(store.mode));
    if output.json {
        output.record(&policy)?;
    } else {
        output.line(serde_json::to_string_pretty(&policy)?)?;
    }
    output.flush()?;
    Ok(Exit::Done)
}

fn abilities(profile: &Profile) -> Said {
    let able = [
        ("conditional create", profile.put.create),
        ("conditional replace", profile.put.replace),
        ("checks what it is sent", profile.checks_payload),
        ("checks what comes by a signed URL", profile.checks_sha256),
        ("batch delete", profile.batch_delete),
        ("lists open uploads", profile.lists_uploads && profile.dates_uploads),
        ("signed URLs", profile.presign),
        ("versions", profile.versioned),
        ("tags", profile.tags),
        ("encryption", profile.encrypts),
    ];
    let words: Vec<_> = able.iter().map(|(what, is)| format!("{what}: {}", if *is { "yes" } else { "no" })).collect();
    Said::ok(words.join(", "))
}
