//! Conditions of a request, in the order of RFC 9110 section 13.2.2. Content is compared by its SHA-256 (strong, or weakly where
//! the RFC says so) and by the second of its revision; a record by its version.

use crate::{
    digest,
    problem::{Code, Problem},
    request::Ask,
};
use actix_web::http::header;
use larder_files::{Attributes, OnConflict, Sha256, Timestamp, ledger::RevisionRow};
use std::time::{Duration, SystemTime};

/// The conditions that a request sets.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wants {
    pub(crate) if_match: Option<String>,
    pub(crate) if_none_match: Option<String>,
    pub(crate) if_modified_since: Option<String>,
    pub(crate) if_unmodified_since: Option<String>,
    pub(crate) if_range: Option<String>,
}

impl Wants {
    pub(crate) fn of(ask: &Ask) -> Self {
        Self {
            if_match: ask.list(header::IF_MATCH),
            if_none_match: ask.list(header::IF_NONE_MATCH),
            if_modified_since: ask.list(header::IF_MODIFIED_SINCE),
            if_unmodified_since: ask.list(header::IF_UNMODIFIED_SINCE),
            if_range: ask.list(header::IF_RANGE),
        }
    }

    /// The hashes one of which the content must still have when it is replaced; `None` where the request sets no condition.
    pub(crate) fn content_to_replace(&self, judged: &Attributes) -> Option<Vec<Sha256>> {
        match (&self.if_match, &self.if_none_match, &self.if_unmodified_since) {
            (None, None, None) => None,
            (Some(list), None, _) => digests(list),
            _ => Some(vec![judged.sha256]),
        }
    }
}

/// What content is compared by.
#[derive(Clone, Debug)]
pub(crate) struct Validators {
    /// The ETag's text, without quotes.
    pub(crate) etag: String,
    /// Its revision's time, in whole seconds.
    pub(crate) modified: SystemTime,
}

impl Validators {
    fn new(sha256: Sha256, revised_at: Timestamp) -> Self {
        let seconds = u64::try_from(revised_at.as_millis() / 1000).unwrap_or(0);
        Self { etag: sha256.to_string(), modified: SystemTime::UNIX_EPOCH + Duration::from_secs(seconds) }
    }

    pub(crate) fn of(newest: &Attributes) -> Self {
        Self::new(newest.sha256, newest.revised_at)
    }

    pub(crate) fn of_revision(revision: &RevisionRow) -> Self {
        Self::new(revision.sha256, revision.revised_at)
    }
}

/// What the conditions of a GET or HEAD come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Answer as asked.
    Proceed,
    /// 304.
    NotModified,
    /// 412.
    Failed,
}

/// Judges a GET or HEAD.
pub(crate) fn reads(wants: &Wants, content: &Validators) -> Verdict {
    if !may_proceed(wants, content) {
        return Verdict::Failed;
    }
    let same = match (&wants.if_none_match, &wants.if_modified_since) {
        (Some(list), _) => matches(list, &content.etag, Comparison::Weak),
        (None, Some(date)) => date_of(date).is_some_and(|date| content.modified <= date),
        (None, None) => false,
    };
    if same { Verdict::NotModified } else { Verdict::Proceed }
}

/// Judges a change of content.
pub(crate) fn changes(wants: &Wants, content: &Validators) -> Result<(), Problem> {
    let same = wants.if_none_match.as_ref().is_some_and(|list| matches(list, &content.etag, Comparison::Weak));
    if same || !may_proceed(wants, content) { Err(failed()) } else { Ok(()) }
}

/// Judges content that is put under a name, which a file has or none. What is judged now may have changed by the time at which it has
/// arrived: answers what it must still be then.
pub(crate) fn puts(wants: &Wants, there: Option<&Attributes>) -> Result<(OnConflict, Option<Vec<Sha256>>), Problem> {
    let is_to_be_new = wants.if_none_match.as_ref().is_some_and(|list| list.trim() == "*");
    match there {
        Some(newest) => {
            changes(wants, &Validators::of(newest))?;
            // `*` names no content, and still wants one to be there when the body has come.
            let any = wants.if_match.as_ref().map(|_| vec![]);
            Ok((OnConflict::Replace, wants.content_to_replace(newest).or(any)))
        }
        // What is not there matches nothing.
        None if wants.if_match.is_some() => Err(failed()),
        None if is_to_be_new => Ok((OnConflict::Fail, None)),
        None => Ok((OnConflict::Replace, None)),
    }
}

pub(crate) fn failed() -> Problem {
    Problem::new(Code::PreconditionFailed, "a condition of the request is false")
}

fn may_proceed(wants: &Wants, content: &Validators) -> bool {
    match (&wants.if_match, &wants.if_unmodified_since) {
        (Some(list), _) => matches(list, &content.etag, Comparison::Strong),
        (None, Some(date)) => date_of(date).is_none_or(|date| content.modified <= date),
        (None, None) => true,
    }
}

/// Whether a `Range` is to be honoured (section 13.1.5). A date counts only where the content is not of this very moment.
pub(crate) fn range_holds(wants: &Wants, content: &Validators, now: Timestamp) -> bool {
    let Some(condition) = wants.if_range.as_deref().map(str::trim) else { return true };
    if condition.starts_with('"') || condition.starts_with("W/") {
        return matches(condition, &content.etag, Comparison::Strong) && condition != "*";
    }
    let settled = u64::try_from(now.as_millis() / 1000)
        .map(|now| SystemTime::UNIX_EPOCH + Duration::from_secs(now))
        .is_ok_and(|now| now >= content.modified + Duration::from_secs(2));
    settled && date_of(condition) == Some(content.modified)
}

fn date_of(text: &str) -> Option<SystemTime> {
    httpdate::parse_http_date(text.trim()).ok()
}

/// How ETags are compared (RFC 9110, section 8.8.3.2).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    Strong,
    Weak,
}

pub(crate) fn matches(list: &str, etag: &str, comparison: Comparison) -> bool {
    if list.trim() == "*" {
        return true;
    }
    tags(list).any(|(weak, tag)| tag == etag && (comparison == Comparison::Weak || !weak))
}

/// The entity tags of a list, up to the first that is none: whether each is weak, and its text.
fn tags(list: &str) -> impl Iterator<Item = (bool, &str)> {
    let mut rest = list;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let (weak, quoted) = match rest.strip_prefix("W/") {
            Some(quoted) => (true, quoted),
            None => (false, rest),
        };
        let (tag, behind) = quoted.strip_prefix('"')?.split_once('"')?;
        rest = behind;
        Some((weak, tag))
    })
}

/// The contents that an `If-Match` names; `None` of `*`, which any content matches.
pub(crate) fn digests(if_match: &str) -> Option<Vec<Sha256>> {
    let lower = |text: &str| text.bytes().all(|b| !b.is_ascii_uppercase());
    let strong = tags(if_match).filter(|(weak, tag)| !weak && lower(tag));
    (if_match.trim() != "*").then(|| strong.filter_map(|(_, tag)| digest::hexadecimal(tag).ok()).collect())
}

/// The version that a record's `If-Match` names: `"v3"`. Of several, `current` says which may count. No version is 0, so that is
/// what a list without any of ours comes to.
pub(crate) fn version(if_match: Option<&str>) -> Result<Option<u64>, Problem> {
    let Some(list) = if_match.filter(|list| list.trim() != "*") else { return Ok(None) };
    let number = |(weak, tag): (bool, &str)| {
        let digits = tag.strip_prefix('v').filter(|digits| !weak && digits.bytes().all(|b| b.is_ascii_digit()))?;
        digits.parse::<u64>().ok().filter(|number| number.to_string() == digits)
    };
    let versions: Vec<u64> = tags(list).filter_map(number).collect();
    match versions[..] {
        [] => Ok(Some(0)),
        [version] => Ok(Some(version)),
        _ => Err(Problem::invalid("If-Match", "one version of the record is expected, such as `\"v3\"`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODIFIED: &str = "Sat, 21 Nov 2026 15:30:45 GMT";
    const EARLIER: &str = "Sat, 21 Nov 2026 15:30:44 GMT";

    fn content() -> Validators {
        Validators { etag: "abc".into(), modified: date_of(MODIFIED).unwrap() }
    }

    fn wants(pairs: &[(&str, &str)]) -> Wants {
        let find = |wanted| pairs.iter().find(|(name, _)| *name == wanted).map(|(_, value)| (*value).to_owned());
        Wants {
            if_match: find("M"),
            if_none_match: find("NM"),
            if_modified_since: find("MS"),
            if_unmodified_since: find("US"),
            if_range: find("R"),
        }
    }

    #[test]
    fn conditions_are_judged_in_the_order_of_the_rfc() {
        use Verdict::{Failed, NotModified, Proceed};
        let cases: &[(&[(&str, &str)], Verdict)] = &[
            (&[], Proceed),
            (&[("M", "\"abc\"")], Proceed),
            (&[("M", "*")], Proceed),
            (&[("M", "\"x\", \"abc\"")], Proceed),
            (&[("M", "\"x,\",\"abc\"")], Proceed),
            (&[("M", "W/\"abc\"")], Failed),
            (&[("M", "\"x\"")], Failed),
            (&[("M", "abc")], Failed),
            (&[("M", "")], Failed),
            (&[("M", "\"x\""), ("NM", "\"abc\"")], Failed),
            (&[("M", "\"abc\""), ("US", EARLIER)], Proceed),
            (&[("US", EARLIER)], Failed),
            (&[("US", MODIFIED)], Proceed),
            (&[("US", "yesterday")], Proceed),
            (&[("NM", "\"abc\"")], NotModified),
            (&[("NM", "W/\"abc\"")], NotModified),
            (&[("NM", "*")], NotModified),
            (&[("NM", "\"x\"")], Proceed),
            (&[("NM", "\"x\""), ("MS", MODIFIED)], Proceed),
            (&[("MS", MODIFIED)], NotModified),
            (&[("MS", EARLIER)], Proceed),
            (&[("MS", "yesterday")], Proceed),
            (&[("M", "\"abc\""), ("NM", "\"abc\"")], NotModified),
        ];
        for (pairs, verdict) in cases {
            assert_eq!(reads(&wants(pairs), &content()), *verdict, "{pairs:?}");
        }
    }

    #[test]
    fn a_range_holds_for_the_same_strong_validator_only() {
        let later = Timestamp::parse("2026-11-21T15:31:00Z").unwrap();
        let at_once = Timestamp::parse("2026-11-21T15:30:45.900Z").unwrap();
        let cases = [
            ("\"abc\"", later, true),
            ("W/\"abc\"", later, false),
            ("\"x\"", later, false),
            ("*", later, false),
            (MODIFIED, later, true),
            (EARLIER, later, false),
            (MODIFIED, at_once, false),
        ];
        for (condition, now, holds) in cases {
            assert_eq!(range_holds(&wants(&[("R", condition)]), &content(), now), holds, "{condition}");
        }
    }

    #[test]
    fn a_records_version_is_read_from_one_strong_tag() {
        let cases = [(None, None), (Some("*"), None), (Some("\"v7\""), Some(7)), (Some("W/\"v7\""), Some(0))];
        for (header, found) in cases {
            assert_eq!(version(header).ok(), Some(found), "{header:?}");
        }
        for other in ["\"7\"", "v7", "\"v07\"", "\"v+7\"", "\"v\"", "\"abc\""] {
            assert_eq!(version(Some(other)).ok(), Some(Some(0)), "{other}");
        }
        assert!(version(Some("\"v1\", \"v2\"")).is_err());
    }
}
