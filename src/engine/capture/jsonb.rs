//! Objects written in the format of jsonb, value by value.
//!
//! The format is that of Postgres's `utils/jsonb.h`: a header, an entry (`JEntry`) for each key and value, the
//! keys, the values. Equal objects have equal bytes. Text becomes jsonb nowhere here, and no value is refused: an object that is
//! too long for a jsonb says so (`Object::end`).

use crate::pg::memory::room_for;

/// The kinds of a `JEntry`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Kind {
    Text = 0,
    Numeric = 0x1000_0000,
    False = 0x2000_0000,
    True = 0x3000_0000,
    Null = 0x4000_0000,
    Container = 0x5000_0000,
}

/// A value: its kind, and its bytes as they stand in a jsonb, without padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value<'a> {
    pub kind: Kind,
    pub bytes: &'a [u8],
}

const KIND_MASK: u32 = 0x7000_0000;
/// The longest content of a container.
pub const LONGEST: usize = 0x0FFF_FFFF;
/// An entry holds the end of its content, not the length.
const HAS_END: u32 = 0x8000_0000;
/// One of so many entries holds an end.
const STRIDE: usize = 32;
const IS_OBJECT: u32 = 0x2000_0000;
const IS_SCALAR: u32 = 0x1000_0000;
const ENTRY: usize = 4;

impl<'a> Value<'a> {
    pub const NULL: Self = Self { kind: Kind::Null, bytes: &[] };

    pub fn text(bytes: &'a [u8]) -> Self {
        Self { kind: Kind::Text, bytes }
    }

    pub fn bool(value: bool) -> Self {
        Self { kind: if value { Kind::True } else { Kind::False }, bytes: &[] }
    }

    /// Returns the value of a jsonb, whose content this is (without its varlena header).
    pub fn of_jsonb(content: &'a [u8]) -> Self {
        let word = |at: usize| u32::from_ne_bytes(content[at..at + ENTRY].try_into().expect("four bytes"));
        if word(0) & IS_SCALAR == 0 {
            return Self { kind: Kind::Container, bytes: content };
        }
        let (entry, bytes) = (word(ENTRY), &content[2 * ENTRY..]);
        let kind = match entry & KIND_MASK {
            0x1000_0000 => Kind::Numeric,
            0x2000_0000 => Kind::False,
            0x3000_0000 => Kind::True,
            0x4000_0000 => Kind::Null,
            _ => Kind::Text,
        };
        Self { kind, bytes: &bytes[..entry as usize & LONGEST] }
    }

    fn is_aligned(self) -> bool {
        matches!(self.kind, Kind::Numeric | Kind::Container)
    }
}

/// The order of keys in an object.
pub fn order_of_keys(one: &[u8], other: &[u8]) -> std::cmp::Ordering {
    (one.len(), one).cmp(&(other.len(), other))
}

/// An object that is being written.
pub struct Object {
    bytes: Vec<u8>,
    keys: usize,
    values: usize,
    /// The length of the keys and values so far, with padding.
    length: usize,
}

impl Object {
    /// Begins an object with these keys, which are in `order_of_keys` and are no two the same.
    pub fn begin(keys: &[&[u8]]) -> Self {
        let mut object = Self { bytes: Vec::new(), keys: keys.len(), values: 0, length: 0 };
        let entries = ENTRY + 2 * ENTRY * keys.len();
        room_for(&mut object.bytes, entries + 16 * keys.len());
        object.bytes.resize(entries, 0);
        object.set(0, IS_OBJECT | keys.len() as u32);
        for (n, key) in keys.iter().enumerate() {
            object.append(key);
            object.enter(n, Kind::Text, key.len());
        }
        object
    }

    /// Adds the value of the next key, and returns where its bytes stand.
    pub fn add(&mut self, value: Value) -> std::ops::Range<usize> {
        let before = self.bytes.len();
        let padding = if value.is_aligned() { before.next_multiple_of(ENTRY) - before } else { 0 };
        self.append(&[0; ENTRY][..padding]);
        self.append(value.bytes);
        self.enter(self.keys + self.values, value.kind, padding + value.bytes.len());
        self.values += 1;
        before + padding..self.bytes.len()
    }

    /// The bytes of the object; none if it is too long.
    pub fn end(self) -> Option<Vec<u8>> {
        assert_eq!(self.values, self.keys, "each key has a value");
        (self.bytes.len() <= LONGEST && self.length <= LONGEST).then_some(self.bytes)
    }

    /// Appends bytes, unless the object is too long already.
    fn append(&mut self, bytes: &[u8]) {
        if self.length.max(self.bytes.len()) <= LONGEST {
            room_for(&mut self.bytes, bytes.len());
            self.bytes.extend_from_slice(bytes);
        }
    }

    fn enter(&mut self, n: usize, kind: Kind, length: usize) {
        self.length += length;
        let is_end = n.is_multiple_of(STRIDE);
        let number = if is_end { self.length } else { length };
        let mark = if is_end { HAS_END } else { 0 };
        self.set(ENTRY + n * ENTRY, kind as u32 | mark | (number & LONGEST) as u32);
    }

    fn set(&mut self, at: usize, word: u32) {
        self.bytes[at..at + ENTRY].copy_from_slice(&word.to_ne_bytes());
    }
}

#[cfg(any(test, feature = "pg_test"))]
#[pgrx::pg_schema]
mod tests {
    use pgrx::pg_test;

    use super::*;

    #[pg_test]
    fn keys_are_ordered_by_their_length_first() {
        let mut keys: [&[u8]; 5] = [b"table", b"op", b"old", b"key", b"new"];
        keys.sort_by(|one, other| order_of_keys(one, other));
        assert_eq!(keys, [&b"op"[..], b"key", b"new", b"old", b"table"]);
    }

    #[pg_test]
    fn a_value_that_is_aligned_counts_its_padding() {
        let mut object = Object::begin(&[b"a"]);
        let place = object.add(Value { kind: Kind::Numeric, bytes: &[9; 6] });
        assert_eq!(place, 16..22);
        let bytes = object.end().expect("it is short");
        let words: Vec<u32> =
            bytes[..12].chunks(4).map(|word| u32::from_ne_bytes(word.try_into().unwrap())).collect();
        assert_eq!(words, [IS_OBJECT | 1, HAS_END | 1, Kind::Numeric as u32 | 9]);
        assert_eq!(bytes[12..], [b'a', 0, 0, 0, 9, 9, 9, 9, 9, 9]);
    }

    #[pg_test]
    fn one_entry_in_thirty_two_holds_an_end() {
        let keys: Vec<Vec<u8>> = (0..40u8).map(|n| vec![n]).collect();
        let mut object = Object::begin(&keys.iter().map(Vec::as_slice).collect::<Vec<_>>());
        (0..40).for_each(|_| assert_eq!(object.add(Value::text(b"ab")).len(), 2));
        let bytes = object.end().expect("it is short");
        let entry = |n: usize| u32::from_ne_bytes(bytes[4 + 4 * n..8 + 4 * n].try_into().unwrap());
        assert_eq!((entry(0), entry(1), entry(32)), (HAS_END | 1, 1, HAS_END | 33));
        assert_eq!((entry(63), entry(64), entry(65)), (2, HAS_END | (40 + 25 * 2), 2));
    }

    #[pg_test]
    fn a_scalar_is_taken_out_of_its_jsonb() {
        let words = [0x5000_0001u32, HAS_END | 3];
        let mut content: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        content.extend(b"abc\0");
        assert_eq!(Value::of_jsonb(&content), Value::text(b"abc"));
    }
}
