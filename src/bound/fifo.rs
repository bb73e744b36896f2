//! Frames in arrival order, where the oldest of a class can be taken out of the middle.
//!
//! A slab of nodes, linked in arrival order, and for each class a queue of its nodes' indices. Only
//! the oldest of a class is ever taken, so each of these is pushed at the back and popped at the
//! front, and every step is O(1). Memory grows with the frames that are held, not with the bound.

use super::frame::Frame;
use super::notice::MaybeNotice;
use crate::event::KindClass;
use std::collections::VecDeque;

/// The index of no node.
const NONE: usize = usize::MAX;

/// A queued frame.
#[derive(Clone, Debug)]
pub(super) struct Entry<F: Frame> {
    pub(super) frame: F,
    /// What was lost before it; for a summary also what it stands for; for the last frame of a
    /// refill also what was lost after it.
    pub(super) notice: MaybeNotice<F::Position>,
    /// How many frames are lost if it is dropped, beside those that its notice counts: 1, or 0 for
    /// a summary, whose notice counts what it stands for.
    pub(super) weight: u64,
}

/// An element of the slab.
#[derive(Clone, Debug)]
struct Node<F: Frame> {
    /// `None` while the node is free.
    entry: Option<Entry<F>>,
    /// The class of the entry.
    class: KindClass,
    /// The index of the node that arrived before it, or [`NONE`].
    previous: usize,
    /// The index of the node that arrived after it, or [`NONE`].
    next: usize,
}

/// Queued frames in arrival order, where the oldest of each class is found in O(1).
#[derive(Clone, Debug)]
pub(super) struct Fifo<F: Frame> {
    /// The slab. Never shrinks.
    nodes: Vec<Node<F>>,
    /// The indices of the free nodes.
    free: Vec<usize>,
    /// The index of the oldest node, or [`NONE`].
    first: usize,
    /// The index of the node that arrived last, or [`NONE`].
    last: usize,
    /// The indices of each class's nodes, in arrival order.
    classes: [VecDeque<usize>; 3],
    /// How many nodes are not free.
    len: usize,
    /// How many frames were pushed and taken: the tests' measure of cost.
    #[cfg(test)]
    pub(super) steps: u64,
}

impl<F: Frame> Fifo<F> {
    pub(super) fn new() -> Self {
        Fifo {
            nodes: Vec::new(),
            free: Vec::new(),
            first: NONE,
            last: NONE,
            classes: Default::default(),
            len: 0,
            #[cfg(test)]
            steps: 0,
        }
    }

    /// Returns how many frames are queued.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Returns how many frames of a class are queued.
    pub(super) fn count(&self, class: KindClass) -> usize {
        self.classes[class as usize].len()
    }

    /// Adds a frame that arrives after all others.
    pub(super) fn push(&mut self, entry: Entry<F>) {
        let class = entry.frame.class();
        let node = Node {
            entry: Some(entry),
            class,
            previous: self.last,
            next: NONE,
        };
        let at = match self.free.pop() {
            Some(at) => {
                self.nodes[at] = node;
                at
            }
            None => {
                self.nodes.push(node);
                self.nodes.len() - 1
            }
        };
        match self.last {
            NONE => self.first = at,
            last => self.nodes[last].next = at,
        }
        self.last = at;
        self.classes[class as usize].push_back(at);
        self.len += 1;
        self.step();
    }

    /// Returns the oldest frame.
    pub(super) fn first_mut(&mut self) -> Option<&mut Entry<F>> {
        self.nodes.get_mut(self.first)?.entry.as_mut()
    }

    /// Takes the oldest frame out.
    pub(super) fn pop(&mut self) -> Option<Entry<F>> {
        let class = self.nodes.get(self.first)?.class;
        self.take_oldest(class).map(|(entry, _)| entry)
    }

    /// Takes the oldest frame of a class out. Returns it, and lends the frame that arrived after
    /// it.
    pub(super) fn take_oldest(
        &mut self,
        class: KindClass,
    ) -> Option<(Entry<F>, Option<&mut Entry<F>>)> {
        let at = self.classes[class as usize].pop_front()?;
        let (previous, next) = (self.nodes[at].previous, self.nodes[at].next);
        match previous {
            NONE => self.first = next,
            previous => self.nodes[previous].next = next,
        }
        match next {
            NONE => self.last = previous,
            next => self.nodes[next].previous = previous,
        }
        self.free.push(at);
        self.len -= 1;
        self.step();
        let entry = self.nodes[at].entry.take()?;
        let after = self.nodes.get_mut(next);
        Some((entry, after.and_then(|node| node.entry.as_mut())))
    }

    /// Returns the class of the oldest frame that is not terminal.
    pub(super) fn oldest_non_terminal(&self) -> Option<KindClass> {
        let oldest = |class: KindClass| {
            let at = *self.classes[class as usize].front()?;
            let entry = self.nodes[at].entry.as_ref()?;
            Some((entry.frame.sequence(), class))
        };
        match (oldest(KindClass::Progress), oldest(KindClass::Normal)) {
            (Some(progress), Some(normal)) => Some(progress.min(normal).1),
            (one, other) => one.or(other).map(|(_, class)| class),
        }
    }

    /// Returns the frame that arrived last.
    pub(super) fn last_mut(&mut self) -> Option<&mut Entry<F>> {
        self.nodes.get_mut(self.last)?.entry.as_mut()
    }

    #[inline(always)]
    fn step(&mut self) {
        #[cfg(test)]
        {
            self.steps += 1;
        }
    }
}
