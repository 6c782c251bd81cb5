//! Runs a router on a listener, and stops it in time.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::guard::Guard;
use super::routes::router;
use crate::control::Control;

/// How long requests under way may take once the daemon stops.
const GRACE: Duration = Duration::from_millis(500);
/// Connections at a time; more wait to be accepted.
const CONNECTIONS_MAX: usize = 256;
/// How long the head of a request may take, also the next one of a connection: whoever is silent makes room.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// Pause after the system gave no connection: it may be out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves the API until `stop`.
pub async fn serve(listener: TcpListener, control: Arc<dyn Control>, guard: Guard, stop: CancellationToken) {
    serve_router(listener, router(control, guard, stop.clone()), stop).await;
}

/// Serves any router until `stop`; what is still under way half a second later is cut off.
pub async fn serve_router(listener: TcpListener, router: Router, stop: CancellationToken) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        let (stream, place) = tokio::select! {
            () = stop.cancelled() => break,
            // Those that ended are forgotten.
            Some(_) = connections.join_next() => continue,
            accepted = accept(&listener, &places) => accepted,
        };
        let (router, stop) = (router.clone(), stop.clone());
        connections.spawn(async move {
            if let Err(error) = converse(stream, router, stop).await {
                debug!(%error, "a connection to the API ended");
            }
            drop(place);
        });
    }
    drop(listener);
    let ended = async { while connections.join_next().await.is_some() {} };
    // What is left is cut off with the set.
    let _ = tokio::time::timeout(GRACE, ended).await;
}

async fn accept(listener: &TcpListener, places: &Arc<Semaphore>) -> (TcpStream, impl Send + use<>) {
    let place = places.clone().acquire_owned().await;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return (stream, place),
            Err(error) => {
                debug!(%error, "no connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn converse(stream: TcpStream, router: Router, stop: CancellationToken) -> hyper::Result<()> {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME);
    let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    tokio::pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    }
}
