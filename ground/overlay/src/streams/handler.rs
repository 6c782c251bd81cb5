//! The streams of one connection.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll};

use libp2p::core::upgrade::{InboundUpgrade, OutboundUpgrade, UpgradeInfo};
use libp2p::swarm::handler::{
    ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound,
};
use libp2p::swarm::{ConnectionHandler, ConnectionHandlerEvent, StreamUpgradeError, SubstreamProtocol};
use libp2p::{PeerId, StreamProtocol};

use super::{Registry, Request, StreamError};

/// Negotiates streams on one connection, as many at a time as are asked for.
pub(crate) struct Handler {
    peer: PeerId,
    registry: Registry,
    requests: VecDeque<Request>,
}

impl Handler {
    pub(super) fn new(peer: PeerId, registry: Registry) -> Self {
        Self { peer, registry, requests: VecDeque::new() }
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Request;
    type ToBehaviour = Infallible;
    type InboundProtocol = Negotiation;
    type OutboundProtocol = Negotiation;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = Request;

    fn listen_protocol(&self) -> SubstreamProtocol<Negotiation> {
        SubstreamProtocol::new(Negotiation(self.registry.protocols()), ())
    }

    fn poll(
        &mut self,
        _: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Negotiation, Request, Infallible>> {
        let Some(request) = self.requests.pop_front() else { return Poll::Pending };
        let protocol = SubstreamProtocol::new(Negotiation(vec![request.protocol.clone()]), request);
        Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol })
    }

    fn on_behaviour_event(&mut self, request: Request) {
        // The connection polls its handler after this.
        self.requests.push_back(request);
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<'_, Negotiation, Negotiation, (), Request>) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol, .. }) => {
                let (stream, protocol) = protocol;
                self.registry.deliver(&self.peer, &protocol, stream);
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound { protocol, info }) => {
                // Dropped, and thereby reset, when whoever asked has gone.
                let _ = info.reply.send(Ok(protocol.0));
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { info, error }) => {
                let error = explain(&info.protocol, error);
                info.refuse(error);
            }
            _ => {}
        }
    }
}

fn explain(protocol: &StreamProtocol, error: StreamUpgradeError<Infallible>) -> StreamError {
    match error {
        StreamUpgradeError::NegotiationFailed => StreamError::Unsupported { protocol: protocol.to_string() },
        StreamUpgradeError::Timeout => StreamError::Broken { reason: "no answer in time".to_owned() },
        StreamUpgradeError::Io(error) => StreamError::Broken { reason: error.to_string() },
        StreamUpgradeError::Apply(never) => match never {},
    }
}

/// The protocols that either side may settle on; the stream is theirs as it is.
pub(crate) struct Negotiation(Vec<StreamProtocol>);

impl UpgradeInfo for Negotiation {
    type Info = StreamProtocol;
    type InfoIter = std::vec::IntoIter<StreamProtocol>;

    fn protocol_info(&self) -> Self::InfoIter {
        self.0.clone().into_iter()
    }
}

impl InboundUpgrade<libp2p::Stream> for Negotiation {
    type Output = (libp2p::Stream, StreamProtocol);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_inbound(self, stream: libp2p::Stream, protocol: StreamProtocol) -> Self::Future {
        ready(Ok((stream, protocol)))
    }
}

impl OutboundUpgrade<libp2p::Stream> for Negotiation {
    type Output = (libp2p::Stream, StreamProtocol);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_outbound(self, stream: libp2p::Stream, protocol: StreamProtocol) -> Self::Future {
        ready(Ok((stream, protocol)))
    }
}
