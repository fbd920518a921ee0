//! Uploads: bytes go from the connection through a channel of a few blocks into a store, hashed there as they pass. A field that
//! comes behind the file is waited for while the content lies durable but is no file's yet.

use crate::{
    callers::Upload,
    conditions::{self, Validators, Wants},
    deadline::Incoming,
    digest,
    multipart::{Multipart, Part},
    names, openapi,
    problem::{Code, LARDER_FILE, Problem},
    record::Record,
    renditions,
    request::{Answer, Ask, Query, essence},
    server::Api,
};
use actix_web::{
    HttpResponse,
    http::{
        StatusCode,
        header::{self, HeaderName},
    },
    web::Data,
};
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream};
use larder_files::{
    Body, ByteStream, Caller, CopyTo, Created, File, IdempotencyKey, NewFile, OnConflict, Receive, Sha256, UserName,
};
use serde_json::{Map, Value};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

const CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");
const REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");
pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// `POST /buckets/{bucket}/files`: a form with one file, or the raw content with `?name=`.
#[utoipa::path(post, path = "/api/v1/buckets/{bucket}/files", operation_id = "upload", tag = "files",
    params(
        ("bucket" = String, Path, description = "The bucket"),
        ("name" = Option<String>, Query, max_length = 1024, description = "Name; where the body is the content itself"),
        ("owner" = Option<String>, Query, description = "Admins: whose it will be"),
        ("sha256" = Option<String>, Query, pattern = "^[0-9a-fA-F]{64}$", description = "SHA-256 of the content in hexadecimal: 422 where it differs"),
        ("on_conflict" = Option<String>, Query, pattern = "^(keep_both|replace|fail)$", description = "What becomes of a name that a live file of the owner has: `keep_both`, `replace` (a new revision of the newest) or `fail`"),
        ("Content-Digest" = Option<String>, Header, description = "RFC 9530, `sha-256=:…:`; `Repr-Digest` likewise"),
        openapi::Repeatable,
    ),
    request_body(description = "A form with one part `file`, or the content itself", content(
        (openapi::Form = "multipart/form-data"), (openapi::Binary = "application/octet-stream"))),
    responses((status = 200, description = "The file that was replaced", body = Record), (status = 201, description = "The new file", body = Record,
        headers(("Location" = String, description = "The record"), ("ETag" = String, description = "Of the record")))))]
pub(crate) async fn create(ask: Ask) -> Answer {
    let caller = ask.caller().await?;
    let query = ask.query(&["name", "owner", "sha256", "on_conflict"])?;
    on_conflict(&query)?;
    let slot = begin(&ask, &caller)?;
    let content_type = ask.header(header::CONTENT_TYPE)?.unwrap_or_default();
    let created = if essence(content_type) == "multipart/form-data" {
        form(&ask, caller.clone(), &query, content_type, slot).await?
    } else {
        raw(&ask, caller.clone(), &query, slot).await?
    };
    Ok(made(&ask, &caller, &created))
}

/// `PUT /buckets/{bucket}/names/{name}`: the raw content of a new file, or of a new revision of the newest that has the name.
#[utoipa::path(put, path = "/api/v1/buckets/{bucket}/names/{name}", operation_id = "put_by_name", tag = "files",
    params(openapi::ByName, openapi::NameOf,
        ("sha256" = Option<String>, Query, pattern = "^[0-9a-fA-F]{64}$", description = "SHA-256 of the content in hexadecimal: 422 where it differs"),
        ("If-Match" = Option<String>, Header, description = "The content's ETag: 412 where it is another by now, or there is none"),
        ("If-None-Match" = Option<String>, Header, description = "`*`: 412 where there is one")),
    request_body(description = "The content", content((openapi::Binary = "application/octet-stream"))),
    responses(
        (status = 200, description = "The file, with a new revision", body = Record, headers(("Larder-File" = String, description = "Its id"))),
        (status = 201, description = "The new file", body = Record,
            headers(("Location" = String, description = "The record"), ("Larder-File" = String, description = "Its id")))))]
pub(crate) async fn put_named(ask: Ask) -> Answer {
    let caller = ask.caller().await?;
    let query = ask.query(&["owner", "sha256"])?;
    let (name, sha256) = (ask.name()?, raw_digest(&ask, &query)?);
    let declared_type = ask.header(header::CONTENT_TYPE)?.map(essence);
    refuse_form(declared_type.as_deref())?;
    let receive = receive(&ask, &query, &name)?;
    let there = names::newest(&ask, &caller, query.owned("owner"), name.clone()).await?;
    let known = there.as_ref().map(|file| file.attributes.id);
    let put = async {
        let wants = Wants::of(&ask);
        let judged = conditions::puts(&wants, there.as_ref().map(|file| &file.attributes));
        let must_be_new = matches!(judged, Ok((OnConflict::Fail, _)));
        // With a key it may be a repeat of the request that made the condition false.
        let judged = if receive.idempotency.is_some() { judged } else { Ok(judged?) };
        let slot = begin(&ask, &caller)?;
        let max = ask.api.files.bucket(&receive.bucket)?.policy.max_bytes;
        let new = NewFile { name, declared_type, sha256, ..NewFile::default() };
        let (api, by) = (ask.api.clone(), caller.clone());
        let made: Result<Created, Problem> = transfer(&ask, max, slot, move |body| async move {
            let received = api.files.receive(&by, receive, body).await?;
            let (on_conflict, if_match) = match judged {
                Err(_) if received.is_repeat() => <_>::default(),
                judged => judged?,
            };
            let new = NewFile { on_conflict, if_match, ..new };
            Ok(api.files.create(&by, received, new).await?)
        })
        .await;
        // That there is none was the request's own condition.
        made.map_err(|problem| match problem.code() {
            Code::Conflict if must_be_new && problem.tells(LARDER_FILE) => problem.into_condition(),
            _ => problem,
        })
    };
    match (put.await, known) {
        (Ok(created), _) => names::told(Ok(made(&ask, &caller, &created)), created.file.attributes.id),
        (Err(problem), Some(id)) if !problem.tells(LARDER_FILE) => names::told(Err(problem), id),
        (Err(problem), _) => Err(problem),
    }
}

/// `PUT /files/{id}/content`: the raw content of a new revision.
#[utoipa::path(put, path = "/api/v1/files/{id}/content", operation_id = "replace_content", tag = "files",
    params(("id" = String, Path, format = "uuid", description = "The file"),
        ("sha256" = Option<String>, Query, pattern = "^[0-9a-fA-F]{64}$", description = "SHA-256 of the content in hexadecimal: 422 where it differs"),
        ("If-Match" = Option<String>, Header, description = "The content's ETag: 412 where it is another by now")),
    request_body(description = "The content of a new revision", content((openapi::Binary = "application/octet-stream"))),
    responses((status = 200, description = "The file", body = Record)))]
pub(crate) async fn replace(ask: Ask) -> Answer {
    let caller = ask.caller().await?;
    let id = ask.file_id()?;
    let query = ask.query(&["sha256"])?;
    let announced = raw_digest(&ask, &query)?;
    refuse_form(ask.header(header::CONTENT_TYPE)?.map(essence).as_deref())?;
    let slot = begin(&ask, &caller)?;
    let wants = Wants::of(&ask);
    let file = {
        let (api, caller) = (ask.api.clone(), caller.clone());
        ask.api.run(async move { Ok(api.files.live(&caller, id).await?) }).await?
    };
    conditions::changes(&wants, &Validators::of(&file.attributes))?;
    let max = ask.api.files.bucket(file.attributes.bucket.as_str())?.policy.max_bytes;
    // Asked again under the file's claim: what was judged now may be replaced while the body comes.
    let if_match = wants.content_to_replace(&file.attributes);

    let (api, by) = (ask.api.clone(), caller.clone());
    let file: File = transfer(&ask, max, slot, move |body| async move {
        let received = api.files.receive_revision(&by, id, body).await?;
        Ok(api.files.replace(&by, id, received, announced, if_match).await?)
    })
    .await?;
    renditions::ahead(&ask.api, &caller, &file);
    let record = ask.api.record(&file, caller.role);
    Ok(HttpResponse::Ok().insert_header((header::ETAG, record.content_etag.clone())).json(record))
}

/// `POST /files/{id}/copy`: a new file of the caller's with the same content.
#[utoipa::path(post, path = "/api/v1/files/{id}/copy", operation_id = "copy", tag = "files",
    params(("id" = String, Path, format = "uuid", description = "The file"), openapi::Repeatable), request_body = openapi::CopyOf,
    responses((status = 201, description = "The new file, the caller's own", body = Record)))]
pub(crate) async fn copy(ask: Ask) -> Answer {
    let caller = ask.caller().await?;
    let query = ask.query(&[])?;
    let id = ask.file_id()?;
    let mut fields = ask.fields(&["bucket", "name"]).await?;
    let mut text = |field: &'static str| match fields.take(field) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Problem::invalid(field, "a text is expected")),
    };
    let (bucket, name) = (text("bucket")?, text("name")?);
    fields.finish()?;
    let key = ask.header(IDEMPOTENCY_KEY)?;
    let idempotency =
        key.map(|key| idempotency(&ask, &query, key, &[bucket.as_deref(), name.as_deref()])).transpose()?;
    let slot = begin(&ask, &caller)?;
    let (api, by, to) = (ask.api.clone(), caller.clone(), CopyTo { bucket, name, idempotency });
    let task = ask.api.spawn(async move {
        let _slot = slot;
        Ok(api.files.copy(&by, id, to).await?)
    });
    Ok(made(&ask, &caller, &joined(task).await?))
}

/// The answer to a request that made a file, or did so before.
pub(crate) fn made(ask: &Ask, caller: &Caller, created: &Created) -> HttpResponse {
    let first = if created.replaced { StatusCode::OK } else { StatusCode::CREATED };
    let status = created.repeated.and_then(|status| StatusCode::from_u16(status).ok()).unwrap_or(first);
    if created.repeated.is_none() {
        renditions::ahead(&ask.api, caller, &created.file);
    }
    let record = ask.api.record(&created.file, caller.role);
    let location = (header::LOCATION, format!("/api/v1/files/{}", record.id));
    HttpResponse::build(status).insert_header(location).insert_header((header::ETAG, record.etag.clone())).json(record)
}

/// What is to become of a file whose name is taken.
fn on_conflict(query: &Query) -> Result<OnConflict, Problem> {
    match query.get("on_conflict") {
        None | Some("keep_both") => Ok(OnConflict::KeepBoth),
        Some("replace") => Ok(OnConflict::Replace),
        Some("fail") => Ok(OnConflict::Fail),
        Some(_) => Err(Problem::invalid("on_conflict", "`keep_both`, `replace` or `fail` is expected")),
    }
}

fn refuse_form(content_type: Option<&str>) -> Result<(), Problem> {
    match content_type {
        Some(form) if form.starts_with("multipart/") => {
            Err(Problem::new(Code::UnsupportedType, "new content is sent raw, not as a form"))
        }
        _ => Ok(()),
    }
}

/// Takes one of the caller's places for uploads, and refuses codings that would be stored as they are.
pub(crate) fn begin(ask: &Ask, caller: &Caller) -> Result<Upload, Problem> {
    ask.refuse_coding()?;
    let max = ask.api.limits.uploads_per_user;
    let many =
        || Problem::new(Code::TooManyRequests, format!("{max} uploads of this user are under way")).retry_after(1);
    ask.api.in_flight.begin(caller.id.0, max).ok_or_else(many)
}

/// What the request says about the content before it comes.
fn receive(ask: &Ask, query: &Query, name_hint: &str) -> Result<Receive, Problem> {
    let owner = query.get("owner").map(UserName::new).transpose();
    let owner = owner.map_err(|error| Problem::invalid("owner", error.to_string()))?;
    let idempotency = ask.header(IDEMPOTENCY_KEY)?.map(|key| idempotency(ask, query, key, &[])).transpose()?;
    Ok(Receive { bucket: ask.bucket(), owner, name_hint: name_hint.to_owned(), idempotency })
}

/// `fields` are those of the body that the file itself does not tell of.
pub(crate) fn idempotency(
    ask: &Ask,
    query: &Query,
    key: &str,
    fields: &[Option<&str>],
) -> Result<IdempotencyKey, Problem> {
    if !(1..=128).contains(&key.len()) {
        return Err(Problem::invalid("Idempotency-Key", "1 to 128 characters are expected"));
    }
    let request = (ask.request.method().as_str(), ask.request.path(), query.sorted());
    let request = match fields {
        [] => serde_json::to_vec(&request),
        fields => serde_json::to_vec(&(request, fields)),
    };
    let request = request.expect("texts always serialise");
    Ok(IdempotencyKey { key: key.to_owned(), request: Sha256::of(&request) })
}

/// The digest that a raw body must have.
fn raw_digest(ask: &Ask, query: &Query) -> Result<Option<Sha256>, Problem> {
    let header = |name: HeaderName| {
        let value = ask.list(name.clone());
        value.map_or(Ok(None), |value| digest::dictionary(name.as_str(), &value))
    };
    let asked = query.get("sha256").map(digest::hexadecimal).transpose()?;
    digest::agreed([asked, header(CONTENT_DIGEST)?, header(REPR_DIGEST)?])
}

async fn raw(ask: &Ask, caller: Caller, query: &Query, slot: Upload) -> Result<Created, Problem> {
    let name = query.owned("name").ok_or_else(|| Problem::invalid("name", "is missing: a raw body needs `?name=`"))?;
    let receive = receive(ask, query, &name)?;
    let declared_type = ask.header(header::CONTENT_TYPE)?.map(essence);
    let on_conflict = on_conflict(query)?;
    let new = NewFile { name, declared_type, sha256: raw_digest(ask, query)?, on_conflict, ..NewFile::default() };
    let max = ask.api.files.bucket(&receive.bucket)?.policy.max_bytes;
    check_name_free(ask, &caller, &receive, on_conflict).await?;
    let api = ask.api.clone();
    transfer(ask, max, slot, move |body| async move {
        let received = api.files.receive(&caller, receive, body).await?;
        Ok(api.files.create(&caller, received, new).await?)
    })
    .await
}

/// Refuses a name that is taken before its content is sent, where that can be told already.
pub(crate) async fn check_name_free(
    ask: &Ask,
    caller: &Caller,
    receive: &Receive,
    choice: OnConflict,
) -> Result<(), Problem> {
    if ask.header(IDEMPOTENCY_KEY)?.is_some() {
        // It may be a repeat of the request that took the name.
        return Ok(());
    }
    let (api, by, receive) = (ask.api.clone(), caller.clone(), receive.clone());
    ask.api.run(async move { Ok(api.files.check_name_free(&by, &receive, choice).await?) }).await
}

/// Carries a raw body into `work`, which runs beside `Files`: in one piece if it is small, else block by block.
pub(crate) async fn transfer<T, W, F>(ask: &Ask, max: u64, slot: Upload, work: W) -> Result<T, Problem>
where
    T: Send + 'static,
    W: FnOnce(Body) -> F,
    F: Future<Output = Result<T, Problem>> + Send + 'static,
{
    let size = announced_size(ask)?;
    if size.is_some_and(|size| size > max) {
        return Err(Problem::too_large(max));
    }
    let limits = &ask.api.limits;
    if let Some(size) = size.filter(|size| *size <= limits.small_body_bytes as u64) {
        let bytes = ask.body.collect(size as usize).await?;
        let work = work(Body::from(bytes));
        return ask
            .api
            .run(async move {
                let _slot = slot;
                work.await
            })
            .await;
    }
    let (pipe, stream) = pipe();
    let work = work(Body::once(stream, size));
    let task = ask.api.spawn(async move {
        let _slot = slot;
        work.await
    });
    let mut source = ask.body.clone();
    match flow(&mut source, pipe, &ask.api, max).await {
        Ok(_) => joined(task).await,
        Err(problem) => {
            // Nothing is left of it when the answer is out.
            let _ = task.await;
            Err(problem)
        }
    }
}

/// `Content-Length`; no body at all is an empty one.
fn announced_size(ask: &Ask) -> Result<Option<u64>, Problem> {
    if ask.request.headers().contains_key(header::TRANSFER_ENCODING) {
        return Ok(None);
    }
    let length = ask.header(header::CONTENT_LENGTH)?.map_or(Ok(0), str::parse);
    length.map(Some).map_err(|_| Problem::malformed("`Content-Length` is no number"))
}

/// Where blocks come from.
trait Source {
    async fn next(&mut self) -> Result<Option<Bytes>, Problem>;
}

impl Source for Incoming {
    async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        Incoming::next(self).await
    }
}

impl Source for Multipart {
    async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        self.block().await
    }
}

enum Block {
    Bytes(Bytes),
    End,
}

/// The worker's end of a body. Dropped before [`Block::End`] it makes the body break off, so that nothing is stored.
type Pipe = mpsc::Sender<Block>;

fn pipe() -> (Pipe, ByteStream) {
    let (pipe, blocks) = mpsc::channel(1);
    let stream = stream::try_unfold(blocks, |mut blocks: mpsc::Receiver<Block>| async move {
        match blocks.recv().await {
            Some(Block::Bytes(bytes)) => Ok(Some((bytes, blocks))),
            Some(Block::End) => Ok(None),
            None => Err("the request broke off".into()),
        }
    });
    (pipe, stream.boxed())
}

/// Gathers what arrives into blocks and sends them on, `max` bytes at most. Answers `false` where nobody takes them any more: the
/// task at the other end knows why.
async fn flow(source: &mut impl Source, pipe: Pipe, api: &Api, max: u64) -> Result<bool, Problem> {
    let bodies = api.incoming.begin();
    let block_bytes = || api.limits.block_bytes.clamp(1, api.limits.share(bodies.under_way()));
    let (mut block, mut total) = (BytesMut::with_capacity(block_bytes()), 0);
    while let Some(bytes) = source.next().await? {
        total += bytes.len() as u64;
        if total > max {
            return Err(Problem::too_large(max));
        }
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(block.capacity() - block.len()));
            block.extend_from_slice(now);
            rest = later;
            if block.len() == block.capacity() {
                let full = std::mem::replace(&mut block, BytesMut::with_capacity(block_bytes()));
                if pipe.send(Block::Bytes(full.freeze())).await.is_err() {
                    return Ok(false);
                }
            }
        }
    }
    let sent = block.is_empty() || pipe.send(Block::Bytes(block.freeze())).await.is_ok();
    Ok(sent && pipe.send(Block::End).await.is_ok())
}

pub(crate) async fn joined<T>(task: JoinHandle<Result<T, Problem>>) -> Result<T, Problem> {
    task.await.unwrap_or_else(|error| Err(larder_files::Error::internal(error).into()))
}

/// Stores a form's file. A second file, or a missing one, stores nothing: what was received is dropped before it became a file.
async fn form(ask: &Ask, caller: Caller, query: &Query, content_type: &str, slot: Upload) -> Result<Created, Problem> {
    let mut content = None;
    let read = read_form(ask, &caller, query, content_type, slot, &mut content).await;
    match (read, content) {
        (Ok(new), Some(content)) => content.commit(ask, caller, new).await,
        (Ok(_), None) => Err(Problem::invalid("file", "is missing: a form brings one file")),
        (Err(problem), content) => Err(match content {
            Some(content) => content.abandon(problem).await,
            None => problem,
        }),
    }
}

/// Reads a form to its end, putting the file into `content`.
async fn read_form(
    ask: &Ask,
    caller: &Caller,
    query: &Query,
    content_type: &str,
    slot: Upload,
    content: &mut Option<Content>,
) -> Result<NewFile, Problem> {
    if query.get("name").is_some() {
        return Err(Problem::invalid("name", "of a form it is a field, not a query parameter"));
    }
    let asked = query.get("sha256").map(digest::hexadecimal).transpose()?;
    let max = ask.api.files.bucket(&ask.bucket())?.policy.max_bytes;
    let mut form = Multipart::new(content_type, ask.body.clone(), ask.api.limits.fields_bytes_max)?;
    let (mut details, mut slot) = (Details { sha256: asked, ..Details::default() }, Some(slot));
    while let Some(part) = form.next().await? {
        match part.name.as_str() {
            "file" => {
                let twice = || Problem::invalid("file", "is given twice; a form brings one file");
                let slot = slot.take().ok_or_else(twice)?;
                details.file(&part)?;
                let receive = receive(ask, query, details.name_hint())?;
                take_file(ask, caller, &mut form, (receive, max, slot), content).await?;
            }
            "name" | "tags" | "metadata" => details.field(&part.name, &form.text().await?)?,
            _ => {}
        }
    }
    let on_conflict = on_conflict(query)?;
    if slot.is_some() { Ok(NewFile::default()) } else { Ok(NewFile { on_conflict, ..details.finish()? }) }
}

/// Takes a form's file in: in one piece if the whole body is small, else block by block.
async fn take_file(
    ask: &Ask,
    caller: &Caller,
    form: &mut Multipart,
    (receive, max, slot): (Receive, u64, Upload),
    content: &mut Option<Content>,
) -> Result<(), Problem> {
    let limits = &ask.api.limits;
    if announced_size(ask)?.is_some_and(|size| size <= limits.small_body_bytes as u64) {
        *content = Some(Content::Whole { bytes: gather(form, max).await?, receive, slot });
        return Ok(());
    }
    let (pipe, flowing) = Flowing::begin(&ask.api, caller.clone(), receive, slot);
    *content = Some(Content::Flowing(flowing));
    if flow(form, pipe, &ask.api, max).await? { Ok(()) } else { Err(Problem::malformed("the file was refused")) }
}

async fn gather(form: &mut Multipart, max: u64) -> Result<Bytes, Problem> {
    let mut whole = BytesMut::new();
    while let Some(block) = form.block().await? {
        whole.extend_from_slice(&block);
        if whole.len() as u64 > max {
            return Err(Problem::too_large(max));
        }
    }
    Ok(whole.freeze())
}

/// A form's file.
enum Content {
    Whole { bytes: Bytes, receive: Receive, slot: Upload },
    Flowing(Flowing),
}

/// Content on its way into a store, to become a file when its fields are known.
struct Flowing {
    fields: oneshot::Sender<NewFile>,
    task: JoinHandle<Result<Created, Problem>>,
}

impl Flowing {
    fn begin(api: &Data<Api>, caller: Caller, receive: Receive, slot: Upload) -> (Pipe, Self) {
        let (pipe, stream) = pipe();
        let (fields, known) = oneshot::channel();
        let with = api.clone();
        let task = api.spawn(async move {
            let _slot = slot;
            let received = with.files.receive(&caller, receive, Body::once(stream, None)).await?;
            let new = known.await.map_err(|_| Problem::malformed("the form broke off"))?;
            Ok(with.files.create(&caller, received, new).await?)
        });
        (pipe, Self { fields, task })
    }
}

impl Content {
    /// Gives the content up. The store's own reason for refusing it comes before `problem`, and nothing is left when this returns.
    async fn abandon(self, problem: Problem) -> Problem {
        let Self::Flowing(Flowing { fields, task }) = self else { return problem };
        drop(fields);
        match joined(task).await {
            Err(reason) if reason.code() != Code::Malformed => reason,
            _ => problem,
        }
    }

    async fn commit(self, ask: &Ask, caller: Caller, new: NewFile) -> Result<Created, Problem> {
        match self {
            Self::Whole { bytes, receive, slot } => {
                let api = ask.api.clone();
                ask.api
                    .run(async move {
                        let _slot = slot;
                        let received = api.files.receive(&caller, receive, Body::from(bytes)).await?;
                        Ok(api.files.create(&caller, received, new).await?)
                    })
                    .await
            }
            Self::Flowing(Flowing { fields, task }) => {
                // Refused by nobody but a task that has failed, which then says why.
                let _ = fields.send(new);
                joined(task).await
            }
        }
    }
}

/// What a form's fields say.
#[derive(Default)]
struct Details {
    name: Option<String>,
    filename: Option<String>,
    tags: Option<Vec<String>>,
    metadata: Option<Map<String, Value>>,
    declared_type: Option<String>,
    sha256: Option<Sha256>,
}

impl Details {
    fn name_hint(&self) -> &str {
        self.name.as_deref().or(self.filename.as_deref()).unwrap_or_default()
    }

    fn file(&mut self, part: &Part) -> Result<(), Problem> {
        self.filename.clone_from(&part.filename);
        self.declared_type = part.content_type.as_deref().map(essence);
        let announced = part.digests.iter().map(|(name, value)| digest::dictionary(name, value));
        let announced = announced.collect::<Result<Vec<_>, _>>()?;
        self.sha256 = digest::agreed(announced.into_iter().chain([self.sha256]))?;
        Ok(())
    }

    fn field(&mut self, name: &str, text: &[u8]) -> Result<(), Problem> {
        let taken = match name {
            "name" => self.name.is_some(),
            "tags" => self.tags.is_some(),
            _ => self.metadata.is_some(),
        };
        if taken {
            return Err(Problem::invalid(name, "is given twice"));
        }
        match name {
            "name" => {
                let text = std::str::from_utf8(text).map_err(|_| Problem::invalid(name, "is not UTF-8"))?;
                self.name = Some(text.to_owned());
            }
            "tags" => self.tags = Some(json(name, text, "a JSON array of texts")?),
            _ => self.metadata = Some(json(name, text, "a JSON object")?),
        }
        Ok(())
    }

    fn finish(self) -> Result<NewFile, Problem> {
        let name = self.name.or(self.filename);
        let name =
            name.ok_or_else(|| Problem::invalid("name", "is missing: neither a field nor a file name is given"))?;
        Ok(NewFile {
            name,
            tags: self.tags.unwrap_or_default(),
            metadata: self.metadata.unwrap_or_default(),
            declared_type: self.declared_type,
            sha256: self.sha256,
            ..NewFile::default()
        })
    }
}

fn json<T: serde::de::DeserializeOwned>(name: &str, text: &[u8], expected: &str) -> Result<T, Problem> {
    serde_json::from_slice(text).map_err(|_| Problem::invalid(name, format!("{expected} is expected")))
}
