//! builderd.
fn main() {}
