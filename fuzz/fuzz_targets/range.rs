//! Whatever a `Range` header asks for, what is sent lies within the content.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|asked: (&str, u64)| larder_api::fuzzing::range(asked.0, asked.1));
