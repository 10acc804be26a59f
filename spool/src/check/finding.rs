//! What a check finds, and what can be done about it.

use crate::build_id::BuildId;
use crate::digest::Sha256;
use serde::{Serialize, Serializer};
use std::path::PathBuf;

macro_rules! invariants {
    ($($number:literal $name:ident $sentence:literal)*) => {
        /// What is true of every spool, by the numbers of `spool-layout.md`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Invariant {
            $(#[doc = $sentence] $name = $number,)*
        }

        impl Invariant {
            /// All, by number.
            pub const ALL: &[Invariant] = &[$(Invariant::$name,)*];

            /// The sentence that must be true, as `spool-layout.md` has it.
            pub fn sentence(self) -> &'static str {
                match self {
                    $(Invariant::$name => $sentence,)*
                }
            }
        }
    };
}

invariants! {
    1 Made "Every directory that `init` makes is there."
    2 Listed "Nothing lies in the spool that the tables do not list for its place, and each thing is what they say: a file, a directory or a socket, and a symlink in `jobs/JOB/latest/` alone."
    3 Owned "Everything belongs to the user who owns the root."
    4 Open "Directories have mode 0755, files 0644, contents 0444."
    5 OneState "A build is in exactly one place."
    6 Placed "A build lies where its id says: in the queue of its platform, in the month of its time."
    7 Whole "A build has a `build.toml` that can be read and a `script` that is not empty."
    8 Settled "A build whose end was decided has got there: unless its server lives, no active build has a `result.toml` and a note in `owed/`."
    9 Ended "A build that is over has a `result.toml` that can be read, and is in `done/` exactly when it exited 0."
    10 Manifest "`manifest` has the digest, and its two sides have the digests, that `result.toml` says, and `artifacts/` has exactly what it lists, as many files and bytes as `result.toml` says."
    11 Kept "What a build links is in the store."
    12 Content "A content has the digest that its name, its manifest or the `input` of its `result.toml` says."
    13 Timed "`console.times` counts no more bytes than `console.log` has."
    14 Written "Jobs, workers, platforms and pins can be read, and the jobs fit together."
    15 Noted "What builder notes for itself can be read: `attempts.toml`, `tally.toml`, and the files in `good/`, `timers/`, `owed/`, `launches/` and of workers."
    16 Meant "What is in `good/`, `timers/` and `jobs/JOB/` is of a job that is there, and links lead to builds of it that exited 0."
    17 Sealed "What the `seal` of a build lists is there, with the digest that it says, and nothing else that it could list; `seal.sig` is its signature by a key of `signers`."
}

impl std::fmt::Display for Invariant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&format!("I{}", *self as u8))
    }
}

/// Something that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What is not true.
    pub invariant: Invariant,
    /// Of which file or directory.
    pub path: PathBuf,
    /// What is wrong with it.
    pub wrong: String,
    /// What can be done about it.
    pub cure: Cure,
}

/// What a repair does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cure {
    /// Moves this to `lost+found/`.
    SetAside(PathBuf),
    /// Moves this file of an ended build to `lost+found/`, if it is there, and notes in the build's file `lost` that
    /// nothing else has its content.
    Lose {
        /// The build's directory.
        build: PathBuf,
        /// The file's name within.
        name: String,
    },
    /// Makes the directory.
    Make,
    /// Sets these permissions.
    Mode(u32),
    /// Moves the build to where it belongs.
    Move(PathBuf),
    /// Carries out the last steps of the build's end.
    Settle(BuildId),
    /// Links it from the store, if the store's content is the right one.
    Link(Sha256),
    /// Gives it its name in the store.
    Name,
    /// Keeps the part of it that can be true, and moves the whole to `lost+found/`.
    Cut,
    /// Nothing: a human must do this.
    Human(String),
}

impl Cure {
    /// Whether a repair does something.
    pub fn is_known(&self) -> bool {
        !matches!(self, Cure::Human(_))
    }
}

/// What a repair does, as an order to it, or what a human must do.
impl std::fmt::Display for Cure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Cure::SetAside(path) => match path.file_name() {
                Some(name) => write!(f, "move {} to lost+found/", name.display()),
                None => f.write_str("move it to lost+found/"),
            },
            Cure::Lose { name, .. } => write!(f, "note that {name} is lost; what there is of it goes to lost+found/"),
            Cure::Make => f.write_str("make it"),
            Cure::Mode(mode) => write!(f, "set mode {mode:04o}"),
            Cure::Move(to) => write!(f, "move it to {}", to.display()),
            Cure::Settle(_) => f.write_str("carry out the last steps"),
            Cure::Link(_) => f.write_str("link it from the store"),
            Cure::Name => f.write_str("give it its name in the store"),
            Cure::Cut => f.write_str("keep what can be true; the whole goes to lost+found/"),
            Cure::Human(what) => f.write_str(what),
        }
    }
}

impl Serialize for Invariant {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
