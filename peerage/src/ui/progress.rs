//! How far a transfer is, as it moves: a bar on a terminal, a line now and then elsewhere.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{OutputError, Shown, Ui, details, state_word, waiting};
use crate::model::{Event, State, TransferView};

/// Without a terminal, a line at least so often while something happens …
const LINE_EVERY: Duration = Duration::from_secs(10);
/// … and columns that a name may take in it.
const NAME_COLUMNS: usize = 60;

/// Follows one transfer.
#[derive(Debug)]
pub struct Progress {
    ui: Ui,
    bar: Option<ProgressBar>,
    /// What the last plain line said about the state and the wait, and when.
    last: Option<(State, bool, Instant)>,
    /// A transfer may be queued for a moment when it is added; that is no news.
    looked: bool,
}

impl Progress {
    /// Shows nothing yet.
    pub fn new(ui: Ui) -> Self {
        let bar = (ui.terminal && !ui.json && !ui.quiet).then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10));
            bar.set_style(style(ui.colour));
            bar
        });
        Self { ui, bar, last: None, looked: false }
    }

    /// Shows an event: as JSON, or what there is to see in it.
    ///
    /// # Errors
    /// [`OutputError`], with `--json`.
    pub fn event(&mut self, event: &Event, now: Instant) -> Result<(), OutputError> {
        self.ui.event(event)?;
        match event {
            Event::Progress { transfer } => self.show(transfer, now),
            Event::Warning { problem, .. } => self.suspended(|ui| ui.warn(problem)),
            _ => {}
        }
        Ok(())
    }

    /// A line of talk above the bar.
    pub fn say(&self, line: impl std::fmt::Display) {
        self.suspended(|ui| ui.say(line));
    }

    /// Runs `print` while the bar is out of the way.
    pub fn suspended<T>(&self, print: impl FnOnce(&Ui) -> T) -> T {
        match &self.bar {
            Some(bar) => bar.suspend(|| print(&self.ui)),
            None => print(&self.ui),
        }
    }

    /// Leaves the bar as it is and goes to the next line. After Ctrl-C: the terminal has written `^C` where the bar ended,
    /// so the bar would miss itself if it were to be taken away.
    pub fn leave(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.set_draw_target(ProgressDrawTarget::hidden());
            self.ui.say("");
        }
    }

    /// Takes the bar away.
    pub fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    fn show(&mut self, view: &TransferView, now: Instant) {
        let wait = waiting(view);
        let Some(bar) = &self.bar else {
            return self.show_line(view, wait, now);
        };
        let (done, whole) = match view.state {
            State::Hashing | State::Checking => (view.hashed, view.size),
            _ => (view.verified, view.wanted),
        };
        bar.set_length(whole.unwrap_or(1).max(1));
        bar.set_position(if whole == Some(0) { 1 } else { done });
        let name = Shown(view.name.as_os_str()).within(NAME_COLUMNS);
        bar.set_prefix(format!("{name}  {}", state_word(view.state)));
        bar.set_message(match wait {
            Some(wait) => format!("{}\n  {wait}", details(view)),
            None => details(view),
        });
    }

    /// A line when the state changed, when a wait began or ended, and now and then.
    fn show_line(&mut self, view: &TransferView, wait: Option<String>, now: Instant) {
        if !std::mem::replace(&mut self.looked, true) && view.state == State::Queued {
            return;
        }
        let due = match self.last {
            None => true,
            Some((state, waited, at)) => {
                state != view.state
                    || waited != wait.is_some()
                    || (now.saturating_duration_since(at) >= LINE_EVERY && is_under_way(view.state))
            }
        };
        if due {
            self.last = Some((view.state, wait.is_some(), now));
            let name = Shown(view.name.as_os_str()).within(NAME_COLUMNS);
            let wait = wait.map(|wait| format!("  ({wait})")).unwrap_or_default();
            let line = format!("{name}: {}  {}{wait}", state_word(view.state), details(view));
            self.ui.say(line.trim_end());
        }
    }
}

/// Whether there is an end to come nearer to.
fn is_under_way(state: State) -> bool {
    matches!(state, State::Hashing | State::Checking | State::FetchingMetadata | State::Downloading)
}

fn style(colour: bool) -> ProgressStyle {
    let template = if colour { "{prefix}\n{bar:30.cyan/blue.dim} {msg}" } else { "{prefix}\n{bar:30} {msg}" };
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("━╸━")
}
