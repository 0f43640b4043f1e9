//! Rows as JSON, whatever values they have.
//!
//! A value is written as SQL's `to_jsonb` converts it. Values of common types are written directly (`Form`), the
//! same under all settings; others by `to_jsonb` itself, under `act_plainly`. That refuses some values: `json` with \u0000, more
//! than a jsonb holds, and whatever a type's own cast to JSON raises. Such a value becomes its text. A value
//! that is too long even so is left out: the column is null then.

use std::ffi::{CStr, c_char};
use std::ops::Range;
use std::ptr;

use pgrx::pg_sys::{self, Datum, Oid};

use crate::engine::capture::jsonb::{Kind, LONGEST, Object, Value, order_of_keys};
use crate::pg::datum::text_datum;
use crate::pg::memory::room_for;
use crate::pg::subtransaction::unless_refused;

/// The values of a row, in the order of the table's columns.
pub type Row = Vec<Option<Datum>>;

/// How a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Bool,
    Int2,
    Int4,
    Int8,
    /// With the output function of the type, whose digits depend on `extra_float_digits`.
    Float(Oid),
    Numeric,
    /// A varlena whose content is its text.
    Text,
    Bytes,
    Moment(Oid),
    Jsonb,
    /// By the output function of a type whose text depends on no setting.
    Output(Oid),
    /// By `to_jsonb`.
    Other,
}

/// Types whose text depends on no setting.
const OUTPUT: [Oid; 12] = [
    pg_sys::CHAROID,
    pg_sys::NAMEOID,
    pg_sys::OIDOID,
    pg_sys::XIDOID,
    pg_sys::UUIDOID,
    pg_sys::INETOID,
    pg_sys::CIDROID,
    pg_sys::MACADDROID,
    pg_sys::MACADDR8OID,
    pg_sys::BITOID,
    pg_sys::VARBITOID,
    pg_sys::TIMEOID,
];

impl Form {
    fn of(kind: Oid) -> Self {
        // SAFETY: cached look-ups of a type that exists.
        let kind = unsafe { pg_sys::getBaseType(kind) };
        match kind {
            pg_sys::BOOLOID => Self::Bool,
            pg_sys::INT2OID => Self::Int2,
            pg_sys::INT4OID => Self::Int4,
            pg_sys::INT8OID => Self::Int8,
            pg_sys::FLOAT4OID | pg_sys::FLOAT8OID => Self::Float(output_of(kind)),
            pg_sys::NUMERICOID => Self::Numeric,
            pg_sys::TEXTOID | pg_sys::VARCHAROID | pg_sys::BPCHAROID => Self::Text,
            pg_sys::BYTEAOID => Self::Bytes,
            pg_sys::DATEOID | pg_sys::TIMESTAMPOID | pg_sys::TIMESTAMPTZOID => Self::Moment(kind),
            pg_sys::JSONBOID => Self::Jsonb,
            _ if OUTPUT.contains(&kind) || is_enum_without_cast(kind) => Self::Output(output_of(kind)),
            _ => Self::Other,
        }
    }
}

fn output_of(kind: Oid) -> Oid {
    let (mut output, mut is_varlena) = (Oid::INVALID, false);
    // SAFETY: a cached look-up.
    unsafe { pg_sys::getTypeOutputInfo(kind, &mut output, &mut is_varlena) };
    output
}

/// Whether a type is an enum that `to_jsonb` writes as text.
fn is_enum_without_cast(kind: Oid) -> bool {
    let mut function = Oid::INVALID;
    // SAFETY: cached look-ups.
    unsafe {
        pg_sys::type_is_enum(kind)
            && pg_sys::find_coercion_pathway(
                pg_sys::JSONOID,
                kind,
                pg_sys::CoercionContext::COERCION_EXPLICIT,
                &mut function,
            ) != pg_sys::CoercionPathType::COERCION_PATH_FUNC
    }
}

struct Column {
    name: Vec<u8>,
    /// Its place in the rows.
    place: usize,
    kind: Oid,
    /// Of variable length.
    is_varlena: bool,
    form: Form,
}

/// The columns of a table, in the order of their keys in an object.
pub struct Shape {
    columns: Vec<Column>,
    has_other: bool,
    has_float: bool,
}

/// A row as a JSON object, and where its values stand.
pub struct Doc {
    pub bytes: Vec<u8>,
    values: Vec<(Kind, Range<usize>)>,
    /// Some of its values are left out: they are null.
    pub is_cut: bool,
}

impl Doc {
    /// The value of a column, by its number in the shape.
    pub fn value(&self, column: usize) -> Value<'_> {
        let (kind, place) = &self.values[column];
        Value { kind: *kind, bytes: &self.bytes[place.clone()] }
    }

    pub fn container(&self) -> Value<'_> {
        Value { kind: Kind::Container, bytes: &self.bytes }
    }
}

impl Shape {
    /// The shape of rows with this descriptor.
    ///
    /// # Safety
    /// The descriptor must be valid.
    pub unsafe fn of(descriptor: pg_sys::TupleDesc) -> Self {
        // SAFETY: the caller vouches for the descriptor; names are copied.
        let described = unsafe { pgrx::PgTupleDesc::from_pg_copy(descriptor) };
        let mut columns: Vec<_> = (0..described.len())
            .filter_map(|n| described.get(n).filter(|column| !column.attisdropped).map(|column| (n, column)))
            .map(|(place, column)| Column {
                // SAFETY: a name is a C string.
                name: unsafe { CStr::from_ptr(column.attname.data.as_ptr()) }.to_bytes().to_vec(),
                place,
                kind: column.atttypid,
                is_varlena: column.attlen == -1,
                form: Form::of(column.atttypid),
            })
            .collect();
        columns.sort_by(|one, other| order_of_keys(&one.name, &other.name));
        let has = |is: fn(Form) -> bool| columns.iter().any(|column| is(column.form));
        let has_other = has(|form| form == Form::Other);
        let has_float = has(|form| matches!(form, Form::Float(_)));
        Self { columns, has_other, has_float }
    }

    /// The number of a column.
    pub fn number_of(&self, name: &[u8]) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }

    pub fn name_of(&self, column: usize) -> &[u8] {
        &self.columns[column].name
    }

    /// Whether the text of a value depends on no setting of this session, and no value raises.
    pub fn is_plain(&self) -> bool {
        // SAFETY: reads a setting.
        let rounds_floats = unsafe { pg_sys::extra_float_digits } < 1;
        let depends = self.has_other || (self.has_float && rounds_floats);
        !depends
    }

    fn begin(&self) -> Object {
        let names: Vec<_> = self.columns.iter().map(|column| column.name.as_slice()).collect();
        Object::begin(&names)
    }

    /// Writes a row as `to_jsonb` converts it, and raises what that raises. None if it is too long for a jsonb.
    pub fn whole(&self, row: &Row) -> Option<Doc> {
        let length = |column: &Column| row[column.place].map_or(0, |value| column.length(value));
        if self.columns.iter().map(length).sum::<usize>() > LONGEST {
            return None;
        }
        self.write(row, |column, value, add| column.write(value, add))
    }

    /// Writes a row without the values that are longer than `longest`, or that are refused even as text.
    pub fn by_columns(&self, row: &Row, longest: usize) -> Option<Doc> {
        self.write(row, |column, value, add| {
            column.length(value) <= longest
                && match column.form {
                    Form::Other => column.write_somehow(value, add),
                    _ => column.write(value, add),
                }
        })
    }

    /// Writes a row with `write`, which adds a value, or returns false if that is to be left out.
    fn write(&self, row: &Row, write: impl Fn(&Column, Datum, &mut dyn FnMut(Value)) -> bool) -> Option<Doc> {
        let (mut object, mut is_cut) = (self.begin(), false);
        let mut values = Vec::with_capacity(self.columns.len());
        for column in &self.columns {
            let mut add = |value: Value| values.push((value.kind, object.add(value)));
            match row[column.place] {
                Some(value) if write(column, value, &mut add) => {}
                value => {
                    is_cut |= value.is_some();
                    add(Value::NULL);
                }
            }
        }
        object.end().map(|bytes| Doc { bytes, values, is_cut })
    }
}

impl Column {
    /// The length of a value of variable length, without detoasting it.
    fn length(&self, value: Datum) -> usize {
        // SAFETY: the value is of this type.
        if self.is_varlena { unsafe { pg_sys::toast_raw_datum_size(value) } } else { 0 }
    }

    /// Adds a value as `to_jsonb` converts it; false, and adds nothing, if it is too long.
    fn write(&self, value: Datum, add: &mut dyn FnMut(Value)) -> bool {
        match self.form {
            Form::Bool => add(Value::bool(value.value() & 0xff != 0)),
            Form::Int2 => add_integer(i64::from(value.value() as i16), add),
            Form::Int4 => add_integer(i64::from(value.value() as i32), add),
            Form::Int8 => add_integer(value.value() as i64, add),
            Form::Numeric => add_numeric(value, add),
            Form::Float(output) => add_number(output, value, add),
            Form::Text => return add_text(varlena(value), add),
            Form::Bytes => return add_bytes(varlena(value), add),
            Form::Moment(kind) => add_moment(value, kind, add),
            Form::Jsonb => add(Value::of_jsonb(varlena(value))),
            Form::Output(output) => return add_text(text_of(output, value).to_bytes(), add),
            Form::Other => add(Value::of_jsonb(varlena(to_jsonb(value, self.kind)))),
        }
        true
    }

    /// Adds a value as `to_jsonb` converts it, or its text if that is refused; false if it is too long.
    fn write_somehow(&self, value: Datum, add: &mut dyn FnMut(Value)) -> bool {
        let as_text =
            || to_jsonb(text_datum(text_of(output_of(self.kind), value).to_bytes()), pg_sys::TEXTOID);
        let json =
            unless_refused(|| Ok(to_jsonb(value, self.kind))).or_else(|| unless_refused(|| Ok(as_text())));
        json.is_some_and(|json| {
            add(Value::of_jsonb(varlena(json)));
            true
        })
    }
}

/// The content of a varlena, detoasted in the current memory context.
fn varlena<'a>(value: Datum) -> &'a [u8] {
    // SAFETY: the callers give a value of a type of variable length; the context is not reset while a row is
    // being written.
    unsafe {
        let value = pg_sys::pg_detoast_datum_packed(value.cast_mut_ptr());
        std::slice::from_raw_parts(pgrx::vardata_any(value).cast(), pgrx::varsize_any_exhdr(value))
    }
}

fn add_text(text: &[u8], add: &mut dyn FnMut(Value)) -> bool {
    let fits = text.len() <= LONGEST;
    if fits {
        add(Value::text(text));
    }
    fits
}

/// Adds a bytea, in hexadecimal.
fn add_bytes(bytes: &[u8], add: &mut dyn FnMut(Value)) -> bool {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let length = 2 + 2 * bytes.len();
    if length > LONGEST {
        return false;
    }
    let mut text = Vec::new();
    room_for(&mut text, length);
    text.extend(b"\\x");
    for byte in bytes {
        text.extend([DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
    add(Value::text(&text));
    true
}

fn add_integer(value: i64, add: &mut dyn FnMut(Value)) {
    // SAFETY: gives a new numeric.
    let numeric = unsafe { pg_sys::int64_to_numeric(value) };
    add_finite(numeric, add);
}

fn add_numeric(value: Datum, add: &mut dyn FnMut(Value)) {
    // SAFETY: the value is a numeric.
    let numeric = unsafe { pg_sys::pg_detoast_datum(value.cast_mut_ptr()) }.cast();
    // SAFETY: as above.
    if unsafe { pg_sys::numeric_is_nan(numeric) || pg_sys::numeric_is_inf(numeric) } {
        return add(Value::text(text_of(pg_sys::F_NUMERIC_OUT.into(), value).to_bytes()));
    }
    add_finite(numeric, add);
}

fn add_finite(numeric: pg_sys::Numeric, add: &mut dyn FnMut(Value)) {
    // SAFETY: a numeric with the header of a long varlena.
    let bytes =
        unsafe { std::slice::from_raw_parts(numeric.cast::<u8>(), pgrx::varsize_any(numeric.cast())) };
    add(Value { kind: Kind::Numeric, bytes });
}

/// Adds a number by its text. Numbers that JSON lacks are text.
fn add_number(output: Oid, value: Datum, add: &mut dyn FnMut(Value)) {
    let text = text_of(output, value);
    if text.to_bytes().iter().any(|letter| matches!(letter, b'n' | b'N')) {
        return add(Value::text(text.to_bytes()));
    }
    let args = [Some(text.as_ptr().into()), Some(Oid::INVALID.into()), Some(Datum::from(-1i32))];
    // SAFETY: the input function of numeric takes a C string, a type and a modifier.
    let numeric: Datum = unsafe { pgrx::direct_function_call_as_datum(pg_sys::numeric_in, &args) }
        .expect("numeric_in gives a value");
    add_finite(numeric.cast_mut_ptr(), add);
}

/// Adds a date or timestamp, in UTC.
fn add_moment(value: Datum, kind: Oid, add: &mut dyn FnMut(Value)) {
    const MOST: usize = 129; // MAXDATELEN and a NUL
    let (mut text, utc) = ([0 as c_char; MOST], 0);
    // SAFETY: the buffer is as long as the function needs; it gets a C string.
    let text = unsafe {
        pg_sys::JsonEncodeDateTime(text.as_mut_ptr(), value, kind, &utc);
        CStr::from_ptr(text.as_ptr())
    };
    add(Value::text(text.to_bytes()));
}

fn text_of<'a>(output: Oid, value: Datum) -> &'a CStr {
    // SAFETY: the value is of the type of this output function, which gives a C string in the current context.
    unsafe { CStr::from_ptr(pg_sys::OidOutputFunctionCall(output, value)) }
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

/// The values of a row that is a composite value.
///
/// # Safety
/// The datum must be one.
pub unsafe fn values_of(row: Datum) -> Row {
    // SAFETY: the caller vouches for the row; its description is that of its columns.
    unsafe {
        let header = pg_sys::pg_detoast_datum(row.cast_mut_ptr()).cast::<pg_sys::HeapTupleHeaderData>();
        let kind = pgrx::heap_tuple_header_get_type_id(header);
        let modifier = pgrx::heap_tuple_header_get_typmod(header);
        let descriptor = pg_sys::lookup_rowtype_tupdesc(kind, modifier);
        let mut tuple = pg_sys::HeapTupleData {
            t_len: pgrx::heap_tuple_header_get_datum_length(header) as u32,
            t_data: header,
            ..Default::default()
        };
        let count = (*descriptor).natts as usize;
        let (mut values, mut nulls) = (vec![Datum::null(); count], vec![false; count]);
        pg_sys::heap_deform_tuple(&mut tuple, descriptor, values.as_mut_ptr(), nulls.as_mut_ptr());
        if (*descriptor).tdrefcount >= 0 {
            pg_sys::DecrTupleDescRefCount(descriptor);
        }
        values.iter().zip(&nulls).map(|(&value, &null)| (!null).then_some(value)).collect()
    }
}
