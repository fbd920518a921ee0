//! The keys of a store of the kind `s3`, and what they come to.

use super::{StoreConfig, StoreKind, is_base};
use crate::output::refuse;
use anyhow::Result;
use larder_files::StoreName;
use larder_storage_s3::{Checksums, Credentials, Deadlines, Encryption, S3Options};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What the server of a bucket is to encrypt with.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(crate) enum EncryptionConfig {
    /// Keys of the server.
    #[serde(rename = "AES256")]
    Aes256,
    /// A key of its key service.
    #[serde(rename = "aws:kms")]
    Kms,
}

/// When the SDK adds checksums.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ChecksumsConfig {
    WhenSupported,
    WhenRequired,
}

impl StoreConfig {
    /// Refuses keys of one kind in a store of the other, and keys that contradict each other.
    pub(super) fn check_kind(&self, name: &StoreName) -> Result<()> {
        let here = format!("[stores.{name}]");
        if let (StoreKind::Local, Some(key)) = (self.kind, self.s3_keys().next()) {
            let what = format!("`{key}` in {here} is a bucket's, and the store is a directory");
            return Err(refuse(what, format_args!("add `kind = \"s3\"` under {here}, or take `{key}` out")));
        }
        if self.kind == StoreKind::Local {
            return Ok(());
        }
        for (key, value, most) in self.numbers() {
            if let Some(value) = value.filter(|value| !(1..=most).contains(value)) {
                let what = format!("the store `{name}` is a bucket: `{key}` is {value}");
                return Err(refuse(what, format_args!("{here}: it is 1 to {most}")));
            }
        }
        let wrong = if self.path.is_some() {
            ("`path` is a directory's", "take it out; a folder of the bucket is a `prefix`")
        } else if self.bucket.as_deref().is_none_or(str::is_empty) {
            ("it has no bucket", "add `bucket = \"…\"`")
        } else if self.access_key_id.is_some() != self.secret_access_key.is_some() {
            (
                "a pair of keys is `access_key_id` and `secret_access_key`, and one is missing",
                "add it, or take out both",
            )
        } else if self.access_key_id.is_some() && self.profile.is_some() {
            ("it has keys and a `profile`", "take out the one that is not meant")
        } else if self.session_token.is_some() && self.access_key_id.is_none() {
            ("it has a `session_token` and no keys", "add `access_key_id` and `secret_access_key`, or take it out")
        } else if [&self.endpoint, &self.public_endpoint]
            .iter()
            .any(|at| at.as_ref().is_some_and(|at| at.contains('@')))
        {
            ("its endpoint names a user", "keys are `access_key_id` and `secret_access_key`; take them out of the URL")
        } else if self.cdn_url.as_ref().is_some_and(|url| !is_base(url)) {
            ("its `cdn_url` is no URL that others can begin with", "it is such as `https://cdn.example.com/files`")
        } else if self.kms_key_id.is_some() && !matches!(self.encryption, Some(EncryptionConfig::Kms)) {
            ("it has a `kms_key_id`, and is not encrypted by it", "add `encryption = \"aws:kms\"`, or take it out")
        } else {
            return Ok(());
        };
        Err(refuse(format_args!("the store `{name}` is a bucket: {}", wrong.0), format_args!("{here}: {}", wrong.1)))
    }

    /// The keys that are given and only a bucket has.
    fn s3_keys(&self) -> impl Iterator<Item = &'static str> {
        let given = [
            ("bucket", self.bucket.is_some()),
            ("prefix", self.prefix.is_some()),
            ("endpoint", self.endpoint.is_some()),
            ("public_endpoint", self.public_endpoint.is_some()),
            ("cdn_url", self.cdn_url.is_some()),
            ("region", self.region.is_some()),
            ("path_style", self.path_style.is_some()),
            ("access_key_id", self.access_key_id.is_some()),
            ("secret_access_key", self.secret_access_key.is_some()),
            ("session_token", self.session_token.is_some()),
            ("profile", self.profile.is_some()),
            ("encryption", self.encryption.is_some()),
            ("kms_key_id", self.kms_key_id.is_some()),
            ("storage_class", self.storage_class.is_some()),
            ("checksums", self.checksums.is_some()),
            ("create_bucket", self.create_bucket.is_some()),
        ];
        let given = given.into_iter().filter(|(_, is_given)| *is_given).map(|(key, _)| key);
        given.chain(self.numbers().filter(|(_, value, _)| value.is_some()).map(|(key, ..)| key))
    }

    /// The keys that are numbers, and the most that each can be; the least is 1.
    fn numbers(&self) -> impl Iterator<Item = (&'static str, Option<u64>, u64)> {
        const DAY_SECONDS: u64 = 86_400;
        [
            ("connections", self.connections.map(|count| count as u64), 64),
            ("connect_seconds", self.connect_seconds, DAY_SECONDS),
            ("request_seconds", self.request_seconds, DAY_SECONDS),
            ("part_seconds", self.part_seconds, DAY_SECONDS),
            ("complete_seconds", self.complete_seconds, DAY_SECONDS),
            ("stall_seconds", self.stall_seconds, DAY_SECONDS),
        ]
        .into_iter()
    }

    /// How long requests may take.
    fn deadlines(&self) -> Deadlines {
        let default = Deadlines::default();
        let or = |seconds: Option<u64>, default| seconds.map_or(default, Duration::from_secs);
        Deadlines {
            connect: or(self.connect_seconds, default.connect),
            small: or(self.request_seconds, default.small),
            part: or(self.part_seconds, default.part),
            whole: or(self.complete_seconds, default.whole),
            stalled: or(self.stall_seconds, default.stalled),
        }
    }

    /// The bucket as the driver is told of it; `None` of a store of another kind.
    pub(crate) fn s3_options(&self) -> Option<S3Options> {
        let bucket = self.bucket.clone().filter(|_| self.kind == StoreKind::S3)?;
        let credentials = match (&self.access_key_id, &self.secret_access_key, &self.profile) {
            (Some(id), Some(secret), _) => Credentials::Keys {
                access_key_id: id.clone(),
                secret_access_key: secret.clone(),
                session_token: self.session_token.clone(),
            },
            (_, _, Some(profile)) => Credentials::Profile(profile.clone()),
            _ => Credentials::Chain,
        };
        let encryption = match self.encryption {
            None => Encryption::Default,
            Some(EncryptionConfig::Aes256) => Encryption::Aes256,
            Some(EncryptionConfig::Kms) => Encryption::Kms(self.kms_key_id.clone()),
        };
        let checksums = match self.checksums {
            None => Checksums::ByEndpoint,
            Some(ChecksumsConfig::WhenSupported) => Checksums::WhenSupported,
            Some(ChecksumsConfig::WhenRequired) => Checksums::WhenRequired,
        };
        let defaults = S3Options::new(bucket, credentials);
        Some(S3Options {
            prefix: self.prefix.clone().unwrap_or_default(),
            endpoint: self.endpoint.clone(),
            public_endpoint: self.public_endpoint.clone(),
            cdn_url: self.cdn_url.clone(),
            region: self.region.clone(),
            path_style: self.path_style,
            encryption,
            checksums,
            storage_class: self.storage_class.clone(),
            create_bucket: self.create_bucket.unwrap_or(false),
            deadlines: self.deadlines(),
            parts_in_flight: self.connections.unwrap_or(defaults.parts_in_flight),
            ..defaults
        })
    }
}

/// A secret that is shown nowhere.
pub(super) type Secret = Option<SecretString>;
