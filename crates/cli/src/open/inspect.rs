//! [`Bucket`]: what a bucket's server is asked for the API. It is the same driver that files go through, so that what is found out anew
//! counts for them at once.

use super::bucket::extent;
use futures_util::{FutureExt, future::BoxFuture};
use larder_api::{Inspect, Inspected, Profile};
use larder_files::{StoreMode, Timestamp};
use larder_storage_s3::{Finding, Health, S3Store};

/// A store that is a bucket.
#[derive(Clone, Debug)]
pub(super) struct Bucket {
    pub(super) store: S3Store,
    pub(super) mode: StoreMode,
}

impl Inspect for Bucket {
    fn profile(&self) -> BoxFuture<'_, Option<Profile>> {
        async move {
            match self.store.known_profile().await {
                Ok(known) => known.map(|known| shown(&known)),
                Err(error) => {
                    tracing::debug!(%error, "what the server can do is not known");
                    None
                }
            }
        }
        .boxed()
    }

    fn inspect(&self) -> BoxFuture<'_, Vec<Inspected>> {
        async move { self.store.examine(extent(self.mode)).await.findings.into_iter().map(told).collect() }.boxed()
    }
}

fn shown(profile: &larder_storage_s3::Profile) -> Profile {
    let seconds = i64::try_from(profile.probed_at).unwrap_or(i64::MAX);
    Profile {
        probed_at: Timestamp::from_millis(seconds.saturating_mul(1_000)),
        conditional_create: profile.put.create,
        conditional_replace: profile.put.replace,
        checks_payload: profile.checks_payload,
        checks_sha256: profile.checks_sha256,
        batch_delete: profile.batch_delete,
        lists_uploads: profile.lists_uploads && profile.dates_uploads,
        part_bytes_min: profile.part_bytes_min,
        presign: profile.presign,
        versions: profile.versioned,
        tags: profile.tags,
        encrypts: profile.encrypts,
        clock_skew_seconds: profile.clock_skew,
    }
}

fn told(finding: Finding) -> Inspected {
    let Finding { check, health, measured, advice, latency } = finding;
    let result = match health {
        Health::Good => "passed",
        Health::Doubtful => "warning",
        Health::Bad => "failed",
    };
    Inspected { check, result, detail: measured, advice, latency }
}
