//! Frames whose drop panics; makers, routes and visitors that panic or use the ring themselves.
//! Other publishers and readers go on, and no publish stays unfinished.

use framebus::ring::{
    Delivery, Geometry, Polled, Ring, RingConfig, Route, Select, Start, Subscription,
};
use std::iter::repeat_n;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};

/// Counts its drop, and panics in it if its value is odd.
struct Frame {
    value: u64,
    dropped: Arc<AtomicUsize>,
}

impl Drop for Frame {
    fn drop(&mut self) {
        self.dropped.fetch_add(1, Ordering::SeqCst);
        assert!(
            self.value.is_multiple_of(2),
            "a frame that panics when it is dropped"
        );
    }
}

#[derive(Default)]
struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn ring<T>(shards: usize) -> Ring<T> {
    let lane = Geometry::for_window(16);
    Ring::new(&RingConfig {
        shards,
        frames: lane,
        terminals: lane,
        ..RingConfig::default()
    })
}

fn all<T>(ring: &Ring<T>) -> Subscription<T> {
    ring.subscribe(Select::All, None, Start::Latest).unwrap()
}

/// What a poll gave: values and how many were lost.
fn poll<T>(subscription: &mut Subscription<T>, value: impl Fn(&T) -> u64) -> (Vec<u64>, u64) {
    let (mut values, mut lost) = (Vec::new(), 0);
    let polled = subscription.poll(|delivery| {
        match delivery {
            Delivery::Frame(_, frame) => values.push(value(frame)),
            Delivery::Gap(gap) => lost += gap.lost,
        }
        ControlFlow::Continue(())
    });
    assert_eq!(polled, Polled::CaughtUp, "something stayed unfinished");
    (values, lost)
}

fn panics<R>(f: impl FnOnce() -> R) -> bool {
    catch_unwind(AssertUnwindSafe(f)).is_err()
}

const ORDINARY: Route = Route {
    shard: 0,
    terminal: false,
    tag: 0,
};

fn publish(ring: &Ring<u64>, values: std::ops::RangeInclusive<u64>) {
    for value in values {
        ring.publish(ORDINARY, value).unwrap();
    }
}

#[test]
fn a_frame_that_panics_when_it_is_replaced_is_no_publishers_panic() {
    for shards in [1, 2] {
        let (ring, dropped) = (ring(shards), Arc::new(AtomicUsize::new(0)));
        let frame = |value| Frame {
            value,
            dropped: dropped.clone(),
        };
        let mut made = 0;
        let mut reader = all(&ring);
        let bell = Arc::new(Bell::default());
        for round in 0..100 {
            for route in [ORDINARY, ORDINARY.terminal()] {
                reader
                    .register_waker(None, &Waker::from(bell.clone()))
                    .unwrap();
                ring.publish(route, frame(2 * round + 1)).unwrap();
                ring.wake(route, [1, 1]);
                let mut values = 0..3;
                let routes = [ORDINARY, route, ORDINARY];
                ring.publish_all_with(routes, |_| frame(values.next().unwrap() * 2 + 1))
                    .unwrap();
                made += 4;
                assert_eq!(
                    poll(&mut reader, |frame| frame.value),
                    (vec![2 * round + 1, 1, 3, 5], 0)
                );
            }
        }
        assert_eq!(bell.0.load(Ordering::SeqCst), 200);
        // The other frames are dropped with the ring, whichever handle is the last one.
        drop(ring);
        assert!(!panics(|| drop(reader)));
        assert_eq!(dropped.load(Ordering::SeqCst), made);
    }
}

#[test]
fn who_is_handed_a_replaced_frame_may_panic() {
    for shards in [1, 2] {
        let ring = ring::<Arc<u64>>(shards);
        let slots = Geometry::for_window(16).slots() as u64;
        let mut handed = Vec::new();
        let mut reader = all(&ring);
        for value in 0..slots + 3 {
            let published = ring.publish_replacing(
                Route::default(),
                |sequence| {
                    assert_eq!(sequence, value + 1);
                    Arc::new(value)
                },
                |old| {
                    handed.push(*old);
                    panic!("it is contained")
                },
            );
            assert_eq!(published, Ok(value + 1));
            assert_eq!(poll(&mut reader, |value| **value).0, [value]);
        }
        assert_eq!(handed, [0, 1, 2]);
    }
}

#[test]
fn frames_that_panic_when_a_batch_that_panics_replaced_them_do_not_abort() {
    for (shards, routes) in [
        (1, [ORDINARY; 4]),
        (1, [ORDINARY, ORDINARY.terminal(), ORDINARY, ORDINARY]),
        (2, [ORDINARY; 4]),
    ] {
        let (ring, dropped) = (ring(shards), Arc::new(AtomicUsize::new(0)));
        let frame = |value| Frame {
            value,
            dropped: dropped.clone(),
        };
        for _ in 0..40 {
            ring.publish(ORDINARY, frame(1)).unwrap();
            ring.publish(ORDINARY.terminal(), frame(1)).unwrap();
        }
        let mut reader = all(&ring);
        let mut made = 0;
        assert!(panics(|| ring.publish_all_with(routes, |_| {
            made += 1;
            assert!(made < 4, "a maker that panics");
            frame(1)
        })));
        assert!(panics(
            || ring.publish_with(ORDINARY, |_| panic!("so does this"))
        ));
        ring.publish(ORDINARY, frame(2)).unwrap();
        let (values, lost) = poll(&mut reader, |frame| frame.value);
        assert_eq!((values.last(), values.len() as u64 + lost), (Some(&2), 6));
        drop((ring, reader));
        assert_eq!(dropped.load(Ordering::SeqCst), 40 * 2 + 3 + 1);
    }
}

/// Routes that panic at the third one when they are iterated for the `nth` time.
#[derive(Clone)]
struct Routes {
    calls: Arc<AtomicUsize>,
    left: usize,
    panics_at: usize,
}

impl Iterator for Routes {
    type Item = Route;

    fn next(&mut self) -> Option<Route> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        assert!(call < self.panics_at, "routes that panic");
        self.left = self.left.checked_sub(1)?;
        Some(ORDINARY)
    }
}

#[test]
fn routes_that_panic_leave_nothing_unfinished() {
    for shards in [1, 2] {
        // Each is iterated twice, over four routes and the end.
        for panics_at in 0..9 {
            let ring = ring(shards);
            let mut reader = all(&ring);
            let routes = Routes {
                calls: Arc::default(),
                left: 4,
                panics_at,
            };
            assert!(panics(|| ring.publish_all_with(routes, |number| number)));
            ring.publish(ORDINARY, 77).unwrap();
            let (values, lost) = poll(&mut reader, |&value| value);
            assert_eq!(values.last(), Some(&77), "{panics_at}");
            let expected = if panics_at < 5 { 1 } else { 5 };
            assert_eq!(values.len() as u64 + lost, expected, "{panics_at}");
        }
    }
}

#[test]
fn a_maker_that_uses_the_ring_is_served() {
    for shards in [1, 2] {
        let ring = ring(shards);
        let mut reader = all(&ring);
        let mut inner = all(&ring);
        let use_it = |inner: &mut Subscription<u64>, last: bool| {
            ring.publish(ORDINARY, 0).unwrap();
            ring.publish_all_with(repeat_n(ORDINARY, 2), |_| 0).unwrap();
            ring.publish(ORDINARY.terminal(), 0).unwrap();
            let mut late = all(&ring);
            let polled = late.poll(|_| ControlFlow::Continue(()));
            assert_ne!(polled, Polled::More);
            // The frame that is being made holds back those after it.
            let polled = inner.poll(|_| ControlFlow::Continue(()));
            assert_eq!(polled, Polled::Unfinished, "{last}");
        };
        ring.publish_with(ORDINARY, |_| {
            use_it(&mut inner, false);
            1
        })
        .unwrap();
        let mut first = true;
        ring.publish_all_with(repeat_n(ORDINARY, 2), |_| {
            if std::mem::take(&mut first) {
                use_it(&mut inner, true);
            }
            2
        })
        .unwrap();
        let (mut values, lost) = poll(&mut reader, |&value| value);
        values.sort_unstable();
        let expected = [vec![0; 8], vec![1, 2, 2]].concat();
        assert_eq!((values, lost), (expected, 0));
        // This reader had read the first frames.
        let (rest, lost) = poll(&mut inner, |&value| value);
        assert_eq!((rest, lost), (vec![2, 2, 0, 0, 0, 0], 0));
    }
}

#[test]
fn a_visitor_that_panics_or_uses_the_ring_reads_on_after_that_frame() {
    for shards in [1, 2] {
        for in_batch in [false, true] {
            let ring = ring(shards);
            let mut reader = all(&ring);
            let mut other = all(&ring);
            publish(&ring, 1..=8);
            let mut handle = Some(ring.clone());
            let mut seen = Vec::new();
            let mut visit = |delivery: Delivery<'_, u64>| {
                let Delivery::Frame(_, &value) = delivery else {
                    panic!("nothing was lost");
                };
                seen.push(value);
                match value {
                    2 => panic!("a visitor that panics"),
                    4 => {
                        let ring = handle.take().unwrap();
                        ring.publish(ORDINARY, 9).unwrap();
                        ring.publish_all_with([ORDINARY; 2], |_| 10).unwrap();
                        drop(all(&ring));
                        assert_eq!(poll(&mut other, |&value| value).0.len(), 11);
                    }
                    _ => {}
                }
                ControlFlow::Continue(())
            };
            let mut read = |reader: &mut Subscription<u64>| match in_batch {
                true => while reader.batch(&mut visit) > 0 {},
                false => assert_ne!(reader.poll(&mut visit), Polled::Unfinished),
            };
            assert!(panics(|| read(&mut reader)));
            (0..2).for_each(|_| read(&mut reader));
            assert_eq!(seen, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 10]);
            // Nothing is pinned any more, so the ring wraps around.
            publish(&ring, 0..=99);
            assert_eq!(ring.stats().shards[0].frames.voids, 0);
        }
    }
}

#[test]
fn a_visitor_that_drops_the_last_handle_of_the_ring_reads_on() {
    let ring = ring(1);
    let mut reader = all(&ring);
    publish(&ring, 1..=3);
    let mut last = Some(ring);
    let mut seen = 0;
    reader.poll(|_| {
        drop(last.take());
        seen += 1;
        ControlFlow::Continue(())
    });
    assert_eq!(seen, 3);
}
