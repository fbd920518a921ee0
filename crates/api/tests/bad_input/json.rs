use crate::{Row, Scene};

const PATCH: &str = "PATCH /api/v1/files/{file}";
const LOGIN: &str = "POST /api/v1/auth/login";
const JSON: &[(&str, &str)] = &[("Content-Type", "application/json")];

#[test]
fn patches_that_are_none() {
    let deep = format!("{{\"metadata\":{}1{}}}", "{\"a\":".repeat(200), "}".repeat(200));
    let long = format!("{{\"metadata\":{{\"a\":\"{}\"}}}}", "x".repeat(2600));
    let many = format!("{{\"tags\":[{}]}}", vec!["\"t\""; 1000].join(","));
    let rows: &[Row<'_>] = &[
        (PATCH, &[], "{}", 415, "unsupported_type"),
        (PATCH, &[("Content-Type", "text/plain")], "{}", 415, "unsupported_type"),
        (PATCH, &[("Content-Type", "application/x-www-form-urlencoded")], "name=x", 415, "unsupported_type"),
        (PATCH, JSON, "", 400, "malformed"),
        (PATCH, JSON, "{", 400, "malformed"),
        (PATCH, JSON, "{}}", 400, "malformed"),
        (PATCH, JSON, "[]", 400, "malformed"),
        (PATCH, JSON, "null", 400, "malformed"),
        (PATCH, JSON, "\"name\"", 400, "malformed"),
        (PATCH, JSON, "{\"name\":\"\\ud800\"}", 400, "malformed"),
        (PATCH, JSON, "{\"name\":\"a\nb\"}", 400, "malformed"),
        (PATCH, JSON, "{'name':'x'}", 400, "malformed"),
        (PATCH, JSON, "{\"metadata\":{\"a\":NaN}}", 400, "malformed"),
        (PATCH, JSON, "{\"metadata\":{\"a\":1e999}}", 400, "malformed"),
        (PATCH, JSON, &deep, 400, "malformed"),
        (PATCH, JSON, "{\"nmae\":\"x\"}", 422, "invalid"),
        (PATCH, JSON, "{\"id\":\"x\"}", 422, "invalid"),
        (PATCH, JSON, "{\"size\":0}", 422, "invalid"),
        (PATCH, JSON, "{\"deleted_at\":null}", 422, "invalid"),
        (PATCH, JSON, "{\"name\":null}", 422, "invalid"),
        (PATCH, JSON, "{\"name\":1}", 422, "invalid"),
        (PATCH, JSON, "{\"name\":\"\"}", 422, "invalid"),
        (PATCH, JSON, "{\"name\":\"a\\u0000b\"}", 422, "invalid"),
        (PATCH, JSON, "{\"tags\":\"x\"}", 422, "invalid"),
        (PATCH, JSON, "{\"tags\":[1]}", 422, "invalid"),
        (PATCH, JSON, "{\"tags\":[null]}", 422, "invalid"),
        (PATCH, JSON, &many, 422, "invalid"),
        (PATCH, JSON, "{\"metadata\":[]}", 422, "invalid"),
        (PATCH, JSON, "{\"metadata\":\"x\"}", 422, "invalid"),
        (PATCH, JSON, &long, 422, "invalid"),
        (PATCH, JSON, "{\"name\":\"new\",\"metadata\":1}", 422, "invalid"),
        (PATCH, JSON, "{\"owner\":\"bob\"}", 403, "forbidden"),
        (PATCH, JSON, "{\"bucket\":\"images\"}", 403, "forbidden"),
        ("PATCH /api/v1/files/{file}?name=x", JSON, "{}", 422, "invalid"),
    ];
    Scene::new().refuses(rows);
}

#[test]
fn log_ins_that_are_none() {
    let rows: &[Row<'_>] = &[
        (LOGIN, &[], "{}", 415, "unsupported_type"),
        (LOGIN, &[("Content-Type", "application/x-www-form-urlencoded")], "username=a", 415, "unsupported_type"),
        (LOGIN, JSON, "", 400, "malformed"),
        (LOGIN, JSON, "[]", 400, "malformed"),
        (LOGIN, JSON, "{}", 422, "invalid"),
        (LOGIN, JSON, "{\"username\":\"ada\"}", 422, "invalid"),
        (LOGIN, JSON, "{\"password\":\"x\"}", 422, "invalid"),
        (LOGIN, JSON, "{\"username\":1,\"password\":\"x\"}", 422, "invalid"),
        (LOGIN, JSON, "{\"username\":\"ada\",\"password\":null}", 422, "invalid"),
        (LOGIN, JSON, "{\"username\":\"ada\",\"password\":\"x\",\"admin\":true}", 422, "invalid"),
        (LOGIN, JSON, "{\"username\":\"ada\",\"password\":\"x\"}", 401, "unauthenticated"),
        (LOGIN, JSON, "{\"username\":\"nobody\",\"password\":\"x\"}", 401, "unauthenticated"),
        (LOGIN, JSON, "{\"username\":\"local\",\"password\":\"\"}", 401, "unauthenticated"),
        (LOGIN, JSON, "{\"username\":\"../ada\",\"password\":\"\"}", 401, "unauthenticated"),
        (LOGIN, JSON, "{\"username\":\"ada\\u0000\",\"password\":\"\"}", 401, "unauthenticated"),
    ];
    Scene::new().refuses(rows);
}
