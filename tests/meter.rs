//! The figures that arrive at a recorder of the metrics facade.

mod common;

use common::{delta, end, size};
use framebus::meter::BusMeter;
use framebus::*;
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use std::collections::BTreeMap;

/// Every figure, as `name{label=value,..}`. Counters are those since the last look.
fn figures(snapshotter: &Snapshotter) -> BTreeMap<String, f64> {
    let all = snapshotter.snapshot().into_vec().into_iter();
    all.map(|(key, _, _, value)| {
        let key = key.key();
        let labels: Vec<_> = key
            .labels()
            .map(|it| format!("{}={}", it.key(), it.value()))
            .collect();
        let value = match value {
            DebugValue::Counter(count) => count as f64,
            DebugValue::Gauge(gauge) => gauge.into_inner(),
            DebugValue::Histogram(_) => panic!("there are none"),
        };
        (format!("{}{{{}}}", key.name(), labels.join(",")), value)
    })
    .collect()
}

#[test]
fn figures_are_recorded_under_their_names() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    metrics::with_local_recorder(&recorder, || {
        let builder = InMemoryAgentEventBus::builder().shards(size(1));
        let bus = builder.ring_capacity(size(1_000)).build().unwrap();
        let mut meter = BusMeter::new(&bus, "main").max_subscriptions(2);
        let mut stream = bus.subscribe_all(None).unwrap();
        let mut ui = meter.subscription("ui").unwrap();
        (0..99).for_each(|_| bus.publish(delta("r")).unwrap());
        bus.publish(end("r")).unwrap();
        let given = stream.by_ref().count() as f64;
        assert!(meter.record());
        meter.record_feed_clients(3);
        ui.record(&stream.stats());
        ui.record(&stream.stats());
        let figures = figures(&snapshotter);
        let of = |name: &str| {
            *figures
                .get(name)
                .unwrap_or_else(|| panic!("{name}: {figures:#?}"))
        };
        assert_eq!(of("framebus_published_total{bus=main}"), 100.0);
        assert_eq!(of("framebus_sequence{bus=main}"), 100.0);
        assert_eq!(of("framebus_oldest_sequence{bus=main}"), 1.0);
        assert_eq!(of("framebus_parked{bus=main}"), 0.0);
        assert_eq!(of("framebus_feed_clients{bus=main}"), 3.0);
        let fill = bus.stats().shards[0].frames.fill();
        assert_eq!(of("framebus_lane_fill{bus=main,lane=frames}"), fill);
        assert_eq!(
            of("framebus_subscription_delivered_total{bus=main,subscription=ui}"),
            given
        );
        assert_eq!(
            of("framebus_subscription_terminals_total{bus=main,subscription=ui}"),
            1.0
        );
        assert_eq!(
            of(
                "framebus_subscription_dropped_total{bus=main,subscription=ui,reason=policy_dropped_non_terminal}"
            ),
            100.0 - given
        );
        assert_eq!(
            of("framebus_subscription_lag{bus=main,subscription=ui}"),
            0.0
        );
        // The names that the documentation lists, and no others.
        let documented = include_str!("../src/meter.rs").lines();
        let documented: std::collections::BTreeSet<_> = documented
            .filter_map(|line| line.strip_prefix("//! | `")?.split('`').next())
            .collect();
        let recorded: std::collections::BTreeSet<_> = figures
            .keys()
            .filter_map(|key| key.split('{').next())
            .collect();
        assert_eq!(documented, recorded);
    });
}

#[test]
fn labels_are_bounded_and_can_be_shared() {
    let bus = InMemoryAgentEventBus::default();
    let mut meter = BusMeter::new(&bus, "main").max_subscriptions(2);
    for label in ["a", "b", "a"] {
        meter.subscription(label).unwrap();
    }
    let error = meter.subscription("c").unwrap_err();
    assert_eq!(error.kind(), AgentErrorKind::TooManyLabels);
    assert!(error.message().contains("\"c\""), "{error}");
    drop(bus);
    assert!(!meter.record(), "it does not keep the bus open");
}

#[test]
fn streams_that_share_a_label_add_up() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    metrics::with_local_recorder(&recorder, || {
        let bus = InMemoryAgentEventBus::default();
        let mut meter = BusMeter::new(&bus, "main");
        for frames in [3, 5] {
            let mut ui = meter.subscription("ui").unwrap();
            let mut stream = bus
                .subscribe_filtered(
                    EventFilter::run(format!("r{frames}")).compile().unwrap(),
                    None,
                )
                .unwrap();
            (0..frames).for_each(|_| bus.publish(end(&format!("r{frames}"))).unwrap());
            assert_eq!(stream.by_ref().count(), frames);
            ui.record(&stream.stats());
        }
        let name = "framebus_subscription_delivered_total{bus=main,subscription=ui}";
        assert_eq!(figures(&snapshotter)[name], 8.0);
    });
}
