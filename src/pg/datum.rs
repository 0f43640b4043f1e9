//! Datums: values as Postgres passes them, read and made.

use std::ffi::{CStr, CString};
use std::marker::PhantomData;

use pgrx::pg_sys::{self, Datum, Oid};

use crate::pg::memory::{collected, copied, room_for};

/// Returns the number of bytes in a varlena after detoasting, without detoasting it.
pub unsafe fn length(value: Datum) -> usize {
    // SAFETY: the caller vouches for a varlena.
    unsafe { pg_sys::toast_raw_datum_size(value) as usize - pg_sys::VARHDRSZ }
}

pub unsafe fn beginning(text: Datum, most: usize) -> Datum {
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

/// A text datum with this content, in the current memory context.
pub fn text_datum(bytes: &[u8]) -> Datum {
    // SAFETY: the pointer and the length are those of one slice.
    unsafe { pg_sys::cstring_to_text_with_len(bytes.as_ptr().cast(), bytes.len() as i32).into() }
}

/// A varlena with this content, in the current memory context.
pub fn bytes_datum(content: &[u8]) -> Datum {
    // A text has the form of any other varlena, but for the meaning of its content.
    text_datum(content)
}

/// A jsonb value that lives as long as its source: a row or an argument.
#[derive(Clone, Copy)]
pub struct Jsonb<'a>(Datum, PhantomData<&'a ()>);

impl Jsonb<'_> {
    /// # Safety
    /// The datum must be a jsonb that lives as long as this value.
    pub unsafe fn new(datum: Datum) -> Self {
        Self(datum, PhantomData)
    }

    pub fn datum(self) -> Datum {
        self.0
    }

    /// Returns its text form, in UTF-8.
    pub fn text(self) -> String {
        // SAFETY: a jsonb; its output function gives a C string.
        unsafe {
            let text: Datum = pgrx::direct_function_call_as_datum(pg_sys::jsonb_out, &[Some(self.0)])
                .expect("jsonb_out gives a value");
            let text = CStr::from_ptr(text.cast_mut_ptr());
            let text = pg_sys::pg_server_to_any(text.as_ptr(), text.count_bytes() as i32, UTF8);
            match String::from_utf8(copied(CStr::from_ptr(text).to_bytes())) {
                Ok(text) => text,
                Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
            }
        }
    }

    pub fn is_object(self) -> bool {
        const IS_OBJECT: u32 = 0x2000_0000;
        // SAFETY: a jsonb begins with its header.
        unsafe {
            let jsonb = pg_sys::pg_detoast_datum(self.0.cast_mut_ptr()).cast::<pg_sys::Jsonb>();
            (*jsonb).root.header & IS_OBJECT != 0
        }
    }

    /// Adds the fields of another object, which take precedence.
    pub fn with_fields(self, fields: Datum) -> Datum {
        // SAFETY: both are jsonb.
        unsafe { pgrx::direct_function_call_as_datum(pg_sys::jsonb_concat, &[Some(self.0), Some(fields)]) }
            .expect("jsonb_concat gives a value")
    }

    /// True if it contains another, as the operator `@>`.
    pub fn contains(self, part: Self) -> bool {
        // SAFETY: both are jsonb.
        unsafe { pgrx::direct_function_call(pg_sys::jsonb_contains, &[Some(self.0), Some(part.0)]) }
            .unwrap_or(false)
    }
}

/// Calls the input function of a type that has a modifier, without one.
///
/// # Safety
/// `function` is such a function.
pub unsafe fn input(function: unsafe fn(pg_sys::FunctionCallInfo) -> Datum, text: &[u8]) -> Datum {
    let text = CString::new(text).expect("JSON has no NUL byte");
    let args = [Some(Datum::from(text.as_ptr())), Some(pg_sys::InvalidOid.into()), Some((-1i32).into())];
    // SAFETY: it reads a C string, a type and a modifier.
    unsafe { pgrx::direct_function_call_as_datum(function, &args) }.expect("an input function gives a value")
}

/// Makes an interval from microseconds.
pub fn interval(micros: i64) -> Datum {
    let moment = |at: i64| Some(Datum::from(at));
    // SAFETY: both arguments are timestamptz.
    unsafe { pgrx::direct_function_call_as_datum(pg_sys::timestamp_mi, &[moment(micros), moment(0)]) }
        .expect("the difference of two moments")
}

/// Makes a jsonb datum from its text form.
pub fn jsonb_datum(text: &str) -> Datum {
    let text = CString::new(text).expect("JSON has no NUL byte");
    let text = in_server_encoding(&text);
    // SAFETY: jsonb_in reads a C string.
    unsafe { pgrx::direct_function_call_as_datum(pg_sys::jsonb_in, &[Some(text.as_ptr().into())]) }
        .expect("jsonb_in gives a value")
}

/// Converts a text from UTF-8 to the server's encoding: returns the same text, or one in the current memory
/// context.
pub fn in_server_encoding(text: &CStr) -> &CStr {
    // SAFETY: both are C strings; the context is not reset while a call uses the text.
    unsafe { CStr::from_ptr(pg_sys::pg_any_to_server(text.as_ptr(), text.count_bytes() as i32, UTF8)) }
}

const UTF8: i32 = pg_sys::pg_enc::PG_UTF8 as i32;

/// A `bigint[]` datum.
pub fn i64_array(values: &[i64]) -> Datum {
    array(values.iter().map(|&value| Datum::from(value)), pg_sys::INT8OID)
}

/// An `oid[]` datum.
pub fn oid_array(values: &[Oid]) -> Datum {
    array(values.iter().map(|&value| Datum::from(value)), pg_sys::OIDOID)
}

/// An `integer[]` datum.
pub fn i32_array(values: &[i32]) -> Datum {
    array(values.iter().map(|&value| Datum::from(value)), pg_sys::INT4OID)
}

/// A `timestamptz[]` datum.
pub fn timestamp_array(values: &[i64]) -> Datum {
    array(values.iter().map(|&value| Datum::from(value)), pg_sys::TIMESTAMPTZOID)
}

/// A `text[]` datum.
pub fn text_array<'a>(values: impl ExactSizeIterator<Item = &'a [u8]>) -> Datum {
    array(values.map(text_datum), pg_sys::TEXTOID)
}

/// A `text[]` datum of which some elements may be null.
pub fn text_array_with_nulls<'a>(values: impl ExactSizeIterator<Item = Option<&'a [u8]>>) -> Datum {
    array_with_nulls(values.map(|value| value.map(text_datum)), pg_sys::TEXTOID)
}

fn array(values: impl ExactSizeIterator<Item = Datum>, element: Oid) -> Datum {
    let mut values: Vec<Datum> = collected(values);
    let (mut len, mut by_value, mut align) = (0, false, 0);
    // SAFETY: the elements are of the type whose layout is looked up; construct_array copies them.
    unsafe {
        pg_sys::get_typlenbyvalalign(element, &mut len, &mut by_value, &mut align);
        pg_sys::construct_array(
            values.as_mut_ptr(),
            values.len() as i32,
            element,
            i32::from(len),
            by_value,
            align,
        )
        .into()
    }
}

/// Makes an array of which some elements may be null.
pub fn array_with_nulls(values: impl ExactSizeIterator<Item = Option<Datum>>, element: Oid) -> Datum {
    let (mut all, mut nulls) = (Vec::new(), Vec::new());
    room_for(&mut all, values.len());
    room_for(&mut nulls, values.len());
    for value in values {
        all.push(value.unwrap_or(Datum::null()));
        nulls.push(value.is_none());
    }
    let (mut len, mut by_value, mut align) = (0, false, 0);
    // SAFETY: the elements are of the type whose layout is looked up; they are copied.
    unsafe {
        pg_sys::get_typlenbyvalalign(element, &mut len, &mut by_value, &mut align);
        pg_sys::construct_md_array(
            all.as_mut_ptr(),
            nulls.as_mut_ptr(),
            1,
            [all.len() as i32].as_mut_ptr(),
            [1].as_mut_ptr(),
            element,
            i32::from(len),
            by_value,
            align,
        )
        .into()
    }
}
