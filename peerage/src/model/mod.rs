//! What the program says about itself: the types of `--json`, of the daemon's API and of the progress display.
//!
//! They are plain data: no handles, no locks, no behaviour beyond reading and writing themselves. The node fills them
//! in, the command line and the API show them. Rates are bytes a second, sizes are bytes, times are seconds since
//! 1970 or, where the name says so, seconds to go. A field that is not known yet is `null`.

mod event;
mod path;
mod request;
mod transfer;

pub use event::*;
pub use path::*;
pub use request::*;
pub use transfer::*;

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A download of 3 GiB that does nothing.
    pub(crate) fn a_transfer() -> TransferView {
        TransferView {
            id: TransferId(1),
            info_hash_v1: Some("ab".repeat(20)),
            info_hash_v2: None,
            cid: None,
            ipfs: None,
            gateway: None,
            name: "holiday".into(),
            role: Role::Get,
            state: State::Paused,
            problem: None,
            path: "/home/ada/holiday".into(),
            size: Some(3 << 30),
            wanted: Some(3 << 30),
            verified: 0,
            hashed: 0,
            files: Some(2),
            piece_length: Some(1 << 20),
            private: false,
            sequential: false,
            downloaded: 0,
            uploaded: 0,
            wasted: 0,
            download_rate: 0,
            upload_rate: 0,
            seconds_left: None,
            peers_connected: 0,
            seeds_connected: 0,
            peers_known: 0,
            hosts_banned: 0,
            availability: 0.0,
            sources: Sources::default(),
            limits: Limits::default(),
            goal: SeedGoal::default(),
            check: None,
            added: 1_700_000_000,
            finished: None,
            magnet: None,
        }
    }
}
