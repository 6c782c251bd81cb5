//! The configuration: one TOML file of flat keys, all with defaults.
//!
//! [`Config`] is the effective configuration. [`Loaded`] knows, too, where each value came from. The file is found in the XDG
//! configuration folder unless `--config` names one, and is written by `peerage config set` alone, which keeps the
//! comments in it.

mod edit;
mod keys;

pub use edit::set;
pub use keys::{KEYS, Key, nearest};

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use directories::ProjectDirs;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::errors::{HintExt, usage};
use crate::model::{Limits, SeedGoal};
use crate::node::{Dht, Encryption, NodeConfig};
use crate::values::{Bytes, Span};

/// The largest configuration file that is read.
const FILE_LENGTH_MAX: u64 = 1 << 20;

/// The effective configuration. Each field is a key of the file; [`KEYS`] says what it is for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "KEYS documents each of them, for users too")]
pub struct Config {
    pub data_dir: PathBuf,
    pub download_dir: PathBuf,
    pub listen: Vec<SocketAddr>,
    pub dht: bool,
    pub dht_bootstrap: Vec<String>,
    pub lan: bool,
    pub encryption: Encryption,
    pub limit_up: Bytes,
    pub limit_down: Bytes,
    pub limit_up_per_peer: Bytes,
    pub limit_down_per_peer: Bytes,
    pub connections: usize,
    pub connections_per_transfer: usize,
    pub upload_slots: usize,
    pub super_seed: bool,
    pub active_downloads: usize,
    pub seed_ratio: f64,
    pub seed_time: Span,
    pub disk_quota: Bytes,
    pub preallocate: bool,
    pub gateway: bool,
    pub gateway_listen: SocketAddr,
    pub api_listen: SocketAddr,
    pub metrics_open: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: dirs().map(|dirs| dirs.data_dir().to_owned()).unwrap_or_else(|| ".peerage".into()),
            download_dir: ".".into(),
            listen: vec![
                SocketAddr::from(([0, 0, 0, 0], LISTEN_PORT)),
                SocketAddr::from(([0_u16; 8], LISTEN_PORT)),
            ],
            dht: true,
            dht_bootstrap: Vec::new(),
            lan: true,
            encryption: Encryption::Prefer,
            limit_up: Bytes(0),
            limit_down: Bytes(0),
            limit_up_per_peer: Bytes(0),
            limit_down_per_peer: Bytes(0),
            connections: 500,
            connections_per_transfer: 80,
            upload_slots: 0,
            super_seed: false,
            active_downloads: 8,
            seed_ratio: 0.0,
            seed_time: Span::default(),
            disk_quota: Bytes(0),
            preallocate: false,
            gateway: true,
            gateway_listen: SocketAddr::from(([127, 0, 0, 1], GATEWAY_PORT)),
            api_listen: SocketAddr::from(([127, 0, 0, 1], API_PORT)),
            metrics_open: false,
        }
    }
}

/// The port that BitTorrent programs try first.
const LISTEN_PORT: u16 = 6881;
/// The daemon's API, next to it.
const API_PORT: u16 = 6880;

/// Where programs look for a gateway.
const GATEWAY_PORT: u16 = 8080;

/// Where a value of the configuration came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Built in.
    Default,
    /// The file.
    File,
    /// A flag of this command, or the environment variable that stands for it.
    Flag,
}

/// The configuration with its origins.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The values.
    pub config: Config,
    /// The file that was read, or would have been if it existed.
    pub path: PathBuf,
    origins: BTreeMap<String, Origin>,
}

impl Loaded {
    /// Reads the file at `path`, or (`None`) the usual one. The usual one may be missing.
    ///
    /// # Errors
    /// A file that cannot be read, is not TOML, or has an unknown key or a bad value: told with its place in the file.
    pub fn read(path: Option<&Path>) -> Result<Self> {
        let file = path.map_or_else(usual_path, Path::to_owned);
        let text = match read_text(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound && path.is_none() => String::new(),
            Err(error) => {
                return Err(error).with_context(|| format!("read the configuration {}", file.display()));
            }
        };
        Self::parse(&text, file)
    }

    fn parse(text: &str, path: PathBuf) -> Result<Self> {
        let at = || format!("the configuration {} is not valid", path.display());
        let table: Table =
            text.parse().map_err(|error: toml::de::Error| anyhow!(told(text, &error))).with_context(at)?;
        for key in table.keys() {
            known(key).with_context(at)?;
        }
        let mut config: Config =
            toml::from_str(text).map_err(|error| anyhow!(told(text, &error))).with_context(at)?;
        check(&config).with_context(at).hint("`peerage config set KEY VALUE` repairs it")?;
        config.data_dir = without_tilde(config.data_dir);
        config.download_dir = without_tilde(config.download_dir);
        let origins = table.keys().map(|key| (key.clone(), Origin::File)).collect();
        Ok(Self { config, path, origins })
    }

    /// Notes that a flag replaced the value of `key`.
    pub fn by_flag(&mut self, key: &str) {
        self.origins.insert(key.to_owned(), Origin::Flag);
    }

    /// Whether the file or a flag says what `key` is.
    pub fn is_chosen(&self, key: &str) -> bool {
        self.origins.get(key).is_some_and(|origin| *origin != Origin::Default)
    }

    /// All keys with their values and origins, in the order of [`KEYS`].
    pub fn entries(&self) -> Vec<(&'static Key, Value, Origin)> {
        let values = Table::try_from(&self.config).unwrap_or_default();
        KEYS.iter()
            .filter_map(|key| {
                let value = values.get(key.name)?.clone();
                Some((key, value, self.origins.get(key.name).cloned().unwrap_or(Origin::Default)))
            })
            .collect()
    }
}

impl Config {
    /// How a node runs after it.
    pub fn node(&self, restore: bool) -> NodeConfig {
        NodeConfig {
            data_dir: self.data_dir.clone(),
            listen: self.listen.clone(),
            listen_elsewhere: false,
            dht: self.dht.then(|| Dht { bootstrap: self.dht_bootstrap.clone() }),
            lan: self.lan,
            encryption: self.encryption,
            limits: Limits { up: Some(self.limit_up.0), down: Some(self.limit_down.0) },
            peer_limits: Limits {
                up: Some(self.limit_up_per_peer.0),
                down: Some(self.limit_down_per_peer.0),
            },
            connections_max: self.connections,
            transfer_connections_max: self.connections_per_transfer,
            upload_slots: self.upload_slots,
            super_seeding: self.super_seed,
            disk_quota: Some(self.disk_quota.0),
            active_downloads_max: self.active_downloads,
            goal: SeedGoal {
                ratio: (self.seed_ratio > 0.0).then_some(self.seed_ratio),
                seconds: (!self.seed_time.0.is_zero()).then_some(self.seed_time.0.as_secs()),
            },
            restore,
        }
    }
}

/// Whether there is such a key.
///
/// # Errors
/// Bad usage, with the key that was probably meant.
pub fn known(key: &str) -> Result<&'static Key> {
    if let Some(known) = KEYS.iter().find(|known| known.name == key) {
        return Ok(known);
    }
    let meant = match nearest(key) {
        Some(near) => format!("did you mean `{near}`? "),
        None => String::new(),
    };
    Err(usage(format!("there is no key {key:?}"))).hint(format!("{meant}`peerage config` lists all keys"))
}

/// What the types cannot say.
fn check(config: &Config) -> Result<()> {
    if !config.api_listen.ip().is_loopback() {
        return Err(anyhow!("api_listen = {} is not a loopback address", config.api_listen))
            .hint("the daemon's API is for this machine alone: use 127.0.0.1:PORT");
    }
    if !(0.0..=1e6).contains(&config.seed_ratio) {
        return Err(anyhow!("seed_ratio = {} is out of bounds", config.seed_ratio));
    }
    for (key, connections) in
        [("connections", config.connections), ("connections_per_transfer", config.connections_per_transfer)]
    {
        if connections == 0 {
            return Err(anyhow!("{key} = 0 would let no peer in"));
        }
    }
    if config.listen.is_empty() {
        return Err(anyhow!("listen is empty")).hint("name an address, such as 0.0.0.0:6881");
    }
    Ok(())
}

/// Where the file is unless `--config` says otherwise.
pub fn usual_path() -> PathBuf {
    dirs().map_or_else(|| "peerage.toml".into(), |dirs| dirs.config_dir().join("config.toml"))
}

fn dirs() -> Option<ProjectDirs> {
    ProjectDirs::from("", "", "peerage")
}

/// `~/x` is what people write in a file; no shell has seen it.
fn without_tilde(path: PathBuf) -> PathBuf {
    match (path.strip_prefix("~"), directories::UserDirs::new()) {
        (Ok(rest), Some(user)) => user.home_dir().join(rest),
        _ => path,
    }
}

/// Reads the file, unless it is too long to be a configuration.
fn read_text(path: &Path) -> std::io::Result<String> {
    if std::fs::metadata(path)?.len() > FILE_LENGTH_MAX {
        return Err(std::io::Error::new(ErrorKind::FileTooLarge, "longer than 1 MiB"));
    }
    std::fs::read_to_string(path)
}

/// The place and the words of an error of TOML, in one line.
fn told(text: &str, error: &toml::de::Error) -> String {
    let line = error.span().map(|span| text.get(..span.start).unwrap_or(text).lines().count().max(1));
    let place = line.map(|line| format!("line {line}: ")).unwrap_or_default();
    format!("{place}{}", error.message().replace('\n', " "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::errors::problem;

    fn parse(text: &str) -> Result<Loaded> {
        Loaded::parse(text, "/etc/x.toml".into())
    }

    #[test]
    fn an_empty_file_is_the_defaults() {
        let loaded = parse("").unwrap();
        assert_eq!(loaded.config, Config::default());
        assert!(loaded.entries().iter().all(|(_, _, origin)| *origin == Origin::Default));
    }

    #[test]
    fn every_field_has_a_documented_key_and_only_those() {
        let table = Table::try_from(Config::default()).unwrap();
        let mut keys: Vec<&str> = KEYS.iter().map(|key| key.name).collect();
        assert_eq!(parse("").unwrap().entries().len(), KEYS.len());
        keys.sort_unstable();
        let mut fields: Vec<&String> = table.keys().collect();
        fields.sort_unstable();
        assert_eq!(keys, fields);
    }

    #[test]
    fn the_file_overrides_and_is_named_as_origin() {
        let loaded = parse("limit_up = \"5M\"\nseed_time = 60\nlan = false # quiet\n").unwrap();
        assert_eq!(loaded.config.limit_up, Bytes(5 << 20));
        assert_eq!(loaded.config.node(true).goal, SeedGoal { ratio: None, seconds: Some(60) });
        assert!(!loaded.config.lan);
        let origin = |name| loaded.entries().into_iter().find(|(key, _, _)| key.name == name).unwrap().2;
        assert_eq!(origin("lan"), Origin::File);
        assert_eq!(origin("dht"), Origin::Default);
    }

    #[test]
    fn an_unknown_key_is_an_error_with_a_suggestion() {
        let told = problem(&parse("lissten = []").unwrap_err());
        assert_eq!(told.message, "the configuration /etc/x.toml is not valid");
        assert_eq!(told.causes, ["there is no key \"lissten\""]);
        assert_eq!(told.hint.unwrap(), "did you mean `listen`? `peerage config` lists all keys");
    }

    #[test]
    fn a_bad_value_is_told_with_its_line() {
        for (text, part) in [
            ("dht = true\nlimit_up = \"5X\"", "line 2: \"5X\" is not an amount of bytes"),
            ("\n\nlisten = 3", "line 3: "),
            ("encryption = \"maybe\"", "unknown variant `maybe`"),
            ("dht = ", "line 1: "),
            ("api_listen = \"0.0.0.0:80\"", "not a loopback address"),
            ("seed_ratio = -1.0", "out of bounds"),
            ("listen = []", "listen is empty"),
        ] {
            let causes = problem(&parse(text).unwrap_err()).causes.join("; ");
            assert!(causes.contains(part), "{text}: {causes}");
        }
    }
}
