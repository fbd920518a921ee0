//! Sessions: refreshed by tokens that count once, ended by log-out, by time, by a change of their user, and by one token sent twice.

#![allow(clippy::unwrap_used)]

mod common;

use common::{Answer, Larder};
use larder_api::{Limits, password};
use larder_files::{FilesOf, Role, User, UserName, ledger::Session};
use serde_json::{Value, json};
use std::time::Duration;

const DAY: Duration = Duration::from_hours(24);

fn refresh(larder: &Larder, token: &str) -> Answer {
    larder.anybody("POST /api/v1/auth/refresh").json(&json!({ "refresh_token": token })).send()
}

fn text(answer: &Answer, field: &str) -> String {
    assert!((200..300).contains(&answer.status), "{}", answer.text());
    answer.json()[field].as_str().unwrap().to_owned()
}

fn me(larder: &Larder, token: &str) -> u16 {
    larder.anybody("GET /api/v1/auth/me").header("Authorization", &format!("Bearer {token}")).send().status
}

/// Until every node has heard of it.
fn a_second_later(larder: &Larder) {
    larder.clock.advance(Duration::from_secs(1));
}

/// A session of ada's and its refresh token.
fn ada(larder: &Larder) -> (Session, String) {
    let session = larder.session(&larder.ada);
    let token = larder.refresh_token(&session);
    (session, token)
}

#[test]
fn a_log_in_goes_on_by_refreshing_and_ends_by_logging_out() {
    let larder = Larder::start();
    let hash = password::hash("long enough").unwrap();
    larder.block_on(larder.files.add_user(UserName::new("eve").unwrap(), Role::User, Some(hash))).unwrap();
    let credentials = json!({"username": "eve", "password": "long enough"});
    let first = larder.anybody("POST /api/v1/auth/login").json(&credentials).send();
    let second = refresh(&larder, &text(&first, "refresh_token"));
    assert_eq!((second.status, second.header("cache-control")), (200, Some("no-store")));
    assert_eq!((&second.json()["token_type"], &second.json()["expires_in"]), (&json!("Bearer"), &json!(900)));
    for answer in [&first, &second] {
        assert_eq!(me(&larder, &text(answer, "access_token")), 200, "both access tokens last their time");
    }
    larder.clock.advance(Duration::from_secs(901));
    assert_eq!(me(&larder, &text(&second, "access_token")), 401);
    let third = refresh(&larder, &text(&second, "refresh_token"));
    let access = format!("Bearer {}", text(&third, "access_token"));
    let gone = larder.anybody("POST /api/v1/auth/logout").header("Authorization", &access).send();
    assert_eq!((gone.status, gone.body.len()), (204, 0));
    assert_eq!(me(&larder, &text(&third, "access_token")), 401, "at once on this node");
    assert_eq!(refresh(&larder, &text(&third, "refresh_token")).status, 401);
    assert_eq!(larder.anybody("POST /api/v1/auth/logout").header("Authorization", &access).send().status, 401);
}

#[test]
fn who_has_only_the_refresh_token_left_logs_out_by_it() {
    let larder = Larder::start();
    let ((session, token), (other, _)) = (ada(&larder), ada(&larder));
    let log_out = || larder.anybody("POST /api/v1/auth/logout").json(&json!({ "refresh_token": token })).send().status;
    assert_eq!([log_out(), log_out()], [204, 204], "it has ended either way");
    let of = |session: &Session| larder.block_on(larder.files.user_of_session(session.id)).unwrap();
    assert_eq!((of(&session), of(&other).is_some()), (None, true), "one session, and no other of the same user");
}

#[test]
fn a_refresh_token_that_is_sent_twice_ends_its_session() {
    let larder = Larder::start();
    let ((_, token), (_, other)) = (ada(&larder), ada(&larder));
    let next = refresh(&larder, &token);
    assert_eq!(me(&larder, &text(&next, "access_token")), 200);
    let stolen = refresh(&larder, &token);
    assert_eq!((stolen.status, stolen.code()), (401, "unauthenticated".into()));
    assert_eq!(me(&larder, &text(&next, "access_token")), 401, "nobody knows which of the two is the thief");
    assert_eq!(refresh(&larder, &text(&next, "refresh_token")).status, 401);
    assert_eq!(refresh(&larder, &other).status, 200, "another session goes on");
}

#[test]
fn of_eight_who_refresh_by_one_token_at_once_exactly_one_gets_tokens() {
    let larder = Larder::start();
    for _ in 0..8 {
        let (session, token) = ada(&larder);
        let statuses = std::thread::scope(|scope| {
            let all = [(); 8].map(|()| scope.spawn(|| refresh(&larder, &token).status));
            all.map(|one| one.join().unwrap())
        });
        assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
        assert_eq!(statuses.iter().filter(|status| **status == 401).count(), 7, "{statuses:?}");
        assert_eq!(larder.block_on(larder.files.user_of_session(session.id)).unwrap(), None);
    }
}

#[test]
fn a_session_ends_a_week_after_its_last_refresh_and_a_month_after_its_log_in() {
    let larder = Larder::start();
    let (_, idle) = ada(&larder);
    let (_, mut token) = ada(&larder);
    for day in [6, 12, 18, 24, 29] {
        larder.clock.advance(if day == 29 { DAY * 5 } else { DAY * 6 });
        token = text(&refresh(&larder, &token), "refresh_token");
        assert_eq!(refresh(&larder, &idle).status, if day == 6 { 200 } else { 401 }, "on day {day}");
    }
    let access = text(&refresh(&larder, &token), "access_token");
    larder.clock.advance(DAY);
    assert_eq!(me(&larder, &access), 401);
    assert_eq!(refresh(&larder, &token).status, 401);
}

#[test]
fn whatever_changes_a_user_ends_their_sessions() {
    let larder = Larder::start();
    let change = |user: &User, what: &str| {
        let files = &larder.files;
        larder.block_on(async {
            match what {
                "password" => drop(files.set_password(user.id, "$argon2id$…".into()).await.unwrap()),
                "role" => drop(files.set_role(user.id, Role::Admin).await.unwrap()),
                _ => drop(files.delete_user(user.id, FilesOf::Refuse).await.unwrap()),
            }
        });
    };
    for what in ["password", "role", "deletion"] {
        let name = UserName::new(what).unwrap();
        let user = larder.block_on(larder.files.add_user(name, Role::User, None)).unwrap();
        let (access, token) = (larder.token(&user), larder.refresh_token(&larder.session(&user)));
        let bystander = larder.token(&larder.bob);
        assert_eq!(me(&larder, &access), 200);
        change(&user, what);
        // As done by another node: this one has looked a moment ago.
        a_second_later(&larder);
        assert_eq!(me(&larder, &access), 401, "{what}");
        assert_eq!(refresh(&larder, &token).status, 401, "{what}");
        assert_eq!(me(&larder, &bystander), 200);
    }
}

#[test]
fn a_log_out_on_another_node_is_known_here_within_a_second() {
    let larder = Larder::start();
    let (access, session) = (larder.token(&larder.ada), larder.claims(&larder.ada)["sid"].clone());
    assert_eq!(me(&larder, &access), 200);
    let session = serde_json::from_value(session).unwrap();
    larder.block_on(larder.files.end_session(session)).unwrap();
    a_second_later(&larder);
    assert_eq!(me(&larder, &access), 401);
}

#[test]
fn one_more_session_than_are_allowed_ends_the_one_that_would_end_first() {
    let larder = Larder::with(Limits { sessions_per_user: 2, ..Limits::default() });
    let hash = password::hash("long enough").unwrap();
    larder.block_on(larder.files.add_user(UserName::new("eve").unwrap(), Role::User, Some(hash))).unwrap();
    let log_in = || {
        larder.clock.advance(Duration::from_secs(1));
        let credentials = json!({"username": "eve", "password": "long enough"});
        text(&larder.anybody("POST /api/v1/auth/login").json(&credentials).send(), "refresh_token")
    };
    let (first, second) = (log_in(), log_in());
    larder.clock.advance(Duration::from_secs(1));
    let first = text(&refresh(&larder, &first), "refresh_token");
    let third = log_in();
    let statuses = [&first, &second, &third].map(|token| refresh(&larder, token).status);
    assert_eq!(statuses, [200, 401, 200], "the second is the one that nobody has used for longest");
}

#[test]
fn no_answer_to_a_bad_refresh_tells_why() {
    let larder = Larder::start();
    let (session, spent) = ada(&larder);
    refresh(&larder, &spent);
    let unknown =
        larder.refresh_token(&Session { id: serde_json::from_value(json!(larder.bob.id)).unwrap(), ..session });
    let answers = [&*spent, &*unknown, "x"].map(|token| refresh(&larder, token));
    let told = |answer: &Answer| {
        let Value::Object(mut told) = answer.json() else { panic!("{}", answer.text()) };
        told.remove("request_id");
        (answer.status, told)
    };
    assert!(answers.iter().all(|answer| told(answer) == told(&answers[0])), "{answers:?}");
}

#[test]
fn no_answer_to_a_bad_log_in_tells_why() {
    let larder = Larder::start();
    let hash = password::hash("long enough").unwrap();
    larder.block_on(larder.files.add_user(UserName::new("eve").unwrap(), Role::User, Some(hash))).unwrap();
    // One with a password, one without, one who is not there, the built-in account, and no name at all.
    let answers = ["eve", "ada", "nobody", "local", "../eve"].map(|name| {
        let credentials = json!({"username": name, "password": "not the one"});
        larder.anybody("POST /api/v1/auth/login").header("X-Request-Id", "same").json(&credentials).send()
    });
    let told = |answer: &Answer| {
        let mut headers: Vec<_> = answer.headers.iter().filter(|(name, _)| name != "date").cloned().collect();
        headers.sort();
        (answer.status, headers, answer.body.clone())
    };
    assert_eq!(answers[0].status, 401);
    assert!(answers.iter().all(|answer| told(answer) == told(&answers[0])), "{answers:?}");
}
