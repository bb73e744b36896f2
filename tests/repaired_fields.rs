//! Each field of the notices of a gap that an archive repaired, wholly or in part.

mod common;
mod reading;

use common::{options, size};
use framebus::*;
use reading::{Item, Subscribe, WIDE, all, by_batches, by_next, journal, publish, run};
use std::ops::Range;
use std::sync::Arc;
use std::task::Waker;

use EventKind::ModelStreamDelta as Delta;
use EventOverflowReason as Reason;

/// An archive that has the frames of a bus, except those of a hole.
#[derive(Debug)]
struct Holed {
    frames: InMemoryEventArchive,
    hole: Range<u64>,
}

impl EventArchive for Holed {
    fn replay_filtered_from_cursor(
        &self,
        filter: CompiledEventFilter,
        cursor: ArchiveCursor,
    ) -> Result<AgentEventStream, AgentError> {
        self.frames.replay_filtered_from_cursor(filter, cursor)
    }
}

impl RepairArchive for Holed {
    fn before_sequence(&self, _: BusEpoch, sequence: u64) -> Result<ArchiveCursor, AgentError> {
        let start = self.frames.start();
        let filter = EventFilter::default().compile()?;
        let frames = self
            .frames
            .replay_filtered_from_cursor(filter, start.clone())?;
        let below = |frame: &EventFrame| frame.cursor.event_seq < sequence;
        Ok(ArchiveCursor {
            position: frames.take_while(below).count() as u64,
            ..start
        })
    }

    fn next_hole(
        &self,
        _: BusEpoch,
        sequences: Range<u64>,
    ) -> Result<Option<Range<u64>>, AgentError> {
        let hole = self.hole.start.max(sequences.start)..self.hole.end.min(sequences.end);
        Ok((!hole.is_empty()).then_some(hole))
    }

    fn is_settled(&self, _: BusEpoch, _: u64, _: Option<&Arc<Waker>>) -> bool {
        true
    }
}

/// The archive has all of the gap, none of it, or all but its first, middle or last frames.
#[test]
fn each_field_of_a_repaired_gap_is_right() {
    for (name, subscribe) in [("all", all as Subscribe), ("run", run)] {
        for way in [by_next, by_batches] {
            for kind in 0..5 {
                let builder = InMemoryAgentEventBus::builder().shards(size(1));
                let bus = builder.ring_capacity(size(16)).build().unwrap();
                let (capacity, reserve, policy) = WIDE;
                let stream = subscribe(&bus, options(capacity, reserve, policy));
                let mut witness = all(&bus, options(capacity, reserve, policy));
                let frames = InMemoryEventArchive::new("x");
                let mut seen = Vec::new();
                for _ in 0..200 {
                    publish(&bus, "r", Delta);
                    seen.extend(witness.next());
                }
                let held = bus.stats().oldest_sequence.unwrap();
                let hole = [1..1, 1..held, 1..4, 7..11, held - 3..held][kind].clone();
                let kept = |frame: &&EventFrame| !hole.contains(&frame.cursor.event_seq);
                seen.iter().filter(kept).for_each(|frame| {
                    frames.append(frame.clone());
                });
                let hole_of = hole.clone();
                let archive = Holed { frames, hole };
                let mut stream = stream.repaired_by(Arc::new(archive)).unwrap();
                let items = way(&mut stream);
                let context = format!("{name} {kind}");
                let sequences: Vec<_> = items
                    .iter()
                    .filter_map(|item| match item {
                        Item::Frame(cursor) => Some(cursor.event_seq),
                        Item::Gap(_) => None,
                    })
                    .collect();
                let expected: Vec<_> = (1..=200)
                    .filter(|sequence| !hole_of.contains(sequence))
                    .collect();
                assert_eq!(sequences, expected, "{context}");
                let lost = hole_of.end - hole_of.start;
                let notices: Vec<_> = items
                    .iter()
                    .filter_map(|item| match item {
                        Item::Gap(notice) => Some(notice),
                        Item::Frame(_) => None,
                    })
                    .collect();
                let count: u64 = notices.iter().map(|notice| notice.dropped_count).sum();
                assert_eq!(count, lost, "{context}: {notices:?}");
                let first = notices.first().unwrap();
                let start = first.gap_start.as_ref().unwrap();
                let end = notices.iter().map(|notice| notice.gap_end.event_seq).max();
                match lost {
                    // A repaired gap is reported after it, as a gap in which nothing is lost.
                    0 => {
                        assert_eq!(start.event_seq, 1, "{context}");
                        assert_eq!(first.repair_from, journal(1), "{context}");
                    }
                    _ => assert!(start.event_seq <= hole_of.start, "{context}: {notices:?}"),
                }
                assert_eq!(end, Some(held - 1), "{context}: {notices:?}");
                for notice in &notices {
                    assert_eq!(notice.policy, policy, "{context}");
                    assert!(notice.terminal_preserved, "{context}");
                    assert_eq!(notice.reason, Reason::SubscriberLagged, "{context}");
                    assert_eq!(notice.gap_end.bus_epoch, bus.epoch(), "{context}");
                    let scope = &stream.cursor().unwrap().scope;
                    assert_eq!(
                        (&notice.gap_end.scope, &start.scope),
                        (scope, scope),
                        "{context}"
                    );
                }
                let stats = stream.stats();
                assert_eq!(stats.delivered, 200 - lost, "{context}");
                assert_eq!(
                    stats.dropped.of(Reason::SubscriberLagged),
                    lost,
                    "{context}"
                );
                assert_eq!(
                    (stats.dropped.total(), stats.terminals),
                    (lost, 0),
                    "{context}"
                );
                assert_eq!(stats.notices, notices.len() as u64, "{context}");
                assert_eq!(
                    (stats.position, stats.lag, stats.queued),
                    (200, 0, 0),
                    "{context}"
                );
            }
        }
    }
}
