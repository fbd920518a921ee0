//! The keys of renditions, and what they come to.

use super::{Config, StoreKind, maybe_size, one_or_more};
use crate::output::refuse;
use anyhow::Result;
use larder_api::RecipeKeys;
use larder_files::StoreName;
use larder_renditions::{Examiner, Presets, RenditionSettings, processors};
use serde::{Deserialize, Serialize};
use std::{sync::Arc, time::Duration};

/// How renditions are made and kept.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct RenditionConfig {
    /// The store that keeps them, of the mode `edit`. `LARDER_RENDITIONS__STORE`, default the first directory whose mode is `edit`, else the
    /// first bucket.
    store: Option<StoreName>,
    /// Bytes that they may have there, default 1 GiB; 0: none are kept. `LARDER_RENDITIONS__CACHE_BYTES_MAX`.
    #[serde(default, deserialize_with = "maybe_size")]
    cache_bytes_max: Option<u64>,
    /// How many are made at once, default as many as there are processors. `LARDER_RENDITIONS__AT_ONCE`.
    at_once: Option<usize>,
    /// How many requests wait at most for one to be made, default 64. `LARDER_RENDITIONS__WAITING_MAX`.
    waiting_max: Option<usize>,
    /// Seconds that one may take, waiting included, default 20. `LARDER_RENDITIONS__TIMEOUT_SECONDS`.
    timeout_seconds: Option<u64>,
    /// Bytes of the largest picture that is looked at, default 64 MiB. `LARDER_RENDITIONS__SOURCE_BYTES_MAX`.
    #[serde(default, deserialize_with = "maybe_size")]
    source_bytes_max: Option<u64>,
    /// Pixels of the longer side of a picture, default 16,384. `LARDER_RENDITIONS__SIDE_MAX`.
    side_max: Option<u32>,
    /// Pixels of a picture, default 50,000,000. `LARDER_RENDITIONS__PIXELS_MAX`.
    pixels_max: Option<u64>,
    /// The name of the key that signs URLs of renditions, default `1`. `LARDER_RENDITIONS__KEY_ID`.
    key_id: Option<String>,
    /// The names of earlier ones whose URLs still work, default none. `LARDER_RENDITIONS__OLD_KEY_IDS`.
    #[serde(default, deserialize_with = "one_or_more")]
    old_key_ids: Vec<String>,
}

/// Pictures that are held while they arrive take at most so many of the largest.
const EXAMINED_AT_ONCE: u64 = 4;

impl RenditionConfig {
    /// Refuses what nothing could be made by.
    pub(super) fn check(&self) -> Result<()> {
        let numbers = [
            ("at_once", self.at_once.map(|number| number as u64), 1..=1024),
            ("waiting_max", self.waiting_max.map(|number| number as u64), 0..=100_000),
            ("timeout_seconds", self.timeout_seconds, 1..=600),
            ("source_bytes_max", self.source_bytes_max, 1024..=1 << 30),
            ("side_max", self.side_max.map(u64::from), 16..=65_535),
            ("pixels_max", self.pixels_max, 256..=1_000_000_000),
        ];
        for (key, value, range) in numbers {
            if let Some(value) = value.filter(|value| !range.contains(value)) {
                let what = format!("`renditions.{key}` is {value}");
                return Err(refuse(what, format_args!("it is {} to {}", range.start(), range.end())));
            }
        }
        match self.key_id.iter().chain(&self.old_key_ids).find(|name| !RecipeKeys::is_name(name)) {
            Some(wrong) => Err(refuse(
                format_args!("`{wrong}` is no name of a key in [renditions]"),
                "it has 1 to 16 of a–z and 0–9; the key itself is made from the installation's secret",
            )),
            None => Ok(()),
        }
    }

    /// With the defaults of the server.
    pub(super) fn in_effect(&self, config: &Config) -> Self {
        let RenditionSettings { limits, waiting_max, timeout, cache_bytes_max, .. } = RenditionSettings::default();
        Self {
            store: config.rendition_store(),
            cache_bytes_max: self.cache_bytes_max.or(Some(cache_bytes_max)),
            at_once: self.at_once.or_else(|| Some(processors().get())),
            waiting_max: self.waiting_max.or(Some(waiting_max)),
            timeout_seconds: self.timeout_seconds.or(Some(timeout.as_secs())),
            source_bytes_max: self.source_bytes_max.or(Some(limits.source_bytes_max)),
            side_max: self.side_max.or(Some(limits.side_max)),
            pixels_max: self.pixels_max.or(Some(limits.pixels_max)),
            key_id: Some(self.key_id.clone().unwrap_or_else(|| RecipeKeys::default().current)),
            old_key_ids: self.old_key_ids.clone(),
        }
    }
}

impl Config {
    /// The presets.
    pub(crate) fn presets(&self) -> Presets {
        let mut presets = Presets::default();
        for (name, recipe) in &self.presets {
            presets.set(name, recipe).expect("was checked when it was read");
        }
        presets
    }

    pub(super) fn check_presets(&self) -> Result<()> {
        let mut presets = Presets::default();
        for (name, recipe) in &self.presets {
            presets.set(name, recipe).map_err(|error| {
                refuse(error, "write it as `NAME = \"w_400,h_300,fit_cover,f_auto\"` under [presets]")
            })?;
        }
        for (bucket, policy) in &self.buckets {
            for name in &policy.presets_ahead {
                presets.find(name).map_err(|unknown| {
                    refuse(
                        format_args!("`buckets.{bucket}.presets_ahead`: {unknown}"),
                        "name one of them, or add it under [presets]",
                    )
                })?;
            }
        }
        let store = self.renditions.store.as_ref();
        if let Some(name) = store.filter(|name| self.stores.get(*name).is_some_and(|store| !store.mode.changes())) {
            return Err(refuse(
                format_args!("`renditions.store` is `{name}`, whose mode lets nothing be overwritten or deleted"),
                "name one of the mode `edit`, or set `renditions.cache_bytes_max` to 0",
            ));
        }
        match store.filter(|store| !self.stores.contains_key(*store)) {
            Some(unknown) => Err(refuse(
                format_args!("unknown store `{unknown}` in `renditions.store`"),
                format_args!("configured stores are {}", super::list(self.stores.keys().map(StoreName::as_str))),
            )),
            None => Ok(()),
        }
    }

    /// How renditions are made.
    pub(crate) fn rendition_settings(&self) -> RenditionSettings {
        let (set, mut settings) = (&self.renditions, RenditionSettings::default());
        let limits = &mut settings.limits;
        limits.source_bytes_max = set.source_bytes_max.unwrap_or(limits.source_bytes_max);
        limits.side_max = set.side_max.unwrap_or(limits.side_max);
        limits.pixels_max = set.pixels_max.unwrap_or(limits.pixels_max);
        // A picture that may be so large must find room for its pixels.
        limits.decoded_bytes_max = limits.decoded_bytes_max.max(limits.pixels_max.saturating_mul(4));
        RenditionSettings {
            presets: self.presets(),
            at_once: set.at_once.unwrap_or(settings.at_once),
            waiting_max: set.waiting_max.unwrap_or(settings.waiting_max),
            timeout: set.timeout_seconds.map_or(settings.timeout, Duration::from_secs),
            cache_bytes_max: set.cache_bytes_max.unwrap_or(settings.cache_bytes_max),
            ..settings
        }
    }

    /// What looks at pictures that arrive.
    pub(crate) fn examiner(&self) -> Arc<Examiner> {
        let limits = self.rendition_settings().limits;
        Arc::new(Examiner::new(limits, limits.source_bytes_max.saturating_mul(EXAMINED_AT_ONCE)))
    }

    /// What signs URLs of renditions.
    pub(crate) fn recipe_keys(&self) -> RecipeKeys {
        let RenditionConfig { key_id, old_key_ids, .. } = &self.renditions;
        let default = RecipeKeys::default();
        RecipeKeys { current: key_id.clone().unwrap_or(default.current), old: old_key_ids.clone() }
    }

    /// The store that keeps renditions: none, where none are kept or no store takes them.
    pub(crate) fn rendition_store(&self) -> Option<StoreName> {
        if self.renditions.cache_bytes_max == Some(0) {
            return None;
        }
        if self.renditions.store.is_some() {
            return self.renditions.store.clone();
        }
        let placed = self.placement.iter().chain(self.stores.keys());
        let takes = |name: &&StoreName| self.stores.get(*name).is_some_and(|store| store.mode.changes());
        // A directory before a bucket: it answers sooner, and nobody counts its requests.
        let is_local = |name: &&StoreName| self.stores.get(*name).is_some_and(|store| store.kind == StoreKind::Local);
        placed.clone().filter(takes).find(is_local).or_else(|| placed.clone().find(takes)).cloned()
    }
}
