//! Queues from hand to hand, one a subscriber: a publisher puts a clone into each.

use crate::payload::Payload;
use crate::peer::{Await, Contract, Ends, Peer, Publish, READ, Read, Size, Wait};

/// The sending ends of one publisher: one for each subscriber.
#[derive(Clone)]
pub struct Fan<S>(Vec<S>);

impl<S> Fan<S> {
    /// Gives a clone to all but the last, which gets the payload itself.
    #[inline]
    fn deal<T: Clone>(&mut self, item: T, mut send: impl FnMut(&mut S, T)) {
        if let Some((last, others)) = self.0.split_last_mut() {
            others
                .iter_mut()
                .for_each(|other| send(other, item.clone()));
            send(last, item);
        }
    }
}

/// The ends of channels of this size, each made by `channel` for a capacity.
fn fan<S: Clone, R>(size: Size, channel: impl Fn(usize) -> (S, R)) -> Ends<Fan<S>, R> {
    let channels = (0..size.subscribers).map(|_| channel(size.capacity));
    let (senders, receivers) = channels.unzip();
    (vec![Fan(senders); size.publishers], receivers)
}

/// A channel whose ends are `Clone + Send` and have `try_send`.
macro_rules! channel {
    ($(#[$doc:meta])* $peer:ident, $name:literal, $open:expr, $sender:ty, $receiver:ty) => {
        $(#[$doc])*
        pub struct $peer;

        impl<T: Payload> Peer<T> for $peer {
            const NAME: &'static str = $name;
            const CONTRACT: Contract = Contract::PointToPoint;
            type Publisher = Fan<$sender>;
            type Subscriber = $receiver;

            fn open(size: Size) -> Ends<Fan<$sender>, $receiver> {
                fan(size, $open)
            }
        }
    };
}

/// Sends singly; refused is wrong.
macro_rules! send {
    ($sender:ty) => {
        impl<T: Payload> Publish<T> for Fan<$sender> {
            #[inline]
            fn publish(&mut self, item: T) {
                self.deal(item, |sender, item| assert!(sender.try_send(item).is_ok()));
            }
        }
    };
}
send!(crossbeam_channel::Sender<T>);
send!(crossfire::MTx<crossfire::mpsc::Array<T>>);
send!(flume::Sender<T>);

/// Reads one after another.
macro_rules! read_singly {
    ($receiver:ty) => {
        impl<T: Payload> Read for $receiver {
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
    };
}

/// Waits with the channel's own blocking call.
macro_rules! wait {
    ($receiver:ty) => {
        impl<T: Payload> Wait for $receiver {
            fn wait(&mut self) -> u64 {
                self.recv().unwrap().word()
            }
        }
    };
}

channel!(
    /// crossbeam-channel's bounded flavour.
    Crossbeam,
    "crossbeam-channel",
    crossbeam_channel::bounded,
    crossbeam_channel::Sender<T>,
    crossbeam_channel::Receiver<T>
);
read_singly!(crossbeam_channel::Receiver<T>);
wait!(crossbeam_channel::Receiver<T>);

channel!(
    /// crossfire's bounded channel of many senders and one receiver.
    Crossfire,
    "crossfire mpsc",
    crossfire::mpsc::bounded_blocking,
    crossfire::MTx<crossfire::mpsc::Array<T>>,
    crossfire::Rx<crossfire::mpsc::Array<T>>
);
read_singly!(crossfire::Rx<crossfire::mpsc::Array<T>>);
wait!(crossfire::Rx<crossfire::mpsc::Array<T>>);

channel!(
    /// The same with a receiver that is awaited.
    CrossfireAsync,
    "crossfire mpsc",
    crossfire::mpsc::bounded_blocking_async,
    crossfire::MTx<crossfire::mpsc::Array<T>>,
    crossfire::AsyncRx<crossfire::mpsc::Array<T>>
);
read_singly!(crossfire::AsyncRx<crossfire::mpsc::Array<T>>);

impl<T: Payload> Await for crossfire::AsyncRx<crossfire::mpsc::Array<T>> {
    async fn next(&mut self) -> u64 {
        self.recv().await.unwrap().word()
    }
}

channel!(
    /// flume, drained.
    Flume,
    "flume",
    flume::bounded,
    flume::Sender<T>,
    flume::Receiver<T>
);

impl<T: Payload> Read for flume::Receiver<T> {
    #[inline]
    fn read(&mut self, mut visit: impl FnMut(u64)) -> usize {
        let items = self.drain();
        let count = items.len();
        items.for_each(|item| visit(item.word()));
        count
    }
}
wait!(flume::Receiver<T>);

impl<T: Payload> Await for flume::Receiver<T> {
    async fn next(&mut self) -> u64 {
        self.recv_async().await.unwrap().word()
    }
}

/// kanal, drained.
pub struct Kanal;

/// A receiver with the list into which it drains.
pub struct Drained<T> {
    receiver: kanal::Receiver<T>,
    batch: Vec<T>,
}

impl<T: Payload> Peer<T> for Kanal {
    const NAME: &'static str = "kanal";
    const CONTRACT: Contract = Contract::PointToPoint;
    type Publisher = Fan<kanal::Sender<T>>;
    type Subscriber = Drained<T>;

    fn open(size: Size) -> Ends<Self::Publisher, Drained<T>> {
        fan(size, |capacity| {
            let (sender, receiver) = kanal::bounded(capacity);
            let batch = Vec::with_capacity(capacity);
            (sender, Drained { receiver, batch })
        })
    }
}

impl<T: Payload> Publish<T> for Fan<kanal::Sender<T>> {
    #[inline]
    fn publish(&mut self, item: T) {
        self.deal(item, |sender, item| assert!(sender.try_send(item).unwrap()));
    }
}

impl<T: Payload> Read for Drained<T> {
    #[inline]
    fn read(&mut self, mut visit: impl FnMut(u64)) -> usize {
        let count = self.receiver.drain_into(&mut self.batch).unwrap_or(0);
        self.batch.drain(..).for_each(|item| visit(item.word()));
        count
    }
}

impl<T: Payload> Wait for Drained<T> {
    fn wait(&mut self) -> u64 {
        self.receiver.recv().unwrap().word()
    }
}

impl<T: Payload> Await for Drained<T> {
    async fn next(&mut self) -> u64 {
        self.receiver.as_async().recv().await.unwrap().word()
    }
}

/// rtrb: a ring from one thread to one other.
pub struct Rtrb;

impl<T: Payload> Peer<T> for Rtrb {
    const NAME: &'static str = "rtrb";
    const CONTRACT: Contract = Contract::PointToPoint;
    const MANY_PUBLISHERS: bool = false;
    const BATCHES: bool = true;
    type Publisher = Fan<rtrb::Producer<T>>;
    type Subscriber = rtrb::Consumer<T>;

    fn open(size: Size) -> Ends<Self::Publisher, rtrb::Consumer<T>> {
        let rings = (0..size.subscribers).map(|_| rtrb::RingBuffer::new(size.capacity));
        let (senders, receivers) = rings.unzip();
        (vec![Fan(senders)], receivers)
    }
}

impl<T: Payload> Publish<T> for Fan<rtrb::Producer<T>> {
    #[inline]
    fn publish(&mut self, item: T) {
        self.deal(item, |ring, item| assert!(ring.push(item).is_ok()));
    }

    #[inline]
    fn publish_batch(&mut self, items: impl ExactSizeIterator<Item = T>) {
        match self.0.as_mut_slice() {
            [ring] => {
                let count = items.len();
                let chunk = ring.write_chunk_uninit(count).unwrap();
                assert_eq!(chunk.fill_from_iter(items), count);
            }
            _ => items.for_each(|item| self.publish(item)),
        }
    }
}

impl<T: Payload> Read for rtrb::Consumer<T> {
    #[inline]
    fn read(&mut self, mut visit: impl FnMut(u64)) -> usize {
        let chunk = self.read_chunk(self.slots()).unwrap();
        let count = chunk.len();
        chunk.into_iter().for_each(|item| visit(item.word()));
        count
    }
}
