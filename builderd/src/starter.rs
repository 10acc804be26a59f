//! The command that starts a worker: run as it was written, by no shell, with an end to its time and to its words.

use crate::deadline;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use spool::Spool;
use spool::launch::{Launch, Words};
use spool::name::{Platform, WorkerName};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tracing::info;

/// So many lines of what a command prints are logged, and so much of each.
const LINES: usize = 20;
const LINE: usize = 500;

/// No more than this is read of what a command has printed when it has ended: what it has left running may go on.
const REST: usize = 1 << 20;

/// How often the command's end is looked for.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

/// What came of a command, with why it was no launch in a line.
pub type Launched = std::result::Result<(), String>;

/// A worker to be started.
pub struct Order {
    /// For whose builds.
    pub platform: Platform,
    /// Which.
    pub worker: WorkerName,
    command: Words,
    limit: Duration,
    environment: BTreeMap<&'static str, String>,
}

impl Order {
    /// What the rules of a platform say of it.
    pub fn new(spool: &Spool, platform: &Platform, worker: &WorkerName, rules: &Launch) -> Order {
        let environment = BTreeMap::from([
            ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()),
            ("BUILDER_SPOOL", spool.layout().root().display().to_string()),
            ("BUILDER_PLATFORM", platform.to_string()),
            ("BUILDER_WORKER", worker.to_string()),
        ]);
        let (command, limit) = (rules.command.clone(), rules.command_limit());
        Order { platform: platform.clone(), worker: worker.clone(), command, limit, environment }
    }
}

/// Runs the command to its end, and says in a line why that was no launch.
pub fn carry_out(order: &Order) -> Launched {
    let (platform, worker, program) = (&order.platform, &order.worker, order.command.program());
    info!(%platform, %worker, "is launched by {program}");
    let mut command = Command::new(program);
    command.args(order.command.arguments()).env_clear().envs(&order.environment).current_dir("/");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = command.spawn().map_err(|e| format!("{program} can't be started: {e}"))?;
    let mut words = [Stream::of(child.stdout.take()), Stream::of(child.stderr.take())];
    let ended = listen(&mut child, &mut words, order);
    words.iter_mut().for_each(|stream| stream.end(order));
    // What a command says of its failure it says last, and on standard error if it knows how.
    let [output, errors] = words;
    let last = Some(errors.last).filter(|last| !last.is_empty()).unwrap_or(output.last);
    let last = if last.is_empty() { last } else { format!(": {last}") };
    match ended {
        Ok(Some(status)) if status.success() => Ok(()),
        Ok(Some(status)) => Err(format!("{program} failed, {status}{last}")),
        Ok(None) => Err(format!("{program}: {}{last}", deadline::end(child, order.limit))),
        Err(e) => Err(format!("{program} can't be waited for: {e}")),
    }
}

/// Reads what a command prints until it ends; nothing when it takes longer than it may.
fn listen(child: &mut Child, words: &mut [Stream; 2], order: &Order) -> io::Result<Option<ExitStatus>> {
    let until = Instant::now() + order.limit;
    loop {
        for stream in words.iter_mut() {
            stream.read(order);
        }
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= until {
            return Ok(None);
        }
        let open = words.iter().filter_map(|stream| stream.pipe.as_ref());
        let mut fds: Vec<PollFd<'_>> = open.map(|pipe| PollFd::new(pipe, PollFlags::IN)).collect();
        let _ = poll(&mut fds, Some(&LOOK));
    }
}

/// What a command prints on one of its streams.
struct Stream {
    pipe: Option<File>,
    line: Vec<u8>,
    lines: usize,
    /// The last line that was not blank.
    last: String,
}

impl Stream {
    fn of(pipe: Option<impl Into<OwnedFd>>) -> Stream {
        let pipe = pipe.map(|pipe| File::from(pipe.into())).filter(|pipe| wait_for_nothing(pipe).is_ok());
        Stream { pipe, line: Vec::new(), lines: 0, last: String::new() }
    }

    /// Takes what is there. Returns how much that was.
    fn read(&mut self, order: &Order) -> usize {
        let mut buffer = [0; 4096];
        let Some(pipe) = &mut self.pipe else { return 0 };
        match pipe.read(&mut buffer) {
            Ok(0) => self.pipe = None,
            Ok(got) => {
                buffer[..got].iter().for_each(|byte| self.take(*byte, order));
                return got;
            }
            Err(e) if [io::ErrorKind::WouldBlock, io::ErrorKind::Interrupted].contains(&e.kind()) => {}
            Err(_) => self.pipe = None,
        }
        0
    }

    fn take(&mut self, byte: u8, order: &Order) {
        match byte {
            b'\n' => self.end_line(order),
            _ if self.line.len() < LINE => self.line.push(byte),
            _ => {}
        }
    }

    fn end_line(&mut self, order: &Order) {
        let line = String::from_utf8_lossy(&self.line);
        let line: String = line.trim().chars().map(|c| if c.is_control() { '?' } else { c }).collect();
        self.line.clear();
        if line.is_empty() {
            return;
        }
        self.lines += 1;
        if self.lines <= LINES {
            info!(platform = %order.platform, worker = %order.worker, "{line}");
        }
        self.last = line;
    }

    /// Takes what is left.
    fn end(&mut self, order: &Order) {
        let mut read = 0;
        loop {
            let got = self.read(order);
            read += got;
            if got == 0 || read > REST {
                break;
            }
        }
        self.end_line(order);
        self.pipe = None;
    }
}

fn wait_for_nothing(pipe: &File) -> rustix::io::Result<()> {
    let fd = pipe.as_fd();
    fcntl_setfl(fd, fcntl_getfl(fd)? | OFlags::NONBLOCK)
}
