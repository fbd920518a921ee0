//! Create.
#[derive(Debug)]
pub(crate) struct Discard;
#[derive(Debug)]
pub(crate) struct Reserved;
