//! The table of the contract, written down as plainly as it can be, and the queue against it.
//!
//! The model keeps its frames in a `Vec` and, in place of a notice, the very numbers that are lost
//! and why. A notice's count, bounds, repair point and reason are only worked out when it is looked
//! at, so that no rule for merging notices stands behind it.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// What happened to a gap: terminals preserved, reason.
type Cause = (bool, Reason);

/// Lost numbers. Each that begins a gap of its own has its cause, the others of it have none.
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

    fn notice(&self, policy: Policy, journal: &Journal) -> Option<EventOverflowNotice> {
        let cursor = |(&sequence, _)| journal.cursor(sequence);
        let causes: Vec<_> = self.0.values().flatten().collect();
        let preserved = causes.iter().all(|(preserved, _)| *preserved);
        let met = causes.len() > 1;
        Some(EventOverflowNotice {
            policy,
            dropped_count: self.0.len() as u64,
            gap_start: Some(self.0.first_key_value().map(cursor)?),
            gap_end: self.0.last_key_value().map(cursor)?,
            repair_from: self.0.keys().find_map(|&it| journal.of(it)),
            terminal_preserved: preserved,
            exact: true,
            reason: if met && !preserved { FULL } else { causes[0].1 },
        })
    }
}

/// The journal cursors of the frames that were offered, by number.
#[derive(Clone, Debug, Default)]
struct Journal(BTreeMap<u64, JournalCursor>);

impl Journal {
    fn of(&self, sequence: u64) -> Option<JournalCursor> {
        self.0.get(&sequence).cloned()
    }

    fn cursor(&self, event_seq: u64) -> EventCursor {
        EventCursor {
            journal_cursor: self.of(event_seq),
            event_seq,
            ..start()
        }
    }
}

#[derive(Clone, Debug)]
struct Frame {
    sequence: u64,
    class: KindClass,
    /// How many frames it stands for; 1 if for itself.
    stands_for: u64,
    /// Lost before it, then what it stands for as a summary, then what is lost behind it.
    lost: Lost,
}

#[derive(Clone, Debug)]
struct Failed {
    after: u64,
    lost: Lost,
}

#[derive(Clone, Debug)]
struct Model {
    policy: Policy,
    capacity: usize,
    reserve: usize,
    queue: Vec<Frame>,
    run: Vec<u64>,
    /// The terminal frame that the last take-in ended before.
    ended_before: Option<u64>,
    pending: Lost,
    last_queued: u64,
    failed: Option<Failed>,
    /// A terminal frame came behind the failure.
    spoilt: bool,
}

impl Model {
    fn new(policy: Policy, capacity: usize, reserve: usize) -> Self {
        Model {
            policy,
            capacity,
            reserve,
            queue: Vec::new(),
            run: Vec::new(),
            ended_before: None,
            pending: Lost::default(),
            last_queued: 0,
            failed: None,
            spoilt: false,
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
            Some(behind) => behind.lost.add(gone.lost),
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

    /// Whether the frame was taken in.
    fn offer(&mut self, sequence: u64, class: KindClass) -> bool {
        let terminal = class == KindClass::Terminal;
        if self.failed.is_none() && terminal {
            self.close();
            while self.queue.len() >= self.capacity {
                let Some(at) = self.oldest(|class| class != KindClass::Terminal) else {
                    self.ended_before = Some(sequence);
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
            self.spoilt |= class == KindClass::Terminal;
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
                self.settle();
                // What is told behind the last frame, or waits, and nothing that was told before.
                let told = self.queue.last().map_or(&self.pending, |last| &last.lost);
                let behind = told.0.range(self.last_queued + 1..);
                let lost = Lost(behind.map(|(&it, &cause)| (it, cause)).collect());
                self.failed = Some(Failed {
                    after: self.last_queued,
                    lost,
                });
            }
            _ => self.miss(sequence, FULL),
        }
    }

    fn begin(&mut self) {
        if let Some(sequence) = self.ended_before.take() {
            self.push(sequence, KindClass::Terminal, 1, Lost::default());
        }
    }

    fn lose(&mut self, first: u64, last: u64, preserved: bool) {
        if self.failed.is_some() {
            self.spoilt |= !preserved;
            return;
        }
        self.close();
        self.pending.add(Lost::gap(
            first..=last,
            (preserved, Reason::SubscriberLagged),
        ));
    }

    fn settle(&mut self) {
        self.close();
        if let Some(last) = self.queue.last_mut() {
            last.lost.add(std::mem::take(&mut self.pending));
        }
    }

    /// What `lost` says, if it is where a failure is told.
    fn at_end(&self, lost: &Lost, journal: &Journal) -> Option<EventOverflowNotice> {
        let mut notice = lost.notice(self.policy, journal)?;
        if self.spoilt {
            (notice.terminal_preserved, notice.reason) = (false, FULL);
        }
        Some(notice)
    }

    fn pending(&self, journal: &Journal) -> Option<EventOverflowNotice> {
        self.at_end(&self.pending, journal)
    }

    fn failure(&self, journal: &Journal) -> Option<(u64, EventOverflowNotice)> {
        let failed = self.failed.as_ref()?;
        Some((failed.after, self.at_end(&failed.lost, journal)?))
    }

    fn pop(&mut self, journal: &Journal) -> Option<(Frame, Option<EventOverflowNotice>)> {
        let frame = (!self.queue.is_empty()).then(|| self.queue.remove(0))?;
        let notice = match self.queue.is_empty() {
            true => self.at_end(&frame.lost, journal),
            false => frame.lost.notice(self.policy, journal),
        };
        Some((frame, notice))
    }
}

/// What comes in.
#[derive(Clone, Copy, Debug)]
enum Incoming {
    /// A frame, with a journal cursor or without.
    Frame(KindClass, bool),
    Loss(u64, bool),
}

#[derive(Clone, Debug)]
enum Act {
    /// What a take-in finds; there is none while frames are queued.
    TakeIn(Vec<Incoming>),
    Pop(usize),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let class = prop_oneof![
        2 => Just(KindClass::Terminal),
        3 => Just(KindClass::Progress),
        2 => Just(KindClass::Normal),
    ];
    let incoming = prop_oneof![
        12 => (class, any::<bool>()).prop_map(|(class, known)| Incoming::Frame(class, known)),
        1 => (1..5_u64, any::<bool>()).prop_map(|(count, preserved)| Incoming::Loss(count, preserved)),
    ];
    let act = prop_oneof![
        1 => prop::collection::vec(incoming, 0..16).prop_map(Act::TakeIn),
        1 => (1..9_usize).prop_map(Act::Pop),
    ];
    prop::collection::vec(act, 0..12)
}

fn policies() -> impl Strategy<Value = Policy> {
    prop::sample::select(vec![
        Policy::DropNonTerminal,
        Policy::DropProgress,
        Policy::SummarizeAndContinue,
        Policy::FailSubscriber,
    ])
}

/// What came in and went out, of one queue and its model.
#[derive(Clone)]
struct Trial {
    queue: BoundedQueue,
    model: Model,
    journal: Journal,
    offered: BTreeMap<u64, Arc<SealedEvent>>,
    next: u64,
    /// Frames and losses that came in before any failure, and what of them came out.
    came: u64,
    themselves: u64,
    told: u64,
    /// The highest number up to which the consumer knows everything to be delivered or told.
    known: u64,
}

impl Trial {
    fn new(policy: Policy, capacity: usize, reserve: usize) -> Self {
        Trial {
            queue: queue(policy, capacity, reserve),
            model: Model::new(policy, capacity, reserve),
            journal: Journal::default(),
            offered: BTreeMap::new(),
            next: 1,
            came: 0,
            themselves: 0,
            told: 0,
            known: 0,
        }
    }

    fn act(&mut self, act: &Act) -> Result<(), TestCaseError> {
        match act {
            Act::TakeIn(incoming) if self.queue.len() == 0 => {
                self.queue.begin();
                self.model.begin();
                for &it in incoming {
                    if !self.come_in(it)? {
                        break;
                    }
                    self.agree()?;
                }
                self.queue.settle();
                self.model.settle();
            }
            Act::TakeIn(_) => {}
            Act::Pop(count) => (0..*count).try_for_each(|_| self.pop())?,
        }
        self.agree()
    }

    /// Whether more may come in.
    fn come_in(&mut self, incoming: Incoming) -> Result<bool, TestCaseError> {
        match incoming {
            Incoming::Frame(class, known) => {
                let sequence = self.next;
                let cursor = known.then(|| JournalCursor::new(format!("j{sequence}")));
                self.journal
                    .0
                    .extend(cursor.clone().map(|cursor| (sequence, cursor)));
                let event = journaled(sequence, class, cursor);
                self.came_in(1);
                let taken = self.queue.offer(&event).is_continue();
                prop_assert_eq!(taken, self.model.offer(sequence, class));
                self.offered.insert(sequence, event);
                Ok(taken)
            }
            Incoming::Loss(count, preserved) => {
                let (first, last) = (self.next, self.next + count - 1);
                self.came_in(count);
                self.queue.lose(&loss(first, last, preserved));
                self.model.lose(first, last, preserved);
                Ok(true)
            }
        }
    }

    fn agree(&self) -> Result<(), TestCaseError> {
        let Trial {
            queue,
            model,
            journal,
            ..
        } = self;
        prop_assert_eq!(queue.len(), model.queue.len());
        let held = !model.queue.is_empty() || model.ended_before.is_some();
        prop_assert_eq!(queue.has_frame(), held);
        prop_assert!(queue.len() <= model.capacity);
        prop_assert_eq!(queue.pending_overflow().cloned(), model.pending(journal));
        let failure = queue
            .failure()
            .map(|it| (it.resume_from.clone(), it.notice.clone()));
        let expected = model
            .failure(journal)
            .map(|(after, lost)| (journal.cursor(after), lost));
        prop_assert_eq!(failure, expected);
        Ok(())
    }

    fn came_in(&mut self, count: u64) {
        self.next += count;
        if self.queue.failure().is_none() {
            self.came += count;
        }
    }

    fn pop(&mut self) -> Result<(), TestCaseError> {
        let expected = self.model.pop(&self.journal);
        let got = self.queue.pop();
        prop_assert_eq!(got.is_some(), expected.is_some());
        let (Some(got), Some((frame, notice))) = (got, expected) else {
            return Ok(());
        };
        let sequence = got.event.envelope().event_seq;
        prop_assert_eq!(sequence, frame.sequence);
        prop_assert_eq!(got.overflow.as_deref(), notice.as_ref());
        if frame.stands_for == 1 {
            let itself = Arc::ptr_eq(&got.event, &self.offered[&sequence]);
            prop_assert!(itself, "{} is shared, not copied", sequence);
            self.themselves += 1;
        } else {
            prop_assert_eq!(got.event.envelope(), self.offered[&sequence].envelope());
            let event = SharedEvent::new(got.event, PayloadAccessMode::default());
            let text = format!("{} dropped progress frames", frame.stands_for);
            prop_assert_eq!(event.redacted_summary(), Some(text.as_str()));
        }
        self.told += got
            .overflow
            .as_ref()
            .map_or(0, |notice| notice.dropped_count);
        // Whoever saves this frame's number has been told of all gaps below it.
        let bounds = got.overflow.as_deref().map(told);
        let first = bounds.map_or(sequence, |(_, first, ..)| first.min(sequence));
        prop_assert!(
            first <= self.known + 1,
            "{} to {} untold",
            self.known + 1,
            first - 1
        );
        let last = bounds.map_or(0, |(_, _, last, ..)| last);
        self.known = self.known.max(sequence).max(last);
        Ok(())
    }

    /// Takes out what is left, and counts.
    fn drain(mut self) -> Result<(), TestCaseError> {
        while self.queue.has_frame() {
            self.act(&Act::TakeIn(Vec::new()))?;
            self.act(&Act::Pop(1))?;
        }
        let waiting = self
            .queue
            .pending_overflow()
            .map_or(0, |it| it.dropped_count);
        prop_assert_eq!(
            self.themselves + self.told + waiting,
            self.came,
            "conservation"
        );
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    #[test]
    fn the_queue_is_the_table(
        policy in policies(), capacity in 1..9_usize, reserve in 1..9_usize, acts in acts(),
    ) {
        let mut trial = Trial::new(policy, capacity, reserve);
        acts.iter().try_for_each(|act| trial.act(act))?;
        trial.drain()?;
    }

    #[test]
    fn a_clone_goes_its_own_way(
        policy in policies(), capacity in 1..9_usize, reserve in 1..9_usize,
        shared in acts(), one in acts(), other in acts(),
    ) {
        let mut trial = Trial::new(policy, capacity, reserve);
        shared.iter().try_for_each(|act| trial.act(act))?;
        let mut clone = trial.clone();
        one.iter().try_for_each(|act| trial.act(act))?;
        other.iter().try_for_each(|act| clone.act(act))?;
        trial.drain()?;
        clone.drain()?;
    }
}
