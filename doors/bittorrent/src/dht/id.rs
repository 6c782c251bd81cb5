//! Node ids: 160 bits, compared by XOR (BEP 5), and bound to the node's address (BEP 42).

use std::fmt;
use std::net::IpAddr;

use rand::Rng;

use crate::address::{Reach, reach};

/// The id of a node, or a swarm's hash as a place in the same space.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct NodeId(pub(super) [u8; 20]);

impl NodeId {
    pub(super) fn random(random: &mut impl Rng) -> Self {
        let mut id = [0; 20];
        random.fill_bytes(&mut id);
        Self(id)
    }

    /// A random id that `ip` may have (BEP 42).
    pub(super) fn for_ip(ip: IpAddr, random: &mut impl Rng) -> Self {
        let mut id = Self::random(random);
        let [a, b, c] = prefix(ip, id.0[19]);
        id.0[0] = a;
        id.0[1] = b;
        id.0[2] = c & 0xf8 | id.0[2] & 0x07;
        id
    }

    /// Whether a node at `ip` may have this id. On local networks, any node may have any.
    pub(super) fn fits(&self, ip: IpAddr) -> bool {
        let [a, b, c] = prefix(ip, self.0[19]);
        reach(ip) != Reach::Public || (self.0[0] == a && self.0[1] == b && self.0[2] & 0xf8 == c & 0xf8)
    }

    /// How far apart two ids are.
    pub(super) fn distance(&self, other: &Self) -> [u8; 20] {
        std::array::from_fn(|at| self.0[at] ^ other.0[at])
    }

    /// How many bits two ids have in common at the front; 160 when they are equal.
    pub(super) fn common_bits(&self, other: &Self) -> usize {
        let distance = self.distance(other);
        let zeros = distance.iter().position(|byte| *byte != 0).unwrap_or(20);
        zeros * 8 + distance.get(zeros).map_or(0, |byte| byte.leading_zeros() as usize)
    }

    /// A random id that has exactly `bits` (below 160) in common with this one.
    pub(super) fn at_distance(&self, bits: usize, random: &mut impl Rng) -> Self {
        let noise = Self::random(random);
        let mut id = *self;
        for (at, (byte, noise)) in id.0.iter_mut().zip(noise.0).enumerate() {
            let kept = bits.saturating_sub(at * 8).min(8);
            let mask = 0xff_u8.checked_shr(kept as u32).unwrap_or(0);
            *byte = *byte & !mask | noise & mask;
        }
        if let (Some(byte), Some(own)) = (id.0.get_mut(bits / 8), self.0.get(bits / 8)) {
            let bit = 0x80 >> (bits % 8);
            *byte = *byte & !bit | !own & bit;
        }
        id
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

/// The first three bytes that BEP 42 prescribes, of which 21 bits count.
fn prefix(ip: IpAddr, random: u8) -> [u8; 3] {
    let random = (random & 7) << 5;
    let crc = match ip {
        IpAddr::V4(ip) => {
            let mut masked: [u8; 4] = mask(ip.octets(), [0x03, 0x0f, 0x3f, 0xff]);
            masked[0] |= random;
            crc32c(&masked)
        }
        IpAddr::V6(ip) => {
            let [a, b, c, d, e, f, g, h, ..] = ip.octets();
            let mut masked = mask([a, b, c, d, e, f, g, h], [0x01, 0x03, 0x07, 0x0f, 0x1f, 0x3f, 0x7f, 0xff]);
            masked[0] |= random;
            crc32c(&masked)
        }
    };
    let [a, b, c, _] = crc.to_be_bytes();
    [a, b, c]
}

fn mask<const N: usize>(bytes: [u8; N], mask: [u8; N]) -> [u8; N] {
    std::array::from_fn(|at| bytes[at] & mask[at])
}

/// CRC-32C (Castagnoli), bit by bit: it is taken of eight bytes now and then.
fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    fn id(hex: &str) -> NodeId {
        NodeId(data_encoding::HEXLOWER.decode(hex.as_bytes()).unwrap().try_into().unwrap())
    }

    /// The test vectors of BEP 42.
    #[test]
    fn ids_fit_their_address() {
        for (ip, hex) in [
            ("124.31.75.21", "5fbfbff10c5d6a4ec8a88e4c6ab4c28b95eee401"),
            ("21.75.31.124", "5a3ce9c14e7a08645677bbd1cfe7d8f956d53256"),
            ("65.23.51.170", "a5d43220bc8f112a3d426c84764f8c2a1150e616"),
            ("84.124.73.14", "1b0321dd1bb1fe518101ceef99462b947a01ff41"),
            ("43.213.53.83", "e56f6cbf5b7c4be0237986d5243b87aa6d51305a"),
        ] {
            assert!(id(hex).fits(ip.parse().unwrap()), "{ip}");
            assert!(!id(hex).fits("8.8.8.8".parse().unwrap()));
            assert!(id(hex).fits("192.168.0.1".parse().unwrap()), "local networks are free");
        }
    }

    #[test]
    fn common_bits_are_counted() {
        let one = NodeId([0; 20]);
        assert_eq!(one.common_bits(&one), 160);
        assert_eq!(one.common_bits(&id("8000000000000000000000000000000000000000")), 0);
        assert_eq!(one.common_bits(&id("0000800000000000000000000000000000000000")), 16);
        assert_eq!(one.common_bits(&id("0000000000000000000000000000000000000001")), 159);
    }

    proptest! {
        #[test]
        fn made_ids_fit(seed in any::<u64>(), v4 in any::<u32>(), v6 in any::<u128>()) {
            let mut random = StdRng::seed_from_u64(seed);
            for ip in [IpAddr::V4(v4.into()), IpAddr::V6(v6.into())] {
                prop_assert!(NodeId::for_ip(ip, &mut random).fits(ip));
            }
        }

        #[test]
        fn ids_at_a_distance_have_it(seed in any::<u64>(), own in any::<[u8; 20]>(), bits in 0_usize..160) {
            let other = NodeId(own).at_distance(bits, &mut StdRng::seed_from_u64(seed));
            prop_assert_eq!(NodeId(own).common_bits(&other), bits);
        }
    }
}
