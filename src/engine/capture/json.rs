//! Rows as JSON, whatever values they have.
//!
//! `to_jsonb` refuses some values: `json` with \u0000, numbers beyond numeric's range, more than a jsonb
//! holds, and whatever a type's own cast to JSON raises. Such a value becomes its text. A value that is too
//! long even so is left out: the column is null then.

use std::ffi::CStr;
use std::ptr;

use pgrx::pg_sys::{self, Datum, Oid};

use crate::engine::table::statement::{Sees, Statement};
use crate::pg::datum::{array_with_nulls, jsonb_datum, text_array, text_datum};
use crate::pg::subtransaction::unless_refused;

static OBJECT: Statement = Statement::new(
    include_str!("../../../sql/query/object.sql"),
    &[pg_sys::TEXTARRAYOID, pg_sys::JSONBARRAYOID],
);

/// A size that no jsonb holds.
const TOO_LONG: usize = 256 << 20;

/// A row as a JSON object.
#[derive(Clone, Copy)]
pub struct Doc {
    pub json: Datum,
    /// Some of its values are left out: they are null.
    pub is_cut: bool,
}

impl Doc {
    pub fn len(&self) -> usize {
        // SAFETY: a jsonb.
        unsafe { pg_sys::toast_raw_datum_size(self.json) }
    }

    /// Whether two rows have the same values in these columns.
    pub fn has_same(&self, other: &Self, columns: &[Datum]) -> bool {
        columns.iter().all(|&name| match (self.get(name), other.get(name)) {
            // SAFETY: both are jsonb.
            (Some(one), Some(two)) => unsafe {
                pgrx::direct_function_call::<bool>(pg_sys::jsonb_eq, &[Some(one), Some(two)])
                    .expect("jsonb_eq gives a value")
            },
            (one, two) => one.is_none() && two.is_none(),
        })
    }

    fn get(&self, name: Datum) -> Option<Datum> {
        // SAFETY: a jsonb and a text.
        unsafe {
            pgrx::direct_function_call_as_datum(pg_sys::jsonb_object_field, &[Some(self.json), Some(name)])
        }
    }
}

/// A row as `to_jsonb` converts it. Raises what that raises.
pub fn whole(row: Datum) -> Doc {
    Doc { json: to_jsonb(row, pg_sys::RECORDOID), is_cut: false }
}

/// A row as a whole, or column by column if that is refused.
pub fn by_columns_if_refused(row: Datum) -> Doc {
    unless_refused(|| Ok(whole(row))).unwrap_or_else(|| by_columns(row, TOO_LONG))
}

/// A row without the values that are longer than `longest`, or that are refused even as text.
pub fn by_columns(row: Datum, longest: usize) -> Doc {
    let (mut names, mut values, mut is_cut) = (Vec::new(), Vec::new(), false);
    for (name, kind, value) in columns(row) {
        let json = value.and_then(|value| json_of(value, kind, longest));
        is_cut |= value.is_some() && json.is_none();
        names.push(name);
        values.push(json);
    }
    let names = text_array(names.iter().map(Vec::as_slice));
    let args = [Some(names), Some(array_with_nulls(values.into_iter(), pg_sys::JSONBOID))];
    Doc { json: results(&OBJECT, &args)[0], is_cut }
}

/// A value as JSON, else its text. None if it is too long.
fn json_of(value: Datum, kind: Oid, longest: usize) -> Option<Datum> {
    // SAFETY: the value is of this type.
    let len = unsafe { if pg_sys::get_typlen(kind) == -1 { pg_sys::toast_raw_datum_size(value) } else { 0 } };
    if len > longest {
        return None;
    }
    unless_refused(|| Ok(to_jsonb(value, kind)))
        .or_else(|| unless_refused(|| Ok(to_jsonb(text_of(value, kind), pg_sys::TEXTOID))))
}

fn text_of(value: Datum, kind: Oid) -> Datum {
    let (mut output, mut is_varlena) = (Oid::INVALID, false);
    // SAFETY: the value is of this type, whose output gives a C string.
    unsafe {
        pg_sys::getTypeOutputInfo(kind, &mut output, &mut is_varlena);
        text_datum(CStr::from_ptr(pg_sys::OidOutputFunctionCall(output, value)).to_bytes())
    }
}

/// The result of SQL's `to_jsonb(value)`.
fn to_jsonb(value: Datum, kind: Oid) -> Datum {
    // SAFETY: the function takes any type, which it reads from the expression it is called by; all
    // of that lives in the current memory context.
    unsafe {
        let argument = pg_sys::makeNullConst(kind, -1, Oid::INVALID);
        let call = pg_sys::makeFuncExpr(
            Oid::from(pg_sys::F_TO_JSONB),
            pg_sys::JSONBOID,
            pg_sys::lappend(ptr::null_mut(), argument.cast()),
            Oid::INVALID,
            Oid::INVALID,
            pg_sys::CoercionForm::COERCE_EXPLICIT_CALL,
        );
        let mut function = pg_sys::FmgrInfo::default();
        pg_sys::fmgr_info(Oid::from(pg_sys::F_TO_JSONB), &mut function);
        function.fn_expr = call.cast();
        pg_sys::FunctionCall1Coll(&mut function, Oid::INVALID, value)
    }
}

/// An object with the fields of another added.
pub fn joined(object: Datum, other: &str) -> Datum {
    // SAFETY: both are jsonb.
    unsafe {
        pgrx::direct_function_call_as_datum(pg_sys::jsonb_concat, &[Some(object), Some(jsonb_datum(other))])
    }
    .expect("jsonb_concat gives a value")
}

/// The columns of a row: their names, types and values.
fn columns(row: Datum) -> Vec<(Vec<u8>, Oid, Option<Datum>)> {
    // SAFETY: a row; its description is copied, and is that of its columns.
    unsafe {
        let header = pg_sys::pg_detoast_datum(row.cast_mut_ptr()).cast::<pg_sys::HeapTupleHeaderData>();
        let kind = pgrx::heap_tuple_header_get_type_id(header);
        let modifier = pgrx::heap_tuple_header_get_typmod(header);
        let descriptor = pg_sys::lookup_rowtype_tupdesc_copy(kind, modifier);
        let mut tuple = pg_sys::HeapTupleData {
            t_len: pgrx::heap_tuple_header_get_datum_length(header) as u32,
            t_data: header,
            ..Default::default()
        };
        let count = (*descriptor).natts as usize;
        let (mut values, mut nulls) = (vec![Datum::null(); count], vec![false; count]);
        pg_sys::heap_deform_tuple(&mut tuple, descriptor, values.as_mut_ptr(), nulls.as_mut_ptr());
        let columns = pgrx::PgTupleDesc::from_pg_unchecked(descriptor);
        (0..count)
            .filter_map(|n| columns.get(n).filter(|column| !column.attisdropped).map(|column| (n, column)))
            .map(|(n, column)| {
                let name = CStr::from_ptr(column.attname.data.as_ptr()).to_bytes().to_vec();
                (name, column.atttypid, (!nulls[n]).then(|| values[n]))
            })
            .collect()
    }
}

/// The first column of a statement's result, which is of a varlena type and never null.
pub fn results(statement: &'static Statement, args: &[Option<Datum>]) -> Vec<Datum> {
    // SAFETY: reads a variable.
    let context = unsafe { pg_sys::CurrentMemoryContext };
    let mut results = Vec::new();
    statement.run_seeing(Sees::Latest, args, |row| {
        // SAFETY: the value is copied into what was the current context.
        unsafe {
            let before = pg_sys::MemoryContextSwitchTo(context);
            results.push(pg_sys::pg_detoast_datum_copy(row.value(0).cast_mut_ptr()).into());
            pg_sys::MemoryContextSwitchTo(before);
        }
    });
    results
}
