//! Wakers of a host that run on the archive's threads: they panic, publish, and drop or finish what
//! such a thread works for. No other owner is affected, and no thread waits for itself.

mod common;

use common::archives::{journaled, open};
use common::{delta, seqs, size, start};
use framebus::archive::{Archive, Archiver, FollowOptions, JournalOptions, JournaledBus};
use framebus::*;
use rusqlite::Connection;
use std::future::Future;
use std::pin::Pin;
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

/// A waker that does something, once.
struct Acts(Mutex<Option<Box<dyn FnOnce() + Send>>>);

impl Wake for Acts {
    fn wake(self: Arc<Self>) {
        let act = self.0.lock().unwrap().take();
        if let Some(act) = act {
            act();
        }
    }
}

/// Returns a waker that does this, and what it returned.
fn acting<T: Send + 'static>(act: impl FnOnce() -> T + Send + 'static) -> (Waker, Receiver<T>) {
    let (sender, done) = mpsc::channel();
    let act = move || sender.send(act()).unwrap();
    let waker = Waker::from(Arc::new(Acts(Mutex::new(Some(Box::new(act))))));
    (waker, done)
}

fn panicking() -> Waker {
    acting(|| panic!("a waker that panics")).0
}

const SOON: Duration = Duration::from_secs(20);

type Sleeper = Pin<Box<dyn Future<Output = Option<EventFrame>> + Send>>;

/// A task that waits for the stream's next frame.
fn asleep(mut stream: AgentEventStream, waker: &Waker) -> Sleeper {
    let mut sleeper: Sleeper = Box::pin(async move { stream.recv_async().await.ok() });
    let polled = sleeper.as_mut().poll(&mut Context::from_waker(waker));
    assert!(polled.is_pending());
    sleeper
}

/// Tries until it succeeds.
fn eventually<T>(mut attempt: impl FnMut() -> Result<T, AgentError>) -> T {
    let begin = Instant::now();
    loop {
        match attempt() {
            Ok(done) => return done,
            Err(error) => assert!(begin.elapsed() < SOON, "{error}"),
        }
        thread::yield_now();
    }
}

#[test]
fn a_waker_that_panics_does_not_end_the_journal() {
    let folder = tempfile::tempdir().unwrap();
    let bus = journaled(&open(folder.path()));
    let run = || bus.subscribe_run(RunId::new("r"), None).unwrap();
    let _first = asleep(run(), &panicking());
    let (waker, woken) = acting(|| ());
    let _second = asleep(run(), &waker);
    assert_eq!(bus.publish(start("r")), Ok(()), "it is durable and seen");
    woken.recv_timeout(SOON).unwrap();
    let journaled = bus.publish_all([delta("r"), delta("r")]).unwrap();
    assert_eq!((journaled.sequences, journaled.positions), (2..4, 2..4));
    assert_eq!(seqs(&mut run()), [1, 2, 3]);
}

#[test]
fn a_journal_whose_last_handle_a_waker_drops_ends_and_can_be_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let archive = open(folder.path());
    let bus = journaled(&archive);
    let live = bus.subscribe_all(None).unwrap();
    let owned = Arc::new(Mutex::new(None));
    let (waker, dropped) = acting({
        let owned = owned.clone();
        move || drop(owned.lock().unwrap().take())
    });
    let _sleeper = asleep(live.clone(), &waker);
    let receipt = {
        let mut owned = owned.lock().unwrap();
        let bus = owned.insert(bus);
        bus.submit([start("r")])
    };
    assert_eq!(receipt.wait().unwrap().sequences, 1..2);
    dropped.recv_timeout(SOON).unwrap();
    let mut live = live;
    assert_eq!(live.recv_timeout(SOON).unwrap().cursor.event_seq, 1);
    assert_eq!(
        live.recv_timeout(SOON),
        Err(RecvError::Ended(StreamEnd::BusClosed))
    );
    let builder = InMemoryAgentEventBus::builder;
    let bus =
        eventually(|| JournaledBus::open(archive.clone(), builder(), JournalOptions::default()));
    assert_eq!(bus.publish_all([delta("r")]).unwrap().sequences, 2..3);
}

#[test]
fn a_waker_on_the_journal_s_thread_submits_and_is_refused_to_wait() {
    let folder = tempfile::tempdir().unwrap();
    let journal = JournalOptions {
        waiting: size(1),
        ..JournalOptions::default()
    };
    let builder = InMemoryAgentEventBus::builder();
    let bus = JournaledBus::open(open(folder.path()), builder, journal).unwrap();
    let (waker, answers) = acting({
        let bus = bus.clone();
        move || {
            let published = bus.publish(delta("r"));
            let first = bus.submit([delta("r")]);
            // The journal has room for one submission, which it takes when this waker returns.
            let beyond = bus.submit([delta("r")]).wait();
            (published, beyond, first)
        }
    });
    let _sleeper = asleep(bus.subscribe_all(None).unwrap(), &waker);
    bus.publish(start("r")).unwrap();
    let (published, beyond, first) = answers.recv_timeout(SOON).unwrap();
    for refused in [published, beyond.map(drop)] {
        let error = refused.unwrap_err();
        assert_eq!(error.kind(), AgentErrorKind::ContractViolation, "{error}");
    }
    assert_eq!(first.wait().unwrap().sequences, 2..3);
    assert_eq!(seqs(&mut bus.subscribe_all(None).unwrap()), [1, 2]);
}

#[test]
fn a_waker_on_the_journal_s_thread_is_refused_to_wait_for_its_own_receipt() {
    let folder = tempfile::tempdir().unwrap();
    let bus = journaled(&open(folder.path()));
    let (waker, answer) = acting({
        let bus = bus.clone();
        move || bus.submit([delta("r")]).wait()
    });
    let _sleeper = asleep(bus.subscribe_all(None).unwrap(), &waker);
    bus.publish(start("r")).unwrap();
    let error = answer.recv_timeout(SOON).unwrap().unwrap_err();
    assert_eq!(error.kind(), AgentErrorKind::ContractViolation, "{error}");
    bus.publish(delta("r")).unwrap();
    assert_eq!(seqs(&mut bus.subscribe_all(None).unwrap()), [1, 2, 3]);
}

/// A bus that an archiver follows which can't write: another program has the lock.
struct Stuck {
    archive: Archive,
    bus: InMemoryAgentEventBus,
    archiver: Option<Archiver>,
    other: Connection,
    /// It waits for the archiver to repair what it lost.
    stream: AgentEventStream,
    _folder: tempfile::TempDir,
}

const FRAMES: u64 = 1_000;

impl Stuck {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let archive = open(folder.path());
        let builder = InMemoryAgentEventBus::builder()
            .shards(size(1))
            .ring_capacity(size(64));
        let bus = builder.build().unwrap();
        let archiver = Archiver::follow(&archive, &bus, FollowOptions::default()).unwrap();
        let stream = bus.subscribe_all(None).unwrap();
        let other = Connection::open(folder.path().join("frames.sqlite")).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        for _ in 0..FRAMES {
            bus.publish(delta("r")).unwrap();
        }
        Stuck {
            stream: stream.repaired_by(Arc::new(archive.clone())).unwrap(),
            archiver: Some(archiver),
            archive,
            bus,
            other,
            _folder: folder,
        }
    }

    fn go_on(&self) {
        self.other.execute_batch("COMMIT").unwrap();
    }

    /// Checks that every frame is in the archive or in one of its gaps, up to its last one.
    fn archived(&self) -> u64 {
        let gaps = self.archive.gaps().unwrap();
        self.archive.len().unwrap() + gaps.iter().map(|gap| gap.lost).sum::<u64>()
    }
}

#[test]
fn a_waker_that_panics_does_not_end_the_archiver() {
    let mut stuck = Stuck::new();
    let _first = asleep(stuck.stream.clone(), &panicking());
    let (waker, woken) = acting(|| ());
    let _second = asleep(stuck.stream.clone(), &waker);
    stuck.go_on();
    woken.recv_timeout(SOON).unwrap();
    stuck.bus.publish(start("r")).unwrap();
    // The last handle of the bus is dropped, so the archiver ends.
    drop(std::mem::take(&mut stuck.bus));
    let report = stuck.archiver.take().unwrap().finish();
    assert_eq!(report.error, None);
    assert_eq!(report.frames + report.lost, FRAMES + 1);
    assert_eq!(stuck.archived(), FRAMES + 1);
}

/// Runs a waker on the archiver's own thread with the archiver. Returns the report.
fn ends_its_archiver(end: impl FnOnce(Archiver) -> Option<AgentError> + Send + 'static) -> Stuck {
    let mut stuck = Stuck::new();
    let archiver = stuck.archiver.take().unwrap();
    let (waker, ended) = acting(move || end(archiver));
    let _sleeper = asleep(stuck.stream.clone(), &waker);
    stuck.go_on();
    if let Some(error) = ended.recv_timeout(SOON).unwrap() {
        assert_eq!(error.kind(), AgentErrorKind::ContractViolation, "{error}");
    }
    stuck
}

#[test]
fn an_archiver_that_is_stopped_on_its_own_thread_ends_by_itself() {
    for stuck in [
        ends_its_archiver(|archiver| archiver.stop().error),
        ends_its_archiver(|archiver| {
            drop(archiver);
            None
        }),
    ] {
        // Once it has ended, another one resumes at its position.
        let follow = || Archiver::follow(&stuck.archive, &stuck.bus, FollowOptions::default());
        let report = eventually(follow).stop();
        assert_eq!(report.error, None);
        assert!(stuck.archived() > 0);
    }
}

#[test]
fn an_archiver_that_is_finished_on_its_own_thread_archives_all() {
    let mut stuck = ends_its_archiver(|archiver| archiver.finish().error);
    stuck.bus.publish(start("r")).unwrap();
    let mut all = stuck.stream.clone();
    // The last handle of the bus.
    drop(std::mem::take(&mut stuck.bus));
    while all.recv_timeout(SOON).is_ok() {}
    assert_eq!(all.end(), Some(StreamEnd::BusClosed));
    let begin = Instant::now();
    while stuck.archived() <= FRAMES {
        assert!(begin.elapsed() < SOON, "{} archived", stuck.archived());
        thread::yield_now();
    }
}

#[test]
fn threads_that_end_each_other_do_not_wait_in_a_circle() {
    let folder = tempfile::tempdir().unwrap();
    let journal = journaled(&open(folder.path()));
    let mut stuck = Stuck::new();
    let archiver = stuck.archiver.take().unwrap();
    let mut live = journal.subscribe_all(None).unwrap();
    // The archiver's thread ends the journal, whose thread ends the archiver.
    let (stops, stopped) = acting(move || archiver.stop().error);
    let _woken_by_the_journal = asleep(live.clone(), &stops);
    let (drops, dropped) = acting(move || {
        let receipt = journal.submit([start("r")]);
        drop(journal);
        receipt
    });
    let _woken_by_the_archiver = asleep(stuck.stream.clone(), &drops);
    stuck.go_on();
    let receipt = dropped.recv_timeout(SOON).unwrap();
    assert_eq!(receipt.wait().unwrap().sequences, 1..2);
    let error = stopped.recv_timeout(SOON).unwrap().unwrap();
    assert_eq!(error.kind(), AgentErrorKind::ContractViolation, "{error}");
    assert_eq!(live.recv_timeout(SOON).unwrap().cursor.event_seq, 1);
    assert!(live.recv_timeout(SOON).is_err(), "the journal has ended");
}
