//! The figures of the bus and of its streams.

mod common;

use common::{delta, end, frame, options, size, start};
use framebus::*;

fn bus(ring: usize) -> InMemoryAgentEventBus {
    let builder = InMemoryAgentEventBus::builder().shards(size(2));
    builder.ring_capacity(size(ring)).build().unwrap()
}

#[test]
fn a_bus_reports_what_it_holds() {
    let bus = bus(64);
    let fresh = bus.stats();
    assert_eq!(
        (fresh.published, fresh.last_sequence, fresh.oldest_sequence),
        (0, 0, None)
    );
    assert_eq!((fresh.shards.len(), fresh.parked, fresh.woken), (2, 0, 0));
    (0..10).for_each(|_| bus.publish(delta("r")).unwrap());
    bus.publish(end("r")).unwrap();
    let stats = bus.stats();
    assert_eq!(
        (stats.published, stats.last_sequence, stats.oldest_sequence),
        (11, 11, Some(1))
    );
    let sum = |lane: fn(&ring::ShardStats) -> u64| stats.shards.iter().map(lane).sum::<u64>();
    assert_eq!(
        (sum(|it| it.frames.tail), sum(|it| it.terminals.tail)),
        (10, 1)
    );
    assert_eq!(
        (sum(|it| it.frames.wraps), sum(|it| it.frames.voids)),
        (0, 0)
    );
    let fullest = stats
        .shards
        .iter()
        .map(|it| it.terminals.fill())
        .fold(0.0, f64::max);
    assert_eq!(fullest, 1.0 / stats.shards[0].terminals.window as f64);

    (0..1_000).for_each(|_| bus.publish(delta("r")).unwrap());
    let stats = bus.stats();
    // The terminal frame is still held, and those around it are overwritten.
    assert_eq!((stats.published, stats.oldest_sequence), (1_011, Some(11)));
    let slots = 1_010 / stats.shards.iter().map(|it| it.frames.wraps).max().unwrap();
    assert!((64..=202).contains(&slots), "{stats:?}");
    assert!(stats.shards.iter().any(|it| it.frames.fill() == 1.0));
}

#[test]
fn a_reopened_bus_counts_its_own_frames() {
    let builder = InMemoryAgentEventBus::builder().reopen(BusEpoch::from_bits(7), 1_000);
    let bus = builder.build().unwrap();
    assert_eq!(
        (bus.stats().published, bus.stats().last_sequence),
        (0, 1_000)
    );
    bus.publish(start("r")).unwrap();
    let stats = bus.stats();
    assert_eq!((stats.published, stats.oldest_sequence), (1, Some(1_001)));
}

#[test]
fn a_pinned_slot_is_counted_as_void() {
    let bus = bus(16);
    (0..16).for_each(|_| bus.publish(delta("r")).unwrap());
    let mut stream = bus.subscribe_all(None).unwrap();
    stream.read_batch(|_| {
        // Wraps the ring around while this batch is held.
        (0..200).for_each(|_| bus.publish(delta("r")).unwrap());
        std::ops::ControlFlow::Break(())
    });
    let voids: u64 = bus.stats().shards.iter().map(|it| it.frames.voids).sum();
    assert!(voids > 0);
}

/// Checks that each published frame was delivered or counted under one reason, as the notices
/// report.
fn conserved(stream: &mut AgentEventStream, published: u64) -> StreamStats {
    let (mut notices, mut reported) = (0, 0);
    let mut hear = |notice: &EventOverflowNotice| {
        notices += 1;
        reported += notice.dropped_count;
    };
    for frame in stream.by_ref() {
        frame.overflow.iter().for_each(|notice| hear(notice));
    }
    stream.take_pending_overflow().iter().for_each(hear);
    let stats = stream.stats();
    assert_eq!((stats.dropped.total(), stats.notices), (reported, notices));
    assert_eq!(stats.delivered + stats.dropped.total(), published);
    stats
}

#[test]
fn a_stream_counts_delivered_frames_and_losses_by_reason() {
    use EventOverflowReason as Reason;
    use SubscriberOverflowPolicy as Policy;
    // Of 80 progress frames and 8 normal ones, none is kept once terminal frames fill the queue.
    let cases = [
        (Policy::DropNonTerminal, [0, 0, 88]),
        (Policy::DropProgress, [4, 80, 4]),
        (Policy::SummarizeAndContinue, [5, 80, 3]),
    ];
    for (policy, lost) in cases {
        let bus = bus(4_096);
        let mut stream = bus
            .subscribe_all_with_options(None, options(8, 4, policy))
            .unwrap();
        (0..80).for_each(|_| bus.publish(delta("r")).unwrap());
        (0..8).for_each(|_| bus.publish(start("r")).unwrap());
        (0..10).for_each(|_| bus.publish(end("r")).unwrap());
        let stats = conserved(&mut stream, 98);
        assert_eq!(stats.terminals, 10, "{policy:?}");
        let reasons = [
            Reason::SubscriberQueueFull,
            Reason::PolicyDroppedProgress,
            Reason::PolicyDroppedNonTerminal,
        ];
        let counts = reasons.map(|reason| stats.dropped.of(reason));
        assert_eq!(counts, lost, "{policy:?}");
        assert_eq!((stats.laps, stats.lag, stats.queued), (0, 0, 0));
    }
}

#[test]
fn losses_to_the_rings_are_counted_apart() {
    use EventOverflowReason as Reason;
    let bus = bus(64);
    (0..500).for_each(|_| bus.publish(delta("r")).unwrap());
    let wide = options(4_096, 1, SubscriberOverflowPolicy::DropNonTerminal);
    let mut stream = bus.subscribe_all_with_options(None, wide).unwrap();
    let began = stream.stats().position;
    let held = stream.by_ref().count() as u64;
    (0..500).for_each(|_| bus.publish(delta("r")).unwrap());
    assert_eq!(stream.stats().lag, 500);
    let stats = conserved(&mut stream, 1_000 - began);
    assert_eq!(
        stats.dropped.total(),
        stats.dropped.of(Reason::SubscriberLagged)
    );
    assert!(
        stats.dropped.total() >= 500 - held && stats.laps > 0,
        "{stats:?}"
    );

    let mut cursor = stream.cursor().unwrap().clone();
    cursor.event_seq = 10;
    let mut resumed = bus.subscribe_all_with_options(Some(cursor), wide).unwrap();
    let stats = conserved(&mut resumed, 990);
    assert_eq!(
        stats.dropped.total(),
        stats.dropped.of(Reason::LiveBufferExpired)
    );
}

#[test]
fn borrowed_batches_count_as_well() {
    let bus = bus(4_096);
    let mut stream = bus.subscribe_all(None).unwrap();
    (0..30).for_each(|_| bus.publish(end("r")).unwrap());
    while stream.read_batch(|_| std::ops::ControlFlow::Continue(())) > 0 {}
    let stats = stream.stats();
    assert_eq!((stats.delivered, stats.terminals, stats.lag), (30, 30, 0));
}

#[test]
fn a_reader_that_looked_at_everything_does_not_lag() {
    let bus = bus(4_096);
    let mut stream = bus.subscribe_run("a".into(), None).unwrap();
    (0..30).for_each(|_| {
        bus.publish(frame("b", "x", EventKind::ToolStarted))
            .unwrap()
    });
    assert_eq!(stream.stats().lag, 30);
    let waited = stream.recv_timeout(std::time::Duration::ZERO);
    assert_eq!(waited, Err(RecvError::Timeout));
    assert_eq!(stream.stats().lag, 0);
}

#[test]
fn each_figure_of_a_bus_counts_each_frame() {
    for (shards, after) in [(1, 0), (2, 0), (1, 1_000), (4, 1_000)] {
        let builder = InMemoryAgentEventBus::builder().shards(size(shards));
        let builder = builder.ring_capacity(size(16)).terminal_capacity(size(50));
        let bus = builder
            .reopen(BusEpoch::from_bits(7), after)
            .build()
            .unwrap();
        let windows = bus.stats().shards[0];
        assert!(windows.frames.window >= 16 && windows.terminals.window >= 50);
        let (mut frames, mut terminals) = (0, 0);
        for n in 1..=300_u64 {
            let is_terminal = n % 7 == 0;
            let frame = if is_terminal { end("r") } else { delta("r") };
            bus.publish(frame).unwrap();
            frames += u64::from(!is_terminal);
            terminals += u64::from(is_terminal);
            let stats = bus.stats();
            assert_eq!((stats.published, stats.last_sequence), (n, after + n));
            assert_eq!(stats.shards.len(), shards);
            let busy = stats.shards.iter().filter(|it| it.frames.tail > 0);
            let own = busy.clone().next().unwrap();
            assert_eq!(busy.count(), 1, "a run is in one shard");
            // In a ring of one shard, terminal frames take their sequence numbers from the other
            // lane.
            let numbered = if shards == 1 {
                frames + terminals
            } else {
                frames
            };
            assert_eq!((own.frames.tail, own.terminals.tail), (numbered, terminals));
            assert_eq!((own.frames.voids, own.terminals.voids), (0, 0));
            let fill = |tail: u64, window: u64| tail.min(window) as f64 / window as f64;
            assert_eq!(own.frames.fill(), fill(numbered, own.frames.window));
            assert_eq!(own.terminals.fill(), fill(terminals, own.terminals.window));
            let oldest = bus.subscribe_all(None).unwrap().next().unwrap().cursor;
            assert_eq!(stats.oldest_sequence, Some(oldest.event_seq));
        }
        assert_eq!((bus.stats().parked, bus.stats().woken), (0, 0));
    }
}
