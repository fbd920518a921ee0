use crate::{Row, Scene};

const GET: &str = "GET /api/v1/files/{file}/content";
const PUT: &str = "PUT /api/v1/files/{file}/content";
const PATCH: &str = "PATCH /api/v1/files/{file}";
const DELETE: &str = "DELETE /api/v1/files/{file}";
const RESTORE: &str = "POST /api/v1/files/{trashed}/restore";
const JSON: (&str, &str) = ("Content-Type", "application/json");
const LONG_AGO: &str = "Sat, 01 Jan 2000 00:00:00 GMT";

#[test]
pub(crate) fn conditions_that_are_false_or_none() {
    let failed = "precondition_failed";
    let name = r#"{"name":"x"}"#;
    let rows: &[Row<'_>] = &[
        (GET, &[("If-Match", "\"x\"")], "", 412, failed),
        (GET, &[("If-Match", "W/{etag}")], "", 412, failed),
        (GET, &[("If-Match", "\"v1\"")], "", 412, failed),
        (GET, &[("If-Match", "")], "", 412, failed),
        (GET, &[("If-Unmodified-Since", LONG_AGO)], "", 412, failed),
        (GET, &[("If-Match", "\"x\""), ("If-None-Match", "{etag}")], "", 412, failed),
        (PUT, &[("If-Match", "\"x\"")], "x", 412, failed),
        (PUT, &[("If-Match", "W/{etag}")], "x", 412, failed),
        (PUT, &[("If-Match", "\"v1\"")], "x", 412, failed),
        (PUT, &[("If-None-Match", "*")], "x", 412, failed),
        (PUT, &[("If-None-Match", "{etag}")], "x", 412, failed),
        (PUT, &[("If-Unmodified-Since", LONG_AGO)], "x", 412, failed),
        (PATCH, &[JSON, ("If-Match", "\"v0\"")], name, 412, failed),
        (PATCH, &[JSON, ("If-Match", "\"v2\"")], name, 412, failed),
        (PATCH, &[JSON, ("If-Match", "W/\"v1\"")], name, 412, failed),
        (PATCH, &[JSON, ("If-Match", "v1")], name, 412, failed),
        (PATCH, &[JSON, ("If-Match", "\"1\"")], name, 412, failed),
        (PATCH, &[JSON, ("If-Match", "{etag}")], name, 412, failed),
        (PATCH, &[JSON, ("If-Match", "\"v1\", \"v2\"")], name, 422, "invalid"),
        (DELETE, &[("If-Match", "\"v7\"")], "", 412, failed),
        (DELETE, &[("If-Match", "{etag}")], "", 412, failed),
        ("DELETE /api/v1/files/{file}?purge=true", &[("If-Match", "\"v7\"")], "", 412, failed),
        (RESTORE, &[("If-Match", "\"v1\"")], "", 412, failed),
    ];
    Scene::new().refuses(rows);
}
