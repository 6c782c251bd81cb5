//! Messages to all who listen to a topic (gossipsub 1.1).
//!
//! What a peer sends is passed on only when the judge of its topic accepts it; who sends what is rejected loses standing with gossipsub. A listener
//! that is too slow misses messages.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use libp2p::gossipsub::{
    Behaviour, ConfigBuilder, Event, IdentTopic, MessageAcceptance, MessageAuthenticity, PublishError,
    TopicHash,
};
use libp2p::identity::Keypair;
use peerage_identity::PeerId;
use tokio::sync::mpsc;

use crate::convert;

/// The largest message, bytes.
const MESSAGE_LENGTH_MAX: usize = 64 << 10;
/// Messages that wait for a listener; what comes meanwhile is lost to it.
const BACKLOG: usize = 256;
/// Topics that a node listens to.
const TOPICS_MAX: usize = 1024;

/// Whether a message is passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// To listeners here and to other peers.
    Accept,
    /// Nowhere, and nobody is to blame.
    Ignore,
    /// Nowhere, and whoever sent it knew better.
    Reject,
}

/// Judges the messages of a topic. It runs on the overlay's task: briefly.
#[derive(Clone)]
pub struct Judge(Arc<Judging>);

type Judging = dyn Fn(PeerId, &[u8]) -> Verdict + Send + Sync;

impl Judge {
    /// Judges by the author and the message.
    pub fn new(judge: impl Fn(PeerId, &[u8]) -> Verdict + Send + Sync + 'static) -> Self {
        Self(Arc::new(judge))
    }

    /// Takes everything.
    pub fn everything() -> Self {
        Self::new(|_, _| Verdict::Accept)
    }
}

impl fmt::Debug for Judge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Judge")
    }
}

/// Somebody said something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Who signed it.
    pub author: PeerId,
    /// What was said.
    pub data: Vec<u8>,
}

/// The messages of one topic. To drop it ends the subscription.
#[derive(Debug)]
pub struct Subscription(pub(crate) mpsc::Receiver<Message>);

impl Subscription {
    /// The next message; `None` when the overlay has ended.
    pub async fn next(&mut self) -> Option<Message> {
        self.0.recv().await
    }
}

/// Gossip did not do it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GossipError {
    /// This node does not gossip.
    #[error("this node does not gossip")]
    Off,
    /// Somebody listens to the topic already.
    #[error("the topic has a listener already")]
    Taken,
    /// Too many topics.
    #[error("{TOPICS_MAX} topics are the most")]
    Topics,
    /// A message is too long.
    #[error("a message has {MESSAGE_LENGTH_MAX} bytes at most")]
    Length,
    /// No connected peer listens to the topic.
    #[error("nobody listens to the topic")]
    Nobody,
    /// Gossipsub said no.
    #[error("{0}")]
    Refused(String),
    /// The overlay has ended.
    #[error("the overlay has ended")]
    Ended,
}

pub(crate) fn behaviour(keypair: &Keypair) -> Option<Behaviour> {
    let config = ConfigBuilder::default()
        .max_transmit_size(MESSAGE_LENGTH_MAX + 1024)
        .validate_messages()
        .build()
        .ok()?;
    Behaviour::new(MessageAuthenticity::Signed(keypair.clone()), config).ok()
}

struct Listener {
    judge: Judge,
    messages: mpsc::Sender<Message>,
}

/// Who listens to which topic here.
#[derive(Default)]
pub(crate) struct Listeners(HashMap<TopicHash, Listener>);

impl Listeners {
    pub(crate) fn subscribe(
        &mut self,
        gossip: &mut Behaviour,
        topic: &str,
        judge: Judge,
    ) -> Result<Subscription, GossipError> {
        self.retain_open(gossip);
        let topic = IdentTopic::new(topic);
        if self.0.contains_key(&topic.hash()) {
            return Err(GossipError::Taken);
        }
        if self.0.len() >= TOPICS_MAX {
            return Err(GossipError::Topics);
        }
        gossip.subscribe(&topic).map_err(|error| GossipError::Refused(error.to_string()))?;
        let (messages, received) = mpsc::channel(BACKLOG);
        self.0.insert(topic.hash(), Listener { judge, messages });
        Ok(Subscription(received))
    }

    pub(crate) fn handle(&mut self, gossip: &mut Behaviour, event: Event) {
        let Event::Message { propagation_source, message_id, message } = event else { return };
        let verdict =
            match (self.0.get(&message.topic), message.source.as_ref().and_then(convert::from_libp2p)) {
                (Some(listener), Some(author)) => listener.take(Message { author, data: message.data }),
                _ => Verdict::Ignore,
            };
        gossip.report_message_validation_result(&message_id, &propagation_source, verdict.into());
        self.retain_open(gossip);
    }

    /// Ends the subscriptions that nobody listens to any more.
    fn retain_open(&mut self, gossip: &mut Behaviour) {
        self.0.retain(|topic, listener| {
            let open = !listener.messages.is_closed();
            if !open {
                gossip.unsubscribe(&IdentTopic::new(topic.as_str()));
            }
            open
        });
    }
}

impl Listener {
    fn take(&self, message: Message) -> Verdict {
        let verdict = (self.judge.0)(message.author, &message.data);
        if verdict == Verdict::Accept && self.messages.try_send(message).is_err() {
            tracing::debug!("a listener is too slow for its topic");
        }
        verdict
    }
}

impl From<Verdict> for MessageAcceptance {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Accept => Self::Accept,
            Verdict::Ignore => Self::Ignore,
            Verdict::Reject => Self::Reject,
        }
    }
}

pub(crate) fn publish(gossip: &mut Behaviour, topic: &str, data: Vec<u8>) -> Result<(), GossipError> {
    if data.len() > MESSAGE_LENGTH_MAX {
        return Err(GossipError::Length);
    }
    match gossip.publish(IdentTopic::new(topic), data) {
        // Said by us before: it is on its way.
        Ok(_) | Err(PublishError::Duplicate) => Ok(()),
        Err(PublishError::NoPeersSubscribedToTopic) => Err(GossipError::Nobody),
        Err(error) => Err(GossipError::Refused(error.to_string())),
    }
}
