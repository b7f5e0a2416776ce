//! Static files: a folder, or files inside the binary.
//!
//! All files are found once, at start, and a request is looked up in that list: no path is ever joined with what a
//! client has sent, so there is nothing to traverse. Names that begin with a dot (but `.well-known`) and links that
//! lead out of the folder are not in it.
//!
//! ```no_run
//! use covet_http::Router;
//! use covet_http::assets::Assets;
//!
//! # fn example() -> Result<Router, covet_http::assets::AssetsError> {
//! let assets = Assets::folder("static")?;
//! let stylesheet = assets.hashed_name("css/app.css"); // Some("css/app.5f1c0a….css"), good for a year
//! let router = Router::new().nest("/assets", assets.routes());
//! # Ok(router)
//! # }
//! ```
//!
//! | a file | is sent with |
//! |---|---|
//! | under its hashed name, or one that a bundler has hashed | `public, max-age=31536000, immutable` (RFC 8246) |
//! | that is the [fallback](Assets::fallback) of a single-page application | `no-cache`: asked for each time, usually a 304 |
//! | any other | `public, max-age=86400` |
//!
//! `app.js.br`, `app.js.zst` and `app.js.gz` beside `app.js` are sent in its place to clients that accept them. Each
//! has its own strong `ETag`. One range of bytes is answered with 206; a request for several gets the whole file.

mod content_coding;
mod index;
mod range;
mod serve;

use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use http::{HeaderMap, Method, Uri};
use include_dir::Dir;

use crate::routing::{Router, get};
use crate::{Error, Path};
use index::Index;

/// Files to be served.
#[derive(Clone)]
#[must_use]
pub struct Assets {
    source: Source,
    options: Options,
    index: Arc<ArcSwap<Index>>,
}

#[derive(Clone)]
enum Source {
    /// The folder, with its links resolved.
    Folder(PathBuf),
    Embedded(&'static Dir<'static>),
}

#[derive(Debug, Clone)]
struct Options {
    index_file: Box<str>,
    fallback: Option<Box<str>>,
    immutable_under: Vec<Box<str>>,
    reload: bool,
}

/// Why files cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum AssetsError {
    /// The folder, or something in it, cannot be read.
    #[error("assets: {path} cannot be read: {source}", path = path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// There is no such file among them.
    #[error("assets: there is no file {name:?}; {here}")]
    NoSuchFile {
        /// The name.
        name: String,
        /// Where was looked.
        here: String,
    },
}

impl Assets {
    /// The files of a folder. Small ones are kept in memory, large ones are read when they are asked for.
    ///
    /// # Errors
    /// [`AssetsError::Unreadable`].
    pub fn folder(path: impl Into<PathBuf>) -> Result<Self, AssetsError> {
        let path = path.into();
        let path = path.canonicalize().map_err(|source| AssetsError::Unreadable { path, source })?;
        Self::of(Source::Folder(path))
    }

    /// Files inside the binary: [`embedded_files!("$CARGO_MANIFEST_DIR/static")`](crate::embedded_files).
    ///
    /// # Errors
    /// None now; the type is that of [`folder`](Self::folder).
    pub fn embedded(files: &'static Dir<'static>) -> Result<Self, AssetsError> {
        Self::of(Source::Embedded(files))
    }

    fn of(source: Source) -> Result<Self, AssetsError> {
        let options =
            Options { index_file: "index.html".into(), fallback: None, immutable_under: Vec::new(), reload: false };
        let index = Index::of(&source, &options)?;
        Ok(Self { source, options, index: Arc::new(ArcSwap::from_pointee(index)) })
    }

    /// The file that stands for its folder: `index.html`.
    pub fn index_file(mut self, name: &str) -> Self {
        self.options.index_file = name.into();
        self
    }

    /// The page of a single-page application: sent in place of what does not exist to a browser that asks for a page
    /// (`Accept: text/html`), unless the last part of the path has a dot, which makes it a file.
    ///
    /// # Errors
    /// [`AssetsError::NoSuchFile`].
    pub fn fallback(mut self, name: &str) -> Result<Self, AssetsError> {
        self.options.fallback = Some(name.into());
        self.look_again()?;
        if self.index.load().get(name).is_none() {
            return Err(AssetsError::NoSuchFile { name: name.to_owned(), here: self.source.to_string() });
        }
        Ok(self)
    }

    /// The files under this folder have names that change with their content, as bundlers make them (`assets` for
    /// Vite). Names with a hash in hexadecimal are recognised without it: `app.5f1c0a9e.js`.
    ///
    /// # Errors
    /// [`AssetsError::Unreadable`].
    pub fn immutable_under(mut self, folder: &str) -> Result<Self, AssetsError> {
        self.options.immutable_under.push(format!("{}/", folder.trim_matches('/')).into());
        self.look_again()?;
        Ok(self)
    }

    /// Looks for changes at every request: for development. Else the files are those of the start.
    pub fn reload(mut self, reload: bool) -> Self {
        self.options.reload = reload;
        self
    }

    /// The name of a file with the hash of its content in it, under which it may be kept for a year. `None` when there
    /// is no such file.
    #[must_use]
    pub fn hashed_name(&self, name: &str) -> Option<String> {
        self.index.load().hashed_name(name)
    }

    /// The routes, to be [nested](Router::nest) under a prefix, or [merged](Router::merge) for the root.
    pub fn routes<S: Clone + Send + Sync + 'static>(self) -> Router<S> {
        let root = self.clone();
        let folder = move |method: Method, uri: Uri, headers: HeaderMap| {
            let assets = root.clone();
            async move { assets.serve("", &method, &uri, &headers).await }
        };
        let file = move |Path(path): Path<String>, method: Method, uri: Uri, headers: HeaderMap| {
            let assets = self.clone();
            async move { assets.serve(&path, &method, &uri, &headers).await }
        };
        Router::new().route("/", get(folder)).route("/{*path}", get(file))
    }

    fn look_again(&self) -> Result<(), AssetsError> {
        self.index.store(Arc::new(Index::of(&self.source, &self.options)?));
        Ok(())
    }
}

/// What a client hears where no file is.
fn no_such_file() -> Error {
    Error::not_found().detail("There is no such file.")
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Folder(path) => write!(f, "looked in {}", path.display()),
            Self::Embedded(_) => f.write_str("looked in the files inside the binary"),
        }
    }
}

impl std::fmt::Debug for Assets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Assets").field("options", &self.options).finish_non_exhaustive()
    }
}
