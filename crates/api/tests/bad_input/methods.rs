use crate::Scene;

#[test]
pub(crate) fn methods_that_a_route_does_not_have_are_told_which_it_has() {
    let scene = Scene::new();
    let rows = [
        ("GET /api/v1/auth/login", "POST"),
        ("PUT /api/v1/auth/login", "POST"),
        ("POST /api/v1/auth/me", "GET, HEAD"),
        ("POST /api/v1/buckets", "GET, HEAD"),
        ("DELETE /api/v1/buckets/documents", "GET, HEAD"),
        ("GET /api/v1/buckets/documents/files", "POST"),
        ("PUT /api/v1/buckets/documents/files", "POST"),
        ("POST /api/v1/files", "GET, HEAD"),
        ("PUT /api/v1/files/{file}", "GET, HEAD, PATCH, DELETE"),
        ("POST /api/v1/files/{file}", "GET, HEAD, PATCH, DELETE"),
        ("DELETE /api/v1/files/{file}/content", "GET, HEAD, PUT"),
        ("POST /api/v1/files/{file}/content", "GET, HEAD, PUT"),
        ("PATCH /api/v1/files/{file}/content", "GET, HEAD, PUT"),
        ("GET /api/v1/files/{file}/restore", "POST"),
        ("DELETE /api/v1/files/{file}/revisions", "GET, HEAD"),
        ("OPTIONS /api/v1/files", "GET, HEAD"),
        ("TRACE /api/v1/files", "GET, HEAD"),
        ("BREW /api/v1/files", "GET, HEAD"),
        ("get /api/v1/files", "GET, HEAD"),
        ("DELETE /api/v1/users", "GET, HEAD, POST"),
        ("POST /api/v1/users/{file}", "GET, HEAD, PATCH, DELETE"),
        ("POST /health/live", "GET, HEAD"),
        ("DELETE /health/ready", "GET, HEAD"),
    ];
    for (line, allow) in rows {
        scene.refused(&(line, &[], "", 405, "method_not_allowed"), |request| {
            let answer = request.send();
            assert_eq!(answer.header("allow"), Some(allow), "{line}");
            answer
        });
    }
}

#[test]
pub(crate) fn places_where_nothing_is() {
    let scene = Scene::new();
    scene.refuses(&[
        ("GET /", &[], "", 404, "not_found"),
        ("GET /api", &[], "", 404, "not_found"),
        ("GET /api/v1", &[], "", 404, "not_found"),
        ("GET /api/v1/", &[], "", 404, "not_found"),
        ("GET /api/v1/files/", &[], "", 404, "not_found"),
        ("GET /api/v2/files", &[], "", 404, "not_found"),
        ("GET //api/v1/files", &[], "", 404, "not_found"),
        ("GET /api/v1/files/{file}/content/", &[], "", 404, "not_found"),
        ("GET /api/v1/files/{file}/content/../content", &[], "", 404, "not_found"),
        ("GET /API/V1/FILES", &[], "", 404, "not_found"),
    ]);
}
