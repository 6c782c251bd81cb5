//! From a block that arrived to the verdict on its piece.

use std::time::Instant;

use peerage_content::{Arrived, Intake, IntakeEvent, Kept, PieceIndex};
use tracing::debug;

use super::Actor;
use crate::core::{Input, PeerKey};

impl Actor {
    /// A block that the core wants.
    pub(super) fn take_in(&mut self, now: Instant, arrived: Arrived) {
        let block = arrived.block;
        if self.checking.is_some() {
            // It was on its way when checking began, and nothing is written while files are read.
            self.core.handle(now, Input::Lost { piece: block.piece });
        } else if self.intake().refutes(&arrived) {
            self.core.handle(now, Input::Corrupt { piece: block.piece, bad: &[block], kept: true });
        } else {
            self.intake().accept(arrived);
        }
    }

    fn intake(&mut self) -> &mut Intake {
        self.intake.get_or_insert_with(|| {
            Intake::new(
                self.store.clone(),
                self.truth.clone(),
                self.resources.workers.clone(),
                self.resources.pool.clone(),
                self.verdicts.0.clone(),
            )
        })
    }

    pub(super) fn verdict(&mut self, verdict: IntakeEvent) {
        let now = Instant::now();
        match verdict {
            IntakeEvent::Verified(piece) => {
                self.core.handle(now, Input::Verified { piece });
                self.records.verified(piece, now);
                if self.store.completes(piece) {
                    self.records.completed_file();
                }
                self.stalls = 0;
                self.wake(piece);
            }
            IntakeEvent::Corrupt { piece, kept } => self.corrupt(now, piece, kept),
            IntakeEvent::Failed { piece, error } => {
                self.core.handle(now, Input::Lost { piece });
                if let Some(intake) = &mut self.intake {
                    intake.discard(piece);
                }
                self.stall(now, &error);
            }
            other => debug!(?other, "intake event without effect"),
        }
        self.heed_losses(now);
        self.carry_out();
    }

    /// A piece does not match its hash.
    fn corrupt(&mut self, now: Instant, piece: PieceIndex, kept: Option<Kept>) {
        debug!(piece, "piece does not match its hash");
        let Some(kept) = kept else {
            return self.core.handle(now, Input::Corrupt { piece, bad: &[], kept: false });
        };
        // Else it was given up while its verdict was on its way.
        if let Some(bad) = self.intake().keep(kept) {
            self.core.handle(now, Input::Corrupt { piece, bad: &bad, kept: true });
        }
    }

    /// A peer was asked for the hashes of a piece's blocks.
    pub(super) fn proof(&mut self, now: Instant, peer: PeerKey, piece: PieceIndex, known: bool) {
        if !known {
            return self.core.handle(now, Input::Unproven { peer, piece });
        }
        let bad = self.intake.as_mut().map(|intake| intake.convict(piece)).unwrap_or_default();
        if !bad.is_empty() {
            self.core.handle(now, Input::Corrupt { piece, bad: &bad, kept: true });
        }
    }
}
