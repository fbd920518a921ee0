//! The laws of every store, over a directory.

use larder_storage_core::{
    Store,
    conformance::{Harness, laws},
};
use larder_storage_local::{LocalOptions, LocalStore};
use std::sync::Arc;

/// A directory of its own, gone with the harness.
fn local(adjust: fn(&mut LocalOptions)) -> Harness {
    let place = tempfile::tempdir().expect("a temporary directory can be made");
    let root = place.path().join("objects");
    let open = move |root: &std::path::Path| {
        let mut options = LocalOptions::new(root);
        adjust(&mut options);
        LocalStore::open(options).expect("an empty directory opens")
    };
    let harness = Harness::new(open(&root)).guard(place).staging().nested_keys(0);
    harness.successor(move |store| {
        drop(store);
        let next: Arc<dyn Store> = Arc::new(open(&root));
        async { next }
    })
}

larder_storage_core::conformance!(local, || async { local(|_| {}) });
larder_storage_core::conformance!(local_where_paths_are_walked, || async {
    local(|options| options.without_openat2 = true)
});
larder_storage_core::conformance!(local_with_one_of_everything, || async {
    local(|options| {
        (options.readers, options.writers, options.small_syncs) = (1, 1, 1);
        (options.read_ahead_bytes, options.write_ahead_bytes) = (1, 1);
    })
});

/// What a rename can't promise: that the bytes are still staged once they were published. Recovery does without, since there each
/// name is durable before the next is given.
const NEEDS_LINKS: [&str; 3] =
    ["what_is_staged_stays_until_it_is_discarded", "a_leftover_can_be_finished", "finishing_is_safe_to_repeat"];

#[tokio::test]
async fn a_file_system_without_links_keeps_every_other_law() {
    for law in laws().iter().filter(|law| !NEEDS_LINKS.contains(&law.name)) {
        law.hold(local(|options| options.without_links = true))
            .await
            .unwrap_or_else(|broken| panic!("{}: {broken}", law.name));
    }
}
