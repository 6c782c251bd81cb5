//! The thread that writes.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Instant;

use redb::{Database, Durability, ReadableTable, ReadableTableMetadata, Table, WriteTransaction};

use super::{Bounds, DURABLE_EVERY, Network, PEERS, PROVIDERS_PER_KEY, Provider, Value, Write, codec, now};

/// Writes of one batch.
const BATCH: usize = 1024;
/// Rows looked at for expiry each [`DURABLE_EVERY`], of every table.
const SWEEP: usize = if cfg!(test) { 100 } else { 20_000 };

pub(super) struct Writer {
    db: Arc<Database>,
    bounds: Bounds,
    durable: Instant,
    dirty: bool,
    sweeps: [Sweep; 2],
}

/// Where the sweep of a network's tables goes on.
#[derive(Default)]
struct Sweep {
    provider: (Vec<u8>, Vec<u8>),
    value: Vec<u8>,
}

impl Writer {
    pub(super) fn new(db: Arc<Database>, bounds: Bounds) -> Self {
        Self { db, bounds, durable: Instant::now(), dirty: false, sweeps: Default::default() }
    }

    /// Until the last storage handle is gone.
    pub(super) fn run(mut self, inbox: &Receiver<Write>) {
        loop {
            let waited = inbox.recv_timeout(DURABLE_EVERY.saturating_sub(self.durable.elapsed()));
            let ended = matches!(waited, Err(RecvTimeoutError::Disconnected));
            let batch: Vec<Write> = waited.into_iter().chain(inbox.try_iter().take(BATCH)).collect();
            let durable = ended || self.durable.elapsed() >= DURABLE_EVERY;
            if let Err(error) = self.commit(batch, durable) {
                tracing::warn!("write the records of the overlay: {error}");
            }
            if ended {
                return;
            }
        }
    }

    pub(super) fn commit(&mut self, batch: Vec<Write>, durable: bool) -> Result<(), redb::Error> {
        if durable {
            self.durable = Instant::now();
        }
        if batch.is_empty() && !(durable && self.dirty) {
            return Ok(());
        }
        let mut transaction = self.db.begin_write()?;
        transaction.set_durability(if durable { Durability::Immediate } else { Durability::None })?;
        #[cfg(test)]
        let mut settled = Vec::new();
        for write in batch {
            match write {
                #[cfg(test)]
                Write::Settle(done) => settled.push(done),
                write => apply(&transaction, write, self.bounds)?,
            }
        }
        if durable {
            self.sweep(&transaction)?;
        }
        transaction.commit()?;
        self.dirty = !durable;
        #[cfg(test)]
        settled.into_iter().for_each(|done| done.send(()).unwrap());
        Ok(())
    }

    /// Removes what has expired from the next stretch of each table.
    fn sweep(&mut self, transaction: &WriteTransaction) -> Result<(), redb::Error> {
        for (network, sweep) in Network::ALL.into_iter().zip(&mut self.sweeps) {
            sweep.providers(&mut transaction.open_table(network.providers())?)?;
            sweep.values(&mut transaction.open_table(network.values())?)?;
        }
        Ok(())
    }
}

impl Sweep {
    fn providers(&mut self, table: &mut Table<'_, (&[u8], &[u8]), &[u8]>) -> Result<(), redb::Error> {
        let (now, mut seen, mut expired) = (now(), 0, Vec::new());
        let (key, peer) = std::mem::take(&mut self.provider);
        for row in table.range((&key[..], &peer[..])..)?.take(SWEEP) {
            let (at, provider) = row?;
            let at = (at.value().0.to_vec(), at.value().1.to_vec());
            seen += 1;
            if seen == SWEEP {
                self.provider = at.clone();
            }
            if codec::expires(provider.value()) <= now {
                expired.push(at);
            }
        }
        for (key, peer) in expired {
            table.remove((&key[..], &peer[..]))?;
        }
        Ok(())
    }

    fn values(&mut self, table: &mut Table<'_, &[u8], &[u8]>) -> Result<(), redb::Error> {
        let (now, mut seen, mut expired) = (now(), 0, Vec::new());
        let from = std::mem::take(&mut self.value);
        for row in table.range(&from[..]..)?.take(SWEEP) {
            let (key, value) = row?;
            seen += 1;
            if seen == SWEEP {
                self.value = key.value().to_vec();
            }
            if codec::expires(value.value()) <= now {
                expired.push(key.value().to_vec());
            }
        }
        for key in expired {
            table.remove(&key[..])?;
        }
        Ok(())
    }
}

fn apply(transaction: &WriteTransaction, write: Write, bounds: Bounds) -> Result<(), redb::Error> {
    match write {
        Write::Provider { network, key, peer, provider } => {
            put_provider(transaction, network, &key, &peer, &provider, bounds)
        }
        Write::RemoveProvider { network, key, peer } => {
            transaction.open_table(network.providers())?.remove((&key[..], &peer[..]))?;
            Ok(())
        }
        Write::Value { network, key, value } => put_value(transaction, network, &key, &value, bounds),
        Write::RemoveValue { network, key } => {
            transaction.open_table(network.values())?.remove(&key[..])?;
            Ok(())
        }
        Write::Peers(peers) => {
            transaction.delete_table(PEERS)?;
            let mut table = transaction.open_table(PEERS)?;
            for (peer, seen) in peers {
                table.insert(&peer[..], &seen.encode()[..])?;
            }
            Ok(())
        }
        #[cfg(test)]
        Write::Settle(_) => Ok(()),
    }
}

/// When there is no room, who is there already stays: whoever floods a key, or the table, gains nothing.
fn put_provider(
    transaction: &WriteTransaction,
    network: Network,
    key: &[u8],
    peer: &[u8],
    provider: &Provider,
    bounds: Bounds,
) -> Result<(), redb::Error> {
    let mut table = transaction.open_table(network.providers())?;
    if table.get((key, peer))?.is_none() {
        let (now, mut others, mut expired) = (now(), 0, None);
        for row in table.range((key, &[][..])..)? {
            let (at, other) = row?;
            let (row_key, other_peer) = at.value();
            if row_key != key {
                break;
            }
            others += 1;
            if codec::expires(other.value()) <= now {
                expired = Some(other_peer.to_vec());
            }
        }
        let full = others >= PROVIDERS_PER_KEY || table.len()? >= bounds.providers;
        match expired {
            Some(expired) if full => {
                table.remove((key, &expired[..]))?;
            }
            None if full => return Ok(()),
            _ => {}
        }
    }
    table.insert((key, peer), &provider.encode()[..])?;
    Ok(())
}

fn put_value(
    transaction: &WriteTransaction,
    network: Network,
    key: &[u8],
    value: &Value,
    bounds: Bounds,
) -> Result<(), redb::Error> {
    let mut table = transaction.open_table(network.values())?;
    if table.get(key)?.is_some() || table.len()? < bounds.values {
        table.insert(key, &value.encode()[..])?;
    }
    Ok(())
}
