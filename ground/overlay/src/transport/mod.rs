//! From a socket to a connection that streams can be opened on: TCP, then the private network's cipher if there is one, Noise, and yamux.

mod guard;
mod muxer;
mod pongs;

use futures::future::Either;
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::Boxed;
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::pnet::{PnetConfig, PnetError};
use libp2p::{PeerId, Transport, noise, tcp};

use self::guard::Guarded;
pub(crate) use self::guard::Permits;
use crate::config::{Limits, PrivateNetworkKey};

/// The transport could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("set up encryption: {0}")]
pub(crate) struct TransportError(#[from] noise::Error);

pub(crate) fn build(
    keypair: &Keypair,
    private_network: Option<&PrivateNetworkKey>,
    limits: &Limits,
    permits: Permits,
) -> Result<Boxed<(PeerId, StreamMuxerBox)>, TransportError> {
    let tcp = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true));
    let shared = private_network.map(|key| PnetConfig::new(key.pre_shared()));
    let sockets = Guarded::new(tcp, permits).and_then(move |socket, _| async move {
        Ok::<_, PnetError>(match shared {
            Some(network) => Either::Left(network.handshake(socket).await?),
            None => Either::Right(socket),
        })
    });
    Ok(sockets
        .upgrade(Version::V1Lazy)
        .authenticate(noise::Config::new(keypair)?)
        .multiplex(muxer::Config::new(limits.streams_per_connection))
        .timeout(limits.handshake)
        .boxed())
}
