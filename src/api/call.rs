//! A call from SQL: reads its arguments and returns its rows.
//!
//! `sql/schema` declares the functions of `src/api`, and Postgres calls them by its calling convention. A
//! payload keeps the datum it came in; no code in between converts it.

use std::ops::ControlFlow;

use pgrx::pg_sys::{self, Datum, Oid};

use crate::engine::table::name::Name;
use crate::error::{self, Error, Result};
use crate::pg::argument::{Argument, JsonbArray, bad_span, check_elements};
use crate::pg::datum::{Jsonb, beginning, length};
use crate::pg::json_objects::{self, Field};
use crate::pg::memory::collected;
use crate::pg::trigger::Trigger;
use crate::value::duration::Millis;

/// Result of a function of `src/api`.
pub type Answer = Result<Option<Datum>>;

/// The arguments of one call from SQL.
pub struct Call {
    fcinfo: pg_sys::FunctionCallInfo,
}

/// Exports functions of `src/api` under their own names to Postgres.
#[macro_export]
macro_rules! export_to_sql {
    ($($function:ident),* $(,)?) => {
        mod exported {
            $(
                #[unsafe(no_mangle)]
                pub unsafe extern "C-unwind" fn $function(
                    fcinfo: pgrx::pg_sys::FunctionCallInfo,
                ) -> pgrx::pg_sys::Datum {
                    #[pgrx::pg_guard]
                    unsafe extern "C-unwind" fn guarded(
                        fcinfo: pgrx::pg_sys::FunctionCallInfo,
                    ) -> pgrx::pg_sys::Datum {
                        // SAFETY: Postgres hands every function a valid call.
                        unsafe { $crate::api::call::answer(fcinfo, super::$function) }
                    }
                    // SAFETY: the same call. Nothing else is in this frame.
                    unsafe { $crate::pg::error_details::keeping(guarded, fcinfo) }
                }

                pastey::paste! {
                    #[unsafe(no_mangle)]
                    pub extern "C" fn [<pg_finfo_ $function>]() -> &'static pgrx::pg_sys::Pg_finfo_record {
                        &pgrx::pg_sys::Pg_finfo_record { api_version: 1 }
                    }
                }
            )*
        }
    };
}

/// Runs `function` for a call from Postgres: raises its error, returns its answer.
///
/// # Safety
/// `fcinfo` must be the call Postgres made.
pub unsafe fn answer(fcinfo: pg_sys::FunctionCallInfo, function: fn(&Call) -> Answer) -> Datum {
    match error::with_printable_errors(|| function(&Call { fcinfo })) {
        Ok(Some(datum)) => datum,
        Ok(None) => {
            // SAFETY: the caller vouches for fcinfo.
            unsafe { (*fcinfo).isnull = true };
            Datum::null()
        }
        Err(error) => error.raise(),
    }
}

impl Call {
    fn argument(&self, n: usize) -> Option<Datum> {
        // SAFETY: fcinfo is Postgres's, with nargs arguments behind it.
        let args = unsafe { (*self.fcinfo).args.as_slice((*self.fcinfo).nargs as usize) };
        let arg = args.get(n)?;
        (!arg.isnull).then_some(arg.value)
    }

    /// Reads an argument that may be null.
    pub fn optional<T: Argument>(&self, n: usize, name: &str) -> Result<Option<T>> {
        self.argument(n)
            // SAFETY: `sql/schema` declares the argument with the type that T reads.
            .map(|datum| unsafe { T::read(datum, name) })
            .transpose()
    }

    /// Reads an argument that must not be null.
    pub fn required<T: Argument>(&self, n: usize, name: &str) -> Result<T> {
        self.optional(n, name)?.ok_or_else(|| Error::null(name))
    }

    /// Reads a jsonb, or null.
    pub fn jsonb(&self, n: usize) -> Option<Jsonb<'_>> {
        // SAFETY: `sql/schema` declares the argument as jsonb; arguments outlive their call.
        self.argument(n).map(|datum| unsafe { Jsonb::new(datum) })
    }

    /// Reads a `jsonb[]`, or null.
    pub fn jsonb_array(&self, n: usize, argument: &str) -> Result<Option<Vec<Option<Jsonb<'_>>>>> {
        let Some(JsonbArray(elements)) = self.optional(n, argument)? else { return Ok(None) };
        // SAFETY: elements of a jsonb array, which lie in the memory of the call.
        let jsonb = |element: Datum| unsafe { Jsonb::new(element) };
        Ok(Some(collected(elements.into_iter().map(|element| element.map(jsonb)))))
    }

    /// Reads a name or a key: 1 to 512 bytes.
    pub fn name(&self, n: usize, argument: &str) -> Result<Name> {
        Name::check(self.required(n, argument)?, argument)
    }

    /// Reads a name or key that may be null.
    pub fn optional_name(&self, n: usize, argument: &str) -> Result<Option<Name>> {
        self.optional(n, argument)?.map(|bytes| Name::check(bytes, argument)).transpose()
    }

    /// Reads a span of time greater than zero, or null.
    pub fn span(&self, n: usize, argument: &str) -> Result<Option<Millis>> {
        self.optional::<Millis>(n, argument)?
            .map(|span| span.positive().map_err(|bad| bad_span(argument, bad)))
            .transpose()
    }

    /// Reads a text that must not be null and has at most `most` bytes in the encoding of the server.
    pub fn short(&self, n: usize, argument: &str, most: usize) -> Result<Vec<u8>> {
        self.check_length(n, argument, most)?;
        self.required(n, argument)
    }

    /// Returns an error if a text or jsonb has more than `most` bytes.
    pub fn check_length(&self, n: usize, argument: &str, most: usize) -> Result<()> {
        // SAFETY: `sql/schema` declares the argument with a type of variable length.
        let length = self.argument(n).map_or(0, |value| unsafe { length(value) });
        if length > most {
            return Err(Error::text_too_long(argument, length, most));
        }
        Ok(())
    }

    /// Like `short`, for a text that is compared with keywords.
    pub fn short_text(&self, n: usize, argument: &str, most: usize) -> Result<String> {
        Ok(String::from_utf8_lossy(&self.short(n, argument, most)?).into_owned())
    }

    /// Reads a text that must not be null. A longer one is cut after `most` bytes, and its length is
    /// appended.
    pub fn beginning(&self, n: usize, argument: &str, most: usize) -> Result<Datum> {
        let text: Datum = self.required(n, argument)?;
        // SAFETY: `sql/schema` declares the argument as text.
        Ok(unsafe { beginning(text, most) })
    }

    /// Reads a maximum number of messages: 1 or more. Values beyond an integer's range mean all.
    pub fn max(&self, n: usize, argument: &str) -> Result<usize> {
        let max: i64 = self.required(n, argument)?;
        if max < 1 {
            return Err(Error::invalid(argument, "must be 1 or more", "Ask for at least one message."));
        }
        Ok(max.min(i64::from(i32::MAX)) as usize)
    }

    /// Calls `each` with the number, from 1, and the fields of each object of a jsonb array that must not be null.
    pub fn each_object(
        &self,
        n: usize,
        argument: &str,
        most_fields: usize,
        mut each: impl FnMut(usize, &[Field]) -> Result<()>,
    ) -> Result<()> {
        let array: Datum = self.required(n, argument)?;
        let hint = "Pass a JSON array such as [{\"payload\": 1, \"delay\": \"10 min\"}, {\"payload\": 2}].";
        // SAFETY: `sql/schema` declares the argument as jsonb; arguments outlive their call.
        let Some(count) = (unsafe { json_objects::elements(array) }) else {
            return Err(Error::invalid(argument, "must be an array of objects", hint));
        };
        check_elements(argument, count)?;
        let mut number = 0;
        // SAFETY: as above; it is an array.
        let end = unsafe {
            json_objects::each_object(array, most_fields, |object| {
                number += 1;
                let read = match object {
                    Ok(fields) => each(number, fields),
                    Err(_) => Err(Error::invalid(
                        argument,
                        format!("must be an array of objects: element {number} is none"),
                        hint,
                    )),
                };
                read.map_or_else(ControlFlow::Break, ControlFlow::Continue)
            })
        };
        match end {
            ControlFlow::Break(error) => Err(error),
            ControlFlow::Continue(()) => Ok(()),
        }
    }

    pub fn is_null(&self, n: usize) -> bool {
        self.argument(n).is_none()
    }

    /// Returns the trigger that is being called; an error in any other call.
    pub fn trigger(&self) -> Result<Trigger<'_>> {
        self.trigger_if_it_is_one().ok_or_else(Error::not_a_trigger)
    }

    pub fn trigger_if_it_is_one(&self) -> Option<Trigger<'_>> {
        // SAFETY: fcinfo is Postgres's, and outlives this.
        unsafe { Trigger::of(self.fcinfo) }
    }

    /// Returns the trigger that is being called; an error unless it is a trigger of `table`.
    pub fn trigger_of(&self, table: Oid) -> Result<Trigger<'_>> {
        let trigger = self.trigger()?;
        if trigger.table() == table { Ok(trigger) } else { Err(Error::not_a_trigger()) }
    }

    /// Makes the answer of a procedure with output parameters.
    pub fn record(&self, values: &[Option<Datum>]) -> Datum {
        let mut nulls: Vec<bool> = values.iter().map(Option::is_none).collect();
        let mut values: Vec<Datum> = values.iter().map(|value| value.unwrap_or(Datum::null())).collect();
        // SAFETY: fcinfo is Postgres's; the arrays have as many elements as the descriptor columns.
        unsafe {
            let descriptor = pg_sys::BlessTupleDesc(row_descriptor(self.fcinfo));
            assert_eq!(values.len(), (*descriptor).natts as usize, "as many values as output parameters");
            let tuple = pg_sys::heap_form_tuple(descriptor, values.as_mut_ptr(), nulls.as_mut_ptr());
            pg_sys::HeapTupleHeaderGetDatum((*tuple).t_data)
        }
    }

    /// Begins the answer of a set-returning function. Only once a call.
    pub fn rows(&self) -> Result<Rows> {
        // SAFETY: fcinfo is Postgres's; rows() is called once a call.
        unsafe { Rows::begin(self.fcinfo) }
    }
}

/// Rows of a set-returning function's answer, in a tuplestore.
pub struct Rows {
    store: *mut pg_sys::Tuplestorestate,
    descriptor: pg_sys::TupleDesc,
    columns: usize,
}

impl Rows {
    unsafe fn begin(fcinfo: pg_sys::FunctionCallInfo) -> Result<Self> {
        // SAFETY: fcinfo is Postgres's. For a set-returning function called in a
        // place that takes sets, resultinfo is a ReturnSetInfo whose query context
        // outlives the call; all that must outlive it is allocated there.
        unsafe {
            let info = (*fcinfo).resultinfo.cast::<pg_sys::ReturnSetInfo>();
            if info.is_null()
                || (*info).type_ != pg_sys::NodeTag::T_ReturnSetInfo
                || (*info).allowedModes as u32 & pg_sys::SetFunctionReturnMode::SFRM_Materialize == 0
            {
                return Err(Error::no_set_here());
            }
            let random =
                (*info).allowedModes as u32 & pg_sys::SetFunctionReturnMode::SFRM_Materialize_Random != 0;
            let before = pg_sys::MemoryContextSwitchTo((*(*info).econtext).ecxt_per_query_memory);
            let descriptor = row_descriptor(fcinfo);
            let store = pg_sys::tuplestore_begin_heap(random, false, pg_sys::work_mem);
            pg_sys::MemoryContextSwitchTo(before);
            (*info).returnMode = pg_sys::SetFunctionReturnMode::SFRM_Materialize;
            (*info).setResult = store;
            (*info).setDesc = descriptor;
            Ok(Self { store, descriptor, columns: (*descriptor).natts as usize })
        }
    }

    /// Adds a row; the values are copied.
    pub fn push(&mut self, row: &[Option<Datum>]) {
        assert_eq!(row.len(), self.columns, "a row has as many values as its declaration columns");
        let mut values: Vec<Datum> = row.iter().map(|value| value.unwrap_or(Datum::null())).collect();
        let mut nulls: Vec<bool> = row.iter().map(Option::is_none).collect();
        // SAFETY: both arrays have as many elements as the descriptor columns.
        unsafe {
            pg_sys::tuplestore_putvalues(
                self.store,
                self.descriptor,
                values.as_mut_ptr(),
                nulls.as_mut_ptr(),
            );
        }
    }

    /// Returns the answer of a function that has returned its rows.
    pub fn done(self) -> Answer {
        Ok(None)
    }
}

/// Returns the declared columns; one nameless column for `SETOF bigint`.
unsafe fn row_descriptor(fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::TupleDesc {
    // SAFETY: fcinfo is Postgres's; the descriptor is a copy of our own.
    unsafe {
        let mut result_type = Oid::INVALID;
        let mut descriptor = std::ptr::null_mut();
        let class = pg_sys::get_call_result_type(fcinfo, &mut result_type, &mut descriptor);
        if class == pg_sys::TypeFuncClass::TYPEFUNC_COMPOSITE {
            return pg_sys::CreateTupleDescCopy(descriptor);
        }
        let descriptor = pg_sys::CreateTemplateTupleDesc(1);
        pg_sys::TupleDescInitEntry(descriptor, 1, c"value".as_ptr(), result_type, -1, 0);
        descriptor
    }
}
