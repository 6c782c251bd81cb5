//! qbittorrent-nox 4.5, through its web API.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::until_listening;
use crate::process::{Process, until};

/// Where it takes commands.
const API: &str = "127.0.0.1:8080";

/// A running qBittorrent without its window.
#[derive(Debug)]
pub struct QBittorrent {
    _process: Process,
    _home: tempfile::TempDir,
}

impl QBittorrent {
    /// Starts it with one torrent, whose files lie, or are to lie, in `folder`.
    #[track_caller]
    pub fn start(host: &str, port: u16, torrent: &str, folder: &Path) -> Self {
        fs::create_dir_all(folder).unwrap();
        let home = tempfile::tempdir().unwrap();
        let config = home.path().join("qBittorrent/config");
        fs::create_dir_all(&config).unwrap();
        let save = folder.display();
        let settings = format!(
            "[LegalNotice]\nAccepted=true\n\
             [Preferences]\nWebUI\\Address=127.0.0.1\nWebUI\\Port=8080\nWebUI\\LocalHostAuth=false\nWebUI\\UPnP=false\n\
             [BitTorrent]\nSession\\Port={port}\nSession\\Interface=lo\nSession\\InterfaceName=lo\n\
             Session\\InterfaceAddress={host}\nSession\\DHTEnabled=false\nSession\\LSDEnabled=false\n\
             Session\\DefaultSavePath={save}\nSession\\QueueingSystemEnabled=false\n\
             [Network]\nPortForwardingEnabled=false\n"
        );
        fs::write(config.join("qBittorrent.conf"), settings).unwrap();
        let mut command = Command::new("qbittorrent-nox");
        command
            .arg(format!("--profile={}", home.path().display()))
            .arg(format!("--save-path={save}"))
            .args(["--skip-dialog=true", torrent])
            .env("HOME", home.path());
        let process = Process::start("qbittorrent-nox", &mut command);
        until_listening(API);
        until_listening(&format!("{host}:{port}"));
        Self { _process: process, _home: home }
    }

    /// Waits until its only torrent is whole and verified.
    #[track_caller]
    pub fn complete(&self) {
        until("qBittorrent to have it all", || {
            let torrent = self.torrent()?;
            (torrent["progress"] == 1 && torrent["state"].as_str()?.ends_with("UP")).then_some(())
        });
    }

    /// Tells its only torrent of a peer.
    #[track_caller]
    pub fn add_peer(&self, peer: &str) {
        let hash =
            until("qBittorrent to know the torrent", || Some(self.torrent()?["hash"].as_str()?.to_owned()));
        let told = request("POST", "/api/v2/torrents/addPeers", &format!("hashes={hash}&peers={peer}"));
        assert!(told.contains("\"added\":1"), "{told}");
    }

    fn torrent(&self) -> Option<Value> {
        let torrents: Value = serde_json::from_str(&request("GET", "/api/v2/torrents/info", "")).ok()?;
        torrents.get(0).cloned()
    }
}

/// One HTTP request; the body of its answer.
fn request(method: &str, path: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(API).unwrap();
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {API}\r\nConnection: close\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split_once("\r\n\r\n").map_or(String::new(), |(_, body)| body.to_owned())
}
