//! A web feed: one route of an axum server that gives frames to browsers as Server-Sent Events,
//! until the server ends with its clients connected.
//!
//! `cargo run --features sse --example web_feed`

use framebus::sse::{EventFeed, FeedGrant, LiveGrant};
use framebus::*;
use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use tokio::sync::oneshot::{self, Sender};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let bus = InMemoryAgentEventBus::default();
    // What users may see, until the host sets something else or withdraws it.
    let grant = FeedGrant::to(EventFilter::run("run-1"));
    let users = LiveGrant::new(grant.with_payload(PayloadAccessMode::RedactedSummary));
    // Looks at each request, and grants what its user may see. Nothing else is given.
    let feed = EventFeed::new(&bus, move |request| match request.headers.get("x-user") {
        Some(_) => users.clone(),
        None => FeedGrant::nothing().into(),
    });
    let handle = feed.handle();
    let app = axum::Router::new().merge(feed.into_router());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    // In a program of yours: tokio::signal::ctrl_c().
    let (stop, stopped) = oneshot::channel::<()>();
    let server = tokio::spawn(async {
        let stopped = async move {
            let _ = stopped.await;
            // Without this, the server waits for its clients to leave.
            handle.close();
        };
        axum::serve(listener, app)
            .with_graceful_shutdown(stopped)
            .await
    });

    // The bus holds these, so a browser that comes later gets them too.
    for (kind, text) in [
        (EventKind::RunStarted, "look at the tests"),
        (EventKind::RunCompleted, "done"),
    ] {
        let envelope = EventEnvelope::new("run-1", "planner", kind);
        bus.publish(AgentEvent::with_redacted_summary(envelope, text).into())?;
    }
    println!("curl -N -H 'x-user: me' 'http://{address}/events?run=run-1'");
    let reader = tokio::task::spawn_blocking(move || read(address, stop));
    server.await??;
    reader.await??;
    Ok(())
}

/// Does what that `curl` would, and stops the server when the run has ended.
fn read(address: SocketAddr, stop: Sender<()>) -> std::io::Result<()> {
    let mut server = TcpStream::connect(address)?;
    write!(
        server,
        "GET /events?run=run-1 HTTP/1.0\r\nHost: {address}\r\nx-user: me\r\n\r\n"
    )?;
    let mut stop = Some(stop);
    for line in BufReader::new(server).lines() {
        let line = line?;
        println!("{line}");
        if line.contains("RunCompleted")
            && let Some(stop) = stop.take()
        {
            // The last lines are the event `end`, with the reason `closing`.
            let _ = stop.send(());
        }
    }
    match stop {
        None => Ok(()),
        Some(_) => Err(std::io::Error::other("the feed ended before the run")),
    }
}

#[test]
fn runs() -> Result<(), Box<dyn Error>> {
    main()
}
