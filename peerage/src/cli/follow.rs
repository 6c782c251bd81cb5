//! Follows one transfer from its addition to its end, and shows it.

use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

use super::App;
use crate::control::Control;
use crate::errors::HintExt;
use crate::model::{Event, Problem, Role, State, TransferId, TransferView};
use crate::ui::Progress;

/// How often the display moves, and how often a program is told.
const EVERY_ON_TERMINAL: Duration = Duration::from_millis(500);
const EVERY: Duration = Duration::from_secs(1);

/// When to stop following.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    /// The torrent is known.
    Metadata,
    /// Everything wanted is verified.
    Verified,
    /// The bytes were compared with their hashes.
    Checked,
    /// Serving ended.
    Served,
    /// The user ends it.
    Interrupted,
}

/// Why following stopped.
#[derive(Debug)]
pub(super) enum Ended {
    /// What was waited for came true.
    Done(Box<TransferView>),
    /// A signal.
    Interrupted,
}

/// A step on the way that a command has words for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The torrent is known.
    Metadata,
    /// Everything wanted is verified.
    Complete,
}

/// Follows `id`. `tell` is called once for each step, with the bar out of the way.
///
/// # Errors
/// The node's, or the transfer's when it cannot begin: an error before the torrent is known, or of shared bytes that
/// do not match. A download that merely waits (full disk, nobody there) is no error: it goes on when it can.
pub(super) async fn follow(
    app: &App,
    control: &dyn Control,
    id: TransferId,
    until: Until,
    mut tell: impl FnMut(Step, &TransferView) -> Result<()>,
) -> Result<Ended> {
    let mut progress = Progress::new(app.ui);
    let every = if app.ui.terminal && !app.ui.json { EVERY_ON_TERMINAL } else { EVERY };
    let mut updates = control.watch(Some(id), every).await?;
    let mut told = Told::default();
    let mut faulty = None;
    loop {
        let update = tokio::select! {
            biased;
            () = app.quit.token.cancelled() => {
                progress.leave();
                return Ok(Ended::Interrupted);
            }
            update = updates.recv() => update,
        };
        let event = match update {
            Some(event) => event?,
            None => {
                return Err(anyhow!("the daemon ended"))
                    .hint("`peerage up` starts it; what was begun goes on then");
            }
        };
        if matches!(event, Event::Removed { .. }) {
            progress.clear();
            app.ui.event(&event)?;
            return Err(anyhow!("transfer {id} was removed"));
        }
        let complete = matches!(event, Event::Complete { .. });
        let view = match &event {
            // Not at the next tick: whoever waits for the end wants to know it now.
            Event::State { .. } => Some(control.view(id).await?),
            event => view_of(event).cloned(),
        };
        // Steps are told once, whether the node said so or a view shows it: the torrent before any progress, the end after all of it.
        let steps = view.as_ref().map(|view| (told.steps(view, complete), view));
        let mut reach = |step, progress: &Progress| match &steps {
            Some((steps, view)) if steps.contains(&step) => {
                progress.suspended(|ui| ui.event(&step_event(step, view)))?;
                progress.suspended(|_| tell(step, view))
            }
            _ => Ok(()),
        };
        reach(Step::Metadata, &progress)?;
        if !matches!(event, Event::Metadata { .. } | Event::Complete { .. } | Event::Added { .. }) {
            progress.event(&event, Instant::now())?;
        }
        reach(Step::Complete, &progress)?;
        if let Some(view) = &view {
            if let Some(problem) = fatal(view) {
                progress.clear();
                return Err(problem.into());
            }
            if faulty != view.problem {
                faulty.clone_from(&view.problem);
                if let Some(problem) = &faulty {
                    progress.suspended(|ui| ui.warn(problem));
                }
            }
            if told.is_done(until, view) {
                progress.clear();
                return Ok(Ended::Done(Box::new(view.clone())));
            }
        }
    }
}

/// The steps that were told.
#[derive(Default)]
struct Told {
    metadata: bool,
    complete: bool,
}

impl Told {
    /// Those that are new. `complete`: the node said so, although the view may still show the moment before.
    fn steps(&mut self, view: &TransferView, complete: bool) -> Vec<Step> {
        let mut steps = Vec::new();
        // Of what is shared, the link is what makes it known: it comes with the hashes.
        let known = view.size.is_some() && view.magnet.is_some();
        if known && !self.metadata {
            self.metadata = true;
            steps.push(Step::Metadata);
        }
        if known && (complete || is_verified(view)) && !self.complete {
            self.complete = true;
            steps.push(Step::Complete);
        }
        steps
    }

    fn is_done(&self, until: Until, view: &TransferView) -> bool {
        match until {
            Until::Metadata => self.metadata,
            Until::Verified => self.complete,
            Until::Checked => !matches!(view.state, State::Checking | State::Queued),
            Until::Served => view.state == State::Complete,
            Until::Interrupted => false,
        }
    }
}

/// A download that has everything and put it in its place. (While bytes are checked again, it may have less.)
fn is_verified(view: &TransferView) -> bool {
    let at_rest = match view.state {
        State::Seeding | State::Complete => true,
        State::Paused => view.finished.is_some(),
        _ => false,
    };
    view.role == Role::Get && at_rest
}

fn step_event(step: Step, view: &TransferView) -> Event {
    let transfer = Box::new(view.clone());
    match step {
        Step::Metadata => Event::Metadata { transfer },
        Step::Complete => Event::Complete { id: view.id, path: view.path.clone(), transfer },
    }
}

fn view_of(event: &Event) -> Option<&TransferView> {
    match event {
        Event::Added { transfer }
        | Event::Metadata { transfer }
        | Event::Progress { transfer }
        | Event::Complete { transfer, .. } => Some(transfer),
        _ => None,
    }
}

/// The problem of a transfer that will not go on by itself.
fn fatal(view: &TransferView) -> Option<Problem> {
    let hopeless = view.size.is_none() || view.role == Role::Share;
    (view.state == State::Error && hopeless)
        .then(|| view.problem.clone().unwrap_or_else(|| Problem::new("failed", "the transfer failed")))
}
