//! What a server's refusal means to a caller: [`Fault`] is an error that does not know its operation and key yet.

use crate::Misconfigured;
use aws_sdk_s3::{
    config::http::HttpResponse,
    error::{ConnectorError, ProvideErrorMetadata, SdkError},
};
use larder_storage_core::{BoxError, Error, ErrorKind, InvalidRange, Op};
use std::{error::Error as StdError, fmt::Display};

pub(crate) type Outcome<T> = Result<T, Fault>;

/// An error below the store; [`Fault::at`] makes the store's own of it.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) kind: ErrorKind,
    /// Whether a repeat may succeed with nobody changing anything.
    pub(crate) temporary: bool,
    /// Whether the request may have been carried out, or still be.
    pub(crate) maybe: bool,
    /// The HTTP status of the refusal, where there was one.
    pub(crate) status: Option<u16>,
    pub(crate) cause: Option<BoxError>,
}

/// What an error's meaning depends on besides itself.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) bucket: &'a str,
    pub(crate) endpoint: &'a str,
    /// Never to be shown, though it is no secret: some servers repeat it.
    pub(crate) access_key_id: Option<&'a str>,
    /// The server's clock less ours, in seconds.
    pub(crate) behind: Option<i64>,
}

impl Fault {
    /// A fault whose cause is a sentence.
    pub(crate) fn says(kind: ErrorKind, cause: impl Into<BoxError>) -> Self {
        Self { cause: Some(cause.into()), ..kind.into() }
    }

    /// The body's own error.
    pub(crate) fn body(cause: BoxError) -> Self {
        Self::says(ErrorKind::Body, cause)
    }

    /// A request that was given up after so long; what became of it nobody knows.
    pub(crate) fn late() -> Self {
        Self { maybe: true, ..Self::says(ErrorKind::Timeout, "no answer came in time") }
    }

    /// A mistake in the configuration.
    pub(crate) fn misconfigured(kind: ErrorKind, mistake: Misconfigured) -> Self {
        Self { temporary: false, ..Self::says(kind, mistake) }
    }

    /// The same as a mistake in the configuration, which what the server said is told with.
    pub(crate) fn by_mistake(self, kind: ErrorKind, mistake: Misconfigured) -> Self {
        let told = self.cause.map(|cause| cause.to_string()).unwrap_or_default();
        Self { temporary: false, ..Self::says(kind, Suspected(mistake, told)) }
    }

    /// The same as a change whose outcome is unknown.
    pub(crate) fn unsettled(self) -> Self {
        Self { kind: ErrorKind::Indeterminate, temporary: false, ..self }
    }

    /// Whether there is nothing there.
    pub(crate) fn is_absent(&self) -> bool {
        self.kind == ErrorKind::NotFound
    }

    /// Whether the bucket is what is missing.
    pub(crate) fn is_missing_bucket(&self) -> bool {
        matches!(self.mistake(), Some(Misconfigured::MissingBucket { .. }))
    }

    /// Whether the clocks are what differs.
    pub(crate) fn is_about_time(&self) -> bool {
        matches!(self.mistake(), Some(Misconfigured::Clock { .. }))
    }

    pub(crate) fn mistake(&self) -> Option<&Misconfigured> {
        self.cause.as_ref()?.downcast_ref()
    }

    /// Whether the server says that it can't do this at all.
    pub(crate) fn is_unsupported(&self) -> bool {
        self.kind == ErrorKind::Unsupported
    }

    /// The store's own error: what was tried, on what.
    pub(crate) fn at(self, op: Op, subject: impl Display, store: impl Display) -> Error {
        let error = Error::new(op, subject, store, self.kind).temporary(self.temporary);
        match self.cause {
            Some(cause) => error.because(cause),
            None => error,
        }
    }

    /// What an error of the SDK means.
    pub(crate) fn of<E>(error: SdkError<E, HttpResponse>, place: Place<'_>) -> Self
    where
        E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
    {
        match &error {
            SdkError::TimeoutError(_) => Self::late(),
            SdkError::DispatchFailure(failure) => Self::unsent(failure.as_connector_error(), place),
            SdkError::ResponseError(_) => Self::no_s3(chain(&error)),
            // What was asked for is done, perhaps: its answer is what can't be read, and won't be another the next time.
            SdkError::ServiceError(answer)
                if answer.raw().status().is_success() && answer.err().meta().code().is_none() =>
            {
                Self { temporary: false, ..Self::no_s3(chain(&error)) }
            }
            SdkError::ServiceError(refusal) => {
                let (meta, raw) = (refusal.err().meta(), refusal.raw());
                let region = raw.headers().get("x-amz-bucket-region").map(str::to_owned);
                let region = region.or_else(|| told_region(raw.body().bytes()?));
                let refusal = Refusal {
                    status: raw.status().as_u16(),
                    code: meta.code().unwrap_or_default(),
                    message: meta.message().unwrap_or_default(),
                    region,
                };
                refusal.fault(place)
            }
            _ => {
                let told = chain(&error);
                if told.contains("credentials") {
                    return Self::misconfigured(ErrorKind::PermissionDenied, Misconfigured::NoCredentials);
                }
                Self { temporary: false, ..Self::says(ErrorKind::Unavailable, told) }
            }
        }
    }

    /// An answer that can't be read: what was asked for may have been done.
    fn no_s3(told: String) -> Self {
        Self { maybe: true, ..Self::says(ErrorKind::Unavailable, format!("the answer is no S3: {told}")) }
    }

    /// A request that got no answer.
    fn unsent(error: Option<&ConnectorError>, place: Place<'_>) -> Self {
        let told = error.map(|error| chain(error)).unwrap_or_default();
        let endpoint = place.endpoint.to_owned();
        if told.contains("credentials") {
            return Self::misconfigured(ErrorKind::PermissionDenied, Misconfigured::NoCredentials);
        }
        if ["InvalidContentType", "corrupt message"].iter().any(|sign| told.contains(sign)) {
            return Self::misconfigured(ErrorKind::Unavailable, Misconfigured::TlsToPlain { endpoint });
        }
        if told.contains("invalid HTTP version parsed") {
            return Self::misconfigured(ErrorKind::Unavailable, Misconfigured::PlainToTls { endpoint });
        }
        // A server that restarts looks like one that never was: this may pass, whatever the advice.
        if ["Connection refused", "dns error", "client error (Connect)", "connect timeout"]
            .iter()
            .any(|s| told.contains(s))
        {
            return Self::says(ErrorKind::Unavailable, Suspected(Misconfigured::WrongEndpoint { endpoint }, told));
        }
        Self { maybe: true, ..Self::says(ErrorKind::Unavailable, told) }
    }
}

/// A mistake that may as well be something else, with what was seen.
#[derive(Debug)]
struct Suspected(Misconfigured, String);

impl Display for Suspected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.0, self.1)
    }
}

impl StdError for Suspected {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.0)
    }
}

/// A refusal as the server words it.
struct Refusal<'a> {
    status: u16,
    code: &'a str,
    message: &'a str,
    region: Option<String>,
}

impl Refusal<'_> {
    fn fault(&self, place: Place<'_>) -> Fault {
        let mut fault = match self.mistake(place) {
            Some((kind, mistake)) => Fault::misconfigured(kind, mistake),
            None => self.plain(place),
        };
        // A refusal in the body of an answer that began as a success has the status that it would have had.
        fault.status = Some(if self.code == "PreconditionFailed" { 412 } else { self.status });
        fault
    }

    /// The refusals that a change of the configuration mends.
    fn mistake(&self, place: Place<'_>) -> Option<(ErrorKind, Misconfigured)> {
        use Misconfigured as M;
        let denied = |mistake| Some((ErrorKind::PermissionDenied, mistake));
        let away = |mistake| Some((ErrorKind::Unavailable, mistake));
        match self.code {
            "InvalidAccessKeyId" | "NotSignedUp" => denied(M::WrongKey),
            "SignatureDoesNotMatch" => denied(M::WrongSecret),
            "ExpiredToken" | "ExpiredTokenException" | "TokenRefreshRequired" => denied(M::ExpiredKey),
            "RequestTimeTooSkewed" | "RequestExpired" => denied(M::Clock { behind: place.behind }),
            "AccessDenied" if is_about_time(self.message) => denied(M::Clock { behind: place.behind }),
            "AccessDenied" if self.message.contains("No such key") => denied(M::WrongKey),
            // Garage says so.
            "AccessDenied" if self.message.contains("Invalid signature") => denied(M::WrongSecret),
            "AccessDenied" | "AllAccessDisabled" | "AccountProblem" | "InvalidToken" | "Forbidden" => {
                denied(M::Forbidden)
            }
            "AuthorizationHeaderMalformed" | "PermanentRedirect" | "IllegalLocationConstraintException" => {
                away(M::WrongRegion { expected: self.expected_region() })
            }
            "NoSuchBucket" => away(M::MissingBucket { bucket: place.bucket.to_owned() }),
            _ if self.message.contains("HTTP request to an HTTPS server") => {
                away(M::PlainToTls { endpoint: place.endpoint.to_owned() })
            }
            "" if self.status == 301 => away(M::WrongRegion { expected: self.expected_region() }),
            // A head has no body to say why. Servers allow 15 minutes.
            "" if self.status == 403 && place.behind.is_some_and(|seconds| seconds.abs() > 900) => {
                denied(M::Clock { behind: place.behind })
            }
            "" if self.status == 403 => denied(M::Forbidden),
            _ => None,
        }
    }

    fn expected_region(&self) -> Option<String> {
        let quoted = |sign: &str| {
            let (before, rest) = self.message.split_once(sign)?;
            let region =
                rest.trim_start_matches([' ', ':', '\'', '"', '`']).split(['\'', '"', '`', ' ', ',', '/']).next()?;
            (!before.ends_with("un") && is_region(region)).then(|| region.to_owned())
        };
        self.region.clone().or_else(|| quoted("expecting")).or_else(|| quoted("expected"))
    }

    fn plain(&self, place: Place<'_>) -> Fault {
        let told = || {
            let message = place
                .access_key_id
                .filter(|id| !id.is_empty())
                .map_or_else(|| self.message.to_owned(), |id| self.message.replace(id, "…"));
            let code = if self.code.is_empty() { "no code" } else { self.code };
            format!("{code}: {message} (HTTP {})", self.status)
        };
        let fault = |kind| Fault::says(kind, told());
        let passing = |maybe| Fault { temporary: true, maybe, ..fault(ErrorKind::Unavailable) };
        match (self.code, self.status) {
            ("NoSuchKey" | "NoSuchUpload", _) => ErrorKind::NotFound.into(),
            ("PreconditionFailed", _) | (_, 412) => ErrorKind::PreconditionFailed.into(),
            ("InvalidPart" | "InvalidPartOrder", _) => fault(ErrorKind::PreconditionFailed),
            ("InvalidRange", _) | (_, 416) => {
                InvalidRange { range: larder_storage_core::ByteRange::From(0), size: 0 }.into()
            }
            ("EntityTooLarge" | "MaxMessageLengthExceeded", _) | (_, 413) => {
                fault(ErrorKind::TooLarge { max: crate::S3Options::OBJECT_BYTES_MAX })
            }
            ("QuotaExceeded" | "InsufficientStorage" | "XMinioStorageFull", _) | (_, 507) => fault(ErrorKind::Full),
            ("XMinioObjectExistsAsDirectory" | "XMinioParentIsObject" | "ObjectParentIsFile", _) => {
                fault(ErrorKind::KeyConflict)
            }
            // Names that this vendor's own storage can't hold.
            ("KeyTooLongError" | "XMinioInvalidObjectName" | "XMinioInvalidResourceName" | "InvalidObjectName", _) => {
                fault(ErrorKind::Unsupported)
            }
            ("InvalidObjectState", _) => fault(ErrorKind::Archived),
            ("NotImplemented" | "MethodNotAllowed" | "XNotImplemented", _) | (_, 405 | 501) => {
                fault(ErrorKind::Unsupported)
            }
            // What arrived was not what was sent: the next time it may be.
            ("BadDigest" | "XAmzContentSHA256Mismatch" | "XAmzContentChecksumMismatch" | "IncompleteBody", _) => {
                passing(false)
            }
            ("SlowDown" | "ServiceUnavailable" | "TooManyRequests" | "RequestLimitExceeded" | "Throttling", _)
            | (_, 429) => passing(false),
            ("ConditionalRequestConflict" | "OperationAborted", _) => passing(false),
            ("RequestTimeout", _) | (_, 408 | 500..) => passing(true),
            // An error in the body of an answer that began as a success.
            ("InternalError", _) => passing(true),
            (_, 401 | 403) => fault(ErrorKind::PermissionDenied),
            _ => Fault { temporary: false, ..fault(ErrorKind::Unavailable) },
        }
    }
}

/// The region that a refusal names beside its message.
fn told_region(body: &[u8]) -> Option<String> {
    let (_, rest) = std::str::from_utf8(body).ok()?.split_once("<Region>")?;
    let (region, _) = rest.split_once("</Region>")?;
    is_region(region).then(|| region.to_owned())
}

fn is_region(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

fn is_about_time(message: &str) -> bool {
    message.contains("too skewed") || message.contains("expired") && message.contains("Request")
}

/// An error and its causes on one line.
fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut told = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let words = cause.to_string();
        if !told.ends_with(&words) {
            told.push_str(": ");
            told.push_str(&words);
        }
        next = cause.source();
    }
    told
}

impl From<ErrorKind> for Fault {
    fn from(kind: ErrorKind) -> Self {
        let temporary = matches!(kind, ErrorKind::Unavailable | ErrorKind::Timeout);
        Self { kind, temporary, maybe: false, status: None, cause: None }
    }
}

impl From<InvalidRange> for Fault {
    fn from(range: InvalidRange) -> Self {
        ErrorKind::from(range).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place<'_> =
        Place { bucket: "media", endpoint: "http://s3.test", access_key_id: Some("AKHUSH"), behind: Some(-7_200) };

    fn refused(status: u16, code: &str, message: &str) -> Error {
        let refusal = Refusal { status, code, message, region: None };
        refusal.fault(PLACE).at(Op::Put, "a", "s3://media")
    }

    #[test]
    fn each_refusal_says_what_the_caller_can_do() {
        let table = [
            (404, "NoSuchKey", ErrorKind::NotFound, false),
            // Anything that speaks HTTP says that; only a head, which has no body, may mean an object.
            (404, "", ErrorKind::Unavailable, false),
            (404, "NoSuchBucket", ErrorKind::Unavailable, false),
            (403, "InvalidAccessKeyId", ErrorKind::PermissionDenied, false),
            (403, "SignatureDoesNotMatch", ErrorKind::PermissionDenied, false),
            (403, "AccessDenied", ErrorKind::PermissionDenied, false),
            (403, "", ErrorKind::PermissionDenied, false),
            (401, "", ErrorKind::PermissionDenied, false),
            (403, "RequestTimeTooSkewed", ErrorKind::PermissionDenied, false),
            (301, "", ErrorKind::Unavailable, false),
            (412, "PreconditionFailed", ErrorKind::PreconditionFailed, false),
            (409, "ConditionalRequestConflict", ErrorKind::Unavailable, true),
            (400, "BadDigest", ErrorKind::Unavailable, true),
            (503, "SlowDown", ErrorKind::Unavailable, true),
            (429, "", ErrorKind::Unavailable, true),
            (500, "InternalError", ErrorKind::Unavailable, true),
            (200, "InternalError", ErrorKind::Unavailable, true),
            (502, "", ErrorKind::Unavailable, true),
            (503, "", ErrorKind::Unavailable, true),
            (504, "", ErrorKind::Unavailable, true),
            (507, "", ErrorKind::Full, false),
            (501, "NotImplemented", ErrorKind::Unsupported, false),
            (400, "InvalidRequest", ErrorKind::Unavailable, false),
        ];
        for (status, code, kind, temporary) in table {
            let error = refused(status, code, "");
            assert_eq!((error.kind(), error.is_temporary()), (&kind, temporary), "{status} {code}");
        }
    }

    #[test]
    fn only_what_the_server_surely_left_undone_is_sure() {
        for (status, code, maybe) in [
            (500, "InternalError", true),
            (502, "", true),
            (503, "SlowDown", false),
            (429, "", false),
            (400, "BadDigest", false),
        ] {
            let refusal = Refusal { status, code, message: "", region: None };
            assert_eq!(refusal.fault(PLACE).maybe, maybe, "{status} {code}");
        }
    }

    #[test]
    fn a_mistake_is_the_cause_and_has_its_own_words() {
        let cause = |error: Error| StdError::source(&error).map(ToString::to_string).unwrap_or_default();
        let table = [
            (403, "InvalidAccessKeyId", "", "access_key_id"),
            (403, "SignatureDoesNotMatch", "", "secret_access_key"),
            (403, "AccessDenied", "Forbidden: Invalid signature", "secret_access_key"),
            (404, "NoSuchBucket", "", "`media`"),
            (400, "AuthorizationHeaderMalformed", "the region 'x' is wrong; expecting 'eu-west-1'", "\"eu-west-1\""),
            (403, "RequestTimeTooSkewed", "", "7200 s ahead of"),
            (400, "", "Client sent an HTTP request to an HTTPS server.", "https://"),
        ];
        for (status, code, message, words) in table {
            let told = cause(refused(status, code, message));
            assert!(told.contains(words), "{code}: {told}");
        }
    }

    #[test]
    fn a_region_is_what_the_server_names_and_no_other_word() {
        let garage = "Authorization header malformed, unexpected scope: 20261122/us-east-1/s3/aws4_request";
        for (message, expected) in [
            (garage, None),
            ("the region 'x' is wrong; expecting 'eu-west-1'", Some("eu-west-1")),
            ("expected: \"\"", None),
        ] {
            let refusal = Refusal { status: 400, code: "AuthorizationHeaderMalformed", message, region: None };
            assert_eq!(refusal.expected_region().as_deref(), expected, "{message}");
        }
        let body = b"<Error><Code>AuthorizationHeaderMalformed</Code><Region>garage</Region></Error>";
        assert_eq!(told_region(body).as_deref(), Some("garage"));
        assert_eq!(told_region(b"<Error><Region>no such</Region></Error>"), None);
    }

    #[test]
    fn an_access_key_is_not_repeated() {
        let error = refused(400, "InvalidRequest", "who is AKHUSH?");
        assert!(!format!("{error:?}").contains("AKHUSH"));
    }
}
