//! The suite over every store of this crate.

use larder_storage_core::{
    Backoff, Deadlines, Direction, Expected, InMode, Late, MemoryDisk, MemoryOptions, MemoryStore, Meter, Metered,
    Mode, NodeId, Op, Opener, Outcome, Result, Retry, Store, Timeout, TokioTimer, conformance::Harness,
};
use std::{sync::Arc, time::Duration};

/// A store in memory whose process can die, seen through a decorator.
fn decorated(options: MemoryOptions, decorate: fn(Arc<dyn Store>) -> Arc<dyn Store>) -> Harness {
    let nested_keys = options.nested_keys;
    let disk = MemoryDisk::new(options);
    let node = |number| NodeId::from_random([number; 16]);
    let open = move |disk: &MemoryDisk, number| decorate(Arc::new(MemoryStore::open(disk, "m", node(number))));
    Harness::of(open(&disk, 1)).nested_keys(nested_keys).successor(move |store| {
        drop(store);
        disk.kill(&node(1));
        let next = open(&disk, 2);
        async { next }
    })
}

fn memory(options: MemoryOptions) -> Harness {
    decorated(options, |store| store)
}

fn with_staging(decorate: fn(Arc<dyn Store>) -> Arc<dyn Store>) -> Harness {
    decorated(MemoryOptions::with_staging(), decorate).staging()
}

fn without_staging(decorate: fn(Arc<dyn Store>) -> Arc<dyn Store>) -> Harness {
    decorated(MemoryOptions::without_staging(), decorate).multipart()
}

fn edited(inner: Arc<dyn Store>) -> Arc<dyn Store> {
    Arc::new(InMode::new(inner, Mode::Edit))
}

fn metered(inner: Arc<dyn Store>) -> Arc<dyn Store> {
    #[derive(Debug)]
    struct Nothing;
    impl Meter for Nothing {
        fn now(&self) -> Duration {
            Duration::ZERO
        }
        fn call(&self, _: Op, _: &Outcome, _: Duration) {}
        fn bytes(&self, _: Direction, _: u64) {}
    }
    Arc::new(Metered::new(inner, Arc::new(Nothing)))
}

fn timed(inner: Arc<dyn Store>) -> Arc<dyn Store> {
    Arc::new(Timeout::new(inner, Deadlines::default(), Arc::new(TokioTimer)))
}

fn retried(inner: Arc<dyn Store>) -> Arc<dyn Store> {
    Arc::new(Retry::new(inner, Backoff::default(), Arc::new(TokioTimer), Arc::new(|| 0)))
}

fn late(inner: Arc<dyn Store>) -> Arc<dyn Store> {
    #[derive(Debug)]
    struct There(Arc<dyn Store>);
    #[async_trait::async_trait]
    impl Opener for There {
        async fn open(&self) -> Result<Arc<dyn Store>> {
            Ok(self.0.clone())
        }
    }
    let node = inner.staging().map(|staging| staging.node());
    let expected = Expected { display: inner.to_string(), limits: inner.limits(), node, pause: Duration::ZERO };
    Arc::new(Late::new(expected, Arc::new(There(inner))))
}

fn all(inner: Arc<dyn Store>) -> Arc<dyn Store> {
    edited(metered(retried(timed(inner))))
}

larder_storage_core::conformance!(memory_with_staging, || async { memory(MemoryOptions::with_staging()).staging() });
larder_storage_core::conformance!(memory_without_staging, || async {
    memory(MemoryOptions::without_staging()).multipart()
});
larder_storage_core::conformance!(memory_of_small_objects, || async {
    memory(MemoryOptions { object_bytes_max: 6 << 20, ..MemoryOptions::without_staging() }).multipart()
});
larder_storage_core::conformance!(mode_over_staging, || async { with_staging(edited) });
larder_storage_core::conformance!(mode_over_parts, || async { without_staging(edited) });
larder_storage_core::conformance!(metered_over_staging, || async { with_staging(metered) });
larder_storage_core::conformance!(metered_over_parts, || async { without_staging(metered) });
larder_storage_core::conformance!(timeout_over_staging, || async { with_staging(timed) });
larder_storage_core::conformance!(timeout_over_parts, || async { without_staging(timed) });
larder_storage_core::conformance!(late_over_staging, || async { with_staging(late) });
larder_storage_core::conformance!(late_hides_parts, || async { decorated(MemoryOptions::without_staging(), late) });
larder_storage_core::conformance!(retry_hides_staging, || async { decorated(MemoryOptions::with_staging(), retried) });
larder_storage_core::conformance!(retry_over_parts, || async { without_staging(retried) });
larder_storage_core::conformance!(all_over_parts, || async { without_staging(all) });
