//! A web feed: one route of an axum server that gives frames to browsers as Server-Sent Events.
//!
//! `cargo run --features sse --example web_feed`

use framebus::sse::{EventFeed, FeedGrant};
use framebus::*;
use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let bus = InMemoryAgentEventBus::default();
    // Looks at each request, and grants what its user may see. Nothing else is given.
    let feed = EventFeed::new(&bus, |request| match request.headers.get("x-user") {
        Some(_) => FeedGrant::to(EventFilter::run("run-1"))
            .with_payload(PayloadAccessMode::RedactedSummary),
        None => FeedGrant::nothing(),
    });
    let app = axum::Router::new().merge(feed.into_router());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async { axum::serve(listener, app).await });

    // The bus holds these, so a browser that comes later gets them too.
    for (kind, text) in [
        (EventKind::RunStarted, "look at the tests"),
        (EventKind::RunCompleted, "done"),
    ] {
        let envelope = EventEnvelope::new("run-1", "planner", kind);
        bus.publish(AgentEvent::with_redacted_summary(envelope, text).into())?;
    }
    println!("curl -N -H 'x-user: me' 'http://{address}/events?run=run-1'");
    tokio::task::spawn_blocking(move || read(address)).await??;
    Ok(())
}

/// Does what that `curl` would, up to the run's end.
fn read(address: SocketAddr) -> std::io::Result<()> {
    let mut server = TcpStream::connect(address)?;
    write!(
        server,
        "GET /events?run=run-1 HTTP/1.0\r\nHost: {address}\r\nx-user: me\r\n\r\n"
    )?;
    for line in BufReader::new(server).lines() {
        let line = line?;
        println!("{line}");
        if line.contains("RunCompleted") {
            return Ok(());
        }
    }
    Err(std::io::Error::other("the feed ended before the run"))
}

#[test]
fn runs() -> Result<(), Box<dyn Error>> {
    main()
}
