//! qbittorrent-nox 4.5, through its web API.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::dht_net::ROUTER;
use super::{Find, Place, Program, Role, http, until_listening};
use crate::machines::WIRE;
use crate::namespace::set_hosts;
use crate::process::{Process, until};

/// Where it takes commands.
const API: &str = "127.0.0.1:8080";

/// The name by which it enters the DHT, which 4.5 does not let its users change.
const DHT_NAME: &str = "dht.libtorrent.org";

/// A running qBittorrent without its window.
#[derive(Debug)]
pub struct QBittorrent {
    _process: Process,
    _home: tempfile::TempDir,
}

impl Program for QBittorrent {
    #[track_caller]
    fn start(place: &Place<'_>, _role: Role, source: &str, folder: &Path) -> Self {
        fs::create_dir_all(folder).unwrap();
        let Place { host, port, find, encrypted, .. } = *place;
        let home = tempfile::tempdir().unwrap();
        let config = home.path().join("qBittorrent/config");
        fs::create_dir_all(&config).unwrap();
        let save = folder.display();
        let interface = if find == Find::Lan { WIRE } else { "" };
        // 0: encryption is allowed, 1: required.
        let encryption = u8::from(encrypted);
        let (dht, lan) = (find == Find::Dht, find == Find::Lan);
        if dht {
            set_hosts(&format!("{} {DHT_NAME}\n", ROUTER.split(':').next().unwrap()));
        }
        let settings = format!(
            "[LegalNotice]\nAccepted=true\n\
             [Preferences]\nWebUI\\Address=127.0.0.1\nWebUI\\Port=8080\nWebUI\\LocalHostAuth=false\nWebUI\\UPnP=false\n\
             [BitTorrent]\nSession\\Port={port}\nSession\\Interface={interface}\nSession\\InterfaceName={interface}\n\
             Session\\InterfaceAddress={host}\nSession\\DHTEnabled={dht}\nSession\\LSDEnabled={lan}\n\
             Session\\Encryption={encryption}\nSession\\DefaultSavePath={save}\nSession\\QueueingSystemEnabled=false\n\
             [Network]\nPortForwardingEnabled=false\n"
        );
        fs::write(config.join("qBittorrent.conf"), settings).unwrap();
        let mut command = Command::new("qbittorrent-nox");
        command
            .arg(format!("--profile={}", home.path().display()))
            .arg(format!("--save-path={save}"))
            .args(["--skip-dialog=true", source])
            .env("HOME", home.path());
        let process = Process::start("qbittorrent-nox", &mut command).staying();
        until_listening(API);
        until_listening(&place.address());
        Self { _process: process, _home: home }
    }

    #[track_caller]
    fn complete(&mut self) {
        until("qBittorrent to have it all", || {
            let torrent = torrent()?;
            if torrent["state"] == "error" {
                // The false alarm of libtorrent that lt_node.py tells of.
                request("POST", "/api/v2/torrents/resume", "hashes=all");
            }
            (torrent["progress"] == 1 && torrent["state"].as_str()?.ends_with("UP")).then_some(())
        });
    }
}

impl QBittorrent {
    /// Tells its only torrent of a peer.
    #[track_caller]
    pub fn add_peer(&self, peer: &str) {
        let hash = until("qBittorrent to know the torrent", || Some(torrent()?["hash"].as_str()?.to_owned()));
        let told = request("POST", "/api/v2/torrents/addPeers", &format!("hashes={hash}&peers={peer}"));
        assert!(told.contains("\"added\":1"), "{told}");
    }
}

fn torrent() -> Option<Value> {
    let torrents: Value = serde_json::from_str(&request("GET", "/api/v2/torrents/info", "")).ok()?;
    torrents.get(0).cloned()
}

/// One request; the body of its answer.
fn request(method: &str, path: &str, body: &str) -> String {
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    String::from_utf8_lossy(&http(API, method, path, form, body).1).into_owned()
}
