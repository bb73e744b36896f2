//! Instructions of each peer's round trip, counted by callgrind.

use crate::peer::{CAPACITY, Contract, Peer, Publish, Read, Size};
use crate::peers::{self, Visit};
use crate::record::{Record, Series, today};
use anyhow::{Result, ensure};
use std::hint::black_box;

/// Frames that are counted.
const FRAMES: usize = 32 * 1_024;

/// The name under which the counts stand in the results.
pub const COUNTS: &str = "instructions/round-trip/u64";

/// Counts a round trip of 256 words on each peer.
pub fn peers() -> Result<Record> {
    const FIGURE: &str = "instructions/frame";
    let mut names = OfPeer::default();
    peers::each::<u64>(&mut names);
    let count = |(name, contract): (&'static str, Contract)| {
        let count = framebus_counts::count(&["count", name], FRAMES)?;
        Ok(Series {
            name: name.into(),
            contract: contract.as_str().into(),
            figure: FIGURE.into(),
            rounds: [(FIGURE.into(), vec![count.instructions])].into(),
        })
    };
    Ok(Record {
        case: COUNTS.into(),
        about: "publish 256, drain 256, counted by callgrind".into(),
        date: today(),
        quick: false,
        series: names.all.into_iter().map(count).collect::<Result<_>>()?,
    })
}

/// The round trip of one peer: what the program does under valgrind.
pub fn run(name: &str) -> Result<()> {
    let mut wanted = OfPeer {
        name: Some(name),
        ..OfPeer::default()
    };
    peers::each::<u64>(&mut wanted);
    ensure!(wanted.ran, "no peer of this name: {name}");
    Ok(())
}

/// Runs the round trip of the peer of this name; without one, gathers the names.
#[derive(Default)]
struct OfPeer<'a> {
    name: Option<&'a str>,
    all: Vec<(&'static str, Contract)>,
    ran: bool,
}

impl Visit<u64> for OfPeer<'_> {
    fn visit<P: Peer<u64>>(&mut self) {
        const BURST: u64 = 256;
        self.all.push((P::NAME, P::CONTRACT));
        if self.name != Some(P::NAME) {
            return;
        }
        self.ran = true;
        let (mut publishers, mut subscribers) = P::open(Size::new(1, 1));
        let (publisher, subscriber) = (&mut publishers[0], &mut subscribers[0]);
        let mut round_trips = |frames: usize| {
            for _ in 0..frames as u64 / BURST {
                (0..BURST).for_each(|word| publisher.publish(word));
                let mut sum = 0;
                while subscriber.read(|word| sum += black_box(word)) > 0 {}
                assert_eq!(sum, BURST * (BURST - 1) / 2);
            }
        };
        round_trips(CAPACITY);
        framebus_counts::counted(|| round_trips(FRAMES));
    }
}
