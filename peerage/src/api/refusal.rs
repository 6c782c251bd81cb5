//! Problems as HTTP answers.

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::http::header::WWW_AUTHENTICATE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

use crate::model::Problem;

/// A request that was not done, with the problem as its body.
#[derive(Debug)]
pub struct Refusal(pub Problem);

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = status_of(&self.0.code);
        let mut response = (status, Json(self.0)).into_response();
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

fn status_of(code: &str) -> StatusCode {
    match code {
        "unauthorised" => StatusCode::UNAUTHORIZED,
        "forbidden" => StatusCode::FORBIDDEN,
        "wrong_method" => StatusCode::METHOD_NOT_ALLOWED,
        "no_such_transfer" | "no_such_file" | "no_such_path" => StatusCode::NOT_FOUND,
        "not_in_file" => StatusCode::RANGE_NOT_SATISFIABLE,
        "ambiguous" | "no_metadata" | "exists" | "busy" | "not_deletable" | "in_the_way" => {
            StatusCode::CONFLICT
        }
        "bad_request" | "bad_glob" => StatusCode::BAD_REQUEST,
        "not_json" => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "too_large" => StatusCode::PAYLOAD_TOO_LARGE,
        "refused" => StatusCode::UNPROCESSABLE_ENTITY,
        "stopped" => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl From<JsonRejection> for Refusal {
    fn from(rejection: JsonRejection) -> Self {
        let code =
            if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE { "too_large" } else { "bad_request" };
        Self(Problem::new(code, rejection.body_text()))
    }
}

impl From<PathRejection> for Refusal {
    fn from(rejection: PathRejection) -> Self {
        Self(Problem::new("bad_request", rejection.body_text()))
    }
}

impl From<QueryRejection> for Refusal {
    fn from(rejection: QueryRejection) -> Self {
        Self(Problem::new("bad_request", rejection.body_text()))
    }
}
