-- Slots for $2 leases, and for those beyond that are out already.
INSERT INTO pgqueue.slot (queue, number, message, delivery)
SELECT $1, coalesce(leased.number, free.number), coalesce(leased.id, 0), coalesce(leased.deliveries, 0)
  FROM (SELECT row_number() OVER (ORDER BY id)::integer AS number, id, deliveries
          FROM pgqueue.message
         WHERE queue = $1 AND lease_until > clock_timestamp()) leased
  FULL JOIN generate_series(1, $2) free (number) ON free.number = leased.number
