//! framebus, the generic ring alone: one word or one pointer in a slot.

use crate::payload::Payload;
use crate::peer::{Contract, Ends, Peer, Publish, Read, Size};
use framebus::ring::{Delivery, Geometry, Ring, RingConfig, Route, Select, Start, Subscription};
use std::ops::ControlFlow;

/// A ring of `N` shards, which together hold as many as another peer. A publisher goes to the next
/// shard after `RUN` payloads, as if they were of one run.
pub struct Shards<const N: usize, const RUN: usize = 1>;

impl<const N: usize, const RUN: usize, T: Payload> Peer<T> for Shards<N, RUN> {
    const NAME: &'static str = match (N, RUN) {
        (1, _) => "framebus",
        (16, 1) => "framebus, 16 shards",
        (16, 64) => "framebus, 16 shards, runs of 64",
        (64, 1) => "framebus, 64 shards",
        _ => panic!("a name for each"),
    };
    const CONTRACT: Contract = Contract::Overwrites;
    const BATCHES: bool = true;
    type Publisher = Publisher<T, RUN>;
    type Subscriber = Subscriber<T>;

    fn open(size: Size) -> Ends<Publisher<T, RUN>, Subscriber<T>> {
        let ring = open(N, size.capacity / N);
        let subscribe = |_| Subscriber {
            subscription: ring.subscribe(Select::All, None, Start::Oldest).unwrap(),
            lost: 0,
        };
        let subscribers = (0..size.subscribers).map(subscribe).collect();
        let publisher = |_| Publisher {
            ring: ring.clone(),
            sent: 0,
        };
        ((0..size.publishers).map(publisher).collect(), subscribers)
    }
}

/// A ring of `shards` shards, each with `slots` slots.
pub fn open<T>(shards: usize, slots: usize) -> Ring<T> {
    // The window that a lane of these slots promises.
    let lane = Geometry::for_window(slots * 7 / 8 - 16);
    assert_eq!(lane.slots(), slots);
    Ring::new(&RingConfig {
        shards,
        frames: lane,
        terminals: lane,
        ..RingConfig::default()
    })
}

/// Publishes to one shard after another.
pub struct Publisher<T, const RUN: usize> {
    ring: Ring<T>,
    sent: usize,
}

impl<T: Payload, const RUN: usize> Publish<T> for Publisher<T, RUN> {
    #[inline]
    fn publish(&mut self, item: T) {
        let route = Route {
            shard: self.sent / RUN,
            ..Route::default()
        };
        self.sent += 1;
        self.ring.publish(route, item).unwrap();
    }

    #[inline]
    fn publish_batch(&mut self, mut items: impl ExactSizeIterator<Item = T>) {
        let route = Route {
            shard: self.sent / RUN,
            ..Route::default()
        };
        self.sent += items.len();
        let routes = (0..items.len()).map(|_| route);
        let next = |_| items.next().unwrap();
        self.ring.publish_all_with(routes, next).unwrap();
    }
}

/// Reads borrowed batches.
pub struct Subscriber<T> {
    subscription: Subscription<T>,
    lost: u64,
}

impl<T: Payload> Read for Subscriber<T> {
    #[inline]
    fn read(&mut self, mut visit: impl FnMut(u64)) -> usize {
        let (mut count, lost) = (0, &mut self.lost);
        self.subscription.batch(|delivery| {
            match delivery {
                Delivery::Frame(_, item) => {
                    visit(item.word());
                    count += 1;
                }
                Delivery::Gap(gap) => *lost += gap.lost,
            }
            ControlFlow::Continue(())
        });
        count
    }

    fn lost(&self) -> u64 {
        self.lost
    }
}
