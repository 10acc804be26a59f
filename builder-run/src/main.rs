//! builder-run.
fn main() {}
