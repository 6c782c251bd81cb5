//! From an address to a connection that streams can be opened on.
//!
//! TCP and WebSocket carry Noise and yamux, QUIC has both of its own, and so has a connection through a relay. Names are resolved by the system's
//! resolver. In a private network there is TCP alone, beneath the network's cipher.

mod guard;
mod muxer;
mod pongs;

use futures::io::{AsyncRead, AsyncWrite};
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::Boxed;
use libp2p::core::upgrade::Version;
use libp2p::dns::{ResolverConfig, ResolverOpts};
use libp2p::identity::Keypair;
use libp2p::pnet::PnetConfig;
use libp2p::{PeerId, Transport, dns, noise, quic, relay, tcp, websocket};

use self::guard::Guarded;
pub(crate) use self::guard::Permits;
use crate::config::{Limits, PrivateNetworkKey};

/// The transport could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("set up encryption: {0}")]
pub(crate) struct TransportError(#[from] noise::Error);

type Connections = Boxed<(PeerId, StreamMuxerBox)>;

/// Every way to reach a peer; `relays` is the one through others.
pub(crate) fn build(
    keypair: &Keypair,
    private_network: Option<&PrivateNetworkKey>,
    limits: &Limits,
    permits: &Permits,
    relays: relay::client::Transport,
) -> Result<Connections, TransportError> {
    let relayed = secured(relays, keypair, limits)?;
    let direct = match private_network {
        Some(key) => private(key, keypair, limits, permits)?,
        None => public(keypair, limits, permits)?,
    };
    // The first one that knows an address takes it: a relayed one begins like a direct one.
    Ok(relayed.or_transport(direct).map(|either, _| either.into_inner()).boxed())
}

fn public(keypair: &Keypair, limits: &Limits, permits: &Permits) -> Result<Connections, TransportError> {
    // A certificate is for a name: WebSocket resolves it itself. Of what is no WebSocket address it lets go.
    let websocket = websocket::Config::new(named(|| Ok(sockets(permits)))?);
    // Names are resolved above both others: only then is it known whose address it is.
    let others = named(|| {
        let quic = quic::tokio::Transport::new(quic::Config::new(keypair));
        let quic = Guarded::new(quic, permits.clone());
        let quic = quic.map(|(peer, connection), _| (peer, StreamMuxerBox::new(connection)));
        let tcp = secured(sockets(permits), keypair, limits)?;
        Ok(tcp.or_transport(quic).map(|either, _| either.into_inner()).boxed())
    })?;
    let all = secured(websocket, keypair, limits)?.or_transport(others);
    Ok(all.map(|either, _| either.into_inner()).boxed())
}

fn private(
    key: &PrivateNetworkKey,
    keypair: &Keypair,
    limits: &Limits,
    permits: &Permits,
) -> Result<Connections, TransportError> {
    let network = PnetConfig::new(key.pre_shared());
    let ciphered = named(|| Ok(sockets(permits)))?.and_then(move |socket, _| network.handshake(socket));
    secured(ciphered, keypair, limits)
}

fn sockets(permits: &Permits) -> Guarded<tcp::tokio::Transport> {
    let tcp = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true));
    Guarded::new(tcp, permits.clone())
}

/// Resolves names as the system does; where it is not set up for that, by public resolvers.
fn named<T: Transport>(
    inner: impl Fn() -> Result<T, TransportError>,
) -> Result<dns::tokio::Transport<T>, TransportError> {
    dns::tokio::Transport::system(inner()?).or_else(|error| {
        tracing::debug!("the system's resolver can't be used: {error}");
        let (config, options) = (ResolverConfig::default(), ResolverOpts::default());
        Ok(dns::tokio::Transport::custom(inner()?, config, options))
    })
}

/// Noise, and yamux over it.
fn secured<T>(transport: T, keypair: &Keypair, limits: &Limits) -> Result<Connections, TransportError>
where
    T: Transport + Send + Unpin + 'static,
    T::Output: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    T::Error: Send + Sync + 'static,
    T::Dial: Send + 'static,
    T::ListenerUpgrade: Send + 'static,
{
    Ok(transport
        .upgrade(Version::V1Lazy)
        .authenticate(noise::Config::new(keypair)?)
        .multiplex(muxer::Config::new(limits.streams_per_connection))
        .timeout(limits.handshake)
        .boxed())
}
