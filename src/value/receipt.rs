//! Receipts as texts: the id and the delivery of a message, as `42-1`.
//!
//! A receipt has one form: what `write` gives. So a text that was changed on its way is noticed.

pub fn write(id: i64, delivery: i64) -> String {
    format!("{id}-{delivery}")
}

/// Returns the id and the delivery. None if the text is no receipt.
pub fn read(text: &[u8]) -> Option<(i64, i64)> {
    let text = std::str::from_utf8(text).ok()?;
    let (id, delivery) = text.split_once('-')?;
    let (id, delivery) = (id.parse().ok()?, delivery.parse().ok()?);
    (delivery >= 0 && write(id, delivery) == text).then_some((id, delivery))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_is_read_as_it_was_written() {
        for receipt in [(1, 0), (42, 1), (i64::MAX, i64::from(i32::MAX))] {
            assert_eq!(read(write(receipt.0, receipt.1).as_bytes()), Some(receipt));
        }
    }

    #[test]
    fn nothing_else_is_a_receipt() {
        for text in [
            "",
            "-",
            "42",
            "42-",
            "-1",
            "42-1-1",
            "42--1",
            "-42-1",
            " 42-1",
            "42-1 ",
            "42- 1",
            "+42-1",
            "42-+1",
            "042-1",
            "42-01",
            "4\u{662}-1",
            "42\u{2010}1",
            "9223372036854775808-1",
            "42-9223372036854775808",
            "4.2-1",
            "0x2a-1",
        ] {
            assert_eq!(read(text.as_bytes()), None, "{text}");
        }
        assert_eq!(read(b"42-1\xff"), None);
    }
}
