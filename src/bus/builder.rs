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
    shards: usize,
    ring_capacity: usize,
    terminal_capacity: usize,
    epoch: Option<BusEpoch>,
    after: u64,
}

impl Default for BusBuilder {
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        BusBuilder {
            shards: processors.next_power_of_two().min(16),
            ring_capacity: 57_000,
            terminal_capacity: 0,
            epoch: None,
            after: 0,
        }
    }
}

impl BusBuilder {
    /// How many shards, rounded up to a power of two: at most [`MAX_SHARDS`]. More of them keep
    /// chatty runs further away from the history of others, and cost readers of everything more.
    pub fn shards(mut self, shards: NonZeroUsize) -> Self {
        self.shards = shards.get();
        self
    }

    /// How many frames a shard holds for sure: at most [`MAX_WINDOW`]. Each takes 40 bytes beside
    /// its event, once its place was used.
    pub fn ring_capacity(mut self, frames: NonZeroUsize) -> Self {
        self.ring_capacity = frames.get();
        self
    }

    /// How many terminal frames a shard holds for sure, beside the others; at least its ring
    /// capacity in any case.
    pub fn terminal_capacity(mut self, frames: NonZeroUsize) -> Self {
        self.terminal_capacity = frames.get();
        self
    }

    /// Continues a bus that was archived: its epoch, and the number of its last frame. Cursors of
    /// that bus are good for this one.
    pub fn reopen(mut self, epoch: BusEpoch, last_sequence: u64) -> Self {
        self.epoch = Some(epoch);
        self.after = last_sequence;
        self
    }

    /// How many frames the rings take at once for sure, whatever runs they are of.
    #[cfg(feature = "archive")]
    pub(crate) fn batch_limit(&self) -> usize {
        self.ring_capacity.clamp(1, 1_024)
    }

    /// The bus.
    ///
    /// # Errors
    /// [`AgentErrorKind::InvalidValue`] for a size above its bound.
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
            self.ring_capacity as u64,
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

    pub(super) fn open(self) -> InMemoryAgentEventBus {
        let config = RingConfig {
            shards: self.shards,
            frames: Geometry::for_window(self.ring_capacity),
            terminals: Geometry::for_window(self.terminal_capacity),
            after: self.after,
        };
        // Two states of this kind never agree but by chance of 2^-64; 0 stands for no bus.
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
