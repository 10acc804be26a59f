//! The command line. Names stay text here: their parsers say more than a usage message can.

mod access;
mod build;
mod exchange;
mod job;
mod operator;
mod site;
mod status;
mod verify;

pub use access::{CompleteArgs, CompletionArgs, GateArgs, Shell};
pub use build::{
    CancelArgs, DiffArgs, FindArgs, GetArgs, HistoryArgs, LatestArgs, LogArgs, PinArgs, ShowArgs, UnpinArgs,
    VerifySignatureArgs, WatchArgs,
};
pub use exchange::{ExportArgs, ImportArgs};
pub use job::{AddArgs, EditArgs, HowArgs, NextArgs, RmArgs, RunArgs, SetArgs, WhenArgs};
pub use operator::{
    CheckArgs, DrainArgs, GcArgs, ListArgs, LsArgs, PlatformArgs, PlatformVerb, TemplateArgs, TemplateFileArgs,
    TemplateVerb, WorkerAddArgs, WorkerRmArgs, WorkerVerb,
};
pub use site::{DoctorArgs, SetupServerArgs, SetupVerb, SetupWorkerArgs};
pub use status::StatusArgs;
pub use verify::{ReproArgs, VerifyArgs};

use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};
use spool::error::{Error, Kind};
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

/// Adds, runs and observes jobs of a builder spool
#[derive(Debug, Parser)]
#[command(name = "builder", version, arg_required_else_help = false)]
pub struct Cli {
    /// The spool directory
    #[arg(long, env = "BUILDER_SPOOL", global = true, value_name = "DIR")]
    pub spool: Option<PathBuf>,
    /// The configuration file
    #[arg(long, env = "BUILDER_CONFIG", global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Do it on another machine over SSH: USER@HOST or ssh://USER@HOST:PORT
    #[arg(long, env = "BUILDER_HOST", global = true, value_name = "HOST")]
    pub host: Option<String>,
    #[command(subcommand)]
    pub verb: Verb,
}

impl Cli {
    /// Reads a command line, and keeps what of it was typed.
    pub fn read(words: impl IntoIterator<Item = OsString>) -> Result<(Cli, ArgMatches), Unread> {
        let words: Vec<OsString> = words.into_iter().collect();
        if words.len() < 2 {
            return Err(Unread::Empty);
        }
        let read = Cli::command().try_get_matches_from(words);
        read.and_then(|typed| Ok((Cli::from_arg_matches(&typed)?, typed))).map_err(|e| match e.use_stderr() {
            true => Unread::Wrong(Error::usage("builder", &e.to_string())),
            false => Unread::Help(e),
        })
    }
}

/// A command line in which no verb was found.
#[derive(Debug)]
pub enum Unread {
    /// It has the program's name only.
    Empty,
    /// It asks for help, or for the version.
    Help(clap::Error),
    /// What is wrong with it.
    Wrong(Error),
}

impl Unread {
    /// What is wrong with it, if something is.
    pub fn wrong(&self) -> Option<&Error> {
        match self {
            Unread::Wrong(error) => Some(error),
            Unread::Empty | Unread::Help(_) => None,
        }
    }

    /// Prints what there is to say. Returns the exit code.
    pub fn say(self) -> ExitCode {
        match self {
            Unread::Empty => {
                eprint!("{}", Cli::command().render_help());
                ExitCode::from(Kind::Usage as u8)
            }
            Unread::Help(help) => {
                let _ = help.print();
                ExitCode::SUCCESS
            }
            Unread::Wrong(error) => crate::fail(&error),
        }
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Make a spool, or complete one
    Init,
    /// Add a job
    Add(Box<AddArgs>),
    /// Change a job; what is queued stays as it is
    Set(Box<SetArgs>),
    /// Change a job's file in your editor
    Edit(EditArgs),
    /// Remove a job and its queued builds; what ran stays
    Rm(RmArgs),
    /// Queue a build of a job now, in front of what timers queued
    Run(RunArgs),
    /// Show the schedule, the queues, what runs, and the workers
    Ls(ListArgs),
    /// Say how the whole is: queues, workers, room, and what is wrong
    Status(StatusArgs),
    /// Print the moments at which jobs, or an expression of crontab(5), are due
    Next(NextArgs),
    /// Follow a build from its first line, and exit as it does
    Watch(WatchArgs),
    /// Print what a build has printed
    Log(LogArgs),
    /// Print the record of a build
    Show(ShowArgs),
    /// Compare two builds: what went in, and what came out
    Diff(DiffArgs),
    /// List the builds that have a content
    Find(FindArgs),
    /// Build something again, perhaps under other circumstances, and say whether the same comes out
    Verify(VerifyArgs),
    /// Print a script that builds it again anywhere, and compares what comes out
    Repro(ReproArgs),
    /// Copy a build's artifacts
    Get(GetArgs),
    /// Check who has signed a build, and that it is what they signed
    VerifySignature(VerifySignatureArgs),
    /// End a queued or a running build
    Cancel(CancelArgs),
    /// Name the newest build of a job that exited 0, on each platform
    Latest(LatestArgs),
    /// Show how the builds of a job went
    History(HistoryArgs),
    /// Keep a build for good, whatever `gc` removes
    Pin(PinArgs),
    /// Let a build go when its time comes
    Unpin(UnpinArgs),
    /// Take in builds, or jobs, of robur's builder
    Import(ImportArgs),
    /// Write a finished build as another program takes it
    Export(ExportArgs),
    /// Remove finished builds that are not to be kept, and what only they had
    Gc(GcArgs),
    /// List, pause and drop platforms
    #[command(subcommand, arg_required_else_help = false)]
    Platform(PlatformVerb),
    /// List, print and check templates, of which jobs are made
    #[command(subcommand, arg_required_else_help = false)]
    Template(TemplateVerb),
    /// Hand out nothing more, for maintenance; what runs goes on to its end
    Drain(DrainArgs),
    /// Look whether the spool is what it must be, and mend it
    Check(CheckArgs),
    /// Add, list and remove workers
    #[command(subcommand, arg_required_else_help = false)]
    Worker(WorkerVerb),
    /// Set up a server, or a worker of one
    #[command(subcommand, arg_required_else_help = false)]
    Setup(SetupVerb),
    /// Look whether a server and its workers are set up well, and say what to mend
    Doctor(DoctorArgs),
    /// Carry out what somebody else asks for, within a role: the forced command of a person's key
    Gate(GateArgs),
    /// Print the script with which a shell completes verbs, options, jobs and builds
    Completion(CompletionArgs),
    /// Print what a word can become: what such a script asks
    #[command(hide = true)]
    Complete(CompleteArgs),
}
