//! `builder doctor` on a machine that is set up as the README says.

use super::Machine;
use harness::debian::System;

/// All is well for root, for the spool's owner and for the worker; and one thing that is broken is what is named.
pub fn names_it(machine: &mut Machine) {
    let said = machine.ok("builder doctor");
    assert!(
        ["spool /var/lib/builder", "worker jail1"].iter().all(|part| said.lines().any(|line| line == *part)),
        "{said}"
    );
    assert!(said.contains("sshd asks") && ill(&said).is_empty(), "{said}");
    let said =
        machine.ok("cd /; HOME=/var/lib/builder setpriv --reuid builder --regid builder --init-groups builder doctor");
    assert!(
        ill(&said).iter().all(|line| line.starts_with("  ?") && line.contains("only the superuser can ask")),
        "{said}"
    );
    let breaks = [
        (
            "sed -i 's/^ *AuthorizedKeysCommand/#&/' /etc/ssh/sshd_config.d/builder.conf",
            "sshd does not know",
            "sed -i 's/^# *Auth/Auth/' /etc/ssh/sshd_config.d/builder.conf",
        ),
        ("systemctl stop builderd", "builderd does not run", "systemctl start builderd"),
        ("chsh -s /usr/sbin/nologin builder", "nologin", "chsh -s /bin/sh builder"),
        (
            "chmod 644 /etc/builder/workers/jail1.key",
            "others than its owner can read",
            "chmod 600 /etc/builder/workers/jail1.key",
        ),
    ];
    for (breaks, named, mends) in breaks {
        machine.ok(&format!("{breaks} && systemctl reload ssh"));
        let said = machine.sh("builder doctor");
        assert_eq!(said.code, 1, "{breaks}: {said:?}");
        let ill = ill(&said.stdout);
        assert!(ill.iter().any(|line| line.starts_with("  mend") && line.contains(named)), "{breaks}: {said:?}");
        machine.ok(&format!("{mends} && systemctl reload ssh && builder doctor"));
    }
}

/// The findings that are not ok.
fn ill(said: &str) -> Vec<&str> {
    said.lines().filter(|line| line.starts_with("  ") && !line.starts_with("  ok ")).collect()
}
