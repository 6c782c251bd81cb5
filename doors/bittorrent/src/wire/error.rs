//! What can be wrong with bytes from a peer.

/// A frame that no honest peer sends. The connection has lost its rhythm or its good faith: close it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// The length prefix is larger than this kind of message may be. Nothing of the message needs to be read.
    #[error("{message} message of {length} bytes is longer than the {limit} allowed")]
    TooLong {
        /// Name of the message.
        message: &'static str,
        /// Bytes after the length prefix.
        length: u32,
        /// Bytes allowed.
        limit: u32,
    },
    /// The length is impossible for this kind of message.
    #[error("{message} message has a length of {length} bytes, {expected}")]
    Length {
        /// Name of the message.
        message: &'static str,
        /// Bytes after the length prefix.
        length: u32,
        /// What would have been right.
        expected: &'static str,
    },
    /// The frame handed to the decoder is not exactly one frame: a mistake of the caller, not of the peer.
    #[error("frame of {found} bytes was handed over as one of {announced}")]
    NotOneFrame {
        /// Bytes handed over.
        found: usize,
        /// Bytes that the length prefix announces, prefix included; 0 without a whole prefix.
        announced: usize,
    },
    /// Spare bits at the end of a bitfield are not zero (BEP 3).
    #[error("bitfield message has bits set past the last of {pieces} pieces")]
    SpareBits {
        /// Pieces of the content.
        pieces: u32,
    },
}

/// A handshake that is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The first 20 bytes are not those of the BitTorrent protocol (the stream may be an encrypted one).
    #[error("handshake does not begin with the BitTorrent protocol name")]
    Protocol,
}
