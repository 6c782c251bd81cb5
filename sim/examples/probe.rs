#![allow(missing_docs, clippy::print_stdout)]
use peerage_sim::scenario::FlashCrowd;
use std::time::Duration;
fn main() {
    let seed_up: u64 = std::env::args().nth(1).and_then(|a| a.parse().ok()).unwrap_or(4);
    let crowd = FlashCrowd { leechers: 300, pieces: 300, free_riders: 0.1, seed_up, ..FlashCrowd::default() };
    let (mut network, riders) = crowd.build();
    for _ in 0..18 {
        network.run(network.now() + Duration::from_secs(5));
        let (
            mut up_c,
            mut down_c,
            mut down_r,
            mut unch,
            mut unch_r,
            mut inter,
            mut inter_r,
            mut conn,
            mut reqs,
            mut toR,
            mut snub,
        ) = (0u64, 0, 0, 0, 0, 0, 0, 0, 0, 0u64, 0);
        let (mut recip, mut have_c, mut have_r) = (0, 0.0, 0.0);
        for node in 1..=300 {
            let s = network.summary(node);
            if riders.contains(&node) {
                down_r += s.stats.download_rate;
                have_r += s.stats.left as f64;
                continue;
            }
            up_c += s.stats.upload_rate;
            down_c += s.stats.download_rate;
            have_c += s.stats.left as f64;
            for (other, p) in network.peers(node) {
                conn += 1;
                let r = riders.contains(&other);
                if !p.choked && p.interested {
                    unch += 1;
                    unch_r += i32::from(r);
                    if p.download_rate > 0 {
                        recip += 1;
                    }
                }
                if p.interested {
                    inter += 1;
                    inter_r += i32::from(r);
                }
                if r {
                    toR += p.upload_rate
                }
                reqs += p.requests;
                snub += i32::from(p.snubbed);
            }
        }
        let u = 262144.0;
        let mut copies = vec![0u32; 300];
        let mut ups = Vec::new();
        for node in 1..=300 {
            for p in network.have(node).unwrap().iter() {
                copies[p as usize] += 1;
            }
            if !riders.contains(&node) {
                ups.push(network.summary(node).stats.upload_rate as f64 / u);
            }
        }
        ups.sort_by(f64::total_cmp);
        let seed = network.summary(0);
        copies.sort();
        print!(
            "copies {:?} ups {:.2?} seed up {:.2} sent {:.2} ",
            (0..10).map(|q| copies[q * 30 + 15]).collect::<Vec<_>>(),
            (0..10).map(|q| ups[q * 27 + 13]).collect::<Vec<_>>(),
            seed.stats.upload_rate as f64 / u,
            seed.stats.uploaded as f64 / (300.0 * 131072.0)
        );
        println!(
            "t {:>4}: contributor up {:.2} down {:.2} (of u), rider down {:.2}; unchoked {:.1} of them riders {:.2}, reciprocating {:.1}; interested {:.1} riders {:.1}; conns {:.0} reqs {:.1} to riders {:.3} snubbed {:.2} left {:.2} {:.2}",
            network.now().as_secs(),
            up_c as f64 / 270.0 / u,
            down_c as f64 / 270.0 / u,
            down_r as f64 / 30.0 / u,
            unch as f64 / 270.0,
            unch_r as f64 / 270.0,
            recip as f64 / 270.0,
            inter as f64 / 270.0,
            inter_r as f64 / 270.0,
            conn as f64 / 270.0,
            reqs as f64 / 270.0,
            toR as f64 / u / 270.0,
            snub as f64 / 270.,
            have_c / 270.0 / (300.0 * 131072.0),
            have_r / 30.0 / (300.0 * 131072.0)
        );
    }
}
