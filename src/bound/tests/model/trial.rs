//! The queue against the model, in histories at random.

use super::*;
use proptest::prelude::*;

/// What a refill finds.
#[derive(Clone, Copy, Debug)]
enum Incoming {
    /// A frame, with a journal cursor or without.
    Frame(KindClass, bool),
    /// How many frames were lost, and whether no terminal one is among them.
    Loss(u64, bool),
}

/// What a stream does with its queue.
#[derive(Clone, Debug)]
enum Act {
    /// Refills it with these, unless frames are queued.
    Refill(Vec<Incoming>),
    /// Takes `count` frames out.
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
        1 => prop::collection::vec(incoming, 0..16).prop_map(Act::Refill),
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

/// One queue beside its model, and what was offered and came out.
#[derive(Clone)]
struct Trial {
    queue: BoundedQueue<Tick>,
    model: Model,
    journal: Journal,
    offered: BTreeMap<u64, Tick>,
    /// The sequence number of the next frame that is offered.
    next: u64,
    /// How many frames were offered or lost before any failure.
    came: u64,
    /// How many of them came out as themselves.
    themselves: u64,
    /// How many of them were reported.
    reported: u64,
    /// The highest sequence number up to which all is known to be delivered or reported.
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
            reported: 0,
            known: 0,
        }
    }

    fn act(&mut self, act: &Act) -> Result<(), TestCaseError> {
        match act {
            Act::Refill(incoming) if self.queue.len() == 0 => {
                self.queue.begin_refill();
                self.model.begin_refill();
                for &it in incoming {
                    if !self.offer(it)? {
                        break;
                    }
                    self.agree()?;
                }
                self.queue.end_refill();
                self.model.end_refill();
            }
            Act::Refill(_) => {}
            Act::Pop(count) => (0..*count).try_for_each(|_| self.pop())?,
        }
        self.agree()
    }

    /// Offers something. Returns false if the refill stops before it.
    fn offer(&mut self, incoming: Incoming) -> Result<bool, TestCaseError> {
        match incoming {
            Incoming::Frame(class, known) => {
                let sequence = self.next;
                let page = known.then_some(1_000 + sequence);
                self.journal.0.extend(page.map(|page| (sequence, page)));
                let event = journaled(sequence, class, page);
                self.count_offered(1);
                let taken = self.queue.offer(&event).is_continue();
                prop_assert_eq!(taken, self.model.offer(sequence, class));
                self.offered.insert(sequence, event);
                Ok(taken)
            }
            Incoming::Loss(count, preserved) => {
                let (first, last) = (self.next, self.next + count - 1);
                self.count_offered(count);
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
        let held = !model.queue.is_empty() || model.deferred.is_some();
        prop_assert_eq!(queue.has_frame(), held);
        prop_assert!(queue.len() <= model.capacity);
        prop_assert_eq!(queue.pending_overflow().cloned(), model.pending(journal));
        let failure = queue
            .failure()
            .map(|it| (it.resume_from.clone(), it.notice.clone()));
        let expected = model
            .failure(journal)
            .map(|(after, lost)| (journal.place(after), lost));
        prop_assert_eq!(failure, expected);
        Ok(())
    }

    fn count_offered(&mut self, count: u64) {
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
        let sequence = got.frame.sequence;
        prop_assert_eq!(sequence, frame.sequence);
        prop_assert_eq!(got.overflow.as_deref(), notice.as_ref());
        prop_assert_eq!(got.frame.stands_for, frame.stands_for);
        let itself = Arc::ptr_eq(&got.frame.content, &self.offered[&sequence].content);
        prop_assert!(itself, "{} is shared, not copied", sequence);
        self.themselves += u64::from(!got.summary);
        prop_assert_eq!(got.summary, frame.stands_for > 1);
        self.reported += got
            .overflow
            .as_ref()
            .map_or(0, |notice| notice.dropped_count);
        // A consumer that saves this frame's cursor has had all gaps below it reported.
        let bounds = got.overflow.as_deref().map(reported);
        let first = bounds.map_or(sequence, |(_, first, ..)| first.min(sequence));
        prop_assert!(
            first <= self.known + 1,
            "{} to {} unreported",
            self.known + 1,
            first - 1
        );
        let last = bounds.map_or(0, |(_, _, last, ..)| last);
        self.known = self.known.max(sequence).max(last);
        Ok(())
    }

    /// Takes out the remaining frames, and counts.
    fn drain(mut self) -> Result<(), TestCaseError> {
        while self.queue.has_frame() {
            self.act(&Act::Refill(Vec::new()))?;
            self.act(&Act::Pop(1))?;
        }
        let waiting = self
            .queue
            .pending_overflow()
            .map_or(0, |it| it.dropped_count);
        prop_assert_eq!(
            self.themselves + self.reported + waiting,
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
