//! Flags that several commands share.

use std::net::SocketAddr;

use clap::Args;
use peerage_bittorrent::tracker::TrackerUrl;
use peerage_bittorrent::webseed::WebSeed;

use crate::config::Loaded;
use crate::model::{AuthorOptions, CidProfile, Limits, Problem, Versions};
use crate::node::{Encryption, NodeConfig};
use crate::values::{Bytes, address};

/// How a node runs: for the commands that may run one.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Node options")]
pub(super) struct NodeFlags {
    /// Accept peers on this address; repeatable. Port 0 takes any free one
    #[arg(long, value_name = "ADDR:PORT", value_parser = address)]
    listen: Vec<SocketAddr>,
    /// Do not use the DHT
    #[arg(long)]
    no_dht: bool,
    /// Do not look for peers on the local network, nor be found there
    #[arg(long)]
    no_lan: bool,
    /// Enter the DHT through this node; repeatable
    #[arg(long, value_name = "HOST:PORT")]
    dht_bootstrap: Vec<String>,
    /// Encrypt connections: prefer (with peers that want it), require or off
    #[arg(long, value_name = "MODE", hide_possible_values = true)]
    encryption: Option<Encryption>,
    /// Connections to peers at a time
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    connections: Option<u32>,
}

impl NodeFlags {
    /// The settings of a node of this process, after the configuration and these flags.
    pub(super) fn node(&self, loaded: &Loaded, restore: bool) -> NodeConfig {
        let mut config = loaded.config.clone();
        if !self.listen.is_empty() {
            config.listen.clone_from(&self.listen);
        }
        config.dht &= !self.no_dht;
        config.lan &= !self.no_lan;
        if !self.dht_bootstrap.is_empty() {
            config.dht_bootstrap.clone_from(&self.dht_bootstrap);
        }
        config.encryption = self.encryption.unwrap_or(config.encryption);
        config.connections = self.connections.map_or(config.connections, |connections| connections as usize);
        let chosen = !self.listen.is_empty() || loaded.is_chosen("listen");
        NodeConfig { listen_elsewhere: !chosen, ..config.node(restore) }
    }

    /// The first flag that was given, as typed: a daemon that runs already cannot be changed by it.
    pub(super) fn given(&self) -> Option<&'static str> {
        let flags = [
            (!self.listen.is_empty(), "--listen"),
            (self.no_dht, "--no-dht"),
            (self.no_lan, "--no-lan"),
            (!self.dht_bootstrap.is_empty(), "--dht-bootstrap"),
            (self.encryption.is_some(), "--encryption"),
            (self.connections.is_some(), "--connections"),
        ];
        flags.into_iter().find_map(|(given, flag)| given.then_some(flag))
    }
}

/// Limits in bytes a second.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(super) struct LimitFlags {
    /// Send no more than this a second: 500k, 5M; 0: no limit
    #[arg(long, value_name = "RATE")]
    limit_up: Option<Bytes>,
    /// Receive no more than this a second
    #[arg(long, value_name = "RATE")]
    limit_down: Option<Bytes>,
}

impl LimitFlags {
    pub(super) fn limits(self) -> Limits {
        Limits { up: self.limit_up.map(|rate| rate.0), down: self.limit_down.map(|rate| rate.0) }
    }
}

/// How a torrent is made.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Torrent options")]
pub(super) struct AuthorFlags {
    /// The name that others see, instead of the file's
    #[arg(long, value_name = "NAME")]
    pub(super) name: Option<String>,
    /// Announce to this tracker; repeatable. Trackers of one argument, separated by commas, are one tier
    #[arg(long = "tracker", value_name = "URL", value_parser = trackers)]
    trackers: Vec<String>,
    /// The same bytes can be had at this URL; repeatable
    #[arg(long = "web-seed", value_name = "URL", value_parser = web_seed)]
    web_seeds: Vec<String>,
    /// Find peers through the trackers alone
    #[arg(long)]
    private: bool,
    /// Bytes in a piece, a power of two from 16k to 128M; chosen by size otherwise
    #[arg(long, value_name = "SIZE", value_parser = piece_size)]
    piece_size: Option<u32>,
    /// For programs that speak v2 and v1: this is the default
    #[arg(long, group = "versions")]
    hybrid: bool,
    /// For programs that speak v1 only, such as aria2 and transmission 3: a smaller torrent
    #[arg(long, group = "versions")]
    v1_only: bool,
    /// For programs that speak v2 only
    #[arg(long, group = "versions")]
    v2_only: bool,
    /// How it is named in IPFS: unixfs-v1-2025, unixfs-v0-2015 (kubo's CIDs that begin with Qm), either with changes such as
    /// unixfs-v1-2025,chunk-size=262144,width=174, or none. The first, unless it is private
    #[arg(long, value_name = "PROFILE")]
    cid_profile: Option<CidProfile>,
}

impl AuthorFlags {
    /// What its user may not have meant.
    pub(super) fn doubt(&self) -> Option<Problem> {
        let told = "a private torrent is found through its trackers alone, and this one names none";
        let hint = "name one with --tracker URL; without it, the other side has to say --peer ADDR:PORT";
        (self.private && self.trackers.is_empty()).then(|| Problem::new("no_tracker", told).hint(hint))
    }

    /// Whether somebody is named who has the content, or knows who has.
    pub(super) fn names_sources(&self) -> bool {
        !self.trackers.is_empty() || !self.web_seeds.is_empty()
    }

    pub(super) fn options(&self) -> AuthorOptions {
        let tier = |text: &String| {
            text.split(',').map(|url| url.trim().to_owned()).filter(|url| !url.is_empty()).collect()
        };
        AuthorOptions {
            versions: match (self.v1_only, self.v2_only) {
                (true, _) => Versions::V1,
                (_, true) => Versions::V2,
                _ => Versions::Hybrid,
            },
            name: self.name.clone(),
            piece_size: self.piece_size,
            private: self.private,
            trackers: self.trackers.iter().map(tier).filter(|tier: &Vec<String>| !tier.is_empty()).collect(),
            web_seeds: self.web_seeds.clone(),
            cid_profile: self.cid_profile.clone(),
        }
    }
}

fn trackers(text: &str) -> Result<String, String> {
    for url in text.split(',').map(str::trim).filter(|url| !url.is_empty()) {
        TrackerUrl::parse(url).map_err(|error| format!("{url:?}: {error}"))?;
    }
    Ok(text.to_owned())
}

fn web_seed(url: &str) -> Result<String, String> {
    WebSeed::new(url, None).map(|_| url.to_owned()).map_err(|error| error.to_string())
}

fn piece_size(text: &str) -> Result<u32, String> {
    let Bytes(size) = text.parse().map_err(|error: crate::values::BadValue| error.to_string())?;
    match u32::try_from(size) {
        Ok(size) if size.is_power_of_two() && (16 << 10..=128 << 20).contains(&size) => Ok(size),
        _ => Err(format!("{text:?} is not a power of two from 16k to 128M")),
    }
}
