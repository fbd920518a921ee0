//! Users over HTTP: added, listed, changed and deleted by admins; their own password by themselves.

#![allow(clippy::unwrap_used)]

mod common;

use common::{Larder, Request};
use larder_files::{Body, Caller, NewFile, Receive, Role, User, UserName};
use serde_json::{Value, json};

const USERS: &str = "/api/v1/users";

fn add(larder: &Larder, fields: Value) -> Value {
    let answer = larder.root(&format!("POST {USERS}")).json(&fields).send();
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert_eq!(answer.header("location"), Some(&*format!("{USERS}/{}", answer.json()["id"].as_str().unwrap())));
    answer.json()
}

/// An admin who can log in, made here because a password that is hashed takes its time.
fn admin(larder: &Larder, name: &str) -> User {
    larder.block_on(larder.files.add_user(UserName::new(name).unwrap(), Role::Admin, None)).unwrap()
}

fn log_in<'a>(larder: &'a Larder, username: &str, password: &str) -> Request<'a> {
    larder.anybody("POST /api/v1/auth/login").json(&json!({"username": username, "password": password}))
}

fn token(larder: &Larder, username: &str, password: &str) -> String {
    let answer = log_in(larder, username, password).send();
    assert_eq!(answer.status, 200, "{}", answer.text());
    format!("Bearer {}", answer.json()["access_token"].as_str().unwrap())
}

fn at(user: &Value) -> String {
    format!("{USERS}/{}", user["id"].as_str().unwrap())
}

#[test]
fn a_user_is_added_logs_in_is_changed_and_goes() {
    let larder = Larder::start();
    let anna = add(&larder, json!({"username": "anna", "password": "long enough"}));
    assert_eq!((&anna["username"], &anna["role"], &anna["locked"]), (&json!("anna"), &json!("user"), &json!(false)));
    assert_eq!(larder.root(&format!("GET {}", at(&anna))).send().json(), anna);
    let bearer = token(&larder, "anna", "long enough");
    let me = |line: &str| larder.anybody(line).header("Authorization", &bearer).send();
    assert_eq!(me(&format!("GET {}", at(&anna))).json(), anna);
    assert_eq!(me(&format!("GET {USERS}")).status, 403);

    let promoted = larder.root(&format!("PATCH {}", at(&anna))).json(&json!({"role": "admin"})).send();
    assert_eq!((promoted.status, &promoted.json()["role"]), (200, &json!("admin")));
    assert_eq!(me(&format!("GET {USERS}")).status, 401, "a new role ends the sessions of the old one at once");
    let bearer = token(&larder, "anna", "long enough");
    let me = |line: &str| larder.anybody(line).header("Authorization", &bearer).send();
    assert_eq!(me(&format!("GET {USERS}")).status, 200);
    let both = json!({"role": "user", "password": "another-one"});
    let demoted = larder.root(&format!("PATCH {}", at(&anna))).json(&both).send();
    assert_eq!((demoted.status, &demoted.json()["role"]), (200, &json!("user")));
    assert_eq!(me("GET /api/v1/auth/me").status, 401, "a new password ends the tokens of the old one");
    let bearer = token(&larder, "anna", "another-one");
    assert_eq!(log_in(&larder, "anna", "long enough").send().status, 401);

    assert_eq!(larder.root(&format!("DELETE {}", at(&anna))).send().status, 204);
    assert_eq!(larder.anybody("GET /api/v1/auth/me").header("Authorization", &bearer).send().status, 401);
    assert_eq!(log_in(&larder, "anna", "another-one").send().status, 401);
    for method in ["GET", "DELETE"] {
        assert_eq!(larder.root(&format!("{method} {}", at(&anna))).send().status, 404);
    }
    let again = json!({"username": "anna", "password": "long enough"});
    let refused = larder.root(&format!("POST {USERS}")).json(&again).send();
    assert_eq!((refused.status, refused.code()), (409, "conflict".into()), "a name is never given again");
}

#[test]
fn users_come_in_pages_by_id_without_those_who_are_gone() {
    let larder = Larder::start();
    let gone = admin(&larder, "gone");
    let last = admin(&larder, "last");
    assert_eq!(larder.root(&format!("DELETE {USERS}/{}", gone.id)).send().status, 204);
    let (mut names, mut cursor) = (vec![], String::new());
    loop {
        let page = larder.root(&format!("GET {USERS}?limit=2{cursor}")).send().json();
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= 2);
        names.extend(items.iter().map(|user| user["username"].as_str().unwrap().to_owned()));
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    let all = [&larder.ada, &larder.bob, &larder.root, &last];
    let mut expected: Vec<_> = all.iter().map(|user| (user.id, user.name.to_string())).collect();
    expected.sort();
    assert_eq!(names, expected.into_iter().map(|(_, name)| name).collect::<Vec<_>>());
    assert!(larder.root(&format!("GET {USERS}")).send().json()["next_cursor"].is_null());
}

#[test]
fn a_user_changes_their_own_password_and_proves_the_present_one() {
    let larder = Larder::start();
    let anna = add(&larder, json!({"username": "anna", "password": "long enough"}));
    let bearer = token(&larder, "anna", "long enough");
    let patch = |fields: Value| {
        larder.anybody(&format!("PATCH {}", at(&anna))).header("Authorization", &bearer).json(&fields).send()
    };
    let proven = json!({"role": "admin", "password": "another-one", "current_password": "long enough"});
    assert_eq!(patch(proven).status, 403, "nobody makes an admin of themselves");
    for (given, says) in [(json!({}), "missing"), (json!({"current_password": "wrong"}), "wrong")] {
        let mut fields = given;
        fields["password"] = json!("another-one");
        let refused = patch(fields).json();
        assert_eq!((&refused["status"], &refused["errors"][0]["field"]), (&json!(422), &json!("current_password")));
        assert!(refused["detail"].as_str().unwrap().contains(says), "{refused}");
    }
    let right = json!({"password": "another-one", "current_password": "long enough"});
    assert_eq!(patch(right.clone()).status, 200);
    assert_eq!(patch(right).status, 401, "the token ended with the old password");
    token(&larder, "anna", "another-one");
}

#[test]
fn guesses_of_the_present_password_are_limited_as_log_ins_are() {
    let larder = Larder::with(larder_api::Limits { log_ins_per_account: 2, ..Default::default() });
    let guess = json!({"password": "another-one", "current_password": "a guess"});
    let patch = || larder.ada(&format!("PATCH {USERS}/{}", larder.ada.id)).json(&guess).send();
    assert_eq!([patch().status, patch().status], [422, 422]);
    let limited = patch();
    assert_eq!((limited.status, limited.header("retry-after").is_some()), (429, true));
}

#[test]
fn failed_log_ins_of_others_keep_nobody_from_a_new_password() {
    let larder = Larder::with(larder_api::Limits { log_ins_per_account: 2, ..Default::default() });
    let added = json!({"username": "anna", "password": "long enough"});
    let id = larder.root(&format!("POST {USERS}")).json(&added).send().json()["id"].as_str().unwrap().to_owned();
    let token = token(&larder, "anna", "long enough");
    let guess = json!({"username": "anna", "password": "a guess"});
    let guesses = || larder.anybody("POST /api/v1/auth/login").json(&guess).send().status;
    assert_eq!([guesses(), guesses(), guesses()], [401, 401, 429]);
    let change = json!({"password": "another-one", "current_password": "long enough"});
    let patch = larder.anybody(&format!("PATCH {USERS}/{id}")).header("Authorization", &token);
    assert_eq!(patch.json(&change).send().status, 200);
}

#[test]
fn the_last_admin_stays_and_of_two_who_delete_each_other_one_does() {
    let larder = Larder::start();
    let root = format!("{USERS}/{}", larder.root.id);
    let demoted = larder.root(&format!("PATCH {root}")).json(&json!({"role": "user"})).send();
    assert_eq!((demoted.status, demoted.code()), (409, "conflict".into()));
    assert_eq!(larder.root(&format!("DELETE {root}")).send().status, 409);

    let other = admin(&larder, "other");
    let (by_root, by_other) =
        (larder.root(&format!("DELETE {USERS}/{}", other.id)), larder.by(&other, &format!("DELETE {root}")));
    let statuses = std::thread::scope(|scope| {
        let both = [by_root, by_other].map(|request| scope.spawn(move || request.send().status));
        both.map(|one| one.join().unwrap())
    });
    assert_eq!(statuses.iter().filter(|status| **status == 204).count(), 1, "{statuses:?}");
}

#[test]
fn files_of_a_user_who_is_deleted_are_decided_about() {
    let larder = Larder::start();
    let trashed = larder.put("a.txt", b"one")["id"].as_str().unwrap().to_owned();
    let kept = larder.put("b.txt", b"two")["id"].as_str().unwrap().to_owned();
    assert_eq!(larder.ada(&format!("DELETE /api/v1/files/{trashed}")).send().status, 204);
    let ada = format!("DELETE {USERS}/{}", larder.ada.id);
    let before = larder.state();
    let refused = larder.root(&ada).send();
    assert_eq!((refused.status, refused.code()), (409, "conflict".into()));
    assert!(refused.text().contains("2 files") && refused.text().contains("?files_to="), "{}", refused.text());
    for wrong in ["?files=keep", "?files_to=nobody", "?files_to=ada", "?files_to=A", "?files=purge&files_to=bob"] {
        assert_eq!(larder.root(&format!("{ada}{wrong}")).send().status, 422, "{wrong}");
    }
    larder.state().same_as(&before, "what was refused");

    assert_eq!(larder.root(&format!("{ada}?files_to=bob")).send().status, 204);
    assert_eq!(larder.bob(&format!("GET /api/v1/files/{kept}/content")).send().body, b"two");
    let record = larder.bob(&format!("GET /api/v1/files/{trashed}")).send().json();
    assert_eq!((&record["owner"], record["deleted_at"].is_null()), (&json!("bob"), false));
    assert_eq!(larder.root(&format!("DELETE {USERS}/{}?files=purge", larder.bob.id)).send().status, 204);
    assert_eq!(larder.root(&format!("GET /api/v1/files/{kept}")).send().status, 404);
}

#[test]
fn who_owns_very_many_files_is_deleted_on_the_command_line() {
    let larder = Larder::start();
    let ada = Caller { id: larder.ada.id, name: larder.ada.name.clone(), role: Role::User };
    larder.block_on(async {
        for number in 0..=1000 {
            let receive = Receive { bucket: "documents".into(), ..Receive::default() };
            let received = larder.files.receive(&ada, receive, Body::from(&b"x"[..])).await.unwrap();
            let new = NewFile { name: number.to_string(), ..NewFile::default() };
            larder.files.create(&ada, received, new).await.unwrap();
        }
    });
    let refused = larder.root(&format!("DELETE {USERS}/{}?files=purge", larder.ada.id)).send();
    assert_eq!(refused.status, 409);
    assert!(refused.text().contains("larder user delete"), "{}", refused.text());
    assert_eq!(larder.ada("GET /api/v1/auth/me").send().status, 200, "nothing has changed");
}

#[test]
fn requests_that_make_or_change_nobody() {
    let larder = Larder::start();
    let (ada, long) = (format!("PATCH {USERS}/{}", larder.ada.id), "x".repeat(1025));
    let add = format!("POST {USERS}");
    let rows = [
        (&add, json!({}), 422, "username"),
        (&add, json!({"username": "anna"}), 422, "password"),
        (&add, json!({"username": "Anna", "password": "long enough"}), 422, "username"),
        (&add, json!({"username": 1, "password": "long enough"}), 422, "username"),
        (&add, json!({"username": "anna", "password": "short"}), 422, "password"),
        (&add, json!({"username": "anna", "password": long}), 422, "password"),
        (&add, json!({"username": "anna", "password": null}), 422, "password"),
        (&add, json!({"username": "anna", "password": "long enough", "role": "root"}), 422, "role"),
        (&add, json!({"username": "anna", "password": "long enough", "admin": true}), 422, "admin"),
        (&add, json!({"username": "ada", "password": "long enough"}), 409, ""),
        (&add, json!({"username": "local", "password": "long enough"}), 409, ""),
        (&ada, json!({"username": "anna"}), 422, "username"),
        (&ada, json!({"role": null}), 422, "role"),
        (&ada, json!({"password": "short"}), 422, "password"),
        (&ada, json!({"suspended": true}), 422, "suspended"),
        (&ada, json!([]), 400, ""),
    ];
    for (line, body, status, field) in rows {
        let before = larder.state();
        let answer = larder.root(line).json(&body).send();
        assert_eq!(answer.status, status, "{line} {body}: {}", answer.text());
        assert_eq!(answer.json()["errors"][0]["field"].as_str().unwrap_or_default(), field, "{line} {body}");
        larder.state().same_as(&before, &format!("{line} {body}"));
    }
    for line in ["GET /api/v1/users?limit=0", "GET /api/v1/users?cursor=x", "GET /api/v1/users?role=admin"] {
        assert_eq!(larder.root(line).send().status, 422, "{line}");
    }
    for id in ["x", "00000000-0000-7000-8000-000000000001", "01930000-0000-7000-8000-000000000000"] {
        for method in ["GET", "DELETE"] {
            assert_eq!(larder.root(&format!("{method} {USERS}/{id}")).send().status, 404, "{method} {id}");
        }
    }
}

#[test]
fn a_repeat_of_an_addition_is_answered_as_the_first_and_adds_nobody() {
    let larder = Larder::start();
    let add = |key: &str, body: Value| larder.root(&format!("POST {USERS}")).header("Idempotency-Key", key).json(&body);
    let anna = json!({"username": "anna", "password": "long enough"});
    let first = add("k", anna.clone()).send();
    assert_eq!(first.status, 201, "{}", first.text());
    let again = add("k", anna.clone()).send();
    assert_eq!((again.status, again.json(), again.header("location")), (201, first.json(), first.header("location")));
    for other in [
        json!({"username": "anna", "password": "another-one"}),
        json!({"username": "anna", "password": "long enough", "role": "admin"}),
        json!({"username": "boris", "password": "long enough"}),
    ] {
        let refused = add("k", other).send();
        assert_eq!((refused.status, refused.code()), (422, "invalid".into()), "{}", refused.text());
    }
    let file = "POST /api/v1/buckets/documents/files?name=a";
    assert_eq!(larder.root(file).header("Idempotency-Key", "k").body("x").send().status, 422, "it made no file");
    assert_eq!(add("l", anna.clone()).send().status, 409, "another key is another request");
    assert_eq!(add("", anna.clone()).send().status, 422);

    let demoted = larder.root(&format!("PATCH {}", at(&first.json()))).json(&json!({"role": "admin"})).send();
    assert_eq!(demoted.status, 200);
    assert_eq!(add("k", anna.clone()).send().json()["role"], "admin", "as they are now");
    assert_eq!(larder.root(&format!("DELETE {}", at(&first.json()))).send().status, 204);
    let gone = add("k", anna.clone()).send();
    assert_eq!((gone.status, gone.code()), (410, "gone".into()));
    larder.clock.advance(std::time::Duration::from_hours(25));
    assert_eq!(add("k", anna).send().status, 409, "the key is forgotten, the name is not");
}

#[test]
fn of_several_additions_under_one_key_at_once_one_adds_and_the_others_say_so() {
    let larder = Larder::start();
    let body = json!({"username": "anna", "password": "long enough"});
    let statuses = std::thread::scope(|scope| {
        let all = [(); 4].map(|()| {
            scope.spawn(|| {
                larder.root(&format!("POST {USERS}")).header("Idempotency-Key", "k").json(&body).send().status
            })
        });
        all.map(|one| one.join().unwrap())
    });
    assert!(statuses.contains(&201) && statuses.iter().all(|status| [201, 409].contains(status)), "{statuses:?}");
    let users = larder.block_on(larder.files.users()).unwrap();
    assert_eq!(users.iter().filter(|user| user.name.as_str() == "anna").count(), 1);
}
