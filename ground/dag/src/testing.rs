//! Content that tests of other programs use too, and a place for blocks.

use std::collections::HashMap;

use chacha20::ChaCha20;
use chacha20::cipher::{KeyIvInit, StreamCipher};
use cid::Cid;
use sha2::{Digest, Sha256};

use crate::file::{Built, Sink};
use crate::pb::{Link, Node};
use crate::unixfs::Data;
use crate::{Codec, Profile, file, sha2_256};

/// Blocks by their names. Taking one in checks that it has that name.
#[derive(Debug, Default)]
pub(crate) struct Blocks(pub(crate) HashMap<Cid, Vec<u8>>);

impl Blocks {
    pub(crate) fn put(&mut self, cid: Cid, block: Vec<u8>) {
        assert_eq!(crate::verify(&cid, &block), Ok(()));
        self.0.insert(cid, block);
    }

    /// Builds a file, leaves and all.
    pub(crate) fn file(&mut self, profile: &Profile, bytes: &[u8]) -> Built {
        let mut leaves = Vec::new();
        for chunk in chunks(profile, bytes) {
            let frame = profile.leaf_frame(chunk.len().try_into().unwrap());
            let block = [&frame.prefix, chunk, &frame.suffix].concat();
            let digest = Sha256::digest(&block).into();
            self.put(profile.leaf_cid(&digest), block);
            leaves.push(digest);
        }
        file::build(profile, bytes.len() as u64, &leaves, &mut |cid, block| self.put(cid, block))
    }
}

/// The chunks of a file; one of an empty one.
fn chunks<'a>(profile: &Profile, bytes: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let size = profile.chunk_size() as usize;
    bytes.chunks(size).chain(bytes.is_empty().then_some(bytes))
}

/// Builds a file of which only the digests of leaves are kept; `fill` gives its bytes, one buffer after the other.
pub(crate) fn hash_file(
    profile: &Profile,
    length: u64,
    mut fill: impl FnMut(&mut [u8]),
    sink: Sink<'_>,
) -> Built {
    let chunk = u64::from(profile.chunk_size());
    let mut buffer = vec![0; profile.chunk_size() as usize];
    let leaves: Vec<_> = (0..profile.leaf_count(length))
        .map(|at| {
            let size = (length - at * chunk).min(chunk);
            let bytes = &mut buffer[..size.try_into().unwrap()];
            fill(bytes);
            let frame = profile.leaf_frame(size.try_into().unwrap());
            let hash =
                Sha256::new().chain_update(&frame.prefix).chain_update(&*bytes).chain_update(&frame.suffix);
            hash.finalize().into()
        })
        .collect();
    file::build(profile, length, &leaves, sink)
}

/// Bytes that kubo's and js-ipfs-unixfs's tests make from a seed: a key stream of ChaCha20 whose key is the seed's SHA2-256.
pub(crate) fn key_stream(seed: &str) -> impl FnMut(&mut [u8]) {
    let mut cipher = ChaCha20::new(&Sha256::digest(seed), &[0; 12].into());
    move |bytes| {
        bytes.fill(0);
        cipher.apply_keystream(bytes);
    }
}

/// Names that the same tests make: `count` of a length, but for the last.
pub(crate) fn key_stream_names(seed: &str, count: usize, length: usize, last: usize) -> Vec<String> {
    const ALPHABET: &[u8] = b"abcdefghijklmnopqrstuvwxyz01234567890-_";
    let mut stream = key_stream(seed);
    let mut name = |length| {
        let mut bytes = vec![0; length];
        stream(&mut bytes);
        bytes.iter().map(|&byte| char::from(ALPHABET[usize::from(byte) % ALPHABET.len()])).collect()
    };
    let mut names: Vec<_> = (1..count).map(|_| name(length)).collect();
    names.push(name(last));
    names
}

impl Blocks {
    /// A node as nobody should write one.
    pub(crate) fn node(&mut self, data: &Data<'_>, links: &[(&str, Cid)]) -> Cid {
        let links = links.iter().map(|&(name, cid)| Link { cid, name: Some(name.as_bytes()), tsize: None });
        let data = data.encode();
        let node = Node { links: links.collect(), data: Some(&data) };
        let block = node.encode();
        let cid = sha2_256(Codec::DagPb, &block);
        self.put(cid, block);
        cid
    }

    /// A raw block.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> Cid {
        let cid = sha2_256(Codec::Raw, bytes);
        self.put(cid, bytes.to_vec());
        cid
    }
}
