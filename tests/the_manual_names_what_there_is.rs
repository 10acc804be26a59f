//! The manual pages say what the programs take, all of it and nothing else.

use harness::{Finished, Lab, PLATFORM};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

const SHELLS_OWN: [&str; 4] = ["PWD", "OLDPWD", "SHLVL", "_"];

fn man() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../man")
}

fn page(name: &str) -> String {
    std::fs::read_to_string(man().join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

fn pages() -> Vec<String> {
    let names = std::fs::read_dir(man()).expect("the manual").flatten().map(|entry| entry.file_name());
    names.map(|name| name.into_string().expect("UTF-8")).collect()
}

/// Options by verb; those that stand before the verb are of the verb "".
type Options = BTreeMap<String, BTreeSet<String>>;

/// What a program says of itself, verb by verb.
fn of_program(program: &str) -> Options {
    let mut all = Options::new();
    ask(program, &[], &mut all);
    all
}

fn ask(program: &str, verb: &[&str], into: &mut Options) {
    let said = Finished::of(Command::new(harness::binary(program)).args(verb).arg("--help").env("COLUMNS", "200"));
    assert_eq!(said.code, 0, "{program} {verb:?} --help: {said:?}");
    let mut options = BTreeSet::new();
    for line in said.stdout.lines().map(str::trim_start).filter(|line| line.starts_with('-')) {
        let names = line.split([' ', ',', '[', '=']).filter(|word| word.starts_with('-') && word.len() > 1);
        // What stands behind two blanks is a description.
        let before = line.split("  ").next().unwrap_or_default();
        options.extend(names.filter(|name| before.contains(name)).map(str::to_owned));
    }
    let below: Vec<&str> = match said.stdout.split_once("\nCommands:\n") {
        Some((_, rest)) => rest.lines().take_while(|line| line.starts_with("  ")).collect(),
        None => Vec::new(),
    };
    let names = below.iter().filter_map(|line| line.strip_prefix("  ").filter(|line| !line.starts_with(' ')));
    let names: Vec<&str> = names.filter_map(|line| line.split(' ').next()).filter(|name| *name != "help").collect();
    for name in &names {
        ask(program, &[verb, &[name]].concat(), into);
    }
    if names.is_empty() || verb.is_empty() {
        let everywhere = into.get("").cloned().unwrap_or_default();
        into.insert(verb.join(" "), options.difference(&everywhere).cloned().collect());
    }
    if verb.is_empty() {
        let everywhere = options;
        into.iter_mut().filter(|(verb, _)| !verb.is_empty()).for_each(|(_, own)| {
            own.retain(|name| !everywhere.contains(name));
        });
    }
}

/// The options that are named in a line of mdoc.
fn flags(line: &str) -> impl Iterator<Item = String> {
    let words: Vec<&str> = if line.starts_with('.') { line.split(' ').collect() } else { Vec::new() };
    let pairs: Vec<String> =
        words.windows(2).filter(|pair| pair[0].ends_with("Fl")).map(|pair| pair[1].into()).collect();
    pairs.into_iter().map(|name| format!("-{name}"))
}

/// What a page says of each verb, in a section of its own; what stands elsewhere is of the verb "".
fn of_page(text: &str) -> Options {
    let mut all = Options::from([(String::new(), BTreeSet::new())]);
    let (mut section, mut verb) = ("", String::new());
    for line in text.lines() {
        if let Some(title) = line.strip_prefix(".Sh ") {
            (section, verb) = (title, String::new());
        } else if let Some(title) = line.strip_prefix(".Ss ").filter(|_| section == "COMMANDS") {
            verb = title.to_owned();
            all.entry(verb.clone()).or_default();
        } else if section != "SYNOPSIS" {
            all.get_mut(&verb).expect("a verb").extend(flags(line));
        }
    }
    all
}

#[test]
fn the_pages_are_sound_mdoc() {
    assert_eq!(pages().len(), 6);
    assert!(Path::new("/usr/bin/mandoc").exists(), "mandoc is missing: install the package mandoc");
    for name in pages() {
        let lint = Finished::of(Command::new("mandoc").args(["-Tlint", "-Wwarning"]).arg(man().join(&name)));
        assert_eq!((lint.code, lint.stdout.as_str()), (0, ""), "{name}: {lint:?}");
    }
}

/// Verbs and options of a program, each under its verb, and no others.
fn compare(program: &str, name: &str) {
    let (there, shown) = (of_program(program), of_page(&page(name)));
    assert_eq!(there.keys().collect::<Vec<_>>(), shown.keys().collect::<Vec<_>>(), "{name}: the verbs");
    let everything: BTreeSet<&String> = there.values().flatten().collect();
    for (verb, options) in &there {
        let missing: Vec<_> = options.difference(&shown[verb]).collect();
        assert!(missing.is_empty(), "{name} does not tell of {missing:?} of `{program} {verb}`");
        // What stands under no verb may speak of all of them.
        let known = |option: &String| match verb.is_empty() {
            true => everything.contains(option),
            false => options.contains(option) || there[""].contains(option),
        };
        let unknown: Vec<_> = shown[verb].iter().filter(|option| !known(option)).collect();
        assert!(unknown.is_empty(), "{name} tells of {unknown:?}, which `{program} {verb}` does not take");
    }
}

#[test]
fn each_verb_and_each_option_has_its_place() {
    let builder = of_program("builder");
    assert!(builder.len() > 20 && builder["get"].contains("--force") && builder["get"].contains("-f"), "{builder:?}");
    assert!(builder["worker add"].contains("--platform") && !builder["worker add"].contains("--host"), "{builder:?}");
    compare("builder", "builder.1");
    compare("builder-run", "builder-run.8");
    let (there, page) = (of_program("builderd"), page("builderd.8"));
    let shown: BTreeSet<String> = page.lines().flat_map(flags).collect();
    assert_eq!(there[""], shown, "builderd.8");
}

/// Also where a page speaks of another program.
#[test]
fn no_page_names_what_there_is_not() {
    let programs = ["builder", "builder-run", "builderd"].map(of_program);
    let options: BTreeSet<&String> = programs.iter().flat_map(|program| program.values().flatten()).collect();
    let verbs: BTreeSet<&str> = programs.iter().flat_map(|program| program.keys().map(String::as_str)).collect();
    for name in pages() {
        let text = page(&name);
        for option in text.lines().flat_map(flags) {
            assert!(options.contains(&option), "{name}: {option}");
        }
        for line in text.lines().filter(|line| line.starts_with('.')) {
            let words: Vec<&str> = line.split(' ').collect();
            let Some(at) = words.iter().position(|word| word.trim_start_matches('.') == "Cm") else { continue };
            let one = words[at + 1];
            let two = format!("{one} {}", words.get(at + 2).copied().unwrap_or_default());
            assert!(verbs.contains(one) || verbs.contains(two.as_str()), "{name}: {line}");
        }
    }
}

/// The commands of ours in MIGRATING.md have verbs and options that there are.
#[test]
fn the_migration_page_names_what_there_is() {
    let programs = BTreeMap::from(["builder", "builder-run", "builderd"].map(|name| (name, of_program(name))));
    let page = include_str!("../MIGRATING.md");
    let spans = page.split('`').skip(1).step_by(2).map(|span| span.split(' ').collect::<Vec<_>>());
    let mut commands = 0;
    for words in spans.filter(|words| words.len() > 1) {
        let Some(verbs) = programs.get(words[0]) else { continue };
        commands += 1;
        let named: Vec<&str> =
            words[1..].iter().take_while(|word| word.chars().all(char::is_lowercase)).copied().collect();
        // A program without verbs has its options under the verb "".
        let candidates = if named.is_empty() { vec![0] } else { vec![2, 1] };
        let mut candidates = candidates.into_iter().map(|count| named[..named.len().min(count)].join(" "));
        let verb = candidates.find(|verb| verbs.contains_key(verb)).unwrap_or_else(|| panic!("{words:?} is no verb"));
        let verb = &verb;
        let known = |option: &&&str| verbs[verb].contains(**option) || verbs[""].contains(**option);
        let options: Vec<&&str> = words.iter().filter(|word| word.starts_with("--")).collect();
        assert!(options.iter().all(known), "{words:?}: one of {options:?} is none of `{} {verb}`", words[0]);
    }
    assert!(commands > 25, "only {commands}");
}

/// `.It Va KEY No = VALUE` under the tables of builder.toml(5), as TOML.
fn settings() -> (String, BTreeSet<String>) {
    let (mut toml, mut keys) = (String::new(), BTreeSet::new());
    for line in page("builder.toml.5").lines() {
        if let Some(table) = line.strip_prefix(".Ss ") {
            // There is none, and then as many as there are platforms.
            let command = if table.starts_with("launch.") { "command = \"true\"\n" } else { "" };
            toml += &format!("[{table}]\n{command}");
        }
        let Some(setting) = line.strip_prefix(".It Va ") else { continue };
        let (key, default) = setting.split_once(" No = ").unwrap_or((setting, ""));
        keys.insert(key.to_owned());
        match default.strip_prefix("Qq ") {
            Some(text) => toml += &format!("{key} = \"{text}\"\n"),
            None if default.is_empty() => {}
            None => toml += &format!("{key} = {default}\n"),
        }
    }
    (toml, keys)
}

#[test]
fn each_setting_has_the_default_that_is_said() {
    let lab = Lab::new();
    let (toml, keys) = settings();
    let mut read = spool::config::Config::read(Some(&lab.script("said.toml", &toml))).expect("settings that are taken");
    read.file = None;
    let launch: Vec<_> = std::mem::take(&mut read.launch).into_values().collect();
    let least: spool::launch::Launch = toml::from_str("command = 'true'").expect("a launch");
    assert_eq!(launch, std::slice::from_ref(&least));
    let defaults = spool::config::Config::default();
    if cfg!(target_os = "linux") {
        assert_eq!(format!("{read:?}"), format!("{defaults:?}"));
    }
    // The fields of the configuration, from how it is shown: a setting that is added must be told of.
    let shown = format!("{defaults:#?}\n{least:#?}");
    let fields = shown.lines().filter_map(|line| line.trim().split_once(": ").map(|(field, _)| field));
    let fields: BTreeSet<String> = fields
        .filter(|field| !["file", "limits", "keep", "roles", "launch"].contains(field))
        .map(str::to_owned)
        .collect();
    assert_eq!(keys, fields);
    let readme = include_str!("../README.md");
    let (_, rest) = readme.split_once("```toml\n").expect("the settings");
    let (block, _) = rest.split_once("```").expect("an end");
    for line in block.lines().filter(|line| line.contains(" = ")) {
        let key = line.trim_start_matches("# ").split(" = ").next().expect("a key");
        assert!(keys.contains(key), "{line} is not in builder.toml(5)");
    }
}

/// The variables of a section, `.It Ev NAME , Ev NAME`.
fn variables(name: &str, section: &str) -> BTreeSet<String> {
    let text = page(name);
    let (_, rest) = text.split_once(&format!(".Sh {section}\n")).expect("the section");
    let rest = rest.split("\n.Sh ").next().unwrap_or_default();
    let items = rest.lines().filter_map(|line| line.strip_prefix(".It Ev "));
    items.flat_map(|line| line.split(" , Ev ")).map(str::to_owned).collect()
}

/// The names of variables in what `/proc/PID/environ` holds.
fn names(environ: &str) -> BTreeSet<String> {
    let names = environ.split(['\0', '\n']).filter_map(|pair| pair.split_once('=')).map(|(name, _)| name.to_owned());
    names.filter(|name| !SHELLS_OWN.contains(&name.as_str())).collect()
}

#[test]
fn scripts_and_hooks_see_the_variables_that_are_said() {
    use std::os::unix::fs::PermissionsExt;
    let lab = Lab::new();
    for dir in ["secrets", "secrets/job", "hooks.d"] {
        std::fs::create_dir(lab.path(dir)).expect("a directory");
        std::fs::set_permissions(lab.path(dir), std::fs::Permissions::from_mode(0o700)).expect("its mode");
    }
    let private = lab.script("secrets/job/token", "s3cret-token");
    std::fs::set_permissions(private, std::fs::Permissions::from_mode(0o600)).expect("its mode");
    let seen = lab.path("seen");
    let hook = lab.script("hooks.d/note", &format!("#!/bin/sh\nenv >{0}\necho \"$1\" >{0}.argument\n", seen.display()));
    harness::make_executable(&hook);
    lab.job_with("job", "tr '\\0' '\\n' </proc/$$/environ >environ", &["--every", "never", "--secret", "token"]);
    let id = lab.run("job");
    assert_eq!(lab.local_worker("w", &[]).ended(), 0);
    let build = lab.finished(&id);
    let script = std::fs::read_to_string(build.dir().join("artifacts/environ")).expect("what the script saw");
    assert_eq!(names(&script), variables("builder.1", "ENVIRONMENT OF SCRIPTS"), "on {PLATFORM}");
    assert_eq!(Finished::of(lab.program("builderd").arg("--once")).code, 0);
    let hook = names(&std::fs::read_to_string(&seen).expect("what the hook saw"));
    let mut said = variables("builderd.8", "HOOKS");
    said.insert("PATH".to_owned());
    assert_eq!(hook, said);
    lab.run("job");
    let launched = lab.path("launched");
    let command = format!("sh -c 'env >{0}.new; mv {0}.new {0}'", launched.display());
    lab.add_worker(&format!("{PLATFORM}-1"));
    lab.configure(&format!("[launch.{PLATFORM}]\ncommand = \"{command}\"\n"));
    let _daemon = lab.daemon();
    harness::wait_for("a worker is launched", || launched.exists());
    let mut said = variables("builderd.8", "LAUNCHES");
    said.insert("PATH".to_owned());
    assert_eq!(names(&std::fs::read_to_string(launched).expect("what the command saw")), said);
    let argument = std::fs::read_to_string(lab.path("seen.argument")).expect("its argument");
    assert_eq!(argument.trim_end(), build.dir().display().to_string());
}

/// What a hook is told of why its build was queued.
#[test]
fn each_origin_stands_in_the_manual() {
    let page = include_str!("../man/builderd.8");
    let (_, rest) = page.split_once(".It Ev BUILDER_ORIGIN\n").expect("the variable");
    let about = rest.split("\n.It ").next().expect("what it is");
    let said: BTreeSet<&str> = about.lines().filter_map(|line| line.strip_prefix(".Ql ")?.split(' ').next()).collect();
    assert_eq!(said, spool::record::Origin::ALL.map(spool::record::Origin::word).into());
}
