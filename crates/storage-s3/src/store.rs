//! [`S3Store`]: the contract of a store over a bucket.

use crate::{
    client::Clients,
    fault::{Fault, Outcome, Place},
    options::S3Options,
    profile::Profile,
    turns::Turns,
};
use async_trait::async_trait;
use aws_sdk_s3::{
    Client,
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
};
use futures_util::stream::BoxStream;
use larder_storage_core::{
    Body, ErrorKind, GetOptions, InvalidKey, Key, Limits, ListOptions, Listed, Multipart, Object, ObjectMeta, Op,
    Prefix, Presign, PutOptions, Result, Space, Staging, Store, Written,
};
use std::{fmt, sync::Arc};
use tokio::sync::{Mutex, OwnedSemaphorePermit, RwLock, Semaphore};

/// A bucket, or a folder of one, as a store. Cloning is cheap.
#[derive(Clone)]
pub struct S3Store {
    pub(crate) inner: Arc<Inner>,
}

/// What all parts of the store share.
/// What the room for parts under way is counted in, in bytes.
const AHEAD_UNIT: usize = 64 << 10;

pub(crate) struct Inner {
    pub(crate) options: S3Options,
    pub(crate) display: String,
    /// What stands before every key: empty, or with a `/` at its end.
    pub(crate) folder: String,
    pub(crate) clients: Clients,
    pub(crate) turns: Turns,
    /// Units of [`AHEAD_UNIT`] that uploads may yet hold ahead.
    pub(crate) ahead: Arc<Semaphore>,
    pub(crate) profile: RwLock<Option<Arc<Profile>>>,
    /// Held by who finds out what the server can do.
    pub(crate) probing: Mutex<()>,
}

impl Inner {
    /// Room for `bytes` that are under way while more is gathered; given back when it is dropped. `None` where there is none now.
    pub(crate) fn room_for(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let units = u32::try_from(bytes.div_ceil(AHEAD_UNIT)).ok()?;
        self.ahead.clone().try_acquire_many_owned(units).ok()
    }
}

impl S3Store {
    /// What a store of these options calls itself.
    #[must_use]
    pub fn display_of(options: &S3Options) -> String {
        let folder = options.prefix.trim_matches('/');
        let slash = if folder.is_empty() { "" } else { "/" };
        format!("s3://{}{slash}{folder}", options.bucket)
    }

    /// Makes a store of `options`, and finds the credentials. Nothing is asked of the server before the first call.
    ///
    /// # Errors
    /// `InvalidKey` of a prefix that is no folder; `Unsupported` of sizes that S3 does not have.
    pub async fn connect(options: S3Options) -> Result<Self> {
        let display = Self::display_of(&options);
        let folder = check(&options).map_err(|fault| fault.at(Op::Open, &options.bucket, &display))?;
        let clients = Clients::new(&options).await;
        let ahead = Semaphore::new((options.ahead_bytes / AHEAD_UNIT).min(Semaphore::MAX_PERMITS));
        let inner = Inner {
            options,
            display,
            folder,
            clients,
            turns: Turns::new(),
            ahead: Arc::new(ahead),
            profile: RwLock::default(),
            probing: Mutex::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Makes sure that the bucket can be reached, making it where that is allowed. One request where it is there.
    ///
    /// # Errors
    /// `PermissionDenied`, `Unavailable`, with a [`crate::Misconfigured`] in the chain where the configuration is to blame.
    pub async fn open(&self) -> Result<()> {
        self.inner.open().await.map_err(|fault| fault.at(Op::Open, &self.inner.options.bucket, self))
    }

    /// The server's clock less this machine's, in seconds, as its last answer told; `None` before the first.
    #[must_use]
    pub fn clock_skew(&self) -> Option<i64> {
        self.inner.clients.clock.behind()
    }
}

/// The folder that stands before every key, if the options are such that a server could take them.
fn check(options: &S3Options) -> Outcome<String> {
    let sizes = S3Options::PART_BYTES_MIN as u64..=S3Options::PART_BYTES_MAX;
    if !sizes.contains(&(options.part_bytes as u64)) || options.upload_bytes < options.part_bytes {
        let words = "a part has 5 MiB to 5 GiB, and `upload_bytes` has room for one at least";
        return Err(Fault::says(ErrorKind::Unsupported, words));
    }
    if options.parts_in_flight == 0 || !(1..=1_000).contains(&options.page) {
        return Err(Fault::says(ErrorKind::Unsupported, "`parts_in_flight` is at least 1, and `page` 1 to 1,000"));
    }
    let prefix = Prefix::new(options.prefix.trim_matches('/')).map_err(ErrorKind::from)?;
    Ok(prefix.as_str().to_owned())
}

impl Inner {
    pub(crate) fn client(&self) -> &Client {
        &self.clients.own
    }

    pub(crate) fn bucket(&self) -> &str {
        &self.options.bucket
    }

    /// The object's name in the bucket.
    pub(crate) fn name(&self, key: &Key) -> Outcome<String> {
        let name = format!("{}{key}", self.folder);
        if name.len() > Key::BYTES_MAX {
            return Err(ErrorKind::from(InvalidKey::TooLong { len: name.len() }).into());
        }
        if name.trim().is_empty() {
            return Err(Fault::says(
                ErrorKind::Unsupported,
                "the SDK takes a name of nothing but white space for none",
            ));
        }
        Ok(name)
    }

    /// What an error of the SDK means here.
    pub(crate) fn fault<E>(&self, error: SdkError<E, HttpResponse>) -> Fault
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        Fault::of(
            error,
            Place {
                bucket: self.bucket(),
                endpoint: self.options.endpoint.as_deref().unwrap_or("AWS"),
                access_key_id: self.clients.access_key_id.as_deref(),
                behind: self.clients.clock.behind(),
            },
        )
    }

    /// Asks for one key: an answer to that has a body, so that a refusal has a reason.
    async fn open(&self) -> Outcome<()> {
        let ask = || async {
            let page = self.client().list_objects_v2().bucket(self.bucket()).prefix(&self.folder).max_keys(1);
            page.send().await.map(drop).map_err(|error| self.fault(error))
        };
        match self.read(ask).await {
            Err(fault) if fault.is_missing_bucket() && self.options.create_bucket => self.make_bucket().await,
            answer => answer,
        }
    }

    async fn make_bucket(&self) -> Outcome<()> {
        use aws_sdk_s3::types::{BucketLocationConstraint, CreateBucketConfiguration};
        let region = self.clients.region.as_str();
        let place = BucketLocationConstraint::from(region);
        let configuration = CreateBucketConfiguration::builder().location_constraint(place).build();
        let elsewhere = (region != "us-east-1").then_some(configuration);
        let make = || async {
            let request = self.client().create_bucket().bucket(self.bucket());
            let made = request.set_create_bucket_configuration(elsewhere.clone()).send().await;
            match made.map_err(|error| self.fault(error)) {
                Err(fault) if fault.status == Some(409) => Ok(()),
                made => made.map(drop),
            }
        };
        self.read(make).await?;
        tracing::info!(store = %self.display, "made the bucket");
        Ok(())
    }

    /// The parts of the answer that name an attempt: 32 hexadecimal digits.
    pub(crate) fn token(&self) -> String {
        format!("{:016x}{:016x}", (self.options.random)(), (self.options.random)())
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl Store for S3Store {
    async fn put(&self, key: &Key, body: Body, options: PutOptions) -> Result<Written> {
        self.inner.put(key, body, &options.mode).await.map_err(|fault| fault.at(Op::Put, key, self))
    }

    async fn get(&self, key: &Key, options: GetOptions) -> Result<Object> {
        self.inner.get(key, options).await.map_err(|fault| fault.at(Op::Get, key, self))
    }

    async fn head(&self, key: &Key) -> Result<ObjectMeta> {
        let seen = self.inner.look(key).await.map_err(|fault| fault.at(Op::Head, key, self))?;
        Ok(seen.meta)
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        self.inner.delete(key).await.map_err(|fault| fault.at(Op::Delete, key, self))
    }

    fn list(&self, options: ListOptions) -> BoxStream<'_, Result<Listed>> {
        self.inner.clone().list(options)
    }

    async fn copy(&self, from: &Key, to: &Key, options: PutOptions) -> Result<Written> {
        self.inner.copy(from, to, &options.mode).await.map_err(|fault| fault.at(Op::Copy, to, self))
    }

    /// Nothing to do: what a server answers, it keeps.
    async fn sync(&self) -> Result<()> {
        Ok(())
    }

    fn limits(&self) -> Limits {
        Limits {
            key_bytes_max: Key::BYTES_MAX - self.inner.folder.len(),
            object_bytes_max: S3Options::OBJECT_BYTES_MAX,
            nested_keys: usize::MAX,
        }
    }

    /// `None`: buckets have no end that they tell of.
    async fn space(&self) -> Result<Option<Space>> {
        Ok(None)
    }

    fn multipart(&self) -> Option<&dyn Multipart> {
        Some(self)
    }

    fn presign(&self) -> Option<&dyn Presign> {
        Some(self)
    }

    fn staging(&self) -> Option<&dyn Staging> {
        None
    }

    fn decorated(&self) -> Option<&dyn Store> {
        None
    }
}

impl fmt::Display for S3Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.inner.display)
    }
}

impl fmt::Debug for S3Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Store").field("options", &self.inner.options).finish_non_exhaustive()
    }
}
