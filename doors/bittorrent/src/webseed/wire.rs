//! The connection of one web seed to a transfer: orders in, blocks out, one range request at a time.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use peerage_content::{Arrived, Block, BlockBuf, Layout};
use peerage_swarm::core::{Availability, Dismissal, PeerCaps};
use peerage_swarm::driver::{Activity, Direction, LinkClosed, Order, PeerLink, Transfer, WireEvent};
use tracing::{debug, warn};

use super::{Assembly, Consequence, Fetch, WebSeed, WebSeedClient, WebSeedFailure, plan};

/// Blocks that a web seed queues: two range requests' worth, so that the next is there when one ends.
const REQUESTS_MAX: usize = 128;
/// Bytes of one range request: what fits the block pool beside everything else.
const RANGE: u64 = 1 << 20;
/// Between two times that a web seed serves a transfer.
const AGAIN: Duration = Duration::from_secs(2);
/// How long until a server's name is looked up again; doubles with every failure up to [`LOOKUP_MAX`].
const LOOKUP: Duration = Duration::from_secs(10);
/// Between two look-ups of a server's name, at most.
const LOOKUP_MAX: Duration = Duration::from_secs(600);

/// Serves a transfer from a web seed whenever it wants something, until the server proves useless or the transfer ends.
pub(crate) async fn serve(transfer: Transfer, client: WebSeedClient, mut seed: WebSeed) {
    let mut progress = transfer.progress();
    let mut lookup = LOOKUP;
    // An error: the transfer has ended.
    while progress.wait_for(|progress| progress.activity == Activity::Downloading).await.is_ok() {
        let found = tokio::net::lookup_host((seed.host(), seed.port())).await;
        let pause = match found.map(|mut addresses| addresses.next()) {
            Ok(Some(address)) => {
                lookup = LOOKUP;
                if !serve_once(&transfer, &client, &mut seed, address).await {
                    return;
                }
                AGAIN
            }
            unknown => {
                debug!(host = seed.host(), ?unknown, "web seed not found");
                let pause = lookup;
                lookup = (lookup * 2).min(LOOKUP_MAX);
                pause
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// Serves until the transfer has enough; false when there is no use in serving again. `address` is what the server's name led to.
async fn serve_once(
    transfer: &Transfer,
    client: &WebSeedClient,
    seed: &mut WebSeed,
    address: SocketAddr,
) -> bool {
    let caps = PeerCaps {
        address,
        listen_address: None,
        outgoing: true,
        fast: true,
        requests_max: REQUESTS_MAX,
        serves_only: true,
    };
    let Ok(link) = transfer.join(caps).await else { return false };
    let mut wire = Wire {
        layout: transfer.layout().clone(),
        client: client.clone(),
        seed,
        link,
        wanted: Vec::new(),
        assembly: Assembly::new(),
        useless: false,
        told: false,
    };
    let Err(LinkClosed) = wire.run().await;
    debug!(host = wire.seed.host(), useless = wire.useless, "web seed left");
    !wire.useless
}

/// Why a turn of fetching ended early.
enum Interruption {
    /// The server failed with an entry.
    Failed(usize, WebSeedFailure),
    /// The transfer wants nothing more of this server.
    Over,
}

impl From<LinkClosed> for Interruption {
    fn from(_: LinkClosed) -> Self {
        Self::Over
    }
}

struct Wire<'a> {
    layout: std::sync::Arc<Layout>,
    client: WebSeedClient,
    seed: &'a mut WebSeed,
    link: PeerLink,
    /// Blocks asked for and not planned yet.
    wanted: Vec<Block>,
    assembly: Assembly,
    /// There is no use in serving this transfer again.
    useless: bool,
    /// Its user was told that it does not give everything.
    told: bool,
}

impl Wire<'_> {
    async fn run(&mut self) -> Result<std::convert::Infallible, LinkClosed> {
        self.introduce().await?;
        if let Some(until) = self.seed.paused_until(Instant::now()) {
            self.rest(until).await?;
        }
        self.link.tell(WireEvent::Choked(false)).await?;
        loop {
            while let Ok(order) = self.link.orders.try_recv() {
                self.order(order)?;
            }
            if self.wanted.is_empty() {
                let order = self.link.orders.recv().await.ok_or(LinkClosed)?;
                self.order(order)?;
                continue;
            }
            match self.fetch_some().await {
                Ok(()) => self.seed.handle_success(),
                Err(Interruption::Over) => return Err(LinkClosed),
                Err(Interruption::Failed(entry, failure)) => self.failed(entry, &failure).await?,
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
            Order::Close(why) => {
                self.useless = matches!(why, Dismissal::BadData | Dismissal::Unrequested);
                return Err(LinkClosed);
            }
            _ => {}
        }
        Ok(())
    }

    /// Waits for something and takes orders meanwhile: whoever leaves them lying is dismissed.
    async fn meanwhile<T>(&mut self, what: impl Future<Output = T>) -> Result<T, LinkClosed> {
        tokio::pin!(what);
        loop {
            tokio::select! {
                done = &mut what => return Ok(done),
                order = self.link.orders.recv() => self.order(order.ok_or(LinkClosed)?)?,
            }
        }
    }

    async fn sleep_until(&mut self, at: Instant) -> Result<(), LinkClosed> {
        self.meanwhile(tokio::time::sleep_until(at.into())).await
    }

    /// Fetches blocks of one range request or a little more, in the order they were asked for.
    async fn fetch_some(&mut self) -> Result<(), Interruption> {
        let pool = self.link.pool.clone();
        // Only the first is waited for: who holds buffers and waits for more may wait for somebody who does the same.
        let first = self.meanwhile(pool.take()).await?;
        let blocks = self.begin(first);
        for fetch in plan(&self.layout, &blocks, RANGE) {
            self.fetch(&fetch).await?;
        }
        Ok(())
    }

    /// Takes as many of the wanted blocks as fit one request and the block pool.
    fn begin(&mut self, first: BlockBuf) -> Vec<Block> {
        let mut buffer = Some(first);
        let mut bytes = 0;
        let mut count = 0;
        for block in &self.wanted {
            bytes += u64::from(block.length);
            if count > 0 && bytes > RANGE {
                break;
            }
            let Some(buffer) = buffer.take().or_else(|| self.link.pool.try_take()) else { break };
            self.assembly.expect(&self.layout, *block, buffer);
            count += 1;
        }
        self.wanted.drain(..count).collect()
    }

    async fn fetch(&mut self, fetch: &Fetch) -> Result<(), Interruption> {
        let failed = |failure| Interruption::Failed(fetch.entry, failure);
        let url = self.seed.url(&self.layout, fetch.entry);
        let url = url.ok_or_else(|| failed(WebSeedFailure::Missing(404)))?;
        let client = self.client.clone();
        let mut download = self.meanwhile(client.fetch(url, fetch)).await?.map_err(failed)?;
        loop {
            if let Err(until) = self.link.throttle.available(Direction::Down, Instant::now()) {
                self.sleep_until(until).await?;
                continue;
            }
            let next = self.meanwhile(download.next()).await?.map_err(failed)?;
            let Some((part, skip, bytes)) = next else { return Ok(()) };
            self.link.throttle.spend(Direction::Down, bytes.len() as u64, Instant::now());
            if let Some((block, data)) = self.assembly.fill(part, skip, &bytes) {
                // HTTP and copying keep this task busy enough: the workers hash.
                let arrived = Arrived::new(block, data);
                self.link.tell(WireEvent::Blocks(vec![arrived])).await?;
            }
        }
    }

    /// Gives back what did not come, and rests if the server needs it.
    async fn failed(&mut self, entry: usize, failure: &WebSeedFailure) -> Result<(), LinkClosed> {
        debug!(host = self.seed.host(), entry, %failure, "web seed");
        let consequence = self.seed.handle_failure(Instant::now(), entry, failure);
        if matches!(consequence, Consequence::HasLess | Consequence::GivenUp) {
            // Once: a server may lack thousands of files.
            if !std::mem::replace(&mut self.told, true) {
                warn!(host = self.seed.host(), %failure, "a web seed does not give everything");
            }
            self.introduce().await?;
        }
        let mut rejected = self.assembly.abandon();
        rejected.append(&mut self.wanted);
        self.link.tell(WireEvent::Rejected(rejected)).await?;
        match consequence {
            Consequence::HasLess => Ok(()),
            Consequence::GivenUp => {
                self.useless = true;
                Err(LinkClosed)
            }
            Consequence::Pause(until) => {
                // So that nothing more is asked meanwhile.
                self.link.tell(WireEvent::Choked(true)).await?;
                self.rest(until).await?;
                self.link.tell(WireEvent::Choked(false)).await
            }
        }
    }

    /// Asks nothing of the server for a while.
    async fn rest(&mut self, until: Instant) -> Result<(), LinkClosed> {
        self.sleep_until(until).await?;
        // What was asked before the transfer heard of the rest.
        let late = std::mem::take(&mut self.wanted);
        self.link.tell(WireEvent::Rejected(late)).await
    }
}
