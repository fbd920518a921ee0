//! `dump`: every row that a rebuild must bring back, as canonical JSON lines by kind, id and revision, so that two
//! dumps are compared byte by byte. It holds a page of rows in memory, whatever the ledger holds. What a rebuild can't
//! know is left out: states of copies and when they were verified, idempotency; of a password only its hash's hash is
//! shown.

use crate::{
    Bucket, Error, FileId, Files, Result, Sha256, StoreId, Tombstone, User, canonical,
    files::Node,
    ledger::{CopyState, FileQuery, FileRow, Position, RevisionRow},
};
use serde::Serialize;
use serde_json::{Value, json};

/// Rows of a page.
const PAGE: usize = 1000;

/// Where the lines go.
type Out<'a> = &'a mut (dyn FnMut(&str) -> std::io::Result<()> + Send);

impl Files {
    /// Writes every row that a rebuild must bring back: canonical JSON lines, without their ends, by kind, id and
    /// revision.
    ///
    /// # Errors
    /// The ledger's; `Internal` with what `out` answers.
    pub async fn dump(&self, out: &mut (dyn FnMut(&str) -> std::io::Result<()> + Send)) -> Result<()> {
        self.0.dump(out).await
    }
}

impl Node {
    async fn dump(&self, out: Out<'_>) -> Result<()> {
        for bucket in self.ledger.buckets().await? {
            write(out, bucket_line(&bucket))?;
        }
        let mut after = None;
        while let Some(page) = self.page_of_files(&mut after).await? {
            page.iter().try_for_each(|file| write(out, file_line(file)))?;
        }
        let mut after = None;
        while let Some(page) = self.page_of_files(&mut after).await? {
            for file in page {
                let revisions = self.ledger.revisions(file.attributes.id).await?;
                revisions.iter().try_for_each(|revision| write(out, self.revision_line(revision)))?;
            }
        }
        let mut after = None;
        while let Some(page) = self.page_of_tombstones(&mut after).await? {
            page.iter().try_for_each(|tombstone| write(out, tombstone_line(tombstone)))?;
        }
        self.ledger.users().await?.iter().try_for_each(|user| write(out, user_line(user)))
    }

    /// The next page of all files, the trash too, behind `after`; `None` behind the last.
    pub(crate) async fn page_of_files(&self, after: &mut Option<FileId>) -> Result<Option<Vec<FileRow>>> {
        let page = self
            .ledger
            .files(&FileQuery { after: after.map(Position::Created), limit: PAGE, ..FileQuery::default() })
            .await?;
        *after = page.last().map(|file| file.attributes.id).or(*after);
        Ok((!page.is_empty()).then_some(page))
    }

    /// The next page of all tombstones; `None` behind the last.
    pub(crate) async fn page_of_tombstones(
        &self,
        after: &mut Option<(FileId, Option<u64>)>,
    ) -> Result<Option<Vec<Tombstone>>> {
        let page = self.ledger.tombstones(*after, PAGE).await?;
        *after = page.last().map(|tombstone| (tombstone.id, tombstone.revision)).or(*after);
        Ok((!page.is_empty()).then_some(page))
    }

    fn revision_line(&self, row: &RevisionRow) -> Value {
        let counts = |state| matches!(state, CopyState::Present | CopyState::Verified);
        let mut stores: Vec<String> =
            row.copies.iter().filter(|copy| counts(copy.state)).map(|copy| self.store_text(copy.store)).collect();
        stores.sort_unstable();
        json!({
            "kind": "revision", "id": row.file, "revision": row.revision, "key": row.key.as_str(), "size": row.size,
            "sha256": row.sha256, "crc64nvme": format!("{:016x}", row.crc64nvme), "content_type": row.content_type,
            "revised_at": row.revised_at,
            "copies": stores.into_iter().map(|store| json!({ "store": store })).collect::<Vec<_>>(),
        })
    }

    /// A store by its name, or by its id where it is not in use.
    fn store_text(&self, id: StoreId) -> String {
        self.places.iter().find(|place| place.id == id).map_or_else(|| id.to_string(), |place| place.name.to_string())
    }
}

fn bucket_line(bucket: &Bucket) -> Value {
    line("bucket", bucket, &[])
}

fn file_line(file: &FileRow) -> Value {
    line("file", &file.attributes, &["larder", "created_by_key"])
}

fn tombstone_line(tombstone: &Tombstone) -> Value {
    line("tombstone", tombstone, &["larder", "created_by_key"])
}

fn user_line(user: &User) -> Value {
    let mut line = line("user", user, &["password_hash", "created_by_key"]);
    line["password_sha256"] = json!(user.password_hash.as_ref().map(|hash| Sha256::of(hash.as_bytes())));
    line
}

/// A record as a line of `kind`, without some of its fields.
fn line(kind: &str, record: &impl Serialize, without: &[&str]) -> Value {
    let mut value = serde_json::to_value(record).expect("a record holds only what JSON has");
    let fields = value.as_object_mut().expect("a record is an object");
    fields.retain(|name, _| !without.contains(&name.as_str()));
    fields.insert("kind".into(), kind.into());
    value
}

fn write(out: Out<'_>, line: Value) -> Result<()> {
    let text = String::from_utf8(canonical(&line)).expect("JSON is UTF-8");
    out(&text).map_err(Error::internal)
}
