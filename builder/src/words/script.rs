//! Scripts and templates, as files or by name.

use super::shown;
use spool::config::Config;
use spool::disk;
use spool::error::{At, Error, Kind, Result};
use spool::job::{self, Job, Platforms, Variant};
use spool::suggest;
use spool::template::Template;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The script of a file, or of standard input when it is called `-`.
pub fn script(path: &Path) -> Result<String> {
    if path == Path::new("-") {
        return job::check_script(read(io::stdin().lock(), Path::new("standard input"))?, "standard input");
    }
    job::check_script(read(open(path)?, path)?, &path.display().to_string())
}

/// Opens a script's file.
pub fn open(path: &Path) -> Result<File> {
    let file = File::open(path).at("read", path)?;
    match file.metadata().at("look at", path)?.is_dir() {
        true => Err(Error::new(Kind::NoInput, format!("{} is a directory, not a file", path.display()))),
        false => Ok(file),
    }
}

/// A byte more than may be, so that what is too long is seen to be.
fn read(from: impl Read, path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(job::LONGEST_SCRIPT as u64 + 1).read_to_end(&mut bytes).at("read", path)?;
    Ok(bytes)
}

/// Gives a job the text of a template, or of all templates of this name, and its values.
///
/// A template `NAME` is a file of this name, or one for some platforms called `NAME.SOMETHING`.
pub fn from_template(job: &mut Job, config: &Config, named: &str, given: &BTreeMap<String, String>) -> Result<()> {
    let paths = template_paths(config, named)?;
    let mut templates = Vec::new();
    for path in &paths {
        let name = path.file_name().map_or(named.to_owned(), |name| name.to_string_lossy().into_owned());
        let text = script(path)?;
        templates.push((Template::parse(&name, &text)?, text));
    }
    job.template =
        Some(Path::new(named).file_name().map_or(named.to_owned(), |name| name.to_string_lossy().into_owned()));
    if let Platforms::Named(platforms) = &job.platforms {
        for platform in platforms {
            let checks = templates.iter().map(|(template, _)| template.check_platform(platform.as_str()));
            let refused: Vec<Error> = checks.filter_map(Result::err).collect();
            if refused.len() == templates.len() {
                return Err(refused.into_iter().next().unwrap_or_else(|| Error::new(Kind::Internal, "no template")));
            }
        }
        let wanted = |template: &Template| platforms.iter().any(|platform| template.is_for(platform.as_str()));
        templates.retain(|(template, _)| wanted(template));
    }
    if let [(template, text)] = templates.as_slice()
        && (template.platforms().is_empty() || job.platforms != Platforms::All)
    {
        job.values = template.values(given)?;
        job.script = text.clone();
        return Ok(());
    }
    job.variants = variants(&templates, given)?;
    Ok(())
}

/// The templates for different platforms. A value that only some of them have is theirs alone.
fn variants(templates: &[(Template, String)], given: &BTreeMap<String, String>) -> Result<Vec<Variant>> {
    for (name, value) in given {
        let one = BTreeMap::from([(name.clone(), value.clone())]);
        let checks = templates.iter().map(|(template, _)| template.check(&one));
        let refused: Vec<Error> = checks.filter_map(Result::err).collect();
        if refused.len() == templates.len()
            && let Some(first) = refused.into_iter().next()
        {
            return Err(first);
        }
    }
    let variant = |(template, text): &(Template, String)| {
        let known = |name: &str, value: &str| template.check(&BTreeMap::from([(name.to_owned(), value.to_owned())]));
        let given = given.iter().filter(|(name, value)| known(name, value).is_ok());
        let values = template.values(&given.map(|(name, value)| (name.clone(), value.clone())).collect())?;
        let platforms = match template.platforms() {
            [] => vec!["*".to_owned()],
            some => some.to_vec(),
        };
        Ok(Variant { platforms, script: text.clone(), values })
    };
    templates.iter().map(variant).collect()
}

/// A word without a slash is the name of an installed template, or of some, as a command's is looked up in PATH: so that
/// what a name means does not depend on where somebody is, or is served.
pub fn template_paths(config: &Config, named: &str) -> Result<Vec<PathBuf>> {
    if named.contains('/') {
        return Ok(vec![named.into()]);
    }
    if let Some(installed) = config.template(named) {
        return Ok(vec![installed]);
    }
    let start = format!("{named}.");
    let all = installed_templates(config)?;
    let names: Vec<&String> = all.iter().filter(|name| !named.is_empty() && name.starts_with(&start)).collect();
    if names.is_empty() {
        let otherwise = format!(
            "name one of those in {}, or a file by a path with a slash, such as ./FILE",
            config.templates.display()
        );
        let near = suggest::hint(named, all.iter().map(String::as_str), &otherwise);
        return Err(Error::new(Kind::NoInput, format!("there is no template `{}`", shown(named))).hint(near));
    }
    Ok(names.iter().map(|name| config.templates.join(name)).collect())
}

/// The names of the installed templates. What ends in `.md` says how to write one.
pub fn installed_templates(config: &Config) -> Result<Vec<String>> {
    let mut names = disk::names(&config.templates)?;
    names.retain(|name| !name.starts_with('.') && !name.ends_with(".md"));
    names.sort();
    Ok(names)
}
