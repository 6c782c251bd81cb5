//! The first bytes of a connection: plain or encrypted, and for which torrent.

use std::net::SocketAddr;
use std::time::Duration;

use peerage_swarm::core::Found;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::conversation::Hello;
use crate::hash::SwarmHash;
use crate::mse::{
    Dial, Encryption, Established, Greeting, Initiator, MseError, Progress, Responder, greeting,
};
use crate::wire::{Handshake, HandshakeError, HandshakeHead, PeerId, Reserved};

/// How long a peer may take for its whole greeting.
const GREETING_MAX: Duration = Duration::from_secs(10);

/// Why a greeting failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GreetError {
    /// The socket failed.
    #[error(transparent)]
    Socket(#[from] std::io::Error),
    /// Closed before the greeting was over: it may want it encrypted (or plain).
    #[error("closed during the greeting")]
    Closed,
    /// Nobody answers there.
    #[error("no connection came to be")]
    NoConnection(#[source] std::io::Error),
    /// It took too long: it may not understand the way we began.
    #[error("no greeting within {} s", GREETING_MAX.as_secs())]
    TooSlow,
    /// Not a BitTorrent handshake.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    /// A failed encrypted handshake.
    #[error(transparent)]
    Mse(#[from] MseError),
    /// It answered for something else.
    #[error("answered for swarm {0}")]
    OtherSwarm(SwarmHash),
    /// We have no such torrent.
    #[error("unknown swarm {0}")]
    UnknownSwarm(SwarmHash),
    /// Plain or encrypted connections are not accepted.
    #[error("the settings refuse {0:?} connections")]
    Refused(Dial),
    /// There is a connection to this peer already, or it is not one to be connected to.
    #[error("connected to this peer already, or not to be")]
    Present,
    /// It ended before the transfer heard of it.
    #[error("the connection ended at once")]
    Left,
    /// The process has all the connections that it may have: nothing was tried.
    #[error("no room for another connection")]
    NoRoom,
    /// The torrent ends.
    #[error("the torrent ends")]
    Closing,
    /// It is ourselves.
    #[error("connected to ourselves")]
    Own,
}

impl GreetError {
    /// Whether another way to begin (encrypted instead of plain) may succeed.
    pub(crate) fn may_want_another_way(&self) -> bool {
        matches!(self, Self::Closed | Self::TooSlow | Self::Socket(_) | Self::Handshake(_) | Self::Mse(_))
    }

    /// Whether the other name of a hybrid may succeed: somebody is there, and hung up on this one.
    pub(crate) fn may_want_another_name(&self) -> bool {
        matches!(self, Self::Closed | Self::Socket(_))
    }
}

/// Where accepted connections find their torrent.
pub(crate) trait Finder: Sync {
    /// The swarm of a [`lookup_key`](crate::mse::lookup_key).
    fn by_key(&self, key: &[u8; 20]) -> Option<SwarmHash>;
    /// What we answer to somebody who greets us so: our reserved bits and the swarm; `None` when we are not in it.
    fn answer(&self, head: &HandshakeHead) -> Option<(Reserved, SwarmHash)>;
}

/// Greets a peer that we connected to. `ours` names the swarm.
pub(crate) async fn dial(
    socket: &mut TcpStream,
    address: SocketAddr,
    ours: Handshake,
    (way, encryption): (Dial, Encryption),
) -> Result<Hello, GreetError> {
    let greeting = async {
        let (mut received, ciphers) = match way {
            Dial::Plain => {
                socket.write_all(&ours.encode()).await?;
                (Vec::new(), None)
            }
            Dial::Encrypted => {
                let mut out = Vec::new();
                let mut role = {
                    let mut rng = rand::rng();
                    Initiator::start(ours.swarm, encryption.offers(), ours.encode(), &mut rng, &mut out)
                };
                let mut heard = Vec::new();
                let established = loop {
                    socket.write_all(&out).await?;
                    out.clear();
                    heard.clear();
                    more(socket, &mut heard).await?;
                    match role.feed(&heard, &mut out)? {
                        Progress::More(again) => role = again,
                        Progress::Done(established) => break established,
                    }
                };
                socket.write_all(&out).await?;
                split(established)
            }
        };
        let mut ciphers = ciphers;
        let handshake = loop {
            if let Some(handshake) = Handshake::decode(&received)? {
                break handshake;
            }
            more_of_stream(socket, &mut received, &mut ciphers).await?;
        };
        if handshake.swarm != ours.swarm {
            return Err(GreetError::OtherSwarm(handshake.swarm));
        }
        if handshake.peer_id == ours.peer_id {
            return Err(GreetError::Own);
        }
        let leftover = received.split_off(crate::wire::HANDSHAKE_LENGTH);
        Ok(Hello { handshake, address, outgoing: true, found: None, ciphers, leftover })
    };
    tokio::time::timeout(GREETING_MAX, greeting).await.map_err(|_| GreetError::TooSlow)?
}

/// Greets a peer that connected to us, and answers once it has named a swarm of ours.
pub(crate) async fn accept(
    socket: &mut TcpStream,
    address: SocketAddr,
    peer_id: PeerId,
    encryption: Encryption,
    finder: &impl Finder,
) -> Result<Hello, GreetError> {
    let greeted = async {
        let mut received = Vec::new();
        let way = loop {
            more(socket, &mut received).await?;
            match greeting(&received) {
                Greeting::Undecided => {}
                Greeting::Plain => break Dial::Plain,
                Greeting::Encrypted => break Dial::Encrypted,
            }
        };
        if !encryption.accepts(way) {
            return Err(GreetError::Refused(way));
        }
        let mut ciphers = None;
        if way == Dial::Encrypted {
            let mut out = Vec::new();
            let mut role = Responder::new(encryption, &mut rand::rng());
            let established = loop {
                match role.feed(&received, |key| finder.by_key(key), &mut out)? {
                    Progress::More(again) => role = again,
                    Progress::Done(established) => break established,
                }
                socket.write_all(&out).await?;
                out.clear();
                received.clear();
                more(socket, &mut received).await?;
            };
            socket.write_all(&out).await?;
            (received, ciphers) = split(established);
        }
        let mut answered = false;
        let handshake = loop {
            if !answered && let Some(head) = HandshakeHead::decode(&received)? {
                let (reserved, swarm) = finder.answer(&head).ok_or(GreetError::UnknownSwarm(head.swarm))?;
                let mut answer = Handshake { reserved, swarm, peer_id }.encode();
                if let Some((_, outgoing)) = &mut ciphers {
                    outgoing.apply(&mut answer);
                }
                socket.write_all(&answer).await?;
                answered = true;
            }
            if let Some(handshake) = Handshake::decode(&received)? {
                break handshake;
            }
            more_of_stream(socket, &mut received, &mut ciphers).await?;
        };
        if handshake.peer_id == peer_id {
            return Err(GreetError::Own);
        }
        let leftover = received.split_off(crate::wire::HANDSHAKE_LENGTH);
        Ok(Hello { handshake, address, outgoing: false, found: Some(Found::INCOMING), ciphers, leftover })
    };
    tokio::time::timeout(GREETING_MAX, greeted).await.map_err(|_| GreetError::TooSlow)?
}

type CipherPair = (crate::mse::Rc4Stream, crate::mse::Rc4Stream);

fn split(established: Established) -> (Vec<u8>, Option<CipherPair>) {
    (established.received, established.ciphers.map(|ciphers| (ciphers.incoming, ciphers.outgoing)))
}

/// Waits for some more bytes.
async fn more(socket: &mut TcpStream, into: &mut Vec<u8>) -> Result<(), GreetError> {
    let mut buffer = [0; 1_024];
    match socket.read(&mut buffer).await? {
        0 => Err(GreetError::Closed),
        count => {
            into.extend_from_slice(&buffer[..count]);
            Ok(())
        }
    }
}

/// As [`more`] behind an encrypted handshake, if there was one.
async fn more_of_stream(
    socket: &mut TcpStream,
    into: &mut Vec<u8>,
    ciphers: &mut Option<CipherPair>,
) -> Result<(), GreetError> {
    let from = into.len();
    more(socket, into).await?;
    if let Some((incoming, _)) = ciphers {
        incoming.apply(&mut into[from..]);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;
    use tokio::time::Instant;

    use super::*;

    /// Where nothing is found.
    struct Nothing;

    impl Finder for Nothing {
        fn by_key(&self, _key: &[u8; 20]) -> Option<SwarmHash> {
            None
        }

        fn answer(&self, _head: &HandshakeHead) -> Option<(Reserved, SwarmHash)> {
            None
        }
    }

    /// What becomes of a peer that begins like this, and then sends a byte every half second; and after how long.
    async fn drip(begins: &[u8]) -> (GreetError, Duration) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut socket, address) = listener.accept().await.unwrap();
        peer.write_all(begins).await.unwrap();
        let began = Instant::now();
        let id = PeerId::new(*b"-PG0100-", [0; 12]);
        let greeted = tokio::select! {
            greeted = accept(&mut socket, address, id, Encryption::Allow, &Nothing) => greeted,
            () = async {
                loop {
                    tokio::time::sleep(Duration::from_millis(500)).await;
                    peer.write_all(b"B").await.unwrap();
                }
            } => unreachable!("it drips for ever"),
        };
        (greeted.unwrap_err(), began.elapsed())
    }

    /// Every byte is progress, and the whole takes too long all the same.
    #[tokio::test(start_paused = true)]
    async fn a_greeting_byte_by_byte_is_cut_off() {
        let encrypted = [0x5a; 96];
        for begins in [&b"\x13BitTorrent protocol"[..], &encrypted] {
            let (error, after) = drip(begins).await;
            assert!(matches!(error, GreetError::TooSlow), "{error}");
            assert!(after >= GREETING_MAX && after < GREETING_MAX + Duration::from_millis(10), "{after:?}");
        }
    }

    /// Some that want encryption say nothing at all to a plain greeting; where nobody is, no other way helps.
    #[test]
    fn silence_may_mean_that_another_way_is_wanted() {
        assert!(GreetError::TooSlow.may_want_another_way());
        let refused = std::io::ErrorKind::ConnectionRefused.into();
        let nobody = GreetError::NoConnection(refused);
        assert!(!nobody.may_want_another_way() && !nobody.may_want_another_name());
    }
}
