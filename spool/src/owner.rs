//! One owner: whatever writes into a spool does it as the user who owns it.

use crate::error::{At, Error, Kind, Result};
use crate::spool::Spool;
use std::io;

/// Makes this process fit to write into the spool: it must be the owner's. The superuser becomes the owner,
/// so that `sudo builder add` leaves no file behind that the daemon can't touch.
///
/// Call it before any thread is started, after the caller's own files were read.
///
/// # Errors
/// [`Kind::NoPermission`] for any other user.
pub fn become_owner(spool: &Spool) -> Result<()> {
    let (uid, gid) = spool.owner()?;
    let me = rustix::process::geteuid();
    if me.as_raw() == uid {
        make_readable();
        return Ok(());
    }
    if !me.is_root() {
        return Err(Error::new(
            Kind::NoPermission,
            format!("the spool at {} belongs to user {uid}", spool.layout().root().display()),
        )
        .hint(format!(
            "run this as that user, for example with `sudo -u '#{uid}'`, or use a spool of your own with --spool"
        )));
    }
    make_readable();
    switch(uid, gid)
}

/// Has everything that this process makes from now on the modes of the layout, whatever the caller's umask is.
pub fn make_readable() {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
}

fn switch(uid: u32, gid: u32) -> Result<()> {
    use nix::unistd::{Gid, Uid, setgid, setgroups, setuid};
    let who = format!("user {uid}, the spool's owner");
    let gid = Gid::from_raw(gid);
    setgroups(&[gid]).map_err(io::Error::from).at("drop the groups to become", &who)?;
    setgid(gid).map_err(io::Error::from).at("take the group of", &who)?;
    setuid(Uid::from_raw(uid)).map_err(io::Error::from).at("become", &who)
}
