//! Many small requests over many connections, from one thread that waits in epoll.
//!
//! One thread, because the server needs the other cores; that it is not the bottleneck is measured, not hoped:
//! its own share of a core, and its rate against a responder that does nothing.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::event::epoll;

use super::wire::{Head, status};

/// Appends request number `n`.
pub(crate) type NextRequest<'a> = dyn FnMut(u64, &mut Vec<u8>) + 'a;

struct Connection {
    stream: TcpStream,
    out: Vec<u8>,
    sent: usize,
    input: Vec<u8>,
    /// Bytes of the answer's body still to come, once its head is read.
    left: Option<u64>,
}

/// Keeps `connections` busy for `duration` and returns how many requests a second were answered with success.
///
/// # Errors
/// Any answer but 200 and 201, with its beginning.
pub(crate) fn rate(
    address: SocketAddr,
    connections: usize,
    duration: Duration,
    next: &mut NextRequest<'_>,
) -> Result<f64> {
    let started = Instant::now();
    let answered = until(address, connections, next, |_| started.elapsed() >= duration)?;
    Ok(answered as f64 / duration.as_secs_f64())
}

/// Keeps `connections` busy until so many answers are `enough`, and returns how many there were.
pub(crate) fn until(
    address: SocketAddr,
    connections: usize,
    next: &mut NextRequest<'_>,
    enough: impl Fn(u64) -> bool,
) -> Result<u64> {
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let mut all = Vec::with_capacity(connections);
    let mut asked = 0;
    for at in 0..connections {
        let mut connection = Connection::open(address)?;
        // Edge-triggered for both directions, so that no interest is ever changed: a system call less per request.
        let interest = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET;
        epoll::add(&poll, &connection.stream, epoll::EventData::new_u64(at as u64), interest)?;
        connection.begin(asked, next);
        asked += 1;
        all.push(connection);
    }
    let (mut answered, mut open) = (0_u64, connections);
    let mut events = Vec::with_capacity(connections);
    let mut buffer = vec![0; 64 << 10];
    // Then nothing new is asked, but what was asked is awaited: a server should not see broken requests.
    while open > 0 {
        events.clear();
        let patience = rustix::event::Timespec { tv_sec: 30, tv_nsec: 0 };
        epoll::wait(&poll, rustix::buffer::spare_capacity(&mut events), Some(&patience))?;
        ensure!(!events.is_empty(), "no answer within 30 s");
        for event in &events {
            let connection = &mut all[usize::try_from(event.data.u64())?];
            while connection.advance(&mut buffer)? {
                if enough(answered) {
                    open -= 1;
                    break;
                }
                answered += 1;
                connection.begin(asked, next);
                asked += 1;
            }
        }
    }
    Ok(answered)
}

impl Connection {
    fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).with_context(|| format!("cannot connect to {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Self { stream, out: Vec::new(), sent: 0, input: Vec::new(), left: None })
    }

    fn begin(&mut self, number: u64, next: &mut NextRequest<'_>) {
        self.out.clear();
        self.input.clear();
        (self.sent, self.left) = (0, None);
        next(number, &mut self.out);
    }

    /// Sends and receives what can be now; `true` when an answer is complete.
    fn advance(&mut self, buffer: &mut [u8]) -> Result<bool> {
        while self.sent < self.out.len() {
            match self.stream.write(&self.out[self.sent..]) {
                Ok(sent) => self.sent += sent,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error).context("cannot send"),
            }
        }
        loop {
            let received = match self.stream.read(buffer) {
                Ok(0) => bail!("the server ended a keep-alive connection"),
                Ok(received) => received,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error).context("cannot receive"),
            };
            if self.take(&buffer[..received])? {
                return Ok(true);
            }
        }
    }

    fn take(&mut self, received: &[u8]) -> Result<bool> {
        let left = match self.left {
            Some(left) => left.checked_sub(received.len() as u64),
            None => {
                self.input.extend_from_slice(received);
                let Some(head) = Head::parse(&self.input)? else { return Ok(false) };
                let status = status(&self.input);
                ensure!(matches!(status, 200 | 201), "answered {}", String::from_utf8_lossy(&self.input));
                head.body.checked_sub((self.input.len() - head.bytes) as u64)
            }
        };
        self.left = Some(left.context("more bytes than the answer announced")?);
        Ok(self.left == Some(0))
    }
}
