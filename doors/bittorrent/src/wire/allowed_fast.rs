//! The allowed-fast set (BEP 6): pieces that a peer may fetch while it is choked, to have something to trade.
//!
//! Both sides can compute it, so it depends on the peer's address and the swarm alone: a peer cannot get more pieces
//! by connecting again.

use std::net::IpAddr;

use peerage_content::PieceIndex;
use sha1::{Digest, Sha1};

use crate::hash::SwarmHash;

/// How many pieces the specification proposes.
pub const ALLOWED_FAST_COUNT: usize = 10;

/// The pieces that the peer at `address` may fetch while choked: `count` distinct ones, or all if there are fewer, in
/// the specification's order. IPv4 only, as the specification has it: empty for IPv6, and without pieces.
pub fn allowed_fast(address: IpAddr, swarm: SwarmHash, pieces: u32, count: usize) -> Vec<PieceIndex> {
    let IpAddr::V4(address) = address.to_canonical() else { return Vec::new() };
    let count = count.min(pieces as usize);
    let mut set: Vec<PieceIndex> = Vec::with_capacity(count);
    let [a, b, c, _] = address.octets();
    let mut digest = {
        let mut seed = Sha1::new();
        // The last octet is left out: neighbours in one network share a set.
        seed.update([a, b, c, 0]);
        seed.update(swarm.0);
        seed.finalize()
    };
    while set.len() < count {
        for number in digest.as_chunks::<4>().0 {
            let piece = u32::from_be_bytes(*number) % pieces;
            if set.len() < count && !set.contains(&piece) {
                set.push(piece);
            }
        }
        digest = Sha1::digest(digest);
    }
    set
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(address: [u8; 4], pieces: u32, count: usize) -> Vec<u32> {
        allowed_fast(address.into(), SwarmHash([0xaa; 20]), pieces, count)
    }

    /// The two examples that BEP 6 gives.
    #[test]
    fn examples_of_the_specification() {
        let seven = [1059, 431, 808, 1217, 287, 376, 1188];
        assert_eq!(set([80, 4, 4, 200], 1313, 7), seven);
        assert_eq!(set([80, 4, 4, 200], 1313, 9), [1059, 431, 808, 1217, 287, 376, 1188, 353, 508]);
    }

    #[test]
    fn small_contents_are_allowed_whole_and_empty_ones_end() {
        let mut all = set([10, 1, 2, 3], 5, ALLOWED_FAST_COUNT);
        all.sort_unstable();
        assert_eq!(all, [0, 1, 2, 3, 4]);
        assert!(set([10, 1, 2, 3], 0, ALLOWED_FAST_COUNT).is_empty());
    }

    #[test]
    fn mapped_addresses_are_the_same_peer_and_v6_has_no_set() {
        let swarm = SwarmHash([0xaa; 20]);
        let mapped = "::ffff:80.4.4.200".parse().unwrap();
        assert_eq!(allowed_fast(mapped, swarm, 1313, 7), set([80, 4, 4, 200], 1313, 7));
        assert!(allowed_fast("2001:db8::1".parse().unwrap(), swarm, 1313, 7).is_empty());
    }
}
