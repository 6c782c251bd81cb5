//! Writes to a peer, over one stream that is opened when it is needed and closed when it was idle.

use std::io;
use std::time::Duration;

use peerage_identity::PeerId;
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;

use super::Streams;
use super::actor::Note;
use crate::bitswap::PeerKey;
use crate::bitswap::message::{Message, Protocol};

/// How long a stream is kept without use. Some reset streams that are silent for five seconds, and what is written to such a stream
/// is lost.
const IDLE: Duration = Duration::from_secs(3);
/// How long a peer may take for one message. At less than this pace nothing is worth sending.
const PATIENCE: Duration = Duration::from_secs(120);

/// A message for a peer.
#[derive(Debug)]
pub(super) struct Letter {
    pub(super) message: Message,
    /// Whose it is: the server's, else the fetch's.
    pub(super) serves: bool,
}

/// Opens a stream to a peer and tells the actor that it is there; then writes letters until there are no more.
pub(super) async fn write<S: Streams>(
    streams: S,
    peer: PeerId,
    key: PeerKey,
    mut letters: mpsc::Receiver<Letter>,
    notes: mpsc::Sender<Note>,
) {
    let written = async {
        let (protocol, stream) = streams.open(peer).await?;
        let told = notes.send(Note::Opened { peer, key, protocol }).await;
        told.map_err(|_| io::Error::other("bitswap has ended"))?;
        let mut open = Some((protocol, stream));
        loop {
            let letter = match &open {
                None => letters.recv().await,
                Some(_) => match tokio::time::timeout(IDLE, letters.recv()).await {
                    Ok(letter) => letter,
                    Err(_) => {
                        close::<S>(&mut open).await;
                        continue;
                    }
                },
            };
            let Some(letter) = letter else { break };
            // A stream that was kept may have been reset: the letter goes by another.
            let kept = open.is_some();
            let mut sent = deliver(&streams, peer, &mut open, &letter.message).await;
            if kept && sent.is_err() {
                open = None;
                sent = deliver(&streams, peer, &mut open, &letter.message).await;
            }
            sent?;
            let told = notes.send(Note::Written { key, serves: letter.serves }).await;
            told.map_err(|_| io::Error::other("bitswap has ended"))?;
        }
        close::<S>(&mut open).await;
        io::Result::Ok(())
    };
    if let Err(error) = written.await {
        tracing::debug!(%peer, %error, "nothing more can be written to a peer");
        let _ = notes.send(Note::Broke { peer, key }).await;
    }
}

/// Writes a message to the stream that is open, or opens one.
async fn deliver<S: Streams>(
    streams: &S,
    peer: PeerId,
    open: &mut Option<(Protocol, S::Stream)>,
    message: &Message,
) -> io::Result<()> {
    let (protocol, stream) = match open {
        Some(open) => open,
        None => open.insert(streams.open(peer).await?),
    };
    let parts = message.encode(*protocol);
    let written = async {
        for part in parts {
            stream.write_all(&part).await?;
        }
        stream.flush().await
    };
    tokio::time::timeout(PATIENCE, written).await?
}

async fn close<S: Streams>(open: &mut Option<(Protocol, S::Stream)>) {
    if let Some((_, mut stream)) = open.take() {
        let _ = stream.shutdown().await;
    }
}
