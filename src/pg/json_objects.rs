//! A jsonb array of objects, read in one pass.

use std::ops::ControlFlow;

use pgrx::pg_sys::{self, Datum, JsonbIteratorToken as Token, jbvType};

use smallvec::SmallVec;

use crate::pg::memory::{copied, room_for};

/// A field of an object.
#[derive(Clone, Copy)]
pub struct Field<'a> {
    pub key: &'a [u8],
    value: &'a pg_sys::JsonbValue,
}

/// An element that is no object.
pub struct NoObject;

impl Field<'_> {
    pub fn is_null(self) -> bool {
        self.value.type_ == jbvType::jbvNull
    }

    /// The value as a jsonb, in the current memory context.
    pub fn jsonb(self) -> Datum {
        let mut value = *self.value;
        // SAFETY: a value that an iterator has given, which is copied.
        unsafe { pg_sys::JsonbValueToJsonb(&raw mut value).into() }
    }

    /// The content of a string, in the encoding of the server.
    pub fn text(self) -> Option<Vec<u8>> {
        // SAFETY: a string has a length and as many bytes.
        (self.value.type_ == jbvType::jbvString).then(|| unsafe {
            let text = self.value.val.string;
            copied(std::slice::from_raw_parts(text.val.cast::<u8>(), text.len as usize))
        })
    }

    /// The value of a number that is an integer.
    pub fn integer(self) -> Option<i64> {
        if self.value.type_ != jbvType::jbvNumeric {
            return None;
        }
        // SAFETY: a number has a numeric; its output function gives a C string.
        let text = unsafe {
            let number = Datum::from(self.value.val.numeric);
            let text: Datum = pgrx::direct_function_call_as_datum(pg_sys::numeric_out, &[Some(number)])?;
            std::ffi::CStr::from_ptr(text.cast_mut_ptr())
        };
        text.to_str().ok()?.parse().ok()
    }
}

/// The number of elements of an array. None: it is no array.
///
/// # Safety
/// The datum must be a jsonb.
pub unsafe fn elements(datum: Datum) -> Option<usize> {
    const COUNT: u32 = 0x0fff_ffff;
    const IS_SCALAR: u32 = 0x1000_0000;
    const IS_ARRAY: u32 = 0x4000_0000;
    // SAFETY: the caller vouches for a jsonb, which begins with its header.
    unsafe {
        let jsonb = pg_sys::pg_detoast_datum(datum.cast_mut_ptr()).cast::<pg_sys::Jsonb>();
        let header = (*jsonb).root.header;
        (header & IS_ARRAY != 0 && header & IS_SCALAR == 0).then_some((header & COUNT) as usize)
    }
}

/// Calls `each` with the first `most` fields of each object of an array, until it breaks.
///
/// # Safety
/// The datum must be a jsonb array.
pub unsafe fn each_object<B>(
    datum: Datum,
    most: usize,
    mut each: impl FnMut(Result<&[Field], NoObject>) -> ControlFlow<B>,
) -> ControlFlow<B> {
    // SAFETY: the caller vouches for a jsonb array. Values point into it, and the iterators go over it once;
    // it lies in the memory of the call, and is not changed.
    unsafe {
        let jsonb = pg_sys::pg_detoast_datum(datum.cast_mut_ptr()).cast::<pg_sys::Jsonb>();
        let mut array = pg_sys::JsonbIteratorInit(&raw mut (*jsonb).root);
        let mut element: pg_sys::JsonbValue = std::mem::zeroed();
        let mut values = Vec::new();
        loop {
            pgrx::check_for_interrupts!();
            match pg_sys::JsonbIteratorNext(&raw mut array, &raw mut element, true) {
                Token::WJB_BEGIN_ARRAY => {}
                Token::WJB_ELEM if read_object(&element, most, &mut values) => {
                    let fields: SmallVec<[Field; 12]> =
                        values.iter().map(|(key, value)| field(key, value)).collect();
                    each(Ok(&fields))?;
                }
                Token::WJB_ELEM => each(Err(NoObject))?,
                _ => return ControlFlow::Continue(()),
            }
        }
    }
}

fn field<'a>(key: &'a pg_sys::JsonbValue, value: &'a pg_sys::JsonbValue) -> Field<'a> {
    // SAFETY: a key is a string, with a length and as many bytes.
    let key = unsafe {
        let key = key.val.string;
        std::slice::from_raw_parts(key.val.cast::<u8>(), key.len as usize)
    };
    Field { key, value }
}

/// Reads the first `most` keys and values of an object. False if the value is none.
///
/// # Safety
/// An iterator over a jsonb has given the value.
unsafe fn read_object(
    value: &pg_sys::JsonbValue,
    most: usize,
    fields: &mut Vec<(pg_sys::JsonbValue, pg_sys::JsonbValue)>,
) -> bool {
    fields.clear();
    if value.type_ != jbvType::jbvBinary {
        return false;
    }
    // SAFETY: a binary value is a container, that of an object or an array.
    unsafe {
        let mut object = pg_sys::JsonbIteratorInit(value.val.binary.data);
        let (mut key, mut value): (pg_sys::JsonbValue, pg_sys::JsonbValue) =
            (std::mem::zeroed(), std::mem::zeroed());
        if pg_sys::JsonbIteratorNext(&raw mut object, &raw mut key, true) != Token::WJB_BEGIN_OBJECT {
            return false;
        }
        while fields.len() < most
            && pg_sys::JsonbIteratorNext(&raw mut object, &raw mut key, true) == Token::WJB_KEY
        {
            pg_sys::JsonbIteratorNext(&raw mut object, &raw mut value, true);
            room_for(fields, 1);
            fields.push((key, value));
        }
    }
    true
}
