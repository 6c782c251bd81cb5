//! Which tracker of one swarm to ask, and when (BEP 12), without IO.
//!
//! Contract of [`Tiers`]: [`Tiers::poll`] gives announces that are due, until `None`; each is answered once with
//! [`Tiers::handle_response`] or [`Tiers::handle_failure`]; the next is due at [`Tiers::poll_timeout`]. Time never goes back.
//!
//! Tiers are shuffled once; within a tier the first tracker that works moves to the front and is kept; those behind it are asked only when
//! it fails. Failures back off. Whatever interval a tracker names, it is held within [`INTERVAL_MIN`] and [`INTERVAL_MAX`],
//! so that a hostile one can neither make us flood nor make us silent.

#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

use super::announcer::{TrackerState, TrackerStatus};
use super::{AnnounceResponse, Event, Scrape, TrackerError, TrackerUrl};

/// Announces to one tracker are never closer than this, whatever it says.
pub const INTERVAL_MIN: Duration = Duration::from_secs(60);

/// A tracker that works is asked at least this often, whatever it says.
pub const INTERVAL_MAX: Duration = Duration::from_secs(3 * 60 * 60);

/// How early a tracker may be asked again, when peers are needed and it does not say what it tolerates.
const HURRY_AFTER: Duration = Duration::from_secs(5 * 60);

/// Before the second attempt at a tracker that failed; doubles with every further failure.
const RETRY_FIRST: Duration = Duration::from_secs(30);

/// Between attempts at a tracker that fails and fails.
const RETRY_MAX: Duration = Duration::from_secs(60 * 60);

/// Delays grow by up to this fraction at random, so that transfers that were started together drift apart.
const SPREAD: f64 = 0.1;

/// Trackers kept of one torrent; what a torrent names beyond that is ignored.
pub const TRACKERS_MAX: usize = 200;

/// Between questions for the size of a swarm to one tracker (BEP 48 leaves it to us; trackers that announce tell it along the way).
const SCRAPE_EVERY: Duration = Duration::from_secs(15 * 60);

/// Trackers of one torrent that are asked for the size at a time.
const SCRAPES_MAX: usize = 8;

/// Names a tracker within one [`Tiers`], for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TrackerKey(u32);

/// How many trackers are asked at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Breadth {
    /// All tiers, not just the first that works.
    pub all_tiers: bool,
    /// All trackers of a tier, not just the first that works.
    pub all_trackers: bool,
}

/// An announce that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// Whom to tell the outcome about.
    pub tracker: TrackerKey,
    /// Whom to ask.
    pub url: TrackerUrl,
    /// Why.
    pub event: Event,
    /// What it called itself.
    pub tracker_id: Option<Vec<u8>>,
    /// How often in a row asking it failed.
    pub failures: u32,
}

#[derive(Debug)]
struct Tracker {
    key: TrackerKey,
    url: TrackerUrl,
    state: TrackerState,
    /// What is under way.
    asking: Option<Event>,
    /// It has been told `Started`, and not `Stopped`.
    started: bool,
    /// It is to be told `Completed`.
    completed: bool,
    failures: u32,
    /// When to ask it next.
    next: Instant,
    /// No announce before this, whoever hurries.
    not_before: Instant,
    tracker_id: Option<Vec<u8>>,
    swarm: Option<Scrape>,
    /// When it told the size of the swarm last, or was asked to.
    sized: Option<Instant>,
    peers: usize,
    message: Option<String>,
}

/// The trackers of one swarm.
#[derive(Debug)]
pub struct Tiers {
    tiers: Vec<Vec<Tracker>>,
    breadth: Breadth,
    random: StdRng,
    keys: u32,
}

impl Tiers {
    /// Trackers tier by tier; every one is due at once, as far as the breadth allows.
    pub fn new(tiers: Vec<Vec<TrackerUrl>>, breadth: Breadth, seed: u64, now: Instant) -> Self {
        let mut this = Self { tiers: Vec::new(), breadth, random: StdRng::seed_from_u64(seed), keys: 0 };
        this.replace(tiers, now);
        this
    }

    /// Puts other trackers in place. What is known of those that stay is kept; the order within new tiers is random. A URL counts where it stands first.
    pub fn replace(&mut self, tiers: Vec<Vec<TrackerUrl>>, now: Instant) {
        let mut old: Vec<Tracker> = self.tiers.drain(..).flatten().collect();
        let mut count = 0;
        for urls in tiers {
            let mut tier: Vec<Tracker> = Vec::new();
            for url in urls {
                let is_known =
                    tier.iter().chain(self.tiers.iter().flatten()).any(|tracker| tracker.url == url);
                if is_known || count == TRACKERS_MAX {
                    continue;
                }
                count += 1;
                tier.push(match old.iter().position(|tracker| tracker.url == url) {
                    Some(at) => old.swap_remove(at),
                    None => {
                        self.keys += 1;
                        Tracker::new(TrackerKey(self.keys), url, now)
                    }
                });
            }
            tier.shuffle(&mut self.random);
            // Those that work stay in front.
            tier.sort_by_key(|tracker| tracker.state != TrackerState::Working);
            if !tier.is_empty() {
                self.tiers.push(tier);
            }
        }
    }

    /// An announce that is due, if there is one; it counts as under way until its outcome is told.
    pub fn poll(&mut self, now: Instant) -> Option<Due> {
        let (tier, at) =
            self.candidates().into_iter().find(|at| self.at(*at).is_some_and(|t| t.next <= now))?;
        let tracker = self.tiers.get_mut(tier)?.get_mut(at)?;
        let event = match (tracker.started, tracker.completed) {
            (false, _) => Event::Started,
            (true, true) => Event::Completed,
            (true, false) => Event::Regular,
        };
        tracker.asking = Some(event);
        Some(tracker.due(event))
    }

    /// When [`Tiers::poll`] has something next; `None` while everything is under way.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.candidates().into_iter().filter_map(|at| self.at(at)).map(|tracker| tracker.next).min()
    }

    /// The tracker answered.
    pub fn handle_response(&mut self, now: Instant, key: TrackerKey, response: &AnnounceResponse) {
        let spread = 1.0 + self.random.random_range(0.0..SPREAD);
        let Some((tier, at)) = self.find(key) else { return };
        let Some(trackers) = self.tiers.get_mut(tier) else { return };
        let mut tracker = trackers.remove(at);
        let event = tracker.asking.take();
        tracker.started = true;
        if event == Some(Event::Completed) {
            tracker.completed = false;
        }
        tracker.state = TrackerState::Working;
        tracker.failures = 0;
        tracker.message.clone_from(&response.warning);
        tracker.peers = response.peers.len();
        if let Some(id) = &response.tracker_id {
            tracker.tracker_id = Some(id.clone());
        }
        if response.seeders.is_some() || response.leechers.is_some() {
            tracker.sized = Some(now);
            tracker.swarm = Some(Scrape {
                seeders: response.seeders.unwrap_or(0),
                leechers: response.leechers.unwrap_or(0),
                completed: tracker.swarm.map_or(0, |swarm| swarm.completed),
            });
        }
        let interval = response.interval.clamp(INTERVAL_MIN, INTERVAL_MAX);
        let tolerated = response.interval_min.unwrap_or(HURRY_AFTER);
        tracker.not_before = now + tolerated.clamp(INTERVAL_MIN, interval);
        // Completion that came while this announce was under way is told without waiting for the interval.
        tracker.next = if tracker.completed { now } else { now + interval.mul_f64(spread) };
        trackers.insert(0, tracker);
    }

    /// The tracker did not answer, or refused.
    pub fn handle_failure(&mut self, now: Instant, key: TrackerKey, error: &TrackerError) {
        let spread = 1.0 + self.random.random_range(0.0..SPREAD);
        let Some((tier, at)) = self.find(key) else { return };
        let Some(tracker) = self.tiers.get_mut(tier).and_then(|tier| tier.get_mut(at)) else { return };
        tracker.asking = None;
        tracker.state = TrackerState::Failing;
        tracker.failures = tracker.failures.saturating_add(1);
        tracker.message = Some(error.to_string());
        let doublings = (tracker.failures - 1).min(16);
        let delay = (RETRY_FIRST * 2_u32.pow(doublings)).min(RETRY_MAX).mul_f64(spread);
        tracker.next = now + delay;
        // Hurry does not help against a tracker that is down.
        tracker.not_before = tracker.next;
    }

    /// The download is complete: every tracker that saw it start is told so, at once.
    pub fn complete(&mut self, now: Instant) {
        for tracker in self.tiers.iter_mut().flatten() {
            let sees_it_start = tracker.started || tracker.asking == Some(Event::Started);
            if sees_it_start {
                tracker.completed = true;
                tracker.next = tracker.next.min(now);
            }
        }
    }

    /// Somebody looks at the sizes of the swarm: those trackers that have not told it for a while, and are not known to be down. They count
    /// as asked; what they say comes with [`Tiers::handle_scrape`].
    pub fn scrapes(&mut self, now: Instant) -> Vec<(TrackerKey, TrackerUrl)> {
        let stale = |tracker: &&mut Tracker| {
            tracker.state != TrackerState::Failing && tracker.sized.is_none_or(|at| now - at >= SCRAPE_EVERY)
        };
        let due = self.tiers.iter_mut().flatten().filter(stale).take(SCRAPES_MAX);
        due.map(|tracker| {
            tracker.sized = Some(now);
            (tracker.key, tracker.url.clone())
        })
        .collect()
    }

    /// A tracker told the size of the swarm.
    pub fn handle_scrape(&mut self, key: TrackerKey, size: Scrape) {
        let at = self.find(key);
        if let Some(tracker) = at.and_then(|(tier, at)| self.tiers.get_mut(tier)?.get_mut(at)) {
            tracker.swarm = Some(size);
        }
    }

    /// Peers are needed: trackers are asked as soon as they tolerate.
    pub fn hurry(&mut self, now: Instant) {
        for tracker in self.tiers.iter_mut().flatten() {
            tracker.next = tracker.next.min(tracker.not_before.max(now));
        }
    }

    /// The announces that end it all: to those that saw the transfer start, or may have. `is_sent` says whether what is
    /// under way to a tracker has left, or waits for its turn still (and will not be sent any more). Where a tracker is
    /// owed a `Completed`, that comes before its `Stopped`.
    pub fn goodbye(&mut self, is_sent: impl Fn(TrackerKey) -> bool) -> Vec<Due> {
        let mut farewells = Vec::new();
        for tracker in self.tiers.iter_mut().flatten() {
            let told = tracker.asking.filter(|_| is_sent(tracker.key));
            if tracker.started || told == Some(Event::Started) {
                tracker.started = false;
                if std::mem::take(&mut tracker.completed) && told != Some(Event::Completed) {
                    farewells.push(tracker.due(Event::Completed));
                }
                farewells.push(tracker.due(Event::Stopped));
            }
        }
        farewells
    }

    /// Every tracker, in order.
    pub fn status(&self) -> Vec<TrackerStatus> {
        let planned: Vec<TrackerKey> =
            self.candidates().into_iter().filter_map(|at| self.at(at)).map(|tracker| tracker.key).collect();
        let status = |tier: usize, tracker: &Tracker| TrackerStatus {
            url: tracker.url.clone(),
            tier,
            state: if tracker.asking.is_some() { TrackerState::Asking } else { tracker.state },
            next: planned.contains(&tracker.key).then_some(tracker.next),
            swarm: tracker.swarm,
            peers: tracker.peers,
            failures: tracker.failures,
            message: tracker.message.clone(),
        };
        let tiers = self.tiers.iter().enumerate();
        tiers.flat_map(|(number, tier)| tier.iter().map(move |tracker| status(number, tracker))).collect()
    }

    /// The trackers that are next in turn, due or not, by tier and place.
    fn candidates(&self) -> Vec<(usize, usize)> {
        let mut candidates = Vec::new();
        for (number, tier) in self.tiers.iter().enumerate() {
            let mut turn = if self.breadth.all_trackers { all(tier) } else { one(tier) };
            candidates.extend(turn.drain(..).map(|at| (number, at)));
            let fails = tier.iter().all(|tracker| tracker.state == TrackerState::Failing);
            if !self.breadth.all_tiers && !fails {
                break;
            }
        }
        candidates
    }

    fn at(&self, (tier, at): (usize, usize)) -> Option<&Tracker> {
        self.tiers.get(tier)?.get(at)
    }

    fn find(&self, key: TrackerKey) -> Option<(usize, usize)> {
        let tiers = self.tiers.iter().enumerate();
        tiers
            .flat_map(|(number, tier)| {
                tier.iter().enumerate().map(move |(at, tracker)| (number, at, tracker.key))
            })
            .find_map(|(number, at, found)| (found == key).then_some((number, at)))
    }
}

/// Every tracker of a tier that is not being asked.
fn all(tier: &[Tracker]) -> Vec<usize> {
    tier.iter().enumerate().filter(|(_, tracker)| tracker.asking.is_none()).map(|(at, _)| at).collect()
}

/// The one tracker of a tier whose turn it is: the first that does not fail, or else the one whose next attempt comes first.
/// None while one is being asked.
fn one(tier: &[Tracker]) -> Vec<usize> {
    if tier.iter().any(|tracker| tracker.asking.is_some()) {
        return Vec::new();
    }
    let healthy = tier.iter().position(|tracker| tracker.state != TrackerState::Failing);
    let soonest = || tier.iter().enumerate().min_by_key(|(_, tracker)| tracker.next).map(|(at, _)| at);
    healthy.or_else(soonest).into_iter().collect()
}

impl Tracker {
    fn new(key: TrackerKey, url: TrackerUrl, now: Instant) -> Self {
        Self {
            key,
            url,
            state: TrackerState::Idle,
            asking: None,
            started: false,
            completed: false,
            failures: 0,
            next: now,
            not_before: now,
            tracker_id: None,
            swarm: None,
            sized: None,
            peers: 0,
            message: None,
        }
    }

    fn due(&self, event: Event) -> Due {
        Due {
            tracker: self.key,
            url: self.url.clone(),
            event,
            tracker_id: self.tracker_id.clone(),
            failures: self.failures,
        }
    }
}
