//! `peerage inspect`.

use anyhow::{Result, anyhow};
use clap::Args;
use data_encoding::HEXLOWER;
use peerage_bittorrent::hash::InfoHashes;
use peerage_bittorrent::magnet::Magnet;
use peerage_bittorrent::metainfo::{Info, Metainfo};
use peerage_content::{Entry, EntryKind};
use serde::Serialize;

use super::App;
use crate::errors::HintExt;
use crate::link;
use crate::model::{AnyPath, Link, Problem};
use crate::ui::{Shown, Size, Table, count};

/// Show what a torrent or a link holds, or say why it is refused
#[derive(Debug, Args)]
pub(super) struct Inspect {
    /// A .torrent (path or URL), a magnet link or an info hash
    #[arg(value_name = "FILE|LINK")]
    link: String,
}

/// What `inspect --json` prints of a torrent.
#[derive(Debug, Serialize)]
struct Torrent {
    kind: &'static str,
    info_hash_v1: Option<String>,
    info_hash_v2: Option<String>,
    name: AnyPath,
    size: u64,
    piece_length: u32,
    pieces: u32,
    private: bool,
    source: Option<String>,
    comment: Option<String>,
    created_by: Option<String>,
    created: Option<i64>,
    trackers: Vec<Vec<String>>,
    web_seeds: Vec<String>,
    nodes: Vec<String>,
    files: Vec<File>,
    magnet: String,
}

#[derive(Debug, Serialize)]
struct File {
    path: AnyPath,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    link_to: Option<AnyPath>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    executable: bool,
}

/// What `inspect --json` prints of a link.
#[derive(Debug, Serialize)]
struct LinkView {
    kind: &'static str,
    info_hash_v1: Option<String>,
    info_hash_v2: Option<String>,
    name: Option<String>,
    size: Option<u64>,
    trackers: Vec<String>,
    web_seeds: Vec<String>,
    peers: Vec<String>,
    select_only: Vec<(u32, u32)>,
}

/// The entries of a torrent that are files or links: what `get` puts into the folder.
pub(super) fn files(info: &Info) -> impl Iterator<Item = &Entry> {
    info.layout.entries().iter().filter(|entry| entry.kind != EntryKind::Pad)
}

pub(super) async fn run(app: &App, args: Inspect) -> Result<u8> {
    match link::resolve(&args.link).await? {
        Link::Torrent(bytes) => {
            let what = Shown::text(&args.link).to_string();
            let torrent = Metainfo::parse(&bytes.0).map_err(|error| Problem::refused(&what, &error))?;
            show_torrent(app, &torrent)?;
        }
        Link::Name(text) => {
            let magnet: Magnet =
                text.parse().map_err(|error| anyhow!("{error}")).hint("quote the whole link")?;
            show_link(app, &magnet)?;
        }
    }
    Ok(0)
}

fn show_torrent(app: &App, torrent: &Metainfo) -> Result<()> {
    let info = &torrent.info;
    let (v1, v2) = hex(&info.hashes);
    let view = Torrent {
        kind: "torrent",
        info_hash_v1: v1,
        info_hash_v2: v2,
        name: info.name.as_path().into(),
        size: info.layout.content_length(),
        piece_length: info.piece_length(),
        pieces: info.layout.piece_count(),
        private: info.private,
        source: info.source.clone(),
        comment: torrent.comment.clone(),
        created_by: torrent.created_by.clone(),
        created: torrent.creation_date,
        trackers: torrent.trackers.clone(),
        web_seeds: torrent.web_seeds.clone(),
        nodes: torrent.nodes.iter().map(ToString::to_string).collect(),
        files: files(info).map(file).collect(),
        magnet: Magnet::from(torrent).to_string(),
    };
    if app.ui.json {
        app.ui.object(&view)?;
        return Ok(());
    }
    let mut facts = Facts::new(app);
    facts.say("name", Some(Shown(view.name.as_os_str()).to_string()))?;
    facts.say("size", Some(format!("{} in {}", Size(view.size), count(view.files.len() as u64, "file"))))?;
    facts.say("pieces", Some(format!("{} of {}", view.pieces, Size(view.piece_length.into()))))?;
    facts.text("v1 hash", view.info_hash_v1.as_deref())?;
    facts.text("v2 hash", view.info_hash_v2.as_deref())?;
    facts.say("private", view.private.then(|| "yes: peers from trackers alone".to_owned()))?;
    facts.text("source", view.source.as_deref())?;
    facts.text("comment", view.comment.as_deref())?;
    facts.text("made by", view.created_by.as_deref())?;
    for (tier, url) in
        view.trackers.iter().enumerate().flat_map(|(tier, urls)| urls.iter().map(move |url| (tier, url)))
    {
        facts.say("tracker", Some(format!("{}  (tier {})", Shown::text(url), tier + 1)))?;
    }
    for url in &view.web_seeds {
        facts.text("web seed", Some(url))?;
    }
    for node in &view.nodes {
        facts.text("DHT node", Some(node))?;
    }
    facts.text("link", Some(&view.magnet))?;
    let missing = info.layered().filter(|(_, root)| !torrent.piece_layers.contains_key(root)).count();
    facts.say(
        "note",
        (missing > 0)
            .then(|| format!("the hashes of {} must come from peers", count(missing as u64, "file"))),
    )?;
    if let Some((first, second)) = info.case_collision() {
        let path = |entry: usize| {
            info.layout
                .entries()
                .get(entry)
                .map(|entry| Shown::path(entry.path.as_path()).to_string())
                .unwrap_or_default()
        };
        facts.say(
            "note",
            Some(format!("{} and {} are one file where case does not count", path(first), path(second))),
        )?;
    }
    let mut table = Table::new(&[">size", "file"]);
    for file in &view.files {
        let target = file
            .link_to
            .as_ref()
            .map(|target| format!(" -> {}", Shown(target.as_os_str())))
            .unwrap_or_default();
        table.row([Size(file.size).to_string(), format!("{}{target}", Shown(file.path.as_os_str()))]);
    }
    app.ui.data("")?;
    for line in table.lines(app.ui.columns()) {
        app.ui.data(line)?;
    }
    Ok(())
}

fn file(entry: &Entry) -> File {
    let (link_to, executable) = match &entry.kind {
        EntryKind::Symlink { target } => (Some(target.as_path().into()), false),
        EntryKind::File { executable } => (None, *executable),
        EntryKind::Pad => (None, false),
    };
    File { path: entry.path.as_path().into(), size: entry.length, link_to, executable }
}

fn show_link(app: &App, magnet: &Magnet) -> Result<()> {
    let (v1, v2) = hex(&magnet.hashes);
    let view = LinkView {
        kind: "link",
        info_hash_v1: v1,
        info_hash_v2: v2,
        name: magnet.name.clone(),
        size: magnet.length,
        trackers: magnet.trackers.clone(),
        web_seeds: magnet.web_seeds.clone(),
        peers: magnet.peers.iter().map(ToString::to_string).collect(),
        select_only: magnet.select_only.iter().map(|range| (*range.start(), *range.end())).collect(),
    };
    if app.ui.json {
        app.ui.object(&view)?;
        return Ok(());
    }
    let mut facts = Facts::new(app);
    facts.text("name", view.name.as_deref())?;
    facts.say("size", view.size.map(|size| Size(size).to_string()))?;
    facts.text("v1 hash", view.info_hash_v1.as_deref())?;
    facts.text("v2 hash", view.info_hash_v2.as_deref())?;
    for (label, values) in [("tracker", &view.trackers), ("web seed", &view.web_seeds), ("peer", &view.peers)]
    {
        for value in values {
            facts.text(label, Some(value))?;
        }
    }
    let ranges: Vec<String> = view
        .select_only
        .iter()
        .map(|(first, last)| if first == last { first.to_string() } else { format!("{first}-{last}") })
        .collect();
    facts.say("files", (!ranges.is_empty()).then(|| format!("number {} alone", ranges.join(", "))))?;
    app.ui.say("\nThe files are known once peers are asked: `peerage get` does that.");
    Ok(())
}

fn hex(hashes: &InfoHashes) -> (Option<String>, Option<String>) {
    (hashes.v1.map(|hash| HEXLOWER.encode(&hash)), hashes.v2.map(|hash| HEXLOWER.encode(&hash)))
}

/// Labels and values, one a line.
struct Facts<'a> {
    app: &'a App,
}

impl<'a> Facts<'a> {
    fn new(app: &'a App) -> Self {
        Self { app }
    }

    /// A value that is harmless already.
    fn say(&mut self, label: &str, value: Option<String>) -> Result<()> {
        if let Some(value) = value {
            self.app.ui.data(format!("{label:<12} {value}"))?;
        }
        Ok(())
    }

    /// Foreign text.
    fn text(&mut self, label: &str, value: Option<&str>) -> Result<()> {
        self.say(label, value.map(|value| Shown::text(value).to_string()))
    }
}
