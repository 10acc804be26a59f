//! builder.
fn main() {}
