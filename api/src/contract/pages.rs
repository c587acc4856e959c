//! `/openapi.yaml`, and Swagger UI under `/docs`: all of it from this binary.

use crate::problem::{Kind, Problem};
use crate::state::ApiState;
use axum::Router;
use axum::body::Bytes;
use axum::extract::Path;
use axum::http::header;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use miniz_oxide::inflate::decompress_to_vec;
use std::collections::HashMap;
use std::sync::LazyLock;
use utoipa_swagger_ui_vendored::SWAGGER_UI_VENDORED;

/// The page's own script: which document it shows.
const INITIALIZER: &str = "window.onload = () => {
  window.ui = SwaggerUIBundle({
    url: \"/openapi.yaml\",
    dom_id: \"#swagger-ui\",
    deepLinking: true,
    validatorUrl: null,
    presets: [SwaggerUIBundle.presets.apis, SwaggerUIStandalonePreset],
    layout: \"StandaloneLayout\",
  });
};
";

/// The files that the page asks for, and what they are.
const FILES: [(&str, &str); 7] = [
    ("index.html", "text/html; charset=utf-8"),
    ("index.css", "text/css; charset=utf-8"),
    ("swagger-ui.css", "text/css; charset=utf-8"),
    ("swagger-ui-bundle.js", "text/javascript; charset=utf-8"),
    (
        "swagger-ui-standalone-preset.js",
        "text/javascript; charset=utf-8",
    ),
    ("favicon-16x16.png", "image/png"),
    ("favicon-32x32.png", "image/png"),
];

/// Unpacked when the first one asks.
static UNPACKED: LazyLock<HashMap<&'static str, Bytes>> = LazyLock::new(|| {
    let files = entries(SWAGGER_UI_VENDORED).unwrap_or_default();
    FILES
        .iter()
        .filter_map(|(name, _)| {
            let suffix = format!("/dist/{name}");
            // Other flavours of the page have files of the same names.
            let entry = files
                .iter()
                .find(|e| e.name.ends_with(&suffix) && e.name.matches('/').count() == 2)?;
            Some((*name, entry.unpack(SWAGGER_UI_VENDORED)?))
        })
        .collect()
});

/// The routes that show the contract.
pub(crate) fn routes(contract: String) -> Router<ApiState> {
    let contract = Bytes::from(contract);
    let show = move || {
        let contract = contract.clone();
        async move { ([(header::CONTENT_TYPE, "application/yaml")], contract) }
    };
    Router::new()
        .route("/openapi.yaml", get(show))
        .route("/docs", get(|| async { Redirect::permanent("/docs/") }))
        .route("/docs/", get(|| async { file("index.html") }))
        .route(
            "/docs/{*rest}",
            get(|Path(name): Path<String>| async move { file(&name) }),
        )
}

fn file(name: &str) -> Response {
    if name == "swagger-initializer.js" {
        let kind = [(header::CONTENT_TYPE, "text/javascript; charset=utf-8")];
        return (kind, INITIALIZER).into_response();
    }
    let kind = FILES.iter().find(|(file, _)| *file == name);
    let Some(((_, kind), bytes)) = kind.zip(UNPACKED.get(name)) else {
        return Problem::new(Kind::NotFound, "there is nothing at this address").into_response();
    };
    let headers = [
        (header::CONTENT_TYPE, *kind),
        (header::CACHE_CONTROL, "public, max-age=86400"),
    ];
    (headers, bytes.clone()).into_response()
}

/// A file in a zip archive.
struct Entry {
    name: String,
    method: u16,
    packed: usize,
    header: usize,
}

fn short(bytes: &[u8], at: usize) -> Option<usize> {
    let bytes = bytes.get(at..at + 2)?;
    Some(usize::from(u16::from_le_bytes(bytes.try_into().ok()?)))
}

fn long(bytes: &[u8], at: usize) -> Option<usize> {
    let bytes = bytes.get(at..at + 4)?;
    usize::try_from(u32::from_le_bytes(bytes.try_into().ok()?)).ok()
}

/// The archive's central directory (APPNOTE 4.3.12), found from its end (4.3.16).
fn entries(zip: &[u8]) -> Option<Vec<Entry>> {
    let end = zip.windows(4).rposition(|window| window == b"PK\x05\x06")?;
    let count = short(zip, end + 10)?;
    let mut at = long(zip, end + 16)?;
    let mut all = Vec::with_capacity(count);
    for _ in 0..count {
        let (name, extra, comment) = (
            short(zip, at + 28)?,
            short(zip, at + 30)?,
            short(zip, at + 32)?,
        );
        all.push(Entry {
            name: String::from_utf8_lossy(zip.get(at + 46..at + 46 + name)?).into_owned(),
            method: u16::try_from(short(zip, at + 10)?).ok()?,
            packed: long(zip, at + 20)?,
            header: long(zip, at + 42)?,
        });
        at += 46 + name + extra + comment;
    }
    Some(all)
}

impl Entry {
    /// The file's content: stored, or deflated.
    fn unpack(&self, zip: &[u8]) -> Option<Bytes> {
        let at = self.header + 30 + short(zip, self.header + 26)? + short(zip, self.header + 28)?;
        let packed = zip.get(at..at + self.packed)?;
        match self.method {
            0 => Some(Bytes::copy_from_slice(packed)),
            8 => decompress_to_vec(packed).ok().map(Bytes::from),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn every_file_of_the_page_is_there() {
        assert_eq!(UNPACKED.len(), FILES.len());
        let page = String::from_utf8(UNPACKED["index.html"].to_vec()).unwrap();
        for asked in page
            .split(['"', '\''])
            .filter(|text| text.starts_with("./"))
        {
            let name = asked.trim_start_matches("./");
            let there = name == "swagger-initializer.js" || UNPACKED.contains_key(name);
            assert!(there, "{name}");
        }
        assert!(
            !page.contains("http://") && !page.contains("https://"),
            "{page}"
        );
    }
}
