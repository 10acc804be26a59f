//! Builds that were signed and sealed.

use crate::{Lab, wait_for};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Something of everything: inputs, artifacts at two depths, a main one, a console.
pub const SCRIPT: &str = "echo printed; mkdir -p bin; echo tool >bin/tool; echo text >text; echo dep >system-packages";

/// Waits until a build is over and all is done that its end owed. Returns its directory.
pub fn sealed(lab: &Lab, id: &str) -> PathBuf {
    let dir = lab.finished(id).dir();
    wait_for("nothing is owed", || !lab.root().join("owed").join(id).exists());
    dir
}

/// A build by a worker that comes in over SSH with a key of its own, sealed.
pub fn signed(lab: &Lab, words: &[&str]) -> (PathBuf, String) {
    let sshd = lab.sshd();
    let key = lab.add_worker("jail1");
    lab.job("job", SCRIPT);
    let id = lab.run("job");
    let _daemon = lab.daemon();
    let worker = sshd.worker(lab, "jail1", &key, words);
    let dir = sealed(lab, &id);
    assert_eq!(worker.ended(), 0);
    (dir, id)
}

/// What happens to a file, in place: whoever has a link to it has it, too.
#[derive(Clone, Copy, Debug)]
pub enum Change {
    /// A bit of this byte is another one.
    Flipped(usize),
    /// Its last byte is gone.
    Cut,
    /// There is a byte more.
    Longer,
    /// It is not there.
    Gone,
}

/// Changes a file, has somebody look, and makes it as it was.
pub fn changed<T>(path: &Path, change: Change, look: impl FnOnce() -> T) -> T {
    if let Change::Gone = change {
        let away = path.ancestors().find(|dir| dir.join("format").exists()).expect("a spool").parent().expect("a lab");
        let away = away.join("away");
        std::fs::rename(path, &away).expect("moved");
        let seen = look();
        std::fs::rename(&away, path).expect("moved back");
        return seen;
    }
    let (bytes, mode) = (std::fs::read(path).expect("a file"), path.metadata().expect("a file").permissions());
    let mut other = bytes.clone();
    match change {
        Change::Flipped(at) => other[at] ^= 1,
        Change::Cut => other.truncate(bytes.len() - 1),
        Change::Longer => other.push(b'\n'),
        Change::Gone => {}
    }
    let write = |bytes: &[u8]| {
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o644)).expect("a mode");
        std::fs::write(path, bytes).expect("written");
        std::fs::set_permissions(path, mode.clone()).expect("its mode");
    };
    write(&other);
    let seen = look();
    write(&bytes);
    seen
}
