//! The order in which messages come.

#[pgrx::pg_schema]
mod tests {
    use pgrx::prelude::*;

    use crate::tests::{all, one, run};

    /// What reserve gives must be what sorting all that is ready gives.
    fn assert_in_order(batch: usize, order: &str, lifo: bool) {
        let expected = all(&format!("SELECT id FROM pgqueue.message ORDER BY {order}"));
        let mut given = Vec::new();
        loop {
            let some = all(&format!("SELECT id FROM pgq_reserve('q', max => {batch}, lifo => {lifo})"));
            if some.is_empty() {
                break;
            }
            given.extend(some);
        }
        assert_eq!(given, expected);
    }

    fn fill() {
        run(
            "SELECT pgq_push('q', to_jsonb(n), priority => (n * 7919) % 11 - 5) FROM generate_series(1, 300) n",
        );
        run(
            "SELECT pgq_push('q', to_jsonb(n), priority => p) FROM generate_series(1, 3) n, unnest(ARRAY[-32768, 32767]) p",
        );
        run("SELECT pgq_push('other', to_jsonb(n)) FROM generate_series(1, 50) n");
        run("DELETE FROM pgqueue.message m USING pgqueue.queue q WHERE q.id = m.queue AND q.name = 'other'");
    }

    #[pg_test]
    fn priority_then_push_order() {
        fill();
        assert_in_order(7, "priority, id", false);
    }

    #[pg_test]
    fn lifo_turns_the_order_round_within_each_priority_only() {
        fill();
        assert_in_order(7, "priority, id DESC", true);
    }

    #[pg_test]
    fn due_messages_are_merged_with_ready_ones() {
        fill();
        run("UPDATE pgqueue.message SET lane = 'd', due_at = now() - interval '1 min' WHERE id % 3 = 0");
        assert_in_order(7, "priority, id", false);
    }

    #[pg_test]
    fn due_messages_are_merged_under_lifo_too() {
        fill();
        run("UPDATE pgqueue.message SET lane = 'd', due_at = now() - interval '1 min' WHERE id % 3 = 0");
        assert_in_order(1, "priority, id DESC", true);
    }

    #[pg_test]
    fn more_due_messages_than_a_page_all_come() {
        run("SELECT pgq_push('q', to_jsonb(n), delay => '1 h') FROM generate_series(1, 1000) n");
        run("UPDATE pgqueue.message SET due_at = now() - interval '1 s' * id");
        assert_eq!(one::<i64>("SELECT count(DISTINCT id) FROM pgq_reserve('q', max => 2000)"), 1000);
    }

    #[pg_test]
    fn the_filter_takes_nothing_it_does_not_give() {
        run(
            "SELECT pgq_push('q', to_jsonb(n), headers => jsonb_build_object('n', n)) FROM generate_series(1, 100) n",
        );
        assert_eq!(all("SELECT payload FROM pgq_reserve('q', max => 5, filter => '{\"n\": 77}')"), ["77"]);
        assert_eq!(one::<i64>("SELECT ready FROM pgq_stats('q')"), 99);
        assert_eq!(one::<i64>("SELECT delivered FROM pgq_stats('q')"), 1);
    }

    #[pg_test]
    fn messages_without_deliveries_left_hide_nothing_behind_them() {
        run("SELECT pgq_push('q', to_jsonb(n), max_deliveries => 1) FROM generate_series(1, 500) n");
        run("SELECT * FROM pgq_reserve('q', max => 499)");
        run("UPDATE pgqueue.message SET lease_until = now() - interval '1 s' WHERE deliveries > 0");
        assert_eq!(all("SELECT payload FROM pgq_reserve('q')"), ["500"]);
        // Each call clears a bounded part of them away.
        assert_eq!(one::<i64>("SELECT dead FROM pgq_stats('q')"), 100);
        run("SELECT * FROM pgq_reserve('q')");
        assert_eq!(one::<i64>("SELECT dead FROM pgq_stats('q')"), 200);
    }
}
