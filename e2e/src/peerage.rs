//! The program under test: the real binary, its events, its exit status.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};

use serde_json::Value;

use crate::process::Process;

/// The binary: `$PEERAGE`, or the one beside the tests in the folder of their profile.
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("PEERAGE") {
        return path.into();
    }
    let path = std::env::current_exe().unwrap().parent().unwrap().with_file_name("peerage");
    assert!(
        path.exists(),
        "{}: build it first (cargo build -p peerage), or name one in PEERAGE",
        path.display()
    );
    path
}

/// A command of the program for a user whose home, and working directory, is `home`.
pub fn command<A: AsRef<OsStr>>(home: &Path, args: impl IntoIterator<Item = A>) -> Command {
    std::fs::create_dir_all(home).unwrap();
    let mut command = Command::new(binary());
    command.args(args).env_clear().env("HOME", home).current_dir(home).stdin(Stdio::null());
    if let Some(filter) = std::env::var_os("PEERAGE_LOG") {
        command.env("PEERAGE_LOG", filter).arg("-v");
    }
    command
}

/// Runs a command to its end, whatever that is.
pub fn output(home: &Path, args: &[&str]) -> Output {
    command(home, args).output().unwrap()
}

/// Runs a command that must succeed, with `--json`, and gives the objects that it printed.
#[track_caller]
pub fn objects(home: &Path, args: &[&str]) -> Vec<Value> {
    let output = output(home, &[args, &["--json"]].concat());
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{args:?}: {text} {}", String::from_utf8_lossy(&output.stderr));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A running `share`, `get` or `up`, killed when dropped.
#[derive(Debug)]
pub struct Peerage {
    /// The process and its raw output.
    pub process: Process,
}

impl Peerage {
    /// `peerage share`; `args` name what, and how.
    #[track_caller]
    pub fn share(home: &Path, args: &[&str]) -> Self {
        Self::start(home, "share", args)
    }

    /// `peerage get`; `args` name what, and how.
    #[track_caller]
    pub fn get(home: &Path, args: &[&str]) -> Self {
        Self::start(home, "get", args)
    }

    /// `peerage up`, the daemon of this home.
    #[track_caller]
    pub fn up(home: &Path, args: &[&str]) -> Self {
        Self::start(home, "up", args)
    }

    /// Any command that prints events.
    #[track_caller]
    pub fn start(home: &Path, verb: &str, args: &[&str]) -> Self {
        Self::run(verb, &mut command(home, [&[verb, "--json"], args].concat()))
    }

    /// A command that was put together elsewhere.
    #[track_caller]
    pub fn run(verb: &str, command: &mut Command) -> Self {
        let process = Process::start(&format!("peerage {verb}"), command);
        // What serves must be there as long as the test needs it; a `get` ends when it has everything.
        Self { process: if verb == "get" { process } else { process.staying() } }
    }

    /// The next event of this name. An `error` before it fails the test.
    #[track_caller]
    pub fn event(&mut self, name: &str) -> Value {
        self.find(name, |event| event["event"] == name)
    }

    /// The next event that `is_it`, called `what` in a panic. An `error` that it is not fails the test.
    #[track_caller]
    pub fn find(&mut self, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        self.process.wait_for(what, |line| {
            let event: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}"));
            if is_it(&event) {
                return Some(event);
            }
            assert_ne!(event["event"], "error", "{event} before {what}");
            None
        })
    }

    /// The first address it listens on. To be asked before any later event.
    #[track_caller]
    pub fn address(&mut self) -> String {
        self.event("listening")["addresses"][0].as_str().unwrap().to_owned()
    }

    /// The transfer, once its torrent is known. To be asked before any later event.
    #[track_caller]
    pub fn metadata(&mut self) -> Value {
        self.event("metadata")["transfer"].take()
    }

    /// Waits until everything wanted is verified and in its place.
    #[track_caller]
    pub fn complete(&mut self) -> Value {
        self.event("complete")
    }

    /// Sends a signal, by its name without SIG.
    #[track_caller]
    pub fn signal(&self, name: &str) {
        self.process.signal(name);
    }

    /// Waits until it has ended by itself.
    #[track_caller]
    pub fn end(&mut self) -> ExitStatus {
        self.process.end()
    }
}
