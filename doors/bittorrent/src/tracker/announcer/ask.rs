//! One announce from beginning to end: look up, ask over both families, judge and deliver the peers.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use peerage_swarm::core::Found;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use crate::address::{DialRules, Origin, Reach, reach};
use crate::discovery::{Discovery, PeerSink};
use crate::hash::SwarmHash;
use crate::lookup::{Addresses, lookup, lookup_again};
use crate::tracker::announce::PEERS_MAX;
use crate::tracker::http::HttpTrackers;
use crate::tracker::udp::{Ask, Reply, UdpTrackers};
use crate::tracker::url::Protocol;
use crate::tracker::{AnnounceRequest, AnnounceResponse, Event, Scrape, TrackerError, TrackerUrl};

/// For a whole HTTP exchange, redirects included.
const HTTP_PATIENCE: Duration = Duration::from_secs(30);

/// For a UDP exchange: room for the second and third sending of BEP 15.
const UDP_PATIENCE: Duration = Duration::from_secs(60);

/// For saying goodbye: nobody waits for the answer.
const FAREWELL_PATIENCE: Duration = Duration::from_secs(5);

/// Once one family has answered, how long the other is waited for; then it goes on by itself.
const GRACE: Duration = Duration::from_secs(3);

/// Halves of announces under way that may go on by themselves.
pub(super) const HALVES_MAX: usize = 128;

/// What asking needs; shared by all announces under way.
#[derive(Debug)]
pub(super) struct Asker {
    pub(super) http: HttpTrackers,
    pub(super) udp: UdpTrackers,
    pub(super) rules: DialRules,
    pub(super) peers: PeerSink,
    pub(super) external_ip: watch::Sender<Option<IpAddr>>,
    /// Places for halves, see [`HALVES_MAX`].
    pub(super) halves: Arc<Semaphore>,
    pub(super) cancel: CancellationToken,
}

impl Asker {
    /// Announces over every family that the tracker has and that we listen in: a tracker takes the address it is spoken to from as ours. `failures` in a row have been before. Works if one family does; the slower one may still be under way then, and
    /// delivers what it learns.
    pub(super) async fn announce(
        self: &Arc<Self>,
        tracker: &TrackerUrl,
        failures: u32,
        request: &AnnounceRequest,
    ) -> Result<AnnounceResponse, TrackerError> {
        let found = lookup_again(tracker.url(), failures).await?;
        let addresses = found.only(|ipv6| request.ports.over(ipv6).is_some());
        if addresses.is_empty() && !found.is_empty() {
            return Err(TrackerError::Unreachable(
                "it has no address in a family that we listen in".to_owned(),
            ));
        }
        if addresses.v4.is_none() || addresses.v6.is_none() {
            return self.announce_over(tracker, addresses, addresses.v6.is_some(), request).await;
        }
        let half = |ipv6| {
            let (asker, tracker, request) = (Arc::clone(self), tracker.clone(), request.clone());
            let half = async move { asker.announce_over(&tracker, addresses, ipv6, &request).await };
            lasting(&self.halves, &self.cancel, half)
        };
        either(half(false), half(true)).await
    }

    async fn announce_over(
        &self,
        tracker: &TrackerUrl,
        addresses: Addresses,
        ipv6: bool,
        request: &AnnounceRequest,
    ) -> Result<AnnounceResponse, TrackerError> {
        let farewell = request.event == Event::Stopped;
        let patience = |usual| if farewell { FAREWELL_PATIENCE } else { usual };
        let (response, from) = match tracker.protocol() {
            Protocol::Http => {
                let patience = patience(HTTP_PATIENCE);
                tokio::time::timeout(patience, self.http.announce(tracker, addresses, ipv6, request))
                    .await
                    .map_err(|_| TrackerError::TimedOut(patience))??
            }
            Protocol::Udp => {
                let target = addresses.of(ipv6).ok_or_else(no_address)?;
                let ask = Ask::Announce { request: Box::new(request.clone()), url_data: url_data(tracker) };
                match self.udp.ask(target, ask, patience(UDP_PATIENCE)).await? {
                    Reply::Announced(response) => (response, target),
                    other => return Err(TrackerError::Malformed(format!("{other:?} to an announce"))),
                }
            }
        };
        if !farewell {
            self.deliver(tracker, from.ip(), request.swarm, &response).await;
        }
        Ok(response)
    }

    async fn deliver(
        &self,
        tracker: &TrackerUrl,
        from: IpAddr,
        swarm: SwarmHash,
        response: &AnnounceResponse,
    ) {
        if let Some(ip) = response.external_ip
            && reach(ip) == Reach::Public
            && reach(from) == Reach::Public
        {
            self.external_ip.send_if_modified(|known| known.replace(ip) != Some(ip));
        }
        let addresses = self.rules.keep(response.peers.iter().copied(), Origin::Host(from), PEERS_MAX);
        if addresses.is_empty() {
            return;
        }
        let from = tracker.authority().into();
        let discovery = Discovery { swarm, addresses, found: Found::TRACKER, from };
        // Nobody listens any more: the program ends.
        let _ = self.peers.send(discovery).await;
    }

    /// Asks for the sizes of swarms, over the family that the resolver has.
    pub(super) async fn scrape(
        &self,
        tracker: &TrackerUrl,
        swarms: &[SwarmHash],
    ) -> Result<Vec<(SwarmHash, Scrape)>, TrackerError> {
        let addresses = lookup(tracker.url()).await?;
        let ipv6 = addresses.v4.is_none();
        match tracker.protocol() {
            Protocol::Http => {
                tokio::time::timeout(HTTP_PATIENCE, self.http.scrape(tracker, addresses, ipv6, swarms))
                    .await
                    .map_err(|_| TrackerError::TimedOut(HTTP_PATIENCE))?
            }
            Protocol::Udp => {
                let target = addresses.of(ipv6).ok_or_else(no_address)?;
                match self.udp.ask(target, Ask::Scrape(swarms.to_vec()), UDP_PATIENCE).await? {
                    Reply::Scraped(sizes) => Ok(swarms.iter().copied().zip(sizes).collect()),
                    other => Err(TrackerError::Malformed(format!("{other:?} to a scrape"))),
                }
            }
        }
    }
}

fn no_address() -> TrackerError {
    TrackerError::Lookup("no address".to_owned())
}

/// What BEP 41 calls the URL's data: path and query.
fn url_data(tracker: &TrackerUrl) -> String {
    let url = tracker.url();
    match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    }
}

/// Runs a half so that it goes on when nobody waits for it any longer, as long as there is a place.
async fn lasting<T: Send + 'static>(
    places: &Arc<Semaphore>,
    cancel: &CancellationToken,
    half: impl Future<Output = Result<T, TrackerError>> + Send + 'static,
) -> Result<T, TrackerError> {
    let Ok(place) = Arc::clone(places).try_acquire_owned() else { return half.await };
    let cancel = cancel.clone();
    let half = tokio::spawn(async move {
        let _place = place;
        cancel.run_until_cancelled(half).await
    });
    let ended = || Err(TrackerError::Unreachable("shutting down".to_owned()));
    half.await.ok().flatten().unwrap_or_else(ended)
}

/// Runs both; once one has worked, the other is waited for only a little longer.
async fn either(
    v4: impl Future<Output = Result<AnnounceResponse, TrackerError>>,
    v6: impl Future<Output = Result<AnnounceResponse, TrackerError>>,
) -> Result<AnnounceResponse, TrackerError> {
    let mut v4 = Box::pin(v4);
    let mut v6 = Box::pin(v6);
    let (first, second) = tokio::select! {
        first = &mut v4 => match first {
            Ok(first) => (first, tokio::time::timeout(GRACE, v6).await.ok()),
            Err(_) => return v6.await,
        },
        first = &mut v6 => match first {
            Ok(first) => (first, tokio::time::timeout(GRACE, v4).await.ok()),
            // What IPv4 says is what most users can do something about.
            Err(_) => return v4.await,
        },
    };
    Ok(match second {
        Some(Ok(second)) => merge(first, second),
        _ => first,
    })
}

/// One tracker, seen over two families: it counts the same swarm twice, and its peers add up.
fn merge(mut one: AnnounceResponse, other: AnnounceResponse) -> AnnounceResponse {
    one.peers.extend(other.peers);
    one.seeders = one.seeders.max(other.seeders);
    one.leechers = one.leechers.max(other.leechers);
    one.interval = one.interval.max(other.interval);
    one.interval_min = one.interval_min.max(other.interval_min);
    one.warning = one.warning.or(other.warning);
    one.tracker_id = one.tracker_id.or(other.tracker_id);
    one
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(peer: &str, seeders: u32) -> AnnounceResponse {
        AnnounceResponse {
            peers: vec![peer.parse().unwrap()],
            seeders: Some(seeders),
            ..AnnounceResponse::default()
        }
    }

    fn failure() -> TrackerError {
        TrackerError::Status(500)
    }

    #[tokio::test]
    async fn one_family_is_enough() {
        let works = || async { Ok(response("8.8.8.8:1", 2)) };
        let fails = || async { Err(failure()) };
        assert_eq!(either(works(), fails()).await, works().await);
        assert_eq!(either(fails(), works()).await, works().await);
        assert_eq!(either(fails(), fails()).await, Err(failure()));
    }

    #[tokio::test]
    async fn two_families_add_up() {
        let both =
            either(async { Ok(response("8.8.8.8:1", 2)) }, async { Ok(response("[2001:db8::1]:1", 5)) })
                .await;
        let both = both.unwrap();
        assert_eq!((both.peers.len(), both.seeders), (2, Some(5)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_family_does_not_hold_up_the_other() {
        let started = tokio::time::Instant::now();
        let answer = either(std::future::pending(), async { Ok(response("8.8.8.8:1", 2)) }).await;
        assert!(answer.is_ok());
        assert_eq!(started.elapsed(), GRACE);
    }

    #[tokio::test(start_paused = true)]
    async fn the_slower_family_goes_on_when_it_is_no_longer_waited_for() {
        let (places, cancel) = (Arc::new(Semaphore::new(2)), CancellationToken::new());
        let (told, heard) = tokio::sync::oneshot::channel();
        let slow = async move {
            tokio::time::sleep(GRACE * 3).await;
            let _ = told.send(());
            Err(failure())
        };
        let quick = async { Ok(response("8.8.8.8:1", 2)) };
        assert!(either(lasting(&places, &cancel, slow), lasting(&places, &cancel, quick)).await.is_ok());
        assert_eq!(heard.await, Ok(()), "it was not cut off");
    }
}
