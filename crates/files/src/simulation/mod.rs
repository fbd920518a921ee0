//! Histories of a whole installation on one thread: nodes, clients, stores and a database, with a seed that decides everything
//! that happens, and what must hold whatever does.
//!
//! One history: clients create, change, purge and read files through one or two nodes while processes die, power fails, stores
//! go away, clocks jump and databases are lost. Then everything heals, and what there is must be what the clients were told:
//!
//! - I1: acknowledged content is there, byte for byte; I2: what was purged is not.
//! - I3: every answer is one whole revision that somebody wrote.
//! - I4: what has no certain answer happened whole or not at all, and nothing is left over.
//! - I5: a second start has nothing to recover; I6: a rebuilt database dumps the same.
//! - I9: an outage is never answered as an absence.
//! - N: no two live files of a bucket of unique names share one, at any instant; nor do two of one owner that were made by requests
//!   which had to heed who has the name.
//! - Where placements name several stores: every revision comes to have a verified copy on each, and what is said to be one is. A copy
//!   whose bytes turn into others is never served, and made anew once it is found.
//!
//! The same seed and profile replay the same history, step for step. The checker is checked by [`Bug`]s.

mod bugs;
mod client;
mod database;
mod executor;
mod operator;
mod oracle;
mod random;
mod replicas;
mod world;

pub use bugs::Bug;
pub use database::{Database, MemoryDatabase};
pub use world::Fault;

use crate::StoreMode;
use client::Client;
use executor::{Process, Stuck};
use futures_util::FutureExt;
use operator::Operator;
use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex},
};
use world::World;

/// A store of a simulated installation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shelf {
    /// Its name.
    pub name: &'static str,
    /// Whether it stages, as a disk does.
    pub staging: bool,
    /// Whether it keeps the conditions of a change.
    pub conditions: bool,
    /// What it may be used for.
    pub mode: StoreMode,
}

/// What kind of histories are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Its name, in reports.
    pub name: &'static str,
    /// The stores, in the order of the placement.
    pub stores: &'static [Shelf],
    /// How many nodes share them.
    pub nodes: usize,
    /// How many clients there are.
    pub clients: usize,
    /// How many things each client asks for.
    pub wishes: usize,
    /// Whether every bucket's placement names all stores, and the reconciler is at work; else each start names one store.
    pub replicas: bool,
    /// Whether a start may find a placement of fewer stores than all: until everything has healed.
    pub moves: bool,
    /// How many stores must hold what is answered.
    pub write_copies: u32,
    /// What can befall them.
    pub faults: &'static [Fault],
    /// Whether clients meet over names: few of them, in a bucket of unique names and in one of free ones.
    pub names: bool,
    /// Whether clients send content in direct uploads too.
    pub direct: bool,
    /// What is wrong on purpose.
    pub bug: Option<Bug>,
}

const DISK: Shelf = Shelf { name: "disk", staging: true, conditions: true, mode: StoreMode::Edit };
const SECOND: Shelf = Shelf { name: "second", ..DISK };
const CLOUD: Shelf = Shelf { name: "cloud", staging: false, ..DISK };
const CARELESS: Shelf = Shelf { name: "careless", conditions: false, ..CLOUD };

/// Whatever can befall copies.
const FAULTS_OF_ALL_COPIES: &[Fault] = &[
    Fault::Rot,
    Fault::Crash,
    Fault::PowerCut,
    Fault::Outage,
    Fault::Partition,
    Fault::Error,
    Fault::Full,
    Fault::Stall,
    Fault::Jump,
    Fault::HangUp,
    Fault::DatabaseLost,
    Fault::DatabaseOlder,
    Fault::Late,
    Fault::Repeated,
];

/// Of several copies, on stores that don't stage too.
const FAULTS_OF_COPIES_SENT: &[Fault] = match FAULTS_OF_ALL_COPIES {
    [others @ .., Fault::Repeated] => others,
    _ => panic!("the fault of deletions alone comes last"),
};

/// Of several copies, all of them on stores that stage: nothing of a request there is late.
const FAULTS_OF_COPIES: &[Fault] = match FAULTS_OF_COPIES_SENT {
    [others @ .., Fault::Late] => others,
    _ => panic!("the fault of requests alone comes last"),
};

/// Of stores that don't stage.
const FAULTS_OF_REQUESTS: &[Fault] = match FAULTS_OF_COPIES_SENT {
    [Fault::Rot, others @ ..] => others,
    _ => panic!("the fault of copies alone comes first"),
};

/// The same, and nodes that can't tell that they live, or that others take for dead.
const FAULTS_OF_UNHEARD: &[Fault] = &[
    Fault::Unheard,
    Fault::Buried,
    Fault::Crash,
    Fault::PowerCut,
    Fault::Outage,
    Fault::Partition,
    Fault::Error,
    Fault::Stall,
    Fault::HangUp,
    Fault::DatabaseLost,
    Fault::DatabaseOlder,
    Fault::Late,
];

/// The same, where who lives can always tell.
const FAULTS_OF_BURIED: &[Fault] = match FAULTS_OF_UNHEARD {
    [Fault::Unheard, others @ ..] => others,
    _ => panic!("the fault of the unheard comes first"),
};

/// Of stores that stage.
const EVERY_FAULT: &[Fault] = match FAULTS_OF_COPIES {
    [Fault::Rot, others @ ..] => others,
    _ => panic!("the fault of copies alone comes first"),
};

impl Profile {
    /// No faults at all: whatever fails here fails by itself.
    pub const CALM: Self = Self {
        name: "calm",
        stores: &[DISK],
        nodes: 1,
        clients: 3,
        wishes: 8,
        replicas: false,
        moves: false,
        write_copies: 1,
        faults: &[],
        names: false,
        direct: false,
        bug: None,
    };
    /// One node over one disk: the embedded default.
    pub const DISK: Self = Self { name: "disk", faults: EVERY_FAULT, ..Self::CALM };
    /// Two nodes over one disk.
    pub const PAIR: Self = Self { name: "pair", nodes: 2, ..Self::DISK };
    /// One node over two disks.
    pub const MIRROR: Self = Self { name: "mirror", stores: &[DISK, SECOND], ..Self::DISK };
    /// One node over a store that doesn't stage.
    pub const CLOUD: Self = Self { name: "cloud", stores: &[CLOUD], faults: FAULTS_OF_REQUESTS, ..Self::DISK };
    /// Two nodes over a disk and a store that doesn't stage.
    pub const MIXED: Self = Self { name: "mixed", stores: &[DISK, CLOUD], nodes: 2, ..Self::CLOUD };
    /// One node over a store that doesn't stage and keeps no conditions.
    pub const CARELESS: Self = Self { name: "careless", stores: &[CARELESS], ..Self::CLOUD };
    /// Two nodes over a store that doesn't stage.
    pub const FLEET: Self = Self { name: "fleet", nodes: 2, ..Self::CLOUD };
    /// The same, which may take each other for dead.
    pub const BURIED: Self = Self { name: "buried", faults: FAULTS_OF_BURIED, ..Self::FLEET };
    /// The same over two stores that both hold every file, one of which keeps no conditions.
    pub const BURIED_TWINS: Self =
        Self { name: "buried-twins", stores: &[CLOUD, CARELESS], replicas: true, ..Self::BURIED };
    /// The first of these, whose nodes can't always tell that they live.
    pub const UNHEARD: Self = Self { name: "unheard", faults: FAULTS_OF_UNHEARD, ..Self::BURIED };
    /// The profiles of nodes that may take each other for dead.
    pub const ON_ROLL: [Self; 3] = [Self::BURIED, Self::BURIED_TWINS, Self::UNHEARD];
    /// Two nodes over a store that doesn't stage and keeps no conditions.
    pub const CARELESS_FLEET: Self = Self { name: "careless-fleet", nodes: 2, ..Self::CARELESS };
    /// Two nodes over a disk and a store that doesn't stage and keeps no conditions.
    pub const CARELESS_MIXED: Self = Self { name: "careless-mixed", stores: &[DISK, CARELESS], ..Self::MIXED };
    /// Two nodes over one disk, whose clients meet over names.
    pub const NAMES: Self = Self { name: "names", names: true, wishes: 10, ..Self::PAIR };
    /// The same over a disk and a store that doesn't stage.
    pub const NAMES_MIXED: Self = Self { name: "names-mixed", names: true, wishes: 10, ..Self::MIXED };
    /// The same over two disks.
    pub const NAMES_MIRROR: Self = Self { name: "names-mirror", stores: Self::MIRROR.stores, ..Self::NAMES };
    /// Two nodes over one disk, whose clients begin direct uploads.
    pub const SENT: Self = Self { name: "sent", direct: true, ..Self::PAIR };
    /// The same over a store that doesn't stage.
    pub const SENT_FLEET: Self = Self { name: "sent-fleet", direct: true, ..Self::FLEET };
    /// The same over a disk and a store that doesn't stage, both of which hold every file.
    pub const SENT_HYBRID: Self = Self { name: "sent-hybrid", direct: true, ..Self::HYBRID };
    /// The profiles of direct uploads.
    pub const DIRECT: [Self; 3] = [Self::SENT, Self::SENT_FLEET, Self::SENT_HYBRID];
    /// The profiles of names.
    pub const NAMED: [Self; 3] = [Self::NAMES, Self::NAMES_MIXED, Self::NAMES_MIRROR];
    /// The profiles that seeds are spread over.
    pub const ALL: [Self; 6] = [Self::CALM, Self::DISK, Self::PAIR, Self::MIRROR, Self::CLOUD, Self::MIXED];
    /// The profiles of stores that keep no conditions.
    pub const CONDITIONLESS: [Self; 4] =
        [Self::CARELESS, Self::CARELESS_MIXED, Self::CARELESS_HYBRID, Self::CARELESS_FLEET];

    /// One node that keeps every file on two disks.
    pub const REPLICAS: Self = Self { name: "replicas", replicas: true, faults: FAULTS_OF_COPIES, ..Self::MIRROR };
    /// Two nodes that do.
    pub const TWINS: Self = Self { name: "twins", nodes: 2, ..Self::REPLICAS };
    /// Two nodes that keep every file on a disk and on a store that doesn't stage.
    pub const HYBRID: Self = Self { name: "hybrid", replicas: true, faults: FAULTS_OF_ALL_COPIES, ..Self::MIXED };
    /// The same, where that store keeps no conditions.
    pub const CARELESS_HYBRID: Self =
        Self { name: "careless-hybrid", stores: Self::CARELESS_MIXED.stores, ..Self::HYBRID };
    /// One node over two disks whose placement is another one from start to start: files move, and what is left behind is dropped.
    pub const MOVES: Self = Self { name: "moves", moves: true, ..Self::REPLICAS };
    /// Two nodes over a disk and a store that doesn't stage, whose files move so.
    pub const MOVES_HYBRID: Self =
        Self { name: "moves-hybrid", moves: true, faults: FAULTS_OF_ALL_COPIES, ..Self::HYBRID };
    /// The same over two stores that don't stage, one of which keeps no conditions.
    pub const MOVES_CLOUDS: Self = Self { name: "moves-clouds", stores: &[CLOUD, CARELESS], ..Self::MOVES_HYBRID };
    /// Two nodes over two disks that both hold what is answered.
    pub const SAFE: Self = Self { name: "safe", write_copies: 2, ..Self::TWINS };
    /// The profiles whose files have several copies.
    pub const REPLICATED: [Self; 7] =
        [Self::REPLICAS, Self::TWINS, Self::HYBRID, Self::MOVES, Self::SAFE, Self::MOVES_HYBRID, Self::MOVES_CLOUDS];

    /// The profile of a seed.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        let all = Self::ALL;
        all[usize::try_from(seed % all.len() as u64).expect("an index")]
    }

    /// The same with something wrong.
    #[must_use]
    pub fn with(self, bug: Bug) -> Self {
        Self { bug: Some(bug), ..self }
    }
}

/// What a history was like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Steps of stores and ledger.
    pub steps: u64,
    /// Faults that struck.
    pub faults: u64,
    /// A hash of every line of its trace: equal for equal histories.
    pub trace: u64,
}

/// A broken invariant, with all that is needed to see it again.
#[derive(Clone)]
pub struct Violation {
    /// The seed.
    pub seed: u64,
    /// The profile.
    pub profile: Profile,
    /// Which invariant, and how.
    pub why: String,
    /// The last lines of its history.
    pub trace: Vec<String>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.trace.iter().try_for_each(|line| writeln!(f, "{line}"))?;
        let bug = self.profile.bug.map(|bug| format!(" with {bug:?}")).unwrap_or_default();
        write!(f, "seed {} of profile `{}`{bug}: {}", self.seed, self.profile.name, self.why)
    }
}

impl fmt::Debug for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Violation {}

/// More than any history takes.
const TURNS_MAX: u64 = 300_000;

/// Makes new, empty databases.
pub type Fresh = Arc<dyn Fn() -> Arc<dyn Database> + Send + Sync>;

/// Lives through one history over a ledger in memory.
///
/// # Errors
/// A [`Violation`] where an invariant does not hold.
pub fn simulate(seed: u64, profile: Profile) -> Result<Stats, Box<Violation>> {
    simulate_on(Arc::new(|| Arc::new(MemoryDatabase::default())), seed, profile)
}

/// Lives through one history over databases that `fresh` makes.
///
/// # Errors
/// A [`Violation`] where an invariant does not hold.
pub fn simulate_on(fresh: Fresh, seed: u64, profile: Profile) -> Result<Stats, Box<Violation>> {
    let world = World::new(seed, profile, fresh());
    let oracle = Arc::default();
    people(&world, &oracle, fresh);
    let run = catch_unwind(AssertUnwindSafe(|| world.executor.run(TURNS_MAX, &|| world.is_over())));
    let violation = world.state().violation.take();
    let why = match (violation, run) {
        (Some(why), _) => Some(why),
        (None, Err(_)) => Some("I13: it panics, as written above".into()),
        (None, Ok(Err(Stuck::Still))) => Some("everybody waits for ever".into()),
        (None, Ok(Err(Stuck::Endless))) => Some("it never ends".into()),
        (None, Ok(Ok(()))) => None,
    };
    let (trace, hash) = world.trace();
    let stats = {
        let state = world.state();
        Stats { steps: state.steps, faults: state.faults, trace: hash }
    };
    world.kill_all();
    world.executor.clear();
    why.map_or(Ok(stats), |why| Err(Box::new(Violation { seed, profile, why, trace })))
}

/// Sets clients and operator going.
fn people(world: &Arc<World>, oracle: &Arc<Mutex<oracle::Oracle>>, fresh: Fresh) {
    world.state().clients = world.profile.clients;
    for number in 0..world.profile.clients {
        let random = world.state().random.fork();
        let client = Client { world: world.clone(), oracle: oracle.clone(), random, number };
        let of = world.clone();
        let life = async move {
            client.run(of.profile.wishes).await;
            of.state().clients -= 1;
        };
        world.executor.spawn(Process::WORLD, life.boxed());
    }
    let of = world.clone();
    let carry = async move { of.carry_late().await };
    if world.profile.faults.contains(&Fault::Late) {
        world.executor.spawn(Process::WORLD, carry.boxed());
    }
    let operator = Operator { world: world.clone(), oracle: oracle.clone(), fresh };
    let of = world.clone();
    let life = async move {
        operator.run().await;
        of.state().judged = true;
    };
    world.executor.spawn(Process::WORLD, life.boxed());
}
