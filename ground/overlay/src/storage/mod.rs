//! What the node remembers for others and about them, in one embedded table file: provider records, values, and addresses of peers.
//!
//! Reads happen where they are asked for, on the newest committed state. Writes go through a bounded queue to one thread, which commits them
//! in batches: a record is visible a moment after it was given. A batch is on disk within [`DURABLE_EVERY`]; what a crash takes was told by
//! the network and is told again. Whatever has expired is not read, and is removed by and by.

mod codec;
#[cfg(test)]
mod tests;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use redb::backends::InMemoryBackend;
use redb::{Database, ReadableDatabase, TableDefinition};

pub(crate) use self::codec::{Provider, Value};
use self::writer::Writer;

/// A crash loses what is younger.
pub(crate) const DURABLE_EVERY: Duration = Duration::from_secs(30);
/// Writes that wait; more are dropped.
const QUEUE: usize = 8192;
/// Providers of one key that are kept.
const PROVIDERS_PER_KEY: usize = 64;

type ProviderTable = TableDefinition<'static, (&'static [u8], &'static [u8]), &'static [u8]>;
type ValueTable = TableDefinition<'static, &'static [u8], &'static [u8]>;

/// Peers that were seen, with their addresses.
const PEERS: ValueTable = TableDefinition::new("peers");

/// Which of the two networks: each has tables of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Network {
    Public,
    Lan,
}

impl Network {
    const ALL: [Self; 2] = [Self::Public, Self::Lan];

    fn providers(self) -> ProviderTable {
        TableDefinition::new(match self {
            Self::Public => "public providers",
            Self::Lan => "lan providers",
        })
    }

    fn values(self) -> ValueTable {
        TableDefinition::new(match self {
            Self::Public => "public values",
            Self::Lan => "lan values",
        })
    }
}

/// How much is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) providers: u64,
    pub(crate) values: u64,
}

/// One change.
#[derive(Debug)]
enum Write {
    Provider {
        network: Network,
        key: Vec<u8>,
        peer: Vec<u8>,
        provider: Provider,
    },
    RemoveProvider {
        network: Network,
        key: Vec<u8>,
        peer: Vec<u8>,
    },
    Value {
        network: Network,
        key: Vec<u8>,
        value: Value,
    },
    RemoveValue {
        network: Network,
        key: Vec<u8>,
    },
    /// All peers anew.
    Peers(Vec<(Vec<u8>, Provider)>),
    /// Everything before it is committed.
    #[cfg(test)]
    Settle(SyncSender<()>),
}

/// The table file can't be used.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct StorageError(String);

fn failed(error: impl std::fmt::Display) -> StorageError {
    StorageError(error.to_string())
}

/// Cheap to clone; the file is let go when [`Storage::close`] returns and every clone is gone.
#[derive(Clone, Debug)]
pub(crate) struct Storage {
    db: Arc<Database>,
    writes: SyncSender<Write>,
}

/// The writing thread, to be waited for.
#[derive(Debug)]
pub(crate) struct WriterThread(JoinHandle<()>);

impl Storage {
    /// Opens or makes the file; without one, everything is forgotten at the end.
    pub(crate) fn open(path: Option<&Path>, bounds: Bounds) -> Result<(Self, WriterThread), StorageError> {
        let db = match path {
            Some(path) => Database::create(path).map_err(failed)?,
            None => Database::builder().create_with_backend(InMemoryBackend::new()).map_err(failed)?,
        };
        make_tables(&db).map_err(failed)?;
        let db = Arc::new(db);
        let (writes, inbox) = sync_channel(QUEUE);
        let writer = Writer::new(db.clone(), bounds);
        let thread = std::thread::Builder::new()
            .name("overlay-storage".to_owned())
            .spawn(move || writer.run(&inbox))
            .map_err(failed)?;
        Ok((Self { db, writes }, WriterThread(thread)))
    }

    /// Lets go of this clone and waits until all that was written is on disk: every other clone must be gone. Blocks.
    pub(crate) fn close(self, thread: WriterThread) {
        drop(self);
        if thread.0.join().is_err() {
            tracing::error!("the storage of the overlay ended in a panic");
        }
    }

    /// The providers of a key that have not expired.
    pub(crate) fn providers(&self, network: Network, key: &[u8]) -> Vec<(Vec<u8>, Provider)> {
        self.read_providers(network, key).unwrap_or_else(|error| {
            tracing::warn!("read provider records: {error}");
            Vec::new()
        })
    }

    fn read_providers(&self, network: Network, key: &[u8]) -> Result<Vec<(Vec<u8>, Provider)>, redb::Error> {
        let table = self.db.begin_read()?.open_table(network.providers())?;
        let (now, mut found) = (now(), Vec::new());
        for row in table.range((key, &[][..])..)? {
            let (at, provider) = row?;
            let (row_key, peer) = at.value();
            if row_key != key {
                break;
            }
            found.extend(
                Provider::decode(provider.value())
                    .filter(|provider| provider.expires > now)
                    .map(|provider| (peer.to_vec(), provider)),
            );
        }
        Ok(found)
    }

    pub(crate) fn put_provider(
        &self,
        network: Network,
        key: &[u8],
        peer: Vec<u8>,
        provider: Provider,
    ) -> bool {
        self.write(Write::Provider { network, key: key.to_vec(), peer, provider })
    }

    pub(crate) fn remove_provider(&self, network: Network, key: &[u8], peer: Vec<u8>) {
        self.write(Write::RemoveProvider { network, key: key.to_vec(), peer });
    }

    /// The value of a key, unless it has expired.
    pub(crate) fn value(&self, network: Network, key: &[u8]) -> Option<Value> {
        let read = || -> Result<_, redb::Error> {
            let table = self.db.begin_read()?.open_table(network.values())?;
            Ok(table.get(key)?.and_then(|row| Value::decode(row.value())))
        };
        let value = read().unwrap_or_else(|error| {
            tracing::warn!("read a value: {error}");
            None
        });
        value.filter(|value| value.expires > now())
    }

    pub(crate) fn put_value(&self, network: Network, key: &[u8], value: Value) -> bool {
        self.write(Write::Value { network, key: key.to_vec(), value })
    }

    pub(crate) fn remove_value(&self, network: Network, key: &[u8]) {
        self.write(Write::RemoveValue { network, key: key.to_vec() });
    }

    /// The peers of the last [`Storage::put_peers`].
    pub(crate) fn peers(&self) -> Vec<(Vec<u8>, Provider)> {
        let read = || -> Result<Vec<_>, redb::Error> {
            let table = self.db.begin_read()?.open_table(PEERS)?;
            let mut peers = Vec::new();
            for row in table.range::<&[u8]>(..)? {
                let (peer, seen) = row?;
                peers.extend(Provider::decode(seen.value()).map(|seen| (peer.value().to_vec(), seen)));
            }
            Ok(peers)
        };
        read().unwrap_or_else(|error| {
            tracing::warn!("read the known peers: {error}");
            Vec::new()
        })
    }

    pub(crate) fn put_peers(&self, peers: Vec<(Vec<u8>, Provider)>) {
        self.write(Write::Peers(peers));
    }

    /// Whether there was room in the queue.
    fn write(&self, write: Write) -> bool {
        match self.writes.try_send(write) {
            Ok(()) => true,
            Err(TrySendError::Full(_)) => {
                tracing::debug!("the disk does not keep up: a record is dropped");
                false
            }
            Err(TrySendError::Disconnected(_)) => false,
        }
    }

    #[cfg(test)]
    pub(crate) fn settle(&self) {
        let (done, wait) = sync_channel(1);
        self.writes.send(Write::Settle(done)).unwrap();
        wait.recv().unwrap();
    }
}

/// Reading needs them all to be there.
fn make_tables(db: &Database) -> Result<(), redb::Error> {
    let transaction = db.begin_write()?;
    for network in Network::ALL {
        transaction.open_table(network.providers())?;
        transaction.open_table(network.values())?;
    }
    transaction.open_table(PEERS)?;
    transaction.commit()?;
    Ok(())
}

/// Seconds since 1970: records outlive the process, so that no monotonic clock can date them.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
