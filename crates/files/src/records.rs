//! Users and buckets: security state, sealed on the stores and no cache.

use crate::{BucketId, BucketName, CreatedByKey, Role, StoreName, Timestamp, UserId, UserName};
use serde::{Deserialize, Serialize};

/// A user. Its record lies sealed on the stores; the highest (epoch, version) is the truth.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Id.
    pub id: UserId,
    /// Name, never given again.
    pub name: UserName,
    /// What they may.
    pub role: Role,
    /// The password's hash in PHC form; `None` of an account that can't log in.
    pub password_hash: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Counts rebuilds.
    pub epoch: u64,
    /// Rises with each change, with gaps, and is given once in an epoch.
    pub version: u64,
    /// When it was deleted: the name stays taken.
    pub gone_at: Option<Timestamp>,
    /// The request that made it, for 24 hours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by_key: Option<CreatedByKey>,
}

impl std::fmt::Debug for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("User")
            .field("id", &self.id)
            .field("name", &self.name)
            .field("role", &self.role)
            .finish_non_exhaustive()
    }
}

/// A bucket: a policy with a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bucket {
    /// Id.
    pub id: BucketId,
    /// Name.
    pub name: BucketName,
    /// What it takes and where it keeps it.
    pub policy: BucketPolicy,
    /// When it was made.
    pub created_at: Timestamp,
    /// Counts rebuilds.
    pub epoch: u64,
    /// Counts changes.
    pub version: u64,
}

/// What a bucket takes and where it keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketPolicy {
    /// The largest file, in bytes.
    pub max_bytes: u64,
    /// Content types it takes, such as `image/png`; `*` for all.
    pub types: Vec<String>,
    /// Where each file must have a verified copy, in the order in which reads try them. Empty: the installation's placement.
    pub placement: Vec<StoreName>,
    /// How many durable copies an answer waits for.
    pub write_copies: u32,
    /// Whether several live files may share a name.
    #[serde(default)]
    pub names: Names,
    /// For how many days the trash keeps a file. Not carried out yet: what lies in the trash stays until it is purged.
    pub trash_days: u32,
    /// Whether it takes only pictures that can be read, within the limits of pictures.
    #[serde(default)]
    pub pictures_only: bool,
    /// The presets of which renditions are made as soon as a picture has arrived.
    #[serde(default)]
    pub presets_ahead: Vec<String>,
}

/// Whether several live files of a bucket may share a name. What lies in the trash shares it with anyone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Names {
    /// Several may.
    #[default]
    Free,
    /// At most one of all owners' has it.
    Unique,
}

impl Default for BucketPolicy {
    /// 16 GiB of any type, one copy, free names, 30 days of trash.
    fn default() -> Self {
        Self {
            max_bytes: 16 << 30,
            types: vec!["*".into()],
            placement: vec![],
            write_copies: 1,
            names: Names::Free,
            trash_days: 30,
            pictures_only: false,
            presets_ahead: vec![],
        }
    }
}

impl BucketPolicy {
    /// Whether the bucket takes content of `content_type`.
    #[must_use]
    pub fn takes(&self, content_type: &str) -> bool {
        self.types.iter().any(|allowed| allowed == "*" || allowed == content_type)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_that_was_sealed_before_names_could_be_unique_has_free_ones() {
        let before = r#"{"max_bytes":1,"types":["*"],"placement":[],"write_copies":1,"trash_days":30}"#;
        let policy: BucketPolicy = serde_json::from_str(before).unwrap();
        assert_eq!(policy, BucketPolicy { max_bytes: 1, ..BucketPolicy::default() });
        let unique = BucketPolicy { names: Names::Unique, ..policy };
        assert_eq!(serde_json::from_str::<BucketPolicy>(&serde_json::to_string(&unique).unwrap()).unwrap(), unique);
    }
}
