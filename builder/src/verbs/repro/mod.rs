//! `builder repro`: one script that builds something again anywhere, and compares what comes out.
//!
//! It has all that went in: the build's script, environment and packages; and what is to come out, as the manifest has it. It needs
//! sh(1) and what a system has, and nothing of builder.

use super::get::finished;
use crate::args::ReproArgs;
use crate::out;
use spool::Spool;
use spool::disk;
use spool::error::{Error, Kind, Result};
use spool::find::Build;
use spool::inputs::Sides;
use spool::layout::file;
use spool::record::{BuildResult, Request};

/// What is the same for every build.
const REBUILD: &str = include_str!("rebuild.sh");

/// No environment and no list of packages is longer, in bytes.
const LONGEST: u64 = 64 << 20;

/// Prints the script.
pub fn run(spool: &Spool, args: &ReproArgs) -> Result<()> {
    let build = finished(spool, &args.build)?;
    let result = spool.verifiable(&build)?;
    let lost = || Error::new(Kind::Data, format!("what was asked for with {} is lost", build.id));
    let request = build.request()?.ok_or_else(lost)?;
    out::bytes(&script(&build, &request, &result)?)
}

fn script(build: &Build<'_>, request: &Request, result: &BuildResult) -> Result<Vec<u8>> {
    let read = |name: &str| Ok::<_, Error>(disk::read_if_there(&build.dir().join(name), LONGEST)?.unwrap_or_default());
    let built = build.script()?;
    let sides = Sides::as_noted(&build.manifest()?, &result.inputs);
    let secrets: Vec<&str> = request.secrets.iter().map(|name| name.as_str()).collect();
    let system = |key: &str| result.system.get(key).map_or("", String::as_str);
    let variables = [
        ("build", build.id.as_str()),
        ("platform", build.id.platform().as_str()),
        ("os", system("os")),
        ("arch", system("arch")),
        ("needs_secrets", &secrets.join(" ")),
        ("script_sha256", &spool::digest::Sha256::of(&built).to_string()),
    ];
    let mut text = format!(
        "#!/bin/sh\n# Builds {} again, and compares what comes out: made by `builder repro`.\nset -eu\n\n",
        build.id
    )
    .into_bytes();
    text.extend(variables.iter().flat_map(|(name, value)| format!("{name}={}\n", quoted(value)).into_bytes()));
    let inputs: String = result.inputs.iter().map(|path| format!("{path}\n")).collect();
    for (name, bytes) in [
        ("environment", &read(file::ENVIRONMENT)?),
        ("packages", &read(file::PACKAGES)?),
        ("inputs", &inputs.into_bytes()),
        ("manifest", &sides.output.to_bytes()),
        ("the_script", &built),
    ] {
        text.extend(function(name, bytes));
    }
    text.extend(REBUILD.as_bytes());
    Ok(text)
}

/// A function that prints these bytes. A here-document ends each line; so what it has too much is cut off.
fn function(name: &str, bytes: &[u8]) -> Vec<u8> {
    if bytes.is_empty() {
        // Not every head(1) takes a count of 0.
        return format!("\n{name}() {{ :; }}\n").into_bytes();
    }
    let mut end = "END".to_owned();
    while bytes.split(|byte| *byte == b'\n').any(|line| line == end.as_bytes()) {
        end.push('_');
    }
    let head = format!("\n{name}() {{\n    head -c {} <<'{end}'\n", bytes.len());
    [head.as_bytes(), bytes, format!("\n{end}\n}}\n").as_bytes()].concat()
}

/// A word for sh(1).
fn quoted(word: &str) -> String {
    let plain: String = word.chars().filter(|c| !c.is_control()).collect();
    format!("'{}'", plain.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_function_prints_what_it_was_given() {
        for bytes in [&b""[..], b"x", b"a\nb\n", b"\n\n", b"END\nEND_\n$HOME `id` \\ ' \" \xff\n", b"no end"] {
            let text = [function("f", bytes), b"f\n".to_vec()].concat();
            let mut sh = std::process::Command::new("sh");
            let mut child =
                sh.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).spawn().unwrap();
            child.stdin.take().unwrap().write_all(&text).unwrap();
            let printed = child.wait_with_output().unwrap().stdout;
            assert_eq!(printed, bytes);
        }
    }

    #[test]
    fn a_word_is_one_word() {
        assert_eq!(quoted("it's $(id)\n"), r"'it'\''s $(id)'");
    }
}
