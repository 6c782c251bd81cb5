//! Where the node is: in the daemon if one runs on the data directory, else here.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::time::{Instant, sleep};

use super::App;
use super::flags::NodeFlags;
use crate::api::{Client, Endpoint, EndpointError};
use crate::control::Control;
use crate::errors::{HintExt, usage};
use crate::model::{Event, Problem};
use crate::node::Node;

/// A daemon that starts or ends says where it is, or lets go of its lock, within this time.
const SILENCE_MAX: Duration = Duration::from_secs(5);
const SILENCE_STEP: Duration = Duration::from_millis(50);
/// A node that does not end in this time is left to the kernel; two seconds are its own promise.
const STOP_MAX: Duration = Duration::from_secs(3);

/// A node to talk to.
pub(super) struct Session {
    pub(super) control: Arc<dyn Control>,
    /// The node runs in this process and ends with it.
    pub(super) here: bool,
}

impl Session {
    /// Ends the node if it is this process's own.
    pub(super) async fn close(self) {
        if self.here {
            // Nothing is lost that the journals do not know: they are written all the time.
            let _ = tokio::time::timeout(STOP_MAX, self.control.stop()).await;
        }
    }
}

/// The daemon, or a node of this process after `flags`.
pub(super) async fn open(app: &App, flags: &NodeFlags) -> Result<Session> {
    if let Some(client) = find_daemon(app).await? {
        if let Some(flag) = flags.given() {
            return Err(usage(format!("{flag} cannot change the daemon that runs already")))
                .hint(format!("give {flag} to `peerage up`, or run a node of its own with --data-dir DIR"));
        }
        return Ok(Session { control: Arc::new(client), here: false });
    }
    let node =
        Node::start(flags.node(&app.loaded, false)).await.map_err(Problem::from).context("start the node")?;
    app.ui.event(&Event::Listening { addresses: node.listening() })?;
    Ok(Session { control: Arc::new(node), here: true })
}

/// The daemon; an error when none runs.
pub(super) async fn daemon(app: &App) -> Result<Client> {
    match find_daemon(app).await? {
        Some(client) => Ok(client),
        None => Err(anyhow::anyhow!("no daemon runs on {}", app.loaded.config.data_dir.display()))
            .hint("`peerage up` starts it, `peerage up --background` without holding the terminal"),
    }
}

/// The daemon if one runs. Waits a little for one that is just starting or ending.
pub(super) async fn find_daemon(app: &App) -> Result<Option<Client>> {
    let began = Instant::now();
    loop {
        match Endpoint::find(&app.loaded.config.data_dir) {
            Ok(None) => return Ok(None),
            Ok(Some(endpoint)) => return Ok(Some(Client::new(endpoint)?)),
            Err(EndpointError::Silent(_)) if began.elapsed() < SILENCE_MAX => sleep(SILENCE_STEP).await,
            Err(error) => {
                return Err(error)
                    .context("look for the daemon")
                    .hint("--data-dir DIR chooses another folder, which must be yours");
            }
        }
    }
}
