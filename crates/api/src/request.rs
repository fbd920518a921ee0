//! [`Ask`]: a request as handlers see it, and the readers that check what it says: path, query, JSON, single headers.

use crate::{
    auth,
    deadline::Incoming,
    envelope::Asker,
    problem::{Code, Problem},
    server::Api,
};
use actix_web::{
    FromRequest, HttpMessage, HttpRequest, HttpResponse,
    dev::Payload,
    http::header::{self, HeaderName},
    web::Data,
};
use larder_files::{Caller, FileId, Role, SessionId, UserId};
use percent_encoding::percent_decode;
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value};
use std::{
    fmt,
    future::{Ready, ready},
};

/// What a handler answers.
pub(crate) type Answer = Result<HttpResponse, Problem>;

/// A request.
pub(crate) struct Ask {
    pub(crate) api: Data<Api>,
    pub(crate) request: HttpRequest,
    pub(crate) body: Incoming,
}

impl FromRequest for Ask {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let api = request.app_data::<Data<Api>>().expect("the server sets it").clone();
        let body = request.extensions().get::<Incoming>().expect("the envelope sets it").clone();
        ready(Ok(Self { api, request: request.clone(), body }))
    }
}

impl Ask {
    /// Who asks.
    pub(crate) async fn caller(&self) -> Result<Caller, Problem> {
        self.identity().await.map(|(caller, _)| caller)
    }

    /// Who asks, if that is an admin. `what` is what only admins do, for the refusal.
    pub(crate) async fn admin(&self, what: &str) -> Result<Caller, Problem> {
        let caller = self.caller().await?;
        match caller.role {
            Role::Admin => Ok(caller),
            Role::User => Err(Problem::new(Code::Forbidden, format!("only an admin {what}"))),
        }
    }

    /// Who asks, and by which session.
    pub(crate) async fn identity(&self) -> Result<(Caller, SessionId), Problem> {
        let (caller, session) = auth::identify(&self.api, self.request.headers()).await?;
        self.asked_by(caller.id);
        Ok((caller, session))
    }

    /// Has the log tell who asks.
    pub(crate) fn asked_by(&self, user: UserId) {
        self.request.extensions_mut().insert(Asker(user));
    }

    /// The file in the path. What is no id is no file's.
    pub(crate) fn file_id(&self) -> Result<FileId, Problem> {
        FileId::parse(self.request.match_info().query("id")).ok_or_else(|| Problem::not_found("file"))
    }

    /// The number of a revision in the path. What is no number is no revision's.
    pub(crate) fn revision(&self) -> Result<u64, Problem> {
        self.request.match_info().query("revision").parse().map_err(|_| Problem::not_found("revision"))
    }

    /// The name of a file that the path ends in, as it was sent: `/` and `%2F` are equal in it.
    pub(crate) fn name(&self) -> Result<String, Problem> {
        // Bucket names need no encoding, so it begins behind the sixth slash.
        let path = self.request.uri().path();
        decoded("path", path.splitn(7, '/').nth(6).unwrap_or_default())
    }

    /// What URLs of this server begin with.
    pub(crate) fn base(&self) -> Result<String, Problem> {
        crate::direct::base(&self.api, self.header(header::HOST)?)
    }

    /// The bucket's name in the path.
    pub(crate) fn bucket(&self) -> String {
        self.request.match_info().query("bucket").to_owned()
    }

    /// The parameters of the query, of which only `known` ones may be there, each once.
    pub(crate) fn query(&self, known: &[&'static str]) -> Result<Query, Problem> {
        Query::parse(self.request.query_string(), known)
    }

    /// A header that may be there once, as text.
    pub(crate) fn header(&self, name: HeaderName) -> Result<Option<&str>, Problem> {
        let mut values = self.request.headers().get_all(&name);
        let (first, more) = (values.next(), values.next());
        let Some(first) = first else { return Ok(None) };
        let text = first.to_str().ok().filter(|_| more.is_none());
        text.map(Some).ok_or_else(|| Problem::malformed(format!("one header `{name}` of plain ASCII is expected")))
    }

    /// All values of a header as one list, `None` where there is none; what is no text is left out.
    pub(crate) fn list(&self, name: HeaderName) -> Option<String> {
        let mut values = self.request.headers().get_all(name).peekable();
        values.peek()?;
        Some(values.filter_map(|value| value.to_str().ok()).collect::<Vec<_>>().join(","))
    }

    /// Refuses a body in a coding, which nothing here undoes.
    pub(crate) fn refuse_coding(&self) -> Result<(), Problem> {
        let coding = self.header(header::CONTENT_ENCODING)?.filter(|coding| !coding.eq_ignore_ascii_case("identity"));
        coding.map_or(Ok(()), |coding| {
            let detail = format!("content in the coding `{coding}` is not taken; send it as it is");
            Err(Problem::new(Code::UnsupportedType, detail))
        })
    }

    /// The fields of a JSON body, of which only `known` ones may be there.
    pub(crate) async fn fields(&self, known: &[&'static str]) -> Result<Fields, Problem> {
        let essence = self.header(header::CONTENT_TYPE)?.map(essence);
        if !matches!(essence.as_deref(), Some("application/json" | "application/merge-patch+json")) {
            let found = essence.unwrap_or_else(|| "nothing".into());
            let detail = format!("`application/json` is expected, the request declares {found}");
            return Err(Problem::new(Code::UnsupportedType, detail));
        }
        self.refuse_coding()?;
        let body = self.body.collect(self.api.limits.json_bytes_max).await?;
        let Members(fields) =
            serde_json::from_slice(&body).map_err(|error| Problem::malformed(format!("no JSON: {error}")))?;
        match fields.keys().find(|name| !known.contains(&name.as_str())) {
            Some(unknown) => Err(unknown_name(unknown, "field", known)),
            None => Ok(Fields(fields)),
        }
    }
}

/// A media type without its parameters, in lower case.
pub(crate) fn essence(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn unknown_name(name: &str, what: &str, known: &[&str]) -> Problem {
    let known = if known.is_empty() { "none is known here".into() } else { format!("known are {}", known.join(", ")) };
    let shown: String = name.chars().take(64).collect();
    Problem::invalid(shown, format!("unknown {what}; {known}"))
}

/// A JSON object whose members are each there once: of two with one name, nobody knows which one is meant.
struct Members(Map<String, Value>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EachOnce)
    }
}

struct EachOnce;

impl<'de> Visitor<'de> for EachOnce {
    type Value = Members;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Members, A::Error> {
        let mut map = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if map.insert(name, members.next_value()?).is_some() {
                return Err(de::Error::custom("a member is given twice"));
            }
        }
        Ok(Members(map))
    }
}

/// The fields of a JSON object, taken one by one.
pub(crate) struct Fields(Map<String, Value>);

impl Fields {
    pub(crate) fn take(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name)
    }

    /// Ends the reading: everything that is known must have been taken.
    pub(crate) fn finish(self) -> Result<(), Problem> {
        match self.0.keys().next() {
            Some(left) => Err(Problem::invalid(left.clone(), "is not taken here")),
            None => Ok(()),
        }
    }
}

/// The parameters of a query.
#[derive(Debug)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    fn parse(text: &str, known: &[&'static str]) -> Result<Self, Problem> {
        let mut pairs: Vec<(String, String)> = vec![];
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decode(name)?, decode(value)?);
            if !known.contains(&name.as_str()) {
                return Err(unknown_name(&name, "query parameter", known));
            }
            if pairs.iter().any(|(other, _)| *other == name) {
                return Err(Problem::invalid(name, "is given twice"));
            }
            pairs.push((name, value));
        }
        Ok(Self(pairs))
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn owned(&self, name: &str) -> Option<String> {
        self.get(name).map(ToOwned::to_owned)
    }

    /// `true` or `false`; `false` where it is absent.
    pub(crate) fn flag(&self, name: &'static str) -> Result<bool, Problem> {
        match self.get(name) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(Problem::invalid(name, "`true` or `false` is expected")),
        }
    }

    /// A whole number from `least` on.
    pub(crate) fn number(&self, name: &'static str, least: u64, most: u64) -> Result<Option<u64>, Problem> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let number =
            text.parse().ok().filter(|n| (least..=most).contains(n) && text.bytes().all(|b| b.is_ascii_digit()));
        let refused = || match most {
            u64::MAX => Problem::invalid(name, format!("a whole number from {least} on is expected")),
            _ => Problem::invalid(name, format!("a whole number from {least} to {most} is expected")),
        };
        number.map(Some).ok_or_else(refused)
    }

    /// Name and value of all parameters in an order of their own, for fingerprints.
    pub(crate) fn sorted(&self) -> Vec<(&str, &str)> {
        let mut pairs: Vec<_> = self.0.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        pairs.sort_unstable();
        pairs
    }
}

/// Undoes the percent-encoding of a query, in which `+` is a space.
fn decode(text: &str) -> Result<String, Problem> {
    decoded("query", &text.replace('+', " "))
}

/// Undoes percent-encoding.
fn decoded(what: &str, text: &str) -> Result<String, Problem> {
    let bytes = text.as_bytes();
    let broken = |at: usize| !bytes.get(at + 1..at + 3).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit));
    if memchr::memchr_iter(b'%', bytes).any(broken) {
        return Err(Problem::malformed(format!("the {what} has a `%` without two hexadecimal digits")));
    }
    let decoded = percent_decode(bytes).decode_utf8();
    decoded.map(Into::into).map_err(|_| Problem::malformed(format!("the {what} is not UTF-8")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_decoded_and_each_parameter_is_known_and_given_once() {
        let query = Query::parse("name=a%2Bb+c%20%C3%BC&q=&tag", &["name", "q", "tag"]).unwrap();
        assert_eq!((query.get("name"), query.get("q"), query.get("tag")), (Some("a+b c ü"), Some(""), Some("")));
        for bad in ["x=1", "name=1&name=2", "name=%", "name=%zz", "name=%ff"] {
            assert!(Query::parse(bad, &["name"]).is_err(), "{bad}");
        }
    }
}
