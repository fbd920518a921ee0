//! [`Problem`]: every refusal, as RFC 9457 has it. The client's fault and ours differ in the first digit; no text holds a path,
//! a store's place or SQL.

use actix_web::{
    HttpResponse, ResponseError,
    http::{
        StatusCode,
        header::{self, HeaderName, HeaderValue},
    },
};
use larder_files::Error;
use serde::Serialize;
use std::fmt;
use utoipa::ToSchema;

/// Which file an answer is of, where the request did not say.
pub(crate) const LARDER_FILE: HeaderName = HeaderName::from_static("larder-file");

/// What went wrong, by the code that a client may match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    Malformed,
    Unauthenticated,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    Timeout,
    Conflict,
    Archived,
    Gone,
    PreconditionFailed,
    TooLarge,
    TargetTooLong,
    HeadTooLarge,
    UnsupportedType,
    RangeNotSatisfiable,
    Invalid,
    DigestMismatch,
    NotAnImage,
    TooManyRequests,
    Internal,
    ContentLost,
    StoreUnavailable,
    Busy,
    Indeterminate,
    InsufficientStorage,
}

impl Code {
    /// As a client matches it.
    pub(crate) fn name(self) -> &'static str {
        self.parts().0
    }

    /// Code, status and title.
    fn parts(self) -> (&'static str, u16, &'static str) {
        match self {
            Self::Malformed => ("malformed", 400, "The request can't be read"),
            Self::Unauthenticated => ("unauthenticated", 401, "Who is asking?"),
            Self::Forbidden => ("forbidden", 403, "Not allowed"),
            Self::NotFound => ("not_found", 404, "Not found"),
            Self::MethodNotAllowed => ("method_not_allowed", 405, "Method not allowed here"),
            Self::Timeout => ("timeout", 408, "The request took too long"),
            Self::Conflict => ("conflict", 409, "Contradicts what is there"),
            Self::Archived => ("archived", 409, "In an archive"),
            Self::Gone => ("gone", 410, "Gone for ever"),
            Self::PreconditionFailed => ("precondition_failed", 412, "A condition of the request is false"),
            Self::TooLarge => ("too_large", 413, "Too large"),
            Self::TargetTooLong => ("too_large", 414, "The target is too long"),
            Self::HeadTooLarge => ("too_large", 431, "The head is too large"),
            Self::UnsupportedType => ("unsupported_type", 415, "Type not taken here"),
            Self::RangeNotSatisfiable => ("range_not_satisfiable", 416, "The range selects nothing"),
            Self::Invalid => ("invalid", 422, "A value is wrong"),
            Self::DigestMismatch => ("digest_mismatch", 422, "The content is not the announced one"),
            Self::NotAnImage => ("not_an_image", 422, "No picture that can be read"),
            Self::TooManyRequests => ("too_many_requests", 429, "Too many requests"),
            Self::Internal => ("internal", 500, "A fault of this server"),
            Self::ContentLost => ("content_lost", 500, "The content is lost"),
            Self::StoreUnavailable => ("store_unavailable", 503, "A store is unavailable"),
            Self::Busy => ("busy", 503, "Busy"),
            Self::Indeterminate => ("indeterminate", 503, "The outcome is not known"),
            Self::InsufficientStorage => ("insufficient_storage", 507, "No space is left"),
        }
    }
}

/// A field at fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Fault {
    /// Its name.
    field: String,
    /// What is wrong with it.
    message: String,
}

/// A refusal as it is written (RFC 9457).
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct Document<'a> {
    /// `urn:larder:problem:CODE`.
    r#type: String,
    /// What it is in general.
    title: &'a str,
    /// The answer's status.
    status: u16,
    /// What it is this time.
    detail: &'a str,
    /// For programs.
    code: &'a str,
    /// Also in `X-Request-Id` and in the log.
    request_id: &'a str,
    /// The fields at fault, where it is theirs.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [Fault],
}

/// A refusal on its way out. [`crate::envelope`] writes it, since it knows the request's id.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    code: Code,
    detail: String,
    faults: Vec<Fault>,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// Whether the connection ends with this answer.
    closes: bool,
    /// What the log has to know and the client has not: an error of ours with its causes.
    fault: Option<String>,
}

impl Problem {
    pub(crate) fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), faults: vec![], headers: vec![], closes: false, fault: None }
    }

    pub(crate) fn malformed(detail: impl Into<String>) -> Self {
        Self::new(Code::Malformed, detail)
    }

    /// What is absent, and what is another's.
    pub(crate) fn not_found(what: &str) -> Self {
        Self::new(Code::NotFound, format!("no such {what}"))
    }

    /// A field with a wrong value.
    pub(crate) fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        let fault = Fault { field: field.into(), message: message.into() };
        let detail = format!("`{}`: {}", fault.field, fault.message);
        Self { faults: vec![fault], ..Self::new(Code::Invalid, detail) }
    }

    pub(crate) fn unauthenticated(detail: &str) -> Self {
        let challenge = HeaderValue::from_static("Bearer realm=\"larder\"");
        Self::new(Code::Unauthenticated, detail).with(header::WWW_AUTHENTICATE, challenge)
    }

    pub(crate) fn too_large(max: u64) -> Self {
        Self::new(Code::TooLarge, format!("the content is over the limit of {max} bytes"))
    }

    /// Adds a header to the answer.
    pub(crate) fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Says when to ask again.
    pub(crate) fn retry_after(self, seconds: u64) -> Self {
        self.with(header::RETRY_AFTER, seconds.max(1).into())
    }

    /// Ends the connection with this answer.
    pub(crate) fn closing(mut self) -> Self {
        self.closes = true;
        self
    }

    pub(crate) fn code(&self) -> Code {
        self.code
    }

    /// What the log has to know, where this is our fault.
    pub(crate) fn fault(&self) -> Option<&str> {
        self.fault.as_deref()
    }

    /// Whether the answer has a header of this name.
    pub(crate) fn tells(&self, name: HeaderName) -> bool {
        self.headers.iter().any(|(header, _)| *header == name)
    }

    /// The same where the request itself had made it a condition.
    pub(crate) fn into_condition(self) -> Self {
        Self { code: Code::PreconditionFailed, ..self }
    }

    /// The answer, with the request's id in it.
    pub(crate) fn to_response(&self, request_id: &str) -> HttpResponse {
        let (code, status, title) = self.code.parts();
        let document = Document {
            r#type: format!("urn:larder:problem:{code}"),
            title,
            status,
            detail: &self.detail,
            code,
            request_id,
            errors: &self.faults,
        };
        let mut response = HttpResponse::build(self.status_code());
        for (name, value) in &self.headers {
            response.append_header((name, value));
        }
        if self.closes {
            response.force_close();
        }
        let body = serde_json::to_vec(&document).expect("texts and numbers always serialise");
        response.content_type("application/problem+json").body(body)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.code.parts().1).expect("the table holds statuses")
    }

    /// An empty answer that carries the problem to [`crate::envelope`].
    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::new(self.status_code());
        response.extensions_mut().insert(self.clone());
        response
    }
}

impl Problem {
    /// The refusal that an error is, of which others are told too.
    pub(crate) fn of_shared(error: &Error) -> Self {
        let detail = error.to_string();
        let new = |code| Self::new(code, detail.clone());
        match error {
            Error::NotFound(_) => new(Code::NotFound),
            Error::Gone => new(Code::Gone),
            Error::Invalid { field, message } => Self::invalid(*field, message.clone()),
            Error::Forbidden(_) => new(Code::Forbidden),
            Error::Conflict(_) => new(Code::Conflict),
            Error::Archived(_) => new(Code::Archived),
            Error::NameTaken { by, .. } => match by.and_then(|id| HeaderValue::from_str(&id.to_string()).ok()) {
                Some(id) => new(Code::Conflict).with(LARDER_FILE, id),
                None => new(Code::Conflict),
            },
            Error::PreconditionFailed { .. } => new(Code::PreconditionFailed),
            Error::TooLarge { .. } => new(Code::TooLarge),
            Error::UnsupportedType { .. } => new(Code::UnsupportedType),
            Error::DigestMismatch { .. } => new(Code::DigestMismatch),
            Error::Unfit(_) => new(Code::NotAnImage),
            Error::RangeNotSatisfiable { size } => {
                new(Code::RangeNotSatisfiable).with(header::CONTENT_RANGE, unsatisfied(*size))
            }
            Error::Body(_) => new(Code::Malformed).closing(),
            Error::Running => new(Code::Conflict).retry_after(1),
            Error::KeyReused => Self::invalid("Idempotency-Key", detail),
            Error::ContentLost(_) => faulty(error, new(Code::ContentLost)),
            Error::TooMany(_) => new(Code::TooManyRequests).retry_after(60),
            Error::Busy => new(Code::Busy).retry_after(1),
            Error::StoreUnavailable(_) | Error::LedgerUnavailable(_) => {
                faulty(error, new(Code::StoreUnavailable).retry_after(5))
            }
            Error::ReadOnly(_) | Error::Provisional(_) => new(Code::StoreUnavailable).retry_after(30),
            Error::Indeterminate(_) => faulty(error, new(Code::Indeterminate).retry_after(5).closing()),
            Error::Full(_) => faulty(error, new(Code::InsufficientStorage)),
            Error::Fenced(_) => faulty(error, Self::new(Code::StoreUnavailable, "this node is out of service")),
            _ => faulty(error, Self::new(Code::Internal, "a fault of this server; its log says more")),
        }
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self::of_shared(&error)
    }
}

/// `bytes */size`, as a 416 says it.
pub(crate) fn unsatisfied(size: u64) -> HeaderValue {
    HeaderValue::from_str(&format!("bytes */{size}")).expect("digits are good in a header")
}

/// A refusal that is our fault: the answer hides why, the log tells.
fn faulty(error: &Error, problem: Problem) -> Problem {
    let mut fault = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        fault.push_str(": ");
        fault.push_str(&inner.to_string());
        cause = inner.source();
    }
    Problem { fault: Some(fault), ..problem }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_away_is_503_with_a_time_to_ask_again_and_says_nothing_of_why() {
        let store = || Error::StoreUnavailable(Some("/srv/disk".into()));
        for error in [store(), Error::LedgerUnavailable("10.0.0.7:5432".into())] {
            let words = error.to_string();
            let problem = Problem::from(error);
            assert_eq!(problem.status_code(), 503, "{words}");
            assert!(problem.tells(header::RETRY_AFTER), "{words}");
            assert!(!words.contains("disk") && !words.contains("5432"), "{words}");
        }
    }
}
