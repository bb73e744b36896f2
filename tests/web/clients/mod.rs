//! Clients that others wrote, as processes of their own: a Python one, a Node one and a browser.
//!
//! `ci/clients` installs the packages of the first two below `target/clients`. What is not there is
//! not run, and says so.

pub mod page;

use crate::common::not_run;
use crate::web::until;
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

/// What a client was given, in order.
#[derive(Clone, Default)]
pub struct Seen(Arc<Mutex<Vec<Item>>>);

/// A message as a client gives it.
#[derive(Clone, Debug)]
pub struct Item {
    pub event: String,
    pub id: String,
    pub data: String,
}

impl Item {
    /// Reads `[event, id, data]`.
    fn read(json: &str) -> Self {
        let item: Value = serde_json::from_str(json).unwrap_or_else(|error| {
            panic!("{error}: {json}");
        });
        let text = |at: usize| item[at].as_str().unwrap_or_default().to_owned();
        Item {
            event: text(0),
            id: text(1),
            data: text(2),
        }
    }

    pub fn frame(&self) -> Value {
        serde_json::from_str(&self.data).unwrap()
    }

    /// Whether it is a frame of this run.
    pub fn of(&self, run: &str) -> bool {
        self.frame()["event"]["envelope"]["run_id"] == run
    }

    pub fn sequence(&self) -> u64 {
        self.frame()["event"]["envelope"]["event_seq"]
            .as_u64()
            .unwrap()
    }
}

impl Seen {
    fn push(&self, item: Item) {
        self.0.lock().unwrap().push(item);
    }

    fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    /// What there is now.
    pub fn items(&self) -> Vec<Item> {
        self.0.lock().unwrap().clone()
    }

    /// Waits for this frame.
    pub fn until(&self, sequence: u64) {
        let is_it = |it: &Item| it.event == "message" && it.sequence() == sequence;
        until("a frame", || self.0.lock().unwrap().iter().rev().any(is_it));
    }
}

/// A client that runs until it is dropped.
pub struct Client {
    process: Child,
    pub seen: Seen,
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Client {
    /// Follows an address with httpx-sse; `None` where it is not installed.
    pub fn python(url: &str) -> Option<Self> {
        let python = installed("python/bin/python", "httpx-sse, a client in Python")?;
        Some(Self::start(
            Command::new(python).arg(script("follow.py")).arg(url),
        ))
    }

    /// Follows an address with npm's eventsource; `None` where it is not installed.
    pub fn node(url: &str) -> Option<Self> {
        let modules = installed("node/node_modules", "eventsource, a client in Node")?;
        let mut node = Command::new("node");
        node.env("NODE_PATH", modules).arg(script("follow.cjs"));
        Some(Self::start(node.arg(url)))
    }

    fn start(command: &mut Command) -> Self {
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let seen = Seen::default();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let sees = seen.clone();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                sees.push(Item::read(&line));
            }
        });
        Client { process, seen }
    }
}

/// Returns a client's script.
fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/web/clients")
        .join(name)
}

/// Returns what `ci/clients` installed; `None`, said loudly, where it has not.
fn installed(path: &str, what: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("target/clients")
        .join(path);
    if path.exists() {
        return Some(path);
    }
    not_run(&format!("{what}: ci/clients has not installed it"));
    None
}
