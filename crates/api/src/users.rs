//! Users: listed, added, changed and deleted by admins; each sees their own record, and changes their own password.

use crate::{
    auth,
    list::{Items, limit, no_cursor},
    openapi, password,
    problem::{Code, Problem},
    record::Person,
    request::{Answer, Ask, Fields},
    upload::{self, IDEMPOTENCY_KEY},
};
use actix_web::{
    HttpResponse,
    http::{StatusCode, header},
};
use data_encoding::BASE64URL_NOPAD;
use larder_files::{Caller, Error, FilesOf, Role, User, UserId, UserName};
use uuid::Uuid;

/// Who owns more is deleted on the command line: a request must end.
const FILES_MAX: usize = 1000;

/// `GET /users`: in order of id.
#[utoipa::path(get, path = "/api/v1/users", operation_id = "list_users", tag = "people", params(openapi::PageOf),
    responses((status = 200, description = "A page, in order of id", body = Items<Person>)))]
pub(crate) async fn list(ask: Ask) -> Answer {
    ask.admin("sees all users").await?;
    let query = ask.query(&["limit", "cursor"])?;
    let limit = limit(&query)?;
    let after = query.get("cursor").map(|text| place(text).ok_or_else(no_cursor)).transpose()?;
    let api = ask.api.clone();
    let mut users = ask.api.run(async move { Ok(api.files.users_behind(after, limit + 1).await?) }).await?;
    let more = users.len() > limit;
    users.truncate(limit);
    let next_cursor = users.last().filter(|_| more).map(|user| BASE64URL_NOPAD.encode(user.id.0.as_bytes()));
    let items = users.into_iter().map(Person::from).collect();
    Ok(HttpResponse::Ok().json(Items { items, prefixes: None, next_cursor }))
}

fn place(cursor: &str) -> Option<UserId> {
    let bytes = BASE64URL_NOPAD.decode(cursor.as_bytes()).ok()?;
    Uuid::from_slice(&bytes).ok().map(UserId)
}

/// `POST /users`.
#[utoipa::path(post, path = "/api/v1/users", operation_id = "add_user", tag = "people", params(openapi::Repeatable), request_body = openapi::NewPerson,
    responses((status = 201, description = "The new user", body = Person)))]
pub(crate) async fn add(ask: Ask) -> Answer {
    let caller = ask.admin("adds users").await?;
    let query = ask.query(&[])?;
    let key = ask.header(IDEMPOTENCY_KEY)?.map(ToOwned::to_owned);
    let mut fields = ask.fields(&["username", "password", "role"]).await?;
    let name =
        UserName::new(fields.text("username")?).map_err(|error| Problem::invalid("username", error.to_string()))?;
    let (password, role) = (new_password(&mut fields)?, role(&mut fields)?.unwrap_or(Role::User));
    let password = password.ok_or_else(|| Problem::invalid("password", "is missing"))?;
    fields.finish()?;
    let told = [Some(name.as_str()), Some(&password), Some(if role == Role::Admin { "admin" } else { "user" })];
    let key = key.map(|key| upload::idempotency(&ask, &query, &key, &told)).transpose()?;
    let api = ask.api.clone();
    let work = async move {
        let hash = Some(auth::hash(&api, password).await?);
        match key {
            Some(key) => api.files.add_user_once(&caller, key, name, role, hash).await.map_err(gone),
            None => Ok((api.files.add_user(name, role, hash).await?, None)),
        }
    };
    let (user, repeated) = ask.api.run(work).await?;
    let status = repeated.and_then(|status| StatusCode::from_u16(status).ok()).unwrap_or(StatusCode::CREATED);
    let place = format!("/api/v1/users/{}", user.id);
    Ok(HttpResponse::build(status).insert_header((header::LOCATION, place)).json(Person::from(user)))
}

/// The answer to a repeat of a request whose user was deleted since.
fn gone(error: Error) -> Problem {
    match error {
        Error::Gone => Problem::new(Code::Gone, "the user was deleted"),
        error => error.into(),
    }
}

/// `GET /users/{id}`: an admin anybody's, a user their own.
#[utoipa::path(get, path = "/api/v1/users/{id}", operation_id = "describe_user", tag = "people", params(("id" = String, Path, format = "uuid", description = "The user")),
    responses((status = 200, description = "The record", body = Person)))]
pub(crate) async fn describe(ask: Ask) -> Answer {
    let caller = ask.caller().await?;
    ask.query(&[])?;
    Ok(HttpResponse::Ok().json(Person::from(present(&ask, &caller).await?)))
}

/// `PATCH /users/{id}`: role and password; who changes their own password proves that they know the present one.
#[utoipa::path(patch, path = "/api/v1/users/{id}", operation_id = "update_user", tag = "people", params(("id" = String, Path, format = "uuid", description = "The user")),
    request_body(content((openapi::PersonPatch = "application/merge-patch+json"), (openapi::PersonPatch = "application/json"))),
    responses((status = 200, description = "The record", body = Person)))]
pub(crate) async fn update(ask: Ask) -> Answer {
    let caller = ask.caller().await?;
    ask.query(&[])?;
    let user = present(&ask, &caller).await?;
    let mut fields = ask.fields(&["username", "password", "role", "current_password"]).await?;
    if fields.take("username").is_some() {
        return Err(Problem::invalid("username", "a name never changes"));
    }
    let (password, role) = (new_password(&mut fields)?, role(&mut fields)?);
    let current = fields.text_if_any("current_password")?;
    fields.finish()?;
    if role.is_some() && caller.role != Role::Admin {
        return Err(Problem::new(Code::Forbidden, "only an admin changes roles"));
    }
    if password.is_some() && user.id == caller.id {
        prove(&ask, &user, current).await?;
    }
    let api = ask.api.clone();
    let work = async move {
        let hash = match password {
            Some(password) => Some(auth::hash(&api, password).await?),
            None => None,
        };
        let changed = api.files.update_user(user.id, role, hash).await;
        api.callers.forget(user.id);
        Ok(changed?)
    };
    Ok(HttpResponse::Ok().json(Person::from(ask.api.run(work).await?)))
}

/// An open session may have been stolen: it alone gives nobody the account. Wrong guesses count as failed log-ins do.
async fn prove(ask: &Ask, user: &User, current: Option<String>) -> Result<(), Problem> {
    let current = current.ok_or_else(|| Problem::invalid("current_password", "is missing"))?;
    // Counted apart: failed log-ins, which anybody can make, must not keep the owner of an account from changing its password.
    let known = auth::attempt(ask, &ask.api.proofs, user.name.to_string(), current).await?;
    known.map(drop).ok_or_else(|| Problem::invalid("current_password", "is wrong"))
}

/// `DELETE /users/{id}`: with `?files=purge` or `?files_to=NAME` where they own files.
#[utoipa::path(delete, path = "/api/v1/users/{id}", operation_id = "delete_user", tag = "people",
    params(("id" = String, Path, format = "uuid", description = "The user"),
        ("files" = Option<String>, Query, pattern = "^purge$", description = "`purge`: their files go for ever"),
        ("files_to" = Option<String>, Query, pattern = "^[a-z0-9][a-z0-9._-]{0,39}$", description = "Who is given their files")),
    responses((status = 204, description = "Gone")))]
pub(crate) async fn remove(ask: Ask) -> Answer {
    let caller = ask.caller().await?;
    let query = ask.query(&["files", "files_to"])?;
    let id = whose(&ask, &caller)?;
    if caller.role != Role::Admin {
        return Err(Problem::new(Code::Forbidden, "only an admin deletes users"));
    }
    let of = match (query.get("files"), query.get("files_to")) {
        (None, None) => FilesOf::Refuse,
        (Some("purge"), None) => FilesOf::Purge,
        (None, Some(name)) => {
            FilesOf::GiveTo(UserName::new(name).map_err(|error| Problem::invalid("files_to", error.to_string()))?)
        }
        (Some("purge"), Some(_)) => {
            return Err(Problem::invalid("files_to", "the files are purged or given, not both"));
        }
        (Some(_), _) => return Err(Problem::invalid("files", "only `purge` is known")),
    };
    let api = ask.api.clone();
    let work = async move {
        // Also one who is gone already: a deletion that broke off goes on.
        api.files.user(id).await?.ok_or(Error::NotFound("user"))?;
        match api.files.count_owned(id, FILES_MAX + 1).await? {
            0 => {}
            owned if owned > FILES_MAX => {
                let why = format!("the user owns more than {FILES_MAX} files: `larder user delete` deletes them");
                return Err(Problem::new(Code::Conflict, why));
            }
            owned if of == FilesOf::Refuse => {
                let files = if owned == 1 { "1 file".into() } else { format!("{owned} files") };
                let why =
                    format!("the user owns {files}: `?files=purge` purges them, `?files_to=NAME` gives them away");
                return Err(Problem::new(Code::Conflict, why));
            }
            _ => {}
        }
        let deleted = api.files.delete_user(id, of).await;
        api.callers.forget(id);
        deleted?;
        Ok(())
    };
    ask.api.run(work).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// The user in the path, whom the caller may know of: another is as absent.
fn whose(ask: &Ask, caller: &Caller) -> Result<UserId, Problem> {
    let id = UserId::parse(ask.request.match_info().query("id"));
    id.filter(|id| caller.sees(*id)).ok_or_else(|| Problem::not_found("user"))
}

async fn present(ask: &Ask, caller: &Caller) -> Result<User, Problem> {
    let (api, id) = (ask.api.clone(), whose(ask, caller)?);
    ask.api.run(async move { Ok(api.files.present_user(id).await?) }).await
}

fn new_password(fields: &mut Fields) -> Result<Option<String>, Problem> {
    let password = fields.text_if_any("password")?;
    if let Some(password) = &password {
        password::check(password).map_err(|unfit| Problem::invalid("password", unfit.to_string()))?;
    }
    Ok(password)
}

fn role(fields: &mut Fields) -> Result<Option<Role>, Problem> {
    let Some(text) = fields.text_if_any("role")? else { return Ok(None) };
    match text.as_str() {
        "admin" => Ok(Some(Role::Admin)),
        "user" => Ok(Some(Role::User)),
        _ => Err(Problem::invalid("role", "`admin` or `user` is expected")),
    }
}
