//! What fetched content may be called: what a server or a URL says, made harmless. It is a proposal, never a path.

use hyper::header::HeaderValue;
use percent_encoding::percent_decode_str;

/// As long as file systems allow.
const NAME_BYTES_MAX: usize = 255;

/// The name in `Content-Disposition` (RFC 6266; `filename*` before `filename`), else that of the last segment of a path.
pub(crate) fn of(disposition: Option<&HeaderValue>, segment: Option<&str>) -> Option<String> {
    let said = disposition.and_then(|value| std::str::from_utf8(value.as_bytes()).ok()).and_then(said);
    said.or_else(|| harmless(&percent_decode_str(segment?).decode_utf8_lossy()))
}

fn said(disposition: &str) -> Option<String> {
    let (mut plain, mut extended) = (None, None);
    for (name, value) in parameters(disposition) {
        match name.to_ascii_lowercase().as_str() {
            "filename" => plain = plain.or(Some(value)),
            "filename*" => extended = extended.or_else(|| decoded(&value)),
            _ => {}
        }
    }
    extended.and_then(|name| harmless(&name)).or_else(|| harmless(&plain?))
}

/// RFC 8187: `UTF-8'language'percent-encoded`.
fn decoded(value: &str) -> Option<String> {
    let mut parts = value.splitn(3, '\'');
    let (charset, _, text) = (parts.next()?, parts.next()?, parts.next()?);
    if !charset.eq_ignore_ascii_case("utf-8") {
        return None;
    }
    Some(percent_decode_str(text).decode_utf8().ok()?.into_owned())
}

/// What follows the type: `; name=value; name="quoted \" value"`.
fn parameters(disposition: &str) -> Vec<(&str, String)> {
    let mut found = Vec::new();
    let mut rest = disposition.split_once(';').map_or("", |(_, rest)| rest);
    while let Some((name, after)) = rest.split_once('=') {
        let (value, after) = match after.trim_start().strip_prefix('"') {
            Some(quoted) => unquoted(quoted),
            None => {
                let (value, after) = after.split_once(';').unwrap_or((after, ""));
                (value.trim().to_owned(), after)
            }
        };
        found.push((name.trim_start_matches(|c: char| c == ';' || c.is_whitespace()).trim_end(), value));
        rest = after;
    }
    found
}

/// Reads up to the closing quote, and returns what comes after it.
fn unquoted(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &text[at + 1..]),
            '\\' => value.extend(chars.next().map(|(_, escaped)| escaped)),
            c => value.push(c),
        }
    }
    (value, "")
}

/// The last part of `name` between slashes of either kind, without what cannot be seen; `None` where nothing is left.
fn harmless(name: &str) -> Option<String> {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let seen: String = last.chars().filter(|c| !c.is_control() && !turns_text(*c)).collect();
    let mut name = seen.trim().to_owned();
    name.truncate(name.floor_char_boundary(NAME_BYTES_MAX));
    let name = name.trim_end().to_owned();
    (!matches!(name.as_str(), "" | "." | "..")).then_some(name)
}

/// Marks of Unicode that make a text run the other way, so that `gpj.exe` is shown as `exe.jpg`.
fn turns_text(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn named(disposition: &str, segment: &str) -> Option<String> {
        of(Some(&HeaderValue::from_bytes(disposition.as_bytes()).unwrap()), Some(segment))
    }

    #[test]
    fn a_name_is_what_the_server_says_and_else_the_end_of_the_path() {
        let cases = [
            ("attachment; filename=a.txt", "a.txt"),
            ("attachment; filename=\"a b.txt\"", "a b.txt"),
            ("attachment;filename=\"a\\\"b.txt\"; size=3", "a\"b.txt"),
            ("inline; FileName = a.txt ; size=3", "a.txt"),
            ("attachment; filename=\"plain.txt\"; filename*=UTF-8''na%C3%AFve.txt", "naïve.txt"),
            ("attachment; filename*=utf-8'en'a%2Fb.txt; filename=plain.txt", "b.txt"),
            ("attachment; filename*=latin9''a.txt; filename=plain.txt", "plain.txt"),
            ("attachment; filename*=UTF-8''%ff; filename=plain.txt", "plain.txt"),
            ("attachment; filename=\"naïve.txt\"", "naïve.txt"),
            ("attachment; x=\"; filename=no\"; filename=yes", "yes"),
            ("attachment; filename=one; filename=two", "one"),
            ("attachment; filename=\"../../etc/passwd\"", "passwd"),
            ("attachment; filename=\"C:\\\\Users\\\\x.txt\"", "x.txt"),
            ("attachment; filename=\"never closed", "never closed"),
            ("attachment; filename=\"..\"", "from the path"),
            ("attachment; filename=\"\"", "from the path"),
            ("attachment; filename", "from the path"),
            ("attachment", "from the path"),
            ("", "from the path"),
            (";;;===\"\"\"", "from the path"),
        ];
        for (disposition, name) in cases {
            assert_eq!(named(disposition, "from%20the%20path").as_deref(), Some(name), "{disposition}");
        }
    }

    #[test]
    fn what_is_left_of_a_segment_is_a_plain_name_or_none() {
        let cases = [
            ("a.txt", Some("a.txt")),
            ("%2e%2e", None),
            (".", None),
            ("", None),
            ("%20", None),
            ("a%2F", None),
            ("a%2Fb", Some("b")),
            ("a%5Cb", Some("b")),
            ("a%00%0d%0ab%7f", Some("ab")),
            ("a%E2%80%AEgpj.exe", Some("agpj.exe")),
            ("%ff", Some("\u{fffd}")),
            (".htaccess", Some(".htaccess")),
        ];
        for (segment, name) in cases {
            assert_eq!(of(None, Some(segment)).as_deref(), name, "{segment}");
        }
        assert_eq!(of(None, None), None);
        assert_eq!(of(None, Some(&"ä".repeat(200))).unwrap().len(), 254);
    }

    proptest! {
        #[test]
        fn whatever_is_said_a_name_is_harmless(disposition in "(attachment)?(; ?(filename|filename\\*|x)=(\"|UTF-8'')?\\PC{0,20}\"?){0,3}", segment in "\\PC{0,300}") {
            if let Some(name) = named(&disposition, &segment) {
                prop_assert!(!name.is_empty() && name.len() <= NAME_BYTES_MAX && name != "." && name != "..");
                prop_assert!(!name.contains(|c: char| c == '/' || c == '\\' || c.is_control()));
            }
        }
    }
}
