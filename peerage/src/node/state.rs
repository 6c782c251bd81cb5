//! What a transfer does, in the user's words.

use peerage_content::StorageErrorKind;
use peerage_swarm::driver::{Activity, Progress, Stall};

use super::Inner;
use super::entry::Entry;
use crate::model::{Event, Problem, Role, State};
use crate::values::Size;

/// What the engine does, in the user's words. `size`: of all files.
pub(super) fn state_of(
    progress: &Progress,
    role: Role,
    goal_reached: bool,
    size: u64,
) -> (State, Option<Problem>) {
    match &progress.activity {
        Activity::Checking(..) => (State::Checking, None),
        Activity::Paused if goal_reached => (State::Complete, None),
        Activity::Paused => (State::Paused, None),
        _ if goal_reached => (State::Complete, None),
        // What is shared in place is never fetched: it serves what it has.
        Activity::Downloading if role == Role::Share => (State::Seeding, None),
        Activity::Downloading => (State::Downloading, None),
        Activity::Seeding => (State::Seeding, None),
        Activity::Stalled(stall) => (State::Error, Some(cannot_use(stall, role))),
        Activity::Changed(path) => (State::Changed, Some(changed(path, role))),
        Activity::Incomplete(path) => {
            let nothing = progress.verified_bytes == 0 && size > 0;
            let state = if nothing { State::Changed } else { State::Seeding };
            (state, Some(incomplete(path, progress.verified_bytes, size)))
        }
    }
}

/// Somebody edited a file.
fn changed(path: &str, role: Role) -> Problem {
    let what = format!("{path:?} changed since it was verified");
    match role {
        Role::Share => Problem::new("changed", format!("{what}; it is not served"))
            .hint("put it back as it was, or share it again for a new link; in a daemon, `peerage verify` checks what is still true"),
        Role::Get => Problem::new("changed", format!("{what}; it is left as it is, and not served")).hint(
            "move it elsewhere to keep it, and the original is fetched again; `peerage verify` in a daemon, or the same `get` with \
             --overwrite, writes the original over it",
        ),
    }
}

/// What is shared under an existing torrent is not all of it.
fn incomplete(path: &str, verified: u64, size: u64) -> Problem {
    let differing = format!(
        "{} of {} do not match the torrent, and are not served",
        Size(size - verified.min(size)),
        Size(size)
    );
    let told = Problem::new("partial", differing).hint(
        "put the files in place that the torrent was made of, and share them again (`peerage verify` in a daemon); `peerage get` of \
         the torrent into that folder fetches what is missing",
    );
    Problem { causes: vec![format!("{path:?} is the first that is gone or not whole")], ..told }
}

/// Storage does not take or give data.
pub(super) fn cannot_use(stall: &Stall, role: Role) -> Problem {
    let (code, hint) = match stall.kind {
        StorageErrorKind::NoSpace => {
            ("no_space", "make room, or raise disk_quota if one is set: it goes on by itself within seconds")
        }
        StorageErrorKind::ReadOnly => {
            ("read_only", "make the file system writable again: it goes on by itself within seconds")
        }
        StorageErrorKind::Vanished => {
            ("vanished", "bring the folder back: it goes on by itself within seconds")
        }
        StorageErrorKind::Device => (
            "device",
            "look at the disk (`dmesg` tells more): it goes on by itself within seconds when that works again",
        ),
        StorageErrorKind::NotPermitted if role == Role::Share => {
            ("storage", "make the files readable; then `peerage resume`, or the same command, goes on")
        }
        StorageErrorKind::NotPermitted => (
            "storage",
            "make the folder writable, or choose another with -o DIR; then `peerage resume`, or the same command, goes on",
        ),
        StorageErrorKind::Other => (
            "storage",
            "move away what is in the way, or choose another folder with -o DIR; then `peerage resume`, or the same command, goes on",
        ),
    };
    let what = match role {
        Role::Share => "the files cannot be read",
        Role::Get => "the data cannot be written",
    };
    let told = Problem::new(code, what).hint(hint);
    Problem { causes: vec![stall.why.clone()], ..told }
}

/// Sets the state and tells everybody if it is another.
pub(super) fn set_state(node: &Inner, entry: &Entry, state: State, problem: Option<Problem>) {
    let changed = {
        let mut facts = entry.facts();
        let changed = facts.state != state || facts.problem != problem;
        facts.state = state;
        facts.problem.clone_from(&problem);
        changed
    };
    if changed {
        node.emit(Event::State { id: entry.id, state, problem });
    }
}
