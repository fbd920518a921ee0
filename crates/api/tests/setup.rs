//! Set-up: one page, one script, one token, one admin.

#![allow(clippy::unwrap_used)]

mod common;

use common::{Answer, Larder, Request};
use larder_api::Limits;
use larder_files::{Error, Role, UserName};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::time::Duration;

fn token(larder: &Larder) -> String {
    larder.block_on(larder.files.setup_token()).unwrap()
}

fn set_up<'a>(larder: &'a Larder, token: &str, username: &str, password: &str) -> Request<'a> {
    larder.anybody("POST /setup").json(&json!({"token": token, "username": username, "password": password}))
}

/// The names of those who are admins and can log in.
fn admins(larder: &Larder) -> Vec<String> {
    let users = larder.block_on(larder.files.users()).unwrap();
    let admins = users.into_iter().filter(|user| user.role == Role::Admin && user.password_hash.is_some());
    admins.map(|user| user.name.to_string()).collect()
}

fn is(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status, answer.code().as_str()), (status, code), "{}", answer.text());
}

#[test]
fn the_page_runs_its_one_script_and_nothing_else() {
    let larder = Larder::start();
    let page = larder.anybody("GET /setup").send();
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    let policy = page.header("content-security-policy").unwrap();
    let style = page.text().split_once("<style>").unwrap().1.split_once("</style>").unwrap().0.to_owned();
    let style = data_encoding::BASE64.encode(&Sha256::digest(style));
    for part in ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "form-action 'none'", &style] {
        assert!(policy.contains(part), "{part}: {policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    for inline in ["<script>", " style=", " onclick=", " onsubmit=", "javascript:", "http://", "https://"] {
        assert!(!page.text().contains(inline), "{inline}");
    }
    assert_eq!(page.text().matches("<script").count(), 1);
    let script = larder.anybody("GET /setup.js").send();
    assert_eq!((script.status, script.header("content-type")), (200, Some("text/javascript; charset=utf-8")));
    assert!(script.text().contains("location.hash") && script.text().contains("history.replaceState"));
    for never in ["localStorage", "sessionStorage", "cookie", "eval(", "innerHTML"] {
        assert!(!script.text().contains(never), "{never}");
    }
    for answer in [page, script] {
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!((answer.header("x-content-type-options"), answer.header("set-cookie")), (Some("nosniff"), None));
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
    }
}

#[test]
fn a_link_makes_the_first_admin_and_nothing_counts_after_that() {
    let larder = Larder::start();
    let (first, second) = (token(&larder), token(&larder));
    assert_eq!(data_encoding::BASE64URL_NOPAD.decode(second.as_bytes()).unwrap().len(), 32, "256 bits");
    is(&set_up(&larder, &first, "anna", "long enough").send(), 401, "unauthenticated");
    is(&set_up(&larder, &second, "Anna", "long enough").send(), 422, "invalid");
    is(&set_up(&larder, &second, "anna", "short").send(), 422, "invalid");
    is(&set_up(&larder, &second, "ada", "long enough").send(), 409, "conflict");
    is(&set_up(&larder, &second, "local", "long enough").send(), 409, "conflict");
    assert!(admins(&larder).is_empty());

    let answer = set_up(&larder, &second, "anna", "long enough").send();
    assert_eq!((answer.status, answer.header("cache-control")), (201, Some("no-store")), "{}", answer.text());
    let bearer = format!("Bearer {}", answer.json()["access_token"].as_str().unwrap());
    let me = larder.anybody("GET /api/v1/auth/me").header("Authorization", &bearer).send().json();
    assert_eq!((&me["username"], &me["role"]), (&json!("anna"), &json!("admin")));
    let refreshed = json!({"refresh_token": answer.json()["refresh_token"]});
    assert_eq!(larder.anybody("POST /api/v1/auth/refresh").json(&refreshed).send().status, 200);
    let again = json!({"username": "anna", "password": "long enough"});
    assert_eq!(larder.anybody("POST /api/v1/auth/login").json(&again).send().status, 200);

    for token in [&second, "wrong"] {
        is(&set_up(&larder, token, "boris", "long enough").send(), 410, "gone");
    }
    assert!(matches!(larder.block_on(larder.files.setup_token()), Err(Error::Gone)));
    assert_eq!(admins(&larder), ["anna"]);
}

#[test]
fn a_link_counts_for_half_an_hour() {
    let larder = Larder::start();
    let link = token(&larder);
    larder.clock.advance(Duration::from_mins(30));
    is(&set_up(&larder, &link, "anna", "long enough").send(), 401, "unauthenticated");
    let link = token(&larder);
    // The mark follows five seconds behind, by the same clock.
    larder.clock.advance(Duration::from_mins(29));
    is(&set_up(&larder, &link, "x y", "long enough").send(), 422, "invalid");
}

#[test]
fn an_admin_made_in_another_way_ends_the_link() {
    let larder = Larder::start();
    let link = token(&larder);
    let name = UserName::new("anna").unwrap();
    larder.block_on(larder.files.add_user(name, Role::Admin, Some("$argon2id$…".into()))).unwrap();
    is(&set_up(&larder, &link, "boris", "long enough").send(), 410, "gone");
    assert_eq!(admins(&larder), ["anna"]);
}

#[test]
fn of_several_who_set_up_at_once_exactly_one_becomes_an_admin() {
    let larder = Larder::start();
    let link = token(&larder);
    let statuses = std::thread::scope(|scope| {
        let all = ["anna", "boris", "anna", "clara"]
            .map(|name| scope.spawn(|| set_up(&larder, &link, name, "long enough").send().status));
        all.map(|one| one.join().unwrap())
    });
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 410).count(), 3, "{statuses:?}");
    assert_eq!(admins(&larder).len(), 1);
}

#[test]
fn guesses_are_limited_and_hold_nobody_up_who_has_the_link() {
    let larder = Larder::with(Limits { log_ins_per_account: 3, ..Limits::default() });
    let link = token(&larder);
    let guess = || set_up(&larder, "wrong", "mallory", "long enough").send();
    for _ in 0..3 {
        is(&guess(), 401, "unauthenticated");
    }
    let limited = guess();
    is(&limited, 429, "too_many_requests");
    assert!(limited.header("retry-after").is_some());
    is(&set_up(&larder, &link, "x y", "long enough").send(), 422, "invalid");
    larder.clock.advance(Duration::from_mins(1));
    is(&guess(), 401, "unauthenticated");
}
