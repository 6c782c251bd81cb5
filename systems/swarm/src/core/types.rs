//! The words between the core and whoever drives it.

use std::net::SocketAddr;
use std::ops::Range;
use std::time::{Duration, Instant};

use peerage_content::{Block, PieceIndex, PieceSet};

/// A connected peer, for as long as it is connected; never reused within a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerKey(pub u64);

/// Where an address was learnt; a bit set, since one address is often learnt twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Found(pub u16);

impl Found {
    /// Named by the user or by the link.
    pub const GIVEN: Self = Self(1);
    /// A tracker.
    pub const TRACKER: Self = Self(1 << 1);
    /// The DHT.
    pub const DHT: Self = Self(1 << 2);
    /// The local network.
    pub const LAN: Self = Self(1 << 3);
    /// Another peer (PEX).
    pub const EXCHANGE: Self = Self(1 << 4);
    /// It connected to us.
    pub const INCOMING: Self = Self(1 << 5);
    /// A former run.
    pub const RESUME: Self = Self(1 << 6);
}

/// Settings of one transfer. All can change while it runs ([`Input::Configure`]).
#[derive(Clone, Debug)]
pub struct Config {
    /// Peers served at a time, the optimistic one not counted; 0: as many as the measured upload rate suggests.
    pub upload_slots: usize,
    /// Connections of this transfer.
    pub connections_max: usize,
    /// Dials under way at a time.
    pub dials_max: usize,
    /// Addresses remembered.
    pub known_max: usize,
    /// Seconds of data to keep requested from a peer at its present rate.
    pub pipeline_seconds: f32,
    /// Upper bound of outstanding requests to one peer, whatever it allows.
    pub pipeline_max: usize,
    /// Bytes of received and not yet verified blocks at which no new piece is begun.
    pub buffered_max: u64,
    /// Fetch pieces in order.
    pub sequential: bool,
    /// Reveal pieces one at a time to spread distinct ones first (BEP 16); only while seeding.
    pub super_seeding: bool,
    /// Our own address as others see it, for peer priority (BEP 40).
    pub own_address: Option<SocketAddr>,
    /// Bytes a second to one peer. Kept by the driver.
    pub peer_up_max: Option<u64>,
    /// Bytes a second from one peer. Kept by the driver.
    pub peer_down_max: Option<u64>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            upload_slots: 0,
            connections_max: 80,
            dials_max: 16,
            known_max: 2_000,
            pipeline_seconds: 2.0,
            pipeline_max: 512,
            buffered_max: 64 << 20,
            sequential: false,
            super_seeding: false,
            own_address: None,
            peer_up_max: None,
            peer_down_max: None,
        }
    }
}

/// What kind of source a peer is.
#[derive(Clone, Debug)]
pub struct PeerCaps {
    /// Its address, for bans and duplicate detection.
    pub address: SocketAddr,
    /// Where a listener of it would be, if known (an incoming peer's source port is not its listening port).
    pub listen_address: Option<SocketAddr>,
    /// We dialled it.
    pub outgoing: bool,
    /// It understands reject, have-all and allowed-fast (BEP 6).
    pub fast: bool,
    /// Requests it is willing to queue.
    pub requests_max: usize,
    /// A server that only serves: never choked by us, never interested (web seed, gateway).
    pub serves_only: bool,
}

/// What a peer has.
#[derive(Clone, Debug)]
pub enum Availability {
    /// Every piece.
    All,
    /// No piece.
    None,
    /// These.
    Some(PieceSet),
}

/// How much the user wants a piece.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// Not at all.
    Skip,
    /// After everything else.
    Low,
    /// The usual.
    #[default]
    Normal,
    /// Before everything else.
    High,
}

/// What happened.
#[derive(Debug)]
#[non_exhaustive]
pub enum Input<'a> {
    /// Time passed.
    Tick,
    /// Settings changed.
    Configure(Config),
    /// Addresses that may have the content.
    Known {
        /// Addresses of listeners.
        addresses: &'a [SocketAddr],
        /// Where they were learnt.
        found: Found,
    },
    /// A dial asked for by [`Output::Dial`] did not lead to a peer.
    DialFailed {
        /// The address.
        address: SocketAddr,
    },
    /// A dial asked for by [`Output::Dial`] was not tried, because the process has all the connections it may have. That says nothing about the address.
    NoRoom {
        /// The address.
        address: SocketAddr,
    },
    /// Whether the rate limits of the user hold back what we receive and send.
    Throttled(Throttled),
    /// A peer is connected; the wire's handshake is done.
    Joined {
        /// Its key, chosen by the driver.
        peer: PeerKey,
        /// What it is.
        caps: PeerCaps,
    },
    /// A peer told more about itself than was known when it joined.
    Caps {
        /// Who.
        peer: PeerKey,
        /// Requests it is willing to queue, if it said.
        requests_max: Option<usize>,
        /// Where it listens, if it said.
        listen_address: Option<SocketAddr>,
    },
    /// A peer is gone.
    Left {
        /// Who.
        peer: PeerKey,
    },
    /// The whole of what a peer has.
    Has {
        /// Who.
        peer: PeerKey,
        /// What.
        availability: Availability,
    },
    /// A peer got a piece.
    Have {
        /// Who.
        peer: PeerKey,
        /// Which.
        piece: PieceIndex,
    },
    /// A peer lost a piece (BEP 54).
    DontHave {
        /// Who.
        peer: PeerKey,
        /// Which.
        piece: PieceIndex,
    },
    /// A peer will not serve us / will.
    Choked {
        /// Who.
        peer: PeerKey,
        /// Whether it chokes us.
        choked: bool,
    },
    /// A peer wants something of ours / no longer.
    Interest {
        /// Who.
        peer: PeerKey,
        /// Whether it is interested.
        interested: bool,
    },
    /// A peer says that it will download nothing (BEP 21).
    UploadOnly {
        /// Who.
        peer: PeerKey,
        /// Whether.
        upload_only: bool,
    },
    /// The peer allows this piece even when it chokes us (BEP 6).
    AllowedFast {
        /// Who.
        peer: PeerKey,
        /// Which.
        piece: PieceIndex,
    },
    /// A peer will not answer these requests (BEP 6), or the wire gave them up.
    Rejected {
        /// Who.
        peer: PeerKey,
        /// Which.
        blocks: &'a [Block],
    },
    /// Block data was sent to a peer.
    Sent {
        /// To whom.
        peer: PeerKey,
        /// Bytes of block data.
        bytes: u64,
        /// How many of them were padding.
        padding: u64,
    },
    /// The content verified and wrote a piece (also by recheck).
    Verified {
        /// Which.
        piece: PieceIndex,
    },
    /// The piece did not match its hash, or some of its blocks, complete or not, proved bad.
    Corrupt {
        /// Which.
        piece: PieceIndex,
        /// Blocks proven bad; empty when only the piece as a whole is known to be bad.
        bad: &'a [Block],
        /// The other blocks are kept, until [`Output::Discard`]: only bad ones need be fetched again, once they are known. Else all are gone.
        kept: bool,
    },
    /// A peer can be asked for the hashes of a piece's blocks ([`Output::Prove`]).
    Proves {
        /// Who.
        peer: PeerKey,
    },
    /// A peer that was asked for the hashes of a piece's blocks will not say them. If it does, the blocks that are bad by them
    /// come as [`Input::Corrupt`].
    Unproven {
        /// Who.
        peer: PeerKey,
        /// Which.
        piece: PieceIndex,
    },
    /// A piece could not be written or was lost (changed file): it is missing again.
    Lost {
        /// Which.
        piece: PieceIndex,
    },
    /// The piece's hash is known from now on / not yet (v2 layers come late). All are known at the start.
    Knowable {
        /// Which.
        pieces: Range<PieceIndex>,
        /// Whether.
        known: bool,
    },
    /// Ask for nothing more (paused, disk full) / go on. Serving goes on unless `serving` is false.
    Flow {
        /// Whether to fetch.
        fetching: bool,
        /// Whether to serve.
        serving: bool,
    },
    /// How much the user wants pieces.
    Prioritise {
        /// Which, and how much. Later ranges count more than earlier ones; pieces in none stay as they are. Only the outcome counts: nothing is
        /// given up between two ranges.
        ranges: &'a [(Range<PieceIndex>, Priority)],
    },
    /// A reader waits for this piece at that time (streaming). It is wanted until it is verified or the reader has gone, whatever its priority.
    Deadline {
        /// Who waits.
        reader: ReaderId,
        /// Which.
        piece: PieceIndex,
        /// When it is needed.
        at: Instant,
    },
    /// A reader went away or elsewhere: its deadlines are off.
    ClearDeadlines {
        /// Who.
        reader: ReaderId,
    },
}

/// Somebody who reads while the content is fetched; chosen by the driver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReaderId(pub u64);

/// Which ways the rate limits of the user bind at present.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Throttled {
    /// More would be sent without them.
    pub up: bool,
    /// More would be received without them.
    pub down: bool,
}

/// What to do with block data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// Give it to the intake.
    Wanted,
    /// Somebody was quicker (end game): drop it.
    Duplicate,
    /// Never asked for: drop it; repeated, the core disconnects the peer.
    Unrequested,
}

/// Why a peer is sent away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Dismissal {
    /// Both have everything that the other could want.
    NothingToGain,
    /// It sent bad data.
    BadData,
    /// It sent data nobody asked for.
    Unrequested,
    /// There are too many connections and others are better.
    TooMany,
    /// It never answers.
    Stalled,
    /// Already connected to this peer.
    Duplicate,
    /// The user paused the transfer.
    Paused,
    /// It says again and again what it has.
    Restless,
}

/// What to do.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Output {
    /// Ask for blocks.
    Request {
        /// Whom.
        peer: PeerKey,
        /// Which, in order.
        blocks: Vec<Block>,
    },
    /// Take requests back (end game, stop).
    Cancel {
        /// Whom.
        peer: PeerKey,
        /// Which.
        blocks: Vec<Block>,
    },
    /// Serve a peer no longer / again.
    Choke {
        /// Whom.
        peer: PeerKey,
        /// Whether.
        choked: bool,
    },
    /// Tell a peer whether we want something of it.
    Interest {
        /// Whom.
        peer: PeerKey,
        /// Whether.
        interested: bool,
    },
    /// Tell what we have, at the start of a connection.
    Introduce {
        /// Whom.
        peer: PeerKey,
        /// What: less than we have while super-seeding.
        availability: Shown,
    },
    /// Tell about a piece: to one peer (super-seeding) or to all who were introduced.
    Announce {
        /// Whom; `None`: everyone connected.
        peer: Option<PeerKey>,
        /// Which.
        piece: PieceIndex,
    },
    /// Tell everyone that a piece is gone (BEP 54, where the peer knows it).
    Retract {
        /// Which.
        piece: PieceIndex,
    },
    /// Ask a peer for the hashes of a piece's blocks: one of them is bad.
    Prove {
        /// Whom.
        peer: PeerKey,
        /// Which.
        piece: PieceIndex,
    },
    /// Drop what was gathered of a piece: it is fetched anew.
    Discard {
        /// Which.
        piece: PieceIndex,
    },
    /// Close a connection.
    Dismiss {
        /// Whom.
        peer: PeerKey,
        /// Why.
        why: Dismissal,
    },
    /// Never talk to this host again in this transfer.
    Ban {
        /// The host (its port does not count).
        address: SocketAddr,
    },
    /// Connect to an address.
    Dial {
        /// Which.
        address: SocketAddr,
    },
    /// Every wanted piece is verified (again, after priorities changed).
    Finished,
}

/// What a peer is told that we have.
#[derive(Clone, Debug, PartialEq)]
pub enum Shown {
    /// Everything.
    All,
    /// Nothing (yet).
    Nothing,
    /// The verified set as it is now.
    Verified(PieceSet),
}

/// Numbers of a transfer.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// Block bytes received and accepted.
    pub downloaded: u64,
    /// Block bytes sent.
    pub uploaded: u64,
    /// Block bytes received for nothing: duplicates, unrequested, corrupt.
    pub wasted: u64,
    /// Bytes a second, averaged over some seconds.
    pub download_rate: u64,
    /// Bytes a second.
    pub upload_rate: u64,
    /// Connected.
    pub peers_connected: usize,
    /// Of these, those that have everything.
    pub seeds_connected: usize,
    /// Addresses known, connected or not.
    pub peers_known: usize,
    /// Hosts that sent bad data and are not spoken to any more.
    pub hosts_banned: usize,
    /// Peers we serve at present.
    pub peers_unchoked: usize,
    /// Wanted bytes that are not verified yet.
    pub left: u64,
    /// Copies of the rarest wanted piece among connected peers, and the fraction of pieces that have one more.
    pub availability: f32,
}

/// Numbers of one peer.
#[derive(Clone, Debug)]
pub struct PeerStats {
    /// Who.
    pub peer: PeerKey,
    /// Its address.
    pub address: SocketAddr,
    /// Where its address was learnt; empty for one that connected to us from an unknown address, and for servers.
    pub found: Found,
    /// It is a server that only serves.
    pub serves_only: bool,
    /// We dialled it.
    pub outgoing: bool,
    /// Bytes received from it.
    pub downloaded: u64,
    /// Bytes sent to it.
    pub uploaded: u64,
    /// Bytes a second.
    pub download_rate: u64,
    /// Bytes a second.
    pub upload_rate: u64,
    /// Pieces it has.
    pub pieces: u32,
    /// It chokes us.
    pub choking_us: bool,
    /// We choke it.
    pub choked: bool,
    /// It wants something of ours.
    pub interested: bool,
    /// We want something of it.
    pub interesting: bool,
    /// Requests on their way.
    pub requests: usize,
    /// It does not answer in time.
    pub snubbed: bool,
    /// How long it has been here.
    pub connected: Duration,
}
