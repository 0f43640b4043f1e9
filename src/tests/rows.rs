//! Rows written directly are as good as rows written by statements.

#[pgrx::pg_schema]
mod tests {
    use pgrx::prelude::*;

    use crate::tests::{all, one, run};

    fn updates() -> (i64, i64) {
        (
            one("SELECT pg_stat_get_xact_tuples_updated('pgqueue.message'::regclass)"),
            one("SELECT pg_stat_get_xact_tuples_hot_updated('pgqueue.message'::regclass)"),
        )
    }

    #[pg_test]
    fn a_lease_is_a_heap_only_update() {
        run("SELECT pgq_push('q', to_jsonb(n)) FROM generate_series(1, 20) n");
        run("SELECT * FROM pgq_reserve('q', max => 20)");
        run("SELECT pgq_extend(id, '1 h') FROM pgqueue.message");
        run("SELECT pgq_release(id) FROM pgqueue.message");
        let (updates, heap_only) = updates();
        assert_eq!((updates, heap_only), (60, 60));
    }

    #[pg_test]
    fn a_lease_without_room_on_its_page_gets_index_entries_and_one_delivery() {
        run("ALTER TABLE pgqueue.message SET (fillfactor = 100)");
        run("SELECT pgq_push('q', to_jsonb(repeat('x', 500))) FROM generate_series(1, 200) n");
        assert_eq!(one::<i64>("SELECT count(DISTINCT id) FROM pgq_reserve('q', max => 500)"), 200);
        let (updates, heap_only) = updates();
        assert!(heap_only < updates, "{heap_only} of {updates} were heap-only");
        run("SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off");
        assert_eq!(one::<i64>("SELECT count(*) FROM pgqueue.message WHERE id > 0"), 200);
        run("UPDATE pgqueue.message SET lease_until = '-infinity'");
        assert_eq!(
            one::<i64>("SELECT count(DISTINCT id) FROM pgq_reserve('q', max => 500) WHERE delivery = 2"),
            200
        );
    }

    #[pg_test]
    fn an_index_of_the_dba_s_own_is_kept_up_to_date() {
        run("CREATE INDEX of_mine ON pgqueue.message ((headers ->> 'k'), lease_until)");
        run(
            "SELECT pgq_push('q', to_jsonb(n), headers => jsonb_build_object('k', n % 3)) FROM generate_series(1, 30) n",
        );
        run("SELECT * FROM pgq_reserve('q', max => 15)");
        run("SET LOCAL enable_seqscan = off");
        for (k, leased) in [(0, 5), (1, 5), (2, 5)] {
            let found: i64 = one(&format!(
                "SELECT count(*) FROM pgqueue.message WHERE headers ->> 'k' = '{k}' AND lease_until > now()"
            ));
            assert_eq!(found, leased);
        }
    }

    #[pg_test]
    fn a_column_added_behind_ours_disturbs_nothing() {
        run("ALTER TABLE pgqueue.message ADD COLUMN note text");
        run("SELECT pgq_push('q', '1')");
        run("UPDATE pgqueue.message SET note = 'mine'");
        run("SELECT * FROM pgq_reserve('q')");
        assert_eq!(one::<String>("SELECT note FROM pgqueue.message"), "mine");
        assert_eq!(
            all("SELECT outcome FROM pgqueue.message m, pgq_fail(m.id, 'x', delay => '0')"),
            ["retry"]
        );
        assert_eq!(all("SELECT payload FROM pgq_pop('q')"), ["1"]);
    }

    #[pg_test]
    fn a_payload_out_of_line_is_not_written_again_by_a_lease() {
        run(
            "SELECT pgq_push_bytes('q', (SELECT string_agg(decode(md5(n::text), 'hex'), '') FROM generate_series(1, 2000) n))",
        );
        let chunks =
            "SELECT count(*) FROM pg_class c, LATERAL (SELECT pg_relation_size(c.reltoastrelid) AS size) s
                       WHERE c.oid = 'pgqueue.message'::regclass AND s.size > 0";
        assert_eq!(one::<i64>(chunks), 1, "the body lies out of line");
        let size =
            "SELECT pg_relation_size(reltoastrelid) FROM pg_class WHERE oid = 'pgqueue.message'::regclass";
        let before: i64 = one(size);
        for _ in 0..50 {
            run("SELECT pgq_release(id) FROM pgq_reserve('q')");
        }
        assert_eq!(one::<i64>(size), before);
    }

    #[pg_test]
    fn every_row_satisfies_the_constraints_of_its_table() {
        run(
            "SELECT pgq_push('q', '1'), pgq_push('q', '2', delay => '1 h'), pgq_push_bytes('q', 'x', ttl => '1 h')",
        );
        run("SELECT pgq_release(id, '1 h') FROM pgq_reserve('q')");
        run("SELECT pgq_fail(id, 'x') FROM pgq_reserve('q')");
        run("UPDATE pgqueue.message SET due_at = now() - interval '1 s' WHERE lane = 'd'");
        run("SELECT * FROM pgq_reserve('q', max => 9)");
        // A rewritten constraint is checked against all rows.
        run("ALTER TABLE pgqueue.message DROP CONSTRAINT message_delayed_has_due_time,
                 ADD CHECK ((lane = 'd') = (due_at IS NOT NULL)), ADD CHECK (num_nonnulls(payload, body) = 1)");
        assert_eq!(one::<i64>("SELECT count(*) FROM pgqueue.message WHERE lane = 'r'"), 3);
    }

    #[pg_test]
    fn a_row_this_transaction_has_locked_can_be_reserved_by_it() {
        run("SELECT pgq_push('q', '1'), pgq_push('q', '2')");
        run("SELECT FROM pgqueue.message FOR UPDATE");
        assert_eq!(all("SELECT payload FROM pgq_reserve('q')"), ["1"]);
        assert_eq!(all("SELECT payload FROM pgq_pop('q')"), ["2"]);
    }

    #[pg_test]
    fn the_next_call_of_a_statement_sees_the_effects_of_the_last() {
        run("SELECT pgq_push('q', '1'), pgq_push('q', '2')");
        let done = all("SELECT pgq_delete(id, delivery) FROM pgq_reserve('q')");
        assert_eq!(done, ["true"]);
        let twice = all(
            "SELECT pgq_release(id) AND (SELECT count(*) = 1 FROM pgq_extend(id, '1 h')) FROM pgq_reserve('q')",
        );
        assert_eq!(twice, ["false"], "what was released can't be extended");
    }
}
