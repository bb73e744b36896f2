//! Publishing allocates nothing beyond the event; neither does reading in borrowed batches. A small
//! ring takes little memory before its first frame.

mod common;

use common::{delta, end, size};
use framebus::ring::{Geometry, Retention, Ring, RingConfig, Route, Select, Start};
use framebus::*;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ops::ControlFlow;

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    static BYTES: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: all is handed on to the system's allocator; the counts are a thread's own.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        let _ = BYTES.try_with(|bytes| bytes.set(bytes.get().wrapping_add(layout.size())));
        // SAFETY: the caller's contract is the system's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        let _ = BYTES.try_with(|bytes| bytes.set(bytes.get().wrapping_sub(layout.size())));
        // SAFETY: the caller's contract is the system's.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How many allocations `f` makes on this thread.
fn allocations(f: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.get();
    f();
    ALLOCATIONS.get() - before
}

#[test]
fn publishing_allocates_nothing_beyond_the_event() {
    let bus = InMemoryAgentEventBus::builder()
        .shards(size(2))
        .ring_capacity(size(256))
        .build()
        .unwrap();
    let _idle = bus.subscribe_all(None).unwrap();
    let mut waiting = bus.subscribe_run(RunId::new("r"), None).unwrap();
    // More than once around the rings, so that frames are replaced and chunks opened again.
    let frames: Vec<_> = (0..4_000)
        .map(|n| if n % 9 == 0 { end("r") } else { delta("r") })
        .collect();
    let made = allocations(|| {
        frames
            .into_iter()
            .for_each(|frame| bus.publish(frame).unwrap())
    });
    assert_eq!(made, 0);
    assert!(waiting.next().is_some());
}

#[test]
fn an_event_is_one_allocation() {
    let (run, agent) = (RunId::new("r"), AgentId::new("a"));
    let made = allocations(|| {
        let envelope = EventEnvelope::new(&run, &agent, EventKind::ToolStarted);
        drop(EventFrame::new(AgentEvent::envelope_only(envelope)));
    });
    assert_eq!(made, 1);
}

#[test]
fn borrowed_batches_allocate_nothing() {
    let bus = InMemoryAgentEventBus::default();
    let mut stream = bus.subscribe_all(None).unwrap();
    let read = |stream: &mut AgentEventStream| {
        let mut count = 0;
        while stream.read_batch(|_| ControlFlow::Continue(())) > 0 {
            count += 1;
        }
        assert!(count > 0);
    };
    // Once each lane was read.
    (0..50).for_each(|n| bus.publish(delta(&format!("r{n}"))).unwrap());
    read(&mut stream);
    (0..500).for_each(|n| bus.publish(delta(&format!("r{n}"))).unwrap());
    assert_eq!(allocations(|| read(&mut stream)), 0);
}

/// Whatever the size of a frame.
#[test]
fn a_small_ring_with_a_subscription_takes_40_kib_before_its_first_frame() {
    let lane = Geometry::for_window(256);
    for retention in [Retention::Keep, Retention::FreeWhenRead] {
        let before = BYTES.get();
        let ring = Ring::<[Box<u8>; 64]>::new(&RingConfig {
            frames: lane,
            terminals: lane,
            retention,
            ..RingConfig::default()
        });
        let reader = ring.subscribe(Select::All, None, Start::Latest).unwrap();
        let taken = BYTES.get() - before;
        assert!(taken <= 40 << 10, "{retention:?}: {taken} bytes");
        // After its memory is there, publishing takes no more.
        ring.allocate();
        let frame = std::array::from_fn(|_| Box::new(7));
        let publish = || {
            ring.publish(Route::default(), frame).unwrap();
        };
        assert_eq!(allocations(publish), 0);
        drop((ring, reader));
        assert_eq!(BYTES.get(), before);
    }
}
