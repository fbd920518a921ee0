//! Files by their names: the newest live one that bears it.

use crate::{
    conditions, content,
    problem::Problem,
    request::{Answer, Ask, Query},
};
use actix_web::{
    HttpResponse,
    http::header::{self, HeaderName, HeaderValue},
};
use larder_files::{Caller, File, FileId};

const LARDER_FILE: HeaderName = HeaderName::from_static("larder-file");

/// `GET`, `HEAD /buckets/{bucket}/names/{name}`: content, as by its id.
pub(crate) async fn get(ask: Ask) -> Answer {
    let caller = ask.caller().await?;
    let query = ask.query(&["owner", "disposition", "revision"])?;
    let id = find(&ask, &caller, &query).await?.attributes.id;
    told(content::serve(&ask, caller, &query, id).await, id)
}

/// `DELETE /buckets/{bucket}/names/{name}`: to the trash.
pub(crate) async fn remove(ask: Ask) -> Answer {
    let caller = ask.caller().await?;
    let query = ask.query(&["owner"])?;
    let if_version = conditions::version(ask.list(header::IF_MATCH).as_deref())?;
    let id = find(&ask, &caller, &query).await?.attributes.id;
    let api = ask.api.clone();
    let removed = ask.api.run(async move { Ok(api.files.remove(&caller, id, if_version).await?) }).await;
    told(removed.map(|_| HttpResponse::NoContent().finish()), id)
}

async fn find(ask: &Ask, caller: &Caller, query: &Query) -> Result<File, Problem> {
    let (api, by, bucket, owner, name) =
        (ask.api.clone(), caller.clone(), ask.bucket(), query.owned("owner"), ask.name()?);
    ask.api.run(async move { Ok(api.files.named(&by, &bucket, owner.as_deref(), &name).await?) }).await
}

/// Says in every answer which file it is of.
fn told(answer: Answer, id: FileId) -> Answer {
    let value = HeaderValue::from_str(&id.to_string()).expect("an id is plain text");
    match answer {
        Ok(mut response) => {
            response.headers_mut().insert(LARDER_FILE, value);
            Ok(response)
        }
        Err(problem) => Err(problem.with(LARDER_FILE, value)),
    }
}
