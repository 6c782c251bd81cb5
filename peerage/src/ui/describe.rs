//! A transfer in words.

use super::format::{Rate, Time, count, percent};
use super::shown::Shown;
use crate::model::{Sources, State, TransferView};
use crate::values::Size;

/// The state as people read it.
pub fn state_word(state: State) -> &'static str {
    match state {
        State::Queued => "queued",
        State::Hashing => "hashing",
        State::Checking => "checking",
        State::FetchingMetadata => "fetching metadata",
        State::Downloading => "downloading",
        State::Seeding => "seeding",
        State::Complete => "complete",
        State::Paused => "paused",
        State::Changed => "changed",
        State::Error => "error",
    }
}

/// What a transfer waits for; `None` when it moves or when it waits for nobody else.
pub fn waiting(view: &TransferView) -> Option<String> {
    match view.state {
        State::Downloading | State::FetchingMetadata if view.peers_connected == 0 => {
            let have = if view.peers_known == 0 {
                "no peers yet".to_owned()
            } else {
                format!("no peer connected yet, trying {}", count(view.peers_known.into(), "address"))
            };
            let asked = asked(&view.sources);
            Some(match banned(view) {
                Some(banned) => format!("{banned}; no other peer yet: {asked}"),
                None => format!("{have}: {asked}"),
            })
        }
        State::Downloading if view.download_rate == 0 && view.availability < 1.0 => {
            Some("the connected peers lack pieces that are missing here: waiting for others".to_owned())
        }
        State::Downloading if view.download_rate == 0 => Some("waiting to be served".to_owned()),
        State::FetchingMetadata => {
            Some(format!("asking {} for the torrent", count(view.peers_connected.into(), "peer")))
        }
        State::Queued => Some("waiting for other transfers to finish".to_owned()),
        State::Seeding if view.peers_connected == 0 => Some(format!("nobody is here yet: {}", told(view))),
        _ => None,
    }
}

/// "asked 2 trackers, the DHT (42 nodes) and the LAN"
fn asked(sources: &Sources) -> String {
    let mut parties = parties(sources);
    if sources.given > 0 {
        parties.insert(0, count(sources.given.into(), "given peer"));
    }
    if parties.is_empty() {
        return "there is nobody to ask; name a peer with --peer ADDR:PORT".to_owned();
    }
    format!("asked {}", enumeration(&parties))
}

fn told(view: &TransferView) -> String {
    // Nobody tells a web seed of anything.
    let parties = parties(&Sources { web_seeds: 0, ..view.sources });
    if parties.is_empty() && view.private {
        "a private torrent is found through its trackers alone, and it names none".to_owned()
    } else if parties.is_empty() {
        "the link alone leads here".to_owned()
    } else {
        format!("told {}", enumeration(&parties))
    }
}

fn parties(sources: &Sources) -> Vec<String> {
    let mut parties = Vec::new();
    if sources.trackers > 0 {
        let failed = match sources.trackers_failed {
            0 => String::new(),
            failed => format!(" ({failed} failed)"),
        };
        parties.push(count(sources.trackers.into(), "tracker") + &failed);
    }
    if sources.web_seeds > 0 {
        parties.push(count(sources.web_seeds.into(), "web seed"));
    }
    if let Some(nodes) = sources.dht_nodes {
        parties.push(format!("the DHT ({})", count(nodes.into(), "node")));
    }
    if sources.lan {
        parties.push("the LAN".to_owned());
    }
    parties
}

/// "a", "a and b", "a, b and c"
fn enumeration(parts: &[String]) -> String {
    match parts {
        [] => String::new(),
        [one] => one.clone(),
        [init @ .., last] => format!("{} and {last}", init.join(", ")),
    }
}

/// Who is not asked any more.
fn banned(view: &TransferView) -> Option<String> {
    match view.hosts_banned {
        0 => None,
        1 => Some("1 host sent bad data and is not asked again".to_owned()),
        hosts => Some(format!("{hosts} hosts sent bad data and are not asked again")),
    }
}

/// How far a transfer is, in one line: bytes, rates, time left, peers.
pub fn details(view: &TransferView) -> String {
    let mut parts = Vec::new();
    match (view.state, view.size, view.wanted) {
        (State::Hashing | State::Checking, Some(size), _) => {
            parts.push(format!("{} / {}", Size(view.hashed), Size(size)));
            parts.push(format!("{} %", percent(view.hashed, size)));
        }
        (State::Seeding | State::Complete, _, Some(wanted)) if view.verified >= wanted => {
            parts.push(Size(wanted).to_string());
        }
        (_, _, Some(wanted)) => {
            parts.push(format!("{} / {}", Size(view.verified), Size(wanted)));
            parts.push(format!("{} %", percent(view.verified, wanted)));
        }
        _ => {}
    }
    if view.state == State::Downloading {
        parts.push(format!("{} down", Rate(view.download_rate)));
    }
    if view.state == State::Seeding || (view.state == State::Downloading && view.upload_rate > 0) {
        parts.push(format!("{} up", Rate(view.upload_rate)));
    }
    if matches!(view.state, State::Hashing | State::Checking | State::Downloading)
        && let Some(seconds) = view.seconds_left
    {
        parts.push(format!("{} left", Time(seconds)));
    }
    if view.state == State::Seeding && view.uploaded > 0 {
        parts.push(format!("{} sent", Size(view.uploaded)));
    }
    if matches!(view.state, State::FetchingMetadata | State::Downloading | State::Seeding) {
        parts.push(format!("{}/{} peers", view.peers_connected, view.peers_known.max(view.peers_connected)));
    }
    // Without a peer, it is what the transfer waits for.
    parts.extend(banned(view).filter(|_| view.peers_connected > 0));
    if let Some(problem) = &view.problem {
        parts.push(Shown::text(&problem.message).to_string());
    }
    parts.join("  ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::tests::a_transfer;

    #[test]
    fn a_wait_names_what_it_waits_for() {
        let mut view = a_transfer();
        view.state = State::Downloading;
        view.sources = Sources { trackers: 2, dht_nodes: Some(42), lan: true, ..Sources::default() };
        assert_eq!(waiting(&view).unwrap(), "no peers yet: asked 2 trackers, the DHT (42 nodes) and the LAN");
        view.sources = Sources { trackers: 1, trackers_failed: 1, given: 1, ..Sources::default() };
        view.peers_known = 3;
        assert_eq!(
            waiting(&view).unwrap(),
            "no peer connected yet, trying 3 addresses: asked 1 given peer and 1 tracker (1 failed)"
        );
        view.sources = Sources::default();
        view.peers_known = 0;
        assert_eq!(
            waiting(&view).unwrap(),
            "no peers yet: there is nobody to ask; name a peer with --peer ADDR:PORT"
        );
        view.hosts_banned = 1;
        view.sources.given = 1;
        assert_eq!(
            waiting(&view).unwrap(),
            "1 host sent bad data and is not asked again; no other peer yet: asked 1 given peer"
        );
        assert!(!details(&view).contains("bad data"), "once is enough");
        view.peers_connected = 1;
        view.download_rate = 1;
        assert_eq!(waiting(&view), None);
    }

    #[test]
    fn a_private_share_without_a_tracker_is_found_by_nobody() {
        let mut view = a_transfer();
        view.state = State::Seeding;
        assert!(waiting(&view).unwrap().ends_with("the link alone leads here"));
        view.private = true;
        assert!(waiting(&view).unwrap().ends_with("and it names none"));
    }

    #[test]
    fn details_fit_the_state() {
        let mut view = a_transfer();
        view.state = State::Downloading;
        view.verified = 1 << 30;
        view.download_rate = 35 << 20;
        view.seconds_left = Some(58);
        view.peers_connected = 5;
        view.peers_known = 12;
        assert_eq!(details(&view), "1.00 GiB / 3.00 GiB  33 %  35.0 MiB/s down  58 s left  5/12 peers");
        view.hosts_banned = 2;
        assert!(details(&view).ends_with("5/12 peers  2 hosts sent bad data and are not asked again"));
        view.hosts_banned = 0;
        view.state = State::Seeding;
        view.verified = 3 << 30;
        view.upload_rate = 1 << 20;
        view.uploaded = 6 << 30;
        assert_eq!(details(&view), "3.00 GiB  1.00 MiB/s up  6.00 GiB sent  5/12 peers");
        view.state = State::Hashing;
        view.hashed = 3 << 29;
        assert_eq!(details(&view), "1.50 GiB / 3.00 GiB  50 %  58 s left");
    }
}
