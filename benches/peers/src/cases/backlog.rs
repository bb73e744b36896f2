//! The job of the bus that this one replaces: subscribe to all with default options, and collect
//! what is left of a backlog of 50,000 real events. Both buses have their default settings; the
//! other one keeps all that it gets, and its stream is what was there when it was made, so that it
//! can take part in no stream and no round trip.

use crate::case::{Case, Contender, Figure, Scale, ns_per_frame};
use crate::peers::replaced::{self, AgentEventBus as _};
use crate::stopwatch::Stopwatch;
use framebus::{
    AgentEvent, AgentEventBus, EventEnvelope, EventFrame, EventKind, InMemoryAgentEventBus,
};
use std::cell::OnceCell;
use std::rc::Rc;

/// Frames in the backlog, and the runs that they are of.
const BACKLOG: usize = 50_000;
const RUNS: usize = 50;

/// What happens in a run of 1,000 frames: mostly tokens, tools between them, and an end. All runs
/// have no more terminal frames than the queue holds: the other bus would lose the rest, and this
/// one gives them all.
fn kind(step: usize) -> EventKind {
    match step {
        0 => EventKind::RunStarted,
        999 => EventKind::RunCompleted,
        n if n % 25 == 0 => EventKind::ToolStarted,
        _ => EventKind::ModelStreamDelta,
    }
}

/// Each frame of the backlog: its run and its kind.
fn backlog() -> impl Iterator<Item = (String, EventKind)> {
    (0..BACKLOG).map(|n| (format!("run-{}", n % RUNS), kind(n / RUNS)))
}

/// What a subscriber got: the sequences of the frames.
type Got = Vec<u64>;

/// Both buses, and what each selects.
pub fn cases() -> Vec<Case> {
    let (one, other) = (
        Rc::new(OnceCell::<Got>::new()),
        Rc::new(OnceCell::<Got>::new()),
    );
    let check = |own: &Rc<OnceCell<Got>>, others: &Rc<OnceCell<Got>>| {
        let (own, others) = (own.clone(), others.clone());
        move |got: Got| {
            own.get_or_init(|| got.clone());
            if let Some(others) = others.get() {
                assert_eq!(&got, others, "both select the same frames");
            }
        }
    };
    let framebus_check = check(&one, &other);
    let framebus = Contender::new("framebus", move |scale| {
        let bus = InMemoryAgentEventBus::default();
        for (run, kind) in backlog() {
            let envelope = EventEnvelope::new(run, "agent", kind);
            let event = AgentEvent::envelope_only(envelope);
            bus.publish(EventFrame::new(event)).unwrap();
        }
        time(
            scale,
            || {
                let frames: Vec<_> = bus.subscribe_all(None).unwrap().collect();
                frames.iter().map(|frame| frame.cursor.event_seq).collect()
            },
            &framebus_check,
        )
    });
    let replaced_check = check(&other, &one);
    let replaced = Contender::new(replaced::NAME, move |scale| {
        let bus = replaced::Bus::default();
        for (number, (run, kind)) in backlog().enumerate() {
            bus.publish(replaced::event(number, &run, kind)).unwrap();
        }
        time(
            scale,
            || {
                let frames: Vec<_> = bus.subscribe_all(None).unwrap().collect();
                frames.iter().map(|frame| frame.cursor.event_seq).collect()
            },
            &replaced_check,
        )
    });
    vec![Case {
        name: "backlog".into(),
        about: "subscribe to all with default options and collect, 50,000 real events are there",
        contenders: vec![framebus, replaced],
    }]
}

fn time(scale: Scale, subscribe: impl Fn() -> Got, check: &impl Fn(Got)) -> Vec<Figure> {
    let times = (0..scale.of(8)).map(|_| {
        let begin = Stopwatch::start();
        let got = subscribe();
        let spent = begin.elapsed();
        check(got);
        spent
    });
    ns_per_frame(times, BACKLOG)
}
