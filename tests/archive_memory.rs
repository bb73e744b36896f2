//! How much memory a large frame takes on its way into the archive and back.

use framebus::archive::{Archive, ArchiveOptions, JournalOptions, JournaledBus};
use framebus::*;
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Counts what is allocated, and the most that ever was.
struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

fn count(size: usize) {
    let now = NOW.fetch_add(size, Relaxed) + size;
    PEAK.fetch_max(now, Relaxed);
}

// SAFETY: all is handed on to the system's allocator; the counts are beside it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's contract is the system's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's contract is the system's.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const SIZE: usize = 64 << 20;

/// Returns the most that was allocated while `work` ran, beyond what was there before.
fn peak<T>(work: impl FnOnce() -> T) -> (usize, T) {
    let before = NOW.load(Relaxed);
    PEAK.store(before, Relaxed);
    let done = work();
    (PEAK.load(Relaxed) - before, done)
}

/// Returns the most memory that this process has had, as the system counts it: also SQLite's.
fn resident_peak() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: usize = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib << 10)
}

/// Content that can't be packed, or can.
fn content(noise: bool) -> Vec<u8> {
    let mut word: u64 = 88_172_645_463_325_252;
    let mut bytes = Vec::with_capacity(SIZE);
    while bytes.len() < SIZE {
        word ^= word << 13;
        word ^= word >> 7;
        word ^= word << 17;
        let part = if noise { word } else { word % 1_000 };
        bytes.extend_from_slice(&part.to_le_bytes());
    }
    bytes
}

#[test]
fn a_large_frame_takes_three_times_its_size() {
    let folder = tempfile::tempdir().unwrap();
    let archive = Archive::open(folder.path(), ArchiveOptions::default()).unwrap();
    let builder = InMemoryAgentEventBus::builder();
    let bus = JournaledBus::open(archive.clone(), builder, JournalOptions::default()).unwrap();
    let before = resident_peak();
    for noise in [false, true] {
        let (most, ()) = peak(|| {
            let envelope = EventEnvelope::new("r", "a", EventKind::ToolCompleted);
            let event = AgentEvent::with_content(envelope, "image/png", content(noise));
            bus.publish(EventFrame::new(event)).unwrap();
        });
        println!("written: {:.2} times its size", most as f64 / SIZE as f64);
        assert!(most <= 3 * SIZE, "{most} bytes");
    }
    for n in 0..2 {
        let mut cursor = archive.start().unwrap();
        cursor.position += n;
        let all = EventFilter::default().compile().unwrap();
        let (most, frame) = peak(|| {
            let mut frames = archive.replay_filtered_from_cursor(all, cursor).unwrap();
            frames.next().unwrap()
        });
        let EventPayload::Content(read) = frame.event.to_event().payload else {
            panic!("it has content");
        };
        assert!(read.bytes[..] == content(n == 1)[..]);
        println!("read: {:.2} times its size", most as f64 / SIZE as f64);
        assert!(most <= 3 * SIZE, "{most} bytes");
    }
    if let (Some(before), Some(after)) = (before, resident_peak()) {
        // Both frames are in the rings by then, and a copy that was compared.
        println!(
            "resident: {:.2} times",
            (after - before) as f64 / SIZE as f64
        );
    }
}
