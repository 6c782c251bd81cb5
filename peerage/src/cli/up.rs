//! `peerage up` and `peerage down`: the daemon.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use clap::Args;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};

use super::flags::{LimitFlags, NodeFlags};
use super::{App, session};
use crate::api::guard::Guard;
use crate::api::{DaemonLock, Endpoint, EndpointError, serve};
use crate::control::Control;
use crate::errors::{HintExt, TERMINATED, usage};
use crate::gateway::{self, listen};
use crate::model::{Event, Limits, Problem};
use crate::node::Node;
use crate::private;
use crate::spool::{self, STDIN, STDOUT};
use crate::ui::count;

/// A daemon in the background tells where it is within this time.
const START_MAX: Duration = Duration::from_secs(30);
/// … and is gone so soon after it was asked.
const STOP_MAX: Duration = Duration::from_secs(10);
const STEP: Duration = Duration::from_millis(50);
/// The log of a daemon in the background, in the data directory.
const LOG: &str = "daemon.log";
/// The end of the log that is shown when it does not start.
const LOG_TAIL: u64 = 4_096;

/// Run the daemon: share, get, ls, show and the others then talk to it
///
/// It takes up the transfers of its former run and goes on until Ctrl-C, SIGTERM or `peerage down`. Programs reach it over HTTP
/// on loopback with the token in daemon.json of the data directory.
#[derive(Debug, Args)]
pub(super) struct Up {
    /// Return once it runs; it keeps running without the terminal
    #[arg(long)]
    background: bool,
    #[command(flatten)]
    limits: LimitFlags,
    #[command(flatten)]
    node: NodeFlags,
}

/// End the daemon
#[derive(Debug, Args)]
pub(super) struct Down {}

pub(super) async fn run(app: App, args: Up) -> Result<u8> {
    if args.background {
        if let Some(client) = session::find_daemon(&app).await? {
            return Err(EndpointError::Taken(app.loaded.config.data_dir.clone()))
                .hint(format!("its process is {}; `peerage down` ends it", client.endpoint().pid));
        }
        let own = std::env::args_os().skip(1).filter(|arg| arg != "--background").collect();
        let endpoint = spawn(&app, own).await?;
        if app.ui.json {
            app.ui.object(&json!({ "event": "up", "pid": endpoint.pid, "api": endpoint.address }))?;
        }
        app.ui.say(format!("The daemon runs as process {}; `peerage down` ends it.", endpoint.pid));
        return Ok(0);
    }
    let data_dir = &app.loaded.config.data_dir;
    let lock = DaemonLock::take(data_dir);
    let hint = match &lock {
        Err(EndpointError::Taken(_)) => {
            "`peerage ls` asks it; `peerage down` ends it; --data-dir DIR starts another one"
        }
        _ => "choose a folder that is yours with --data-dir DIR",
    };
    let lock = lock.hint(hint)?;
    for spools in [STDIN, STDOUT] {
        if let Err(error) = spool::sweep(&data_dir.join(spools)) {
            tracing::warn!(%error, "what killed processes left is not swept");
        }
    }
    let listener = api_listener(&app).await?;
    let gateway_listener = gateway_listener(&app).await?;
    let node = Node::start(args.node.node(&app.loaded, true))
        .await
        .map_err(Problem::from)
        .context("start the node")?;
    if let Some(listener) = &gateway_listener {
        node.set_gateway(listener.local_addr().context("listen for the gateway")?);
    }
    let limits = args.limits.limits();
    if limits != Limits::default() {
        node.limit(None, limits).await.map_err(Problem::from)?;
    }
    let gateway = async {
        if let Some(listener) = gateway_listener {
            gateway::run(listener, node.clone(), app.quit.token.clone()).await;
        }
    };
    // The node ends while the last answers go out: all have the same two seconds.
    let stopping = async {
        app.quit.token.cancelled().await;
        node.stop().await;
    };
    let serving = async {
        let ended = serve_node(&app, &lock, listener, node.clone()).await;
        // However serving ended.
        app.quit.token.cancel();
        ended
    };
    let (ended, (), ()) = tokio::join!(serving, stopping, gateway);
    ended?;
    // To be told to end is how a daemon ends well.
    Ok(if app.quit.status() == TERMINATED { 0 } else { app.quit.status() })
}

async fn serve_node(app: &App, lock: &DaemonLock, listener: TcpListener, node: Node) -> Result<()> {
    let address = listener.local_addr().context("listen for the API")?;
    let endpoint = lock.publish(address)?;
    let addresses = node.listening();
    let peers: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    let transfers = Control::list(&node).await?.len() as u64;
    app.ui.event(&Event::Listening { addresses })?;
    let gateway = node.gateway().map(|at| format!(", gateway at http://{at}")).unwrap_or_default();
    app.ui.say(format!(
        "Peerage is up: {}, listening on {}, API at http://{address}{gateway}.",
        count(transfers, "transfer"),
        peers.join(" and ")
    ));
    tracing::info!(%address, pid = endpoint.pid, transfers, "up");
    let guard = Guard { token: endpoint.token, metrics_open: app.loaded.config.metrics_open };
    serve(listener, Arc::new(node), guard, app.quit.token.clone()).await;
    app.ui.say("Going down.");
    Ok(())
}

/// The configured address; when it is only the built-in one and taken, any port: the file says which.
async fn api_listener(app: &App) -> Result<TcpListener> {
    let wanted = app.loaded.config.api_listen;
    listen(wanted, !app.loaded.is_chosen("api_listen"))
        .await
        .with_context(|| format!("listen for the API on {wanted}"))
        .hint("`peerage config set api_listen 127.0.0.1:0` takes any free port")
}

/// The same for the gateway, if there is to be one.
async fn gateway_listener(app: &App) -> Result<Option<TcpListener>> {
    let config = &app.loaded.config;
    if !config.gateway {
        return Ok(None);
    }
    listen(config.gateway_listen, !app.loaded.is_chosen("gateway_listen"))
        .await
        .map(Some)
        .with_context(|| format!("listen for the gateway on {}", config.gateway_listen))
        .hint("`peerage config set gateway_listen 127.0.0.1:0` takes any free port, `… gateway false` none")
}

/// Starts a daemon in the background unless one runs.
pub(super) async fn ensure(app: &App, flags: &NodeFlags) -> Result<()> {
    if session::find_daemon(app).await?.is_some() {
        return Ok(());
    }
    if let Some(flag) = flags.given() {
        return Err(usage(format!("{flag} does not reach a daemon that is started by --background")))
            .hint(format!("start it with `peerage up --background {flag} …` first"));
    }
    let mut own = vec!["up".into()];
    if let Some(config) = &app.global.config {
        own.extend(["--config".into(), config.clone().into_os_string()]);
    }
    own.extend(["--data-dir".into(), app.loaded.config.data_dir.clone().into_os_string()]);
    let endpoint = spawn(app, own).await?;
    app.ui.say(format!("Started the daemon as process {}; `peerage down` ends it.", endpoint.pid));
    Ok(())
}

/// Runs this program with `arguments` in a session of its own and waits until it says where it is.
async fn spawn(app: &App, arguments: Vec<std::ffi::OsString>) -> Result<Endpoint> {
    let data_dir = &app.loaded.config.data_dir;
    private::create_folder(data_dir)
        .with_context(|| format!("create the data directory {}", data_dir.display()))?;
    let path = data_dir.join(LOG);
    let mut log = OpenOptions::new()
        .create(true)
        .append(true)
        .read(true)
        .mode(0o600)
        .open(&path)
        .with_context(|| format!("open the log {}", path.display()))?;
    let start = log.seek(SeekFrom::End(0)).context("read the log")?;
    let program = std::env::current_exe().context("find this program")?;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log.try_clone().context("open the log")?)
        .env("NO_COLOR", "1")
        // Its own process group: Ctrl-C in this terminal is not for it. It ignores a hangup.
        .process_group(0)
        .spawn()
        .context("start the daemon")?;
    let began = Instant::now();
    loop {
        if let Ok(Some(endpoint)) = Endpoint::find(data_dir)
            && endpoint.pid == child.id()
        {
            return Ok(endpoint);
        }
        if let Some(status) = child.try_wait().context("wait for the daemon")? {
            return Err(causes(&tail(&mut log, start)))
                .with_context(|| format!("the daemon did not start ({status})"));
        }
        if began.elapsed() > START_MAX {
            return Err(anyhow!("the daemon did not say where it is"))
                .hint(format!("its log is {}", path.display()));
        }
        tokio::select! {
            () = sleep(STEP) => {}
            () = app.quit.token.cancelled() => {
                end(&mut child);
                return Err(anyhow!("interrupted while the daemon started"));
            }
        }
    }
}

/// Ends what this process started itself, and nobody else.
fn end(child: &mut Child) {
    // It may have ended in between.
    let _ = child.kill();
    let _ = child.wait();
}

/// What a program told of its failure, as the chain of causes that it was.
fn causes(told: &str) -> anyhow::Error {
    let bare = |line: &str| {
        let line = line.trim();
        line.strip_prefix("error: ").or(line.strip_prefix("caused by: ")).unwrap_or(line).to_owned()
    };
    let mut lines = told.lines().map(bare).filter(|line| !line.is_empty()).rev();
    let root = anyhow!("{}", lines.next().unwrap_or_else(|| "it said nothing".to_owned()));
    lines.fold(root, anyhow::Error::context)
}

/// What was logged since `start`, no more than fits a screen.
fn tail(log: &mut File, start: u64) -> String {
    let mut text = Vec::new();
    let length = log.seek(SeekFrom::End(0)).unwrap_or(start);
    let from = start.max(length.saturating_sub(LOG_TAIL));
    // An unreadable log is an empty one: the status was told.
    let _ = log.seek(SeekFrom::Start(from)).and_then(|_| log.take(LOG_TAIL).read_to_end(&mut text));
    String::from_utf8_lossy(&text).into_owned()
}

pub(super) async fn down(app: &App) -> Result<u8> {
    let client = session::daemon(app).await?;
    client.stop().await?;
    let began = Instant::now();
    let data_dir: &PathBuf = &app.loaded.config.data_dir;
    while began.elapsed() < STOP_MAX {
        if gone(data_dir) {
            if app.ui.json {
                app.ui.object(&json!({ "event": "down", "pid": client.endpoint().pid }))?;
            }
            app.ui.say("The daemon has ended.");
            return Ok(0);
        }
        sleep(STEP).await;
    }
    let pid = client.endpoint().pid;
    Err(anyhow!("the daemon was told to end and still runs"))
        .hint(format!("`kill -9 {pid}` ends process {pid}; nothing verified is lost"))
}

fn gone(data_dir: &Path) -> bool {
    matches!(Endpoint::find(data_dir), Ok(None))
}
