//! Peers that come and go, what they have, and whether they interest us.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use peerage_content::{PieceIndex, PieceSet};

use super::dial::{Parting, canonical};
use super::peer::Peer;
use super::priority::canonical_priority;
use super::{Availability, Dismissal, Found, Output, PeerCaps, PeerKey, Shown, Swarm};

/// A connection this young is not closed to make room: it has not had time to become useful.
const SETTLING: Duration = Duration::from_secs(60);
/// How often a peer may say all that it has. BEP 3 allows it once, but aria2 says it instead of many pieces' names whenever that
/// is shorter: at most once for each 72nd part of the content.
const TOLD_ALL_MAX: u8 = 100;

impl Swarm {
    pub(super) fn on_known(&mut self, addresses: &[SocketAddr], found: Found) {
        for &address in addresses {
            self.book.learn(address, found, self.config.own_address, self.config.known_max, &mut self.rng);
        }
        self.seeking = true;
    }

    pub(super) fn on_joined(&mut self, now: Instant, key: PeerKey, caps: PeerCaps) {
        if self.peers.contains_key(&key) {
            return;
        }
        self.seeking = true;
        let listener = listener(&caps);
        if let Some(listener) = listener.filter(|_| !caps.serves_only) {
            // One that was dialled before there was a transfer is in no book yet, and must not be dialled again.
            let found = if caps.outgoing { Found::default() } else { Found::INCOMING };
            self.on_known(&[listener], found);
        }
        let refused = if self.book.is_banned(caps.address.ip()) {
            Some(Dismissal::BadData)
        } else if self.is_paused() {
            Some(Dismissal::Paused)
        } else if self.peers.values().any(|peer| is_same(&peer.caps, &caps)) {
            Some(Dismissal::Duplicate)
        } else if self.peers.len() >= self.config.connections_max && !self.make_room(now, &caps) {
            Some(Dismissal::TooMany)
        } else {
            None
        };
        if let Some(listener) = listener {
            self.book.connected(listener);
        }
        if let Some(why) = refused {
            if let Some(listener) = listener.filter(|_| why != Dismissal::Duplicate) {
                self.book.left(listener, now, parting(why));
            }
            self.outputs.push_back(Output::Dismiss { peer: key, why });
            return;
        }
        let mut peer = Peer::new(key, caps, now);
        peer.on_parole = self.blame.is_suspect(peer.caps.address.ip());
        let serves_only = peer.caps.serves_only;
        self.peers.insert(key, peer);
        if !serves_only {
            self.introduce(key);
        }
    }

    /// A peer told more about itself.
    pub(super) fn on_caps(
        &mut self,
        now: Instant,
        key: PeerKey,
        requests_max: Option<usize>,
        listen_address: Option<SocketAddr>,
    ) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        if let Some(requests_max) = requests_max {
            peer.caps.requests_max = requests_max;
            self.hungry.push(key);
        }
        // Where it is known already, the book follows it under that address.
        let Some(listener) = listen_address.filter(|_| listener(&peer.caps).is_none()) else { return };
        let caps = PeerCaps { listen_address, ..peer.caps.clone() };
        if self.peers.values().any(|other| other.key != key && is_same(&other.caps, &caps)) {
            self.dismiss(now, key, Dismissal::Duplicate);
            return;
        }
        if let Some(peer) = self.peers.get_mut(&key) {
            peer.caps = caps;
        }
        self.on_known(&[listener], Found::INCOMING);
        self.book.connected(listener);
    }

    fn introduce(&mut self, key: PeerKey) {
        let have = &self.picker.have;
        let availability = if self.super_seed.is_some() || have.is_empty() {
            Shown::Nothing
        } else if have.is_full() {
            Shown::All
        } else {
            Shown::Verified(have.clone())
        };
        self.outputs.push_back(Output::Introduce { peer: key, availability });
        self.show_next(key);
    }

    /// Sends a peer away.
    pub(super) fn dismiss(&mut self, now: Instant, key: PeerKey, why: Dismissal) {
        if self.peers.contains_key(&key) {
            self.on_left(now, key, parting(why));
            self.outputs.push_back(Output::Dismiss { peer: key, why });
        }
    }

    pub(super) fn on_left(&mut self, now: Instant, key: PeerKey, parting: Parting) {
        self.take_back_from(now, key, |_, _| true, false);
        self.disown(now, key);
        self.inquiries.left(key);
        let Some(mut peer) = self.peers.remove(&key) else { return };
        self.uncount(&mut peer);
        if peer.download.total() > 0 {
            self.blame.departed(key, peer.caps.address);
        }
        if let Some(listener) = listener(&peer.caps) {
            self.book.left(listener, now, parting);
        }
        if let Some(super_seed) = &mut self.super_seed {
            super_seed.left(key);
        }
        if self.peers.is_empty() {
            self.picker.rest();
        }
        self.slot_free |= !peer.choked;
        self.seeking = true;
    }

    /// Gives up the pieces that only this peer may send.
    pub(super) fn disown(&mut self, now: Instant, key: PeerKey) {
        let owned: Vec<PieceIndex> = self
            .picker
            .partials
            .iter()
            .filter(|partial| partial.owner == Some(key) && !partial.is_complete())
            .map(|partial| partial.piece)
            .collect();
        for piece in owned {
            self.blame.dropped(piece);
            self.give_up(now, piece);
        }
    }

    pub(super) fn on_has(&mut self, now: Instant, key: PeerKey, availability: Availability) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        // Every time costs work in proportion to the pieces. A server tells anew when files are missing there.
        peer.told_all = peer.told_all.saturating_add(1);
        if peer.told_all > TOLD_ALL_MAX && !peer.caps.serves_only {
            self.dismiss(now, key, Dismissal::Restless);
            return;
        }
        let Some(mut peer) = self.peers.remove(&key) else { return };
        self.uncount(&mut peer);
        let pieces = self.layout.piece_count();
        peer.availability = match availability {
            Availability::Some(set) if set.len() != pieces || set.is_empty() => Availability::None,
            Availability::Some(set) if set.is_full() => Availability::All,
            other => other,
        };
        match &peer.availability {
            Availability::All => self.picker.index.copies.add_seed(),
            Availability::None => {}
            Availability::Some(set) => {
                peer.counted_singly = true;
                self.picker.index.gain_all(set, &mut self.rng);
                peer.interesting = set.iter().filter(|&piece| self.picker.wants(piece)).count() as u32;
            }
        }
        peer.exhausted = None;
        self.peers.insert(key, peer);
        self.has_changed(now, key);
        self.take_back_lacking(now, key);
    }

    /// Takes the peer's pieces out of the counts.
    fn uncount(&mut self, peer: &mut Peer) {
        let singly = std::mem::take(&mut peer.counted_singly);
        match &peer.availability {
            Availability::All if singly => {
                (0..self.layout.piece_count()).for_each(|piece| self.picker.index.lose(piece, &mut self.rng));
            }
            Availability::All => self.picker.index.copies.remove_seed(),
            Availability::None => {}
            Availability::Some(set) => self.picker.index.lose_all(set, &mut self.rng),
        }
        peer.availability = Availability::None;
        peer.interesting = 0;
    }

    pub(super) fn on_have(&mut self, now: Instant, key: PeerKey, piece: PieceIndex) {
        let pieces = self.layout.piece_count();
        let Some(peer) = self.peers.get_mut(&key) else { return };
        if piece >= pieces || peer.has(piece) {
            return;
        }
        if matches!(peer.availability, Availability::None) {
            peer.availability = Availability::Some(PieceSet::empty(pieces));
        }
        if let Availability::Some(set) = &mut peer.availability {
            set.insert(piece);
            peer.counted_singly = true;
            if set.is_full() {
                // The counts stay as they are: moving it among the seeds would cost one step a piece.
                peer.availability = Availability::All;
            }
        }
        self.picker.index.gain(piece, pieces, &mut self.rng);
        let wants = self.picker.wants(piece);
        if wants {
            peer.interesting += 1;
            peer.exhausted = None;
        }
        if wants || peer.is_seed() {
            self.has_changed(now, key);
        }
        self.pass_on(key, piece);
    }

    pub(super) fn on_dont_have(&mut self, now: Instant, key: PeerKey, piece: PieceIndex) {
        let pieces = self.layout.piece_count();
        let Some(peer) = self.peers.get_mut(&key) else { return };
        if piece >= pieces || !peer.has(piece) {
            return;
        }
        if peer.is_seed() {
            let all = PieceSet::full(pieces);
            if !peer.counted_singly {
                peer.counted_singly = true;
                self.picker.index.copies.remove_seed();
                self.picker.index.gain_all(&all, &mut self.rng);
            }
            peer.availability = Availability::Some(all);
            peer.interesting = self.picker.fetchable;
        }
        if let Availability::Some(set) = &mut peer.availability {
            set.remove(piece);
        }
        if self.picker.wants(piece) {
            peer.interesting -= 1;
        }
        self.picker.index.lose(piece, &mut self.rng);
        self.tell_interest(key);
        self.take_back_lacking(now, key);
    }

    /// A peer has something that it had not before.
    fn has_changed(&mut self, now: Instant, key: PeerKey) {
        if self.is_sated(key) {
            self.dismiss(now, key, Dismissal::NothingToGain);
            return;
        }
        if self.picker.fetchable > 0 {
            self.picker.prepare(&mut self.rng);
        }
        self.tell_interest(key);
        self.hungry.push(key);
    }

    /// Takes back what a peer was asked for and does not have any more.
    fn take_back_lacking(&mut self, now: Instant, key: PeerKey) {
        let Some(peer) = self.peers.get(&key) else { return };
        let lacking: Vec<_> = peer
            .requests
            .iter()
            .map(|request| request.asked)
            .filter(|asked| !peer.has(asked.piece))
            .collect();
        if !lacking.is_empty() {
            self.take_back_from(now, key, |_, asked| lacking.contains(asked), true);
        }
    }

    pub(super) fn on_upload_only(&mut self, now: Instant, key: PeerKey, upload_only: bool) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        peer.upload_only = upload_only || peer.caps.serves_only;
        if self.is_sated(key) {
            self.dismiss(now, key, Dismissal::NothingToGain);
        }
    }

    pub(super) fn on_allowed_fast(&mut self, key: PeerKey, piece: PieceIndex) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        if piece < self.layout.piece_count() {
            peer.allow_fast(piece);
            peer.exhausted = None;
            self.hungry.push(key);
        }
    }

    /// Whether neither side has anything for the other: we want nothing, and the peer wants nothing.
    fn is_sated(&self, key: PeerKey) -> bool {
        self.finished && self.peers.get(&key).is_some_and(|peer| peer.is_seed() || peer.upload_only)
    }

    /// Leaves all peers that neither have nor want anything.
    pub(super) fn part_from_the_sated(&mut self, now: Instant) {
        let sated: Vec<PeerKey> = self.peers.keys().copied().filter(|key| self.is_sated(*key)).collect();
        sated.into_iter().for_each(|key| self.dismiss(now, key, Dismissal::NothingToGain));
    }

    /// Whether a peer has something that we would fetch.
    pub(super) fn is_interesting(&self, peer: &Peer) -> bool {
        match peer.availability {
            Availability::All => self.picker.fetchable > 0,
            Availability::None => false,
            Availability::Some(_) => peer.interesting > 0,
        }
    }

    /// A piece is to be fetched from now on (`gained`), or no longer: counts it for all who have it.
    pub(super) fn count_interest(&mut self, piece: PieceIndex, gained: bool) {
        let before = self.picker.fetchable;
        self.picker.fetchable = if gained { before + 1 } else { before - 1 };
        let all_or_nothing = before == 0 || self.picker.fetchable == 0;
        let mut changed = Vec::new();
        for peer in self.peers.values_mut() {
            match &peer.availability {
                Availability::Some(set) if set.contains(piece) => {
                    peer.interesting = if gained { peer.interesting + 1 } else { peer.interesting - 1 };
                    if (peer.interesting > 0) != peer.told_interested {
                        changed.push(peer.key);
                    }
                }
                Availability::All if all_or_nothing => changed.push(peer.key),
                _ => {}
            }
        }
        changed.into_iter().for_each(|key| self.tell_interest(key));
    }

    /// Tells a peer whether it interests us, if that changed.
    pub(super) fn tell_interest(&mut self, key: PeerKey) {
        let Some(peer) = self.peers.get(&key) else { return };
        let interested = self.fetching && self.is_interesting(peer);
        if let Some(peer) = self.peers.get_mut(&key)
            && peer.told_interested != interested
        {
            peer.told_interested = interested;
            self.outputs.push_back(Output::Interest { peer: key, interested });
        }
    }

    pub(super) fn tell_all_interest(&mut self) {
        let keys: Vec<PeerKey> = self.peers.keys().copied().collect();
        keys.into_iter().for_each(|key| self.tell_interest(key));
    }

    /// Whether nothing is to be done for anybody.
    pub(super) fn is_paused(&self) -> bool {
        !self.fetching && !self.serving
    }

    /// Leaves everybody: connections are few, and others need them.
    pub(super) fn part_from_all(&mut self, now: Instant) {
        let all: Vec<PeerKey> = self.peers.keys().copied().collect();
        all.into_iter().for_each(|key| self.dismiss(now, key, Dismissal::Paused));
    }

    /// Whether another dial may begin.
    pub(super) fn may_dial(&self) -> bool {
        (self.fetching && !self.finished || self.serving)
            && self.book.dialling() < self.config.dials_max
            && self.peers.len() + self.book.dialling() < self.config.connections_max
    }

    pub(super) fn dial(&mut self, now: Instant) {
        while self.no_room_until.is_none()
            && self.may_dial()
            && let Some(address) = self.book.next(now)
        {
            self.outputs.push_back(Output::Dial { address });
        }
    }

    /// Closes the least useful connection in favour of a newcomer; false when all are more useful than one of which
    /// nothing is known.
    fn make_room(&mut self, now: Instant, newcomer: &PeerCaps) -> bool {
        let own = self.config.own_address;
        let priority = |caps: &PeerCaps| match (own, listener(caps)) {
            (Some(own), Some(listener)) => canonical_priority(own, listener),
            _ => 0,
        };
        let newcomer_priority = priority(newcomer);
        let worst = self
            .peers
            .values()
            .filter(|peer| now.saturating_duration_since(peer.joined) >= SETTLING && !peer.caps.serves_only)
            .filter(|peer| peer.download.per_second(now) == 0 && peer.upload.per_second(now) == 0)
            .map(|peer| (peer.interested || peer.told_interested, priority(&peer.caps), peer.key))
            .min();
        match worst {
            Some((useful, priority, key)) if !useful || priority < newcomer_priority => {
                self.dismiss(now, key, Dismissal::TooMany);
                true
            }
            _ => self.thin_out(now, newcomer),
        }
    }

    /// Closes an idle connection, however young, of the network that has the most, if it has more than the newcomer's would
    /// have: else one host could take all places just by connecting often.
    fn thin_out(&mut self, now: Instant, newcomer: &PeerCaps) -> bool {
        let mut counts: BTreeMap<IpAddr, usize> = BTreeMap::new();
        for peer in self.peers.values() {
            *counts.entry(network(&peer.caps)).or_default() += 1;
        }
        let own = counts.get(&network(newcomer)).copied().unwrap_or(0);
        let Some((crowd, _)) =
            counts.into_iter().filter(|(_, count)| *count > own + 1).max_by_key(|(_, count)| *count)
        else {
            return false;
        };
        let idle = self.peers.values().find(|peer| {
            network(&peer.caps) == crowd
                && !peer.caps.serves_only
                && peer.download.per_second(now) == 0
                && peer.upload.per_second(now) == 0
        });
        let Some(key) = idle.map(|peer| peer.key) else { return false };
        self.dismiss(now, key, Dismissal::TooMany);
        true
    }
}

/// What one party is likely to have all addresses of: an IPv4 address, or an IPv6 network of 64 bits.
fn network(caps: &PeerCaps) -> IpAddr {
    match caps.address.ip().to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) >> 64 << 64).into()),
        v4 => v4,
    }
}

/// What a dismissal means for dialling the peer again.
fn parting(why: Dismissal) -> Parting {
    match why {
        Dismissal::NothingToGain | Dismissal::Paused => Parting::Useless,
        _ => Parting::Plain,
    }
}

/// Where a peer can be dialled.
fn listener(caps: &PeerCaps) -> Option<SocketAddr> {
    if caps.outgoing { Some(caps.listen_address.unwrap_or(caps.address)) } else { caps.listen_address }
}

/// Whether two connections lead to the same peer. One server may offer the content under several names.
fn is_same(one: &PeerCaps, other: &PeerCaps) -> bool {
    if one.serves_only || other.serves_only {
        return false;
    }
    let listeners = (listener(one).map(canonical), listener(other).map(canonical));
    canonical(one.address) == canonical(other.address)
        || matches!(listeners, (Some(one), Some(other)) if one == other)
}
