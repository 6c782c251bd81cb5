//! Blocks on their way: asked for, in turn at the uplink of whoever serves them, and through the downlink of whoever asked.

use std::time::Duration;

use peerage_content::{BLOCK_LENGTH, Block};
use peerage_swarm::core::{Input, PeerKey, Received};
use rand::RngExt;

use super::{Event, Network};
use crate::link::pace;
use crate::node::{Behaviour, NodeId};
use crate::transfer::End;

impl Network {
    /// Another end wants blocks of this one.
    pub(super) fn requested(&mut self, id: NodeId, transfer: usize, end: End, blocks: Vec<Block>) {
        let Some(swarm) = &self.nodes[id].swarm else { return };
        let choking = self.transfers[transfer].choking[end];
        let (served, refused): (Vec<Block>, Vec<Block>) =
            blocks.into_iter().partition(|block| !choking && swarm.have().contains(block.piece));
        self.transfers[transfer].queues[end].extend(served);
        self.reject(transfer, end, refused);
        if !self.transfers[transfer].queues[end].is_empty() && !self.transfers[transfer].in_turn[end] {
            self.transfers[transfer].in_turn[end] = true;
            self.nodes[id].uplink.turns.push_back(transfer);
        }
        self.send_next(id);
    }

    /// Starts the next block on a node's way out, if that is free.
    pub(super) fn send_next(&mut self, id: NodeId) {
        if self.nodes[id].uplink.busy {
            return;
        }
        let now = self.queue.now();
        let mut soonest: Option<Duration> = None;
        for _ in 0..self.nodes[id].uplink.turns.len() {
            let Some(at) = self.nodes[id].uplink.turns.pop_front() else { return };
            let end = self.end_of(at, id);
            let transfer = &mut self.transfers[at];
            if transfer.paced[end] > now {
                soonest =
                    Some(soonest.map_or(transfer.paced[end], |soonest| soonest.min(transfer.paced[end])));
                self.nodes[id].uplink.turns.push_back(at);
                continue;
            }
            let Some(block) = transfer.queues[end].pop_front() else {
                transfer.in_turn[end] = false;
                continue;
            };
            self.nodes[id].uplink.turns.push_back(at);
            self.send(id, at, end, block);
            return;
        }
        if let Some(soonest) = soonest {
            self.nodes[id].uplink.busy = true;
            self.queue.plan(soonest, Event::Retry(id));
        }
    }

    fn send(&mut self, id: NodeId, at: usize, end: End, block: Block) {
        let now = self.queue.now();
        let transfer = &mut self.transfers[at];
        let other = transfer.nodes[1 - end];
        let (from, to) = (&self.nodes[id].spec.link, &self.nodes[other].spec.link);
        let takes = from.time_up(block.length);
        transfer.paced[end] = now + pace(from, to, block.length);
        let arrives = (now + takes + from.latency + to.latency).max(self.nodes[other].downlink_free);
        let through = arrives + to.time_down(block.length);
        self.nodes[other].downlink_free = through;
        let bad = match self.nodes[id].spec.behaviour {
            Behaviour::Poisoner(share) => self.rng.random_bool(share),
            _ => false,
        };
        self.nodes[id].uplink.busy = true;
        self.queue.plan(now + takes, Event::Sent { node: id, transfer: at, end, bytes: block.length });
        self.queue.plan(through, Event::Data { transfer: at, end: 1 - end, block, bad });
    }

    /// A block is through.
    pub(super) fn data(&mut self, transfer: usize, end: End, block: Block, bad: bool) {
        if !self.transfers[transfer].open[end] {
            return;
        }
        let id = self.transfers[transfer].nodes[end];
        let now = self.instant();
        let Some(swarm) = &mut self.nodes[id].swarm else { return };
        let received = swarm.receive(now, PeerKey(transfer as u64), block);
        self.obey(id);
        if received != Received::Wanted {
            return;
        }
        let piece = block.piece;
        let gathered = self.nodes[id].gathered.entry(piece).or_default();
        gathered.0 += 1;
        gathered.1 |= bad;
        if gathered.0 < self.layout.piece_size(piece).div_ceil(BLOCK_LENGTH) {
            return;
        }
        let bad = gathered.1;
        self.nodes[id].gathered.remove(&piece);
        if bad {
            self.tell_engine(id, Input::Corrupt { piece, bad: &[], kept: false });
        } else {
            self.got_out(piece);
            self.tell_engine(id, Input::Verified { piece });
        }
    }
}
