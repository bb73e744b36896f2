//! Plays recorded agent runs through a bus and shows them on a web page as they happen.

mod page;
#[cfg(test)]
mod tests;
mod tone;

use crate::output;
use crate::play::{Pace, Play, publish};
use crate::sources::Sources;
use axum::http::header::HOST;
use axum::http::request::Parts;
use framebus::sse::{EventFeed, FeedGrant};
use framebus::{EventFilter, InMemoryAgentEventBus, PayloadAccessMode, SubscriberQueueConfig};
use framebus_recordings::ReadOptions;
use indicatif::ProgressBar;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::thread;

/// Shows recorded agent runs on a web page as they happen.
///
/// The page is at /, the feed that it reads at /events:
/// `curl -N 'http://127.0.0.1:8080/events?kind=RunCompleted'` shows each run's end.
#[derive(clap::Args, Debug)]
pub struct Options {
    #[command(flatten)]
    sources: Sources,

    /// The port to listen on, at the loopback address; 0 for any that is free.
    #[arg(long, default_value_t = 8080)]
    port: u16,

    /// How fast, as a multiple of the recorded pace; 0 is flat out.
    #[arg(long, default_value_t = 1.0, value_parser = crate::play::from_zero, allow_hyphen_values = true)]
    speed: f64,

    /// Play copies of the runs until there are at least this many.
    #[arg(long, default_value_t = 0)]
    runs: usize,
}

/// What ends the server.
#[derive(Debug, thiserror::Error)]
enum ServeError {
    #[error("can't listen at {0}: {1}; give another --port")]
    Port(SocketAddr, io::Error),
    #[error(transparent)]
    Play(#[from] crate::play::PlayError),
    #[error("the server: {0}")]
    Server(#[from] io::Error),
}

/// Serves until the process is ended. The exit code is 1 if something else ends it.
pub fn run(options: &Options) -> ExitCode {
    let served = tokio::runtime::Runtime::new()
        .map_err(ServeError::from)
        .and_then(|runtime| runtime.block_on(serve(options)));
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::error(error);
            ExitCode::FAILURE
        }
    }
}

async fn serve(options: &Options) -> Result<(), ServeError> {
    let recorded = options.sources.read(&ReadOptions::default());
    let bus = InMemoryAgentEventBus::default();
    let app = page::router().merge(feed(&bus).into_router());
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, options.port));
    let listener = tokio::net::TcpListener::bind(address)
        .await
        .map_err(|error| ServeError::Port(address, error))?;
    let play = Play::new(recorded.runs, options.runs, 0)?.in_detail();
    output::line(format_args!("http://{}/", listener.local_addr()?))?;
    output::line(format_args!(
        "playing {} frames of {} runs",
        play.frames(),
        play.parts().len()
    ))?;
    let pace = Pace {
        threads: NonZeroUsize::MIN,
        speed: options.speed,
        split_runs: false,
    };
    // The bus stays open when everything is played: this is not its last handle.
    let publisher = bus.clone();
    thread::spawn(
        move || match publish(&publisher, &play, pace, &ProgressBar::hidden()) {
            Ok(()) => {
                // Without an output the page stays up all the same.
                let _ = output::line("all played; the page stays up until Ctrl-C");
            }
            Err(error) => output::error(error),
        },
    );
    axum::serve(listener, app).await?;
    Ok(())
}

/// A feed for whoever can connect, which at the loopback address is this machine alone. It shows
/// everything, content too. A host would look at who asks before it grants anything.
fn feed(bus: &InMemoryAgentEventBus) -> EventFeed {
    let grant = |request: &Parts| {
        if !is_local(request) {
            return FeedGrant::nothing();
        }
        FeedGrant::to(EventFilter::default())
            .with_payload(PayloadAccessMode::FullPayloadIfPolicyAllows)
    };
    // A page that comes late gets everything that the bus holds.
    let queue = SubscriberQueueConfig {
        capacity: NonZeroUsize::MIN.saturating_add(65_535),
        ..SubscriberQueueConfig::default()
    };
    EventFeed::new(bus, grant).queue(queue)
}

/// Whether a request names this machine as its host. A page of another site, whose name was made to
/// lead to the loopback address, does not.
fn is_local(request: &Parts) -> bool {
    let host = request.headers.get(HOST);
    let host = host.and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    name == "localhost"
        || name
            .trim_matches(['[', ']'])
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod local {
    use super::*;

    #[test]
    fn only_a_name_of_this_machine_is_local() {
        for (host, local) in [
            ("127.0.0.1:8080", true),
            ("127.0.0.1", true),
            ("localhost:8080", true),
            ("[::1]:8080", true),
            ("[::1]", true),
            ("127.9.9.9:1", true),
            ("evil.example:8080", false),
            ("127.0.0.1.evil.example", false),
            ("localhost.evil.example:80", false),
            ("192.168.1.1:8080", false),
            ("", false),
        ] {
            let request = axum::http::Request::builder().header(HOST, host).body(());
            let (parts, ()) = request.unwrap().into_parts();
            assert_eq!(is_local(&parts), local, "{host}");
        }
    }
}
