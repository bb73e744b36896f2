//! The subscribers of the view: each on a thread of its own, with its policy and its habits.

use crate::play::Play;
use framebus::{
    AgentError, AgentEventBus, AgentEventStream, EventFilter, InMemoryAgentEventBus, RecvError,
    StreamEnd, StreamStats, SubscriberOverflowPolicy as Policy, SubscriberQueueConfig,
    SubscriptionOptions,
};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How often a reader shows what it has come to.
const SHOWN_EVERY: Duration = Duration::from_millis(50);

/// A queue that only the rings bound.
const WIDE: usize = 1 << 20;

/// A subscriber at work.
pub struct Reader {
    name: &'static str,
    policy: Policy,
    /// Written by the reader's thread, read by the view's.
    shown: Arc<Mutex<Shown>>,
    thread: JoinHandle<()>,
}

/// What a reader last showed.
#[derive(Clone, Copy, Default)]
struct Shown {
    stats: StreamStats,
    napping: bool,
    ended: Option<&'static str>,
}

/// What is to be seen of a subscriber.
pub struct Look {
    pub name: &'static str,
    pub policy: Policy,
    pub stats: StreamStats,
    /// It pauses: its stream's figures stand still meanwhile.
    pub napping: bool,
    /// How it ended; `None` while it reads.
    pub ended: Option<&'static str>,
}

impl Reader {
    /// Returns what the reader last showed.
    pub fn look(&self) -> Look {
        let shown = *self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        Look {
            name: self.name,
            policy: self.policy,
            stats: shown.stats,
            napping: shown.napping,
            ended: shown.ended,
        }
    }

    /// Tells whether its thread is gone though its stream did not end.
    pub fn panicked(&self) -> bool {
        self.thread.is_finished() && self.look().ended.is_none()
    }
}

/// How a reader reads: after how many frames it pauses.
#[derive(Clone, Copy)]
struct Habit {
    frames: u64,
    pause: Duration,
}

impl Habit {
    /// Reads on without a pause.
    const KEEN: Habit = Habit::new(u64::MAX, 0);

    const fn new(frames: u64, pause_millis: u64) -> Self {
        Habit {
            frames,
            pause: Duration::from_millis(pause_millis),
        }
    }
}

/// Subscribes everybody, before anything is published.
pub fn start(bus: &InMemoryAgentEventBus, play: &Play) -> Result<Vec<Reader>, AgentError> {
    use Policy::{DropNonTerminal, DropProgress, FailSubscriber, SummarizeAndContinue};
    let everything = [
        ("archive", DropNonTerminal, WIDE, Habit::KEEN),
        ("screen, 60/s", SummarizeAndContinue, 64, Habit::new(64, 16)),
        ("slow, 2 ms", DropNonTerminal, 64, Habit::new(1, 2)),
        ("slow, 5 ms", DropProgress, 64, Habit::new(1, 5)),
        (
            "naps for 3 s",
            DropNonTerminal,
            WIDE,
            Habit::new(2_000, 3_000),
        ),
        ("fails, 20 ms", FailSubscriber, 64, Habit::new(1, 20)),
    ];
    let mut readers = Vec::new();
    for (name, policy, capacity, habit) in everything {
        let stream = bus.subscribe_all_with_options(None, options(policy, capacity))?;
        readers.push(reader(name, policy, stream, habit));
    }

    let ends = EventFilter {
        terminal_only: true,
        ..EventFilter::default()
    };
    // The run that says most, and its agent.
    let longest = (0..play.parts().len()).max_by_key(|&part| play.count(part).frames);
    let longest = &play.parts()[longest.unwrap_or(0)];
    for (name, stream) in [
        ("ends only", bus.subscribe_filtered(ends.compile()?, None)?),
        ("one run", bus.subscribe_run(longest.run_id.clone(), None)?),
        (
            "one agent",
            bus.subscribe_agent(longest.agent_id.clone(), None)?,
        ),
    ] {
        readers.push(reader(name, DropNonTerminal, stream, Habit::KEEN));
    }
    Ok(readers)
}

fn options(policy: Policy, capacity: usize) -> SubscriptionOptions {
    SubscriptionOptions {
        queue: SubscriberQueueConfig {
            overflow: policy,
            capacity: NonZeroUsize::new(capacity).unwrap_or(NonZeroUsize::MIN),
            ..SubscriberQueueConfig::default()
        },
        ..SubscriptionOptions::default()
    }
}

fn reader(name: &'static str, policy: Policy, stream: AgentEventStream, habit: Habit) -> Reader {
    let shown = Arc::new(Mutex::new(Shown::default()));
    let show = shown.clone();
    Reader {
        name,
        policy,
        shown,
        thread: thread::spawn(move || read(stream, habit, &show)),
    }
}

/// Reads until the stream ends, and shows its figures now and then, and before each pause.
fn read(mut stream: AgentEventStream, habit: Habit, shown: &Mutex<Shown>) {
    let show = |stream: &AgentEventStream, napping, ended| {
        *shown.lock().unwrap_or_else(PoisonError::into_inner) = Shown {
            stats: stream.stats(),
            napping,
            ended,
        };
    };
    let (mut frames, mut last_shown) = (0_u64, Instant::now());
    loop {
        match stream.recv_timeout(SHOWN_EVERY) {
            Ok(_) => frames += 1,
            Err(RecvError::Timeout) => {}
            Err(ended) => {
                let failed = matches!(ended, RecvError::Ended(StreamEnd::Failed { .. }));
                let how = if failed { "failed" } else { "ended" };
                return show(&stream, false, Some(how));
            }
        }
        let pause = frames > 0 && frames.is_multiple_of(habit.frames);
        if pause || last_shown.elapsed() >= SHOWN_EVERY {
            show(&stream, pause, None);
            last_shown = Instant::now();
        }
        if pause {
            thread::sleep(habit.pause);
        }
    }
}
