//! S3 servers for tests: installed where they are missing, each in a folder of its own on a port of its own, ended by its process id.
//!
//! `up` leaves a server running until `down`, and prints what tells a test of it; `run` has one only while a command runs.

mod ceph;

use std::{
    env, fs,
    io::{self, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
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
    /// The programs, below the folder of servers; the first is the one that answers.
    programs: &'static [&'static str],
    /// Commands that install it, with `{}` for the folder of servers.
    install: &'static [&'static [&'static str]],
    /// Whether they install it into the system, as root: only where somebody asks for it by name.
    in_system: bool,
    /// What the commands need, and a command that succeeds where that is there.
    needs: &'static str,
    asks: &'static [&'static str],
    key: &'static str,
    secret: &'static str,
    start: fn(&Kind, &mut Command, &Path, u16) -> Result<()>,
}

const KINDS: &[Kind] = &[
    Kind {
        name: "minio",
        programs: &["minio"],
        install: &[&["go", "install", "github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c"]],
        in_system: false,
        needs: "Go",
        asks: &["go", "version"],
        key: "larder",
        secret: "larder-secret",
        start: minio,
    },
    Kind {
        name: "versitygw",
        programs: &["versitygw"],
        install: &[&["go", "install", "github.com/versity/versitygw/cmd/versitygw@v1.8.0"]],
        in_system: false,
        needs: "Go",
        asks: &["go", "version"],
        key: "larder",
        secret: "larder-secret",
        start: versitygw,
    },
    Kind {
        name: "garage",
        programs: &["bin/garage"],
        install: &[&["cargo", "install", "garage", "--version", "2.5.0", "--locked", "--root", "{}"]],
        in_system: false,
        needs: "13 minutes of a processor",
        asks: &["cargo", "--version"],
        key: "GK6c61726465726c6172646572",
        secret: "6c61726465726c61726465726c61726465726c61726465726c61726465726c61",
        start: garage,
    },
    Kind {
        name: "moto",
        programs: &["moto-5.2.5/bin/moto_server"],
        install: &[
            &["python3", "-m", "venv", "--clear", "{}/moto-5.2.5"],
            &["{}/moto-5.2.5/bin/python", "-m", "pip", "install", "--quiet", "moto[server]==5.2.5"],
        ],
        in_system: false,
        needs: "Python with `venv` and `ensurepip`",
        asks: &["python3", "-c", "import ensurepip, venv"],
        key: "larder",
        secret: "larder-secret",
        start: moto,
    },
    Kind {
        name: "ceph",
        programs: &["/usr/bin/radosgw", "/usr/bin/ceph-mon", "/usr/bin/ceph-osd"],
        install: &[
            &["apt-get", "update", "--quiet"],
            &["apt-get", "install", "--quiet", "--yes", "--no-install-recommends", "ceph-mon", "ceph-osd", "radosgw"],
        ],
        in_system: true,
        needs: "a Debian and root",
        asks: &["apt-get", "--version"],
        key: "larder",
        secret: "larder-secret",
        start: ceph::start,
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
        let installed = is_there(is_installed(kind)?, "installed");
        say(&format!("{:<10} {installed:<10} {}", kind.name, is_there(folder(kind, "up").exists(), "up")));
    }
    Ok(())
}

fn run_with(kind: &'static Kind, program: &str, arguments: &[&str]) -> Result<()> {
    let server = Server::start(kind)?;
    let status = Command::new(program).args(arguments).envs(server.environment()).status()?;
    ensure!(status.success(), "`{program}` failed");
    Ok(())
}

impl Server {
    /// Starts one that nobody asked for by its name; else why there is none.
    ///
    /// # Errors
    /// Of an unknown name, and where it can't be installed or does not start.
    pub(crate) fn start_if_can_be(name: &str) -> Result<Result<Self, String>> {
        let kind = kind(name)?;
        match lacking(kind, is_installed(kind)?) {
            Some(why) => Ok(Err(why)),
            None => Self::start(kind).map(Ok),
        }
    }

    fn start(kind: &'static Kind) -> Result<Self> {
        Self::start_in(kind, folder(kind, &std::process::id().to_string()))
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
        let mut command = Command::new(program);
        (kind.start)(kind, &mut command, &server.folder, port)?;
        let child = spawned(&mut command, &server.folder).with_context(|| format!("cannot start `{}`", kind.name))?;
        server.wait(child)
    }

    fn wait(self, mut child: Child) -> Result<Self> {
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

/// Starts a process of a server in its folder, where its id is kept.
fn spawned(command: &mut Command, folder: &Path) -> Result<Child> {
    let appended = |name: &str| fs::File::options().create(true).append(true).open(folder.join(name));
    let log = appended("log")?;
    command.current_dir(folder).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    let child = command.spawn()?;
    writeln!(appended("pid")?, "{}", child.id())?;
    Ok(child)
}

/// Ends the server of a folder, by the ids that stand in it, and takes the folder away.
fn down(folder: &Path) -> Result<()> {
    ensure!(folder.is_dir(), "no server is up");
    let pids = fs::read_to_string(folder.join("pid")).unwrap_or_default();
    for pid in pids.lines().rev() {
        let works_in = fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default();
        // The id may be another's by now: only who works below that folder is ended (some go into a folder of their own there).
        if works_in.starts_with(fs::canonicalize(folder)?) {
            end(pid)?;
        }
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

/// Why one is not there for whoever has not asked for it by its name.
fn lacking(kind: &Kind, is_installed: bool) -> Option<String> {
    let Kind { name, needs, .. } = kind;
    match is_installed {
        true => None,
        false if kind.in_system => {
            Some(format!("`{name}` is not installed; `cargo xtask s3 up {name}` does that, into the system"))
        }
        false => (!succeeds(kind.asks)).then(|| format!("`{name}` is not installed, and needs {needs}")),
    }
}

fn is_installed(kind: &Kind) -> Result<bool> {
    let servers = servers()?;
    Ok(kind.programs.iter().all(|program| servers.join(program).is_file()))
}

fn succeeds(words: &[&str]) -> bool {
    Command::new(words[0]).args(&words[1..]).output().is_ok_and(|told| told.status.success())
}

/// The server's program, installed where it is missing, with as little hurry as there can be.
fn installed(kind: &Kind) -> Result<PathBuf> {
    let servers = servers()?;
    let program = servers.join(kind.programs[0]);
    if is_installed(kind)? {
        return Ok(program);
    }
    let may = !kind.in_system || rustix::process::geteuid().is_root();
    ensure!(may && succeeds(kind.asks), "`{}` is missing, and needs {}", kind.name, kind.needs);
    let place = if kind.in_system { "the system".to_owned() } else { servers.display().to_string() };
    eprintln!("installing `{}` into {place}", kind.name);
    fs::create_dir_all(&servers)?;
    for words in kind.install {
        let words = words.iter().map(|word| word.replace("{}", &place));
        let mut install = Command::new("nice");
        install.args(["-n", "19"]).args(words).env("GOBIN", &servers).env("GOFLAGS", "-p=1");
        // What is printed on standard output is for a shell to read.
        let status = install.env("DEBIAN_FRONTEND", "noninteractive").stdout(io::stderr()).status()?;
        ensure!(status.success(), "`{}` could not be installed", kind.name);
    }
    ensure!(is_installed(kind)?, "`{}` could not be installed", kind.name);
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

/// It takes any key, and any signature.
fn moto(_: &Kind, command: &mut Command, _: &Path, port: u16) -> Result<()> {
    command.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_into_the_system_is_installed_only_where_it_is_asked_for_by_name() {
        let ceph = kind("ceph").unwrap();
        assert_eq!(lacking(ceph, true), None);
        let why = lacking(ceph, false).unwrap();
        assert!(why.contains("cargo xtask s3 up ceph"), "{why}");
        let garage = kind("garage").unwrap();
        assert_eq!(lacking(garage, false), None, "there is a cargo, which runs this");
        let nowhere = Kind { asks: &["no-such-command"], ..*garage };
        assert!(lacking(&nowhere, false).unwrap().contains(garage.needs));
    }

    #[test]
    fn every_process_of_a_server_ends_with_it_and_no_other() {
        let folder = env::temp_dir().join(format!("larder-s3-test-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let waits = |folder: &Path| spawned(Command::new("sleep").arg("1000"), folder).unwrap();
        let ours = [waits(&folder), waits(&folder)];
        let mut other = Command::new("sleep").arg("1000").current_dir("/").spawn().unwrap();
        let ids = fs::read_to_string(folder.join("pid")).unwrap();
        fs::write(folder.join("pid"), format!("{ids}{}\n", other.id())).unwrap();
        down(&folder).unwrap();
        for mut process in ours {
            assert!(process.try_wait().unwrap().is_some(), "a process is left");
        }
        assert!(other.try_wait().unwrap().is_none() && !folder.exists());
        other.kill().unwrap();
        other.wait().unwrap();
        assert!(down(&folder).unwrap_err().to_string().contains("no server is up"));
    }
}
