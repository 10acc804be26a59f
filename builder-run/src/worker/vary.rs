//! What the worker makes different for a rebuild: circumstances that must not matter to what comes out.
//!
//! The values are those of reprotest(1) where they make sense on any system. There are two of each, for rebuilds with odd and
//! with even numbers. None of them is in the file `environment`: that has what the build and its rebuilds have in common.

use spool::rebuild::Vary;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The permissions that files made by scripts don't get, unless they are varied; umask(2).
const UMASK: u32 = 0o022;

/// The same for a rebuild. dpkg-deb(1) refuses directories that nobody else can enter.
const OTHER_UMASK: u32 = 0o002;

/// Names of a build's directories.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Names {
    /// The directory that has all others.
    pub room: &'static str,
    /// HOME.
    pub home: &'static str,
}

impl Names {
    /// Those of a build that repeats no other. They are plain: compilers write them into what they build, and
    /// dpkg-buildflags(1) keeps them out only when they have letters, digits and `-+:.~/_`.
    pub const USUAL: Names = Names { room: "build", home: "home" };

    /// Those of what a worker tries itself.
    pub const TRIAL: Names = Names { room: "trial", home: "home" };

    /// All that a room may be called.
    pub const ROOMS: [&str; 4] = ["build", "again", "another-place", "trial"];
}

/// The circumstances of a script.
#[derive(Debug, PartialEq, Eq)]
pub struct Circumstances {
    /// Names of its directories.
    pub names: Names,
    /// Its umask(2).
    pub umask: u32,
    /// Variables that take the place of others of their name.
    pub variables: BTreeMap<String, String>,
    /// What is different, and how, for the record.
    pub varied: BTreeMap<String, String>,
}

impl Circumstances {
    /// Makes what is wanted different, as far as the machine on which the worker runs can. `path` is the usual PATH.
    pub fn here(vary: &[Vary], rebuild: u32, path: &str) -> Circumstances {
        let system = System { locales: locales(vary), faketime: faketime(vary) };
        Circumstances::on(&system, vary, rebuild, path)
    }

    /// Makes what is wanted different, as far as this system can. `path` is the usual PATH.
    pub fn on(system: &System, vary: &[Vary], rebuild: u32, path: &str) -> Circumstances {
        let mut all =
            Circumstances { names: Names::USUAL, umask: UMASK, variables: BTreeMap::new(), varied: BTreeMap::new() };
        let of = |values: [&'static str; 2]| values[(rebuild as usize + 1) % 2];
        for one in vary {
            let how = match one {
                Vary::User => all.set(["USER", "LOGNAME", "USERNAME"], of(["rebuilder", "somebody"])),
                Vary::Home => {
                    all.names.home = of(["dwelling", "where-somebody-lives"]);
                    format!("HOME=.../{}", all.names.home)
                }
                Vary::Path => {
                    all.names.room = of([Names::ROOMS[1], Names::ROOMS[2]]);
                    format!(".../{}/output", all.names.room)
                }
                Vary::Environment => {
                    all.set(["PATH"], &format!("{path}:/nonexistent/{}", of(["varied", "other"])));
                    all.set(["VARIED_ENVIRONMENT"], of(["some words", "others"]))
                }
                Vary::Locale => {
                    let locale = of(["fr_CH.UTF-8", "et_EE.UTF-8"]);
                    let locale = if system.has(locale) { locale } else { "C" };
                    all.set(["LANGUAGE"], of(["fr", "et"]));
                    all.set(["LC_ALL", "LANG"], locale)
                }
                Vary::Timezone => all.set(["TZ"], of(["GMT+12", "GMT-14"])),
                Vary::Umask => {
                    all.umask = OTHER_UMASK;
                    format!("{OTHER_UMASK:04o}")
                }
                Vary::Time => {
                    let Some(library) = &system.faketime else { continue };
                    // Deadlines of programs go by the monotonic clock.
                    all.set(["FAKETIME_DONT_FAKE_MONOTONIC", "DONT_FAKE_MONOTONIC"], "1");
                    all.set(["LD_PRELOAD"], &library.display().to_string());
                    all.set(["FAKETIME"], of(["+398.4d", "+1203.7d"]))
                }
            };
            all.varied.insert(one.word().to_owned(), how);
        }
        all
    }

    fn set<const N: usize>(&mut self, names: [&str; N], value: &str) -> String {
        self.variables.extend(names.map(|name| (name.to_owned(), value.to_owned())));
        format!("{}={value}", names[0])
    }
}

/// What of the system in which scripts run matters here.
#[derive(Default)]
pub struct System {
    /// What locale(1) lists.
    pub locales: String,
    /// The library of faketime(1).
    pub faketime: Option<PathBuf>,
}

impl System {
    /// locale(1) spells it `utf8`.
    fn has(&self, locale: &str) -> bool {
        let plain = |name: &str| name.to_ascii_lowercase().replace('-', "");
        self.locales.lines().any(|line| plain(line) == plain(locale))
    }
}

fn locales(vary: &[Vary]) -> String {
    if !vary.contains(&Vary::Locale) {
        return String::new();
    }
    let listed = Command::new("locale").arg("-a").stdin(Stdio::null()).stderr(Stdio::null()).output();
    listed.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
}

/// Where the packages of Debian, FreeBSD and others put it.
fn faketime(vary: &[Vary]) -> Option<PathBuf> {
    if !vary.contains(&Vary::Time) {
        return None;
    }
    let below = |lib: &Path| lib.join("faketime/libfaketimeMT.so.1");
    let of_architectures = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten().map(|entry| entry.path());
    let plain = ["/usr/lib", "/usr/lib64", "/usr/local/lib"].map(PathBuf::from);
    of_architectures.chain(plain).map(|lib| below(&lib)).find(|library| library.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_asked_for_stays_as_it_is() {
        let usual = Circumstances::here(&[], 0, "/bin");
        assert_eq!((usual.names, usual.umask), (Names::USUAL, UMASK));
        assert!(usual.variables.is_empty() && usual.varied.is_empty());
    }

    #[test]
    fn all_that_can_be_is_different_and_on_the_record() {
        let system = System { locales: "C\net_EE.utf8\nfr_CH.utf8\n".into(), faketime: Some("/lib/f.so".into()) };
        let [one, two, three] = [1, 2, 3].map(|number| Circumstances::on(&system, &Vary::ALL, number, "/bin"));
        assert_eq!(one, three);
        for (a, b) in [(&one, &two), (&one, &Circumstances::on(&system, &[], 1, "/bin"))] {
            assert!(a.names.room != b.names.room && a.names.home != b.names.home, "{a:?}");
            let same = a.variables.iter().filter(|(name, value)| b.variables.get(*name) == Some(*value));
            assert_eq!(
                same.map(|(name, _)| name.as_str())
                    .filter(|name| !name.contains("MONO") && *name != "LD_PRELOAD")
                    .count(),
                0
            );
        }
        assert_eq!(one.varied.len(), Vary::ALL.len());
        assert_eq!(two.varied["locale"], "LC_ALL=et_EE.UTF-8");
        assert_eq!(one.variables["PATH"], "/bin:/nonexistent/varied");
    }

    #[test]
    fn what_a_system_can_not_do_is_not_said_to_be_done() {
        let poor = Circumstances::on(&System::default(), &Vary::ALL, 1, "/bin");
        assert!(!poor.varied.contains_key("time") && !poor.variables.contains_key("LD_PRELOAD"));
        assert_eq!(poor.varied["locale"], "LC_ALL=C");
    }
}
