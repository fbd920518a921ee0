//! `/docs`: the routes as a page for people, where each can be tried (Swagger UI, embedded). Nothing is fetched from anywhere else.

use crate::{
    problem::Problem,
    request::{Answer, Ask},
};
use actix_web::{HttpResponse, http::header};
use std::sync::{Arc, LazyLock};
use utoipa_swagger_ui::Config;

/// Its scripts and styles are files of this origin; it sets styles and small pictures of its own besides.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

static CONFIG: LazyLock<Arc<Config<'static>>> = LazyLock::new(|| Arc::new(Config::from("/api/v1/openapi.json")));

/// The page.
#[utoipa::path(get, path = "/docs", operation_id = "docs", tag = "node", security(()),
    responses((status = 307, description = "To a page for people")))]
pub(crate) async fn page(ask: Ask) -> Answer {
    ask.query(&[])?;
    // Its links are relative, so it lies in a folder.
    Ok(HttpResponse::TemporaryRedirect().insert_header((header::LOCATION, "/docs/")).finish())
}

/// `GET /docs/{file}`: what the page consists of.
pub(crate) async fn file(ask: Ask) -> Answer {
    let path = ask.request.match_info().query("file").to_owned();
    let found = utoipa_swagger_ui::serve(&path, CONFIG.clone())
        .map_err(|error| larder_files::Error::internal(error.to_string()))?;
    let file = found.ok_or_else(|| Problem::not_found("page"))?;
    let policy = (header::CONTENT_SECURITY_POLICY, POLICY);
    Ok(HttpResponse::Ok().insert_header(policy).content_type(file.content_type).body(file.bytes.into_owned()))
}
