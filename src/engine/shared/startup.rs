//! Requests shared memory, and lays it out when the server starts.

use std::cell::Cell;
use std::ffi::c_void;
use std::sync::atomic::{AtomicPtr, AtomicU32};

use pgrx::pg_sys::{self, Latch};

use crate::engine::shared::layout::{
    Bucket, Head, Header, SHARED, SharedMemory, SharedRoom, Sleepers, TRANCHE, wanted_buckets,
};
use crate::engine::shared::wait_list::{NONE, Sleeping, WaitList};
use crate::guc;
use crate::pg::session::most_sessions;

static mut NEXT_STARTUP_HOOK: pg_sys::shmem_startup_hook_type = None;

/// Requests shared memory. Only while the library is being preloaded.
pub fn request() {
    guc::show_hint_memory(size_of_hints());
    // SAFETY: the postmaster has one thread; our hooks call the hooks that were there before.
    unsafe {
        NEXT_STARTUP_HOOK = pg_sys::shmem_startup_hook;
        pg_sys::shmem_startup_hook = Some(startup);
        NEXT_REQUEST_HOOK = pg_sys::shmem_request_hook;
        pg_sys::shmem_request_hook = Some(request_space);
    }
}

static mut NEXT_REQUEST_HOOK: pg_sys::shmem_request_hook_type = None;

#[pgrx::pg_guard]
unsafe extern "C-unwind" fn request_space() {
    // SAFETY: called once by the postmaster, in the phase for such requests.
    unsafe {
        if let Some(next) = NEXT_REQUEST_HOOK {
            next();
        }
        pg_sys::RequestAddinShmemSpace(size());
    }
}

/// Bytes of the hint cache.
fn size_of_hints() -> usize {
    wanted_buckets() * (size_of::<Head>() + size_of::<Bucket>())
}

/// Bytes of all parts.
fn size() -> usize {
    const ALIGNMENT: usize = 128 * 7; // of each of the seven parts
    let for_each_session =
        size_of::<SharedRoom>() + size_of::<Sleeping>() + size_of::<WaitList>() + size_of::<*mut Latch>();
    size_of::<Header>() + size_of_hints() + most_sessions() * for_each_session + ALIGNMENT
}

/// Lays out shared memory, at the start of the server and again after a crash.
#[pgrx::pg_guard]
unsafe extern "C-unwind" fn startup() {
    // SAFETY: called by the postmaster before it forks; each part has the size that is requested, is aligned
    // for anything, and no other process reads it yet.
    unsafe {
        if let Some(next) = NEXT_STARTUP_HOOK {
            next();
        }
        let part = |name: &std::ffi::CStr, size: usize| -> *mut c_void {
            let mut found = false;
            pg_sys::ShmemInitStruct(name.as_ptr(), size, &mut found)
        };
        let most = most_sessions();
        let shared = SharedMemory {
            header: part(c"pgqueue counters", size_of::<Header>()).cast(),
            heads: part(c"pgqueue hint cache locks", wanted_buckets() * size_of::<Head>()).cast(),
            buckets: part(c"pgqueue hint cache", wanted_buckets() * size_of::<Bucket>()).cast(),
            rooms: part(c"pgqueue wait lists", most * size_of::<SharedRoom>()).cast(),
            sleepers: Sleepers {
                sessions: part(c"pgqueue sleepers", most * size_of::<Sleeping>()).cast(),
                lists: part(c"pgqueue turnstiles", most * size_of::<WaitList>()).cast(),
                latches: part(c"pgqueue latches", most * size_of::<*mut Latch>()).cast(),
                most,
            },
        };
        let tranche = pg_sys::LWLockNewTrancheId();
        pg_sys::LWLockRegisterTranche(tranche, TRANCHE.as_ptr());
        Header::write(shared.header, tranche);
        for n in 0..wanted_buckets() {
            let mut lock = pg_sys::LWLock::default();
            pg_sys::LWLockInitialize(&mut lock, tranche); // it may move: it holds no pointer to itself
            shared.heads.add(n).write(Head::new(lock));
        }
        for n in 0..most {
            let room = shared.rooms.add(n);
            pg_sys::LWLockInitialize(&raw mut (*room).lock, tranche);
            (&raw mut (*room).first).write(Cell::new(NONE));
            (&raw mut (*room).sleepers).write(AtomicU32::new(0));
            shared.sleepers.sessions.add(n).write(Sleeping::new(n as u32));
            shared.sleepers.lists.add(n).write(WaitList::new());
            shared.sleepers.latches.add(n).write(AtomicPtr::new(std::ptr::null_mut()));
        }
        SHARED.set(Some(shared));
    }
}
