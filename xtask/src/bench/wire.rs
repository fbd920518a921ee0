//! As much HTTP/1.1 as a measurement needs: keep-alive, Content-Length, nothing else.
//!
//! Our own, because a client library would be measured along with the server.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::net::RecvFlags;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Bytes in one block of a big body.
pub(crate) const BLOCK: usize = 1 << 20;

/// How long a server may say nothing; many big uploads at once wait for one disk.
const PATIENCE: Duration = Duration::from_secs(300);

/// What the head of a message says about what follows it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Head {
    /// Bytes of the head, the empty line included.
    pub(crate) bytes: usize,
    /// Bytes of the body.
    pub(crate) body: u64,
}

impl Head {
    /// Reads a request's or an answer's head; `None` while it is incomplete.
    ///
    /// # Errors
    /// A body of unknown length (chunked), or a length that is no number.
    pub(crate) fn parse(input: &[u8]) -> Result<Option<Self>> {
        let Some(end) = input.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
        let text = std::str::from_utf8(&input[..end]).context("a head that is not text")?;
        let mut body = 0;
        for line in text.lines().skip(1) {
            let (name, value) = line.split_once(':').with_context(|| format!("`{line}` is no header"))?;
            if name.eq_ignore_ascii_case("content-length") {
                body = value.trim().parse().with_context(|| format!("`{line}` is no length"))?;
            }
            ensure!(!name.eq_ignore_ascii_case("transfer-encoding"), "a body without Content-Length");
        }
        Ok(Some(Self { bytes: end + 4, body }))
    }
}

/// Returns the status of an answer's head, `0` where there is none.
pub(crate) fn status(head: &[u8]) -> u16 {
    head.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok()).unwrap_or(0)
}

/// Whom requests name, whatever port they go to.
pub(crate) const HOST: &str = "127.0.0.1";

/// Appends a request's head; an empty token is none.
pub(crate) fn put_head(out: &mut Vec<u8>, method: &str, path: &str, token: &str, body: u64) {
    // The length is said even of nothing: a `POST` without it is refused by careful servers.
    let length = if method == "GET" { String::new() } else { format!("Content-Length: {body}\r\n") };
    // What is sent with a name is content.
    let kind = if path.contains("?name=") { "application/octet-stream" } else { "application/json" };
    let caller = if token.is_empty() { String::new() } else { format!("Authorization: Bearer {token}\r\n") };
    let head = format!("{method} {path} HTTP/1.1\r\nHost: {HOST}\r\n{caller}Content-Type: {kind}\r\n{length}\r\n");
    out.extend_from_slice(head.as_bytes());
}

/// The content of every big body: one block of noise, over and over.
pub(crate) fn noise() -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let word = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(word).take(BLOCK / 8).flatten().collect()
}

/// Returns the SHA-256 of the first `size` bytes of endless noise.
pub(crate) fn noise_sha256(size: u64) -> String {
    let block = noise();
    let mut hash = Sha256::new();
    for length in blocks(size) {
        hash.update(&block[..length]);
    }
    hex(&hash.finalize())
}

/// Cuts `size` bytes into blocks.
pub(crate) fn blocks(size: u64) -> impl Iterator<Item = usize> {
    let whole = size / BLOCK as u64;
    let rest = usize::try_from(size % BLOCK as u64).expect("a rest is smaller than a block");
    (0..whole).map(|_| BLOCK).chain((rest > 0).then_some(rest))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// One keep-alive connection that asks one thing at a time.
pub(crate) struct Client {
    stream: TcpStream,
    token: String,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr, token: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).with_context(|| format!("cannot connect to {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream, token: token.to_owned() })
    }

    /// Sends a small body and returns the status and the whole answer.
    pub(crate) fn ask(&mut self, method: &str, path: &str, body: &[u8]) -> Result<(u16, Vec<u8>)> {
        let mut request = Vec::new();
        put_head(&mut request, method, path, &self.token, body.len() as u64);
        request.extend_from_slice(body);
        self.stream.write_all(&request)?;
        self.answer()
    }

    /// Sends `size` bytes of noise and returns the answer's JSON.
    pub(crate) fn upload(&mut self, path: &str, block: &[u8], size: u64) -> Result<Value> {
        let mut head = Vec::new();
        put_head(&mut head, "POST", path, &self.token, size);
        self.stream.write_all(&head)?;
        for length in blocks(size) {
            if self.stream.write_all(&block[..length]).is_err() {
                // A refusal in mid-body: its reason is worth more than "broken pipe".
                break;
            }
        }
        let (status, answer) = self.answer()?;
        ensure!(matches!(status, 200 | 201), "upload answered {status}: {}", excerpt(&answer));
        serde_json::from_slice(&answer).with_context(|| format!("no JSON: {}", excerpt(&answer)))
    }

    /// Receives a body and lets the kernel throw it away: what it costs here is not copied, so not measured.
    pub(crate) fn discard(&mut self, path: &str) -> Result<u64> {
        let (head, early) = self.begin_download(path)?;
        let mut buffer = vec![0; BLOCK];
        let mut left = head.body - early.len() as u64;
        while left > 0 {
            let wanted = usize::try_from(left).unwrap_or(BLOCK).min(BLOCK);
            let (_, received) = rustix::net::recv(&self.stream, &mut buffer[..wanted], RecvFlags::TRUNC)?;
            ensure!(received > 0, "the connection ended {left} bytes early");
            left -= received as u64;
        }
        Ok(head.body)
    }

    /// Receives a body and returns its size and SHA-256.
    pub(crate) fn hash(&mut self, path: &str) -> Result<(u64, String)> {
        let (head, early) = self.begin_download(path)?;
        let mut hash = Sha256::new_with_prefix(&early);
        let mut buffer = vec![0; BLOCK];
        let mut left = head.body - early.len() as u64;
        while left > 0 {
            let wanted = usize::try_from(left).unwrap_or(BLOCK).min(BLOCK);
            let received = self.stream.read(&mut buffer[..wanted])?;
            ensure!(received > 0, "the connection ended {left} bytes early");
            hash.update(&buffer[..received]);
            left -= received as u64;
        }
        Ok((head.body, hex(&hash.finalize())))
    }

    /// Asks for a body and returns its head and what came along with it.
    pub(crate) fn begin_download(&mut self, path: &str) -> Result<(Head, Vec<u8>)> {
        let mut request = Vec::new();
        put_head(&mut request, "GET", path, &self.token, 0);
        self.stream.write_all(&request)?;
        let (head, status, early) = self.head()?;
        ensure!(status == 200, "GET {path} answered {status}: {}", excerpt(&early));
        Ok((head, early))
    }

    /// Reads what is there, at most a buffer full; for readers that are slow on purpose.
    pub(crate) fn sip(&mut self, buffer: &mut [u8]) -> Result<usize> {
        Ok(self.stream.read(buffer)?)
    }

    fn answer(&mut self) -> Result<(u16, Vec<u8>)> {
        let (head, status, mut body) = self.head()?;
        let length = usize::try_from(head.body)?;
        ensure!(length <= 64 << 20, "an answer of {length} bytes");
        let early = body.len();
        body.resize(length, 0);
        self.stream.read_exact(&mut body[early..])?;
        Ok((status, body))
    }

    fn head(&mut self) -> Result<(Head, u16, Vec<u8>)> {
        let mut input = Vec::with_capacity(4096);
        let mut buffer = [0; 4096];
        loop {
            let received = self.stream.read(&mut buffer).context("no answer")?;
            if received == 0 {
                bail!("the connection ended before an answer");
            }
            input.extend_from_slice(&buffer[..received]);
            if let Some(head) = Head::parse(&input)? {
                let status = status(&input);
                return Ok((head, status, input.split_off(head.bytes)));
            }
        }
    }
}

fn excerpt(answer: &[u8]) -> String {
    String::from_utf8_lossy(&answer[..answer.len().min(300)]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_once_it_is_whole() {
        let whole = b"HTTP/1.1 201 Created\r\nCONTENT-length: 12\r\nx: y\r\n\r\n{}";
        assert_eq!(Head::parse(whole).unwrap(), Some(Head { bytes: whole.len() - 2, body: 12 }));
        assert_eq!(status(whole), 201);
        assert_eq!(Head::parse(&whole[..30]).unwrap(), None);
    }

    #[test]
    fn a_body_of_unknown_length_is_refused() {
        assert!(Head::parse(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").is_err());
        assert!(Head::parse(b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n").is_err());
    }

    #[test]
    fn a_caller_without_a_token_sends_none() {
        let mut head = Vec::new();
        put_head(&mut head, "GET", "/health/ready", "", 0);
        assert!(!String::from_utf8(head).unwrap().contains("Authorization"));
    }

    #[test]
    fn blocks_add_up_to_the_size() {
        assert_eq!(blocks(2 * BLOCK as u64 + 5).collect::<Vec<_>>(), [BLOCK, BLOCK, 5]);
        assert_eq!(blocks(0).count(), 0);
    }
}
