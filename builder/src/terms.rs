//! What each verb takes when somebody does it who does not own the spool: the only place that knows.
//!
//! There is no default on purpose: a verb that is added does not compile until its terms are stated here.

use crate::args::{AddArgs, ImportArgs, PlatformVerb, TemplateVerb, Verb, WorkerVerb};
use spool::role::Role;
use std::path::{Path, PathBuf};

/// The terms of a verb.
#[derive(Debug)]
pub struct Terms<'a> {
    /// The least role that may do it; none when it is for the owner alone.
    pub role: Option<Role>,
    /// The files that it names.
    pub files: Files<'a>,
    /// Whether it shows more on a terminal than in a pipe.
    pub draws: bool,
}

/// Files belong to whoever typed the verb: where it is carried out for somebody else, no path may be opened.
#[derive(Debug)]
pub enum Files<'a> {
    /// It names none.
    None,
    /// One that it reads, in the argument with this id. A missing path and `-` are standard input.
    Input(&'static str, Option<&'a Path>),
    /// Some that it reads, or directories with some. They travel as a tar archive with this option in their place.
    Inputs(&'a [PathBuf], &'static str),
    /// What workers have sent, which it gives to programs that are not builder's, unless this option is typed.
    Programs(&'static str),
    /// A template: a name, or a path.
    Template(&'a str),
    /// It starts an editor, in which every file can be opened.
    Editor,
    /// It writes files into this directory, over others when it is forced.
    Output(&'a Path, bool),
    /// It writes its standard output into this file.
    Save(&'a Path),
}

/// States the terms of a verb.
pub fn terms(verb: &Verb) -> Terms<'_> {
    let (role, files) = match verb {
        Verb::Init | Verb::Setup(_) | Verb::Doctor(_) | Verb::Gate(_) | Verb::Completion(_) | Verb::Complete(_) => {
            (None, Files::None)
        }
        Verb::Ls(_)
        | Verb::Status(_)
        | Verb::Watch(_)
        | Verb::Log(_)
        | Verb::Show(_)
        | Verb::Next(_)
        | Verb::History(_)
        | Verb::Repro(_)
        | Verb::Latest(_) => (Some(Role::Read), Files::None),
        Verb::Diff(args) if args.plain || args.brief || args.json => (Some(Role::Read), Files::None),
        Verb::Diff(_) => (Some(Role::Read), Files::Programs("--plain")),
        Verb::Find(args) => match args.file() {
            Some(file) => (Some(Role::Read), Files::Input("what", Some(file))),
            None => (Some(Role::Read), Files::None),
        },
        Verb::Export(args) => match &args.output {
            Some(output) => (Some(Role::Read), Files::Save(output)),
            None => (Some(Role::Read), Files::None),
        },
        Verb::Import(args) => (Some(Role::Admin), import_files(args)),
        // ssh-keygen reads what was sent by a worker whose key sshd has read before, and no more than 16 KiB of it.
        Verb::VerifySignature(args) => match &args.signers {
            Some(signers) => (Some(Role::Read), Files::Input("signers", Some(signers))),
            None => (Some(Role::Read), Files::None),
        },
        Verb::Gc(args) if args.dry_run => (Some(Role::Read), Files::None),
        Verb::Gc(_) | Verb::Pin(_) | Verb::Unpin(_) => (Some(Role::Admin), Files::None),
        Verb::Check(args) if args.repair => (Some(Role::Admin), Files::None),
        Verb::Check(_) => (Some(Role::Read), Files::None),
        Verb::Get(args) if args.tar => (Some(Role::Read), Files::None),
        Verb::Get(args) => (Some(Role::Read), Files::Output(&args.output, args.force)),
        Verb::Add(args) => match &args.template {
            Some(template) => (Some(role_of_add(args)), Files::Template(template)),
            None => (Some(role_of_add(args)), Files::Input("script", args.script.as_deref())),
        },
        // A value can be code where a template is careless, and the job may read secrets that its runner may not.
        Verb::Run(args) if !args.values.is_empty() => (Some(Role::Admin), Files::None),
        Verb::Run(_) | Verb::Cancel(_) | Verb::Verify(_) => (Some(Role::Submit), Files::None),
        Verb::Rm(_) | Verb::Drain(_) => (Some(Role::Admin), Files::None),
        Verb::Set(args) => match &args.script {
            Some(script) => (Some(Role::Admin), Files::Input("script", Some(script))),
            None => (Some(Role::Admin), Files::None),
        },
        Verb::Edit(args) if args.print => (Some(Role::Read), Files::None),
        Verb::Edit(args) => match &args.from {
            Some(from) => (Some(Role::Admin), Files::Input("from", Some(from))),
            None => (Some(Role::Admin), Files::Editor),
        },
        Verb::Platform(PlatformVerb::Ls(_)) => (Some(Role::Read), Files::None),
        Verb::Platform(_) => (Some(Role::Admin), Files::None),
        Verb::Template(TemplateVerb::Ls(_)) => (Some(Role::Read), Files::None),
        Verb::Template(TemplateVerb::Show(args)) => (Some(Role::Read), Files::Template(&args.name)),
        // Where the file is, there is a shell to read it.
        Verb::Template(TemplateVerb::Check(_)) => (None, Files::None),
        Verb::Worker(WorkerVerb::Ls(_)) => (Some(Role::Read), Files::None),
        Verb::Worker(WorkerVerb::Add(args)) => (Some(Role::Admin), Files::Input("key", args.key.as_deref())),
        Verb::Worker(WorkerVerb::Rm(_) | WorkerVerb::Release(_)) => (Some(Role::Admin), Files::None),
    };
    Terms { role, files, draws: matches!(verb, Verb::Ls(_) | Verb::Watch(_) | Verb::History(_)) }
}

/// One by standard input is as it is.
fn import_files(args: &ImportArgs) -> Files<'_> {
    match args.files.as_slice() {
        [] => Files::Input("files", None),
        [one] if one == Path::new("-") => Files::Input("files", Some(one)),
        some => Files::Inputs(some, "--tar"),
    }
}

/// A script that reads a secret can send it anywhere, one that takes another's place gets what that one had, and builds of
/// an earlier job of its name go when it says so.
fn role_of_add(args: &AddArgs) -> Role {
    if args.replace || !args.how.secrets.is_empty() || args.how.keep.is_some() { Role::Admin } else { Role::Submit }
}
