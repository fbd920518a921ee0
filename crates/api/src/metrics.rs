//! [`Metrics`]: what a server counts of itself, as OpenMetrics text. docs/operations.md tells each name with its unit.

use crate::{
    health,
    problem::{Code, Problem},
    request::{Answer, Ask},
    server::Api,
};
use actix_web::{
    HttpResponse,
    http::{Method, header},
    web,
};
use larder_files::Role;
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};
use std::{
    borrow::Cow,
    fmt,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};
use subtle::ConstantTimeEq;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// From a small download to an upload of some gigabytes.
const SECONDS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0, 300.0];

/// A number that only rises.
pub(crate) type Counted = Counter<u64, AtomicU64>;

/// A request that was answered.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    #[prometheus(flatten)]
    timed: Timed,
    status: u16,
}

/// What requests are timed by.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Timed {
    method: &'static str,
    route: Cow<'static, str>,
}

/// A state that a node may be in.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct State {
    state: &'static str,
}

/// How a rendition was had.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RenditionOf {
    outcome: &'static str,
}

/// Counts requests, and what is under way.
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<Answered, Counted>,
    seconds: Family<Timed, Histogram>,
    received: Counted,
    uploads: Gauge,
    downloads: Gauge,
    states: Family<State, Gauge>,
    renditions: Family<RenditionOf, Counted>,
    kept: Gauge,
    kept_bytes: Gauge,
}

impl Metrics {
    /// Adds the server's own to what `registry` has from others.
    pub(crate) fn new(mut registry: Registry) -> Self {
        let metrics = Self {
            requests: Family::default(),
            seconds: Family::new_with_constructor(|| Histogram::new(SECONDS)),
            received: Counter::default(),
            uploads: Gauge::default(),
            downloads: Gauge::default(),
            states: Family::default(),
            renditions: Family::default(),
            kept: Gauge::default(),
            kept_bytes: Gauge::default(),
            registry: Registry::default(),
        };
        let http = registry.sub_registry_with_prefix("larder_http");
        http.register("requests", "Requests answered, by route and status", metrics.requests.clone());
        let seconds =
            "Time from a request's head to its answer's head; an upload's body lies between, a download's does not";
        http.register_with_unit("request_duration", seconds, Unit::Seconds, metrics.seconds.clone());
        http.register_with_unit("received", "Bytes of bodies received", Unit::Bytes, metrics.received.clone());
        http.register("uploads_under_way", "Bodies of files on their way in", metrics.uploads.clone());
        http.register("downloads_under_way", "Contents on their way out", metrics.downloads.clone());
        registry.register("larder_node_state", "1 for the state that this node is in", metrics.states.clone());
        let pictures = registry.sub_registry_with_prefix("larder_renditions");
        let answered = "Renditions by where they came from: `made`, `cached`, `joined` with another request for the same, `busy`, `failed`";
        pictures.register("answered", answered, metrics.renditions.clone());
        pictures.register("kept", "Renditions that are kept, as far as this node knows", metrics.kept.clone());
        pictures.register_with_unit("kept", "Their bytes on the store", Unit::Bytes, metrics.kept_bytes.clone());
        Self { registry, ..metrics }
    }

    /// Counts a request. `route` is the pattern that it fitted, so that no client decides how many there are.
    pub(crate) fn answered(&self, method: &Method, route: Option<String>, status: u16, took: Duration) {
        let method = known(method);
        let route = route.map_or(Cow::Borrowed("none"), Cow::Owned);
        let answered = Answered { timed: Timed { method, route }, status };
        self.seconds.get_or_create(&answered.timed).observe(took.as_secs_f64());
        self.requests.get_or_create(&answered).inc();
    }

    /// What is told of each byte of a body.
    pub(crate) fn received(&self) -> Counted {
        self.received.clone()
    }

    fn text(&self, api: &Api) -> Result<String, fmt::Error> {
        let count = |bodies: usize| i64::try_from(bodies).unwrap_or(i64::MAX);
        self.uploads.set(count(api.incoming.under_way()));
        self.downloads.set(count(api.outgoing.under_way()));
        let (now, _) = health::state(api);
        for state in ["ready", "degraded", "unavailable"] {
            self.states.get_or_create(&State { state }).set(i64::from(state == now));
        }
        let counts = api.renditions.counts();
        let of = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        for (outcome, number) in [
            ("made", counts.made),
            ("cached", counts.cached),
            ("joined", counts.joined),
            ("busy", counts.busy),
            ("failed", counts.failed),
        ] {
            // It only rises: it is counted where it happens.
            self.renditions.get_or_create(&RenditionOf { outcome }).inner().store(number, Ordering::Relaxed);
        }
        self.kept.set(of(counts.kept));
        self.kept_bytes.set(of(counts.kept_bytes));
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

/// The method, of those that there are: a client may invent others.
fn known(method: &Method) -> &'static str {
    let all = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    all.into_iter().find(|known| *known == method.as_str()).unwrap_or("other")
}

/// `GET /metrics`: for admins, and for who has the token of the configuration.
#[utoipa::path(get, path = "/metrics", operation_id = "metrics", tag = "node",
    responses((status = 200, description = "OpenMetrics text", content_type = "application/openmetrics-text", body = String)))]
pub(crate) async fn metrics(ask: Ask) -> Answer {
    ask.query(&[])?;
    if !has_token(&ask) && ask.caller().await?.role != Role::Admin {
        return Err(Problem::new(
            Code::Forbidden,
            "metrics are for admins, and for who has the configured metrics_token",
        ));
    }
    Ok(tell(&ask.api))
}

fn has_token(ask: &Ask) -> bool {
    let Some(token) = &ask.api.metrics_token else { return false };
    let given = ask.request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let given = given.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
    given.as_bytes().ct_eq(token.0.as_bytes()).into()
}

/// `GET /metrics` where it listens for nothing else: who reaches it may read it.
pub(crate) async fn open(api: web::Data<Api>) -> HttpResponse {
    tell(&api)
}

fn tell(api: &Api) -> HttpResponse {
    match api.metrics.text(api) {
        Ok(text) => HttpResponse::Ok().content_type(OPEN_METRICS).body(text),
        Err(_) => HttpResponse::InternalServerError().finish(),
    }
}

/// What opens `/metrics` to who is no user.
#[derive(Clone)]
pub struct MetricsToken(String);

impl MetricsToken {
    /// Bytes that a token has at least.
    pub const BYTES_MIN: usize = 32;

    /// The token `text`; `None` where it is too short to be a secret or one character again and again, or can't stand in a header.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let first = text.bytes().next();
        let good = text.len() >= Self::BYTES_MIN
            && text.bytes().all(|byte| byte.is_ascii_graphic())
            && text.bytes().any(|byte| Some(byte) != first);
        good.then(|| Self(text.to_owned()))
    }
}

impl fmt::Debug for MetricsToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MetricsToken")
    }
}
