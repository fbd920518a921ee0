//! An installation in memory: disks, one ledger, virtual time, seeded randomness; any number of processes, one after
//! another or at once.
#![allow(dead_code, unused_imports, reason = "each test uses its part")]
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a test has a runtime of its own, and may unwrap")]

pub(crate) mod secrets;

use futures_util::{FutureExt, TryStreamExt, future::BoxFuture};
use larder_files::{
    Body, Caller, Clock, Entropy, Environment, File, FileId, Files, Finding, FindingKind, FsckOptions, FsckSummary,
    Mount, NewFile, Parts, RebuildOptions, Rebuilt, Receive, Recovered, Role, Secrets, Settings, Spawn, StartError,
    StoreMode, StoreName, Timestamp, UserName,
    ledger::{LedgerError, MemoryLedger},
};
use larder_storage_core::{ErrorKind, Key, MemoryDisk, MemoryOptions, MemoryStore, NodeId, Steps, Store};
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::sync::Semaphore;

/// Time that passes only when somebody waits, and randomness that counts.
#[derive(Debug, Default)]
pub(crate) struct World {
    millis: Arc<AtomicU64>,
    drawn: AtomicU64,
}

impl World {
    pub(crate) fn pass(&self, span: Duration) {
        self.millis.fetch_add(span.as_millis() as u64, Ordering::SeqCst);
    }

    /// A disk that writes its objects at this world's time.
    fn disk(self: &Arc<Self>, name: &str, options: MemoryOptions) -> (StoreName, MemoryDisk, StoreMode) {
        let (time, zero) = (self.clone(), std::time::SystemTime::UNIX_EPOCH);
        let clock: larder_storage_core::Clock = Arc::new(move || zero + time.elapsed());
        let disk = MemoryDisk::new(MemoryOptions { clock: Some(clock), ..options });
        (StoreName::new(name).unwrap(), disk, StoreMode::Edit)
    }
}

impl Clock for World {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(1_795_275_045_000 + self.millis.load(Ordering::SeqCst) as i64)
    }

    fn elapsed(&self) -> Duration {
        Duration::from_millis(self.millis.load(Ordering::SeqCst))
    }

    fn sleep(&self, span: Duration) -> BoxFuture<'static, ()> {
        let (millis, begun) = (self.millis.clone(), self.millis.load(Ordering::SeqCst));
        let over = begun + span.as_millis() as u64;
        // Others go on meanwhile, a step for each millisecond, or longer.
        let step = (span.as_millis() as u64 / 500).max(1);
        async move {
            loop {
                tokio::task::yield_now().await;
                let now = millis.load(Ordering::SeqCst);
                if now >= over {
                    return;
                }
                millis.fetch_add(step.min(over - now), Ordering::SeqCst);
            }
        }
        .boxed()
    }
}

impl Entropy for World {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let mut x = self.drawn.fetch_add(1, Ordering::SeqCst).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            chunk.copy_from_slice(&(x ^ (x >> 31)).to_le_bytes()[..chunk.len()]);
        }
    }
}

/// A disk whose every step takes some turns of the runtime, so that others come between any two.
#[derive(Debug, Default)]
pub(crate) struct Slow(AtomicU64);

impl Steps for Slow {
    fn step<'a>(&'a self, _: &'a NodeId, _: &'static str, _: &'a str) -> BoxFuture<'a, Result<(), ErrorKind>> {
        let turns = self.0.fetch_add(1, Ordering::SeqCst).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 62;
        async move {
            for _ in 0..turns {
                tokio::task::yield_now().await;
            }
            Ok(())
        }
        .boxed()
    }
}

/// A disk whose reads fail from the `from`-th on, `count` of them; by default none does.
#[derive(Debug)]
pub(crate) struct Outage {
    reads: AtomicU64,
    from: AtomicU64,
    count: AtomicU64,
}

impl Default for Outage {
    fn default() -> Self {
        Self { reads: AtomicU64::new(0), from: AtomicU64::new(u64::MAX), count: AtomicU64::new(0) }
    }
}

impl Outage {
    /// Plans the next outage: behind `after` reads from now.
    pub(crate) fn plan(&self, after: u64, count: u64) {
        self.from.store(self.reads.load(Ordering::SeqCst) + after, Ordering::SeqCst);
        self.count.store(count, Ordering::SeqCst);
    }

    /// Ends it; says whether it had begun.
    pub(crate) fn end(&self) -> bool {
        let from = self.from.swap(u64::MAX, Ordering::SeqCst);
        self.reads.load(Ordering::SeqCst) > from
    }
}

impl Steps for Outage {
    fn step<'a>(&'a self, _: &'a NodeId, name: &'static str, _: &'a str) -> BoxFuture<'a, Result<(), ErrorKind>> {
        let fails = matches!(name, "get" | "head" | "list.item") && {
            let (read, from) = (self.reads.fetch_add(1, Ordering::SeqCst), self.from.load(Ordering::SeqCst));
            read >= from && read - from < self.count.load(Ordering::SeqCst)
        };
        std::future::ready(if fails { Err(ErrorKind::Unavailable) } else { Ok(()) }).boxed()
    }
}

/// A step at which, once closed, whoever comes next is held up, while others go on.
#[derive(Debug)]
pub(crate) struct Gate {
    at: &'static str,
    closed: AtomicBool,
    reached: Semaphore,
    opened: Semaphore,
}

impl Gate {
    /// Open, at the step of this name.
    pub(crate) fn at(at: &'static str) -> Arc<Self> {
        let nobody = || Semaphore::new(0);
        Arc::new(Self { at, closed: AtomicBool::new(false), reached: nobody(), opened: nobody() })
    }

    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }

    /// Waits until somebody is held up.
    pub(crate) async fn reached(&self) {
        self.reached.acquire().await.unwrap().forget();
    }

    pub(crate) fn open(&self) {
        self.opened.add_permits(1);
    }

    async fn pass(&self, name: &'static str) {
        if name == self.at && self.closed.swap(false, Ordering::SeqCst) {
            self.reached.add_permits(1);
            self.opened.acquire().await.unwrap().forget();
        }
    }
}

impl Steps for Gate {
    fn step<'a>(&'a self, _: &'a NodeId, name: &'static str, _: &'a str) -> BoxFuture<'a, Result<(), ErrorKind>> {
        async move {
            self.pass(name).await;
            Ok(())
        }
        .boxed()
    }
}

impl larder_files::ledger::Steps for Gate {
    fn step(&self, name: &'static str) -> BoxFuture<'_, Result<(), LedgerError>> {
        async move {
            self.pass(name).await;
            Ok(())
        }
        .boxed()
    }
}

/// A clock on which whoever sleeps for exactly one span is woken by the test alone, one for each time it rings.
#[derive(Debug)]
pub(crate) struct Alarm {
    world: Arc<World>,
    span: Duration,
    pub(crate) bell: Arc<Bell>,
}

/// Who sleeps, and who may wake.
#[derive(Debug)]
pub(crate) struct Bell {
    asleep: AtomicU64,
    rung: Semaphore,
}

impl Alarm {
    pub(crate) fn of(larder: &Larder, span: Duration) -> Arc<Self> {
        let bell = Bell { asleep: AtomicU64::new(0), rung: Semaphore::new(0) };
        Arc::new(Self { world: larder.world.clone(), span, bell: Arc::new(bell) })
    }
}

impl Bell {
    /// How often somebody has gone to sleep.
    pub(crate) fn asleep(&self) -> u64 {
        self.asleep.load(Ordering::SeqCst)
    }

    pub(crate) fn ring(&self) {
        self.rung.add_permits(1);
    }
}

impl Clock for Alarm {
    fn now(&self) -> Timestamp {
        self.world.now()
    }

    fn elapsed(&self) -> Duration {
        self.world.elapsed()
    }

    fn sleep(&self, span: Duration) -> BoxFuture<'static, ()> {
        if span != self.span {
            return self.world.sleep(span);
        }
        let bell = self.bell.clone();
        async move {
            bell.asleep.fetch_add(1, Ordering::SeqCst);
            bell.rung.acquire().await.unwrap().forget();
        }
        .boxed()
    }
}

/// Steps of a disk or a ledger that fail: those of a name, on keys that hold a text, until they are healed.
#[derive(Debug, Default)]
pub(crate) struct Faults(Mutex<Vec<(&'static str, &'static str, ErrorKind)>>, AtomicU64);

impl Faults {
    pub(crate) fn plan(&self, step: &'static str, on: &'static str, kind: ErrorKind) {
        self.0.lock().unwrap().push((step, on, kind));
    }

    pub(crate) fn heal(&self) {
        self.0.lock().unwrap().clear();
    }

    /// How often something failed by plan.
    pub(crate) fn struck(&self) -> u64 {
        self.1.load(Ordering::SeqCst)
    }

    fn find(&self, name: &str, key: &str) -> Result<(), ErrorKind> {
        let planned = self.0.lock().unwrap();
        let fault = planned.iter().find(|(step, on, _)| *step == name && key.contains(on));
        self.1.fetch_add(u64::from(fault.is_some()), Ordering::SeqCst);
        fault.map_or(Ok(()), |(.., kind)| Err(kind.clone()))
    }
}

impl Steps for Faults {
    fn step<'a>(&'a self, _: &'a NodeId, name: &'static str, key: &'a str) -> BoxFuture<'a, Result<(), ErrorKind>> {
        std::future::ready(self.find(name, key)).boxed()
    }
}

impl larder_files::ledger::Steps for Faults {
    fn step(&self, name: &'static str) -> BoxFuture<'_, Result<(), LedgerError>> {
        let fault = self.find(name, "").map_err(|kind| match kind {
            ErrorKind::Full => LedgerError::Full("full".into()),
            ErrorKind::Indeterminate => LedgerError::Indeterminate("the answer was lost".into()),
            _ => LedgerError::Unavailable("away".into()),
        });
        std::future::ready(fault).boxed()
    }
}

/// Lets others go on until `done` says so.
pub(crate) async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    for _ in 0..100_000 {
        if done().await {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("it never came to this: {what}");
}

/// Lets others go on for long enough to end what they do.
pub(crate) async fn others_go_on() {
    for _ in 0..2000 {
        tokio::task::yield_now().await;
    }
}

/// Options of a disk that stages, with something around its steps.
pub(crate) fn staging_with(steps: Arc<dyn Steps>) -> MemoryOptions {
    MemoryOptions { steps: Some(steps), ..MemoryOptions::with_staging() }
}

/// Tasks of the test's own runtime.
#[derive(Debug)]
pub(crate) struct Tasks;

impl Spawn for Tasks {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        tokio::spawn(task);
    }
}

pub(crate) struct Larder {
    /// The first disk.
    pub(crate) disk: MemoryDisk,
    pub(crate) stores: Vec<(StoreName, MemoryDisk, StoreMode)>,
    pub(crate) ledger: MemoryLedger,
    pub(crate) world: Arc<World>,
    nodes: AtomicU64,
    _watch: secrets::Watch,
}

/// The master secret of every installation here.
pub(crate) const MASTER: [u8; 32] = [7; 32];

impl Larder {
    /// One disk that stages.
    pub(crate) fn new() -> Self {
        Self::over(MemoryOptions::with_staging())
    }

    /// One disk.
    pub(crate) fn over(options: MemoryOptions) -> Self {
        Self::over_all([("disk", options)])
    }

    /// Disks that write their objects at this world's time.
    pub(crate) fn over_all<const N: usize>(disks: [(&str, MemoryOptions); N]) -> Self {
        let (world, ledger) = (Arc::<World>::default(), MemoryLedger::new());
        let stores: Vec<_> = disks.into_iter().map(|(name, options)| world.disk(name, options)).collect();
        secrets::keep_bytes(&MASTER);
        let _watch = secrets::Watch::begin();
        Self { disk: stores[0].1.clone(), stores, ledger, world, nodes: AtomicU64::new(0), _watch }
    }

    /// Configures another disk.
    pub(crate) fn add_disk(&mut self, name: &str, options: MemoryOptions) {
        self.stores.push(self.world.disk(name, options));
    }

    /// Another installation's view of the same disks and time, with an empty ledger.
    pub(crate) fn over_disk(other: &Self) -> Self {
        let nodes = AtomicU64::new(other.nodes.load(Ordering::SeqCst) + 1000);
        let (disk, stores, world) = (other.disk.clone(), other.stores.clone(), other.world.clone());
        Self { disk, stores, ledger: MemoryLedger::new(), world, nodes, _watch: secrets::Watch::begin() }
    }

    /// The first disk as a new process opens it.
    pub(crate) fn store(&self) -> MemoryStore {
        MemoryStore::open(&self.disk, "disk", self.new_node())
    }

    fn new_node(&self) -> NodeId {
        NodeId::new(&format!("n{}", self.nodes.fetch_add(1, Ordering::SeqCst))).unwrap()
    }

    pub(crate) fn environment(&self) -> Environment {
        Environment { clock: self.world.clone(), entropy: self.world.clone(), spawn: Arc::new(Tasks) }
    }

    /// What a new process is made of.
    pub(crate) fn parts(&self, ledger: MemoryLedger) -> Parts {
        let node = self.new_node();
        let mount = |(name, disk, mode): &(StoreName, MemoryDisk, StoreMode)| {
            let store = Arc::new(MemoryStore::open(disk, name.as_str(), node.clone()));
            Mount { name: name.clone(), store, mode: *mode }
        };
        let (stores, secrets) = (self.stores.iter().map(mount).collect(), Secrets::new(MASTER));
        Parts { stores, ledger: Arc::new(ledger), environment: self.environment(), secrets, roll: None }
    }

    pub(crate) async fn start(&self) -> (Files, Recovered) {
        self.start_over(self.ledger.another()).await.unwrap()
    }

    /// Starts a process over its own handle of the ledger.
    pub(crate) async fn start_over(&self, ledger: MemoryLedger) -> Result<(Files, Recovered), StartError> {
        let started = Files::start(self.parts(ledger), Settings::default()).await?;
        ["access", "refresh", "setup"].iter().for_each(|of| secrets::keep_bytes(&started.0.signing_key(of)));
        Ok(started)
    }

    /// Starts a process that puts new content on the store of this name.
    pub(crate) async fn start_on(&self, store: &str) -> Files {
        let settings = Settings { placement: vec![StoreName::new(store).unwrap()], ..Settings::default() };
        Files::start(self.parts(self.ledger.another()), settings).await.unwrap().0
    }

    /// Starts a process around whose calls to the ledger `steps` stands.
    pub(crate) async fn start_with(&self, steps: Arc<dyn larder_files::ledger::Steps>) -> Files {
        self.start_over(self.ledger.another().with_steps(steps)).await.unwrap().0
    }

    /// The process that was opened last.
    pub(crate) fn last_node(&self) -> NodeId {
        NodeId::new(&format!("n{}", self.nodes.load(Ordering::SeqCst) - 1)).unwrap()
    }

    /// How many objects lie below a folder, on all disks.
    pub(crate) fn count_below(&self, folder: &str) -> usize {
        self.objects().iter().filter(|(key, _)| key.as_str().starts_with(folder)).count()
    }

    /// A new ledger from what lies on the disks; it becomes this larder's.
    pub(crate) async fn rebuild(&mut self) -> (Rebuilt, Vec<Finding>) {
        self.rebuild_with(RebuildOptions::default()).await.unwrap()
    }

    pub(crate) async fn rebuild_with(
        &mut self,
        options: RebuildOptions,
    ) -> Result<(Rebuilt, Vec<Finding>), StartError> {
        let (older, fresh) = (self.ledger.another(), MemoryLedger::new());
        let parts = self.parts(fresh.clone());
        let mut findings = vec![];
        let report = &mut |finding| findings.push(finding);
        let rebuilt = larder_files::rebuild(parts, Settings::default(), Some(Arc::new(older)), options, report).await?;
        self.ledger = fresh;
        look_at(&findings);
        Ok((rebuilt, findings))
    }

    /// Everything on all disks.
    pub(crate) fn objects(&self) -> Vec<(Key, bytes::Bytes)> {
        self.stores.iter().flat_map(|(_, disk, _)| disk.objects()).collect()
    }

    /// Keys that anybody may see.
    pub(crate) fn keys(&self) -> Vec<String> {
        let all = self.objects().into_iter().map(|(key, _)| key.to_string());
        all.filter(|key| !key.starts_with(".larder/")).collect()
    }

    pub(crate) fn bytes_at(&self, key: &Key) -> Option<bytes::Bytes> {
        self.objects().into_iter().find(|(found, _)| found == key).map(|(_, bytes)| bytes)
    }
}

pub(crate) fn local() -> Caller {
    Caller::local()
}

pub(crate) fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

/// Puts a file of this name whose content is its name, too.
pub(crate) async fn put(files: &Files, name: &str) -> File {
    put_content(files, name, name.to_owned()).await
}

pub(crate) async fn put_content(files: &Files, name: &str, content: impl Into<bytes::Bytes>) -> File {
    put_as(files, &local(), name, content).await
}

pub(crate) async fn put_as(files: &Files, caller: &Caller, name: &str, content: impl Into<bytes::Bytes>) -> File {
    let receive = Receive { name_hint: name.into(), ..into_documents() };
    let received = files.receive(caller, receive, Body::from(content.into())).await.unwrap();
    let new = NewFile { tags: vec!["t".into()], ..named(name) };
    files.create(caller, received, new).await.unwrap().file
}

pub(crate) fn into_documents() -> Receive {
    Receive { bucket: "documents".into(), name_hint: "hint.txt".into(), ..Receive::default() }
}

pub(crate) fn named(name: &str) -> NewFile {
    NewFile { name: name.into(), ..NewFile::default() }
}

pub(crate) async fn user(files: &Files, name: &str) -> Caller {
    let user = files.add_user(UserName::new(name).unwrap(), Role::User, None).await.unwrap();
    Caller { id: user.id, name: user.name, role: user.role }
}

pub(crate) async fn replace(files: &Files, id: FileId, content: &str) -> File {
    let received = files.receive_revision(&local(), id, Body::from(content.to_owned())).await.unwrap();
    files.replace(&local(), id, received, None, None).await.unwrap()
}

pub(crate) async fn dump(files: &Files) -> Vec<String> {
    let mut lines = vec![];
    files
        .dump(&mut |line| {
            lines.push(line.to_owned());
            Ok(())
        })
        .await
        .unwrap();
    lines
}

/// The whole content, as it is served.
pub(crate) async fn content(files: &Files, id: FileId) -> Result<Vec<u8>, larder_files::Error> {
    content_as(files, &local(), id).await
}

pub(crate) async fn content_as(files: &Files, caller: &Caller, id: FileId) -> Result<Vec<u8>, larder_files::Error> {
    let file = files.describe(caller, id).await?;
    let content = files.open(caller, &file, None, None).await?;
    let blocks: Vec<_> = content.body.try_collect().await.map_err(larder_files::Error::internal)?;
    Ok(blocks.concat())
}

pub(crate) async fn fsck(files: &Files, options: FsckOptions) -> (FsckSummary, Vec<Finding>) {
    let mut findings = vec![];
    let summary = files.fsck(options, &mut |finding| findings.push(finding)).await.unwrap();
    look_at(&findings);
    (summary, findings)
}

/// Findings are told to whoever asks, and logged: they hold no secret.
pub(crate) fn look_at(findings: &[Finding]) {
    findings.iter().for_each(|finding| secrets::look_at(&format!("{finding:?}")));
}

pub(crate) async fn setup_token(files: &Files) -> String {
    let token = files.setup_token().await.unwrap();
    secrets::keep(&token);
    token
}

pub(crate) fn kinds(findings: &[Finding]) -> Vec<FindingKind> {
    findings.iter().map(|finding| finding.kind).collect()
}
