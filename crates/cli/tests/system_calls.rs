//! The order of system calls of one upload, from a trace: nothing is answered before all of it is durable.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails loudly and tells what it skips")]

mod common;

use common::{Larder, Server};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::Command,
};

/// One finished call: its text with what a second thread broke in two put together again.
fn calls(log: &str) -> Vec<(String, String)> {
    let mut begun: BTreeMap<&str, String> = BTreeMap::new();
    let mut calls = Vec::new();
    for line in log.lines() {
        let Some((pid, text)) = line.split_once(' ') else { continue };
        let text = text.trim_start();
        if let Some(half) = text.strip_suffix("<unfinished ...>") {
            let half = half.trim_end();
            begun.insert(pid, half.to_owned());
            // What is sent counts from when it began; what is synced only when it is done.
            if !half.contains("sync(") {
                calls.push((pid.to_owned(), half.to_owned()));
            }
        } else if let Some(rest) = text.strip_prefix("<... ") {
            let half = begun.remove(pid).unwrap_or_default();
            if half.contains("sync(") {
                let rest = rest.split_once("resumed>").map_or("", |(_, rest)| rest);
                calls.push((pid.to_owned(), half + rest));
            }
        } else {
            calls.push((pid.to_owned(), text.to_owned()));
        }
    }
    calls
}

/// The path that `-y` shows of a synced descriptor, where the sync succeeded.
fn synced(call: &str) -> Option<&str> {
    let call = call.strip_prefix("fsync(").or_else(|| call.strip_prefix("fdatasync("))?;
    let (descriptor, result) = call.split_once(')')?;
    result.trim_start().starts_with("= 0").then_some(())?;
    descriptor.split_once('<')?.1.strip_suffix('>')
}

#[test]
fn a_sync_counts_once_it_is_done_whole_or_in_two_lines() {
    let log = "7 fsync(4</a/b> <unfinished ...>\n8 fsync(5</c>)    = 0\n9 write(6<socket:[1]>, \"x\", 1) = 1\n\
               7 <... fsync resumed>)              = 0\n7 fsync(4</d>)    = -1 EIO (Input/output error)\n";
    let calls = calls(log);
    assert_eq!(calls.iter().map(|(_, call)| synced(call)).collect::<Vec<_>>(), [Some("/c"), None, Some("/a/b"), None]);
}

#[test]
fn no_answer_before_the_files_their_directory_and_every_new_directory_are_synced() {
    if !can_trace() {
        return;
    }
    let larder = Larder::new();
    larder.user("anna", false);
    let log = larder.place().join("trace");
    let mut command = larder.command(&[]);
    let mut tracer = with_environment(Command::new("strace"), &command);
    tracer.args(["-f", "-qq", "-y", "-s", "32", "-e", "trace=fsync,fdatasync,write,writev,sendto,sendmsg", "-o"]);
    tracer.arg(&log).arg(command.get_program()).args(["serve", "--listen", "127.0.0.1:0"]);
    command = tracer;
    let mut server = Server::start(command).expect("it serves");
    let traced = Traced::by(&server);
    let client = server.client("anna");
    let before = directories(&larder.data().join("objects/documents"));
    let record = client.upload("report.pdf", &vec![b'x'; 300_000]);
    let after = directories(&larder.data().join("objects/documents"));
    drop(traced);
    server.ended();

    let calls = calls(&fs::read_to_string(&log).unwrap());
    let answer = calls.iter().position(|(_, call)| call.contains("HTTP/1.1 201")).expect("the answer is in the trace");
    let durable: Vec<&str> = calls[..answer].iter().filter_map(|(_, call)| synced(call)).collect();
    let has = |what: &str, is: &dyn Fn(&str) -> bool| {
        assert!(durable.iter().any(|path| is(path)), "{what} was not synced before the answer: {durable:#?}");
    };
    has("the file of the bytes", &|path| path.ends_with(".bytes"));
    has("the file of the attributes", &|path| path.ends_with(".attr"));
    let new: BTreeSet<_> = after.difference(&before).collect();
    assert!(!new.is_empty());
    for directory in new {
        let above = directory.parent().unwrap();
        has(&format!("the directory above {}", directory.display()), &|path| Path::new(path) == above);
    }
    let stat = larder.ok(&["stat", record["id"].as_str().unwrap()]);
    let key = stat.rsplit(", ").next().unwrap().trim().to_owned();
    let folder = larder.data().join("objects").join(key);
    has("the directory of the file", &|path| Path::new(path) == folder.parent().unwrap());
}

#[test]
fn what_get_and_image_write_is_synced_before_it_has_its_name_and_then_the_name() {
    if !can_trace() {
        return;
    }
    let larder = Larder::new();
    let id = larder.put("report.pdf", "content");
    let drawing = larder.file("a.svg", "<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>");
    let log = larder.place().join("trace");
    for arguments in [&["get", &id, "-o", "made"][..], &["image", &drawing, "--recipe", "f_png", "-o", "made"]] {
        let like = larder.command(&[]);
        let mut tracer = with_environment(Command::new("strace"), &like);
        tracer.args(["-f", "-qq", "-y", "-e", "trace=fsync,fdatasync,link,linkat,rename,renameat,renameat2", "-o"]);
        let output = tracer.arg(&log).arg(like.get_program()).args(arguments).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let calls = calls(&fs::read_to_string(&log).unwrap());
        let named = calls.iter().position(|(_, call)| call.contains("/made\"") || call.contains("\"made\""));
        let named = named.expect("it is given its name in the trace");
        let is_half = |path: &str| path.rsplit('/').next().is_some_and(|name| name.starts_with(".larder-"));
        let is_synced = calls[..named].iter().filter_map(|(_, call)| synced(call)).any(is_half);
        assert!(is_synced, "{arguments:?}: {calls:#?}");
        let mut after = calls[named..].iter().filter_map(|(_, call)| synced(call));
        assert!(after.any(|path| Path::new(path) == larder.place()), "{arguments:?}: {calls:#?}");
        fs::remove_file(larder.place().join("made")).unwrap();
    }
}

fn can_trace() -> bool {
    let can =
        Command::new("strace").args(["-qq", "-o", "/dev/null", "true"]).status().is_ok_and(|status| status.success());
    if !can {
        println!("skipped: there is no strace, or it may not trace here");
    }
    can
}

/// The process that is traced: the tracer itself passes no signals on.
struct Traced(rustix::process::Pid);

impl Traced {
    fn by(tracer: &Server) -> Self {
        let id = tracer.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
        let child = children.split_whitespace().next().unwrap().parse().unwrap();
        Self(rustix::process::Pid::from_raw(child).unwrap())
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        let _ = rustix::process::kill_process(self.0, rustix::process::Signal::TERM);
    }
}

fn with_environment(mut command: Command, like: &Command) -> Command {
    for (name, value) in like.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.current_dir(like.get_current_dir().unwrap());
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    command
}

/// All directories below and including `root`, where there is one.
fn directories(root: &Path) -> BTreeSet<std::path::PathBuf> {
    let mut found = BTreeSet::new();
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        let Ok(entries) = fs::read_dir(&directory) else { continue };
        open.extend(entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()));
        found.insert(directory);
    }
    found
}
