//! A server in this process over a larder in memory, and a client that sends exactly what it is told.
#![allow(dead_code, unreachable_pub, missing_docs, clippy::unwrap_used)]

pub mod secrets;

use futures_util::future::BoxFuture;
use jsonwebtoken::{EncodingKey, Header};
use larder_api::{Limits, Server, ServerConfig, ServerHandle};
use larder_files::{
    BucketName, BucketPolicy, Clock, Entropy, Environment, Files, Mount, Names, Parts, Role, Secrets, SessionId,
    SessionTerms, Settings, Spawn, StoreMode, StoreName, Timestamp, User, UserId, UserName,
    ledger::{MemoryLedger, Session},
};
use larder_renditions::Examiner;
use larder_storage_core::{MemoryDisk, MemoryOptions, MemoryStore, NodeId};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::{
    collections::HashMap,
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};
use tokio::runtime::{Handle, Runtime};

/// 2026-11-21T15:10:45.123Z
pub const START: i64 = 1_795_273_845_123;
pub const MASTER: [u8; 32] = *b"the master that all of it's from";

/// A clock that moves only when it is told, or waited for.
#[derive(Debug)]
pub struct TestClock(AtomicI64);

impl TestClock {
    pub fn advance(&self, span: Duration) {
        self.0.fetch_add(i64::try_from(span.as_millis()).unwrap(), Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::SeqCst))
    }

    fn elapsed(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::SeqCst).unsigned_abs())
    }

    fn sleep(&self, span: Duration) -> BoxFuture<'static, ()> {
        self.advance(span);
        Box::pin(tokio::task::yield_now())
    }
}

struct TestEntropy;

impl Entropy for TestEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        getrandom::fill(bytes).unwrap();
    }
}

struct TestSpawn(Handle);

impl Spawn for TestSpawn {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        drop(self.0.spawn(task));
    }
}

/// A server and the people who use it: `ada` and `bob`, and `root` who is an admin.
pub struct Larder {
    pub files: Files,
    pub disk: MemoryDisk,
    pub clock: Arc<TestClock>,
    pub addr: SocketAddr,
    pub handle: ServerHandle,
    pub ada: User,
    pub bob: User,
    pub root: User,
    sessions: Mutex<HashMap<UserId, SessionId>>,
    runtime: Runtime,
}

impl Larder {
    pub fn start() -> Self {
        Self::with(Limits::default())
    }

    pub fn with(limits: Limits) -> Self {
        Self::configured(ServerConfig { limits, ..ServerConfig::default() }, None)
    }

    /// As the configuration says, on a free port; and on a socket for metrics alone.
    pub fn configured(config: ServerConfig, metrics: Option<TcpListener>) -> Self {
        secrets::listen();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let clock = Arc::new(TestClock(AtomicI64::new(START)));
        let disk = MemoryDisk::new(MemoryOptions::with_staging());
        let store = Arc::new(MemoryStore::open(&disk, "local", NodeId::new("node").unwrap()));
        let parts = Parts {
            stores: vec![Mount { name: StoreName::new("local").unwrap(), store, mode: StoreMode::Edit }],
            ledger: Arc::new(MemoryLedger::new()),
            environment: Environment {
                clock: clock.clone(),
                entropy: Arc::new(TestEntropy),
                spawn: Arc::new(TestSpawn(runtime.handle().clone())),
            },
            secrets: Secrets::new(MASTER),
            roll: None,
        };
        let mut settings = Settings::default();
        let unique = BucketPolicy { names: Names::Unique, ..BucketPolicy::default() };
        settings.buckets.push((BucketName::new("wiki").unwrap(), unique));
        let ahead = BucketPolicy { presets_ahead: vec!["thumb".into(), "normal".into()], ..BucketPolicy::default() };
        settings.buckets.push((BucketName::new("gallery").unwrap(), ahead));
        settings.cache = Some(StoreName::new("local").unwrap());
        settings.examine = Some(Arc::new(Examiner::new(larder_renditions::Limits::default(), 64 << 20)));
        let (files, _) = runtime.block_on(Files::start(parts, settings)).unwrap();
        let user =
            |name: &str, role| runtime.block_on(files.add_user(UserName::new(name).unwrap(), role, None)).unwrap();
        let (ada, bob, root) = (user("ada", Role::User), user("bob", Role::User), user("root", Role::Admin));
        let config = ServerConfig { listen: ([127, 0, 0, 1], 0).into(), workers: 1, ..config };
        let mut server = Server::bind(config, files.clone(), runtime.handle().clone()).unwrap();
        if let Some(listener) = metrics {
            server = server.with_metrics_on(listener).unwrap();
        }
        let (addr, handle) = (server.addr(), server.handle());
        runtime.spawn(server.run());
        Self { files, disk, clock, addr, handle, ada, bob, root, sessions: Mutex::default(), runtime }
    }

    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    pub fn spawn<F>(&self, future: F) -> tokio::task::JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        self.runtime.spawn(future)
    }

    /// A request of `ada`'s.
    pub fn ada(&self, line: &str) -> Request<'_> {
        self.by(&self.ada, line)
    }

    pub fn bob(&self, line: &str) -> Request<'_> {
        self.by(&self.bob, line)
    }

    pub fn root(&self, line: &str) -> Request<'_> {
        self.by(&self.root, line)
    }

    pub fn by(&self, user: &User, line: &str) -> Request<'_> {
        self.anybody(line).header("Authorization", &format!("Bearer {}", self.token(user)))
    }

    /// A request that doesn't say whose it is.
    pub fn anybody(&self, line: &str) -> Request<'_> {
        Request { larder: self, line: line.to_owned(), headers: vec![], body: vec![] }
    }

    /// A new session of the user's.
    pub fn session(&self, user: &User) -> Session {
        let terms = SessionTerms { idle: Duration::from_hours(168), whole: Duration::from_hours(720), most: 64 };
        let user = self.block_on(self.files.user(user.id)).unwrap().unwrap();
        self.block_on(self.files.open_session(&user, &terms)).unwrap()
    }

    /// The session that the user's requests are of: another only once that has ended.
    fn session_of(&self, user: &User) -> SessionId {
        let mut sessions = self.sessions.lock().unwrap();
        if let Some(id) = sessions.get(&user.id)
            && self.block_on(self.files.user_of_session(*id)).unwrap().is_some()
        {
            return *id;
        }
        let id = self.session(user).id;
        sessions.insert(user.id, id);
        id
    }

    pub fn claims(&self, user: &User) -> Value {
        let (now, session) = (self.clock.now().as_millis() / 1000, self.session_of(user));
        json!({
            "iss": "larder", "aud": "larder-api", "sub": user.id, "iat": now, "nbf": now, "exp": now + 900, "sid": session,
        })
    }

    /// The refresh token of a session as it is now.
    pub fn refresh_token(&self, session: &Session) -> String {
        let (now, ends) = (self.clock.now().as_millis() / 1000, session.until.as_millis() / 1000);
        let claims = json!({
            "iss": "larder", "aud": "larder-refresh", "sub": session.user, "iat": now, "nbf": now, "exp": ends,
            "sid": session.id, "serial": session.serial,
        });
        let (header, key) = self.signs("refresh", "rt+jwt");
        jsonwebtoken::encode(&header, &claims, &key).unwrap()
    }

    pub fn token(&self, user: &User) -> String {
        let (header, key) = self.signs("access", "at+jwt");
        jsonwebtoken::encode(&header, &self.claims(user), &key).unwrap()
    }

    /// How a token is signed now.
    pub fn signs(&self, purpose: &str, kind: &str) -> (Header, EncodingKey) {
        let day = self.clock.now().as_millis() / 86_400_000;
        let header = Header { typ: Some(kind.into()), kid: Some(day.to_string()), ..Header::default() };
        (header, EncodingKey::from_secret(&self.files.signing_key(&format!("{purpose}.{day}"))))
    }

    /// Puts a file of `ada`'s and answers its record.
    pub fn put(&self, name: &str, content: &[u8]) -> Value {
        self.put_by(&self.ada, name, content)
    }

    pub fn put_by(&self, user: &User, name: &str, content: &[u8]) -> Value {
        let answer = self.by(user, &format!("POST /api/v1/buckets/documents/files?name={name}")).body(content).send();
        assert_eq!(answer.status, 201, "{}", answer.text());
        // Files of one moment are in no order.
        self.clock.advance(Duration::from_millis(1));
        answer.json()
    }

    /// Everything that is stored, once what was given up has been cleared away.
    pub fn state(&self) -> State {
        for _ in 0..10_000 {
            if self.disk.staged() == 0 {
                break;
            }
            self.block_on(async { tokio::task::yield_now().await });
            std::thread::yield_now();
        }
        let (mut dump, mut objects) = (vec![], vec![]);
        let keep = &mut |line: &str| {
            dump.push(line.to_owned());
            Ok(())
        };
        self.block_on(self.files.dump(keep)).unwrap();
        // The mark counts claims, those too that were given back without a change.
        let kept = self.disk.objects().into_iter().filter(|(key, _)| key.as_str() != ".larder/mark");
        objects.extend(kept.map(|(key, bytes)| format!("{key} {}", sha256(&bytes))));
        State { staged: self.disk.staged(), dump, objects }
    }

    pub fn connect(&self) -> TcpStream {
        let connection = TcpStream::connect(self.addr).unwrap();
        connection.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        connection
    }

    /// Sends bytes as they are, and reads until the server closes.
    pub fn raw(&self, bytes: &[u8]) -> Answer {
        let mut connection = self.connect();
        // A server that refuses early may close before everything is sent.
        let _ = connection.write_all(bytes);
        read_answer(connection)
    }
}

impl Drop for Larder {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            secrets::assert_log_kept();
        }
    }
}

/// What is stored: nothing of it may change by a request that is refused.
#[derive(PartialEq)]
pub struct State {
    staged: usize,
    dump: Vec<String>,
    objects: Vec<String>,
}

impl State {
    /// What is here and not in `other`.
    fn beyond<'a>(&'a self, other: &Self) -> Vec<&'a String> {
        let known: Vec<_> = other.dump.iter().chain(&other.objects).collect();
        self.dump.iter().chain(&self.objects).filter(|line| !known.contains(line)).collect()
    }

    /// Fails unless nothing has changed since `before`.
    pub fn same_as(&self, before: &Self, what: &str) {
        let (new, gone) = (self.beyond(before), before.beyond(self));
        assert!(self == before, "{what} has changed something: new {new:#?}, gone {gone:#?}, {} staged", self.staged);
    }
}

pub fn read_answer(mut connection: TcpStream) -> Answer {
    let mut bytes = vec![];
    if let Err(error) = connection.read_to_end(&mut bytes) {
        let ended = error.kind() == std::io::ErrorKind::ConnectionReset;
        assert!(ended, "the server left the connection open: {error}, after {}", String::from_utf8_lossy(&bytes));
    }
    Answer::parse(&bytes)
}

/// A request under construction.
#[derive(Clone)]
pub struct Request<'a> {
    larder: &'a Larder,
    line: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request<'_> {
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    #[must_use]
    pub fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = body.as_ref().to_vec();
        self
    }

    #[must_use]
    pub fn json(self, body: &Value) -> Self {
        self.header("Content-Type", "application/json").body(body.to_string())
    }

    /// The bytes as they go out: with a length, unless one of the headers says something else about the body.
    pub fn bytes(&self) -> Vec<u8> {
        secrets::keep_of_request(&self.headers, &self.body);
        let has = |wanted: &str| self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(wanted));
        let mut text = format!("{} HTTP/1.1\r\n", self.line);
        let mut add = |name: &str, value: &str| text.push_str(&format!("{name}: {value}\r\n"));
        if !has("host") {
            add("Host", "larder");
        }
        if !has("connection") {
            add("Connection", "close");
        }
        let bodied = !self.body.is_empty() || self.line.starts_with('P');
        if bodied && !has("content-length") && !has("transfer-encoding") {
            add("Content-Length", &self.body.len().to_string());
        }
        for (name, value) in &self.headers {
            add(name, value);
        }
        text.push_str("\r\n");
        let mut bytes = text.into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }

    pub fn send(&self) -> Answer {
        self.larder.raw(&self.bytes())
    }

    /// Sends, and then says that nothing more will come.
    pub fn send_and_end(&self) -> Answer {
        let mut connection = self.larder.connect();
        let _ = connection.write_all(&self.bytes());
        let _ = connection.shutdown(Shutdown::Write);
        read_answer(connection)
    }
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    fn parse(mut bytes: &[u8]) -> Self {
        while let Some(rest) = bytes.strip_prefix(b"HTTP/1.1 100 Continue\r\n\r\n") {
            bytes = rest;
        }
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
            return Self { status: 0, headers: vec![], body: bytes.to_vec() };
        };
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let header = |line: &str| line.split_once(':').map(|(name, value)| (name.to_lowercase(), value.trim().into()));
        let headers = lines.map(|line| header(line).unwrap()).collect();
        let mut answer = Self { status, headers, body: bytes[end + 4..].to_vec() };
        if answer.header("transfer-encoding") == Some("chunked") {
            answer.body = unchunk(&answer.body);
        }
        secrets::look_at(&answer);
        answer
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {} {}", self.status, self.text()))
    }

    /// Fails unless it has what keeps browsers from doing harm, as every answer about content does, whatever its status.
    #[track_caller]
    pub fn assert_harmless(&self, what: &str) {
        let expected = [
            ("x-content-type-options", "nosniff"),
            ("content-security-policy", "default-src 'none'; sandbox; frame-ancestors 'none'"),
            ("cross-origin-resource-policy", "same-origin"),
            ("referrer-policy", "no-referrer"),
            ("cache-control", "private, no-cache"),
        ];
        for (name, value) in expected {
            assert_eq!(self.header(name), Some(value), "{name} of {what}");
        }
        assert!(self.header("set-cookie").is_none() && self.header("x-request-id").is_some(), "{what}");
    }

    /// The problem's code, if it is a problem.
    pub fn code(&self) -> String {
        if self.header("content-type") != Some("application/problem+json") {
            return String::new();
        }
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }
}

fn unchunk(mut bytes: &[u8]) -> Vec<u8> {
    let mut whole = vec![];
    while let Some(end) = bytes.windows(2).position(|two| two == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&bytes[..end]).unwrap(), 16).unwrap();
        whole.extend_from_slice(&bytes[end + 2..end + 2 + size]);
        bytes = &bytes[end + 4 + size..];
        if size == 0 {
            break;
        }
    }
    whole
}

/// A form of these parts, each a head and its content.
pub fn form(boundary: &str, parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = vec![];
    for (head, content) in parts {
        body.extend_from_slice(format!("--{boundary}\r\n{head}\r\n\r\n").as_bytes());
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    body
}

pub fn sha256(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(&Sha256::digest(bytes))
}

/// Bytes that are no text and don't repeat soon.
pub fn noise(size: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..size).map(|_| next()).collect()
}
