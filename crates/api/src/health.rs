//! Whether this node lives, and whether it is ready.

use crate::{
    openapi::{self, State},
    request::{Answer, Ask},
    server::Api,
};
use actix_web::{
    HttpResponse,
    http::{StatusCode, header},
};
use larder_files::{Health, Role};
use std::sync::atomic::Ordering;

/// `GET /health/live`: the process answers.
#[utoipa::path(get, path = "/health/live", operation_id = "live", tag = "node", security(()),
    responses((status = 200, description = "The process answers", body = openapi::State)))]
pub(crate) async fn live(ask: Ask) -> Answer {
    ask.query(&[])?;
    Ok(HttpResponse::Ok().json(State { status: "live", detail: None }))
}

/// `GET /health/ready`: `ready` or `degraded` take requests, `unavailable` does not. Why is for admins.
#[utoipa::path(get, path = "/health/ready", operation_id = "ready", tag = "node", security((), ("bearer" = [])),
    responses((status = 200, description = "It takes requests", body = openapi::State),
        (status = 503, description = "It takes none", body = openapi::State)))]
pub(crate) async fn ready(ask: Ask) -> Answer {
    ask.query(&[])?;
    let (state, detail) = state(&ask.api);
    let status = if state == "unavailable" { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    let mut answer = State { status: state, detail: None };
    if ask.request.headers().contains_key(header::AUTHORIZATION) && ask.caller().await?.role == Role::Admin {
        answer.detail = detail;
    }
    Ok(HttpResponse::build(status).json(answer))
}

/// The state that this node is in, and why where it is not `ready`.
pub(crate) fn state(api: &Api) -> (&'static str, Option<String>) {
    match api.files.health() {
        _ if api.draining.load(Ordering::Relaxed) => ("unavailable", Some("this node is draining".into())),
        Health::Ready => ("ready", None),
        Health::Degraded(why) => ("degraded", Some(why)),
        Health::Fenced(why) => ("unavailable", Some(why)),
    }
}
