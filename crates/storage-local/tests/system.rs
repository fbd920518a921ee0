//! What only a process of its own can show: a kill, a full disk, too few file descriptors, a failing system call, and the order of
//! the calls. Each child is this very program, run again for one scenario.

#![allow(clippy::unwrap_used)]

use larder_storage_core::{
    Body, ErrorKind, GetOptions, Key, Leftover, OpId, Pair, Part, PutOptions, Result, Staging, Store, StoreExt,
};
use larder_storage_local::{LocalOptions, LocalStore};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

const SCENARIO: &str = "LARDER_TEST_SCENARIO";
const ROOT: &str = "LARDER_TEST_ROOT";

fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

fn op(number: u8) -> OpId {
    OpId::from_random([number; 16])
}

fn pair(number: u8) -> Pair {
    let bytes = key(&format!("a/b/{number}.bin"));
    Pair { op: op(number), attributes: bytes.with_suffix(".attr.json").unwrap(), bytes }
}

fn open(root: &Path) -> Result<LocalStore> {
    LocalStore::open(LocalOptions::new(root))
}

async fn stage(store: &LocalStore, number: u8) -> Result<()> {
    store.stage(&op(number), Part::Bytes, Body::from(vec![number; 5000])).await?;
    store.stage(&op(number), Part::Attributes, Body::from("{}")).await?;
    Ok(())
}

async fn upload(store: &LocalStore, number: u8) -> Result<()> {
    stage(store, number).await?;
    store.publish(&[pair(number)]).await.pop().unwrap()?;
    store.discard(&op(number)).await
}

/// The rule of recovery: with attributes at their key an operation is finished, without it is taken back.
async fn settle(store: &LocalStore) -> Result<Vec<Leftover>> {
    let leftovers = store.leftovers().await?;
    for leftover in &leftovers {
        let number = (1..=9).find(|&number| op(number) == leftover.op).unwrap();
        if store.exists(&pair(number).attributes).await? {
            store.finish(&pair(number)).await?;
        } else {
            store.withdraw(&leftover.op, &pair(number).bytes).await?;
        }
        store.discard(&leftover.op).await?;
    }
    Ok(leftovers)
}

/// Says a line to the parent, past the test harness's capture.
fn say(line: &str) {
    std::io::stderr().write_all(format!("CHILD {line}\n").as_bytes()).unwrap();
}

/// Does one scenario in a child; without one it is no test at all.
#[tokio::test]
async fn child() {
    let (Ok(scenario), Some(root)) = (std::env::var(SCENARIO), std::env::var_os(ROOT)) else { return };
    let root = Path::new(&root);
    let result = match scenario.as_str() {
        "upload" => match open(root) {
            Ok(store) => {
                say("opened");
                upload(&store, 1).await
            }
            Err(error) => Err(error),
        },
        "stage and wait" => stage_and_wait(root).await,
        "few descriptors" => few_descriptors(root).await,
        "everything" => everything(root).await,
        other => panic!("unknown scenario {other}"),
    };
    match result {
        Ok(()) => say("ok"),
        Err(error) => say(&format!("{:?} {}", error.kind(), error.is_temporary())),
    }
}

async fn stage_and_wait(root: &Path) -> Result<()> {
    let store = open(root)?;
    stage(&store, 1).await?;
    stage(&store, 2).await?;
    store.publish(&[pair(2)]).await.pop().unwrap()?;
    say(&format!("node {}", store.node()));
    std::io::stdin().read_line(&mut String::new()).unwrap();
    Ok(())
}

async fn few_descriptors(root: &Path) -> Result<()> {
    let store = open(root)?;
    store.put(&key("f"), Body::from(vec![1; 3 << 20]), PutOptions::create()).await?;
    // The threads that will do it must be there already.
    upload(&store, 1).await?;
    let before = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(3), ..before }).unwrap();
    let errors = [
        store.get(&key("f"), GetOptions::default()).await.unwrap_err(),
        store.put(&key("b"), Body::from("b"), PutOptions::create()).await.unwrap_err(),
        upload(&store, 2).await.unwrap_err(),
        store.delete(&key("f")).await.unwrap_err(),
    ];
    setrlimit(Resource::Nofile, before).unwrap();
    for error in &errors {
        assert!(error.kind() == &ErrorKind::Unavailable && error.is_temporary(), "{error}");
    }
    upload(&store, 2).await?;
    assert!(store.get_bytes(&key("f"), 4 << 20).await.is_ok());
    Ok(())
}

/// Passes every crash point, if nothing kills it: the first run leaves what the second recovers.
async fn everything(root: &Path) -> Result<()> {
    let store = open(root)?;
    settle(&store).await?;
    upload(&store, 1).await?;
    store.put(&key("c/d"), Body::from("old"), PutOptions::create()).await?;
    store.put(&key("c/d"), Body::from("new"), PutOptions::replace()).await?;
    store.delete(&key("c/d")).await?;
    stage(&store, 2).await?;
    store.publish(&[pair(2)]).await.pop().unwrap()?;
    store.finish(&pair(2)).await?;
    store.delete(&pair(2).attributes).await?;
    store.withdraw(&op(2), &pair(2).bytes).await?;
    store.discard(&op(2)).await
}

fn again(scenario: &str, root: &Path, mut command: Command) -> Command {
    let this = std::env::current_exe().unwrap();
    match command.get_program().to_str() {
        Some("self") => command = Command::new(this),
        _ => drop(command.arg(this)),
    }
    command.args(["child", "--exact", "--nocapture", "--test-threads=1"]).env(SCENARIO, scenario).env(ROOT, root);
    command.stdout(Stdio::null()).stderr(Stdio::piped()).stdin(Stdio::piped());
    command
}

/// The lines that the child says, up to its end.
fn lines(child: &mut Child) -> Vec<String> {
    let said = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap_or_default);
    let said = said.collect::<Vec<_>>();
    child.wait().unwrap();
    said.iter().filter_map(|line| Some(line.split_once("CHILD ")?.1.to_owned())).collect()
}

fn run(scenario: &str, root: &Path, command: Command) -> Vec<String> {
    lines(&mut again(scenario, root, command).spawn().unwrap())
}

fn nodes(root: &Path) -> usize {
    let Ok(staging) = std::fs::read_dir(root.join(".larder/staging")) else { return 0 };
    staging.filter(|entry| entry.as_ref().unwrap().file_type().unwrap().is_dir()).count()
}

fn has(program: &str) -> bool {
    let found = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !found {
        eprintln!("skipped: needs {program}");
    }
    found
}

#[tokio::test]
async fn a_killed_process_is_found_dead_by_its_lock_and_settled_by_the_next() {
    let place = tempfile::tempdir().unwrap();
    let mut child = again("stage and wait", place.path(), Command::new("self")).spawn().unwrap();
    let mut said = BufReader::new(child.stderr.as_mut().unwrap()).lines();
    let node = said.find_map(|line| Some(line.unwrap().split_once("CHILD node ")?.1.to_owned())).unwrap();
    let node = larder_storage_core::NodeId::new(&node).unwrap();
    let store = open(place.path()).unwrap();
    assert!(store.is_alive(&node).await.unwrap());
    assert_eq!(settle(&store).await.unwrap(), []);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!store.is_alive(&node).await.unwrap());
    assert_eq!(settle(&store).await.unwrap().len(), 2);
    assert!(!store.exists(&pair(1).bytes).await.unwrap());
    assert!(store.exists(&pair(2).bytes).await.unwrap());
    assert_eq!(nodes(place.path()), 1);
}

#[test]
fn whatever_the_umask_files_are_for_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    for umask in ["000", "077", "777"] {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().join("objects");
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!(r#"umask {umask}; exec "$0" "$@""#)]);
        assert_eq!(run("upload", &root, shell), ["opened", "ok"]);
        let modes = ["", "a", "a/b", "a/b/1.bin", "a/b/1.bin.attr.json"]
            .map(|path| std::fs::metadata(root.join(path)).unwrap().permissions().mode() & 0o777);
        assert_eq!(modes, [0o700, 0o700, 0o700, 0o600, 0o600], "umask {umask}");
    }
}

#[test]
fn too_few_descriptors_are_a_passing_outage() {
    let place = tempfile::tempdir().unwrap();
    assert_eq!(run("few descriptors", place.path(), Command::new("self")), ["ok"]);
    assert_eq!(nodes(place.path()), 0);
}

/// A mounted directory, unmounted when dropped; `None` where it can't be mounted.
struct Mounted(tempfile::TempDir);

impl Mounted {
    fn new(arguments: &[&str]) -> Option<Self> {
        let place = tempfile::tempdir().unwrap();
        let mount = Command::new("mount").args(arguments).arg(place.path()).stderr(Stdio::null()).status();
        if mount.is_ok_and(|status| status.success()) {
            return Some(Self(place));
        }
        eprintln!("skipped: needs root, to mount {arguments:?}");
        None
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0.path()).status();
    }
}

#[tokio::test]
async fn a_full_disk_is_told_and_nothing_half_made_is_left() {
    let Some(disk) = Mounted::new(&["-t", "tmpfs", "-o", "size=2m", "tmpfs"]) else { return };
    let store = open(disk.0.path()).unwrap();
    upload(&store, 1).await.unwrap();
    for size in [1_500_000, 3_000_000, 30_000_000] {
        // Announced or not, at hand or streamed, at once or in the middle.
        let stream = || {
            let blocks = (0..size / 100_000).map(|_| Ok(bytes::Bytes::from(vec![7; 100_000])));
            futures_util::StreamExt::boxed(futures_util::stream::iter(blocks))
        };
        store.put(&key("filler"), Body::from(vec![0; 1_000_000]), PutOptions::create()).await.unwrap();
        for body in [Body::from(vec![7; size]), Body::once(stream(), None), Body::once(stream(), Some(size as u64))] {
            let error = store.stage(&op(2), Part::Bytes, body).await.unwrap_err();
            assert_eq!(error.kind(), &ErrorKind::Full, "{error}");
        }
        store.delete(&key("filler")).await.unwrap();
    }
    upload(&store, 2).await.unwrap();
    drop(store);
    assert_eq!(nodes(disk.0.path()), 0);
}

#[tokio::test]
async fn a_read_only_file_system_is_read_and_never_written() {
    let place = tempfile::tempdir().unwrap();
    upload(&open(place.path()).unwrap(), 1).await.unwrap();
    let Some(disk) = Mounted::new(&["--bind", place.path().to_str().unwrap()]) else { return };
    assert!(Command::new("mount").args(["-o", "remount,ro,bind"]).arg(disk.0.path()).status().unwrap().success());
    let store = open(disk.0.path()).unwrap();
    assert_eq!(store.get_bytes(&pair(1).bytes, 10_000).await.unwrap().len(), 5000);
    let errors = [
        store.put(&key("a"), Body::from("a"), PutOptions::create()).await.unwrap_err(),
        store.delete(&pair(1).bytes).await.unwrap_err(),
        stage(&store, 2).await.unwrap_err(),
        store.publish(&[pair(1)]).await.pop().unwrap().unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind(), &ErrorKind::ReadOnly, "{error}");
    }
}

#[test]
fn nothing_is_answered_before_files_and_folders_are_synced() {
    if !has("strace") {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let (root, log) = (place.path().join("objects"), place.path().join("log"));
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-y", "-s", "200", "-e", "trace=fsync,linkat,mkdirat,unlinkat,write", "-o"]).arg(&log);
    let said = run("upload", &root, strace);
    assert_eq!(said, ["opened", "ok"]);
    let log = std::fs::read_to_string(log).unwrap();
    let calls: Vec<&str> = log.lines().skip_while(|line| !line.contains("CHILD opened")).collect();
    let root = root.to_str().unwrap();
    let at = |parts: &[&str]| {
        let found = calls.iter().position(|call| parts.iter().all(|part| call.contains(part)));
        found.unwrap_or_else(|| panic!("no call with {parts:?} in\n{}", calls.join("\n")))
    };
    let order = [
        at(&["fsync(", ".bytes>"]),
        at(&["fsync(", ".attr>"]),
        at(&["mkdirat(", "\"a\""]),
        at(&["mkdirat(", "\"b\""]),
        at(&["linkat(", "\"1.bin\""]),
        at(&["linkat(", "\"1.bin.attr.json\""]),
        at(&["fsync(", &format!("<{root}/a/b>")]),
        at(&["fsync(", &format!("<{root}/a>")]),
        at(&["fsync(", &format!("<{root}>")]),
        at(&["unlinkat(", ".attr\""]),
        at(&["write(", "CHILD ok"]),
    ];
    assert!(order.is_sorted(), "{order:?} in\n{}", calls.join("\n"));
}

#[tokio::test]
async fn whichever_call_fails_the_outcome_is_told_and_recovery_settles_it() {
    if !has("strace") {
        return;
    }
    let faults = [("fsync", "EIO", 12), ("linkat", "ENOSPC", 3), ("mkdirat", "ENOSPC", 5), ("pwritev", "ENOSPC", 2)];
    for (call, errno, passes) in faults {
        let mut failed = 0;
        for pass in 1..=passes {
            let place = tempfile::tempdir().unwrap();
            let root = place.path().join("objects");
            let mut strace = Command::new("strace");
            let inject = format!("inject={call}:error={errno}:when={pass}");
            strace.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}"), "-e", &inject]);
            let said = run("upload", &root, strace);
            let outcome = said.last().unwrap().as_str();
            let store = open(&root).unwrap();
            let published = store.exists(&pair(1).bytes).await.unwrap();
            assert_eq!(published, store.exists(&pair(1).attributes).await.unwrap(), "{call} {pass}: {said:?}");
            match outcome {
                "ok" => assert!(published, "{call} {pass}"),
                "Indeterminate false" => assert_eq!(call, "fsync"),
                "Unavailable false" => assert!(!published && call == "fsync", "{call} {pass}"),
                "Full false" => assert!(!published && errno == "ENOSPC", "{call} {pass}"),
                other => panic!("{call} {pass}: {other}"),
            }
            settle(&store).await.unwrap();
            let published = store.exists(&pair(1).bytes).await.unwrap();
            assert_eq!(published, store.exists(&pair(1).attributes).await.unwrap());
            assert_eq!(nodes(&root), 1, "{call} {pass}: {said:?}");
            failed += usize::from(outcome != "ok");
        }
        assert!(failed > 0, "no {call} was hit");
    }
}

#[cfg(feature = "crash-points")]
#[tokio::test]
async fn a_kill_at_any_named_step_is_settled_by_the_next_start() {
    for point in larder_storage_local::CRASH_POINTS {
        let place = tempfile::tempdir().unwrap();
        let mut command = again("everything", place.path(), Command::new("self"));
        let mut child = command.env("LARDER_CRASH_POINT", point).spawn().unwrap();
        let said = lines(&mut child);
        let status = child.wait().unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9), "{point}: {said:?}");
        let store = open(place.path()).unwrap();
        settle(&store).await.unwrap();
        for number in [1, 2] {
            let whole = store.exists(&pair(number).bytes).await.unwrap();
            assert_eq!(store.exists(&pair(number).attributes).await.unwrap(), whole, "{point}");
        }
        if let Ok(bytes) = store.get_bytes(&key("c/d"), 10).await {
            assert!(bytes == "old" || bytes == "new", "{point}");
        }
        assert_eq!(nodes(place.path()), 1, "{point}");
    }
}
