//! Errors as the user meets them: what happened, why, and the command that helps.
//!
//! Inside the program errors are [`anyhow::Error`]s. [`HintExt::hint`] hangs advice on one, [`usage`] makes one that ends
//! with status 2, and [`problem`] turns any into the [`Problem`] that the terminal, `--json` and the API show.

use std::error::Error as StdError;
use std::fmt;

use crate::model::{Problem, TransferRef};
use crate::node::{AddError, OpError, StartError};

/// The command failed.
pub const FAILURE: u8 = 1;
/// The command was given wrongly.
pub const BAD_USAGE: u8 = 2;
/// Ended by Ctrl-C: 128 and the signal's number, as shells do.
pub const INTERRUPTED: u8 = 130;
/// Ended by SIGTERM.
pub const TERMINATED: u8 = 143;

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for Problem {}

impl Problem {
    /// A problem of kind `code`.
    pub fn new(code: &str, message: impl fmt::Display) -> Self {
        Self { code: code.to_owned(), message: message.to_string(), causes: Vec::new(), hint: None }
    }

    /// With advice.
    #[must_use]
    pub fn hint(mut self, hint: impl fmt::Display) -> Self {
        self.hint = Some(hint.to_string());
        self
    }

    /// Whether it may be over by itself: what has it goes on then.
    pub fn passes(&self) -> bool {
        matches!(&*self.code, "no_space" | "read_only" | "vanished" | "device")
    }

    /// Whether there is no transfer of the number or hash that was asked for.
    pub fn is_missing_transfer(&self) -> bool {
        self.code == "no_such_transfer"
    }

    /// That something (a link, a torrent) is refused, with all that is told of why.
    pub fn refused(what: &str, why: &(dyn StdError + 'static)) -> Self {
        Self::told("refused", std::iter::once(format!("{what} is refused")).chain(lines_of(why)))
    }

    /// What an error and its causes say.
    fn of(code: &str, error: &(dyn StdError + 'static)) -> Self {
        Self::told(code, lines_of(error))
    }

    /// The first line is the message, the others are its causes.
    fn told(code: &str, lines: impl Iterator<Item = String>) -> Self {
        let mut told: Vec<String> = Vec::new();
        for line in lines {
            // Errors of libraries like to end with their source, which comes next.
            if !told.last().is_some_and(|last| last.ends_with(&line)) {
                told.push(line);
            }
        }
        let mut told = told.into_iter();
        let message = told.next().unwrap_or_default();
        Self { causes: told.collect(), ..Self::new(code, message) }
    }
}

/// What an error says, and then its causes.
fn lines_of(error: &(dyn StdError + 'static)) -> impl Iterator<Item = String> + use<> {
    let mut lines = vec![error.to_string()];
    let mut next = error.source();
    while let Some(cause) = next {
        lines.push(cause.to_string());
        next = cause.source();
    }
    lines.into_iter()
}

/// An error with advice; it reads as the error itself.
#[derive(Debug)]
struct Hinted {
    error: anyhow::Error,
    hint: String,
}

impl fmt::Display for Hinted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.error, f)
    }
}

impl StdError for Hinted {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        // The error itself may be a `Usage` or a `Problem`: those look the same from outside, and `chain` finds them here.
        Some(self.error.as_ref())
    }
}

/// Hangs advice on errors.
pub trait HintExt<T> {
    /// Adds a hint: a sentence that holds the command that helps. An inner hint, being closer to the fault, wins.
    ///
    /// # Errors
    /// The error it was called on.
    fn hint(self, hint: impl fmt::Display) -> anyhow::Result<T>;
}

impl<T, E: Into<anyhow::Error>> HintExt<T> for Result<T, E> {
    fn hint(self, hint: impl fmt::Display) -> anyhow::Result<T> {
        self.map_err(|error| Hinted { error: error.into(), hint: hint.to_string() }.into())
    }
}

/// A command that was given wrongly: exit status 2.
#[derive(Debug)]
struct Usage(String);

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl StdError for Usage {}

/// An error that ends the program with status 2.
pub fn usage(message: impl fmt::Display) -> anyhow::Error {
    Usage(message.to_string()).into()
}

/// The exit status that an error asks for.
pub fn exit_status(error: &anyhow::Error) -> u8 {
    if error.chain().any(|cause| cause.is::<Usage>()) { BAD_USAGE } else { FAILURE }
}

/// What an error says to people and programs.
pub fn problem(error: &anyhow::Error) -> Problem {
    let code = if exit_status(error) == BAD_USAGE { "usage" } else { "failed" };
    let mut code = code.to_owned();
    let mut hint = None;
    let mut lines = Vec::new();
    for cause in error.chain() {
        if let Some(hinted) = cause.downcast_ref::<Hinted>() {
            // Its text is that of the error it wraps, which comes next. The innermost hint is the nearest to the fault.
            hint = Some(hinted.hint.clone());
        } else if let Some(inner) = cause.downcast_ref::<Problem>() {
            code.clone_from(&inner.code);
            lines.push(inner.message.clone());
            lines.extend(inner.causes.iter().cloned());
            hint = inner.hint.clone().or(hint);
        } else {
            lines.push(cause.to_string());
        }
    }
    Problem { hint, ..Problem::told(&code, lines.into_iter()) }
}

impl From<StartError> for Problem {
    fn from(error: StartError) -> Self {
        let told = Self::of("start", &error);
        match error {
            StartError::DataDir(_) | StartError::Blocks(_) => {
                told.hint("choose another folder with --data-dir DIR")
            }
            StartError::Listen { .. } => {
                told.hint("choose another address with --listen ADDR:PORT; port 0 takes any free one")
            }
            StartError::System { .. } => told,
        }
    }
}

impl From<AddError> for Problem {
    fn from(error: AddError) -> Self {
        let (code, hint) = match &error {
            AddError::Refused { what: "the torrent" | "the link", .. } => {
                ("refused", Some("`peerage inspect FILE|LINK` shows what it holds".to_owned()))
            }
            AddError::Refused { .. } => ("refused", None),
            AddError::Exists(id) => ("exists", Some(format!("`peerage show {id}` shows it"))),
            AddError::Busy => (
                "busy",
                Some(
                    "wait until the other one ends, or use a data directory of its own with --data-dir DIR"
                        .to_owned(),
                ),
            ),
            AddError::BadGlob { .. } => ("bad_glob", Some(GLOB_HINT.to_owned())),
            AddError::Storage(_) => ("storage", None),
            AddError::Stopped => ("stopped", None),
        };
        Self { hint, ..Self::of(code, &error) }
    }
}

impl From<OpError> for Problem {
    fn from(error: OpError) -> Self {
        let list = "`peerage ls` lists the transfers with their numbers".to_owned();
        let (code, hint) = match &error {
            OpError::NoSuchTransfer(_) => ("no_such_transfer", Some(list)),
            OpError::Ambiguous(_) => ("ambiguous", Some(format!("give more digits; {list}"))),
            OpError::NoMetadata(id) => {
                ("no_metadata", Some(format!("`peerage show {id}` tells what it waits for")))
            }
            OpError::NoSuchFile(id, _) => {
                ("no_such_file", Some(format!("`peerage show {id} --files` lists its files")))
            }
            OpError::NotInFile { .. } => ("not_in_file", None),
            OpError::BadGlob { .. } => ("bad_glob", Some(GLOB_HINT.to_owned())),
            OpError::NotDeletable(_) | OpError::FilesUnknown(_) => {
                ("not_deletable", Some("leave out --files to forget only the transfer".to_owned()))
            }
            OpError::Storage(_) => ("storage", None),
            OpError::Stopped => ("stopped", None),
        };
        Self { hint, ..Self::of(code, &error) }
    }
}

const GLOB_HINT: &str = "* and ? stop at /, ** does not; quote the pattern: --only '*.mkv'";

/// No transfer is called `which`.
pub fn no_such_transfer(which: &TransferRef) -> Problem {
    OpError::NoSuchTransfer(which.clone()).into()
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    fn refused() -> std::io::Error {
        std::io::Error::new(std::io::ErrorKind::PermissionDenied, "permission denied")
    }

    #[test]
    fn causes_follow_the_message_and_a_hint_does_not_double_them() {
        let error =
            Err::<(), _>(refused()).context("open \"x\"").hint("try sudo").context("share it").unwrap_err();
        let told = problem(&error);
        assert_eq!(told.message, "share it");
        assert_eq!(told.causes, ["open \"x\"", "permission denied"]);
        assert_eq!(told.hint.as_deref(), Some("try sudo"));
        assert_eq!(exit_status(&error), FAILURE);
    }

    #[test]
    fn the_hint_nearest_to_the_fault_wins() {
        let error = Err::<(), _>(refused()).hint("inner").hint("outer").unwrap_err();
        assert_eq!(problem(&error).hint.as_deref(), Some("inner"));
        let inner = Problem::new("x", "told").hint("of the node");
        let error = Err::<(), _>(inner).hint("outer").unwrap_err();
        assert_eq!(problem(&error), Problem::new("x", "told").hint("of the node"));
    }

    #[test]
    fn a_source_that_its_error_ends_with_is_told_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("open \"x\": {0}")]
        struct Doubled(#[source] std::io::Error);
        let error = Err::<(), _>(Doubled(refused())).context("share it").unwrap_err();
        assert_eq!(problem(&error).causes, ["open \"x\": permission denied"]);
        assert_eq!(Problem::of("x", &Doubled(refused())).causes, Vec::<String>::new());
    }

    #[test]
    fn bad_usage_has_a_status_of_its_own() {
        let error = Err::<(), _>(usage("two outputs")).hint("leave one out").unwrap_err();
        assert_eq!(exit_status(&error), BAD_USAGE);
        assert_eq!(problem(&error).message, "two outputs");
        assert_eq!(problem(&error).causes, Vec::<String>::new());
    }

    #[test]
    fn a_nodes_error_brings_its_causes() {
        let error = AddError::Refused { what: "the torrent", why: "piece length is zero".into() };
        let told = Problem::from(error);
        assert_eq!(told.message, "the torrent is refused");
        assert_eq!(told.causes, ["piece length is zero"]);
        assert!(told.hint.is_some());
    }
}
