//! Canonical peer priority (BEP 40): a number that both ends of a possible connection compute alike and nobody can
//! choose, so that a swarm's connections are spread evenly and an attacker cannot fill them from one network.

use std::net::{IpAddr, SocketAddr};

/// The priority of the connection between two listeners; the higher, the more it is to be kept.
pub fn canonical_priority(one: SocketAddr, other: SocketAddr) -> u32 {
    match (one.ip().to_canonical(), other.ip().to_canonical()) {
        (a, b) if a == b => of(&one.port().to_be_bytes(), &other.port().to_be_bytes()),
        (IpAddr::V4(a), IpAddr::V4(b)) => masked(&a.octets(), &b.octets(), 2),
        (IpAddr::V6(a), IpAddr::V6(b)) => masked(&a.octets(), &b.octets(), 6),
        // Never connected to each other in earnest: only the order matters.
        _ => 0,
    }
}

/// The first `base` octets count in full, of the rest every second bit (0x55); between neighbours that share at least as
/// many octets, one octet more than they share counts in full.
fn masked<const N: usize>(one: &[u8; N], other: &[u8; N], base: usize) -> u32 {
    let shared = one.iter().zip(other).take_while(|(a, b)| a == b).count();
    let whole = if shared < base { base } else { shared + 1 };
    let mask = |octets: &[u8; N]| {
        let mut octets = *octets;
        octets.iter_mut().skip(whole).for_each(|octet| *octet &= 0x55);
        octets
    };
    of(&mask(one), &mask(other))
}

/// The checksum of both, the smaller first.
fn of(one: &[u8], other: &[u8]) -> u32 {
    let (first, second) = if one <= other { (one, other) } else { (other, one) };
    !first
        .iter()
        .chain(second)
        .fold(!0, |crc: u32, &octet| (crc >> 8) ^ CRC32C[usize::from((crc as u8) ^ octet)])
}

/// CRC-32C (Castagnoli), reflected.
const CRC32C: [u32; 256] = {
    let mut table = [0; 256];
    let mut at = 0;
    while at < 256 {
        let mut crc = at as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 };
            bit += 1;
        }
        table[at] = crc;
        at += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    fn priority(one: &str, other: &str) -> u32 {
        canonical_priority(one.parse().unwrap(), other.parse().unwrap())
    }

    /// The examples of BEP 40.
    #[test]
    fn examples_of_the_specification() {
        assert_eq!(priority("123.213.32.10:0", "98.76.54.32:0"), 0xec2d_7224);
        assert_eq!(priority("123.213.32.10:0", "123.213.32.234:0"), 0x9956_8189);
    }

    #[test]
    fn both_ends_agree() {
        for (one, other) in [
            ("1.2.3.4:5", "9.8.7.6:5"),
            ("1.2.3.4:5", "1.2.7.6:5"),
            ("1.2.3.4:5", "1.2.3.4:6"),
            ("[2001:db8::1]:5", "[2001:db9::2]:6"),
            ("[2001:db8::1]:5", "[2001:db8::2]:6"),
        ] {
            assert_eq!(priority(one, other), priority(other, one));
        }
    }

    #[test]
    fn one_host_cannot_choose_its_priority_by_its_low_bits() {
        assert_eq!(priority("10.1.0.0:1", "99.2.0.0:1"), priority("10.1.0.0:1", "99.2.170.170:9"));
        assert_ne!(priority("10.1.0.0:1", "99.2.0.0:1"), priority("10.1.0.0:1", "99.3.0.0:1"));
    }
}
