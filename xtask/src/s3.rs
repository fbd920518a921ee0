//! S3 servers for tests: installed where they are missing, each in a folder of its own on a port of its own, ended by its process id.
//!
//! `up` leaves a server running until `down`, and prints what tells a test of it; `run` has one only while a command runs.

use std::{
    env, fs,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

/// For how long it may take to come up.
const PATIENCE: Duration = Duration::from_secs(30);
const BUCKET: &str = "larder-suite";
const REGION: &str = "us-east-1";

/// A server: how it is installed, and how it starts.
struct Kind {
    name: &'static str,
    /// The program, below the folder of servers.
    program: &'static str,
    /// A command that installs it, with `{}` for the folder of servers.
    install: &'static [&'static str],
    /// What the command needs.
    needs: &'static str,
    key: &'static str,
    secret: &'static str,
    start: fn(&Kind, &mut Command, &Path, u16) -> Result<()>,
}

const KINDS: &[Kind] = &[
    Kind {
        name: "minio",
        program: "minio",
        install: &["go", "install", "github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c"],
        needs: "Go",
        key: "larder",
        secret: "larder-secret",
        start: minio,
    },
    Kind {
        name: "versitygw",
        program: "versitygw",
        install: &["go", "install", "github.com/versity/versitygw/cmd/versitygw@v1.8.0"],
        needs: "Go",
        key: "larder",
        secret: "larder-secret",
        start: versitygw,
    },
    Kind {
        name: "garage",
        program: "bin/garage",
        install: &["cargo", "install", "garage", "--version", "2.5.0", "--locked", "--root", "{}"],
        needs: "13 minutes of a processor",
        key: "GK6c61726465726c6172646572",
        secret: "6c61726465726c61726465726c61726465726c61726465726c61726465726c61",
        start: garage,
    },
];

/// A server that ends when this is dropped.
pub(crate) struct Server {
    kind: &'static Kind,
    folder: PathBuf,
    port: u16,
}

/// `cargo xtask s3 up|down NAME`, `list`, `run NAME COMMAND…`.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["up", name] => up(kind(name)?),
        ["down", name] => down(&folder(kind(name)?, "up")),
        ["list"] => list(),
        ["run", name, program, ref rest @ ..] => run_with(kind(name)?, program, rest),
        _ => bail!("say `up NAME`, `down NAME`, `list` or `run NAME COMMAND…`; names are {}", names()),
    }
}

fn names() -> String {
    KINDS.iter().map(|kind| kind.name).collect::<Vec<_>>().join(", ")
}

fn kind(name: &str) -> Result<&'static Kind> {
    let found = KINDS.iter().find(|kind| kind.name == name);
    found.with_context(|| format!("unknown server `{name}`; names are {}", names()))
}

fn up(kind: &'static Kind) -> Result<()> {
    let folder = folder(kind, "up");
    ensure!(!folder.exists(), "it is up already, or was not taken down: `cargo xtask s3 down {}`", kind.name);
    let server = Server::start_in(kind, folder)?;
    for (name, value) in server.environment() {
        say(&format!("export {name}={value}"));
    }
    // It outlives this process; `down` finds its id in the folder.
    std::mem::forget(server);
    Ok(())
}

/// For a shell to read: everything else goes to standard error.
#[allow(clippy::print_stdout, reason = "it is what was asked for")]
fn say(line: &str) {
    println!("{line}");
}

fn list() -> Result<()> {
    for kind in KINDS {
        let is_there = |truth: bool, words: &'static str| if truth { words } else { "" };
        let installed = is_there(servers()?.join(kind.program).is_file(), "installed");
        say(&format!("{:<10} {installed:<10} {}", kind.name, is_there(folder(kind, "up").exists(), "up")));
    }
    Ok(())
}

fn run_with(kind: &'static Kind, program: &str, arguments: &[&str]) -> Result<()> {
    let server = Server::start(kind.name)?.with_context(|| format!("`{}` needs {}", kind.name, kind.needs))?;
    let status = Command::new(program).args(arguments).envs(server.environment()).status()?;
    ensure!(status.success(), "`{program}` failed");
    Ok(())
}

impl Server {
    /// Starts one; `None` where what its installation needs is missing.
    ///
    /// # Errors
    /// Of an unknown name, and where it is installed and does not start.
    pub(crate) fn start(name: &str) -> Result<Option<Self>> {
        let kind = kind(name)?;
        if !servers()?.join(kind.program).is_file() && !is_command(kind.install[0]) {
            return Ok(None);
        }
        Self::start_in(kind, folder(kind, &std::process::id().to_string())).map(Some)
    }

    /// What tells tests of it.
    pub(crate) fn environment(&self) -> [(&'static str, String); 6] {
        [
            ("S3_SERVER", self.kind.name.into()),
            ("S3_ENDPOINT", format!("http://127.0.0.1:{}", self.port)),
            ("S3_BUCKET", BUCKET.into()),
            ("AWS_REGION", REGION.into()),
            ("AWS_ACCESS_KEY_ID", self.kind.key.into()),
            ("AWS_SECRET_ACCESS_KEY", self.kind.secret.into()),
        ]
    }

    fn start_in(kind: &'static Kind, folder: PathBuf) -> Result<Self> {
        let program = installed(kind)?;
        fs::create_dir(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let server = Self { kind, folder, port };
        let log = fs::File::create(server.folder.join("log"))?;
        let mut command = Command::new(program);
        command.current_dir(&server.folder).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        (kind.start)(kind, &mut command, &server.folder, port)?;
        let child = command.spawn().with_context(|| format!("cannot start `{}`", kind.name))?;
        fs::write(server.folder.join("pid"), child.id().to_string())?;
        server.wait(child)
    }

    fn wait(self, mut child: std::process::Child) -> Result<Self> {
        let since = Instant::now();
        while since.elapsed() < PATIENCE {
            if let Some(status) = child.try_wait()? {
                bail!("`{}` ended ({status}): {}", self.kind.name, self.log());
            }
            if TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                return Ok(self);
            }
            thread::sleep(Duration::from_millis(20));
        }
        bail!("`{}` did not answer within {} s: {}", self.kind.name, PATIENCE.as_secs(), self.log())
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Err(error) = down(&self.folder) {
            eprintln!("`{}` was not taken down: {error:#}", self.kind.name);
        }
    }
}

/// Ends the server of a folder, by the id that stands in it, and takes the folder away.
fn down(folder: &Path) -> Result<()> {
    let pid = fs::read_to_string(folder.join("pid")).context("no server is up")?;
    let works_in = fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default();
    // The id may be another's by now: only who works below that folder is ended (some go into a folder of their own there).
    if works_in.starts_with(fs::canonicalize(folder)?) {
        end(&pid)?;
    }
    fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))
}

/// Ends a process, at the latest by force.
fn end(pid: &str) -> Result<()> {
    for signal in ["-TERM", "-KILL"] {
        drop(Command::new("kill").args([signal, pid]).status());
        let since = Instant::now();
        while since.elapsed() < PATIENCE {
            if !is_running(pid) {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
    bail!("process {pid} does not end")
}

/// Whether the process does anything yet; one that has ended and was not waited for does not.
fn is_running(pid: &str) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    status.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.trim_start().starts_with('Z'))
}

fn folder(kind: &Kind, which: &str) -> PathBuf {
    env::temp_dir().join(format!("larder-s3-{}-{which}", kind.name))
}

/// Where servers are installed: a cache, which may be deleted at any time.
fn servers() -> Result<PathBuf> {
    let home = env::var_os("HOME").context("`HOME` is not set")?;
    Ok(PathBuf::from(home).join(".cache/larder/servers"))
}

fn is_command(name: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| folder.join(name).is_file())
}

/// The server's program, installed where it is missing, with as little hurry as there can be.
fn installed(kind: &Kind) -> Result<PathBuf> {
    let servers = servers()?;
    let program = servers.join(kind.program);
    if program.is_file() {
        return Ok(program);
    }
    ensure!(is_command(kind.install[0]), "`{}` is missing, and needs {}", kind.name, kind.needs);
    eprintln!("installing `{}` into {}", kind.name, servers.display());
    fs::create_dir_all(&servers)?;
    let place = servers.display().to_string();
    let words = kind.install.iter().map(|word| word.replace("{}", &place));
    let status =
        Command::new("nice").args(["-n", "19"]).args(words).env("GOBIN", &servers).env("GOFLAGS", "-p=1").status()?;
    ensure!(status.success() && program.is_file(), "`{}` could not be installed", kind.name);
    Ok(program)
}

fn minio(kind: &Kind, command: &mut Command, folder: &Path, port: u16) -> Result<()> {
    command.env("MINIO_ROOT_USER", kind.key).env("MINIO_ROOT_PASSWORD", kind.secret).env("MINIO_BROWSER", "off");
    command.arg("server").arg(folder.join("data")).args(["--address", &format!("127.0.0.1:{port}")]);
    Ok(())
}

fn versitygw(kind: &Kind, command: &mut Command, folder: &Path, port: u16) -> Result<()> {
    let data = folder.join("data");
    fs::create_dir(&data)?;
    command.env("ROOT_ACCESS_KEY", kind.key).env("ROOT_SECRET_KEY", kind.secret);
    command.args(["--port", &format!("127.0.0.1:{port}"), "posix"]).arg(data);
    Ok(())
}

fn garage(kind: &Kind, command: &mut Command, folder: &Path, port: u16) -> Result<()> {
    let place = folder.display();
    let rpc = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
    let configuration = format!(
        "metadata_dir = \"{place}/meta\"\ndata_dir = \"{place}/data\"\ndb_engine = \"sqlite\"\nreplication_factor = 1\n\
         rpc_bind_addr = \"127.0.0.1:{rpc}\"\nrpc_secret = \"{secret}\"\n\n\
         [s3_api]\ns3_region = \"{REGION}\"\napi_bind_addr = \"127.0.0.1:{port}\"\n",
        secret = kind.secret,
    );
    fs::write(folder.join("garage.toml"), configuration)?;
    command.env("GARAGE_DEFAULT_ACCESS_KEY", kind.key).env("GARAGE_DEFAULT_SECRET_KEY", kind.secret);
    command.env("GARAGE_DEFAULT_BUCKET", BUCKET).args([
        "-c",
        "garage.toml",
        "server",
        "--single-node",
        "--default-bucket",
    ]);
    Ok(())
}
