//! The description of every route as OpenAPI 3.1. It is made from the attributes at the handlers; what stands here are the shapes of
//! bodies that handlers read field by field, and what all routes have in common.

use crate::{
    auth, buckets, content, direct, docs, health, import, list, metrics, names,
    problem::Document,
    record::{Person, Record, Revision},
    renditions,
    request::{Answer, Ask},
    setup, stores, upload, users,
};
use actix_web::HttpResponse;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::sync::LazyLock;
use utoipa::{
    IntoParams, IntoResponses, Modify, OpenApi, ToSchema,
    openapi::{
        ContentBuilder, Ref, RefOr, ResponseBuilder,
        path::Operation,
        security::{Http, HttpAuthScheme, SecurityScheme},
    },
};

/// The whole description.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Larder",
        description = "Files that outlive your database and your storage provider. Times are RFC 3339 in UTC, sizes are bytes, \
                       ids are UUIDv7. Each route that answers GET answers HEAD too. What is another's answers as what is absent does.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0")
    ),
    servers((url = "/", description = "This server")),
    tags(
        (name = "files", description = "Files, their content and their revisions"),
        (name = "buckets", description = "Policies that files are kept under"),
        (name = "people", description = "Log-in and users"),
        (name = "node", description = "How this server is"),
    ),
    paths(
        auth::login, auth::refresh, auth::logout, auth::me, setup::page, setup::script, setup::set_up,
        buckets::list, buckets::describe,
        upload::create, upload::replace, upload::put_named, upload::copy,
        names::get, names::remove,
        list::list, list::describe, list::update, list::remove, list::restore, list::revisions, list::remove_revision,
        content::get,
        direct::open, direct::complete, direct::end, direct::sign, direct::get, direct::put,
        import::import,
        renditions::preset, renditions::signed, renditions::signed_and_named, renditions::sign,
        users::list, users::add, users::describe, users::update, users::remove,
        stores::list, stores::check,
        health::live, health::ready, metrics::metrics, docs::page, describe,
    ),
    components(schemas(Record, Revision, Person, Document<'static>)),
    modifiers(&Common),
    security(("bearer" = []))
)]
struct Description;

/// What every route has: who asks, and how it refuses.
struct Common;

impl Modify for Common {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let bearer = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        openapi.components.get_or_insert_default().add_security_scheme("bearer", bearer);
        let document = RefOr::Ref(Ref::from_schema_name("Problem"));
        let refused = ResponseBuilder::new()
            .description("Refused: the code says why (RFC 9457)")
            .content("application/problem+json", ContentBuilder::new().schema(Some(document)).build())
            .build();
        for item in openapi.paths.paths.values_mut() {
            let operations = [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch];
            for operation in operations.into_iter().flatten() {
                operation.responses.responses.insert("default".into(), RefOr::T(refused.clone()));
                operation.summary = Some(summary(operation));
            }
        }
    }
}

/// What an operation does, in a line. Handlers' own words begin with their route, which stands above them already.
fn summary(operation: &Operation) -> String {
    let told = operation.summary.as_deref().unwrap_or_default();
    let told = told.rsplit_once('`').map_or(told, |(_, behind)| behind).trim_start_matches([':', '.', ' ']);
    if told.is_empty() { operation.operation_id.clone().unwrap_or_default().replace('_', " ") } else { told.to_owned() }
}

/// The description as JSON; it never changes while a process lives.
static TEXT: LazyLock<String> =
    LazyLock::new(|| Description::openapi().to_pretty_json().expect("a description always serialises"));

/// The description of every route, as OpenAPI 3.1 in JSON.
#[must_use]
pub fn openapi() -> &'static str {
    &TEXT
}

/// This description.
#[utoipa::path(get, path = "/api/v1/openapi.json", operation_id = "openapi", tag = "node", security(()),
    responses((status = 200, description = "OpenAPI 3.1", content_type = "application/json", body = Value)))]
pub(crate) async fn describe(ask: Ask) -> Answer {
    ask.query(&[])?;
    Ok(HttpResponse::Ok().content_type("application/json").body(openapi()))
}

/// A page of a list.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "only described")]
pub(crate) struct PageOf {
    /// Items on a page at most.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u32>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
}

/// What is asked of a record.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "only described")]
pub(crate) struct IfVersion {
    /// The record's `etag`: 412 where it is another by now.
    #[param(rename = "If-Match")]
    if_match: Option<String>,
}

/// A file by its name.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "only described")]
pub(crate) struct ByName {
    /// The bucket.
    bucket: String,
    /// The name; `/` and `%2F` are equal in it.
    name: String,
}

/// Whose file of a name is meant.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "only described")]
pub(crate) struct NameOf {
    /// Admins: whose it is; without it the caller's own.
    owner: Option<String>,
}

/// Which content of a file is asked for.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "only described")]
pub(crate) struct WhichContent {
    /// `attachment` or `inline`.
    #[param(pattern = "^(attachment|inline)$")]
    disposition: Option<String>,
    /// An older revision.
    #[param(minimum = 1)]
    revision: Option<u64>,
}

/// How much of the content is asked for.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "only described")]
pub(crate) struct HowMuch {
    /// RFC 9110, up to 10 ranges.
    #[param(rename = "Range")]
    range: Option<String>,
    /// ETags that the caller has.
    #[param(rename = "If-None-Match")]
    if_none_match: Option<String>,
}

/// Answers that carry content.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "only described")]
pub(crate) enum Content {
    /// The content, of the type that was found when it came.
    #[response(status = 200, content_type = "*/*")]
    Whole(Binary),
    /// Ranges of it.
    #[response(status = 206, content_type = "*/*")]
    Part(Binary),
    /// The caller has it.
    #[response(status = 304)]
    NotModified,
}

/// How a picture is asked for.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "only described")]
pub(crate) struct Shown {
    /// Where the recipe has `f_auto`: WebP and AVIF are given to who names them.
    #[param(rename = "Accept")]
    accept: Option<String>,
    /// ETags that the caller has.
    #[param(rename = "If-None-Match")]
    if_none_match: Option<String>,
}

/// Answers that carry a picture.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "only described")]
pub(crate) enum Picture {
    /// The rendition.
    #[response(status = 200, content_type = "image/*")]
    Whole(Binary),
    /// The caller has it.
    #[response(status = 304)]
    NotModified,
}

/// What a URL is to show.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only described")]
pub(crate) struct ToRender {
    /// Such as `w_400,h_300,fit_cover,f_auto`; `exp_` (seconds since 1970) and `v_` (a revision) may stand in it.
    recipe: String,
}

/// What is to be fetched.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only described")]
pub(crate) struct ToImport {
    /// Where it lies: public, and `https` unless the server is told otherwise.
    url: String,
    /// Name; without it the one that the URL or the answer tells.
    #[schema(max_length = 1024)]
    name: Option<String>,
    /// Tags.
    tags: Option<Vec<String>>,
    /// Metadata.
    #[schema(value_type = Option<Object>)]
    metadata: Option<Map<String, Value>>,
    /// What becomes of a name that a live file of the owner has: `keep_both`, `replace` or `fail`.
    #[schema(pattern = "^(keep_both|replace|fail)$")]
    on_conflict: Option<String>,
}

/// How a request that makes something is repeated.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "only described")]
pub(crate) struct Repeatable {
    /// Within 24 hours the same request under the same key answers as the first did, and makes nothing.
    #[param(rename = "Idempotency-Key", min_length = 1, max_length = 128)]
    idempotency_key: Option<String>,
}

/// Bytes as they are.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
#[expect(dead_code, reason = "only described")]
pub(crate) struct Binary(Vec<u8>);

/// A form with a file.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only described")]
pub(crate) struct Form {
    /// The content; its part's file name is the name where no `name` is given.
    #[schema(value_type = String, format = Binary)]
    file: Binary,
    /// Name.
    #[schema(max_length = 1024)]
    name: Option<String>,
    /// A JSON array of texts.
    tags: Option<String>,
    /// A JSON object.
    metadata: Option<String>,
}

/// A merge patch (RFC 7396) of a record.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only described")]
pub(crate) struct RecordPatch {
    /// Name, at most 1,024 bytes without control characters.
    #[schema(max_length = 1024, nullable = false)]
    name: Option<String>,
    /// All its tags from now on; null for none.
    tags: Option<Vec<String>>,
    /// Merged into what is there; a null member goes, null empties it.
    #[schema(value_type = Option<Object>)]
    metadata: Option<Map<String, Value>>,
    /// Admins: the name of another owner.
    #[schema(nullable = false)]
    owner: Option<String>,
    /// Admins: the name of another bucket.
    #[schema(nullable = false)]
    bucket: Option<String>,
    /// The point of a picture that matters most, as [x, y] from 0 to 1; null for none.
    #[schema(min_items = 2, max_items = 2)]
    focal: Option<Vec<f64>>,
}

/// A direct upload to be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only described")]
pub(crate) struct NewUpload {
    /// Name.
    #[schema(max_length = 1024)]
    name: String,
    /// Bytes of the content.
    #[schema(minimum = 0)]
    size: u64,
    /// SHA-256 of the content in hexadecimal: what has another is no file.
    #[schema(pattern = "^[0-9a-fA-F]{64}$", nullable = false)]
    sha256: Option<String>,
    /// The declared type; only compared.
    #[schema(max_length = 127, nullable = false)]
    content_type: Option<String>,
    /// Tags.
    #[schema(nullable = false)]
    tags: Option<Vec<String>>,
    /// Metadata.
    #[schema(value_type = Option<Object>, nullable = false)]
    metadata: Option<Map<String, Value>>,
    /// What becomes of a name that a live file of the caller's has: `keep_both`, `replace` or `fail`.
    #[schema(pattern = "^(keep_both|replace|fail)$")]
    on_conflict: Option<String>,
    /// Bytes of a part, at least 1 MiB, and at most 2,000 parts; without it content of more than 128 MiB has parts of 64 MiB or more.
    #[schema(minimum = 1_048_576, maximum = 5_368_709_120_u64, nullable = false)]
    part_bytes: Option<u64>,
    /// For how many seconds the URLs work.
    #[schema(minimum = 60, maximum = 43_200, nullable = false)]
    expires_in: Option<u64>,
    /// `false`: the URLs lead to this server.
    #[schema(nullable = false)]
    direct: Option<bool>,
}

/// What is known of an upload when its content was sent.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only described")]
pub(crate) struct ToComplete {
    /// SHA-256 of the content in hexadecimal: what has another is no file.
    #[schema(pattern = "^[0-9a-fA-F]{64}$", nullable = false)]
    sha256: Option<String>,
}

/// What is to be signed.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only described")]
pub(crate) struct ToSign {
    /// `attachment` or `inline`.
    #[schema(pattern = "^(attachment|inline)$", nullable = false)]
    disposition: Option<String>,
    /// An older revision.
    #[schema(minimum = 1, nullable = false)]
    revision: Option<u64>,
    /// For how many seconds it works.
    #[schema(minimum = 1, maximum = 604_800, nullable = false)]
    expires_in: Option<u64>,
}

/// Where a copy goes.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only described")]
pub(crate) struct CopyOf {
    /// Its bucket; without it the file's own.
    #[schema(nullable = false)]
    bucket: Option<String>,
    /// Its name; without it the file's own.
    #[schema(nullable = false)]
    name: Option<String>,
}

/// Who logs in.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only described")]
pub(crate) struct LogIn {
    /// Name.
    username: String,
    /// Password.
    password: String,
}

/// What a session goes on by.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only described")]
pub(crate) struct RefreshToken {
    /// It counts once: sent again, it ends the session.
    refresh_token: String,
}

/// Which session ends.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only described")]
pub(crate) struct SessionToEnd {
    /// The session's refresh token, spent or not; without it the session is the access token's.
    #[schema(nullable = false)]
    refresh_token: Option<String>,
}

/// Who becomes the first admin.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only described")]
pub(crate) struct FirstAdmin {
    /// What the set-up link has behind its `#`.
    token: String,
    /// Name, never given again.
    #[schema(pattern = "^[a-z0-9][a-z0-9._-]{0,39}$")]
    username: String,
    /// Password.
    #[schema(min_length = 8, max_length = 1024)]
    password: String,
}

/// A user to be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only described")]
pub(crate) struct NewPerson {
    /// Name, never given again.
    #[schema(pattern = "^[a-z0-9][a-z0-9._-]{0,39}$")]
    username: String,
    /// Password.
    #[schema(min_length = 8, max_length = 1024)]
    password: String,
    /// `user` where it is left out.
    #[schema(pattern = "^(admin|user)$", nullable = false)]
    role: Option<String>,
}

/// What changes of a user.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only described")]
pub(crate) struct PersonPatch {
    /// Admins: `admin` or `user`.
    #[schema(pattern = "^(admin|user)$", nullable = false)]
    role: Option<String>,
    /// A new password.
    #[schema(min_length = 8, max_length = 1024, nullable = false)]
    password: Option<String>,
    /// The password so far: demanded of who changes their own.
    #[schema(nullable = false)]
    current_password: Option<String>,
}

/// Who a token is of.
#[derive(Serialize, ToSchema)]
pub(crate) struct Me {
    /// Id.
    #[schema(value_type = String, format = "uuid")]
    pub(crate) id: larder_files::UserId,
    /// Name.
    #[schema(value_type = String)]
    pub(crate) username: larder_files::UserName,
    /// `admin` or `user`.
    #[schema(value_type = String)]
    pub(crate) role: larder_files::Role,
}

/// How this node is.
#[derive(Serialize, ToSchema)]
pub(crate) struct State {
    /// `live`; or `ready`, `degraded`, `unavailable`.
    pub(crate) status: &'static str,
    /// Why it is not ready: for admins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) detail: Option<String>,
}
