//! Bad input, as tables: what is sent, and the status and code that it gets. After each row nothing that is stored has changed.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

#[path = "../common/mod.rs"]
mod common;

mod bodies;
mod conditions;
mod digests;
mod forms;
mod heads;
mod json;
mod methods;
mod names;
mod queries;
mod ranges;
mod tokens;

use common::{Answer, Larder, Request};
use larder_api::Limits;
use serde_json::Value;
use std::{cell::RefCell, collections::BTreeSet, time::Duration};

/// What a table's requests may refer to: `{file}`, `{trashed}` and `{bobs}` in a line or header are ids, `{etag}` is the
/// content's of `{file}`.
pub(crate) struct Scene {
    pub(crate) larder: Larder,
    file: Value,
    trashed: Value,
    bobs: Value,
}

/// A row: the request line, headers, the body; then the status and the problem's code.
pub(crate) type Row<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str, u16, &'a str);

impl Scene {
    pub(crate) fn new() -> Self {
        Self::with(Limits { linger: Limits::LINGER_MIN, ..Limits::default() })
    }

    pub(crate) fn with(limits: Limits) -> Self {
        let larder = Larder::with(limits);
        let (file, trashed) = (larder.put("a.txt", b"0123456789"), larder.put("old.txt", b"old"));
        let bobs = larder.put_by(&larder.bob, "b.txt", b"bob's");
        let gone = larder.ada(&format!("DELETE /api/v1/files/{}", trashed["id"].as_str().unwrap())).send();
        assert_eq!(gone.status, 204);
        Self { larder, file, trashed, bobs }
    }

    pub(crate) fn fill(&self, text: &str) -> String {
        let id = |record: &Value| record["id"].as_str().unwrap().to_owned();
        text.replace("{file}", &id(&self.file))
            .replace("{trashed}", &id(&self.trashed))
            .replace("{bobs}", &id(&self.bobs))
            .replace("{etag}", self.file["content_etag"].as_str().unwrap())
    }

    pub(crate) fn request(&self, (line, headers, body, ..): &Row<'_>) -> Request<'_> {
        let request = self.larder.ada(&self.fill(line)).body(body);
        headers.iter().fold(request, |request, (name, value)| request.header(name, &self.fill(value)))
    }

    /// Sends each row as ada, on a connection that stays open behind it, and compares.
    pub(crate) fn refuses(&self, rows: &[Row<'_>]) {
        for row in rows {
            self.refused(row, |request| request.send());
        }
    }

    /// As [`Scene::refuses`], but the client stops sending for good.
    pub(crate) fn refuses_cut_off(&self, rows: &[Row<'_>]) {
        for row in rows {
            self.refused(row, |request| request.send_and_end());
        }
    }

    pub(crate) fn refused(&self, row: &Row<'_>, send: impl Fn(Request<'_>) -> Answer) {
        let (line, headers, body, status, code) = row;
        let shown = format!("{line} {headers:?} {:?}", body.get(..200).unwrap_or(body));
        if counted(&format!("{line} {headers:?} {body:?}")) {
            return;
        }
        let before = self.larder.state();
        let answer = send(self.request(row));
        assert_eq!((answer.status, answer.code().as_str()), (*status, *code), "{shown}: {}", answer.text());
        if answer.code() != "" {
            assert_eq!(answer.json()["status"], *status, "{shown}");
            assert!(answer.header("x-request-id").is_some_and(|id| answer.json()["request_id"] == id), "{shown}");
            answer.assert_harmless(&shown);
        }
        self.larder.state().same_as(&before, &shown);
    }
}

thread_local! {
    /// The cases that were met, while they are only counted.
    static COUNTED: RefCell<Option<BTreeSet<String>>> = const { RefCell::new(None) };
}

/// Whether a case is only counted and not to be sent.
pub(crate) fn counted(case: &str) -> bool {
    COUNTED.with_borrow_mut(|cases| cases.as_mut().map(|cases| cases.insert(case.to_owned())).is_some())
}

/// What they are about, and the tests that they are.
type Tables = (&'static str, &'static [fn()]);

/// The tables, but for one that asks each route for each id that is none: a product is not so many ways to be wrong.
const TABLES: &[Tables] = &[
    ("bodies", &[bodies::bodies_that_break_off, bodies::bodies_that_announce_or_bring_too_much]),
    ("conditions", &[conditions::conditions_that_are_false_or_none]),
    ("digests", &[digests::digests_that_are_none_or_anothers]),
    (
        "forms",
        &[
            forms::forms_with_the_wrong_parts,
            forms::forms_whose_framing_is_broken,
            forms::a_form_can_bring_only_so_much_besides_its_file,
        ],
    ),
    ("heads", &[heads::heads_that_are_too_large, heads::headers_with_values_that_are_none]),
    (
        "json",
        &[
            json::patches_that_are_none,
            json::bodies_that_are_bombs_or_no_json,
            json::log_ins_that_are_none,
            json::set_ups_that_are_none,
            json::additions_and_copies_that_are_none,
        ],
    ),
    ("methods", &[methods::methods_that_a_route_does_not_have_are_told_which_it_has, methods::places_where_nothing_is]),
    (
        "names",
        &[
            names::names_of_files_buckets_and_owners,
            names::names_in_paths,
            names::what_lies_in_the_trash_has_no_content_and_takes_no_changes,
        ],
    ),
    ("queries", &[queries::queries_with_unknown_repeated_or_wrong_parameters]),
    ("ranges", &[ranges::ranges_that_select_nothing_of_ten_bytes]),
    (
        "tokens",
        &[
            tokens::claims_that_are_missing_or_wrong,
            tokens::other_algorithms_keys_and_types,
            tokens::tokens_that_were_cut_or_changed,
            tokens::headers_that_bring_no_token,
        ],
    ),
];

#[test]
fn the_tables_have_at_least_three_hundred_cases() {
    let mut total = 0;
    for (name, tables) in TABLES {
        COUNTED.set(Some(BTreeSet::new()));
        tables.iter().for_each(|table| table());
        let cases = COUNTED.take().unwrap().len();
        println!("{name}: {cases}");
        total += cases;
    }
    println!("{total} cases, each with its status, its problem's code and a store that stays as it was");
    assert!(total >= 300, "{total}");
}

/// Limits that a test can wait for.
pub(crate) fn impatient() -> Limits {
    Limits {
        small_body_bytes: 0,
        block_bytes: 16,
        body_idle: Duration::from_millis(200),
        linger: Limits::LINGER_MIN,
        ..Limits::default()
    }
}
