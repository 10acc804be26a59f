//! A job's scripts: one for all its platforms, or a template's variants for different ones.

use super::{Job, Platforms};
use crate::error::{Error, Kind, Result};
use crate::name::Platform;
use crate::platform::State;
use crate::template::{self, Template};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The longest script, in bytes: it stands in the job's own file.
pub const LONGEST_SCRIPT: usize = 4 << 20;

/// A template for some platforms.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variant {
    /// Names, or beginnings of names with a `*` at their end.
    pub platforms: Vec<String>,
    /// The template's text.
    pub script: String,
    /// The values of its variables.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub values: BTreeMap<String, String>,
}

/// Makes sure that a script can be kept in a job's file: UTF-8 text, not empty, not too long.
pub fn check_script(bytes: Vec<u8>, shown: &str) -> Result<String> {
    let wrong = |why: &str| Error::new(Kind::Data, format!("{shown} can't be a job's script: {why}"));
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(wrong("it is empty"));
    }
    if bytes.len() > LONGEST_SCRIPT {
        return Err(wrong("it is longer than 4 MiB").hint("let the script fetch what is large"));
    }
    if bytes.contains(&0) {
        return Err(wrong("it contains a NUL byte"));
    }
    String::from_utf8(bytes).map_err(|_| wrong("it is not UTF-8 text"))
}

impl Job {
    /// The platforms on which it is to be built, given what is known of platforms.
    pub fn targets(&self, known: &BTreeMap<Platform, State>) -> Vec<Platform> {
        let all: Vec<&Platform> = match &self.platforms {
            Platforms::Named(named) => named.iter().collect(),
            Platforms::All => known.keys().filter(|one| self.source(one).is_some()).collect(),
        };
        all.into_iter().filter(|one| known.get(*one) != Some(&State::Dropped)).cloned().collect()
    }

    /// Whether it is built on this platform, which must not be dropped.
    pub fn is_built_on(&self, platform: &Platform) -> bool {
        match &self.platforms {
            Platforms::Named(named) => named.contains(platform),
            Platforms::All => self.source(platform).is_some(),
        }
    }

    /// The text for a platform, and its values; nothing when there is none.
    fn source(&self, platform: &Platform) -> Option<(&str, &BTreeMap<String, String>)> {
        if self.variants.is_empty() {
            return Some((&self.script, &self.values));
        }
        let fits = |variant: &&Variant| template::fits(&variant.platforms, platform.as_str());
        self.variants.iter().find(fits).map(|variant| (variant.script.as_str(), &variant.values))
    }

    /// The script of a build, and the values that went into it: the job's, and over them those of this build alone.
    pub(super) fn script_for(
        &self,
        platform: &Platform,
        once: &BTreeMap<String, String>,
    ) -> Result<(Vec<u8>, BTreeMap<String, String>)> {
        let (text, values) =
            self.source(platform).ok_or_else(|| Error::new(Kind::Data, format!("it has no script for {platform}")))?;
        if self.template.is_none() {
            return Ok((text.as_bytes().to_vec(), values.clone()));
        }
        let values: BTreeMap<_, _> = values.iter().chain(once).map(|(k, v)| (k.clone(), v.clone())).collect();
        Ok((template::fill(text, &values, platform.as_str()).into_bytes(), values))
    }

    /// Makes sure that values for one build can be filled in.
    pub fn check_values(&self, values: &BTreeMap<String, String>) -> Result<()> {
        let Some(template) = &self.template else {
            return match values.keys().next() {
                None => Ok(()),
                Some(name) => Err(Error::new(Kind::Usage, format!("there is no value {name} to set"))
                    .hint("this job has a script of its own and no template")),
            };
        };
        let mut refused = Ok(());
        for (text, _) in self.texts() {
            refused = Template::parse(template, text)?.check(values);
            if refused.is_ok() {
                return refused;
            }
        }
        refused
    }

    /// Changes values of the template, in each variant that has them.
    pub fn set_values(&mut self, values: &BTreeMap<String, String>) -> Result<()> {
        self.check_values(values)?;
        let name = self.template.clone().unwrap_or_default();
        if self.variants.is_empty() {
            self.values.extend(values.clone());
        }
        for variant in &mut self.variants {
            if Template::parse(&name, &variant.script)?.check(values).is_ok() {
                variant.values.extend(values.clone());
            }
        }
        Ok(())
    }

    fn texts(&self) -> Vec<(&str, &BTreeMap<String, String>)> {
        match self.variants.is_empty() {
            true => vec![(&self.script, &self.values)],
            false => self.variants.iter().map(|variant| (variant.script.as_str(), &variant.values)).collect(),
        }
    }

    pub(super) fn check_scripts(&self) -> Result<()> {
        if !self.variants.is_empty() && !self.script.is_empty() {
            return Err(Error::new(Kind::Data, "it has both a script and variants").hint("keep one of them"));
        }
        for (text, _) in self.texts() {
            check_script(text.as_bytes().to_vec(), "`script`")?;
        }
        Ok(())
    }
}
