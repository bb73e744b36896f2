//! What is carried: a word, a shared event of 300 bytes, a real event frame.
//!
//! Each holds one word that the reader gets back, so that a case can check what arrived and no
//! read is optimised away.

use framebus::{AgentEvent, AgentId, EventEnvelope, EventFrame, EventKind, RunId, Timestamp};
use std::sync::Arc;

/// Something to publish.
pub trait Payload: Clone + Send + Sync + 'static {
    /// Whether making one costs nothing worth excluding.
    const CHEAP: bool;

    /// Makes payloads, as one publisher of a runtime would: those of one run.
    fn maker(publisher: usize) -> impl FnMut(u64) -> Self + Send;

    /// The word that it was made with.
    fn word(&self) -> u64;
}

impl Payload for u64 {
    const CHEAP: bool = true;

    fn maker(_: usize) -> impl FnMut(u64) -> Self + Send {
        |word| word
    }

    fn word(&self) -> u64 {
        *self
    }
}

/// An event of 300 bytes.
pub struct Event300 {
    word: u64,
    _rest: [u8; 292],
}

impl Payload for Arc<Event300> {
    const CHEAP: bool = false;

    fn maker(_: usize) -> impl FnMut(u64) -> Self + Send {
        |word| {
            let rest = [word as u8; 292];
            Arc::new(Event300 { word, _rest: rest })
        }
    }

    fn word(&self) -> u64 {
        self.word
    }
}

/// An event frame as a channel carries it, whose receivers share it.
impl Payload for Arc<EventFrame> {
    const CHEAP: bool = false;

    fn maker(publisher: usize) -> impl FnMut(u64) -> Self + Send {
        let mut make = EventFrame::maker(publisher);
        move |word| Arc::new(make(word))
    }

    fn word(&self) -> u64 {
        EventFrame::word(self)
    }
}

impl Payload for EventFrame {
    const CHEAP: bool = false;

    fn maker(publisher: usize) -> impl FnMut(u64) -> Self + Send {
        let run = RunId::new(format!("run-{publisher}"));
        let agent = AgentId::new(format!("agent-{publisher}"));
        move |word| {
            // The bus gives it a sequence; the time goes through untouched.
            let time = Timestamp::from_micros(word as i64);
            let envelope =
                EventEnvelope::new(&run, &agent, EventKind::ModelStreamDelta).with_timestamp(time);
            EventFrame::new(AgentEvent::envelope_only(envelope))
        }
    }

    fn word(&self) -> u64 {
        self.event.envelope.timestamp.as_micros() as u64
    }
}
