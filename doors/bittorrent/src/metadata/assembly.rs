//! Parts of a metadata that is being put together.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use peerage_swarm::core::PeerKey;
use sha1::Sha1;
use sha2::{Digest, Sha256};

use crate::hash::InfoHashes;
use crate::wire::extended::METADATA_PIECE_LENGTH;

/// What was received of a metadata of one size.
#[derive(Debug, Default)]
pub(super) struct Assembly {
    parts: BTreeMap<u32, Box<[u8]>>,
    /// Bytes of all parts.
    pub(super) buffered: usize,
    /// Whose parts these are.
    pub(super) contributors: BTreeSet<PeerKey>,
}

/// How many pieces a metadata of so many bytes has.
pub(super) fn piece_count(size: u32) -> u32 {
    size.div_ceil(METADATA_PIECE_LENGTH as u32)
}

/// How long a piece must be; 0 when there is no such piece.
pub(super) fn piece_length(size: u32, piece: u32) -> usize {
    let begin = u64::from(piece) * METADATA_PIECE_LENGTH as u64;
    u64::from(size).saturating_sub(begin).min(METADATA_PIECE_LENGTH as u64) as usize
}

impl Assembly {
    pub(super) fn has(&self, piece: u32) -> bool {
        self.parts.contains_key(&piece)
    }

    pub(super) fn insert(&mut self, piece: u32, data: &[u8], from: PeerKey) {
        if self.parts.insert(piece, data.into()).is_none() {
            self.buffered += data.len();
            self.contributors.insert(from);
        }
    }

    pub(super) fn is_complete(&self, size: u32) -> bool {
        self.buffered == size as usize
    }

    /// The whole, if it is what is wanted.
    pub(super) fn verify(&self, wanted: &InfoHashes) -> Option<Bytes> {
        let v1 = wanted.v1.is_none_or(|hash| <[u8; 20]>::from(self.digest::<Sha1>()) == hash);
        let v2 = wanted.v2.is_none_or(|hash| <[u8; 32]>::from(self.digest::<Sha256>()) == hash);
        let named = wanted.v1.is_some() || wanted.v2.is_some();
        (named && v1 && v2).then(|| self.parts.values().flat_map(|part| part.iter().copied()).collect())
    }

    fn digest<D: Digest>(&self) -> sha2::digest::Output<D> {
        let mut digest = D::new();
        for part in self.parts.values() {
            digest.update(part);
        }
        digest.finalize()
    }
}
