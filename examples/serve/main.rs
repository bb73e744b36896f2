//! Plays recorded agent runs through a bus and shows them on a web page as they happen.
//!
//! `cargo run --release --example serve --features sse`, then open the address that it prints, or
//! `curl -N 'http://127.0.0.1:8080/events?kind=RunCompleted&kind=RunFailed'`.

mod page;
#[path = "../replay/player.rs"]
#[allow(dead_code, reason = "the replay counts what it plays")]
mod player;
#[path = "../top/recorded.rs"]
mod recorded;
#[path = "../replay/trace/mod.rs"]
#[allow(dead_code, unused_imports, reason = "as in the replay")]
mod trace;

use clap::Parser;
use framebus::sse::{EventFeed, FeedGrant};
use framebus::{EventFilter, InMemoryAgentEventBus, PayloadAccessMode, SubscriberQueueConfig};
use indicatif::ProgressBar;
use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::thread;

/// Shows recorded agent runs on a web page as they happen.
#[derive(Parser, Debug)]
#[command(version)]
struct Options {
    /// Recordings, or folders of them [default: the sample data of the project].
    paths: Vec<PathBuf>,

    /// The port to listen on, at the loopback address; 0 for any that is free.
    #[arg(long, default_value_t = 8080)]
    port: u16,

    /// How fast, as a multiple of the recorded pace; 0 is flat out.
    #[arg(long, default_value_t = 1.0)]
    speed: f64,

    /// Play copies of the runs until there are at least so many.
    #[arg(long, default_value_t = 0)]
    runs: usize,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    let play = recorded::recorded(options.paths, options.runs);

    let bus = InMemoryAgentEventBus::default();
    // A host would look at who asks. This one listens at the loopback address only, and shows
    // everybody there everything but content.
    let feed = EventFeed::new(&bus, |_request| {
        FeedGrant::to(EventFilter::default()).with_payload(PayloadAccessMode::RedactedSummary)
    })
    // A page that comes late gets all that the bus holds.
    .queue(SubscriberQueueConfig {
        capacity: NonZeroUsize::MIN.saturating_add(65_535),
        ..SubscriberQueueConfig::default()
    });
    let app = page::router().merge(feed.into_router());
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, options.port));
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("http://{}/", listener.local_addr()?);

    let pace = player::Pace {
        threads: NonZeroUsize::MIN,
        speed: options.speed.max(0.0),
        split_runs: false,
    };
    println!(
        "playing {} frames of {} runs",
        play.frames(),
        play.parts().len()
    );
    let publisher = bus.clone();
    thread::spawn(
        move || match player::publish(&publisher, &play, pace, &ProgressBar::hidden()) {
            Ok(()) => println!("all played; the page stays up until Ctrl-C"),
            Err(error) => eprintln!("{error}"),
        },
    );
    axum::serve(listener, app).await?;
    Ok(())
}
