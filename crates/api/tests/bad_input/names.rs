use crate::{Row, Scene};

const UPLOAD: &str = "POST /api/v1/buckets/documents/files";

#[test]
pub(crate) fn names_of_files_buckets_and_owners() {
    let long = format!("{UPLOAD}?name={}", "n".repeat(1025));
    let wide = format!("{UPLOAD}?name={}", "%C3%BC".repeat(513));
    let rows: &[Row<'_>] = &[
        (UPLOAD, &[], "x", 422, "invalid"),
        (&format!("{UPLOAD}?name="), &[], "x", 422, "invalid"),
        (&format!("{UPLOAD}?name=a%00b"), &[], "x", 422, "invalid"),
        (&format!("{UPLOAD}?name=a%0Ab"), &[], "x", 422, "invalid"),
        (&format!("{UPLOAD}?name=a%7Fb"), &[], "x", 422, "invalid"),
        (&format!("{UPLOAD}?name=a%C2%85b"), &[], "x", 422, "invalid"),
        (&format!("{UPLOAD}?name=a%FFb"), &[], "x", 400, "malformed"),
        (&format!("{UPLOAD}?name=a%C3"), &[], "x", 400, "malformed"),
        (&format!("{UPLOAD}?name=%ED%A0%80"), &[], "x", 400, "malformed"),
        (&format!("{UPLOAD}?name=a%"), &[], "x", 400, "malformed"),
        (&format!("{UPLOAD}?name=a%zz"), &[], "x", 400, "malformed"),
        (&format!("{UPLOAD}?name=a&name=b"), &[], "x", 422, "invalid"),
        (&long, &[], "x", 422, "invalid"),
        (&wide, &[], "x", 422, "invalid"),
        ("POST /api/v1/buckets/nowhere/files?name=a", &[], "x", 404, "not_found"),
        ("POST /api/v1/buckets/Documents/files?name=a", &[], "x", 404, "not_found"),
        ("POST /api/v1/buckets/../files?name=a", &[], "x", 404, "not_found"),
        ("POST /api/v1/buckets/%2e%2e%2fx/files?name=a", &[], "x", 404, "not_found"),
        ("POST /api/v1/buckets/%00/files?name=a", &[], "x", 404, "not_found"),
        ("GET /api/v1/buckets/nowhere", &[], "", 404, "not_found"),
        (&format!("{UPLOAD}?name=a&owner=Ada"), &[], "x", 422, "invalid"),
        (&format!("{UPLOAD}?name=a&owner="), &[], "x", 422, "invalid"),
        (&format!("{UPLOAD}?name=a&owner=../bob"), &[], "x", 422, "invalid"),
        (&format!("{UPLOAD}?name=a&owner=bob"), &[], "x", 403, "forbidden"),
        (&format!("{UPLOAD}?name=a&owner=nobody"), &[], "x", 403, "forbidden"),
        ("POST /api/v1/buckets/images/files?name=a.png", &[], "no image", 415, "unsupported_type"),
        (
            "POST /api/v1/buckets/audio/files?name=a.mp3",
            &[("Content-Type", "audio/mpeg")],
            "x",
            415,
            "unsupported_type",
        ),
    ];
    Scene::new().refuses(rows);
}

#[test]
pub(crate) fn names_in_paths() {
    let at = |method: &str, name: &str| format!("{method} /api/v1/buckets/documents/names/{name}");
    let wrong = "sha-256=:ofzkNjhU/4iM/0uOeHXWAMJoI5BBKoz3mzfQsRFIsPo=:";
    let rows: &[Row<'_>] = &[
        (&at("GET", "nothing"), &[], "", 404, "not_found"),
        (&at("GET", ""), &[], "", 404, "not_found"),
        (&at("GET", "A.TXT"), &[], "", 404, "not_found"),
        (&at("GET", "a.txt/"), &[], "", 404, "not_found"),
        (&at("GET", "b.txt"), &[], "", 404, "not_found"),
        (&at("GET", "old.txt"), &[], "", 404, "not_found"),
        (&at("GET", "a%"), &[], "", 400, "malformed"),
        (&at("GET", "a%zz"), &[], "", 400, "malformed"),
        (&at("GET", "%ff"), &[], "", 400, "malformed"),
        (&at("GET", "a.txt?name=b"), &[], "", 422, "invalid"),
        (&at("GET", "a.txt?revision=x"), &[], "", 422, "invalid"),
        (&at("GET", "a.txt?revision=2"), &[], "", 404, "not_found"),
        (&at("GET", "a.txt"), &[("If-Match", "\"x\"")], "", 412, "precondition_failed"),
        (&at("GET", "a.txt"), &[("Range", "bytes=10-")], "", 416, "range_not_satisfiable"),
        ("GET /api/v1/buckets/nowhere/names/a.txt", &[], "", 404, "not_found"),
        (&at("PUT", "a%00b"), &[], "x", 422, "invalid"),
        (&at("PUT", "a%0Ab"), &[], "x", 422, "invalid"),
        (&at("PUT", "a%"), &[], "x", 400, "malformed"),
        (&at("PUT", "%C3"), &[], "x", 400, "malformed"),
        (&at("PUT", &"n".repeat(1025)), &[], "x", 422, "invalid"),
        (&at("PUT", "new?owner=bob"), &[], "x", 403, "forbidden"),
        (&at("PUT", "new?name=other"), &[], "x", 422, "invalid"),
        (&at("PUT", "new"), &[("If-Match", "\"x\"")], "x", 412, "precondition_failed"),
        (&at("PUT", "a.txt"), &[("If-None-Match", "*")], "x", 412, "precondition_failed"),
        (&at("PUT", "a.txt"), &[("If-Match", "\"x\"")], "x", 412, "precondition_failed"),
        (&at("PUT", "a.txt"), &[("Content-Encoding", "br")], "x", 415, "unsupported_type"),
        (&at("PUT", "new"), &[("Content-Digest", wrong)], "x", 422, "digest_mismatch"),
        ("PUT /api/v1/buckets/nowhere/names/new", &[], "x", 404, "not_found"),
        ("PUT /api/v1/buckets/images/names/new.png", &[], "no image", 415, "unsupported_type"),
        (&at("DELETE", "nothing"), &[], "", 404, "not_found"),
        (&at("DELETE", "b.txt"), &[], "", 404, "not_found"),
        (&at("DELETE", "a.txt?purge=true"), &[], "", 422, "invalid"),
        (&at("DELETE", "a.txt"), &[("If-Match", "\"x\"")], "", 412, "precondition_failed"),
        (&at("POST", "a.txt"), &[], "x", 405, "method_not_allowed"),
    ];
    Scene::new().refuses(rows);
}

#[test]
pub(crate) fn ids_that_are_none_and_what_is_anothers_are_absent() {
    let absent = "01930000-0000-7000-8000-000000000000";
    let scene = Scene::new();
    let upper = scene.fill("{file}").to_uppercase();
    let (compact, braced) = (upper.to_lowercase().replace('-', ""), format!("%7B{}%7D", upper.to_lowercase()));
    for id in [absent, "{bobs}", "x", "%00", "..", "{file}%20", "{file}x", &upper, &compact, &braced] {
        let get = format!("GET /api/v1/files/{id}");
        let json: &[(&str, &str)] = &[("Content-Type", "application/json")];
        let rows: &[Row<'_>] = &[
            (&get, &[], "", 404, "not_found"),
            (&format!("{get}/content"), &[], "", 404, "not_found"),
            (&format!("{get}/revisions"), &[], "", 404, "not_found"),
            (&format!("PUT /api/v1/files/{id}/content"), &[], "x", 404, "not_found"),
            (&format!("PATCH /api/v1/files/{id}"), json, r#"{"name":"x"}"#, 404, "not_found"),
            (&format!("PATCH /api/v1/files/{id}"), &[json[0], ("If-Match", "\"v9\"")], "{}", 404, "not_found"),
            (&format!("DELETE /api/v1/files/{id}"), &[], "", 404, "not_found"),
            (&format!("DELETE /api/v1/files/{id}?purge=true"), &[], "", 404, "not_found"),
            (&format!("POST /api/v1/files/{id}/restore"), &[], "", 404, "not_found"),
        ];
        // `..` is taken out of a path by some clients, never by this server: there is no such route or no such id.
        scene.refuses(rows);
    }
}

#[test]
pub(crate) fn what_lies_in_the_trash_has_no_content_and_takes_no_changes() {
    let json: &[(&str, &str)] = &[("Content-Type", "application/json")];
    Scene::new().refuses(&[
        ("GET /api/v1/files/{trashed}/content", &[], "", 404, "not_found"),
        ("GET /api/v1/files/{trashed}/content?revision=1", &[], "", 404, "not_found"),
        ("PUT /api/v1/files/{trashed}/content", &[], "x", 404, "not_found"),
        ("PATCH /api/v1/files/{trashed}", json, r#"{"name":"x"}"#, 404, "not_found"),
    ]);
}
