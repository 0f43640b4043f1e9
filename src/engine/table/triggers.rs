//! Firing users' triggers: a row that the engine writes directly fires the triggers of users, including those
//! of foreign keys, and is checked against their constraints.
//!
//! For the triggers each row is a statement of its own, run by the owner of the tables like the engine's
//! statements. The extension's own triggers are not fired: the engine announces direct writes itself.

use std::cell::Cell;
use std::ptr;

use pgrx::pg_sys;

use crate::engine::table::guests::{self, Guests};
use crate::engine::table::message::Column;

/// Kind of write.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Event {
    Insert,
    Update,
    Delete,
}

/// Executor state of a table and of a statement that writes it.
#[derive(Clone, Copy)]
pub struct Target {
    pub result: *mut pg_sys::ResultRelInfo,
    pub estate: *mut pg_sys::EState,
    pub slot: *mut pg_sys::TupleTableSlot,
}

/// A write of one row.
pub struct Firing {
    target: Target,
    guests: Guests,
    event: Event,
    capture: *mut pg_sys::TransitionCaptureState,
}

thread_local! {
    static TIMES_FIRED: Cell<u64> = const { Cell::new(0) };
}

/// Number of writes in this session that have fired users' triggers, which may have written any table.
pub fn times_fired() -> u64 {
    TIMES_FIRED.get()
}

/// Removes the extension's own triggers from the executor state of a table.
///
/// # Safety
/// Its triggers must be a copy of our own, as InitResultRelInfo makes it.
pub unsafe fn keep_guests_only(result: *mut pg_sys::ResultRelInfo) {
    // SAFETY: the caller vouches for it; there are as many triggers as it says.
    unsafe {
        let all = (*result).ri_TrigDesc;
        if all.is_null() {
            return;
        }
        let mut kept = 0;
        let has = |trigger: &pg_sys::Trigger, kind: u32| trigger.tgtype as u32 & kind != 0;
        let (mut old, mut new) = (false, false);
        for n in 0..(*all).numtriggers as usize {
            let trigger = *(*all).triggers.add(n);
            if guests::is_guest(&trigger) {
                old |= has(&trigger, pg_sys::TRIGGER_TYPE_DELETE) && !trigger.tgoldtable.is_null();
                new |= has(&trigger, pg_sys::TRIGGER_TYPE_INSERT) && !trigger.tgnewtable.is_null();
                *(*all).triggers.add(kept) = trigger;
                kept += 1;
            }
        }
        (*all).numtriggers = kept as i32;
        (*all).trig_delete_old_table = old;
        (*all).trig_insert_new_table = new;
    }
}

impl Firing {
    /// Begins the write of one row; `columns` are those that an update changes.
    ///
    /// # Safety
    /// The target must be that of an open table, with only the triggers of users.
    pub unsafe fn begin(target: Target, guests: Guests, event: Event, columns: &[Column]) -> Self {
        let Target { result, estate, .. } = target;
        // SAFETY: the caller vouches for the target.
        unsafe {
            if guests.identity && event != Event::Insert {
                pg_sys::CheckCmdReplicaIdentity((*result).ri_RelationDesc, event.command());
            }
            let mut capture = ptr::null_mut();
            if guests.triggers {
                TIMES_FIRED.set(TIMES_FIRED.get() + 1);
                choose(result, event, columns);
                pg_sys::AfterTriggerBeginQuery();
                let table = (*(*result).ri_RelationDesc).rd_id;
                capture = pg_sys::MakeTransitionCaptureState((*result).ri_TrigDesc, table, event.command());
                match event {
                    Event::Insert => pg_sys::ExecBSInsertTriggers(estate, result),
                    Event::Update => pg_sys::ExecBSUpdateTriggers(estate, result),
                    Event::Delete => pg_sys::ExecBSDeleteTriggers(estate, result),
                }
            }
            Self { target, guests, event, capture }
        }
    }

    /// Checks a row before it is written.
    pub unsafe fn check(&self, row: pg_sys::HeapTuple) {
        if !self.guests.constraints {
            return;
        }
        let Target { result, estate, slot } = self.target;
        // SAFETY: the tuple outlives its stay in the slot.
        unsafe {
            pg_sys::ExecStoreHeapTuple(row, slot, false);
            pg_sys::ExecConstraints(result, slot, estate);
            pg_sys::ExecClearTuple(slot);
        }
    }

    /// Fires the triggers of an insert; `recheck` are the indexes with deferred constraints.
    pub unsafe fn has_inserted(&self, row: pg_sys::HeapTuple, recheck: *mut pg_sys::List) {
        if !self.guests.triggers {
            return;
        }
        let Target { result, estate, slot } = self.target;
        // SAFETY: the tuple outlives its stay in the slot.
        unsafe {
            pg_sys::ExecStoreHeapTuple(row, slot, false);
            pg_sys::ExecARInsertTriggers(estate, result, slot, recheck, self.capture);
            pg_sys::ExecClearTuple(slot);
        }
    }

    /// Fires the triggers of an update; the row at a place has a new version.
    pub unsafe fn has_updated(
        &self,
        mut old: pg_sys::ItemPointerData,
        new: pg_sys::HeapTuple,
        recheck: *mut pg_sys::List,
    ) {
        if !self.guests.triggers {
            return;
        }
        let Target { result, estate, slot } = self.target;
        // SAFETY: the tuple outlives its stay in the slot; the old version is still there.
        unsafe {
            pg_sys::ExecStoreHeapTuple(new, slot, false);
            pg_sys::ExecARUpdateTriggers(
                estate,
                result,
                ptr::null_mut(),
                ptr::null_mut(),
                &mut old,
                ptr::null_mut(),
                slot,
                recheck,
                self.capture,
                false,
            );
            pg_sys::ExecClearTuple(slot);
        }
    }

    /// Fires the triggers of a delete.
    pub unsafe fn has_deleted(&self, mut old: pg_sys::ItemPointerData) {
        if !self.guests.triggers {
            return;
        }
        // SAFETY: the version that was removed is still there.
        unsafe {
            pg_sys::ExecARDeleteTriggers(
                self.target.estate,
                self.target.result,
                &mut old,
                ptr::null_mut(),
                self.capture,
                false,
            );
        }
    }

    /// Runs the immediate triggers. Deferred ones run when the transaction says so.
    pub unsafe fn end(self) {
        if !self.guests.triggers {
            return;
        }
        let Target { result, estate, .. } = self.target;
        // SAFETY: begun in `begin`.
        unsafe {
            match self.event {
                Event::Insert => pg_sys::ExecASInsertTriggers(estate, result, self.capture),
                Event::Update => pg_sys::ExecASUpdateTriggers(estate, result, self.capture),
                Event::Delete => pg_sys::ExecASDeleteTriggers(estate, result, self.capture),
            }
            pg_sys::AfterTriggerEndQuery(estate);
        }
    }
}

impl Event {
    fn command(self) -> pg_sys::CmdType::Type {
        match self {
            Self::Insert => pg_sys::CmdType::CMD_INSERT,
            Self::Update => pg_sys::CmdType::CMD_UPDATE,
            Self::Delete => pg_sys::CmdType::CMD_DELETE,
        }
    }
}

/// Chooses the triggers of UPDATE OF columns that fire. Postgres would look for the columns in a statement,
/// and there is none. INSERT and DELETE fire such a trigger whatever an earlier update has chosen.
unsafe fn choose(result: *mut pg_sys::ResultRelInfo, event: Event, columns: &[Column]) {
    // SAFETY: the triggers are a copy of our own; each has as many columns as it says.
    unsafe {
        let (all, relation) = ((*result).ri_TrigDesc, (*result).ri_RelationDesc);
        for n in 0..(*all).numtriggers as usize {
            let (trigger, before) = ((*all).triggers.add(n), (*(*relation).trigdesc).triggers);
            let original = (0..(*(*relation).trigdesc).numtriggers as usize)
                .map(|n| before.add(n))
                .find(|before| (**before).tgoid == (*trigger).tgoid);
            let Some(original) = original.filter(|it| (**it).tgnattr > 0) else { continue };
            let named = std::slice::from_raw_parts((*original).tgattr, (*original).tgnattr as usize);
            let is_named = |&column: &Column| named.contains(&(column as i16 + 1));
            let fires = event != Event::Update || columns.iter().any(is_named);
            (*trigger).tgnattr = 0;
            // A trigger without events never fires.
            (*trigger).tgtype = if fires { (*original).tgtype } else { 0 };
        }
    }
}
