//! Direct transfers: URLs by which content goes straight between a client and a store. Where no store signs them they lead to this
//! server, at `/direct/…`, and look the same to whoever uses them.

use crate::{
    content, digest, openapi,
    problem::{Code, Problem},
    record::Record,
    request::{Answer, Ask, Fields},
    server::Api,
    token::{LINK_MAX, LinkTo},
    upload,
};
use actix_web::{
    HttpResponse,
    http::header::{self, HeaderValue},
};
use larder_files::{
    Caller, Direct, DirectId, Error, NewDirect, OnConflict, Sha256, Timestamp,
    ledger::{Announced, DirectUpload},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::{collections::BTreeMap, time::Duration};
use utoipa::ToSchema;

/// Bytes that a part takes in an answer.
const URL_BYTES: usize = 2 << 10;
/// So many times as many parts are sent at once of all uploads of a user as of one.
const UPLOADS_AT_ONCE: usize = 4;

/// A request that whoever holds it may send as it stands.
#[derive(Serialize, ToSchema)]
pub(crate) struct SignedRequest {
    /// `GET` or `PUT`.
    #[schema(value_type = String)]
    method: &'static str,
    /// Where it is sent: a secret until it ends.
    url: String,
    /// Headers that must be sent with it, besides those that every client sends by itself.
    headers: BTreeMap<String, String>,
    /// When it ends.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
}

/// A direct upload.
#[derive(Serialize, ToSchema)]
pub(crate) struct Opened {
    /// Its id.
    #[schema(value_type = String, format = "uuid")]
    id: DirectId,
    /// `PUT`.
    #[schema(value_type = String)]
    method: &'static str,
    /// Where the content is sent: a secret until it ends. Absent where it has several parts.
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    /// Headers that must be sent with it.
    headers: BTreeMap<String, String>,
    /// Where each part is sent, in any order, several at a time; absent where there is one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    parts: Vec<Part>,
    /// When its URLs end. It can be completed for 11 hours more.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
}

/// A part of a direct upload.
#[derive(Serialize, ToSchema)]
pub(crate) struct Part {
    /// Its number, from 1.
    number: u64,
    /// Where it begins in the content, in bytes.
    offset: u64,
    /// Its bytes: exactly so many must be sent.
    size: u64,
    /// Where it is sent: a secret until it ends.
    url: String,
    /// Headers that must be sent with it.
    headers: BTreeMap<String, String>,
}

/// `POST /buckets/{bucket}/uploads`: begins an upload whose content goes past this server.
#[utoipa::path(post, path = "/api/v1/buckets/{bucket}/uploads", operation_id = "open_upload", tag = "files",
    params(("bucket" = String, Path, description = "The bucket")), request_body = openapi::NewUpload,
    responses((status = 201, description = "Where its content is to be sent; then complete it", body = Opened)))]
pub(crate) async fn open(ask: Ask) -> Answer {
    let caller = ask.caller().await?;
    ask.query(&[])?;
    let mut fields = ask.fields(NEW).await?;
    let file = Announced {
        bucket: ask.bucket(),
        name: required(&mut fields, "name", "a text is expected")?,
        tags: taken(&mut fields, "tags", "an array of texts is expected")?.unwrap_or_default(),
        metadata: taken(&mut fields, "metadata", "an object is expected")?.unwrap_or_default(),
        sha256: sha256(&mut fields)?,
        content_type: content_type(&mut fields)?,
        on_conflict: on_conflict(&mut fields)?,
    };
    let new = NewDirect {
        file,
        size: required(&mut fields, "size", "a number of bytes is expected")?,
        part_bytes: taken(&mut fields, "part_bytes", "a number of bytes is expected")?,
        lifetime: lifetime(&mut fields)?.unwrap_or_else(|| ask.api.limits.signed_url.min(NewDirect::LIFETIME_MAX)),
        past_server: taken(&mut fields, "direct", "`true` or `false` is expected")?.unwrap_or(true),
    };
    fields.finish()?;
    let base = base(&ask.api, ask.header(header::HOST)?)?;
    let _slot = upload::begin(&ask, &caller)?;
    let (api, by) = (ask.api.clone(), caller.clone());
    let direct = ask.api.run(async move { Ok(api.files.open_direct(&by, new).await?) }).await?;
    let parts = usize::try_from(direct.upload.parts()).unwrap_or(usize::MAX);
    let room = content::room(&ask.api, parts.saturating_mul(URL_BYTES)).await?;
    let opened = opened(&ask, &caller, &base, direct)?;
    let mut head = HttpResponse::Created();
    head.insert_header((header::CACHE_CONTROL, "no-store"));
    Ok(content::send_json(&ask, head, &opened, room))
}

const NEW: &[&str] = &[
    "name",
    "size",
    "sha256",
    "content_type",
    "tags",
    "metadata",
    "on_conflict",
    "part_bytes",
    "expires_in",
    "direct",
];

/// `POST /uploads/{id}/complete`: makes a file of what was sent. A repeat answers as the first did.
#[utoipa::path(post, path = "/api/v1/uploads/{id}/complete", operation_id = "complete_upload", tag = "files",
    params(("id" = String, Path, format = "uuid", description = "The upload, the caller's own")), request_body = Option<openapi::ToComplete>,
    responses((status = 200, description = "The file that was replaced", body = Record), (status = 201, description = "The new file", body = Record,
        headers(("Location" = String, description = "The record"), ("ETag" = String, description = "Of the record")))))]
pub(crate) async fn complete(ask: Ask) -> Answer {
    let caller = ask.caller().await?;
    ask.query(&[])?;
    let sha256 = match sent(&ask, &["sha256"]).await? {
        Some(mut fields) => {
            let told = sha256(&mut fields)?;
            fields.finish()?;
            told
        }
        None => None,
    };
    let (id, slot) = (upload_id(&ask)?, upload::begin(&ask, &caller)?);
    let (api, by) = (ask.api.clone(), caller.clone());
    let task = ask.api.spawn(async move {
        let _slot = slot;
        Ok(api.files.complete_direct(&by, id, sha256).await?)
    });
    Ok(upload::made(&ask, &caller, &upload::joined(task).await?))
}

/// `DELETE /uploads/{id}`: ends an upload. What was sent for it goes; a file that it was completed to stays.
#[utoipa::path(delete, path = "/api/v1/uploads/{id}", operation_id = "end_upload", tag = "files",
    params(("id" = String, Path, format = "uuid", description = "The upload")),
    responses((status = 204, description = "It is no more")))]
pub(crate) async fn end(ask: Ask) -> Answer {
    let caller = ask.caller().await?;
    ask.query(&[])?;
    let (api, id) = (ask.api.clone(), upload_id(&ask)?);
    ask.api.run(async move { Ok(api.files.end_direct(&caller, id).await?) }).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// `POST /files/{id}/direct`: a URL by which whoever holds it reads the content, past this server.
#[utoipa::path(post, path = "/api/v1/files/{id}/direct", operation_id = "sign_content", tag = "files",
    params(("id" = String, Path, format = "uuid", description = "The file")), request_body = Option<openapi::ToSign>,
    responses((status = 200, description = "The request", body = SignedRequest)))]
pub(crate) async fn sign(ask: Ask) -> Answer {
    let caller = ask.caller().await?;
    ask.query(&[])?;
    let id = ask.file_id()?;
    let (mut revision, mut attachment, mut lasts) = (None, false, ask.api.limits.signed_url);
    if let Some(mut fields) = sent(&ask, &["disposition", "revision", "expires_in"]).await? {
        revision = taken::<u64>(&mut fields, "revision", "a number is expected")?;
        attachment = content::forced(fields.text_if_any("disposition")?.as_deref())?;
        lasts = lifetime(&mut fields)?.unwrap_or(lasts);
        fields.finish()?;
    }
    if !(Duration::from_secs(1)..=LINK_MAX).contains(&lasts) {
        return Err(Problem::invalid("expires_in", "1 to 604,800 seconds are expected"));
    }
    let (api, by, now) = (ask.api.clone(), caller.clone(), ask.api.files.environment().clock.now());
    let expires_at = now.plus(lasts);
    let signed = ask.api.run(async move {
        let file = api.files.live(&by, id).await?;
        let disposition = content::disposed(&api, &by, &file, revision, attachment).await?;
        let signed = api.files.sign_content(&by, &file, revision, disposition, lasts).await?;
        Ok((signed, revision.unwrap_or(file.attributes.revision)))
    });
    let (signed, revision) = signed.await?;
    let request = match signed {
        Some(signed) => {
            SignedRequest { method: signed.method, url: signed.url, headers: headers(signed.headers), expires_at }
        }
        None => {
            // As a store's own URL does, it leads to the content that was there then, whatever comes later.
            let to = LinkTo::Content { file: id, revision, attachment };
            let url = link(&ask, &caller, &base(&ask.api, ask.header(header::HOST)?)?, to, expires_at)?;
            SignedRequest { method: "GET", url, headers: BTreeMap::new(), expires_at }
        }
    };
    Ok(HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "no-store")).json(request))
}

/// `GET`, `HEAD /direct/{token}`: content, to whoever holds the URL.
#[utoipa::path(get, path = "/direct/{token}", operation_id = "content_by_url", tag = "files", security(()),
    params(("token" = String, Path, description = "As it was signed"), openapi::HowMuch), responses(openapi::Content))]
pub(crate) async fn get(ask: Ask) -> Answer {
    ask.query(&[])?;
    let (caller, to) = holder(&ask).await?;
    let LinkTo::Content { file, revision, attachment } = to else { return Err(Problem::not_found("link")) };
    content::serve_to(&ask, caller, file, Some(revision), attachment).await
}

/// `PUT /direct/{token}`: a part of a direct upload, from whoever holds the URL.
#[utoipa::path(put, path = "/direct/{token}", operation_id = "put_part", tag = "files", security(()),
    params(("token" = String, Path, description = "As it was signed")),
    request_body(description = "The part", content((openapi::Binary = "application/octet-stream"))),
    responses((status = 200, description = "It was taken in")))]
pub(crate) async fn put(ask: Ask) -> Answer {
    ask.query(&[])?;
    let (caller, to) = holder(&ask).await?;
    let LinkTo::Part { upload: id, number } = to else { return Err(Problem::not_found("link")) };
    let api = ask.api.clone();
    let size = ask.api.run(async move { Ok(api.files.part_size(id, number).await?) }).await?;
    // Whoever has the URL of one upload takes no place from the others of its maker.
    ask.refuse_coding()?;
    let most = ask.api.limits.uploads_per_user;
    let begin = |of, most| {
        let many = || Problem::new(Code::TooManyRequests, format!("{most} parts are being sent")).retry_after(1);
        ask.api.sending.begin(of, most).ok_or_else(many)
    };
    let slot = begin(id.0, most)?;
    let _of_all = begin(caller.id.0, most.saturating_mul(UPLOADS_AT_ONCE))?;
    let api = ask.api.clone();
    upload::transfer(&ask, size, slot, move |body| async move { Ok(api.files.put_part(id, number, body).await?) })
        .await?;
    Ok(HttpResponse::Ok().finish())
}

/// Whose right a URL of this server is by, and what it leads to.
async fn holder(ask: &Ask) -> Result<(Caller, LinkTo), Problem> {
    let now = ask.api.files.environment().clock.now();
    let token = ask.request.match_info().query("token");
    let (user, to, ends) = ask.api.tokens.read_link(token, now).ok_or_else(|| Problem::not_found("link"))?;
    if ends <= now {
        return Err(Problem::new(Code::Gone, "the link has ended"));
    }
    let api = ask.api.clone();
    let found = ask.api.run(async move { Ok(api.files.present_user(user).await?) }).await;
    match found {
        Ok(user) => {
            ask.asked_by(user.id);
            Ok((Caller { id: user.id, name: user.name, role: user.role }, to))
        }
        Err(problem) if problem.code() == Code::NotFound => Err(Problem::not_found("link")),
        Err(problem) => Err(problem),
    }
}

fn opened(ask: &Ask, caller: &Caller, base: &str, direct: Direct) -> Result<Opened, Problem> {
    let Direct { upload, requests } = direct;
    let mut signed = requests.into_iter();
    let mut parts = vec![];
    for number in 1..=upload.parts() {
        parts.push(match signed.next() {
            Some(request) => part(&upload, number, request.url, headers(request.headers)),
            None => {
                let to = LinkTo::Part { upload: upload.id, number };
                part(&upload, number, link(ask, caller, base, to, upload.expires_at)?, BTreeMap::new())
            }
        });
    }
    let (id, method, expires_at) = (upload.id, "PUT", upload.expires_at);
    match <[Part; 1]>::try_from(parts) {
        Ok([part]) => Ok(Opened { id, method, url: Some(part.url), headers: part.headers, parts: vec![], expires_at }),
        Err(parts) => Ok(Opened { id, method, url: None, headers: BTreeMap::new(), parts, expires_at }),
    }
}

fn part(upload: &DirectUpload, number: u64, url: String, headers: BTreeMap<String, String>) -> Part {
    let (offset, size) = (upload.part_bytes * (number - 1), upload.part_size(number).unwrap_or_default());
    Part { number, offset, size, url, headers }
}

/// What a client does not send by itself.
fn headers(signed: Vec<(String, String)>) -> BTreeMap<String, String> {
    signed.into_iter().filter(|(name, _)| name != "content-length" && name != "host").collect()
}

/// A URL of this server.
fn link(ask: &Ask, caller: &Caller, base: &str, to: LinkTo, ends: Timestamp) -> Result<String, Problem> {
    let now = ask.api.files.environment().clock.now();
    let token = ask.api.tokens.link(caller.id, to, now, ends)?;
    Ok(format!("{base}/direct/{token}"))
}

/// Where clients reach this server: as it was configured, or else as this one does.
pub(crate) fn base(api: &Api, host: Option<&str>) -> Result<String, Problem> {
    match (&api.public_url, host) {
        (Some(url), _) => Ok(url.trim_end_matches('/').to_owned()),
        (None, Some(host)) if HeaderValue::from_str(host).is_ok() => Ok(format!("http://{host}")),
        (None, _) => Err(Problem::malformed("a `Host` is expected: links to this server begin with it")),
    }
}

/// The fields of a JSON body, where there is one.
async fn sent(ask: &Ask, known: &[&'static str]) -> Result<Option<Fields>, Problem> {
    let headers = ask.request.headers();
    let is_empty = ask.header(header::CONTENT_LENGTH)?.is_none_or(|length| length == "0");
    match is_empty && !headers.contains_key(header::CONTENT_TYPE) && !headers.contains_key(header::TRANSFER_ENCODING) {
        true => Ok(None),
        // What does not say that it is JSON is refused, not left aside.
        false => ask.fields(known).await.map(Some),
    }
}

fn upload_id(ask: &Ask) -> Result<DirectId, Problem> {
    DirectId::parse(ask.request.match_info().query("id")).ok_or_else(|| Error::NotFound("upload").into())
}

pub(crate) fn taken<T: DeserializeOwned>(
    fields: &mut Fields,
    name: &'static str,
    expected: &str,
) -> Result<Option<T>, Problem> {
    let value = fields.take(name);
    value.map(|value| serde_json::from_value(value).map_err(|_| Problem::invalid(name, expected))).transpose()
}

pub(crate) fn required<T: DeserializeOwned>(
    fields: &mut Fields,
    name: &'static str,
    expected: &str,
) -> Result<T, Problem> {
    taken(fields, name, expected)?.ok_or_else(|| Problem::invalid(name, "is missing"))
}

fn sha256(fields: &mut Fields) -> Result<Option<Sha256>, Problem> {
    fields.text_if_any("sha256")?.as_deref().map(digest::hexadecimal).transpose()
}

fn content_type(fields: &mut Fields) -> Result<Option<String>, Problem> {
    let Some(text) = fields.text_if_any("content_type")? else { return Ok(None) };
    let is_one = text.len() <= 127 && text.contains('/') && text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    if is_one { Ok(Some(text)) } else { Err(Problem::invalid("content_type", "a media type is expected")) }
}

pub(crate) fn on_conflict(fields: &mut Fields) -> Result<OnConflict, Problem> {
    let chosen = fields.take("on_conflict").filter(|value| *value != Value::Null);
    let words = "`keep_both`, `replace` or `fail` is expected";
    let chosen = chosen.map(|value| serde_json::from_value(value).map_err(|_| Problem::invalid("on_conflict", words)));
    Ok(chosen.transpose()?.unwrap_or_default())
}

/// How long URLs are to work.
fn lifetime(fields: &mut Fields) -> Result<Option<Duration>, Problem> {
    let seconds = taken(fields, "expires_in", "a number of seconds is expected")?;
    Ok(seconds.map(Duration::from_secs))
}
