//! A server for tests, and a client that reads Server-Sent Events off a plain connection.
#![allow(dead_code, reason = "each test program uses some of it")]

pub mod clients;
pub mod far;
pub mod nginx;

use crate::common::size;
use framebus::sse::{EventFeed, FeedGrant};
use framebus::*;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

/// Longer than anything here takes: a test that gets there has failed.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A bus of one shard.
pub fn bus(ring: usize) -> InMemoryAgentEventBus {
    let builder = InMemoryAgentEventBus::builder().shards(size(1));
    builder.ring_capacity(size(ring)).build().unwrap()
}

/// A feed that grants everything.
pub fn open(bus: &InMemoryAgentEventBus) -> EventFeed {
    EventFeed::new(bus, |_| {
        FeedGrant::to(EventFilter::default())
            .with_payload(PayloadAccessMode::FullPayloadIfPolicyAllows)
    })
}

pub fn publish(bus: &InMemoryAgentEventBus, frames: impl IntoIterator<Item = EventFrame>) {
    frames.into_iter().for_each(|it| bus.publish(it).unwrap());
}

/// A frame so large that no socket's buffer holds many of them.
pub fn large(run: &str, kind: EventKind) -> EventFrame {
    let envelope = EventEnvelope::new(run, "x", kind).with_privacy(PrivacyClass::Content);
    let content = vec![b'x'; 16 << 10];
    EventFrame::new(AgentEvent::with_content(envelope, "text/plain", content))
}

/// Serves until it is dropped.
pub struct Server {
    pub address: SocketAddr,
    runtime: Option<Runtime>,
}

impl Server {
    /// Serves at a port of its own.
    pub fn start(router: axum::Router) -> Self {
        Self::at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), router)
    }

    /// Serves at an address, once it is free.
    pub fn at(address: SocketAddr, router: axum::Router) -> Self {
        let (runtime, listener) = listen(address);
        let address = listener.local_addr().unwrap();
        runtime.spawn(async { axum::serve(listener, router).await });
        Server {
            address,
            runtime: Some(runtime),
        }
    }

    /// Serves until `stop` comes, and then until each connection has ended: the task says when.
    pub fn until(
        router: axum::Router,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> (Self, JoinHandle<()>) {
        let (runtime, listener) = listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        let address = listener.local_addr().unwrap();
        let served = runtime.spawn(async {
            let served = axum::serve(listener, router).with_graceful_shutdown(stop);
            served.await.unwrap();
        });
        let runtime = Some(runtime);
        (Server { address, runtime }, served)
    }
}

/// Listens at an address, once it is free.
pub fn listen(address: SocketAddr) -> (Runtime, TcpListener) {
    let runtime = Runtime::new().unwrap();
    let mut listener = None;
    until("a port", || {
        listener = runtime.block_on(TcpListener::bind(address)).ok();
        listener.is_some()
    });
    (runtime, listener.unwrap())
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Waits for something to become so.
pub fn until(what: &str, mut so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !so() {
        assert!(begin.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// An answer: its head was read, its body was not.
pub struct Answer {
    pub status: u16,
    pub head: String,
    body: BufReader<TcpStream>,
}

/// Asks for a path. HTTP/1.0, so that the body is not in chunks.
pub fn connect(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut connection = TcpStream::connect(address).unwrap();
    connection.set_read_timeout(Some(PATIENCE)).unwrap();
    let headers: String = headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    write!(
        connection,
        "GET {path} HTTP/1.0\r\nHost: test\r\n{headers}\r\n"
    )
    .unwrap();
    let mut body = BufReader::new(connection);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(body.read_line(&mut head).unwrap() > 0, "{head}");
    }
    Answer {
        status: head.split(' ').nth(1).unwrap().parse().unwrap(),
        head,
        body,
    }
}

impl Answer {
    pub fn text(mut self) -> String {
        let mut text = String::new();
        self.body.read_to_string(&mut text).unwrap();
        text
    }

    pub fn messages(self) -> Messages {
        assert_eq!(self.status, 200, "{}", self.head);
        Messages { body: self.body }
    }
}

/// What stands between two empty lines.
#[derive(Clone, Debug, Default)]
pub struct Message {
    pub event: Option<String>,
    pub id: Option<String>,
    pub retry: Option<u64>,
    pub data: String,
    comment: bool,
}

impl Message {
    pub fn is_comment(&self) -> bool {
        self.comment
    }

    pub fn frame(&self) -> Value {
        serde_json::from_str(&self.data).unwrap()
    }

    pub fn sequence(&self) -> u64 {
        self.frame()["cursor"]["event_seq"].as_u64().unwrap()
    }

    /// Whether it is a frame.
    pub fn is_frame(&self) -> bool {
        self.event.is_none() && !self.data.is_empty()
    }

    /// Whether it is of this name, and its data names this reason.
    pub fn is(&self, event: &str, reason: &str) -> bool {
        self.event.as_deref() == Some(event) && self.frame()["reason"] == reason
    }

    /// The sequence number of its position.
    pub fn position(&self) -> u64 {
        let id = self.id.as_deref().unwrap_or_default();
        id.rsplit('-').next().unwrap().parse().unwrap()
    }
}

/// The messages of a connection, until it ends.
pub struct Messages {
    body: BufReader<TcpStream>,
}

impl Messages {
    /// Only frames.
    pub fn frames(self) -> impl Iterator<Item = Message> {
        self.filter(Message::is_frame)
    }
}

impl Iterator for Messages {
    type Item = Message;

    fn next(&mut self) -> Option<Message> {
        let mut message = Message::default();
        loop {
            let mut line = String::new();
            if self.body.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            let line = line.trim_end_matches('\n');
            match line
                .split_once(':')
                .map(|(name, value)| (name, value.trim_start()))
            {
                None if line.is_empty() => return Some(message),
                Some(("event", value)) => message.event = Some(value.to_owned()),
                Some(("id", value)) => message.id = Some(value.to_owned()),
                Some(("retry", value)) => message.retry = value.parse().ok(),
                Some(("data", value)) => message.data.push_str(value),
                Some(("", _)) => message.comment = true,
                _ => panic!("not a line of an event stream: {line:?}"),
            }
        }
    }
}
