//! [`Attributes`]: what lies beside the bytes as `<key>.attr.json` and is the truth about a file.

use crate::{BucketId, BucketName, FileId, Timestamp, UserId, canonical};
use larder_storage_core::Key;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use serde_json::{Map, Value};
use sha2::Digest;
use std::fmt;

/// A SHA-256, written in lower-case hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha256(pub [u8; 32]);

impl Sha256 {
    /// The SHA-256 of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(sha2::Sha256::digest(bytes).into())
    }

    /// Reads 64 hexadecimal digits of either case.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        data_encoding::HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok()?.try_into().ok().map(Self)
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Sha256 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Sha256 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| D::Error::custom("a SHA-256 has 64 hexadecimal digits"))
    }
}

/// Everything that is known of a file at one version. One canonical byte form, at most [`Attributes::BYTES_MAX`] long.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attributes {
    /// The form's version: 1.
    pub larder: u32,
    /// The file.
    pub id: FileId,
    /// Name of its bucket when this was written.
    pub bucket: BucketName,
    /// Its bucket.
    pub bucket_id: BucketId,
    /// Name of its owner when this was written: for people who read the disk.
    pub owner: String,
    /// Its owner: the truth.
    pub owner_id: UserId,
    /// Where the bytes of `revision` lie.
    #[serde(with = "key_text")]
    pub key: Key,
    /// Random per write: tells whether a reply that was lost was to this one.
    pub op: String,
    /// The user's name for it, exactly as sent.
    pub name: String,
    /// The revision that `key`, `size` and the digests describe, from 1.
    pub revision: u64,
    /// Counts rebuilds.
    pub epoch: u64,
    /// Counts changes of the file, with gaps.
    pub version: u64,
    /// Size in bytes.
    pub size: u64,
    /// SHA-256 of the bytes.
    pub sha256: Sha256,
    /// CRC-64/NVME of the bytes, 16 hexadecimal digits.
    #[serde(with = "crc_text")]
    pub crc64nvme: u64,
    /// The content's type, by its signature.
    pub content_type: String,
    /// When the file was made.
    pub created_at: Timestamp,
    /// When this revision was made.
    pub revised_at: Timestamp,
    /// When this version was made.
    pub updated_at: Timestamp,
    /// Since when it lies in the trash.
    pub deleted_at: Option<Timestamp>,
    /// The user's tags.
    pub tags: Vec<String>,
    /// The user's metadata.
    pub metadata: Map<String, Value>,
    /// What is known of its picture; kept, not read.
    pub media: Option<Value>,
    /// The request that made it, for 24 hours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by_key: Option<CreatedByKey>,
    /// Fields of a later Larder, kept as they are.
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}

/// The idempotent request that made a revision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreatedByKey {
    /// HMAC of the key and the user's id.
    pub key: Sha256,
    /// Fingerprint of the request.
    pub request: Sha256,
    /// The status that was answered.
    pub status: u16,
    /// When.
    pub at: Timestamp,
}

/// Who wins: highest (epoch, version); of equals the smaller hash of the canonical bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rank {
    /// Counts rebuilds.
    pub epoch: u64,
    /// Counts changes.
    pub version: u64,
    /// Hash of the canonical bytes.
    pub digest: Sha256,
}

impl Ord for Rank {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.epoch, self.version).cmp(&(other.epoch, other.version)).then_with(|| other.digest.cmp(&self.digest))
    }
}

impl PartialOrd for Rank {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// Why bytes are no attributes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidAttributes {
    /// Longer than [`Attributes::BYTES_MAX`].
    #[error("attributes have at most {max} bytes, these have {len}", max = Attributes::BYTES_MAX)]
    TooLong {
        /// Their length in bytes.
        len: usize,
    },
    /// No JSON object of this form.
    #[error("not readable as attributes")]
    Unreadable(#[from] serde_json::Error),
    /// A version of the form that this Larder does not know.
    #[error("attributes of form {0}, this Larder knows form 1")]
    UnknownForm(u32),
    /// Readable, but not in canonical form.
    #[error("attributes are not in canonical form")]
    NotCanonical,
    /// A field that contradicts itself or where it was found.
    #[error("field `{field}` of attributes is wrong: {why}")]
    Wrong {
        /// The field.
        field: &'static str,
        /// Why.
        why: String,
    },
}

impl Attributes {
    /// The most bytes that attributes have.
    pub const BYTES_MAX: usize = 4096;
    /// The most bytes of name, tags and metadata together, in canonical form.
    pub const USER_BYTES_MAX: usize = 2560;
    /// The suffix of the attributes' key beside the bytes'.
    pub const SUFFIX: &str = ".attr.json";

    /// The canonical bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        canonical(&serde_json::to_value(self).expect("attributes hold only what JSON has"))
    }

    /// Reads canonical bytes.
    ///
    /// # Errors
    /// [`InvalidAttributes`] names what is wrong.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, InvalidAttributes> {
        if bytes.len() > Self::BYTES_MAX {
            return Err(InvalidAttributes::TooLong { len: bytes.len() });
        }
        let value: Value = serde_json::from_slice(bytes)?;
        match value.get("larder").and_then(Value::as_u64) {
            Some(1) | None => {}
            Some(form) => return Err(InvalidAttributes::UnknownForm(u32::try_from(form).unwrap_or(u32::MAX))),
        }
        if canonical(&value) != bytes {
            return Err(InvalidAttributes::NotCanonical);
        }
        let attributes: Self = serde_json::from_value(value)?;
        attributes.check()?;
        Ok(attributes)
    }

    fn check(&self) -> Result<(), InvalidAttributes> {
        let wrong = |field, why: &str| Err(InvalidAttributes::Wrong { field, why: why.into() });
        if self.revision == 0 {
            return wrong("revision", "revisions count from 1");
        }
        if self.version == 0 {
            return wrong("version", "versions count from 1");
        }
        let too_long = self.key.with_suffix(Self::SUFFIX).is_err();
        if too_long || self.key.as_str().starts_with(".larder") || self.key.as_str().ends_with(Self::SUFFIX) {
            return wrong("key", "no key for bytes");
        }
        if self.name.is_empty() || self.name.len() > 1024 || self.name.chars().any(char::is_control) {
            return wrong("name", "1 to 1,024 bytes without control characters");
        }
        if self.content_type.len() > 127 {
            return wrong("content_type", "at most 127 bytes");
        }
        Ok(())
    }

    /// Who wins against others of this file.
    #[must_use]
    pub fn rank(&self) -> Rank {
        Rank { epoch: self.epoch, version: self.version, digest: Sha256::of(&self.to_bytes()) }
    }

    /// Where these attributes lie beside the bytes.
    #[must_use]
    pub fn sidecar(&self) -> Key {
        self.key.with_suffix(Self::SUFFIX).expect("a key for bytes leaves room for the suffix")
    }

    /// How many bytes of [`Attributes::USER_BYTES_MAX`] name, tags and metadata take.
    #[must_use]
    pub fn user_bytes(name: &str, tags: &[String], metadata: &Map<String, Value>) -> usize {
        let tags = Value::from(tags.to_vec());
        let parts = [Value::from(name), tags, Value::Object(metadata.clone())];
        parts.iter().map(|part| canonical(part).len()).sum()
    }
}

mod key_text {
    use super::*;

    pub(super) fn serialize<S: Serializer>(key: &Key, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(key.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Key, D::Error> {
        Key::new(String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

mod crc_text {
    use super::*;

    pub(super) fn serialize<S: Serializer>(crc: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{crc:016x}"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        let text = String::deserialize(deserializer)?;
        u64::from_str_radix(&text, 16)
            .ok()
            .filter(|_| text.len() == 16)
            .ok_or_else(|| D::Error::custom("16 hexadecimal digits"))
    }
}
