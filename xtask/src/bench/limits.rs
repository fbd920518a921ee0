//! The measurements that have a bound instead of a peer: memory under many connections, time to be ready, and what renditions cost.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::Bench;
use super::larder::{Larder, content_path, serve, upload_path};
use super::process::{forget_peak, memory_mib};
use super::renditions;
use super::stats::Sample;
use super::wire::{Client, noise};

/// A figure that must not be larger than its bound.
pub(crate) struct Limit {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) most: f64,
    pub(crate) run: fn(&Bench) -> Result<Sample>,
}

pub(crate) const ALL: &[Limit] = &[
    Limit {
        name: "memory-uploads",
        title: "peak memory, 50 uploads of 256 MiB at once",
        unit: "MiB",
        most: 128.0,
        run: memory_of_uploads,
    },
    Limit {
        name: "memory-downloads",
        title: "peak memory, 50 slow downloads of 1 GiB",
        unit: "MiB",
        most: 128.0,
        run: memory_of_downloads,
    },
    Limit {
        name: "ready",
        title: "from exec to a ready server, empty directory",
        unit: "ms",
        most: 150.0,
        run: time_to_ready,
    },
    Limit {
        name: "kept-renditions",
        title: "processor time of a rendition that is kept, beside a file of its size",
        unit: "×",
        most: 1.3,
        run: renditions::kept,
    },
    Limit {
        name: "memory-renditions",
        title: "peak memory, 12 MP JPEGs rendered by all permits",
        unit: "MiB",
        most: 150.0,
        run: renditions::memory,
    },
    Limit {
        name: "renditions-at-once",
        title: "time of 12 MP JPEG → 300 px by all processors, beside that by one",
        unit: "×",
        most: 1.0 / 1.8,
        run: renditions::at_once,
    },
];

const AT_ONCE: usize = 50;

fn memory_of_uploads(bench: &Bench) -> Result<Sample> {
    let folder = bench.fresh_alone("memory-uploads")?;
    let larder = Larder::start(&bench.binary, &folder.join("data"))?;
    let block = noise();
    peak_while(&larder, |number| {
        let name = upload_path(&format!("{number}.bin"));
        larder.client()?.upload(&name, &block, bench.scale.at_once).map(drop)
    })
}

fn memory_of_downloads(bench: &Bench) -> Result<Sample> {
    let folder = bench.fresh_alone("memory-downloads")?;
    let larder = Larder::start(&bench.binary, &folder.join("data"))?;
    let path = content_path(&larder.client()?.upload(&upload_path("big.bin"), &noise(), bench.scale.big)?)?;
    let until = Instant::now() + bench.scale.round * 3;
    peak_while(&larder, |_| {
        let mut client = larder.client()?;
        client.begin_download(&path)?;
        let mut buffer = vec![0; 64 << 10];
        // Slow, but not so slow that it is cut: about 1 MiB a second.
        while Instant::now() < until && client.sip(&mut buffer)? > 0 {
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    })
}

/// Runs `work` on many connections at once and returns the server's peak of memory meanwhile.
fn peak_while(larder: &Larder, work: impl Fn(usize) -> Result<()> + Sync) -> Result<Sample> {
    let pid = larder.pid();
    // A log-in takes tens of megabytes for a moment, on purpose; it is not what is asked here.
    forget_peak(pid)?;
    thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = (0..AT_ONCE).map(|number| scope.spawn(move || work(number))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("a client does not panic"))
    })?;
    let (peak, now) = memory_mib(pid)?;
    eprintln!("peak {peak:.0} MiB, afterwards {now:.0} MiB");
    Sample::of(&[peak]).context("one value has a median")
}

fn time_to_ready(bench: &Bench) -> Result<Sample> {
    let folder = bench.fresh_alone("ready")?;
    let mut took = Vec::new();
    for round in 0..bench.scale.rounds.max(5) {
        let started = Instant::now();
        let server = serve(&bench.binary, &folder.join(format!("data-{round}")))?;
        while !Client::connect(server.address(), "")
            .and_then(|mut client| client.ask("GET", "/health/ready", b""))
            .is_ok_and(|(status, _)| status == 200)
        {
            anyhow::ensure!(started.elapsed() < Duration::from_secs(10), "not ready within 10 s");
            thread::sleep(Duration::from_millis(1));
        }
        took.push(started.elapsed().as_secs_f64() * 1e3);
    }
    Sample::of(&took).context("there is at least one round")
}
