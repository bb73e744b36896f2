//! Publishing while subscribers sleep: each waits for a run of its own, and none is woken. What a
//! publish costs must not depend on how many sleep.

use crate::case::{Case, Contender, ns_per_frame};
use crate::stopwatch::Stopwatch;
use framebus::{
    AgentEvent, AgentEventBus, AgentEventStream, AgentId, EventEnvelope, EventFrame, EventKind,
    InMemoryAgentEventBus, RunId,
};
use futures_util::Stream;
use std::cell::OnceCell;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Waker};

/// How many subscribers sleep.
const ASLEEP: [usize; 6] = [0, 1, 10, 100, 1_000, 10_000];
/// Runs whose events are published in turn, and for which no subscriber waits.
const RUNS: usize = 1_000;
const SHARDS: NonZeroUsize = NonZeroUsize::new(4).unwrap();
/// Frames in a stretch, made ahead.
const STRETCH: usize = 256;
/// Stretches in a run.
const STRETCHES: u64 = 1_024;

/// One bus for all contenders, so that each finds the same events in the same slots.
pub fn cases() -> Vec<Case> {
    let bus = Rc::new(OnceCell::new());
    let contender = |count: usize| {
        let bus = bus.clone();
        Contender::new(format!("framebus, {count} asleep"), move |scale| {
            let bus = bus.get_or_init(|| {
                let builder = InMemoryAgentEventBus::builder().shards(SHARDS);
                builder.build().unwrap()
            });
            let mut sleepers: Vec<_> = (0..count)
                .map(|run| bus.subscribe_run(name("asleep", run), None).unwrap())
                .collect();
            sleepers.iter_mut().for_each(sleep);
            let woken = bus.stats().woken;
            assert_eq!(bus.stats().parked as usize, count);
            let mut runs = (0..RUNS).map(|run| name("other", run)).collect::<Vec<_>>();
            let agent = AgentId::new("agent");
            let mut time = || {
                runs.rotate_left(STRETCH % RUNS);
                let frames: Vec<_> = runs
                    .iter()
                    .take(STRETCH)
                    .map(|run| frame(run, &agent))
                    .collect();
                let begin = Stopwatch::start();
                for frame in frames {
                    bus.publish(frame).unwrap();
                }
                begin.elapsed()
            };
            // Every slot was used before.
            let slots = 2 * 4 * 65_536;
            (0..scale.warm_up(slots / STRETCH)).for_each(|_| {
                time();
            });
            let figures = ns_per_frame((0..scale.of(STRETCHES)).map(|_| time()), STRETCH);
            assert_eq!(bus.stats().woken, woken);
            figures
        })
    };
    vec![Case {
        name: "sleepers".into(),
        about: "publish events of runs that no subscriber waits for, while others sleep",
        contenders: ASLEEP.map(contender).into(),
    }]
}

fn name(kind: &str, run: usize) -> RunId {
    RunId::new(format!("{kind}-{run}"))
}

fn frame(run: &RunId, agent: &AgentId) -> EventFrame {
    EventFrame::new(AgentEvent::envelope_only(EventEnvelope::new(
        run,
        agent,
        EventKind::ToolStarted,
    )))
}

fn sleep(stream: &mut AgentEventStream) {
    let asleep =
        Pin::new(&mut stream.as_stream()).poll_next(&mut Context::from_waker(Waker::noop()));
    assert!(asleep.is_pending());
}
