//! What the tests of a driver are made of: a bucket in memory, a front before it that counts and misbehaves, and stores over both.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "parts of tests, of which each takes what it needs")]

pub mod bucket;
pub mod front;

use bucket::{Bucket, Quirks};
use front::Front;
use futures_util::future::BoxFuture;
use larder_storage_core::{Backoff, Multipart, OpenUpload, Timer};
use larder_storage_s3::{Credentials, S3Options, S3Store};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

pub const BUCKET: &str = "media";
pub const KEY: &str = "AKLARDER";
pub const SECRET: &str = "hush-hush-hush";

/// Waits of a test: what is for a repeat passes at once; a deadline passes when the front says that it stalls.
#[derive(Debug, Default)]
pub struct Waits {
    pub stalled: Arc<tokio::sync::Notify>,
}

impl Timer for Waits {
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        if duration < Duration::from_secs(15) {
            return Box::pin(async {});
        }
        let stalled = self.stalled.clone();
        Box::pin(async move { stalled.notified().await })
    }
}

/// Options of a store at `endpoint`, with waits that pass at once and random numbers that are counted.
pub fn options(endpoint: &str) -> S3Options {
    let keys = Credentials::Keys { access_key_id: KEY.into(), secret_access_key: SECRET.into(), session_token: None };
    let next = AtomicU64::new(1);
    let mut options = S3Options::new(BUCKET, keys);
    options.endpoint = Some(endpoint.to_owned());
    options.region = Some("us-east-1".into());
    options.backoff = Backoff { attempts_max: 3, ..Backoff::default() };
    options.random = Arc::new(move || next.fetch_add(1, Ordering::Relaxed));
    options
}

/// A store over a bucket in memory, with the front between them.
pub struct Place {
    pub bucket: Bucket,
    pub front: Arc<Front>,
    pub options: S3Options,
    pub store: S3Store,
}

impl Place {
    pub async fn new(quirks: Quirks) -> Self {
        Self::with(quirks, |_| {}).await
    }

    pub async fn with(quirks: Quirks, adjust: impl FnOnce(&mut S3Options)) -> Self {
        let bucket = Bucket::new(quirks);
        let front = Front::start(bucket.clone()).await;
        let mut options = options(&front.endpoint());
        options.timer = Arc::new(Waits { stalled: front.stalled() });
        adjust(&mut options);
        let store = S3Store::connect(options.clone()).await.expect("the options are those of a store");
        Self { bucket, front, options, store }
    }

    /// Ends every upload that the store tells of; answers which.
    #[allow(dead_code, reason = "not each of the tests that share this needs it")]
    pub async fn abort_all(&self) -> Vec<OpenUpload> {
        let open = self.store.open_uploads(None).await.expect("the bucket tells of its uploads");
        for upload in &open {
            self.store.abort(&upload.key, &upload.upload).await.expect("the bucket ends uploads");
        }
        open
    }
}
