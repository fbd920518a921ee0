//! [`World`]: disks, time, chance, and every misfortune. It decides at each step of a store and of the ledger what befalls it;
//! it knows nothing of files.

use super::{
    Profile,
    bugs::Bug,
    client::UNIQUE,
    database::{Database, live_rows, revisions},
    executor::{Executor, Process, Yield, lock},
    oracle::Verdict,
    random::Random,
};
use crate::{
    Attributes, Clock, Entropy, Environment, Files, Sha256, Spawn, StoreMode, Timestamp,
    ledger::{CopyState, Hold, LedgerError, Result as LedgerResult, RevisionRow, Upload},
};
use futures_util::future::{self, BoxFuture, FutureExt};
use larder_storage_core::{ErrorKind, Key, MemoryDisk, MemoryOptions, NodeId, Steps};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt,
    sync::{Arc, Mutex, MutexGuard, TryLockError, Weak},
    time::{Duration, SystemTime},
};

/// What can befall a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The node that takes a step dies before it.
    Crash,
    /// Every node dies, and what was not synced may be lost.
    PowerCut,
    /// A store, or the ledger, fails every call for a while.
    Outage,
    /// One node can't reach a store for a while.
    Partition,
    /// One call fails, perhaps after it took effect.
    Error,
    /// A store takes nothing more for a while.
    Full,
    /// One call takes minutes.
    Stall,
    /// The wall clock jumps, forwards or back.
    Jump,
    /// Clients hang up on requests under way.
    HangUp,
    /// Requests whose sender died, or gave them up, take effect after that: on stores without staging.
    Late,
    /// Deletions were sent twice, and the other takes effect late: on stores without staging.
    Repeated,
    /// The database is deleted.
    DatabaseLost,
    /// An older database is put in the place of the current one.
    DatabaseOlder,
    /// Bytes of one copy turn into others, where the file has sound ones elsewhere: no disk fails where its twin has.
    Rot,
    /// Others take the node that takes a step for dead, and it lives on: what it begins from then on reaches neither ledger nor stores.
    Buried,
    /// The node that takes a step can't tell the others for a while that it lives: it sends nothing to stores until it has.
    Unheard,
}

/// How often a history draws each fault that its profile allows, against the others.
const WEIGHTS: [(Fault, u64); 13] = [
    (Fault::Crash, 12),
    (Fault::PowerCut, 8),
    (Fault::Outage, 4),
    (Fault::Partition, 3),
    (Fault::Error, 12),
    (Fault::Full, 2),
    (Fault::Stall, 4),
    (Fault::Jump, 3),
    (Fault::DatabaseLost, 2),
    (Fault::DatabaseOlder, 2),
    (Fault::Rot, 8),
    (Fault::Buried, 16),
    (Fault::Unheard, 8),
];

/// A store, or the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Site {
    Store(usize),
    Ledger,
}

/// Something that fails for a while.
#[derive(Debug)]
struct Weather {
    site: Site,
    /// Only as this node sees it.
    process: Option<Process>,
    full: bool,
    until: Duration,
}

/// A node of the installation, up or down.
pub(super) struct Slot {
    pub(super) process: Process,
    pub(super) files: Option<Files>,
}

pub(super) struct State {
    pub(super) random: Random,
    pub(super) slots: Vec<Slot>,
    pub(super) database: Arc<dyn Database>,
    /// An older content of the database, older by a start at least.
    pub(super) backup: Option<Arc<dyn Database>>,
    pub(super) first_since_backup: u64,
    pub(super) claimed_since_backup: bool,
    /// What became of the database; nobody may start before it is rebuilt.
    pub(super) disaster: Option<Fault>,
    /// Whether a database was lost, and with it the notes of what was under way.
    pub(super) was_rebuilt: bool,
    /// How often the index became provisional, or whole again: odd while it is provisional.
    pub(super) turns_of_index: u64,
    /// Intents that a wrong ledger answered and holds back, by the number that it answered; and those it opened after all.
    pub(super) withheld: BTreeMap<u64, (NodeId, Upload)>,
    pub(super) opened_late: BTreeMap<u64, Hold>,
    /// Copies whose bytes have turned into others, by store and key.
    pub(super) rotten: BTreeSet<(usize, Key)>,
    /// Whether all faults are over, and every start finds the placement of all stores.
    pub(super) healed: bool,
    /// The one store that placements name from now on.
    pub(super) narrowed: Option<usize>,
    pub(super) clients: usize,
    pub(super) violation: Option<String>,
    /// Whether the operator has judged.
    pub(super) judged: bool,
    pub(super) faults: u64,
    pub(super) steps: u64,
    enabled: Vec<Fault>,
    calm: bool,
    gap: u64,
    next_fault: u64,
    faults_left: u64,
    weather: Vec<Weather>,
    wall_offset_ms: i64,
    nodes: BTreeMap<NodeId, Process>,
    /// Those that others have taken for dead.
    buried: BTreeSet<Process>,
    /// Those that can't tell that they live, until when.
    unheard: BTreeMap<Process, Duration>,
    processes: u64,
    trace: VecDeque<String>,
    trace_hash: u64,
}

pub(super) struct World {
    pub(super) profile: Profile,
    pub(super) executor: Executor,
    pub(super) disks: Vec<MemoryDisk>,
    state: Mutex<State>,
}

/// What befalls a step.
enum Fate {
    Go,
    Yield,
    Wait(Duration),
    Fail,
    Die,
}

const TRACE_LINES: usize = 1_000;
/// When every history begins: 2026-11-21.
const EPOCH_MS: i64 = 1_795_275_045_000;

impl State {
    /// Whether the last rebuild read every store.
    pub(super) fn has_whole_index(&self) -> bool {
        self.turns_of_index.is_multiple_of(2)
    }
}

impl World {
    pub(super) fn new(seed: u64, profile: Profile, database: Arc<dyn Database>) -> Arc<Self> {
        let mut random = Random::new(seed);
        let executor = Executor::new(random.fork());
        let state = State::new(random, &profile, database);
        let (late, repeated) = (state.enabled.contains(&Fault::Late), state.enabled.contains(&Fault::Repeated));
        Arc::new_cyclic(|world: &Weak<Self>| {
            let disk = |(at, shelf): (usize, &super::Shelf)| {
                let base = if shelf.staging { MemoryOptions::with_staging() } else { MemoryOptions::without_staging() };
                let time = executor.clone();
                let clock = move || SystemTime::UNIX_EPOCH + Duration::from_millis(EPOCH_MS as u64) + time.now();
                let steps = Arc::new(DiskSteps { world: world.clone(), store: at });
                let conditions = shelf.conditions;
                MemoryDisk::new(MemoryOptions { conditions, steps: Some(steps), clock: Some(Arc::new(clock)), ..base })
            };
            let disks: Vec<_> = profile.stores.iter().enumerate().map(disk).collect();
            disks.iter().for_each(|disk| disk.requests_may_be_late(late));
            disks.iter().for_each(|disk| disk.deletions_are_repeated(repeated));
            Self { disks, executor, state: Mutex::new(state), profile }
        })
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        match self.state.try_lock() {
            Ok(state) => state,
            Err(TryLockError::Poisoned(state)) => state.into_inner(),
            Err(TryLockError::WouldBlock) => panic!("there is one thread, and it holds the state already"),
        }
    }

    /// Writes a line of the history.
    pub(super) fn note(&self, line: fmt::Arguments<'_>) {
        let now = self.executor.now();
        self.state().note(now, line);
    }

    /// Ends the history: an invariant is broken.
    pub(super) fn violate(&self, why: impl Into<String>) {
        let why = why.into();
        self.note(format_args!("VIOLATION {why}"));
        self.state().violation.get_or_insert(why);
    }

    /// Whether the profile's bug is this one, and bites now.
    pub(super) fn bites(&self, bug: Bug) -> bool {
        self.profile.bug == Some(bug) && self.state().random.chance(bug.often())
    }

    /// From now on nothing fails any more; requests that are on their way still arrive late.
    pub(super) fn heal(&self) {
        {
            let mut state = self.state();
            state.calm = true;
            state.weather.clear();
            state.unheard.clear();
        }
        self.note(format_args!("healed"));
    }

    /// Ends all outages that there are; answers how many faults have struck so far.
    pub(super) fn clear_up(&self) -> u64 {
        let mut state = self.state();
        state.weather.clear();
        state.faults
    }

    /// The network. Most requests that were given up arrive within 24 s: sooner than any lease is over. A few that carry bytes take
    /// up to 328 s: longer than the last look at an upload waits, and sooner than the shortest lease before that allows.
    pub(super) async fn carry_late(&self) {
        if self.profile.bug == Some(Bug::WrittenLate) {
            return;
        }
        for round in 1_u64.. {
            self.executor.sleep(Duration::from_secs(8)).await;
            let (soon, late) = match (round % 41, round % 3) {
                (0, _) => (1000, 1000),
                (_, 0) => (1000, 100),
                _ => (500, 50),
            };
            self.deliver_late(|key| {
                let slow = !key.starts_with(".larder/") && !key.ends_with(".attr.json");
                if slow { late } else { soon }
            });
        }
    }

    /// Lets requests that were given up arrive, each with a chance in 1,000.
    pub(super) fn deliver_late(&self, chance: impl Fn(&str) -> u64) {
        for disk in &self.disks {
            disk.deliver_late(&mut |key| {
                let arrives = self.state().random.chance(chance(key.as_str()));
                if arrives {
                    self.note(format_args!("LATE {key}"));
                }
                arrives
            });
        }
    }

    /// A new process: it can open the disks as `NodeId`.
    pub(super) fn begin_process(&self) -> (Process, NodeId) {
        let mut state = self.state();
        state.processes += 1;
        let process = Process(state.processes);
        let mut bits = [0; 16];
        state.random.fill(&mut bits);
        let node = NodeId::from_random(bits);
        state.nodes.insert(node.clone(), process);
        (process, node)
    }

    pub(super) fn environment(self: &Arc<Self>, process: Process) -> Environment {
        let random = self.state().random.fork();
        Environment {
            clock: Arc::new(SimulatedClock(Arc::downgrade(self), self.executor.clone())),
            entropy: Arc::new(SimulatedEntropy(Mutex::new(random))),
            spawn: Arc::new(SimulatedSpawn(self.executor.clone(), process)),
        }
    }

    /// Ends a process: nothing that it has begun goes on.
    pub(super) fn kill(&self, process: Process) {
        let (nodes, gone): (Vec<_>, Vec<_>) = {
            let mut state = self.state();
            let of = state.slots.iter_mut().filter(|slot| slot.process == process);
            let gone = of.filter_map(|slot| slot.files.take()).collect();
            let nodes = state.nodes.extract_if(.., |_, of| *of == process).map(|(node, _)| node).collect();
            (nodes, gone)
        };
        for (disk, node) in self.disks.iter().flat_map(|disk| nodes.iter().map(move |node| (disk, node))) {
            disk.kill(node);
        }
        self.executor.kill(process);
        drop(gone);
    }

    /// Has the others take a process for dead. Its clients go to another one; what they have asked of it goes on.
    fn bury(&self, process: Process) {
        let mut state = self.state();
        state.buried.insert(process);
        let gone: Vec<_> =
            state.slots.iter_mut().filter(|slot| slot.process == process).map(|slot| slot.files.take()).collect();
        drop(state);
        drop(gone);
    }

    pub(super) fn kill_all(&self) {
        let all: Vec<_> = self.state().nodes.values().copied().collect();
        all.into_iter().for_each(|process| self.kill(process));
    }

    pub(super) fn cut_power(&self) {
        self.kill_all();
        let keep = self.state().random.below(1001);
        for disk in &self.disks {
            disk.power_cut(&mut || self.state().random.chance(keep));
        }
    }

    /// Whether a node lives, as the others see it.
    pub(super) fn is_up(&self, node: &NodeId) -> bool {
        self.process_of(node).is_some_and(|process| !self.is_buried(process))
    }

    /// Whether a process can't tell the others now that it lives.
    pub(super) fn is_unheard(&self, process: Process) -> bool {
        let now = self.executor.now();
        self.state().unheard.get(&process).is_some_and(|until| *until > now)
    }

    /// Whether others have taken a process for dead that lives.
    pub(super) fn is_buried(&self, process: Process) -> bool {
        self.state().buried.contains(&process)
    }

    /// Whether `node` still lives.
    fn process_of(&self, node: &NodeId) -> Option<Process> {
        self.state().nodes.get(node).copied()
    }

    async fn store_step(&self, store: usize, node: &NodeId, name: &'static str, key: &str) -> Result<(), ErrorKind> {
        let Some(process) = self.process_of(node) else { return future::pending().await };
        let at = Site::Store(store);
        self.note(format_args!("p{} {} {name} {key}", process.0, self.profile.stores[store].name));
        let failed = self.befall(process, at, may_be_full(name)).await;
        let staging = self.profile.stores[store].staging;
        failed.map_err(|full| match full {
            true => ErrorKind::Full,
            false if is_effective(name, staging) => ErrorKind::Indeterminate,
            false => ErrorKind::Unavailable,
        })
    }

    /// The step of a ledger's call before its effect, or after it.
    pub(super) async fn ledger_step(&self, process: Process, name: &'static str, after: bool) -> LedgerResult<()> {
        self.note(format_args!("p{} ledger {name}{}", process.0, if after { ".done" } else { "" }));
        {
            let mut state = self.state();
            // One that began before may have raised its mark before, too, and raises it again only a while after its claim.
            let marked_since = process.0 >= state.first_since_backup;
            state.claimed_since_backup |= after && name == "claim" && marked_since;
        }
        let changes = matches!(
            name,
            "initialise"
                | "raise_mark"
                | "claim"
                | "take_over"
                | "harden"
                | "record"
                | "reserve"
                | "unreserve"
                | "unreserve_all"
                | "open_intent"
                | "renew_intent"
                | "fence_intent"
                | "fail_intent"
                | "close_intent"
        );
        let failed = self.befall(process, Site::Ledger, changes && !after).await;
        if changes && !after && self.is_buried(process) && !self.bites(Bug::BuriedGoesOn) {
            return Err(LedgerError::Fenced("others took it for dead".into()));
        }
        failed.map_err(|full| match full {
            true => LedgerError::Full("simulated".into()),
            false if after && changes => LedgerError::Indeterminate("simulated".into()),
            false => LedgerError::Unavailable("simulated".into()),
        })
    }

    /// Lets the step happen, late, never, or not at all: `Err(true)` where no space is left.
    async fn befall(&self, process: Process, site: Site, may_be_full: bool) -> Result<(), bool> {
        match self.fate(process, site) {
            Fate::Go => {}
            Fate::Yield => Yield::default().await,
            Fate::Wait(span) => self.executor.sleep(span).await,
            Fate::Fail => return Err(false),
            Fate::Die => return future::pending().await,
        }
        self.state().fails(process, site, may_be_full, self.executor.now()).map_or(Ok(()), Err)
    }

    /// Draws what befalls a step.
    fn fate(&self, process: Process, site: Site) -> Fate {
        let now = self.executor.now();
        let (fault, fate) = {
            let mut state = self.state();
            state.steps += 1;
            let fault = state.draw();
            let fate = match state.random.below(100) {
                0..60 => Fate::Go,
                60..97 => Fate::Yield,
                _ => Fate::Wait(Duration::from_millis(1 + state.random.below(100))),
            };
            (fault, fate)
        };
        let Some(fault) = fault else { return fate };
        self.note(format_args!("FAULT {fault:?} for p{} at {site:?}", process.0));
        self.strike(fault, process, site, now).unwrap_or(fate)
    }

    fn strike(&self, fault: Fault, process: Process, site: Site, now: Duration) -> Option<Fate> {
        let mut state = self.state();
        let until = now + Duration::from_millis(state.random.below(60_000));
        let stall = Duration::from_secs(5 + state.random.below(200));
        let jump = i64::try_from(state.random.below(7_200_000)).expect("two hours") - 3_600_000;
        match fault {
            Fault::Crash => {
                drop(state);
                self.kill(process);
                return Some(Fate::Die);
            }
            Fault::PowerCut => {
                drop(state);
                self.cut_power();
                return Some(Fate::Die);
            }
            Fault::DatabaseLost | Fault::DatabaseOlder => {
                if state.disaster.is_some() || (fault == Fault::DatabaseOlder && state.backup.is_none()) {
                    return None;
                }
                state.disaster = Some(fault);
                drop(state);
                self.kill_all();
                return Some(Fate::Die);
            }
            Fault::Error => return Some(Fate::Fail),
            Fault::Rot => {
                drop(state);
                self.rot();
            }
            Fault::Stall => return Some(Fate::Wait(stall)),
            Fault::Jump => state.wall_offset_ms += jump,
            Fault::Outage => state.weather.push(Weather { site, process: None, full: false, until }),
            Fault::Partition => state.weather.push(Weather { site, process: Some(process), full: false, until }),
            Fault::Full => state.weather.push(Weather { site, process: None, full: true, until }),
            Fault::Buried => {
                drop(state);
                self.bury(process);
            }
            Fault::Unheard => drop(state.unheard.insert(process, until)),
            Fault::HangUp | Fault::Late | Fault::Repeated => {}
        }
        None
    }

    /// Puts other bytes into one copy of a file of which every copy is sound, and durable as its row says.
    fn rot(&self) {
        let database = self.state().database.clone();
        let Ok(rows) = revisions(&database) else { return };
        let disks: Vec<BTreeMap<_, _>> = self.disks.iter().map(|disk| disk.objects().into_iter().collect()).collect();
        let is_sound = |revision: &RevisionRow| {
            revision.copies.iter().filter(|copy| copy.state == CopyState::Verified).count() == disks.len()
                && disks.iter().all(|disk| disk.get(&revision.key).is_some_and(|at| Sha256::of(at) == revision.sha256))
        };
        // Of a file at whose copies a node is at work one may be about to go, the others having been read.
        let nodes: Vec<_> = self.state().slots.iter().filter_map(|slot| slot.files.clone()).collect();
        let at_work = nodes.iter().flat_map(|files| files.0.state().copying.clone()).map(|(file, _)| file);
        let at_work: BTreeSet<_> = at_work.collect();
        let spared = |of: &RevisionRow| at_work.contains(&of.file) || !is_sound(of);
        let unsound: BTreeSet<_> =
            rows.iter().filter(|(_, revision)| spared(revision)).map(|(_, revision)| revision.file).collect();
        let sound: Vec<_> = rows.iter().filter(|(_, revision)| !unsound.contains(&revision.file)).collect();
        if sound.is_empty() {
            return;
        }
        let (at, store) = {
            let mut state = self.state();
            (state.random.index(sound.len()), state.random.index(disks.len()))
        };
        let key = &sound[at].1.key;
        let mut bytes = disks[store][key].to_vec();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        self.disks[store].damage(key, bytes);
        self.note(format_args!("ROT {} {key}", self.profile.stores[store].name));
        self.state().rotten.insert((store, key.clone()));
    }

    /// Whether clients may hang up in this history, and this one does.
    pub(super) fn hangs_up(&self) -> bool {
        let mut state = self.state();
        !state.calm && state.enabled.contains(&Fault::HangUp) && state.random.chance(40)
    }

    /// Whether nodes have worked on an index of all stores ever since [`State::turns_of_index`] was `turns`.
    pub(super) fn is_whole_since(&self, turns: u64) -> bool {
        let state = self.state();
        state.has_whole_index() && state.turns_of_index == turns
    }

    /// Whether no two live rows share a name that only one may have. An index that was made without a store may be behind.
    pub(super) fn check_names(&self) -> Verdict {
        let (whole, database) = {
            let state = self.state();
            (state.has_whole_index() && state.disaster.is_none(), state.database.clone())
        };
        if !self.profile.names || !whole {
            return Ok(());
        }
        let mut seen = BTreeMap::new();
        for row in live_rows(&database).map_err(|error| format!("the database can't be read: {error}"))? {
            let Attributes { bucket, name, id, .. } = row.attributes;
            if bucket.as_str() == UNIQUE
                && let Some(other) = seen.insert(name.clone(), id)
            {
                return Err(format!("N: {other} and {id} are both `{name}` in {bucket}"));
            }
        }
        Ok(())
    }

    /// Whether anything fails right now.
    pub(super) fn is_disturbed(&self) -> bool {
        !self.state().calm
    }

    pub(super) fn trace(&self) -> (Vec<String>, u64) {
        let state = self.state();
        (state.trace.iter().cloned().collect(), state.trace_hash)
    }

    /// Whether there is nothing more to see.
    pub(super) fn is_over(&self) -> bool {
        let state = self.state();
        state.judged || state.violation.is_some()
    }

    /// The mode of a store.
    pub(super) fn mode(&self, store: usize) -> StoreMode {
        self.profile.stores[store].mode
    }
}

impl State {
    fn new(mut random: Random, profile: &Profile, database: Arc<dyn Database>) -> Self {
        // Each history has some of the faults only: those that have all of them are too much alike.
        let enabled: Vec<_> = profile.faults.iter().copied().filter(|_| random.chance(650)).collect();
        let gap = [15, 40, 120, 400][random.index(4)];
        let next_fault = 60 + random.below(gap * 4);
        let faults_left = 1 + random.below(7);
        let slots = (0..profile.nodes).map(|_| Slot { process: Process::WORLD, files: None }).collect();
        Self {
            random,
            slots,
            database,
            backup: None,
            first_since_backup: 0,
            claimed_since_backup: false,
            disaster: None,
            was_rebuilt: false,
            turns_of_index: 0,
            withheld: BTreeMap::new(),
            opened_late: BTreeMap::new(),
            rotten: BTreeSet::new(),
            healed: false,
            narrowed: None,
            clients: 0,
            violation: None,
            judged: false,
            faults: 0,
            steps: 0,
            enabled,
            calm: false,
            gap,
            next_fault,
            faults_left,
            weather: vec![],
            wall_offset_ms: 0,
            nodes: BTreeMap::new(),
            buried: BTreeSet::new(),
            unheard: BTreeMap::new(),
            processes: 0,
            trace: VecDeque::new(),
            trace_hash: 0xcbf2_9ce4_8422_2325,
        }
    }

    /// The fault of this step, if it has one.
    fn draw(&mut self) -> Option<Fault> {
        if self.calm || self.faults_left == 0 || self.steps < self.next_fault {
            return None;
        }
        let allowed: Vec<_> = WEIGHTS.iter().filter(|(fault, _)| self.enabled.contains(fault)).collect();
        let total: u64 = allowed.iter().map(|(_, weight)| weight).sum();
        if total == 0 {
            return None;
        }
        self.faults_left -= 1;
        self.faults += 1;
        self.next_fault = self.steps + 1 + self.random.below(self.gap * 2);
        let mut at = self.random.below(total);
        for (fault, weight) in allowed {
            if at < *weight {
                return Some(*fault);
            }
            at -= weight;
        }
        None
    }

    /// Whether the weather fails this step; `Some(true)` for want of space.
    fn fails(&mut self, process: Process, site: Site, may_be_full: bool, now: Duration) -> Option<bool> {
        self.weather.retain(|weather| weather.until > now);
        let here = |weather: &&Weather| weather.site == site && weather.process.is_none_or(|of| of == process);
        let mut here = self.weather.iter().filter(here);
        here.find(|weather| !weather.full || may_be_full).map(|weather| weather.full)
    }

    /// Whether a process lives that has opened the stores, as others see it.
    pub(super) fn lives(&self, process: Process) -> bool {
        self.nodes.values().any(|of| *of == process) && !self.buried.contains(&process)
    }

    fn note(&mut self, now: Duration, line: fmt::Arguments<'_>) {
        let line = format!("{:>9} {line}", now.as_millis());
        for byte in line.bytes() {
            self.trace_hash = (self.trace_hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        if self.trace.len() == TRACE_LINES {
            self.trace.pop_front();
        }
        self.trace.push_back(line);
    }
}

/// Whether a call that fails at this step may have taken effect, or may still.
fn is_effective(name: &str, staging: bool) -> bool {
    match name {
        "put.visible" | "copy.visible" | "complete.visible" | "delete.gone" => !staging,
        "publish.attributes" | "publish.undo" | "publish.sync" | "publish.answered" | "sync" => true,
        "put.durable" | "put.answered" | "copy.durable" | "copy.answered" | "complete.durable" => true,
        "complete.answered" | "delete.durable" | "delete.answered" | "finish.durable" | "withdraw.durable" => true,
        _ => false,
    }
}

fn may_be_full(name: &str) -> bool {
    matches!(name, "put.written" | "copy.written" | "stage.begun" | "stage.written" | "publish.bytes")
}

struct DiskSteps {
    world: Weak<World>,
    store: usize,
}

impl Steps for DiskSteps {
    fn step<'a>(&'a self, node: &'a NodeId, name: &'static str, key: &'a str) -> BoxFuture<'a, Result<(), ErrorKind>> {
        async move {
            let world = self.world.upgrade().ok_or(ErrorKind::Unavailable)?;
            world.store_step(self.store, node, name, key).await
        }
        .boxed()
    }
}

struct SimulatedClock(Weak<World>, Executor);

impl Clock for SimulatedClock {
    fn now(&self) -> Timestamp {
        let offset = self.0.upgrade().map_or(0, |world| world.state().wall_offset_ms);
        let elapsed = i64::try_from(self.1.now().as_millis()).expect("a history is shorter than that");
        Timestamp::from_millis(EPOCH_MS + offset + elapsed)
    }

    fn elapsed(&self) -> Duration {
        self.1.now()
    }

    fn sleep(&self, span: Duration) -> BoxFuture<'static, ()> {
        self.1.sleep(span).boxed()
    }
}

struct SimulatedEntropy(Mutex<Random>);

impl Entropy for SimulatedEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        lock(&self.0).fill(bytes);
    }
}

struct SimulatedSpawn(Executor, Process);

impl Spawn for SimulatedSpawn {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.0.spawn(self.1, task);
    }
}
