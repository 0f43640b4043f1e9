//! A clock that can be moved: preloaded into a server (LD_PRELOAD), it adds to the time of
//! day as many microseconds as the first eight bytes of a file say, at every reading.
//!
//! libfaketime cannot serve here: the postmaster of PostgreSQL 15 forks workers in a signal
//! handler, inside a select() which libfaketime wraps, and such a process keeps its old time.

use std::ffi::CString;
use std::os::unix::ffi::OsStringExt;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, Ordering};

use libc::{c_int, c_long, c_void, clockid_t, time_t, timespec, timeval};

/// The environment variable with the name of the file.
const VARIABLE: &str = "PGQUEUE_CHAOS_CLOCK";

const MICROS: i64 = 1_000_000;

/// By how many microseconds the clock is ahead.
fn ahead() -> i64 {
    static FILE: OnceLock<Option<&'static AtomicI64>> = OnceLock::new();
    FILE.get_or_init(map).map_or(0, |ahead| ahead.load(Ordering::Relaxed))
}

/// The file's first bytes, as they are at any moment.
fn map() -> Option<&'static AtomicI64> {
    let path = CString::new(std::env::var_os(VARIABLE)?.into_vec()).ok()?;
    // SAFETY: a path that ends in NUL; the mapping is shared, of whole pages and never undone,
    // and eight bytes at its beginning are an integer in memory. Its file is eight bytes long.
    unsafe {
        let file = libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC);
        if file < 0 {
            return None;
        }
        let page = libc::mmap(ptr::null_mut(), 8, libc::PROT_READ, libc::MAP_SHARED, file, 0);
        libc::close(file);
        (page != libc::MAP_FAILED).then(|| &*page.cast::<AtomicI64>())
    }
}

/// The time of day as this clock shows it: seconds and nanoseconds.
fn read() -> timespec {
    let mut real = timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel fills in the time; this clock is always there.
    unsafe { libc::syscall(libc::SYS_clock_gettime, libc::CLOCK_REALTIME, &raw mut real) };
    let micros = real.tv_sec * MICROS + real.tv_nsec / 1000 + ahead();
    timespec {
        tv_sec: micros.div_euclid(MICROS),
        tv_nsec: micros.rem_euclid(MICROS) * 1000 + real.tv_nsec % 1000,
    }
}

/// Takes the place of the C library's.
///
/// # Safety
/// As the C library says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gettimeofday(time: *mut timeval, _zone: *mut c_void) -> c_int {
    let now = read();
    // SAFETY: the caller gives room for it.
    unsafe { *time = timeval { tv_sec: now.tv_sec, tv_usec: now.tv_nsec / 1000 } };
    0
}

/// Takes the place of the C library's; other clocks than that of the day are not moved.
///
/// # Safety
/// As the C library says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(clock: clockid_t, time: *mut timespec) -> c_int {
    if clock == libc::CLOCK_REALTIME {
        // SAFETY: the caller gives room for it.
        unsafe { *time = read() };
        return 0;
    }
    // SAFETY: what the caller asked for, passed on.
    let result: c_long = unsafe { libc::syscall(libc::SYS_clock_gettime, clock, time) };
    result as c_int
}

/// Takes the place of the C library's.
///
/// # Safety
/// As the C library says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn time(time: *mut time_t) -> time_t {
    let now = read().tv_sec;
    if !time.is_null() {
        // SAFETY: the caller gives room for it.
        unsafe { *time = now };
    }
    now
}
