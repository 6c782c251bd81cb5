//! `peerage share`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;

use super::App;
use super::flags::{AuthorFlags, LimitFlags, NodeFlags};
use super::follow::{Ended, Follower, Step, Until};
use super::get::take_up::take_over;
use super::get::{PeerFlags, SeedFlags};
use super::session::{self, Session};
use super::target::Target;
use super::{stdin, up};
use crate::control::Control;
use crate::errors::{HintExt, usage};
use crate::link::read_torrent;
use crate::model::{
    AddRequest, AnyPath, Base64, Event, Limits, Problem, ShareRequest, State, TransferId, TransferOptions,
    TransferView,
};
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
    /// Write a .torrent file, too; `-` writes it to stdout instead of the link
    #[arg(long, value_name = "FILE")]
    torrent: Option<PathBuf>,
    /// Print the link as a QR code, too
    #[arg(long)]
    qr: bool,
    /// Reveal pieces one at a time, so that distinct ones spread first: for a first seed with little upload
    #[arg(long)]
    super_seed: bool,
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

impl Share {
    /// Whether the command says more of the transfer than what is shared.
    fn says_more(&self) -> bool {
        self.seed.is_bounded()
            || self.limits.limits() != Limits::default()
            || !self.peers.peers.is_empty()
            || self.names_sources()
    }

    /// Whether it says what only a new transfer takes up.
    fn names_sources(&self) -> bool {
        self.super_seed || self.author.names_sources()
    }
}

pub(super) async fn run(mut app: App, args: Share) -> Result<u8> {
    let target = args.torrent.as_deref().map(|file| Target::new(file, &args.path, &app.ui)).transpose()?;
    app.ui.raw = matches!(target, Some(Target::Stdout));
    if let Some(doubt) = args.author.doubt() {
        app.ui.warn(&doubt);
    }
    let as_torrent = args.as_torrent.as_deref().map(read_torrent).transpose()?;
    let spool = if args.path == Path::new("-") {
        if as_torrent.is_some() {
            return Err(usage("--as needs files in place, not stdin"));
        }
        let name = args.author.name.as_deref().unwrap_or("stdin");
        match stdin::spool(&app, name).await? {
            Some(spool) => Some(spool),
            None => return Ok(app.quit.status()),
        }
    } else {
        None
    };
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
    let request = AddRequest::Share(ShareRequest {
        path: AnyPath(path),
        as_torrent: as_torrent.map(Base64),
        author: args.author.options(),
        options: TransferOptions {
            peers: args.peers.peers.clone(),
            goal: args.seed.goal(None),
            limits: args.limits.limits(),
            super_seeding: args.super_seed,
            ..TransferOptions::default()
        },
    });
    if args.background {
        up::ensure(&app, &args.node).await?;
    }
    let Some(session) = app.quit.unless(session::open(&app, &args.node)).await else {
        return Ok(app.quit.status());
    };
    let session = session?;
    // A daemon that takes what came from stdin keeps it.
    let kept = spool.as_ref().filter(|_| !session.here).map(Spool::path);
    let ended = share(&app, &args, &session, request, target, kept).await;
    session.close().await;
    ended
}

async fn share(
    app: &App,
    args: &Share,
    session: &Session,
    request: AddRequest,
    target: Option<Target>,
    kept: Option<&Path>,
) -> Result<u8> {
    let control = &*session.control;
    let added = app.quit.unless(async {
        let added = control.add(request).await?;
        Ok::<_, Problem>((added, control.view(added.id).await?))
    });
    let Some(added) = added.await else { return Ok(app.quit.status()) };
    let (added, view) = added?;
    app.ui.event(&Event::Added { transfer: Box::new(view) })?;
    if added.existing {
        app.ui.say(format!("It is shared already, as transfer {}.", added.id));
        join(app, args, control, added.id).await?;
    }
    let until = match (args.background, args.seed.is_bounded()) {
        (true, _) => Until::Metadata,
        (false, true) => Until::Served,
        (false, false) => Until::Interrupted,
    };
    let mut follower = Follower::new(app, control, added.id);
    let told = |step, view: &TransferView| {
        if step == Step::Metadata { announce(&app.ui, args, view, kept) } else { Ok(()) }
    };
    // The link comes when the hashes are there, and so do the torrent and what has them already.
    let may_join = !session.here && args.says_more();
    if (target.is_some() || may_join)
        && let ended @ Ended::Interrupted = follower.follow(Until::Metadata, told).await?
    {
        return end(app, session, ended, follower.id);
    }
    if let Some(target) = target {
        target.write(&app.ui, &control.torrent(follower.id).await?)?;
    }
    if may_join && follower.id != added.id {
        join(app, args, control, follower.id).await?;
    }
    let ended = follower.follow(until, told).await?;
    end(app, session, ended, follower.id)
}

/// What is there already takes over what it can of this command.
async fn join(app: &App, args: &Share, control: &dyn Control, id: TransferId) -> Result<()> {
    take_over(control, id, &args.seed, args.limits.limits(), &args.peers).await?;
    if args.names_sources() {
        let told = "--tracker, --web-seed and --super-seed do not change a transfer that is there already";
        app.ui.warn(&Problem::new("unchanged", told));
    }
    Ok(())
}

fn end(app: &App, session: &Session, ended: Ended, id: TransferId) -> Result<u8> {
    match ended {
        Ended::Done(view) => {
            if view.state == State::Complete {
                let name = Shown(view.name.as_os_str());
                let times = view.uploaded as f64 / view.size.unwrap_or(0).max(1) as f64;
                app.ui.say(format!(
                    "{name} has been served as long as asked, {times:.2} times its size in all."
                ));
            }
            Ok(0)
        }
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

/// The link as data, and what to do with it as talk; and where what came from stdin is `kept`, unless that was shared already.
fn announce(ui: &Ui, args: &Share, view: &TransferView, kept: Option<&Path>) -> Result<()> {
    let Some(magnet) = &view.magnet else { return Ok(()) };
    ui.say(format!(
        "Sharing {}: {}, {}.",
        Shown(view.name.as_os_str()),
        Size(view.size.unwrap_or(0)),
        count(view.files.unwrap_or(0).into(), "file")
    ));
    if !ui.json && !ui.raw {
        ui.data(magnet)?;
    }
    if let Some(link) = &view.ipfs {
        ui.say(format!("Its name in IPFS: {link}"));
    }
    if let Some(url) = &view.gateway {
        ui.say(format!("In a browser: {url}"));
    }
    ui.say(format!("\nOn the other side:\n\n  {}\n", ui.painted("1", &format!("peerage get '{magnet}'"))));
    if let Some(path) = kept.filter(|path| view.path.as_path() == *path) {
        let path = Shown::path(path);
        ui.say(format!("What was read from stdin lies at {path} until the transfer is removed."));
    }
    if args.qr {
        match qr_code(magnet, ui.colour, ui.talk_columns()) {
            Ok(code) => ui.say(code),
            Err(why) => ui.say(why),
        }
    }
    Ok(())
}
