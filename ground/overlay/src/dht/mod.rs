//! The distributed hash table (Kademlia): who has what, and values under keys, without anybody in the middle.
//!
//! There are two networks with the same rules, as IPFS has them: the public one, and that of the local network, whose peers know each other by private
//! addresses. [`Dht`] is one of them; `queries` runs what the handle asks for on both and gives one answer. What is kept for others lies in the storage
//! (`records`), which bounds it and refuses what nobody could use.
//!
//! Providing again before records expire is up to whoever provides: nothing is announced behind their back.

mod network;
mod queries;
mod records;

use std::fmt;
use std::sync::Arc;

use peerage_identity::PeerId;
use tokio::sync::mpsc;

pub(crate) use self::network::{AddressRule, Dht};
pub(crate) use self::queries::{Ask, Queries};
use crate::address::Address;

/// Keys of the hash table are hashes with a prefix: longer ones are none.
pub(crate) const KEY_LENGTH_MAX: usize = 128;

/// Whether and how to take part in a hash table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DhtMode {
    /// Not at all.
    #[default]
    Off,
    /// Ask, answer nobody.
    Client,
    /// Answer, too: for nodes that others can reach.
    Server,
    /// A server as soon as it is known that others can reach this node, and as long.
    Auto,
}

/// Says which values may stand under the keys of a namespace, such as `ipns`.
pub trait RecordValidator: fmt::Debug + Send + Sync + 'static {
    /// Whether `value` may stand under `key`. It comes from anybody.
    fn is_valid(&self, key: &[u8], value: &[u8]) -> bool;

    /// Whether `new` takes the place of `old`; both are valid.
    fn is_better(&self, key: &[u8], new: &[u8], old: &[u8]) -> bool;
}

/// Which validator judges which namespace. Keys of others are refused.
#[derive(Clone, Debug, Default)]
pub struct Validators(Vec<(String, Arc<dyn RecordValidator>)>);

impl Validators {
    /// Has `validator` judge the keys that begin with `/namespace/`.
    pub fn add(&mut self, namespace: &str, validator: Arc<dyn RecordValidator>) {
        self.0.push((format!("/{namespace}/"), validator));
    }

    fn of(&self, key: &[u8]) -> Option<&dyn RecordValidator> {
        let mut all = self.0.iter();
        all.find(|(prefix, _)| key.starts_with(prefix.as_bytes())).map(|(_, validator)| &**validator)
    }

    fn accept(&self, key: &[u8], value: &[u8]) -> bool {
        self.of(key).is_some_and(|validator| validator.is_valid(key, value))
    }

    fn prefer(&self, key: &[u8], new: &[u8], old: &[u8]) -> bool {
        self.of(key).is_some_and(|validator| validator.is_better(key, new, old))
    }
}

/// A peer, and where it is said to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundPeer {
    /// Who.
    pub id: PeerId,
    /// Where; may be empty when nothing is known.
    pub addresses: Vec<Address>,
}

/// Providers of a key, as they are found; ends when the search does.
#[derive(Debug)]
pub struct Providers(pub(crate) mpsc::Receiver<FoundPeer>);

impl Providers {
    /// The next one.
    pub async fn next(&mut self) -> Option<FoundPeer> {
        self.0.recv().await
    }
}

/// The hash table did not do it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DhtError {
    /// This node takes part in none.
    #[error("this node takes part in no hash table")]
    Off,
    /// Nobody is known who could be asked.
    #[error("no peer of the hash table is known yet")]
    Alone,
    /// Longer than any key.
    #[error("a key has {KEY_LENGTH_MAX} bytes at most")]
    Key,
    /// No validator accepts the value under this key.
    #[error("the value is not valid under this key")]
    Invalid,
    /// Nobody has a value.
    #[error("nobody has a value under this key")]
    NotFound,
    /// Nobody took it.
    #[error("nobody of {asked} peers took it")]
    Refused {
        /// How many were asked.
        asked: usize,
    },
    /// The overlay has ended.
    #[error("the overlay has ended")]
    Ended,
}
