//! A block on its way from the page cache to a socket.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

use crate::files::OpenFile;
use crate::platform;

/// What padding is sent from.
static ZEROS: [u8; 4096] = [0; 4096];

/// A block on its way out: what is left of it, file by file.
#[derive(Debug)]
pub struct Sending {
    remaining: u32,
    current: Option<Part>,
    /// Later parts, last first. Almost every block lies in one file, and an empty vector allocates nothing.
    later: Vec<Part>,
}

/// What is left of one span. A part in `Sending` is never empty.
#[derive(Debug)]
struct Part {
    source: Source,
    /// Bytes from the start of the source.
    offset: u64,
    length: u32,
}

#[derive(Debug)]
enum Source {
    File(Arc<OpenFile>),
    Padding,
    Copy(Vec<u8>),
}

impl Part {
    /// What is left of bytes in memory.
    fn rest<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        let start = usize::try_from(self.offset).unwrap_or(usize::MAX);
        bytes.get(start..).and_then(|rest| rest.get(..self.length as usize)).unwrap_or_default()
    }
}

impl Sending {
    /// A block of `length` bytes, whose parts are pushed next, in order.
    pub(super) fn new(length: u32) -> Self {
        Self { remaining: length, current: None, later: Vec::new() }
    }

    /// A block that is in memory already.
    pub(super) fn of_bytes(bytes: Vec<u8>) -> Self {
        // A block's length is told in 32 bits.
        let length = bytes.len() as u32;
        let part = Part { source: Source::Copy(bytes), offset: 0, length };
        Self { remaining: length, current: Some(part), later: Vec::new() }
    }

    pub(super) fn push_zeros(&mut self, length: u32) {
        self.push(Part { source: Source::Padding, offset: 0, length });
    }

    pub(super) fn push_file(&mut self, file: Arc<OpenFile>, offset: u64, length: u32) {
        self.push(Part { source: Source::File(file), offset, length });
    }

    fn push(&mut self, part: Part) {
        if self.current.is_none() {
            self.current = Some(part);
        } else {
            self.later.insert(0, part);
        }
    }

    /// Bytes not sent yet.
    pub fn remaining(&self) -> u32 {
        self.remaining
    }

    /// Sends as much as a non-blocking socket takes, with `sendfile`; `more` says that further bytes follow at once (`MSG_MORE`
    /// for padding; `sendfile` itself cannot say so). Returns bytes sent; 0 only when nothing remained.
    ///
    /// # Errors
    /// `WouldBlock` when the socket is full; `UnexpectedEof` when the file shrank; else the socket's or file's error.
    /// Bytes that went out before an error are returned first, and the error by the next call.
    pub fn send(&mut self, socket: impl AsFd, more: bool) -> io::Result<usize> {
        self.advance(|part, is_last| match &part.source {
            Source::File(file) => {
                platform::send_file(&socket, &**file, &mut part.offset, part.length as usize)
            }
            Source::Padding => {
                let zeros = &ZEROS[..ZEROS.len().min(part.length as usize)];
                let is_end = is_last && zeros.len() == part.length as usize;
                platform::send_bytes(&socket, zeros, more || !is_end)
            }
            Source::Copy(bytes) => {
                let sent = platform::send_bytes(&socket, part.rest(bytes), more)?;
                part.offset += sent as u64;
                Ok(sent)
            }
        })
    }

    /// Copies as much as fits into `into` instead (encrypted connections); returns bytes copied.
    ///
    /// # Errors
    /// As [`Sending::send`].
    pub fn copy(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        self.advance(|part, _| {
            let room = into.get_mut(filled..).unwrap_or_default();
            let length = room.len().min(part.length as usize);
            let room = &mut room[..length];
            if room.is_empty() {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let copied = match &part.source {
                Source::File(file) => rustix::io::pread(&**file, &mut *room, part.offset)?,
                Source::Padding => {
                    room.fill(0);
                    length
                }
                Source::Copy(bytes) => {
                    room.copy_from_slice(&part.rest(bytes)[..length]);
                    length
                }
            };
            part.offset += copied as u64;
            filled += copied;
            Ok(copied)
        })
    }

    /// Moves parts out through `step` until nothing remains or it fails.
    fn advance(&mut self, mut step: impl FnMut(&mut Part, bool) -> io::Result<usize>) -> io::Result<usize> {
        let mut moved = 0;
        while let Some(part) = &mut self.current {
            let result = match step(part, self.later.is_empty()) {
                Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
                result => result,
            };
            match result {
                Ok(bytes) => {
                    // Never more than asked for, so it fits.
                    let bytes = bytes as u32;
                    part.length -= bytes;
                    self.remaining -= bytes;
                    moved += bytes as usize;
                    if part.length == 0 {
                        self.current = self.later.pop();
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) if moved > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(moved)
    }
}
