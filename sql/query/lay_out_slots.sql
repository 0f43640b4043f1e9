-- Slots for $2 leases, with those ($3, $4) in them that are out. Those beyond have slots of their
-- own, which nobody takes: their numbers are negative. Slot 0 says where they were laid out.
INSERT INTO pgqueue.slot (queue, number, message, delivery)
SELECT $1, CASE WHEN leased.number <= $2 THEN leased.number
                WHEN leased.number > $2 THEN $2 - leased.number::integer
                ELSE free.number END,
       coalesce(leased.message, 0), coalesce(leased.delivery, 0)
  FROM unnest($3::bigint[], $4::integer[]) WITH ORDINALITY leased (message, delivery, number)
  FULL JOIN generate_series(1, $2) free (number) ON free.number = leased.number
UNION ALL
SELECT $1, 0, $5, $6
