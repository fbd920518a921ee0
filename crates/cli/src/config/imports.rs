//! The keys of imports from URLs, and what they come to.

use super::{Config, maybe_size};
use crate::output::refuse;
use anyhow::Result;
use larder_fetch::{Fetcher, Policy, SystemResolver};
use serde::{Deserialize, Serialize};
use std::{sync::Arc, time::Duration};

/// Whether, and how, content is fetched from URLs.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct ImportConfig {
    /// Whether it is at all. `LARDER_IMPORTS__ENABLED`, default `false`: this server opens no connection that somebody else names.
    enabled: Option<bool>,
    /// Whether from `http` URLs too. `LARDER_IMPORTS__HTTP`, default `false`.
    http: Option<bool>,
    /// Bytes of the largest content, default 1 GiB; a bucket's own limit counts besides. `LARDER_IMPORTS__BYTES_MAX`.
    #[serde(default, deserialize_with = "maybe_size")]
    bytes_max: Option<u64>,
    /// Seconds that one may take, default 600. `LARDER_IMPORTS__TIMEOUT_SECONDS`.
    timeout_seconds: Option<u64>,
}

const BYTES_MAX: u64 = 1 << 30;
const TIMEOUT_SECONDS: u64 = 600;

impl ImportConfig {
    /// Refuses what nothing could be fetched by.
    pub(super) fn check(&self) -> Result<()> {
        if self.bytes_max == Some(0) {
            return Err(refuse(
                "`imports.bytes_max` is 0: nothing could be fetched",
                "or set `imports.enabled` to `false`",
            ));
        }
        match self.timeout_seconds.filter(|seconds| !(1..=86_400).contains(seconds)) {
            Some(seconds) => {
                Err(refuse(format_args!("`imports.timeout_seconds` is {seconds}"), "it is 1 to 86400: a day"))
            }
            None => Ok(()),
        }
    }

    /// With its defaults.
    pub(super) fn in_effect(&self) -> Self {
        Self {
            enabled: self.enabled.or(Some(false)),
            http: self.http.or(Some(false)),
            bytes_max: self.bytes_max.or(Some(BYTES_MAX)),
            timeout_seconds: self.timeout_seconds.or(Some(TIMEOUT_SECONDS)),
        }
    }
}

impl Config {
    /// What fetches content from URLs, where that is on.
    ///
    /// # Errors
    /// Where it is on, and this machine has no certificates to tell servers by.
    pub(crate) fn fetcher(&self) -> Result<Option<Fetcher>> {
        let set = &self.imports;
        if !set.enabled.unwrap_or(false) {
            return Ok(None);
        }
        let mut policy = Policy::default();
        policy.http = set.http.unwrap_or(policy.http);
        policy.bytes_max = set.bytes_max.unwrap_or(BYTES_MAX);
        policy.whole_within = Duration::from_secs(set.timeout_seconds.unwrap_or(TIMEOUT_SECONDS));
        let fetcher = Fetcher::new(policy, Arc::new(SystemResolver));
        fetcher.map(Some).map_err(|error| refuse(error, "or set `imports.enabled` to `false`"))
    }
}
