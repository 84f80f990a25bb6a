//! A bucket of S3-compatible object storage as a place of copies, by `object_store`.
//!
//! An object is there as a whole or not at all, so nothing here makes anything atomic. The crate is asynchronous; each call
//! here waits for its answer, on the thread of whoever asks.

use std::io::{self, ErrorKind};
use std::sync::Once;
use std::time::Duration;

use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};
use object_store::path::Path;
use object_store::{ClientOptions, ObjectStoreExt, PutPayload, RetryConfig};
use tokio::runtime::{Builder, Runtime};

use super::Bucket;
use super::place::{BLOCK_LEN, Feed, MARKER, MARKER_MAX, Marker, Place};
use crate::Error;
use crate::space::Space;

/// Bytes of one part of an upload; S3 takes no smaller ones than 5 MiB and no more than 10,000.
const PART_LEN: usize = 8 * 1024 * 1024;
/// How long a connection, and one request, may take.
const CONNECT: Duration = Duration::from_secs(5);
const REQUEST: Duration = Duration::from_secs(60);
/// How long a request is tried again by itself; the courier goes on after that.
const RETRY: RetryConfig = RetryConfig {
    backoff: object_store::BackoffConfig {
        init_backoff: Duration::from_millis(100),
        max_backoff: Duration::from_secs(2),
        base: 2.0,
    },
    max_retries: 2,
    retry_timeout: Duration::from_secs(20),
};

/// The bucket.
#[derive(Debug)]
pub(super) struct Store {
    s3: AmazonS3,
    prefix: Path,
    runtime: Runtime,
}

impl Store {
    pub(super) fn new(bucket: &Bucket) -> Result<Store, Error> {
        // One provider for the process; somebody else's is as good.
        static PROVIDER: Once = Once::new();
        PROVIDER.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
        let refused = |e: &dyn std::fmt::Display| Error::Refused {
            what: format!("the bucket {:?}: {e}", bucket.bucket),
        };
        let plain = bucket.endpoint.as_deref().is_some_and(|endpoint| endpoint.starts_with("http://"));
        let options =
            ClientOptions::new().with_connect_timeout(CONNECT).with_timeout(REQUEST).with_allow_http(plain);
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&bucket.bucket)
            .with_region(bucket.region.as_deref().unwrap_or("us-east-1"))
            .with_access_key_id(&bucket.key.0)
            .with_secret_access_key(bucket.key.1.as_str())
            // One by one: not every server knows the other way.
            .with_config(AmazonS3ConfigKey::DisableBulkDelete, "true")
            .with_client_options(options)
            .with_retry(RETRY);
        if let Some(endpoint) = &bucket.endpoint {
            builder = builder.with_endpoint(endpoint.trim_end_matches('/'));
        }
        let prefix = Path::parse(bucket.prefix.trim_matches('/')).map_err(|e| refused(&e))?;
        let s3 = builder.build().map_err(|e| refused(&e))?;
        let runtime = Builder::new_current_thread().enable_all().build().map_err(|e| refused(&e))?;
        Ok(Store { s3, prefix, runtime })
    }

    fn path(&self, name: &str) -> Path {
        name.split('/').fold(self.prefix.clone(), |path, part| path.join(part))
    }

    fn put_parts(&self, path: &Path, feed: Feed<'_>) -> io::Result<()> {
        let mut upload = self.runtime.block_on(self.s3.put_multipart(path)).map_err(told)?;
        let sent = loop {
            // Read outside of the runtime: what is read may come from this bucket.
            let part = match fill(feed, PART_LEN) {
                Ok(part) => part,
                Err(e) => break Err(e),
            };
            let is_last = part.len() < PART_LEN;
            if !part.is_empty()
                && let Err(e) = self.runtime.block_on(upload.put_part(PutPayload::from(part)))
            {
                break Err(told(e));
            }
            if is_last {
                break self.runtime.block_on(upload.complete()).map(|_| ()).map_err(told);
            }
        };
        if sent.is_err() {
            // What is left of it costs money; the server's own rules sweep it if this fails too.
            let _ = self.runtime.block_on(upload.abort());
        }
        sent
    }
}

/// The next `len` bytes, fewer at the end.
fn fill(feed: &mut dyn FnMut(&mut [u8]) -> io::Result<usize>, len: usize) -> io::Result<Vec<u8>> {
    let (mut bytes, mut done) = (vec![0; len], 0);
    while done < len {
        let read = feed(&mut bytes[done..len.min(done + BLOCK_LEN)])?;
        if read == 0 {
            break;
        }
        done += read;
    }
    bytes.truncate(done);
    Ok(bytes)
}

/// What the server said, as an error of the operating system would say it.
fn told(error: object_store::Error) -> io::Error {
    use object_store::Error::{NotFound, PermissionDenied, Unauthenticated};
    let kind = match &error {
        NotFound { .. } => ErrorKind::NotFound,
        PermissionDenied { .. } | Unauthenticated { .. } => ErrorKind::PermissionDenied,
        _ => ErrorKind::Other,
    };
    io::Error::new(kind, error.to_string())
}

impl Place for Store {
    fn put(&self, name: &str, len: u64, feed: Feed<'_>) -> io::Result<()> {
        let path = self.path(name);
        if len > PART_LEN as u64 {
            return self.put_parts(&path, feed);
        }
        let bytes = fill(feed, usize::try_from(len).unwrap_or(PART_LEN))?;
        if bytes.len() as u64 != len {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        self.runtime.block_on(self.s3.put(&path, PutPayload::from(bytes))).map(|_| ()).map_err(told)
    }

    fn read_at(&self, name: &str, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let path = self.path(name);
        self.runtime.block_on(async {
            // A range that begins behind the end is an error there.
            let len = self.s3.head(&path).await.map_err(told)?.size;
            let end = len.min(offset.saturating_add(buf.len() as u64));
            if offset >= end {
                return Ok(0);
            }
            let bytes = self.s3.get_range(&path, offset..end).await.map_err(told)?;
            let got = buf.get_mut(..bytes.len()).ok_or(ErrorKind::InvalidData)?;
            got.copy_from_slice(&bytes);
            Ok(bytes.len())
        })
    }

    fn len(&self, name: &str) -> io::Result<Option<u64>> {
        let path = self.path(name);
        match self.runtime.block_on(self.s3.head(&path)) {
            Ok(meta) => Ok(Some(meta.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(e) => Err(told(e)),
        }
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let path = self.path(name);
        match self.runtime.block_on(self.s3.delete(&path)) {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(e) => Err(told(e)),
        }
    }

    fn marker(&self) -> io::Result<Option<Marker>> {
        let Some(len) = self.len(MARKER)? else { return Ok(None) };
        let mut json = vec![0; usize::try_from(len.min(MARKER_MAX)).unwrap_or_default()];
        let read = self.read_at(MARKER, 0, &mut json)?;
        Marker::parse(json.get(..read).unwrap_or_default()).map(Some)
    }

    fn put_marker(&self, marker: &Marker) -> io::Result<()> {
        let json = marker.to_json()?;
        let path = self.path(MARKER);
        self.runtime.block_on(self.s3.put(&path, PutPayload::from(json))).map(|_| ()).map_err(told)
    }

    fn space(&self) -> Option<Space> {
        None
    }

    fn can_vanish(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::net::SocketAddr;
    use std::sync::{Arc, Mutex};

    use axum::Router;
    use axum::body::Bytes;
    use axum::extract::{DefaultBodyLimit, Query, State};
    use axum::http::{HeaderMap, Method, StatusCode, Uri};
    use axum::response::{IntoResponse, Response};
    use zeroize::Zeroizing;

    use super::*;
    use crate::disk::locked;

    /// As much of an S3 server as the calls above use: objects, ranges, uploads in parts. It does not look at signatures.
    #[derive(Debug, Default)]
    struct Server {
        objects: BTreeMap<String, Vec<u8>>,
        uploads: BTreeMap<String, BTreeMap<u32, Vec<u8>>>,
        /// Requests of the kind that changes something are refused.
        is_closed: bool,
    }

    type Shared = Arc<Mutex<Server>>;

    async fn answer(
        State(server): State<Shared>,
        method: Method,
        uri: Uri,
        Query(query): Query<BTreeMap<String, String>>,
        headers: HeaderMap,
        body: Bytes,
    ) -> Response {
        let mut server = locked(&server);
        let name = uri.path().to_owned();
        if server.is_closed && method != Method::GET && method != Method::HEAD {
            return StatusCode::FORBIDDEN.into_response();
        }
        assert!(headers.contains_key("authorization"), "every request is signed");
        match (method, query.get("uploadId"), query.get("partNumber")) {
            (Method::POST, None, _) => {
                server.uploads.insert("1".into(), BTreeMap::new());
                let xml =
                    "<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>";
                xml.into_response()
            }
            (Method::PUT, Some(upload), Some(part)) => {
                let part = part.parse().expect("a number");
                server.uploads.get_mut(upload).expect("begun").insert(part, body.to_vec());
                ([("etag", "\"e\"")], "").into_response()
            }
            (Method::POST, Some(upload), _) => {
                let parts = server.uploads.remove(upload).expect("begun");
                assert!(parts.values().rev().skip(1).all(|part| part.len() >= 5 << 20), "too small a part");
                server.objects.insert(name, parts.into_values().flatten().collect());
                "<CompleteMultipartUploadResult><ETag>e</ETag></CompleteMultipartUploadResult>"
                    .into_response()
            }
            (Method::PUT, ..) => {
                server.objects.insert(name, body.to_vec());
                ([("etag", "\"e\"")], "").into_response()
            }
            (Method::DELETE, ..) => {
                server.objects.remove(&name);
                StatusCode::NO_CONTENT.into_response()
            }
            (Method::GET | Method::HEAD, ..) => match server.objects.get(&name) {
                None => StatusCode::NOT_FOUND.into_response(),
                Some(object) => object_or_range(object, &headers),
            },
            _ => StatusCode::METHOD_NOT_ALLOWED.into_response(),
        }
    }

    fn object_or_range(object: &[u8], headers: &HeaderMap) -> Response {
        let always = [("etag", "\"e\""), ("last-modified", "Sun, 29 Nov 2026 10:00:00 GMT")];
        let range = headers.get("range").and_then(|range| range.to_str().ok()?.strip_prefix("bytes="));
        let Some((from, to)) = range.and_then(|range| range.split_once('-')) else {
            return (always, object.to_vec()).into_response();
        };
        let (from, to): (usize, usize) = (from.parse().expect("a number"), to.parse().expect("a number"));
        let told = [("content-range", format!("bytes {from}-{to}/{}", object.len()))];
        (StatusCode::PARTIAL_CONTENT, always, told, object[from..=to].to_vec()).into_response()
    }

    /// Runs a server for as long as the process; gives its address.
    fn serve() -> (Shared, SocketAddr) {
        let server = Shared::default();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.set_nonblocking(true).expect("set");
        let address = listener.local_addr().expect("bound");
        let router = Router::new().fallback(answer).layer(DefaultBodyLimit::disable());
        let router = router.with_state(Arc::clone(&server));
        std::thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
                axum::serve(listener, router).await.expect("served");
            });
        });
        (server, address)
    }

    fn bucket(address: SocketAddr) -> Bucket {
        Bucket {
            bucket: "recordings".into(),
            prefix: "site-1".into(),
            endpoint: Some(format!("http://{address}")),
            region: None,
            key: ("id".into(), Zeroizing::new("hunter2".into())),
        }
    }

    fn put(place: &dyn Place, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut rest = bytes;
        place.put(name, bytes.len() as u64, &mut |buf| io::Read::read(&mut rest, buf))
    }

    #[test]
    fn copies_go_there_whole_in_parts_when_they_are_long_and_read_back_by_ranges() {
        let (server, address) = serve();
        let store = Store::new(&bucket(address)).expect("made");
        assert_eq!(store.marker().expect("asked"), None);
        let marker = Marker { archive: "A".into(), location: "cloud".into() };
        store.put_marker(&marker).expect("put");
        assert_eq!(store.marker().expect("asked"), Some(marker));
        let long: Vec<u8> = (0..2 * PART_LEN + 1000).map(|i| (i % 251) as u8).collect();
        for bytes in [&b""[..], b"short", &long[..PART_LEN], &long[..2 * PART_LEN], &long] {
            put(&store, "recordings/2026/a.wav", bytes).expect("put");
            assert_eq!(store.len("recordings/2026/a.wav").expect("asked"), Some(bytes.len() as u64));
            let stored = locked(&server).objects.get("/recordings/site-1/recordings/2026/a.wav").cloned();
            assert!(stored.as_deref() == Some(bytes), "{} bytes", bytes.len());
            let mut end = [0; 100];
            let at = bytes.len().saturating_sub(10);
            let read = store.read_at("recordings/2026/a.wav", at as u64, &mut end).expect("read");
            assert_eq!(end[..read], bytes[at..]);
            assert_eq!(
                store.read_at("recordings/2026/a.wav", bytes.len() as u64, &mut end).expect("read"),
                0
            );
        }
        store.remove("recordings/2026/a.wav").expect("removed");
        store.remove("recordings/2026/a.wav").expect("and again");
        assert_eq!(store.len("recordings/2026/a.wav").expect("asked"), None);
    }

    #[test]
    fn a_bucket_that_refuses_and_one_that_is_away_are_errors_that_say_so_without_the_secret() {
        let (server, address) = serve();
        let place = Store::new(&bucket(address)).expect("made");
        locked(&server).is_closed = true;
        assert_eq!(put(&place, "a", b"x").expect_err("refused").kind(), ErrorKind::PermissionDenied);
        assert!(locked(&server).objects.is_empty());
        let away = SocketAddr::from(([127, 0, 0, 1], 1));
        let told = put(&Store::new(&bucket(away)).expect("made"), "a", b"x").expect_err("away");
        let config = format!("{:?}", bucket(away));
        let said = format!("{told} {told:?} {config} {place:?}");
        assert!(!said.contains("hunter2"), "{said}");
    }
}
