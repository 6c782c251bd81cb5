//! A peer of raw bytes: says what the test wants, in its order, true or not (BEP 3).

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long an answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// Message numbers of BEP 3.
pub mod id {
    /// The peer may ask.
    pub const UNCHOKE: u8 = 1;
    /// The peer wants something.
    pub const INTERESTED: u8 = 2;
    /// One more piece.
    pub const HAVE: u8 = 4;
    /// All pieces at once.
    pub const BITFIELD: u8 = 5;
    /// Asks for a block.
    pub const REQUEST: u8 = 6;
    /// Brings a block.
    pub const PIECE: u8 = 7;
    /// An extension's message (BEP 10).
    pub const EXTENDED: u8 = 20;
}

/// One connection.
#[derive(Debug)]
pub struct RawPeer {
    /// For what the methods do not say.
    pub socket: TcpStream,
}

impl RawPeer {
    /// Connects, and greets as a client without any extension.
    ///
    /// # Errors
    /// When the other side does not take the greeting.
    pub fn greet(address: &str, info_hash: &[u8; 20]) -> io::Result<Self> {
        Self::greet_with(address, &greeting(info_hash))
    }

    /// Connects, and says that it understands extensions (BEP 10): these, a bencoded handshake.
    ///
    /// # Errors
    /// When the other side does not take the greeting.
    pub fn extended(address: &str, info_hash: &[u8; 20], handshake: &[u8]) -> io::Result<Self> {
        let mut peer = Self::greet_with(address, &extended_greeting(info_hash))?;
        peer.send(id::EXTENDED, &[&[0], handshake].concat())?;
        Ok(peer)
    }

    fn greet_with(address: &str, greeting: &[u8]) -> io::Result<Self> {
        let mut peer = Self::connect(address)?;
        peer.socket.write_all(greeting)?;
        let mut answer = [0; 68];
        peer.socket.read_exact(&mut answer)?;
        Ok(peer)
    }

    /// Connects and says nothing.
    ///
    /// # Errors
    /// When the connection is refused.
    pub fn connect(address: &str) -> io::Result<Self> {
        let address: SocketAddr = address.parse().map_err(io::Error::other)?;
        Self::over(TcpStream::connect_timeout(&address, ANSWER_MAX)?)
    }

    /// Takes over a connection.
    ///
    /// # Errors
    /// When the socket is broken already.
    pub fn over(socket: TcpStream) -> io::Result<Self> {
        socket.set_read_timeout(Some(ANSWER_MAX))?;
        socket.set_write_timeout(Some(ANSWER_MAX))?;
        Ok(Self { socket })
    }

    /// Sends a message.
    ///
    /// # Errors
    /// When the other side has closed, or does not read.
    pub fn send(&mut self, id: u8, payload: &[u8]) -> io::Result<()> {
        self.socket.write_all(&message(id, payload))
    }

    /// Receives a message that is no keep-alive: its number and payload.
    ///
    /// # Errors
    /// When the other side has closed, or is silent too long.
    pub fn receive(&mut self) -> io::Result<(u8, Vec<u8>)> {
        loop {
            let mut length = [0; 4];
            self.socket.read_exact(&mut length)?;
            let length = u32::from_be_bytes(length);
            if length > 1 << 20 {
                return Err(io::Error::other(format!("a message of {length} bytes")));
            }
            let mut body = vec![0; length as usize];
            self.socket.read_exact(&mut body)?;
            if let Some((id, payload)) = body.split_first() {
                return Ok((*id, payload.to_vec()));
            }
        }
    }

    /// Receives until a message of that number; its payload.
    ///
    /// # Errors
    /// As [`RawPeer::receive`].
    pub fn receive_until(&mut self, id: u8) -> io::Result<Vec<u8>> {
        loop {
            let (found, payload) = self.receive()?;
            if found == id {
                return Ok(payload);
            }
        }
    }

    /// Reads whatever comes until the other side closes; false if it does not.
    pub fn is_cut_off(&mut self) -> bool {
        let mut buffer = [0; 16 * 1024];
        loop {
            match self.socket.read(&mut buffer) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => {
                    return !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut);
                }
            }
        }
    }
}

/// The bytes of a v1 info hash in hexadecimal.
///
/// # Panics
/// When it is none.
pub fn hash_bytes(hex: &str) -> [u8; 20] {
    std::array::from_fn(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap())
}

/// The bytes of a greeting without extensions.
pub fn greeting(info_hash: &[u8; 20]) -> Vec<u8> {
    let mut greeting = b"\x13BitTorrent protocol".to_vec();
    greeting.extend([0; 8]);
    greeting.extend(info_hash);
    greeting.extend(b"-XX0001-");
    let chance = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    greeting.extend(format!("{:012}", chance.map_or(0, |since| since.subsec_nanos())).as_bytes());
    greeting
}

/// The bytes of a greeting that promises extensions (BEP 10).
pub fn extended_greeting(info_hash: &[u8; 20]) -> Vec<u8> {
    let mut greeting = greeting(info_hash);
    greeting[25] |= 0x10;
    greeting
}

/// A message with its length in front.
pub fn message(id: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len() + 1).unwrap_or(u32::MAX);
    [&length.to_be_bytes(), &[id][..], payload].concat()
}

/// The payload of a request.
pub fn request(piece: u32, begin: u32, length: u32) -> Vec<u8> {
    [piece, begin, length].iter().flat_map(|number| number.to_be_bytes()).collect()
}
