//! `get --stream`: one file over HTTP on loopback, with ranges, while it downloads.
//!
//! Players cannot send a token in a header, so it is part of the URL. The server lives as long as the command.

use std::sync::Arc;

use anyhow::{Context, Result};
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use data_encoding::HEXLOWER;
use rand::TryRng;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::api::{FileBody, file_response, guard, serve_router};
use crate::control::Control;
use crate::model::{FileView, TransferId};

/// A server for one file.
#[derive(Debug)]
pub struct Stream {
    url: String,
    stop: CancellationToken,
    server: JoinHandle<()>,
}

#[derive(Clone)]
struct Served {
    control: Arc<dyn Control>,
    body: Arc<FileBody>,
    /// The one path that is answered.
    path: Arc<str>,
}

impl Stream {
    /// Listens on any free port of loopback.
    ///
    /// # Errors
    /// The system gives no port or no random bytes.
    pub async fn open(
        control: Arc<dyn Control>,
        transfer: TransferId,
        file: FileView,
        stop: CancellationToken,
    ) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.context("listen on loopback")?;
        let address = listener.local_addr().context("listen on loopback")?;
        let mut secret = [0; 16];
        rand::rngs::SysRng.try_fill_bytes(&mut secret).context("make a secret for the stream")?;
        let path = format!("/{}/{}", HEXLOWER.encode(&secret), url_name(&file));
        let url = format!("http://{address}{path}");
        let served = Served { control, body: Arc::new(FileBody { transfer, file }), path: path.into() };
        let router = Router::new().fallback(answer).with_state(served);
        let stopped = stop.clone();
        let server = tokio::spawn(serve_router(listener, router, stopped));
        Ok(Self { url, stop, server })
    }

    /// What a player opens.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Ends the server.
    pub async fn close(self) {
        self.stop.cancel();
        // It was told to end and reports its own failure.
        let _ = self.server.await;
    }
}

async fn answer(State(served): State<Served>, request: Request) -> Response {
    if let Err(refusal) = guard::is_local(request.headers()) {
        return refusal.into_response();
    }
    if request.uri().path() != &*served.path {
        return StatusCode::NOT_FOUND.into_response();
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    let served_file = file_response(&*served.control, &served.body, request.method(), request.headers());
    served_file.await.unwrap_or_else(IntoResponse::into_response)
}

/// The last part of the file's path, for the player's title; what is not plain ASCII is left out of the URL.
fn url_name(file: &FileView) -> String {
    let name = file.path.as_path().file_name().unwrap_or_default().to_string_lossy();
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_') { c } else { '_' };
    name.chars().map(plain).collect()
}
