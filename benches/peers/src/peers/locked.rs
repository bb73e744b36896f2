//! Buses of a lock and a list.

use crate::payload::Payload;
use crate::peer::{Contract, Ends, Peer, Publish, READ, Read, Size};
use parking_lot::RwLock;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

/// A bounded `VecDeque` behind parking_lot's `RwLock`; readers copy batches out and read them
/// without the lock.
pub struct DequeInRwLock;

/// What the lock protects.
pub struct Held<L> {
    /// How many payloads were displaced: the index of the first one that is held.
    first: u64,
    /// The payloads from there on.
    items: L,
    /// How many of them it holds for sure.
    capacity: usize,
}

type Deque<T> = Arc<RwLock<Held<VecDeque<T>>>>;

/// A publishing end; what its payloads displace is freed without the lock.
#[derive(Clone)]
pub struct Pushing<T> {
    deque: Deque<T>,
    displaced: Vec<T>,
}

impl<T: Payload> Peer<T> for DequeInRwLock {
    const NAME: &'static str = "RwLock<VecDeque>";
    const CONTRACT: Contract = Contract::Overwrites;
    const BATCHES: bool = true;
    type Publisher = Pushing<T>;
    type Subscriber = Copying<T, Deque<T>>;

    fn open(size: Size) -> Ends<Pushing<T>, Copying<T, Deque<T>>> {
        let deque = Arc::new(RwLock::new(Held {
            first: 0,
            items: VecDeque::with_capacity(size.capacity),
            capacity: size.capacity,
        }));
        let subscribers = (0..size.subscribers).map(|_| Copying::new(&deque));
        let subscribers = subscribers.collect();
        let publisher = Pushing {
            deque,
            displaced: Vec::new(),
        };
        (vec![publisher; size.publishers], subscribers)
    }
}

impl<T: Payload> Held<VecDeque<T>> {
    /// Adds one; returns the one that it displaced.
    fn push(&mut self, item: T) -> Option<T> {
        let mut displaced = None;
        if self.items.len() == self.capacity {
            displaced = self.items.pop_front();
            self.first += 1;
        }
        self.items.push_back(item);
        displaced
    }
}

impl<T: Payload> Publish<T> for Pushing<T> {
    #[inline]
    fn publish(&mut self, item: T) {
        let displaced = self.deque.write().push(item);
        drop(displaced);
    }

    #[inline]
    fn publish_batch(&mut self, items: impl ExactSizeIterator<Item = T>) {
        let mut held = self.deque.write();
        for item in items {
            let displaced = held.push(item);
            self.displaced.extend(displaced);
        }
        drop(held);
        self.displaced.clear();
    }
}

/// A `Vec` behind std's `Mutex`, cut in half when it is full.
pub struct VecInMutex;

type Log<T> = Arc<Mutex<Held<Vec<T>>>>;

impl<T: Payload> Peer<T> for VecInMutex {
    const NAME: &'static str = "Mutex<Vec>";
    const CONTRACT: Contract = Contract::Overwrites;
    const BATCHES: bool = true;
    type Publisher = Log<T>;
    type Subscriber = Copying<T, Log<T>>;

    fn open(size: Size) -> Ends<Log<T>, Copying<T, Log<T>>> {
        let log = Arc::new(Mutex::new(Held {
            first: 0,
            items: Vec::with_capacity(2 * size.capacity),
            capacity: size.capacity,
        }));
        let subscribers = (0..size.subscribers).map(|_| Copying::new(&log)).collect();
        (vec![log; size.publishers], subscribers)
    }
}

impl<T> Held<Vec<T>> {
    fn push(&mut self, item: T) {
        if self.items.len() == 2 * self.capacity {
            self.items.drain(..self.capacity);
            self.first += self.capacity as u64;
        }
        self.items.push(item);
    }
}

impl<T: Payload> Publish<T> for Log<T> {
    #[inline]
    fn publish(&mut self, item: T) {
        self.lock().unwrap().push(item);
    }

    #[inline]
    fn publish_batch(&mut self, items: impl ExactSizeIterator<Item = T>) {
        let mut held = self.lock().unwrap();
        items.for_each(|item| held.push(item));
    }
}

/// A list from which batches are copied out under its lock.
pub trait CopyOut<T>: Clone + Send {
    /// Appends the payloads from index `from` on, or from the oldest that is held, at most
    /// [`READ`]. Returns the index of the first.
    fn copy_out(&self, from: u64, out: &mut Vec<T>) -> u64;
}

impl<T: Payload> CopyOut<T> for Deque<T> {
    fn copy_out(&self, from: u64, out: &mut Vec<T>) -> u64 {
        let held = self.read();
        let from = from.max(held.first);
        let begin = (from - held.first) as usize;
        let end = held.items.len().min(begin + READ);
        out.extend(held.items.range(begin..end).cloned());
        from
    }
}

impl<T: Payload> CopyOut<T> for Log<T> {
    fn copy_out(&self, from: u64, out: &mut Vec<T>) -> u64 {
        let held = self.lock().unwrap();
        let from = from.max(held.first);
        let begin = (from - held.first) as usize;
        let end = held.items.len().min(begin + READ);
        out.extend_from_slice(&held.items[begin..end]);
        from
    }
}

/// Copies batches out and reads the copy.
pub struct Copying<T, L> {
    list: L,
    batch: Vec<T>,
    next: u64,
    lost: u64,
}

impl<T, L: Clone> Copying<T, L> {
    fn new(list: &L) -> Self {
        Copying {
            list: list.clone(),
            batch: Vec::with_capacity(READ),
            next: 0,
            lost: 0,
        }
    }
}

impl<T: Payload, L: CopyOut<T>> Read for Copying<T, L> {
    #[inline]
    fn read(&mut self, mut visit: impl FnMut(u64)) -> usize {
        let first = self.list.copy_out(self.next, &mut self.batch);
        let count = self.batch.len();
        self.lost += first - self.next;
        self.next = first + count as u64;
        self.batch.drain(..).for_each(|item| visit(item.word()));
        count
    }

    fn lost(&self) -> u64 {
        self.lost
    }
}
