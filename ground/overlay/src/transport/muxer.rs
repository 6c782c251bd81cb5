//! Yamux, with its pings answered beneath it ([`Pongs`]).

use std::io;

use futures::future::Ready;
use futures::io::{AsyncRead, AsyncWrite};
use libp2p::core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade, UpgradeInfo};
use libp2p::yamux;

use super::pongs::Pongs;

/// How streams share a connection.
#[derive(Clone)]
pub(super) struct Config(yamux::Config);

impl Config {
    pub(super) fn new(streams_max: usize) -> Self {
        let mut config = yamux::Config::default();
        // Yamux has a budget of 1 GiB for the windows of a connection, of which each stream may claim 256 KiB.
        config.set_max_num_streams(streams_max.clamp(1, 4096));
        Self(config)
    }
}

impl UpgradeInfo for Config {
    type Info = <yamux::Config as UpgradeInfo>::Info;
    type InfoIter = <yamux::Config as UpgradeInfo>::InfoIter;

    fn protocol_info(&self) -> Self::InfoIter {
        self.0.protocol_info()
    }
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> InboundConnectionUpgrade<S> for Config {
    type Output = yamux::Muxer<Pongs<S>>;
    type Error = io::Error;
    type Future = Ready<Result<Self::Output, io::Error>>;

    fn upgrade_inbound(self, socket: S, info: Self::Info) -> Self::Future {
        self.0.upgrade_inbound(Pongs::new(socket), info)
    }
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> OutboundConnectionUpgrade<S> for Config {
    type Output = yamux::Muxer<Pongs<S>>;
    type Error = io::Error;
    type Future = Ready<Result<Self::Output, io::Error>>;

    fn upgrade_outbound(self, socket: S, info: Self::Info) -> Self::Future {
        self.0.upgrade_outbound(Pongs::new(socket), info)
    }
}
