//! A web server that answers range requests as a test wants them answered.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A request as the server sees it.
#[derive(Clone, Debug)]
pub struct Request {
    pub path: String,
    /// First and last byte.
    pub range: (usize, usize),
}

/// Answers requests with whole responses, head and body; returns the base URL.
pub async fn server(answer: impl Fn(Request) -> Vec<u8> + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/pub/", listener.local_addr().unwrap());
    let answer = Arc::new(answer);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, Arc::clone(&answer)));
        }
    });
    base
}

async fn serve(mut stream: TcpStream, answer: Arc<impl Fn(Request) -> Vec<u8>>) {
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let Ok(byte) = stream.read_u8().await else { return };
            head.push(byte);
        }
        let head = String::from_utf8(head).unwrap();
        let path = head.split(' ').nth(1).unwrap().to_owned();
        let range = head
            .to_lowercase()
            .split("range: bytes=")
            .nth(1)
            .unwrap()
            .split("\r\n")
            .next()
            .unwrap()
            .to_owned();
        let (first, last) = range.split_once('-').unwrap();
        let request = Request { path, range: (first.parse().unwrap(), last.parse().unwrap()) };
        if stream.write_all(&answer(request)).await.is_err() {
            return;
        }
    }
}

pub fn partial(file: &[u8], (first, last): (usize, usize)) -> Vec<u8> {
    let (body, total) = (&file[first..=last], file.len());
    let head = format!(
        "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {first}-{last}/{total}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

pub fn whole(file: &[u8]) -> Vec<u8> {
    [format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", file.len()).as_bytes(), file].concat()
}
