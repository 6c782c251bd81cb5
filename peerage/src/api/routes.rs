//! What can be asked, path by path. Each handler is a call of [`Control`] and nothing more.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router, middleware};
use peerage_bittorrent::metainfo::METAINFO_LENGTH_MAX;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::{OpenApi, Ref, RefOr, ResponseBuilder};
use utoipa::{IntoParams, Modify, OpenApi as _, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::content::{FileBody, file_response};
use super::guard::{self, Guard};
use super::refusal::Refusal;
use super::{events, metrics};
use crate::control::Control;
use crate::model::{
    AddRequest, Added, Begun, Event, FileView, Limits, PeerView, PriorityRule, Problem, StatsView,
    TrackerView, TransferId, TransferRef, TransferView,
};

/// Bytes of a request's body, but for what is added …
const BODY_MAX: usize = 256 * 1024;
/// … which may hold the largest .torrent file, in base64.
const ADD_BODY_MAX: usize = METAINFO_LENGTH_MAX / 3 * 4 + BODY_MAX;

#[derive(Clone)]
struct Api {
    control: Arc<dyn Control>,
    stop: CancellationToken,
}

type Reply<T> = Result<Json<T>, Refusal>;
type Which = Result<Path<String>, PathRejection>;
type Body<T> = Result<Json<T>, JsonRejection>;

/// The API of a node. `stop` ends event streams, and is cancelled by the `stop` request.
pub fn router(control: Arc<dyn Control>, guard: Guard, stop: CancellationToken) -> Router {
    let (router, document) = described().split_for_parts();
    let document = completed(document);
    router
        .route("/api/v1/openapi.json", axum::routing::get(async move || Json(document)))
        .route("/metrics", axum::routing::get(scrape))
        .method_not_allowed_fallback(async || {
            Refusal(Problem::new("wrong_method", "this path is there, but not for this method"))
        })
        .fallback(async || Refusal(Problem::new("no_such_path", "there is nothing at this path")))
        .layer(middleware::from_fn_with_state(guard, guard::check))
        .with_state(Api { control, stop })
}

/// The description of the API, made of its types.
pub fn open_api() -> OpenApi {
    completed(described().into_openapi())
}

/// Adds what holds for every path: how it may be refused before it is looked at, and words for each status.
fn completed(mut document: OpenApi) -> OpenApi {
    for item in document.paths.paths.values_mut() {
        let operations = [(&mut item.get, false), (&mut item.post, true), (&mut item.delete, false)];
        for (operation, post) in operations {
            let Some(operation) = operation else { continue };
            let mut refusals = vec![StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN];
            refusals.extend(post.then_some(StatusCode::UNSUPPORTED_MEDIA_TYPE));
            let responses = &mut operation.responses.responses;
            for status in refusals {
                let problem = Ref::from_schema_name("Problem");
                let body = ContentBuilder::new().schema(Some(problem)).build();
                let response = ResponseBuilder::new().content("application/json", body).build();
                responses.entry(status.as_str().to_owned()).or_insert(response.into());
            }
            for (status, response) in responses {
                let words = status.parse().ok().and_then(|code: StatusCode| code.canonical_reason());
                if let RefOr::T(response) = response
                    && response.description.is_empty()
                {
                    response.description = words.unwrap_or("Done").to_owned();
                }
            }
        }
    }
    document
}

fn described() -> OpenApiRouter<Api> {
    let add = OpenApiRouter::new().routes(routes!(list, add)).layer(DefaultBodyLimit::max(ADD_BODY_MAX));
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(stats))
        .routes(routes!(show, remove))
        .routes(routes!(peers, name_peers))
        .routes(routes!(files))
        .routes(routes!(content))
        .routes(routes!(trackers))
        .routes(routes!(torrent))
        .routes(routes!(pause))
        .routes(routes!(resume))
        .routes(routes!(verify))
        .routes(routes!(prioritise))
        .routes(routes!(limit_transfer))
        .routes(routes!(limit_node))
        .routes(routes!(watch_transfer))
        .routes(routes!(watch_all))
        .routes(routes!(stop))
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .merge(add)
}

#[derive(utoipa::OpenApi)]
#[openapi(
    info(title = "Peerage", description = "The daemon of this machine: what it shares and fetches."),
    components(schemas(Event)),
    modifiers(&Security)
)]
struct Document;

/// Every request needs the token.
struct Security;

impl Modify for Security {
    fn modify(&self, document: &mut OpenApi) {
        use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
        let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        if let Some(components) = document.components.as_mut() {
            components.add_security_scheme("token", scheme);
        }
        document.security = Some(vec![SecurityRequirement::new("token", [] as [&str; 0])]);
    }
}

impl Api {
    /// The transfer that a path names, by number or by the beginning of an info hash.
    async fn find(&self, which: Which) -> Result<TransferId, Refusal> {
        let Path(text) = which?;
        let which: TransferRef = text.parse().map_err(|error| Problem::new("no_such_transfer", error))?;
        Ok(self.control.find(&which).await?)
    }
}

/// Numbers of the whole node.
#[utoipa::path(get, path = "/api/v1/stats", responses((status = OK, body = StatsView)))]
async fn stats(State(api): State<Api>) -> Reply<StatsView> {
    Ok(Json(api.control.stats().await?))
}

/// All transfers.
#[utoipa::path(get, path = "/api/v1/transfers", responses((status = OK, body = Vec<TransferView>)))]
async fn list(State(api): State<Api>) -> Reply<Vec<TransferView>> {
    Ok(Json(api.control.list().await?))
}

/// Share or get something. What is there already under the same info hash is taken up: status 200 instead of 201.
#[utoipa::path(post, path = "/api/v1/transfers", request_body = AddRequest,
    responses((status = CREATED, body = Added), (status = OK, body = Added), (status = UNPROCESSABLE_ENTITY, body = Problem)))]
async fn add(State(api): State<Api>, body: Body<AddRequest>) -> Result<(StatusCode, Json<Added>), Refusal> {
    let Json(request) = body?;
    is_absolute(&request)?;
    let added = api.control.add(request).await?;
    Ok((if added.existing { StatusCode::OK } else { StatusCode::CREATED }, Json(added)))
}

/// Refuses a path that would lead to wherever the daemon happens to run.
fn is_absolute(request: &AddRequest) -> Result<(), Problem> {
    let path = match request {
        AddRequest::Share(share) => share.path.as_path(),
        AddRequest::Get(get) => get.folder.as_path(),
    };
    if path.is_absolute() {
        return Ok(());
    }
    Err(Problem::new("refused", format!("the path {path:?} is not absolute"))
        .hint("the daemon does not know from where it is meant: begin it with /"))
}

/// One transfer.
#[utoipa::path(get, path = "/api/v1/transfers/{which}", params(("which" = String, Path, description = "Number, or beginning of an info hash")),
    responses((status = OK, body = TransferView), (status = NOT_FOUND, body = Problem)))]
async fn show(State(api): State<Api>, which: Which) -> Reply<TransferView> {
    let id = api.find(which).await?;
    Ok(Json(api.control.view(id).await?))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Removal {
    /// Delete the files of a download, too.
    #[serde(default)]
    delete_files: bool,
}

/// Forget a transfer.
#[utoipa::path(delete, path = "/api/v1/transfers/{which}", params(("which" = String, Path), Removal),
    responses((status = NO_CONTENT), (status = CONFLICT, body = Problem)))]
async fn remove(
    State(api): State<Api>,
    which: Which,
    query: Result<Query<Removal>, QueryRejection>,
) -> Result<StatusCode, Refusal> {
    let id = api.find(which).await?;
    api.control.remove(id, query?.delete_files).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The connected peers of a transfer.
#[utoipa::path(get, path = "/api/v1/transfers/{which}/peers", params(("which" = String, Path)),
    responses((status = OK, body = Vec<PeerView>)))]
async fn peers(State(api): State<Api>, which: Which) -> Reply<Vec<PeerView>> {
    let id = api.find(which).await?;
    Ok(Json(api.control.peers(id).await?))
}

/// Name peers of a transfer.
#[utoipa::path(post, path = "/api/v1/transfers/{which}/peers", params(("which" = String, Path)),
    request_body = Vec<String>, responses((status = NO_CONTENT)))]
async fn name_peers(
    State(api): State<Api>,
    which: Which,
    body: Body<Vec<std::net::SocketAddr>>,
) -> Result<StatusCode, Refusal> {
    let id = api.find(which).await?;
    api.control.add_peers(id, body?.0).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The files of a transfer; empty before metadata.
#[utoipa::path(get, path = "/api/v1/transfers/{which}/files", params(("which" = String, Path)),
    responses((status = OK, body = Vec<FileView>)))]
async fn files(State(api): State<Api>, which: Which) -> Reply<Vec<FileView>> {
    let id = api.find(which).await?;
    Ok(Json(api.control.files(id).await?))
}

/// A file's bytes, as they become available; ranges are served.
#[utoipa::path(get, path = "/api/v1/transfers/{which}/files/{index}/content",
    params(("which" = String, Path), ("index" = u32, Path)),
    responses((status = OK, content_type = "application/octet-stream"), (status = PARTIAL_CONTENT), (status = RANGE_NOT_SATISFIABLE)))]
async fn content(
    State(api): State<Api>,
    path: Result<Path<(String, u32)>, PathRejection>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let Path((which, index)) = path?;
    let transfer = api.find(Ok(Path(which))).await?;
    let file = api.control.files(transfer).await?.into_iter().find(|file| file.index == index);
    let Some(file) = file else {
        // The node knows whether the file or the metadata is missing.
        api.control.read(transfer, index, 0..0).await?;
        return Err(Refusal(Problem::new("no_such_file", "there is no such file")));
    };
    file_response(&*api.control, &FileBody { transfer, file }, &method, &headers).await
}

/// The trackers of a transfer.
#[utoipa::path(get, path = "/api/v1/transfers/{which}/trackers", params(("which" = String, Path)),
    responses((status = OK, body = Vec<TrackerView>)))]
async fn trackers(State(api): State<Api>, which: Which) -> Reply<Vec<TrackerView>> {
    let id = api.find(which).await?;
    Ok(Json(api.control.trackers(id).await?))
}

/// The transfer as a .torrent file.
#[utoipa::path(get, path = "/api/v1/transfers/{which}/torrent", params(("which" = String, Path)),
    responses((status = OK, content_type = "application/x-bittorrent"), (status = CONFLICT, body = Problem)))]
async fn torrent(State(api): State<Api>, which: Which) -> Result<Response, Refusal> {
    let id = api.find(which).await?;
    let bytes = api.control.torrent(id).await?;
    Ok(([(CONTENT_TYPE, "application/x-bittorrent")], bytes).into_response())
}

/// Stop a transfer.
#[utoipa::path(post, path = "/api/v1/transfers/{which}/pause", params(("which" = String, Path)), responses((status = NO_CONTENT)))]
async fn pause(State(api): State<Api>, which: Which) -> Result<StatusCode, Refusal> {
    let id = api.find(which).await?;
    api.control.pause(id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Start a transfer again.
#[utoipa::path(post, path = "/api/v1/transfers/{which}/resume", params(("which" = String, Path)), responses((status = NO_CONTENT)))]
async fn resume(State(api): State<Api>, which: Which) -> Result<StatusCode, Refusal> {
    let id = api.find(which).await?;
    api.control.resume(id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Compare every byte with its hash; the result is the transfer's `check` of the number that is answered.
#[utoipa::path(post, path = "/api/v1/transfers/{which}/verify", params(("which" = String, Path)), responses((status = ACCEPTED, body = Begun)))]
async fn verify(State(api): State<Api>, which: Which) -> Result<(StatusCode, Json<Begun>), Refusal> {
    let id = api.find(which).await?;
    let check = api.control.verify(id).await?;
    Ok((StatusCode::ACCEPTED, Json(Begun { check })))
}

/// Say how much files are wanted; later rules over earlier ones.
#[utoipa::path(post, path = "/api/v1/transfers/{which}/priorities", params(("which" = String, Path)),
    request_body = Vec<PriorityRule>, responses((status = NO_CONTENT), (status = BAD_REQUEST, body = Problem)))]
async fn prioritise(
    State(api): State<Api>,
    which: Which,
    body: Body<Vec<PriorityRule>>,
) -> Result<StatusCode, Refusal> {
    let id = api.find(which).await?;
    api.control.set_priorities(id, body?.0).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Limit a transfer.
#[utoipa::path(post, path = "/api/v1/transfers/{which}/limits", params(("which" = String, Path)),
    request_body = Limits, responses((status = NO_CONTENT)))]
async fn limit_transfer(
    State(api): State<Api>,
    which: Which,
    body: Body<Limits>,
) -> Result<StatusCode, Refusal> {
    let id = api.find(which).await?;
    api.control.limit(Some(id), body?.0).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Limit the whole node.
#[utoipa::path(post, path = "/api/v1/limits", request_body = Limits, responses((status = NO_CONTENT)))]
async fn limit_node(State(api): State<Api>, body: Body<Limits>) -> Result<StatusCode, Refusal> {
    api.control.limit(None, body?.0).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Serialize, Deserialize, IntoParams, ToSchema)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Pace {
    /// Milliseconds between two `progress` events.
    #[serde(default = "Pace::usual")]
    pub(super) every_ms: u64,
}

impl Pace {
    fn usual() -> u64 {
        1_000
    }
}

/// What happens to a transfer, as newline-delimited JSON of `Event`s, until it is removed.
#[utoipa::path(get, path = "/api/v1/transfers/{which}/events", params(("which" = String, Path), Pace),
    responses((status = OK, body = Event, content_type = "application/x-ndjson")))]
async fn watch_transfer(
    State(api): State<Api>,
    which: Which,
    pace: Result<Query<Pace>, QueryRejection>,
) -> Result<Response, Refusal> {
    let id = api.find(which).await?;
    let updates = api.control.watch(Some(id), Duration::from_millis(pace?.every_ms)).await?;
    Ok(events::response(updates, api.stop))
}

/// What happens to all transfers, as newline-delimited JSON of `Event`s; progress of those that move.
#[utoipa::path(get, path = "/api/v1/events", params(Pace),
    responses((status = OK, body = Event, content_type = "application/x-ndjson")))]
async fn watch_all(
    State(api): State<Api>,
    pace: Result<Query<Pace>, QueryRejection>,
) -> Result<Response, Refusal> {
    let updates = api.control.watch(None, Duration::from_millis(pace?.every_ms)).await?;
    Ok(events::response(updates, api.stop))
}

/// End the daemon; the answer comes before it does.
#[utoipa::path(post, path = "/api/v1/stop", responses((status = ACCEPTED)))]
async fn stop(State(api): State<Api>) -> StatusCode {
    api.stop.cancel();
    StatusCode::ACCEPTED
}

async fn scrape(State(api): State<Api>) -> Result<Response, Refusal> {
    let stats = api.control.stats().await?;
    let text = metrics::render(&stats).map_err(|error| Problem::new("metrics", error))?;
    Ok(([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response())
}
