//! What a user gets: the bus as `InMemoryAgentEventBus::default()` opens it, with real events that
//! are made new for each publish, of many runs, once every ring was lapped.
//!
//! A case is a [`Load`]. Its contenders are the bus as `default()` opens it here and on other
//! machines, the bus with other numbers of shards, and peers that hold as many frames: channels and
//! lists of `Arc<EventFrame>`, and a ring that owns its frames. One run of a contender warms it up
//! once and then gives a figure for each way in which a user reads. Events are made, and freed,
//! within what is timed; in streams each on the thread that would do so.

mod load;
mod one_run;
mod ways;

use self::load::{Load, Shared, TURNS};
use super::stream::{Stream, stream};
use crate::case::{Case, Contender};
use crate::payload::Payload;
use crate::peer::{CAPACITY, Peer, Size};
use crate::peers::event_bus::{ByDefault, Opened, WithShards};
use crate::peers::{Crossbeam, DequeInRwLock, PhotonOwned, Tokio, VecInMutex};
use framebus::EventFrame;
use std::time::Duration;

pub use self::ways::{BATCH, EMPTY, MADE, NEXT, RECV_ASYNC, STREAM, WAYS};

/// The case that the others are variations of, and that PERF.md begins with.
pub const MAIN: &str = "user/64-runs";

/// All of these.
pub fn cases() -> Vec<Case> {
    let mut cases = vec![main_case()];
    cases.extend([
        variation(
            "user/1-run",
            "the same, all events of one run",
            Load { runs: 1, ..TURNS },
        ),
        variation(
            "user/1000-runs",
            "the same, events of 1,000 runs in turn",
            Load {
                runs: 1_000,
                ..TURNS
            },
        ),
        variation(
            "user/bursts",
            "events of 64 runs, 64 of a run before the next run's turn",
            Load { burst: 64, ..TURNS },
        ),
        variation(
            "user/1000-runs-bursts",
            "events of 1,000 runs, 64 of a run before the next run's turn",
            Load {
                runs: 1_000,
                burst: 64,
                ..TURNS
            },
        ),
        variation(
            "user/text-200",
            "the same, a text of 200 bytes in each event",
            Load { text: 200, ..TURNS },
        ),
        variation(
            "user/text-2000",
            "the same, a text of 2,000 bytes in each event",
            Load {
                text: 2_000,
                ..TURNS
            },
        ),
        variation(
            "user/queue",
            "the same, 48 at once, read through the queue of a default subscription",
            Load {
                queue: true,
                ..TURNS
            },
        ),
        variation(
            "user/fresh",
            "the same in rings that were never used",
            Load {
                lapped: false,
                ..TURNS
            },
        ),
        variation(
            "user/pressure",
            "the same; before each 256 events another program's 2 MiB go through the cache",
            Load {
                pressure: true,
                ..TURNS
            },
        ),
        one_run::case(),
        streams(1, 1),
        streams(1, 4),
        streams(2, 1),
    ]);
    cases
}

fn main_case() -> Case {
    let held = ByDefault::capacity();
    Case {
        name: MAIN.into(),
        about: "new events of 64 runs in turn, a text of 20 bytes in each, rings lapped",
        contenders: vec![
            ways::of_bus::<ByDefault>(TURNS),
            ways::of_bus::<WithShards<2>>(TURNS),
            ways::of_bus::<WithShards<4>>(TURNS),
            ways::of_bus::<WithShards<16>>(TURNS),
            ways::of_bus::<WithShards<64>>(TURNS),
            ways::of_tokio(TURNS, held),
            ways::of_tokio(TURNS, WithShards::<16>::capacity()).named(", as 16 shards"),
            ways::of_tokio(TURNS, WithShards::<64>::capacity()).named(", as 64 shards"),
            ways::of_peer::<Shared, DequeInRwLock>(TURNS, held, NEXT),
            ways::of_peer::<Shared, VecInMutex>(TURNS, held, NEXT),
            ways::of_crossbeam(TURNS, held),
            ways::of_peer::<EventFrame, PhotonOwned>(TURNS, held, BATCH),
        ],
    }
}

fn variation(name: &str, about: &'static str, load: Load) -> Case {
    let held = ByDefault::capacity();
    Case {
        name: name.into(),
        about,
        contenders: vec![
            ways::of_bus::<ByDefault>(load),
            ways::of_bus::<WithShards<16>>(load),
            ways::of_tokio(load, held),
            ways::of_peer::<Shared, DequeInRwLock>(load, held, NEXT),
            ways::of_crossbeam(load, held),
            ways::of_peer::<EventFrame, PhotonOwned>(load, held, BATCH),
        ],
    }
}

/// New events from some threads to others, nothing lost.
fn streams(publishers: usize, subscribers: usize) -> Case {
    fn of<T, P>(publishers: usize, subscribers: usize) -> Contender
    where
        T: Payload + From<EventFrame>,
        P: Peer<T>,
    {
        Contender::peer::<T, P>(move |scale| {
            let setup = Stream {
                size: Size::new(publishers, subscribers).holding(ByDefault::capacity()),
                batch: 1,
                // Fits a shard of 16 that has more than its share of the runs.
                in_flight: CAPACITY / 8,
                // So long that the rings are lapped several times.
                time: Duration::from_millis(600),
            };
            stream::<T, P, _>(scale, setup, |_| {
                let mut make = TURNS.maker();
                move |word| T::from(make(word))
            })
        })
    }
    let mut contenders = vec![
        of::<EventFrame, ByDefault>(publishers, subscribers),
        of::<EventFrame, WithShards<16>>(publishers, subscribers),
        of::<Shared, Tokio>(publishers, subscribers),
        of::<Shared, DequeInRwLock>(publishers, subscribers),
        of::<Shared, VecInMutex>(publishers, subscribers),
        of::<Shared, Crossbeam>(publishers, subscribers),
    ];
    if publishers == 1 {
        contenders.push(of::<EventFrame, PhotonOwned>(publishers, subscribers));
    }
    Case {
        name: format!("user/stream/{publishers}-to-{subscribers}"),
        about: "new events of 64 runs in turn: frames delivered in a second, nothing lost",
        contenders,
    }
}
