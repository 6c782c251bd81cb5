//! Which files the user wants, and what that means for pieces.

use std::ops::Range;

use peerage_content::{EntryKind, Layout, PieceIndex};
use peerage_swarm::core::Priority;

use crate::model::{FilePriority, PriorityRule};
use crate::pattern::Pattern;

/// Rules that were checked.
#[derive(Clone, Debug, Default)]
pub(super) struct Rules {
    only: Vec<Pattern>,
    rules: Vec<(Pattern, FilePriority)>,
}

impl Rules {
    /// Checks patterns.
    ///
    /// # Errors
    /// The malformed pattern and what is wrong with it.
    pub(super) fn new(only: &[String], rules: &[PriorityRule]) -> Result<Self, (String, globset::Error)> {
        let matcher = |glob: &str| Pattern::new(glob).map_err(|error| (glob.to_owned(), error));
        Ok(Self {
            only: only.iter().map(|glob| matcher(glob)).collect::<Result<_, _>>()?,
            rules: rules
                .iter()
                .map(|rule| Ok((matcher(&rule.glob)?, rule.priority)))
                .collect::<Result<_, (String, globset::Error)>>()?,
        })
    }

    /// Applies the rules to the priorities of all entries; `fresh` when those were not chosen yet, so that `only` counts.
    pub(super) fn apply(&self, layout: &Layout, priorities: &mut [FilePriority], fresh: bool) {
        for (entry, priority) in layout.entries().iter().zip(priorities) {
            let path = entry.path.as_path();
            let matches = |pattern: &Pattern| pattern.matches(path);
            if fresh && !self.only.is_empty() && !self.only.iter().any(matches) {
                *priority = FilePriority::Skip;
            }
            if let Some((_, chosen)) = self.rules.iter().rev().find(|(glob, _)| matches(glob)) {
                *priority = *chosen;
            }
        }
    }
}

/// The priorities of pieces: each as high as the highest of its files. Ranges are in order of application.
pub(super) fn piece_priorities(
    layout: &Layout,
    priorities: &[FilePriority],
) -> Vec<(Range<PieceIndex>, Priority)> {
    if priorities.iter().all(|priority| *priority == FilePriority::Normal) {
        return vec![(0..layout.piece_count(), Priority::Normal)];
    }
    let mut ranges = vec![(0..layout.piece_count(), Priority::Skip)];
    for (level, priority) in [
        (FilePriority::Low, Priority::Low),
        (FilePriority::Normal, Priority::Normal),
        (FilePriority::High, Priority::High),
    ] {
        for (index, entry) in layout.entries().iter().enumerate() {
            let pieces = layout.pieces_of(index);
            if priorities.get(index) == Some(&level) && entry.kind != EntryKind::Pad && !pieces.is_empty() {
                ranges.push((pieces, priority));
            }
        }
    }
    ranges
}

/// Bytes of the files that are wanted.
pub(super) fn wanted_bytes(layout: &Layout, priorities: &[FilePriority]) -> u64 {
    let files = layout.entries().iter().zip(priorities);
    files
        .filter(|(entry, priority)| entry.kind != EntryKind::Pad && **priority != FilePriority::Skip)
        .map(|(entry, _)| entry.length)
        .sum()
}
