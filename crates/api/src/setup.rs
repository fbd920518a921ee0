//! Set-up: the page that the link of a first start leads to, and what it posts. The link's token stands in the fragment, which no browser
//! sends: it is in no log and no referrer.

use crate::{
    auth, openapi, password,
    problem::{Code, Problem},
    request::{Answer, Ask},
    token::Pair,
};
use actix_web::{
    HttpResponse,
    http::{StatusCode, header},
};
use data_encoding::BASE64;
use larder_files::{Error, UserName};
use sha2::{Digest, Sha256};
use std::sync::{LazyLock, atomic::Ordering};

const PAGE: &str = include_str!("setup/page.html");
const SCRIPT: &str = include_str!("setup/page.js");

/// The page's own script and style, and answers of this server: nothing else runs, loads or is sent.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    let (_, style) = PAGE.split_once("<style>").expect("the page has a style");
    let (style, _) = style.split_once("</style>").expect("it ends");
    let style = BASE64.encode(&Sha256::digest(style));
    format!(
        "default-src 'none'; script-src 'self'; style-src 'sha256-{style}'; connect-src 'self'; form-action 'none'; \
         base-uri 'none'; frame-ancestors 'none'"
    )
});

/// `GET /setup`: the page that a set-up link leads to.
#[utoipa::path(get, path = "/setup", operation_id = "setup_page", tag = "people", security(()),
    responses((status = 200, description = "The page", content_type = "text/html")))]
pub(crate) async fn page(ask: Ask) -> Answer {
    ask.query(&[])?;
    Ok(fixed("text/html; charset=utf-8", PAGE))
}

/// `GET /setup.js`: what that page runs.
#[utoipa::path(get, path = "/setup.js", operation_id = "setup_script", tag = "people", security(()),
    responses((status = 200, description = "The script", content_type = "text/javascript")))]
pub(crate) async fn script(ask: Ask) -> Answer {
    ask.query(&[])?;
    Ok(fixed("text/javascript; charset=utf-8", SCRIPT))
}

fn fixed(content_type: &str, text: &'static str) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, content_type))
        .insert_header((header::CONTENT_SECURITY_POLICY, POLICY.as_str()))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .body(text)
}

/// `POST /setup`: makes the first admin, and logs them in; 410 ever after.
#[utoipa::path(post, path = "/setup", operation_id = "set_up", tag = "people", security(()), request_body = openapi::FirstAdmin,
    responses((status = 201, description = "The tokens of the first admin's session", body = Pair)))]
pub(crate) async fn set_up(ask: Ask) -> Answer {
    ask.query(&[])?;
    let mut fields = ask.fields(&["token", "username", "password"]).await?;
    let (token, name, password) = (fields.text("token")?, fields.text("username")?, fields.text("password")?);
    fields.finish()?;
    check(&ask, token.clone()).await?;
    let name = UserName::new(name).map_err(|error| Problem::invalid("username", error.to_string()))?;
    password::check(&password).map_err(|unfit| Problem::invalid("password", unfit.to_string()))?;
    let api = ask.api.clone();
    let work = async move {
        let hash = auth::hash(&api, password).await?;
        api.files.set_up(&token, name, hash).await.map_err(refused)
    };
    let admin = ask.api.run(work).await?;
    auth::log_in(&ask, admin, StatusCode::CREATED).await
}

/// Before any work: a token that doesn't count is refused, and too many of them unseen. One that does is held up by nobody's guesses.
async fn check(ask: &Ask, token: String) -> Result<(), Problem> {
    // Whether it is set up takes a look at all users, and never changes back: not for everybody who posts.
    if ask.api.is_set_up.load(Ordering::Relaxed) {
        return Err(set_up_already());
    }
    let api = ask.api.clone();
    let work = async move {
        let counts = api.files.is_setup_token(&token).await;
        if matches!(counts, Err(Error::Gone)) {
            api.is_set_up.store(true, Ordering::Relaxed);
        }
        counts.map_err(refused)
    };
    if ask.api.run(work).await? {
        return Ok(());
    }
    auth::begin_attempt(ask, &ask.api.setups, "")?;
    Err(no_link())
}

fn refused(error: Error) -> Problem {
    match error {
        Error::Gone => set_up_already(),
        Error::NotFound(_) => no_link(),
        error => error.into(),
    }
}

fn set_up_already() -> Problem {
    Problem::new(Code::Gone, "this larder is set up: log in")
}

fn no_link() -> Problem {
    Problem::unauthenticated("the set-up link is not valid any more: `larder setup-link` prints a new one")
}
