//! Style and script of the pages: built from `web/ui`, committed, and put into the program.

use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use super::refusal::Refusal;

/// Browsers keep them and ask whether they are still the same: another version of the program has others.
const KEPT: &str = "no-cache";

struct Asset {
    name: &'static str,
    kind: &'static str,
    bytes: &'static [u8],
}

macro_rules! assets {
    ($($name:literal $kind:literal,)*) => {
        const ASSETS: &[Asset] = &[$(Asset {
            name: $name,
            kind: $kind,
            bytes: include_bytes!(concat!("../../dist/", $name)),
        },)*];
    };
}

assets! {
    "earwitness.css" "text/css; charset=utf-8",
    "earwitness.js" "text/javascript; charset=utf-8",
    "listen-worklet.js" "text/javascript; charset=utf-8",
    "icon.svg" "image/svg+xml",
    "LICENSES.txt" "text/plain; charset=utf-8",
}

/// `GET /assets/{name}`.
pub(super) async fn asset(headers: HeaderMap, Path(name): Path<String>) -> Result<Response, Refusal> {
    let asset = ASSETS.iter().find(|asset| asset.name == name).ok_or(Refusal::NoPage)?;
    let digest = Sha256::digest(asset.bytes);
    let tag = format!("\"{}\"", digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect::<String>());
    let is_known = headers.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes());
    let fields = [(header::CACHE_CONTROL, KEPT), (header::ETAG, tag.as_str())];
    if is_known {
        return Ok((StatusCode::NOT_MODIFIED, fields).into_response());
    }
    Ok((fields, [(header::CONTENT_TYPE, asset.kind)], asset.bytes).into_response())
}
