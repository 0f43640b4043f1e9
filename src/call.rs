//! A call from SQL: reading its arguments and returning its rows.
//!
//! The functions of `src/api` are declared in `sql/schema` and arrive here with
//! Postgres's calling convention. Payloads travel as the datums they came in;
//! nothing in between turns them into another representation.

use std::ffi::{CStr, CString};

use pgrx::pg_sys::{self, Datum, Oid};

use crate::error::{self, Error, Result};
use crate::value::duration::{BadSpan, Millis};

/// Longest queue name or key, in bytes.
pub const LONGEST_NAME: usize = 512;

/// A moment as Postgres counts it: microseconds since 2000-01-01 UTC.
pub use crate::hint::Timestamp;

/// What a function of `src/api` returns.
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
                        unsafe { $crate::call::answer(fcinfo, super::$function) }
                    }
                    // SAFETY: the same call. Nothing else is in this frame.
                    unsafe { $crate::error_details::keeping(guarded, fcinfo) }
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

    /// An argument that may be null.
    pub fn optional<T: Argument>(&self, n: usize, name: &str) -> Result<Option<T>> {
        self.argument(n)
            // SAFETY: `sql/schema` declares the argument with the type that T reads.
            .map(|datum| unsafe { T::read(datum, name) })
            .transpose()
    }

    /// An argument that must not be null.
    pub fn required<T: Argument>(&self, n: usize, name: &str) -> Result<T> {
        self.optional(n, name)?.ok_or_else(|| Error::null(name))
    }

    /// A queue's name or a key: 1 to 512 bytes.
    pub fn name(&self, n: usize, argument: &str) -> Result<Name> {
        Name::check(self.required(n, argument)?, argument)
    }

    /// The same, or null.
    pub fn optional_name(&self, n: usize, argument: &str) -> Result<Option<Name>> {
        self.optional(n, argument)?.map(|bytes| Name::check(bytes, argument)).transpose()
    }

    /// A span of time greater than zero.
    pub fn span(&self, n: usize, argument: &str) -> Result<Option<Millis>> {
        self.optional::<Millis>(n, argument)?
            .map(|span| span.positive().map_err(|bad| bad_span(argument, bad)))
            .transpose()
    }

    /// A text that must not be null, and has a longest length in bytes, in the encoding of the server.
    pub fn short(&self, n: usize, argument: &str, most: usize) -> Result<Vec<u8>> {
        self.check_length(n, argument, most)?;
        self.required(n, argument)
    }

    /// An error if a text or jsonb is longer than that.
    pub fn check_length(&self, n: usize, argument: &str, most: usize) -> Result<()> {
        // SAFETY: `sql/schema` declares the argument with a type of variable length.
        let length = self.argument(n).map_or(0, |value| unsafe { length(value) });
        if length > most {
            return Err(Error::text_too_long(argument, length, most));
        }
        Ok(())
    }

    /// The same, for what is compared with words of ours.
    pub fn short_text(&self, n: usize, argument: &str, most: usize) -> Result<String> {
        Ok(String::from_utf8_lossy(&self.short(n, argument, most)?).into_owned())
    }

    /// A text that must not be null; of a longer one the first `most` bytes, and its length.
    pub fn beginning(&self, n: usize, argument: &str, most: usize) -> Result<Datum> {
        let text: Datum = self.required(n, argument)?;
        // SAFETY: `sql/schema` declares the argument as text.
        Ok(unsafe { beginning(text, most) })
    }

    /// How many messages at most: 1 or more. More than an integer holds are as good as all.
    pub fn max(&self, n: usize, argument: &str) -> Result<usize> {
        let max: i64 = self.required(n, argument)?;
        if max < 1 {
            return Err(Error::invalid(argument, "must be 1 or more", "Ask for at least one message."));
        }
        Ok(max.min(i64::from(i32::MAX)) as usize)
    }

    pub fn is_null(&self, n: usize) -> bool {
        self.argument(n).is_none()
    }

    /// The data of the trigger that is being called, by functions that are nothing else.
    pub fn trigger(&self) -> *mut pg_sys::TriggerData {
        self.trigger_data().unwrap_or_else(|| Error::not_a_trigger().raise())
    }

    /// The row a row trigger is called for, as it is now.
    pub fn new_row(&self) -> Vec<Option<Datum>> {
        // SAFETY: Postgres's; an UPDATE's new row is the second.
        unsafe {
            let trigger = self.trigger();
            let row = if self.is_for(pg_sys::TRIGGER_EVENT_UPDATE) {
                (*trigger).tg_newtuple
            } else {
                (*trigger).tg_trigtuple
            };
            deform(row, (*(*trigger).tg_relation).rd_att)
        }
    }

    /// The row as it was before an UPDATE or DELETE.
    pub fn old_row(&self) -> Option<Vec<Option<Datum>>> {
        // SAFETY: Postgres's; an INSERT has no old row.
        unsafe {
            let trigger = self.trigger();
            (!self.is_for(pg_sys::TRIGGER_EVENT_INSERT))
                .then(|| deform((*trigger).tg_trigtuple, (*(*trigger).tg_relation).rd_att))
        }
    }

    fn is_for(&self, event: u32) -> bool {
        // SAFETY: Postgres's.
        unsafe { (*self.trigger()).tg_event & pg_sys::TRIGGER_EVENT_OPMASK == event }
    }

    /// The data of a trigger; none if this is another call.
    pub fn trigger_data(&self) -> Option<*mut pg_sys::TriggerData> {
        // SAFETY: fcinfo is Postgres's; a context, if there is one, says what it is.
        unsafe {
            let context = (*self.fcinfo).context;
            (!context.is_null() && (*context).type_ == pg_sys::NodeTag::T_TriggerData).then(|| context.cast())
        }
    }

    /// Begins the answer of a set-returning function.
    pub fn rows(&self) -> Result<Rows> {
        // SAFETY: fcinfo is Postgres's; rows() is called once a call.
        unsafe { Rows::begin(self.fcinfo) }
    }
}

/// A value that can be read from an argument.
pub trait Argument: Sized {
    /// # Safety
    /// The datum must be of the SQL type that is read.
    unsafe fn read(datum: Datum, name: &str) -> Result<Self>;
}

impl Argument for i64 {
    unsafe fn read(datum: Datum, _: &str) -> Result<Self> {
        Ok(datum.value() as i64)
    }
}

impl Argument for Oid {
    unsafe fn read(datum: Datum, _: &str) -> Result<Self> {
        Ok(Oid::from(datum.value() as u32))
    }
}

impl Argument for bool {
    unsafe fn read(datum: Datum, _: &str) -> Result<Self> {
        Ok(datum.value() & 0xff != 0)
    }
}

/// Any value, as it came.
impl Argument for Datum {
    unsafe fn read(datum: Datum, _: &str) -> Result<Self> {
        Ok(datum)
    }
}

/// `text`, in the encoding of the server.
impl Argument for Vec<u8> {
    unsafe fn read(datum: Datum, _: &str) -> Result<Self> {
        // SAFETY: the caller vouches for a text datum.
        Ok(unsafe { varlena_bytes(datum) })
    }
}

/// `text` that is compared with words of ours.
impl Argument for String {
    unsafe fn read(datum: Datum, _: &str) -> Result<Self> {
        // SAFETY: the caller vouches for a text datum.
        Ok(String::from_utf8_lossy(&unsafe { varlena_bytes(datum) }).into_owned())
    }
}

/// `interval`, zero or more.
impl Argument for Millis {
    unsafe fn read(datum: Datum, name: &str) -> Result<Self> {
        // SAFETY: the caller vouches for an interval datum.
        let interval = unsafe { &*datum.cast_mut_ptr::<pg_sys::Interval>() };
        Millis::from_interval(interval.month, interval.day, interval.time).map_err(|bad| bad_span(name, bad))
    }
}

fn bad_span(argument: &str, bad: BadSpan) -> Error {
    Error::invalid(
        argument,
        bad.to_string(),
        "Spans of time have millisecond resolution: '250 ms', '30 s', '2 days'.",
    )
}

/// `bigint[]` of ids or deliveries: no nulls.
impl Argument for Vec<i64> {
    unsafe fn read(datum: Datum, name: &str) -> Result<Self> {
        // SAFETY: the caller vouches for a bigint[] datum.
        let elements = unsafe { elements(datum, name, pg_sys::INT8OID) }?;
        whole(elements, name, |element| element.value() as i64)
    }
}

/// `jsonb[]`, its elements as they came.
pub struct JsonbArray(pub Vec<Option<Datum>>);

impl Argument for JsonbArray {
    unsafe fn read(datum: Datum, name: &str) -> Result<Self> {
        // SAFETY: the caller vouches for a jsonb[] datum.
        unsafe { elements(datum, name, pg_sys::JSONBOID) }.map(Self)
    }
}

/// `bytea[]`, its elements as they came.
pub struct ByteaArray(pub Vec<Option<Datum>>);

impl Argument for ByteaArray {
    unsafe fn read(datum: Datum, name: &str) -> Result<Self> {
        // SAFETY: the caller vouches for a bytea[] datum.
        unsafe { elements(datum, name, pg_sys::BYTEAOID) }.map(Self)
    }
}

/// `text[]`, in the encoding of the server.
pub struct TextArray(pub Vec<Option<Vec<u8>>>);

impl Argument for TextArray {
    unsafe fn read(datum: Datum, name: &str) -> Result<Self> {
        // SAFETY: the caller vouches for a text[] datum, whose elements are texts.
        let elements = unsafe { elements(datum, name, pg_sys::TEXTOID) }?;
        // SAFETY: as above.
        let bytes = |element: Datum| unsafe { varlena_bytes(element) };
        Ok(Self(collected(elements.into_iter().map(|element| element.map(bytes)))))
    }
}

/// What is read of each element; an error if one is null.
pub fn whole<T>(elements: Vec<Option<Datum>>, name: &str, read: impl Fn(Datum) -> T) -> Result<Vec<T>> {
    let mut all = Vec::new();
    room_for(&mut all, elements.len());
    for element in elements {
        all.push(read(element.ok_or_else(|| Error::null(name))?));
    }
    Ok(all)
}

/// How many elements an array may have.
const MOST_ELEMENTS: usize = 1_000_000;

/// What a call needs at most for an element while it works, in bytes.
const BYTES_OF_ELEMENT: usize = 512;

/// The elements of an array that has at most one dimension. There is memory for what is
/// done with so many.
unsafe fn elements(datum: Datum, name: &str, element: Oid) -> Result<Vec<Option<Datum>>> {
    // SAFETY: the caller vouches for an array of `element`; deconstruct_array
    // checks that again and allocates its results in the current context.
    unsafe {
        let array = pg_sys::pg_detoast_datum(datum.cast_mut_ptr()).cast::<pg_sys::ArrayType>();
        if (*array).ndim > 1 {
            return Err(Error::invalid(name, "must have one dimension", "Pass a flat array."));
        }
        let count = pg_sys::ArrayGetNItems((*array).ndim, array.add(1).cast::<i32>()) as usize;
        if count > MOST_ELEMENTS {
            return Err(Error::array_too_long(name, count, MOST_ELEMENTS));
        }
        room_for(&mut Vec::<u8>::new(), count * BYTES_OF_ELEMENT);
        let (mut len, mut by_value, mut align) = (0, false, 0);
        pg_sys::get_typlenbyvalalign(element, &mut len, &mut by_value, &mut align);
        let (mut values, mut nulls, mut count) = (std::ptr::null_mut(), std::ptr::null_mut(), 0);
        pg_sys::deconstruct_array(
            array,
            element,
            i32::from(len),
            by_value,
            align,
            &mut values,
            &mut nulls,
            &mut count,
        );
        let count = count as usize;
        let values = std::slice::from_raw_parts(values, count);
        let nulls = std::slice::from_raw_parts(nulls, count);
        let elements = values.iter().zip(nulls).map(|(&value, &null)| (!null).then_some(value));
        let elements = collected(elements);
        pg_sys::pfree(values.as_ptr().cast_mut().cast());
        pg_sys::pfree(nulls.as_ptr().cast_mut().cast());
        Ok(elements)
    }
}

/// How many bytes a varlena has when it is unpacked, which it is not for this.
unsafe fn length(value: Datum) -> usize {
    // SAFETY: the caller vouches for a varlena.
    unsafe { pg_sys::toast_raw_datum_size(value) as usize - pg_sys::VARHDRSZ }
}

unsafe fn beginning(text: Datum, most: usize) -> Datum {
    // SAFETY: the caller vouches for a text datum; the server knows where its characters end.
    unsafe {
        let varlena = pg_sys::pg_detoast_datum_packed(text.cast_mut_ptr());
        let length = pgrx::varsize_any_exhdr(varlena);
        if length <= most {
            return text;
        }
        let start = pgrx::vardata_any(varlena);
        let whole_characters = pg_sys::pg_mbcliplen(start, length as i32, most as i32) as usize;
        let kept = std::slice::from_raw_parts(start.cast::<u8>(), whole_characters);
        text_datum(&[kept, format!("... ({length} bytes)").as_bytes()].concat())
    }
}

/// The content of a text or bytea.
///
/// # Safety
/// The datum must be a varlena.
pub unsafe fn varlena_bytes(datum: Datum) -> Vec<u8> {
    // SAFETY: the caller vouches for a varlena; the bytes are copied at once.
    unsafe {
        let varlena = pg_sys::pg_detoast_datum_packed(datum.cast_mut_ptr());
        let length = pgrx::varsize_any_exhdr(varlena);
        copied(std::slice::from_raw_parts(pgrx::vardata_any(varlena).cast::<u8>(), length))
    }
}

/// A copy; an error where there is no memory for it, which otherwise would end the server.
fn copied(bytes: &[u8]) -> Vec<u8> {
    let mut copy = Vec::new();
    room_for(&mut copy, bytes.len());
    copy.extend_from_slice(bytes);
    copy
}

/// Makes room for so many more; an error where there is no memory, which otherwise would end the
/// server. For all whose number a caller chooses.
pub fn room_for<T>(values: &mut Vec<T>, more: usize) {
    if values.try_reserve(more).is_err() {
        Error::no_memory(more * size_of::<T>()).raise();
    }
}

/// The values, for whose number a caller chooses.
pub fn collected<T>(values: impl ExactSizeIterator<Item = T>) -> Vec<T> {
    let mut all = Vec::new();
    room_for(&mut all, values.len());
    all.extend(values);
    all
}

/// A text datum with this content, in the current memory context.
pub fn text_datum(bytes: &[u8]) -> Datum {
    // SAFETY: the pointer and the length are those of one slice.
    unsafe { pg_sys::cstring_to_text_with_len(bytes.as_ptr().cast(), bytes.len() as i32).into() }
}

/// A queue's name or a key: 1 to 512 bytes, compared byte by byte.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Name(Vec<u8>);

impl Name {
    /// Checks a name that a caller gave.
    pub fn check(bytes: Vec<u8>, argument: &str) -> Result<Self> {
        match bytes.len() {
            0 => Err(Error::invalid(argument, "must not be empty", "Give it at least one character.")),
            length if length > LONGEST_NAME => Err(Error::too_long(argument, length, LONGEST_NAME)),
            _ => Ok(Self(bytes)),
        }
    }

    /// A name that a setting holds.
    pub fn from_text(text: &str, argument: &str) -> Result<Self> {
        let text = CString::new(text).expect("JSON has no NUL byte");
        Self::check(in_server_encoding(&text).to_bytes().to_vec(), argument)
    }

    /// A name that the tables hold.
    pub fn known(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    pub fn datum(&self) -> Datum {
        text_datum(&self.0)
    }

    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

/// The rows a set-returning function answers with, in a tuplestore.
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

    /// The answer of a function that returned its rows.
    pub fn done(self) -> Answer {
        Ok(None)
    }
}

/// The values of a row.
unsafe fn deform(row: pg_sys::HeapTuple, descriptor: pg_sys::TupleDesc) -> Vec<Option<Datum>> {
    // SAFETY: the caller gives a row and its descriptor; both arrays have a place a column.
    unsafe {
        let mut values = vec![Datum::null(); (*descriptor).natts as usize];
        let mut nulls = vec![true; values.len()];
        pg_sys::heap_deform_tuple(row, descriptor, values.as_mut_ptr(), nulls.as_mut_ptr());
        values.iter().zip(&nulls).map(|(&value, &null)| (!null).then_some(value)).collect()
    }
}

/// The declared columns; one nameless column for `SETOF bigint`.
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

/// The text form of a jsonb value.
///
/// # Safety
/// The datum must be a jsonb.
pub unsafe fn jsonb_text(datum: Datum) -> String {
    // SAFETY: the caller vouches for a jsonb; its output function gives a C string.
    unsafe {
        let text: Datum = pgrx::direct_function_call_as_datum(pg_sys::jsonb_out, &[Some(datum)])
            .expect("jsonb_out gives a value");
        let text = CStr::from_ptr(text.cast_mut_ptr());
        let text = pg_sys::pg_server_to_any(text.as_ptr(), text.count_bytes() as i32, UTF8);
        match String::from_utf8(copied(CStr::from_ptr(text).to_bytes())) {
            Ok(text) => text,
            Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
        }
    }
}

/// A jsonb datum from its text form.
pub fn jsonb_datum(text: &str) -> Datum {
    let text = CString::new(text).expect("JSON has no NUL byte");
    let text = in_server_encoding(&text);
    // SAFETY: jsonb_in reads a C string.
    unsafe { pgrx::direct_function_call_as_datum(pg_sys::jsonb_in, &[Some(text.as_ptr().into())]) }
        .expect("jsonb_in gives a value")
}

/// A text in UTF-8 as the server writes it: the same, or one in the current memory context.
fn in_server_encoding(text: &CStr) -> &CStr {
    // SAFETY: both are C strings; the context is not reset while a call uses the text.
    unsafe { CStr::from_ptr(pg_sys::pg_any_to_server(text.as_ptr(), text.count_bytes() as i32, UTF8)) }
}

const UTF8: i32 = pg_sys::pg_enc::PG_UTF8 as i32;
