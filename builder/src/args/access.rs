//! What is said by other programs: sshd, builderd and shells.

use clap::{Args, ValueEnum};
use spool::name::Person;
use spool::role::Role;

/// Who is let in by the gate.
#[derive(Debug, Args)]
pub struct GateArgs {
    /// read, submit or admin
    #[arg(long, value_name = "ROLE")]
    pub role: Role,
    /// What the person is called
    #[arg(long, value_name = "WHO")]
    pub name: Option<Person>,
}

/// A shell that can complete.
#[derive(Clone, Copy, Debug, ValueEnum)]
#[allow(missing_docs)]
pub enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// For which shell.
#[derive(Debug, Args)]
pub struct CompletionArgs {
    /// The shell
    pub shell: Shell,
}

/// What a shell asks.
#[derive(Debug, Args)]
pub struct CompleteArgs {
    /// Which shell asks
    pub shell: Shell,
    /// The words up to the cursor; of bash the line up to there, and the word that it takes for the last one
    #[arg(last = true)]
    pub words: Vec<String>,
}
