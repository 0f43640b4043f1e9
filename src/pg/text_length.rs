//! How long a value is as text. A value of a few kilobytes can have a text that Postgres cannot make: a jsonb of
//! numbers such as 1e131071, or a large bytea, which is written in hex.

use pgrx::pg_sys::{self, Datum, JsonbIteratorToken, jbvType};

/// A jsonb below this size has no text of more than 300 MB: a number takes 16 bytes and has 131,073 digits.
const NEVER_LONG: usize = 32 << 10;

/// Returns how many bytes a jsonb takes as text in COPY, where each backslash is doubled; 0 for a short one.
///
/// # Safety
/// The datum must be a jsonb.
pub unsafe fn of_long_jsonb(value: Datum) -> usize {
    // SAFETY: the datum is a jsonb, whole after it was detoasted; the iterator walks over it.
    unsafe {
        if pg_sys::toast_raw_datum_size(value) < NEVER_LONG {
            return 0;
        }
        let jsonb: *mut pg_sys::Jsonb = pg_sys::pg_detoast_datum(value.cast_mut_ptr()).cast();
        let mut iterator = pg_sys::JsonbIteratorInit(&raw mut (*jsonb).root);
        let mut part = std::mem::zeroed();
        let mut length = 0;
        loop {
            pgrx::check_for_interrupts!();
            length += match pg_sys::JsonbIteratorNext(&mut iterator, &mut part, false) {
                JsonbIteratorToken::WJB_DONE => break,
                JsonbIteratorToken::WJB_KEY
                | JsonbIteratorToken::WJB_VALUE
                | JsonbIteratorToken::WJB_ELEM => of_part(&part),
                _ => BRACKET,
            };
        }
        if jsonb != value.cast_mut_ptr() {
            pg_sys::pfree(jsonb.cast());
        }
        length
    }
}

/// Returns how many bytes a bytea takes as text in COPY: two hexadecimal digits a byte, behind `\\x`.
///
/// # Safety
/// The datum must be a bytea.
pub unsafe fn of_bytea(value: Datum) -> usize {
    // SAFETY: the datum is a varlena.
    unsafe { 2 * pg_sys::toast_raw_datum_size(value) }
}

/// A bracket and the separator behind it.
const BRACKET: usize = 3;
/// A comma or a colon, and a space.
const SEPARATOR: usize = 2;

/// # Safety
/// The part must be a scalar that the iterator has given.
unsafe fn of_part(part: &pg_sys::JsonbValue) -> usize {
    // SAFETY: the type says which member is set, and what it points to lies in the jsonb.
    let length = unsafe {
        match part.type_ {
            jbvType::jbvString => {
                let text = part.val.string;
                of_string(std::slice::from_raw_parts(text.val.cast(), text.len as usize))
            }
            jbvType::jbvNumeric => of_numeric(part.val.numeric.cast()),
            _ => "false".len(),
        }
    };
    length + SEPARATOR
}

fn of_string(text: &[u8]) -> usize {
    let escaped = |byte: &u8| match byte {
        b'"' | b'\n' | b'\r' | b'\t' | 8 | 12 => r#"\\""#.len(),
        b'\\' => r"\\\\".len(),
        0..32 => r"\\u0001".len(),
        _ => 1,
    };
    2 + text.iter().map(escaped).sum::<usize>()
}

/// How many characters a number has, by its weight, which counts groups of four digits before the point, and its
/// scale, the digits behind it.
///
/// # Safety
/// The pointer must be to a number in a jsonb, which has a header of four bytes and is not NaN or infinite.
unsafe fn of_numeric(number: *const u8) -> usize {
    const HEADER: usize = 4;
    // SAFETY: a number has at least the word of its sign and scale, and in the long form that of its weight.
    let word = |n: usize| unsafe { number.add(HEADER + 2 * n).cast::<u16>().read_unaligned() };
    let first = word(0);
    let is_short = first & 0xc000 == 0x8000;
    let (weight, scale) = if is_short {
        let weight = (first & 0x3f) as i16;
        (if first & 0x40 == 0 { weight } else { weight - 0x40 }, (first & 0x1f80) >> 7)
    } else {
        (word(1) as i16, first & 0x3fff)
    };
    let before_point = 4 * (i32::from(weight) + 1).max(1) as usize;
    "-".len() + before_point + ".".len() + usize::from(scale)
}
