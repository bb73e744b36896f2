//! Figures for the `metrics` facade, recorded when the host asks: publishing and delivering a frame
//! cost nothing more.
//!
//! A host calls [`BusMeter::record`] at its own pace, such as each second or at each scrape, and
//! each reader its [`SubscriptionMeter::record`] now and then.
//!
//! Each figure has the label `bus`. Those of a lane have `lane` as well (`frames` or `terminals`),
//! those of a subscription `subscription`, and dropped frames also `reason`.
//!
//! | name | type | |
//! | --- | --- | --- |
//! | `framebus_published_total` | counter | frames published |
//! | `framebus_woken_total` | counter | parked subscriptions that a publisher woke |
//! | `framebus_voids_total` | counter | slots skipped: a reader or publisher held them |
//! | `framebus_wraps_total` | counter | how often lanes of a class wrapped around |
//! | `framebus_sequence` | gauge | the sequence number of the last frame |
//! | `framebus_oldest_sequence` | gauge | the sequence number of the oldest frame held |
//! | `framebus_parked` | gauge | subscriptions that wait |
//! | `framebus_feed_clients` | gauge | clients of a web feed of the bus |
//! | `framebus_lane_fill` | gauge | how full the fullest shard's lane of a class is, 0 to 1 |
//! | `framebus_subscription_delivered_total` | counter | frames delivered as themselves |
//! | `framebus_subscription_terminals_total` | counter | terminal ones of them |
//! | `framebus_subscription_dropped_total` | counter | frames lost |
//! | `framebus_subscription_laps_total` | counter | how often a lane was found lapped |
//! | `framebus_subscription_notices_total` | counter | notices delivered |
//! | `framebus_subscription_lag` | gauge | sequence numbers since its position |
//! | `framebus_subscription_queued` | gauge | frames in its queue |
//!
//! The host chooses the labels of buses and subscriptions. [`BusMeter::max_subscriptions`] bounds
//! how many there are, since a recorder keeps every label that it ever saw.
#![forbid(unsafe_code)]

use crate::bus::{InMemoryAgentEventBus, StreamStats};
use crate::event::{AgentError, AgentErrorKind, EventOverflowReason};
use crate::ring::{LaneStats, RingStats, ShardStats};
use metrics::{Counter, Gauge, counter, gauge};
use std::collections::HashSet;

/// Records the figures of one bus, and makes meters for its subscriptions.
///
/// ```
/// use framebus::InMemoryAgentEventBus;
/// use framebus::meter::BusMeter;
///
/// let bus = InMemoryAgentEventBus::default();
/// let mut meter = BusMeter::new(&bus, "main");
/// let stream = bus.subscribe_all(None)?;
/// let mut ui = meter.subscription("ui")?;
/// // Now and then:
/// meter.record();
/// ui.record(&stream.stats());
/// # use framebus::AgentEventBus;
/// # Ok::<(), framebus::AgentError>(())
/// ```
#[must_use = "a meter records nothing by itself"]
pub struct BusMeter {
    /// Reads the bus's figures; `None` once it is closed.
    stats: Box<dyn Fn() -> Option<RingStats> + Send + Sync>,
    /// The label `bus`.
    name: String,
    /// How many labels subscriptions may have.
    max_subscriptions: usize,
    /// The labels that subscriptions have.
    labels: HashSet<String>,
    published: Counter,
    woken: Counter,
    voids: Counter,
    sequence: Gauge,
    oldest: Gauge,
    parked: Gauge,
    feed_clients: Gauge,
    lanes: [LaneMeter; 2],
}

/// The metrics of the lanes of one class, over all shards.
struct LaneMeter {
    /// Returns a shard's lane of the class.
    of: fn(&ShardStats) -> &LaneStats,
    wraps: Counter,
    fill: Gauge,
}

impl BusMeter {
    /// A meter for a bus, under the host's name for it. Does not keep the bus open.
    pub fn new(bus: &InMemoryAgentEventBus, name: impl Into<String>) -> Self {
        let bus = bus.downgrade();
        Self::of(move || Some(bus.upgrade()?.stats()), name)
    }

    /// A meter for another kind of bus, such as a journaled one. `stats` returns its figures;
    /// `None` once it is closed. If `stats` holds the bus, the meter keeps it open.
    pub fn of(
        stats: impl Fn() -> Option<RingStats> + Send + Sync + 'static,
        name: impl Into<String>,
    ) -> Self {
        let name: String = name.into();
        let lane = |lane: &'static str, of| LaneMeter {
            of,
            wraps: counter!("framebus_wraps_total", "bus" => name.clone(), "lane" => lane),
            fill: gauge!("framebus_lane_fill", "bus" => name.clone(), "lane" => lane),
        };
        BusMeter {
            stats: Box::new(stats),
            max_subscriptions: 100,
            labels: HashSet::new(),
            published: counter!("framebus_published_total", "bus" => name.clone()),
            woken: counter!("framebus_woken_total", "bus" => name.clone()),
            voids: counter!("framebus_voids_total", "bus" => name.clone()),
            sequence: gauge!("framebus_sequence", "bus" => name.clone()),
            oldest: gauge!("framebus_oldest_sequence", "bus" => name.clone()),
            parked: gauge!("framebus_parked", "bus" => name.clone()),
            feed_clients: gauge!("framebus_feed_clients", "bus" => name.clone()),
            lanes: [
                lane("frames", |shard| &shard.frames),
                lane("terminals", |shard| &shard.terminals),
            ],
            name,
        }
    }

    /// Sets how many different labels subscriptions can have: 100 by default.
    pub fn max_subscriptions(mut self, labels: usize) -> Self {
        self.max_subscriptions = labels;
        self
    }

    /// Returns a meter for one subscription, under the host's name for it. The counters of
    /// subscriptions that share a label, at once or one after the other, add up; the gauges are
    /// those of the one recorded last.
    ///
    /// # Errors
    /// [`AgentErrorKind::TooManyLabels`] for one label more than
    /// [`max_subscriptions`](Self::max_subscriptions).
    pub fn subscription(
        &mut self,
        label: impl Into<String>,
    ) -> Result<SubscriptionMeter, AgentError> {
        let label: String = label.into();
        if !self.labels.contains(&label) {
            if self.labels.len() >= self.max_subscriptions {
                let message = format!(
                    "{label:?} is one more than the {} labels that are allowed; let several \
                     subscriptions share one",
                    self.max_subscriptions
                );
                return Err(AgentError::new(AgentErrorKind::TooManyLabels, message));
            }
            self.labels.insert(label.clone());
        }
        Ok(SubscriptionMeter::new(&self.name, &label))
    }

    /// Records how many clients a web feed of the bus has: what `clients()` of the feed's handle
    /// returns.
    pub fn record_feed_clients(&self, clients: usize) {
        self.feed_clients.set(clients as f64);
    }

    /// Records the bus's figures now. Returns whether the bus is still open.
    pub fn record(&self) -> bool {
        let Some(stats) = (self.stats)() else {
            return false;
        };
        self.published.absolute(stats.published);
        self.woken.absolute(stats.woken);
        self.sequence.set(stats.last_sequence as f64);
        self.oldest.set(stats.oldest_sequence.unwrap_or(0) as f64);
        self.parked.set(stats.parked as f64);
        let mut voids = 0;
        for lane in &self.lanes {
            let shards = || stats.shards.iter().map(lane.of);
            voids += shards().map(|it| it.voids).sum::<u64>();
            lane.wraps.absolute(shards().map(|it| it.wraps).sum());
            lane.fill
                .set(shards().map(LaneStats::fill).fold(0.0, f64::max));
        }
        self.voids.absolute(voids);
        true
    }
}

impl std::fmt::Debug for BusMeter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BusMeter")
            .field("name", &self.name)
            .field("labels", &self.labels)
            .finish_non_exhaustive()
    }
}

/// Records the figures of one subscription.
pub struct SubscriptionMeter {
    /// The figures recorded last: counters rise by the difference.
    last: StreamStats,
    delivered: Counter,
    terminals: Counter,
    dropped: [Counter; EventOverflowReason::ALL.len()],
    laps: Counter,
    notices: Counter,
    lag: Gauge,
    queued: Gauge,
}

impl SubscriptionMeter {
    fn new(bus: &str, label: &str) -> Self {
        let labels = || [("bus", bus.to_owned()), ("subscription", label.to_owned())];
        SubscriptionMeter {
            last: StreamStats::default(),
            delivered: counter!("framebus_subscription_delivered_total", &labels()),
            terminals: counter!("framebus_subscription_terminals_total", &labels()),
            dropped: EventOverflowReason::ALL.map(|reason| {
                let [bus, subscription] = labels();
                let labels = [bus, subscription, ("reason", reason.as_str().to_owned())];
                counter!("framebus_subscription_dropped_total", &labels)
            }),
            laps: counter!("framebus_subscription_laps_total", &labels()),
            notices: counter!("framebus_subscription_notices_total", &labels()),
            lag: gauge!("framebus_subscription_lag", &labels()),
            queued: gauge!("framebus_subscription_queued", &labels()),
        }
    }

    /// Records the figures of the stream, which [`stats`](crate::AgentEventStream::stats) returned.
    pub fn record(&mut self, stats: &StreamStats) {
        let last = self.last;
        let add = |counter: &Counter, now: u64, before: u64| {
            counter.increment(now.saturating_sub(before));
        };
        add(&self.delivered, stats.delivered, last.delivered);
        add(&self.terminals, stats.terminals, last.terminals);
        for (counter, reason) in self.dropped.iter().zip(EventOverflowReason::ALL) {
            add(counter, stats.dropped.of(reason), last.dropped.of(reason));
        }
        add(&self.laps, stats.laps, last.laps);
        add(&self.notices, stats.notices, last.notices);
        self.lag.set(stats.lag as f64);
        self.queued.set(stats.queued as f64);
        self.last = *stats;
    }
}

impl std::fmt::Debug for SubscriptionMeter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SubscriptionMeter")
            .field("last", &self.last)
            .finish_non_exhaustive()
    }
}
