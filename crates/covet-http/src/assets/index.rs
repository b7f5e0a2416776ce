//! The list of files: found by walking the folder once.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use covet_core::hex;
use http::HeaderValue;
use include_dir::Dir;
use sha2::{Digest as _, Sha256};

use super::content_coding::{CODINGS, Coding};
use super::{AssetsError, Options, Source};

/// Files up to this size are kept in memory.
const SMALL_BYTES: u64 = 64 * 1024;
/// As long as all of them together are not larger than this.
const MEMORY_BYTES: u64 = 64 * 1024 * 1024;
/// Larger files are not hashed; their size and time tell them apart.
const HASHED_BYTES: u64 = 8 * 1024 * 1024;

/// The one name with a dot that is served (RFC 8615).
const WELL_KNOWN: &str = ".well-known";

/// All files by their names, such as `css/app.css`.
#[derive(Debug, Default)]
pub(super) struct Index {
    files: HashMap<Box<str>, Entry>,
    hashed_names: HashMap<Box<str>, Box<str>>,
}

/// A file under one of its names.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) file: Arc<File>,
    pub(super) cache_control: &'static str,
}

/// A file, as it is and precompressed.
#[derive(Debug)]
pub(super) struct File {
    pub(super) content_type: HeaderValue,
    /// Seconds since 1970-01-01 UTC.
    pub(super) modified: Option<u64>,
    pub(super) plain: Content,
    /// In the order of [`CODINGS`].
    pub(super) coded: [Option<Content>; CODINGS.len()],
}

/// Bytes, and what they are known by.
#[derive(Debug, Clone)]
pub(super) struct Content {
    pub(super) bytes: Place,
    pub(super) length: u64,
    pub(super) etag: HeaderValue,
    modified: Option<SystemTime>,
    /// For the hashed name.
    hash: Option<[u8; 8]>,
}

/// Where bytes are.
#[derive(Debug, Clone)]
pub(super) enum Place {
    Memory(Bytes),
    Disk(PathBuf),
}

impl Index {
    pub(super) fn of(source: &Source, options: &Options) -> Result<Self, AssetsError> {
        let mut contents = HashMap::new();
        match source {
            Source::Folder(root) => {
                let mut walk = Walk { root, contents: &mut contents, memory: 0, visited: HashSet::new() };
                walk.folder(root, "")?;
            }
            Source::Embedded(files) => embedded(files, &mut contents),
        }
        Ok(Self::with(&contents, options))
    }

    fn with(contents: &HashMap<String, Content>, options: &Options) -> Self {
        let mut index = Self::default();
        for (name, plain) in contents {
            let coded = CODINGS.map(|coding| contents.get(&format!("{name}.{}", coding.extension())).cloned());
            let content_type = content_type(name);
            let seconds = |time: SystemTime| time.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs());
            let modified = plain.modified.and_then(seconds);
            let file = Arc::new(File { content_type, modified, plain: plain.clone(), coded });
            let under = options.immutable_under.iter().any(|folder| name.starts_with(&**folder));
            let cache_control = match () {
                () if options.fallback.as_deref() == Some(name) => ASK,
                () if under || has_hash(name) => YEAR,
                () => DAY,
            };
            if let Some(hash) = plain.hash.filter(|_| cache_control == DAY) {
                let hashed = with_hash(name, hash);
                // A file that has this very name is served under it.
                if !contents.contains_key(&hashed) {
                    let entry = Entry { file: Arc::clone(&file), cache_control: YEAR };
                    index.files.insert(hashed.as_str().into(), entry);
                }
                index.hashed_names.insert(name.as_str().into(), hashed.into());
            }
            index.files.insert(name.as_str().into(), Entry { file, cache_control });
        }
        index
    }

    pub(super) fn get(&self, name: &str) -> Option<&Entry> {
        self.files.get(name)
    }

    pub(super) fn hashed_name(&self, name: &str) -> Option<String> {
        let hashed = self.hashed_names.get(name).map(|hashed| String::from(&**hashed));
        hashed.or_else(|| self.files.contains_key(name).then(|| name.to_owned()))
    }
}

const YEAR: &str = "public, max-age=31536000, immutable";
const DAY: &str = "public, max-age=86400";
const ASK: &str = "no-cache";

/// A walk through a folder.
struct Walk<'a> {
    root: &'a Path,
    contents: &'a mut HashMap<String, Content>,
    memory: u64,
    /// Folders, so that a link to one above does not lead around for ever.
    visited: HashSet<PathBuf>,
}

impl Walk<'_> {
    /// `prefix`: empty, or the folder's name with a `/` after it.
    fn folder(&mut self, path: &Path, prefix: &str) -> Result<(), AssetsError> {
        let unreadable = |source| AssetsError::Unreadable { path: path.to_owned(), source };
        if !self.visited.insert(path.to_owned()) {
            return Ok(());
        }
        for entry in fs::read_dir(path).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            // What is no text cannot be in a URL that anybody writes.
            let Ok(name) = entry.file_name().into_string() else { continue };
            if name.starts_with('.') && !(name == WELL_KNOWN && prefix.is_empty()) {
                continue;
            }
            let name = format!("{prefix}{name}");
            let real = match entry.path().canonicalize() {
                Ok(real) if real.starts_with(self.root) => real,
                Ok(_) => {
                    tracing::warn!(link = name, "a link that leads out of the folder of assets is not served");
                    continue;
                }
                Err(error) => {
                    tracing::warn!(
                        link = name,
                        error = &error as &(dyn std::error::Error + 'static),
                        "a link that leads nowhere is not served"
                    );
                    continue;
                }
            };
            let unreadable = |source| AssetsError::Unreadable { path: entry.path(), source };
            let metadata = fs::metadata(&real).map_err(unreadable)?;
            if metadata.is_dir() {
                self.folder(&real, &format!("{name}/"))?;
            } else if metadata.is_file() {
                let content = self.file(&real, &metadata).map_err(unreadable)?;
                self.contents.insert(name, content);
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &Path, metadata: &fs::Metadata) -> io::Result<Content> {
        let (length, modified) = (metadata.len(), metadata.modified().ok());
        if length <= SMALL_BYTES && self.memory + length <= MEMORY_BYTES {
            let bytes = Bytes::from(fs::read(path)?);
            self.memory += bytes.len() as u64;
            return Ok(Content::in_memory(bytes, modified));
        }
        let bytes = Place::Disk(path.to_owned());
        if length <= HASHED_BYTES {
            let hash = hash_of(path)?;
            return Ok(Content { bytes, length, etag: etag_of(&hash), modified, hash: hash.first_chunk().copied() });
        }
        let since = modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
        let etag = HeaderValue::try_from(format!("\"{length:x}-{:x}\"", since.as_nanos()));
        let etag = etag.unwrap_or_else(|_| HeaderValue::from_static("\"\""));
        Ok(Content { bytes, length, etag, modified, hash: None })
    }
}

impl Content {
    fn in_memory(bytes: Bytes, modified: Option<SystemTime>) -> Self {
        let hash = Sha256::digest(&bytes);
        let (length, etag) = (bytes.len() as u64, etag_of(&hash));
        Self { bytes: Place::Memory(bytes), length, etag, modified, hash: hash.first_chunk().copied() }
    }

    /// Whether a file that was opened is the one that was found at start.
    pub(super) fn is(&self, metadata: &fs::Metadata) -> bool {
        metadata.is_file() && metadata.len() == self.length && metadata.modified().ok() == self.modified
    }
}

fn embedded(folder: &'static Dir<'static>, contents: &mut HashMap<String, Content>) {
    for file in folder.files() {
        let Some(name) = file.path().to_str() else { continue };
        let hidden = |part: &str| part.starts_with('.') && part != WELL_KNOWN;
        if !name.split('/').any(hidden) {
            contents.insert(name.to_owned(), Content::in_memory(Bytes::from_static(file.contents()), None));
        }
    }
    folder.dirs().for_each(|inner| embedded(inner, contents));
}

fn hash_of(path: &Path) -> io::Result<[u8; 32]> {
    let (mut file, mut hash) = (fs::File::open(path)?, Sha256::new());
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hash.finalize().into()),
            length => hash.update(&buffer[..length]),
        }
    }
}

fn etag_of(hash: &[u8]) -> HeaderValue {
    let tag = format!("\"{}\"", hex::digits(&hash[..16]));
    // Digits and letters between quotes.
    HeaderValue::try_from(tag).unwrap_or_else(|_| HeaderValue::from_static("\"\""))
}

/// `css/app.css` → `css/app.5f1c0a9e4b2d7c31.css`.
fn with_hash(name: &str, hash: [u8; 8]) -> String {
    let hash = hex::digits(hash);
    let file = name.rfind('/').map_or(0, |slash| slash + 1);
    match name[file..].rfind('.') {
        Some(dot) if dot > 0 => format!("{}.{hash}{}", &name[..file + dot], &name[file + dot..]),
        _ => format!("{name}.{hash}"),
    }
}

/// Whether a part of the file's name is a hash in hexadecimal: eight digits or more of `0-9a-f`, with a letter and a
/// number among them, which no date and hardly a word is.
fn has_hash(name: &str) -> bool {
    let file = name.rsplit('/').next().unwrap_or(name);
    let is_hash = |part: &str| {
        (8..=64).contains(&part.len())
            && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
            && part.bytes().any(|byte| byte.is_ascii_digit())
            && part.bytes().any(|byte| byte.is_ascii_alphabetic())
    };
    let mut parts = file.split(['.', '-', '_']);
    // The first is what the file is called.
    parts.next();
    parts.any(is_hash)
}

fn content_type(name: &str) -> HeaderValue {
    let guess = mime_guess::from_path(name).first_or_octet_stream();
    let text = guess.type_() == mime_guess::mime::TEXT && guess.get_param(mime_guess::mime::CHARSET).is_none();
    let value = if text { format!("{guess}; charset=utf-8") } else { guess.to_string() };
    HeaderValue::try_from(value).unwrap_or_else(|_| HeaderValue::from_static("application/octet-stream"))
}

impl Coding {
    pub(super) fn extension(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Zstd => "zst",
            Self::Gzip => "gz",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_told_from_dates_versions_and_words() {
        for hashed in ["app.5f1c0a9e.js", "css/index-1a2b3c4d5e6f.css", "a_0123456789abcdef.map"] {
            assert!(has_hash(hashed), "{hashed}");
        }
        for plain in ["photo-20260101.jpg", "jquery-3.6.0.min.js", "report-december.pdf", "5f1c0a9e.js", "app.js"] {
            assert!(!has_hash(plain), "{plain}");
        }
    }

    #[test]
    fn a_hash_goes_before_the_extension() {
        let hash = [0x5f; 8];
        assert_eq!(with_hash("css/app.css", hash), "css/app.5f5f5f5f5f5f5f5f.css");
        assert_eq!(with_hash("v1.2/LICENSE", hash), "v1.2/LICENSE.5f5f5f5f5f5f5f5f");
        assert!(has_hash(&with_hash("a.js", [0x5f, 0, 1, 2, 3, 4, 5, 6])));
    }

    #[test]
    fn text_says_its_charset() {
        assert_eq!(content_type("a.html"), "text/html; charset=utf-8");
        assert_eq!(content_type("a.png"), "image/png");
        assert_eq!(content_type("LICENSE"), "application/octet-stream");
    }
}
