//! Frames of a journal that are stored and that the rings refused. They are published later with
//! their own sequence numbers, positions and content, whatever became of the archive meanwhile; and
//! each receipt says what was done.

mod common;

use common::size;
use framebus::archive::{
    Archive, ArchiveOptions, Durability, HeldBy, JournalOptions, Journaled, JournaledBus, Retention,
};
use framebus::*;
use std::ops::ControlFlow;
use std::path::Path;

fn open(folder: &Path) -> Archive {
    let options = ArchiveOptions {
        durability: Durability::SystemCache,
        // Content that is not stored is only in the live frames.
        content_up_to: PrivacyClass::Metadata,
    };
    Archive::open(folder, options).unwrap()
}

fn journaled(archive: &Archive) -> JournaledBus {
    with_ring(archive, 1)
}

fn with_ring(archive: &Archive, frames: usize) -> JournaledBus {
    let builder = InMemoryAgentEventBus::builder()
        .shards(size(1))
        .ring_capacity(size(frames));
    JournaledBus::open(archive.clone(), builder, JournalOptions::default()).unwrap()
}

/// A frame with a text as its content.
fn frame(kind: EventKind, text: &str) -> EventFrame {
    let envelope = EventEnvelope {
        privacy: PrivacyClass::Sensitive,
        ..EventEnvelope::new("r", "a", kind)
    };
    let content = PayloadContent {
        media_type: "text/plain".into(),
        bytes: text.as_bytes().into(),
        summary: None,
        references: [].into(),
    };
    EventFrame::new(AgentEvent {
        envelope,
        payload: EventPayload::Content(Box::new(content)),
    })
}

fn delta(n: usize) -> EventFrame {
    frame(EventKind::ModelStreamDelta, &format!("{n}"))
}

fn stuck(answer: &Result<Journaled, AgentError>) -> Option<AgentErrorKind> {
    answer.as_ref().err().map(AgentError::kind)
}

/// Publishes groups beside readers that sleep in their batches, each of which pins the newest
/// frame's slot, until the rings refuse part of one. Then calls `then` with how many frames were
/// published, while the readers are still asleep.
fn while_stuck<T>(
    bus: &JournaledBus,
    published: usize,
    group: usize,
    then: &dyn Fn(usize) -> T,
) -> T {
    let latest = SubscriptionOptions {
        start: StreamStart::Latest,
        ..SubscriptionOptions::default()
    };
    let mut sleeper = bus.subscribe_all_with_options(None, latest).unwrap();
    let all = published + group;
    let answer = bus.publish_all((published + 1..=all).map(delta));
    if let Some(kind) = stuck(&answer) {
        assert_eq!(kind, AgentErrorKind::NotYetPublished, "{answer:?}");
        return then(all);
    }
    // A lapped reader may have to look twice.
    for _ in 0..10 {
        let mut done = None;
        sleeper.read_batch(|item| match item {
            BatchItem::Frame(_) => {
                done = Some(while_stuck(bus, all, group, then));
                ControlFlow::Break(())
            }
            BatchItem::Gap(_) => ControlFlow::Continue(()),
        });
        if let Some(done) = done {
            return done;
        }
    }
    panic!("a frame is there");
}

/// Checks that these are the frames from sequence number `first` on, each with its own position.
fn are_from(frames: &[EventFrame], first: u64, archive: &Archive) {
    for (frame, number) in frames.iter().zip(first..) {
        let envelope = &frame.event.envelope;
        assert_eq!(
            (frame.cursor.event_seq, envelope.event_seq),
            (number, number)
        );
        assert_eq!(
            envelope.delivery_semantics,
            EventDeliverySemantics::JournalBacked
        );
        let cursor = envelope.journal_cursor.as_ref().unwrap();
        assert_eq!(archive.locate(cursor).unwrap().position, number);
        let content = frame.event.content().unwrap();
        assert_eq!(content.text(), Some(format!("{number}").as_str()));
    }
}

fn reader(bus: &JournaledBus) -> AgentEventStream {
    bus.subscribe_all_with_options(None, SubscriptionOptions::complete())
        .unwrap()
}

#[test]
fn a_refused_frame_is_published_later_with_its_own_position() {
    let folder = tempfile::tempdir().unwrap();
    let archive = open(folder.path());
    let bus = journaled(&archive);
    let mut live = reader(&bus);
    let stored = while_stuck(&bus, 0, 1, &|published| {
        // One frame is unpublished: nothing else is stored, or given a sequence number.
        let refused = [bus.publish_all([delta(0)]), bus.publish_all([delta(0)])];
        for refused in refused {
            assert_eq!(stuck(&refused), Some(AgentErrorKind::RingStuck));
        }
        assert_eq!(archive.len(), Ok(published as u64));
        published
    });
    let before: Vec<_> = live.by_ref().collect();
    let next = stored + 1;
    let journaled = bus.publish_all([delta(next)]).unwrap();
    let next = next as u64;
    assert_eq!(
        (journaled.sequences, journaled.positions),
        (next..next + 1, next..next + 1)
    );
    let late: Vec<_> = live.by_ref().collect();
    let first = late[0].cursor.event_seq;
    assert!(before.iter().all(|frame| frame.cursor.event_seq < first));
    assert_eq!(late.last().unwrap().cursor.event_seq, next);
    assert!(late.len() >= 2, "the late one and the last one");
    are_from(&late, first, &archive);
}

#[test]
fn retention_keeps_frames_that_are_not_published_yet() {
    let folder = tempfile::tempdir().unwrap();
    let archive = open(folder.path());
    let bus = journaled(&archive);
    let mut live = reader(&bus);
    let nothing = Retention {
        max_bytes: Some(0),
        ..Retention::default()
    };
    let stored = while_stuck(&bus, 0, 1, &|published| {
        let removed = archive.retain(&nothing).unwrap();
        assert_eq!(removed.held_by, Some(HeldBy::Journal));
        assert_ne!(archive.len(), Ok(0));
        published
    });
    for n in stored + 1..stored + 4 {
        let journaled = bus.publish_all([delta(n)]).unwrap();
        assert_eq!(journaled.sequences.start, n as u64);
        let late: Vec<_> = live.by_ref().collect();
        let first = late[0].cursor.event_seq;
        assert!(n > stored + 1 || first <= stored as u64, "the owed one");
        assert_eq!(late.last().unwrap().cursor.event_seq, n as u64);
        are_from(&late, first, &archive);
    }
}

#[test]
fn each_frame_of_a_group_published_in_parts_keeps_its_sequence() {
    for (ring, group) in [(1, 3_000), (2, 3_000), (8, 3_000), (8, 8), (16, 16)] {
        let folder = tempfile::tempdir().unwrap();
        let archive = open(folder.path());
        let bus = with_ring(&archive, ring);
        let mut live = reader(&bus);
        let half = Retention {
            max_frames: Some(group as u64 / 2),
            ..Retention::default()
        };
        let stored = while_stuck(&bus, 0, group, &|published| {
            archive.retain(&half).unwrap();
            published
        });
        // The readers are awake: the refused frames are published before this one.
        let last = bus.publish_all([delta(stored + 1)]).unwrap();
        assert_eq!(last.sequences.start, stored as u64 + 1);
        let (mut given, mut lost) = (0, 0);
        for frame in live.by_ref() {
            let number = frame.cursor.event_seq;
            are_from(std::slice::from_ref(&frame), number, &archive);
            lost += frame.overflow.map_or(0, |notice| notice.dropped_count);
            given += 1;
            assert_eq!(given + lost, number, "each number once");
        }
        assert_eq!(given + lost, stored as u64 + 1);
    }
}

#[test]
fn a_reopened_journal_goes_on_after_its_unpublished_frames() {
    let folder = tempfile::tempdir().unwrap();
    let stored = {
        let archive = open(folder.path());
        let bus = journaled(&archive);
        let nothing = Retention {
            max_bytes: Some(0),
            ..Retention::default()
        };
        let stored = while_stuck(&bus, 0, 1, &|published| {
            archive.retain(&nothing).unwrap();
            published
        });
        drop(bus);
        stored
    };
    let archive = open(folder.path());
    let bus = journaled(&archive);
    let journaled = bus.publish_all([delta(stored + 1)]).unwrap();
    assert_eq!(journaled.sequences.start, stored as u64 + 1);
    let late: Vec<_> = reader(&bus).collect();
    are_from(&late, stored as u64 + 1, &archive);
}
