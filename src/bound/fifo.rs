//! Frames in arrival order, of which the oldest of a class can be taken out of the middle.
//!
//! A slab of entries, linked in arrival order, and for each class a queue of its entries' places.
//! Only the oldest of a class is ever taken, so each of these is pushed at the back and popped at
//! the front, and every step is O(1). Memory grows with the frames that are held, not with the
//! bound.

use super::notice::Slot;
use crate::event::{KindClass, SealedEvent};
use std::collections::VecDeque;
use triomphe::Arc;

const NONE: usize = usize::MAX;

/// A frame in the queue.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) event: Arc<SealedEvent>,
    /// What was lost before it; for a summary also what it stands for; for the last frame of a
    /// take-in also what was lost behind it.
    pub(super) notice: Slot,
    /// How many frames are lost with it beside those that its notices count: 1, or 0 for a summary,
    /// whose own notice counts what it stands for.
    pub(super) weight: u64,
}

#[derive(Clone, Debug)]
struct Node {
    entry: Option<Entry>,
    class: KindClass,
    before: usize,
    behind: usize,
}

/// Queued frames in arrival order, with the oldest of each class at hand in O(1).
#[derive(Clone, Debug)]
pub(super) struct Fifo {
    nodes: Vec<Node>,
    free: Vec<usize>,
    first: usize,
    last: usize,
    classes: [VecDeque<usize>; 3],
    len: usize,
    #[cfg(test)]
    pub(super) steps: u64,
}

impl Fifo {
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

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// How many entries are of a class.
    pub(super) fn count(&self, class: KindClass) -> usize {
        self.classes[class as usize].len()
    }

    pub(super) fn push(&mut self, entry: Entry) {
        let class = entry.event.envelope().event_kind.class();
        let node = Node {
            entry: Some(entry),
            class,
            before: self.last,
            behind: NONE,
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
            last => self.nodes[last].behind = at,
        }
        self.last = at;
        self.classes[class as usize].push_back(at);
        self.len += 1;
        self.step();
    }

    /// The oldest frame.
    pub(super) fn first_mut(&mut self) -> Option<&mut Entry> {
        self.nodes.get_mut(self.first)?.entry.as_mut()
    }

    /// Takes the oldest frame.
    pub(super) fn pop(&mut self) -> Option<Entry> {
        let class = self.nodes.get(self.first)?.class;
        self.take_oldest(class).map(|(entry, _)| entry)
    }

    /// Takes the oldest frame of a class, and lends the frame behind it.
    pub(super) fn take_oldest(&mut self, class: KindClass) -> Option<(Entry, Option<&mut Entry>)> {
        let at = self.classes[class as usize].pop_front()?;
        let (before, behind) = (self.nodes[at].before, self.nodes[at].behind);
        match before {
            NONE => self.first = behind,
            before => self.nodes[before].behind = behind,
        }
        match behind {
            NONE => self.last = before,
            behind => self.nodes[behind].before = before,
        }
        self.free.push(at);
        self.len -= 1;
        self.step();
        let entry = self.nodes[at].entry.take()?;
        Some((
            entry,
            self.nodes
                .get_mut(behind)
                .and_then(|node| node.entry.as_mut()),
        ))
    }

    /// The class of the oldest frame that is not terminal.
    pub(super) fn oldest_non_terminal(&self) -> Option<KindClass> {
        let oldest = |class: KindClass| {
            let at = *self.classes[class as usize].front()?;
            let entry = self.nodes[at].entry.as_ref()?;
            Some((entry.event.envelope().event_seq, class))
        };
        match (oldest(KindClass::Progress), oldest(KindClass::Normal)) {
            (Some(progress), Some(normal)) => Some(progress.min(normal).1),
            (one, other) => one.or(other).map(|(_, class)| class),
        }
    }

    /// The frame that arrived last.
    pub(super) fn last_mut(&mut self) -> Option<&mut Entry> {
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
