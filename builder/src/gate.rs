//! `builder gate`: the one way in for somebody who does not own the spool.
//!
//! It is the forced command of a person's key (sshd(8), AUTHORIZED_KEYS FILE FORMAT), and what builderd runs for a local
//! user. What was asked for stands in SSH_ORIGINAL_COMMAND. It is split as a shell splits quoted words and nothing of it
//! is expanded; then it is one verb of builder within the role, or it is refused.

use crate::args::{Cli, GateArgs, Unread};
use crate::terms::{Files, Terms, terms};
use crate::travel;
use clap::ArgMatches;
use clap::parser::ValueSource;
use spool::config::Config;
use spool::error::{Error, Kind, Result};
use spool::name::Person;
use spool::role::Role;
use std::env::{self, VarError};
use std::path::Path;
use std::process::ExitCode;

/// Carries out what was asked for, or says what may be asked.
pub(crate) fn run(outer: &Cli, args: &GateArgs) -> Result<ExitCode> {
    // Whoever let the caller in is gone when sshd's session or builderd is, and then nobody waits for this.
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::TERM));
    let command = match env::var("SSH_ORIGINAL_COMMAND") {
        Ok(command) => command,
        Err(VarError::NotUnicode(_)) => return Err(Error::new(Kind::NoPermission, "the command is not UTF-8")),
        Err(VarError::NotPresent) => return Err(greeting(args)),
    };
    let allowed = match judge(args.role, args.name.as_ref(), &command)? {
        Judged::Allowed(allowed) => allowed,
        Judged::Unread(unread) => return Ok(unread.say()),
    };
    let config = Config::read(outer.config.as_deref())?;
    let root = outer.spool.as_ref().unwrap_or(&config.spool);
    crate::carry_out(root, &config, &allowed.cli.verb)
}

/// What a command comes to that somebody with a role has sent.
#[derive(Debug)]
pub enum Judged {
    /// It may be carried out.
    Allowed(Box<Allowed>),
    /// It has no verb.
    Unread(Unread),
}

/// A verb within a role. It names no file of the server.
#[derive(Debug)]
pub struct Allowed {
    cli: Cli,
    typed: ArgMatches,
}

impl Allowed {
    /// The verb and its arguments, for comparing.
    pub fn meaning(&self) -> String {
        format!("{:?}", self.cli.verb)
    }

    /// A command that means the same, as `builder --host` sends it.
    ///
    /// # Errors
    /// [`Kind::Usage`] for a verb that can't travel.
    pub fn command(&self) -> Result<String> {
        travel::pack(&self.cli, &self.typed, false).map(|parcel| parcel.command)
    }
}

/// Judges a command that somebody has sent; `name` is for messages. Nothing is carried out, printed or opened.
///
/// # Errors
/// [`Kind::NoPermission`] for what is beyond the role or would reach the server's files, [`Kind::Usage`] for a word
/// that does not end.
pub fn judge(role: Role, name: Option<&Person>, command: &str) -> Result<Judged> {
    let words = split(command)?;
    let (cli, typed) = match Cli::read(words.into_iter().map(Into::into)) {
        Ok(read) => read,
        Err(unread) => return Ok(Judged::Unread(unread)),
    };
    check(role, name, &cli, &typed)?;
    Ok(Judged::Allowed(Box::new(Allowed { cli, typed })))
}

fn greeting(args: &GateArgs) -> Error {
    let who = args.name.as_ref().map_or("this key".to_owned(), ToString::to_string);
    let may = match args.role {
        Role::Read => {
            "look: ls, next, history, latest, show, diff, find, verify-signature, log, watch, get, export, template"
        }
        Role::Submit => "look, and submit: add, run, cancel",
        Role::Admin => "do every verb of builder",
    };
    Error::new(Kind::Usage, format!("there is no shell here; {who} may {may}"))
        .hint("say `builder --host USER@HOST VERB`, or `ssh USER@HOST builder VERB`")
}

/// The words of a command line, of which the first must be builder, wherever the caller thinks that it lies.
fn split(command: &str) -> Result<Vec<String>> {
    let words = shell_words::split(command)
        .map_err(|_| Error::new(Kind::Usage, "the command ends within a quoted word").hint("close the quote"))?;
    let name = words.first().and_then(|first| Path::new(first).file_name()).unwrap_or_default();
    if name != "builder" {
        let shown: String = name.to_string_lossy().chars().take(60).flat_map(char::escape_default).collect();
        return Err(Error::new(Kind::NoPermission, format!("`{shown}` can't be run here"))
            .hint("only `builder` and its verbs can"));
    }
    Ok(words)
}

/// Refuses what is beyond the role, and whatever would open a file of this machine by name.
fn check(may: Role, name: Option<&Person>, cli: &Cli, typed: &ArgMatches) -> Result<()> {
    let refused = |what: String, hint: &str| Err(Error::new(Kind::NoPermission, what).hint(hint));
    // Typed before the verb or after it; a variable of the environment is the server's and does not count.
    let typed_here = |option: &&str| typed.value_source(option) == Some(ValueSource::CommandLine);
    if let Some(option) = ["spool", "config", "host"].into_iter().find(typed_here) {
        return refused(format!("--{option} is not allowed here"), "the server says which spool this is");
    }
    let Terms { role, files, .. } = terms(&cli.verb);
    let verb = verb(typed);
    match role {
        None => return refused(format!("`{verb}` is for the server's own users"), "log in there otherwise"),
        Some(role) if role > may => {
            let who = name.map(|name| format!("{name} has the role {may}: "));
            let who = who.unwrap_or_else(|| format!("this key has the role {may}: "));
            return refused(format!("{who}`{verb}` takes the role {role}"), "ask who runs the server");
        }
        Some(_) => {}
    }
    match files {
        Files::Input(_, Some(path)) if path != Path::new("-") => {
            refused(format!("`{verb}` reads no files of the server"), "give - and send the file as standard input")
        }
        Files::Inputs(_, instead) => refused(
            format!("`{verb}` reads no files of the server"),
            &format!("say {instead} and send them as standard input, or use `builder --host`"),
        ),
        Files::Template(name) if name.contains('/') => {
            refused("a template is named here, not a path".into(), "name an installed one")
        }
        Files::Editor => {
            refused(format!("`{verb}` starts no editor here"), "use `builder --host`, which starts it where you are")
        }
        Files::Programs(without) => refused(
            format!("`{verb}` starts no other programs here"),
            &format!("say {without}, or use `builder --host`"),
        ),
        Files::Save(_) => {
            refused(format!("`{verb}` writes no files of the server"), "leave out --output, or use `builder --host`")
        }
        Files::Output(..) => {
            refused(format!("`{verb}` writes no files of the server"), "say --tar, or use `builder --host`")
        }
        _ => Ok(()),
    }
}

/// The verb as it was typed, such as `worker add`.
fn verb(typed: &ArgMatches) -> String {
    match typed.subcommand() {
        Some((name, below)) => format!("{name} {}", verb(below)).trim_end().to_owned(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(role: Role, command: &str) -> Result<()> {
        match judge(role, None, command)? {
            Judged::Allowed(_) => Ok(()),
            Judged::Unread(_) => Err(Error::new(Kind::Usage, "no command line")),
        }
    }

    #[test]
    fn a_role_may_what_it_says() {
        let table = [
            (
                Role::Read,
                [
                    "ls --json",
                    "status --nagios --queue 10,20",
                    "show x",
                    "log x",
                    "watch",
                    "get x --tar",
                    "worker ls",
                    "next",
                    "history j",
                    "platform ls",
                    "template ls --json",
                    "template show cargo",
                    "check --deep",
                    "gc --dry-run",
                    "find 00ff",
                    "find -",
                    "latest j --platform p",
                    "export --full x",
                    "verify-signature x --signers -",
                    "export --provenance x",
                    "diff a b --plain",
                    "diff j --json",
                    "repro j",
                ]
                .as_slice(),
            ),
            (
                Role::Submit,
                &[
                    "add j - --platform p",
                    "add j --template t --platform p",
                    "run j",
                    "cancel x",
                    "verify j -n 2 --vary=time",
                ],
            ),
            (
                Role::Admin,
                &[
                    "run j --set A=b",
                    "add j - --platform p --replace",
                    "add j - --platform p --secret s",
                    "add j - --platform p --keep builds=1",
                    "set j --every daily",
                ],
            ),
            (Role::Admin, &["gc", "pin x", "unpin x", "import --tar", "import -", "import - -n"]),
            (Role::Admin, &["edit j --from -", "platform drop p", "drain", "worker release w", "set j --script -"]),
            (
                Role::Admin,
                &["rm j", "check --repair", "worker add w --platform p", "worker add w - --platform p", "worker rm w"],
            ),
        ];
        for (least, verbs) in table {
            for verb in verbs {
                for role in [Role::Read, Role::Submit, Role::Admin] {
                    let asked = asked(role, &format!("/usr/bin/builder {verb}"));
                    assert_eq!(asked.is_ok(), role >= least, "{role} {verb}: {asked:?}");
                }
            }
        }
    }

    #[test]
    fn nobody_gets_at_the_servers_files_or_another_spool() {
        for command in [
            "builder --spool /x ls",
            "builder ls --spool=/x",
            "builder worker ls --config /x",
            "builder ls --host elsewhere",
            "builder init",
            "builder setup server",
            "builder setup worker ssh://x --platform p",
            "builder doctor",
            "builder gate --role admin",
            "builder add j /etc/passwd --platform p",
            "builder add j --template /etc/passwd --platform p",
            "builder add j --template ./t --platform p",
            "builder add j --template=../t --platform p",
            "builder template show ./t",
            "builder template check -",
            "builder edit x",
            "builder edit x --from /etc/passwd",
            "builder set x --script /etc/passwd",
            "builder get x",
            "builder get x -o /tmp",
            "builder diff a b",
            "builder find /etc/passwd",
            "builder import /etc/passwd",
            "builder export --full x -o /tmp/x",
            "builder import - /etc/passwd",
            "builder import -n /etc",
            "builder verify-signature x --signers /etc/passwd",
            "builder worker add w /etc/passwd --platform p",
            "sh -c id",
            "/usr/lib/openssh/sftp-server",
            "internal-sftp",
            "scp -t /tmp",
            "builder/../sh",
            "'builder ls'",
            "",
            "#builder ls",
            "PATH=/x builder ls",
        ] {
            let refused = asked(Role::Admin, command).expect_err(command);
            assert_eq!(refused.kind(), Kind::NoPermission, "{command}: {refused}");
        }
    }

    #[test]
    fn a_shells_characters_are_characters() {
        for command in [
            "builder check; id",
            "builder check && id",
            "builder check | id",
            "builder check\nid",
            "builder check > x",
            "builder 'ls",
        ] {
            assert_eq!(asked(Role::Admin, command).expect_err(command).kind(), Kind::Usage, "{command}");
        }
        assert_eq!(split("builder show '$(id)' \"`id`\" $HOME *").unwrap()[2..], ["$(id)", "`id`", "$HOME", "*"]);
    }
}
