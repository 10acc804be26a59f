//! A program in a terminal: a real pseudo-terminal, and a screen that shows what is printed there.

use crate::process::eventually;
use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZero;
use std::process::{Child, Command};

/// So many lines that have scrolled away are remembered.
const SCROLLBACK: usize = 10_000;

/// A terminal of some size with a program in it; the program is killed when this is dropped.
pub struct Pty {
    master: File,
    child: Child,
    screen: vt100::Parser,
    printed: Vec<u8>,
}

impl Pty {
    /// Starts a program as the leader of a session whose terminal this is, so that Ctrl-C reaches it.
    pub fn start(command: &Command, columns: u16, rows: u16) -> Pty {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a pseudo-terminal");
        grantpt(&master).and_then(|()| unlockpt(&master)).expect("the other end");
        tcsetwinsize(&master, size(columns, rows)).expect("its size");
        let name = ptsname(&master, Vec::new()).expect("its name");
        let open = || rustix::fs::open(&name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).expect("the other end");
        let mut program = Command::new("setsid");
        program.args(["--ctty", "--wait"]).arg(command.get_program()).args(command.get_args());
        program.env("TERM", "xterm-256color").env_remove("NO_COLOR");
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => program.env(name, value),
                None => program.env_remove(name),
            };
        }
        if let Some(dir) = command.get_current_dir() {
            program.current_dir(dir);
        }
        let child = program.stdin(open()).stdout(open()).stderr(open()).spawn().expect("setsid of util-linux");
        rustix::fs::fcntl_setfl(&master, OFlags::RDWR | OFlags::NONBLOCK).expect("reading without waiting");
        let screen = vt100::Parser::new(some(rows), some(columns), SCROLLBACK);
        Pty { master: master.into(), child, screen, printed: Vec::new() }
    }

    /// The program's process number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Lets the program go on after it has stopped.
    pub fn proceeds(&self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::CONT).expect("a signal");
    }

    /// Types something.
    pub fn types(&mut self, bytes: &[u8]) {
        self.master.write_all(bytes).expect("typing");
    }

    /// Gives the terminal another size.
    pub fn resize(&mut self, columns: u16, rows: u16) {
        self.look();
        tcsetwinsize(&self.master, size(columns, rows)).expect("another size");
        self.screen.screen_mut().set_size(some(rows), some(columns));
    }

    /// Takes what has been printed since. Says whether there was something.
    pub fn look(&mut self) -> bool {
        let mut piece = [0; 4096];
        let mut came = false;
        while let Ok(got @ 1..) = self.master.read(&mut piece) {
            self.printed.extend_from_slice(&piece[..got]);
            self.screen.process(&piece[..got]);
            came = true;
        }
        came
    }

    /// All that was printed, byte by byte.
    pub fn printed(&self) -> String {
        String::from_utf8_lossy(&self.printed).into_owned()
    }

    /// The screen now.
    pub fn screen(&self) -> &vt100::Screen {
        self.screen.screen()
    }

    /// The lines on the screen, without the empty ones at its end.
    pub fn lines(&self) -> Vec<String> {
        let (_, columns) = self.screen().size();
        let mut lines: Vec<String> =
            self.screen().rows(0, columns.get()).map(|line| line.trim_end().to_owned()).collect();
        lines.truncate(lines.iter().rposition(|line| !line.is_empty()).map_or(0, |last| last + 1));
        lines
    }

    /// The lines on the screen and those that have scrolled away.
    pub fn all_lines(&mut self) -> Vec<String> {
        let (_, columns) = self.screen().size();
        let screen = self.screen.screen_mut();
        screen.set_scrollback(usize::MAX);
        let mut lines = Vec::new();
        for back in (1..=screen.scrollback()).rev() {
            screen.set_scrollback(back);
            lines.extend(screen.rows(0, columns.get()).next().map(|line| line.trim_end().to_owned()));
        }
        screen.set_scrollback(0);
        lines.extend(self.lines());
        lines
    }

    /// Waits until the screen shows something.
    pub fn until<T>(&mut self, what: &str, mut see: impl FnMut(&Pty) -> Option<T>) -> T {
        eventually(what, || {
            self.look();
            see(self)
        })
    }

    /// Waits until a line on the screen has this text.
    pub fn shows(&mut self, text: &str) {
        self.until(&format!("the screen shows {text}"), |pty| {
            pty.lines().iter().any(|line| line.contains(text)).then_some(())
        });
    }

    /// Waits for the program's end. Returns its exit code.
    pub fn ended(&mut self) -> i32 {
        let status = eventually("the program in the terminal has ended", || {
            self.look();
            self.child.try_wait().expect("its status")
        });
        while self.look() {}
        status.code().unwrap_or(-1)
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.look();
            let last = String::from_utf8_lossy(&self.printed[self.printed.len().saturating_sub(2000)..]).into_owned();
            eprintln!("--- the screen:\n{}\n--- printed last:\n{last:?}", self.lines().join("\n"));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn some(number: u16) -> NonZero<u16> {
    NonZero::new(number).expect("a terminal with lines and columns")
}

fn size(columns: u16, rows: u16) -> Winsize {
    Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}
