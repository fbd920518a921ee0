//! Content: what a GET or HEAD selects of a file, and the answer that carries it. Small content is read whole, and so checked,
//! before the head goes out; larger content is pulled block by block as the connection takes it.

use crate::{
    callers::Bodies,
    conditions::{self, Validators, Verdict, Wants},
    deadline::Reader,
    digest,
    disposition::disposition,
    openapi,
    problem::{Code, Problem, unsatisfied},
    range::{self, Selection},
    request::{Answer, Ask, Query},
    server::Api,
};
use actix_web::{
    HttpResponse, HttpResponseBuilder,
    body::{BodySize, MessageBody},
    http::{
        Method, StatusCode,
        header::{self, HeaderName},
    },
    web::Data,
};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use larder_files::{ByteRange, ByteStream, Caller, File, FileId, Sha256};
use serde::Serialize;
use std::{
    io,
    ops::Range,
    pin::Pin,
    task::{Context, Poll},
};
use tokio::sync::OwnedSemaphorePermit;

const REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");
/// Up to this many bytes are read before the answer begins.
pub(crate) const SMALL_BYTES: u64 = 1 << 20;
/// From so many on, small content needs room while it is held.
pub(crate) const HELD_BYTES_MIN: u64 = 64 << 10;

/// `GET`, `HEAD /files/{id}/content`.
#[utoipa::path(get, path = "/api/v1/files/{id}/content", operation_id = "content", tag = "files",
    params(("id" = String, Path, format = "uuid", description = "The file"),
        openapi::WhichContent, openapi::HowMuch),
    responses(openapi::Content))]
pub(crate) async fn get(ask: Ask) -> Answer {
    let caller = ask.caller().await?;
    let query = ask.query(&["disposition", "revision"])?;
    serve(&ask, caller, &query, ask.file_id()?).await
}

/// The content of a file.
pub(crate) async fn serve(ask: &Ask, caller: Caller, query: &Query, id: FileId) -> Answer {
    let attachment = forced(query.get("disposition"))?;
    serve_to(ask, caller, id, query.number("revision", 1, u64::MAX)?, attachment).await
}

/// The same of a revision, as an attachment where that is forced.
pub(crate) async fn serve_to(ask: &Ask, caller: Caller, id: FileId, revision: Option<u64>, attachment: bool) -> Answer {
    let request = Wanted {
        id,
        revision,
        head: ask.request.method() == Method::HEAD,
        wants: Wants::of(ask),
        range: ask.list(header::RANGE),
    };
    let api = ask.api.clone();
    let found = ask.api.run(async move { find(api, caller, request).await }).await?;
    Ok(answer(ask, found, attachment))
}

/// Whether `?disposition=` forces an attachment; `inline` is a wish that the type must allow.
pub(crate) fn forced(disposition: Option<&str>) -> Result<bool, Problem> {
    match disposition {
        None | Some("inline") => Ok(false),
        Some("attachment") => Ok(true),
        Some(_) => Err(Problem::invalid("disposition", "`attachment` or `inline` is expected")),
    }
}

/// What a request asks for.
struct Wanted {
    id: FileId,
    revision: Option<u64>,
    head: bool,
    wants: Wants,
    range: Option<String>,
}

/// The content that is selected.
struct Selected {
    size: u64,
    sha256: Sha256,
    content_type: String,
    name: String,
    validators: Validators,
}

/// The selected content and what to send of it.
struct Found {
    selected: Selected,
    reply: Reply,
}

enum Reply {
    NotModified,
    Head,
    Whole(Opened),
    Part(Range<u64>, Opened),
    Parts(Parts),
}

pub(crate) enum Opened {
    Bytes(Bytes),
    /// Small content, but large enough that those who read slowly could fill the memory with it.
    InRoom(Bytes, OwnedSemaphorePermit),
    Stream(ByteStream, u64),
}

/// How much of the content is opened.
enum Extent {
    /// All of it, so many bytes, which are checked by their hash.
    Whole(u64),
    Part(Range<u64>),
}

impl Opened {
    fn size(&self) -> u64 {
        match self {
            Self::Bytes(bytes) | Self::InRoom(bytes, _) => bytes.len() as u64,
            Self::Stream(_, size) => *size,
        }
    }

    fn into_stream(self) -> ByteStream {
        match self {
            Self::Bytes(bytes) => stream::iter([Ok(bytes)]).boxed(),
            // Its room is given up when the stream is dropped.
            Self::InRoom(bytes, room) => stream::iter([Ok(bytes)]).inspect(move |_| _ = &room).boxed(),
            Self::Stream(stream, _) => stream,
        }
    }
}

/// Runs beside `Files`, all in one go.
async fn find(api: Data<Api>, caller: Caller, request: Wanted) -> Result<Found, Problem> {
    let file = api.files.live(&caller, request.id).await?;
    let selected = select(&api, &caller, &file, request.revision).await?;
    let reply = match conditions::reads(&request.wants, &selected.validators) {
        Verdict::Failed => return Err(conditions::failed()),
        Verdict::NotModified => Reply::NotModified,
        Verdict::Proceed if request.head => {
            api.files.check_served(&caller, &file, request.revision).await?;
            Reply::Head
        }
        Verdict::Proceed => match ranged(&api, &request, &selected) {
            Selection::Nothing => return Err(nothing(selected.size)),
            Selection::Whole => {
                Reply::Whole(open(&api, &caller, &file, request.revision, Extent::Whole(selected.size)).await?)
            }
            Selection::One(range) => {
                let opened = open(&api, &caller, &file, request.revision, Extent::Part(range.clone())).await?;
                Reply::Part(range, opened)
            }
            Selection::Several(ranges) => {
                let boundary = data_encoding::HEXLOWER.encode(&api.files.environment().random::<16>());
                let (parts, reader) = (Parts::new(&ranges, boundary, &selected), (api.clone(), caller, file));
                Reply::Parts(parts.read_by(reader, request.revision))
            }
        },
    };
    Ok(Found { selected, reply })
}

fn nothing(size: u64) -> Problem {
    let detail = format!("the range selects nothing of {size} bytes");
    Problem::new(Code::RangeNotSatisfiable, detail).with(header::CONTENT_RANGE, unsatisfied(size))
}

async fn select(api: &Api, caller: &Caller, file: &File, revision: Option<u64>) -> Result<Selected, Problem> {
    let newest = &file.attributes;
    let name = newest.name.clone();
    let Some(number) = revision.filter(|number| *number != newest.revision) else {
        return Ok(Selected {
            size: newest.size,
            sha256: newest.sha256,
            content_type: newest.content_type.clone(),
            name,
            validators: Validators::of(newest),
        });
    };
    let row = api.files.revision(caller, newest.id, number).await?;
    let validators = Validators::of_revision(&row);
    Ok(Selected { size: row.size, sha256: row.sha256, content_type: row.content_type, name, validators })
}

/// How content of a file is handed out.
pub(crate) async fn disposed(
    api: &Api,
    caller: &Caller,
    file: &File,
    revision: Option<u64>,
    attachment: bool,
) -> Result<String, Problem> {
    let Selected { content_type, name, .. } = select(api, caller, file, revision).await?;
    let value = disposition(&content_type, &name, attachment);
    Ok(value.to_str().expect("it is printable ASCII").to_owned())
}

fn ranged(api: &Api, request: &Wanted, selected: &Selected) -> Selection {
    let now = api.files.environment().clock.now();
    match &request.range {
        Some(range) if conditions::range_holds(&request.wants, &selected.validators, now) => {
            range::select(range, selected.size)
        }
        _ => Selection::Whole,
    }
}

async fn open(
    api: &Api,
    caller: &Caller,
    file: &File,
    revision: Option<u64>,
    extent: Extent,
) -> Result<Opened, Problem> {
    let (expected, range) = match extent {
        Extent::Whole(size) => (size, None),
        Extent::Part(Range { start, end }) => (end - start, Some(ByteRange::Between { first: start, last: end - 1 })),
    };
    let room = match expected {
        HELD_BYTES_MIN..=SMALL_BYTES => Some(room(api, expected as usize).await?),
        _ => None,
    };
    let content = api.files.open(caller, file, revision, range).await?;
    let size = content.range.end - content.range.start;
    if size > SMALL_BYTES {
        return Ok(Opened::Stream(content.body, size));
    }
    let blocks: Vec<Bytes> = content.body.try_collect().await.map_err(broken_off)?;
    let bytes = match <[Bytes; 1]>::try_from(blocks) {
        Ok([block]) => block,
        Err(blocks) => blocks.concat().into(),
    };
    Ok(match room {
        Some(room) => Opened::InRoom(bytes, room),
        None => Opened::Bytes(bytes),
    })
}

/// Room for so many bytes that are held until their answer is sent.
pub(crate) async fn room(api: &Api, bytes: usize) -> Result<OwnedSemaphorePermit, Problem> {
    let busy = || Problem::new(Code::Busy, "too much is being sent at this moment").retry_after(1);
    api.room.take(bytes, api.limits.held_wait).await.ok_or_else(busy)
}

/// An answer of JSON that may be large, in the room that was taken for it: a reader who is too slow loses the connection.
pub(crate) fn send_json(
    ask: &Ask,
    mut head: HttpResponseBuilder,
    value: &impl Serialize,
    room: OwnedSemaphorePermit,
) -> HttpResponse {
    let bytes = Bytes::from(serde_json::to_vec(value).expect("texts and numbers always serialise"));
    head.content_type("application/json");
    match bytes.len() as u64 {
        ..HELD_BYTES_MIN => head.body(bytes),
        _ => send(&mut head, Opened::InRoom(bytes, room), ask),
    }
}

/// Content that can't be had to its end, seen before the answer began.
fn broken_off(cause: larder_files::BodyError) -> Problem {
    match cause.downcast::<larder_files::Error>() {
        Ok(error) => (*error).into(),
        Err(cause) => larder_files::Error::StoreUnavailable(Some(cause)).into(),
    }
}

fn answer(ask: &Ask, found: Found, attachment: bool) -> HttpResponse {
    let Found { selected, reply } = found;
    let (size, content_type) = (selected.size, selected.content_type.clone());
    match reply {
        Reply::NotModified => head(StatusCode::NOT_MODIFIED, &selected, attachment).finish(),
        Reply::Head => head(StatusCode::OK, &selected, attachment).content_type(content_type).body(Announced(size)),
        Reply::Whole(opened) => {
            send(head(StatusCode::OK, &selected, attachment).content_type(content_type), opened, ask)
        }
        Reply::Part(range, opened) => {
            let mut head = head(StatusCode::PARTIAL_CONTENT, &selected, attachment);
            head.insert_header((header::CONTENT_RANGE, content_range(&range, size))).content_type(content_type);
            send(&mut head, opened, ask)
        }
        Reply::Parts(parts) => {
            let content_type = format!("multipart/byteranges; boundary={}", parts.boundary);
            let mut head = head(StatusCode::PARTIAL_CONTENT, &selected, attachment);
            send(head.content_type(content_type), Opened::Stream(parts.stream, parts.size), ask)
        }
    }
}

/// What 200, 206 and 304 have in common.
fn head(status: StatusCode, selected: &Selected, attachment: bool) -> HttpResponseBuilder {
    let mut head = HttpResponse::build(status);
    head.insert_header((header::ETAG, format!("\"{}\"", selected.validators.etag)))
        .insert_header((header::LAST_MODIFIED, httpdate::fmt_http_date(selected.validators.modified)))
        .insert_header((header::ACCEPT_RANGES, "bytes"))
        .insert_header((REPR_DIGEST, digest::repr_digest(&selected.sha256)));
    let disposition = disposition(&selected.content_type, &selected.name, attachment);
    head.insert_header((header::CONTENT_DISPOSITION, disposition));
    head
}

fn content_range(range: &Range<u64>, size: u64) -> String {
    format!("bytes {}-{}/{size}", range.start, range.end - 1)
}

pub(crate) fn send(head: &mut HttpResponseBuilder, opened: Opened, ask: &Ask) -> HttpResponse {
    match opened {
        Opened::Bytes(bytes) => head.body(bytes),
        opened => {
            let size = opened.size();
            // What the connection was given is out of the room's sight, and its buffers end only with its reader.
            let piece_max = if let Opened::InRoom(..) = opened { HELD_BYTES_MIN as usize } else { usize::MAX };
            let stream = opened.into_stream();
            let reader = Reader::new(ask.request.conn_data().cloned(), &ask.api.limits);
            let (api, bodies) = (ask.api.clone(), ask.api.outgoing.begin());
            head.body(Streamed { stream, size, rest: Bytes::new(), piece_max, reader, bodies, api })
        }
    }
}

/// Several ranges as `multipart/byteranges`: their size is known before any of them is opened.
struct Parts {
    boundary: String,
    heads: Vec<(Bytes, Range<u64>)>,
    size: u64,
    stream: ByteStream,
}

impl Parts {
    fn new(ranges: &[Range<u64>], boundary: String, selected: &Selected) -> Self {
        let head = |range: &Range<u64>| {
            let place = content_range(range, selected.size);
            let content_type = &selected.content_type;
            format!("\r\n--{boundary}\r\nContent-Type: {content_type}\r\nContent-Range: {place}\r\n\r\n")
        };
        let heads: Vec<_> = ranges.iter().map(|range| (Bytes::from(head(range)), range.clone())).collect();
        let end = Self::end(&boundary).len() as u64;
        let size = heads.iter().map(|(head, range)| head.len() as u64 + range.end - range.start).sum::<u64>() + end;
        Self { boundary, heads, size, stream: stream::empty().boxed() }
    }

    fn end(boundary: &str) -> Bytes {
        format!("\r\n--{boundary}--\r\n").into()
    }

    /// Opens each part when the one before it has been sent.
    fn read_by(mut self, (api, caller, file): (Data<Api>, Caller, File), revision: Option<u64>) -> Self {
        let end = Self::end(&self.boundary);
        let parts = stream::iter(std::mem::take(&mut self.heads)).then(move |(head, range)| {
            let (api, caller, file) = (api.clone(), caller.clone(), file.clone());
            async move {
                let opened = open(&api, &caller, &file, revision, Extent::Part(range)).await;
                let body = opened.map_err(|problem| io::Error::other(problem.to_string()))?.into_stream();
                Ok::<_, larder_files::BodyError>(stream::iter([Ok(head)]).chain(body))
            }
        });
        self.stream = parts.try_flatten().chain(stream::iter([Ok(end)])).boxed();
        self
    }
}

/// A stream of a known size as an answer's body. It is polled on the worker, inside the runtime of `Files`: a further channel
/// between the two would hold another block for each slow reader.
struct Streamed {
    stream: ByteStream,
    size: u64,
    /// What is left of the last block: of many downloads each is given small pieces, since the connection copies what it gets.
    rest: Bytes,
    piece_max: usize,
    reader: Reader,
    bodies: Bodies,
    api: Data<Api>,
}

impl Streamed {
    fn piece(&mut self) -> Bytes {
        let share = self.api.limits.share(self.bodies.under_way()).min(self.piece_max);
        let piece = self.rest.split_to(share.min(self.rest.len()));
        self.reader.is_given(piece.len());
        piece
    }
}

impl MessageBody for Streamed {
    type Error = io::Error;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.size)
    }

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, io::Error>>> {
        let this = &mut *self;
        this.reader.asks();
        if !this.rest.is_empty() {
            return Poll::Ready(Some(Ok(this.piece())));
        }
        let next = {
            let _inside = this.api.runtime.enter();
            this.stream.poll_next_unpin(cx)
        };
        match next {
            Poll::Ready(Some(Ok(block))) => {
                this.rest = block;
                Poll::Ready(Some(Ok(this.piece())))
            }
            Poll::Ready(Some(Err(error))) => {
                tracing::error!("content broke off: {error}");
                Poll::Ready(Some(Err(io::Error::other(error))))
            }
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }
}

/// The size of a body that a HEAD does not get.
pub(crate) struct Announced(pub(crate) u64);

impl MessageBody for Announced {
    type Error = io::Error;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.0)
    }

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, io::Error>>> {
        Poll::Ready(None)
    }
}
