//! The laws of every store, over a directory.

use larder_storage_core::{Store, conformance::Harness};
use larder_storage_local::{LocalOptions, LocalStore};
use std::sync::Arc;

/// A directory of its own, gone with the harness.
fn local() -> Harness {
    let place = tempfile::tempdir().expect("a temporary directory can be made");
    let root = place.path().join("objects");
    let open = |root: &std::path::Path| LocalStore::open(LocalOptions::new(root)).expect("an empty directory opens");
    let harness = Harness::new(open(&root)).guard(place).staging().nested_keys(0);
    harness.successor(move |store| {
        drop(store);
        let next: Arc<dyn Store> = Arc::new(open(&root));
        async { next }
    })
}

larder_storage_core::conformance!(local, || async { local() });
