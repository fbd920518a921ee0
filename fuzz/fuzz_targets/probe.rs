//! Whatever claims to be a picture has a size, or is refused.
#![no_main]

use larder_media::{Limits, probe};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(found) = probe(bytes) else { return };
    assert!(found.stored.width > 0 && found.stored.height > 0 && found.frames > 0);
    assert_eq!(found.shown().pixels(), found.stored.pixels());
    // What is over a limit says so, whatever it claims.
    let _ = Limits::default().check(bytes.len() as u64, &found);
});
