//! Connections: who may have one, and how it comes to be.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use peerage_swarm::core::Found;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tracing::{debug, warn};

use super::DoorInner;
use super::greetings::Greetings;
use crate::hash::SwarmHash;
use crate::listen;
use crate::peer::greet::{self, Finder, GreetError};
use crate::peer::{Conversation, Hello, Parted};
use crate::torrent::{Arrival, Torrent};
use crate::wire::{Handshake, HandshakeHead, Reserved};

/// How long a connection may take to be made.
pub(super) const CONNECT_MAX: Duration = Duration::from_secs(10);
/// Accepted connections that have not greeted yet; more wait in the system's queue.
const GREETINGS_MAX: usize = 128;
/// How long a connection that has to make room may take to end.
const ROOM_MAX: Duration = Duration::from_millis(500);

/// A connection that was dialled, and what its greeting found out.
type Greeted = Result<(TcpStream, Hello), GreetError>;

impl DoorInner {
    /// Our bits beside this name of the torrent.
    fn reserved(&self, torrent: &Torrent, name: SwarmHash) -> Reserved {
        let mut reserved = Reserved::NONE.with_extended().with_fast();
        if self.dht.is_some() && !torrent.is_private() {
            reserved = reserved.with_dht();
        }
        // Beside a v1 name it would ask for the upgrade to v2: libtorrent, upgraded, fetches piece layers while blocks come in, and the
        // one can make it take the other for a contradiction, which stops its torrent for good.
        if torrent.hashes_now().swarm_v2() == Some(name) {
            reserved = reserved.with_v2();
        }
        reserved
    }

    pub(super) async fn accept_all(self: Arc<Self>, listener: TcpListener) {
        let (places, greetings) = (Arc::new(Semaphore::new(GREETINGS_MAX)), Arc::new(Greetings::default()));
        loop {
            let Ok(place) = places.clone().acquire_owned().await else { return };
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = self.cancel.cancelled() => return,
            };
            let (mut socket, address) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file descriptors, most likely: waiting is all that helps.
                    warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    continue;
                }
            };
            let door = self.clone();
            let address = crate::address::canonical(address);
            let turn = greetings.begin(address.ip());
            self.tasks.spawn(async move {
                door.pacing.connected(&socket);
                let greeting = async {
                    let permit = door.room().await?;
                    let greeting = greet::accept(&mut socket, address, door.peer_id, door.encryption, &*door);
                    Some((permit, greeting.await))
                };
                let greeted = tokio::select! {
                    greeted = turn.greet(greeting) => greeted.flatten(),
                    () = door.cancel.cancelled() => None,
                };
                drop((turn, place));
                let Some((permit, greeted)) = greeted else { return };
                let outcome = match greeted {
                    Ok(hello) => door.converse(socket, hello).await,
                    Err(error) => Err(error),
                };
                if let Err(error) = outcome {
                    debug!(%address, %error, "an incoming connection came to nothing");
                }
                drop(permit);
            });
        }
    }

    /// A place for one more connection. When there is none, an idle connection of the torrent that has most of them makes room.
    async fn room(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(permit) = self.connections.clone().try_acquire_owned() {
            return Some(permit);
        }
        let torrents: Vec<Arc<Torrent>> = self.registry().holders().cloned().collect();
        let crowded = torrents.iter().max_by_key(|torrent| torrent.spare_connections())?;
        if !crowded.spare_one() {
            return None;
        }
        tokio::time::timeout(ROOM_MAX, self.connections.clone().acquire_owned()).await.ok()?.ok()
    }

    /// Talks on a greeted connection until it ends.
    ///
    /// # Errors
    /// [`GreetError`], when the connection was not wanted, or ended before the transfer heard of it.
    async fn converse(&self, socket: TcpStream, hello: Hello) -> Result<(), GreetError> {
        let swarm = hello.handshake.swarm;
        let torrent = self.registry().holder(swarm);
        let torrent = torrent.ok_or(GreetError::UnknownSwarm(swarm))?;
        let arrival = Arrival {
            id: hello.handshake.peer_id,
            outgoing: hello.outgoing,
            address: hello.address,
            // A transfer knows whom it may dial.
            found: hello.found.unwrap_or(Found::GIVEN),
        };
        let admission = torrent.admit(self.peer_id, &arrival, Instant::now()).ok_or(GreetError::Present)?;
        if let Err(error) = socket.set_nodelay(true) {
            debug!(%error, "set TCP_NODELAY");
        }
        let talk = Conversation::new(socket, hello, torrent.clone(), self.local.clone());
        let Parted { ending, joined } = Box::pin(talk.run(admission.cancel.clone(), &admission.pulse)).await;
        torrent.dismiss(arrival.id, &admission);
        debug!(address = %arrival.address, %ending, "connection ended");
        if joined { Ok(()) } else { Err(GreetError::Left) }
    }

    /// Dials for a running transfer, which hears of failure.
    pub(crate) fn dial_for_transfer(self: Arc<Self>, torrent: Arc<Torrent>, address: SocketAddr) {
        let tasks = self.tasks.clone();
        tasks.spawn(async move {
            let dialled = self.dial(&torrent, address, None, None).await;
            let Some(ready) = torrent.ready() else { return };
            match dialled {
                Ok(()) => {}
                Err(GreetError::NoRoom) => ready.transfer.no_room(address).await,
                Err(_) => ready.transfer.dial_failed(address).await,
            }
        });
    }

    /// Connects, greets (then tells `greeted`) and talks; returns when the conversation is over, or why there was none. `found` is
    /// where the address was learnt, unless the transfer knows it already.
    pub(super) async fn dial(
        &self,
        torrent: &Arc<Torrent>,
        address: SocketAddr,
        found: Option<Found>,
        greeted: Option<mpsc::Sender<SocketAddr>>,
    ) -> Result<(), GreetError> {
        // A connection that brought the metadata may not have joined the transfer yet, which knows the address from elsewhere.
        if torrent.has_dialled(address) {
            return Err(GreetError::Present);
        }
        let Some(_permit) = self.room().await else { return Err(GreetError::NoRoom) };
        let greeting = self.greet_by_any_name(torrent, address);
        let greeting = torrent.cancellation().run_until_cancelled(greeting).await;
        let (socket, hello) = greeting.unwrap_or(Err(GreetError::Closing))?;
        if let Some(greeted) = greeted {
            // An error: nobody seeks any longer.
            let _ = greeted.send(address).await;
        }
        self.converse(socket, Hello { found, ..hello }).await
    }

    /// Greets in v1's name first, in which a hybrid meets most peers and gets on with all of them; whoever has a link with the
    /// v2 hash alone knows only the other.
    async fn greet_by_any_name(&self, torrent: &Torrent, address: SocketAddr) -> Greeted {
        let mut greeted = Err(GreetError::Closing);
        for name in torrent.swarms() {
            greeted = self.greet_by_any_way(torrent, address, name).await;
            if !matches!(&greeted, Err(error) if error.may_want_another_name()) {
                break;
            }
        }
        greeted
    }

    /// Greets plain and encrypted, as far and in the order that the settings allow.
    async fn greet_by_any_way(&self, torrent: &Torrent, address: SocketAddr, swarm: SwarmHash) -> Greeted {
        let ours = Handshake { reserved: self.reserved(torrent, swarm), swarm, peer_id: self.peer_id };
        let mut greeted = Err(GreetError::Closing);
        for way in self.encryption.dials() {
            let greeting = async {
                let mut socket = self.connect(address).await?;
                let hello = greet::dial(&mut socket, address, ours, (*way, self.encryption)).await?;
                Ok((socket, hello))
            };
            greeted = greeting.await;
            let Err(error) = &greeted else { break };
            debug!(%address, %swarm, ?way, %error, "dial came to nothing");
            if !error.may_want_another_way() {
                break;
            }
        }
        greeted
    }

    async fn connect(&self, address: SocketAddr) -> Result<TcpStream, GreetError> {
        let connecting = async {
            let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
            let same_family = |own: &&IpAddr| own.is_ipv4() == address.is_ipv4();
            if let Some(own) = listen::specific(&self.listening).iter().find(same_family) {
                socket.bind(SocketAddr::new(*own, 0))?;
            }
            self.pacing.begin(&socket);
            let connected = socket.connect(address).await?;
            self.pacing.connected(&connected);
            Ok(connected)
        };
        let connected = tokio::time::timeout(CONNECT_MAX, connecting).await;
        connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(GreetError::NoConnection)
    }
}

impl Finder for DoorInner {
    fn by_key(&self, key: &[u8; 20]) -> Option<SwarmHash> {
        self.registry().by_key(key)
    }

    fn answer(&self, head: &HandshakeHead) -> Option<(Reserved, SwarmHash)> {
        let torrent = self.registry().holder(head.swarm)?;
        // Everybody is answered in the name that they came with. libtorrent takes our bit for v2 beside a v1 name for the upgrade
        // of BEP 52, and hangs up because the name is not v2's.
        Some((self.reserved(&torrent, head.swarm), head.swarm))
    }
}
