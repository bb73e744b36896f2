//! The bus under stress, on real threads: publishers beside subscribers of every scope and policy
//! that read, stall, clone, leave and resume, on rings of every size. The log of each stream is
//! checked against a record of what was published.
//!
//! `FRAMEBUS_STRESS_SECONDS` says for how long; 5 by default. `FRAMEBUS_STRESS_SEED` repeats a
//! round.

mod support;

use framebus::{
    AgentEventStream, EventCursor, InMemoryAgentEventBus, RecvError, StreamEnd, StreamStart,
    SubscriberOverflowPolicy as Policy, SubscriberQueueConfig, SubscriptionOptions,
};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use support::{KINDS, Log, Outcome, Published, Record, Scope, check_publishers};

const PUBLISHERS: usize = 3;
const RUNS: u64 = 5;
const AGENTS: u64 = 3;

/// A small generator of random values: xorshift64*, Vigna 2016.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % end
    }

    /// Returns an independent generator.
    fn split(&mut self) -> Self {
        Chance(self.below(1 << 31) << 32 | self.below(1 << 31) << 1 | 1)
    }

    fn pause(&mut self) {
        match self.below(8) {
            0 => std::thread::sleep(Duration::from_micros(self.below(800))),
            1..4 => (0..self.below(2_000)).for_each(|_| std::hint::spin_loop()),
            _ => std::thread::yield_now(),
        }
    }
}

/// A round's shape.
struct Round {
    bus_shards: usize,
    capacity: usize,
    frames: u64,
    /// Whether publishers stay so close to the reader that writes the record that it loses nothing.
    near: Option<u64>,
}

impl Round {
    fn new(chance: &mut Chance) -> Self {
        let frames = 300 + chance.below(3_000);
        // Rings that no reader keeps up with; rings that the record's reader keeps up with; rings
        // that hold everything.
        let (capacity, near) = match chance.below(3) {
            0 => (1 + chance.below(12), None),
            1 => {
                // Slots that were skipped for a pin hold no frame, so half of the ring is spare.
                let capacity = 3 * PUBLISHERS as u64 * MOST_AT_ONCE + chance.below(200);
                (
                    capacity,
                    Some(capacity / 2 - PUBLISHERS as u64 * MOST_AT_ONCE),
                )
            }
            _ => (3 * frames + 64, None),
        };
        Round {
            bus_shards: 1 << chance.below(4),
            capacity: capacity as usize,
            frames,
            near,
        }
    }
}

/// The most frames in a batch.
const MOST_AT_ONCE: u64 = 6;

#[derive(Default, Debug)]
struct Sums {
    rounds: u64,
    published: u64,
    refused: u64,
    streams: u64,
    given: u64,
    lost: u64,
    resumed: u64,
    failed: u64,
}

#[test]
fn every_stream_accounts_for_every_frame() {
    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .map(|it| it.parse().expect("a number"))
    };
    let seconds = number("FRAMEBUS_STRESS_SECONDS").unwrap_or(5);
    let fixed = number("FRAMEBUS_STRESS_SEED");
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut sums = Sums::default();
    while sums.rounds == 0 || Instant::now() < until {
        let seed = fixed.unwrap_or(0x9e37_79b9_7f4a_7c15 ^ (sums.rounds << 20 | 1));
        let shown = ShowSeed(seed);
        round(&mut Chance(seed), &mut sums);
        std::mem::forget(shown);
        sums.rounds += 1;
        if sums.rounds.is_multiple_of(200) {
            println!("{sums:?}");
        }
    }
    println!("{sums:?}");
}

/// Says how to repeat a round that failed.
struct ShowSeed(u64);

impl Drop for ShowSeed {
    fn drop(&mut self) {
        eprintln!("FRAMEBUS_STRESS_SEED={} repeats this round's shape", self.0);
    }
}

fn round(chance: &mut Chance, sums: &mut Sums) {
    let shape = Round::new(chance);
    let size = |n| NonZeroUsize::new(n).expect("sizes are not zero");
    let bus = InMemoryAgentEventBus::builder()
        .shards(size(shape.bus_shards))
        .ring_capacity(size(shape.capacity))
        .build()
        .unwrap();
    let over = AtomicBool::new(false);
    let recorded = AtomicU64::new(0);
    let (mut logs, mut refused) = (Vec::new(), 0);
    std::thread::scope(|scope| {
        let (over, recorded, shape) = (&over, &recorded, &shape);
        let options = SubscriptionOptions {
            queue: WIDE,
            ..Default::default()
        };
        let stream = Scope::All.subscribe(&bus, options, None);
        let recorder = scope.spawn(move || record(stream, over, recorded));
        let readers: Vec<_> = (0..2 + chance.below(5))
            .map(|_| {
                let (chance, bus) = (chance.split(), bus.clone());
                scope.spawn(move || Reader::new(chance, bus).read(over))
            })
            .collect();
        let publishers: Vec<_> = (0..PUBLISHERS)
            .map(|at| {
                let (chance, bus) = (chance.split(), bus.clone());
                scope.spawn(move || publish(chance, &bus, at, shape, recorded))
            })
            .collect();
        refused = publishers.into_iter().map(|it| it.join().unwrap()).sum();
        over.store(true, Ordering::Release);
        let published = bus.last_sequence();
        // The last handles are the readers' own.
        drop(bus);
        logs.push((recorder.join().unwrap(), Outcome::Drained));
        for reader in readers {
            logs.extend(reader.join().unwrap());
        }
        sums.published += published;
        let mut whole = Record::of_length(published);
        logs.iter().for_each(|(log, _)| log.teach(&mut whole));
        assert!(whole.is_whole() || shape.near.is_none() && shape.capacity < 100);
        assert_eq!(published + refused, PUBLISHERS as u64 * shape.frames);
        check_publishers(&whole, |id| (id >> 40) as usize, PUBLISHERS);
        for (log, outcome) in &logs {
            let (given, lost) = log.check(&whole, *outcome);
            sums.given += given;
            sums.lost += lost;
            sums.streams += 1;
            sums.resumed += u64::from(*outcome == Outcome::Early);
            sums.failed += u64::from(*outcome == Outcome::Failed);
        }
    });
    sums.refused += refused;
}

/// Publishes a round's frames, one by one or in batches. Returns how many the ring refused.
fn publish(
    mut chance: Chance,
    bus: &InMemoryAgentEventBus,
    at: usize,
    shape: &Round,
    recorded: &AtomicU64,
) -> u64 {
    let (mut next, mut refused) = (1, 0);
    while next <= shape.frames {
        while let Some(near) = shape.near
            && bus
                .last_sequence()
                .saturating_sub(recorded.load(Ordering::Relaxed))
                > near
        {
            std::thread::yield_now();
        }
        let count = match chance.below(6) {
            0 => (1 + chance.below(MOST_AT_ONCE)).min(shape.frames + 1 - next),
            _ => 1,
        };
        let frames = (next..next + count).map(|n| {
            Published {
                id: (at as u64) << 40 | n,
                run: chance.below(RUNS) as u8,
                agent: chance.below(AGENTS) as u8,
                kind: KINDS[chance.below(KINDS.len() as u64) as usize],
            }
            .frame()
        });
        let frames: Vec<_> = frames.collect();
        // Refused by a tiny ring whose slots are all pinned, or that is smaller than the batch.
        let taken = match <[_; 1]>::try_from(frames) {
            Ok([frame]) => bus.publish(frame),
            Err(frames) => bus.publish_all(frames),
        };
        refused += if taken.is_err() { count } else { 0 };
        next += count;
        if chance.below(40) == 0 {
            chance.pause();
        }
    }
    refused
}

/// A queue that never has to drop anything.
const WIDE: SubscriberQueueConfig = SubscriberQueueConfig {
    capacity: NonZeroUsize::new(1 << 20).unwrap(),
    terminal_reserve: NonZeroUsize::MIN,
    overflow: Policy::DropNonTerminal,
};

/// Reads everything as fast as it can, and publishes its position.
fn record(mut stream: AgentEventStream, over: &AtomicBool, recorded: &AtomicU64) -> Log {
    let mut log = Log::new(Scope::All, WIDE, &stream);
    loop {
        let was_over = over.load(Ordering::Acquire);
        if log.batch(&mut stream, 64) > 0 {
            let position = stream.cursor().map_or(0, |cursor| cursor.event_seq);
            recorded.store(position, Ordering::Relaxed);
        } else if was_over {
            rest(&mut stream, &mut log);
            return log;
        } else {
            std::thread::yield_now();
        }
    }
}

/// Reads the remaining frames, and the notice that no frame follows.
fn rest(stream: &mut AgentEventStream, log: &mut Log) {
    rest_of_frames(stream, log);
    if let Some(notice) = stream.pending_overflow() {
        log.lost(notice);
    }
}

/// A subscriber that reads, clones, leaves and resumes at random.
struct Reader {
    chance: Chance,
    bus: Option<InMemoryAgentEventBus>,
    scope: Scope,
    options: SubscriptionOptions,
    stream: AgentEventStream,
    log: Log,
    done: Vec<(Log, Outcome)>,
}

impl Reader {
    fn new(mut chance: Chance, bus: InMemoryAgentEventBus) -> Self {
        let mut some = |end| chance.below(end) as u8;
        let scope = match some(6) {
            0 | 1 => Scope::All,
            2 => Scope::Run(some(RUNS)),
            3 => Scope::Agent(some(AGENTS)),
            4 => Scope::Ends,
            _ => Scope::AgentInRuns(some(AGENTS), some(RUNS), some(RUNS)),
        };
        let policies = [
            Policy::DropNonTerminal,
            Policy::DropProgress,
            Policy::SummarizeAndContinue,
            Policy::FailSubscriber,
        ];
        let size = |n| NonZeroUsize::new(n as usize).expect("above 0");
        let queue = match some(3) {
            0 => WIDE,
            // The queue has room for a frame at least: a stream that always fails would never end.
            _ => SubscriberQueueConfig {
                capacity: size(5 + chance.below(40)),
                terminal_reserve: size(1 + chance.below(4)),
                overflow: policies[chance.below(4) as usize],
            },
        };
        let options = SubscriptionOptions {
            queue,
            start: match chance.below(3) {
                0 => StreamStart::Latest,
                1 => StreamStart::Beginning,
                _ => StreamStart::OldestHeld,
            },
            complete: chance.below(4) == 0,
            ..Default::default()
        };
        let stream = scope.subscribe(&bus, options, None);
        Reader {
            chance,
            bus: Some(bus),
            scope,
            options,
            log: Log::new(scope, queue, &stream),
            stream,
            done: Vec::new(),
        }
    }

    /// Subscribes again, at a cursor or without one.
    fn subscribe(&mut self, outcome: Outcome, cursor: Option<EventCursor>) {
        let Some(bus) = &self.bus else { return };
        self.stream = self.scope.subscribe(bus, self.options, cursor.clone());
        let next = Log::new(self.scope, self.options.queue, &self.stream);
        if let Some(cursor) = cursor {
            assert_eq!(next.after, cursor.event_seq, "resumed where it was outcome");
        }
        self.done
            .push((std::mem::replace(&mut self.log, next), outcome));
    }

    fn read(mut self, over: &AtomicBool) -> Vec<(Log, Outcome)> {
        while !over.load(Ordering::Acquire) {
            self.act();
            self.resume_if_failed();
        }
        // Everything is published. The remaining frames come, and then the end, once the last
        // handle is dropped.
        loop {
            rest_of_frames(&mut self.stream, &mut self.log);
            if !self.resume_if_failed() {
                break;
            }
        }
        self.bus = None;
        match self.stream.recv() {
            Err(RecvError::Ended(StreamEnd::BusClosed)) => {}
            other => panic!("{other:?} after the end"),
        }
        if let Some(notice) = self.stream.pending_overflow() {
            self.log.lost(notice);
        }
        self.done.push((self.log, Outcome::Drained));
        self.done
    }

    fn resume_if_failed(&mut self) -> bool {
        match self.stream.end() {
            Some(StreamEnd::Failed { resume_from, .. }) => {
                self.subscribe(Outcome::Failed, Some(resume_from));
                true
            }
            _ => false,
        }
    }

    fn act(&mut self) {
        match self.chance.below(32) {
            0..14 => {
                for _ in 0..self.chance.below(20) {
                    match self.stream.next() {
                        Some(frame) => self.log.frame(&frame),
                        None => break,
                    };
                }
            }
            14..20 => {
                let most = 1 + self.chance.below(30) as usize;
                self.log.batch(&mut self.stream, most);
            }
            20..24 => {
                let patience = Duration::from_micros(self.chance.below(300));
                if let Ok(frame) = self.stream.recv_timeout(patience) {
                    self.log.frame(&frame);
                }
            }
            24..29 => self.chance.pause(),
            29 => self.stream = self.stream.clone(),
            30 => {
                let cursor = self.stream.cursor().cloned();
                self.chance.pause();
                self.subscribe(Outcome::Early, cursor);
            }
            _ => self.subscribe(Outcome::Early, None),
        }
    }
}

fn rest_of_frames(stream: &mut AgentEventStream, log: &mut Log) {
    for frame in stream.by_ref() {
        log.frame(&frame);
    }
}
