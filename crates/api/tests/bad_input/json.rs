use crate::{Row, Scene};

const PATCH: &str = "PATCH /api/v1/files/{file}";
const LOGIN: &str = "POST /api/v1/auth/login";
const REFRESH: &str = "POST /api/v1/auth/refresh";
const LOGOUT: &str = "POST /api/v1/auth/logout";
const SETUP: &str = "POST /setup";
const JSON: &[(&str, &str)] = &[("Content-Type", "application/json")];

#[test]
pub(crate) fn patches_that_are_none() {
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
pub(crate) fn log_ins_that_are_none() {
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
pub(crate) fn refreshes_and_log_outs_that_are_none() {
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
pub(crate) fn set_ups_that_are_none() {
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

#[test]
pub(crate) fn bodies_that_are_bombs_or_no_json() {
    let (deep, digits) = ("[".repeat(60_000), "9".repeat(60_000));
    let keys = |count: usize| (0..count).map(|n| format!("\"k{n}\":0")).collect::<Vec<_>>().join(",");
    let (many, metadata) = (format!("{{{}}}", keys(5000)), format!("{{\"metadata\":{{{}}}}}", keys(5000)));
    let tags = format!("{{\"tags\":[{}]}}", (0..5000).map(|n| format!("\"{n}\"")).collect::<Vec<_>>().join(","));
    let (number, exponent) =
        (format!("{{\"metadata\":{{\"n\":{digits}}}}}"), format!("{{\"metadata\":{{\"n\":1e{digits}}}}}"));
    let (name, escapes) =
        (format!("{{\"name\":\"{}\"}}", "n".repeat(60_000)), format!("{{\"name\":\"{}\"}}", "\\u0000".repeat(9000)));
    let blank = format!("{}{{}}", " ".repeat(70_000));
    let gzip: &[(&str, &str)] = &[JSON[0], ("Content-Encoding", "gzip")];
    let rows: &[Row<'_>] = &[
        (PATCH, JSON, &deep, 400, "malformed"),
        (PATCH, JSON, &format!("{{\"tags\":{deep}"), 400, "malformed"),
        (PATCH, JSON, &many, 422, "invalid"),
        (PATCH, JSON, &metadata, 422, "invalid"),
        (PATCH, JSON, &tags, 422, "invalid"),
        (PATCH, JSON, &number, 400, "malformed"),
        (PATCH, JSON, &exponent, 400, "malformed"),
        (PATCH, JSON, "{\"metadata\":{\"n\":-1e400}}", 400, "malformed"),
        (PATCH, JSON, &name, 422, "invalid"),
        (PATCH, JSON, &escapes, 422, "invalid"),
        (PATCH, JSON, &blank, 413, "too_large"),
        (PATCH, JSON, "{\"name\":\"a\",\"name\":\"b\"}", 400, "malformed"),
        (PATCH, JSON, "{\"name\":\"a\",\"n\\u0061me\":\"b\"}", 400, "malformed"),
        (PATCH, JSON, "\u{feff}{\"name\":\"a\"}", 400, "malformed"),
        (PATCH, JSON, "{\"name\":\"a\"} {\"name\":\"b\"}", 400, "malformed"),
        (PATCH, JSON, "{\"name\":\"a\",}", 400, "malformed"),
        (PATCH, JSON, "{\"name\":\"a\" /* b */}", 400, "malformed"),
        (PATCH, JSON, "{name:\"a\"}", 400, "malformed"),
        (PATCH, JSON, "{\"name\" \"a\"}", 400, "malformed"),
        (PATCH, JSON, "{\"name\":\"a", 400, "malformed"),
        (PATCH, JSON, "{\"name\":\"\\x61\"}", 400, "malformed"),
        (PATCH, JSON, "{\"name\":\"\\u12\"}", 400, "malformed"),
        (PATCH, JSON, "{\"name\":\"\\udc00\"}", 400, "malformed"),
        (PATCH, JSON, "{\"name\":\"a\u{0}\"}", 400, "malformed"),
        (PATCH, JSON, "{\"metadata\":{\"n\":01}}", 400, "malformed"),
        (PATCH, JSON, "{\"metadata\":{\"n\":+1}}", 400, "malformed"),
        (PATCH, JSON, "{\"metadata\":{\"n\":1.}}", 400, "malformed"),
        (PATCH, JSON, "{\"metadata\":{\"n\":.5}}", 400, "malformed"),
        (PATCH, JSON, "{\"metadata\":{\"n\":0x10}}", 400, "malformed"),
        (PATCH, JSON, "{\"metadata\":{\"n\":Infinity}}", 400, "malformed"),
        (PATCH, JSON, "{\"metadata\":{\"n\":True}}", 400, "malformed"),
        (PATCH, JSON, "{\"metadata\":{1:2}}", 400, "malformed"),
        (PATCH, JSON, "true", 400, "malformed"),
        (PATCH, JSON, "1", 400, "malformed"),
        (PATCH, gzip, "{\"name\":\"a\"}", 415, "unsupported_type"),
        (PATCH, &[("Content-Type", "application/json-patch+json")], "{}", 415, "unsupported_type"),
        (PATCH, &[("Content-Type", "text/json")], "{}", 415, "unsupported_type"),
        (PATCH, &[JSON[0], JSON[0]], "{}", 400, "malformed"),
        (LOGIN, gzip, "{}", 415, "unsupported_type"),
        (LOGIN, JSON, &deep, 400, "malformed"),
        (LOGIN, JSON, &many, 422, "invalid"),
        (LOGIN, JSON, "{\"username\":\"ada\",\"username\":\"root\",\"password\":\"x\"}", 400, "malformed"),
    ];
    let scene = Scene::new();
    scene.refuses(rows);
    // What is no UTF-8, and UTF-16.
    for bytes in
        [&b"{\"name\":\"\xff\"}"[..], b"{\"name\":\"\xc0\x80\"}", b"{\"name\":\"\xed\xa0\x80\"}", b"{\0\"\0n\0"]
    {
        let shown = String::from_utf8_lossy(bytes);
        scene.refused(&(PATCH, JSON, &shown, 400, "malformed"), |request| request.body(bytes).send());
    }
}

#[test]
pub(crate) fn additions_and_copies_that_are_none() {
    const COPY: &str = "POST /api/v1/files/{file}/copy";
    let long = format!("{{\"name\":\"{}\"}}", "n".repeat(1025));
    let rows: &[Row<'_>] = &[
        (COPY, &[], "{}", 415, "unsupported_type"),
        (COPY, JSON, "", 400, "malformed"),
        (COPY, JSON, "[]", 400, "malformed"),
        (COPY, JSON, "{\"name\":1}", 422, "invalid"),
        (COPY, JSON, "{\"name\":null}", 422, "invalid"),
        (COPY, JSON, "{\"name\":\"\"}", 422, "invalid"),
        (COPY, JSON, &long, 422, "invalid"),
        (COPY, JSON, "{\"bucket\":1}", 422, "invalid"),
        (COPY, JSON, "{\"bucket\":\"nowhere\"}", 404, "not_found"),
        (COPY, JSON, "{\"bucket\":\"../documents\"}", 404, "not_found"),
        (COPY, JSON, "{\"bucket\":\"images\"}", 415, "unsupported_type"),
        (COPY, JSON, "{\"owner\":\"bob\"}", 422, "invalid"),
        (COPY, JSON, "{\"name\":\"a\",\"name\":\"b\"}", 400, "malformed"),
        (COPY, &[JSON[0], ("Idempotency-Key", "")], "{}", 422, "invalid"),
        ("POST /api/v1/files/{file}/copy?name=x", JSON, "{}", 422, "invalid"),
        ("POST /api/v1/files/{trashed}/copy", JSON, "{}", 404, "not_found"),
        ("POST /api/v1/files/{bobs}/copy", JSON, "{}", 404, "not_found"),
        ("DELETE /api/v1/files/{file}/revisions/1", &[], "", 409, "conflict"),
        ("DELETE /api/v1/files/{file}/revisions/0", &[], "", 404, "not_found"),
        ("DELETE /api/v1/files/{file}/revisions/2", &[], "", 404, "not_found"),
        ("DELETE /api/v1/files/{file}/revisions/-1", &[], "", 404, "not_found"),
        ("DELETE /api/v1/files/{file}/revisions/x", &[], "", 404, "not_found"),
        ("DELETE /api/v1/files/{file}/revisions/99999999999999999999", &[], "", 404, "not_found"),
        ("DELETE /api/v1/files/{file}/revisions/1?purge=true", &[], "", 422, "invalid"),
        ("POST /api/v1/users", JSON, "{\"username\":\"anna\",\"password\":\"long enough\"}", 403, "forbidden"),
        ("POST /api/v1/stores/local/check", &[], "", 403, "forbidden"),
    ];
    Scene::new().refuses(rows);
}
