//! What is said to `tracing`, with the feature of that name: who subscribes, who loses frames to
//! the rings, who fails. Nothing is said for a frame, and nothing of an event's content.

use crate::event::{AgentError, EventCursor, EventStreamScope};
use crate::ring::Gap;

#[cfg(feature = "tracing")]
macro_rules! say {
    ($level:ident, $($said:tt)*) => {
        // A subscriber is code of the host, and its panics are not those of who loses frames.
        crate::foreign::contained(|| {
            tracing::event!(target: "framebus", tracing::Level::$level, $($said)*);
        })
    };
}

/// Without the feature: nothing, but the names are used.
#[cfg(not(feature = "tracing"))]
macro_rules! say {
    ($level:ident, $($field:ident = % $value:expr,)* $text:literal) => {{
        $(let _ = &$value;)*
    }};
}

/// Somebody subscribed.
pub(super) fn subscribed(scope: &EventStreamScope, after: u64) {
    say!(DEBUG, scope = %scope, after = %after, "subscribed");
}

/// The rings overwrote frames before they were read.
pub(super) fn lost(scope: &EventStreamScope, gap: &Gap) {
    say!(
        WARN,
        scope = %scope,
        frames = %gap.lost,
        first = %gap.first,
        last = %gap.last,
        expired = %gap.expired,
        terminals = %gap.terminals_lost,
        "frames were overwritten before they were read"
    );
}

/// A gap was filled from an archive.
pub(super) fn repaired(scope: &EventStreamScope, gap: &Gap) {
    say!(
        DEBUG,
        scope = %scope,
        first = %gap.first,
        last = %gap.last,
        "a gap was repaired from the archive"
    );
}

/// An archive that was to fill a gap failed.
pub(super) fn unrepaired(scope: &EventStreamScope, error: &AgentError) {
    say!(
        WARN,
        scope = %scope,
        error = %error,
        "a gap could not be repaired from the archive"
    );
}

/// A policy ended a stream.
pub(super) fn failed(resume_from: &EventCursor) {
    say!(
        WARN,
        scope = %resume_from.scope,
        resume_after = %resume_from.event_seq,
        "a stream failed: its queue was full"
    );
}
