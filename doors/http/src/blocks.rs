//! Blocks of a backend, with a limit to how long anybody waits for them.

use std::collections::VecDeque;
use std::ops::Range;
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
/// Blocks that may wait to be walked: a small tree may link to the same blocks over and over.
const WAITING_MAX: usize = 1 << 16;

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

/// A walk over blocks, depth first and in order, that fetches ahead.
#[derive(Debug)]
pub(crate) struct Walk<B> {
    blocks: Blocks<B>,
    waiting: VecDeque<Waiting>,
}

/// A block that is to be visited.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) cid: Cid,
    /// Blocks above it.
    pub(crate) depth: usize,
    /// The bytes of the file that it holds, if it is part of one.
    pub(crate) span: Range<u64>,
    fetch: Option<AbortOnDropHandle<Result<Bytes, Refusal>>>,
}

impl Waiting {
    pub(crate) fn new(cid: Cid, depth: usize, span: Range<u64>) -> Self {
        Self { cid, depth, span, fetch: None }
    }
}

impl<B: Backend> Walk<B> {
    pub(crate) fn new(blocks: Blocks<B>) -> Self {
        Self { blocks, waiting: VecDeque::new() }
    }

    /// These come next, in their order.
    ///
    /// # Errors
    /// 422: too many.
    pub(crate) fn push(&mut self, children: Vec<Waiting>) -> Result<(), Refusal> {
        if self.waiting.len() + children.len() > WAITING_MAX {
            return Err(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "the tree is too wide"));
        }
        children.into_iter().rev().for_each(|child| self.waiting.push_front(child));
        Ok(())
    }

    /// The next block; `None`: there is none.
    pub(crate) async fn next(&mut self) -> Option<Result<(Waiting, Bytes), Refusal>> {
        for waiting in self.waiting.iter_mut().take(AHEAD).filter(|waiting| waiting.fetch.is_none()) {
            let (blocks, cid) = (self.blocks.clone(), waiting.cid);
            let fetch = tokio::spawn(async move { blocks.get(&cid).await });
            waiting.fetch = Some(AbortOnDropHandle::new(fetch));
        }
        let mut next = self.waiting.pop_front()?;
        let fetched = match next.fetch.take() {
            Some(fetch) => fetch.await.unwrap_or_else(|_| {
                Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "the task that fetches blocks ended"))
            }),
            None => self.blocks.get(&next.cid).await,
        };
        Some(fetched.map(|block| (next, block)))
    }
}
