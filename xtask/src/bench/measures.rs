//! The measurements that compare: each prepares two sides, and one loop runs them in turns.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::larder::{Larder, content_path, purge_path, upload_path};
use super::process::{Server, cpu_seconds, memory_mib, own_cpu_seconds};
use super::stats::Sample;
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
    prepare: fn(&Bench) -> Result<Sides>,
}

pub(crate) const ALL: &[Measure] = &[
    Measure {
        name: "download",
        title: "download of 1 GiB",
        unit: "MiB/s",
        peer: "nginx",
        aim: Some(1.2),
        prepare: download,
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
        name: "upload",
        title: "upload of 1 GiB",
        unit: "MiB/s",
        peer: "receive, hash, write, fsync",
        aim: Some(0.85),
        prepare: upload,
    },
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
];

/// What is run in turns.
struct Sides {
    ours: Side,
    theirs: Side,
    /// The same load against a server that does nothing.
    ceiling: Option<Side>,
}

/// One side: a round returns its figure.
struct Side {
    round: Box<dyn FnMut() -> Result<f64>>,
    /// The server's process, where it is one of its own.
    pid: Option<u32>,
}

impl Side {
    fn new(pid: Option<u32>, round: impl FnMut() -> Result<f64> + 'static) -> Self {
        Self { round: Box::new(round), pid }
    }
}

/// What all rounds gave.
pub(crate) struct Compared {
    pub(crate) ours: Sample,
    pub(crate) theirs: Sample,
    pub(crate) ratio: Sample,
    /// Cores that the servers kept busy.
    pub(crate) our_cores: Sample,
    pub(crate) their_cores: Option<Sample>,
    /// Cores that the load generator kept busy while it measured us.
    pub(crate) generator_cores: Sample,
    /// The load generator's own best, as a multiple of the better side.
    pub(crate) headroom: Option<f64>,
    /// Our server's peak of memory.
    pub(crate) peak_mib: f64,
}

struct Round {
    value: f64,
    server_cores: f64,
    own_cores: f64,
}

/// Warms both sides up, then runs them in turns.
pub(crate) fn run(bench: &Bench, measure: &Measure) -> Result<Compared> {
    eprintln!("\n── {}: {}", measure.name, measure.title);
    let mut sides = (measure.prepare)(bench)?;
    (sides.ours.round)().context("warming up")?;
    (sides.theirs.round)().context("warming up the peer")?;
    let (mut ours, mut theirs, mut ceilings) = (Vec::new(), Vec::new(), Vec::new());
    for number in 1..=bench.scale.rounds {
        ours.push(one(&mut sides.ours)?);
        theirs.push(one(&mut sides.theirs).context("the peer")?);
        if let Some(ceiling) = &mut sides.ceiling {
            ceilings.push((ceiling.round)().context("the server that does nothing")?);
        }
        let (our, their) = (&ours[number - 1], &theirs[number - 1]);
        eprintln!(
            "round {number}: {:.0} {unit} ({:.2} cores), peer {:.0} {unit} ({:.2} cores): {:.2}",
            our.value,
            our.server_cores,
            their.value,
            their.server_cores,
            our.value / their.value,
            unit = measure.unit,
        );
    }
    let pid = sides.ours.pid.context("our side is a process")?;
    Ok(summary(&ours, &theirs, &ceilings, memory_mib(pid)?.0, sides.theirs.pid.is_some()))
}

fn one(side: &mut Side) -> Result<Round> {
    // What the round before left dirty must not be written on this one's time.
    rustix::fs::sync();
    let server = || side.pid.map_or(0.0, cpu_seconds);
    let (server_before, own_before, started) = (server(), own_cpu_seconds(), Instant::now());
    let value = (side.round)()?;
    let (took, server_after) = (started.elapsed().as_secs_f64(), side.pid.map_or(0.0, cpu_seconds));
    Ok(Round {
        value,
        server_cores: (server_after - server_before) / took,
        own_cores: (own_cpu_seconds() - own_before) / took,
    })
}

fn summary(ours: &[Round], theirs: &[Round], ceilings: &[f64], peak_mib: f64, their_process: bool) -> Compared {
    let sample = |rounds: &[Round], field: fn(&Round) -> f64| {
        Sample::of(&rounds.iter().map(field).collect::<Vec<_>>()).expect("there is at least one round")
    };
    let ratios: Vec<f64> = ours.iter().zip(theirs).map(|(our, their)| our.value / their.value).collect();
    let (our, their) = (sample(ours, |round| round.value), sample(theirs, |round| round.value));
    Compared {
        ours: our,
        theirs: their,
        ratio: Sample::of(&ratios).expect("there is at least one round"),
        our_cores: sample(ours, |round| round.server_cores),
        their_cores: their_process.then(|| sample(theirs, |round| round.server_cores)),
        generator_cores: sample(ours, |round| round.own_cores),
        headroom: Sample::of(ceilings).map(|ceiling| ceiling.median / our.median.max(their.median)),
        peak_mib,
    }
}

fn mib_per_second(bytes: u64, started: Instant) -> f64 {
    bytes as f64 / f64::from(1 << 20) / started.elapsed().as_secs_f64()
}

fn download(bench: &Bench) -> Result<Sides> {
    let size = bench.scale.big;
    let folder = bench.fresh("download")?;
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
    let folder = bench.fresh("small-downloads")?;
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
    let folder = bench.fresh("upload")?;
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

    fn rounds(values: &[f64]) -> Vec<Round> {
        values.iter().map(|value| Round { value: *value, server_cores: 1.5, own_cores: 0.25 }).collect()
    }

    #[test]
    fn a_ratio_is_taken_within_one_round() {
        let compared = summary(&rounds(&[10.0, 40.0, 30.0]), &rounds(&[20.0, 40.0, 15.0]), &[160.0], 1.0, false);
        assert_eq!(compared.ratio, Sample { median: 1.0, min: 0.5, max: 2.0 });
        assert_eq!(compared.headroom, Some(160.0 / 30.0));
        assert_eq!((compared.our_cores.median, compared.their_cores.is_none()), (1.5, true));
    }

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
