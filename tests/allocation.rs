//! Publishing allocates nothing beyond the event; neither does reading in borrowed batches.

mod common;

use common::{delta, end, size};
use framebus::*;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ops::ControlFlow;

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: all is handed on to the system's allocator; the count is a thread's own.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's contract is the system's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
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
