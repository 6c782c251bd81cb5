//! Sharded directories: a hash trie over names, whose nodes are blocks.
//!
//! The hash of a name, 64 bits of Murmur3, is cut from its highest bit on into numbers of buckets, one a level. A bucket holds one entry, or
//! a shard of the next level. Which it is depends on the names alone, not on the order in which they came.

use std::io::Cursor;

use crate::directory::{BuildError, Entry, shown};
use crate::file::{Built, Sink, emit};
use crate::pb::NodeWriter;
use crate::profile::{FANOUT_MAX, Profile};
use crate::unixfs::{Data, Kind, Metadata};

/// The multicodec number of the only hash function that sharded directories use.
pub(crate) const MURMUR3_X64_64: u64 = 0x22;

/// The hash of a name.
pub(crate) fn hash(name: &[u8]) -> u64 {
    // Reading from memory does not fail. The lower half is the first of the two words that the function gives.
    murmur3::murmur3_x64_128(&mut Cursor::new(name), 0).unwrap_or_default() as u64
}

/// How many buckets a shard has, and what follows from that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fanout {
    bits: u32,
}

impl Fanout {
    /// A power of two from 8 on that does not exhaust memory.
    pub(crate) fn new(buckets: u64) -> Option<Self> {
        let valid = buckets.is_power_of_two() && (8..=u64::from(FANOUT_MAX)).contains(&buckets);
        valid.then(|| Self { bits: buckets.trailing_zeros() })
    }

    pub(crate) fn buckets(self) -> usize {
        1 << self.bits
    }

    /// Bits of the hash that a level takes.
    pub(crate) fn bits(self) -> u32 {
        self.bits
    }

    /// Levels that the bits of a hash suffice for.
    pub(crate) fn levels(self) -> u32 {
        u64::BITS / self.bits
    }

    /// Hexadecimal digits that a bucket's number takes in the names of links.
    pub(crate) fn digits(self) -> usize {
        self.bits.div_ceil(4) as usize
    }

    /// The bucket of a hash at this level, unless no bits are left.
    pub(crate) fn bucket(self, hash: u64, level: u32) -> Option<usize> {
        let shift = u64::BITS.checked_sub(self.bits * (level + 1))?;
        Some((hash >> shift) as usize & (self.buckets() - 1))
    }

    /// A bucket's number as it begins the names of links.
    pub(crate) fn prefix(self, bucket: usize) -> String {
        format!("{bucket:0width$X}", width = self.digits())
    }

    /// Reads the prefix of a link's name: the bucket, and the name behind it (none for a shard of the next level).
    pub(crate) fn split(self, name: &[u8]) -> Option<(usize, &[u8])> {
        let (prefix, name) = name.split_at_checked(self.digits())?;
        let text = str::from_utf8(prefix).ok()?;
        let bucket = usize::from_str_radix(text, 16).ok()?;
        (bucket < self.buckets() && self.prefix(bucket) == text).then_some((bucket, name))
    }
}

/// Builds the shards of a directory whose names differ.
pub(crate) fn build(
    profile: &Profile,
    entries: &[Entry],
    metadata: &Metadata,
    sink: Sink<'_>,
) -> Result<Built, BuildError> {
    let Some(fanout) = Fanout::new(u64::from(profile.fanout())) else {
        unreachable!("a profile has no other");
    };
    let mut hashed: Vec<_> = entries.iter().map(|entry| (hash(entry.name()), entry)).collect();
    hashed.sort_unstable_by_key(|&(hash, _)| hash);
    Builder { profile, fanout, sink }.shard(&hashed, 0, metadata)
}

struct Builder<'a> {
    profile: &'a Profile,
    fanout: Fanout,
    sink: Sink<'a>,
}

impl Builder<'_> {
    /// The shard of these entries, which came into the same bucket of all levels above. They are sorted by hash, so those of one bucket
    /// stand together.
    fn shard(
        &mut self,
        entries: &[(u64, &Entry)],
        level: u32,
        metadata: &Metadata,
    ) -> Result<Built, BuildError> {
        let fanout = self.fanout;
        let mut writer = NodeWriter::default();
        let mut taken = Bitfield::new(fanout);
        for group in entries.chunk_by(|a, b| fanout.bucket(a.0, level) == fanout.bucket(b.0, level)) {
            let Some(bucket) = fanout.bucket(group[0].0, level) else {
                return Err(BuildError::Collision(shown(group[0].1.name()), shown(group[1].1.name())));
            };
            taken.set(bucket);
            let prefix = fanout.prefix(bucket);
            if let [(_, entry)] = group {
                writer.link(entry.cid_bytes(), [prefix.as_bytes(), entry.name()], entry.tsize());
            } else {
                let shard = self.shard(group, level + 1, &Metadata::NONE)?;
                writer.link(&shard.cid.to_bytes(), [prefix.as_bytes()], shard.tsize);
            }
        }
        let data = Data {
            data: Some(taken.bytes()),
            hash_type: Some(MURMUR3_X64_64),
            fanout: Some(fanout.buckets() as u64),
            metadata: *metadata,
            ..Data::new(Kind::HamtShard)
        };
        Ok(emit(self.profile, writer, &data, self.sink))
    }
}

/// Which buckets of a shard are taken, as its data says: bytes from the highest bucket down, without leading zeros.
struct Bitfield(Vec<u8>);

impl Bitfield {
    fn new(fanout: Fanout) -> Self {
        Self(vec![0; fanout.buckets() / 8])
    }

    fn set(&mut self, bucket: usize) {
        let last = self.0.len() - 1;
        self.0[last - bucket / 8] |= 1 << (bucket % 8);
    }

    fn bytes(&self) -> &[u8] {
        let zeros = self.0.iter().take_while(|&&byte| byte == 0).count();
        &self.0[zeros..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_comes_into_the_buckets_of_the_specifications_example() {
        let fanout = Fanout::new(256).unwrap();
        assert_eq!(fanout.bucket(hash(b"470.txt"), 0), Some(0x00));
        assert_eq!(fanout.bucket(hash(b"470.txt"), 1), Some(0x6e));
        assert_eq!(fanout.bucket(hash(b"742.txt"), 1), Some(0xff));
    }

    #[test]
    fn the_bits_of_a_hash_end() {
        let fanout = Fanout::new(1024).unwrap();
        assert_eq!(fanout.bucket(u64::MAX, 5), Some(1023));
        assert_eq!(fanout.bucket(u64::MAX, 6), None);
        assert_eq!(Fanout::new(256).unwrap().bucket(0xab, 7), Some(0xab));
    }

    #[test]
    fn a_prefix_has_one_form() {
        let fanout = Fanout::new(256).unwrap();
        assert_eq!(fanout.split(b"0Afile"), Some((10, &b"file"[..])));
        assert_eq!(fanout.split(b"FF"), Some((255, &b""[..])));
        for name in [&b"0afile"[..], b"+Afile", b"A", b"", b"G0x", b"\xc3\xa9x"] {
            assert_eq!(fanout.split(name), None, "{name:?}");
        }
        assert_eq!(Fanout::new(8).unwrap().split(b"8x"), None);
        assert_eq!(Fanout::new(1024).unwrap().split(b"3FFx"), Some((1023, &b"x"[..])));
    }

    #[test]
    fn fanouts_that_readers_refuse_do_not_exist() {
        for buckets in [0, 1, 4, 7, 24, 2048, u64::MAX] {
            assert_eq!(Fanout::new(buckets), None);
        }
    }

    #[test]
    fn the_bitfield_ends_with_the_lowest_buckets() {
        let mut field = Bitfield::new(Fanout::new(256).unwrap());
        field.set(0);
        field.set(9);
        assert_eq!(field.bytes(), [2, 1]);
        field.set(255);
        assert_eq!((field.bytes().len(), field.bytes()[0]), (32, 0x80));
    }
}
