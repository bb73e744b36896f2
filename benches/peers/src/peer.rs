//! What a peer is: a way to get payloads from publishers to subscribers, behind one small trait.
//!
//! A peer is opened for a [`Size`]. Nothing is built around it to make up for what its contract
//! lacks: a channel with one reader becomes one channel a subscriber, and the tables call it that.

use crate::payload::Payload;

/// Payloads that a peer holds, where a case does not ask for another capacity.
pub const CAPACITY: usize = 65_536;

/// The most payloads that one read takes, where the peer leaves the choice.
pub const READ: usize = 256;

/// What a peer is opened for.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Threads that publish.
    pub publishers: usize,
    /// Subscribers, each of which gets every payload.
    pub subscribers: usize,
    /// Payloads that the peer holds; a ring of several shards holds as many in each.
    pub capacity: usize,
}

impl Size {
    /// The usual capacity.
    pub const fn new(publishers: usize, subscribers: usize) -> Self {
        Size {
            publishers,
            subscribers,
            capacity: CAPACITY,
        }
    }

    /// The same with another capacity.
    pub const fn holding(mut self, capacity: usize) -> Self {
        self.capacity = capacity;
        self
    }
}

/// What happens to a publisher when a subscriber does not keep up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contract {
    /// It goes on; the subscriber loses the oldest.
    Overwrites,
    /// It waits for the slowest subscriber.
    Gates,
    /// There is one channel a subscriber; a full one refuses.
    PointToPoint,
}

impl Contract {
    /// As it stands in the tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Contract::Overwrites => "overwrites",
            Contract::Gates => "gates",
            Contract::PointToPoint => "point to point",
        }
    }
}

/// A way to get payloads from publishers to subscribers, each to all.
pub trait Peer<T: Payload>: 'static {
    /// As it stands in the tables.
    const NAME: &'static str;
    /// What it does about slow subscribers.
    const CONTRACT: Contract;
    /// Whether several threads can publish.
    const MANY_PUBLISHERS: bool = true;
    /// Whether it has a call that publishes several at once.
    const BATCHES: bool = false;
    /// Its publishing end.
    type Publisher: Publish<T>;
    /// Its reading end.
    type Subscriber: Read;

    /// Opens a new one.
    fn open(size: Size) -> Ends<Self::Publisher, Self::Subscriber>;
}

/// Publishing ends and reading ends.
pub type Ends<P, S> = (Vec<P>, Vec<S>);

/// A publishing end.
pub trait Publish<T>: Send {
    /// Publishes one. There is room: the cases see to it.
    fn publish(&mut self, item: T);

    /// Publishes several, by the peer's own call for that if it has one.
    fn publish_batch(&mut self, items: impl ExactSizeIterator<Item = T>) {
        items.for_each(|item| self.publish(item));
    }
}

/// A reading end.
pub trait Read: Send {
    /// Gives the words of the payloads that are there, or of some of them, in the way that the peer
    /// reads fastest. Returns how many it gave; 0 if nothing is there now.
    fn read(&mut self, visit: impl FnMut(u64)) -> usize;

    /// Returns how many payloads this subscriber lost, as the peer reported it.
    fn lost(&self) -> u64 {
        0
    }
}

/// A reading end that can block its thread.
pub trait Wait: Read {
    /// Waits for the next payload and returns its word.
    fn wait(&mut self) -> u64;
}

/// A reading end that a task can await.
pub trait Await: Read {
    /// Waits for the next payload and returns its word.
    fn next(&mut self) -> impl Future<Output = u64> + Send;
}
