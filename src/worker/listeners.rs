//! NOTIFY for clients that LISTEN: one a queue and round, however many messages became
//! ready, so that a producer's commit never waits for the lock that NOTIFY takes.

use std::ffi::{CStr, CString, c_char};

use pgrx::pg_sys;

use super::sweep::logged;
use crate::engine::{board, queue};

/// Sends NOTIFY on the channels of queues that have news and want it. False if that
/// failed.
pub fn tell() -> bool {
    let queues = take_news();
    if queues.is_empty() {
        return true;
    }
    let told = logged("notify", || queues.iter().for_each(|&queue| notify(queue)));
    if !told {
        queues.iter().for_each(|&queue| board::with_known(queue, |place| place.has_news = true));
    }
    told
}

/// The queues of this database that have news.
fn take_news() -> Vec<i32> {
    let mut queues = board::collect(|place| std::mem::take(&mut place.has_news).then_some(place.queue));
    queues.sort_unstable();
    queues.dedup();
    queues
}

fn notify(number: i32) {
    let Ok(Some(queue)) = queue::by_id(number) else { return };
    let channel = queue::channel(&queue.name, &queue.settings).ok().flatten();
    board::with_known(number, |place| place.is_listened_to = channel.is_some());
    if let Some(channel) = channel.and_then(|channel| CString::new(channel).ok()) {
        send(&channel);
    }
}

/// NOTIFY with an empty payload, when the transaction commits.
fn send(channel: &CStr) {
    // commands/async.h, which pgrx leaves out
    unsafe extern "C-unwind" {
        fn Async_Notify(channel: *const c_char, payload: *const c_char);
    }
    // SAFETY: both are C strings; the boundary turns an error into a panic.
    unsafe { pg_sys::ffi::pg_guard_ffi_boundary(|| Async_Notify(channel.as_ptr(), c"".as_ptr())) }
}
