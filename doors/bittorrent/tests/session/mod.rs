//! A libtorrent session in a script beside the tests: it tells in lines, and dials the ports of this machine that it is told.

#![allow(
    dead_code,
    unreachable_pub,
    missing_debug_implementations,
    reason = "each test binary uses a part of it"
)]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// A running session; it ends when this is dropped.
pub struct Session {
    process: Child,
    commands: Option<ChildStdin>,
    words: BufReader<ChildStdout>,
}

impl Session {
    /// Runs a script of this folder, which works in `folder` as a `seed`, or to `fetch`.
    pub fn start(script: &str, folder: &Path, role: &str) -> Self {
        let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
        let mut process = Command::new("/usr/bin/python3")
            .arg(tests.join(script))
            .arg(folder)
            .arg(role)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("PYTHONPATH", tests.join("fixtures"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this test needs the packages python3 and python3-libtorrent");
        let commands = process.stdin.take();
        let words = BufReader::new(process.stdout.take().unwrap());
        Self { process, commands, words }
    }

    /// The next line that it tells.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.words.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    /// Makes it dial.
    pub fn dial(&mut self, port: u16) {
        writeln!(self.commands.as_mut().unwrap(), "{port}").unwrap();
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.commands = None;
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
