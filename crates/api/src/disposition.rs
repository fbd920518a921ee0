//! `Content-Disposition` of content: whether a browser may show it here, and under which name it is kept (RFC 6266, RFC 8187).

use actix_web::http::header::HeaderValue;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Types that can't run anything where they are shown. Everything else is an attachment, whatever is asked for.
const INLINE: [&str; 13] = [
    "image/png",
    "image/jpeg",
    "image/gif",
    "image/webp",
    "image/avif",
    "video/mp4",
    "video/webm",
    "audio/webm",
    "audio/mpeg",
    "audio/ogg",
    "audio/x-flac",
    "audio/x-wav",
    "audio/flac",
];

/// All but RFC 8187's `attr-char`.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');

/// How content of `content_type`, called `name`, is handed out; `attachment` forces what is never refused.
pub(crate) fn disposition(content_type: &str, name: &str, attachment: bool) -> HeaderValue {
    let kind = if !attachment && INLINE.contains(&content_type) { "inline" } else { "attachment" };
    let last = name.rsplit('/').find(|segment| !segment.is_empty()).unwrap_or("file");
    let unsafe_here = |c: char| !c.is_ascii() || c.is_ascii_control() || matches!(c, '"' | '\\' | '%');
    let plain: String = last.chars().map(|c| if unsafe_here(c) { '_' } else { c }).collect();
    let mut value = format!("{kind}; filename=\"{plain}\"");
    if plain != last {
        value.push_str("; filename*=UTF-8''");
        value.extend(utf8_percent_encode(last, ENCODED));
    }
    HeaderValue::from_str(&value).expect("what is not printable ASCII was replaced or encoded")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_segment_is_the_name_and_nothing_in_it_breaks_the_header() {
        let cases = [
            ("text/html", "a/b/page.html", false, r#"attachment; filename="page.html""#),
            ("image/png", "cat.png", false, r#"inline; filename="cat.png""#),
            ("image/png", "cat.png", true, r#"attachment; filename="cat.png""#),
            ("image/svg+xml", "x.svg", false, r#"attachment; filename="x.svg""#),
            ("text/plain", "naïve.txt", false, r#"attachment; filename="na_ve.txt"; filename*=UTF-8''na%C3%AFve.txt"#),
            ("text/plain", "a\"b\\c.txt", false, r#"attachment; filename="a_b_c.txt"; filename*=UTF-8''a%22b%5Cc.txt"#),
            ("text/plain", "100%.txt", false, r#"attachment; filename="100_.txt"; filename*=UTF-8''100%25.txt"#),
            ("text/plain", "a/", false, r#"attachment; filename="a""#),
            ("text/plain", "//", false, r#"attachment; filename="file""#),
        ];
        for (content_type, name, attachment, value) in cases {
            assert_eq!(disposition(content_type, name, attachment).to_str().unwrap(), value);
        }
    }

    #[test]
    fn what_is_on_the_list_is_shown_and_whatever_may_run_is_an_attachment() {
        for content_type in INLINE {
            assert!(disposition(content_type, "a", false).to_str().unwrap().starts_with("inline;"), "{content_type}");
        }
        for content_type in [
            "text/html",
            "image/svg+xml",
            "text/xml",
            "application/xml",
            "application/xhtml+xml",
            "text/javascript",
            "application/pdf",
            "text/plain",
            "application/octet-stream",
            "image/png; charset=utf-8",
            "IMAGE/PNG",
            "",
        ] {
            let value = disposition(content_type, "a", false);
            assert!(value.to_str().unwrap().starts_with("attachment;"), "{content_type}");
        }
    }
}
