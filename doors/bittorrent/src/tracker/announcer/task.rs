//! The task behind an [`Announcer`](super::Announcer): one queue of deadlines for all transfers.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::ask::Asker;
use super::queue::Queue;
use super::{AnnouncerConfig, Registration, TrackerStatus};
use crate::hash::SwarmHash;
use crate::tracker::tiers::{Due, Tiers, TrackerKey};
use crate::tracker::{AnnounceRequest, AnnounceResponse, Event, Scrape, TrackerError};

/// What handles ask for.
#[derive(Debug)]
pub(super) enum Command {
    Add(Registration),
    Remove(SwarmHash),
    Completed(SwarmHash),
    Hurry(SwarmHash),
    Scrape(SwarmHash),
    Status(SwarmHash, oneshot::Sender<Vec<TrackerStatus>>),
    Stop(Duration, oneshot::Sender<()>),
}

/// A registered transfer.
struct Transfer {
    /// Tells it from an earlier registration of the same swarm, whose announces may still be under way.
    number: u64,
    registration: Registration,
    tiers: Tiers,
    /// Our proof of identity towards its trackers.
    key: u32,
    /// Where it stands in the queue of deadlines.
    wake: Option<Instant>,
}

/// An announce that waits or is under way.
struct Job {
    swarm: SwarmHash,
    transfer: u64,
    due: Due,
    /// The end of a transfer, which outlives it. Any other request is written when the job starts, so that its numbers are fresh.
    farewell: Option<Farewell>,
}

/// The last words to a tracker.
struct Farewell {
    /// In this order: `Stopped` is the last.
    requests: Vec<AnnounceRequest>,
    /// Cancelled when the announce that was under way has ended: over another connection, a later word might overtake it.
    after: Option<CancellationToken>,
}

/// Names the announce that is under way to a tracker.
type Place = (SwarmHash, u64, TrackerKey);

struct Outcome {
    job: Job,
    is_farewell: bool,
    result: Result<AnnounceResponse, TrackerError>,
}

pub(super) struct Task {
    config: AnnouncerConfig,
    asker: Arc<Asker>,
    transfers: HashMap<SwarmHash, Transfer>,
    deadlines: BTreeSet<(Instant, SwarmHash)>,
    queue: Queue<Job>,
    running: JoinSet<Outcome>,
    scrapes: JoinSet<(Place, Option<Scrape>)>,
    /// Announces that have been sent and not answered, farewells not counted.
    under_way: HashMap<Place, CancellationToken>,
    /// Farewells that are being said.
    leaving: usize,
    numbers: u64,
}

/// Questions for sizes under way, from which on no more are asked.
const SCRAPES_MAX: usize = 32;

/// How long the words before the last may take.
const LAST_WORDS: Duration = Duration::from_millis(800);

/// Farewells said at a time when everything ends, in all and to one server.
const LEAVING_MAX: (usize, usize) = (512, 64);

impl Job {
    fn place(&self) -> Place {
        (self.swarm, self.transfer, self.due.tracker)
    }
}

impl Farewell {
    async fn say(self, asker: &Arc<Asker>, due: &Due) -> Result<AnnounceResponse, TrackerError> {
        if let Some(after) = self.after {
            // An error: it takes too long, and so will be forgotten anyway.
            let _ = tokio::time::timeout(LAST_WORDS, after.cancelled()).await;
        }
        let mut result = Err(TrackerError::TimedOut(LAST_WORDS));
        for request in &self.requests {
            let saying = asker.announce(&due.url, due.failures, request);
            result = match request.event {
                Event::Stopped => saying.await,
                _ => tokio::time::timeout(LAST_WORDS, saying)
                    .await
                    .unwrap_or(Err(TrackerError::TimedOut(LAST_WORDS))),
            };
        }
        result
    }
}

impl Task {
    pub(super) fn new(config: AnnouncerConfig, asker: Arc<Asker>) -> Self {
        Self {
            queue: Queue::new(config.concurrency, config.concurrency_per_host),
            config,
            asker,
            transfers: HashMap::new(),
            deadlines: BTreeSet::new(),
            running: JoinSet::new(),
            scrapes: JoinSet::new(),
            under_way: HashMap::new(),
            leaving: 0,
            numbers: 0,
        }
    }

    /// Runs until told to stop, or until the last handle is gone.
    pub(super) async fn run(mut self, mut inbox: mpsc::Receiver<Command>) {
        loop {
            self.queue_due(Instant::now());
            self.start_jobs();
            let deadline = self.deadlines.first().map(|(at, _)| *at);
            tokio::select! {
                command = inbox.recv() => match command {
                    Some(Command::Stop(patience, stopped)) => {
                        self.say_goodbye(patience).await;
                        // Whoever waited may have left.
                        let _ = stopped.send(());
                        return;
                    }
                    Some(command) => self.handle_command(command),
                    None => return,
                },
                Some(Ok(outcome)) = self.running.join_next() => self.handle_outcome(outcome),
                Some(Ok(((swarm, number, tracker), size))) = self.scrapes.join_next() => {
                    if let (Some(size), Some(tiers)) = (size, self.tiers_of(swarm, number)) {
                        tiers.handle_scrape(tracker, size);
                    }
                }
                () = until(deadline) => {}
            }
        }
    }

    fn handle_command(&mut self, command: Command) {
        let now = Instant::now();
        match command {
            Command::Add(registration) => self.add(now, registration),
            Command::Remove(swarm) => self.remove(now, swarm),
            Command::Completed(swarm) => self.with_tiers(swarm, |tiers| tiers.complete(now)),
            Command::Hurry(swarm) => self.with_tiers(swarm, |tiers| tiers.hurry(now)),
            Command::Scrape(swarm) => self.scrape(now, swarm),
            Command::Status(swarm, reply) => {
                let status = self.transfers.get(&swarm).map(|transfer| transfer.tiers.status());
                let _ = reply.send(status.unwrap_or_default());
            }
            Command::Stop(..) => {}
        }
    }

    fn add(&mut self, now: Instant, registration: Registration) {
        let swarm = registration.swarm;
        if let Some(transfer) = self.transfers.get_mut(&swarm) {
            transfer.tiers.replace(registration.tiers.clone(), now);
            transfer.registration = registration;
        } else {
            let tiers = Tiers::new(registration.tiers.clone(), self.config.breadth, rand::random(), now);
            self.numbers += 1;
            let number = self.numbers;
            let transfer = Transfer { number, registration, tiers, key: rand::random(), wake: None };
            self.transfers.insert(swarm, transfer);
        }
        self.reschedule(swarm);
    }

    fn remove(&mut self, now: Instant, swarm: SwarmHash) {
        let Some(mut transfer) = self.transfers.remove(&swarm) else { return };
        if let Some(at) = transfer.wake {
            self.deadlines.remove(&(at, swarm));
        }
        let number = transfer.number;
        let after = |tracker| self.under_way.get(&(swarm, number, tracker)).cloned();
        let mut farewells: Vec<Job> = Vec::new();
        for due in transfer.tiers.goodbye(|tracker| after(tracker).is_some()) {
            let request = self.request(&transfer, &due);
            match farewells.last_mut().filter(|job| job.due.tracker == due.tracker) {
                Some(Job { farewell: Some(farewell), .. }) => farewell.requests.push(request),
                _ => {
                    let farewell = Some(Farewell { requests: vec![request], after: after(due.tracker) });
                    farewells.push(Job { swarm, transfer: number, due, farewell });
                }
            }
        }
        farewells.into_iter().for_each(|job| self.push(now, job));
    }

    fn scrape(&mut self, now: Instant, swarm: SwarmHash) {
        let Some(transfer) = self.transfers.get_mut(&swarm).filter(|_| self.scrapes.len() < SCRAPES_MAX)
        else {
            return;
        };
        let number = transfer.number;
        for (tracker, url) in transfer.tiers.scrapes(now) {
            let asker = Arc::clone(&self.asker);
            self.scrapes.spawn(async move {
                let sizes = asker.scrape(&url, &[swarm]).await;
                if let Err(error) = &sizes {
                    tracing::debug!(%swarm, tracker = ?url, %error, "no size of the swarm");
                }
                let size = sizes.ok().and_then(|sizes| sizes.into_iter().next());
                ((swarm, number, tracker), size.map(|(_, size)| size))
            });
        }
    }

    fn with_tiers(&mut self, swarm: SwarmHash, act: impl FnOnce(&mut Tiers)) {
        if let Some(transfer) = self.transfers.get_mut(&swarm) {
            act(&mut transfer.tiers);
            self.reschedule(swarm);
        }
    }

    /// Moves announces that are due from the deadlines to the queue.
    fn queue_due(&mut self, now: Instant) {
        while let Some((at, swarm)) = self.deadlines.first().copied()
            && at <= now
        {
            self.deadlines.pop_first();
            let Some(transfer) = self.transfers.get_mut(&swarm) else { continue };
            transfer.wake = None;
            let number = transfer.number;
            let dues: Vec<Due> = std::iter::from_fn(|| transfer.tiers.poll(now)).collect();
            for due in dues {
                self.push(now, Job { swarm, transfer: number, due, farewell: None });
            }
            self.reschedule(swarm);
        }
    }

    fn push(&mut self, now: Instant, job: Job) {
        let host = job.due.url.authority();
        if let Err((job, error)) = self.queue.push(now, &host, job) {
            self.fail(now, &job, &error);
        }
    }

    fn start_jobs(&mut self) {
        while let Some(mut job) = self.queue.take() {
            let asker = Arc::clone(&self.asker);
            if let Some(farewell) = job.farewell.take() {
                self.leaving += 1;
                self.running.spawn(async move {
                    let result = farewell.say(&asker, &job.due).await;
                    Outcome { job, is_farewell: true, result }
                });
                continue;
            }
            let transfer = self.transfers.get(&job.swarm).filter(|transfer| transfer.number == job.transfer);
            let Some(transfer) = transfer else {
                // It was removed while the job waited.
                self.queue.finish(Instant::now(), &job.due.url.authority(), None);
                continue;
            };
            let request = self.request(transfer, &job.due);
            let ended = CancellationToken::new();
            self.under_way.insert(job.place(), ended.clone());
            self.running.spawn(async move {
                let _ended = ended.drop_guard();
                let result = asker.announce(&job.due.url, job.due.failures, &request).await;
                Outcome { job, is_farewell: false, result }
            });
        }
    }

    fn request(&self, transfer: &Transfer, due: &Due) -> AnnounceRequest {
        let progress = transfer.registration.counters.progress();
        let wants_peers = progress.wants_peers && due.event != Event::Stopped;
        AnnounceRequest {
            swarm: transfer.registration.swarm,
            peer_id: transfer.registration.peer_id,
            ports: self.config.ports,
            uploaded: progress.uploaded,
            downloaded: progress.downloaded,
            left: progress.left,
            event: due.event,
            numwant: if wants_peers { self.config.numwant } else { 0 },
            key: transfer.key,
            ipv4: None,
            ipv6: None,
            tracker_id: due.tracker_id.clone(),
        }
    }

    fn handle_outcome(&mut self, Outcome { job, is_farewell, result }: Outcome) {
        let now = Instant::now();
        if is_farewell {
            self.leaving = self.leaving.saturating_sub(1);
        } else {
            self.under_way.remove(&job.place());
        }
        let failed = self.queue.finish(now, &job.due.url.authority(), result.as_ref().err());
        match result {
            Ok(response) => {
                if let Some(tiers) = self.tiers_of(job.swarm, job.transfer) {
                    tiers.handle_response(now, job.due.tracker, &response);
                }
                self.reschedule(job.swarm);
            }
            Err(error) => {
                for job in std::iter::once(&job).chain(&failed) {
                    self.fail(now, job, &error);
                }
            }
        }
    }

    fn fail(&mut self, now: Instant, job: &Job, error: &TrackerError) {
        tracing::debug!(swarm = %job.swarm, tracker = ?job.due.url, event = ?job.due.event, %error, "announce failed");
        if let Some(tiers) = self.tiers_of(job.swarm, job.transfer) {
            tiers.handle_failure(now, job.due.tracker, error);
        }
        self.reschedule(job.swarm);
    }

    fn tiers_of(&mut self, swarm: SwarmHash, number: u64) -> Option<&mut Tiers> {
        let transfer = self.transfers.get_mut(&swarm)?;
        (transfer.number == number).then_some(&mut transfer.tiers)
    }

    /// Puts a transfer where its tiers say in the queue of deadlines.
    fn reschedule(&mut self, swarm: SwarmHash) {
        let Some(transfer) = self.transfers.get_mut(&swarm) else { return };
        if let Some(at) = transfer.wake.take() {
            self.deadlines.remove(&(at, swarm));
        }
        transfer.wake = transfer.tiers.poll_timeout();
        if let Some(at) = transfer.wake {
            self.deadlines.insert((at, swarm));
        }
    }

    /// Tells every tracker that we leave, as many as there is time for.
    async fn say_goodbye(mut self, patience: Duration) {
        self.queue.hasten(LEAVING_MAX.0, LEAVING_MAX.1, |job| job.farewell.is_some());
        let now = Instant::now();
        let swarms: Vec<_> = self.transfers.keys().copied().collect();
        for swarm in swarms {
            self.remove(now, swarm);
        }
        let farewells = async {
            self.start_jobs();
            while self.leaving > 0 || !self.queue.is_empty() {
                match self.running.join_next().await {
                    Some(Ok(outcome)) => self.handle_outcome(outcome),
                    Some(Err(_)) => {}
                    None => break,
                }
                self.start_jobs();
            }
        };
        if tokio::time::timeout(patience, farewells).await.is_err() {
            tracing::debug!("not every tracker was told that we leave");
        }
    }
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}
