//! Which block of a corrupt piece is bad: asking peers for the hashes of its blocks.
//!
//! A piece of a hash tree that proved corrupt is *doubted*: its blocks stay where they are, and one peer after the other is asked for
//! the hashes of them, which prove themselves against the hash of the piece, whoever brings them. They name the bad blocks, and so
//! their senders, at once; only those blocks are fetched again. No peer is asked twice about one piece.
//!
//! The piece is not fetched anew meanwhile. That would bring the good blocks a second time, and an answer takes no longer than they
//! would. Nothing else waits: other pieces are fetched, and what is doubted does not count as buffered. Where nobody (who is left to
//! ask) can answer, or a reader waits for the piece and the first one does not, `blame` takes over: the piece is fetched anew from
//! one peer. The lone sender of a whole piece needs no proof, and is not asked about.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use peerage_content::{Block, PieceIndex};

use super::partial::block_index;
use super::peer::Peer;
use super::{Output, PeerKey, Swarm};

/// How long one peer has to answer: longer than one that refuses after some thought (our own door takes three seconds).
const ANSWER_MAX: Duration = Duration::from_secs(4);
/// Peers asked about one piece, and about one that a reader waits for.
const ASKED_MAX: usize = 3;
const ASKED_MAX_URGENT: usize = 1;
/// How long a piece is doubted, its turn at busy peers included.
const DOUBT_MAX: Duration = Duration::from_secs(12);
/// Pieces doubted at a time; further ones are fetched anew.
const DOUBTED_MAX: usize = 64;
/// Questions that a peer left unanswered, one after the other, after which it is not asked any more.
const UNPROVEN_MAX: u8 = 3;

/// The pieces that are doubted.
#[derive(Debug, Default)]
pub(super) struct Inquiries {
    open: BTreeMap<PieceIndex, Inquiry>,
    /// Somebody may have to be asked.
    pub(super) is_stirred: bool,
}

#[derive(Debug)]
struct Inquiry {
    /// Who may have sent a bad block, and therefore is asked last.
    senders: Vec<PeerKey>,
    asked: Vec<PeerKey>,
    /// Who is being waited for, and until when.
    waiting: Option<(PeerKey, Instant)>,
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

    /// Nothing is doubted any more of a piece. Returns who was being asked.
    pub(super) fn close(&mut self, piece: PieceIndex) -> Option<PeerKey> {
        let inquiry = self.open.remove(&piece)?;
        self.is_stirred = true;
        inquiry.waiting.map(|(peer, _)| peer)
    }

    /// A peer will not answer about a piece; false when it was not being waited for.
    fn answered(&mut self, piece: PieceIndex, peer: PeerKey) -> bool {
        let waiting = self.open.get_mut(&piece).map(|inquiry| &mut inquiry.waiting);
        let was_waiting =
            waiting.is_some_and(|waiting| waiting.take_if(|(asked, _)| *asked == peer).is_some());
        self.is_stirred |= was_waiting;
        was_waiting
    }

    /// A peer is gone.
    pub(super) fn left(&mut self, peer: PeerKey) {
        let pieces: Vec<PieceIndex> = self.open.keys().copied().collect();
        pieces.into_iter().for_each(|piece| {
            self.answered(piece, peer);
        });
    }

    /// Who let their time to answer pass.
    fn expire(&mut self, now: Instant) -> Vec<PeerKey> {
        let late = |inquiry: &mut Inquiry| inquiry.waiting.take_if(|(_, until)| *until <= now);
        let silent: Vec<PeerKey> = self.open.values_mut().filter_map(late).map(|(peer, _)| peer).collect();
        let is_over = |inquiry: &Inquiry| inquiry.waiting.is_none() && inquiry.until <= now;
        self.is_stirred |= self.open.values().any(is_over) || !silent.is_empty();
        silent
    }

    /// The pieces about which nobody is being asked.
    fn idle(&self) -> Vec<PieceIndex> {
        let open = self.open.iter();
        open.filter(|(_, inquiry)| inquiry.waiting.is_none()).map(|(piece, _)| *piece).collect()
    }

    /// When something is due if nothing happens before.
    pub(super) fn timeout(&self) -> Option<Instant> {
        let waits = |inquiry: &Inquiry| inquiry.waiting.map_or(inquiry.until, |(_, until)| until);
        self.open.values().map(waits).min()
    }

    fn is_busy(&self, peer: PeerKey) -> bool {
        self.open.values().any(|inquiry| inquiry.waiting.is_some_and(|(asked, _)| asked == peer))
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
        if self.inquiries.answered(piece, key) {
            self.left_unproven(key);
        }
    }

    /// Begins to doubt a piece whose blocks are all here and kept; false when there is no need to, or nobody to ask.
    pub(super) fn doubt(&mut self, now: Instant, piece: PieceIndex) -> bool {
        if self.inquiries.contains(piece) {
            return true;
        }
        let partial = self.picker.partials.get(piece).filter(|partial| partial.is_complete());
        let senders = partial.map(|partial| partial.contributors()).unwrap_or_default();
        if senders.len() < 2 || self.inquiries.open.len() >= DOUBTED_MAX {
            return false;
        }
        let inquiry = Inquiry { senders, asked: Vec::new(), waiting: None, until: now + DOUBT_MAX };
        if matches!(self.whom_to_ask(now, piece, &inquiry), Next::Nobody) {
            return false;
        }
        self.inquiries.open.insert(piece, inquiry);
        self.inquiries.is_stirred = true;
        self.picker.partials.set_doubted(piece, true);
        true
    }

    /// Blocks of a piece are bad for sure: their senders are banned, and they are fetched again; the others stay.
    pub(super) fn on_proven(&mut self, now: Instant, piece: PieceIndex, bad: &[Block]) {
        if let Some(peer) = self.inquiries.close(piece).and_then(|key| self.peers.get_mut(&key)) {
            peer.unproven = 0;
        }
        let bad: Vec<u32> = bad.iter().filter_map(|block| block_index(&self.layout, *block)).collect();
        let mut senders = Vec::new();
        for index in bad {
            let length = self.layout.block(piece, index).length;
            let Some(sender) = self.picker.partials.take_out(piece, index, length) else { continue };
            senders.push(sender);
            self.wasted += u64::from(length);
            self.downloaded = self.downloaded.saturating_sub(length.into());
        }
        self.picker.partials.set_doubted(piece, false);
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

    /// Asks about doubted pieces whoever is next, and ends the doubt where nobody is.
    pub(super) fn inquire(&mut self, now: Instant) {
        if self.inquiries.open.is_empty() {
            return;
        }
        self.inquiries.expire(now).into_iter().for_each(|key| self.left_unproven(key));
        while std::mem::take(&mut self.inquiries.is_stirred) {
            self.inquiries.idle().into_iter().for_each(|piece| self.inquire_about(now, piece));
        }
    }

    fn inquire_about(&mut self, now: Instant, piece: PieceIndex) {
        let Some(inquiry) = self.inquiries.open.get(&piece) else { return };
        let next = match inquiry.until <= now {
            true => Next::Nobody,
            false => self.whom_to_ask(now, piece, inquiry),
        };
        match next {
            Next::Ask(peer) => {
                if let Some(inquiry) = self.inquiries.open.get_mut(&piece) {
                    inquiry.asked.push(peer);
                    inquiry.waiting = Some((peer, now + ANSWER_MAX));
                    self.outputs.push_back(Output::Prove { peer, piece });
                }
            }
            Next::Wait => {}
            Next::Nobody => self.fetch_anew(now, piece),
        }
    }

    /// The quickest of those who can answer; senders, one of whom has a reason not to, after all others.
    fn whom_to_ask(&self, now: Instant, piece: PieceIndex, inquiry: &Inquiry) -> Next {
        let is_urgent = self.picker.wishes.deadline(piece).is_some();
        if inquiry.asked.len() >= if is_urgent { ASKED_MAX_URGENT } else { ASKED_MAX } {
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
