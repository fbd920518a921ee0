//! A larder in memory, its environment, and the callers of a test.
#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    reason = "a test may unwrap, in its helpers too"
)]

use futures_util::{TryStreamExt, future::BoxFuture};
use larder_files::{
    Caller, Clock, Created, Entropy, Environment, File, FileId, Files, Ledger, Mount, NewFile, Parts, Receive, Result,
    Role, Secrets, Settings, Spawn, StartError, StoreMode, StoreName, Timestamp, UserName, ledger::MemoryLedger,
};
use larder_storage_core::{Body, MemoryDisk, MemoryOptions, MemoryStore, NodeId, Store};
use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

pub const START: i64 = 1_795_273_845_123; // 2026-11-21T15:10:45.123Z

/// A clock that moves only when somebody waits for it.
#[derive(Debug)]
pub struct TestClock(pub AtomicI64);

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::Relaxed))
    }

    fn elapsed(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed).unsigned_abs())
    }

    fn sleep(&self, span: Duration) -> BoxFuture<'static, ()> {
        self.0.fetch_add(i64::try_from(span.as_millis()).unwrap(), Ordering::Relaxed);
        Box::pin(async {
            let mut again = true;
            std::future::poll_fn(|context| {
                context.waker().wake_by_ref();
                if std::mem::take(&mut again) { std::task::Poll::Pending } else { std::task::Poll::Ready(()) }
            })
            .await;
        })
    }
}

/// Randomness that is none: a counter, spread.
#[derive(Debug, Default)]
pub struct TestEntropy(AtomicU64);

impl Entropy for TestEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let word = self.0.fetch_add(1, Ordering::Relaxed).wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            chunk.copy_from_slice(&word.to_be_bytes()[..chunk.len()]);
        }
    }
}

pub struct TestSpawn(pub tokio::runtime::Handle);

impl Spawn for TestSpawn {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        drop(self.0.spawn(task));
    }
}

/// Runs a test's future.
pub fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
}

/// Disks and a ledger that outlive the nodes over them.
pub struct Larder {
    pub disks: Vec<(StoreName, MemoryDisk, StoreMode)>,
    pub ledger: MemoryLedger,
    pub environment: Environment,
    pub secrets: Secrets,
    nodes: AtomicU64,
}

impl Larder {
    /// One store that stages.
    pub fn new() -> Self {
        Self::over(&[("local", MemoryOptions::with_staging(), StoreMode::Edit)])
    }

    pub fn over(stores: &[(&str, MemoryOptions, StoreMode)]) -> Self {
        let disk = |(name, options, mode): &(&str, MemoryOptions, StoreMode)| {
            (StoreName::new(name).unwrap(), MemoryDisk::new(options.clone()), *mode)
        };
        Self {
            disks: stores.iter().map(disk).collect(),
            ledger: MemoryLedger::new(),
            environment: Environment {
                clock: Arc::new(TestClock(AtomicI64::new(START))),
                entropy: Arc::new(TestEntropy::default()),
                spawn: Arc::new(TestSpawn(tokio::runtime::Handle::current())),
            },
            secrets: Secrets::new([7; 32]),
            nodes: AtomicU64::new(0),
        }
    }

    /// The name of the node started last.
    pub fn last_node(&self) -> NodeId {
        NodeId::new(&format!("node-{}", self.nodes.load(Ordering::Relaxed))).unwrap()
    }

    pub fn parts(&self) -> Parts {
        self.nodes.fetch_add(1, Ordering::Relaxed);
        let mount = |(name, disk, mode): &(StoreName, MemoryDisk, StoreMode)| Mount {
            name: name.clone(),
            store: Arc::new(MemoryStore::open(disk, name.as_str(), self.last_node())) as Arc<dyn Store>,
            mode: *mode,
        };
        Parts {
            stores: self.disks.iter().map(mount).collect(),
            ledger: Arc::new(self.ledger.another()) as Arc<dyn Ledger>,
            environment: self.environment.clone(),
            secrets: self.secrets.clone(),
        }
    }

    pub async fn try_start(&self) -> Result<Files, StartError> {
        Files::start(self.parts(), Settings::default()).await.map(|(files, _)| files)
    }

    pub async fn start(&self) -> Files {
        self.try_start().await.unwrap()
    }

    /// Everything on all disks, as text to compare.
    pub fn objects(&self) -> Vec<(String, Vec<u8>)> {
        let of = |disk: &MemoryDisk| disk.objects().into_iter().map(|(key, bytes)| (key.to_string(), bytes.to_vec()));
        self.disks.iter().flat_map(|(_, disk, _)| of(disk).collect::<Vec<_>>()).collect()
    }
}

pub async fn user(files: &Files, name: &str) -> Caller {
    let user = files.add_user(UserName::new(name).unwrap(), Role::User, None).await.unwrap();
    Caller { id: user.id, name: user.name, role: user.role }
}

pub fn named(name: &str) -> NewFile {
    NewFile { name: name.into(), ..NewFile::default() }
}

pub fn into_documents() -> Receive {
    Receive { bucket: "documents".into(), name_hint: "hint.txt".into(), ..Receive::default() }
}

pub async fn put(files: &Files, caller: &Caller, name: &str, content: impl Into<Body>) -> File {
    let received = files.receive(caller, into_documents(), content.into()).await.unwrap();
    let Created { file, .. } = files.create(caller, received, named(name)).await.unwrap();
    file
}

pub async fn content(files: &Files, caller: &Caller, id: FileId) -> Result<Vec<u8>> {
    let file = files.describe(caller, id).await?;
    let content = files.open(caller, &file, None, None).await?;
    let blocks: Vec<bytes::Bytes> = content.body.try_collect().await.unwrap();
    Ok(blocks.concat())
}
