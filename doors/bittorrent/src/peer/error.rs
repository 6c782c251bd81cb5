//! Why connections fail and end.

use std::io;

use peerage_swarm::core::Dismissal;

use super::inbound::InboundError;
use super::outbound::OutboundError;
use crate::wire::WireError;
use crate::wire::extended::ExtendedError;

/// What a peer did that ends the connection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Misbehaviour {
    /// A frame that cannot be read.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// An extended message that cannot be read.
    #[error(transparent)]
    Extended(#[from] ExtendedError),
    /// A block that nobody could have asked for.
    #[error("block of {0} bytes, more than is ever asked for")]
    BlockTooLong(u32),
    /// Data before there was anything to ask for.
    #[error("data of piece {0} though none was asked for")]
    UnexpectedData(u32),
    /// A request outside the content or of an absurd length.
    #[error("request for {length} bytes at {begin} of piece {piece}, which is outside the content")]
    RequestOutside {
        /// Piece.
        piece: u32,
        /// Bytes from its start.
        begin: u32,
        /// Bytes.
        length: u32,
    },
    /// Availability that cannot be: have-all twice, a bitfield of the wrong size, a piece past the end.
    #[error("impossible availability: {0}")]
    Availability(&'static str),
    /// Metadata that cannot be.
    #[error("sent metadata that cannot be true")]
    Metadata,
    /// Hashes that do not lead to the file's root.
    #[error("sent hashes that cannot be true")]
    Hashes,
    /// More exchange messages than allowed.
    #[error("tells of other peers too often")]
    ExchangeFlood,
    /// Metadata-phase flood.
    #[error("too much said before the metadata is known")]
    MemoFull,
}

/// Why a conversation ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Ending {
    /// The peer closed or the network failed.
    #[error("connection closed by the peer")]
    Closed,
    /// The socket failed.
    #[error(transparent)]
    Socket(#[from] io::Error),
    /// The peer broke the protocol.
    #[error(transparent)]
    Misbehaviour(#[from] Misbehaviour),
    /// The engine sent the peer away.
    #[error("sent away: {0:?}")]
    Dismissed(Dismissal),
    /// Nothing was heard for too long.
    #[error("nothing heard for {0} s")]
    Silent(u64),
    /// A message that never became whole.
    #[error("a message was not completed in {0} s")]
    Dawdling(u64),
    /// Metadata is sought, and the peer brought none.
    #[error("brought no metadata for {0} s")]
    NoMetadata(u64),
    /// The peer does not read.
    #[error("the peer does not read what it is sent")]
    Backlog,
    /// The transfer ended.
    #[error("the transfer ended")]
    TransferEnded,
}

impl Ending {
    /// Whether the peer brought it about: what it said before counts.
    pub(super) fn is_the_peers(&self) -> bool {
        matches!(self, Self::Closed | Self::Socket(_) | Self::Misbehaviour(_))
    }
}

impl From<InboundError> for Ending {
    fn from(error: InboundError) -> Self {
        match error {
            InboundError::Closed => Self::Closed,
            InboundError::Socket(error) => Self::Socket(error),
            InboundError::Wire(error) => Self::Misbehaviour(error.into()),
            InboundError::Misbehaviour(error) => Self::Misbehaviour(error),
        }
    }
}

impl From<OutboundError> for Ending {
    fn from(error: OutboundError) -> Self {
        match error {
            OutboundError::Backlog => Self::Backlog,
            OutboundError::Socket(error) => Self::Socket(error),
        }
    }
}
