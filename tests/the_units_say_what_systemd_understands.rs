//! The files in `systemd/`: systemd and sshd understand each word, the units are tight, the accounts and directories are
//! those that builder needs, and all of them name the same places as the programs.

#![cfg(target_os = "linux")]

use harness::{Finished, Lab};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

const UNITS: [&str; 5] = [
    "builderd.service",
    "builder-worker@.service",
    "builder-worker-nspawn@.service",
    "builder-worker-docker@.service",
    "builder-worker-podman@.service",
];

fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd").join(name)
}

fn text(name: &str) -> String {
    std::fs::read_to_string(shipped(name)).expect("a file of ours")
}

/// Copies of the units, which start programs that are there: an instance of each template, since a template alone is not
/// looked at.
fn units(lab: &Lab) -> Vec<PathBuf> {
    let mut places: Vec<_> = [("/usr/sbin/builderd", "builderd"), ("/usr/libexec/builder/builder-run", "builder-run")]
        .map(|(place, program)| (place.to_owned(), harness::binary(program)))
        .to_vec();
    let stand_in = |program: &str| (format!("/usr/bin/{program}"), PathBuf::from("/bin/true"));
    places.extend(["systemd-nspawn", "docker", "podman"].map(stand_in));
    UNITS
        .iter()
        .map(|name| {
            let unit = places.iter().fold(text(name), |unit, (place, program)| {
                let program = program.display();
                unit.replace(&format!("={place} "), &format!("={program} "))
                    .replace(&format!("={place}\n"), &format!("={program}\n"))
                    .replace(&format!("=-{place} "), &format!("=-{program} "))
            });
            lab.script(&name.replace("@.", "@jail1."), &unit)
        })
        .collect()
}

#[test]
fn systemd_has_nothing_to_say_of_the_units() {
    let lab = Lab::new();
    let units = units(&lab);
    let verified = Finished::of(Command::new("systemd-analyze").args(["verify", "--man=no"]).args(&units));
    assert_eq!((verified.code, verified.stdout.as_str(), verified.stderr.as_str()), (0, "", ""));
}

/// All of them start the same program, on the same files, and one build is all that a start is for.
#[test]
fn a_worker_in_a_container_is_a_worker() {
    let defaults = spool::config::Config::default();
    for unit in &UNITS[1..] {
        let text = text(unit).replace("\\\n    ", "");
        let start = text.lines().find(|line| line.starts_with("ExecStart=")).expect("a start");
        let worker = format!("{} worker ${{SERVER}} --persist --identity ", defaults.builder_run.display());
        assert!(
            start.contains(&worker) && start.ends_with(" $OPTIONS") && !start.contains(" --keep "),
            "{unit}: {start}"
        );
        for line in [
            "EnvironmentFile=/etc/builder/workers/%i.env",
            "Restart=always",
            "RestartPreventExitStatus=64 78",
            "KillMode=mixed",
        ] {
            assert!(text.lines().any(|found| found == line), "{unit}: {line}");
        }
        for place in ["/etc/builder/workers/%i.key", "/etc/builder/workers/known_hosts"] {
            assert!(text.contains(place), "{unit}: {place}");
        }
        // A script in its cgroup that has used up its memory would take the worker along, and its build be lost.
        let has_scripts = text.lines().any(|line| line.starts_with("Delegate="));
        assert_eq!(text.lines().any(|line| line == "OOMPolicy=continue"), has_scripts, "{unit}");
    }
}

/// The exposure that `systemd-analyze security` finds, times ten, is at most this.
#[test]
fn the_units_are_tight() {
    for (unit, most) in [("builderd.service", "20"), ("builder-worker@.service", "35")] {
        let mut security = Command::new("systemd-analyze");
        security.args(["security", "--offline=true", "--no-pager", &format!("--threshold={most}")]);
        let judged = Finished::of(security.arg(shipped(unit)));
        assert_eq!(judged.code, 0, "{unit}: {}{}", judged.stdout, judged.stderr);
        assert!(judged.stdout.contains("Overall exposure level"), "{judged:?}");
    }
}

/// What builderd says of itself must reach systemd, and what it must be able to do must not be taken from it.
#[test]
fn builderds_unit_fits_builderd() {
    let unit = text("builderd.service");
    for line in [
        "Type=notify",
        "User=builder",
        "WatchdogSec=3min",
        "ExecReload=/usr/sbin/builderd --check",
        "ExecReload=/bin/kill -HUP $MAINPID",
        "Restart=always",
        "StateDirectory=builder",
        "RestrictAddressFamilies=AF_UNIX",
    ] {
        assert!(unit.lines().any(|found| found == line), "{line}");
    }
    // With it SO_PEERCRED says 65534 of everybody.
    assert!(!unit.lines().any(|line| line.starts_with("PrivateUsers=")));
    let defaults = spool::config::Config::default();
    assert_eq!(defaults.spool, Path::new("/var/lib/builder"));
    let worker = text("builder-worker@.service");
    assert!(worker.contains(&format!("ExecStart={} worker ", defaults.builder_run.display())));
    // That directory is root's alone.
    assert!(!worker.lines().any(|line| line.starts_with("ExecStart=") && line.contains("/etc/builder/workers")));
    assert!(
        text("sshd_config.d/builder.conf")
            .contains(&format!("{} authorized-keys %t %k", defaults.builder_run.display()))
    );
    assert!(
        text("tmpfiles.d/builder.conf").contains(&format!("d {} 0700 builder builder", defaults.secrets.display()))
    );
    assert!(text("tmpfiles.d/builder.conf").contains(&format!("d {} 0755 root root", defaults.hooks.display())));
}

/// Where a part of /proc is hidden, the kernel gives no user namespace another one; mount_namespaces(7).
#[test]
fn the_workers_unit_leaves_bubblewrap_what_it_needs() {
    let unit = text("builder-worker@.service");
    let breaks =
        ["ProtectKernelLogs=", "ProtectKernelTunables=", "ProcSubset=", "ProtectHostname=", "RestrictNamespaces="];
    for line in unit.lines() {
        assert!(!breaks.iter().any(|setting| line.starts_with(setting)), "{line}");
    }
    let filter = unit.lines().find_map(|line| line.strip_prefix("SystemCallFilter=")).expect("a filter");
    for call in ["@mount", "sethostname", "seccomp"] {
        assert!(filter.split(' ').any(|word| word == call), "{call}");
    }
}

#[test]
fn accounts_and_directories_are_made() {
    if !harness::is_superuser() {
        return;
    }
    let lab = Lab::new();
    let root = lab.path("root");
    std::fs::create_dir_all(root.join("etc")).expect("a directory");
    let at = format!("--root={}", root.display());
    let made = Finished::of(Command::new("systemd-sysusers").arg(&at).arg(shipped("sysusers.d/builder.conf")));
    assert_eq!(made.code, 0, "{made:?}");
    let users = std::fs::read_to_string(root.join("etc/passwd")).expect("the users");
    let user =
        |name: &str| users.lines().find(|line| line.starts_with(&format!("{name}:"))).expect("a user").to_owned();
    assert!(user("builder").ends_with(":/var/lib/builder:/bin/sh"), "{users}");
    assert!(user("builder-worker").ends_with(":/var/lib/builder-worker:/bin/sh"), "{users}");
    let secret = std::fs::read_to_string(root.join("etc/shadow")).expect("their passwords");
    assert!(secret.lines().all(|line| line.split(':').nth(1).is_some_and(|field| field.starts_with('!'))), "{secret}");

    let made =
        Finished::of(Command::new("systemd-tmpfiles").args([&at, "--create"]).arg(shipped("tmpfiles.d/builder.conf")));
    assert_eq!((made.code, made.stderr.as_str()), (0, ""), "{made:?}");
    for (directory, mode) in [
        ("var/lib/builder", 0o750),
        ("etc/builder/hooks.d", 0o755),
        ("etc/builder/secrets", 0o700),
        ("etc/builder/workers", 0o711),
    ] {
        let meta = std::fs::metadata(root.join(directory)).expect("a directory");
        assert_eq!(meta.permissions().mode() & 0o7777, mode, "{directory}");
    }
}

/// What sshd makes of the drop-in, for the spool's owner and for somebody else.
#[test]
fn sshd_confines_the_owner_and_nobody_else() {
    let lab = Lab::new();
    let key = lab.key("host");
    let config = format!("HostKey {}\nInclude {}\n", key.display(), shipped("sshd_config.d/builder.conf").display());
    let file = lab.script("sshd_config", &config);
    let _ = std::fs::create_dir_all("/run/sshd");
    let asked = |user: &str| {
        let mut sshd = Command::new("/usr/sbin/sshd");
        sshd.args(["-T", "-C", &format!("user={user},host=jail1,addr=192.0.2.1"), "-f"]).arg(&file);
        let said = Finished::of(&mut sshd);
        assert_eq!((said.code, said.stderr.as_str()), (0, ""), "{said:?}");
        said.stdout
    };
    let (ours, others) = (asked("builder"), asked("alice"));
    for line in [
        "authenticationmethods publickey",
        "passwordauthentication no",
        "kbdinteractiveauthentication no",
        "disableforwarding yes",
        "permituserrc no",
        "permittunnel no",
        "authorizedkeysfile /etc/builder/authorized_keys",
        "authorizedkeyscommanduser builder",
        "authorizedkeyscommand /usr/libexec/builder/builder-run authorized-keys %t %k",
    ] {
        assert!(ours.lines().any(|found| found == line), "{line} is not in\n{ours}");
    }
    for line in ["passwordauthentication yes", "disableforwarding no", "authorizedkeyscommand none"] {
        assert!(others.lines().any(|found| found == line), "{line} is not in\n{others}");
    }
}
