//! Whatever goes wrong, at whatever request of an operation on files that lie in a bucket: afterwards the file is as it was or as it was
//! to be, whoever was told that it is done was told the truth, and nothing is left over, whether the node lives on or dies with it.
//!
//! A third of the combinations are looked at, `LARDER_FAULTS=all` looks at all of them; `LARDER_FAULTS_OF=replace` at the operations whose
//! name holds that word.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a test fails loudly, tells what it did, and has a runtime of its own"
)]

mod support;

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, TryStreamExt, future::BoxFuture, stream};
use larder_files::{
    Body, Caller, Clock, CopyTo, Entropy, Environment, Error, FileId, Files, FsckOptions, Ledger, Mount, NewDirect,
    NewFile, Parts, Patch, RebuildOptions, Receive, Secrets, Settings, Sha256, Spawn, StoreMode, StoreName, Timestamp,
    ledger::{Announced, FileQuery, MemoryLedger},
};
use larder_storage_core::{Store, TokioTimer};
use larder_storage_s3::S3Store;
use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use support::{
    bucket::{Bucket, Quirks},
    front::{
        Fault::{self, *},
        Front,
    },
};
use tokio::{task::AbortHandle, time::Instant};

const FAULTS: [Fault; 18] = [
    Refused(500, "InternalError"),
    Refused(503, "SlowDown"),
    Refused(403, "AccessDenied"),
    Refused(403, "ExpiredToken"),
    Refused(403, "RequestTimeTooSkewed"),
    Refused(404, "NoSuchBucket"),
    ResetBefore,
    ResetAfter,
    LostReply,
    Drip,
    Stall,
    LateStall,
    CutBody,
    FlippedByte,
    FlippedAnswer,
    WrongETag,
    ErrorIn200,
    Refused(507, ""),
];

/// By then whatever broke off is settled: a lease of half an hour, and ten deadlines of a small request.
const SETTLED_WITHIN: Duration = Duration::from_secs(2 * 60 * 60);
/// So old is what fsck takes for left over.
const LEFT_OVER_AFTER: Duration = Duration::from_secs(26 * 60 * 60);

/// Time of the runtime: it passes when everybody waits.
struct Time {
    start: Instant,
    wall: SystemTime,
}

impl Clock for Time {
    fn now(&self) -> Timestamp {
        let wall = (self.wall + self.elapsed()).duration_since(UNIX_EPOCH).unwrap();
        Timestamp::from_millis(wall.as_millis() as i64)
    }

    fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    fn sleep(&self, span: Duration) -> BoxFuture<'static, ()> {
        tokio::time::sleep(span).boxed()
    }
}

/// Randomness that counts.
#[derive(Default)]
struct Counted(AtomicU64);

impl Entropy for Counted {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let number = self.0.fetch_add(1, Ordering::Relaxed).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            chunk.copy_from_slice(&(number ^ (number >> 29)).to_le_bytes()[..chunk.len()]);
        }
    }
}

/// The tasks of a process, which die with it.
#[derive(Default)]
struct Tasks(Mutex<Vec<AbortHandle>>);

impl Spawn for Tasks {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        let mut tasks = self.0.lock().unwrap();
        tasks.retain(|task| !task.is_finished());
        tasks.push(tokio::spawn(task).abort_handle());
    }
}

/// An installation whose files lie in one bucket.
struct World {
    bucket: Bucket,
    front: Arc<Front>,
    ledger: MemoryLedger,
    time: Arc<Time>,
    random: Arc<Counted>,
}

struct Node {
    files: Files,
    tasks: Arc<Tasks>,
}

impl Node {
    /// Nothing that it has begun goes on.
    fn kill(self) {
        self.tasks.0.lock().unwrap().iter().for_each(AbortHandle::abort);
    }
}

impl World {
    async fn new() -> Self {
        let bucket = Bucket::new(Quirks::default());
        let front = Front::start(bucket.clone()).await;
        let time = Arc::new(Time { start: Instant::now(), wall: SystemTime::now() });
        Self { bucket, front, ledger: MemoryLedger::new(), time, random: Arc::default() }
    }

    /// A driver of a process of its own.
    async fn store(&self) -> S3Store {
        let mut options = support::options(&self.front.endpoint());
        options.part_bytes = 5 << 20;
        options.timer = Arc::new(TokioTimer);
        S3Store::connect(options).await.unwrap()
    }

    async fn parts(&self, ledger: MemoryLedger) -> (Parts, Arc<Tasks>) {
        let tasks = Arc::<Tasks>::default();
        let environment = Environment { clock: self.time.clone(), entropy: self.random.clone(), spawn: tasks.clone() };
        let store: Arc<dyn Store> = Arc::new(self.store().await);
        let mount = Mount { name: StoreName::new("far").unwrap(), store, mode: StoreMode::Edit };
        let secrets = Secrets::new([7; 32]);
        (Parts { stores: vec![mount], ledger: Arc::new(ledger), environment, secrets, roll: None }, tasks)
    }

    async fn start(&self, look_every: Option<Duration>) -> Node {
        let (parts, tasks) = self.parts(self.ledger.another()).await;
        let settings = Settings { look_every, ..Settings::default() };
        let (files, _) = Files::start(parts, settings).await.unwrap();
        Node { files, tasks }
    }

    /// Every file by what is to be seen of it.
    async fn view(&self) -> BTreeSet<String> {
        let query = FileQuery { limit: 1_000, ..FileQuery::default() };
        let rows = self.ledger.files(&query).await.unwrap();
        let seen = |row: &larder_files::File| {
            let attributes = &row.attributes;
            let (deleted, tags) = (attributes.deleted_at.is_some(), &attributes.tags);
            format!("{} {} rev {} deleted {deleted} {tags:?}", attributes.name, attributes.sha256, attributes.revision)
        };
        rows.iter().map(seen).collect()
    }

    async fn dump(&self, files: &Files) -> Vec<String> {
        let mut lines = vec![];
        let take = &mut |line: &str| {
            lines.push(line.to_owned());
            Ok(())
        };
        files.dump(take).await.unwrap();
        lines
    }

    /// Waits until nothing is under way any more.
    async fn settle(&self) {
        let until = Instant::now() + SETTLED_WITHIN;
        loop {
            let (claims, intents) = (self.ledger.claims().await.unwrap(), self.ledger.intents().await.unwrap());
            if claims.is_empty() && intents.is_empty() {
                return;
            }
            assert!(Instant::now() < until, "it is never settled: {claims:?} {intents:?}");
            tokio::time::sleep(Duration::from_secs(20)).await;
        }
    }

    /// The ledger anew from the bucket.
    async fn rebuild(&self) -> Result<MemoryLedger, larder_files::StartError> {
        let fresh = MemoryLedger::new();
        let (parts, _tasks) = self.parts(fresh.another()).await;
        let older = Arc::new(self.ledger.another());
        let options = RebuildOptions::default();
        larder_files::rebuild(parts, Settings::default(), Some(older), options, &mut |_| {}).await?;
        Ok(fresh)
    }
}

fn local() -> Caller {
    Caller::local()
}

fn pattern(len: usize) -> Bytes {
    (0..len).map(|at| (at % 251) as u8).collect::<Vec<_>>().into()
}

/// Larger than a part, so that it goes out in two.
const LARGE: usize = (5 << 20) + 1_000;

fn streamed(len: usize) -> Body {
    let bytes = pattern(len);
    let blocks: Vec<_> = bytes.chunks(1 << 20).map(|block| Ok(bytes.slice_ref(block))).collect();
    Body::once(stream::iter(blocks).boxed(), None)
}

async fn put(files: &Files, name: &str, len: usize) -> Result<FileId, Error> {
    let receive = Receive { bucket: "documents".into(), name_hint: name.into(), ..Receive::default() };
    let received = files.receive(&local(), receive, streamed(len)).await?;
    let created = files.create(&local(), received, NewFile { name: name.into(), ..NewFile::default() }).await?;
    Ok(created.file.attributes.id)
}

/// An operation on the file `old`, of 3,000 bytes, which has a revision before that, beside `other` in the trash.
struct Operation {
    name: &'static str,
    run: fn(Files, FileId, FileId) -> BoxFuture<'static, Result<(), Error>>,
}

const OPERATIONS: [Operation; 11] = [
    Operation { name: "create", run: |files, _, _| async move { put(&files, "new", 5_000).await.map(drop) }.boxed() },
    Operation {
        name: "create of a large file",
        run: |files, _, _| async move { put(&files, "new", LARGE).await.map(drop) }.boxed(),
    },
    Operation {
        name: "replace",
        run: |files, old, _| {
            async move {
                let received = files.receive_revision(&local(), old, streamed(7_000)).await?;
                files.replace(&local(), old, received, None, None).await.map(drop)
            }
            .boxed()
        },
    },
    Operation {
        name: "update",
        run: |files, old, _| {
            let patch = Patch { tags: Some(vec!["new".into()]), ..Patch::default() };
            async move { files.update(&local(), old, patch, None).await.map(drop) }.boxed()
        },
    },
    Operation {
        name: "remove",
        run: |files, old, _| async move { files.remove(&local(), old, None).await.map(drop) }.boxed(),
    },
    Operation {
        name: "restore",
        run: |files, _, other| async move { files.restore(&local(), other, None).await.map(drop) }.boxed(),
    },
    Operation { name: "purge", run: |files, old, _| async move { files.purge(&local(), old, None).await }.boxed() },
    Operation {
        name: "purge of a revision",
        run: |files, old, _| async move { files.purge_revision(&local(), old, 1, None).await }.boxed(),
    },
    Operation {
        name: "copy",
        run: |files, old, _| {
            let to = CopyTo { name: Some("new".into()), ..CopyTo::default() };
            async move { files.copy(&local(), old, to).await.map(drop) }.boxed()
        },
    },
    Operation {
        name: "read",
        run: |files, old, _| {
            async move {
                let file = files.live(&local(), old).await?;
                let content = files.open(&local(), &file, None, None).await?;
                let blocks: Vec<Bytes> = content.body.try_collect().await.map_err(Error::Body)?;
                assert_eq!(blocks.concat(), pattern(3_000), "other bytes are answered");
                Ok(())
            }
            .boxed()
        },
    },
    Operation {
        name: "direct upload",
        run: |files, _, _| {
            async move {
                // Without it nobody could tell that what was sent is not what came back.
                let sha256 = Some(Sha256::of(&[pattern(1 << 20), pattern(1 << 20)].concat()));
                let file = Announced { bucket: "documents".into(), name: "new".into(), sha256, ..Announced::default() };
                let lifetime = Duration::from_secs(600);
                let new = NewDirect { file, size: 2 << 20, part_bytes: Some(1 << 20), lifetime, past_server: false };
                let upload = files.open_direct(&local(), new).await?.upload.id;
                let sent = async {
                    for number in 1..=2 {
                        files.put_part(upload, number, streamed(1 << 20)).await?;
                    }
                    files.complete_direct(&local(), upload, None).await.map(drop)
                };
                let sent = sent.await;
                if sent.is_err() {
                    // As a client does that gives up; where this fails too, it ends by itself.
                    let _ = files.end_direct(&local(), upload).await;
                }
                sent
            }
            .boxed()
        },
    },
];

/// An installation with two files, and its node.
async fn fresh() -> (World, Node, [FileId; 2]) {
    let world = World::new().await;
    let node = world.start(Some(Duration::from_secs(30))).await;
    let old = put(&node.files, "old", 2_000).await.unwrap();
    let received = node.files.receive_revision(&local(), old, streamed(3_000)).await.unwrap();
    node.files.replace(&local(), old, received, None, None).await.unwrap();
    let other = put(&node.files, "other", 1_000).await.unwrap();
    node.files.remove(&local(), other, None).await.unwrap();
    // The mark follows within seconds.
    tokio::time::sleep(Duration::from_secs(6)).await;
    world.front.requests();
    (world, node, [old, other])
}

/// What must hold once `node` has settled all.
async fn check(world: &World, node: Node, words: &str, may_be: &[&BTreeSet<String>]) {
    world.settle().await;
    node.kill();
    let seen = world.view().await;
    assert!(may_be.contains(&&seen), "{words}: {seen:#?}\nis none of {may_be:#?}");
    tokio::time::sleep(LEFT_OVER_AFTER).await;
    // Whoever is there by then clears up what nobody could for a day.
    let node = world.start(Some(Duration::from_secs(60 * 60))).await;
    tokio::time::sleep(Duration::from_secs(2 * 60 * 60)).await;
    world.settle().await;
    let mut findings = vec![];
    let options = FsckOptions { verify: true, ..FsckOptions::default() };
    node.files.fsck(options, &mut |finding| findings.push(finding)).await.unwrap();
    assert!(findings.is_empty(), "{words}: {findings:#?}");
    assert_eq!(world.bucket.open_uploads(), Vec::<String>::new(), "{words}: an upload in parts is open");
    let names: Vec<String> = world.bucket.state().objects.keys().cloned().collect();
    assert!(!names.iter().any(|name| name.contains(".larder/incoming/")), "{words}: {names:#?}");
    let before = world.dump(&node.files).await;
    node.kill();
    let rebuilt = World {
        ledger: world.rebuild().await.unwrap(),
        bucket: world.bucket.clone(),
        front: world.front.clone(),
        time: world.time.clone(),
        random: world.random.clone(),
    };
    let node = rebuilt.start(None).await;
    assert_eq!(rebuilt.dump(&node.files).await, before, "{words}: after a rebuild");
    node.kill();
}

/// Whether this fault at this request is looked at: of each request a third of the faults, of each fault a third of the requests.
fn is_looked_at(at: usize, fault: usize) -> bool {
    (at + fault).is_multiple_of(3) || std::env::var("LARDER_FAULTS").is_ok_and(|all| all == "all")
}

/// Whether the node dies right behind the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    LivesOn,
    Dies,
}

#[tokio::test(start_paused = true)]
async fn one_mishap_at_any_request_leaves_every_file_whole_and_nothing_over() {
    let only = std::env::var("LARDER_FAULTS_OF").unwrap_or_default();
    let (mut combinations, mut done) = (0, 0);
    for operation in OPERATIONS.iter().filter(|operation| operation.name.contains(&only)) {
        let (world, node, [old, other]) = fresh().await;
        let before = world.view().await;
        (operation.run)(node.files.clone(), old, other).await.unwrap();
        let requests = world.front.requests();
        let after = world.view().await;
        check(&world, node, operation.name, &[&after]).await;
        for (at, request) in requests.iter().enumerate() {
            for (number, fault) in FAULTS.into_iter().enumerate().filter(|(number, _)| is_looked_at(at, *number)) {
                let fate = if (at + number / 3).is_multiple_of(2) { Fate::LivesOn } else { Fate::Dies };
                let words = format!("{}, request {at} ({request}), {fault:?}, {fate:?}", operation.name);
                let (world, node, [old, other]) = fresh().await;
                world.front.plan(at, 1, fault);
                let answer = (operation.run)(node.files.clone(), old, other).await;
                assert!(world.front.calm() > 0, "{words}: nothing went wrong");
                let node = match fate {
                    Fate::LivesOn => node,
                    Fate::Dies => {
                        node.kill();
                        world.start(Some(Duration::from_secs(30))).await
                    }
                };
                tell(&world, node, &words, &answer, [&before, &after]).await;
                combinations += 1;
                done += usize::from(answer.is_ok());
            }
        }
    }
    println!("{combinations} combinations, of which {done} were survived");
    assert!(combinations >= 200 || !only.is_empty(), "{combinations} combinations");
}

/// Whether what was answered is the truth.
async fn tell(
    world: &World,
    node: Node,
    words: &str,
    answer: &Result<(), Error>,
    [before, after]: [&BTreeSet<String>; 2],
) {
    match answer {
        Ok(()) => check(world, node, words, &[after]).await,
        Err(error) => {
            let absent = matches!(error, Error::NotFound(_) | Error::Gone | Error::ContentLost(_));
            assert!(!absent, "{words}: an outage was told as an absence: {error:?}");
            check(world, node, words, &[before, after]).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn one_mishap_of_a_rebuild_is_survived_or_told_and_the_next_brings_all() {
    let (world, node, _) = fresh().await;
    let before = world.dump(&node.files).await;
    node.kill();
    world.front.requests();
    world.rebuild().await.unwrap();
    let requests = world.front.requests();
    assert!(requests.len() >= 10, "{requests:?}");
    for (at, request) in requests.iter().enumerate() {
        for (_, fault) in FAULTS.into_iter().enumerate().filter(|(number, _)| is_looked_at(at, *number)) {
            let words = format!("rebuild, request {at} ({request}), {fault:?}");
            let (world, node, _) = fresh().await;
            node.kill();
            world.front.plan(at, 1, fault);
            let first = world.rebuild().await;
            assert!(world.front.calm() > 0, "{words}: nothing went wrong");
            let ledger = match first {
                Ok(ledger) => ledger,
                Err(_) => world.rebuild().await.unwrap(),
            };
            let rebuilt = World { ledger, ..world };
            let node = rebuilt.start(None).await;
            let now = rebuilt.dump(&node.files).await;
            assert_eq!(now.len(), before.len(), "{words}: {now:#?}");
            node.kill();
        }
    }
}
