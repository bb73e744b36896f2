//! What a stream took in from the rings and has not delivered yet.
//!
//! A stream takes in when nothing that it took in is left. With a policy, it moves all that was
//! published by then through the [queue](BoundedQueue), which bounds it. A complete stream takes in
//! a few frames at a time and drops none, so they need no queue: they are ready as they are. Only
//! from the first loss of an intake on they go through the queue, which reports losses on frames.

use super::scoped::{Found, ScopedReader};
use crate::bound::{BoundedQueue, Queued};
use crate::bus::shared::Event;
use crate::bus::trace;
use crate::event::{
    EventCursor, EventOverflowNotice, SubscriberOverflowPolicy, SubscriberQueueConfig,
    SubscriptionOptions,
};
use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;

/// How many frames a complete stream takes in at once.
const COMPLETE_INTAKE: usize = 64;

/// Frames that were taken in, in order, and what is known of losses.
#[derive(Clone)]
pub(super) struct Intake {
    /// Frames of a complete stream that nothing was lost before. They come before what is queued.
    ready: VecDeque<Event>,
    /// What the policy let through. It also counts all losses.
    pub(super) queue: BoundedQueue<Event>,
    /// Whether nothing is dropped. Never changes.
    complete: bool,
}

impl Intake {
    /// Nothing taken in yet, for a stream that starts at `start`.
    pub(super) fn new(options: &SubscriptionOptions, start: EventCursor) -> Self {
        let queue = if options.complete {
            // A queue that has room for every frame drops none.
            SubscriberQueueConfig {
                capacity: NonZeroUsize::MAX,
                overflow: SubscriberOverflowPolicy::default(),
                ..options.queue
            }
        } else {
            options.queue
        };
        Intake {
            ready: VecDeque::new(),
            queue: BoundedQueue::new(queue, start),
            complete: options.complete,
        }
    }

    /// Returns how many frames are left.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.ready.len() + self.queue.len()
    }

    /// Returns whether a frame is there without a look at the rings.
    #[inline]
    pub(super) fn has_frame(&self) -> bool {
        !self.ready.is_empty() || self.queue.has_frame()
    }

    /// Takes the next frame out, if nothing was lost before it.
    #[inline]
    pub(super) fn pop_ready(&mut self) -> Option<Event> {
        self.ready.pop_front()
    }

    /// Takes the next frame out, or the terminal frame that the last intake stopped before.
    pub(super) fn pop(&mut self) -> Option<Queued<Event>> {
        if let Some(event) = self.pop_ready() {
            return Some(Queued {
                frame: event,
                overflow: None,
                summary: false,
            });
        }
        if self.queue.len() == 0 {
            self.queue.begin_refill();
        }
        self.queue.pop()
    }

    /// Takes the notice that is attached to the next frame.
    pub(super) fn take_first_notice(&mut self) -> Option<EventOverflowNotice> {
        if self.ready.is_empty() {
            self.queue.take_first_notice()
        } else {
            None
        }
    }

    /// Takes in what was published when the call began, if nothing is left. The stream's position
    /// is `position`.
    pub(super) fn refill(&mut self, reader: &mut ScopedReader, position: &EventCursor) {
        if self.len() > 0 {
            return;
        }
        if self.complete {
            self.refill_complete(reader);
        } else {
            self.refill_queue(reader, position);
        }
    }

    /// Takes in a few frames, and drops none.
    fn refill_complete(&mut self, reader: &mut ScopedReader) {
        let (ready, queue) = (&mut self.ready, &mut self.queue);
        reader.poll(|found| {
            match found {
                Found::Frame(event) if queue.is_idle() => ready.push_back(event.clone()),
                Found::Frame(event) => queue.offer(event)?,
                Found::Lost(loss) => {
                    trace::lost(&queue.start().scope, loss);
                    // The first loss is reported on the next frame or, without one, on the last.
                    if queue.is_idle()
                        && let Some(last) = ready.pop_back()
                    {
                        queue.offer(&last)?;
                    }
                    queue.lose(loss);
                }
            }
            if ready.len() + queue.len() < COMPLETE_INTAKE {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        });
        self.queue.end_refill();
    }

    /// Moves all of it through the policy.
    fn refill_queue(&mut self, reader: &mut ScopedReader, position: &EventCursor) {
        let queue = &mut self.queue;
        queue.begin_refill();
        let had_failed = queue.failure().is_some();
        reader.poll(|found| match found {
            Found::Frame(event) => queue.offer(event),
            Found::Lost(loss) => {
                trace::lost(&queue.start().scope, loss);
                queue.lose(loss);
                ControlFlow::Continue(())
            }
        });
        queue.end_refill();
        if !had_failed {
            queue.resume_after(position);
            if let Some(failure) = queue.failure() {
                trace::failed(&failure.resume_from);
            }
        }
    }
}
