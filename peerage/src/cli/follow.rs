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
    /// The torrent is known, and its files. No step is told yet.
    Torrent,
    /// The torrent is known, and that was told.
    Metadata,
    /// Everything wanted is verified.
    Verified,
    /// The check of this number, of every byte, is over.
    Checked(u32),
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

/// Follows one transfer, perhaps in several stretches: each step is told once.
pub(super) struct Follower<'a> {
    app: &'a App,
    control: &'a dyn Control,
    /// Its number. It changes when what is shared turns out to be there already, as another transfer.
    pub(super) id: TransferId,
    told: Told,
    /// The problem that was told last.
    faulty: Option<Problem>,
}

impl<'a> Follower<'a> {
    pub(super) fn new(app: &'a App, control: &'a dyn Control, id: TransferId) -> Self {
        Self { app, control, id, told: Told::default(), faulty: None }
    }

    /// Goes on until `until`. `tell` is called once for each step, with the bar out of the way.
    ///
    /// # Errors
    /// The node's, or the transfer's when it does not go on by itself. A download that merely waits (full disk, nobody there) is no error:
    /// it goes on when it can.
    pub(super) async fn follow(
        &mut self,
        until: Until,
        mut tell: impl FnMut(Step, &TransferView) -> Result<()>,
    ) -> Result<Ended> {
        let (app, control) = (self.app, self.control);
        let mut progress = Progress::new(app.ui);
        let every = if app.ui.terminal && !app.ui.json { EVERY_ON_TERMINAL } else { EVERY };
        let Some(updates) = app.quit.unless(control.watch(Some(self.id), every)).await else {
            return Ok(Ended::Interrupted);
        };
        let mut updates = match updates {
            // Between two steps of one command.
            Err(problem) if problem.is_missing_transfer() && self.told.metadata => return Err(self.removed()),
            updates => updates?,
        };
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
            if let Event::Removed { same_as, .. } = &event {
                progress.suspended(|ui| ui.event(&event))?;
                let Some(same) = *same_as else {
                    progress.clear();
                    return Err(self.removed());
                };
                self.take_up(same, &progress);
                updates = control.watch(Some(same), every).await?;
                continue;
            }
            let complete = matches!(event, Event::Complete { .. });
            let view = match &event {
                // Not at the next tick: whoever waits for the end wants to know it now.
                Event::State { .. } => match app.quit.unless(self.view()).await {
                    Some(view) => view?,
                    None => continue,
                },
                event => view_of(event).cloned(),
            };
            if let Some(view) = view.as_ref().filter(|view| view.id != self.id) {
                self.take_up(view.id, &progress);
            }
            // Steps are told once, whether the node said so or a view shows it: the torrent before any progress, the end after all of it.
            let mut known =
                |view| if until == Until::Torrent { Vec::new() } else { self.told.steps(view, complete) };
            let steps = view.as_ref().map(|view| (known(view), view));
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
                if let Some(problem) = fatal(view, until) {
                    progress.clear();
                    return Err(problem.into());
                }
                if self.faulty != view.problem {
                    self.faulty.clone_from(&view.problem);
                    if let Some(problem) = &self.faulty {
                        progress.suspended(|ui| ui.warn(problem));
                    }
                }
                if self.told.is_done(until, view) {
                    progress.clear();
                    return Ok(Ended::Done(Box::new(view.clone())));
                }
            }
        }
    }

    /// Whether it was told that everything is there.
    pub(super) fn is_complete(&self) -> bool {
        self.told.complete
    }

    fn removed(&self) -> anyhow::Error {
        anyhow!("transfer {} was removed", self.id)
    }

    /// How it is now; `None` when it was removed meanwhile: the event that says so is on its way.
    async fn view(&self) -> Result<Option<TransferView>, Problem> {
        match self.control.view(self.id).await {
            Err(problem) if problem.is_missing_transfer() => Ok(None),
            view => view.map(Some),
        }
    }

    /// The node that it is followed on.
    pub(super) fn control(&self) -> &'a dyn Control {
        self.control
    }

    fn take_up(&mut self, id: TransferId, progress: &Progress) {
        self.id = id;
        progress.say(format!("It is there already, as transfer {id}."));
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
        // Files that are to be what an existing torrent says are not shared before they were looked at.
        let unsure =
            view.role == Role::Share && matches!(view.state, State::Hashing | State::Checking | State::Error);
        let known = view.size.is_some() && view.magnet.is_some() && !unsure;
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
            Until::Torrent => view.files.is_some(),
            Until::Metadata => self.metadata,
            Until::Verified => self.complete,
            Until::Checked(number) => view.check.is_some_and(|check| check.number >= number),
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
    view.role == Role::Get && at_rest && view.wanted.is_none_or(|wanted| view.verified >= wanted)
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

/// The problem of a transfer that will not go on by itself, for one who waits `until` then.
fn fatal(view: &TransferView, until: Until) -> Option<Problem> {
    let problem = || view.problem.clone().unwrap_or_else(|| Problem::new("failed", "the transfer failed"));
    // A file that its user edited is in the way of a download; what is served meanwhile is served on.
    let held = view.role == Role::Get && view.state == State::Changed && until == Until::Verified;
    (held || view.state == State::Error).then(problem).filter(|problem| !problem.passes())
}
