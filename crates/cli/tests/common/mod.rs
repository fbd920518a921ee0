//! A larder in a temporary directory, run by the real binary: commands, a server, and a client that speaks to it.
#![allow(dead_code, reason = "each test uses a part of it")]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails loudly and tells what it skips")]

pub(crate) mod secrets;

use secrets::Told as _;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Read, Write},
    os::unix::{fs::MetadataExt, process::ExitStatusExt},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};
use tempfile::TempDir;
use ureq::http;

/// How long anything may take before a test gives up: many times what it takes.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);
pub(crate) const PASSWORD: &str = "correct horse battery";

/// The smallest picture: one transparent pixel (PNG, ISO/IEC 15948).
pub(crate) const DOT: &[u8] = &[
    0x89, b'P', b'N', b'G', 0x0d, 0x0a, 0x1a, 0x0a, 0, 0, 0, 0x0d, b'I', b'H', b'D', b'R', 0, 0, 0, 1, 0, 0, 0, 1, 8,
    6, 0, 0, 0, 0x1f, 0x15, 0xc4, 0x89, 0, 0, 0, 0x0b, b'I', b'D', b'A', b'T', 0x78, 0x9c, 0x63, 0x60, 0, 2, 0, 0, 5,
    0, 1, 0x7a, 0x5e, 0xab, 0x3f, 0, 0, 0, 0, b'I', b'E', b'N', b'D', 0xae, 0x42, 0x60, 0x82,
];

/// A place for one larder.
pub(crate) struct Larder {
    temporary: TempDir,
    /// Where its rows lie, if not in a file.
    pub(crate) schema: Option<larder_ledger::Server>,
}

/// What a command said and how it ended.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Larder {
    pub(crate) fn new() -> Self {
        Self { temporary: tempfile::tempdir().unwrap(), schema: None }
    }

    /// With its rows in a schema of PostgreSQL that no other has; `None`, and a word, where there is no server.
    pub(crate) fn over_postgresql() -> Option<Self> {
        let Ok(url) = std::env::var("LARDER_TEST_POSTGRES") else {
            println!("skipped: LARDER_TEST_POSTGRES is not set");
            return None;
        };
        let mut random = [0; 8];
        getrandom::fill(&mut random).unwrap();
        let schema = format!("t{:016x}", u64::from_le_bytes(random));
        let larder = Self { schema: Some(larder_ledger::Server::new(&url, &schema).unwrap()), ..Self::new() };
        larder.configure(&format!("[database]\nurl = \"{url}\"\nschema = \"{schema}\"\n"));
        Some(larder)
    }

    /// Adds lines to the configuration.
    pub(crate) fn configure(&self, lines: &str) {
        let before = fs::read_to_string(self.data().join("larder.toml")).unwrap_or_default();
        self.file("data/larder.toml", format!("{before}{lines}"));
    }

    /// Whether a process holds a lock that its end lets go of: in a directory, or in that of SQLite. A roll in PostgreSQL tells the
    /// others only after a minute.
    pub(crate) fn has_locks(&self) -> bool {
        self.schema.is_none() || self.data().join("objects").exists()
    }

    /// Another node of the same installation, with a data directory of its own: the same rows, the same store, the same secrets.
    pub(crate) fn twin(&self) -> Self {
        let twin = Self { schema: self.schema.clone(), ..Self::new() };
        let toml = fs::read_to_string(self.data().join("larder.toml")).unwrap();
        let store = self.data().join("objects");
        twin.file("data/larder.toml", format!("{toml}[stores.local]\npath = \"{}\"\n", store.display()));
        fs::copy(self.data().join("secrets.toml"), twin.data().join("secrets.toml")).unwrap();
        twin
    }

    /// Deletes the database.
    pub(crate) fn lose_database(&self) {
        match &self.schema {
            None => fs::remove_dir_all(self.data().join("db")).unwrap(),
            Some(server) => {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(server.drop_schema()).unwrap();
            }
        }
    }

    /// With a second directory: every file is to lie on both.
    pub(crate) fn mirrored() -> Self {
        let larder = Self::new();
        let second = larder.second();
        let toml = format!(
            "placement = [\"local\", \"second\"]\n[stores.local]\n[stores.second]\npath = \"{}\"\n",
            second.display()
        );
        larder.file("data/larder.toml", toml);
        larder
    }

    /// Where the second store lies, if there is one.
    pub(crate) fn second(&self) -> PathBuf {
        self.place().join("second")
    }

    /// Waits until no copy is yet to be made, as an admin is told.
    pub(crate) fn until_copied(&self, admin: &Client) {
        let until = std::time::Instant::now() + DEADLINE;
        loop {
            let stores = admin.get("/api/v1/stores").json();
            let is_done = stores["items"].as_array().unwrap().iter().all(|store| store["copies_pending"] == 0);
            if is_done && (!self.second().exists() || self.is_mirrored()) {
                return;
            }
            assert!(std::time::Instant::now() < until, "copies are never made: {stores}");
            let (_never, nothing) = mpsc::channel::<()>();
            let _ = nothing.recv_timeout(Duration::from_millis(20));
        }
    }

    /// That both stores hold the same files with the same attributes.
    pub(crate) fn assert_mirrored(&self) {
        let [first, second] = self.of_both_stores();
        assert_eq!(first, second, "the two stores differ");
    }

    fn is_mirrored(&self) -> bool {
        let [first, second] = self.of_both_stores();
        first == second
    }

    /// What each of two stores holds of files: bytes and attributes by their hashes. Only folders of buckets are looked into, where a
    /// running server lets nothing be seen that is not whole.
    fn of_both_stores(&self) -> [BTreeMap<PathBuf, String>; 2] {
        [self.data().join("objects"), self.second()].map(|root| {
            let mut tree = BTreeMap::new();
            let bucket = root.join("documents");
            if bucket.exists() {
                walk(&bucket, &mut tree);
            }
            let of_files = tree.into_iter().filter(|(path, _)| path.is_file());
            of_files.map(|(path, what)| (path.strip_prefix(&root).unwrap().to_owned(), what)).collect()
        })
    }

    /// A copy of everything: the other one must not be running.
    pub(crate) fn copy(&self) -> Self {
        let copy = Self::new();
        let source = format!("{}/.", self.temporary.path().display());
        let status = Command::new("cp").args(["-a", &source]).arg(copy.temporary.path()).status().unwrap();
        assert!(status.success());
        copy
    }

    /// A directory beside the data.
    pub(crate) fn place(&self) -> &Path {
        self.temporary.path()
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.place().join("data")
    }

    /// A command, to be changed before it is run.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
        for (name, _) in std::env::vars_os() {
            let starts =
                ["LARDER_", "STORAGE_", "MINIO_", "S3_", "AWS_", "MAX_", "IMAGE_", "SUPPORTED_", "ENABLE_STORAGE_"];
            if starts.iter().any(|start| name.to_string_lossy().starts_with(start)) {
                command.env_remove(name);
            }
        }
        command.args(arguments).env("LARDER_DATA", self.data()).current_dir(self.place());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Said {
        said(self.command(arguments).told())
    }

    /// Runs a command that must succeed; answers its standard output.
    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        let said = self.run(arguments);
        assert!(said.status.success(), "{arguments:?}: {said:?}");
        said.stdout
    }

    /// Runs a command with something on its standard input.
    pub(crate) fn feed(&self, arguments: &[&str], input: &[u8]) -> Said {
        let mut command = self.command(arguments);
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        let output = child.wait_with_output().unwrap();
        secrets::look_through(&command, &output);
        said(output)
    }

    /// A file beside the data.
    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.place().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Puts a file; answers its id.
    pub(crate) fn put(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.file(name, content);
        self.ok(&["put", &path]).trim().to_owned()
    }

    pub(crate) fn user(&self, name: &str, admin: bool) {
        let mut arguments = vec!["user", "add", name, "--password-stdin"];
        arguments.extend(admin.then_some("--admin"));
        let said = self.feed(&arguments, PASSWORD.as_bytes());
        assert!(said.status.success(), "{said:?}");
    }

    pub(crate) fn serve(&self) -> Server {
        Server::start(self.command(&["serve", "--listen", "127.0.0.1:0"])).expect("it serves")
    }

    /// Deletes the database and has it rebuilt: what is dumped before and after must be equal.
    pub(crate) fn assert_rebuilds_equal(&self) {
        let before = self.ok(&["dump"]);
        self.lose_database();
        self.ok(&["rebuild"]);
        assert_eq!(before, self.ok(&["dump"]), "the dump after a rebuild is not the one before");
    }

    /// That nothing is wrong, and that nothing is left of anything that was broken off.
    pub(crate) fn assert_clean(&self) {
        let said = self.run(&["fsck", "--verify", "--json"]);
        assert!(said.status.success() && said.stdout.is_empty(), "{said:?}");
        let staging = [self.data().join("objects"), self.second()].map(|root| root.join(".larder/staging"));
        let left = staging.iter().filter_map(|staging| fs::read_dir(staging).ok()).flat_map(Iterator::flatten);
        let left: Vec<_> = left.filter(|left| left.path().is_dir()).collect();
        assert!(left.is_empty(), "{left:?}");
        assert!(!self.data().join("db.new").exists() && !self.data().join("db.old").exists());
    }

    /// Every file and directory: mode, and the hash of its content.
    pub(crate) fn tree(&self) -> BTreeMap<PathBuf, String> {
        let mut tree = BTreeMap::new();
        walk(self.place(), &mut tree);
        tree
    }
}

fn walk(dir: &Path, tree: &mut BTreeMap<PathBuf, String>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let about = fs::symlink_metadata(&path).unwrap();
        let content = if about.is_file() { sha256(&fs::read(&path).unwrap()) } else { String::new() };
        tree.insert(path.clone(), format!("{:o} {content}", about.mode()));
        if about.is_dir() {
            walk(&path, tree);
        }
    }
}

fn said(output: Output) -> Said {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let said = Said { status: output.status, stdout: text(output.stdout), stderr: text(output.stderr) };
    assert!(!said.stderr.contains("panicked"), "{}", said.stderr);
    said
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(&Sha256::digest(bytes))
}

pub(crate) fn was_killed(status: ExitStatus) -> bool {
    status.signal() == Some(9)
}

/// A running server.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: String,
    lines: Arc<Mutex<Vec<String>>>,
    reader: Option<std::thread::JoinHandle<()>>,
    command: Command,
}

impl Server {
    /// Starts a server and waits until it listens; how it ended, where it never did.
    pub(crate) fn start(mut command: Command) -> Result<Self, Said> {
        let mut child = command.spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (lines, (listening, listens)) = (Arc::<Mutex<Vec<String>>>::default(), mpsc::channel());
        let kept = lines.clone();
        let reader = std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let address = line.strip_prefix("listening on http://").map(str::to_owned);
                kept.lock().unwrap().push(line);
                if let Some(address) = address {
                    let _ = listening.send(address);
                }
            }
        });
        match listens.recv_timeout(DEADLINE) {
            Ok(address) => {
                // A set-up link lies there only while it runs.
                secrets::keep_of(&command);
                Ok(Self { child, address, lines, reader: Some(reader), command })
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {
                let _ = child.kill();
                panic!("it neither serves nor ends: {:?}", lines.lock().unwrap());
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                let status = child.wait().unwrap();
                let mut stdout = String::new();
                child.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
                let stderr = lines.lock().unwrap().join("\n");
                assert!(!stderr.contains("panicked"), "{stderr}");
                secrets::keep_of(&command);
                secrets::assert_kept(&format!("{stdout}\n{stderr}"), "a server that does not start");
                Err(Said { status, stdout, stderr })
            }
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has said so far.
    pub(crate) fn said(&self) -> String {
        self.lines.lock().unwrap().join("\n")
    }

    /// Kills it and does not wait.
    pub(crate) fn send_kill(&self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    }

    /// Kills it as a power cut would.
    pub(crate) fn kill(mut self) -> ExitStatus {
        let _ = self.child.kill();
        self.ended()
    }

    /// Asks it to end, and waits.
    pub(crate) fn stop(mut self) -> ExitStatus {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        self.ended()
    }

    /// Waits for its end.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let status = self.child.wait().unwrap();
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        assert!(!self.said().contains("panicked"), "{}", self.said());
        let mut stdout = vec![];
        if let Some(mut pipe) = self.child.stdout.take() {
            pipe.read_to_end(&mut stdout).unwrap();
        }
        secrets::look_through(&self.command, &Output { status, stdout, stderr: self.said().into_bytes() });
        status
    }

    pub(crate) fn client(&self, user: &str) -> Client {
        Client::log_in(&self.address, user)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            println!("{} said:\n{}", self.address, self.said());
        } else {
            self.ended();
        }
    }
}

/// A user's connection to a server.
#[derive(Clone)]
pub(crate) struct Client {
    agent: ureq::Agent,
    base: String,
    pub(crate) token: String,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{}: {:?}", self.status, self.text()))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Client {
    /// Who has not logged in.
    pub(crate) fn nobody(address: &str) -> Self {
        let config =
            ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(DEADLINE)).proxy(None);
        Self { agent: config.build().into(), base: format!("http://{address}"), token: String::new() }
    }

    pub(crate) fn log_in(address: &str, user: &str) -> Self {
        let mut client = Self::nobody(address);
        let body = format!(r#"{{"username":"{user}","password":"{PASSWORD}"}}"#);
        let headers = [("Content-Type", "application/json")];
        let reply = client.send("POST", "/api/v1/auth/login", &headers, Some(body.as_bytes())).unwrap();
        assert_eq!(reply.status, 200, "{}", reply.text());
        client.token = reply.json()["access_token"].as_str().unwrap().to_owned();
        client
    }

    /// Speaks to another server from now on, with the same token.
    pub(crate) fn move_to(&mut self, server: &Server) {
        self.base = format!("http://{}", server.address);
    }

    /// Sends a request; an error where the connection broke off: then nobody knows.
    pub(crate) fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&[u8]>,
    ) -> Result<Reply, ureq::Error> {
        let mut request = http::Request::builder().method(method).uri(format!("{}{path}", self.base));
        if !self.token.is_empty() {
            request = request.header("Authorization", format!("Bearer {}", self.token));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = match body {
            Some(body) => self.agent.run(request.body(body.to_vec()).unwrap()),
            None => self.agent.run(request.body(()).unwrap()),
        };
        let (head, body) = answer?.into_parts();
        let body = ureq::Body::with_config(&mut { body }).limit(1 << 30).read_to_vec()?;
        secrets::keep_tokens(&body);
        Ok(Reply { status: head.status.as_u16(), headers: head.headers, body })
    }

    pub(crate) fn get(&self, path: &str) -> Reply {
        self.send("GET", path, &[], None).unwrap()
    }

    /// Uploads raw content; answers the record.
    pub(crate) fn upload(&self, name: &str, content: &[u8]) -> Value {
        let path = format!("/api/v1/buckets/documents/files?name={name}");
        let reply = self.send("POST", &path, &[("Content-Type", "application/octet-stream")], Some(content)).unwrap();
        assert_eq!(reply.status, 201, "{}", reply.text());
        reply.json()
    }
}

/// A file system mounted for the length of a test.
pub(crate) struct Mounted(PathBuf);

impl Mounted {
    /// A small one in memory; `None`, and a word about it, where this user can't mount.
    pub(crate) fn new(place: &Path, options: &str) -> Option<Self> {
        let output = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(place).output().ok()?;
        if !output.status.success() {
            println!("skipped: cannot mount here: {}", String::from_utf8_lossy(&output.stderr));
            return None;
        }
        Some(Self(place.to_owned()))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}
