//! One error for the whole project: what went wrong, what to do, and the exit code of sysexits(3).

use std::fmt;
use std::io;
use std::path::Path;

/// The class of a failure; its number is the exit code of sysexits(3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The command was used wrongly (EX_USAGE).
    Usage = 64,
    /// Input was read but is not acceptable (EX_DATAERR).
    Data = 65,
    /// What was named does not exist or can't be read (EX_NOINPUT).
    NoInput = 66,
    /// A promise inside builder itself was broken (EX_SOFTWARE).
    Internal = 70,
    /// An output can't be created (EX_CANTCREAT).
    CantCreate = 73,
    /// Reading or writing failed (EX_IOERR).
    Io = 74,
    /// It may work later (EX_TEMPFAIL).
    TryAgain = 75,
    /// Not allowed (EX_NOPERM).
    NoPermission = 77,
    /// The configuration or the spool's set-up is wrong (EX_CONFIG).
    Config = 78,
}

impl Kind {
    /// The class with this code of sysexits(3); one that is not known here may pass by itself.
    pub fn of_code(code: u8) -> Kind {
        use Kind::*;
        let all = [Usage, Data, NoInput, Internal, CantCreate, Io, TryAgain, NoPermission, Config];
        all.into_iter().find(|kind| *kind as u8 == code).unwrap_or(TryAgain)
    }
}

/// The longest that a failure says, in characters: it goes to terminals, into logs and over connections.
const LONGEST: usize = 2000;

/// A failure that prints as one line: what is wrong, then after a semicolon what to do. Whatever it quotes, it has no
/// control character and moves no cursor.
#[derive(Debug)]
pub struct Error {
    kind: Kind,
    message: String,
    hint: Option<String>,
    source: Option<io::Error>,
}

/// The result of everything here.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// A failure of `kind` that says `message`.
    pub fn new(kind: Kind, message: impl Into<String>) -> Error {
        Error { kind, message: line(message.into()), hint: None, source: None }
    }

    /// A wrong command line, from the many lines in which clap says what is wrong with it.
    pub fn usage(program: &str, rendered: &str) -> Error {
        let lines = rendered.lines().map(str::trim).take_while(|line| !line.starts_with("Usage:"));
        let said = lines.filter(|line| !line.is_empty() && !line.starts_with("For more information"));
        let message = said.collect::<Vec<_>>().join(" ").replace("tip: ", "- ");
        let message = message.strip_prefix("error: ").unwrap_or(&message).to_owned();
        Error::new(Kind::Usage, message).hint(format!("`{program} --help` shows what there is"))
    }

    /// Adds what the reader can do about it.
    pub fn hint(mut self, hint: impl Into<String>) -> Error {
        self.hint = Some(line(hint.into()));
        self
    }

    /// What class of failure this is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The exit code of sysexits(3).
    pub fn exit_code(&self) -> u8 {
        self.kind as u8
    }

    pub(crate) fn io(verb: &str, path: &Path, source: io::Error) -> Error {
        let (kind, hint) = classify(&source);
        Error {
            kind,
            message: line(format!("can't {verb} {}: {}", path.display(), plain(&source))),
            hint: hint.map(str::to_owned),
            source: Some(source),
        }
    }
}

/// A text as one line of what can be printed, cut where it is too long.
fn line(text: String) -> String {
    if text.len() <= LONGEST && !text.contains(char::is_control) {
        return text;
    }
    let mut line = text.chars().flat_map(printable);
    let shown: String = line.by_ref().take(LONGEST).collect();
    match line.next() {
        Some(_) => shown + "…",
        None => shown,
    }
}

/// What stands for a character: itself, or the many that a control character is written with.
fn printable(c: char) -> impl Iterator<Item = char> {
    let escaped = (c.is_control() && c != '\n').then(|| c.escape_default());
    let plain = if c == '\n' { ' ' } else { c };
    let itself = escaped.is_none().then_some(plain);
    itself.into_iter().chain(escaped.into_iter().flatten())
}

fn classify(error: &io::Error) -> (Kind, Option<&'static str>) {
    use io::ErrorKind as E;
    match error.kind() {
        E::NotFound => (Kind::NoInput, None),
        E::PermissionDenied => {
            (Kind::NoPermission, Some("run this as the owner of the spool, or give a spool of your own with --spool"))
        }
        E::ReadOnlyFilesystem => {
            (Kind::CantCreate, Some("the file system is mounted read-only; remount it for writing"))
        }
        E::StorageFull | E::QuotaExceeded => {
            (Kind::TryAgain, Some("nothing was changed; make room on that file system and try again"))
        }
        E::AlreadyExists => (Kind::CantCreate, None),
        _ => (Kind::Io, None),
    }
}

/// The system's own words, without Rust's "(os error N)".
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|e| e as _)
    }
}

/// Says of an I/O failure what was tried, and on which path.
pub trait At<T> {
    /// Turns the failure into an [`Error`] that reads "can't VERB PATH: reason".
    fn at(self, verb: &str, path: impl AsRef<Path>) -> Result<T>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, verb: &str, path: impl AsRef<Path>) -> Result<T> {
        self.map_err(|e| Error::io(verb, path.as_ref(), e))
    }
}

impl<T> At<T> for rustix::io::Result<T> {
    fn at(self, verb: &str, path: impl AsRef<Path>) -> Result<T> {
        self.map_err(|e| Error::io(verb, path.as_ref(), e.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_quoted_it_is_a_line() {
        let quoted = "a\nb\r\x1b[2J\u{9b}ü";
        let error = Error::new(Kind::Data, quoted).hint(quoted);
        let line = "a b\\r\\u{1b}[2J\\u{9b}ü";
        assert_eq!(error.to_string(), format!("{line}; {line}"));
        let of_system = Err::<(), _>(io::Error::from(io::ErrorKind::NotFound)).at("open", "a\nb");
        assert!(of_system.unwrap_err().to_string().starts_with("can't open a b: "));
        for long in ["ü", "\0"] {
            let long = Error::new(Kind::Data, long.repeat(1 << 20)).to_string();
            assert!(long.chars().count() == LONGEST + 1 && long.ends_with('…'));
        }
    }

    #[test]
    fn a_usage_message_of_many_lines_becomes_one() {
        let rendered = "error: the following required arguments were not provided:\n  <NAME>\n\n  tip: try it\n\nUsage: builder add <NAME>\n\nFor more information, try '--help'.\n";
        let error = Error::usage("builder", rendered);
        assert_eq!(
            error.to_string(),
            "the following required arguments were not provided: <NAME> - try it; `builder --help` shows what there is"
        );
        assert_eq!(error.exit_code(), 64);
    }
}
