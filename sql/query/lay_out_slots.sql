-- Slots for $2 leases, filled with the current leases ($3, $4, written by $5). Leases beyond $2 get slots
-- with negative numbers, which no reserve takes. Slot 0 says where the slots were laid out ($6, $7).
INSERT INTO pgqueue.slot (queue, number, message, delivery, writer)
SELECT $1, CASE WHEN leased.number <= $2 THEN leased.number
                WHEN leased.number > $2 THEN $2 - leased.number::integer
                ELSE free.number END,
       coalesce(leased.message, 0), coalesce(leased.delivery, 0), coalesce(leased.writer, 0)
  FROM unnest($3::bigint[], $4::integer[], $5::bigint[])
       WITH ORDINALITY leased (message, delivery, writer, number)
  FULL JOIN generate_series(1, $2) free (number) ON free.number = leased.number
UNION ALL
SELECT $1, 0, $6, $7, 0
