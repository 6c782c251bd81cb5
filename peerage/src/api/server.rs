//! Runs a router on a listener, and stops it in time.

use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::guard::Guard;
use super::routes::router;
use crate::control::Control;

/// How long requests under way may take once the daemon stops.
const GRACE: Duration = Duration::from_millis(500);

/// Serves the API until `stop`.
///
/// # Errors
/// The listener's.
pub async fn serve(
    listener: TcpListener,
    control: std::sync::Arc<dyn Control>,
    guard: Guard,
    stop: CancellationToken,
) -> std::io::Result<()> {
    serve_router(listener, router(control, guard, stop.clone()), stop).await
}

/// Serves any router until `stop`; what is still under way half a second later is cut off.
///
/// # Errors
/// The listener's.
pub async fn serve_router(
    listener: TcpListener,
    router: Router,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let graceful = axum::serve(listener, router).with_graceful_shutdown(stop.clone().cancelled_owned());
    let deadline = async {
        stop.cancelled().await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        ended = graceful => ended,
        () = deadline => Ok(()),
    }
}
