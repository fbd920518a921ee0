//! [`Profile`]: what a server was seen to do. It lies in the store, as `.larder/profile.json`, so that it is found out once.
//!
//! What the driver does that a vendor may lack, it does by the profile: a condition that is ignored in silence looks like one that
//! was kept, so none is believed that was not seen to be refused once.

use crate::{
    fault::{Fault, Outcome},
    look::quoted,
    store::{Inner, S3Store},
};
use aws_sdk_s3::primitives::ByteStream;
use larder_storage_core::{ETag, ErrorKind, Key, Op, Result};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

pub(crate) const KEY: &str = ".larder/profile.json";
/// Of the layout below; another one is found out anew. In the first one what was tried last could be lacking.
const FORMAT: u32 = 2;
const BYTES_MAX: usize = 64 << 10;

/// The conditions that a kind of request keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conditions {
    /// `If-None-Match: *` is refused where an object is.
    pub create: bool,
    /// `If-Match` is refused where another object is, and taken where it is this one.
    pub replace: bool,
    /// `If-Match` is compared without the quotes that HTTP has around a validator, as Ceph 16 does, and is sent without.
    #[serde(default)]
    pub bare_etags: bool,
}

impl Conditions {
    /// A validator as `If-Match` has it here.
    pub(crate) fn spelled(self, etag: &ETag) -> String {
        if self.bare_etags { etag.to_string() } else { quoted(etag) }
    }
}

/// What a server was seen to do. All that is `false` was tried and is not relied on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// The layout of this record.
    pub format: u32,
    /// The endpoint that was asked; another one is asked anew.
    pub endpoint: String,
    /// The bucket that was asked.
    pub bucket: String,
    /// When, in seconds since 1970 by the server's clock.
    pub probed_at: u64,
    /// Of `PutObject`.
    pub put: Conditions,
    /// Of `CompleteMultipartUpload`.
    pub complete: Conditions,
    /// Of `CopyObject`.
    pub copy: Conditions,
    /// A payload is refused that has another SHA-256 than it was signed under.
    pub checks_payload: bool,
    /// An object is refused that has another SHA-256 than its header `x-amz-checksum-sha256` says.
    #[serde(default)]
    pub checks_sha256: bool,
    /// `DeleteObjects` works.
    pub batch_delete: bool,
    /// `ListMultipartUploads` works: what was abandoned can be found.
    pub lists_uploads: bool,
    /// An upload is told with the time at which it was begun; where it is not, none is taken for an abandoned one.
    #[serde(default)]
    pub dates_uploads: bool,
    /// The smallest part but the last, in bytes: 0 where any size is taken.
    pub part_bytes_min: u64,
    /// Signed URLs work, without a header that its holder would have to know.
    pub presign: bool,
    /// Deleted objects stay as versions, which the driver deletes as well.
    pub versioned: bool,
    /// Objects can bear tags.
    pub tags: bool,
    /// Objects are encrypted as the configuration asks; `true` where it asks for nothing.
    pub encrypts: bool,
    /// The server's clock less this machine's, in seconds.
    pub clock_skew: i64,
}

impl Profile {
    /// A profile of a server that was seen to do nothing yet.
    pub(crate) fn blank(endpoint: String, bucket: String) -> Self {
        Self {
            format: FORMAT,
            endpoint,
            bucket,
            probed_at: 0,
            put: Conditions::default(),
            complete: Conditions::default(),
            copy: Conditions::default(),
            checks_payload: false,
            checks_sha256: false,
            batch_delete: false,
            lists_uploads: false,
            dates_uploads: false,
            part_bytes_min: 0,
            presign: false,
            versioned: false,
            tags: false,
            encrypts: false,
            clock_skew: 0,
        }
    }
}

impl S3Store {
    /// What the server was seen to do: read from the store, or found out now, which takes some fifty requests.
    ///
    /// # Errors
    /// Those of the requests; `Unsupported` where the server does not encrypt as it is told to.
    pub async fn profile(&self) -> Result<Arc<Profile>> {
        self.inner.profile().await.map_err(|fault| fault.at(Op::Open, KEY, self))
    }

    /// What the server was seen to do, as far as this process or the store knows; nothing is found out. At most one request.
    ///
    /// # Errors
    /// Those of the request.
    pub async fn known_profile(&self) -> Result<Option<Arc<Profile>>> {
        if let Some(known) = self.inner.profile.read().await.clone() {
            return Ok(Some(known));
        }
        let kept = self.inner.kept().await.map_err(|fault| fault.at(Op::Open, KEY, self))?;
        match kept {
            Some(kept) if kept.format == FORMAT => Ok(Some(self.inner.known(kept).await)),
            _ => Ok(None),
        }
    }

    /// Finds out anew what the server can do, whatever was known, and keeps it in the store.
    ///
    /// # Errors
    /// As [`S3Store::profile`].
    pub async fn renew_profile(&self) -> Result<Arc<Profile>> {
        let _alone = self.inner.probing.lock().await;
        self.inner.found_out().await.map_err(|fault| fault.at(Op::Open, KEY, self))
    }
}

impl Inner {
    pub(crate) async fn profile(&self) -> Outcome<Arc<Profile>> {
        if let Some(known) = self.profile.read().await.clone() {
            return Ok(known);
        }
        let _alone = self.probing.lock().await;
        if let Some(known) = self.profile.read().await.clone() {
            return Ok(known);
        }
        match self.kept().await? {
            Some(kept) if kept.format == FORMAT => Ok(self.known(kept).await),
            Some(earlier) => self.renewed(earlier).await,
            None => self.found_out().await,
        }
    }

    /// Finds out anew. Where nothing can be written now the earlier one is gone by: a bucket that is full must be deleted from.
    async fn renewed(&self, earlier: Profile) -> Outcome<Arc<Profile>> {
        match self.found_out().await {
            Err(fault) if matches!(fault.kind, ErrorKind::Full | ErrorKind::PermissionDenied) => {
                tracing::warn!(store = %self.display, ?fault, "what the server can do is not found out anew now");
                Ok(self.known(earlier).await)
            }
            found => found,
        }
    }

    async fn known(&self, profile: Profile) -> Arc<Profile> {
        let known = Arc::new(profile);
        *self.profile.write().await = Some(known.clone());
        known
    }

    /// Finds out and keeps. A store that refuses to keep it is used by it all the same.
    async fn found_out(&self) -> Outcome<Arc<Profile>> {
        let profile = self.probe().await?;
        let bytes = serde_json::to_vec_pretty(&profile).map_err(|error| Fault::says(ErrorKind::Corrupt, error))?;
        let name = self.name(&key())?;
        let put = || async {
            let (encryption, kms) = self.encryption();
            let request = self.client().put_object().bucket(self.bucket()).key(&name);
            let request = request.set_server_side_encryption(encryption).set_ssekms_key_id(kms);
            let body = ByteStream::from(bytes.clone());
            request.body(body).send().await.map(drop).map_err(|error| self.fault(error))
        };
        self.read(put).await?;
        tracing::info!(store = %self.display, ?profile, "found out what the server can do");
        Ok(self.known(profile).await)
    }

    /// The profile that lies in the store, if it is one of this server: of this layout, or of an earlier one.
    async fn kept(&self) -> Outcome<Option<Profile>> {
        let name = self.name(&key())?;
        let get = || async {
            let answer = self.client().get_object().bucket(self.bucket()).key(&name).send().await;
            let answer = answer.map_err(|error| self.fault(error))?;
            let bytes = answer
                .body
                .collect()
                .await
                .map_err(|error| Fault { temporary: true, ..Fault::says(ErrorKind::Unavailable, error) })?;
            Ok(bytes.into_bytes())
        };
        let bytes = match self.read(get).await {
            Err(fault) if fault.is_absent() => return Ok(None),
            bytes => bytes?,
        };
        // Damage costs a few requests, not the store.
        let kept: Option<Profile> = if bytes.len() > BYTES_MAX { None } else { serde_json::from_slice(&bytes).ok() };
        Ok(kept.filter(|kept| {
            kept.format <= FORMAT && kept.endpoint == self.endpoint() && kept.bucket == self.options.bucket
        }))
    }

    /// The server by name, as far as profiles tell servers apart.
    pub(crate) fn endpoint(&self) -> String {
        self.options.endpoint.clone().unwrap_or_else(|| format!("aws:{}", self.clients.region))
    }
}

fn key() -> Key {
    Key::new(KEY).expect("it is a key")
}
