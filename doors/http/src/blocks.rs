//! Blocks of a backend, with a limit to how long anybody waits for them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cid::Cid;
use hyper::StatusCode;
use tokio::time::{Instant, timeout_at};
use tokio_util::task::AbortOnDropHandle;

use crate::Refusal;
use crate::backend::{Backend, RETRY_SECONDS, Tried, Unavailable};

/// Blocks that are fetched ahead of the one that is sent.
const AHEAD: usize = 6;

/// The backend, as one request sees it.
#[derive(Debug)]
pub(crate) struct Blocks<B> {
    backend: Arc<B>,
    patience: Patience,
    only_here: bool,
}

#[derive(Clone, Copy, Debug)]
enum Patience {
    /// All of it until then.
    Until(Instant),
    /// So long for each.
    Each(Duration),
}

impl<B> Clone for Blocks<B> {
    fn clone(&self) -> Self {
        Self { backend: self.backend.clone(), ..*self }
    }
}

impl<B: Backend> Blocks<B> {
    /// Whatever is asked for in all has to come within `patience`.
    pub(crate) fn new(backend: Arc<B>, patience: Duration, only_here: bool) -> Self {
        Self { backend, patience: Patience::Until(Instant::now() + patience), only_here }
    }

    /// The same for an answer that has begun: each block may take that long.
    pub(crate) fn each(&self, patience: Duration) -> Self {
        Self { patience: Patience::Each(patience), ..self.clone() }
    }

    pub(crate) fn backend(&self) -> &B {
        &self.backend
    }

    /// A block.
    ///
    /// # Errors
    /// 404, 410, 412, 451, 500, 502, 504: with what was tried.
    pub(crate) async fn get(&self, cid: &Cid) -> Result<Bytes, Refusal> {
        if let Some(inlined) = peerage_dag::inlined(cid) {
            return Ok(Bytes::copy_from_slice(inlined));
        }
        if self.only_here && !self.backend.is_here(cid) {
            return Err(Refusal::new(StatusCode::PRECONDITION_FAILED, format!("{cid} is not here")));
        }
        let tried = Tried::default();
        self.wait(&format!("block {cid}"), &tried, self.backend.block(cid, &tried)).await
    }

    /// Waits no longer than is due.
    ///
    /// # Errors
    /// As [`Blocks::get`].
    pub(crate) async fn wait<T>(
        &self,
        what: &str,
        tried: &Tried,
        waited_for: impl Future<Output = Result<T, Unavailable>>,
    ) -> Result<T, Refusal> {
        let began = Instant::now();
        let until = match self.patience {
            Patience::Until(deadline) => deadline,
            Patience::Each(patience) => began + patience,
        };
        if let Ok(result) = timeout_at(until, waited_for).await {
            return result.map_err(Refusal::from);
        }
        let waited = began.elapsed().as_secs();
        let message = format!("the {what} did not come in {waited} s: {tried}");
        Err(Refusal::new(StatusCode::GATEWAY_TIMEOUT, message).retry_after(RETRY_SECONDS))
    }
}

/// Blocks that are fetched ahead of those that are needed.
#[derive(Debug)]
pub(crate) struct Ahead<B> {
    blocks: Blocks<B>,
    fetches: Vec<(Cid, AbortOnDropHandle<Result<Bytes, Refusal>>)>,
}

impl<B: Backend> Ahead<B> {
    pub(crate) fn new(blocks: &Blocks<B>) -> Self {
        Self { blocks: blocks.clone(), fetches: Vec::new() }
    }

    /// A block, while those that are needed next are on their way.
    ///
    /// # Errors
    /// As [`Blocks::get`].
    pub(crate) async fn get<'a>(
        &mut self,
        cid: &Cid,
        upcoming: impl Iterator<Item = &'a Cid>,
    ) -> Result<Bytes, Refusal> {
        let next: Vec<_> = upcoming.filter(|next| *next != cid).take(AHEAD).copied().collect();
        self.fetches.retain(|(own, _)| own == cid || next.contains(own));
        for next in next {
            if !self.fetches.iter().any(|(own, _)| *own == next) {
                let blocks = self.blocks.clone();
                let fetch = tokio::spawn(async move { blocks.get(&next).await });
                self.fetches.push((next, AbortOnDropHandle::new(fetch)));
            }
        }
        let Some(at) = self.fetches.iter().position(|(own, _)| own == cid) else {
            return self.blocks.get(cid).await;
        };
        self.fetches.swap_remove(at).1.await.unwrap_or_else(|_| {
            Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "the task that fetches blocks ended"))
        })
    }
}
