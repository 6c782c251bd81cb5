//! What the program says. stdout is data, stderr is talk; colour only decorates.
//!
//! [`Ui`] is the only thing that writes to the standard streams. With `--json`, stdout carries one object a line and
//! stderr carries nothing but logs.

mod describe;
mod format;
mod progress;
mod qr;
mod shown;
mod table;

pub use crate::values::Size;
pub use describe::{details, state_word, waiting};
pub use format::{Rate, Time, count, percent, took};
pub use progress::Progress;
pub use qr::qr_code;
pub use shown::{Shown, padded, width};
pub use table::Table;

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use serde::Serialize;

use crate::model::{Event, Problem};

/// How the program speaks, as the global flags and the environment say.
#[derive(Clone, Copy, Debug)]
pub struct Ui {
    /// One JSON object a line on stdout.
    pub json: bool,
    /// No talk but errors.
    pub quiet: bool,
    /// Colours on stderr.
    pub colour: bool,
    /// stderr is a terminal: a moving display is possible.
    pub terminal: bool,
    /// Data goes to stdout raw (content itself): nothing else may be printed there.
    pub raw: bool,
}

impl Ui {
    /// From the flags; `NO_COLOR` (any value but an empty one) and `TERM=dumb` are honoured.
    pub fn new(json: bool, quiet: bool, no_colour: bool) -> Self {
        let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let terminal = io::stderr().is_terminal() && !dumb;
        Self { json, quiet, colour: terminal && !no_colour && !is_set("NO_COLOR"), terminal, raw: false }
    }

    /// A line of data.
    ///
    /// # Errors
    /// [`OutputError`].
    pub fn data(&self, line: impl Display) -> Result<(), OutputError> {
        print(format!("{line}\n").as_bytes())
    }

    /// A path as a line of data: its very bytes for a program, harmless for a terminal.
    ///
    /// # Errors
    /// [`OutputError`].
    pub fn path(&self, path: &Path) -> Result<(), OutputError> {
        if io::stdout().is_terminal() {
            return self.data(Shown::path(path));
        }
        print(&[path.as_os_str().as_bytes(), b"\n"].concat())
    }

    /// Content itself.
    ///
    /// # Errors
    /// [`OutputError`].
    pub fn bytes(&self, bytes: &[u8]) -> Result<(), OutputError> {
        print(bytes)
    }

    /// An object as a line of JSON.
    ///
    /// # Errors
    /// [`OutputError`].
    pub fn object(&self, object: &impl Serialize) -> Result<(), OutputError> {
        self.data(serde_json::to_string(object).map_err(|error| OutputError(error.into()))?)
    }

    /// An event: a line of JSON with `--json`, else nothing (the caller has words of its own).
    ///
    /// # Errors
    /// [`OutputError`].
    pub fn event(&self, event: &Event) -> Result<(), OutputError> {
        if self.json && !self.raw { self.object(event) } else { Ok(()) }
    }

    /// Columns of the terminal that stdout is; `None` when it is none: a program or a file gets everything.
    pub fn columns(&self) -> Option<usize> {
        columns_of(&io::stdout())
    }

    /// Columns of the terminal that stderr is, where talk goes; `None` when it is none.
    pub fn talk_columns(&self) -> Option<usize> {
        columns_of(&io::stderr())
    }

    /// A line of talk. When nobody can hear it, it is lost without an error.
    pub fn say(&self, line: impl Display) {
        if !self.quiet && !self.json {
            let _ = writeln!(io::stderr().lock(), "{line}");
        }
    }

    /// Something that went wrong and stops nothing.
    pub fn warn(&self, problem: &Problem) {
        if !self.quiet && !self.json {
            self.print_problem("warning", "33", problem);
        }
    }

    /// Why the command failed.
    pub fn error(&self, problem: &Problem) {
        if self.json && !self.raw {
            // A closed stdout hides the object; the exit status still tells.
            let _ = self.event(&Event::Error { problem: problem.clone() });
        } else {
            self.print_problem("error", "31", problem);
        }
    }

    /// `text` in the colour of an ANSI number.
    pub fn painted(&self, ansi: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{ansi}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn print_problem(&self, word: &str, ansi: &str, problem: &Problem) {
        let mut text =
            format!("{}: {}\n", self.painted(&format!("1;{ansi}"), word), one_line(&problem.message));
        for cause in &problem.causes {
            text += &format!("  caused by: {}\n", one_line(cause));
        }
        if let Some(hint) = &problem.hint {
            text += &format!("\n{}: {}\n", self.painted("1;36", "hint"), one_line(hint));
        }
        let _ = io::stderr().lock().write_all(text.as_bytes());
    }
}

fn columns_of(stream: &(impl IsTerminal + std::os::fd::AsFd)) -> Option<usize> {
    if !stream.is_terminal() {
        return None;
    }
    let size = rustix::termios::tcgetwinsize(stream).ok()?;
    Some(size.ws_col.into()).filter(|columns| *columns > 0)
}

/// stdout takes nothing more.
#[derive(Debug, thiserror::Error)]
#[error("write to standard output")]
pub struct OutputError(#[source] io::Error);

impl From<io::Error> for OutputError {
    fn from(error: io::Error) -> Self {
        Self(error)
    }
}

impl OutputError {
    /// Whoever read it has seen enough (`| head`): no reason to complain.
    pub fn is_closed_pipe(&self) -> bool {
        self.0.kind() == io::ErrorKind::BrokenPipe
    }
}

fn print(bytes: &[u8]) -> Result<(), OutputError> {
    let mut out = io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).map_err(OutputError)
}

/// Messages quote foreign text now and then: what reaches the terminal is neutralised once more.
fn one_line(text: &str) -> String {
    Shown::text(text).to_string()
}
