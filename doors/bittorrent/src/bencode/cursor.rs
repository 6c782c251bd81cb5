//! Going through dictionaries inside dictionaries in one pass.

use std::fmt;

use super::token::{self, Token};
use super::value::take_value;
use super::{Kind, Value};

/// A place in a tree of dictionaries. Walking a tree with [`super::Dict`] alone reads the innermost bytes once for every level
/// around them; a cursor reads all bytes once.
///
/// [`Cursor::step`] gives a key; then [`Cursor::enter`] goes into its value or [`Cursor::take`] takes it whole, and a step
/// without either passes over it.
#[derive(Clone)]
pub struct Cursor<'a> {
    rest: &'a [u8],
    at: usize,
    /// Whether a key was given whose value was not used.
    waiting: bool,
}

/// What a cursor met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// A key of the dictionary that it is in.
    Key(&'a [u8]),
    /// The end of a dictionary that was entered: it is in the one around it again.
    Up,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(rest: &'a [u8], at: usize) -> Self {
        Self { rest, at, waiting: false }
    }

    /// The next key or end; `None` at the end of the dictionary that it began in.
    pub fn step(&mut self) -> Option<Step<'a>> {
        if self.waiting {
            self.take();
        }
        let (token, end) = token::read(self.rest, 0).ok()?;
        self.advance(end)?;
        match token {
            Token::Bytes(key) => {
                self.waiting = true;
                Some(Step::Key(key))
            }
            _ => Some(Step::Up),
        }
    }

    /// Goes into the value of the key, if it is a dictionary.
    ///
    /// # Errors
    /// What it is instead; the cursor has not moved.
    pub fn enter(&mut self) -> Result<(), Kind> {
        let kind = Kind::of(self.rest);
        if !self.waiting || kind != Kind::Dict {
            return Err(kind);
        }
        self.waiting = false;
        self.advance(1).ok_or(kind)
    }

    /// The value of the key; `None` when there was no key or its value is used already.
    pub fn take(&mut self) -> Option<Value<'a>> {
        if !std::mem::take(&mut self.waiting) {
            return None;
        }
        take_value(&mut self.rest, &mut self.at)
    }

    fn advance(&mut self, bytes: usize) -> Option<()> {
        self.rest = self.rest.get(bytes..)?;
        self.at += bytes;
        Some(())
    }
}

impl fmt::Debug for Cursor<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cursor").field("at", &self.at).finish_non_exhaustive()
    }
}
