//! The length of a text is judged as it will be, before it is made.

#[pgrx::pg_schema]
mod tests {
    use pgrx::prelude::*;

    use crate::pg::datum::jsonb_datum;
    use crate::pg::text_length;
    use crate::tests::one;

    const ELEMENTS: [&str; 12] = [
        r#"repeat('plain ', 20)"#,
        r#"repeat('"quoted" and \back\ ', 9)"#,
        r"repeat(E'\n\t\r\b\f', 9)",
        r"repeat(E'\x01\x1f\x7f', 9)",
        "repeat('żółć 語', 9)",
        "n",
        "-12345678.9012 * n",
        "1e16383 + n",
        "1e-16383::numeric",
        "-1e131071::numeric",
        "true",
        "NULL::text",
    ];

    #[pg_test]
    fn a_long_jsonb_is_judged_no_shorter_than_its_text_and_not_much_longer() {
        for element in ELEMENTS {
            for all in ["jsonb_agg(v)", "jsonb_object_agg('key ' || n, v)", "jsonb_agg(jsonb_build_array(v))"]
            {
                // The string makes it long enough to be judged.
                let text: String = one(&format!(
                    "SELECT jsonb_build_array(repeat('x', 40000), {all})::text
                       FROM (SELECT n, {element} AS v FROM generate_series(1, 30) n) s"
                ));
                let written = text.len() + text.matches('\\').count();
                // SAFETY: it is a jsonb.
                let judged = unsafe { text_length::of_long_jsonb(jsonb_datum(&text)) };
                assert!(
                    (written..written + written / 4).contains(&judged),
                    "{all} of {element}: {judged}, {written}"
                );
            }
        }
    }
}
