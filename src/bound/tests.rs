//! The policies: cell by cell, against a plain model, and by their properties.

mod model;

use super::{BoundedQueue, Frame, Loss};
use crate::event::{Gap, KindClass, Position, SubscriberQueueConfig};
use std::num::NonZeroUsize;
use std::sync::Arc;

pub(super) use crate::event::EventOverflowReason as Reason;
pub(super) use crate::event::SubscriberOverflowPolicy as Policy;

/// A frame of a host that has nothing to do with agents.
#[derive(Clone, Debug)]
pub(super) struct Tick {
    sequence: u64,
    class: KindClass,
    /// Where it is in the host's journal.
    journal: Option<Page>,
    /// How many frames it stands for; 1 if for itself.
    stands_for: u64,
    /// What its clones share.
    content: Arc<()>,
}

/// A page of the host's journal.
pub(super) type Page = u64;

/// A position of a subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Whose subscription it is.
    reader: &'static str,
    pub(super) sequence: u64,
    journal: Option<Page>,
}

impl Position for Place {
    type Journal = Page;

    fn sequence(&self) -> u64 {
        self.sequence
    }

    fn journal(&self) -> Option<&Page> {
        self.journal.as_ref()
    }

    fn move_to(&mut self, sequence: u64, journal: Option<&Page>) {
        *self = self.at(sequence, journal);
    }

    fn at(&self, sequence: u64, journal: Option<&Page>) -> Self {
        Place {
            sequence,
            journal: journal.copied(),
            ..*self
        }
    }
}

impl Frame for Tick {
    type Position = Place;

    fn sequence(&self) -> u64 {
        self.sequence
    }

    fn class(&self) -> KindClass {
        self.class
    }

    fn journal(&self) -> Option<&Page> {
        self.journal.as_ref()
    }

    fn standing_for(&self, count: u64) -> Self {
        Tick {
            stands_for: count,
            ..self.clone()
        }
    }
}

pub(super) fn event(sequence: u64, class: KindClass) -> Tick {
    journaled(sequence, class, None)
}

pub(super) fn journaled(sequence: u64, class: KindClass, journal: Option<Page>) -> Tick {
    Tick {
        sequence,
        class,
        journal,
        stands_for: 1,
        content: Arc::default(),
    }
}

pub(super) fn queue(policy: Policy, capacity: usize, reserve: usize) -> BoundedQueue<Tick> {
    let size = |n| NonZeroUsize::new(n).unwrap();
    let config = SubscriberQueueConfig {
        capacity: size(capacity),
        terminal_reserve: size(reserve),
        overflow: policy,
    };
    BoundedQueue::new(config, start())
}

/// Returns the position that the subscriptions start at.
pub(super) fn start() -> Place {
    Place {
        reader: "clock",
        sequence: 0,
        journal: None,
    }
}

pub(super) fn loss(first_seq: u64, last_seq: u64, terminal_preserved: bool) -> Loss {
    Loss {
        count: last_seq - first_seq + 1,
        first_seq,
        last_seq,
        terminal_preserved,
        exact: true,
        reason: Reason::SubscriberLagged,
    }
}

/// What a test checks of a notice: count, first, last, terminals preserved, reason.
pub(super) type Reported = (u64, u64, u64, bool, Reason);

pub(super) fn reported(notice: &Gap<Place>) -> Reported {
    (
        notice.dropped_count,
        notice.gap_start.as_ref().map_or(0, Place::sequence),
        notice.gap_end.sequence,
        notice.terminal_preserved,
        notice.reason,
    )
}

/// Offers `classes` as frames 1, 2, 3, ... in one refill.
fn filled(policy: Policy, capacity: usize, reserve: usize, classes: &str) -> BoundedQueue<Tick> {
    let mut queue = queue(policy, capacity, reserve);
    for (sequence, class) in (1..).zip(classes.chars()) {
        let class = match class {
            't' => KindClass::Terminal,
            'p' => KindClass::Progress,
            _ => KindClass::Normal,
        };
        if queue.offer(&event(sequence, class)).is_break() {
            break;
        }
    }
    queue.end_refill();
    queue
}

/// Offers a frame that the refill does not stop before.
fn offer(queue: &mut BoundedQueue<Tick>, event: &Tick) {
    assert!(queue.offer(event).is_continue(), "{event:?}");
}

fn drained(mut queue: BoundedQueue<Tick>) -> Vec<(u64, Option<Reported>)> {
    let next = std::iter::from_fn(|| queue.pop());
    next.map(|it| (it.frame.sequence, it.overflow.as_deref().map(reported)))
        .collect()
}

const ALL: [Policy; 4] = [
    Policy::DropNonTerminal,
    Policy::DropProgress,
    Policy::SummarizeAndContinue,
    Policy::FailSubscriber,
];

const NON_TERMINAL: Reason = Reason::PolicyDroppedNonTerminal;
const PROGRESS: Reason = Reason::PolicyDroppedProgress;
const FULL: Reason = Reason::SubscriberQueueFull;

#[test]
fn a_frame_with_room_is_queued() {
    for policy in [
        Policy::DropNonTerminal,
        Policy::DropProgress,
        Policy::FailSubscriber,
    ] {
        assert_eq!(
            drained(filled(policy, 4, 1, "pntn")),
            [(1, None), (2, None), (3, None), (4, None)]
        );
    }
}

#[test]
fn drop_non_terminal_drops_the_offered_frame_and_reports_on_the_next() {
    let queue = filled(Policy::DropNonTerminal, 3, 1, "npnpt");
    assert_eq!(
        drained(queue),
        [
            (1, None),
            (2, None),
            (5, Some((2, 3, 4, true, NON_TERMINAL)))
        ]
    );
}

#[test]
fn a_gap_at_the_end_is_reported_on_the_last_queued_frame() {
    let queue = filled(Policy::DropNonTerminal, 3, 1, "nnnp");
    assert_eq!(
        drained(queue),
        [(1, None), (2, Some((2, 3, 4, true, NON_TERMINAL)))]
    );
}

#[test]
fn drop_progress_drops_progress_first() {
    let queue = filled(Policy::DropProgress, 4, 1, "npnpn");
    // 4 had no room; 2 was dropped for 5.
    assert_eq!(
        drained(queue),
        [
            (1, None),
            (3, Some((1, 2, 2, true, PROGRESS))),
            (5, Some((1, 4, 4, true, PROGRESS)))
        ]
    );
}

#[test]
fn drop_progress_drops_a_normal_frame_when_there_is_no_progress() {
    let queue = filled(Policy::DropProgress, 3, 1, "nnnt");
    assert_eq!(
        drained(queue),
        [(1, None), (2, None), (4, Some((1, 3, 3, true, FULL)))]
    );
}

#[test]
fn a_summary_stands_for_its_run_and_a_run_of_one_is_itself() {
    let mut queue = filled(Policy::SummarizeAndContinue, 8, 1, "pnpppn");
    let frames: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
    let [first, _, third, _] = &frames[..] else {
        panic!("{frames:?}")
    };
    assert_eq!((first.frame.stands_for, &first.overflow), (1, &None));
    assert_eq!((third.frame.stands_for, third.frame.sequence), (3, 5));
    assert_eq!(
        reported(third.overflow.as_ref().unwrap()),
        (3, 3, 5, true, PROGRESS)
    );
}

#[test]
fn a_summary_without_room_is_dropped_with_its_frames() {
    let queue = filled(Policy::SummarizeAndContinue, 2, 1, "npppt");
    assert_eq!(
        drained(queue),
        [(1, None), (5, Some((3, 2, 4, true, PROGRESS)))]
    );
}

#[test]
fn an_evicted_summary_counts_what_it_stood_for() {
    let queue = filled(Policy::SummarizeAndContinue, 2, 1, "ppptt");
    // The summary of 1 to 3 makes room for 5: three are gone, not four.
    assert_eq!(
        drained(queue),
        [(4, Some((3, 1, 3, true, PROGRESS))), (5, None)]
    );
}

#[test]
fn summarizing_drops_a_normal_frame_without_room() {
    let queue = filled(Policy::SummarizeAndContinue, 2, 1, "nnt");
    assert_eq!(
        drained(queue),
        [(1, None), (3, Some((1, 2, 2, true, FULL)))]
    );
}

#[test]
fn failing_ends_after_the_queued_frames_and_says_where_to_resume() {
    let mut queue = filled(Policy::FailSubscriber, 3, 1, "npp");
    let failure = queue.failure().unwrap();
    assert_eq!(
        (failure.resume_from.sequence, reported(&failure.notice)),
        (2, (1, 3, 3, true, FULL))
    );
    offer(&mut queue, &event(4, KindClass::Normal));
    offer(&mut queue, &event(5, KindClass::Terminal));
    assert!(
        !queue.failure().unwrap().notice.terminal_preserved,
        "5 is not delivered"
    );
    assert_eq!(
        drained(queue),
        [(1, None), (2, Some((1, 3, 3, false, FULL)))]
    );
}

#[test]
fn a_terminal_frame_pushes_out_the_oldest_non_terminal_one() {
    let queue = filled(Policy::DropNonTerminal, 3, 1, "npttt");
    assert_eq!(
        drained(queue),
        [
            (3, Some((2, 1, 2, true, NON_TERMINAL))),
            (4, None),
            (5, None)
        ]
    );
}

#[test]
fn b_a_refill_stops_before_a_terminal_frame_that_has_no_room() {
    for policy in ALL {
        let mut queue = filled(policy, 4, 1, "ntttttt");
        let mut got = Vec::new();
        while queue.has_frame() {
            if queue.len() == 0 {
                queue.begin_refill();
                (7..=7)
                    .for_each(|sequence| offer(&mut queue, &event(sequence, KindClass::Terminal)));
                queue.end_refill();
            }
            let taken = queue.pop().unwrap();
            got.push((taken.frame.sequence, taken.overflow.is_some()));
        }
        // 1 makes room for 5; the refill stops before 6.
        let expected = [
            (2, true),
            (3, false),
            (4, false),
            (5, false),
            (6, false),
            (7, false),
        ];
        assert_eq!(got, expected, "{policy:?}");
    }
}

#[test]
fn a_loss_before_a_deferred_terminal_frame_is_reported_before_that_frame() {
    let mut queue = queue(Policy::DropNonTerminal, 1, 1);
    offer(&mut queue, &event(1, KindClass::Terminal));
    offer(&mut queue, &event(2, KindClass::Progress));
    assert!(queue.offer(&event(3, KindClass::Terminal)).is_break());
    queue.end_refill();
    assert_eq!((queue.len(), queue.has_frame()), (1, true));
    assert_eq!(queue.pending_overflow(), None);
    let first = queue.pop().unwrap();
    assert_eq!(
        reported(&first.overflow.unwrap()),
        (1, 2, 2, true, NON_TERMINAL)
    );
    assert!(queue.pop().is_none() && queue.has_frame());
    queue.begin_refill();
    assert_eq!(drained(queue), [(3, None)]);
}

#[test]
fn c_a_notice_waits_when_no_frame_is_queued() {
    let mut queue = filled(Policy::DropNonTerminal, 1, 1, "ppp");
    assert_eq!(
        reported(queue.pending_overflow().unwrap()),
        (3, 1, 3, true, NON_TERMINAL)
    );
    offer(&mut queue, &event(4, KindClass::Terminal));
    assert_eq!(queue.pending_overflow(), None);
    assert_eq!(drained(queue), [(4, Some((3, 1, 3, true, NON_TERMINAL)))]);
}

#[test]
fn d_notices_that_meet_are_merged() {
    // 2 is dropped and reported on 3; 1 is dropped for 4, and reported on 3 as well.
    let queue = filled(Policy::DropNonTerminal, 2, 1, "nntt");
    assert_eq!(
        drained(queue),
        [(3, Some((2, 1, 2, true, NON_TERMINAL))), (4, None)]
    );
}

#[test]
fn a_loss_in_the_rings_is_reported_on_the_next_frame_and_ends_a_summary() {
    let mut queue = queue(Policy::SummarizeAndContinue, 8, 1);
    for sequence in 1..=2 {
        offer(&mut queue, &event(sequence, KindClass::Progress));
    }
    queue.lose(&loss(3, 9, true));
    offer(&mut queue, &event(10, KindClass::Normal));
    queue.end_refill();
    let lagged = (7, 3, 9, true, Reason::SubscriberLagged);
    assert_eq!(
        drained(queue),
        [(2, Some((2, 1, 2, true, PROGRESS))), (10, Some(lagged))]
    );
}

#[test]
fn a_terminal_frame_recovered_from_a_lapped_range_carries_its_notice() {
    let lapped = Loss {
        count: 8,
        ..loss(1, 9, true)
    };
    let mut queue = queue(Policy::DropNonTerminal, 2, 1);
    queue.lose(&lapped);
    offer(&mut queue, &event(5, KindClass::Terminal));
    offer(&mut queue, &event(10, KindClass::Terminal));
    queue.end_refill();
    let lagged = (8, 1, 9, true, Reason::SubscriberLagged);
    assert_eq!(drained(queue), [(5, Some(lagged)), (10, None)]);
}

#[test]
fn a_terminal_frame_after_a_failure_is_the_reason_reported() {
    let mut queue = queue(Policy::FailSubscriber, 2, 1);
    offer(&mut queue, &event(1, KindClass::Normal));
    queue.lose(&loss(2, 4, true));
    offer(&mut queue, &event(5, KindClass::Normal));
    let lagged = (4, 2, 5, true, Reason::SubscriberLagged);
    assert_eq!(reported(&queue.failure().unwrap().notice), lagged);
    offer(&mut queue, &event(6, KindClass::Terminal));
    let lost_terminal = (4, 2, 5, false, FULL);
    assert_eq!(reported(&queue.failure().unwrap().notice), lost_terminal);
    assert_eq!(drained(queue), [(1, Some(lost_terminal))]);
}

#[test]
fn a_failure_reports_what_is_lost_after_the_position_to_resume_from() {
    let mut queue = queue(Policy::FailSubscriber, 2, 1);
    offer(&mut queue, &event(1, KindClass::Normal));
    queue.lose(&loss(2, 4, true));
    offer(&mut queue, &event(5, KindClass::Normal));
    let failure = queue.failure().unwrap();
    let lost = (4, 2, 5, true, Reason::SubscriberLagged);
    assert_eq!(
        (failure.resume_from.sequence, reported(&failure.notice)),
        (1, lost)
    );
}

#[test]
fn an_unbounded_capacity_costs_nothing_and_overflows_nothing() {
    let queue = filled(Policy::DropNonTerminal, usize::MAX, usize::MAX, "nptnp");
    assert_eq!(drained(queue), [(3, Some((4, 1, 5, true, NON_TERMINAL)))]);
    let queue = filled(Policy::DropNonTerminal, usize::MAX, 1, "npt");
    assert_eq!(queue.len(), 3);
}

#[test]
fn a_step_costs_the_same_whatever_the_capacity() {
    for policy in [
        Policy::DropNonTerminal,
        Policy::DropProgress,
        Policy::SummarizeAndContinue,
        Policy::FailSubscriber,
    ] {
        for capacity in [64, 65_536] {
            let mut queue = queue(policy, capacity, 1);
            let offered = 300_000;
            for sequence in 1..=offered {
                let class = match sequence % 7 {
                    0 => KindClass::Terminal,
                    1 | 2 => KindClass::Normal,
                    _ => KindClass::Progress,
                };
                if queue.offer(&event(sequence, class)).is_break() {
                    queue.end_refill();
                    while queue.pop().is_some() {}
                    queue.begin_refill();
                }
            }
            queue.end_refill();
            // Each frame goes in at most once and out at most once; those that fill the smaller
            // queue go in.
            let steps = queue.steps();
            assert!(
                (64..=2 * offered).contains(&steps),
                "{policy:?} {capacity}: {steps}"
            );
        }
    }
}
