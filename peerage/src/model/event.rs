//! What happens, as one JSON object a line: the stream of `--json` and of the API.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{AnyPath, Problem, State, TransferId, TransferView};

/// Something that happened. `docs/json.md` is the reference for programs that read it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// The node accepts connections.
    Listening {
        /// Where.
        #[schema(value_type = Vec<String>)]
        addresses: Vec<SocketAddr>,
    },
    /// A transfer was added, or was there already and is taken up.
    Added {
        /// How it is at that moment.
        transfer: Box<TransferView>,
    },
    /// The torrent is known: hashed, read or fetched. Comes once a transfer, before its first progress beyond metadata.
    Metadata {
        /// How the transfer is at that moment.
        transfer: Box<TransferView>,
    },
    /// A transfer does something else now.
    State {
        /// Which.
        #[schema(value_type = u32)]
        id: TransferId,
        /// What it does.
        state: State,
        /// Why, for `changed` and `error`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        problem: Option<Problem>,
    },
    /// How far a transfer is; about once a second while somebody listens.
    Progress {
        /// How it is.
        transfer: Box<TransferView>,
    },
    /// Everything wanted is verified and lies in its place.
    Complete {
        /// Which.
        #[schema(value_type = u32)]
        id: TransferId,
        /// The file, or the top folder.
        #[schema(value_type = AnyPath)]
        path: AnyPath,
        /// How the transfer is at that moment.
        transfer: Box<TransferView>,
    },
    /// Something to know that stops nothing: a file that is passed over, a port that is taken, a tracker that refuses.
    Warning {
        /// Which transfer, if one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<u32>)]
        id: Option<TransferId>,
        /// What.
        problem: Problem,
    },
    /// The command failed; nothing follows.
    Error {
        /// Why.
        #[serde(flatten)]
        problem: Problem,
    },
    /// A file is served over HTTP on this machine (`get --stream`).
    Stream {
        /// Which transfer.
        #[schema(value_type = u32)]
        id: TransferId,
        /// Which file of it.
        #[schema(value_type = AnyPath)]
        path: AnyPath,
        /// Where a player finds it.
        url: String,
    },
    /// A transfer is no longer known to the node.
    Removed {
        /// Which.
        #[schema(value_type = u32)]
        id: TransferId,
        /// It turned out to be the same content as this one, which stays.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<u32>)]
        same_as: Option<TransferId>,
    },
}

impl Event {
    /// The transfer it is about, if one.
    pub fn transfer(&self) -> Option<TransferId> {
        match self {
            Self::Listening { .. } | Self::Error { .. } => None,
            Self::Added { transfer } | Self::Metadata { transfer } | Self::Progress { transfer } => {
                Some(transfer.id)
            }
            Self::State { id, .. }
            | Self::Complete { id, .. }
            | Self::Stream { id, .. }
            | Self::Removed { id, .. } => Some(*id),
            Self::Warning { id, .. } => *id,
        }
    }
}
