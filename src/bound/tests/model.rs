//! The table of the contract, written down as plainly as it can be, and the queue against it.

use super::*;
use proptest::prelude::*;

#[derive(Clone, Copy, Debug, PartialEq)]
struct Note {
    count: u64,
    first: u64,
    last: u64,
    preserved: bool,
    reason: Reason,
}

fn meet(earlier: Option<Note>, later: Option<Note>) -> Option<Note> {
    let (Some(a), Some(b)) = (earlier, later) else {
        return earlier.or(later);
    };
    let preserved = a.preserved && b.preserved;
    Some(Note {
        count: a.count + b.count,
        first: a.first.min(b.first),
        last: a.last.max(b.last),
        preserved,
        reason: if preserved { a.reason } else { FULL },
    })
}

#[derive(Clone, Debug)]
struct Frame {
    sequence: u64,
    class: KindClass,
    note: Option<Note>,
    summary: bool,
}

#[derive(Debug)]
struct Model {
    policy: Policy,
    capacity: usize,
    reserve: usize,
    queue: Vec<Frame>,
    run: Vec<u64>,
    pending: Option<Note>,
    failed_after: Option<u64>,
    last_queued: u64,
}

impl Model {
    fn room(&self) -> bool {
        let non_terminal = self
            .queue
            .iter()
            .filter(|it| it.class != KindClass::Terminal)
            .count();
        let most = self.capacity - self.reserve.min(self.capacity);
        self.queue.len() < self.capacity && non_terminal < most
    }

    fn push(&mut self, sequence: u64, class: KindClass, own: Option<Note>) {
        let note = meet(self.pending.take(), own);
        self.queue.push(Frame {
            sequence,
            class,
            note,
            summary: own.is_some(),
        });
        self.last_queued = sequence;
    }

    fn miss(&mut self, sequence: u64, preserved: bool, reason: Reason) {
        let note = Note {
            count: 1,
            first: sequence,
            last: sequence,
            preserved,
            reason,
        };
        self.pending = meet(self.pending, Some(note));
    }

    fn evict(&mut self, at: usize, reason: Reason) {
        let Frame {
            sequence,
            class,
            note,
            summary,
        } = self.queue.remove(at);
        let preserved = class != KindClass::Terminal;
        let own = Note {
            count: 1,
            first: sequence,
            last: sequence,
            preserved,
            reason,
        };
        let gone = if summary { note } else { meet(note, Some(own)) };
        match self.queue.get_mut(at) {
            Some(behind) => behind.note = meet(gone, behind.note),
            None => self.pending = meet(gone, self.pending),
        }
    }

    fn close(&mut self) {
        let run = std::mem::take(&mut self.run);
        let (Some(&first), Some(&last)) = (run.first(), run.last()) else {
            return;
        };
        let count = run.len() as u64;
        let note = Note {
            count,
            first,
            last,
            preserved: true,
            reason: PROGRESS,
        };
        match (self.room(), count) {
            (true, 1) => self.push(first, KindClass::Progress, None),
            (true, _) => self.push(last, KindClass::Progress, Some(note)),
            (false, _) => self.pending = meet(self.pending, Some(note)),
        }
    }

    fn offer(&mut self, sequence: u64, class: KindClass) {
        if self.failed_after.is_some() {
            if class == KindClass::Terminal {
                self.spoil();
            }
            return;
        }
        if self.policy == Policy::SummarizeAndContinue {
            if class == KindClass::Progress {
                return self.run.push(sequence);
            }
            self.close();
        }
        if class == KindClass::Terminal {
            while self.queue.len() >= self.capacity {
                match self
                    .queue
                    .iter()
                    .position(|it| it.class != KindClass::Terminal)
                {
                    Some(at) => self.evict(at, NON_TERMINAL),
                    None => self.evict(0, FULL),
                }
            }
            return self.push(sequence, class, None);
        }
        if self.room() {
            return self.push(sequence, class, None);
        }
        match self.policy {
            Policy::DropNonTerminal => self.miss(sequence, true, NON_TERMINAL),
            Policy::DropProgress if class == KindClass::Progress => {
                self.miss(sequence, true, PROGRESS);
            }
            Policy::DropProgress => {
                match self
                    .queue
                    .iter()
                    .position(|it| it.class == KindClass::Progress)
                {
                    Some(at) => {
                        self.evict(at, PROGRESS);
                        self.push(sequence, class, None);
                    }
                    None => self.miss(sequence, true, FULL),
                }
            }
            Policy::FailSubscriber => {
                self.miss(sequence, true, FULL);
                self.failed_after = Some(self.last_queued);
                self.settle();
            }
            _ => self.miss(sequence, true, FULL),
        }
    }

    fn spoil(&mut self) {
        match self.queue.last_mut() {
            Some(last) => last.note.iter_mut().for_each(|note| note.preserved = false),
            None => self
                .pending
                .iter_mut()
                .for_each(|note| note.preserved = false),
        }
    }

    fn lose(&mut self, count: u64, first: u64, preserved: bool) {
        if self.failed_after.is_some() {
            if !preserved {
                self.spoil();
            }
            return;
        }
        self.close();
        let last = first + count - 1;
        let reason = Reason::SubscriberLagged;
        self.pending = meet(
            self.pending,
            Some(Note {
                count,
                first,
                last,
                preserved,
                reason,
            }),
        );
    }

    fn settle(&mut self) {
        self.close();
        if let Some(last) = self.queue.last_mut() {
            last.note = meet(last.note, self.pending.take());
        }
    }
}

#[derive(Clone, Debug)]
enum Act {
    Offer(KindClass),
    Lose(u64, bool),
    Settle,
    Pop,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let class = prop_oneof![
        1 => Just(KindClass::Terminal),
        3 => Just(KindClass::Progress),
        2 => Just(KindClass::Normal),
    ];
    let act = prop_oneof![
        12 => class.prop_map(Act::Offer),
        1 => (1..5_u64, any::<bool>()).prop_map(|(count, preserved)| Act::Lose(count, preserved)),
        3 => Just(Act::Settle),
        5 => Just(Act::Pop),
    ];
    prop::collection::vec(act, 0..80)
}

fn policies() -> impl Strategy<Value = Policy> {
    prop::sample::select(vec![
        Policy::DropNonTerminal,
        Policy::DropProgress,
        Policy::SummarizeAndContinue,
        Policy::FailSubscriber,
    ])
}

fn note(notice: &EventOverflowNotice) -> Note {
    let (count, first, last, preserved, reason) = told(notice);
    Note {
        count,
        first,
        last,
        preserved,
        reason,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    #[test]
    fn the_queue_is_the_table(
        policy in policies(), capacity in 1..9_usize, reserve in 1..9_usize, acts in acts(),
    ) {
        let mut queue = queue(policy, capacity, reserve);
        let mut model = Model {
            policy,
            capacity,
            reserve,
            queue: Vec::new(),
            run: Vec::new(),
            pending: None,
            failed_after: None,
            last_queued: 0,
        };
        let mut next = 1;
        // Frames and losses that came in, and what of them came out.
        let (mut came, mut themselves, mut counted) = (0, 0, 0);
        // The highest number that a consumer knows to be delivered or told.
        let mut known = 0;
        for act in acts.into_iter().chain([Act::Settle]).chain((0..9).map(|_| Act::Pop)) {
            match act {
                Act::Offer(class) => {
                    queue.offer(&event(next, class));
                    model.offer(next, class);
                    (next, came) = (next + 1, came + 1);
                }
                Act::Lose(count, preserved) => {
                    queue.lose(&loss(next, next + count - 1, preserved));
                    model.lose(count, next, preserved);
                    (next, came) = (next + count, came + count);
                }
                Act::Settle => {
                    queue.settle();
                    model.settle();
                }
                Act::Pop => {
                    let expected = (!model.queue.is_empty()).then(|| model.queue.remove(0));
                    let got = queue.pop();
                    prop_assert_eq!(got.is_some(), expected.is_some());
                    let (Some(got), Some(expected)) = (got, expected) else { continue };
                    let sequence = got.event.envelope().event_seq;
                    prop_assert_eq!(sequence, expected.sequence);
                    let told = got.overflow.as_deref().map(note);
                    prop_assert_eq!(told, expected.note);
                    themselves += u64::from(!expected.summary);
                    counted += told.map_or(0, |note| note.count);
                    // Whoever saves this frame's number has been told of all gaps below it.
                    let starts = told.map_or(sequence, |note| note.first.min(sequence));
                    prop_assert!(starts <= known + 1, "frames behind {} untold at {}", known, sequence);
                    known = known.max(sequence).max(told.map_or(0, |note| note.last));
                }
            }
            prop_assert_eq!(queue.len(), model.queue.len());
            prop_assert!(queue.len() <= capacity);
            prop_assert_eq!(queue.pending_overflow().map(note), model.pending);
            prop_assert_eq!(
                queue.failure().map(|failure| failure.resume_from.event_seq), model.failed_after
            );
        }
        if model.failed_after.is_none() {
            let waiting = queue.pending_overflow().map_or(0, |notice| notice.dropped_count);
            prop_assert_eq!(themselves + counted + waiting, came, "conservation");
        }
    }
}
