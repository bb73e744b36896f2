//! What a user gets: the bus as `InMemoryAgentEventBus::default()` opens it, with real events that
//! are made new for each publish, of many runs, once every ring was lapped.
//!
//! A case is a [`Load`]. Its contenders are the bus with the shards that it opens here, the bus
//! with those of other machines, and channels and lists of `Arc<EventFrame>` that hold as many
//! frames. One run of a contender warms it up once and then gives a figure for each way in which
//! a user reads. Events are made, and freed, within what is timed.

mod load;
mod one_run;
mod ways;

use self::load::{Load, Shared, TURNS};
use super::stream::{Stream, stream};
use crate::case::{Case, Contender};
use crate::payload::Payload;
use crate::peer::{Peer, Size};
use crate::peers::event_bus::{AsOpened, capacity_of};
use crate::peers::{Crossbeam, DequeInRwLock, Tokio, VecInMutex};
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
            "the same, 64 events of a run before the next run's turn",
            Load { burst: 64, ..TURNS },
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
        streams(1),
        streams(4),
    ]);
    cases
}

fn main_case() -> Case {
    let held = capacity_of(0);
    Case {
        name: MAIN.into(),
        about: "new events of 64 runs in turn, a text of 20 bytes in each, rings lapped",
        contenders: vec![
            ways::of_bus::<0>(TURNS),
            ways::of_bus::<1>(TURNS),
            ways::of_bus::<16>(TURNS),
            ways::of_bus::<64>(TURNS),
            ways::of_tokio(TURNS, held),
            ways::of_tokio(TURNS, capacity_of(16)).named(", as 16 shards"),
            ways::of_tokio(TURNS, capacity_of(64)).named(", as 64 shards"),
            ways::of_list::<DequeInRwLock>(TURNS, held),
            ways::of_list::<VecInMutex>(TURNS, held),
            ways::of_crossbeam(TURNS, held),
        ],
    }
}

fn variation(name: &str, about: &'static str, load: Load) -> Case {
    let held = capacity_of(0);
    Case {
        name: name.into(),
        about,
        contenders: vec![
            ways::of_bus::<0>(load),
            ways::of_bus::<1>(load),
            ways::of_tokio(load, held),
            ways::of_list::<DequeInRwLock>(load, held),
            ways::of_crossbeam(load, held),
        ],
    }
}

/// New events from one thread to others, nothing lost.
fn streams(subscribers: usize) -> Case {
    fn of<T: Payload + From<EventFrame>, P: Peer<T>>(subscribers: usize) -> Contender {
        Contender::peer::<T, P>(move |scale| {
            let setup = Stream {
                size: Size::new(1, subscribers).holding(capacity_of(0)),
                batch: 1,
                // So long that the rings are lapped several times.
                time: Duration::from_millis(600),
            };
            stream::<T, P, _>(scale, setup, |_| {
                let mut make = TURNS.maker();
                move |word| T::from(make(word))
            })
        })
    }
    Case {
        name: format!("user/stream/1-to-{subscribers}"),
        about: "new events of 64 runs in turn: frames delivered in a second, nothing lost",
        contenders: vec![
            of::<EventFrame, AsOpened<0>>(subscribers),
            of::<EventFrame, AsOpened<1>>(subscribers),
            of::<EventFrame, AsOpened<16>>(subscribers),
            of::<Shared, Tokio>(subscribers),
            of::<Shared, DequeInRwLock>(subscribers),
            of::<Shared, VecInMutex>(subscribers),
            of::<Shared, Crossbeam>(subscribers),
        ],
    }
}
