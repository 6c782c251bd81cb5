//! Bitswap over the overlay.

use std::io;

use cid::Cid;
use peerage_identity::PeerId;
use peerage_overlay::{AcceptError, Incoming, Overlay, OverlayEvent, Stream, StreamError};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Arrival, Streams};
use crate::bitswap::message::Protocol;

/// Streams of one protocol that wait to be taken.
const BACKLOG: usize = 64;
/// Providers of a block that are asked for it.
const PROVIDERS_MAX: usize = 16;
/// Arrivals that wait for the actor.
const ARRIVALS: usize = 64;

/// Why bitswap does not run over an overlay.
#[derive(Debug, thiserror::Error)]
#[error("accept bitswap's streams")]
pub struct StreamsError(#[from] AcceptError);

/// The overlay, as bitswap sees it.
#[derive(Clone, Debug)]
pub struct OverlayStreams(Overlay);

impl OverlayStreams {
    /// Takes bitswap's streams of an overlay. What arrives is for [`super::Bitswap::start`].
    ///
    /// # Errors
    /// [`StreamsError`]: somebody takes them already.
    pub fn new(
        overlay: Overlay,
        cancel: &CancellationToken,
    ) -> Result<(Self, mpsc::Receiver<Arrival<Stream>>), StreamsError> {
        let (sender, arrivals) = mpsc::channel(ARRIVALS);
        for protocol in Protocol::ALL {
            let incoming = overlay.accept(protocol.name(), BACKLOG)?;
            tokio::spawn(cancel.clone().run_until_cancelled_owned(take(incoming, sender.clone())));
        }
        tokio::spawn(cancel.clone().run_until_cancelled_owned(watch(overlay.clone(), sender)));
        Ok((Self(overlay), arrivals))
    }
}

/// Passes streams on.
async fn take(mut incoming: Incoming, arrivals: mpsc::Sender<Arrival<Stream>>) {
    while let Some((peer, stream)) = incoming.next().await {
        if arrivals.send(Arrival::Stream(peer, stream)).await.is_err() {
            return;
        }
    }
}

/// Passes on who comes and goes.
async fn watch(overlay: Overlay, arrivals: mpsc::Sender<Arrival<Stream>>) {
    let mut events = overlay.events();
    let mut here = overlay.peers().await.into_iter().map(|peer| Arrival::Connected(peer.id)).collect();
    loop {
        for arrival in std::mem::take::<Vec<_>>(&mut here) {
            if arrivals.send(arrival).await.is_err() {
                return;
            }
        }
        match events.recv().await {
            Ok(OverlayEvent::Connected { peer, .. }) => here.push(Arrival::Connected(peer)),
            Ok(OverlayEvent::Disconnected { peer }) => here.push(Arrival::Disconnected(peer)),
            Ok(_) => {}
            // Who has come meanwhile is found; who has gone is noticed when nothing can be written to it.
            Err(RecvError::Lagged(_)) => {
                here.extend(overlay.peers().await.into_iter().map(|peer| Arrival::Connected(peer.id)));
            }
            Err(RecvError::Closed) => return,
        }
    }
}

impl Streams for OverlayStreams {
    type Stream = Stream;

    async fn open(&self, peer: PeerId) -> io::Result<(Protocol, Stream)> {
        for protocol in Protocol::ALL {
            match self.0.open_stream(peer, protocol.name()).await {
                Ok(stream) => return Ok((protocol, stream)),
                Err(StreamError::Unsupported { .. }) => {}
                Err(error) => return Err(io::Error::other(error)),
            }
        }
        Err(io::Error::from(io::ErrorKind::Unsupported))
    }

    async fn dismiss(&self, peer: PeerId) {
        self.0.disconnect(peer).await;
    }

    async fn seek(&self, cid: Cid, found: mpsc::Sender<PeerId>) {
        let mut providers = self.0.providers(&cid.hash().to_bytes(), PROVIDERS_MAX).await;
        while let Some(provider) = providers.next().await {
            if found.send(provider.id).await.is_err() {
                return;
            }
        }
    }
}
