//! Who may do what, as one table: every route, asked by everybody. A route without a row fails, and a row without a route.

#![allow(clippy::unwrap_used)]

mod common;

use common::{Answer, Larder, Request};
use larder_files::{FilesOf, Role, User, UserName};
use std::collections::BTreeSet;

/// Who asks, by column. `owner` is whose the file is, or the user, that the route names.
const WHO: [&str; 7] = ["anonymous", "owner", "other", "admin", "expired", "tampered", "deleted"];

/// What each of [`WHO`] is answered.
type Statuses = [u16; 7];

/// Where nobody gets in without a good token of somebody who is there.
const fn told(owner: u16, other: u16, admin: u16) -> Statuses {
    [401, owner, other, admin, 401, 401, 401]
}

/// Method and route, the query, the body (JSON where it is an object), and the answers.
const TABLE: &[(&str, &str, &str, Statuses)] = &[
    ("POST /api/v1/auth/login", "", r#"{"username": "root", "password": "wrong"}"#, [401; 7]),
    ("POST /api/v1/auth/logout", "", "", told(204, 204, 204)),
    ("POST /api/v1/auth/logout", "", r#"{"refresh_token": "wrong"}"#, [401; 7]),
    ("GET /api/v1/auth/me", "", "", told(200, 200, 200)),
    ("HEAD /api/v1/auth/me", "", "", told(200, 200, 200)),
    ("POST /api/v1/auth/refresh", "", r#"{"refresh_token": "wrong"}"#, [401; 7]),
    ("GET /api/v1/buckets", "", "", told(200, 200, 200)),
    ("HEAD /api/v1/buckets", "", "", told(200, 200, 200)),
    ("GET /api/v1/buckets/{bucket}", "", "", told(200, 200, 200)),
    ("HEAD /api/v1/buckets/{bucket}", "", "", told(200, 200, 200)),
    ("POST /api/v1/buckets/{bucket}/files", "?name=new", "x", told(201, 201, 201)),
    ("POST /api/v1/buckets/{bucket}/files", "?name=new&owner=root", "x", told(403, 403, 201)),
    // It is off, for everybody.
    ("POST /api/v1/buckets/{bucket}/imports", "", r#"{"url": "https://example.com/a"}"#, told(403, 403, 403)),
    ("POST /api/v1/buckets/{bucket}/uploads", "", r#"{"name": "new", "size": 1}"#, told(201, 201, 201)),
    ("GET /api/v1/buckets/{bucket}/names/{name:.+}", "", "", told(200, 404, 404)),
    ("GET /api/v1/buckets/{bucket}/names/{name:.+}", "?owner={owner}", "", told(200, 404, 200)),
    ("HEAD /api/v1/buckets/{bucket}/names/{name:.+}", "?owner={owner}", "", told(200, 404, 200)),
    ("PUT /api/v1/buckets/{bucket}/names/{name:.+}", "", "third", told(200, 201, 201)),
    ("PUT /api/v1/buckets/{bucket}/names/{name:.+}", "?owner={owner}", "third", told(200, 403, 200)),
    ("DELETE /api/v1/buckets/{bucket}/names/{name:.+}", "?owner={owner}", "", told(204, 404, 204)),
    ("GET /api/v1/files", "", "", told(200, 200, 200)),
    ("HEAD /api/v1/files", "", "", told(200, 200, 200)),
    ("GET /api/v1/files/{id}", "", "", told(200, 404, 200)),
    ("HEAD /api/v1/files/{id}", "", "", told(200, 404, 200)),
    ("PATCH /api/v1/files/{id}", "", r#"{"name": "b.txt"}"#, told(200, 404, 200)),
    ("PATCH /api/v1/files/{id}", "", r#"{"owner": "root"}"#, told(403, 403, 200)),
    ("PATCH /api/v1/files/{id}", "", r#"{"bucket": "audio"}"#, told(403, 403, 415)),
    ("DELETE /api/v1/files/{id}", "", "", told(204, 404, 204)),
    ("DELETE /api/v1/files/{id}", "?purge=true", "", told(204, 404, 204)),
    ("GET /api/v1/files/{id}/content", "", "", told(200, 404, 200)),
    ("HEAD /api/v1/files/{id}/content", "", "", told(200, 404, 200)),
    ("GET /api/v1/files/{id}/content", "?revision=1", "", told(200, 404, 200)),
    ("PUT /api/v1/files/{id}/content", "", "third", told(200, 404, 200)),
    ("POST /api/v1/files/{id}/copy", "", "{}", told(201, 404, 201)),
    ("POST /api/v1/files/{id}/direct", "", "", told(200, 404, 200)),
    ("POST /api/v1/files/{id}/renditions", "", r#"{"recipe": "w_30"}"#, told(200, 404, 200)),
    // It is no picture, which is told to those alone who may know.
    ("GET /api/v1/files/{id}/renditions/{preset}", "", "", told(422, 404, 422)),
    ("HEAD /api/v1/files/{id}/renditions/{preset}", "", "", told(422, 404, 422)),
    ("POST /api/v1/files/{id}/restore", "", "", told(200, 404, 200)),
    ("GET /api/v1/files/{id}/revisions", "", "", told(200, 404, 200)),
    ("HEAD /api/v1/files/{id}/revisions", "", "", told(200, 404, 200)),
    ("DELETE /api/v1/files/{id}/revisions/{revision}", "", "", told(204, 404, 204)),
    ("GET /api/v1/stores", "", "", told(403, 403, 200)),
    ("HEAD /api/v1/stores", "", "", told(403, 403, 200)),
    ("POST /api/v1/stores/{store}/check", "", "", told(403, 403, 200)),
    ("DELETE /api/v1/uploads/{id}", "", "", told(204, 404, 204)),
    ("POST /api/v1/uploads/{id}/complete", "", "", told(201, 404, 404)),
    ("GET /direct/{token}", "", "", [404; 7]),
    ("HEAD /direct/{token}", "", "", [404; 7]),
    ("PUT /direct/{token}", "", "x", [404; 7]),
    ("GET /i/{signature}/{recipe}/{id}", "", "", [403; 7]),
    ("HEAD /i/{signature}/{recipe}/{id}", "", "", [403; 7]),
    ("GET /i/{signature}/{recipe}/{id}/{name:.+}", "", "", [403; 7]),
    ("HEAD /i/{signature}/{recipe}/{id}/{name:.+}", "", "", [403; 7]),
    ("GET /api/v1/users", "", "", told(403, 403, 200)),
    ("HEAD /api/v1/users", "", "", told(403, 403, 200)),
    ("POST /api/v1/users", "", r#"{"username": "new", "password": "long enough"}"#, told(403, 403, 201)),
    ("GET /api/v1/users/{id}", "", "", told(200, 404, 200)),
    ("HEAD /api/v1/users/{id}", "", "", told(200, 404, 200)),
    ("PATCH /api/v1/users/{id}", "", r#"{"role": "admin"}"#, told(403, 404, 200)),
    ("PATCH /api/v1/users/{id}", "", r#"{"password": "long enough"}"#, told(422, 404, 200)),
    ("DELETE /api/v1/users/{id}", "", "", told(403, 404, 409)),
    ("DELETE /api/v1/users/{id}", "?files=purge", "", told(403, 404, 204)),
    ("DELETE /api/v1/users/{id}", "?files_to=root", "", told(403, 404, 204)),
    ("GET /api/v1/openapi.json", "", "", [200; 7]),
    ("HEAD /api/v1/openapi.json", "", "", [200; 7]),
    ("GET /docs", "", "", [307; 7]),
    ("HEAD /docs", "", "", [307; 7]),
    ("GET /docs/{file:.*}", "", "", [200; 7]),
    ("HEAD /docs/{file:.*}", "", "", [200; 7]),
    ("GET /metrics", "", "", told(403, 403, 200)),
    ("HEAD /metrics", "", "", told(403, 403, 200)),
    ("GET /health/live", "", "", [200; 7]),
    ("HEAD /health/live", "", "", [200; 7]),
    ("GET /health/ready", "", "", [200, 200, 200, 200, 401, 401, 401]),
    ("HEAD /health/ready", "", "", [200, 200, 200, 200, 401, 401, 401]),
    ("GET /setup", "", "", [200; 7]),
    ("HEAD /setup", "", "", [200; 7]),
    ("POST /setup", "", r#"{"token": "wrong", "username": "new", "password": "long enough"}"#, [401; 7]),
    ("GET /setup.js", "", "", [200; 7]),
    ("HEAD /setup.js", "", "", [200; 7]),
];

#[test]
fn every_route_has_a_row_and_every_row_a_route() {
    let routes: BTreeSet<_> = larder_api::routes().iter().map(|(method, path)| format!("{method} {path}")).collect();
    let rows: BTreeSet<_> = TABLE.iter().map(|(route, ..)| (*route).to_owned()).collect();
    let missing: Vec<_> = routes.difference(&rows).collect();
    assert!(missing.is_empty(), "nobody has said who may ask for these: {missing:#?}");
    let stale: Vec<_> = rows.difference(&routes).collect();
    assert!(stale.is_empty(), "these routes are no more: {stale:#?}");
}

#[test]
fn everybody_is_answered_as_the_table_says_and_who_is_refused_changes_nothing() {
    for row in TABLE {
        let (route, query, _, statuses) = row;
        let scene = Scene::new();
        for (who, status) in WHO.iter().zip(statuses) {
            let request = scene.request(row, who);
            let before = scene.larder.state();
            let answer = request.send();
            let shown = format!("{route}{query} as {who}");
            assert_eq!(answer.status, *status, "{shown}: {}", answer.text());
            if *status >= 400 {
                scene.larder.state().same_as(&before, &shown);
                assert_tells_nothing(&answer, &shown);
            }
        }
    }
}

/// A refusal holds nothing of the file, and says which way in there is where there is one.
fn assert_tells_nothing(answer: &Answer, shown: &str) {
    assert!(!answer.text().contains("secret"), "{shown}: {}", answer.text());
    assert_eq!(answer.header("etag"), None, "{shown}");
    assert_eq!(answer.header("www-authenticate").is_some(), answer.status == 401, "{shown}");
}

struct Scene {
    larder: Larder,
    /// Of a session that was open when its user was deleted.
    deleted: String,
}

impl Scene {
    fn new() -> Self {
        let larder = Larder::start();
        let user = add(&larder, "deleted");
        let deleted = larder.token(&user);
        larder.block_on(larder.files.delete_user(user.id, FilesOf::Refuse)).unwrap();
        Self { larder, deleted }
    }

    /// The row's request, as one of [`WHO`] sends it, of an owner of its own, who has a file with two revisions.
    fn request(&self, (route, query, body, _): &(&str, &str, &str, Statuses), who: &str) -> Request<'_> {
        let larder = &self.larder;
        let owner = add(larder, &format!("owner-{who}"));
        let file = larder.put_by(&owner, "secret.txt", b"secret one")["id"].as_str().unwrap().to_owned();
        let second = larder.by(&owner, &format!("PUT /api/v1/files/{file}/content")).body("secret two").send();
        assert_eq!(second.status, 200, "{}", second.text());

        let id = match route {
            route if route.contains("/users/") => owner.id.to_string(),
            route if route.contains("/uploads/") => sent(larder, &owner),
            _ => file,
        };
        let path = route
            .replace("{id}", &id)
            .replace("{bucket}", "documents")
            .replace("{revision}", "1")
            .replace("{store}", "local")
            .replace("{token}", "wrong")
            .replace("{preset}", "thumb")
            .replace("{signature}", "1.AAAAAAAAAAAAAAAAAAAAAA")
            .replace("{recipe}", "w_30")
            .replace("{file:.*}", "index.html");
        let line = path.replace("{name:.+}", "secret.txt") + &query.replace("{owner}", owner.name.as_str());
        let request = match who {
            "anonymous" => larder.anybody(&line),
            "owner" => larder.by(&owner, &line),
            "other" => larder.bob(&line),
            "admin" => larder.root(&line),
            "deleted" => bearing(larder.anybody(&line), &self.deleted),
            "expired" => bearing(larder.anybody(&line), &expired(larder, &owner)),
            "tampered" => bearing(larder.anybody(&line), &tampered(&larder.token(&owner))),
            _ => unreachable!("a column without a meaning"),
        };
        if body.starts_with('{') {
            request.header("Content-Type", "application/json").body(body)
        } else {
            request.body(body)
        }
    }
}

/// A direct upload of `owner`'s whose content was sent.
fn sent(larder: &Larder, owner: &User) -> String {
    let open = larder.by(owner, "POST /api/v1/buckets/documents/uploads").header("Content-Type", "application/json");
    let upload = open.body(r#"{"name": "sent", "size": 6}"#).send().json();
    let url = upload["url"].as_str().unwrap();
    let link = &url[url.find("/direct/").unwrap()..];
    assert_eq!(larder.anybody(&format!("PUT {link}")).body("secret").send().status, 200);
    upload["id"].as_str().unwrap().to_owned()
}

fn add(larder: &Larder, name: &str) -> User {
    larder.block_on(larder.files.add_user(UserName::new(name).unwrap(), Role::User, None)).unwrap()
}

fn bearing<'a>(request: Request<'a>, token: &str) -> Request<'a> {
    request.header("Authorization", &format!("Bearer {token}"))
}

fn expired(larder: &Larder, user: &User) -> String {
    let mut claims = larder.claims(user);
    for time in ["iat", "nbf", "exp"] {
        claims[time] = (claims[time].as_i64().unwrap() - 900).into();
    }
    let (header, key) = larder.signs("access", "at+jwt");
    jsonwebtoken::encode(&header, &claims, &key).unwrap()
}

/// One character of the signature is another.
fn tampered(token: &str) -> String {
    let mut bytes = token.as_bytes().to_vec();
    let at = bytes.len() - 10;
    bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
    String::from_utf8(bytes).unwrap()
}
