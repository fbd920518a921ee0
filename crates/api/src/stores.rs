//! Stores: how each is, for admins.

use crate::{
    list::Items,
    request::{Answer, Ask},
};
use actix_web::HttpResponse;
use larder_files::{StoreCheck, StoreId, StoreMode, StoreName, StoreReport};
use serde::Serialize;
use utoipa::ToSchema;

/// A store as it is now.
#[derive(Serialize, ToSchema)]
#[schema(as = Store)]
pub(crate) struct Shown {
    /// Id.
    #[schema(value_type = String, format = "uuid")]
    id: StoreId,
    /// Its name in the configuration.
    #[schema(value_type = String)]
    name: StoreName,
    /// What it is, such as `local`.
    kind: String,
    /// Where it is.
    place: String,
    /// What it may be used for: `edit`, `rw`, `ro`.
    #[schema(value_type = String)]
    mode: StoreMode,
    /// `ready`, or `away` while it does not show itself.
    state: &'static str,
    /// Why it is away.
    detail: Option<String>,
    /// What is left there; `null` of a store that does not tell, or is away.
    space: Option<Space>,
    /// Copies of revisions that content may be read from.
    objects: u64,
    /// Copies that are yet to be made there, are lost, or have attributes behind their file's; `null` from a start until all files
    /// have been looked at once.
    copies_pending: Option<u64>,
}

/// Room on a store.
#[derive(Serialize, ToSchema)]
pub(crate) struct Space {
    /// Bytes that may still be written.
    free_bytes: u64,
    /// Bytes in all.
    total_bytes: u64,
}

/// What was tried on a store.
#[derive(Serialize, ToSchema)]
pub(crate) struct Checks {
    /// In the order in which they were tried.
    checks: Vec<Tried>,
}

/// One thing that was tried.
#[derive(Serialize, ToSchema)]
pub(crate) struct Tried {
    /// `marker`, `mark`, `write`, `read` or `delete`.
    check: &'static str,
    /// `passed` or `failed`.
    result: &'static str,
    /// What is wrong.
    detail: Option<String>,
    /// How long it took, in milliseconds.
    latency_ms: u64,
    /// What mends it.
    advice: Option<&'static str>,
}

impl From<StoreReport> for Shown {
    fn from(store: StoreReport) -> Self {
        let (kind, place) = store.place.split_once(':').unwrap_or((&store.place, ""));
        Self {
            id: store.id,
            name: store.name,
            kind: kind.to_owned(),
            // A bucket is `s3://bucket/folder`.
            place: place.strip_prefix("//").unwrap_or(place).to_owned(),
            mode: store.mode,
            state: if store.away.is_some() { "away" } else { "ready" },
            detail: store.away,
            space: store.space.map(|space| Space { free_bytes: space.free, total_bytes: space.total }),
            objects: store.copies,
            copies_pending: store.copies_due,
        }
    }
}

impl From<StoreCheck> for Tried {
    fn from(tried: StoreCheck) -> Self {
        Self {
            check: tried.check,
            result: if tried.problem.is_some() { "failed" } else { "passed" },
            detail: tried.problem,
            latency_ms: u64::try_from(tried.latency.as_millis()).unwrap_or(u64::MAX),
            advice: tried.advice,
        }
    }
}

/// `GET /stores`: how each is, and how many copies lie there or are yet to be made.
#[utoipa::path(get, path = "/api/v1/stores", operation_id = "list_stores", tag = "node",
    responses((status = 200, description = "All of them", body = Items<Shown>)))]
pub(crate) async fn list(ask: Ask) -> Answer {
    ask.admin("sees the stores").await?;
    ask.query(&[])?;
    let api = ask.api.clone();
    let stores = ask.api.run(async move { Ok(api.files.stores().await?) }).await?;
    Ok(Items::all(stores.into_iter().map(Shown::from).collect()))
}

/// `POST /stores/{store}/check`: tries what Larder needs of a store.
#[utoipa::path(post, path = "/api/v1/stores/{store}/check", operation_id = "check_store", tag = "node",
    params(("store" = String, Path, description = "Its name")),
    responses((status = 200, description = "What was tried, and what came of it", body = Checks)))]
pub(crate) async fn check(ask: Ask) -> Answer {
    ask.admin("tries a store").await?;
    ask.query(&[])?;
    let (api, name) = (ask.api.clone(), ask.request.match_info().query("store").to_owned());
    let checks = ask.api.run(async move { Ok(api.files.check_store(&name).await?) }).await?;
    Ok(HttpResponse::Ok().json(Checks { checks: checks.into_iter().map(Tried::from).collect() }))
}
