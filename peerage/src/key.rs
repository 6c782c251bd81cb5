//! Numbers under which the data directory keeps things. The next version must find what this one kept: unlike those of the standard
//! library's hasher, they are the same for ever.

use sha2::{Digest, Sha256};

/// A number for `parts`, in this order: the beginning of the SHA-256 of all of them, each behind its length (8 bytes, little endian).
pub fn of(parts: &[&[u8]]) -> u64 {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    let digest: [u8; 32] = hash.finalize().into();
    digest.first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
}

#[cfg(test)]
mod tests {
    use super::of;

    #[test]
    fn a_key_is_the_same_in_every_version() {
        assert_eq!(of(&[b"/srv/films", b"{}"]), 0x598e_6f7c_181d_ba46);
        assert_ne!(of(&[b"ab", b"c"]), of(&[b"a", b"bc"]));
    }
}
