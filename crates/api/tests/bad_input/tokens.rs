use crate::Scene;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

const FILES: &str = "GET /api/v1/files";

fn base64(bytes: impl AsRef<[u8]>) -> String {
    data_encoding::BASE64URL_NOPAD.encode(bytes.as_ref())
}

/// Signed as the server does, with this header and these claims.
fn signed(scene: &Scene, header: &Header, claims: &Value) -> String {
    jsonwebtoken::encode(header, claims, &scene.larder.signs("access", "at+jwt").1).unwrap()
}

fn header(scene: &Scene) -> Header {
    scene.larder.signs("access", "at+jwt").0
}

fn refused(scene: &Scene, what: &str, authorization: &str) {
    if crate::counted(what) {
        return;
    }
    let before = scene.larder.state();
    let answer = scene.larder.anybody(FILES).header("Authorization", authorization).send();
    answer.assert_harmless(what);
    assert_eq!((answer.status, answer.code().as_str()), (401, "unauthenticated"), "{what}");
    assert!(answer.header("www-authenticate").is_some_and(|challenge| challenge.starts_with("Bearer")), "{what}");
    scene.larder.state().same_as(&before, what);
}

#[test]
pub(crate) fn the_token_that_the_tables_tamper_with_is_good() {
    let scene = Scene::new();
    let token = signed(&scene, &header(&scene), &scene.larder.claims(&scene.larder.ada));
    for scheme in ["Bearer", "bearer", "BEARER"] {
        assert_eq!(
            scene.larder.anybody(FILES).header("Authorization", &format!("{scheme} {token}")).send().status,
            200
        );
    }
}

#[test]
pub(crate) fn claims_that_are_missing_or_wrong() {
    let scene = Scene::new();
    let good = scene.larder.claims(&scene.larder.ada);
    let now = good["iat"].as_i64().unwrap();
    for missing in ["iss", "aud", "sub", "nbf", "exp", "sid"] {
        let mut claims = good.clone();
        claims.as_object_mut().unwrap().remove(missing);
        refused(&scene, missing, &format!("Bearer {}", signed(&scene, &header(&scene), &claims)));
    }
    let wrong = [
        ("iss", json!("other")),
        ("iss", json!(null)),
        ("aud", json!("larder")),
        ("aud", json!(["x"])),
        ("exp", json!(now)),
        ("exp", json!(now - 1)),
        ("exp", json!("never")),
        ("exp", json!(-1)),
        ("nbf", json!(now + 1)),
        ("sub", json!("ada")),
        ("sub", json!("01930000-0000-7000-8000-000000000000")),
        ("sub", json!("00000000-0000-7000-8000-000000000001")),
        ("sub", json!(scene.larder.ada.id.to_string().to_uppercase())),
        ("sid", json!("")),
        ("sid", json!("01930000-0000-7000-8000-000000000000")),
        ("sid", scene.larder.claims(&scene.larder.bob)["sid"].clone()),
        ("aud", json!("larder-refresh")),
    ];
    for (claim, value) in wrong {
        let mut claims = good.clone();
        claims[claim] = value.clone();
        refused(&scene, &format!("{claim}: {value}"), &format!("Bearer {}", signed(&scene, &header(&scene), &claims)));
    }
}

#[test]
pub(crate) fn other_algorithms_keys_and_types() {
    let scene = Scene::new();
    let claims = scene.larder.claims(&scene.larder.ada);
    for typ in [None, Some("JWT"), Some("link"), Some("rt+jwt"), Some("AT+JWT")] {
        let header = Header { typ: typ.map(ToOwned::to_owned), ..header(&scene) };
        refused(&scene, &format!("{typ:?}"), &format!("Bearer {}", signed(&scene, &header, &claims)));
    }
    for algorithm in [Algorithm::HS384, Algorithm::HS512] {
        let header = Header { alg: algorithm, ..header(&scene) };
        refused(&scene, &format!("{algorithm:?}"), &format!("Bearer {}", signed(&scene, &header, &claims)));
    }
    for kid in [None, Some("0"), Some("-1"), Some("x"), Some("99999")] {
        let header = Header { kid: kid.map(ToOwned::to_owned), ..header(&scene) };
        refused(&scene, &format!("kid {kid:?}"), &format!("Bearer {}", signed(&scene, &header, &claims)));
    }
    let of = |purpose| scene.larder.signs(purpose, "at+jwt").1;
    for (what, key) in [
        ("another purpose's", of("link")),
        ("another kind's", of("refresh")),
        ("none", EncodingKey::from_secret(&[0; 32])),
    ] {
        let token = jsonwebtoken::encode(&header(&scene), &claims, &key).unwrap();
        refused(&scene, what, &format!("Bearer {token}"));
    }
    let payload = base64(claims.to_string());
    for alg in ["none", "None", "NONE", "", "HS256", "RS256"] {
        let head = base64(json!({ "alg": alg, "typ": "at+jwt", "kid": header(&scene).kid }).to_string());
        refused(&scene, &format!("`{alg}` and an empty signature"), &format!("Bearer {head}.{payload}."));
        refused(&scene, &format!("`{alg}` and no signature"), &format!("Bearer {head}.{payload}"));
    }
}

#[test]
pub(crate) fn tokens_that_were_cut_or_changed() {
    let scene = Scene::new();
    let token = scene.larder.token(&scene.larder.ada);
    for end in [0, 1, 10, token.len() / 2, token.len() - 1] {
        refused(&scene, &format!("the first {end}"), &format!("Bearer {}", &token[..end]));
    }
    let parts: Vec<_> = token.split('.').collect();
    let admin = base64(scene.larder.claims(&scene.larder.root).to_string());
    refused(&scene, "another's claims", &format!("Bearer {}.{admin}.{}", parts[0], parts[2]));
    refused(&scene, "four parts", &format!("Bearer {token}.{}", parts[2]));
    refused(&scene, "padding", &format!("Bearer {token}="));
    for at in [5, token.len() / 2, token.len() - 10] {
        let mut changed = token.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        refused(&scene, &format!("changed at {at}"), &format!("Bearer {changed}"));
    }
}

#[test]
pub(crate) fn headers_that_bring_no_token() {
    let scene = Scene::new();
    let token = scene.larder.token(&scene.larder.ada);
    for (what, header) in [
        ("another scheme", format!("Basic {token}")),
        ("no scheme", token.clone()),
        ("nothing", String::new()),
        ("a scheme alone", "Bearer".into()),
        ("a space for a token", "Bearer ".into()),
        ("two tokens", format!("Bearer {token} {token}")),
        ("a list", format!("Bearer {token}, Bearer {token}")),
        ("quotes", format!("Bearer \"{token}\"")),
        ("text that is no ASCII", format!("Bearer ü{token}")),
    ] {
        refused(&scene, what, &header);
    }
    let twice = scene.larder.ada(FILES).header("Authorization", &format!("Bearer {token}")).send();
    assert_eq!((twice.status, twice.code().as_str()), (401, "unauthenticated"));
    let none = scene.larder.anybody(FILES).send();
    assert_eq!((none.status, none.code().as_str()), (401, "unauthenticated"));
    let query = scene.larder.anybody(&format!("{FILES}?access_token={token}")).send();
    assert_eq!(query.status, 401, "a token in the query is none");
}

#[test]
pub(crate) fn every_route_but_log_in_and_health_wants_a_token() {
    let scene = Scene::new();
    for line in [
        "GET /api/v1/auth/me",
        "GET /api/v1/buckets",
        "GET /api/v1/buckets/documents",
        "POST /api/v1/buckets/documents/files?name=a",
        "GET /api/v1/files",
        "GET /api/v1/files/{file}",
        "PATCH /api/v1/files/{file}",
        "DELETE /api/v1/files/{file}",
        "GET /api/v1/files/{file}/content",
        "HEAD /api/v1/files/{file}/content",
        "PUT /api/v1/files/{file}/content",
        "POST /api/v1/files/{file}/restore",
        "GET /api/v1/files/{file}/revisions",
    ] {
        let before = scene.larder.state();
        let answer = scene.larder.anybody(&scene.fill(line)).body("{}").send();
        assert_eq!(answer.status, 401, "{line}");
        scene.larder.state().same_as(&before, line);
    }
}
