//! [`Record`]: a file as HTTP and `--json` show it; [`Person`]: a user.

use larder_files::{
    BucketName, File, FileId, Files, Role, Sha256, Timestamp, User, UserId, UserName, ledger::CopyRow,
    ledger::CopyState, ledger::RevisionRow,
};
use larder_renditions::{Presets, is_rendered};
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// A file's record. Borrows nothing, so that it can be sent anywhere.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = File)]
pub struct Record {
    /// Id.
    #[schema(value_type = String, format = "uuid")]
    pub id: FileId,
    /// Name of its bucket.
    #[schema(value_type = String)]
    pub bucket: BucketName,
    /// Name of its owner.
    pub owner: String,
    /// Its owner.
    #[schema(value_type = String, format = "uuid")]
    pub owner_id: UserId,
    /// Its name.
    pub name: String,
    /// Size in bytes.
    pub size: u64,
    /// Type of the content, by its signature.
    pub content_type: String,
    /// SHA-256 of the content.
    #[schema(value_type = String)]
    pub sha256: Sha256,
    /// ETag of the content, with quotes.
    pub content_etag: String,
    /// ETag of the record, with quotes.
    pub etag: String,
    /// Number of the newest revision.
    pub revision: u64,
    /// Counts its changes, with gaps.
    pub version: u64,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it was changed last.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
    /// Since when it lies in the trash.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub deleted_at: Option<Timestamp>,
    /// Tags.
    pub tags: Vec<String>,
    /// Metadata.
    #[schema(value_type = Object)]
    pub metadata: Map<String, Value>,
    /// What is known of its picture: `kind`, `width` and `height` as shown, `format`, `frames` of one that moves, `thumbhash` (base64) and
    /// `colour` of what stands there until it is loaded, `focal`; null where it is none, or was never looked at.
    #[schema(value_type = Option<Object>)]
    pub media: Option<Value>,
    /// Where its content is.
    pub url: String,
    /// Where its renditions are, by preset.
    pub renditions: BTreeMap<String, String>,
    /// Where its copies are: for admins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub copies: Option<Vec<Copy>>,
}

/// A copy of a revision.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Copy {
    /// The store's name; its id where no store of that id is configured.
    pub store: String,
    /// How sure it is.
    #[schema(value_type = String)]
    pub state: CopyState,
    /// When its hash was last known to match.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub verified_at: Option<Timestamp>,
}

impl Record {
    /// The record of `file` as `viewer` may see it.
    #[must_use]
    pub fn new(file: &File, files: &Files, viewer: Role) -> Self {
        let attributes = file.attributes.clone();
        Self {
            url: format!("/api/v1/files/{}/content", attributes.id),
            content_etag: format!("\"{}\"", attributes.sha256),
            etag: format!("\"v{}\"", attributes.version),
            id: attributes.id,
            bucket: attributes.bucket,
            owner: attributes.owner,
            owner_id: attributes.owner_id,
            name: attributes.name,
            size: attributes.size,
            content_type: attributes.content_type,
            sha256: attributes.sha256,
            revision: attributes.revision,
            version: attributes.version,
            created_at: attributes.created_at,
            updated_at: attributes.updated_at,
            deleted_at: attributes.deleted_at,
            tags: attributes.tags,
            metadata: attributes.metadata,
            media: attributes.media,
            renditions: BTreeMap::new(),
            copies: copies(&file.copies, files, viewer),
        }
    }
}

impl Record {
    /// The same, with where its renditions by these presets are, if it is a picture.
    #[must_use]
    pub fn with_renditions(self, presets: &Presets) -> Self {
        if !is_rendered(&self.content_type) {
            return self;
        }
        let url = |name: &str| format!("/api/v1/files/{}/renditions/{name}", self.id);
        let renditions = presets.iter().map(|(name, _)| (name.to_owned(), url(name))).collect();
        Self { renditions, ..self }
    }
}

/// A revision of a file.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Revision {
    /// Its number, from 1.
    pub revision: u64,
    /// Size in bytes.
    pub size: u64,
    /// Type of the content, by its signature.
    pub content_type: String,
    /// SHA-256 of the content.
    #[schema(value_type = String)]
    pub sha256: Sha256,
    /// ETag of the content, with quotes.
    pub content_etag: String,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// Where its content is.
    pub url: String,
    /// Where its copies are: for admins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub copies: Option<Vec<Copy>>,
}

impl Revision {
    /// The revision `row` as `viewer` may see it.
    #[must_use]
    pub fn new(row: RevisionRow, files: &Files, viewer: Role) -> Self {
        Self {
            url: format!("/api/v1/files/{}/content?revision={}", row.file, row.revision),
            content_etag: format!("\"{}\"", row.sha256),
            revision: row.revision,
            size: row.size,
            content_type: row.content_type,
            sha256: row.sha256,
            created_at: row.revised_at,
            copies: copies(&row.copies, files, viewer),
        }
    }
}

/// A user's record. It tells nothing of the password but whether there is one.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Person {
    /// Id.
    #[schema(value_type = String, format = "uuid")]
    pub id: UserId,
    /// Name.
    #[schema(value_type = String)]
    pub username: UserName,
    /// What they may.
    #[schema(value_type = String)]
    pub role: Role,
    /// When they were added.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// Whether they can't log in, having no password.
    pub locked: bool,
}

impl From<User> for Person {
    fn from(user: User) -> Self {
        let locked = user.password_hash.is_none();
        Self { id: user.id, username: user.name, role: user.role, created_at: user.created_at, locked }
    }
}

fn copies(rows: &[CopyRow], files: &Files, viewer: Role) -> Option<Vec<Copy>> {
    let name = |row: &CopyRow| files.store_name(row.store).map_or_else(|| row.store.to_string(), ToString::to_string);
    let copy = |row: &CopyRow| {
        // Of one that is being dropped the row tells another time.
        let verified_at = row.verified_at.filter(|_| row.state != CopyState::Dropping);
        Copy { store: name(row), state: row.state, verified_at }
    };
    (viewer == Role::Admin).then(|| rows.iter().map(copy).collect())
}
