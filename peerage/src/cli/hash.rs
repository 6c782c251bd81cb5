//! `peerage hash`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use clap::Args;
use data_encoding::HEXLOWER;
use indicatif::{ProgressBar, ProgressDrawTarget};
use peerage_bittorrent::magnet::Magnet;
use peerage_bittorrent::metainfo::Metainfo;
use serde::Serialize;

use super::App;
use super::flags::AuthorFlags;
use super::stdin;
use super::target::Target;
use crate::author::{Authored, IpfsNames, MakeError, Named, make, no_cid};
use crate::errors::HintExt;
use crate::model::{AnyPath, Problem};
use crate::ui::{Shown, Size, percent};

/// How often the display moves.
const EVERY: Duration = Duration::from_millis(200);

/// Print every name of a file or folder without sharing it
#[derive(Debug, Args)]
pub(super) struct HashPath {
    /// The file or folder; `-` reads stdin
    #[arg(value_name = "PATH")]
    path: PathBuf,
    /// Write a .torrent file, too; `-` writes it to stdout, and the names are left out
    #[arg(long, value_name = "FILE")]
    torrent: Option<PathBuf>,
    #[command(flatten)]
    author: AuthorFlags,
}

/// The names of some content; `hash --json` prints one.
#[derive(Debug, Serialize)]
struct Names {
    info_hash_v1: Option<String>,
    info_hash_v2: Option<String>,
    cid: Option<String>,
    ipfs: Option<String>,
    name: AnyPath,
    size: u64,
    files: usize,
    piece_length: u32,
    magnet: String,
}

impl Names {
    fn of(torrent: &Metainfo, named: Option<&Named>) -> Self {
        let info = &torrent.info;
        let ipfs = named.map(|named| IpfsNames::of(&named.dag, info));
        Self {
            info_hash_v1: info.hashes.v1.map(|hash| HEXLOWER.encode(&hash)),
            info_hash_v2: info.hashes.v2.map(|hash| HEXLOWER.encode(&hash)),
            cid: ipfs.as_ref().map(|names| names.content.to_string()),
            ipfs: ipfs.map(|names| format!("ipfs://{}", names.path())),
            name: info.name.as_path().into(),
            size: info.layout.content_length(),
            files: super::inspect::files(info).count(),
            piece_length: info.piece_length(),
            magnet: Magnet::from(torrent).to_string(),
        }
    }
}

pub(super) async fn run(mut app: App, mut args: HashPath) -> Result<u8> {
    let target = args.torrent.as_deref().map(|file| Target::new(file, &args.path, &app.ui)).transpose()?;
    app.ui.raw = matches!(target, Some(Target::Stdout));
    if let Some(doubt) = args.author.doubt() {
        app.ui.warn(&doubt);
    }
    let mut spool = None;
    if args.path == Path::new("-") {
        let name = args.author.name.as_deref().unwrap_or("stdin");
        let Some(read) = stdin::spool(&app, name).await? else { return Ok(app.quit.status()) };
        read.path().clone_into(&mut args.path);
        spool = Some(read);
    }
    let hashed = names(&app, &args, target).await;
    drop(spool);
    hashed
}

async fn names(app: &App, args: &HashPath, target: Option<Target>) -> Result<u8> {
    let Some(authored) = hashed(app, args).await? else {
        return Ok(app.quit.status());
    };
    for (path, why) in &authored.skipped {
        app.ui.warn(&Problem::new("skipped", format!("passed over {}: {why}", Shown::path(path))));
    }
    if let Some(target) = &target {
        target.write(&app.ui, &authored.torrent.to_bytes())?;
    }
    let named = match &authored.ipfs {
        Some(Err(error)) => {
            app.ui.warn(&no_cid(error));
            None
        }
        Some(Ok(named)) => Some(named),
        None => None,
    };
    let names = Names::of(&authored.torrent, named);
    let ui = &app.ui;
    if ui.raw {
        // stdout is the torrent.
        return Ok(0);
    }
    if ui.json {
        ui.object(&names)?;
        return Ok(0);
    }
    let name = Shown(names.name.as_os_str());
    ui.data(format!("name         {name}"))?;
    ui.data(format!("size         {} ({} bytes)", Size(names.size), names.size))?;
    ui.data(format!("pieces of    {}", Size(names.piece_length.into())))?;
    if let Some(hash) = &names.info_hash_v1 {
        ui.data(format!("v1 hash      {hash}"))?;
    }
    if let Some(hash) = &names.info_hash_v2 {
        ui.data(format!("v2 hash      {hash}"))?;
    }
    if let Some(cid) = &names.cid {
        ui.data(format!("cid          {cid}"))?;
    }
    ui.data(format!("link         {}", names.magnet))?;
    if let Some(link) = &names.ipfs {
        ui.data(format!("             {link}"))?;
    }
    Ok(0)
}

/// Hashes on a thread of its own, so that Ctrl-C is heard; `None` when it was.
async fn hashed(app: &App, args: &HashPath) -> Result<Option<Authored>> {
    let done = Arc::new(AtomicU64::new(0));
    let total = Arc::new(AtomicU64::new(0));
    let (quit, path, options) = (app.quit.token.clone(), args.path.clone(), args.author.options());
    let (counted, all) = (done.clone(), total.clone());
    let mut work = tokio::task::spawn_blocking(move || {
        make(&path, &options, &|hashed, size| {
            counted.store(hashed, Ordering::Relaxed);
            all.store(size, Ordering::Relaxed);
            !quit.is_cancelled()
        })
    });
    let bar = (app.ui.terminal && !app.ui.json && !app.ui.quiet).then(|| {
        ProgressBar::with_draw_target(Some(1), ProgressDrawTarget::stderr()).with_style(
            indicatif::ProgressStyle::with_template("{bar:30} {msg}")
                .unwrap_or_else(|_| indicatif::ProgressStyle::default_bar()),
        )
    });
    let mut ticks = tokio::time::interval(EVERY);
    let made = loop {
        tokio::select! {
            made = &mut work => break made,
            _ = ticks.tick() => {
                if let Some(bar) = &bar {
                    let (hashed, size) = (done.load(Ordering::Relaxed), total.load(Ordering::Relaxed));
                    bar.set_length(size.max(1));
                    bar.set_position(hashed);
                    bar.set_message(format!("{} / {}  {} %", Size(hashed), Size(size), percent(hashed, size)));
                }
            }
        }
    };
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    let at = || format!("hash {}", Shown::path(&args.path));
    match made.context("hash")? {
        Ok(authored) => Ok(Some(authored)),
        Err(_) if app.quit.token.is_cancelled() => Ok(None),
        Err(MakeError::Storage(error)) if error.source.kind() == std::io::ErrorKind::NotFound => {
            Err(anyhow!(error)).with_context(at).hint("name a file or a folder that exists")
        }
        Err(error) => Err(anyhow!(error)).with_context(at),
    }
}
