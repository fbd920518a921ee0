//! A key that is taken is written as it was read, within its bounds, and steps out of nothing.
#![no_main]

use larder_storage_core::Key;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(key) = Key::new(text) else { return };
    assert_eq!(key.as_str(), text);
    assert!((1..=Key::BYTES_MAX).contains(&text.len()));
    assert!(text.split('/').all(|part| !part.is_empty() && part != "." && part != ".."), "{text}");
    assert!(!text.contains('\0'));
});
