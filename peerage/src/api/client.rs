//! The daemon, seen from the command line: a [`Control`] over HTTP on loopback, around any proxy.

use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use reqwest::{Method, RequestBuilder, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::mpsc;

use super::{Endpoint, PREFIX};
use crate::control::{Answer, Control, Reader, Updates};
use crate::errors::no_such_transfer;
use crate::model::{
    AddRequest, Added, Begun, Event, FileView, Limits, PeerView, PriorityRule, Problem, StatsView,
    TrackerView, TransferId, TransferRef, TransferView,
};

/// How long the daemon may take to accept a connection: it is on this machine.
const CONNECT_TIME: Duration = Duration::from_secs(5);
/// How long it may take to begin an answer; deleting many files is the longest.
const ANSWER_TIME: Duration = Duration::from_secs(30);
/// A line of events is never longer: a daemon of ours sends none.
const EVENT_LINE_MAX: usize = 4 << 20;
/// Chunks of a file, and events, that wait for a slow reader.
const WAITING: usize = 16;

/// A connection to the daemon.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    endpoint: Endpoint,
}

impl Client {
    /// Connects when it is first used.
    ///
    /// # Errors
    /// The HTTP library cannot start.
    pub fn new(endpoint: Endpoint) -> Result<Self, Problem> {
        let http = reqwest::Client::builder()
            .no_proxy()
            .connect_timeout(CONNECT_TIME)
            // Loopback is plain: no certificate is ever asked for, so none are loaded.
            .tls_certs_only([])
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| unreachable(&error))?;
        Ok(Self { http, endpoint })
    }

    /// The daemon it talks to.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("http://{}{PREFIX}{path}", self.endpoint.address);
        self.http.request(method, url).bearer_auth(&self.endpoint.token)
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Problem> {
        let response = self.sent(self.request(Method::GET, path)).await?;
        response.json().await.map_err(|error| garbled(&error))
    }

    async fn post(&self, path: &str, body: &impl Serialize) -> Result<Response, Problem> {
        self.sent(self.request(Method::POST, path).json(body)).await
    }

    /// Sends a request; an answer that is not a success becomes the problem it holds. Only the head of the answer must come in time: bodies
    /// may last.
    async fn sent(&self, request: RequestBuilder) -> Result<Response, Problem> {
        let response = match tokio::time::timeout(ANSWER_TIME, request.send()).await {
            Ok(response) => response.map_err(|error| unreachable(&error))?,
            Err(_) => {
                let pid = self.endpoint.pid;
                let told = format!("the daemon does not answer: is process {pid} stuck?");
                let hint = format!(
                    "`kill -CONT {pid}` wakes it if it was stopped, `kill -9 {pid}` ends it; nothing verified is lost"
                );
                return Err(Problem::new("unreachable", told).hint(hint));
            }
        };
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        Err(response
            .json::<Problem>()
            .await
            .unwrap_or_else(|_| Problem::new("daemon", format!("the daemon answered with status {status}"))))
    }

    /// A request that says nothing but its path.
    async fn act(&self, id: TransferId, verb: &str) -> Result<(), Problem> {
        self.post(&format!("/transfers/{id}/{verb}"), &serde_json::json!({})).await.map(drop)
    }
}

fn unreachable(error: &reqwest::Error) -> Problem {
    with_causes("unreachable", "the daemon cannot be reached", error).hint("`peerage up` starts it")
}

fn garbled(error: &reqwest::Error) -> Problem {
    with_causes("daemon", "the daemon's answer is not understood", error)
        .hint("it may be of another version: end it with `peerage down` and start it anew")
}

fn with_causes(code: &str, message: &str, error: &(dyn std::error::Error + 'static)) -> Problem {
    let causes = std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string);
    Problem { causes: causes.collect(), ..Problem::new(code, message) }
}

impl Control for Client {
    fn add(&self, request: AddRequest) -> Answer<'_, Added> {
        Box::pin(async move {
            let response = self.post("/transfers", &request).await?;
            response.json().await.map_err(|error| garbled(&error))
        })
    }
    fn find<'a>(&'a self, which: &'a TransferRef) -> Answer<'a, TransferId> {
        Box::pin(async move {
            let view: TransferView =
                self.get(&format!("/transfers/{which}")).await.map_err(|problem: Problem| {
                    if problem.is_missing_transfer() { no_such_transfer(which) } else { problem }
                })?;
            Ok(view.id)
        })
    }
    fn list(&self) -> Answer<'_, Vec<TransferView>> {
        Box::pin(self.get("/transfers"))
    }
    fn view(&self, id: TransferId) -> Answer<'_, TransferView> {
        Box::pin(async move { self.get(&format!("/transfers/{id}")).await })
    }
    fn peers(&self, id: TransferId) -> Answer<'_, Vec<PeerView>> {
        Box::pin(async move { self.get(&format!("/transfers/{id}/peers")).await })
    }
    fn files(&self, id: TransferId) -> Answer<'_, Vec<FileView>> {
        Box::pin(async move { self.get(&format!("/transfers/{id}/files")).await })
    }
    fn trackers(&self, id: TransferId) -> Answer<'_, Vec<TrackerView>> {
        Box::pin(async move { self.get(&format!("/transfers/{id}/trackers")).await })
    }
    fn torrent(&self, id: TransferId) -> Answer<'_, Vec<u8>> {
        Box::pin(async move {
            let response = self.sent(self.request(Method::GET, &format!("/transfers/{id}/torrent"))).await?;
            Ok(response.bytes().await.map_err(|error| garbled(&error))?.into())
        })
    }
    fn pause(&self, id: TransferId) -> Answer<'_, ()> {
        Box::pin(self.act(id, "pause"))
    }
    fn resume(&self, id: TransferId) -> Answer<'_, ()> {
        Box::pin(self.act(id, "resume"))
    }
    fn remove(&self, id: TransferId, delete_files: bool) -> Answer<'_, ()> {
        Box::pin(async move {
            let path = format!("/transfers/{id}?delete_files={delete_files}");
            self.sent(self.request(Method::DELETE, &path)).await.map(drop)
        })
    }
    fn verify(&self, id: TransferId) -> Answer<'_, u32> {
        Box::pin(async move {
            let response = self.post(&format!("/transfers/{id}/verify"), &serde_json::json!({})).await?;
            let begun: Begun = response.json().await.map_err(|error| garbled(&error))?;
            Ok(begun.check)
        })
    }
    fn limit(&self, id: Option<TransferId>, limits: Limits) -> Answer<'_, ()> {
        Box::pin(async move {
            let path = match id {
                Some(id) => format!("/transfers/{id}/limits"),
                None => "/limits".to_owned(),
            };
            self.post(&path, &limits).await.map(drop)
        })
    }
    fn set_priorities(&self, id: TransferId, rules: Vec<PriorityRule>) -> Answer<'_, ()> {
        Box::pin(async move { self.post(&format!("/transfers/{id}/priorities"), &rules).await.map(drop) })
    }
    fn add_peers(&self, id: TransferId, peers: Vec<SocketAddr>) -> Answer<'_, ()> {
        Box::pin(async move { self.post(&format!("/transfers/{id}/peers"), &peers).await.map(drop) })
    }
    fn read(&self, id: TransferId, file: u32, range: Range<u64>) -> Answer<'_, Reader> {
        Box::pin(async move {
            if range.is_empty() {
                return Ok(Box::new(tokio::io::empty()) as Reader);
            }
            let request = self
                .request(Method::GET, &format!("/transfers/{id}/files/{file}/content"))
                .header("range", format!("bytes={}-{}", range.start, range.end - 1));
            let mut response = self.sent(request).await?;
            let (sender, chunks) = mpsc::channel(WAITING);
            tokio::spawn(async move {
                loop {
                    let chunk = response.chunk().await.map_err(io::Error::other).transpose();
                    let Some(chunk) = chunk else { return };
                    let failed = chunk.is_err();
                    if sender.send(chunk).await.is_err() || failed {
                        return;
                    }
                }
            });
            Ok(Box::new(Chunks { chunks, current: Bytes::new() }) as Reader)
        })
    }
    fn stats(&self) -> Answer<'_, StatsView> {
        Box::pin(self.get("/stats"))
    }
    fn watch(&self, id: Option<TransferId>, every: Duration) -> Answer<'_, Updates> {
        Box::pin(async move {
            let of = id.map(|id| format!("/transfers/{id}")).unwrap_or_default();
            let path = format!("{of}/events?every_ms={}", every.as_millis());
            let response = self.sent(self.request(Method::GET, &path)).await?;
            let (sender, receiver) = mpsc::channel(WAITING);
            tokio::spawn(async move {
                if let Err(problem) = forward(response, &sender).await {
                    // Nobody listens any more: nobody wants to know.
                    let _ = sender.send(Err(problem)).await;
                }
            });
            Ok(receiver)
        })
    }
    fn stop(&self) -> Answer<'_, ()> {
        Box::pin(async move { self.post("/stop", &serde_json::json!({})).await.map(drop) })
    }
}

/// Passes the lines of an event stream on until it ends or nobody listens.
async fn forward(mut response: Response, out: &mpsc::Sender<Result<Event, Problem>>) -> Result<(), Problem> {
    let mut waiting = Vec::new();
    loop {
        let chunk = tokio::select! {
            () = out.closed() => return Ok(()),
            chunk = response.chunk() => chunk.map_err(|error| unreachable(&error))?,
        };
        let Some(chunk) = chunk else { return Ok(()) };
        waiting.extend_from_slice(&chunk);
        let mut rest = &waiting[..];
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let (line, tail) = rest.split_at(end);
            rest = tail.get(1..).unwrap_or_default();
            let event: Event = serde_json::from_slice(line).map_err(|error| {
                with_causes("daemon", "the daemon sent an event that is not understood", &error)
            })?;
            let update = match event {
                Event::Error { problem } => Err(problem),
                event => Ok(event),
            };
            if out.send(update).await.is_err() {
                return Ok(());
            }
        }
        if rest.len() > EVENT_LINE_MAX {
            return Err(Problem::new("daemon", "the daemon sent an event without an end"));
        }
        let done = waiting.len() - rest.len();
        waiting.drain(..done);
    }
}

/// Reads what arrives in chunks.
struct Chunks {
    chunks: mpsc::Receiver<io::Result<Bytes>>,
    current: Bytes,
}

impl AsyncRead for Chunks {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.current.is_empty() {
            match ready!(this.chunks.poll_recv(context)) {
                None => return Poll::Ready(Ok(())),
                Some(chunk) => this.current = chunk?,
            }
        }
        let fits = this.current.len().min(into.remaining());
        into.put_slice(&this.current.split_to(fits));
        Poll::Ready(Ok(()))
    }
}
