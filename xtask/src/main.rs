//! Larder's own chores.
fn main() {}
