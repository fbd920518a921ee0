//! What content is, by its first bytes. The declared type is never believed.

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use larder_storage_core::{Body, BodyError, ByteStream};

/// How much of the content decides.
pub(crate) const HEAD_BYTES: usize = 8 << 10;

/// The content type of bytes that begin with `head`, of a file called `name`: by signature; else, where `head` is text, by the
/// name's extension among a few; else `application/octet-stream`.
pub(crate) fn of(head: &[u8], name: &str) -> &'static str {
    let head = &head[..head.len().min(HEAD_BYTES)];
    if is_svg(head) {
        return "image/svg+xml";
    }
    if let Some(kind) = infer::get(head) {
        return kind.mime_type();
    }
    if !is_text(head) {
        return "application/octet-stream";
    }
    let extension = name.rsplit_once('.').map(|(_, end)| end.to_ascii_lowercase()).unwrap_or_default();
    match extension.as_str() {
        "csv" => "text/csv",
        "md" => "text/markdown",
        "json" => "application/json",
        "xml" => "application/xml",
        "html" => "text/html",
        "css" => "text/css",
        "js" => "text/javascript",
        "yaml" => "application/yaml",
        _ => "text/plain",
    }
}

/// Whether the root element is `svg`: behind a byte order mark, the XML declaration, comments, processing instructions and a document
/// type.
fn is_svg(head: &[u8]) -> bool {
    let mut rest = head.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(head).trim_ascii_start();
    loop {
        let end: &[u8] = match rest {
            [b'<', b'?', ..] => b"?>",
            [b'<', b'!', b'-', b'-', ..] => b"-->",
            [b'<', b'!', ..] if declares(rest) => b"]>",
            [b'<', b'!', ..] => b">",
            _ => break,
        };
        let Some(at) = memchr::memmem::find(rest, end) else { return false };
        rest = rest[at + end.len()..].trim_ascii_start();
    }
    let name = rest.strip_prefix(b"<").unwrap_or_default();
    let name = name.strip_prefix(b"svg:").unwrap_or(name);
    name.strip_prefix(b"svg")
        .is_some_and(|behind| matches!(behind.first(), Some(b' ' | b'\t' | b'\r' | b'\n' | b'>' | b'/')))
}

/// Whether the document type in front declares something itself, between brackets.
fn declares(doctype: &[u8]) -> bool {
    doctype.iter().find(|byte| matches!(byte, b'[' | b'>')) == Some(&b'[')
}

/// UTF-8 without NUL; a character that the cut went through doesn't count.
fn is_text(head: &[u8]) -> bool {
    let whole = match std::str::from_utf8(head) {
        Ok(_) => true,
        Err(error) => error.error_len().is_none() && head.len() == HEAD_BYTES,
    };
    whole && !head.contains(&0)
}

/// Reads the head of a body, and gives it back together with the body that still holds it.
pub(crate) async fn peek(body: Body) -> Result<(Bytes, Body), BodyError> {
    if let Some(bytes) = body.as_bytes() {
        return Ok((bytes.slice(..bytes.len().min(HEAD_BYTES)), body));
    }
    let size = body.size();
    let mut rest = body.into_stream().await?;
    let (mut read, mut head) = (Vec::new(), Vec::new());
    while head.len() < HEAD_BYTES {
        let Some(block) = rest.try_next().await? else { break };
        head.extend_from_slice(&block[..block.len().min(HEAD_BYTES - head.len())]);
        read.push(block);
    }
    let whole: ByteStream = stream::iter(read.into_iter().map(Ok)).chain(rest).boxed();
    Ok((head.into(), Body::once(whole, size)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_decides_before_the_name_does() {
        assert_eq!(of(b"\x89PNG\r\n\x1a\n....", "report.csv"), "image/png");
        assert_eq!(of(b"a,b\n1,2\n", "report.CSV"), "text/csv");
        assert_eq!(of(b"a,b\n1,2\n", "report"), "text/plain");
        assert_eq!(of(b"a\0b", "report.csv"), "application/octet-stream");
        assert_eq!(of(b"", "empty"), "text/plain");
    }

    #[test]
    fn a_drawing_is_one_by_its_root() {
        for svg in [
            "<svg xmlns='http://www.w3.org/2000/svg'/>",
            "\u{feff}<?xml version='1.0'?>\n<!-- <html> -->\n<!DOCTYPE svg PUBLIC 'a' 'b'><svg\n/>",
            "  <svg:svg xmlns:svg='http://www.w3.org/2000/svg'>",
            "<!DOCTYPE svg PUBLIC 'a' 'b' [\n <!ENTITY ns_svg 'c'>\n]><svg>",
        ] {
            assert_eq!(of(svg.as_bytes(), "drawing.txt"), "image/svg+xml", "{svg}");
        }
        for other in ["<?xml version='1.0'?><svgs/>", "<!-- <svg> ", "svg", "<html><svg/></html>", "<", ""] {
            assert_ne!(of(other.as_bytes(), "drawing.svg"), "image/svg+xml", "{other}");
        }
    }

    #[test]
    fn a_character_cut_by_the_end_of_the_head_is_still_text() {
        let mut text = vec![b'a'; HEAD_BYTES - 1];
        text.extend("é".bytes());
        assert_eq!(of(&text, "x"), "text/plain");
        assert_eq!(of("aé".as_bytes().split_last().expect("three bytes").1, "x"), "application/octet-stream");
    }
}
