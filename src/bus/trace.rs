//! What is reported to `tracing`, with the feature of that name: subscriptions, losses to the
//! rings, repairs and failures. Nothing is reported for a frame, and nothing of an event's content.

use crate::bound::Loss;
use crate::event::{AgentError, EventCursor, EventOverflowReason, EventStreamScope};

/// Reports an event of this level with these fields.
#[cfg(feature = "tracing")]
macro_rules! report {
    ($level:ident, $($fields:tt)*) => {
        // The facade's subscriber is code of the host. Its panics are contained: they must not
        // unwind into a reader that loses frames.
        crate::foreign::contained(|| {
            tracing::event!(target: "framebus", tracing::Level::$level, $($fields)*);
        })
    };
}

/// Without the feature, evaluates the fields and reports nothing.
#[cfg(not(feature = "tracing"))]
macro_rules! report {
    ($level:ident, $($field:ident = % $value:expr,)* $text:literal) => {{
        $(let _ = &$value;)*
    }};
}

/// Reports a new subscription.
pub(super) fn subscribed(scope: &EventStreamScope, after: u64) {
    report!(DEBUG, scope = %scope, after = %after, "subscribed");
}

/// Reports that the rings overwrote frames before they were read.
pub(super) fn lost(scope: &EventStreamScope, loss: &Loss) {
    report!(
        WARN,
        scope = %scope,
        frames = %loss.count,
        first = %loss.first_seq,
        last = %loss.last_seq,
        expired = %(loss.reason == EventOverflowReason::LiveBufferExpired),
        terminals = %!loss.terminal_preserved,
        "frames were overwritten before they were read"
    );
}

/// Reports that a gap was repaired from an archive.
pub(super) fn repaired(scope: &EventStreamScope, loss: &Loss) {
    report!(
        DEBUG,
        scope = %scope,
        first = %loss.first_seq,
        last = %loss.last_seq,
        "a gap was repaired from the archive"
    );
}

/// Reports that an archive failed while a gap was repaired.
pub(super) fn unrepaired(scope: &EventStreamScope, error: &AgentError) {
    report!(
        WARN,
        scope = %scope,
        error = %error,
        "a gap could not be repaired from the archive"
    );
}

/// Reports that a policy ended a stream.
pub(super) fn failed(resume_from: &EventCursor) {
    report!(
        WARN,
        scope = %resume_from.scope,
        resume_after = %resume_from.event_seq,
        "a stream failed: its queue was full"
    );
}
