use std::time::Duration;

use futures::{AsyncReadExt as _, AsyncWriteExt as _, future};
use libp2p::core::muxing::StreamMuxerExt as _;
use libp2p::core::upgrade::InboundConnectionUpgrade as _;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt as _};

use super::*;

/// What the network between two peers takes before one of them must read.
const NETWORK: usize = 4096;

fn frame(kind: u8, flags: u16, stream: u32, length: u32) -> [u8; HEADER] {
    let mut frame = [0; HEADER];
    frame[1] = kind;
    frame[2..4].copy_from_slice(&flags.to_be_bytes());
    frame[4..8].copy_from_slice(&stream.to_be_bytes());
    frame[8..].copy_from_slice(&length.to_be_bytes());
    frame
}

/// A peer that writes a ping and then more than the network holds, while it reads nothing itself; whether all of it is taken.
async fn takes_everything<S>(ours: S, mut theirs: DuplexStream) -> bool
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let config = libp2p::yamux::Config::default();
    let mut muxer = config.upgrade_inbound(ours, "/yamux/1.0.0").await.unwrap();
    theirs.write_all(&frame(1, SYN, 1, 0)).await.unwrap(); // opens stream 1
    let stream = future::poll_fn(|cx| muxer.poll_inbound_unpin(cx)).await.unwrap();
    let (mut reader, mut writer) = stream.split();
    tokio::spawn(async move { future::poll_fn(|cx| muxer.poll_unpin(cx)).await });
    // More than the network takes: our side is left with a frame that it can't write.
    tokio::spawn(async move { writer.write_all(&[1; 16 * NETWORK]).await });
    tokio::spawn(async move {
        let mut buffer = [0; 1024];
        while matches!(reader.read(&mut buffer).await, Ok(1..)) {}
    });
    // The clock of these tests stands still while anything moves: this ends when our side is stuck.
    tokio::time::sleep(Duration::from_millis(1)).await;
    let flood = async {
        theirs.write_all(&frame(PING, SYN, 0, 7)).await.unwrap();
        theirs.write_all(&frame(DATA, 0, 1, 16 * NETWORK as u32)).await.unwrap();
        theirs.write_all(&[2; 16 * NETWORK]).await.unwrap();
    };
    tokio::time::timeout(Duration::from_secs(1), flood).await.is_ok()
}

#[tokio::test(start_paused = true)]
async fn a_ping_does_not_stop_the_reading_while_writes_are_stuck() {
    let (ours, theirs) = duplex(NETWORK);
    assert!(takes_everything(Pongs::new(ours.compat()), theirs).await);
}

/// Fails when yamux has mended it, and this module can go.
#[tokio::test(start_paused = true)]
async fn yamux_alone_stops_there() {
    let (ours, theirs) = duplex(NETWORK);
    assert!(!takes_everything(ours.compat(), theirs).await);
}

fn pair() -> (Pongs<Compat<DuplexStream>>, DuplexStream) {
    let (ours, theirs) = duplex(1 << 20);
    (Pongs::new(ours.compat()), theirs)
}

#[tokio::test]
async fn a_ping_is_answered_while_nothing_is_written() {
    let (mut ours, mut theirs) = pair();
    theirs.write_all(&frame(PING, SYN, 0, 42)).await.unwrap();
    let reading = tokio::spawn(async move { ours.read(&mut [0; 100]).await });
    let mut answer = [0; HEADER];
    theirs.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, frame(PING, ACK, 0, 42));
    drop(theirs);
    assert_eq!(reading.await.unwrap().unwrap(), 0, "of the ping nothing is given on");
}

#[tokio::test]
async fn an_answer_waits_for_the_end_of_a_frame() {
    let (mut ours, mut theirs) = pair();
    let header = frame(DATA, 0, 1, 4);
    ours.write_all(&header[..5]).await.unwrap();
    theirs.write_all(&frame(PING, SYN, 0, 9)).await.unwrap();
    let idle = future::poll_immediate(ours.read(&mut [0; 100])).await;
    assert!(idle.is_none());
    ours.write_all(&header[5..]).await.unwrap();
    ours.write_all(b"body").await.unwrap();
    ours.flush().await.unwrap();
    let mut written = [0; HEADER + 4 + HEADER];
    theirs.read_exact(&mut written).await.unwrap();
    assert_eq!(written[..], [&header[..], b"body", &frame(PING, ACK, 0, 9)].concat());
}

#[tokio::test]
async fn a_peer_that_pings_without_end_is_answered_the_last_ones() {
    let (mut ours, mut theirs) = pair();
    let header = frame(DATA, 0, 1, 1);
    ours.write_all(&header).await.unwrap();
    for n in 0..1000 {
        theirs.write_all(&frame(PING, SYN, 0, n)).await.unwrap();
    }
    theirs.write_all(&frame(1, 0, 1, 5)).await.unwrap();
    let mut next = [0; HEADER];
    ours.read_exact(&mut next).await.unwrap();
    assert_eq!(next, frame(1, 0, 1, 5));
    assert_eq!(ours.answers.len(), ANSWERS_MAX);
    assert_eq!(ours.answers.back(), Some(&999_u32.to_be_bytes()));
}

proptest! {
    /// However the bytes are cut, all frames but pings arrive as they were.
    #[test]
    fn other_frames_pass_unchanged(
        frames in prop::collection::vec((0u8..4, 0u16..16, any::<u32>(), prop::collection::vec(any::<u8>(), 0..40)), 0..20),
        cuts in prop::collection::vec(1usize..30, 1..20),
    ) {
        let (mut sent, mut expected) = (Vec::new(), Vec::<u8>::new());
        for (kind, flags, stream, content) in frames {
            let mut bytes = frame(kind, flags, stream, content.len() as u32).to_vec();
            if kind == DATA {
                bytes.extend(&content);
            }
            if kind != PING || flags & SYN == 0 {
                expected.extend(&bytes);
            }
            sent.extend(bytes);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        // Not cut short by the runtime, which makes a socket seem empty after many reads in a row.
        let received = runtime.block_on(tokio::task::unconstrained(async {
            let (mut ours, mut theirs) = pair();
            let mut received = Vec::<u8>::new();
            let mut buffer = [0; 64];
            let mut cuts = cuts.iter().cycle();
            let mut rest = &sent[..];
            while !rest.is_empty() {
                let (part, left) = rest.split_at(rest.len().min(*cuts.next().unwrap()));
                theirs.write_all(part).await.unwrap();
                rest = left;
                let room = *cuts.next().unwrap();
                while let Some(n) = future::poll_immediate(ours.read(&mut buffer[..room])).await {
                    received.extend(&buffer[..n.unwrap()]);
                }
            }
            received
        }));
        prop_assert_eq!(received, expected);
    }
}
