//! A child process: its output as lines to wait for, its death with its owner.
//!
//! A process that must run as long as its owner ([`Process::staying`]) is watched by whoever waits for anything: its early
//! end fails the test at once, with its name, and not when the patience for something else is over.

use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use crate::PATIENCE;

/// How often a condition that nobody reports is looked at.
const POLL: Duration = Duration::from_millis(50);

/// Lines of a process shown when a test fails.
const LINES_SHOWN: usize = 160;

/// What is in a line that reports progress.
const PROGRESS: &str = "\"progress\"";

/// Looks again and again until `look` finds something, and panics with `what` after [`PATIENCE`].
#[track_caller]
pub fn until<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    within(PATIENCE, what, look)
}

/// Like [`until`], with another deadline.
#[track_caller]
pub fn within<T>(patience: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {patience:?} for {what}");
        assert_all_stay(what);
        thread::sleep(POLL);
    }
}

/// The output of all processes that must not end before their owner does. A test has a process of its own.
static STAYING: Mutex<Vec<Weak<Lines>>> = Mutex::new(Vec::new());

/// Fails the test if a process that must stay has gone.
#[track_caller]
fn assert_all_stay(what: &str) {
    let staying: Vec<_> =
        STAYING.lock().unwrap_or_else(PoisonError::into_inner).iter().filter_map(Weak::upgrade).collect();
    for lines in staying {
        let gone = lines.lock().has_gone();
        assert!(!gone, "{} ended by itself while the test waited for {what}", lines.name);
    }
}

/// A running program. Killed when dropped; if that happens in a panic, the end of its output is shown.
pub struct Process {
    child: Child,
    lines: Arc<Lines>,
    /// Lines that were waited for already.
    read: usize,
    stderr: PathBuf,
    _folder: tempfile::TempDir,
}

struct Lines {
    /// The name of the process.
    name: String,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    lines: Vec<String>,
    ended: bool,
    /// It may not end by itself.
    stays: bool,
}

impl State {
    fn has_gone(&self) -> bool {
        self.stays && self.ended
    }
}

impl Process {
    /// Starts `command` with nothing on its stdin; `name` is what panics call it.
    #[track_caller]
    pub fn start(name: &str, command: &mut Command) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let stderr = folder.path().join("stderr");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(File::create(&stderr).unwrap());
        let mut child = command.spawn().unwrap_or_else(|problem| panic!("start {command:?}: {problem}"));
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let lines =
            Arc::new(Lines { name: name.to_owned(), state: Mutex::default(), changed: Condvar::new() });
        thread::spawn({
            let lines = lines.clone();
            move || lines.collect(stdout)
        });
        Self { child, lines, read: 0, stderr, _folder: folder }
    }

    /// The same process, which must run until it is signalled, waited for or dropped: otherwise the test fails at once,
    /// whatever it waits for.
    #[must_use]
    pub fn staying(self) -> Self {
        self.lines.lock().stays = true;
        STAYING.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&self.lines));
        self
    }

    /// It may end by itself from now on.
    pub fn may_end(&self) {
        self.lines.lock().stays = false;
    }

    /// The next line of stdout for which `pick` finds something; lines before it are passed over.
    #[track_caller]
    pub fn wait_for<T>(&mut self, what: &str, mut pick: impl FnMut(&str) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let state = self.lines.lock();
            while let Some(line) = state.lines.get(self.read) {
                self.read += 1;
                if let Some(found) = pick(line) {
                    return found;
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let (ended, late) = (state.ended, left.is_zero());
            if ended || late {
                drop(state);
                let why = if ended { "ended" } else { "was silent too long" };
                panic!("{} {why} before {what}", self.lines.name);
            }
            let waited = self.lines.changed.wait_timeout(state, left.min(POLL));
            drop(waited);
            assert_all_stay(what);
        }
    }

    /// All lines of stdout so far.
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().lines.clone()
    }

    /// What it has written to stderr so far.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.stderr).unwrap_or_default()).into_owned()
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal, by its name without SIG. It may end from now on, unless it is only stopped or continued.
    #[track_caller]
    pub fn signal(&self, name: &str) {
        if !["STOP", "CONT"].contains(&name) {
            self.lines.lock().stays = false;
        }
        crate::namespace::run("kill", &["-s", name, &self.id().to_string()]);
    }

    /// Waits until it has ended by itself.
    #[track_caller]
    pub fn end(&mut self) -> ExitStatus {
        self.lines.lock().stays = false;
        let what = format!("the end of {}", self.lines.name);
        until(&what, || self.child.try_wait().unwrap())
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Lines {
    /// A test that panics while it holds the lock leaves nothing half done.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn collect(&self, stdout: impl BufRead) {
        for line in stdout.split(b'\n') {
            let Ok(line) = line else { break };
            self.lock().lines.push(String::from_utf8_lossy(&line).into_owned());
            self.changed.notify_all();
        }
        self.lock().ended = true;
        self.changed.notify_all();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.lines.lock().stays = false;
        let fate = match self.child.try_wait() {
            Ok(Some(status)) => format!("had ended: {status}"),
            _ => "ran to the end of the test".to_owned(),
        };
        // It may have ended already; then there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let (lines, stderr) = (self.lines(), self.stderr());
            let (told, errors) = (end_of(lines.iter()), end_of(stderr.lines()));
            println!("--- {} {fate}; it wrote\n{told}\n--- and to stderr\n{errors}\n---", self.lines.name);
        }
    }
}

/// The end of an output, without reports of progress that others followed.
fn end_of<L: AsRef<str>>(lines: impl Iterator<Item = L>) -> String {
    let mut shown: Vec<L> = Vec::new();
    for line in lines {
        shown.pop_if(|last| last.as_ref().contains(PROGRESS) && line.as_ref().contains(PROGRESS));
        shown.push(line);
    }
    let from = shown.len().saturating_sub(LINES_SHOWN);
    shown[from..].iter().map(|line| line.as_ref()).collect::<Vec<_>>().join("\n")
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process")
            .field("name", &self.lines.name)
            .field("id", &self.id())
            .finish_non_exhaustive()
    }
}
