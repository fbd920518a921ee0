//! Whatever a file is called, the header that hands it out is one header, and says what it is to say.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|file: (&str, &str, bool)| {
    let (content_type, name, attachment) = file;
    larder_api::fuzzing::content_disposition(content_type, name, attachment);
});
