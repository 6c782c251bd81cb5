//! A clock that somebody sets, for one process: the time of day jumps, and time goes on running as before.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::pair::Pair;

/// The time of day of those who wear it.
#[derive(Debug)]
pub struct Clock {
    file: PathBuf,
}

impl Clock {
    /// A clock that is kept in a file below the homes of a pair, and shows [`Clock::set`]'s time.
    pub fn new(pair: &Pair, name: &str, shift: &str) -> Self {
        let clock = Self { file: pair.path(name) };
        clock.set(shift);
        clock
    }

    /// Makes it jump to so far from the true time, such as `-20000d` or `+0`.
    #[track_caller]
    pub fn set(&self, shift: &str) {
        // In one step: it is read at any moment.
        let next = self.file.with_extension("next");
        fs::write(&next, shift).unwrap();
        fs::rename(&next, &self.file).unwrap();
    }

    /// Lets a process look at it.
    pub fn worn<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command
            .env("LD_PRELOAD", "/usr/$LIB/faketime/libfaketimeMT.so.1")
            .env("FAKETIME_TIMESTAMP_FILE", &self.file)
            .env("FAKETIME_NO_CACHE", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .env("NO_FAKE_STAT", "1")
    }
}
