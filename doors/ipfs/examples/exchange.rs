//! What bitswap costs: blocks of 256 KiB, from memory to nowhere, both ends in this process or in two.
//!
//! `cargo run --release -p peerage-ipfs --example exchange -- MIB` runs both ends here. `exchange serve MIB` prints its address and has so
//! much; `exchange fetch ADDRESS MIB` gets it. The fetching end prints its rate, its CPU seconds per GiB and the memory it took. What a raw stream
//! costs says the overlay's example `raw`.

#![allow(clippy::print_stdout, reason = "a program for people")]

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use cid::Cid;
use peerage_dag::Codec;
use peerage_identity::NodeKey;
use peerage_ipfs::bitswap::driver::{Bitswap, Blocks, OverlayStreams};
use peerage_overlay::{Address, Overlay, OverlayConfig};
use tokio_util::sync::CancellationToken;

const BLOCK: usize = 256 << 10;
/// Blocks that are wanted at once.
const DEPTH: usize = 64;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Blocks that differ in their number only, made when they are read, so that none takes memory.
struct Pattern(HashMap<Cid, u32>);

impl Pattern {
    fn new(mib: u32) -> (Self, Vec<Cid>) {
        let count = mib * ((1 << 20) / u32::try_from(BLOCK).unwrap_or(u32::MAX));
        let cids: Vec<Cid> =
            (0..count).map(|number| peerage_dag::sha2_256(Codec::Raw, &block(number))).collect();
        (Self(cids.iter().copied().zip(0..).collect()), cids)
    }
}

fn block(number: u32) -> Bytes {
    let mut data = vec![7; BLOCK];
    data[..4].copy_from_slice(&number.to_le_bytes());
    data.into()
}

impl Blocks for Pattern {
    async fn size(&self, cid: &Cid) -> Option<usize> {
        self.0.contains_key(cid).then_some(BLOCK)
    }

    async fn get(&self, cid: &Cid) -> Option<Bytes> {
        self.0.get(cid).map(|&number| block(number))
    }

    async fn put(&self, _cid: &Cid, _data: Bytes) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["serve", mib] => {
            let (overlay, _bitswap) = node(1, Pattern::new(mib.parse()?).0).await?;
            println!("{}", overlay.listening()[0].with_peer(overlay.id()));
            std::future::pending().await
        }
        ["fetch", address, mib] => fetch(address.parse()?, mib.parse()?).await,
        [mib] => {
            let (overlay, _bitswap) = node(1, Pattern::new(mib.parse()?).0).await?;
            fetch(overlay.listening()[0].with_peer(overlay.id()), mib.parse()?).await
        }
        _ => Err("exchange MIB | exchange serve MIB | exchange fetch ADDRESS MIB".into()),
    }
}

async fn node(seed: u8, blocks: Pattern) -> Result<(Overlay, Bitswap), Failure> {
    let mut config = OverlayConfig::new(NodeKey::from_seed([seed; 32]));
    config.listen = vec!["/ip4/127.0.0.1/tcp/0".parse()?];
    let cancel = CancellationToken::new();
    let overlay = Overlay::start(config, cancel.clone()).await?;
    let (streams, arrivals) = OverlayStreams::new(overlay.clone(), &cancel)?;
    Ok((overlay, Bitswap::start(streams, arrivals, Arc::new(blocks), cancel)))
}

async fn fetch(address: Address, mib: u32) -> Result<(), Failure> {
    let (_, cids) = Pattern::new(mib);
    let (overlay, bitswap) = node(2, Pattern(HashMap::new())).await?;
    overlay.dial(address).await?;
    let (began, cpu_before) = (Instant::now(), cpu_seconds()?);
    let mut session = bitswap.session(DEPTH).await?;
    session.want(cids);
    let mut bytes = 0;
    while let Some((_, data)) = session.next().await? {
        bytes += data.len();
    }
    let (seconds, gib) = (began.elapsed().as_secs_f64(), f64::from(mib) / 1024.0);
    let cpu = (cpu_seconds()? - cpu_before) / gib;
    let rate = bytes as f64 / f64::from(1 << 20) / seconds;
    println!("{rate:.0} MiB/s, {cpu:.2} CPU s/GiB, {} in this process", memory()?);
    println!("{:?}", bitswap.stats().await?);
    Ok(())
}

/// What this process has used, user and system.
fn cpu_seconds() -> Result<f64, Failure> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Ok(ticks as f64 / 100.0)
}

/// The most memory that this process had.
fn memory() -> Result<String, Failure> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    Ok(peak.trim().to_owned())
}
