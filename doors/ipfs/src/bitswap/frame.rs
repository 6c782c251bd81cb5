//! Messages in a stream: each is preceded by its length, as an unsigned varint.

use bytes::{Buf, Bytes, BytesMut};

/// The longest message that is taken (the specification's limit).
pub const MESSAGE_MAX: usize = 4 * 1024 * 1024;
/// Bytes of the longest length that is at most [`MESSAGE_MAX`].
const LENGTH_BYTES_MAX: usize = 4;
/// Room that is made for bytes of which nobody knows yet how many come.
const ROOM: usize = 16 * 1024;

/// Why a stream is not one of messages: nothing after this can be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// More than [`MESSAGE_MAX`].
    #[error("message of more than {MESSAGE_MAX} bytes")]
    TooLong,
    /// Not the shortest form of a number.
    #[error("the length of a message is malformed")]
    Length,
}

/// Cuts a stream into messages.
///
/// Contract: read bytes to the end of [`Frames::room`], then drain [`Frames::next`] until it is `Ok(None)`. A length alone makes no
/// room: the buffer grows with what arrives, and begins with as much as the message before took.
#[derive(Debug, Default)]
pub struct Frames {
    buffer: BytesMut,
    before: usize,
}

impl Frames {
    /// Nothing has arrived.
    pub fn new() -> Self {
        Self::default()
    }

    /// Where the next bytes of the stream go: append to it.
    pub fn room(&mut self) -> &mut BytesMut {
        let here = self.buffer.len();
        if here == self.buffer.capacity() {
            let missing = match length(&self.buffer) {
                Ok(Some((length, prefix))) => (prefix + length).saturating_sub(here),
                _ => ROOM,
            };
            self.buffer.reserve(missing.min(here.max(ROOM).max(self.before)).max(1));
        }
        &mut self.buffer
    }

    /// The next message that is there as a whole.
    ///
    /// # Errors
    /// [`FrameError`]: close the stream.
    #[expect(clippy::should_implement_trait, reason = "it can fail, and goes on after `None`")]
    pub fn next(&mut self) -> Result<Option<Bytes>, FrameError> {
        let Some((length, prefix)) = length(&self.buffer)? else { return Ok(None) };
        if self.buffer.len() < prefix + length {
            return Ok(None);
        }
        self.buffer.advance(prefix);
        self.before = length;
        Ok(Some(self.buffer.split_to(length).freeze()))
    }

    /// Whether the stream may end here without a message being cut off.
    pub fn is_between_messages(&self) -> bool {
        self.buffer.is_empty()
    }
}

/// The length that a frame begins with, and how many bytes it takes.
fn length(bytes: &[u8]) -> Result<Option<(usize, usize)>, FrameError> {
    let mut length = 0;
    for (at, byte) in bytes.iter().enumerate() {
        if at == LENGTH_BYTES_MAX {
            return Err(FrameError::TooLong);
        }
        length |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return match length {
                _ if *byte == 0 && at > 0 => Err(FrameError::Length),
                0..=MESSAGE_MAX => Ok(Some((length, at + 1))),
                _ => Err(FrameError::TooLong),
            };
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `stream` in parts of `part` bytes.
    fn cut(stream: &[u8], part: usize) -> Result<Vec<Bytes>, FrameError> {
        let (mut frames, mut messages) = (Frames::new(), Vec::new());
        for bytes in stream.chunks(part) {
            frames.room().extend_from_slice(bytes);
            while let Some(message) = frames.next()? {
                messages.push(message);
            }
        }
        Ok(messages)
    }

    #[test]
    fn messages_are_cut_out_of_a_stream_however_it_arrives() {
        let long = vec![7; 300];
        let stream = [&[0, 2, 1, 2, 0xac, 0x02][..], &long, &[1]].concat();
        for part in 1..stream.len() {
            let messages = cut(&stream, part).unwrap();
            assert_eq!(messages, [&[][..], &[1, 2], &long]);
        }
    }

    #[test]
    fn a_message_of_the_greatest_length_is_taken_and_one_more_byte_is_not() {
        let mut stream = vec![0x80, 0x80, 0x80, 0x02];
        stream.resize(4 + MESSAGE_MAX, 9);
        assert_eq!(cut(&stream, 1 << 16).unwrap()[0].len(), MESSAGE_MAX);
        assert_eq!(cut(&[0x81, 0x80, 0x80, 0x02], 4), Err(FrameError::TooLong));
        assert_eq!(cut(&[0xff; 10], 10), Err(FrameError::TooLong));
    }

    #[test]
    fn a_length_in_more_bytes_than_it_needs_is_malformed() {
        assert_eq!(cut(&[0x80, 0x00], 2), Err(FrameError::Length));
    }

    #[test]
    fn a_length_alone_makes_little_room() {
        let mut frames = Frames::new();
        frames.room().extend_from_slice(&[0x80, 0x80, 0x80, 0x02]);
        assert_eq!(frames.next(), Ok(None));
        assert!(frames.room().capacity() <= 4 * ROOM);
        assert!(!frames.is_between_messages());
    }

    #[test]
    fn the_buffer_grows_with_what_arrives() {
        let mut frames = Frames::new();
        frames.room().extend_from_slice(&[0x80, 0x80, 0x80, 0x02]);
        for arrived in (0..MESSAGE_MAX).step_by(4096) {
            assert!(frames.room().capacity() <= 3 * arrived + 4 * ROOM);
            frames.room().extend_from_slice(&[0; 4096]);
        }
        assert_eq!(frames.next().unwrap().unwrap().len(), MESSAGE_MAX);
        assert!(frames.is_between_messages());
    }
}
