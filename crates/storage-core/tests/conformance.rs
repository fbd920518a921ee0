//! The suite over every store of this crate.

use larder_storage_core::{MemoryDisk, MemoryOptions, MemoryStore, NodeId, Store, conformance::Harness};
use std::sync::Arc;

/// A store in memory whose process can die.
fn memory(options: MemoryOptions) -> Harness {
    let (staging, multipart, nested_keys) = (options.staging, options.multipart, options.nested_keys);
    let disk = MemoryDisk::new(options);
    let open = move |disk: &MemoryDisk, number| MemoryStore::open(disk, "m", NodeId::from_random([number; 16]));
    let harness = Harness::new(open(&disk, 1)).nested_keys(nested_keys).successor(move |store| {
        drop(store);
        disk.kill(&NodeId::from_random([1; 16]));
        let next: Arc<dyn Store> = Arc::new(open(&disk, 2));
        async { next }
    });
    let harness = if staging { harness.staging() } else { harness };
    if multipart { harness.multipart() } else { harness }
}

larder_storage_core::conformance!(memory_with_staging, || async { memory(MemoryOptions::with_staging()) });
larder_storage_core::conformance!(memory_without_staging, || async { memory(MemoryOptions::without_staging()) });
larder_storage_core::conformance!(memory_of_small_objects, || async {
    memory(MemoryOptions { object_bytes_max: 6 << 20, ..MemoryOptions::without_staging() })
});
