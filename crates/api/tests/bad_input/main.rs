//! Bad input, as tables: what is sent, and the status and code that it gets. After each row nothing that is stored has changed.

#![allow(clippy::unwrap_used)]

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
use std::time::Duration;

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
        let before = self.larder.state();
        let answer = send(self.request(row));
        let (line, headers, body, status, code) = row;
        let shown = format!("{line} {headers:?} {:?}", body.get(..200).unwrap_or(body));
        assert_eq!((answer.status, answer.code().as_str()), (*status, *code), "{shown}: {}", answer.text());
        if answer.code() != "" {
            assert_eq!(answer.json()["status"], *status, "{shown}");
            assert!(answer.header("x-request-id").is_some_and(|id| answer.json()["request_id"] == id), "{shown}");
            assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{shown}");
            assert!(answer.header("content-security-policy").is_some() && answer.header("set-cookie").is_none());
        }
        self.larder.state().same_as(&before, &shown);
    }
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
