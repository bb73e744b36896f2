//! disruptor: a ring that its slowest reader gates, for one publisher or many.

use crate::payload::Payload;
use crate::peer::{Contract, Ends, Peer, Publish, Read, Size};
use disruptor::{
    BusySpin, EventPoller, MultiConsumerBarrier, MultiProducer, MultiProducerBarrier, Producer,
    SingleConsumerBarrier, SingleProducer, SingleProducerBarrier, build_multi_producer,
    build_single_producer,
};

/// With one publisher: plain stores.
pub struct DisruptorOne;

/// With many publishers.
pub struct DisruptorMany;

/// A producer that waits for one reader or for several.
pub enum Gated<A, B> {
    ByOne(A),
    ByAll(B),
}

/// Publishes through both kinds of producers.
macro_rules! on_either {
    ($gated:expr, $producer:ident => $call:expr) => {
        match $gated {
            Gated::ByOne($producer) => $call,
            Gated::ByAll($producer) => $call,
        }
    };
}

/// Builds the producer that a poller for each subscriber gates.
macro_rules! build {
    ($builder:expr, $subscribers:expr) => {{
        let (poller, builder) = $builder.new_event_poller();
        let mut pollers = vec![poller];
        if $subscribers == 1 {
            (Gated::ByOne(builder.build()), pollers)
        } else {
            let (poller, mut builder) = builder.new_event_poller();
            pollers.push(poller);
            while pollers.len() < $subscribers {
                let (poller, next) = builder.new_event_poller();
                pollers.push(poller);
                builder = next;
            }
            (Gated::ByAll(builder.build()), pollers)
        }
    }};
}

impl<T: Payload> Peer<T> for DisruptorOne {
    const NAME: &'static str = "disruptor, one producer";
    const CONTRACT: Contract = Contract::Gates;
    const MANY_PUBLISHERS: bool = false;
    const BATCHES: bool = true;
    type Publisher =
        Gated<SingleProducer<T, SingleConsumerBarrier>, SingleProducer<T, MultiConsumerBarrier>>;
    type Subscriber = EventPoller<T, SingleProducerBarrier>;

    fn open(size: Size) -> Ends<Self::Publisher, Self::Subscriber> {
        let mut make = T::maker(0);
        let filler = make(0);
        let builder = build_single_producer(size.capacity, move || filler.clone(), BusySpin);
        let (producer, pollers) = build!(builder, size.subscribers);
        (vec![producer], pollers)
    }
}

impl<T: Payload> Peer<T> for DisruptorMany {
    const NAME: &'static str = "disruptor, many producers";
    const CONTRACT: Contract = Contract::Gates;
    const BATCHES: bool = true;
    type Publisher =
        Gated<MultiProducer<T, SingleConsumerBarrier>, MultiProducer<T, MultiConsumerBarrier>>;
    type Subscriber = EventPoller<T, MultiProducerBarrier>;

    fn open(size: Size) -> Ends<Self::Publisher, Self::Subscriber> {
        let mut make = T::maker(0);
        let filler = make(0);
        let builder = build_multi_producer(size.capacity, move || filler.clone(), BusySpin);
        let (producer, pollers) = build!(builder, size.subscribers);
        let producers = (0..size.publishers).map(|_| match &producer {
            Gated::ByOne(producer) => Gated::ByOne(producer.clone()),
            Gated::ByAll(producer) => Gated::ByAll(producer.clone()),
        });
        (producers.collect(), pollers)
    }
}

impl<T, A, B> Publish<T> for Gated<A, B>
where
    T: Payload,
    A: Producer<T> + Send,
    B: Producer<T> + Send,
{
    #[inline]
    fn publish(&mut self, item: T) {
        // What is replaced is dropped here, by the publisher.
        on_either!(self, producer => producer.publish(|slot| *slot = item));
    }

    #[inline]
    fn publish_batch(&mut self, items: impl ExactSizeIterator<Item = T>) {
        on_either!(self, producer => producer.batch_publish(items.len(), |slots| {
            slots.zip(items).for_each(|(slot, item)| *slot = item);
        }));
    }
}

/// Reads all that is there under one guard.
macro_rules! read {
    ($barrier:ty) => {
        impl<T: Payload> Read for EventPoller<T, $barrier> {
            #[inline]
            fn read(&mut self, mut visit: impl FnMut(u64)) -> usize {
                let Ok(mut guard) = self.poll() else {
                    return 0;
                };
                let items = &mut guard;
                let count = items.len();
                items.for_each(|item| visit(item.word()));
                count
            }
        }
    };
}

read!(SingleProducerBarrier);
read!(MultiProducerBarrier);
