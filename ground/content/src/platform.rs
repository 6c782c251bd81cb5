//! What Linux is good at, behind one module: `sendfile`, `fallocate`, page-cache residency, boot id, safe opening below a folder.
//! A port to another system is a twin of this file.

use std::ffi::OsStr;
use std::io::{self, IoSliceMut};
use std::num::NonZeroU64;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{self, Advice, AtFlags, FallocateFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::{Errno, ReadWriteFlags};
use rustix::net::SendFlags;

use crate::FileStamp;

/// What `fstat` says, as far as anybody here asks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FileState {
    pub(crate) stamp: FileStamp,
    /// A regular file: not a folder, device or pipe that took its name.
    pub(crate) is_file: bool,
    /// Has no name any more.
    pub(crate) unlinked: bool,
    pub(crate) executable: bool,
}

/// Every open: not inherited by children, and never waiting for the other end of a pipe that was planted in a file's place.
const OPEN: OFlags = OFlags::CLOEXEC.union(OFlags::NONBLOCK).union(OFlags::NOCTTY);
/// A handle on a folder that only serves to open things below it.
const OPEN_FOLDER: OFlags = OFlags::CLOEXEC.union(OFlags::PATH).union(OFlags::DIRECTORY);

/// Opens a folder that the user named; links on the way are followed, the user said so.
pub(crate) fn open_folder(path: &Path) -> Result<OwnedFd, Errno> {
    fs::open(path, OPEN_FOLDER, Mode::empty())
}

/// Opens a file that the user named, for reading.
pub(crate) fn open_file(path: &Path) -> Result<OwnedFd, Errno> {
    fs::open(path, OPEN | OFlags::RDONLY, Mode::empty())
}

/// Opens a file below `folder` for reading; no link is followed.
pub(crate) fn open_read(folder: impl AsFd, path: &Path) -> Result<OwnedFd, Errno> {
    open_below(folder.as_fd(), path, OPEN | OFlags::RDONLY, Mode::empty())
}

/// Opens an existing file below `folder` for reading and writing; no link is followed.
pub(crate) fn open_write(folder: impl AsFd, path: &Path) -> Result<OwnedFd, Errno> {
    open_below(folder.as_fd(), path, OPEN | OFlags::RDWR, Mode::empty())
}

/// Creates a file below `folder`; `EXIST` if there is anything of that name, even a dangling link.
pub(crate) fn create_new(folder: impl AsFd, path: &Path, executable: bool) -> Result<OwnedFd, Errno> {
    let mode = if executable { 0o777 } else { 0o666 };
    let flags = OPEN | OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
    open_below(folder.as_fd(), path, flags, Mode::from_raw_mode(mode))
}

/// Opens a folder below `folder` so that it can be flushed.
pub(crate) fn open_folder_to_sync(folder: impl AsFd, path: &Path) -> Result<OwnedFd, Errno> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    open_below(folder.as_fd(), path, OFlags::CLOEXEC | OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())
}

/// Creates the folders of `path` below `folder` as far as they are missing, and opens the last. No link is followed.
pub(crate) fn make_folders(folder: impl AsFd, path: &Path) -> Result<OwnedFd, Errno> {
    let mut at = fs::openat(folder, ".", OPEN_FOLDER, Mode::empty())?;
    for name in names(path) {
        let name = name?;
        match fs::mkdirat(&at, name, Mode::from_raw_mode(0o777)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno),
        }
        at = step_into(at.as_fd(), name)?;
    }
    Ok(at)
}

/// Whether the kernel turned out to have no `openat2` (before 5.6, or forbidden by a sandbox).
static OPENAT2_MISSING: AtomicBool = AtomicBool::new(false);

fn open_below(folder: BorrowedFd<'_>, path: &Path, flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
    if !OPENAT2_MISSING.load(Ordering::Relaxed) {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        match fs::openat2(folder, path, flags, mode, resolve) {
            Err(Errno::NOSYS) => OPENAT2_MISSING.store(true, Ordering::Relaxed),
            // A rename elsewhere raced with the resolution of a path; the kernel asks to try again.
            Err(Errno::AGAIN) => {}
            result => return result,
        }
    }
    open_by_steps(folder, path, flags, mode)
}

/// What `openat2` does, one component at a time.
fn open_by_steps(folder: BorrowedFd<'_>, path: &Path, flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
    let mut at: Option<OwnedFd> = None;
    let mut components = names(path).peekable();
    while let Some(name) = components.next() {
        let name = name?;
        let here = at.as_ref().map_or(folder, AsFd::as_fd);
        if components.peek().is_none() {
            return fs::openat(here, name, flags | OFlags::NOFOLLOW, mode);
        }
        at = Some(step_into(here, name)?);
    }
    fs::openat(folder, ".", flags, mode)
}

/// Opens a folder inside another; a link in its place is refused with `LOOP`.
fn step_into(folder: BorrowedFd<'_>, name: &OsStr) -> Result<OwnedFd, Errno> {
    match fs::openat(folder, name, OPEN_FOLDER | OFlags::NOFOLLOW, Mode::empty()) {
        Err(Errno::NOTDIR) if is_link(folder, name) => Err(Errno::LOOP),
        result => result,
    }
}

fn is_link(folder: BorrowedFd<'_>, name: &OsStr) -> bool {
    fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink)
}

/// The plain names of a path; anything that climbs or restarts is an error.
fn names(path: &Path) -> impl Iterator<Item = Result<&OsStr, Errno>> {
    path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(Ok(name)),
        Component::CurDir => None,
        _ => Some(Err(Errno::XDEV)),
    })
}

/// Makes a symbolic link with the text `target`; one that exists already with that text is as good.
pub(crate) fn make_link(folder: impl AsFd, name: &OsStr, target: &Path) -> Result<(), Errno> {
    match fs::symlinkat(target, &folder, name) {
        Err(Errno::EXIST) => match fs::readlinkat(&folder, name, Vec::new()) {
            Ok(found) if found.as_bytes() == target.as_os_str().as_encoded_bytes() => Ok(()),
            _ => Err(Errno::EXIST),
        },
        result => result,
    }
}

/// The state of an open file.
pub(crate) fn state(file: impl AsFd) -> Result<FileState, Errno> {
    fs::fstat(file).map(|stat| state_of(&stat))
}

/// The state of what lies at a path below `folder`; a link itself, not what it points to.
pub(crate) fn state_below(folder: impl AsFd, path: &Path) -> Result<FileState, Errno> {
    fs::statat(folder, path, AtFlags::SYMLINK_NOFOLLOW).map(|stat| state_of(&stat))
}

/// The state of a file that the user named.
pub(crate) fn state_at(path: &Path) -> Result<FileState, Errno> {
    fs::stat(path).map(|stat| state_of(&stat))
}

fn state_of(stat: &fs::Stat) -> FileState {
    let ns = |seconds: i64, rest: u64| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
    FileState {
        stamp: FileStamp {
            length: stat.st_size.try_into().unwrap_or(0),
            modified_ns: ns(stat.st_mtime, stat.st_mtime_nsec),
            inode: stat.st_ino,
            changed_ns: Some(ns(stat.st_ctime, stat.st_ctime_nsec)),
        },
        is_file: FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile,
        unlinked: stat.st_nlink == 0,
        executable: stat.st_mode & 0o111 != 0,
    }
}

/// Adds the executable bits wherever the reading bits are set.
pub(crate) fn make_executable(file: impl AsFd) -> Result<(), Errno> {
    let mode = fs::fstat(&file)?.st_mode;
    fs::fchmod(file, Mode::from_raw_mode((mode & 0o777) | ((mode & 0o444) >> 2)))
}

/// Cuts a file off behind `length` bytes.
pub(crate) fn truncate(file: impl AsFd, length: u64) -> Result<(), Errno> {
    fs::ftruncate(file, length)
}

/// Takes the space for a file of `length` bytes; file systems that cannot leave it sparse.
pub(crate) fn allocate(file: impl AsFd, length: u64) -> Result<(), Errno> {
    loop {
        return match fs::fallocate(&file, FallocateFlags::empty(), 0, length) {
            Err(Errno::INTR) => continue,
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
            result => result,
        };
    }
}

/// Sends file bytes from the page cache to a socket and moves `offset` along. 0 is the end of the file.
pub(crate) fn send_file(
    socket: impl AsFd,
    file: impl AsFd,
    offset: &mut u64,
    length: usize,
) -> io::Result<usize> {
    loop {
        match fs::sendfile(&socket, &file, Some(offset), length) {
            Err(Errno::INTR) => {}
            result => return result.map_err(Into::into),
        }
    }
}

/// Sends bytes without waiting and without a signal when the other end is gone; `more` keeps the last segment back.
pub(crate) fn send_bytes(socket: impl AsFd, bytes: &[u8], more: bool) -> io::Result<usize> {
    let mut flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    flags.set(SendFlags::MORE, more);
    loop {
        match rustix::net::send(&socket, bytes, flags) {
            Err(Errno::INTR) => {}
            result => return result.map_err(Into::into),
        }
    }
}

/// Whether the byte at `offset` can be read without waiting for the disk. A file system that cannot tell counts as yes.
pub(crate) fn is_cached(file: impl AsFd, offset: u64) -> bool {
    let mut byte = [0];
    let read = rustix::io::preadv2(file, &mut [IoSliceMut::new(&mut byte)], offset, ReadWriteFlags::NOWAIT);
    !matches!(read, Err(Errno::AGAIN))
}

/// Asks the kernel to read a part of a file into the page cache.
pub(crate) fn read_ahead(file: impl AsFd, offset: u64, length: u64) {
    // Advice: if the system does not take it, reading later is merely slower.
    let _ = fs::fadvise(file, offset, NonZeroU64::new(length), Advice::WillNeed);
}

/// Forgets what is in the page cache of a file as far as it is clean, so that it is read from the disk.
pub(crate) fn drop_cached(file: impl AsFd) {
    let _ = fs::fadvise(file, 0, None, Advice::DontNeed);
}

/// Says that a file will be read from start to end.
pub(crate) fn will_read_in_order(file: impl AsFd) {
    let _ = fs::fadvise(file, 0, None, Advice::Sequential);
}

/// Identifies this run of the machine: as long as it is the same, what was written to a file is there, on disk or in memory.
/// `None` where the system does not say.
pub(crate) fn boot_id() -> Option<Vec<u8>> {
    let id = std::fs::read("/proc/sys/kernel/random/boot_id").ok()?;
    let id = id.trim_ascii();
    (!id.is_empty() && id.len() <= 64).then(|| id.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// Both ways of opening below a folder obey the same rules.
    fn check_both(path: &str, folder: &Path, expected: Result<(), Errno>) {
        let base = open_folder(folder).unwrap();
        let flags = OPEN | OFlags::RDONLY;
        let opened = open_below(base.as_fd(), Path::new(path), flags, Mode::empty()).map(|_| ());
        let stepped = open_by_steps(base.as_fd(), Path::new(path), flags, Mode::empty()).map(|_| ());
        assert_eq!((opened, stepped), (expected, expected), "{path}");
    }

    #[test]
    fn nothing_is_opened_outside_the_folder_nor_through_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().join("base");
        std::fs::create_dir_all(base.join("a/b")).unwrap();
        std::fs::write(base.join("a/b/file"), "x").unwrap();
        std::fs::write(dir.path().join("secret"), "x").unwrap();
        symlink(dir.path(), base.join("out")).unwrap();
        symlink("a", base.join("in")).unwrap();
        symlink("../secret", base.join("leaf")).unwrap();

        check_both("a/b/file", &base, Ok(()));
        check_both("a/b/none", &base, Err(Errno::NOENT));
        check_both("out/secret", &base, Err(Errno::LOOP));
        check_both("in/b/file", &base, Err(Errno::LOOP));
        check_both("leaf", &base, Err(Errno::LOOP));
        check_both("../secret", &base, Err(Errno::XDEV));
    }

    #[test]
    fn folders_are_made_as_far_as_they_are_missing_and_never_through_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        symlink(outside.path(), dir.path().join("link")).unwrap();
        let base = open_folder(dir.path()).unwrap();
        make_folders(&base, Path::new("a/b")).unwrap();
        make_folders(&base, Path::new("a/b/c")).unwrap();
        assert!(dir.path().join("a/b/c").is_dir());
        assert_eq!(make_folders(&base, Path::new("link/x")).map(|_| ()), Err(Errno::LOOP));
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_planted_pipe_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        fs::mknodat(fs::CWD, dir.path().join("pipe"), FileType::Fifo, Mode::RUSR, 0).unwrap();
        let base = open_folder(dir.path()).unwrap();
        let pipe = open_read(&base, Path::new("pipe")).unwrap();
        assert!(!state(&pipe).unwrap().is_file);
    }

    #[test]
    fn the_boot_id_is_stable() {
        assert!(boot_id().is_some());
        assert_eq!(boot_id(), boot_id());
    }
}
