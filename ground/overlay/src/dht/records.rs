//! What kad keeps for others, in the [`Storage`].

use std::borrow::Cow;
use std::iter;
use std::time::{Duration, Instant};

use libp2p::kad::store::{Error, RecordStore, Result};
use libp2p::kad::{ProviderRecord, Record, RecordKey};
use libp2p::{Multiaddr, PeerId};

use super::network::AddressRule;
use super::{KEY_LENGTH_MAX, Validators};
use crate::storage::{Provider, Storage, Value, now};

/// Providers of one key in one answer.
const PROVIDERS_TOLD: usize = 20;
/// Addresses of one provider.
const ADDRESSES_MAX: usize = 8;
/// The longest value: IPNS records have 10 KiB at most.
const VALUE_LENGTH_MAX: usize = 10 << 10;
/// A record is kept this long, also if its publisher would like more.
const TTL: Duration = Duration::from_secs(48 * 3600);

pub(crate) struct Records {
    local: PeerId,
    rule: AddressRule,
    storage: Storage,
    validators: Validators,
}

impl Records {
    pub(super) fn new(local: PeerId, rule: AddressRule, storage: Storage, validators: Validators) -> Self {
        Self { local, rule, storage, validators }
    }

    /// Where a provider of a key was said to be.
    pub(super) fn addresses(&self, key: &RecordKey, peer: &PeerId) -> Vec<Multiaddr> {
        let records = self.storage.providers(self.rule.network, key.as_ref());
        let mut of_peer = records.into_iter().filter(|(id, _)| *id == peer.to_bytes());
        of_peer.next().map_or_else(Vec::new, |(_, provider)| multiaddresses(provider))
    }
}

impl RecordStore for Records {
    // Both are for publishing again, which is not done here.
    type RecordsIter<'a> = iter::Empty<Cow<'a, Record>>;
    type ProvidedIter<'a> = iter::Empty<Cow<'a, ProviderRecord>>;

    fn get(&self, key: &RecordKey) -> Option<Cow<'_, Record>> {
        let value = self.storage.value(self.rule.network, key.as_ref())?;
        Some(Cow::Owned(Record {
            key: key.clone(),
            value: value.bytes,
            publisher: None,
            expires: Some(as_instant(value.expires)),
        }))
    }

    fn put(&mut self, record: Record) -> Result<()> {
        let (network, key) = (self.rule.network, record.key.as_ref());
        let valid = key.len() <= KEY_LENGTH_MAX && record.value.len() <= VALUE_LENGTH_MAX;
        if !valid || !self.validators.accept(key, &record.value) {
            // An error of a name that does not fit, but one that kad tells the sender.
            return Err(Error::ValueTooLarge);
        }
        if let Some(known) = self.storage.value(network, key)
            && known.bytes != record.value
            && !self.validators.prefer(key, &record.value, &known.bytes)
        {
            return Err(Error::ValueTooLarge);
        }
        let value = Value { expires: expiry(record.expires), bytes: record.value };
        if self.storage.put_value(network, record.key.as_ref(), value) {
            Ok(())
        } else {
            Err(Error::MaxRecords)
        }
    }

    fn remove(&mut self, key: &RecordKey) {
        self.storage.remove_value(self.rule.network, key.as_ref());
    }

    fn records(&self) -> Self::RecordsIter<'_> {
        iter::empty()
    }

    fn add_provider(&mut self, record: ProviderRecord) -> Result<()> {
        if record.key.as_ref().len() > KEY_LENGTH_MAX {
            return Err(Error::ValueTooLarge);
        }
        let admitted = record.addresses.iter().filter(|address| self.rule.admits(&record.provider, address));
        let addresses: Vec<_> = admitted.take(ADDRESSES_MAX).map(Multiaddr::to_vec).collect();
        // Of ourselves kad adds them when it answers.
        if addresses.is_empty() && record.provider != self.local {
            return Err(Error::ValueTooLarge);
        }
        let provider = Provider { expires: expiry(record.expires), addresses };
        let peer = record.provider.to_bytes();
        let taken = self.storage.put_provider(self.rule.network, record.key.as_ref(), peer, provider);
        if taken { Ok(()) } else { Err(Error::MaxProvidedKeys) }
    }

    fn providers(&self, key: &RecordKey) -> Vec<ProviderRecord> {
        let mut records = self.storage.providers(self.rule.network, key.as_ref());
        // Which of many are told is a matter of chance: no peer id comes first by being small.
        let shift = (now() as usize).checked_rem(records.len()).unwrap_or(0);
        records.rotate_left(shift);
        let told = records.into_iter().filter_map(|(peer, provider)| {
            Some(ProviderRecord {
                key: key.clone(),
                provider: PeerId::from_bytes(&peer).ok()?,
                expires: Some(as_instant(provider.expires)),
                addresses: multiaddresses(provider),
            })
        });
        told.take(PROVIDERS_TOLD).collect()
    }

    fn provided(&self) -> Self::ProvidedIter<'_> {
        iter::empty()
    }

    fn remove_provider(&mut self, key: &RecordKey, provider: &PeerId) {
        self.storage.remove_provider(self.rule.network, key.as_ref(), provider.to_bytes());
    }
}

fn multiaddresses(provider: Provider) -> Vec<Multiaddr> {
    provider.addresses.into_iter().filter_map(|bytes| Multiaddr::try_from(bytes).ok()).collect()
}

/// From the clock of this process to the calendar.
fn expiry(expires: Option<Instant>) -> u64 {
    let left = expires.map_or(TTL, |at| at.saturating_duration_since(Instant::now()));
    now() + left.min(TTL).as_secs()
}

fn as_instant(expires: u64) -> Instant {
    Instant::now() + Duration::from_secs(expires.saturating_sub(now())).min(TTL)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::dht::RecordValidator;
    use crate::storage::{Bounds, Network};

    fn records(network: Network) -> Records {
        let bounds = Bounds { providers: 100, values: 100 };
        let (storage, _) = Storage::open(None, bounds).unwrap();
        let mut validators = Validators::default();
        validators.add("counter", Arc::new(Counter));
        let rule = AddressRule { network, all: false };
        Records::new(PeerId::random(), rule, storage, validators)
    }

    /// One byte, the larger the better.
    #[derive(Debug)]
    struct Counter;

    impl RecordValidator for Counter {
        fn is_valid(&self, _: &[u8], value: &[u8]) -> bool {
            value.len() == 1
        }

        fn is_better(&self, _: &[u8], new: &[u8], old: &[u8]) -> bool {
            new > old
        }
    }

    fn key(text: &str) -> RecordKey {
        RecordKey::new(&text)
    }

    fn told(records: &mut Records, peer: PeerId, addresses: &[&str]) -> Vec<Multiaddr> {
        let addresses = addresses.iter().map(|text| text.parse().unwrap()).collect();
        let _ = records.add_provider(ProviderRecord::new(key("k"), peer, addresses));
        records.storage.settle();
        let known = records.providers(&key("k"));
        known
            .into_iter()
            .find(|record| record.provider == peer)
            .map_or_else(Vec::new, |record| record.addresses)
    }

    #[test]
    fn only_addresses_that_can_be_dialled_are_kept() {
        let (mut public, peer, other) = (records(Network::Public), PeerId::random(), PeerId::random());
        let ours = format!("/ip4/8.8.8.8/tcp/1/p2p/{peer}");
        let other = format!("/ip4/8.8.8.8/tcp/2/p2p/{other}");
        let kept = told(
            &mut public,
            peer,
            &[
                &ours,
                &other,
                "/ip4/10.0.0.1/tcp/1",
                "/ip4/127.0.0.1/tcp/1",
                "/ip4/8.8.8.8/tcp/0",
                "/ip4/8.8.8.8",
                "/dns4/example.org/tcp/443/wss",
            ],
        );
        assert_eq!(
            kept,
            [ours.parse().unwrap(), "/dns4/example.org/tcp/443/wss".parse::<Multiaddr>().unwrap()]
        );
        let mut lan = records(Network::Lan);
        let kept =
            told(&mut lan, peer, &["/ip4/8.8.8.8/tcp/1", "/ip4/10.0.0.1/tcp/1", "/ip4/127.0.0.1/tcp/1"]);
        assert_eq!(kept, ["/ip4/10.0.0.1/tcp/1".parse::<Multiaddr>().unwrap()]);
    }

    #[test]
    fn a_provider_without_an_address_is_none_unless_it_is_this_node() {
        let mut records = records(Network::Public);
        let (stranger, local) = (PeerId::random(), records.local);
        records.add_provider(ProviderRecord::new(key("k"), stranger, Vec::new())).unwrap_err();
        records.add_provider(ProviderRecord::new(key("k"), local, Vec::new())).unwrap();
        records.storage.settle();
        let known = records.providers(&key("k"));
        assert_eq!(known.iter().map(|record| record.provider).collect::<Vec<_>>(), [local]);
    }

    #[test]
    fn many_addresses_are_cut() {
        let many: Vec<String> = (1..100).map(|port| format!("/ip4/8.8.8.8/tcp/{port}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(told(&mut records(Network::Public), PeerId::random(), &many).len(), ADDRESSES_MAX);
    }

    #[test]
    fn a_value_is_judged_before_it_is_kept() {
        let mut records = records(Network::Public);
        let mut put = |name: &str, value: &[u8]| {
            let done = records.put(Record::new(key(name), value.to_vec()));
            records.storage.settle();
            (done.is_ok(), records.get(&key(name)).map(|record| record.value.clone()))
        };
        assert_eq!(put("/counter/a", &[5]), (true, Some(vec![5])));
        assert_eq!(put("/counter/a", &[3]), (false, Some(vec![5])), "an older one");
        assert_eq!(put("/counter/a", &[5]), (true, Some(vec![5])), "the same again");
        assert_eq!(put("/counter/a", &[9]), (true, Some(vec![9])));
        assert_eq!(put("/counter/b", &[1, 2]), (false, None), "not valid");
        assert_eq!(put("/other/a", &[1]), (false, None), "nobody judges it");
        assert_eq!(put(&format!("/counter/{}", "x".repeat(KEY_LENGTH_MAX)), &[1]), (false, None));
    }

    #[test]
    fn nothing_is_kept_for_longer_than_its_time() {
        let far = Instant::now() + 100 * TTL;
        assert!(expiry(Some(far)) <= now() + TTL.as_secs());
        assert!(as_instant(u64::MAX) <= Instant::now() + TTL);
        assert_eq!(expiry(Some(Instant::now())), now());
    }
}
