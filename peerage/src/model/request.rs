//! What a user asks for.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use peerage_dag::{Profile, ProfileError};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{AnyPath, Base64};

/// A transfer's number, given when it is added and kept for as long as the node knows it; counts from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
pub struct TransferId(pub u32);

impl fmt::Display for TransferId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How a user names a transfer: its number, or the beginning of one of its info hashes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TransferRef {
    /// Its number.
    Number(TransferId),
    /// Lower-case hex digits that begin its v1 or v2 info hash; at least four.
    Hash(String),
}

/// Text that names no transfer.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is neither a transfer's number nor the beginning of an info hash (4 hex digits or more)")]
pub struct NotATransfer(String);

impl FromStr for TransferRef {
    type Err = NotATransfer;

    /// Up to six decimal digits without a leading zero are a number, anything else is a hash.
    fn from_str(text: &str) -> Result<Self, NotATransfer> {
        if text.len() <= 6
            && text.bytes().all(|byte| byte.is_ascii_digit())
            && !text.starts_with('0')
            && let Ok(number) = text.parse()
        {
            return Ok(Self::Number(TransferId(number)));
        }
        let hex = (4..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if hex { Ok(Self::Hash(text.to_ascii_lowercase())) } else { Err(NotATransfer(text.to_owned())) }
    }
}

impl fmt::Display for TransferRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(id) => id.fmt(f),
            Self::Hash(hash) => hash.fmt(f),
        }
    }
}

/// Something to add to a node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum AddRequest {
    /// Serve what lies on this machine.
    Share(ShareRequest),
    /// Fetch.
    Get(GetRequest),
}

/// What to share, and how to name it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct ShareRequest {
    /// A file or folder, absolute. It stays where it is.
    pub path: AnyPath,
    /// Serve it under this existing .torrent, whose hashes the bytes must match; the authoring options are unused then.
    #[schema(value_type = Option<String>)]
    pub as_torrent: Option<Base64>,
    /// How the torrent is made.
    pub author: AuthorOptions,
    /// How the transfer behaves.
    pub options: TransferOptions,
}

/// How a torrent is made of files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct AuthorOptions {
    /// Which info hashes it gets.
    pub versions: Versions,
    /// The name others see; `None`: the file's.
    pub name: Option<String>,
    /// Bytes in a piece: a power of two from 16 KiB. `None`: chosen by size.
    pub piece_size: Option<u32>,
    /// Peers only from trackers (BEP 27).
    pub private: bool,
    /// Announce URLs, tier by tier (BEP 12).
    pub trackers: Vec<Vec<String>>,
    /// URLs that serve the same bytes (BEP 19).
    pub web_seeds: Vec<String>,
    /// How it is named in IPFS. `None`: as most importers do, and not at all if it is private.
    #[schema(value_type = Option<String>)]
    pub cid_profile: Option<CidProfile>,
}

impl AuthorOptions {
    /// The profile of the CIDs that are wanted, if any are.
    pub(crate) fn profile(&self) -> Option<Profile> {
        match &self.cid_profile {
            Some(CidProfile::None) => None,
            Some(CidProfile::UnixFs(profile)) => Some(profile.clone()),
            None => (!self.private).then(Profile::default),
        }
    }
}

/// How content is named in IPFS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum CidProfile {
    /// Not at all.
    None,
    /// By the CIDs of this profile (IPIP-499).
    UnixFs(Profile),
}

impl fmt::Display for CidProfile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::UnixFs(profile) => profile.fmt(f),
        }
    }
}

impl FromStr for CidProfile {
    type Err = ProfileError;

    fn from_str(text: &str) -> Result<Self, ProfileError> {
        if text == "none" { Ok(Self::None) } else { text.parse().map(Self::UnixFs) }
    }
}

impl From<CidProfile> for String {
    fn from(profile: CidProfile) -> Self {
        profile.to_string()
    }
}

impl TryFrom<String> for CidProfile {
    type Error = ProfileError;

    fn try_from(text: String) -> Result<Self, ProfileError> {
        text.parse()
    }
}

/// Which generation of BitTorrent a torrent speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Versions {
    /// v1 and v2 over the same bytes (BEP 47, 52).
    #[default]
    Hybrid,
    /// v1 alone (BEP 3).
    V1,
    /// v2 alone (BEP 52).
    V2,
}

/// What to fetch, and where to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct GetRequest {
    /// What.
    pub link: Link,
    /// The folder that receives the content, absolute; created when it is missing.
    pub folder: AnyPath,
    /// Only files that match one of these globs; empty: all. Matched against the path below the content's top folder, and against the bare file name.
    #[serde(default)]
    pub only: Vec<String>,
    /// Priorities of files that match, later rules over earlier ones and over `only`.
    #[serde(default)]
    pub priorities: Vec<PriorityRule>,
    /// Take the space of files up front.
    #[serde(default)]
    pub preallocate: bool,
    /// Replace files that lie there and are something else.
    #[serde(default)]
    pub overwrite: bool,
    /// How the transfer behaves.
    #[serde(default)]
    pub options: TransferOptions,
}

/// What is fetched. URLs of .torrent files are resolved before a node sees them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Link {
    /// A magnet link, or a bare info hash in hex or base32.
    Name(String),
    /// The bytes of a .torrent file.
    #[schema(value_type = String)]
    Torrent(Base64),
}

/// How much a file is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FilePriority {
    /// Not at all.
    Skip,
    /// After everything else.
    Low,
    /// The usual.
    #[default]
    Normal,
    /// Before everything else.
    High,
}

/// A glob and the priority of the files that match it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PriorityRule {
    /// As in [`GetRequest::only`].
    pub glob: String,
    /// What they get.
    pub priority: FilePriority,
}

/// How a transfer behaves, shared or fetched.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct TransferOptions {
    /// Add it without starting it.
    pub paused: bool,
    /// Fetch pieces in order.
    pub sequential: bool,
    /// While seeding, reveal pieces one at a time, so that distinct ones spread first (BEP 16).
    pub super_seeding: bool,
    /// Peers named by the user.
    #[schema(value_type = Vec<String>)]
    pub peers: Vec<SocketAddr>,
    /// When to stop serving; `None`: as the node is configured.
    pub goal: Option<SeedGoal>,
    /// Limits of this transfer.
    pub limits: Limits,
}

/// When serving ends, counted from completion; it ends when the first of them is reached. Both `None`: never.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct SeedGoal {
    /// Uploaded bytes as a multiple of the content's size.
    pub ratio: Option<f64>,
    /// Seconds.
    pub seconds: Option<u64>,
}

impl SeedGoal {
    /// Stop as soon as all is verified.
    pub const NOTHING: Self = Self { ratio: None, seconds: Some(0) };
}

/// Upper bounds in bytes a second. `None`: as it is; 0: none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Limits {
    /// Upload.
    pub up: Option<u64>,
    /// Download.
    pub down: Option<u64>,
}

impl Limits {
    /// These, and where they say nothing the `others`.
    #[must_use]
    pub fn over(self, others: Self) -> Self {
        Self { up: self.up.or(others.up), down: self.down.or(others.down) }
    }
}

/// What became of an [`AddRequest`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Added {
    /// The transfer's number.
    #[schema(value_type = u32)]
    pub id: TransferId,
    /// It was there already under that info hash.
    pub existing: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transfer_is_named_by_number_or_hash() {
        assert_eq!("12".parse(), Ok(TransferRef::Number(TransferId(12))));
        assert_eq!("999999".parse(), Ok(TransferRef::Number(TransferId(999_999))));
        assert_eq!("0202".parse(), Ok(TransferRef::Hash("0202".into())));
        assert_eq!("1234567".parse(), Ok(TransferRef::Hash("1234567".into())));
        assert_eq!("ABcd".parse(), Ok(TransferRef::Hash("abcd".into())));
        for text in ["", "abc", "-1", "xyzw", "+5", "holiday", &"a".repeat(65)] {
            assert!(text.parse::<TransferRef>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_request_in_json_leaves_out_what_is_usual() {
        let json = r#"{"kind":"get","link":{"name":"magnet:?xt=urn:btih:00"},"folder":"/tmp"}"#;
        let AddRequest::Get(get) = serde_json::from_str(json).unwrap() else { panic!() };
        assert_eq!(get.link, Link::Name("magnet:?xt=urn:btih:00".into()));
        assert_eq!(get.options, TransferOptions::default());
    }
}
