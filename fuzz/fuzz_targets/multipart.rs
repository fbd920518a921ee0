//! A form is the same however it was cut on its way. The boundary is short, so that a fuzzer finds it.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|form: (&[u8], u8)| {
    larder_api::fuzzing::multipart("multipart/form-data; boundary=b", form.0, usize::from(form.1));
});
