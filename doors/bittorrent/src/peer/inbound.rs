//! The receiving side of a connection: socket to frames and blocks.
//!
//! Block data is read by the kernel straight into block buffers. While blocks are expected, one vectored read
//! covers the rest of the present block and, ahead of it, room for the header and data of the next few: full-size piece messages
//! follow each other, so the guess is nearly always right. When it is wrong (another message came between), the bytes behind
//! it are copied once and parsed the slow way.

use std::io::{self, IoSliceMut};

use peerage_content::{BLOCK_LENGTH, Block, BlockBuf, BlockPool};
use tokio::io::Interest;
use tokio::net::TcpStream;

use super::error::Misbehaviour;
use crate::mse::Rc4Stream;
use crate::wire::{Header, Limits, PIECE_HEADER_LENGTH, WireError, peek_header};

/// Blocks that one read may run ahead: 256 KiB, about what a socket's buffer holds.
const AHEAD_MAX: usize = 16;
/// Bytes taken at a time while no blocks are expected.
const SMALL_READ: usize = 4 << 10;

/// Something whole that arrived.
#[derive(Debug)]
pub(super) enum Arrival<'a> {
    /// A block and its data.
    Block(Block, BlockBuf),
    /// A frame that is no piece message, length prefix included.
    Frame(&'a [u8]),
}

/// Why reading ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum InboundError {
    #[error("connection closed by the peer")]
    Closed,
    #[error(transparent)]
    Socket(#[from] io::Error),
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error(transparent)]
    Misbehaviour(#[from] Misbehaviour),
}

/// What a read came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Readout {
    /// Bytes were taken; there may be more.
    Bytes(usize),
    /// The socket has nothing now.
    Drained,
    /// The block pool is empty: wait for a buffer, hand it to [`Inbound::supply`].
    Starved,
}

/// The unfinished part of what arrives.
#[derive(Debug, Default)]
pub(super) struct Inbound {
    /// Bytes of a frame that is not whole, from its start.
    stage: Vec<u8>,
    /// The block being received.
    payload: Option<Payload>,
    /// How far ahead the next read guesses, in blocks.
    ahead: usize,
    /// The last read filled all the room that a read may have.
    behind: bool,
    /// A buffer given by [`Inbound::supply`].
    supplied: Option<BlockBuf>,
}

#[derive(Debug)]
struct Payload {
    block: Block,
    data: BlockBuf,
    filled: usize,
}

impl Payload {
    fn new(block: Block, mut data: BlockBuf) -> Self {
        data.set_len(block.length as usize);
        Self { block, data, filled: 0 }
    }

    fn room(&mut self) -> &mut [u8] {
        &mut self.data[self.filled..]
    }

    fn is_whole(&self) -> bool {
        self.filled == self.data.len()
    }
}

impl Inbound {
    /// Begins with bytes that were read past a handshake (decrypted already).
    pub(super) fn with_leftover(leftover: Vec<u8>) -> Self {
        Self { stage: leftover, ..Self::default() }
    }

    /// Whether part of a frame is here: a peer that stays in this state too long is stalling.
    pub(super) fn is_mid_frame(&self) -> bool {
        self.payload.is_some() || !self.stage.is_empty()
    }

    /// Whether more had come than the last read could take.
    pub(super) fn is_behind(&self) -> bool {
        self.behind
    }

    /// Gives the buffer that [`Readout::Starved`] asked for.
    pub(super) fn supply(&mut self, buffer: BlockBuf) {
        self.supplied = Some(buffer);
    }

    /// Parses what is there already (leftovers, or after [`Inbound::supply`]).
    pub(super) fn parse(
        &mut self,
        limits: &Limits,
        pool: &BlockPool,
        arrive: &mut impl FnMut(Arrival<'_>) -> Result<(), Misbehaviour>,
    ) -> Result<bool, InboundError> {
        let stage = std::mem::take(&mut self.stage);
        let mut at = 0;
        let mut starved = false;
        while let Some(rest) = stage.get(at..).filter(|rest| !rest.is_empty()) {
            match peek_header(rest, limits)? {
                Header::NeedMore(_) => break,
                Header::Control { total_len } => {
                    let Some(frame) = rest.get(..total_len) else { break };
                    arrive(Arrival::Frame(frame))?;
                    at += total_len;
                }
                Header::Piece { block } => {
                    if block.length > BLOCK_LENGTH {
                        return Err(Misbehaviour::BlockTooLong(block.length).into());
                    }
                    let Some(buffer) = self.supplied.take().or_else(|| pool.try_take()) else {
                        starved = true;
                        break;
                    };
                    let mut payload = Payload::new(block, buffer);
                    let data = &rest[PIECE_HEADER_LENGTH..];
                    let here = data.len().min(block.length as usize);
                    payload.room()[..here].copy_from_slice(&data[..here]);
                    payload.filled = here;
                    at += PIECE_HEADER_LENGTH + here;
                    if payload.is_whole() {
                        arrive(Arrival::Block(payload.block, payload.data))?;
                    } else {
                        self.payload = Some(payload);
                    }
                }
            }
        }
        self.stage = stage;
        self.stage.drain(..at);
        if self.stage.is_empty() && self.stage.capacity() > SMALL_READ {
            self.stage = Vec::new();
        }
        Ok(starved)
    }

    /// Reads once, at most about `budget` bytes. `expected` is how many blocks are on their way.
    pub(super) fn read(
        &mut self,
        socket: &TcpStream,
        cipher: Option<&mut Rc4Stream>,
        limits: &Limits,
        (expected, budget): (usize, usize),
        pool: &BlockPool,
        arrive: &mut impl FnMut(Arrival<'_>) -> Result<(), Misbehaviour>,
    ) -> Result<Readout, InboundError> {
        let between_blocks = self.stage.len() < PIECE_HEADER_LENGTH
            && matches!(peek_header(&self.stage, limits)?, Header::NeedMore(_));
        if self.payload.is_some() || (expected > 0 && between_blocks) {
            self.read_blocks(socket, cipher, limits, (expected, budget), pool, arrive)
        } else {
            self.read_frames(socket, cipher, limits, pool, arrive)
        }
    }

    /// Reads into the stage: control frames, or whatever comes while nothing is expected.
    fn read_frames(
        &mut self,
        socket: &TcpStream,
        cipher: Option<&mut Rc4Stream>,
        limits: &Limits,
        pool: &BlockPool,
        arrive: &mut impl FnMut(Arrival<'_>) -> Result<(), Misbehaviour>,
    ) -> Result<Readout, InboundError> {
        // The stage grows with what arrives, not with what a length prefix claims.
        let from = self.stage.len();
        self.stage.resize(from + SMALL_READ.max(from.min(64 << 10)), 0);
        let read = read_now(socket, &mut [IoSliceMut::new(&mut self.stage[from..])]);
        let count = *read.as_ref().unwrap_or(&0);
        self.stage.truncate(from + count);
        match read {
            Ok(0) => return Err(InboundError::Closed),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if self.stage.is_empty() {
                    self.stage = Vec::new();
                }
                return Ok(Readout::Drained);
            }
            Err(error) => return Err(error.into()),
        }
        if let Some(cipher) = cipher {
            cipher.apply(&mut self.stage[from..]);
        }
        let starved = self.parse(limits, pool, arrive)?;
        Ok(if starved { Readout::Starved } else { Readout::Bytes(count) })
    }

    /// Reads the rest of the present block and guesses that full-size ones follow.
    fn read_blocks(
        &mut self,
        socket: &TcpStream,
        mut cipher: Option<&mut Rc4Stream>,
        limits: &Limits,
        (expected, budget): (usize, usize),
        pool: &BlockPool,
        arrive: &mut impl FnMut(Arrival<'_>) -> Result<(), Misbehaviour>,
    ) -> Result<Readout, InboundError> {
        let affordable = budget / BLOCK_LENGTH as usize;
        let ahead = self.ahead.clamp(1, AHEAD_MAX).min(expected.max(1)).min(affordable.max(1));
        let mut buffers = Vec::with_capacity(ahead);
        buffers.extend(self.supplied.take());
        while buffers.len() < ahead
            && let Some(buffer) = pool.try_take()
        {
            buffers.push(buffer);
        }
        if buffers.is_empty() && self.payload.is_none() {
            return Ok(Readout::Starved);
        }
        // The first header may be here in part already.
        let mut headers = [[0; PIECE_HEADER_LENGTH]; AHEAD_MAX];
        let mut begun = self.stage.len();
        headers[0][..begun].copy_from_slice(&self.stage);
        self.stage.clear();

        let mut slices = Vec::with_capacity(1 + 2 * ahead);
        if let Some(payload) = &mut self.payload {
            slices.push(IoSliceMut::new(payload.room()));
        }
        for (index, (header, buffer)) in headers.iter_mut().zip(&mut buffers).enumerate() {
            let skip = if index == 0 { begun } else { 0 };
            slices.push(IoSliceMut::new(&mut header[skip..]));
            slices.push(IoSliceMut::new(buffer));
        }
        let room: usize = slices.iter().map(|slice| slice.len()).sum();
        let mut left = match read_now(socket, &mut slices) {
            Ok(0) => return Err(InboundError::Closed),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.stage.extend_from_slice(&headers[0][..begun]);
                return Ok(Readout::Drained);
            }
            Err(error) => return Err(error.into()),
        };
        let count = left;
        self.behind = count == room && ahead == AHEAD_MAX;
        self.ahead = if count == room {
            (ahead * 2).min(AHEAD_MAX)
        } else {
            (count / BLOCK_LENGTH as usize + 1).max(ahead / 2)
        };

        let mut decrypt = |bytes: &mut [u8]| {
            if let Some(cipher) = cipher.as_deref_mut() {
                cipher.apply(bytes);
            }
        };
        if let Some(mut payload) = self.payload.take() {
            left -= fill(&mut payload, left, &mut decrypt);
            if !payload.is_whole() {
                self.payload = Some(payload);
                return Ok(Readout::Bytes(count));
            }
            arrive(Arrival::Block(payload.block, payload.data))?;
        }
        let mut following = headers.into_iter().zip(buffers);
        while left > 0 || begun > 0 {
            let Some((mut header, buffer)) = following.next() else { break };
            let here = left.min(PIECE_HEADER_LENGTH - begun);
            decrypt(&mut header[begun..begun + here]);
            left -= here;
            let known = begun + here;
            begun = 0;
            let header = &header[..known];
            match peek_header(header, limits)? {
                Header::Piece { block } if block.length == BLOCK_LENGTH => {
                    let mut payload = Payload::new(block, buffer);
                    left -= fill(&mut payload, left, &mut decrypt);
                    if payload.is_whole() {
                        arrive(Arrival::Block(payload.block, payload.data))?;
                    } else {
                        self.payload = Some(payload);
                        break;
                    }
                }
                _ => {
                    // The guess was wrong: line the bytes up and parse them.
                    self.stage.extend_from_slice(header);
                    let mut line_up = |bytes: &mut [u8]| {
                        let here = left.min(bytes.len());
                        decrypt(&mut bytes[..here]);
                        self.stage.extend_from_slice(&bytes[..here]);
                        left -= here;
                    };
                    let mut buffer = buffer;
                    line_up(&mut buffer);
                    for (mut header, mut buffer) in following.by_ref() {
                        line_up(&mut header);
                        line_up(&mut buffer);
                    }
                    drop((buffer, following));
                    let starved = self.parse(limits, pool, arrive)?;
                    return Ok(if starved { Readout::Starved } else { Readout::Bytes(count) });
                }
            }
        }
        Ok(Readout::Bytes(count))
    }
}

/// Counts bytes that the kernel has put into the payload, decrypting them; returns how many of `left` were its own.
fn fill(payload: &mut Payload, left: usize, decrypt: &mut impl FnMut(&mut [u8])) -> usize {
    let here = left.min(payload.room().len());
    decrypt(&mut payload.room()[..here]);
    payload.filled += here;
    here
}

/// One vectored read without waiting.
fn read_now(socket: &TcpStream, slices: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
    socket.try_io(Interest::READABLE, || Ok(rustix::io::readv(socket, slices)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;
    use crate::wire::Message;

    const LIMITS: Limits = Limits { pieces: Some(1_000) };

    #[derive(Clone, Debug)]
    enum Sent {
        Piece(Block),
        Have(u32),
        KeepAlive,
        Extended(usize),
    }

    fn sent() -> impl Strategy<Value = Sent> {
        let length = prop_oneof![6 => Just(BLOCK_LENGTH), 1 => 1..=BLOCK_LENGTH];
        prop_oneof![
            6 => (0..1_000u32, length).prop_map(|(piece, length)| Sent::Piece(Block { piece, begin: 0, length })),
            1 => (0..1_000u32).prop_map(Sent::Have),
            1 => Just(Sent::KeepAlive),
            1 => (0..40_000usize).prop_map(Sent::Extended),
        ]
    }

    /// Bytes that tell where they belong.
    fn data(block: Block) -> Vec<u8> {
        (0..block.length).map(|at| (at.wrapping_mul(31) ^ block.piece) as u8).collect()
    }

    fn encode(all: &[Sent]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for one in all {
            match one {
                Sent::Piece(block) => {
                    Message::Piece { block: *block, data: &data(*block) }.encode(&mut bytes)
                }
                Sent::Have(piece) => Message::Have(*piece).encode(&mut bytes),
                Sent::KeepAlive => Message::KeepAlive.encode(&mut bytes),
                Sent::Extended(length) => {
                    Message::Extended { id: 3, payload: &vec![7; *length] }.encode(&mut bytes)
                }
            }
        }
        bytes
    }

    /// Sends `bytes` in the given chunks and returns the frames that arrive, blocks checked and re-encoded.
    async fn receive(bytes: Vec<u8>, chunks: Vec<usize>, expected: usize, pool: &BlockPool) -> Vec<u8> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut sender = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (socket, _) = listener.accept().await.unwrap();
        tokio::spawn(async move {
            let mut rest = &bytes[..];
            for chunk in chunks.into_iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (now, later) = rest.split_at(chunk.clamp(1, rest.len()));
                sender.write_all(now).await.unwrap();
                tokio::task::yield_now().await;
                rest = later;
            }
        });
        let mut inbound = Inbound::default();
        let mut arrived = Vec::new();
        let mut arrive = |arrival: Arrival<'_>| {
            match arrival {
                Arrival::Block(block, received) => {
                    assert_eq!(&received[..], data(block), "{block:?}");
                    Message::Piece { block, data: &received }.encode(&mut arrived);
                }
                Arrival::Frame(frame) => arrived.extend_from_slice(frame),
            }
            Ok(())
        };
        loop {
            let turn = (expected, 512 << 10);
            match inbound.read(&socket, None, &LIMITS, turn, pool, &mut arrive) {
                Ok(Readout::Bytes(_)) => {}
                Ok(Readout::Drained) => socket.readable().await.unwrap(),
                Ok(Readout::Starved) => {
                    let buffer = pool.take().await;
                    inbound.supply(buffer);
                    inbound.parse(&LIMITS, pool, &mut arrive).unwrap();
                }
                Err(InboundError::Closed) => break,
                Err(error) => panic!("{error}"),
            }
        }
        assert!(!inbound.is_mid_frame());
        drop(inbound);
        assert_eq!(pool.usage().0, 0, "every buffer went back");
        arrived
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// However frames are cut, mixed and expected, they arrive as they were sent.
        #[test]
        fn frames_arrive_as_they_were_sent(
            all in prop::collection::vec(sent(), 1..40),
            chunks in prop::collection::vec(1..200_000usize, 1..8),
            expected in 0..40usize,
            buffers in 1..40usize,
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let bytes = encode(&all);
            let arrived =
                runtime.block_on(receive(bytes.clone(), chunks, expected, &BlockPool::new(buffers)));
            prop_assert!(arrived == bytes);
        }
    }

    #[test]
    fn a_block_longer_than_any_request_ends_the_connection() {
        let mut inbound = Inbound::with_leftover(
            crate::wire::piece_header(Block { piece: 0, begin: 0, length: BLOCK_LENGTH + 1 }).to_vec(),
        );
        let parsed = inbound.parse(&LIMITS, &BlockPool::new(1), &mut |_| Ok(()));
        assert!(matches!(parsed, Err(InboundError::Misbehaviour(Misbehaviour::BlockTooLong(_)))));
    }
}
