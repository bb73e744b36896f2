//! Each field of each notice, cursor and statistic, on each way of reading a stream. A field is
//! compared with all others, so that one that is missing, kept too long or off by one is found.

mod common;
mod reading;

use framebus::*;
use reading::{CASES, Item, WAYS, journal};

use EventKind::RunCompleted as End;
use EventOverflowReason as Reason;
use SubscriberOverflowPolicy as Policy;

/// Checks each figure of a stream that was read to its end.
fn check_stats(
    stream: &AgentEventStream,
    items: &[Item],
    summaries: u64,
    last: u64,
    context: &str,
) {
    let stats = stream.stats();
    let frames = items.iter().filter(|item| matches!(item, Item::Frame(_)));
    let notices: Vec<_> = items
        .iter()
        .filter_map(|item| match item {
            Item::Gap(notice) => Some(notice),
            Item::Frame(_) => None,
        })
        .collect();
    let lost = |reason| {
        let of = notices.iter().filter(|notice| notice.reason == reason);
        of.map(|notice| notice.dropped_count).sum::<u64>()
    };
    assert_eq!(
        stats.delivered,
        frames.count() as u64 - summaries,
        "{context}"
    );
    assert_eq!(stats.notices, notices.len() as u64, "{context}");
    for reason in Reason::ALL {
        assert_eq!(
            stats.dropped.of(reason),
            lost(reason),
            "{context}: {reason:?}"
        );
    }
    assert_eq!(
        stats.dropped.total(),
        Reason::ALL.map(lost).iter().sum::<u64>()
    );
    assert_eq!(
        (stats.queued, stats.position, stats.lag),
        (0, last, 0),
        "{context}"
    );
    let cursor = stream.cursor().unwrap();
    assert_eq!(cursor.event_seq, last, "{context}");
    let given = items.iter().rev().find_map(|item| match item {
        Item::Frame(cursor) => Some(cursor),
        Item::Gap(_) => None,
    });
    let given = given.unwrap();
    assert_eq!(
        (&cursor.scope, cursor.bus_epoch),
        (&given.scope, given.bus_epoch),
        "{context}"
    );
    assert_eq!(cursor.journal_cursor, given.journal_cursor, "{context}");
}

#[test]
fn each_field_of_a_notice_and_a_statistic_is_right_on_each_way_of_reading() {
    for case in CASES {
        for (way, queues, read) in WAYS {
            let context = format!("{}, {way}", case.name);
            let (bus, mut stream) = case.open();
            let mut expected = case.expected(&bus, &stream);
            let (mut summaries, mut last) = (0, bus.last_sequence());
            if case.is_lost_by_queue() && !queues {
                // Read without its queue, it loses nothing to that.
                let scope = stream.cursor().unwrap().scope.clone();
                let everything = (1..=last).map(|sequence| {
                    Item::Frame(EventCursor {
                        scope: scope.clone(),
                        event_seq: sequence,
                        bus_epoch: bus.epoch(),
                        journal_cursor: journal(sequence),
                    })
                });
                expected = everything.collect();
            } else if case.queue.2 == Policy::SummarizeAndContinue {
                summaries = 2;
            } else if case.queue.2 == Policy::FailSubscriber {
                // Its position is the one to resume from.
                last = 2;
            }
            let items = read(&mut stream);
            assert_eq!(items, expected, "{context}");
            if last == 2 {
                assert_eq!(stream.stats().delivered, 2, "{context}");
                check_failure(&mut stream, &items, &context);
                continue;
            }
            check_stats(&stream, &items, summaries, last, &context);
            let terminals: u64 = case
                .published
                .iter()
                .filter(|it| it.0 == End)
                .map(|it| it.1)
                .sum();
            let stats = stream.stats();
            if case.is_lost_by_queue() {
                assert_eq!((stats.terminals, stats.laps), (terminals, 0), "{context}");
            } else {
                let given = if terminals > 0 { stats.delivered } else { 0 };
                assert_eq!(stats.terminals, given, "{context}");
                let expired = case.name.starts_with("expired");
                assert_eq!(stats.laps > 0, !expired, "{context}");
            }
            assert_eq!(stream.pending_overflow(), None, "{context}");
            assert_eq!(stream.end(), None, "{context}");
            drop(bus);
            assert_eq!(stream.end(), Some(StreamEnd::BusClosed), "{context}");
        }
    }
}

/// Checks the end of the stream that failed: where to resume, and what was lost by then.
fn check_failure(stream: &mut AgentEventStream, items: &[Item], context: &str) {
    let [.., Item::Gap(notice), Item::Frame(given)] = items else {
        panic!("{context}: {items:?}")
    };
    let failed = StreamEnd::Failed {
        resume_from: given.clone(),
        notice: Box::new(notice.clone()),
    };
    assert_eq!(stream.end(), Some(failed), "{context}");
    assert_eq!(stream.cursor(), Some(given), "{context}");
}

/// While frames are queued, each frame moves all figures by one.
#[test]
fn position_cursor_and_figures_move_with_each_frame() {
    for case in CASES {
        let (bus, mut stream) = case.open();
        let expected = case.expected(&bus, &stream);
        let frames = expected
            .iter()
            .filter(|item| matches!(item, Item::Frame(_)));
        let mut remaining = frames.count() as u64;
        let mut before = stream.stats();
        assert_eq!((before.delivered, before.notices, before.queued), (0, 0, 0));
        while let Some(frame) = stream.next() {
            remaining -= 1;
            let stats = stream.stats();
            let summary = frame.event.redacted_summary().is_some();
            assert_eq!(
                stats.delivered,
                before.delivered + u64::from(!summary),
                "{}",
                case.name
            );
            let notices = before.notices + u64::from(frame.overflow.is_some());
            assert_eq!(stats.notices, notices, "{}", case.name);
            let terminal = u64::from(frame.event.envelope.event_kind == End);
            assert_eq!(
                stats.terminals,
                before.terminals + terminal,
                "{}",
                case.name
            );
            assert_eq!(stats.queued, remaining, "{}", case.name);
            if remaining > 0 {
                assert_eq!(stream.cursor(), Some(&frame.cursor), "{}", case.name);
                assert_eq!(stats.position, frame.cursor.event_seq, "{}", case.name);
                assert_eq!(
                    stats.lag,
                    bus.last_sequence() - stats.position,
                    "{}",
                    case.name
                );
            } else {
                // After the last frame, the position moves on to what was lost and what was looked
                // at.
                let cursor = stream.cursor().unwrap();
                assert_eq!(cursor.scope, frame.cursor.scope, "{}", case.name);
                assert_eq!(cursor.bus_epoch, bus.epoch(), "{}", case.name);
                assert_eq!(
                    cursor.journal_cursor, frame.cursor.journal_cursor,
                    "{}",
                    case.name
                );
            }
            before = stats;
        }
        assert_eq!(remaining, 0, "{}", case.name);
    }
}
