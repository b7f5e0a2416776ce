//! Answering with a file.

use std::io::{self, SeekFrom};
use std::path::Path;

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use http::header::{
    ACCEPT, ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG,
    LAST_MODIFIED, LOCATION, VARY,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};

use super::content_coding::{CODINGS, Coding, choose};
use super::index::{Content, Entry, Place};
use super::range::{Wanted, wanted};
use super::{Assets, Source, no_such_file};
use crate::Error;
use crate::conditional::{Validators, Verdict, not_modified, to_http_date};

/// What is read of a file at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// What is found under a path.
enum Target {
    File(Entry),
    /// A folder, whose page is one `/` further.
    Folder,
    Nothing,
}

/// A file that is not as it was when it was found.
enum Unread {
    Changed,
    Failed(io::Error),
}

impl Assets {
    /// Answers a `GET` or `HEAD` for `path`, which has no `/` in front.
    pub(super) async fn serve(&self, path: &str, method: &Method, uri: &Uri, request: &HeaderMap) -> Response {
        if self.options.reload
            && let Err(error) = self.find_again().await
        {
            return error.into_response();
        }
        match self.try_serve(path, method, uri, request).await {
            Ok(response) => return response,
            Err(Unread::Changed) => {}
            Err(Unread::Failed(error)) => return Error::internal(error).into_response(),
        }
        // The folder has changed since the start: what is there now counts.
        if let Err(error) = self.find_again().await {
            return error.into_response();
        }
        match self.try_serve(path, method, uri, request).await {
            Ok(response) => response,
            Err(Unread::Changed) => no_such_file().into_response(),
            Err(Unread::Failed(error)) => Error::internal(error).into_response(),
        }
    }

    async fn find_again(&self) -> Result<(), Error> {
        if matches!(self.source, Source::Embedded(_)) {
            return Ok(());
        }
        let assets = self.clone();
        let found = tokio::task::spawn_blocking(move || assets.look_again()).await.map_err(Error::internal)?;
        found.map_err(Error::internal)
    }

    async fn try_serve(&self, path: &str, method: &Method, uri: &Uri, request: &HeaderMap) -> Result<Response, Unread> {
        match self.target(path, request) {
            Target::File(entry) => answer(&entry, method, request).await,
            Target::Folder => Ok(one_further(path, uri)),
            Target::Nothing => Ok(no_such_file().into_response()),
        }
    }

    fn target(&self, path: &str, request: &HeaderMap) -> Target {
        let index = self.index.load();
        if let Some(entry) = index.get(path) {
            return Target::File(entry.clone());
        }
        let page = &self.options.index_file;
        if path.is_empty() || path.ends_with('/') {
            if let Some(entry) = index.get(&format!("{path}{page}")) {
                return Target::File(entry.clone());
            }
        } else if index.get(&format!("{path}/{page}")).is_some() {
            return Target::Folder;
        }
        let fallback = self.options.fallback.as_deref().filter(|_| is_a_page(path) && wants_html(request));
        fallback.and_then(|name| index.get(name)).map_or(Target::Nothing, |entry| Target::File(entry.clone()))
    }
}

/// Whether the last part of a path has no dot.
fn is_a_page(path: &str) -> bool {
    !path.rsplit('/').next().unwrap_or(path).contains('.')
}

/// A browser that opens a page says so; scripts and other programs do not.
fn wants_html(request: &HeaderMap) -> bool {
    let says = |value: &HeaderValue| value.as_bytes().windows(9).any(|word| word.eq_ignore_ascii_case(b"text/html"));
    request.get_all(ACCEPT).iter().any(says)
}

/// A folder without `/` at the end: its page's relative links would lead astray.
fn one_further(path: &str, uri: &Uri) -> Response {
    // As it was sent, still encoded: the last part of the path, relative to itself.
    let last = uri.path().rsplit('/').next().unwrap_or(path);
    let query = uri.query().map_or(String::new(), |query| format!("?{query}"));
    match HeaderValue::try_from(format!("./{last}/{query}")) {
        Ok(location) => (StatusCode::TEMPORARY_REDIRECT, [(LOCATION, location)]).into_response(),
        Err(_) => no_such_file().into_response(),
    }
}

async fn answer(entry: &Entry, method: &Method, request: &HeaderMap) -> Result<Response, Unread> {
    let file = &entry.file;
    let coded =
        |coding: Coding| CODINGS.iter().position(|known| *known == coding).and_then(|at| file.coded[at].as_ref());
    let coding = choose(request, |coding| coded(coding).is_some());
    let content = coding.and_then(coded).unwrap_or(&file.plain);
    let mut headers = HeaderMap::with_capacity(12);
    headers.insert(CONTENT_TYPE, file.content_type.clone());
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(entry.cache_control));
    headers.insert(ETAG, content.etag.clone());
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if let Some(modified) = file.modified {
        headers.insert(LAST_MODIFIED, to_http_date(modified));
    }
    if file.coded.iter().any(Option::is_some) {
        headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
    }
    if let Some(coding) = coding {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
    }
    let validators = Validators { etag: Some(&content.etag), last_modified: file.modified };
    match validators.judge(method, request) {
        Verdict::Perform => {}
        Verdict::NotModified => return Ok(not_modified(with(headers, StatusCode::OK, known_length(content)))),
        Verdict::PreconditionFailed => {
            let problem = Error::status(StatusCode::PRECONDITION_FAILED);
            return Ok(problem.detail("The file is not as If-Match or If-Unmodified-Since say.").into_response());
        }
    }
    let (first, length) = match wanted(request, &validators, content.length) {
        Wanted::Part(first, length) if *method == Method::GET => {
            let range = format!("bytes {first}-{}/{}", first + length - 1, content.length);
            insert(&mut headers, CONTENT_RANGE, &range);
            (first, length)
        }
        Wanted::Nothing if *method == Method::GET => return Ok(no_such_part(content.length)),
        _ => (0, content.length),
    };
    let status = if headers.contains_key(CONTENT_RANGE) { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
    let body = match &content.bytes {
        Place::Memory(bytes) => {
            // A part of what is in memory fits into its addresses.
            let range = usize::try_from(first).unwrap_or(0)..usize::try_from(first + length).unwrap_or(bytes.len());
            Body::from(bytes.slice(range))
        }
        Place::Disk(_) if *method == Method::HEAD => {
            insert(&mut headers, CONTENT_LENGTH, &length.to_string());
            Body::empty()
        }
        Place::Disk(path) => {
            insert(&mut headers, CONTENT_LENGTH, &length.to_string());
            from_disk(path, content, first, length).await?
        }
    };
    Ok(with(headers, status, body))
}

/// A body as long as the content is, for a 304 to stand for.
fn known_length(content: &Content) -> Body {
    match &content.bytes {
        Place::Memory(bytes) => Body::from(bytes.clone()),
        Place::Disk(_) => Body::empty(),
    }
}

fn with(headers: HeaderMap, status: StatusCode, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

fn insert(headers: &mut HeaderMap, name: http::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

fn no_such_part(length: u64) -> Response {
    let problem = Error::status(StatusCode::RANGE_NOT_SATISFIABLE).detail("The file has no such part.");
    let mut response = problem.into_response();
    insert(response.headers_mut(), CONTENT_RANGE, &format!("bytes */{length}"));
    response
}

/// A file's bytes as they are read.
async fn from_disk(path: &Path, content: &Content, first: u64, length: u64) -> Result<Body, Unread> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => Unread::Changed,
        _ => Unread::Failed(error),
    };
    let mut file = tokio::fs::File::open(path).await.map_err(failed)?;
    if !content.is(&file.metadata().await.map_err(failed)?) {
        return Err(Unread::Changed);
    }
    file.seek(SeekFrom::Start(first)).await.map_err(failed)?;
    let chunks = stream::try_unfold((file, length), async |(mut file, left)| {
        if left == 0 {
            return Ok(None);
        }
        let room = CHUNK_BYTES.min(usize::try_from(left).unwrap_or(CHUNK_BYTES));
        let mut chunk = bytes::BytesMut::with_capacity(room);
        // Never more than is left, also when the file has grown.
        let read = (&mut file).take(room as u64).read_buf(&mut chunk).await? as u64;
        if read == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file has become shorter while it was sent"));
        }
        Ok(Some((chunk.freeze(), (file, left - read))))
    });
    Ok(Body::from_stream(chunks))
}
