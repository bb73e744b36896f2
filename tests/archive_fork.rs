//! A forked child can't use its parent's archive: every call fails with an error, drops do nothing,
//! and nothing hangs. The parent goes on.
#![cfg(unix)]

mod common;

use common::archives::{journaled, open};
use common::{delta, end, size, start};
use framebus::archive::{
    Archive, ArchiveOptions, Archiver, FollowOptions, JournalOptions, JournaledBus, Retention,
};
use framebus::*;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

unsafe extern "C" {
    fn fork() -> i32;
    fn _exit(code: i32) -> !;
    fn waitpid(pid: i32, status: *mut i32, options: i32) -> i32;
    fn kill(pid: i32, signal: i32) -> i32;
}

const WITHOUT_WAITING: i32 = 1;
const SIGKILL: i32 = 9;

/// Runs a job in a forked child. Checks that it returns true, and soon.
fn in_child(job: impl FnOnce() -> bool) {
    // SAFETY: the child runs the job, which is what the test is about, and ends without unwinding
    // into the test's own frames.
    let child = unsafe { fork() };
    if child == 0 {
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(job));
        let code = match done {
            Ok(true) => 0,
            Ok(false) => 1,
            Err(_) => 2,
        };
        // SAFETY: it only ends the process.
        unsafe { _exit(code) };
    }
    let begin = Instant::now();
    let mut status = 0;
    // SAFETY: the child is this process's own, and is not waited for elsewhere.
    let mut wait = |options| unsafe { waitpid(child, &mut status, options) };
    while wait(WITHOUT_WAITING) != child {
        if begin.elapsed() > Duration::from_secs(20) {
            // SAFETY: as above; it has not been waited for, so its number is still its own.
            unsafe { kill(child, SIGKILL) };
            wait(0);
            panic!("the child hangs");
        }
        thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(status, 0, "1 << 8: wrong; 2 << 8: a panic; else a signal");
}

fn is_forked<T>(answer: Result<T, AgentError>) -> bool {
    answer.is_err_and(|error| {
        error.kind() == AgentErrorKind::ContractViolation && error.message().contains("forked")
    })
}

#[test]
fn a_journal_answers_and_goes_on_in_the_parent() {
    let folder = tempfile::tempdir().unwrap();
    let archive = open(folder.path());
    let bus = journaled(&archive);
    bus.publish(start("r")).unwrap();
    let handed_in = bus.submit([delta("r")]);
    let mut handed_in = Some(handed_in);
    in_child(|| {
        let unheard = bus.submit([delta("r")]);
        drop(unheard);
        is_forked(bus.publish(delta("r")))
            && is_forked(bus.publish_all([delta("r"), delta("r")]))
            && is_forked(bus.submit([delta("r")]).wait())
            && is_forked(handed_in.take().unwrap().wait())
    });
    let positions = handed_in.unwrap().wait().unwrap().positions;
    assert_eq!(positions, 2..3);
    assert_eq!(bus.publish_all([end("r")]).unwrap().positions, 3..4);
}

#[test]
fn drops_in_a_child_take_nothing_from_the_parent() {
    let folder = tempfile::tempdir().unwrap();
    let archive = open(folder.path());
    let bus = journaled(&archive);
    bus.publish(start("r")).unwrap();
    let followed = InMemoryAgentEventBus::default();
    let archiver = Archiver::follow(&archive, &followed, FollowOptions::default()).unwrap();
    let reader = Archive::open_for_reading(folder.path()).unwrap();
    let mut all = Some((bus, archive, archiver, reader));
    in_child(|| {
        drop(all.take());
        true
    });
    let (bus, archive, archiver, reader) = all.unwrap();
    // This process still has the folder's lock.
    let again = Archive::open(folder.path(), ArchiveOptions::default());
    assert_eq!(again.unwrap_err().kind(), AgentErrorKind::ArchiveInUse);
    assert_eq!(bus.publish_all([delta("r")]).unwrap().positions, 2..3);
    followed.publish(start("s")).unwrap();
    drop(followed);
    assert_eq!(archiver.finish().frames, 1);
    assert_eq!((archive.len(), reader.len()), (Ok(3), Ok(3)));
    assert_eq!(archive.check(), Ok(3));
    // Dropping the last handle releases it.
    drop((bus, archive));
    assert_eq!(open(folder.path()).len(), Ok(3));
}

#[test]
fn the_last_handle_in_a_child_does_not_close_the_archive_of_the_parent() {
    let folder = tempfile::tempdir().unwrap();
    // No thread has another handle.
    let archive = open(folder.path());
    assert_eq!(archive.len(), Ok(0));
    let mut only = Some(archive);
    in_child(|| {
        drop(only.take());
        true
    });
    let again = Archive::open(folder.path(), ArchiveOptions::default());
    assert_eq!(again.unwrap_err().kind(), AgentErrorKind::ArchiveInUse);
    drop(only);
    assert_eq!(open(folder.path()).len(), Ok(0));
}

#[test]
fn an_archiver_s_end_is_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let archive = open(folder.path());
    let bus = InMemoryAgentEventBus::default();
    let follow = || Archiver::follow(&archive, &bus, FollowOptions::default());
    let mut archiver = Some(follow().unwrap());
    let says_so = |error: Option<AgentError>| is_forked(error.map_or(Ok(()), Err));
    in_child(|| says_so(archiver.take().unwrap().finish().error) && is_forked(follow()));
    in_child(|| says_so(archiver.take().unwrap().stop().error));
    bus.publish(start("r")).unwrap();
    let report = archiver.unwrap().stop();
    assert_eq!(report.error, None);
    assert_eq!(archive.len(), Ok(report.frames));
}

#[test]
fn an_archive_neither_reads_nor_writes_nor_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let other = tempfile::tempdir().unwrap();
    let archive = open(folder.path());
    let bus = InMemoryAgentEventBus::default();
    bus.publish(start("r")).unwrap();
    let frames: Vec<_> = bus.subscribe_all(None).unwrap().collect();
    archive.append(&frames).unwrap();
    let all = || EventFilter::default().compile().unwrap();
    let beginning = archive.start().unwrap();
    let replay = archive
        .replay_filtered_from_cursor(all(), beginning.clone())
        .unwrap();
    let limits = Retention::default();
    in_child(|| {
        let mut replay = replay.clone();
        let options = ArchiveOptions::default();
        replay.next().is_none()
            && matches!(replay.end(), Some(StreamEnd::SourceFailed(error)) if is_forked::<()>(Err(error.clone())))
            && is_forked(archive.replay_filtered_from_cursor(all(), beginning.clone()))
            && is_forked(archive.append(&frames))
            && is_forked(archive.retain(&limits))
            && is_forked(archive.compact())
            && is_forked(archive.check())
            && is_forked(archive.runs(0, 10))
            && is_forked(archive.end())
            && is_forked(JournaledBus::open(
                archive.clone(),
                InMemoryAgentEventBus::builder(),
                JournalOptions::default(),
            ))
            // SQLite's memory is the parent's: not even another folder.
            && is_forked(Archive::open(other.path(), options))
            && is_forked(Archive::open_for_reading(folder.path()))
    });
    assert_eq!(replay.count(), 1);
    assert_eq!(archive.check(), Ok(1));
}

#[test]
fn a_repaired_stream_counts_frames_that_it_can_not_read_as_lost() {
    let folder = tempfile::tempdir().unwrap();
    let archive = open(folder.path());
    let builder = InMemoryAgentEventBus::builder().ring_capacity(size(64));
    let bus = JournaledBus::open(archive.clone(), builder, JournalOptions::default()).unwrap();
    let stream = bus.subscribe_all(None).unwrap();
    let stream = stream.repaired_by(Arc::new(archive.clone())).unwrap();
    for _ in 0..50 {
        bus.publish_all((0..100).map(|_| delta("r"))).unwrap();
    }
    in_child(|| {
        let mut stream = stream.clone();
        let first = stream.next().unwrap();
        let lost = first.overflow.as_ref().unwrap().dropped_count;
        let error = stream.repair_error().cloned();
        first.cursor.event_seq == lost + 1 && is_forked(error.map_or(Ok(()), Err))
    });
    assert_eq!(stream.count(), 5_000);
}

#[test]
fn a_child_of_a_parent_that_has_closed_its_archives_opens_its_own() {
    // Run in a process of its own: other tests have archives open.
    if std::env::var_os("FRAMEBUS_ALONE").is_none() {
        let this = std::env::current_exe().unwrap();
        let alone = std::process::Command::new(this)
            .env("FRAMEBUS_ALONE", "1")
            .args([
                "--exact",
                "a_child_of_a_parent_that_has_closed_its_archives_opens_its_own",
            ])
            .output()
            .unwrap();
        assert!(alone.status.success(), "{alone:?}");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    journaled(&open(folder.path())).publish(start("r")).unwrap();
    in_child(|| {
        let bus = journaled(&open(folder.path()));
        bus.publish_all([end("r")]).unwrap().positions == (2..3)
    });
    assert_eq!(open(folder.path()).len(), Ok(2));
}
