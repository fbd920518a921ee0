//! What renditions cost a server: one that is kept, beside a file of its size; memory while all permits are taken; and how much faster
//! all processors are than one.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::Bench;
use super::larder::{Larder, content_path, recipes_path, rendition_path, upload_path};
use super::load;
use super::process::{cpu_seconds, forget_peak, memory_mib};
use super::stats::Sample;
use super::wire::{HOST, put_head};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Connections that ask for kept renditions.
const CONNECTIONS: usize = 16;
/// Renditions in a round of those that are made.
const MADE: u64 = 48;

/// A bitmap with something in every corner: soft shapes, and the grain of a camera.
fn bitmap(width: u32, height: u32) -> Vec<u8> {
    let row = (width as usize * 3).div_ceil(4) * 4;
    let mut bytes = b"BM".to_vec();
    bytes.extend((54 + row as u32 * height).to_le_bytes());
    bytes.extend([0; 4]);
    [54, 40, width, height].iter().for_each(|number| bytes.extend(number.to_le_bytes()));
    bytes.extend([1, 0, 24, 0]);
    bytes.extend([0; 24]);
    let mut state = 0x2545_f491_u32;
    for y in 0..height {
        let begun = bytes.len();
        for x in 0..width {
            // A linear congruential generator: the same grain each time.
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let (u, v) = (x as f32 / 97.0, y as f32 / 71.0);
            let grain = (state >> 27) as f32 - 16.0;
            let shape = 60.0 * (u.sin() * v.cos() + (u * 0.37 + v * 0.61).sin());
            bytes.extend([120.0 + shape, 128.0 - shape, 140.0 + shape / 2.0].map(|value| (value + grain) as u8));
        }
        bytes.resize(begun + row, 0);
    }
    bytes
}

/// A photograph of so many pixels, as far as a decoder minds.
fn photograph(bench: &Bench, folder: &Path, (width, height): (u32, u32)) -> Result<Vec<u8>> {
    let (drawn, photograph) = (folder.join("drawn.bmp"), folder.join("photograph.jpg"));
    fs::write(&drawn, bitmap(width, height))?;
    let mut command = Command::new(&bench.binary);
    command.arg("image").arg(&drawn).args(["--force", "--recipe", "q_90,f_jpeg", "-o"]).arg(&photograph);
    let output = command.output().context("cannot start the binary")?;
    ensure!(output.status.success(), "cannot make a picture: {}", String::from_utf8_lossy(&output.stderr));
    Ok(fs::read(photograph)?)
}

fn put(larder: &Larder, name: &str, bytes: &[u8]) -> Result<Value> {
    let (status, answer) = larder.client()?.ask("POST", &upload_path(name), bytes)?;
    ensure!(status == 201, "an upload answered {status}: {}", String::from_utf8_lossy(&answer));
    Ok(serde_json::from_slice(&answer)?)
}

/// How often each of two paths is answered in a round, by the processor time of one answer.
pub(super) fn kept(bench: &Bench) -> Result<Sample> {
    let folder = bench.fresh_alone("kept-renditions")?;
    let larder = Larder::start(&bench.binary, &folder.join("data"))?;
    let picture = put(&larder, "photograph.jpg", &photograph(bench, &folder, (800, 600))?)?;
    let rendition = rendition_path(&picture, "normal")?;
    let (status, bytes) = larder.client()?.ask("GET", &rendition, b"")?;
    ensure!(status == 200 && bytes.starts_with(b"\xff\xd8\xff"), "the preset answered {status}");
    // As many bytes as the rendition has, and no picture.
    let content = content_path(&put(&larder, "other.bin", &vec![0x5a; bytes.len()])?)?;
    let cost = |path: &str| -> Result<f64> {
        let before = cpu_seconds(larder.pid());
        let mut asked = 0_u64;
        let rate = load::rate(larder.address(), CONNECTIONS, bench.scale.round, &mut |_, out| {
            put_head(out, "GET", path, larder.token(), 0);
            asked += 1;
        })?;
        ensure!(rate > 0.0, "nothing was answered");
        Ok((cpu_seconds(larder.pid()) - before) / asked as f64)
    };
    let mut ratios = vec![];
    for round in 1..=bench.scale.rounds {
        let (ours, plain) = (cost(&rendition)?, cost(&content)?);
        eprintln!("round {round}: {:.1} µs for {} bytes, as a file {:.1} µs", ours * 1e6, bytes.len(), plain * 1e6);
        ratios.push(ours / plain);
    }
    Sample::of(&ratios).context("there is at least one round")
}

/// Signed paths of so many recipes that nobody asked for before.
fn recipes(larder: &Larder, picture: &Value, first: u64) -> Result<Vec<String>> {
    let (mut client, path) = (larder.client()?, recipes_path(picture)?);
    // A link begins as the request for it did.
    let base = format!("http://{HOST}");
    (first..first + MADE)
        .map(|number| {
            let recipe = json!({ "recipe": format!("w_300,h_{},f_webp", 300 + number) }).to_string();
            let (status, answer) = client.ask("POST", &path, recipe.as_bytes())?;
            ensure!(status == 200, "signing answered {status}: {}", String::from_utf8_lossy(&answer));
            let answer: Value = serde_json::from_slice(&answer)?;
            let url = answer["url"].as_str().and_then(|url| url.strip_prefix(&*base));
            url.map(ToOwned::to_owned).with_context(|| format!("an answer without a URL of this server: {answer}"))
        })
        .collect()
}

/// Asks for all of them, four for each permit at a time.
fn make(larder: &Larder, paths: &[String], permits: usize) -> Result<()> {
    let count = paths.len() as u64;
    let made = load::until(
        larder.address(),
        permits * 4,
        &mut |number, out| {
            // Those asked for beyond the last are answered by what is kept.
            put_head(out, "GET", &paths[usize::try_from(number % count).expect("an index fits")], "", 0);
        },
        |answered| answered >= count,
    )?;
    ensure!(made >= count, "{made} of {count} were made");
    Ok(())
}

fn permits() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

pub(super) fn memory(bench: &Bench) -> Result<Sample> {
    let folder = bench.fresh_alone("memory-renditions")?;
    let bytes = photograph(bench, &folder, (4000, 3000))?;
    let larder = Larder::start(&bench.binary, &folder.join("data"))?;
    let picture = put(&larder, "photograph.jpg", &bytes)?;
    let paths = recipes(&larder, &picture, 0)?;
    // A log-in takes tens of megabytes for a moment, on purpose; it is not what is asked here.
    forget_peak(larder.pid())?;
    make(&larder, &paths, permits())?;
    let (peak, now) = memory_mib(larder.pid())?;
    eprintln!(
        "peak {peak:.0} MiB, afterwards {now:.0} MiB; the JPEG has {:.1} MiB",
        bytes.len() as f64 / f64::from(1 << 20)
    );
    Sample::of(&[peak]).context("one value has a median")
}

/// Starts what runs on one processor alone: reading, answering and keeping too.
fn on_one_processor(start: impl FnOnce() -> Result<Larder>) -> Result<Larder> {
    let all = sched_getaffinity(None)?;
    let first = (0..CpuSet::MAX_CPU).find(|processor| all.is_set(*processor)).context("there is a processor")?;
    let mut one = CpuSet::new();
    one.set(first);
    sched_setaffinity(None, &one)?;
    let started = start();
    sched_setaffinity(None, &all)?;
    started
}

pub(super) fn at_once(bench: &Bench) -> Result<Sample> {
    let folder = bench.fresh_alone("renditions-at-once")?;
    let bytes = photograph(bench, &folder, (4000, 3000))?;
    let all = Larder::start(&bench.binary, &folder.join("all"))?;
    let one = on_one_processor(|| {
        Larder::start_with(&bench.binary, &folder.join("one"), &[("LARDER_RENDITIONS__AT_ONCE", "1")])
    })?;
    let (of_all, of_one) = (put(&all, "photograph.jpg", &bytes)?, put(&one, "photograph.jpg", &bytes)?);
    let mut ratios = vec![];
    for round in 0..bench.scale.rounds as u64 {
        let took = |larder: &Larder, picture: &Value, permits: usize| -> Result<f64> {
            let paths = recipes(larder, picture, round * MADE)?;
            let started = Instant::now();
            make(larder, &paths, permits)?;
            Ok(started.elapsed().as_secs_f64())
        };
        let (together, alone) = (took(&all, &of_all, permits())?, took(&one, &of_one, 1)?);
        let each = |seconds: f64| seconds / MADE as f64 * 1e3;
        eprintln!(
            "round {}: {:.1} ms each by {} processors, {:.1} ms by one",
            round + 1,
            each(together),
            permits(),
            each(alone)
        );
        ratios.push(together / alone);
    }
    Sample::of(&ratios).context("there is at least one round")
}
