//! `peerage pause`, `resume`, `remove`, `verify` and `limit`: tell the daemon what to do.

use anyhow::Result;
use clap::Args;
use serde_json::json;

use super::follow::{Ended, Follower, Until};
use super::{App, session};
use crate::api::Client;
use crate::control::Control;
use crate::errors::problem;
use crate::model::{Check, Event, Limits, Problem, Role, State, TransferId, TransferRef, TransferView};
use crate::ui::{Shown, Size, percent};
use crate::values::Bytes;

/// Stop transfers; they stay known and stop across restarts
#[derive(Debug, Args)]
pub(super) struct Pause {
    #[command(flatten)]
    which: Which,
}

/// Start paused or failed transfers again
#[derive(Debug, Args)]
pub(super) struct Resume {
    #[command(flatten)]
    which: Which,
}

/// Forget transfers; files stay unless --files is given
#[derive(Debug, Args)]
#[command(visible_alias = "rm")]
pub(super) struct Remove {
    #[command(flatten)]
    which: Which,
    /// Delete what was downloaded, too. What is shared in place is never deleted
    #[arg(long)]
    files: bool,
}

/// Compare every byte on disk with its hash, and wait for the result
#[derive(Debug, Args)]
pub(super) struct Verify {
    #[command(flatten)]
    which: Which,
}

/// Limit the rates of a transfer, or of the whole daemon; without a rate, show what holds
#[derive(Debug, Args)]
pub(super) struct Limit {
    /// A transfer's number or the beginning of an info hash; without it, all of the daemon together
    #[arg(value_name = "TRANSFER")]
    which: Option<TransferRef>,
    /// Send no more than this a second: 500k, 5M; 0: no limit
    #[arg(long, value_name = "RATE")]
    up: Option<Bytes>,
    /// Receive no more than this a second
    #[arg(long, value_name = "RATE")]
    down: Option<Bytes>,
}

/// Some transfers, or all.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Which {
    /// Their numbers, or beginnings of their info hashes
    #[arg(value_name = "TRANSFER")]
    which: Vec<TransferRef>,
    /// All transfers
    #[arg(long)]
    all: bool,
}

impl Which {
    async fn find(&self, daemon: &Client) -> Result<Vec<TransferId>> {
        if self.all {
            return Ok(daemon.list().await?.into_iter().map(|view| view.id).collect());
        }
        let mut found = Vec::new();
        for which in &self.which {
            let id = daemon.find(which).await?;
            if !found.contains(&id) {
                found.push(id);
            }
        }
        Ok(found)
    }
}

/// Does it with each transfer, whatever becomes of the others. The last failure is that of the command; those before it are warned of.
async fn each(app: &App, ids: Vec<TransferId>, act: impl AsyncFn(TransferId) -> Result<()>) -> Result<()> {
    let mut failed = None;
    for id in ids {
        let Err(error) = act(id).await else { continue };
        if let Some((id, earlier)) = failed.replace((id, error)) {
            let problem = problem(&earlier);
            app.ui.warn(&problem);
            app.ui.event(&Event::Warning { id: Some(id), problem })?;
        }
    }
    failed.map_or(Ok(()), |(_, error)| Err(error))
}

pub(super) async fn pause(app: &App, args: Pause) -> Result<u8> {
    let daemon = session::daemon(app).await?;
    each(app, args.which.find(&daemon).await?, async |id| {
        daemon.pause(id).await?;
        done(app, "paused", &daemon.view(id).await?)
    })
    .await?;
    Ok(0)
}

pub(super) async fn resume(app: &App, args: Resume) -> Result<u8> {
    let daemon = session::daemon(app).await?;
    each(app, args.which.find(&daemon).await?, async |id| {
        daemon.resume(id).await?;
        done(app, "resumed", &daemon.view(id).await?)
    })
    .await?;
    Ok(0)
}

pub(super) async fn remove(app: &App, args: Remove) -> Result<u8> {
    let daemon = session::daemon(app).await?;
    each(app, args.which.find(&daemon).await?, async |id| {
        let view = daemon.view(id).await?;
        daemon.remove(id, args.files).await?;
        done(app, "removed", &view)
    })
    .await?;
    Ok(0)
}

/// Says what was done, by number and name.
fn done(app: &App, verb: &str, view: &TransferView) -> Result<()> {
    if app.ui.json {
        app.ui.object(&json!({ "event": verb, "id": view.id, "name": view.name }))?;
    }
    app.ui.say(format!("{verb} {}  {}", view.id, Shown(view.name.as_os_str())));
    Ok(())
}

pub(super) async fn verify(app: &App, args: Verify) -> Result<u8> {
    let daemon = session::daemon(app).await?;
    each(app, args.which.find(&daemon).await?, async |id| {
        let number = daemon.verify(id).await?;
        let mut follower = Follower::new(app, &daemon, id);
        match follower.follow(Until::Checked(number), |_, _| Ok(())).await? {
            // The command ends, and says nothing more.
            Ended::Interrupted => Ok(()),
            Ended::Done(view) => verified(app, id, &view),
        }
    })
    .await?;
    Ok(app.quit.status())
}

/// Says what a check found; an error when something is missing.
fn verified(app: &App, id: TransferId, view: &TransferView) -> Result<()> {
    let Some(Check { verified, wanted, .. }) = view.check else { return Ok(()) };
    if app.ui.json {
        app.ui.object(&json!({
            "event": "verified", "id": id, "name": view.name, "verified": verified, "wanted": wanted,
        }))?;
    } else {
        let name = Shown(view.name.as_os_str());
        app.ui.data(format!("{id}  {name}: {} % is there and true", percent(verified, wanted)))?;
    }
    let faulty = matches!(view.state, State::Changed | State::Error);
    if let Some(told) = view.problem.clone().filter(|_| faulty) {
        return Err(told.into());
    }
    if verified >= wanted {
        return Ok(());
    }
    let missing =
        format!("{} of {} are missing or not what they should be", Size(wanted - verified), Size(wanted));
    let told = Problem::new("damaged", format!("transfer {id}: {missing}"));
    Err(match view.role {
        Role::Get => told.hint(format!("`peerage show {id}` tells how far fetching them is")),
        Role::Share => told.hint("put the files back as they were, or share them again for a new link"),
    }
    .into())
}

pub(super) async fn limit(app: &App, args: Limit) -> Result<u8> {
    let daemon = session::daemon(app).await?;
    let id = match &args.which {
        Some(which) => Some(daemon.find(which).await?),
        None => None,
    };
    let whom = id.map_or_else(|| "the daemon".to_owned(), |id| format!("transfer {id}"));
    let word = |rate: u64| if rate == 0 { "no limit".to_owned() } else { format!("{}/s", Bytes(rate)) };
    if args.up.is_none() && args.down.is_none() {
        let Limits { up, down } = match id {
            Some(id) => daemon.view(id).await?.limits,
            None => daemon.stats().await?.limits,
        };
        if app.ui.json {
            app.ui.object(&json!({ "event": "limits", "id": id, "up": up, "down": down }))?;
        } else {
            let [up, down] = [up, down].map(|rate| word(rate.unwrap_or(0)));
            app.ui.data(format!("{whom}: up {up}, down {down}"))?;
        }
        return Ok(0);
    }
    let limits = Limits { up: args.up.map(|rate| rate.0), down: args.down.map(|rate| rate.0) };
    daemon.limit(id, limits).await?;
    if app.ui.json {
        app.ui.object(&json!({ "event": "limited", "id": id, "up": limits.up, "down": limits.down }))?;
    }
    let told = [
        args.up.map(|rate| format!("up {}", word(rate.0))),
        args.down.map(|rate| format!("down {}", word(rate.0))),
    ];
    app.ui.say(format!("{whom}: {}", told.into_iter().flatten().collect::<Vec<_>>().join(", ")));
    Ok(0)
}
