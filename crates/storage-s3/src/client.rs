//! The SDK's clients of one store: one for its own requests, and one that signs for others where they reach the server elsewhere.
//! The SDK neither repeats a request nor ends one here: `again` does both, for it alone knows what a repeat may meet.

use crate::options::{Checksums, Credentials, S3Options};
use aws_config::{BehaviorVersion, SdkConfig, timeout::TimeoutConfig};
use aws_runtime::auth::PayloadSigningOverride;
use aws_sdk_s3::{
    Client, Config,
    config::{
        ConfigBag, Credentials as Keys, Intercept, Region, RequestChecksumCalculation, ResponseChecksumValidation,
        RuntimeComponents, StalledStreamProtectionConfig, interceptors::BeforeDeserializationInterceptorContextRef,
        interceptors::BeforeTransmitInterceptorContextMut, retry::RetryConfig,
    },
    error::BoxError,
};
use secrecy::ExposeSecret;
use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

const REGION: &str = "us-east-1";

/// What talks to the server.
#[derive(Clone)]
pub(crate) struct Clients {
    pub(crate) own: Client,
    /// For whoever holds a signed URL.
    pub(crate) signing: Client,
    pub(crate) clock: Clock,
    pub(crate) access_key_id: Option<String>,
    pub(crate) region: String,
}

impl Clients {
    /// Finds the credentials; no request goes to the store's server.
    pub(crate) async fn new(options: &S3Options) -> Self {
        let found = find(options).await;
        let clock = Clock::default();
        let own = configure(options, &found, options.endpoint.as_deref(), &clock);
        let public = options.public_endpoint.as_deref().or(options.endpoint.as_deref());
        let signing = configure(options, &found, public, &clock);
        let access_key_id = match &options.credentials {
            Credentials::Keys { access_key_id, .. } => Some(access_key_id.clone()),
            _ => None,
        };
        let region = own.region().map_or(REGION, Region::as_ref).to_owned();
        Self { own: Client::from_conf(own), signing: Client::from_conf(signing), clock, access_key_id, region }
    }
}

/// What the environment says, as far as it is asked.
async fn find(options: &S3Options) -> SdkConfig {
    let region = options.region.clone().map(Region::new);
    match &options.credentials {
        Credentials::Keys { access_key_id, secret_access_key, session_token } => {
            let token = session_token.as_ref().map(|token| token.expose_secret().to_owned());
            let keys = Keys::new(access_key_id, secret_access_key.expose_secret(), token, None, "larder");
            let provider = aws_sdk_s3::config::SharedCredentialsProvider::new(keys);
            let time = aws_config::SdkConfig::builder().behavior_version(BehaviorVersion::latest());
            time.credentials_provider(provider).region(region.unwrap_or_else(|| Region::new(REGION))).build()
        }
        Credentials::Profile(name) => {
            loaded(aws_config::defaults(BehaviorVersion::latest()).profile_name(name), region).await
        }
        Credentials::Chain => loaded(aws_config::defaults(BehaviorVersion::latest()), region).await,
    }
}

async fn loaded(loader: aws_config::ConfigLoader, region: Option<Region>) -> SdkConfig {
    match region {
        Some(region) => loader.region(region).load().await,
        None => loader.load().await,
    }
}

fn configure(options: &S3Options, found: &SdkConfig, endpoint: Option<&str>, clock: &Clock) -> Config {
    let region = found.region().cloned().unwrap_or_else(|| Region::new(REGION));
    let timeouts = TimeoutConfig::builder().connect_timeout(options.deadlines.connect).build();
    let mut builder = aws_sdk_s3::config::Builder::from(found)
        .region(region)
        .retry_config(RetryConfig::disabled())
        .timeout_config(timeouts)
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .request_checksum_calculation(calculation(options))
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        .force_path_style(options.path_style.unwrap_or(!options.is_aws()))
        .interceptor(clock.clone());
    builder.set_endpoint_url(endpoint.map(str::to_owned));
    builder.build()
}

fn calculation(options: &S3Options) -> RequestChecksumCalculation {
    match options.checksums {
        Checksums::WhenSupported => RequestChecksumCalculation::WhenSupported,
        Checksums::ByEndpoint if options.is_aws() => RequestChecksumCalculation::WhenSupported,
        _ => RequestChecksumCalculation::WhenRequired,
    }
}

/// What the server's clock shows, as its last answer told.
#[derive(Clone, Debug)]
pub(crate) struct Clock(Arc<AtomicI64>);

impl Default for Clock {
    fn default() -> Self {
        Self(Arc::new(AtomicI64::new(i64::MIN)))
    }
}

impl Clock {
    /// The server's clock less ours, in seconds; `None` before its first answer.
    pub(crate) fn behind(&self) -> Option<i64> {
        Some(self.0.load(Ordering::Relaxed)).filter(|seconds| *seconds != i64::MIN)
    }

    /// The time by the server's clock, as far as it is known.
    pub(crate) fn now(&self) -> SystemTime {
        let now = since_epoch(SystemTime::now()) + self.behind().unwrap_or(0);
        UNIX_EPOCH + std::time::Duration::from_secs(now.max(0).unsigned_abs())
    }
}

fn since_epoch(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |passed| i64::try_from(passed.as_secs()).unwrap_or(i64::MAX))
}

impl Intercept for Clock {
    fn name(&self) -> &'static str {
        "larder.clock"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let told = context.response().headers().get("date").and_then(|date| httpdate::parse_http_date(date).ok());
        if let Some(told) = told {
            self.0.store(since_epoch(told) - since_epoch(SystemTime::now()), Ordering::Relaxed);
        }
        Ok(())
    }
}

/// The hash under which a payload is signed, where it was computed already; the SDK would hash it once more.
#[derive(Clone, Debug)]
pub(crate) struct SignedAs(pub(crate) String);

impl Intercept for SignedAs {
    fn name(&self) -> &'static str {
        "larder.signed_as"
    }

    fn modify_before_signing(
        &self,
        _: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        cfg.interceptor_state().store_put(PayloadSigningOverride::Precomputed(self.0.clone()));
        Ok(())
    }
}
