//! Argument values: reads and checks each SQL type that a call takes.

use pgrx::pg_sys::{self, Datum, Oid};

use crate::error::{Error, Result, about_argument};
use crate::pg::datum::{input, varlena_bytes};
use crate::pg::memory::{collected, room_for};
use crate::value::duration::{BadSpan, Millis};

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

/// Any value, unchanged.
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

/// `text` that is compared with keywords.
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

/// Reads a span of time from the text of an interval, in the encoding of the server.
pub fn span_of(text: &[u8], name: &str) -> Result<Millis> {
    // SAFETY: the input function of a type with a modifier.
    let interval = about_argument(name, || unsafe { input(pg_sys::interval_in, text) })?;
    // SAFETY: it gives an interval.
    unsafe { Millis::read(interval, name) }
}

/// Reads a timestamptz from its text, in the encoding of the server.
pub fn moment_of(text: &[u8], name: &str) -> Result<i64> {
    // SAFETY: the input function of a type with a modifier.
    let moment = about_argument(name, || unsafe { input(pg_sys::timestamptz_in, text) })?;
    Ok(moment.value() as i64)
}

pub fn bad_span(argument: &str, bad: BadSpan) -> Error {
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

/// `jsonb[]`, its elements unchanged.
pub struct JsonbArray(pub Vec<Option<Datum>>);

impl Argument for JsonbArray {
    unsafe fn read(datum: Datum, name: &str) -> Result<Self> {
        // SAFETY: the caller vouches for a jsonb[] datum.
        unsafe { elements(datum, name, pg_sys::JSONBOID) }.map(Self)
    }
}

/// `bytea[]`, its elements unchanged.
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

/// Reads each element; an error if one is null.
pub fn whole<T>(elements: Vec<Option<Datum>>, name: &str, read: impl Fn(Datum) -> T) -> Result<Vec<T>> {
    let mut all = Vec::new();
    room_for(&mut all, elements.len());
    for element in elements {
        all.push(read(element.ok_or_else(|| Error::null(name))?));
    }
    Ok(all)
}

/// Maximum number of elements in an array.
const MOST_ELEMENTS: usize = 1_000_000;

/// Maximum memory that a call needs per element while it works, in bytes.
const BYTES_OF_ELEMENT: usize = 512;

/// Returns an error if an array has more elements than a call takes, or if there is no memory to work on them.
pub fn check_elements(name: &str, count: usize) -> Result<()> {
    if count > MOST_ELEMENTS {
        return Err(Error::array_too_long(name, count, MOST_ELEMENTS));
    }
    room_for(&mut Vec::<u8>::new(), count * BYTES_OF_ELEMENT);
    Ok(())
}

/// Returns the elements of an array that has at most one dimension. An error if there is no memory to work on
/// them.
unsafe fn elements(datum: Datum, name: &str, element: Oid) -> Result<Vec<Option<Datum>>> {
    // SAFETY: the caller vouches for an array of `element`; deconstruct_array
    // checks that again and allocates its results in the current context.
    unsafe {
        let array = pg_sys::pg_detoast_datum(datum.cast_mut_ptr()).cast::<pg_sys::ArrayType>();
        if (*array).ndim > 1 {
            return Err(Error::invalid(name, "must have one dimension", "Pass a flat array."));
        }
        let count = pg_sys::ArrayGetNItems((*array).ndim, array.add(1).cast::<i32>()) as usize;
        check_elements(name, count)?;
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
