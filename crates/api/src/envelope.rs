//! What every answer has, whoever makes it: the request's id, the headers that keep browsers from doing harm, a problem written
//! out, a line in the log; and what is checked of every request before it is routed: the size of its head.

use crate::{
    deadline::Incoming,
    problem::{Code, Problem},
    server::Api,
};
use actix_web::{
    Error, HttpMessage, HttpResponse,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{
        Method,
        header::{self, HeaderMap, HeaderName, HeaderValue},
    },
    middleware::Next,
    web,
};
use larder_files::UserId;
use std::{
    rc::Rc,
    time::{Duration, Instant},
};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Who asks, once that is known: for the log.
pub(crate) struct Asker(pub(crate) UserId);

/// Set on every answer that does not set them itself.
const ALWAYS: [(HeaderName, &str); 5] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'; sandbox; frame-ancestors 'none'"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "private, no-cache"),
];

/// Wraps every request.
pub(crate) async fn envelope(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let begun = Instant::now();
    let api = request.app_data::<web::Data<Api>>().expect("the server sets it").clone();
    let id = request_id(request.headers(), &api);
    let incoming = Incoming::new(request.take_payload(), api.limits.clone(), api.metrics.received());
    request.extensions_mut().insert(incoming.clone());
    let (method, path) = (request.method().clone(), request.path().to_owned());

    let response = match check_head(&request, &api) {
        Ok(()) => next.call(request).await?.map_into_boxed_body(),
        Err(problem) => request.error_response(problem),
    };
    let response = finish(response, &id, incoming);
    let took = begun.elapsed();
    api.metrics.answered(&method, response.request().match_pattern(), response.status().as_u16(), took);
    tell(&api, &response, &method, &path, took, &id);
    Ok(response)
}

/// Writes the line that a request gets in the log: who, what, which, from where, with what result. A line for each small download
/// would cost more than the download, so what only reads is told to `LARDER_LOG=larder_api=debug`.
fn tell(api: &Api, response: &ServiceResponse<BoxBody>, method: &Method, path: &str, took: Duration, id: &str) {
    let (status, took_ms) = (response.status().as_u16(), u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
    let route = response.request().match_pattern().unwrap_or_default();
    let link = [("/direct/", "/direct/…"), ("/i/", "/i/…")].into_iter().find(|(start, _)| route.starts_with(start));
    let (request_id, path) = (id, link.map_or_else(|| truncated(path), |(_, masked)| masked));
    let from = api.proxies.client(response.request()).to_string();
    let user = response.request().extensions().get::<Asker>().map(|asker| asker.0.to_string());
    if method.is_safe() {
        tracing::debug!(%method, path, status, took_ms, user, from, request_id, "answered");
    } else {
        tracing::info!(target: "larder_api::audit", %method, path, status, took_ms, user, from, request_id, "answered");
    }
}

/// What of a path is written into the log: a client may send kilobytes. (Of a link nothing: whoever knows one may use it.)
fn truncated(path: &str) -> &str {
    const SHOWN_MAX: usize = 256;
    // A target is plain ASCII.
    path.get(..SHOWN_MAX).unwrap_or(path)
}

/// The client's own id where it is a good one.
fn request_id(headers: &HeaderMap, api: &Api) -> Rc<str> {
    let good = |id: &&str| {
        (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
    };
    match headers.get(REQUEST_ID).and_then(|id| id.to_str().ok()).filter(good) {
        Some(id) => id.into(),
        None => data_encoding::HEXLOWER.encode(&api.files.environment().random::<16>()).into(),
    }
}

fn check_head(request: &ServiceRequest, api: &Api) -> Result<(), Problem> {
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    if target > api.limits.target_bytes_max {
        let detail = format!("the target has {target} bytes, at most {} are read", api.limits.target_bytes_max);
        return Err(Problem::new(Code::TargetTooLong, detail).closing());
    }
    // Each line has a colon, a space and a line end besides.
    let lines = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum::<usize>();
    let head = target + lines;
    if head > api.limits.head_bytes_max {
        let detail = format!("the head has {head} bytes, at most {} are read", api.limits.head_bytes_max);
        return Err(Problem::new(Code::HeadTooLarge, detail).closing());
    }
    Ok(())
}

fn finish(mut response: ServiceResponse<BoxBody>, id: &str, incoming: Incoming) -> ServiceResponse<BoxBody> {
    let problem = response.response_mut().extensions_mut().remove::<Problem>();
    if let Some(problem) = problem {
        if let Some(fault) = problem.fault() {
            tracing::error!(code = problem.code().name(), request_id = id, "{fault}");
        }
        response = response.into_response(problem.to_response(id));
    }
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, HeaderValue::from_str(id).expect("its characters were checked"));
    for (name, value) in ALWAYS {
        if !headers.contains_key(&name) {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
    if incoming.drain() {
        return response;
    }
    response.map_body(|_, body| incoming.held_by(body))
}

/// What is at no route.
pub(crate) async fn nowhere() -> Result<HttpResponse, Problem> {
    Err(Problem::not_found("route: `/docs` shows those that there are"))
}
