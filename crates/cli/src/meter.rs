//! What `/metrics` tells beyond HTTP: the calls and bytes of each store, and this process.

use larder_files::Mount;
use larder_storage_core::{Direction, ErrorKind, Meter, Metered, Op, Outcome};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric},
    metrics::{
        counter::{ConstCounter, Counter},
        family::Family,
        gauge::ConstGauge,
        histogram::Histogram,
        info::Info,
    },
    registry::{Registry, Unit},
};
use std::{
    fmt, fs,
    sync::{Arc, atomic::AtomicU64},
    time::{Duration, Instant},
};

/// From a look at a name in memory to a sync of a busy disk.
const SECONDS: [f64; 11] = [0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.0, 30.0];

/// A call of a store.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Called {
    #[prometheus(flatten)]
    timed: Timed,
    outcome: &'static str,
}

/// What calls are timed by.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Timed {
    store: Arc<str>,
    op: &'static str,
}

/// Bytes that passed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Passed {
    store: Arc<str>,
    direction: &'static str,
}

/// The counts of all stores.
#[derive(Clone, Debug)]
struct Stores {
    calls: Family<Called, Counter<u64, AtomicU64>>,
    seconds: Family<Timed, Histogram, fn() -> Histogram>,
    bytes: Family<Passed, Counter<u64, AtomicU64>>,
}

/// Has what passes to and from `mounts` counted in a new registry, beside what is known of this process.
pub(crate) fn metered(mounts: &mut [Mount]) -> Registry {
    let stores = Stores {
        seconds: Family::new_with_constructor(|| Histogram::new(SECONDS)),
        calls: Family::default(),
        bytes: Family::default(),
    };
    let mut registry = Registry::default();
    let of_stores = registry.sub_registry_with_prefix("larder_store");
    of_stores.register("calls", "Calls of a store that have ended, by how", stores.calls.clone());
    let seconds = "How long they took; of a get until it is answered";
    of_stores.register_with_unit("call_duration", seconds, Unit::Seconds, stores.seconds.clone());
    of_stores.register_with_unit("passed", "Bytes into a store and out of it", Unit::Bytes, stores.bytes.clone());
    registry.register("larder_build", "What runs", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
    registry.register_collector(Box::new(Process));
    let since = Instant::now();
    for mount in mounts {
        let meter = StoreMeter { store: mount.name.as_str().into(), stores: stores.clone(), since };
        mount.store = Arc::new(Metered::new(mount.store.clone(), Arc::new(meter)));
    }
    registry
}

/// Counts what passes to and from one store.
struct StoreMeter {
    store: Arc<str>,
    stores: Stores,
    since: Instant,
}

impl fmt::Debug for StoreMeter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoreMeter({})", self.store)
    }
}

impl Meter for StoreMeter {
    fn now(&self) -> Duration {
        self.since.elapsed()
    }

    fn call(&self, op: Op, outcome: &Outcome, took: Duration) {
        let outcome = match outcome {
            Outcome::Done => "done",
            Outcome::Failed(ErrorKind::NotFound) => "not_found",
            Outcome::Failed(_) => "failed",
            Outcome::Dropped => "dropped",
        };
        let timed = Timed { store: self.store.clone(), op: label(op) };
        self.stores.seconds.get_or_create(&timed).observe(took.as_secs_f64());
        self.stores.calls.get_or_create(&Called { timed, outcome }).inc();
    }

    fn bytes(&self, direction: Direction, count: u64) {
        let direction = match direction {
            Direction::In => "in",
            Direction::Out => "out",
        };
        self.stores.bytes.get_or_create(&Passed { store: self.store.clone(), direction }).inc_by(count);
    }
}

/// What a call is in a label.
fn label(op: Op) -> &'static str {
    match op {
        Op::Multipart => "upload_in_parts",
        op => op.as_str(),
    }
}

/// This process, as the kernel tells at the time of asking, under the names that Prometheus has for it.
#[derive(Debug)]
struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        // Where the kernel does not tell, the figure is absent.
        if let Some(seconds) = cpu_seconds() {
            let counter = ConstCounter::new(seconds);
            let help = "Processor time used";
            let of = encoder.encode_descriptor("process_cpu", help, Some(&Unit::Seconds), counter.metric_type())?;
            counter.encode(of)?;
        }
        let mut gauge = |name: &str, help: &str, unit: Option<&Unit>, value: Option<i64>| {
            let Some(value) = value else { return Ok(()) };
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, unit, gauge.metric_type())?)
        };
        gauge("process_resident_memory", "Memory in use", Some(&Unit::Bytes), resident_bytes())?;
        gauge("process_open_fds", "Open files and connections", None, open_files())
    }
}

/// Of `/proc/self/stat`, the fields 14 and 15 (proc_pid_stat(5)), in ticks.
fn cpu_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The name of the process, in parentheses, may hold anything.
    let mut after_name = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let mut ticks = || after_name.next()?.parse::<u64>().ok();
    Some((ticks()? + ticks()?) as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// Of `/proc/self/statm`, the second field, in pages.
fn resident_bytes() -> Option<i64> {
    let pages = fs::read_to_string("/proc/self/statm").ok()?.split_ascii_whitespace().nth(1)?.parse::<usize>().ok()?;
    i64::try_from(pages * rustix::param::page_size()).ok()
}

fn open_files() -> Option<i64> {
    i64::try_from(fs::read_dir("/proc/self/fd").ok()?.count()).ok()
}
