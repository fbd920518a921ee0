//! Signed URLs: made here, of SigV4's query form, with as few signed headers as there can be, for the endpoint that clients reach.

use crate::{
    S3Store,
    fault::{Fault, Outcome},
    store::Inner,
};
use async_trait::async_trait;
use aws_sdk_s3::presigning::{PresignedRequest, PresigningConfig};
use larder_storage_core::{ErrorKind, Key, Op, Presign, PresignMethod, Result, SignedRequest};
use std::time::{Duration, SystemTime};

/// Signatures live no longer, by the standard.
const LIFETIME_MAX: Duration = Duration::from_secs(7 * 86_400);

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl Presign for S3Store {
    /// No request is made. The size of a put is bound by its signature: another is refused by the server.
    async fn presign(&self, key: &Key, method: PresignMethod, lifetime: Duration) -> Result<SignedRequest> {
        let signed = self.inner.presigned(key, method, lifetime).await;
        signed.map_err(|fault| fault.at(Op::Presign, key, self))
    }
}

impl Inner {
    async fn presigned(&self, key: &Key, method: PresignMethod, lifetime: Duration) -> Outcome<SignedRequest> {
        if lifetime > LIFETIME_MAX || lifetime < Duration::from_secs(1) {
            return Err(Fault::says(ErrorKind::Unsupported, "a signed URL works for 1 second to 7 days"));
        }
        let begins = SystemTime::now();
        let config = PresigningConfig::builder().start_time(begins).expires_in(lifetime).build();
        let config = config.map_err(|error| Fault::says(ErrorKind::Unsupported, error))?;
        let (name, client) = (self.name(key)?, &self.clients.signing);
        let (method, signed) = match method {
            PresignMethod::Get => {
                let request = client.get_object().bucket(self.bucket()).key(name);
                ("GET", request.presigned(config).await.map_err(|error| self.fault(error))?)
            }
            PresignMethod::Put { size } => {
                let size = size.map(i64::try_from).transpose().map_err(|_| size_too_large())?;
                let request = client.put_object().bucket(self.bucket()).key(name).set_content_length(size);
                ("PUT", request.presigned(config).await.map_err(|error| self.fault(error))?)
            }
        };
        Ok(SignedRequest {
            method,
            url: signed.uri().to_owned(),
            headers: headers(&signed),
            expires_at: begins + lifetime,
        })
    }
}

fn size_too_large() -> Fault {
    ErrorKind::TooLarge { max: crate::S3Options::OBJECT_BYTES_MAX }.into()
}

fn headers(signed: &PresignedRequest) -> Vec<(String, String)> {
    signed.headers().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}
