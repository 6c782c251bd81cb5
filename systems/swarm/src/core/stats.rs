//! Numbers for people and metrics.

use std::time::Instant;

use super::peer::{Peer, SHOWN_SECONDS};
use super::{Found, PeerStats, Stats, Swarm};

impl Swarm {
    /// Numbers for people and metrics.
    pub fn stats(&self, now: Instant) -> Stats {
        Stats {
            downloaded: self.downloaded,
            uploaded: self.uploaded,
            wasted: self.wasted,
            download_rate: self.rate_down.over(now, SHOWN_SECONDS),
            upload_rate: self.rate_up.over(now, SHOWN_SECONDS),
            peers_connected: self.peers.len(),
            seeds_connected: self.peers.values().filter(|peer| peer.is_seed()).count(),
            peers_known: self.book.len(),
            hosts_banned: self.book.banned(),
            peers_unchoked: self.peers.values().filter(|peer| !peer.choked).count(),
            left: self.left,
            availability: self.distributed_copies(),
        }
    }

    /// One line per connected peer.
    pub fn peers(&self, now: Instant) -> Vec<PeerStats> {
        let one = |peer: &Peer| {
            let known = [Some(peer.caps.address), peer.caps.listen_address].into_iter().flatten();
            let found = known.map(|address| self.book.found(address).0).fold(0, |all, found| all | found);
            PeerStats { found: Found(found), ..peer.stats(now, self.layout.piece_count()) }
        };
        self.peers.values().map(one).collect()
    }

    /// Block bytes received and sent so far.
    pub fn totals(&self) -> (u64, u64) {
        (self.downloaded, self.uploaded)
    }

    /// Whole copies of what is wanted among the connected peers: the rarest piece's, and the share of pieces with more.
    fn distributed_copies(&self) -> f32 {
        let copies = &self.picker.index.copies;
        let wishes = &self.picker.wishes;
        let pieces = self.layout.piece_count();
        if wishes.are_plain() {
            let (rarest, above) = copies.rarest();
            return if pieces == 0 { 0.0 } else { rarest as f32 + above as f32 / pieces as f32 };
        }
        let mut rarest = u32::MAX;
        let (mut wanted, mut above) = (0_u32, 0_u32);
        for piece in (0..pieces).filter(|&piece| wishes.is_wanted(piece)) {
            let count = copies.total(piece);
            if count < rarest {
                rarest = count;
                above = wanted;
            } else if count > rarest {
                above += 1;
            }
            wanted += 1;
        }
        if wanted == 0 { 0.0 } else { rarest as f32 + above as f32 / wanted as f32 }
    }
}
