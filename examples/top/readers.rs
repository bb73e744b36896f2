//! The subscribers of the view: each in a thread of its own, with its policy and its pace.

use crate::player::Play;
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

/// A subscriber at work.
pub struct Reader {
    name: &'static str,
    policy: Policy,
    shown: Arc<Mutex<Shown>>,
    thread: JoinHandle<()>,
}

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
    /// Whether it does something else: its stream says no news meanwhile.
    pub napping: bool,
    /// How it ended, if it has.
    pub ended: Option<&'static str>,
}

impl Reader {
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

    /// Whether it is gone without having ended.
    pub fn panicked(&self) -> bool {
        self.thread.is_finished() && self.look().ended.is_none()
    }
}

/// What a reader does after so many frames: it does something else for a while.
#[derive(Clone, Copy)]
struct Habit {
    frames: u64,
    pause: Duration,
}

const KEEN: Habit = Habit {
    frames: u64::MAX,
    pause: Duration::ZERO,
};

/// Subscribes everybody, before anything is published.
pub fn start(bus: &InMemoryAgentEventBus, play: &Play) -> Result<Vec<Reader>, AgentError> {
    let options = |policy, capacity| SubscriptionOptions {
        queue: SubscriberQueueConfig {
            overflow: policy,
            capacity: NonZeroUsize::new(capacity).unwrap_or(NonZeroUsize::MIN),
            ..SubscriberQueueConfig::default()
        },
        ..SubscriptionOptions::default()
    };
    let all = |policy, capacity| bus.subscribe_all_with_options(None, options(policy, capacity));
    let each = |millis| Habit {
        frames: 1,
        pause: Duration::from_millis(millis),
    };
    let ends = EventFilter {
        terminal_only: true,
        ..EventFilter::default()
    };
    // The runs that say most.
    let longest = (0..play.parts().len()).max_by_key(|&part| play.count(part).frames);
    let longest = &play.parts()[longest.unwrap_or(0)];
    let wide = 1 << 20;
    let mut readers = vec![
        reader(
            "archive",
            Policy::DropNonTerminal,
            all(Policy::DropNonTerminal, wide)?,
            KEEN,
        ),
        reader(
            "screen, 60/s",
            Policy::SummarizeAndContinue,
            all(Policy::SummarizeAndContinue, 64)?,
            Habit {
                frames: 64,
                pause: Duration::from_millis(16),
            },
        ),
        reader(
            "slow, 2 ms",
            Policy::DropNonTerminal,
            all(Policy::DropNonTerminal, 64)?,
            each(2),
        ),
        reader(
            "slow, 5 ms",
            Policy::DropProgress,
            all(Policy::DropProgress, 64)?,
            each(5),
        ),
        reader(
            "naps for 3 s",
            Policy::DropNonTerminal,
            all(Policy::DropNonTerminal, wide)?,
            Habit {
                frames: 2_000,
                pause: Duration::from_secs(3),
            },
        ),
        reader(
            "fails, 20 ms",
            Policy::FailSubscriber,
            all(Policy::FailSubscriber, 64)?,
            each(20),
        ),
    ];
    let policy = Policy::DropNonTerminal;
    let ends = bus.subscribe_filtered(ends.compile()?, None)?;
    readers.push(reader("ends only", policy, ends, KEEN));
    let run = bus.subscribe_run(longest.run_id.clone(), None)?;
    readers.push(reader("one run", policy, run, KEEN));
    let agent = bus.subscribe_agent(longest.agent_id.clone(), None)?;
    readers.push(reader("one agent", policy, agent, KEEN));
    Ok(readers)
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
                show(
                    &stream,
                    false,
                    Some(if failed { "failed" } else { "ended" }),
                );
                return;
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
