//! Files by their names: the newest live one that bears it.

use crate::{
    conditions, content, openapi,
    problem::{Code, LARDER_FILE, Problem},
    request::{Answer, Ask, Query},
};
use actix_web::{
    HttpResponse,
    http::header::{self, HeaderValue},
};
use larder_files::{Attributes, Caller, Error, File, FileId};

/// How often a file is looked for again that was changed between being found and being removed.
const LOOKS: usize = 8;

/// `GET`, `HEAD /buckets/{bucket}/names/{name}`: content, as by its id.
#[utoipa::path(
    get,
    path = "/api/v1/buckets/{bucket}/names/{name}",
    operation_id = "content_by_name",
    tag = "files",
    params(openapi::ByName, openapi::NameOf, openapi::WhichContent, openapi::HowMuch),
    responses(openapi::Content)
)]
pub(crate) async fn get(ask: Ask) -> Answer {
    let caller = ask.caller().await?;
    let query = ask.query(&["owner", "disposition", "revision"])?;
    let id = find(&ask, &caller, &query).await?.attributes.id;
    told(content::serve(&ask, caller, &query, id).await, id)
}

/// `DELETE /buckets/{bucket}/names/{name}`: to the trash.
#[utoipa::path(delete, path = "/api/v1/buckets/{bucket}/names/{name}", operation_id = "trash_by_name", tag = "files",
    params(openapi::ByName, openapi::NameOf, openapi::IfVersion),
    responses((status = 204, description = "It lies in the trash")))]
pub(crate) async fn remove(ask: Ask) -> Answer {
    let caller = ask.caller().await?;
    let query = ask.query(&["owner"])?;
    let if_match = ask.list(header::IF_MATCH);
    let mut looked = 0;
    loop {
        let now = find(&ask, &caller, &query).await?.attributes;
        if !still(if_match.as_deref(), &now)? {
            return told(Err(conditions::failed()), now.id);
        }
        // As it was found: of another version it may bear another name by now.
        let (api, by, version) = (ask.api.clone(), caller.clone(), Some(now.version));
        let removed = ask.api.run(async move { Ok(api.files.remove(&by, now.id, version).await?) }).await;
        looked += 1;
        match removed {
            Err(problem) if problem.code() == Code::PreconditionFailed && looked < LOOKS => {}
            removed => {
                let removed = removed.map_err(|problem| outrun(problem, if_match.is_some()));
                return told(removed.map(|_| HttpResponse::NoContent().finish()), now.id);
            }
        }
    }
}

/// What is answered where the file was changed each time: of a request without a condition none failed.
fn outrun(problem: Problem, is_conditional: bool) -> Problem {
    if problem.code() == Code::PreconditionFailed && !is_conditional { Error::Busy.into() } else { problem }
}

/// Whether the file is the one that `If-Match` means: by the ETag of its content, which a GET by name has told, or of its record.
fn still(if_match: Option<&str>, now: &Attributes) -> Result<bool, Problem> {
    let Some(list) = if_match else { return Ok(true) };
    let content = format!("\"{}\"", now.sha256);
    if list.split(',').any(|tag| tag.trim() == content) {
        return Ok(true);
    }
    Ok(conditions::version(Some(list))?.is_none_or(|version| version == now.version))
}

async fn find(ask: &Ask, caller: &Caller, query: &Query) -> Result<File, Problem> {
    named(ask, caller, query.owned("owner"), ask.name()?).await
}

/// The newest live file of a name, if there is one.
pub(crate) async fn newest(
    ask: &Ask,
    caller: &Caller,
    owner: Option<String>,
    name: String,
) -> Result<Option<File>, Problem> {
    ask.api.files.bucket(&ask.bucket())?;
    match named(ask, caller, owner, name).await {
        Ok(file) => Ok(Some(file)),
        Err(problem) if problem.code() == Code::NotFound => Ok(None),
        Err(problem) => Err(problem),
    }
}

async fn named(ask: &Ask, caller: &Caller, owner: Option<String>, name: String) -> Result<File, Problem> {
    let (api, by, bucket) = (ask.api.clone(), caller.clone(), ask.bucket());
    ask.api.run(async move { Ok(api.files.named(&by, &bucket, owner.as_deref(), &name).await?) }).await
}

/// Says in every answer which file it is of.
pub(crate) fn told(answer: Answer, id: FileId) -> Answer {
    let value = HeaderValue::from_str(&id.to_string()).expect("an id is plain text");
    match answer {
        Ok(mut response) => {
            response.headers_mut().insert(LARDER_FILE, value);
            Ok(response)
        }
        Err(problem) => Err(problem.with(LARDER_FILE, value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_sent_no_condition_is_not_told_that_one_failed() {
        assert_eq!(outrun(conditions::failed(), false).code(), Code::Busy);
        assert_eq!(outrun(conditions::failed(), true).code(), Code::PreconditionFailed);
        assert_eq!(outrun(Problem::not_found("file"), false).code(), Code::NotFound);
    }
}
