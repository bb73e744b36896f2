//! Settings of a bus.

use super::memory::InMemoryAgentEventBus;
use crate::event::{AgentError, AgentErrorKind, BusEpoch};
use crate::ring::{Geometry, MAX_SEQUENCE, MAX_SHARDS, MAX_WINDOW, RingConfig};
use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroUsize;

/// Settings of an [`InMemoryAgentEventBus`].
///
/// ```
/// # use framebus::InMemoryAgentEventBus;
/// # use std::num::NonZeroUsize;
/// let size = |n| NonZeroUsize::new(n).unwrap();
/// let bus = InMemoryAgentEventBus::builder()
///     .shards(size(4))
///     .ring_capacity(size(8_192))
///     .build()?;
/// # Ok::<(), framebus::AgentError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "settings do nothing until `build`"]
pub struct BusBuilder {
    /// How many shards, before it is rounded up to a power of two.
    shards: usize,
    /// How many frames a shard holds for sure; `None` for what the number of shards makes it.
    ring_capacity: Option<NonZeroUsize>,
    /// How many terminal frames a shard holds for sure.
    terminal_capacity: usize,
    /// The epoch of the bus that is reopened; `None` for a new bus.
    epoch: Option<BusEpoch>,
    /// The last sequence number of the bus that is reopened; 0 for a new bus.
    after: u64,
}

impl Default for BusBuilder {
    fn default() -> Self {
        BusBuilder {
            shards: 1,
            ring_capacity: None,
            terminal_capacity: 0,
            epoch: None,
            after: 0,
        }
    }
}

impl BusBuilder {
    /// Sets the number of shards, which is rounded up to a power of two: at most [`MAX_SHARDS`]; 1
    /// by default, on every machine. With more shards, fewer runs share one: a chatty run
    /// overwrites the history of fewer others, and a reader of one run passes over fewer frames.
    /// But a publish takes one more locked instruction, on a counter that all shards share, so
    /// that more shards publish no more in all; and a reader of everything merges them.
    pub fn shards(mut self, shards: NonZeroUsize) -> Self {
        self.shards = shards.get();
        self
    }

    /// Sets how many frames a shard holds for sure: at most [`MAX_WINDOW`]. Each takes 40 bytes
    /// beside its event, from the first time its slot is used.
    ///
    /// By default one shard holds 57,000 frames, and several hold 26,000 in all, at least 48 each.
    /// Publishes into one shard replace events in the order in which these were made, and the
    /// processor fetches them ahead. Publishes into several shards replace them in another order,
    /// and are slow unless the history stays in the processor's cache.
    pub fn ring_capacity(mut self, frames: NonZeroUsize) -> Self {
        self.ring_capacity = Some(frames);
        self
    }

    /// Returns how many frames a shard holds for sure.
    fn frames_a_shard(&self) -> usize {
        match self.ring_capacity {
            Some(frames) => frames.get(),
            None if self.shards == 1 => 57_000,
            None => (26_000 / self.shards).max(48),
        }
    }

    /// Sets how many terminal frames a shard holds for sure, beside the others: at most
    /// [`MAX_WINDOW`]. It holds as many as its ring capacity in any case.
    pub fn terminal_capacity(mut self, frames: NonZeroUsize) -> Self {
        self.terminal_capacity = frames.get();
        self
    }

    /// Continues a bus that was archived: its epoch, and the sequence number of its last frame, at
    /// most [`MAX_SEQUENCE`]. Cursors of that bus are good for this one.
    pub fn reopen(mut self, epoch: BusEpoch, last_sequence: u64) -> Self {
        self.epoch = Some(epoch);
        self.after = last_sequence;
        self
    }

    /// Returns how many frames the rings take at once for sure, whatever runs they are of.
    #[cfg(feature = "archive")]
    pub(crate) fn batch_limit(&self) -> usize {
        self.frames_a_shard().clamp(1, 1_024)
    }

    /// Builds the bus.
    ///
    /// # Errors
    /// [`AgentErrorKind::InvalidValue`] for a setting above its bound.
    pub fn build(self) -> Result<InMemoryAgentEventBus, AgentError> {
        let check = |what: &str, value: u64, most: u64| {
            if value <= most {
                return Ok(());
            }
            let message = format!("{what} is {value}, at most {most} is possible");
            Err(AgentError::new(AgentErrorKind::InvalidValue, message))
        };
        check(
            "the number of shards",
            self.shards as u64,
            MAX_SHARDS as u64,
        )?;
        check(
            "the ring capacity",
            self.frames_a_shard() as u64,
            MAX_WINDOW as u64,
        )?;
        check(
            "the terminal capacity",
            self.terminal_capacity as u64,
            MAX_WINDOW as u64,
        )?;
        check("the last sequence", self.after, MAX_SEQUENCE)?;
        Ok(self.open())
    }

    /// Builds the bus from settings that are within their bounds.
    fn open(self) -> InMemoryAgentEventBus {
        let config = RingConfig {
            shards: self.shards,
            frames: Geometry::for_window(self.frames_a_shard()),
            terminals: Geometry::for_window(self.terminal_capacity),
            after: self.after,
            ..RingConfig::default()
        };
        // Two random states make the same epoch with a chance of 2^-64. 0 means no bus.
        let epoch = self.epoch.unwrap_or_else(|| {
            BusEpoch::from_bits(
                RandomState::new()
                    .hash_one(std::time::SystemTime::now())
                    .max(1),
            )
        });
        InMemoryAgentEventBus::open(&config, epoch)
    }
}

impl InMemoryAgentEventBus {
    /// Returns the settings of a bus, to change them and build one.
    pub fn builder() -> BusBuilder {
        BusBuilder::default()
    }
}

impl Default for InMemoryAgentEventBus {
    /// One shard that holds 57,000 frames, and as many terminal ones, on every machine: at most
    /// 64 MiB with events of 300 bytes.
    fn default() -> Self {
        BusBuilder::default().open()
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn default_histories_take_no_more_than_65_536_slots_in_all() {
        for shards in [1, 2, 3, 4, 16, 64, 128, 256, 1_024] {
            let builder = BusBuilder::default().shards(NonZeroUsize::new(shards).unwrap());
            let stats = builder.build().unwrap().stats();
            assert_eq!(stats.shards.len(), shards.next_power_of_two());
            let slots = |window: u64| Geometry::for_window(window as usize).slots();
            let slots: usize = stats.shards.iter().map(|it| slots(it.frames.window)).sum();
            let least = if shards == 1 { 65_536 } else { 32_768 };
            assert!((least..=65_536).contains(&slots), "{shards}: {slots}");
        }
    }
}
