//! A node for tests on several machines: told what to do in JSON, tells what happens in JSON, one object a line.
//!
//! Its argument is `{"seed": 1, "listen": [...], "announce": [...], "bootstrap": [...], "dial": [...], "relay_server": bool, "relay_client": bool,
//! "mdns": bool}`, all but the seed optional. It prints `{"ready": ID}`, then its events; what it dials it talks to. It runs until it is killed.

#![allow(clippy::print_stdout, reason = "a program for tests")]

use std::time::Duration;

use peerage_identity::NodeKey;
use peerage_overlay::{Address, Overlay, OverlayConfig, OverlayEvent, Path};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

const ECHO: &str = "/peerage/test/echo/1";

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let settings: Value = serde_json::from_str(&std::env::args().nth(1).ok_or("no settings")?)?;
    let overlay = Overlay::start(config(&settings)?, CancellationToken::new()).await?;
    let events = overlay.events();
    println!("{}", json!({"ready": overlay.id().to_string()}));
    tokio::spawn(tell(events));
    tokio::spawn(echo(overlay.clone()));
    for address in addresses(&settings["dial"])? {
        println!("{}", talk(&overlay, address).await?);
    }
    std::future::pending().await
}

fn config(settings: &Value) -> Result<OverlayConfig, Failure> {
    let seed = u8::try_from(settings["seed"].as_u64().ok_or("no seed")?)?;
    let mut config = OverlayConfig::new(NodeKey::from_seed([seed; 32]));
    config.listen = addresses(&settings["listen"])?;
    config.announce = addresses(&settings["announce"])?;
    config.bootstrap = addresses(&settings["bootstrap"])?;
    config.relay_server = settings["relay_server"] == true;
    config.relay_client = settings["relay_client"] == true;
    config.relay_after = Duration::ZERO;
    config.limits.handshake = Duration::from_secs(5); // what a router drops is to be known soon
    config.mdns = settings["mdns"] == true;
    Ok(config)
}

fn addresses(list: &Value) -> Result<Vec<Address>, Failure> {
    let texts = list.as_array().into_iter().flatten().filter_map(Value::as_str);
    texts.map(|text| Ok(text.parse()?)).collect()
}

async fn talk(overlay: &Overlay, address: Address) -> Result<Value, Failure> {
    let peer = overlay.dial(address).await?;
    let mut stream = overlay.open_stream(peer, ECHO).await?;
    stream.write_all(b"hello").await?;
    stream.shutdown().await?;
    let mut heard = String::new();
    stream.read_to_string(&mut heard).await?;
    Ok(json!({"heard": heard}))
}

async fn echo(overlay: Overlay) -> Result<(), Failure> {
    let mut incoming = overlay.accept(ECHO, 16)?;
    while let Some((_, stream)) = incoming.next().await {
        tokio::spawn(async move {
            let (mut reader, mut writer) = tokio::io::split(stream);
            tokio::io::copy(&mut reader, &mut writer).await?;
            writer.shutdown().await
        });
    }
    Ok(())
}

async fn tell(mut events: tokio::sync::broadcast::Receiver<OverlayEvent>) {
    while let Ok(event) = events.recv().await {
        println!("{}", told(&event));
    }
}

fn told(event: &OverlayEvent) -> Value {
    match event {
        OverlayEvent::Connected { peer, path, address, .. } => {
            let path = if *path == Path::Direct { "direct" } else { "relayed" };
            json!({"connected": peer.to_string(), "path": path, "address": address.to_string()})
        }
        OverlayEvent::Reachable(address) => json!({"reachable": address.to_string()}),
        OverlayEvent::HolePunched { peer } => json!({"punched": peer.to_string()}),
        OverlayEvent::StaysRelayed { peer, reason } => {
            json!({"stays_relayed": peer.to_string(), "reason": reason})
        }
        OverlayEvent::Discovered { peer } => json!({"discovered": peer.to_string()}),
        other => json!({"other": format!("{other:?}")}),
    }
}
