//! Describing an object: its meta, and which attempt of whom had put it there.

use crate::{
    Misconfigured,
    fault::{Fault, Outcome},
    store::Inner,
};
use aws_sdk_s3::{
    primitives::DateTime,
    types::{ServerSideEncryption, StorageClass},
};
use larder_storage_core::{ETag, ErrorKind, Key, ObjectMeta, Written};
use std::{
    collections::HashMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// In an object's metadata: which call put it there, so that a lost answer can be told from another's object.
pub(crate) const TOKEN: &str = "larder-put";
/// In an object's metadata: its SHA-256, in hexadecimal, where it was known when the object was begun.
pub(crate) const SHA256: &str = "larder-sha256";

/// An object as a head shows it.
pub(crate) struct Seen {
    pub(crate) meta: ObjectMeta,
    token: Option<String>,
    encryption: Option<ServerSideEncryption>,
}

impl Seen {
    /// Whether the call of this token put it there.
    pub(crate) fn is_of(&self, token: &str) -> bool {
        self.token.as_deref() == Some(token)
    }

    /// Whether it is a copy of `source`: a copy bears the marks of what it was made of.
    pub(crate) fn is_copy_of(&self, source: &Self) -> bool {
        let same = self.meta.etag == source.meta.etag || self.token.is_some() && self.token == source.token;
        same && self.meta.size == source.meta.size
    }

    pub(crate) fn written(self) -> Written {
        Written { size: self.meta.size, etag: self.meta.etag }
    }
}

impl Inner {
    /// Describes an object. One request; of an absent one two, for a head can't tell a missing object from a missing bucket.
    pub(crate) async fn look(&self, key: &Key) -> Outcome<Seen> {
        let name = self.name(key)?;
        let ask = || async {
            let head = self.client().head_object().bucket(self.bucket()).key(&name);
            head.send().await.map_err(|error| self.fault(error))
        };
        let head = match self.read(ask).await {
            Err(fault) if fault.status == Some(404) => {
                self.see_bucket().await?;
                return Err(ErrorKind::NotFound.into());
            }
            head => head?,
        };
        let token = head.metadata().and_then(|told| told.get(TOKEN)).cloned();
        let meta = meta(key, head.content_length(), head.e_tag(), head.last_modified())?;
        Ok(Seen { meta, token, encryption: head.server_side_encryption })
    }

    /// As [`Inner::look`], of an object that may be absent.
    pub(crate) async fn look_for(&self, key: &Key) -> Outcome<Option<Seen>> {
        match self.look(key).await {
            Ok(seen) => Ok(Some(seen)),
            Err(fault) if fault.is_absent() => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    /// What was written, looked at; an object that is not encrypted as it was to be is taken away again.
    pub(crate) async fn look_back(&self, key: &Key) -> Outcome<Written> {
        let seen = self.look(key).await.map_err(Fault::unsettled)?;
        let Err(fault) = self.check_encryption(seen.encryption.as_ref()) else { return Ok(seen.written()) };
        if let Err(stays) = self.delete(key).await {
            tracing::warn!(store = %self.display, %key, fault = ?stays, "an object that was refused stays behind");
        }
        Err(fault)
    }

    /// Fails where the bucket is missing. Who may not ask for it has it all the same.
    async fn see_bucket(&self) -> Outcome<()> {
        let ask = || async {
            let head = self.client().head_bucket().bucket(self.bucket());
            head.send().await.map(drop).map_err(|error| self.fault(error))
        };
        match self.read(ask).await {
            Err(fault) if fault.status == Some(404) => {
                let mistake = Misconfigured::MissingBucket { bucket: self.bucket().to_owned() };
                Err(Fault::misconfigured(ErrorKind::Unavailable, mistake))
            }
            Err(fault) if fault.status == Some(403) => Ok(()),
            seen => seen,
        }
    }

    /// What every new object is marked with.
    pub(crate) fn marks(&self, token: &str, sha256: Option<&str>) -> HashMap<String, String> {
        let mut marks = HashMap::from([(TOKEN.to_owned(), token.to_owned())]);
        marks.extend(sha256.map(|sha256| (SHA256.to_owned(), sha256.to_owned())));
        marks
    }

    /// How every new object is encrypted: the kind, and the key of KMS.
    pub(crate) fn encryption(&self) -> (Option<ServerSideEncryption>, Option<String>) {
        use crate::Encryption;
        match &self.options.encryption {
            Encryption::Default => (None, None),
            Encryption::Aes256 => (Some(ServerSideEncryption::Aes256), None),
            Encryption::Kms(key) => (Some(ServerSideEncryption::AwsKms), key.clone()),
        }
    }

    pub(crate) fn storage_class(&self) -> Option<StorageClass> {
        self.options.storage_class.as_deref().map(StorageClass::from)
    }

    /// Fails where the server did not encrypt as it was told to.
    pub(crate) fn check_encryption(&self, done: Option<&ServerSideEncryption>) -> Outcome<()> {
        let asked = self.encryption().0;
        if asked.is_none() || asked.as_ref() == done {
            return Ok(());
        }
        Err(Fault::misconfigured(ErrorKind::Unsupported, Misconfigured::NotEncrypted))
    }
}

/// An object's meta, of what an answer says. Times are those of a head: a listing has parts of a second besides.
pub(crate) fn meta(
    key: &Key,
    size: Option<i64>,
    etag: Option<&str>,
    modified: Option<&DateTime>,
) -> Outcome<ObjectMeta> {
    let lacks =
        |what| Fault { temporary: false, ..Fault::says(ErrorKind::Unavailable, format!("the answer has no {what}")) };
    let size = size.and_then(|size| u64::try_from(size).ok()).ok_or_else(|| lacks("Content-Length"))?;
    let etag = validator(etag).ok_or_else(|| lacks("ETag"))?;
    let modified = time(modified.ok_or_else(|| lacks("Last-Modified"))?);
    Ok(ObjectMeta { key: key.clone(), size, etag, modified })
}

/// A validator as the contract has it: without quotes.
pub(crate) fn validator(etag: Option<&str>) -> Option<ETag> {
    let bare = etag?.trim_matches('"');
    (!bare.is_empty()).then(|| ETag::new(bare))
}

/// A validator as HTTP has it.
pub(crate) fn quoted(etag: &ETag) -> String {
    format!("\"{etag}\"")
}

pub(crate) fn time(told: &DateTime) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(u64::try_from(told.secs()).unwrap_or(0))
}
