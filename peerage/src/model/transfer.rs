//! What a node tells about its transfers, their peers, files and trackers, and about itself.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{AnyPath, FilePriority, Limits, SeedGoal, TransferId};

/// What a transfer does at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Waits for its turn: enough other transfers are active.
    Queued,
    /// Computing the hashes of what is to be shared.
    Hashing,
    /// Comparing bytes on disk with their hashes.
    Checking,
    /// Asking peers for the torrent that a link names (BEP 9).
    FetchingMetadata,
    /// Fetching, and serving what is verified.
    Downloading,
    /// Everything wanted is verified; serving.
    Seeding,
    /// Everything wanted is verified; not serving any more.
    Complete,
    /// Stopped by the user.
    Paused,
    /// A file is not what it was when it was verified; what changed is not served. See [`TransferView::problem`].
    Changed,
    /// Stopped by a fault that [`TransferView::problem`] tells; it goes on by itself when that is over (disk full) or after `resume`.
    Error,
}

/// Whether bytes were here first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Shared in place.
    Share,
    /// Fetched.
    Get,
}

/// Something that went wrong, for people and programs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// A word for programs: `no_such_transfer`, `refused`, `no_space`, …
    pub code: String,
    /// What happened, to which thing; lower case, no full stop.
    pub message: String,
    /// Why, from the nearest cause to the farthest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<String>,
    /// What to do next: a sentence that holds the command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// One transfer. Cheap to make: no per-piece and no per-file data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TransferView {
    /// Its number.
    #[schema(value_type = u32)]
    pub id: TransferId,
    /// 40 hex digits; `None`: v2-only, not hashed yet, or not known to be a hybrid yet.
    pub info_hash_v1: Option<String>,
    /// 64 hex digits.
    pub info_hash_v2: Option<String>,
    /// Of a share, the CID of the file or folder; `None`: it has none, or is not hashed yet.
    #[serde(default)]
    pub cid: Option<String>,
    /// Of a share, a link by CID that also says its name.
    #[serde(default)]
    pub ipfs: Option<String>,
    /// Of a share in a daemon with a gateway, where a browser finds it.
    #[serde(default)]
    pub gateway: Option<String>,
    /// The name of the content; before metadata, what the link calls it or its hash.
    #[schema(value_type = AnyPath)]
    pub name: AnyPath,
    /// Shared or fetched.
    pub role: Role,
    /// What it does.
    pub state: State,
    /// Why, in the states `changed` and `error`; of a share that is `seeding`, what of its torrent is missing.
    pub problem: Option<Problem>,
    /// Where the content lies: the file, or its top folder. Before metadata, the folder that will receive it.
    #[schema(value_type = AnyPath)]
    pub path: AnyPath,
    /// Bytes of all files; `None` before metadata.
    pub size: Option<u64>,
    /// Bytes of the files that are wanted; `None` before metadata.
    pub wanted: Option<u64>,
    /// Verified bytes of wanted files.
    pub verified: u64,
    /// Bytes hashed so far, in the states `hashing` and `checking`; of [`TransferView::size`].
    pub hashed: u64,
    /// Files; `None` before metadata.
    pub files: Option<u32>,
    /// Bytes in a piece; `None` before metadata.
    pub piece_length: Option<u32>,
    /// Peers only from trackers (BEP 27).
    pub private: bool,
    /// Pieces in order.
    pub sequential: bool,
    /// Bytes received in all runs.
    pub downloaded: u64,
    /// Bytes sent in all runs.
    pub uploaded: u64,
    /// Bytes received in vain in this run.
    pub wasted: u64,
    /// Bytes a second.
    pub download_rate: u64,
    /// Bytes a second.
    pub upload_rate: u64,
    /// Seconds until everything wanted is verified (or hashed) at the present rate; `None` when there is no end in sight.
    pub seconds_left: Option<u64>,
    /// Connected.
    pub peers_connected: u32,
    /// Of these, those that have everything.
    pub seeds_connected: u32,
    /// Addresses known, connected or not.
    pub peers_known: u32,
    /// Hosts that sent bad data and are not asked again.
    pub hosts_banned: u32,
    /// Copies of the rarest wanted piece among connected peers, and the fraction of pieces that have one more.
    pub availability: f32,
    /// Who is asked for peers.
    pub sources: Sources,
    /// This transfer's own limits.
    pub limits: Limits,
    /// When serving ends.
    pub goal: SeedGoal,
    /// The last check of every byte in this run (`verify`).
    pub check: Option<Check>,
    /// When it was added, seconds since 1970.
    pub added: u64,
    /// When everything wanted was verified first, seconds since 1970.
    pub finished: Option<u64>,
    /// The link to paste elsewhere, with this peer's addresses as `x.pe` unless private; `None` until hashed.
    pub magnet: Option<String>,
}

/// The result of comparing every byte with its hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Check {
    /// Which check, counted from 1 in this run: what asking for it answered.
    pub number: u32,
    /// Bytes of wanted files that were there and true.
    pub verified: u64,
    /// Bytes of wanted files.
    pub wanted: u64,
}

/// A check that was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Begun {
    /// The number that [`TransferView::check`] will have.
    pub check: u32,
}

/// Who is asked for peers of a transfer, and with what result: what a wait is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Sources {
    /// Trackers of this transfer.
    pub trackers: u32,
    /// Of these, those that answered last time.
    pub trackers_working: u32,
    /// Of these, those that failed last time; the others were not asked or did not answer yet.
    pub trackers_failed: u32,
    /// Nodes in the DHT's routing table; `None`: the DHT is off or not used (private).
    pub dht_nodes: Option<u32>,
    /// Whether the local network is asked (BEP 14).
    pub lan: bool,
    /// Addresses named by the user or by the link.
    pub given: u32,
    /// Web seeds.
    pub web_seeds: u32,
}

/// One peer of a transfer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PeerView {
    /// Its address.
    #[schema(value_type = String)]
    pub address: SocketAddr,
    /// What it calls itself, or what its peer id says; foreign text.
    pub client: Option<String>,
    /// How it is reached: `tcp`, `http`.
    pub transport: String,
    /// Message-stream encryption.
    pub encrypted: bool,
    /// We dialled it.
    pub outgoing: bool,
    /// Where its address was learnt: `given`, `tracker`, `dht`, `lan`, `exchange`, `incoming`, `resume`.
    pub found: Vec<String>,
    /// Bytes received from it.
    pub downloaded: u64,
    /// Bytes sent to it.
    pub uploaded: u64,
    /// Bytes a second.
    pub download_rate: u64,
    /// Bytes a second.
    pub upload_rate: u64,
    /// The part of the pieces it has, 0 to 1.
    pub progress: f32,
    /// It chokes us.
    pub choking_us: bool,
    /// We choke it.
    pub choked: bool,
    /// It wants something of ours.
    pub interested: bool,
    /// We want something of it.
    pub interesting: bool,
    /// Requests on their way.
    pub requests: u32,
    /// It does not answer in time.
    pub snubbed: bool,
    /// Seconds since it connected.
    pub connected: u64,
}

/// One file of a transfer; pads are not listed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FileView {
    /// Its number for [`read`](crate::node::Node::read) and for URLs; counts from 0 and has no gaps.
    pub index: u32,
    /// Path below the content's top folder; for a single file, its name.
    #[schema(value_type = AnyPath)]
    pub path: AnyPath,
    /// Bytes.
    pub size: u64,
    /// Verified bytes.
    pub verified: u64,
    /// How much it is wanted.
    pub priority: FilePriority,
    /// It is not what it was when it was verified.
    pub changed: bool,
}

/// What a tracker said last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TrackerState {
    /// Not asked yet, or not now.
    Idle,
    /// A request is on its way.
    Asking,
    /// It answered.
    Working,
    /// It refused or could not be reached.
    Failed,
}

/// One tracker of a transfer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TrackerView {
    /// Its announce URL, passkeys included.
    pub url: String,
    /// Its tier, from 0.
    pub tier: u32,
    /// How it is.
    pub state: TrackerState,
    /// The error, or a warning that it sent; foreign text.
    pub message: Option<String>,
    /// Peers it gave last time.
    pub peers: u32,
    /// Seeds it counts.
    pub seeds: Option<u32>,
    /// Downloaders it counts.
    pub leechers: Option<u32>,
    /// Seconds until it is asked again.
    pub next_announce: Option<u64>,
}

/// The whole node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StatsView {
    /// The program's version.
    pub version: String,
    /// Seconds since the node started.
    pub uptime: u64,
    /// Addresses it listens on.
    #[schema(value_type = Vec<String>)]
    pub listening: Vec<SocketAddr>,
    /// Transfers, by state.
    pub transfers: Vec<StateCount>,
    /// Bytes received by this run.
    pub downloaded: u64,
    /// Bytes sent by this run.
    pub uploaded: u64,
    /// Bytes received in vain by this run.
    pub wasted: u64,
    /// Bytes a second.
    pub download_rate: u64,
    /// Bytes a second.
    pub upload_rate: u64,
    /// Connections of all transfers.
    pub peers_connected: u32,
    /// Addresses known to all transfers.
    pub peers_known: u32,
    /// Nodes in the DHT's routing table; `None`: it is off.
    pub dht_nodes: Option<u32>,
    /// Limits of the whole node.
    pub limits: Limits,
}

/// How many transfers are in a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StateCount {
    /// The state.
    pub state: State,
    /// How many.
    pub count: u32,
}
