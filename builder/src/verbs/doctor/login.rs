//! With which keys sshd lets the spool's owner log in, and for what: settings that keep workers out although it knows their keys
//! (sshd_config(5)).

use super::admission::{self, is_like};
use super::{Finding, Sshd};
use crate::program;
use nix::unistd::User;
use spool::Spool;
use std::collections::BTreeSet;
use std::process::Command;

/// By which workers come in.
struct Account {
    name: String,
    is_root: bool,
    /// Nobody may come in by it where sshd does not ask PAM.
    is_locked: bool,
}

/// What keeps workers from logging in as the spool's owner.
pub fn findings(spool: &Spool, owner: &User, sshd: &Sshd) -> Vec<Finding> {
    let workers = spool.workers().unwrap_or_default();
    let keys = workers.values().filter_map(|worker| worker.as_ref().ok()?.key.as_ref());
    let kinds = keys.filter_map(|key| key.to_string().split(' ').next().map(str::to_owned)).collect();
    let account = Account { name: owner.name.clone(), is_root: owner.uid.is_root(), is_locked: is_locked(&owner.name) };
    let mut faults = faults(sshd, &account, &kinds);
    faults.extend(admission::keeps_out(sshd, owner));
    match faults.is_empty() {
        true => vec![Finding::ok(format!("sshd lets {} log in with a key", account.name))],
        false => faults,
    }
}

/// As systemd-sysusers(8) makes accounts: in shadow(5), what can be no password begins with an exclamation mark.
fn is_locked(user: &str) -> bool {
    let known = program::run(Command::new("getent").args(["shadow", user]), "");
    known.is_ok_and(|known| known.output.split(':').nth(1).is_some_and(|password| password.starts_with('!')))
}

/// A pure function of settings and account, and of the types of the workers' keys.
fn faults(sshd: &Sshd, account: &Account, kinds: &BTreeSet<String>) -> Vec<Finding> {
    let name = &account.name;
    let mut faults = Vec::new();
    let mut fault = |what: String, mend: String| faults.push(Finding::mend(what, mend));
    if sshd.first("pubkeyauthentication") != Some("yes") {
        fault("sshd takes no keys".into(), "its settings need `PubkeyAuthentication yes`".into());
    }
    if sshd
        .first("authenticationmethods")
        .is_some_and(|all| !all.split(' ').any(|one| ["any", "publickey"].contains(&one)))
    {
        fault("sshd wants more than a key".into(), "workers need `AuthenticationMethods publickey`".into());
    }
    if account.is_root && sshd.first("permitrootlogin") == Some("no") {
        fault(
            "root owns the spool, and sshd lets root log in never".into(),
            "give the spool to another user, or say `PermitRootLogin forced-commands-only`".into(),
        );
    }
    if account.is_locked && sshd.first("usepam") != Some("yes") {
        fault(
            format!("the account {name} is locked, and sshd lets nobody into one without PAM"),
            format!("say `usermod -p '*' {name}`, which is no password either, or `UsePAM yes` in its settings"),
        );
    }
    let refused: Vec<&str> = kinds.iter().filter(|kind| !is_accepted(sshd, kind)).map(String::as_str).collect();
    if !refused.is_empty() {
        let which = refused.join(" and ");
        fault(format!("sshd takes no keys of the type {which}"), "add it to its PubkeyAcceptedAlgorithms".into());
    }
    if let Some(command) = sshd.first("forcecommand").filter(|command| *command != "none") {
        fault(
            format!("sshd runs `{command}` for whoever logs in as {name}, and not what a worker's key is for"),
            format!("its settings need `ForceCommand none` for {name}"),
        );
    }
    // One for the build, and one for what it uploads.
    if let Some(count) =
        sshd.first("maxsessions").and_then(|count| count.parse::<u32>().ok()).filter(|count| *count < 2)
    {
        fault(
            format!("sshd allows {count} session in a connection, and a worker uploads in a second one"),
            "its settings need `MaxSessions 2` or more".into(),
        );
    }
    faults
}

/// Whether a signature by such a key is. RSA keys sign in other ways than their type says.
fn is_accepted(sshd: &Sshd, kind: &str) -> bool {
    let accepted = sshd.first("pubkeyacceptedalgorithms").or_else(|| sshd.first("pubkeyacceptedkeytypes"));
    let by = match kind {
        "ssh-rsa" => &["rsa-sha2-512", "rsa-sha2-256"][..],
        _ => &[kind],
    };
    accepted.is_none_or(|accepted| {
        accepted.split(',').any(|pattern| by.iter().any(|algorithm| is_like(pattern.as_bytes(), algorithm.as_bytes())))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const WELL: &str = "pubkeyauthentication yes\nusepam yes\nmaxsessions 10\nforcecommand none\npermitrootlogin no\n\
                        authenticationmethods any\npubkeyacceptedalgorithms ssh-ed25519,rsa-sha2-*\n";

    fn named(account: &Account, more: &str) -> Vec<String> {
        // What stands first counts.
        let sshd = Sshd::of(&format!("{more}{WELL}"));
        let kinds = ["ssh-ed25519", "ssh-rsa"].map(str::to_owned).into();
        faults(&sshd, account, &kinds).iter().map(ToString::to_string).collect()
    }

    fn builder() -> Account {
        Account { name: "builder".into(), is_root: false, is_locked: true }
    }

    #[test]
    fn each_setting_that_keeps_workers_out_is_named() {
        for (setting, what) in [
            ("pubkeyauthentication no", "takes no keys"),
            ("authenticationmethods publickey,password", "more than a key"),
            ("usepam no", "is locked"),
            ("maxsessions 1", "allows 1 session"),
            ("maxsessions 0", "allows 0 session"),
            ("forcecommand /bin/false", "sshd runs `/bin/false`"),
            ("pubkeyacceptedalgorithms ssh-ed25519", "of the type ssh-rsa;"),
            ("pubkeyacceptedalgorithms ecdsa-sha2-*", "of the type ssh-ed25519 and ssh-rsa;"),
        ] {
            let faults = named(&builder(), &format!("{setting}\n"));
            assert!(faults.len() == 1 && faults[0].contains(what), "{setting}: {faults:?}");
        }
        let root = Account { name: "root".into(), is_root: true, ..builder() };
        assert!(named(&root, "").concat().contains("lets root log in never"));
    }

    #[test]
    fn settings_that_let_them_in_are_well() {
        let root = Account { name: "root".into(), is_root: true, ..builder() };
        assert_eq!(named(&root, "permitrootlogin forced-commands-only\n"), [""; 0]);
        let open = Account { is_locked: false, ..builder() };
        assert_eq!(named(&open, "usepam no\n"), [""; 0]);
        for setting in [
            "",
            "maxsessions 2",
            "authenticationmethods publickey,password publickey",
            "pubkeyacceptedalgorithms ssh-*,rsa-sha2-512",
        ] {
            assert_eq!(named(&builder(), &format!("{setting}\n")), [""; 0], "{setting}");
        }
    }
}
