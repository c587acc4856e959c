//! `/openapi.yaml`, and Swagger UI under `/docs`: all of it from this binary.

use crate::problem::{Kind, Problem};
use crate::state::ApiState;
use axum::Router;
use axum::body::Bytes;
use axum::http::{StatusCode, header};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use utoipa_swagger_ui::{Config, SwaggerUi};

/// The routes that show the contract.
pub(crate) fn routes(contract: String) -> Router<ApiState> {
    let contract = Bytes::from(contract);
    let show = move || {
        let contract = contract.clone();
        async move { ([(header::CONTENT_TYPE, "application/yaml")], contract) }
    };
    let config = Config::from("/openapi.yaml")
        .deep_linking(true)
        // The page would ask a server of somebody else what it thinks of the contract.
        .validator_url("none");
    let pages: Router<ApiState> = SwaggerUi::new("/docs").config(config).into();
    Router::new()
        .route("/openapi.yaml", get(show))
        .merge(pages.layer(middleware::map_response(as_problem)))
}

/// A file that is not there is a problem like every other.
async fn as_problem(response: Response) -> Response {
    if response.status() == StatusCode::NOT_FOUND {
        return Problem::new(Kind::NotFound, "there is nothing at this address").into_response();
    }
    response
}
