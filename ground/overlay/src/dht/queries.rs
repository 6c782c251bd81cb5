//! What the handle asks for: each is put to both networks, and answered when both are done.

use std::collections::{BTreeSet, HashMap, HashSet};

use libp2p::kad::{self, QueryId, Quorum, Record, RecordKey};
use libp2p::{Multiaddr, PeerId};
use tokio::sync::{mpsc, oneshot};

use super::{Dht, DhtError, FoundPeer, KEY_LENGTH_MAX, Validators};
use crate::address::without_peer;
use crate::book::Book;
use crate::convert;
use crate::storage::Network;

/// A value is believed to be the newest when so many peers have answered.
const ANSWERS: usize = 16;

type Reply<T> = oneshot::Sender<Result<T, DhtError>>;

/// A question to the hash tables. Replies go nowhere when whoever asked has gone.
#[derive(Debug)]
pub(crate) enum Ask {
    Closest {
        key: Vec<u8>,
        reply: Reply<Vec<FoundPeer>>,
    },
    Find {
        peer: PeerId,
        reply: Reply<FoundPeer>,
    },
    Provide {
        key: Vec<u8>,
        reply: Reply<()>,
    },
    /// The sink has room for all of `limit`.
    Providers {
        key: Vec<u8>,
        limit: usize,
        sink: mpsc::Sender<FoundPeer>,
    },
    Put {
        key: Vec<u8>,
        value: Vec<u8>,
        reply: Reply<()>,
    },
    Get {
        key: Vec<u8>,
        reply: Reply<Vec<u8>>,
    },
}

/// What is under way, and for whom.
#[derive(Debug)]
pub(crate) struct Queries {
    validators: Validators,
    searches: HashMap<u64, Search>,
    of_query: HashMap<(Network, QueryId), u64>,
    next: u64,
}

#[derive(Debug)]
struct Search {
    ask: Ask,
    /// Networks that are not done.
    running: usize,
    found: Vec<FoundPeer>,
    seen: HashSet<PeerId>,
    value: Option<Vec<u8>>,
    answers: usize,
    taken: bool,
    failure: Option<DhtError>,
}

impl Queries {
    pub(crate) fn new(validators: Validators) -> Self {
        Self { validators, searches: HashMap::new(), of_query: HashMap::new(), next: 0 }
    }

    /// Puts the question to every network of `dhts`.
    pub(crate) fn begin<'a>(&mut self, ask: Ask, dhts: impl Iterator<Item = &'a mut Dht>) {
        let number = self.next;
        self.next += 1;
        let mut search = Search::new(ask);
        if search.ask.key_length() > KEY_LENGTH_MAX {
            return search.end(Some(DhtError::Key));
        }
        let (mut any, mut known) = (false, 0);
        for dht in dhts {
            any = true;
            known += dht.size();
            match search.start(dht) {
                Ok(id) => {
                    search.running += 1;
                    self.of_query.insert((dht.network(), id), number);
                }
                Err(error) => search.failure = Some(error),
            }
        }
        if !any {
            search.end(Some(DhtError::Off));
        } else if search.running == 0 {
            search.end(None);
        } else {
            search.failure = (known == 0).then_some(DhtError::Alone);
            self.searches.insert(number, search);
        }
    }

    /// A network has something to say.
    pub(crate) fn progress(
        &mut self,
        dht: &mut Dht,
        book: &mut Book,
        id: QueryId,
        result: kad::QueryResult,
        last: bool,
    ) {
        let query = (dht.network(), id);
        let Some(number) = self.of_query.get(&query).copied() else { return };
        let Some(search) = self.searches.get_mut(&number) else { return };
        search.take(dht, book, result, &self.validators);
        if last {
            self.of_query.remove(&query);
            search.running -= 1;
        } else if search.is_enough() {
            // Kad tells the end of it in an event of its own.
            if let Some(mut running) = dht.kad().query_mut(&id) {
                running.finish();
            }
        }
        if search.running == 0
            && let Some(search) = self.searches.remove(&number)
        {
            search.end(None);
        }
    }
}

impl Ask {
    fn key_length(&self) -> usize {
        match self {
            Self::Find { .. } => 0,
            Self::Closest { key, .. }
            | Self::Provide { key, .. }
            | Self::Providers { key, .. }
            | Self::Put { key, .. }
            | Self::Get { key, .. } => key.len(),
        }
    }
}

impl Search {
    fn new(ask: Ask) -> Self {
        Self {
            ask,
            running: 0,
            found: Vec::new(),
            seen: HashSet::new(),
            value: None,
            answers: 0,
            taken: false,
            failure: None,
        }
    }

    fn start(&self, dht: &mut Dht) -> Result<QueryId, DhtError> {
        let kad = dht.kad();
        Ok(match &self.ask {
            Ask::Closest { key, .. } => kad.get_closest_peers(key.clone()),
            Ask::Find { peer, .. } => kad.get_closest_peers(*peer),
            // The storage refuses only when its queue is full.
            Ask::Provide { key, .. } => {
                kad.start_providing(RecordKey::new(key)).map_err(|_| DhtError::Refused { asked: 0 })?
            }
            Ask::Providers { key, .. } => kad.get_providers(RecordKey::new(key)),
            Ask::Put { key, value, .. } => {
                let record = Record::new(RecordKey::new(key), value.clone());
                kad.put_record(record, Quorum::One).map_err(|_| DhtError::Invalid)?
            }
            Ask::Get { key, .. } => kad.get_record(RecordKey::new(key)),
        })
    }

    fn take(&mut self, dht: &mut Dht, book: &mut Book, result: kad::QueryResult, validators: &Validators) {
        use kad::QueryResult;
        match result {
            QueryResult::GetClosestPeers(Ok(kad::GetClosestPeersOk { peers, .. }))
            | QueryResult::GetClosestPeers(Err(kad::GetClosestPeersError::Timeout { peers, .. })) => {
                for peer in peers {
                    let addresses = peer.addrs.into_iter();
                    let addresses = addresses.filter(|address| dht.admits(&peer.peer_id, address)).collect();
                    self.found(book, peer.peer_id, addresses);
                }
            }
            QueryResult::GetProviders(Ok(kad::GetProvidersOk::FoundProviders { key, providers })) => {
                for peer in providers {
                    if self.is_enough() {
                        break;
                    }
                    let addresses = dht.addresses(&key, peer);
                    self.found(book, peer, addresses);
                }
            }
            QueryResult::GetRecord(Ok(kad::GetRecordOk::FoundRecord(found))) => {
                self.value(found.record, validators);
            }
            QueryResult::StartProviding(Ok(_)) | QueryResult::PutRecord(Ok(_)) => self.taken = true,
            QueryResult::StartProviding(Err(_)) => self.failure = Some(DhtError::Refused { asked: 0 }),
            QueryResult::PutRecord(Err(
                kad::PutRecordError::QuorumFailed { success, .. }
                | kad::PutRecordError::Timeout { success, .. },
            )) => {
                self.failure = Some(DhtError::Refused { asked: success.len() });
            }
            _ => {}
        }
    }

    /// Remembers where a peer is, for whoever dials it, and tells it once.
    fn found(&mut self, book: &mut Book, peer: PeerId, addresses: Vec<Multiaddr>) {
        let addresses: BTreeSet<_> = addresses.into_iter().map(without_peer).collect();
        for address in &addresses {
            book.told(peer, address.clone());
        }
        let Some(id) = convert::from_libp2p(&peer) else { return };
        if !self.seen.insert(peer) {
            return;
        }
        let found = FoundPeer { id, addresses: addresses.into_iter().map(Into::into).collect() };
        match &self.ask {
            Ask::Providers { sink, .. } => {
                // There is room for as many as are told; whoever asked may have gone.
                let _ = sink.try_send(found);
            }
            Ask::Find { peer: wanted, .. } if *wanted != peer => {}
            _ => self.found.push(found),
        }
    }

    fn value(&mut self, record: Record, validators: &Validators) {
        let key = record.key.as_ref();
        if !validators.accept(key, &record.value) {
            return;
        }
        self.answers += 1;
        let better = |known: &Vec<u8>| validators.prefer(key, &record.value, known);
        if self.value.as_ref().is_none_or(better) {
            self.value = Some(record.value);
        }
    }

    fn is_enough(&self) -> bool {
        match &self.ask {
            Ask::Providers { limit, sink, .. } => self.seen.len() >= *limit || sink.is_closed(),
            Ask::Get { reply, .. } => self.answers >= ANSWERS || reply.is_closed(),
            _ => false,
        }
    }

    /// Answers. Ended before it began, for `refused`; or done.
    fn end(self, refused: Option<DhtError>) {
        let failure = refused.or(self.failure);
        let done = |taken: bool| match failure.clone() {
            Some(error) if !taken || error == DhtError::Alone => Err(error),
            _ if taken => Ok(()),
            _ => Err(DhtError::Refused { asked: 0 }),
        };
        // Whoever asked may have gone.
        match self.ask {
            Ask::Closest { reply, .. } => {
                let _ = reply.send(failure.map_or(Ok(self.found), Err));
            }
            Ask::Find { reply, .. } => {
                let found = self.found.into_iter().next();
                let _ = reply.send(found.ok_or(failure.unwrap_or(DhtError::NotFound)));
            }
            Ask::Provide { reply, .. } | Ask::Put { reply, .. } => {
                let _ = reply.send(done(self.taken));
            }
            Ask::Get { reply, .. } => {
                let _ = reply.send(self.value.ok_or(failure.unwrap_or(DhtError::NotFound)));
            }
            Ask::Providers { .. } => {}
        }
    }
}
