//! What is reported to the tracing facade, and what is not.

mod common;

use common::{delta, options, size, start};
use framebus::*;
use std::fmt::Write;
use std::sync::{Arc, Mutex};
use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, Subscriber, span};

/// Keeps each event as a line.
#[derive(Clone, Default)]
struct Listener(Arc<Mutex<Vec<String>>>);

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        write!(self.0, " {}={value:?}", field.name()).unwrap();
    }
}

impl Subscriber for Listener {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        panic!("there are no spans")
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(format!(
            "{} {}",
            event.metadata().level(),
            event.metadata().target()
        ));
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

#[test]
fn subscriptions_losses_and_failures_are_reported_and_frames_are_not() {
    let listener = Listener::default();
    let reported = || std::mem::take(&mut *listener.0.lock().unwrap());
    tracing::subscriber::with_default(listener.clone(), || {
        let builder = InMemoryAgentEventBus::builder().shards(size(1));
        let bus = builder.ring_capacity(size(64)).build().unwrap();
        let wide = options(4_096, 1, SubscriberOverflowPolicy::DropNonTerminal);
        let mut stream = bus.subscribe_all_with_options(None, wide).unwrap();
        assert_eq!(
            reported(),
            ["DEBUG framebus message=subscribed scope=all after=0"]
        );
        (0..50).for_each(|_| bus.publish(delta("r")).unwrap());
        assert_eq!(stream.by_ref().count(), 50);
        assert_eq!(reported(), [""; 0], "nothing for a frame");
        (0..1_000).for_each(|_| bus.publish(delta("r")).unwrap());
        assert!(stream.by_ref().count() < 1_000);
        let lost = reported();
        assert_eq!(lost.len(), 1, "{lost:?}");
        assert!(
            lost[0].starts_with("WARN framebus message=frames were overwritten"),
            "{lost:?}"
        );
        assert!(
            lost[0].contains("scope=all") && lost[0].contains("first=51"),
            "{lost:?}"
        );

        let fail = options(4, 1, SubscriberOverflowPolicy::FailSubscriber);
        let mut failing = bus
            .subscribe_run_with_options("other".into(), None, fail)
            .unwrap();
        reported();
        (0..10).for_each(|_| bus.publish(start("other")).unwrap());
        assert_eq!(failing.by_ref().count(), 3);
        assert!(failing.next().is_none());
        let failed = reported();
        assert_eq!(failed.len(), 1, "once: {failed:?}");
        assert!(
            failed[0].contains("a stream failed") && failed[0].contains("scope=run other"),
            "{failed:?}"
        );
        assert!(failed[0].contains("resume_after=1053"), "{failed:?}");
    });
}

/// Panics at every event.
struct Panics;

impl Subscriber for Panics {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        panic!("there are no spans")
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, _: &Event<'_>) {
        panic!("a subscriber to the facade that panics");
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

#[test]
fn a_listener_that_panics_costs_no_stream_a_notice() {
    let builder = InMemoryAgentEventBus::builder().shards(size(1));
    let bus = builder.ring_capacity(size(64)).build().unwrap();
    tracing::subscriber::with_default(Panics, || {
        let mut stream = bus.subscribe_all(None).unwrap();
        (0..1_000).for_each(|_| bus.publish(delta("r")).unwrap());
        let first = stream.next().unwrap();
        let lost = first.overflow.unwrap().dropped_count;
        assert_eq!(first.cursor.event_seq, lost + 1);
    });
}

#[cfg(feature = "archive")]
#[test]
fn a_listener_that_panics_costs_no_archiver_a_gap() {
    use framebus::archive::{Archive, ArchiveOptions, Archiver, FollowOptions};

    // The archiver's thread reports to the global listener.
    tracing::subscriber::set_global_default(Panics).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let archive = Archive::open(folder.path(), ArchiveOptions::default()).unwrap();
    let builder = InMemoryAgentEventBus::builder().shards(size(1));
    let bus = builder.ring_capacity(size(64)).build().unwrap();
    let mut first = bus.subscribe_all(None).unwrap();
    bus.publish(start("r")).unwrap();
    archive.append(&[first.next().unwrap()]).unwrap();
    (0..1_000).for_each(|_| bus.publish(delta("r")).unwrap());
    // It resumes after the first frame, and finds most of the others overwritten.
    let archiver = Archiver::follow(&archive, &bus, FollowOptions::default()).unwrap();
    drop(bus);
    let report = archiver.finish();
    assert_eq!(report.error, None);
    assert!(report.lost > 500, "{report:?}");
    assert_eq!(report.frames + report.lost, 1_000);
    let gaps = archive.gaps().unwrap();
    assert_eq!(gaps.iter().map(|gap| gap.lost).sum::<u64>(), report.lost);
}

#[cfg(feature = "archive")]
#[test]
fn repairs_and_remaining_losses_are_reported() {
    use framebus::archive::{Archive, ArchiveOptions, Durability};

    let folder = tempfile::tempdir().unwrap();
    let cached = ArchiveOptions {
        durability: Durability::SystemCache,
        ..ArchiveOptions::default()
    };
    let archive = Archive::open(folder.path(), cached).unwrap();
    let builder = InMemoryAgentEventBus::builder().shards(size(1));
    let bus = builder.ring_capacity(size(64)).build().unwrap();
    let wide = options(4_096, 1, SubscriberOverflowPolicy::DropNonTerminal);
    let mut recorder = bus.subscribe_all_with_options(None, wide).unwrap();
    let stream = bus.subscribe_all(None).unwrap();
    let mut stream = stream.repaired_by(Arc::new(archive.clone())).unwrap();
    for number in 1..=1_000 {
        bus.publish(delta("r")).unwrap();
        let recorded: Vec<_> = recorder.by_ref().collect();
        if number != 7 {
            archive.append(&recorded).unwrap();
        }
    }
    let listener = Listener::default();
    let count = tracing::subscriber::with_default(listener.clone(), || stream.by_ref().count());
    assert_eq!(count, 999);
    let reported = std::mem::take(&mut *listener.0.lock().unwrap());
    assert_eq!(reported.len(), 2, "{reported:?}");
    assert!(
        reported[0].starts_with("WARN") && reported[0].contains("frames=1 first=7 last=7"),
        "{reported:?}"
    );
    assert!(
        reported[1].starts_with("DEBUG framebus message=a gap was repaired"),
        "{reported:?}"
    );
}
