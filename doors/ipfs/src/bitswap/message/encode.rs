//! Messages to bytes.

use bytes::Bytes;
use cid::Cid;

use super::pb::{int32, put_bytes, put_length, put_number, put_varint, varint_length};
use super::{Block, Entry, Message, Presence, Protocol, Want};
use crate::bitswap::verify::Prefix;

/// Blocks of this size and more are not copied into the frame.
const COPY_BELOW: usize = 4 * 1024;
/// Room at the front for the frame's length.
const LENGTH_ROOM: usize = 10;

impl Message {
    /// The frame of this message, length and all, as parts to be written one after the other. What `protocol` cannot say is left
    /// out: before 1.2.0 that is every presence and every [`Want::Have`], which would be taken for a want of the block.
    pub fn encode(&self, protocol: Protocol) -> Vec<Bytes> {
        let mut frame = Frame::new();
        self.put_wantlist(&mut frame.open, protocol);
        for block in &self.blocks {
            frame.put_block(block, protocol);
        }
        if protocol.has_presences() {
            for (cid, presence) in &self.presences {
                put_presence(&mut frame.open, cid, *presence);
            }
            put_number(&mut frame.open, 5, int32(self.pending_bytes));
        }
        frame.finish()
    }

    fn put_wantlist(&self, out: &mut Vec<u8>, protocol: Protocol) {
        let mut list = Vec::new();
        let mut scratch = Vec::new();
        let sayable = |entry: &&Entry| protocol.has_presences() || entry.want != Want::Have;
        for entry in self.wantlist.entries.iter().filter(sayable) {
            scratch.clear();
            put_entry(&mut scratch, entry, protocol);
            put_bytes(&mut list, 1, &scratch);
        }
        put_number(&mut list, 2, self.wantlist.full.into());
        if !list.is_empty() {
            put_bytes(out, 1, &list);
        }
    }
}

fn put_entry(out: &mut Vec<u8>, entry: &Entry, protocol: Protocol) {
    put_bytes(out, 1, &entry.cid.to_bytes());
    put_number(out, 2, int32(entry.priority));
    put_number(out, 3, (entry.want == Want::Cancel).into());
    if protocol.has_presences() {
        put_number(out, 4, (entry.want == Want::Have).into());
        put_number(out, 5, entry.send_dont_have.into());
    }
}

fn put_presence(out: &mut Vec<u8>, cid: &Cid, presence: Presence) {
    let cid = cid.to_bytes();
    let kind = u64::from(presence == Presence::DontHave);
    let mut inner = Vec::with_capacity(cid.len() + 4);
    put_bytes(&mut inner, 1, &cid);
    put_number(&mut inner, 2, kind);
    put_bytes(out, 4, &inner);
}

fn put_prefix(out: &mut Vec<u8>, prefix: &Prefix) {
    for part in [prefix.version.into(), prefix.codec, prefix.hash, prefix.length.into()] {
        put_varint(out, part);
    }
}

/// A frame being made: parts that are finished, and the one that is written to.
struct Frame {
    parts: Vec<Bytes>,
    open: Vec<u8>,
}

impl Frame {
    fn new() -> Self {
        Self { parts: Vec::new(), open: vec![0; LENGTH_ROOM] }
    }

    fn put_block(&mut self, block: &Block, protocol: Protocol) {
        let data = &block.data;
        if protocol == Protocol::V1_0 {
            put_length(&mut self.open, 2, data.len());
        } else {
            let mut inner = Vec::with_capacity(32);
            let mut prefix = Vec::with_capacity(16);
            put_prefix(&mut prefix, &block.prefix);
            put_bytes(&mut inner, 1, &prefix);
            put_length(&mut inner, 2, data.len());
            put_length(&mut self.open, 3, inner.len() + data.len());
            self.open.extend_from_slice(&inner);
        }
        if data.len() < COPY_BELOW {
            self.open.extend_from_slice(data);
        } else {
            self.parts.push(std::mem::take(&mut self.open).into());
            self.parts.push(data.clone());
        }
    }

    /// Puts the length in front.
    fn finish(mut self) -> Vec<Bytes> {
        if !self.open.is_empty() {
            self.parts.push(self.open.into());
        }
        let length = self.parts.iter().map(Bytes::len).sum::<usize>() - LENGTH_ROOM;
        let start = LENGTH_ROOM - varint_length(length as u64);
        if let Some(first) = self.parts.first_mut() {
            let mut bytes = Vec::from(std::mem::take(first));
            let mut prefix = Vec::with_capacity(LENGTH_ROOM);
            put_varint(&mut prefix, length as u64);
            bytes[start..LENGTH_ROOM].copy_from_slice(&prefix);
            *first = Bytes::from(bytes).slice(start..);
        }
        self.parts
    }
}
