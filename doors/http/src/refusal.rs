//! Why a request is not answered with what it asks for.

use hyper::StatusCode;

/// A status that is no success, and a line that says why. Whoever asked may read it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{status}: {message}")]
pub struct Refusal {
    /// What HTTP calls it.
    pub status: StatusCode,
    /// Why.
    pub message: String,
    /// Seconds after which asking again may help.
    pub retry_after: Option<u32>,
    /// The length of what was asked for: said when a range lies outside of it.
    pub complete_length: Option<u64>,
}

impl Refusal {
    /// A refusal.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), retry_after: None, complete_length: None }
    }

    /// 400: the request makes no sense.
    pub fn malformed(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// 404: there is no such thing, or not for this node.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    /// 406: it is there, but not in that form.
    pub fn not_acceptable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_ACCEPTABLE, message)
    }

    /// 416: no byte of the range exists.
    pub fn outside(complete_length: u64) -> Self {
        let message = format!("the range lies outside of {complete_length} bytes");
        let status = StatusCode::RANGE_NOT_SATISFIABLE;
        Self { complete_length: Some(complete_length), ..Self::new(status, message) }
    }

    /// The same, with how many seconds to wait before asking again.
    #[must_use]
    pub fn retry_after(self, seconds: u32) -> Self {
        Self { retry_after: Some(seconds), ..self }
    }
}
