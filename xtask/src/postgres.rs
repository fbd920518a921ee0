//! A PostgreSQL server for tests: in a folder of its own, reached by a socket in it, never as root, gone when what needed it ends.

use std::{
    env, fs,
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

/// Where tests are told of the server: a URL of a database in which they may make schemas.
pub(crate) const VARIABLE: &str = "LARDER_TEST_POSTGRES";

/// For how long it may take to come up.
const PATIENCE: Duration = Duration::from_secs(60);

/// Debian's `nobody` and `nogroup`: the server refuses to run as root.
const NOBODY: u32 = 65_534;

/// A server that ends when this is dropped.
pub(crate) struct Server {
    child: Child,
    folder: PathBuf,
}

impl Server {
    /// Starts one; `None` where PostgreSQL is not installed.
    ///
    /// # Errors
    /// Where it is installed and does not start.
    pub(crate) fn start() -> Result<Option<Self>> {
        let Some(programs) = programs() else { return Ok(None) };
        let folder = env::temp_dir().join(format!("larder-postgres-{}", std::process::id()));
        fs::create_dir(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        match begin(&programs, &folder) {
            Ok(child) => Ok(Some(Self { child, folder })),
            Err(error) => {
                drop(fs::remove_dir_all(&folder));
                Err(error)
            }
        }
    }

    /// Where tests reach it.
    pub(crate) fn url(&self) -> String {
        format!("postgres://larder@localhost/postgres?host={}", self.folder.display())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // SIGQUIT: it ends at once, and its children with it. Nothing in it is worth a checkpoint.
        let pid = self.child.id().to_string();
        drop(Command::new("kill").args(["-QUIT", &pid]).status());
        drop(self.child.wait());
        drop(fs::remove_dir_all(&self.folder));
    }
}

/// `cargo xtask postgres COMMAND…`: runs a command while tests have a server.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let Some((program, arguments)) = arguments.split_first() else {
        bail!("name a command, such as `cargo xtask postgres cargo test -p larder-ledger --test postgres`");
    };
    let server = Server::start()?.context("PostgreSQL is not installed: `apt-get install postgresql`")?;
    let status = Command::new(program).args(arguments).env(VARIABLE, server.url()).status()?;
    ensure!(status.success(), "`{program}` failed");
    Ok(())
}

/// The folder of `initdb` and `postgres`: Debian keeps them out of the PATH.
fn programs() -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut versions: Vec<_> = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().collect();
    versions.sort_by_key(|entry| entry.file_name());
    let debian = versions.into_iter().rev().map(|entry| entry.path().join("bin"));
    let has_both = |folder: &PathBuf| ["initdb", "postgres"].iter().all(|program| folder.join(program).is_file());
    debian.chain(env::split_paths(&path)).find(has_both)
}

fn begin(programs: &Path, folder: &Path) -> Result<Child> {
    let is_root = rustix::process::geteuid().is_root();
    if is_root {
        chown(folder, Some(NOBODY), Some(NOBODY))?;
    }
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700))?;
    let as_nobody = |program: &str| {
        let program = programs.join(program);
        let mut command = if is_root {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        command.current_dir(folder).stdin(Stdio::null()).env("LC_ALL", "C.UTF-8");
        command
    };
    let data = folder.join("data");
    let options = ["--username=larder", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"];
    let made = as_nobody("initdb").args(options).arg("-D").arg(&data).output()?;
    ensure!(made.status.success(), "initdb failed: {}", String::from_utf8_lossy(&made.stderr));
    let log = fs::File::create(folder.join("log"))?;
    let child = as_nobody("postgres")
        .args(["-c", "listen_addresses=", "-c", "max_connections=300", "-c", "shared_buffers=32MB"])
        .arg("-k")
        .arg(folder)
        .arg("-D")
        .arg(&data)
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()?;
    wait(child, folder)
}

/// Waits until the server says that it is ready (the last line of `postmaster.pid`).
fn wait(mut child: Child, folder: &Path) -> Result<Child> {
    let since = Instant::now();
    let log = || fs::read_to_string(folder.join("log")).unwrap_or_default();
    while since.elapsed() < PATIENCE {
        let told = fs::read_to_string(folder.join("data/postmaster.pid")).unwrap_or_default();
        if told.lines().nth(7).is_some_and(|state| state.trim() == "ready") {
            return Ok(child);
        }
        if let Some(status) = child.try_wait()? {
            bail!("postgres ended ({status}): {}", log());
        }
        thread::sleep(Duration::from_millis(20));
    }
    drop(child.kill());
    bail!("postgres was not ready within {} s: {}", PATIENCE.as_secs(), log())
}
