//! Buckets: their policies, as far as each caller has to know them.

use crate::{
    list::Items,
    request::{Answer, Ask},
};
use actix_web::HttpResponse;
use larder_files::{Bucket, BucketId, BucketName, Names, Role, StoreName, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

/// A bucket's policy.
#[derive(Serialize, ToSchema)]
#[schema(as = Bucket)]
pub(crate) struct Shown {
    /// Id.
    #[schema(value_type = String, format = "uuid")]
    id: BucketId,
    /// Name.
    #[schema(value_type = String)]
    name: BucketName,
    /// Bytes of the largest file that it takes.
    max_bytes: u64,
    /// Content types that it takes; `*` for all.
    types: Vec<String>,
    /// `free`: several files may share a name; `unique`: one live file has it.
    #[schema(value_type = String)]
    names: Names,
    /// Days that the trash keeps a file.
    trash_days: u32,
    /// Whether it takes only pictures that can be read.
    pictures_only: bool,
    /// The presets of which renditions are made as soon as a picture has arrived.
    presets_ahead: Vec<String>,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// The stores of its files: for admins.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>)]
    placement: Option<Vec<StoreName>>,
    /// Durable copies that an answer waits for: for admins.
    #[serde(skip_serializing_if = "Option::is_none")]
    write_copies: Option<u32>,
}

fn shown(bucket: &Bucket, viewer: Role) -> Shown {
    let (policy, is_admin) = (bucket.policy.clone(), viewer == Role::Admin);
    Shown {
        id: bucket.id,
        name: bucket.name.clone(),
        max_bytes: policy.max_bytes,
        types: policy.types,
        names: policy.names,
        trash_days: policy.trash_days,
        pictures_only: policy.pictures_only,
        presets_ahead: policy.presets_ahead,
        created_at: bucket.created_at,
        placement: is_admin.then_some(policy.placement),
        write_copies: is_admin.then_some(policy.write_copies),
    }
}

/// `GET /buckets`.
#[utoipa::path(get, path = "/api/v1/buckets", operation_id = "list_buckets", tag = "buckets",
    responses((status = 200, description = "All of them", body = Items<Shown>)))]
pub(crate) async fn list(ask: Ask) -> Answer {
    let caller = ask.caller().await?;
    ask.query(&[])?;
    Ok(Items::all(ask.api.files.buckets().iter().map(|bucket| shown(bucket, caller.role)).collect()))
}

/// `GET /buckets/{bucket}`.
#[utoipa::path(get, path = "/api/v1/buckets/{bucket}", operation_id = "describe_bucket", tag = "buckets",
    params(("bucket" = String, Path, description = "Its name")),
    responses((status = 200, description = "Its policy", body = Shown)))]
pub(crate) async fn describe(ask: Ask) -> Answer {
    let caller = ask.caller().await?;
    ask.query(&[])?;
    Ok(HttpResponse::Ok().json(shown(&ask.api.files.bucket(&ask.bucket())?, caller.role)))
}
