//! The measurements that compare: what each side of them does.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::Value;

use super::larder::{Larder, content_path, purge_path, upload_path};
use super::process::Server;
use super::rounds::{Side, Sides};
use super::wire::{Client, noise, noise_sha256, put_head};
use super::{Bench, CONNECTIONS, SMALL, load, nginx, peer, responder};

/// A figure of ours beside a peer's.
pub(crate) struct Measure {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) peer: &'static str,
    /// The ratio that we mean to reach.
    pub(crate) aim: Option<f64>,
    pub(crate) prepare: fn(&Bench) -> Result<Sides>,
}

/// Those that make many files come first: what the others delete would slow them.
pub(crate) const ALL: &[Measure] = &[
    Measure {
        name: "small-uploads",
        title: "durable uploads of 4 KiB, 64 connections",
        unit: "1/s",
        peer: "16 threads: create, write, fsync, link, fsync the directory",
        aim: Some(0.7),
        prepare: small_uploads,
    },
    Measure {
        name: "small-uploads-beside",
        title: "the same beside uploads of 1 GiB",
        unit: "1/s",
        peer: "the same beside writes of 1 GiB",
        aim: None,
        prepare: small_uploads_beside,
    },
    Measure {
        name: "small-downloads",
        title: "downloads of 4 KiB, 64 connections",
        unit: "1/s",
        peer: "nginx",
        aim: Some(0.35),
        prepare: small_downloads,
    },
    Measure {
        name: "download",
        title: "download of 1 GiB",
        unit: "MiB/s",
        peer: "nginx",
        aim: Some(1.2),
        prepare: download,
    },
    Measure {
        name: "upload",
        title: "upload of 1 GiB",
        unit: "MiB/s",
        peer: "receive, hash, write, fsync",
        aim: Some(0.85),
        prepare: upload,
    },
];

fn mib_per_second(bytes: u64, started: Instant) -> f64 {
    bytes as f64 / f64::from(1 << 20) / started.elapsed().as_secs_f64()
}

fn download(bench: &Bench) -> Result<Sides> {
    let size = bench.scale.big;
    let folder = bench.fresh_alone("download")?;
    let larder = Larder::start(&bench.binary, &folder.join("data"))?;
    let path = content_path(&larder.client()?.upload(&upload_path("big.bin"), &noise(), size)?)?;
    let root = folder.join("root");
    fs::create_dir_all(&root)?;
    peer::big_file(&root.join("big.bin"), size)?;
    let nginx = nginx::start(&folder.join("nginx"), &root)?;

    // Once, both are read byte by byte: the rounds only count.
    let expected = (size, noise_sha256(size));
    ensure!(larder.client()?.hash(&path)? == expected, "Larder answers other bytes than it was given");
    ensure!(Client::connect(nginx.address(), "")?.hash("/big.bin")? == expected, "nginx answers other bytes");

    let get = move |address: SocketAddr, token: &str, path: &str| {
        let mut client = Client::connect(address, token)?;
        let started = Instant::now();
        let bytes = client.discard(path)?;
        ensure!(bytes == size, "{bytes} bytes instead of {size}");
        Ok(mib_per_second(bytes, started))
    };
    let idle = responder::start()?;
    Ok(Sides {
        ours: Side::new(Some(larder.pid()), move || get(larder.address(), larder.token(), &path)),
        theirs: Side::new(Some(nginx.pid()), move || get(nginx.address(), "", "/big.bin")),
        ceiling: Some(Side::new(None, move || get(idle, "", &format!("/api/v1/files/{size}/content")))),
    })
}

/// Different files, so that nobody profits from one of them being at hand.
const SMALL_FILES: usize = 256;

fn small_downloads(bench: &Bench) -> Result<Sides> {
    let folder = bench.fresh_alone("small-downloads")?;
    let larder = Larder::start(&bench.binary, &folder.join("data"))?;
    let root = folder.join("root");
    fs::create_dir_all(&root)?;
    let (mut client, noise, mut paths) = (larder.client()?, noise(), Vec::new());
    for number in 0..SMALL_FILES {
        let record = client.upload(&upload_path(&format!("{number}.bin")), &noise, SMALL as u64)?;
        paths.push(content_path(&record)?);
        fs::write(root.join(format!("{number}.bin")), &noise[..SMALL])?;
    }
    let nginx = nginx::start(&folder.join("nginx"), &root)?;
    let names: Vec<_> = (0..SMALL_FILES).map(|number| format!("/{number}.bin")).collect();
    let idle = (responder::start()?, vec![format!("/api/v1/files/{SMALL}/content")]);
    let round = bench.scale.round;
    let (our_pid, their_pid) = (larder.pid(), nginx.pid());
    Ok(Sides {
        ours: Side::new(Some(our_pid), move || gets(larder.address(), larder.token(), &paths, round)),
        theirs: Side::new(Some(their_pid), move || gets(nginx.address(), "", &names, round)),
        ceiling: Some(Side::new(None, move || gets(idle.0, "", &idle.1, round))),
    })
}

fn gets(address: SocketAddr, token: &str, paths: &[String], round: Duration) -> Result<f64> {
    // Made beforehand: the generator's time is for sending.
    let requests: Vec<Vec<u8>> = paths
        .iter()
        .map(|path| {
            let mut request = Vec::new();
            put_head(&mut request, "GET", path, token, 0);
            request
        })
        .collect();
    let count = requests.len() as u64;
    load::rate(address, CONNECTIONS, round, &mut |number, out| {
        out.extend_from_slice(&requests[usize::try_from(number % count).expect("an index fits")]);
    })
}

fn upload(bench: &Bench) -> Result<Sides> {
    let size = bench.scale.big;
    let folder = bench.fresh_alone("upload")?;
    let larder = Larder::start(&bench.binary, &folder.join("data"))?;
    let received = folder.join("received");
    fs::create_dir_all(&received)?;
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("bench-peer").arg(&received);
    let peer = Server::start(&mut command, &folder.join("peer.log"))?;
    let idle = responder::start()?;

    let post = move |address: SocketAddr, token: &str| {
        let (mut client, block) = (Client::connect(address, token)?, noise());
        let started = Instant::now();
        let record = client.upload(&upload_path("big.bin"), &block, size)?;
        let value = mib_per_second(size, started);
        purge(&mut client, &record)?;
        Ok(value)
    };
    Ok(Sides {
        ours: Side::new(Some(larder.pid()), move || post(larder.address(), larder.token())),
        theirs: Side::new(Some(peer.pid()), move || post(peer.address(), "")),
        ceiling: Some(Side::new(None, move || post(idle, ""))),
    })
}

/// Rounds would fill the disk.
fn purge(client: &mut Client, record: &Value) -> Result<()> {
    let (status, answer) = client.ask("DELETE", &purge_path(record)?, b"")?;
    ensure!(matches!(status, 200 | 204), "purge answered {status}: {}", String::from_utf8_lossy(&answer));
    Ok(())
}

fn small_uploads(bench: &Bench) -> Result<Sides> {
    let folder = bench.fresh("small-uploads")?;
    let larder = Larder::start(&bench.binary, &folder.join("data"))?;
    let (round, mut directories) = (bench.scale.round, Directories::new(&folder));
    let idle = responder::start()?;
    let mut first = 0;
    Ok(Sides {
        ours: Side::new(Some(larder.pid()), move || {
            first += NAMES;
            posts(first, larder.address(), larder.token(), round)
        }),
        theirs: Side::new(None, move || peer::small_files(&directories.next(), SMALL, round)),
        ceiling: Some(Side::new(None, move || posts(0, idle, "", round))),
    })
}

/// More names than a round uses, so that no two rounds use the same.
const NAMES: u64 = 10_000_000;

fn posts(first: u64, address: SocketAddr, token: &str, round: Duration) -> Result<f64> {
    let body = vec![7; SMALL];
    load::rate(address, CONNECTIONS, round, &mut |number, out| {
        put_head(out, "POST", &upload_path(&format!("{}.bin", first + number)), token, SMALL as u64);
        out.extend_from_slice(&body);
    })
}

fn small_uploads_beside(bench: &Bench) -> Result<Sides> {
    let folder = bench.fresh("small-uploads-beside")?;
    let larder = Larder::start(&bench.binary, &folder.join("data"))?;
    let (round, size, mut directories) = (bench.scale.round, bench.scale.big, Directories::new(&folder));
    let neighbour = folder.join("neighbour.bin");
    let mut first = 0;
    Ok(Sides {
        ours: Side::new(Some(larder.pid()), move || {
            first += NAMES;
            let (mut client, block) = (larder.client()?, noise());
            let upload = || {
                let record = client.upload(&upload_path("big.bin"), &block, size)?;
                purge(&mut client, &record)
            };
            beside(upload, || posts(first, larder.address(), larder.token(), round))
        }),
        theirs: Side::new(None, move || {
            let small = directories.next();
            beside(|| peer::big_file(&neighbour, size), || peer::small_files(&small, SMALL, round))
        }),
        ceiling: None,
    })
}

/// Measures while a neighbour does its work over and over on a thread of its own.
fn beside(mut neighbour: impl FnMut() -> Result<()> + Send, measured: impl FnOnce() -> Result<f64>) -> Result<f64> {
    let enough = AtomicBool::new(false);
    thread::scope(|scope| {
        let busy = scope.spawn(|| {
            while !enough.load(Ordering::Relaxed) {
                neighbour()?;
            }
            Ok(())
        });
        let value = measured();
        enough.store(true, Ordering::Relaxed);
        busy.join().expect("a neighbour does not panic").and(value)
    })
}

/// A directory that no round used before.
struct Directories {
    below: PathBuf,
    count: usize,
}

impl Directories {
    fn new(below: &Path) -> Self {
        Self { below: below.to_path_buf(), count: 0 }
    }

    fn next(&mut self) -> PathBuf {
        self.count += 1;
        self.below.join(format!("small-{}", self.count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_neighbour_works_while_something_is_measured() {
        let (working, worked) = std::sync::mpsc::channel();
        let neighbour = || Ok(working.send(())?);
        assert_eq!(beside(neighbour, || worked.recv().map(|()| 7.0).map_err(Into::into)).unwrap(), 7.0);
    }

    #[test]
    fn a_neighbour_that_fails_spoils_the_measurement() {
        let (working, worked) = std::sync::mpsc::channel();
        let neighbour = || {
            working.send(())?;
            anyhow::bail!("disk full")
        };
        assert!(beside(neighbour, || worked.recv().map(|()| 7.0).map_err(Into::into)).is_err());
    }
}
