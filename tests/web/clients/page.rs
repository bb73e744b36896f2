//! A page in Chromium that follows a feed by the lines of the documentation, and tells what it was
//! given to an address of the test's own.

use super::{Item, Seen};
use crate::common::not_run;
use crate::web::Server;
use axum::response::Html;
use axum::routing::{get, post};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

const NAMES: [&str; 5] = [
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
];

/// An open page. It is closed when this is dropped.
pub struct Page {
    browser: Child,
    _profile: TempDir,
    _server: Server,
    pub seen: Seen,
}

impl Drop for Page {
    fn drop(&mut self) {
        let _ = self.browser.kill();
        let _ = self.browser.wait();
    }
}

impl Page {
    /// Opens a page that follows a feed at an address of another origin; `None`, said loudly, where
    /// there is no Chromium.
    pub fn open(feed: SocketAddr, path: &str) -> Option<Self> {
        let Some(program) = program() else {
            not_run("the web feed in a browser, there is no Chromium here");
            return None;
        };
        let seen = Seen::default();
        let server = Server::start(router(seen.clone()));
        let profile = tempfile::tempdir().unwrap();
        let here = server.address;
        let encoded = format!("http://{feed}{path}")
            .replace('?', "%3F")
            .replace('&', "%26");
        let browser = Command::new(program)
            .args([
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--no-first-run",
            ])
            .args(["--disable-dev-shm-usage", "--remote-debugging-port=0"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg(format!(
                "http://{here}/?feed={encoded}&seen=http://{here}/seen"
            ))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Some(Page {
            browser,
            _profile: profile,
            _server: server,
            seen,
        })
    }
}

/// The page, and where it tells what it was given: each item under its number.
fn router(seen: Seen) -> axum::Router {
    let page = include_str!("../page.html").replace("/* THE DOCUMENTED LINES */", &documented());
    // Each item once, although a page that got no answer sends it again.
    let tell = move |text: String| async move {
        for line in text.lines() {
            let (number, item) = line.split_once(' ').unwrap();
            if number.parse() == Ok(seen.len()) {
                seen.push(Item::read(item));
            }
        }
    };
    axum::Router::new()
        .route("/", get(|| async { Html(page) }))
        .route("/seen", post(tell))
}

/// Returns the lines for a page that docs/web-feed.md gives.
fn documented() -> String {
    let page = include_str!("../../../docs/web-feed.md");
    let (_, lines) = page.split_once("```js\n").unwrap();
    lines.split_once("```").unwrap().0.to_owned()
}

/// The program that the variable `CHROMIUM` names, or one of the usual ones.
fn program() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("CHROMIUM") {
        return Some(named.into());
    }
    let path = std::env::var_os("PATH")?;
    let places = std::env::split_paths(&path).flat_map(|dir| NAMES.map(|name| dir.join(name)));
    places.into_iter().find(|place| place.is_file())
}
