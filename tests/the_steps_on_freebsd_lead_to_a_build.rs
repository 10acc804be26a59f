//! The steps of `freebsd/README.md`, typed as they stand there into a shell that ends at the first that fails, on a FreeBSD of
//! stand-ins with the real programs and a real sshd: the last of them watches a build. Where a step needs an earlier one, so
//! do the stand-ins.

use harness::Sshd;
use harness::machine::Machine;
use std::path::Path;

/// What stands in blocks for a shell under some headings.
fn steps(headings: &[&str]) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../freebsd/README.md");
    let (mut steps, mut is_meant, mut is_code) = (String::new(), false, false);
    for line in std::fs::read_to_string(file).expect("the document").lines() {
        match (line.strip_prefix("## "), line) {
            (Some(heading), _) => is_meant = headings.contains(&heading),
            (None, "```sh") => is_code = true,
            (None, "```") => is_code = false,
            (None, line) if is_code && is_meant => steps += &format!("{line}\n"),
            _ => {}
        }
    }
    steps
}

/// A FreeBSD with the package and the examples, and an interface that is there already.
fn machine() -> (Machine, Sshd) {
    let machine = Machine::new();
    let sshd = machine.lab.sshd();
    let place = machine.path("");
    let place = place.to_str().expect("UTF-8").trim_end_matches('/');
    for directory in ["etc", "boot", "local/share/examples/builder"] {
        std::fs::create_dir_all(machine.path(directory)).expect("a directory");
    }
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../freebsd/pf.conf");
    std::fs::copy(rules, machine.path("local/share/examples/builder/pf.conf")).expect("the example");
    let known = machine.lab.path("known_hosts");
    for (name, text) in [
        ("pkg", String::new()),
        ("poudriere", format!("grep -q ^FREEBSD_HOST=https {place}/local/etc/poudriere.conf")),
        ("shutdown", String::new()),
        ("chown", String::new()),
        ("zfs", "for word; do case $word in mountpoint=*) mkdir -p \"${word#*=}\" ;; esac; done".into()),
        ("ssh-keyscan", format!("[ -e {place}/run.sshd ] && cat {}", known.display())),
        ("vi", "[ -e \"$1\" ] && sed -i 's/^ext = .*/ext = \"vtnet0\"/' \"$1\"".into()),
        ("pfctl", "[ \"$1\" = -nf ] && grep -q vtnet0 \"$2\"".into()),
    ] {
        machine.program(&format!("bin/{name}"), &format!("#!/bin/sh\n{text}\n"));
    }
    // The worker that would be in a jail.
    let jail = format!(
        "#!/bin/sh\necho \"$*\" >> {place}/jailed\n[ -e {place}/run.pf ] || exit 71\n\
         while [ \"$1\" != -- ]; do [ \"$1\" != -k ] || keys=$2; shift; done\nshift\n\
         trap 'kill $!' TERM\n{place}/local/libexec/builder/builder-run worker \"$@\" --once --work {place}/work \
         --identity \"$keys/key\" --known-hosts \"$keys/known_hosts\" &\nwait\n"
    );
    machine.program("local/libexec/builder/builder-jail", &jail);
    let config = machine.lab.config();
    machine.configure(&format!("cloned_interfaces=bridge0\nbuilder_worker_env=BUILDER_CONFIG={}\n", config.display()));
    (machine, sshd)
}

#[test]
fn the_steps_lead_to_a_build() {
    let (machine, sshd) = machine();
    let steps = steps(&["The server", "A snapshot to build in", "A worker with a jail for each build"]);
    let place = machine.path("");
    let place = place.to_str().expect("UTF-8").trim_end_matches('/');
    let typed = machine
        .here(&steps)
        .replace("/etc/pf.conf", &format!("{place}/etc/pf.conf"))
        .replace("/boot/", &format!("{place}/boot/"))
        .replace("ssh://builder@192.0.2.10", &sshd.url())
        .replace("builder watch", "timeout 100 builder watch");
    let done = machine.types(&typed);
    assert_eq!(done.code, 0, "{done:?}\n{}", machine.log());
    let name = Path::new("/proc/sys/kernel/ostype");
    let name = std::fs::read_to_string(name).expect("this system's name");
    assert!(done.stdout.contains(name.trim()), "the build was watched: {done:?}");
    machine.says(&["builder_worker", "stop"], 0, "Stopping");
    machine.says(&["builderd", "stop"], 0, "Stopping");

    let jailed = std::fs::read_to_string(machine.path("jailed")).expect("what builder-jail was given");
    let words = format!(
        "-n a -s zroot/poudriere/jails/14amd64@builder -k {place}/local/etc/builder/workers/a -a 10.77.0.2 -q 20g \
         -l memoryuse:deny=4g -l maxproc:deny=1000 -- {} --persist --platform freebsd-14",
        sshd.url()
    );
    assert_eq!(jailed.lines().next().map(str::trim), Some(words.as_str()));
    let interfaces = machine.types("sysrc -n cloned_interfaces");
    assert_eq!(interfaces.stdout, "bridge0 lo1\n", "what was there stays");
    // The rules have the address that the worker has.
    let rules = std::fs::read_to_string(machine.path("etc/pf.conf")).expect("the rules");
    assert!(rules.contains("from 10.77.0.2 to 10.77.0.2") && rules.contains("server = \"192.0.2.10\""), "{rules}");
}
