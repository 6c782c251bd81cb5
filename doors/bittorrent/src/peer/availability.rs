//! What a peer said that it has, before and after the number of pieces is known.

use peerage_content::{PieceIndex, PieceSet};
use peerage_swarm::core::Availability;
use peerage_swarm::driver::WireEvent;

use super::error::Misbehaviour;

/// Pieces and wishes remembered while the metadata is unknown.
const MEMO_MAX: usize = 64 << 10;

/// What was said before the metadata was known, to be told to the transfer once there is one.
#[derive(Debug, Default)]
pub(super) struct Memo {
    whole: Option<Whole>,
    have: Vec<PieceIndex>,
    allowed_fast: Vec<PieceIndex>,
    unchoked: bool,
    interested: bool,
    upload_only: bool,
}

#[derive(Debug)]
enum Whole {
    All,
    None,
    Bits(Vec<u8>),
}

impl Memo {
    /// Everything the peer has, as sent; `None` for have-none, an empty slice is a bitfield.
    pub(super) fn bitfield(&mut self, bits: &[u8]) -> Result<(), Misbehaviour> {
        self.set(Whole::Bits(bits.to_vec()))
    }

    pub(super) fn all(&mut self) -> Result<(), Misbehaviour> {
        self.set(Whole::All)
    }

    pub(super) fn none(&mut self) -> Result<(), Misbehaviour> {
        self.set(Whole::None)
    }

    fn set(&mut self, whole: Whole) -> Result<(), Misbehaviour> {
        if self.whole.is_some() && !matches!(whole, Whole::Bits(_)) {
            return Err(Misbehaviour::Availability("told twice"));
        }
        self.whole = Some(whole);
        Ok(())
    }

    /// Remembers an event about the peer; what has no meaning before metadata is forgotten.
    pub(super) fn note(&mut self, event: WireEvent) -> Result<(), Misbehaviour> {
        match event {
            WireEvent::Have(piece) => push(&mut self.have, piece)?,
            WireEvent::AllowedFast(piece) => push(&mut self.allowed_fast, piece)?,
            WireEvent::Choked(choked) => self.unchoked = !choked,
            WireEvent::Interest(interested) => self.interested = interested,
            WireEvent::UploadOnly(upload_only) => self.upload_only = upload_only,
            _ => {}
        }
        Ok(())
    }

    /// Everything that was said, for a content of `pieces` pieces.
    pub(super) fn replay(self, pieces: u32) -> Result<Vec<WireEvent>, Misbehaviour> {
        let mut events = Vec::new();
        match self.whole {
            Some(Whole::All) => events.push(WireEvent::Has(Availability::All)),
            Some(Whole::None) => events.push(WireEvent::Has(Availability::None)),
            Some(Whole::Bits(bits)) => events.push(WireEvent::Has(read_bitfield(&bits, pieces)?)),
            None => {}
        }
        if self.have.iter().chain(&self.allowed_fast).any(|piece| *piece >= pieces) {
            return Err(Misbehaviour::Availability("a piece past the end"));
        }
        events.extend(self.have.into_iter().map(WireEvent::Have));
        events.extend(self.allowed_fast.into_iter().map(WireEvent::AllowedFast));
        if self.upload_only {
            events.push(WireEvent::UploadOnly(true));
        }
        if self.interested {
            events.push(WireEvent::Interest(true));
        }
        if self.unchoked {
            events.push(WireEvent::Choked(false));
        }
        Ok(events)
    }
}

/// A bitfield for `pieces` pieces (BEP 3).
pub(super) fn read_bitfield(bits: &[u8], pieces: u32) -> Result<Availability, Misbehaviour> {
    let set = PieceSet::from_wire(bits, pieces)
        .ok_or(Misbehaviour::Availability("a bitfield of the wrong size"))?;
    Ok(if set.is_full() {
        Availability::All
    } else if set.is_empty() {
        Availability::None
    } else {
        Availability::Some(set)
    })
}

fn push(pieces: &mut Vec<PieceIndex>, piece: PieceIndex) -> Result<(), Misbehaviour> {
    if pieces.len() >= MEMO_MAX {
        return Err(Misbehaviour::MemoFull);
    }
    pieces.push(piece);
    Ok(())
}
