//! The binary of Larder: server and command line.
fn main() {}
