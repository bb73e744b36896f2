//! Channels that broadcast: each receiver gets all.

use crate::payload::Payload;
use crate::peer::{Await, Contract, Ends, Peer, Publish, READ, Read, Size, Wait};
use async_broadcast as a;
use multiqueue2 as m;
use tokio::sync::broadcast as t;

/// tokio's `sync::broadcast`.
pub struct Tokio;

impl<T: Payload> Peer<T> for Tokio {
    const NAME: &'static str = "tokio broadcast";
    const CONTRACT: Contract = Contract::Overwrites;
    type Publisher = t::Sender<T>;
    type Subscriber = Lagging<t::Receiver<T>>;

    fn open(size: Size) -> Ends<t::Sender<T>, Self::Subscriber> {
        let sender = t::Sender::new(size.capacity);
        let subscribe = |_| Lagging {
            receiver: sender.subscribe(),
            lost: 0,
        };
        let subscribers = (0..size.subscribers).map(subscribe).collect();
        (vec![sender; size.publishers], subscribers)
    }
}

impl<T: Payload> Publish<T> for t::Sender<T> {
    #[inline]
    fn publish(&mut self, item: T) {
        assert!(self.send(item).is_ok());
    }
}

/// A receiver that counts the losses that it reports.
pub struct Lagging<R> {
    receiver: R,
    lost: u64,
}

impl<T: Payload> Read for Lagging<t::Receiver<T>> {
    #[inline]
    fn read(&mut self, mut visit: impl FnMut(u64)) -> usize {
        for count in 0..READ {
            match self.receiver.try_recv() {
                Ok(item) => visit(item.word()),
                Err(t::error::TryRecvError::Lagged(lost)) => {
                    self.lost += lost;
                    return count;
                }
                Err(_) => return count,
            }
        }
        READ
    }

    fn lost(&self) -> u64 {
        self.lost
    }
}

impl<T: Payload> Wait for Lagging<t::Receiver<T>> {
    fn wait(&mut self) -> u64 {
        self.receiver.blocking_recv().unwrap().word()
    }
}

impl<T: Payload> Await for Lagging<t::Receiver<T>> {
    async fn next(&mut self) -> u64 {
        self.receiver.recv().await.unwrap().word()
    }
}

/// async-broadcast, set to overwrite.
pub struct AsyncBroadcast;

impl<T: Payload> Peer<T> for AsyncBroadcast {
    const NAME: &'static str = "async-broadcast";
    const CONTRACT: Contract = Contract::Overwrites;
    type Publisher = a::Sender<T>;
    type Subscriber = Lagging<a::Receiver<T>>;

    fn open(size: Size) -> Ends<a::Sender<T>, Self::Subscriber> {
        let (mut sender, receiver) = a::broadcast(size.capacity);
        sender.set_overflow(true);
        let receivers = vec![receiver; size.subscribers].into_iter();
        let subscribers = receivers.map(|receiver| Lagging { receiver, lost: 0 });
        (vec![sender; size.publishers], subscribers.collect())
    }
}

impl<T: Payload> Publish<T> for a::Sender<T> {
    #[inline]
    fn publish(&mut self, item: T) {
        assert!(self.try_broadcast(item).is_ok());
    }
}

impl<T: Payload> Read for Lagging<a::Receiver<T>> {
    #[inline]
    fn read(&mut self, mut visit: impl FnMut(u64)) -> usize {
        for count in 0..READ {
            match self.receiver.try_recv() {
                Ok(item) => visit(item.word()),
                Err(a::TryRecvError::Overflowed(lost)) => {
                    self.lost += lost;
                    return count;
                }
                Err(_) => return count,
            }
        }
        READ
    }

    fn lost(&self) -> u64 {
        self.lost
    }
}

impl<T: Payload> Wait for Lagging<a::Receiver<T>> {
    fn wait(&mut self) -> u64 {
        self.receiver.recv_blocking().unwrap().word()
    }
}

impl<T: Payload> Await for Lagging<a::Receiver<T>> {
    async fn next(&mut self) -> u64 {
        self.receiver.recv_direct().await.unwrap().word()
    }
}

/// multiqueue2's broadcast queue, read by view.
pub struct Multiqueue;

impl<T: Payload> Peer<T> for Multiqueue {
    const NAME: &'static str = "multiqueue2";
    const CONTRACT: Contract = Contract::Gates;
    type Publisher = m::BroadcastSender<T>;
    type Subscriber = m::BroadcastUniReceiver<T>;

    fn open(size: Size) -> Ends<Self::Publisher, Self::Subscriber> {
        let (sender, receiver) = m::broadcast_queue(size.capacity as u64);
        let single = |receiver: m::BroadcastReceiver<T>| match receiver.into_single() {
            Ok(single) => single,
            Err(_) => unreachable!("a stream of its own"),
        };
        let mut ends: Vec<_> = (1..size.subscribers)
            .map(|_| single(receiver.add_stream()))
            .collect();
        ends.push(single(receiver));
        (vec![sender; size.publishers], ends)
    }
}

impl<T: Payload> Publish<T> for m::BroadcastSender<T> {
    #[inline]
    fn publish(&mut self, item: T) {
        assert!(self.try_send(item).is_ok());
    }
}

impl<T: Payload> Read for m::BroadcastUniReceiver<T> {
    #[inline]
    fn read(&mut self, mut visit: impl FnMut(u64)) -> usize {
        for count in 0..READ {
            match self.try_recv_view(T::word) {
                Ok(word) => visit(word),
                Err(_) => return count,
            }
        }
        READ
    }
}

impl<T: Payload> Wait for m::BroadcastUniReceiver<T> {
    fn wait(&mut self) -> u64 {
        self.recv_view(T::word).unwrap_or_else(|_| unreachable!())
    }
}

/// bus, a ring for one publisher.
pub struct Bus;

impl<T: Payload> Peer<T> for Bus {
    const NAME: &'static str = "bus";
    const CONTRACT: Contract = Contract::Gates;
    const MANY_PUBLISHERS: bool = false;
    type Publisher = bus::Bus<T>;
    type Subscriber = bus::BusReader<T>;

    fn open(size: Size) -> Ends<bus::Bus<T>, bus::BusReader<T>> {
        let mut bus = bus::Bus::new(size.capacity);
        let subscribers = (0..size.subscribers).map(|_| bus.add_rx()).collect();
        (vec![bus], subscribers)
    }
}

impl<T: Payload> Publish<T> for bus::Bus<T> {
    #[inline]
    fn publish(&mut self, item: T) {
        assert!(self.try_broadcast(item).is_ok());
    }
}

impl<T: Payload> Read for bus::BusReader<T> {
    #[inline]
    fn read(&mut self, mut visit: impl FnMut(u64)) -> usize {
        for count in 0..READ {
            match self.try_recv() {
                Ok(item) => visit(item.word()),
                Err(_) => return count,
            }
        }
        READ
    }
}
