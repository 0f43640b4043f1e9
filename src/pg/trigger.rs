//! The trigger that is being called: its table, its rows, its arguments.

use std::ffi::CStr;
use std::ptr;

use pgrx::pg_sys::{self, Datum, HeapTuple, Oid, TriggerData};

use crate::pg::datum::varlena_bytes;

/// A trigger, for as long as it is being called.
#[derive(Clone, Copy)]
pub struct Trigger<'a>(&'a TriggerData);

/// A row that a trigger is called for, and the descriptor of its table.
#[derive(Clone, Copy)]
pub struct TriggerRow<'a> {
    tuple: HeapTuple,
    trigger: Trigger<'a>,
}

impl<'a> Trigger<'a> {
    /// Returns the trigger of a call; none if the function is not called as a trigger.
    ///
    /// # Safety
    /// The call must be Postgres's, and outlive the trigger.
    pub unsafe fn of(call: pg_sys::FunctionCallInfo) -> Option<Self> {
        // SAFETY: the caller vouches for the call; a context, if there is one, says what it is.
        unsafe {
            let context = (*call).context;
            let is_trigger = !context.is_null() && (*context).type_ == pg_sys::NodeTag::T_TriggerData;
            is_trigger.then(|| Self(&*context.cast()))
        }
    }

    /// Returns the pointer that Postgres's functions take.
    pub fn data(self) -> *mut TriggerData {
        ptr::from_ref(self.0).cast_mut()
    }

    pub fn definition(self) -> &'a pg_sys::Trigger {
        // SAFETY: a trigger that is being called has its definition.
        unsafe { &*self.0.tg_trigger }
    }

    pub fn relation(self) -> &'a pg_sys::RelationData {
        // SAFETY: open for as long as the trigger is being called.
        unsafe { &*self.0.tg_relation }
    }

    pub fn table(self) -> Oid {
        self.relation().rd_id
    }

    pub fn owner_of_table(self) -> Oid {
        // SAFETY: the relation's entry is there while it is open.
        unsafe { (*self.relation().rd_rel).relowner }
    }

    pub fn is_for_each_row(self) -> bool {
        self.0.tg_event & pg_sys::TRIGGER_EVENT_ROW != 0
    }

    pub fn is_after(self) -> bool {
        self.0.tg_event & pg_sys::TRIGGER_EVENT_TIMINGMASK == pg_sys::TRIGGER_EVENT_AFTER
    }

    /// Returns the event: the number of INSERT, UPDATE, DELETE or TRUNCATE.
    pub fn event(self) -> u32 {
        self.0.tg_event & pg_sys::TRIGGER_EVENT_OPMASK
    }

    /// Returns the arguments in the trigger's definition.
    pub fn arguments(self) -> impl Iterator<Item = &'a CStr> {
        let definition = self.definition();
        // SAFETY: there are tgnargs C strings.
        (0..definition.tgnargs as usize).map(|n| unsafe { CStr::from_ptr(*definition.tgargs.add(n)) })
    }

    /// Returns the row that an INSERT or UPDATE writes; none for other events.
    pub fn new_row(self) -> Option<TriggerRow<'a>> {
        match self.event() {
            pg_sys::TRIGGER_EVENT_INSERT => self.row(self.0.tg_trigtuple),
            pg_sys::TRIGGER_EVENT_UPDATE => self.row(self.0.tg_newtuple),
            _ => None,
        }
    }

    /// Returns the row before an UPDATE or DELETE; none for other events.
    pub fn old_row(self) -> Option<TriggerRow<'a>> {
        match self.event() {
            pg_sys::TRIGGER_EVENT_UPDATE | pg_sys::TRIGGER_EVENT_DELETE => self.row(self.0.tg_trigtuple),
            _ => None,
        }
    }

    /// None in a statement trigger.
    fn row(self, tuple: HeapTuple) -> Option<TriggerRow<'a>> {
        (!tuple.is_null()).then_some(TriggerRow { tuple, trigger: self })
    }
}

impl TriggerRow<'_> {
    fn descriptor(self) -> pg_sys::TupleDesc {
        self.trigger.relation().rd_att
    }

    /// Returns all values, in the order of the table's columns.
    pub fn values(self) -> Vec<Option<Datum>> {
        // SAFETY: a row and its descriptor; both arrays have a place a column.
        unsafe {
            let mut values = vec![Datum::null(); (*self.descriptor()).natts as usize];
            let mut nulls = vec![true; values.len()];
            pg_sys::heap_deform_tuple(self.tuple, self.descriptor(), values.as_mut_ptr(), nulls.as_mut_ptr());
            values.iter().zip(&nulls).map(|(&value, &null)| (!null).then_some(value)).collect()
        }
    }

    /// Returns the row in the form that a trigger returns.
    pub fn datum(self) -> Datum {
        self.tuple.into()
    }

    /// Returns the number of a column, which must exist.
    fn number_of(self, column: &CStr) -> i32 {
        // SAFETY: a descriptor and a C string.
        let number = unsafe { pg_sys::SPI_fnumber(self.descriptor(), column.as_ptr()) };
        assert!(number > 0, "the table has a column {column:?}");
        number
    }

    fn value(self, column: &CStr, kind: Oid) -> Option<Datum> {
        let (number, mut null) = (self.number_of(column), false);
        // SAFETY: a row, its descriptor, and a column that is there.
        unsafe {
            assert_eq!(pg_sys::SPI_gettypeid(self.descriptor(), number), kind, "type of {column:?}");
            let value = pg_sys::heap_getattr(self.tuple, number, self.descriptor(), &mut null);
            (!null).then_some(value)
        }
    }

    /// Returns the value of a column of type `name`.
    pub fn name(self, column: &CStr) -> Option<Vec<u8>> {
        let name = self.value(column, pg_sys::NAMEOID)?;
        // SAFETY: a name is a C string; it is copied.
        Some(unsafe { CStr::from_ptr(name.cast_mut_ptr()) }.to_bytes().to_vec())
    }

    /// Returns the value of a column of type `text`.
    pub fn text(self, column: &CStr) -> Option<Vec<u8>> {
        // SAFETY: a text is a varlena.
        self.value(column, pg_sys::TEXTOID).map(|text| unsafe { varlena_bytes(text) })
    }

    /// Returns the value of a column of type `integer`.
    pub fn integer(self, column: &CStr) -> Option<i32> {
        self.value(column, pg_sys::INT4OID).map(|value| value.value() as i32)
    }

    /// Returns the value of a column of type `oid`.
    pub fn oid(self, column: &CStr) -> Option<Oid> {
        self.value(column, pg_sys::OIDOID).map(|oid| Oid::from(oid.value() as u32))
    }

    /// Returns the row, in the form that a trigger returns, with another value in a column of type `oid`.
    #[allow(clippy::unnecessary_mut_passed, reason = "from 18 on Postgres takes them as const")]
    pub fn with_oid(self, column: &CStr, value: Option<Oid>) -> Datum {
        let (mut number, mut null) = (self.number_of(column), value.is_none());
        let mut value = value.map_or(Datum::null(), Datum::from);
        // SAFETY: a row, its descriptor, and a column that is there.
        unsafe {
            pg_sys::heap_modify_tuple_by_cols(
                self.tuple,
                self.descriptor(),
                1,
                &mut number,
                &mut value,
                &mut null,
            )
            .into()
        }
    }
}
