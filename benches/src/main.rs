//! benches - how fast builder is, beside its peers and the limits that the system sets.
//!
//! Each section measures ours and the other in turn, in the same run and on the same file system, and prints
//! medians and their ratio as a markdown table. `BENCHMARKS.md` says what is compared with what.

mod bare;
mod console;
mod idle;
mod latency;
mod load;
mod million;
mod past;
mod peers;
mod schedule;
mod site;
mod stats;
mod supervise;
mod table;
mod throughput;
mod transitions;
mod upload;

use clap::{Parser, ValueEnum};
use site::Site;
use std::path::PathBuf;
use std::process::ExitCode;

/// Measures builder against peers and limits
#[derive(Debug, Parser)]
#[command(name = "benches")]
struct Cli {
    /// What to measure; default: everything
    #[arg(value_enum)]
    sections: Vec<Section>,
    /// Where spools are made: its file system is what is measured
    #[arg(long, default_value = "/var/tmp")]
    dir: PathBuf,
    /// Make an ext4 with a journal in a file of DIR, and measure there (root only)
    #[arg(long = "loop")]
    on_loop: bool,
    /// How many builds `million` makes
    #[arg(long, default_value_t = 1_000_000)]
    builds: usize,
    /// How often each measurement is repeated
    #[arg(long, default_value_t = 5)]
    rounds: usize,
}

/// A room of this house.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Section {
    Transitions,
    Latency,
    Throughput,
    Upload,
    Console,
    Schedule,
    Idle,
    /// Only when it is named: it takes minutes and 10 GB
    Million,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    if !supervise::is_supervised() {
        return supervise::run(&cli.dir, cli.on_loop, cli.sections.contains(&Section::Million));
    }
    let site = Site { dir: supervise::directory(), rounds: cli.rounds };
    println!("{}", site.describe());
    let wanted = |section: &Section| match cli.sections.is_empty() {
        true => *section != Section::Million,
        false => cli.sections.contains(section),
    };
    for section in Section::value_variants().iter().filter(|section| wanted(section)) {
        let tables = match section {
            Section::Transitions => transitions::measure(&site),
            Section::Latency => latency::measure(&site),
            Section::Throughput => throughput::measure(&site),
            Section::Upload => upload::measure(&site),
            Section::Console => console::measure(&site),
            Section::Schedule => schedule::measure(&site),
            Section::Idle => idle::measure(&site),
            Section::Million => million::measure(&site, cli.builds),
        };
        for table in tables {
            println!("{table}");
        }
    }
    ExitCode::SUCCESS
}
