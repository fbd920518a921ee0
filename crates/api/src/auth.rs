//! Log-in, and who a request comes from.

use crate::{
    openapi,
    problem::{Code, Problem},
    request::{Answer, Ask, Fields},
    server::Api,
};
use actix_web::{
    HttpResponse,
    http::header::{self, HeaderMap, HeaderValue},
};
use larder_files::{Caller, User};
use serde::Serialize;
use std::net::{IpAddr, Ipv4Addr};
use utoipa::ToSchema;

/// The tokens of a session.
#[derive(Serialize, ToSchema)]
pub(crate) struct Tokens {
    /// Goes into `Authorization: Bearer`.
    access_token: String,
    /// `Bearer`.
    token_type: &'static str,
    /// For so many seconds from now on.
    expires_in: u64,
}

/// `POST /auth/login`. Wrong passwords, unknown users and users without a password answer alike, after the same work.
#[utoipa::path(post, path = "/api/v1/auth/login", operation_id = "log_in", tag = "people", security(()), request_body = openapi::LogIn,
    responses((status = 200, description = "The tokens of a new session", body = Tokens)))]
pub(crate) async fn login(ask: Ask) -> Answer {
    let mut fields = ask.fields(&["username", "password"]).await?;
    let (username, password) = (fields.text("username")?, fields.text("password")?);
    fields.finish()?;
    let api = ask.api.clone();
    let user = attempt(&ask, username, password)
        .await?
        .ok_or_else(|| Problem::unauthenticated("user name or password is wrong"))?;
    let (access_token, expires_in) = api.tokens.issue(&user, api.files.environment().clock.now())?;
    let tokens = Tokens { access_token, token_type: "Bearer", expires_in };
    Ok(HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "no-store")).json(tokens))
}

/// The user, if these are name and password of one who may log in. Wrong ones count, and too many are refused unseen.
pub(crate) async fn attempt(ask: &Ask, username: String, password: String) -> Result<Option<User>, Problem> {
    let api = &ask.api;
    let address = ask.request.peer_addr().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip());
    let attempt = api.throttle.begin(&username, address, api.files.environment().clock.elapsed()).map_err(|wait| {
        Problem::new(Code::TooManyRequests, "too many failed log-ins").retry_after(wait.as_secs() + 1)
    })?;
    let user = check(api, username, password).await?;
    if user.is_some() {
        api.throttle.succeeded(&attempt);
    }
    Ok(user)
}

async fn check(api: &actix_web::web::Data<Api>, username: String, password: String) -> Result<Option<User>, Problem> {
    let with = api.clone();
    api.run(async move {
        let user = with.files.user_named(&username).await?.filter(|user| user.gone_at.is_none());
        let hash = user.as_ref().and_then(|user| user.password_hash.clone());
        let right = with.verifier.verify(password, hash).await;
        Ok(user.filter(|user| right && user.password_hash.is_some()))
    })
    .await
}

/// `GET /auth/me`.
#[utoipa::path(get, path = "/api/v1/auth/me", operation_id = "me", tag = "people",
    responses((status = 200, description = "Who the token is of", body = openapi::Me)))]
pub(crate) async fn me(ask: Ask) -> Answer {
    let caller = ask.caller().await?;
    ask.query(&[])?;
    Ok(HttpResponse::Ok().json(openapi::Me { id: caller.id, username: caller.name, role: caller.role }))
}

/// Who asks: the user of the bearer token, as they are now.
pub(crate) async fn caller(api: &actix_web::web::Data<Api>, headers: &HeaderMap) -> Result<Caller, Problem> {
    let subject = api.tokens.read(bearer(headers)?, api.files.environment().clock.now())?;
    let user = match api.callers.fresh(&api.files, subject.id) {
        Some(user) => user,
        None => {
            let (with, since) = (api.clone(), api.files.environment().clock.elapsed());
            let user = api.run(async move { Ok(with.files.user(subject.id).await?) }).await?;
            api.callers.remember(since, subject.id, user.clone());
            user
        }
    };
    match user {
        Some(user) if user.gone_at.is_none() && subject.fits(&user) => {
            Ok(Caller { id: user.id, name: user.name, role: user.role })
        }
        _ => Err(Problem::unauthenticated("the access token is not valid")),
    }
}

/// The token of the one `Authorization: Bearer` header.
fn bearer(headers: &HeaderMap) -> Result<&str, Problem> {
    let mut given = headers.get_all(header::AUTHORIZATION);
    let (value, more) = (given.next(), given.next());
    let value = value.ok_or_else(|| Problem::unauthenticated("no access token was sent"))?;
    let refused = || Problem::unauthenticated("one `Authorization: Bearer TOKEN` header is expected");
    let text = Some(value).filter(|_| more.is_none()).and_then(text).ok_or_else(refused)?;
    let (scheme, token) = text.split_once(' ').ok_or_else(refused)?;
    if scheme.eq_ignore_ascii_case("bearer") { Ok(token.trim_start_matches(' ')) } else { Err(refused()) }
}

fn text(value: &HeaderValue) -> Option<&str> {
    value.to_str().ok()
}

impl Fields {
    /// A required text, kept out of messages.
    pub(crate) fn text(&mut self, name: &'static str) -> Result<String, Problem> {
        self.text_if_any(name)?.ok_or_else(|| Problem::invalid(name, "is missing"))
    }

    /// A text that may be left out, kept out of messages.
    pub(crate) fn text_if_any(&mut self, name: &'static str) -> Result<Option<String>, Problem> {
        match self.take(name) {
            None => Ok(None),
            Some(serde_json::Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(Problem::invalid(name, "a text is expected")),
        }
    }
}
