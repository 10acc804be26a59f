//! A fresh root: what lies in a directory, and over it, in memory, what one build changes of it.
//!
//! This is a program of its own, started for each build, in a mount namespace that ends with it: nothing of it is seen
//! outside, and nothing has to be cleaned up. For an ordinary user that takes a user namespace (user_namespaces(7)), in
//! which overlayfs can be mounted since Linux 5.11.
#![allow(clippy::disallowed_methods)]

use crate::args::FreshRootArgs;
use spool::error::{Error, Kind, Result};

/// Where the root is, below the directory for the mounts.
pub const FRESH: &str = "fresh";

/// Where a directory is that can be shown as /dev/shm.
pub const SHARED_MEMORY: &str = "shm";

/// Makes a fresh root and becomes the command.
#[cfg(target_os = "linux")]
pub fn run(args: &FreshRootArgs) -> Result<()> {
    linux::run(args)
}

/// Elsewhere there is none.
#[cfg(not(target_os = "linux"))]
pub fn run(_: &FreshRootArgs) -> Result<()> {
    Err(Error::new(Kind::Config, "bwrap and nspawn are sandboxes of Linux")
        .hint("run the worker in a jail, or give a command: --sandbox 'COMMAND {dir} {script}'"))
}

#[cfg(target_os = "linux")]
mod linux {
    use super::{Error, FRESH, FreshRootArgs, Kind, Result, SHARED_MEMORY};
    use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
    use rustix::process::{Resource, Rlimit, getegid, geteuid, setrlimit};
    use rustix::thread::UnshareFlags;
    use spool::error::At;
    use std::ffi::CString;
    use std::fs::{DirBuilder, Permissions};
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
    use std::os::unix::process::CommandExt;
    use std::path::{Component, Path};
    use std::process::Command;

    /// How many files a build can make or change, however little it may change in all.
    const FEWEST_FILES: u64 = 4096;

    pub fn run(args: &FreshRootArgs) -> Result<()> {
        let superuser = geteuid().is_root();
        separate(superuser)?;
        if let Some(tasks) = args.tasks {
            let most = Some(tasks.into());
            setrlimit(Resource::Nproc, Rlimit { current: most, maximum: most }).map_err(failed("limit processes"))?;
        }
        // A file costs the kernel about a page, however small it is.
        let files = (args.changes / 4096).max(FEWEST_FILES);
        let options = format!("size={},nr_inodes={files},mode=755", args.changes);
        let options = CString::new(options).unwrap_or_default();
        let flags = MountFlags::NOSUID | MountFlags::NODEV;
        mount("builder", &args.mounts, "tmpfs", flags, options.as_c_str()).map_err(failed("mount a tmpfs"))?;
        std::env::set_current_dir(&args.mounts).at("enter", &args.mounts)?;
        for (name, mode) in [("upper", 0o755), ("work", 0o700), (FRESH, 0o755), (SHARED_MEMORY, 0o1777)] {
            make(Path::new(name), mode)?;
        }
        prepare(args)?;
        overlay(args, superuser)?;
        let mut words = args.command.iter();
        let program = words.next().ok_or_else(|| Error::new(Kind::Internal, "there is nothing to execute"))?;
        let error = Command::new(program).args(words).exec();
        Err(Error::new(Kind::Config, format!("can't execute {}: {error}", program.display())))
    }

    fn failed(what: &str) -> impl Fn(rustix::io::Errno) -> Error {
        move |e| Error::new(Kind::Config, format!("can't {what}: {e}"))
    }

    /// Namespaces of its own. The user outside is the superuser inside, and nobody else is anybody.
    #[allow(unsafe_code)]
    fn separate(superuser: bool) -> Result<()> {
        let (user, group) = (geteuid().as_raw(), getegid().as_raw());
        let flags = if superuser { UnshareFlags::NEWNS } else { UnshareFlags::NEWNS | UnshareFlags::NEWUSER };
        // SAFETY: this process has one thread and shares no memory with anybody.
        unsafe { rustix::thread::unshare_unsafe(flags) }.map_err(failed("make a namespace"))?;
        if !superuser {
            for (file, text) in [
                ("setgroups", "deny".to_owned()),
                ("uid_map", format!("0 {user} 1")),
                ("gid_map", format!("0 {group} 1")),
            ] {
                let path = Path::new("/proc/self").join(file);
                std::fs::write(&path, text).at("write", &path)?;
            }
        }
        let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        mount_change("/", private).map_err(failed("keep mounts to itself"))
    }

    /// What is there of the fresh root from the start: directories that anybody may write to, whoever owns those of the
    /// root, the one that a build gets, and with the network the names of its servers.
    fn prepare(args: &FreshRootArgs) -> Result<()> {
        let upper = Path::new("upper");
        std::fs::set_permissions(upper, mode_of(&args.root, 0o755)).at("open", upper)?;
        for (name, mode) in [("tmp", 0o1777), ("var/tmp", 0o1777), ("run", 0o755)] {
            path_in(upper, &args.root, Path::new(name))?;
            let path = upper.join(name);
            std::fs::set_permissions(&path, Permissions::from_mode(mode)).at("open", &path)?;
        }
        path_in(upper, &args.root, &args.directory)?;
        if args.network
            && let Ok(servers) = std::fs::read("/etc/resolv.conf")
        {
            path_in(upper, &args.root, Path::new("etc"))?;
            let path = upper.join("etc/resolv.conf");
            std::fs::write(&path, servers).at("write", &path)?;
        }
        Ok(())
    }

    /// Makes a directory and those above it, with the modes that they have in the root.
    fn path_in(upper: &Path, root: &Path, path: &Path) -> Result<()> {
        let (mut made, mut original) = (upper.to_owned(), root.to_owned());
        for part in path.components() {
            if let Component::Normal(name) = part {
                made.push(name);
                original.push(name);
                if !made.is_dir() {
                    make(&made, 0o755)?;
                    std::fs::set_permissions(&made, mode_of(&original, 0o755)).at("open", &made)?;
                }
            }
        }
        Ok(())
    }

    fn mode_of(path: &Path, otherwise: u32) -> Permissions {
        let mode = path.symlink_metadata().ok().filter(|meta| meta.is_dir()).map(|meta| meta.permissions().mode());
        Permissions::from_mode(mode.unwrap_or(otherwise) & 0o7777)
    }

    fn make(path: &Path, mode: u32) -> Result<()> {
        DirBuilder::new().mode(0o700).create(path).at("create", path)?;
        std::fs::set_permissions(path, Permissions::from_mode(mode)).at("open", path)
    }

    fn overlay(args: &FreshRootArgs, superuser: bool) -> Result<()> {
        // In a user namespace, overlayfs keeps its notes in attributes that a user may write (overlayfs(5)).
        let notes = if superuser { "" } else { "userxattr," };
        let options = format!("{notes}lowerdir={},upperdir=upper,workdir=work", args.root.display());
        let options = CString::new(options).unwrap_or_default();
        mount("builder", FRESH, "overlay", MountFlags::empty(), options.as_c_str())
            .map_err(failed(&format!("mount an overlay over {}", args.root.display())))
    }
}
