//! The policies' table, written down as plainly as it can be.
//!
//! The model keeps its frames in a `Vec` and, in place of a notice, the very sequence numbers that
//! are lost, and why. A notice's count, bounds, repair point and reason are only worked out when it
//! is looked at, so the model does not rest on a rule for merging notices.

mod trial;

use super::*;
use std::collections::BTreeMap;

/// Why a gap was lost: terminals preserved, reason.
type Cause = (bool, Reason);

/// Lost sequence numbers. Each that begins a gap of its own has its cause, the others have none.
#[derive(Clone, Debug, Default)]
struct Lost(BTreeMap<u64, Option<Cause>>);

impl Lost {
    fn gap(numbers: impl IntoIterator<Item = u64>, cause: Cause) -> Self {
        let numbers = numbers.into_iter().enumerate();
        Lost(
            numbers
                .map(|(at, n)| (n, (at == 0).then_some(cause)))
                .collect(),
        )
    }

    fn add(&mut self, other: Lost) {
        let before = self.0.len() + other.0.len();
        self.0.extend(other.0);
        assert_eq!(self.0.len(), before, "lost once only");
    }

    fn notice(&self, policy: Policy, journal: &Journal) -> Option<Gap<Place>> {
        let place = |(&sequence, _)| journal.place(sequence);
        let causes: Vec<_> = self.0.values().flatten().collect();
        let preserved = causes.iter().all(|(preserved, _)| *preserved);
        let met = causes.len() > 1;
        Some(Gap {
            policy,
            dropped_count: self.0.len() as u64,
            gap_start: Some(self.0.first_key_value().map(place)?),
            gap_end: self.0.last_key_value().map(place)?,
            repair_from: self.0.keys().find_map(|&it| journal.of(it)),
            terminal_preserved: preserved,
            exact: true,
            reason: if met && !preserved { FULL } else { causes[0].1 },
        })
    }
}

/// The places in the journal of the frames that were offered, by sequence number.
#[derive(Clone, Debug, Default)]
struct Journal(BTreeMap<u64, Page>);

impl Journal {
    fn of(&self, sequence: u64) -> Option<Page> {
        self.0.get(&sequence).copied()
    }

    fn place(&self, sequence: u64) -> Place {
        start().at(sequence, self.of(sequence).as_ref())
    }
}

/// A queued frame.
#[derive(Clone, Debug)]
struct Frame {
    sequence: u64,
    class: KindClass,
    /// How many frames it stands for; 1 if for itself.
    stands_for: u64,
    /// What was lost before it, then what it stands for as a summary, then what was lost after it.
    lost: Lost,
}

/// How the stream failed.
#[derive(Clone, Debug)]
struct Failed {
    /// The sequence number to resume after.
    after: u64,
    /// What was lost after it.
    lost: Lost,
}

/// The queue as the table has it.
#[derive(Clone, Debug)]
struct Model {
    policy: Policy,
    capacity: usize,
    reserve: usize,
    queue: Vec<Frame>,
    /// The progress frames that one summary will stand for.
    run: Vec<u64>,
    /// The terminal frame that the last refill stopped before.
    deferred: Option<u64>,
    /// What was lost after the last queued frame.
    pending: Lost,
    last_queued: u64,
    failed: Option<Failed>,
    /// A terminal frame came after the failure.
    lost_terminal: bool,
}

impl Model {
    fn new(policy: Policy, capacity: usize, reserve: usize) -> Self {
        Model {
            policy,
            capacity,
            reserve,
            queue: Vec::new(),
            run: Vec::new(),
            deferred: None,
            pending: Lost::default(),
            last_queued: 0,
            failed: None,
            lost_terminal: false,
        }
    }

    fn room(&self) -> bool {
        let terminal = |it: &&Frame| it.class == KindClass::Terminal;
        let non_terminal = self.queue.len() - self.queue.iter().filter(terminal).count();
        let most = self.capacity - self.reserve.min(self.capacity);
        self.queue.len() < self.capacity && non_terminal < most
    }

    fn push(&mut self, sequence: u64, class: KindClass, stands_for: u64, own: Lost) {
        let mut lost = std::mem::take(&mut self.pending);
        lost.add(own);
        self.queue.push(Frame {
            sequence,
            class,
            stands_for,
            lost,
        });
        self.last_queued = sequence;
    }

    fn miss(&mut self, sequence: u64, reason: Reason) {
        self.pending.add(Lost::gap([sequence], (true, reason)));
    }

    fn evict(&mut self, at: usize, reason: Reason) {
        let mut gone = self.queue.remove(at);
        if gone.stands_for == 1 {
            gone.lost.add(Lost::gap([gone.sequence], (true, reason)));
        }
        match self.queue.get_mut(at) {
            Some(after) => after.lost.add(gone.lost),
            None => self.pending.add(gone.lost),
        }
    }

    fn oldest(&self, wanted: impl Fn(KindClass) -> bool) -> Option<usize> {
        self.queue.iter().position(|it| wanted(it.class))
    }

    fn close(&mut self) {
        let run = std::mem::take(&mut self.run);
        let (Some(&last), count) = (run.last(), run.len() as u64) else {
            return;
        };
        let own = Lost::gap(run, (true, PROGRESS));
        match (self.room(), count) {
            (true, 1) => self.push(last, KindClass::Progress, 1, Lost::default()),
            (true, _) => self.push(last, KindClass::Progress, count, own),
            (false, _) => self.pending.add(own),
        }
    }

    /// Returns false if the refill stops before the frame.
    fn offer(&mut self, sequence: u64, class: KindClass) -> bool {
        let terminal = class == KindClass::Terminal;
        if self.failed.is_none() && terminal {
            self.close();
            while self.queue.len() >= self.capacity {
                let Some(at) = self.oldest(|class| class != KindClass::Terminal) else {
                    self.deferred = Some(sequence);
                    return false;
                };
                self.evict(at, NON_TERMINAL);
            }
            self.push(sequence, class, 1, Lost::default());
        } else {
            self.offer_other(sequence, class);
        }
        true
    }

    fn offer_other(&mut self, sequence: u64, class: KindClass) {
        if self.failed.is_some() {
            self.lost_terminal |= class == KindClass::Terminal;
            return;
        }
        if self.policy == Policy::SummarizeAndContinue {
            if class == KindClass::Progress {
                return self.run.push(sequence);
            }
            self.close();
        }
        if self.room() {
            return self.push(sequence, class, 1, Lost::default());
        }
        match self.policy {
            Policy::DropNonTerminal => self.miss(sequence, NON_TERMINAL),
            Policy::DropProgress if class == KindClass::Progress => self.miss(sequence, PROGRESS),
            Policy::DropProgress => match self.oldest(|class| class == KindClass::Progress) {
                Some(at) => {
                    self.evict(at, PROGRESS);
                    self.push(sequence, class, 1, Lost::default());
                }
                None => self.miss(sequence, FULL),
            },
            Policy::FailSubscriber => {
                self.miss(sequence, FULL);
                self.end_refill();
                // What is reported on the last frame, or pending, and is after that frame.
                let reported = self.queue.last().map_or(&self.pending, |last| &last.lost);
                let after = reported.0.range(self.last_queued + 1..);
                let lost = Lost(after.map(|(&it, &cause)| (it, cause)).collect());
                self.failed = Some(Failed {
                    after: self.last_queued,
                    lost,
                });
            }
            _ => self.miss(sequence, FULL),
        }
    }

    fn begin_refill(&mut self) {
        if let Some(sequence) = self.deferred.take() {
            self.push(sequence, KindClass::Terminal, 1, Lost::default());
        }
    }

    fn lose(&mut self, first: u64, last: u64, preserved: bool) {
        if self.failed.is_some() {
            self.lost_terminal |= !preserved;
            return;
        }
        self.close();
        self.pending.add(Lost::gap(
            first..=last,
            (preserved, Reason::SubscriberLagged),
        ));
    }

    fn end_refill(&mut self) {
        self.close();
        if let Some(last) = self.queue.last_mut() {
            last.lost.add(std::mem::take(&mut self.pending));
        }
    }

    /// Returns the notice of `lost`, where a failure would be reported.
    fn at_end(&self, lost: &Lost, journal: &Journal) -> Option<Gap<Place>> {
        let mut notice = lost.notice(self.policy, journal)?;
        if self.lost_terminal {
            (notice.terminal_preserved, notice.reason) = (false, FULL);
        }
        Some(notice)
    }

    fn pending(&self, journal: &Journal) -> Option<Gap<Place>> {
        self.at_end(&self.pending, journal)
    }

    fn failure(&self, journal: &Journal) -> Option<(u64, Gap<Place>)> {
        let failed = self.failed.as_ref()?;
        Some((failed.after, self.at_end(&failed.lost, journal)?))
    }

    fn pop(&mut self, journal: &Journal) -> Option<(Frame, Option<Gap<Place>>)> {
        let frame = (!self.queue.is_empty()).then(|| self.queue.remove(0))?;
        let notice = if self.queue.is_empty() {
            self.at_end(&frame.lost, journal)
        } else {
            frame.lost.notice(self.policy, journal)
        };
        Some((frame, notice))
    }
}
