//! What programs did to the files below a directory, as strace(1) saw it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The system calls that change files, make them durable, or say something to somebody. Machines that lack one of them
/// have it by another name.
const CALLS: &str = "?open,?creat,openat,write,writev,pwrite64,pwritev,copy_file_range,sendfile,splice,?rename,?renameat,\
                     renameat2,?link,linkat,?symlink,symlinkat,?mkdir,mkdirat,?unlink,unlinkat,?rmdir,?chmod,fchmod,\
                     fchmodat,?truncate,ftruncate,fallocate,fsync,fdatasync,syncfs,sync";

/// One call that succeeded. Paths are absolute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// A file was opened that is made when it is missing, with this mode, and emptied when the last is true.
    Open(PathBuf, u32, bool),
    /// Bytes went to an open file, at its end or at an offset.
    Write(PathBuf, Option<u64>, Vec<u8>),
    /// A file got this length.
    Truncate(PathBuf, u64),
    /// A directory was made.
    MakeDir(PathBuf),
    /// A name went.
    Remove(PathBuf),
    /// A file or directory got another name.
    Rename(PathBuf, PathBuf),
    /// A file got one more name.
    Link(PathBuf, PathBuf),
    /// A symbolic link to the first was made.
    Symlink(PathBuf, PathBuf),
    /// A file got these permissions.
    Mode(PathBuf, u32),
    /// A file, or a directory's entries, were made durable.
    Sync(PathBuf),
    /// Everything was.
    SyncAll,
    /// Something else, with open files: nobody does it to a spool, and who begins to must teach it to this.
    Other(String, Vec<PathBuf>),
}

/// strace(1), with the words that record to this file; the program to be run comes behind them.
pub fn strace(trace: &Path) -> Command {
    let mut strace = Command::new("strace");
    strace.args(["-f", "--seccomp-bpf", "-y", "-xx", "-s", "1000000", "-qqq", "-e", "signal=none"]);
    strace.args(["-e", &format!("trace={CALLS}"), "-o"]).arg(trace);
    strace
}

/// The calls in a trace, in the order in which they were over, each with the process that made it.
pub fn calls(trace: &str) -> Vec<(u32, Call)> {
    let mut begun: BTreeMap<&str, String> = BTreeMap::new();
    let mut calls = Vec::new();
    for line in trace.lines() {
        let Some((process, rest)) = line.split_once(' ') else { continue };
        let rest = rest.trim_start();
        if let Some(start) = rest.strip_suffix(" <unfinished ...>") {
            begun.insert(process, start.to_owned());
            continue;
        }
        let whole = match rest.split_once(" resumed>") {
            Some((_, end)) if rest.starts_with("<... ") => begun.remove(process).unwrap_or_default() + end,
            _ => rest.to_owned(),
        };
        calls.extend(call(&whole).map(|call| (process.parse().unwrap_or(0), call)));
    }
    calls
}

fn call(line: &str) -> Option<Call> {
    let (name, rest) = line.split_once('(')?;
    let (words, result) = rest.rsplit_once(") = ").or_else(|| rest.rsplit_once(" = "))?;
    let words: Vec<&str> = words.trim_end_matches([' ', ')']).split(", ").collect();
    let result = result.trim();
    if result.starts_with('-') || result.starts_with('?') {
        return None;
    }
    let word = |n: usize| words.get(n).copied().unwrap_or_default();
    let octal = |n: usize| u32::from_str_radix(word(n), 8).unwrap_or(0o644);
    let number = |n: usize| word(n).parse::<u64>().ok();
    Some(match name {
        "openat" if word(2).contains("O_CREAT") || word(2).contains("O_TRUNC") => {
            Call::Open(at(word(0), word(1)), octal(3), word(2).contains("O_TRUNC"))
        }
        "openat" => return None,
        "write" => Call::Write(opened(word(0))?, None, bytes(word(1))),
        "pwrite64" => Call::Write(opened(word(0))?, number(3), bytes(word(1))),
        "ftruncate" => Call::Truncate(opened(word(0))?, number(1)?),
        "mkdir" => Call::MakeDir(path(word(0))),
        "mkdirat" => Call::MakeDir(at(word(0), word(1))),
        "unlink" | "rmdir" => Call::Remove(path(word(0))),
        "unlinkat" => Call::Remove(at(word(0), word(1))),
        "rename" => Call::Rename(path(word(0)), path(word(1))),
        "renameat" | "renameat2" => Call::Rename(at(word(0), word(1)), at(word(2), word(3))),
        "link" => Call::Link(path(word(0)), path(word(1))),
        "linkat" => Call::Link(at(word(0), word(1)), at(word(2), word(3))),
        "symlink" => Call::Symlink(path(word(0)), path(word(1))),
        "symlinkat" => Call::Symlink(path(word(0)), at(word(1), word(2))),
        "chmod" => Call::Mode(path(word(0)), octal(1)),
        "fchmod" => Call::Mode(opened(word(0))?, octal(1)),
        "fchmodat" => Call::Mode(at(word(0), word(1)), octal(2)),
        "fsync" | "fdatasync" => Call::Sync(opened(word(0))?),
        "syncfs" | "sync" => Call::SyncAll,
        _ => Call::Other(name.to_owned(), words.iter().filter_map(|word| opened(word)).collect()),
    })
}

/// `"\x2f\x74"`.
fn bytes(word: &str) -> Vec<u8> {
    let digits = word.trim_matches(|c| c == '"' || c == '.').split("\\x").skip(1);
    digits.map(|two| u8::from_str_radix(two.get(..2).unwrap_or("00"), 16).unwrap_or(0)).collect()
}

fn path(word: &str) -> PathBuf {
    PathBuf::from(String::from_utf8_lossy(&bytes(word)).into_owned())
}

/// `3<\x2f\x74>`; nothing for one that has no name.
fn opened(word: &str) -> Option<PathBuf> {
    let (_, rest) = word.split_once('<')?;
    Some(path(rest.split('>').next()?))
}

/// A name from a directory, `AT_FDCWD<\x2f>` or an open one.
fn at(dir: &str, name: &str) -> PathBuf {
    opened(dir).unwrap_or_default().join(path(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_read_when_they_are_over() {
        let trace = "1 openat(AT_FDCWD<\\x2f\\x61>, \"\\x62\", O_WRONLY|O_CREAT|O_EXCL|O_CLOEXEC, 0600) = 3<\\x2f\\x61\\x2f\\x62>\n\
                     1 write(3<\\x2f\\x61\\x2f\\x62>, \"\\x68\\x69\", 2 <unfinished ...>\n\
                     2 fsync(4<\\x2f\\x61>)                  = 0\n\
                     1 <... write resumed>)              = 2\n\
                     2 unlink(\"\\x2f\\x63\") = -1 ENOENT (No such file or directory)\n\
                     2 renameat2(AT_FDCWD<\\x2f>, \"\\x2f\\x61\", AT_FDCWD<\\x2f>, \"\\x2f\\x64\", RENAME_NOREPLACE) = 0\n";
        let expected = [
            (1, Call::Open("/a/b".into(), 0o600, false)),
            (2, Call::Sync("/a".into())),
            (1, Call::Write("/a/b".into(), None, b"hi".to_vec())),
            (2, Call::Rename("/a".into(), "/d".into())),
        ];
        assert_eq!(calls(trace), expected);
    }
}
