//! A reader of one run among 1,000 that publish: what the others' frames cost it.

use super::load::{Load, Shared, TURNS};
use crate::case::{Case, Contender, NS, Scale, ns_per_frame};
use crate::peer::{Publish, Size};
use crate::peers::event_bus::{ByDefault, Opened};
use crate::stopwatch::Stopwatch;
use framebus::{AgentEventBus, RunId, SubscriptionOptions};
use futures_util::Stream;
use std::hint::black_box;
use std::pin::Pin;
use std::task::{Context, Waker};
use std::time::Duration;
use tokio::sync::broadcast;

/// All runs, and the one that is read.
const LOAD: Load = Load {
    runs: 1_000,
    ..TURNS
};
const WANTED: usize = 500;
/// Frames published between two times that the reader reads.
const STRETCH: usize = 32_000;
const STRETCHES: u64 = 20;

/// framebus, whose reader asks for its run, and a channel whose reader looks at all.
pub fn case() -> Case {
    let framebus = Contender::new("framebus", |scale: Scale| {
        let mut bus = ByDefault::bus();
        let mut make = LOAD.maker();
        let options = SubscriptionOptions::complete();
        let run = || Load::run(WANTED);
        let mut reader = bus
            .subscribe_run_with_options(run(), None, options)
            .unwrap();
        let mut asleep = bus.subscribe_run("not-at-work".into(), None).unwrap();
        let mut context = Context::from_waker(Waker::noop());
        let poll = Pin::new(&mut asleep.as_stream()).poll_next(&mut context);
        assert!(poll.is_pending());
        let mut stretch = || {
            (0..STRETCH as u64).for_each(|word| Publish::publish(&mut bus, make(word)));
            let begin = Stopwatch::start();
            let count = reader.by_ref().map(black_box).count();
            let spent = begin.elapsed();
            assert_eq!(count, STRETCH / LOAD.runs);
            spent
        };
        let figures = time(scale, &mut stretch);
        assert_eq!(
            bus.stats().woken,
            0,
            "no subscriber is woken for another run"
        );
        figures
    });
    let tokio = Contender::new("tokio broadcast", |scale: Scale| {
        let size = Size::new(1, 1).holding(ByDefault::capacity());
        let mut sender = broadcast::Sender::new(size.capacity);
        let mut reader = sender.subscribe();
        let mut make = LOAD.maker();
        let run: RunId = Load::run(WANTED);
        time(scale, &mut || {
            let frames = (0..STRETCH as u64).map(|word| Shared::new(make(word)));
            frames.for_each(|frame| Publish::publish(&mut sender, frame));
            let mut count = 0;
            let begin = Stopwatch::start();
            while let Ok(frame) = reader.try_recv() {
                count += usize::from(black_box(frame).run_id() == &run);
            }
            let spent = begin.elapsed();
            assert_eq!(count, STRETCH / LOAD.runs);
            spent
        })
    });
    Case {
        name: "user/one-run".into(),
        about: "read one run of 1,000 in turn: what a frame costs its reader, whoever published it",
        contenders: vec![framebus, tokio],
    }
}

fn time(scale: Scale, stretch: &mut impl FnMut() -> Duration) -> Vec<(&'static str, f64)> {
    // The first ones go round the rings.
    for _ in 0..scale.warm_up(12) {
        stretch();
    }
    let figures = ns_per_frame((0..scale.of(STRETCHES)).map(|_| stretch()), STRETCH);
    debug_assert_eq!(figures[0].0, NS);
    figures
}
