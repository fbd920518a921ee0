//! Log-in, the session that it opens, and who a request comes from.

use crate::{
    openapi,
    password::Place,
    problem::{Code, Problem},
    request::{Answer, Ask, Fields},
    server::Api,
    throttle::{Attempt, Throttle},
    token::{INVALID, Pair, Subject},
};
use actix_web::{
    HttpResponse,
    http::{
        StatusCode,
        header::{self, HeaderMap, HeaderValue},
    },
};
use larder_files::{
    Caller, Error, SessionId, User,
    ledger::{Refreshed, Session},
};

/// `POST /auth/login`. Wrong passwords, unknown users and users without a password answer alike, after the same work.
#[utoipa::path(post, path = "/api/v1/auth/login", operation_id = "log_in", tag = "people", security(()), request_body = openapi::LogIn,
    responses((status = 200, description = "The tokens of a new session", body = Pair)))]
pub(crate) async fn login(ask: Ask) -> Answer {
    ask.query(&[])?;
    let mut fields = ask.fields(&["username", "password"]).await?;
    let (username, password) = (fields.text("username")?, fields.text("password")?);
    fields.finish()?;
    let user = attempt(&ask, &ask.api.throttle, username, password).await?.ok_or_else(wrong)?;
    log_in(&ask, user, StatusCode::OK).await
}

/// Opens a session of a user who has proved who they are.
pub(crate) async fn log_in(ask: &Ask, user: User, status: StatusCode) -> Answer {
    let api = ask.api.clone();
    let work = async move {
        match api.files.open_session(&user, &api.limits.sessions()).await {
            // Gone or changed since: what was right is not any more.
            Err(Error::NotFound(_)) => Err(wrong()),
            opened => Ok(opened?),
        }
    };
    let session = ask.api.run(work).await?;
    tokens(ask, &session, status)
}

fn wrong() -> Problem {
    Problem::unauthenticated("user name or password is wrong")
}

fn tokens(ask: &Ask, session: &Session, status: StatusCode) -> Answer {
    let pair = ask.api.tokens.issue(session, ask.api.files.environment().clock.now())?;
    Ok(HttpResponse::build(status).insert_header((header::CACHE_CONTROL, "no-store")).json(pair))
}

/// `POST /auth/refresh`: new tokens for a refresh token, once. One that is sent twice ends the session: two have it.
#[utoipa::path(post, path = "/api/v1/auth/refresh", operation_id = "refresh", tag = "people", security(()),
    request_body = openapi::RefreshToken, responses((status = 200, description = "The session's next tokens", body = Pair)))]
pub(crate) async fn refresh(ask: Ask) -> Answer {
    ask.query(&[])?;
    let mut fields = ask.fields(&["refresh_token"]).await?;
    let token = fields.text("refresh_token")?;
    fields.finish()?;
    let (id, serial) = of_refresh_token(&ask, &token)?;
    let api = ask.api.clone();
    let work = async move {
        let refreshed = api.files.refresh_session(id, serial, &api.limits.sessions()).await?;
        if let Refreshed::Spent(session) = &refreshed {
            api.callers.forget_session(id);
            tracing::warn!(user = %session.user, session = %id, "a spent refresh token was sent: its session has ended");
        }
        Ok(refreshed)
    };
    match ask.api.run(work).await? {
        Refreshed::Next(session) => tokens(&ask, &session, StatusCode::OK),
        Refreshed::Spent(_) | Refreshed::Absent => Err(no_refresh()),
    }
}

/// `POST /auth/logout`: ends the session of the access token, or of the refresh token in the body.
#[utoipa::path(post, path = "/api/v1/auth/logout", operation_id = "log_out", tag = "people", security((), ("bearer" = [])),
    request_body = openapi::SessionToEnd, responses((status = 204, description = "The session has ended")))]
pub(crate) async fn logout(ask: Ask) -> Answer {
    ask.query(&[])?;
    let session = match sent_refresh_token(&ask).await? {
        Some(token) => of_refresh_token(&ask, &token)?.0,
        None => ask.identity().await?.1,
    };
    let api = ask.api.clone();
    let work = async move {
        let ended = api.files.end_session(session).await;
        api.callers.forget_session(session);
        Ok(ended?)
    };
    ask.api.run(work).await?;
    Ok(HttpResponse::NoContent().insert_header((header::CACHE_CONTROL, "no-store")).finish())
}

async fn sent_refresh_token(ask: &Ask) -> Result<Option<String>, Problem> {
    if ask.header(header::CONTENT_TYPE)?.is_none() {
        return Ok(None);
    }
    let mut fields = ask.fields(&["refresh_token"]).await?;
    let token = fields.text_if_any("refresh_token")?;
    fields.finish()?;
    Ok(token)
}

fn of_refresh_token(ask: &Ask, token: &str) -> Result<(SessionId, u64), Problem> {
    ask.api.tokens.read_refresh(token, ask.api.files.environment().clock.now()).ok_or_else(no_refresh)
}

/// One answer, whether it is no token, too old, spent, or of a session that was ended.
fn no_refresh() -> Problem {
    Problem::unauthenticated("the refresh token is not valid: log in again")
}

/// The user, if these are name and password of one who may log in. Wrong ones count, and too many are refused unseen; what was never
/// compared does not count.
pub(crate) async fn attempt(
    ask: &Ask,
    throttle: &Throttle,
    username: String,
    password: String,
) -> Result<Option<User>, Problem> {
    let place = ask.api.verifier.place().ok_or_else(many)?;
    let attempt = begin_attempt(ask, throttle, &username)?;
    let checked = check(&ask.api, place, username, password).await;
    if !matches!(checked, Ok(None)) {
        throttle.take_back(&attempt);
    }
    checked
}

fn many() -> Problem {
    Problem::new(Code::TooManyRequests, "too many passwords are being checked").retry_after(1)
}

/// Hashes a password, unless too many wait already.
pub(crate) async fn hash(api: &Api, password: String) -> Result<String, Problem> {
    let place = api.verifier.place().ok_or_else(many)?;
    Ok(api.verifier.hash(place, password).await.map_err(Error::internal)?)
}

/// Lets one more attempt in, unless too many have failed.
pub(crate) fn begin_attempt(ask: &Ask, throttle: &Throttle, account: &str) -> Result<Attempt, Problem> {
    throttle
        .begin(account, ask.api.proxies.client(&ask.request), ask.api.files.environment().clock.elapsed())
        .map_err(|wait| Problem::new(Code::TooManyRequests, "too many failed log-ins").retry_after(wait.as_secs() + 1))
}

async fn check(
    api: &actix_web::web::Data<Api>,
    place: Place,
    username: String,
    password: String,
) -> Result<Option<User>, Problem> {
    let with = api.clone();
    api.run(async move {
        let user = with.files.user_named(&username).await?.filter(|user| user.gone_at.is_none());
        let hash = user.as_ref().and_then(|user| user.password_hash.clone());
        let right = with.verifier.verify(place, password, hash).await.ok_or_else(many)?;
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

/// Who asks, the user of the bearer token as they are now, and by which session.
pub(crate) async fn identify(
    api: &actix_web::web::Data<Api>,
    headers: &HeaderMap,
) -> Result<(Caller, SessionId), Problem> {
    let Subject { user: id, session } = api.tokens.read(bearer(headers)?, api.files.environment().clock.now())?;
    let user = match api.callers.fresh(&api.files, session) {
        Some(user) => user,
        None => {
            let (with, since) = (api.clone(), api.files.environment().clock.elapsed());
            let user = api.run(async move { Ok(with.files.user_of_session(session).await?) }).await?;
            api.callers.remember(since, session, user.clone());
            user
        }
    };
    match user.filter(|user| user.id == id) {
        Some(user) => Ok((Caller { id, name: user.name, role: user.role }, session)),
        None => Err(Problem::unauthenticated(INVALID)),
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
