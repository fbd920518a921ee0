//! The driver beside other programs, over one server in one run: `cargo xtask s3 run minio cargo run --release -p larder-storage-s3
//! --example compare [MiB] [FILES] [ROUNDS]`. A peer that is not installed (rclone, the AWS CLI, mc) is left out, and that is said.
//!
//! Each measure is a process of its own, this program too, from a file to the bucket or back. Programs take turns; told is the median of
//! the rounds, with what the process took of processors and memory.
//!
//! With the binary of Larder in `LARDER` the large file is also sent by curl to a server of it that keeps files in a bucket there, beside
//! what sends it there straight: of the server it is told what it took itself.

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use larder_storage_core::{Body, GetOptions, Key, PutOptions, Store};
use larder_storage_s3::{Credentials, S3Options, S3Store};
use std::{
    env,
    error::Error,
    fs::{self, File},
    io::{Read, Write},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

const BLOCK: usize = 1 << 20;
const SMALL: usize = 64 << 10;
const AT_ONCE: usize = 32;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match &arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["put", file, key] => run(put(file, key)),
        ["get", key, file] => run(get(key, file)),
        ["many", folder, prefix] => run(many(folder, prefix)),
        numbers => {
            let number = |at: usize, default| numbers.get(at).map_or(Ok(default), |text| text.parse::<usize>());
            compare(number(0, 1024)?, number(1, 2_000)?, number(2, 3)?)
        }
    }
}

fn run(work: impl Future<Output = Outcome<()>>) -> Outcome<()> {
    tokio::runtime::Runtime::new()?.block_on(work)
}

async fn store() -> Outcome<S3Store> {
    let mut options = S3Options::new(env::var("S3_BUCKET")?, Credentials::Chain);
    options.endpoint = env::var("S3_ENDPOINT").ok();
    options.create_bucket = true;
    let store = S3Store::connect(options).await?;
    store.open().await?;
    Ok(store)
}

async fn put(file: &str, key: &str) -> Outcome<()> {
    let file = File::open(file)?;
    let size = file.metadata()?.len();
    let blocks = stream::try_unfold(file, |mut file| async move {
        let read = tokio::task::spawn_blocking(move || {
            let mut block = vec![0; BLOCK];
            let count = file.read(&mut block)?;
            block.truncate(count);
            Ok::<_, std::io::Error>((Bytes::from(block), file))
        });
        let (block, file) = read.await??;
        Ok((!block.is_empty()).then_some((block, file)))
    });
    store().await?.put(&Key::new(key)?, Body::once(blocks.boxed(), Some(size)), PutOptions::replace()).await?;
    Ok(())
}

async fn get(key: &str, file: &str) -> Outcome<()> {
    let object = store().await?.get(&Key::new(key)?, GetOptions::default()).await?;
    let file = File::create(file)?;
    let write = |mut file: File, block: Bytes| async move {
        tokio::task::spawn_blocking(move || file.write_all(&block).map(|()| file)).await?.map_err(Into::into)
    };
    object.body.try_fold(file, write).await.map(drop)
}

async fn many(folder: &str, prefix: &str) -> Outcome<()> {
    let store = store().await?;
    let files = fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    let store = &store;
    let sent = stream::iter(files).map(|file| async move {
        let content = fs::read(file.path())?;
        let key = Key::new(format!("{prefix}/{}", file.file_name().to_string_lossy()))?;
        store.put(&key, Body::from(content), PutOptions::replace()).await?;
        Ok::<_, Box<dyn Error + Send + Sync>>(())
    });
    sent.buffer_unordered(AT_ONCE).try_for_each(|()| async { Ok(()) }).await
}

/// A program, and how it is told to do each thing.
struct Program {
    name: &'static str,
    variables: Vec<(String, String)>,
    up: Vec<String>,
    down: Vec<String>,
    many: Vec<String>,
}

/// What one process took.
#[derive(Clone, Copy)]
struct Took {
    seconds: f64,
    processor: f64,
    peak_mib: f64,
}

#[allow(clippy::print_stdout, reason = "it is what was asked for")]
fn compare(mib: usize, files: usize, rounds: usize) -> Outcome<()> {
    let place = tempfile::tempdir()?;
    let path = |name: &str| place.path().join(name).display().to_string();
    make(place.path(), mib, files)?;
    run(async { store().await?.profile().await.map(drop).map_err(Into::into) })?;
    let programs = programs(&path)?;
    println!("{mib} MiB and {files} files of 64 KiB, the median of {rounds} rounds\n");
    println!("| | seconds | against larder | processor seconds | peak MiB |\n|---|---|---|---|---|");
    for (what, words) in [("up", "one file up"), ("down", "one file down"), ("many", "small files up, 32 at once")] {
        let mut took: Vec<Vec<Took>> = programs.iter().map(|_| vec![]).collect();
        for round in 0..rounds {
            // Each comes first in its turn: what the one before has left to be written costs who follows.
            for at in (0..programs.len()).map(|place| (round + place) % programs.len()) {
                let (program, took) = (&programs[at], &mut took[at]);
                let arguments = match what {
                    "up" => &program.up,
                    "down" => &program.down,
                    _ => &program.many,
                };
                took.push(measure(arguments, &program.variables)?);
                if what == "down" {
                    assert!(same(&path("large"), &path("down"))?, "{} brought something else", program.name);
                    fs::remove_file(path("down"))?;
                }
            }
        }
        let medians: Vec<Took> = took.into_iter().map(median).collect();
        for (program, took) in programs.iter().zip(&medians) {
            println!(
                "| {words}: {} | {:.2} | {:.2} | {:.2} | {:.0} |",
                program.name,
                took.seconds,
                took.seconds / medians[0].seconds,
                took.processor,
                took.peak_mib
            );
        }
    }
    match env::var("LARDER") {
        Ok(binary) => through(&binary, &path, rounds, &programs),
        Err(_) => Ok(()),
    }
}

/// A server of the binary whose only store is a bucket.
struct Server {
    process: Child,
    api: String,
    token: String,
}

const PASSWORD: &str = "a password for measurements only";

impl Server {
    fn start(binary: &str, data: &str) -> Outcome<Self> {
        fs::create_dir(data)?;
        let store = "kind = \"s3\"\nbucket = \"through\"\ncreate_bucket = true";
        let endpoint = env::var("S3_ENDPOINT")?;
        let settings = format!("placement = \"cloud\"\n[stores.cloud]\n{store}\nendpoint = \"{endpoint}\"\n");
        fs::write(format!("{data}/larder.toml"), settings)?;
        let told = |words: &[&str]| {
            let mut command = Command::new(binary);
            command.args(["--data", data]).args(words).env_remove("S3_ENDPOINT").env_remove("S3_BUCKET");
            command
        };
        let mut user = told(&["user", "add", "bench", "--admin", "--password-stdin"]).stdin(Stdio::piped()).spawn()?;
        writeln!(user.stdin.take().ok_or("no input")?, "{PASSWORD}")?;
        if !user.wait()?.success() {
            return Err("the server's user can't be made".into());
        }
        let log = format!("{data}/log");
        let output = File::create(&log)?;
        let process = told(&["serve", "--listen", "127.0.0.1:0"]).stdout(output.try_clone()?).stderr(output).spawn()?;
        let mut server = Self { process, api: String::new(), token: String::new() };
        let listens = |log: &str| {
            let port: String = log.split("127.0.0.1:").nth(1)?.chars().take_while(char::is_ascii_digit).collect();
            (port != "0").then_some(port)
        };
        for _ in 0..200 {
            thread::sleep(Duration::from_millis(50));
            if let Some(port) = listens(&fs::read_to_string(&log)?) {
                server.api = format!("http://127.0.0.1:{port}/api/v1");
                break;
            }
        }
        let body = format!("{{\"username\":\"bench\",\"password\":\"{PASSWORD}\"}}");
        let words = ["-sS", "-f", "-H", "Content-Type: application/json", "-d", &body];
        let answer = Command::new("curl").args(words).arg(format!("{}/auth/login", server.api)).output()?;
        let answer: serde_json::Value = serde_json::from_slice(&answer.stdout)?;
        server.token = answer["access_token"].as_str().ok_or("no log-in")?.to_owned();
        Ok(server)
    }

    /// How curl sends a file there.
    fn upload(&self, file: &str) -> Vec<String> {
        let (url, token) = (
            format!("{}/buckets/documents/files?name=large", self.api),
            format!("Authorization: Bearer {}", self.token),
        );
        let words = [
            "curl",
            "-sS",
            "-f",
            "-X",
            "POST",
            "-H",
            &token,
            "-H",
            "Content-Type: application/octet-stream",
            "-T",
            file,
            &url,
        ];
        words.map(str::to_owned).to_vec()
    }

    /// Seconds of processors so far, and its most memory.
    fn took(&self) -> Outcome<(f64, f64)> {
        let of = format!("/proc/{}", self.process.id());
        let stat = fs::read_to_string(format!("{of}/stat"))?;
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
        let status = fs::read_to_string(format!("{of}/status"))?;
        let peak =
            status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse::<f64>().ok());
        let ticks = fields[11].parse::<f64>()? + fields[12].parse::<f64>()?;
        Ok((ticks / 100.0, peak.unwrap_or_default() / 1024.0))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// One file up through a server, and straight.
#[allow(clippy::print_stdout, reason = "it is what was asked for")]
fn through(binary: &str, path: &impl Fn(&str) -> String, rounds: usize, programs: &[Program]) -> Outcome<()> {
    let server = Server::start(binary, &path("data"))?;
    let upload = server.upload(&path("large"));
    let mut took: Vec<Vec<Took>> = vec![vec![]; programs.len() + 1];
    let ways = took.len();
    for round in 0..rounds {
        for at in (0..ways).map(|place| (round + place) % ways) {
            let one = match at.checked_sub(1) {
                Some(at) => measure(&programs[at].up, &programs[at].variables)?,
                None => {
                    let before = server.took()?.0;
                    let sent = measure(&upload, &[])?;
                    let (processor, peak_mib) = server.took()?;
                    Took { processor: processor - before, peak_mib, ..sent }
                }
            };
            took[at].push(one);
        }
    }
    let medians: Vec<Took> = took.into_iter().map(median).collect();
    let names = ["curl to a server of larder"].into_iter().chain(programs.iter().map(|program| program.name));
    for (name, took) in names.zip(&medians) {
        let against = took.seconds / medians[0].seconds;
        let (seconds, processor, peak) = (took.seconds, took.processor, took.peak_mib);
        println!("| one file up, {name} | {seconds:.2} | {against:.2} | {processor:.2} | {peak:.0} |");
    }
    Ok(())
}

fn make(place: &Path, mib: usize, files: usize) -> Outcome<()> {
    let mut large = File::create(place.join("large"))?;
    // No two blocks are equal, and none is compressed.
    let (mut block, mut state) = (vec![0_u8; BLOCK], 0x9e37_79b9_7f4a_7c15_u64);
    let mut fill = |block: &mut [u8]| {
        for eight in block.chunks_exact_mut(8) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            eight.copy_from_slice(&state.to_le_bytes());
        }
    };
    for _ in 0..mib {
        fill(&mut block);
        large.write_all(&block)?;
    }
    large.sync_all()?;
    fs::create_dir(place.join("small"))?;
    for number in 0..files {
        fill(&mut block[..SMALL]);
        fs::write(place.join(format!("small/{number:05}")), &block[..SMALL])?;
    }
    Ok(())
}

#[allow(clippy::print_stdout, reason = "it is what was asked for")]
fn programs(at: &impl Fn(&str) -> String) -> Outcome<Vec<Program>> {
    let texts = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let (endpoint, bucket) = (env::var("S3_ENDPOINT")?, env::var("S3_BUCKET")?);
    let (key, secret) = (env::var("AWS_ACCESS_KEY_ID")?, env::var("AWS_SECRET_ACCESS_KEY")?);
    let (large, small, down) = (at("large"), at("small"), at("down"));
    let own = env::current_exe()?.display().to_string();
    let larder = Program {
        name: "larder",
        variables: vec![],
        up: texts(&[&own, "put", &large, "larder/large"]),
        down: texts(&[&own, "get", "larder/large", &down]),
        many: texts(&[&own, "many", &small, "larder/small"]),
    };
    let remote = |of: &str| format!("r:{bucket}/rclone/{of}");
    let settings = [("TYPE", "s3"), ("PROVIDER", "Minio"), ("ENV_AUTH", "true"), ("ENDPOINT", &*endpoint)];
    let rclone = Program {
        name: "rclone",
        variables: settings.map(|(name, value)| (format!("RCLONE_CONFIG_R_{name}"), value.to_owned())).to_vec(),
        up: texts(&["rclone", "copyto", "--ignore-times", &large, &remote("large")]),
        down: texts(&["rclone", "copyto", "--ignore-times", &remote("large"), &down]),
        many: texts(&["rclone", "copy", "--ignore-times", "--transfers", "32", &small, &remote("small")]),
    };
    let remote = |of: &str| format!("s3://{bucket}/aws/{of}");
    let aws = |words: &[&str]| {
        texts(&[&["aws", "--endpoint-url", &endpoint, "s3", "cp", "--only-show-errors"], words].concat())
    };
    let aws = Program {
        name: "aws",
        variables: vec![],
        up: aws(&[&large, &remote("large")]),
        down: aws(&[&remote("large"), &down]),
        many: aws(&["--recursive", &small, &remote("small")]),
    };
    let remote = |of: &str| format!("m/{bucket}/mc/{of}");
    let host = endpoint.replacen("://", &format!("://{key}:{secret}@"), 1);
    let mc = Program {
        name: "mc",
        variables: vec![("MC_HOST_m".into(), host)],
        up: texts(&["mc", "cp", "--quiet", &large, &remote("large")]),
        down: texts(&["mc", "cp", "--quiet", &remote("large"), &down]),
        many: texts(&["mc", "cp", "--quiet", "--recursive", &format!("{small}/"), &remote("small/")]),
    };
    let mut there = vec![larder];
    for program in [rclone, aws, mc] {
        let mut version = Command::new(&program.up[0]);
        match version.arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status() {
            Ok(status) if status.success() => there.push(program),
            _ => println!("skipped: {} is not installed", program.name),
        }
    }
    Ok(there)
}

fn measure(arguments: &[String], variables: &[(String, String)]) -> Outcome<Took> {
    let mut command = Command::new(&arguments[0]);
    command.args(&arguments[1..]).envs(variables.iter().cloned()).stdin(Stdio::null()).stdout(Stdio::null());
    let begun = Instant::now();
    let mut process = command.spawn()?;
    let of = format!("/proc/{}", process.id());
    let mut peak_kib = 0;
    // One that has ended and was not waited for still tells what it took of processors.
    let (seconds, ticks) = loop {
        let stat = fs::read_to_string(format!("{of}/stat"))?;
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
        if fields[0] == "Z" {
            break (begun.elapsed().as_secs_f64(), fields[11].parse::<f64>()? + fields[12].parse::<f64>()?);
        }
        let status = fs::read_to_string(format!("{of}/status"))?;
        let told = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse().ok());
        peak_kib = told.unwrap_or(0_u32).max(peak_kib);
        thread::sleep(Duration::from_millis(2));
    };
    let status = process.wait()?;
    if !status.success() {
        return Err(format!("{arguments:?} failed: {status}").into());
    }
    Ok(Took { seconds, processor: ticks / 100.0, peak_mib: f64::from(peak_kib) / 1024.0 })
}

/// Of each figure by itself.
fn median(took: Vec<Took>) -> Took {
    let middle = |of: fn(&Took) -> f64| {
        let mut all: Vec<f64> = took.iter().map(of).collect();
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    };
    Took {
        seconds: middle(|took| took.seconds),
        processor: middle(|took| took.processor),
        peak_mib: middle(|took| took.peak_mib),
    }
}

fn same(first: &str, second: &str) -> Outcome<bool> {
    let (mut first, mut second) = (File::open(first)?, File::open(second)?);
    let (mut a, mut b) = (vec![0; BLOCK], vec![0; BLOCK]);
    loop {
        let count = first.read(&mut a)?;
        if count == 0 {
            return Ok(second.read(&mut b)? == 0);
        }
        if second.read_exact(&mut b[..count]).is_err() || a[..count] != b[..count] {
            return Ok(false);
        }
    }
}
