//! The server that does nothing: what the load generator reaches against it is the generator's own ceiling.
//!
//! Speaks the few routes that a measurement uses, and remembers nothing: a file's id is its size, and its content is
//! noise. So it also stands in for Larder in the tests of the harness.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use anyhow::Result;
use rustix::event::epoll;

use super::wire::{BLOCK, Head, noise};

/// Starts a responder on a thread that lives as long as the process.
pub(crate) fn start() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::Builder::new().name("responder".into()).spawn(move || {
        if let Err(error) = respond(&listener) {
            eprintln!("the responder stopped: {error:#}");
        }
    })?;
    Ok(address)
}

/// Answers for ever; `bench-responder` is this as a process.
pub(crate) fn serve(_: &[String]) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    eprintln!("listening on http://{}", listener.local_addr()?);
    respond(&listener)
}

struct Connection {
    stream: TcpStream,
    input: Vec<u8>,
    /// Bytes of the request's body still to come, and the answer to give then.
    request: Option<(u64, Answer)>,
    head: Vec<u8>,
    /// Bytes of noise to send after the head, and how many of them went out.
    noise: u64,
    sent: u64,
}

struct Answer {
    head: Vec<u8>,
    noise: u64,
}

const LISTENER: u64 = u64::MAX;

fn respond(listener: &TcpListener) -> Result<()> {
    listener.set_nonblocking(true)?;
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&poll, listener, epoll::EventData::new_u64(LISTENER), epoll::EventFlags::IN)?;
    let (noise, mut buffer) = (noise(), vec![0; BLOCK]);
    let mut all: Vec<Option<Connection>> = Vec::new();
    let mut events = Vec::with_capacity(128);
    loop {
        events.clear();
        epoll::wait(&poll, rustix::buffer::spare_capacity(&mut events), None)?;
        for event in &events {
            if event.data.u64() == LISTENER {
                accept(listener, &poll, &mut all)?;
                continue;
            }
            let place = &mut all[usize::try_from(event.data.u64())?];
            // A client that went away, or asked nonsense, is dropped; the next one is served.
            let alive = place.as_mut().is_some_and(|connection| connection.advance(&mut buffer, &noise).is_ok());
            if !alive {
                *place = None;
            }
        }
    }
}

fn accept(listener: &TcpListener, poll: &impl std::os::fd::AsFd, all: &mut Vec<Option<Connection>>) -> Result<()> {
    while let Ok((stream, _)) = listener.accept() {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let interest = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET;
        epoll::add(poll, &stream, epoll::EventData::new_u64(all.len() as u64), interest)?;
        all.push(Some(Connection { stream, input: Vec::new(), request: None, head: Vec::new(), noise: 0, sent: 0 }));
    }
    Ok(())
}

impl Connection {
    fn advance(&mut self, buffer: &mut [u8], noise: &[u8]) -> Result<()> {
        loop {
            self.send(noise)?;
            match self.stream.read(buffer) {
                Ok(0) => return Err(std::io::Error::from(ErrorKind::ConnectionReset).into()),
                Ok(received) => self.take(&buffer[..received])?,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn send(&mut self, noise: &[u8]) -> Result<()> {
        while !self.head.is_empty() || self.sent < self.noise {
            let in_head = !self.head.is_empty();
            let outcome = if in_head {
                self.stream.write(&self.head)
            } else {
                let at = usize::try_from(self.sent % BLOCK as u64)?;
                let length = usize::try_from(self.noise - self.sent)?.min(BLOCK - at);
                self.stream.write(&noise[at..at + length])
            };
            match outcome {
                Ok(sent) if in_head => drop(self.head.drain(..sent)),
                Ok(sent) => self.sent += sent as u64,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn take(&mut self, received: &[u8]) -> Result<()> {
        let left = match self.request.take() {
            Some((left, answer)) => (left - received.len() as u64, answer),
            None => {
                self.input.extend_from_slice(received);
                let Some(head) = Head::parse(&self.input)? else { return Ok(()) };
                let answer = answer(&String::from_utf8_lossy(&self.input[..head.bytes]), head.body);
                let left = head.body - (self.input.len() - head.bytes) as u64;
                self.input.clear();
                (left, answer)
            }
        };
        match left {
            (0, answer) => (self.head, self.noise, self.sent) = (answer.head, answer.noise, 0),
            unfinished => self.request = Some(unfinished),
        }
        Ok(())
    }
}

fn answer(head: &str, body: u64) -> Answer {
    let path = head.split(' ').nth(1).unwrap_or_default();
    let json = |text: String| Answer { head: with_head(200, text.len() as u64, &text), noise: 0 };
    let size = path.trim_end_matches("/content").rsplit('/').next().and_then(|id| id.parse().ok());
    match (head.split(' ').next(), size) {
        (Some("GET"), Some(size)) => Answer { head: with_head(200, size, ""), noise: size },
        (Some("POST"), _) if path.ends_with("/login") => json(r#"{"access_token":"none"}"#.to_owned()),
        (Some("POST"), _) => json(format!(r#"{{"id":"{body}"}}"#)),
        _ => json("{}".to_owned()),
    }
}

fn with_head(status: u16, length: u64, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status} OK\r\nContent-Length: {length}\r\n\r\n{body}").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::super::load;
    use super::super::wire::{Client, noise_sha256, put_head};
    use super::*;

    #[test]
    fn what_is_uploaded_comes_back_equal() {
        let size = 3 * BLOCK as u64 + 17;
        let mut client = Client::connect(start().unwrap(), "none").unwrap();
        let record = client.upload("/api/v1/buckets/documents/files?name=x", &noise(), size).unwrap();
        let path = format!("/api/v1/files/{}/content", record["id"].as_str().unwrap());
        assert_eq!(client.hash(&path).unwrap(), (size, noise_sha256(size)));
        assert_eq!(client.discard(&path).unwrap(), size);
    }

    #[test]
    fn a_load_of_small_requests_is_answered_on_every_connection() {
        let address = start().unwrap();
        let body = vec![7; 4096];
        let mut post = |n, out: &mut Vec<u8>| {
            put_head(out, "POST", &format!("/api/v1/buckets/documents/files?name={n}"), "none", 4096);
            out.extend_from_slice(&body);
        };
        assert_eq!(load::until(address, 8, &mut post, |answered| answered == 500).unwrap(), 500);
        let mut get = |_, out: &mut Vec<u8>| put_head(out, "GET", "/api/v1/files/4096/content", "none", 0);
        assert_eq!(load::until(address, 8, &mut get, |answered| answered == 500).unwrap(), 500);
    }

    #[test]
    fn a_refusal_ends_the_load_with_its_words() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 1024]);
            stream.write_all(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n").unwrap();
        });
        let mut get = |_, out: &mut Vec<u8>| put_head(out, "GET", "/", "none", 0);
        let error = load::until(address, 1, &mut get, |_| true).unwrap_err().to_string();
        assert!(error.contains("503 Busy"), "{error}");
    }
}
