//! Numbers for Prometheus, in the OpenMetrics text format.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::model::StatsView;

/// The content type of [`render`]'s text.
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Number = Gauge<u64, AtomicU64>;

/// The text of one scrape: the registry is built for it, since the numbers live in the node.
pub(super) fn render(stats: &StatsView) -> Result<String, std::fmt::Error> {
    let mut registry = Registry::with_prefix("peerage");
    let gauge = |registry: &mut Registry, name: &str, help: &str, value: u64| {
        let gauge = Number::default();
        gauge.set(value);
        registry.register(name, help, gauge);
    };
    let counter = |registry: &mut Registry, name: &str, help: &str, value: u64| {
        let counter = Counter::<u64>::default();
        counter.inc_by(value);
        registry.register(name, help, counter);
    };
    gauge(&mut registry, "uptime_seconds", "Seconds since the node started", stats.uptime);
    counter(&mut registry, "downloaded_bytes", "Block bytes received", stats.downloaded);
    counter(&mut registry, "uploaded_bytes", "Block bytes sent", stats.uploaded);
    counter(&mut registry, "wasted_bytes", "Block bytes received in vain", stats.wasted);
    gauge(&mut registry, "download_rate_bytes", "Block bytes received a second", stats.download_rate);
    gauge(&mut registry, "upload_rate_bytes", "Block bytes sent a second", stats.upload_rate);
    gauge(&mut registry, "peers_connected", "Connected peers", stats.peers_connected.into());
    gauge(&mut registry, "peers_known", "Known addresses of peers", stats.peers_known.into());
    if let Some(nodes) = stats.dht_nodes {
        gauge(&mut registry, "dht_nodes", "Nodes in the DHT routing table", nodes.into());
    }
    let transfers = Family::<Vec<(String, String)>, Number>::default();
    for entry in &stats.transfers {
        let state = serde_json::to_value(entry.state).ok().and_then(|name| name.as_str().map(str::to_owned));
        transfers
            .get_or_create(&vec![("state".to_owned(), state.unwrap_or_default())])
            .set(entry.count.into());
    }
    registry.register("transfers", "Transfers by state", transfers);
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{State, StateCount};

    #[test]
    fn numbers_appear_with_their_labels() {
        let stats = StatsView {
            downloaded: 7,
            dht_nodes: Some(42),
            transfers: vec![StateCount { state: State::FetchingMetadata, count: 3 }],
            ..StatsView::default()
        };
        let text = render(&stats).unwrap();
        for line in [
            "peerage_downloaded_bytes_total 7",
            "peerage_dht_nodes 42",
            "peerage_transfers{state=\"fetching_metadata\"} 3",
            "# EOF",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
    }
}
