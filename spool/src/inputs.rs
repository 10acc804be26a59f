//! What went into a build and what came out of it: which artifacts say what went in, and the digests of both sides.

use crate::artifact_path::ArtifactPath;
use crate::digest::Sha256;
use crate::manifest::Manifest;
use crate::name::Platform;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The artifacts that say what went in whether or not the job names them: what orb(1) leaves beside its output, and with
/// it every template of robur's builder.
pub const RECOGNISED: [&str; 3] = ["build-environment", "opam-switch", "system-packages"];

/// The directory in which the one executable of a build is its main artifact.
const BIN: &str = "bin/";

/// The artifact that people fetch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Main {
    /// Its path.
    pub path: ArtifactPath,
    /// Its content.
    pub sha256: Sha256,
}

/// The artifacts of a build, told apart.
#[derive(Debug, Default)]
pub struct Sides {
    /// Those that say what went in.
    pub inputs: Manifest,
    /// Those that came out.
    pub output: Manifest,
}

impl Sides {
    /// Tells the artifacts apart: inputs are the recognised ones, those that the job names, and what lies below a
    /// directory that it names.
    pub fn of(manifest: &Manifest, named: &[ArtifactPath]) -> Sides {
        let is_input = |path: &ArtifactPath| {
            let named = named.iter().map(ArtifactPath::as_str);
            RECOGNISED.into_iter().chain(named).any(|name| is_at_or_below(path.as_str(), name))
        };
        Sides::split(manifest, is_input)
    }

    /// Tells them apart as it was noted of a build that is over.
    pub fn as_noted(manifest: &Manifest, inputs: &[ArtifactPath]) -> Sides {
        let inputs: BTreeSet<&ArtifactPath> = inputs.iter().collect();
        Sides::split(manifest, |path| inputs.contains(path))
    }

    fn split(manifest: &Manifest, is_input: impl Fn(&ArtifactPath) -> bool) -> Sides {
        let part = |wanted: bool| manifest.part(|path| is_input(path) == wanted);
        Sides { inputs: part(true), output: part(false) }
    }

    /// Whether the script left what somebody names as an input.
    pub fn has_input(&self, named: &ArtifactPath) -> bool {
        self.inputs.iter().any(|(path, _)| is_at_or_below(path.as_str(), named.as_str()))
    }

    /// The digest of what came out: of the manifest, without the lines of inputs. Nothing when nothing did.
    pub fn output_digest(&self) -> Option<Sha256> {
        (!self.output.is_empty()).then(|| Sha256::of(&self.output.to_bytes()))
    }

    /// The artifact that people fetch: the one that the job names; else the only one in `bin/`; else the only one.
    /// Nothing when that is not there, or not the only one.
    pub fn main(&self, named: Option<&ArtifactPath>) -> Option<Main> {
        let only = |wanted: &dyn Fn(&ArtifactPath) -> bool| {
            let mut some = self.output.iter().filter(|(path, _)| wanted(path));
            some.next().filter(|_| some.next().is_none())
        };
        let found = match named {
            Some(named) => only(&|path| path == named),
            None => only(&|path| path.as_str().starts_with(BIN)).or_else(|| only(&|_| true)),
        };
        found.map(|(path, sha256)| Main { path: path.clone(), sha256: *sha256 })
    }
}

/// Whether a path is this name, or lies in the directory of this name.
fn is_at_or_below(path: &str, name: &str) -> bool {
    path.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The digest over what went into a build: a line for its platform, one for each of `script`, `environment` and
/// `packages`, in this order, that there are, and one for each artifact that is an input, by its path. Each but the first has the
/// SHA-256 of the content.
///
/// What may differ between fair repetitions is not in it: the worker and its host, its kernel, times, the build's id, limits, and
/// secrets.
pub fn input_digest(platform: &Platform, contents: &[(&str, Sha256)], inputs: &Manifest) -> Sha256 {
    let mut text = format!("platform {platform}\n");
    contents.iter().for_each(|(name, digest)| text += &format!("{name} {digest}\n"));
    inputs.iter().for_each(|(path, digest)| text += &format!("artifacts/{path} {digest}\n"));
    Sha256::of(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(paths: &[&str]) -> Manifest {
        Manifest::new(paths.iter().map(|path| (path.parse().unwrap(), Sha256::of(path.as_bytes())))).unwrap()
    }

    fn paths(manifest: &Manifest) -> Vec<&str> {
        manifest.iter().map(|(path, _)| path.as_str()).collect()
    }

    #[test]
    fn inputs_are_what_is_recognised_or_named_and_what_lies_below_it() {
        let all =
            manifest(&["bin/opam-switch", "deps/a", "deps/b/c", "deps-2", "lock", "opam-switch", "system-packages-2"]);
        let sides = Sides::of(&all, &["deps".parse().unwrap(), "lock".parse().unwrap(), "none".parse().unwrap()]);
        assert_eq!(paths(&sides.inputs), ["deps/a", "deps/b/c", "lock", "opam-switch"]);
        assert_eq!(paths(&sides.output), ["bin/opam-switch", "deps-2", "system-packages-2"]);
        let noted: Vec<ArtifactPath> = sides.inputs.iter().map(|(path, _)| path.clone()).collect();
        let again = Sides::as_noted(&all, &noted);
        assert_eq!((again.inputs, again.output), (sides.inputs, sides.output));
    }

    #[test]
    fn the_output_is_the_manifest_without_the_lines_of_inputs() {
        let with = Sides::of(&manifest(&["bin/x", "opam-switch"]), &[]);
        let without = manifest(&["bin/x"]);
        assert_eq!(with.output_digest(), Some(Sha256::of(&without.to_bytes())));
        assert_eq!(Sides::of(&manifest(&["opam-switch"]), &[]).output_digest(), None);
    }

    #[test]
    fn the_main_artifact_is_named_or_the_only_one() {
        let main = |all: &[&str], named: Option<&str>| {
            let named = named.map(|name| name.parse().unwrap());
            Sides::of(&manifest(all), &[]).main(named.as_ref()).map(|main| main.path.to_string())
        };
        assert_eq!(main(&["bin/x", "doc", "lib/y"], None).as_deref(), Some("bin/x"));
        assert_eq!(main(&["bin/x", "bin/z", "doc"], None), None);
        assert_eq!(main(&["doc", "opam-switch"], None).as_deref(), Some("doc"));
        assert_eq!(main(&["a", "b"], None), None);
        assert_eq!(main(&["bin/x", "b"], Some("b")).as_deref(), Some("b"));
        assert_eq!(main(&["bin/x", "b"], Some("c")), None);
        assert_eq!(main(&[], None), None);
    }

    #[test]
    fn the_input_digest_has_a_line_for_each_thing_that_went_in() {
        let platform: Platform = "debian-12".parse().unwrap();
        let digest = Sha256::of(b"x");
        let text = format!("platform debian-12\nscript {digest}\nartifacts/lock {}\n", Sha256::of(b"lock"));
        assert_eq!(input_digest(&platform, &[("script", digest)], &manifest(&["lock"])), Sha256::of(text.as_bytes()));
    }
}
