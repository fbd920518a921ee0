//! Attributes that are taken are canonical: written again, they are the same bytes.
#![no_main]

use larder_files::Attributes;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(attributes) = Attributes::from_bytes(bytes) else { return };
    assert!(bytes.len() <= Attributes::BYTES_MAX);
    assert_eq!(attributes.to_bytes(), bytes);
});
