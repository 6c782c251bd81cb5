//! `peerage get`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, anyhow};
use clap::Args;
use globset::Glob;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

pub(super) mod take_up;

use super::App;
use super::flags::{LimitFlags, NodeFlags};
use super::follow::{Ended, Follower, Step, Until};
use super::session::{self, Session};
use crate::control::Control;
use crate::errors::{HintExt, usage};
use crate::model::{
    AddRequest, AnyPath, Event, FilePriority, FileView, GetRequest, Link, PriorityRule, Problem, Role,
    SeedGoal, TransferId, TransferOptions, TransferView,
};
use crate::spool::{STDOUT, Spool};
use crate::stream::Stream;
use crate::ui::{OutputError, Rate, Shown, Size, took};
use crate::values::{Span, address};
use crate::{key, link};

/// Get what a link names
///
/// Downloads from everybody who has it, verifies every byte and serves what is verified meanwhile. Ends when everything is there
/// (with --seed: goes on serving). Interrupted at any point, the same command resumes.
#[derive(Debug, Args)]
pub(super) struct Get {
    /// A magnet link, a .torrent (path or URL) or an info hash
    #[arg(value_name = "LINK")]
    link: String,
    /// Same as --out
    #[arg(value_name = "DIR", conflicts_with = "out", hide = true)]
    to: Option<PathBuf>,
    /// Put it into this folder; `-` writes the file to stdout, in order
    #[arg(short, long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Get only files that match; repeatable. Quote it: '*.mkv', 'disc 1/**'
    #[arg(long, value_name = "GLOB", value_parser = glob)]
    only: Vec<String>,
    /// Say how much files that match are wanted: high, normal, low or skip; repeatable, later ones win
    #[arg(long, value_name = "GLOB=PRIORITY", value_parser = rule)]
    priority: Vec<PriorityRule>,
    /// Fetch the pieces in order
    #[arg(long)]
    sequential: bool,
    /// Serve the file over HTTP on this machine while it downloads, so that a player can play and seek in it
    #[arg(long)]
    stream: bool,
    /// Take the space of the files up front
    #[arg(long)]
    preallocate: bool,
    /// Replace files of the same name that are something else
    #[arg(long)]
    overwrite: bool,
    #[command(flatten)]
    seed: SeedFlags,
    #[command(flatten)]
    peers: PeerFlags,
    #[command(flatten)]
    limits: LimitFlags,
    #[command(flatten)]
    node: NodeFlags,
}

/// When serving ends.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(super) struct SeedFlags {
    /// Go on serving once everything is there
    #[arg(long)]
    seed: bool,
    /// Serve until this many times the size was uploaded
    #[arg(long, value_name = "RATIO", value_parser = ratio)]
    ratio: Option<f64>,
    /// Serve for this long, such as 30m, 2h or 7d
    #[arg(long, value_name = "TIME")]
    time: Option<Span>,
}

impl SeedFlags {
    /// The goal that was asked for, else `otherwise`.
    pub(super) fn goal(&self, otherwise: Option<SeedGoal>) -> Option<SeedGoal> {
        if self.is_bounded() {
            return Some(SeedGoal { ratio: self.ratio, seconds: self.time.map(|time| time.0.as_secs()) });
        }
        if self.seed { Some(SeedGoal::default()) } else { otherwise }
    }

    /// Whether serving ends by itself.
    pub(super) fn is_bounded(&self) -> bool {
        self.ratio.is_some() || self.time.is_some()
    }

    fn is_given(&self) -> bool {
        self.seed || self.is_bounded()
    }
}

/// Peers that the user knows.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct PeerFlags {
    /// Ask this peer, too; repeatable
    #[arg(long = "peer", value_name = "ADDR:PORT", value_parser = address)]
    pub(super) peers: Vec<SocketAddr>,
}

fn ratio(text: &str) -> Result<f64, String> {
    let bad = || format!("{text:?} is not a ratio such as 1.5");
    text.parse::<f64>().ok().filter(|ratio| (0.0..=1e6).contains(ratio)).ok_or_else(bad)
}

fn glob(text: &str) -> Result<String, String> {
    Glob::new(text).map(|_| text.to_owned()).map_err(|error| error.kind().to_string())
}

fn rule(text: &str) -> Result<PriorityRule, String> {
    let (pattern, word) = text.rsplit_once('=').ok_or("it is not GLOB=PRIORITY")?;
    let priority = match word {
        "high" => FilePriority::High,
        "normal" => FilePriority::Normal,
        "low" => FilePriority::Low,
        "skip" => FilePriority::Skip,
        _ => return Err(format!("{word:?} is not high, normal, low or skip")),
    };
    Ok(PriorityRule { glob: glob(pattern)?, priority })
}

/// Where the bytes go.
enum Output {
    /// A folder.
    Folder(PathBuf),
    /// stdout, by way of a folder of the data directory.
    Stdout(Spool),
}

impl Output {
    fn new(app: &App, out: &Path, link: &Link) -> Result<Self> {
        if !app.ui.raw {
            let folder = std::path::absolute(out);
            return Ok(Self::Folder(folder.with_context(|| format!("download into {}", Shown::path(out)))?));
        }
        let key = key::of(&[&serde_json::to_vec(link)?]);
        let spool = Spool::resumable(&app.loaded.config.data_dir.join(STDOUT), key);
        Ok(Self::Stdout(spool.context("make a folder in the data directory for what goes to stdout")?))
    }

    /// What is there stays for the same command to go on with.
    fn leave(self) {
        if let Self::Stdout(spool) = self {
            spool.leave();
        }
    }

    fn folder(&self) -> &Path {
        match self {
            Self::Folder(folder) => folder,
            Self::Stdout(spool) => spool.path(),
        }
    }
}

pub(super) async fn run(mut app: App, args: Get) -> Result<u8> {
    let out = args.out.as_ref().or(args.to.as_ref()).unwrap_or(&app.loaded.config.download_dir).clone();
    app.ui.raw = out == Path::new("-");
    if app.ui.raw && (args.stream || args.seed.is_given() || app.ui.json) {
        return Err(usage("stdout takes the file alone"))
            .hint("leave out --stream, --json, --seed, --ratio and --time");
    }
    let Some(link) = app.quit.unless(link::resolve(&args.link)).await else { return Ok(app.quit.status()) };
    let link = link?;
    let Some(session) = app.quit.unless(session::open(&app, &args.node)).await else {
        return Ok(app.quit.status());
    };
    let session = session?;
    // Only now: a spool that is not used is deleted, with what an earlier command left in it.
    let ended = match Output::new(&app, &out, &link) {
        Ok(output) => get(&app, &args, &session, output, link).await,
        Err(error) => Err(error),
    };
    session.close().await;
    ended
}

/// What the node is asked for.
fn request(app: &App, args: &Get, session: &Session, output: &Output, link: Link) -> AddRequest {
    // Here the node ends when everything is there; a daemon goes on as it is configured.
    let usual = session.here.then_some(SeedGoal::NOTHING);
    // A reader comes behind the download, and may go back to what is there already: the transfer stays until it is done.
    let usual = if args.stream || app.ui.raw { Some(SeedGoal::default()) } else { usual };
    AddRequest::Get(GetRequest {
        link,
        folder: AnyPath(output.folder().to_owned()),
        only: args.only.clone(),
        priorities: args.priority.clone(),
        preallocate: args.preallocate || app.loaded.config.preallocate,
        overwrite: args.overwrite,
        options: TransferOptions {
            sequential: args.sequential || app.ui.raw,
            peers: args.peers.peers.clone(),
            goal: args.seed.goal(usual),
            limits: args.limits.limits(),
            ..TransferOptions::default()
        },
    })
}

async fn get(app: &App, args: &Get, session: &Session, output: Output, link: Link) -> Result<u8> {
    let began = Instant::now();
    let control = &*session.control;
    let request = request(app, args, session, &output, link);
    let added = app.quit.unless(async {
        let added = control.add(request).await?;
        Ok::<_, Problem>((added, control.view(added.id).await?))
    });
    let Some(added) = added.await else {
        output.leave();
        return Ok(app.quit.status());
    };
    let (added, view) = added?;
    app.ui.event(&Event::Added { transfer: Box::new(view.clone()) })?;
    let mut follower = Follower::new(app, control, added.id);
    if added.existing {
        app.ui.say(format!("The daemon has it already, as transfer {}.", added.id));
        take_up::take_up(app, args, &mut follower, &view, &output).await?;
        if view.role == Role::Share && matches!(output, Output::Folder(_)) && !args.stream {
            app.ui.say("It is shared from here:");
            if !app.ui.json {
                app.ui.path(view.path.as_path())?;
            }
            return Ok(0);
        }
    }
    match output {
        Output::Stdout(spool) => {
            let written = to_stdout(app, args, &mut follower, added.existing).await;
            let interrupted = app.quit.token.is_cancelled();
            if interrupted && session.here {
                app.ui.say("Interrupted; the same command resumes it.");
                spool.leave();
            } else if !added.existing {
                // Nobody has a use for bytes that went to stdout. The daemon may be gone, too: what matters was said.
                let _ = control.remove(follower.id, true).await;
            }
            written
        }
        Output::Folder(_) if args.stream => stream(app, args, session, &mut follower, added.existing).await,
        Output::Folder(_) => {
            let until = match (session.here, args.seed.is_given(), args.seed.is_bounded()) {
                (_, true, true) => Until::Served,
                (_, true, false) => Until::Interrupted,
                (_, false, _) => Until::Verified,
            };
            // What former runs fetched is known with the torrent.
            let mut before = view.files.map(|_| view.downloaded);
            let report = |step, view: &TransferView| {
                let before = *before.get_or_insert(view.downloaded);
                if step == Step::Metadata { Ok(()) } else { complete(app, view, before, began) }
            };
            let ended = follower.follow(until, report).await?;
            Ok(end(app, session, &follower, &ended))
        }
    }
}

/// Says that everything is there; the path is the data of this command.
fn complete(app: &App, view: &TransferView, before: u64, began: Instant) -> Result<()> {
    let ui = &app.ui;
    let elapsed = began.elapsed();
    let name = Shown(view.name.as_os_str());
    match view.downloaded.saturating_sub(before) {
        0 => ui.say(format!("{name} is here already: {}, every byte verified.", Size(view.verified))),
        fetched => {
            let rate = Rate((fetched as f64 / elapsed.as_secs_f64().max(0.001)) as u64);
            ui.say(format!("Got {name}: {} in {}, {rate}.", Size(fetched), took(elapsed)));
        }
    }
    if !ui.json {
        ui.path(view.path.as_path())?;
    }
    Ok(())
}

fn end(app: &App, session: &Session, follower: &Follower<'_>, ended: &Ended) -> u8 {
    let id = follower.id;
    match ended {
        Ended::Done(_) => return 0,
        Ended::Interrupted if session.here && follower.is_complete() => {
            app.ui.say("Everything is there; not served any more.");
        }
        Ended::Interrupted if session.here => {
            app.ui.say("Interrupted; the same command resumes it.");
        }
        Ended::Interrupted => {
            app.ui.say(format!(
                "The daemon goes on: `peerage show {id}` tells how far it is, `peerage pause {id}` stops it."
            ));
        }
    }
    app.quit.status()
}

/// The file that a reader wants: the only wanted one, or (`largest`) the largest of them. Of a transfer that was there already, others may
/// be wanted than this command asks for.
async fn wanted_file(
    args: &Get,
    control: &dyn Control,
    id: TransferId,
    existing: bool,
    largest: bool,
) -> Result<FileView> {
    let mut files = control.files(id).await?;
    if existing && !args.only.is_empty() {
        files.retain(|file| take_up::is_named(&args.only, file));
    } else {
        files.retain(|file| file.priority != FilePriority::Skip);
    }
    if files.len() > 1 && !largest {
        return Err(anyhow!("it has {} files, stdout takes one", files.len()))
            .hint("choose one with --only GLOB; without `-o -` all are put into a folder");
    }
    files.into_iter().max_by_key(|file| file.size).context("it has no file that is wanted")
}

async fn to_stdout(app: &App, args: &Get, follower: &mut Follower<'_>, existing: bool) -> Result<u8> {
    match follower.follow(Until::Metadata, |_, _| Ok(())).await? {
        Ended::Interrupted => Ok(app.quit.status()),
        Ended::Done(_) => write_out(app, args, follower, existing).await,
    }
}

async fn write_out(app: &App, args: &Get, follower: &mut Follower<'_>, existing: bool) -> Result<u8> {
    let (control, id) = (follower.control(), follower.id);
    let file = wanted_file(args, control, id, existing, false).await?;
    let mut reader = control.read(id, file.index, 0..file.size).await?;
    let mut stdout = tokio::io::stdout();
    let copy = async {
        let mut buffer = vec![0; 256 * 1024];
        let mut left = file.size;
        loop {
            let read = reader.read(&mut buffer).await.context("read what was fetched")?;
            left = left.saturating_sub(read as u64);
            if read == 0 && left > 0 {
                return Err(anyhow!("the file ended {} too early", Size(left)))
                    .hint("`peerage get LINK -o DIR` tells more");
            }
            if read == 0 {
                return stdout.flush().await.map_err(|error| OutputError::from(error).into());
            }
            let chunk = buffer.get(..read).unwrap_or_default();
            stdout.write_all(chunk).await.map_err(OutputError::from)?;
        }
    };
    let interrupted = follower.follow(Until::Interrupted, |_, _| Ok(()));
    tokio::select! {
        copied = copy => copied.map(|()| 0),
        ended = interrupted => ended.map(|_| app.quit.status()),
    }
}

async fn stream(
    app: &App,
    args: &Get,
    session: &Session,
    follower: &mut Follower<'_>,
    existing: bool,
) -> Result<u8> {
    if let Ended::Interrupted = follower.follow(Until::Metadata, |_, _| Ok(())).await? {
        return Ok(app.quit.status());
    }
    let id = follower.id;
    let file = wanted_file(args, &*session.control, id, existing, true).await?;
    let stream =
        Stream::open(session.control.clone(), id, file.clone(), app.quit.token.child_token()).await?;
    app.ui.event(&Event::Stream { id, path: file.path.clone(), url: stream.url().to_owned() })?;
    app.ui.say(format!("Open this in a player; Ctrl-C ends it. It serves {}.", Shown(file.path.as_os_str())));
    if !app.ui.json {
        app.ui.data(stream.url())?;
    }
    let ended = follower.follow(Until::Interrupted, |_, _| Ok(())).await?;
    stream.close().await;
    Ok(end(app, session, follower, &ended))
}
