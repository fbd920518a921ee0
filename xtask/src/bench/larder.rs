//! Larder as its users meet it: the binary, its command line, its routes.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::process::Server;
use super::wire::Client;

const PASSWORD: &str = "a password for measurements only";

/// A running server and a way in.
pub(crate) struct Larder {
    server: Server,
    token: String,
}

impl Larder {
    /// Makes a directory with one user, serves it and logs in.
    pub(crate) fn start(binary: &Path, data: &Path) -> Result<Self> {
        Self::start_with(binary, data, &[])
    }

    /// The same with variables of the configuration.
    pub(crate) fn start_with(binary: &Path, data: &Path, variables: &[(&str, &str)]) -> Result<Self> {
        add_user(binary, data)?;
        let server = serve_with(binary, data, variables)?;
        let token = log_in(server.address())?;
        Ok(Self { server, token })
    }

    pub(crate) fn client(&self) -> Result<Client> {
        Client::connect(self.address(), self.token())
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.server.address()
    }

    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    pub(crate) fn pid(&self) -> u32 {
        self.server.pid()
    }
}

/// Starts the server on a port that the system chooses.
pub(crate) fn serve(binary: &Path, data: &Path) -> Result<Server> {
    serve_with(binary, data, &[])
}

fn serve_with(binary: &Path, data: &Path, variables: &[(&str, &str)]) -> Result<Server> {
    let mut command = Command::new(binary);
    command.envs(variables.iter().copied()).arg("--data").arg(data).args(["serve", "--listen", "127.0.0.1:0"]);
    let log = data.with_extension("log");
    Server::start(&mut command, &log).with_context(|| fs::read_to_string(&log).unwrap_or_default())
}

/// The path that uploads go to.
pub(crate) fn upload_path(name: &str) -> String {
    format!("/api/v1/buckets/documents/files?name={name}")
}

/// The path of a file's content, from the record that its upload answered.
pub(crate) fn content_path(record: &Value) -> Result<String> {
    Ok(format!("/api/v1/files/{}/content", id(record)?))
}

/// The path of a preset of a picture.
pub(crate) fn rendition_path(record: &Value, preset: &str) -> Result<String> {
    Ok(format!("/api/v1/files/{}/renditions/{preset}", id(record)?))
}

/// The path that recipes of a picture are signed at.
pub(crate) fn recipes_path(record: &Value) -> Result<String> {
    Ok(format!("/api/v1/files/{}/renditions", id(record)?))
}

/// The path that removes a file for ever.
pub(crate) fn purge_path(record: &Value) -> Result<String> {
    Ok(format!("/api/v1/files/{}?purge=true", id(record)?))
}

fn id(record: &Value) -> Result<&str> {
    record["id"].as_str().with_context(|| format!("a record without an id: {record}"))
}

fn add_user(binary: &Path, data: &Path) -> Result<()> {
    let mut child = Command::new(binary)
        .arg("--data")
        .arg(data)
        .args(["user", "add", "bench", "--admin", "--password-stdin"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{}`", binary.display()))?;
    writeln!(child.stdin.take().expect("standard input is piped"), "{PASSWORD}")?;
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "cannot add a user: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

fn log_in(address: SocketAddr) -> Result<String> {
    let body = json!({"username": "bench", "password": PASSWORD}).to_string();
    let (status, answer) = Client::connect(address, "")?.ask("POST", "/api/v1/auth/login", body.as_bytes())?;
    ensure!(status == 200, "log-in answered {status}: {}", String::from_utf8_lossy(&answer));
    let answer: Value = serde_json::from_slice(&answer)?;
    Ok(answer["access_token"].as_str().context("a log-in without `access_token`")?.to_owned())
}
