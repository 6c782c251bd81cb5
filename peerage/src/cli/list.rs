//! `peerage ls`, `show` and `peers`: what the daemon does.

use anyhow::Result;
use clap::Args;

use super::{App, session};
use crate::control::Control;
use crate::model::{FilePriority, Limits, PeerView, SeedGoal, TrackerState, TransferRef, TransferView};
use crate::ui::{Rate, Shown, Size, Table, Time, count, details, percent, state_word, waiting};
use crate::values::Bytes;

/// Columns that foreign names may take in the middle of a table.
const CLIENT_COLUMNS: usize = 32;

/// List the transfers of the daemon
#[derive(Debug, Args)]
#[command(visible_alias = "list")]
pub(super) struct Ls {}

/// Show one transfer: state, files, trackers
#[derive(Debug, Args)]
pub(super) struct Show {
    /// Its number, or the beginning of an info hash
    #[arg(value_name = "TRANSFER")]
    which: TransferRef,
    /// List its files, too
    #[arg(long)]
    files: bool,
    /// List its trackers, too
    #[arg(long)]
    trackers: bool,
}

/// List the connected peers of a transfer
#[derive(Debug, Args)]
pub(super) struct Peers {
    /// Its number, or the beginning of an info hash
    #[arg(value_name = "TRANSFER")]
    which: TransferRef,
}

pub(super) async fn ls(app: &App, _args: Ls) -> Result<u8> {
    let views = session::daemon(app).await?.list().await?;
    if app.ui.json {
        for view in &views {
            app.ui.object(view)?;
        }
        return Ok(0);
    }
    if views.is_empty() {
        app.ui.say("No transfers. `peerage share PATH` and `peerage get LINK` add some.");
    }
    let mut table =
        Table::new(&[">#", "state", ">done", "~>size", "~>down", "~>up", "~>peers", "~>ratio", "name"]);
    for view in &views {
        table.row([
            view.id.to_string(),
            state_word(view.state).to_owned(),
            view.wanted.map_or_else(dash, |wanted| format!("{} %", percent(view.verified, wanted))),
            view.size.map_or_else(dash, |size| Size(size).to_string()),
            rate(view.download_rate),
            rate(view.upload_rate),
            format!("{}/{}", view.peers_connected, view.peers_known.max(view.peers_connected)),
            ratio(view),
            Shown(view.name.as_os_str()).to_string(),
        ]);
    }
    print(app, &table)?;
    Ok(0)
}

pub(super) async fn show(app: &App, args: Show) -> Result<u8> {
    let daemon = session::daemon(app).await?;
    let id = daemon.find(&args.which).await?;
    let view = daemon.view(id).await?;
    let files = if args.files { daemon.files(id).await? } else { Vec::new() };
    let trackers = if args.trackers { daemon.trackers(id).await? } else { Vec::new() };
    let ui = &app.ui;
    if ui.json {
        let mut object = serde_json::to_value(&view)?;
        if args.files {
            object["file_list"] = serde_json::to_value(&files)?;
        }
        if args.trackers {
            object["tracker_list"] = serde_json::to_value(&trackers)?;
        }
        ui.object(&object)?;
        return Ok(0);
    }
    for (label, value) in facts(&view) {
        ui.data(format!("{label:<12} {value}"))?;
    }
    if let Some(problem) = &view.problem {
        ui.warn(problem);
    }
    if !files.is_empty() {
        let mut table = Table::new(&[">#", ">done", "~>size", "~wanted", "file"]);
        for file in &files {
            let changed = if file.changed { "  (changed)" } else { "" };
            table.row([
                file.index.to_string(),
                format!("{} %", percent(file.verified, file.size)),
                Size(file.size).to_string(),
                priority_word(file.priority).to_owned(),
                format!("{}{changed}", Shown(file.path.as_os_str())),
            ]);
        }
        ui.data("")?;
        print(app, &table)?;
    }
    if !trackers.is_empty() {
        let mut table = Table::new(&[
            "~>tier",
            "state",
            "~>peers",
            "~>seeds",
            "~>leechers",
            "~>next",
            "tracker",
            "message",
        ]);
        for tracker in &trackers {
            table.row([
                tracker.tier.to_string(),
                tracker_word(tracker.state).to_owned(),
                tracker.peers.to_string(),
                tracker.seeds.map_or_else(dash, |seeds| seeds.to_string()),
                tracker.leechers.map_or_else(dash, |leechers| leechers.to_string()),
                tracker.next_announce.map_or_else(dash, |seconds| Time(seconds).to_string()),
                Shown::text(&tracker.url).to_string(),
                tracker.message.as_deref().map(|text| Shown::text(text).to_string()).unwrap_or_default(),
            ]);
        }
        ui.data("")?;
        print(app, &table)?;
    }
    Ok(0)
}

/// A transfer as labels and values.
fn facts(view: &TransferView) -> Vec<(&'static str, String)> {
    let mut facts = vec![
        ("transfer", view.id.to_string()),
        ("name", Shown(view.name.as_os_str()).to_string()),
        ("state", state_word(view.state).to_owned()),
        ("progress", details(view)),
    ];
    let mut add = |label, value: Option<String>| facts.extend(value.map(|value| (label, value)));
    add("waiting", waiting(view));
    add("path", Some(Shown(view.path.as_os_str()).to_string()));
    add(
        "size",
        view.size
            .zip(view.files)
            .map(|(size, files)| format!("{} in {}", Size(size), count(files.into(), "file"))),
    );
    add("pieces of", view.piece_length.map(|length| Size(length.into()).to_string()));
    add("v1 hash", view.info_hash_v1.clone());
    add("v2 hash", view.info_hash_v2.clone());
    add("cid", view.cid.clone());
    add("private", view.private.then(|| "yes: peers from trackers alone".to_owned()));
    add("received", Some(format!("{} ({} in vain)", Size(view.downloaded), Size(view.wasted))));
    add("sent", Some(format!("{} (ratio {})", Size(view.uploaded), ratio(view))));
    add(
        "peers",
        Some(format!(
            "{} connected, {} of them seeds, {} known",
            view.peers_connected, view.seeds_connected, view.peers_known
        )),
    );
    add("limits", limits(view.limits));
    add("serves", Some(goal(view.goal)));
    add("link", view.magnet.as_deref().map(|link| Shown::text(link).to_string()));
    add("ipfs", view.ipfs.clone());
    add("gateway", view.gateway.clone());
    facts
}

pub(super) async fn peers(app: &App, args: Peers) -> Result<u8> {
    let daemon = session::daemon(app).await?;
    let id = daemon.find(&args.which).await?;
    let peers = daemon.peers(id).await?;
    if app.ui.json {
        for peer in &peers {
            app.ui.object(peer)?;
        }
        return Ok(0);
    }
    if peers.is_empty() {
        let view = daemon.view(id).await?;
        let why = waiting(&view).unwrap_or_else(|| format!("it is {}", state_word(view.state)));
        app.ui.say(format!("No peer is connected: {why}."));
    }
    let mut table = Table::new(&[
        "address",
        "~client",
        ">has",
        "~>down",
        "~>up",
        "~>received",
        "~>sent",
        "~flags",
        "found by",
    ]);
    for peer in &peers {
        table.row([
            peer.address.to_string(),
            peer.client.as_deref().map(|text| Shown::text(text).within(CLIENT_COLUMNS)).unwrap_or_else(dash),
            format!("{} %", (peer.progress.clamp(0.0, 1.0) * 100.0).floor()),
            rate(peer.download_rate),
            rate(peer.upload_rate),
            Size(peer.downloaded).to_string(),
            Size(peer.uploaded).to_string(),
            flags(peer),
            peer.found.iter().map(|text| Shown::text(text).to_string()).collect::<Vec<_>>().join(","),
        ]);
    }
    print(app, &table)?;
    if !peers.is_empty() {
        app.ui.say("\nflags: D we download, d we want to but it chokes us; U we upload, u it wants but is choked; E encrypted; I it dialled us; S slow to answer");
    }
    Ok(0)
}

fn flags(peer: &PeerView) -> String {
    let download = match (peer.interesting, peer.choking_us) {
        (true, false) => "D",
        (true, true) => "d",
        _ => "",
    };
    let upload = match (peer.interested, peer.choked) {
        (true, false) => "U",
        (true, true) => "u",
        _ => "",
    };
    let set = |on: bool, letter| if on { letter } else { "" };
    [download, upload, set(peer.encrypted, "E"), set(!peer.outgoing, "I"), set(peer.snubbed, "S")].concat()
}

fn print(app: &App, table: &Table) -> Result<()> {
    for line in table.lines(app.ui.columns()) {
        app.ui.data(line)?;
    }
    Ok(())
}

fn dash() -> String {
    "-".to_owned()
}

fn rate(rate: u64) -> String {
    if rate == 0 { dash() } else { Rate(rate).to_string() }
}

fn ratio(view: &TransferView) -> String {
    match view.size {
        Some(size) if size > 0 => format!("{:.2}", view.uploaded as f64 / size as f64),
        _ => dash(),
    }
}

fn limits(limits: Limits) -> Option<String> {
    let one = |limit: Option<u64>, word| {
        limit.filter(|limit| *limit > 0).map(|limit| format!("{}/s {word}", Bytes(limit)))
    };
    let both: Vec<String> = [one(limits.up, "up"), one(limits.down, "down")].into_iter().flatten().collect();
    (!both.is_empty()).then(|| both.join(", "))
}

fn goal(goal: SeedGoal) -> String {
    match (goal.ratio, goal.seconds) {
        (None, None) => "until it is paused or removed".to_owned(),
        (None, Some(0)) => "while it downloads".to_owned(),
        (Some(ratio), None) => format!("up to a ratio of {ratio}"),
        (None, Some(seconds)) => format!("for {}", Time(seconds)),
        (Some(ratio), Some(seconds)) => {
            format!("up to a ratio of {ratio}, for at most {}", Time(seconds))
        }
    }
}

fn priority_word(priority: FilePriority) -> &'static str {
    match priority {
        FilePriority::Skip => "skip",
        FilePriority::Low => "low",
        FilePriority::Normal => "normal",
        FilePriority::High => "high",
    }
}

fn tracker_word(state: TrackerState) -> &'static str {
    match state {
        TrackerState::Idle => "idle",
        TrackerState::Asking => "asking",
        TrackerState::Working => "working",
        TrackerState::Failed => "failed",
    }
}
