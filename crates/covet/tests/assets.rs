//! Static files, over real sockets and the whole pipeline.
#![expect(clippy::unwrap_used, reason = "a test may panic, and its helpers with it")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use covet::assets::Assets;
use covet::prelude::*;
use covet::testing::{TestApp, TestReply};
use http::Method;
use tempfile::TempDir;

const YEAR: &str = "public, max-age=31536000, immutable";
const DAY: &str = "public, max-age=86400";

fn write(folder: &TempDir, name: &str, bytes: impl AsRef<[u8]>) {
    let path = folder.path().join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    write(&folder, "index.html", "<h1>Home</h1>");
    write(&folder, "app.css", "body {}");
    write(&folder, "app.js", "plain".repeat(1_000));
    write(&folder, "app.js.br", "brotli");
    write(&folder, "app.js.gz", "gzip");
    write(&folder, "bundle.5f1c0a9e.js", "");
    write(&folder, "docs/index.html", "docs");
    write(&folder, "a b.txt", "space");
    write(&folder, ".env", "SECRET=1");
    write(&folder, ".git/config", "secret");
    write(&folder, ".well-known/security.txt", "Contact: mailto:a@example.org");
    write(&folder, "large.bin", (0..200_000_u32).map(|number| number as u8).collect::<Vec<_>>());
    folder
}

async fn start(assets: Assets) -> TestApp {
    let app = App::new("files").without_database();
    TestApp::start(app.routes(move |_| Router::new().nest("/assets", assets.clone().routes()))).await.unwrap()
}

async fn serving(folder: &TempDir) -> TestApp {
    start(Assets::folder(folder.path()).unwrap()).await
}

fn cached_for(reply: &TestReply) -> &str {
    reply.header("cache-control")
}

#[tokio::test]
async fn hashed_names_are_good_for_a_year_and_others_for_a_day() {
    let folder = folder();
    let assets = Assets::folder(folder.path()).unwrap();
    let hashed = assets.hashed_name("app.css").unwrap();
    assert_eq!(assets.hashed_name("nothing.css"), None);
    let app = start(assets).await;
    let plain = app.get("/assets/app.css").send().await;
    assert_eq!((plain.text().as_str(), cached_for(&plain)), ("body {}", DAY));
    assert_eq!(plain.header("content-type"), "text/css; charset=utf-8");
    let ours = app.get(&format!("/assets/{hashed}")).send().await;
    assert_eq!((ours.text().as_str(), cached_for(&ours)), ("body {}", YEAR));
    assert_eq!(cached_for(&app.get("/assets/bundle.5f1c0a9e.js").send().await), YEAR);
    let under = start(Assets::folder(folder.path()).unwrap().immutable_under("docs").unwrap()).await;
    assert_eq!(cached_for(&under.get("/assets/docs/").send().await), YEAR);
    assert_eq!(cached_for(&under.get("/assets/app.css").send().await), DAY);
}

#[tokio::test]
async fn nothing_outside_and_nothing_hidden_is_served() {
    let (outside, folder) = (tempfile::tempdir().unwrap(), folder());
    fs::write(outside.path().join("secret.txt"), "secret").unwrap();
    symlink(outside.path().join("secret.txt"), folder.path().join("link.txt")).unwrap();
    symlink(outside.path(), folder.path().join("linked")).unwrap();
    symlink(folder.path(), folder.path().join("loop")).unwrap();
    symlink(folder.path().join("app.css"), folder.path().join("inside.css")).unwrap();
    symlink("nowhere", folder.path().join("dangling")).unwrap();
    let app = serving(&folder).await;
    let secret = outside.path().join("secret.txt").display().to_string();
    for path in [
        "/assets/link.txt",
        "/assets/linked/secret.txt",
        "/assets/dangling",
        "/assets/.env",
        "/assets/.git/config",
        "/assets/%2e%65nv",
        "/assets/../secret.txt",
        "/assets/..%2fsecret.txt",
        "/assets/docs/../.env",
        "/assets/docs/%2e%2e/.env",
        "/assets/docs/..%5c.env",
        "/assets/app.css/",
        "/assets//app.css",
        "/assets/app.css%00.html",
        &format!("/assets/{secret}"),
        &format!("/assets{secret}"),
    ] {
        let reply = app.get(path).send().await;
        assert!(matches!(reply.status(), 404 | 400), "{path}: {reply:?}");
        assert!(!reply.text().contains("secret\n") && !reply.text().contains("SECRET"), "{path}: {reply:?}");
    }
    assert_eq!(app.get("/assets/inside.css").send().await.text(), "body {}");
    assert_eq!(app.get("/assets/a%20b.txt").send().await.text(), "space");
    assert!(app.get("/assets/.well-known/security.txt").send().await.text().starts_with("Contact"));
}

#[tokio::test]
async fn the_precompressed_form_goes_to_who_likes_it_best() {
    let folder = folder();
    let app = serving(&folder).await;
    let ask = async |accept: &str| app.get("/assets/app.js").header("accept-encoding", accept).send().await;
    let mut tags = Vec::new();
    for (accept, coding, body) in [
        ("gzip, br", "br", "brotli"),
        ("gzip;q=0.8, br;q=0.7", "gzip", "gzip"),
        ("br;q=0, gzip", "gzip", "gzip"),
        ("identity", "", &*"plain".repeat(1_000)),
        ("zstd", "", &"plain".repeat(1_000)),
    ] {
        let reply = ask(accept).await;
        assert_eq!((reply.header("content-encoding"), reply.text().as_str()), (coding, body), "{accept}");
        assert_eq!(reply.header("vary"), "accept-encoding", "{accept}");
        assert_eq!(reply.header("content-type"), "text/javascript; charset=utf-8", "{accept}");
        tags.push(reply.header("etag").to_owned());
    }
    tags.sort();
    tags.dedup();
    assert_eq!(tags.len(), 3, "each form has its own: {tags:?}");
}

#[tokio::test]
async fn a_client_that_has_a_file_hears_304() {
    let folder = folder();
    let app = serving(&folder).await;
    for path in ["/assets/app.css", "/assets/large.bin"] {
        let first = app.get(path).send().await;
        let (etag, modified) = (first.header("etag"), first.header("last-modified"));
        assert!(!etag.is_empty() && !modified.is_empty(), "{first:?}");
        for (name, value) in [("if-none-match", etag), ("if-modified-since", modified)] {
            let again = app.get(path).header(name, value).send().await;
            assert_eq!((again.status(), again.header("etag"), cached_for(&again)), (304, etag, DAY), "{path} {name}");
        }
        let other = app.get(path).header("if-match", "\"other\"").send().await;
        assert_eq!(other.status(), 412);
    }
}

#[tokio::test]
async fn one_part_of_a_file_in_memory_or_on_disk_is_cut_out() {
    let folder = folder();
    let app = serving(&folder).await;
    let whole = app.get("/assets/large.bin").send().await;
    assert_eq!((whole.body().len(), whole.header("accept-ranges")), (200_000, "bytes"));
    assert_eq!(whole.header("content-length"), "200000");
    let ask = async |path: &str, range: &str| app.get(path).header("range", range).send().await;
    for (range, first, last) in
        [("bytes=0-0", 0, 0), ("bytes=65000-70000", 65_000, 70_000), ("bytes=-5", 199_995, 199_999)]
    {
        let part = ask("/assets/large.bin", range).await;
        assert_eq!(part.status(), 206, "{range}");
        assert_eq!(part.header("content-range"), format!("bytes {first}-{last}/200000"));
        assert_eq!(part.body(), &whole.body()[first..=last], "{range}");
    }
    let small = ask("/assets/app.css", "bytes=0-3").await;
    assert_eq!((small.status(), small.text().as_str()), (206, "body"));
    let beyond = ask("/assets/large.bin", "bytes=200000-").await;
    assert_eq!((beyond.status(), beyond.header("content-range")), (416, "bytes */200000"));
    let several = ask("/assets/large.bin", "bytes=0-1,5-6").await;
    assert_eq!((several.status(), several.body().len()), (200, 200_000));
    let head = app.request(Method::HEAD, "/assets/large.bin").send().await;
    assert_eq!((head.status(), head.header("content-length"), head.body().len()), (200, "200000", 0));
}

#[tokio::test]
async fn a_folder_is_its_page_and_one_without_a_slash_leads_there() {
    let folder = folder();
    let app = serving(&folder).await;
    assert_eq!(app.get("/assets").send().await.text(), "<h1>Home</h1>");
    assert_eq!(app.get("/assets/docs/").send().await.text(), "docs");
    let one = app.get("/assets/docs?a=1").send().await;
    assert_eq!((one.status(), one.header("location")), (307, "./docs/?a=1"));
    assert_eq!(app.get("/assets/nothing").send().await.status(), 404);
    assert_eq!(app.post("/assets/app.css").send().await.status(), 405);
}

#[tokio::test]
async fn a_single_page_application_gets_its_page_for_every_page_and_nothing_else() {
    let folder = folder();
    let app = start(Assets::folder(folder.path()).unwrap().fallback("index.html").unwrap()).await;
    let browse = async |path: &str| app.get(path).header("accept", "text/html,application/xhtml+xml").send().await;
    let page = browse("/assets/users/7").await;
    assert_eq!((page.status(), page.text().as_str(), cached_for(&page)), (200, "<h1>Home</h1>", "no-cache"));
    assert_eq!(browse("/assets/missing.js").await.status(), 404, "a file that is not there is not a page");
    let script = app.get("/assets/users/7").header("accept", "*/*").send().await;
    assert_eq!(script.status(), 404, "a program that asks for data must hear so");
    let refused = Assets::folder(folder.path()).unwrap().fallback("start.html").unwrap_err();
    assert!(refused.to_string().contains("start.html"), "{refused}");
}

#[tokio::test]
async fn a_large_file_that_was_replaced_is_sent_as_it_is_now() {
    let folder = folder();
    let app = serving(&folder).await;
    let before = app.get("/assets/large.bin").send().await;
    write(&folder, "large.bin", "x".repeat(100_000));
    let after = app.get("/assets/large.bin").send().await;
    assert_eq!(after.body().len(), 100_000);
    assert_ne!(after.header("etag"), before.header("etag"));
    fs::remove_file(folder.path().join("large.bin")).unwrap();
    assert_eq!(app.get("/assets/large.bin").send().await.status(), 404);
}

#[tokio::test]
async fn with_reload_changes_and_new_files_are_seen_at_once() {
    let folder = folder();
    let app = start(Assets::folder(folder.path()).unwrap().reload(true)).await;
    assert_eq!(app.get("/assets/app.css").send().await.text(), "body {}");
    write(&folder, "app.css", "p {}");
    write(&folder, "new.css", "new");
    assert_eq!(app.get("/assets/app.css").send().await.text(), "p {}");
    assert_eq!(app.get("/assets/new.css").send().await.text(), "new");
}

#[tokio::test]
async fn files_inside_the_binary_are_served_as_those_of_a_folder() {
    let files = covet::embedded_files!("$CARGO_MANIFEST_DIR/tests/http_cache");
    let app = start(Assets::embedded(files).unwrap()).await;
    let file = app.get("/assets/page.rs").send().await;
    assert_eq!((file.text().as_str(), cached_for(&file)), (include_str!("http_cache/page.rs"), DAY));
    assert_eq!(file.header("last-modified"), "", "the binary does not know");
    let again = app.get("/assets/page.rs").header("if-none-match", file.header("etag")).send().await;
    assert_eq!(again.status(), 304);
}

#[test]
fn a_folder_that_is_not_there_is_told() {
    let refused = Assets::folder(Path::new("/no/such/folder")).unwrap_err().to_string();
    assert!(refused.contains("/no/such/folder"), "{refused}");
}
