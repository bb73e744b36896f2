//! Each write and each sync of an append fails, one by one: each batch that was acknowledged is
//! there, and each that was refused is not, in this process and after it was killed then.
//!
//! SQLite does all input and output through a table of functions; here, they count and fail.
//!
//! Of an append that closes the tail, `cargo test` fails every fifth call; with `FRAMEBUS_FAULTS=1`
//! each of them fails.

use framebus::archive::{Archive, ArchiveOptions, JournalOptions, JournaledBus, Retention};
use framebus::*;
use rusqlite::ffi;
use std::ffi::{c_int, c_void};
use std::path::Path;
use std::ptr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicPtr, AtomicUsize, Ordering};

/// How many calls succeed before one fails; none fails below 0.
static SUCCEED: AtomicI64 = AtomicI64::new(-1);
/// How many calls fail then; more than that succeed again.
static FAIL: AtomicI64 = AtomicI64::new(1);
/// How many calls failed.
static FAILED: AtomicUsize = AtomicUsize::new(0);
/// The error that they fail with.
static ERROR: AtomicI64 = AtomicI64::new(0);
/// The functions that do it.
static ORIGINAL: AtomicPtr<ffi::sqlite3_vfs> = AtomicPtr::new(ptr::null_mut());
/// The tests share the table.
static ALONE: Mutex<()> = Mutex::new(());

/// Returns the error that this call fails with, if it does.
fn fault() -> Option<c_int> {
    if SUCCEED.load(Ordering::SeqCst) < 0 || SUCCEED.fetch_sub(1, Ordering::SeqCst) > 0 {
        return None;
    }
    if FAIL.fetch_sub(1, Ordering::SeqCst) <= 0 {
        return None;
    }
    // The next call is looked at again.
    SUCCEED.store(0, Ordering::SeqCst);
    FAILED.fetch_add(1, Ordering::SeqCst);
    Some(ERROR.load(Ordering::SeqCst) as c_int)
}

/// A file: the table that SQLite sees, and behind it the one that does it.
#[repr(C)]
struct File {
    base: ffi::sqlite3_file,
    methods: ffi::sqlite3_io_methods,
    original: *const ffi::sqlite3_io_methods,
}

const HEAD: usize = size_of::<File>().next_multiple_of(16);

/// Returns the file behind this one.
unsafe fn behind(file: *mut ffi::sqlite3_file) -> *mut ffi::sqlite3_file {
    // SAFETY: the file was allocated with room for `HEAD` and the other one after it.
    unsafe { file.cast::<u8>().add(HEAD).cast() }
}

/// Returns what a function of the file behind returns.
macro_rules! forward {
    ($file:ident, $function:ident($($value:expr),*)) => {{
        // SAFETY: SQLite calls this with a file that `open` opened, whose functions are there.
        unsafe {
            let original = &*(*$file.cast::<File>()).original;
            original.$function.unwrap()(behind($file) $(, $value)*)
        }
    }};
}

unsafe extern "C" fn write(
    file: *mut ffi::sqlite3_file,
    bytes: *const c_void,
    count: c_int,
    offset: i64,
) -> c_int {
    match fault() {
        Some(error) => {
            // Half of it came through.
            let _ = forward!(file, xWrite(bytes, count / 2, offset));
            error
        }
        None => forward!(file, xWrite(bytes, count, offset)),
    }
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, flags: c_int) -> c_int {
    fault().unwrap_or_else(|| forward!(file, xSync(flags)))
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, size: i64) -> c_int {
    fault().unwrap_or_else(|| forward!(file, xTruncate(size)))
}

unsafe extern "C" fn read(
    file: *mut ffi::sqlite3_file,
    bytes: *mut c_void,
    count: c_int,
    offset: i64,
) -> c_int {
    forward!(file, xRead(bytes, count, offset))
}

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    forward!(file, xClose())
}

unsafe extern "C" fn size(file: *mut ffi::sqlite3_file, size: *mut i64) -> c_int {
    forward!(file, xFileSize(size))
}

unsafe extern "C" fn lock(file: *mut ffi::sqlite3_file, level: c_int) -> c_int {
    forward!(file, xLock(level))
}

unsafe extern "C" fn unlock(file: *mut ffi::sqlite3_file, level: c_int) -> c_int {
    forward!(file, xUnlock(level))
}

unsafe extern "C" fn check_lock(file: *mut ffi::sqlite3_file, is_locked: *mut c_int) -> c_int {
    forward!(file, xCheckReservedLock(is_locked))
}

unsafe extern "C" fn control(
    file: *mut ffi::sqlite3_file,
    operation: c_int,
    value: *mut c_void,
) -> c_int {
    forward!(file, xFileControl(operation, value))
}

unsafe extern "C" fn sector(file: *mut ffi::sqlite3_file) -> c_int {
    forward!(file, xSectorSize())
}

unsafe extern "C" fn device(file: *mut ffi::sqlite3_file) -> c_int {
    forward!(file, xDeviceCharacteristics())
}

unsafe extern "C" fn map(
    file: *mut ffi::sqlite3_file,
    page: c_int,
    size: c_int,
    extend: c_int,
    memory: *mut *mut c_void,
) -> c_int {
    forward!(file, xShmMap(page, size, extend, memory))
}

unsafe extern "C" fn map_lock(
    file: *mut ffi::sqlite3_file,
    offset: c_int,
    count: c_int,
    flags: c_int,
) -> c_int {
    forward!(file, xShmLock(offset, count, flags))
}

unsafe extern "C" fn barrier(file: *mut ffi::sqlite3_file) {
    forward!(file, xShmBarrier())
}

unsafe extern "C" fn unmap(file: *mut ffi::sqlite3_file, delete: c_int) -> c_int {
    forward!(file, xShmUnmap(delete))
}

unsafe extern "C" fn open(
    _: *mut ffi::sqlite3_vfs,
    name: *const std::ffi::c_char,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    opened: *mut c_int,
) -> c_int {
    let vfs = ORIGINAL.load(Ordering::SeqCst);
    // SAFETY: SQLite gives room for `szOsFile` bytes, which is `HEAD` more than the original wants;
    // the name and the flags are SQLite's own.
    unsafe {
        (*file).pMethods = ptr::null();
        let done = (*vfs).xOpen.unwrap()(vfs, name, behind(file), flags, opened);
        let original = (*behind(file)).pMethods;
        if original.is_null() {
            return done;
        }
        let this = file.cast::<File>();
        (*this).original = original;
        (*this).methods = ffi::sqlite3_io_methods {
            iVersion: (*original).iVersion.min(2),
            xClose: Some(close),
            xRead: Some(read),
            xWrite: Some(write),
            xTruncate: Some(truncate),
            xSync: Some(sync),
            xFileSize: Some(size),
            xLock: Some(lock),
            xUnlock: Some(unlock),
            xCheckReservedLock: Some(check_lock),
            xFileControl: Some(control),
            xSectorSize: Some(sector),
            xDeviceCharacteristics: Some(device),
            xShmMap: Some(map),
            xShmLock: Some(map_lock),
            xShmBarrier: Some(barrier),
            xShmUnmap: Some(unmap),
            xFetch: None,
            xUnfetch: None,
        };
        (*file).pMethods = &raw const (*this).methods;
        done
    }
}

/// Puts the functions that fail in front of SQLite's own, once.
fn install() {
    if !ORIGINAL.load(Ordering::SeqCst).is_null() {
        return;
    }
    // SAFETY: the table is never freed, and is SQLite's own but for two fields.
    unsafe {
        let original = ffi::sqlite3_vfs_find(ptr::null());
        ORIGINAL.store(original, Ordering::SeqCst);
        let mut vfs = Box::new(*original);
        vfs.szOsFile += HEAD as c_int;
        vfs.zName = c"failing".as_ptr();
        vfs.xOpen = Some(open);
        vfs.pNext = ptr::null_mut();
        assert_eq!(
            ffi::sqlite3_vfs_register(Box::into_raw(vfs), 1),
            ffi::SQLITE_OK
        );
    }
}

/// Lets calls fail after `succeed` of them, `count` in a row.
fn fail(succeed: i64, count: i64, error: c_int) {
    FAILED.store(0, Ordering::SeqCst);
    ERROR.store(error.into(), Ordering::SeqCst);
    FAIL.store(count, Ordering::SeqCst);
    SUCCEED.store(succeed, Ordering::SeqCst);
}

/// Ends that. Returns how many calls failed.
fn succeed() -> usize {
    SUCCEED.store(-1, Ordering::SeqCst);
    FAILED.load(Ordering::SeqCst)
}

fn opened(folder: &Path) -> (Archive, JournaledBus) {
    let archive = Archive::open(folder, ArchiveOptions::default()).unwrap();
    let builder = InMemoryAgentEventBus::builder();
    let bus = JournaledBus::open(archive.clone(), builder, JournalOptions::default()).unwrap();
    (archive, bus)
}

/// A batch of frames that bear its number.
fn batch(number: usize, size: usize) -> impl Iterator<Item = EventFrame> {
    (0..size).map(move |at| {
        let run = format!("run-{}", at % 20);
        let envelope = EventEnvelope::new(run, "a", EventKind::ModelStreamDelta);
        EventFrame::new(AgentEvent::with_redacted_summary(
            envelope,
            format!("{number}/{at}"),
        ))
    })
}

/// The batches that an archive has, checked to be whole.
fn stored(archive: &Archive, size: usize) -> Vec<usize> {
    assert_eq!(archive.check(), archive.len());
    let all = EventFilter::default().compile().unwrap();
    let start = archive.start().unwrap();
    let frames = archive.replay_filtered_from_cursor(all, start).unwrap();
    let texts: Vec<_> = frames
        .map(|frame| frame.event.redacted_summary().unwrap().to_owned())
        .collect();
    let batches = texts.chunks(size).map(|texts| {
        let number = texts[0].split_once('/').unwrap().0.parse().unwrap();
        for (at, text) in texts.iter().enumerate() {
            assert_eq!(*text, format!("{number}/{at}"));
        }
        assert_eq!(texts.len(), size);
        number
    });
    batches.collect()
}

/// The folder as a kill would leave it now.
fn killed(folder: &Path) -> tempfile::TempDir {
    let left = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(folder).unwrap() {
        let file = file.unwrap();
        let name = file.file_name();
        // The shared memory's file is made anew: nobody has it open.
        if !name.to_string_lossy().ends_with("-shm") {
            std::fs::copy(file.path(), left.path().join(name)).unwrap();
        }
    }
    left
}

/// How a batch is stored.
#[derive(Clone, Copy, PartialEq)]
enum By {
    Publish,
    Append,
}

/// Fails every `step`-th call of storing a batch in turn, until none is left. Returns how many there
/// were.
fn each_call(by: By, size: usize, step: usize, error: c_int) -> usize {
    let folder = tempfile::tempdir().unwrap();
    let (archive, bus) = opened(folder.path());
    let mut acknowledged = Vec::new();
    let mut number = 0;
    let mut publish = |acknowledged: &mut Vec<usize>| {
        number += 1;
        let done = match by {
            By::Publish => bus.publish_all(batch(number, size)).map(drop),
            // Each on a bus of its own.
            By::Append => {
                let other = InMemoryAgentEventBus::builder().ring_capacity(
                    std::num::NonZeroUsize::new(size.next_power_of_two() * 32).unwrap(),
                );
                let other = other.build().unwrap();
                other.publish_all(batch(number, size)).unwrap();
                let complete = SubscriptionOptions::complete();
                let frames = other.subscribe_all_with_options(None, complete).unwrap();
                archive.append(&frames.collect::<Vec<_>>()).map(drop)
            }
        };
        if done.is_ok() {
            acknowledged.push(number);
        }
        done.is_ok()
    };
    assert!((0..2).all(|_| publish(&mut acknowledged)));
    for at in (0..).step_by(step) {
        fail(at, 1, error);
        let done = publish(&mut acknowledged);
        if succeed() == 0 {
            assert!(done);
            return at as usize;
        }
        let left = killed(folder.path());
        let (after, _bus) = opened(left.path());
        assert_eq!(
            stored(&after, size),
            acknowledged,
            "killed, call {at}, {done}"
        );
        assert_eq!(stored(&archive, size), acknowledged, "call {at}, {done}");
        // It goes on.
        assert!(publish(&mut acknowledged), "call {at}");
        assert_eq!(stored(&archive, size), acknowledged, "after call {at}");
    }
    unreachable!("it ends")
}

#[test]
fn each_acknowledged_batch_is_there_and_each_refused_one_is_not() {
    let _alone = ALONE.lock();
    install();
    for by in [By::Publish, By::Append] {
        // A batch that goes to the tail, and one of several pages.
        let small = each_call(by, 1, 1, ffi::SQLITE_FULL);
        let large = each_call(by, 300, 1, ffi::SQLITE_IOERR_WRITE);
        assert!(small >= 2 && large > small, "{small}, {large}");
    }
    // Those that close the tail: their frames are put into blocks and indexes.
    let step = if std::env::var_os("FRAMEBUS_FAULTS").is_some() {
        1
    } else {
        5
    };
    assert!(each_call(By::Publish, 2_100, step, ffi::SQLITE_IOERR_FSYNC) > 5);
}

#[test]
fn what_the_disk_refuses_for_a_while_is_not_there_once_it_takes_something_again() {
    let _alone = ALONE.lock();
    install();
    let folder = tempfile::tempdir().unwrap();
    let (archive, bus) = opened(folder.path());
    let mut acknowledged = Vec::new();
    for number in 0..30 {
        fail(number as i64 % 7, 1_000, ffi::SQLITE_IOERR_FSYNC);
        let done = bus.publish_all(batch(number, 3)).is_ok();
        let failed = succeed();
        assert!(!done || failed == 0, "refused, if anything failed");
        let next = 100 + number;
        bus.publish_all(batch(next, 3)).unwrap();
        acknowledged.extend(done.then_some(number).into_iter().chain([next]));
        let left = killed(folder.path());
        assert_eq!(stored(&opened(left.path()).0, 3), acknowledged);
        assert_eq!(stored(&archive, 3), acknowledged);
    }
}

#[test]
fn upkeep_on_a_disk_that_fails_loses_nothing() {
    let _alone = ALONE.lock();
    install();
    let folder = tempfile::tempdir().unwrap();
    let (archive, bus) = opened(folder.path());
    for number in 0..60 {
        bus.publish_all(batch(number, 10)).unwrap();
    }
    let all: Vec<_> = (0..60).collect();
    let keep = Retention {
        max_frames: Some(10_000),
        ..Retention::default()
    };
    for at in 0..40 {
        fail(at, 1, ffi::SQLITE_IOERR_WRITE);
        let _ = archive.compact();
        let _ = archive.retain(&keep);
        succeed();
        assert_eq!(stored(&archive, 10), all, "call {at}");
        let left = killed(folder.path());
        assert_eq!(stored(&opened(left.path()).0, 10), all, "killed, call {at}");
    }
}
