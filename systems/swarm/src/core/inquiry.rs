//! Which block of a corrupt piece is bad: asking peers for the hashes of its blocks.
//!
//! A piece of a hash tree that proved corrupt comes *under inquiry*: its blocks stay where they are, and one peer after the other is asked for
//! the hashes of them, which prove themselves against the hash of the piece, whoever brings them. They name the bad blocks, and so
//! their senders, at once; only those blocks are fetched again. No peer is asked twice about one piece.
//!
//! The piece is not fetched anew meanwhile. That would bring the good blocks a second time, and an answer takes no longer than they
//! would. Nothing else waits: other pieces are fetched, and what is under inquiry does not count as buffered. Where nobody (who is left to
//! ask) can answer, or not within a few seconds, `blame` takes over: the piece is fetched anew from one peer. The lone sender of a
//! whole piece needs no proof, and is not asked about.
//!
//! One who keeps silent may be the liar himself: after a second the next is asked, and whichever answer comes first counts.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use peerage_content::{Block, PieceIndex};

use super::partial::block_index;
use super::peer::Peer;
use super::{Output, PeerKey, Swarm};

/// How long one peer has to answer before the next is asked.
const ANSWER_MAX: Duration = Duration::from_secs(1);
/// Peers asked about one piece, and about one that a reader waits for.
const ASKED_MAX: usize = 3;
const ASKED_MAX_URGENT: usize = 1;
/// How long a piece is under inquiry, its turn at busy peers included.
const INQUIRY_MAX: Duration = Duration::from_secs(4);
/// Pieces under inquiry at a time; further ones are fetched anew.
const INQUIRIES_MAX: usize = 64;
/// Questions that a peer left unanswered, after which it is not asked any more.
const UNPROVEN_MAX: u8 = 3;

/// The pieces under inquiry.
#[derive(Debug, Default)]
pub(super) struct Inquiries {
    open: BTreeMap<PieceIndex, Inquiry>,
    /// Somebody may have to be asked.
    is_stirred: bool,
}

#[derive(Debug)]
struct Inquiry {
    /// Who may have sent a bad block, and therefore is asked last.
    senders: Vec<PeerKey>,
    asked: Vec<PeerKey>,
    /// Those of the asked who have not refused.
    awaited: Vec<PeerKey>,
    /// When the next is asked though somebody is awaited.
    next_at: Instant,
    until: Instant,
}

/// Whom to ask about a piece.
enum Next {
    Ask(PeerKey),
    /// Those who are left to ask have another question to answer first.
    Wait,
    Nobody,
}

impl Inquiries {
    pub(super) fn contains(&self, piece: PieceIndex) -> bool {
        self.open.contains_key(&piece)
    }

    /// A piece is under inquiry no longer.
    pub(super) fn close(&mut self, piece: PieceIndex) {
        self.is_stirred |= self.open.remove(&piece).is_some();
    }

    /// A peer will not answer about a piece; false when it was not awaited.
    fn refused(&mut self, piece: PieceIndex, peer: PeerKey) -> bool {
        let Some(inquiry) = self.open.get_mut(&piece) else { return false };
        let before = inquiry.awaited.len();
        inquiry.awaited.retain(|awaited| *awaited != peer);
        let was_awaited = inquiry.awaited.len() < before;
        self.is_stirred |= was_awaited;
        was_awaited
    }

    /// A peer is gone.
    pub(super) fn left(&mut self, peer: PeerKey) {
        for piece in self.pieces() {
            self.refused(piece, peer);
        }
    }

    /// When something is due if nothing happens before.
    pub(super) fn timeout(&self) -> Option<Instant> {
        self.open.values().map(|inquiry| inquiry.next_at.min(inquiry.until)).min()
    }

    fn pieces(&self) -> Vec<PieceIndex> {
        self.open.keys().copied().collect()
    }

    fn is_busy(&self, peer: PeerKey) -> bool {
        self.open.values().any(|inquiry| inquiry.awaited.contains(&peer))
    }
}

impl Swarm {
    /// A peer can be asked for the hashes of blocks.
    pub(super) fn on_proves(&mut self, key: PeerKey) {
        if let Some(peer) = self.peers.get_mut(&key) {
            peer.proves = true;
            self.inquiries.is_stirred = true;
        }
    }

    /// A peer will not prove the blocks of a piece.
    pub(super) fn on_unproven(&mut self, key: PeerKey, piece: PieceIndex) {
        if self.inquiries.refused(piece, key) {
            self.left_unproven(key);
        }
    }

    /// Begins to ask about a piece whose blocks are all here and kept; false when there is no need to, or nobody to ask.
    pub(super) fn begin_inquiry(&mut self, now: Instant, piece: PieceIndex) -> bool {
        if self.inquiries.contains(piece) {
            return true;
        }
        let partial = self.picker.partials.get(piece).filter(|partial| partial.is_complete());
        let senders = partial.map(|partial| partial.contributors()).unwrap_or_default();
        if senders.len() < 2 || self.inquiries.open.len() >= INQUIRIES_MAX {
            return false;
        }
        let (asked, awaited) = (Vec::new(), Vec::new());
        let inquiry = Inquiry { senders, asked, awaited, next_at: now, until: now + INQUIRY_MAX };
        if matches!(self.whom_to_ask(now, piece, &inquiry), Next::Nobody) {
            return false;
        }
        self.inquiries.open.insert(piece, inquiry);
        self.inquiries.is_stirred = true;
        self.picker.partials.set_under_inquiry(piece, true);
        true
    }

    /// Blocks of a piece are bad for sure: their senders are banned, and they are fetched again; the others stay.
    pub(super) fn on_proven(&mut self, now: Instant, piece: PieceIndex, bad: &[Block]) {
        self.inquiries.close(piece);
        let bad: Vec<u32> = bad.iter().filter_map(|block| block_index(&self.layout, *block)).collect();
        let mut senders = Vec::new();
        for index in bad {
            let block = self.layout.block(piece, index);
            let length = block.length;
            let Some(sender) = self.picker.partials.take_out(piece, index, length) else { continue };
            senders.push(sender);
            self.wasted += u64::from(length);
            self.downloaded = self.downloaded.saturating_sub(self.layout.content_of(block).into());
        }
        self.picker.partials.set_under_inquiry(piece, false);
        self.picker.epoch += 1;
        if !senders.is_empty() {
            self.convict(now, piece, senders);
        }
        if !self.picker.wants(piece) {
            self.give_up(now, piece);
        }
    }

    fn convict(&mut self, now: Instant, piece: PieceIndex, senders: Vec<PeerKey>) {
        let owner = self.picker.partials.get(piece).and_then(|partial| partial.owner);
        if owner.is_some_and(|owner| senders.contains(&owner)) {
            // Else what is good of the piece would go with its owner.
            self.picker.partials.set_owner(piece, None);
        }
        let judgement = self.blame.judge(piece, Vec::new(), senders);
        judgement.ban.into_iter().for_each(|key| self.ban(now, key));
    }

    /// Asks whoever is next about each piece, and ends the inquiry where nobody is.
    pub(super) fn inquire(&mut self, now: Instant) {
        self.inquiries.is_stirred |= self.inquiries.timeout().is_some_and(|at| at <= now);
        while std::mem::take(&mut self.inquiries.is_stirred) {
            self.inquiries.pieces().into_iter().for_each(|piece| self.inquire_about(now, piece));
        }
    }

    fn inquire_about(&mut self, now: Instant, piece: PieceIndex) {
        let Some(inquiry) = self.inquiries.open.get(&piece) else { return };
        if inquiry.until <= now {
            return self.end_inquiry(now, piece);
        }
        if !inquiry.awaited.is_empty() && now < inquiry.next_at {
            return;
        }
        match self.whom_to_ask(now, piece, inquiry) {
            Next::Nobody if inquiry.awaited.is_empty() || self.is_urgent(piece) => {
                return self.end_inquiry(now, piece);
            }
            Next::Ask(peer) => self.ask_for_proof(peer, piece),
            Next::Nobody | Next::Wait => {}
        }
        if let Some(inquiry) = self.inquiries.open.get_mut(&piece) {
            inquiry.next_at = now + ANSWER_MAX;
        }
    }

    fn ask_for_proof(&mut self, peer: PeerKey, piece: PieceIndex) {
        if let Some(inquiry) = self.inquiries.open.get_mut(&piece) {
            inquiry.asked.push(peer);
            inquiry.awaited.push(peer);
            self.outputs.push_back(Output::Prove { peer, piece });
        }
    }

    /// No proof came.
    fn end_inquiry(&mut self, now: Instant, piece: PieceIndex) {
        let inquiry = self.inquiries.open.get_mut(&piece);
        let silent = inquiry.map(|inquiry| std::mem::take(&mut inquiry.awaited)).unwrap_or_default();
        silent.into_iter().for_each(|key| self.left_unproven(key));
        self.fetch_anew(now, piece);
    }

    fn is_urgent(&self, piece: PieceIndex) -> bool {
        self.picker.wishes.deadline(piece).is_some()
    }

    /// The quickest of those who can answer; senders, one of whom has a reason not to, after all others.
    fn whom_to_ask(&self, now: Instant, piece: PieceIndex, inquiry: &Inquiry) -> Next {
        if inquiry.asked.len() >= if self.is_urgent(piece) { ASKED_MAX_URGENT } else { ASKED_MAX } {
            return Next::Nobody;
        }
        let able = |peer: &&Peer| {
            peer.proves
                && peer.has(piece)
                && peer.unproven < UNPROVEN_MAX
                && !inquiry.asked.contains(&peer.key)
        };
        let rank = |peer: &&Peer| {
            (peer.unproven, inquiry.senders.contains(&peer.key), peer.time_to_answer(0, now), peer.key)
        };
        let mut able = self.peers.values().filter(able).peekable();
        if able.peek().is_none() {
            return Next::Nobody;
        }
        let free = able.filter(|peer| !self.inquiries.is_busy(peer.key));
        free.min_by_key(rank).map_or(Next::Wait, |peer| Next::Ask(peer.key))
    }

    fn left_unproven(&mut self, key: PeerKey) {
        if let Some(peer) = self.peers.get_mut(&key) {
            peer.unproven = peer.unproven.saturating_add(1);
        }
    }
}
