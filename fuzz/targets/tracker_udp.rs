//! Whatever a UDP tracker sends, and when: every question gets one answer in time, and no flood of datagrams leaves.
#![no_main]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use peerage_bittorrent::hash::SwarmHash;
use peerage_bittorrent::tracker::announce::PEERS_MAX;
use peerage_bittorrent::tracker::udp::{Ask, Client, Reply, RequestId, SCRAPE_MAX};
use peerage_bittorrent::tracker::{AnnounceRequest, Event};

const PATIENCE: Duration = Duration::from_secs(60);

fuzz_target!(|input: (bool, bool, Vec<(u16, bool, Vec<u8>)>)| {
    let (ipv6, scrapes, datagrams) = input;
    let target: SocketAddr = if ipv6 { "[2001:db8::1]:80" } else { "192.0.2.1:80" }.parse().unwrap();
    let (mut client, mut now) = (Client::new([7; 32]), Instant::now());
    let end = now + PATIENCE;
    let ask = if scrapes {
        Ask::Scrape(vec![SwarmHash([1; 20]); 3])
    } else {
        Ask::Announce { request: Box::new(request()), url_data: "/announce?a=b".to_owned() }
    };
    client.ask(now, RequestId(1), target, ask, PATIENCE);
    let (mut sent, mut answers, mut last) = (0, 0, Vec::new());
    let mut drain = |client: &mut Client, last: &mut Vec<u8>| {
        while let Some((to, datagram)) = client.poll_transmit() {
            assert_eq!(to, target);
            sent += 1;
            *last = datagram;
        }
        while let Some((id, answer)) = client.poll_answer() {
            assert_eq!(id, RequestId(1));
            answers += 1;
            match answer {
                Ok(Reply::Announced(answer)) => assert!(!scrapes && answer.peers.len() <= PEERS_MAX),
                Ok(Reply::Scraped(sizes)) => assert!(scrapes && sizes.len() <= SCRAPE_MAX),
                Ok(other) => panic!("{other:?}"),
                Err(_) => {}
            }
        }
    };
    drain(&mut client, &mut last);
    for (later, mends, mut datagram) in datagrams.into_iter().take(64) {
        now += Duration::from_millis(u64::from(later));
        client.handle_timeout(now);
        drain(&mut client, &mut last);
        // Action and transaction are where the question had them (BEP 15), four bytes further to the back in a question.
        if let (true, Some(mended), Some(transaction)) = (mends, datagram.get_mut(4..8), last.get(12..16)) {
            mended.copy_from_slice(transaction);
        }
        client.handle_datagram(now, target, &datagram);
        drain(&mut client, &mut last);
    }
    now = now.max(end);
    client.handle_timeout(now);
    drain(&mut client, &mut last);
    assert_eq!(answers, 1);
    assert!(sent <= 200, "{sent} datagrams");
});

fn request() -> AnnounceRequest {
    AnnounceRequest {
        swarm: SwarmHash([1; 20]),
        peer_id: [2; 20],
        ports: 6881.into(),
        uploaded: 0,
        downloaded: 0,
        left: 1,
        event: Event::Started,
        numwant: 50,
        key: 1,
        ipv4: None,
        ipv6: None,
        tracker_id: None,
    }
}
