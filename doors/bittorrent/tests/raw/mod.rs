//! A peer that says what a test lets it say.

#![allow(
    dead_code,
    unreachable_pub,
    missing_debug_implementations,
    reason = "each test binary uses a part of it"
)]

use std::net::{Ipv4Addr, SocketAddr};

use peerage_bittorrent::hash::SwarmHash;
use peerage_bittorrent::wire::extended::{ExtendedHandshake, ExtendedMessage, Extension, ExtensionIds};
use peerage_bittorrent::wire::{HANDSHAKE_LENGTH, Handshake, Limits, Message, PeerId, Reserved};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::node::PATIENCE;

/// A greeted connection. What it sends under extension numbers uses ours, which are the same on all sides.
pub struct RawPeer {
    socket: TcpStream,
    /// What the other side answered.
    pub answer: Handshake,
    frame: Vec<u8>,
}

impl RawPeer {
    /// Greets with these bits and this name, as a peer whose receive buffer is small.
    pub async fn greet(to: SocketAddr, swarm: SwarmHash, reserved: Reserved) -> Self {
        Self::greet_from(Ipv4Addr::LOCALHOST, to, swarm, reserved).await
    }

    /// The same from this host: bans are of hosts.
    pub async fn greet_from(from: Ipv4Addr, to: SocketAddr, swarm: SwarmHash, reserved: Reserved) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((from, 0).into()).unwrap();
        socket.set_recv_buffer_size(64 << 10).unwrap();
        let mut socket = socket.connect(to).await.unwrap();
        let ours = Handshake { reserved, swarm, peer_id: PeerId::new(*b"-RW0001-", rand::random()) };
        socket.write_all(&ours.encode()).await.unwrap();
        let mut answer = [0; HANDSHAKE_LENGTH];
        socket.read_exact(&mut answer).await.unwrap();
        Self { socket, answer: Handshake::decode(&answer).unwrap().unwrap(), frame: Vec::new() }
    }

    /// Greets as most do, and says that it understands all extensions; `more` goes into the extended handshake.
    pub async fn join(to: SocketAddr, swarm: SwarmHash, more: ExtendedHandshake) -> Self {
        let mut peer = Self::greet(to, swarm, Reserved::NONE.with_extended().with_fast()).await;
        let ids = ExtensionIds::own(&Extension::ALL);
        peer.extended(&ExtendedMessage::Handshake(ExtendedHandshake { ids, ..more })).await;
        peer
    }

    /// Sends messages in one write.
    pub async fn send(&mut self, messages: &[Message<'_>]) {
        let mut bytes = Vec::new();
        messages.iter().for_each(|message| message.encode(&mut bytes));
        self.socket.write_all(&bytes).await.unwrap();
    }

    /// Sends a message unless the other side has left.
    pub async fn send_if_heard(&mut self, message: &Message<'_>) {
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        let _ = self.socket.write_all(&bytes).await;
    }

    /// Says that nothing more will come, after what was sent.
    pub async fn leave(&mut self) {
        self.socket.shutdown().await.unwrap();
    }

    pub async fn extended(&mut self, message: &ExtendedMessage<'_>) {
        let mut bytes = Vec::new();
        assert!(message.encode(&ExtensionIds::own(&Extension::ALL), &mut bytes));
        self.socket.write_all(&bytes).await.unwrap();
    }

    /// The next message.
    pub async fn next(&mut self) -> Message<'_> {
        self.next_if_any().await.expect("a message")
    }

    /// The next message; `None` when the other side has left.
    pub async fn next_if_any(&mut self) -> Option<Message<'_>> {
        let read = async {
            let mut length = [0; 4];
            self.socket.read_exact(&mut length).await?;
            self.frame = length.to_vec();
            self.frame.resize(4 + u32::from_be_bytes(length) as usize, 0);
            self.socket.read_exact(&mut self.frame[4..]).await
        };
        tokio::time::timeout(PATIENCE, read).await.expect("a message in time").ok()?;
        Some(Message::decode(&self.frame, &Limits::default()).unwrap())
    }

    /// Skips messages until `pick` picks one.
    pub async fn until<T>(&mut self, pick: impl Fn(&Message<'_>) -> Option<T>) -> T {
        loop {
            if let Some(picked) = pick(&self.next().await) {
                return picked;
            }
        }
    }

    /// Skips messages until `pick` picks an extended one.
    pub async fn until_extended<T>(&mut self, pick: impl Fn(ExtendedMessage<'_>) -> Option<T>) -> T {
        self.until(|message| match message {
            Message::Extended { id, payload } => pick(ExtendedMessage::decode(*id, payload).unwrap()),
            _ => None,
        })
        .await
    }
}
