//! What is published, and to what kind of bus.

use framebus::{AgentEvent, AgentId, EventEnvelope, EventFrame, EventKind, RunId, Timestamp};
use std::sync::Arc;

/// A frame as the peers carry it.
pub type Shared = Arc<EventFrame>;

/// Events, and the state of what they are published to.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// How many runs publish.
    pub runs: usize,
    /// How many events of a run are published before the next run's turn.
    pub burst: usize,
    /// Bytes of text in each event.
    pub text: usize,
    /// Whether every ring was lapped before anything is timed.
    pub lapped: bool,
    /// Whether the bus is read through the queue of a default subscription, not completely.
    pub queue: bool,
    /// Whether another program's data goes through the cache between bursts.
    pub pressure: bool,
}

/// 64 runs in turn, each event a token.
pub const TURNS: Load = Load {
    runs: 64,
    burst: 1,
    text: 20,
    lapped: true,
    queue: false,
    pressure: false,
};

impl Load {
    /// The id of a run.
    pub fn run(n: usize) -> RunId {
        RunId::new(format!("run-{n}"))
    }

    /// Makes the events, each with a word that its reader gets back.
    pub fn maker(self) -> impl FnMut(u64) -> EventFrame + Send {
        let ids = |n| (Self::run(n), AgentId::new(format!("agent-{}", n % 8)));
        let ids: Vec<_> = (0..self.runs).map(ids).collect();
        let text = "token ".repeat(self.text.div_ceil(6));
        let mut made = 0;
        move |word| {
            let (run, agent) = &ids[made / self.burst % ids.len()];
            made += 1;
            let envelope = EventEnvelope::new(run, agent, EventKind::ModelStreamDelta)
                .with_timestamp(Timestamp::from_micros(word as i64));
            let text = &text[..self.text];
            EventFrame::new(AgentEvent::with_redacted_summary(envelope, text))
        }
    }
}
