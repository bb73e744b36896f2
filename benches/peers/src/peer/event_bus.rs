//! framebus, the bus of real event frames.

use super::{Await, CAPACITY, Contract, Ends, Peer, Publish, Read, Wait};
use framebus::{
    AgentEventBus, AgentEventStream, BatchItem, EventFrame, InMemoryAgentEventBus,
    SubscriptionOptions,
};
use futures_util::StreamExt;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;

/// The event bus, with one shard so that its places are as many as the peers'.
pub struct EventBus;

/// A bus of so many shards.
pub fn open(shards: usize) -> InMemoryAgentEventBus {
    let size = |n| NonZeroUsize::new(n).unwrap();
    InMemoryAgentEventBus::builder()
        .shards(size(shards))
        .ring_capacity(size(CAPACITY * 7 / 8 - 16))
        .build()
        .unwrap()
}

impl Peer<EventFrame> for EventBus {
    const NAME: &'static str = "framebus";
    const CONTRACT: Contract = Contract::Overwrites;
    const BATCHES: bool = true;
    type Publisher = InMemoryAgentEventBus;
    type Subscriber = Subscriber;

    fn open(publishers: usize, subscribers: usize) -> Ends<Self::Publisher, Subscriber> {
        let bus = open(1);
        // Whoever waits for single frames reads through the queue: it is as large as the peers'.
        let mut options = SubscriptionOptions::default();
        options.queue.capacity = NonZeroUsize::MIN.saturating_add(CAPACITY - 1);
        let subscribe = |_| Subscriber {
            stream: bus.subscribe_all_with_options(None, options).unwrap(),
            lost: 0,
        };
        let subscribers = (0..subscribers).map(subscribe).collect();
        (vec![bus; publishers], subscribers)
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
    fn word(&mut self, frame: &EventFrame) -> u64 {
        self.lost += frame.overflow.as_ref().map_or(0, |told| told.dropped_count);
        crate::payload::Payload::word(frame)
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
        let frame = self.stream.as_stream().next().await.unwrap();
        self.word(&frame)
    }
}
