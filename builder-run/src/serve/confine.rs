//! What a server process gives up before it listens to its worker.
//!
//! Whoever finds a fault in it finds a process that can't start another one, can't reach the network and sees of the file
//! system what the worker's build needs. That is a second line: the first one is that nothing a worker says is trusted.
//!
//! Linux has landlock(7) and seccomp(2) for it. FreeBSD's capsicum(4) would take away all names of files, which the spool's
//! transitions are made of; there a jail(8) around sshd does it, see SECURITY.md.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use spool::config::Limits;
use std::os::fd::BorrowedFd;

/// Bytes of memory of its own that a server process may have.
const MEMORY: u64 = 1 << 30;

/// Bytes of a file that it may write, where no artifact and no console may have as many: lists of them are files, too.
const FILE: u64 = 1 << 30;

/// Files that it may have open.
const FILES: u64 = 1024;

/// Bounds what the process may take of the machine. It can't take more afterwards.
pub fn bound(limits: &Limits) {
    let largest = limits.artifact_bytes.max(limits.console_bytes).max(FILE);
    for (resource, most) in
        [(Resource::Core, 0), (Resource::Data, MEMORY), (Resource::Nofile, FILES), (Resource::Fsize, largest)]
    {
        let now = getrlimit(resource);
        let most = now.maximum.map_or(most, |maximum| maximum.min(most));
        // A limit can always be lowered (setrlimit(2)).
        let _ = setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) });
    }
}

/// A directory that the process needs still.
#[cfg_attr(not(target_os = "linux"), expect(dead_code))]
pub struct Needed<'a> {
    pub directory: BorrowedFd<'a>,
    /// Also for changing what is below it.
    pub writes: bool,
}

/// Gives up everything but what lies below these directories: other files, executing, the network. A system that can't
/// take it away leaves it; what was open stays open.
#[cfg(not(target_os = "linux"))]
pub fn confine(_needed: &[Needed<'_>]) {}

/// Gives up everything but what lies below these directories: other files, executing, the network. A system that can't
/// take it away leaves it; what was open stays open.
#[cfg(target_os = "linux")]
pub fn confine(needed: &[Needed<'_>]) {
    if let Err(e) = files(needed) {
        tracing::debug!("other files stay in reach: {e}");
    }
    if let Err(e) = calls() {
        tracing::debug!("other system calls stay in reach: {e}");
    }
}

#[cfg(target_os = "linux")]
fn files(needed: &[Needed<'_>]) -> Result<(), landlock::RulesetError> {
    use landlock::{ABI, Access, AccessFs, AccessNet, PathBeneath, Ruleset, RulesetAttr, RulesetCreatedAttr, Scope};
    let abi = ABI::V6;
    let handled = Ruleset::default()
        .handle_access(AccessFs::from_all(abi))?
        .handle_access(AccessNet::from_all(abi))?
        .scope(Scope::from_all(abi))?;
    let reads = AccessFs::ReadFile | AccessFs::ReadDir;
    let devices =
        AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::MakeFifo | AccessFs::MakeSym | AccessFs::IoctlDev;
    let writes = AccessFs::from_all(abi) & !(devices | AccessFs::Execute);
    let mut rules = handled.create()?;
    for one in needed {
        rules = rules.add_rule(PathBeneath::new(one.directory, if one.writes { writes } else { reads }))?;
    }
    rules.restrict_self().map(drop)
}

/// No program, no socket but those of this machine, and no way around that.
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
fn calls() -> Result<(), Box<dyn std::error::Error>> {
    use seccompiler::{
        BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    };
    let never = [
        libc::SYS_execve,
        libc::SYS_execveat,
        libc::SYS_ptrace,
        libc::SYS_process_vm_readv,
        libc::SYS_process_vm_writev,
        libc::SYS_io_uring_setup,
        libc::SYS_bpf,
        libc::SYS_mount,
        libc::SYS_unshare,
        libc::SYS_setns,
        libc::SYS_keyctl,
        libc::SYS_userfaultfd,
        libc::SYS_perf_event_open,
    ];
    let mut rules: std::collections::BTreeMap<i64, Vec<SeccompRule>> =
        never.into_iter().map(|call| (call, Vec::new())).collect();
    let foreign = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, libc::AF_UNIX as u64)?;
    rules.insert(libc::SYS_socket, vec![SeccompRule::new(vec![foreign])?]);
    let refused = SeccompAction::Errno(libc::EPERM as u32);
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refused, std::env::consts::ARCH.try_into()?)?;
    let program: BpfProgram = filter.try_into()?;
    Ok(seccompiler::apply_filter(&program)?)
}

#[cfg(all(target_os = "linux", not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
fn calls() -> Result<(), Box<dyn std::error::Error>> {
    Err("not known for this processor".into())
}

#[cfg(all(test, target_os = "linux"))]
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;
    use std::fs::{File, read, write};
    use std::io::ErrorKind::PermissionDenied;
    use std::os::fd::AsFd;

    /// Both kinds of confinement are a thread's own.
    #[test]
    fn nothing_is_left_but_what_is_needed() {
        let dir = tempfile::tempdir().unwrap();
        let (spool, secrets, other) = (dir.path().join("spool"), dir.path().join("secrets"), dir.path().join("other"));
        for one in [&spool, &secrets, &other] {
            spool::disk::make_dir(one).unwrap();
            spool::disk::write_new(&one.join("file"), b"text", 0o755).unwrap();
        }
        let confined = std::thread::spawn(move || {
            let (spool_dir, secrets_dir) = (File::open(&spool).unwrap(), File::open(&secrets).unwrap());
            confine(&[
                Needed { directory: spool_dir.as_fd(), writes: true },
                Needed { directory: secrets_dir.as_fd(), writes: false },
            ]);
            assert_eq!(read(spool.join("file")).unwrap(), b"text");
            spool::disk::write_new(&spool.join("new"), b"", 0o644).unwrap();
            std::os::unix::net::UnixDatagram::bind(spool.join("socket")).unwrap();
            assert_eq!(read(secrets.join("file")).unwrap(), b"text");
            let denied = |what: std::io::Result<()>| assert_eq!(what.unwrap_err().kind(), PermissionDenied);
            denied(write(secrets.join("file"), b"other"));
            denied(read(other.join("file")).map(drop));
            denied(read("/etc/passwd").map(drop));
            denied(write(other.join("new"), b""));
            denied(std::net::TcpStream::connect(("127.0.0.1", 9)).map(drop));
            denied(std::net::UdpSocket::bind(("127.0.0.1", 0)).map(drop));
            denied(std::process::Command::new(spool.join("file")).status().map(drop));
            denied(std::process::Command::new("/bin/true").status().map(drop));
        });
        confined.join().unwrap();
    }
}
