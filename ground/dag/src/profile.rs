//! How bytes become a tree: the parameters that a CID depends on, and their named sets (IPIP-499).

use std::fmt;
use std::str::FromStr;

use cid::{Cid, Version};

use crate::proto;
use crate::unixfs::Metadata;
use crate::verify::{Codec, from_digest, multihash};

/// All that the CID of a file or directory depends on beside its bytes and names.
///
/// As text: a name, or a name and what differs from it, such as `unixfs-v1-2025,chunk-size=262144,leaves=dag-pb`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Profile {
    cid_version: Version,
    chunk_size: u32,
    width: u32,
    raw_leaves: bool,
    fanout: u32,
    threshold: Threshold,
    threshold_bytes: u32,
}

/// How the size of a directory is measured, before it is found too large for one block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Threshold {
    /// The bytes of its block.
    BlockBytes,
    /// The bytes of its names and CIDs alone, as kubo measured until 2025.
    LinksBytes,
}

/// The bytes around a chunk of a file in its leaf. Both are empty where leaves are raw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeafFrame {
    /// What stands before the chunk.
    pub prefix: Vec<u8>,
    /// What stands behind it.
    pub suffix: Vec<u8>,
}

/// Why a text is no profile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProfileError {
    /// A name that is none.
    #[error("unknown profile {0:?}: there are {V1_2025} and {V0_2015}")]
    UnknownName(String),
    /// A setting that does not exist.
    #[error(
        "unknown setting {0:?}: there are chunk-size, width, leaves, cid-version, fanout, threshold and threshold-bytes"
    )]
    UnknownSetting(String),
    /// A value that a setting cannot have.
    #[error("{setting} cannot be {value:?}: it is {wanted}")]
    Value {
        /// The setting.
        setting: &'static str,
        /// What was given.
        value: String,
        /// What it may be.
        wanted: &'static str,
    },
}

impl Default for Profile {
    fn default() -> Self {
        Self::v1_2025()
    }
}

impl Profile {
    /// `unixfs-v1-2025`: what importers are to agree on.
    pub fn v1_2025() -> Self {
        Self {
            cid_version: Version::V1,
            chunk_size: 1 << 20,
            width: 1024,
            raw_leaves: true,
            fanout: 256,
            threshold: Threshold::BlockBytes,
            threshold_bytes: 256 << 10,
        }
    }

    /// `unixfs-v0-2015`: what kubo did for ten years, with CIDs that begin with `Qm`.
    pub fn v0_2015() -> Self {
        Self {
            cid_version: Version::V0,
            chunk_size: 256 << 10,
            width: 174,
            raw_leaves: false,
            threshold: Threshold::LinksBytes,
            ..Self::v1_2025()
        }
    }

    /// Bytes of a file in one leaf; fewer in the last.
    pub fn chunk_size(&self) -> u32 {
        self.chunk_size
    }

    /// Links of an inner node of a file, at most.
    pub fn width(&self) -> usize {
        self.width as usize
    }

    /// Whether leaves are the bytes of the file and nothing else.
    pub fn raw_leaves(&self) -> bool {
        self.raw_leaves
    }

    /// Buckets of each shard of a sharded directory.
    pub fn fanout(&self) -> u32 {
        self.fanout
    }

    /// How the size of a directory is measured, and above which it is sharded.
    pub fn threshold(&self) -> (Threshold, u64) {
        (self.threshold, u64::from(self.threshold_bytes))
    }

    /// Leaves of a file of so many bytes. An empty file has one, which is empty.
    pub fn leaf_count(&self, length: u64) -> u64 {
        length.div_ceil(u64::from(self.chunk_size)).max(1)
    }

    /// The bytes that stand around a chunk of this length in its leaf, and are hashed with it.
    pub fn leaf_frame(&self, length: u32) -> LeafFrame {
        if self.raw_leaves {
            return LeafFrame { prefix: Vec::new(), suffix: Vec::new() };
        }
        file_frame(length, &Metadata::NONE)
    }

    /// The frame of the only leaf of a file that keeps its mode or time. Such a leaf is never raw, as it must say them.
    pub fn only_leaf_frame(&self, length: u32, metadata: &Metadata) -> LeafFrame {
        if *metadata == Metadata::NONE { self.leaf_frame(length) } else { file_frame(length, metadata) }
    }

    /// Bytes of the leaf of a chunk of this length.
    pub fn leaf_len(&self, length: u32) -> u64 {
        self.leaf_frame(length).leaf_len(length)
    }

    /// The CID of a leaf by its SHA2-256 digest.
    pub fn leaf_cid(&self, digest: &[u8; 32]) -> Cid {
        if self.raw_leaves { from_digest(Codec::Raw, digest) } else { self.node_cid(digest) }
    }

    /// The CID of a dag-pb node by its SHA2-256 digest.
    pub fn node_cid(&self, digest: &[u8; 32]) -> Cid {
        match self.cid_version {
            Version::V0 => {
                Cid::new_v0(multihash(digest)).unwrap_or_else(|_| from_digest(Codec::DagPb, digest))
            }
            Version::V1 => from_digest(Codec::DagPb, digest),
        }
    }
}

impl LeafFrame {
    /// Bytes of the leaf of a chunk of this length.
    pub fn leaf_len(&self, length: u32) -> u64 {
        self.prefix.len() as u64 + u64::from(length) + self.suffix.len() as u64
    }
}

/// A file in one dag-pb node, but for its bytes.
fn file_frame(length: u32, metadata: &Metadata) -> LeafFrame {
    const FILE: u64 = 2;
    let mut head = Vec::new();
    proto::put_number(&mut head, 1, FILE);
    if length > 0 {
        proto::put_bytes_head(&mut head, 2, length as usize);
    }
    let mut suffix = Vec::new();
    proto::put_number(&mut suffix, 3, u64::from(length));
    metadata.put(&mut suffix);

    let mut prefix = Vec::new();
    proto::put_bytes_head(&mut prefix, 1, head.len() + length as usize + suffix.len());
    prefix.extend_from_slice(&head);
    LeafFrame { prefix, suffix }
}

const V1_2025: &str = "unixfs-v1-2025";
const V0_2015: &str = "unixfs-v0-2015";

/// A leaf of 2 MiB with its frame would not pass through bitswap.
const CHUNK_SIZE_MAX: u32 = (2 << 20) - 256;
/// With more links, a node would not either.
const WIDTH_MAX: u32 = 1 << 14;
/// More buckets are refused by all readers, since they would be a way to exhaust memory.
pub(crate) const FANOUT_MAX: u32 = 1024;
/// A block of a directory has to pass through bitswap.
const THRESHOLD_MAX: u32 = 1 << 20;

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, base) = match self.cid_version {
            Version::V1 => (V1_2025, Self::v1_2025()),
            Version::V0 => (V0_2015, Self::v0_2015()),
        };
        f.write_str(name)?;
        for setting in &SETTINGS {
            let value = (setting.get)(self);
            if value != (setting.get)(&base) {
                write!(f, ",{}={value}", setting.name)?;
            }
        }
        Ok(())
    }
}

impl FromStr for Profile {
    type Err = ProfileError;

    /// A name and settings with commas between them; settings alone are upon the default.
    fn from_str(text: &str) -> Result<Self, ProfileError> {
        let mut profile = Self::default();
        for (at, part) in text.split(',').map(str::trim).enumerate() {
            match part.split_once('=') {
                Some((name, value)) => profile.set(name.trim(), value.trim())?,
                None if at == 0 && part == V1_2025 => {}
                None if at == 0 && part == V0_2015 => profile = Self::v0_2015(),
                None => return Err(ProfileError::UnknownName(part.to_owned())),
            }
        }
        Ok(profile)
    }
}

impl Profile {
    fn set(&mut self, name: &str, value: &str) -> Result<(), ProfileError> {
        let Some(setting) = SETTINGS.iter().find(|setting| setting.name == name) else {
            return Err(ProfileError::UnknownSetting(name.to_owned()));
        };
        let wrong =
            || ProfileError::Value { setting: setting.name, value: value.to_owned(), wanted: setting.wanted };
        (setting.set)(self, value).ok_or_else(wrong)
    }
}

/// A parameter by its name: how it is read and shown.
struct Setting {
    name: &'static str,
    wanted: &'static str,
    get: fn(&Profile) -> String,
    set: fn(&mut Profile, &str) -> Option<()>,
}

static SETTINGS: [Setting; 7] = [
    Setting {
        name: "chunk-size",
        wanted: "a number of bytes from 1 to 2096896",
        get: |profile| profile.chunk_size.to_string(),
        set: |profile, value| assign(&mut profile.chunk_size, number(value, 1..=CHUNK_SIZE_MAX)),
    },
    Setting {
        name: "width",
        wanted: "a number from 2 to 16384",
        get: |profile| profile.width.to_string(),
        set: |profile, value| assign(&mut profile.width, number(value, 2..=WIDTH_MAX)),
    },
    Setting {
        name: "leaves",
        wanted: "raw or dag-pb",
        get: |profile| if profile.raw_leaves { "raw" } else { "dag-pb" }.to_owned(),
        set: |profile, value| {
            assign(&mut profile.raw_leaves, one_of(value, [("raw", true), ("dag-pb", false)]))
        },
    },
    Setting {
        name: "cid-version",
        wanted: "0 or 1",
        get: |profile| u64::from(profile.cid_version).to_string(),
        set: |profile, value| {
            assign(&mut profile.cid_version, one_of(value, [("0", Version::V0), ("1", Version::V1)]))
        },
    },
    Setting {
        name: "fanout",
        wanted: "a power of two from 8 to 1024",
        get: |profile| profile.fanout.to_string(),
        set: |profile, value| {
            let fanout = number(value, 8..=FANOUT_MAX).filter(|fanout| fanout.is_power_of_two());
            assign(&mut profile.fanout, fanout)
        },
    },
    Setting {
        name: "threshold",
        wanted: "block-bytes or links-bytes",
        get: |profile| match profile.threshold {
            Threshold::BlockBytes => "block-bytes".to_owned(),
            Threshold::LinksBytes => "links-bytes".to_owned(),
        },
        set: |profile, value| {
            let known = [("block-bytes", Threshold::BlockBytes), ("links-bytes", Threshold::LinksBytes)];
            assign(&mut profile.threshold, one_of(value, known))
        },
    },
    Setting {
        name: "threshold-bytes",
        wanted: "a number of bytes up to 1048576",
        get: |profile| profile.threshold_bytes.to_string(),
        set: |profile, value| assign(&mut profile.threshold_bytes, number(value, 0..=THRESHOLD_MAX)),
    },
];

fn assign<T>(slot: &mut T, value: Option<T>) -> Option<()> {
    *slot = value?;
    Some(())
}

fn number(value: &str, range: std::ops::RangeInclusive<u32>) -> Option<u32> {
    value.parse().ok().filter(|number| range.contains(number))
}

fn one_of<T: Copy>(value: &str, known: [(&str, T); 2]) -> Option<T> {
    known.into_iter().find(|(name, _)| *name == value).map(|(_, known)| known)
}

#[cfg(test)]
mod tests;
