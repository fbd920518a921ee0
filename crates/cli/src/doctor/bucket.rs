//! A store that is a bucket: whether its server lets us in, and what it is able to.

use super::Said;
use crate::{Context, open, output::chain};
use larder_files::{StoreMode, StoreName};
use larder_storage_core::Error;
use larder_storage_s3::{Misconfigured, Profile, S3Options};

/// By more than this a server may refuse what was signed: a third of what S3 allows.
const SKEW_MAX_SECONDS: u64 = 300;

/// What there is to say of a bucket. What the server can do is asked anew where the store may be written to, else only once.
pub(super) async fn look(context: &Context, name: &StoreName, options: S3Options) -> Vec<(&'static str, Said)> {
    let is_made = options.create_bucket;
    // A look makes nothing that a start would make.
    let options = S3Options { create_bucket: false, ..options };
    let store = match open::bucket::connect(name, options).await {
        Ok(store) => store,
        Err(error) => return vec![("bucket", Said::refused(&error))],
    };
    if let Err(error) = store.open().await {
        let is_missing = matches!(open::bucket::misconfigured(&error), Some(Misconfigured::MissingBucket { .. }));
        let said = if is_made && is_missing {
            Said::ok(format_args!("{store} is not there yet; the first start makes it"))
        } else {
            problem(&error)
        };
        return vec![("bucket", said)];
    }
    let mut said = vec![("bucket", Said::ok(&store)), ("clock", clock(store.clock_skew()))];
    let profile = match context.config.stores[name].mode {
        StoreMode::Edit => store.renew_profile().await,
        _ => store.profile().await,
    };
    said.push(("abilities", profile.map_or_else(|error| problem(&error), |profile| abilities(&profile))));
    said
}

fn problem(error: &Error) -> Said {
    match open::bucket::misconfigured(error) {
        Some(wrong) => Said::problem(error, wrong.advice()),
        None => Said::problem(chain(error), "does the server run, and is it that one?"),
    }
}

fn clock(skew: Option<i64>) -> Said {
    match skew {
        Some(seconds) if seconds.unsigned_abs() > SKEW_MAX_SECONDS => Said::problem(
            format_args!("the server's clock is {seconds} s from this one's"),
            "set the clock of this machine, best by NTP: the server refuses what was signed at another time",
        ),
        Some(seconds) => Said::ok(format_args!("the server's is {seconds} s from this one's")),
        None => Said::ok("the server does not tell the time"),
    }
}

fn abilities(profile: &Profile) -> Said {
    let able = [
        ("conditional create", profile.put.create),
        ("conditional replace", profile.put.replace),
        ("checks what it is sent", profile.checks_payload),
        ("batch delete", profile.batch_delete),
        ("lists open uploads", profile.lists_uploads),
        ("signed URLs", profile.presign),
        ("versions", profile.versioned),
        ("tags", profile.tags),
        ("encryption", profile.encrypts),
    ];
    let words: Vec<_> = able.iter().map(|(what, is)| format!("{what}: {}", if *is { "yes" } else { "no" })).collect();
    Said::ok(words.join(", "))
}
