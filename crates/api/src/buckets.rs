//! Buckets: their policies, as far as each caller has to know them.

use crate::{
    list::Items,
    request::{Answer, Ask},
};
use actix_web::HttpResponse;
use larder_files::{Bucket, Role};
use serde_json::{Value, json};

fn shown(bucket: &Bucket, viewer: Role) -> Value {
    let policy = &bucket.policy;
    let mut shown = json!({
        "id": bucket.id,
        "name": bucket.name,
        "max_bytes": policy.max_bytes,
        "types": policy.types,
        "names": "free",
        "trash_days": policy.trash_days,
        "created_at": bucket.created_at,
    });
    if viewer == Role::Admin {
        shown["placement"] = json!(policy.placement);
        shown["write_copies"] = json!(policy.write_copies);
    }
    shown
}

/// `GET /buckets`.
pub(crate) async fn list(ask: Ask) -> Answer {
    let caller = ask.caller().await?;
    ask.query(&[])?;
    Ok(Items::all(ask.api.files.buckets().iter().map(|bucket| shown(bucket, caller.role)).collect()))
}

/// `GET /buckets/{bucket}`.
pub(crate) async fn describe(ask: Ask) -> Answer {
    let caller = ask.caller().await?;
    ask.query(&[])?;
    Ok(HttpResponse::Ok().json(shown(&ask.api.files.bucket(&ask.bucket())?, caller.role)))
}
