//! What a slow subscriber may lose, and why. `gap.rs` has how that is reported.

use super::payload::PayloadAccessMode;
use std::num::NonZeroUsize;

/// What a subscription's queue does when it has no room. Under every policy, a terminal frame is
/// queued in place of the oldest frame that is not terminal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum SubscriberOverflowPolicy {
    /// Drops the arriving frame that is not terminal.
    #[default]
    DropNonTerminal,
    /// Drops an arriving progress frame; for another frame, the oldest queued progress frame.
    DropProgress,
    /// Lets the last of a run of progress frames stand for the whole run, whether or not there is
    /// room. A run of one frame is that frame.
    SummarizeAndContinue,
    /// Refused for live subscriptions: no subscriber may hold up a publisher.
    BackpressureCaller,
    /// Ends the stream, and says where to resume.
    FailSubscriber,
}

/// The bounds of a subscription's queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct SubscriberQueueConfig {
    /// How many frames it holds at most.
    pub capacity: NonZeroUsize,
    /// How many of them are reserved for terminal frames.
    pub terminal_reserve: NonZeroUsize,
    /// What it does when it has no room.
    pub overflow: SubscriberOverflowPolicy,
}

impl Default for SubscriberQueueConfig {
    /// 64 frames, 1 of them for terminal ones, [`SubscriberOverflowPolicy::DropNonTerminal`].
    fn default() -> Self {
        const CAPACITY: NonZeroUsize = NonZeroUsize::new(64).unwrap();
        SubscriberQueueConfig {
            capacity: CAPACITY,
            terminal_reserve: NonZeroUsize::MIN,
            overflow: SubscriberOverflowPolicy::default(),
        }
    }
}

/// Where a subscription without a cursor starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum StreamStart {
    /// At the oldest frame that the bus still holds. Frames that it no longer holds are not
    /// reported as lost.
    #[default]
    OldestHeld,
    /// After everything published so far.
    Latest,
    /// At the bus's first frame. If that is gone, the first frame given reports the lost ones, with
    /// the reason [`EventOverflowReason::LiveBufferExpired`].
    Beginning,
}

/// How a subscription reads.
///
/// ```
/// # use framebus::*;
/// // All that the rings hold, and nothing dropped but by them.
/// let archive = SubscriptionOptions::complete().beginning();
/// // A queue of 1,024 frames that lets progress go first, for what is published from now on.
/// let screen = SubscriptionOptions::capacity(1_024)
///     .policy(SubscriberOverflowPolicy::DropProgress)
///     .latest();
/// # let _ = (archive, screen);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct SubscriptionOptions {
    /// Its queue.
    pub queue: SubscriberQueueConfig,
    /// How much of payloads it may see.
    pub payload_access: PayloadAccessMode,
    /// Where it starts when it has no cursor.
    pub start: StreamStart,
    /// Whether it reads without a queue and its policy, and gives every frame that the rings still
    /// hold.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "std::ops::Not::not"))]
    pub complete: bool,
}

impl SubscriptionOptions {
    /// Complete reading: no queue, and so no policy that drops. Frames are lost to the rings only,
    /// and reported. Costs least. For readers that are not slow for long.
    #[must_use]
    pub fn complete() -> Self {
        SubscriptionOptions {
            complete: true,
            ..Self::default()
        }
    }

    /// A queue of `frames` frames, at least 1; everything else at its default.
    #[must_use]
    pub fn capacity(frames: usize) -> Self {
        let mut options = Self::default();
        options.queue.capacity = NonZeroUsize::new(frames).unwrap_or(NonZeroUsize::MIN);
        options
    }

    /// Sets the policy of a queue that has no room.
    #[must_use]
    pub fn policy(mut self, policy: SubscriberOverflowPolicy) -> Self {
        self.queue.overflow = policy;
        self
    }

    /// Sets how many of the queue's frames, at least 1, are reserved for terminal ones.
    #[must_use]
    pub fn terminal_reserve(mut self, frames: usize) -> Self {
        self.queue.terminal_reserve = NonZeroUsize::new(frames).unwrap_or(NonZeroUsize::MIN);
        self
    }

    /// Sets how much of payloads the subscription may see.
    #[must_use]
    pub fn payload(mut self, access: PayloadAccessMode) -> Self {
        self.payload_access = access;
        self
    }

    /// Starts [after everything published so far](StreamStart::Latest).
    #[must_use]
    pub fn latest(mut self) -> Self {
        self.start = StreamStart::Latest;
        self
    }

    /// Starts [at the bus's first frame](StreamStart::Beginning).
    #[must_use]
    pub fn beginning(mut self) -> Self {
        self.start = StreamStart::Beginning;
        self
    }
}

/// Why frames were lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum EventOverflowReason {
    /// The subscription's queue had no room, and the policy made none.
    SubscriberQueueFull,
    /// The rings overwrote frames that this live subscription had not read.
    SubscriberLagged,
    /// Frames after the cursor were gone when it subscribed.
    LiveBufferExpired,
    /// The policy dropped progress frames.
    PolicyDroppedProgress,
    /// The policy dropped frames that are not terminal.
    PolicyDroppedNonTerminal,
}

impl EventOverflowReason {
    /// All reasons.
    pub const ALL: [EventOverflowReason; 5] = [
        EventOverflowReason::SubscriberQueueFull,
        EventOverflowReason::SubscriberLagged,
        EventOverflowReason::LiveBufferExpired,
        EventOverflowReason::PolicyDroppedProgress,
        EventOverflowReason::PolicyDroppedNonTerminal,
    ];

    /// Returns the reason's name, as in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            EventOverflowReason::SubscriberQueueFull => "subscriber_queue_full",
            EventOverflowReason::SubscriberLagged => "subscriber_lagged",
            EventOverflowReason::LiveBufferExpired => "live_buffer_expired",
            EventOverflowReason::PolicyDroppedProgress => "policy_dropped_progress",
            EventOverflowReason::PolicyDroppedNonTerminal => "policy_dropped_non_terminal",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_numbered_as_they_are_listed_and_named_as_in_json() {
        for (number, reason) in EventOverflowReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, number);
            #[cfg(feature = "serde")]
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.as_str());
        }
    }
}
