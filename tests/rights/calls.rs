//! Every function that everybody may execute, how it is called, and the rights it needs.

/// A right on the queues `q` and `other`, or on the topic `t`, or none at all.
#[derive(Clone, Copy, PartialEq)]
pub enum Need {
    Nothing,
    Own,
    Push,
    Consume,
    Manage,
    Monitor,
    Publish,
    Subscribe,
    /// Any right on the topic.
    SeeTopic,
}

pub struct SqlCall {
    pub function: &'static str,
    /// Gives true, or nothing at all, if it has done what it is for. `:waiting`, `:leased`
    /// and `:dead` are ids.
    pub sql: &'static str,
    pub needs: &'static [Need],
}

const fn call(function: &'static str, sql: &'static str, needs: &'static [Need]) -> SqlCall {
    SqlCall { function, sql, needs }
}

use Need::{Consume, Manage, Monitor, Nothing, Own, Publish, Push, SeeTopic, Subscribe};

pub const CALLS: &[SqlCall] = &[
    call(
        "pgq_push(text,jsonb,jsonb,bigint,interval,timestamp with time zone,interval,text,text,text,interval,bigint)",
        "SELECT pgq_push('q', '1') IS NOT NULL",
        &[Push],
    ),
    call(
        "pgq_push_result(text,jsonb,jsonb,bigint,interval,timestamp with time zone,interval,text,text,text,interval,bigint)",
        "SELECT outcome LIKE 'pushed' FROM pgq_push_result('q', '1')",
        &[Push],
    ),
    call(
        "pgq_push_batch(text,jsonb[],jsonb[],bigint,interval,timestamp with time zone,interval,text,text,text,interval,bigint,text[])",
        "SELECT pgq_push_batch('q', '{1}') IS NOT NULL",
        &[Push],
    ),
    call("pgq_push_each(text,jsonb)", "SELECT pgq_push_each('q', '[{\"payload\": 1}]') IS NOT NULL", &[Push]),
    call(
        "pgq_push_bytes(text,bytea,jsonb,bigint,interval,timestamp with time zone,interval,text,text,text,interval,bigint)",
        "SELECT pgq_push_bytes('q', 'x') IS NOT NULL",
        &[Push],
    ),
    call(
        "pgq_push_bytes_batch(text,bytea[],jsonb[],bigint,interval,timestamp with time zone,interval,text,text,text,interval,bigint,text[])",
        "SELECT pgq_push_bytes_batch('q', '{x}') IS NOT NULL",
        &[Push],
    ),
    call(
        "pgq_reserve(text,interval,bigint,jsonb,text,boolean)",
        "SELECT count(*) = 1 FROM pgq_reserve('q')",
        &[Consume],
    ),
    call("pgq_pop(text,bigint,jsonb,text,boolean)", "SELECT count(*) = 1 FROM pgq_pop('q')", &[Consume]),
    call(
        "pgq_next(text,bigint[],bigint[],interval,bigint,jsonb,text,boolean,boolean,boolean,text[])",
        "SELECT count(*) = 1 FROM pgq_next('q', '{:leased}')",
        &[Consume],
    ),
    call("pgq_peek(text,bigint,text)", "SELECT count(*) = 1 FROM pgq_peek('q')", &[Consume]),
    call("pgq_get(bigint)", "SELECT count(*) = 1 FROM pgq_get(:waiting)", &[Consume]),
    call("pgq_get(bigint)", "SELECT count(*) = 1 FROM pgq_get(:dead)", &[Consume]),
    call("pgq_wait(text,interval,bigint,boolean)", "CALL pgq_wait('q', '1 ms')", &[Consume]),
    call("pgq_delete_batch(bigint[],bigint[],boolean)", "SELECT count(*) = 2 FROM pgq_delete_batch('{:waiting,:leased}'::bigint[])", &[
        Consume,
    ]),
    call("pgq_delete(bigint,bigint,boolean)", "SELECT pgq_delete(:leased, 1)", &[Consume]),
    call("pgq_extend_batch(bigint[],interval,bigint[],boolean)", "SELECT count(*) = 1 FROM pgq_extend_batch('{:leased}'::bigint[], '1 h')", &[
        Consume,
    ]),
    call("pgq_extend(bigint,interval,bigint,boolean)", "SELECT count(*) = 1 FROM pgq_extend(:leased, '1 h')", &[Consume]),
    call(
        "pgq_release_batch(bigint[],interval,bigint[],boolean)",
        "SELECT count(*) = 1 FROM pgq_release_batch('{:leased}'::bigint[])",
        &[Consume],
    ),
    call("pgq_release(bigint,interval,bigint,boolean)", "SELECT pgq_release(:leased)", &[Consume]),
    call(
        "pgq_fail_batch(bigint[],text,bigint[],interval,boolean)",
        "SELECT count(*) = 1 FROM pgq_fail_batch('{:leased}'::bigint[], 'x')",
        &[Consume],
    ),
    call("pgq_fail(bigint,text,bigint,interval,boolean)", "SELECT count(*) = 1 FROM pgq_fail(:leased, 'x')", &[Consume]),
    call("pgq_bury_batch(bigint[],text,bigint[],boolean)", "SELECT count(*) = 1 FROM pgq_bury_batch('{:leased}'::bigint[], 'x')", &[
        Consume,
    ]),
    call("pgq_bury(bigint,text,bigint,boolean)", "SELECT pgq_bury(:leased, 'x')", &[Consume]),
    call("pgq_delete_by_receipt(text,boolean)", "SELECT pgq_delete_by_receipt(':leased-1')", &[Consume]),
    call("pgq_delete_by_receipts(text[],boolean)", "SELECT count(*) = 1 FROM pgq_delete_by_receipts('{:leased-1}')", &[Consume]),
    call("pgq_extend_by_receipt(text,interval,boolean)", "SELECT count(*) = 1 FROM pgq_extend_by_receipt(':leased-1', '1 h')", &[Consume]),
    call("pgq_extend_by_receipts(text[],interval,boolean)", "SELECT count(*) = 1 FROM pgq_extend_by_receipts('{:leased-1}', '1 h')", &[Consume]),
    call("pgq_release_by_receipt(text,interval,boolean)", "SELECT pgq_release_by_receipt(':leased-1')", &[Consume]),
    call("pgq_release_by_receipts(text[],interval,boolean)", "SELECT count(*) = 1 FROM pgq_release_by_receipts('{:leased-1}')", &[Consume]),
    call("pgq_fail_by_receipt(text,text,interval,boolean)", "SELECT count(*) = 1 FROM pgq_fail_by_receipt(':leased-1', 'x')", &[Consume]),
    call("pgq_fail_by_receipts(text[],text,interval,boolean)", "SELECT count(*) = 1 FROM pgq_fail_by_receipts('{:leased-1}', 'x')", &[Consume]),
    call("pgq_bury_by_receipt(text,text,boolean)", "SELECT pgq_bury_by_receipt(':leased-1', 'x')", &[Consume]),
    call("pgq_bury_by_receipts(text[],text,boolean)", "SELECT count(*) = 1 FROM pgq_bury_by_receipts('{:leased-1}', 'x')", &[Consume]),
    call("pgq_cancel_batch(bigint[])", "SELECT count(*) = 1 FROM pgq_cancel_batch('{:waiting}'::bigint[])", &[Consume]),
    call("pgq_cancel(bigint)", "SELECT pgq_cancel(:waiting)", &[Consume]),
    call(
        "pgq_update(bigint,jsonb,jsonb,bigint,timestamp with time zone)",
        "SELECT pgq_update(:waiting, '2')",
        &[Consume, Push],
    ),
    call("pgq_move(bigint,text)", "SELECT pgq_move(:waiting, 'other') IS NOT NULL", &[Consume, Push]),
    call("pgq_move_batch(bigint[],text)", "SELECT count(*) = 1 FROM pgq_move_batch('{:waiting}', 'other')", &[Consume, Push]),
    call("pgq_peek_dead(text,bigint)", "SELECT count(*) = 1 FROM pgq_peek_dead('q')", &[Consume]),
    call("pgq_dump_dead(text,bigint)", "SELECT count(*) = 1 FROM pgq_dump_dead('q')", &[Manage]),
    call("pgq_redrive(text,bigint,text,text,boolean)", "SELECT pgq_redrive('q') = 1", &[Manage]),
    call(
        "pgq_redrive(text,bigint,text,text,boolean)",
        "SELECT pgq_redrive('q', to_queue => 'other') = 1",
        &[Manage, Push],
    ),
    call("pgq_redrive_dead(bigint,text,boolean)", "SELECT pgq_redrive_dead(:dead) IS NOT NULL", &[Manage]),
    call(
        "pgq_redrive_dead(bigint,text,boolean)",
        "SELECT pgq_redrive_dead(:dead, 'other') IS NOT NULL",
        &[Manage, Push],
    ),
    call(
        "pgq_redrive_dead_batch(bigint[],text,boolean)",
        "SELECT count(*) = 1 FROM pgq_redrive_dead_batch('{:dead}')",
        &[Manage],
    ),
    call("pgq_delete_dead(bigint)", "SELECT pgq_delete_dead(:dead)", &[Manage]),
    call("pgq_delete_dead_batch(bigint[])", "SELECT count(*) = 1 FROM pgq_delete_dead_batch('{:dead}')", &[Manage]),
    call("pgq_count(text,boolean,text)", "SELECT pgq_count('q') = 1", &[Monitor]),
    call("pgq_stats(text,boolean)", "SELECT count(*) = 1 FROM pgq_stats('q')", &[Monitor]),
    call("pgq_stats(text,boolean)", "SELECT count(*) = 2 FROM pgq_stats()", &[Monitor]),
    call("pgq_create_topic(text)", "SELECT pgq_create_topic('new')", &[Nothing]),
    call("pgq_drop_topic(text)", "SELECT pgq_drop_topic('t') = 1", &[Own]),
    call("pgq_list_topics()", "SELECT count(*) = 1 FROM pgq_list_topics()", &[SeeTopic]),
    call("pgq_subscribe(text,text,text)", "SELECT pgq_subscribe('t', 'new', 'a.#')", &[Subscribe]),
    call("pgq_subscribe(text,text,text)", "SELECT pgq_subscribe('t', 'q', 'a.#')", &[Own]),
    call("pgq_unsubscribe(text,text,text)", "SELECT pgq_unsubscribe('t', 'q') = 1", &[Own]),
    call("pgq_list_subscriptions(text)", "SELECT count(*) = 1 FROM pgq_list_subscriptions('t')", &[Monitor]),
    call(
        "pgq_publish(text,jsonb,text,jsonb,bigint,interval,timestamp with time zone,interval,text,text,text,interval,bigint)",
        "SELECT pgq_publish('t', '1') IS DISTINCT FROM 0",
        &[Publish],
    ),
    call(
        "pgq_publish_batch(text,jsonb[],text[],jsonb[],bigint,interval,timestamp with time zone,interval,text,text,text,interval,bigint,text[])",
        "SELECT pgq_publish_batch('t', '{1}') IS DISTINCT FROM 0",
        &[Publish],
    ),
    call("pgq_grant_topic(text,text,text)", "SELECT pgq_grant_topic('t', 'stranger', 'publish')", &[Own]),
    call("pgq_revoke_topic(text,text,text)", "SELECT pgq_revoke_topic('t', 'publisher', 'publish')", &[Own]),
    call("pgq_list_topic_grants(text)", "SELECT count(*) = 2 FROM pgq_list_topic_grants('t')", &[Own]),
    call("pgq_set_topic_owner(text,text)", "SELECT NOT pgq_set_topic_owner('t', 'owner')", &[Own]),
    call("pgq_list_queues()", "SELECT count(*) = 2 FROM pgq_list_queues()", &[Monitor]),
    call("pgq_list_grants(text)", "SELECT count(*) = 4 FROM pgq_list_grants('q')", &[Monitor]),
    call("pgq_list_grants(text)", "SELECT count(*) = 8 FROM pgq_list_grants()", &[Monitor]),
    call("pgq_create_queue(text,jsonb)", "SELECT pgq_create_queue('new')", &[Nothing]),
    call("pgq_create_queue(text,jsonb)", "SELECT pgq_create_queue('new', '{\"events_to\": \"q\"}')", &[Push]),
    call("pgq_alter_queue(text,jsonb)", "SELECT pgq_alter_queue('q', '{}') IS NOT NULL", &[Manage]),
    call("pgq_drop_queue(text)", "SELECT pgq_drop_queue('q') = 3", &[Own]),
    call("pgq_purge(text,text,text)", "SELECT pgq_purge('q') = 3", &[Manage]),
    call("pgq_pause(text)", "SELECT pgq_pause('q')", &[Manage]),
    call("pgq_resume(text)", "SELECT NOT pgq_resume('q')", &[Manage]),
    call("pgq_grant(text,text,text)", "SELECT pgq_grant('q', 'stranger', 'push')", &[Own]),
    call("pgq_revoke(text,text,text)", "SELECT pgq_revoke('q', 'pusher', 'push')", &[Own]),
    call("pgq_set_owner(text,text)", "SELECT NOT pgq_set_owner('q', 'owner')", &[Own]),
    // Its own owner: what `stranger` owns is nobody else's to give away.
    call(
        "pgq_reassign_owned(text,text)",
        "SELECT pgq_reassign_owned(current_user, current_user) >= 0",
        &[Nothing],
    ),
    call("pgq_reassign_owned(text,text)", "SELECT pgq_reassign_owned('owner', 'owner') = 5", &[Own]),
    call(
        "pgq_schedule(text,text,text,jsonb,jsonb,bigint,text,interval,text,text,text,interval,bigint)",
        "SELECT pgq_schedule('new', 'q', '1 day', '1') IS NOT NULL",
        &[Push],
    ),
    // Its owner has it replaced; who may manage its queue too, if he may push.
    call(
        "pgq_schedule(text,text,text,jsonb,jsonb,bigint,text,interval,text,text,text,interval,bigint)",
        "SELECT pgq_schedule('s', 'q', '1 day', '1') IS NOT NULL",
        &[Manage, Push],
    ),
    call("pgq_unschedule(text)", "SELECT pgq_unschedule('s')", &[Manage]),
    call("pgq_list_schedules()", "SELECT count(*) = 1 FROM pgq_list_schedules()", &[Manage]),
    call(
        "pgq_watch(text,text,text,text,bigint,text)",
        "SELECT pgq_watch('new', 'q', 'SELECT 1, 1', '1 day') IS NOT NULL",
        &[Push],
    ),
    call("pgq_unwatch(text)", "SELECT pgq_unwatch('w')", &[Manage]),
    call("pgq_list_watches()", "SELECT count(*) = 1 FROM pgq_list_watches()", &[Manage]),
    call(
        "pgq_capture()",
        "CREATE TABLE t (a int); CREATE TRIGGER t AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION pgq_capture('q', 'a');
         INSERT INTO t VALUES (1)",
        &[Push],
    ),
];
