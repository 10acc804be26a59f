//! The program.

use std::process::ExitCode;

fn main() -> ExitCode {
    builder::run()
}
