//! `peerage get`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, anyhow};
use clap::Args;
use globset::Glob;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::App;
use super::flags::{LimitFlags, NodeFlags};
use super::follow::{Ended, Step, Until, follow};
use super::session::{self, Session};
use crate::control::Control;
use crate::errors::{HintExt, usage};
use crate::link;
use crate::model::{
    AddRequest, AnyPath, Event, FilePriority, FileView, GetRequest, PriorityRule, SeedGoal, TransferId,
    TransferOptions, TransferView,
};
use crate::spool::Spool;
use crate::stream::Stream;
use crate::ui::{OutputError, Rate, Shown, Size, took};
use crate::values::Span;

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
    #[arg(long = "peer", value_name = "ADDR:PORT")]
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
    fn folder(&self) -> &Path {
        match self {
            Self::Folder(folder) => folder,
            Self::Stdout(spool) => spool.path(),
        }
    }
}

pub(super) async fn run(mut app: App, args: Get) -> Result<u8> {
    let output = output(&app, &args)?;
    app.ui.raw = matches!(output, Output::Stdout(_));
    let link = link::resolve(&args.link).await?;
    let session = session::open(&app, &args.node).await?;
    // Here the node ends when everything is there; a daemon goes on as it is configured.
    let usual = session.here.then_some(SeedGoal::NOTHING);
    // A reader comes behind the download, and may go back to what is there already: the transfer stays until it is done.
    let usual = if args.stream || app.ui.raw { Some(SeedGoal::default()) } else { usual };
    let request = AddRequest::Get(GetRequest {
        link,
        folder: AnyPath(output.folder().to_owned()),
        only: args.only.clone(),
        priorities: args.priority.clone(),
        preallocate: args.preallocate || app.loaded.config.preallocate,
        options: TransferOptions {
            paused: false,
            sequential: args.sequential || app.ui.raw,
            peers: args.peers.peers.clone(),
            goal: args.seed.goal(usual),
            limits: args.limits.limits(),
        },
    });
    let ended = get(&app, &args, &session, &output, request).await;
    session.close().await;
    ended
}

fn output(app: &App, args: &Get) -> Result<Output> {
    let out = args.out.as_ref().or(args.to.as_ref()).unwrap_or(&app.loaded.config.download_dir);
    if out != Path::new("-") {
        let folder =
            std::path::absolute(out).with_context(|| format!("download into {}", Shown::path(out)))?;
        return Ok(Output::Folder(folder));
    }
    if args.stream || args.seed.is_given() || app.ui.json {
        return Err(usage("stdout takes the file alone"))
            .hint("leave out --stream, --json, --seed, --ratio and --time");
    }
    let spool = Spool::folder(&app.loaded.config.data_dir.join("stdout"))
        .context("make a folder in the data directory for what goes to stdout")?;
    Ok(Output::Stdout(spool))
}

async fn get(app: &App, args: &Get, session: &Session, output: &Output, request: AddRequest) -> Result<u8> {
    let began = Instant::now();
    let control = &*session.control;
    let added = control.add(request).await?;
    let view = control.view(added.id).await?;
    app.ui.event(&Event::Added { transfer: Box::new(view.clone()) })?;
    if added.existing && !session.here {
        app.ui.say(format!("The daemon has it already, as transfer {}.", added.id));
    }
    match output {
        Output::Stdout(_) => to_stdout(app, control, added.id).await,
        Output::Folder(_) if args.stream => stream(app, session, added.id).await,
        Output::Folder(_) => {
            let before = view.downloaded;
            let until = match (session.here, args.seed.is_given(), args.seed.is_bounded()) {
                (_, true, true) => Until::Served,
                (_, true, false) => Until::Interrupted,
                (_, false, _) => Until::Verified,
            };
            let ended =
                follow(app, control, added.id, until, |step, view| report(app, step, view, before, began))
                    .await?;
            Ok(end(app, session, added.id, &ended))
        }
    }
}

/// What a step means to the user; the path is the data of this command.
fn report(app: &App, step: Step, view: &TransferView, before: u64, began: Instant) -> Result<()> {
    let ui = &app.ui;
    match step {
        Step::Metadata => {}
        Step::Complete => {
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
        }
    }
    Ok(())
}

fn end(app: &App, session: &Session, id: TransferId, ended: &Ended) -> u8 {
    match ended {
        Ended::Done(_) => return 0,
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

/// The file that a reader wants: the only wanted one, or (`largest`) the largest of them.
async fn wanted_file(control: &dyn Control, id: TransferId, largest: bool) -> Result<FileView> {
    let mut files = control.files(id).await?;
    files.retain(|file| file.priority != FilePriority::Skip);
    if files.len() > 1 && !largest {
        return Err(anyhow!("it has {} files, stdout takes one", files.len()))
            .hint("choose one with --only GLOB; without `-o -` all are put into a folder");
    }
    files.into_iter().max_by_key(|file| file.size).context("it has no file that is wanted")
}

async fn to_stdout(app: &App, control: &dyn Control, id: TransferId) -> Result<u8> {
    let ended = follow(app, control, id, Until::Metadata, |_, _| Ok(())).await;
    let written = match ended {
        Ok(Ended::Interrupted) => Ok(app.quit.status()),
        Ok(Ended::Done(_)) => write_out(app, control, id).await,
        Err(error) => Err(error),
    };
    // Nobody has a use for bytes that went to stdout. The daemon may be gone, too: what matters was said.
    let _ = control.remove(id, true).await;
    written
}

async fn write_out(app: &App, control: &dyn Control, id: TransferId) -> Result<u8> {
    let file = wanted_file(control, id, false).await?;
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
    let interrupted = async {
        let following = follow(app, control, id, Until::Interrupted, |_, _| Ok(()));
        following.await
    };
    tokio::select! {
        copied = copy => copied.map(|()| 0),
        ended = interrupted => ended.map(|_| app.quit.status()),
    }
}

async fn stream(app: &App, session: &Session, id: TransferId) -> Result<u8> {
    let control = &*session.control;
    if let Ended::Interrupted = follow(app, control, id, Until::Metadata, |_, _| Ok(())).await? {
        return Ok(app.quit.status());
    }
    let file = wanted_file(control, id, true).await?;
    let stream =
        Stream::open(session.control.clone(), id, file.clone(), app.quit.token.child_token()).await?;
    app.ui.event(&Event::Stream { id, path: file.path.clone(), url: stream.url().to_owned() })?;
    app.ui.say(format!("Open this in a player; Ctrl-C ends it. It serves {}.", Shown(file.path.as_os_str())));
    if !app.ui.json {
        app.ui.data(stream.url())?;
    }
    let ended = follow(app, control, id, Until::Interrupted, |_, _| Ok(())).await?;
    stream.close().await;
    Ok(end(app, session, id, &ended))
}
