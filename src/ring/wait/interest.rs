//! What a waiter waits for: a key and a filter, in words that publishers read.

use crate::ring::slot::TagFilter;
use crate::sync::{AtomicU64, Ordering};

/// The key that matches every key.
pub const ANY_KEY: u64 = u64::MAX;

/// Whose frames a waiter waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WaitTarget {
    /// Those of this shard.
    Shard(usize),
    /// Those of any shard.
    AllShards,
}

/// Which frames a waiter is woken for.
///
/// Only its waiter stores it, while the parked flag is down. A publisher loads it after it saw the
/// flag up. What it loads is torn only if the waiter parks again meanwhile: then the publisher's
/// fence comes before the waiter's (E12), whose next look sees the frame.
#[repr(C)]
pub(super) struct Interest {
    /// The key, or [`ANY_KEY`].
    key: AtomicU64,
    /// The filter's mask in the upper half, its value in the lower.
    tags: AtomicU64,
    /// The filter's classes, the lower half first.
    classes: [AtomicU64; 2],
}

impl Default for Interest {
    /// Any frame.
    fn default() -> Self {
        Interest {
            key: AtomicU64::new(ANY_KEY),
            tags: AtomicU64::new(0),
            classes: [const { u64::MAX }; 2].map(AtomicU64::new),
        }
    }
}

impl Interest {
    /// Sets the key, and the filter; without one, tags are not looked at.
    pub(super) fn set(&self, key: u64, filter: Option<&TagFilter>) {
        let (tags, classes) = filter.map_or((0, u128::MAX), |filter| {
            let tags = u64::from(filter.mask) << 32 | u64::from(filter.value);
            (tags, filter.classes)
        });
        // Relaxed: E11 carries it.
        self.key.store(key, Ordering::Relaxed);
        self.tags.store(tags, Ordering::Relaxed);
        self.classes[0].store(classes as u64, Ordering::Relaxed);
        self.classes[1].store((classes >> 64) as u64, Ordering::Relaxed);
    }

    /// Whether a frame with one of these keys and this tag is one of those.
    pub(super) fn matches(&self, keys: [u64; 2], tag: u32) -> bool {
        // Relaxed: E11 carries it.
        let own = self.key.load(Ordering::Relaxed);
        let tags = self.tags.load(Ordering::Relaxed);
        let [low, high] = [0, 1].map(|half| self.classes[half].load(Ordering::Relaxed));
        let filter = TagFilter {
            mask: (tags >> 32) as u32,
            value: tags as u32,
            classes: u128::from(high) << 64 | u128::from(low),
        };
        (own == ANY_KEY || keys.contains(&own)) && filter.matches(tag)
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn a_frame_matches_by_one_of_its_keys_and_its_tag() {
        let interest = Interest::default();
        assert!(interest.matches([1, 2], 0xff_ffff));
        let filter = TagFilter {
            mask: 0xff_0000,
            value: 0x12_0000,
            classes: 1 << 3 | 1 << 100,
        };
        interest.set(7, Some(&filter));
        assert!(interest.matches([7, 8], 0x12_0003) && interest.matches([8, 7], 0x12_0064));
        assert!(!interest.matches([8, 9], 0x12_0003));
        assert!(!interest.matches([7, 7], 0x13_0003) && !interest.matches([7, 7], 0x12_0004));
        interest.set(ANY_KEY, None);
        assert!(interest.matches([8, 9], 4));
    }
}
