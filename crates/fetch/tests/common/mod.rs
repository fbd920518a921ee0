//! A server that does to a client what its paths say, names that mean what a test says, and a client that gathers.
#![allow(dead_code, unreachable_pub, missing_docs, clippy::unwrap_used)]

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::TryStreamExt;
use larder_fetch::{Error, Fetched, Fetcher, Policy, Resolve};
use std::{
    collections::HashMap,
    error::Error as _,
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
    sync::Semaphore,
    task::JoinHandle,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, PrivatePkcs8KeyDer},
    },
};

pub const ROOT: &[u8] = include_bytes!("../tls/root.der");
pub const OTHER_ROOT: &[u8] = include_bytes!("../tls/other_root.der");

/// What a server does once it has read a request.
#[derive(Clone)]
pub enum Act {
    /// Sends this and closes.
    Say(Vec<u8>),
    /// Sends this and nothing more, until the client is gone.
    Stall(Vec<u8>),
    /// Sends the first, and then the second again and again until the client is gone.
    Flood(Vec<u8>, Vec<u8>),
    /// Sends this, and then one byte after another with a pause before each, until the client is gone.
    Drip(Vec<u8>, Duration),
    /// Sends this and drops the connection without a word; of TLS that is a truncation.
    Drop(Vec<u8>),
}

pub fn say(answer: impl AsRef<[u8]>) -> Act {
    Act::Say(answer.as_ref().to_vec())
}

/// A redirect to `location`.
pub fn redirect(location: &str) -> Act {
    say(format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n"))
}

/// An answer of 200 with these lines of the head, each ending in CRLF, and this body.
pub fn content(lines: &str, body: &str) -> Act {
    say(format!("HTTP/1.1 200 OK\r\n{lines}\r\n{body}"))
}

pub type Paths = HashMap<&'static str, Act>;

/// A server on loopback, which ends with its test.
pub struct Hostile {
    pub address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
    /// A permit for each connection that has ended.
    ended: Arc<Semaphore>,
    task: JoinHandle<()>,
}

impl Drop for Hostile {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Hostile {
    pub async fn plain(paths: impl FnOnce(SocketAddr) -> Paths) -> Self {
        Self::start(None, paths).await
    }

    pub async fn tls(paths: impl FnOnce(SocketAddr) -> Paths) -> Self {
        let certificate = CertificateDer::from_slice(include_bytes!("../tls/files.example.der"));
        let key = PrivatePkcs8KeyDer::from(&include_bytes!("../tls/files.example.key.der")[..]);
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key.into())
            .unwrap();
        Self::start(Some(Arc::new(config).into()), paths).await
    }

    async fn start(tls: Option<TlsAcceptor>, paths: impl FnOnce(SocketAddr) -> Paths) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (paths, heads, ended) = (Arc::new(paths(address)), Arc::default(), Arc::new(Semaphore::new(0)));
        let shared = (Arc::clone(&heads), Arc::clone(&ended));
        let task = tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let (tls, paths, (heads, ended)) = (tls.clone(), Arc::clone(&paths), shared.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(socket, &paths, &heads).await,
                        Some(tls) => match tls.accept(socket).await {
                            Ok(socket) => serve(socket, &paths, &heads).await,
                            Err(_) => heads.lock().unwrap().push("no TLS".to_owned()),
                        },
                    }
                    ended.add_permits(1);
                });
            }
        });
        Self { address, heads, ended, task }
    }

    /// The heads of all requests since the last call.
    pub fn heads(&self) -> Vec<String> {
        std::mem::take(&mut self.heads.lock().unwrap())
    }

    /// Waits until one connection more has ended.
    pub async fn one_ends(&self) {
        self.ended.acquire().await.unwrap().forget();
    }
}

async fn serve(mut socket: impl AsyncRead + AsyncWrite + Unpin, paths: &Paths, heads: &Mutex<Vec<String>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match socket.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let head = String::from_utf8(head).unwrap();
    let path = head.split([' ', '?']).nth(1).unwrap().to_owned();
    heads.lock().unwrap().push(head);
    let act = paths.get(path.as_str()).cloned().unwrap_or(say("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"));
    // Whatever fails here: the client has gone, as it may.
    let _ = perform(&mut socket, act).await;
}

async fn perform(socket: &mut (impl AsyncRead + AsyncWrite + Unpin), act: Act) -> io::Result<()> {
    match act {
        Act::Say(bytes) => {
            socket.write_all(&bytes).await?;
            socket.shutdown().await?;
        }
        Act::Stall(bytes) => {
            socket.write_all(&bytes).await?;
            socket.flush().await?;
        }
        Act::Flood(first, again) => {
            socket.write_all(&first).await?;
            loop {
                socket.write_all(&again).await?;
            }
        }
        Act::Drip(first, pause) => {
            socket.write_all(&first).await?;
            loop {
                tokio::time::sleep(pause).await;
                socket.write_all(b"x").await?;
                socket.flush().await?;
            }
        }
        Act::Drop(bytes) => {
            socket.write_all(&bytes).await?;
            return socket.flush().await;
        }
    }
    // A close with unread bytes would be a reset, and could overtake what was sent.
    while socket.read(&mut [0; 1024]).await? > 0 {}
    Ok(())
}

/// Names that mean what a test says: the first look-up the first list, the next the next, and the last for ever.
#[derive(Default)]
pub struct Names {
    known: HashMap<&'static str, Vec<Vec<IpAddr>>>,
    asked: Mutex<Vec<String>>,
}

impl Names {
    pub fn and(mut self, name: &'static str, look_ups: &[&[&str]]) -> Self {
        let read = |list: &&[&str]| list.iter().map(|address| address.parse().unwrap()).collect();
        self.known.insert(name, look_ups.iter().map(read).collect());
        self
    }

    /// All names since the last call.
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

#[async_trait]
impl Resolve for Names {
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let mut asked = self.asked.lock().unwrap();
        let before = asked.iter().filter(|it| *it == name).count();
        asked.push(name.to_owned());
        let lists = self.known.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(lists[before.min(lists.len() - 1)].clone())
    }
}

/// A policy under which a test can reach `server`, by `http` too, with time enough for the slowest machine.
pub fn policy(servers: &[&Hostile]) -> Policy {
    let mut policy = servers.iter().fold(Policy::default().trusting(ROOT), |it, server| it.permitting(server.address));
    policy.http = true;
    policy.bytes_max = 64 << 10;
    policy.connect_within = Duration::from_secs(60);
    policy.head_within = Duration::from_secs(60);
    policy.block_within = Duration::from_secs(60);
    policy.whole_within = Duration::from_secs(600);
    policy
}

pub fn fetcher(policy: Policy, names: &Arc<Names>) -> Fetcher {
    Fetcher::new(policy, Arc::clone(names) as Arc<dyn Resolve>).unwrap()
}

/// All of it.
pub async fn gathered(fetched: Fetched) -> Result<String, Error> {
    let blocks: Vec<Bytes> = fetched.stream.try_collect().await?;
    Ok(String::from_utf8(blocks.concat()).unwrap())
}

/// All of the content of `url`, within half of the shortest time that [`policy`] gives a step.
pub async fn fetch(fetcher: &Fetcher, url: &str) -> Result<String, Error> {
    let all = async { gathered(fetcher.open(url).await?).await };
    tokio::time::timeout(Duration::from_secs(30), all).await.expect("it ends in time")
}

/// What a log would say: the cause and what is behind it.
pub fn logged(error: &Error) -> String {
    let mut text = error.cause().to_string();
    let mut source = error.cause().source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

/// Fetches `url`, which must be refused as everything is, and returns what a log would say.
pub async fn refused(fetcher: &Fetcher, url: &str) -> String {
    let error = fetch(fetcher, url).await.expect_err(url);
    assert_eq!(error.to_string(), "the URL can't be imported", "{url}");
    let log = logged(&error);
    assert_eq!(error.source().unwrap().to_string(), error.cause().to_string(), "{url}");
    assert!(!format!("{log}{error:?}").contains("s3cret"), "{url}: {error:?}");
    log
}
