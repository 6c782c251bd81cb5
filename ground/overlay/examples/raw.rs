//! The floor for everything that goes over the overlay: one stream, as fast as it goes, both ends in this process or in two.
//!
//! `cargo run --release -p peerage-overlay --example raw -- MIB` runs both ends here. `raw serve` prints its address and sends to whoever
//! asks; `raw fetch ADDRESS MIB` asks. The fetching end prints its rate and CPU seconds per GiB.

#![allow(clippy::print_stdout, reason = "a program for people")]

use std::time::Instant;

use peerage_identity::NodeKey;
use peerage_overlay::{Address, Overlay, OverlayConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

const PROTOCOL: &str = "/peerage/raw/1";
const CHUNK: usize = 256 << 10;

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["serve"] => {
            let server = node(1).await?;
            println!("{}", server.listening()[0].with_peer(server.id()));
            serve(&server).await
        }
        ["fetch", address, mib] => fetch(address.parse()?, mib.parse()?).await,
        [mib] => {
            let server = node(1).await?;
            let address = server.listening()[0].with_peer(server.id());
            tokio::spawn(async move { serve(&server).await });
            fetch(address, mib.parse()?).await
        }
        _ => Err("raw MIB | raw serve | raw fetch ADDRESS MIB".into()),
    }
}

async fn node(seed: u8) -> Result<Overlay, Failure> {
    let mut config = OverlayConfig::new(NodeKey::from_seed([seed; 32]));
    config.listen = vec!["/ip4/127.0.0.1/tcp/0".parse()?];
    Ok(Overlay::start(config, CancellationToken::new()).await?)
}

async fn serve(overlay: &Overlay) -> Result<(), Failure> {
    let mut incoming = overlay.accept(PROTOCOL, 16)?;
    while let Some((_, mut stream)) = incoming.next().await {
        tokio::spawn(async move {
            let mut left = stream.read_u64().await?;
            let chunk = vec![7; CHUNK];
            while left > 0 {
                let part = &chunk[..CHUNK.min(usize::try_from(left).unwrap_or(CHUNK))];
                stream.write_all(part).await?;
                left -= part.len() as u64;
            }
            stream.shutdown().await
        });
    }
    Ok(())
}

async fn fetch(address: Address, mib: u64) -> Result<(), Failure> {
    let overlay = node(2).await?;
    let peer = overlay.dial(address).await?;
    let mut stream = overlay.open_stream(peer, PROTOCOL).await?;
    let (began, cpu_before) = (Instant::now(), cpu_seconds()?);
    stream.write_u64(mib << 20).await?;
    stream.flush().await?;
    let (mut read, mut chunk) = (0, vec![0; CHUNK]);
    while read < mib << 20 {
        match stream.read(&mut chunk).await? {
            0 => return Err("the stream ended early".into()),
            n => read += n as u64,
        }
    }
    let (seconds, gib) = (began.elapsed().as_secs_f64(), mib as f64 / 1024.0);
    let cpu = (cpu_seconds()? - cpu_before) / gib;
    println!("{:.0} MiB/s, {cpu:.2} CPU s/GiB in this process", mib as f64 / seconds);
    Ok(())
}

/// What this process has used, user and system.
fn cpu_seconds() -> Result<f64, Failure> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Ok(ticks as f64 / 100.0)
}
