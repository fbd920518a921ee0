//! [`S3Options`]: where a bucket is, whose credentials open it, and how much a store may take for itself.

use larder_storage_core::{Backoff, Random, Timer, TokioTimer};
use secrecy::SecretString;
use std::{fmt, sync::Arc, time::Duration};

/// Whose requests these are.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// A pair of keys, with the token of a session where there is one.
    Keys {
        /// The public half.
        access_key_id: String,
        /// The secret half; `Debug` doesn't show it.
        secret_access_key: SecretString,
        /// The token of temporary keys.
        session_token: Option<SecretString>,
    },
    /// A profile of the AWS configuration files.
    Profile(String),
    /// Environment, web identity, container and instance, in the order in which the AWS tools ask them.
    Chain,
}

/// What a bucket encrypts with, by the server. A server that is asked for it and does not do it is an error, never a plain object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Encryption {
    /// Whatever the bucket does by itself.
    #[default]
    Default,
    /// `AES256`: keys of the server.
    Aes256,
    /// `aws:kms`, with this key or the bucket's own.
    Kms(Option<String>),
}

/// When the SDK adds checksums of its own to what it sends. Larder compares hashes itself in either case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Checksums {
    /// `WhenSupported` on AWS, `WhenRequired` on any other endpoint: some refuse what the former sends.
    #[default]
    ByEndpoint,
    /// Wherever an operation knows them.
    WhenSupported,
    /// Only where an operation can't do without.
    WhenRequired,
}

/// How long a request may take, its repeats included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// Until a connection stands: 5 s.
    pub connect: Duration,
    /// For what moves little: small objects, heads, pages of a listing: 30 s.
    pub small: Duration,
    /// For one part of an upload, and an object of more than 1 MiB that goes out whole: 120 s.
    pub part: Duration,
    /// For the completion of an upload, and a copy: 10 min.
    pub whole: Duration,
    /// For how long a download that is being read may bring nothing: 30 s.
    pub stalled: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            small: Duration::from_secs(30),
            part: Duration::from_secs(120),
            whole: Duration::from_secs(600),
            stalled: Duration::from_secs(30),
        }
    }
}

/// Where an [`S3Store`](crate::S3Store) is and what it may use.
#[derive(Clone)]
pub struct S3Options {
    /// The bucket's name.
    pub bucket: String,
    /// A folder of the bucket that the store keeps to; empty for the whole bucket.
    pub prefix: String,
    /// The server, such as `http://127.0.0.1:9000`; AWS where there is none.
    pub endpoint: Option<String>,
    /// The server as clients of signed URLs reach it, where that is another name.
    pub public_endpoint: Option<String>,
    /// Where a network of caches (a CDN) serves the bucket, such as `https://cdn.example.com/files`: a request for reading is the object's
    /// name behind it then, unsigned, and for as long as the network serves it.
    pub cdn_url: Option<String>,
    /// The region; what the credentials' profile says, else `us-east-1`.
    pub region: Option<String>,
    /// Whether the bucket stands in the path and not in the host's name; by default everywhere but on AWS.
    pub path_style: Option<bool>,
    /// Who asks.
    pub credentials: Credentials,
    /// What objects are encrypted with.
    pub encryption: Encryption,
    /// The storage class of new objects, as the vendor calls it.
    pub storage_class: Option<String>,
    /// When the SDK adds checksums.
    pub checksums: Checksums,
    /// Whether a bucket that is missing is made.
    pub create_bucket: bool,
    /// Bytes of a part, 5 MiB to 5 GiB; larger where an object would have more than 10,000 of them.
    pub part_bytes: usize,
    /// Parts of one upload that are under way at once.
    pub parts_in_flight: usize,
    /// Bytes of one upload in memory, as long as its parts are not larger than that.
    pub upload_bytes: usize,
    /// Bytes of parts under way that all uploads together may hold, beside one part of each: an upload that gets no room sends its
    /// parts one after another.
    pub ahead_bytes: usize,
    /// Keys of one page of a listing, 1 to 1,000.
    pub page: u16,
    /// How often and how soon a request is repeated.
    pub backoff: Backoff,
    /// How long requests may take.
    pub deadlines: Deadlines,
    /// What waits. For tests.
    #[doc(hidden)]
    pub timer: Arc<dyn Timer>,
    /// What spreads waits and names attempts. For tests.
    #[doc(hidden)]
    pub random: Random,
    /// Objects over this are copied in parts. For tests.
    #[doc(hidden)]
    pub copy_bytes_max: u64,
}

impl S3Options {
    /// The smallest part but the last, in bytes.
    pub const PART_BYTES_MIN: usize = 5 << 20;
    /// The largest part, object of one request, and copy of one request, in bytes.
    pub const PART_BYTES_MAX: u64 = 5 << 30;
    /// The largest object, in bytes.
    pub const OBJECT_BYTES_MAX: u64 = 5 << 40;

    /// The bucket of this name, with parts of 8 MiB, 4 of an upload at once, and at most 64 MiB of it in memory, 128 MiB of all uploads
    /// beside a part of each.
    #[must_use]
    pub fn new(bucket: impl Into<String>, credentials: Credentials) -> Self {
        Self {
            bucket: bucket.into(),
            prefix: String::new(),
            endpoint: None,
            public_endpoint: None,
            cdn_url: None,
            region: None,
            path_style: None,
            credentials,
            encryption: Encryption::Default,
            storage_class: None,
            checksums: Checksums::ByEndpoint,
            create_bucket: false,
            part_bytes: 8 << 20,
            parts_in_flight: 4,
            upload_bytes: 64 << 20,
            ahead_bytes: 128 << 20,
            page: 1_000,
            backoff: Backoff::default(),
            deadlines: Deadlines::default(),
            timer: Arc::new(TokioTimer),
            random: Arc::new(|| getrandom::u64().expect("the system gives random numbers")),
            copy_bytes_max: Self::PART_BYTES_MAX,
        }
    }

    /// Whether the endpoint is one of AWS: none is given, or its host is theirs.
    #[must_use]
    pub fn is_aws(&self) -> bool {
        self.endpoint.as_deref().is_none_or(|endpoint| {
            let host = endpoint.split("://").last().unwrap_or_default().split(['/', ':']).next().unwrap_or_default();
            host.ends_with(".amazonaws.com") || host.ends_with(".amazonaws.com.cn")
        })
    }
}

impl fmt::Debug for S3Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Options")
            .field("bucket", &self.bucket)
            .field("prefix", &self.prefix)
            .field("endpoint", &self.endpoint)
            .field("public_endpoint", &self.public_endpoint)
            .field("cdn_url", &self.cdn_url)
            .field("region", &self.region)
            .field("path_style", &self.path_style)
            .field("credentials", &self.credentials)
            .field("encryption", &self.encryption)
            .field("storage_class", &self.storage_class)
            .field("checksums", &self.checksums)
            .field("create_bucket", &self.create_bucket)
            .field("deadlines", &self.deadlines)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_secret() {
        let keys = Credentials::Keys {
            access_key_id: "id".into(),
            secret_access_key: "hush-secret".into(),
            session_token: Some("hush-token".into()),
        };
        assert!(!format!("{:?}", S3Options::new("b", keys)).contains("hush"));
    }

    #[test]
    fn aws_is_told_by_its_hosts_alone() {
        for (endpoint, is_aws) in [
            (None, true),
            (Some("https://s3.eu-west-1.amazonaws.com"), true),
            (Some("https://s3.eu-west-1.amazonaws.com:443/"), true),
            (Some("https://amazonaws.com.example.org"), false),
            (Some("http://127.0.0.1:9000"), false),
        ] {
            let mut options = S3Options::new("b", Credentials::Chain);
            options.endpoint = endpoint.map(Into::into);
            assert_eq!(options.is_aws(), is_aws, "{endpoint:?}");
        }
    }
}
