//! Lists and records of files: describe, list, revisions, change, trash, restore, purge.

use crate::{
    callers::Upload,
    conditions, content, cursor, openapi,
    problem::{Code, Problem},
    record::{Record, Revision},
    request::{Answer, Ask, Query},
};
use actix_web::{HttpResponse, http::header};
use larder_files::{Caller, Error, File, ListFiles, Patch, Role, Sort, Timestamp, UserName};
use larder_renditions::Presets;
use serde::Serialize;
use serde_json::Value;
use tokio::task::AbortHandle;
use utoipa::ToSchema;

/// A page of a list.
#[derive(Serialize, ToSchema)]
#[schema(as = Page)]
pub(crate) struct Items<T> {
    /// What is on this page.
    pub(crate) items: Vec<T>,
    /// Names that go on behind the delimiter; where one was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) prefixes: Option<Vec<String>>,
    /// The next request's `cursor`; null on the last page.
    pub(crate) next_cursor: Option<String>,
}

impl<T: Serialize> Items<T> {
    /// A list of one page.
    pub(crate) fn all(items: Vec<T>) -> HttpResponse {
        HttpResponse::Ok().json(Self { items, prefixes: None, next_cursor: None })
    }
}

/// What a record takes at most, about: attributes of 4,096 bytes.
const RECORD_BYTES: usize = (5 << 10) + Presets::MAX * PRESET_BYTES;
/// What a preset takes in a record: its name twice, and an id.
const PRESET_BYTES: usize = 160;

/// What a revision takes, about.
const REVISION_BYTES: usize = 1 << 10;

const FILTERS: [&str; 14] = [
    "bucket",
    "owner",
    "name",
    "prefix",
    "q",
    "tag",
    "type",
    "created_after",
    "created_before",
    "deleted",
    "delimiter",
    "sort",
    "limit",
    "cursor",
];

/// `GET /files`.
#[utoipa::path(get, path = "/api/v1/files", operation_id = "list_files", tag = "files",
    params(
        ("bucket" = Option<String>, Query, description = "Only of this bucket"),
        ("owner" = Option<String>, Query, description = "Only of this owner"),
        ("name" = Option<String>, Query, description = "Only of exactly this name"),
        ("prefix" = Option<String>, Query, description = "Only names that begin so"),
        ("q" = Option<String>, Query, description = "Only names that hold this, without regard to case"),
        ("tag" = Option<String>, Query, description = "Only with this tag"),
        ("type" = Option<String>, Query, description = "Only of exactly this content type"),
        ("created_after" = Option<String>, Query, format = DateTime, description = "Exclusive"),
        ("created_before" = Option<String>, Query, format = DateTime, description = "Exclusive"),
        ("deleted" = Option<bool>, Query, description = "`true` lists the trash alone"),
        ("delimiter" = Option<String>, Query, pattern = "^/$", description = "`/`: names as folders, in `prefixes`"),
        ("sort" = Option<String>, Query, pattern = "^-?(created_at|name|size)$", description = "`created_at`, `name` or `size`; a `-` before it for descending"),
        openapi::PageOf,
    ),
    responses((status = 200, description = "A page", body = Items<Record>)))]
pub(crate) async fn list(ask: Ask) -> Answer {
    let caller = ask.caller().await?;
    let wanted = filters(&ask.query(&FILTERS)?)?;
    let _turn = turn(&ask, &caller)?;
    let room = content::room(&ask.api, wanted.limit * RECORD_BYTES).await?;
    let (api, by, folders) = (ask.api.clone(), caller.clone(), wanted.folders);
    let page = abandoned_with(&ask, async move { Ok(api.files.list(&by, wanted).await?) }).await?;
    let items = page.items.iter().map(|file| ask.api.record(file, caller.role)).collect();
    let prefixes = folders.then_some(page.folders);
    let page = Items { items, prefixes, next_cursor: page.next.as_ref().map(cursor::text) };
    Ok(content::send_json(&ask, HttpResponse::Ok(), &page, room))
}

/// One more list of the caller's, until what this answers is dropped.
fn turn(ask: &Ask, caller: &Caller) -> Result<Upload, Problem> {
    let max = ask.api.limits.lists_per_user;
    let many = || Problem::new(Code::TooManyRequests, format!("{max} lists of yours are under way")).retry_after(1);
    ask.api.listing.begin(caller.id.0, max).ok_or_else(many)
}

/// Has a list made, and has it stopped where the client goes away before: unlike a change, nobody is owed its end.
async fn abandoned_with<T: Send + 'static>(
    ask: &Ask,
    work: impl Future<Output = Result<T, Problem>> + Send + 'static,
) -> Result<T, Problem> {
    struct Abort(AbortHandle);
    impl Drop for Abort {
        fn drop(&mut self) {
            self.0.abort();
        }
    }
    let task = ask.api.spawn(work);
    let _abort = Abort(task.abort_handle());
    task.await.unwrap_or_else(|error| Err(Error::internal(error).into()))
}

fn filters(query: &Query) -> Result<ListFiles, Problem> {
    let folders = match query.get("delimiter") {
        None => false,
        Some("/") => true,
        Some(_) => return Err(Problem::invalid("delimiter", "only `/` is one")),
    };
    let (sort, descending) = order(query.get("sort").unwrap_or(if folders { "name" } else { "created_at" }))?;
    Ok(ListFiles {
        bucket: query.owned("bucket"),
        owner: query.owned("owner"),
        name: query.owned("name"),
        prefix: query.owned("prefix"),
        q: query.owned("q"),
        tag: query.owned("tag"),
        content_type: query.owned("type"),
        created_after: time(query, "created_after", Timestamp::parse)?,
        // Files are made at whole milliseconds: before a part of one is before the next.
        created_before: time(query, "created_before", Timestamp::parse_up)?,
        deleted: query.flag("deleted")?,
        sort,
        descending,
        folders,
        after: query.get("cursor").map(|text| cursor::place(text).ok_or_else(no_cursor)).transpose()?,
        limit: limit(query)?,
    })
}

/// `name`, or `-name` for the other way round.
fn order(text: &str) -> Result<(Sort, bool), Problem> {
    let by = text.strip_prefix('-').unwrap_or(text);
    let sort = match by {
        "created_at" => Sort::Created,
        "name" => Sort::Name,
        "size" => Sort::Size,
        _ => return Err(Problem::invalid("sort", "is `created_at`, `name` or `size`, or one of these behind a `-`")),
    };
    Ok((sort, by != text))
}

fn time(
    query: &Query,
    name: &'static str,
    read: impl Fn(&str) -> Option<Timestamp>,
) -> Result<Option<Timestamp>, Problem> {
    let wrong = || Problem::invalid(name, "a time as in RFC 3339 is expected, such as 2026-11-21T15:30:45Z");
    query.get(name).map(|text| read(text).ok_or_else(wrong)).transpose()
}

/// `GET /files/{id}`: also of a file in the trash.
#[utoipa::path(get, path = "/api/v1/files/{id}", operation_id = "describe_file", tag = "files", params(("id" = String, Path, format = "uuid", description = "The file")),
    responses((status = 200, description = "The record; of a file in the trash too", body = Record)))]
pub(crate) async fn describe(ask: Ask) -> Answer {
    let caller = ask.caller().await?;
    ask.query(&[])?;
    let (api, by, id) = (ask.api.clone(), caller.clone(), ask.file_id()?);
    let file = ask.api.run(async move { Ok(api.files.describe(&by, id).await?) }).await?;
    Ok(shown(&ask, &caller, &file))
}

fn shown(ask: &Ask, caller: &Caller, file: &File) -> HttpResponse {
    let record = ask.api.record(file, caller.role);
    HttpResponse::Ok().insert_header((header::ETAG, record.etag.clone())).json(record)
}

/// `GET /files/{id}/revisions`: oldest first.
#[utoipa::path(get, path = "/api/v1/files/{id}/revisions", operation_id = "list_revisions", tag = "files",
    params(("id" = String, Path, format = "uuid", description = "The file"), openapi::PageOf),
    responses((status = 200, description = "A page, oldest first", body = Items<Revision>)))]
pub(crate) async fn revisions(ask: Ask) -> Answer {
    let caller = ask.caller().await?;
    let query = ask.query(&["limit", "cursor"])?;
    let limit = limit(&query)?;
    let after = query.get("cursor").map(revision_at).transpose()?.unwrap_or(0);
    let (api, by, id) = (ask.api.clone(), caller.clone(), ask.file_id()?);
    let one_more = limit + 1;
    let room = content::room(&ask.api, limit * REVISION_BYTES).await?;
    let mut rows = ask.api.run(async move { Ok(api.files.revisions_behind(&by, id, after, one_more).await?) }).await?;
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next_cursor =
        rows.last().filter(|_| more).map(|row| data_encoding::BASE64URL_NOPAD.encode(&row.revision.to_be_bytes()));
    let items = rows.into_iter().map(|row| Revision::new(row, &ask.api.files, caller.role)).collect();
    Ok(content::send_json(&ask, HttpResponse::Ok(), &Items { items, prefixes: None, next_cursor }, room))
}

fn revision_at(cursor: &str) -> Result<u64, Problem> {
    let bytes = data_encoding::BASE64URL_NOPAD.decode(cursor.as_bytes()).ok();
    let number = bytes.and_then(|bytes| bytes.try_into().ok()).map(u64::from_be_bytes);
    number.ok_or_else(no_cursor)
}

pub(crate) fn limit(query: &Query) -> Result<usize, Problem> {
    let limit = query.number("limit", 1, 1000)?.unwrap_or(100);
    Ok(usize::try_from(limit).expect("at most 1,000"))
}

pub(crate) fn no_cursor() -> Problem {
    Problem::invalid("cursor", "is none that this server gave")
}

/// `PATCH /files/{id}`: a merge patch of name, tags and metadata; for admins of owner and bucket.
#[utoipa::path(patch, path = "/api/v1/files/{id}", operation_id = "update_file", tag = "files", params(("id" = String, Path, format = "uuid", description = "The file"), openapi::IfVersion),
    request_body(content((openapi::RecordPatch = "application/merge-patch+json"), (openapi::RecordPatch = "application/json"))),
    responses((status = 200, description = "The record", body = Record)))]
pub(crate) async fn update(ask: Ask) -> Answer {
    let caller = ask.caller().await?;
    ask.query(&[])?;
    let (id, if_version) = (ask.file_id()?, if_version(&ask)?);
    let patch = patch(&ask, &caller).await?;
    let (api, by) = (ask.api.clone(), caller.clone());
    let file = ask.api.run(async move { Ok(api.files.update(&by, id, patch, if_version).await?) }).await?;
    Ok(shown(&ask, &caller, &file))
}

fn if_version(ask: &Ask) -> Result<Option<u64>, Problem> {
    conditions::version(ask.list(header::IF_MATCH).as_deref())
}

async fn patch(ask: &Ask, caller: &Caller) -> Result<Patch, Problem> {
    let mut fields = ask.fields(&["name", "tags", "metadata", "owner", "bucket", "focal"]).await?;
    let mut text = |field: &'static str| match fields.take(field) {
        Some(_) if field != "name" && caller.role == Role::User => {
            Err(Problem::new(Code::Forbidden, format!("only an admin changes `{field}`")))
        }
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Problem::invalid(field, "a text is expected")),
    };
    let (owner, bucket, name) = (text("owner")?, text("bucket")?, text("name")?);
    let owner = owner.map(UserName::new).transpose();
    let owner = owner.map_err(|error| Problem::invalid("owner", error.to_string()))?;
    let tags = fields.take("tags").map(tags).transpose()?;
    let metadata = fields.take("metadata");
    if metadata.as_ref().is_some_and(|value| !matches!(value, Value::Object(_) | Value::Null)) {
        return Err(Problem::invalid("metadata", "an object is expected, or null to empty it"));
    }
    let focal = fields.take("focal").map(focal).transpose()?;
    fields.finish()?;
    Ok(Patch { name, tags, metadata, owner, bucket, focal })
}

/// A picture's focal point; null removes it.
fn focal(value: Value) -> Result<Option<[f64; 2]>, Problem> {
    serde_json::from_value(value)
        .map_err(|_| Problem::invalid("focal", "[x, y] is expected, each from 0 to 1, or null"))
}

/// New tags; null removes all.
fn tags(value: Value) -> Result<Vec<String>, Problem> {
    match value {
        Value::Null => Ok(vec![]),
        value => serde_json::from_value(value).map_err(|_| Problem::invalid("tags", "an array of texts is expected")),
    }
}

/// `DELETE /files/{id}`: to the trash, or with `?purge=true` for ever.
#[utoipa::path(delete, path = "/api/v1/files/{id}", operation_id = "trash_file", tag = "files",
    params(("id" = String, Path, format = "uuid", description = "The file"),
        ("purge" = Option<bool>, Query, description = "`true`: for ever, instead of to the trash"), openapi::IfVersion),
    responses((status = 204, description = "Gone")))]
pub(crate) async fn remove(ask: Ask) -> Answer {
    let caller = ask.caller().await?;
    let purge = ask.query(&["purge"])?.flag("purge")?;
    let (id, if_version, api) = (ask.file_id()?, if_version(&ask)?, ask.api.clone());
    ask.api
        .run(async move {
            if purge {
                api.files.purge(&caller, id, if_version).await?;
            } else {
                api.files.remove(&caller, id, if_version).await?;
            }
            Ok(())
        })
        .await?;
    Ok(HttpResponse::NoContent().finish())
}

/// `DELETE /files/{id}/revisions/{revision}`: an old revision, for ever.
#[utoipa::path(delete, path = "/api/v1/files/{id}/revisions/{revision}", operation_id = "purge_revision", tag = "files",
    params(("id" = String, Path, format = "uuid", description = "The file"),
        ("revision" = u64, Path, minimum = 1, description = "Its number; the newest is 409"), openapi::IfVersion),
    responses((status = 204, description = "Gone for ever")))]
pub(crate) async fn remove_revision(ask: Ask) -> Answer {
    let caller = ask.caller().await?;
    ask.query(&[])?;
    let (id, revision, if_version, api) = (ask.file_id()?, ask.revision()?, if_version(&ask)?, ask.api.clone());
    ask.api.run(async move { Ok(api.files.purge_revision(&caller, id, revision, if_version).await?) }).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// `POST /files/{id}/restore`: out of the trash.
#[utoipa::path(post, path = "/api/v1/files/{id}/restore", operation_id = "restore_file", tag = "files", params(("id" = String, Path, format = "uuid", description = "The file"), openapi::IfVersion),
    responses((status = 200, description = "The record", body = Record)))]
pub(crate) async fn restore(ask: Ask) -> Answer {
    let caller = ask.caller().await?;
    ask.query(&[])?;
    let (id, if_version) = (ask.file_id()?, if_version(&ask)?);
    let (api, by) = (ask.api.clone(), caller.clone());
    let file = ask.api.run(async move { Ok(api.files.restore(&by, id, if_version).await?) }).await?;
    Ok(shown(&ask, &caller, &file))
}
