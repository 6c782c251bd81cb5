//! Makes one stream of a node's events and of its transfers' progress.

use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc};
use tokio::time::{MissedTickBehavior, interval};

use super::Control;
use crate::model::{Event, Problem, State, TransferId, TransferView};

/// The pace of progress, bounded on both sides: a client may ask for any.
const EVERY_MIN: Duration = Duration::from_millis(100);
const EVERY_MAX: Duration = Duration::from_secs(60);

/// Sends what happens until the transfer is removed, the node ends or nobody listens.
pub(super) async fn run(
    node: impl Control,
    mut events: broadcast::Receiver<Event>,
    only: Option<TransferId>,
    every: Duration,
    out: mpsc::Sender<Result<Event, Problem>>,
) {
    let mut ticks = interval(every.clamp(EVERY_MIN, EVERY_MAX));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut missed = false;
    loop {
        let sent = tokio::select! {
            // Events first: a `complete` must not wait behind the progress of the same moment.
            biased;
            () = out.closed() => return,
            event = events.recv() => match event {
                Ok(event) if only.is_some() && event.transfer().is_some_and(|id| Some(id) != only) => true,
                Ok(event) => {
                    let last = only.is_some() && matches!(event, Event::Removed { .. });
                    out.send(Ok(event)).await.is_ok() && !last
                }
                // What was lost shows in the next progress, which holds the state.
                Err(RecvError::Lagged(_)) => true,
                Err(RecvError::Closed) => return,
            },
            _ = ticks.tick() => progress(&node, only, &mut missed, &out).await,
        };
        if !sent {
            return;
        }
    }
}

/// Sends the progress of the transfer, or of all that move; false when there is no more to say. `missed`: the transfer was not there the last time.
async fn progress(
    node: &impl Control,
    only: Option<TransferId>,
    missed: &mut bool,
    out: &mpsc::Sender<Result<Event, Problem>>,
) -> bool {
    let views = match only {
        Some(id) => node.view(id).await.map(|view| vec![view]),
        None => {
            node.list().await.map(|views| views.into_iter().filter(is_moving).collect::<Vec<TransferView>>())
        }
    };
    match views {
        Ok(views) => {
            for view in views {
                if out.send(Ok(Event::Progress { transfer: Box::new(view) })).await.is_err() {
                    return false;
                }
            }
            true
        }
        // Removed just now: the event that says so is on its way, unless it was lost.
        Err(problem) if problem.is_missing_transfer() && !std::mem::replace(missed, true) => true,
        Err(problem) => {
            // Nobody may be left to be told.
            let _ = out.send(Err(problem)).await;
            false
        }
    }
}

fn is_moving(view: &TransferView) -> bool {
    let busy =
        matches!(view.state, State::Hashing | State::Checking | State::FetchingMetadata | State::Downloading);
    busy || view.upload_rate > 0 || view.download_rate > 0
}
