//! Writing what arrives: downloads only.

use std::io::{self, IoSlice};
use std::sync::Arc;

use rustix::io::Errno;

use super::folder::OpenError;
use super::{EntryState, Place, Preallocation, Store};
use crate::files::OpenFile;
use crate::platform::FileState;
use crate::{BLOCK_LENGTH, Block, EntryKind, PieceIndex, Span, StorageError, platform};

/// Buffers that one `pwritev` takes (`IOV_MAX`).
const SLICES_MAX: usize = 1024;

impl Store {
    /// Writes bytes of a piece, which begin at `begin` and come in blocks, in one vectored write a file. Padding is not written.
    pub(crate) fn write(&self, piece: PieceIndex, begin: u32, blocks: &[&[u8]]) -> Result<(), StorageError> {
        self.charge(piece)?;
        let length = blocks.iter().map(|block| block.len() as u32).sum();
        let mut rest = Slices { blocks, used: 0 };
        for span in self.layout.spans(Block { piece, begin, length }) {
            let slices = rest.take(span.length as usize);
            if !self.layout.is_pad(span.entry) {
                self.write_span(span, slices)?;
            }
        }
        Ok(())
    }

    /// Reads bytes whatever their standing: to hash them. False when they are not there, because the file is missing or short.
    pub(crate) fn read_unverified(&self, block: Block, into: &mut [u8]) -> Result<bool, StorageError> {
        let mut rest = into;
        for span in self.layout.spans(block) {
            let Some((mut part, others)) =
                std::mem::take(&mut rest).split_at_mut_checked(span.length as usize)
            else {
                return Ok(false);
            };
            rest = others;
            if self.layout.is_pad(span.entry) {
                part.fill(0);
                continue;
            }
            let file = match self.open_read(span.entry) {
                Ok(file) => file,
                Err(OpenError::Missing) => return Ok(false),
                Err(OpenError::Storage(error)) => return Err(error),
            };
            let mut offset = span.offset;
            while !part.is_empty() {
                match rustix::io::pread(&*file, &mut *part, offset) {
                    // A folder has taken its place.
                    Ok(0) | Err(Errno::ISDIR) => return Ok(false),
                    Ok(read) => {
                        part = &mut part[read..];
                        offset += read as u64;
                    }
                    Err(Errno::INTR) => {}
                    Err(errno) => return Err(self.error("read", span.entry, errno)),
                }
            }
        }
        Ok(rest.is_empty())
    }

    fn write_span(&self, span: Span, mut slices: Vec<IoSlice<'_>>) -> Result<(), StorageError> {
        let file = self.open_write(span.entry)?;
        let mut offset = span.offset;
        let mut slices = &mut slices[..];
        while !slices.is_empty() {
            let batch = &slices[..slices.len().min(SLICES_MAX)];
            match rustix::io::pwritev(&*file, batch, offset) {
                Ok(0) => return Err(self.error("write", span.entry, io::ErrorKind::WriteZero)),
                Ok(written) => {
                    IoSlice::advance_slices(&mut slices, written);
                    offset += written as u64;
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(self.error("write", span.entry, errno)),
            }
        }
        if let Some(known) = self.lock().get_mut(span.entry) {
            known.dirty = true;
        }
        Ok(())
    }

    /// Marks a piece verified whose bytes were just written, and stamps the files that it completes.
    pub(crate) fn complete(&self, piece: PieceIndex) {
        if !self.mark_verified(&mut self.lock(), piece) {
            return;
        }
        for span in self.layout.piece_spans(piece) {
            let is_complete =
                self.lock().get(span.entry).is_some_and(|known| known.missing == 0 && known.stamp.is_none());
            if is_complete
                && self.is_file(span.entry)
                && let Some(file) = self.files.get(self.key(span.entry), false)
                && let Ok(state) = platform::state(&*file)
            {
                self.settle(span.entry, state.stamp);
            }
        }
    }

    /// Charges a piece to the quota, once.
    fn charge(&self, piece: PieceIndex) -> Result<(), StorageError> {
        let Some(budget) = &self.budget else { return Ok(()) };
        if !budget.charged.insert(piece) {
            return Ok(());
        }
        budget.quota.take(self.layout.piece_file_bytes(piece)).map_err(|source| {
            budget.charged.remove(piece);
            let entry = self.layout.piece_spans(piece).next().map_or(0, |span| span.entry);
            self.error("write", entry, source)
        })
    }

    /// An entry's file, open for writing; created with its folders if it is not there.
    pub(super) fn open_write(&self, entry: usize) -> Result<Arc<OpenFile>, StorageError> {
        let Place::Download { preallocation, .. } = self.place else {
            return Err(self.error("write", entry, io::Error::from(Errno::PERM)));
        };
        let key = self.key(entry);
        if let Some(file) = self.files.get(key, true) {
            let state = platform::state(&*file).map_err(|errno| self.error("write", entry, errno))?;
            if !state.unlinked {
                return Ok(file);
            }
            // Somebody removed it under our hands: what was in it is lost. Another thread may have noticed first, and may be
            // writing to a new file already.
            if self.files.remove_exact(key, &file) {
                self.forget(entry);
            }
        }
        if self.is_in_dispute(entry) {
            let source = io::Error::other("it changed since it was verified, and is not written over");
            return Err(self.error("write", entry, source));
        }
        let length = self.layout.entries().get(entry).map_or(0, |entry| entry.length);
        // Asked before the file is created: a moment later another thread may have verified a piece in the new file.
        let (is_prepared, had_pieces, is_unwanted) = {
            let entries = self.lock();
            entries.get(entry).map_or((false, false, false), |known| {
                let had_pieces = (known.missing as usize) < self.layout.pieces_of(entry).len();
                (known.prepared.is_some(), had_pieces, known.unwanted)
            })
        };
        let (file, is_new) = self.open_or_create(entry)?;
        if is_new && had_pieces {
            self.forget(entry);
        }
        if is_new || !is_prepared {
            let inode = match is_new {
                true => {
                    platform::state(&*file).map_err(|errno| self.error("prepare", entry, errno))?.stamp.inode
                }
                false => self.adopt(entry, &file, length)?,
            };
            if preallocation == Preallocation::Full && length > 0 && !is_unwanted {
                platform::allocate(&*file, length).map_err(|errno| self.error("allocate", entry, errno))?;
            }
            if let Some(known) = self.lock().get_mut(entry) {
                known.prepared = Some(inode);
                known.dirty = true;
            }
        }
        self.files.insert(key, &file);
        Ok(file)
    }

    /// Opens the file or creates it, and says whether it is new. In the usual case, a new file in a folder that
    /// is there, this is one system call.
    fn open_or_create(&self, entry: usize) -> Result<(Arc<OpenFile>, bool), StorageError> {
        let path = self.path_below(entry);
        let executable = self.is_executable(entry);
        let fail = |errno| self.open_error("open for writing", entry, errno);
        let mut folder = self.base_folder()?;
        // Once more after the folders below were made, and once more after the folder itself turned out to be a new one.
        for attempt in 0..3 {
            match platform::create_new(&*folder, &path, executable) {
                Ok(fd) => return Ok((OpenFile::new(fd, true), true)),
                Err(Errno::EXIST) => match platform::open_write(&*folder, &path) {
                    Ok(fd) => return Ok((OpenFile::new(fd, true), false)),
                    // Removed between the two calls.
                    Err(Errno::NOENT) => continue,
                    Err(errno) => return Err(fail(errno)),
                },
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(fail(errno)),
            }
            if attempt == 1 {
                self.refresh_base()?;
                folder = self.base_folder()?;
            }
            match platform::make_folders(&*folder, path.parent().unwrap_or(&path)) {
                Ok(_) => {}
                Err(Errno::NOENT) if attempt == 0 => {}
                Err(errno) => return Err(self.open_error("create folder for", entry, errno)),
            }
        }
        Err(fail(Errno::NOENT))
    }

    /// Makes sure that the file is one to write to, and makes it executable if the entry is; returns its inode number.
    fn adopt(&self, entry: usize, file: &OpenFile, length: u64) -> Result<u64, StorageError> {
        let fail = |errno| self.error("prepare", entry, errno);
        let refuse = |why: String| Err(self.error("open for writing", entry, io::Error::other(why)));
        let FileState { stamp, is_file, executable, .. } = platform::state(file).map_err(fail)?;
        if !is_file {
            return refuse("it is not a regular file".to_owned());
        }
        if stamp.length > length {
            return refuse(format!(
                "a file of {} bytes lies there, and the content's has {length}: move it away",
                stamp.length
            ));
        }
        if let Some(other) = self.holder_of(stamp.inode, entry) {
            return refuse(format!("for the file system it is the same file as {:?}", self.path_of(other)));
        }
        if self.is_executable(entry) && !executable {
            platform::make_executable(file).map_err(fail)?;
        }
        Ok(stamp.inode)
    }

    /// Another entry whose bytes lie in a file: by a hard link, or because the file system does not tell upper from lower case.
    fn holder_of(&self, inode: u64, entry: usize) -> Option<usize> {
        let is_it = |known: &EntryState| {
            known.prepared == Some(inode) || known.stamp.is_some_and(|stamp| stamp.inode == inode)
        };
        let other = {
            let entries = self.lock();
            let mut others = entries.iter().enumerate().filter(|(other, _)| *other != entry);
            others.find(|(_, known)| inode != 0 && is_it(known)).map(|(other, _)| other)
        };
        // Its file may be gone by now, and the number given to another.
        other.filter(|other| {
            self.state_of(*other).is_ok_and(|found| found.is_some_and(|found| found.stamp.inode == inode))
        })
    }

    fn is_executable(&self, entry: usize) -> bool {
        let kind = self.layout.entries().get(entry).map(|entry| &entry.kind);
        matches!(kind, Some(EntryKind::File { executable: true }))
    }
}

/// Blocks, end to end, cut where files end.
struct Slices<'a> {
    blocks: &'a [&'a [u8]],
    /// Bytes of the first block that were taken.
    used: usize,
}

impl<'a> Slices<'a> {
    /// The next `length` bytes.
    fn take(&mut self, mut length: usize) -> Vec<IoSlice<'a>> {
        let mut slices = Vec::with_capacity(length / BLOCK_LENGTH as usize + 2);
        while let Some((first, others)) = self.blocks.split_first() {
            let left = first.get(self.used..).unwrap_or_default();
            if length < left.len() {
                if length > 0 {
                    slices.push(IoSlice::new(&left[..length]));
                    self.used += length;
                }
                break;
            }
            if !left.is_empty() {
                slices.push(IoSlice::new(left));
            }
            length -= left.len();
            self.blocks = others;
            self.used = 0;
        }
        slices
    }
}
