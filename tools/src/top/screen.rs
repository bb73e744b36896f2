//! What is to be seen: the figures of the bus and of its readers, and their recent past.

use super::readers::Look;
use framebus::ring::RingStats;
use std::collections::VecDeque;
use std::time::Duration;

/// How many looks are remembered.
const PAST: usize = 400;

/// A figure that only grows, and how fast.
#[derive(Default)]
pub struct Pace {
    /// The figure at the last look, and when that was.
    pub count: u64,
    pub at: Duration,
    /// By how much it grows in a second, smoothed.
    pub rate: u64,
    /// The rates at the last looks, not smoothed.
    pub past: VecDeque<u64>,
}

impl Pace {
    /// Takes a new look.
    fn look(&mut self, at: Duration, count: u64) {
        let (new, took) = (count.saturating_sub(self.count), at.saturating_sub(self.at));
        let rate = new as f64 / took.as_secs_f64().max(0.001);
        // A mean of some looks: a paced play comes in bursts.
        self.rate = ((self.rate as f64) * 0.7 + rate * 0.3).round() as u64;
        remember(&mut self.past, rate as u64);
        (self.count, self.at) = (count, at);
    }
}

fn remember(past: &mut VecDeque<u64>, now: u64) {
    if past.len() == PAST {
        past.pop_front();
    }
    past.push_back(now);
}

/// A subscriber on the screen.
pub struct ReaderRow {
    pub look: Look,
    /// How many sequence numbers were assigned since the last one that it read.
    pub lag: u64,
    /// The lags at the last looks.
    pub lags: VecDeque<u64>,
    pub delivered: Pace,
}

/// All that is shown.
pub struct Screen {
    /// The frames of the whole play.
    pub frames: u64,
    /// Since the play began.
    pub elapsed: Duration,
    pub stats: RingStats,
    pub published: Pace,
    pub shards: Vec<Pace>,
    pub readers: Vec<ReaderRow>,
}

impl Screen {
    /// For a play of `total` frames.
    pub fn new(frames: u64, stats: RingStats) -> Self {
        Screen {
            frames,
            elapsed: Duration::ZERO,
            published: Pace::default(),
            shards: stats.shards.iter().map(|_| Pace::default()).collect(),
            stats,
            readers: Vec::new(),
        }
    }

    /// Takes the figures of the bus.
    pub fn bus(&mut self, at: Duration, stats: RingStats) {
        self.published.look(at, stats.published);
        for (pace, shard) in self.shards.iter_mut().zip(&stats.shards) {
            pace.look(at, shard.frames.tail + shard.terminals.tail);
        }
        self.stats = stats;
    }

    /// Takes the figures of its readers.
    pub fn readers(&mut self, at: Duration, looks: impl Iterator<Item = Look>) {
        self.elapsed = at;
        for (number, look) in looks.enumerate() {
            if number == self.readers.len() {
                self.readers.push(ReaderRow {
                    look,
                    lag: 0,
                    lags: VecDeque::new(),
                    delivered: Pace::default(),
                });
                continue;
            }
            let row = &mut self.readers[number];
            row.lag = match look.ended {
                Some(_) => 0,
                None if look.napping => {
                    let last = self.stats.last_sequence;
                    last.saturating_sub(look.stats.position)
                }
                None => look.stats.lag,
            };
            remember(&mut row.lags, row.lag);
            row.delivered.look(at, look.stats.delivered);
            row.look = look;
        }
    }

    /// Returns how many frames all shards hold for certain. A reader that lags more has lost some.
    pub fn held(&self) -> u64 {
        self.stats.shards.iter().map(|it| it.frames.window).sum()
    }
}
