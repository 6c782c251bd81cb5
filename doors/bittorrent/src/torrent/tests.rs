//! Who is admitted, who has to go, and what is forgotten.

use super::*;

fn torrent() -> Arc<Torrent> {
    let hashes = InfoHashes { v1: Some([1; 20]), v2: None };
    Torrent::new(hashes, None, Weak::new(), BlockPool::new(1), CancellationToken::new())
}

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], port))
}

fn arrival(number: u8, found: Found) -> Arrival {
    let id = PeerId::new(*b"-PG0100-", [number; 12]);
    Arrival { id, outgoing: true, address: address(number.into()), found }
}

/// BEP 27: once the metadata says that it is private, nothing that the DHT, neighbours or other peers told counts any more.
#[tokio::test]
async fn a_magnet_that_turns_out_private_keeps_to_its_trackers() {
    let torrent = torrent();
    let own = PeerId::new(*b"-PG0100-", [0; 12]);
    let mut inbox = torrent.seek();
    torrent.known(vec![address(1)], Found::DHT).await;
    assert!(inbox.try_recv().is_ok(), "nobody can know before the metadata is there");
    let now = Instant::now();
    let by_dht = torrent.admit(own, &arrival(1, Found::DHT), now).unwrap().cancel;
    let both = Found(Found::DHT.0 | Found::TRACKER.0);
    let by_tracker = torrent.admit(own, &arrival(2, both), now).unwrap().cancel;

    torrent.set_private(true);
    assert!(by_dht.is_cancelled() && !by_tracker.is_cancelled());
    assert!(torrent.admit(own, &arrival(3, Found::EXCHANGE), now).is_none());
    for found in [Found::DHT, Found::LAN, Found::EXCHANGE] {
        torrent.known(vec![address(2)], found).await;
        assert!(inbox.try_recv().is_err(), "{found:?}");
    }
    for found in [Found::GIVEN, Found::TRACKER] {
        torrent.known(vec![address(3)], found).await;
        assert_eq!(inbox.try_recv(), Ok((vec![address(3)], found)));
    }
}

/// Otherwise whoever is left would wake each other for it without end.
#[test]
fn what_a_peer_was_to_be_asked_goes_with_it() {
    let torrent = torrent();
    let now = Instant::now();
    let keys = [torrent.seek_key(), torrent.seek_key()];
    // Eight pieces: each of them is to be asked for four.
    keys.iter().for_each(|key| assert!(torrent.search().fetch.joined(*key, 8 << 14)));
    assert_eq!(torrent.requests_of(keys[0], now).len(), 4);
    assert_eq!(torrent.search().requests.len(), 4);
    torrent.search().left(keys[1], address(2));
    assert!(torrent.search().requests.is_empty());
}

#[test]
fn of_the_quiet_the_oldest_goes_and_whoever_offers_metadata_stays() {
    let torrent = torrent();
    let own = PeerId::new(*b"-PG0100-", [0; 12]);
    let (start, patience) = (Instant::now(), Duration::from_secs(20));
    let at = |number: u8| start + Duration::from_secs(number.into());
    let admit = |number| torrent.admit(own, &arrival(number, Found::DHT), at(number)).unwrap().cancel;
    let now = at(3);
    let tokens = [1, 2, 3].map(admit);
    torrent.search().holders.insert(address(1));
    torrent.dismiss_quiet(now, patience, 1);
    assert!(tokens.iter().all(|token| !token.is_cancelled()), "nobody had time to say anything");
    torrent.dismiss_quiet(now + patience, patience, 1);
    let gone = || tokens.each_ref().map(CancellationToken::is_cancelled);
    assert_eq!(gone(), [false, true, false]);
    torrent.dismiss_quiet(now + patience, patience, 5);
    assert_eq!(gone(), [false, true, true]);
}

/// Its link died without a word, and keep-alives would take minutes to show it.
#[test]
fn a_peer_that_comes_again_replaces_a_connection_that_is_not_heard_of() {
    let torrent = torrent();
    let own = PeerId::new(*b"-PG0100-", [9; 12]);
    let start = Instant::now();
    let incoming = Arrival { outgoing: false, ..arrival(1, Found::INCOMING) };
    let first = torrent.admit(own, &incoming, start).unwrap();
    let soon = start + LOST_AFTER / 2;
    assert!(torrent.admit(own, &incoming, soon).is_none(), "it may well be there");
    first.pulse.beat(soon);
    let later = start + LOST_AFTER;
    assert!(torrent.admit(own, &incoming, later).is_none(), "it was heard of");
    let later = soon + LOST_AFTER;
    let second = torrent.admit(own, &incoming, later).unwrap();
    assert!(first.cancel.is_cancelled() && !second.cancel.is_cancelled());
    torrent.dismiss(incoming.id, &first);
    assert_eq!(torrent.connected(), 1, "the end of the first is not that of the second");
    torrent.dismiss(incoming.id, &second);
    assert_eq!(torrent.connected(), 0);
}

#[test]
fn of_two_dials_that_cross_both_sides_keep_the_same_one() {
    let (small, great) = (PeerId::new(*b"-PG0100-", [1; 12]), PeerId::new(*b"-PG0100-", [2; 12]));
    let now = Instant::now();
    for (own, id) in [(small, great), (great, small)] {
        let torrent = torrent();
        let dialled = Arrival { id, ..arrival(1, Found::GIVEN) };
        let accepted = Arrival { outgoing: false, ..dialled };
        let first = torrent.admit(own, &dialled, now).unwrap();
        let second = torrent.admit(own, &accepted, now);
        assert_eq!((first.cancel.is_cancelled(), second.is_some()), (own < id, own < id));
    }
}

#[test]
fn before_there_is_a_transfer_callers_are_bounded_by_host_and_in_all() {
    let torrent = torrent();
    let own = PeerId::new(*b"-PG0100-", [9; 12]);
    let mut admitted = HashMap::<u8, usize>::new();
    for number in 0..=u8::MAX {
        let host = number % 8;
        let address = SocketAddr::from(([192, 0, 2, if host < 4 { 0 } else { host }], number.into()));
        let caller = Arrival { outgoing: false, address, ..arrival(number, Found::INCOMING) };
        if torrent.admit(own, &caller, Instant::now()).is_some() {
            *admitted.entry(if host < 4 { 0 } else { host }).or_default() += 1;
        }
    }
    assert_eq!(torrent.connected(), UNREADY_MAX);
    assert_eq!(admitted[&0], UNREADY_HOST_MAX);
}
