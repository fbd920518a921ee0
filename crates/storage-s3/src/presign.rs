//! Signed URLs: made here, of SigV4's query form, with as few signed headers as there can be, for the endpoint that clients reach.
//!
//! The size and the type that a put is bound to are signed headers: a server that knows SigV4 refuses others. The hash is one too, but
//! whether the content has it is for the server to check: it is asked only of one that was seen to.

use crate::{
    S3Store,
    copy::PLAIN,
    fault::{Fault, Outcome},
    store::Inner,
};
use async_trait::async_trait;
use aws_sdk_s3::presigning::{PresignedRequest, PresigningConfig};
use data_encoding::BASE64;
use larder_storage_core::{Bound, ErrorKind, Key, Op, Presign, PresignMethod, Result, SentAs, SignedRequest};
use percent_encoding::utf8_percent_encode;
use std::time::Duration;

/// Signatures live no longer, by the standard.
const LIFETIME_MAX: Duration = Duration::from_secs(7 * 86_400);

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl Presign for S3Store {
    /// No request is made. What a put is [`Bound`] to stands in headers that must be sent with it; its hash only where this process
    /// knows that the server checks it ([`crate::Profile::checks_sha256`]).
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
        // As the server tells the time: by another one it takes no signature.
        let begins = self.clients.clock.now();
        let config = PresigningConfig::builder().start_time(begins).expires_in(lifetime).build();
        let config = config.map_err(|error| Fault::says(ErrorKind::Unsupported, error))?;
        let (name, client) = (self.name(key)?, &self.clients.signing);
        let (method, signed) = match method {
            PresignMethod::Get(_) if let Some(cdn) = &self.options.cdn_url => {
                let url = format!("{}/{}", cdn.trim_end_matches('/'), utf8_percent_encode(&name, PLAIN));
                return Ok(SignedRequest { method: "GET", url, headers: vec![], expires_at: begins + lifetime });
            }
            PresignMethod::Get(SentAs { content_type, disposition }) => {
                let request = client.get_object().bucket(self.bucket()).key(name);
                let request =
                    request.set_response_content_type(content_type).set_response_content_disposition(disposition);
                ("GET", request.presigned(config).await.map_err(|error| self.fault(error))?)
            }
            PresignMethod::Put(Bound { size, content_type, sha256 }) => {
                let size = size.map(i64::try_from).transpose().map_err(|_| size_too_large())?;
                let checks = self.profile.read().await.as_ref().is_some_and(|known| known.checks_sha256);
                let sha256 = sha256.filter(|_| checks).map(|hash| BASE64.encode(&hash));
                let (encryption, kms) = self.encryption();
                let request = client.put_object().bucket(self.bucket()).key(name).set_content_length(size);
                let request = request.set_content_type(content_type).set_checksum_sha256(sha256);
                let request = request.set_server_side_encryption(encryption).set_ssekms_key_id(kms);
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
