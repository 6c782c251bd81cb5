//! Who sent the bad block.
//!
//! The core sees no data, only who sent which block of a piece that proved corrupt:
//!
//! - Blocks proven bad one by one (a hash tree: `inquiry`) convict their senders.
//! - One sender for the whole piece convicts it.
//! - Several senders: none is convicted, all are on *parole*. From then on a suspect fetches pieces alone, so that the next
//!   verdict on a piece of its own either clears or convicts it; and the piece itself is fetched anew from a single peer.
//!
//! So nobody is ever banned for what another sent, and one who keeps sending bad blocks meets a piece of its own soon.
//! When one of the senders was convicted in the meantime, the others are not suspected for the same piece.
//!
//! Hosts are remembered, not connections: leaving and coming back clears nobody.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};

use peerage_content::PieceIndex;

use super::PeerKey;

/// Peers that left and are remembered, because a piece they took part in may prove corrupt yet.
const DEPARTED_MAX: usize = 256;
/// Suspects remembered.
const SUSPECTS_MAX: usize = 1_024;
/// A piece that lost its lone sender this often is shared again, among those who are not suspected.
const DROPPED_MAX: u8 = 3;

#[derive(Debug, Default)]
pub(super) struct Blame {
    /// Pieces that were corrupt, and how often since then a lone sender was lost.
    refetch: BTreeMap<PieceIndex, u8>,
    suspects: BTreeSet<IpAddr>,
    convicts: BTreeSet<PeerKey>,
    departed: VecDeque<(PeerKey, SocketAddr)>,
}

/// What follows from a corrupt piece.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Judgement {
    pub(super) ban: Vec<PeerKey>,
    pub(super) suspect: Vec<PeerKey>,
}

impl Blame {
    /// Judges the senders of a corrupt piece; `proven` are the senders of blocks proven bad.
    pub(super) fn judge(
        &mut self,
        piece: PieceIndex,
        senders: Vec<PeerKey>,
        mut proven: Vec<PeerKey>,
    ) -> Judgement {
        proven.sort_unstable();
        proven.dedup();
        if !proven.is_empty() {
            return Judgement { ban: proven, suspect: Vec::new() };
        }
        self.refetch.entry(piece).or_default();
        if senders.len() == 1 {
            Judgement { ban: senders, suspect: Vec::new() }
        } else if senders.iter().any(|sender| self.convicts.contains(sender)) {
            Judgement::default()
        } else {
            Judgement { ban: Vec::new(), suspect: senders }
        }
    }

    /// Puts a host on parole.
    pub(super) fn suspect(&mut self, host: IpAddr) {
        if self.suspects.len() >= SUSPECTS_MAX {
            self.suspects.pop_first();
        }
        self.suspects.insert(host.to_canonical());
    }

    pub(super) fn is_suspect(&self, host: IpAddr) -> bool {
        !self.suspects.is_empty() && self.suspects.contains(&host.to_canonical())
    }

    /// A piece that the host sent alone is true.
    pub(super) fn clear(&mut self, host: IpAddr) {
        self.suspects.remove(&host.to_canonical());
    }

    pub(super) fn convict(&mut self, peer: PeerKey, host: IpAddr) {
        self.clear(host);
        if self.convicts.len() >= DEPARTED_MAX {
            self.convicts.pop_first();
        }
        self.convicts.insert(peer);
    }

    /// The piece is true: whatever was wrong with it is over.
    pub(super) fn verified(&mut self, piece: PieceIndex) {
        self.refetch.remove(&piece);
    }

    /// Whether the piece must come from one peer alone.
    pub(super) fn wants_alone(&self, piece: PieceIndex) -> bool {
        !self.refetch.is_empty() && self.refetch.get(&piece).is_some_and(|&dropped| dropped < DROPPED_MAX)
    }

    /// The lone sender of a piece was lost.
    pub(super) fn dropped(&mut self, piece: PieceIndex) {
        if let Some(dropped) = self.refetch.get_mut(&piece) {
            *dropped = dropped.saturating_add(1);
        }
    }

    /// Remembers the address of one who sent something and left.
    pub(super) fn departed(&mut self, peer: PeerKey, address: SocketAddr) {
        if self.departed.len() >= DEPARTED_MAX {
            self.departed.pop_front();
        }
        self.departed.push_back((peer, address));
    }

    /// The address of one who left.
    pub(super) fn address_of(&self, peer: PeerKey) -> Option<SocketAddr> {
        self.departed.iter().find(|(departed, _)| *departed == peer).map(|(_, address)| *address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: PeerKey = PeerKey(1);
    const B: PeerKey = PeerKey(2);

    #[test]
    fn a_lone_sender_is_convicted_and_several_are_only_suspected() {
        let mut blame = Blame::default();
        assert_eq!(blame.judge(3, vec![A], vec![]).ban, [A]);
        assert_eq!(blame.judge(4, vec![A, B], vec![]), Judgement { ban: vec![], suspect: vec![A, B] });
        assert!(blame.wants_alone(4) && !blame.wants_alone(5));
        blame.verified(4);
        assert!(!blame.wants_alone(4));
    }

    #[test]
    fn proof_by_block_convicts_only_the_senders_of_bad_blocks() {
        let judgement = Blame::default().judge(0, vec![A, B], vec![B, B]);
        assert_eq!(judgement, Judgement { ban: vec![B], suspect: vec![] });
    }

    #[test]
    fn companions_of_a_convict_are_not_suspected() {
        let mut blame = Blame::default();
        blame.convict(A, "10.0.0.1".parse().unwrap());
        assert_eq!(blame.judge(0, vec![A, B], vec![]), Judgement::default());
    }

    #[test]
    fn parole_survives_a_reconnection_and_ends_with_proof() {
        let host: IpAddr = "10.0.0.1".parse().unwrap();
        let mut blame = Blame::default();
        blame.suspect(host);
        assert!(blame.is_suspect("::ffff:10.0.0.1".parse().unwrap()));
        blame.clear(host);
        assert!(!blame.is_suspect(host));
    }

    #[test]
    fn a_piece_that_keeps_losing_its_lone_sender_is_shared_again() {
        let mut blame = Blame::default();
        blame.judge(0, vec![A, B], vec![]);
        (0..DROPPED_MAX).for_each(|_| blame.dropped(0));
        assert!(!blame.wants_alone(0));
    }
}
