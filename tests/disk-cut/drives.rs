//! Files for loop devices, kept in memory by a file system of our own: one that is recorded, and others that are a
//! state of it.

use crate::image::{Image, Step};
use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo,
    LockOwner, MountOption, OpenFlags, ReplyAttr, ReplyData, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyWrite, Request,
    WriteFlags,
};
use std::collections::HashMap;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, UNIX_EPOCH};

/// The drives, each a file named by its number. They are gone when this is dropped.
pub struct Drives {
    dir: tempfile::TempDir,
    shared: Arc<Mutex<Shared>>,
    next: u64,
    _session: BackgroundSession,
}

struct Shared {
    size: u64,
    images: HashMap<u64, Image>,
    recorded: Option<(u64, Vec<Step>)>,
}

impl Drives {
    /// None yet; each will have so many bytes.
    pub fn new(size: u64) -> std::io::Result<Drives> {
        let dir = tempfile::tempdir()?;
        let shared = Arc::new(Mutex::new(Shared { size, images: HashMap::new(), recorded: None }));
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("drives".to_owned())];
        let session = fuser::spawn_mount(Files(shared.clone()), dir.path(), &config)?;
        Ok(Drives { dir, shared, next: INodeNo::ROOT.0 + 1, _session: session })
    }

    /// One more drive. Returns its file.
    ///
    /// A number is never used twice: what the system remembers of one file is not what another has.
    pub fn add(&mut self, image: Image) -> PathBuf {
        let number = self.next;
        self.next += 1;
        lock(&self.shared).images.insert(number, image);
        self.dir.path().join(number.to_string())
    }

    /// Forgets the newest drive.
    pub fn remove_newest(&mut self) {
        lock(&self.shared).images.remove(&(self.next - 1));
    }

    /// Writes down from now on what becomes of the newest drive. Returns what is on it.
    pub fn record(&mut self) -> Image {
        let mut shared = lock(&self.shared);
        let number = self.next - 1;
        shared.recorded = Some((number, Vec::new()));
        shared.images.get(&number).cloned().unwrap_or_default()
    }

    /// Says at any time how many steps were recorded so far.
    pub fn counter(&self) -> impl Fn() -> usize + Send + 'static {
        let shared = self.shared.clone();
        move || lock(&shared).recorded.as_ref().map_or(0, |(_, steps)| steps.len())
    }

    /// Ends the record.
    pub fn recorded(&mut self) -> Vec<Step> {
        lock(&self.shared).recorded.take().map(|(_, steps)| steps).unwrap_or_default()
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().expect("nobody has panicked over it")
}

struct Files(Arc<Mutex<Shared>>);

/// The names and sizes never change.
const FOR_EVER: Duration = Duration::from_secs(1 << 30);

fn attributes(ino: INodeNo, size: u64) -> FileAttr {
    let (kind, perm) = if ino == INodeNo::ROOT { (FileType::Directory, 0o700) } else { (FileType::RegularFile, 0o600) };
    FileAttr {
        ino,
        size,
        blocks: size / 512,
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind,
        perm,
        nlink: 1,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: 4096,
        flags: 0,
    }
}

impl Filesystem for Files {
    fn lookup(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let shared = lock(&self.0);
        match name.to_str().and_then(|name| name.parse().ok()) {
            Some(number) if shared.images.contains_key(&number) => {
                reply.entry(&FOR_EVER, &attributes(INodeNo(number), shared.size), Generation(0));
            }
            _ => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&FOR_EVER, &attributes(ino, lock(&self.0).size));
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::empty());
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let shared = lock(&self.0);
        let length = u64::from(size).min(shared.size.saturating_sub(offset)) as usize;
        match shared.images.get(&ino.0) {
            Some(image) => reply.data(&image.read(offset, length)),
            None => reply.error(Errno::EIO),
        }
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let mut shared = lock(&self.0);
        let Some(image) = shared.images.get_mut(&ino.0) else { return reply.error(Errno::EIO) };
        let changed = image.write(offset, data);
        if let Some((recorded, steps)) = &mut shared.recorded
            && *recorded == ino.0
        {
            steps.extend(changed.into_iter().map(Step::Wrote));
        }
        reply.written(data.len() as u32);
    }

    fn fsync(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        if let Some((recorded, steps)) = &mut lock(&self.0).recorded
            && *recorded == ino.0
        {
            steps.push(Step::Flushed);
        }
        reply.ok();
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }
}
