//! `builder template`: what there is to make jobs of, and whether one that somebody writes is sound. No spool is needed.

use crate::args::{LsArgs, TemplateArgs, TemplateFileArgs, TemplateVerb};
use crate::words;
use crate::{out, program, text};
use serde::Serialize;
use spool::config::Config;
use spool::error::{At, Error, Kind, Result};
use spool::template::{self, Fault, Template, Variable};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Does what the verb says.
pub fn run(config: &Config, verb: &TemplateVerb) -> Result<()> {
    match verb {
        TemplateVerb::Ls(args) => ls(config, args),
        TemplateVerb::Show(args) => show(config, args),
        TemplateVerb::Check(args) => check(args),
    }
}

#[derive(Serialize)]
struct Listed {
    template: String,
    platforms: Vec<String>,
    variables: BTreeMap<String, Variable>,
    what: String,
}

fn ls(config: &Config, args: &LsArgs) -> Result<()> {
    let mut listed = Vec::new();
    for name in words::installed_templates(config)? {
        match words::script(&config.templates.join(&name)).and_then(|text| Template::parse(&name, &text)) {
            Ok(template) => listed.push(of(name, &template)),
            Err(e) => out::hint(&e.to_string()),
        }
    }
    match args.json {
        true => out::json(&listed),
        false => out::print(&text::table(&listed.iter().map(row).collect::<Vec<_>>())),
    }
}

fn of(name: String, template: &Template) -> Listed {
    let variables = template.variables().into_iter();
    Listed {
        template: name,
        platforms: template.platforms().to_vec(),
        variables: variables.map(|(name, variable)| (name.to_owned(), variable.clone())).collect(),
        what: template.what().to_owned(),
    }
}

/// Variables that need no value stand in brackets.
fn row(one: &Listed) -> Vec<String> {
    let platforms = if one.platforms.is_empty() { "all".to_owned() } else { one.platforms.join(" ") };
    let (free, needed): (Vec<_>, Vec<_>) = one.variables.iter().partition(|(_, variable)| variable.default.is_some());
    let needed = needed.into_iter().map(|(name, _)| name.clone());
    let variables: Vec<String> = needed.chain(free.into_iter().map(|(name, _)| format!("[{name}]"))).collect();
    [&one.template, &platforms, &variables.join(" "), &one.what].map(|text| text::tame(text)).to_vec()
}

fn show(config: &Config, args: &TemplateArgs) -> Result<()> {
    let paths = words::template_paths(config, &args.name)?;
    match paths.as_slice() {
        [one] => out::print(&words::script(one)?),
        some => {
            let names: Vec<String> =
                some.iter().filter_map(|path| Some(path.file_name()?.display().to_string())).collect();
            Err(Error::new(Kind::Usage, "this name stands for different templates")
                .hint(format!("name one of {}", names.join(", "))))
        }
    }
}

/// Says all that is wrong, a line each with its number.
fn check(args: &TemplateFileArgs) -> Result<()> {
    let script = words::script(&args.file)?;
    let mut faults = template::faults(&script);
    faults.extend(shell_faults(&script)?);
    faults.sort();
    let shown = if args.file == Path::new("-") { "standard input".into() } else { args.file.display().to_string() };
    let shown = text::tame(&shown);
    let lines: String = faults.iter().map(|fault| format!("{shown}:{}: {}\n", fault.line, fault.wrong)).collect();
    out::print(&lines)?;
    match faults.len() {
        0 => out::print(&format!("nothing is wrong with {shown}\n")),
        some => Err(Error::new(Kind::Data, format!("{} found", text::count(some, "fault")))),
    }
}

/// The program of a path, or of a name in PATH.
fn installed(shell: &str) -> Option<PathBuf> {
    match shell.contains('/') {
        true => Some(PathBuf::from(shell)).filter(|shell| shell.is_file()),
        false => program::installed(shell),
    }
}

/// What its shell says of it, without executing anything: with a plain word for each variable.
fn shell_faults(script: &str) -> Result<Vec<Fault>> {
    let Some(shell) = template::shell_of(script).and_then(installed) else { return Ok(Vec::new()) };
    let values = Template::parse("", script).map(|template| {
        template.variables().into_keys().map(|name| (name.to_owned(), "value".to_owned())).collect::<BTreeMap<_, _>>()
    });
    let filled = template::fill(script, &values.unwrap_or_default(), "debian-12");
    let mut command = Command::new(&shell);
    command.arg("-n").env_clear().stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().at("start", &shell)?;
    if let Some(mut input) = child.stdin.take() {
        // One that has found a fault does not read on.
        let _ = input.write_all(filled.as_bytes());
    }
    let output = child.wait_with_output().at("read from", &shell)?;
    if output.status.success() {
        return Ok(Vec::new());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let said = said.lines().next().unwrap_or("it does not understand it");
    let line = said.split([':', ' ']).find_map(|word| word.parse().ok()).unwrap_or(1);
    let what = said.rsplit_once(&format!("{line}: ")).map_or(said, |(_, what)| what);
    Ok(vec![Fault { line, wrong: format!("{} does not understand it: {}", shell.display(), text::tame(what)) }])
}
