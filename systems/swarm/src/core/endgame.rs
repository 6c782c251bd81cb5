//! The end game: asking a second peer for blocks that are on their way from a slow one.
//!
//! Played when everything has been asked for, when a reader waits for a piece that will come too late, or when so much is
//! buffered that no new piece may be begun. A peer that has run dry helps out where it is clearly quicker: it takes the
//! blocks that will come last by the rates seen so far. Whoever sends a block first wins, and the other request
//! is cancelled; so duplicates stay few.

use std::time::{Duration, Instant};

use peerage_content::BLOCK_LENGTH;

use super::Config;
use super::partial::Partial;
use super::peer::{Asked, Peer, Request};
use super::picker::Picker;

/// A helper must be expected to be this many times as quick as the peer that was asked.
const QUICKER: u32 = 2;
/// And by at least this much.
const MARGIN: Duration = Duration::from_millis(500);
/// Peers asked for one block at a time.
const ASKERS_MAX: usize = 2;
/// What a helper that never sent anything is expected to need.
const UNTRIED: Duration = Duration::from_secs(2);
/// Blocks an untried helper gets.
const UNTRIED_BLOCKS: usize = 2;

/// Which blocks may be asked for twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// All that are on their way.
    All,
    /// Those of pieces that a reader waits for.
    Due,
}

/// Blocks that `helper` would bring sooner than the peers they were asked of, the most delayed first.
pub(super) fn rescue<'a>(
    helper: &Peer,
    others: impl Iterator<Item = &'a Peer>,
    picker: &Picker,
    config: &Config,
    scope: Scope,
    now: Instant,
) -> Vec<Asked> {
    let room = helper.depth(config).saturating_sub(helper.requests.len());
    let rate = helper.download.over(now, 4);
    let (first, step, room) = if rate > 0 {
        let step = Duration::from_secs_f64(f64::from(BLOCK_LENGTH) / rate as f64);
        (helper.time_to_answer(helper.requests.len(), now), step, room)
    } else {
        (UNTRIED, UNTRIED, room.min(UNTRIED_BLOCKS))
    };
    let mut late: Vec<(Duration, Asked)> = Vec::new();
    for other in others.filter(|other| other.key != helper.key) {
        let is_late = |wait: &Duration| *wait >= QUICKER * first + MARGIN;
        let waits =
            |(place, request): (usize, &Request)| (other.time_until(request, place, now), request.asked);
        // Those that were overtaken are at the front and late though they seem next; of the rest the last are the latest.
        let overtaken = other.requests.iter().take_while(|request| request.overtaken.is_some()).count();
        let passed =
            other.requests.iter().enumerate().take(overtaken).map(waits).filter(|(wait, _)| is_late(wait));
        let rest = other.requests.iter().enumerate().skip(overtaken).rev().map(waits);
        for (wait, asked) in passed.chain(rest.take_while(|(wait, _)| is_late(wait))) {
            let is_due = || picker.wishes.deadline(asked.piece).is_some_and(|at| now + wait > at);
            if (scope == Scope::All || is_due())
                && helper.may_request(asked.piece)
                && picker.partials.get(asked.piece).is_some_and(|partial| may_join(partial, asked, helper))
            {
                late.push((wait, asked));
            }
        }
    }
    late.sort_unstable_by_key(|&(wait, asked)| (std::cmp::Reverse(wait), asked.piece, asked.index));
    late.dedup_by_key(|(_, asked)| *asked);
    let mut arrival = first;
    late.into_iter()
        .take(room)
        .take_while(|(wait, _)| {
            let worth = *wait >= QUICKER * arrival + MARGIN;
            arrival += step;
            worth
        })
        .map(|(_, asked)| asked)
        .collect()
}

fn may_join(partial: &Partial, asked: Asked, helper: &Peer) -> bool {
    partial.owner.is_none()
        && !helper.on_parole
        && (1..ASKERS_MAX).contains(&partial.askers(asked.index))
        && !partial.is_asked_of(asked.index, helper.key)
}
