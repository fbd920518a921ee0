//! [`Multipart`]: a reader of `multipart/form-data` (RFC 7578 over RFC 2046) that never holds more than a block.
//!
//! It promises that what it gives out as a part's content is exactly what lies between two boundary lines, and that a body whose
//! last boundary is missing ends in an error. What the parts mean is [`crate::upload`]'s. Our own rather than a library's: a
//! search for the whole boundary passes binary content several times faster than one that stops at each carriage return.

use crate::{
    deadline::Incoming,
    problem::{Code, Problem},
};
use bytes::{Buf, Bytes, BytesMut};
use memchr::memmem::Finder;

const PART_HEAD_BYTES_MAX: usize = 16 << 10;
const PARTS_MAX: usize = 64;

/// The parts of a body, one after the other.
pub(crate) struct Multipart {
    body: Incoming,
    buffer: BytesMut,
    delimiter: Finder<'static>,
    parts: usize,
    /// Bytes that may still come outside the file.
    allowance: usize,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// In the preamble or in a part's content.
    Content,
    /// Behind a delimiter.
    Boundary,
    /// Behind the last one.
    End,
}

/// What a part says of itself.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Part {
    /// The form field.
    pub(crate) name: String,
    /// The file name, where there is one.
    pub(crate) filename: Option<String>,
    /// Its `Content-Type`.
    pub(crate) content_type: Option<String>,
    /// Its digest headers: name and value.
    pub(crate) digests: Vec<(String, String)>,
}

impl Multipart {
    /// A reader of `body` whose request declares `content_type`. Parts other than the file bring at most `fields_bytes_max`.
    pub(crate) fn new(content_type: &str, body: Incoming, fields_bytes_max: usize) -> Result<Self, Problem> {
        let missing = || Problem::malformed("the multipart body's type names no boundary of 1 to 70 characters");
        let (_, parameters) = parameters(content_type).ok_or_else(missing)?;
        let boundary = parameters.into_iter().find(|(name, _)| name == "boundary").map(|(_, value)| value);
        let good = |boundary: &String| {
            (1..=70).contains(&boundary.len())
                && !boundary.ends_with(' ')
                && boundary.bytes().all(|b| b.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&b))
        };
        let boundary = boundary.filter(good).ok_or_else(missing)?;
        let delimiter = Finder::new(&format!("\r\n--{boundary}")).into_owned();
        // The first boundary may be the body's first line: then no line end comes before it.
        let buffer = BytesMut::from(&b"\r\n"[..]);
        Ok(Self { body, buffer, delimiter, parts: 0, allowance: fields_bytes_max, state: State::Content })
    }

    /// The next part, behind what is left of the present one.
    pub(crate) async fn next(&mut self) -> Result<Option<Part>, Problem> {
        while let Some(skipped) = self.block().await? {
            self.spend(skipped.len())?;
        }
        if self.state == State::End || self.boundary().await? {
            self.state = State::End;
            return Ok(None);
        }
        self.parts += 1;
        if self.parts > PARTS_MAX {
            return Err(Problem::malformed(format!("a form has at most {PARTS_MAX} parts")));
        }
        let head = self.head().await?;
        self.state = State::Content;
        read_head(&head).map(Some)
    }

    /// The next bytes of the part's content; `None` at its end.
    pub(crate) async fn block(&mut self) -> Result<Option<Bytes>, Problem> {
        while self.state == State::Content {
            let delimiter = self.delimiter.needle().len();
            if let Some(at) = self.delimiter.find(&self.buffer) {
                if at > 0 {
                    return Ok(Some(self.buffer.split_to(at).freeze()));
                }
                self.buffer.advance(delimiter);
                self.state = State::Boundary;
            } else if self.buffer.len() >= delimiter {
                // All but what may be a delimiter's beginning.
                let content = self.buffer.len() + 1 - delimiter;
                return Ok(Some(self.buffer.split_to(content).freeze()));
            } else {
                self.fill().await?;
            }
        }
        Ok(None)
    }

    /// The whole content of a part that is no file.
    pub(crate) async fn text(&mut self) -> Result<Bytes, Problem> {
        let mut whole = BytesMut::new();
        while let Some(block) = self.block().await? {
            self.spend(block.len())?;
            whole.extend_from_slice(&block);
        }
        Ok(whole.freeze())
    }

    fn spend(&mut self, bytes: usize) -> Result<(), Problem> {
        self.allowance = self
            .allowance
            .checked_sub(bytes)
            .ok_or_else(|| Problem::new(Code::TooLarge, "the form brings too much besides the file"))?;
        Ok(())
    }

    async fn fill(&mut self) -> Result<(), Problem> {
        let more = self.body.next().await?;
        let more = more.ok_or_else(|| Problem::malformed("the form ends without its last boundary"))?;
        self.buffer.extend_from_slice(&more);
        Ok(())
    }

    /// Reads the rest of a boundary line and says whether it was the last.
    async fn boundary(&mut self) -> Result<bool, Problem> {
        let broken = || Problem::malformed("a boundary is followed by something else than a line end");
        loop {
            if self.buffer.starts_with(b"--") {
                return Ok(true);
            }
            let padding = self.buffer.iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
            match &self.buffer[padding..] {
                [b'\r', b'\n', ..] => {
                    self.buffer.advance(padding);
                    return Ok(false);
                }
                [] | [b'\r'] => {}
                [b'-'] if padding == 0 => {}
                _ => return Err(broken()),
            }
            if padding > 256 {
                return Err(broken());
            }
            self.fill().await?;
        }
    }

    /// Reads a part's head; the buffer begins with the line end before it.
    async fn head(&mut self) -> Result<Bytes, Problem> {
        loop {
            let end = memchr::memmem::find(&self.buffer, b"\r\n\r\n");
            if end.unwrap_or(self.buffer.len()) > PART_HEAD_BYTES_MAX {
                return Err(Problem::malformed(format!("a part's head has at most {PART_HEAD_BYTES_MAX} bytes")));
            }
            if let Some(end) = end {
                return Ok(self.buffer.split_to(end + 4).freeze());
            }
            self.fill().await?;
        }
    }
}

/// Reads a part's headers.
fn read_head(head: &[u8]) -> Result<Part, Problem> {
    let broken = |why: &str| Problem::malformed(format!("a part's head is broken: {why}"));
    let text = std::str::from_utf8(head).map_err(|_| broken("it is not UTF-8"))?;
    let (mut part, mut disposed) = (Part::default(), false);
    for line in text.split("\r\n").filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').ok_or_else(|| broken("a line without a colon"))?;
        let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        if name.is_empty() || !name.bytes().all(token) {
            return Err(broken("a header's name is no token"));
        }
        if value.chars().any(|c| c.is_control() && c != '\t') {
            return Err(broken("a control character"));
        }
        let (name, value) = (name.to_ascii_lowercase(), value.trim().to_owned());
        match name.as_str() {
            "content-disposition" if disposed => return Err(broken("two Content-Disposition")),
            "content-disposition" => {
                disposed = true;
                (part.name, part.filename) = disposition(&value)
                    .ok_or_else(|| broken("Content-Disposition is read as `form-data; name=\"…\"`"))?;
            }
            "content-type" => part.content_type = Some(value),
            "content-digest" | "repr-digest" => part.digests.push((name, value)),
            "content-transfer-encoding" if !plain(&value) => {
                let detail = format!("a part in the encoding `{value}` is not taken");
                return Err(Problem::new(Code::UnsupportedType, detail));
            }
            _ => {}
        }
    }
    if disposed { Ok(part) } else { Err(broken("Content-Disposition is missing")) }
}

fn plain(encoding: &str) -> bool {
    ["binary", "8bit", "7bit"].iter().any(|plain| encoding.eq_ignore_ascii_case(plain))
}

/// Field and file name of `form-data; name="…"; filename="…"`.
fn disposition(value: &str) -> Option<(String, Option<String>)> {
    let (kind, parameters) = parameters(value)?;
    let find = |wanted: &str| parameters.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.clone());
    let once = |wanted: &str| parameters.iter().filter(|(name, _)| name == wanted).count() <= 1;
    if !kind.eq_ignore_ascii_case("form-data") || !once("name") || !once("filename") {
        return None;
    }
    let extended = find("filename*").and_then(|value| {
        let (charset, rest) = value.split_once('\'')?;
        let (_, encoded) = rest.split_once('\'')?;
        let utf8 = charset.eq_ignore_ascii_case("utf-8");
        utf8.then(|| percent_encoding::percent_decode_str(encoded).decode_utf8().ok().map(Into::into))?
    });
    Some((find("name")?, extended.or_else(|| find("filename"))))
}

/// A value and its parameters: names in lower case, quotes undone. A backslash escapes only a quote or a backslash: in
/// `C:\new.txt` it stands for itself, as browsers of old sent it.
fn parameters(text: &str) -> Option<(String, Vec<(String, String)>)> {
    let (kind, mut rest) = text.split_once(';').unwrap_or((text, ""));
    let mut parameters = vec![];
    while !rest.trim_start().is_empty() {
        let (name, value) = rest.split_once('=')?;
        let value = value.trim_start();
        let (value, behind) = match value.strip_prefix('"') {
            Some(quoted) => unquote(quoted)?,
            None => {
                let (value, behind) = value.split_once(';').map_or((value, ""), |(value, behind)| (value, behind));
                (value.trim().to_owned(), behind)
            }
        };
        parameters.push((name.trim().to_ascii_lowercase(), value));
        rest = behind;
    }
    Some((kind.trim().to_owned(), parameters))
}

/// What a quoted text says, and what comes behind it and its semicolon.
fn unquote(quoted: &str) -> Option<(String, &str)> {
    let (mut value, mut characters) = (String::new(), quoted.char_indices().peekable());
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => {
                let behind = quoted[at + 1..].trim_start();
                let behind = if behind.is_empty() { behind } else { behind.strip_prefix(';')? };
                return Some((value, behind));
            }
            '\\' => match characters.next_if(|(_, next)| matches!(next, '"' | '\\')) {
                Some((_, escaped)) => value.push(escaped),
                None => value.push('\\'),
            },
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_browsers_and_curl_write_them() {
        let cases = [
            (r#"form-data; name="file"; filename="a b.txt""#, Some("a b.txt")),
            (r#"form-data; name=file; filename=a.txt"#, Some("a.txt")),
            (r#"FORM-DATA;name="file";filename="say \"hi\"; \\o/.txt""#, Some(r#"say "hi"; \o/.txt"#)),
            (r#"form-data; name="file"; filename="C:\new.txt""#, Some(r"C:\new.txt")),
            (r#"form-data; name="file"; filename="x"; filename*=UTF-8''%C3%BC.txt"#, Some("ü.txt")),
            (r#"form-data; name="file"; filename="ü.txt""#, Some("ü.txt")),
            (r#"form-data; name="file""#, None),
        ];
        for (text, filename) in cases {
            let found = disposition(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(found, ("file".to_owned(), filename.map(ToOwned::to_owned)), "{text}");
        }
    }

    #[test]
    fn what_is_no_disposition_of_a_form_is_refused() {
        let bad = [
            "",
            "form-data",
            "attachment; name=\"file\"",
            "form-data; name=\"file",
            "form-data; name=\"file\" filename=\"x\"",
            "form-data; name=\"file\"; name=\"name\"",
            "form-data; filename=\"x\"",
        ];
        for text in bad {
            assert!(disposition(text).is_none(), "{text}");
        }
    }
}
