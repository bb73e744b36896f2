//! framebus, the bus of real event frames.

use crate::payload::Payload;
use crate::peer::{Await, Contract, Ends, Peer, Publish, Read, Size, Wait};
use framebus::{
    AgentEventBus, AgentEventStream, BatchItem, EventFrame, InMemoryAgentEventBus,
    SubscriptionOptions,
};
use futures_util::StreamExt;
use std::iter;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;

/// The event bus, with one shard, so that it has as many slots as the peers.
pub struct EventBus;

/// A bus of one shard with `slots` slots.
pub fn open(slots: usize) -> InMemoryAgentEventBus {
    let size = |n| NonZeroUsize::new(n).unwrap();
    InMemoryAgentEventBus::builder()
        .shards(size(1))
        .ring_capacity(size(slots * 7 / 8 - 16))
        .build()
        .unwrap()
}

impl Peer<EventFrame> for EventBus {
    const NAME: &'static str = "framebus";
    const CONTRACT: Contract = Contract::Overwrites;
    const BATCHES: bool = true;
    type Publisher = InMemoryAgentEventBus;
    type Subscriber = Subscriber;

    fn open(size: Size) -> Ends<Self::Publisher, Subscriber> {
        let bus = open(size.capacity);
        // A reader of single frames reads through the queue, which holds as many as the peers do.
        let options = SubscriptionOptions::capacity(size.capacity);
        let subscribe = |_| subscriber(&bus, options);
        let subscribers = (0..size.subscribers).map(subscribe).collect();
        (vec![bus; size.publishers], subscribers)
    }
}

impl Publish<EventFrame> for InMemoryAgentEventBus {
    #[inline]
    fn publish(&mut self, item: EventFrame) {
        InMemoryAgentEventBus::publish(self, item).unwrap();
    }

    #[inline]
    fn publish_batch(&mut self, items: impl ExactSizeIterator<Item = EventFrame>) {
        self.publish_all(items).unwrap();
    }
}

/// A bus as a user opens it: its history is what the settings make it, whatever the capacity, and
/// its reading is complete.
pub trait Opened: 'static {
    /// As it stands in the tables.
    const NAME: &'static str;

    /// Opens a new one.
    fn bus() -> InMemoryAgentEventBus;

    /// The capacity with which a peer holds as many frames, in all shards together.
    fn capacity() -> usize {
        let stats = Self::bus().stats();
        let windows = stats.shards.iter().map(|shard| shard.frames.window);
        (windows.sum::<u64>() as usize).next_power_of_two()
    }
}

/// What `default()` opens.
pub struct ByDefault;

impl Opened for ByDefault {
    const NAME: &'static str = "framebus";

    fn bus() -> InMemoryAgentEventBus {
        InMemoryAgentEventBus::default()
    }
}

/// Default settings, but for the number of shards.
pub struct WithShards<const N: usize>;

impl<const N: usize> Opened for WithShards<N> {
    const NAME: &'static str = match N {
        2 => "framebus, 2 shards",
        4 => "framebus, 4 shards",
        16 => "framebus, 16 shards",
        64 => "framebus, 64 shards",
        _ => panic!("a name for each"),
    };

    fn bus() -> InMemoryAgentEventBus {
        let builder = InMemoryAgentEventBus::builder();
        let shards = NonZeroUsize::new(N).unwrap();
        builder.shards(shards).build().unwrap()
    }
}

/// Whether every ring that anything was published to was lapped twice.
pub fn is_lapped(bus: &InMemoryAgentEventBus) -> bool {
    let stats = bus.stats();
    let mut used = stats.shards.iter().filter(|shard| shard.frames.tail > 0);
    bus.last_sequence() > 0 && used.all(|shard| shard.frames.wraps >= 2)
}

/// A subscriber to all with default settings: a queue of 64 frames, from what is published next.
pub fn queued(bus: &InMemoryAgentEventBus) -> Subscriber {
    subscriber(bus, SubscriptionOptions::default().latest())
}

fn subscriber(bus: &InMemoryAgentEventBus, options: SubscriptionOptions) -> Subscriber {
    Subscriber {
        stream: bus.subscribe_all_with_options(None, options).unwrap(),
        lost: 0,
    }
}

impl<O: Opened> Peer<EventFrame> for O {
    const NAME: &'static str = O::NAME;
    const CONTRACT: Contract = Contract::Overwrites;
    const BATCHES: bool = true;
    type Publisher = InMemoryAgentEventBus;
    type Subscriber = Subscriber;

    fn open(size: Size) -> Ends<Self::Publisher, Subscriber> {
        let bus = O::bus();
        let subscribe = |_| subscriber(&bus, SubscriptionOptions::complete());
        let subscribers = (0..size.subscribers).map(subscribe).collect();
        (vec![bus; size.publishers], subscribers)
    }
}

/// Reads borrowed batches, or waits for a frame.
pub struct Subscriber {
    stream: AgentEventStream,
    lost: u64,
}

impl Read for Subscriber {
    #[inline]
    fn read(&mut self, mut visit: impl FnMut(u64)) -> usize {
        let (mut count, lost) = (0, &mut self.lost);
        self.stream.read_batch(|item| {
            match item {
                BatchItem::Frame(frame) => {
                    visit(frame.envelope().timestamp.as_micros() as u64);
                    count += 1;
                }
                BatchItem::Gap(notice) => *lost += notice.dropped_count,
            }
            ControlFlow::Continue(())
        });
        count
    }

    fn lost(&self) -> u64 {
        self.lost
    }
}

impl Subscriber {
    /// The words of the frames that are there, each taken by `next`.
    #[inline]
    pub fn by_next(&mut self) -> impl Iterator<Item = u64> {
        iter::from_fn(|| {
            let frame = self.stream.next()?;
            Some(self.word(&frame))
        })
    }

    /// The sum of the words of `count` frames, read as a `futures` stream.
    pub async fn by_stream(&mut self, count: usize) -> u64 {
        let mut sum = 0;
        for _ in 0..count {
            let frame = self.stream.as_stream().next().await.unwrap();
            sum += self.word(&frame);
        }
        sum
    }

    fn word(&mut self, frame: &EventFrame) -> u64 {
        self.lost += frame
            .overflow
            .as_ref()
            .map_or(0, |notice| notice.dropped_count);
        frame.word()
    }
}

impl Wait for Subscriber {
    fn wait(&mut self) -> u64 {
        let frame = self.stream.recv().unwrap();
        self.word(&frame)
    }
}

impl Await for Subscriber {
    async fn next(&mut self) -> u64 {
        let frame = self.stream.recv_async().await.unwrap();
        self.word(&frame)
    }
}
