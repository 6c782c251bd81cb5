//! The connection of one web seed to a transfer: orders in, blocks out, one range request at a time.

use std::net::SocketAddr;
use std::time::Instant;

use peerage_content::{Block, Layout};
use peerage_swarm::core::{Availability, PeerCaps};
use peerage_swarm::driver::{Direction, LinkClosed, Order, PeerLink, Transfer, WireEvent};
use tracing::debug;

use super::{Assembly, Consequence, Fetch, WebSeed, WebSeedClient, WebSeedFailure, plan};

/// Blocks that a web seed queues: two range requests' worth, so that the next is there when one ends.
const REQUESTS_MAX: usize = 128;
/// Bytes of one range request: what fits the block pool beside everything else.
const RANGE: u64 = 1 << 20;

/// Why a turn of fetching ended early.
enum Interruption {
    Failed(WebSeedFailure),
    /// The transfer wants nothing more of this server.
    Over,
}

impl From<LinkClosed> for Interruption {
    fn from(_: LinkClosed) -> Self {
        Self::Over
    }
}

/// Serves a transfer from a web seed until one of them has enough. `address` is what the server's name led to.
pub(crate) async fn serve(transfer: Transfer, client: WebSeedClient, seed: WebSeed, address: SocketAddr) {
    let caps = PeerCaps {
        address,
        listen_address: None,
        outgoing: true,
        fast: true,
        requests_max: REQUESTS_MAX,
        serves_only: true,
    };
    let Ok(link) = transfer.join(caps).await else { return };
    let host = seed.host().to_owned();
    let layout = transfer.layout().clone();
    let mut wire = Wire { layout, client, seed, link, wanted: Vec::new(), assembly: Assembly::new() };
    let _ = wire.run().await;
    debug!(%host, "web seed left");
}

struct Wire {
    layout: std::sync::Arc<Layout>,
    client: WebSeedClient,
    seed: WebSeed,
    link: PeerLink,
    /// Blocks asked for and not planned yet.
    wanted: Vec<Block>,
    assembly: Assembly,
}

impl Wire {
    async fn run(&mut self) -> Result<(), LinkClosed> {
        self.introduce().await?;
        self.link.tell(WireEvent::Choked(false)).await?;
        loop {
            if self.wanted.is_empty() {
                match self.link.orders.recv().await {
                    Some(order) => self.order(order)?,
                    None => return Ok(()),
                }
                while let Ok(order) = self.link.orders.try_recv() {
                    self.order(order)?;
                }
                continue;
            }
            let blocks = self.next_blocks();
            match self.fetch_all(&blocks).await {
                Ok(()) => self.seed.handle_success(),
                Err(Interruption::Over) => return Ok(()),
                Err(Interruption::Failed(failure)) => self.failed(&blocks, &failure).await?,
            }
        }
    }

    async fn introduce(&self) -> Result<(), LinkClosed> {
        let has = self.seed.has(&self.layout);
        let availability = if has.is_full() { Availability::All } else { Availability::Some(has) };
        self.link.tell(WireEvent::Has(availability)).await
    }

    fn order(&mut self, order: Order) -> Result<(), LinkClosed> {
        match order {
            Order::Request(blocks) => self.wanted.extend(blocks),
            Order::Cancel(blocks) => {
                self.wanted.retain(|block| !blocks.contains(block));
                blocks.into_iter().for_each(|block| self.assembly.forget(block));
            }
            Order::Close(_) => return Err(LinkClosed),
            _ => {}
        }
        Ok(())
    }

    /// Blocks of one range request or a little more, in the order they were asked for.
    fn next_blocks(&mut self) -> Vec<Block> {
        let mut bytes = 0;
        let count = self.wanted.iter().take_while(|block| {
            bytes += u64::from(block.length);
            bytes <= RANGE
        });
        let count = count.count().max(1).min(self.wanted.len());
        self.wanted.drain(..count).collect()
    }

    async fn fetch_all(&mut self, blocks: &[Block]) -> Result<(), Interruption> {
        for block in blocks {
            let buffer = self.link.pool.take().await;
            self.assembly.expect(&self.layout, *block, buffer);
        }
        for fetch in plan(&self.layout, blocks, RANGE) {
            self.fetch(&fetch).await?;
        }
        Ok(())
    }

    async fn fetch(&mut self, fetch: &Fetch) -> Result<(), Interruption> {
        let url = self.seed.url(&self.layout, fetch.entry);
        let url = url.ok_or(Interruption::Failed(WebSeedFailure::Missing(404)))?;
        let failed = Interruption::Failed;
        let mut download = self.client.fetch(url, fetch).await.map_err(failed)?;
        loop {
            if let Err(until) = self.link.throttle.available(Direction::Down, Instant::now()) {
                tokio::time::sleep_until(until.into()).await;
                continue;
            }
            let next = tokio::select! {
                next = download.next() => next.map_err(failed)?,
                order = self.link.orders.recv() => {
                    self.order(order.ok_or(Interruption::Over)?)?;
                    continue;
                }
            };
            let Some((part, skip, bytes)) = next else { return Ok(()) };
            self.link.throttle.spend(Direction::Down, bytes.len() as u64, Instant::now());
            if let Some(block) = self.assembly.fill(part, skip, &bytes) {
                self.link.tell(WireEvent::Blocks(vec![block])).await?;
            }
        }
    }

    /// Gives back what did not come, and rests if the server needs it.
    async fn failed(&mut self, blocks: &[Block], failure: &WebSeedFailure) -> Result<(), LinkClosed> {
        debug!(host = self.seed.host(), %failure, "web seed");
        self.assembly.abandon();
        let mut rejected = blocks.to_vec();
        rejected.append(&mut self.wanted);
        let entry = plan(&self.layout, blocks, RANGE).first().map_or(0, |fetch| fetch.entry);
        let consequence = self.seed.handle_failure(Instant::now(), entry, failure);
        if matches!(consequence, Consequence::HasLess | Consequence::GivenUp) {
            self.introduce().await?;
        }
        match consequence {
            Consequence::HasLess => self.link.tell(WireEvent::Rejected(rejected)).await,
            Consequence::GivenUp => Err(LinkClosed),
            Consequence::Pause(until) => {
                // Choking takes back everything that was asked for; so that nothing more is asked meanwhile.
                self.link.tell(WireEvent::Rejected(rejected)).await?;
                self.link.tell(WireEvent::Choked(true)).await?;
                tokio::time::sleep_until(until.into()).await;
                self.link.tell(WireEvent::Choked(false)).await
            }
        }
    }
}
