//! What is kept and told when a transfer has everything.

use std::path::PathBuf;
use std::sync::Arc;

use peerage_bittorrent::torrent::Torrent;
use tracing::warn;

use super::Inner;
use super::entry::{Entry, Running, now};
use super::life::blocking;
use crate::model::{Event, Role};

/// Everything wanted is there: what was learnt is kept, and whoever waits is told.
pub(super) async fn finished(node: &Inner, entry: &Arc<Entry>, running: &Arc<Running>) {
    keep_layers(entry, running).await;
    entry.keep(|record| record.finished = Some(now())).await;
    let path: PathBuf = entry.facts().path.clone();
    if entry.role == Role::Get {
        let transfer = Box::new(node.view_of(entry, &node.around().await).await);
        node.emit(Event::Complete { id: entry.id, path: path.into(), transfer });
    }
}

/// Keeps the hashes that peers told (BEP 52): with them alone a restart can serve, even when nobody else is left.
async fn keep_layers(entry: &Arc<Entry>, running: &Arc<Running>) {
    let metainfo = &running.metainfo;
    if metainfo.info.layered().all(|(_, root)| metainfo.piece_layers.contains_key(&root)) {
        return;
    }
    let (owner, running) = (entry.clone(), running.clone());
    let kept = blocking(move || owner.slot.write_torrent(&running.whole_metainfo().to_bytes()));
    if let Ok(Err(error)) = kept.await {
        warn!(error = error.in_full(), "hashes that peers told will be asked for again");
    }
}

/// Computes and keeps, on the side, the hashes that no peer told.
pub(super) fn compute_layers(
    node: &Inner,
    entry: &Arc<Entry>,
    torrent: &Arc<Torrent>,
    running: &Arc<Running>,
) {
    if running.transfer.truth().missing_layers().is_empty() {
        return;
    }
    let (entry, torrent, running) = (entry.clone(), torrent.clone(), running.clone());
    node.resources.tasks.spawn(async move {
        torrent.compute_layers().await;
        keep_layers(&entry, &running).await;
    });
}
