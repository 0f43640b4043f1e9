-- 0.2.0 to 0.3.0.

-- Tenants: schedules that rest.
ALTER TABLE pgqueue.schedule ADD COLUMN retry_at timestamptz;
ALTER TABLE pgqueue.schedule ADD COLUMN pauses integer NOT NULL DEFAULT 0;
ALTER TABLE pgqueue.schedule ADD COLUMN started_at timestamptz;
COMMENT ON COLUMN pgqueue.schedule.retry_at IS 'it does not run before: something was in its way, or it took long';
COMMENT ON COLUMN pgqueue.schedule.pauses IS 'how often in a row something was in its way';
COMMENT ON COLUMN pgqueue.schedule.started_at IS 'when the run of a watch began that is not over';
