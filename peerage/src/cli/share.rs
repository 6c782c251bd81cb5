//! `peerage share`.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use clap::Args;

use super::App;
use super::flags::{AuthorFlags, LimitFlags, NodeFlags};
use super::follow::{Ended, Step, Until, follow};
use super::get::{PeerFlags, SeedFlags};
use super::session::{self, Session};
use super::up;
use crate::errors::{HintExt, usage};
use crate::link::read_torrent;
use crate::model::{AddRequest, AnyPath, Base64, Event, ShareRequest, TransferOptions, TransferView};
use crate::spool::Spool;
use crate::ui::{Shown, Size, Ui, count, qr_code};

/// Share a file or a folder, or what comes in on stdin
///
/// Hashes it once, prints the link and what to paste on the other side, and serves it until Ctrl-C (with a daemon: hands it over and
/// shows how it goes). The files stay where they are and are never copied.
///
/// The link names this peer's addresses: two machines on one network need nothing else.
#[derive(Debug, Args)]
pub(super) struct Share {
    /// The file or folder; `-` reads stdin into a file of the data directory first
    #[arg(value_name = "PATH")]
    path: PathBuf,
    /// Serve existing bytes under this existing .torrent; nothing is hashed but to check them
    #[arg(long = "as", value_name = "FILE.torrent", conflicts_with_all = ["name", "trackers", "web_seeds", "private", "piece_size", "versions"])]
    as_torrent: Option<PathBuf>,
    /// Write a .torrent file, too
    #[arg(long, value_name = "FILE")]
    torrent: Option<PathBuf>,
    /// Print the link as a QR code, too
    #[arg(long)]
    qr: bool,
    /// Hand it over to the daemon, which is started if none runs, and return once the link is known
    #[arg(long)]
    background: bool,
    #[command(flatten)]
    author: AuthorFlags,
    #[command(flatten)]
    seed: SeedFlags,
    #[command(flatten)]
    peers: PeerFlags,
    #[command(flatten)]
    limits: LimitFlags,
    #[command(flatten)]
    node: NodeFlags,
}

pub(super) async fn run(app: App, args: Share) -> Result<u8> {
    let spool = if args.path == Path::new("-") { Some(from_stdin(&app, &args).await?) } else { None };
    let path = match &spool {
        Some(spool) => spool.path().to_owned(),
        None => {
            std::path::absolute(&args.path).with_context(|| format!("share {}", Shown::path(&args.path)))?
        }
    };
    // A missing file is told before a daemon is bothered; `metadata` follows a link that the user named.
    std::fs::metadata(&path)
        .with_context(|| format!("share {}", Shown::path(&args.path)))
        .hint("name a file or a folder that exists, or - for stdin")?;
    let as_torrent = args.as_torrent.as_deref().map(read_torrent).transpose()?;
    let request = AddRequest::Share(ShareRequest {
        path: AnyPath(path),
        as_torrent: as_torrent.map(Base64),
        author: args.author.options(),
        options: TransferOptions {
            peers: args.peers.peers.clone(),
            goal: args.seed.goal(None),
            limits: args.limits.limits(),
            ..TransferOptions::default()
        },
    });
    if args.background {
        up::ensure(&app, &args.node).await?;
    }
    let session = session::open(&app, &args.node).await?;
    let ended = share(&app, &args, &session, request).await;
    if !session.here
        && let (Ok(_), Some(spool)) = (&ended, spool)
    {
        // The daemon goes on serving it: `peerage remove` forgets it, and its user deletes it.
        spool.keep();
    }
    session.close().await;
    ended
}

async fn share(app: &App, args: &Share, session: &Session, request: AddRequest) -> Result<u8> {
    let control = &*session.control;
    let added = control.add(request).await?;
    app.ui.event(&Event::Added { transfer: Box::new(control.view(added.id).await?) })?;
    if added.existing {
        app.ui.say(format!("It is shared already, as transfer {}.", added.id));
    }
    let until = match (args.background, args.seed.is_bounded()) {
        (true, _) => Until::Metadata,
        (false, true) => Until::Served,
        (false, false) => Until::Interrupted,
    };
    let told = |step, view: &TransferView| {
        if step == Step::Metadata { announce(&app.ui, args, view) } else { Ok(()) }
    };
    if let Some(file) = &args.torrent {
        // The link comes when the hashes are there, and so does the torrent.
        if let Ended::Interrupted = follow(app, control, added.id, Until::Metadata, told).await? {
            return Ok(app.quit.status());
        }
        write_torrent(file, &control.torrent(added.id).await?)?;
        app.ui.say(format!("Wrote {}.", Shown::path(file)));
        if until == Until::Metadata {
            return Ok(0);
        }
        return end(app, session, follow(app, control, added.id, until, |_, _| Ok(())).await?, added.id.0);
    }
    end(app, session, follow(app, control, added.id, until, told).await?, added.id.0)
}

fn end(app: &App, session: &Session, ended: Ended, id: u32) -> Result<u8> {
    match ended {
        Ended::Done(_) => Ok(0),
        Ended::Interrupted if session.here => {
            app.ui.say("Not shared any more.");
            Ok(app.quit.status())
        }
        Ended::Interrupted => {
            app.ui.say(format!("The daemon goes on sharing it: `peerage remove {id}` ends that."));
            Ok(app.quit.status())
        }
    }
}

/// The link as data, and what to do with it as talk.
fn announce(ui: &Ui, args: &Share, view: &TransferView) -> Result<()> {
    let Some(magnet) = &view.magnet else { return Ok(()) };
    ui.say(format!(
        "Sharing {}: {}, {}.",
        Shown(view.name.as_os_str()),
        Size(view.size.unwrap_or(0)),
        count(view.files.unwrap_or(0).into(), "file")
    ));
    if !ui.json {
        ui.data(magnet)?;
    }
    ui.say(format!("\nOn the other side:\n\n  {}\n", ui.painted("1", &format!("peerage get '{magnet}'"))));
    if args.qr {
        match qr_code(magnet, ui.colour) {
            Some(code) => ui.say(code),
            None => ui.say("The link is too long for a QR code."),
        }
    }
    Ok(())
}

/// Writes a .torrent file, whole or not at all.
pub(super) fn write_torrent(file: &Path, bytes: &[u8]) -> Result<()> {
    let mut beside = file.as_os_str().to_owned();
    beside.push(format!(".{}", std::process::id()));
    std::fs::write(&beside, bytes)
        .and_then(|()| std::fs::rename(&beside, file))
        .inspect_err(|_| {
            // What was begun is of no use.
            let _ = std::fs::remove_file(&beside);
        })
        .with_context(|| format!("write {}", Shown::path(file)))
}

async fn from_stdin(app: &App, args: &Share) -> Result<Spool> {
    if args.as_torrent.is_some() {
        return Err(usage("--as needs files in place, not stdin"));
    }
    let name = args.author.name.clone().unwrap_or_else(|| "stdin".to_owned());
    let folder = app.loaded.config.data_dir.join("stdin");
    app.ui.say("Reading stdin …");
    let read = tokio::task::spawn_blocking(move || {
        let spool = Spool::file(&folder, &name)?;
        let mut file = std::fs::File::create_new(spool.path())?;
        std::io::copy(&mut std::io::stdin().lock().by_ref(), &mut file)?;
        Ok(spool)
    });
    tokio::select! {
        spool = read => spool?.map_err(|error: std::io::Error| anyhow!(error)).context("read stdin into the data directory"),
        () = app.quit.token.cancelled() => Err(anyhow!("interrupted while reading stdin")),
    }
}
