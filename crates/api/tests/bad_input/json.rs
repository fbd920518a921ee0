use crate::{Row, Scene};

const PATCH: &str = "PATCH /api/v1/files/{file}";
const LOGIN: &str = "POST /api/v1/auth/login";
const REFRESH: &str = "POST /api/v1/auth/refresh";
const LOGOUT: &str = "POST /api/v1/auth/logout";
const SETUP: &str = "POST /setup";
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

#[test]
fn refreshes_and_log_outs_that_are_none() {
    let scene = Scene::new();
    let (ada, now) = (scene.larder.session(&scene.larder.ada), scene.larder.claims(&scene.larder.ada));
    let good = scene.larder.refresh_token(&ada);
    let body = |token: &str| format!("{{\"refresh_token\":\"{token}\"}}");
    let (cut, access) = (body(&good[..good.len() - 1]), body(&scene.larder.token(&scene.larder.ada)));
    let parts: Vec<_> = good.split('.').collect();
    let payload = data_encoding::BASE64URL_NOPAD.encode(now.to_string().as_bytes());
    let other = body(&format!("{}.{payload}.{}", parts[0], parts[2]));
    let unsigned = body(&format!("eyJhbGciOiJub25lIiwidHlwIjoicnQrand0In0.{}.", parts[1]));
    let right = body(&good);
    for line in [REFRESH, LOGOUT] {
        let twice = format!("{line}?again");
        let rows: &[Row<'_>] = &[
            (line, &[("Content-Type", "text/plain")], "{}", 415, "unsupported_type"),
            (line, JSON, "", 400, "malformed"),
            (line, JSON, "[]", 400, "malformed"),
            (line, JSON, "{\"refresh_token\":1}", 422, "invalid"),
            (line, JSON, "{\"refresh_token\":null}", 422, "invalid"),
            (line, JSON, "{\"token\":\"x\"}", 422, "invalid"),
            (line, JSON, "{\"refresh_token\":\"\"}", 401, "unauthenticated"),
            (line, JSON, "{\"refresh_token\":\"a.b.c\"}", 401, "unauthenticated"),
            (line, JSON, &cut, 401, "unauthenticated"),
            (line, JSON, &other, 401, "unauthenticated"),
            (line, JSON, &unsigned, 401, "unauthenticated"),
            (line, JSON, &access, 401, "unauthenticated"),
            (&twice, JSON, &right, 422, "invalid"),
        ];
        scene.refuses(rows);
    }
    scene.refuses(&[(REFRESH, &[], "", 415, "unsupported_type"), (REFRESH, JSON, "{}", 422, "invalid")]);
    let still = scene.larder.anybody(REFRESH).header("Content-Type", "application/json").body(&right).send();
    assert_eq!(still.status, 200, "none of them has touched the session: {}", still.text());
}

#[test]
fn set_ups_that_are_none() {
    let rows: &[Row<'_>] = &[
        (SETUP, &[], "{}", 415, "unsupported_type"),
        (SETUP, &[("Content-Type", "application/x-www-form-urlencoded")], "token=a", 415, "unsupported_type"),
        (SETUP, JSON, "", 400, "malformed"),
        (SETUP, JSON, "[]", 400, "malformed"),
        (SETUP, JSON, "{}", 422, "invalid"),
        (SETUP, JSON, "{\"token\":\"x\",\"username\":\"new\"}", 422, "invalid"),
        (SETUP, JSON, "{\"token\":\"x\",\"password\":\"long enough\"}", 422, "invalid"),
        (SETUP, JSON, "{\"username\":\"new\",\"password\":\"long enough\"}", 422, "invalid"),
        (SETUP, JSON, "{\"token\":1,\"username\":\"new\",\"password\":\"long enough\"}", 422, "invalid"),
        (
            SETUP,
            JSON,
            "{\"token\":\"x\",\"username\":\"new\",\"password\":\"long enough\",\"role\":\"admin\"}",
            422,
            "invalid",
        ),
        (SETUP, JSON, "{\"token\":\"\",\"username\":\"new\",\"password\":\"long enough\"}", 401, "unauthenticated"),
        (SETUP, JSON, "{\"token\":\"x\",\"username\":\"new\",\"password\":\"long enough\"}", 401, "unauthenticated"),
        (SETUP, JSON, "{\"token\":\"x\",\"username\":\"A B\",\"password\":\"\"}", 401, "unauthenticated"),
        ("POST /setup?token=x", JSON, "{}", 422, "invalid"),
        ("GET /setup?token=x", &[], "", 422, "invalid"),
        ("GET /setup.js?x", &[], "", 422, "invalid"),
        ("GET /setup/", &[], "", 404, "not_found"),
        ("PUT /setup", &[], "", 405, "method_not_allowed"),
        ("POST /setup.js", &[], "", 405, "method_not_allowed"),
        ("GET /api/v1/setup", &[], "", 404, "not_found"),
    ];
    Scene::new().refuses(rows);
}
