//! The bounds of what waits for the journal: submissions, until their group takes them; frames and
//! bytes, until they are answered for.
//!
//! Submissions enter in the order of their calls, so small ones never overtake a large one. A
//! submission above the bounds enters when nothing else waits, and then waits alone.

use crate::archive::turns::lock;
use crate::event::{EventFrame, EventView};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// What submissions take of the room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Load {
    pub(super) submissions: usize,
    pub(super) frames: usize,
    pub(super) bytes: usize,
}

impl Load {
    /// Returns what a submission of these frames takes.
    pub(super) fn of(frames: &[EventFrame]) -> Self {
        Load {
            submissions: 1,
            frames: frames.len(),
            bytes: frames.iter().map(|frame| weight(frame.event.view())).sum(),
        }
    }

    /// Returns what both take.
    fn and(self, other: Load) -> Self {
        Load {
            submissions: self.submissions + other.submissions,
            frames: self.frames.saturating_add(other.frames),
            bytes: self.bytes.saturating_add(other.bytes),
        }
    }

    /// Returns whether it is within another one.
    fn fits(self, most: Load) -> bool {
        self.submissions <= most.submissions
            && self.frames <= most.frames
            && self.bytes <= most.bytes
    }
}

/// Returns about how many bytes of memory an event takes.
fn weight(event: EventView<'_>) -> usize {
    /// An event without details and payload, with its frame.
    const PLAIN: usize = 256;
    /// A name with its allocation, beside its text.
    const NAME: usize = 48;
    let content = event.content().map_or(0, |it| it.bytes.len());
    let summary = event.redacted_summary().map_or(0, str::len);
    let references = event
        .references()
        .iter()
        .map(|it| NAME + it.id.as_str().len());
    let details = event.envelope().details.as_deref().map_or(0, |details| {
        let related = details.related.iter().map(|it| NAME + it.id.as_str().len());
        let tags = details.tags.iter().map(|it| NAME + it.as_str().len());
        let pairs = details.correlation.iter();
        let pairs = pairs.map(|it| 2 * NAME + it.key.as_str().len() + it.value.as_str().len());
        size_of_val(details) + related.chain(tags).chain(pairs).sum::<usize>()
    });
    PLAIN + content + summary + references.sum::<usize>() + details
}

/// The room, and what is in it.
#[derive(Debug)]
pub(super) struct Room {
    most: Load,
    state: Mutex<State>,
    /// Notified when room is given back or when another submission's turn comes.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    held: Load,
    /// How many submissions have asked to enter.
    asked: u64,
    /// How many of them have entered.
    entered: u64,
}

impl Room {
    /// A room without submissions, for this much of them.
    pub(super) fn new(most: Load) -> Arc<Self> {
        Arc::new(Room {
            most,
            state: Mutex::default(),
            changed: Condvar::new(),
        })
    }

    /// Waits until there is room, and takes it.
    pub(super) fn enter(self: &Arc<Self>, load: Load) -> Place {
        let mut state = lock(&self.state);
        let turn = state.asked;
        state.asked += 1;
        while state.entered != turn || !self.has_room(&state, load) {
            let waited = self.changed.wait(state);
            state = waited.unwrap_or_else(PoisonError::into_inner);
        }
        self.take(&mut state, load)
    }

    /// Takes room if there is some now and nobody waits for it.
    pub(super) fn try_enter(self: &Arc<Self>, load: Load) -> Option<Place> {
        let mut state = lock(&self.state);
        if state.entered != state.asked || !self.has_room(&state, load) {
            return None;
        }
        state.asked += 1;
        Some(self.take(&mut state, load))
    }

    fn has_room(&self, state: &State, load: Load) -> bool {
        state.held == Load::default() || state.held.and(load).fits(self.most)
    }

    fn take(self: &Arc<Self>, state: &mut State, load: Load) -> Place {
        state.held = state.held.and(load);
        state.entered += 1;
        // The next one's turn has come, and it may fit beside this one.
        self.changed.notify_all();
        Place {
            room: self.clone(),
            load,
        }
    }
}

/// A submission's part of the room. Dropping it gives it back.
#[derive(Debug)]
pub(super) struct Place {
    room: Arc<Room>,
    load: Load,
}

impl Place {
    /// Gives back the place of one submission: its group takes it. Its frames stay in the room
    /// until they are published and answered for. Returns how many bytes these take.
    pub(super) fn leave_queue(&mut self) -> usize {
        let submissions = std::mem::take(&mut self.load.submissions);
        lock(&self.room.state).held.submissions -= submissions;
        self.room.changed.notify_all();
        self.load.bytes
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let held = &mut lock(&self.room.state).held;
        held.submissions -= self.load.submissions;
        held.frames = held.frames.saturating_sub(self.load.frames);
        held.bytes = held.bytes.saturating_sub(self.load.bytes);
        self.room.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{AgentEvent, EventEnvelope, EventKind};
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    fn load(frames: usize, bytes: usize) -> Load {
        Load {
            submissions: 1,
            frames,
            bytes,
        }
    }

    fn room() -> Arc<Room> {
        Room::new(Load {
            submissions: 3,
            frames: 10,
            bytes: 100,
        })
    }

    #[test]
    fn each_bound_holds_and_what_leaves_gives_room() {
        for (one, other) in [(load(6, 1), load(5, 1)), (load(1, 60), load(1, 50))] {
            let room = room();
            let place = room.try_enter(one).unwrap();
            assert!(room.try_enter(other).is_none());
            drop(place);
            assert!(room.try_enter(other).is_some());
        }
        let room = room();
        let places: Vec<_> = (0..3)
            .map(|_| room.try_enter(load(0, 0)).unwrap())
            .collect();
        assert!(room.try_enter(load(0, 0)).is_none());
        drop(places);
        // A group that was taken leaves its submissions' places, and keeps its frames.
        let mut place = room.try_enter(load(10, 0)).unwrap();
        assert_eq!(place.leave_queue(), 0);
        let places: Vec<_> = (0..3)
            .map(|_| room.try_enter(load(0, 0)).unwrap())
            .collect();
        drop(places);
        assert!(room.try_enter(load(1, 0)).is_none());
        drop(place);
        assert_eq!(lock(&room.state).held, Load::default());
    }

    #[test]
    fn what_is_larger_than_the_room_is_alone_and_is_not_passed() {
        let room = room();
        let small = room.try_enter(load(1, 1)).unwrap();
        let (enters, entered) = mpsc::channel();
        thread::scope(|scope| {
            let large = scope.spawn(|| {
                let place = room.enter(load(1_000, 1));
                enters.send("large").unwrap();
                place
            });
            while lock(&room.state).asked < 2 {
                thread::yield_now();
            }
            assert!(room.try_enter(load(1, 1)).is_none(), "it would pass");
            let behind = scope.spawn(|| {
                let place = room.enter(load(1, 1));
                enters.send("small").unwrap();
                place
            });
            assert!(entered.recv_timeout(Duration::from_millis(50)).is_err());
            drop(small);
            assert_eq!(entered.recv(), Ok("large"));
            assert!(entered.recv_timeout(Duration::from_millis(50)).is_err());
            drop(large.join().unwrap());
            assert_eq!(entered.recv(), Ok("small"));
            drop(behind.join().unwrap());
        });
        assert_eq!(lock(&room.state).held, Load::default());
    }

    #[test]
    fn a_frame_takes_at_least_its_texts() {
        let envelope = EventEnvelope::new("r", "a", EventKind::RunStarted)
            .with_tag("t".repeat(1_000).as_str())
            .with_correlation(("key", "v".repeat(2_000).as_str()));
        let event = AgentEvent::with_content(envelope, "text/plain", vec![0; 4_000]);
        let load = Load::of(&[EventFrame::new(event)]);
        assert_eq!((load.submissions, load.frames), (1, 1));
        assert!((7_000..9_000).contains(&load.bytes), "{load:?}");
    }
}
