//! Whether this node lives, and whether it is ready.

use crate::request::{Answer, Ask};
use actix_web::{
    HttpResponse,
    http::{StatusCode, header},
};
use larder_files::{Health, Role};
use serde_json::json;
use std::sync::atomic::Ordering;

/// `GET /health/live`: the process answers.
pub(crate) async fn live(ask: Ask) -> Answer {
    ask.query(&[])?;
    Ok(HttpResponse::Ok().json(json!({ "status": "live" })))
}

/// `GET /health/ready`: `ready` or `degraded` take requests, `unavailable` does not. Why is for admins.
pub(crate) async fn ready(ask: Ask) -> Answer {
    ask.query(&[])?;
    let (status, state, detail) = match ask.api.files.health() {
        _ if ask.api.draining.load(Ordering::Relaxed) => {
            (StatusCode::SERVICE_UNAVAILABLE, "unavailable", Some("this node is draining".to_owned()))
        }
        Health::Ready => (StatusCode::OK, "ready", None),
        Health::Degraded(why) => (StatusCode::OK, "degraded", Some(why)),
        Health::Fenced(why) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable", Some(why)),
    };
    let mut answer = json!({ "status": state });
    if ask.request.headers().contains_key(header::AUTHORIZATION) && ask.caller().await?.role == Role::Admin {
        answer["detail"] = json!(detail);
    }
    Ok(HttpResponse::build(status).json(answer))
}
