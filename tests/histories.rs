//! Whole histories through the public API, on one thread: random publishes, subscriptions of every
//! scope and policy, reads, clones, resumes. What comes out is compared with a model that is
//! written from the contract alone, and on rings that are lapped with what the contract promises
//! then.

mod support;

use framebus::{
    AgentEventStream, EventCursor, EventKind, InMemoryAgentEventBus, StreamEnd, StreamStart,
    SubscriberOverflowPolicy as Policy, SubscriberQueueConfig, SubscriptionOptions,
};
use proptest::prelude::*;
use std::num::NonZeroUsize;
use support::{Given, KINDS, Log, Outcome, Published, Record, Scope};

const RUNS: u8 = 3;
const AGENTS: u8 = 2;

/// A step of a history.
#[derive(Clone, Debug)]
enum Step {
    Publish(Vec<(u8, u8, usize)>),
    Subscribe(Scope, SubscriptionOptions),
    /// Which stream, and how many frames at most.
    Next(usize, usize),
    /// All that is there, by batches.
    Batches(usize),
    Clone(usize),
    /// Drop it and resume at its cursor.
    Resume(usize),
}

fn scope() -> impl Strategy<Value = Scope> {
    prop_oneof![
        3 => Just(Scope::All),
        2 => (0..RUNS).prop_map(Scope::Run),
        1 => (0..AGENTS).prop_map(Scope::Agent),
        1 => Just(Scope::Ends),
        1 => (0..AGENTS, 0..RUNS, 0..RUNS).prop_map(|(a, b, c)| Scope::AgentInRuns(a, b, c)),
    ]
}

fn queue() -> impl Strategy<Value = SubscriberQueueConfig> {
    let overflow = prop_oneof![
        Just(Policy::DropNonTerminal),
        Just(Policy::DropProgress),
        Just(Policy::SummarizeAndContinue),
        Just(Policy::FailSubscriber),
    ];
    let size = |n: usize| NonZeroUsize::new(n).expect("above 0");
    (1usize..12, 1usize..4, overflow).prop_map(move |(capacity, reserve, overflow)| {
        SubscriberQueueConfig {
            capacity: size(capacity),
            terminal_reserve: size(reserve),
            overflow,
        }
    })
}

fn step() -> impl Strategy<Value = Step> {
    let start = prop_oneof![
        Just(StreamStart::Latest),
        Just(StreamStart::OldestHeld),
        Just(StreamStart::Beginning),
    ];
    let options =
        (queue(), start, prop::bool::weighted(0.2)).prop_map(|(queue, start, complete)| {
            SubscriptionOptions {
                queue,
                start,
                complete,
                ..Default::default()
            }
        });
    let event = (0..RUNS, 0..AGENTS, 0..KINDS.len());
    prop_oneof![
        6 => prop::collection::vec(event, 1..6).prop_map(Step::Publish),
        2 => (scope(), options).prop_map(|(scope, options)| Step::Subscribe(scope, options)),
        4 => (0usize..8, 0usize..12).prop_map(|(a, b)| Step::Next(a, b)),
        2 => (0usize..8).prop_map(Step::Batches),
        1 => (0usize..8).prop_map(Step::Clone),
        1 => (0usize..8).prop_map(Step::Resume),
    ]
}

/// A stream as the contract has it: a list of frames, and the table of policies.
#[derive(Clone, Debug)]
struct Model {
    scope: Scope,
    config: SubscriberQueueConfig,
    /// The sequence number up to which frames were moved into the queue.
    taken: u64,
    /// Queued frames: sequence number, kind, and how many frames each stands for.
    queue: Vec<(u64, EventKind, usize)>,
    /// The run of progress frames that is not summarised yet.
    run: Vec<(u64, EventKind)>,
    failed: bool,
    /// It has no queue.
    complete: bool,
}

impl Model {
    fn has_room(&self) -> bool {
        let capacity = self.config.capacity.get();
        let others = self.queue.iter().filter(|it| !it.1.is_terminal()).count();
        let most = capacity - self.config.terminal_reserve.get().min(capacity);
        self.queue.len() < capacity && others < most
    }

    fn close_run(&mut self) {
        let run = std::mem::take(&mut self.run);
        if let Some(&(number, kind)) = run.last()
            && self.has_room()
        {
            self.queue.push((number, kind, run.len()));
        }
    }

    fn remove_first(&mut self, which: impl Fn(EventKind) -> bool) -> bool {
        let index = self.queue.iter().position(|it| which(it.1));
        index.map(|at| self.queue.remove(at)).is_some()
    }

    /// Returns false if the refill stops before it.
    fn offer(&mut self, number: u64, kind: EventKind) -> bool {
        let policy = self.config.overflow;
        if self.failed {
            return true;
        }
        if policy == Policy::SummarizeAndContinue && kind.is_progress() {
            self.run.push((number, kind));
            return true;
        }
        self.close_run();
        if kind.is_terminal() {
            while self.queue.len() >= self.config.capacity.get() {
                if !self.remove_first(|kind| !kind.is_terminal()) {
                    return false;
                }
            }
        } else if !self.has_room() {
            self.failed = policy == Policy::FailSubscriber;
            let made_room = policy == Policy::DropProgress
                && !kind.is_progress()
                && self.remove_first(EventKind::is_progress);
            if !made_room {
                return true;
            }
        }
        self.queue.push((number, kind, 1));
        true
    }

    fn take_in(&mut self, record: &Record) {
        while self.taken < record.len() {
            let event = record.event(self.taken + 1);
            if self.scope.matches(event) && !self.offer(self.taken + 1, event.kind) {
                break;
            }
            self.taken += 1;
        }
        self.close_run();
    }

    /// Returns the next frame's sequence number, and whether it stands for itself.
    fn next(&mut self, record: &Record) -> Option<(u64, bool)> {
        if self.complete {
            return self.next_of_all(record).map(|number| (number, true));
        }
        if self.queue.is_empty() {
            self.take_in(record);
        }
        self.pop()
    }

    fn next_of_all(&mut self, record: &Record) -> Option<u64> {
        let mut rest = self.taken + 1..=record.len();
        let next = rest.find(|&number| self.scope.matches(record.event(number)));
        self.taken = next.unwrap_or(record.len());
        next
    }

    /// Returns the position that a reader dropped now resumes from: after the delivered frames, or
    /// after those moved into the queue if none is queued.
    fn position(&self, given: u64) -> u64 {
        match self.queue.is_empty() {
            true => self.taken.max(given),
            false => given,
        }
    }

    fn pop(&mut self) -> Option<(u64, bool)> {
        (!self.queue.is_empty()).then(|| {
            let (number, _, stands_for) = self.queue.remove(0);
            (number, stands_for == 1)
        })
    }

    /// Returns what a reader of batches gets: the queued frames, then what is there, without a
    /// queue.
    fn batches(&mut self, record: &Record) -> Vec<(u64, bool)> {
        let mut all: Vec<_> = std::iter::from_fn(|| self.pop()).collect();
        if !self.failed {
            let rest = self.taken + 1..=record.len();
            all.extend(
                rest.filter(|&number| self.scope.matches(record.event(number)))
                    .map(|number| (number, true)),
            );
            self.taken = record.len();
        }
        all
    }
}

/// A bus with its streams, and what is known of them.
struct World {
    bus: InMemoryAgentEventBus,
    record: Record,
    streams: Vec<Open>,
    /// Whether no lane is ever lapped, so that the output is known exactly.
    exact: bool,
}

#[derive(Clone)]
struct Open {
    stream: AgentEventStream,
    options: SubscriptionOptions,
    log: Log,
    model: Model,
}

impl World {
    fn new(shards: usize, capacity: usize, exact: bool) -> Self {
        let size = |n| NonZeroUsize::new(n).expect("above 0");
        let builder = InMemoryAgentEventBus::builder().shards(size(shards));
        World {
            bus: builder.ring_capacity(size(capacity)).build().unwrap(),
            record: Record::of_length(0),
            streams: Vec::new(),
            exact,
        }
    }

    fn publish(&mut self, events: &[(u8, u8, usize)]) {
        let first = self.record.len();
        let events: Vec<_> = (first + 1..)
            .zip(events)
            .map(|(id, &(run, agent, kind))| Published {
                id,
                run,
                agent,
                kind: KINDS[kind],
            })
            .collect();
        let frames: Vec<_> = events.iter().map(|event| event.frame()).collect();
        // A batch that is larger than a tiny ring is published frame by frame.
        if self.bus.publish_all(frames.clone()).is_err() {
            for frame in frames {
                self.bus.publish(frame).unwrap();
            }
        }
        for event in events {
            self.record.push(event);
        }
        assert_eq!(self.bus.last_sequence(), self.record.len());
    }

    fn open(&mut self, scope: Scope, options: SubscriptionOptions, cursor: Option<EventCursor>) {
        let stream = scope.subscribe(&self.bus, options, cursor);
        let log = Log::new(scope, options.queue, &stream);
        let model = Model {
            scope,
            config: options.queue,
            taken: log.after,
            queue: Vec::new(),
            run: Vec::new(),
            failed: false,
            complete: options.complete,
        };
        self.streams.push(Open {
            stream,
            options,
            log,
            model,
        });
    }

    fn take(&mut self, step: &Step) {
        let at = |which: usize| which % self.streams.len().max(1);
        match *step {
            Step::Publish(ref events) => self.publish(events),
            Step::Subscribe(scope, options) => self.open(scope, options, None),
            Step::Next(which, most) => {
                let at = at(which);
                if let Some(open) = self.streams.get_mut(at) {
                    open.next(most, &self.record, self.exact);
                }
            }
            Step::Batches(which) => {
                let at = at(which);
                if let Some(open) = self.streams.get_mut(at) {
                    open.batches(&self.record, self.exact);
                }
            }
            Step::Clone(which) => {
                if let Some(open) = self.streams.get(at(which)).cloned() {
                    self.streams.push(open);
                }
            }
            Step::Resume(which) if !self.streams.is_empty() => {
                let mut open = self.streams.swap_remove(at(which));
                let cursor = match open.stream.end() {
                    Some(StreamEnd::Failed { resume_from, .. }) => resume_from,
                    _ => open.stream.cursor().expect("a live stream").clone(),
                };
                open.log.check(&self.record, Outcome::Early);
                self.open(open.log.scope, open.options, Some(cursor));
            }
            Step::Resume(_) => {}
        }
    }

    /// Reads all streams to their ends.
    fn end(self) {
        let World {
            bus,
            record,
            streams,
            exact,
        } = self;
        drop(bus);
        for mut open in streams {
            open.next(usize::MAX, &record, exact);
            let outcome = match open.stream.end() {
                Some(StreamEnd::Failed { .. }) => Outcome::Failed,
                Some(StreamEnd::BusClosed) => Outcome::Drained,
                other => panic!("{other:?} after the end"),
            };
            assert!(!exact || open.model.failed == (outcome == Outcome::Failed));
            if let Some(notice) = open.stream.pending_overflow() {
                open.log.lost(notice);
            }
            open.log.check(&record, outcome);
        }
    }
}

impl Open {
    fn next(&mut self, most: usize, record: &Record, exact: bool) {
        for _ in 0..most {
            let frame = self.stream.next();
            let got = frame.as_ref().map(|frame| self.log.frame(frame));
            if exact {
                assert_eq!(got, self.model.next(record), "{:?}", self.model);
                self.check_position();
            }
            if got.is_none() {
                break;
            }
        }
    }

    /// Checks that the cursor is after the delivered frames, or after those moved into the queue if
    /// none is queued or unreported.
    fn check_position(&self) {
        let cursor = self.stream.cursor().expect("a live stream").event_seq;
        let given = self.log.given.iter().rev().find_map(Given::shown);
        let given = given.map_or(self.log.after, |(number, _)| number);
        let untold = self.stream.pending_overflow().is_some() || self.model.failed;
        if self.model.complete {
            // It reads a little ahead.
            assert!(cursor >= given, "{:?}", self.model);
        } else if !untold {
            assert_eq!(cursor, self.model.position(given), "{:?}", self.model);
        }
    }

    fn batches(&mut self, record: &Record, exact: bool) {
        let before = self.log.given.len();
        while self.log.batch(&mut self.stream, usize::MAX) > 0 {}
        if exact {
            let frames = self.log.given[before..].iter().filter_map(Given::shown);
            assert_eq!(frames.collect::<Vec<_>>(), self.model.batches(record));
            self.check_position();
        }
    }
}

proptest! {
    #[test]
    fn streams_give_what_the_contract_says(
        steps in prop::collection::vec(step(), 1..60),
        shards in 1usize..5,
    ) {
        let mut world = World::new(shards, 1_000, true);
        steps.iter().for_each(|step| world.take(step));
        world.end();
    }

    #[test]
    fn every_loss_to_lapped_rings_is_reported(
        steps in prop::collection::vec(step(), 1..120),
        shards in 1usize..5,
        capacity in 1usize..12,
    ) {
        let mut world = World::new(shards, capacity, false);
        steps.iter().for_each(|step| world.take(step));
        world.end();
    }
}
