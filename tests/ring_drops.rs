//! What a publish drops: at most as many frames as it publishes, each after its own are readable.
//! So beyond its own steps a publish takes at most the time of as many destructors.

mod common;

use common::size;
use framebus::ring::{Delivery, Geometry, Ring, RingConfig, Route, Select, Start};
use framebus::*;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, Weak};

/// The drops so far: for each, the highest number that was readable then.
type Drops = Arc<Mutex<Vec<u64>>>;

/// A frame that records its drop.
struct Noting {
    ring: Weak<Ring<Noting>>,
    drops: Drops,
}

impl Drop for Noting {
    fn drop(&mut self) {
        if let Some(ring) = self.ring.upgrade() {
            let readable = highest(&ring);
            self.drops.lock().unwrap().push(readable);
        }
    }
}

/// The highest number that a reader finds.
fn highest(ring: &Ring<Noting>) -> u64 {
    let mut reader = ring.subscribe(Select::All, None, Start::Oldest).unwrap();
    let mut highest = 0;
    reader.poll(|delivery| {
        if let Delivery::Frame(number, _) = delivery {
            highest = number;
        }
        ControlFlow::Continue(())
    });
    highest
}

fn ring(shards: usize) -> Arc<Ring<Noting>> {
    let lane = Geometry::for_window(16);
    Arc::new(Ring::new(&RingConfig {
        shards,
        frames: lane,
        terminals: lane,
        ..RingConfig::default()
    }))
}

/// Every fifth frame is terminal, and neighbours go to several shards.
fn route(n: u64) -> Route {
    let route = Route {
        shard: n as usize / 3,
        ..Route::default()
    };
    if n % 5 == 4 { route.terminal() } else { route }
}

fn noting(ring: &Arc<Ring<Noting>>, drops: &Drops) -> Noting {
    Noting {
        ring: Arc::downgrade(ring),
        drops: drops.clone(),
    }
}

#[test]
fn a_publish_drops_at_most_one_frame_and_only_after_its_own_is_readable() {
    for shards in [1, 4] {
        let (ring, drops) = (ring(shards), Drops::default());
        let mut dropped = 0;
        for n in 0..600 {
            let number = ring.publish(route(n), noting(&ring, &drops)).unwrap();
            let drops = std::mem::take(&mut *drops.lock().unwrap());
            assert!(drops.len() <= 1, "{shards} shards, frame {n}: {drops:?}");
            assert!(
                drops.iter().all(|&readable| readable == number),
                "{drops:?}"
            );
            dropped += drops.len();
        }
        assert!(dropped > 300, "{dropped}");
    }
}

#[test]
fn a_publish_that_passes_over_held_slots_drops_at_most_one_frame() {
    let (ring, drops) = (ring(1), Drops::default());
    for n in 0..100 {
        ring.publish(route(n), noting(&ring, &drops)).unwrap();
    }
    let mut reader = ring.subscribe(Select::All, None, Start::Oldest).unwrap();
    let voids = || {
        ring.stats()
            .shards
            .iter()
            .map(|it| it.frames.voids)
            .sum::<u64>()
    };
    reader.batch(|_| {
        // Goes round several times while the batch holds its frames.
        for n in 100..300 {
            drops.lock().unwrap().clear();
            let number = ring.publish(route(n), noting(&ring, &drops)).unwrap();
            let drops = drops.lock().unwrap();
            assert!(drops.len() <= 1, "frame {n}: {drops:?}");
            assert!(
                drops.iter().all(|&readable| readable == number),
                "{drops:?}"
            );
        }
        ControlFlow::Break(())
    });
    assert!(voids() > 0, "the held slots were passed over");
}

#[test]
fn a_batch_drops_at_most_as_many_frames_as_it_publishes_and_only_after_all_are_readable() {
    for shards in [1, 4] {
        let (ring, drops) = (ring(shards), Drops::default());
        let (mut next, mut dropped) = (0, 0);
        for size in (1..=12).cycle().take(200) {
            let routes = (next..next + size).map(route);
            next += size;
            let numbers = ring
                .publish_all_with(routes, |_| noting(&ring, &drops))
                .unwrap();
            let drops = std::mem::take(&mut *drops.lock().unwrap());
            assert!(
                drops.len() as u64 <= size,
                "{shards} shards, {size}: {drops:?}"
            );
            let last = numbers.end - 1;
            assert!(
                drops.iter().all(|&readable| readable == last),
                "{last}: {drops:?}"
            );
            dropped += drops.len();
        }
        assert!(dropped > 900, "{dropped}");
    }
}

#[test]
fn a_frame_that_a_subscriber_keeps_is_not_freed_by_the_publish_that_replaces_it() {
    let builder = InMemoryAgentEventBus::builder().shards(size(1));
    let bus = builder.ring_capacity(size(16)).build().unwrap();
    let content: Arc<[u8]> = vec![7; 1 << 20].into();
    let envelope = EventEnvelope::new("r", "a", EventKind::ModelStreamDelta);
    bus.publish(AgentEvent::with_content(envelope, "text/plain", content.clone()).into())
        .unwrap();
    let kept = bus.subscribe_all(None).unwrap().next().unwrap();
    (0..1_000).for_each(|_| bus.publish(common::delta("r")).unwrap());
    assert_eq!(Arc::strong_count(&content), 2);
    drop(kept);
    assert_eq!(Arc::strong_count(&content), 1);
}
