//! Import: a file whose content this server fetches from a URL. Off unless configured, since it makes this server open connections to
//! where others tell it to; what it may reach, and why a refusal says no more, is told by `larder-fetch`.

use crate::{
    direct::{on_conflict, required, taken},
    openapi,
    problem::{Code, Problem},
    record::Record,
    request::{Answer, Ask},
    upload::{self, IDEMPOTENCY_KEY, idempotency},
};
use futures_util::{StreamExt, TryStreamExt};
use larder_fetch::{Cause, Error as FetchError};
use larder_files::{Body, BodyError, Caller, Error, Files, NewFile, Receive};

/// `POST /buckets/{bucket}/imports`: a new file of what lies at a URL.
#[utoipa::path(post, path = "/api/v1/buckets/{bucket}/imports", operation_id = "import", tag = "files",
    params(("bucket" = String, Path, description = "The bucket")), request_body = openapi::ToImport,
    responses((status = 200, description = "The file that was replaced", body = Record), (status = 201, description = "The new file", body = Record,
        headers(("Location" = String, description = "The record"), ("ETag" = String, description = "Of the record")))))]
pub(crate) async fn import(ask: Ask) -> Answer {
    let caller = ask.caller().await?;
    let query = ask.query(&[])?;
    let mut fields = ask.fields(&["url", "name", "tags", "metadata", "on_conflict"]).await?;
    let url: String = required(&mut fields, "url", "a text is expected")?;
    let name: Option<String> = taken(&mut fields, "name", "a text is expected")?;
    let new = NewFile {
        tags: taken(&mut fields, "tags", "an array of texts is expected")?.unwrap_or_default(),
        metadata: taken(&mut fields, "metadata", "an object is expected")?.unwrap_or_default(),
        on_conflict: on_conflict(&mut fields)?,
        ..NewFile::default()
    };
    fields.finish()?;
    let bucket = ask.bucket();
    ask.api.files.bucket(&bucket)?;
    let Some(fetcher) = ask.api.imports.clone() else {
        let detail = "this server fetches nothing from URLs: whoever runs it turns that on by `imports.enabled`";
        return Err(Problem::new(Code::Forbidden, detail));
    };
    let texts = [Some(url.as_str()), name.as_deref(), Some(new.on_conflict.name())];
    let key = ask.header(IDEMPOTENCY_KEY)?;
    let idempotency = key.map(|key| idempotency(&ask, &query, key, &texts)).transpose()?;
    let receive = Receive { bucket, name_hint: name.clone().unwrap_or_default(), idempotency, ..Receive::default() };
    check(&ask, &caller, &receive, name.as_deref(), &new).await?;
    let slot = upload::begin(&ask, &caller)?;
    let busy = || Problem::new(Code::Busy, "too many imports are under way").retry_after(5);
    let turn = ask.api.importing.clone().try_acquire_owned().map_err(|_| busy())?;
    let (api, by) = (ask.api.clone(), caller.clone());
    let task = ask.api.spawn(async move {
        let (_slot, _turn) = (slot, turn);
        let fetched = fetcher.open(&url).await.map_err(|error| refused(error.cause()))?;
        let name = name.or(fetched.name).unwrap_or_else(|| "import".into());
        let receive = Receive { name_hint: name.clone(), ..receive };
        let body = Body::once(fetched.stream.map_err(BodyError::from).boxed(), fetched.size);
        let received = api.files.receive(&by, receive, body).await.map_err(broken_off)?;
        let new = NewFile { name, declared_type: fetched.content_type, ..new };
        Ok(api.files.create(&by, received, new).await?)
    });
    Ok(upload::made(&ask, &caller, &upload::joined(task).await?))
}

/// Refuses what could not be made a file of, before anything is fetched for it.
async fn check(
    ask: &Ask,
    caller: &Caller,
    receive: &Receive,
    name: Option<&str>,
    new: &NewFile,
) -> Result<(), Problem> {
    Files::check_new(&NewFile { name: name.unwrap_or("import").into(), ..new.clone() })?;
    match name {
        Some(_) => upload::check_name_free(ask, caller, receive, new.on_conflict).await,
        None => Ok(()),
    }
}

/// One refusal, whatever it was: the differences would tell what lives on the network around this server.
fn refused(cause: &Cause) -> Problem {
    tracing::info!(%cause, source = std::error::Error::source(cause).map(tracing::field::display), "nothing was imported");
    Problem::invalid("url", "it can't be imported: it must be a public `https` URL of a file that is not too large")
}

/// Content that broke off on its way, or was more than the bucket takes, is refused alike.
fn broken_off(error: Error) -> Problem {
    match error {
        Error::Body(cause) => match cause.downcast::<FetchError>() {
            Ok(error) => refused(error.cause()),
            Err(_) => refused(&Cause::Url),
        },
        Error::TooLarge { max } => refused(&Cause::TooLarge { max }),
        other => other.into(),
    }
}
