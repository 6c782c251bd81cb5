//! The task behind a [`Lan`](super::Lan).

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use peerage_swarm::core::Found;
use tokio::sync::{mpsc, oneshot};

use super::message::{self, LENGTH_MAX};
use super::schedule::Schedule;
use super::socket::{Net, Sockets, Way, ways};
use super::{LanConfig, LanStatus};
use crate::address::{DialRules, Origin};
use crate::discovery::{Discovery, PeerSink};
use crate::hash::SwarmHash;

/// How often interfaces are looked for: laptops change networks.
const INTERFACES_EVERY: Duration = Duration::from_secs(30);

/// What handles ask for.
#[derive(Debug)]
pub(super) enum Command {
    Add(SwarmHash),
    Remove(SwarmHash),
    Status(oneshot::Sender<LanStatus>),
}

#[derive(Debug)]
pub(super) struct Task {
    config: LanConfig,
    rules: DialRules,
    peers: PeerSink,
    sockets: Sockets,
    ways: Vec<Way>,
    nets: Vec<Net>,
    schedule: Schedule<Way>,
    cookie: String,
    heard: u64,
}

impl Task {
    pub(super) fn new(config: LanConfig, rules: DialRules, peers: PeerSink) -> io::Result<Self> {
        let sockets = Sockets::open()?;
        let cookie = format!("{:016x}", rand::random::<u64>());
        let (ways, nets, schedule) = (Vec::new(), Vec::new(), Schedule::new());
        let mut task = Self { config, rules, peers, sockets, ways, nets, schedule, cookie, heard: 0 };
        task.follow_interfaces();
        Ok(task)
    }

    /// Runs until the last handle is gone.
    pub(super) async fn run(mut self, mut inbox: mpsc::Receiver<Command>) {
        let (mut v4, mut v6) = ([0; LENGTH_MAX], [0; LENGTH_MAX]);
        let mut interfaces = tokio::time::interval(INTERFACES_EVERY);
        interfaces.reset();
        loop {
            let timeout = self.schedule.poll_timeout();
            tokio::select! {
                command = inbox.recv() => match command {
                    Some(command) => self.handle_command(command),
                    None => return,
                },
                received = self.sockets.receive(&mut v4, &mut v6) => match received {
                    Ok((from, length)) => {
                        let buffer = if from.is_ipv4() { &v4 } else { &v6 };
                        self.hear(from, buffer.get(..length).unwrap_or_default());
                    }
                    Err(error) => tracing::debug!(%error, "cannot receive from the local network"),
                },
                () = until(timeout) => self.announce().await,
                _ = interfaces.tick() => self.follow_interfaces(),
            }
        }
    }

    fn handle_command(&mut self, command: Command) {
        match command {
            Command::Add(swarm) => self.schedule.add(Instant::now(), swarm),
            Command::Remove(swarm) => self.schedule.remove(swarm),
            Command::Status(reply) => {
                let mut interfaces: Vec<_> = self.ways.iter().map(|way| way.name().to_owned()).collect();
                interfaces.dedup();
                // Whoever asked may have left.
                let _ =
                    reply.send(LanStatus { interfaces, swarms: self.schedule.swarms(), heard: self.heard });
            }
        }
    }

    async fn announce(&mut self) {
        let Some(batch) = self.schedule.poll(Instant::now()) else { return };
        let way = &batch.interface;
        let Some(port) = self.port_of(way) else { return };
        let text = message::print(way.group(), port, &batch.swarms, &self.cookie);
        if let Err(error) = self.sockets.send(way, text.as_bytes()).await {
            tracing::debug!(interface = way.name(), %error, "cannot announce on the local network");
        }
    }

    fn hear(&mut self, from: SocketAddr, datagram: &[u8]) {
        let is_near = self.nets.iter().any(|net| net.contains(from.ip()));
        let Some(announcement) = message::parse(datagram).filter(|_| is_near) else { return };
        if announcement.cookie.as_deref() == Some(&self.cookie) {
            return;
        }
        let mut peer = from;
        peer.set_port(announcement.port);
        let Ok(peer) = self.rules.check(peer, Origin::Lan) else { return };
        for swarm in announcement.swarms {
            if !self.schedule.contains(swarm) {
                continue;
            }
            self.heard += 1;
            self.schedule.heard(Instant::now(), swarm, peer);
            let from = peer.ip().to_string().into();
            let discovery = Discovery { swarm, addresses: vec![peer], found: Found::LAN, from };
            // When the sink is full it is dropped: neighbours repeat themselves.
            let _ = self.peers.try_send(discovery);
        }
    }

    fn follow_interfaces(&mut self) {
        let (found, nets) = match ways(self.config.interfaces.as_deref()) {
            Ok(found) => found,
            Err(error) => {
                tracing::debug!(%error, "cannot list network interfaces");
                return;
            }
        };
        self.nets = nets;
        self.ways = found
            .into_iter()
            .filter(|way| match self.sockets.join(way) {
                Ok(()) => true,
                Err(error) => {
                    tracing::debug!(interface = way.name(), %error, "no local discovery on this interface");
                    false
                }
            })
            .collect();
        let is_dialled_there = |way: &&Way| self.port_of(way).is_some();
        let ways: Vec<Way> = self.ways.iter().filter(is_dialled_there).cloned().collect();
        self.schedule.set_interfaces(Instant::now(), &ways);
    }

    /// The port that neighbours on a way are told, if we can be dialled there.
    fn port_of(&self, way: &Way) -> Option<u16> {
        self.config.ports.towards(way.group())
    }
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}
