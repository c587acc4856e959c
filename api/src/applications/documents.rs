//! Documents of applications: attached by the applicant, read by them and by those who decide.

use super::change::{Asked, Change, missing};
use super::requirements::{DOCUMENT_LIMIT, DocumentKind, content_type, is_of_type};
use super::rows::{self, Document};
use super::{View, changed, seen, sees_private};
use crate::auth::Reader;
use crate::body;
use crate::idempotency::Key;
use crate::problem::{Kind, Problem};
use crate::state::ApiState;
use axum::body::Bytes;
use axum::extract::{FromRequest, Path, Request, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

/// The bytes of a document and its type.
pub(super) struct Upload {
    content_type: &'static str,
    content: Bytes,
}

impl FromRequest<ApiState> for Upload {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &ApiState) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let named = parts
            .headers
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        let content_type = content_type(named).ok_or_else(|| {
            Problem::new(
                Kind::UnsupportedMediaType,
                "send the document as application/pdf, image/png or image/jpeg",
            )
        })?;
        let content = body::bytes(&parts.headers, body, DOCUMENT_LIMIT).await?;
        if !is_of_type(content_type, &content) {
            return Err(Problem::new(
                Kind::InvalidField,
                format!("the bytes are not {content_type}"),
            ));
        }
        Ok(Self {
            content_type,
            content,
        })
    }
}

fn kind_of(name: &str) -> Result<DocumentKind, Problem> {
    DocumentKind::parse(name)
        .ok_or_else(|| Problem::new(Kind::NotFound, "there is no such kind of document"))
}

/// Attaches a document, or another one in its place.
///
/// At most 2 MiB. The application says something else then: its revision is one more.
#[utoipa::path(
    put,
    path = "/node-applications/{id}/documents/{kind}",
    operation_id = "attachApplicationDocument",
    params(
        ("id" = Uuid, Path, description = "The application."),
        ("kind" = String, Path, description = "What it shows.", example = "hardware_proof"),
        Key,
    ),
    request_body(description = "The document.", content(
        (Vec<u8> = "application/pdf"),
        (Vec<u8> = "image/png"),
        (Vec<u8> = "image/jpeg"),
    )),
    responses(
        (status = 200, description = "The application.", body = View),
        (status = 415, description = "The body is neither PDF, PNG nor JPEG."),
    )
)]
pub(super) async fn attach(
    State(state): State<ApiState>,
    reader: Reader,
    key: Key,
    Path((id, kind)): Path<(String, String)>,
    upload: Upload,
) -> Result<Response, Problem> {
    let kind = kind_of(&kind)?;
    let sha256 = hex::encode(Sha256::digest(&upload.content));
    let said = (&id, kind, upload.content_type, &sha256);
    let asked = Asked::of(reader.user, &key, "node-applications/documents", &said)?;
    let document = Document {
        kind,
        content_type: upload.content_type.to_owned(),
        size_bytes: i32::try_from(upload.content.len()).unwrap_or(i32::MAX),
        sha256,
        attached_at: state.datetime(),
    };
    let change = Change::Attach(Box::new(document), upload.content);
    changed(&state, &reader, &id, &asked, change).await
}

/// Gives a document to its applicant, or to those who decide.
#[utoipa::path(
    get,
    path = "/node-applications/{id}/documents/{kind}",
    operation_id = "downloadApplicationDocument",
    params(
        ("id" = Uuid, Path, description = "The application."),
        ("kind" = String, Path, description = "What it shows.", example = "hardware_proof"),
    ),
    responses((status = 200, description = "The document.", content(
        (Vec<u8> = "application/pdf"),
        (Vec<u8> = "image/png"),
        (Vec<u8> = "image/jpeg"),
    )))
)]
pub(super) async fn download(
    State(state): State<ApiState>,
    reader: Reader,
    Path((id, kind)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let application = seen(&state, &reader, &id).await?;
    if !sees_private(&reader, application.applicant) {
        return Err(missing());
    }
    let kind = kind_of(&kind)?;
    let found = rows::content(&state.pool, application.id, kind).await?;
    let (content_type, content) =
        found.ok_or_else(|| Problem::new(Kind::NotFound, "no such document is attached"))?;
    let extension = content_type.rsplit('/').next().unwrap_or("bin");
    let name = format!("attachment; filename=\"{}.{extension}\"", kind.as_str());
    let headers = [
        (header::CONTENT_TYPE, content_type),
        // Never shown by a browser as a page of ours, and kept by nobody on the way.
        (header::CONTENT_DISPOSITION, name),
        (header::CACHE_CONTROL, "private, no-store".to_owned()),
    ];
    Ok((headers, content).into_response())
}
