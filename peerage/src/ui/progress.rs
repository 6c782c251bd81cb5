//! How far a transfer is, as it moves: a bar on a terminal, a line now and then elsewhere.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{OutputError, Shown, Ui, details, state_word, waiting, width};
use crate::model::{Event, State, TransferView};

/// Without a terminal, a line at least so often while something happens …
const LINE_EVERY: Duration = Duration::from_secs(10);
/// … and columns that a name may take in it.
const NAME_COLUMNS: usize = 60;

/// Columns of the bar, and the fewest that still tell something.
const BAR_COLUMNS: usize = 30;
const BAR_COLUMNS_MIN: usize = 8;
/// Columns of a terminal that does not tell.
const COLUMNS_USUAL: usize = 80;

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
            bar.set_style(style(ui.colour, BAR_COLUMNS));
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
        // A line that is folded is left behind when the bar moves on.
        let columns = self.ui.talk_columns().unwrap_or(COLUMNS_USUAL).max(2) - 1;
        let word = state_word(view.state);
        let name = NAME_COLUMNS.min(columns.saturating_sub(word.len() + 2));
        let name = Shown(view.name.as_os_str()).within(name);
        let (width, details) = beside_bar(&details(view), columns);
        bar.set_style(style(self.ui.colour, width));
        bar.set_prefix(Shown::text(&format!("{name}  {word}")).within(columns));
        bar.set_message(match wait {
            Some(wait) => format!("{details}\n{}", Shown::text(&format!("  {wait}")).within(columns)),
            None => details,
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

/// How wide the bar may be beside its text, and the text as far as it fits: the bar gives way first.
fn beside_bar(text: &str, columns: usize) -> (usize, String) {
    let bar = columns.saturating_sub(width(text) + 1).min(BAR_COLUMNS);
    let bar = if bar < BAR_COLUMNS_MIN { 0 } else { bar };
    (bar, Shown::text(text).within(columns))
}

fn style(colour: bool, columns: usize) -> ProgressStyle {
    let template = match (columns, colour) {
        (0, _) => "{prefix}\n{msg}".to_owned(),
        (_, true) => format!("{{prefix}}\n{{bar:{columns}.cyan/blue.dim}} {{msg}}"),
        (_, false) => format!("{{prefix}}\n{{bar:{columns}}} {{msg}}"),
    };
    ProgressStyle::with_template(&template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("━╸━")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_gives_way_to_its_text_and_no_line_is_folded() {
        let text = "1.00 GiB / 3.00 GiB  33 %  35.0 MiB/s down  1.00 MiB/s up  58 s left  5/12 peers";
        for columns in [20, 40, 79, 85, 95, 200] {
            let (bar, shown) = beside_bar(text, columns);
            assert!(bar + usize::from(bar > 0) + width(&shown) <= columns, "{columns}: {bar} {shown}");
        }
        assert_eq!(beside_bar(text, 79).0, 0);
        assert_eq!(beside_bar(text, 200), (30, text.to_owned()));
        assert_eq!(beside_bar("1 %", 20).0, 16);
    }
}
