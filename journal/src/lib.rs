//! Where the programs' log goes: to standard error, or, where there is one, to the system's log.
//!
//! Under systemd standard error is the journal (`JOURNAL_STREAM`, systemd.exec(5)), which takes entries with fields at a
//! socket of its own. What sshd starts has a standard error that is its client's, and a system whose log is not the journal
//! has syslog(3). What can't be sent is lost after a second: nobody waits longer for whoever keeps logs, and
//! not again before something gets through.

mod entry;
mod failures;
mod line;

pub use failures::logged as failures;
use line::Line;
use std::fmt::Debug;
use std::io::IsTerminal;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// Where a log goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goes {
    /// To standard error, in lines.
    ToStandardError,
    /// To the system's log.
    ToTheSystem,
}

/// Starts the log of a program whose standard error is its own: a person's terminal, a file, or the journal. Unless it is
/// the journal, what is less than `level` is not said.
pub fn start(program: &'static str, level: &str) -> Goes {
    match Line::of_standard_error() {
        Some(line) => start_at(line, program, None),
        None => start_on_standard_error(level),
    }
}

/// Starts the log of a program whose standard error is somebody else's, such as sshd's client; `worker` is whom it serves.
/// Where the system keeps no log, only what is wrong is said, and there.
pub fn start_apart(program: &'static str, worker: Option<String>) -> Goes {
    match Line::of_the_system() {
        Some(line) => start_at(line, program, worker),
        None => start_on_standard_error("warn"),
    }
}

/// What `BUILDER_LOG` lets through.
fn filter(otherwise: &str) -> EnvFilter {
    EnvFilter::try_from_env("BUILDER_LOG").unwrap_or_else(|_| otherwise.into())
}

fn start_at(line: Line, program: &'static str, worker: Option<String>) -> Goes {
    let log = Log { line, program, worker };
    tracing_subscriber::registry().with(filter("info")).with(log).with(failures::Count).init();
    Goes::ToTheSystem
}

fn start_on_standard_error(level: &str) -> Goes {
    tracing_subscriber::fmt()
        .with_env_filter(filter(level))
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal())
        // It would say on standard error that nobody reads standard error, and panic.
        .log_internal_errors(false)
        .finish()
        .with(failures::Count)
        .init();
    Goes::ToStandardError
}

/// Sends each event to the system's log.
struct Log {
    line: Line,
    program: &'static str,
    worker: Option<String>,
}

impl<S: Subscriber> Layer<S> for Log {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut said = Said::default();
        event.record(&mut said);
        let worker = self.worker.iter().map(|worker| ("worker", worker.clone()));
        let entry = entry::Entry::new(*event.metadata().level(), said.message, said.fields, worker);
        self.line.say(self.program, &entry);
    }
}

/// The message of an event, and its other fields.
#[derive(Default)]
struct Said {
    message: String,
    fields: Vec<(&'static str, String)>,
}

impl Said {
    fn note(&mut self, field: &Field, value: String) {
        match field.name() {
            "message" => self.message = value,
            name => self.fields.push((name, value)),
        }
    }
}

impl Visit for Said {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.note(field, value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.note(field, format!("{value:?}"));
    }
}
