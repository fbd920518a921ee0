//! Stores: how each is, for admins.

use crate::{
    Inspect, Inspected, Profile,
    list::Items,
    request::{Answer, Ask},
};
use actix_web::HttpResponse;
use futures_util::future::join_all;
use larder_files::{StoreCheck, StoreId, StoreMode, StoreName, StoreReport};
use serde::Serialize;
use std::{borrow::Cow, sync::Arc, time::Duration};
use utoipa::ToSchema;

/// How long a list of stores waits for what their servers can do: one that is away must not hold it up.
const KNOWN_WITHIN: Duration = Duration::from_secs(2);
/// How long all that a store needs may take to be tried.
const INSPECTED_WITHIN: Duration = Duration::from_secs(120);

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
    /// Copies that are yet to be made or dropped there, are lost, or have attributes behind their file's; `null` from a start until all
    /// files have been looked at once.
    copies_pending: Option<u64>,
    /// What the server of a bucket was seen to do; `null` of a directory, and where nothing is known yet or the server is away.
    profile: Option<Profile>,
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
    /// `marker`, `mark`, `write`, `read` or `delete`; of a bucket also what `larder doctor` tries, such as `credentials` or `list`.
    check: &'static str,
    /// `passed`, `warning` or `failed`.
    result: &'static str,
    /// What is wrong; of a bucket, what was found.
    detail: Option<String>,
    /// How long it took, in milliseconds.
    latency_ms: u64,
    /// What mends it.
    #[schema(value_type = Option<String>)]
    advice: Option<Cow<'static, str>>,
}

impl Shown {
    fn new(store: StoreReport, profile: Option<Profile>) -> Self {
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
            profile,
        }
    }
}

impl From<StoreCheck> for Tried {
    fn from(tried: StoreCheck) -> Self {
        Self {
            check: tried.check,
            result: if tried.problem.is_some() { "failed" } else { "passed" },
            detail: tried.problem,
            latency_ms: millis(tried.latency),
            advice: tried.advice.map(Cow::Borrowed),
        }
    }
}

impl From<Inspected> for Tried {
    fn from(inspected: Inspected) -> Self {
        Self {
            check: inspected.check,
            result: inspected.result,
            detail: Some(inspected.detail),
            latency_ms: millis(inspected.latency),
            advice: Some(inspected.advice).filter(|advice| !advice.is_empty()).map(Cow::Owned),
        }
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// What is known of a server, if that comes soon.
async fn known(inspector: Option<Arc<dyn Inspect>>) -> Option<Profile> {
    tokio::time::timeout(KNOWN_WITHIN, inspector?.profile()).await.ok().flatten()
}

/// What a server's look at all that the store needs comes to.
async fn inspected(inspector: Arc<dyn Inspect>) -> Vec<Tried> {
    match tokio::time::timeout(INSPECTED_WITHIN, inspector.inspect()).await {
        Ok(inspected) => inspected.into_iter().map(Tried::from).collect(),
        Err(_) => vec![Tried {
            check: "server",
            result: "failed",
            detail: Some(format!("not all was tried within {} s", INSPECTED_WITHIN.as_secs())),
            latency_ms: millis(INSPECTED_WITHIN),
            advice: Some("see how busy the server and the way to it are".into()),
        }],
    }
}

/// `GET /stores`: how each is, and how many copies lie there or are yet to be made.
#[utoipa::path(get, path = "/api/v1/stores", operation_id = "list_stores", tag = "node",
    responses((status = 200, description = "All of them", body = Items<Shown>)))]
pub(crate) async fn list(ask: Ask) -> Answer {
    ask.admin("sees the stores").await?;
    ask.query(&[])?;
    let api = ask.api.clone();
    let stores = ask.api.run(async move {
        let stores = api.files.stores().await?;
        let profiles = join_all(stores.iter().map(|store| known(api.inspectors.get(&store.name).cloned()))).await;
        Ok(stores.into_iter().zip(profiles).map(|(store, profile)| Shown::new(store, profile)).collect())
    });
    Ok(Items::all(stores.await?))
}

/// `POST /stores/{store}/check`: tries what Larder needs of a store.
#[utoipa::path(post, path = "/api/v1/stores/{store}/check", operation_id = "check_store", tag = "node",
    params(("store" = String, Path, description = "Its name")),
    responses((status = 200, description = "What was tried, and what came of it", body = Checks)))]
pub(crate) async fn check(ask: Ask) -> Answer {
    ask.admin("tries a store").await?;
    ask.query(&[])?;
    let (api, name) = (ask.api.clone(), ask.request.match_info().query("store").to_owned());
    let checks = ask.api.run(async move {
        let checks = api.files.check_store(&name).await?;
        let inspector = api.inspectors.iter().find(|(store, _)| store.as_str() == name);
        let mut checks: Vec<Tried> = checks.into_iter().map(Tried::from).collect();
        if let Some((_, inspector)) = inspector {
            checks.extend(inspected(inspector.clone()).await);
        }
        Ok(checks)
    });
    Ok(HttpResponse::Ok().json(Checks { checks: checks.await? }))
}
