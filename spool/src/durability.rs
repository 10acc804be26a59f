//! Whether the file system below a spool can keep the promise that what was acknowledged is never lost.

use std::path::Path;

/// Why acknowledged builds could be lost on this file system; nothing when it keeps its word, as far as
/// its type tells.
pub fn weakness(path: &Path) -> Option<String> {
    #[cfg(target_os = "linux")]
    return linux(path);
    #[cfg(not(target_os = "linux"))]
    {
        let _ = path;
        None
    }
}

#[cfg(target_os = "linux")]
fn linux(path: &Path) -> Option<String> {
    // Magic numbers of statfs(2).
    let kind = rustix::fs::statfs(path).ok()?.f_type as u64 & 0xffff_ffff;
    let name = match kind {
        0xef53 if ext4_has_no_journal(path) => "ext4 without a journal",
        0x0102_1994 => "tmpfs, which lives in memory",
        0x8584_58f6 => "ramfs, which lives in memory",
        0x6969 => "NFS, whose locks and renames are not atomic for other hosts",
        0xff53_4d42 | 0xfe53_4d42 | 0x517b => "SMB, whose locks and renames are not atomic for other hosts",
        _ => return None,
    };
    Some(format!("{} is on {name}: what was acknowledged can be lost in a crash of the machine", path.display()))
}

/// sysfs names the journal's task of each mounted ext4 by its device; without a journal it says `<none>`.
#[cfg(target_os = "linux")]
fn ext4_has_no_journal(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let Ok(meta) = path.metadata() else { return false };
    let (major, minor) = (rustix::fs::major(meta.dev()), rustix::fs::minor(meta.dev()));
    let Ok(device) = std::fs::read_link(format!("/sys/dev/block/{major}:{minor}")) else { return false };
    let Some(name) = device.file_name() else { return false };
    let task = Path::new("/sys/fs/ext4").join(name).join("journal_task");
    std::fs::read_to_string(task).is_ok_and(|text| text.trim() == "<none>")
}
