//! Overlays in one process, over real sockets of the loopback interface.

#![allow(clippy::unwrap_used)]
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use std::future::Future;
use std::time::Duration;

use peerage_identity::NodeKey;
use peerage_overlay::{Address, Overlay, OverlayConfig, OverlayEvent};
use tokio::sync::broadcast;
use tokio_util::sync::{CancellationToken, DropGuard};

/// A node, which ends when this is dropped.
pub struct Node {
    pub overlay: Overlay,
    pub events: broadcast::Receiver<OverlayEvent>,
    _guard: DropGuard,
}

impl std::ops::Deref for Node {
    type Target = Overlay;

    fn deref(&self) -> &Overlay {
        &self.overlay
    }
}

pub fn config(seed: u8) -> OverlayConfig {
    let mut config = OverlayConfig::new(NodeKey::from_seed([seed; 32]));
    config.listen = vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()];
    config
}

impl Node {
    pub async fn start(config: OverlayConfig) -> Self {
        let cancel = CancellationToken::new();
        let overlay = Overlay::start(config, cancel.clone()).await.unwrap();
        Self { events: overlay.events(), overlay, _guard: cancel.drop_guard() }
    }

    pub async fn new(seed: u8) -> Self {
        Self::start(config(seed)).await
    }

    /// Where it listens, with its peer id.
    pub fn address(&self) -> Address {
        self.listening()[0].with_peer(self.id())
    }

    pub async fn knows(&self, other: &Self) {
        assert_eq!(soon(self.dial(other.address())).await, Ok(other.id()));
    }

    /// Until an event answers the question.
    pub async fn until<T>(&mut self, mut answer: impl FnMut(&OverlayEvent) -> Option<T>) -> T {
        soon(async {
            loop {
                match self.events.recv().await {
                    Ok(event) => {
                        if let Some(answer) = answer(&event) {
                            return answer;
                        }
                    }
                    Err(error) => panic!("the events ended: {error}"),
                }
            }
        })
        .await
    }
}

/// What takes this long never comes.
pub async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future).await.expect("it never came")
}
