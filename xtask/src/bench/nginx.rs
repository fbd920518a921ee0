//! nginx as Debian ships it, with its own configuration in a folder of ours.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::process::Server;

/// Starts nginx over the files in `root`; everything it writes stays in `folder`.
pub(crate) fn start(folder: &Path, root: &Path) -> Result<Server> {
    let program = program()?;
    fs::create_dir_all(folder)?;
    // nginx cannot say which port it was given, so one that was free a moment ago is named to it.
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let configuration = folder.join("nginx.conf");
    fs::write(&configuration, text(folder, root, address))?;
    let child = Command::new(program)
        .arg("-p")
        .arg(folder)
        .arg("-c")
        .arg(&configuration)
        .args(["-e", "error.log"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(fs::File::create(folder.join("stderr.log"))?)
        .spawn()
        .context("cannot start nginx")?;
    Server::adopt(child, address).with_context(|| format!("nginx did not start; see `{}`", folder.display()))
}

/// Finds nginx, or installs it where that needs no question.
fn program() -> Result<PathBuf> {
    let found = || {
        ["/usr/sbin/nginx", "/usr/bin/nginx", "/usr/local/sbin/nginx"]
            .map(PathBuf::from)
            .into_iter()
            .find(|it| it.exists())
    };
    if let Some(program) = found() {
        return Ok(program);
    }
    if rustix::process::geteuid().is_root() {
        eprintln!("installing nginx");
        let installed = Command::new("apt-get")
            .args(["install", "-y", "--no-install-recommends", "nginx-light"])
            // As if the machine were in single-user mode: the package must not start a server of its own.
            .envs([("DEBIAN_FRONTEND", "noninteractive"), ("RUNLEVEL", "1")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status();
        if let (Ok(_), Some(program)) = (installed, found()) {
            return Ok(program);
        }
    }
    bail!("nginx is not installed")
}

/// What an administrator who wants files served fast would write.
fn text(folder: &Path, root: &Path, address: SocketAddr) -> String {
    // Workers of a root's nginx become somebody who may not read our folder.
    let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
    let (folder, root) = (folder.display(), root.display());
    format!(
        "daemon off;
{user}
worker_processes auto;
pid {folder}/nginx.pid;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 100000000;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen {address};
        root {root};
    }}
}}
"
    )
}
