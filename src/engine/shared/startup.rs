//! Requests shared memory, and lays it out when the server starts.

use std::ffi::c_void;

use pgrx::pg_sys;

use crate::engine::shared::condition::Variable;
use crate::engine::shared::entry::{CacheEntry, WAYS};
use crate::engine::shared::layout::{
    Bucket, Header, SHARED, SharedMemory, TRANCHE, variables, wanted_buckets,
};

static mut NEXT_STARTUP_HOOK: pg_sys::shmem_startup_hook_type = None;

/// Requests shared memory. Only while the library is being preloaded.
pub fn request() {
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

fn size() -> usize {
    const ALIGNMENT: usize = 128 * 3; // of each of the three parts
    size_of::<Header>()
        + wanted_buckets() * size_of::<Bucket>()
        + variables() * size_of::<Variable>()
        + ALIGNMENT
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
        let shared = SharedMemory {
            header: part(c"pgqueue counters", size_of::<Header>()).cast(),
            buckets: part(c"pgqueue hint cache", wanted_buckets() * size_of::<Bucket>()).cast(),
            variables: part(c"pgqueue sleepers", variables() * size_of::<Variable>()).cast(),
        };
        let tranche = pg_sys::LWLockNewTrancheId();
        pg_sys::LWLockRegisterTranche(tranche, TRANCHE.as_ptr());
        shared.header.write(Header::new(tranche));
        for n in 0..wanted_buckets() {
            let bucket = shared.buckets.add(n);
            pg_sys::LWLockInitialize(&raw mut (*bucket).lock, tranche);
            for way in 0..WAYS {
                (&raw mut (*bucket).entries[way]).write(CacheEntry::free());
            }
        }
        for n in 0..variables() {
            let mut condition = pg_sys::ConditionVariable::default();
            pg_sys::ConditionVariableInit(&mut condition); // it may move: it holds no pointer to itself
            shared.variables.add(n).write(Variable::new(condition));
        }
        SHARED.set(Some(shared));
    }
}
