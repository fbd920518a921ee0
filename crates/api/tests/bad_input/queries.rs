use crate::Scene;

#[test]
pub(crate) fn queries_with_unknown_repeated_or_wrong_parameters() {
    let scene = Scene::new();
    for query in [
        "nmae=a",
        "Name=a",
        "types=image/png",
        "created_after=2026-01-01",
        "created_after=yesterday",
        "created_before=",
        "created_before=2026-01-01T00:00:00",
        "delimiter=",
        "delimiter=x",
        "delimiter=//",
        "delimiter=/&sort=created_at",
        "delimiter=/&sort=-size",
        "bucket=documents&bucket=images",
        "limit=0",
        "limit=1001",
        "limit=-1",
        "limit=%2B1",
        "limit=1.5",
        "limit=",
        "limit=x",
        "limit=99999999999999999999",
        "sort=names",
        "sort=--name",
        "sort=%2Bname",
        "sort=-",
        "sort=Name",
        "sort=",
        "deleted=1",
        "deleted=",
        "deleted=TRUE",
        "cursor=",
        "cursor=x",
        "cursor=%00",
        "cursor=AAAA",
        "cursor=AAAAAAAAAAAAAAAAAAAAAAAA",
        // A right one, of a list in another order.
        "cursor=YwAAAAAAAAAAAAAAAAAAAAc&sort=name",
        "=",
        "=x",
    ] {
        scene.refuses(&[(&format!("GET /api/v1/files?{query}"), &[], "", 422, "invalid")]);
    }
    for query in ["%", "name=%", "name=%f", "name=%gg", "q=%ff"] {
        scene.refuses(&[(&format!("GET /api/v1/files?{query}"), &[], "", 400, "malformed")]);
    }
    scene.refuses(&[
        ("GET /api/v1/files?bucket=nowhere", &[], "", 404, "not_found"),
        ("GET /api/v1/files/{file}?x=1", &[], "", 422, "invalid"),
        ("GET /api/v1/files/{file}/content?disposition=form-data", &[], "", 422, "invalid"),
        ("GET /api/v1/files/{file}/content?disposition=", &[], "", 422, "invalid"),
        ("GET /api/v1/files/{file}/content?revision=0", &[], "", 422, "invalid"),
        ("GET /api/v1/files/{file}/content?revision=x", &[], "", 422, "invalid"),
        ("GET /api/v1/files/{file}/content?revision=2", &[], "", 404, "not_found"),
        ("GET /api/v1/files/{file}/content?download=1", &[], "", 422, "invalid"),
        ("GET /api/v1/files/{file}/revisions?limit=1001", &[], "", 422, "invalid"),
        ("GET /api/v1/buckets?x=1", &[], "", 422, "invalid"),
        ("GET /health/live?x=1", &[], "", 422, "invalid"),
        ("DELETE /api/v1/files/{file}?purge=1", &[], "", 422, "invalid"),
        ("DELETE /api/v1/files/{file}?purge", &[], "", 422, "invalid"),
        ("DELETE /api/v1/files/{file}?force=true", &[], "", 422, "invalid"),
        ("POST /api/v1/files/{trashed}/restore?name=x", &[], "", 422, "invalid"),
        ("PUT /api/v1/files/{file}/content?name=x", &[], "x", 422, "invalid"),
        ("POST /api/v1/buckets/documents/files?name=a&tags=x", &[], "x", 422, "invalid"),
        ("POST /api/v1/buckets/documents/files?name=a&on_conflict=Replace", &[], "x", 422, "invalid"),
        ("POST /api/v1/buckets/documents/files?name=a&on_conflict=fail&on_conflict=fail", &[], "x", 422, "invalid"),
        ("POST /api/v1/buckets/documents/files?name=a&on_conflict=", &[], "x", 422, "invalid"),
    ]);
}
