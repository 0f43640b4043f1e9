-- Where each function of the extension runs: the table that pgqueue_proxy.build() works from.
-- A call is a function's name and its first parameter. run_on is what PL/Proxy is told, in
-- terms of the parameters, and before a check that comes first. Where run_on is null, a proxy
-- does not do it, and note says why.

CREATE OR REPLACE VIEW pgqueue_proxy.route (call, run_on, before, note) AS
VALUES
    ('pgq_push(queue)',             'of_queue(queue)', NULL, NULL),
    ('pgq_push_result(queue)',      'of_queue(queue)', NULL, NULL),
    ('pgq_push_batch(queue)',       'of_queue(queue)', NULL, NULL),
    ('pgq_push_each(queue)',        'of_queue(queue)', NULL, NULL),
    ('pgq_push_bytes(queue)',       'of_queue(queue)', NULL, NULL),
    ('pgq_push_bytes_batch(queue)', 'of_queue(queue)', NULL, NULL),

    ('pgq_reserve(queue)',          'of_queue(queue)', NULL, NULL),
    ('pgq_pop(queue)',              'of_queue(queue)', NULL, NULL),
    ('pgq_next(queue)',             'of_queue(queue)', 'with_queue(queue, CASE WHEN receipts IS NULL THEN done WHEN done IS NULL THEN pgqueue_proxy.ids_of(receipts) END)', NULL),
    ('pgq_peek(queue)',             'of_queue(queue)', NULL, NULL),
    ('pgq_get(id)',                 'of_id(id)',       NULL, NULL),
    ('pgq_wait(queue)',             NULL,              NULL, 'wait.sql has one that looks again and again'),

    ('pgq_delete(id)',              'of_id(id)',       NULL, NULL),
    ('pgq_delete_batch(ids)',       'of_ids(ids)',     'all_or_none(strict, ids)', NULL),
    ('pgq_extend(id)',              'of_id(id)',       NULL, NULL),
    ('pgq_extend_batch(ids)',       'of_ids(ids)',     'all_or_none(strict, ids)', NULL),
    ('pgq_release(id)',             'of_id(id)',       NULL, NULL),
    ('pgq_release_batch(ids)',      'of_ids(ids)',     'all_or_none(strict, ids)', NULL),
    ('pgq_fail(id)',                'of_id(id)',       NULL, NULL),
    ('pgq_fail_batch(ids)',         'of_ids(ids)',     'all_or_none(strict, ids)', NULL),
    ('pgq_bury(id)',                'of_id(id)',       NULL, NULL),
    ('pgq_bury_batch(ids)',         'of_ids(ids)',     'all_or_none(strict, ids)', NULL),

    ('pgq_delete_by_receipt(receipt)',   'of_receipt(receipt)',   NULL, NULL),
    ('pgq_delete_by_receipts(receipts)', 'of_receipts(receipts)', 'all_or_none(strict, pgqueue_proxy.ids_of(receipts))', NULL),
    ('pgq_extend_by_receipt(receipt)',   'of_receipt(receipt)',   NULL, NULL),
    ('pgq_extend_by_receipts(receipts)', 'of_receipts(receipts)', 'all_or_none(strict, pgqueue_proxy.ids_of(receipts))', NULL),
    ('pgq_release_by_receipt(receipt)',   'of_receipt(receipt)',   NULL, NULL),
    ('pgq_release_by_receipts(receipts)', 'of_receipts(receipts)', 'all_or_none(strict, pgqueue_proxy.ids_of(receipts))', NULL),
    ('pgq_fail_by_receipt(receipt)',   'of_receipt(receipt)',   NULL, NULL),
    ('pgq_fail_by_receipts(receipts)', 'of_receipts(receipts)', 'all_or_none(strict, pgqueue_proxy.ids_of(receipts))', NULL),
    ('pgq_bury_by_receipt(receipt)',   'of_receipt(receipt)',   NULL, NULL),
    ('pgq_bury_by_receipts(receipts)', 'of_receipts(receipts)', 'all_or_none(strict, pgqueue_proxy.ids_of(receipts))', NULL),

    ('pgq_update(id)',              'of_id(id)',       NULL, NULL),
    ('pgq_cancel(id)',              'of_id(id)',       NULL, NULL),
    ('pgq_cancel_batch(ids)',       'of_ids(ids)',     NULL, NULL),
    ('pgq_move(id)',                'of_queue(to_queue)', 'with_queue(to_queue, ARRAY[id])', NULL),
    ('pgq_move_batch(ids)',         'of_queue(to_queue)', 'with_queue(to_queue, ids)', NULL),

    ('pgq_peek_dead(queue)',        'of_queue(queue)', NULL, NULL),
    ('pgq_dump_dead(queue)',        'of_queue(queue)', NULL, NULL),
    ('pgq_redrive(queue)',          'of_queue(queue)', 'same_partition(queue, to_queue)', NULL),
    ('pgq_redrive_dead(id)',        'of_id(id)',       'with_queue(to_queue, ARRAY[id])', NULL),
    ('pgq_redrive_dead_batch(ids)', 'of_ids(ids)',     'with_queue(to_queue, ids)', NULL),
    ('pgq_delete_dead(id)',         'of_id(id)',       NULL, NULL),
    ('pgq_delete_dead_batch(ids)',  'of_ids(ids)',     NULL, NULL),

    ('pgq_count(queue)',            'of_queue(queue)', NULL, NULL),
    ('pgq_stats(queue)',            'of_queue_or_all(queue)', NULL, NULL),
    ('pgq_list_queues()',           'ALL',             NULL, NULL),

    ('pgq_create_queue(queue)',     'of_queue(queue)', 'with_events(queue, settings)', NULL),
    ('pgq_alter_queue(queue)',      'of_queue(queue)', 'with_events(queue, settings)', NULL),
    ('pgq_drop_queue(queue)',       'of_queue(queue)', NULL, NULL),
    ('pgq_purge(queue)',            'of_queue(queue)', NULL, NULL),
    ('pgq_pause(queue)',            'of_queue(queue)', NULL, NULL),
    ('pgq_resume(queue)',           'of_queue(queue)', NULL, NULL),
    ('pgq_vacuum()',                'ALL',             NULL, NULL),

    ('pgq_grant(queue)',            'of_queue(queue)', NULL, NULL),
    ('pgq_revoke(queue)',           'of_queue(queue)', NULL, NULL),
    ('pgq_list_grants(queue)',      'of_queue_or_all(queue)', NULL, NULL),
    ('pgq_set_owner(queue)',        'of_queue(queue)', NULL, NULL),
    ('pgq_reassign_owned(old_owner)', 'ALL',           NULL, NULL),

    ('pgq_schedule(name)',          'of_queue(queue)', 'name_is_free(name, queue)', NULL),
    ('pgq_unschedule(name)',        'ALL',             NULL, NULL), -- see unschedule.sql
    ('pgq_list_schedules()',        'ALL',             NULL, NULL),

    ('pgq_create_topic(topic)',     NULL, NULL, 'a topic has its queues on one partition'),
    ('pgq_drop_topic(topic)',       NULL, NULL, 'a topic has its queues on one partition'),
    ('pgq_list_topics()',           NULL, NULL, 'a topic has its queues on one partition'),
    ('pgq_subscribe(topic)',        NULL, NULL, 'a topic has its queues on one partition'),
    ('pgq_unsubscribe(topic)',      NULL, NULL, 'a topic has its queues on one partition'),
    ('pgq_list_subscriptions(topic)', NULL, NULL, 'a topic has its queues on one partition'),
    ('pgq_publish(topic)',          NULL, NULL, 'a topic has its queues on one partition'),
    ('pgq_publish_batch(topic)',    NULL, NULL, 'a topic has its queues on one partition'),
    ('pgq_grant_topic(topic)',      NULL, NULL, 'a topic has its queues on one partition'),
    ('pgq_revoke_topic(topic)',     NULL, NULL, 'a topic has its queues on one partition'),
    ('pgq_list_topic_grants(topic)', NULL, NULL, 'a topic has its queues on one partition'),
    ('pgq_set_topic_owner(topic)',  NULL, NULL, 'a topic has its queues on one partition'),

    ('pgq_capture()',               NULL, NULL, 'a trigger''s push has to be part of its transaction'),
    ('pgq_watch(name)',             NULL, NULL, 'a watch queries the tables of its partition'),
    ('pgq_unwatch(name)',           NULL, NULL, 'a watch queries the tables of its partition'),
    ('pgq_list_watches()',          NULL, NULL, 'a watch queries the tables of its partition');
COMMENT ON VIEW pgqueue_proxy.route IS 'where each function of pgqueue runs';
