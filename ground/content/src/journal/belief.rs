//! What the items of a journal add up to.

use super::Resumed;
use super::frame::{self, Damage};
use crate::{FileStamp, PieceIndex, PieceSet};

/// One thing that a commit says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Item {
    /// Always the first, and never again.
    Header {
        identity: Vec<u8>,
        pieces: u32,
        entries: usize,
    },
    /// What follows was recorded under this boot of the machine; empty when the system does not say.
    Boot(Vec<u8>),
    Verified(Vec<PieceIndex>),
    Lost(Vec<PieceIndex>),
    /// To be hashed before they are believed.
    Suspect(Vec<PieceIndex>),
    /// All pieces verified so far are on disk.
    Synced,
    Stamp(usize, Option<FileStamp>),
    Note(Vec<u8>),
    Totals(u64, u64),
}

impl Item {
    /// Whether it says nothing.
    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Self::Verified(pieces) | Self::Lost(pieces) | Self::Suspect(pieces) if pieces.is_empty())
    }
}

/// The state that a journal describes.
#[derive(Clone, Debug)]
pub(super) struct Belief {
    pub(super) identity: Vec<u8>,
    pub(super) boot: Vec<u8>,
    /// Verified, and known to be on disk.
    durable: PieceSet,
    /// Verified under the present boot; perhaps only in the page cache.
    fresh: PieceSet,
    suspect: PieceSet,
    pub(super) stamps: Vec<Option<FileStamp>>,
    note: Vec<u8>,
    totals: (u64, u64),
}

/// Adds up a whole journal: the belief, where the sound part ends, and what is wrong with the rest. `None` when not even the
/// first frame is sound.
pub(super) fn replay(bytes: &[u8]) -> Option<(Belief, u64, Damage)> {
    let (items, mut end) = frame::decode(bytes).ok()?;
    let Some(Item::Header { identity, pieces, entries }) = items.first() else { return None };
    // Every entry has a stamp on record, so a count that the file's length does not bear out is nonsense.
    if *entries > bytes.len() {
        return None;
    }
    let mut belief = Belief::new(identity.clone(), *pieces, *entries);
    items.iter().for_each(|item| belief.apply(item));
    let mut damage = Damage::None;
    while let Some(rest) = bytes.get(end..).filter(|rest| !rest.is_empty()) {
        match frame::decode(rest) {
            Ok((items, length)) => {
                items.iter().for_each(|item| belief.apply(item));
                end += length;
            }
            Err(found) => {
                damage = found;
                break;
            }
        }
    }
    if damage == Damage::Inside {
        belief.doubt_all();
    }
    Some((belief, end as u64, damage))
}

impl Belief {
    /// Nothing verified.
    pub(super) fn new(identity: Vec<u8>, pieces: u32, entries: usize) -> Self {
        let none = PieceSet::empty(pieces);
        Self {
            identity,
            boot: Vec::new(),
            durable: none.clone(),
            fresh: none.clone(),
            suspect: none,
            stamps: vec![None; entries],
            note: Vec::new(),
            totals: (0, 0),
        }
    }

    pub(super) fn pieces(&self) -> u32 {
        self.durable.len()
    }

    /// What a power loss would cost.
    pub(super) fn unsynced(&self) -> &PieceSet {
        &self.fresh
    }

    /// The same without what is covered.
    pub(super) fn unsynced_but(&self, covered: &PieceSet) -> Vec<PieceIndex> {
        self.fresh.iter().filter(|piece| !covered.contains(*piece)).collect()
    }

    /// What it will be with these items.
    pub(super) fn after(&self, items: &[Item]) -> Self {
        let mut after = self.clone();
        items.iter().for_each(|item| after.apply(item));
        after
    }

    pub(super) fn apply(&mut self, item: &Item) {
        match item {
            Item::Header { .. } => {}
            Item::Boot(id) => {
                if *id != self.boot {
                    self.doubt_fresh();
                    self.boot.clone_from(id);
                }
            }
            Item::Verified(pieces) => {
                for &piece in pieces {
                    self.suspect.remove(piece);
                    if !self.durable.contains(piece) {
                        self.fresh.insert(piece);
                    }
                }
            }
            Item::Lost(pieces) => pieces.iter().for_each(|&piece| self.remove(piece)),
            Item::Suspect(pieces) => {
                for &piece in pieces {
                    self.remove(piece);
                    self.suspect.insert(piece);
                }
            }
            Item::Synced => {
                for piece in take(&mut self.fresh).iter() {
                    self.durable.insert(piece);
                }
            }
            Item::Stamp(entry, stamp) => {
                if let Some(known) = self.stamps.get_mut(*entry) {
                    *known = *stamp;
                }
            }
            Item::Note(note) => self.note.clone_from(note),
            Item::Totals(up, down) => self.totals = (*up, *down),
        }
    }

    /// Goes on under a boot of the machine; true when that has to be recorded. Without a known boot nothing vouches for the
    /// page cache.
    pub(super) fn enter_boot(&mut self, boot: Option<&[u8]>) -> bool {
        if boot.is_some_and(|boot| boot == self.boot) {
            return false;
        }
        self.doubt_fresh();
        self.boot = boot.unwrap_or_default().to_vec();
        true
    }

    /// What a restart is told.
    pub(super) fn resumed(&self) -> Resumed {
        let mut verified = self.durable.clone();
        for piece in self.fresh.iter() {
            verified.insert(piece);
        }
        Resumed {
            verified,
            suspect: self.suspect.clone(),
            unsynced: self.fresh.clone(),
            stamps: self.stamps.clone(),
            note: self.note.clone(),
            totals: self.totals,
        }
    }

    /// The items that lead from here to these descriptions.
    pub(super) fn differences(
        &self,
        stamps: &[Option<FileStamp>],
        note: &[u8],
        totals: (u64, u64),
    ) -> Vec<Item> {
        let pairs = self.stamps.iter().zip(stamps).enumerate();
        let mut items: Vec<Item> = pairs
            .filter(|(_, (old, new))| old != new)
            .map(|(entry, (_, new))| Item::Stamp(entry, *new))
            .collect();
        if self.note != note {
            items.push(Item::Note(note.to_vec()));
        }
        if self.totals != totals {
            items.push(Item::Totals(totals.0, totals.1));
        }
        items
    }

    /// A whole journal that says the same in one frame.
    pub(super) fn snapshot(&self) -> Vec<u8> {
        let list = |set: &PieceSet| set.iter().collect::<Vec<_>>();
        let header = Item::Header {
            identity: self.identity.clone(),
            pieces: self.pieces(),
            entries: self.stamps.len(),
        };
        let mut items =
            vec![header, Item::Totals(self.totals.0, self.totals.1), Item::Note(self.note.clone())];
        items.extend(self.stamps.iter().enumerate().map(|(entry, stamp)| Item::Stamp(entry, *stamp)));
        items.push(Item::Boot(self.boot.clone()));
        items.extend([Item::Verified(list(&self.durable)), Item::Synced]);
        items.extend([Item::Verified(list(&self.fresh)), Item::Suspect(list(&self.suspect))]);
        frame::encode(&items)
    }

    fn remove(&mut self, piece: PieceIndex) {
        self.durable.remove(piece);
        self.fresh.remove(piece);
        self.suspect.remove(piece);
    }

    /// What was only in the page cache may be gone.
    fn doubt_fresh(&mut self) {
        for piece in take(&mut self.fresh).iter() {
            self.suspect.insert(piece);
        }
    }

    fn doubt_all(&mut self) {
        self.apply(&Item::Synced);
        self.fresh = take(&mut self.durable);
        self.doubt_fresh();
    }
}

/// Empties a set.
fn take(set: &mut PieceSet) -> PieceSet {
    let empty = PieceSet::empty(set.len());
    std::mem::replace(set, empty)
}
