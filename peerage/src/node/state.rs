//! What a transfer does, in the user's words.

use peerage_content::StorageErrorKind;
use peerage_swarm::driver::{Activity, Progress, Stall};

use super::Inner;
use super::entry::Entry;
use crate::model::{Event, Problem, Role, State};

/// What the engine does, in the user's words.
pub(super) fn state_of(progress: &Progress, role: Role, goal_reached: bool) -> (State, Option<Problem>) {
    match &progress.activity {
        Activity::Checking(..) => (State::Checking, None),
        Activity::Paused if goal_reached => (State::Complete, None),
        Activity::Paused => (State::Paused, None),
        _ if goal_reached => (State::Complete, None),
        // What is shared in place is never fetched: it serves what it has.
        Activity::Downloading if role == Role::Share => (State::Seeding, None),
        Activity::Downloading => (State::Downloading, None),
        Activity::Seeding => (State::Seeding, None),
        Activity::Stalled(stall) => (State::Error, Some(cannot_write(stall))),
        Activity::Changed(path) => {
            let told =
                Problem::new("changed", format!("{path:?} changed since it was verified; it is not served"))
                    .hint("`peerage verify` checks what is still true; share it again for a new link");
            (State::Changed, Some(told))
        }
    }
}

/// Storage does not take data.
pub(super) fn cannot_write(stall: &Stall) -> Problem {
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
        StorageErrorKind::NotPermitted => (
            "storage",
            "make the folder writable, or choose another with -o DIR; then `peerage resume`, or the same command, goes on",
        ),
        StorageErrorKind::Other => (
            "storage",
            "move away what is in the way, or choose another folder with -o DIR; then `peerage resume`, or the same command, goes on",
        ),
    };
    let told = Problem::new(code, "the data cannot be written").hint(hint);
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
